package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/server/client"
	"stele/server/http/api"
)

func (s *server) remote(url string) *client.Client {
	return &client.Client{BaseURL: url, Key: client.Key(s.info.APIKey), Trust: s.trust}
}

// count is how many records the demo agency has.
func (s *server) count() (n int) {
	s.t.Helper()
	for _, err := range s.remote(s.info.URL).List(s.t.Context(), client.Filter{}) {
		fatalIfErr(s.t, err)
		n++
	}
	return n
}

// Whatever a network does, a call makes one record.
func TestClientOnABadNetwork(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, site site) {
		s := site.start(t)
		p := s.badProxy()
		c, ctx := s.remote(p.URL), t.Context()
		p.will(cuts, loses, busy)
		content := make([]byte, 3<<20)
		rand.Read(content)
		file, err := c.Notarize(ctx, client.Document{Content: bytes.NewReader(content), Size: int64(len(content))},
			client.NewRecord{Title: "大文件", Filename: "大.bin", Reference: "case 17"})
		fatalIfErr(t, err)
		p.done(t)
		if !file.Replayed || file.Document.SM3 != sm.Sum(content).String() || !file.Stored {
			t.Errorf("%+v", file)
		}
		p.will(halves, delays)
		digest, err := c.NotarizeDigest(ctx, sm.Sum([]byte("x")), 1, client.NewRecord{})
		fatalIfErr(t, err)
		p.done(t)
		p.will(loses, gateway)
		items := make([]client.BatchItem, 20)
		for i := range items {
			items[i] = client.BatchItem{SM3: sm.Sum([]byte{byte(i)}), Size: 1}
		}
		items[7].Class = "NO CLASS"
		results, err := c.Batch(ctx, items)
		fatalIfErr(t, err)
		p.done(t)
		for i, r := range results {
			if refused := r.Err != nil; refused != (i == 7) || !refused &&
				(!r.Replayed || r.Record.SM3 != items[i].SM3.String()) {
				t.Errorf("item %d: %+v", i, r)
			}
		}
		p.will(loses, busy)
		revoked, err := c.Revoke(ctx, digest.Number, "试用", "")
		fatalIfErr(t, err)
		p.done(t)
		if revoked.Standing != client.Revoked || revoked.Reason != "试用" {
			t.Errorf("%+v", revoked)
		}
		p.will(loses, busy)
		erased, err := c.Erase(ctx, digest.ID, client.Erasure{All: true, Reason: "试用结束"})
		fatalIfErr(t, err)
		p.done(t)
		if len(erased.Erased) == 0 || len(erased.Fields) != 0 || erased.Number != digest.Number {
			t.Errorf("%+v", erased)
		}
		if n := s.count(); n != 21 {
			t.Errorf("%d records, want 21", n)
		}
		_, err = c.WaitFor(ctx, file.ID, client.Anchored)
		fatalIfErr(t, err)
		p.will(halves, cuts)
		s.clientReads(c, file, digest)
		p.done(t)
		s.stop()
		site.fsck(t)
	})
}

