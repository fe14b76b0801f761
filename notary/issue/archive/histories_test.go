package archive_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"stele/crypto/merkle"
	"stele/notary"
	"stele/notary/issue/archive"
	"stele/notary/log/batchlog"
	"stele/notary/proof"
	"stele/notary/proof/anchorproof"
	"stele/storage/storagetest"
)

// worldPaths are the paths of the fixture's chain, or an error.
type worldPaths struct {
	*fixture
	down bool
}

func (p worldPaths) HeaderPath(_ context.Context, chain string, older, newer uint64) ([]merkle.Hash, error) {
	if p.down || chain != p.World.Chain.Genesis.Chain {
		return nil, errors.New("the chain is out of reach")
	}
	return p.World.Chain.HistoryPath(anchorproof.Header{Index: older}, anchorproof.Header{Index: newer}), nil
}

// joined asks for a bundle with another checkpoint, and verifies and compares it as a stranger does.
func (f *fixture) joined(t *testing.T, h *archive.Histories, r notary.Record, with archive.Other) *proof.Bundle {
	t.Helper()
	b, err := h.Bundle(t.Context(), f.fresh(t, r), true, with)
	fatalIfErr(t, err)
	report := proof.Verify(f.World.Trust(), &r.SM3, b)
	i := slices.IndexFunc(report.Steps, func(s proof.Step) bool { return s.Name == proof.StepConsistency })
	if !report.Verdict.Row().Sound || i < 0 || report.Steps[i].Status != proof.Passed {
		t.Fatalf("%s %s", report.Verdict, report.Summary)
	}
	parsed, err := proof.ParseBundle(b)
	fatalIfErr(t, err)
	return parsed
}

func TestHistories(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		f := newFixture(t, b)
		h := archive.NewHistories(f.archive, f.db, worldPaths{fixture: f})
		var recs []notary.Record
		sizes := []int{1, 255, 256, 257, 300}
		for _, size := range sizes {
			recs = append(recs, f.Receive(t, size-len(recs))...)
			f.Sequence(t)
			f.Anchor(t)
		}
		f.ReceiveItems(t, f.Revocation(t, recs[255], "x"))
		f.Sequence(t)
		for _, i := range sizes {
			for _, j := range sizes {
				one, other := recs[i-1], recs[j-1]
				v2 := f.joined(t, h, one, archive.Other{Number: other.Number}).Encode()
				plain, err := f.bundle(t, other, false)
				fatalIfErr(t, err)
				r := proof.CompareHistories(f.World.Trust(), v2, plain)
				if r.Result != proof.OneHistory || r.Findings[1].Code != proof.FoundBlocks {
					t.Errorf("%d with %d: %s %s", i, j, r.Result, r.Summary)
				}
				bySize, err := h.Bundle(t.Context(), f.fresh(t, one), true, archive.Other{Size: uint64(j)})
				fatalIfErr(t, err)
				if string(bySize) != string(v2) {
					t.Errorf("%d with %d: by size and by number differ", i, j)
				}
			}
		}
		// Where the chain is out of reach, or is another server's, the paths between headers are missing.
		for _, h := range []*archive.Histories{
			archive.NewHistories(f.archive, f.db, worldPaths{fixture: f, down: true}),
			archive.NewHistories(f.archive, f.db, nil)} {
			if got := f.joined(t, h, recs[0], archive.Other{Size: 300}); len(got.Consistency.Headers) != 0 {
				t.Errorf("%+v", got.Consistency.Headers)
			}
			if got := f.joined(t, h, recs[0], archive.Other{Number: recs[0].Number}); len(
				got.Consistency.Headers) != 1 {
				t.Errorf("one header needs no chain: %+v", got.Consistency.Headers)
			}
		}
		late := f.Receive(t, 1)[0]
		f.Sequence(t)
		get := func(r notary.Record, with archive.Other) error {
			_, err := h.Bundle(t.Context(), f.fresh(t, r), true, with)
			return err
		}
		wantCode(t, get(late, archive.Other{Size: 300}), notary.CodeNotReady)
		wantCode(t, get(recs[0], archive.Other{Number: late.Number}), notary.CodeNotReady)
		wantCode(t, get(recs[0], archive.Other{Number: "420100-2020-00000001-8"}), notary.CodeNotFound)
		wantCode(t, get(recs[0], archive.Other{Size: 299}), notary.CodeNotFound)
		wantCode(t, get(recs[0], archive.Other{Size: 302}), notary.CodeNotFound) // the head, not anchored
		f.WantClean(t)
	})
}

// Tiles that were changed make no bundle, and once they are repaired they do.
func TestHistoryOfDamagedTiles(t *testing.T) {
	f := newFixture(t, storagetest.Embedded)
	recs := f.Receive(t, 200)
	f.Sequence(t)
	f.Anchor(t)
	recs = append(recs, f.Receive(t, 100)...)
	f.Sequence(t)
	f.Anchor(t)
	for _, tile := range []string{"tile/0/000", "-tile/0/001.p/44"} {
		f.archive = archive.New(f.db, batchlog.NewTiles(f.objects, 64), f.World.Trust()) // remembers none
		h := archive.NewHistories(f.archive, f.db, worldPaths{fixture: f})
		repair := f.damage(t, "", nil, tile)
		got, err := h.Bundle(t.Context(), f.fresh(t, recs[7]), true, archive.Other{Size: 300})
		if !errors.Is(err, archive.ErrOwnBundle) || got != nil {
			t.Errorf("%s: %d bytes, %v", tile, len(got), err)
		}
		repair()
		f.joined(t, h, recs[7], archive.Other{Size: 300})
	}
}

// The agency's certificate expires between signature and anchor: the bundle is handed out.
func TestBundleOfAnExpiredCertificate(t *testing.T) {
	f := newFixture(t, storagetest.Embedded)
	recs := f.Receive(t, 2)
	f.ReceiveItems(t, f.Revocation(t, recs[1], "x"))
	f.Sequence(t)
	f.wantVerdict(t, recs[0], proof.Pending)
	f.Pass(3 * 365 * 24 * time.Hour)
	f.Anchor(t)
	for _, r := range recs {
		b, err := f.bundle(t, r, true)
		fatalIfErr(t, err)
		report := proof.Verify(f.World.Trust(), &r.SM3, b)
		if report.Verdict != proof.Unverifiable || report.Cause() != "expired_at_anchor" || !report.ExpiredAtAnchor() {
			t.Errorf("%s %s", report.Verdict, report.Summary)
		}
		for _, other := range []*proof.Report{proof.Verify(f.World.Trust(), nil, b),
			proof.Verify(&proof.Trust{}, &r.SM3, b),
			proof.Verify(f.World.Trust(), &recs[1-r.Index].SM3, b)} {
			if other.ExpiredAtAnchor() {
				t.Errorf("%s lacks more than that", other.Summary)
			}
		}
		h := archive.NewHistories(f.archive, f.db, worldPaths{fixture: f})
		_, err = h.Bundle(t.Context(), f.fresh(t, r), true, archive.Other{Size: 3})
		fatalIfErr(t, err)
	}
	// What is damaged besides does not leave.
	storagetest.MustExec(t, f.raw, 1, `UPDATE records SET sm3 = (SELECT sm3 FROM records WHERE idx = 1) WHERE idx = 0`)
	if _, err := f.archive.Bundle(t.Context(), f.current(t, recs[0]), true); !errors.Is(err, archive.ErrOwnBundle) {
		t.Errorf("%v", err)
	}
}
