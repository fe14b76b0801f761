package proof

import (
	"slices"
	"strings"
	"testing"
)

// of makes a report as words: "verdict number", then "by N" (replaced by), "over N" (replaces),
// "agency C", "log L"; "unread" is one without a single step, "bare" one that lacks only the file.
func of(text string) *Report {
	words := strings.Fields(text)
	r := &Report{Verdict: Verdict(words[0]), Agency: &AgencyReport{Code: "A"},
		Standing: &StandingReport{State: "valid"},
		Log:      &LogReport{Origin: "L"}, Steps: []Step{{Name: StepBundle, Status: Passed}}}
	switch words[0] {
	case "unread":
		return Unchecked("a part of the service is out of reach")
	case "bare":
		r.Verdict, r.Steps = Unverifiable, []Step{{Name: StepDocument, Status: NotChecked, Reason: "no_document"}}
	case "unverifiable":
		r.Steps = []Step{{Name: StepCertificate, Status: NotChecked, Reason: "unknown_root"}}
	case "revoked", "superseded":
		r.Standing.State = words[0]
	}
	r.Number = words[1]
	for pair := range slices.Chunk(words[2:], 2) {
		switch pair[0] {
		case "by":
			r.Standing.By = pair[1]
		case "over":
			r.Supersedes = pair[1]
		case "agency":
			r.Agency.Code = pair[1]
		case "log":
			r.Log.Origin = pair[1]
		}
	}
	return r
}

func TestRank(t *testing.T) {
	for name, c := range map[string]struct{ reports, want string }{
		"in force before revoked":           {"revoked 2 | genuine 1", "genuine 1 | revoked 2"},
		"anchored before pending":           {"pending 2 | genuine 1", "genuine 1 | pending 2"},
		"equals stay as they came":          {"genuine 2 | genuine 1", "genuine 2 | genuine 1"},
		"replaced, the replacement revoked": {"revoked 2 over 1 | superseded 1 by 2", "revoked 2 | superseded 1"},
		"given the other way round":         {"superseded 1 by 2 | revoked 2 over 1", "revoked 2 | superseded 1"},
		"replaced by another file's record": {"revoked 3 | superseded 1 by 2", "superseded 1 | revoked 3"},
		"replaced twice": {"superseded 1 by 2 | superseded 2 by 3 over 1 | revoked 3 over 2",
			"revoked 3 | superseded 2 | superseded 1"},
		"one bundle does not know yet":         {"genuine 1 | revoked 2 over 1", "revoked 2 | genuine 1"},
		"the replacement is pending":           {"genuine 1 | pending 2 over 1", "pending 2 | genuine 1"},
		"another agency replaces nothing":      {"genuine 1 | revoked 2 over 1 agency B", "genuine 1 | revoked 2"},
		"another log replaces nothing":         {"genuine 1 | revoked 2 over 1 log M", "genuine 1 | revoked 2"},
		"one number in two logs":               {"genuine 1 | revoked 1 log M", "genuine 1 | revoked 1"},
		"evidence that fails replaces nothing": {"genuine 1 | invalid 2 over 1", "genuine 1 | invalid 2"},
		"a replacement that fails":             {"superseded 1 by 2 | invalid 2 over 1", "superseded 1 | invalid 2"},
		"two bundles of one record":            {"genuine 1 | revoked 1", "revoked 1 | genuine 1"},
		"anchored since":                       {"pending 1 | genuine 1", "genuine 1 | pending 1"},
		"anchored since, and no file":          {"pending 1 | bare 1", "bare 1 | pending 1"},
		"revoked since, and no file":           {"bare 1 | revoked 1", "revoked 1 | bare 1"},
		"nothing new since":                    {"bare 1 | bare 1", "bare 1 | bare 1"},
		"out of reach, and one in force":       {"unread | genuine 1", "genuine 1 | unread"},
		"out of reach, and one revoked":        {"revoked 1 | unread", "unread | revoked 1"},
		"unknown roots say nothing":            {"unverifiable 2 | revoked 1", "revoked 1 | unverifiable 2"},
		"records that replaced each other": {"superseded 1 by 2 | superseded 2 by 1",
			"superseded 1 | superseded 2"},
		"every verdict": {"invalid 7 | unverifiable 6 | altered 5 | revoked 4 | superseded 3 | pending 2 | genuine 1",
			"genuine 1 | pending 2 | superseded 3 | revoked 4 | altered 5 | unverifiable 6 | invalid 7"},
		"a verdict of a later program is last": {"refined 1 | invalid 2", "invalid 2 | refined 1"},
		"nothing":                              {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var texts []string
			var reports []*Report
			for text := range strings.SplitSeq(c.reports, " | ") {
				if text != "" {
					texts, reports = append(texts, text), append(reports, of(text))
				}
			}
			var got []string
			for _, p := range Rank(reports) {
				words := strings.Fields(texts[p.At])
				got = append(got, strings.Join(words[:min(2, len(words))], " "))
			}
			if s := strings.Join(got, " | "); s != c.want {
				t.Errorf("%s, want %s", s, c.want)
			}
		})
	}
}

