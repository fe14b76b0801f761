package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"stele/notary/monitor"
	"stele/notary/proof"
	"stele/storage/storagetest/freeport"
)

// watcher is a monitor's folder with its flags.
type watcher struct {
	t    testing.TB
	data string
	args []string
}

// watch makes a monitor of a server's log.
func (s *server) watch(args ...string) watcher {
	s.t.Helper()
	return watcher{s.t, filepath.Join(s.t.TempDir(), "monitor"), append([]string{"--trust", s.info.Trust}, args...)}
}

// keyFile is a file with an API key.
func keyFile(t testing.TB, key string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "api-key")
	fatalIfErr(t, os.WriteFile(path, []byte(key+"\n"), 0o600))
	return path
}

func (w watcher) command(url string, extra ...string) *exec.Cmd {
	w.t.Helper()
	path, err := binary()
	fatalIfErr(w.t, err)
	cmd := exec.Command(path, append(append([]string{"monitor", "--server", url, "--data", w.data}, w.args...),
		extra...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// once looks once, demands the exit code, and returns what is printed.
func (w watcher) once(url string, code int, extra ...string) (stdout, stderr string) {
	w.t.Helper()
	cmd := w.command(url, append(extra, "--once")...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run() // the code says it
	if got := cmd.ProcessState.ExitCode(); got != code {
		w.t.Fatalf("exit code %d, want %d\n%s\n%s", got, code, out.String(), errs.String())
	}
	return out.String(), errs.String()
}

// found are the codes of the findings in the folder.
func (w watcher) found() string {
	w.t.Helper()
	list, err := filepath.Glob(filepath.Join(w.data, "findings", "*.json"))
	fatalIfErr(w.t, err)
	var codes []string
	for _, path := range list {
		text, err := os.ReadFile(path)
		fatalIfErr(w.t, err)
		var f monitor.Finding
		fatalIfErr(w.t, json.Unmarshal(text, &f))
		codes = append(codes, f.Code)
	}
	return strings.Join(codes, " ")
}

// state is a part of the monitor's.
func (w watcher) state() (st struct{ Status, Counted, Entries uint64 }) {
	w.t.Helper()
	text, err := os.ReadFile(filepath.Join(w.data, "state.json"))
	fatalIfErr(w.t, err)
	fatalIfErr(w.t, json.Unmarshal(text, &st))
	return st
}

// spoken notarizes a digest and waits until an anchored status covers it.
func (s *server) spoken() record {
	s.t.Helper()
	rec := s.notarize(digestRequest(newDigest(), "", "anchored"))
	s.settled(rec, proof.StandingValid)
	return rec
}

// An agency's monitor and an auditor's find nothing wrong with a log that is right, across kill -9, and go on where
// they were.
func TestMonitor(t *testing.T) {
	t.Parallel()
	s := site{data: folder(t)}.start(t, "--status-pause", "50ms")
	own := s.watch("--agency", demoCode, "--api-key-file", keyFile(t, s.info.APIKey))
	auditor := s.watch("--mirror", "--api-key-file", keyFile(t, s.auditorsKey()))
	rec := s.spoken()
	for _, w := range []watcher{own, auditor} {
		w.once(s.info.URL, 0)
	}
	if st := own.state(); st.Counted <= rec.Index || st.Entries == 0 {
		t.Errorf("%+v, the record is entry %d", st, rec.Index)
	}
	for range 3 {
		rec = s.spoken()
		for _, w := range []watcher{own, auditor} {
			before := w.state().Status
			cmd := w.command(s.info.URL, "--every", "1ms")
			log := &lockedBuffer{}
			cmd.Stdout, cmd.Stderr = log, log
			fatalIfErr(t, cmd.Start())
			eventually(t, "the monitor has seen the new status", func() bool { return w.state().Status > before })
			fatalIfErr(t, cmd.Process.Kill())
			_ = cmd.Wait() // it was killed
			w.once(s.info.URL, 0)
		}
	}
	if st := own.state(); st.Counted <= rec.Index {
		t.Errorf("%+v, the record is entry %d", st, rec.Index)
	}
	// Nobody answers: that is no finding. One process has the folder.
	s.stop()
	own.once(s.info.URL, exitUnreachable)
	if found := own.found() + auditor.found(); found != "" {
		t.Error(found)
	}
}

// Each entry that the agency's list lacks is a finding, and said once by each way that hears it.
func TestMonitorUnknownEntry(t *testing.T) {
	t.Parallel()
	s := site{data: folder(t)}.start(t, "--status-pause", "50ms")
	first, second := s.spoken(), s.spoken()
	list := filepath.Join(t.TempDir(), "own.csv")
	fatalIfErr(t, os.WriteFile(list, []byte("title,number\nA,"+first.Number+"\n"), 0o600))
	w := s.watch("--agency", demoCode, "--api-key-file", keyFile(t, s.info.APIKey), "--own", list, "--json")
	heard := filepath.Join(t.TempDir(), "heard")
	out, _ := w.once(s.info.URL, exitFinding, "--alert-command", "exit 1")
	var f monitor.Finding
	if err := json.Unmarshal([]byte(out), &f); err != nil || f.Code != monitor.UnknownEntry ||
		f.Number != second.Number {
		t.Fatalf("%v: %s", err, out)
	}
	// The command has not heard of it: it is said again to that alone, and then no more.
	for i := range 2 {
		out, _ = w.once(s.info.URL, exitFinding, "--alert-command", "cat >> "+heard)
		text, err := os.ReadFile(heard)
		fatalIfErr(t, err)
		if out != "" || !strings.Contains(string(text), second.Number) || strings.Count(string(text), "\n") != 1 {
			t.Errorf("run %d: printed %q, the command heard %s", i, out, text)
		}
	}
	// A webhook that fails first.
	var calls atomic.Int32
	hook := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		var got monitor.Finding
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil || got.Number != second.Number {
			t.Errorf("the webhook hears %+v, %v", got, err)
		}
		if calls.Add(1) == 1 {
			rw.WriteHeader(http.StatusInternalServerError)
		}
	}))
	defer hook.Close()
	for range 3 {
		w.once(s.info.URL, exitFinding, "--alert-webhook", hook.URL)
	}
	if n := calls.Load(); n != 2 {
		t.Errorf("the webhook was called %d times", n)
	}
	// A list that is complete, as a log of webhooks, and a folder that a person has looked at.
	fatalIfErr(t, os.WriteFile(list, []byte(`{"type":"record.logged","data":{"number":"`+first.Number+`"}}`+"\n"+
		`{"data":{"number":"`+second.Number+`"}}`+"\n"), 0o600))
	fatalIfErr(t, os.Remove(filepath.Join(w.data, "findings", f.Name+".json")))
	w.once(s.info.URL, 0)
	w.data += "-anew"
	w.once(s.info.URL, 0)
	fatalIfErr(t, os.WriteFile(list, []byte("no column\n"), 0o600))
	w.data += "-again"
	w.once(s.info.URL, exitFailed)
}

// The service and all that it has is gone: bundles of all records come out of the mirror, and hold.
func TestMirrorDrill(t *testing.T) {
	t.Parallel()
	s := site{data: folder(t)}.start(t, "--status-pause", "50ms")
	for range 3 {
		s.notarize(digestRequest(newDigest(), "", ""))
	}
	w := s.watch("--mirror", "--api-key-file", keyFile(t, s.auditorsKey()))
	old := s.spoken()
	w.once(s.info.URL, 0)
	var many strings.Builder // more than a bundle of entries has
	for i := range 300 {
		if i > 0 {
			many.WriteByte(',')
		}
		many.WriteString(`{"sm3":"` + newDigest() + `","size":1}`)
	}
	if res := s.call(as(s.info.APIKey, "POST", "/api/v1/records/batch?wait=logged",
		`{"records":[`+many.String()+`]}`)); res.status != 200 {
		t.Fatalf("%d: %s", res.status, res.body)
	}
	gone := s.spoken()
	if res := s.call(as(s.info.APIKey, "POST", "/api/v1/records/"+gone.ID+"/revoke?wait=anchored",
		`{"reason":"No."}`)); res.status != 200 {
		t.Fatalf("%d: %s", res.status, res.body)
	}
	s.settled(gone, string(proof.Revoked))
	last := s.notarize(digestRequest(newDigest(), "", "anchored"))
	w.once(s.info.URL, 0)
	// A file of the mirror that is damaged is fetched anew.
	damaged := filepath.Join(w.data, "tile", "entries", "000")
	right, err := os.ReadFile(damaged)
	fatalIfErr(t, err)
	fatalIfErr(t, os.WriteFile(damaged, make([]byte, len(right)), 0o600))
	w.once(s.info.URL, 0)
	if text, err := os.ReadFile(damaged); err != nil || !bytes.Equal(text, right) {
		t.Errorf("the mirror is not whole again: %v", err)
	}
	trust := filepath.Join(t.TempDir(), "trust.json")
	text, err := os.ReadFile(s.info.Trust)
	fatalIfErr(t, err)
	fatalIfErr(t, os.WriteFile(trust, text, 0o600))
	s.kill()
	fatalIfErr(t, os.RemoveAll(s.data))

	out := t.TempDir()
	cmd := exec.Command(w.command("").Path, "monitor", "rebuild", "--data", w.data, "--trust", trust, "--out", out)
	if text, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(text), "306 bundles") {
		t.Fatalf("%v: %s", err, text)
	}
	for _, rec := range []record{old, last, gone} {
		path := filepath.Join(out, rec.Number+".json")
		verify := exec.Command(cmd.Path, "verify", "--json", "--trust", trust, "--sm3", rec.Document.SM3, path)
		text, _ := verify.Output() // the report says it
		var r proof.Report
		fatalIfErr(t, json.Unmarshal(text, &r))
		verdict := proof.Genuine
		if rec.ID == gone.ID {
			verdict = proof.Revoked
		}
		if r.Verdict != verdict || r.AnchoredAt == "" {
			t.Errorf("%s: %s: %s", rec.Number, r.Verdict, r.Summary)
		}
	}
}

