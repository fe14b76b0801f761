package console_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/pquerna/otp/totp"

	"stele/server/http/webtest"
)

// desk is a tab at the console.
type desk struct {
	*webtest.Tab
	o *office
}

func (o *office) open(t *testing.T, l webtest.Look) *desk {
	t.Helper()
	d := &desk{webtest.Open(t, webtest.Browser(t), l), o}
	return d
}

// submit sends a form by its button and waits for the page that answers.
func (d *desk) submit(button string) {
	d.T.Helper()
	ctx, cancel := context.WithTimeout(d.Ctx, d.Patience)
	defer cancel()
	if _, err := chromedp.RunResponse(ctx, chromedp.Click(button, chromedp.ByQuery)); err != nil {
		d.T.Fatalf("%s leads nowhere: %v; the page says:\n%s", button, err, d.Text("main"))
	}
}

func (d *desk) fill(selector, text string) {
	d.T.Helper()
	d.Eval(fmt.Sprintf("document.querySelector(%q).value = '' ; 0", selector), nil)
	d.Run(chromedp.SendKeys(selector, text, chromedp.ByQuery))
}

func (d *desk) at(path string) {
	d.T.Helper()
	d.Run(chromedp.Navigate(d.o.URL + path))
}

func (d *desk) signIn(login string) {
	d.T.Helper()
	d.at("/console")
	d.fill("[name=login]", login)
	d.fill("[name=password]", password)
	d.submit(".gate button")
}

// good examines a page, and keeps a picture of it where pictures are asked for.
func (d *desk) good(name string) {
	d.T.Helper()
	if !d.Look.NoJS {
		d.Accessible(name)
	}
	d.Fits(name)
	d.Shoot("console-" + name)
}

// says demands a text on the page.
func (d *desk) says(text string) {
	d.T.Helper()
	if main := d.Text("main"); !strings.Contains(main, text) {
		d.T.Fatalf("the page does not say %q; it says:\n%s", text, main)
	}
}

// receiver is a system of the agency that takes webhooks.
type receiver struct {
	*httptest.Server
	mu  sync.Mutex
	ids []string // guarded by mu
	got chan string
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{got: make(chan string, 100)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		_, _ = io.WriteString(w, "已收到 <b>ok</b>")
		r.mu.Lock()
		r.ids = append(r.ids, req.Header.Get("webhook-id"))
		r.mu.Unlock()
		r.got <- req.Header.Get("webhook-id")
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) wait(t *testing.T) string {
	t.Helper()
	select {
	case id := <-r.got:
		return id
	case <-time.After(2 * time.Minute):
		t.Fatal("no webhook came")
		return ""
	}
}

// A click leads to the next page at a moment of its own: who waits meanwhile waits on there.
func TestWaitingOutlivesThePage(t *testing.T) {
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		if r.URL.Path == "/next" {
			_, _ = io.WriteString(w, `<main id=next></main>`)
			return
		}
		_, _ = io.WriteString(w, `<script>setTimeout(() => { location = '/next' }, 300)</script>`)
	}))
	t.Cleanup(site.Close)
	tab := webtest.Open(t, webtest.Browser(t), webtest.Desktop)
	tab.Run(chromedp.Navigate(site.URL))
	tab.Wait(`document.querySelector('#next')`)
}

// An admin's morning: signs in, sets up a second factor and signs in with it, makes and ends a
// key, makes a webhook and sends an event again, withdraws a record, adds a person, and finds
// all of it in the trail.
func TestMorning(t *testing.T) {
	o := openOffice(t, false)
	for i, l := range []webtest.Look{webtest.Desktop, webtest.Phone.In("en")} {
		t.Run(l.String(), func(t *testing.T) {
			o.t = t
			login := fmt.Sprint("head", i)
			o.addUser(o.agency.ID, login, "周主任", "admin")
			rec := o.notarize(fmt.Sprint("关于办公时间的通知 ", i, ` <script>alert(1)</script>`))
			d := o.open(t, l)
			d.at("/console")
			d.good("sign-in")
			d.fill("[name=login]", login)
			d.fill("[name=password]", "not the password")
			d.submit(".gate button")
			d.Wait(`document.querySelector('#problem')`)
			d.good("sign-in-refused")
			d.signIn(login)
			d.says(rec.Number)
			d.good("overview")
			d.factor(login)
			d.keys()
			d.webhook(rec)
			d.records(rec)
			d.people(i)
			d.at("/console/audit")
			d.good("audit")
			for _, act := range []string{"key_create", "webhook_secret", "record_revoke", "user_invite",
				"factor_confirm"} {
				d.at("/console/audit?act=" + act + "&login=" + login)
				d.Wait(`document.querySelectorAll('tbody tr').length > 0`)
			}
			d.submit("header form button")
			d.Wait(`document.querySelector('[name=login]')`)
			d.at("/console/records")
			d.Wait(`document.querySelector('[name=login]')`)
		})
	}
}

