package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"stele/notary/chain/ceremony"
	"stele/notary/proof/anchorproof"
	"stele/server/cmd/internal/command"
	"stele/server/node"
	"stele/server/remote/chainnet"
)

type nodeProposeCmd struct {
	RunningNode
	Join         []string          `type:"existingfile" help:"Public file of a member that enters; one of the same name takes the former's place: so keys rotate." placeholder:"FILE"`
	Leave        []string          `help:"Name of a member that leaves." placeholder:"NAME"`
	Power        map[string]uint64 `help:"New power of a member." placeholder:"NAME=N"`
	NotaryAdd    []string          `name:"notary-add" help:"Public key of a log that enters; for a log that is there, the key that takes the former's place." placeholder:"KEY"`
	NotaryRemove []string          `name:"notary-remove" help:"Origin of a log that leaves." placeholder:"ORIGIN"`
	Out          string            `required:"" short:"o" help:"File for the proposal." placeholder:"FILE"`
}

// Run writes a proposal on the newest epoch of a running node.
func (c *nodeProposeCmd) Run(ctx context.Context, s *streams) error {
	n, err := c.connect()
	if err != nil {
		return err
	}
	current, err := newestEpoch(ctx, n)
	if err != nil {
		return err
	}
	change := ceremony.Change{Leave: c.Leave, Power: c.Power, Expel: c.NotaryRemove}
	for _, path := range c.Join {
		m, err := node.ReadMember(path)
		if err != nil {
			return err
		}
		change.Join = append(change.Join, m)
	}
	if change.Admit, err = command.LogKeys(c.NotaryAdd); err != nil {
		return err
	}
	p, err := ceremony.Propose(current, change)
	if err != nil {
		return err
	}
	text, err := p.Marshal()
	if err != nil {
		return err
	}
	if err := command.WriteNew(c.Out, string(text)); err != nil {
		return err
	}
	printProposal(s, p)
	return nil
}

func newestEpoch(ctx context.Context, n *chainnet.Node) (anchorproof.Epoch, error) {
	st, err := n.Status(ctx)
	if err != nil {
		return anchorproof.Epoch{}, err
	}
	epochs, err := n.Epochs(ctx, st.Epoch)
	if err != nil {
		return anchorproof.Epoch{}, err
	}
	if len(epochs) == 0 {
		return anchorproof.Epoch{}, fmt.Errorf("the node does not give its epoch %d", st.Epoch)
	}
	return epochs[len(epochs)-1].Epoch, nil
}

// printProposal shows what changes, what is missing, and the fingerprint to compare.
func printProposal(s *streams, p ceremony.Proposal) {
	fmt.Fprintf(s.out, "Chain %s, epoch %d after epoch %d\n", p.Next.Chain, p.Next.Number, p.Current.Number)
	for _, l := range p.Changes() {
		fmt.Fprintln(s.out, "  "+l)
	}
	fmt.Fprintf(s.out, "Fingerprint (SM3): %s\n", command.Grouped(p.Next.Hash().String()))
	missing := p.Missing()
	for _, m := range missing {
		fmt.Fprintln(s.out, "Still to sign:", m)
	}
	if len(missing) == 0 {
		fmt.Fprintln(s.out, "It has all the signatures that it needs: stele node submit")
	}
}

func readProposal(path string) (p ceremony.Proposal, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return p, err
	}
	if p, err = ceremony.ParseProposal(text); err != nil {
		return p, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

type nodeSignCmd struct {
	NodeHome
	File        string `arg:"" type:"existingfile" help:"The proposal; the signatures are added to it."`
	Fingerprint string `help:"The proposal's fingerprint, as the members agreed on it; asked for on a terminal." placeholder:"HEX"`
}

// Run signs a proposal.
func (c *nodeSignCmd) Run(s *streams) error {
	p, err := readProposal(c.File)
	if err != nil {
		return err
	}
	printProposal(s, p)
	if err := compareFingerprint(s, c.Fingerprint, p.Next.Hash()); err != nil {
		return err
	}
	pass, err := c.passphrase()
	if err != nil {
		return err
	}
	if p, err = c.home().Sign(p, pass); err != nil {
		return err
	}
	text, err := p.Marshal()
	if err != nil {
		return err
	}
	if err := command.WriteWhole(c.File, strings.NewReader(string(text))); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out,
		"Signed. Pass %s on, or send it back: copies are put together by 'stele node submit'.\n", c.File)
	return err
}

type nodeSubmitCmd struct {
	RunningNode
	Files []string `arg:"" type:"existingfile" help:"The proposal, or copies of it that different members have signed."`
}

// Run submits a proposal.
func (c *nodeSubmitCmd) Run(ctx context.Context, s *streams) error {
	p, err := readProposal(c.Files[0])
	if err != nil {
		return err
	}
	for _, path := range c.Files[1:] {
		q, err := readProposal(path)
		if err != nil {
			return err
		}
		if p, err = p.Merge(q); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	if missing := p.Missing(); len(missing) > 0 {
		return fmt.Errorf("signatures are missing: %s", strings.Join(missing, "; "))
	}
	n, err := c.connect()
	if err != nil {
		return err
	}
	if err := n.SubmitEpoch(ctx, p.Next); err != nil {
		return err
	}
	return waitForEpoch(ctx, s, n, p.Next.Number)
}

// waitForEpoch waits until the chain has accepted an epoch.
func waitForEpoch(ctx context.Context, s *streams, n *chainnet.Node, number uint64) error {
	st, err := n.Status(ctx)
	for ; err == nil; st, err = n.Wait(ctx, st.Height) {
		if st.Epoch >= number {
			_, err := fmt.Fprintf(s.out, "Epoch %d is accepted and in office from height %d.\n", number, st.EpochAt)
			return err
		}
		if ctx.Err() != nil {
			return errors.New("the proposal was handed in; whether it is accepted shows in 'stele node status'")
		}
	}
	return err
}
