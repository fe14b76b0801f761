package exhibit_test

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"stele/notary/proof"
	"stele/notary/proof/exhibit"
	"stele/notary/proof/prooftest/vectors"
	"stele/ui/fill"
)

func fatalIfErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const vectorsDir = "../testdata/vectors"

// texts is the catalogue of one language.
func texts(t testing.TB, tag string) exhibit.Words {
	t.Helper()
	data, err := os.ReadFile("../../../ui/locales/" + tag + ".json")
	fatalIfErr(t, err)
	var all map[string]string
	fatalIfErr(t, json.Unmarshal(data, &all))
	return func(key string, pairs ...string) string {
		text, ok := all[key]
		if !ok {
			t.Errorf("%s lacks %s", tag, key)
		}
		return fill.Places(text, pairs...)
	}
}

// shown is a bundle whose claims may be shown, with what was found on it.
type shown struct {
	report *proof.Report
	trust  *proof.Trust
	bundle []byte
}

// holding are the test vectors that hold, by name.
func holding(t testing.TB) map[string]shown {
	t.Helper()
	set, err := vectors.Load(vectorsDir)
	fatalIfErr(t, err)
	out := map[string]shown{}
	for _, v := range set.Index.Vectors {
		r, err := set.Report(v)
		fatalIfErr(t, err)
		if len(r.Steps) == 0 || slices.ContainsFunc(r.Steps, func(s proof.Step) bool {
			return s.AgainstEvidence() || s.LeavesOpen() && s.Name != proof.StepAnchor
		}) {
			continue
		}
		trust, err := proof.ParseTrust(set.Files[v.Trust])
		fatalIfErr(t, err)
		out[v.Name] = shown{r, trust, set.Files[v.Bundle]}
	}
	if len(out) < 20 {
		t.Fatalf("%d vectors only", len(out))
	}
	return out
}

func (s shown) page(t testing.TB, words exhibit.Words) *exhibit.Page {
	t.Helper()
	p, err := exhibit.Show(s.report, s.trust, s.bundle, words)
	fatalIfErr(t, err)
	return p
}

// TestShowEverything: whatever holds can be shown, in both languages, and what does not hold
// together cannot.
func TestShowEverything(t *testing.T) {
	for _, tag := range []string{"zh-CN", "en"} {
		words := texts(t, tag)
		for name, s := range holding(t) {
			p := s.page(t, words)
			wellFormed(t, name, p.Picture)
			seen := map[string]bool{}
			for _, part := range p.Parts {
				if seen[part.Key] || part.Title == "" || len(part.Values) == 0 {
					t.Errorf("%s: part %q twice or empty", name, part.Key)
				}
				seen[part.Key] = true
			}
		}
	}
}

// TestNothingToShow: of evidence that does not hold nothing is shown, and taking it apart in
// spite of that ends with an error at worst.
func TestNothingToShow(t *testing.T) {
	set, err := vectors.Load(vectorsDir)
	fatalIfErr(t, err)
	words, held := texts(t, "en"), holding(t)
	for _, v := range set.Index.Vectors {
		r, err := set.Report(v)
		fatalIfErr(t, err)
		trust, err := proof.ParseTrust(set.Files[v.Trust])
		if _, holds := held[v.Name]; holds || err != nil {
			continue
		}
		if _, err := exhibit.Show(r, trust, set.Files[v.Bundle], words); !errors.Is(err, exhibit.ErrNothing) {
			t.Errorf("%s: %v", v.Name, err)
		}
		if x, err := exhibit.New(trust, set.Files[v.Bundle]); err == nil {
			wellFormed(t, v.Name, exhibit.Picture(r, x, words))
			x.Parts(words)
		}
	}
}

// FuzzShow: whatever a bundle says, it is shown or it is refused, and only what holds is shown.
func FuzzShow(f *testing.F) {
	words := texts(f, "zh-CN")
	held := holding(f)
	for _, s := range held {
		f.Add(s.bundle)
	}
	trust := held["genuine"].trust
	f.Fuzz(func(t *testing.T, bundle []byte) {
		if p, err := exhibit.Show(proof.Verify(trust, nil, bundle), trust, bundle, words); err == nil {
			wellFormed(t, "fuzz", p.Picture)
		}
		if x, err := exhibit.New(trust, bundle); err == nil {
			x.Parts(words)
		}
	})
}

// TestVouchedAsReported: the commands check the certificate at the time that the report leads with,
// or at the second before where that is a certificate's last.
func TestVouchedAsReported(t *testing.T) {
	for name, s := range holding(t) {
		x, err := exhibit.New(s.trust, s.bundle)
		fatalIfErr(t, err)
		own := x.Sections[0]
		if s.report.AnchoredAt == "" || own.Vouched == 0 {
			continue
		}
		reported, err := time.Parse(time.RFC3339, s.report.AnchoredAt)
		fatalIfErr(t, err)
		if early := reported.Unix() - own.Vouched; early != 0 && early != 1 {
			t.Errorf("%s: %s, the report says %s", name, own.VouchedText, s.report.AnchoredAt)
		}
	}
}
