package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"stele/notary/cmd/verifier"
	"stele/notary/proof"
	"stele/server/client"
	"stele/server/cmd/internal/command"
)

// refreshCmd brings a bundle that somebody holds up to date.
type refreshCmd struct {
	URL      string `name:"url" env:"STELE_URL" required:"" help:"Where the service is." placeholder:"URL"`
	Trust    string `env:"STELE_TRUST" required:"" help:"Trust roots to verify with." placeholder:"FILE"`
	File     string `arg:"" help:"The bundle; it is written anew."`
	Output   string `short:"o" help:"File to write in its place." placeholder:"FILE"`
	Attempts int    `env:"STELE_ATTEMPTS" default:"3" help:"How often the service is asked while it cannot be reached."`
}

// Help implements kong.HelpProvider.
func (*refreshCmd) Help() string {
	return "Asks the service what became of the record, without a key, and writes the bundle with what the log " +
		"says of its standing: whether it was revoked or replaced, as of a time that the chain vouches for. The " +
		"attributes that the bundle shows stay in it. Nothing is written that does not hold.\n\n" + remoteCodes
}

// Run asks, verifies and writes.
func (c *refreshCmd) Run(ctx context.Context, s *streams) error {
	trust, err := readTrust(c.Trust, proof.ParseTrust)
	if err != nil {
		return err
	}
	bundle, err := verifier.ReadFile(c.File, proof.MaxBundleSize)
	if err != nil {
		return usage(err)
	}
	cl := &client.Client{BaseURL: c.URL, Trust: trust, Attempts: max(1, c.Attempts), OnRetry: s.retries}
	b, err := cl.Refresh(ctx, bundle)
	if err != nil {
		return remoteFailure(err)
	}
	out := c.File
	if c.Output != "" {
		out = c.Output
	}
	if err := command.WriteWhole(out, bytes.NewReader(b.JSON)); err != nil {
		return usage(err)
	}
	fmt.Fprintln(s.out, b.Report.Summary)
	if b.Report.Standing.AsOf == "" {
		return remoteFailure(errors.New("the log has not said yet whether the record stands; try again in a minute"))
	}
	return nil
}