func TestRankSaysWhatReplacedWhat(t *testing.T) {
	ranked := Rank([]*Report{of("superseded 1 by 2"), of("revoked 2 over 1"), of("superseded 3 by 9"),
		of("unverifiable 4")})
	for i, want := range []Place{{At: 2, Shows: true, Attention: 3}, {At: 1, Shows: true, Attention: 2},
		{At: 0, Shows: true, Attention: 3, ReplacedBy: "2"}, {At: 3, Cause: "unknown_root", Attention: 5}} {
		if ranked[i] != want {
			t.Errorf("place %d: %+v, want %+v", i, ranked[i], want)
		}
	}
}

// TestVerdictTable: each verdict has one row and an exit code of its own, and 0 is genuine's.
func TestVerdictTable(t *testing.T) {
	exits, attention := map[int]bool{}, map[int]bool{}
	for _, row := range Verdicts() {
		if row.Verdict.Row() != row || row.Means == "" {
			t.Errorf("%+v", row)
		}
		if exits[row.Exit] || row.Exit == 2 || (row.Exit == 0) != (row.Verdict == Genuine) {
			t.Errorf("%s: exit code %d", row.Verdict, row.Exit)
		}
		if attention[row.Attention] || row.Attention < 0 || row.Attention >= len(verdicts) {
			t.Errorf("%s: attention %d", row.Verdict, row.Attention)
		}
		if row.Sound && !row.Shows {
			t.Errorf("%s holds and shows nothing", row.Verdict)
		}
		exits[row.Exit], attention[row.Attention] = true, true
	}
	if row := Verdict("refined").Row(); row.Exit != 2 || row.Sound || row.Shows {
		t.Errorf("a verdict that nobody knows: %+v", row)
	}
}

func TestCause(t *testing.T) {
	step := func(n StepName, s Status, reason string) Step { return Step{Name: n, Status: s, Reason: reason} }
	file, chain := step(StepDocument, NotChecked, "no_document"), step(StepAnchor, NotChecked, "unknown_chain")
	for name, c := range map[string]struct {
		steps []Step
		want  string
	}{
		"no step": {nil, "other"},
		"no file": {[]Step{file, step(StepAnchor, Passed, "")}, "no_document"},
		"a root before the rest": {[]Step{file, step(StepCertificate, NotChecked, "unknown_root"),
			chain}, "unknown_root"},
		"an anchor before the file": {[]Step{file, chain}, "unknown_chain"},
		"one anchor that holds":     {[]Step{file, chain, step(StepAnchor, Passed, "")}, "no_document"},
		"no proof of the status": {[]Step{file, step(StepAnchor, Passed, ""),
			step(StepStanding, NotChecked, "no_status_proof")}, "no_document"},
		"a revocation by a stranger": {[]Step{file, step(StepStanding, NotChecked, "unknown_root")}, "unknown_root"},
	} {
		t.Run(name, func(t *testing.T) {
			r := &Report{Verdict: Unverifiable, Steps: c.steps}
			if got := r.Cause(); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			if r.Shows() != (c.want == "no_document") {
				t.Error("only evidence that lacks nothing but the file may be shown")
			}
		})
	}
}
