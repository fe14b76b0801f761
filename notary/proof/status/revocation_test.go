package status

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"stele/crypto/pki"
	"stele/crypto/sm"
)

func TestRevocationForm(t *testing.T) {
	good := CertificateRevocation{Certificate: sm.Sum(nil), Agency: codeA, Reason: KeyCompromise, Since: yesterday,
		IssuedAt: yesterday}
	text, err := good.Encode()
	if err != nil {
		t.Fatal(err)
	}
	want := `{"type":"stele/certificate-revocation/v1","certificate":"` + sm.Sum(nil).String() + `","agency":"` + codeA +
		`","reason":"keyCompromise","since":"2026-11-29T08:00:00Z","issuedAt":"2026-11-29T08:00:00Z"}`
	if string(text) != want {
		t.Fatalf("%s\nwant %s", text, want)
	}
	if again, err := ParseCertificateRevocation(text); err != nil || again != good {
		t.Errorf("%+v, %v", again, err)
	}
	for name, bad := range map[string]string{
		"empty":             "",
		"white space":       strings.Replace(want, ",", ", ", 1),
		"another type":      strings.Replace(want, "revocation/v1", "revocation/v2", 1),
		"another reason":    strings.Replace(want, "keyCompromise", "unspecified", 1),
		"no credit code":    strings.Replace(want, codeA, codeA[:17]+"4", 1),
		"since afterwards":  strings.Replace(want, "08:00:00Z", "08:00:01Z", 1),
		"half a second":     strings.Replace(want, "08:00:00Z", "08:00:00.5Z", 1),
		"another time zone": strings.Replace(want, "08:00:00Z", "08:00:00+00:00", 1),
		"the last century":  strings.Replace(want, "2026", "1999", 1),
		"no such day":       strings.Replace(want, "11-29", "11-31", 1),
		"short digest":      strings.Replace(want, sm.Sum(nil).String(), sm.Sum(nil).String()[1:], 1),
		"trailing byte":     want + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := ParseCertificateRevocation([]byte(bad)); !errors.Is(err, ErrRevocation) {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

// Only the root above a certificate revokes it, and only what is known as a root.
func TestWhoRevokes(t *testing.T) {
	at := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	authority := func() ([]byte, *sm.PrivateKey) {
		key, err := sm.GenerateKey()
		if err != nil {
			t.Fatal(err)
		}
		der, err := pki.NewRoot(pki.RootRequest{Subject: pki.Name{Organization: "省", CommonName: "root"}, NotBefore: at,
			NotAfter: at.AddDate(9, 0, 0)}, key)
		if err != nil {
			t.Fatal(err)
		}
		return der, key
	}
	root, key := authority()
	other, otherKey := authority()
	leaf := []byte("a certificate")
	text := bytes.Replace(revokeCertificate(t, "one", Superseded), []byte(sm.Sum([]byte("one")).String()),
		[]byte(sm.Sum(leaf).String()), 1)
	said, err := ParseCertificateRevocation(text)
	if err != nil {
		t.Fatal(err)
	}
	sig, _ := key.Sign(text)
	foreign, _ := otherKey.Sign(text)
	if err := said.SignedBy(text, sig, [][]byte{leaf, root}); err != nil {
		t.Error(err)
	}
	if err := (Judge{Roots: [][]byte{other, root}}).Verify(RevocationEntry(text, sig, root)); err != nil {
		t.Error(err)
	}
	for name, err := range map[string]error{
		"another root's key":   said.SignedBy(text, foreign, [][]byte{leaf, root}),
		"another certificate":  said.SignedBy(text, sig, [][]byte{[]byte("another"), root}),
		"another root":         said.SignedBy(text, sig, [][]byte{leaf, other}),
		"no root":              said.SignedBy(text, sig, [][]byte{leaf}),
		"no chain":             said.SignedBy(text, sig, nil),
		"unknown root":         Judge{Roots: [][]byte{other}}.Verify(RevocationEntry(text, sig, root)),
		"forged":               Judge{Roots: [][]byte{root}}.Verify(RevocationEntry(text, foreign, root)),
		"named as another's":   Judge{Roots: [][]byte{root, other}}.Verify(RevocationEntry(text, sig, other)),
		"out of form":          Judge{Roots: [][]byte{root}}.Verify(RevocationEntry(text[:len(text)-1], sig, root)),
		"neither of two kinds": Judge{Roots: [][]byte{root}}.Verify(RevocationEntry([]byte("{}"), sig, root)),
	} {
		t.Run(name, func(t *testing.T) {
			if err == nil {
				t.Error("accepted")
			}
		})
	}
}

func FuzzCertificateRevocation(f *testing.F) {
	f.Add(revokeCertificate(f, "one", KeyCompromise))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseCertificateRevocation(data)
		if err != nil {
			return
		}
		if again, err := r.Encode(); err != nil || !bytes.Equal(again, data) {
			t.Errorf("%s, %v", again, err)
		}
	})
}
