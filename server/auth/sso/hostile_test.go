package sso

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stele/notary"
	"stele/notary/office/people"
	"stele/notary/office/webhook"
	"stele/server/auth/sso/ssotest"
)

// endless is a body without end, of which a line comes now and then.
func endless(rw http.ResponseWriter, r *http.Request, line string, pause time.Duration) {
	rw.Header().Set("Content-Type", "application/json")
	for r.Context().Err() == nil {
		if _, err := io.WriteString(rw, line); err != nil {
			return
		}
		if pause > 0 {
			_ = http.NewResponseController(rw).Flush()
			time.Sleep(pause) // as slow as the test wants the provider
		}
	}
}

// Whatever a provider does at any of the addresses that it is asked at, nobody is signed in, and the
// call ends: by what it may bring, or by its time.
func TestHostileProvider(t *testing.T) {
	deep := strings.Repeat("[", 200_000)
	for name, answer := range map[string]func(http.ResponseWriter, *http.Request){
		"says nothing": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"trickles":     func(rw http.ResponseWriter, r *http.Request) { endless(rw, r, " ", 20*time.Millisecond) },
		"floods":       func(rw http.ResponseWriter, r *http.Request) { endless(rw, r, strings.Repeat(" ", 1<<16), 0) },
		"is deep":      func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, deep) },
		"is huge": func(rw http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(rw, `{"issuer":"`+strings.Repeat("x", maxBody)+`"}`)
		},
		"goes round": func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Location", r.URL.String())
			rw.WriteHeader(http.StatusFound)
		},
		"hangs up": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"has a huge header": func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("X-Filler", strings.Repeat("x", 1<<20))
		},
	} {
		for _, at := range []string{"/.well-known/openid-configuration", "/token", "/keys"} {
			t.Run(name+" at "+at, func(t *testing.T) {
				t.Parallel()
				p := ssotest.New(t)
				var called atomic.Int64
				p.Hostile = func(rw http.ResponseWriter, r *http.Request) bool {
					if r.URL.Path != at {
						return false
					}
					called.Add(1)
					answer(rw, r)
					return true
				}
				err := wayWith(t, p, func(c *Client) { c.http.Timeout = 300 * time.Millisecond })
				if err == nil || notary.CodeOf(err) == notary.CodeInternal {
					t.Errorf("got %v", err)
				}
				// A call whose connection ended before anything came may be made once more.
				if n := called.Load(); n == 0 || n > 2 {
					t.Errorf("the provider was asked %d times", n)
				}
			})
		}
	}
}

// wayWith goes to a provider and back and returns what that came to.
func wayWith(t *testing.T, p *ssotest.Provider, change func(*Client)) error {
	t.Helper()
	c := New(webhook.Policy{Loopback: true}, time.Now)
	change(c)
	s := Settings{Provider: people.Provider{Issuer: p.URL, ClientID: ssotest.ClientID}, Secret: ssotest.Secret,
		Redirect: "https://stele.example.gov.cn/console/sign-in/sso/callback"}
	w := c.NewWay(s, false)
	to, err := c.Address(t.Context(), s, w, "state")
	if err != nil {
		return err
	}
	id, err := c.Finish(t.Context(), s, w, p.Visit(to).Query())
	if err == nil && id.Subject == "" {
		err = errors.New("nobody")
	}
	return err
}

// A provider's own word that it signs by what everybody can, or by a secret that it publishes, is
// not taken.
func TestAlgorithmsAreOurs(t *testing.T) {
	for name, change := range map[string]func(*ssotest.Provider){
		"none":                       func(p *ssotest.Provider) { p.Alg = "none" },
		"the public key as a secret": func(p *ssotest.Provider) { p.Alg, p.Secret = "HS256", p.PublicPEM() },
		"a published secret": func(p *ssotest.Provider) {
			p.Alg, p.Secret = "HS256", []byte("a secret that is published")
			p.Hostile = func(rw http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != "/keys" {
					return false
				}
				rw.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(rw, `{"keys":[{"kty":"oct","kid":"1","alg":"HS256",`+
					`"k":"YSBzZWNyZXQgdGhhdCBpcyBwdWJsaXNoZWQ"}]}`)
				return true
			}
		},
		"the client's secret": func(p *ssotest.Provider) { p.Alg, p.Secret = "HS256", []byte(ssotest.Secret) },
	} {
		t.Run(name, func(t *testing.T) {
			p := ssotest.New(t)
			change(p)
			alg := p.Alg
			p.Describe = func(d map[string]any) { d["id_token_signing_alg_values_supported"] = []string{alg, "RS256"} }
			if err := wayWith(t, p, func(*Client) {}); notary.CodeOf(err) != notary.CodeForbidden {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	if err := wayWith(t, ssotest.New(t), func(*Client) {}); err != nil {
		t.Errorf("as it should be: %v", err)
	}
}
