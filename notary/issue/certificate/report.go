package certificate

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"stele/crypto/sm"
)

// Report is a verification report in words, as it is drawn. Whoever makes one has decided
// what it says and in which language; here it is only laid out. It is not a certificate: it
// looks different, carries no bundle, and stele-verify does not take it for one.
//
// Every text may be anything: it is cleaned of what steers a reader, wrapped, and cut where
// it would fill pages.
type Report struct {
	Language string    // BCP 47, for screen readers
	At       time.Time // when it was verified: the date of the file
	Author   string    // who verified

	Title, Subtitle string
	Notice          string // that this is no certificate
	Running         string // head of the pages after the first
	Foot            string // short, at the left of each foot

	Verdict    string // names the sign, see signs
	Alarm      bool   // the verdict's box is in the colour of alarm
	Label      string
	Sentence   string
	Paragraphs []string
	Sections   []Section

	Page    func(page, pages int) string   // foot of a page
	Lacking func(characters string) string // what is said of characters that the font lacks
	Cut     string                         // what is said when there would be too many pages
}

// Section is a part of a report under a heading of its own. What is empty is left out.
type Section struct {
	Heading, Lead string
	Facts         []ReportFact
	Steps         []ReportStep
	Columns       []Column // side by side
	Notes         []string
	Commands      []string // for a terminal
}

// ReportFact is a name and its value. Note stands below the value, smaller.
type ReportFact struct{ Label, Value, Note string }

// ReportStep is one step of the verification. Status names its sign.
type ReportStep struct {
	Status, StatusText string
	Title, Text, Note  string
	Values             []ReportFact
}

// Column is one of two things that are not to be mixed up.
type Column struct{ Heading, Text string }

// Limits of what one report holds, in lines and pages: a bundle of a stranger's making may
// have a megabyte of text.
const (
	maxValueLines = 14
	maxPages      = 24
)

// RenderReport draws a report as a PDF. It is a function of its input alone, and safe for
// concurrent use.
func RenderReport(r Report) ([]byte, error) {
	f, err := loadFonts()
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	c, err := newCanvas(f)
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	l := layout{canvas: c, r: r}
	l.head()
	l.verdict()
	for _, s := range r.Sections {
		l.section(s)
	}
	l.lacking()
	l.feet()
	if c.err != nil {
		return nil, fmt.Errorf("report: %w", c.err)
	}
	objects, err := objectsOf(c.pdf)
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	h := sm.NewHash()
	for _, o := range objects {
		h.Write(o)
	}
	return plain(objects, reportInformation(r), r.Language, hex.EncodeToString(h.Sum(nil)[:16])), nil
}

func reportInformation(r Report) string {
	return information(clean(r.Title+" "+r.Subtitle), clean(r.Author), r.At)
}

// plain writes objects as a PDF without an attachment; a certificate is written by the
// carrier. The first object is the catalog, which is written anew.
func plain(objects [][]byte, info, language, id string) []byte {
	b := []byte("%PDF-1.7\n%\xe2\xe3\xcf\xd3\n%stele/verification-report/v1\n")
	objects = append([][]byte{fmt.Appendf(nil, "<</Type/Catalog/Pages 2 0 "+
		"R/Lang(%s)/ViewerPreferences<</DisplayDocTitle true>>>>", strings.Trim(language, "()\\"))}, objects[1:]...)
	objects = append(objects, []byte(info))
	var table strings.Builder
	for i, o := range objects {
		fmt.Fprintf(&table, "%010d 00000 n \n", len(b))
		b = fmt.Appendf(b, "%d 0 obj\n%s\nendobj\n", i+1, o)
	}
	at := len(b)
	return fmt.Appendf(b, "xref\n0 %[1]d\n0000000000 65535 f \n%[2]strailer\n<</Size %[1]d/Root 1 0 R/Info %[3]d 0 "+
		"R/ID[<%[4]s><%[4]s>]>>\nstartxref\n%[5]d\n%%%%EOF\n",
		len(objects)+1, table.String(), len(objects), id, at)
}
