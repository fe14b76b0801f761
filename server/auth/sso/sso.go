// Package sso signs people in at their agency's OpenID Connect provider (OpenID Connect Core
// 1.0, authorization code flow with PKCE, RFC 7636). It asks providers, which are addresses
// that an admin typed, under the rules of webhooks; who an identity belongs to is package
// people's to say.
package sso

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"stele/notary"
	"stele/notary/office/people"
	"stele/notary/office/webhook"
	"stele/server/remote/deliver"
)

// Bounds of what a provider can make us hold or wait for.
const (
	timeout   = 10 * time.Second // of one call
	maxBody   = 256 << 10        // bytes of an answer: keys of a large provider take some tens of thousands
	knownFor  = time.Hour        // after which its description is read again
	maxKnown  = 1000             // providers whose description is remembered
	maxAnswer = 8 << 10          // bytes of a parameter that the browser brings back
	maxText   = 255              // bytes of a subject (Core section 2), and of a claim
	clockSkew = 2 * time.Minute  // between the provider's clock and ours
)

// Client speaks with providers. It is safe for concurrent use.
type Client struct {
	policy webhook.Policy
	http   *http.Client
	now    func() time.Time

	mu    sync.Mutex
	known map[string]*provider // by issuer; guarded by mu
}

// provider is what a provider says of itself (OpenID Connect Discovery 1.0, section 3).
type provider struct {
	*oidc.Provider
	readAt  time.Time
	Methods []string `json:"token_endpoint_auth_methods_supported"`
	Tells   bool     `json:"authorization_response_iss_parameter_supported"` // RFC 9207
	Auth    string   `json:"authorization_endpoint"`
}

// New returns a client that asks what the policy allows.
func New(policy webhook.Policy, now func() time.Time) *Client {
	c := deliver.Client(policy, timeout)
	c.Transport = &careful{policy, c.Transport}
	return &Client{policy: policy, http: c, now: now, known: map[string]*provider{}}
}

// careful looks at each address before it is called, as those of a provider's description are
// its own to choose, and ends answers that are too long.
type careful struct {
	policy webhook.Policy
	next   http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (c *careful) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := c.policy.CheckURL(r.URL.String()); err != nil {
		return nil, err
	}
	res, err := c.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody+1))
	if err == nil && len(body) > maxBody {
		err = errors.New("the answer is too long")
	}
	if err != nil {
		return nil, err
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	return res, nil
}

// because is an error about one part of a way, for the text that people read.
func because(code notary.Code, field string, cause error, message string) error {
	e := notary.Wrap(code, cause, "%s", message)
	e.Field = field
	return e
}

func errProvider(err error) error {
	return because(notary.CodeNotReady, "provider", err,
		"The provider cannot be asked, or does not answer as it should.")
}

// Check reads a provider's description anew: for whoever sets one up.
func (c *Client) Check(ctx context.Context, issuer string) error {
	if err := c.policy.CheckURL(issuer); err != nil {
		return notary.InvalidField("issuer", "The issuer must be an https URL at a public address.")
	}
	c.mu.Lock()
	delete(c.known, issuer)
	c.mu.Unlock()
	if _, err := c.describe(ctx, issuer); err != nil {
		return because(notary.CodeInvalid, "issuer", err, "No provider answers there.")
	}
	return nil
}

// describe reads what a provider says of itself, unless that was done a short while ago.
func (c *Client) describe(ctx context.Context, issuer string) (*provider, error) {
	c.mu.Lock()
	p, ok := c.known[issuer]
	c.mu.Unlock()
	if ok && c.now().Sub(p.readAt) < knownFor {
		return p, nil
	}
	// The library keeps the client for later calls, and nothing else of this context.
	found, err := oidc.NewProvider(oidc.ClientContext(ctx, c.http), issuer)
	if err != nil {
		return nil, err
	}
	p = &provider{Provider: found, readAt: c.now()}
	if err := found.Claims(p); err != nil {
		return nil, err
	}
	at, err := url.Parse(p.Auth)
	if err != nil || at.Host == "" || at.User != nil || at.Scheme != "https" &&
		!(c.policy.Loopback && at.Scheme == "http") {
		return nil, errors.New("the authorization endpoint is no https URL")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.known) >= maxKnown {
		clear(c.known)
	}
	c.known[issuer] = p
	return p, nil
}

