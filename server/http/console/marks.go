package console

import (
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"stele/notary"
	"stele/notary/office/filing"
	"stele/notary/office/stamp"
)

// marksPage is where a paper's seal and QR code are placed.
type marksPage struct {
	paperLine
	Seals   []notary.Seal // that can be used now
	Seal    string        // the chosen one
	Rows    []markRow
	Page    int
	Pages   int
	Before  int // the page before; 0: none
	After   int // the page after
	Outline template.HTML
	Wrong   string // why the marks cannot be put so
	Covers  bool   // a QR code stands on text
	Dark    bool   // a seal stands on what is dark
}

// markRow is one mark in the form; its texts are as they were typed.
type markRow struct {
	N                                   int
	Kind, Pages, Anchor, Keyword        string
	X, Y, Size, Nth, Height, Group, Odd string
}

const (
	maxMarkRows = 8
	anchorAt    = "at"
	anchorWord  = "keyword"
)

// What the buttons of the form ask for. Those of [justLooks] change nothing.
const (
	doLook    = "look"
	doPreview = "preview"
	doStamp   = "stamp"
	doClear   = "clear"
	turnTo    = "page:" // and its number
)

// justLooks reports whether a form of marks changes nothing.
func justLooks(v *visit) bool {
	do := v.typed("do")
	return do == doLook || do == doPreview || strings.HasPrefix(do, turnTo)
}

// firstPlan is what a form begins with where the class has no template.
var firstPlan = stamp.Plan{Marks: []stamp.Mark{
	{Kind: stamp.Seal, Pages: "last", Anchor: stamp.Anchor{Corner: stamp.BottomRight, X: 25, Y: 30}},
	{Kind: stamp.QR, Pages: "first", Anchor: stamp.Anchor{Corner: stamp.BottomLeft, X: 20, Y: 30}},
}}

func (v *visit) marks() error {
	p, err := v.findPaper()
	if err != nil {
		return err
	}
	document, err := v.Papers.Markable(p)
	if err != nil {
		return err
	}
	asked, err := v.askedMarks(p)
	if err != nil {
		return err
	}
	return v.showMarks(p, document, asked.seal, asked.plan)
}

// wanted are marks as the form, the paper or its class has them.
type wanted struct {
	seal string
	plan stamp.Plan
	rows []markRow
}

func (v *visit) askedMarks(p filing.Paper) (wanted, error) {
	if v.r.Method == http.MethodPost {
		return v.typedMarks()
	}
	out := wanted{plan: firstPlan}
	var kept filing.Marks
	if len(p.Marks) > 0 && json.Unmarshal(p.Marks, &kept) == nil {
		if plan, err := stamp.ParsePlan(kept.Plan); err == nil {
			return wanted{seal: kept.Seal, plan: plan}, nil
		}
	}
	c, err := v.Classes.Find(v.r.Context(), v.agency.ID, p.Class)
	if err == nil && len(c.Stamp) > 0 {
		if plan, err := stamp.ParsePlan(c.Stamp); err == nil {
			out.plan = plan
		}
	}
	return out, nil
}

func (v *visit) showMarks(p filing.Paper, document filing.Source, seal string, plan stamp.Plan) error {
	seals, err := v.SealBook.Seals(v.r.Context(), v.agency.ID)
	if err != nil {
		return notary.Wrap(notary.CodeUnavailable, err, "The seals cannot be read at the moment; try again.")
	}
	page := marksPage{paperLine: paperLine{Paper: p, Own: true}, Seal: seal, Page: 1}
	for _, s := range seals {
		if s.ValidAt(v.Now()) {
			page.Seals = append(page.Seals, s)
		}
	}
	if page.Rows = rowsOf(plan); v.rows != nil {
		page.Rows = v.rows
	}
	if len(page.Rows) < maxMarkRows {
		page.Rows = append(page.Rows, markRow{N: len(page.Rows) + 1, Pages: "first", Anchor: anchorAt, X: "20",
			Y: "20"})
	}
	turned, err := strconv.Atoi(strings.TrimPrefix(v.typed("do"), turnTo))
	if err != nil {
		turned, _ = strconv.Atoi(v.r.FormValue("page")) // 0, where it is none, is the first
	}
	view, err := v.Stamps.Look(v.r.Context(), v.agency.ID, document,
		stamp.Glance{Plan: plan, URL: "https://" + v.r.Host + "/r/000000-0000-00000000-0", Page: turned})
	if notary.CodeOf(err) != notary.CodeInternal || v.r.Context().Err() != nil {
		return err
	}
	if err != nil {
		page.Wrong = v.unsaid(v.stampProblem(err))
		return v.show("marks", "console.marks.title", page)
	}
	page.Page, page.Pages = view.Page, len(view.Info.Pages)
	if page.Before = page.Page - 1; page.Page < page.Pages {
		page.After = page.Page + 1
	}
	if view.Problem != nil {
		page.Wrong = v.unsaid(v.stampProblem(view.Problem))
	}
	for _, at := range view.Placed {
		page.Covers, page.Dark = page.Covers || at.CoversText, page.Dark || at.OnDark
	}
	page.Outline = template.HTML(view.Outline) // numbers and fixed words only, see stamp.Outline
	return v.show("marks", "console.marks.title", page)
}

// unsaid is a sentence that does not stand on the page already, as the problem of the form.
func (v *visit) unsaid(text string) string {
	if text == v.problem {
		return ""
	}
	return text
}

