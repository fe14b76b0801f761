package console_test

import (
	"context"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"stele/notary/office/people"
	"stele/server/auth/sso/ssotest"
	"stele/server/http/webtest"
	"stele/storage/storagetest"
)

// connect sets up an agency's single sign-on as its admin does.
func (p *person) connect(t *testing.T, at *ssotest.Provider, strength people.Strength) {
	t.Helper()
	if a := p.post("/console/sso", url.Values{"issuer": {at.URL}, "client": {ssotest.ClientID},
		"secret": {ssotest.Secret}, "claim": {"preferred_username"},
		"strength": {string(strength)}}); a.status != http.StatusSeeOther {
		t.Fatalf("%d %s", a.status, a.body)
	}
}

var leads = regexp.MustCompile(`id="leave" href="([^"]+)"`)

// away follows a page that leads to the provider, and returns the address that it sends back to.
func (a answer) away(t *testing.T, at *ssotest.Provider) string {
	t.Helper()
	m := leads.FindStringSubmatch(a.body)
	if m == nil || a.header.Get("Refresh") != "0; url="+html.UnescapeString(m[1]) {
		t.Fatalf("leads nowhere: %d %v %s", a.status, a.header, a.body)
	}
	return at.Visit(html.UnescapeString(m[1])).RequestURI()
}

func (p *person) bySSO(t *testing.T, at *ssotest.Provider, agency string) answer {
	t.Helper()
	return p.get(p.post("/console/sign-in/sso", url.Values{"agency": {agency}}).away(t, at))
}

var linkAttempt = regexp.MustCompile(`name="attempt" value="([^"]+)"`)

