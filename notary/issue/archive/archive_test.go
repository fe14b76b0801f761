package archive_test

import (
	"errors"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"stele/crypto/merkle"
	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/issue/archive"
	"stele/notary/log/batchlog"
	"stele/notary/proof"
	"stele/notary/proof/prooftest"
	"stele/storage/storagetest"
)

// fixture is a site with a sequencer and the read side.
type fixture struct {
	*storagetest.Site
	db      *storagetest.FaultyDB
	objects *storagetest.Faulty
	archive *archive.Archive
	raw     *sqlx.DB
}

func newFixture(t *testing.T, b storagetest.Backend) *fixture {
	t.Helper()
	f := &fixture{Site: storagetest.NewSite(t, b)}
	f.db, f.objects, f.raw = storagetest.NewFaultyDB(f.DB), storagetest.NewFaulty(f.Objects), storagetest.Raw(t, f.URL)
	f.archive = archive.New(f.db, batchlog.NewTiles(f.objects, 64), f.World.Trust())
	return f
}

func fatalIfErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fresh is the record as it is stored now.
func (f *fixture) fresh(t *testing.T, r notary.Record) notary.Record {
	t.Helper()
	got, err := f.archive.Record(t.Context(), f.Agency.ID, r.ID)
	fatalIfErr(t, err)
	return got
}

func (f *fixture) bundle(t *testing.T, r notary.Record, show bool) ([]byte, error) {
	return f.archive.Bundle(t.Context(), f.fresh(t, r), show)
}

// wantVerdict makes a bundle and verifies it as a stranger does.
func (f *fixture) wantVerdict(t *testing.T, r notary.Record, want proof.Verdict) *proof.Report {
	t.Helper()
	var report *proof.Report
	for _, show := range []bool{true, false} {
		b, err := f.bundle(t, r, show)
		fatalIfErr(t, err)
		trust, err := proof.ParseTrust(f.World.Trust().Encode())
		fatalIfErr(t, err)
		report = proof.Verify(trust, &r.SM3, b)
		if report.Verdict != want || report.Number != r.Number {
			t.Errorf("record %s: %s (%s), want %s", r.Number, report.Verdict, report.Summary, want)
		}
		parsed, err := proof.ParseBundle(b)
		fatalIfErr(t, err)
		if shown := len(parsed.Fields) > 0; shown != show {
			t.Errorf("attributes are shown: %t, want %t", shown, show)
		}
		if other := proof.Verify(trust, &sm.Digest{}, b); other.Verdict != proof.Altered {
			t.Errorf("another document: %s", other.Verdict)
		}
	}
	return report
}

func wantCode(t *testing.T, err error, want notary.Code) {
	t.Helper()
	if err == nil || notary.CodeOf(err) != want {
		t.Errorf("got %v, want an error with the code %s", err, want)
	}
}

// The life of a record, and the bundle at each of its stages.
func TestBundles(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		f := newFixture(t, b)
		recs := f.Receive(t, 5)
		_, err := f.bundle(t, recs[0], true)
		wantCode(t, err, notary.CodeNotReady)
		f.Sequence(t)
		f.wantVerdict(t, recs[0], proof.Pending)
		f.Anchor(t)
		for _, r := range recs {
			if got := f.wantVerdict(t, r, proof.Genuine); got.Log.Size != 5 {
				t.Errorf("the checkpoint has size %d", got.Log.Size)
			}
		}
		late := f.Receive(t, 3) // anchored records stay with their checkpoint, later ones wait
		f.Sequence(t)
		f.wantVerdict(t, recs[1], proof.Genuine)
		f.wantVerdict(t, late[0], proof.Pending)

		f.ReceiveItems(t, f.Revocation(t, recs[1], "issued in error"))
		_, err = f.bundle(t, recs[1], true) // a bundle that does not tell would be a lie by now
		wantCode(t, err, notary.CodeNotReady)
		f.Sequence(t)
		f.wantVerdict(t, recs[1], proof.Revoked)
		by := f.ReceiveItems(t, f.Replacement(t, recs[2]))[0]
		f.Sequence(t)
		if got := f.wantVerdict(t, recs[2], proof.Superseded); got.Standing.By != by.Number {
			t.Errorf("replaced by %s, want %s", got.Standing.By, by.Number)
		}
		f.Anchor(t)
		f.wantVerdict(t, by, proof.Genuine)
		f.wantVerdict(t, recs[1], proof.Revoked)
		f.wantVerdict(t, recs[2], proof.Superseded)
		f.wantVerdict(t, late[0], proof.Genuine)
		f.WantClean(t)
	})
}

