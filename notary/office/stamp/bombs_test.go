package stamp_test

import (
	"cmp"
	"errors"
	"runtime"
	"slices"
	"testing"
	"time"

	"stele/notary/office/stamp"
	"stele/notary/office/stamp/stamptest"
)

// bombPlans ask for all that can be asked of a file.
var bombPlans = []stamp.Plan{
	{Marks: []stamp.Mark{
		{Kind: stamp.QR, Pages: "all", Anchor: stamp.Anchor{Corner: stamp.TopLeft, X: 5, Y: 5}},
		{Kind: stamp.Seal, Pages: "all", Anchor: stamp.Anchor{Corner: stamp.BottomRight, X: 5, Y: 5}}}},
	{Marks: []stamp.Mark{{Kind: stamp.Seal, Pages: "all", Anchor: stamp.Anchor{Keyword: "aaaab"}}}},
}

// A file that is made to cost as much as can be is read or refused within what an honest file of
// its size may cost. How long each takes and what memory a process needs for it stands in
// docs/benchmarks.md, see BenchmarkBombs.
func TestBombs(t *testing.T) {
	withoutRaceDetector(t)
	known := []error{stamp.ErrNotPDF, stamp.ErrDamaged, stamp.ErrTooLarge, stamp.ErrEncrypted, stamp.ErrDynamicForm}
	for what, data := range stamptest.Bombs() {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		var err error
		for _, plan := range bombPlans {
			v, lerr := stamp.Look(data, stamp.Glance{Plan: plan, URL: link})
			err = cmp.Or(err, lerr, v.Problem)
		}
		runtime.ReadMemStats(&after)
		var plan *stamp.PlanError
		if err != nil && !errors.As(err, &plan) &&
			!slices.ContainsFunc(known, func(k error) bool { return errors.Is(err, k) }) {
			t.Errorf("%s: %v", what, err)
		}
		const most = 512 << 20 // bytes that are taken in all, most of them given back at once
		took := after.TotalAlloc - before.TotalAlloc
		if took > most {
			t.Errorf("%s: %d MiB were used", what, took>>20)
		}
		t.Logf("%-35s %8d bytes, %4d MiB taken in all: %v", what, len(data), took>>20, err)
	}
}

// What is gone through again, or comes to nothing, is paid for as well: each of these took minutes.
func TestUncounted(t *testing.T) {
	withoutRaceDetector(t)
	const most = time.Minute // each takes some seconds on a machine that is busy
	for what, data := range stamptest.Uncounted() {
		done := make(chan error, 1)
		go func() {
			var err error
			for _, plan := range bombPlans {
				v, lerr := stamp.Look(data, stamp.Glance{Plan: plan, URL: link})
				err = cmp.Or(err, lerr, v.Problem)
			}
			done <- err
		}()
		select {
		case err := <-done:
			t.Logf("%-45s %8d bytes: %v", what, len(data), err)
		case <-time.After(most):
			t.Fatalf("%s is read for more than %s", what, most)
		}
	}
}
