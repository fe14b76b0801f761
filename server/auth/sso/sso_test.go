package sso_test

import (
	"bytes"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"stele/notary"
	"stele/notary/office/people"
	"stele/notary/office/webhook"
	"stele/server/auth/sso"
	"stele/server/auth/sso/ssotest"
)

func fatalIfErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func settings(p *ssotest.Provider) sso.Settings {
	return sso.Settings{Provider: people.Provider{AgencyID: "agency", Issuer: p.URL, ClientID: ssotest.ClientID,
		Claim: "email", Strength: people.StrengthClaimed, ACR: "gold"},
		Secret: ssotest.Secret, Redirect: "https://stele.example.gov.cn/console/sign-in/sso/callback"}
}

// there goes to the provider and comes back.
func there(t testing.TB, c *sso.Client, p *ssotest.Provider, s sso.Settings, w sso.Way) url.Values {
	t.Helper()
	to, err := c.Address(t.Context(), s, w, "state")
	fatalIfErr(t, err)
	back := p.Visit(to)
	if got := back.Scheme + "://" + back.Host + back.Path; got != s.Redirect {
		t.Errorf("sent back to %s", got)
	}
	return back.Query()
}

// Who a provider vouches for as it should gets an identity; whatever is not quite so gets none.
func TestIdentity(t *testing.T) {
	set := func(name string, value any) func(*ssotest.Provider) {
		return func(p *ssotest.Provider) { p.Tamper = func(c map[string]any) { c[name] = value } }
	}
	without := func(name string) func(*ssotest.Provider) {
		return func(p *ssotest.Provider) { p.Tamper = func(c map[string]any) { delete(c, name) } }
	}
	alg := func(name string) func(*ssotest.Provider) { return func(p *ssotest.Provider) { p.Alg = name } }
	answer := func(f func(http.ResponseWriter)) func(*ssotest.Provider) {
		return func(p *ssotest.Provider) { p.Answer = func(rw http.ResponseWriter) bool { f(rw); return true } }
	}
	describe := func(name, value string) func(*ssotest.Provider) {
		return func(p *ssotest.Provider) { p.Describe = func(d map[string]any) { d[name] = value } }
	}
	good := people.Identity{Subject: "1001", Claim: "head@example.gov.cn", Name: "周主任"}
	for name, c := range map[string]struct {
		provider func(*ssotest.Provider)
		way      func(*sso.Way)
		back     func(url.Values)
		want     func(*people.Identity) // nil: nobody
	}{
		"as it should be": {want: func(*people.Identity) {}},
		"an e-mail that nobody has verified": {provider: set("email_verified", false),
			want: func(i *people.Identity) { i.Claim = "" }},
		"a second factor, by amr": {provider: set("amr", []string{"pwd", "mfa"}),
			want: func(i *people.Identity) { i.Strong = true }},
		"a second factor, by acr": {provider: set("acr", "gold"),
			want: func(i *people.Identity) { i.Strong = true }},
		"a lower level":                  {provider: set("acr", "silver"), want: func(*people.Identity) {}},
		"asked again":                    {way: func(w *sso.Way) { w.Anew = true }, want: func(*people.Identity) {}},
		"a name with control characters": {provider: set("name", "周\r\n主任"), want: func(*people.Identity) {}},
		"several audiences, and made for us": {provider: func(p *ssotest.Provider) {
			p.Person["aud"] = []string{ssotest.ClientID, "other"}
			p.Person["azp"] = ssotest.ClientID
		}, want: func(*people.Identity) {}},
		"another nonce":              {provider: set("nonce", "another")},
		"no nonce":                   {provider: without("nonce")},
		"another audience":           {provider: set("aud", "other")},
		"several audiences":          {provider: set("aud", []string{ssotest.ClientID, "other"})},
		"made for another client":    {provider: set("azp", "other")},
		"another issuer":             {provider: set("iss", "https://evil.example")},
		"expired":                    {provider: set("exp", time.Now().Add(-time.Minute).Unix())},
		"of the future":              {provider: set("iat", time.Now().Add(time.Hour).Unix())},
		"without a subject":          {provider: without("sub")},
		"a subject that is no text":  {provider: set("sub", "a\x00b")},
		"a subject that is too long": {provider: set("sub", strings.Repeat("x", 300))},
		"another access token":       {provider: set("at_hash", "AAAAAAAAAAAAAAAAAAAAAA")},
		"alg none":                   {provider: alg("none")},
		"alg HS256":                  {provider: alg("HS256")},
		"signed by another key":      {provider: func(p *ssotest.Provider) { p.OtherKey = true }},
		"not asked again": {way: func(w *sso.Way) { w.Anew = true },
			provider: set("auth_time", time.Now().Add(-time.Hour).Unix())},
		"it is not said when":         {way: func(w *sso.Way) { w.Anew = true }, provider: without("auth_time")},
		"another PKCE verifier":       {way: func(w *sso.Way) { w.Verifier = strings.Repeat("x", 43) }},
		"an answer of another issuer": {back: func(q url.Values) { q.Set("iss", "https://evil.example") }},
		"an answer of no issuer":      {back: func(q url.Values) { q.Del("iss") }},
		"the person said no":          {back: func(q url.Values) { q.Set("error", "access_denied") }},
		"no code":                     {back: func(q url.Values) { q.Del("code") }},
		"a code that nobody gave":     {back: func(q url.Values) { q.Set("code", "x") }},
		"the provider was changed":    {way: func(w *sso.Way) { w.Issuer = "https://before.example" }},
		"no ID token": {provider: answer(func(rw http.ResponseWriter) {
			rw.Header().Set("Content-Type", "application/json")
			_, _ = rw.Write([]byte(`{"access_token":"x","token_type":"Bearer"}`))
		})},
		"an answer without end": {
			provider: answer(func(rw http.ResponseWriter) { _, _ = rw.Write(bytes.Repeat([]byte(" "), 1<<20)) })},
		"the token endpoint leads elsewhere": {provider: answer(func(rw http.ResponseWriter) {
			rw.Header().Set("Location", "http://127.0.0.1:1/")
			rw.WriteHeader(http.StatusTemporaryRedirect)
		})},
		"keys at an address of the intranet":   {provider: describe("jwks_uri", "https://169.254.169.254/keys")},
		"tokens at an address of the intranet": {provider: describe("token_endpoint", "https://10.0.0.1/token")},
		"tokens in clear": {
			provider: describe("token_endpoint", "http://login.example.com/token")},
	} {
		t.Run(name, func(t *testing.T) {
			p := ssotest.New(t)
			if c.provider != nil {
				c.provider(p)
			}
			client, s := sso.New(webhook.Policy{Loopback: true}, time.Now), settings(p)
			w := client.NewWay(s, false)
			back := there(t, client, p, s, w)
			if c.way != nil {
				c.way(&w)
			}
			if c.back != nil {
				c.back(back)
			}
			got, err := client.Finish(t.Context(), s, w, back)
			if c.want == nil {
				if err == nil || got.Subject != "" || notary.CodeOf(err) == notary.CodeInternal {
					t.Errorf("got %+v, %v", got, err)
				}
				return
			}
			want := good
			want.Issuer = p.URL
			c.want(&want)
			if err != nil || got != want {
				t.Errorf("got %+v, %v; want %+v", got, err, want)
			}
			if _, err := client.Finish(t.Context(), s, w, back); err == nil {
				t.Error("the provider takes a code twice, and so do we")
			}
		})
	}
}

