package fsck_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"stele/crypto/signednote"
	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/log/batchlog"
	"stele/notary/log/fsck"
	"stele/notary/proof"
	"stele/notary/proof/prooftest"
	"stele/storage/storagetest"
)

func TestClean(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		f := newFixture(t, b)
		_, err := f.Objects.Create(t.Context(), notary.DocumentKey("nobody"), strings.NewReader("x"), -1)
		fatalIfErr(t, err)
		var last, total uint64
		res, err := fsck.Check(t.Context(), f.DB.Log, f.Objects, f.World.Trust(),
			fsck.Options{Progress: func(done, of uint64) { last, total = done, of }})
		fatalIfErr(t, err)
		want := fsck.Result{Entries: 305, Records: 304, Documents: 1, Tiles: 4, Checkpoints: 3, Anchors: 2, Orphans: 1,
			Findings: []fsck.Finding{}}
		if got := *res; fmt.Sprint(got) != fmt.Sprint(want) || last != 305 || total != 305 {
			t.Errorf("got  %+v after %d of %d\nwant %+v", got, last, total, want)
		}
	})
}

// A log's key whose time was over before a record vouches for none of its bundles, so fsck says it.
func TestKeyWhoseTimeWasOver(t *testing.T) {
	f := newFixture(t, storagetest.Embedded)
	trust, err := proof.ParseTrust(f.World.Trust().Encode())
	fatalIfErr(t, err)
	next, err := sm.GenerateKey()
	fatalIfErr(t, err)
	v, err := signednote.NewVerifier(f.World.Origin(), next.Public())
	fatalIfErr(t, err)
	fatalIfErr(t, trust.ChangeLogKey(v, f.Now().Add(-240*time.Hour), time.Minute))
	res, err := fsck.Check(t.Context(), f.DB.Log, f.Objects, trust, fsck.Options{})
	fatalIfErr(t, err)
	if codes(res) != "anchor" || !strings.Contains(res.Findings[0].Detail, "key was not valid") {
		t.Errorf("%+v", res.Findings)
	}
}

func TestEmptyLog(t *testing.T) {
	s := storagetest.NewSite(t, storagetest.Embedded)
	s.WantClean(t)
	if res := s.Fsck(t); res.Checkpoints != 1 {
		t.Errorf("%+v", res)
	}
}

