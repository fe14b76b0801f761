package api

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"

	"stele/notary"
	"stele/notary/proof"
)

func mount(t *testing.T) chi.Router {
	t.Helper()
	r := chi.NewRouter()
	if _, err := New(r, Config{Agencies: nobody{}, Limits: DefaultLimits(), MaxBatch: 10, Version: "test",
		Now: time.Now, Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	return r
}

type nobody struct{ Agencies }

// privatePath are the addresses of an agency's own.
var privatePath = regexp.MustCompile(`^/api/v1/(records|keys?|webhooks|events|uploads|entries|log/tile/entries)(/|$)`)

// Every route is described, and everything described is a route.
func TestOpenAPIMatchesRoutes(t *testing.T) {
	r := mount(t)
	res := httptest.NewRecorder()
	r.ServeHTTP(res, httptest.NewRequest(http.MethodGet, "/openapi.json", nil))
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]struct {
			OperationID string
			Summary     string
			Responses   map[string]any
			Security    []map[string][]string
		}
	}
	if err := json.Unmarshal(res.Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Errorf("OpenAPI %s", doc.OpenAPI)
	}
	described, ids := map[string]bool{}, map[string]bool{}
	for path, ops := range doc.Paths {
		for method, op := range ops {
			described[strings.ToUpper(method)+" "+path] = true
			if op.OperationID == "" || op.Summary == "" || ids[op.OperationID] || len(op.Responses) < 1 {
				t.Errorf("%s %s: %+v", method, path, op)
			}
			ids[op.OperationID] = true
			private := privatePath.MatchString(path)
			if private != (len(op.Security) > 0) {
				t.Errorf("%s %s: security %v", method, path, op.Security)
			}
			if _, has := op.Responses["401"]; private && !has {
				t.Errorf("%s %s does not say that it answers 401", method, path)
			}
		}
	}
	err := chi.Walk(r, func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		route = strings.NewReplacer("/tile/*", "/tile/{tile}", "/entries/*", "/entries/{tile}").Replace(route)
		if strings.HasPrefix(route, "/openapi") || strings.HasPrefix(route, "/docs/") {
			return nil
		}
		if !described[method+" "+route] {
			t.Errorf("%s %s is not described", method, route)
		}
		delete(described, method+" "+route)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for d := range described {
		t.Errorf("%s is described and does not exist", d)
	}
}

// An error that nobody made for the outside says nothing.
func TestInternalErrorsStayInside(t *testing.T) {
	for name, err := range map[string]error{
		"bare":    json.Unmarshal([]byte("{secret"), new(int)),
		"wrapped": notary.Wrap(notary.CodeUnavailable, json.Unmarshal([]byte("{secret"), new(int)), "Try again."),
	} {
		t.Run(name, func(t *testing.T) {
			res := httptest.NewRecorder()
			WriteProblem(res, err)
			if body := res.Body.String(); strings.Contains(body, "secret") ||
				strings.Contains(body, "invalid character") {
				t.Errorf("leaks: %s", res.Body)
			}
			if res.Header().Get("Content-Type") != "application/problem+json" {
				t.Error(res.Header())
			}
		})
	}
}

// Each code has a status, and each status that passes by itself says when to come back.
func TestEveryCodeHasAStatus(t *testing.T) {
	for code, status := range statusOf {
		if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
			if _, ok := retryAfter[code]; !ok {
				t.Errorf("%s has no Retry-After", code)
			}
		}
		p := problemOf(notary.Errorf(code, "x"))
		if p.Status != status || p.Code != string(code) {
			t.Errorf("%s: %+v", code, p)
		}
	}
}

func TestCursorIsCanonical(t *testing.T) {
	for _, i := range []uint64{0, 1, 1 << 40} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			got, err := parseCursor(formatCursor(i))
			if err != nil || *got != i {
				t.Errorf("%d: %v %v", i, got, err)
			}
		})
	}
	for _, bad := range []string{"a", "AAAAAAAAAAAA", "________", strings.Repeat("A", 100)} {
		t.Run(fmt.Sprintf("%.20q", bad), func(t *testing.T) {
			if _, err := parseCursor(bad); err == nil {
				t.Errorf("accepted %q", bad)
			}
		})
	}
}

func FuzzRecordJSON(f *testing.F) {
	f.Add([]byte(`{"sm3":"00","size":1,"fields":{"a":"b"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var n NewRecord
		if err := decodeBytes(b, maxRecordJSON, &n); err != nil {
			if p := problemOf(err); p.Status >= 500 {
				t.Fatalf("%q gives %d", b, p.Status)
			}
		}
	})
}

// TestVerdictsAreDescribed: the description lists every verdict that there is, and no other.
func TestVerdictsAreDescribed(t *testing.T) {
	res := httptest.NewRecorder()
	mount(t).ServeHTTP(res, httptest.NewRequest(http.MethodGet, "/openapi.json", nil))
	var doc struct {
		Components struct {
			Schemas struct {
				Report struct {
					Properties struct {
						Verdict struct{ Enum []proof.Verdict }
					}
				}
			}
		}
	}
	if err := json.Unmarshal(res.Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	var want []proof.Verdict
	for _, row := range proof.Verdicts() {
		want = append(want, row.Verdict)
	}
	if got := doc.Components.Schemas.Report.Properties.Verdict.Enum; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
