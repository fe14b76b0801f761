package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"stele/crypto/sm"
	"stele/notary/proof"
)

const jsonType = "application/json"

// form builds a multipart body from parts that are written as they are.
func form(parts ...string) (contentType string, body string) {
	var b strings.Builder
	for _, p := range parts {
		b.WriteString("--XX\r\n" + p + "\r\n")
	}
	return "multipart/form-data; boundary=XX", b.String() + "--XX--\r\n"
}

func part(name, content string) string {
	return `Content-Disposition: form-data; name="` + name + `"` + "\r\n\r\n" + content
}

func filePart(filename, content string) string {
	return `Content-Disposition: form-data; name="file"; filename="` + filename + `"` +
		"\r\nContent-Type: application/pdf\r\n\r\n" + content
}

// Bad input gets the right status and a clear problem document, and changes nothing.
func TestBadInput(t *testing.T) {
	t.Parallel()
	site := site{data: folder(t)}
	s := site.start(t, "--max-document", "1000000", "--max-batch", "5", "--log-level", "error")
	other := s.otherAgencyKey(t)
	rec := s.notarize(fileRequest([]byte("%PDF-1.4"), `{"title":"A"}`, "used-key"))
	d := newDigest()
	post := func(contentType, body string) request {
		return request{method: "POST", path: "/api/v1/records", header: map[string]string{"Content-Type": contentType},
			body: strings.NewReader(body)}
	}
	multi := func(parts ...string) request { ct, body := form(parts...); return post(ct, body) }
	digest := func(extra string) request { return post(jsonType, `{"sm3":"`+d+`","size":1`+extra+`}`) }
	with := func(r request, k, v string) request { r.header[k] = v; return r }
	for _, c := range []struct {
		name   string
		r      request
		status int
		code   string
		says   string
	}{
		{"no key", with(digest(""), "Authorization", ""), 401, "unauthorized", "Bearer"},
		{"wrong key", with(digest(""), "Authorization", "Bearer stele_abcdefghijkl_"+strings.Repeat("A", 43)), 401,
			"unauthorized", "Bearer"},
		{"key with a changed character",
			with(digest(""), "Authorization", "Bearer "+s.info.APIKey[:len(s.info.APIKey)-1]+"!"), 401, "unauthorized",
			"Bearer"},
		{"basic auth", with(digest(""), "Authorization", "Basic Zm9vOmJhcg=="), 401, "unauthorized", "Bearer"},
		{"another agency's record", request{method: "GET", path: "/api/v1/records/" + rec.ID,
			header: map[string]string{"Authorization": "Bearer " + other}}, 404, "not_found", "no such record"},
		{"another agency's bundle", request{method: "GET", path: "/api/v1/records/" + rec.ID + "/bundle",
			header: map[string]string{"Authorization": "Bearer " + other}}, 404, "not_found", "no such record"},
		{"another agency's document", request{method: "GET", path: "/api/v1/records/" + rec.Number + "/document",
			header: map[string]string{"Authorization": "Bearer " + other}}, 404, "not_found", "no such record"},
		{"revoking another agency's record", request{method: "POST", path: "/api/v1/records/" + rec.ID + "/revoke",
			header: map[string]string{"Authorization": "Bearer " + other, "Content-Type": jsonType},
			body:   strings.NewReader(`{"reason":"no"}`)}, 404, "not_found", "no such record"},
		{"superseding another agency's record", with(digest(`,"supersedes":"`+rec.Number+`"`), "Authorization",
			"Bearer "+other), 422, "invalid_request", "not one of this agency's"},
		{"too large", fileRequest(make([]byte, 1_000_001), `{}`, ""), 413, "too_large", "1000000 bytes"},
		{"too large as announced", multi(part("record", `{"size":1000001}`), filePart("a.pdf", "x")), 413, "too_large",
			"1000000 bytes"},
		{"file before record", multi(filePart("a.pdf", "x"), part("record", `{}`)), 422, "invalid_request",
			"'record', then 'file'"},
		{"no file", multi(part("record", `{}`)), 422, "invalid_request", "missing"},
		{"no record", multi(filePart("a.pdf", "x")), 422, "invalid_request", "'record', then 'file'"},
		{"two files", multi(part("record", `{}`), filePart("a.pdf", "x"), filePart("b.pdf", "y")), 422,
			"invalid_request", "another part"},
		{"two records", multi(part("record", `{}`), part("record", `{}`), filePart("a.pdf", "x")), 422,
			"invalid_request", "'record', then 'file'"},
		{"cut multipart", post("multipart/form-data; boundary=XX", "--XX\r\n"+part("record", `{}`)+"\r\n--XX\r\n"+
			filePart("a.pdf", "x")), 400, "malformed_request", "did not arrive whole"},
		{"no boundary", post("multipart/form-data", "x"), 400, "malformed_request", "boundary"},
		{"other media type", post("text/plain", "x"), 415, "unsupported_media", "multipart/form-data"},
		{"no media type", with(post(jsonType, "x"), "Content-Type", ""), 415, "unsupported_media",
			"multipart/form-data"},
		{"unknown field", digest(`,"titel":"A"`), 422, "invalid_request", "no such field"},
		{"wrong type", digest(`,"title":7`), 422, "invalid_request", "a string"},
		{"misspelt parameter", request{method: "GET", path: "/api/v1/records?standng=valid",
			header: map[string]string{}}, 422, "invalid_request", "no such parameter"},
		{"misspelt event", request{method: "GET", path: "/api/v1/events?types=record.anchord",
			header: map[string]string{}}, 422, "invalid_request", "record.anchored"},
		{"bad JSON", post(jsonType, `{"sm3":`), 400, "malformed_request", "JSON"},
		{"empty body", post(jsonType, ``), 400, "malformed_request", "JSON"},
		{"two objects", post(jsonType, `{"sm3":"`+d+`","size":1}{}`), 400, "malformed_request", "JSON"},
		{"huge JSON", digest(`,"title":"` + strings.Repeat("x", 300<<10) + `"`), 413, "too_large", "JSON"},
		{"invalid UTF-8", digest(`,"title":"` + "\xff" + `"`), 400, "malformed_request", "UTF-8"},
		{"bad digest", post(jsonType, `{"sm3":"abc","size":1}`), 422, "invalid_request", "64 lower-case"},
		{"upper-case digest", post(jsonType, `{"sm3":"`+strings.Repeat("A", 64)+`","size":1}`), 422, "invalid_request",
			"64 lower-case"},
		{"no size", post(jsonType, `{"sm3":"`+d+`"}`), 422, "invalid_request", "size in bytes"},
		{"negative size", post(jsonType, `{"sm3":"`+d+`","size":-1}`), 422, "invalid_request", ""},
		{"overlong title", digest(`,"title":"` + strings.Repeat("长", 101) + `"`), 422, "invalid_request", "title"},
		{"control character in title", digest(`,"title":"a\nb"`), 422, "invalid_request", "control"},
		{"path as file name", digest(`,"filename":"../../etc/passwd"`), 422, "invalid_request", "no path"},
		{"backslash in file name", digest(`,"filename":"a\\b"`), 422, "invalid_request", "no path"},
		{"path in the file part", multi(part("record", `{}`), filePart("../a.pdf", "x")), 422, "invalid_request",
			"no path"},
		{"bad class", digest(`,"class":"A b"`), 422, "invalid_request", "class"},
		{"bad number", digest(`,"supersedes":"420100-2026-00000000-0"`), 422, "invalid_request", "check character"},
		{"unknown number", digest(`,"supersedes":"110000-2020-00000000-0"`), 422, "invalid_request", ""},
		{"reserved field", digest(`,"fields":{"originSystem":"x"}`), 422, "invalid_request", "reserved"},
		{"bad field name", digest(`,"fields":{"a b":"x"}`), 422, "invalid_request", "Field names"},
		{"too many fields", digest(`,"fields":{` + manyFields(61) + `}`), 422, "invalid_request", "At most"},
		{"huge field", digest(`,"fields":{"a":"` + strings.Repeat("x", 5000) + `"}`), 422, "invalid_request",
			"4096 bytes"},
		{"bad media type", digest(`,"mediaType":"PDF"`), 422, "invalid_request", "type/subtype"},
		{"digest mismatch", multi(part("record", `{"sm3":"`+d+`"}`), filePart("a.pdf", "x")), 422, "digest_mismatch",
			"Nothing was saved"},
		{"size mismatch", multi(part("record", `{"size":5}`), filePart("a.pdf", "x")), 422, "invalid_request",
			"not the 5"},
		{"used idempotency key", with(digest(""), "Idempotency-Key", "used-key"), 409, "idempotency_conflict",
			"another request"},
		{"overlong idempotency key", with(digest(""), "Idempotency-Key", strings.Repeat("k", 129)), 422,
			"invalid_request", ""},
		{"unknown record", request{method: "GET", path: "/api/v1/records/01a203d6-7958-7b1c-8546-ec51db95bab3"}, 404,
			"not_found", "no such record"},
		{"strange id", request{method: "GET", path: "/api/v1/records/%00%27;--"}, 404, "not_found", ""},
		{"bad cursor", request{method: "GET", path: "/api/v1/records?cursor=abc"}, 422, "invalid_request", "cursor"},
		{"bad limit", request{method: "GET", path: "/api/v1/records?limit=0"}, 422, "invalid_request", ""},
		{"empty reason", request{method: "POST", path: "/api/v1/records/" + rec.ID + "/revoke",
			header: map[string]string{"Content-Type": jsonType}, body: strings.NewReader(`{"reason":""}`)}, 422,
			"invalid_request", ""},
		{"reason with control character", request{method: "POST", path: "/api/v1/records/" + rec.ID + "/revoke",
			header: map[string]string{"Content-Type": jsonType}, body: strings.NewReader(`{"reason":"a\u0007"}`)}, 422,
			"invalid_request", "reason"},
		{"batch too long", request{method: "POST", path: "/api/v1/records/batch",
			header: map[string]string{"Content-Type": jsonType},
			body:   strings.NewReader(`{"records":[{},{},{},{},{},{}]}`)}, 422, "invalid_request", "1 to 5"},
		{"empty batch", request{method: "POST", path: "/api/v1/records/batch",
			header: map[string]string{"Content-Type": jsonType}, body: strings.NewReader(`{"records":[]}`)}, 422,
			"invalid_request", "1 to 5"},
		{"entries tile", request{method: "GET", path: "/api/v1/log/tile/entries/000"}, 403, "forbidden", "audit"},
		{"strange tile", request{method: "GET", path: "/api/v1/log/tile/0/../../instance.json"}, 422, "invalid_request",
			"tile"},
		{"bad tile", request{method: "GET", path: "/api/v1/log/tile/0/7"}, 422, "invalid_request", "tile"},
		{"tile to come", request{method: "GET", path: "/api/v1/log/tile/0/x009/999"}, 404, "not_found", "no such tile"},
		{"lookup of nothing", request{method: "GET", path: "/api/v1/lookup"}, 422, "invalid_request", "either"},
		{"lookup with a wrong code", request{method: "GET", path: "/api/v1/lookup?number=" + rec.Number +
			"&code=00000000"}, 422, "invalid_request", "does not belong"},
		{"no such address", request{method: "GET", path: "/api/v1/nothing"}, 404, "not_found", ""},
		{"wrong method", request{method: "DELETE", path: "/api/v1/records"}, 405, "malformed_request", "method"},
	} {
		t.Run(c.name, func(t *testing.T) { s.refuses(t, c.r, c.status, c.code, c.says) })
	}
	var list struct{ Records []record }
	s.get("/api/v1/records?limit=500").json(t, &list)
	if len(list.Records) != 1 {
		t.Errorf("%d records after bad input, want the one good", len(list.Records))
	}
	s.stop()
	if res := site.fsck(t); res.Entries != 1 || res.Orphans != 0 {
		t.Errorf("bad input left something behind: %+v", res)
	}
}

