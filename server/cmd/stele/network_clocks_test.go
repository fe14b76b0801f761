package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stele/notary/anchorproof"
	"stele/server/chainnet"
)

// TestClocksApart says what the evidence's time is when clocks differ. The engine reads the
// machine's clock, so the nodes run a program whose standard library reads a shifted one; it
// takes minutes to build, therefore this runs only where STELE_TEST_CLOCKS is set.
func TestClocksApart(t *testing.T) {
	if os.Getenv("STELE_TEST_CLOCKS") == "" {
		t.Skip("builds the standard library anew; set STELE_TEST_CLOCKS=1")
	}
	program := shiftedProgram(t)
	for _, c := range []struct {
		name   string
		shifts []int // seconds, by node
		waits  bool  // no quorum vouches for the time
	}{
		{"right", []int{0, 0, 0, 0}, false},
		{"one slow", []int{-30, 0, 0, 0}, false},
		{"one slow, one fast: more than is borne", []int{-30, 0, 0, 30}, true},
		{"one an hour slow", []int{-3600, 0, 0, 0}, false},
		{"two slow: more than is borne", []int{-30, -30, 0, 0}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newPlainLog(t, "log.example/a")
			addresses := map[string]string{}
			for i := range c.shifts {
				addresses[fmt.Sprintf("city-%d", i)] = "127.0.0.1:" + freePort(t)
			}
			h := newHosts(t, addresses, l)
			h.program = program
			for i, name := range h.names {
				h.run(name, "env", fmt.Sprintf("STELE_SHIFT=%d", c.shifts[i]))
			}
			h.await(h.names[3], "its peers", func(s chainnet.Status) bool { return !s.CatchingUp && s.Height > 0 })
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			var off []time.Duration
			var a anchorproof.Anchored
			var err error
			for range 3 {
				begin := time.Now()
				if a, err = h.submit(ctx, l.next(t)); err != nil {
					break
				}
				off = append(off, time.Since(a.Time).Round(time.Millisecond))
				if a.Time.Before(begin.Add(-2*time.Second)) || a.Time.After(time.Now().Add(2*time.Second)) {
					t.Errorf("the evidence says %v; it was made between %v and %v", a.Time, begin, time.Now())
				}
			}
			s := h.await(h.names[3], "its state", func(chainnet.Status) bool { return true })
			t.Logf("evidence's age when it was there: %v; %d headers, %d waiting, %v", off, s.Headers, s.Pending, err)
			if c.waits != (err != nil) {
				t.Errorf("anchored: %v", err)
			}
		})
	}
}

// shiftedProgram builds the program with a clock that STELE_SHIFT moves by seconds.
func shiftedProgram(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	root := strings.TrimSpace(string(must(exec.Command("go", "env", "GOROOT").Output())))
	source := filepath.Join(root, "src", "time", "time.go")
	const read = "sec, nsec, mono := runtimeNow()\n"
	text := string(must(os.ReadFile(source)))
	if strings.Count(text, read) == 0 {
		t.Fatal("the standard library reads the clock in another way than this test knows")
	}
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		fatalIfErr(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	overlay := must(json.Marshal(map[string]map[string]string{"Replace": {
		source: write("time.go", strings.ReplaceAll(text, read, read+"\tsec += shiftSeconds()\n")),
		filepath.Join(root, "src", "time", "shift.go"): write("shift.go", `package time

import "syscall"

var shifted, shift = false, int64(0)

func shiftSeconds() int64 {
	if !shifted {
		v, _ := syscall.Getenv("STELE_SHIFT")
		n, sign := int64(0), int64(1)
		for _, c := range []byte(v) {
			if c == '-' {
				sign = -1
			} else {
				n = 10*n + int64(c-'0')
			}
		}
		shift, shifted = sign*n, true
	}
	return shift
}
`)}}))
	path := filepath.Join(dir, "stele")
	out, err := exec.Command("go", "build", "-overlay", write("overlay.json", string(overlay)), "-o", path, ".").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}
