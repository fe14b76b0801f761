package vectors

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"

	"stele/crypto/merkle"
	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/prooftest"
)

// badInclusion are entries that are not where the bundle says.
func (b *builder) badInclusion() {
	bad := func(name, about string, change func(*proof.Bundle)) {
		b.bad("inclusion-"+name, about, proof.StepInclusion, "not_included", damaged(change))
	}
	bad("index-before", "the index is one too small", func(b *proof.Bundle) { b.Log.Index-- })
	bad("index-after", "the index is one too large", func(b *proof.Bundle) { b.Log.Index++ })
	bad("index-outside", "the index is the size of the log", func(b *proof.Bundle) { b.Log.Index = 9 })
	bad("index-far", "the index is 2^53 - 1", func(b *proof.Bundle) { b.Log.Index = 1<<53 - 1 })
	bad("path-short", "the last hash of the path is missing",
		func(b *proof.Bundle) { b.Log.Path = b.Log.Path[:len(b.Log.Path)-1] })
	bad("path-long", "the path has one hash more",
		func(b *proof.Bundle) { b.Log.Path = append(b.Log.Path, b.Log.Path[0]) })
	bad("path-none", "the path is empty", func(b *proof.Bundle) { b.Log.Path = nil })
	bad("path-order", "two hashes have changed places",
		func(b *proof.Bundle) { b.Log.Path[0], b.Log.Path[1] = b.Log.Path[1], b.Log.Path[0] })
	bad("path-bit", "a bit of a hash is wrong", func(b *proof.Bundle) { b.Log.Path[2][31] ^= 1 })
	b.bad("inclusion-node-as-leaf", "the path proves an inner node in place of a leaf", proof.StepInclusion,
		"not_included", damaged(func(b *proof.Bundle) {
			b.Log.Index /= 2
			b.Log.Path = b.Log.Path[1:]
		}))
	b.bad("inclusion-never-logged", "the statement was signed and never logged", proof.StepInclusion, "not_included",
		func() []byte {
			w := four()
			logged := w.Issue(document)
			s, fields := w.Draft(document)
			text, err := s.Encode()
			if err != nil {
				panic("vectors: " + err.Error())
			}
			c := w.Checkpoint()
			unlogged := &prooftest.Record{Statement: s, Bytes: text, Signature: w.Agency.Key.Sign(text),
				Certificates: w.Agency.Certificates, Fields: fields, Index: logged.Index}
			return w.Bundle(unlogged, c, w.Anchor(c)).Encode()
		}())
	b.bad("inclusion-other-size", "the checkpoint is of a smaller size than the path", proof.StepInclusion,
		"not_included", otherSize(false))
	b.bad("inclusion-newer-checkpoint", "the checkpoint is of a larger size than the path", proof.StepInclusion,
		"not_included", otherSize(true))
	malformed := func(name, about, old, new string) {
		b.bad("checkpoint-"+name, about, proof.StepInclusion, "malformed",
			damaged(func(b *proof.Bundle) { b.Log.Checkpoint = replaceIn(b.Log.Checkpoint, old, new) }))
	}
	malformed("size-zero", "the size has a leading zero", "\n9\n", "\n09\n")
	malformed("size-range", "the size is 2^53", "\n9\n", "\n9007199254740992\n")
	malformed("line", "the checkpoint has a line more", "\n9\n", "\n9\n9\n")
	malformed("carriage-return", "a line ends in carriage return and line feed", "\n9\n", "\r\n9\n")
	b.bad("checkpoint-unsigned", "the checkpoint has no signature", proof.StepInclusion, "malformed",
		damaged(func(b *proof.Bundle) {
			text, _, _ := bytes.Cut(b.Log.Checkpoint, []byte("\n\n"))
			b.Log.Checkpoint = append(text, '\n')
		}))
}

