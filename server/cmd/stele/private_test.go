package main

import (
	"net/http"
	"strings"
	"testing"

	"stele/storage/storagetest/freeport"
)

// Profiles are served where only this machine asks, if at all, and never beside the metrics.
func TestProfiles(t *testing.T) {
	t.Parallel()
	site := site{data: folder(t)}
	for _, addr := range []string{":6060", "0.0.0.0:6060", "[::]:6060", "10.0.0.1:6060", "localhost:6060", "127.0.0.1",
		"stele.example:6060"} {
		t.Run(addr, func(t *testing.T) {
			if _, errs, code := site.output(t, "serve", "--pprof-listen", addr); code == 0 || !strings.Contains(errs,
				"not a loopback address") {
				t.Errorf("%s: %d %s", addr, code, errs)
			}
		})
	}
	status := func(addr, path string) int {
		res, err := httpClient.Get("http://" + addr + path)
		fatalIfErr(t, err)
		res.Body.Close()
		return res.StatusCode
	}
	metrics, profiles := freeport.Address(t), freeport.Address(t)
	s := site.start(t, "--metrics-listen", metrics, "--pprof-listen", profiles)
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/cmdline"} {
		t.Run(path, func(t *testing.T) {
			if got := status(metrics, path); got != http.StatusNotFound {
				t.Errorf("%s beside the metrics: %d", path, got)
			}
			if got := s.get(path).status; got != http.StatusNotFound {
				t.Errorf("%s in public: %d", path, got)
			}
		})
	}
	if got := status(profiles, "/debug/pprof/heap"); got != http.StatusOK {
		t.Errorf("a profile: %d", got)
	}
	if got := status(metrics, "/metrics"); got != http.StatusOK {
		t.Errorf("the metrics: %d", got)
	}
	if got := status(profiles, "/metrics"); got != http.StatusNotFound {
		t.Errorf("the metrics beside the profiles: %d", got)
	}
	s.stop()
}
