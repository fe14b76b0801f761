package instance

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"stele/crypto/keystore"
	"stele/crypto/merkle"
	"stele/crypto/sm"
	"stele/notary/chain"
	"stele/notary/log/anchor"
	"stele/notary/proof"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/checkpoint"
	"stele/server/remote/chainnet"
	"stele/storage/sqldb"
)

// folderNextChain is the folder of a chain that is being founded.
const folderNextChain = "chain-next"

// OpenMoving is [OpenStores] for a move between chains: the parts may name the former chain or the
// next one, as an interrupted move leaves them.
func OpenMoving(ctx context.Context, c Config, l anchorproof.SignedLink) (*Stores, error) {
	either := []string{l.Genesis.String(), l.To.Hash().String()}
	return openStores(ctx, c, func(s *Stores, in sqldb.Instance) error {
		for where, chain := range map[string]string{"the database": in.Chain, c.path(fileIdentity): s.id.Epoch0} {
			if !slices.Contains(either, chain) {
				return fmt.Errorf("%w: %s names a chain with epoch 0 %s; the link leads from %s (%s) to %s "+
					"(%s)", ErrForeign, where, chain,
					l.From, either[0], l.To.Chain, either[1])
			}
		}
		return nil
	})
}

// MoveChain takes the log to the chain that a link leads to: the next start anchors there, from the
// link's checkpoint on. No server of the instance may run. members name organizations of the new
// chain's validators, for the trust roots.
//
// Each step can be done again, so after a crash anywhere the same call goes on; on the other servers
// of the instance the same call does what is to be done there:
//
//  1. the next chain's folder is made             embedded only; nobody looks at it
//  2. the database has the link, names the chain  no server starts, since instance.json names the former
//  3. the former keys get a second name           embedded only; a crash leaves a second name
//  4. the next keys take their places             no server starts
//  5. the former folder gets a second name        embedded only; no server starts
//  6. the next folder takes its place             no server starts
//  7. the trust roots name both chains            no server starts
//  8. instance.json names the next chain          complete
func (s *Stores) MoveChain(ctx context.Context, l anchorproof.SignedLink, members []Member) error {
	if l.Origin != s.id.Origin {
		return fmt.Errorf("the link is of the log %s, this is %s", l.Origin, s.id.Origin)
	}
	if err := proof.CheckLink(s.Trust, l); err != nil {
		return fmt.Errorf("verifiers would not follow the link: %w", err)
	}
	pinned, err := s.pinNext(l, members)
	if err != nil {
		return err
	}
	founded, err := s.foundNext(l)
	if err != nil {
		return err
	}
	if err := s.moveDatabase(ctx, l, founded); err != nil {
		return err
	}
	if founded {
		if err := s.placeNext(l); err != nil {
			return err
		}
	}
	if pinned {
		if err := replaceFile(s.Config.TrustPath(), append(s.Trust.Encode(), '\n')); err != nil {
			return err
		}
	}
	id := s.id
	id.Chain, id.Epoch0 = l.To.Chain, l.To.Hash().String()
	text, err := id.file()
	if err != nil {
		return err
	}
	return replaceFile(s.Config.path(fileIdentity), text)
}

// pinNext puts the next chain into the trust roots, in memory, and reports whether that is new.
func (s *Stores) pinNext(l anchorproof.SignedLink, members []Member) (bool, error) {
	c := proof.TrustedChain{Genesis: l.To}
	if err := nameMembers(&c, members); err != nil {
		return false, err
	}
	return s.Trust.PinChain(s.id.Origin, c)
}

// moveDatabase is the step after which no server of the former chain starts. What it checks is
// checked once, before: another server finds it done.
func (s *Stores) moveDatabase(ctx context.Context, l anchorproof.SignedLink, founded bool) error {
	from, to := l.Genesis.String(), l.To.Hash().String()
	in, err := s.DB.Log.Instance(ctx)
	if err != nil {
		return err
	}
	if in.Chain == to {
		return s.sameLink(ctx, l)
	}
	release, err := s.stopped(ctx)
	if err != nil {
		return err
	}
	defer release()
	if err := s.mayMove(ctx, l, founded); err != nil {
		return err
	}
	text, err := l.Marshal()
	if err != nil {
		return err
	}
	return s.DB.Log.MoveChain(ctx, from, to, text)
}

// sameLink refuses to finish a move with another link than the one that it was begun with.
func (s *Stores) sameLink(ctx context.Context, l anchorproof.SignedLink) error {
	links, err := s.links(ctx)
	if err != nil {
		return err
	}
	if n := len(links); n == 0 || links[n-1].Hash() != l.Hash() {
		return fmt.Errorf("%w: the log was moved with another link: take that one", ErrForeign)
	}
	return nil
}

