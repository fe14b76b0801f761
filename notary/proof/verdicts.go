package proof

import (
	"cmp"
	"slices"
)

// VerdictRow is what follows from a verdict, wherever it is shown.
type VerdictRow struct {
	Verdict   Verdict
	Exit      int    // exit code of the command lines; 0 is genuine's alone, 2 is wrong usage
	Means     string // one line for their help
	Sound     bool   // the evidence holds: a bundle with this verdict may be handed out
	Shows     bool   // what the statement says may be shown; of unverifiable see [Report.Shows]
	Alarm     bool   // somebody relies on what does not hold any more, or never did
	Attention int    // place in a list about several files: what needs a person's attention first
	stage     int    // how far the record has come, see overtakes; -1 where that is not known
}

// verdicts is the one table of verdicts, the best first: in this order stand the answers about
// one file. What has a name of its own elsewhere is named after the verdict: its icon is
// v-<verdict>, its words are the keys verdict.<verdict>.* and many.count.<verdict>; tests see
// that each row has them.
var verdicts = []VerdictRow{
	{Verdict: Genuine, Exit: 0, Means: "the file is exactly the one notarized",
		Sound: true, Shows: true, Attention: 7, stage: 1},
	{Verdict: Pending, Exit: 5, Means: "notarized and signed, not anchored yet",
		Sound: true, Shows: true, Attention: 6, stage: 0},
	{Verdict: Superseded, Exit: 7, Means: "it was genuine; the agency replaced it",
		Sound: true, Shows: true, Attention: 3, stage: 2},
	{Verdict: Revoked, Exit: 6, Means: "it was genuine; the agency revoked it",
		Sound: true, Shows: true, Alarm: true, Attention: 2, stage: 3},
	{Verdict: Altered, Exit: 1, Means: "a certificate exists, and this is not its file",
		Shows: true, Alarm: true, Attention: 1, stage: -1},
	{Verdict: Unverifiable, Exit: 4, Means: "could not be checked with these trust roots; says nothing about the file",
		Attention: 5, stage: -1},
	{Verdict: Invalid, Exit: 3, Means: "the evidence itself does not hold",
		Alarm: true, Attention: 0, stage: -1},
	{Verdict: NotFound, Exit: 8, Means: "the service that was asked has no record of the file",
		Attention: 4, stage: -1},
}

// Verdicts returns the table of verdicts, the best first.
func Verdicts() []VerdictRow { return slices.Clone(verdicts) }

// Row is the verdict's row of the table.
func (v Verdict) Row() VerdictRow {
	if i := v.rank(); i < len(verdicts) {
		return verdicts[i]
	}
	return VerdictRow{Verdict: v, Exit: 2, stage: -1} // none that this program knows: it promises nothing
}

func (v Verdict) rank() int {
	if i := slices.IndexFunc(verdicts, func(r VerdictRow) bool { return r.Verdict == v }); i >= 0 {
		return i
	}
	return len(verdicts)
}

// Reasons of steps that are asked for by name.
const (
	noDocument    = "no_document"     // of the document: none was given
	noStatusProof = "no_status_proof" // of the standing: the bundle cannot show that it is unchanged
	keyNotValid   = "key_not_valid"   // of what a pinned key of the log signed: not in that key's time
)

// evident reports whether the evidence holds and lacks nothing but the file.
func (r *Report) evident() bool { return r.Verdict == Unverifiable && r.Cause() == noDocument }

// Shows reports whether what the statement says may be shown. Evidence that does not hold, or
// could not be checked, has nothing to say.
func (r *Report) Shows() bool { return r.Verdict.Row().Shows || r.evident() }

// Open reports whether the record may have come further since the bundle was written, which
// a bundle cannot know: it may be anchored, revoked or replaced by now.
func (r *Report) Open() bool { return r.Verdict == Genuine || r.Verdict == Pending || r.evident() }

