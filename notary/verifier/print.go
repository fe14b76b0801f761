package verifier

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode"

	"stele/notary/proof"
)

func (o options) print(w io.Writer, out *outcome) error {
	r := out.report
	var text string
	switch {
	case o.json:
		text = string(r.JSON()) + "\n"
	case o.quiet:
		text = sentence(r)
	default:
		text = sentence(r) + taken(out) + facts(r) + steps(r)
	}
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

func sentence(r *proof.Report) string {
	return fmt.Sprintf("%s: %s\n", r.Verdict, Printable(r.Summary))
}

// taken names the document that was in the package, and where it was written: whoever goes on
// with the package must know which file the verdict is about.
func taken(out *outcome) string {
	var b strings.Builder
	if c := out.checked; c != nil {
		fmt.Fprintf(&b, "\n  %-12s %s in the package, SM3 %s, %d bytes\n", "checked", c.name, c.digest, c.size)
	}
	for _, name := range out.written {
		fmt.Fprintf(&b, "  %-12s %s\n", "written", Printable(name))
	}
	return b.String()
}

// facts are what the evidence says, shown only where it holds.
func facts(r *proof.Report) string {
	if r.Verdict == proof.Invalid || r.Verdict == proof.Unverifiable || r.Agency == nil {
		return ""
	}
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "  %-12s %s\n", name, Printable(value))
		}
	}
	b.WriteString("\n")
	line("number", r.Number)
	line("agency", r.Agency.Name+" ("+r.Agency.Code+")")
	line("document", fmt.Sprintf("SM3 %s, %d bytes, %s", r.Document.SM3, r.Document.Size, r.Document.MediaType))
	line("class", r.Class)
	line("issued", r.IssuedAt)
	line("supersedes", r.Supersedes)
	for _, a := range r.Anchors {
		line("anchored", fmt.Sprintf("%s on %s, block %d, %s, by %s", a.Time, a.Chain, a.Height, a.Strength, vouchers(a)))
	}
	for _, name := range slices.Sorted(maps.Keys(r.Fields)) {
		line(name, r.Fields[name])
	}
	if r.Proves != "" {
		b.WriteString("\n" + r.Proves + "\n")
	}
	return b.String()
}

// vouchers are those whose word an anchor stands on.
func vouchers(a proof.AnchorReport) string {
	if a.Strength == proof.Attested {
		return "the gateway " + a.Gateway
	}
	return strings.Join(a.Cosigners, ", ")
}

var marks = map[proof.Status]string{proof.Passed: "ok", proof.Failed: "FAILED", proof.Skipped: "skipped", proof.NotChecked: "unchecked"}

func steps(r *proof.Report) string {
	var b strings.Builder
	b.WriteString("\n")
	for _, s := range r.Steps {
		fmt.Fprintf(&b, "  %-10s%-12s %s", marks[s.Status], s.Name, Printable(s.Detail))
		if s.Reason != "" {
			fmt.Fprintf(&b, " [%s]", s.Reason)
		}
		if s.Strength != "" {
			fmt.Fprintf(&b, " (%s)", s.Strength)
		}
		b.WriteString("\n")
		if s.Status != proof.Failed {
			continue
		}
		for _, c := range s.Compared {
			fmt.Fprintf(&b, "  %-10s%-12s %s: %s\n", "", "", c.What, Printable(c.Value))
		}
	}
	return b.String()
}

// Printable keeps text from outside, out of a bundle or an answer, from steering the terminal or
// posing as other lines.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsGraphic(r) {
			return '\ufffd'
		}
		return r
	}, s)
}
