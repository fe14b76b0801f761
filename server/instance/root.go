package instance

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"stele/crypto/keystore"
	"stele/crypto/pki"
	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/proof"
	"stele/notary/proof/trustfile"
)

// Files of a root that is to follow.
const (
	fileNextRootKey  = "root-next.key"
	fileNextRootCert = "root-next.crt"
)

// SuccessionsPath is where the successions of the instance's roots lie, beside the trust roots.
func (c Config) SuccessionsPath() string { return c.path("successions.json") }

// Successions are those of the instance's roots, the oldest first, as they were when they were first asked for.
func (s *Stores) Successions() ([]trustfile.SignedSuccession, error) { return s.successions() }

func (c Config) readSuccessions() ([]trustfile.SignedSuccession, error) {
	text, err := os.ReadFile(c.SuccessionsPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return trustfile.ParseSuccessions(text)
}

// RootScope is for whom the roots of an instance speak. Empty lists stand for the regions of registration of all its
// agencies, by two digits.
type RootScope struct{ Codes, Regions []string }

// NextRoot makes the root that is to follow the present one, if there is none yet, and a succession that it has
// signed, as has the present root where the key folder has its key. Nothing is issued with it before the switch.
//
// A crash after the key leaves it alone, and asked again this makes the certificate.
func (s *Stores) NextRoot(ctx context.Context, scope RootScope, now time.Time) (trustfile.SignedSuccession, error) {
	var out trustfile.SignedSuccession
	former, err := s.Config.rootCert()
	if err != nil {
		return out, err
	}
	if scope, err = s.rootScope(ctx, scope); err != nil {
		return out, err
	}
	root, key, err := s.nextRoot(former, now)
	if err != nil {
		return out, err
	}
	out.Statement = trustfile.Succession{Former: sm.Sum(former), Root: root, Codes: scope.Codes,
		Regions: scope.Regions, Logs: []string{s.id.Origin}, At: now.UTC().Truncate(time.Second)}.Encode()
	if _, err := trustfile.ParseSuccession(out.Statement); err != nil {
		return out, err
	}
	if out.Signature, err = key.Sign(out.Statement); err != nil {
		return out, err
	}
	i, err := s.Config.openByCertificate(ctx, former)
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil // it is kept elsewhere, and signs there
	}
	if err != nil {
		return out, err
	}
	out.FormerSignature, err = i.key.Sign(out.Statement)
	return out, err
}

