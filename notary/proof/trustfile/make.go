package trustfile

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"stele/notary/proof"
	"stele/notary/proof/anchorproof"
)

// Change is what [Make] says in the trust of one instance. Empty lists leave what is there.
type Change struct {
	Codes, Regions, Logs []string       // for whom the root speaks; see [proof.TrustedRoot]
	Late                 *time.Duration // nil leaves what is there
	Members              []Organization
}

// Organization names the holder of the key of a validator.
type Organization struct{ Validator, Name, Code string }

// Make says for whom the root of one instance speaks and who the members of its chain are. newest
// has the newest known epochs of chains, in which validators are looked up; epoch 0 where there is
// none. Where the root gets codes or regions and no logs are given, it speaks in those of the file.
func Make(t *proof.Trust, c Change, newest map[string]anchorproof.Epoch) (*proof.Trust, error) {
	m := Upgrade(t)
	if len(m.Roots) != 1 {
		return nil, fmt.Errorf("the trust of one instance is expected, with one root; this file has %d", len(m.Roots))
	}
	if c.Late != nil {
		if *c.Late < time.Second || *c.Late%time.Second != 0 {
			return nil, errors.New("after how long a date is late must be said in whole seconds, 1 at least")
		}
		m.Late = *c.Late
	}
	r := &m.Roots[0]
	r.Codes, r.Regions, r.Logs = given(c.Codes, r.Codes), given(c.Regions, r.Regions), given(c.Logs, r.Logs)
	if len(r.Codes)+len(r.Regions) > 0 && len(r.Logs) == 0 {
		for _, l := range m.Logs {
			r.Logs = append(r.Logs, l.Key.Name())
		}
		r.Logs = given(r.Logs, nil)
	}
	for _, o := range c.Members {
		if err := name(m, o, newest); err != nil {
			return nil, fmt.Errorf("member %s: %w", o.Validator, err)
		}
	}
	return checked(m)
}

func given(list, before []string) []string {
	if len(list) == 0 {
		return before
	}
	list = slices.Sorted(slices.Values(list))
	return slices.Compact(list)
}

// name names the holder of a validator's key on the one chain that has a validator of the name.
func name(m *proof.Trust, o Organization, newest map[string]anchorproof.Epoch) error {
	var found *proof.TrustedChain
	var member proof.TrustedMember
	var known []string
	for i := range m.Chains {
		c := &m.Chains[i]
		epoch, ok := newest[c.Genesis.Chain]
		if !ok {
			epoch = c.Genesis
		}
		for _, v := range epoch.Validators {
			known = append(known, v.Name)
		}
		v, ok := validator(epoch, o.Validator)
		if !ok {
			continue
		}
		if found != nil {
			return fmt.Errorf("the chains %s and %s both have a validator of this name", found.Genesis.Chain,
				c.Genesis.Chain)
		}
		found, member = c, proof.TrustedMember{Key: v.Key, Organization: o.Name, Code: o.Code}
	}
	if found == nil {
		return fmt.Errorf("there is no validator of this name; there are %q", known)
	}
	found.Members = slices.DeleteFunc(slices.Clone(found.Members), func(have proof.TrustedMember) bool {
		return have.Key.Equal(member.Key) // the name that is given takes its place
	})
	return found.AddMember(member)
}
