package console_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"

	"stele/notary/office/people"
	"stele/server/http/webtest"
	"stele/storage/storagetest"
)

// front is a port under which a service is reached by the name localhost, as by a proxy.
type front struct {
	URL string
	ln  net.Listener
}

func newFront(t testing.TB) *front {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	fatalIfErr(t, err)
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	return &front{"http://localhost:" + port, ln}
}

// leadsTo serves what is at an address, under the host name that it was asked for by.
func (f *front) leadsTo(t testing.TB, address string) {
	t.Helper()
	to, err := url.Parse(address)
	fatalIfErr(t, err)
	s := &http.Server{
		Handler: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host
		}}}
	go func() { _ = s.Serve(f.ln) }()
	t.Cleanup(func() { s.Close() })
}

// openNamedOffice starts an instance that has a name, as passkeys need one.
func openNamedOffice(t testing.TB, strict bool) *office {
	t.Helper()
	f := newFront(t)
	o := openOfficeAt(t, strict, f.URL)
	f.leadsTo(t, o.URL)
	o.URL = f.URL
	return o
}

// plug plugs an authenticator into the browser whose owner is there and shows a finger.
func (d *desk) plug() (id webauthn.AuthenticatorID) {
	d.T.Helper()
	d.Run(chromedp.ActionFunc(func(ctx context.Context) (err error) {
		id, err = webauthn.AddVirtualAuthenticator(&webauthn.VirtualAuthenticatorOptions{
			Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportInternal,
			HasResidentKey: true, HasUserVerification: true, IsUserVerified: true,
			AutomaticPresenceSimulation: true}).Do(ctx)
		return err
	}))
	return id
}

// key reads the one key that an authenticator has.
func (d *desk) key(id webauthn.AuthenticatorID) (c *webauthn.Credential) {
	d.T.Helper()
	d.Run(chromedp.ActionFunc(func(ctx context.Context) error {
		list, err := webauthn.GetCredentials(id).Do(ctx)
		if err == nil && len(list) == 1 {
			c = list[0]
		}
		return err
	}))
	if c == nil {
		d.T.Fatal("the authenticator has no key, or several")
	}
	return c
}

// swap takes an authenticator's keys out and puts one in.
func (d *desk) swap(id webauthn.AuthenticatorID, c *webauthn.Credential) {
	d.T.Helper()
	d.Run(webauthn.ClearCredentials(id), webauthn.AddCredential(id, c))
}

func (o *office) invite(login string, role people.Role) (path string) {
	o.t.Helper()
	_, token, err := o.people.Invite(o.t.Context(), o.agency.ID, login, "周主任", role, "admin")
	fatalIfErr(o.t, err)
	return "/console/invitation/" + token
}

// problem waits for what the page says is wrong and returns it.
func (d *desk) problem() string {
	d.T.Helper()
	const shown = `document.querySelector('#problem, [data-problem]:not([hidden])')`
	d.Wait(shown)
	var text string
	d.Eval(shown+`.textContent`, &text)
	return text
}

func (d *desk) wants(part string) {
	d.T.Helper()
	if got := d.problem(); !strings.Contains(got, part) {
		d.T.Errorf("the page says %q, want %q", got, part)
	}
}

// register registers a passkey on the account's page.
func (d *desk) register(name string) {
	d.T.Helper()
	d.fill("#new-passkey [name=name]", name)
	d.submit("#new-passkey button[data-passkey=make]")
}

func (d *desk) unfold() {
	d.T.Helper()
	d.Run(chromedp.Evaluate(`document.querySelectorAll('main details').forEach((e) => { e.open = true; }); 0`, nil))
}

func (d *desk) leave() {
	d.T.Helper()
	d.submit("header form button")
	d.Wait(`document.querySelector('[name=login]')`)
}

const byPasskey = "#by-passkey button"

// signedAnswer has the browser sign for the sign-in page, without sending it.
const signedAnswer = `(async () => {
	const asked = await (await fetch('/console/passkey/begin', { method: 'POST', body: new URLSearchParams() })).json();
	const c = await navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(asked.options) });
	return { attempt: asked.attempt, answer: JSON.stringify(c.toJSON()) };
})()`