// Who is linked with an account at the agency's provider signs in by it, from the browser that
// asked and once; who is not gets no further, whatever the provider says.
func TestSingleSignOn(t *testing.T) {
	o := openNamedOffice(t, false)
	at := ssotest.New(t)
	at.Person["preferred_username"] = "Clerk"
	admin, clerk := o.as("admin"), o.as("clerk")
	for field, form := range map[string]url.Values{"issuer": {"issuer": {at.URL + "/nobody"}},
		"client": {"client": {""}}, "strength": {"strength": {"sometimes"}}} {
		t.Run(field, func(t *testing.T) {
			full := url.Values{"issuer": {at.URL}, "client": {ssotest.ClientID}, "secret": {ssotest.Secret},
				"strength": {"never"}}
			full[field] = form[field]
			if a := admin.post("/console/sso", full); a.status != http.StatusUnprocessableEntity ||
				strings.Contains(a.body, ssotest.Secret) {
				t.Errorf("a wrong %s: %d", field, a.status)
			}
		})
	}
	admin.connect(t, at, people.StrengthNever)
	db := storagetest.Raw(t, o.in.Config.Database)
	var sealed []byte
	fatalIfErr(t, db.GetContext(t.Context(), &sealed, `SELECT secret FROM providers`))
	if a := admin.get("/console/sso"); strings.Contains(string(sealed), ssotest.Secret) ||
		strings.Contains(a.body, ssotest.Secret) || !strings.Contains(a.body, o.URL+"/console/sign-in/sso/callback") {
		t.Errorf("the secret is stored or shown: %q", sealed)
	}

	nobody := o.visitor()
	if a := nobody.bySSO(t, at, o.agency.Code); a.status != http.StatusForbidden ||
		nobody.get("/console").status != http.StatusSeeOther {
		t.Errorf("an account that is nobody's: %d", a.status)
	}
	for name, code := range map[string]string{"no agency": "", "another": "x", "one without": o.other.Code} {
		t.Run(name, func(t *testing.T) {
			if a := nobody.post("/console/sign-in/sso",
				url.Values{"agency": {code}}); a.status != http.StatusUnprocessableEntity {
				t.Errorf("%s: %d", name, a.status)
			}
		})
	}

	linkAs := func(p *person) answer {
		a := p.get(p.post("/console/account/sso", nil).away(t, at))
		m := linkAttempt.FindStringSubmatch(a.body)
		if m == nil {
			t.Fatalf("%d %s", a.status, a.body)
		}
		return p.post("/console/account/sso/link", url.Values{"attempt": {m[1]}})
	}
	if a := linkAs(o.as("auditor")); a.status != http.StatusUnprocessableEntity {
		t.Errorf("another person's account is linked: %d", a.status)
	}
	back := clerk.post("/console/account/sso", nil).away(t, at)
	if a := admin.get(back); a.status != http.StatusConflict {
		t.Errorf("the way back in another browser: %d", a.status)
	}
	if a := linkAs(clerk); a.header.Get("Location") != "/console/account?done=sso_linked" {
		t.Fatalf("%d %s", a.status, a.body)
	}

	p := o.visitor()
	u, _ := url.Parse(o.URL)
	p.client.Jar.SetCookies(u, []*http.Cookie{{Name: "stele_session", Value: "a-stranger-chose-this", Path: "/"}})
	back = p.post("/console/sign-in/sso", url.Values{"agency": {strings.ToLower(o.agency.Code)},
		"next": {"/console/records"}}).away(t, at)
	for name, change := range map[string]func(url.Values){"another state": func(q url.Values) { q.Set("state", "x") },
		"no state": func(q url.Values) { q.Del("state") }} {
		t.Run(name, func(t *testing.T) {
			q, _ := url.Parse(back)
			values := q.Query()
			change(values)
			if a := p.get(q.Path + "?" + values.Encode()); a.status != http.StatusConflict {
				t.Errorf("%s: %d", name, a.status)
			}
		})
	}
	if a := o.visitor().get(back); a.status != http.StatusConflict {
		t.Errorf("another browser: %d", a.status)
	}
	if a := p.get(back); a.header.Get("Location") != "/console/records" || p.cookie().Value == "a-stranger-chose-this" {
		t.Fatalf("%d %v %s", a.status, a.header, a.body)
	}
	if a := p.get(back); a.status != http.StatusConflict {
		t.Errorf("the way back a second time: %d", a.status)
	}
	if a := p.get("/console/records"); a.status != http.StatusOK {
		t.Errorf("signed in: %d", a.status)
	}
	at.Tamper = func(c map[string]any) { c["nonce"] = "another" }
	if a := o.visitor().bySSO(t, at, o.agency.Code); a.status != http.StatusForbidden {
		t.Errorf("another nonce: %d", a.status)
	}
	at.Tamper = nil

	// A sensitive act asks again, and the provider has to ask again too.
	p.learn()
	p.grow(t)
	if a := p.post("/console/account/passkeys/begin", nil); a.status != http.StatusUnprocessableEntity {
		t.Errorf("a sensitive act without a question: %d", a.status)
	}
	back = p.post("/console/account/confirm/sso", url.Values{"back": {"/console/account?x=1"}}).away(t, at)
	if at.LastQuery.Get("prompt") != "login" {
		t.Error("the provider need not ask again")
	}
	if a := p.get(back); a.header.Get("Location") != "/console/account?x=1" {
		t.Errorf("confirmed: %d %v", a.status, a.header)
	}
	if a := p.post("/console/account/passkeys/begin", nil); a.status != http.StatusOK ||
		!strings.Contains(a.body, `"challenge"`) {
		t.Errorf("after it: %d %s", a.status, a.body)
	}

	// Another agency's admin who names the same provider has power over nobody here.
	neighbour := o.as("neighbour")
	neighbour.connect(t, at, people.StrengthAlways)
	if a := o.visitor().bySSO(t, at, o.other.Code); a.status != http.StatusForbidden {
		t.Errorf("by another agency's settings: %d", a.status)
	}

	// Who has a second factor here shows it, unless the agency says that its provider has seen one.
	clerkID, err := o.people.Find(t.Context(), "", "clerk")
	fatalIfErr(t, err)
	fatalIfErr(t, o.in.DB.People.AddPasskey(t.Context(), people.Passkey{ID: []byte("key"), UserID: clerkID.ID,
		Name:      "x",
		PublicKey: []byte{1}}))
	p = o.visitor()
	if a := p.bySSO(t, at, o.agency.Code); a.header.Get("Location") != "/console/code?next=%2Fconsole" ||
		p.get("/console/records").status != http.StatusSeeOther {
		t.Errorf("a second factor is not asked for: %d %v", a.status, a.header)
	}
	admin.connect(t, at, people.StrengthAlways)
	if a := o.visitor().bySSO(t, at, o.agency.Code); a.header.Get("Location") != "/console" {
		t.Errorf("with a provider that counts: %d %v", a.status, a.header)
	}

	// An invitation is taken up at the provider; disabled people stay out.
	at.Person = map[string]any{"sub": "1002", "preferred_username": "newcomer"}
	link := o.invite("newcomer", people.Clerk)
	n := o.visitor()
	if a := n.get(n.post(link+"/sso", nil).away(t, at)); a.header.Get("Location") != "/console" ||
		n.get("/console/records").status != http.StatusOK {
		t.Errorf("the newcomer: %d %s", a.status, a.body)
	}
	if a := n.get(link); a.status != http.StatusNotFound {
		t.Errorf("the invitation works again: %d", a.status)
	}
	newcomer, err := o.people.Find(t.Context(), "", "newcomer")
	fatalIfErr(t, err)
	if err := o.people.Unlink(t.Context(), newcomer.ID); err == nil {
		t.Error("the only way to sign in was taken away")
	}
	fatalIfErr(t, o.people.SetDisabled(t.Context(), "", newcomer.ID, true))
	if a := o.visitor().bySSO(t, at, o.agency.Code); a.status == http.StatusSeeOther {
		t.Errorf("a disabled person signs in: %v", a.header)
	}
	if a := admin.post("/console/sso/remove", nil); a.status != http.StatusSeeOther {
		t.Errorf("%d %s", a.status, a.body)
	}
	if u, err := o.people.Find(t.Context(), "", "clerk"); err != nil || u.Linked {
		t.Errorf("a link without a provider: %v", err)
	}
	for act, want := range map[people.Action]int{"sso_set": 5, "sso_remove": 1, "sso_link": 3, people.ActNobody: 2} {
		t.Run(string(act), func(t *testing.T) {
			if l, err := o.people.AuditEvents(t.Context(), people.AuditFilter{AgencyID: o.agency.ID, Act: act,
				Limit: 20}); err != nil || len(l) < want {
				t.Errorf("%s: %d in the trail, %v", act, len(l), err)
			}
		})
	}
}

