package tus

import (
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tus/tusd/v2/pkg/handler"

	"stele/notary"
	"stele/notary/register/upload"
)

// down is a database that does not work.
type down struct{ upload.Store }

var errDown = errors.New("secret host refuses")

func (down) AddUpload(context.Context, upload.Upload, *upload.Part, int) error { return errDown }
func (down) FindUpload(context.Context, string, string) (upload.Upload, error) {
	return upload.Upload{}, errDown
}

// answered is what a handler told of an error.
type answered struct {
	status int
	err    error
}

func newHandler(t *testing.T, last *answered) *Handler {
	t.Helper()
	h, err := New(
		Config{Uploads: upload.New(down{}, nil, upload.Options{Limits: upload.DefaultLimits(), Now: time.Now,
			Log: slog.New(slog.DiscardHandler)}), MaxSize: 100, Path: "/u",
			ReadTimeout: time.Minute, Agency: func(context.Context) string { return "agency" },
			Problem: func(w http.ResponseWriter, _ *http.Request, status int, err error) {
				*last = answered{status, err}
				w.WriteHeader(http.StatusTeapot)
			}})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// Every error is answered in our words, with our codes: none of tusd's gets out, nor a
// database's.
func TestErrorsAreOurs(t *testing.T) {
	var last answered
	h := newHandler(t, &last)
	call := func(method, path string, header map[string]string) answered {
		last = answered{}
		r := httptest.NewRequest(method, path, strings.NewReader("abc"))
		r.Header.Set("Tus-Resumable", "1.0.0")
		for k, v := range header {
			r.Header.Set(k, v)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusTeapot || w.Body.Len() > 0 {
			t.Errorf("%s %s: %d %s", method, path, w.Code, w.Body)
		}
		return last
	}
	piece := map[string]string{"Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
	for name, c := range map[string]struct {
		got  answered
		want notary.Code
	}{
		"create, down": {call("POST", "/u", map[string]string{"Upload-Length": "5"}), notary.CodeUnavailable},
		"head, down":   {call("HEAD", "/u/a", nil), notary.CodeUnavailable},
		"patch, down":  {call("PATCH", "/u/a", piece), notary.CodeUnavailable},
		"delete, down": {call("DELETE", "/u/a", nil), notary.CodeUnavailable},
		"get":          {call("GET", "/u/a", nil), notary.CodeMalformed},
		"put":          {call("PUT", "/u", nil), notary.CodeMalformed},
		"override": {call("POST", "/u", map[string]string{"X-HTTP-Method-Override": "TRACE"}),
			notary.CodeMalformed},
		"version":  {call("PATCH", "/u/a", map[string]string{"Tus-Resumable": "2"}), notary.CodeMalformed},
		"large":    {call("POST", "/u", map[string]string{"Upload-Length": "101"}), notary.CodeTooLarge},
		"deferred": {call("POST", "/u", map[string]string{"Upload-Defer-Length": "1"}), notary.CodeMalformed},
		"metadata": {call("POST", "/u", map[string]string{"Upload-Length": "5", "Upload-Metadata": "a b c"}),
			notary.CodeMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			if code := notary.CodeOf(c.got.err); code != c.want {
				t.Errorf("%s: %s, want %s: %v", name, code, c.want, c.got.err)
			}
		})
	}
	for code, p := range problems {
		if !strings.HasPrefix(code, "ERR_") || p.err == nil {
			t.Errorf("%s: %+v", code, p)
		}
	}
}

func TestParseMetadata(t *testing.T) {
	for header, want := range map[string]map[string]string{
		"":                         {},
		"a":                        {"a": ""},
		"a Yg==":                   {"a": "b"},
		"a Yg==,c, filename 5paH":  {"a": "b", "c": "", "filename": "文"},
		"is_confidential,a-b Yg==": {"is_confidential": "", "a-b": "b"},
	} {
		t.Run(header, func(t *testing.T) {
			if got, err := ParseMetadata(header); err != nil || !maps.Equal(got, want) {
				t.Errorf("%q: %v %v", header, got, err)
			}
		})
	}
	for _, bad := range []string{",", "a b", "a Yg", "a Yh==", "a Yg==,a", "a  Yg==", "a Yg== c", "a /w==", "\x00 Yg==",
		"名 Yg==", " "} {
		if got, err := ParseMetadata(bad); err == nil {
			t.Errorf("%q: %v", bad, got)
		}
	}
}

// What is accepted, tusd reads in the same way: nothing is checked that is not what is kept.
func FuzzMetadata(f *testing.F) {
	f.Add("filename 5paH,a,b Yg==")
	f.Add(" a Yg== , b")
	f.Fuzz(func(t *testing.T, header string) {
		m, err := ParseMetadata(header)
		if err != nil {
			if notary.CodeOf(err) != notary.CodeMalformed {
				t.Fatal(err)
			}
			return
		}
		if theirs := handler.ParseMetadataHeader(header); !maps.Equal(m, theirs) {
			t.Fatalf("%q: %q, tusd reads %q", header, m, theirs)
		}
		var pairs []string
		for k, v := range m {
			pairs = append(pairs, k+" "+base64.StdEncoding.EncodeToString([]byte(v)))
			if v == "" {
				pairs[len(pairs)-1] = k
			}
		}
		if again, err := ParseMetadata(strings.Join(pairs, ",")); err != nil || !maps.Equal(again, m) {
			t.Fatalf("%q: %q, written anew %q %v", header, m, again, err)
		}
	})
}
