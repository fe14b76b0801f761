package proof_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"stele/notary/proof"
	"stele/notary/proof/prooftest"
)

// logStatus is the status of a world's log as whoever watches it gets it.
func logStatus(w *prooftest.World, s *prooftest.Status) proof.LogStatus {
	under := w.Checkpoint()
	return proof.LogStatus{Statement: s.Text, Signature: s.Signature, Key: s.Key(),
		Log:     proof.LogProof{Index: s.Index, Path: w.Path(s.Index, under.Size), Checkpoint: under.Note},
		Anchors: []json.RawMessage{w.Anchor(under)}}
}

// A log's status holds without a record, and says as of when; whatever is wrong with it is found.
func TestVerifyLogStatus(t *testing.T) {
	w := prooftest.New(prooftest.Options{Validators: 4, Entries: 2})
	w.Issue([]byte("a document"))
	said := w.EnterStatus()
	w.Tick(time.Hour)
	good := logStatus(w, said)
	v, err := proof.VerifyLogStatus(w.Trust(), w.Origin(), good)
	if err != nil || v.Statement.Size != 3 || v.Checkpoint.Size != 4 || v.By != w.Chain.Genesis.Chain ||
		!v.At.Equal(w.Now.Truncate(time.Millisecond)) {
		t.Fatalf("%v: %+v, now %s", err, v, w.Now)
	}
	w.Fill(1)
	late := logStatus(w, said) // under a checkpoint that has more
	for name, c := range map[string]struct {
		edit func(s *proof.LogStatus)
		says string
	}{
		"not the last entry": {func(s *proof.LogStatus) { *s = late }, "not the last"},
		"another signature":  {func(s *proof.LogStatus) { s.Signature = late.Signature[:8] }, "does not verify"},
		"another place":      {func(s *proof.LogStatus) { s.Log.Index = 2 }, "must follow"},
		"another path":       {func(s *proof.LogStatus) { s.Log.Path = late.Log.Path }, "not shown to be in the log"},
		"another's anchors":  {func(s *proof.LogStatus) { s.Anchors = late.Anchors }, "does not hold"},
		"no signature":       {func(s *proof.LogStatus) { s.Signature = nil }, "1 to 72 bytes"},
		"no JSON":            {func(s *proof.LogStatus) { s.Anchors = []json.RawMessage{[]byte("{")} }, "known kind"},
		"no anchors":         {func(s *proof.LogStatus) { s.Anchors = nil }, "of when it is nobody knows"},
	} {
		t.Run(name, func(t *testing.T) {
			bad := good
			c.edit(&bad)
			_, err := proof.VerifyLogStatus(w.Trust(), w.Origin(), bad)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v", err)
			}
			if open := errors.Is(err, proof.ErrUntrusted); open != (name == "no anchors") {
				t.Errorf("untrusted: %v", err)
			}
		})
	}
	if _, err := proof.VerifyLogStatus(w.Trust(), "other.log", good); err == nil {
		t.Error("the status of another log was accepted")
	}
	c, at, err := proof.VerifyAnchoredCheckpoint(w.Trust(), good.Log.Checkpoint, good.Anchors)
	if err != nil || c.Size != 4 || !at.Equal(v.At) {
		t.Errorf("%v, %+v, %s", err, c, at)
	}
	if _, _, err := proof.VerifyAnchoredCheckpoint(w.Trust(), late.Log.Checkpoint, good.Anchors); err == nil {
		t.Error("evidence for another checkpoint was accepted")
	}
	if _, _, err := proof.VerifyAnchoredCheckpoint(w.Trust(), late.Log.Checkpoint, nil); err == nil {
		t.Error("a checkpoint without evidence was accepted")
	}
}
