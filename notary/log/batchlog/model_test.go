package batchlog_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"stele/crypto/merkle"
	"stele/notary"
	"stele/notary/log/batchlog"
	"stele/notary/proof/checkpoint"
	"stele/storage/storagetest"
)

// model is two servers on the same stores, and what must be true of them: the leaves in the
// order in which they were received, and every checkpoint that the world has seen.
type model struct {
	t       *testing.T
	site    *storagetest.Site
	db      *storagetest.FaultyDB
	objects *storagetest.Faulty
	servers [2]*batchlog.Log

	frontier  merkle.Frontier
	roots     map[uint64]merkle.Hash // by size
	published []checkpoint.Checkpoint
	full      map[string][]byte // full tiles and entry bundles as first seen
}

func newModel(t *testing.T, b storagetest.Backend) *model {
	m := &model{t: t, site: storagetest.NewSite(t, b), full: map[string][]byte{},
		roots: map[uint64]merkle.Hash{0: merkle.EmptyRoot()}}
	m.db, m.objects = storagetest.NewFaultyDB(m.site.DB), storagetest.NewFaulty(m.site.Objects)
	for i := range m.servers {
		m.start(i)
	}
	return m
}

// start begins a server anew, as after a crash.
func (m *model) start(i int) {
	m.servers[i] = m.site.Log(m.db, m.objects, batchlog.Options{Holder: fmt.Sprint("server ", i)})
	if err := m.servers[i].Check(m.t.Context()); err != nil {
		m.t.Fatalf("start of server %d: %v", i, err)
	}
}

func (m *model) receive(n int) {
	items := m.site.Items(m.t, n)
	m.site.ReceiveItems(m.t, items...)
	for _, it := range items {
		m.frontier.Append(it.Entry.LeafHash())
		m.roots[m.frontier.Size()] = m.frontier.Root()
	}
}

// cycle runs a cycle on a server that may take the lease.
func (m *model) cycle(i int) error {
	m.site.Pass(time.Minute)
	_, err := m.servers[i].Cycle(m.t.Context())
	return err
}

// check is what must hold after every step, whatever went wrong in it.
func (m *model) check(t rapid.TB) {
	for _, f := range m.site.Fsck(m.t).Findings {
		t.Fatalf("fsck: %s", f)
	}
	c := m.observe(t)
	head, err := m.site.DB.Log.Head(m.t.Context())
	if err != nil || m.roots[head.Size] != head.Root || head.Received != m.frontier.Size() || head.Size < c.Size {
		t.Fatalf("head %d of %d with root %s, published %d, %d were received, %v", head.Size, head.Received, head.Root,
			c.Size, m.frontier.Size(), err)
	}
	m.checkHistory(t, head)
	m.checkTiles(t)
}

// observe notes what is published now.
func (m *model) observe(t rapid.TB) checkpoint.Checkpoint {
	note, err := m.site.Objects.Get(m.t.Context(), batchlog.CheckpointKey, 1<<16)
	if err != nil {
		t.Fatalf("the published checkpoint: %v", err)
	}
	c, _, err := checkpoint.Open(note, &m.site.LogKey.Verifier)
	if err != nil {
		t.Fatalf("the published checkpoint: %v", err)
	}
	if n := len(m.published); n == 0 || m.published[n-1] != c {
		m.published = append(m.published, c)
	}
	return c
}

// checkHistory proves every checkpoint ever published to be a beginning of the log.
func (m *model) checkHistory(t rapid.TB, head batchlog.Head) {
	tiles := batchlog.NewTiles(m.site.Objects, 16)
	for i, c := range m.published {
		if i > 0 && c.Size <= m.published[i-1].Size {
			t.Fatalf("the published log went from size %d to %d", m.published[i-1].Size, c.Size)
		}
		path, err := merkle.ConsistencyProof(c.Size, head.Size, tiles.Nodes(m.t.Context(), head.Size))
		if err == nil {
			err = merkle.VerifyConsistency(c.Size, head.Size, c.Root, head.Root, path)
		}
		if err != nil {
			t.Fatalf("published size %d is not consistent with size %d: %v", c.Size, head.Size, err)
		}
	}
}

