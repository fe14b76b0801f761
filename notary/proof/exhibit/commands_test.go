package exhibit_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/exhibit"
	"stele/notary/proof/prooftest"
	"stele/notary/proof/statement"
)

// run pastes commands into a shell in a fresh folder beside the document.
func run(t testing.TB, dir, commands string, document []byte) (string, error) {
	t.Helper()
	fatalIfErr(t, os.WriteFile(filepath.Join(dir, "document.bin"), document, 0o600))
	cmd := exec.CommandContext(t.Context(), "sh", "-c", commands)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func needOpenSSL(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: the commands start openssl some thousand times")
	}
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Fatal("this test needs the openssl command, version 3.0 or later: install the package openssl")
	}
}

// documentOf is the test vectors' file that a bundle was made for, if it is there.
func documentOf(t testing.TB, s shown) []byte {
	t.Helper()
	for _, name := range []string{"document.pdf", "other.pdf", "empty.bin"} {
		data, err := os.ReadFile(filepath.Join(vectorsDir, name))
		fatalIfErr(t, err)
		if sm.Sum(data).String() == s.report.Document.SM3 {
			return data
		}
	}
	return nil
}

// TestCommands copies every command out of every kind of exhibit and runs it.
func TestCommands(t *testing.T) {
	needOpenSSL(t)
	words := texts(t, "en")
	for name, s := range holding(t) {
		if strings.HasPrefix(name, "attested") &&
			!slices.Contains([]string{"attested-fabric-secp256r1", "attested-fisco-later"}, name) {
			continue // the others differ from these in what no command looks at
		}
		// Those of the certificate profile differ in their certificates alone. OpenSSL refuses some
		// that the profile accepts: it looks into what docs/formats.md section 7 leaves alone.
		certificates := strings.HasPrefix(name, "x509-")
		if certificates && (strings.HasSuffix(name, "-rubbish") || name == "x509-agency-authority-key-wrong") {
			continue
		}
		document := documentOf(t, s)
		for _, part := range s.page(t, words).Parts {
			if part.Commands == "" || part.Key == "statement" && document == nil ||
				certificates && part.Key != "certificates" {
				continue
			}
			t.Run(name+"/"+part.Key, func(t *testing.T) {
				out, err := run(t, t.TempDir(), part.Commands, document)
				if err != nil || !strings.Contains(out, "OK") &&
					!strings.Contains(out, "Signature Verified Successfully") {
					t.Errorf("%v\n%s\n%s", err, out, part.Commands)
				}
			})
		}
	}
}

var digest = regexp.MustCompile(`\b[0-9a-f]{64}\b`)

// TestCommandsNotice changes one character of each value that stands in a command, in turn:
// the command fails.
func TestCommandsNotice(t *testing.T) {
	needOpenSSL(t)
	words := texts(t, "en")
	for _, name := range []string{"revoked", "genuine-hand-over", "attested-fabric-alone"} {
		s := holding(t)[name]
		document := documentOf(t, s)
		for _, part := range s.page(t, words).Parts {
			if name != "revoked" && !strings.HasPrefix(part.Key, "epochs") && !strings.HasPrefix(part.Key, "gateway") {
				continue // the other parts are of the same form
			}
			for i, changed := range changes(part.Commands) {
				if out, err := run(t, t.TempDir(), changed, document); err == nil {
					t.Errorf("%s: %s: change %d is not noticed\n%s\n%s", name, part.Key, i, out, changed)
				}
			}
			if out, err := run(t, t.TempDir(), part.Commands,
				append([]byte("x"), document...)); part.Key == "statement" && err == nil {
				t.Errorf("%s: another document is not noticed\n%s", name, out)
			}
		}
	}
}

// changes are versions of a command with one character changed: in the middle of each file
// that it writes, each node that it climbs over, and each digest that it compares with.
func changes(commands string) []string {
	lines := strings.Split(commands, "\n")
	var out []string
	change := func(i, at int) {
		line := []byte(lines[i])
		if line[at] == 'A' || line[at] == '0' {
			line[at]++
		} else if digest.MatchString(lines[i]) {
			line[at] = '0'
		} else {
			line[at] = 'A'
		}
		changed := append([]string{}, lines...)
		changed[i] = string(line)
		out = append(out, strings.Join(changed, "\n"))
	}
	start := -1 // of a file
	for i, line := range lines {
		switch {
		case strings.HasSuffix(line, "<<'END'"):
			start = i + 1
		case line == "END":
			if n := i - start; n > 0 && !strings.HasPrefix(lines[start], "left ") &&
				!strings.HasPrefix(lines[start], "right ") {
				middle := start + n/2
				change(middle, len(lines[middle])/2)
			}
			start = -1
		case strings.HasPrefix(line, "left ") || strings.HasPrefix(line, "right "):
			change(i, 20)
		case start < 0 && digest.MatchString(line):
			change(i, digest.FindStringIndex(line)[0]+7)
		}
	}
	return out
}

