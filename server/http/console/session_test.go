package console_test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"stele/crypto/sm"
	"stele/notary/office/people"
	"stele/server/http/console"
	"stele/storage/storagetest"
)

func (p *person) cookie() *http.Cookie {
	u, _ := url.Parse(p.o.URL)
	for _, c := range p.client.Jar.Cookies(u) {
		if strings.Contains(c.Name, "stele_session") {
			return c
		}
	}
	return nil
}

// A session is found by nothing that is stored, begins under a new token, ends when it is
// ended, and a stranger's token never becomes somebody's.
func TestSessions(t *testing.T) {
	o := openOffice(t, false)
	p := o.visitor()
	u, _ := url.Parse(o.URL)
	p.client.Jar.SetCookies(u, []*http.Cookie{{Name: "stele_session", Value: "a-stranger-chose-this", Path: "/"}})
	a := p.post("/console/sign-in", url.Values{"login": {"admin"}, "password": {password}})
	set := a.header.Get("Set-Cookie")
	if p.cookie().Value == "a-stranger-chose-this" || !strings.Contains(set, "HttpOnly") ||
		!strings.Contains(set, "SameSite=Lax") || !strings.Contains(set, "Path=/") || strings.Contains(set, "Expires") {
		t.Errorf("the cookie: %q", set)
	}
	p.learn()
	db := storagetest.Raw(t, o.in.Config.Database)
	var rows []struct {
		Digest []byte `db:"digest"`
		Data   []byte `db:"data"`
	}
	fatalIfErr(t, db.SelectContext(t.Context(), &rows, `SELECT digest, data FROM sessions`))
	if len(rows) != 1 || sm.Digest(rows[0].Digest) != sm.Sum([]byte(p.cookie().Value)) ||
		strings.Contains(string(rows[0].Data), p.cookie().Value) {
		t.Errorf("stored: %q", rows)
	}
	second := o.as("admin")
	// the other one, and all others
	if a := p.get("/console/account"); strings.Count(a.body, `name="session" value="`) != 2 {
		t.Errorf("the list of sessions: %s", a.body)
	}
	before := p.cookie().Value
	if a := p.post("/console/account/password", url.Values{"old": {password}, "password": {"a quite different phrase"},
		"again": {"a quite different phrase"}}); a.status != http.StatusSeeOther {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if p.cookie().Value == before {
		t.Error("the token stayed the same when the password changed")
	}
	if a := second.get("/console/records"); a.status != http.StatusSeeOther {
		t.Errorf("the other session goes on after the password was changed: %d", a.status)
	}
	stolen := p.cookie().Value
	p.learn()
	p.post("/console/sign-out", nil)
	p.client.Jar.SetCookies(u, []*http.Cookie{{Name: "stele_session", Value: stolen, Path: "/"}})
	if a := p.get("/console/records"); a.status != http.StatusSeeOther {
		t.Errorf("a session goes on after the sign-out: %d", a.status)
	}
	admin, auditor := o.as("approver"), o.as("auditor")
	target, err := o.people.Find(t.Context(), "", "auditor")
	fatalIfErr(t, err)
	fatalIfErr(t, o.people.SetRole(t.Context(), "", target.ID, people.Clerk))
	if a := auditor.get("/console/audit"); a.status != http.StatusSeeOther {
		t.Errorf("a session goes on with the role of before: %d", a.status)
	}
	storagetest.MustExec(t, db, 1,
		`UPDATE sessions SET expires_at = 1 WHERE user_id = (SELECT id FROM users WHERE login = 'approver')`)
	if a := admin.get("/console/records"); a.status != http.StatusSeeOther {
		t.Errorf("a session goes on after its time: %d", a.status)
	}
}

// By https the cookie goes to this host alone, and never in clear.
func TestSecureCookie(t *testing.T) {
	o := openOfficeAt(t, false, "https://stele.jiangcheng.example.gov.cn")
	a := o.visitor().post("/console/sign-in", url.Values{"login": {"clerk"}, "password": {password}})
	if set := a.header.Get("Set-Cookie"); !strings.HasPrefix(set, "__Host-stele_session=") ||
		!strings.Contains(set, "Secure") || !strings.Contains(set, "Path=/;") || strings.Contains(set, "Domain") {
		t.Errorf("the cookie: %q", set)
	}
}

// Forms of other sites and sessions do nothing; a form that is sent twice does its work once;
// where the person may have left, sensitive acts ask again.
func TestForms(t *testing.T) {
	o := openOffice(t, false)
	p, other := o.as("admin"), o.as("admin")
	body := url.Values{"name": {"x"}, "scope": {"read"}}
	keys := func() int {
		l, err := o.in.DB.People.Keys(t.Context(), o.agency.ID)
		fatalIfErr(t, err)
		return len(l)
	}
	n := keys()
	for name, form := range map[string]string{"none": "-", "another session's": other.form} {
		t.Run(name, func(t *testing.T) {
			if a := p.post("/console/keys", url.Values{"name": {"x"}, "scope": {"read"},
				"form": {form}}); a.status != http.StatusForbidden {
				t.Errorf("a form with the token of %s: %d", name, a.status)
			}
		})
	}
	for header, value := range map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"} {
		t.Run(header, func(t *testing.T) {
			for _, path := range []string{"/console/keys", "/console/sign-in"} {
				req, err := http.NewRequest(http.MethodPost, o.URL+path,
					strings.NewReader(url.Values{"form": {p.form}, "once": {"1"}, "name": {"x"},
						"scope": {"read"}}.Encode()))
				fatalIfErr(t, err)
				req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				req.Header.Set(header, value)
				if a := p.do(req); a.status != http.StatusForbidden {
					t.Errorf("%s with %s: %d", path, header, a.status)
				}
			}
		})
	}
	if keys() != n {
		t.Fatal("a foreign form made a key")
	}
	body.Set("once", "the same form")
	if a := p.post("/console/keys", body); a.status != http.StatusOK || !strings.Contains(a.body, "stele_") {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a := p.post("/console/keys", body); a.status != http.StatusSeeOther ||
		a.header.Get("Location") != "/console/keys?done=repeated" {
		t.Errorf("a form that is sent again: %d %v", a.status, a.header)
	}
	if keys() != n+1 {
		t.Errorf("%d keys from one form", keys()-n)
	}
	p.grow(t)
	if a := p.post("/console/keys",
		url.Values{"name": {"x"}, "scope": {"read"}}); a.status != http.StatusUnprocessableEntity ||
		!strings.Contains(a.body, `name="confirm"`) || keys() != n+1 {
		t.Errorf("a key after a long time, without a question: %d", a.status)
	}
	if a := p.post("/console/keys", url.Values{"name": {"x"}, "scope": {"read"},
		"confirm": {password}}); a.status != http.StatusOK || keys() != n+2 {
		t.Errorf("confirmed: %d %s", a.status, a.body)
	}
}

// No form of the table is taken from another site, and none of those behind the sign-in
// without the token of the session, or with another session's.
func TestEveryFormIsOurs(t *testing.T) {
	o := openOffice(t, false)
	own := o.things(o.agency.ID)
	admin, stranger := o.as("admin"), o.as("admin")
	for _, rt := range console.Table() {
		if rt.Method != http.MethodPost {
			continue
		}
		path := strings.ReplaceAll(own.in(rt.Path), "{token}", "x")
		req, err := http.NewRequest(http.MethodPost, o.URL+path,
			strings.NewReader(url.Values{"form": {admin.form}, "once": {"1"}, "confirm": {password}}.Encode()))
		fatalIfErr(t, err)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Sec-Fetch-Site", "cross-site")
		if a := admin.do(req); a.status != http.StatusForbidden {
			t.Errorf("%s from another site: %d", rt.Path, a.status)
		}
		for _, form := range []string{"-", stranger.form} {
			// A form that brings files is not even read in this encoding.
			if a := admin.post(path, url.Values{"form": {form}}); !rt.Open && a.status != http.StatusForbidden &&
				a.status != http.StatusBadRequest {
				t.Errorf("%s with the token %q: %d", rt.Path, form, a.status)
			}
		}
	}
	if u, err := o.people.Find(t.Context(), "", own["user"]); err != nil || !u.DisabledAt.IsZero() || u.Passkeys != 1 ||
		u.Password == "" {
		t.Errorf("a foreign form did something: %+v, %v", u, err)
	}
}

// Who tries links, passkeys and states without end is slowed down by network.
func TestTriesAreCounted(t *testing.T) {
	o := openOffice(t, false)
	p := o.visitor()
	for name, try := range map[string]func() answer{
		"invitation": func() answer { return p.get("/console/invitation/x") },
		"sso":        func() answer { return p.get("/console/sign-in/sso/callback?state=x&code=x") },
		"passkey": func() answer {
			return p.post("/console/passkey", url.Values{"attempt": {"x"}, "answer": {"{}"}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			last := answer{}
			for range 100 {
				if last = try(); last.status == http.StatusTooManyRequests {
					break
				}
			}
			if last.status != http.StatusTooManyRequests || last.header.Get("Retry-After") == "" {
				t.Errorf("a hundred tries: %d", last.status)
			}
		})
	}
	if a := p.get("/console/sign-in"); a.status != http.StatusOK {
		t.Errorf("the page itself: %d", a.status)
	}
}

// Without a second factor an admin gets no further than their account, except in a demo.
func TestSecondFactorIsDemanded(t *testing.T) {
	o := openOffice(t, true)
	for login, location := range map[string]string{"admin": "/console/account", "approver": "/console/account",
		"operator": "/console/account", "clerk": "", "auditor": ""} {
		t.Run(login, func(t *testing.T) {
			if a := o.as(login).get("/console"); a.header.Get("Location") != location {
				t.Errorf("%s: %d %v", login, a.status, a.header)
			}
		})
	}
}

// What people did is exported as it is narrowed, and a spreadsheet takes none of it for a formula.
func TestAuditExport(t *testing.T) {
	o := openOffice(t, false)
	p := o.as("admin")
	rec := o.notarize("文书")
	const reason = "=HYPERLINK(\"https://evil.example\")"
	if a := p.post("/console/records/"+rec.Number+"/revoke",
		url.Values{"reason": {reason}}); a.status != http.StatusSeeOther {
		t.Fatalf("%d %s", a.status, a.body)
	}
	p.post("/console/records/"+rec.Number+"/revoke", url.Values{"reason": {"again"}})
	a := p.get("/console/audit/export?format=csv&act=record_revoke")
	rows, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(a.body, "\xef\xbb\xbf"))).ReadAll()
	if err != nil || len(rows) != 4 || rows[3][7] != rec.Number ||
		!strings.HasPrefix(a.header.Get("Content-Disposition"), "attachment") || rows[3][8] != "reason="+reason ||
		rows[1][10] == "" {
		t.Errorf("%q, %v, %v", rows, err, a.header)
	}
	for in, want := range map[string]string{"=1+1": "'=1+1", "+1": "'+1", "-1": "'-1", "@x": "'@x", "x=1": "x=1",
		"": ""} {
		t.Run(fmt.Sprintf("%q", in), func(t *testing.T) {
			if got := console.Plain(in); got != want {
				t.Errorf("%q becomes %q", in, got)
			}
		})
	}
	a = p.get("/console/audit/export?format=jsonl")
	for line := range strings.Lines(a.body) {
		var d struct{ Login, Act, At string }
		if err := json.Unmarshal([]byte(line), &d); err != nil || d.Login == "" || d.Act == "" || d.At == "" {
			t.Errorf("%s: %v", line, err)
		}
	}
	if a := o.as("neighbour").get("/console/audit/export?format=jsonl"); strings.Contains(a.body, rec.Number) {
		t.Error("another agency's trail is exported")
	}
}

