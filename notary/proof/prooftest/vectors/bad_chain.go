package vectors

import (
	"bytes"
	"encoding/json"
	"time"

	"stele/notary/proof"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/prooftest"
)

// badAnchor are anchors that do not prove that the checkpoint was anchored. The log holds.
func (b *builder) badAnchor() {
	bad := func(name, about string, bundle []byte) {
		b.bad("anchor-"+name, about, proof.StepAnchor, "bad_evidence", bundle)
	}
	bad("other-checkpoint", "the evidence is of another checkpoint of the log", func() []byte {
		w := four()
		earlier := w.Checkpoint()
		anchor := w.Anchor(earlier)
		r := w.Issue(document)
		return w.Bundle(r, w.Checkpoint(), anchor).Encode()
	}())
	bad("two-thirds", "cosigned by exactly two thirds of the power", func() []byte {
		w := three()
		r := w.Issue(document)
		c := w.Checkpoint()
		return w.Bundle(r, c, w.Anchor(c, 0, 1)).Encode()
	}())
	bad("no-cosignature", "nobody cosigned", withEvidence(func(e *anchorproof.Evidence) { e.Cosignatures = nil }))
	bad("duplicate-cosigner", "one validator counts twice", withEvidence(func(e *anchorproof.Evidence) {
		e.Cosignatures = []anchorproof.Cosignature{e.Cosignatures[0], e.Cosignatures[1], e.Cosignatures[1]}
	}))
	bad("cosigner-order", "the cosigners are not in order", withEvidence(func(e *anchorproof.Evidence) {
		e.Cosignatures[0], e.Cosignatures[1] = e.Cosignatures[1], e.Cosignatures[0]
	}))
	bad("cosigner-unknown", "a validator that the epoch does not have",
		withEvidence(func(e *anchorproof.Evidence) { e.Cosignatures[3].Validator = 4 }))
	bad("cosigner-exchanged", "two cosignatures stand under each other's name",
		withEvidence(func(e *anchorproof.Evidence) {
			e.Cosignatures[0].Signature, e.Cosignatures[1].Signature = e.Cosignatures[1].Signature,
				e.Cosignatures[0].Signature
		}))
	bad("cosignature-spoilt", "one of four cosignatures is wrong, three would do",
		withEvidence(func(e *anchorproof.Evidence) {
			e.Cosignatures[3].Signature = flip(e.Cosignatures[3].Signature, 20)
		}))
	bad("time", "the time was changed after signing", withEvidence(func(e *anchorproof.Evidence) { e.Header.TimeMs-- }))
	bad("height", "the height was changed after signing",
		withEvidence(func(e *anchorproof.Evidence) { e.Header.Height++ }))
	bad("epoch", "the header names an epoch that the evidence does not lead to",
		withEvidence(func(e *anchorproof.Evidence) { e.Header.Epoch++ }))
	bad("position", "the position is off by one", withEvidence(func(e *anchorproof.Evidence) { e.Position++ }))
	bad("path-short", "a hash of the path is missing",
		withEvidence(func(e *anchorproof.Evidence) { e.Path = e.Path[1:] }))
	bad("path-bit", "a bit of the path is wrong", withEvidence(func(e *anchorproof.Evidence) { e.Path[0][0] ^= 1 }))
	bad("count", "the header commits more checkpoints than it did",
		withEvidence(func(e *anchorproof.Evidence) { e.Header.Count++ }))
	bad("chain-renamed", "the header names a chain that is not pinned, but a pinned one signed it",
		withEvidence(func(e *anchorproof.Evidence) { e.Header.Chain = "egov-vectorz" }))
	bad("chain-exchanged", "the header names another pinned chain",
		withEvidence(func(e *anchorproof.Evidence) { e.Header.Chain = "egov-solo" }))
	bad("second", "the first anchor holds, the second does not", damaged(func(b *proof.Bundle) {
		e := evidenceOf(b)
		e.Header.Chain = "egov-solo"
		b.Anchors = append(b.Anchors, prooftest.Encode(e))
	}))
	b.bad("anchor-twice", "the same anchor stands there twice", proof.StepAnchor, "duplicate",
		damaged(func(b *proof.Bundle) { b.Anchors = append(b.Anchors, b.Anchors[0]) }))
	b.bad("anchor-time-order", "anchored an hour before the statement says it was issued", proof.StepAnchor,
		"time_order", func() []byte {
			w := four()
			r := w.Issue(document)
			c := w.Checkpoint()
			w.Tick(-time.Hour)
			return w.Bundle(r, c, w.Anchor(c)).Encode()
		}())
	malformed := func(name, about, old, new string) {
		b.bad("anchor-"+name, about, proof.StepAnchor, "malformed", changed(genuine(), func(b *proof.Bundle) {
			b.Anchors = []json.RawMessage{replaceIn(b.Anchors[0], old, new)}
		}))
	}
	malformed("repeated-key", "a key of the evidence stands there twice", `"position":1`, `"position":1,"position":1`)
	malformed("null", "null in place of an empty list", `"epochs":[]`, `"epochs":null`)
	malformed("no-header", "the header is an empty text", `"header":"stele/anchor/v1`, `"header":"","note":"`)
	malformed("header-line", "the header has a line more", `\nhistory `, `\nnote x\nhistory `)
	malformed("header-zero", "a number of the header has a leading zero", `\nheight `, `\nheight 0`)
	malformed("header-precision", "the header's time has seconds only", `.623Z\n`, `Z\n`)
}

