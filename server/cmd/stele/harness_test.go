package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"stele/crypto/sm"
	"stele/notary/log/fsck"
	"stele/notary/proof"
	"stele/storage/storagetest"
)

// fewRounds is a build tag: keys open in a hundredth of the time (keystore.Iterations). The program is the same
// otherwise, and keys of one open with the other.
const fewRounds = "fewrounds"

// binary is the real program, built once: what is killed in these tests is a process.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "stele-test-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "stele")
	out, err := exec.Command("go", "build", "-tags", fewRounds, "-o", path, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build stele: %w\n%s", err, out)
	}
	return path, nil
})

// lab is the program that tries things out, built beside the real one, which it runs.
var lab = sync.OnceValues(func() (string, error) {
	stele, err := binary()
	if err != nil {
		return "", err
	}
	path := filepath.Join(filepath.Dir(stele), "stele-lab")
	lab := exec.Command("go", "build", "-tags", fewRounds, "-o", path, "stele/server/cmd/stele-lab")
	if out, err := lab.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build stele-lab: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := binary(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

func fatalIfErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// site is a data folder with the settings of its instance.
type site struct {
	data    string
	args    []string
	program string // another one than [binary], if set
	inLab   bool   // the demo is that of [lab]
}

// backends are the two sets of stores that everything must hold on.
var backends = map[string]func(t testing.TB) site{
	"sqlite+dir": func(t testing.TB) site { return site{data: folder(t)} },
	"postgres+s3": func(t testing.TB) site {
		return onServers(t, storagetest.StartDurablePostgres(t), storagetest.StartMinIO(t))
	},
}

func onServers(t testing.TB, dsn string, b storagetest.Bucket) site {
	t.Helper()
	s := site{data: folder(t)}
	u, err := url.Parse(dsn)
	fatalIfErr(t, err)
	password, _ := u.User.Password()
	u.User = url.User(u.User.Username())
	file := func(name, text string) string {
		path := filepath.Join(s.data, name)
		fatalIfErr(t, os.WriteFile(path, []byte(text+"\n"), 0o600))
		return path
	}
	s.args = []string{"--database", u.String(), "--database-password-file", file("db-password", password),
		"--objects", "s3", "--s3-endpoint", b.Endpoint, "--s3-bucket", b.Name, "--s3-region", b.Region, "--no-s3-tls",
		"--s3-access-key-file", file("s3-access", b.AccessKey), "--s3-secret-key-file", file("s3-secret", b.SecretKey)}
	return s
}

// folder is a data folder to be. Init closes one that is empty; this one may get files before.
func folder(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	fatalIfErr(t, os.Chmod(dir, 0o700))
	return dir
}

func forEachBackend(t *testing.T, f func(t *testing.T, s site)) {
	for name, open := range backends {
		t.Run(name, func(t *testing.T) { f(t, open(t)) })
	}
}

// command is the program with arguments for the site.
func (s site) command(t testing.TB, verb ...string) *exec.Cmd {
	t.Helper()
	path := s.program
	if path == "" {
		var err error
		path, err = binary()
		fatalIfErr(t, err)
	}
	cmd := exec.Command(path, append(append(verb, "--data", s.data), s.args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// output runs a command to its end.
func (s site) output(t testing.TB, verb ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := s.command(t, verb...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if _, ok := err.(*exec.ExitError); err != nil && !ok {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// fsck runs the shipped check and demands that everything holds.
func (s site) fsck(t testing.TB) fsck.Result {
	t.Helper()
	out, errs, code := s.output(t, "fsck", "--json")
	var res fsck.Result
	if err := json.Unmarshal([]byte(out), &res); err != nil {
		t.Fatalf("fsck: %v: %s", err, errs)
	}
	if code != 0 {
		t.Fatalf("fsck: %+v", res.Findings)
	}
	return res
}

// server is a running process.
type server struct {
	site
	t     testing.TB
	cmd   *exec.Cmd
	info  demoInfo
	nodes []labNode // of a demo of [lab] with validators
	trust *proof.Trust
	log   *lockedBuffer
	done  chan struct{}
}

// lockedBuffer takes a process's output while a test may read it.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

var httpClient = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: 60 * time.Second}

// start runs `stele demo` and waits until it is ready.
func (s site) start(t testing.TB, extra ...string) *server {
	t.Helper()
	srv, err := s.launch(t, (*exec.Cmd).Start, extra...)
	fatalIfErr(t, err)
	return srv
}

// launch is start with another way to start the process, and with an error where it ends.
func (s site) launch(t testing.TB, launch func(*exec.Cmd) error, extra ...string) (*server, error) {
	t.Helper()
	ready := filepath.Join(s.data, "demo.json")
	key := ""
	if text, err := os.ReadFile(ready); err == nil {
		var info demoInfo
		fatalIfErr(t, json.Unmarshal(text, &info))
		key = info.APIKey
		// Keep the key, drop the address: the file is written anew once the server listens.
		fatalIfErr(t, os.WriteFile(ready, fmt.Appendf(nil, `{"apiKey":%q}`, key), 0o600))
	}
	srv := &server{site: s, t: t,
		cmd: s.command(t, append([]string{"demo", "--listen", "127.0.0.1:0", "--lookups-per-minute", "1000000"},
			extra...)...), log: &lockedBuffer{}, done: make(chan struct{})}
	if s.inLab {
		srv.cmd.Path = must(lab())
	}
	srv.cmd.Stdout, srv.cmd.Stderr = io.Discard, srv.log
	if err := launch(srv.cmd); err != nil {
		return nil, err
	}
	go func() { _ = srv.cmd.Wait(); close(srv.done) }()
	t.Cleanup(srv.kill)
	deadline := time.After(90 * time.Second)
	for {
		if text, err := os.ReadFile(ready); err == nil && json.Unmarshal(text, &srv.info) == nil && srv.info.URL != "" {
			break
		}
		select {
		case <-srv.done:
			return nil, fmt.Errorf("the server ended at its start:\n%s", srv.log)
		case <-deadline:
			return nil, fmt.Errorf("the server did not come up:\n%s", srv.log)
		case <-time.After(10 * time.Millisecond): // a file has no channel to wait on
		}
	}
	text, err := os.ReadFile(srv.info.Trust)
	fatalIfErr(t, err)
	srv.trust, err = proof.ParseTrust(text)
	fatalIfErr(t, err)
	if text, err := os.ReadFile(filepath.Join(s.data, "nodes", "network.json")); err == nil {
		fatalIfErr(t, json.Unmarshal(text, &srv.nodes))
	}
	return srv, nil
}

// labNode is a validator of a demo, as network.json has it.
type labNode struct {
	Name, Home, API, Restart string
	PID                      int
}

// kill is kill -9.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	<-s.done
}

// stop asks the server to stop and demands that it does so cleanly.
func (s *server) stop() {
	s.t.Helper()
	fatalIfErr(s.t, s.cmd.Process.Signal(syscall.SIGTERM))
	<-s.done
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		s.t.Fatalf("exit code %d at a graceful stop:\n%s", code, s.log)
	}
}

// request is one HTTP call; body may be nil.
type request struct {
	method, path string
	header       map[string]string
	body         io.Reader
}

type response struct {
	status int
	header http.Header
	body   []byte
}

func (r response) json(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal(r.body, v); err != nil {
		t.Fatalf("%v: %s", err, r.body)
	}
}

// try makes a call with the demo agency's key, unless the header says otherwise.
func (s *server) try(ctx context.Context, r request) (response, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, s.info.URL+r.path, r.body)
	if err != nil {
		return response{}, err
	}
	req.Header.Set("Authorization", "Bearer "+s.info.APIKey)
	for k, v := range r.header {
		if v == "" {
			req.Header.Del(k)
		} else {
			req.Header.Set(k, v)
		}
	}
	res, err := httpClient.Do(req)
	if err != nil {
		return response{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return response{res.StatusCode, res.Header, body}, err
}

func (s *server) call(r request) response {
	s.t.Helper()
	res, err := s.try(context.Background(), r)
	if err != nil {
		s.t.Fatalf("%s %s: %v\n%s", r.method, r.path, err, s.log)
	}
	return res
}

func (s *server) get(path string) response {
	s.t.Helper()
	return s.call(request{method: "GET", path: path})
}

// record is the part of an answer that these tests look at.
type record struct {
	ID, Number, Code, State, Standing string
	Index                             uint64
	Fields                            map[string]string
	Document                          struct {
		SM3, MediaType string
		Size           uint64
	}
}

// digestRequest notarizes a digest.
func digestRequest(digest, key, wait string) request {
	r := request{method: "POST", path: "/api/v1/records", header: map[string]string{"Content-Type": "application/json"},
		body: strings.NewReader(fmt.Sprintf(`{"sm3":%q,"size":7,"title":"Notice"}`, digest))}
	if key != "" {
		r.header["Idempotency-Key"] = key
	}
	if wait != "" {
		r.path += "?wait=" + wait
	}
	return r
}

// fileRequest notarizes a file.
func fileRequest(content []byte, record, key string) request {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	_ = w.WriteField("record", record)
	f, _ := w.CreateFormFile("file", "document.bin")
	_, _ = f.Write(content)
	_ = w.Close() // writing into memory does not fail
	r := request{method: "POST", path: "/api/v1/records",
		header: map[string]string{"Content-Type": w.FormDataContentType()}, body: &b}
	if key != "" {
		r.header["Idempotency-Key"] = key
	}
	return r
}

func (s *server) notarize(r request) record {
	s.t.Helper()
	res := s.call(r)
	if res.status != http.StatusCreated {
		s.t.Fatalf("status %d: %s\n%s", res.status, res.body, s.log)
	}
	var rec record
	res.json(s.t, &rec)
	return rec
}

// verdict fetches the bundle of a record and verifies it here.
func (s *server) verdict(rec record) *proof.Report {
	s.t.Helper()
	return s.verdictAs(s.info.APIKey, rec)
}

// verdictAs does it with another agency's key.
func (s *server) verdictAs(key string, rec record) *proof.Report {
	s.t.Helper()
	res := s.call(request{method: "GET", path: "/api/v1/records/" + rec.ID + "/bundle",
		header: map[string]string{"Authorization": "Bearer " + key}})
	if res.status != http.StatusOK {
		s.t.Fatalf("bundle of %s: %d %s", rec.Number, res.status, res.body)
	}
	d, err := sm.ParseDigest(rec.Document.SM3)
	fatalIfErr(s.t, err)
	return proof.Verify(s.trust, &d, res.body)
}

func (s *server) demand(rec record, want proof.Verdict) {
	s.t.Helper()
	if r := s.verdict(rec); r.Verdict != want {
		s.t.Fatalf("record %s (%s): %s: %s", rec.Number, rec.State, r.Verdict, r.Summary)
	}
}

func newDigest() string {
	var d sm.Digest
	rand.Read(d[:])
	return d.String()
}
