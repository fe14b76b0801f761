package console_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"stele/crypto/sm"
	"stele/notary/office/people"
	"stele/storage/storagetest"
)

// asScript sends a form as a script of the page does.
func (p *person) asScript(path string, form url.Values) answer {
	p.o.t.Helper()
	return p.script(http.MethodPost, path, map[string]string{"Content-Type": "application/x-www-form-urlencoded"},
		strings.NewReader(form.Encode()))
}

// send sends a file in pieces and returns the id of the upload.
func (p *person) send(name string, content []byte, pieces int) string {
	p.o.t.Helper()
	a := p.script(http.MethodPost, "/console/uploads", map[string]string{"Upload-Length": fmt.Sprint(len(content)),
		"Upload-Metadata": "filename " + base64.StdEncoding.EncodeToString([]byte(name))}, nil)
	if a.status != http.StatusCreated {
		p.o.t.Fatalf("%d %s", a.status, a.body)
	}
	at := a.header.Get("Location")
	for i := range pieces {
		from, to := len(content)*i/pieces, len(content)*(i+1)/pieces
		a := p.script(http.MethodPatch, at, map[string]string{"Content-Type": "application/offset+octet-stream",
			"Upload-Offset": fmt.Sprint(from)}, bytes.NewReader(content[from:to]))
		if a.status != http.StatusNoContent || a.header.Get("Upload-Offset") != fmt.Sprint(to) {
			p.o.t.Fatalf("%d %v %s", a.status, a.header, a.body)
		}
	}
	return at[strings.LastIndex(at, "/")+1:]
}

func TestUploads(t *testing.T) {
	o := openOffice(t, false)
	t.Run("one paper", o.onePaper)
	t.Run("known", o.known)
	t.Run("plain form", o.plainForm)
}

// What arrived becomes one paper however often and by how many it is asked for; the trail
// tells that it began, and by whom, and not of its pieces; each piece keeps the session alive.
func (o *office) onePaper(t *testing.T) {
	o.t = t
	p := o.as("clerk")
	db := storagetest.Raw(t, o.in.Config.Database)
	expiry := func() (at int64) {
		fatalIfErr(t, db.GetContext(t.Context(), &at, `SELECT max(expires_at) FROM sessions`))
		return at
	}
	storagetest.MustExec(t, db, 1, `UPDATE sessions SET expires_at = $1, seen_at = 1`,
		time.Now().Add(time.Minute).UnixMicro())
	content := noise(5000)
	id := p.send("关于\u202e办公 .pdf", content, 4)
	if left := time.Until(time.UnixMicro(expiry())); left < 20*time.Minute {
		t.Errorf("an upload leaves the session %s", left)
	}
	take := url.Values{"upload": {id}, "class": {"general"}}
	var wg sync.WaitGroup
	answers := make([]answer, 4)
	for i := range answers {
		wg.Go(func() {
			for answers[i] = p.asScript("/console/papers/take", take); answers[i].status == http.StatusConflict &&
				strings.Contains(answers[i].body, "not_ready"); {
				answers[i] = p.asScript("/console/papers/take", take)
			}
		})
	}
	wg.Wait()
	for _, a := range append(answers, p.asScript("/console/papers/take", take)) {
		if a.status != http.StatusOK || a.body != answers[0].body {
			t.Errorf("%d %s, and %s", a.status, a.body, answers[0].body)
		}
	}
	got := o.papers()[sm.Sum(content)]
	if got.Title != "关于办公" || got.FileName != "关于办公 .pdf" || got.Maker.Name != "王经办" || got.Class != "general" {
		t.Errorf("the paper: %+v", got)
	}
	if a := p.asScript("/console/papers/take",
		url.Values{"upload": {id + "x"}, "class": {"general"}}); a.status != http.StatusNotFound {
		t.Errorf("an upload that is not: %d %s", a.status, a.body)
	}
	events, err := o.people.AuditEvents(t.Context(), people.AuditFilter{AgencyID: o.agency.ID, Login: "clerk",
		Limit: 100})
	fatalIfErr(t, err)
	count := map[people.Action]int{}
	for _, d := range events {
		count[d.Act]++
		if d.Act == "upload_begin" && d.Detail != "file=关于\u202e办公 .pdf; size=5000" {
			t.Errorf("the trail says %q", d.Detail)
		}
	}
	if count["upload_begin"] != 1 || count["paper_take"] < 2 || len(count) != 3 { // and the sign-in
		t.Errorf("the trail has %v", count)
	}
	neighbour := o.as("neighbour")
	if a := neighbour.asScript("/console/papers/take", url.Values{"upload": {p.send("a.txt", content, 1)},
		"class": {"general"}}); a.status != http.StatusNotFound {
		t.Errorf("another agency takes it: %d %s", a.status, a.body)
	}
}

