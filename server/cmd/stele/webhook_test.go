package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"stele/notary/office/webhook"
	"stele/notary/proof/prooftest"
	"stele/storage/storagetest"
)

// hooks is a receiver that checks what arrives with the official library.
type hooks struct {
	*httptest.Server
	mu     sync.Mutex
	verify *standardwebhooks.Webhook // guarded by mu
	bodies map[string]string         // guarded by mu; by webhook-id
	times  int                       // guarded by mu
	wrong  []string                  // guarded by mu
}

func newHooks(t *testing.T) *hooks {
	h := &hooks{bodies: map[string]string{}}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the server was killed while it sent
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		id := r.Header.Get("webhook-id")
		if err := h.verify.Verify(body, r.Header); err != nil {
			h.wrong = append(h.wrong, fmt.Sprint(id, ": ", err))
		}
		if before, again := h.bodies[id]; again && before != string(body) {
			h.wrong = append(h.wrong, fmt.Sprint(id, " came with two bodies"))
		}
		h.bodies[id] = string(body)
		h.times++
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hooks) got() (bodies map[string]string, times int, wrong []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	bodies = map[string]string{}
	for k, v := range h.bodies {
		bodies[k] = v
	}
	return bodies, h.times, h.wrong
}

// hook is the part of a webhook's answer that these tests look at.
type hook struct {
	ID, URL, Secret, DisabledReason string
	Enabled                         bool
	Events                          []string
}

func (s *server) post(path, body string, want int) response {
	s.t.Helper()
	return s.send("POST", path, body, want)
}

func (s *server) send(method, path, body string, want int) response {
	s.t.Helper()
	r := request{method: method, path: path}
	if body != "" {
		r.body, r.header = strings.NewReader(body), map[string]string{"Content-Type": "application/json"}
	}
	res := s.call(r)
	if res.status != want {
		s.t.Fatalf("%s %s: %d %s\n%s", method, path, res.status, res.body, s.log)
	}
	return res
}

// connect makes the receiver a webhook of the demo agency.
func (h *hooks) connect(s *server) hook {
	s.t.Helper()
	var e hook
	s.post("/api/v1/webhooks", fmt.Sprintf(`{"url":%q}`, h.URL), http.StatusCreated).json(s.t, &e)
	h.mu.Lock()
	defer h.mu.Unlock()
	var err error
	h.verify, err = standardwebhooks.NewWebhook(e.Secret)
	fatalIfErr(s.t, err)
	return e
}

type feedEvent struct {
	ID, Type string
	Data     struct{ ID, Number, State, Standing string }
}

// feed reads all events of the demo agency; next is where to go on.
func (s *server) feed(after string) (all []feedEvent, raw map[string]string, next string) {
	s.t.Helper()
	raw = map[string]string{}
	for next = after; ; {
		var page struct {
			Events []json.RawMessage
			Next   string
			More   bool
		}
		s.send("GET", "/api/v1/events?limit=1000&after="+next, "", http.StatusOK).json(s.t, &page)
		for _, text := range page.Events {
			var e feedEvent
			fatalIfErr(s.t, json.Unmarshal(text, &e))
			all = append(all, e)
			raw[e.ID] = `{` + strings.TrimPrefix(string(text), fmt.Sprintf(`{"id":%q,`, e.ID))
		}
		next = page.Next
		if !page.More {
			return all, raw, next
		}
	}
}

