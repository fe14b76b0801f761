package ceremony

import (
	"fmt"
	"slices"
	"strings"

	"stele/crypto/signednote"
	"stele/notary/proof/anchorproof"
)

// Genesis puts epoch 0 together, members in the order of their names so that everybody who
// assembles the same files gets the same fingerprint. Logs may be admitted later.
func Genesis(chainID string, members []SignedMember, logs []*signednote.Verifier) (anchorproof.Epoch, Peers, error) {
	e := anchorproof.Epoch{Chain: chainID}
	p := Peers{Chain: chainID}
	members = slices.SortedFunc(slices.Values(members),
		func(a, b SignedMember) int { return strings.Compare(a.Name, b.Name) })
	for _, m := range members {
		e.Validators = append(e.Validators, m.Validator())
		p.List = append(p.List, m.Peer())
	}
	logs = slices.SortedFunc(slices.Values(logs), func(a, b *signednote.Verifier) int {
		return strings.Compare(a.Name(), b.Name())
	})
	for _, l := range logs {
		e.Notaries = append(e.Notaries, anchorproof.Notary{Origin: l.Name(), Key: l.Key()})
	}
	if err := e.Check(); err != nil {
		return e, p, err
	}
	return e, p, p.check()
}

const (
	peersMagic = "stele/chain-peers/v1"
	// MaxPeersSize is the longest peers file in bytes.
	MaxPeersSize = 64 << 10
	nodeIDDigits = 40
)

// Peer is one node as others reach it.
type Peer struct {
	Name    string
	ID      string // see chain.NodeID
	Address string // host:port
}

// Peers lists the nodes of a chain. It is nobody's evidence: a wrong entry costs a
// connection, never trust, so it is a file that its reader may edit. Its text:
//
//	stele/chain-peers/v1
//	chain <chain id>
//	peer <name> <node id, 40 hex digits> <host:port>
//	…  names and ids once each
type Peers struct {
	Chain string
	List  []Peer
}

// Text is the file.
func (p Peers) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nchain %s\n", peersMagic, p.Chain)
	for _, q := range p.List {
		fmt.Fprintf(&b, "peer %s %s %s\n", q.Name, q.ID, q.Address)
	}
	return b.String()
}

func (p Peers) check() error {
	seen := map[string]bool{}
	if !anchorproof.ValidChainID(p.Chain) || len(p.List) > 2*anchorproof.MaxValidators {
		return fmt.Errorf("%w peers: chain id, or more than %d entries", ErrFormat, 2*anchorproof.MaxValidators)
	}
	for _, q := range p.List {
		if err := checkAddress(q.Address); err != nil {
			return err
		}
		if !signednote.ValidName(q.Name) || len(q.ID) != nodeIDDigits || strings.Trim(q.ID, "0123456789abcdef") != "" ||
			seen["name "+q.Name] || seen["id "+q.ID] {
			return fmt.Errorf("%w peers: the name or id of %q is invalid or occurs twice", ErrFormat, q.Name)
		}
		seen["name "+q.Name], seen["id "+q.ID] = true, true
	}
	return nil
}

// ParsePeers is the inverse of [Peers.Text] and accepts no other spelling.
func ParsePeers(text string) (Peers, error) {
	var p Peers
	lines := strings.Split(text, "\n")
	if len(text) > MaxPeersSize || len(lines) < 3 || lines[0] != peersMagic {
		return p, fmt.Errorf("%w peers: want %q, chain and a line for each peer", ErrFormat, peersMagic)
	}
	p.Chain, _ = strings.CutPrefix(lines[1], "chain ")
	for i, line := range lines[2 : len(lines)-1] {
		f := strings.Split(line, " ")
		if len(f) != 4 || f[0] != "peer" {
			return p, fmt.Errorf("%w peers: line %d: want peer, name, id and address", ErrFormat, i+3)
		}
		p.List = append(p.List, Peer{f[1], f[2], f[3]})
	}
	if err := p.check(); err != nil {
		return p, err
	}
	if p.Text() != text {
		return p, fmt.Errorf("%w peers: not in canonical form", ErrFormat)
	}
	return p, nil
}

// With returns the list with one entry more, in place of an entry of the same name.
func (p Peers) With(q Peer) (Peers, error) {
	out := p.Without(q.Name)
	out.List = append(out.List, q)
	return out, out.check()
}

// Without returns the list without the entry of this name.
func (p Peers) Without(name string) Peers {
	p.List = slices.DeleteFunc(slices.Clone(p.List), func(q Peer) bool { return q.Name == name })
	return p
}