// stampProblem says in the person's language why a document cannot be stamped so.
func (v *visit) stampProblem(err error) string {
	var plan *stamp.PlanError
	if errors.As(err, &plan) {
		text := v.t("console.stamp." + string(plan.Problem))
		if plan.Mark > 0 {
			text = v.t("console.marks.of", "n", strconv.Itoa(plan.Mark), "text", text)
		}
		return text
	}
	if name := stamp.RefusalOf(err).Name; name != "" {
		return v.t("console.stamp." + name)
	}
	return v.t("console.stamp.form")
}

func number(x float64) string {
	if x == 0 {
		return ""
	}
	return strconv.FormatFloat(x, 'f', -1, 64)
}

func rowsOf(plan stamp.Plan) []markRow {
	out := make([]markRow, len(plan.Marks))
	for i, m := range plan.Marks {
		r := markRow{N: i + 1, Kind: string(m.Kind), Pages: string(m.Pages), Size: number(m.Size),
			Height: number(m.Height), Anchor: string(m.Anchor.Corner), X: number(m.Anchor.X), Y: number(m.Anchor.Y)}
		switch {
		case m.Anchor.At != nil:
			r.Anchor, r.X, r.Y = anchorAt, number(m.Anchor.At.X), number(m.Anchor.At.Y)
		case m.Anchor.Keyword != "":
			r.Anchor, r.Keyword = anchorWord, m.Anchor.Keyword
			if m.Anchor.Nth != 0 {
				r.Nth = strconv.Itoa(m.Anchor.Nth)
			}
		}
		if m.Group != 0 {
			r.Group = strconv.Itoa(m.Group)
		}
		if m.OddOnly {
			r.Odd = "yes"
		}
		out[i] = r
	}
	return out
}

// typedMarks reads the form. What is typed stays in it, whether it makes sense or not.
func (v *visit) typedMarks() (wanted, error) {
	out := wanted{seal: v.typed("seal")}
	var wrong error
	for i := 1; i <= maxMarkRows; i++ {
		field := func(name string) string { return v.typed(fmt.Sprintf("m%d.%s", i, name)) }
		r := markRow{N: len(out.rows) + 1, Kind: field("kind"), Pages: field("pages"), Anchor: field("anchor"),
			Keyword: field("keyword"), X: field("x"), Y: field("y"), Size: field("size"),
			Nth: field("nth"), Height: field("height"), Group: field("group"), Odd: field("odd")}
		if r.Kind == "" {
			continue
		}
		out.rows = append(out.rows, r)
		m, err := r.mark()
		wrong = errors.Join(wrong, err)
		out.plan.Marks = append(out.plan.Marks, m)
	}
	v.rows = out.rows
	if wrong != nil {
		return out, notary.InvalidField("plan", "A number of the marks is none.")
	}
	return out, nil
}

func (r markRow) mark() (stamp.Mark, error) {
	var errs []error
	num := func(text string) float64 {
		if text == "" {
			return 0
		}
		x, err := strconv.ParseFloat(strings.ReplaceAll(text, "，", "."), 64)
		errs = append(errs, err)
		return x
	}
	m := stamp.Mark{Kind: stamp.Kind(r.Kind), Pages: stamp.Pages(r.Pages), Size: num(r.Size)}
	if m.Kind == stamp.Straddle {
		m.Height, m.Group, m.OddOnly = num(r.Height), int(num(r.Group)), r.Odd != ""
		return m, errors.Join(errs...)
	}
	switch r.Anchor {
	case anchorAt:
		m.Anchor.At = &stamp.Point{X: num(r.X), Y: num(r.Y)}
	case anchorWord:
		m.Anchor = stamp.Anchor{Keyword: r.Keyword, Nth: int(num(r.Nth)), X: num(r.X), Y: num(r.Y)}
	default:
		m.Anchor = stamp.Anchor{Corner: stamp.Corner(r.Anchor), X: num(r.X), Y: num(r.Y)}
	}
	return m, errors.Join(errs...)
}

// place puts marks on a paper: looks, previews, stamps or takes them off again.
func (v *visit) place() error {
	ctx := v.r.Context()
	p, err := v.findPaper()
	if err != nil {
		return err
	}
	do := v.typed("do")
	if do == doClear {
		if _, err := v.Papers.Mark(ctx, v.step(p.ID, v.seen()), nil); err != nil {
			return err
		}
		return v.done(folder+"/papers/"+p.ID, "marks_cleared")
	}
	asked, err := v.typedMarks()
	if err != nil {
		return err
	}
	plan, err := json.Marshal(asked.plan)
	if err != nil {
		return err
	}
	marks, err := json.Marshal(filing.Marks{Seal: asked.seal, Plan: plan})
	if err != nil {
		return err
	}
	switch do {
	case doPreview:
		pdf, err := v.Papers.Preview(ctx, p, marks)
		if err != nil {
			return err
		}
		v.rw.Header().Set("Content-Type", "application/pdf")
		v.rw.Header().Set("Content-Disposition",
			mime.FormatMediaType("inline", map[string]string{"filename": "preview.pdf"}))
		v.rw.Header().Set("Content-Security-Policy", viewerPolicy)
		_, _ = v.rw.Write(pdf) // the person may have left
		return nil
	case doStamp:
		if _, err := v.Papers.Mark(ctx, v.step(p.ID, v.seen()), marks); err != nil {
			return err
		}
		return v.done(folder+"/papers/"+p.ID, "marks_put")
	}
	return v.marks() // look at it
}
