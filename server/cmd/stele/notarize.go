package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"stele/crypto/sm"
	"stele/notary/cmd/verifier"
	"stele/notary/proof"
	"stele/notary/register/mediatype"
	"stele/server/client"
	"stele/server/cmd/internal/command"
)

type notarizeCmd struct {
	Remote     `embed:""`
	Files      []string          `arg:"" name:"file" help:"Documents to notarize."`
	Title      string            `help:"Title; private. One file only."`
	Class      string            `help:"Document class; general if absent."`
	Field      map[string]string `help:"An attribute of the class; private. May be repeated." placeholder:"NAME=VALUE" mapsep:"none"`
	Reference  string            `help:"Your own name for the record, such as a case number. One file only."`
	Supersedes string            `help:"Number of the record that this one replaces. One file only." placeholder:"NUMBER"`
	Reason     string            `help:"Why it replaces that one; it will be public." placeholder:"TEXT"`
	MediaType  string            `help:"Such as application/pdf; found out from the first bytes if absent." placeholder:"TYPE"`
	DigestOnly bool              `help:"Send the SM3 digest and the attributes; the document stays here."`
	Wait       string            `help:"Return once the record is logged, or anchored." enum:",logged,anchored" default:"" placeholder:"STATE"`
	WaitAtMost time.Duration     `help:"How long --wait waits; the record is there all the same." default:"10m"`
	BundleDir  string            `help:"Write each record's bundle into this folder, as NUMBER.bundle.json; waits until it is anchored, unless --wait says otherwise." placeholder:"DIR"`
	Trust      string            `env:"STELE_TRUST" help:"Trust roots to verify the bundles with before they are written." placeholder:"FILE"`
	Again      bool              `help:"Make new records although the same command made some before."`
	JSON       bool              `help:"Print JSON, one line a file."`
}

// Help implements kong.HelpProvider.
func (*notarizeCmd) Help() string {
	return `The idempotency key is derived from each document's digest and the settings. So the same command gives ` +
		`the same record however often it is run: after Ctrl-C, a broken connection or a full disk, run it again. ` +
		`Another title makes another record. --again makes a new record for the same document and settings; after an ` +
		`interrupted command with --again look at the list of records first.` + "\n\n" + remoteCodes
}

// notarized is what became of one file.
type notarized struct {
	File     string          `json:"file"`
	Record   *client.Record  `json:"record,omitempty"`
	Replayed bool            `json:"replayed,omitempty"`
	Bundle   string          `json:"bundle,omitempty"` // path
	Problem  *client.Problem `json:"problem,omitempty"`
	Error    string          `json:"error,omitempty"`
}

// Run notarizes the files one after another. What the service refuses does not keep the next
// ones away; what concerns all of them ends the command.
func (c *notarizeCmd) Run(ctx context.Context, s *streams) error {
	if err := c.check(); err != nil {
		return usage(err)
	}
	cl, err := c.client(s, c.Trust)
	if err != nil {
		return err
	}
	failed := 0
	var worst error
	for _, path := range c.Files {
		res, err := c.file(ctx, s, cl, path)
		if err := c.print(s, path, res, err); err != nil {
			return err
		}
		if err == nil {
			continue
		}
		failed, worst = failed+1, err
		var f *failure
		if ended := remoteFailure(err); errors.As(ended, &f) && (f.code != exitRefused || concernsAll(err)) {
			if f.code == exitInterrupted {
				f.error = errors.New("interrupted; the same command goes on, without a second record")
			}
			return ended
		}
	}
	if failed == 0 {
		return nil
	}
	if len(c.Files) == 1 {
		return remoteFailure(worst)
	}
	return &failure{fmt.Errorf("%d of %d files were not notarized, see above", failed, len(c.Files)), exitRefused}
}

// concernsAll tells refusals that the next file would meet too.
func concernsAll(err error) bool {
	var p *client.Problem
	return errors.As(err, &p) && (p.Status == http.StatusUnauthorized || p.Status == http.StatusForbidden ||
		p.Code == "")
}

