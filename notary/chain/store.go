package chain

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// store is the application's state: see the package comment for its keys. Reads may run
// beside a write and see the state before or after it, never between.
type store struct{ db *bolt.DB }

var (
	bucketState    = []byte("state")
	bucketIdentity = []byte("identity")
)

// lockTimeout bounds the wait for a bbolt file that another process has open.
const lockTimeout = time.Second

func openBolt(path string) (*bolt.DB, error) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: lockTimeout, FreelistType: bolt.FreelistMapType})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("%s is in use by another process: stop that one first, two must never run one "+
			"validator", path)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return db, nil
}

// getter reads one key of a consistent state; nil when it is not there. The result is the
// caller's to keep.
type getter func(key string) []byte

// view calls f with a consistent snapshot.
func (s *store) view(f func(get getter) error) error {
	return s.db.View(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketState)
		return f(func(k string) []byte { return bytes.Clone(b.Get([]byte(k))) })
	})
}

func (s *store) get(k string) (v []byte, err error) {
	err = s.view(func(get getter) error { v = get(k); return nil })
	return v, err
}

// keys returns up to limit keys with this prefix, in order, after skipping some.
func (s *store) keys(prefix string, skip uint64, limit int) (out [][]byte, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		c := tx.Bucket(bucketState).Cursor()
		for k, _ := c.Seek([]byte(prefix)); k != nil && bytes.HasPrefix(k, []byte(prefix)) && len(out) < limit; k,
			_ = c.Next() {
			if skip > 0 {
				skip--
				continue
			}
			out = append(out, bytes.Clone(k))
		}
		return nil
	})
	return out, err
}

// apply writes all changes in one transaction and syncs it. A nil value deletes. A crash
// before it returns leaves all of the changes or none.
func (s *store) apply(changes map[string][]byte) error {
	keys := make([]string, 0, len(changes))
	for k := range changes {
		keys = append(keys, k)
	}
	slices.Sort(keys) // sequential writes into the tree
	return s.db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketState)
		for _, k := range keys {
			var err error
			if v := changes[k]; v == nil {
				err = b.Delete([]byte(k))
			} else {
				err = b.Put([]byte(k), v)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *store) close() error { return s.db.Close() }

// overlay is the state as a block being executed sees it: its own changes over the store.
// It is thrown away after a check or proposal and applied at Commit. A failed read of the
// store is kept in err and makes the whole execution void.
type overlay struct {
	store   *store
	changes map[string][]byte
	err     error
}

func newOverlay(s *store) *overlay { return &overlay{store: s, changes: map[string][]byte{}} }

func (o *overlay) get(k string) []byte {
	if v, ok := o.changes[k]; ok {
		return v
	}
	v, err := o.store.get(k)
	if err != nil && o.err == nil {
		o.err = fmt.Errorf("read chain state: %w", err)
	}
	return v
}

func (o *overlay) put(k string, v []byte) { o.changes[k] = v }

func (o *overlay) del(k string) { o.changes[k] = nil }
