package proof

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"stele/crypto/merkle"
	"stele/crypto/pki"
	"stele/crypto/sm"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/checkpoint"
	"stele/notary/proof/statement"
)

// side is one of two bundles that are compared, with what holds of it piece by piece.
type side struct {
	name   string // A or B
	report *Report
	bundle *Bundle // nil where it is malformed, and so are the points
	own    *point
	third  *point // of the consistency proof, or nil
	says   *point // of the log's status, or nil
	later  *point // of the standing, or nil
}

// point is a checkpoint in the evidence.
type point struct {
	from    string // what the report calls it
	note    []byte
	c       checkpoint.Checkpoint
	signed  bool       // by the log, as far as these trust roots know its keys
	anchors []anchored // that hold
	entry   *logged    // proven to be under it, or nil
	places  []placed   // of all that is proven to be under it
}

// placed is a leaf at its index, with the path that proves it.
type placed struct {
	index uint64
	leaf  merkle.Hash
	path  []merkle.Hash
}

// logged is an entry with the place that a path proves.
type logged struct {
	evidence  *Evidence
	statement statement.Statement
	spoken    bool // the statement parses, and its signature is that of the certificate beside it
}

func newSide(trust *Trust, name string, c Carried) *side {
	if c.Fault != nil {
		return &side{name: name, report: c.Fault}
	}
	s := &side{name: name, report: VerifyFile(trust, nil, c.Bundle)}
	b, _, err := ReadBundle(c.Bundle)
	if err != nil {
		return s
	}
	s.bundle = b
	v := verifier{trust: trust}
	s.own = v.point("bundle "+name, b.Log.Checkpoint, b.Anchors, &b.Evidence, b.UserID)
	if c := b.Consistency; c != nil {
		s.third = v.point("the other checkpoint in bundle "+name, c.Checkpoint, c.Anchors, nil, "")
	}
	if p := b.Status; p != nil {
		s.says = v.point("the status in bundle "+name, p.Log.Checkpoint, p.Anchors, nil, "")
		s.says.prove(placed{p.Log.Index, p.LeafHash(), p.Log.Path})
		s.says.prove(placed{b.Log.Index, b.LeafHash(), p.RecordPath})
	}
	if e := b.Standing; e != nil {
		s.later = v.point("the later statement in bundle "+name, e.Log.Checkpoint, e.Anchors, e, b.UserID)
	}
	return s
}

// point checks a checkpoint by itself: nothing is compared with the time of a statement.
func (v verifier) point(from string, note []byte, raw []json.RawMessage, e *Evidence, userID string) *point {
	c, err := checkpoint.ParseUnsafe(note)
	if err != nil {
		return nil
	}
	scratch := &Report{}
	sv := verifier{trust: v.trust, report: scratch}
	p := &point{from: from, note: note, c: c, anchors: sv.anchors(raw, c, statement.Statement{})}
	sv.checkpoint(note, c, statement.Statement{}, p.anchors)
	p.signed = slices.ContainsFunc(scratch.Steps, func(s Step) bool {
		return s.Name == StepCheckpoint && s.Status == Passed
	})
	if e == nil || !p.prove(placed{e.Log.Index, e.LeafHash(), e.Log.Path}) {
		return p
	}
	p.entry = &logged{evidence: e}
	signer, badSigner := pki.Parse(e.Certificates[0])
	if p.entry.statement, err = statement.Parse(e.Statement); err == nil && badSigner == nil {
		p.entry.spoken = userID == sm.UserID && signer.PublicKey().Verify(e.Statement, e.Signature)
	}
	return p
}

// prove notes a leaf if it is under the checkpoint at its place.
func (p *point) prove(at placed) bool {
	if p == nil || merkle.VerifyInclusion(at.index, p.c.Size, at.leaf, at.path, p.c.Root) != nil {
		return false
	}
	p.places = append(p.places, at)
	return true
}

