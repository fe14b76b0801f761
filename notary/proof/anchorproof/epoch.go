package anchorproof

import (
	"encoding/hex"
	"fmt"
	"strings"

	"stele/crypto/merkle"
	"stele/crypto/signednote"
	"stele/crypto/sm"
)

// ConsensusKeySize is the length of an Ed25519 consensus key in bytes.
const ConsensusKeySize = 32

// Validator is a member of the chain.
type Validator struct {
	Name         string // see signednote.ValidName
	Power        uint64 // 1 to MaxPower
	ConsensusKey [ConsensusKeySize]byte
	Key          *sm.PublicKey // cosigns headers and signs the next epoch
}

// Notary is a log that the chain admits, and the key of its checkpoints.
type Notary struct {
	Origin string
	Key    *sm.PublicKey
}

// Epoch is a term of the chain: who its members are and which logs it admits.
//
// Its text has these lines, each ended by a line feed; single spaces, no others:
//
//	stele/epoch/v1
//	chain <chain id>
//	epoch <n>
//	previous <SM3 of the text of epoch n-1, 64 hex digits; zeros for epoch 0>
//	validator <name> <power> <Ed25519 key, 64 hex digits> <SM2 point, 130 hex digits>
//	…  1 to MaxValidators of them; their order gives the indexes that signatures name
//	notary <origin> <SM2 point, 130 hex digits>
//	…  0 to MaxNotaries of them
//
// Names, origins and keys occur once each; no SM2 key serves two roles. Ed25519 keys mean
// something to the engine only.
//
// An Epoch is immutable by convention and may be shared.
type Epoch struct {
	Chain      string
	Number     uint64
	Previous   merkle.Hash // [Epoch.Hash] of the epoch before
	Validators []Validator
	Notaries   []Notary
}

const epochMagic = "stele/epoch/v1"

// Text is what members sign and what trust roots pin. It is meant for valid epochs: see
// [Epoch.Check].
func (e Epoch) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nchain %s\nepoch %d\nprevious %s\n", epochMagic, e.Chain, e.Number, e.Previous)
	for _, v := range e.Validators {
		fmt.Fprintf(&b, "validator %s %d %x %s\n", v.Name, v.Power, v.ConsensusKey, point(v.Key))
	}
	for _, n := range e.Notaries {
		fmt.Fprintf(&b, "notary %s %s\n", n.Origin, point(n.Key))
	}
	return b.String()
}

func point(k *sm.PublicKey) string {
	if k == nil {
		return ""
	}
	return hex.EncodeToString(k.Bytes())
}

// Hash is SM3 of the text: what the next epoch names as previous.
func (e Epoch) Hash() merkle.Hash { return sm.Sum([]byte(e.Text())) }

// Total is the power of all validators.
func (e Epoch) Total() uint64 {
	var t uint64
	for _, v := range e.Validators {
		t += v.Power
	}
	return t
}

// Notary returns the key of a log, or nil when the epoch does not admit it.
func (e Epoch) Notary(origin string) *sm.PublicKey {
	for _, n := range e.Notaries {
		if n.Origin == origin {
			return n.Key
		}
	}
	return nil
}

