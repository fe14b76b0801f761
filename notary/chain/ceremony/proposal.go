package ceremony

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"stele/crypto/signednote"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/canonical"
)

// MaxProposalSize is the longest proposal file in bytes: two epochs, as JSON strings.
const MaxProposalSize = 2*anchorproof.MaxSignedEpochSize + 1024

// Proposal is the next epoch while its signatures are being collected, with the epoch that
// it would follow. Because the next one names the hash of the current one, a signature given
// on a proposal that lies about the current epoch is good for nothing.
//
// The file is canonical JSON with a line feed: the current epoch's text, and the next epoch
// as it stands in evidence, with the signatures that are there so far.
//
//	{"current":"<epoch text>","next":{"text":…,"signatures":[…],"joins":[…]}}
type Proposal struct {
	Current anchorproof.Epoch
	Next    anchorproof.SignedEpoch
}

type wireProposal struct {
	Current string          `json:"current"`
	Next    json.RawMessage `json:"next"`
}

// Change is what a proposal is to change.
type Change struct {
	Join  []SignedMember         // enter, or take the place of the member of the same name
	Leave []string               // names
	Power map[string]uint64      // by name
	Admit []*signednote.Verifier // logs that enter, or whose key takes the place of the former
	Expel []string               // origins of logs that leave
}

// Propose makes the epoch after current. A member that takes another's place keeps its
// position; newcomers come last.
func Propose(current anchorproof.Epoch, c Change) (Proposal, error) {
	next := anchorproof.Epoch{Chain: current.Chain, Number: current.Number + 1, Previous: current.Hash(),
		Validators: slices.Clone(current.Validators), Notaries: slices.Clone(current.Notaries)}
	var err error
	for _, name := range c.Leave {
		if next.Validators, err = without(next.Validators, func(v anchorproof.Validator) bool { return v.Name == name },
			"member "+name); err != nil {
			return Proposal{}, err
		}
	}
	for _, m := range c.Join {
		next.Validators = put(next.Validators, m.Validator(), func(v anchorproof.Validator) bool {
			return v.Name == m.Name
		})
	}
	for name, power := range c.Power {
		i := slices.IndexFunc(next.Validators, func(v anchorproof.Validator) bool { return v.Name == name })
		if i < 0 {
			return Proposal{}, fmt.Errorf("there is no member %s", name)
		}
		next.Validators[i].Power = power
	}
	for _, origin := range c.Expel {
		if next.Notaries, err = without(next.Notaries, func(n anchorproof.Notary) bool { return n.Origin == origin },
			"log "+origin); err != nil {
			return Proposal{}, err
		}
	}
	for _, l := range c.Admit {
		next.Notaries = put(next.Notaries, anchorproof.Notary{Origin: l.Name(), Key: l.Key()},
			func(n anchorproof.Notary) bool { return n.Origin == l.Name() })
	}
	if err := next.Check(); err != nil {
		return Proposal{}, err
	}
	p := Proposal{Current: current, Next: anchorproof.SignedEpoch{Epoch: next}}
	if len(p.Changes()) == 0 {
		return Proposal{}, errors.New("the proposal changes nothing")
	}
	return p, nil
}

func without[T any](in []T, is func(T) bool, what string) ([]T, error) {
	out := slices.DeleteFunc(in, is)
	if len(out) == len(in) {
		return nil, fmt.Errorf("there is no %s", what)
	}
	return out, nil
}

func put[T any](in []T, v T, same func(T) bool) []T {
	if i := slices.IndexFunc(in, same); i >= 0 {
		in[i] = v
		return in
	}
	return append(in, v)
}

// Changes says in lines what the next epoch changes, for whoever is to sign it.
func (p Proposal) Changes() []string {
	return append(compareLines("validator", p.Current, p.Next.Epoch),
		compareLines("notary", p.Current, p.Next.Epoch)...)
}

// compareLines lists the lines of one kind that are gone (-) and new (+).
func compareLines(kind string, a, b anchorproof.Epoch) (out []string) {
	lines := func(e anchorproof.Epoch) []string {
		return slices.DeleteFunc(strings.Split(e.Text(), "\n"),
			func(l string) bool { return !strings.HasPrefix(l, kind+" ") })
	}
	old, next := lines(a), lines(b)
	for _, l := range old {
		if !slices.Contains(next, l) {
			out = append(out, "- "+l)
		}
	}
	for _, l := range next {
		if !slices.Contains(old, l) {
			out = append(out, "+ "+l)
		}
	}
	return out
}