func manyFields(n int) string {
	var l []string
	for i := range n {
		l = append(l, fmt.Sprintf(`"f%d":"x"`, i))
	}
	return strings.Join(l, ",")
}

func (s *server) refuses(t *testing.T, r request, status int, code, says string) {
	t.Helper()
	res := s.call(r)
	var p struct {
		Type, Title, Code, Detail string
		Status                    int
		Errors                    []struct{ Field, Detail string }
	}
	if err := json.Unmarshal(res.body, &p); err != nil {
		t.Fatalf("%d %s: %v", res.status, res.body, err)
	}
	text := p.Detail + fmt.Sprint(p.Errors)
	if res.status != status || p.Status != status || p.Code != code || !strings.Contains(text, says) || p.Title == "" ||
		p.Type == "" {
		t.Errorf("got %d %s, want %d %s with %q", res.status, res.body, status, code, says)
	}
	if ct := res.header.Get("Content-Type"); ct != "application/problem+json" {
		t.Errorf("media type %q", ct)
	}
	if status == http.StatusUnauthorized && res.header.Get("WWW-Authenticate") == "" {
		t.Error("no WWW-Authenticate")
	}
}

func (s *server) otherAgencyKey(t *testing.T) string {
	t.Helper()
	const code = "91350100M000100Y43"
	if _, errs, exit := s.output(t, "agency", "add", "--code", code, "--name", "Another Agency", "--region",
		"350100"); exit != 0 {
		t.Fatal(errs)
	}
	out, errs, exit := s.output(t, "apikey", "add", "--agency", code, "--json")
	if exit != 0 {
		t.Fatal(errs)
	}
	var key struct{ Key string }
	fatalIfErr(t, json.Unmarshal([]byte(out), &key))
	return key.Key
}

