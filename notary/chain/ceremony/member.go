// Package ceremony holds the files that members of the chain hand to each other: a member's
// public file, the genesis with its list of peers, and proposals for the next epoch.
//
// Each file says by signatures or by a fingerprint who vouches for it, so that the way it
// travels (mail, a stick, a web page) need not be trusted. Parsers accept one spelling of a
// value. The package does no I/O, keeps no state and is safe for concurrent use.
package ceremony

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"stele/crypto/signednote"
	"stele/crypto/sm"
	"stele/notary/chain"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/canonical"
)

// ErrFormat is wrapped when a file is not the one spelling of a value.
var ErrFormat = errors.New("malformed")

const (
	memberMagic = "stele/chain-member/v1"
	// MaxMemberSize is the longest public file of a member in bytes.
	MaxMemberSize = 4 << 10
	maxAddress    = 260 // a DNS name of 253 characters, a colon and a port
)

// Member is what a member says about itself. Its text has these lines, each ended by a line
// feed:
//
//	stele/chain-member/v1
//	name <name>
//	power <n>
//	consensus <Ed25519 key, 64 hex digits>
//	cosign <SM2 point, 130 hex digits>
//	node <Ed25519 key, 64 hex digits>
//	address <host:port where other nodes reach it>
type Member struct {
	Name      string
	Power     uint64 // that it asks for, 1 to anchorproof.MaxPower
	Consensus [ed25519.PublicKeySize]byte
	Cosign    *sm.PublicKey
	Node      [ed25519.PublicKeySize]byte
	Address   string
}

// SignedMember is a member's public file: its text, signed with its SM2 key and with its
// consensus key, so that nobody can enter under another's key and a damaged key is noticed.
type SignedMember struct {
	Member
	SM2     []byte
	Ed25519 []byte
}

type wireMember struct {
	Text    string `json:"text"`
	SM2     []byte `json:"sm2"`
	Ed25519 []byte `json:"ed25519"`
}

// Text is what a member signs.
func (m Member) Text() string {
	var cosign []byte
	if m.Cosign != nil {
		cosign = m.Cosign.Bytes()
	}
	return fmt.Sprintf("%s\nname %s\npower %d\nconsensus %x\ncosign %x\nnode %x\naddress %s\n", memberMagic, m.Name,
		m.Power, m.Consensus, cosign, m.Node, m.Address)
}

// Validator is the member's line in an epoch.
func (m Member) Validator() anchorproof.Validator {
	return anchorproof.Validator{Name: m.Name, Power: m.Power, ConsensusKey: m.Consensus, Key: m.Cosign}
}

// Peer is how other nodes reach the member.
func (m Member) Peer() Peer {
	return Peer{Name: m.Name, ID: chain.NodeID(m.Node[:]), Address: m.Address}
}

// check reports whether the fields are within their limits.
func (m Member) check() error {
	switch {
	case !signednote.ValidName(m.Name):
		return fmt.Errorf("%w member: a name is 1 to 128 printable ASCII characters without space and plus sign",
			ErrFormat)
	case m.Power == 0 || m.Power > anchorproof.MaxPower:
		return fmt.Errorf("%w member: power must be 1 to %d", ErrFormat, anchorproof.MaxPower)
	case m.Cosign == nil:
		return fmt.Errorf("%w member: SM2 key", ErrFormat)
	}
	return checkAddress(m.Address)
}

// checkAddress takes host:port as the engine does; a comma would end an entry of its list.
func checkAddress(a string) error {
	host, port, err := net.SplitHostPort(a)
	n, err2 := strconv.ParseUint(port, 10, 16)
	if err != nil || err2 != nil || n == 0 || strconv.FormatUint(n, 10) != port || !signednote.ValidName(host) ||
		strings.ContainsAny(a, ",@/") || len(a) > maxAddress {
		return fmt.Errorf("%w address %q: want host:port", ErrFormat, a)
	}
	return nil
}

// SignMember makes the public file of the member that has these keys.
func SignMember(m Member, cosign func([]byte) ([]byte, error), consensus ed25519.PrivateKey) (SignedMember, error) {
	if err := m.check(); err != nil {
		return SignedMember{}, err
	}
	text := []byte(m.Text())
	sig, err := cosign(text)
	if err != nil {
		return SignedMember{}, err
	}
	s := SignedMember{Member: m, SM2: sig, Ed25519: ed25519.Sign(consensus, text)}
	return s, s.verify()
}

// verify checks the proof of possession.
func (s SignedMember) verify() error {
	text := []byte(s.Text())
	if !s.Cosign.Verify(text, s.SM2) {
		return fmt.Errorf("the file of %s does not prove its SM2 key", s.Name)
	}
	if len(s.Ed25519) != ed25519.SignatureSize || !ed25519.Verify(s.Consensus[:], text, s.Ed25519) {
		return fmt.Errorf("the file of %s does not prove its consensus key", s.Name)
	}
	return nil
}

// Marshal returns the file: canonical JSON and a line feed.
func (s SignedMember) Marshal() ([]byte, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	return encode(wireMember{s.Text(), append([]byte{}, s.SM2...), append([]byte{}, s.Ed25519...)})
}

// ParseMember reads a member's public file and verifies its proof of possession.
func ParseMember(file []byte) (SignedMember, error) {
	var w wireMember
	if err := canonical.Decode(file, MaxMemberSize, &w); err != nil {
		return SignedMember{}, fmt.Errorf("%w member: %v", ErrFormat, err)
	}
	m, err := parseMemberText(w.Text)
	if err != nil {
		return SignedMember{}, err
	}
	s := SignedMember{Member: m, SM2: w.SM2, Ed25519: w.Ed25519}
	again, err := s.Marshal()
	if err != nil {
		return SignedMember{}, err
	}
	if err := canonical.Check(file, again); err != nil {
		return SignedMember{}, fmt.Errorf("%w member: %v", ErrFormat, err)
	}
	return s, s.verify()
}

// parseMemberText is lenient about spelling: ParseMember compares the formatted value with
// its whole input.
func parseMemberText(text string) (m Member, err error) {
	var v [6]string
	lines := strings.Split(text, "\n")
	if len(lines) != 8 || lines[0] != memberMagic {
		return m, fmt.Errorf("%w member: want %q and six lines more", ErrFormat, memberMagic)
	}
	for i, key := range []string{"name", "power", "consensus", "cosign", "node", "address"} {
		v[i], _ = strings.CutPrefix(lines[i+1], key+" ")
	}
	m.Name, m.Address = v[0], v[5]
	power, err := strconv.ParseUint(v[1], 10, 64)
	consensus, err2 := hex.DecodeString(v[2])
	point, err3 := hex.DecodeString(v[3])
	node, err4 := hex.DecodeString(v[4])
	if err := errors.Join(err, err2, err3, err4); err != nil || len(consensus) != len(m.Consensus) ||
		len(node) != len(m.Node) {
		return m, fmt.Errorf("%w member: power or keys", ErrFormat)
	}
	m.Power, m.Consensus, m.Node = power, [32]byte(consensus), [32]byte(node)
	if m.Cosign, err = sm.ParsePublicKey(point); err != nil {
		return m, fmt.Errorf("%w member: SM2 key: %v", ErrFormat, err)
	}
	return m, nil
}

// encode writes canonical JSON: struct order, no white space, no HTML escaping, a line feed.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return b.Bytes(), err
}
