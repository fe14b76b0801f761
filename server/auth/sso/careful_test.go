package sso

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"stele/notary/office/webhook"
)

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// What a provider names as its own is called under the rules of webhooks, and read to a bound.
func TestCareful(t *testing.T) {
	called, size := 0, 10
	c := &careful{webhook.Policy{Loopback: true}, transport(func(*http.Request) (*http.Response, error) {
		called++
		return &http.Response{StatusCode: http.StatusOK,
			Body: io.NopCloser(strings.NewReader(strings.Repeat("x", size)))}, nil
	})}
	call := func(url string) error {
		req, err := http.NewRequest(http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := c.RoundTrip(req)
		if err == nil {
			res.Body.Close()
		}
		return err
	}
	for _, url := range []string{"http://login.example.com/token", "https://10.0.0.1/token",
		"https://a:b@login.example.com/token", "file:///token"} {
		if err := call(url); err == nil || called != 0 {
			t.Errorf("%s was called: %v", url, err)
		}
	}
	if err := call("https://login.example.com/token"); err != nil || called != 1 {
		t.Errorf("called %d times: %v", called, err)
	}
	if size = maxBody + 1; call("https://login.example.com/token") == nil {
		t.Error("an answer that is too long is taken")
	}
}
