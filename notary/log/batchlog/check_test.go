package batchlog_test

import (
	"errors"
	"strings"
	"testing"

	"stele/crypto/merkle"
	"stele/crypto/signednote"
	"stele/notary"
	"stele/notary/log/batchlog"
	"stele/notary/proof/checkpoint"
	"stele/notary/proof/prooftest"
	"stele/storage/storagetest"
)

// A start never guesses: whatever does not fit together is refused with what to look at.
func TestCheckRefuses(t *testing.T) {
	type site = storagetest.Site
	for name, c := range map[string]struct {
		damage func(t *testing.T, s *site)
		want   string
	}{
		"empty object store": {func(t *testing.T, s *site) { s.Objects = storagetest.NewDir(t) },
			"holds no checkpoint although the database holds log"},
		"published is newer": {func(t *testing.T, s *site) { publish(t, s, s.LogKey, 301) },
			"the database is older, perhaps restored from a backup"},
		"published is another root": {func(t *testing.T, s *site) { publish(t, s, s.LogKey, 300) },
			"two different roots for size 300"},
		"published is another history": {func(t *testing.T, s *site) { publish(t, s, s.LogKey, 299) },
			"the published checkpoint of size 299 is of another history"},
		"published by another log": {
			func(t *testing.T, s *site) { publish(t, s, key(t, "log.example/other", "other"), 300) },
			"is of another log or damaged"},
		"published is no checkpoint": {func(t *testing.T, s *site) { put(t, s, batchlog.CheckpointKey, []byte("x")) },
			"is of another log or damaged"},
		"key of another log": {func(t *testing.T, s *site) { s.LogKey = key(t, "log.example/other", "other") },
			`the database holds log "` + prooftest.New(prooftest.Options{}).Origin() +
				`", the key is of "log.example/other"`},
		"another key of this log": {func(t *testing.T, s *site) { s.LogKey = key(t, s.World.Origin(), "other") },
			"the log has another key than this server"},
		"tile damaged": {
			func(t *testing.T, s *site) { put(t, s, "tile/0/001.p/44", make([]byte, 44*merkle.HashSize)) },
			"the tiles do not give the signed root of size 300"},
		"full tile damaged": {
			func(t *testing.T, s *site) { put(t, s, "tile/1/000.p/1", make([]byte, merkle.HashSize)) },
			"the tiles do not give the signed root of size 300"},
		"tile too long": {
			func(t *testing.T, s *site) { put(t, s, "tile/0/001.p/44", make([]byte, 45*merkle.HashSize)) },
			"the tiles do not give the signed root of size 300"},
		"tile missing": {
			func(t *testing.T, s *site) { fatalIfErr(t, s.Objects.Delete(t.Context(), "tile/0/001.p/44")) },
			"the tiles do not give the signed root of size 300"},
	} {
		t.Run(name, func(t *testing.T) {
			s := storagetest.NewSite(t, storagetest.Embedded)
			s.Receive(t, 300)
			_, err := s.Log(s.DB.Log, s.Objects, batchlog.Options{}).Cycle(t.Context())
			fatalIfErr(t, err)
			fatalIfErr(t, s.Log(s.DB.Log, s.Objects, batchlog.Options{}).Check(t.Context()))
			c.damage(t, s)
			err = s.Log(s.DB.Log, s.Objects, batchlog.Options{}).Check(t.Context())
			if !fatal(err) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant … %s …", err, c.want)
			}
		})
	}
}

func key(t *testing.T, name, seed string) *signednote.Signer {
	t.Helper()
	s, err := signednote.NewSigner(name, prooftest.NewKey(seed).PrivateKey)
	fatalIfErr(t, err)
	return s
}

// publish puts a signed checkpoint with a root of its own into the object store.
func publish(t *testing.T, s *storagetest.Site, by *signednote.Signer, size uint64) {
	t.Helper()
	note, err := checkpoint.Sign(checkpoint.Checkpoint{Origin: by.Name(), Size: size,
		Root: merkle.LeafHash([]byte("another history"))}, by)
	fatalIfErr(t, err)
	put(t, s, batchlog.CheckpointKey, note)
}

