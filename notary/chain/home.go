package chain

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	bolt "go.etcd.io/bbolt"

	"stele/crypto/closed"
	"stele/crypto/merkle"
	"stele/notary/proof/anchorproof"
)

// A home folder holds
//
//	app.db   the application's state, and whose home this is
//	sign.db  what the validator signed last. Never restore it from a backup
//	data/    the engine's blocks, state and write-ahead log
const (
	appFile     = "app.db"
	signFile    = "sign.db"
	dataDir     = "data"
	identityKey = "identity"
	homeMagic   = "stele/chain-home/v1"
)

// ErrHome is wrapped by every refusal to start on a home folder.
var ErrHome = errors.New("chain home folder")

// identity says whose home a folder is.
func (c Config) identity() string {
	return fmt.Sprintf(homeMagic+"\nchain %s\ngenesis %s\nconsensus %x\n", c.Genesis.Chain, c.Genesis.Hash(),
		[]byte(c.publicKey()))
}

// Init makes the home folder of a node. The folder must be empty or not exist: a chain
// comes into being here and nowhere else, once.
//
// A crash leaves a folder without identity, which [Start] and Init refuse: whoever ran Init
// empties the folder and runs it again. Nothing was signed from it.
func Init(c Config) (err error) {
	c, err = c.withDefaults()
	if err != nil {
		return err
	}
	if err := closed.Folder(c.Home, func(name string) bool { return name == "lost+found" }); err != nil {
		return fmt.Errorf("make chain home: %w", err)
	}
	entries, err := os.ReadDir(c.Home)
	if err != nil {
		return fmt.Errorf("make chain home: %w", err)
	}
	entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool { return e.Name() == "lost+found" })
	if len(entries) > 0 {
		return fmt.Errorf("%w %s is not empty (%s …): it may hold a chain already. Start that one, or choose an "+
			"empty folder", ErrHome, c.Home, entries[0].Name())
	}
	if err := os.Mkdir(filepath.Join(c.Home, dataDir), 0o700); err != nil {
		return fmt.Errorf("make chain home: %w", err)
	}
	if err := withBolt(filepath.Join(c.Home, signFile),
		func(db *bolt.DB) error { return initSignState(db, c.publicKey()) }); err != nil {
		return err
	}
	// The identity comes last, with the state that it vouches for, in one transaction.
	if err := withBolt(filepath.Join(c.Home, appFile), c.initState); err != nil {
		return err
	}
	return syncDir(c.Home)
}

// initState writes epoch 0, the state before the first block, and the identity.
func (c Config) initState(db *bolt.DB) error {
	epoch, err := anchorproof.SignedEpoch{Epoch: c.Genesis}.Marshal()
	if err != nil {
		return err
	}
	m := meta{history: &merkle.Frontier{}}
	m.appHash = m.hash(c.Genesis)
	return db.Update(func(tx *bolt.Tx) error {
		state, err := tx.CreateBucket(bucketState)
		if err != nil {
			return err
		}
		id, err := tx.CreateBucket(bucketIdentity)
		if err != nil {
			return err
		}
		return errors.Join(state.Put([]byte(key("e/", 0)), epoch), state.Put([]byte(metaKey), m.encode()),
			id.Put([]byte(identityKey), []byte(c.identity())))
	})
}

func withBolt(path string, f func(*bolt.DB) error) error {
	db, err := openBolt(path)
	if err != nil {
		return err
	}
	if err := errors.Join(f(db), db.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// home is an opened home folder.
type home struct {
	app       *app
	validator *validator
}

func (h *home) close() error { return errors.Join(h.app.store.close(), h.validator.db.Close()) }

// openHome opens what Init made and refuses everything else.
func openHome(c Config) (*home, error) {
	for _, f := range []string{appFile, signFile, dataDir} {
		_, err := os.Stat(filepath.Join(c.Home, f))
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("%w %s has no %s. If this node has never run, initialise it first; if it has, the "+
				"folder is empty or incomplete: mount the right one, or set the node up anew with new keys and let "+
				"it catch up", ErrHome, c.Home, f)
		}
		if err != nil {
			return nil, fmt.Errorf("open chain home: %w", err)
		}
	}
	if err := closed.Check(c.Home, filepath.Join(c.Home, appFile), filepath.Join(c.Home, signFile),
		filepath.Join(c.Home, dataDir)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrHome, err)
	}
	db, err := openBolt(filepath.Join(c.Home, appFile))
	if err != nil {
		return nil, err
	}
	h, err := c.openState(db)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if err := c.compare(h); err != nil {
		return nil, errors.Join(err, h.close())
	}
	return h, nil
}

