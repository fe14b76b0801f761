package main

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/emmansun/gmsm/smx509"

	"stele/crypto/sm"
	"stele/notary/proof/statement"
	"stele/server/http/api"
)

// calls brings about every status that the description names.
func (c *contract) calls(t *testing.T) {
	key, other := c.info.APIKey, c.otherAgencyKey(t)
	post := func(path, body string) request { return as(key, http.MethodPost, path, body) }
	get := func(path string) request { return as(key, http.MethodGet, path, "") }
	raw := func(r request, contentType string) request { r.header["Content-Type"] = contentType; return r }
	digest := func() string { return `{"sm3":"` + newDigest() + `","size":1}` }
	plain := func(r request) request { r.header["Authorization"] = ""; return r }

	var rec, second record
	c.want(fileRequest([]byte("%PDF-1.4 contract"), `{"title":"A","reference":"r"}`, "file"), 201).json(t, &rec)
	c.want(post("/api/v1/records?wait=anchored", digest()), 201).json(t, &second)
	c.createRefusals(post, raw, digest)

	c.want(post("/api/v1/records/batch", `{"records":[`+digest()+`,{"sm3":"x"}]}`), 200)
	c.want(post("/api/v1/records/batch", `{`), 400)
	c.want(raw(post("/api/v1/records/batch", `{}`), "text/plain"), 415)
	c.want(post("/api/v1/records/batch", `{"records":[]}`), 422)
	c.want(post("/api/v1/records/batch", `{"records":[],"pad":"`+strings.Repeat("a", 33<<20)+`"}`), 413)

	for _, path := range []string{"", "/bundle", "/document", "/certificate", "/evidence"} {
		c.want(get("/api/v1/records/"+rec.ID+path), 200)
		c.want(get("/api/v1/records/nobody"+path), 404)
		c.want(get("/api/v1/records/"+strings.Repeat("a", 65)+path), 422)
	}
	for with, status := range map[string]int{second.Number: 200, "420100-2020-00000001-8": 404, "size:9999": 404,
		"size:0": 422, "size:01": 422, "size:x": 422, "size:18446744073709551616": 422, "nobody": 422, second.ID: 422,
		strings.Repeat("a", 65): 422} {
		c.want(get("/api/v1/records/"+second.ID+"/bundle?with="+with), status)
	}
	for root, status := range map[string]int{"root": 200, strings.Repeat("0", 64): 404, "x": 422} {
		c.want(get("/api/v1/crl/"+root), status)
	}
	c.want(get("/api/v1/records?limit=1"), 200)
	c.want(get("/api/v1/records?limit=0"), 422)
	c.want(post("/api/v1/records/bundles", fmt.Sprintf(`{"records":[%q]}`, rec.ID)), 200)
	c.want(post("/api/v1/records/bundles", `{"records":[]}`), 422)
	c.want(post("/api/v1/records/"+second.ID+"/revoke", `{"reason":"No."}`), 200)
	c.want(post("/api/v1/records/"+second.ID+"/revoke", `{"reason":"No."}`), 409)
	c.want(post("/api/v1/records/nobody/revoke", `{"reason":"No."}`), 404)
	c.want(post("/api/v1/records/"+rec.ID+"/revoke", `{"reason":""}`), 422)
	c.want(post("/api/v1/records/"+second.ID+"/erase", `{"all":true,"reason":"No."}`), 200)
	c.want(post("/api/v1/records/"+second.ID+"/erase", `{"reason":"No."}`), 422)
	c.want(post("/api/v1/records/nobody/erase", `{"all":true,"reason":"No."}`), 404)

	c.badBodies(rec.ID)
	c.keyCalls(t, other)
	c.webhookCalls(t)
	c.homeCalls(t, raw, digest)
	c.uploadCalls(post)
	c.publicCalls(rec)

	// Whoever has no key, or one without the right, gets nothing anywhere.
	weak := c.newKey(t, key, "/api/v1/keys", `{"name":"weak","scopes":["webhooks"]}`).Text
	weaker := c.newKey(t, key, "/api/v1/keys", `{"name":"weaker","scopes":["read"]}`).Text
	for path, item := range c.doc.Paths.Map() {
		for method, op := range item.Operations() {
			if op.Security == nil {
				continue
			}
			at := strings.NewReplacer("{id}", rec.ID, "{delivery}", rec.ID).Replace(path)
			c.want(plain(as("", method, at, "{}")), 401)
			if op.Responses.Status(403) != nil && path != "/api/v1/key" {
				if res, err := c.holds(as(weak, method, at, "{}")); err != nil || res.status != 403 {
					c.want(as(weaker, method, at, "{}"), 403)
				}
			}
		}
	}
}