// badEpochs are anchors whose epochs do not lead from the pinned one to the header's.
func (b *builder) badEpochs() {
	b.bad("epoch-line-ends", "lines of an epoch end with CR LF", proof.StepAnchor, "malformed",
		bytes.ReplaceAll(notarized(handedOver()), []byte(`\nvalidator`), []byte(`\r\nvalidator`)))
	with := func(change func(e *anchorproof.Evidence)) []byte {
		return changed(handedOver().Notarize(document), func(b *proof.Bundle) {
			e := evidenceOf(b)
			change(&e)
			b.Anchors = []json.RawMessage{prooftest.Encode(e)}
		})
	}
	bad := func(name, about string, bundle []byte) {
		b.bad("epoch-"+name, about, proof.StepAnchor, "bad_evidence", bundle)
	}
	bad("skipped", "the first of two epochs is missing",
		with(func(e *anchorproof.Evidence) { e.Epochs = e.Epochs[1:] }))
	bad("missing", "no epochs at all", with(func(e *anchorproof.Evidence) { e.Epochs = nil }))
	bad("short", "the last of two epochs is missing", with(func(e *anchorproof.Evidence) { e.Epochs = e.Epochs[:1] }))
	bad("order", "the epochs have changed places",
		with(func(e *anchorproof.Evidence) { e.Epochs[0], e.Epochs[1] = e.Epochs[1], e.Epochs[0] }))
	bad("twice", "an epoch stands there twice", with(func(e *anchorproof.Evidence) {
		e.Epochs = []anchorproof.SignedEpoch{e.Epochs[0], e.Epochs[0], e.Epochs[1]}
	}))
	bad("superfluous", "an epoch that is later than the header's", func() []byte {
		w := handedOver()
		r := w.Issue(document)
		c := w.Checkpoint()
		e := w.AnchorEvidence(c)
		w.Chain.HandOver(w.Chain.Members, w.Chain.Genesis.Notaries)
		e.Epochs = w.Chain.Epochs
		return w.Bundle(r, c, prooftest.Encode(e)).Encode()
	}())
	bad("no-quorum", "half of the power handed over", func() []byte {
		w := prooftest.New(prooftest.Options{Seed: seed, Validators: 4, Chain: "egov-epochs"})
		w.Chain.HandOver(w.Chain.Members, w.Chain.Genesis.Notaries, 0, 1)
		return notarized(w)
	}())
	bad("signature", "a signature of the hand-over is wrong", with(func(e *anchorproof.Evidence) {
		e.Epochs[0].Signatures[0].Signature = flip(e.Epochs[0].Signatures[0].Signature, 30)
	}))
	bad("previous", "the epoch names another one as previous",
		with(func(e *anchorproof.Evidence) { e.Epochs[1].Previous[0] ^= 1 }))
	bad("power", "a power was changed after signing",
		with(func(e *anchorproof.Evidence) { e.Epochs[1].Validators[0].Power++ }))
	bad("chain", "the epoch is of another chain",
		with(func(e *anchorproof.Evidence) { e.Epochs[0].Chain = "egov-epochz" }))
	bad("no-join", "the newcomer does not prove its keys",
		with(func(e *anchorproof.Evidence) { e.Epochs[0].Joins = nil }))
	bad("join-sm2", "the newcomer's SM2 signature is wrong",
		with(func(e *anchorproof.Evidence) { e.Epochs[0].Joins[0].SM2 = e.Epochs[0].Signatures[0].Signature }))
	bad("join-ed25519", "the newcomer's Ed25519 signature is wrong",
		with(func(e *anchorproof.Evidence) { e.Epochs[0].Joins[0].Ed25519 = flip(e.Epochs[0].Joins[0].Ed25519, 5) }))
	bad("join-superfluous", "a member that stays proves its keys", with(func(e *anchorproof.Evidence) {
		j := e.Epochs[0].Joins[0]
		e.Epochs[1].Joins = append(e.Epochs[1].Joins, j)
	}))
	bad("old-validator", "a validator that left cosigned in place of the one that entered", func() []byte {
		w := handedOver()
		r := w.Issue(document)
		c := w.Checkpoint()
		e := w.AnchorEvidence(c)
		left := prooftest.NewMember(seed, "city-0", 10)
		e.Cosignatures[3].Signature = left.Key.Sign([]byte(e.Header.Text()))
		return w.Bundle(r, c, prooftest.Encode(e)).Encode()
	}())
	b.bad("epoch-text", "an epoch's text has a space more", proof.StepAnchor, "malformed",
		changed(handedOver().Notarize(document), func(b *proof.Bundle) {
			b.Anchors = []json.RawMessage{bytes.Replace(b.Anchors[0], []byte("city-9 10"), []byte("city-9  10"), 1)}
		}))
}
