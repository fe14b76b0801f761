package intake_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/proof/statement"
	"stele/notary/register/intake"
	"stele/storage/storagetest"
)

// atHome makes the fixture's agency one that keeps its key, and returns it.
func (f *fixture) atHome() func(message []byte) []byte {
	sign := f.Signer.Sign
	f.home.Store(true)
	return func(message []byte) []byte {
		sig, err := sign(message)
		if err != nil {
			panic(err)
		}
		return sig
	}
}

func TestPrepared(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		f := newFixture(t, b)
		sign := f.atHome()
		_, _, err := f.digest(t, f.draft(""), "direct")
		wantCode(t, err, notary.CodeConflict)
		_, _, err = f.file(t, f.draft(""), "direct")
		wantCode(t, err, notary.CodeConflict)
		if r := f.run(t.Context(), []intake.BatchItem{{Draft: f.draft("")}}); notary.CodeOf(
			r[0].Err) != notary.CodeConflict {
			t.Errorf("a batch: %v", r[0].Err)
		}
		f.want(t, 0, 0)

		p, _, err := f.in.Prepare(t.Context(), f.draft("once"), intake.File(strings.NewReader("document"), -1))
		fatalIfErr(t, err)
		s, err := statement.Parse(p.Item.Entry.Statement)
		if fatalIfErr(t, err); s.Number != p.Item.Record.Number || s.Document.SM3 != sm.Sum([]byte("document")) {
			t.Errorf("statement %+v", s)
		}
		f.want(t, 1, 0) // the document is there, the record is not
		_, _, err = f.in.Complete(t.Context(), f.Agency.ID, p.ID, sign([]byte("something else")), false)
		wantCode(t, err, notary.CodeInvalid)
		_, _, err = f.in.Complete(t.Context(), "another agency", p.ID, sign(p.Item.Entry.Statement), false)
		wantCode(t, err, notary.CodeNotFound)
		f.want(t, 1, 0)

		rec, replay, err := f.in.Complete(t.Context(), f.Agency.ID, p.ID, sign(p.Item.Entry.Statement), false)
		if fatalIfErr(t, err); replay || rec.Number != s.Number || !rec.Stored || len(rec.Fields) == 0 {
			t.Errorf("record %+v, replayed %t", rec, replay)
		}
		f.want(t, 1, 1)
		wantStatement(t, f, rec)
		again, replay, err := f.in.Complete(t.Context(), f.Agency.ID, p.ID, sign(p.Item.Entry.Statement), false)
		if fatalIfErr(t, err); !replay || again.ID != rec.ID {
			t.Errorf("again: %+v, replayed %t", again, replay)
		}
		_, prior, err := f.in.Prepare(t.Context(), f.draft("once"), intake.File(strings.NewReader("document"), -1))
		if fatalIfErr(t, err); prior.ID != rec.ID {
			t.Errorf("prepared again: %+v", prior)
		}
		f.want(t, 1, 1)

		out, err := f.in.Revoke(t.Context(), intake.Ref{AgencyID: f.Agency.ID, Record: rec.Number},
			intake.Reason{Text: "withdrawn"}, intake.Outside)
		fatalIfErr(t, err)
		withdrawal := out.Prepared
		_, _, err = f.in.Complete(t.Context(), f.Agency.ID, withdrawal.ID, sign(withdrawal.Item.Entry.Statement), false)
		wantCode(t, err, notary.CodeForbidden)
		gone, _, err := f.in.Complete(t.Context(), f.Agency.ID, withdrawal.ID, sign(withdrawal.Item.Entry.Statement),
			true)
		if fatalIfErr(t, err); gone.Standing != notary.Revoked {
			t.Errorf("%+v", gone)
		}
	})
}

// A statement without a signature goes, and its document with it.
func TestPreparedExpires(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		f := newFixture(t, b)
		sign := f.atHome()
		p, _, err := f.in.Prepare(t.Context(), f.draft(""), intake.Digest(sm.Sum([]byte("late")), 4))
		fatalIfErr(t, err)
		done, _, err := f.in.Prepare(t.Context(), f.draft(""), intake.Digest(sm.Sum([]byte("done")), 4))
		fatalIfErr(t, err)
		rec, _, err := f.in.Complete(t.Context(), f.Agency.ID, done.ID, sign(done.Item.Entry.Statement), false)
		fatalIfErr(t, err)
		f.Pass(intake.PreparedFor + time.Second)
		_, _, err = f.in.Complete(t.Context(), f.Agency.ID, p.ID, sign(p.Item.Entry.Statement), false)
		wantCode(t, err, notary.CodeConflict)
		// who lost the answer still gets it
		again, replay, err := f.in.Complete(t.Context(), f.Agency.ID, done.ID, sign(done.Item.Entry.Statement), false)
		if fatalIfErr(t, err); !replay || again.ID != rec.ID {
			t.Errorf("%+v, replayed %t", again, replay)
		}
		if n, err := f.in.SweepPrepared(t.Context()); err != nil || n != 0 {
			t.Errorf("swept %d, %v", n, err)
		}
		f.Pass(25 * time.Hour)
		if n, err := f.in.SweepPrepared(t.Context()); err != nil || n != 2 {
			t.Errorf("swept %d, %v", n, err)
		}
		_, _, err = f.in.Complete(t.Context(), f.Agency.ID, p.ID, sign(p.Item.Entry.Statement), false)
		wantCode(t, err, notary.CodeNotFound)
	})
}

// The wrong signature, the store's failure and the lost race each leave the statement waiting.
func TestPreparedFailures(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		f := newFixture(t, b)
		sign := f.atHome()
		p, _, err := f.in.Prepare(t.Context(), f.draft(""), intake.Digest(sm.Sum([]byte("x")), 1))
		fatalIfErr(t, err)
		sig := sign(p.Item.Entry.Statement)
		for what, bad := range map[string][]byte{"none": nil, "cut": sig[:len(sig)-1],
			"longer": append(bytes.Clone(sig), 0), "large": make([]byte, 100_000)} {
			t.Run(what, func(t *testing.T) {
				if _, _, err := f.in.Complete(t.Context(), f.Agency.ID, p.ID, bad, false); notary.CodeOf(
					err) != notary.CodeInvalid {
					t.Errorf("%s: %v", what, err)
				}
			})
		}
		f.home.Store(false)
		// of an agency whose key is here
		_, _, err = f.in.Prepare(t.Context(), f.draft(""), intake.Digest(sm.Sum([]byte("y")), 1))
		wantCode(t, err, notary.CodeConflict)
		f.home.Store(true)
		_, _, err = f.in.Complete(t.Context(), f.Agency.ID, p.ID, sig, false)
		fatalIfErr(t, err)
		f.want(t, 0, 1)
	})
}