// Every entry, under every size around a tile's width, with an anchor that lags behind.
func TestBundlesOfManySizes(t *testing.T) {
	f := newFixture(t, storagetest.Embedded)
	var recs []notary.Record
	for _, size := range []int{1, 255, 256, 257, 300} {
		recs = append(recs, f.Receive(t, size-len(recs))...)
		f.Sequence(t)
		for i := 0; i < size; i += 17 {
			f.wantVerdict(t, recs[i], map[bool]proof.Verdict{true: proof.Genuine,
				false: proof.Pending}[f.anchored(t) > recs[i].Index])
		}
		f.wantVerdict(t, recs[size-1], proof.Pending)
		f.Anchor(t)
	}
}

func (f *fixture) anchored(t *testing.T) uint64 {
	p, err := f.archive.Progress(t.Context())
	fatalIfErr(t, err)
	return p.Anchored
}

// An erased attribute is left out of the bundle, and the others still hold.
func TestErasedAttribute(t *testing.T) {
	f := newFixture(t, storagetest.Embedded)
	r := f.Receive(t, 1)[0]
	f.Sequence(t)
	storagetest.MustExec(t, f.raw, 1, `UPDATE records SET fields = '[{"N":"title","S":null,"V":""}]'`)
	b, err := f.bundle(t, r, true)
	fatalIfErr(t, err)
	if p, err := proof.ParseBundle(b); err != nil || len(p.Fields) != 0 {
		t.Errorf("%+v, %v", p.Fields, err)
	}
	f.WantClean(t)
}

// Whatever is changed in the stores, no wrong bundle leaves; once it is repaired, the right
// one does, without a restart.
func TestOwnBundleDoesNotVerify(t *testing.T) {
	other := prooftest.New(prooftest.Options{Seed: "other"})
	for name, c := range map[string]struct {
		sql  string
		args []any
		tile string
	}{
		"statement": {
			sql: `UPDATE entries SET statement = replace(statement, '"general"', '"generaL"') WHERE idx = 3`},
		"statement of another": {sql: `UPDATE entries SET statement = (SELECT statement FROM entries WHERE idx ` +
			`= 4), signature = (SELECT signature FROM entries WHERE idx = 4) WHERE idx = 3`},
		"signature": {
			sql: `UPDATE entries SET signature = (SELECT signature FROM entries WHERE idx = 4) WHERE idx = 3`},
		"certificate": {sql: `UPDATE certificates SET chain = $1`, args: []any{pem(other)}},
		"entry gone":  {sql: `DELETE FROM entries WHERE idx = 3`},
		"digest in the row": {
			sql: `UPDATE records SET sm3 = (SELECT sm3 FROM records WHERE idx = 4) WHERE idx = 3`},
		"number in the row": {sql: `UPDATE records SET number = '420100-2020-00000001-8' WHERE idx = 3`},
		"attribute":         {sql: `UPDATE records SET fields = replace(fields, '文书', '文件') WHERE idx = 3`},
		"salt": {
			sql: `UPDATE records SET fields = (SELECT fields FROM records WHERE idx = 4) WHERE idx = 3`},
		"standing without an entry": {sql: `UPDATE records SET standing = 'revoked', standing_idx = 4 WHERE idx = 3`},
		"standing of another": {
			sql: `UPDATE records SET standing = 'revoked', standing_idx = 300 WHERE idx = 3`},
		"anchor evidence":            {sql: `UPDATE anchors SET evidence = replace(evidence, '"', ' "')`},
		"checkpoint of the anchor":   {sql: `UPDATE checkpoints SET note = (SELECT note FROM log) WHERE size = 300`},
		"tile":                       {tile: "tile/0/000"},
		"tile above":                 {tile: "tile/1/000.p/1"},
		"tile at the edge":           {tile: "tile/0/001.p/44"},
		"tile gone":                  {tile: "-tile/0/000"},
		"tile at the edge cut short": {tile: "+tile/0/001.p/44"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, storagetest.Embedded)
			recs := f.Receive(t, 300)
			f.Sequence(t)
			f.Anchor(t)
			f.ReceiveItems(t, f.Revocation(t, recs[10], "x"))
			f.Sequence(t)
			// Entry 298 has a path through the edge; entry 3 through the full tiles.
			r := recs[3]
			if name == "tile at the edge" || name == "tile at the edge cut short" {
				r = recs[298]
				c.tile = map[bool]string{true: "tile/0/001.p/45", false: "+tile/0/001.p/45"}[name == "tile at the edge"]
			} else if name == "tile above" {
				r = recs[298]
			}
			repair := f.damage(t, c.sql, c.args, c.tile)
			got, err := f.archive.Bundle(t.Context(), f.current(t, r), true)
			if !errors.Is(err, archive.ErrOwnBundle) || notary.CodeOf(err) != notary.CodeInternal || got != nil {
				t.Errorf("got %d bytes and %v", len(got), err)
			}
			if res := f.Fsck(t); res.OK() {
				t.Error("fsck finds nothing")
			}
			repair()
			f.wantVerdict(t, r, proof.Genuine)
			f.WantClean(t)
		})
	}
}