func (c *contract) createRefusals(post func(path, body string) request, raw func(request, string) request,
	digest func() string) {
	c.t.Helper()
	for _, path := range []string{"/api/v1/records"} {
		c.want(post(path, "{"), 400)
		c.want(raw(post(path, "x"), "text/plain"), 415)
		c.want(post(path, `{"sm3":"00"}`), 422)
		large := fileRequest(make([]byte, 100_001), `{}`, "")
		large.path = path
		c.want(large, 413)
	}
	conflict := post("/api/v1/records", digest())
	conflict.header["Idempotency-Key"] = "file"
	c.want(conflict, 409)
}

// badBodies sends to every operation that takes JSON what is none.
func (c *contract) badBodies(id string) {
	c.t.Helper()
	for path, item := range c.doc.Paths.Map() {
		for method, op := range item.Operations() {
			if op.RequestBody == nil || op.RequestBody.Value.Content["application/json"] == nil {
				continue
			}
			key := c.info.APIKey
			if op.Security == nil {
				key = "none"
			}
			at := strings.NewReplacer("{id}", id, "{delivery}", id).Replace(path)
			c.want(as(key, method, at, "{"), 400)
			text := as(key, method, at, "x")
			text.header["Content-Type"] = "text/plain"
			c.want(text, 415)
			c.want(as(key, method, at, `{"pad":"`+strings.Repeat("a", 33<<20)+`"}`), 413)
		}
	}
}

// webhookCalls are those of an agency that is told what becomes of its records.
func (c *contract) webhookCalls(t *testing.T) {
	t.Helper()
	const hooks = "/api/v1/webhooks"
	call := func(method, path, body string) request { return as(c.info.APIKey, method, hooks+path, body) }
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(receiver.Close)
	var hook struct{ ID string }
	c.want(call("POST", "", fmt.Sprintf(`{"url":%q,"events":["record.logged"]}`, receiver.URL)), 201).json(t, &hook)
	c.want(call("POST", "", `{"url":"http://192.0.2.1/","events":["record.logged"]}`), 422)
	c.want(call("GET", "", ""), 200)
	c.want(call("GET", "?limit=0", ""), 422)
	c.want(call("GET", "/sample", ""), 200)
	for _, at := range []string{"/" + hook.ID, "/nobody", "/" + strings.Repeat("a", 65)} {
		status := map[string]int{"/" + hook.ID: 200, "/nobody": 404}[at]
		if status == 0 {
			status = 422
		}
		issued, accepted := status, status
		if status == 200 {
			issued, accepted = 201, 202
		}
		c.want(call("GET", at, ""), status)
		c.want(call("PATCH", at, `{"events":["record.anchored"]}`), status)
		c.want(call("POST", at+"/secret", ""), issued)
		c.want(call("POST", at+"/test", ""), accepted)
		c.want(call("GET", at+"/deliveries", ""), status)
		c.want(call("POST", at+"/replay", `{"since":"2026-01-01T00:00:00Z"}`), accepted)
	}
	var sent struct{ Deliveries []struct{ ID string } }
	c.want(call("GET", "/"+hook.ID+"/deliveries", ""), 200).json(t, &sent)
	replay := "/" + hook.ID + "/deliveries/" + sent.Deliveries[0].ID + "/replay"
	c.want(call("POST", replay, ""), 202)
	c.want(call("POST", "/"+hook.ID+"/deliveries/nothing/replay", ""), 404)
	c.want(call("POST", "/"+hook.ID+"/deliveries/"+strings.Repeat("a", 200)+"/replay", ""), 422)
	c.want(call("PATCH", "/"+hook.ID, `{"enabled":false}`), 200)
	c.want(call("POST", replay, ""), 409)
	c.want(call("POST", "/"+hook.ID+"/replay", `{"since":"2026-01-01T00:00:00Z"}`), 409)
	c.want(call("POST", "/"+hook.ID+"/test", ""), 409)
	for i := 0; ; i++ { // up to the limit of an agency's endpoints
		res, err := c.holds(call("POST", "", fmt.Sprintf(`{"url":%q,"events":["record.logged"]}`, receiver.URL)))
		if fatalIfErr(t, err); res.status == http.StatusConflict {
			break
		}
		if i > 10_000 {
			t.Fatal("an agency can have any number of endpoints")
		}
	}
	c.want(call("DELETE", "/"+strings.Repeat("a", 65), ""), 422)
	c.want(as(c.info.APIKey, "GET", "/api/v1/events", ""), 200)
	c.want(as(c.info.APIKey, "GET", "/api/v1/events?after=x", ""), 422)
	c.want(call("DELETE", "/"+hook.ID, ""), 204)
	c.want(call("DELETE", "/"+hook.ID, ""), 404)
}

