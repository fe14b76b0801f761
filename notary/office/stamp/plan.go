package stamp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// Plan says what is put where. It is kept as JSON: by a class of documents as its template,
// and with a document that waits for approval. docs/stamping.md describes it.
type Plan struct {
	Marks []Mark `json:"marks"`
}

// Kind is what a mark is.
type Kind string

const (
	Seal     Kind = "seal"
	QR       Kind = "qr"       // a QR code with the number below it
	Straddle Kind = "straddle" // 骑缝章: the seal cut into strips along the right edges of pages
)

// Mark is one thing that is put on pages.
type Mark struct {
	Kind   Kind    `json:"kind"`
	Pages  Pages   `json:"pages"`
	Anchor Anchor  `json:"anchor,omitzero"` // not of a straddle seal
	Size   float64 `json:"size,omitempty"`  // millimetres from side to side; 0: what is usual for the kind

	// Of a straddle seal alone.
	// millimetres from the upper edge to its middle; 0: the middle of each page
	Height  float64 `json:"height,omitempty"`
	Group   int     `json:"group,omitempty"`   // pages that share one seal at most; 0: DefaultGroup
	OddOnly bool    `json:"oddOnly,omitempty"` // every other page: printed on both sides, only fronts can be fanned out
}

// Anchor is where a mark stands. Exactly one of At, Keyword and Corner is given.
type Anchor struct {
	At      *Point  `json:"at,omitempty"`      // the mark's upper left corner
	Keyword string  `json:"keyword,omitempty"` // the mark's middle is on the middle of this text, moved by X and Y
	Nth     int     `json:"nth,omitempty"`     // which one on the pages: 1 is the first, -1 the last; 0: the first
	Corner  Corner  `json:"corner,omitempty"`  // of the page, with X and Y free between its edges and the mark
	X       float64 `json:"x,omitempty"`
	Y       float64 `json:"y,omitempty"`
}

// Point is a place on a page, in millimetres from its upper left corner.
type Point struct {
	X float64 `json:"x"`
	Y float64 `json:"y"`
}

// Corner is one of a page.
type Corner string

const (
	TopLeft     Corner = "top-left"
	TopRight    Corner = "top-right"
	BottomLeft  Corner = "bottom-left"
	BottomRight Corner = "bottom-right"
)

// Pages are those that a mark is on: "first", "last", "all", or numbers and ranges such as
// "1,3-5,9-last".
type Pages string

// Sizes in millimetres. Round public seals are usually 42 mm wide; higher ranks have larger
// ones (国发〔1999〕25号). A QR code needs modules that a telephone can tell apart.
const (
	DefaultSeal  = 42
	MinSeal      = 10
	MaxSeal      = 80
	DefaultQR    = 25
	MinQR        = 12
	MaxQR        = 80
	MinModule    = 0.33
	DefaultGroup = 10
	MinGroup     = 3
	MinStrip     = 2.0 // width of a strip of a straddle seal: a narrower one gets lost between sheet and printer
	MaxMarks     = 50  // of a plan
	maxPlanBytes = 64 << 10
)

// Problem is what is wrong with a plan, for pages that say it in their own words.
type Problem string

const (
	BadForm         Problem = "form"              // the plan is not one
	BadKind         Problem = "kind"              // no such mark, or what belongs to another kind
	BadPages        Problem = "pages"             // the selection cannot be read, or names pages that are not there
	BadAnchor       Problem = "anchor"            // none, several, or one that cannot be
	TooSmall        Problem = "too_small"         // it could not be read
	TooBig          Problem = "too_large"         // larger than any seal
	OutsidePage     Problem = "outside_page"      //
	Overlapping     Problem = "overlap"           // with another mark
	BelowField      Problem = "below_field"       // a field of a form would be drawn over it
	BelowComment    Problem = "below_comment"     // a comment, or what else readers draw on top of a page, would
	KeywordMissing  Problem = "keyword_not_found" // on the pages
	KeywordUnsure   Problem = "text_unreadable"   // not found, and some of the pages' text cannot be read
	StraddleTooFew  Problem = "straddle_pages"    // fewer than two pages to go across
	StraddleTooThin Problem = "straddle_thin"     // strips that are too narrow
)

// PlanError is a plan that cannot be carried out.
type PlanError struct {
	Problem Problem
	Mark    int // from 1; 0: the plan as a whole
	Page    int // from 1; 0: none in particular
	Detail  string
}

// Error says what is wrong, in English.
func (e *PlanError) Error() string {
	where := "the plan"
	if e.Mark > 0 {
		where = "mark " + strconv.Itoa(e.Mark)
	}
	if e.Page > 0 {
		where += " on page " + strconv.Itoa(e.Page)
	}
	return where + ": " + e.Detail
}

// ParsePlan reads a plan from JSON and checks what can be checked without a document.
func ParsePlan(data []byte) (Plan, error) {
	var p Plan
	if len(data) > maxPlanBytes {
		return p, &PlanError{Problem: BadForm, Detail: fmt.Sprintf("it has at most %d bytes", maxPlanBytes)}
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return Plan{}, &PlanError{Problem: BadForm, Detail: err.Error()}
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Plan{}, &PlanError{Problem: BadForm, Detail: "something follows it"}
	}
	return p, p.Check()
}

