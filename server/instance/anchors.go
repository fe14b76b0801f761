package instance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"stele/crypto/keystore"
	"stele/crypto/signednote"
	"stele/notary/chain"
	"stele/notary/log/anchor"
	"stele/notary/log/anchor/bsn"
	"stele/notary/log/anchor/egov"
	"stele/notary/office/people"
	"stele/notary/outage"
	"stele/notary/proof"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/bsnproof/gateway"
	"stele/notary/proof/checkpoint"
	"stele/server/remote/bsnhttp"
)

// gatewayResubmit is how long evidence of a gateway is waited for before the loop looks anew:
// blocks are cut every few seconds there.
const gatewayResubmit = 15 * time.Second

// chainLoop anchors on one chain.
type chainLoop struct {
	name  string // in the database and in reports of health
	title string // for people
	loop  *anchor.Loop
	// final says that a chain with another history ends the server: it is the chain of this
	// instance. Any other stops alone, and never holds back the rest.
	final bool
	// away says that the chain is run elsewhere: that it cannot be reached, or is behind, keeps
	// the server from nothing.
	away bool
	from uint64 // size at which the log moved to this chain, see anchor.Options
}

// dependency is what the chain is called among what this server depends on.
func (l chainLoop) dependency() string {
	if l.final {
		return outage.Chain
	}
	return "anchor " + l.title
}

// pinGateways adds the gateways of the policy to the trust roots; those of earlier policies
// stay, since old evidence needs them.
func (s *Stores) pinGateways() error {
	var err error
	if s.Policy, err = ReadAnchorPolicy(s.Config); err != nil {
		return err
	}
	changed := false
	for _, b := range s.Policy.BSN {
		g, err := b.trusted()
		if err != nil {
			return err
		}
		changed = s.Trust.Pin(g) || changed
		changed = s.Trust.LetAnchor(s.id.Origin, g.App) || changed
	}
	if changed {
		s.trust, s.trustChanged = append(s.Trust.Encode(), '\n'), true
	}
	return nil
}

// publishTrust writes the trust roots when they have grown, whole or not at all.
func (s *Stores) publishTrust() error {
	if !s.trustChanged {
		return nil
	}
	return replaceFile(s.Config.TrustPath(), s.trust)
}

// addLoop makes the loop of one chain.
func (in *Instance) addLoop(l chainLoop, target anchor.Target, p ChainPolicy, resubmit time.Duration) {
	var overdue func(context.Context, uint64) error
	if l.final { // a gateway vouches for no time: another entry would not help there
		overdue = in.coverOverdue
	}
	var reached func(error)
	if !l.final { // a gateway is asked only when there is something to anchor: it has no probe
		in.outages.Watch(l.dependency(), nil)
		reached = func(err error) { in.outages.Report(l.dependency(), err) }
	}
	l.loop = anchor.NewLoop(in.DB.Log, target, anchor.Options{Overdue: overdue, Name: l.name,
		Required: in.Policy.required(), Every: p.Every, Records: p.Records, Now: time.Now, Resubmit: resubmit,
		MayLag: l.away, From: l.from,
		Nodes: in.Tiles.Nodes, Log: in.log, Outages: in.outages, Dependency: l.dependency(), Reached: reached,
		Signature: in.signature,
		Verify: func(c checkpoint.Checkpoint, evidence []byte) error {
			return proof.CheckAnchor(in.Trust, c, evidence)
		},
		OnAnchored: in.Progress.Notify})
	in.loops = append(in.loops, l)
}

// actOverdue is a line of the operators' trail that the server writes itself.
const actOverdue people.Action = "anchor_overdue"

// coverOverdue gives the log an entry where the anchor of this size is overdue: the audit trail
// says so, and is sealed at once. A crash between the two leaves a line that is sealed with the
// next ones; several servers may each write one.
func (in *Instance) coverOverdue(ctx context.Context, size uint64) error {
	if err := in.people.Note(ctx, people.AuditEvent{Login: "stele", Act: actOverdue, About: in.id.Chain,
		Detail: fmt.Sprintf("size %d", size), Network: "local"}); err != nil {
		return err
	}
	return in.sealer.Seal(ctx)
}

// signature is what a chain is handed with a checkpoint: that of the note or, where the note is
// from before a change of the log's key, one of the present key, which is the one that chains
// admit. The note itself keeps its signature: evidence made before the change speaks of that key.
func (in *Instance) signature(note []byte) ([]byte, error) {
	text, by, err := signednote.Open(note, in.pastKeys...)
	if err != nil {
		return nil, err
	}
	if by.Key().Equal(in.signer.Key()) {
		return signednote.SignatureOf(note, by)
	}
	return in.signer.Sign([]byte(text))
}

