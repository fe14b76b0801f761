package main

import (
	"context"
	"crypto/rand"
	"fmt"
	mrand "math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/checkpoint"
)

// job is a document that a client wants notarized: it repeats the request, with its key,
// until it is told that the record is durable.
type job struct {
	key     string
	content []byte // nil: digest only
	digest  sm.Digest

	answer   *record // valid once answered
	answered atomic.Bool
}

func (j *job) done(rec record) {
	j.answer = &rec
	j.answered.Store(true)
}

func newJob(i int) *job {
	j := &job{key: fmt.Sprintf("job-%d-%d", i, mrand.Uint64())}
	if i%4 == 0 {
		j.content = make([]byte, mrand.IntN(200_000))
		rand.Read(j.content)
		j.digest = sm.Sum(j.content)
	} else {
		rand.Read(j.digest[:])
	}
	return j
}

func (j *job) request() request {
	if j.content != nil {
		return fileRequest(j.content, `{"title":"File"}`, j.key)
	}
	return digestRequest(j.digest.String(), j.key, "")
}

// crowd is a number of clients that go on across crashes of the server.
type crowd struct {
	mu      sync.Mutex
	jobs    []*job // guarded by mu
	pending []*job // guarded by mu: not answered yet
	extra   int    // records that somebody else has notarized
}

func (c *crowd) next() *job {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.pending); n > 0 {
		j := c.pending[n-1]
		c.pending = c.pending[:n-1]
		return j
	}
	j := newJob(len(c.jobs))
	c.jobs = append(c.jobs, j)
	return j
}

func (c *crowd) putBack(j *job) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending = append(c.pending, j)
}

// work runs clients against a server until ctx ends or the server dies. Answers that are
// no record are allowed only where allow says so: a dependency may be down.
func (c *crowd) work(ctx context.Context, t *testing.T, s *server, clients int, allow func(status int) bool) {
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for ctx.Err() == nil {
				j := c.next()
				res, err := s.try(ctx, j.request())
				if err != nil {
					c.putBack(j)
					return
				}
				if res.status != http.StatusCreated {
					c.putBack(j)
					if !allow(res.status) {
						t.Errorf("status %d: %s", res.status, res.body)
						return
					}
					continue
				}
				var rec record
				res.json(t, &rec)
				j.done(rec)
			}
		})
	}
	wg.Wait()
}

// drain answers what is still pending, and nothing new.
func (c *crowd) drain(t *testing.T, s *server) {
	t.Helper()
	for _, j := range c.pending {
		j.done(s.notarize(j.request()))
	}
	c.pending = nil
}

// check demands, for every job that was ever answered, that its record is there as it was
// answered, anchored, genuine, and that it has one leaf of its own.
func (c *crowd) check(t *testing.T, s *server) {
	t.Helper()
	s.notarize(digestRequest(newDigest(), "", "anchored")) // everything before it is anchored too
	seen := map[uint64]string{}
	for _, j := range c.jobs {
		var rec record
		s.get("/api/v1/records/"+j.answer.ID).json(t, &rec)
		if rec.ID != j.answer.ID || rec.Number != j.answer.Number || rec.Index != j.answer.Index ||
			rec.Document.SM3 != j.digest.String() || rec.State != "anchored" {
			t.Fatalf("record %+v was answered as %+v", rec, *j.answer)
		}
		if other, ok := seen[rec.Index]; ok {
			t.Fatalf("leaf %d is of both %s and %s", rec.Index, other, rec.Number)
		}
		seen[rec.Index] = rec.Number
		s.demand(rec, proof.Genuine)
	}
	s.stop()
	res := s.fsck(t)
	if res.Records-res.Trails != uint64(len(c.jobs)+c.extra)+1 {
		t.Errorf("%d records for %d requests: a retry was notarized twice, or something was lost", res.Records,
			len(c.jobs)+1)
	}
	t.Logf("%d records, %d documents, %d status statements, %d checkpoints, %d anchors, %d documents to be swept",
		res.Records, res.Documents, res.Statuses, res.Checkpoints, res.Anchors, res.Orphans)
}

func noOther(int) bool { return false }

func size(t *testing.T, s *server) uint64 {
	t.Helper()
	c, err := checkpoint.ParseUnsafe(s.get("/api/v1/log/checkpoint").body)
	fatalIfErr(t, err)
	return c.Size
}

// kill -9 at random moments under load: whatever was answered stays, nothing is notarized
// twice, the log never shrinks, and fsck is clean at every stop.
func TestKillNine(t *testing.T) {
	t.Parallel()
	rounds := 20
	if testing.Short() {
		rounds = 3
	}
	forEachBackend(t, func(t *testing.T, site site) {
		t.Parallel()
		var c crowd
		last := uint64(0)
		for round := range rounds {
			s := site.start(t, "--status-pause", "20ms")
			now := size(t, s)
			if now < last {
				t.Fatalf("round %d: the log has shrunk from %d to %d", round, last, now)
			}
			last = now
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(time.Duration(20+mrand.IntN(500))*time.Millisecond, func() {
				s.kill()
				cancel()
			})
			c.work(ctx, t, s, 8, noOther)
			<-s.done
			cancel()
			if t.Failed() {
				t.Fatalf("round %d:\n%s", round, s.log)
			}
			site.fsck(t)
		}
		s := site.start(t)
		c.drain(t, s)
		c.check(t, s)
	})
}
