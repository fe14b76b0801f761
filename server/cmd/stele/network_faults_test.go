package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stele/notary/log/anchor"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/chainview"
	"stele/server/remote/chainnet"
)

// cities are four members on the addresses of a [lan], and four logs: founded once, for making
// keys takes longer than most tests. Each test has a copy, on a network of its own.
var cities = sync.OnceValues(func() (c struct {
	dir  string
	logs [4]plainLog
}, err error) {
	path, err := binary()
	if err != nil {
		return c, err
	}
	c.dir = filepath.Join(filepath.Dir(path), "cities") // TestMain removes it
	var logs []*plainLog
	for i := range c.logs {
		c.logs[i] = *newPlainLog(fmt.Sprintf("log.example/province-%d", i))
		logs = append(logs, &c.logs[i])
	}
	addresses := map[string]string{}
	for i := range lanHosts {
		addresses[fmt.Sprintf("city-%d", i+1)] = lanAddress(i + 1)
	}
	if err := os.Mkdir(c.dir, 0o700); err != nil {
		return c, err
	}
	return c, found(c.dir, addresses, logs...)
})

// newCities is a copy of the cities with logs that are empty.
func newCities(t *testing.T) (*hosts, []*plainLog) {
	t.Helper()
	c, err := cities()
	fatalIfErr(t, err)
	dir := filepath.Join(t.TempDir(), "cities")
	fatalIfErr(t, exec.Command("cp", "-a", c.dir, dir).Run()) // with the permissions of keys
	var logs []*plainLog
	for i := range c.logs {
		logs = append(logs, &c.logs[i])
	}
	return newHosts(t, dir), logs
}

// newHostsOn runs the cities, each on a host of its own, until they have a block in common.
func newHostsOn(t *testing.T, net *lan) (*hosts, []*plainLog) {
	t.Helper()
	h, logs := newCities(t)
	net.attach(h, func(_ int, cmd *exec.Cmd) error { return cmd.Start() })
	for _, name := range h.names {
		h.run(name)
	}
	for _, name := range h.names {
		h.await(name, "its start", started)
	}
	return h, logs
}

func started(s chainnet.Status) bool { return !s.CatchingUp && s.Height > 0 }

// now is a node's state.
func (h *hosts) now(name string) chainnet.Status {
	h.t.Helper()
	return h.await(name, "an answer", func(chainnet.Status) bool { return true })
}

// oneHistory waits until all nodes have these heads, and demands that they have them by the same headers.
func (h *hosts) oneHistory(want map[string]uint64) {
	h.t.Helper()
	first := h.await(h.names[0], "the last heads", func(s chainnet.Status) bool {
		return s.Pending == 0 && holds(s, want)
	})
	var entries []chainview.Entry
	for _, name := range h.names {
		h.await(name, "the same headers", func(s chainnet.Status) bool {
			first = h.now(h.names[0]) // a block that was on its way may bring one more
			return s.Pending == 0 && s.Headers == first.Headers && slices.Equal(s.Heads, first.Heads)
		})
		var got []chainview.Entry
		for next := uint64(0); next < first.Headers; next = uint64(len(got)) {
			got = append(got, must(h.client(name).Entries(h.t.Context(), next))...)
		}
		if entries == nil {
			entries = got
		}
		for i := range entries { // a later node may have more
			if got[i].Header != entries[i].Header {
				h.t.Errorf("%s has another header %d", name, i)
			}
		}
	}
}

func holds(s chainnet.Status, want map[string]uint64) bool {
	for origin, size := range want {
		if !slices.ContainsFunc(s.Heads, func(head chainnet.Head) bool {
			return head.Origin == origin && head.Size == size
		}) {
			return false
		}
	}
	return true
}

// timed anchors a checkpoint, demands that the evidence's time lies between its handing in and
// now, and returns how long it took.
func (h *hosts) timed(s anchor.Submission) (anchorproof.Anchored, time.Duration) {
	h.t.Helper()
	a, took, err := h.measured(s)
	fatalIfErr(h.t, err)
	return a, took
}

// measured is [hosts.timed] for any goroutine.
func (h *hosts) measured(s anchor.Submission) (anchorproof.Anchored, time.Duration, error) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	begin := time.Now()
	a, err := h.submit(ctx, s)
	end := time.Now()
	if err == nil && (a.Time.Before(begin.Truncate(time.Millisecond)) || a.Time.After(end)) {
		err = fmt.Errorf("the evidence says %v; it was made between %v and %v", a.Time, begin, end)
	}
	return a, end.Sub(begin), err
}