func (c Config) openState(db *bolt.DB) (*home, error) {
	var id []byte
	err := db.View(func(tx *bolt.Tx) error {
		if b := tx.Bucket(bucketIdentity); b != nil {
			id = bytes.Clone(b.Get([]byte(identityKey)))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if id == nil {
		return nil, fmt.Errorf(
			"%w %s is half made: an initialisation was interrupted. Empty the folder and initialise again", ErrHome,
			c.Home)
	}
	if err := c.sameIdentity(string(id)); err != nil {
		return nil, err
	}
	a, err := newApp(&store{db: db})
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w", ErrHome, c.Home, err)
	}
	signs, err := openBolt(filepath.Join(c.Home, signFile))
	if err != nil {
		return nil, err
	}
	v, err := openValidator(signs, cmted25519.PrivKey(c.ConsensusKey))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w %s: %w", ErrHome, c.Home, err), signs.Close())
	}
	return &home{app: a, validator: v}, nil
}

// sameIdentity says which line of the identity differs.
func (c Config) sameIdentity(id string) error {
	return c.sameLines(id, strings.Split(c.identity(), "\n"))
}

// sameChain is sameIdentity for whoever has not the validator's key: the consensus key, in the last
// line, does not matter.
func (c Config) sameChain(id string) error {
	return c.sameLines(id, []string{homeMagic, "chain " + c.Genesis.Chain, "genesis " + c.Genesis.Hash().String()})
}

func (c Config) sameLines(id string, want []string) error {
	got := strings.Split(id, "\n")
	for i, w := range want {
		if i >= len(got) || got[i] != w {
			have := "nothing"
			if i < len(got) {
				have = got[i]
			}
			return fmt.Errorf("%w %s is of another node: it has %q, the configuration says %q. Correct the "+
				"configuration or mount the right folder", ErrHome, c.Home, have, w)
		}
	}
	return nil
}

// compare refuses parts of one home that are not of one time. The engine itself repairs an
// application that is behind its blocks.
func (c Config) compare(h *home) error {
	height, voted := h.app.meta.height, h.validator.height()
	// A validator votes on one block past the last one that it has executed, never further.
	if voted > height+1 {
		return fmt.Errorf("%w %s is older than its %s: state at height %d, last vote at %d. It was restored from a "+
			"backup; a validator that goes on from there would contradict itself. Set it up anew with new keys and "+
			"let it catch up", ErrHome, c.Home, signFile, height, voted)
	}
	if _, err := os.Stat(filepath.Join(c.Home, dataDir, "blockstore.db")); height > 0 && err != nil {
		return fmt.Errorf("%w %s has state at height %d but no blocks in %s: %w. Restore the folder as a whole, or "+
			"set the node up anew with new keys and let it catch up", ErrHome, c.Home, height, dataDir, err)
	}
	if now := c.Clock(); c.alone() && h.app.meta.timeMs > now.Add(maxClockLag).UnixMilli() {
		return &AheadError{Home: c.Home, Last: anchorproof.Header{TimeMs: h.app.meta.timeMs}.Time(), Now: now.UTC()}
	}
	return nil
}

// AheadError means that the chain's last block is of a time to come: it was made with a clock that
// was ahead, or this machine's is behind. Until that time has passed nothing can be added. It is an
// [ErrHome].
type AheadError struct {
	Home      string
	Last, Now time.Time
}

func (e *AheadError) Error() string {
	return fmt.Sprintf("%v %s: the last block is of %s, this machine's clock says %s. Set the clock; if the "+
		"block's time "+
		"is the wrong one, the chain takes nothing until it has passed, and a log can be moved to another chain with "+
		"'stele chain move'", ErrHome, e.Home, e.Last.Format(timeFormat), e.Now.Format(timeFormat))
}

func (e *AheadError) Is(target error) bool { return target == ErrHome }