// Each kind of stored thing is damaged in turn; found is that, with the record named, and
// what follows from it, and nothing else.
func TestDamage(t *testing.T) {
	type damage = func(t *testing.T, f *fixture)
	otherWorld := prooftest.New(prooftest.Options{Seed: "other"})
	for name, c := range map[string]struct {
		damage damage
		what   string // the kind of finding that names the record
		record int    // 0: none is to be named
		codes  string // all kinds
	}{
		"number": {row(plain, "number = '420100-2020-00000001-8'"), "record", plain, "record"},
		"digest": {row(plain, "sm3 = (SELECT sm3 FROM records WHERE idx = 21)"), "record", plain,
			"record"},
		"size":           {row(plain, "size = 9"), "record", plain, "record"},
		"media type":     {row(plain, "media_type = 'text/plain'"), "record", plain, "record"},
		"class":          {row(plain, "class = 'deed'"), "record", plain, "record"},
		"supersedes":     {row(plain, "supersedes = '420100-2020-00000001-8'"), "record", plain, "record"},
		"time of issue":  {row(plain, "issued_at = issued_at + 1"), "record", plain, "record"},
		"agency":         {row(plain, "agency_id = 'other'"), "record", plain, "record"},
		"unreadable row": {row(plain, "fields = 'x'"), "record", plain, "record"},
		"unreadable digest": {row(plain, "sm3 = signature FROM (SELECT signature FROM entries WHERE idx = 1) AS e"),
			"record", plain, "record"},
		"row missing": {sql(fmt.Sprintf("DELETE FROM records WHERE idx = %d", plain)), "record", plain,
			"record"},
		"row too many": {row(plain, "idx = 300"), "record", plain, "record"},
		"attribute":    {row(plain, "fields = replace(fields, '文书', '文件')"), "attribute", plain, "attribute"},
		"attribute's name": {row(plain, "fields = replace(fields, 'title', 'titlf')"), "attribute", plain,
			"attribute"},
		"attribute missing": {row(plain, "fields = '[]'"), "attribute", plain, "attribute"},
		"salt missing": {row(plain, `fields = '[{"N":"title","S":null,"V":"文书 20"}]'`), "attribute", plain,
			"attribute"},
		"revoked for nothing": {row(plain, "standing = 'revoked'"), "standing", plain, "standing"},
		"no longer revoked":   {row(revoked, "standing = 'valid'"), "standing", revoked, "standing"},
		"reason":              {row(revoked, "reason = 'nothing'"), "standing", revoked, "standing"},
		"time of revocation":  {row(revoked, "standing_at = standing_at + 1"), "standing", revoked, "standing"},
		"entry of revocation": {row(revoked, "standing_idx = 301"), "standing", revoked, "standing"},
		"replaced by": {row(replaced, "standing_by = '420100-2020-00000001-8'"), "standing", replaced,
			"standing"},
		"statement": {entry(plain, "statement = replace(statement, 'application/pdf', 'application/pdg')"),
			"signature", plain, "checkpoint record signature tile"},
		"unreadable statement": {entry(plain, "statement = replace(statement, '\"general\"', '\"General\"')"),
			"statement", plain, "checkpoint statement tile"},
		"signature": {entry(plain, "signature = (SELECT signature FROM entries WHERE idx = 21)"),
			"signature", plain, "checkpoint signature tile"},
		"certificate": {sql("UPDATE certificates SET chain = $1", pem(otherWorld)), "certificate", plain,
			"certificate"},
		"certificate gone":  {sql("DELETE FROM certificates"), "certificate", plain, "certificate"},
		"whose certificate": {sql("UPDATE certificates SET agency_id = 'other'"), "record", plain, "record"},
		"signer of the entry": {entry(plain, "certificate = (SELECT sm3 FROM records WHERE idx = 1)"), "certificate",
			plain, "audit certificate checkpoint tile"},
		"entry row cut short": {entry(plain, "certificate = $1", []byte{1}), "entry", plain, "entry"},
		"entry missing": {sql(fmt.Sprintf("DELETE FROM entries WHERE idx = %d", plain)), "entry", plain,
			"entry"},
		"entry not logged": {entry(waiting, "signature = (SELECT signature FROM entries WHERE idx = 21)"),
			"signature", waiting, "signature"},
		"audit row": {entry(plain, "key_use = 'none'"), "audit", plain, "audit"},
		"audit row of another": {sql("UPDATE key_uses SET certificate = $1", make([]byte, 32)), "audit", plain,
			"audit"},
		"document": {func(t *testing.T, f *fixture) {
			f.put(t, notary.DocumentKey(f.recs[stored].ID), []byte("the Original"))
		}, "document", stored, "document"},
		"document cut short": {
			func(t *testing.T, f *fixture) { f.put(t, notary.DocumentKey(f.recs[stored].ID), []byte("the")) },
			"document", stored, "document"},
		"document missing": {func(t *testing.T, f *fixture) {
			fatalIfErr(t, f.Objects.Delete(t.Context(), notary.DocumentKey(f.recs[stored].ID)))
		}, "document", stored, "document"},
		"tile":       {func(t *testing.T, f *fixture) { f.flip(t, "tile/0/000", 100) }, "tile", 0, "tile"},
		"upper tile": {func(t *testing.T, f *fixture) { f.flip(t, "tile/1/000.p/1", 0) }, "tile", 0, "tile"},
		"tile at the edge": {func(t *testing.T, f *fixture) { f.flip(t, "tile/0/001.p/48", 47*32) }, "tile", 0,
			"tile"},
		"tile missing": {
			func(t *testing.T, f *fixture) { fatalIfErr(t, f.Objects.Delete(t.Context(), "tile/0/000")) }, "tile", 0,
			"tile"},
		"edge missing": {
			func(t *testing.T, f *fixture) { fatalIfErr(t, f.Objects.Delete(t.Context(), "tile/0/001.p/48")) }, "tile",
			0, "tile"},
		"tile too long": {func(t *testing.T, f *fixture) { f.put(t, "tile/0/000", make([]byte, 1<<20)) },
			"tile", 0, "tile"},
		"entry bundle": {func(t *testing.T, f *fixture) { f.flip(t, "tile/entries/000", 5000) }, "tile", 0,
			"tile"},
		"entry bundle missing": {
			func(t *testing.T, f *fixture) { fatalIfErr(t, f.Objects.Delete(t.Context(), "tile/entries/000")) }, "tile",
			0, "tile"},
		"checkpoint's note": {sql("UPDATE checkpoints SET note = replace(note, '300', '299') WHERE size = 300"),
			"checkpoint", 0, "anchor checkpoint"},
		"checkpoint's root": {sql("UPDATE checkpoints SET root = $1 WHERE size = 300", make([]byte, 32)),
			"checkpoint", 0, "checkpoint"},
		"checkpoint of another": {sql("UPDATE checkpoints SET note = (SELECT note FROM log) WHERE size = 300"),
			"checkpoint", 0, "anchor checkpoint"},
		"checkpoint gone": {sql("DELETE FROM checkpoints WHERE size = 304"), "checkpoint", 0, "anchor checkpoint"},
		"head's root":     {sql("UPDATE log SET root = $1", make([]byte, 32)), "head", 0, "head"},
		"head's note": {sql("UPDATE log SET note = (SELECT note FROM checkpoints WHERE size = 300)"), "head", 0,
			"head"},
		"head set back": {func(t *testing.T, f *fixture) {
			storagetest.MustExec(t, f.raw, 1, `UPDATE log SET size = 300, root = (SELECT root FROM checkpoints WHERE `+
				`size = 300), note = (SELECT note FROM checkpoints WHERE size = 300)`)
		}, "checkpoint", 0, "checkpoint"},
		"received set back":      {sql("UPDATE log SET received = 304"), "entry", 0, "entry"},
		"anchored without proof": {sql("UPDATE log SET anchored = 302"), "anchor", 0, "anchor"},
		"evidence": {
			sql("UPDATE anchors SET evidence = replace(evidence, 'height', 'heighT') WHERE size = 300"), "anchor", 0,
			"anchor"},
		"evidence of another size": {
			sql("UPDATE anchors SET evidence = (SELECT evidence FROM anchors WHERE size = 304) WHERE size = 300"),
			"anchor", 0, "anchor"},
		"evidence gone": {sql("DELETE FROM anchors WHERE size = 304"), "anchor", 0, "anchor"},
		"published gone": {
			func(t *testing.T, f *fixture) { fatalIfErr(t, f.Objects.Delete(t.Context(), batchlog.CheckpointKey)) },
			"checkpoint", 0, "checkpoint"},
		"published damaged": {func(t *testing.T, f *fixture) { f.flip(t, batchlog.CheckpointKey, 3) },
			"checkpoint", 0, "checkpoint"},
		"published another root": {func(t *testing.T, f *fixture) { f.publish(t, 304) }, "checkpoint", 0, "checkpoint"},
		"published another past": {func(t *testing.T, f *fixture) { f.publish(t, 17) }, "checkpoint", 0, "checkpoint"},
		"published too much":     {func(t *testing.T, f *fixture) { f.publish(t, 400) }, "checkpoint", 0, "checkpoint"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, storagetest.Embedded)
			c.damage(t, f)
			// As the command does, with a handle of its own: one that has seen the rows before refuses
			// those that were set back.
			f.DB = storagetest.OpenDatabase(t, f.URL, f.Now)
			res := f.Fsck(t)
			if codes(res) != c.codes {
				t.Errorf("found %q, want %q", codes(res), c.codes)
			}
			if c.record != 0 && !names(res, c.what, f.recs[c.record]) {
				t.Errorf("no finding %q names record %s", c.what, f.recs[c.record].Number)
			}
			if len(res.Findings) > 12 && c.codes != "certificate" && c.codes != "record" && c.codes != "audit" {
				t.Errorf("%d findings for one damage", len(res.Findings))
			}
			if t.Failed() {
				for i, x := range res.Findings {
					if i < 12 {
						t.Log(x)
					}
				}
			}
		})
	}
}