// A page asks only about its own agency, and is told what it can act on.
func (o *office) known(t *testing.T) {
	o.t = t
	p, neighbour := o.as("clerk"), o.as("neighbour")
	rec := o.notarize("已登记")
	digest, none := sm.Sum([]byte("已登记")).String(), sm.Sum(nil).String()
	var out struct {
		Known map[string]struct{ Href, Name, Text string }
	}
	a := p.asScript("/console/known", url.Values{"sm3": {digest, none}})
	fatalIfErr(t, json.Unmarshal([]byte(a.body), &out))
	if k := out.Known[digest]; len(out.Known) != 1 || k.Name != rec.Number || k.Href != "/console/records/"+
		rec.Number || !strings.Contains(k.Text, rec.Number) {
		t.Errorf("%s", a.body)
	}
	if a := neighbour.asScript("/console/known", url.Values{"sm3": {digest}}); a.status != http.StatusOK ||
		strings.Contains(a.body, rec.Number) {
		t.Errorf("another agency is told: %d %s", a.status, a.body)
	}
	for name, form := range map[string]url.Values{"many": {"sm3": make([]string, 101)}, "no digest": {"sm3": {"x"}}} {
		t.Run(name, func(t *testing.T) {
			if a := p.asScript("/console/known", form); a.status != http.StatusUnprocessableEntity {
				t.Errorf("%s: %d %s", name, a.status, a.body)
			}
		})
	}
}

// plain sends a form with a file as a browser without scripts does.
func (p *person) plain(token, once, name string, file io.Reader) answer {
	p.o.t.Helper()
	r, w := io.Pipe()
	form := multipart.NewWriter(w)
	go func() {
		for k, v := range map[string]string{"form": token, "once": once, "class": "general"} {
			_ = form.WriteField(k, v)
		}
		part, _ := form.CreateFormFile("document", name)
		_, _ = io.Copy(part, file)
		w.CloseWithError(form.Close())
	}()
	req, err := http.NewRequest(http.MethodPost, p.o.URL+"/console/upload", r)
	fatalIfErr(p.o.t, err)
	req.Header.Set("Content-Type", form.FormDataContentType())
	return p.do(req)
}

// A form without scripts makes one paper, also when it is sent twice; what is not from our
// page, or too large, makes none and leaves nothing behind.
func (o *office) plainForm(t *testing.T) {
	o.t = t
	before := len(o.papers())
	p := o.as("clerk")
	for range 2 {
		if a := p.plain(p.form, "once", "a\r\nSet-Cookie: x=1.pdf",
			strings.NewReader("公文")); a.status != http.StatusSeeOther ||
			strings.Contains(strings.Join(a.header.Values("Set-Cookie"), ";"), "x=1") {
			t.Errorf("%d %v %s", a.status, a.header, a.body)
		}
	}
	if a := p.plain("another", "other", "b.pdf", strings.NewReader("公文二")); a.status != http.StatusForbidden {
		t.Errorf("a foreign form: %d", a.status)
	}
	if a := p.plain(p.form, "empty", "", strings.NewReader("")); a.status != http.StatusUnprocessableEntity {
		t.Errorf("no file: %d %s", a.status, a.body)
	}
	req, err := http.NewRequest(http.MethodPost, o.URL+"/console/upload", strings.NewReader("no form"))
	fatalIfErr(t, err)
	if a := p.do(req); a.status != http.StatusBadRequest {
		t.Errorf("no form at all: %d", a.status)
	}
	if a := p.plain(p.form, "large", "c.pdf",
		io.LimitReader(zeros{}, 64<<20+1)); a.status != http.StatusUnprocessableEntity ||
		!strings.Contains(a.body, "too large for this form") {
		t.Errorf("a large file: %d %.300s", a.status, a.body)
	}
	if n := len(o.papers()) - before; n != 1 {
		t.Errorf("%d papers", n)
	}
	left := 0 // but the one that another agency tried to take
	fatalIfErr(t, storagetest.Raw(t, o.in.Config.Database).GetContext(t.Context(), &left,
		`SELECT count(*) FROM uploads`))
	if left != 1 {
		t.Errorf("%d uploads are left", left)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }
