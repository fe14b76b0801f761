package certificate

import (
	"fmt"
	"slices"
	"strings"
)

// The frame of a report's pages, in points.
const (
	reportTop    = 76.0
	reportBottom = pageHeight - 62
	factLabels   = 108.0
)

var (
	reportTitle    = style{bold, 21, ink, 0}
	reportHeading  = style{bold, 11.5, teal, 0}
	reportBody     = style{regular, 10, ink, 0}
	reportValue    = style{regular, 9.5, ink, 0}
	reportSmall    = style{regular, 8.2, inkSoft, 0}
	reportCommand  = style{regular, 8.4, teal, 0}
	reportSentence = style{bold, 15, ink, 0}
)

// layout is a report at work.
type layout struct {
	*canvas
	r     Report
	y     float64 // where the next thing goes
	pages int
	full  bool // there are as many pages as there may be: nothing more is drawn
}

// head begins the first page.
func (l *layout) head() {
	l.page()
	l.fill(left, 44, inner, 2.4, teal)
	st := reportTitle
	if strings.ContainsFunc(l.r.Title, wide) {
		st.spacing = 1.5
	}
	l.text(left, 82, st, l.r.Title)
	l.right(right, 82, reportSmall, clean(l.r.Subtitle))
	l.y = l.paragraph(left, 100, 12.5, reportSmall, inner, l.r.Notice, 4) + 8
}

func (l *layout) page() {
	l.pdf.AddPage()
	l.pages++
	l.y = reportTop
	if l.pages > 1 {
		l.paragraph(left, 52, 12, reportSmall, inner, l.r.Running, 1)
		l.rule(left, 59, right, 59, 0.5, teal)
	}
}

// room makes sure that h points are left on the page, or begins another one.
func (l *layout) room(h float64) bool {
	if !l.full && l.y+h > reportBottom {
		if l.pages == maxPages {
			l.full = true
			l.text(left, reportBottom+10, reportSmall, l.r.Cut)
		} else {
			l.page()
		}
	}
	return !l.full
}

// fitting is a style that has every character of a text: the bold font holds our own words
// only, and a sentence may name an agency.
func (l *layout) fitting(st style, s string) style {
	if strings.ContainsFunc(s, func(r rune) bool { return l.em(st.weight, r) < 0 }) {
		st.weight = regular
	}
	return st
}

// paragraph draws text from a baseline on, without leaving the page, and returns the baseline
// after it.
func (l *layout) paragraph(x, y, leading float64, st style, width float64, s string, max int) float64 {
	return l.lines(x, y, leading, st, l.wrap(st, s, width, max))
}

// flow draws text where the last thing ended, on as many pages as it takes.
func (l *layout) flow(x, leading float64, st style, width float64, s string) {
	for _, line := range l.wrap(st, s, width, maxValueLines) {
		if !l.room(leading) {
			return
		}
		l.text(x, l.y+leading*0.78, st, line)
		l.y += leading
	}
}

// height is how high paragraphs become, with the room between them.
func (l *layout) height(leading float64, st style, width float64, paragraphs []string) float64 {
	h := 0.0
	for _, p := range paragraphs {
		h += leading*float64(len(l.wrap(st, p, width, maxValueLines))) + 3
	}
	return h
}

// verdict is the answer: sign, label, sentence and what belongs to it.
func (l *layout) verdict() {
	const pad, signSize = 14.0, 44.0
	x, width := left+pad+signSize+14, inner-2*pad-signSize-14
	st := l.fitting(reportSentence, l.r.Sentence)
	sentence := l.wrap(st, l.r.Sentence, width, 4)
	var paragraphs [][]string
	height := 2*pad + 16 + 21*float64(len(sentence))
	for _, p := range l.r.Paragraphs {
		lines := l.wrap(reportBody, p, width, 9)
		paragraphs = append(paragraphs, lines)
		height += 5 + 15*float64(len(lines))
	}
	height = max(height, 2*pad+signSize)
	bar := teal
	if l.r.Alarm {
		bar = vermilion
	}
	l.frame(left, l.y, inner, height, 0.6, line)
	l.fill(left, l.y, 3.6, height, bar)
	l.sign(l.r.Verdict, left+pad, l.y+pad, signSize)
	y := l.y + pad + 9
	l.text(x, y, style{bold, 9, inkSoft, 0}, l.r.Label)
	y = l.lines(x, y+20, 21, st, sentence) + 1
	for _, p := range paragraphs {
		y = l.lines(x, y, 15, reportBody, p) + 5
	}
	l.y += height + 20
}

func (l *layout) section(s Section) {
	least := 64.0 // a heading does not stand alone at the foot of a page, nor a command overleaf
	if len(s.Commands) > 0 {
		least = 18 + l.height(14, reportBody, inner, s.Notes) + l.height(12.5, reportCommand, inner-12, s.Commands)
	}
	if !l.room(min(least, (reportBottom-reportTop)/2)) {
		return
	}
	l.text(left, l.y+10, reportHeading, s.Heading)
	l.y += 18
	if s.Lead != "" {
		l.flow(left, 14, reportBody, inner, s.Lead)
		l.y += 3
	}
	for _, f := range s.Facts {
		l.fact(left, inner, reportValue, f)
	}
	if len(s.Facts) > 0 && !l.full {
		l.rule(left, l.y, right, l.y, 0.4, line)
	}
	for _, st := range s.Steps {
		l.step(st)
	}
	l.columns(s.Columns)
	for _, n := range s.Notes {
		l.flow(left, 14, reportBody, inner, n)
		l.y += 3
	}
	for _, c := range s.Commands {
		l.flow(left+12, 12.5, reportCommand, inner-12, c)
		l.y += 2
	}
	l.y += 18
}

