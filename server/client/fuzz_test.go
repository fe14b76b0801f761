package client

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// What a service, or something in its place, answers must not bring the caller down.
func FuzzProblem(f *testing.F) {
	f.Add(503, "application/problem+json", "5", `{"code":"busy","detail":"Later."}`)
	f.Add(302, "text/html", "", `<html>`)
	f.Add(422, "application/problem+json", "Sun, 22 Nov 2026 06:28:41 GMT",
		`{"code":"invalid_request","errors":[{"field":"sm3","detail":"x"}]}`)
	f.Fuzz(func(t *testing.T, status int, media, after, body string) {
		p := parseProblem(status, http.Header{"Content-Type": {media}, "Retry-After": {after},
			"Date": {"Sun, 22 Nov 2026 06:28:41 GMT"}}, []byte(body))
		if p.Status != status || p.RetryAfter < 0 || p.Error() == "" && p.Code == "" {
			t.Errorf("%+v", p)
		}
		repeat(p, firstPause)
	})
}

func FuzzLimits(f *testing.F) {
	f.Add(`"requests";r=119;t=60, "records";r=3;t=3600`)
	f.Fuzz(func(t *testing.T, text string) {
		for name, l := range parseLimits(text) {
			if name == "" || l.Reset < 0 {
				t.Errorf("%q: %+v", name, l)
			}
		}
	})
}

// Lines are those that the standard library finds, as long as they end.
func FuzzLines(f *testing.F) {
	f.Add("{\"record\":\"a\",\"bundle\":\"A\"}\n{}")
	f.Fuzz(func(t *testing.T, text string) {
		r := bufio.NewReaderSize(strings.NewReader(text), 16)
		for _, want := range bytes.SplitAfter([]byte(text), []byte("\n")) {
			line, err := readLine(r)
			if !bytes.HasSuffix(want, []byte("\n")) {
				if err == nil {
					t.Errorf("%q is taken for a line", line)
				}
				return
			}
			if err != nil || !bytes.Equal(line, want) {
				t.Errorf("%q, %v; want %q", line, err, want)
			}
			_, _ = (&Client{}).bundleLine(line, "a")
		}
	})
}

func FuzzEvent(f *testing.F) {
	f.Add([]byte(
		`{"id":"evt_","type":"record.anchored","timestamp":"2026-11-22T06:28:41.123Z","data":{"number":"420100-2026-00000000-7"}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var e Event
		if json.Unmarshal(text, &e) == nil {
			_, _ = e.Record()
		}
	})
}
