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
	"sync/atomic"
	"time"

	"stele/crypto/closed"
	"stele/crypto/keystore"
	"stele/crypto/signednote"
	"stele/notary"
	"stele/notary/anchorproof"
	"stele/notary/archive"
	"stele/notary/batchlog"
	"stele/notary/bulk"
	"stele/notary/chain"
	"stele/notary/class"
	"stele/notary/erasure"
	"stele/notary/filing"
	"stele/notary/fsck"
	"stele/notary/intake"
	"stele/notary/outage"
	"stele/notary/people"
	"stele/notary/proof"
	"stele/notary/stamp"
	"stele/notary/tail"
	"stele/notary/upload"
	"stele/server/auth"
	"stele/server/chainnet"
	"stele/server/clock"
	"stele/server/request"
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

	objectTimes *objectTimes

	trustChanged bool // the policy names gateways that the file of the trust roots lacks
}

// OpenStores opens database, object store and trust roots and checks that they belong to
// one instance. Nothing is created.
func OpenStores(ctx context.Context, c Config) (s *Stores, err error) {
	return openStores(ctx, c, (*Stores).checkChain)
}

func openStores(ctx context.Context, c Config, checkChain func(*Stores, sqldb.Instance) error) (s *Stores, err error) {
	s = &Stores{Config: c}
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
		return id, fmt.Errorf("there is no instance in %s: run 'stele init' for a new one, or correct the configured data folder. If an init was interrupted, remove what it left and run it again", c.Data)
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
	return fmt.Errorf("%w: the database names the chain with epoch 0 %s, %s the one with %s. If the log was moved to another chain, run 'stele chain move' with the same link here as well, and set chain and chain-nodes for the new one (docs/chain.md, Moving); else restore %s",
		ErrForeign, in.Chain, s.Config.path(fileIdentity), s.id.Epoch0, s.Config.path(fileIdentity))
}

func (s *Stores) checkIdentity(ctx context.Context, checkChain func(*Stores, sqldb.Instance) error) error {
	in, err := s.checkDatabase(ctx, checkChain)
	if err != nil {
		return err
	}
	return s.checkObjects(ctx, in)
}

func (s *Stores) checkDatabase(ctx context.Context, checkChain func(*Stores, sqldb.Instance) error) (sqldb.Instance, error) {
	in, err := s.DB.Instance(ctx)
	if errors.Is(err, notary.ErrNotFound) {
		return in, fmt.Errorf("%w: the database holds a schema but no instance; an init was interrupted: empty it and run init again", ErrForeign)
	}
	if err != nil {
		return in, fmt.Errorf("read the database's instance: %w", err)
	}
	if in.ID != s.id.ID {
		return in, fmt.Errorf("%w: the database belongs to instance %s, the data folder to %s; correct the database URL or the data folder", ErrForeign, in.ID, s.id.ID)
	}
	return in, checkChain(s, in)
}

