package proof_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/prooftest"
)

func TestBundlesComeBackTheSame(t *testing.T) {
	set := loadVectors(t)
	parsed := 0
	for _, v := range set.Index.Vectors {
		data := set.Files[v.Bundle]
		b, resaved, err := proof.ReadBundle(data)
		if resaved {
			if _, strict := proof.ParseBundle(data); strict == nil || !slices.Contains(v.Warnings, proof.WarnResaved) {
				t.Errorf("%s: %v", v.Name, strict)
			}
			data = b.Encode()
		}
		if (v.Step == proof.StepBundle) != (err != nil) {
			t.Errorf("%s: %v", v.Name, err)
		}
		if err != nil {
			if !errors.Is(err, proof.ErrBundle) {
				t.Errorf("%s: not an ErrBundle: %v", v.Name, err)
			}
			continue
		}
		parsed++
		if !bytes.Equal(b.Encode(), data) {
			t.Errorf("%s came back otherwise", v.Name)
		}
	}
	if parsed < 100 {
		t.Errorf("only %d bundles were read", parsed)
	}
}

func TestBundleSizeLimit(t *testing.T) {
	w := prooftest.New(prooftest.Options{})
	b := w.Notarize([]byte("a document"))
	good := b.Encode()
	if _, err := proof.ParseBundle(append(good, bytes.Repeat([]byte(" "), proof.MaxBundleSize)...)); !errors.Is(err,
		proof.ErrBundle) {
		t.Error(err)
	}
}

func TestTrustComesBackTheSame(t *testing.T) {
	set := loadVectors(t)
	for name, data := range set.Files {
		if !strings.HasPrefix(name, "trust") {
			continue
		}
		for _, text := range [][]byte{data, bytes.TrimSuffix(data, []byte("\n"))} {
			trust, err := proof.ParseTrust(text)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			want := bytes.TrimSuffix(data, []byte("\n"))
			if name == "trust-v2-resaved.json" {
				want = bytes.TrimSuffix(set.Files["trust-v2.json"], []byte("\n"))
			}
			if !bytes.Equal(trust.Encode(), want) {
				t.Errorf("%s came back otherwise", name)
			}
		}
	}
}

func TestTrustRefuses(t *testing.T) {
	w := prooftest.New(prooftest.Options{})
	trust := w.Trust()
	trust.Logs[0].NotAfter = prooftest.AgencyNotAfter
	good := string(trust.Encode())
	root, agency := base64.StdEncoding.EncodeToString(w.Root.DER),
		base64.StdEncoding.EncodeToString(w.Agency.Certificates[0])
	edit := func(old, new string) string {
		if strings.Count(good, old) < 1 {
			t.Fatalf("%q is not in the trust file", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	edited := bytes.Clone(w.Root.DER)
	edited[len(edited)-1] ^= 1
	twice := func(section, next string) string {
		_, rest, _ := strings.Cut(good, section+`":[`)
		item, _, _ := strings.Cut(rest, "]"+next)
		return edit(item+"]"+next, item+","+item+"]"+next)
	}
	next := w.Chain.HandOver(w.Chain.Members, w.Chain.Genesis.Notaries)
	for name, bad := range map[string]string{
		"empty": "", "not JSON": "trust", "other format": edit("trust/v1", "trust/v3"),
		"no version 2": edit("trust/v1", "trust/v2"),
		"unknown key":  edit(`,"logs"`, `,"x":1,"logs"`), "null": edit(`"roots":["`+root+`"]`, `"roots":null`),
		"trailing value": good + "{}",
		"oversize":       good + strings.Repeat(" ", proof.MaxTrustSize), "root is no certificate": edit(root, "AAAA"),
		"root is an agency's":           edit(root, agency),
		"root's own signature is wrong": edit(root, base64.StdEncoding.EncodeToString(edited)),
		"root twice":                    twice("roots", `,"logs"`), "log key twice": twice("logs", `,"chains"`),
		"log key id": edit("example+", "example+0"), "chain twice": twice("chains", "}"),
		"other kind of chain": edit("egov/v1", "egov/v2"), "epoch 1 pinned": edit(quoted(w.Chain.Genesis.Text()),
			quoted(next.Text())),
		"epoch text": edit(`\nepoch 0`, `\nepoch 00`), "time with offset": edit("2029-01-01T00:00:00Z",
			"2029-01-01T00:00:00+00:00"),
		"time with fraction":    edit("2029-01-01T00:00:00Z", "2029-01-01T00:00:00.5Z"),
		"zero end":              edit("2029-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
		"no beginning":          edit(`"notBefore":"2026-01-01T00:00:00Z",`, ""),
		"ends before it begins": edit("2029-01-01T00:00:00Z", "2025-01-01T00:00:00Z"),
		"begins before 2000":    edit("2026-01-01T00:00:00Z", "1999-12-31T23:59:59Z"),
		"year 0":                edit("2026-01-01T00:00:00Z", "0000-01-01T00:00:00Z"),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := proof.ParseTrust([]byte(bad)); !errors.Is(err, proof.ErrTrust) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

func quoted(text string) string { return strings.ReplaceAll(text, "\n", `\n`) }

// TestLogKeyValidity: a key may have signed at any moment from the statement's time to the
// anchor's, and an open end means just that.
func TestLogKeyValidity(t *testing.T) {
	document := []byte("a document")
	w := prooftest.New(prooftest.Options{})
	r := w.Issue(document)
	c := w.Checkpoint()
	w.Tick(time.Hour)
	anchor := w.Anchor(c)
	digest, anchored := sm.Sum(document), w.Now
	second := func(at time.Time) time.Time { return at.Truncate(time.Second) }
	ever := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name          string
		before, after time.Time
		want          proof.Verdict
		pending       proof.Verdict
	}{
		{"always", ever, time.Time{}, proof.Genuine, proof.Pending},
		{"rotated in between", second(r.IssuedAt).Add(time.Minute), time.Time{}, proof.Genuine, proof.Pending},
		{"retired in between", ever, second(r.IssuedAt).Add(time.Minute), proof.Genuine, proof.Pending},
		{"retired before", ever, second(r.IssuedAt), proof.Invalid, proof.Invalid},
		{"introduced after", second(anchored).Add(time.Second), time.Time{}, proof.Invalid, proof.Pending},
	} {
		trust := w.Trust()
		trust.Logs[0].NotBefore, trust.Logs[0].NotAfter = tc.before, tc.after
		trust, err := proof.ParseTrust(trust.Encode())
		if err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		if got := proof.Verify(trust, &digest, w.Bundle(r, c, anchor).Encode()); got.Verdict != tc.want {
			t.Errorf("%s: %s: %s", tc.name, got.Verdict, got.Summary)
		}
		if got := proof.Verify(trust, &digest, w.Bundle(r, c).Encode()); got.Verdict != tc.pending {
			t.Errorf("%s, not anchored: %s: %s", tc.name, got.Verdict, got.Summary)
		}
	}
}