func (c *contract) keyCalls(t *testing.T, other string) {
	t.Helper()
	key := c.info.APIKey
	var k api.IssuedKey
	c.want(as(key, http.MethodPost, "/api/v1/keys", `{"name":"k"}`), 201).json(t, &k)
	c.want(as(key, http.MethodPost, "/api/v1/keys", `{"name":"k","scopes":["all"]}`), 422)
	var page struct {
		Keys []api.Key
		Next string
	}
	seen := map[string]bool{}
	for next := "limit=2"; next != ""; next = "limit=2&cursor=" + page.Next {
		page.Next = ""
		c.want(as(key, http.MethodGet, "/api/v1/keys?"+next, ""), 200).json(t, &page)
		for _, k := range page.Keys {
			seen[k.ID] = true
		}
		if page.Next == "" {
			break
		}
	}
	if !seen[k.ID] || len(seen) < 2 {
		t.Errorf("the pages hold %d keys", len(seen))
	}
	c.want(as(key, http.MethodGet, "/api/v1/keys?cursor=nothing", ""), 422)
	c.want(as(key, http.MethodGet, "/api/v1/key", ""), 200)
	c.want(as(key, http.MethodPost, "/api/v1/keys/"+k.ID+"/rotate", `{"until":"2020-01-01T00:00:00Z"}`), 422)
	c.want(as(key, http.MethodPost, "/api/v1/keys/"+k.ID+"/rotate", `{}`), 201)
	c.want(as(key, http.MethodPost, "/api/v1/keys/nobody/rotate", `{}`), 404)
	c.want(as(key, http.MethodDelete, "/api/v1/keys/"+k.ID, ""), 204)
	c.want(as(key, http.MethodDelete, "/api/v1/keys/"+k.ID, ""), 404)
	c.want(as(key, http.MethodDelete, "/api/v1/keys/"+strings.Repeat("a", 65), ""), 422)
	out, errs, _ := c.output(t, "apikey", "add", "--agency", demoCode, "--networks", "203.0.113.0/24", "--json")
	var away struct{ Key string }
	if err := json.Unmarshal([]byte(out), &away); err != nil {
		t.Fatal(errs)
	}
	c.want(as(away.Key, http.MethodGet, "/api/v1/key", ""), 403)
	for i := 0; ; i++ { // up to the limit of an agency's keys
		res, err := c.holds(as(key, http.MethodPost, "/api/v1/keys", `{"name":"one of many"}`))
		if err != nil || res.status == http.StatusConflict {
			fatalIfErr(t, err)
			break
		}
		if i > 1000 {
			t.Fatal("an agency can have any number of keys")
		}
	}
	c.want(as(key, http.MethodPost, "/api/v1/keys/"+c.someKey(t)+"/rotate", `{}`), 409)
	c.endManyKeys(t)
}