func (s *Stores) checkObjects(ctx context.Context, in sqldb.Instance) error {
	text, err := s.Objects.Get(ctx, objectIdentity, 4096)
	if errors.Is(err, notary.ErrObjectNotFound) {
		return fmt.Errorf("%w: the object store is empty although the database holds instance %s; correct the configured folder or bucket, "+
			"or restore it, or, if it was lost, make it anew with 'stele rebuild-store'", ErrForeign, in.ID)
	}
	if err != nil {
		return fmt.Errorf("read the object store's instance: %w", err)
	}
	var id identity
	if json.Unmarshal(text, &id) != nil || id.ID != s.id.ID {
		return fmt.Errorf("%w: the object store belongs to instance %q, the database to %s; correct the configured folder or bucket", ErrForeign, id.ID, in.ID)
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
	res, err := fsck.Check(ctx, s.DB, s.DB, s.Objects, s.Trust, o)
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
	l := batchlog.New(s.DB, s.Objects, s.Tiles, batchlog.Options{Signer: signer, Keys: keys, Now: time.Now, Log: log})
	return l.Rebuild(ctx, nil)
}

// Instance is a running instance without its HTTP side.
type Instance struct {
	*Stores
	Intake   *intake.Intake
	Archive  *archive.Archive
	Uploads  *upload.Uploads
	Classes  *class.Book
	Desk     *filing.Desk
	stamps   *stamp.Desk
	stopping atomic.Pointer[time.Time] // when it was asked to stop, and ceased to be ready; nil before
	outages  *outage.Tracker
	Bulk     *bulk.Jobs
	Progress *notary.Signal
	log      *slog.Logger
	clock    *clock.Guard
	signer   *signednote.Signer     // of checkpoints
	pastKeys []*signednote.Verifier // that the log has had, and has
	batch    *batchlog.Log
	holder   string
	chain    *chainKeeper             // nil unless this server runs the validator
	network  *chainnet.Target         // nil unless validators run elsewhere
	loops    []chainLoop              // one for each chain that is anchored on
	moves    []anchorproof.SignedLink // by which the log came to its chain, the newest few
	movedAt  uint64                   // size of the log at the newest of them
	usage    *auth.Usage
	webhooks *webhooks
	people   *people.People
	sealer   *people.Sealer
	eraser   *erasure.Eraser
	agencies *agencyWatch
	tail     *tail.Tail // nil where none is kept
	stop     []func()   // in the order of stopping
	failed   chan error
}

// Open opens an instance, checks that all its parts hold the same log, and starts the
// sequencer, the chain and the anchoring. [Instance.Close] stops them.
func Open(ctx context.Context, c Config, log *slog.Logger) (_ *Instance, err error) {
	stores, err := OpenStores(ctx, c)
	if err != nil {
		return nil, err
	}
	log = slog.New(request.LogHandler(log.Handler())) // lines say which request they are about
	in := &Instance{Stores: stores, log: log, Progress: &notary.Signal{}, failed: make(chan error, 4)}
	defer func() {
		if err != nil {
			err = errors.Join(err, in.Close())
		}
	}()
	in.watchStores(ctx)
	pass, err := c.passphrase()
	if err != nil {
		return nil, err
	}
	if in.clock, err = c.guardClock(ctx, log); err != nil {
		return nil, err
	}
	host, _ := os.Hostname()
	in.holder = fmt.Sprintf("%s/%d/%d", host, os.Getpid(), time.Now().UnixNano())
	if err := in.openLog(ctx, pass); err != nil {
		return nil, err
	}
	if err := in.openLinks(ctx); err != nil {
		return nil, err
	}
	switch c.Chain {
	case "embedded":
		err = in.openChain(ctx, pass)
	case "nodes":
		err = in.openNetwork(ctx)
	}
	if err != nil {
		return nil, err
	}
	in.watchChain()
	if err := in.openAnchors(ctx, pass); err != nil {
		return nil, err
	}
	if err := in.openWebhooks(ctx, pass); err != nil {
		return nil, err
	}
	if err := in.openTail(ctx, pass); err != nil {
		return nil, err
	}
	if err := in.openTrail(ctx); err != nil {
		return nil, err
	}
	in.agencies = newAgencyWatch(in.Stores, pass, log)
	in.Archive = archive.New(in.DB, in.Tiles, in.Trust)
	scanner, err := c.scanner()
	if err != nil {
		return nil, err
	}
	in.watchScanner(scanner)
	in.start(ctx, pass, scanner)
	return in, nil
}

func (in *Instance) openLog(ctx context.Context, pass keystore.Secret) error {
	var err error
	if in.signer, in.pastKeys, err = in.logKeys(pass); err != nil {
		return err
	}
	if err := in.fence(ctx, &in.signer.Verifier); err != nil {
		return err
	}
	in.batch = batchlog.New(in.DB, in.Objects, in.Tiles, batchlog.Options{Signer: in.signer, Keys: in.pastKeys, Holder: in.holder, Now: time.Now,
		Clock: in.clock.Check, Log: in.log, Outages: in.outages, OnAdvance: func() {
			in.Progress.Notify()
			in.wakeLoops()
		}})
	in.watchDatabase(ctx)
	return in.batch.Check(ctx)
}

func (in *Instance) openChain(ctx context.Context, pass keystore.Secret) error {
	c := in.Config
	cosign, err := keystore.Load(c.keyPath(fileCosignKey), pass)
	if err != nil {
		return fmt.Errorf("the chain's cosigning key: %w", err)
	}
	consensus, err := keystore.LoadEd25519(c.keyPath(fileConsensusKey), pass)
	if err != nil {
		return fmt.Errorf("the chain's consensus key: %w", err)
	}
	nodeKey, err := keystore.LoadEd25519(c.keyPath(fileNodeKey), pass)
	if err != nil {
		return fmt.Errorf("the chain's node key: %w", err)
	}
	genesis, err := in.genesis()
	if err != nil {
		return err
	}
	if !genesis.Validators[0].Key.Equal(cosign.Public()) {
		return fmt.Errorf("%w: %s is not the key of the chain %s. If its nodes run elsewhere, set chain=nodes and chain-nodes; else correct the key folder", ErrForeign, c.keyPath(fileCosignKey), genesis.Chain)
	}
	in.chain = &chainKeeper{log: in.log, outages: in.outages, clock: in.clock.Check, config: chain.Config{Home: c.path(folderChain),
		Genesis: genesis, ConsensusKey: consensus, NodeKey: nodeKey, Cosign: cosign.Sign, CosignKey: cosign.Public(),
		Log: in.log.With("part", "chain")}}
	in.chain.ready = func(ctx context.Context, node *chain.Node) error {
		if err := admitOwnKey(ctx, node, &in.signer.Verifier, cosign); err != nil {
			return fmt.Errorf("make the chain admit the log's key: %w", err)
		}
		return in.belongs(ctx, node)
	}
	if err := in.chain.open(context.WithoutCancel(ctx), in.clock.Confirmed()); err != nil {
		return fmt.Errorf("start the chain: %w", moveHint(err))
	}
	return nil
}

// start runs the background work. Close stops it in this order: what is left of the audit trail
// is sealed, intake answers what it has
// taken on, the sequencer logs it, the anchoring ends, the chain stops, webhooks under way are
// broken off (they come again), stores close.
func (in *Instance) start(ctx context.Context, pass keystore.Secret, scanner filing.Scanner) {
	background := context.WithoutCancel(ctx)
	limits := intake.DefaultLimits()
	limits.MaxDocument, limits.MaxBatch, limits.SweepAfter = in.Config.MaxDocument, in.Config.MaxBatch, in.Config.SweepAfter
	uploads := upload.DefaultLimits()
	uploads.MaxSize, uploads.MaxOpen, uploads.ExpireIn = in.Config.MaxDocument, in.Config.MaxUploads, in.Config.UploadExpiry
	in.Uploads = upload.New(in.DB, in.DB, in.Objects, upload.Options{Signer: uploadSigner(in.Objects), Limits: uploads, Now: time.Now, Log: in.log})
	in.Classes = class.NewBook(in.DB, time.Now)
	intakeCtx, stopIntake := context.WithCancel(background)
	signers := in.newSigners(pass)
	in.Intake = intake.New(intakeCtx, in.DB, in.Objects, intake.Options{Signers: signers.find, Forget: signers.forget,
		Prepared: in.DB, Uploads: in.Uploads, Classes: in.Classes, Limits: limits, Now: time.Now, Clock: in.clock.Check,
		Log: in.log, OnNew: in.batch.Wake, Outages: in.outages, Tail: in.intakeTail()})
	in.run(background, "dependencies", in.outages.Run) // stops first: what stops is not down
	in.run(background, "database", in.wentBack)
	in.run(background, "clock", in.clock.Run)
	in.run(background, "audit trail", in.sealer.Run) // stops before intake: it notarizes once more
	in.stop = append(in.stop, func() { stopIntake(); in.Intake.Wait() })
	in.usage = auth.NewUsage(in.DB, in.Config.RequestsPerMinute, time.Now, in.log, in.outages)
	in.run(background, "API key usage", in.usage.Run)
	in.run(background, "sequencer", in.batch.Run)
	in.run(background, "schema", in.watchSchema)
	if in.tail != nil {
		in.run(background, "tail", in.tail.Run)
	}
	for _, l := range in.loops {
		in.run(background, "anchoring on "+l.title, l.run(in))
	}
	if in.chain != nil {
		in.run(background, "chain", in.chain.run)
	}
	documents := newReader(in.Config, in.log)
	in.stamps = stamp.NewDesk(in.DB, documents, time.Now)
	in.Desk = filing.New(in.DB, in.Objects, filing.Options{Notary: in.Intake, Records: in.Archive, Classes: in.Classes, Uploads: in.Uploads, Scanner: scanner,
		Marker: marker{in.stamps, publicURL(in.Config)}, Leases: in.DB, Holder: in.holder, Now: time.Now, Log: in.log, Outages: in.outages})
	in.run(background, "desk", func(ctx context.Context) error { return in.Desk.Run(ctx, in.DB) })
	in.Bulk = bulk.New(in.DB, in.DB, in.Objects, bulk.Options{Notary: in.Intake, Records: in.Archive, Classes: in.Classes, Scanner: scanner, Tables: documents, Leases: in.DB, Holder: in.holder, Temp: in.Config.Data, Limits: bulkLimits(in.Config), Now: time.Now, Log: in.log, Outages: in.outages})
	in.run(background, "bulk", in.Bulk.Run)
	if in.network != nil {
		in.run(background, "chain nodes", in.watchNetwork)
	}
	in.run(background, "uploads", in.Uploads.Run)
	in.run(background, "sweep", in.sweepLoop)
	in.run(background, "agencies", in.agencies.run)
	in.run(background, "webhooks by progress", in.followProgress)
	in.run(background, "webhooks", in.webhooks.dispatcher.Run)
	in.stop = append(in.stop, in.webhooks.sender.Close)
}

// bulkLimits are those of bulk jobs: a zip holds as much as one document may.
func bulkLimits(c Config) bulk.Limits {
	l := bulk.DefaultLimits()
	l.File, l.Total = c.MaxDocument, c.MaxDocument
	return l
}

func (in *Instance) run(ctx context.Context, name string, f func(context.Context) error) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := f(ctx); err != nil {
			in.report(fmt.Errorf("%s: %w", name, err))
		}
	})
	in.stop = append(in.stop, func() { cancel(); wg.Wait() })
}