func put(t *testing.T, s *storagetest.Site, key string, data []byte) {
	t.Helper()
	fatalIfErr(t, s.Objects.Replace(t.Context(), key, func([]byte) ([]byte, error) { return data, nil }))
}

// An object store that cannot be reached is no other log: the message must not say so.
func TestCheckDuringAnOutage(t *testing.T) {
	m := newModel(t, storagetest.Embedded)
	m.receive(3)
	fatalIfErr(t, m.cycle(0))
	for call := 1; call <= 2; call++ {
		m.objects.Inject(storagetest.Fault{Op: storagetest.OpGet, Mode: storagetest.Fail, Call: call})
		err := m.site.Log(m.db, m.objects, batchlog.Options{}).Check(t.Context())
		if !errors.Is(err, storagetest.ErrInjected) || errors.Is(err, batchlog.ErrMismatch) {
			t.Errorf("read %d fails: got %v", call, err)
		}
		m.heal()
	}
}

// A crash between swap and publication: the next start publishes.
func TestCheckPublishes(t *testing.T) {
	m := newModel(t, storagetest.Embedded)
	m.receive(3)
	m.objects.Inject(storagetest.Fault{Op: storagetest.OpReplace, Mode: storagetest.Fail})
	if err := m.cycle(0); !errors.Is(err, storagetest.ErrInjected) {
		t.Fatal(err)
	}
	m.heal()
	if m.check(t); m.published[0].Size != 0 {
		t.Fatalf("published %+v", m.published)
	}
	m.start(1)
	if m.check(t); m.published[len(m.published)-1].Size != 3 {
		t.Errorf("published %+v after the start", m.published)
	}
}

// A server that starts while another one is at work finds nothing wrong, whichever of its
// reads the other's cycle falls between.
func TestCheckWhileAnotherIsAtWork(t *testing.T) {
	for _, at := range []injection{
		{storagetest.Fault{Op: storagetest.OpGet, Call: 1}, false}, {storagetest.Fault{Op: storagetest.OpGet, Call: 2},
			false}, {storagetest.Fault{Op: storagetest.OpGet, Call: 3}, false},
		{storagetest.Fault{Op: storagetest.OpHead, Call: 1}, true}, {storagetest.Fault{Op: storagetest.OpHead, Call: 2},
			true}, {storagetest.Fault{Op: storagetest.OpReplace, Call: 1}, false},
	} {
		t.Run(at.String(), func(t *testing.T) {
			m := newModel(t, storagetest.Embedded)
			m.receive(250)
			fatalIfErr(t, m.cycle(0))
			at.Mode = storagetest.Hold
			held := m.inject(at)
			started := make(chan error, 1)
			go func() {
				started <- m.site.Log(m.db, m.objects, batchlog.Options{Holder: "starting"}).Check(t.Context())
			}()
			<-held.Hit()
			m.receive(300) // the tile that the other one is about to read becomes full
			busy := m.site.Log(m.site.DB.Log, m.site.Objects, batchlog.Options{Holder: "at work"})
			m.site.Pass(1e12)
			_, err := busy.Cycle(t.Context())
			fatalIfErr(t, err)
			held.Release()
			if err := <-started; err != nil {
				t.Error(err)
			}
			m.check(t)
		})
	}
}

// OnAdvance and the tiles in memory are not needed for anything to be right.
func TestReadsOnlyWhatIsThere(t *testing.T) {
	m := newModel(t, storagetest.Embedded)
	m.receive(300)
	l := batchlog.New(m.db, m.objects, batchlog.NewTiles(m.objects, 0), batchlog.Options{Signer: m.site.LogKey,
		Holder: "x", Now: m.site.Now, Log: storagetest.Discard})
	_, err := l.Cycle(t.Context())
	fatalIfErr(t, err)
	m.check(t)
	if _, err := batchlog.NewTiles(m.objects, 0).Tile(t.Context(), merkle.Tile{Index: 5, Width: 3}); !errors.Is(err,
		notary.ErrObjectNotFound) {
		t.Errorf("got %v for a tile that is not there", err)
	}
}
