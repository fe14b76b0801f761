package follow

import "context"

// Round is one look at the log.
func (f *Follower) Round(ctx context.Context) error { return f.round(ctx) }

// Take takes what the sequencer handed over.
func (f *Follower) Take() int {
	n := len(f.queue)
	for range n {
		f.take(<-f.queue)
	}
	return n
}