func (in *Instance) report(err error) {
	select {
	case in.failed <- err:
	default:
	}
}

// Failed receives what the instance cannot go on with; the process should stop.
func (in *Instance) Failed() <-chan error { return in.failed }

// Close stops the background work and closes the stores.
func (in *Instance) Close() error {
	for _, stop := range in.stop {
		stop()
	}
	var errs []error
	if in.batch != nil && in.holder != "" {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_ = in.DB.ReleaseLease(ctx, batchlog.LeaseName, in.holder) // best effort: it runs out by itself
	}
	if in.chain != nil {
		errs = append(errs, in.chain.Close())
	}
	return errors.Join(append(errs, in.Stores.Close())...)
}

const sweepEvery = time.Hour

func (in *Instance) sweepLoop(ctx context.Context) error {
	sweeping := outage.NewLoop(in.outages, in.log, outage.Database, outage.Objects)
	for {
		n, err := in.Intake.Sweep(ctx, in.DB)
		temp, err2 := sweepTemporary(ctx, in.Objects, time.Now().Add(-in.Config.SweepAfter))
		prepared, err3 := in.Intake.SweepPrepared(ctx)
		uploads, err4 := in.Uploads.Sweep(ctx, in.DB)
		papers, err5 := in.Desk.Sweep(ctx, in.DB, in.Config.SweepAfter)
		bulks, err6 := in.Bulk.Sweep(ctx, in.Config.SweepAfter)
		tails, err7 := in.sweepTail(ctx)
		if err := errors.Join(err, err2, err3, err4, err5, err6, err7); err != nil {
			sweeping.Failed(ctx, slog.LevelWarn, "sweeping failed, will try again", err)
		} else if n+temp+prepared+uploads+papers+bulks+tails > 0 {
			in.log.InfoContext(ctx, "swept", "documents", n, "temporary", temp, "prepared", prepared, "uploads", uploads,
				"papers", papers, "bulk", bulks, "tail", tails)
		}
		t := time.NewTimer(sweepEvery)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil
		}
	}
}
