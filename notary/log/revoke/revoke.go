// Package revoke carries the revocation of agencies' certificates between the service and the machine that has the
// root key: a request goes there, and comes back signed. Both are one JSON document, which people can read.
//
// The root signs each revocation as an entry of the log (package status). Other programs get a certificate revocation
// list (RFC 5280), which names all that were revoked before as well and is signed by whoever issued the certificates:
// the root, or an authority below it, whose key is where the service is.
//
// The package does no I/O.
package revoke

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"stele/crypto/pki"
	"stele/crypto/sm"
	"stele/notary/proof/statement"
	"stele/notary/proof/status"
)

// Format is the value of the document's first key.
const Format = "stele/revocation-request/v1"

// MaxSize is the longest document in bytes: one with a list of some 10,000 certificates.
const MaxSize = 8 << 20

// MaxCertificates is how many certificates one document revokes at most.
const MaxCertificates = 100

// ErrDocument is wrapped by errors about a document that is not what it should be.
var ErrDocument = errors.New("no request for a revocation that can be used")

// Request is what a root is to sign, and its signatures once it has.
type Request struct {
	Format string `json:"format"`
	Root   []byte `json:"root"` // DER
	// Authority is the certificate (DER) of the authority below the root that issued the certificates and signs the
	// list; empty where the root did and does.
	Authority   []byte       `json:"authority,omitempty"`
	Revocations []Revocation `json:"revocations"`
	List        List         `json:"list"`
}

// Revocation is that of one certificate.
type Revocation struct {
	Certificate []byte `json:"certificate"`         // DER
	Statement   string `json:"statement"`           // see [status.CertificateRevocation]
	Signature   []byte `json:"signature,omitempty"` // DER, by the root
}

// List is the certificate revocation list.
type List struct {
	Number     uint64    `json:"number"`
	ThisUpdate time.Time `json:"thisUpdate"`
	NextUpdate time.Time `json:"nextUpdate"`
	Revoked    []Revoked `json:"revoked"`
	DER        []byte    `json:"der,omitempty"`
	DERNoID    []byte    `json:"derNoId,omitempty"` // see [pki.SignedList]
}

