package certificate_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pdfcpu/pdfcpu/pkg/api"
	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu/model"

	"stele/notary/issue/certificate"
	"stele/notary/proof/carrier"
)

// aReport has every part, with the same text wherever a stranger could have chosen it.
func aReport(s string, repeat int) certificate.Report {
	fact := certificate.ReportFact{Label: s, Value: s, Note: s}
	step := certificate.ReportStep{Status: "passed", StatusText: "Passed", Title: "Step", Text: s, Note: s}
	r := certificate.Report{Language: "zh-CN", At: time.Date(2026, 11, 22, 6, 28, 42, 0, time.UTC), Author: s,
		Title: "核验报告", Subtitle: "2026-11-22", Notice: "no certificate",
		Running: "核验报告", Foot: "foot", Verdict: "genuine", Label: "一致", Sentence: s, Paragraphs: []string{s, s},
		Page:    func(page, pages int) string { return fmt.Sprintf("%d/%d", page, pages) },
		Lacking: func(c string) string { return "lacking " + c }, Cut: "cut here"}
	var facts certificate.Section
	for range repeat {
		facts.Facts = append(facts.Facts, fact)
		step.Values = append(step.Values, fact)
	}
	facts.Heading = "facts"
	r.Sections = []certificate.Section{facts, {Heading: "steps", Lead: s, Steps: []certificate.ReportStep{step, step}},
		{Heading: "columns", Columns: []certificate.Column{{Heading: "a", Text: s}, {Heading: "b", Text: s}}},
		{Heading: "again", Notes: []string{s}, Commands: []string{s, s}}}
	return r
}

var digestText = strings.Repeat("0123456789abcdef", 4)

// Whatever somebody chose as text, a report is a sound PDF of few pages, all of it inside the
// frame, the same every time, and no certificate.
func TestReportStaysInShape(t *testing.T) {
	model.ConfigPath = "disable"
	for name, c := range map[string]struct {
		text   string
		repeat int
	}{
		"empty": {"", 1}, "short": {"值", 3}, "digest": {digestText, 3},
		"long": {strings.Repeat("关于印发历史遗留问题处理方案的通知", 40), 4}, "word": {strings.Repeat("W", 5000), 2},
		"lines": {strings.Repeat("line\n", 500), 3}, "controls": {strings.Repeat("\x00\x1b[31m\u202e\u200b\ufeff", 300),
			2}, "emoji": {"🙂🪨" + strings.Repeat("𠮷", 200), 2},
		"syntax": {"endstream endobj ) > <</Type /Catalog>> (", 2}, "megabyte": {strings.Repeat("x ", 1<<19), 30},
		"not UTF-8": {"\xff\xfe\xfd", 2},
	} {
		t.Run(name, func(t *testing.T) {
			r := aReport(c.text, c.repeat)
			pdf, err := certificate.RenderReport(r)
			fatalIfErr(t, err)
			if name == "emoji" {
				if again, err := certificate.RenderReport(r); err != nil || !bytes.Equal(again, pdf) {
					t.Errorf("two drawings of one report differ (%v)", err)
				}
			}
			if err := api.Validate(bytes.NewReader(pdf), model.NewDefaultConfiguration()); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if qpdf, err := exec.LookPath("qpdf"); err == nil {
				file := filepath.Join(t.TempDir(), "report.pdf")
				fatalIfErr(t, os.WriteFile(file, pdf, 0o600))
				if out, err := exec.CommandContext(t.Context(), qpdf, "--check", file).CombinedOutput(); err != nil ||
					bytes.Contains(out, []byte("WARNING")) {
					t.Errorf("%s: %v\n%s", name, err, out)
				}
			}
			if _, _, err := carrier.Extract(pdf); !errors.Is(err, carrier.ErrForeign) {
				t.Errorf("%s: a verifier takes it for a certificate: %v", name, err)
			}
			out := poppler(t, pdf, "pdftotext", "-bbox")
			if n := bytes.Count(out, []byte("<page ")); n < 1 || n > 24 {
				t.Errorf("%s has %d pages", name, n)
			}
			for _, w := range word.FindAllSubmatch(out, -1) {
				var box [4]float64
				for i := range box {
					box[i], _ = strconv.ParseFloat(string(w[i+1]), 64)
				}
				if box[0] < 60 || box[2] > 536 || box[1] < 40 || box[3] > 812 {
					t.Errorf("%s: %q at %v", name, w[5], box)
				}
			}
			got := text(t, pdf)
			if cut := strings.Contains(got, "cuthere"); cut != (name == "megabyte") {
				t.Errorf("%s: cut: %t", name, cut)
			}
			if strings.ContainsAny(got, "\u202e\u200b\x1b") {
				t.Errorf("%s: what steers a reader is in the text", name)
			}
		})
	}
}

// FuzzReport: no text makes drawing fail.
func FuzzReport(f *testing.F) {
	for _, s := range []string{"", "值", digestText, "a\nb\n\n", "\x00\u202e🙂", "（（（", strings.Repeat("W", 600),
		"()\\<>"} {
		f.Add(s, uint8(2))
	}
	f.Fuzz(func(t *testing.T, s string, repeat uint8) {
		if _, err := certificate.RenderReport(aReport(s, int(repeat%70))); err != nil {
			t.Error(err)
		}
	})
}

func BenchmarkReport(b *testing.B) {
	r := aReport("江城市政务服务局于2026年11月22日登记了它", 12)
	for b.Loop() {
		if _, err := certificate.RenderReport(r); err != nil {
			b.Fatal(err)
		}
	}
}