// clientReads fetches what the client can fetch of two records, the second one withdrawn.
func (s *server) clientReads(c *client.Client, file, revoked *client.Record) {
	t, ctx := s.t, s.t.Context()
	t.Helper()
	var verdicts []proof.Verdict
	for r, err := range c.Bundles(ctx, []string{file.ID, revoked.Number, "nothing"}) {
		fatalIfErr(t, err)
		var p *client.Problem
		if errors.As(r.Err, &p) && p.Code == "not_found" {
			verdicts = append(verdicts, proof.NotFound)
			continue
		}
		fatalIfErr(t, r.Err)
		verdicts = append(verdicts, r.Bundle.Report.Verdict)
	}
	if !slices.Equal(verdicts, []proof.Verdict{proof.Genuine, proof.Revoked, proof.NotFound}) {
		t.Errorf("bundles: %v", verdicts)
	}
	d, err := sm.ParseDigest(file.Document.SM3)
	fatalIfErr(t, err)
	b, err := c.Bundle(ctx, file.Number, &d)
	fatalIfErr(t, err)
	if b.Number != file.Number || b.Report.Verdict != proof.Genuine {
		t.Errorf("%s: %s", b.Number, b.Report.Verdict)
	}
	for what, fetch := range map[string]func() (io.ReadCloser, error){
		"%PDF": func() (io.ReadCloser, error) { return c.Certificate(ctx, file.ID) },
		"PK":   func() (io.ReadCloser, error) { return c.Evidence(ctx, file.ID) },
		"":     func() (io.ReadCloser, error) { return c.Document(ctx, file.ID) }} {
		body, err := fetch()
		fatalIfErr(t, err)
		data, err := io.ReadAll(body)
		fatalIfErr(t, errors.Join(err, body.Close()))
		if !strings.HasPrefix(string(data), what) || what == "" && sm.Sum(data) != d {
			t.Errorf("%q: %.20q", what, data)
		}
	}
	for r, err := range c.List(ctx, client.Filter{Reference: "case 17"}) {
		fatalIfErr(t, err)
		if r.ID != file.ID || r.Fields["title"] != "大文件" {
			t.Errorf("%+v", r)
		}
	}
	types := map[string]int{}
	for page, err := range c.Events(ctx, client.EventQuery{}) {
		fatalIfErr(t, err)
		for _, e := range page.Events {
			types[e.Type]++
		}
	}
	if types["record.logged"] != 21 || types["record.revoked"] != 1 {
		t.Errorf("events: %v", types)
	}
	key, err := c.KeyInfo(ctx)
	fatalIfErr(t, err)
	if key.Name != "demo" || !key.InForce || key.Limits["requests"].Left == 0 {
		t.Errorf("%+v", key)
	}
}

// A service that gives another bundle than the one asked for, or a forged one, is not believed.
func TestClientVerifiesBundles(t *testing.T) {
	t.Parallel()
	s := site{data: folder(t)}.start(t)
	honest, ctx := s.remote(s.info.URL), t.Context()
	one, err := honest.NotarizeDigest(ctx, sm.Sum([]byte("one")), 3, client.NewRecord{Title: "one"})
	fatalIfErr(t, err)
	two, err := honest.NotarizeDigest(ctx, sm.Sum([]byte("two")), 3, client.NewRecord{Title: "two"})
	fatalIfErr(t, err)
	bundle, err := honest.Bundle(ctx, two.Number, nil)
	fatalIfErr(t, err)
	forged := bytes.Replace(bundle.JSON, []byte(`"value":"two"`), []byte(`"value":"TWO"`), 1)
	answer := bundle.JSON
	liar := httptest.NewServer(
		http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(answer) }))
	t.Cleanup(liar.Close)
	c := s.remote(liar.URL)
	var e *client.EvidenceError
	if _, err := c.Bundle(ctx, one.Number, nil); !errors.As(err, &e) || e.Report.Verdict == proof.Invalid {
		t.Errorf("another record's bundle: %v", err)
	}
	d := sm.Sum([]byte("one"))
	if _, err := c.Bundle(ctx, two.Number, &d); !errors.As(err, &e) || e.Report.Verdict != proof.Altered {
		t.Errorf("another document: %v", err)
	}
	answer = forged
	if _, err := c.Bundle(ctx, two.Number, nil); !errors.As(err, &e) || e.Report.Verdict != proof.Invalid {
		t.Errorf("a forged bundle: %v", err)
	}
	c.Trust = nil
	if b, err := c.Bundle(ctx, two.Number, nil); err != nil || b.Report != nil {
		t.Errorf("without trust roots nothing is verified: %v", err)
	}
}

// The client's types say what the service says.
func TestClientKnowsAllOfARecord(t *testing.T) {
	t.Parallel()
	names := func(v any) (out []string) {
		for f := range reflect.TypeOf(v).Fields() {
			if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "-" && name != "" {
				out = append(out, name)
			}
		}
		slices.Sort(out)
		return out
	}
	for what, pair := range map[string][2][]string{"record": {names(client.Record{}), names(api.Record{})},
		"issued": {names(client.Issued{}), names(api.BatchIssued{})},
		// the client sends files and digests itself
		"new": {append(names(client.NewRecord{}), "size", "sm3", "upload"), names(api.NewRecord{})}} {
		t.Run(what, func(t *testing.T) {
			if slices.Sort(pair[0]); !slices.Equal(pair[0], pair[1]) {
				t.Errorf("%s: the client has %v, the service %v", what, pair[0], pair[1])
			}
		})
	}
}