// TestMonitorGuide runs the commands of docs/monitor.md, in their order.
func TestMonitorGuide(t *testing.T) {
	t.Parallel()
	s := site{data: folder(t)}.start(t, "--status-pause", "50ms")
	s.spoken()
	var script strings.Builder
	for _, b := range blocks(t, "monitor.md") {
		if b.language == "sh" {
			script.WriteString(b.text)
		}
	}
	dir := s.checkout()
	out := s.shell(dir, strings.ReplaceAll(script.String(), "127.0.0.1:7710", freeport.Address(t)))
	for _, want := range []string{"bundles were made in bundles", "genuine: ", "\n— monitor-", "\nmonitor-"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	alerts, err := os.ReadFile(filepath.Join(dir, "alerts.jsonl"))
	if err != nil || !strings.Contains(string(alerts), `"code":"unknown_entry"`) {
		t.Errorf("%v: %s", err, alerts)
	}
	// What the page calls the codes is what they are called.
	page, err := os.ReadFile(filepath.Join(root, "docs", "monitor.md"))
	fatalIfErr(t, err)
	for _, code := range []string{monitor.SplitView, monitor.WentBack, monitor.NotConsistent, monitor.BadSignature,
		monitor.BadAnchor, monitor.Stale, monitor.StatusDiffers, monitor.TallyDiffers, monitor.UnknownEntry} {
		if !strings.Contains(string(page), "| `"+code+"` |") {
			t.Errorf("the page has no row for %s", code)
		}
	}
}

// A bad network is no finding: the monitor asks again, or says that it could not look, and goes on the next time.
func TestMonitorBadNetwork(t *testing.T) {
	t.Parallel()
	s := site{data: folder(t)}.start(t, "--status-pause", "50ms")
	s.spoken()
	between := s.badProxy()
	w := s.watch("--mirror", "--agency", demoCode, "--api-key-file", keyFile(t, func() string {
		key, _ := s.operatorsKey("audit,read")
		return key
	}()))
	all := []mischief{halves, loses, cuts, busy, gateway, delays}
	reached := 0
	for i := range 3 {
		var plan []mischief
		for j := range 2 * len(all) { // of each call one attempt or two fail, at another place each time
			if plan = append(plan, all[(i+j)%len(all)]); j%2 == i%2 {
				plan = append(plan, passes)
			}
		}
		between.will(plan...)
		cmd := w.command(between.URL, "--once")
		out, err := cmd.CombinedOutput()
		switch code := cmd.ProcessState.ExitCode(); code {
		case 0:
			reached++
		case exitUnreachable:
		default:
			t.Fatalf("%v, exit code %d: %s", err, code, out)
		}
		s.spoken()
	}
	between.will()
	w.once(between.URL, 0)
	if found := w.found(); found != "" || reached == 0 {
		t.Errorf("found %q, %d rounds reached the end", found, reached)
	}
}
