package tail_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/log/tail"
	"stele/notary/register/erasure"
	"stele/notary/register/intake"
	"stele/storage/storagetest"
)

func fatalIfErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fixture is a site with a tail.
type fixture struct {
	*storagetest.Site
	key     *sm.PrivateKey
	objects *failing
	tail    *tail.Tail
	log     bytes.Buffer
}

// failing fails puts while it is told to.
type failing struct {
	storagetest.Store
	err   error
	after int // stretches that are put before
}

func (f *failing) PutOnce(ctx context.Context, key string, data []byte) error {
	if f.err != nil && f.after <= 0 {
		return f.err
	}
	return f.Store.PutOnce(ctx, key, data)
}

func (f *failing) PutOnceAll(ctx context.Context, objects map[string][]byte) error {
	if f.err != nil && f.after <= 0 {
		return f.err
	}
	f.after--
	return f.Store.PutOnceAll(ctx, objects)
}

func newFixture(t *testing.T, b storagetest.Backend) *fixture {
	t.Helper()
	f := &fixture{Site: storagetest.NewSite(t, b)}
	f.objects = &failing{Store: f.Site.Objects}
	var err error
	f.key, err = sm.GenerateKey()
	fatalIfErr(t, err)
	f.tail = f.open(nil)
	return f
}

func (f *fixture) sealer() *tail.Sealer { return tail.NewSealer(f.key, "site") }

// open is the tail of another process.
func (f *fixture) open(now func() time.Time) *tail.Tail {
	if now == nil {
		now = time.Now
	}
	return tail.New(f.DB.Log, f.objects, tail.Options{Sealer: f.sealer(), Keep: time.Hour, Now: now,
		Poll: time.Millisecond,
		Log:  slog.New(slog.NewTextHandler(&f.log, nil))})
}

// received receives items and puts them, as intake does.
func (f *fixture) received(t *testing.T, items ...*intake.Item) []notary.Record {
	t.Helper()
	recs := f.ReceiveItems(t, items...)
	first := recs[0].Index
	if recs[0].StandingIndex > 0 {
		first = recs[0].StandingIndex
	}
	fatalIfErr(t, f.tail.Put(t.Context(), intake.Group{First: first, Items: items, Uses: []intake.KeyUse{{ID: f.KeyUse,
		AgencyID: f.Agency.ID, Certificate: f.Signer.Certificate, Purpose: "statement", Count: 1, At: f.Now()}}}))
	return recs
}

// stretches reads the whole tail.
func (f *fixture) stretches(t *testing.T) []tail.Stretch {
	t.Helper()
	r := tail.NewReader(f.objects, f.sealer())
	names, err := r.From(t.Context(), 0)
	fatalIfErr(t, err)
	var out []tail.Stretch
	for _, n := range names {
		s, err := r.Stretch(t.Context(), n)
		fatalIfErr(t, err)
		out = append(out, s)
	}
	return out
}

// until runs the tail's background work until f holds.
func (f *fixture) until(t *testing.T, tl *tail.Tail, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- tl.Run(ctx) }()
	for deadline := time.Now().Add(2 * time.Minute); !done(); time.Sleep(time.Millisecond) { // between two looks
		if time.Now().After(deadline) {
			t.Fatalf("did not happen: %s", what)
		}
	}
	cancel()
	fatalIfErr(t, <-ended)
}

func (f *fixture) covered(t *testing.T) (n uint64) {
	t.Helper()
	for _, s := range f.stretches(t) {
		if s.First > n {
			return n
		}
		n = max(n, s.First+uint64(len(s.Entries)))
	}
	return n
}

// What is put says what the rows say, and nothing of it can be read without the key.
func TestPutIsWhatTheRowsSay(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		f := newFixture(t, b)
		items := f.Items(t, 3)
		items[1].Idempotency = "a key"
		recs := f.received(t, items...)
		revocation := f.Revocation(t, recs[0], "a mistake")
		f.received(t, revocation)
		for _, s := range f.stretches(t) {
			rows, err := f.DB.Log.Stretch(t.Context(), s.First, s.First+uint64(len(s.Entries)))
			fatalIfErr(t, err)
			for i := range rows.Entries {
				a, b := rows.Entries[i], s.Entries[i]
				a.Keys, b.Keys = nil, nil
				x, err := tail.Stretch{Format: tail.Format, Entries: []tail.Entry{a}}.Encode()
				fatalIfErr(t, err)
				y, err := tail.Stretch{Format: tail.Format, Entries: []tail.Entry{b}}.Encode()
				fatalIfErr(t, err)
				if !bytes.Equal(x, y) {
					t.Errorf("entry %d: put was\n%s\nthe rows say\n%s", s.First+uint64(i), y, x)
				}
			}
		}
		fatalIfErr(t, f.objects.List(t.Context(), "tail/", func(o notary.Object) error {
			data, err := f.objects.Get(t.Context(), o.Key, 1<<20)
			if bytes.Contains(data, []byte("文书")) || bytes.Contains(data, []byte("statement/v1")) {
				t.Errorf("%s can be read", o.Key)
			}
			return err
		}))
		other := tail.NewReader(f.objects, tail.NewSealer(f.key, "another instance"))
		names, err := other.From(t.Context(), 0)
		fatalIfErr(t, err)
		if _, err := other.Stretch(t.Context(), names[0]); err == nil {
			t.Error("an object of another instance opens")
		}
	})
}

