package main

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A server that is asked to stop says at /readyz that it will, and serves all else until its delay is
// over: a balancer that looks in between sends nobody into a closed port.
func TestStopDelay(t *testing.T) {
	s := site{data: t.TempDir()}.start(t, "--stop-delay", "5s")
	if r := s.get("/readyz"); r.status != http.StatusOK {
		t.Fatalf("%d %s", r.status, r.body)
	}
	fatalIfErr(t, s.cmd.Process.Signal(syscall.SIGTERM))
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) { // between two questions
		r := s.get("/readyz")
		if r.status == http.StatusServiceUnavailable && strings.Contains(string(r.body), "stopping") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("still ready: %d %s", r.status, r.body)
		}
	}
	if rec := s.notarize(digestRequest(newDigest(), "", "anchored")); rec.State != "anchored" {
		t.Errorf("while it waits: %+v", rec)
	}
	<-s.done
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d:\n%s", code, s.log)
	}
}