// mayMove checks what a move needs: that the link is of no time to come, that nothing was anchored on
// the former chain since it was made, that the database's log is the link's, and that the next chain
// will take it.
func (s *Stores) mayMove(ctx context.Context, l anchorproof.SignedLink, founded bool) error {
	if now := time.Now(); l.Time().After(now.Add(anchorproof.ClockTolerance)) {
		return fmt.Errorf("the link is of %s, and here it is %s: verifiers would refuse what the new chain anchors "+
			"before the link's time. Set the clock and make the link anew", l.Time().Format(time.RFC3339),
			now.UTC().Format(time.RFC3339))
	}
	st, err := s.DB.Log.AnchorState(ctx, anchorproof.Kind)
	if err != nil {
		return err
	}
	if st.Anchored > l.Size {
		return fmt.Errorf("the log was anchored at size %d on the former chain after the link was made, at size "+
			"%d: make the link anew, with no server of this instance anchoring meanwhile (stop them, or serve with "+
			"--chain none)", st.Anchored, l.Size)
	}
	if err := s.holds(ctx, checkpoint.Checkpoint{Size: l.Size, Root: l.Root}); err != nil {
		return err
	}
	if founded || s.Config.Chain == "none" {
		return nil
	}
	if s.Config.Chain != "nodes" {
		return fmt.Errorf("the keys of the chain %s are not in %s: it is a network, whose nodes are named with "+
			"--chain nodes --chain-nodes; or another server of this instance made the link, and moves "+
			"first", l.To.Chain, s.Config.Keys)
	}
	return s.admittedBy(ctx, l.To)
}

// admittedBy checks that the nodes are of this chain and that it takes the log's checkpoints.
func (s *Stores) admittedBy(ctx context.Context, genesis anchorproof.Epoch) error {
	n, err := s.nodes(genesis, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	if err := n.Check(ctx); err != nil {
		return err
	}
	own, err := s.presentLogKey()
	if err != nil {
		return err
	}
	if admits(genesis, s.id.Origin, own.Key()) {
		return nil
	}
	epoch, err := n.Epoch(ctx)
	if err != nil {
		return fmt.Errorf("whether the chain's members have admitted the log: %w", err)
	}
	if !admits(epoch, s.id.Origin, own.Key()) {
		return errors.New("the chain's members have not admitted the log: they do so by 'stele node propose " +
			"--notary-add' with the key that 'stele log-key' prints. Until then nothing could be anchored")
	}
	return nil
}

// foundNext makes the folder of a chain whose keys are here, and reports whether it is such a chain.
// A crash leaves a half made folder, which is removed: nothing was signed from it.
func (s *Stores) foundNext(l anchorproof.SignedLink) (bool, error) {
	c := s.Config
	if len(l.To.Validators) != 1 || c.Chain == "nodes" {
		return false, nil
	}
	pass, err := c.passphrase()
	if err != nil {
		return false, err
	}
	keys, err := s.nextKeys(pass)
	if err != nil || !keys.cosign.Public().Equal(l.To.Validators[0].Key) {
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return false, nil // of another server, or of a network of one
		}
		return false, err
	}
	next := c.path(folderNextChain)
	if chain.IsHome(c.path(folderChain), l.To) || chain.IsHome(next, l.To) {
		return true, nil
	}
	if err := os.RemoveAll(next); err != nil {
		return true, err
	}
	return true, chain.Init(chain.Config{Home: next, Genesis: l.To, ConsensusKey: keys.consensus,
		NodeKey: keys.node, Cosign: keys.cosign.Sign, CosignKey: keys.cosign.Public()})
}

// validatorKeys are those of an embedded chain.
type validatorKeys struct {
	cosign          *sm.PrivateKey
	consensus, node ed25519.PrivateKey
}

// nextKeys are the keys that wait, or that an interrupted move has put into place.
func (s *Stores) nextKeys(pass keystore.Secret) (k validatorKeys, err error) {
	path := func(i int) string {
		if p := s.Config.keyPath(nextChainKeys[i].next); exists(p) {
			return p
		}
		return s.Config.keyPath(nextChainKeys[i].place)
	}
	if k.cosign, err = keystore.Load(path(0), pass); err != nil {
		return k, err
	}
	if k.consensus, err = keystore.LoadEd25519(path(1), pass); err != nil {
		return k, err
	}
	k.node, err = keystore.LoadEd25519(path(2), pass)
	return k, err
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// placeNext gives the next chain's keys and folder their places. The former ones stay under a second
// name: the operator destroys the keys, and keeps or removes the folder.
func (s *Stores) placeNext(l anchorproof.SignedLink) error {
	c, id := s.Config, binary.BigEndian.Uint32(l.Genesis[:4])
	for _, k := range nextChainKeys {
		if err := promote(c.keyPath(k.next), c.keyPath(k.place), c.keyPath(retiredName(k.place, id))); err != nil {
			return err
		}
	}
	if chain.IsHome(c.path(folderChain), l.To) {
		return nil
	}
	retired := c.path(retiredName(folderChain, id))
	if err := os.Rename(c.path(folderChain), retired); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the former chain's folder: %w", err)
	}
	if err := os.Rename(c.path(folderNextChain), c.path(folderChain)); err != nil {
		return err
	}
	return syncFolder(c.Data)
}

