package proof

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"stele/crypto/merkle"
	"stele/notary/proof/anchorproof"
)

// HistoryFormat is the value of a history report's first key.
const HistoryFormat = "stele/history/v1"

// HistoryResult says how two bundles stand to each other. The codes are stable.
type HistoryResult string

// The results. A contradiction needs signatures on both sides: it is evidence against whoever
// made them.
const (
	OneHistory     HistoryResult = "one_history"   // the log only grew between the two
	Contradiction  HistoryResult = "contradiction" // what both sides signed cannot both be true
	HistoryInvalid HistoryResult = "invalid"       // a bundle does not hold
	NotShown       HistoryResult = "not_shown"     // it may be one history; something is missing
)

// Codes of findings, in the order in which they are reported.
const (
	FoundTwoRoots      = "two_roots"        // contradiction: two roots for one size, signed by the log
	FoundTwoLeaves     = "two_leaves"       // contradiction: two entries at one place of a log
	FoundTwoSubtrees   = "two_subtrees"     // contradiction: the entries of one stretch of a log differ
	FoundTwoHeaders    = "two_headers"      // contradiction: two headers of a chain with one index
	FoundHeaderOrder   = "header_order"     // contradiction: index, height and time of headers disagree
	FoundTwoStatements = "two_statements"   // contradiction: two issue statements with one number
	FoundBadBundle     = "bad_bundle"       // invalid
	FoundOtherLog      = "other_log"        // not shown: the bundles are of two logs
	FoundUncheckedLog  = "log_not_checked"  // not shown: trust roots lack what is needed
	FoundNoPath        = "no_path"          // not shown: no consistency proof from one to the other
	FoundCommonPast    = "common_past"      // not shown: both grew out of an earlier one, perhaps apart
	FoundSame          = "same_checkpoint"  // shown
	FoundGrew          = "log_grew"         // shown
	FoundBlocks        = "blocks"           // shown: the headers of a chain are of one history too
	FoundNoBlocks      = "blocks_not_shown" // a remark
	FoundNotAnchored   = "not_anchored"     // a remark
)

// Finding is one thing that the comparison of two bundles brought out.
type Finding struct {
	Code     string       `json:"code"`
	Detail   string       `json:"detail"` // one or two English sentences
	Compared []Comparison `json:"compared,omitempty"`
}

// HistorySide is one of the two bundles. What it says of itself is there only where it holds.
type HistorySide struct {
	Bundle     string        `json:"bundle"` // A or B
	Verdict    Verdict       `json:"verdict"`
	Summary    string        `json:"summary"`
	Number     string        `json:"number,omitempty"`
	Agency     *AgencyReport `json:"agency,omitempty"`
	Log        *LogReport    `json:"log,omitempty"`
	Root       string        `json:"root,omitempty"`
	AnchoredAt string        `json:"anchoredAt,omitempty"`
	AnchoredBy string        `json:"anchoredBy,omitempty"`
}

// HistoryReport is what [CompareHistories] found.
type HistoryReport struct {
	Format   string        `json:"format"`
	Result   HistoryResult `json:"result"`
	Summary  string        `json:"summary"`
	Bundles  []HistorySide `json:"bundles"` // A, B
	Findings []Finding     `json:"findings"`
}

// JSON returns the report's bytes.
func (r *HistoryReport) JSON() []byte {
	b, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings and integers always marshal
	}
	return b
}

func (r *HistoryReport) found(code, detail string, compared ...Comparison) {
	r.Findings = append(r.Findings, Finding{Code: code, Detail: detail, Compared: compared})
}

func (r *HistoryReport) end(result HistoryResult, summary string) *HistoryReport {
	r.Result, r.Summary = result, summary
	return r
}

// CompareHistories verifies two bundles, without their documents, and says whether their
// checkpoints are of one history. Nothing else is consulted: no network, no clock, no files.
//
// A contradiction is looked for first, in what is signed and holds by itself, also where a
// bundle as a whole does not: whoever hands in a spoilt bundle must not hide a fork with it.
func CompareHistories(trust *Trust, a, b []byte) *HistoryReport {
	return CompareCarried(trust, Carried{Bundle: a}, Carried{Bundle: b})
}

// Carried is a bundle as it was taken out of a file, or the report that says why none could be.
type Carried struct {
	Bundle []byte
	Fault  *Report // see [BadPackage]; nil where there is a bundle
}

