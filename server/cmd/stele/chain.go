package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"stele/crypto/merkle"
	"stele/notary/office/people"
	"stele/notary/proof/anchorproof"
	"stele/server/cmd/internal/command"
	"stele/server/instance"
	"stele/server/node"
	"stele/server/remote/chainnet"
)

type chainCmd struct {
	Link chainLinkCmd `cmd:"" help:"Make the link by which the log leaves its chain. The settings are those of the present chain."`
	Move chainMoveCmd `cmd:"" help:"Move the log to the chain that a link leads to. The settings are those of the new chain, and all servers of the instance must be stopped."`
}

type chainLinkCmd struct {
	instance.Config `embed:""`
	To              string `help:"genesis.txt of the network to go to." placeholder:"FILE" xor:"to" required:""`
	Fingerprint     string `help:"That genesis' fingerprint, as the network's members told it; asked for on a terminal." placeholder:"HEX"`
	ToEmbedded      string `name:"to-embedded" help:"Name of a new chain, of one validator in this instance." placeholder:"NAME" xor:"to" required:""`
	Validator       string `default:"validator-1" help:"Name of this server in the new chain, with --to-embedded." placeholder:"NAME"`
	Lost            bool   `help:"The present chain cannot be asked any more for good: what the database has of it counts."`
	Out             string `required:"" short:"o" help:"File for the link." placeholder:"FILE"`
}

// Run makes a link.
func (c *chainLinkCmd) Run(ctx context.Context, s *streams) error {
	req := instance.LinkRequest{ChainID: c.ToEmbedded, Validator: c.Validator, Lost: c.Lost}
	if c.To != "" {
		genesis, err := node.ReadGenesis(c.To)
		if err != nil {
			return err
		}
		command.PrintGenesis(s.out, genesis)
		if err := compareFingerprint(s, c.Fingerprint, genesis.Hash()); err != nil {
			return err
		}
		req.Genesis = &genesis
	}
	return withStores(ctx, c.Config, func(st *instance.Stores) error {
		l, err := st.ChainLink(ctx, req, time.Now())
		if err != nil {
			return err
		}
		text, err := l.Marshal()
		if err != nil {
			return err
		}
		if err := command.WriteNew(c.Out, string(text)+"\n"); err != nil {
			return err
		}
		former, err := st.Former(l)
		if err != nil {
			return err
		}
		return printLink(s, l, former)
	})
}

// printLink shows what a link says, what is missing, and the fingerprint to compare.
func printLink(s *streams, l anchorproof.SignedLink, former anchorproof.Epoch) error {
	missing, enough, err := instance.MissingFrom(l, former)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "The log %s leaves the chain %s (epoch %d) at size %d, root %s,\nfor the chain %s, by "+
		"its operator's clock at %s\n", l.Origin, l.From, l.Epoch, l.Size, l.Root, l.To.Chain,
		l.Time().Format(time.RFC3339))
	for _, v := range l.To.Validators {
		fmt.Fprintf(s.out, "  member %s, power %d of %d\n", v.Name, v.Power, l.To.Total())
	}
	fmt.Fprintf(s.out, "Fingerprint (SM3): %s\n", command.Grouped(l.Hash().String()))
	if enough {
		fmt.Fprintln(s.out, "It has all the signatures that it needs: stele chain move")
	} else {
		fmt.Fprintln(s.out, "More than two thirds of the former chain's power must sign (stele node sign-link). "+
			"Not yet:", strings.Join(missing, ", "))
	}
	return nil
}

// actChainMove is the move in the audit trail; it is noted before it is done.
const actChainMove people.Action = "chain_move"

type chainMoveCmd struct {
	instance.Config `embed:""`
	Files           []string `arg:"" type:"existingfile" help:"The link, or copies of it that different members have signed."`
	Member          []string `help:"Organization that runs a validator of the new chain, and its unified social credit code, for the trust roots. Once for each validator." placeholder:"NAME=ORGANIZATION:CODE"`
}

// Run moves the log.
func (c *chainMoveCmd) Run(ctx context.Context, s *streams) error {
	l, err := readLinks(c.Files...)
	if err != nil {
		return err
	}
	members, err := parseMembers(c.Member)
	if err != nil {
		return usage(err)
	}
	cfg, err := c.Resolve()
	if err != nil {
		return err
	}
	st, err := instance.OpenMoving(ctx, cfg, l)
	if err != nil {
		return err
	}
	return errors.Join(c.move(ctx, s, st, l, members), st.Close())
}

func (c *chainMoveCmd) move(ctx context.Context, s *streams, st *instance.Stores, l anchorproof.SignedLink,
	members []instance.Member) error {
	former, err := st.Former(l)
	if err != nil {
		return err
	}
	missing, enough, err := instance.MissingFrom(l, former)
	if err != nil {
		return err
	}
	if !enough {
		return fmt.Errorf("the link is not signed by more than two thirds of the former chain's power, so no "+
			"verifier would follow it; not yet: %s", strings.Join(missing, ", "))
	}
	p, err := st.People(logger(st.Config, s.err))
	if err != nil {
		return err
	}
	detail := fmt.Sprintf("from %s at size %d", l.From, l.Size)
	if err := noteCommand(ctx, p, actChainMove, "", l.To.Chain, detail); err != nil {
		return err
	}
	if err := st.MoveChain(ctx, l, members); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "The log is on the chain %s now. Publish %s: it names all its chains; whoever has "+
		"a former one follows by the link.\nKeep the link: an older database is completed only after the same move. "+
		"On the other servers of this instance run the same command. Back up "+
		"the key folder and %s, start the servers, and destroy the former validator's keys, if they were here "+
		"(*-%x.key), once the first record is anchored.\n",
		l.To.Chain, st.Config.TrustPath(), st.Config.Data, l.Genesis[:4])
	return err
}