func otherSize(newer bool) []byte {
	w := four()
	r := w.Issue(document)
	first := w.Checkpoint()
	w.Fill(5)
	second := w.Checkpoint()
	if newer {
		b := w.Bundle(r, first, w.Anchor(second))
		b.Log.Checkpoint = second.Note
		return b.Encode()
	}
	b := w.Bundle(r, second, w.Anchor(first))
	b.Log.Checkpoint = first.Note
	return b.Encode()
}

// badCheckpoint are checkpoints that the log did not sign. Where nothing else is said, the
// checkpoint's text is the one that was anchored.
func (b *builder) badCheckpoint() {
	bad := func(name, about string, bundle []byte, edit ...func(*Vector)) {
		b.bad("checkpoint-"+name, about, proof.StepCheckpoint, "bad_signature", bundle, edit...)
	}
	resigned := func(sign func(w *prooftest.World, c prooftest.Checkpoint) []byte) []byte {
		w := four()
		r := w.Issue(document)
		c := w.Checkpoint()
		c.Note = sign(w, c)
		return w.Bundle(r, c, w.Anchor(c)).Encode()
	}
	stranger := prooftest.NewKey("another log")
	bad("other-key", "signed with a key that is not the log's",
		resigned(func(_ *prooftest.World, c prooftest.Checkpoint) []byte {
			return prooftest.SignNote(c.Checkpoint, c.Origin, stranger)
		}))
	bad("other-name", "signed in the name of another log",
		resigned(func(w *prooftest.World, c prooftest.Checkpoint) []byte {
			return prooftest.SignNote(c.Checkpoint, "log.other.example", w.LogKey)
		}))
	bad("agency-key", "signed with the agency's key", resigned(func(w *prooftest.World, c prooftest.Checkpoint) []byte {
		return prooftest.SignNote(c.Checkpoint, c.Origin, w.Agency.Key)
	}))
	bad("two-signatures", "a second signature follows the log's",
		resigned(func(_ *prooftest.World, c prooftest.Checkpoint) []byte {
			_, second, _ := bytes.Cut(prooftest.SignNote(c.Checkpoint, "witness.example", stranger), []byte("\n\n"))
			return append(bytes.Clone(c.Note), second...)
		}))
	bad("key-id", "the key id in the signature line is not the key's",
		resigned(func(_ *prooftest.World, c prooftest.Checkpoint) []byte { return editNote(c.Note, 0) }))
	bad("key-id-pending", "the same, and not anchored yet", changed(genuine(), func(b *proof.Bundle) {
		b.Log.Checkpoint = editNote(b.Log.Checkpoint, 3)
		b.Anchors = nil
	}))
	bad("signature-bit", "a bit of the signature is wrong",
		resigned(func(_ *prooftest.World, c prooftest.Checkpoint) []byte { return editNote(c.Note, 40) }))
	bad("origin", "the origin was changed after signing", damaged(func(b *proof.Bundle) {
		b.Log.Checkpoint = bytes.Replace(b.Log.Checkpoint, []byte("log.vectors.example\n"),
			[]byte("log.vectorz.example\n"), 1)
	}))
	bad("root-and-path", "a log of one entry, made up around the genuine one and signed by nobody",
		damaged(func(b *proof.Bundle) {
			_, sig, _ := strings.Cut(string(b.Log.Checkpoint), "\n\n")
			leaf := b.LeafHash()
			b.Log = proof.LogProof{Path: nil,
				Checkpoint: []byte("log.vectors.example\n1\n" + base64.StdEncoding.EncodeToString(leaf[:]) + "\n\n" +
					sig)}
			b.Anchors = nil
		}))
	b.bad("checkpoint-key-retired", "the log's key was retired before the statement was issued", proof.StepCheckpoint,
		"key_not_valid", genuine().Encode(), trustedBy("trust-log-retired.json"))
	b.bad("checkpoint-key-too-new", "the log's key came into use after the anchor's time", proof.StepCheckpoint,
		"key_not_valid", genuine().Encode(), trustedBy("trust-log-later.json"))
}