// desk runs the commands of an agency's desk.
type desk struct {
	*server
	dir string
	env []string
}

func (s *server) desk(url string) *desk {
	s.t.Helper()
	dir := s.t.TempDir()
	key := filepath.Join(dir, "key")
	fatalIfErr(s.t, os.WriteFile(key, []byte(s.info.APIKey+"\n"), 0o600))
	return &desk{s, dir, append(os.Environ(), "STELE_URL="+url, "STELE_KEY_FILE="+key)}
}

func (d *desk) command(args ...string) (cmd *exec.Cmd, out, errs *bytes.Buffer) {
	d.t.Helper()
	path, err := binary()
	fatalIfErr(d.t, err)
	out, errs = &bytes.Buffer{}, &bytes.Buffer{}
	cmd = exec.CommandContext(d.t.Context(), path, args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = d.dir, d.env, out, errs
	return cmd, out, errs
}

// run runs a command and demands an exit code. The key must not be in what it prints.
func (d *desk) run(want int, args ...string) (stdout, stderr string) {
	d.t.Helper()
	cmd, out, errs := d.command(args...)
	if err := cmd.Run(); cmd.ProcessState == nil {
		d.t.Fatal(err)
	}
	if code := cmd.ProcessState.ExitCode(); code != want {
		d.t.Errorf("%v: exit code %d, want %d: %s%s", args, code, want, out, errs)
	}
	if strings.Contains(out.String()+errs.String(), d.info.APIKey) {
		d.t.Errorf("%v prints the key: %s%s", args, out, errs)
	}
	return out.String(), errs.String()
}

// number is the certificate number that a command made or found.
func (d *desk) number(args ...string) string {
	d.t.Helper()
	out, _ := d.run(0, append([]string{"notarize", "--json"}, args...)...)
	var n notarized
	fatalIfErr(d.t, json.Unmarshal([]byte(out), &n))
	return n.Record.Number
}

func (d *desk) write(name, content string) {
	d.t.Helper()
	fatalIfErr(d.t, os.WriteFile(filepath.Join(d.dir, name), []byte(content), 0o600))
}

// The same command gives the same record, another one another.
func TestNotarizeCommand(t *testing.T) {
	t.Parallel()
	s := site{data: folder(t)}.start(t)
	d := s.desk(s.info.URL)
	d.write("文书.txt", "one")
	d.write("b.pdf", "%PDF-1.4 b")
	base := []string{"文书.txt", "--title", "通知", "--class", "decision", "--field", "caseNumber=2026;17=x", "--reference",
		"R 1"}
	first := d.number(base...)
	if again := d.number(append(slices.Clone(base), "--wait", "anchored")...); again != first {
		t.Errorf("the same command made %s and %s", first, again)
	}
	seen := map[string]bool{first: true}
	for _, args := range [][]string{{"文书.txt"}, append(slices.Clone(base), "--digest-only"),
		append(slices.Clone(base), "--media-type", "text/csv"), append(slices.Clone(base), "--media-type", "text/csv",
			"--digest-only"),
		append(slices.Clone(base), "--again"), append(slices.Clone(base), "--supersedes", first)} {
		n := d.number(args...)
		if seen[n] {
			t.Errorf("%v: %s again", args, n)
		}
		seen[n] = true
	}
	if n := s.count(); n != len(seen) {
		t.Errorf("%d records, want %d", n, len(seen))
	}
	if _, errs := d.run(exitRefused, append([]string{"notarize"}, base...)...); !strings.Contains(errs, "--again") {
		t.Errorf("of a record that was replaced: %s", errs)
	}
	fatalIfErr(t, os.Mkdir(filepath.Join(d.dir, "proofs"), 0o755))
	out, _ := d.run(0, "notarize", "文书.txt", "b.pdf", "--bundle-dir", "proofs", "--trust", s.info.Trust)
	if strings.Count(out, "anchored  ") != 2 {
		t.Errorf("%s", out)
	}
	files, err := filepath.Glob(filepath.Join(d.dir, "proofs", "*.bundle.json"))
	fatalIfErr(t, err)
	if len(files) != 2 {
		t.Fatalf("%v", files)
	}
	if code, out := s.offline(files[1], filepath.Join(d.dir, "b.pdf")); code != 0 {
		t.Errorf("%d %s", code, out)
	}
	rec, err := s.remote(s.info.URL).Get(t.Context(), first)
	fatalIfErr(t, err)
	if rec.Fields["caseNumber"] != "2026;17=x" || rec.Fields["fileName"] != "文书.txt" || rec.Reference != "R 1" ||
		rec.Class != "decision" {
		t.Errorf("%+v", rec)
	}
}

func TestRecordCommands(t *testing.T) {
	t.Parallel()
	s := site{data: folder(t)}.start(t)
	d := s.desk(s.info.URL)
	d.write("a.txt", "a")
	n := d.number("a.txt", "--title", "A", "--reference", "R-9", "--digest-only", "--wait", "anchored")
	for by, args := range map[string][]string{"number": {n}, "reference": {"--reference", "R-9"},
		"digest": {"--sm3", sm.Sum([]byte("a")).String()}} {
		t.Run(by, func(t *testing.T) {
			if out, _ := d.run(0, append([]string{"status"}, args...)...); !strings.Contains(out,
				"state         anchored") || !strings.Contains(out, n) {
				t.Errorf("%v: %s", args, out)
			}
		})
	}
	out, told := d.run(0, "bundle", n, "--trust", s.info.Trust)
	if !strings.Contains(told, "No document was compared") || strings.Contains(told, "genuine") {
		t.Errorf("no document was given: %s", told)
	}
	b, err := s.remote(s.info.URL).Bundle(t.Context(), n, nil)
	fatalIfErr(t, err)
	if out != string(b.JSON) {
		t.Errorf("the bundle differs: %s", out)
	}
	d.run(0, "bundle", n, "--certificate", "-o", "c.pdf")
	d.run(0, "bundle", n, "--evidence", "-o", "e.zip")
	if code, out := s.offline("--sm3", sm.Sum([]byte("a")).String(), filepath.Join(d.dir, "c.pdf")); code != 0 {
		t.Errorf("certificate: %d %s", code, out)
	}
	d.run(0, "revoke", n, "--reason", "误发")
	d.run(0, "revoke", n, "--reason", "误发") // once is enough
	d.run(exitRefused, "revoke", n, "--reason", "another reason")
	out, errs := d.run(0, "watch")
	if !strings.Contains(out, "record.anchored  "+n) || !strings.Contains(out, "record.revoked  "+n+"  误发") {
		t.Errorf("%s", out)
	}
	_, next, _ := strings.Cut(strings.TrimSpace(errs), "--after ")
	if out, _ := d.run(0, "watch", "--after", next); strings.Contains(out, "record.anchored  "+n) {
		t.Errorf("after the last event: %s", out)
	}
	// What follows is refused, is wrong, or cannot be.
	d.run(exitRefused, "status", "420100-2026-00000099-0")
	d.run(exitRefused, "status", "--reference", "none")
	d.run(exitRefused, "watch", "--after", "nonsense")
	d.run(exitRefused, "notarize", "a.txt", "--class", "NO CLASS")
	d.run(exitUsage, "notarize", "a.txt", "nothing.txt")
	d.run(exitUsage, "notarize", ".")
	d.run(exitUsage, "notarize", "a.txt", "a.txt", "--title", "two")
	d.run(exitUsage, "notarize", "a.txt", "--bundle-dir", "nothing")
	d.run(exitUsage, "status")
	d.run(exitUsage, "status", n, "--url", "http://stele.example")
	d.env = append(d.env, "STELE_KEY=both")
	d.run(exitUsage, "status", n)
	d.env = append(d.env, "STELE_KEY_FILE=")
	d.run(exitRefused, "status", n)
	if n := s.count(); n != 1 {
		t.Errorf("%d records", n)
	}
}

// A command that is interrupted while it sends goes on when it is run again, and one whose
// service comes back meanwhile needs no second run.
func TestCommandsOnABadNetwork(t *testing.T) {
	t.Parallel()
	s := site{data: folder(t)}.start(t)
	reached, release := make(chan struct{}), make(chan struct{})
	stall := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.CopyN(io.Discard, r.Body, 1<<20)
		close(reached)
		<-release // a server does not see that a client left whose body it has not read
	}))
	t.Cleanup(stall.Close)
	d := s.desk(stall.URL)
	d.write("big.bin", strings.Repeat("0123456789abcdef", 1<<18))
	cmd, _, errs := d.command("notarize", "big.bin")
	fatalIfErr(t, cmd.Start())
	<-reached
	fatalIfErr(t, cmd.Process.Signal(os.Interrupt))
	_ = cmd.Wait()
	close(release)
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted ||
		!strings.Contains(errs.String(), "without a second record") {
		t.Errorf("interrupted: %d %s", code, errs)
	}
	p := s.badProxy()
	p.will(loses, cuts, busy)
	d.env = append(d.env, "STELE_URL="+p.URL)
	_, text := d.run(0, "notarize", "big.bin", "--wait", "anchored")
	if p.done(t); strings.Count(text, "trying again in") != 3 {
		t.Errorf("%s", text)
	}
	d.run(0, "notarize", "big.bin")
	if n := s.count(); n != 1 {
		t.Errorf("%d records", n)
	}
	p.Close()
	if _, text := d.run(exitUnreachable, "status", "--reference", "x", "--attempts", "2"); strings.Count(text,
		"trying again in") != 1 {
		t.Errorf("%s", text)
	}
}

