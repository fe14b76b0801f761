package chain

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"stele/notary/proof/anchorproof"
	"stele/notary/proof/checkpoint"
)

// Kept is what a home folder holds of a log, read while no node runs there.
type Kept struct {
	Head   checkpoint.Checkpoint     // the newest committed one; size 0 when there is none
	Epochs []anchorproof.SignedEpoch // 1 up to the newest accepted
	Time   time.Time                 // of the last block; zero when there is none
}

// ReadHome reads the folder of a chain without its keys and without changing a thing: also where
// its last block lies in the future or its validator must not go on.
func ReadHome(home string, genesis anchorproof.Epoch, origin string) (k Kept, err error) {
	err = readHome(home, genesis, func(get getter) error {
		m, err := decodeMeta(get(metaKey))
		if err != nil {
			return err
		}
		if m.timeMs > 0 {
			k.Time = time.UnixMilli(m.timeMs).UTC()
		}
		for number := uint64(1); number <= m.epoch; number++ {
			e, err := loadEpoch(get, number)
			if err != nil {
				return err
			}
			k.Epochs = append(k.Epochs, e)
		}
		k.Head, err = headOf(get, origin)
		return err
	})
	return k, err
}

// IsHome reports whether a folder holds this chain; half made ones and missing ones do not.
func IsHome(home string, genesis anchorproof.Epoch) bool {
	return readHome(home, genesis, func(getter) error { return nil }) == nil
}

func readHome(home string, genesis anchorproof.Epoch, f func(get getter) error) error {
	path := filepath.Join(home, appFile)
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("%w %s has no %s: %w", ErrHome, home, appFile, err)
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: lockTimeout, ReadOnly: true})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return fmt.Errorf("%s is in use by another process: stop the server first", path)
	}
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	defer db.Close()
	return db.View(func(tx *bolt.Tx) error {
		id, state := tx.Bucket(bucketIdentity), tx.Bucket(bucketState)
		if id == nil || state == nil {
			return fmt.Errorf("%w %s is half made", ErrHome, home)
		}
		c := Config{Home: home, Genesis: genesis}
		if err := c.sameChain(string(id.Get([]byte(identityKey)))); err != nil {
			return err
		}
		return f(func(key string) []byte { return bytes.Clone(state.Get([]byte(key))) })
	})
}
