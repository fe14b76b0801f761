package instance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"stele/crypto/keystore"
	"stele/crypto/pki"
	"stele/crypto/signednote"
	"stele/crypto/sm"
	"stele/notary/chain"
	"stele/notary/chain/ceremony"
	"stele/notary/log/batchlog"
	"stele/notary/proof/anchorproof"
)

// Files of a log key that is to come, and the ending of those that were.
const (
	fileNextLogKey     = "log-next.key"
	fileNextNotaryCert = "notary-next.crt"
)

// switchTime is how long a switch keeps servers from sequencing, at most; it takes milliseconds.
const switchTime = 10 * time.Second

func retiredName(name string, id uint32) string {
	ext := filepath.Ext(name)
	return fmt.Sprintf("%s-%08x%s", strings.TrimSuffix(name, ext), id, ext)
}

// LogKey is the public key of the instance's log, as members of a network admit it.
func (s *Stores) LogKey() (string, error) {
	v, err := s.presentLogKey()
	if err != nil {
		return "", err
	}
	return signednote.FormatKey(v.Name(), v.Key()), nil
}

// presentLogKey is the log's key that the trust roots name without an end.
func (s *Stores) presentLogKey() (*signednote.Verifier, error) {
	v := s.Trust.LogKey(s.id.Origin)
	if v == nil {
		return nil, fmt.Errorf("%w: the trust roots have no key of the log %s", ErrForeign, s.id.Origin)
	}
	return v, nil
}

// fence makes sure that this server's key is the one that the database says is the log's. A
// database from before fences gets this one: the trust roots name it as present. A crash after that
// leaves the fence where every later start expects it.
func (s *Stores) fence(ctx context.Context, own *signednote.Verifier) error {
	key := signednote.FormatKey(own.Name(), own.Key())
	f, err := s.DB.Log.LogFence(ctx)
	if err != nil {
		return fmt.Errorf("read which key is the log's: %w", err)
	}
	if f == (batchlog.Fence{}) {
		if f, err = s.DB.Log.MoveLogFence(ctx, f, key); errors.Is(err, batchlog.ErrFenced) { // by another server
			f, err = s.DB.Log.LogFence(ctx)
		}
		if err != nil {
			return fmt.Errorf("note which key is the log's: %w", err)
		}
	}
	if f.Key != key {
		return fmt.Errorf("%w: %w: the database names\n  %s\n(change %d), and %s is\n  %s\nThe key was changed "+
			"elsewhere: copy the key folder and %s "+
			"from the server where that was done. If the change was interrupted, run 'stele log-key switch' "+
			"there again",
			ErrForeign, batchlog.ErrFenced, f.Key, f.Generation, s.Config.keyPath(fileLogKey), key,
			s.Config.TrustPath())
	}
	return nil
}

// moveFence makes the next key the log's in the database: from here on no server with the former
// one signs. Asked again after a crash it finds that done.
func (s *Stores) moveFence(ctx context.Context, former, next *signednote.Verifier) error {
	to := signednote.FormatKey(next.Name(), next.Key())
	f, err := s.DB.Log.LogFence(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("read which key is the log's: %w", err)
	case f.Key == to:
		return nil
	case f.Key != "" && f.Key != signednote.FormatKey(former.Name(), former.Key()):
		return fmt.Errorf("%w: the database says that the log's key is %s, neither the one that the trust roots name "+
			"nor the next one: "+
			"correct the key folder and the trust roots", ErrForeign, f.Key)
	}
	_, err = s.DB.Log.MoveLogFence(ctx, f, to)
	return err
}

// logKeys loads the key that signs checkpoints, and gives the public keys that the log has had.
func (s *Stores) logKeys(pass keystore.Secret) (*signednote.Signer, []*signednote.Verifier, error) {
	key, err := keystore.Load(s.Config.keyPath(fileLogKey), pass)
	if err != nil {
		return nil, nil, fmt.Errorf("the log's key: %w", err)
	}
	signer, err := signednote.NewSigner(s.id.Origin, key)
	if err != nil {
		return nil, nil, err
	}
	now := s.Trust.LogKey(s.id.Origin)
	if now == nil || !now.Key().Equal(key.Public()) {
		return nil, nil, fmt.Errorf("%w: %s is not the log's present key in the trust roots: correct the key folder; "+
			"if a change of the log's key was interrupted, run 'stele log-key switch' again", ErrForeign,
			s.Config.keyPath(fileLogKey))
	}
	return signer, s.Trust.LogKeys(s.id.Origin), nil
}

