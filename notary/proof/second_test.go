package proof_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/prooftest/vectors"
)

// secondVerifier is written from docs/formats.md alone and shares no code with this one.
const secondVerifier = "../../docs/verifier/verifier.py"

// finding is what both verifiers must agree on: all of a report but its sentences.
type finding struct {
	Name, Verdict, Step, Reason string
	Steps                       []string // step, status, reason
	Warnings                    []string // codes
	AnchoredAt                  string
	Anchors                     []string // kind, chain, height, time of those that passed
	Standing                    string   // state, and of a status as of when, by whom, over how many entries
}

func findingOf(name string, r *proof.Report) finding {
	f := finding{Name: name, Verdict: string(r.Verdict), AnchoredAt: r.AnchoredAt, Anchors: []string{},
		Warnings: []string{}}
	if s, failed := r.FailedStep(); failed && r.Verdict == proof.Invalid {
		f.Step, f.Reason = string(s.Name), s.Reason
	}
	for _, s := range r.Steps {
		f.Steps = append(f.Steps, strings.TrimSpace(fmt.Sprintf("%s %s %s", s.Name, s.Status, s.Reason)))
	}
	for _, w := range r.Warnings {
		f.Warnings = append(f.Warnings, w.Code)
	}
	if st := r.Standing; st != nil {
		f.Standing = st.State
		if st.AsOf != "" {
			f.Standing += fmt.Sprintf(" %s %s %d", st.AsOf, st.VouchedBy, st.Entries)
		}
	}
	for _, a := range r.Anchors {
		f.Anchors = append(f.Anchors, fmt.Sprintf("%s %s %d %s", a.Kind, a.Chain, a.Height, a.Time))
	}
	return f
}

func runSecondVerifier(t *testing.T, dir string) []finding {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: the second verifier is not run")
	}
	for _, tool := range []string{"python3", "openssl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("this test needs the %s command: install the package %s", tool, tool)
		}
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "python3", "-B", secondVerifier, "--vectors", dir)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", secondVerifier, err, stderr.Bytes())
	}
	var found []finding
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var f finding
		if err := d.Decode(&f); err != nil {
			t.Fatal(err)
		}
		found = append(found, f)
	}
	return found
}

// readSources lets the go command know that the second verifier is part of this test, so
// that a change to it does not find an old result in the cache.
func readSources(t *testing.T) {
	t.Helper()
	sources, err := filepath.Glob(filepath.Join(filepath.Dir(secondVerifier), "*.py"))
	if err != nil || len(sources) == 0 {
		t.Fatalf("%d sources: %v", len(sources), err)
	}
	for _, s := range sources {
		_, err := os.ReadFile(s)
		fatalIfErr(t, err)
	}
}

// TestSecondVerifier runs it over all vectors: both report the same.
func TestSecondVerifier(t *testing.T) {
	readSources(t)
	set := loadVectors(t)
	var want []finding
	for _, v := range set.Index.Vectors {
		r, err := set.Report(v)
		fatalIfErr(t, err)
		want = append(want, findingOf(v.Name, r))
	}
	compareFindings(t, runSecondVerifier(t, vectorsDir), want)
}

// TestSecondVerifierOnDamage compares both on evidence damaged at random, where the vectors'
// authors may not have thought of something.
func TestSecondVerifierOnDamage(t *testing.T) {
	const count = 363
	readSources(t)
	committed := loadVectors(t)
	set := &vectors.Set{Index: vectors.Index{Format: vectors.Format}, Files: map[string][]byte{
		"trust-moved-before.json": committed.Files["trust-moved-before.json"],
		"trust.json":              committed.Files["trust.json"],
		"trust-gateways.json":     committed.Files["trust-gateways.json"],
		"document.pdf":            committed.Files["document.pdf"]}}
	random := rand.New(rand.NewPCG(3, 4))
	bundles := []string{"genuine", "attested-fabric-alone", "genuine-hand-over", "attested-fisco-later", "revoked",
		"attested-both", "consistency-later", "moved-old-trust", "status-valid", "status-revoked",
		"status-certificate-later"}
	var want []finding
	digest, size := sm.Sum(committed.Files["document.pdf"]), int64(len(committed.Files["document.pdf"]))
	for i := range count {
		name := bundles[i%len(bundles)]
		v := vectors.Vector{Name: fmt.Sprint(i), Trust: "trust.json", Bundle: fmt.Sprintf("%d.json", i),
			Document: "document.pdf"}
		if strings.HasPrefix(name, "attested") {
			v.Trust = "trust-gateways.json"
		}
		if strings.HasPrefix(name, "moved") {
			v.Trust = "trust-moved-before.json"
		}
		trust, err := proof.ParseTrust(set.Files[v.Trust])
		fatalIfErr(t, err)
		data := damage(random, committed.Files[name+".json"])
		set.Files[v.Bundle] = data
		set.Index.Vectors = append(set.Index.Vectors, v)
		want = append(want, findingOf(v.Name, proof.VerifyFile(trust, &proof.File{SM3: digest, Size: size}, data)))
	}
	dir := filepath.Join(t.TempDir(), "damaged")
	fatalIfErr(t, set.Write(dir))
	compareFindings(t, runSecondVerifier(t, dir), want)
}

func compareFindings(t *testing.T, got, want []finding) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d findings, want %d", len(got), len(want))
	}
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("the second verifier finds\n%v, this one\n%v", got[i], want[i])
		}
	}
}

// damage makes one small change of a kind that often leaves the form intact: so the later
// steps are reached too.
func damage(random *rand.Rand, bundle []byte) []byte {
	b := bytes.Clone(bundle)
	at := random.IntN(len(b))
	switch random.IntN(5) {
	case 0: // any other byte
		b[at] ^= byte(1 + random.IntN(255))
	case 1: // letters and digits become other letters and digits
		const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
		for !bytes.ContainsRune([]byte(letters), rune(b[at])) {
			at = random.IntN(len(b))
		}
		b[at] = letters[random.IntN(len(letters))]
	case 2: // a digit becomes another digit
		for b[at] < '0' || b[at] > '9' {
			at = random.IntN(len(b))
		}
		b[at] = byte('0' + random.IntN(10))
	case 3: // two bytes change places
		other := min(at+1+random.IntN(8), len(b)-1)
		b[at], b[other] = b[other], b[at]
	default: // a few bytes are missing
		b = slices.Delete(b, at, min(at+1+random.IntN(4), len(b)))
	}
	return b
}
