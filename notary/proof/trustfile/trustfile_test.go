//go:build !js

package trustfile_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"stele/crypto/signednote"
	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/bsnproof/gateway"
	"stele/notary/proof/chainview"
	"stele/notary/proof/prooftest"
	"stele/notary/proof/trustfile"
)

func fatalIfErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

var code = prooftest.USCC("11420100MB1743225")

// city is the scoped trust of one city, whose root speaks for a region.
func city(seed, region string) *proof.Trust {
	w := prooftest.New(prooftest.Options{Seed: seed, Validators: 2})
	return must(trustfile.Make(w.Trust(), trustfile.Change{Regions: []string{region}}, nil))
}

// says demands an error of a kind whose text names what matters.
func says(t *testing.T, err, kind error, parts ...string) {
	t.Helper()
	if err == nil || kind != nil && !errors.Is(err, kind) {
		t.Errorf("%v, want %v", err, kind)
		return
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("%v does not say %q", err, p)
		}
	}
}

// TestUpgradeKeepsVerdicts: the same trust in version 2 finds the same of the same bundle.
func TestUpgradeKeepsVerdicts(t *testing.T) {
	w := prooftest.New(prooftest.Options{})
	document := []byte("a deed")
	digest := sm.Sum(document)
	old := w.Trust()
	old.Pin(prooftest.NewGateway("gateway", gateway.SM2).Pinned(proof.KindBSNFabric))
	before := string(old.Encode())
	up := must(proof.ParseTrust(trustfile.Upgrade(old).Encode()))
	bundle := w.Notarize(document).Encode()
	for _, trust := range []*proof.Trust{old, up} {
		if r := proof.Verify(trust, &digest, bundle); r.Verdict != proof.Genuine || len(r.Warnings) > 0 {
			t.Errorf("%s: %s", r.Verdict, r.Summary)
		}
	}
	if got := up.Logs[0].Chains; len(got) != 2 || got[0] != prooftest.GatewayApp || got[1] != w.Chain.Genesis.Chain {
		t.Errorf("the log may be anchored by %q", got)
	}
	if up.Late != proof.DefaultLate || up.Format != proof.TrustV2 || string(old.Encode()) != before {
		t.Errorf("%s", up.Encode())
	}
}

func TestUpgradePutsKeysOfALogTogether(t *testing.T) {
	a, b := prooftest.New(prooftest.Options{}), prooftest.New(prooftest.Options{Seed: "two"})
	mixed := &proof.Trust{Logs: append(a.Trust().Logs, b.Trust().Logs...)}
	next := must(signednote.NewVerifier(a.Origin(), prooftest.NewKey("next").Public()))
	fatalIfErr(t, mixed.ChangeLogKey(next, a.Now.Truncate(time.Second), time.Minute))
	up := trustfile.Upgrade(mixed)
	if _, err := proof.ParseTrust(up.Encode()); err != nil || up.Logs[1].Key.Name() != a.Origin() || len(up.Logs) != 3 {
		t.Errorf("%v %s", err, up.Encode())
	}
}