// CompareCarried is [CompareHistories] for files that carry bundles.
func CompareCarried(trust *Trust, a, b Carried) *HistoryReport {
	if trust == nil {
		trust = &Trust{}
	}
	sides := []*side{newSide(trust, "A", a), newSide(trust, "B", b)}
	r := &HistoryReport{Format: HistoryFormat, Findings: []Finding{}}
	for _, s := range sides {
		r.Bundles = append(r.Bundles, s.described())
	}
	if r.contradictions(sides); len(r.Findings) > 0 {
		return r.end(Contradiction, "The evidence contradicts itself: "+r.Findings[0].Detail)
	}
	for _, s := range sides {
		if step, bad := s.report.FailedStep(); bad && s.report.Verdict == Invalid {
			r.found(FoundBadBundle, fmt.Sprintf("Bundle %s does not hold: %s: %s", s.name, step.Name,
				sentence(step.Detail)))
		}
	}
	if len(r.Findings) > 0 {
		return r.end(HistoryInvalid, r.Findings[0].Detail+" So nothing can be said about a history.")
	}
	if r.incomparable(sides); len(r.Findings) > 0 {
		return r.end(NotShown, r.Findings[0].Detail)
	}
	shown := r.compareLogs(sides[0], sides[1])
	r.remarks(sides)
	if !shown {
		return r.end(NotShown, "It is not shown that the two are of one history. "+r.Findings[0].Detail)
	}
	return r.end(OneHistory, "Both bundles are of one history. "+r.Findings[0].Detail)
}

// sentence ends a text with a full stop: errors of parsers have none.
func sentence(text string) string { return strings.TrimSuffix(text, ".") + "." }

// incomparable finds what stands in the way before any path is looked at.
func (r *HistoryReport) incomparable(sides []*side) {
	for _, s := range sides {
		for _, step := range s.report.Steps {
			if (step.Name == StepInclusion || step.Name == StepCheckpoint) && step.Status != Passed {
				r.found(FoundUncheckedLog, fmt.Sprintf("The checkpoint of bundle %s could not be checked: %s "+
					"Take trust roots that know this log.", s.name, step.Detail))
			}
		}
	}
	if len(r.Findings) > 0 {
		return
	}
	if a, b := sides[0].own.c.Origin, sides[1].own.c.Origin; a != b {
		r.found(FoundOtherLog, fmt.Sprintf("The bundles are of two logs, %s and %s, each with a history of its own: "+
			"there is nothing to compare.", a, b))
	}
}

// compareLogs says whether the log only grew from one bundle's checkpoint to the other's.
func (r *HistoryReport) compareLogs(a, b *side) bool {
	x, y := a.own.c, b.own.c
	grew := orderOfLogs(a, b)
	switch {
	case x == y:
		r.found(FoundSame, fmt.Sprintf("They lead to one checkpoint of the log %s, that of size %d.", x.Origin, x.Size))
		return true
	case grew.related(a.own, b.own):
		r.found(FoundGrew, fmt.Sprintf("The log %s only grew from size %d to size %d.", x.Origin,
			min(x.Size, y.Size), max(x.Size, y.Size)))
		return true
	}
	if grew.commonPast(a.own, b.own) {
		r.found(FoundCommonPast, "Both grew out of one earlier checkpoint; after that there may be two histories. "+
			remedy(a, b))
		return false
	}
	r.found(FoundNoPath, fmt.Sprintf("Neither bundle has the consistency proof between the sizes %d and %d. ",
		min(x.Size, y.Size), max(x.Size, y.Size))+remedy(a, b))
	return false
}

// remedy says which call brings what is missing.
func remedy(a, b *side) string {
	for _, s := range []*side{a, b} {
		if len(s.own.anchors) == 0 {
			return fmt.Sprintf("The checkpoint of bundle %s is not anchored: fetch that bundle anew from the service "+
				"(stele bundle %s), then compare again.", s.name, s.report.Number)
		}
	}
	if a.report.Number == b.report.Number {
		return fmt.Sprintf("Ask the service for GET /api/v1/records/%s/bundle?with=size:%d "+
			"(stele bundle %[1]s --with size:%[2]d) and compare that bundle with bundle B.", a.report.Number,
			b.own.c.Size)
	}
	return fmt.Sprintf("Ask the service for GET /api/v1/records/%s/bundle?with=%s (stele bundle %[1]s --with %[2]s) "+
		"and compare that bundle with bundle B.", a.report.Number, b.report.Number)
}

// remarks are about what stands behind the checkpoints: the chains.
func (r *HistoryReport) remarks(sides []*side) {
	a, b := sides[0], sides[1]
	for _, x := range a.own.anchors {
		for _, y := range b.own.anchors {
			if !sameChain(x, y) {
				continue
			}
			older, newer := min(x.header.Index, y.header.Index), max(x.header.Index, y.header.Index)
			if orderOfBlocks(a, b, x.report.Chain).related(blockOf(x), blockOf(y)) {
				r.found(FoundBlocks,
					fmt.Sprintf("The blocks of the chain %s that vouch for them are of one history as well.",
						x.report.Chain))
				continue
			}
			r.found(FoundNoBlocks,
				fmt.Sprintf("That the blocks of the chain %s are of one history is not shown beyond "+
					"their order: GET /api/v1/chain/history?chain=%[1]s&from=%d&to=%d has the path.", x.report.Chain,
					older, newer))
		}
	}
	for _, s := range sides {
		if len(s.own.anchors) == 0 {
			r.found(FoundNotAnchored,
				fmt.Sprintf("No chain vouches for the checkpoint of bundle %s that your trust roots "+
					"know: the log alone signed it.", s.name))
		}
	}
}