// kill -9 between facts and deliveries: each event arrives, each repetition has the id and the
// body of the first, and none is made up.
func TestWebhooksSurviveKills(t *testing.T) {
	t.Parallel()
	rounds := 20
	if testing.Short() {
		rounds = 3
	}
	forEachBackend(t, func(t *testing.T, site site) {
		t.Parallel()
		h := newHooks(t)
		var c crowd
		for round := range rounds {
			s := site.start(t)
			if round == 0 {
				h.connect(s)
			}
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(time.Duration(50+mrand.IntN(700))*time.Millisecond, func() {
				s.kill()
				cancel()
			})
			c.work(ctx, t, s, 2, noOther)
			<-s.done
			cancel()
			if t.Failed() {
				t.Fatalf("round %d:\n%s", round, s.log)
			}
		}
		s := site.start(t)
		c.drain(t, s)
		last := s.notarize(digestRequest(newDigest(), "", "anchored"))
		s.post("/api/v1/records/"+last.ID+"/revoke", `{"reason":"x"}`, http.StatusOK)
		kinds := map[string]map[string]bool{}
		events, raw, _ := s.feed("")
		for _, e := range events {
			if kinds[e.Data.ID] == nil {
				kinds[e.Data.ID] = map[string]bool{}
			}
			kinds[e.Data.ID][e.Type] = true
		}
		for _, j := range c.jobs {
			if k := kinds[j.answer.ID]; len(k) != 2 || !k["record.logged"] || !k["record.anchored"] {
				t.Fatalf("events of %s: %v", j.answer.Number, k)
			}
		}
		if k := kinds[last.ID]; len(k) != 3 || !k["record.revoked"] || len(kinds) != len(c.jobs)+1 ||
			len(raw) != 2*len(kinds)+1 || len(raw) != len(events) {
			t.Fatalf("%d records have %d events, the last one %v", len(kinds), len(events), k)
		}
		eventually(t, "every event arrives", func() bool {
			bodies, _, _ := h.got()
			return len(bodies) >= len(events)
		})
		s.stop() // ends what is under way: after this nothing more comes
		bodies, times, wrong := h.got()
		for id, body := range bodies {
			if raw[id] != body {
				t.Errorf("%s arrived as %s, the feed says %s", id, body, raw[id])
			}
		}
		if len(bodies) != len(events) || len(wrong) > 0 {
			t.Errorf("%d of %d events, %q", len(bodies), len(events), wrong)
		}
		t.Logf("%d records, %d events, %d requests", len(kinds), len(events), times)
	})
}

