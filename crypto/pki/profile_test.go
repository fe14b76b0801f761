package pki

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"stele/crypto/pki/pkitest"
)

// secondReader is the part of the second verifier that reads certificates. It is written from
// docs/formats.md and shares no code with this package.
const secondReader = "../../docs/verifier/certificates.py"

// profileCase is one of testdata/profile/cases.json, which genvectors writes.
type profileCase struct {
	Name    string   `json:"name"`
	Outcome string   `json:"outcome,omitempty"`
	Place   int      `json:"place"`
	At      string   `json:"at,omitempty"` // empty: the certificate is read, its chain is not checked
	Chain   [][]byte `json:"chain"`
}

// readCertificate is what both readers must agree on: all that anything depends on.
type readCertificate struct {
	Serial          string            `json:"serial"`
	Subject, Issuer map[string]string // without what is absent
	From, Until     int64             // seconds since 1970
	Key             string            `json:"key"`
	Usage           int               `json:"usage"`
	Constrained     bool              `json:"constrained"`
	Authority       bool              `json:"authority"`
	PathLen         int               `json:"pathLen"`
	SKI, AKI        string
	Purposes        []string `json:"purposes"`
}

type profileFinding struct {
	Name    string           `json:"name"`
	Outcome string           `json:"outcome"`
	Read    *readCertificate `json:"read"` // nil where it is malformed
}

func readBy(c *Certificate) *readCertificate {
	names := func(n Name) map[string]string {
		out := map[string]string{}
		for key, value := range map[string]string{"country": n.Country, "province": n.Province, "locality": n.Locality,
			"organization": n.Organization, "commonName": n.CommonName, "code": n.Code} {
			if value != "" {
				out[key] = value
			}
		}
		return out
	}
	x := c.extensions
	r := &readCertificate{Serial: c.SerialNumber(), Subject: names(c.subject), Issuer: names(c.issuer),
		From: c.notBefore.Unix(), Until: c.notAfter.Unix(),
		Key: hex.EncodeToString(c.key.Bytes()), Usage: int(x.usage), Constrained: x.constrained,
		Authority: x.authority, PathLen: x.pathLen,
		SKI: hex.EncodeToString(x.subjectKeyID), AKI: hex.EncodeToString(x.authorityKeyID), Purposes: []string{}}
	for _, p := range x.purposes {
		r.Purposes = append(r.Purposes, hex.EncodeToString([]byte(p)))
	}
	return r
}

func findingOf(t testing.TB, c profileCase) profileFinding {
	t.Helper()
	f := profileFinding{Name: c.Name, Outcome: "accepted"}
	cert, err := Parse(c.Chain[c.Place])
	if err != nil {
		f.Outcome = "malformed"
		return f
	}
	f.Read = readBy(cert)
	if c.At == "" {
		return f
	}
	at, err := time.Parse("2006-01-02T15:04:05.000Z", c.At)
	fatalIfErr(t, err)
	root := c.Chain[len(c.Chain)-1]
	if c.Place == len(c.Chain)-1 {
		_, err = VerifyRoot(root)
	}
	_, err2 := VerifyChain(c.Chain, [][]byte{root}, at, Agency)
	if err = errors.Join(err, err2); err != nil {
		f.Outcome = "refused"
	}
	if errors.Is(err, ErrMalformed) {
		t.Fatalf("%s: another certificate of the chain is malformed: %v", c.Name, err)
	}
	return f
}

// readProfileCases also tells the go command that the second reader is part of the test, so
// that a change to it does not find an old result in the cache.
func readProfileCases(t testing.TB) []profileCase {
	t.Helper()
	sources, err := filepath.Glob(filepath.Join(filepath.Dir(secondReader), "*.py"))
	if err != nil || len(sources) == 0 {
		t.Fatalf("%d sources: %v", len(sources), err)
	}
	for _, s := range sources {
		_, err := os.ReadFile(s)
		fatalIfErr(t, err)
	}
	text, err := os.ReadFile("testdata/profile/cases.json")
	fatalIfErr(t, err)
	var file struct{ Cases []profileCase }
	fatalIfErr(t, json.Unmarshal(text, &file))
	if len(file.Cases) < 200 {
		t.Fatalf("%d cases", len(file.Cases))
	}
	return file.Cases
}

