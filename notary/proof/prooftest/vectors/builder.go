package vectors

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"stele/notary/proof"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/prooftest"
)

const (
	seed         = "vectors"
	documentFile = "document.pdf"
	otherFile    = "other.pdf"
	emptyFile    = "empty.bin"
	trustFile    = "trust.json"
	deepFile     = "trust-deep.json" // of the instance with an authority between root and agencies
)

var (
	document      = []byte("%PDF-1.7\n% a document of the test vectors\n%%EOF\n")
	otherDocument = []byte("%PDF-1.7\n% a document of the test vectors.\n%%EOF\n")
)

type builder struct {
	set   *Set
	names map[string]bool
}

// add enters a vector about the usual document; edit changes what differs from that.
func (b *builder) add(name, about string, verdict proof.Verdict, bundle []byte, edit ...func(*Vector)) {
	v := Vector{Name: name, About: about, Trust: trustFile, Bundle: name + ".json", Document: documentFile,
		Verdict: verdict}
	for _, e := range edit {
		e(&v)
	}
	if b.names[name] {
		panic("vectors: two are named " + name)
	}
	b.names[name] = true
	b.set.Files[v.Bundle] = bundle
	b.set.Index.Vectors = append(b.set.Index.Vectors, v)
}

// bad enters a vector that a step must refuse.
func (b *builder) bad(name, about string, step proof.StepName, reason string, bundle []byte, edit ...func(*Vector)) {
	b.add(name, about, proof.Invalid, bundle,
		append([]func(*Vector){func(v *Vector) { v.Step, v.Reason = step, reason }}, edit...)...)
}

func trustedBy(file string) func(*Vector) { return func(v *Vector) { v.Trust = file } }

func about(file string) func(*Vector) { return func(v *Vector) { v.Document = file } }

// The worlds all have the seed's root, agency and log, and chains of their own. Each call
// begins anew, so that no vector depends on those before it.

// four has four validators of equal power, a log of some size, and other logs in its blocks.
func four() *prooftest.World {
	return prooftest.New(prooftest.Options{Seed: seed, Validators: 4, Entries: 5, Neighbours: 2})
}

// solo is the smallest instance: one validator, one record.
func solo() *prooftest.World {
	return prooftest.New(prooftest.Options{Seed: seed, Chain: "egov-solo"})
}

// three has three validators of equal power: two of them are exactly two thirds.
func three() *prooftest.World {
	return prooftest.New(prooftest.Options{Seed: seed, Validators: 3, Entries: 2, Chain: "egov-three"})
}

// foreign is another instance: nothing in it is pinned.
func foreign() *prooftest.World {
	return prooftest.New(prooftest.Options{Seed: "foreign", Validators: 4, Entries: 3})
}

// genuine is the bundle that most bad ones are made from.
func genuine() *proof.Bundle {
	w := four()
	r := w.Issue(document)
	w.Fill(3)
	c := w.Checkpoint()
	return w.Bundle(r, c, w.Anchor(c))
}

// damaged is the genuine bundle with one thing changed.
func damaged(change func(*proof.Bundle)) []byte {
	b := genuine()
	change(b)
	return b.Encode()
}

// replaced is the genuine bundle's text with one thing replaced.
func replaced(old, new string) []byte { return replaceIn(genuine().Encode(), old, new) }

func replaceIn(text []byte, old, new string) []byte {
	if bytes.Count(text, []byte(old)) != 1 {
		panic(fmt.Sprintf("vectors: %q must occur once", old))
	}
	return bytes.Replace(text, []byte(old), []byte(new), 1)
}

// evidenceOf opens the bundle's only anchor.
func evidenceOf(b *proof.Bundle) anchorproof.Evidence {
	e, err := anchorproof.ParseEvidence(b.Anchors[0])
	if err != nil {
		panic("vectors: " + err.Error())
	}
	return e
}

// withEvidence is the genuine bundle with its anchor's evidence changed.
func withEvidence(change func(*anchorproof.Evidence)) []byte {
	return damaged(func(b *proof.Bundle) {
		e := evidenceOf(b)
		change(&e)
		b.Anchors = []json.RawMessage{prooftest.Encode(e)}
	})
}

// entered is the bundle of an entry that was signed otherwise than it should be, but
// properly logged and anchored: only what the vector is about is wrong.
func entered(change func(w *prooftest.World, r *prooftest.Record)) []byte {
	return enteredIn(four(), change)
}

func enteredIn(w *prooftest.World, change func(w *prooftest.World, r *prooftest.Record)) []byte {
	s, fields := w.Draft(document)
	text, err := s.Encode()
	if err != nil {
		panic("vectors: " + err.Error())
	}
	r := &prooftest.Record{Statement: s, Bytes: text, Certificates: w.Agency.Certificates, Fields: fields}
	change(w, r)
	if r.Signature == nil {
		r.Signature = w.Agency.Key.Sign(r.Bytes)
	}
	w.EnterSigned(r)
	c := w.Checkpoint()
	return w.Bundle(r, c, w.Anchor(c)).Encode()
}

// flip returns a copy with the lowest bit of one byte changed.
func flip(b []byte, at int) []byte {
	out := slices.Clone(b)
	out[at] ^= 1
	return out
}
