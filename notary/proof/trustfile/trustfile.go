// Package trustfile is for whoever makes trust roots: it brings them to version 2, says for whom
// a root may speak, puts the files of several instances together, compares two of them, pins the
// epochs to which a chain has handed over, and signs the result with an offline key.
//
// It reads no file, no clock and no network. Nothing here changes the trust roots that it is
// given, and each result is one that [proof.ParseTrust] reads. docs/formats.md section 8 has the
// form of trust files, section 15 that of their signatures.
package trustfile

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"stele/crypto/pki"
	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/anchorproof"
)

// Upgrade returns the same trust in version 2. Version 1 lets any pinned chain or gateway anchor
// any log: each of its logs gets all of them.
func Upgrade(t *proof.Trust) *proof.Trust {
	up := &proof.Trust{Format: proof.TrustV2, Late: t.Late}
	up.Roots, up.Gateways = slices.Clone(t.Roots), slices.Clone(t.Gateways)
	if up.Late == 0 {
		up.Late = proof.DefaultLate
	}
	for _, c := range t.Chains {
		c.Epochs, c.Members = slices.Clone(c.Epochs), slices.Clone(c.Members)
		up.Chains = append(up.Chains, c)
	}
	anchors := anchorsOf(t)
	for _, l := range t.Logs {
		if t.Format != proof.TrustV2 {
			l.Chains = anchors
		}
		up.Logs = slices.Insert(up.Logs, placeOf(up.Logs, l.Key.Name()), l)
	}
	return up
}

// anchorsOf lists what may anchor logs: chain ids, and applications behind gateways.
func anchorsOf(t *proof.Trust) []string {
	var names []string
	for _, c := range t.Chains {
		names = append(names, c.Genesis.Chain)
	}
	for _, g := range t.Gateways {
		names = append(names, g.App)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// placeOf is where a log's next key goes: in version 2 the keys of one log stand together.
func placeOf(logs []proof.TrustedLog, origin string) int {
	for i := len(logs); i > 0; i-- {
		if logs[i-1].Key.Name() == origin {
			return i
		}
	}
	return len(logs)
}

// checked returns the trust as a verifier would read it, or says why none would.
func checked(t *proof.Trust) (*proof.Trust, error) {
	for _, r := range t.Roots {
		if len(t.Roots) > 1 && (len(r.Codes)+len(r.Regions) == 0 || len(r.Logs) == 0) {
			return nil, fmt.Errorf("%w: %s does not say for whom it speaks: give its file codes or regions, "+
				"and logs, before (stele trust make)", proof.ErrUnscoped, RootName(r.DER))
		}
	}
	return proof.ParseTrust(t.Encode())
}

// RootName is how sentences call a root: by its holder, and the beginning of its SM3.
func RootName(der []byte) string {
	holder := "?"
	if c, err := pki.Parse(der); err == nil {
		holder = c.Subject().Organization
	}
	return fmt.Sprintf("the root of %q (SM3 %.8s…)", holder, sm.Sum(der))
}

func point(key *sm.PublicKey) string { return hex.EncodeToString(key.Bytes()) }

// chainIndex finds a pinned chain.
func chainIndex(t *proof.Trust, id string) int {
	return slices.IndexFunc(t.Chains, func(c proof.TrustedChain) bool { return c.Genesis.Chain == id })
}

// validator finds a member of an epoch by its name.
func validator(e anchorproof.Epoch, name string) (anchorproof.Validator, bool) {
	i := slices.IndexFunc(e.Validators, func(v anchorproof.Validator) bool { return v.Name == name })
	if i < 0 {
		return anchorproof.Validator{}, false
	}
	return e.Validators[i], true
}

// errNoChain says which chains there are.
func errNoChain(t *proof.Trust, id string) error {
	var have []string
	for _, c := range t.Chains {
		have = append(have, c.Genesis.Chain)
	}
	if len(have) == 0 {
		return errors.New("the trust roots pin no chain")
	}
	return fmt.Errorf("the trust roots do not pin the chain %q; they pin %q", id, have)
}
