package verifier

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/prooftest/vectors"
)

const vectorsDir = "../../proof/testdata/vectors"

// program is the program as it is shipped, but for the race detector when that is on.
var program string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "stele-verify")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		program = filepath.Join(dir, "stele-verify")
		build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, "../stele-verify")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

type result struct {
	code           int
	stdout, stderr string
	maxRSS         int64 // KiB
}

// verify runs the program in the folder of the vectors.
func verify(t *testing.T, stdin io.Reader, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = vectorsDir, stdin, &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	r := result{code: cmd.ProcessState.ExitCode(), stdout: out.String(), stderr: errs.String()}
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		r.maxRSS = usage.Maxrss
	}
	return r
}

// tooMuch reports whether a run took more memory than a limit in KiB. What the system counts
// begins with the peak of the process that started it: this one.
func (r result) tooMuch(t *testing.T, limit int64) bool {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	fatalIfErr(t, err)
	var own int64
	if _, peak, ok := strings.Cut(string(status), "\nVmHWM:"); ok {
		_, err = fmt.Sscan(peak, &own)
	}
	if err != nil || own == 0 || r.maxRSS == 0 {
		t.Fatalf("no measure of memory: %v %d %d", err, own, r.maxRSS)
	}
	return r.maxRSS > max(limit, own+1024)
}

func TestEveryVerdict(t *testing.T) {
	set, err := vectors.Load(vectorsDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		vector string
		code   int
		says   []string
	}{
		{"genuine", 0, []string{"genuine: This file is exactly", "  ok        anchor ",
			"It does not prove that what the document says is true", "经办人 0017", "city-3"}},
		{"altered", 1, []string{"altered: This file is not the one", "  FAILED    document ",
			"SM3 of the file: 8354e777"}},
		{"anchor-two-thirds", 3, []string{"invalid: The evidence does not hold", "  FAILED    anchor ",
			"[bad_evidence]"}},
		{"form-cut", 3, []string{"invalid: ", "  FAILED    bundle ", "  skipped   standing "}},
		{"unverifiable-foreign", 4, []string{"unverifiable: This could not be checked", "  unchecked certificate ",
			"[unknown_root]"}},
		{"unverifiable-no-file", 4, []string{"unverifiable: The evidence of certificate", "  unchecked document ",
			"\n  number "}},
		{"pending", 5, []string{"pending: ", "  skipped   anchor "}},
		{"revoked", 6, []string{"revoked: ", "依法撤销"}},
		{"superseded", 7, []string{"superseded: ", "420100-2026-00000019-7"}},
		{"attested-both", 0, []string{". It was in the log not later than ", "self-proving, by city-0",
			"attested by the gateway 省主干网 for app", "Its signed answers are all that proves it. (attested)"}},
		{"attested-fisco-alone", 0, []string{`which the gateway "省主干网" alone attests`, "(attested)"}},
		{"attested-bad-beside-chain", 3, []string{"  ok        anchor       Validators with 10 of 10 votes",
			"  FAILED    anchor ", "[bad_evidence] (attested)"}},
		{"attested-bad-chain-beside", 3, []string{"attests that its chain holds this checkpoint", "  FAILED    anchor ",
			"[bad_evidence] (self-proving)"}},
		{"attested-unknown-key", 4, []string{"  unchecked anchor ", "[unknown_gateway_key] (attested)"}},
	} {
		v := set.Index.Vectors[slices.IndexFunc(set.Index.Vectors,
			func(v vectors.Vector) bool { return v.Name == tc.vector })]
		files := []string{v.Bundle}
		if v.Document != "" {
			files = append(files, v.Document)
		}
		with := func(options ...string) []string { return append(append(options, "--trust", v.Trust), files...) }
		plain := verify(t, nil, with()...)
		if plain.code != tc.code || plain.stderr != "" {
			t.Errorf("%s: exit code %d, want %d; %s", tc.vector, plain.code, tc.code, plain.stderr)
		}
		for _, s := range tc.says {
			if !strings.Contains(plain.stdout, s) {
				t.Errorf("%s: %q is not in\n%s", tc.vector, s, plain.stdout)
			}
		}
		report, err := set.Report(v)
		if err != nil {
			t.Fatal(err)
		}
		if r := verify(t, nil, with("--json")...); r.code != tc.code || r.stdout != string(report.JSON())+"\n" {
			t.Errorf("%s --json: %d %s", tc.vector, r.code, r.stdout)
		}
		first, _, _ := strings.Cut(plain.stdout, "\n")
		if r := verify(t, nil, with("--quiet")...); r.code != tc.code || r.stdout != first+"\n" {
			t.Errorf("%s --quiet: %d %s", tc.vector, r.code, r.stdout)
		}
	}
}

// TestHelpListsCodes: what the help says of exit codes is the table of verdicts.
func TestHelpListsCodes(t *testing.T) {
	text := verify(t, nil, "--help").stdout
	for _, row := range proof.Verdicts() {
		line := fmt.Sprintf("\n  %d  %-13s %s\n", row.Exit, row.Verdict, row.Means)
		if strings.Contains(text, line) != (row.Verdict != proof.NotFound) { // no bundle leads to that one
			t.Errorf("--help and %q:\n%s", line, text)
		}
	}
}

