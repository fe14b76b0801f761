package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"stele/crypto/sm"
	"stele/notary/cmd/verifier"
	"stele/notary/proof"
	"stele/server/client"
)

// checkCmd answers what a file is, as the public page does. No key is needed, and only the
// file's digest is sent.
type checkCmd struct {
	URL      string `name:"url" env:"STELE_URL" required:"" help:"Where the service is." placeholder:"URL"`
	Trust    string `env:"STELE_TRUST" required:"" help:"Trust roots to verify with." placeholder:"FILE"`
	File     string `arg:"" optional:"" help:"The document; - reads it from the standard input."`
	SM3      string `name:"sm3" help:"The document's SM3 digest, in place of the file." placeholder:"DIGEST"`
	Attempts int    `env:"STELE_ATTEMPTS" default:"3" help:"How often the service is asked while it cannot be reached."`
	JSON     bool   `help:"Print the report as JSON." xor:"form"`
	Quiet    bool   `help:"Print the verdict's sentence alone." xor:"form"`
}

// Help implements kong.HelpProvider.
func (*checkCmd) Help() string {
	return "Where a file has several records, the answer is the one that the API and the public page give; " +
		"the others are listed below it. A certificate or a bundle that you hold is checked without a network " +
		"by stele verify. Get the trust roots once, from a source that you trust.\n\nExit codes:\n\n" +
		verifier.ExitCodes(func(v proof.Verdict) bool { return v != proof.Altered }) +
		"  2  wrong usage, or a file that cannot be read: nothing was checked\n  130  interrupted\n\n" +
		"4 is also the answer where the service could not be asked; the sentence says so: run the same command again."
}

// Run asks and verifies; the exit code says the verdict.
func (c *checkCmd) Run(ctx context.Context, s *streams) error {
	cl, file, err := c.prepare(ctx, s)
	if errors.Is(err, context.Canceled) {
		return &failure{errors.New("interrupted"), exitInterrupted}
	}
	if err != nil {
		return usage(err)
	}
	answers, err := cl.Verify(ctx, file)
	switch {
	case errors.Is(err, context.Canceled):
		return &failure{errors.New("interrupted"), exitInterrupted}
	case err != nil: // what could not be asked says nothing about the file
		answers = []client.Answer{{Report: proof.Unchecked(err.Error())}}
	}
	*s.code = answers[0].Report.Verdict.Row().Exit
	if answers[0].Report.Verdict == proof.NotFound {
		fmt.Fprintln(s.err, "If this is a certificate, a bundle or an evidence package, check it with 'stele verify'.")
	}
	if err := verifier.Print(s.out, answers[0].Report, c.JSON, c.Quiet); err != nil {
		return err
	}
	if c.JSON || c.Quiet {
		return nil
	}
	return s.others(answers[1:])
}

// prepare reads what is needed before anything is sent.
func (c *checkCmd) prepare(ctx context.Context, s *streams) (*client.Client, proof.File, error) {
	file := proof.File{Size: -1}
	if (c.File == "") == (c.SM3 == "") {
		return nil, file, errors.New("give either a file or --sm3")
	}
	trust, err := readTrust(c.Trust, proof.ParseTrust)
	if err != nil {
		return nil, file, err
	}
	cl := &client.Client{BaseURL: c.URL, Trust: trust, Attempts: max(1, c.Attempts), OnRetry: s.retries}
	if c.SM3 != "" {
		file.SM3, err = sm.ParseDigest(strings.ToLower(c.SM3))
		return cl, file, err
	}
	file, err = c.hash(ctx, s)
	return cl, file, err
}

func (c *checkCmd) hash(ctx context.Context, s *streams) (proof.File, error) {
	if c.File == "-" {
		return digestOf(ctx, s.in, newBar(s.err, "reading", "-", 0))
	}
	f, err := os.Open(c.File)
	if err != nil {
		return proof.File{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return proof.File{}, err
	}
	read := newBar(s.err, "reading", c.File, info.Size())
	defer read.clear()
	return digestOf(ctx, f, read)
}

// others lists what else was found about a file.
func (s *streams) others(answers []client.Answer) error {
	for i, a := range answers {
		if i == 0 {
			fmt.Fprintf(s.out, "\nThe service has more records of this file:\n\n")
		}
		if _, err := fmt.Fprintf(s.out, "  %-13s %s\n", a.Report.Verdict,
			verifier.Printable(a.Report.Summary)); err != nil {
			return err
		}
	}
	return nil
}