// Revoked is a certificate on the list.
type Revoked struct {
	Serial string    `json:"serial"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
}

func (l List) says() pki.RevocationList {
	out := pki.RevocationList{Number: l.Number, ThisUpdate: l.ThisUpdate, NextUpdate: l.NextUpdate}
	for _, r := range l.Revoked {
		out.Revoked = append(out.Revoked, pki.Revoked(r))
	}
	return out
}

func (l List) signed() pki.SignedList { return pki.SignedList{Standard: l.DER, NoID: l.DERNoID} }

// New makes a request that revokes certificates of an agency, or none, where the list is only to be renewed. issuers
// are the certificates above them, the root last. last is the list before, whose number is 0 where there was none.
func New(issuers, certificates [][]byte, said status.CertificateRevocation, last pki.RevocationList,
	next time.Time) (Request, error) {
	var authority []byte
	switch len(issuers) {
	case 1:
	case 2:
		authority = issuers[0]
	default:
		return Request{}, fmt.Errorf("%w: the root and at most one authority below it are expected", ErrDocument)
	}
	r := Request{Format: Format, Root: issuers[len(issuers)-1], Authority: authority,
		List: List{Number: last.Number + 1, ThisUpdate: said.IssuedAt,
			NextUpdate: next.UTC().Truncate(time.Second), Revoked: []Revoked{}}, Revocations: []Revocation{}}
	for _, before := range last.Revoked {
		r.List.Revoked = append(r.List.Revoked, Revoked(before))
	}
	for _, der := range certificates {
		c, err := pki.Parse(der)
		if err != nil {
			return r, err
		}
		said.Certificate = c.Fingerprint()
		text, err := said.Encode()
		if err != nil {
			return r, err
		}
		r.Revocations = append(r.Revocations, Revocation{Certificate: der, Statement: string(text)})
		r.List.Revoked = append(r.List.Revoked, Revoked{Serial: c.SerialNumber(), At: said.IssuedAt,
			Reason: said.Reason, Since: said.Since})
	}
	return r, r.Check()
}

// Encode is the document.
func (r Request) Encode() ([]byte, error) {
	out, err := json.MarshalIndent(r, "", "  ")
	return append(out, '\n'), err
}

// Parse reads a document and checks it by [Request.Check].
func Parse(data []byte) (r Request, err error) {
	if len(data) > MaxSize {
		return r, fmt.Errorf("%w: it has more than %d bytes", ErrDocument, MaxSize)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return r, fmt.Errorf("%w: %v", ErrDocument, err)
	}
	if d.More() {
		return r, fmt.Errorf("%w: something follows it", ErrDocument)
	}
	return r, r.Check()
}

// Check refuses what holds no water: a root signs by it whatever it says.
func (r Request) Check() error {
	if r.Format != Format || len(r.Revocations) > MaxCertificates {
		return fmt.Errorf("%w: format %q and at most %d certificates are expected", ErrDocument, Format,
			MaxCertificates)
	}
	if _, err := pki.VerifyRoot(r.Root); err != nil {
		return fmt.Errorf("%w: root: %w", ErrDocument, err)
	}
	if r.Authority != nil {
		if _, err := pki.VerifyAuthority(r.Authority, r.Root); err != nil {
			return fmt.Errorf("%w: authority: %w", ErrDocument, err)
		}
	}
	for i := range r.Revocations {
		if err := r.checkRevocation(i); err != nil {
			return fmt.Errorf("%w: certificate %d: %w", ErrDocument, i+1, err)
		}
	}
	serials := map[string]bool{}
	for _, l := range r.List.Revoked {
		if serials[l.Serial] {
			return fmt.Errorf("%w: the list has the certificate %s twice", ErrDocument, l.Serial)
		}
		serials[l.Serial] = true
	}
	if r.List.Number == 0 || !r.List.NextUpdate.After(r.List.ThisUpdate) {
		return fmt.Errorf("%w: the list needs a number from 1, and a next update after it was made", ErrDocument)
	}
	return nil
}

func (r Request) checkRevocation(i int) error {
	one := r.Revocations[i]
	said, err := status.ParseCertificateRevocation([]byte(one.Statement))
	if err != nil {
		return err
	}
	c, err := pki.Parse(one.Certificate)
	if err != nil {
		return err
	}
	chain := append([][]byte{one.Certificate}, r.Issuers()...)
	if _, err := pki.VerifyChain(chain, [][]byte{r.Root}, c.NotBefore(), pki.Agency); err != nil {
		return fmt.Errorf("%s did not issue it to an agency: %w", r.lister(), err)
	}
	listed := Revoked{Serial: c.SerialNumber(), At: said.IssuedAt, Reason: said.Reason, Since: said.Since}
	switch {
	case said.Certificate != c.Fingerprint() || said.Agency != c.Code():
		return errors.New("the statement is about another one")
	case !slices.ContainsFunc(r.List.Revoked,
		func(l Revoked) bool { return pki.Revoked(l).Equal(pki.Revoked(listed)) }):
		return errors.New("the list does not say the same")
	}
	return nil
}

// Lines say for a person what the root signs.
func (r Request) Lines() []string {
	var out []string
	for _, one := range r.Revocations {
		said, err := status.ParseCertificateRevocation([]byte(one.Statement))
		c, err2 := pki.Parse(one.Certificate)
		if errors.Join(err, err2) != nil {
			continue // of no request that passed its check
		}
		out = append(out, fmt.Sprintf("the root revokes the certificate of %s (%s), valid from %s to %s, serial "+
			"number %s, SM3 %s: %s, what it signed counts until %s", c.Subject().Organization, c.Code(),
			c.NotBefore().Format(time.DateOnly), c.NotAfter().Format(time.DateOnly), c.SerialNumber(),
			said.Certificate, said.Reason, said.Since.Format(time.RFC3339)))
	}
	return append(out, fmt.Sprintf("%s signs revocation list %d with %d certificates, to be renewed before %s",
		r.lister(), r.List.Number, len(r.List.Revoked), r.List.NextUpdate.Format(time.RFC3339)))
}

// Issuers are the certificates above those that are revoked, the root last.
func (r Request) Issuers() [][]byte {
	if r.Authority == nil {
		return [][]byte{r.Root}
	}
	return [][]byte{r.Authority, r.Root}
}

// lister is how sentences call who signs the list.
func (r Request) lister() string {
	if c, err := pki.Parse(r.Authority); r.Authority != nil && err == nil {
		return "the authority " + c.Subject().CommonName
	}
	return "the root"
}

// Sign returns the request with the root's signatures; that of the list is the authority's where there is one, see
// [Request.SignList].
func (r Request) Sign(root []byte, key *sm.PrivateKey) (Request, error) {
	if !bytes.Equal(root, r.Root) {
		return r, fmt.Errorf("%w: it is for another root, with the SM3 %s; this one has %s", ErrDocument,
			sm.Sum(r.Root),
			sm.Sum(root))
	}
	r.Revocations = slices.Clone(r.Revocations)
	var err error
	for i := range r.Revocations {
		one := &r.Revocations[i]
		if one.Signature, err = key.Sign([]byte(one.Statement)); err != nil {
			return r, err
		}
	}
	if r.Authority != nil {
		return r, nil
	}
	return r.SignList(key)
}

// SignList returns the request with the list, signed with the key of whoever issued the certificates.
func (r Request) SignList(key *sm.PrivateKey) (Request, error) {
	list, err := pki.NewRevocationList(r.List.says(), r.Issuers()[0], key)
	r.List.DER, r.List.DERNoID = list.Standard, list.NoID
	return r, err
}

// Verify checks the signatures of a request that was signed, under the root that it names, and returns the entries
// of the log that come of it.
func (r Request) Verify() ([]statement.Entry, error) {
	out := make([]statement.Entry, len(r.Revocations))
	for i, one := range r.Revocations {
		out[i] = status.RevocationEntry([]byte(one.Statement), one.Signature, r.Root)
		if _, err := status.VerifyRevocation(out[i], [][]byte{r.Root}); err != nil {
			return nil, fmt.Errorf("%w: certificate %d: %w", ErrDocument, i+1, err)
		}
	}
	list, err := pki.ParseRevocationList(r.List.signed(), r.Issuers()[0])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDocument, err)
	}
	if !list.Equal(r.List.says()) {
		return nil, fmt.Errorf("%w: the list that was signed is not the one that the request describes", ErrDocument)
	}
	return out, nil
}
