package sqldb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"stele/crypto/merkle"
)

// ErrWentBack means that the database holds less than was seen of it before, or another history:
// it was restored under this process, or another server took over that lacks the newest
// transactions. What is written to it now would be answered, and be in no other server's history.
var ErrWentBack = errors.New("the database went back")

// Seen is a state of the log that a database must hold, since it was told to the world.
type Seen struct {
	Received uint64      // entries that were answered, at least
	Size     uint64      // entries of the log
	Root     merkle.Hash // of the tree of that size
}

// highWater is the most that this process has seen of the log's row. The row's numbers only grow,
// in whichever transaction they are looked at, so a row that is read after a mark was taken is
// never below it: one that is was read from a database that went back. From then on nothing is
// written, and [DB.WentBack] says so to whoever runs the process. It is safe for concurrent use.
type highWater struct {
	mu      sync.Mutex
	mark    logRow        // guarded by mu; its numbers, and the root of its size
	err     error         // guarded by mu; set once
	tripped chan struct{} // closed when err is set
}

func newHighWater() *highWater { return &highWater{tripped: make(chan struct{})} }

// taken is the mark, or why there is none any more.
func (h *highWater) taken() (logRow, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.mark, h.err
}

// saw compares a row with a mark that was taken before the row was read, and keeps the higher.
func (h *highWater) saw(mark, row logRow) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return h.err
	}
	if why := below(row, mark); why != "" {
		return h.tripLocked(why)
	}
	if row.Received > h.mark.Received || row.Size > h.mark.Size || row.Events > h.mark.Events {
		h.mark = higher(h.mark, row)
	}
	return nil
}

// trip ends all writing.
func (h *highWater) trip(why string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.tripLocked(why)
}

func (h *highWater) tripLocked(why string) error {
	if h.err == nil {
		h.err = fmt.Errorf("%w: %s. It was restored, or another database server took over that lacks the newest "+
			"transactions. Nothing more is answered. Bring back the database that has them; if there is none, see "+
			"'The database went back' in docs/operations.md", ErrWentBack, why)
		close(h.tripped)
	}
	return h.err
}

// below says in which number a row is below a mark, "" if in none.
func below(row, mark logRow) string {
	for _, n := range []struct {
		name      string
		has, seen int64
	}{
		{"received entries", row.Received, mark.Received}, {"logged entries", row.Size, mark.Size},
		{"anchored entries", row.Anchored, mark.Anchored}, {"events", row.Events, mark.Events},
		{"changes of the log's key", row.Generation, mark.Generation},
	} {
		if n.has < n.seen {
			return fmt.Sprintf("it has %d %s, and had %d", n.has, n.name, n.seen)
		}
	}
	if row.Size == mark.Size && mark.Root != nil && !bytes.Equal(row.Root, mark.Root) {
		return fmt.Sprintf("its root of %d entries is another than it had", row.Size)
	}
	return ""
}

func higher(a, b logRow) logRow {
	if b.Size < a.Size {
		b.Size, b.Root = a.Size, a.Root
	}
	b.Received, b.Anchored = max(a.Received, b.Received), max(a.Anchored, b.Anchored)
	b.Events, b.Generation = max(a.Events, b.Events), max(a.Generation, b.Generation)
	return b
}

// WentBack is closed when the database was found to hold less than it did: the process must end.
// [DB.WentBackError] says what was found.
func (db *conn) WentBack() <-chan struct{} { return db.high.tripped }

// WentBackError is nil while the database holds all that was seen of it.
func (db *conn) WentBackError() error {
	_, err := db.high.taken()
	return err
}

// CompareWith sets where the log's published state is read, for comparison with a database server
// that this process has not talked to before. published may fail for a while; until it answers, that
// server is not used.
func (db *conn) CompareWith(published func(context.Context) (Seen, error)) {
	db.published.Store(&published)
}