func TestMake(t *testing.T) {
	w := prooftest.New(prooftest.Options{Validators: 2})
	id := w.Chain.Genesis.Chain
	office := trustfile.Organization{Validator: "city-1", Name: "望江市公证处", Code: code}
	made, err := trustfile.Make(w.Trust(), trustfile.Change{Codes: []string{w.Agency.Code},
		Regions: []string{"42", "35", "42"}, Late: new(time.Hour), Members: []trustfile.Organization{office, office}},
		nil)
	fatalIfErr(t, err)
	r, members := made.Roots[0], made.Chains[0].Members
	if len(r.Codes) != 1 || strings.Join(r.Regions, " ") != "35 42" || r.Logs[0] != w.Origin() ||
		made.Late != time.Hour {
		t.Errorf("%+v", r)
	}
	if len(members) != 1 || !members[0].Key.Equal(w.Chain.Members[1].Validator.Key) ||
		members[0].Organization != office.Name {
		t.Errorf("%+v", members)
	}
	// After a rotation the name stands for another key; the former one stays named.
	rotated := prooftest.NewMember("rotated", "city-1", 10)
	w.Chain.HandOver([]prooftest.Member{w.Chain.Members[0], rotated}, w.Chain.Genesis.Notaries)
	newest := map[string]anchorproof.Epoch{id: w.Chain.Current()}
	made, err = trustfile.Make(made, trustfile.Change{Members: []trustfile.Organization{office}}, newest)
	fatalIfErr(t, err)
	if members := made.Chains[0].Members; len(members) != 2 || !members[1].Key.Equal(rotated.Validator.Key) {
		t.Errorf("%+v", members)
	}
	other := office // a name that was wrong is corrected, and the file before stays as it is
	other.Name = "江城市数据局"
	again, err := trustfile.Make(made, trustfile.Change{Members: []trustfile.Organization{other}}, newest)
	fatalIfErr(t, err)
	if is, was := again.Chains[0].Members, made.Chains[0].Members; len(is) != 2 || is[1].Organization != other.Name ||
		len(was) != 2 || was[0].Organization != office.Name || was[1].Organization != office.Name {
		t.Errorf("%+v, before %+v", is, was)
	}
	both := city("one", "42")
	both.Roots = append(both.Roots, city("two", "35").Roots...)
	for name, c := range map[string]struct {
		trust  *proof.Trust
		change trustfile.Change
		says   string
	}{
		"unknown validator": {
			made, trustfile.Change{Members: []trustfile.Organization{{"city-9", office.Name, code}}},
			`"city-0" "city-1"`},
		"bad code": {
			made, trustfile.Change{Members: []trustfile.Organization{{"city-0", office.Name, "1"}}}, "credit code"},
		"bad region":         {made, trustfile.Change{Regions: []string{"420"}}, "420"},
		"half a second":      {made, trustfile.Change{Late: new(time.Second / 2)}, "whole seconds"},
		"no time at all":     {made, trustfile.Change{Late: new(time.Duration(0))}, "1 at least"},
		"several instances":  {both, trustfile.Change{}, "with one root; this file has 2"},
		"a code of nobody's": {made, trustfile.Change{Codes: []string{"x"}}, "credit code"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := trustfile.Make(c.trust, c.change, newest)
			says(t, err, nil, c.says)
		})
	}
}

func TestMerge(t *testing.T) {
	one, two := city("one", "42"), city("two", "35")
	two.Late = time.Hour
	m, err := trustfile.Merge(one, two)
	fatalIfErr(t, err)
	if len(m.Roots) != 2 || len(m.Logs) != 2 || len(m.Chains) != 2 || m.Late != time.Hour {
		t.Fatalf("%s", m.Encode())
	}
	// Each city's records verify, and neither root speaks for the other's agencies.
	w := prooftest.New(prooftest.Options{Seed: "two", Validators: 2}) // its agency is of region 35
	document := []byte("a deed")
	digest := sm.Sum(document)
	bundle := w.Notarize(document).Encode()
	if r := proof.Verify(m, &digest, bundle); r.Verdict != proof.Genuine {
		t.Errorf("%s: %s", r.Verdict, r.Summary)
	}
	stranger := prooftest.New(prooftest.Options{Seed: "one", Validators: 2}) // the agency, under the root for region 42
	if r := proof.Verify(m, &digest, stranger.Notarize(document).Encode()); r.Verdict != proof.Unverifiable {
		t.Errorf("another city's root speaks for the agency: %s: %s", r.Verdict, r.Summary)
	}
	if again := must(trustfile.Merge(m, one)); !bytes.Equal(again.Encode(), m.Encode()) {
		t.Error("what is there already was added")
	}
}

