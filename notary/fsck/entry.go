package fsck

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"time"

	"stele/crypto/pki"
	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/statement"
)

// signer is a certificate as the entries refer to it.
type signer struct {
	chain   [][]byte
	cert    *pki.Certificate
	problem string
}

// checkedEntry is what can be said about an entry by itself.
type checkedEntry struct {
	s       statement.Statement
	parsed  bool
	what    string
	problem string
}

// checkEntries checks statements and signatures on all processors: verifying a signature is
// by far the largest part of a check.
func (c *checker) checkEntries(ctx context.Context, first uint64, list []statement.Entry) []checkedEntry {
	for _, e := range list {
		if c.signers[e.Certificate] == nil {
			c.signers[e.Certificate] = c.loadSigner(ctx, e.Certificate)
		}
	}
	out := make([]checkedEntry, len(list))
	workers := runtime.GOMAXPROCS(0)
	var wg sync.WaitGroup
	for k := range workers {
		wg.Go(func() {
			for i := k; i < len(list); i += workers {
				out[i] = c.checkEntry(list[i])
			}
		})
	}
	wg.Wait()
	return out
}

func (c *checker) loadSigner(ctx context.Context, fp sm.Digest) *signer {
	chain, err := c.rows.Chain(ctx, fp)
	if err != nil {
		return &signer{problem: fmt.Sprintf("its certificate %s cannot be read: %v", fp, err)}
	}
	cert, err := pki.Parse(chain[0])
	switch {
	case err != nil:
		return &signer{problem: fmt.Sprintf("its certificate %s cannot be parsed: %v", fp, err)}
	case sm.Sum(chain[0]) != fp:
		return &signer{problem: fmt.Sprintf("the certificate stored under %s is another one", fp)}
	}
	return &signer{chain: chain, cert: cert}
}

func (c *checker) checkEntry(e statement.Entry) checkedEntry {
	out := checkedEntry{}
	s, err := statement.Parse(e.Statement)
	if err != nil {
		out.what, out.problem = "statement", err.Error()
		return out
	}
	out.s, out.parsed = s, true
	sg := c.signers[e.Certificate]
	switch {
	case sg.problem != "":
		out.what, out.problem = "certificate", sg.problem
	case !sg.cert.PublicKey().Verify(e.Statement, e.Signature):
		out.what, out.problem = "signature", "the signature over the statement does not verify"
	case sg.cert.Code() != s.Agency.Code || sg.cert.Subject().Organization != s.Agency.Name:
		out.what, out.problem = "certificate", "the certificate belongs to another agency"
	default:
		if _, err := pki.VerifyChain(sg.chain, c.trust.Roots, s.IssuedAt, pki.Agency); err != nil {
			out.what, out.problem = "certificate", err.Error()
		}
	}
	return out
}

// record compares a row with the statement that was signed about it, and the original with both.
func (c *checker) record(ctx context.Context, r notary.Record, e checkedEntry) error {
	c.res.Records++
	s := e.s
	for _, d := range []struct {
		what      string
		row, said any
	}{
		{"number", r.Number, s.Number}, {"digest", r.SM3, s.Document.SM3}, {"size", r.Size, s.Document.Size}, {"media type", r.MediaType, s.Document.MediaType},
		{"class", r.Class, s.Class}, {"supersedes", r.Supersedes, s.Supersedes}, {"time of issue", r.IssuedAt, s.IssuedAt},
	} {
		if d.row != d.said {
			c.find("record", r.Index, s.Number, "%s in the row is %v, in the statement %v", d.what, d.row, d.said)
		}
	}
	c.fields(r, s)
	c.checkStanding(r)
	if r.Stored {
		c.ids[r.ID] = true
		return c.document(ctx, r)
	}
	return nil
}

func (c *checker) fields(r notary.Record, s statement.Statement) {
	for _, f := range r.Fields {
		want, ok := s.Field(f.Name)
		if !ok {
			c.find("attribute", r.Index, r.Number, "the attribute %q is not in the statement", f.Name)
		} else if statement.Commitment(f.Salt, f.Name, f.Value) != want {
			c.find("attribute", r.Index, r.Number, "the attribute %q is not the one that was signed", f.Name)
		}
	}
}

func (c *checker) document(ctx context.Context, r notary.Record) error {
	if c.opt.SkipDocuments {
		return nil
	}
	c.res.Documents++
	body, _, err := c.objects.Open(ctx, notary.DocumentKey(r.ID), r.Version)
	if errors.Is(err, notary.ErrObjectNotFound) {
		c.find("document", r.Index, r.Number, "the original is missing in the object store")
		return nil
	}
	if err != nil {
		return fmt.Errorf("open document of record %s: %w", r.Number, err)
	}
	defer body.Close()
	h := sm.NewHash()
	n, err := io.Copy(h, body)
	if err != nil {
		return fmt.Errorf("read document of record %s: %w", r.Number, err)
	}
	if got := sm.Digest(h.Sum(nil)); got != r.SM3 || uint64(n) != r.Size {
		c.find("document", r.Index, r.Number, "the stored original has SM3 %s and %d bytes, notarized were %s and %d", got, n, r.SM3, r.Size)
	}
	return nil
}

// laterStanding is what an entry says about an earlier record.
type laterStanding struct {
	standing notary.Standing
	index    uint64
	at       time.Time
	by       string
}

// readStandings collects what later entries say, since a record's row is checked before
// the walk reaches them.
func (c *checker) readStandings(ctx context.Context) error {
	for first := uint64(0); first < c.head.Received; first += chunk {
		list, err := c.rows.Entries(ctx, first, min(first+chunk, c.head.Received))
		if err != nil {
			return fmt.Errorf("read entries: %w", err)
		}
		for i, e := range list {
			text := string(e.Statement)
			if !strings.Contains(text, `"action":"revoke"`) && !strings.Contains(text, `"supersedes"`) {
				continue // a cheap look first: hardly any entry is one of these
			}
			s, err := statement.Parse(e.Statement)
			if err != nil {
				continue // reported by the walk
			}
			l := &laterStanding{index: first + uint64(i), at: s.IssuedAt}
			switch {
			case s.Action == statement.Revoke:
				l.standing = notary.Revoked
				c.standing[s.Number] = l
			case s.Supersedes != "":
				l.standing, l.by = notary.Superseded, s.Number
				c.standing[s.Supersedes] = l
			}
		}
	}
	return nil
}

func (c *checker) checkStanding(r notary.Record) {
	want := c.standing[r.Number]
	switch {
	case want == nil && r.Standing != notary.Valid:
		c.find("standing", r.Index, r.Number, "the row says %s, but no entry does", r.Standing)
	case want != nil && (r.Standing != want.standing || r.StandingIndex != want.index || !r.StandingAt.Equal(want.at) || r.StandingBy != want.by):
		c.find("standing", r.Index, r.Number, "entry %d says %s, the row says %s by entry %d", want.index, want.standing, r.Standing, r.StandingIndex)
	}
}