// Check reports whether an epoch put together by hand has a text that [ParseEpoch] takes.
func (e Epoch) Check() error {
	switch {
	case !ValidChainID(e.Chain):
		return fmt.Errorf("%w epoch: chain id must be 1 to %d printable ASCII characters without space and plus sign",
			ErrFormat, MaxChainID)
	case e.Number > MaxNumber:
		return fmt.Errorf("%w epoch: number exceeds 2^53-1", ErrFormat)
	case e.Number == 0 && e.Previous != merkle.Hash{}:
		return fmt.Errorf("%w epoch: nothing comes before epoch 0", ErrFormat)
	case len(e.Validators) == 0 || len(e.Validators) > MaxValidators:
		return fmt.Errorf("%w epoch: 1 to %d validators", ErrFormat, MaxValidators)
	case len(e.Notaries) > MaxNotaries:
		return fmt.Errorf("%w epoch: at most %d notaries", ErrFormat, MaxNotaries)
	}
	seen := map[string]bool{}
	once := func(role, s string) bool {
		defer func() { seen[role+s] = true }()
		return !seen[role+s]
	}
	for _, v := range e.Validators {
		if !signednote.ValidName(v.Name) || !once("validator ", v.Name) {
			return fmt.Errorf("%w epoch: validator name %q is invalid or occurs twice", ErrFormat, v.Name)
		}
		if v.Power == 0 || v.Power > MaxPower {
			return fmt.Errorf("%w epoch: power of %s must be 1 to %d", ErrFormat, v.Name, MaxPower)
		}
		if v.Key == nil || !once("sm2 ", point(v.Key)) || !once("ed25519 ", string(v.ConsensusKey[:])) {
			return fmt.Errorf("%w epoch: a key of %s is missing or occurs twice", ErrFormat, v.Name)
		}
	}
	for _, n := range e.Notaries {
		if !signednote.ValidName(n.Origin) || !once("notary ", n.Origin) {
			return fmt.Errorf("%w epoch: log name %q is invalid or occurs twice", ErrFormat, n.Origin)
		}
		if n.Key == nil || !once("sm2 ", point(n.Key)) {
			return fmt.Errorf("%w epoch: the key of log %s is missing or occurs twice", ErrFormat, n.Origin)
		}
	}
	return nil
}

// ParseEpoch is the inverse of [Epoch.Text] and accepts no other spelling.
func ParseEpoch(text string) (Epoch, error) {
	var e Epoch
	if len(text) > MaxEpochSize {
		return e, fmt.Errorf("%w epoch: longer than %d bytes", ErrFormat, MaxEpochSize)
	}
	lines := strings.Split(text, "\n")
	last := len(lines) - 1
	if last < 5 || lines[0] != epochMagic || lines[last] != "" {
		return e, fmt.Errorf("%w epoch: want %q, chain, epoch, previous and a line for each validator and notary",
			ErrFormat, epochMagic)
	}
	if last > 4+MaxValidators+MaxNotaries {
		return e, fmt.Errorf("%w epoch: too many lines", ErrFormat)
	}
	var ok1, ok2 bool
	e.Chain = value(lines[1], "chain")
	e.Number, ok1 = decimal(value(lines[2], "epoch"), MaxNumber)
	e.Previous, ok2 = digest(value(lines[3], "previous"))
	if !ok1 || !ok2 {
		return Epoch{}, fmt.Errorf("%w epoch: number or previous", ErrFormat)
	}
	for i, line := range lines[4:last] {
		if err := e.addLine(line); err != nil {
			return Epoch{}, fmt.Errorf("%w epoch: line %d: %v", ErrFormat, i+5, err)
		}
	}
	if err := e.Check(); err != nil {
		return Epoch{}, err
	}
	if e.Text() != text {
		return Epoch{}, fmt.Errorf("%w epoch: not in canonical form", ErrFormat)
	}
	return e, nil
}

// addLine reads a validator or notary line. It is lenient about spelling and order: the
// caller compares the formatted epoch with its whole input.
func (e *Epoch) addLine(line string) error {
	f := strings.Split(line, " ")
	switch {
	case f[0] == "validator" && len(f) == 5:
		v := Validator{Name: f[1]}
		var ok bool
		if v.Power, ok = decimal(f[2], MaxPower); !ok {
			return fmt.Errorf("power must be 1 to %d", MaxPower)
		}
		cons, err := hex.DecodeString(f[3])
		if err != nil || len(cons) != ConsensusKeySize {
			return fmt.Errorf("a consensus key has %d hex digits", 2*ConsensusKeySize)
		}
		v.ConsensusKey = [ConsensusKeySize]byte(cons)
		if v.Key, err = parsePoint(f[4]); err != nil {
			return err
		}
		e.Validators = append(e.Validators, v)
	case f[0] == "notary" && len(f) == 3:
		k, err := parsePoint(f[2])
		if err != nil {
			return err
		}
		e.Notaries = append(e.Notaries, Notary{Origin: f[1], Key: k})
	default:
		return fmt.Errorf("want validator with four fields or notary with two")
	}
	return nil
}

func parsePoint(s string) (*sm.PublicKey, error) {
	b, err := hex.DecodeString(s)
	if err != nil {
		return nil, sm.ErrPublicKey
	}
	return sm.ParsePublicKey(b)
}
