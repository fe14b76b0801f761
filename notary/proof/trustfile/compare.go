package trustfile

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"stele/crypto/sm"
	"stele/notary/proof"
)

// Kind says how a thing differs, seen from the first file.
type Kind string

// Kinds of differences.
const (
	Added   Kind = "added"
	Removed Kind = "removed"
	Changed Kind = "changed"
)

// What says what differs.
type What string

// What can differ.
const (
	Root    What = "root"
	Scope   What = "scope" // of a root
	Log     What = "log"   // what may anchor it
	LogKey  What = "log_key"
	Chain   What = "chain" // its epoch 0
	Epoch   What = "epoch"
	Member  What = "member"
	Gateway What = "gateway"
	Late    What = "late"
	Format  What = "format"
	Order   What = "order" // and nothing else
)

// Difference is one difference between two files.
type Difference struct {
	Kind     Kind   `json:"kind"`
	What     What   `json:"what"`
	Subject  string `json:"subject"`  // SM3 of a root, key text, chain id, …
	Sentence string `json:"sentence"` // for people
}

// Compare lists what b says otherwise than a. The list is empty if and only if both are, byte for
// byte, the same file.
func Compare(a, b *proof.Trust) []Difference {
	d := &differences{}
	if before, after := format(a), format(b); before != after {
		d.add(Changed, Format, "format", "The format is %s in the first file, %s in the second.", before, after)
	}
	a2, b2 := Upgrade(a), Upgrade(b)
	if a2.Late != b2.Late {
		d.add(Changed, Late, "lateAfter", "An agency's date is late %v before the anchor in the first file, "+
			"%v in the second.", a2.Late, b2.Late)
	}
	d.roots(a2, b2)
	d.logs(a2, b2)
	each(d, a2.Chains, b2.Chains, func(c proof.TrustedChain) string { return c.Genesis.Chain },
		func(k Kind, c proof.TrustedChain) {
			d.add(k, Chain, c.Genesis.Chain, "The chain %s with epoch 0 %s is %s.", c.Genesis.Chain, c.Genesis.Hash(),
				only(k))
		}, d.chain)
	d.gateways(a2, b2)
	if len(d.list) == 0 && !bytes.Equal(a.Encode(), b.Encode()) {
		d.add(Changed, Order, "order", "Both files say the same, in another order.")
	}
	return d.list
}

type differences struct{ list []Difference }

func (d *differences) add(k Kind, w What, subject, sentence string, args ...any) {
	d.list = append(d.list, Difference{k, w, subject, fmt.Sprintf(sentence, args...)})
}

// each pairs the items of two lists by what tells them apart.
func each[T any](d *differences, a, b []T, id func(T) string, one func(Kind, T), both func(x, y T)) {
	for _, x := range a {
		if i := slices.IndexFunc(b, func(y T) bool { return id(x) == id(y) }); i >= 0 {
			both(x, b[i])
		} else {
			one(Removed, x)
		}
	}
	for _, y := range b {
		if !slices.ContainsFunc(a, func(x T) bool { return id(x) == id(y) }) {
			one(Added, y)
		}
	}
}

func only(k Kind) string {
	if k == Added {
		return "in the second file only"
	}
	return "in the first file only"
}

func format(t *proof.Trust) string {
	if t.Format == "" {
		return proof.TrustV1
	}
	return t.Format
}

func (d *differences) roots(a, b *proof.Trust) {
	id := func(r proof.TrustedRoot) string { return sm.Sum(r.DER).String() }
	each(d, a.Roots, b.Roots, id, func(k Kind, r proof.TrustedRoot) {
		d.add(k, Root, id(r), "%s, which speaks for %s, is %s.", title(RootName(r.DER)), scope(r), only(k))
	}, func(x, y proof.TrustedRoot) {
		if !sameScope(x, y) {
			d.add(Changed, Scope, id(x), "%s speaks for %s in the first file, for %s in the second.",
				title(RootName(x.DER)), scope(x), scope(y))
		}
	})
}

