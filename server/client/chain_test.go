package client

import (
	"net/http"
	"strings"
	"testing"
)

// TestEpochs: pages are put together, and a list that leads in a circle ends.
func TestEpochs(t *testing.T) {
	page := func(body string) func(*http.Request) (*http.Response, error) {
		return func(r *http.Request) (*http.Response, error) {
			if r.Header.Get("Authorization") != "" {
				t.Error("the key was sent")
			}
			return answers(200, body)(r)
		}
	}
	s := &script{answers: []func(*http.Request) (*http.Response, error){
		page(`{"chain":"c","newest":2,"epochs":[{"number":1,"signed":"one"}],"next":2}`),
		page(`{"chain":"c","newest":2,"epochs":[{"number":2,"signed":"two",
			"first":{"header":"h","cosignatures":[{"validator":1,"signature":"AA=="}]}}]}`)}}
	got, err := s.client().Epochs(t.Context())
	if err != nil || got.Chain != "c" || len(got.Epochs) != 2 || got.Epochs[1].First.Cosignatures[0].Signature[0] != 0 {
		t.Errorf("%+v %v", got, err)
	}
	circle := page(`{"chain":"c","newest":2,"epochs":[{"number":1,"signed":"one"}],"next":1}`)
	s = &script{answers: []func(*http.Request) (*http.Response, error){circle, circle}}
	if _, err := s.client().Epochs(t.Context()); err == nil || !strings.Contains(err.Error(), "does not end") {
		t.Error(err)
	}
}
