package chain

import "testing"

// Old blocks may go; evidence stays what it was.
func TestEvidenceSurvivesPruning(t *testing.T) {
	ctx := testContext(t)
	l := newTestLog(t, "log.example/a")
	n, _ := solo(t, func(c *Config) { c.RetainBlocks = 10 }, l)
	first := l.next(t, 2)
	anchor(ctx, t, n, first)
	for range 10 {
		anchor(ctx, t, n, l.next(t, 2))
	}
	s := await(ctx, t, n, "blocks to go", func(s Status) bool { return s.Base > 1 })
	certified(ctx, t, n, first.Checkpoint)
	if s.Height-s.Base > 12 {
		t.Errorf("%d blocks are kept", s.Height-s.Base)
	}
	checkHistory(t, n)
}