// factor sets up a second factor and signs in with it.
func (d *desk) factor(login string) {
	d.T.Helper()
	d.at("/console/account")
	d.good("account")
	d.submit(`form[action$="/account/factor"] button`)
	d.good("factor")
	secret := strings.ReplaceAll(d.Text("#factor-secret"), " ", "")
	code := func(at time.Time) string {
		c, err := totp.GenerateCode(secret, at)
		fatalIfErr(d.T, err)
		return c
	}
	first := code(time.Now())
	d.fill("[name=code]", first)
	d.submit(`form[action$="/confirm"] button`)
	d.good("factor-codes")
	var recovery []string
	d.Eval(`[...document.querySelectorAll('#codes li')].map((l) => l.textContent)`, &recovery)
	if len(recovery) != 10 {
		d.T.Fatalf("%d recovery codes", len(recovery))
	}
	d.submit("header form button")
	d.signIn(login)
	d.Wait(`document.querySelector('[name=code]')`)
	d.at("/console/keys") // the password alone opens nothing
	d.Wait(`document.querySelector('[name=login]')`)
	d.signIn(login)
	d.good("code")
	d.fill("[name=code]", first) // was used to set it up
	d.submit(".gate button")
	d.Wait(`document.querySelector('#problem')`)
	d.fill("[name=code]", code(time.Now().Add(30*time.Second))) // the next one; clocks may differ by a step
	d.submit(".gate button")
	d.Wait(`document.querySelector('.numbers')`)
	d.submit("header form button")
	d.signIn(login)
	d.fill("[name=code]", strings.ToLower(recovery[3]))
	d.submit(".gate button")
	d.Wait(`document.querySelector('.numbers')`)
	d.submit("header form button")
	d.signIn(login)
	d.fill("[name=code]", recovery[3])
	d.submit(".gate button")
	d.Wait(`document.querySelector('#problem')`)
	d.fill("[name=code]", recovery[0])
	d.submit(".gate button")
	d.Wait(`document.querySelector('.numbers')`)
}

func (o *office) callWith(key string) int {
	o.t.Helper()
	req, err := http.NewRequest(http.MethodGet, o.URL+"/api/v1/key", nil)
	fatalIfErr(o.t, err)
	req.Header.Set("Authorization", "Bearer "+key)
	res, err := http.DefaultClient.Do(req)
	fatalIfErr(o.t, err)
	res.Body.Close()
	return res.StatusCode
}

func (d *desk) keys() {
	d.T.Helper()
	d.at("/console/keys")
	d.fill("#new-key [name=name]", "窗口系统")
	d.fill("#new-key [name=networks]", "10.1.0.1/16")
	d.submit("#new-key button")
	d.Wait(`document.querySelector('#problem')`)
	var name string
	d.Eval(`document.querySelector('#new-key [name=name]').value`, &name)
	if name != "窗口系统" {
		d.T.Errorf("what was typed is lost: %q", name)
	}
	d.good("keys-refused")
	d.fill("#new-key [name=networks]", "127.0.0.0/8, ::1")
	d.submit("#new-key button")
	key := d.Text("#shown")
	d.good("keys-made")
	if status := d.o.callWith(key); status != http.StatusOK {
		d.T.Errorf("the new key: %d", status)
	}
	d.at("/console/keys")
	if strings.Contains(d.Text("body"), key) {
		d.T.Error("the key is shown twice")
	}
	d.Run(chromedp.Click(`tbody tr:first-child .row-acts details:last-child summary`, chromedp.ByQuery))
	d.good("keys-end")
	d.submit(`tbody tr:first-child .row-acts details:last-child button`)
	deadline := time.Now().Add(2 * time.Minute)
	for d.o.callWith(key) != http.StatusUnauthorized { // servers believe a key for two seconds
		if time.Now().After(deadline) {
			d.T.Fatal("the ended key still works")
		}
	}
}

func (d *desk) webhook(rec record) {
	d.T.Helper()
	r := newReceiver(d.T.(*testing.T))
	d.at("/console/webhooks")
	d.good("webhooks-none")
	d.fill("[name=url]", "http://10.0.0.1/")
	d.submit(`main form[method=post] > button`)
	d.Wait(`document.querySelector('#problem')`)
	d.fill("[name=url]", r.URL+"/hook")
	d.submit(`main form[method=post] > button`)
	if !strings.HasPrefix(d.Text("#shown"), "whsec_") {
		d.T.Errorf("the secret is %q", d.Text("#shown"))
	}
	d.good("webhook-made")
	d.Run(chromedp.Click(`main .over a`, chromedp.ByQuery))
	d.Wait(`document.querySelector('tbody td a')`)
	d.good("webhooks")
	d.submit(`tbody td a`)
	d.submit(`form[action$="/test"] button`)
	ping := r.wait(d.T.(*testing.T))
	d.delivered(1)
	d.o.notarize("推送的文书 " + d.Look.String())
	logged := r.wait(d.T.(*testing.T))
	anchored := r.wait(d.T.(*testing.T))
	if ping == logged || logged == anchored {
		d.T.Error("two events have one id")
	}
	d.delivered(3)
	d.Run(chromedp.Evaluate(`document.querySelectorAll('tbody details').forEach((e) => { e.open = true; }); 0`, nil))
	d.says("已收到 <b>ok</b>")
	d.says("HTTP 200")
	d.good("webhook-deliveries")
	d.submit(`form[action$="` + logged + `/replay"] button`)
	if again := r.wait(d.T.(*testing.T)); again != logged {
		d.T.Errorf("%s came again instead of %s", again, logged)
	}
	d.delivered(3)
	d.submit(`form[action$="/secret"] button`)
	if !strings.HasPrefix(d.Text("#shown"), "whsec_") {
		d.T.Errorf("the new secret is %q", d.Text("#shown"))
	}
	d.submit(`form[action$="/enabled"] button`)
	d.Wait(`document.querySelector('.state.bad')`)
	d.submit(`form[action$="/enabled"] button`)
	d.submit(`form[action$="/delete"] button`)
	d.Wait(`document.querySelector('.empty')`)
}