// Cut off 3|1, the three go on and the one catches up when it is back. Cut off 2|2, nothing is
// anchored until they meet again; then everything is, on one history, with a time after they met.
func TestPartitions(t *testing.T) {
	t.Parallel()
	net := newLAN(t)
	whole := everywhere(link{})
	h, logs := newHostsOn(t, net)
	l := logs[0]
	if a := h.anchored(l.next(t)); a.Signed < 3 {
		t.Fatalf("%+v", a)
	}
	net.rewire(whole.apart(4))
	alone := h.now("city-4").Height
	for range 2 {
		if a, _ := h.timed(l.next(t)); slices.Contains(a.Validators, "city-4") {
			t.Errorf("%+v", a)
		}
	}
	if s := h.now("city-4"); s.Height > alone+2 {
		t.Errorf("the host that was cut off went on from %d to %d", alone, s.Height)
	}
	net.rewire(whole)
	h.await("city-4", "it to catch up", func(s chainnet.Status) bool { return s.Headers == 3 && s.Pending == 0 })

	net.rewire(whole.apart(3, 4))
	s := l.next(t)
	cut := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if a, err := h.submit(ctx, s); err == nil {
		t.Fatalf("two of four anchored: %+v", a)
	} else if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	met := time.Now()
	net.rewire(whole)
	a := h.anchored(s)
	if a.Time.Before(met.Truncate(time.Millisecond)) {
		t.Errorf("the evidence says %v; the hosts met again at %v", a.Time, met)
	}
	t.Logf("2|2: handed in %v before the hosts met, anchored %v after; the evidence's time is %v after they met",
		met.Sub(cut).Round(time.Millisecond), time.Since(met).Round(time.Millisecond),
		a.Time.Sub(met).Round(time.Millisecond))
	h.oneHistory(map[string]uint64{l.origin: 4})
}

// Long lines, lines that lose packets, one slow host, one that hears but is not heard: anchoring
// goes on, and the evidence's time is right.
func TestBadLines(t *testing.T) {
	t.Parallel()
	net := newLAN(t)
	h, logs := newHostsOn(t, net)
	l := logs[0]
	near := everywhere(link{})
	far := link{delay: 80 * time.Millisecond, jitter: 20 * time.Millisecond}
	size := uint64(0)
	for _, c := range []struct {
		name string
		w    wiring
	}{
		{"80 ms to 100 ms one way between all", everywhere(far)},
		{"10 % lost", everywhere(link{loss: 0.1})},
		{"one host 400 ms away", func(from, to int) link {
			if from == 4 || to == 4 {
				return link{delay: 400 * time.Millisecond}
			}
			return link{}
		}},
		{"one host hears, but is not heard", near.mute(4)},
	} {
		net.rewire(c.w)
		lost, moved := net.lost.Load(), net.moved.Load()
		var took []time.Duration
		signed := uint64(0)
		for range 3 {
			a, d := h.timed(l.next(t))
			size++
			took = append(took, d.Round(time.Millisecond))
			signed += a.Signed
		}
		slices.Sort(took)
		lost, moved = net.lost.Load()-lost, net.moved.Load()-moved
		t.Logf("%s: handed in to anchored %v to %v, median %v; %d of %d cosigned; %d of %d packets lost", c.name,
			took[0], took[2], took[1], signed, 4*len(took), lost, lost+moved)
	}
	net.rewire(near)
	begin := time.Now()
	h.oneHistory(map[string]uint64{l.origin: size})
	t.Logf("all lines good again: one history everywhere after %v", time.Since(begin).Round(time.Millisecond))
}

// Four logs anchor as fast as they can over lines that are long and lose packets, while hosts
// are cut off and come back: one history, no anchor lost, the evidence of each verifies.
func TestStreamsThroughFaults(t *testing.T) {
	t.Parallel()
	net := newLAN(t)
	h, logs := newHostsOn(t, net)
	bad := everywhere(link{delay: 20 * time.Millisecond, jitter: 20 * time.Millisecond, loss: 0.05})
	net.rewire(bad)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	streams := make([][]anchor.Submission, len(logs))
	var anchored atomic.Int64
	for i, l := range logs {
		wg.Go(func() {
			for ctx.Err() == nil { // the last one is waited for
				s := l.next(t)
				if _, _, err := h.measured(s); err != nil {
					t.Errorf("%s, size %d: %v", l.origin, s.Checkpoint.Size, err)
					return
				}
				streams[i] = append(streams[i], s)
				anchored.Add(1)
			}
		})
	}
	var faults []string
	for len(faults) < 4 || anchored.Load() < int64(3*len(logs)) && !t.Failed() {
		host := 1 + rand.IntN(lanHosts)
		c := []struct {
			name string
			w    wiring
		}{
			{fmt.Sprintf("%d cut off", host), bad.apart(host)},
			{fmt.Sprintf("%d mute", host), bad.mute(host)},
			{fmt.Sprintf("%d and %d cut off", host, host%lanHosts+1), bad.apart(host, host%lanHosts+1)},
		}[len(faults)%3]
		faults = append(faults, c.name)
		for _, w := range []wiring{c.w, bad} {
			net.rewire(w)
			time.Sleep(time.Duration(1000+rand.IntN(1000)) * time.Millisecond) // how long the fault lasts
		}
	}
	cancel()
	wg.Wait()
	want := map[string]uint64{}
	for i, l := range logs {
		want[l.origin] = uint64(len(streams[i]))
		for _, s := range streams[i] {
			raw, err := h.target.Evidence(t.Context(), s.Checkpoint)
			if err == nil {
				_, err = anchorproof.Verify(h.genesis, s.Checkpoint, raw)
			}
			if err != nil {
				t.Errorf("%s, size %d: %v", l.origin, s.Checkpoint.Size, err)
			}
		}
	}
	begin := time.Now()
	h.oneHistory(want)
	t.Logf("one history everywhere %v after the last fault", time.Since(begin).Round(time.Millisecond))
	t.Logf("%v; anchored %v; %d of %d packets lost", faults, want, net.lost.Load(), net.lost.Load()+net.moved.Load())
}