func TestStandardInputAndDigest(t *testing.T) {
	document, err := os.ReadFile(filepath.Join(vectorsDir, "document.pdf"))
	if err != nil {
		t.Fatal(err)
	}
	if r := verify(t, bytes.NewReader(document), "--trust", "trust.json", "genuine.json", "-"); r.code != 0 {
		t.Errorf("from the standard input: %d %s%s", r.code, r.stdout, r.stderr)
	}
	if r := verify(t, bytes.NewReader(document[1:]), "--trust", "trust.json", "genuine.json", "-"); r.code != 1 {
		t.Errorf("another one from the standard input: %d %s%s", r.code, r.stdout, r.stderr)
	}
	digest := sm.Sum(document).String()
	for _, d := range []string{digest, strings.ToUpper(digest)} {
		if r := verify(t, nil, "--trust", "trust.json", "--sm3", d, "genuine.json"); r.code != 0 {
			t.Errorf("by digest: %d %s%s", r.code, r.stdout, r.stderr)
		}
	}
}

func TestWrongUsage(t *testing.T) {
	for name, tc := range map[string]struct {
		args string
		says string
	}{
		"nothing":             {"", "--trust is missing"},
		"no trust":            {"genuine.json document.pdf", "--trust is missing"},
		"no evidence":         {"--trust trust.json", "the evidence is missing"},
		"evidence from stdin": {"--trust trust.json - document.pdf", "the evidence is missing"},
		"three files":         {"--trust trust.json genuine.json document.pdf other.pdf", "3 files are given"},
		"option after files": {"--trust trust.json genuine.json document.pdf --trust=trust.json",
			"options before them"},
		"unknown option": {"--trust trust.json --colour genuine.json document.pdf", "not defined: -colour"},
		"digest and file": {"--trust trust.json --sm3 " + strings.Repeat("0", 64) + " genuine.json document.pdf",
			"not both"},
		"digest out of form": {"--trust trust.json --sm3 1234 genuine.json", "64 lower-case hexadecimal digits"},
		"json and quiet":     {"--json --quiet --trust trust.json genuine.json document.pdf", "not both"},
		"trust not there": {"--trust nowhere.json genuine.json document.pdf",
			"trust roots: open nowhere.json: no such file"},
		"trust is a folder": {"--trust . genuine.json document.pdf", ". is a folder, a file is expected"},
		"trust is a bundle": {"--trust genuine.json genuine.json document.pdf",
			"genuine.json is no file with trust roots"},
		"trust is a document": {"--trust document.pdf genuine.json document.pdf",
			"document.pdf is no file with trust roots"},
		"evidence not there": {"--trust trust.json nowhere.json document.pdf",
			"evidence: open nowhere.json: no such file"},
		"document not there": {"--trust trust.json genuine.json nowhere.pdf",
			"document: open nowhere.pdf: no such file"},
		"document a folder": {"--trust trust.json genuine.json .", "document: . is a folder"},
	} {
		t.Run(name, func(t *testing.T) {
			r := verify(t, nil, strings.Fields(tc.args)...)
			if r.code != exitUsage || r.stdout != "" || !strings.HasPrefix(r.stderr, "stele-verify: ") ||
				!strings.Contains(r.stderr, tc.says) {
				t.Errorf("%s: %d %q %q", name, r.code, r.stdout, r.stderr)
			}
		})
	}
	if r := verify(t, nil, "--help"); r.code == 0 || r.stdout != help() || r.stderr != "" {
		t.Errorf("--help: %d %q %q", r.code, r.stdout, r.stderr)
	}
	// A hint, beside the verdict, for what people mix up.
	if r := verify(t, nil, "--trust", "trust.json", "document.pdf", "genuine.json"); r.code != exitUsage ||
		r.stdout != "" || !strings.Contains(r.stderr, "it may be the document itself") ||
		!strings.Contains(r.stderr, orderHint) {
		t.Errorf("bundle and document exchanged: %d %q", r.code, r.stderr)
	}
	if r := verify(t, nil, "--trust", "trust.json", "trust.json", "document.pdf"); r.code != 3 ||
		!strings.Contains(r.stderr, "Is it the right file?") {
		t.Errorf("trust roots as evidence: %d %q", r.code, r.stderr)
	}
	// A file whose name looks like an option, as a pattern of the shell may give.
	if r := verify(t, nil, "--trust", "trust.json", "genuine.json", "--help"); r.code != exitUsage ||
		!strings.Contains(r.stderr, "open --help") {
		t.Errorf("a file named --help: %d %q", r.code, r.stderr)
	}
}

