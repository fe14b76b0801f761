// Package ssotest is an OpenID Connect provider for tests: complete enough to sign somebody in
// as it should, and told to do so as it should not.
package ssotest

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"
)

// The client that is registered at a provider.
const (
	ClientID = "stele"
	Secret   = "a secret of the client"
)

// Provider is a running provider. Its fields are set before the requests that they are about.
type Provider struct {
	URL    string
	Person map[string]any // claims of who is signed in there

	Alg       string                                        // of the header; empty for RS256
	Tamper    func(claims map[string]any)                   // what the ID token says
	Describe  func(document map[string]any)                 // what the provider says of itself
	Answer    func(http.ResponseWriter) bool                // instead of the token endpoint's; true: it did
	OtherKey  bool                                          // tokens are signed by a key that is not published
	Secret    []byte                                        // of HS256; nil: the modulus of the public key
	Hostile   func(http.ResponseWriter, *http.Request) bool // instead of any answer; true: it did
	LastQuery url.Values                                    // of the authorization request

	t          testing.TB
	key, other *rsa.PrivateKey

	mu    sync.Mutex
	codes map[string]url.Values // authorization requests by code; guarded by mu
}

// keys are made once: an RSA key takes a second under the race detector.
var keys = sync.OnceValue(func() (out [2]*rsa.PrivateKey) {
	for i := range out {
		out[i], _ = rsa.GenerateKey(rand.Reader, 2048) // fails for sizes that are too small only
	}
	return out
})

// New starts a provider on this machine.
func New(t testing.TB) *Provider {
	t.Helper()
	k := keys()
	p := &Provider{t: t, key: k[0], other: k[1], codes: map[string]url.Values{},
		Person: map[string]any{"sub": "1001", "name": "周主任", "email": "head@example.gov.cn", "email_verified": true}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", p.describe)
	mux.HandleFunc("GET /keys", func(rw http.ResponseWriter, _ *http.Request) {
		write(rw, map[string]any{"keys": []any{map[string]any{"kty": "RSA", "use": "sig", "kid": "1", "alg": "RS256",
			"n": encode(p.key.N.Bytes()), "e": encode(big.NewInt(int64(p.key.E)).Bytes())}}})
	})
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("POST /token", p.token)
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if p.Hostile != nil && r.Method == http.MethodPost {
			_ = r.ParseForm() // as long as a body is not read, the server does not see that a client has left
		}
		if p.Hostile == nil || !p.Hostile(rw, r) {
			mux.ServeHTTP(rw, r)
		}
	}))
	t.Cleanup(s.Close)
	p.URL = s.URL
	return p
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func write(rw http.ResponseWriter, v any) {
	rw.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(rw).Encode(v)
}

func (p *Provider) describe(rw http.ResponseWriter, _ *http.Request) {
	d := map[string]any{"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL +
		"/token", "jwks_uri": p.URL + "/keys",
		"response_types_supported": []string{"code"}, "id_token_signing_alg_values_supported": []string{"RS256"},
		"authorization_response_iss_parameter_supported": true}
	if p.Describe != nil {
		p.Describe(d)
	}
	write(rw, d)
}

// authorize lets the person in at once and sends the browser back.
func (p *Provider) authorize(rw http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	p.LastQuery = q
	if q.Get("client_id") != ClientID || q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" ||
		q.Get("nonce") == "" || q.Get("state") == "" {
		http.Error(rw, "bad request", http.StatusBadRequest)
		return
	}
	code := rand.Text()
	p.mu.Lock()
	p.codes[code] = q
	p.mu.Unlock()
	http.Redirect(rw, r, q.Get("redirect_uri")+"?"+url.Values{"code": {code}, "state": {q.Get("state")},
		"iss": {p.URL}}.Encode(), http.StatusFound)
}

// token gives an ID token for a code, once, to the client that the code was made for.
func (p *Provider) token(rw http.ResponseWriter, r *http.Request) {
	if p.Answer != nil && p.Answer(rw) {
		return
	}
	id, secret, _ := r.BasicAuth()
	p.mu.Lock()
	q, ok := p.codes[r.PostFormValue("code")]
	delete(p.codes, r.PostFormValue("code"))
	p.mu.Unlock()
	challenge := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	if clear, _ := url.QueryUnescape(secret); !ok || id != ClientID || clear != Secret ||
		r.PostFormValue("redirect_uri") != q.Get("redirect_uri") || encode(challenge[:]) != q.Get("code_challenge") {
		rw.WriteHeader(http.StatusBadRequest)
		write(rw, map[string]string{"error": "invalid_grant"})
		return
	}
	const access = "an access token"
	hash := sha256.Sum256([]byte(access))
	now := time.Now()
	claims := map[string]any{"iss": p.URL, "aud": ClientID, "nonce": q.Get("nonce"), "iat": now.Unix(),
		"exp": now.Add(time.Minute).Unix(), "auth_time": now.Unix(), "at_hash": encode(hash[:16])}
	maps.Copy(claims, p.Person)
	if p.Tamper != nil {
		p.Tamper(claims)
	}
	write(rw, map[string]any{"access_token": access, "token_type": "Bearer", "expires_in": 60,
		"id_token": p.sign(claims)})
}

// sign makes a JWT (RFC 7519), by the algorithm that the test asks for.
func (p *Provider) sign(claims map[string]any) string {
	alg := p.Alg
	if alg == "" {
		alg = "RS256"
	}
	header, err := json.Marshal(map[string]string{"alg": alg, "kid": "1", "typ": "JWT"})
	if err != nil {
		p.t.Error(err)
	}
	body, err := json.Marshal(claims)
	if err != nil {
		p.t.Error(err)
	}
	text := encode(header) + "." + encode(body)
	sum := sha256.Sum256([]byte(text))
	switch alg {
	case "none":
		return text + "."
	case "HS256": // by what everybody knows
		secret := p.Secret
		if secret == nil {
			secret = p.key.N.Bytes()
		}
		m := hmac.New(sha256.New, secret)
		m.Write([]byte(text))
		return text + "." + encode(m.Sum(nil))
	}
	key := p.key
	if p.OtherKey {
		key = p.other
	}
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		p.t.Error(err)
	}
	return text + "." + encode(sig)
}

// PublicPEM is the public key as libraries take it from a file: what a verifier that lets a token
// choose its algorithm would take for the secret of HS256.
func (p *Provider) PublicPEM() []byte {
	der, err := x509.MarshalPKIXPublicKey(&p.key.PublicKey)
	if err != nil {
		p.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// Visit goes to an authorization address as a browser does, and returns where it is sent back.
func (p *Provider) Visit(address string) *url.URL {
	p.t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Get(address)
	if err != nil {
		p.t.Fatal(err)
	}
	res.Body.Close()
	back, err := res.Location()
	if err != nil {
		p.t.Fatalf("the provider does not send back: %s", res.Status)
	}
	return back
}