// The good cases beside the bad ones: an empty file, repeats, revocation, replacement,
// attributes and who sees them.
func TestRecordLife(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, site site) {
		t.Parallel()
		s := site.start(t)
		empty := s.notarize(fileRequest(nil, `{"title":"空文件"}`, "k1"))
		if empty.Document.SM3 != sm.Sum(nil).String() || empty.Document.Size != 0 {
			t.Errorf("empty file: %+v", empty)
		}
		again := s.call(fileRequest(nil, `{"title":"空文件"}`, "k1"))
		var replay record
		again.json(t, &replay)
		if again.status != http.StatusCreated || replay.ID != empty.ID ||
			again.header.Get("Idempotency-Replayed") != "true" {
			t.Errorf("replay: %d %s", again.status, again.body)
		}
		s.refuses(t, fileRequest([]byte("x"), `{"title":"空文件"}`, "k1"), 409, "idempotency_conflict", "another request")

		content := []byte("%PDF-1.7\n1 0 obj\n")
		old := s.notarize(fileRequest(content, `{"title":"旧","fields":{"caseNumber":"2026-17"}}`, ""))
		if old.Document.MediaType != "application/pdf" || old.Fields["caseNumber"] != "2026-17" ||
			old.Fields["fileName"] != "document.bin" {
			t.Errorf("%+v", old)
		}
		if doc := s.get("/api/v1/records/" + old.ID + "/document"); !bytes.Equal(doc.body, content) ||
			doc.header.Get("Content-Disposition") != "attachment; filename=document.bin" {
			t.Errorf("document: %v %q", doc.header, doc.body)
		}
		s.notarize(digestRequest(newDigest(), "", "anchored"))
		s.demand(old, proof.Genuine)
		s.lookups(t, old)

		before := s.bundle(old)
		next := s.notarize(request{method: "POST", path: "/api/v1/records?wait=anchored",
			header: map[string]string{"Content-Type": jsonType},
			body:   strings.NewReader(fmt.Sprintf(`{"sm3":%q,"size":3,"supersedes":%q}`, newDigest(), old.Number))})
		s.demand(old, proof.Superseded)
		s.demand(next, proof.Genuine)
		// A bundle from before does not know of it; the service does.
		asked := must(json.Marshal(map[string]string{"sm3": old.Document.SM3, "bundle": string(before)}))
		if res := s.call(request{method: "POST", path: "/api/v1/verify",
			header: map[string]string{"Content-Type": jsonType}, body: bytes.NewReader(asked)}); !strings.Contains(
			string(res.body), `"verdict":"superseded"`) {
			t.Errorf("with a bundle from before: %s", res.body)
		}
		s.refuses(t, request{method: "POST", path: "/api/v1/records/" + old.ID + "/revoke",
			header: map[string]string{"Content-Type": jsonType}, body: strings.NewReader(`{"reason":"late"}`)}, 409,
			"conflict", "already")
		res := s.call(request{method: "POST", path: "/api/v1/records/" + next.Number + "/revoke",
			header: map[string]string{"Content-Type": jsonType, "Idempotency-Key": "r1"},
			body:   strings.NewReader(`{"reason":"签发有误"}`)})
		if res.status != http.StatusOK {
			t.Fatalf("revoke: %d %s", res.status, res.body)
		}
		s.demand(next, proof.Revoked) // at once: the bundle waits for the log
		if r := s.verdict(next); r.Standing.Reason != "签发有误" {
			t.Errorf("%+v", r.Standing)
		}
		s.stop()
		if res := site.fsck(t); res.Records != 4 || res.Entries != 5 || res.Orphans != 0 {
			t.Errorf("%+v", res)
		}
	})
}