// While the bucket is down nobody is kept waiting, it is said once, and what is missing is put when it
// is back; so is what a server left that died between its transaction and the put.
func TestMakesUpForWhatIsMissing(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		f := newFixture(t, b)
		f.received(t, f.Items(t, 2)...)
		f.objects.err = errors.New("the bucket is down")
		f.received(t, f.Items(t, 2)...)
		f.received(t, f.Items(t, 2)...)
		if n := strings.Count(f.log.String(), "level=WARN"); n != 1 {
			t.Errorf("said %d times: %s", n, f.log.String())
		}
		if n := f.covered(t); n != 2 {
			t.Errorf("%d entries were put", n)
		}
		f.objects.err = nil
		f.until(t, f.tail, "the tail is complete", func() bool { return f.covered(t) == 6 })
		f.ReceiveItems(t, f.Items(t, 3)...) // and the server died
		f.tail = f.open(nil)
		f.until(t, f.tail, "another server puts it", func() bool { return f.covered(t) == 9 })
		f.received(t, f.Items(t, 1)...)
		newest, err := tail.Newest(t.Context(), f.objects, 4)
		fatalIfErr(t, err)
		if newest != 10 {
			t.Errorf("the newest entry is %d", newest)
		}
	})
}

// Another server received entries before ours and died before it put them: they are put before ours
// are answered. Of one that works its own put is waited for.
func TestPutsWhatAnotherServerLeft(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		f := newFixture(t, b)
		f.received(t, f.Items(t, 2)...)
		f.ReceiveItems(t, f.Items(t, 3)...) // by the one that died
		f.received(t, f.Items(t, 1)...)
		if n := f.covered(t); n != 6 {
			t.Errorf("answered with %d of 6 entries kept", n)
		}
		dead, mine := f.tail, f.open(nil)
		items := f.Items(t, 2)
		recs := f.ReceiveItems(t, items...)
		later := f.Items(t, 1)
		last := f.ReceiveItems(t, later...)
		fatalIfErr(t, dead.Put(t.Context(), intake.Group{First: recs[0].Index, Items: items}))
		before := len(f.stretches(t))
		fatalIfErr(t, mine.Put(t.Context(), intake.Group{First: last[0].Index, Items: later}))
		if after := len(f.stretches(t)); f.covered(t) != 9 || after != before+1 {
			t.Errorf("%d entries are kept, in %d stretches, %d before", f.covered(t), after, before)
		}
	})
}

// A server that ends in the middle leaves no gap before a group of its own, whoever left the gap: what lies
// behind one cannot be recovered.
func TestNothingBehindAGap(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		f := newFixture(t, b)
		f.received(t, f.Items(t, 2)...)
		f.ReceiveItems(t, f.Items(t, 3)...) // by a server that died
		for after := range 2 {
			f.objects.err, f.objects.after = errors.New("gone"), after
			f.received(t, f.Items(t, 1)...)
			f.objects.err = nil
			for _, s := range f.stretches(t) {
				if s.First > f.covered(t) {
					t.Errorf("after %d puts, entries from %d on lie behind a gap at %d", after, s.First, f.covered(t))
				}
			}
			f.tail = f.open(nil)
		}
	})
}

// Before a checkpoint covers entries they are kept, whoever received them; a server that begins to lead
// finds them in the middle of a stretch.
func TestKeep(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		f := newFixture(t, b)
		f.received(t, f.Items(t, 4)...)
		f.ReceiveItems(t, f.Items(t, 3)...) // by a server that died
		for _, step := range []struct{ from, end, kept uint64 }{{0, 3, 4}, {3, 4, 4}, {4, 7, 7}} {
			before := len(f.stretches(t))
			fatalIfErr(t, f.tail.Keep(t.Context(), step.from, step.end))
			if n := f.covered(t); n != step.kept {
				t.Errorf("%+v: %d entries are kept", step, n)
			}
			if after := len(f.stretches(t)); step.kept == 4 && after != before {
				t.Errorf("%+v: entries were put that were there", step)
			}
		}
		f.ReceiveItems(t, f.Items(t, 2)...)
		fatalIfErr(t, f.open(nil).Keep(t.Context(), 5, 9))
		if n := f.covered(t); n != 9 {
			t.Errorf("a server that begins to lead: %d of 9 entries are kept", n)
		}
		f.objects.err = errors.New("gone")
		f.ReceiveItems(t, f.Items(t, 1)...)
		if fatalIfErr(t, f.tail.Keep(t.Context(), 9, 10)); !f.tail.Behind() {
			t.Error("a store that fails keeps the log waiting, or nobody hears of it")
		}
	})
}

