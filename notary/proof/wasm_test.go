//go:build !js

package proof_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"stele/notary/proof/prooftest/vectors"
)

// TestVectorsInWebAssembly runs the same verification in node and compares every report
// byte for byte: the browser must not find otherwise than the server.
func TestVectorsInWebAssembly(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: runs node")
	}
	if _, err := exec.LookPath("node"); err != nil {
		t.Fatal("this test needs the node command, version 18 or later: install the package nodejs")
	}
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatalf("go env GOROOT: %v", err)
	}
	// The go command does not know that this source is the test's: reading it makes it so,
	// and keeps an old result out of its cache.
	if _, err := os.ReadFile("prooftest/runvectors/main.go"); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "runvectors.wasm")
	build := exec.Command("go", "build", "-o", program, "stele/notary/proof/prooftest/runvectors")
	build.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build for js/wasm: %v\n%s", err, out)
	}
	compareInWebAssembly(t,
		exec.Command(filepath.Join(strings.TrimSpace(string(goroot)), "lib", "wasm", "go_js_wasm_exec"), program,
			vectorsDir), loadVectors(t))
}

func compareInWebAssembly(t *testing.T, run *exec.Cmd, set *vectors.Set) {
	t.Helper()
	var stderr bytes.Buffer
	run.Stderr = &stderr
	out, err := run.Output()
	if err != nil {
		t.Fatalf("run in node: %v\n%s", err, stderr.Bytes())
	}
	lines := bytes.Split(bytes.TrimSuffix(out, []byte("\n")), []byte("\n"))
	if len(lines) != len(set.Index.Vectors) {
		t.Fatalf("%d reports for %d vectors\n%s", len(lines), len(set.Index.Vectors), stderr.Bytes())
	}
	for i, v := range set.Index.Vectors {
		r, err := set.Report(v)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(lines[i], r.JSON()) {
			t.Errorf("%s: the reports differ\nwasm   %s\nnative %s", v.Name, lines[i], r.JSON())
		}
	}
}