// A follower prints events as they come, and ends well when it is told to.
func TestFollow(t *testing.T) {
	t.Parallel()
	s := site{data: folder(t)}.start(t)
	d := s.desk(s.info.URL)
	cmd, _, errs := d.command("watch", "--follow", "--types", "record.anchored")
	cmd.Stdout = nil
	out, err := cmd.StdoutPipe()
	fatalIfErr(t, err)
	fatalIfErr(t, cmd.Start())
	d.write("a.txt", "a")
	n := d.number("a.txt")
	line, err := bufio.NewReader(out).ReadString('\n')
	fatalIfErr(t, err)
	if !strings.Contains(line, "record.anchored  "+n) {
		t.Errorf("%s", line)
	}
	fatalIfErr(t, cmd.Process.Signal(os.Interrupt))
	if err := cmd.Wait(); err != nil || !strings.Contains(errs.String(), "go on with --after evt_") {
		t.Errorf("%v: %s", err, errs)
	}
}

// On a terminal a bar says how far it is.
func TestBar(t *testing.T) {
	var out bytes.Buffer
	b := newBar(&out, "sending", "dir/a\x1b.pdf", 4e6)
	if b.at(1); out.Len() != 0 {
		t.Errorf("not on a terminal: %q", &out)
	}
	b.width = 100
	b.started = time.Now().Add(-2 * time.Second)
	b.at(2e6)
	if got, want := out.String(),
		"\r\x1b[Ksending [##########..........] 50%  2.0 of 4.0 MB  1.0 MB/s  2s left  a\ufffd.pdf"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	b.width, b.shown = 40, time.Time{}
	out.Reset()
	b.at(4e6)
	if line := strings.TrimPrefix(out.String(), "\r\x1b[K"); len(line) >= 40 ||
		!strings.HasPrefix(line, "sending [####") {
		t.Errorf("%q does not fit", line)
	}
	out.Reset()
	if b.clear(); out.String() != "\r\x1b[K" {
		t.Errorf("%q", &out)
	}
	if line := newBar(&out, "waiting", "a", 0).line(0); line != "waiting  a" {
		t.Errorf("%q", line)
	}
}