// The calls of the interface, end to end.
func TestWebhookCalls(t *testing.T) {
	t.Parallel()
	site := backends["sqlite+dir"](t)
	s := site.start(t)
	h := newHooks(t)
	for _, bad := range []string{`{}`, `{"url":"http://example.org"}`, `{"url":"https://10.0.0.1"}`,
		`{"url":"` + h.URL + `","events":["record.received"]}`, `{"url":"` + h.URL + `","x":1}`,
		`{"url":"` + h.URL + `","payload":"none"}`} {
		s.post("/api/v1/webhooks", bad, http.StatusUnprocessableEntity)
	}
	e := h.connect(s)
	path := "/api/v1/webhooks/" + e.ID
	if !strings.HasPrefix(e.Secret, "whsec_") || !e.Enabled || len(e.Events) != len(webhook.Kinds) {
		t.Errorf("%+v", e)
	}
	for _, get := range []string{path, "/api/v1/webhooks", path + "/deliveries"} {
		if res := s.send("GET", get, "", http.StatusOK); bytes.Contains(res.body, []byte("whsec_")) {
			t.Errorf("%s shows the secret: %s", get, res.body)
		}
	}
	rec := s.notarize(fileRequest([]byte("document"), `{"title":"Private title","class":"decision"}`, ""))
	_, _, next := s.feed("")
	s.post("/api/v1/records/"+rec.ID+"/revoke?wait=anchored", `{"reason":"A reason."}`, http.StatusOK)
	arrived := func(n int) map[string]string {
		t.Helper()
		eventually(t, fmt.Sprint(n, " webhooks"), func() bool { bodies, _, _ := h.got(); return len(bodies) == n })
		bodies, _, wrong := h.got()
		if len(wrong) > 0 {
			t.Errorf("%q", wrong)
		}
		return bodies
	}
	for id, body := range arrived(3) {
		if strings.Contains(body, "Private") || strings.Contains(body, rec.Code) ||
			!strings.Contains(body, rec.Number) {
			t.Errorf("%s: %s", id, body)
		}
	}
	if events, _, _ := s.feed(next); len(events) < 1 || events[len(events)-1].Data.Number != rec.Number {
		t.Errorf("the feed goes on with %+v", events)
	}
	s.send("GET", "/api/v1/events?after=x", "", http.StatusUnprocessableEntity)

	var d struct{ ID, Status string }
	s.post(path+"/test", "", http.StatusAccepted).json(t, &d)
	if ping := arrived(4)[d.ID]; !strings.Contains(ping, `"type":"ping"`) || !strings.Contains(ping, e.ID) {
		t.Errorf("the ping is %q", ping)
	}
	type page struct {
		Deliveries []struct {
			ID, Type string
			Attempts []struct{ Status int }
		}
		Next string
	}
	seen := map[string]string{}
	eventually(t, "all is written", func() bool {
		seen = map[string]string{}
		for next := ""; ; {
			var p page
			s.send("GET", path+"/deliveries?limit=1&status=delivered&cursor="+next, "", http.StatusOK).json(t, &p)
			for _, x := range p.Deliveries {
				seen[x.Type] = x.ID
				if len(x.Attempts) != 1 || x.Attempts[0].Status != 200 {
					t.Errorf("%+v", x)
				}
			}
			if next = p.Next; next == "" {
				return len(seen) == 4
			}
		}
	})
	before := func() int { _, n, _ := h.got(); return n }
	n := before()
	s.post(path+"/deliveries/"+seen["record.revoked"]+"/replay", "", http.StatusAccepted)
	eventually(t, "one came again", func() bool { return before() == n+1 })
	eventually(t, "its outcome is written", func() bool {
		return !strings.Contains(string(s.get(path+"/deliveries").body), `"status":"pending"`)
	})
	s.post(path+"/replay", `{"since":"2020-01-01T00:00:00Z"}`, http.StatusAccepted)
	eventually(t, "all came again", func() bool { return before() == n+4 })
	arrived(4) // with the ids that they had
	s.post(path+"/deliveries/none/replay", "", http.StatusNotFound)

	var rotated hook
	s.post(path+"/secret", "", http.StatusCreated).json(t, &rotated)
	s.post(path+"/test", "", http.StatusAccepted)
	arrived(5) // the old secret still verifies
	var changed hook
	s.send("PATCH", path, `{"enabled":false,"events":["record.anchored"]}`, http.StatusOK).json(t, &changed)
	if changed.Enabled || changed.DisabledReason != "manual" || len(changed.Events) != 1 || changed.URL != h.URL {
		t.Errorf("%+v", changed)
	}
	s.post(path+"/test", "", http.StatusConflict)
	s.notarize(digestRequest(newDigest(), "", "anchored"))
	s.send("PATCH", path, `{"enabled":true}`, http.StatusOK)
	arrived(6) // what happened meanwhile comes now

	// Another agency's webhook does not exist.
	s.stop()
	code := prooftest.USCC("12420100MB1234567")
	if _, errs, exit := site.output(t, "agency", "add", "--code", code, "--name", "B", "--region",
		"420100"); exit != 0 {
		t.Fatal(errs)
	}
	out, errs, exit := site.output(t, "apikey", "add", "--agency", code, "--json")
	if exit != 0 {
		t.Fatal(errs)
	}
	var key struct{ Key string }
	fatalIfErr(t, json.Unmarshal([]byte(out), &key))
	s = site.start(t)
	s.info.APIKey = key.Key
	for _, c := range [][2]string{{"GET", ""}, {"PATCH", ""}, {"DELETE", ""}, {"POST", "/secret"}, {"POST", "/test"},
		{"GET", "/deliveries"}, {"POST", "/deliveries/" + seen["ping"] + "/replay"}, {"POST", "/replay"}} {
		body := map[string]string{"PATCH": `{"enabled":false}`, "POST/replay": `{"since":"2020-01-01T00:00:00Z"}`}
		b := body[c[0]]
		if c[1] == "/replay" {
			b = body["POST/replay"]
		}
		s.send(c[0], path+c[1], b, http.StatusNotFound)
	}
	if events, _, _ := s.feed(""); len(events) != 0 {
		t.Errorf("another agency reads %+v", events)
	}
	if res := s.get("/api/v1/webhooks"); bytes.Contains(res.body, []byte(e.ID)) {
		t.Errorf("another agency sees %s", res.body)
	}
	if log := s.log.String(); strings.Contains(log, "whsec_") {
		t.Error("a secret is in the log")
	}
}

