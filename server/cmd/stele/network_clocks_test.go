package main

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"stele/notary/proof/anchorproof"
	"stele/server/cmd/internal/command"
	"stele/server/node"
	"stele/server/remote/chainnet"
)

// What the evidence's time is when the clocks of machines differ.
func TestClocksApart(t *testing.T) {
	t.Parallel()
	needsShift(t)
	for _, c := range []struct {
		name   string
		shifts []int32 // seconds, by host
	}{
		{"one slow", []int32{-30, 0, 0, 0}},
		{"one fast", []int32{30, 0, 0, 0}},
		{"one an hour slow", []int32{-3600, 0, 0, 0}},
		{"one slow, one fast: more than is borne", []int32{-30, 30, 0, 0}},
		{"two slow: more than is borne", []int32{-30, -30, 0, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h, logs := newShifted(t, c.shifts)
			l := logs[0]
			if c.shifts[1] != 0 {
				h.awaitsClocks(l, c.shifts)
				return
			}
			var took []time.Duration
			for range 3 {
				a, d := h.vouched(l)
				if slices.Contains(a.Validators, h.names[0]) {
					t.Errorf("a node vouches for a time that its clock does not know: %+v", a)
				}
				took = append(took, d.Round(time.Millisecond))
			}
			t.Logf("handed in to anchored: %v", took)
		})
	}
}

// vouched hands in checkpoints until one is anchored, as a server does while records come, and
// demands that the evidence's time is right within what cosigners bear (10 s back, 2 s ahead).
//
// One checkpoint is not always enough: where the engine decides by three votes of four it takes
// the earliest of the three times. If that is a slow clock's, the two others do not cosign.
func (h *hosts) vouched(l *plainLog) (anchorproof.Anchored, time.Duration) {
	h.t.Helper()
	for begin := time.Now(); ; {
		s := l.next(h.t)
		made := time.Now()
		h.await(h.names[3], "the checkpoint", func(n chainnet.Status) bool {
			return h.target.Submit(h.t.Context(), s) == nil && holds(n, map[string]uint64{l.origin: s.Checkpoint.Size})
		})
		ctx, cancel := context.WithTimeout(h.t.Context(), 5*time.Second)
		a, err := h.submit(ctx, s)
		cancel()
		switch {
		case err == nil:
			if a.Time.Before(made.Add(-10*time.Second)) || a.Time.After(time.Now().Add(2*time.Second)) {
				h.t.Errorf("the evidence says %v; it was made between %v and %v", a.Time, made, time.Now())
			}
			return a, time.Since(begin)
		case time.Since(begin) > 2*time.Minute:
			h.t.Fatal(err)
		}
		h.t.Logf("a checkpoint waits for the next: %v", err)
	}
}

// newShifted runs the cities with clocks that are wrong by so many seconds.
func newShifted(t *testing.T, seconds []int32) (*hosts, []*plainLog) {
	t.Helper()
	net := newLAN(t)
	h, logs := newCities(t)
	net.attach(h, func(host int, cmd *exec.Cmd) error { return startShifted(cmd, seconds[host-1]) })
	for _, name := range h.names {
		h.run(name)
	}
	for i, name := range h.names {
		if off := time.Until(h.now(name).Now) - time.Duration(seconds[i])*time.Second; off.Abs() > 8*time.Second {
			t.Fatalf("the clock of %s is %v from where it should be", name, off)
		}
	}
	return h, logs
}

// awaitsClocks hands in what too few members can vouch for: it becomes headers and no evidence.
// When the clocks are set, what comes then is anchored with the right time.
func (h *hosts) awaitsClocks(l *plainLog, seconds []int32) {
	t := h.t
	t.Helper()
	for _, name := range h.names[2:] {
		h.await(name, "its start", started)
	}
	for i := range 3 {
		fatalIfErr(t, h.target.Submit(t.Context(), l.next(t)))
		for _, name := range h.names[2:] {
			h.await(name, "a header", func(s chainnet.Status) bool { return s.Headers == uint64(i+1) })
		}
	}
	for _, name := range h.names[2:] {
		if s := h.now(name); s.Pending != s.Headers {
			t.Errorf("%s has %d headers, and %d without a quorum", name, s.Headers, s.Pending)
		}
	}
	clear(seconds)
	for _, name := range h.names[:2] {
		h.nodes[name]()
		h.run(name)
	}
	_, took := h.vouched(l)
	t.Logf("clocks set, nodes started again: anchored after %v", took.Round(time.Millisecond))
}

