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

// Print writes a report: as JSON, as its sentence alone, or in full.
func Print(w io.Writer, r *proof.Report, json, quiet bool) error {
	return write(w, &outcome{report: r}, json, quiet)
}

func write(w io.Writer, out *outcome, json, quiet bool) error {
	r := out.report
	var text string
	switch {
	case json:
		text = string(r.JSON()) + "\n"
	case quiet:
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
		fmt.Fprintf(&b, "\n  %-13s %s in the package, SM3 %s, %d bytes\n", "checked", c.name, c.digest, c.size)
	}
	for _, name := range out.written {
		fmt.Fprintf(&b, "  %-13s %s\n", "written", Printable(name))
	}
	return b.String()
}

// facts are what the evidence says, shown only where it holds.
func facts(r *proof.Report) string {
	if !r.Shows() {
		return ""
	}
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "  %-13s %s\n", name, Printable(value))
		}
	}
	b.WriteString("\n")
	line("number", r.Number)
	line("agency", r.Agency.Name+" ("+r.Agency.Code+")")
	line("document", "SM3 "+r.Document.SM3)
	line("", stated(r.Document))
	line("class", r.Class)
	for _, a := range r.Anchors {
		line("vouched for", anchor(a))
	}
	line("agency's date", r.IssuedAt)
	line("standing", standing(r.Standing))
	line("supersedes", r.Supersedes)
	for _, name := range slices.Sorted(maps.Keys(r.Fields)) {
		line(name, r.Fields[name])
	}
	for _, w := range r.Warnings {
		fmt.Fprintf(&b, "\nWarning: %s [%s]\n", Printable(w.Detail), w.Code)
	}
	if r.Proves != "" {
		b.WriteString("\n" + r.Proves + "\n")
	}
	return b.String()
}

// stated says what is the agency's word about the document, and what was compared.
func stated(d *proof.DocumentReport) string {
	if d.SizeCompared {
		return fmt.Sprintf("%d bytes, compared; %s, as the agency states", d.Size, d.MediaType)
	}
	return fmt.Sprintf("%d bytes, %s, as the agency states", d.Size, d.MediaType)
}

// standing says as of when the log's status is, where there is one.
func standing(s *proof.StandingReport) string {
	if s == nil || s.AsOf == "" {
		return ""
	}
	return fmt.Sprintf("%s as of %s, by the log's status on %s", s.State, s.AsOf, s.VouchedBy)
}

// anchor says not later than when, and on whose word.
func anchor(a proof.AnchorReport) string {
	if a.Strength == proof.Attested {
		return fmt.Sprintf("not later than %s, attested by the gateway %s for %s", a.Time, a.Gateway, a.Chain)
	}
	text := fmt.Sprintf("not later than %s on %s, block %d, self-proving, by %s",
		a.Time, a.Chain, a.Height, strings.Join(a.Cosigners, ", "))
	if len(a.Organizations) > 0 {
		text += " (" + strings.Join(a.Organizations, ", ") + ")"
	}
	for _, m := range a.Moved {
		text += fmt.Sprintf("; the log moved from %s to %s on %s, by its operator's date", m.From, m.To, m.At)
	}
	return text
}

var marks = map[proof.Status]string{proof.Passed: "ok", proof.Failed: "FAILED", proof.Skipped: "skipped",
	proof.NotChecked: "unchecked"}

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