// What is erased is in no object of the tail any more, under no name and in no version; a restored
// database is told of it.
func TestErased(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		f := newFixture(t, b)
		recs := f.received(t, f.Items(t, 3)...)
		before := f.stretches(t)[0]
		eraser := erasure.New(f.DB.Log, f.objects, f.tail, f.Now, storagetest.Discard)
		_, err := eraser.Erase(t.Context(), erasure.Request{AgencyID: f.Agency.ID, Record: recs[1].ID, All: true,
			Reason: "asked for"})
		fatalIfErr(t, err)
		all := f.stretches(t)
		if len(all) != 1 || all[0].Entries[1].Record.Fields[0].Value != "" ||
			len(all[0].Entries[1].Record.Fields[0].Salt) != 0 {
			t.Fatalf("%+v", all)
		}
		if all[0].Entries[0].Record.Fields[0].Value != before.Entries[0].Record.Fields[0].Value {
			t.Error("another record lost its attribute")
		}
		n := 0
		fatalIfErr(t, f.objects.List(t.Context(), tail.EntriesPrefix, func(o notary.Object) error { n++; return nil }))
		if n != 1 {
			t.Errorf("%d objects", n)
		}
		told, err := tail.NewReader(f.objects, f.sealer()).Erasures(t.Context())
		if err != nil || len(told) != 1 || told[0].Index != recs[1].Index || !told[0].All ||
			told[0].Names[0] != "title" {
			t.Errorf("%+v, %v", told, err)
		}

		// The bucket is down when something is erased: the sweep makes up for it.
		f.objects.err = errors.New("the bucket is down")
		_, err = eraser.Erase(t.Context(), erasure.Request{AgencyID: f.Agency.ID, Record: recs[0].ID, All: true,
			Reason: "asked for"})
		fatalIfErr(t, err)
		f.objects.err = nil
		if f.stretches(t)[0].Entries[0].Record.Fields[0].Value == "" {
			t.Fatal("the put did not fail")
		}
		sweeper := f.open(f.Now)
		_, err = sweeper.Sweep(t.Context())
		fatalIfErr(t, err)
		if all := f.stretches(t); len(all) != 1 || all[0].Entries[0].Record.Fields[0].Value != "" {
			t.Errorf("%+v", all)
		}
	})
}

// Stretches are removed when they are older than they are kept.
func TestSweep(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		f := newFixture(t, b)
		f.received(t, f.Items(t, 2)...)
		f.received(t, f.Items(t, 2)...)
		n, err := f.tail.Sweep(t.Context())
		fatalIfErr(t, err)
		if n != 0 || f.covered(t) != 4 {
			t.Errorf("%d were removed before their time", n)
		}
		n, err = f.open(func() time.Time { return time.Now().Add(2 * time.Hour) }).Sweep(t.Context())
		fatalIfErr(t, err)
		if n != 2 || len(f.stretches(t)) != 0 {
			t.Errorf("%d were removed", n)
		}
	})
}

// A changed, moved or cut object does not open.
func TestDamaged(t *testing.T) {
	f := newFixture(t, storagetest.Embedded)
	f.received(t, f.Items(t, 1)...)
	name := tail.Name{First: 0, Count: 1}
	data, err := f.objects.Get(t.Context(), name.String(), 1<<20)
	fatalIfErr(t, err)
	if _, err := f.sealer().OpenStretch(name, data); err != nil {
		t.Fatal(err)
	}
	for i := range data {
		bad := bytes.Clone(data)
		bad[i] ^= 1
		if _, err := f.sealer().OpenStretch(name, bad); err == nil {
			t.Fatalf("opens with byte %d changed", i)
		}
	}
	if _, err := f.sealer().OpenStretch(tail.Name{First: 0, Count: 1, Revision: 1}, data); err == nil {
		t.Error("opens under another name")
	}
	if _, err := f.sealer().OpenStretch(name, data[:len(data)-1]); err == nil {
		t.Error("opens although it was cut")
	}
}

func FuzzParseStretch(f *testing.F) {
	f.Add([]byte(`{"format":"stele/tail/v1","first":0,"entries":[],"uses":[]}` + "\n"))
	f.Add([]byte(
		`{"format":"stele/tail/v1","first":7,"entries":[{"statement":"x","signature":"","certificate":"","agency":"a","keyUse":"k"}],"uses":null}` + "\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := tail.ParseStretch(text)
		if err != nil {
			return
		}
		again, err := s.Encode()
		if err != nil || !bytes.Equal(again, text) {
			t.Errorf("%q is read and written as %q", text, again)
		}
		for _, e := range s.Entries {
			if _, err := e.Item(); err != nil {
				t.Error(err)
			}
		}
	})
}

func FuzzParseName(f *testing.F) {
	f.Add(tail.Name{First: 4097, Count: 12, Revision: 3}.String())
	f.Add("tail/entries/0000000000000/0000000000000000-0001-000000")
	f.Fuzz(func(t *testing.T, key string) {
		if n, err := tail.ParseName(key); err == nil && n.String() != key {
			t.Errorf("%q is read as %q", key, n)
		}
	})
}
