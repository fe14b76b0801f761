package instance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"time"

	"stele/crypto/keystore"
	"stele/crypto/pki"
	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/log/revoke"
	"stele/notary/log/tail"
	"stele/notary/proof/status"
	"stele/storage/sqldb"
)

// ListValidity is how long a certificate revocation list says that it is the newest: the root, which signs it,
// is brought from where it is kept for each.
const ListValidity = 366 * 24 * time.Hour

// RevokeRequest says which certificate of an agency ends, and why.
type RevokeRequest struct {
	Certificate sm.Digest // zero: the only one that the agency has had
	Reason      string    // one of [status.Reasons]
	Since       time.Time // what was signed and not anchored before does not count
}

// RequestRevocation makes what the root is to sign: a request for each authority that issued one of the certificates,
// since each signs a list of its own. If the key was compromised, all certificates of it are revoked.
func (s *Stores) RequestRevocation(ctx context.Context, a notary.Agency, req RevokeRequest, now time.Time) (
	[]revoke.Request, error) {
	all, err := s.DB.Log.Certificates(ctx, a.ID)
	if err != nil {
		return nil, err
	}
	chain, err := chosen(all, req.Certificate)
	if err != nil {
		return nil, err
	}
	chains := [][][]byte{chain}
	if req.Reason == status.KeyCompromise { // what is left of them, where a revocation got half through
		if chains, err = s.ofTheSameKey(ctx, all, chain); err != nil {
			return nil, err
		}
	} else if _, _, err := s.DB.Log.Revocation(ctx, sm.Sum(chain[0])); err == nil {
		chains = nil
	} else if !errors.Is(err, notary.ErrNotFound) {
		return nil, err
	}
	if len(chains) == 0 {
		return nil, fmt.Errorf("the certificate %s is revoked already", sm.Sum(chain[0]))
	}
	said := status.CertificateRevocation{Agency: a.Code, Reason: req.Reason,
		Since: req.Since.UTC().Truncate(time.Second), IssuedAt: now.UTC().Truncate(time.Second)}
	var out []revoke.Request
	for len(chains) > 0 {
		issuers := chains[0][1:]
		var certificates [][]byte
		chains = slices.DeleteFunc(chains, func(c [][]byte) bool {
			same := bytes.Equal(c[1], issuers[0])
			if same {
				certificates = append(certificates, c[0])
			}
			return same
		})
		last, err := s.lastList(ctx, issuers[0])
		if err != nil {
			return nil, err
		}
		r, err := revoke.New(issuers, certificates, said, last, now.Add(ListValidity))
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// chosen is the chain of the certificate with a fingerprint.
func chosen(all []notary.Certificate, fingerprint sm.Digest) ([][]byte, error) {
	if fingerprint == (sm.Digest{}) && len(all) == 1 {
		return all[0].Chain, nil
	}
	listed := ""
	for _, c := range all {
		if c.Fingerprint == fingerprint {
			return c.Chain, nil
		}
		cert, err := pki.Parse(c.Chain[0])
		if err != nil {
			return nil, err
		}
		listed += fmt.Sprintf("\n  %s from %s to %s", c.Fingerprint, cert.NotBefore().Format(time.DateOnly),
			cert.NotAfter().Format(time.DateOnly))
		if !c.EndedAt.IsZero() {
			listed += ", ended: " + string(c.EndedReason)
		}
	}
	return nil, fmt.Errorf("which certificate? Say --certificate with one of these:%s", listed)
}

// ofTheSameKey are the chains of an agency's certificates of the key of one of them, as far as they are not revoked.
func (s *Stores) ofTheSameKey(ctx context.Context, all []notary.Certificate, chain [][]byte) ([][][]byte, error) {
	one, err := pki.Parse(chain[0])
	if err != nil {
		return nil, err
	}
	var out [][][]byte
	for _, c := range all {
		cert, err := pki.Parse(c.Chain[0])
		if err != nil {
			return nil, err
		}
		if !cert.PublicKey().Equal(one.PublicKey()) {
			continue
		}
		if _, _, err := s.DB.Log.Revocation(ctx, c.Fingerprint); errors.Is(err, notary.ErrNotFound) {
			out = append(out, c.Chain)
		} else if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// RequestList makes what an authority is to sign for a revocation list that says what its last one did, and is valid
// for longer. issuer is the SM3 of its certificate; the present root where it is zero.
func (s *Stores) RequestList(ctx context.Context, issuer sm.Digest, now time.Time) (revoke.Request, error) {
	all, err := s.Config.Authorities()
	if err != nil {
		return revoke.Request{}, err
	}
	i := slices.IndexFunc(all, func(a Authority) bool {
		return issuer == sm.Sum(a.Chain[0]) || issuer == (sm.Digest{}) && a.Region == "" && !a.Former
	})
	if i < 0 {
		return revoke.Request{}, errors.New("the key folder has no root and no authority with this certificate: see " +
			"'stele authority list'")
	}
	last, err := s.lastList(ctx, all[i].Chain[0])
	if err != nil {
		return revoke.Request{}, err
	}
	said := status.CertificateRevocation{IssuedAt: now.UTC().Truncate(time.Second)}
	return revoke.New(all[i].Chain, nil, said, last, now.Add(ListValidity))
}

// lastList is the newest list of an authority, of number 0 where there is none.
func (s *Stores) lastList(ctx context.Context, issuer []byte) (pki.RevocationList, error) {
	l, err := s.DB.Log.RevocationList(ctx, sm.Sum(issuer))
	if errors.Is(err, notary.ErrNotFound) {
		return pki.RevocationList{}, nil
	}
	if err != nil {
		return pki.RevocationList{}, err
	}
	return pki.ParseRevocationList(l.SignedList, issuer)
}

// SubmitRevocation takes a request that the root has signed: its revocations become entries of the log, and the
// certificates sign nothing more from the moment at which it returns, on whatever server. It returns the index of the
// first entry. The same request a second time is refused, since its list is not the next one any more.
func (s *Stores) SubmitRevocation(ctx context.Context, r revoke.Request, now time.Time) (first uint64, err error) {
	if !s.trusts(r.Root) {
		return 0, fmt.Errorf("the root with the SM3 %s is none of this instance's trust roots", sm.Sum(r.Root))
	}
	entries, err := r.Verify()
	if err != nil {
		return 0, err
	}
	if r.List.ThisUpdate.After(now.Add(clockSlack)) || !r.List.NextUpdate.After(now) {
		return 0, fmt.Errorf("the list is valid from %s to %s, and it is %s now",
			r.List.ThisUpdate.Format(time.RFC3339),
			r.List.NextUpdate.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	issuer := r.Issuers()[0]
	last, err := s.lastList(ctx, issuer)
	if err != nil {
		return 0, err
	}
	if r.List.Number != last.Number+1 {
		return 0, sqldb.ErrListed
	}
	for i, before := range last.Revoked {
		if i >= len(r.List.Revoked) || !before.Equal(pki.Revoked(r.List.Revoked[i])) {
			return 0, sqldb.ErrListed
		}
	}
	if len(r.List.Revoked) != len(last.Revoked)+len(entries) {
		return 0, errors.New("the list has certificates that nothing in the request revokes")
	}
	var keys [][]byte
	for i, e := range entries {
		if _, _, err := s.DB.Log.Chain(ctx, sm.Sum(r.Revocations[i].Certificate)); err != nil {
			return 0, fmt.Errorf("certificate %d of the request: %w", i+1, err)
		}
		said, err := status.ParseCertificateRevocation(e.Statement)
		if err != nil {
			return 0, err
		}
		cert, err := pki.Parse(r.Revocations[i].Certificate)
		if err != nil {
			return 0, err
		}
		if said.Reason == status.KeyCompromise {
			keys = append(keys, cert.PublicKey().Bytes())
		}
	}
	list := sqldb.RevocationList{Issuer: sm.Sum(issuer), Number: r.List.Number,
		SignedList: pki.SignedList{Standard: r.List.DER, NoID: r.List.DERNoID}}
	// A crash after it leaves entries that are received, as any: the sequencer of a server logs them, and the tail's
	// background work keeps them.
	if first, err = s.DB.Log.RevokeCertificates(ctx, entries, list, keys); err == nil && len(entries) > 0 {
		s.keepInTail(ctx, first, first+uint64(len(entries)))
	}
	return first, err
}

// keepInTail has the tail hold entries that no server received, before somebody is told that they are there. What
// fails is made up for by the servers, each of which looks every ten seconds.
func (s *Stores) keepInTail(ctx context.Context, first, end uint64) {
	pass, err := s.Config.passphrase()
	if err != nil || s.Config.TailKeep == 0 {
		return
	}
	key, err := keystore.Load(s.Config.keyPath(fileWebhookKey), pass)
	if err != nil {
		return
	}
	t := tail.New(s.DB.Log, s.Objects, tail.Options{Sealer: tail.NewSealer(key, s.id.ID), Keep: s.Config.TailKeep,
		Now: time.Now, Log: slog.New(slog.DiscardHandler), From: first})
	t.PutStored(ctx, first, end)
}

// SignHere signs a request with the keys of the root and of the authority below it, where the key folder has them.
func (s *Stores) SignHere(ctx context.Context, r revoke.Request) (revoke.Request, error) {
	if len(r.Revocations) > 0 || r.Authority == nil {
		i, err := s.Config.openByCertificate(ctx, r.Root)
		if err != nil {
			return r, err
		}
		if r, err = r.Sign(r.Root, i.key); err != nil {
			return r, err
		}
	}
	return s.SignListHere(ctx, r)
}

// firstList is the list of a new instance, on which there is no certificate; nil where the root key is kept
// elsewhere.
func (c Config) firstList(pass keystore.Secret, now time.Time) (*sqldb.RevocationList, error) {
	if _, err := os.Stat(c.keyPath(fileRootKey)); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	root, err := c.rootCert()
	if err != nil {
		return nil, err
	}
	key, err := c.rootKey(pass)
	if err != nil {
		return nil, err
	}
	list, err := emptyList(root, key, now)
	return &list, err
}

// RevocationList implements [api.RevocationLists].
func (s *Stores) RevocationList(ctx context.Context, root *sm.Digest) (pki.SignedList, error) {
	of := sm.Sum(s.presentRoot())
	if root != nil {
		of = *root
	}
	l, err := s.DB.Log.RevocationList(ctx, of)
	return l.SignedList, err
}

// beginList makes the first revocation list of an issuer, on which there is no certificate, if it has none.
func (s *Stores) beginList(ctx context.Context, of []byte, key *sm.PrivateKey, now time.Time) error {
	if _, err := s.DB.Log.RevocationList(ctx, sm.Sum(of)); !errors.Is(err, notary.ErrNotFound) {
		return err
	}
	list, err := emptyList(of, key, now)
	if err != nil {
		return err
	}
	_, err = s.DB.Log.RevokeCertificates(ctx, nil, list, nil)
	return err
}

func emptyList(of []byte, key *sm.PrivateKey, now time.Time) (sqldb.RevocationList, error) {
	now = now.UTC().Truncate(time.Second)
	signed, err := pki.NewRevocationList(pki.RevocationList{Number: 1, ThisUpdate: now,
		NextUpdate: now.Add(ListValidity)}, of, key)
	return sqldb.RevocationList{Issuer: sm.Sum(of), Number: 1, SignedList: signed}, err
}

// SignListHere has the authority below the root sign a request's list, whose key is in the key folder. A list of the
// root is signed by [Stores.SignHere].
func (s *Stores) SignListHere(ctx context.Context, r revoke.Request) (revoke.Request, error) {
	if r.Authority == nil || r.List.DER != nil {
		return r, nil
	}
	i, err := s.Config.openByCertificate(ctx, r.Authority)
	if err != nil {
		return r, err
	}
	return r.SignList(i.key)
}

// listsEnd is the earliest time at which the newest revocation list of one of these issuers says that there is a newer
// one; zero where none of them has a list that can be read now.
func (s *Stores) listsEnd(ctx context.Context, issuers [][]byte) time.Time {
	var first time.Time
	for _, der := range issuers {
		l, err := s.lastList(ctx, der)
		if err == nil && l.Number > 0 && (first.IsZero() || l.NextUpdate.Before(first)) {
			first = l.NextUpdate
		}
	}
	return first
}

// issuersOf are all trust roots, and the authorities below them that issued certificates.
func (s *Stores) issuersOf(certificates map[string]notary.Certificate) [][]byte {
	out := slices.Clone(s.Trust.Certificates())
	for _, c := range certificates {
		issuer := c.Chain[1]
		if !hasBytes(out, issuer) {
			out = append(out, issuer)
		}
	}
	return out
}