// checkTiles makes sure that nothing that is full ever changes or goes.
func (m *model) checkTiles(t rapid.TB) {
	there := map[string]bool{}
	err := m.site.Objects.List(m.t.Context(), "tile/", func(o notary.Object) error {
		if strings.Contains(o.Key, ".p/") {
			return nil
		}
		data, err := m.site.Objects.Get(m.t.Context(), o.Key, o.Size)
		if err != nil {
			return err
		}
		if before, ok := m.full[o.Key]; ok && !bytes.Equal(before, data) {
			t.Fatalf("%s has changed", o.Key)
		}
		m.full[o.Key], there[o.Key] = data, true
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for key := range m.full {
		if !there[key] {
			t.Fatalf("%s has gone", key)
		}
	}
}

// injection is a fault of either store.
type injection struct {
	storagetest.Fault
	database bool
}

func (i injection) String() string { return fmt.Sprintf("%s, call %d, %s", i.Op, i.Call, i.Mode) }

// injections are all faults that a cycle can meet: each write in each way, each read.
func injections() (all []injection) {
	for _, mode := range storagetest.Modes {
		for _, op := range []storagetest.Op{storagetest.OpPutOnceAll, storagetest.OpReplace, storagetest.OpDelete} {
			all = append(all, injection{Fault: storagetest.Fault{Op: op, Mode: mode, Call: 1}})
		}
	}
	for _, mode := range []storagetest.Mode{storagetest.Fail, storagetest.FailPersisted} {
		for _, op := range []storagetest.Op{storagetest.OpAdvance, storagetest.OpLease} {
			all = append(all, injection{Fault: storagetest.Fault{Op: op, Mode: mode, Call: 1}, database: true})
		}
	}
	// The answer is lost and the write with it: nobody can tell this from the one above.
	all = append(all, injection{Fault: storagetest.Fault{Op: storagetest.OpAdvance, Mode: storagetest.Fail, Call: 1,
		Err: notary.ErrUnknownOutcome}, database: true})
	for _, op := range []storagetest.Op{storagetest.OpHead, storagetest.OpEntries} {
		all = append(all, injection{Fault: storagetest.Fault{Op: op, Mode: storagetest.Fail, Call: 1}, database: true})
	}
	for call := 1; call <= 3; call++ {
		all = append(all, injection{Fault: storagetest.Fault{Op: storagetest.OpGet, Mode: storagetest.Fail,
			Call: call}})
	}
	return append(all, injection{Fault: storagetest.Fault{Op: storagetest.OpList, Mode: storagetest.Fail, Call: 1}})
}

func (m *model) inject(i injection) *storagetest.Injected {
	if i.database {
		return m.db.Inject(i.Fault)
	}
	return m.objects.Inject(i.Fault)
}

func (m *model) heal() { m.db.Heal(); m.objects.Heal() }

// overtake stops one server in the middle of a cycle, lets the other do whole ones, and
// then the first go on: as after a long pause of a process.
func (m *model) overtake(t rapid.TB, where injection, between func()) {
	where.Mode = storagetest.Hold
	held := m.inject(where)
	done := make(chan error, 1)
	m.site.Pass(time.Minute)
	go func() {
		_, err := m.servers[0].Cycle(m.t.Context())
		done <- err
	}()
	select {
	case <-held.Hit():
	case err := <-done: // it had nothing to do
		m.heal()
		if err != nil {
			t.Fatalf("cycle: %v", err)
		}
		return
	}
	where.Call = 0
	between()
	if err := m.cycle(1); err != nil {
		t.Fatalf("the server that overtakes: %v", err)
	}
	m.observe(t)
	m.heal()
	if err := <-done; err != nil && (errors.Is(err, batchlog.ErrMismatch) || errors.Is(err, notary.ErrObjectDiffers)) {
		t.Fatalf("the server that was overtaken: %v", err)
	}
}

// rapidChecks sets how much rapid tries until the test t ends, unless the command line says it.
func rapidChecks(t *testing.T, checks, steps int) {
	for name, v := range map[string]int{"rapid.checks": checks, "rapid.steps": steps} {
		set := false
		flag.Visit(func(f *flag.Flag) { set = set || f.Name == name })
		if set {
			continue
		}
		f := flag.Lookup(name)
		old := f.Value.String()
		fatalIfErr(t, f.Value.Set(fmt.Sprint(v)))
		t.Cleanup(func() { _ = f.Value.Set(old) })
	}
}

func fatalIfErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Whatever fails, restarts or races, the log stays one log, and nothing published is taken back.
func TestModel(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		rapidChecks(t, 6, 20)
		if b.Name == storagetest.Servers.Name {
			rapidChecks(t, 3, 15)
		}
		faults := injections()
		rapid.Check(t, func(rt *rapid.T) {
			m := newModel(t, b)
			defer m.heal()
			server := rapid.IntRange(0, 1)
			sizes := rapid.SampledFrom([]int{1, 1, 2, 3, 40, 127, 254, 255, 256, 257})
			receive := func(rt *rapid.T) {
				n := sizes.Draw(rt, "entries")
				if m.frontier.Size() > 2*merkle.TileWidth {
					n = 1 // checking signatures is what takes the time
				}
				m.receive(n)
			}
			rt.Repeat(map[string]func(*rapid.T){
				"":        func(rt *rapid.T) { m.check(rt) },
				"receive": receive,
				"cycle": func(rt *rapid.T) {
					if err := m.cycle(server.Draw(rt, "server")); err != nil {
						rt.Fatalf("cycle without a fault: %v", err)
					}
				},
				"fault": func(rt *rapid.T) {
					fault := rapid.SampledFrom(faults).Draw(rt, "fault")
					receive(rt)
					m.inject(fault)
					err := m.cycle(server.Draw(rt, "server"))
					m.heal()
					if errors.Is(err, batchlog.ErrMismatch) || errors.Is(err, notary.ErrObjectDiffers) {
						rt.Fatalf("%v: a passing fault is taken for a broken log: %v", fault, err)
					}
				},
				"restart": func(rt *rapid.T) { m.start(server.Draw(rt, "server")) },
				"overtake": func(rt *rapid.T) {
					op := rapid.SampledFrom([]injection{{storagetest.Fault{Op: storagetest.OpPutOnceAll, Call: 1},
						false}, {storagetest.Fault{Op: storagetest.OpReplace, Call: 1}, false},
						{storagetest.Fault{Op: storagetest.OpAdvance, Call: 1}, true},
						{storagetest.Fault{Op: storagetest.OpEntries, Call: 1}, true}}).Draw(rt, "where")
					receive(rt)
					m.overtake(rt, op, func() { receive(rt) })
				},
			})
			if err := errors.Join(m.cycle(0), m.cycle(1)); err != nil {
				rt.Fatalf("cycles at the end: %v", err)
			}
			m.check(rt)
			if last := m.published[len(m.published)-1]; last.Size != m.frontier.Size() {
				rt.Fatalf("published is size %d of %d when all is well again", last.Size, m.frontier.Size())
			}
		})
	})
}
