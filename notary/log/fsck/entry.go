package fsck

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"

	"stele/crypto/pki"
	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/proof/statement"
	"stele/notary/proof/status"
)

// signer is a certificate as the entries refer to it.
type signer struct {
	agencyID string
	chain    [][]byte
	cert     *pki.Certificate
	from, to time.Time // when the whole chain is valid; zero: has to be looked at each time
	problem  string
}

// checkedEntry is what can be said about an entry by itself.
type checkedEntry struct {
	s      statement.Statement
	parsed bool
	// ofNoRecord: it is a status statement or a certificate's revocation, which has none of the others.
	ofNoRecord bool
	agencyID   string // of the signer, empty when not known
	what       string
	problem    string
}

// number names the record that an entry is about, by the row where the statement is unreadable.
func (e checkedEntry) number(r StoredRecord) string {
	if e.parsed {
		return e.s.Number
	}
	return r.Number
}

// checkEntries checks statements and signatures on all processors: verifying a signature is
// by far the largest part of a check.
func (c *checker) checkEntries(ctx context.Context, list []statement.Entry) []checkedEntry {
	for _, e := range list {
		if c.signers[e.Certificate] == nil && !status.OfNoRecord(e.Statement) {
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
	agency, chain, err := c.rows.Chain(ctx, fp)
	if err == nil && len(chain) == 0 {
		err = notary.ErrNotFound
	}
	if err != nil {
		return &signer{problem: fmt.Sprintf("its certificate %s cannot be read: %v", fp, err)}
	}
	cert, err := pki.Parse(chain[0])
	switch {
	case sm.Sum(chain[0]) != fp:
		return &signer{problem: fmt.Sprintf("the certificate stored under %s is another one", fp)}
	case err != nil:
		return &signer{problem: fmt.Sprintf("its certificate %s cannot be parsed: %v", fp, err)}
	}
	s := &signer{agencyID: agency, chain: chain, cert: cert}
	s.from, s.to = c.window(chain)
	return s
}

// window is the time in which a chain is valid as a whole. All else about it does not
// depend on the time, so it is verified once and not for each of its signatures.
func (c *checker) window(chain [][]byte) (from, to time.Time) {
	for _, der := range chain {
		cert, err := pki.Parse(der)
		if err != nil {
			return time.Time{}, time.Time{}
		}
		if cert.NotBefore().After(from) {
			from = cert.NotBefore()
		}
		if to.IsZero() || cert.NotAfter().Before(to) {
			to = cert.NotAfter()
		}
	}
	if _, err := pki.VerifyChain(chain, c.trust.Certificates(), from, pki.Agency); err != nil {
		return time.Time{}, time.Time{}
	}
	return from, to
}

func (c *checker) checkEntry(e statement.Entry) checkedEntry {
	if status.OfNoRecord(e.Statement) {
		out := checkedEntry{ofNoRecord: true}
		if err := c.judge.Verify(e); err != nil {
			out.what, out.problem = "status", err.Error()
		}
		return out
	}
	s, err := statement.Parse(e.Statement)
	if err != nil {
		return checkedEntry{what: "statement", problem: err.Error()}
	}
	sg := c.signers[e.Certificate]
	out := checkedEntry{s: s, parsed: true, agencyID: sg.agencyID}
	switch {
	case sg.problem != "":
		out.what, out.problem = "certificate", sg.problem
	case !sg.cert.PublicKey().Verify(e.Statement, e.Signature):
		out.what, out.problem = "signature", "the signature over the statement does not verify"
	case sg.cert.Code() != s.Agency.Code || sg.cert.Subject().Organization != s.Agency.Name:
		out.what, out.problem = "certificate", "the certificate belongs to another agency"
	case s.IssuedAt.Before(sg.from) || !s.IssuedAt.Before(sg.to):
		if _, err := pki.VerifyChain(sg.chain, c.trust.Certificates(), s.IssuedAt, pki.Agency); err != nil {
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
		{"number", r.Number, s.Number}, {"digest", r.SM3, s.Document.SM3}, {"size", r.Size, s.Document.Size},
		{"media type", r.MediaType, s.Document.MediaType},
		{"class", r.Class, s.Class}, {"supersedes", r.Supersedes, s.Supersedes},
		{"time of issue", r.IssuedAt, s.IssuedAt},
	} {
		if d.row != d.said {
			c.find("record", r.Index, s.Number, "%s in the row is %v, in the statement %v", d.what, d.row, d.said)
		}
	}
	if e.agencyID != "" && r.AgencyID != e.agencyID {
		c.find("record", r.Index, s.Number, "the row is of agency %s, the signature of agency %s", r.AgencyID,
			e.agencyID)
	}
	c.fields(r, s)
	if err := c.checkStanding(ctx, r, s); err != nil {
		return err
	}
	if r.Stored {
		c.ids[r.ID] = true
		return c.document(ctx, r)
	}
	return nil
}

// fields compares the attributes with what was signed. One that was erased keeps its name
// and has neither salt nor value.
func (c *checker) fields(r notary.Record, s statement.Statement) {
	there := make(map[string]bool, len(r.Fields))
	for _, f := range r.Fields {
		there[f.Name] = true
		want, ok := s.Field(f.Name)
		switch {
		case !ok:
			c.find("attribute", r.Index, s.Number, "the attribute %q is not in the statement", f.Name)
		case len(f.Salt) == 0 && f.Value == "": // erased
		case statement.Commitment(f.Salt, f.Name, f.Value) != want:
			c.find("attribute", r.Index, s.Number, "the attribute %q is not the one that was signed", f.Name)
		}
	}
	for _, f := range s.Fields {
		if !there[f.Name] {
			c.find("attribute", r.Index, s.Number, "the attribute %q is missing in the row", f.Name)
		}
	}
}

func (c *checker) document(ctx context.Context, r notary.Record) error {
	if c.opt.SkipDocuments {
		return nil
	}
	c.res.Documents++
	body, _, err := notary.OpenDocument(ctx, c.objects, r)
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
		c.find("document", r.Index, r.Number, "the stored original has SM3 %s and %d bytes, notarized were %s and %d",
			got, n, r.SM3, r.Size)
	}
	return nil
}