// Check looks at what does not depend on a document. An error is a [*PlanError].
func (p Plan) Check() error {
	if len(p.Marks) == 0 || len(p.Marks) > MaxMarks {
		return &PlanError{Problem: BadForm, Detail: fmt.Sprintf("it has 1 to %d marks", MaxMarks)}
	}
	for i, m := range p.Marks {
		if err := m.check(); err != nil {
			err.Mark = i + 1
			return err
		}
	}
	return nil
}

func (m Mark) check() *PlanError {
	for _, v := range []float64{m.Size, m.Height, m.Anchor.X, m.Anchor.Y} {
		if math.IsNaN(v) || math.Abs(v) > 1e5 {
			return &PlanError{Problem: BadForm, Detail: "a length is no length"}
		}
	}
	least, most := float64(MinSeal), float64(MaxSeal)
	switch m.Kind {
	case Seal:
	case Straddle:
		if m.Anchor != (Anchor{}) {
			return &PlanError{Problem: BadKind,
				Detail: "a straddle seal stands at the right edges of its pages and has a height in place of an anchor"}
		}
		if m.Group != 0 && m.Group < MinGroup {
			return &PlanError{Problem: BadKind, Detail: fmt.Sprintf("at least %d pages share a straddle seal",
				MinGroup)}
		}
	case QR:
		least, most = MinQR, MaxQR
	default:
		return &PlanError{Problem: BadKind, Detail: fmt.Sprintf("%.40q is none of seal, qr and straddle",
			string(m.Kind))}
	}
	if m.Kind != Straddle && (m.Height != 0 || m.Group != 0 || m.OddOnly) {
		return &PlanError{Problem: BadKind, Detail: "height, group and oddOnly are a straddle seal's"}
	}
	if s := m.size(); s < least {
		return &PlanError{Problem: TooSmall,
			Detail: fmt.Sprintf("it is %g mm wide, and below %g mm it could not be read", s, least)}
	} else if s > most {
		return &PlanError{Problem: TooBig, Detail: fmt.Sprintf("it is %g mm wide, and at most %g mm", s, most)}
	}
	if _, err := m.Pages.list(anyCount); err != nil {
		return err
	}
	if m.Kind == Straddle {
		return nil
	}
	return m.Anchor.check()
}

func (m Mark) size() float64 {
	switch {
	case m.Size != 0:
		return m.Size
	case m.Kind == QR:
		return DefaultQR
	}
	return DefaultSeal
}

func (a Anchor) check() *PlanError {
	given := 0
	for _, is := range []bool{a.At != nil, a.Keyword != "", a.Corner != ""} {
		if is {
			given++
		}
	}
	switch {
	case given != 1:
		return &PlanError{Problem: BadAnchor, Detail: "it has exactly one of at, keyword and corner"}
	case a.At != nil && (a.X != 0 || a.Y != 0 || !(math.Abs(a.At.X)+math.Abs(a.At.Y) < 1e5)):
		return &PlanError{Problem: BadAnchor, Detail: "a place is two lengths, and is not moved"}
	case a.Keyword == "" && a.Nth != 0:
		return &PlanError{Problem: BadAnchor, Detail: "only a keyword is counted"}
	case len([]rune(a.Keyword)) > MaxKeyword:
		return &PlanError{Problem: BadAnchor, Detail: fmt.Sprintf("a keyword has at most %d characters", MaxKeyword)}
	case a.Corner != "" && a.Corner != TopLeft && a.Corner != TopRight && a.Corner != BottomLeft &&
		a.Corner != BottomRight:
		return &PlanError{Problem: BadAnchor,
			Detail: "a corner is one of top-left, top-right, bottom-left and bottom-right"}
	}
	return nil
}

// anyCount stands for the pages of a document that is not known yet.
const anyCount = math.MaxInt32

// list returns the pages of a document that are meant, from 1, in order and once each. Of one
// that is not known yet only the form is checked.
func (p Pages) list(count int) ([]int, *PlanError) {
	known := count < anyCount
	switch p {
	case "first":
		return []int{1}, nil
	case "last":
		return []int{count}, nil
	case "all":
		p = "1-last"
	}
	bad := func(format string, args ...any) *PlanError {
		return &PlanError{Problem: BadPages, Detail: fmt.Sprintf(format, args...)}
	}
	if len(p) > 1000 {
		return nil, bad("a selection of pages has at most 1000 characters")
	}
	chosen := map[int]bool{}
	for part := range strings.SplitSeq(string(p), ",") {
		from, to, isRange := strings.Cut(strings.TrimSpace(part), "-")
		first, ok := pageNumber(from, count)
		last, ok2 := first, true
		if isRange {
			last, ok2 = pageNumber(to, count)
		}
		switch {
		case !ok || !ok2 || last < first:
			return nil, bad(`pages are "first", "last", "all", or numbers and ranges such as 1,3-5,9-last: %.60q`,
				string(p))
		case last > count:
			return nil, bad("the document has %d pages, and no page %d", count, last)
		}
		for n := first; known && n <= last; n++ {
			chosen[n] = true
		}
	}
	var out []int
	for n := 1; known && n <= count; n++ {
		if chosen[n] {
			out = append(out, n)
		}
	}
	return out, nil
}

func pageNumber(s string, count int) (int, bool) {
	if s = strings.TrimSpace(s); s == "last" {
		return count, true
	}
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= 1 && n <= 1e6 && strconv.Itoa(n) == s
}