// check finds what is wrong before anything is sent.
func (c *notarizeCmd) check() error {
	if len(c.Files) > 1 && (c.Title != "" || c.Reference != "" || c.Supersedes != "") {
		return errors.New("--title, --reference and --supersedes are for one file; notarize the files one by one")
	}
	if c.BundleDir != "" {
		if info, err := os.Stat(c.BundleDir); err != nil || !info.IsDir() {
			return fmt.Errorf("--bundle-dir: there is no folder %s", c.BundleDir)
		}
		if c.Wait == "" {
			c.Wait = string(client.Anchored)
		}
	}
	for _, path := range c.Files {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		_, err = client.FileDocument(f)
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// errWithdrawn is what a repeated command meets whose record was revoked or replaced since.
var errWithdrawn = errors.New(
	"the same command made a record before, which is not in force any more; --again makes a new one")

// file notarizes one file and fetches its proof, where that is wanted.
func (c *notarizeCmd) file(ctx context.Context, s *streams, cl *client.Client, path string) (notarized, error) {
	res := notarized{File: path}
	f, err := os.Open(path)
	if err != nil {
		return res, usage(err)
	}
	defer f.Close()
	doc, err := client.FileDocument(f)
	if err != nil {
		return res, usage(err)
	}
	read := newBar(s.err, "reading", path, doc.Size)
	known, err := digestOf(ctx, io.NewSectionReader(f, 0, doc.Size), read)
	read.clear()
	if err != nil {
		return res, usage(err)
	}
	digest := known.SM3
	r, err := c.record(path, f, digest, doc.Size)
	if err != nil {
		return res, usage(err)
	}
	if c.DigestOnly {
		res.Record, err = cl.NotarizeDigest(ctx, digest, doc.Size, r)
	} else {
		sent := newBar(s.err, "sending", path, doc.Size)
		doc.SM3, doc.Progress = &digest, sent.at
		res.Record, err = cl.Notarize(ctx, doc, r)
		sent.clear()
	}
	if err != nil {
		return res, err
	}
	res.Replayed = res.Record.Replayed
	if res.Record.Standing != client.Valid {
		return res, errWithdrawn
	}
	return c.follow(ctx, s, cl, res, digest)
}

// follow waits for the record and saves its bundle, as asked for.
func (c *notarizeCmd) follow(ctx context.Context, s *streams, cl *client.Client, res notarized, digest sm.Digest) (
	notarized, error) {
	if c.Wait != "" {
		note := newBar(s.err, "waiting until the record is "+c.Wait, res.File, 0)
		note.at(0)
		wait, stop := context.WithTimeout(ctx, c.WaitAtMost)
		rec, err := cl.WaitFor(wait, res.Record.ID, client.State(c.Wait))
		stop()
		note.clear()
		if rec != nil {
			res.Record = rec
		}
		if err != nil {
			return res, err
		}
	}
	if c.BundleDir == "" {
		return res, nil
	}
	var document *sm.Digest
	if cl.Trust != nil {
		document = &digest
	}
	b, err := cl.Bundle(ctx, res.Record.Number, document)
	if err != nil {
		return res, err
	}
	path := filepath.Join(c.BundleDir, filepath.Base(res.Record.Number)+".bundle.json")
	if err := command.WriteWhole(path, bytes.NewReader(b.JSON)); err != nil {
		return res, usage(err)
	}
	res.Bundle = path
	return res, nil
}

// record is what the flags say of a document, with the key that stands for all of it.
func (c *notarizeCmd) record(path string, f io.ReaderAt, digest sm.Digest, size int64) (client.NewRecord, error) {
	r := client.NewRecord{Title: c.Title, Filename: filepath.Base(path), Class: c.Class, Fields: c.Field,
		Supersedes: c.Supersedes, Reason: c.Reason, Reference: c.Reference, MediaType: c.MediaType}
	if c.DigestOnly && r.MediaType == "" { // the service sees no bytes to find it out from
		head := make([]byte, min(size, mediatype.HeadSize))
		if _, err := f.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
			return r, err
		}
		r.MediaType = mediatype.Find(head)
	}
	all, err := json.Marshal(struct {
		SM3        string
		Size       int64
		DigestOnly bool
		Record     client.NewRecord
	}{digest.String(), size, c.DigestOnly, r})
	if err != nil {
		return r, err
	}
	r.IdempotencyKey = "stele-" + sm.Sum(all).String()
	if c.Again {
		r.IdempotencyKey += "-" + rand.Text()
	}
	return r, nil
}

// print writes what became of a file: a line on the output, or on the error stream.
func (c *notarizeCmd) print(s *streams, path string, res notarized, err error) error {
	if c.JSON {
		var p *client.Problem
		if errors.As(err, &p) {
			res.Problem = p
		} else if err != nil {
			res.Error = err.Error()
		}
		return s.jsonLine(res)
	}
	if r := res.Record; r != nil {
		how := "notarized"
		if res.Replayed {
			how = "there already"
		}
		parts := []string{how, r.Number, "code " + r.Code, string(r.State), verifier.Printable(path)}
		if r.Standing != client.Valid {
			parts[3] = string(r.Standing)
		}
		if res.Bundle != "" {
			parts = append(parts, "bundle "+res.Bundle)
		}
		if _, err := fmt.Fprintln(s.out, strings.Join(parts, "  ")); err != nil {
			return err
		}
	}
	if err != nil && len(c.Files) > 1 {
		_, err = fmt.Fprintf(s.err, "%s: %s\n", verifier.Printable(path), verifier.Printable(err.Error()))
		return err
	}
	return nil
}

// digestOf reads a document to its end.
func digestOf(ctx context.Context, r io.Reader, b *bar) (d proof.File, err error) {
	h, buf := sm.NewHash(), make([]byte, 1<<20)
	for total := int64(0); ; {
		n, err := r.Read(buf)
		h.Write(buf[:n])
		total += int64(n)
		b.at(total)
		switch {
		case err == io.EOF:
			h.Sum(d.SM3[:0])
			d.Size = total
			return d, nil
		case err != nil:
			return d, err
		case ctx.Err() != nil:
			return d, ctx.Err()
		}
	}
}