// Sign adds the signatures that the holder of these keys owes: as a present member, as a
// newcomer, or as both (a member whose keys change signs with the old home and with the new).
func (p Proposal) Sign(cosign func([]byte) ([]byte, error), own anchorproof.Validator, consensus ed25519.PrivateKey) (
	Proposal, error) {
	text := []byte(p.Next.Text())
	sig, err := cosign(text)
	if err != nil {
		return p, err
	}
	q := Proposal{Current: p.Current, Next: anchorproof.SignedEpoch{Epoch: p.Next.Epoch}}
	if i := slices.IndexFunc(p.Current.Validators, func(v anchorproof.Validator) bool {
		return v.Key.Equal(own.Key)
	}); i >= 0 {
		q.Next.Signatures = append(q.Next.Signatures, anchorproof.Cosignature{Validator: i, Signature: sig})
	}
	for _, i := range p.Current.Newcomers(p.Next.Epoch) {
		if v := p.Next.Validators[i]; v.Key.Equal(own.Key) && v.ConsensusKey == own.ConsensusKey {
			q.Next.Joins = append(q.Next.Joins, anchorproof.Join{Validator: i, SM2: sig,
				Ed25519: ed25519.Sign(consensus, text)})
		}
	}
	if len(q.Next.Signatures)+len(q.Next.Joins) == 0 {
		return p, errors.New(
			"these keys are neither a present member's nor a newcomer's: there is nothing for them to sign")
	}
	return p.Merge(q)
}

// Merge joins the signatures of two copies of one proposal. Signatures that do not verify
// are refused, so that one bad copy cannot spoil the rest.
func (p Proposal) Merge(q Proposal) (Proposal, error) {
	if p.Current.Text() != q.Current.Text() || p.Next.Text() != q.Next.Text() {
		return p, errors.New("the files are of different proposals")
	}
	text := p.Next.Text()
	out := Proposal{Current: p.Current, Next: anchorproof.SignedEpoch{Epoch: p.Next.Epoch}}
	for i := range p.Current.Validators {
		for _, s := range append(slices.Clone(p.Next.Signatures), q.Next.Signatures...) {
			if s.Validator == i {
				if err := p.Current.CheckCosignature(text, s); err != nil {
					return p, err
				}
				out.Next.Signatures = append(out.Next.Signatures, s)
				break
			}
		}
	}
	for _, i := range p.Current.Newcomers(p.Next.Epoch) {
		for _, j := range append(slices.Clone(p.Next.Joins), q.Next.Joins...) {
			if j.Validator == i {
				out.Next.Joins = append(out.Next.Joins, j)
				break
			}
		}
	}
	return out, nil
}

// Missing says who still has to sign, nil when the proposal can be submitted.
func (p Proposal) Missing() (out []string) {
	var power uint64
	var silent []string
	for i, v := range p.Current.Validators {
		if slices.ContainsFunc(p.Next.Signatures, func(s anchorproof.Cosignature) bool { return s.Validator == i }) {
			power += v.Power
		} else {
			silent = append(silent, v.Name)
		}
	}
	if !p.Current.IsQuorum(power) {
		out = append(out,
			fmt.Sprintf("present members: power %d of %d has signed, more than two thirds are needed; %s have not",
				power, p.Current.Total(), strings.Join(silent, ", ")))
	}
	for _, i := range p.Current.Newcomers(p.Next.Epoch) {
		if !slices.ContainsFunc(p.Next.Joins, func(j anchorproof.Join) bool { return j.Validator == i }) {
			out = append(out, fmt.Sprintf("%s, with its new keys", p.Next.Validators[i].Name))
		}
	}
	return out
}

// Marshal returns the file.
func (p Proposal) Marshal() ([]byte, error) {
	next, err := p.Next.Marshal()
	if err != nil {
		return nil, err
	}
	return encode(wireProposal{p.Current.Text(), next})
}

// ParseProposal is the inverse of [Proposal.Marshal] and accepts no other spelling. Of the
// signatures it verifies nothing: Merge and the chain do.
func ParseProposal(file []byte) (p Proposal, err error) {
	var w wireProposal
	if err := canonical.Decode(file, MaxProposalSize, &w); err != nil {
		return p, fmt.Errorf("%w proposal: %v", ErrFormat, err)
	}
	if p.Current, err = anchorproof.ParseEpoch(w.Current); err != nil {
		return p, err
	}
	if p.Next, err = anchorproof.ParseSignedEpoch(w.Next); err != nil {
		return p, err
	}
	again, err := p.Marshal()
	if err != nil {
		return p, err
	}
	if err := canonical.Check(file, again); err != nil {
		return p, fmt.Errorf("%w proposal: %v", ErrFormat, err)
	}
	if p.Next.Chain != p.Current.Chain || p.Next.Number != p.Current.Number+1 || p.Next.Previous != p.Current.Hash() {
		return p, errors.New("the proposed epoch does not follow the current one that the file names")
	}
	return p, nil
}
