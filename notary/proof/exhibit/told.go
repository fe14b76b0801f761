package exhibit

import (
	"strconv"
	"strings"

	"stele/crypto/sm"
	"stele/notary/proof"
)

// description says in sentences what the picture shows, for those who do not see it.
func (d *drawing) description() string {
	w := d.words
	var said []string
	say := func(key string, pairs ...string) { said = append(said, w(key, pairs...)) }
	switch d.status(proof.StepDocument) {
	case proof.Passed:
		say("picture.say.document")
	case proof.Failed:
		say("picture.say.document_differs")
	default:
		say("picture.say.document_absent")
	}
	agency := ""
	if d.report.Agency != nil {
		agency = d.report.Agency.Name
	}
	told := func(status proof.Status, what, key string, pairs ...string) {
		switch status {
		case proof.Passed:
			say(key, pairs...)
		case proof.Failed:
			say("picture.say.failed", "what", w(what))
		default:
			say("picture.say.open", "what", w(what))
		}
	}
	told(d.status(proof.StepStatement, proof.StepCertificate), "picture.link_statement", "picture.say.statement",
		"agency", agency)
	told(d.status(proof.StepInclusion), "picture.link_inclusion", "picture.say.inclusion", "index",
		strconv.FormatUint(d.own.Index, 10), "levels", strconv.Itoa(len(d.own.Path)), "size",
		strconv.FormatUint(d.own.Size, 10))
	told(d.status(proof.StepCheckpoint), "picture.checkpoint", "picture.say.checkpoint")
	if len(d.anchors) == 0 {
		say("picture.say.not_anchored")
	}
	for i := range d.anchors {
		a := &d.anchors[i]
		if a.report == nil {
			told(a.status, "picture.link_anchor", "picture.say.open", "what", w("picture.link_anchor"))
			continue
		}
		if a.report.Strength == proof.Attested {
			say("picture.say.attested", "chain", a.report.Chain, "gateway", a.report.Gateway)
			continue
		}
		signed, absent := a.names(true), a.names(false)
		say("picture.say.anchor", "chain", a.report.Chain, "height", strconv.FormatUint(a.report.Height, 10), "signed",
			strconv.Itoa(len(signed)),
			"total", strconv.Itoa(len(a.validators)), "names", d.list(signed))
		if len(absent) > 0 {
			say("picture.say.absent", "names", d.list(absent))
		}
	}
	if s := d.report.Standing; s != nil && d.status(proof.StepStanding) == proof.Passed {
		switch proof.Verdict(s.State) {
		case proof.Revoked:
			say("picture.say.revoked")
		case proof.Superseded:
			say("picture.say.superseded")
		}
	}
	return strings.Join(said, " ")
}

// list joins names as the language does.
func (d *drawing) list(names []string) string {
	out := ""
	for i, n := range names {
		if i == 0 {
			out = n
			continue
		}
		out = d.words("picture.and", "a", out, "b", n)
	}
	return out
}

// points are what the picture shows, from the document on, with whole values.
func (d *drawing) points() []Value {
	w := d.words
	s := d.own
	out := []Value{digestOf(w("picture.point.document"), s.Statement.Document.SM3),
		digestOf(w("picture.point.statement"), sm.Sum(s.Evidence.Statement)),
		digestOf(w("picture.leaf"), s.Leaf)}
	for i, p := range s.Path {
		key, n := "picture.right", strconv.Itoa(i+1)
		if p.Left {
			key = "picture.left"
		}
		out = append(out, digestOf(w(key, "n", n), p.Hash), digestOf(w("picture.node", "n", n), p.Node))
	}
	out = append(out, block(w("picture.checkpoint"), s.Checkpoint.Text()))
	for i := range d.anchors {
		a := &d.anchors[i]
		if a.report == nil {
			continue
		}
		if a.evidence != nil {
			out = append(out, block(w("picture.block", "height", strconv.FormatUint(a.report.Height, 10)),
				a.evidence.Evidence.Header.Text()))
		}
		out = append(out, text(w("picture.point.signed"), d.list(a.names(true))))
		if absent := a.names(false); len(absent) > 0 {
			out = append(out, text(w("picture.point.absent"), d.list(absent)))
		}
	}
	return out
}
