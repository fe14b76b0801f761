package pki

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

var listed = time.Date(2028, 5, 1, 0, 0, 0, 0, time.UTC)

// listOf is a list that revokes these certificates.
func listOf(t *testing.T, root authority, number uint64, certificates ...[]byte) SignedList {
	t.Helper()
	l := RevocationList{Number: number, ThisUpdate: listed, NextUpdate: listed.AddDate(1, 0, 0)}
	for i, der := range certificates {
		c, err := Parse(der)
		fatalIfErr(t, err)
		reason := []string{"keyCompromise", "superseded", "cessationOfOperation"}[i%3]
		l.Revoked = append(l.Revoked, Revoked{Serial: c.SerialNumber(), At: listed, Reason: reason,
			Since: listed.Add(-time.Hour)})
	}
	list, err := NewRevocationList(l, root.der, root.key)
	fatalIfErr(t, err)
	return list
}

func TestRevocationList(t *testing.T) {
	root, other := newRoot(t, 0), newRoot(t, 0)
	bad, good := issue(t, root, Agency, newKey(t)), issue(t, root, Agency, newKey(t))
	list := listOf(t, root, 7, bad)
	got, err := ParseRevocationList(list, root.der)
	fatalIfErr(t, err)
	c, err := Parse(bad)
	fatalIfErr(t, err)
	if got.Number != 7 || len(got.Revoked) != 1 || got.Revoked[0].Serial != c.SerialNumber() ||
		got.Revoked[0].Reason != "keyCompromise" {
		t.Errorf("%+v", got)
	}
	altered := func(at int) SignedList {
		a := SignedList{bytes.Clone(list.Standard), bytes.Clone(list.NoID)}
		if at == 0 {
			a.Standard[len(a.Standard)-1] ^= 1
		} else {
			a.NoID[len(a.NoID)-1] ^= 1
		}
		return a
	}
	longer := func(b []byte) []byte { return append(bytes.Clone(b), 0) }
	for name, err := range map[string]error{
		"another root":    parseError(list, other.der),
		"altered":         parseError(altered(0), root.der),
		"altered, no id":  parseError(altered(1), root.der),
		"trailing":        parseError(SignedList{longer(list.Standard), list.NoID}, root.der),
		"trailing, no id": parseError(SignedList{list.Standard, longer(list.NoID)}, root.der),
		"the same twice":  parseError(SignedList{list.Standard, list.Standard}, root.der),
		"the other twice": parseError(SignedList{list.NoID, list.NoID}, root.der),
		"another list":    parseError(SignedList{list.Standard, listOf(t, root, 8, bad).NoID}, root.der),
		"empty":           parseError(SignedList{}, root.der),
		"a certificate":   parseError(SignedList{good, list.NoID}, root.der),
	} {
		t.Run(name, func(t *testing.T) {
			if !errors.Is(err, ErrRevocationList) {
				t.Error(err)
			}
		})
	}
	for name, r := range map[string]Revoked{
		"no serial":      {At: listed, Since: listed, Reason: "superseded"},
		"no reason":      {Serial: "1", At: listed, Since: listed},
		"another reason": {Serial: "1", At: listed, Since: listed, Reason: "unspecified"},
		"the future":     {Serial: "1", At: listed, Since: listed.Add(time.Second), Reason: "superseded"},
		"half a second":  {Serial: "1", At: listed.Add(time.Second / 2), Since: listed, Reason: "superseded"},
	} {
		t.Run(name, func(t *testing.T) {
			l := RevocationList{Number: 1, ThisUpdate: listed, NextUpdate: listed.AddDate(1, 0, 0),
				Revoked: []Revoked{r}}
			if der, err := NewRevocationList(l, root.der, root.key); err == nil {
				t.Errorf("%x", der)
			}
		})
	}
	if _, err := NewRevocationList(RevocationList{Number: 1, ThisUpdate: listed, NextUpdate: mid}, root.der,
		other.key); err == nil {
		t.Error("another root's key signs")
	}
}

func parseError(l SignedList, root []byte) error {
	_, err := ParseRevocationList(l, root)
	return err
}

// TestOpenSSLReadsOurList: openssl verify -crl_check refuses what is revoked and accepts what is not.
func TestOpenSSLReadsOurList(t *testing.T) {
	dir := t.TempDir()
	root := newRoot(t, 0)
	bad, good := issue(t, root, Agency, newKey(t)), issue(t, root, Agency, newKey(t))
	list := listOf(t, root, 1, bad)
	writeFile(t, dir, "root.pem", EncodePEM(root.der))
	writeFile(t, dir, "bad.pem", EncodePEM(bad))
	writeFile(t, dir, "good.pem", EncodePEM(good))
	for name, der := range map[string][]byte{"list": list.NoID, "standard": list.Standard} {
		writeFile(t, dir, name+".pem", pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}))
	}
	text := mustOpenssl(t, dir, "crl", "-in", "list.pem", "-noout", "-text")
	for _, want := range []string{"Key Compromise", "Invalidity Date", "X509v3 CRL Number"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	check := func(list, certificate string) (string, error) {
		return openssl(t, dir, "verify", "-x509_strict", "-vfyopt", distid, "-CAfile", "root.pem", "-crl_check",
			"-CRLfile", list, "-attime", fmt.Sprint(mid.Unix()), certificate)
	}
	if out, err := check("list.pem", "good.pem"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := check("list.pem", "bad.pem"); err == nil || !strings.Contains(out, "certificate revoked") {
		t.Errorf("%v\n%s", err, out)
	}
	// Why there are two: when this ends, so can the other one.
	if out, err := check("standard.pem", "good.pem"); err == nil {
		t.Errorf("OpenSSL reads the standard's user id by now:\n%s", out)
	}
}

func FuzzRevocationList(f *testing.F) {
	root := newRoot(f, 0)
	l, err := NewRevocationList(RevocationList{Number: 1, ThisUpdate: listed, NextUpdate: mid, Revoked: []Revoked{{
		Serial: "1", At: listed, Reason: "superseded", Since: listed}}}, root.der, root.key)
	fatalIfErr(f, err)
	issuer, err := VerifyRoot(root.der)
	fatalIfErr(f, err)
	f.Add(l.Standard)
	f.Fuzz(func(t *testing.T, der []byte) {
		if got, _, err := parseList(der, issuer); err == nil && got.Number != 1 {
			t.Errorf("%+v", got)
		}
	})
}