func TestAddresses(t *testing.T) {
	for path, want := range map[string]bool{"/console": true, "/console/records?q=1": true, "/console?lang=en": true,
		"": false, "/": false, "//evil.example/console": false, "https://evil.example/console": false,
		"/console\\evil": false, "/consoles": false, "/console/\r\nX: y": false} {
		t.Run(fmt.Sprintf("%q", path), func(t *testing.T) {
			if got := console.Local(path); got != want {
				t.Errorf("%q: %t", path, got)
			}
		})
	}
	o := openOffice(t, false)
	p := o.visitor()
	if a := p.post("/console/sign-in", url.Values{"login": {"clerk"}, "password": {password},
		"next": {"//evil.example/console"}}); a.header.Get("Location") != "/console" {
		t.Errorf("the sign-in leads to %q", a.header.Get("Location"))
	}
	for _, path := range []string{"/console/records?before=x", "/console/records?from=yesterday",
		"/console/records?state=lost", "/console/records?class=%FF", "/console/records?q=%00", "/console/audit?from=x",
		"/console/audit?login=%FF", "/console/audit?before=%00", "/console/records/%FF", "/console/records/%2e%2e"} {
		t.Run(path, func(t *testing.T) {
			if a := o.as("auditor").get(path); a.status >= 500 {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
		})
	}
}

// grow makes it long ago that the person said who they are.
func (p *person) grow(t *testing.T) {
	t.Helper()
	db := storagetest.Raw(t, p.o.in.Config.Database)
	var data string
	fatalIfErr(t, db.GetContext(t.Context(), &data, `SELECT data FROM sessions WHERE digest = $1`, digest(p)))
	data = regexp.MustCompile(`"fresh":"[^"]*"`).ReplaceAllString(data, `"fresh":"2026-01-01T00:00:00Z"`)
	storagetest.MustExec(t, db, 1, `UPDATE sessions SET data = $1 WHERE digest = $2`, []byte(data), digest(p))
}

// Between password and code a session is good for the code alone, and not for long; what it was
// before does not matter.
func TestHalfSignedIn(t *testing.T) {
	o := openOffice(t, false)
	p := o.as("admin")
	a := p.post("/console/account/factor", nil)
	secret := regexp.MustCompile(`id="factor-secret">([A-Z2-7 ]+)<`).FindStringSubmatch(a.body)
	if secret == nil {
		t.Fatalf("%d %s", a.status, a.body)
	}
	code, err := totp.GenerateCode(strings.ReplaceAll(secret[1], " ", ""), time.Now())
	fatalIfErr(t, err)
	a = p.post("/console/account/factor/confirm", url.Values{"code": {code}})
	recovery := regexp.MustCompile(`<li>([0-9A-Z-]{19})</li>`).FindAllStringSubmatch(a.body, -1)
	if len(recovery) != 10 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	signIn := func() string {
		return p.post("/console/sign-in", url.Values{"login": {"admin"}, "password": {password}}).header.Get("Location")
	}
	p.grow(t) // the session of before was long ago
	if to := signIn(); to != "/console/code?next=%2Fconsole" {
		t.Fatalf("the password leads to %q", to)
	}
	if a := p.get("/console/code"); a.status != http.StatusOK {
		t.Errorf("the code is not asked for: %d %v", a.status, a.header)
	}
	if a := p.get("/console/records"); a.status != http.StatusSeeOther {
		t.Errorf("the password alone opens the records: %d", a.status)
	}
	p.grow(t)
	if a := p.post("/console/code", url.Values{"code": {recovery[0][1]}}); a.header.Get(
		"Location") != "/console/sign-in" {
		t.Errorf("a code long after the password: %d %v", a.status, a.header)
	}
	signIn()
	if a := p.post("/console/code", url.Values{"code": {recovery[0][1]}}); a.header.Get("Location") != "/console" {
		t.Errorf("the code: %d %v", a.status, a.header)
	}
	if a := p.get("/console/records"); a.status != http.StatusOK {
		t.Errorf("signed in: %d", a.status)
	}
}

func digest(p *person) []byte {
	d := sm.Sum([]byte(p.cookie().Value))
	return d[:]
}