// The same in a browser, whose policy lets forms lead to no other site.
func TestSingleSignOnPages(t *testing.T) {
	o := openNamedOffice(t, false)
	at := ssotest.New(t)
	for _, l := range []webtest.Look{webtest.Desktop, webtest.Phone.In("en")} {
		t.Run(l.String(), func(t *testing.T) {
			o.t = t
			login := "sso." + strings.ToLower(l.String())
			o.addUser(o.agency.ID, login, "孙单点", people.Admin)
			at.Person = map[string]any{"sub": login, "name": "孙单点", "preferred_username": login}
			d := o.open(t, l)
			d.signIn(login)
			d.at("/console/sso")
			d.good("sso")
			d.fill("[name=issuer]", at.URL+"/realms/office")
			d.fill("[name=client]", ssotest.ClientID)
			d.fill("[name=secret]", ssotest.Secret)
			d.fill("[name=claim]", "preferred_username")
			d.submit("#provider button")
			d.problem()
			d.good("sso-refused")
			d.fill("[name=issuer]", at.URL)
			d.fill("[name=secret]", ssotest.Secret)
			d.submit("#provider button")
			d.Wait(`document.querySelector('.said .notice')`)
			d.good("sso-set")
			d.at("/console/account")
			d.good("account-sso")
			d.submit(`form[action$="/account/sso"] button`)
			d.comes(`/console/sign-in/sso/callback`)
			d.good("sso-link")
			d.submit(`form[action$="/link"] button`)
			d.Wait(`document.querySelector('form[action$="/unlink"]')`)
			d.at("/console/account/confirm?back=/console/users")
			d.good("confirm")
			d.fill("#confirm [name=confirm]", password)
			d.submit("#confirm button")
			d.comes("/console/users")
			d.leave()
			d.submit(`.gate a.button`)
			d.good("sso-sign-in")
			d.fill("[name=agency]", "11420100MB0A000017")
			d.submit(".gate button")
			d.problem()
			d.good("sso-none")
			d.fill("[name=agency]", o.agency.Code)
			d.submit(".gate button")
			d.comes("/console")
			d.Wait(`document.querySelector('.numbers')`)
			link := o.invite(login+".2", people.Approver)
			d.leave()
			d.at(link)
			d.good("invitation-sso")
			d.at("/console/invitation/nobody")
			d.good("invitation-closed")
		})
	}
}

// comes waits until the browser has come to a page by itself, over another site; while it is on
// its way there is no page to ask.
func (d *desk) comes(path string) {
	d.T.Helper()
	ctx, cancel := context.WithTimeout(d.Ctx, d.Patience)
	defer cancel()
	for at := ""; at != path; {
		if err := chromedp.Run(ctx, chromedp.Evaluate(`document.readyState === 'complete' ? location.pathname : ''`,
			&at)); ctx.Err() != nil {
			d.T.Fatalf("the browser does not come to %s: %v", path, err)
		}
	}
}
