package batchlog

import "context"

// Cycle runs one cycle by hand.
func (l *Log) Cycle(ctx context.Context) (more bool, err error) { return l.cycle(ctx) }
