package console_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"stele/crypto/keystore"
	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/office/people"
	"stele/server/auth"
	"stele/server/http/webtest"
	"stele/server/instance"
)

func TestMain(m *testing.M) { webtest.Main(m) }

func fatalIfErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// office is a running instance with two agencies, and a user of each role in the first.
type office struct {
	t      testing.TB
	in     *instance.Instance
	people *people.People
	URL    string
	agency notary.Agency
	other  notary.Agency
	key    string // the first agency's API key
}

const password = "correct horse battery staple"

// openOffice starts an instance. strict is one that demands second factors.
func openOffice(t testing.TB, strict bool) *office {
	t.Helper()
	return openOfficeAt(t, strict, "")
}

// openOfficeAt starts one that the world reaches at an address.
func openOfficeAt(t testing.TB, strict bool, publicURL string) *office {
	t.Helper()
	return openOfficeWith(t, instance.Config{Demo: !strict, PublicURL: publicURL})
}

// openOfficeWith starts one with settings of its own.
func openOfficeWith(t testing.TB, own instance.Config) *office {
	t.Helper()
	dir := t.TempDir()
	cfg, err := instance.Config{Data: dir, Listen: "127.0.0.1:0", Objects: "dir", Chain: "embedded",
		MaxDocument: 1 << 30, MaxPublicUpload: 1 << 20, MaxBatch: 100, MaxConnections: 256,
		MaxConnectionsPerAddress: 256,
		RequestsPerMinute:        100_000, LookupsPerMinute: 100_000, ReadTimeout: cmp.Or(own.ReadTimeout, time.Minute),
		StopTimeout: 5 * time.Second, SweepAfter: time.Hour, WebhookKeep: time.Hour, MaxUploads: 100,
		UploadExpiry: time.Hour, AuditSealEvery: 300 * time.Millisecond, Console: true, Demo: own.Demo,
		PublicURL: own.PublicURL, Clamd: own.Clamd}.Resolve()
	fatalIfErr(t, err)
	fatalIfErr(t, os.MkdirAll(cfg.Keys, 0o700))
	_, err = keystore.CreatePassphrase(filepath.Join(cfg.Keys, "passphrase"))
	fatalIfErr(t, err)
	fatalIfErr(t, instance.Init(t.Context(), cfg, instance.InitRequest{Origin: "stele.test/console",
		ChainID: "stele-test", Organization: "测试", Validator: "jiangcheng"}, time.Now()))
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	in, err := instance.Open(t.Context(), cfg, log)
	fatalIfErr(t, err)
	srv, err := instance.Listen(in, "test")
	fatalIfErr(t, err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error("the instance did not stop in order:", err)
		}
	})
	o := &office{t: t, in: in, URL: "http://" + srv.Addr()}
	add := func(code, name, region string) notary.Agency {
		a, err := in.AddAgency(t.Context(), instance.AgencyRequest{Code: code, Name: name, Region: region}, time.Now())
		fatalIfErr(t, err)
		return a
	}
	o.agency, o.other = add("11420100MB0A000016", "江城市政务服务局", "420100"), add("91350100M000100Y43", "邻城市档案馆", "350100")
	o.people, err = in.Stores.People(log)
	fatalIfErr(t, err)
	for _, r := range people.Roles {
		home := o.agency.ID
		if r == people.Operator {
			home = ""
		}
		o.addUser(home, string(r), map[people.Role]string{people.Clerk: "王经办", people.Approver: "李审批",
			people.Admin: "张管理", people.Auditor: "赵审计", people.Operator: "陈运维"}[r], r)
	}
	o.addUser(o.other.ID, "neighbour", "邻居", people.Admin)
	text, k := auth.NewKey(notary.APIKey{AgencyID: o.agency.ID, Name: "业务系统", Scopes: notary.Scopes,
		CreatedAt: time.Now()})
	fatalIfErr(t, in.DB.People.AddKey(t.Context(), k))
	o.key = text
	return o
}

func (o *office) addUser(agencyID, login, name string, role people.Role) people.User {
	o.t.Helper()
	u, _, err := o.people.Add(o.t.Context(), agencyID, login, name, role, password)
	fatalIfErr(o.t, err)
	fatalIfErr(o.t, o.people.Settle(o.t.Context(), u.ID))
	return u
}