// NextLogKey makes the key that is to sign the log's checkpoints after a switch, with its
// certificate, and returns the public key. Asked again it returns the same one.
func (s *Stores) NextLogKey(now time.Time) (string, error) {
	c := s.Config
	pass, err := c.passphrase()
	if err != nil {
		return "", err
	}
	key, err := loadOrMake(c, fileNextLogKey, pass, "the log's next key")
	if err != nil {
		return "", err
	}
	// A crash before the certificate is there leaves the key alone: asked again, this adds it.
	if _, err := os.Stat(c.keyPath(fileNextNotaryCert)); errors.Is(err, fs.ErrNotExist) {
		if err := s.certifyNext(key.Public(), pass, now); err != nil {
			return "", err
		}
	} else if err != nil {
		return "", err
	}
	return signednote.FormatKey(s.id.Origin, key.Public()), nil
}

func (s *Stores) certifyNext(key *sm.PublicKey, pass keystore.Secret, now time.Time) error {
	rootKey, err := s.Config.rootKey(pass)
	if err != nil {
		return err
	}
	der, err := s.Config.rootCert()
	if err != nil {
		return err
	}
	root, err := pki.Parse(der)
	if err != nil {
		return err
	}
	cert, err := pki.Issue(pki.IssueRequest{Profile: pki.Notary,
		Subject:   pki.Name{Country: "CN", Organization: root.Subject().Organization, CommonName: s.id.Origin},
		NotBefore: now.UTC().Truncate(time.Second).Add(-clockSlack), NotAfter: root.NotAfter(), PublicKey: key},
		[][]byte{der}, rootKey)
	if err != nil {
		return err
	}
	return replaceFile(s.Config.keyPath(fileNextNotaryCert), pki.EncodePEM(cert, der))
}

// SwitchLogKey makes the next key the log's key: the next start signs with it, and verifiers
// that take the trust roots anew know until when the former one was good. No server of the
// instance may run. Unless unadmitted is set, a network must have admitted the next key before;
// an embedded chain does so at the next start. It returns the new public key.
//
// Each step can be done again, so after a crash anywhere the same call goes on:
//
//  1. the database names the next key       no server starts, since each has the former one
//  2. the former files get a second name    a crash leaves a second name
//  3. the certificate takes its place       nobody reads it but people
//  4. the key takes its place               no server starts, since the trust roots lack it
//  5. the trust roots name both keys        complete; servers where the files were not copied do not start
func (s *Stores) SwitchLogKey(ctx context.Context, unadmitted bool, now time.Time) (string, error) {
	c := s.Config
	pass, err := c.passphrase()
	if err != nil {
		return "", err
	}
	former, err := s.presentLogKey()
	if err != nil {
		return "", err
	}
	next, err := s.nextLogKey(former, pass)
	if err != nil {
		return "", err
	}
	if !unadmitted {
		if err := s.admitted(ctx, next); err != nil {
			return "", err
		}
	}
	release, err := s.stopped(ctx)
	if err != nil {
		return "", err
	}
	defer release()
	if err := s.moveFence(ctx, former, next); err != nil {
		return "", err
	}
	for _, f := range []struct{ next, now string }{{fileNextNotaryCert, fileNotaryCert}, {fileNextLogKey, fileLogKey}} {
		if err := promote(c.keyPath(f.next), c.keyPath(f.now),
			c.keyPath(retiredName(f.now, former.KeyHash()))); err != nil {
			return "", err
		}
	}
	if err := s.Trust.ChangeLogKey(next, now.UTC().Truncate(time.Second), clockSlack); err != nil {
		return "", err
	}
	return signednote.FormatKey(next.Name(), next.Key()), replaceFile(c.TrustPath(), append(s.Trust.Encode(), '\n'))
}