func (s *side) points() []*point {
	return slices.DeleteFunc([]*point{s.own, s.third, s.says, s.later}, func(p *point) bool { return p == nil })
}

// described is what the report says of a side.
func (s *side) described() HistorySide {
	out := HistorySide{Bundle: s.name, Verdict: s.report.Verdict, Summary: s.report.Summary}
	if s.report.Verdict != Invalid {
		out.Number, out.Agency, out.Log = s.report.Number, s.report.Agency, s.report.Log
		out.Root = s.own.c.Root.String()
		out.AnchoredAt, out.AnchoredBy = s.report.AnchoredAt, s.report.AnchoredBy
	}
	return out
}

// contradictions compares everything signed with everything else.
func (r *HistoryReport) contradictions(sides []*side) {
	var points []*point
	for _, s := range sides {
		points = append(points, s.points()...)
	}
	pairs := func(compare func(x, y *point)) {
		for i, x := range points {
			for _, y := range points[i+1:] {
				compare(x, y)
			}
		}
	}
	ofOneLog := func(compare func(x, y *point)) {
		pairs(func(x, y *point) {
			if x.signed && y.signed && x.c.Origin == y.c.Origin {
				compare(x, y)
			}
		})
	}
	ofOneLog(r.twoRoots)
	ofOneLog(r.twoTrees)
	pairs(r.twoBlocks)
	ofOneLog(r.twoStatements)
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return slices.Index(contradictionOrder, a.Code) - slices.Index(contradictionOrder, b.Code)
	})
	// One pair of headers or checkpoints may stand at several places of the two bundles.
	r.Findings = slices.CompactFunc(r.Findings, func(a, b Finding) bool { return a.Code == b.Code && sameValues(a, b) })
}

var contradictionOrder = []string{FoundTwoRoots, FoundTwoLeaves, FoundTwoSubtrees, FoundTwoHeaders, FoundHeaderOrder,
	FoundTwoStatements}

func sameValues(a, b Finding) bool {
	return slices.EqualFunc(a.Compared, b.Compared, func(x, y Comparison) bool { return x.Value == y.Value })
}

const againstLog = " This is evidence against whoever holds the log's key: keep both bundles."

func (r *HistoryReport) twoRoots(x, y *point) {
	if x.c.Size != y.c.Size || x.c.Root == y.c.Root {
		return
	}
	r.found(FoundTwoRoots, fmt.Sprintf("The log %s signed two different roots for one size, %d: it has shown two "+
		"histories (%s, %s).", x.c.Origin, x.c.Size, x.from, y.from)+againstLog,
		Comparison{"root in " + x.from, x.c.Root.String()}, Comparison{"root in " + y.from, y.c.Root.String()},
		Comparison{"signed in " + x.from, string(x.note)}, Comparison{"signed in " + y.from, string(y.note)})
}

// twoTrees compares the subtrees of which both paths tell the hashes. So checkpoints of different
// sizes may contradict each other without any consistency proof.
func (r *HistoryReport) twoTrees(x, y *point) {
	if x.c.Size == y.c.Size && x.c.Root != y.c.Root { // which is two_roots
		return
	}
	others := y.subtrees()
	var at *subtree
	for n, h := range x.subtrees() {
		other, both := others[n]
		if both && other != h && (at == nil || n.level < at.level || n.level == at.level && n.index < at.index) {
			at = &n
		}
	}
	if at == nil {
		return
	}
	code, what := FoundTwoLeaves, fmt.Sprintf("two different entries at one place, index %d", at.index)
	if at.level > 0 {
		first := at.index << at.level
		code = FoundTwoSubtrees
		what = fmt.Sprintf("different entries for the same places, index %d to %d", first, first+1<<at.level-1)
	}
	r.found(code, fmt.Sprintf("The log %s signed checkpoints with %s: it has shown two histories (%s, %s).",
		x.c.Origin, what, x.from, y.from)+againstLog,
		Comparison{"hash in " + x.from, x.subtrees()[*at].String()},
		Comparison{"hash in " + y.from, others[*at].String()},
		Comparison{"signed in " + x.from, string(x.note)}, Comparison{"signed in " + y.from, string(y.note)})
}

