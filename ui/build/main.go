// Command build makes what ui embeds but the repository does not keep: the browser's
// verifier and its reader of QR codes, compressed, the loader that belongs to the compiler
// that built them, and verify.html, the verifier as one file that needs no server. Run it
// with go generate ./ui, or from anywhere in the module with go run ./ui/build.
//
// The output depends on the sources and the compiler alone. An argument names another folder
// for it.
package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "ui/build:", err)
		os.Exit(1)
	}
}

func run() error {
	root, err := goTool("list", "-m", "-f", "{{.Dir}}", "stele")
	if err != nil {
		return err
	}
	out := filepath.Join(root, "ui", "static", "gen")
	if len(os.Args) > 1 {
		out = os.Args[1]
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	if err := loader(out); err != nil {
		return fmt.Errorf("loader: %w", err)
	}
	if err := program(root, "./ui/wasm", filepath.Join(out, verifierFile)); err != nil {
		return fmt.Errorf("verifier: %w", err)
	}
	if err := program(root, "./ui/scan", filepath.Join(out, scanFile)); err != nil {
		return fmt.Errorf("reader of QR codes: %w", err)
	}
	if err := offlinePage(filepath.Join(root, "ui"), out); err != nil {
		return fmt.Errorf("%s: %w", pageFile, err)
	}
	return nil
}

// Names of the products.
const (
	loaderFile   = "wasm_exec.js"
	verifierFile = "stele.wasm"
	scanFile     = "scan.wasm"
	pageFile     = "verify.html"
)

func loader(out string) error {
	goroot, err := goTool("env", "GOROOT")
	if err != nil {
		return err
	}
	data, err := os.ReadFile(filepath.Join(goroot, "lib", "wasm", "wasm_exec.js"))
	if err != nil {
		return err
	}
	return replace(filepath.Join(out, loaderFile), data)
}

// program builds a package for browsers. The state of the working copy stays out of it
// (-buildvcs): it would make other bytes of the same sources.
func program(root, pkg, out string) error {
	dir, err := os.MkdirTemp("", "stele-wasm-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "main.wasm")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", file, pkg)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm", "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return err
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return pack(filepath.Dir(out), filepath.Base(out), data)
}

// replace leaves a file alone that is as it should be, so that nothing is built anew for
// it, and never lets a half-written one be embedded.
func replace(name string, data []byte) error {
	if old, err := os.ReadFile(name); err == nil && bytes.Equal(old, data) {
		return nil
	}
	if err := os.WriteFile(name+".tmp", data, 0o644); err != nil {
		return err
	}
	return os.Rename(name+".tmp", name)
}

func goTool(args ...string) (string, error) {
	cmd := exec.Command("go", args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), err
}
