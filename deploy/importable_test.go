package deploy_test

import (
	"bytes"
	"debug/buildinfo"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// kernel is what every program pulls in that verifies, whoever writes it.
const kernel = `stele/crypto/merkle stele/crypto/pki stele/crypto/signednote stele/crypto/sm stele/notary stele/notary/proof
	stele/notary/proof/anchorproof stele/notary/proof/bsnproof stele/notary/proof/bsnproof/gateway
	stele/notary/proof/canonical stele/notary/proof/checkpoint stele/notary/proof/statement stele/notary/proof/status
	stele/crypto/vmap`

// kernelModules are the modules of others behind it.
const kernelModules = `github.com/decred/dcrd/dcrec/secp256k1/v4 github.com/emmansun/gmsm
	github.com/transparency-dev/merkle golang.org/x/crypto golang.org/x/mod`

// Programs of other modules that import one part of this one.
var importers = []struct{ name, program, packages, modules string }{
	{"verification", `package main

import (
	"os"

	"stele/notary/proof"
)

func main() {
	roots, _ := os.ReadFile("trust.json")
	trust, err := proof.ParseTrust(roots)
	if err != nil {
		panic(err)
	}
	bundle, _ := os.ReadFile("bundle.json")
	println(proof.Verify(trust, nil, bundle).Verdict)
}
`, kernel, kernelModules},
	{"client", `package main

import (
	"context"
	"os"

	"stele/server/client"
)

func main() {
	c := &client.Client{BaseURL: os.Args[1], Key: client.Key(os.Getenv("STELE_KEY"))}
	f, err := os.Open(os.Args[2])
	if err != nil {
		panic(err)
	}
	doc, err := client.FileDocument(f)
	if err != nil {
		panic(err)
	}
	if _, err := c.Notarize(context.Background(), doc, client.NewRecord{Title: "Notice"}); err != nil {
		panic(err)
	}
}
`, kernel + " stele/server/client", kernelModules},
	{"offline verifier", `package main

import (
	"context"
	"os"

	"stele/notary/cmd/verifier"
)

func main() {
	os.Exit(verifier.Run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
`, kernel + " stele/notary/cmd/verifier stele/notary/proof/carrier stele/notary/proof/chainview " +
		"stele/notary/proof/trustfile",
		kernelModules},
}

// TestImportableAlone builds a program on the client and on the verifiers, in a module of its own, and
// lists what it pulls in: nothing of the server, of databases or of the chain's engine.
func TestImportableAlone(t *testing.T) {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range importers {
		t.Run(c.name, func(t *testing.T) {
			dir := importer(t, root, c.program)
			inModule(t, dir, "build", "-trimpath", "-o", "program", ".")
			var own, modules []string
			for name := range strings.FieldsSeq(inModule(t, dir, "list", "-deps", ".")) {
				if strings.HasPrefix(name, "stele/") {
					own = append(own, name)
				}
			}
			info, err := buildinfo.ReadFile(filepath.Join(dir, "program"))
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range info.Deps {
				if m.Path != "stele" {
					modules = append(modules, m.Path)
				}
			}
			sameNames(t, "packages of Stele", own, c.packages)
			sameNames(t, "modules", modules, c.modules)
		})
	}
}

// importer is the folder of a module with a program, which finds this module in the checkout and the
// other ones at the same versions.
func importer(t *testing.T, root, program string) string {
	t.Helper()
	dir := t.TempDir()
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	mod = bytes.Replace(mod, []byte("module stele\n"), []byte("module example\n"), 1)
	mod = append(mod, "\nrequire stele v0.0.0\n\nreplace stele => "+root+"\n"...)
	sum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"go.mod": mod, "go.sum": sum, "main.go": []byte(program)} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// inModule runs the go command in a module.
func inModule(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off", "CGO_ENABLED=0")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %v: %v\n%s", args, err, &errs)
	}
	return string(out)
}

func sameNames(t *testing.T, what string, got []string, want string) {
	t.Helper()
	named := strings.Fields(want)
	slices.Sort(got)
	slices.Sort(named)
	if !slices.Equal(got, named) {
		t.Errorf("%s\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(named, "\n"))
	}
}