// links are those by which the log came to its present chain, oldest first.
func (s *Stores) links(ctx context.Context) (out []anchorproof.SignedLink, err error) {
	list, err := s.DB.Log.ChainLinks(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the links between chains: %w", err)
	}
	for _, text := range list {
		l, err := anchorproof.ParseSignedLink(text)
		if err != nil {
			return nil, fmt.Errorf("a stored link: %w", err)
		}
		out = append(out, l)
	}
	return out, nil
}

// linked is a chain that the log has moved to: its evidence carries the links.
type linked struct {
	anchor.Target
	links []anchorproof.SignedLink // at most anchorproof.MaxLinks
	nodes func(ctx context.Context, size uint64) merkle.NodeReader
}

// openLinks reads how the log came to the instance's chain.
func (in *Instance) openLinks(ctx context.Context, _ keystore.Secret) error {
	links, err := in.links(ctx)
	if err != nil || len(links) == 0 {
		return err
	}
	last := links[len(links)-1]
	if last.To.Hash().String() != in.id.Epoch0 {
		return fmt.Errorf("%w: the newest link in the database leads to another chain than the "+
			"instance's", ErrForeign)
	}
	in.moves, in.movedAt = links[max(len(links), anchorproof.MaxLinks)-anchorproof.MaxLinks:], last.Size
	return nil
}

// withLinks returns the target as it is where the log never moved.
func (in *Instance) withLinks(t anchor.Target) anchor.Target {
	if len(in.moves) == 0 {
		return t
	}
	return linked{t, in.moves, in.Tiles.Nodes}
}

// Evidence implements [anchor.Target].
func (t linked) Evidence(ctx context.Context, c checkpoint.Checkpoint) (json.RawMessage, error) {
	raw, err := t.Target.Evidence(ctx, c)
	if err != nil {
		return nil, err
	}
	e, err := anchorproof.ParseEvidence(raw)
	if err != nil {
		return nil, err
	}
	for _, l := range t.links {
		path, err := merkle.ConsistencyProof(l.Size, c.Size, t.nodes(ctx, c.Size))
		if err != nil {
			return nil, fmt.Errorf("from the checkpoint of the move at size %d to %d: %w", l.Size, c.Size, err)
		}
		e.Links = append(e.Links, anchorproof.Moved{SignedLink: l, Path: path})
	}
	return e.Marshal()
}

// MergeLinks puts copies of a link together that different members have signed.
func MergeLinks(files ...[]byte) (l anchorproof.SignedLink, err error) {
	for i, text := range files {
		next, err := anchorproof.ParseSignedLink(bytes.TrimSuffix(text, []byte("\n")))
		if err != nil {
			return l, err
		}
		if i == 0 {
			l = next
		}
		if next.Text() != l.Text() {
			return l, fmt.Errorf("copy %d is another link", i+1)
		}
		for _, c := range next.Cosignatures {
			l = l.Sign(c)
		}
	}
	return l, nil
}

// MissingFrom says which members have not signed a link, and whether enough have.
func MissingFrom(l anchorproof.SignedLink, former anchorproof.Epoch) (missing []string, enough bool, err error) {
	e, power, err := l.Signers(former)
	if err != nil {
		return nil, false, err
	}
	for i, v := range e.Validators {
		if !slices.ContainsFunc(l.Cosignatures, func(c anchorproof.Cosignature) bool { return c.Validator == i }) {
			missing = append(missing, v.Name)
		}
	}
	return missing, e.IsQuorum(power), nil
}

// Former is the pinned chain that a link leads from.
func (s *Stores) Former(l anchorproof.SignedLink) (anchorproof.Epoch, error) {
	c, pinned := s.Trust.Chain(l.Genesis)
	if !pinned {
		return c.Genesis, fmt.Errorf("%w: the trust roots do not know the chain that the link leads from", ErrForeign)
	}
	return c.Genesis, nil
}

// moveHint says what to do where the configured way to the chain leads to another chain.
func moveHint(err error) error {
	if errors.Is(err, chainnet.ErrOtherChain) {
		return fmt.Errorf("%w: %w. Correct chain-nodes; or, if the log is to go to that chain, move it: 'stele "+
			"chain link', then 'stele chain move' (docs/chain.md, Moving)", ErrForeign, err)
	}
	if errors.Is(err, chain.ErrHome) && !strings.Contains(err.Error(), "stele chain move") {
		return fmt.Errorf("%w. If the chain's folder is lost for good, move the log to another chain: 'stele "+
			"chain link --lost', then 'stele chain move' (docs/chain.md, Moving)", err)
	}
	return err
}
