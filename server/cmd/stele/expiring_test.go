package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// expiring is the message of a certificate's end, as a receiver reads it.
type expiring struct {
	Type string
	Data struct {
		Certificate struct {
			Fingerprint string
			NotAfter    time.Time
			DaysLeft    int
		}
	}
}

// The agency's own systems are told of the end, once for each step and certificate: by two servers that look at the
// same time, killed and started again; and no more of one that was renewed.
func TestCertificateExpiringEvents(t *testing.T) {
	t.Parallel()
	s := site{data: folder(t)}
	first, h := s.start(t), newHooks(t)
	h.connect(first)
	first.stop()
	var want []string
	look := func(where func(*server) string, says string) {
		t.Helper()
		servers := []*server{s.start(t), s.start(t, "--chain", "none")}
		for _, srv := range servers {
			eventually(t, "a server has looked", func() bool { return strings.Contains(where(srv), says) })
		}
		var got []string
		feed, raw, _ := servers[1].feed("")
		for _, e := range feed {
			var m expiring
			fatalIfErr(t, json.Unmarshal([]byte(raw[e.ID]), &m))
			c := m.Data.Certificate
			got = append(got, fmt.Sprint(m.Type, " ", c.Fingerprint, " ", c.NotAfter, " ", c.DaysLeft))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: told\n%q, want\n%q", says, got, want)
		}
		eventually(t, "the webhooks arrive", func() bool {
			bodies, _, _ := h.got()
			return len(bodies) >= len(raw)
		})
		bodies, _, wrong := h.got()
		for id, body := range bodies {
			if raw[id] != body {
				t.Errorf("%s arrived as %s, the feed says %s", id, body, raw[id])
			}
		}
		if len(wrong) > 0 {
			t.Errorf("%q", wrong)
		}
		for _, srv := range servers {
			srv.kill()
		}
	}
	certify := func(left time.Duration, days int) {
		t.Helper()
		ends := time.Now().Add(left).UTC().Truncate(time.Second)
		want = append(want, fmt.Sprint("certificate.expiring ", s.certify(t, ends), " ", ends, " ", days))
	}
	log := func(srv *server) string { return srv.log.String() } // its line comes after the event
	certify(12*24*time.Hour-time.Hour, 12)                      // the steps before are over
	look(log, "ends in 11 days")
	look(log, "ends in 11 days")
	certify(-time.Second, 0)
	look(log, "ended on")
	look(log, "ended on")
	s.succeeds(t, "agency", "renew", "--agency", demoCode)
	look(func(srv *server) string { return string(srv.get("/readyz").body) }, "agencies with a certificate: 1")
}