// readLinks reads a link and copies of it.
func readLinks(paths ...string) (l anchorproof.SignedLink, err error) {
	var files [][]byte
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return l, err
		}
		files = append(files, text)
	}
	l, err = instance.MergeLinks(files...)
	if err != nil {
		return l, fmt.Errorf("%s: %w", strings.Join(paths, ", "), err)
	}
	return l, nil
}

type nodeSignLinkCmd struct {
	NodeHome
	File        string `arg:"" type:"existingfile" help:"The link; the signature is added to it."`
	Fingerprint string `help:"The link's fingerprint, as the members agreed on it; asked for on a terminal." placeholder:"HEX"`
	Unseen      bool   `help:"Sign although no node runs here that could say what the chain holds of the log: the chain is lost."`
}

// Run signs a link, if the node of this home says of the log what the link says.
func (c *nodeSignLinkCmd) Run(ctx context.Context, s *streams) error {
	l, err := readLinks(c.File)
	if err != nil {
		return err
	}
	former, _, err := c.home().Joined()
	if err != nil {
		return err
	}
	if err := printLink(s, l, former); err != nil {
		return err
	}
	now := time.Now()
	if err := linkInTime(l.Link, now, time.Time{}); err != nil {
		return err
	}
	if !c.Unseen {
		n, err := RunningNode{Home: c.Home}.connect()
		if err != nil {
			return fmt.Errorf("%w: it is asked what the chain holds of the log. If the chain is lost for good, say "+
				"so with --unseen", err)
		}
		if err := seen(ctx, n, l, now); err != nil {
			return err
		}
	}
	if err := compareFingerprint(s, c.Fingerprint, l.Hash()); err != nil {
		return err
	}
	pass, err := c.passphrase()
	if err != nil {
		return err
	}
	if l, err = c.home().SignLink(l, pass); err != nil {
		return err
	}
	text, err := l.Marshal()
	if err != nil {
		return err
	}
	if err := command.WriteWhole(c.File, strings.NewReader(string(text)+"\n")); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "Signed. Pass %s on, or send it back: copies are put together by 'stele chain "+
		"move'.\n", c.File)
	return err
}

// seen demands that the chain holds nothing of the log beyond the link's checkpoint, and that one:
// what the chain holds later would be lost to whoever follows the link. The link must also be younger
// than the block that holds the checkpoint.
func seen(ctx context.Context, n *chainnet.Node, l anchorproof.SignedLink, now time.Time) error {
	st, err := n.Status(ctx)
	if err != nil {
		return err
	}
	if st.Epoch != l.Epoch {
		return fmt.Errorf("the chain is in epoch %d, the link names epoch %d: let it be made anew", st.Epoch, l.Epoch)
	}
	have := chainnet.Head{Origin: l.Origin, Root: merkle.EmptyRoot().String()}
	for _, h := range st.Heads {
		if h.Origin == l.Origin {
			have = h
		}
	}
	if have.Size != l.Size || have.Root != l.Root.String() {
		return fmt.Errorf("the chain holds the log %s at size %d, root %s, and the link says size %d, root %s: "+
			"nothing was signed. If the log was anchored meanwhile, let its operator make the link anew, with no "+
			"server anchoring",
			l.Origin, have.Size, have.Root, l.Size, l.Root)
	}
	at, err := n.Head(ctx, l.Origin)
	if err != nil {
		return err
	}
	if at.Evidence == nil { // the chain holds nothing of the log, or its members have not cosigned it yet
		return nil
	}
	e, err := anchorproof.ParseEvidence(at.Evidence)
	if err != nil {
		return err
	}
	return linkInTime(l.Link, now, e.Header.Time())
}

// signLinkWithin is how old a link may be when a member signs it: members in several cities compare
// its fingerprint first.
const signLinkWithin = 24 * time.Hour

// linkInTime demands that a link was made lately by a member's clock, and after the header that holds
// its checkpoint. Its time is the operator's word, and from it on verifiers take any time that the new
// chain gives: a link that is too early would let that chain date records back. anchored is the
// header's time, zero where it is not known; one that is ahead of the member's clock, as on a chain
// that a wrong clock has locked, says nothing.
func linkInTime(l anchorproof.Link, now, anchored time.Time) error {
	const tolerance = anchorproof.ClockTolerance
	at := l.Time()
	show := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	const anew = "Nothing was signed; let the log's operator set the clock and make the link anew"
	switch {
	case at.After(now.Add(tolerance)):
		return fmt.Errorf("the link is of %s, and here it is %s: it must not be of a time to come. %s", show(at),
			show(now), anew)
	case at.Before(now.Add(-signLinkWithin)):
		return fmt.Errorf("the link is of %s, and here it is %s: members sign within %d hours. %s", show(at), show(now),
			signLinkWithin/time.Hour, anew)
	case !anchored.After(now.Add(tolerance)) && at.Before(anchored.Add(-tolerance)):
		return fmt.Errorf("the link is of %s, and the chain anchored the log at %s, later than that. %s", show(at),
			show(anchored), anew)
	}
	return nil
}
