package trustfile

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"stele/crypto/signednote"
	"stele/crypto/sm"
	"stele/notary/proof"
)

// ErrConflict reports files that say different things of the same root, key, chain or gateway. It
// is for people to find out which of them is right: nothing is preferred.
var ErrConflict = errors.New("the trust roots contradict each other")

// Merge puts trust roots together: all roots, logs, chains and gateways of all files, in version
// 2 and in an order that does not depend on that of the files. Of the pinned epochs of a chain
// the longer list counts where the other is its beginning; of the times after which a date is
// late, the shorter, which warns more often.
func Merge(files ...*proof.Trust) (*proof.Trust, error) {
	if len(files) == 0 {
		return nil, errors.New("there is nothing to merge")
	}
	m := &proof.Trust{Format: proof.TrustV2}
	for _, f := range files {
		f = Upgrade(f)
		if m.Late == 0 || f.Late < m.Late {
			m.Late = f.Late
		}
		for _, add := range []func(m, f *proof.Trust) error{addRoots, addLogs, addChains, addGateways} {
			if err := add(m, f); err != nil {
				return nil, fmt.Errorf("%w: %w", ErrConflict, err)
			}
		}
	}
	arrange(m)
	return checked(m)
}

func addRoots(m, f *proof.Trust) error {
	for _, r := range f.Roots {
		i := slices.IndexFunc(m.Roots, func(x proof.TrustedRoot) bool { return bytes.Equal(x.DER, r.DER) })
		if i < 0 {
			m.Roots = append(m.Roots, r)
		} else if have := m.Roots[i]; !sameScope(have, r) {
			return fmt.Errorf("%s speaks for %s in one file, for %s in another", RootName(r.DER), scope(have), scope(r))
		}
	}
	return nil
}

func sameScope(a, b proof.TrustedRoot) bool {
	return slices.Equal(a.Codes, b.Codes) && slices.Equal(a.Regions, b.Regions) && slices.Equal(a.Logs, b.Logs)
}

func addLogs(m, f *proof.Trust) error {
	for _, l := range f.Logs {
		known := false
		for _, have := range m.Logs {
			if have.Key.Name() != l.Key.Name() {
				continue
			}
			if !slices.Equal(have.Chains, l.Chains) {
				return fmt.Errorf("the log %s may be anchored by %q in one file, by %q in another",
					l.Key.Name(), have.Chains, l.Chains)
			}
			if !have.Key.Key().Equal(l.Key.Key()) {
				continue
			}
			if validity(have) != validity(l) {
				return fmt.Errorf("the log key %s is valid %s in one file, %s in another; after a change of the key, "+
					"take the newer file of that log alone", keyText(l), validity(have), validity(l))
			}
			known = true
		}
		if !known {
			m.Logs = slices.Insert(m.Logs, placeOf(m.Logs, l.Key.Name()), l)
		}
	}
	return nil
}

func addChains(m, f *proof.Trust) error {
	for _, c := range f.Chains {
		i := chainIndex(m, c.Genesis.Chain)
		if i < 0 {
			m.Chains = append(m.Chains, c)
			continue
		}
		have := &m.Chains[i]
		if have.Genesis.Text() != c.Genesis.Text() {
			return fmt.Errorf("the chain %s begins with epoch 0 %s in one file, with %s in another", c.Genesis.Chain,
				have.Genesis.Hash(), c.Genesis.Hash())
		}
		if err := addEpochs(have, c); err != nil {
			return err
		}
		for _, n := range c.Members {
			o, known := have.Organization(n.Key)
			if !known {
				have.Members = append(have.Members, n)
			} else if o.Organization != n.Organization || o.Code != n.Code {
				return fmt.Errorf("the member of chain %s with the key %.16s… is %s in one file, %s in another",
					c.Genesis.Chain, point(n.Key), holder(o), holder(n))
			}
		}
	}
	return nil
}

func addEpochs(have *proof.TrustedChain, c proof.TrustedChain) error {
	for i := range min(len(have.Epochs), len(c.Epochs)) {
		if a, b := have.Epochs[i], c.Epochs[i]; a.Hash != b.Hash || !a.From.Equal(b.From) {
			return fmt.Errorf("epoch %d of chain %s is %s in one file, %s in another",
				i+1, c.Genesis.Chain, epochText(a), epochText(b))
		}
	}
	if len(c.Epochs) > len(have.Epochs) {
		have.Epochs = c.Epochs
	}
	return nil
}

func addGateways(m, f *proof.Trust) error {
	for _, g := range f.Gateways {
		i := slices.IndexFunc(m.Gateways, func(x proof.TrustedGateway) bool { return gatewayID(x) == gatewayID(g) })
		if i < 0 {
			m.Gateways = append(m.Gateways, g)
		} else if have := m.Gateways[i]; have.Name != g.Name {
			return fmt.Errorf("the gateway of the application %s is called %q in one file, %q in another",
				g.App, have.Name, g.Name)
		}
	}
	return nil
}

func gatewayID(g proof.TrustedGateway) string {
	return fmt.Sprintf("%s %s %x", g.Kind, g.App, g.Key.DER())
}

// keyText is a log key as people compare it.
func keyText(l proof.TrustedLog) string { return signednote.FormatKey(l.Key.Name(), l.Key.Key()) }

// arrange sorts what a merge brought together, so that the files' order does not show.
func arrange(t *proof.Trust) {
	slices.SortFunc(t.Roots, func(a, b proof.TrustedRoot) int {
		return cmp.Compare(sm.Sum(a.DER).String(), sm.Sum(b.DER).String())
	})
	slices.SortFunc(t.Logs, func(a, b proof.TrustedLog) int {
		return cmp.Or(cmp.Compare(a.Key.Name(), b.Key.Name()), a.NotBefore.Compare(b.NotBefore),
			cmp.Compare(keyText(a), keyText(b)))
	})
	slices.SortFunc(t.Chains, func(a, b proof.TrustedChain) int {
		return cmp.Compare(a.Genesis.Chain, b.Genesis.Chain)
	})
	for _, c := range t.Chains {
		slices.SortFunc(c.Members, func(a, b proof.TrustedMember) int {
			return cmp.Compare(point(a.Key), point(b.Key))
		})
	}
	slices.SortFunc(t.Gateways, func(a, b proof.TrustedGateway) int { return cmp.Compare(gatewayID(a), gatewayID(b)) })
}
