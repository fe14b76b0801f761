package instance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"stele/crypto/keystore"
	"stele/crypto/pki"
	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/proof/statement"
	"stele/notary/register/intake"
)

// signers keeps agencies' signers, whose keys take 0.1 s to open, and looks in the database every
// two seconds whether one is still the agency's: a new agency, certificate or key needs no restart.
// What was decided in those two seconds the intake's transaction finds. It is safe for concurrent use.
type signers struct {
	stores *Stores
	pass   keystore.Secret

	mu    sync.Mutex
	known map[string]agencySigner // guarded by mu
}

// believed is how long a signer is used without a look whether it is still the agency's.
const believed = 2 * time.Second

// agencySigner is a signer with the time in which its certificate is valid. A statement
// signed outside of it could never be proven.
type agencySigner struct {
	*intake.Signer
	notBefore, notAfter time.Time
	checked             time.Time
}

func (in *Instance) newSigners(pass keystore.Secret) *signers {
	return &signers{stores: in.Stores, pass: pass, known: map[string]agencySigner{}}
}

// find implements [intake.Signers].
func (s *signers) find(agencyID string) (*intake.Signer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	known, ok := s.known[agencyID]
	if !ok || now.Sub(known.checked) >= believed || now.Before(known.checked) {
		var err error
		if known, err = s.look(agencyID, known, now); err != nil {
			return nil, err
		}
		s.known[agencyID] = known
	}
	if now.Before(known.notBefore) || !now.Before(known.notAfter) {
		return nil, notary.Wrap(notary.CodeCertificateExpired,
			fmt.Errorf("the certificate of agency %s is valid from %s to %s: renew it with 'stele agency renew'",
				known.Agency.Code, known.notBefore.Format(time.RFC3339), known.notAfter.Format(time.RFC3339)),
			"The agency's certificate has expired, and nothing can be signed in its name until the operator of this "+
				"service renews it. Nothing was saved.").After(expiredWait)
	}
	return known.Signer, nil
}

// lookTimeout bounds a look in the database.
const lookTimeout = 5 * time.Second

// expiredWait is when a client whose agency's certificate has expired may try again: a person has to renew it.
const expiredWait = 10 * time.Minute

// forget implements Forget of [intake.Options].
func (s *signers) forget(agencyID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.known[agencyID]; ok {
		known.checked = time.Time{}
		s.known[agencyID] = known
	}
}

// look finds out whether a signer is still the agency's, and loads another one if it is not. While
// the database does not answer the known one stays: it decides when it is asked to write.
func (s *signers) look(agencyID string, known agencySigner, now time.Time) (agencySigner, error) {
	ctx, cancel := context.WithTimeout(context.Background(), lookTimeout)
	defer cancel()
	state, present, err := s.stores.DB.Log.SigningState(ctx, agencyID)
	switch {
	case err != nil && known.Signer != nil:
		known.checked = now
		return known, nil
	case err != nil:
		return known, fmt.Errorf("agency %s: %w", agencyID, err)
	}
	if err := state.Refusal(); err != nil {
		return known, err
	}
	if present == (sm.Digest{}) {
		return known, notary.Errorf(notary.CodeCertificateExpired, "The agency's certificate was revoked, and nothing "+
			"can be signed in its name until the operator of this service gives it another key. Nothing was saved.").
			After(expiredWait)
	}
	if known.Signer == nil || present != known.Certificate {
		if known, err = s.load(ctx, agencyID); errors.Is(err, errUnfit) {
			known, err = s.load(ctx, agencyID) // it was renamed between the two looks, perhaps
		}
		if err != nil {
			return known, err
		}
	}
	known.checked = time.Now() // the look may have taken long
	return known, nil
}

// errUnfit: what an agency's certificate says of it is not what the database says. A statement under
// such a certificate could never be proven.
var errUnfit = errors.New("certificate and agency do not fit each other")

