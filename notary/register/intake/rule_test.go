package intake_test

import (
	"testing"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/register/class"
	"stele/notary/register/intake"
	"stele/storage/storagetest"
)

// What two people have to register or to withdraw is neither replaced nor withdrawn by one, whatever
// the new record's class is.
func TestReplacedByTwo(t *testing.T) {
	for name, rule := range map[string]class.Class{"withdrawal": {Withdrawal: true}, "registration": {Approval: true}} {
		t.Run(name, func(t *testing.T) { replacedByTwo(t, rule) })
	}
}

func replacedByTwo(t *testing.T, rule class.Class) {
	f := newFixture(t, storagetest.Embedded)
	schema, err := class.ParseSchema(nil)
	fatalIfErr(t, err)
	f.rules = map[string]*class.Rule{"permit": {Class: rule, Schema: schema}}
	permit := f.draft("")
	permit.Class, permit.Approved = "permit", true
	old, _, err := f.digest(t, permit, "permit")
	fatalIfErr(t, err)

	next := f.draft("")
	next.Supersedes = old.Number
	_, _, err = f.digest(t, next, "next")
	wantCode(t, err, notary.CodeConflict)
	_, _, err = f.file(t, next, "next")
	wantCode(t, err, notary.CodeConflict)
	for _, r := range f.run(t.Context(), []intake.BatchItem{{Draft: next, Digest: sm.Sum([]byte("next")), Size: 4}}) {
		wantCode(t, r.Err, notary.CodeConflict)
	}
	_, _, err = f.revoke(t.Context(), old.Number, intake.Reason{Text: "withdrawn"})
	wantCode(t, err, notary.CodeConflict)
	_, err = f.in.Revoke(t.Context(), intake.Ref{AgencyID: f.Agency.ID, Record: old.Number},
		intake.Reason{Text: "withdrawn"}, intake.Outside)
	wantCode(t, err, notary.CodeConflict)
	f.want(t, 0, 1)
	next.Approved = true
	_, _, err = f.digest(t, next, "next")
	fatalIfErr(t, err)

	// The second is of a class that asks for nothing, and one of nobody's is no other error than before.
	next = f.draft("")
	next.Supersedes = "420100-2026-00009999-7"
	if _, _, err = f.digest(t, next, "x"); err == nil || notary.CodeOf(err) == notary.CodeInternal {
		t.Errorf("a record that does not exist: %v", err)
	}
}

// A key of the service's own is none that a caller can take first.
func TestOwnKeys(t *testing.T) {
	f := newFixture(t, storagetest.Embedded)
	theirs, _, err := f.digest(t, f.draft("paper-1"), "another document")
	fatalIfErr(t, err)
	own := f.draft("paper-1")
	own.Owner = intake.Office
	ours, replay, err := f.digest(t, own, "document")
	fatalIfErr(t, err)
	again, replayed, err := f.digest(t, own, "document")
	fatalIfErr(t, err)
	if replay || ours.ID == theirs.ID || !replayed || again.ID != ours.ID {
		t.Errorf("%s, then %s (repeated: %t), then %s (repeated: %t)", theirs.ID, ours.ID, replay, again.ID, replayed)
	}
	_, _, err = f.digest(t, f.draft("paper-2"), "third document")
	fatalIfErr(t, err)
	for i := range 2 {
		if _, replay, err = f.revoke(t.Context(), theirs.ID, intake.Reason{Text: "error", Idempotency: "paper-2",
			Owner: intake.Office, Approved: true}); err != nil || replay != (i == 1) {
			t.Errorf("withdrawn, time %d: repeated %t, %v", i, replay, err)
		}
	}
}