// nextRoot reads or makes the root to come.
func (s *Stores) nextRoot(former []byte, now time.Time) ([]byte, *sm.PrivateKey, error) {
	c := s.Config
	pass, err := c.passphrase()
	if err != nil {
		return nil, nil, err
	}
	key, err := loadOrMake(c, fileNextRootKey, pass, "the next root's key")
	if err != nil {
		return nil, nil, err
	}
	if certs, err := readCertificates(c.keyPath(fileNextRootCert), 1); err == nil {
		return certs[0], key, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	above, err := pki.Parse(former)
	if err != nil {
		return nil, nil, err
	}
	organization := above.Subject().Organization
	start := now.UTC().Truncate(time.Second).Add(-clockSlack)
	root, err := pki.NewRoot(pki.RootRequest{Subject: pki.Name{Country: "CN", Organization: organization,
		CommonName: fmt.Sprintf("%s Root CA G%d", organization, len(s.Trust.Roots)+1)}, NotBefore: start,
		NotAfter: start.Add(rootValidity), Intermediates: authorityLevels}, key)
	if err != nil {
		return nil, nil, err
	}
	return root, key, replaceFile(c.keyPath(fileNextRootCert), pki.EncodePEM(root))
}

// rootScope fills and checks for whom the roots are to speak: every agency must be among them.
func (s *Stores) rootScope(ctx context.Context, scope RootScope) (RootScope, error) {
	agencies, err := s.DB.Log.Agencies(ctx)
	if err != nil {
		return scope, err
	}
	if len(scope.Codes)+len(scope.Regions) == 0 {
		for _, a := range agencies {
			scope.Regions = append(scope.Regions, a.Code[2:4])
		}
	}
	scope.Codes, scope.Regions = sortedOnce(scope.Codes), sortedOnce(scope.Regions)
	if len(scope.Codes)+len(scope.Regions) == 0 {
		return scope, errors.New("for whom do the roots speak? Say regions or credit codes: there is no agency yet")
	}
	both := []proof.TrustedRoot{{Codes: scope.Codes, Regions: scope.Regions}}
	if a, ok := s.nobodys(agencies, both); ok {
		return scope, fmt.Errorf("the agency %s (%s) would be nobody's: add its code, or the region of its "+
			"registration, %s", a.Name, a.Code, a.Code[2:8])
	}
	return scope, nil
}

// nobodys finds an agency for which none of some roots speaks.
func (s *Stores) nobodys(agencies []notary.Agency, roots []proof.TrustedRoot) (notary.Agency, bool) {
	i := slices.IndexFunc(agencies, func(a notary.Agency) bool {
		return !slices.ContainsFunc(roots, func(r proof.TrustedRoot) bool { return r.SpeaksFor(a.Code, s.id.Origin) })
	})
	if i < 0 {
		return notary.Agency{}, false
	}
	return agencies[i], true
}

func sortedOnce(list []string) []string {
	list = slices.Sorted(slices.Values(list))
	return slices.Compact(list)
}

// SwitchRoot makes the next root the one that issues certificates, by a succession that both roots have signed. What
// the former one issued goes on to be valid. No server of the instance may run, and afterwards each needs the same
// trust roots: one with the former ones could not verify what it signs under the new root.
//
// Each step can be done again, so after a crash anywhere the same call goes on:
//
//  1. the new root's first revocation list        nobody asks for it
//  2. the succession is published                 verifiers may believe the new root, which issued nothing yet
//  3. the trust roots name both                   the former root still issues
//  4. the former files get a second name
//  5. the certificate takes its place             nothing can be issued: certificate and key do not match
//  6. the key takes its place                     complete
func (s *Stores) SwitchRoot(ctx context.Context, signed trustfile.SignedSuccession, now time.Time) (
	trustfile.Succession, error) {
	said, err := trustfile.ParseSuccession(signed.Statement)
	if err != nil {
		return said, err
	}
	list, err := s.Successions()
	if err != nil {
		return said, err
	}
	done := slices.ContainsFunc(list, func(x trustfile.SignedSuccession) bool {
		return bytes.Equal(x.Statement, signed.Statement)
	})
	if err := s.followsPresentRoot(said, done); err != nil {
		return said, err
	}
	if !done {
		former, err := s.Config.rootCert()
		if err != nil {
			return said, err
		}
		if err := signed.Verify(said, former); err != nil { // whatever the trust roots know already
			return said, err
		}
		list = append(list, signed)
	}
	grown, added, err := trustfile.Succeed(s.Trust, list)
	if err != nil {
		return said, err
	}
	if len(added) > 1 {
		return said, fmt.Errorf("%w: %s lacks roots that %s has: restore it", ErrForeign, s.Config.TrustPath(),
			s.Config.SuccessionsPath())
	}
	release, err := s.stopped(ctx)
	if err != nil {
		return said, err
	}
	defer release()
	if err := s.speakForAll(ctx, grown); err != nil {
		return said, err
	}
	if key, err := s.nextRootKey(said.Root); err != nil {
		return said, err
	} else if err := s.beginList(ctx, said.Root, key, now); err != nil {
		return said, err
	}
	c := s.Config
	if err := replaceFile(c.SuccessionsPath(), append(trustfile.EncodeSuccessions(list), '\n')); err != nil {
		return said, err
	}
	if len(added) > 0 {
		if err := replaceFile(c.TrustPath(), append(grown.Encode(), '\n')); err != nil {
			return said, err
		}
	}
	id := shortID(said.Former)
	for _, f := range []struct{ next, now string }{{fileNextRootCert, fileRootCert}, {fileNextRootKey, fileRootKey}} {
		if err := promote(c.keyPath(f.next), c.keyPath(f.now), c.keyPath(retiredName(f.now, id))); err != nil {
			return said, err
		}
	}
	s.Trust = grown
	return said, nil
}

// speakForAll refuses trust roots in which an agency, perhaps one that was added since the succession was made, would
// be nobody's.
func (s *Stores) speakForAll(ctx context.Context, grown *proof.Trust) error {
	agencies, err := s.DB.Log.Agencies(ctx)
	if err != nil {
		return err
	}
	if a, ok := s.nobodys(agencies, grown.Roots); ok {
		return fmt.Errorf("the succession does not speak for the agency %s (%s): run 'stele root next' again, with "+
			"a --region for it, and have both roots sign that", a.Name, a.Code)
	}
	return nil
}

// followsPresentRoot refuses a succession of another root than the present one, unless a switch by it was interrupted.
func (s *Stores) followsPresentRoot(said trustfile.Succession, done bool) error {
	present, err := s.Config.rootCert()
	switch {
	case err != nil:
		return err
	case sm.Sum(present) == said.Former, done && bytes.Equal(present, said.Root):
		return nil
	}
	return fmt.Errorf("the present root has the SM3 %s, and the succession is of the one with %s", sm.Sum(present),
		said.Former)
}

// nextRootKey is the key of the root to come, or the one that an interrupted switch has put in place.
func (s *Stores) nextRootKey(root []byte) (*sm.PrivateKey, error) {
	cert, err := pki.Parse(root)
	if err != nil {
		return nil, err
	}
	pass, err := s.Config.passphrase()
	if err != nil {
		return nil, err
	}
	place := s.Config.keyPath(fileNextRootCert)
	if next, err := readCertificates(place, 1); errors.Is(err, fs.ErrNotExist) {
		// a switch was interrupted after it took its place
	} else if err != nil {
		return nil, err
	} else if !bytes.Equal(next[0], root) {
		return nil, fmt.Errorf("%s is another root than the one of the succession", place)
	}
	for _, name := range []string{fileNextRootKey, fileRootKey} {
		key, err := keystore.Load(s.Config.keyPath(name), pass)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("the next root's key: %w", err)
		}
		if key.Public().Equal(cert.PublicKey()) {
			return key, nil
		}
	}
	return nil, fmt.Errorf("the next root's key is not in the key folder %s: it makes the first revocation list",
		s.Config.Keys)
}

// presentRoot is the root that issues certificates: of a line of successors the last one.
func (s *Stores) presentRoot() []byte {
	list, err := s.Successions()
	roots := s.Trust.Certificates()
	if err != nil || len(list) == 0 {
		return roots[0]
	}
	if said, err := trustfile.ParseSuccession(list[len(list)-1].Statement); err == nil && s.trusts(said.Root) {
		return said.Root
	}
	return roots[0]
}

// trusts reports whether a root is one of the instance's trust roots.
func (s *Stores) trusts(root []byte) bool { return hasBytes(s.Trust.Certificates(), root) }

func hasBytes(list [][]byte, item []byte) bool {
	return slices.ContainsFunc(list, func(b []byte) bool { return bytes.Equal(b, item) })
}

// shortID tells files of one name apart, such as those of former roots.
func shortID(of sm.Digest) uint32 { return binary.BigEndian.Uint32(of[:4]) }
