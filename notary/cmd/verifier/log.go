package verifier

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"stele/notary/proof"
)

// logHelp is the part of the help about --log.
const logHelp = `
       stele-verify --trust trust.json [--json | --quiet] --log A B

With --log the two files, each a bundle, a certificate or an evidence package, are compared with
each other: did the log only grow between them? No document is looked at. What both sides signed
and cannot both be true is reported as a contradiction: two roots for one size, two entries at one
place, blocks out of order, two records with one number. It is evidence against whoever signed:
keep both files. The exit code then says:

  0  one_history   the log only grew from the one to the other
  3  contradiction what both sides signed cannot both be true; or invalid: a file does not hold
  4  not_shown     nothing speaks against one history, yet something is missing; the text says what
                   to ask the service for, as a rule: stele bundle NUMBER --with OTHER-NUMBER
  2                as above
`

// historyExits are the exit codes of --log; those of verdicts that mean the like are the same.
var historyExits = map[proof.HistoryResult]int{proof.OneHistory: 0, proof.Contradiction: 3, proof.HistoryInvalid: 3,
	proof.NotShown: 4}

// checkLog refuses what does not go together with --log.
func (o options) checkLog(files []string) error {
	switch {
	case o.trust == "":
		return errors.New("--trust is missing: name the file with the trust roots")
	case len(files) != 2 || files[0] == "" || files[1] == "":
		return fmt.Errorf("--log compares two pieces of evidence; %d are given, and options go before them", len(files))
	case files[0] == "-" || files[1] == "-":
		return errors.New("--log reads evidence from files, not from the standard input")
	case o.digest != nil || o.extract != "" || o.within != 0:
		return errors.New("--log looks at no document and no standing: leave --sm3, --extract and --status-within out")
	case o.json && o.quiet:
		return errors.New("give --json or --quiet, not both")
	}
	return nil
}

// compare reads both files and asks for the result.
func (o options) compare(ctx context.Context, stdout, stderr io.Writer) (code int, err error) {
	trust, err := loadTrust(o.trust, o.signer)
	if err != nil {
		return 0, err
	}
	names := []string{o.evidence, o.file}
	var pieces [2]proof.Carried
	for i, name := range names {
		given, err := openEvidence(ctx, name, nil, stderr)
		if err != nil {
			return 0, fmt.Errorf("evidence: %w", err)
		}
		pieces[i].Bundle = given.bundle
		if given.fault != nil {
			pieces[i].Fault = proof.BadPackage(given.fault.Entry, given.fault.Error())
		}
	}
	r := proof.CompareCarried(trust, pieces[0], pieces[1])
	return historyExits[r.Result], o.printHistory(stdout, r, names)
}

func (o options) printHistory(w io.Writer, r *proof.HistoryReport, names []string) error {
	text := fmt.Sprintf("%s: %s\n", r.Result, Printable(r.Summary))
	switch {
	case o.json:
		text = string(r.JSON()) + "\n"
	case !o.quiet:
		text += historySides(r, names) + findings(r)
	}
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// historySides says which file is which, and what each of them says where it holds.
func historySides(r *proof.HistoryReport, names []string) string {
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "  %-13s %s\n", name, Printable(value))
		}
	}
	for i, s := range r.Bundles {
		fmt.Fprintf(&b, "\n%s %s\n", s.Bundle, Printable(names[i]))
		if s.Log == nil {
			line("evidence", s.Summary)
			continue
		}
		line("number", s.Number)
		line("agency", s.Agency.Name+" ("+s.Agency.Code+")")
		line("log", fmt.Sprintf("%s, index %d of %d", s.Log.Origin, s.Log.Index, s.Log.Size))
		line("root", s.Root)
		if s.AnchoredAt != "" {
			line("in log by", s.AnchoredAt+" ("+s.AnchoredBy+")")
		}
	}
	return b.String()
}

func findings(r *proof.HistoryReport) string {
	var b strings.Builder
	b.WriteString("\n")
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "  %-16s %s\n", f.Code, Printable(f.Detail))
		for _, c := range f.Compared {
			fmt.Fprintf(&b, "  %-16s %s:\n", "", Printable(c.What))
			for l := range strings.Lines(c.Value) { // notes and headers have several
				fmt.Fprintf(&b, "  %-16s   %s\n", "", Printable(strings.TrimSuffix(l, "\n")))
			}
		}
	}
	return b.String()
}
