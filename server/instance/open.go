package instance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"stele/crypto/closed"
	"stele/notary"
	"stele/notary/log/batchlog"
	"stele/notary/log/fsck"
	"stele/notary/proof"
	"stele/notary/proof/trustfile"
	"stele/storage/sqldb"
)

// ErrForeign means that the parts do not belong to one instance.
var ErrForeign = errors.New("the configured parts do not belong to one instance")

// Stores are the opened and mutually checked stores of an instance.
type Stores struct {
	Config  Config
	DB      *sqldb.DB
	Objects ObjectStore
	Trust   *proof.Trust
	Tiles   *batchlog.Tiles
	Policy  AnchorPolicy
	id      identity
	trust   []byte
	// successions reads the file once: who asks for the root's revocation list asks for it.
	successions func() ([]trustfile.SignedSuccession, error)

	objectTimes *objectTimes

	trustChanged bool // the policy names gateways that the file of the trust roots lacks
}

func newStores(c Config) *Stores {
	return &Stores{Config: c, successions: sync.OnceValues(c.readSuccessions)}
}

// OpenStores opens database, object store and trust roots and checks that they belong to
// one instance. Nothing is created.
func OpenStores(ctx context.Context, c Config) (s *Stores, err error) {
	return openStores(ctx, c, (*Stores).checkChain)
}

func openStores(ctx context.Context, c Config, checkChain func(*Stores, sqldb.Instance) error) (s *Stores, err error) {
	s = newStores(c)
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if err = s.openDatabase(ctx); err != nil {
		return s, err
	}
	objects, err := c.openObjects(ctx)
	if err != nil {
		return s, fmt.Errorf("object store: %w", err)
	}
	s.objectTimes = newObjectTimes()
	s.Objects = &timed{objects, s.objectTimes}
	s.Tiles = batchlog.NewTiles(s.Objects, cachedTiles)
	return s, s.checkIdentity(ctx, checkChain)
}

// openDatabase opens what is beside the object store.
func (s *Stores) openDatabase(ctx context.Context) (err error) {
	c := s.Config
	if s.id, err = readIdentity(c); err != nil {
		return err
	}
	if err = closed.Check(c.Data); err != nil {
		return fmt.Errorf("the data folder: %w", err)
	}
	if s.trust, err = os.ReadFile(c.TrustPath()); err != nil {
		return fmt.Errorf("read the trust roots: %w", err)
	}
	if s.Trust, err = proof.ParseTrust(s.trust); err != nil {
		return fmt.Errorf("%s: %w", c.TrustPath(), err)
	}
	if err = s.pinGateways(); err != nil {
		return err
	}
	s.DB, err = c.openDB(ctx, false)
	return err
}

// cachedTiles of 8 KiB each are kept in memory: 8 MiB.
const cachedTiles = 1024

func readIdentity(c Config) (identity, error) {
	var id identity
	b, err := os.ReadFile(c.path(fileIdentity))
	if errors.Is(err, fs.ErrNotExist) {
		return id, fmt.Errorf("there is no instance in %s: run 'stele init' for a new one, or correct the configured "+
			"data folder. If an init was interrupted, remove what it left and run it again", c.Data)
	}
	if err != nil {
		return id, err
	}
	if err := json.Unmarshal(b, &id); err != nil || id.ID == "" {
		return id, fmt.Errorf("%s is damaged: restore it from a backup", c.path(fileIdentity))
	}
	return id, nil
}

// checkChain refuses a server where a move to another chain is not finished.
func (s *Stores) checkChain(in sqldb.Instance) error {
	if in.Chain == s.id.Epoch0 {
		return nil
	}
	return fmt.Errorf("%w: the database names the chain with epoch 0 %s, %s the one with %s. If the log was moved to "+
		"another chain, run 'stele chain move' with the same link here as well, and set chain and chain-nodes for "+
		"the new one (docs/chain.md, Moving); else restore %s",
		ErrForeign, in.Chain, s.Config.path(fileIdentity), s.id.Epoch0, s.Config.path(fileIdentity))
}

func (s *Stores) checkIdentity(ctx context.Context, checkChain func(*Stores, sqldb.Instance) error) error {
	in, err := s.checkDatabase(ctx, checkChain)
	if err != nil {
		return err
	}
	return s.checkObjects(ctx, in)
}

func (s *Stores) checkDatabase(ctx context.Context, checkChain func(*Stores, sqldb.Instance) error) (sqldb.Instance,
	error) {
	in, err := s.DB.Log.Instance(ctx)
	if errors.Is(err, notary.ErrNotFound) {
		return in, fmt.Errorf(
			"%w: the database holds a schema but no instance; an init was interrupted: empty it and run init again",
			ErrForeign)
	}
	if err != nil {
		return in, fmt.Errorf("read the database's instance: %w", err)
	}
	if in.ID != s.id.ID {
		return in, fmt.Errorf("%w: the database belongs to instance %s, the data folder to %s; correct the database "+
			"URL or the data folder", ErrForeign, in.ID, s.id.ID)
	}
	return in, checkChain(s, in)
}

func (s *Stores) checkObjects(ctx context.Context, in sqldb.Instance) error {
	text, err := s.Objects.Get(ctx, objectIdentity, 4096)
	if errors.Is(err, notary.ErrObjectNotFound) {
		return fmt.Errorf("%w: the object store is empty although the database holds instance %s; correct the "+
			"configured folder or bucket, "+
			"or restore it, or, if it was lost, make it anew with 'stele rebuild-store'", ErrForeign, in.ID)
	}
	if err != nil {
		return fmt.Errorf("read the object store's instance: %w", err)
	}
	var id identity
	if json.Unmarshal(text, &id) != nil || id.ID != s.id.ID {
		return fmt.Errorf("%w: the object store belongs to instance %q, the database to %s; correct the configured "+
			"folder or bucket", ErrForeign, id.ID, in.ID)
	}
	return nil
}

// Close closes the stores.
func (s *Stores) Close() error {
	var errs []error
	if s.Objects != nil {
		errs = append(errs, s.Objects.Close())
	}
	if s.DB != nil {
		errs = append(errs, s.DB.Close())
	}
	return errors.Join(errs...)
}

// Fsck re-derives everything and compares.
func (s *Stores) Fsck(ctx context.Context, o fsck.Options) (*fsck.Result, error) {
	res, err := fsck.Check(ctx, s.DB.Log, s.Objects, s.Trust, o)
	if err != nil {
		return res, err
	}
	return res, s.checkTrail(ctx, res)
}

// RebuildTiles writes what the object store lacks of the log from the database's rows.
func (s *Stores) RebuildTiles(ctx context.Context, log *slog.Logger) (int, error) {
	pass, err := s.Config.passphrase()
	if err != nil {
		return 0, err
	}
	signer, keys, err := s.logKeys(pass)
	if err != nil {
		return 0, err
	}
	if err := s.fence(ctx, &signer.Verifier); err != nil {
		return 0, err
	}
	l := batchlog.New(s.DB.Log, s.Objects, s.Tiles, batchlog.Options{Signer: signer, Keys: keys, Now: time.Now,
		Log: log})
	return l.Rebuild(ctx, nil)
}