// A head of office is invited, registers a passkey as the second factor that the role needs,
// signs in by it alone and after the password, confirms a sensitive act by it, changes it for
// another one; and what is not quite it gets nobody in.
func TestPasskeys(t *testing.T) {
	o := openNamedOffice(t, true)
	other := newFront(t)
	other.leadsTo(t, o.URL)
	for _, l := range []webtest.Look{webtest.Desktop, webtest.Phone.In("en")} {
		t.Run(l.String(), func(t *testing.T) {
			o.t = t
			login := "head." + strings.ToLower(l.String())
			d := o.open(t, l)
			d.Run(webauthn.Enable())
			first := d.plug()
			d.at(o.invite(login, people.Admin))
			d.good("invitation")
			d.fill("[name=password]", password)
			d.fill("[name=again]", "another phrase altogether")
			d.submit("#accept button")
			d.problem()
			d.fill("[name=password]", password)
			d.fill("[name=again]", password)
			d.submit("#accept button")
			d.good("account-must-enrol")
			d.register("办公电脑")
			d.Wait(`document.querySelectorAll('#codes li').length === 10`)
			d.good("passkey-codes")
			d.at("/console/account")
			d.good("account-passkey")

			d.unfold()
			d.submit(`form[action$="/remove"] button[type=submit]`)
			d.problem()
			d.good("passkey-last")
			if a := len(passkeysOf(o, login)); a != 1 {
				t.Errorf("%d passkeys after the last one was to be removed", a)
			}
			d.fill("#new-passkey [name=name]", "again") // the authenticator says that it has one
			d.Run(chromedp.Click("#new-passkey button[data-passkey=make]", chromedp.ByQuery))
			d.Wait(`document.querySelector('#new-passkey [data-problem]:not([hidden])')`)
			d.good("passkey-failed")

			d.leave()
			d.good("sign-in-passkey")
			d.submit(byPasskey)
			d.Wait(`document.querySelector('.numbers')`)
			d.leave()
			d.signIn(login)
			d.good("code-passkey")
			d.submit(byPasskey)
			d.Wait(`document.querySelector('.numbers')`)

			storagetest.MustExec(t, storagetest.Raw(t, o.in.Config.Database), 1, `UPDATE sessions SET data = `+
				`replace(CAST(data AS TEXT), '"fresh":"2', '"fresh":"1') WHERE user_id = (SELECT id FROM users WHERE `+
				`login = $1)`, login)
			d.at("/console/users")
			d.fill("main section:last-of-type [name=login]", login+".clerk")
			d.fill("main section:last-of-type [name=name]", "新来的")
			d.good("users-confirm")
			d.submit("main section:last-of-type button[data-passkey=confirm]")
			d.Wait(`document.querySelector('#shown')`)

			lost := d.key(first)
			d.Run(webauthn.RemoveVirtualAuthenticator(first))
			second := d.plug()
			d.at("/console/account")
			d.register("安全密钥")
			d.Wait(`document.querySelectorAll('form[action$="/remove"]').length >= 2`)
			d.good("account-passkeys")
			d.unfold()
			d.submit(`form[action$="/remove"] button[type=submit]`)
			d.Wait(`document.querySelector('.said .notice')`)
			d.leave()

			kept := d.key(second)
			d.swap(second, lost)
			d.submit(byPasskey)
			d.wants(map[string]string{"en": "not registered here", "zh-CN": "未在此登记"}[l.Lang])
			d.good("passkey-unknown")

			d.swap(second, kept)
			d.Run(chromedp.Navigate(other.URL + "/console/sign-in"))
			d.submit(byPasskey)
			d.wants(map[string]string{"en": "is not valid", "zh-CN": "未通过核对"}[l.Lang])

			d.at("/console/sign-in")
			var form struct{ Attempt, Answer string }
			d.Eval(signedAnswer, &form)
			fields := url.Values{"attempt": {form.Attempt}, "answer": {form.Answer}}
			if a := o.visitor().post("/console/passkey", fields); a.status != http.StatusConflict {
				t.Errorf("another browser's answer: %d", a.status)
			}
			twice := `(async () => { const out = []; for (let i = 0; i < 2; i++) out.push(await (await ` +
				`fetch('/console/passkey', { method: 'POST', body: new URLSearchParams('` + fields.Encode() +
				`') })).status); return out; })()`
			var status []int
			d.Eval(twice, &status)
			if len(status) != 2 || status[0] != http.StatusOK || status[1] != http.StatusConflict {
				t.Errorf("the same answer twice: %v", status)
			}
			d.at("/console")
			d.leave()

			clone := *kept // made when the counter stood lower
			d.swap(second, &clone)
			d.submit(byPasskey)
			d.wants(map[string]string{"en": "counter went back", "zh-CN": "计数回退"}[l.Lang])
			d.good("passkey-cloned")
			for act, want := range map[people.Action]int{people.ActCloned: 1, "passkey_confirm": 1, "passkey_add": 2,
				"passkey_remove": 3} {
				if l, err := o.people.AuditEvents(t.Context(), people.AuditFilter{Login: login, Act: act,
					Limit: 10}); err != nil || len(l) != want {
					t.Errorf("%s: %d in the trail, %v", act, len(l), err)
				}
			}
		})
	}
}

func passkeysOf(o *office, login string) []people.Passkey {
	o.t.Helper()
	u, err := o.people.Find(o.t.Context(), "", login)
	fatalIfErr(o.t, err)
	l, err := o.people.Passkeys(o.t.Context(), u.ID)
	fatalIfErr(o.t, err)
	return l
}
