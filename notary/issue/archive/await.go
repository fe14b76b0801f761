package archive

import (
	"context"
	"time"

	"stele/notary"
)

// pollProgress is how often somebody who waits looks at the database, for entries that
// another server logs or anchors.
const pollProgress = 250 * time.Millisecond

// Await waits until the entry at an index is as far as wanted, at most for a time; it returns
// how far the log is then. moved is told when this server moves it.
func (a *Archive) Await(ctx context.Context, moved *notary.Signal, most time.Duration, index uint64,
	want notary.State) (notary.Progress, error) {
	deadline := time.NewTimer(most)
	defer deadline.Stop()
	poll := time.NewTicker(pollProgress)
	defer poll.Stop()
	for {
		changed := moved.Changed()
		p, err := a.Progress(ctx)
		if err != nil || reached(p.StateOf(index), want) {
			return p, err
		}
		select {
		case <-changed:
		case <-poll.C:
		case <-deadline.C:
			return p, nil
		case <-ctx.Done():
			return p, ctx.Err()
		}
	}
}

func reached(have, want notary.State) bool {
	switch want {
	case notary.Anchored:
		return have == notary.Anchored
	case notary.Logged:
		return have != notary.Received
	}
	return true
}