func title(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func (d *differences) logs(a, b *proof.Trust) {
	seen := ""
	each(d, a.Logs, b.Logs, keyText, func(k Kind, l proof.TrustedLog) {
		d.add(k, LogKey, keyText(l), "The key %s, valid %s, of the log %s is %s.",
			keyText(l), validity(l), l.Key.Name(), only(k))
	}, func(x, y proof.TrustedLog) {
		if validity(x) != validity(y) {
			d.add(Changed, LogKey, keyText(x),
				"The key %s of the log %s is valid %s in the first file, %s in the second.",
				keyText(x), x.Key.Name(), validity(x), validity(y))
		}
	})
	for _, x := range a.Logs { // the keys of a log share its list and stand together
		i := slices.IndexFunc(b.Logs, func(y proof.TrustedLog) bool { return x.Key.Name() == y.Key.Name() })
		if i >= 0 && x.Key.Name() != seen && !slices.Equal(x.Chains, b.Logs[i].Chains) {
			d.add(Changed, Log, x.Key.Name(),
				"The log %s may be anchored by %s in the first file, by %s in the second.",
				x.Key.Name(), list(x.Chains), list(b.Logs[i].Chains))
		}
		seen = x.Key.Name()
	}
}

func (d *differences) chain(a, b proof.TrustedChain) {
	id := a.Genesis.Chain
	if a.Genesis.Text() != b.Genesis.Text() {
		d.add(Changed, Chain, id, "The chain %s begins with epoch 0 %s in the first file, with %s in the second.",
			id, a.Genesis.Hash(), b.Genesis.Hash())
	}
	for i := range max(len(a.Epochs), len(b.Epochs)) {
		subject := fmt.Sprintf("%s %d", id, i+1)
		switch {
		case i >= len(a.Epochs):
			d.add(Added, Epoch, subject, "Epoch %d of chain %s, %s, is pinned %s.",
				i+1, id, epochText(b.Epochs[i]), only(Added))
		case i >= len(b.Epochs):
			d.add(Removed, Epoch, subject, "Epoch %d of chain %s, %s, is pinned %s.",
				i+1, id, epochText(a.Epochs[i]), only(Removed))
		case a.Epochs[i].Hash != b.Epochs[i].Hash || !a.Epochs[i].From.Equal(b.Epochs[i].From):
			d.add(Changed, Epoch, subject, "Epoch %d of chain %s is %s in the first file, %s in the second.",
				i+1, id, epochText(a.Epochs[i]), epochText(b.Epochs[i]))
		}
	}
	key := func(m proof.TrustedMember) string { return point(m.Key) }
	each(d, a.Members, b.Members, key, func(k Kind, m proof.TrustedMember) {
		d.add(k, Member, key(m), "That the key %.16s… of chain %s is %s's stands %s.", key(m), id, holder(m), only(k))
	}, func(x, y proof.TrustedMember) {
		if x.Organization != y.Organization || x.Code != y.Code {
			d.add(Changed, Member, key(x), "The key %.16s… of chain %s is %s's in the first file, %s's in the second.",
				key(x), id, holder(x), holder(y))
		}
	})
}

func (d *differences) gateways(a, b *proof.Trust) {
	each(d, a.Gateways, b.Gateways, gatewayID, func(k Kind, g proof.TrustedGateway) {
		d.add(k, Gateway, g.App, "The gateway %q of the application %s (%s) with the key %.8s… is %s.",
			g.Name, g.App, g.Kind, sm.Sum(g.Key.DER()), only(k))
	}, func(x, y proof.TrustedGateway) {
		if x.Name != y.Name {
			d.add(Changed, Gateway, x.App,
				"The gateway of the application %s is called %q in the first file, %q in the second.",
				x.App, x.Name, y.Name)
		}
	})
}

// scope says for whom a root speaks.
func scope(r proof.TrustedRoot) string {
	agencies, logs := "all agencies", "all logs"
	switch {
	case len(r.Codes) > 0 && len(r.Regions) > 0:
		agencies = "agencies " + list(r.Codes) + " and regions " + list(r.Regions)
	case len(r.Codes) > 0:
		agencies = "agencies " + list(r.Codes)
	case len(r.Regions) > 0:
		agencies = "regions " + list(r.Regions)
	}
	if len(r.Logs) > 0 {
		logs = "logs " + list(r.Logs)
	}
	return agencies + " in " + logs
}

// ScopeText says for whom a root speaks, in words.
func ScopeText(r proof.TrustedRoot) string { return scope(r) }

func list(items []string) string {
	if len(items) == 0 {
		return "nothing"
	}
	return strings.Join(items, ", ")
}

func validity(l proof.TrustedLog) string {
	if l.NotAfter.IsZero() {
		return "from " + stamp(l.NotBefore)
	}
	return "from " + stamp(l.NotBefore) + " to " + stamp(l.NotAfter)
}

func epochText(e proof.PinnedEpoch) string { return fmt.Sprintf("%s since %s", e.Hash, stamp(e.From)) }

func holder(m proof.TrustedMember) string { return fmt.Sprintf("%q (%s)", m.Organization, m.Code) }

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