// An anchor that does not verify is no end: a later one vouches for the same entry, and for a later
// time. Where none is left that verifies, nothing leaves.
func TestLaterAnchorTakesThePlace(t *testing.T) {
	f := newFixture(t, storagetest.Embedded)
	recs := f.Receive(t, 10)
	f.Sequence(t)
	f.Anchor(t)
	f.ReceiveItems(t, f.Revocation(t, recs[2], "x"))
	f.Sequence(t)
	f.Anchor(t)
	f.Receive(t, 5)
	f.Sequence(t)
	f.Anchor(t)
	at := func(r notary.Record, want proof.Verdict) time.Time {
		t.Helper()
		report := f.wantVerdict(t, r, want)
		when, err := time.Parse(time.RFC3339, report.AnchoredAt)
		fatalIfErr(t, err)
		return when
	}
	before, revoked := at(recs[3], proof.Genuine), at(recs[2], proof.Revoked)
	for _, size := range []int{10, 11} {
		f.damage(t, `UPDATE anchors SET evidence = replace(evidence, '"', ' "') WHERE size = $1`, []any{size}, "")
		_, err := f.raw.ExecContext(t.Context(), dropSaved)
		fatalIfErr(t, err)
		if after := at(recs[3], proof.Genuine); !after.After(before) {
			t.Errorf("without the anchor of size %d: %s, was %s", size, after, before)
		}
		if after := at(recs[2], proof.Revoked); after.Before(revoked) {
			t.Errorf("without the anchor of size %d, revoked: %s, was %s", size, after, revoked)
		}
	}
	f.damage(t, `UPDATE anchors SET evidence = replace(evidence, '"', ' "') WHERE size = $1`, []any{16}, "")
	if got, err := f.archive.Bundle(t.Context(), f.current(t, recs[3]), true); !errors.Is(err, archive.ErrOwnBundle) ||
		got != nil {
		t.Errorf("with no anchor that verifies: %d bytes, %v", len(got), err)
	}
}

// dropSaved removes what [fixture.save] keeps.
const dropSaved = `DROP TABLE saved_entries; DROP TABLE saved_records; DROP TABLE saved_certificates; DROP TABLE ` +
	`saved_anchors; DROP TABLE saved_checkpoints`

// current is the row, whatever was done to it.
func (f *fixture) current(t *testing.T, r notary.Record) notary.Record {
	t.Helper()
	list, err := f.DB.Log.RecordsFrom(t.Context(), r.Index, 1)
	if err != nil || len(list) != 1 || list[0].Damage != "" {
		t.Fatal(list, err)
	}
	return list[0].Record
}

func pem(w *prooftest.World) string {
	return pemText(w.Agency.Certificates)
}

// damage changes rows or a tile and returns how to undo it. A tile with a - is removed, one
// with a + cut short.
func (f *fixture) damage(t *testing.T, sql string, args []any, tile string) (repair func()) {
	t.Helper()
	if tile == "" {
		saved := f.save(t)
		res, err := f.raw.ExecContext(t.Context(), sql, args...)
		fatalIfErr(t, err)
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			t.Fatalf("%s: %d rows, %v", sql, n, err)
		}
		return func() { saved(t) }
	}
	how, key := tile[0], tile
	if how == '-' || how == '+' {
		key = tile[1:]
	}
	data, err := f.Objects.Get(t.Context(), key, 1<<20)
	fatalIfErr(t, err)
	put := func(data []byte) {
		fatalIfErr(t, f.Objects.Replace(t.Context(), key, func([]byte) ([]byte, error) { return data, nil }))
	}
	switch how {
	case '-':
		fatalIfErr(t, f.Objects.Delete(t.Context(), key))
	case '+':
		put(data[:len(data)-1])
	default:
		bad := append([]byte(nil), data...)
		for i := 0; i < len(bad); i += merkle.HashSize {
			bad[i] ^= 1
		}
		put(bad)
	}
	return func() { put(data) }
}

// save copies all tables and returns how to put the rows back.
func (f *fixture) save(t *testing.T) func(*testing.T) {
	t.Helper()
	tables := []string{"entries", "records", "certificates", "anchors", "checkpoints"}
	for _, table := range tables {
		_, err := f.raw.ExecContext(t.Context(), `CREATE TABLE saved_`+table+` AS SELECT * FROM `+table)
		fatalIfErr(t, err)
	}
	return func(t *testing.T) {
		t.Helper()
		for _, table := range []string{"anchors", "checkpoints", "records", "entries", "certificates"} {
			_, err := f.raw.ExecContext(t.Context(), `DELETE FROM `+table)
			fatalIfErr(t, err)
		}
		for _, table := range tables {
			if table == "anchors" {
				continue // they refer to checkpoints
			}
			_, err := f.raw.ExecContext(t.Context(), `INSERT INTO `+table+` SELECT * FROM saved_`+table)
			fatalIfErr(t, err)
		}
		_, err := f.raw.ExecContext(t.Context(), `INSERT INTO anchors SELECT * FROM saved_anchors`)
		fatalIfErr(t, err)
	}
}