// runSecondReader has all cases read by one process.
func runSecondReader(t testing.TB, cases []profileCase) []profileFinding {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Fatal("this test needs the python3 command: install the package python3")
	}
	text, err := json.Marshal(map[string]any{"cases": cases})
	fatalIfErr(t, err)
	file := filepath.Join(t.TempDir(), "cases.json")
	fatalIfErr(t, os.WriteFile(file, text, 0o600))
	var stderr bytes.Buffer
	cmd := exec.Command("python3", "-B", secondReader, file)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", secondReader, err, stderr.Bytes())
	}
	var found []profileFinding
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		var f profileFinding
		fatalIfErr(t, json.Unmarshal(lines.Bytes(), &f))
		found = append(found, f)
	}
	if len(found) != len(cases) {
		t.Fatalf("%d findings for %d cases", len(found), len(cases))
	}
	return found
}

// TestProfile holds this package and the second verifier to the table of cases, and both to
// each other in all that they read.
func TestProfile(t *testing.T) {
	cases := readProfileCases(t)
	second := runSecondReader(t, cases)
	for i, c := range cases {
		f := findingOf(t, c)
		if f.Outcome != c.Outcome {
			_, err := Parse(c.Chain[c.Place])
			t.Errorf("%s: %s, want %s (%v)", c.Name, f.Outcome, c.Outcome, err)
		}
		if !reflect.DeepEqual(f, second[i]) {
			t.Errorf("%s: the second reader finds\n%+v %+v, this one\n%+v %+v", c.Name, second[i], second[i].Read, f,
				f.Read)
		}
	}
}

// TestSecondReaderOnDamage has both readers read certificates that were damaged element by
// element. No signature is looked at: what is read must be the same, or both must refuse.
// To look further, give another seed and a number: STELE_DAMAGE=7,50000.
func TestSecondReaderOnDamage(t *testing.T) {
	seed, count := uint64(1), 2000
	if v := os.Getenv("STELE_DAMAGE"); v != "" {
		if _, err := fmt.Sscanf(v, "%d,%d", &seed, &count); err != nil {
			t.Fatalf("STELE_DAMAGE: %v", err)
		}
	}
	compareOnDamage(t, readProfileCases(t), seed, count)
}

func compareOnDamage(t *testing.T, from []profileCase, seed uint64, count int) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 1))
	from = slices.DeleteFunc(from, func(c profileCase) bool { return c.Outcome == "malformed" })
	var cases []profileCase
	for i := range count {
		der := from[random.IntN(len(from))]
		cases = append(cases,
			profileCase{Name: fmt.Sprint(i), Chain: [][]byte{damaged(t, random, der.Chain[der.Place])}})
	}
	inForm := 0
	for i, f := range runSecondReader(t, cases) {
		want := findingOf(t, cases[i])
		if !reflect.DeepEqual(f, want) {
			t.Errorf("%x\nthe second reader finds\n%+v %+v, this one\n%+v %+v", cases[i].Chain[0], f, f.Read, want,
				want.Read)
		}
		if want.Read != nil {
			inForm++
		}
	}
	// Damage that nothing survives would compare nothing but refusals.
	if inForm < count/20 || inForm > count*19/20 {
		t.Errorf("%d of %d damaged certificates are in form", inForm, count)
	}
}

// damaged changes a certificate's content, where that can be found, and keeps the signature.
func damaged(t testing.TB, random *rand.Rand, der []byte) []byte {
	t.Helper()
	if len(der) > MaxSize/2 || len(der) == 0 {
		return der
	}
	f := fields(t, der)
	content := pkitest.Damage(random, f[0].FullBytes)
	return pkitest.TLV(pkitest.Sequence, content, f[1].FullBytes, f[2].FullBytes)
}