// One clock is slow and one member is away: the chain takes a checkpoint in with a time that
// nobody vouches for. When the member is back the record is anchored, without another document:
// the server makes an entry of its own, which the audit trail explains.
func TestOverdueAnchor(t *testing.T) {
	t.Parallel()
	needsShift(t)
	h, _ := newShifted(t, []int32{-30, 0, 0, 0})
	var homes, sockets []string
	for _, name := range h.names {
		h.await(name, "its start", started)
		homes = append(homes, filepath.Join(h.dir, name))
		sockets = append(sockets, "unix:"+node.Home(filepath.Join(h.dir, name)).Socket())
	}
	s := site{data: folder(t), args: []string{"--chain", "nodes", "--chain-nodes", strings.Join(sockets, ",")}}
	s.succeeds(t, "init", "--new-passphrase", "--origin", "overdue.example/"+command.Unique(), "--genesis",
		filepath.Join(h.dir, "genesis.txt"), "--fingerprint", h.genesis.Hash().String())
	admit(t, s.succeeds(t, "log-key"), h.pass, homes)
	srv := s.start(t)

	h.nodes[h.names[1]]()
	// The first blocks after a right one follow it closely, whatever the slow clock says: their
	// time is right enough, and what waits for it is vouched for when the member is back.
	waits, begin := record{}, time.Now()
	for falsely := false; !falsely; falsely = !srv.genuineWithin(waits, 5*time.Second) &&
		h.lastTime(h.names[3]).Before(time.Now().Add(-15*time.Second)) {
		if time.Since(begin) > 2*time.Minute {
			t.Fatal("no anchor with the slow clock's time")
		}
		waits = srv.notarize(digestRequest(newDigest(), "", "logged"))
	}
	h.run(h.names[1])
	// One more entry is not enough where the slow clock's vote is in the block again.
	if !srv.genuineWithin(waits, 4*time.Minute) {
		t.Fatalf("record %s is not anchored\n%s", waits.Number, srv.log)
	}
	if !strings.Contains(srv.log.String(), "an anchor is overdue") {
		t.Error("the log does not say that an anchor was overdue")
	}
	srv.stop()
	s.fsck(t)
}

// lastTime is the time of a node's newest header.
func (h *hosts) lastTime(name string) time.Time {
	h.t.Helper()
	entries := must(h.client(name).Entries(h.t.Context(), h.now(name).Headers-1))
	return entries[len(entries)-1].Header.Time()
}

func needsShift(t *testing.T) {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		t.Skip("NOT RUN: the clock that this test puts into a process is machine code for amd64")
	}
	if err := canShift(); err != nil {
		t.Skipf("NOT RUN: this machine lets nobody trace a child, or its kernel has no vDSO: %v", err)
	}
}

// startShifted starts a process whose time of day is wrong by so many seconds, and whose
// program is the one that is shipped. A program asks the kernel for the time by a function that
// the kernel puts into its memory, the vDSO (vdso(7)); before the first instruction runs, this
// replaces that function in this process by one that makes the system call and adds the shift.
// What measures how long something takes (CLOCK_MONOTONIC) stays as it is.
//
// A process is traced by the thread that started it: the caller stays on one.
func startShifted(cmd *exec.Cmd, seconds int32) error {
	cmd.SysProcAttr.Ptrace = true
	if err := cmd.Start(); err != nil {
		return err
	}
	pid := cmd.Process.Pid
	for { // until it stops before its first instruction
		var s syscall.WaitStatus
		if _, err := syscall.Wait4(pid, &s, 0, nil); errors.Is(err, syscall.EINTR) {
			continue
		} else if err != nil || !s.Stopped() {
			return fmt.Errorf("wait for the start: %w, status %#x", err, s)
		}
		break
	}
	clock := slices.Concat([]byte{
		0x57,                         // push rdi: which clock
		0x56,                         // push rsi: where the time goes
		0xb8, 0xe4, 0x00, 0x00, 0x00, // mov eax, clock_gettime
		0x0f, 0x05, // syscall
		0x5e,       // pop rsi
		0x5f,       // pop rdi
		0x85, 0xff, // test edi, edi: CLOCK_REALTIME is 0
		0x75, 0x07, // jne to the return
		0x48, 0x81, 0x06, // add qword [rsi], the shift
	}, binary4(seconds), []byte{0xc3}) // ret
	at, err := vdsoFunction(pid, "__vdso_clock_gettime", len(clock))
	if err == nil {
		_, err = syscall.PtracePokeData(pid, at, clock)
	}
	return errors.Join(err, syscall.PtraceDetach(pid))
}

// canShift tries whether a clock can be put into a process here.
func canShift() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.Command("sleep", "0")
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if err := startShifted(cmd, 1); err != nil {
		return err
	}
	return cmd.Wait()
}

func binary4(v int32) []byte { return []byte{byte(v), byte(v >> 8), byte(v >> 16), byte(v >> 24)} }

// vdsoFunction is the address of a function that has room for so many bytes, in the vDSO of a
// process that this thread traces.
func vdsoFunction(pid int, name string, size int) (uintptr, error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(maps)) {
		var from, to uintptr
		if _, err := fmt.Sscanf(line, "%x-%x", &from, &to); err != nil || !strings.Contains(line, "[vdso]") {
			continue
		}
		image := make([]byte, to-from)
		if _, err := syscall.PtracePeekData(pid, from, image); err != nil {
			return 0, err
		}
		file, err := elf.NewFile(bytes.NewReader(image))
		if err != nil {
			return 0, err
		}
		symbols, err := file.DynamicSymbols()
		if err != nil {
			return 0, err
		}
		for _, s := range symbols {
			if s.Name == name && s.Size >= uint64(size) {
				return from + uintptr(s.Value), nil
			}
		}
	}
	return 0, fmt.Errorf("no %s of %d bytes in the vDSO", name, size)
}
