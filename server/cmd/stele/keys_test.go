package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"stele/server/http/api"
)

// as makes a call with another key and a JSON body, which may be empty.
func as(key, method, path, body string) request {
	return request{method: method, path: path, header: map[string]string{"Authorization": "Bearer " + key,
		"Content-Type": jsonType}, body: strings.NewReader(body)}
}

// problem is the code of a refusal.
func (r response) problem(t testing.TB) string {
	t.Helper()
	var p api.Problem
	r.json(t, &p)
	return p.Code
}

func (s *server) newKey(t testing.TB, key, path, body string) api.IssuedKey {
	t.Helper()
	r := s.call(as(key, http.MethodPost, path, body))
	if r.status != http.StatusCreated || r.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%s: %d %s", path, r.status, r.body)
	}
	var k api.IssuedKey
	r.json(t, &k)
	return k
}

func TestKeys(t *testing.T) {
	t.Parallel()
	site := site{data: folder(t)}
	s := site.start(t, "--log-level", "debug")
	digest := func() string { return `{"sm3":"` + newDigest() + `","size":1}` }

	reader := s.newKey(t, s.info.APIKey, "/api/v1/keys", `{"name":"archive","scopes":["read"]}`)
	if r := s.call(as(reader.Text, http.MethodGet, "/api/v1/records", "")); r.status != http.StatusOK ||
		r.header.Get("RateLimit-Limit") == "" {
		t.Errorf("reading: %d %v", r.status, r.header)
	}
	rec := s.notarize(fileRequest([]byte("%PDF-1.4"), `{}`, ""))
	for _, c := range []request{as(reader.Text, http.MethodPost, "/api/v1/records", digest()),
		as(reader.Text, http.MethodPost, "/api/v1/records/batch", `{"records":[`+digest()+`]}`),
		as(reader.Text, http.MethodPost, "/api/v1/records/"+rec.ID+"/revoke", `{"reason":"no"}`),
		as(reader.Text, http.MethodGet, "/api/v1/keys", ""),
		as(reader.Text, http.MethodPost, "/api/v1/keys", `{"name":"more"}`),
		as(reader.Text, http.MethodDelete, "/api/v1/keys/"+reader.ID, "")} {
		if r := s.call(c); r.status != http.StatusForbidden || r.problem(t) != "forbidden" {
			t.Errorf("%s %s with a key that may only read: %d %s", c.method, c.path, r.status, r.body)
		}
	}
	var own api.Key
	s.call(as(reader.Text, http.MethodGet, "/api/v1/key", "")).json(t, &own)
	if own.ID != reader.ID || own.Name != "archive" || !slices.Equal(own.Scopes, []string{"read"}) || !own.InForce {
		t.Errorf("its own settings: %+v", own)
	}

	writer := s.newKey(t, s.info.APIKey, "/api/v1/keys", `{"name":"desk"}`)
	once := as(s.info.APIKey, http.MethodPost, "/api/v1/keys", `{"name":"once"}`)
	once.header["Idempotency-Key"] = "one key"
	var made api.IssuedKey
	s.call(once).json(t, &made)
	for body, code := range map[string]string{`{"name":"once"}`: "conflict",
		`{"name":"another"}`: "idempotency_conflict"} {
		t.Run(code, func(t *testing.T) {
			once.body = strings.NewReader(body)
			if r := s.call(once); r.status != http.StatusConflict || r.problem(t) != code || code == "conflict" &&
				!strings.Contains(string(r.body), made.ID) {
				t.Errorf("%s with the same idempotency key: %d %s", body, r.status, r.body)
			}
		})
	}
	next := s.newKey(t, s.info.APIKey, "/api/v1/keys/"+writer.ID+"/rotate", "")
	for _, k := range []api.IssuedKey{writer, next} { // both work while systems change over
		if r := s.call(as(k.Text, http.MethodPost, "/api/v1/records", digest())); r.status != http.StatusCreated {
			t.Errorf("%s: %d %s", k.ID, r.status, r.body)
		}
	}
	if r := s.call(as(s.info.APIKey, http.MethodDelete, "/api/v1/keys/"+writer.ID,
		"")); r.status != http.StatusNoContent {
		t.Errorf("ending a key: %d %s", r.status, r.body)
	}
	s.shutsOut(t, writer.Text)
	s.refusedKeys(t, reader.ID)
	if other := s.otherAgencyKey(t); s.call(as(other, http.MethodDelete, "/api/v1/keys/"+reader.ID,
		"")).status != http.StatusForbidden {
		t.Error("a key without the scope ends another agency's key")
	}
	s.stop()
	for _, text := range []string{reader.Text, writer.Text, next.Text} {
		if strings.Contains(s.log.String(), text) {
			t.Error("a key is in the log")
		}
	}
}

// shutsOut waits until a key that was ended is refused, which the cache puts off.
func (s *server) shutsOut(t testing.TB, key string) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for s.call(as(key, http.MethodGet, "/api/v1/key", "")).status != http.StatusUnauthorized {
		if time.Now().After(deadline) {
			t.Fatal("an ended key still works")
		}
	}
}

