package vectors

import (
	"encoding/json"
	"time"

	"stele/notary/proof"
	"stele/notary/proof/checkpoint"
	"stele/notary/proof/prooftest"
)

// consistency are bundles that show another checkpoint to be of the same history.
func (b *builder) consistency() {
	good := func(name, about string, change ...func(*proof.Bundle)) {
		b.add("consistency-"+name, about, proof.Genuine, consistent(change...).Encode())
	}
	bad := func(name, about, reason string, change func(*proof.Bundle)) {
		b.bad("consistency-"+name, about, proof.StepConsistency, reason, consistent(change).Encode())
	}
	good("later", "a later anchored checkpoint grew out of the bundle's, and so did its block")
	good("no-headers", "the blocks' history is not shown", func(b *proof.Bundle) { b.Consistency.Headers = nil })
	good("not-anchored", "the other checkpoint is not anchored: the step is not checked",
		func(b *proof.Bundle) { b.Consistency.Anchors, b.Consistency.Headers = nil, nil })
	good("same", "the other checkpoint is the bundle's own", func(b *proof.Bundle) {
		b.Consistency = &proof.Consistency{Checkpoint: b.Log.Checkpoint, Anchors: b.Anchors,
			Headers: []proof.HeaderPath{{Chain: "egov-vectors"}}}
	})
	b.add("consistency-unknown-chain",
		"the other checkpoint is anchored on a chain that is not pinned: the step is not checked", proof.Genuine,
		consistent(func(b *proof.Bundle) {
			c, err := checkpoint.ParseUnsafe(b.Consistency.Checkpoint)
			if err != nil {
				panic("vectors: " + err.Error())
			}
			w := foreign()
			b.Consistency.Anchors, b.Consistency.Headers = []json.RawMessage{
				w.Anchor(prooftest.Checkpoint{Checkpoint: c})}, nil
		}).Encode())
	b.bad("consistency-no-checkpoint", "the bundle's own checkpoint cannot be read", proof.StepInclusion, "malformed",
		consistent(func(b *proof.Bundle) { b.Log.Checkpoint = []byte("log\n") }).Encode())
	earlier := consistentEarlier()
	b.add("consistency-earlier", "the bundle's checkpoint grew out of an earlier one", proof.Genuine, earlier.Encode())
	bad("bit", "a bit of the consistency proof is wrong", "not_consistent",
		func(b *proof.Bundle) { b.Consistency.Path[0][0] ^= 1 })
	bad("short", "a hash of the consistency proof is missing", "not_consistent",
		func(b *proof.Bundle) { b.Consistency.Path = b.Consistency.Path[1:] })
	bad("note", "the other checkpoint is no checkpoint", "malformed",
		func(b *proof.Bundle) { b.Consistency.Checkpoint = []byte("log\n") })
	bad("other-log", "the other checkpoint is one of another log", "other_log", func(b *proof.Bundle) {
		w := cityB()
		c := w.Checkpoint()
		b.Consistency.Checkpoint = c.Note
	})
	bad("signature", "the other checkpoint is signed with another key", "bad_evidence", func(b *proof.Bundle) {
		c, err := checkpoint.ParseUnsafe(b.Consistency.Checkpoint)
		if err != nil {
			panic("vectors: " + err.Error())
		}
		b.Consistency.Checkpoint = prooftest.SignNote(c, c.Origin, prooftest.NewKey("stranger"))
	})
	bad("anchor", "the anchor of the other checkpoint is the bundle's own", "bad_evidence",
		func(b *proof.Bundle) { b.Consistency.Anchors = b.Anchors })
	bad("header-path", "a bit of the path between the blocks is wrong", "history_differs",
		func(b *proof.Bundle) { b.Consistency.Headers[0].Path[0][0] ^= 1 })
	bad("header-order", "the block of the later checkpoint is before the other in time", "history_differs",
		func(b *proof.Bundle) {
			b.Consistency.Headers = nil
			b.Consistency.Anchors = []json.RawMessage{reordered()}
		})
}

// consistent is the genuine bundle with a later checkpoint of the same history.
func consistent(change ...func(*proof.Bundle)) *proof.Bundle {
	w := four()
	r := w.Issue(document)
	c := w.Checkpoint()
	first := w.AnchorEvidence(c)
	w.Fill(3)
	between := w.Checkpoint()
	w.AnchorEvidence(between)
	w.Fill(5)
	later := w.Checkpoint()
	second := w.AnchorEvidence(later)
	b := w.Bundle(r, c, prooftest.Encode(first))
	b.Consistency = &proof.Consistency{Checkpoint: later.Note, Path: w.Consistency(c.Size),
		Anchors: []json.RawMessage{prooftest.Encode(second)},
		Headers: []proof.HeaderPath{
			{Chain: first.Header.Chain, Path: w.Chain.HistoryPath(first.Header, second.Header)}}}
	for _, f := range change {
		f(b)
	}
	return b
}

func consistentEarlier() *proof.Bundle {
	w := four()
	before := w.Checkpoint()
	first := w.AnchorEvidence(before)
	r := w.Issue(document)
	c := w.Checkpoint()
	b := w.Bundle(r, c, w.Anchor(c))
	b.Consistency = &proof.Consistency{Checkpoint: before.Note, Path: w.Consistency(before.Size),
		Anchors: []json.RawMessage{prooftest.Encode(first)}}
	return b
}

// reordered is the anchor of the later checkpoint of [consistent] by a chain whose clock went back.
func reordered() json.RawMessage {
	w := four()
	w.Issue(document)
	c := w.Checkpoint()
	w.AnchorEvidence(c)
	w.Fill(8)
	later := w.Checkpoint()
	w.Now = w.Now.Add(-time.Hour)
	return w.Anchor(later)
}
