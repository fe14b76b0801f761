// Command build makes what ui embeds but the repository does not keep: the browser's
// verifier, compressed, and the loader that belongs to the compiler that built it. Run it
// with go generate ./ui, or from anywhere in the module with go run ./ui/build.
//
// The output depends on the sources and the compiler alone.
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
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	if err := loader(out); err != nil {
		return fmt.Errorf("loader: %w", err)
	}
	if err := verifier(root, out); err != nil {
		return fmt.Errorf("verifier: %w", err)
	}
	return nil
}

func loader(out string) error {
	goroot, err := goTool("env", "GOROOT")
	if err != nil {
		return err
	}
	data, err := os.ReadFile(filepath.Join(goroot, "lib", "wasm", "wasm_exec.js"))
	if err != nil {
		return err
	}
	return replace(filepath.Join(out, "wasm_exec.js"), data)
}

func verifier(root, out string) error {
	dir, err := os.MkdirTemp("", "stele-wasm-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "stele.wasm")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", file, "./ui/wasm")
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
	gz, br, err := pack(out, "stele.wasm", data)
	if err != nil {
		return err
	}
	fmt.Printf("stele.wasm %d bytes, gzip %d, brotli %d\n", len(data), gz, br)
	return nil
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