// nextLogKey is the key that waits, or the one that an interrupted switch has put in place.
func (s *Stores) nextLogKey(former *signednote.Verifier, pass keystore.Secret) (*signednote.Verifier, error) {
	c := s.Config
	key, err := keystore.Load(c.keyPath(fileNextLogKey), pass)
	if errors.Is(err, fs.ErrNotExist) {
		if key, err = keystore.Load(c.keyPath(fileLogKey), pass); err != nil {
			return nil, fmt.Errorf("the log's key: %w", err)
		}
		if key.Public().Equal(former.Key()) {
			return nil, errors.New(
				"there is no next key: make one with 'stele log-key next', and let the chain's members admit it")
		}
		if _, err := os.Stat(c.keyPath(retiredName(fileLogKey, former.KeyHash()))); err != nil {
			return nil, fmt.Errorf("%w: %s is a key that the trust roots do not know, and no switch was interrupted: "+
				"correct the key folder", ErrForeign, c.keyPath(fileLogKey))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("the log's next key: %w", err)
	}
	return signednote.NewVerifier(s.id.Origin, key.Public())
}

// admitted checks that the chain takes checkpoints of the next key.
func (s *Stores) admitted(ctx context.Context, next *signednote.Verifier) error {
	if s.Config.Chain != "nodes" {
		return nil // the embedded chain is this instance's own; without one another server asks
	}
	genesis, err := s.genesis()
	if err != nil {
		return err
	}
	network, err := s.nodes(genesis, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	epoch, err := network.Epoch(ctx)
	if err != nil {
		return fmt.Errorf("whether the chain's members have admitted the next key: %w", err)
	}
	if !admits(epoch, s.id.Origin, next.Key()) {
		return errors.New("the chain's members have not admitted the next key: they do so by 'stele node propose " +
			"--notary-add' with the key that 'stele log-key next' prints. Until then nothing could be anchored")
	}
	return nil
}

// stoppedHolder is who holds the lease while servers must not run.
func stoppedHolder() string { return fmt.Sprintf("servers stopped/%d", os.Getpid()) }

// stopped makes sure that no server of this instance sequences, and keeps it so until release
// is called.
func (s *Stores) stopped(ctx context.Context) (release func(), err error) {
	holder := stoppedHolder()
	ok, err := s.DB.Lease(ctx, batchlog.LeaseName, holder, switchTime)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, errors.New("a server of this instance runs, or ended a moment ago without a goodbye: stop all of " +
			"them; after a crash wait ten seconds")
	}
	// it runs out by itself
	return func() { _ = s.DB.ReleaseLease(context.WithoutCancel(ctx), batchlog.LeaseName, holder) }, nil
}

// promote gives a file that is there another's place. The other stays under a second name.
func promote(next, place, retired string) error {
	if _, err := os.Stat(next); errors.Is(err, fs.ErrNotExist) {
		return nil // done before
	}
	if err := os.Link(place, retired); err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(next, place); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(place))
}

// admitOwnKey makes the embedded chain's one member admit the log's key after a switch. A crash
// on the way leaves the former key admitted, and the next start does this again.
func admitOwnKey(ctx context.Context, n *chain.Node, log *signednote.Verifier, member *sm.PrivateKey) error {
	st, err := n.Status()
	if err != nil {
		return err
	}
	current, err := n.Epoch(st.Epoch)
	if err != nil {
		return err
	}
	if admits(current.Epoch, log.Name(), log.Key()) {
		return nil
	}
	p, err := ceremony.Propose(current.Epoch, ceremony.Change{Admit: []*signednote.Verifier{log}})
	if err != nil {
		return err
	}
	if p, err = p.Sign(member.Sign, anchorproof.Validator{Key: member.Public()}, nil); err != nil {
		return err
	}
	if err := n.SubmitEpoch(ctx, p.Next); err != nil {
		return err
	}
	for {
		changed := n.Changed()
		if st, err := n.Status(); err != nil || st.Epoch >= p.Next.Number {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