// someKey is the id of a key that the limit was filled with.
func (c *contract) someKey(t *testing.T) string {
	t.Helper()
	for _, k := range c.keysInForce(t) {
		if k.Name == "one of many" {
			return k.ID
		}
	}
	t.Fatal("there is none")
	return ""
}

func (c *contract) keysInForce(t *testing.T) (in []api.Key) {
	t.Helper()
	var list struct{ Keys []api.Key }
	c.want(as(c.info.APIKey, http.MethodGet, "/api/v1/keys?limit=500", ""), 200).json(t, &list)
	for _, k := range list.Keys {
		if k.InForce {
			in = append(in, k)
		}
	}
	return in
}

func (c *contract) endManyKeys(t *testing.T) {
	t.Helper()
	for _, k := range c.keysInForce(t) {
		if k.Name == "one of many" {
			c.want(as(c.info.APIKey, http.MethodDelete, "/api/v1/keys/"+k.ID, ""), 204)
		}
	}
}

// homeCalls are those of an agency that keeps its key.
func (c *contract) homeCalls(t *testing.T, raw func(request, string) request, digest func() string) {
	t.Helper()
	key, sign := c.agencyAtHome(t)
	post := func(path, body string) request { return as(key, http.MethodPost, path, body) }
	send := func(r response) request {
		var out struct{ Prepared api.Prepared }
		r.json(t, &out)
		return post("/api/v1/records/prepared/"+out.Prepared.ID, `{"signature":"`+base64.StdEncoding.EncodeToString(
			sign(out.Prepared.Statement))+`"}`)
	}
	const prepare = "/api/v1/records/prepare"
	var rec record
	c.want(send(c.want(post(prepare, digest()), 201)), 201).json(t, &rec)
	c.want(post(prepare, "{"), 400)
	c.want(raw(post(prepare, "x"), "text/plain"), 415)
	c.want(post(prepare, `{"sm3":"00"}`), 422)
	c.want(as(c.info.APIKey, http.MethodPost, prepare, digest()), 409)
	large := fileRequest(make([]byte, 100_001), `{}`, "")
	large.path, large.header["Authorization"] = prepare, "Bearer "+key
	c.want(large, 413)

	c.want(post(prepare, `{"upload":"nobody"}`), 404)
	c.want(post("/api/v1/records/prepared/nobody", `{"signature":"AAAA"}`), 404)
	waiting := c.want(post(prepare, digest()), 201)
	wrong := send(waiting)
	wrong.body = strings.NewReader(`{"signature":"AAAA"}`)
	c.want(wrong, 422)

	revoke := "/api/v1/records/" + rec.ID + "/revoke/prepare"
	c.want(post("/api/v1/records/nobody/revoke/prepare", `{"reason":"No."}`), 404)
	c.want(post(revoke, `{"reason":""}`), 422)
	first, second := c.want(post(revoke, `{"reason":"No."}`), 201), c.want(post(revoke, `{"reason":"No, again."}`), 201)
	c.want(send(first), 201)
	c.want(send(second), 409) // withdrawn already
	c.want(as(c.info.APIKey, http.MethodPost, "/api/v1/records/"+rec.ID+"/revoke/prepare", `{"reason":"No."}`), 409)
}

// agencyAtHome adds an agency that keeps its key, and returns its API key and what signs.
func (c *contract) agencyAtHome(t *testing.T) (string, func([]byte) []byte) {
	t.Helper()
	const code = "91420100MA0KEY0018"
	private, err := sm.GenerateKey()
	fatalIfErr(t, err)
	file := t.TempDir() + "/request.der"
	fatalIfErr(t, os.WriteFile(file, requestOf(t, private), 0o600))
	if _, errs, exit := c.output(t, "agency", "add", "--code", code, "--name", "自持密钥机关", "--region", "350100", "--csr",
		file); exit != 0 {
		t.Fatal(errs)
	}
	out, errs, exit := c.output(t, "apikey", "add", "--agency", code, "--json")
	if exit != 0 {
		t.Fatal(errs)
	}
	var k struct{ Key string }
	fatalIfErr(t, json.Unmarshal([]byte(out), &k))
	return k.Key, func(statement []byte) []byte {
		sig, err := private.Sign(statement)
		fatalIfErr(t, err)
		return sig
	}
}

