package recovery_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stele/crypto/merkle"
	"stele/crypto/seal"
	"stele/crypto/signednote"
	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/log/batchlog"
	"stele/notary/log/recovery"
	"stele/notary/log/tail"
	"stele/notary/proof/checkpoint"
	"stele/notary/proof/statement"
	"stele/notary/register/intake"
	"stele/storage/sqldb"
	"stele/storage/storagetest"
)

func fatalIfErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// loss is a site of which an older copy of the database is left.
type loss struct {
	*storagetest.Site
	sealer *tail.Sealer
	older  *sqldb.DB
}

// lose makes a site, copies its database after before has run, and then lets after run. What was received is
// put into the tail by its background work.
func lose(t *testing.T, before, after func(s *storagetest.Site)) *loss {
	t.Helper()
	l := &loss{Site: storagetest.NewSite(t, storagetest.Embedded)}
	key, err := sm.GenerateKey()
	fatalIfErr(t, err)
	l.sealer = tail.NewSealer(key, "site")
	before(l.Site)
	l.older = l.copy(t)
	after(l.Site)
	l.keep(t)
	return l
}

func (l *loss) copy(t *testing.T) *sqldb.DB {
	t.Helper()
	path := filepath.Join(t.TempDir(), "older.db")
	db := storagetest.Raw(t, l.URL)
	_, err := db.Exec(`VACUUM INTO '` + path + `'`)
	fatalIfErr(t, err)
	fatalIfErr(t, os.Chmod(path, 0o600))
	return storagetest.OpenDatabase(t, "sqlite:"+path, l.Now)
}

// keep puts what the tail lacks.
func (l *loss) keep(t *testing.T) {
	t.Helper()
	tl := tail.New(l.DB.Log, l.Objects, tail.Options{Sealer: l.sealer, Keep: time.Hour, Now: time.Now,
		Log: storagetest.Discard})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- tl.Run(ctx) }()
	p, err := l.DB.Log.Progress(t.Context())
	fatalIfErr(t, err)
	for {
		newest, err := tail.Newest(t.Context(), l.Objects, p.Received)
		fatalIfErr(t, err)
		if newest == p.Received {
			break
		}
		time.Sleep(time.Millisecond) // between two looks
	}
	cancel()
	fatalIfErr(t, <-ended)
}

func (l *loss) options() recovery.Options {
	return recovery.Options{Sealer: l.sealer, Keys: []*signednote.Verifier{&l.LogKey.Verifier},
		Roots: l.World.Trust().Certificates(), Log: storagetest.Discard}
}

func (l *loss) recover(t *testing.T) (*recovery.Result, error) {
	t.Helper()
	return recovery.Run(t.Context(), l.older.Log, l.Objects, l.options())
}

// refused demands an error that says something, and that the database is as it was.
func (l *loss) refused(t *testing.T, want error, says string) {
	t.Helper()
	before, err := l.older.Log.Head(t.Context())
	fatalIfErr(t, err)
	_, err = l.recover(t)
	if !errors.Is(err, want) || !strings.Contains(fmt.Sprint(err), says) {
		t.Errorf("got %v, want %v with %q", err, want, says)
	}
	after, err := l.older.Log.Head(t.Context())
	fatalIfErr(t, err)
	if after.Received != before.Received || after.Size != before.Size {
		t.Errorf("a refused recovery took the database from %d to %d entries", before.Received, after.Received)
	}
}

// dropTail removes the stretches that begin before an index.
func (l *loss) dropTail(t *testing.T, before uint64) {
	t.Helper()
	names, err := tail.NewReader(l.Objects, l.sealer).From(t.Context(), 0)
	fatalIfErr(t, err)
	for _, n := range names {
		if n.First < before {
			fatalIfErr(t, l.Objects.Delete(t.Context(), n.String()))
		}
	}
}

