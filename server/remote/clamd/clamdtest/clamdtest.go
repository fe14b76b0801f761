// Package clamdtest runs a real clamd for tests, with one signature of its own: nothing is
// downloaded, and it is ready within a second.
package clamdtest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Infected is what the daemon knows: a text that is as harmless as it looks. The usual test
// file is not used, since a scanner on the developer's machine would take this file away.
const Infected = "stele-test-signature-7f3a91c2: a file that the scanner of a test refuses"

// Finding is what it calls it.
const Finding = "Stele.Test"

// MaxLength is how many bytes it takes at most.
const MaxLength = 16 << 20

const startTimeout = 30 * time.Second

// Start starts a daemon that stops with the test, or before. It returns where it listens, as
// clamd.Parse reads it.
func Start(t testing.TB) (where string, stop func()) {
	t.Helper()
	program, err := exec.LookPath("clamd")
	if err != nil {
		if program = "/usr/sbin/clamd"; !executable(program) {
			t.Fatal("the tests of malware scanning need clamd; install it with: make tools")
		}
	}
	dir, err := os.MkdirTemp("", "clamd") // short: the path of a socket has 107 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	write(t, filepath.Join(dir, "db", "stele.ndb"),
		fmt.Sprintf("%s:0:*:%x\n", Finding, Infected[:len("stele-test-signature-7f3a91c2")]))
	conf := filepath.Join(dir, "clamd.conf")
	write(t, conf,
		fmt.Sprintf("LocalSocket %s\nDatabaseDirectory %s\nTemporaryDirectory %s\nForeground "+
			"yes\nStreamMaxLength %d\n", socket, filepath.Join(dir, "db"), dir, MaxLength))
	var out strings.Builder
	cmd := exec.Command(program, "--config-file="+conf)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	stop = func() { _ = cmd.Process.Kill(); <-ended }
	t.Cleanup(stop)
	tick, giveUp := time.NewTicker(20*time.Millisecond), time.After(startTimeout)
	defer tick.Stop()
	for {
		if conn, err := net.Dial("unix", socket); err == nil {
			conn.Close()
			return "unix:" + socket, stop
		}
		select {
		case <-ended:
			t.Fatalf("clamd ended: %s", out.String())
		case <-giveUp:
			t.Fatal("clamd does not listen")
		case <-tick.C:
		}
	}
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode()&0o111 != 0
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
