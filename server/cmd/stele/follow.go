package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"stele/crypto/sm"
	"stele/notary/cmd/verifier"
	"stele/notary/proof"
	"stele/server/client"
	"stele/server/cmd/internal/command"
)

type statusCmd struct {
	Remote    `embed:""`
	Records   []string `arg:"" optional:"" name:"record" help:"Record ids or certificate numbers."`
	Reference string   `help:"All records with this reference instead."`
	SM3       string   `name:"sm3" help:"All records of the document with this digest instead." placeholder:"DIGEST"`
	JSON      bool     `help:"Print JSON, one line a record."`
}

// Help implements kong.HelpProvider.
func (*statusCmd) Help() string { return remoteCodes }

// Run prints how far records are and what became of them.
func (c *statusCmd) Run(ctx context.Context, s *streams) error {
	filter := client.Filter{Reference: c.Reference}
	if c.SM3 != "" {
		d, err := sm.ParseDigest(c.SM3)
		if err != nil {
			return usage(fmt.Errorf("--sm3: %w", err))
		}
		filter.SM3 = &d
	}
	searching := filter != client.Filter{}
	if searching == (len(c.Records) > 0) {
		return usage(errors.New("name records, or search with --reference or --sm3"))
	}
	cl, err := c.client(s, "")
	if err != nil {
		return err
	}
	found := 0
	show := func(r client.Record) error {
		if found++; c.JSON {
			return s.jsonLine(r)
		}
		return printRecord(s.out, r)
	}
	for _, id := range c.Records {
		r, err := cl.Get(ctx, id)
		if err != nil {
			return remoteFailure(fmt.Errorf("%s: %w", id, err))
		}
		if err := show(*r); err != nil {
			return err
		}
	}
	if !searching {
		return nil
	}
	for r, err := range cl.List(ctx, filter) {
		if err != nil {
			return remoteFailure(err)
		}
		if err := show(r); err != nil {
			return err
		}
	}
	if found == 0 {
		return &failure{errors.New("there is no such record"), exitRefused}
	}
	return nil
}

func printRecord(w io.Writer, r client.Record) error {
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-14s%s\n", name, verifier.Printable(value))
		}
	}
	line("number", r.Number)
	line("state", string(r.State))
	line("standing", string(r.Standing))
	if !r.StandingAt.IsZero() {
		line("  since", r.StandingAt.Format(time.RFC3339))
	}
	line("  reason", r.Reason)
	line("  by", r.SupersededBy)
	line("supersedes", r.Supersedes)
	line("title", r.Fields["title"])
	line("class", r.Class)
	line("reference", r.Reference)
	line("document", fmt.Sprintf("SM3 %s, %d bytes, %s", r.Document.SM3, r.Document.Size, r.Document.MediaType))
	line("issued", r.IssuedAt.Format(time.RFC3339))
	line("id", r.ID)
	_, err := fmt.Fprintln(w, b.String())
	return err
}

type bundleCmd struct {
	Remote      `embed:""`
	Record      string `arg:"" help:"Record id or certificate number."`
	Output      string `short:"o" help:"File to write, whole or not at all; without it, the standard output." placeholder:"FILE"`
	Certificate bool   `help:"The certificate (PDF) instead, with the bundle inside." xor:"what"`
	Evidence    bool   `help:"The evidence package (zip) instead, with the original inside." xor:"what"`
	With        string `help:"Let the bundle show also that the log only grew between this record and another: its number, or size:N of an anchored checkpoint. For stele verify --log." placeholder:"NUMBER" xor:"what,show"`
	Status      bool   `help:"Let it show also whether the record still stands, as the log says. For stele verify --status-within." xor:"show"`
	Trust       string `env:"STELE_TRUST" help:"Trust roots to verify the bundle with before it is written. Certificates and packages are checked with stele verify." placeholder:"FILE"`
}

// Help implements kong.HelpProvider.
func (*bundleCmd) Help() string { return remoteCodes }

// Run fetches a proof.
func (c *bundleCmd) Run(ctx context.Context, s *streams) error {
	cl, err := c.client(s, c.Trust)
	if err != nil {
		return err
	}
	if c.Output == "" && (c.Certificate || c.Evidence) && terminalWidth(s.out) > 0 {
		return usage(errors.New("this is no text for a terminal: name a file with -o"))
	}
	body, err := c.fetch(ctx, s, cl)
	if err != nil {
		return remoteFailure(err)
	}
	defer body.Close()
	if c.Output == "" {
		_, err = io.Copy(s.out, body)
	} else {
		err = command.WriteWhole(c.Output, body)
	}
	var local *os.PathError
	if errors.As(err, &local) {
		return usage(err)
	}
	return remoteFailure(err)
}