func (s *signers) load(ctx context.Context, agencyID string) (agencySigner, error) {
	ag, err := s.stores.DB.Log.Agency(ctx, agencyID)
	if err != nil {
		return agencySigner{}, fmt.Errorf("agency %s: %w", agencyID, err)
	}
	certs, err := s.stores.DB.Log.CertificateChain(ctx, agencyID)
	if err != nil {
		return agencySigner{}, fmt.Errorf("certificate of agency %s: %w", agencyID, err)
	}
	cert, err := pki.Parse(certs[0])
	if err != nil {
		return agencySigner{}, fmt.Errorf("certificate of agency %s: %w", agencyID, err)
	}
	if n := cert.Subject(); n.Code != ag.Code || n.Organization != ag.Name {
		return agencySigner{},
			fmt.Errorf("%w: the certificate of agency %s is for %q, the agency is called %q. If the database was "+
				"restored, what was decided about agencies since must be done again: 'stele agency rename'", errUnfit,
				ag.Code,
				n.Organization, ag.Name)
	}
	signer := &intake.Signer{AgencyID: agencyID, Agency: statement.Agency{Code: ag.Code, Name: ag.Name},
		Region:      ag.Region,
		Certificate: sm.Sum(certs[0]), Key: cert.PublicKey()}
	if !ag.ExternalKey {
		key, err := s.stores.agencyKey(ctx, ag, cert.PublicKey(), s.pass)
		if err != nil {
			return agencySigner{}, err
		}
		signer.Sign = key.Sign
	}
	return agencySigner{Signer: signer, notBefore: cert.NotBefore(), notAfter: cert.NotAfter()}, nil
}

// agencyKey opens the key of an agency's certificate.
func (s *Stores) agencyKey(ctx context.Context, a notary.Agency, public *sm.PublicKey, pass keystore.Secret) (
	*sm.PrivateKey, error) {
	sealed, err := s.sealedKey(ctx, a, public, pass)
	if err != nil {
		return nil, err
	}
	key, err := keystore.Open(sealed.Sealed, pass)
	if err != nil {
		return nil, fmt.Errorf("key of agency %s: %w", a.Code, err)
	}
	if !key.Public().Equal(public) {
		return nil, fmt.Errorf("key of agency %s: the database holds another key than the certificate names", a.Code)
	}
	return key, nil
}

// sealedKey finds the sealed key of an agency's certificate. One of before keys were in the
// database is taken over from its file.
func (s *Stores) sealedKey(ctx context.Context, a notary.Agency, public *sm.PublicKey, pass keystore.Secret) (
	notary.SealedKey, error) {
	k, err := s.DB.Log.SealedKey(ctx, a.ID, public.Bytes())
	if !errors.Is(err, notary.ErrNotFound) {
		return k, err
	}
	path := s.Config.keyPath(agencyKeyFile(a.ID))
	sealed, err := readAgencyKey(path, public, pass)
	if errors.Is(err, fs.ErrNotExist) {
		return k, fmt.Errorf("key of agency %s: it is neither in the database nor in %s: bring it back with 'stele "+
			"agency import-key', "+
			"or give the agency another one with 'stele agency rekey'", a.Code, path)
	}
	if err != nil {
		return k, fmt.Errorf("key of agency %s: %w", a.Code, err)
	}
	k = notary.SealedKey{AgencyID: a.ID, Public: public.Bytes(), Sealed: sealed}
	// A crash after this leaves the key in both places, as does everything else: the file stays until a
	// person removes it, and nothing reads it again.
	if err := s.DB.Log.AddSealedKey(ctx, k); err != nil {
		return k, err
	}
	return s.DB.Log.SealedKey(ctx, a.ID, public.Bytes()) // another server may have been first
}

// readAgencyKey reads a key file as it is, once it is sure that the passphrase opens it and that it
// holds the private half of the key.
func readAgencyKey(path string, public *sm.PublicKey, pass keystore.Secret) ([]byte, error) {
	key, err := keystore.Load(path, pass)
	if err != nil {
		return nil, err
	}
	if !key.Public().Equal(public) {
		return nil, fmt.Errorf("%s holds another key than the one of the agency's certificate", path)
	}
	return keystore.ReadSealed(path)
}