// Cause names why a report is unverifiable: the first thing that was missing, in the order in
// which [Verify] decides; "other" where no step says.
func (r *Report) Cause() string {
	var anchor, document string
	anchored := false
	for _, s := range r.Steps {
		switch {
		case s.Status == Passed:
			anchored = anchored || s.Name == StepAnchor
		case s.Name != StepDocument && !s.LeavesOpen(), s.Status != NotChecked: // holds nothing up
		case s.Name == StepDocument:
			document = s.Reason
		case s.Name == StepAnchor:
			anchor = cmp.Or(anchor, s.Reason)
		default:
			return s.Reason
		}
	}
	if anchored { // one anchor that holds is enough
		anchor = ""
	}
	return cmp.Or(anchor, document, "other")
}

// Place is a report's place in the answer about one file, and what the table of verdicts says
// of it. Its JSON is what the browser gets.
type Place struct {
	At         int    `json:"at"` // index among the reports that were ranked
	Shows      bool   `json:"shows"`
	Open       bool   `json:"open"`
	Cause      string `json:"cause,omitempty"` // of one that is unverifiable
	Attention  int    `json:"attention"`
	ReplacedBy string `json:"replacedBy,omitempty"` // number of the record among these that took its place
}

// Rank orders reports on the bundles of one file, the best first; among equals the given order
// stays. The first is the answer about the file.
//
// The order is that of the table, with two exceptions. A record that another one of these
// replaced never comes before its replacement, whatever became of that: "replaced, then the
// replacement revoked" is revoked. The same holds for two bundles of one record: the one
// that shows more of what became of it is the answer. And what could not even be asked comes
// right after what is in force: that one of a file's records was revoked is no answer while
// another one, perhaps in force, is out of reach.
func Rank(reports []*Report) []Place {
	var left []int
	for i := range reports {
		left = append(left, i)
	}
	slices.SortStableFunc(left, func(a, b int) int { return cmp.Compare(reports[a].rank(), reports[b].rank()) })
	out := make([]Place, 0, len(left))
	for len(left) > 0 {
		next := slices.IndexFunc(left, func(i int) bool {
			return !slices.ContainsFunc(left, func(j int) bool { return overtakes(reports[j], reports[i]) })
		})
		next = max(next, 0) // records that replaced each other cannot be; then the table decides
		i := left[next]
		left = slices.Delete(left, next, next+1)
		out = append(out, place(reports, i))
	}
	return out
}

func place(reports []*Report, i int) Place {
	r := reports[i]
	p := Place{At: i, Shows: r.Shows(), Open: r.Open(), Attention: r.Verdict.Row().Attention}
	if r.Verdict == Unverifiable {
		p.Cause = r.Cause()
	}
	if by := slices.IndexFunc(reports, func(later *Report) bool { return replaces(later, r) }); by >= 0 {
		p.ReplacedBy = reports[by].Number
	}
	return p
}

// rank is twice the place in the table: what could not even be asked stands between two rows.
func (r *Report) rank() int {
	if r.Verdict == Unverifiable && len(r.Steps) == 0 {
		return 2*Pending.rank() + 1
	}
	return 2 * r.Verdict.rank()
}

// overtakes reports whether later says what became of the record of r.
func overtakes(later, r *Report) bool {
	if replaces(later, r) {
		return true
	}
	stage := r.stage()
	return later.Number == r.Number && later.sameLog(r) && stage >= 0 && later.stage() > stage
}

// sameLog reports whether both reports show records of one agency in one log.
func (r *Report) sameLog(other *Report) bool {
	for _, x := range []*Report{r, other} {
		if !x.Shows() || x.Agency == nil || x.Log == nil {
			return false
		}
	}
	return r.Agency.Code == other.Agency.Code && r.Log.Origin == other.Log.Origin
}

// replaces reports whether later is of the record that took the place of r's: as the one or
// the other says. A statement speaks for the records of its own agency only. Neither is
// believed where its evidence does not hold.
func replaces(later, r *Report) bool {
	if later.Number == r.Number || !later.sameLog(r) {
		return false
	}
	told := r.Standing != nil && r.Standing.State == string(Superseded) && r.Standing.By == later.Number
	return told || later.Supersedes == r.Number
}

// stage is how far the record has come: signed, in force, replaced, revoked.
func (r *Report) stage() int {
	if r.evident() {
		return Genuine.Row().stage
	}
	return r.Verdict.Row().stage
}