func (c *bundleCmd) fetch(ctx context.Context, s *streams, cl *client.Client) (io.ReadCloser, error) {
	switch {
	case c.Certificate && c.Status:
		return cl.CertificateNow(ctx, c.Record)
	case c.Evidence && c.Status:
		return cl.EvidenceNow(ctx, c.Record)
	case c.Certificate:
		return cl.Certificate(ctx, c.Record)
	case c.Evidence:
		return cl.Evidence(ctx, c.Record)
	}
	b, err := c.bundle(ctx, cl)
	if err != nil {
		return nil, err
	}
	if b.Report != nil {
		fmt.Fprintf(s.err, "The evidence of certificate %s holds. No document was compared with it; the digest that "+
			"was registered is %s.\n",
			b.Number, b.Report.Document.SM3)
		if c := b.Report.Verdict; c != proof.Genuine {
			fmt.Fprintf(s.err, "The record is %s: %s\n", c, verifier.Printable(b.Report.Summary))
		}
	}
	return io.NopCloser(bytes.NewReader(b.JSON)), nil
}

func (c *bundleCmd) bundle(ctx context.Context, cl *client.Client) (*client.Bundle, error) {
	if c.With != "" {
		return cl.BundleWith(ctx, c.Record, c.With, nil)
	}
	if c.Status {
		return cl.BundleNow(ctx, c.Record, nil)
	}
	return cl.Bundle(ctx, c.Record, nil)
}

type revokeCmd struct {
	Remote `embed:""`
	Record string `arg:"" help:"Record id or certificate number."`
	Reason string `required:"" help:"Why; public for ever: no personal data."`
	JSON   bool   `help:"Print the record as JSON."`
}

// Help implements kong.HelpProvider.
func (*revokeCmd) Help() string {
	return "It cannot be undone. The same command may be run again: it withdraws a record once.\n\n" + remoteCodes
}

// Run withdraws a record.
func (c *revokeCmd) Run(ctx context.Context, s *streams) error {
	cl, err := c.client(s, "")
	if err != nil {
		return err
	}
	key := "stele-revoke-" + sm.Sum([]byte(c.Record), []byte{0}, []byte(c.Reason)).String()
	r, err := cl.Revoke(ctx, c.Record, c.Reason, key)
	switch {
	case err != nil:
		return remoteFailure(err)
	case c.JSON:
		return s.jsonLine(r)
	}
	_, err = fmt.Fprintf(s.out, "revoked  %s  dated %s\n", r.Number, r.StandingAt.Format(time.RFC3339))
	return err
}

type watchCmd struct {
	Remote `embed:""`
	After  string   `help:"Go on after this cursor; without it, from the first record on." placeholder:"CURSOR"`
	Follow bool     `short:"f" help:"At the end wait for more, until interrupted."`
	Types  []string `help:"Only events of these types, such as record.anchored." placeholder:"TYPE"`
	JSON   bool     `help:"Print JSON: a line an event, and after those that came together a line {\"next\":CURSOR}."`
}

// Help implements kong.HelpProvider.
func (*watchCmd) Help() string {
	return "Prints what became of the agency's records, oldest first. The cursor to go on with is printed at the end " +
		"on the error stream, with --json among the lines.\n\n" + remoteCodes
}

// Run prints the changes feed.
func (c *watchCmd) Run(ctx context.Context, s *streams) error {
	cl, err := c.client(s, "")
	if err != nil {
		return err
	}
	next := c.After
	for page, err := range cl.Events(ctx, client.EventQuery{After: c.After, Types: c.Types, Follow: c.Follow}) {
		if c.Follow && errors.Is(err, context.Canceled) {
			break
		}
		if err != nil {
			if next != c.After { // else it may be the cursor that is wrong
				c.cursor(s, next)
			}
			return remoteFailure(err)
		}
		for _, e := range page.Events {
			if err := c.print(s, e); err != nil {
				return err
			}
		}
		next = page.Next
		if c.JSON {
			if err := s.jsonLine(map[string]string{"next": next}); err != nil {
				return err
			}
		}
	}
	c.cursor(s, next)
	return nil
}

func (c *watchCmd) cursor(s *streams, next string) {
	if !c.JSON && next != "" {
		fmt.Fprintf(s.err, "go on with --after %s\n", verifier.Printable(next))
	}
}

func (c *watchCmd) print(s *streams, e client.Event) error {
	if c.JSON {
		return s.jsonLine(e)
	}
	r, err := e.Record()
	if err != nil {
		return remoteFailure(fmt.Errorf("event %s: %w", e.ID, err))
	}
	parts := []string{e.Timestamp.Format(time.RFC3339), e.Type}
	for _, p := range []string{r.Number, r.SupersededBy, r.Reason} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	_, err = fmt.Fprintln(s.out, verifier.Printable(strings.Join(parts, "  ")))
	return err
}
