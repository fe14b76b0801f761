package instance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"stele/crypto/keystore"
	"stele/crypto/pki"
	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/proof/statement"
)

// AgencyRequest describes a new agency.
type AgencyRequest struct {
	Code, Name, Region string
	// Key is that of an agency that keeps the private one at home; nil makes one here.
	Key *sm.PublicKey
}

// AddAgency adds an agency with its certificate and, unless it has one at home, its key, which lies
// encrypted in the database: all servers know it at once.
func (s *Stores) AddAgency(ctx context.Context, req AgencyRequest, now time.Time) (notary.Agency, error) {
	a := notary.Agency{ID: uuid.Must(uuid.NewV7()).String(), Code: req.Code, Name: req.Name, Region: req.Region,
		ExternalKey: req.Key != nil,
		CreatedAt:   now, State: notary.AgencyActive}
	switch {
	case !notary.ValidUSCC(req.Code):
		return a, fmt.Errorf(
			"%q is no unified social credit code (GB 32100): 18 characters with a valid check character", req.Code)
	case !notary.ValidRegion(req.Region):
		return a, fmt.Errorf("%q is no region code (GB/T 2260): six digits", req.Region)
	}
	if err := checkAgencyName(req.Name); err != nil {
		return a, err
	}
	if _, err := s.DB.Log.Agency(ctx, req.Code); err == nil {
		return a, fmt.Errorf("there is an agency with the code %s already", req.Code)
	} else if !errors.Is(err, notary.ErrNotFound) {
		return a, err
	}
	issuer, err := s.issuer(ctx, a)
	if err != nil {
		return a, err
	}
	public, sealed, err := issuer.keyOf(a, req.Key)
	if err != nil {
		return a, err
	}
	chain, _, err := issuer.issue(a, public, now)
	if err != nil {
		return a, err
	}
	if err := s.DB.Log.AddAgency(ctx, a, chain, sealed); err != nil {
		return a, err
	}
	return a, s.writeCertificate(a, chain)
}

func checkAgencyName(name string) error {
	if !notary.ValidLine(name, statement.MaxName) {
		return fmt.Errorf("an agency's name has 1 to %d bytes, %s, and no white space at its ends", statement.MaxName,
			notary.TextRule)
	}
	return nil
}

// keyOf is the public key of a certificate to be issued, and the sealed private one unless the agency
// keeps it at home.
func (i issuer) keyOf(a notary.Agency, home *sm.PublicKey) (*sm.PublicKey, *notary.SealedKey, error) {
	if home != nil {
		return home, nil, nil
	}
	key, err := sm.GenerateKey()
	if err != nil {
		return nil, nil, err
	}
	sealed, err := keystore.Seal(key, i.pass)
	return key.Public(), &notary.SealedKey{AgencyID: a.ID, Public: key.Public().Bytes(), Sealed: sealed}, err
}

// issue makes an agency's certificate, and says when it ends.
func (i issuer) issue(a notary.Agency, key *sm.PublicKey, now time.Time) (chain [][]byte, end time.Time, err error) {
	above, err := pki.Parse(i.chain[0])
	if err != nil {
		return nil, end, err
	}
	start, end := within(above, now, agencyValidity)
	cert, err := pki.Issue(pki.IssueRequest{Profile: pki.Agency, Subject: pki.Name{Country: "CN", Organization: a.Name,
		Code: a.Code}, NotBefore: start, NotAfter: end, PublicKey: key}, i.chain, i.key)
	return append([][]byte{cert}, i.chain...), end, err
}

// within is the validity of a certificate that begins now, a little in the past, under an issuer's.
func within(issuer *pki.Certificate, now time.Time, validity time.Duration) (start, end time.Time) {
	start = now.UTC().Truncate(time.Second).Add(-clockSlack)
	end = start.Add(validity)
	if start.Before(issuer.NotBefore()) {
		start = issuer.NotBefore()
	}
	if end.After(issuer.NotAfter()) {
		end = issuer.NotAfter()
	}
	return start, end
}

// writeCertificate puts an agency's present certificate where people look for it; no program reads
// it. A crash before it leaves the former one there, or none: 'stele agency renew' writes it again.
func (s *Stores) writeCertificate(a notary.Agency, chain [][]byte) error {
	if err := replaceFile(s.Config.keyPath(agencyCertFile(a.ID)), pki.EncodePEM(chain...)); err != nil {
		return fmt.Errorf("everything is done, but the copy of the certificate for people could not be written: %w",
			err)
	}
	return nil
}

// present is the certificate with which an agency signs.
func (s *Stores) present(ctx context.Context, a notary.Agency) (*pki.Certificate, error) {
	chain, err := s.DB.Log.CertificateChain(ctx, a.ID)
	if err != nil {
		return nil, fmt.Errorf("the agency's certificate: %w", err)
	}
	return pki.Parse(chain[0])
}