// The older database becomes the same as the lost one: rows, standings, numbers, head. One stretch holds
// records and what withdraws and replaces them.
func TestRecovers(t *testing.T) {
	l := lose(t, func(s *storagetest.Site) { s.Receive(t, 5); s.Sequence(t); s.Anchor(t); s.Receive(t, 2) },
		func(s *storagetest.Site) {
			recs := s.Receive(t, 290)
			s.ReceiveItems(t, s.Revocation(t, recs[0], "a mistake"))
			s.ReceiveItems(t, s.Replacement(t, recs[1]))
			keyed := s.Items(t, 1)[0]
			keyed.Idempotency = "a key"
			s.ReceiveItems(t, keyed)
			s.Sequence(t)
			s.Receive(t, 4) // received, and not logged yet
		})
	dry := l.options()
	dry.DryRun = true
	res, err := recovery.Run(t.Context(), l.older.Log, l.Objects, dry)
	fatalIfErr(t, err)
	if head, err := l.older.Log.Head(t.Context()); err != nil || head.Received != 7 || res.From != 7 || res.To != 304 {
		t.Fatalf("a dry run: %+v, %d entries, %v", res, head.Received, err)
	}
	// What a server that was killed had written of entries that nobody was told of gives way.
	stray := merkle.Tile{Index: 1, Width: 60}.Path()
	fatalIfErr(t, l.Objects.PutOnce(t.Context(), stray, []byte("of entries that were never answered")))
	if res, err = l.recover(t); err != nil || res.To != 304 || res.FromTail != 297 || len(res.Bare) != 0 {
		t.Fatalf("%+v, %v", res, err)
	}
	if _, err := l.Objects.Get(t.Context(), stray, 1000); !errors.Is(err, notary.ErrObjectNotFound) {
		t.Errorf("the next entries cannot be logged: %v", err)
	}
	all := func(db *sqldb.DB) string {
		s, err := db.Log.Stretch(t.Context(), 0, 304)
		fatalIfErr(t, err)
		text, err := s.Encode()
		fatalIfErr(t, err)
		records, err := db.Log.RecordsFrom(t.Context(), 0, 1000)
		fatalIfErr(t, err)
		return string(text) + fmt.Sprintf("%+v", records)
	}
	if all(l.DB) != all(l.older) {
		t.Errorf("the rows differ:\n%s\n%s", all(l.DB), all(l.older))
	}
	head, err := l.older.Log.Head(t.Context())
	if err != nil || head.Size != 300 || head.Received != 304 {
		t.Errorf("the head is %+v, %v", head, err)
	}
	next, err := l.older.Log.ReserveNumbers(t.Context(), "420100", 2026, 1)
	if err != nil || next < 297 {
		t.Errorf("the next number is %d, %v", next, err)
	}
	l.Site.DB = l.older
	l.Sequence(t)
	l.Anchor(t)
	l.WantClean(t)
	if res, err = l.recover(t); err != nil || res.To != res.From {
		t.Errorf("again: %+v, %v", res, err)
	}
}

// Interrupted after any stretch, it goes on.
func TestGoesOn(t *testing.T) {
	l := lose(t, func(s *storagetest.Site) {}, func(s *storagetest.Site) {
		for range 4 {
			s.Receive(t, 30)
			s.Sequence(t)
		}
	})
	l.dropTail(t, 1000)
	for first := uint64(0); first < 120; first += 30 { // four stretches in place of one
		s, err := l.DB.Log.Stretch(t.Context(), first, first+30)
		fatalIfErr(t, err)
		fatalIfErr(t, l.put(t, s))
	}
	stop := errors.New("the process is killed")
	for i := 1; ; i++ {
		o, n := l.options(), 0
		o.Renew = func(context.Context) error {
			if n++; n > 4+i { // the first four verify
				return stop
			}
			return nil
		}
		_, err := recovery.Run(t.Context(), l.older.Log, l.Objects, o)
		if err == nil {
			break
		}
		if !errors.Is(err, stop) || i > 10 {
			t.Fatal(err)
		}
	}
	l.Site.DB = l.older
	l.WantClean(t)
}

// put puts a stretch as a server does.
func (l *loss) put(t *testing.T, s tail.Stretch) error {
	t.Helper()
	g := intake.Group{First: s.First}
	for _, e := range s.Entries {
		it, err := e.Item()
		fatalIfErr(t, err)
		g.Items = append(g.Items, it)
	}
	for _, u := range s.Uses {
		g.Uses = append(g.Uses, u.KeyUse())
	}
	return tail.New(l.DB.Log, l.Objects, tail.Options{Sealer: l.sealer, Log: storagetest.Discard, From: s.First}).Put(
		t.Context(), g)
}

// Without the tail the entry bundles serve, as far as they are full; what is missing is named.
func TestFromBundles(t *testing.T) {
	l := lose(t, func(s *storagetest.Site) { s.Receive(t, 5); s.Sequence(t) }, func(s *storagetest.Site) {
		s.Receive(t, 251)
		recs := s.Receive(t, 40)
		s.ReceiveItems(t, s.Revocation(t, recs[0], "a mistake"))
		s.Sequence(t)
	})
	l.dropTail(t, 1000)
	l.refused(t, recovery.ErrGap, "from 256 up to 296")
	s, err := l.DB.Log.Stretch(t.Context(), 256, 297)
	fatalIfErr(t, err)
	fatalIfErr(t, l.put(t, s))
	res, err := l.recover(t)
	if err != nil || res.FromBundles != 251 || res.FromTail != 41 || len(res.Bare) != 251 {
		t.Fatalf("%+v, %v", res, err)
	}
	l.Site.DB = l.older
	l.WantClean(t)
}