// The same on servers, for what is stored in another way there.
func TestDamageOnServers(t *testing.T) {
	f := newFixture(t, storagetest.Servers)
	for _, c := range []struct {
		damage func(t *testing.T, f *fixture)
		codes  string
	}{
		{row(plain, "fields = replace(fields, '文书', '文件')"), "attribute"},
		{row(revoked, "reason = 'nothing'"), "attribute standing"},
		{func(t *testing.T, f *fixture) { f.flip(t, "tile/0/000", 100) }, "attribute standing tile"},
		{func(t *testing.T, f *fixture) { f.put(t, notary.DocumentKey(f.recs[stored].ID), []byte("x")) },
			"attribute document standing tile"},
		{entry(plain, "key_use = 'none'"), "attribute audit document standing tile"},
	} {
		c.damage(t, f)
		if res := f.Fsck(t); codes(res) != c.codes {
			t.Errorf("found %q, want %q", codes(res), c.codes)
		}
	}
}

// A damage that touches everything ends the check early instead of telling it a million times.
func TestManyFindings(t *testing.T) {
	f := newFixture(t, storagetest.Embedded)
	f.Receive(t, 800)
	storagetest.MustExec(t, f.raw, 1, "UPDATE certificates SET agency_id = 'other'")
	storagetest.MustExec(t, f.raw, 1104, "UPDATE records SET class = 'deed'")
	if res := f.Fsck(t); len(res.Findings) != 1000 {
		t.Errorf("%d findings", len(res.Findings))
	}
}