var (
	errRequestNeeded = errors.New(
		"a certificate request is needed for an agency that keeps its key itself, and for no other")
	errClosed = errors.New("the agency is closed, which is for ever: nothing is signed in its name any more")
)

// RenewAgency issues a new certificate for the key that an agency has and returns when it ends.
// Running servers take it up within seconds. The file beside the keys holds it afterwards: it is where
// people look when a certificate ends.
//
// An agency that keeps its key at home hands in the same key again. Another key is a matter of
// [Stores.RekeyAgency], after which the former certificate signs nothing more.
func (s *Stores) RenewAgency(ctx context.Context, a notary.Agency, home *sm.PublicKey, now time.Time) (time.Time,
	error) {
	if a.State == notary.AgencyClosed {
		return time.Time{}, errClosed
	}
	if a.ExternalKey != (home != nil) {
		return time.Time{}, errRequestNeeded
	}
	former, err := s.present(ctx, a)
	if err != nil {
		return time.Time{}, err
	}
	issuer, err := s.issuer(ctx, a)
	if err != nil {
		return time.Time{}, err
	}
	if home != nil && !home.Equal(former.PublicKey()) {
		return time.Time{}, errors.New("the certificate request is for another key than the agency has: use 'stele " +
			"agency rekey', which ends the former one")
	}
	if home == nil {
		// A certificate for a key that cannot sign helps nobody.
		if _, err := s.agencyKey(ctx, a, former.PublicKey(), issuer.pass); err != nil {
			return time.Time{}, err
		}
	}
	chain, end, err := issuer.issue(a, former.PublicKey(), now)
	if err != nil {
		return time.Time{}, err
	}
	if err := s.DB.Log.AddCertificate(ctx, a.ID, former.Fingerprint(), chain); err != nil {
		return time.Time{}, err
	}
	return end, s.writeCertificate(a, chain)
}

// RekeyRequest is why an agency gets another key.
type RekeyRequest struct {
	Reason notary.EndReason
	Since  time.Time     // from which the former key counts no more; not in the future
	Home   *sm.PublicKey // the new key of an agency that keeps it at home
}

// RekeyAgency gives an agency another key with a certificate; the former certificates sign nothing
// more from the moment at which it returns, on whatever server. The former key is removed from the
// database; what was signed before the given time stays what it is.
func (s *Stores) RekeyAgency(ctx context.Context, a notary.Agency, req RekeyRequest, now time.Time) (time.Time, error) {
	switch {
	case a.State == notary.AgencyClosed:
		return time.Time{}, errClosed
	case a.ExternalKey != (req.Home != nil):
		return time.Time{}, errRequestNeeded
	case req.Since.After(now):
		return time.Time{},
			fmt.Errorf("the former key ends at once: --since is when it stopped to count, and %s is yet to come",
				req.Since.Format(time.RFC3339))
	}
	issuer, err := s.issuer(ctx, a)
	if err != nil {
		return time.Time{}, err
	}
	if err := s.neverHad(ctx, a, req.Home); err != nil {
		return time.Time{}, err
	}
	public, sealed, err := issuer.keyOf(a, req.Home)
	if err != nil {
		return time.Time{}, err
	}
	return s.replaceCertificate(ctx, a, issuer, public, sealed, replacement{since: req.Since, why: req.Reason}, now)
}

// neverHad refuses a key that the agency has had before: its end would mean nothing.
func (s *Stores) neverHad(ctx context.Context, a notary.Agency, key *sm.PublicKey) error {
	if key == nil {
		return nil
	}
	all, err := s.DB.Log.Certificates(ctx, a.ID)
	if err != nil {
		return err
	}
	for _, c := range all {
		if cert, err := pki.Parse(c.Chain[0]); err == nil && cert.PublicKey().Equal(key) {
			return errors.New("the certificate request is for a key that the agency has had before: make another key")
		}
	}
	return nil
}

// RenameAgency gives an agency another name for what is signed from now on, with a certificate that
// says so for the key that it has. Statements of before name it as it was called then.
func (s *Stores) RenameAgency(ctx context.Context, a notary.Agency, name string, now time.Time) (time.Time, error) {
	if a.State == notary.AgencyClosed {
		return time.Time{}, errClosed
	}
	if err := checkAgencyName(name); err != nil {
		return time.Time{}, err
	}
	if name == a.Name {
		return time.Time{}, fmt.Errorf("the agency is called %s already", name)
	}
	cert, err := s.present(ctx, a)
	if err != nil {
		return time.Time{}, err
	}
	issuer, err := s.issuer(ctx, a)
	if err != nil {
		return time.Time{}, err
	}
	a.Name = name
	return s.replaceCertificate(ctx, a, issuer, cert.PublicKey(), nil,
		replacement{name: name, former: cert.Fingerprint(), since: now,
			why: notary.EndRenamed}, now)
}

