package verifier

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"stele/notary/proof"
)

func TestWithin(t *testing.T) {
	asOf := time.Date(2026, 11, 23, 2, 28, 43, 123e6, time.UTC)
	standing := func(state string) *proof.StandingReport {
		return &proof.StandingReport{State: state, AsOf: asOf.Format("2006-01-02T15:04:05.000Z")}
	}
	for name, c := range map[string]struct {
		report proof.Report
		text   string
		now    time.Time
		want   proof.Verdict
		says   string
	}{
		"fresh": {proof.Report{Verdict: proof.Genuine, Standing: standing(proof.StandingValid)}, "24h",
			asOf.Add(24 * time.Hour), proof.Genuine, ""},
		"days": {proof.Report{Verdict: proof.Genuine, Standing: standing(proof.StandingValid)}, "2d",
			asOf.Add(48 * time.Hour), proof.Genuine, ""},
		"the clock is behind": {proof.Report{Verdict: proof.Genuine, Standing: standing(proof.StandingValid)}, "1s",
			asOf.Add(-time.Hour), proof.Genuine, ""},
		"too old": {proof.Report{Verdict: proof.Genuine, Standing: standing(proof.StandingValid)}, "24h",
			asOf.Add(24*time.Hour + time.Millisecond), proof.Unverifiable, "longer ago than 24h0m0s"},
		"no status": {proof.Report{Verdict: proof.Genuine,
			Standing: &proof.StandingReport{State: proof.StandingUnknown}}, "24h", asOf, proof.Unverifiable,
			"shows no status"},
		"ended": {proof.Report{Verdict: proof.Revoked, Standing: standing("revoked")}, "1s", asOf.Add(time.Hour),
			proof.Revoked, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var w within
			fatalIfErr(t, w.parse(c.text))
			r := c.report
			r.Proves, r.Number = "something", "420100-2026-00000018-9"
			w.demand(&r, c.now)
			if r.Verdict != c.want || !strings.Contains(r.Summary, c.says) || (c.says != "") != (r.Proves == "") ||
				c.says != "" && !strings.Contains(r.Summary, "420100-2026-00000018-9/bundle?status=latest") {
				t.Errorf("%s: %q", r.Verdict, r.Summary)
			}
		})
	}
	for _, bad := range []string{"", "0", "0d", "-1h", "1", "d", "1.5d", "70000d", "week"} {
		t.Run("wrong "+bad, func(t *testing.T) {
			if w := new(within); w.parse(bad) == nil {
				t.Errorf("%q is taken as %v", bad, time.Duration(*w))
			}
		})
	}
}

// The program reads the clock; these runs hold whatever it says.
func TestStatusWithin(t *testing.T) {
	files := []string{"--trust", "trust.json", "status-valid.json", "document.pdf"}
	if r := verify(t, nil, append([]string{"--status-within", "60000d"}, files...)...); r.code != 0 ||
		!strings.Contains(r.stdout, "neither revoked nor replaced") {
		t.Errorf("with a status: %d %s%s", r.code, r.stdout, r.stderr)
	}
	files[2] = "genuine.json"
	r := verify(t, nil, append([]string{"--json", "--status-within", "60000d"}, files...)...)
	var report proof.Report
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil || r.code != 4 ||
		report.Verdict != proof.Unverifiable || !strings.Contains(report.Summary, "status=latest") {
		t.Errorf("without: %d %v %s", r.code, err, r.stdout)
	}
	files[2] = "status-revoked.json"
	if r := verify(t, nil, append([]string{"--status-within", "1s"}, files...)...); r.code != 6 {
		t.Errorf("revoked: %d %s%s", r.code, r.stdout, r.stderr)
	}
}
