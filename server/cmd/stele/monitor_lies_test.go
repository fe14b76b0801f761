package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"stele/crypto/signednote"
	"stele/notary/monitor"
)

// liar stands before a server and changes the answers at a path, or at all below one that ends with a slash.
func (s *server) liar(path string, change func(body []byte) []byte) string {
	s.t.Helper()
	to, err := url.Parse(s.info.URL)
	fatalIfErr(s.t, err)
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.ModifyResponse = func(r *http.Response) error {
		at := r.Request.URL.Path
		here := at == path || strings.HasSuffix(path, "/") && strings.HasPrefix(at, path)
		if !here || r.StatusCode != http.StatusOK {
			return nil
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		body = change(body)
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		r.Header.Del("Content-Length")
		return nil
	}
	front := httptest.NewServer(proxy)
	s.t.Cleanup(front.Close)
	return front.URL
}

// edited changes the member of a JSON answer.
func edited(t *testing.T, edit func(map[string]any)) func([]byte) []byte {
	return func(body []byte) []byte {
		v := map[string]any{}
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			t.Error(err)
		}
		edit(v)
		out, err := json.Marshal(v)
		if err != nil {
			t.Error(err)
		}
		return out
	}
}

var rootLine = regexp.MustCompile(`(?m)^[A-Za-z0-9+/]{43}=$`)

// Whatever answer of the service is changed, the monitor finds it, and says what it is.
func TestMonitorFindsLies(t *testing.T) {
	t.Parallel()
	s := site{data: folder(t)}.start(t, "--status-pause", "50ms")
	s.notarize(digestRequest(newDigest(), "", ""))
	s.spoken()
	own := []string{"--agency", demoCode, "--api-key-file", keyFile(t, s.info.APIKey)}
	audit := []string{"--auditor", "--api-key-file", keyFile(t, s.auditorsKey())}
	zeroes := func(b []byte) []byte { return make([]byte, len(b)) }
	lie := func(name, path string, change func([]byte) []byte, code string, args ...string) {
		t.Run(name, func(t *testing.T) {
			w := s.watch(args...)
			w.once(s.info.URL, 0) // it was honest
			s.spoken()
			w.once(s.liar(path, change), exitFinding)
			if found := w.found(); !strings.Contains(" "+found+" ", " "+code+" ") {
				t.Errorf("found %q, want %s", found, code)
			}
		})
	}
	lie("another root", "/api/v1/log/checkpoint", func(b []byte) []byte {
		return rootLine.ReplaceAll(b, []byte(base64.StdEncoding.EncodeToString(make([]byte, 32))))
	}, monitor.BadSignature)
	lie("other tiles", "/api/v1/log/tile/0/", zeroes, monitor.NotConsistent)
	lie("no anchors", "/api/v1/log/status", edited(t, func(v map[string]any) { v["anchors"] = []any{} }),
		monitor.BadAnchor)
	lie("an entry is kept back", "/api/v1/entries", edited(t, func(v map[string]any) {
		if list, ok := v["entries"].([]any); ok && len(list) > 0 {
			v["entries"] = list[:len(list)-1]
		}
	}), monitor.TallyDiffers, own...)
	lie("another entry", "/api/v1/entries", edited(t, func(v map[string]any) {
		for _, e := range or[[]any](v["entries"]) {
			e.(map[string]any)["entry"] = "AAFhAAFi" + base64.StdEncoding.EncodeToString(make([]byte, 32))
		}
	}), monitor.TallyDiffers, own...)
	lie("other entries for the auditor", "/api/v1/log/tile/entries/", zeroes, monitor.NotConsistent, audit...)
	t.Run("a status of long ago", func(t *testing.T) {
		w := s.watch("--stale", "1ns")
		w.once(s.info.URL, exitFinding)
		if found := w.found(); found != monitor.Stale {
			t.Error(found)
		}
	})
	t.Run("nothing", func(t *testing.T) {
		w := s.watch(own...)
		w.once(s.liar("/", func(b []byte) []byte { return b }), 0)
	})
}

func or[T any](v any) T {
	out, _ := v.(T)
	return out
}