// What does not fit is refused, and nothing is written.
func TestRefuses(t *testing.T) {
	fresh := func(t *testing.T) *loss {
		return lose(t, func(s *storagetest.Site) { s.Receive(t, 5); s.Sequence(t) },
			func(s *storagetest.Site) { s.Receive(t, 300); s.Sequence(t) })
	}
	publish := func(t *testing.T, l *loss, c checkpoint.Checkpoint, key *signednote.Signer) {
		note, err := checkpoint.Sign(c, key)
		fatalIfErr(t, err)
		fatalIfErr(t, l.Objects.Replace(t.Context(), batchlog.CheckpointKey, func([]byte) ([]byte, error) {
			return note, nil
		}))
	}
	t.Run("another root is published", func(t *testing.T) {
		l := fresh(t)
		publish(t, l, checkpoint.Checkpoint{Origin: l.World.Origin(), Size: 305,
			Root: merkle.LeafHash([]byte("another"))}, l.LogKey)
		l.refused(t, recovery.ErrUnfit, "the entries give root")
	})
	t.Run("more is published than there is", func(t *testing.T) {
		l := fresh(t)
		l.Receive(t, 10)
		l.Sequence(t)
		l.refused(t, recovery.ErrGap, "from 305 up to 314")
	})
	t.Run("a checkpoint of another key", func(t *testing.T) {
		l := fresh(t)
		other, err := sm.GenerateKey()
		fatalIfErr(t, err)
		signer, err := signednote.NewSigner(l.World.Origin(), other)
		fatalIfErr(t, err)
		publish(t, l, checkpoint.Checkpoint{Origin: l.World.Origin(), Size: 305, Root: merkle.LeafHash(nil)}, signer)
		l.refused(t, recovery.ErrUnfit, "of another log or damaged")
	})
	t.Run("the tail of another instance", func(t *testing.T) {
		l := fresh(t)
		key, err := sm.GenerateKey()
		fatalIfErr(t, err)
		l.sealer = tail.NewSealer(key, "site")
		l.refused(t, seal.ErrOpen, "tail/entries/")
	})
	t.Run("a bundle with a changed signature", func(t *testing.T) {
		l := fresh(t)
		l.dropTail(t, 1000)
		path := merkle.Tile{Width: merkle.TileWidth}.EntriesPath()
		data, err := l.Objects.Get(t.Context(), path, 1<<22)
		fatalIfErr(t, err)
		rest, out := data, []byte(nil)
		for i := 0; len(rest) > 0; i++ {
			var e statement.Entry
			e, rest, err = statement.CutEntry(rest)
			fatalIfErr(t, err)
			if i == 100 {
				e.Signature = bytes.Clone(e.Signature)
				e.Signature[len(e.Signature)-1] ^= 1
			}
			out = append(out, e.Encode()...)
		}
		fatalIfErr(t, l.Objects.Delete(t.Context(), path))
		fatalIfErr(t, l.Objects.PutOnce(t.Context(), path, out))
		l.refused(t, recovery.ErrUnfit, "entry 100: the signature over the statement does not verify")
	})
	t.Run("the database is of another history", func(t *testing.T) {
		l := fresh(t)
		other := storagetest.NewSite(t, storagetest.Embedded)
		other.Items(t, 17)
		other.Receive(t, 5)
		other.Sequence(t)
		l.older = other.DB
		l.refused(t, recovery.ErrUnfit, "the tiles give root")
	})
	t.Run("somebody else writes", func(t *testing.T) {
		l := fresh(t)
		s, err := l.DB.Log.Stretch(t.Context(), 100, 101)
		fatalIfErr(t, err)
		if err := l.older.Log.Restore(t.Context(), s); !errors.Is(err, recovery.ErrMoved) {
			t.Errorf("got %v", err)
		}
	})
}

