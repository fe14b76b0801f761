package revoke_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"stele/crypto/pki"
	"stele/crypto/sm"
	"stele/notary/log/revoke"
	"stele/notary/proof/status"
)

var now = time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC)

func fatalIfErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type authority struct {
	der []byte
	key *sm.PrivateKey
}

func newRoot(t testing.TB) authority {
	t.Helper()
	key, err := sm.GenerateKey()
	fatalIfErr(t, err)
	der, err := pki.NewRoot(pki.RootRequest{Subject: pki.Name{Organization: "省", CommonName: "root"},
		NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(20, 0, 0)}, key)
	fatalIfErr(t, err)
	return authority{der, key}
}

const code = "91350100M000100Y43"

func (a authority) issue(t testing.TB) []byte {
	t.Helper()
	key, err := sm.GenerateKey()
	fatalIfErr(t, err)
	der, err := pki.Issue(pki.IssueRequest{Profile: pki.Agency, Subject: pki.Name{Organization: "机关", Code: code},
		NotBefore: now.AddDate(0, -1, 0), NotAfter: now.AddDate(5, 0, 0), PublicKey: key.Public()}, [][]byte{a.der},
		a.key)
	fatalIfErr(t, err)
	return der
}

func said() status.CertificateRevocation {
	return status.CertificateRevocation{Agency: code, Reason: status.KeyCompromise, Since: now.Add(-time.Hour),
		IssuedAt: now}
}

func request(t testing.TB, root authority, last pki.RevocationList, certificates ...[]byte) revoke.Request {
	t.Helper()
	r, err := revoke.New([][]byte{root.der}, certificates, said(), last, now.AddDate(1, 0, 0))
	fatalIfErr(t, err)
	return r
}

func encode(t testing.TB, r revoke.Request) []byte {
	t.Helper()
	text, err := r.Encode()
	fatalIfErr(t, err)
	return text
}

// A request goes to the root and comes back; the next one has what the first revoked as well.
func TestCeremony(t *testing.T) {
	root := newRoot(t)
	first := root.issue(t)
	var last pki.RevocationList
	for i, certificates := range [][][]byte{{first}, {root.issue(t), root.issue(t)}, nil} {
		carried, err := revoke.Parse(encode(t, request(t, root, last, certificates...)))
		fatalIfErr(t, err)
		if len(carried.Lines()) != len(certificates)+1 {
			t.Errorf("%q", carried.Lines())
		}
		if _, err := carried.Verify(); err == nil && len(certificates) > 0 {
			t.Error("it verifies before it is signed")
		}
		signed, err := carried.Sign(root.der, root.key)
		fatalIfErr(t, err)
		back, err := revoke.Parse(encode(t, signed))
		fatalIfErr(t, err)
		entries, err := back.Verify()
		fatalIfErr(t, err)
		if len(entries) != len(certificates) {
			t.Errorf("%d entries", len(entries))
		}
		last, err = pki.ParseRevocationList(pki.SignedList{Standard: back.List.DER, NoID: back.List.DERNoID}, root.der)
		fatalIfErr(t, err)
		if last.Number != uint64(i)+1 || len(last.Revoked) != []int{1, 3, 3}[i] {
			t.Errorf("%+v", last)
		}
	}
}

// A root does not sign what does not hold together, and what was changed after it signed is refused.
func TestRequestsThatDoNotHold(t *testing.T) {
	root, other := newRoot(t), newRoot(t)
	certificate, foreign := root.issue(t), other.issue(t)
	replace := func(old, new string) func([]byte) []byte {
		return func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(old), []byte(new)) }
	}
	for name, change := range map[string]func([]byte) []byte{
		"empty":              func([]byte) []byte { return nil },
		"something follows":  func(b []byte) []byte { return append(b, '{') },
		"unknown key":        replace(`"format"`, `"formats"`),
		"another format":     replace(revoke.Format, "stele/revocation-request/v2"),
		"another reason":     replace("keyCompromise", "unspecified"),
		"no number":          replace(`"number": 1`, `"number": 0`),
		"another in the crl": replace(`"reason": "keyCompromise"`, `"reason": "superseded"`),
		"too large":          func(b []byte) []byte { return append(b, make([]byte, revoke.MaxSize)...) },
	} {
		t.Run(name, func(t *testing.T) {
			r, err := revoke.Parse(change(encode(t, request(t, root, pki.RevocationList{}, certificate))))
			if !errors.Is(err, revoke.ErrDocument) {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
	if _, err := revoke.New([][]byte{root.der}, [][]byte{foreign}, said(), pki.RevocationList{},
		now.AddDate(1, 0, 0)); err == nil {
		t.Error("a certificate of another root")
	}
	if _, err := request(t, root, pki.RevocationList{}, certificate).Sign(other.der, other.key); err == nil {
		t.Error("another root signs")
	}
	if _, err := request(t, root, pki.RevocationList{}, certificate).Sign(root.der, other.key); err == nil {
		t.Error("another root's key signs")
	}
	signed, err := request(t, root, pki.RevocationList{}, certificate).Sign(root.der, root.key)
	fatalIfErr(t, err)
	for name, change := range map[string]func(*revoke.Request){
		"signature":  func(r *revoke.Request) { r.Revocations[0].Signature[8] ^= 1 },
		"statement":  func(r *revoke.Request) { r.Revocations[0].Statement += " " },
		"list":       func(r *revoke.Request) { r.List.DER[len(r.List.DER)-1] ^= 1 },
		"other list": func(r *revoke.Request) { r.List.DERNoID = r.List.DER },
		"next":       func(r *revoke.Request) { r.List.NextUpdate = r.List.NextUpdate.Add(time.Second) },
	} {
		t.Run("changed "+name, func(t *testing.T) {
			r, err := revoke.Parse(encode(t, signed))
			fatalIfErr(t, err)
			change(&r)
			if _, err := r.Verify(); err == nil {
				t.Error("accepted")
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	root := newRoot(f)
	f.Add(encode(f, request(f, root, pki.RevocationList{}, root.issue(f))))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := revoke.Parse(data)
		if err != nil {
			return
		}
		r.Lines()
		if _, err := r.Verify(); err == nil && len(r.Revocations) > 0 && len(r.Revocations[0].Signature) == 0 {
			t.Error("nothing is signed, and it verifies")
		}
	})
}