// hostile is a bundle in which everything that somebody can choose is meant for a shell, a
// terminal or a page.
func hostile(t testing.TB) shown {
	t.Helper()
	const shell = "'$(touch${IFS}owned)`touch${IFS}owned`\";touch${IFS}owned;'"
	w := prooftest.New(prooftest.Options{Seed: "hostile", Origin: "log" + shell, Validators: 1, Neighbours: 2,
		Entries: 5})
	w.Agency = w.NewAgency(prooftest.USCC("91350100M000100Y4"),
		"STELE END '; touch owned; $(touch owned)`touch owned` </title></svg><script>alert(1)</script>")
	var members []prooftest.Member
	for _, name := range []string{"v" + shell, "--help", "</text><script>alert(1)</script>", "-rf/"} {
		members = append(members, prooftest.NewMember("hostile", name, 10))
	}
	w.Chain = prooftest.NewChain("hostile", "`touch${IFS}owned`$(touch${IFS}owned)<b>&amp;", members,
		anchorproof.Notary{Origin: w.Origin(), Key: w.LogKey.Public()})
	w.Chain.HandOver(members, []anchorproof.Notary{{Origin: w.Origin(), Key: w.LogKey.Public()}}, 0, 1, 2)
	document := []byte("a document")
	record, fields := w.Draft(document)
	fields[0].Value = "\nEND\nSTELE\ntouch owned\n$(touch owned)\x00\x1b[2J<script>alert(1)</script>"
	fields[1].Value = ""
	for i, f := range fields {
		record.Fields[i].Commitment = statement.Commitment(f.Salt, f.Name, f.Value)
	}
	r := w.Enter(record, fields)
	c := w.Checkpoint()
	b := w.Bundle(r, c, w.Anchor(c, 0, 1, 2))
	w.AddStanding(b, w.Revoke(r, "'; touch owned; $(touch owned)</desc><script>alert(1)</script>"))
	bundle, d := b.Encode(), sm.Sum(document)
	report := proof.Verify(w.Trust(), &d, bundle)
	if report.Verdict != proof.Revoked {
		t.Fatalf("%s", report.JSON())
	}
	return shown{report, w.Trust(), bundle}
}

// TestHostileBundle: what a bundle says is neither run by a shell nor written anywhere but
// into files of our own names.
func TestHostileBundle(t *testing.T) {
	needOpenSSL(t)
	s := hostile(t)
	p := s.page(t, texts(t, "en"))
	wellFormed(t, "hostile", p.Picture)
	if strings.Contains(p.Picture, "<script") {
		t.Errorf("markup gets into the picture:\n%s", p.Picture)
	}
	ours := regexp.MustCompile(`^(document\.bin|stele-proof(/[a-z0-9.-]+)?|\.)$`)
	for _, part := range p.Parts {
		dir := t.TempDir()
		out, err := run(t, dir, part.Commands, []byte("a document"))
		if err != nil || strings.ContainsRune(out, 0x1b) {
			t.Errorf("%s: %v\n%q", part.Key, err, out)
		}
		if strings.Contains(part.Commands, "touch") || strings.Contains(part.Commands, "script>") {
			t.Errorf("%s: a value stands in the commands:\n%s", part.Key, part.Commands)
		}
		fatalIfErr(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if name, _ := filepath.Rel(dir, path); !ours.MatchString(name) {
				t.Errorf("%s: %q was written", part.Key, name)
			}
			return err
		}))
	}
}

// TestWithheldStaysWithheld: of attributes that the bundle does not open nothing is shown but
// the commitments in the statement itself.
func TestWithheldStaysWithheld(t *testing.T) {
	all := holding(t)
	whole, withheld := all["genuine"].page(t, texts(t, "en")), all["genuine-all-withheld"].page(t, texts(t, "en"))
	has := func(p *exhibit.Page) bool {
		for _, part := range p.Parts {
			if part.Key == "fields" {
				return true
			}
		}
		return false
	}
	if !has(whole) || has(withheld) || strings.Contains(string(withheld.JSON()), "不动产登记证明") {
		t.Error("attributes are shown that the bundle withholds, or those that it opens are not")
	}
}
