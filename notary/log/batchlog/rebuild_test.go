package batchlog_test

import (
	"errors"
	"strings"
	"testing"

	"stele/notary"
	"stele/notary/log/batchlog"
	"stele/storage/storagetest"
)

// An object store that lost everything but is the same store gets the same bytes back, and
// the log goes on as if nothing had been.
func TestRebuild(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		for _, size := range []int{0, 1, 255, 256, 300, 4096, 4100} { // around a tile and around what is read at once
			s := storagetest.NewSite(t, b)
			if size > 1000 {
				s.ReceiveItems(t, meaningless(t, s, 0, size)...)
			} else {
				s.Receive(t, size)
			}
			s.Sequence(t)
			before := tree(t, s)
			for key := range before {
				fatalIfErr(t, s.Objects.Delete(t.Context(), key))
			}
			l := s.Log(s.DB.Log, s.Objects, batchlog.Options{})
			if err := l.Check(t.Context()); !errors.Is(err, batchlog.ErrMismatch) {
				t.Errorf("size %d: a start without tiles: %v", size, err)
			}
			n, err := l.Rebuild(t.Context(), nil)
			fatalIfErr(t, err)
			after := tree(t, s)
			if len(after) != len(before) || n != len(after)-1 {
				t.Errorf("size %d: %d objects, %d before, told of %d", size, len(after), len(before), n)
			}
			for key, data := range before {
				if after[key] != data {
					t.Errorf("size %d: %s is another one", size, key)
				}
			}
			fatalIfErr(t, s.Log(s.DB.Log, s.Objects, batchlog.Options{}).Check(t.Context()))
			if size > 1000 {
				continue
			}
			s.Receive(t, 3)
			s.Sequence(t)
			s.WantClean(t)
		}
	})
}

// tree is all that the log has in the object store.
func tree(t *testing.T, s *storagetest.Site) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, prefix := range []string{"tile/", batchlog.CheckpointKey} {
		fatalIfErr(t, s.Objects.List(t.Context(), prefix, func(o notary.Object) error {
			data, err := s.Objects.Get(t.Context(), o.Key, o.Size)
			out[o.Key] = string(data)
			return err
		}))
	}
	return out
}

// What is there is never written over, and rows that do not give the signed root give nothing.
func TestRebuildRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(t *testing.T, s *storagetest.Site)
		want   error
	}{
		"another tile": {func(t *testing.T, s *storagetest.Site) {
			fatalIfErr(t, s.Objects.PutOnce(t.Context(), "tile/0/000", []byte("x")))
		}, notary.ErrObjectDiffers},
		"entry changed": {func(t *testing.T, s *storagetest.Site) {
			storagetest.MustExec(t, storagetest.Raw(t, s.URL), 1,
				`UPDATE entries SET signature = (SELECT signature FROM entries WHERE idx = 1) WHERE idx = 2`)
		}, batchlog.ErrMismatch},
		"entry missing": {func(t *testing.T, s *storagetest.Site) {
			storagetest.MustExec(t, storagetest.Raw(t, s.URL), 1, `DELETE FROM entries WHERE idx = 2`)
		}, batchlog.ErrMismatch},
		"key of another log": {func(t *testing.T, s *storagetest.Site) {
			s.LogKey = key(t, "log.example/other", "other")
		}, batchlog.ErrMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			s := storagetest.NewSite(t, storagetest.Embedded)
			s.Receive(t, 300)
			s.Sequence(t)
			for key := range tree(t, s) {
				fatalIfErr(t, s.Objects.Delete(t.Context(), key))
			}
			c.damage(t, s)
			before := tree(t, s)
			if _, err := s.Log(s.DB.Log, s.Objects, batchlog.Options{}).Rebuild(t.Context(), nil); !errors.Is(err,
				c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			after := tree(t, s)
			for k, v := range before {
				if after[k] != v {
					t.Errorf("%s was written over", k)
				}
			}
			if _, ok := after[batchlog.CheckpointKey]; ok || c.want == batchlog.ErrMismatch &&
				len(after) != len(before) {
				t.Errorf("%d objects, %d before", len(after), len(before))
			}
			for k := range after {
				if !strings.HasPrefix(k, "tile/") {
					t.Errorf("there is %s", k)
				}
			}
		})
	}
}

// Each write of a rebuild fails in each way; it is run again, and all is there.
func TestRebuildFaults(t *testing.T) {
	for _, op := range []storagetest.Op{storagetest.OpPutOnceAll, storagetest.OpReplace} {
		for _, mode := range storagetest.Modes {
			m := newModel(t, storagetest.Embedded)
			m.receive(300)
			fatalIfErr(t, m.cycle(0))
			for key := range tree(t, m.site) {
				fatalIfErr(t, m.site.Objects.Delete(t.Context(), key))
			}
			m.objects.Inject(storagetest.Fault{Op: op, Mode: mode, Call: 1})
			l := m.site.Log(m.db, m.objects, batchlog.Options{})
			if _, err := l.Rebuild(t.Context(), nil); !errors.Is(err, storagetest.ErrInjected) {
				t.Errorf("%s %s: got %v", op, mode, err)
			}
			m.heal()
			_, err := l.Rebuild(t.Context(), nil)
			fatalIfErr(t, err)
			m.start(0)
			m.check(t)
		}
	}
}