// TestMergeUnscoped: the sentence says which root lacks its scope.
func TestMergeUnscoped(t *testing.T) {
	plain := prooftest.New(prooftest.Options{Seed: "two"})
	_, err := trustfile.Merge(city("one", "42"), plain.Trust())
	says(t, err, proof.ErrUnscoped, sm.Sum(plain.Root.DER).String()[:8])
	if _, err := trustfile.Merge(); err == nil {
		t.Error("nothing was merged")
	}
}

func TestMergeConflicts(t *testing.T) {
	w := prooftest.New(prooftest.Options{Validators: 2})
	base := func() *proof.Trust {
		b := w.ScopedTrust("江城市数据局")
		b.Pin(prooftest.NewGateway("gateway", gateway.SM2).Pinned(proof.KindBSNFabric))
		b.Roots[0].Regions, b.Roots[0].Logs = []string{"42"}, []string{w.Origin()}
		b.Chains[0].Epochs = []proof.PinnedEpoch{{Hash: sm.Sum([]byte("1")), From: w.Now.Truncate(time.Second)}}
		return b
	}
	foreign := prooftest.New(prooftest.Options{Seed: "other", Chain: w.Chain.Genesis.Chain})
	for name, c := range map[string]struct {
		change func(t *proof.Trust)
		says   []string
	}{
		"a root with two scopes": {
			func(t *proof.Trust) { t.Roots[0].Regions = []string{"35"} }, []string{"regions 42", "regions 35"}},
		"a root with none": {
			func(t *proof.Trust) { t.Roots[0].Regions, t.Roots[0].Logs = nil, nil }, []string{"all agencies"}},
		"a chain with another epoch": {
			func(t *proof.Trust) { t.Chains[0].Genesis, t.Chains[0].Members = foreign.Chain.Genesis, nil },
			[]string{w.Chain.Genesis.Chain, foreign.Chain.Genesis.Hash().String()}},
		"a log key with two times": {
			func(t *proof.Trust) { t.Logs[0].NotAfter = w.Now.Truncate(time.Second) },
			[]string{w.Origin(), "newer file"}},
		"a log with two anchors": {
			func(t *proof.Trust) { t.Logs[0].Chains = nil }, []string{w.Origin(), w.Chain.Genesis.Chain}},
		"a member of two": {
			func(t *proof.Trust) { t.Chains[0].Members[0].Organization = "望江市公证处" }, []string{"江城市数据局", "望江市公证处"}},
		"a member with two codes": {func(t *proof.Trust) { t.Chains[0].Members[0].Code = code }, []string{code}},
		"an epoch with two hashes": {
			func(t *proof.Trust) { t.Chains[0].Epochs[0].Hash = sm.Sum([]byte("2")) },
			[]string{"epoch 1", sm.Sum([]byte("2")).String()}},
		"an epoch with two times": {
			func(t *proof.Trust) { t.Chains[0].Epochs[0].From = w.Now.Add(time.Hour).Truncate(time.Second) },
			[]string{"epoch 1"}},
		"a gateway with another name": {func(t *proof.Trust) { t.Gateways[0].Name = "else" }, []string{`"else"`}},
	} {
		t.Run(name, func(t *testing.T) {
			other := base()
			c.change(other)
			_, err := trustfile.Merge(base(), other)
			says(t, err, trustfile.ErrConflict, c.says...)
			_, err = trustfile.Merge(other, base())
			says(t, err, trustfile.ErrConflict, c.says...)
		})
	}
	longer := base()
	longer.Chains[0].Epochs = append(longer.Chains[0].Epochs,
		proof.PinnedEpoch{Hash: sm.Sum([]byte("2")), From: w.Now.Add(time.Hour).Truncate(time.Second)})
	for _, m := range []*proof.Trust{must(trustfile.Merge(base(), longer)), must(trustfile.Merge(longer, base()))} {
		if len(m.Chains[0].Epochs) != 2 {
			t.Error("the longer list of epochs does not count")
		}
	}
}

