package archive_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"stele/crypto/pki"
	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/issue/archive"
	"stele/notary/log/follow"
	"stele/notary/proof"
	"stele/notary/proof/statement"
	"stele/notary/proof/status"
	"stele/storage/sqldb"
	"stele/storage/storagetest"
)

// said finds statuses as the server does.
type said struct {
	f        *fixture
	follower *follow.Follower
}

func (s said) Newest(ctx context.Context) (uint64, *archive.AnchoredCheckpoint, error) {
	return s.f.DB.Log.NewestStatus(ctx)
}

func (s said) Revocation(ctx context.Context, certificate sm.Digest) (status.Revocation, statement.Entry, error) {
	return s.f.DB.Log.Revocation(ctx, certificate)
}

func (s said) Map(index uint64) (follow.Statement, bool) { return s.follower.At(index) }

// settle has the log say what stands, anchors that, and has the archive's server follow.
func (s said) settle(t *testing.T) (size uint64) {
	t.Helper()
	size = s.f.Status(t) + 1
	s.f.Sequence(t)
	if c := s.f.Anchor(t); c.Size != size {
		t.Fatalf("the anchored checkpoint has %d entries, the status ends %d", c.Size, size)
	}
	_, err := s.follower.CatchUp(t.Context())
	fatalIfErr(t, err)
	return size
}

func TestStatusOfBundles(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		f := newFixture(t, b)
		s := said{f, follow.New(f.DB.Log, follow.Options{Signer: f.LogKey, Now: f.Now, Log: storagetest.Discard})}
		f.archive.SetStatuses(s)
		recs := f.Receive(t, 12)
		f.Sequence(t)
		f.Anchor(t)
		none := func(r notary.Record) {
			t.Helper()
			if _, err := f.archive.WithStatus(t.Context(), r, true); notary.CodeOf(err) != notary.CodeNotReady {
				t.Errorf("record %d: %v", r.Index, err)
			}
			if _, err := f.archive.Current(t.Context(), r, true); err != nil {
				t.Error(err)
			}
		}
		want := func(r notary.Record, state string, entries uint64) *proof.Report {
			t.Helper()
			b, err := f.archive.WithStatus(t.Context(), r, true)
			fatalIfErr(t, err)
			plain, err := f.archive.Bundle(t.Context(), r, true)
			fatalIfErr(t, err)
			report := proof.Verify(f.World.Trust(), &r.SM3, b)
			if report.Standing.State != state || report.Standing.Entries != entries || report.Standing.AsOf == "" {
				t.Errorf("record %d: %s, %+v", r.Index, report.Verdict, report.Standing)
			}
			t.Logf("%d bytes more than %d", len(b)-len(plain), len(plain))
			return report
		}
		none(recs[3]) // nothing was said yet
		size := s.settle(t)
		want(recs[3], proof.StandingValid, size-1)
		later := f.Receive(t, 1)[0]
		f.Sequence(t)
		f.Anchor(t)
		none(later)

		// A revocation that no status covers yet is in the bundle by itself.
		f.ReceiveItems(t, f.Revocation(t, recs[4], "issued in error"), f.Replacement(t, recs[5]))
		f.Sequence(t)
		f.Anchor(t)
		revoked, replaced := f.again(t, recs[4]), f.again(t, recs[5])
		want(revoked, string(proof.Revoked), size-1)
		size = s.settle(t)
		for r, v := range map[*notary.Record]proof.Verdict{&revoked: proof.Revoked, &replaced: proof.Superseded} {
			if report := want(*r, string(v), size-1); report.Verdict != v {
				t.Errorf("%s: %s", v, report.Verdict)
			}
		}
		want(later, proof.StandingValid, size-1)

		// A server that has not followed so far hands out what it has.
		f.archive.SetStatuses(said{f, follow.New(f.DB.Log, follow.Options{Signer: f.LogKey, Now: time.Now,
			Log: storagetest.Discard})})
		none(recs[3])

		// What cannot be shown of the standing does not take the bundle along.
		f.archive.SetStatuses(broken{s})
		if _, err := f.archive.WithStatus(t.Context(), recs[3], true); err == nil {
			t.Error("a status that does not hold")
		}
		if _, err := f.archive.Current(t.Context(), recs[3], true); err != nil {
			t.Error(err)
		}
	})
}

// TestRevokedSigner: once the log's status has the revocation of the signer's certificate, the bundle shows it,
// whatever that makes of the record.
func TestRevokedSigner(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		for name, since := range map[string]time.Duration{"before the anchor": -time.Hour, "after it": time.Hour} {
			t.Run(name, func(t *testing.T) {
				f := newFixture(t, b)
				s := said{f, follow.New(f.DB.Log, follow.Options{Signer: f.LogKey, Now: f.Now,
					Log: storagetest.Discard})}
				f.archive.SetStatuses(s)
				rec := f.Receive(t, 1)[0]
				f.Sequence(t)
				f.Anchor(t)
				plain, err := f.archive.Bundle(t.Context(), rec, true)
				fatalIfErr(t, err)
				bundle, err := proof.ParseBundle(plain)
				fatalIfErr(t, err)
				at, err := time.Parse(time.RFC3339, proof.Verify(f.World.Trust(), &rec.SM3, plain).AnchoredAt)
				fatalIfErr(t, err)
				at = at.Add(since).Truncate(time.Second)
				text, err := status.CertificateRevocation{Certificate: sm.Sum(bundle.Certificates[0]),
					Agency: f.World.Agency.Code, Reason: status.KeyCompromise, Since: at, IssuedAt: at}.Encode()
				fatalIfErr(t, err)
				_, err = f.DB.Log.RevokeCertificates(t.Context(), []statement.Entry{status.RevocationEntry(text,
					f.World.Root.Key.Sign(text), f.World.Root.DER)}, sqldb.RevocationList{Number: 1,
					SignedList: pki.SignedList{Standard: []byte("list"), NoID: []byte("list")}}, nil)
				fatalIfErr(t, err)
				f.Sequence(t)
				s.settle(t)
				out, err := f.archive.Current(t.Context(), rec, true)
				fatalIfErr(t, err)
				report := proof.Verify(f.World.Trust(), &rec.SM3, out)
				if since > 0 && (report.Verdict != proof.Genuine || len(report.Warnings) == 0) ||
					since < 0 && (report.Verdict != proof.Invalid || !report.CertificateRevoked()) {
					t.Errorf("%s", report.JSON())
				}
			})
		}
	})
}

// broken has the map of a statement with another one's signature.
type broken struct{ said }

func (b broken) Map(index uint64) (follow.Statement, bool) {
	s, ok := b.said.Map(index)
	s.Entry.Signature = slices.Clone(s.Entry.Signature)
	s.Entry.Signature[len(s.Entry.Signature)-1] ^= 1
	return s, ok
}

// again reads a record's row.
func (f *fixture) again(t *testing.T, r notary.Record) notary.Record {
	t.Helper()
	r, err := f.DB.Log.FindRecord(t.Context(), "", r.Number)
	fatalIfErr(t, err)
	return r
}
