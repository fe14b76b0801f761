package proof_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/prooftest"
)

// TestUnscopedRootsAreRefused: with several roots each must say for whom it speaks, in both
// versions; whoever makes trust files can still read such a file.
func TestUnscopedRootsAreRefused(t *testing.T) {
	one, two := prooftest.New(prooftest.Options{}), prooftest.New(prooftest.Options{Seed: "two"})
	both := one.Trust()
	both.Roots = append(both.Roots, two.Trust().Roots...)
	half := one.ScopedTrust()
	half.Roots = append(half.Roots, two.Trust().Roots...)
	half.Roots[0].Codes, half.Roots[0].Logs = []string{one.Agency.Code}, []string{one.Origin()}
	noLogs := one.ScopedTrust()
	noLogs.Roots = append(noLogs.Roots, two.Trust().Roots...)
	noLogs.Roots[0].Codes, noLogs.Roots[1].Regions = []string{one.Agency.Code}, []string{"42"}
	for name, trust := range map[string]*proof.Trust{"version 1": both, "one of two": half, "no logs": noLogs} {
		t.Run(name, func(t *testing.T) {
			if _, err := proof.ParseTrust(trust.Encode()); !errors.Is(err, proof.ErrUnscoped) ||
				!errors.Is(err, proof.ErrTrust) {
				t.Error(err)
			}
			if draft, err := proof.ParseTrustDraft(trust.Encode()); err != nil || len(draft.Roots) != 2 {
				t.Error(err)
			}
		})
	}
}

func TestTrustV2Refuses(t *testing.T) {
	w := prooftest.New(prooftest.Options{Validators: 2})
	trust := w.ScopedTrust("江城市数据局", "望江市公证处")
	trust.Roots[0].Codes, trust.Roots[0].Regions, trust.Roots[0].Logs = []string{w.Agency.Code}, []string{"4201"},
		[]string{w.Origin()}
	hash := sm.Sum([]byte("an epoch"))
	trust.Chains[0].Epochs = []proof.PinnedEpoch{{Hash: hash, From: w.Now.Truncate(time.Second)}}
	good := string(trust.Encode())
	if again, err := proof.ParseTrust([]byte(good)); err != nil || string(again.Encode()) != good {
		t.Fatal(err)
	}
	edit := func(old, new string) string {
		if strings.Count(good, old) < 1 {
			t.Fatalf("%q is not in %s", old, good)
		}
		return strings.Replace(good, old, new, 1)
	}
	for name, bad := range map[string]string{
		"late after nothing":   edit(`"lateAfter":86400`, `"lateAfter":0`),
		"late after centuries": edit(`"lateAfter":86400`, `"lateAfter":8640000000`),
		"code":                 edit(`"codes":["`+w.Agency.Code, `"codes":["91350100M000100Y44`),
		"region":               edit(`"regions":["4201"]`, `"regions":["420"]`),
		"region in letters":    edit(`"regions":["4201"]`, `"regions":["42AB"]`),
		"regions not sorted":   edit(`"regions":["4201"]`, `"regions":["4201","42"]`),
		"codes twice": edit(`"codes":["`+w.Agency.Code+`"]`, `"codes":["`+w.Agency.Code+`","`+w.Agency.Code+
			`"]`),
		"log's name":          edit(`"logs":["`+w.Origin()+`"]`, `"logs":["a b"]`),
		"no such chain":       edit(`"chains":["egov-stele"]`, `"chains":["egov-other"]`),
		"log without a key":   edit(`"keys":[{`, `"keys":[],"x":[{`),
		"another log's key":   edit(`"origin":"log.stele.example"`, `"origin":"log.other.example"`),
		"hash of an epoch":    edit(`"hash":"`, `"hash":"0`),
		"member's key":        edit(`"members":[{"key":"04`, `"members":[{"key":"05`),
		"member without name": edit(`"organization":"江城市数据局"`, `"organization":""`),
		"member's code":       edit(`"code":"11420100MB`, `"code":"11420100MA`),
		"no gateways":         edit(`,"gateways":[]`, ``),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := proof.ParseTrust([]byte(bad)); !errors.Is(err, proof.ErrTrust) {
				t.Error(err)
			}
		})
	}
	if err := trust.Chains[0].AddMember(trust.Chains[0].Members[0]); err == nil {
		t.Error("a member twice")
	}
}

// TestRegionsOfAgencies: a region is that of the registration in the agency's code.
func TestRegionsOfAgencies(t *testing.T) {
	document := []byte("a document")
	digest := sm.Sum(document)
	for region, want := range map[string]proof.Verdict{
		"35": proof.Genuine, "3501": proof.Genuine, "350100": proof.Genuine, "3502": proof.Unverifiable,
		"91": proof.Unverifiable, "350102": proof.Unverifiable,
	} {
		t.Run(region, func(t *testing.T) {
			w := prooftest.New(prooftest.Options{}) // the agency's code is 91350100M000100Y43
			trust := w.ScopedTrust()
			trust.Roots[0].Regions = []string{region}
			if r := proof.Verify(trust, &digest, w.Notarize(document).Encode()); r.Verdict != want {
				t.Errorf("%s: %s", r.Verdict, r.Summary)
			}
		})
	}
}

// TestAnotherKeyOfALogKeepsItsPlace: in version 2 the keys of one log stand together.
func TestAnotherKeyOfALogKeepsItsPlace(t *testing.T) {
	one, two := prooftest.New(prooftest.Options{}), prooftest.New(prooftest.Options{Seed: "two"})
	trust := one.ScopedTrust()
	other := two.ScopedTrust()
	trust.Chains, trust.Logs = append(trust.Chains, other.Chains...), append(trust.Logs, other.Logs...)
	key := prooftest.NewKey("next")
	fatalIfErr(t, trust.ChangeLogKey(verifierOf(t, one.Origin(), key), one.Now.Truncate(time.Second), time.Minute))
	again, err := proof.ParseTrust(trust.Encode())
	fatalIfErr(t, err)
	if len(again.LogKeys(one.Origin())) != 2 || !bytes.Equal(again.Encode(), trust.Encode()) ||
		again.Logs[1].Key.Name() != one.Origin() ||
		len(again.Logs[1].Chains) != 1 {
		t.Errorf("%s", again.Encode())
	}
}