// Settings are an agency's provider with the opened secret, and where it sends people back to.
type Settings struct {
	people.Provider
	Secret   string
	Redirect string // exactly as it is registered at the provider
}

func (s Settings) config(p *provider) *oauth2.Config {
	end := p.Endpoint()
	end.AuthStyle = oauth2.AuthStyleInHeader // what is taken where nothing is said (Discovery section 3)
	if s.Secret == "" || len(p.Methods) > 0 && !slices.Contains(p.Methods, "client_secret_basic") {
		end.AuthStyle = oauth2.AuthStyleInParams
	}
	return &oauth2.Config{ClientID: s.ClientID, ClientSecret: s.Secret, Endpoint: end, RedirectURL: s.Redirect,
		Scopes: []string{oidc.ScopeOpenID, oidc.ScopeProfile, oidc.ScopeEmail}}
}

// Way is what is kept while somebody is away at a provider.
type Way struct {
	Issuer   string    `json:"issuer"`
	ClientID string    `json:"client"`
	Nonce    string    `json:"nonce"`
	Verifier string    `json:"verifier"` // PKCE
	Anew     bool      `json:"anew"`     // the person must show there who they are, although they did before
	BeganAt  time.Time `json:"beganAt"`
}

// NewWay makes the secrets of one way there and back.
func (c *Client) NewWay(s Settings, anew bool) Way {
	return Way{Issuer: s.Issuer, ClientID: s.ClientID, Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(),
		Anew: anew, BeganAt: c.now().UTC()}
}

// Address is where the browser goes; state names the attempt.
func (c *Client) Address(ctx context.Context, s Settings, w Way, state string) (string, error) {
	p, err := c.describe(ctx, s.Issuer)
	if err != nil {
		return "", errProvider(err)
	}
	options := []oauth2.AuthCodeOption{oidc.Nonce(w.Nonce), oauth2.S256ChallengeOption(w.Verifier)}
	if s.ACR != "" {
		options = append(options, oauth2.SetAuthURLParam("acr_values", s.ACR))
	}
	if w.Anew {
		options = append(options, oauth2.SetAuthURLParam("prompt", "login"), oauth2.SetAuthURLParam("max_age", "0"))
	}
	return s.config(p).AuthCodeURL(state, options...), nil
}

// Refused means that the provider, or the person there, said no; the text is the provider's
// code (RFC 6749 section 4.1.2.1) and untrusted.
type Refused struct{ Code string }

// Error implements error.
func (e *Refused) Error() string { return fmt.Sprintf("the provider refused: %q", e.Code) }

func errToken(err error) error {
	return because(notary.CodeForbidden, "token", err, "What the provider says of the person does not hold.")
}

// claims are what an ID token says beside what the library reads.
type claims struct {
	AuthorizedParty string          `json:"azp"`
	AuthTime        json.RawMessage `json:"auth_time"`
	ACR             string          `json:"acr"`
	AMR             []string        `json:"amr"`
	Name            string          `json:"name"`
	EmailVerified   any             `json:"email_verified"`
}