// publicCalls are those that need no key.
func (c *contract) publicCalls(rec record) {
	c.t.Helper()
	get := func(path string) request {
		return request{method: http.MethodGet, path: path, header: map[string]string{"Authorization": ""}}
	}
	c.want(get("/api/v1/lookup?number="+rec.Number), 200)
	c.want(get("/api/v1/chain"), 200)
	c.want(get("/api/v1/chain/epochs"), 200)
	c.want(get("/api/v1/chain/epochs?from=0"), 422)
	first := c.header(c.notarize(digestRequest(newDigest(), "", "anchored")))
	between := "/api/v1/chain/history?chain=" + first.Chain + "&from="
	c.want(get(between+fmt.Sprintf("0&to=%d", first.Index)), 200)
	c.want(get(between+"0&to=1000000"), 404)
	c.want(get(between+"1&to=0"), 422)
	c.want(get("/api/v1/lookup?number="+rec.Number+"&code=wrong"), 422)
	c.want(get("/api/v1/lookup?number="+rec.Number+"&sm3="+newDigest()), 422)
	verify := func(contentType, body string) request {
		return request{method: http.MethodPost, path: "/api/v1/verify", header: map[string]string{"Authorization": "",
			"Content-Type": contentType}, body: strings.NewReader(body)}
	}
	c.want(verify(jsonType, `{"sm3":"`+newDigest()+`"}`), 200)
	c.want(verify(jsonType, `{`), 400)
	c.want(verify(jsonType, `{"sm3":"00"}`), 422)
	c.want(verify("text/plain", "x"), 415)
	large, body := form(filePart("a.pdf", strings.Repeat("a", 100_001)))
	c.want(verify(large, body), 413)
	c.want(get("/api/v1/log/tile/x"), 422)
	c.watchCalls(get)
	for _, path := range []string{"/api/v1/log/checkpoint", "/api/v1/trust.json",
		"/api/v1/trust/successions.json", "/healthz", "/readyz"} {
		c.want(get(path), 200)
	}
}

// watchCalls are those of monitors.
func (c *contract) watchCalls(get func(path string) request) {
	c.t.Helper()
	eventually(c.t, "the log says how it stands", func() bool { return c.get("/api/v1/log/status").status == 200 })
	c.want(get("/api/v1/log/status"), 200)
	c.want(get("/api/v1/log/anchors"), 200)
	c.want(get("/api/v1/log/anchors?after=-1"), 422)
	c.want(as(c.info.APIKey, http.MethodGet, "/api/v1/entries/status", ""), 200)
	list := c.want(as(c.info.APIKey, http.MethodGet, "/api/v1/entries?from=0&limit=2", ""), 200)
	c.want(as(c.info.APIKey, http.MethodGet, "/api/v1/entries?limit=0", ""), 422)
	var own struct{ Entries []struct{ Entry []byte } }
	list.json(c.t, &own)
	e, err := statement.ParseEntry(own.Entries[0].Entry)
	fatalIfErr(c.t, err)
	c.want(get("/api/v1/log/certificates/"+e.Certificate.String()), 200)
	c.want(get("/api/v1/log/certificates/"+newDigest()), 404)
	c.want(get("/api/v1/log/certificates/x"), 422)
	c.want(as(c.auditorsKey(), http.MethodGet, "/api/v1/log/tile/entries/x", ""), 422)
}

func requestOf(t *testing.T, key *sm.PrivateKey) []byte {
	t.Helper()
	der, err := smx509.CreateCertificateRequest(rand.Reader,
		&x509.CertificateRequest{Subject: pkix.Name{CommonName: "home"}}, key.SM2())
	fatalIfErr(t, err)
	return der
}