func TestOversizeBundle(t *testing.T) {
	name := filepath.Join(t.TempDir(), "big.json")
	if err := os.WriteFile(name, bytes.Repeat([]byte("{"), 3<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := verify(t, nil, "--trust", "trust.json", name, "document.pdf"); r.code != 3 ||
		!strings.Contains(r.stdout, "at most 1048576 bytes") {
		t.Errorf("%d %s%s", r.code, r.stdout, r.stderr)
	}
}

// TestMemoryIsConstant hashes a file far larger than what the program may use.
func TestMemoryIsConstant(t *testing.T) {
	name := filepath.Join(t.TempDir(), "large")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(256 << 20); err != nil { // sparse: takes no room on the disk
		t.Fatal(err)
	}
	if r := verify(t, nil, "--trust", "trust.json", "genuine.json", name); r.code != 1 || r.tooMuch(t, 48<<10) {
		t.Errorf("exit code %d, %d KiB of memory\n%s", r.code, r.maxRSS, r.stderr)
	}
}

func TestProgress(t *testing.T) {
	var line bytes.Buffer
	p := progress{to: &line, total: 400_000_000}
	for range 8 {
		p.add(50_000_000)
	}
	p.end()
	if s := line.String(); !strings.Contains(s, "\rreading the document: 50 % of 400 MB ") ||
		strings.Count(s, "\r") != 9 || !strings.HasSuffix(s, "\r\x1b[K") {
		t.Errorf("%q", s)
	}
	line.Reset()
	p = progress{to: &line} // a pipe, whose length is not known
	for range 8 {
		p.add(50_000_000)
	}
	if s := line.String(); !strings.Contains(s, "100 MB ") || strings.Count(s, "\r") != 4 {
		t.Errorf("%q", s)
	}
	line.Reset()
	p = progress{to: &line, total: progressFrom - 1}
	p.add(p.total)
	p.end()
	if line.Len() != 0 {
		t.Errorf("a small file: %q", line.String())
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	args := []string{"--trust", vectorsDir + "/trust.json", vectorsDir + "/genuine.json", "-"}
	if code := Run(ctx, args, strings.NewReader("x"), &out, &errs); code != exitUsage || out.Len() != 0 ||
		!strings.Contains(errs.String(), "nothing was checked") {
		t.Errorf("%d %q %q", code, out.String(), errs.String())
	}
	broken := io.MultiReader(strings.NewReader("x"), brokenReader{})
	errs.Reset()
	if code := Run(t.Context(), args, broken, &out, &errs); code != exitUsage || out.Len() != 0 ||
		!strings.Contains(errs.String(), "read after 1 bytes") {
		t.Errorf("%d %q %q", code, out.String(), errs.String())
	}
	if code := Run(t.Context(), args, strings.NewReader("x"), brokenWriter{}, io.Discard); code != exitUsage {
		t.Errorf("the report cannot be written: %d", code)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("the disk is broken") }

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("the pipe is broken") }

func TestPrintable(t *testing.T) {
	if got := Printable("a\x1b[31m\nb\u202e\u200bc经 办"); got != "a\ufffd[31m\ufffdb\ufffd\ufffdc经 办" {
		t.Errorf("%q", got)
	}
}

// TestNoNetwork keeps out whatever could open a connection or start a program. Package net
// itself comes with crypto/x509, which parses IP addresses with it; nothing here calls it.
func TestNoNetwork(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "../stele-verify").Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := strings.Fields(string(out))
	for _, banned := range []string{"net/http", "net/rpc", "database/sql", "crypto/tls", "os/exec", "plugin",
		"log/slog", "testing"} {
		if slices.Contains(deps, banned) {
			t.Errorf("stele-verify depends on %s", banned)
		}
	}
	for _, d := range deps {
		if strings.HasPrefix(d, "stele/") &&
			!slices.Contains([]string{"stele/crypto/sm", "stele/crypto/merkle", "stele/crypto/signednote",
				"stele/crypto/vmap", "stele/crypto/pki", "stele/notary", "stele/notary/proof/status",
				"stele/notary/proof/canonical", "stele/notary/proof/statement", "stele/notary/proof/checkpoint",
				"stele/notary/proof/anchorproof", "stele/notary/proof/bsnproof/gateway", "stele/notary/proof/bsnproof",
				"stele/notary/proof", "stele/notary/proof/carrier",
				"stele/notary/proof/trustfile", "stele/notary/proof/chainview", // the signature of trust roots
				"stele/notary/cmd/verifier", "stele/notary/cmd/stele-verify"}, d) {
			t.Errorf("stele-verify depends on %s", d)
		}
	}
	if info, err := os.Stat(program); err != nil || info.Size() > 7<<20 {
		t.Errorf("the program should stay a few MB: %v %v", info.Size(), err)
	}
}

// What is read says that the log moved, from where and when: the reader pinned the former chain.
func TestSaysThatTheLogMoved(t *testing.T) {
	r := verify(t, nil, "--trust", "trust-moved-before.json", "moved-twice.json", "document.pdf")
	for _, says := range []string{"the log moved from egov-left to egov-new on ",
		"the log moved from egov-new to egov-newest on "} {
		if r.code != 0 || !strings.Contains(r.stdout, says) {
			t.Errorf("%d, want %q:\n%s%s", r.code, says, r.stdout, r.stderr)
		}
	}
}