// terms are all hand-overs of a world's chain; those in certified have a first header.
func terms(w *prooftest.World, certified ...time.Time) []chainview.Term {
	var out []chainview.Term
	for i, e := range w.Chain.Epochs {
		t := chainview.Term{Signed: e}
		if i < len(certified) && !certified[i].IsZero() {
			c := w.Checkpoint()
			h := w.Chain.Header(certified[i], c.Checkpoint)
			h.Epoch = e.Number
			t.First = &chainview.Certified{Header: h, Cosignatures: w.Chain.Cosign(h.Text())}
		}
		out = append(out, t)
	}
	return out
}

func TestUpdate(t *testing.T) {
	w := prooftest.New(prooftest.Options{Validators: 4})
	id, members, logs := w.Chain.Genesis.Chain, w.Chain.Members, w.Chain.Genesis.Notaries
	trust := w.Trust()
	w.Chain.HandOver(members[:3], logs)
	w.Chain.HandOver(append(members[:2:2], prooftest.NewMember("new", "city-9", 10)), logs)
	w.Chain.HandOver(w.Chain.Members, logs[:0])
	now, since := w.Now.Add(48*time.Hour), w.Now.Add(24*time.Hour)
	// Only the last members can cosign here, so of the first two terms no header is certified.
	list := terms(w, time.Time{}, time.Time{}, since)
	up, pinned, err := trustfile.Update(trust, id, list, now)
	fatalIfErr(t, err)
	epochs := up.Chains[0].Epochs
	if len(epochs) != 3 || len(pinned) != 3 || up.Format != proof.TrustV2 || !pinned[2].Proven || pinned[0].Proven {
		t.Fatalf("%+v", pinned)
	}
	for i, e := range epochs {
		if e.Hash != w.Chain.Epochs[i].Hash() || !e.From.Equal(since.Truncate(time.Second)) {
			t.Errorf("epoch %d: %+v", i+1, e)
		}
	}
	if got := pinned[2].Unnamed; len(got) != 3 || got[2] != "city-9" {
		t.Errorf("unnamed: %q", got)
	}
	// Without a certified header it is the time of the update, and what is pinned stays as it is.
	w.Chain.HandOver(w.Chain.Members[:2], nil)
	longer := append(list[:3:3], chainview.Term{Signed: w.Chain.Epochs[3]})
	more, pinned, err := trustfile.Update(up, id, longer, now)
	fatalIfErr(t, err)
	if len(pinned) != 1 || !more.Chains[0].Epochs[3].From.Equal(now.Truncate(time.Second)) || pinned[0].Proven {
		t.Errorf("%+v", pinned)
	}
	first := more.Chains[0].Epochs[0]
	if !first.From.Equal(since.Truncate(time.Second)) || len(up.Chains[0].Epochs) != 3 {
		t.Errorf("%+v", first)
	}
	// A slow clock moves nothing before what is pinned.
	slow, _, err := trustfile.Update(up, id, longer, w.Now)
	fatalIfErr(t, err)
	if got := slow.Chains[0].Epochs[3].From; !got.Equal(epochs[2].From) {
		t.Error(got)
	}
	same, pinned, err := trustfile.Update(more, id, longer, now)
	fatalIfErr(t, err)
	if len(pinned) != 0 || len(trustfile.Compare(same, more)) > 0 {
		t.Error(pinned)
	}
}