// What cannot be read is not what is damaged: the check says that it could not be finished.
func TestOutages(t *testing.T) {
	f := newFixture(t, storagetest.Embedded)
	db, objects := storagetest.NewFaultyDB(f.DB), storagetest.NewFaulty(f.Objects)
	check := func(ctx context.Context) error {
		res, err := fsck.Check(ctx, db, objects, f.World.Trust(), fsck.Options{})
		if err != nil && !res.OK() {
			t.Errorf("%v, and findings: %v", err, res.Findings)
		}
		return err
	}
	for _, op := range []storagetest.Op{storagetest.OpGet, storagetest.OpOpen, storagetest.OpList} {
		objects.Inject(storagetest.Fault{Op: op, Mode: storagetest.Fail})
		if err := check(t.Context()); !errors.Is(err, storagetest.ErrInjected) {
			t.Errorf("%s: got %v", op, err)
		}
		objects.Heal()
	}
	for _, op := range []storagetest.Op{storagetest.OpHead, storagetest.OpEntries} {
		for call := 1; call <= 2; call++ {
			db.Inject(storagetest.Fault{Op: op, Mode: storagetest.Fail, Call: call})
			if err := check(t.Context()); !errors.Is(err, storagetest.ErrInjected) {
				t.Errorf("%s, call %d: got %v", op, call, err)
			}
			db.Heal()
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := check(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
}

// A log that is at work meanwhile is not damaged, between whichever two reads it moves on.
func TestWhileTheLogIsAtWork(t *testing.T) {
	type at struct {
		op       storagetest.Op
		call     int
		database bool
	}
	for _, where := range []at{{storagetest.OpGet, 1, false}, {storagetest.OpHead, 1, true},
		{storagetest.OpHead, 2, true}, {storagetest.OpEntries, 1, true}, {storagetest.OpEntries, 2, true},
		{storagetest.OpEntries, 3, true}, {storagetest.OpOpen, 1, false}, {storagetest.OpOpen, 3, false},
		{storagetest.OpOpen, 5, false}, {storagetest.OpList, 1, false}} {
		t.Run(fmt.Sprint(where.op, " ", where.call), func(t *testing.T) {
			f := newFixture(t, storagetest.Embedded)
			db, objects := storagetest.NewFaultyDB(f.DB), storagetest.NewFaulty(f.Objects)
			inject := objects.Inject
			if where.database {
				inject = db.Inject
			}
			held := inject(storagetest.Fault{Op: where.op, Call: where.call, Mode: storagetest.Hold})
			done := make(chan *fsck.Result, 1)
			go func() {
				res, err := fsck.Check(t.Context(), db, objects, f.World.Trust(), fsck.Options{})
				if err != nil {
					t.Error(err)
				}
				done <- res
			}()
			<-held.Hit()
			f.ReceiveItems(t, f.Revocation(t, f.recs[plain], "x"), f.Replacement(t, f.recs[late]))
			f.Receive(t, 256)
			f.Sequence(t)
			f.Anchor(t)
			f.Receive(t, 1)
			held.Release()
			res := <-done
			for _, x := range res.Findings {
				t.Error(x)
			}
			if res.Entries < 305 {
				t.Errorf("%d entries were checked", res.Entries)
			}
		})
	}
}

// Findings are sentences for a person.
func TestFindingString(t *testing.T) {
	if got := (fsck.Finding{What: "tile", Detail: "x"}).String(); got != "tile: x" {
		t.Error(got)
	}
	if got := (fsck.Finding{What: "record", Record: "n", Index: 3,
		Detail: "x"}).String(); got != "record: record n (entry 3): x" {
		t.Error(got)
	}
}
