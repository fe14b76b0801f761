package client

import (
	"context"
	"errors"
	"fmt"
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
	bundles, err := c.lookup(ctx, "sm3", document.SM3.String())
	if err != nil {
		return nil, err
	}
	if len(bundles) == 0 {
		return []Answer{{Report: proof.Missing()}}, nil
	}
	var given []Answer
	var reports []*proof.Report
	for _, b := range bundles {
		a := Answer{Report: proof.Unchecked("the record is not in the log yet")}
		if len(b) > 0 {
			a = Answer{Report: proof.VerifyFile(c.Trust, &document, b), Bundle: b}
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

// lookup asks for the bundles of the records that a digest or a number finds; the bundle of one that is not in
// the log yet is empty.
func (c *Client) lookup(ctx context.Context, by, value string) (bundles [][]byte, err error) {
	var found struct {
		Matches []struct {
			Bundle string
		}
	}
	q := call{method: http.MethodGet, path: "/lookup", query: url.Values{by: {value}}, public: true}
	_, err = c.json(ctx, q, &found)
	for _, m := range found.Matches {
		bundles = append(bundles, []byte(m.Bundle))
	}
	return bundles, err
}

// Refresh asks the service what became of the record that a bundle is of, and returns the bundle with the newest
// evidence: what the log says of the record's standing, and what revoked or replaced it. The attributes that the
// bundle shows stay. It needs trust roots, and no key; the service learns the record's number. A bundle
// that does not hold is an error, one that the service gave an [*EvidenceError].
func (c *Client) Refresh(ctx context.Context, bundle []byte) (*Bundle, error) {
	if c.Trust == nil {
		return nil, errors.New("refreshing a bundle needs trust roots")
	}
	old, err := c.check(bundle, "", nil)
	if wrong := new(EvidenceError); errors.As(err, &wrong) {
		return nil, fmt.Errorf("what was to be refreshed is no bundle that holds: %s", wrong.Reason)
	}
	if err != nil {
		return nil, err
	}
	bundles, err := c.lookup(ctx, "number", old.Number)
	if err != nil {
		return nil, err
	}
	if len(bundles) != 1 || len(bundles[0]) == 0 {
		return nil, &EvidenceError{old.Report, "the service has no bundle of record " + old.Number}
	}
	fresh, err := proof.Refresh(bundle, bundles[0])
	if errors.Is(err, proof.ErrOtherRecord) {
		return nil, &EvidenceError{old.Report, "the service has another record under the number " + old.Number}
	}
	if err != nil {
		return nil, err
	}
	return c.check(fresh, old.Number, nil)
}