// replacement is what ends an agency's certificates.
type replacement struct {
	name   string    // the agency's new one, or empty
	former sm.Digest // that is still to be the present one, or zero
	since  time.Time
	why    notary.EndReason
}

// replaceCertificate is one transaction: a crash before it leaves everything as it was.
func (s *Stores) replaceCertificate(ctx context.Context, a notary.Agency, i issuer, public *sm.PublicKey,
	sealed *notary.SealedKey, r replacement, now time.Time) (time.Time, error) {
	chain, end, err := i.issue(a, public, now)
	if err != nil {
		return time.Time{}, err
	}
	if err := s.DB.Log.ReplaceCertificate(ctx, a.ID, r.name, r.former, chain, sealed, r.since, r.why); err != nil {
		return time.Time{}, err
	}
	return end, s.writeCertificate(a, chain)
}

// presentWithPass is an agency's present certificate, and the passphrase that its key is under.
func (s *Stores) presentWithPass(ctx context.Context, a notary.Agency) (cert *pki.Certificate, pass keystore.Secret,
	err error) {
	if pass, err = s.Config.passphrase(); err != nil {
		return nil, pass, err
	}
	cert, err = s.present(ctx, a)
	return cert, pass, err
}

// ExportKey writes an agency's key, encrypted under the instance's passphrase as it is, to a new file.
func (s *Stores) ExportKey(ctx context.Context, a notary.Agency, path string) error {
	if a.ExternalKey {
		return errors.New("the agency keeps its key itself: there is none of it here")
	}
	cert, pass, err := s.presentWithPass(ctx, a)
	if err != nil {
		return err
	}
	if _, err := s.agencyKey(ctx, a, cert.PublicKey(), pass); err != nil {
		return err // a copy of what cannot be opened is none
	}
	k, err := s.DB.Log.SealedKey(ctx, a.ID, cert.PublicKey().Bytes())
	if err != nil {
		return err
	}
	return keystore.WriteSealed(path, k.Sealed)
}

// ImportKey puts the key of an agency's present certificate into the database, from a file under the
// instance's passphrase. A key that is there and can be opened stays as it is.
func (s *Stores) ImportKey(ctx context.Context, a notary.Agency, path string) error {
	if a.ExternalKey {
		return errors.New("the agency keeps its key itself: there is to be none of it here")
	}
	cert, pass, err := s.presentWithPass(ctx, a)
	if err != nil {
		return err
	}
	sealed, err := readAgencyKey(path, cert.PublicKey(), pass)
	if err != nil {
		return err
	}
	k := notary.SealedKey{AgencyID: a.ID, Public: cert.PublicKey().Bytes(), Sealed: sealed}
	old, err := s.DB.Log.SealedKey(ctx, a.ID, k.Public)
	switch {
	case errors.Is(err, notary.ErrNotFound):
		return s.DB.Log.AddSealedKey(ctx, k)
	case err != nil:
		return err
	case keystore.Check(old.Sealed, pass) == nil:
		return nil
	}
	return s.DB.Log.ResealKeys(ctx, []notary.SealedKey{old}, []notary.SealedKey{k})
}

// ListedAgency is an agency with its present certificate.
type ListedAgency struct {
	notary.Agency
	Certificate         sm.Digest // zero without one, as are the times
	NotBefore, NotAfter time.Time
}

// ListAgencies lists all agencies by name.
func (s *Stores) ListAgencies(ctx context.Context) ([]ListedAgency, error) {
	all, err := s.DB.Log.Agencies(ctx)
	if err != nil {
		return nil, err
	}
	present, err := s.DB.Log.PresentCertificates(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]ListedAgency, len(all))
	for i, a := range all {
		out[i].Agency = a
		c, ok := present[a.ID]
		if !ok {
			continue
		}
		cert, err := pki.Parse(c.Chain[0])
		if err != nil {
			return nil, fmt.Errorf("the certificate of agency %s: %w", a.Code, err)
		}
		out[i].Certificate, out[i].NotBefore, out[i].NotAfter = c.Fingerprint, cert.NotBefore(), cert.NotAfter()
	}
	return out, nil
}

// SortByEnd puts agencies first whose certificate ends first; those without one come last.
func SortByEnd(list []ListedAgency) {
	slices.SortStableFunc(list, func(a, b ListedAgency) int {
		switch {
		case a.NotAfter.IsZero() == b.NotAfter.IsZero():
			return a.NotAfter.Compare(b.NotAfter)
		case a.NotAfter.IsZero():
			return 1
		}
		return -1
	})
}
