package verifier

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"stele/notary/proof/carrier"
	"stele/notary/proof/prooftest/packages"
)

// secondVerifier is written from docs/formats.md alone and shares no code with this one.
const secondVerifier = "../../../docs/verifier/verifier.py"

// second is what it prints for evidence, with the vectors' trust roots.
func second(t *testing.T, evidence string, document ...string) string {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Fatal("this test needs the python3 command: install the package python3")
	}
	sources, _ := filepath.Glob(filepath.Join(filepath.Dir(secondVerifier), "*.py"))
	for _, s := range sources { // so that a change to one does not find an old result in the cache
		_, err := os.ReadFile(s)
		fatalIfErr(t, err)
	}
	cmd := exec.CommandContext(t.Context(), "python3",
		append([]string{"-B", secondVerifier, "--trust", filepath.Join(vectorsDir, "trust.json"), evidence},
			document...)...)
	out, _ := cmd.CombinedOutput() // its status is 1 for every verdict but genuine
	return strings.TrimSpace(string(out))
}

// TestSecondVerifierFindsBundles: what the document says of certificates and packages is
// enough to take the bundle out of them.
func TestSecondVerifierFindsBundles(t *testing.T) {
	document, original := filepath.Join(vectorsDir, "document.pdf"), vector(t, "document.pdf")
	for _, verdict := range []string{"genuine", "revoked"} {
		bundle := vector(t, verdict+".json")
		if got := second(t, file(t, certificateOf(t, bundle)), document); got != verdict {
			t.Errorf("certificate: %s, want %s", got, verdict)
		}
		if got := second(t, file(t, packageOf(packages.Good(bundle, original)...))); got != verdict {
			t.Errorf("package: %s, want %s", got, verdict)
		}
	}
}

// TestSecondVerifierOnDamagedCertificates: both find a bundle in a damaged certificate, or
// neither does.
func TestSecondVerifierOnDamagedCertificates(t *testing.T) {
	const count = 40
	random := rand.New(rand.NewPCG(12, 2026))
	whole := certificateOf(t, []byte(`{"format":"none"}`)) // it is found all the same, and then refused
	for range count {
		pdf := bytes.Clone(whole)
		switch at := random.IntN(len(pdf)); random.IntN(3) {
		case 0:
			pdf[at] ^= 1 << random.IntN(8)
		case 1:
			pdf = append(pdf[:at], pdf[at+1:]...)
		default:
			pdf = append(pdf[:at], append([]byte{pdf[at]}, pdf[at:]...)...)
		}
		_, _, err := carrier.Extract(pdf)
		got := second(t, file(t, pdf))
		if found := strings.HasPrefix(got, "invalid"); found != (err == nil) && bytes.HasPrefix(pdf, []byte("%PDF")) {
			t.Errorf("here %v, there %s:\n%q", err, got, pdf)
		}
	}
}

// TestSecondVerifierOnPackages: what the document says of packages is enough to tell those that
// were issued from all others, and to find the document in them.
func TestSecondVerifierOnPackages(t *testing.T) {
	bundle, original := vector(t, "genuine.json"), vector(t, "document.pdf")
	const refused = "invalid: step bundle failed: package"
	for _, c := range packages.Bad(bundle, original) {
		if got := second(t, file(t, c.Data)); got != refused {
			t.Errorf("%s: %s", c.What, got)
		}
	}
	for what, tc := range map[string]struct {
		files []entry
		want  string
	}{
		"all":         {packages.Good(bundle, original), "genuine"},
		"altered":     {packages.Good(bundle, original[1:]), "altered"},
		"no original": {[]entry{{Name: "bundle.json", Data: bundle}}, "unverifiable"},
		"long":        {packages.Good(bundle, make([]byte, 70_000)), "altered"},
	} {
		t.Run(what, func(t *testing.T) {
			if got := second(t, file(t, packageOf(tc.files...))); got != tc.want {
				t.Errorf("%s: %s, want %s", what, got, tc.want)
			}
		})
	}
}

// TestSecondVerifierOnRandomPackages: both accept a package with other files in it, or a damaged
// one, or neither does.
func TestSecondVerifierOnRandomPackages(t *testing.T) {
	count := 120
	if testing.Short() {
		count = 40
	}
	random := rand.New(rand.NewPCG(14, 2026))
	names := []string{"README.txt", "readme.txt", "original", "original.pdf", "original.PDF", "original.123456789",
		"issuer-1.pem", "issuer-01.pem", "inclusion/01.left", "inclusion/1.left", "anchor-1/epoch-0/epoch.txt",
		"standing/anchor-2/path/10.right", "standing/original", "standing/gateway-1/row.txt", "gateway-1/rows.txt",
		"manifest.sm3", "./README.txt", "anchor-1/cosignature-9007199254740991.der",
		"anchor-1/cosignature-12345678901234567.der", "log.pem\n"}
	accepted := 0
	for range count {
		// found all the same, and then refused
		files := []entry{{Name: "bundle.json", Data: []byte(`{"format":"none"}`)}}
		for range random.IntN(4) {
			name := names[random.IntN(len(names))]
			files = append(files, entry{Name: name, Data: make([]byte, random.IntN(3)*40_000)})
		}
		data := packages.Forge(files...)
		if random.IntN(3) == 0 {
			data = packages.Mutate(random, data)
		}
		_, err := carrier.ReadPackage(bytes.NewReader(data), nil)
		got := second(t, file(t, data))
		if carrier.Sniff(data) == carrier.Zip && (err == nil) != (got == "invalid: step bundle failed: malformed") {
			t.Errorf("here %v, there %s:\n%q", err, got, data)
		}
		if err == nil {
			accepted++
		}
	}
	if accepted < count/10 {
		t.Errorf("%d of %d were accepted: the test compares too little", accepted, count)
	}
}