// order is what is known about which of some points lies in the past of which. It is reflexive.
type order[T comparable] struct {
	points []T
	size   func(T) uint64
	past   map[[2]T]bool // of the first and the second: the first is in the past of the second
}

func newOrder[T comparable](size func(T) uint64, points ...T) *order[T] {
	o := &order[T]{points: points, size: size, past: map[[2]T]bool{}}
	for _, p := range points {
		o.past[[2]T{p, p}] = true
	}
	return o
}

// join notes that the smaller of two is in the past of the larger; of equal ones each is.
func (o *order[T]) join(a, b T) {
	if o.size(a) <= o.size(b) {
		o.past[[2]T{a, b}] = true
	}
	if o.size(b) <= o.size(a) {
		o.past[[2]T{b, a}] = true
	}
}

// close adds what follows. Two points in the past of one third are in one history. Two points
// with one past are not: after it their histories may have parted.
func (o *order[T]) close() *order[T] {
	for known := -1; known != len(o.past); {
		known = len(o.past)
		for _, x := range o.points {
			for _, y := range o.points {
				for _, z := range o.points {
					if o.past[[2]T{x, y}] && o.past[[2]T{y, z}] {
						o.past[[2]T{x, z}] = true
					}
					if o.past[[2]T{x, z}] && o.past[[2]T{y, z}] {
						o.join(x, y)
					}
				}
			}
		}
	}
	return o
}

func (o *order[T]) related(a, b T) bool { return o.past[[2]T{a, b}] || o.past[[2]T{b, a}] }

// commonPast leaves the empty log out: it is in the past of every log.
func (o *order[T]) commonPast(a, b T) bool {
	return slices.ContainsFunc(o.points, func(p T) bool {
		return o.size(p) > 0 && o.past[[2]T{p, a}] && o.past[[2]T{p, b}]
	})
}

func orderOfLogs(a, b *side) *order[*point] {
	points := append(a.points(), b.points()...)
	o := newOrder(func(p *point) uint64 { return p.c.Size }, points...)
	for _, s := range []*side{a, b} {
		if s.third != nil && s.third.c.Origin == s.own.c.Origin &&
			sameHistory(s.own.c, s.third.c, s.bundle.Consistency.Path) == nil {
			o.join(s.own, s.third)
		}
	}
	for _, x := range points {
		for _, y := range points {
			if x.c == y.c {
				o.join(x, y)
			}
		}
	}
	return o.close()
}

// block is a header, however it is certified.
type block struct {
	index uint64
	leaf  merkle.Hash
}

func blockOf(a anchored) block { return block{a.header.Index, a.header.Leaf()} }

// orderOfBlocks goes by the paths that the bundles carry between their headers of a chain.
func orderOfBlocks(a, b *side, chain string) *order[block] {
	of := func(p *point) (block, anchorproof.Header, bool) {
		if p == nil {
			return block{}, anchorproof.Header{}, false
		}
		i := slices.IndexFunc(p.anchors, func(x anchored) bool {
			return x.report.Strength == SelfProving && x.report.Chain == chain
		})
		if i < 0 {
			return block{}, anchorproof.Header{}, false
		}
		return blockOf(p.anchors[i]), p.anchors[i].header, true
	}
	var points []block
	var joins [][2]block
	for _, s := range []*side{a, b} {
		own, x, there := of(s.own)
		third, y, also := of(s.third)
		if there {
			points = append(points, own)
		}
		if also {
			points = append(points, third)
		}
		if there && also && s.pathBetween(x, y) {
			joins = append(joins, [2]block{own, third})
		}
	}
	o := newOrder(func(b block) uint64 { return b.index }, points...)
	for _, j := range joins {
		o.join(j[0], j[1])
	}
	return o.close()
}

// pathBetween reports whether the bundle carries the path from the older header to the newer.
func (s *side) pathBetween(x, y anchorproof.Header) bool {
	if x.Index > y.Index {
		x, y = y, x
	}
	return slices.ContainsFunc(s.bundle.Consistency.Headers, func(p HeaderPath) bool {
		return p.Chain == x.Chain && anchorproof.CheckHistory(x, y, p.Path) == nil
	})
}

// HeaderPair is two headers of a chain that vouch for two checkpoints.
type HeaderPair struct {
	Chain        string
	Older, Newer uint64 // their indexes; equal where it is one header
}

// SharedHeaders tells between which headers a bundle can show a path: of each chain that both
// lists of anchors are about. It is for whoever makes bundles and verifies nothing.
func SharedHeaders(a, b []json.RawMessage) []HeaderPair {
	var out []HeaderPair
	for _, x := range headersOf(a) {
		for _, y := range headersOf(b) {
			if x.Chain == y.Chain {
				out = append(out, HeaderPair{x.Chain, min(x.Index, y.Index), max(x.Index, y.Index)})
			}
		}
	}
	return out
}

func headersOf(anchors []json.RawMessage) (out []anchorproof.Header) {
	for _, raw := range anchors {
		if anchorKind(raw) != KindEgov {
			continue
		}
		if e, err := anchorproof.ParseEvidence(raw); err == nil {
			out = append(out, e.Header)
		}
	}
	return out
}