// fact draws a name and its value below a hair line. The name stays with the value's first
// lines; the rest may go on overleaf.
func (l *layout) fact(x, width float64, st style, f ReportFact) {
	leading := st.size * 1.42
	labelStyle := style{regular, st.size - 0.8, inkSoft, 0}
	label := l.wrap(labelStyle, f.Label, factLabels-10, 3)
	values := l.value(st, f.Value, width-factLabels)
	if !l.room(8 + leading*float64(max(len(label), min(len(values), 3)))) {
		return
	}
	l.rule(x, l.y, x+width, l.y, 0.3, line)
	l.y += 4
	top, page := l.y, l.pages
	for i, name := range label {
		l.text(x, top+leading*(float64(i)+0.78), labelStyle, name)
	}
	for _, v := range values {
		if !l.room(leading) {
			return
		}
		l.text(x+factLabels, l.y+leading*0.78, st, v)
		l.y += leading
	}
	if f.Note != "" {
		l.flow(x+factLabels, 11.5, reportSmall, width-factLabels, f.Note)
	}
	if l.pages == page {
		l.y = max(l.y, top+leading*float64(len(label)))
	}
	l.y += 4
}

// value breaks a value into lines: digests in groups for the eye, texts of several lines line
// by line, everything else as it wraps.
func (l *layout) value(st style, s string, width float64) []string {
	if len(s) == 64 && strings.Trim(s, "0123456789abcdef") == "" {
		return l.wrap(st, strings.Join(groups(s), " "), width, 3)
	}
	var out []string
	for part := range strings.Lines(s) {
		if len(out) == maxValueLines {
			return append(out[:maxValueLines-1], "…")
		}
		out = append(out, l.wrap(st, part, width, maxValueLines-len(out))...)
	}
	return out
}

func (l *layout) step(s ReportStep) {
	const indent = 22.0
	text := l.wrap(reportBody, s.Text, inner-indent, maxValueLines)
	if !l.room(24 + 14*float64(min(len(text), 3))) {
		return
	}
	l.rule(left, l.y, right, l.y, 0.4, line)
	l.sign(s.Status, left, l.y+6, 13)
	l.text(left+indent, l.y+16, strong, s.Title)
	l.right(right, l.y+16, reportSmall, s.StatusText)
	l.y += 22
	l.flow(left+indent, 14, reportBody, inner-indent, s.Text)
	if s.Note != "" {
		l.flow(left+indent, 12, reportSmall, inner-indent, s.Note)
	}
	l.y += 3
	for _, v := range s.Values {
		l.fact(left+indent, inner-indent, style{regular, 8, ink, 0}, v)
	}
	l.y += 6
}

// columns stand side by side in boxes of one height, on one page.
func (l *layout) columns(columns []Column) {
	if len(columns) == 0 {
		return
	}
	const gap, pad, leading = 12.0, 10.0, 14.0
	width := (inner - gap*float64(len(columns)-1)) / float64(len(columns))
	height := 0.0
	var texts [][]string
	for _, c := range columns {
		t := l.wrap(reportValue, c.Text, width-2*pad, 24)
		texts = append(texts, t)
		height = max(height, 30+leading*float64(len(t))+pad/2)
	}
	if !l.room(height) {
		return
	}
	for i, c := range columns {
		x := left + float64(i)*(width+gap)
		l.frame(x, l.y, width, height, 0.6, line)
		l.text(x+pad, l.y+18, style{bold, 9.5, teal, 0}, c.Heading)
		l.lines(x+pad, l.y+36, leading, reportValue, texts[i])
	}
	l.y += height + 4
}

// lacking names the characters that the font does not have.
func (l *layout) lacking() {
	if names := l.lackingNames(); names != "" {
		l.flow(left, 12, reportSmall, inner, l.r.Lacking(names))
	}
}

// feet go on last: only then is the number of pages known.
func (l *layout) feet() {
	for p := 1; p <= l.pages; p++ {
		if err := l.pdf.SetPage(p); err != nil {
			l.fail(err)
			return
		}
		l.rule(left, pageHeight-48, right, pageHeight-48, 0.4, line)
		l.text(left, pageHeight-36, tiny, l.r.Foot)
		l.right(right, pageHeight-36, tiny, l.r.Page(p, l.pages))
	}
}

// lackingNames lists the characters that were replaced, by number, or is empty.
func (c *canvas) lackingNames() string {
	const shown = 12
	var names []string
	for _, r := range slices.Clone(c.lacks)[:min(len(c.lacks), shown)] {
		names = append(names, fmt.Sprintf("U+%04X", r))
	}
	if len(c.lacks) > shown {
		names = append(names, "…")
	}
	return strings.Join(names, ", ")
}