// editNote changes one bit in the key id or signature of a note.
func editNote(note []byte, at int) []byte {
	i := bytes.LastIndexByte(note, ' ') + 1
	raw, err := base64.StdEncoding.DecodeString(string(note[i : len(note)-1]))
	if err != nil {
		panic("vectors: " + err.Error())
	}
	return slices.Concat(note[:i], []byte(base64.StdEncoding.EncodeToString(flip(raw, at))), []byte("\n"))
}

// badStanding are later statements that do not hold or are not about the record.
func (b *builder) badStanding() {
	bad := func(name, about, reason string, bundle []byte) {
		b.bad("standing-"+name, about, proof.StepStanding, reason, bundle)
	}
	with := func(change func(e *proof.Evidence)) []byte {
		return changed(standing(revoke), func(b *proof.Bundle) { change(b.Standing) })
	}
	bad("other-record", "the withdrawal is of another record", "other_record",
		standing(func(w *prooftest.World, _ *prooftest.Record) *prooftest.Record {
			return revoke(w, w.Issue(otherDocument))
		}).Encode())
	bad("not-later", "the later statement is an issue that replaces nothing", "other_record",
		standing(func(w *prooftest.World, _ *prooftest.Record) *prooftest.Record {
			return w.Issue(otherDocument)
		}).Encode())
	bad("supersedes-other", "the replacement is of another record", "other_record",
		standing(func(w *prooftest.World, _ *prooftest.Record) *prooftest.Record {
			return w.Supersede(w.Issue(otherDocument), document, "")
		}).Encode())
	bad("other-agency", "another agency withdrew the record", "other_agency",
		standing(func(w *prooftest.World, r *prooftest.Record) *prooftest.Record {
			w.Agency = w.NewAgency(prooftest.USCC("11420100000000001"), "江城市规划局")
			return revoke(w, r)
		}).Encode())
	bad("before", "the withdrawal says that it is older than the record", "time_order",
		standing(func(w *prooftest.World, r *prooftest.Record) *prooftest.Record {
			now := w.Now
			w.Now = r.IssuedAt.AddDate(0, 0, -2)
			defer func() { w.Now = now }()
			return revoke(w, r)
		}).Encode())
	bad("malformed", "the later statement is out of form", "malformed",
		with(func(e *proof.Evidence) { e.Statement = append(e.Statement, ' ') }))
	bad("signature", "the withdrawal bears another signature", "bad_evidence",
		with(func(e *proof.Evidence) { e.Signature = prooftest.NewKey("a forger").Sign(e.Statement) }))
	bad("not-logged", "the withdrawal is at another place of the log", "bad_evidence",
		with(func(e *proof.Evidence) { e.Log.Index-- }))
	bad("other-anchor", "the withdrawal's anchor is the record's", "bad_evidence",
		changed(standing(revoke), func(b *proof.Bundle) { b.Standing.Anchors = b.Anchors }))
	bad("chain-renamed", "the withdrawal's anchor names another chain", "bad_evidence",
		changed(standing(revoke), func(b *proof.Bundle) {
			b.Standing.Anchors = []json.RawMessage{bytes.Replace(b.Standing.Anchors[0], []byte("chain egov-vectors"),
				[]byte("chain egov-vectorz"), 1)}
		}))
	bad("anchor-time", "the withdrawal was anchored before it was made", "bad_evidence",
		changed(standing(revoke), func(b *proof.Bundle) {
			w := four()
			w.Issue(document)
			w.Fill(2)
			c := prooftest.Checkpoint{}
			c.Origin, c.Size, c.Root = w.Origin(), 9, rootOf(b.Standing)
			b.Standing.Anchors = []json.RawMessage{w.Anchor(c)}
		}))
}

// rootOf reads the root out of a checkpoint.
func rootOf(e *proof.Evidence) merkle.Hash {
	root, err := base64.StdEncoding.DecodeString(strings.Split(string(e.Log.Checkpoint), "\n")[2])
	if err != nil {
		panic("vectors: " + err.Error())
	}
	return sm.Digest(root)
}
