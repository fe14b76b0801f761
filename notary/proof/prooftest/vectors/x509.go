package vectors

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"stele/crypto/pki/pkitest"
	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/prooftest"
)

// CasesFormat is the value of the first key of [CasesFile].
const CasesFormat = "stele/certificate-cases/v1"

// CasesFile is where the cases of the certificate profile are kept, from the top of the
// repository.
const CasesFile = "crypto/pki/testdata/profile/cases.json"

// CertificateCase is one rule of docs/formats.md section 7, kept or broken: a chain that is
// sound but for one certificate, which its issuer signed as it is. So only the profile decides.
type CertificateCase struct {
	Name    string   `json:"name"`
	About   string   `json:"about"`
	Role    string   `json:"role"`    // agency, authority or root: what the certificate is to be
	Outcome string   `json:"outcome"` // accepted, malformed (in form) or refused (in form, and its chain is not valid)
	Place   int      `json:"place"`   // of the certificate in the chain, counted from 0 at the signer
	At      string   `json:"at"`      // the time to check the chain at, its last certificate pinned
	Chain   [][]byte `json:"chain"`
}

// The outcomes of a case.
const (
	accepted  = "accepted"
	malformed = "malformed"
	refused   = "refused"
)

// CertificateCases makes all cases. Like the vectors they come out the same every time.
func CertificateCases() []CertificateCase {
	var out []CertificateCase
	for _, r := range roles {
		for _, c := range r.cases() {
			chain, place := r.chain(c.change)
			out = append(out,
				CertificateCase{Name: r.name + "-" + c.name, About: c.about, Role: r.name, Outcome: c.outcome,
					Place: place, At: "2026-11-22T06:28:42.123Z", Chain: chain})
		}
	}
	return out
}

// EncodeCases is the text of [CasesFile]: a line for each case.
func EncodeCases(cases []CertificateCase) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "{\"format\":%q,\"cases\":[", CasesFormat)
	for i, c := range cases {
		line, err := json.Marshal(c)
		if err != nil {
			return nil, fmt.Errorf("encode case %s: %w", c.Name, err)
		}
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "\n%s", line)
	}
	b.WriteString("\n]}\n")
	return b.Bytes(), nil
}

// x509Case is a change to a good certificate, and what comes of it.
type x509Case struct {
	name, about, outcome string
	change               func(c *pkitest.Content)
}

// role is a place that a certificate can have in a chain.
type role struct {
	name  string
	cases func() []x509Case
	world func() *prooftest.World
	chain func(change func(*pkitest.Content)) (chain [][]byte, place int)
}

var roles = []role{
	{"agency", agencyCases, solo, func(change func(*pkitest.Content)) ([][]byte, int) {
		w := solo()
		return [][]byte{issued(AgencyContent(w.Agency, w.Root), w.Root.Key, change), w.Root.DER}, 0
	}},
	{"authority", authorityCases, deep, func(change func(*pkitest.Content)) ([][]byte, int) {
		w := deep()
		c := authorityContent("江城市江岸区数据局", prooftest.NewKey(seed+"/district"), rootName("江城市数据局"), w.Root.Key)
		authority := issued(c, w.Root.Key, change)
		return [][]byte{below(w, c, prooftest.NewKey(seed+"/district")), authority, w.Root.DER}, 1
	}},
	{"root", rootCases, solo, func(change func(*pkitest.Content)) ([][]byte, int) {
		w, key := solo(), prooftest.NewKey(seed+"/another root")
		c := authorityContent("江河市数据局", key, rootName("江河市数据局"), key)
		root := issued(c, key, change)
		return [][]byte{below(w, c, key), root}, 1
	}},
}

func issued(c *pkitest.Content, key prooftest.Key, change func(*pkitest.Content)) []byte {
	if change != nil {
		change(c)
	}
	return c.Certificate(key.Sign)
}

// below is the certificate of the world's agency under whoever has this content.
func below(w *prooftest.World, issuer *pkitest.Content, key prooftest.Key) []byte {
	c := AgencyContent(w.Agency, prooftest.Authority{Key: key})
	c.Issuer = issuer.Subject
	return c.Certificate(key.Sign)
}

// AgencyContent is an agency's certificate as [pki.Issue] makes it, with a province more, by
// an authority of the name that the worlds' roots have.
func AgencyContent(agency prooftest.Agency, issuer prooftest.Authority) *pkitest.Content {
	subject := pkitest.TLV(pkitest.Sequence, pkitest.Attribute(oidCountry, pkitest.Text(pkitest.PrintableString, "CN")),
		pkitest.Attribute(oidProvince, pkitest.Text(pkitest.UTF8String, "湖北省")),
		pkitest.Attribute(oidOrganization, pkitest.Text(pkitest.UTF8String, agency.Name)),
		pkitest.Attribute(oidCommonName, pkitest.Text(pkitest.UTF8String, agency.Name)),
		pkitest.Attribute(oidSerialNumber, pkitest.Text(pkitest.PrintableString, agency.Code)))
	c := content(subject, agency.Key, rootName("江城市数据局"), issuer.Key)
	c.NotBefore, c.NotAfter = utcTime(prooftest.AgencyNotBefore), utcTime(prooftest.AgencyNotAfter)
	c.Set(oidKeyUsage, pkitest.Extension(oidKeyUsage, true, usage(6, 0xc0)))
	return c
}