// A key that cannot read records cannot have their private attributes sent somewhere.
func TestWebhookScopes(t *testing.T) {
	t.Parallel()
	site := backends["sqlite+dir"](t)
	s := site.start(t)
	var shown, plain hook
	s.post("/api/v1/webhooks", `{"url":"http://127.0.0.1:1","fields":["title"]}`, http.StatusCreated).json(t, &shown)
	out, errs, exit := site.output(t, "apikey", "add", "--agency", demoCode, "--scopes", "webhooks", "--json")
	if exit != 0 {
		t.Fatal(errs)
	}
	var key struct{ Key string }
	fatalIfErr(t, json.Unmarshal([]byte(out), &key))
	s.info.APIKey = key.Key
	s.post("/api/v1/webhooks", `{"url":"http://127.0.0.1:1","fields":["title"]}`, http.StatusForbidden)
	s.post("/api/v1/webhooks", `{"url":"http://127.0.0.1:1"}`, http.StatusCreated).json(t, &plain)
	s.send("PATCH", "/api/v1/webhooks/"+plain.ID, `{"fields":["*"]}`, http.StatusForbidden)
	s.send("PATCH", "/api/v1/webhooks/"+shown.ID, `{"url":"http://127.0.0.1:2"}`, http.StatusForbidden)
	s.send("PATCH", "/api/v1/webhooks/"+shown.ID, `{"enabled":false}`, http.StatusOK)
	s.send("GET", "/api/v1/events", "", http.StatusForbidden)
}

// stele webhook listen verifies what a server sends, both signatures, and prints it; the
// sample verifies there too, and what is changed does not.
func TestWebhookListen(t *testing.T) {
	t.Parallel()
	site := backends["sqlite+dir"](t)
	s := site.start(t)
	var sample struct {
		Headers      map[string]string
		Body, Secret string
		SM2          struct{ PublicKey string }
	}
	s.get("/api/v1/webhooks/sample").json(t, &sample)
	dir := t.TempDir()
	secret, key := filepath.Join(dir, "secret"), filepath.Join(dir, "key.pem")
	fatalIfErr(t, os.WriteFile(secret, []byte(sample.Secret+"\n"), 0o600))
	fatalIfErr(t, os.WriteFile(key, []byte(sample.SM2.PublicKey), 0o600))
	path, err := binary()
	fatalIfErr(t, err)
	listen := func(secret string) (url string, out *lockedBuffer) {
		t.Helper()
		var errs lockedBuffer
		out = &lockedBuffer{}
		cmd := exec.Command(path, "webhook", "listen", "--listen", "127.0.0.1:0", "--secret-file", secret,
			"--sm2-key-file", key)
		cmd.Stdout, cmd.Stderr = out, &errs
		fatalIfErr(t, cmd.Start())
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		eventually(t, "it listens", func() bool { return strings.Contains(errs.String(), "http://") })
		_, url, _ = strings.Cut(strings.TrimSpace(errs.String()), "Listening on ")
		return url, out
	}
	url, out := listen(secret)
	send := func(change func(r *http.Request), body string) int {
		t.Helper()
		r, err := http.NewRequest("POST", url, strings.NewReader(body))
		fatalIfErr(t, err)
		for k, v := range sample.Headers {
			r.Header.Set(k, v)
		}
		change(r)
		res, err := httpClient.Do(r)
		fatalIfErr(t, err)
		res.Body.Close()
		return res.StatusCode
	}
	same := func(*http.Request) {}
	if status := send(same, sample.Body); status != http.StatusNoContent {
		t.Errorf("%d: %s", status, out)
	}
	eventually(t, "the sample is printed", func() bool { return strings.Contains(out.String(), "verified ping_") })
	withoutSM2, _, _ := strings.Cut(sample.Headers["webhook-signature"], " v1sm2")
	for name, status := range map[string]int{
		"body":  send(same, sample.Body+" "),
		"id":    send(func(r *http.Request) { r.Header.Set("webhook-id", "x") }, sample.Body),
		"old":   send(func(r *http.Request) { r.Header.Set("webhook-timestamp", "1614265330") }, sample.Body),
		"plain": send(func(r *http.Request) { r.Header.Set("webhook-signature", withoutSM2) }, sample.Body),
	} {
		if status != http.StatusUnauthorized {
			t.Errorf("%s: %d", name, status)
		}
	}
	var e hook
	s.post("/api/v1/webhooks", `{"url":"http://127.0.0.1:1"}`, http.StatusCreated).json(t, &e)
	fatalIfErr(t, os.WriteFile(secret, []byte(e.Secret), 0o600))
	url, out = listen(secret)
	s.send("PATCH", "/api/v1/webhooks/"+e.ID, fmt.Sprintf(`{"url":%q,"fields":["title"]}`, url), http.StatusOK)
	rec := s.notarize(digestRequest(newDigest(), "", "anchored"))
	eventually(t, "the webhook is printed", func() bool {
		return strings.Contains(out.String(), "record.anchored") && strings.Contains(out.String(), rec.Number) &&
			strings.Contains(out.String(), `"title": "Notice"`)
	})
	if out, err := exec.Command(path, "webhook", "listen").CombinedOutput(); err == nil ||
		!strings.Contains(string(out), "secret is needed") {
		t.Errorf("without a secret: %v %s", err, out)
	}
}

