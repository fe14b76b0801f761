package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"stele/notary/proof"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/trustfile"
)

type trustMakeCmd struct {
	From   string         `required:"" help:"The trust file of one instance, of either version." placeholder:"FILE"`
	Code   []string       `sep:"none" help:"Credit code of an agency for which the root may speak; may stand several times." placeholder:"CODE"`
	Region []string       `sep:"none" help:"Region for whose agencies it may speak: the first 2, 4 or 6 digits of GB/T 2260; may stand several times." placeholder:"DIGITS"`
	Log    []string       `sep:"none" help:"Log in which it may speak; those of the file if not given; may stand several times." placeholder:"ORIGIN"`
	Member []string       `sep:"none" help:"Organization behind a validator of the newest known epoch, with its credit code; may stand several times." placeholder:"NAME=ORGANIZATION:CODE"`
	Epochs []string       `sep:"none" help:"A service, or saved answers of its /api/v1/chain/epochs, from which the newest epoch is known; else that is epoch 0." placeholder:"URL|FILE"`
	Late   *time.Duration `help:"How long before its anchor an agency's date may lie without a warning." placeholder:"24h"`
	Out    string         `required:"" help:"File to write; it must not be there." placeholder:"FILE"`
}

// Help implements kong.HelpProvider.
func (*trustMakeCmd) Help() string {
	return "What is given takes the place of what the file says; what is not given stays. The result is of " +
		"version 2. A " +
		"member whose keys were changed needs its name given again, with --epochs: the former key stays named."
}

// Run makes a scoped trust file.
func (c *trustMakeCmd) Run(ctx context.Context, s *streams) error {
	t, err := readTrust(c.From, proof.ParseTrust)
	if err != nil {
		return err
	}
	change := trustfile.Change{Codes: c.Code, Regions: c.Region, Logs: c.Log, Late: c.Late}
	for _, m := range c.Member {
		o, err := parseMember(m)
		if err != nil {
			return usage(err)
		}
		change.Members = append(change.Members, o)
	}
	newest := map[string]anchorproof.Epoch{}
	if len(c.Epochs) > 0 {
		given, err := handOvers(ctx, s, c.Epochs)
		if err != nil {
			return err
		}
		if newest[given.chain], err = trustfile.Newest(t, given.chain, given.terms); err != nil {
			return err
		}
	}
	made, err := trustfile.Make(t, change, newest)
	if err != nil {
		return usage(err)
	}
	if err := s.writeTrust(c.Out, made); err != nil {
		return err
	}
	if r := made.Roots[0]; len(r.Codes)+len(r.Regions) == 0 || len(r.Logs) == 0 {
		_, err = fmt.Fprintln(s.out, "The root speaks for all agencies: the file cannot be merged with another.")
	}
	return err
}

// parseMember reads NAME=ORGANIZATION:CODE; an organization's name may have both signs in it.
func parseMember(text string) (trustfile.Organization, error) {
	name, rest, ok := strings.Cut(text, "=")
	i := strings.LastIndex(rest, ":")
	if !ok || name == "" || i < 1 {
		return trustfile.Organization{}, fmt.Errorf("--member %q: expected is NAME=ORGANIZATION:CODE", text)
	}
	return trustfile.Organization{Validator: name, Name: rest[:i], Code: rest[i+1:]}, nil
}

type trustMergeCmd struct {
	Files []string `arg:"" help:"The trust files, of either version."`
	Out   string   `required:"" help:"File to write; it must not be there." placeholder:"FILE"`
}

// Help implements kong.HelpProvider.
func (*trustMergeCmd) Help() string {
	return "The result has all roots, logs, chains and gateways of the files, in version 2, whatever their order. Of " +
		"the pinned epochs of a chain the longer list counts where the other is its beginning, and of the " +
		"times after " +
		"which a date is late the shorter. Where files contradict each other nothing is written, and the sentence " +
		"says what " +
		"contradicts what. " +
		"Each root must say for whom it speaks: see stele trust make."
}

// Run merges; contradictions are exit code 1.
func (c *trustMergeCmd) Run(s *streams) error {
	var files []*proof.Trust
	for _, name := range c.Files {
		t, err := readTrust(name, proof.ParseTrustDraft)
		if err != nil {
			return err
		}
		files = append(files, t)
	}
	merged, err := trustfile.Merge(files...)
	if err != nil {
		return fmt.Errorf("nothing was written: %w", trimTrust(err))
	}
	return s.writeTrust(c.Out, merged)
}

// trimTrust leaves out that the result would be malformed, where the reason says more.
func trimTrust(err error) error {
	if errors.Is(err, proof.ErrUnscoped) || errors.Is(err, trustfile.ErrConflict) {
		return err
	}
	return fmt.Errorf("the files do not fit together: %w", err)
}