// refusedKeys are settings that no key gets.
func (s *server) refusedKeys(t *testing.T, known string) {
	t.Helper()
	for body, field := range map[string]string{`{"name":"x","scopes":["all"]}`: "scopes",
		`{"name":"x","scopes":[]}`: "scopes", `{"name":"x","networks":["10.0.0.1/8"]}`: "networks",
		`{"name":"x","expiresAt":"2020-01-01T00:00:00Z"}`: "expiresAt"} {
		t.Run(body, func(t *testing.T) {
			r := s.call(as(s.info.APIKey, http.MethodPost, "/api/v1/keys", body))
			var p api.Problem
			r.json(t, &p)
			// by us, or by the description
			named := p.Field == field || strings.Contains(string(r.body), `"field":"body.`+field)
			if r.status != http.StatusUnprocessableEntity || !named {
				t.Errorf("%s: %d %s", body, r.status, r.body)
			}
		})
	}
	for path, body := range map[string]string{"/api/v1/keys/nobody/rotate": "", "/api/v1/keys/" + known +
		"/rotate": `{"until":"2020-01-01T00:00:00Z"}`} {
		if r := s.call(as(s.info.APIKey, http.MethodPost, path, body)); r.status != http.StatusNotFound &&
			r.status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
}

// Limits of a key that the operator made hold, and survive a restart.
func TestKeyLimits(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, site site) {
		s := site.start(t)
		made := func(args ...string) string {
			out, errs, code := site.output(t, append([]string{"apikey", "add", "--agency", demoCode, "--json"},
				args...)...)
			var k struct{ Key string }
			if err := json.Unmarshal([]byte(out), &k); err != nil || code != 0 {
				t.Fatalf("%v: %s", err, errs)
			}
			return k.Key
		}
		slow, small, away := made("--rate", "2"), made("--quota", "3", "--scopes", "write,keys"),
			made("--networks", "203.0.113.0/24")
		if r := s.call(as(away, http.MethodGet, "/api/v1/key", "")); r.status != http.StatusForbidden {
			t.Errorf("from another network: %d %s", r.status, r.body)
		}
		for i, want := range []int{200, 200, 429} {
			if r := s.call(as(slow, http.MethodGet, "/api/v1/key", "")); r.status != want || want == 429 &&
				(r.header.Get("Retry-After") != "60" || r.problem(t) != "rate_limited") {
				t.Errorf("request %d: %d %v %s", i, r.status, r.header, r.body)
			}
		}
		batch := func(n int) string {
			items := make([]string, n)
			for i := range items {
				items[i] = fmt.Sprintf(`{"sm3":%q,"size":1,"idempotencyKey":"quota-%d"}`, strings.Repeat("0", 63)+
					fmt.Sprint(i), i)
			}
			return `{"records":[` + strings.Join(items, ",") + `]}`
		}
		// repetitions are free, as long as there is room for them
		for _, c := range []struct{ n, want int }{{4, 429}, {2, 200}, {1, 200}, {1, 200}, {2, 429}} {
			if r := s.call(as(small, http.MethodPost, "/api/v1/records/batch", batch(c.n))); r.status != c.want {
				t.Errorf("a batch of %d: %d %s", c.n, r.status, r.body)
			}
		}
		last := `{"sm3":"` + newDigest() + `","size":1}`
		if r := s.call(as(small, http.MethodPost, "/api/v1/records", last)); r.status != http.StatusCreated {
			t.Errorf("the last of the day: %d %s", r.status, r.body)
		}
		again := s.newKey(t, small, "/api/v1/keys", `{"name":"again","scopes":["write"]}`) // no way around the quota
		one := `{"sm3":"` + newDigest() + `","size":1}`
		if r := s.call(as(again.Text, http.MethodPost, "/api/v1/records", one)); r.status != 429 ||
			r.problem(t) != "quota_exceeded" {
			t.Errorf("a key made by one whose quota is spent: %d %s", r.status, r.body)
		}
		fresh := strings.Split(made("--scopes", "write"), "_")[1]
		if r := s.call(as(small, http.MethodPost, "/api/v1/keys/"+fresh+"/rotate",
			"")); r.status != http.StatusForbidden {
			t.Errorf("rotating a key with a quota of its own: %d %s", r.status, r.body)
		}
		wide := strings.Split(s.info.APIKey, "_")[1]
		if r := s.call(as(small, http.MethodDelete, "/api/v1/keys/"+wide, "")); r.status != http.StatusForbidden {
			t.Errorf("ending a key with more scopes: %d %s", r.status, r.body)
		}
		s.stop()
		s = site.start(t)
		if r := s.call(as(small, http.MethodPost, "/api/v1/records", one)); r.status != 429 {
			t.Errorf("after a restart: %d %s", r.status, r.body)
		}
		if out, _, _ := site.output(t, "apikey", "list", "--agency", demoCode); strings.Count(out, "last used") < 3 {
			t.Errorf("the list does not say when keys were used:\n%s", out)
		}
	})
}
