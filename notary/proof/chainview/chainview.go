// Package chainview is what the chain's explorer shows: members, who cosigned what, the
// newest anchors, how far the nodes are. Whatever can be checked is checked against the
// pinned first epoch before it is shown; what one node only says of itself is marked so by
// its place, under Nodes.
package chainview

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"stele/crypto/merkle"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/checkpoint"
)

// MaxAnchors is how many of the newest headers a view holds.
const MaxAnchors = 20

// View is a snapshot of a chain. It is immutable.
type View struct {
	Chain      string
	At         time.Time // when it was taken, UTC
	Height     uint64
	Headers    uint64 // anchors since the beginning
	Pending    uint64 // of them without a quorum of cosignatures
	Epoch      uint64
	Total      uint64      // power of all members
	Validators []Validator // of the newest epoch, in its order
	Logs       []Log       // that the newest epoch admits
	Anchors    []Anchor    // newest first, at most MaxAnchors
	Nodes      []Node      // that this server talks with
}

// Validator is a member and what it did for the anchors of the view.
type Validator struct {
	Name     string
	Power    uint64
	Cosigned int // anchors of the view that it cosigned
	Of       int // certified anchors of the view since it is a member
	Last     time.Time
}

// Log is a log that the chain admits, and its newest checkpoint under the view's anchors.
type Log struct {
	Origin string
	Size   uint64 // 0 when there is none among them
	Root   merkle.Hash
}

// Anchor is a header with what stands under it.
type Anchor struct {
	Header      anchorproof.Header
	Checkpoints []checkpoint.Checkpoint
	Cosigned    []string // names; none while it waits for its quorum
	Silent      []string // members of its epoch that are not in the certificate
	Signed      uint64   // power
	Total       uint64
}

// Certified reports whether the quorum is there.
func (a Anchor) Certified() bool { return len(a.Cosigned) > 0 }

// Node is one node as this server sees it.
type Node struct {
	Address   string // as this server is configured; not for the public
	Name      string // the member's, as the node says; "" where it never answered
	Reachable bool
	Since     time.Time // when it began to answer, or ceased to; zero while it has not been heard of
	Height    uint64
	Behind    uint64 // blocks that its peers have and it lacks
	Lied      uint64 // answers that did not verify
}

// QuorumLost reports whether nothing can be anchored, because members with a third of the power
// or more cannot be reached. One whose node this server does not talk with counts as there.
func QuorumLost(members []Validator, nodes []Node) bool {
	var total, away uint64
	for _, m := range members {
		total += m.Power
		named := func(reachable bool) bool {
			return slices.ContainsFunc(nodes, func(n Node) bool { return n.Name == m.Name && n.Reachable == reachable })
		}
		if named(false) && !named(true) {
			away += m.Power
		}
	}
	return total > 0 && !anchorproof.Quorum(total-away, total)
}

// Entry is a header with its checkpoints and, unless it is pending, its certificate.
type Entry struct {
	Header       anchorproof.Header
	Checkpoints  []checkpoint.Checkpoint
	Cosignatures []anchorproof.Cosignature
}

// Source is a snapshot before it is checked.
type Source struct {
	At      time.Time
	Height  uint64
	Headers uint64
	Pending uint64
	Epochs  []anchorproof.SignedEpoch // all after the pinned one
	Entries []Entry                   // the newest ones, ascending
	Nodes   []Node
}

// ErrUnavailable means that no chain can be asked at the moment.
var ErrUnavailable = errors.New("the chain cannot be asked at the moment")

// Build checks a snapshot against the pinned epoch and puts the view together.
func Build(pinned anchorproof.Epoch, s Source) (View, error) {
	epochs := []anchorproof.Epoch{pinned}
	for _, next := range s.Epochs {
		last := epochs[len(epochs)-1]
		if err := last.CheckNext(next); err != nil {
			return View{}, err
		}
		epochs = append(epochs, next.Epoch)
	}
	newest := epochs[len(epochs)-1]
	v := View{Chain: pinned.Chain, At: s.At.UTC(), Height: s.Height, Headers: s.Headers, Pending: s.Pending,
		Epoch: newest.Number, Total: newest.Total(), Nodes: s.Nodes}
	for _, m := range newest.Validators {
		v.Validators = append(v.Validators, Validator{Name: m.Name, Power: m.Power})
	}
	for _, n := range newest.Notaries {
		v.Logs = append(v.Logs, Log{Origin: n.Origin})
	}
	for _, e := range s.Entries {
		a, err := anchorOf(epochs, e)
		if err != nil {
			return View{}, fmt.Errorf("header %d: %w", e.Header.Index, err)
		}
		v.count(a)
		v.Anchors = append(v.Anchors, a)
	}
	slices.Reverse(v.Anchors)
	return v, nil
}

func anchorOf(epochs []anchorproof.Epoch, e Entry) (Anchor, error) {
	a := Anchor{Header: e.Header, Checkpoints: e.Checkpoints}
	leaves := make([]merkle.Hash, len(e.Checkpoints))
	for i, c := range e.Checkpoints {
		leaves[i] = merkle.LeafHash([]byte(c.Text()))
	}
	if e.Header.Chain != epochs[0].Chain || uint64(len(leaves)) != e.Header.Count ||
		merkle.ListRoot(leaves) != e.Header.Anchors {
		return a, errors.New("its checkpoints are not those that it commits")
	}
	if len(e.Cosignatures) == 0 {
		return a, nil
	}
	if e.Header.Epoch >= uint64(len(epochs)) {
		return a, fmt.Errorf("there is no epoch %d", e.Header.Epoch)
	}
	epoch := epochs[e.Header.Epoch]
	power, err := epoch.CheckQuorum(e.Header.Text(), e.Cosignatures)
	if err != nil {
		return a, err
	}
	a.Signed, a.Total = power, epoch.Total()
	for i, m := range epoch.Validators {
		if slices.ContainsFunc(e.Cosignatures, func(c anchorproof.Cosignature) bool { return c.Validator == i }) {
			a.Cosigned = append(a.Cosigned, m.Name)
		} else {
			a.Silent = append(a.Silent, m.Name)
		}
	}
	return a, nil
}

// count books an anchor with members and logs.
func (v *View) count(a Anchor) {
	for i := range v.Validators {
		m := &v.Validators[i]
		signed := slices.Contains(a.Cosigned, m.Name)
		if signed || slices.Contains(a.Silent, m.Name) {
			m.Of++
		}
		if signed {
			m.Cosigned++
			m.Last = a.Header.Time()
		}
	}
	for _, c := range a.Checkpoints {
		for i := range v.Logs {
			if v.Logs[i].Origin == c.Origin && v.Logs[i].Size < c.Size {
				v.Logs[i].Size, v.Logs[i].Root = c.Size, c.Root
			}
		}
	}
}
