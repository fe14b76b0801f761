package anchorproof

import (
	"crypto/ed25519"
	"fmt"
	"testing"

	"stele/crypto/merkle"
	"stele/crypto/sm"
	"stele/notary/proof/checkpoint"
)

// member is a validator with its private keys.
type member struct {
	Validator
	key  *sm.PrivateKey
	cons ed25519.PrivateKey
}

func mustKey(t testing.TB) *sm.PrivateKey {
	t.Helper()
	k, err := sm.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newMember(t testing.TB, name string, power uint64) member {
	t.Helper()
	pub, cons, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	m := member{key: mustKey(t), cons: cons}
	m.Validator = Validator{Name: name, Power: power, Key: m.key.Public(), ConsensusKey: [32]byte(pub)}
	return m
}

func newMembers(t testing.TB, n int) []member {
	t.Helper()
	out := make([]member, n)
	for i := range out {
		out[i] = newMember(t, fmt.Sprintf("city-%d", i), 10)
	}
	return out
}

func mustSign(t testing.TB, k *sm.PrivateKey, text string) []byte {
	t.Helper()
	sig, err := k.Sign([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

func validators(ms []member) []Validator {
	var out []Validator
	for _, m := range ms {
		out = append(out, m.Validator)
	}
	return out
}

func genesis(t testing.TB, ms ...member) Epoch {
	t.Helper()
	e := Epoch{Chain: "egov-test", Validators: validators(ms),
		Notaries: []Notary{{Origin: "log.example/a", Key: mustKey(t).Public()}}}
	if err := e.Check(); err != nil {
		t.Fatal(err)
	}
	return e
}

// cosign signs a text with the members' keys; signers are indexes into the epoch.
func cosign(t testing.TB, ms []member, text string, signers ...int) []Cosignature {
	t.Helper()
	var out []Cosignature
	for _, i := range signers {
		out = append(out, Cosignature{Validator: i, Signature: mustSign(t, ms[i].key, text)})
	}
	return out
}

// handOver makes the epoch after e, signed by signers of old and by all newcomers.
func handOver(t testing.TB, e Epoch, old, next []member, signers ...int) SignedEpoch {
	t.Helper()
	s := SignedEpoch{Epoch: Epoch{Chain: e.Chain, Number: e.Number + 1, Previous: e.Hash(),
		Validators: validators(next), Notaries: e.Notaries}}
	text := s.Text()
	s.Signatures = cosign(t, old, text, signers...)
	for _, i := range e.Newcomers(s.Epoch) {
		s.Joins = append(s.Joins, Join{Validator: i, SM2: mustSign(t, next[i].key, text),
			Ed25519: ed25519.Sign(next[i].cons, []byte(text))})
	}
	return s
}

// anchored is a complete, valid evidence: four members at genesis, two hand-overs (one
// member leaves, one enters; then only a power changes), three checkpoints under a header.
type anchored struct {
	genesis    Epoch
	checkpoint checkpoint.Checkpoint
	evidence   Evidence
	members    []member // of the last epoch
}

func newAnchored(t testing.TB) anchored {
	t.Helper()
	first := newMembers(t, 4)
	g := genesis(t, first...)
	second := append(append([]member(nil), first[1:]...), newMember(t, "city-9", 10))
	e1 := handOver(t, g, first, second, 0, 1, 3)
	third := append([]member(nil), second...)
	third[0].Power = 15
	e2 := handOver(t, e1.Epoch, second, third, 0, 1, 2, 3)

	var cs []checkpoint.Checkpoint
	var leaves []merkle.Hash
	for i := range 3 {
		c := checkpoint.Checkpoint{Origin: fmt.Sprintf("log.example/%d", i), Size: uint64(100 + i),
			Root: sm.Sum([]byte{byte(i)})}
		cs, leaves = append(cs, c), append(leaves, merkle.LeafHash([]byte(c.Text())))
	}
	path, err := merkle.ListInclusion(leaves, 2)
	if err != nil {
		t.Fatal(err)
	}
	h := Header{Chain: g.Chain, Epoch: 2, Index: 7, Height: 22, TimeMs: 1795332389499, Count: 3,
		Anchors: merkle.ListRoot(leaves), History: sm.Sum([]byte("history"))}
	return anchored{genesis: g, checkpoint: cs[2], members: third, evidence: Evidence{Header: h, Position: 2,
		Path:         path,
		Cosignatures: cosign(t, third, h.Text(), 0, 2, 3), Epochs: []SignedEpoch{e1, e2}}}
}