// openAnchors makes the loops of the policy and compares database and chains. A gateway that
// is away does not keep the server from starting: it is compared with when it is back.
func (in *Instance) openAnchors(ctx context.Context, pass keystore.Secret) error {
	if err := in.publishTrust(); err != nil {
		return err
	}
	var own anchor.Target
	switch {
	case in.chain != nil:
		own = in.chain
	case in.network != nil:
		own = in.network
	}
	if own != nil {
		in.addLoop(chainLoop{name: anchorproof.Kind, title: in.id.Chain, final: true, away: in.network != nil,
			from: in.movedAt}, in.withLinks(own), in.Policy.Egov, 0)
	}
	for _, b := range in.Policy.BSN {
		target, err := b.open(in.Config, pass)
		if err != nil {
			return fmt.Errorf("bsn chain %s: %w", b.Name, err)
		}
		in.addLoop(chainLoop{name: b.target(), title: b.Name}, target, b.ChainPolicy, gatewayResubmit)
	}
	for _, l := range in.loops {
		if l.final && in.chain != nil {
			continue // compared when the node started, or when it will
		}
		err := l.loop.Check(ctx)
		down := errors.Is(err, anchor.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded)
		if err != nil && (l.away && down || !l.final && !errors.Is(err, anchor.ErrMismatch) &&
			!errors.Is(err, anchor.ErrFork)) {
			if !l.final {
				in.outages.Report(l.dependency(), err)
			}
			in.log.WarnContext(ctx, "a chain cannot be compared with the database now", "chain", l.title, "error", err)
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", l.title, err)
		}
	}
	for _, l := range in.loops {
		in.jobs.add(stageLog, "anchoring on "+l.title, l.run(in))
	}
	return in.DB.Log.SettleAnchored(ctx, in.Policy.required())
}

// belongs compares the database with the chain of a node that has just started.
func (in *Instance) belongs(ctx context.Context, node *chain.Node) error {
	return anchor.NewLoop(in.DB.Log, egov.New(node), anchor.Options{Name: anchorproof.Kind, From: in.movedAt}).Check(
		ctx)
}

// open makes the client of an application.
func (b BSNPolicy) open(c Config, pass keystore.Secret) (*bsn.Target, error) {
	der, err := keystore.LoadEC(b.keyPath(c), pass)
	if err != nil {
		return nil, fmt.Errorf("the application's access key: %w", err)
	}
	defer clear(der)
	key, err := gateway.ParsePrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("the application's access key: %w", err)
	}
	trusted, err := b.trusted()
	if err != nil {
		return nil, err
	}
	post, err := bsnhttp.New(bsnhttp.Options{CA: []byte(b.CA), Insecure: b.InsecureTLS})
	if err != nil {
		return nil, err
	}
	return bsn.New(bsn.Config{Framework: bsn.Framework(b.Framework), Contract: b.Contract, Gateways: b.Gateways,
		UserCode: b.User, App: b.App, ChainCode: b.ChainCode, UserName: b.UserName, Key: key, GatewayKey: trusted.Key,
		Post: post, Now: time.Now})
}

// run anchors until ctx ends.
func (l chainLoop) run(in *Instance) func(context.Context) error {
	return func(ctx context.Context) error {
		err := l.loop.Run(ctx)
		if err != nil && !l.final {
			in.log.ErrorContext(ctx,
				"nothing is anchored any more on a chain that holds another history; the others go on", "chain",
				l.title, "error", err)
			return nil
		}
		return err
	}
}

// wakeLoops tells every chain's loop that there is a new checkpoint.
func (in *Instance) wakeLoops() {
	for _, l := range in.loops {
		l.loop.Wake()
	}
}

// NewBSNKey makes an application's access key and returns the public half as the portal takes it.
func NewBSNKey(c Config, app string, algorithm gateway.Algorithm) ([]byte, error) {
	pass, err := c.passphrase()
	if err != nil {
		return nil, err
	}
	key, err := gateway.GenerateKey(algorithm)
	if err != nil {
		return nil, err
	}
	der, err := key.PKCS8()
	if err != nil {
		return nil, err
	}
	defer clear(der)
	return key.Public().PEM(), keystore.CreateEC(c.keyPath(BSNKeyFile(app)), der, pass)
}

// BSNKey reads the public half of an application's access key.
func BSNKey(c Config, app string) (*gateway.PublicKey, error) {
	pass, err := c.passphrase()
	if err != nil {
		return nil, err
	}
	der, err := keystore.LoadEC(c.keyPath(BSNKeyFile(app)), pass)
	if err != nil {
		return nil, err
	}
	defer clear(der)
	key, err := gateway.ParsePrivateKey(der)
	if err != nil {
		return nil, err
	}
	return key.Public(), nil
}