// record is what the API says of one.
type record struct{ ID, Number, Code string }

// notarize registers a digest through the API, to the anchor.
func (o *office) notarize(title string) record {
	o.t.Helper()
	digest := sm.Sum([]byte(title))
	body, err := json.Marshal(map[string]any{"sm3": digest.String(), "size": 2803, "title": title,
		"reference": "政办〔2026〕7号", "fields": map[string]string{"applicant": "张三"}})
	fatalIfErr(o.t, err)
	return o.create("application/json", bytes.NewReader(body))
}

// create makes a record through the API, and waits for its anchor.
func (o *office) create(contentType string, body io.Reader) record {
	o.t.Helper()
	req, err := http.NewRequest(http.MethodPost, o.URL+"/api/v1/records?wait=anchored", body)
	fatalIfErr(o.t, err)
	req.Header.Set("Authorization", "Bearer "+o.key)
	req.Header.Set("Content-Type", contentType)
	res, err := http.DefaultClient.Do(req)
	fatalIfErr(o.t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	fatalIfErr(o.t, err)
	var r record
	if res.StatusCode != http.StatusCreated {
		o.t.Fatalf("%d %s", res.StatusCode, text)
	}
	fatalIfErr(o.t, json.Unmarshal(text, &r))
	return r
}

// person is somebody's browser without its pictures: a cookie jar, and the token of the forms.
type person struct {
	o      *office
	client *http.Client
	form   string
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (o *office) visitor() *person {
	jar, err := cookiejar.New(nil)
	fatalIfErr(o.t, err)
	return &person{o: o, client: &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}}
}

func (o *office) as(login string) *person {
	o.t.Helper()
	p := o.visitor()
	if a := p.post("/console/sign-in",
		url.Values{"login": {login}, "password": {password}}); a.status != http.StatusSeeOther {
		o.t.Fatalf("%s cannot sign in: %d %s", login, a.status, a.body)
	}
	p.learn()
	return p
}

var formToken = regexp.MustCompile(`name="form" value="([^"]+)"`)

func (p *person) learn() {
	p.o.t.Helper()
	a := p.get("/console/account")
	m := formToken.FindStringSubmatch(a.body)
	if m == nil {
		p.o.t.Fatalf("no form: %d %s", a.status, a.body)
	}
	p.form = m[1]
}

func (p *person) do(req *http.Request) answer {
	p.o.t.Helper()
	req.Header.Set("Accept", "text/html")
	if req.Header.Get("Accept-Language") == "" {
		req.Header.Set("Accept-Language", "en")
	}
	res, err := p.client.Do(req)
	fatalIfErr(p.o.t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	fatalIfErr(p.o.t, err)
	return answer{res.StatusCode, res.Header, string(body)}
}

func (p *person) get(path string) answer {
	p.o.t.Helper()
	req, err := http.NewRequest(http.MethodGet, p.o.URL+path, nil)
	fatalIfErr(p.o.t, err)
	return p.do(req)
}

// post sends a form as its page would: with its token, and a name of its own unless it has one.
func (p *person) post(path string, form url.Values) answer {
	p.o.t.Helper()
	if form == nil {
		form = url.Values{}
	}
	if form.Get("form") == "" {
		form.Set("form", p.form)
	}
	if form.Get("once") == "" {
		form.Set("once", notary.NewCode()+notary.NewCode())
	}
	req, err := http.NewRequest(http.MethodPost, p.o.URL+path, strings.NewReader(form.Encode()))
	fatalIfErr(p.o.t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return p.do(req)
}

// script asks as the script of a page does.
func (p *person) script(method, path string, head map[string]string, body io.Reader) answer {
	p.o.t.Helper()
	req, err := http.NewRequest(method, p.o.URL+path, body)
	fatalIfErr(p.o.t, err)
	req.Header.Set("X-Stele-Form", p.form)
	req.Header.Set("Tus-Resumable", "1.0.0")
	for k, v := range head {
		req.Header.Set(k, v)
	}
	return p.do(req)
}