// What goes to the provider: PKCE, nonce and state, the level that is wanted, and whether the
// person must show who they are although they did before.
func TestAddress(t *testing.T) {
	p := ssotest.New(t)
	client, s := sso.New(webhook.Policy{Loopback: true}, time.Now), settings(p)
	w := client.NewWay(s, true)
	there(t, client, p, s, w)
	q := p.LastQuery
	if q.Get("nonce") != w.Nonce || q.Get("state") != "state" || q.Get("acr_values") != "gold" ||
		q.Get("prompt") != "login" || q.Get("max_age") != "0" || q.Get("redirect_uri") != s.Redirect ||
		q.Get("code_challenge") == "" || q.Get("code_challenge") == w.Verifier ||
		!strings.Contains(q.Get("scope"), "openid") || q.Has("client_secret") {
		t.Errorf("asked: %v", q)
	}
	if other := client.NewWay(s, true); other.Nonce == w.Nonce || other.Verifier == w.Verifier {
		t.Error("two ways have the same secrets")
	}
}

// Providers are asked under the rules of webhooks.
func TestWhereProvidersMayBe(t *testing.T) {
	p := ssotest.New(t)
	strict, demo := sso.New(webhook.Policy{}, time.Now), sso.New(webhook.Policy{Loopback: true}, time.Now)
	fatalIfErr(t, demo.Check(t.Context(), p.URL))
	for name, c := range map[string]struct {
		client *sso.Client
		issuer string
	}{"in clear": {demo, "http://login.example.com"}, "this machine": {strict, p.URL},
		"the intranet": {demo, "https://10.0.0.1"}, "metadata of a cloud": {demo, "https://169.254.169.254"},
		"no URL": {demo, "login"}, "another's description": {demo, p.URL + "/"}, "nobody": {demo, p.URL + "/nobody"},
		"a password": {demo, strings.Replace(p.URL, "//", "//a:b@", 1)}} {
		t.Run(name, func(t *testing.T) {
			var e *notary.Error
			if err := c.client.Check(t.Context(), c.issuer); !errors.As(err, &e) || e.Field != "issuer" {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	p.Describe = func(d map[string]any) { d["authorization_endpoint"] = "javascript:alert(1)" }
	if err := demo.Check(t.Context(), p.URL); err == nil {
		t.Error("the browser is sent to a script")
	}
}