// lookups checks what a stranger learns: from a digest or a number alone no attribute, from
// number and code all of them.
func (s *server) lookups(t *testing.T, rec record) {
	t.Helper()
	stranger := func(query string) response {
		return s.call(request{method: "GET", path: "/api/v1/lookup?" + query,
			header: map[string]string{"Authorization": ""}})
	}
	for name, c := range map[string]struct {
		query  string
		opened bool
	}{
		"digest":          {"sm3=" + rec.Document.SM3, false},
		"number":          {"number=" + rec.Number, false},
		"number and code": {"number=" + rec.Number + "&code=" + strings.ToLower(rec.Code), true},
	} {
		t.Run(name, func(t *testing.T) {
			res := stranger(c.query)
			var found struct {
				Matches []struct {
					Record record
					Bundle string
				}
			}
			res.json(t, &found)
			if len(found.Matches) != 1 {
				t.Fatalf("%s: %s", c.query, res.body)
			}
			m := found.Matches[0]
			d, err := sm.ParseDigest(rec.Document.SM3)
			fatalIfErr(t, err)
			if r := proof.Verify(s.trust, &d, []byte(m.Bundle)); r.Verdict != proof.Genuine ||
				(len(r.Fields) > 0) != c.opened {
				t.Errorf("%s: %s with %v", c.query, r.Verdict, r.Fields)
			}
			if shows := strings.Contains(string(res.body), "2026-17"); shows != c.opened || m.Record.ID != "" ||
				m.Record.Code != "" {
				t.Errorf("%s shows %s", c.query, res.body)
			}
		})
	}
	if res := stranger("number=110000-2020-00000000-" + "0"); res.status == http.StatusOK &&
		!strings.Contains(string(res.body), `"matches":[]`) {
		t.Errorf("%d %s", res.status, res.body)
	}
	var report proof.Report
	s.call(request{method: "POST", path: "/api/v1/verify", header: map[string]string{"Authorization": "",
		"Content-Type": jsonType}, body: strings.NewReader(`{"sm3":"` + rec.Document.SM3 + `"}`)}).json(t, &report)
	if report.Verdict != proof.Genuine {
		t.Errorf("verify by digest: %+v", report)
	}
	s.call(request{method: "POST", path: "/api/v1/verify", header: map[string]string{"Authorization": "",
		"Content-Type": jsonType}, body: strings.NewReader(`{"sm3":"` + newDigest() + `"}`)}).json(t, &report)
	if report.Verdict != proof.NotFound {
		t.Errorf("verify of an unknown digest: %+v", report)
	}
}