// Two histories in the tail, or one that the database does not go on with: which one was answered nobody can
// tell from here, so it is refused, and nothing is written.
func TestRefusesTwoHistories(t *testing.T) {
	fresh := func(t *testing.T) *loss {
		l := lose(t, func(s *storagetest.Site) { s.Receive(t, 5); s.Sequence(t) }, func(s *storagetest.Site) {})
		l.Receive(t, 10) // not logged: no root speaks of them
		return l
	}
	other := func(t *testing.T, l *loss, first uint64, n int) {
		t.Helper()
		o := tail.New(l.DB.Log, l.Objects, tail.Options{Sealer: l.sealer, Log: storagetest.Discard, From: first})
		fatalIfErr(t, o.Put(t.Context(), intake.Group{First: first, Items: l.Items(t, n)}))
	}
	mine := func(t *testing.T, l *loss, first, end uint64) {
		t.Helper()
		s, err := l.DB.Log.Stretch(t.Context(), first, end)
		fatalIfErr(t, err)
		fatalIfErr(t, l.put(t, s))
	}
	t.Run("the longer one first", func(t *testing.T) {
		l := fresh(t)
		mine(t, l, 5, 15)
		other(t, l, 7, 3)
		l.refused(t, recovery.ErrUnfit, "different entries at index 7")
	})
	t.Run("the longer one goes on", func(t *testing.T) {
		l := fresh(t)
		mine(t, l, 5, 8)
		mine(t, l, 8, 15)
		other(t, l, 6, 9)
		l.refused(t, recovery.ErrUnfit, "different entries at index 6")
	})
	t.Run("the database has another entry", func(t *testing.T) {
		l := fresh(t)
		l.dropTail(t, 1000)
		other(t, l, 3, 7)
		l.refused(t, recovery.ErrUnfit, "another entry at index 3 than the database")
	})
	t.Run("the database has another last entry", func(t *testing.T) {
		l := fresh(t)
		l.dropTail(t, 1000)
		other(t, l, 3, 2)
		mine(t, l, 5, 15)
		l.refused(t, recovery.ErrUnfit, "another entry at index 3 than the database")
	})
	t.Run("the same entries twice", func(t *testing.T) {
		l := fresh(t)
		mine(t, l, 5, 15)
		mine(t, l, 3, 9)
		mine(t, l, 8, 12)
		if res, err := l.recover(t); err != nil || res.To != 15 {
			t.Errorf("%+v, %v", res, err)
		}
	})
}

// Of several certificates that an agency got after the copy the last one signs.
func TestLastCertificateSigns(t *testing.T) {
	var last [][]byte
	l := lose(t, func(s *storagetest.Site) { s.Receive(t, 2); s.Sequence(t) }, func(s *storagetest.Site) {
		for i := range 5 {
			next := s.World.NewAgency(s.Agency.Code, fmt.Sprintf("%s %d", s.Agency.Name, i))
			last = next.Certificates
			fatalIfErr(t, s.DB.Log.AddCertificate(t.Context(), s.Agency.ID, s.Signer.Certificate, last))
			s.Signer = &intake.Signer{AgencyID: s.Agency.ID, Agency: next.Agency, Certificate: sm.Sum(last[0]),
				Sign: next.Key.PrivateKey.Sign}
			it := s.Sign(t, s.Items(t, 1)[0].Record, statement.Statement{Action: statement.Issue})
			s.ReceiveItems(t, &it)
		}
	})
	if _, err := l.recover(t); err != nil {
		t.Fatal(err)
	}
	if chain, err := l.older.Log.CertificateChain(t.Context(), l.Agency.ID); err != nil ||
		!bytes.Equal(chain[0], last[0]) {
		t.Errorf("another certificate signs, %v", err)
	}
	if list, err := l.older.Log.Certificates(t.Context(), l.Agency.ID); err != nil || len(list) != 6 {
		t.Errorf("%d certificates, %v", len(list), err)
	}
}

// Where the tail ends before a record was withdrawn, its key is not taken for a withdrawal that was done.
func TestKeyOfALostRevocation(t *testing.T) {
	l := lose(t, func(s *storagetest.Site) {}, func(s *storagetest.Site) {
		issued := s.Items(t, 1)[0]
		issued.Idempotency = "issue"
		recs := s.ReceiveItems(t, issued)
		withdrawn := s.Revocation(t, recs[0], "a mistake")
		withdrawn.Idempotency, withdrawn.RequestHash = "withdraw", intake.RevocationHash(recs[0].ID, "a mistake")
		s.ReceiveItems(t, withdrawn)
	})
	l.dropTail(t, 1000)
	both, err := l.DB.Log.Stretch(t.Context(), 0, 2)
	fatalIfErr(t, err)
	if len(both.Entries[0].Keys) != 1 || both.Entries[0].Keys[0].Key != "issue" {
		t.Errorf("the record's keys: %+v", both.Entries[0].Keys)
	}
	for n, want := range []int{1, 2} {
		s, err := l.DB.Log.Stretch(t.Context(), uint64(n), uint64(n)+1)
		fatalIfErr(t, err)
		fatalIfErr(t, l.older.Log.Restore(t.Context(), s))
		used, err := l.older.Log.FindIdempotent(t.Context(), l.Agency.ID, "issue", "withdraw")
		if err != nil || len(used) != want {
			t.Errorf("after %d entries: %v, %v", n+1, used, err)
		}
	}
}
