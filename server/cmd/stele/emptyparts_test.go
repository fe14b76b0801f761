package main

import (
	"net/http"
	"testing"
)

// A filter without a value would let everything through: it is refused, and says so. A cursor
// without one is the beginning.
func TestEmptyFilters(t *testing.T) {
	s := site{data: t.TempDir()}.start(t)
	for _, path := range []string{
		"records?class=", "records?standing=", "records?sm3=&limit=1", "events?types=", "records?reference=",
	} {
		t.Run(path, func(t *testing.T) {
			s.refuses(t, request{method: http.MethodGet, path: "/api/v1/" + path}, 422, "invalid_request",
				"leave it out, or give it a value")
		})
	}
	for _, path := range []string{"records?cursor=", "events?after=", "events?types=record.logged"} {
		t.Run(path, func(t *testing.T) {
			if res := s.get("/api/v1/" + path); res.status != http.StatusOK {
				t.Errorf("%s: %d %s", path, res.status, res.body)
			}
		})
	}
}
