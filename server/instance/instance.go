package instance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"stele/crypto/keystore"
	"stele/crypto/signednote"
	"stele/notary"
	"stele/notary/issue/archive"
	"stele/notary/log/batchlog"
	"stele/notary/log/follow"
	"stele/notary/log/tail"
	"stele/notary/office/bulk"
	"stele/notary/office/filing"
	"stele/notary/office/people"
	"stele/notary/office/stamp"
	"stele/notary/outage"
	"stele/notary/proof/anchorproof"
	"stele/notary/register/class"
	"stele/notary/register/erasure"
	"stele/notary/register/intake"
	"stele/notary/register/upload"
	"stele/server/auth"
	"stele/server/clock"
	"stele/server/http/request"
	"stele/server/remote/chainnet"
)

// Instance is a running instance without its HTTP side.
type Instance struct {
	*Stores
	Intake   *intake.Intake
	Archive  *archive.Archive
	Uploads  *upload.Uploads
	Classes  *class.Book
	Desk     *filing.Desk
	stamps   *stamp.Stamper
	stopping atomic.Pointer[time.Time] // when it was asked to stop, and ceased to be ready; nil before
	outages  *outage.Tracker
	Bulk     *bulk.Jobs
	Progress *notary.Signal
	log      *slog.Logger
	clock    *clock.Guard
	signer   *signednote.Signer     // of checkpoints
	pastKeys []*signednote.Verifier // that the log has had, and has
	batch    *batchlog.Log
	follower *follow.Follower
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
	jobs     jobs
	sweeps   []sweep
	failed   chan error
}

// capabilities are what an instance is made of, in the order in which they are opened. Each makes its
// services, compares what it holds with the parts before it, and adds its jobs and its sweeps: a new
// job touches the file of its capability alone. Nothing runs before all are open.
var capabilities = []func(in *Instance, ctx context.Context, pass keystore.Secret) error{
	(*Instance).openOutages,
	(*Instance).openClock,
	(*Instance).openLog,
	(*Instance).openLinks,
	(*Instance).openChain,
	(*Instance).openAnchors,
	(*Instance).openWebhooks,
	(*Instance).openPeople,
	(*Instance).openTail,
	(*Instance).openRegister,
	(*Instance).openTrail,
	(*Instance).openAgencies,
	(*Instance).openOffice,
}

// Open opens an instance, checks that all its parts hold the same log, and starts the
// sequencer, the chain and the anchoring. [Instance.Close] stops them.
func Open(ctx context.Context, c Config, log *slog.Logger) (_ *Instance, err error) {
	stores, err := OpenStores(ctx, c)
	if err != nil {
		return nil, err
	}
	log = slog.New(request.LogHandler(log.Handler())) // lines say which request they are about
	host, _ := os.Hostname()
	in := &Instance{Stores: stores, log: log, Progress: &notary.Signal{}, failed: make(chan error, 4),
		holder: fmt.Sprintf("%s/%d/%d", host, os.Getpid(), time.Now().UnixNano())}
	defer func() {
		if err != nil {
			err = errors.Join(err, in.Close())
		}
	}()
	pass, err := c.passphrase()
	if err != nil {
		return nil, err
	}
	for _, open := range capabilities {
		if err := open(in, ctx, pass); err != nil {
			return nil, err
		}
	}
	in.jobs.add(stageOffice, "sweep", in.sweepLoop)
	in.jobs.start(context.WithoutCancel(ctx), in.report)
	return in, nil
}

func (in *Instance) report(err error) {
	select {
	case in.failed <- err:
	default:
	}
}

// Failed receives what the instance cannot go on with; the process should stop.
func (in *Instance) Failed() <-chan error { return in.failed }

// Close stops the background work, stage by stage, and closes the stores.
func (in *Instance) Close() error { return errors.Join(in.jobs.stop(), in.Stores.Close()) }
