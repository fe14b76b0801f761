//go:build !js

package trustfile_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"stele/crypto/signednote"
	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/bsnproof/gateway"
	"stele/notary/proof/prooftest"
	"stele/notary/proof/trustfile"
)

// TestCompare: each thing that can differ is named, in both directions.
func TestCompare(t *testing.T) {
	w := prooftest.New(prooftest.Options{Validators: 2})
	at := w.Now.Truncate(time.Second)
	base := func() *proof.Trust {
		b := w.ScopedTrust("江城市数据局", "望江市公证处")
		b.Pin(prooftest.NewGateway("gateway", gateway.SM2).Pinned(proof.KindBSNFabric))
		b.Roots[0].Regions, b.Roots[0].Logs = []string{"42"}, []string{w.Origin()}
		b.Chains[0].Epochs = []proof.PinnedEpoch{{Hash: sm.Sum([]byte("1")), From: at}}
		return b
	}
	if d := trustfile.Compare(base(), base()); len(d) > 0 {
		t.Errorf("%v", d)
	}
	foreign := prooftest.New(prooftest.Options{Seed: "other", Validators: 2, Chain: w.Chain.Genesis.Chain})
	for name, c := range map[string]struct {
		change func(t *proof.Trust)
		kind   trustfile.Kind
		what   trustfile.What
		says   string
	}{
		"root": {func(t *proof.Trust) { t.Roots = nil }, trustfile.Removed, trustfile.Root, "江城市数据局"},
		"scope": {
			func(t *proof.Trust) { t.Roots[0].Regions = []string{"35"} }, trustfile.Changed, trustfile.Scope,
			"regions 35"},
		"log": {func(t *proof.Trust) { t.Logs[0].Chains = nil }, trustfile.Changed, trustfile.Log, "by nothing"},
		"log key": {
			func(t *proof.Trust) { t.Logs[0].NotAfter = at }, trustfile.Changed, trustfile.LogKey, "to 2026-11-22"},
		"log key gone": {func(t *proof.Trust) { t.Logs = nil }, trustfile.Removed, trustfile.LogKey, w.Origin()},
		"chain": {

			func(t *proof.Trust) { t.Chains = nil; t.Logs[0].Chains = nil }, trustfile.Removed,
			trustfile.Chain, w.Chain.Genesis.Chain},
		"its epoch 0": {
			func(t *proof.Trust) { t.Chains[0].Genesis = foreign.Chain.Genesis },
			trustfile.Changed, trustfile.Chain, "epoch 0"},
		"epoch": {
			func(t *proof.Trust) { t.Chains[0].Epochs[0].From = at.Add(time.Hour) },
			trustfile.Changed, trustfile.Epoch, "Epoch 1"},
		"epoch not": {func(t *proof.Trust) { t.Chains[0].Epochs = nil }, trustfile.Removed, trustfile.Epoch, "Epoch 1"},
		"member": {
			func(t *proof.Trust) { t.Chains[0].Members[1].Organization = "某局" }, trustfile.Changed, trustfile.Member,
			"某局"},
		"member not": {

			func(t *proof.Trust) { t.Chains[0].Members = t.Chains[0].Members[:1] }, trustfile.Removed,
			trustfile.Member, "望江市公证处"},
		"gateway": {
			func(t *proof.Trust) { t.Gateways[0].Name = "else" }, trustfile.Changed, trustfile.Gateway, `"else"`},
		"gateway not": {
			func(t *proof.Trust) { t.Gateways = nil }, trustfile.Removed, trustfile.Gateway, prooftest.GatewayApp},
		"late": {func(t *proof.Trust) { t.Late = time.Minute }, trustfile.Changed, trustfile.Late, "1m0s"},
		"order": {
			func(t *proof.Trust) { slices.Reverse(t.Chains[0].Members) }, trustfile.Changed, trustfile.Order, "order"},
		"an older spell": {
			func(t *proof.Trust) { t.Format = proof.TrustV1 }, trustfile.Changed, trustfile.Format, proof.TrustV1},
	} {
		t.Run(name, func(t *testing.T) {
			other := base()
			c.change(other)
			there, back := trustfile.Compare(base(), other), trustfile.Compare(other, base())
			i := slices.IndexFunc(there, func(d trustfile.Difference) bool {
				return d.What == c.what && d.Kind == c.kind
			})
			if i < 0 || !strings.Contains(there[i].Sentence, c.says) {
				t.Fatalf("%+v", there)
			}
			opposite := c.kind
			if opposite == trustfile.Removed {
				opposite = trustfile.Added
			}
			if !slices.ContainsFunc(back, func(d trustfile.Difference) bool {
				return d.What == c.what && d.Kind == opposite && d.Subject == there[i].Subject
			}) {
				t.Errorf("backwards: %+v", back)
			}
		})
	}
}

