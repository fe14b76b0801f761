package intake_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/register/intake"
	"stele/storage/storagetest"
)

type answer struct {
	rec    notary.Record
	replay bool
	err    error
}

// submit sends n digests at once and returns a channel with the answers.
func (f *fixture) submit(ctx context.Context, n int, key func(i int) string) <-chan answer {
	out := make(chan answer, n)
	for i := range n {
		go func() {
			rec, replay, err := f.in.Digest(ctx, f.draft(key(i)), sm.Sum(fmt.Append(nil, key(i))), 7)
			out <- answer{rec, replay, err}
		}()
	}
	return out
}

func noKey(int) string { return "" }

// Concurrent submissions share transactions; each gets its own answer and its own index.
func TestGroupCommit(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		f := newFixture(t, b)
		const n = 200
		held := f.hold()
		first := f.submit(t.Context(), 1, noKey)
		<-held.Hit()
		rest := f.submit(t.Context(), n-1, noKey)
		await(t, func() bool { return f.in.Queued() == n-1 })
		held.Release()
		seen := map[uint64]bool{}
		for i := range n {
			from := rest
			if i == 0 {
				from = first
			}
			a := <-from
			fatalIfErr(t, a.err)
			rec, err := f.DB.Log.FindRecord(t.Context(), f.Agency.ID, a.rec.ID)
			fatalIfErr(t, err)
			if seen[a.rec.Index] || rec.Index != a.rec.Index || rec.Number != a.rec.Number || rec.SM3 != a.rec.SM3 ||
				rec.Code != a.rec.Code {
				t.Fatalf("answered was %+v, stored is %+v, index used: %t", a.rec, rec, seen[a.rec.Index])
			}
			seen[a.rec.Index] = true
		}
		if calls := f.db.Calls(storagetest.OpReceive); calls > 3 {
			t.Errorf("%d transactions for %d records", calls, n)
		}
		if f.news.Load() < 1 {
			t.Error("nobody was told of new entries")
		}
		f.want(t, 0, n)
	})
}

// No signature is made before its audit row is durable.
func TestAuditRowComesFirst(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		f := newFixture(t, b, func(l *intake.Limits) { l.GroupSize = 1 }) // so that a row is about one statement
		key := f.Signer.Sign
		var mu sync.Mutex
		covered := 0
		sign := func(message []byte) ([]byte, error) {
			d := sm.Sum(message)
			all := sm.Sum(d[:])
			var n int
			if err := f.raw.Get(&n, `SELECT count(*) FROM key_uses WHERE statements = $1 AND agency_id = $2 AND `+
				`certificate = $3 AND count = 1`,
				all[:], f.Agency.ID, f.Signer.Certificate[:]); err != nil {
				return nil, err
			}
			mu.Lock()
			covered += n
			mu.Unlock()
			return key(message)
		}
		f.sign.Store(&sign)
		rec, _, err := f.file(t, f.draft(""), "document")
		fatalIfErr(t, err)
		_, _, err = f.revoke(t.Context(), rec.ID, intake.Reason{Text: "reason"})
		fatalIfErr(t, err)
		for range 5 {
			_, _, err := f.digest(t, f.draft(""), "document")
			fatalIfErr(t, err)
		}
		if covered != 7 {
			t.Errorf("%d of 7 signatures had their audit row", covered)
		}
		f.want(t, 1, 7)
	})
}

// A full queue refuses; a batch is let in as a whole or not at all; nobody waits for ever.
func TestQueueLimit(t *testing.T) {
	f := newFixture(t, storagetest.Embedded, func(l *intake.Limits) { l.MaxQueue, l.GroupSize, l.BatchWait = 5, 2, 0 })
	held := f.hold()
	all := make(chan answer, 100)
	collect := func(from <-chan answer, n int) {
		for range n {
			all <- <-from
		}
	}
	first := f.submit(t.Context(), 1, noKey)
	<-held.Hit()
	rest := f.submit(t.Context(), 4, noKey)
	await(t, func() bool { return f.in.Queued() == 4 })
	batch := make(chan []intake.BatchResult, 1)
	go func() { batch <- f.run(t.Context(), f.batch(10, 3)) }()
	await(t, func() bool { return f.in.Queued() == 13 }) // nine of ten are well-formed
	if n := f.in.Promised(); n != 0 {
		await(t, func() bool { return f.in.Promised() == 0 })
	}
	_, _, err := f.digest(t, f.draft(""), "x")
	wantCode(t, err, notary.CodeBusy)
	_, _, err = f.file(t, f.draft(""), "x")
	wantCode(t, err, notary.CodeBusy)
	for _, r := range f.run(t.Context(), f.batch(3, -1)) {
		wantCode(t, r.Err, notary.CodeBusy)
	}
	held.Release()
	collect(first, 1)
	collect(rest, 4)
	for range 5 {
		fatalIfErr(t, (<-all).err)
	}
	for i, r := range <-batch {
		if i == 3 {
			wantCode(t, r.Err, notary.CodeInvalid)
		} else {
			fatalIfErr(t, r.Err)
		}
	}
	f.want(t, 0, 14)
}

// batch is n digests, of which the bad-th is out of form.
func (f *fixture) batch(n, bad int) []intake.BatchItem {
	items := make([]intake.BatchItem, n)
	for i := range items {
		items[i] = intake.BatchItem{Draft: f.draft(""), Digest: sm.Sum(fmt.Append(nil, i)), Size: 1}
		if i == bad {
			items[i].Draft.Title = " x"
		}
	}
	return items
}