// authorityContent is that of an authority without one below itself.
func authorityContent(name string, key prooftest.Key, issuer []byte, issuerKey prooftest.Key) *pkitest.Content {
	c := content(rootName(name), key, issuer, issuerKey)
	c.NotBefore, c.NotAfter = utcTime(prooftest.RootNotBefore), utcTime(prooftest.RootNotAfter)
	c.Set(oidKeyUsage, pkitest.Extension(oidKeyUsage, true, usage(1, 0x06)))
	c.Set(oidBasicConstraints,
		pkitest.Extension(oidBasicConstraints, true,
			pkitest.TLV(pkitest.Sequence, isTrue, pkitest.TLV(pkitest.Integer, []byte{0}))))
	return c
}

// content is what all certificates have in common. The serial number follows from the key.
func content(subject []byte, key prooftest.Key, issuer []byte, issuerKey prooftest.Key) *pkitest.Content {
	id, issuerID := sm.Sum(key.Public().Bytes()), sm.Sum(issuerKey.Public().Bytes())
	algorithm := pkitest.TLV(pkitest.Sequence, pkitest.OID("1.2.156.10197.1.501"))
	spki := pkitest.TLV(pkitest.Sequence,
		pkitest.TLV(pkitest.Sequence, pkitest.OID("1.2.840.10045.2.1"), pkitest.OID("1.2.156.10197.1.301")),
		pkitest.TLV(pkitest.BitString, []byte{0}, key.Public().Bytes()))
	c := &pkitest.Content{Version: pkitest.TLV(0xa0, pkitest.TLV(pkitest.Integer, []byte{2})),
		Serial:    pkitest.TLV(pkitest.Integer, []byte{1}, id[:15]),
		Algorithm: algorithm, Issuer: issuer, Subject: subject, Key: spki}
	c.Set(oidSubjectKeyID, pkitest.Extension(oidSubjectKeyID, false, pkitest.TLV(pkitest.OctetString, id[:20])))
	c.Set(oidAuthorityKeyID,
		pkitest.Extension(oidAuthorityKeyID, false, pkitest.TLV(pkitest.Sequence, pkitest.TLV(0x80, issuerID[:20]))))
	return c
}

// rootName is the name that [prooftest.RootTemplate] gives.
func rootName(organization string) []byte {
	return pkitest.TLV(pkitest.Sequence, pkitest.Attribute(oidCountry, pkitest.Text(pkitest.PrintableString, "CN")),
		pkitest.Attribute(oidOrganization, pkitest.Text(pkitest.UTF8String, organization)),
		pkitest.Attribute(oidCommonName, pkitest.Text(pkitest.UTF8String, organization+" G1")))
}

func utcTime(t time.Time) []byte {
	return pkitest.Text(pkitest.UTCTime, t.UTC().Format("060102150405Z"))
}

func usage(unused byte, octets ...byte) []byte {
	return pkitest.TLV(pkitest.BitString, []byte{unused}, octets)
}

// DamagedCertificate is a bundle that is sound but for one certificate, which was damaged
// element by element and then signed by its issuer.
func DamagedCertificate(random *rand.Rand) []byte {
	r := roles[max(0, random.IntN(2*len(roles))-len(roles))] // the agency's more often than not
	cases := slices.DeleteFunc(r.cases(), func(c x509Case) bool { return c.outcome != accepted })
	of := cases[random.IntN(len(cases))]
	chain, _ := r.chain(func(c *pkitest.Content) {
		if of.change != nil {
			of.change(c)
		}
		c.Damage = func(content []byte) []byte { return pkitest.Damage(random, content) }
	})
	return enteredIn(r.world(), func(_ *prooftest.World, r *prooftest.Record) { r.Certificates = chain })
}

// x509 turns every case into a bundle whose signer's certificate, or whose chain, is the case.
func (b *builder) x509() {
	cases := CertificateCases()
	for _, c := range cases {
		r := roles[slices.IndexFunc(roles, func(r role) bool { return r.name == c.Role })]
		bundle := enteredIn(r.world(), func(_ *prooftest.World, r *prooftest.Record) { r.Certificates = c.Chain })
		name, about := "x509-"+c.Name, fmt.Sprintf("the certificate of the %s: %s", c.Role, c.About)
		trust := trustedBy(trustFile)
		if c.Role == "authority" {
			trust = trustedBy(deepFile)
		}
		switch {
		case c.Outcome == malformed && c.Place == 0:
			b.bad(name, about, proof.StepCertificate, "malformed", bundle, trust)
		case c.Outcome != accepted:
			b.bad(name, about, proof.StepCertificate, "bad_certificate", bundle, trust)
		case c.Role == "root": // it is none of the pinned ones
			b.add(name, about, proof.Unverifiable, bundle, trust)
		default:
			b.add(name, about, proof.Genuine, bundle, trust)
		}
	}
}
