package instance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"stele/crypto/keystore"
	"stele/crypto/pki"
	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/proof"
)

// authorityValidity is how long the certificate of a region's authority lasts, unless the root ends before.
const authorityValidity = 15 * 365 * 24 * time.Hour

// Authority is who issues agencies' certificates: a root, or the authority of a region below one.
type Authority struct {
	Chain  [][]byte // its certificate first, the root last
	Region string   // the first digits of the regions (GB/T 2260) of its agencies; of a root empty
	Former bool     // it issues no more: another root, or another certificate of the authority, took its place
	key    string   // file
}

// Certificate is its own.
func (a Authority) Certificate() (*pki.Certificate, error) { return pki.Parse(a.Chain[0]) }

// HasKey reports whether its key is on this machine.
func (a Authority) HasKey() bool {
	_, err := os.Stat(a.key)
	return err == nil
}

// Files of authorities in the key folder: the present root's, former roots' and those of regions.
const (
	patternRoots       = "root*.crt"
	patternAuthorities = "authority-*.crt"
)

func authorityFile(region, ext string) string { return "authority-" + region + ext }

// Authorities reads those of the key folder: the present root first, former roots, and regions' authorities.
func (c Config) Authorities() ([]Authority, error) {
	roots, err := filepath.Glob(c.keyPath(patternRoots))
	regions, err2 := filepath.Glob(c.keyPath(patternAuthorities))
	if err := errors.Join(err, err2); err != nil {
		return nil, err
	}
	slices.SortStableFunc(roots, func(a, b string) int {
		return len(filepath.Base(a)) - len(filepath.Base(b)) // root.crt has the shortest name
	})
	var out []Authority
	for _, path := range append(roots, regions...) {
		name := strings.TrimSuffix(filepath.Base(path), ".crt")
		if name == strings.TrimSuffix(fileNextRootCert, ".crt") {
			continue
		}
		a := Authority{key: c.keyPath(name + ".key"), Former: strings.HasPrefix(name, "root-")}
		levels := 1
		if region, ok := strings.CutPrefix(name, "authority-"); ok {
			a.Region, _, a.Former = strings.Cut(region, "-")
			if levels = 2; !a.HasKey() { // a former certificate is of the same key, unless the authority was ended
				a.key = c.keyPath(authorityFile(a.Region, ".key"))
			}
		}
		if a.Chain, err = readCertificates(path, levels); err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

// issuer is the key of an authority with what is needed beside it to give an agency a certificate.
type issuer struct {
	pass  keystore.Secret
	key   *sm.PrivateKey
	chain [][]byte // the authority's first, the root last
}

// issuer reads that of the authority of an agency's region, the nearest one, or of the root. A certificate's dates
// come from this machine's clock, which is compared with others before.
func (s *Stores) issuer(ctx context.Context, a notary.Agency) (i issuer, err error) {
	all, err := s.Config.Authorities()
	if err != nil {
		return i, err
	}
	var nearest *Authority
	for n, one := range all {
		if !one.Former && strings.HasPrefix(a.Region, one.Region) &&
			(nearest == nil || len(one.Region) > len(nearest.Region)) {
			nearest = &all[n]
		}
	}
	if nearest == nil {
		return i, fmt.Errorf("%s is not there: correct the key folder", s.Config.keyPath(fileRootCert))
	}
	if err := s.speaksFor(*nearest, a.Code); err != nil {
		return i, err
	}
	return s.Config.open(ctx, *nearest)
}

// speaksFor refuses a certificate that no verifier would believe.
func (s *Stores) speaksFor(by Authority, code string) error {
	root := by.Chain[len(by.Chain)-1]
	for _, r := range s.Trust.Roots {
		if bytes.Equal(r.DER, root) && r.SpeaksFor(code, s.id.Origin) {
			return nil
		}
	}
	return fmt.Errorf("the root with the SM3 %s does not speak for the agency %s in %s: nobody would believe what "+
		"it signs", sm.Sum(root), code, s.Config.TrustPath())
}

// open reads the key of an authority.
func (c Config) open(ctx context.Context, a Authority) (i issuer, err error) {
	if _, err := c.guardClock(ctx, slog.New(slog.DiscardHandler)); err != nil {
		return i, err
	}
	if i.pass, err = c.passphrase(); err != nil {
		return i, err
	}
	i.chain = a.Chain
	if i.key, err = keystore.Load(a.key, i.pass); err != nil {
		of := "root"
		if a.Region != "" {
			of = "authority's"
		}
		return i, fmt.Errorf("the %s key is needed to issue a certificate: %w", of, err)
	}
	return i, nil
}

// openByCertificate reads the key of the authority with a certificate.
func (c Config) openByCertificate(ctx context.Context, der []byte) (issuer, error) {
	all, err := c.Authorities()
	if err != nil {
		return issuer{}, err
	}
	for _, a := range all {
		if bytes.Equal(a.Chain[0], der) {
			return c.open(ctx, a)
		}
	}
	return issuer{}, fmt.Errorf("the certificate with the SM3 %s is not in the key folder %s, nor is its key",
		sm.Sum(der), c.Keys)
}

// checkRegion refuses what is no beginning of a region code.
func checkRegion(region string) error {
	return proof.TrustedRoot{Regions: []string{region}}.ValidScope()
}

// RequestAuthority makes the key of a region's authority, if it is not there yet, and returns a certificate request
// for it. A crash after it leaves a key that nobody has certified; asked again, this returns a request for it.
func (s *Stores) RequestAuthority(region, name string) ([]byte, error) {
	if err := checkRegion(region); err != nil {
		return nil, err
	}
	c := s.Config
	pass, err := c.passphrase()
	if err != nil {
		return nil, err
	}
	key, err := loadOrMake(c, authorityFile(region, ".key"), pass, "the key of the authority")
	if err != nil {
		return nil, err
	}
	root, err := c.rootCert()
	if err != nil {
		return nil, err
	}
	above, err := pki.Parse(root)
	if err != nil {
		return nil, err
	}
	return pki.NewRequest(pki.Name{Country: "CN", Organization: above.Subject().Organization, CommonName: name}, key)
}

// CertifyAuthority is the root's part: it makes the certificate of an authority by a request.
func CertifyAuthority(request []byte, name string, root []byte, key *sm.PrivateKey, now time.Time) ([]byte, error) {
	public, err := pki.ParseRequest(request)
	if err != nil {
		return nil, err
	}
	above, err := pki.VerifyRoot(root)
	if err != nil {
		return nil, fmt.Errorf("root: %w", err)
	}
	start, end := within(above, now, authorityValidity)
	return pki.NewAuthority(pki.AuthorityRequest{Subject: pki.Name{Country: "CN",
		Organization: above.Subject().Organization, CommonName: name},
		NotBefore: start, NotAfter: end, PublicKey: public}, root, key)
}

// CertifyHere is [CertifyAuthority] with the present root, where the key folder has its key.
func (s *Stores) CertifyHere(ctx context.Context, request []byte, name string, now time.Time) ([]byte, error) {
	root, err := s.Config.rootCert()
	if err != nil {
		return nil, err
	}
	i, err := s.Config.openByCertificate(ctx, root)
	if err != nil {
		return nil, err
	}
	return CertifyAuthority(request, name, root, i.key, now)
}

// AcceptAuthority lets a region's authority issue certificates from now on. Its key must be in the key folder and its
// certificate under one of the trust roots. It also gets a revocation list on which there is no certificate yet.
//
// A crash after the list leaves one that nobody asks for, after the second name of a former certificate that name; the
// same call goes on.
func (s *Stores) AcceptAuthority(ctx context.Context, region string, der []byte, now time.Time) (*pki.Certificate,
	error) {
	if err := checkRegion(region); err != nil {
		return nil, err
	}
	var root []byte
	var cert *pki.Certificate
	for _, r := range s.Trust.Certificates() {
		if c, err := pki.VerifyAuthority(der, r); err == nil {
			root, cert = r, c
		}
	}
	if root == nil {
		return nil, errors.New("this is no certificate of an authority that one of the instance's trust roots signed " +
			"and that may issue certificates")
	}
	c := s.Config
	pass, err := c.passphrase()
	if err != nil {
		return nil, err
	}
	key, err := keystore.Load(c.keyPath(authorityFile(region, ".key")), pass)
	if err != nil {
		return nil, fmt.Errorf("the key of the authority: %w", err)
	}
	if !key.Public().Equal(cert.PublicKey()) {
		return nil, fmt.Errorf("the certificate is for another key than %s", c.keyPath(authorityFile(region, ".key")))
	}
	if err := s.beginList(ctx, der, key, now); err != nil {
		return nil, err
	}
	return cert, s.placeAuthority(region, der, root)
}

// placeAuthority puts an authority's certificate in the key folder. The former one stays under a second name: its
// revocation list is to be renewed as long as what it issued is valid.
func (s *Stores) placeAuthority(region string, der, root []byte) error {
	place := s.Config.keyPath(authorityFile(region, ".crt"))
	former, err := readCertificates(place, 2)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case bytes.Equal(former[0], der):
		return nil
	default:
		second := s.Config.keyPath(retiredName(authorityFile(region, ".crt"), shortID(sm.Sum(former[0]))))
		if err := os.Link(place, second); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return replaceFile(place, pki.EncodePEM(der, root))
}

// EndAuthority has a region's authority issue no more: the next wider region's does, or the root. Its key and its
// certificate stay under other names, for its revocation list. What it issued stays valid. A crash between the two
// leaves a certificate without a key, with which nothing is issued; the same call goes on.
func (s *Stores) EndAuthority(region string) error {
	if err := checkRegion(region); err != nil {
		return err
	}
	c := s.Config
	chain, err := readCertificates(c.keyPath(authorityFile(region, ".crt")), 2)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no authority of region %s: see 'stele authority list'", region)
	}
	if err != nil {
		return err
	}
	for _, ext := range []string{".key", ".crt"} {
		name := authorityFile(region, ext)
		if err := os.Rename(c.keyPath(name), c.keyPath(retiredName(name, shortID(sm.Sum(chain[0]))))); err != nil &&
			(ext == ".crt" || !errors.Is(err, fs.ErrNotExist)) { // the key may be elsewhere
			return err
		}
	}
	return syncFolder(c.Keys)
}
