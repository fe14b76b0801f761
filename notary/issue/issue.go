// Package issue makes the certificate of a record out of what is stored. The API, the public
// page and the evidence package all take it from here, so that a certificate is the same,
// byte for byte, however its holder came by it.
package issue

import (
	"context"
	"errors"
	"time"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/issue/certificate"
	"stele/notary/proof"
	"stele/notary/proof/statement"
	"stele/notary/proof/status"
	"stele/notary/register/class"
)

// Seals keeps the seals of agencies and all that they were before.
//
// SealAt returns the seal that was in force at a time, or [notary.ErrNotFound] where there
// was none. The answer for a time at which a record was issued never changes: a store takes
// a new seal only for times after every record that it holds. It is safe for concurrent use
// and reads what is durable; an error that is not ErrNotFound means that it is out of reach.
type Seals interface {
	SealAt(ctx context.Context, agencyID string, at time.Time) (notary.Seal, error)
}

// Classes finds an agency's document class as it was at a time; see package class. What it
// answers for a time at which a record was issued never changes.
type Classes interface {
	At(ctx context.Context, agencyID, id string, at time.Time) (class.Class, error)
}

// Issuer makes certificates. It is safe for concurrent use.
type Issuer struct {
	trust     *proof.Trust
	seals     Seals
	classes   Classes
	publicURL string
	revoked   Revocations // nil: none is known
}

// Revocations finds the revocation of a certificate with an SM3 of its DER and the entry that says so,
// [notary.ErrNotFound] where there is none. It is safe for concurrent use.
type Revocations interface {
	Revocation(ctx context.Context, certificate sm.Digest) (status.Revocation, statement.Entry, error)
}

// SetRevocations keeps records from being certified whose signer's certificate was revoked before their anchor. It
// is called before the issuer is used.
func (i *Issuer) SetRevocations(r Revocations) { i.revoked = r }

// New returns an issuer. publicURL is where the public page is, see
// [certificate.CheckPublicURL]; it is printed on every certificate.
func New(trust *proof.Trust, seals Seals, classes Classes, publicURL string) (*Issuer, error) {
	return &Issuer{trust: trust, seals: seals, classes: classes, publicURL: publicURL},
		certificate.CheckPublicURL(publicURL)
}

// Issued is a certificate with the report on the bundle inside.
type Issued struct {
	Report      *proof.Report
	Certificate []byte // PDF
}

// Certificate makes the certificate of a record. bundle is the record's, with all attributes
// opened: it goes into the certificate as it is. A record that is not anchored yet gives a
// not_ready error, seals that cannot be read an unavailable one, a record on which no verdict can
// be given ([proof.Report.ExpiredAtAnchor]) a conflict, as does one whose signer's certificate was revoked before
// its anchor: asking again would not help.
//
// Seal and document class are those of the time at which the record was issued. So the
// certificate stays a function of the record: it is the same after the agency has changed them.
func (i *Issuer) Certificate(ctx context.Context, r notary.Record, bundle []byte) (Issued, error) {
	out := Issued{Report: proof.Verify(i.trust, &r.SM3, bundle)}
	if out.Report.ExpiredAtAnchor() {
		return out, notary.Errorf(notary.CodeConflict, "No certificate can be made of this record: the agency's own "+
			"certificate had expired before the record was anchored, so whether it was valid at the signature "+
			"cannot be "+
			"known. Its bundle holds all the evidence that there is. Issue the document again if it is to be "+
			"certified.")
	}
	if err := i.stands(ctx, bundle, out.Report); err != nil {
		return out, err
	}
	in := certificate.Input{Record: r, Bundle: bundle, Report: out.Report, PublicURL: i.publicURL}
	seal, err := i.seals.SealAt(ctx, r.AgencyID, r.IssuedAt)
	if err != nil && !errors.Is(err, notary.ErrNotFound) {
		return out, notary.Wrap(notary.CodeUnavailable, err,
			"The agency's seal cannot be read at the moment; try again.")
	}
	in.Seal, in.Demonstration = seal.PNG, seal.Demonstration
	if in.Class, err = i.class(ctx, r); err != nil {
		return out, err
	}
	out.Certificate, err = certificate.Render(in)
	if errors.Is(err, certificate.ErrNotAnchored) {
		err = notary.Errorf(notary.CodeNotReady,
			"The record is not anchored yet, and a certificate is made once it is; ask again in a second.")
	}
	return out, err
}

// stands refuses a record whose signer's certificate was revoked before its anchor.
func (i *Issuer) stands(ctx context.Context, bundle []byte, report *proof.Report) error {
	at := report.Headline()
	if i.revoked == nil || at == nil {
		return nil
	}
	b, err := proof.ParseBundle(bundle)
	if err != nil {
		return err
	}
	r, _, err := i.revoked.Revocation(ctx, sm.Sum(b.Certificates[0]))
	if errors.Is(err, notary.ErrNotFound) {
		return nil
	}
	if err != nil {
		return notary.Wrap(notary.CodeUnavailable, err, "The record store cannot be reached; try again.")
	}
	if anchored, err := time.Parse(time.RFC3339, at.Time); err != nil || !anchored.Before(r.Since) {
		return notary.Errorf(notary.CodeConflict, "No certificate can be made of this record: the agency's own "+
			"certificate is revoked since %s, and the record was not anchored before. Its bundle holds all the "+
			"evidence "+
			"that there is. Issue the document again if it is to be certified.", r.Since.Format(time.RFC3339))
	}
	return nil
}

// class is what the record's document class wants printed; nil where the agency had none.
func (i *Issuer) class(ctx context.Context, r notary.Record) (*certificate.Class, error) {
	c, err := i.classes.At(ctx, r.AgencyID, r.Class, r.IssuedAt)
	// none, or one that the agency never took over
	if notary.CodeOf(err) == notary.CodeNotFound || err == nil && c.From.IsZero() {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s, err := class.ParseSchema(c.Schema)
	if err != nil {
		return nil, err
	}
	out := &certificate.Class{Name: c.Name}
	for _, name := range c.Print {
		for _, p := range s.Properties {
			if p.Name == name {
				out.Print = append(out.Print, certificate.Printed{Attribute: name, Title: p.Title})
			}
		}
	}
	return out, nil
}
