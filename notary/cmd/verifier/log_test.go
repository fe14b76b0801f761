package verifier

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stele/notary/proof"
	"stele/notary/proof/prooftest"
	"stele/notary/proof/prooftest/packages"
)

// historyFiles writes trust roots, and bundles by name, into a folder.
func historyFiles(t *testing.T, trust *proof.Trust, bundles map[string]*proof.Bundle) (path func(string) string) {
	t.Helper()
	dir := t.TempDir()
	path = func(name string) string { return filepath.Join(dir, name) }
	fatalIfErr(t, os.WriteFile(path("trust.json"), trust.Encode(), 0o600))
	for name, b := range bundles {
		fatalIfErr(t, os.WriteFile(path(name), b.Encode(), 0o600))
	}
	return path
}

func TestLog(t *testing.T) {
	w := prooftest.New(prooftest.Options{Validators: 4, Entries: 254})
	first := w.Issue([]byte("first"))
	early := w.Checkpoint()
	header := w.AnchorEvidence(early)
	second := w.Issue([]byte("second"))
	w.Fill(1)
	late := w.Checkpoint()
	newer := w.AnchorEvidence(late)
	a, b := w.Bundle(first, early, prooftest.Encode(header)), w.Bundle(second, late, prooftest.Encode(newer))
	joined := prooftest.Clone(a)
	joined.Consistency = &proof.Consistency{Checkpoint: late.Note, Path: w.Consistency(early.Size), Anchors: b.Anchors,
		Headers: []proof.HeaderPath{
			{Chain: header.Header.Chain, Path: w.Chain.HistoryPath(header.Header, newer.Header)}}}
	fork := prooftest.New(prooftest.Options{Validators: 4, Entries: 254})
	forked := fork.Issue([]byte("another first"))
	broken := prooftest.Clone(b)
	broken.Log.Path[0][0] ^= 1
	path := historyFiles(t, w.Trust(), map[string]*proof.Bundle{"a.json": a, "b.json": b, "joined.json": joined,
		"fork.json": fork.Bundle(forked, fork.Checkpoint()), "broken.json": broken})
	for _, tc := range []struct {
		a, b string
		code int
		says []string
	}{
		{"joined.json", "b.json", 0, []string{"one_history: Both bundles are of one history.",
			"from size 255 to size 257",
			"  blocks ", "\nB " + path("b.json") + "\n  number        " + second.Number, "index 255 of 257"}},
		{"a.json", "b.json", 4, []string{"not_shown: ", "stele bundle " + first.Number + " --with " + second.Number}},
		{"a.json", "fork.json", 3, []string{"contradiction: ", "signed two different roots for one size, 255",
			"evidence against whoever holds the log's key", early.Root.String()}},
		{"a.json", "broken.json", 3, []string{"invalid: Bundle B does not hold: inclusion", "\nB "}},
	} {
		for _, flags := range [][]string{{"--log"}, {"--json", "--log"}, {"--log", "--quiet"}} {
			r := verify(t, nil, append(append([]string{"--trust", path("trust.json")}, flags...), path(tc.a),
				path(tc.b))...)
			var report proof.HistoryReport
			switch {
			case r.code != tc.code || r.stderr != "":
				t.Errorf("%s %s %v: %d %s", tc.a, tc.b, flags, r.code, r.stderr)
			case flags[0] == "--json":
				fatalIfErr(t, json.Unmarshal([]byte(r.stdout), &report))
				if !strings.HasPrefix(tc.says[0], string(report.Result)) {
					t.Errorf("%s", r.stdout)
				}
			case len(flags) == 2 && (strings.Count(r.stdout, "\n") != 1 || !strings.HasPrefix(r.stdout, tc.says[0])):
				t.Errorf("%s", r.stdout)
			case len(flags) == 1:
				for _, s := range tc.says {
					if !strings.Contains(r.stdout, s) {
						t.Errorf("%s %s: %q is not in\n%s", tc.a, tc.b, s, r.stdout)
					}
				}
			}
		}
	}
	trust := path("trust.json")
	for _, args := range [][]string{{"--log", path("a.json"), path("b.json")}, {"--trust", trust, "--log"},
		{"--trust", trust, "--log", path("a.json")}, {"--trust", trust, "--log", path("a.json"), "-"},
		{"--trust", trust, "--log", path("a.json"), path("b.json"), path("b.json")},
		{"--trust", trust, "--log", "--extract", "x", path("a.json"), path("b.json")},
		{"--trust", trust, "--log", "--sm3", early.Root.String(), path("a.json"), path("b.json")},
		{"--trust", trust, "--log", "--json", "--quiet", path("a.json"), path("b.json")},
		{"--trust", trust, "--log", path("a.json"), path("nothing.json")},
		{"--trust", path("a.json"), "--log", path("a.json"), path("b.json")}} {
		if r := verify(t, nil, args...); r.code != 2 || r.stdout != "" || r.stderr == "" {
			t.Errorf("%v: %d %s %s", args, r.code, r.stdout, r.stderr)
		}
	}
	if r := verify(t, nil, "--help"); !strings.Contains(r.stdout, "--log A B") {
		t.Errorf("help: %s", r.stdout)
	}
}

// TestLogCarriers: certificates and packages are evidence here as elsewhere.
func TestLogCarriers(t *testing.T) {
	bundle := vector(t, "genuine.json")
	forms := [][]byte{bundle, certificateOf(t, bundle), packageOf(entry{Name: "bundle.json", Data: bundle})}
	for _, a := range forms {
		for _, b := range forms {
			r := verify(t, nil, "--trust", "trust.json", "--log", file(t, a), file(t, b))
			if r.code != 0 || !strings.Contains(r.stdout, "  same_checkpoint ") {
				t.Errorf("%d %s%s", r.code, r.stdout, r.stderr)
			}
		}
	}
	bad := packages.Forge(entry{Name: "bundle.json", Data: bundle}, entry{Name: "evil.exe", Data: bundle})
	r := verify(t, nil, "--trust", "trust.json", "--log", file(t, bundle), file(t, bad))
	summary, _, _ := strings.Cut(r.stdout, "\n")
	says := strings.HasPrefix(summary, "invalid: Bundle B does not hold: bundle: ") &&
		strings.Contains(summary, "evil.exe") &&
		strings.HasSuffix(summary, ". So nothing can be said about a history.")
	if r.code != 3 || !says {
		t.Errorf("%d %s%s", r.code, r.stdout, r.stderr)
	}
}
