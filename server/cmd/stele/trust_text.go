package main

import (
	"fmt"
	"strings"
	"time"

	"stele/notary/cmd/verifier"
)

// text is a trust file for people.
func (v shownTrust) text() string {
	var b strings.Builder
	line := func(format string, args ...any) {
		b.WriteString(verifier.Printable(fmt.Sprintf(format, args...)))
		b.WriteByte('\n')
	}
	line("%s, SM3 %s", v.Format, v.SM3)
	line("A date more than %s before its anchor is late.", v.Late)
	for _, r := range v.Roots {
		line("")
		line("root      %s", r.Holder)
		line("  SM3     %s", r.SM3)
		if r.NotAfter != nil {
			line("  valid   to %s", when(*r.NotAfter))
		}
		line("  speaks  for %s", r.SpeaksFor)
	}
	v.logs(line)
	for _, c := range v.Chains {
		c.text(line)
	}
	for _, g := range v.Gateways {
		line("")
		line("gateway   %s", g.Name)
		line("  of      %s, %s", g.App, g.Kind)
		line("  key     SM3 %s", g.Key)
	}
	return b.String()
}

func (v shownTrust) logs(line func(string, ...any)) {
	before := ""
	for _, l := range v.Logs {
		if l.Origin != before {
			line("")
			line("log       %s", l.Origin)
			anchors := "any pinned chain or gateway"
			if l.Chains != nil {
				anchors = strings.Join(l.Chains, ", ")
			}
			line("  anchors %s", anchors)
		}
		before = l.Origin
		until := ""
		if l.NotAfter != nil {
			until = " to " + when(*l.NotAfter)
		}
		line("  key     %s", l.Key)
		line("          valid from %s%s", when(l.NotBefore), until)
	}
}

func (c shownChain) text(line func(string, ...any)) {
	line("")
	line("chain     %s", c.Chain)
	line("  epoch 0 %s", c.Genesis)
	for _, e := range c.Epochs {
		line("  epoch %d %s since %s", e.Number, e.Hash, when(e.From))
	}
	for _, m := range c.Validators {
		line("  member  %s, key %.16s…: %s", m.Name, m.Key, m.holder())
	}
	for _, m := range c.Others {
		line("  member  of a later epoch, key %.16s…: %s", m.Key, m.holder())
	}
}

func (m shownValidator) holder() string {
	if m.Organization == "" {
		return "no organization is named"
	}
	return m.Organization + " (" + m.Code + ")"
}

func when(t time.Time) string { return t.UTC().Format(time.RFC3339) }