// worlds are where the parts of random trust files come from.
var worlds = []*prooftest.World{
	prooftest.New(prooftest.Options{Seed: "a", Validators: 2}),
	prooftest.New(prooftest.Options{Seed: "b", Validators: 3}),
	prooftest.New(prooftest.Options{Seed: "c", Chain: "egov-b"}),
}

// drawTrust is a random scoped trust of some worlds. The same seldom differs, so that merges often
// have a result and sometimes none.
func drawTrust(r *rapid.T, name string) *proof.Trust {
	t := &proof.Trust{Format: proof.TrustV2, Late: time.Hour}
	seldom := func(what string) bool { return rapid.IntRange(0, 11).Draw(r, name+what) == 0 }
	often := func(what string) bool { return rapid.Bool().Draw(r, name+what) }
	if seldom("late") {
		t.Late = time.Minute
	}
	for i, w := range worlds {
		if !often("world") || i == 2 && len(t.Chains) > 0 && t.Chains[len(t.Chains)-1].Genesis.Chain == "egov-b" {
			continue
		}
		one := w.ScopedTrust("江城市数据局")
		one.Roots[0].Regions, one.Roots[0].Logs = []string{"42"}, []string{w.Origin()}
		if seldom("scope") {
			one.Roots[0].Regions = []string{"35"}
		}
		if !often("members") {
			one.Chains[0].Members = nil
		}
		if seldom("validity") {
			one.Logs[0].NotAfter = w.Now.Truncate(time.Second)
		}
		if often("key") {
			other := one.Logs[0]
			other.Key = must(signednote.NewVerifier(w.Origin(), prooftest.NewKey("next").Public()))
			one.Logs = append(one.Logs, other)
		}
		for n := range rapid.IntRange(0, 3).Draw(r, name+"epochs") {
			pin := proof.PinnedEpoch{Hash: sm.Sum([]byte{byte(n)}), From: w.Now.Truncate(time.Second)}
			one.Chains[0].Epochs = append(one.Chains[0].Epochs, pin)
		}
		if often("gateway") {
			one.Pin(prooftest.NewGateway("gateway", gateway.SM2).Pinned(proof.KindBSNFabric))
		}
		if often("logs first") {
			t.Logs = append(one.Logs, t.Logs...)
		} else {
			t.Logs = append(t.Logs, one.Logs...)
		}
		t.Roots, t.Chains = append(t.Roots, one.Roots...), append(t.Chains, one.Chains...)
		for _, g := range one.Gateways {
			t.Pin(g)
		}
	}
	return must(proof.ParseTrust(t.Encode()))
}

func encoded(t *proof.Trust, err error) string {
	if err != nil {
		return "none"
	}
	return string(t.Encode())
}

// TestMergeLaws: neither the order of the files nor how they are taken together matters, and what
// is merged again changes nothing.
func TestMergeLaws(t *testing.T) {
	merged, refused := 0, 0
	rapid.Check(t, func(r *rapid.T) {
		a, b, c := drawTrust(r, "a "), drawTrust(r, "b "), drawTrust(r, "c ")
		ab, err := trustfile.Merge(a, b)
		if encoded(ab, err) != encoded(trustfile.Merge(b, a)) {
			r.Fatalf("not commutative:\n%s\n%s", a.Encode(), b.Encode())
		}
		all := encoded(trustfile.Merge(a, b, c))
		bc, err2 := trustfile.Merge(b, c)
		if err != nil || err2 != nil {
			if all != "none" {
				r.Fatalf("three merge, two do not: %v, %v", err, err2)
			}
			refused++
			return
		}
		if left, right := encoded(trustfile.Merge(ab, c)), encoded(trustfile.Merge(a, bc)); left != right ||
			left != all {
			r.Fatalf("not associative:\n%s\n%s\n%s", left, right, all)
		}
		if encoded(trustfile.Merge(ab, a, ab)) != encoded(ab, nil) {
			r.Fatal("not idempotent")
		}
		merged++
	})
	if merged == 0 || refused == 0 {
		t.Errorf("%d merged, %d refused: the test compares too little", merged, refused)
	}
}

// TestCompareIsEquality: no difference if and only if the files are the same bytes.
func TestCompareIsEquality(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		a, b := drawTrust(r, "a "), drawTrust(r, "b ")
		if rapid.Bool().Draw(r, "arranged") {
			a = must(trustfile.Merge(a))
			b = must(trustfile.Merge(b))
		}
		for _, pair := range [][2]*proof.Trust{{a, b}, {b, a}, {a, a}} {
			d := trustfile.Compare(pair[0], pair[1])
			if same := bytes.Equal(pair[0].Encode(), pair[1].Encode()); same != (len(d) == 0) {
				r.Fatalf("same: %t, differences: %+v", same, d)
			}
		}
	})
}
