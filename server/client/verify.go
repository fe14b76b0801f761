package client

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"stele/notary/proof"
)

// Answer is what a record says of a document.
type Answer struct {
	Report *proof.Report
	Bundle []byte // what was verified; nil where there was nothing to verify
	// ReplacedBy is the number of the record among the answers that took this one's place.
	ReplacedBy string
}

// Verify asks the service for the records of a document, by its digest, and verifies each
// against the trust roots, which are needed; a key is not. The first answer is the one about the
// document, below it is what else was found, in the order of [proof.Rank], as the API and the
// public page have it. There is always one; without a record it is not_found.
func (c *Client) Verify(ctx context.Context, document proof.File) ([]Answer, error) {
	if c.Trust == nil {
		return nil, errors.New("verifying a document needs trust roots")
	}
	var found struct {
		Matches []struct {
			Bundle string
		}
	}
	q := call{method: http.MethodGet, path: "/lookup", query: url.Values{"sm3": {document.SM3.String()}}, public: true}
	if _, err := c.json(ctx, q, &found); err != nil {
		return nil, err
	}
	if len(found.Matches) == 0 {
		return []Answer{{Report: proof.Missing()}}, nil
	}
	var given []Answer
	var reports []*proof.Report
	for _, m := range found.Matches {
		a := Answer{Report: proof.Unchecked("the record is not in the log yet")}
		if m.Bundle != "" {
			a = Answer{Report: proof.VerifyFile(c.Trust, &document, []byte(m.Bundle)), Bundle: []byte(m.Bundle)}
		}
		if a.Report.Verdict == proof.Altered { // it was found by this digest: a wrong answer says nothing of the file
			a = Answer{Report: proof.Unchecked("the service gave a record of another document")}
		}
		given, reports = append(given, a), append(reports, a.Report)
	}
	var out []Answer
	for _, p := range proof.Rank(reports) {
		a := given[p.At]
		a.ReplacedBy = p.ReplacedBy
		out = append(out, a)
	}
	return out, nil
}
