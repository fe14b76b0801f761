package proof_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/canonical"
	"stele/notary/proof/prooftest/vectors"
)

func FuzzBundle(f *testing.F) {
	set := loadVectors(f)
	for name, data := range set.Files {
		if strings.HasSuffix(name, ".json") && !strings.HasPrefix(name, "trust") {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if b, err := proof.ParseBundle(data); err == nil && !bytes.Equal(b.Encode(), data) {
			t.Fatalf("came back otherwise: %q", data)
		}
	})
}

func FuzzTrust(f *testing.F) {
	set := loadVectors(f)
	for name, data := range set.Files {
		if strings.HasPrefix(name, "trust") {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		trust, err := proof.ParseTrust(data)
		if err != nil || bytes.Equal(trust.Encode(), bytes.TrimSuffix(data, []byte("\n"))) {
			return
		}
		// Another program saved it anew: it says what its restored bytes say.
		restored, err := canonical.Restore(data, proof.MaxTrustSize)
		if err != nil || !bytes.Equal(trust.Encode(), restored) {
			t.Fatalf("came back otherwise: %q (%v)", data, err)
		}
	})
}

// forged reports whether the statement of a vector was not signed by the agency that it names:
// other trust roots must not make it genuine.
func forged(v vectors.Vector) bool {
	return v.Step == proof.StepStatement || v.Step == proof.StepCertificate
}

// FuzzVerify: no input makes it panic or leaves it without a verdict, and none is genuine
// but the genuine bundle, perhaps with attributes withheld.
func FuzzVerify(f *testing.F) {
	set := loadVectors(f)
	trust, err := proof.ParseTrust(set.Files["trust.json"])
	fatalIfErr(f, err)
	genuine := map[string]proof.Disclosed{}
	var statements [][]byte
	for _, v := range set.Index.Vectors {
		f.Add(set.Files[v.Bundle])
		b, _, err := proof.ReadBundle(set.Files[v.Bundle])
		if err != nil || forged(v) {
			continue
		}
		statements = append(statements, b.Statement)
		for _, d := range b.Fields {
			genuine[string(b.Statement)+d.Name] = d
		}
	}
	digest := sm.Sum(set.Files["document.pdf"])
	f.Fuzz(func(t *testing.T, data []byte) {
		r := proof.Verify(trust, &digest, data)
		if r.Verdict == "" || r.Summary == "" || len(r.JSON()) == 0 {
			t.Fatalf("no verdict: %s", r.JSON())
		}
		if _, failed := r.FailedStep(); (r.Verdict == proof.Invalid || r.Verdict == proof.Altered) && !failed {
			t.Fatalf("no step failed: %s", r.JSON())
		}
		if r.Verdict != proof.Genuine {
			return
		}
		b, _, err := proof.ReadBundle(data)
		if err != nil || !slices.ContainsFunc(statements, func(s []byte) bool { return bytes.Equal(s, b.Statement) }) {
			t.Fatalf("genuine, and never signed: %q (%v)", data, err)
		}
		for _, d := range b.Fields {
			if g := genuine[string(b.Statement)+d.Name]; g.Value != d.Value || !bytes.Equal(g.Salt, d.Salt) {
				t.Fatalf("attribute %q was never signed", d.Name)
			}
		}
	})
}