// copied is a copy of a site's folder, while nothing runs in it.
func (s site) copied(t *testing.T) site {
	t.Helper()
	to := folder(t)
	if out, err := exec.Command("cp", "-a", s.data+"/.", to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return site{data: to, args: s.args}
}

// An operator goes back to a copy of its folder. Its own fences do not see that, since all of it is old: a monitor
// that has seen more does.
func TestMonitorFindsRestoredCopy(t *testing.T) {
	t.Parallel()
	at := site{data: folder(t)}
	s := at.start(t, "--status-pause", "50ms")
	s.spoken()
	s.stop()
	old := at.copied(t)
	s = at.start(t, "--status-pause", "50ms")
	s.spoken()
	w := s.watch()
	w.once(s.info.URL, 0)
	s.stop()

	back := old.start(t, "--status-pause", "1h")
	w.once(back.info.URL, exitFinding)
	if found := w.found(); found != monitor.WentBack {
		t.Errorf("found %q", found)
	}
	// It grows again, to other entries: now there are two histories, signed both.
	for range 8 {
		back.notarize(digestRequest(newDigest(), "", "logged"))
	}
	w.once(back.info.URL, exitFinding)
	if found := w.found(); !strings.Contains(found, monitor.NotConsistent) {
		t.Errorf("found %q", found)
	}
	for _, note := range w.evidence(monitor.NotConsistent) {
		keys := back.trust.LogKeys(back.origin(t))
		if _, _, err := signednote.Open([]byte(note), keys...); err != nil {
			t.Errorf("the evidence does not hold: %v: %s", err, note)
		}
	}
}

// evidence is that of the findings with a code.
func (w watcher) evidence(code string) (out []string) {
	w.t.Helper()
	list, err := filepath.Glob(filepath.Join(w.data, "findings", strings.ReplaceAll(code, "_", "-")+"-*.json"))
	fatalIfErr(w.t, err)
	for _, path := range list {
		text, err := os.ReadFile(path)
		fatalIfErr(w.t, err)
		var f monitor.Finding
		fatalIfErr(w.t, json.Unmarshal(text, &f))
		out = append(out, f.Evidence["smaller"], f.Evidence["larger"])
	}
	if len(out) == 0 {
		w.t.Errorf("there is no finding %s", code)
	}
	return out
}

// listening starts a monitor that goes on, and returns where others find it once it has verified something.
func (w watcher) listening(url string, extra ...string) string {
	w.t.Helper()
	cmd := w.command(url, append(extra, "--listen", "127.0.0.1:0", "--every", "50ms")...)
	log := &lockedBuffer{}
	cmd.Stdout, cmd.Stderr = log, log
	fatalIfErr(w.t, cmd.Start())
	w.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	address := ""
	eventually(w.t, "the monitor listens and has verified a checkpoint", func() bool {
		if m := regexp.MustCompile(`listening on (\S+)`).FindStringSubmatch(log.String()); m != nil {
			address = "http://" + m[1]
		}
		res, err := http.Get(address + "/checkpoint")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	return address
}

// One log shows two monitors two histories, each of them right by itself. Each alone finds nothing; when they
// compare, both signed notes are in the finding.
func TestMonitorsFindSplitView(t *testing.T) {
	t.Parallel()
	at := site{data: folder(t)}
	s := at.start(t, "--status-pause", "50ms")
	s.spoken()
	s.stop()
	other := at.copied(t)
	a, b := at.start(t, "--status-pause", "50ms"), other.start(t, "--status-pause", "50ms")
	a.spoken()
	for range 3 {
		b.spoken()
	}
	first, second := a.watch(), b.watch()
	peer := first.listening(a.info.URL)
	res, err := http.Get(peer + "/checkpoint")
	fatalIfErr(t, err)
	note, err := io.ReadAll(res.Body)
	fatalIfErr(t, err)
	fatalIfErr(t, res.Body.Close())
	res, err = http.Get(peer + "/key")
	fatalIfErr(t, err)
	text, err := io.ReadAll(res.Body)
	fatalIfErr(t, err)
	fatalIfErr(t, res.Body.Close())
	name, key, err := signednote.ParseCosignKey(strings.TrimSpace(string(text)))
	fatalIfErr(t, err)
	if _, err := signednote.VerifyCosignature(note, name, key); err != nil {
		t.Error(err)
	}

	second.once(b.info.URL, 0)
	second.once(b.info.URL, exitFinding, "--peer", peer)
	if found := second.found(); found != monitor.SplitView {
		t.Errorf("found %q", found)
	}
	for _, note := range second.evidence(monitor.SplitView) {
		if _, _, err := signednote.Open([]byte(note), b.trust.LogKeys(b.origin(t))...); err != nil {
			t.Errorf("the evidence does not hold: %v: %s", err, note)
		}
	}
	if found := first.found(); found != "" {
		t.Errorf("the other one found %q alone", found)
	}
	// A monitor of the same history agrees.
	third := a.watch()
	third.once(a.info.URL, 0, "--peer", peer)
}