// delivered loads the endpoint's page until so many deliveries are done on it.
func (d *desk) delivered(n int) {
	d.T.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for count := 0; count < n; {
		if time.Now().After(deadline) {
			d.T.Fatalf("%d of %d deliveries: %s", count, n, d.Text("main"))
		}
		d.Run(chromedp.Evaluate(`location.href.split('?')[0]`, new(string)), chromedp.Reload())
		d.Eval(`document.querySelectorAll('.d-delivered').length`, &count)
	}
}

func (d *desk) records(rec record) {
	d.T.Helper()
	d.at("/console/records")
	d.good("records")
	d.fill("[name=q]", "政办〔2026〕7号")
	d.Run(chromedp.SetValue("[name=state]", "anchored", chromedp.ByQuery))
	d.submit(".narrow button")
	d.says(rec.Number)
	d.fill("[name=q]", "没有的编号")
	d.submit(".narrow button")
	d.Wait(`document.querySelector('.empty')`)
	d.good("records-none")
	d.fill("[name=q]", rec.Number)
	d.submit(".narrow button")
	d.says("<script>alert(1)</script>")
	d.good("record")
	d.fill("[name=reason]", "不动产登记错误，依法撤销")
	d.submit(".grave button")
	d.says("不动产登记错误，依法撤销")
	d.good("record-revoked")
	d.at("/r/" + rec.Number)
	d.Wait(`document.querySelector('.verdict.v-revoked')`)
	d.says("不动产登记错误，依法撤销")
}

func (d *desk) people(i int) {
	d.T.Helper()
	d.at("/console/users")
	d.good("users")
	login := fmt.Sprint("newcomer", i)
	d.fill("main section:last-of-type [name=login]", login)
	d.fill("main section:last-of-type [name=name]", "新来的")
	d.submit("main section:last-of-type form > button")
	link := d.Text("#shown")
	d.good("users-invited")
	// A tab of the same browser has the same cookies: the newcomer's own browser is a client.
	p := d.o.visitor()
	path := strings.TrimPrefix(link, d.o.in.Config.PublicURL)
	path = path[strings.Index(path, "/console/"):]
	if a := p.get(path); a.status != http.StatusOK || !strings.Contains(a.body, login) {
		d.T.Fatalf("the invitation: %d %s", a.status, a.body)
	}
	if a := p.post(path, map[string][]string{"password": {password},
		"again": {password}}); a.status != http.StatusSeeOther || a.header.Get("Location") != "/console" {
		d.T.Fatalf("the newcomer: %d %s", a.status, a.body)
	}
	if a := p.get("/console/records"); a.status != http.StatusOK {
		d.T.Errorf("the newcomer's records: %d %v", a.status, a.header)
	}
}

// The whole way by keyboard, in reading order, with the place that has the focus visible.
func TestKeyboard(t *testing.T) {
	o := openOffice(t, false)
	d := o.open(t, webtest.Desktop.In("en"))
	d.at("/console/sign-in")
	d.Run(chromedp.KeyEvent("admin"), chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(password))
	_, err := chromedp.RunResponse(d.Ctx, chromedp.KeyEvent(kb.Enter))
	fatalIfErr(t, err)
	d.Wait(`document.querySelector('.numbers')`)
	var seen []string
	for range 17 { // the links of the frame
		var at string
		d.Run(chromedp.KeyEvent(kb.Tab))
		d.Eval(`(() => { const e = document.activeElement; const s = getComputedStyle(e); return (e.className || `+
			`e.textContent.trim()) + (s.outlineStyle === 'none' ? ' without a ring' : ''); })()`, &at)
		if strings.Contains(at, "without a ring") {
			t.Errorf("the focus is not to be seen: %s", at)
		}
		seen = append(seen, at)
	}
	if want := "skip|brand|中文|Sign out|Overview|Upload|Work queue|Bulk|Records|Document classes|Seals|API " +
		"keys|Webhooks|People|Single sign-on|Audit trail|My account"; !strings.HasPrefix(strings.Join(seen, "|"),
		want) {
		t.Errorf("the order is %q", seen)
	}
}
