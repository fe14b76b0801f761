package proof_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/prooftest"
)

// statedBundle is a record with a status that covers it, made some time later.
func statedBundle(after func(w *prooftest.World, r *prooftest.Record)) (*prooftest.World, *prooftest.Record,
	*proof.Bundle, *sm.Digest) {
	document := []byte("a document")
	w := prooftest.New(prooftest.Options{Validators: 4, Entries: 2})
	r := w.Issue(document)
	c := w.Checkpoint()
	b := w.Bundle(r, c, w.Anchor(c))
	w.Tick(time.Hour)
	after(w, r)
	said := w.EnterStatus()
	under := w.Checkpoint()
	b.Status = w.StatusProof(said, r, under, w.Anchor(under))
	digest := sm.Sum(document)
	return w, r, b, &digest
}

// TestStatusSaysAsOfWhen: the report and its sentence say as of when the record stands, on whose word, and
// no more than that.
func TestStatusSaysAsOfWhen(t *testing.T) {
	w, _, b, digest := statedBundle(func(*prooftest.World, *prooftest.Record) {})
	r := proof.Verify(w.Trust(), digest, b.Encode())
	asOf := w.Now.Format("2006-01-02T15:04:05.000Z")
	if s := r.Standing; r.Verdict != proof.Genuine || s.State != proof.StandingValid || s.AsOf != asOf ||
		s.VouchedBy != w.Chain.Genesis.Chain || s.Entries != 3 || r.AnchoredAt >= asOf {
		t.Errorf("%s %+v", r.Summary, r.Standing)
	}
	for _, says := range []string{"As of " + asOf, "4 members of the chain " + w.Chain.Genesis.Chain,
		"neither revoked nor replaced"} {
		if !strings.Contains(r.Summary, says) {
			t.Errorf("%q is not in: %s", says, r.Summary)
		}
	}
	if !strings.Contains(r.Proves, "nor what became of the record after "+asOf) {
		t.Error(r.Proves)
	}
	if step := stepOf(r, proof.StepStatus); step.Strength != proof.SelfProving || step.Status != proof.Passed {
		t.Errorf("%+v", step)
	}
	b.Status = nil
	if r := proof.Verify(w.Trust(), digest, b.Encode()); r.Standing.State != proof.StandingUnknown ||
		r.Standing.AsOf != "" || strings.Contains(r.Summary, "revoked") || stepOf(r, proof.StepStatus).Name != "" {
		t.Errorf("without: %s %+v", r.Summary, r.Standing)
	}
}

// TestStatusAloneShowsTheEnd: a revocation that a holder took out of the bundle is in the status all the same.
func TestStatusAloneShowsTheEnd(t *testing.T) {
	for name, c := range map[string]struct {
		what    func(w *prooftest.World, r *prooftest.Record)
		verdict proof.Verdict
		says    string
	}{
		"revoked": {func(w *prooftest.World, r *prooftest.Record) { w.Revoke(r, "in error") },
			proof.Revoked, "was revoked"},
		"replaced": {func(w *prooftest.World, r *prooftest.Record) { w.Supersede(r, nil, "") },
			proof.Superseded, "was replaced"},
	} {
		t.Run(name, func(t *testing.T) {
			w, _, b, digest := statedBundle(c.what)
			r := proof.Verify(w.Trust(), digest, b.Encode())
			if r.Verdict != c.verdict || !strings.Contains(r.Summary, c.says+": entry 3 of the log says so") ||
				r.Standing.At != "" || r.Standing.AsOf == "" {
				t.Errorf("%s: %s %+v", r.Verdict, r.Summary, r.Standing)
			}
		})
	}
}

// TestOldStatusIsNotOfToday: whoever has a status from before a revocation cannot show it with the time of a
// checkpoint from after it, whatever is anchored.
func TestOldStatusIsNotOfToday(t *testing.T) {
	document := []byte("a document")
	w := prooftest.New(prooftest.Options{Validators: 4, Entries: 2})
	r := w.Issue(document)
	said := w.EnterStatus()
	early := w.Checkpoint()
	honest := w.Anchor(early)
	w.Revoke(r, "in error")
	late := w.Checkpoint()
	b := w.Bundle(r, late, w.Anchor(late))
	digest := sm.Sum(document)
	b.Status = w.StatusProof(said, r, late, b.Anchors...)
	if report := proof.Verify(w.Trust(), &digest, b.Encode()); report.Verdict != proof.Invalid ||
		stepOf(report, proof.StepStatus).Reason != "not_last" {
		t.Errorf("under the later checkpoint: %s: %s", report.Verdict, report.Summary)
	}
	b.Status = w.StatusProof(said, r, early, honest)
	if report := proof.Verify(w.Trust(), &digest, b.Encode()); report.Verdict != proof.Genuine ||
		report.Standing.AsOf >= report.AnchoredAt {
		t.Errorf("as it was: %s: %s", report.Verdict, report.Summary)
	}
	b.Status.Anchors = []json.RawMessage{b.Anchors[0]}
	report := proof.Verify(w.Trust(), &digest, b.Encode())
	if stepOf(report, proof.StepStatus).Reason != "bad_evidence" {
		t.Errorf("with the later anchor: %s: %s", report.Verdict, report.Summary)
	}
}