// A batch that comes while the queue is full waits for room, unless its caller leaves or the
// server stops.
func TestBatchWaitsForRoom(t *testing.T) {
	f := newFixture(t, storagetest.Embedded, func(l *intake.Limits) {
		l.MaxQueue, l.GroupSize, l.BatchWait = 5, 2, time.Hour
	})
	held := f.hold()
	first := f.submit(t.Context(), 1, noKey)
	<-held.Hit()
	rest := f.submit(t.Context(), 5, noKey)
	await(t, func() bool { return f.in.Queued() == 5 })
	gone, leave := context.WithCancel(t.Context())
	leave()
	for _, r := range f.run(gone, f.batch(3, -1)) {
		wantCode(t, r.Err, notary.CodeBusy)
	}
	batch := make(chan []intake.BatchResult, 1)
	go func() { batch <- f.run(t.Context(), f.batch(4, -1)) }()
	held.Release()
	results := <-batch
	if len(results) != 4 {
		t.Fatalf("%d results: %v", len(results), results[0].Err)
	}
	for _, r := range results {
		fatalIfErr(t, r.Err)
	}
	for range 5 {
		fatalIfErr(t, (<-rest).err)
	}
	fatalIfErr(t, (<-first).err)

	held = f.hold()
	first = f.submit(t.Context(), 1, noKey)
	<-held.Hit()
	rest = f.submit(t.Context(), 5, noKey)
	await(t, func() bool { return f.in.Queued() == 5 })
	go func() { batch <- f.run(t.Context(), f.batch(3, -1)) }()
	f.stop()
	held.Release()
	for _, r := range <-batch {
		if r.Err != nil {
			wantCode(t, r.Err, notary.CodeBusy)
		}
	}
	for range 5 {
		fatalIfErr(t, (<-rest).err)
	}
	fatalIfErr(t, (<-first).err)
	f.in.Wait()
}

// A stop answers everybody: what was taken on is written, what comes later is refused.
func TestStop(t *testing.T) {
	f := newFixture(t, storagetest.Embedded, func(l *intake.Limits) { l.GroupSize = 3 })
	held := f.hold()
	first := f.submit(t.Context(), 1, noKey)
	<-held.Hit()
	rest := f.submit(t.Context(), 10, noKey)
	await(t, func() bool { return f.in.Queued() == 10 })
	f.stop()
	held.Release()
	f.in.Wait()
	for i := range 11 {
		from := rest
		if i == 0 {
			from = first
		}
		fatalIfErr(t, (<-from).err)
	}
	_, _, err := f.digest(t, f.draft(""), "x")
	wantCode(t, err, notary.CodeBusy)
	_, _, err = f.file(t, f.draft(""), "x")
	wantCode(t, err, notary.CodeBusy)
	for _, r := range f.run(t.Context(), f.batch(2, -1)) {
		wantCode(t, r.Err, notary.CodeBusy)
	}
	f.want(t, 0, 11)
}

// A stop in the middle of a storm: every submission gets one answer, and those that were
// told of a record have one.
func TestStopUnderLoad(t *testing.T) {
	f := newFixture(t, storagetest.Embedded, func(l *intake.Limits) { l.GroupSize = 7 })
	answers := f.submit(t.Context(), 300, noKey)
	fatalIfErr(t, (<-answers).err)
	f.stop()
	saved := 1
	for range 299 {
		if a := <-answers; a.err == nil {
			saved++
		} else {
			wantCode(t, a.err, notary.CodeBusy)
		}
	}
	f.in.Wait()
	f.want(t, 0, saved)
}

// A caller that leaves does not take its record along: it may be there, and the key gets it.
func TestCallerLeaves(t *testing.T) {
	f := newFixture(t, storagetest.Embedded)
	held := f.hold()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, _, err := f.in.File(ctx, f.draft("k"), readerOf("document"), -1)
		done <- err
	}()
	<-held.Hit()
	cancel()
	err := <-done
	if wantCode(t, err, notary.CodeUnavailable); !errors.Is(err, notary.ErrUnknownOutcome) {
		t.Errorf("got %v", err)
	}
	if len(f.documents(t)) != 1 {
		t.Error("the document of a record that may exist was removed")
	}
	held.Release()
	rec, replay, err := f.file(t, f.draft("k"), "document")
	fatalIfErr(t, err)
	if !replay || !rec.Stored {
		t.Errorf("got %+v, replay %t", rec, replay)
	}
	f.want(t, 1, 1)
}

// Serials come in blocks, and no number is given twice, by two servers at once either.
func TestNumbersOfTwoServers(t *testing.T) {
	f := newFixture(t, storagetest.Embedded)
	other := intake.New(t.Context(), storagetest.OpenDatabase(t, f.URL, f.Now).Log, f.objects,
		intake.Options{Limits: intake.DefaultLimits(), Now: f.Now, Log: storagetest.Discard,
			Signers: func(string) (*intake.Signer, error) { return f.Signer, nil }})
	seen := map[string]bool{}
	for i := range 40 {
		in := []door{f.in, {other}}[i%2]
		rec, _, err := in.Digest(t.Context(), f.draft(""), sm.Sum(fmt.Append(nil, i)), 1)
		fatalIfErr(t, err)
		if seen[rec.Number] || !notary.ValidNumber(rec.Number) {
			t.Fatalf("number %s was given twice, or is none", rec.Number)
		}
		seen[rec.Number] = true
	}
	if n := f.db.Calls(storagetest.OpReserveNumbers); n != 1 {
		t.Errorf("%d blocks were reserved for 20 numbers", n)
	}
	f.want(t, 0, 40)
}