func TestUpdateBelievesNobody(t *testing.T) {
	w := prooftest.New(prooftest.Options{Validators: 4})
	id, members, logs := w.Chain.Genesis.Chain, w.Chain.Members, w.Chain.Genesis.Notaries
	former := prooftest.New(prooftest.Options{Validators: 4}) // the same keys: what former members can make
	former.Chain.HandOver(members[1:], logs)
	w.Chain.HandOver(members[:3], logs)
	w.Chain.HandOver(members[:2], logs)
	now := w.Now
	honest := terms(w, time.Time{}, now)
	up, _, err := trustfile.Update(w.Trust(), id, honest, now)
	fatalIfErr(t, err)
	few := append([]chainview.Term{}, honest...)
	few[0].Signed.Signatures = few[0].Signed.Signatures[:2]
	forged := append([]chainview.Term{}, honest...)
	first := *honest[1].First
	first.Header.TimeMs -= 1000
	forged[1].First = &first
	late := terms(w, time.Time{}, now.Add(-time.Hour))
	for name, c := range map[string]struct {
		trust *proof.Trust
		chain string
		terms []chainview.Term
		says  string
	}{
		"another history":         {up, id, terms(former), "two histories"},
		"fewer than a quorum":     {w.Trust(), id, few, "more than two thirds"},
		"without its beginning":   {w.Trust(), id, honest[1:], "cannot follow"},
		"a time nobody cosigned":  {w.Trust(), id, forged, "first header of epoch 2"},
		"an older list":           {up, id, honest[:1], "older"},
		"a chain that is another": {w.Trust(), "egov-x", honest, `"egov-x"`},
		"no chain at all":         {&proof.Trust{}, id, honest, "no chain"},
		"members of another chain": {
			prooftest.New(prooftest.Options{Seed: "x", Chain: id}).Trust(), id, honest, "do not lead on"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := trustfile.Update(c.trust, c.chain, c.terms, now)
			says(t, err, nil, c.says)
		})
	}
	// A header of the later epoch that is older than what is pinned of the one before.
	half, _, err := trustfile.Update(w.Trust(), id, honest[:1], now)
	fatalIfErr(t, err)
	_, _, err = trustfile.Update(half, id, late, now)
	says(t, err, nil, "before epoch 1")
}

// TestPinnedEpochsCount: what Update pins is what a verifier holds former members to.
func TestPinnedEpochsCount(t *testing.T) {
	w := prooftest.New(prooftest.Options{Validators: 4})
	document := []byte("a deed")
	digest := sm.Sum(document)
	trust, members := w.Trust(), w.Chain.Members
	old := w.Notarize(document).Encode()
	w.Chain.HandOver(members[:3], w.Chain.Genesis.Notaries)
	w.Tick(time.Hour)
	list := terms(w, w.Now)
	up, _, err := trustfile.Update(trust, w.Chain.Genesis.Chain, list, w.Now)
	fatalIfErr(t, err)
	w.Chain.Epochs, w.Chain.Members = nil, members // the former members, a day later
	w.Tick(24 * time.Hour)
	misused := w.Notarize(document).Encode()
	for name, c := range map[string]struct {
		trust  *proof.Trust
		bundle []byte
		want   proof.Verdict
	}{
		"in their term":      {up, old, proof.Genuine},
		"after their term":   {up, misused, proof.Invalid},
		"before the update":  {trust, misused, proof.Genuine},
		"old, before update": {trust, old, proof.Genuine},
	} {
		t.Run(name, func(t *testing.T) {
			if r := proof.Verify(c.trust, &digest, c.bundle); r.Verdict != c.want {
				t.Errorf("%s: %s: %s", name, r.Verdict, r.Summary)
			}
		})
	}
}

// TestInputsStay: whoever goes on using the trust roots that were given finds them as they were.
func TestInputsStay(t *testing.T) {
	trust := prooftest.New(prooftest.Options{Validators: 2}).ScopedTrust("江城市数据局", "望江市公证处")
	members := trust.Chains[0].Members
	for range 2 { // sorted, and not
		before := string(trust.Encode())
		must(trustfile.Merge(trust, trust))
		must(trustfile.Make(trust, trustfile.Change{Regions: []string{"42"}}, nil))
		if string(trust.Encode()) != before {
			t.Error("the input was changed")
		}
		members[0], members[1] = members[1], members[0]
	}
}