// subtree is a complete one, of 2^level leaves: what it holds stays the same for ever.
type subtree struct {
	level uint
	index uint64 // among those of its level
}

// subtrees are the hashes of all complete subtrees that the inclusion paths tell of: those on the way from
// a leaf to the root and those beside it.
func (p *point) subtrees() map[subtree]merkle.Hash {
	out := map[subtree]merkle.Hash{}
	for _, one := range p.places {
		p.pass(one, out)
	}
	return out
}

func (p *point) pass(one placed, out map[subtree]merkle.Hash) {
	level, at, last, hash := uint(0), one.index, p.c.Size-1, one.leaf
	note := func(index uint64, h merkle.Hash) {
		if bits.Len64(index+1)+int(level) < 64 && (index+1)<<level <= p.c.Size {
			out[subtree{level, index}] = h
		}
	}
	note(at, hash)
	for _, beside := range one.path {
		for at == last && at&1 == 0 && last > 0 { // at the right edge nothing stands beside it
			at, last, level = at>>1, last>>1, level+1
		}
		if at&1 == 1 {
			note(at-1, beside)
			hash = merkle.NodeHash(beside, hash)
		} else {
			note(at+1, beside)
			hash = merkle.NodeHash(hash, beside)
		}
		at, last, level = at>>1, last>>1, level+1
		note(at, hash)
	}
}

func sameChain(x, y anchored) bool {
	return x.report.Strength == SelfProving && y.report.Strength == SelfProving && x.report.Chain == y.report.Chain
}

func (r *HistoryReport) twoBlocks(p, q *point) {
	for _, x := range p.anchors {
		for _, y := range q.anchors {
			if !sameChain(x, y) {
				continue
			}
			err := anchorproof.CheckOrder(x.header, y.header)
			if !errors.Is(err, anchorproof.ErrHistory) {
				continue
			}
			code := FoundHeaderOrder
			if x.header.Index == y.header.Index {
				code = FoundTwoHeaders
			}
			r.found(code,
				fmt.Sprintf("Members with more than two thirds of the votes of the chain %s signed headers that "+
					"contradict each other (%s, %s): %s. This is evidence against them: keep both bundles.",
					x.report.Chain,
					p.from, q.from, err), Comparison{"header in " + p.from, x.header.Text()},
				Comparison{"header in " + q.from, y.header.Text()})
		}
	}
}

// twoStatements looks for one number that stands for two records. The log admitted both.
func (r *HistoryReport) twoStatements(p, q *point) {
	x, y := p.entry, q.entry
	if x == nil || y == nil || !x.spoken || !y.spoken || bytes.Equal(x.evidence.Statement, y.evidence.Statement) {
		return
	}
	s, t := x.statement, y.statement
	if s.Action != statement.Issue || t.Action != statement.Issue || s.Number != t.Number {
		return
	}
	who := fmt.Sprintf("%s signed two different records", s.Agency.Name)
	if s.Agency.Code != t.Agency.Code {
		who = fmt.Sprintf("%s and %s signed different records", s.Agency.Name, t.Agency.Name)
	}
	r.found(FoundTwoStatements, fmt.Sprintf("%s with one number, %s, and the log %s signed for both (index %d in %s, "+
		"index %d in %s). Which of them the number stands for, this evidence cannot show.", who, s.Number, p.c.Origin,
		x.evidence.Log.Index, p.from, y.evidence.Log.Index, q.from),
		Comparison{"statement in " + p.from, string(x.evidence.Statement)},
		Comparison{"statement in " + q.from, string(y.evidence.Statement)})
}