// Finish takes what the browser brought back from a way and returns who the provider says that
// the person is.
func (c *Client) Finish(ctx context.Context, s Settings, w Way, back url.Values) (people.Identity, error) {
	if w.Issuer != s.Issuer || w.ClientID != s.ClientID {
		return people.Identity{}, errToken(errors.New("the provider was changed meanwhile"))
	}
	p, err := c.describe(ctx, s.Issuer)
	if err != nil {
		return people.Identity{}, errProvider(err)
	}
	// RFC 9207: an answer of another provider
	if iss := back.Get("iss"); iss != "" && iss != s.Issuer || iss == "" && p.Tells {
		return people.Identity{}, errToken(fmt.Errorf("the answer is of the issuer %q", iss))
	}
	code := back.Get("code")
	if e := back.Get("error"); e != "" || code == "" {
		return people.Identity{}, because(notary.CodeForbidden, "refused", &Refused{e[:min(len(e), maxText)]},
			"The provider did not let the person in.")
	}
	if len(code) > maxAnswer {
		return people.Identity{}, errToken(errors.New("the code is too long"))
	}
	ctx = oidc.ClientContext(ctx, c.http)
	token, err := s.config(p).Exchange(ctx, code, oauth2.VerifierOption(w.Verifier))
	if err != nil {
		return people.Identity{}, errProvider(err)
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return people.Identity{}, errToken(errors.New("there is no ID token"))
	}
	id, err := p.Verifier(&oidc.Config{ClientID: s.ClientID, Now: c.now}).Verify(ctx, raw)
	if err != nil {
		return people.Identity{}, errToken(err)
	}
	return c.read(s, w, id, token.AccessToken)
}

// read checks what the library leaves to its caller (Core section 3.1.3.7) and reads who it is.
func (c *Client) read(s Settings, w Way, id *oidc.IDToken, accessToken string) (people.Identity, error) {
	var known claims
	if err := id.Claims(&known); err != nil {
		return people.Identity{}, errToken(err)
	}
	all := map[string]any{}
	if err := id.Claims(&all); err != nil {
		return people.Identity{}, errToken(err)
	}
	switch {
	case subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(w.Nonce)) != 1:
		return people.Identity{}, errToken(errors.New("the nonce is another one"))
	case len(id.Audience) > 1 && known.AuthorizedParty == "", known.AuthorizedParty != "" &&
		known.AuthorizedParty != s.ClientID:
		return people.Identity{}, errToken(errors.New("the token was made for another client"))
	case id.Subject == "" || len(id.Subject) > maxText ||
		strings.ContainsFunc(id.Subject, func(r rune) bool { return r < ' ' || r > '~' }):
		return people.Identity{}, errToken(errors.New("the subject is none"))
	case id.IssuedAt.After(c.now().Add(clockSkew)):
		return people.Identity{}, errToken(errors.New("the token is of the future"))
	}
	if id.AccessTokenHash != "" {
		if err := id.VerifyAccessToken(accessToken); err != nil {
			return people.Identity{}, errToken(err)
		}
	}
	if w.Anew {
		var seconds int64
		if err := json.Unmarshal(known.AuthTime, &seconds); err != nil ||
			time.Unix(seconds, 0).Before(w.BeganAt.Add(-clockSkew)) {
			return people.Identity{}, errToken(errors.New("the provider did not ask the person again"))
		}
	}
	out := people.Identity{Issuer: id.Issuer, Subject: id.Subject, Name: cut(known.Name), Strong: s.strong(known)}
	if s.Claim != "" {
		text, _ := all[s.Claim].(string)
		if verified := known.EmailVerified == true || known.EmailVerified == "true"; s.Claim == "email" && !verified {
			text = "" // whoever may type an address into the provider's form would be whom they like
		}
		if len(text) <= maxText {
			out.Claim = text
		}
	}
	if out.Name == "" {
		out.Name = out.Claim
	}
	return out, nil
}

// strong reports whether a sign-in at the provider counts as a second factor.
func (s Settings) strong(k claims) bool {
	switch s.Strength {
	case people.StrengthAlways:
		return true
	case people.StrengthClaimed:
		return slices.Contains(k.AMR, "mfa") || s.ACR != "" && k.ACR == s.ACR
	}
	return false
}

// cut keeps what can be shown in a line.
func cut(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, ""))
	return strings.ToValidUTF8(text[:min(len(text), maxText)], "")
}