// Records are found by the agency's own reference, and their proofs fetched together.
func TestReferencesAndBundles(t *testing.T) {
	t.Parallel()
	site := site{data: folder(t)}
	s := site.start(t)
	request := func(ref string) request {
		r := digestRequest(newDigest(), "", "logged")
		r.body = strings.NewReader(`{"sm3":"` + newDigest() + `","size":1,"reference":"` + ref + `"}`)
		return r
	}
	first, second, _ := s.notarize(request("案件 2026-17")), s.notarize(request("案件 2026-17")),
		s.notarize(request("案件 2026-18"))
	var list struct {
		Records []struct{ ID, Reference string }
	}
	s.get("/api/v1/records?reference="+url.QueryEscape("案件 2026-17")).json(t, &list)
	if len(list.Records) != 2 || list.Records[0].ID != second.ID || list.Records[1].ID != first.ID ||
		list.Records[0].Reference != "案件 2026-17" {
		t.Errorf("found %+v", list.Records)
	}
	if body := s.get("/api/v1/lookup?number=" + first.Number).body; bytes.Contains(body, []byte("2026-17")) {
		t.Errorf("a reference is shown to the public: %s", body)
	}
	res := s.call(as(s.info.APIKey, http.MethodPost, "/api/v1/records/bundles",
		fmt.Sprintf(`{"records":[%q,%q,"nobody's"]}`, second.Number, first.ID)))
	lines := strings.Split(strings.TrimSuffix(string(res.body), "\n"), "\n")
	if res.status != http.StatusOK || len(lines) != 3 || res.header.Get("Content-Type") != "application/jsonl" {
		t.Fatalf("%d %s", res.status, res.body)
	}
	for i, want := range []record{second, first} {
		var line struct{ Record, Number, Bundle string }
		fatalIfErr(t, json.Unmarshal([]byte(lines[i]), &line))
		if report := proof.Verify(s.trust, nil, []byte(line.Bundle)); line.Number != want.Number ||
			report.Number != want.Number {
			t.Errorf("line %d: %s, %s", i, line.Number, report.Summary)
		}
	}
	if !strings.Contains(lines[2], `"code":"not_found"`) {
		t.Error(lines[2])
	}
}