// An instance from before webhooks gets its key at a start. Once the database knows one, a
// start without it, or with another, is refused: the secrets could not be read.
func TestWebhookKey(t *testing.T) {
	t.Parallel()
	site := backends["sqlite+dir"](t)
	site.start(t).stop()
	path := filepath.Join(site.data, "keys", "webhook.key")
	key, err := os.ReadFile(path)
	fatalIfErr(t, err)
	refuse := func(want string) {
		t.Helper()
		if _, errs, code := site.output(t, "serve", "--listen", "127.0.0.1:0"); code == 0 ||
			!strings.Contains(errs, want) {
			t.Errorf("exit %d: %s", code, errs)
		}
	}
	fatalIfErr(t, os.Remove(path))
	refuse("is missing")
	log, err := os.ReadFile(filepath.Join(site.data, "keys", "log.key"))
	fatalIfErr(t, err)
	fatalIfErr(t, os.WriteFile(path, log, 0o600))
	refuse("is not the webhook key that the database knows")
	fatalIfErr(t, os.Remove(path))
	storagetest.MustExec(t, storagetest.Raw(t, "sqlite:"+filepath.Join(site.data, "stele.db")), 1,
		`DELETE FROM webhook_key`)
	site.start(t).stop() // as after a migration
	if made, err := os.ReadFile(path); err != nil || bytes.Equal(made, key) {
		t.Errorf("no new key was made: %v", err)
	}
}

// Two servers on the same stores share the deliveries: each event is sent, and sent once.
func TestWebhooksOfTwoServers(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, site site) {
		a := site.start(t)
		b := site.start(t, "--chain", "none")
		h := newHooks(t)
		h.connect(a)
		for i := range 200 {
			s := []*server{a, b}[i%2]
			s.notarize(digestRequest(newDigest(), "", ""))
		}
		eventually(t, "every event of every record has arrived", func() bool {
			events, _, _ := a.feed("")
			got, _, _ := h.got()
			return len(events) == 400 && len(got) >= 400 // logged and anchored
		})
		if got, times, wrong := h.got(); len(got) != 400 || times != 400 || len(wrong) > 0 {
			t.Errorf("%d events came in %d deliveries; wrong: %v", len(got), times, wrong)
		}
	})
}