// A batch's results come as lines, in order, in form or not.
func TestBatchLines(t *testing.T) {
	t.Parallel()
	site := site{data: folder(t)}
	s := site.start(t)
	var items []string
	for i := range 1000 {
		item := `{"sm3":"` + newDigest() + `","size":1}`
		if i%10 == 3 {
			item = `{"sm3":"no digest"}`
		}
		items = append(items, item)
	}
	r := as(s.info.APIKey, http.MethodPost, "/api/v1/records/batch?wait=logged",
		`{"records":[`+strings.Join(items, ",")+`]}`)
	r.header["Accept"] = "application/jsonl"
	res := s.call(r)
	lines := strings.Split(strings.TrimSuffix(string(res.body), "\n"), "\n")
	if res.status != http.StatusOK || res.header.Get("Content-Type") != "application/jsonl" ||
		len(lines) != len(items) {
		t.Fatalf("%d %v, %d lines", res.status, res.header, len(lines))
	}
	for i, line := range lines {
		var one struct {
			Status int
			Record struct{ SM3 string }
		}
		fatalIfErr(t, json.Unmarshal([]byte(line), &one))
		if want := i%10 != 3; want != (one.Status == http.StatusCreated) || want &&
			!strings.Contains(items[i], one.Record.SM3) {
			t.Fatalf("line %d: %s", i, line)
		}
	}
	s.stop()
	site.fsck(t)
}
