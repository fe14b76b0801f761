package webhook

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"stele/notary"
)

// The schedule is the specification's, in three to four days, and never earlier than it says.
func TestRetrySchedule(t *testing.T) {
	for _, jitter := range []float64{0, 0.5, 0.999} {
		now, attempts := at, 1
		for {
			next, again := retryAt(attempts, now, 0, jitter)
			if !again {
				break
			}
			if pause := next.Sub(now); pause < schedule[attempts-1] || pause > schedule[attempts-1]*12/10 {
				t.Errorf("attempt %d follows after %v", attempts+1, pause)
			}
			now = next
			attempts++
		}
		if took := now.Sub(at); attempts != 10 || took < 75*time.Hour || took >= 4*24*time.Hour {
			t.Errorf("%d attempts in %v", attempts, took)
		}
	}
	for wish, want := range map[time.Duration]time.Duration{time.Second: 5 * time.Second, time.Minute: time.Minute,
		100 * time.Hour: 24 * time.Hour} {
		if next, again := retryAt(1, at, wish, 0); !again || next.Sub(at) != want {
			t.Errorf("Retry-After %v gives %v", wish, next.Sub(at))
		}
	}
}

func TestParseRetryAfter(t *testing.T) {
	for header, want := range map[string]time.Duration{"": 0, "0": 0, " 120 ": 2 * time.Minute, "-1": 0, "1.5": 0,
		"x": 0, "99999999999999999999": 0, "9223372036854775807": 24 * time.Hour,
		"Sun, 22 Nov 2026 06:29:41 GMT": 59*time.Second + 877*time.Millisecond, "Sun, 22 Nov 2026 06:00:00 GMT": 0,
		"Sun, 22 Nov 2099 06:00:00 GMT": 24 * time.Hour} {
		t.Run(header, func(t *testing.T) {
			if got := ParseRetryAfter(header, at); got != want {
				t.Errorf("%q: got %v, want %v", header, got, want)
			}
		})
	}
}

func FuzzParseRetryAfter(f *testing.F) {
	f.Add("120")
	f.Add("Sun, 22 Nov 2026 06:29:41 GMT")
	f.Fuzz(func(t *testing.T, s string) {
		if d := ParseRetryAfter(s, at); d < 0 || d > maxRetryAfter {
			t.Fatalf("%q: %v", s, d)
		}
	})
}

func TestHealth(t *testing.T) {
	fail := Outcome{Step: Retry}
	h := Health{State: Enabled}
	h = h.After(fail, at).After(fail, at)
	if h.Failures != 2 || !h.HoldUntil.IsZero() || !h.FailingSince.Equal(at) {
		t.Errorf("after two failures: %+v", h)
	}
	h = h.After(fail, at)
	for range 100 {
		h = h.After(fail, at) // under way together: they count once
	}
	if h.Failures != 3 || h.HoldUntil.Sub(at) != time.Second {
		t.Errorf("after a burst: %+v", h)
	}
	now := at
	for range 50 {
		now = h.HoldUntil.Add(time.Millisecond)
		h = h.After(fail, now)
	}
	if h.HoldUntil.Sub(now) != longHold || h.State != Enabled {
		t.Errorf("after many: %+v", h)
	}
	if ok := h.After(Outcome{Step: Delivered}, now); ok != (Health{State: Enabled}) {
		t.Errorf("after a success: %+v", ok)
	}
	if same := h.After(Outcome{Step: GivenUp, Event: Ping}, now.Add(time.Hour)); same != h {
		t.Errorf("a ping counts: %+v", same)
	}
	if same := h.After(Outcome{Step: Released}, now.Add(time.Hour)); same != h {
		t.Errorf("what was not sent counts: %+v", same)
	}
	if early := h.After(fail, at.Add(disableAfter-time.Second)); early.State != Enabled {
		t.Errorf("disabled early: %+v", early)
	}
	if late := h.After(fail, at.Add(disableAfter)); late.State != Disabled || late.Reason != ReasonFailing ||
		!late.DisabledAt.Equal(at.Add(disableAfter)) {
		t.Errorf("after five days: %+v", late)
	}
	if gone := (Health{State: Enabled}).After(Outcome{Step: Retry, Gone: true}, at); gone.State != Disabled ||
		gone.Reason != ReasonGone {
		t.Errorf("after 410: %+v", gone)
	}
	if gone := (Health{State: Enabled}).After(Outcome{Step: GivenUp, Event: Ping, Gone: true},
		at); gone.State != Disabled {
		t.Errorf("after 410 to a ping: %+v", gone)
	}
	if asked := (Health{State: Enabled}).After(Outcome{Step: Retry, RetryAfter: time.Hour}, at); asked.HoldUntil.Sub(
		at) != time.Hour {
		t.Errorf("after Retry-After: %+v", asked)
	}
	if off := (Health{State: Disabled, Reason: ReasonManual}); off.After(Outcome{Step: Delivered}, at) != off {
		t.Error("a late answer enables")
	}
}

func TestAddresses(t *testing.T) {
	refused := []string{"127.0.0.1", "127.255.0.1", "::1", "0.0.0.0", "0.1.2.3", "::", "10.0.0.1", "172.16.0.1",
		"172.31.255.255", "192.168.1.1", "169.254.169.254", "169.254.0.1", "100.64.0.1", "100.100.100.200",
		"224.0.0.1", "239.1.1.1", "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1",
		"203.0.113.9", "192.0.0.8", "168.63.129.16",
		"::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1",
		"64:ff9b:1::1", "2002:7f00:1::", "2001::1", "2001:db8::1", "fc00::1", "fd00:ec2::254", "fe80::1",
		"fe80::1%eth0", "fec0::1", "ff02::1", "100::1"}
	for _, a := range refused {
		if (Policy{}).CheckAddress(netip.MustParseAddr(a)) == nil {
			t.Errorf("%s is called", a)
		}
	}
	for _, a := range []string{"1.1.1.1", "172.32.0.1", "100.128.0.1", "2400:3200::1", "::ffff:1.1.1.1"} {
		if err := (Policy{}).CheckAddress(netip.MustParseAddr(a)); err != nil {
			t.Errorf("%s: %v", a, err)
		}
	}
	if (Policy{}).CheckAddress(netip.Addr{}) == nil {
		t.Error("no address is called")
	}
	allow, err := ParsePrefixes("10.1.0.0/16, fd00::/64")
	fatalIfErr(t, err)
	p := Policy{Allow: allow}
	for a, want := range map[string]bool{"10.1.2.3": true, "::ffff:10.1.2.3": true, "10.2.0.1": false, "fd00::1": true,
		"fd00:0:0:1::1": false, "127.0.0.1": false} {
		t.Run(a, func(t *testing.T) {
			if got := p.CheckAddress(netip.MustParseAddr(a)) == nil; got != want {
				t.Errorf("%s: %t", a, got)
			}
		})
	}
	for _, bad := range []string{"10.1.0.1/16", "10.0.0.0", "x", "::ffff:10.0.0.0/104"} {
		if _, err := ParsePrefixes(bad); err == nil {
			t.Errorf("accepted %q", bad)
		}
	}
	if none, err := ParsePrefixes(""); err != nil || len(none) != 0 {
		t.Error(none, err)
	}
}

func TestCheckURL(t *testing.T) {
	good := []string{"https://example.org", "https://example.org:8443/a?b=c", "https://1.1.1.1/",
		"https://[2400:3200::1]:443/x"}
	for _, u := range good {
		if err := (Policy{}).CheckURL(u); err != nil {
			t.Errorf("%s: %v", u, err)
		}
	}
	demo := Policy{Loopback: true}
	for _, u := range append(good, "http://127.0.0.1:9000", "http://localhost/x", "http://[::1]:80/",
		"https://127.0.0.1") {
		if err := demo.CheckURL(u); err != nil {
			t.Errorf("demo, %s: %v", u, err)
		}
	}
	bad := []string{"", "example.org", "ftp://example.org", "https://", "https:///x", "https:example.org",
		"https://user@example.org", "https://u:p@example.org", "https://example.org/#x", "https://example.org#",
		"https://example.org:0", "https://example.org:65536", "https://example.org:", "https://10.0.0.1",
		"https://[::ffff:10.0.0.1]/", "https://169.254.169.254/latest", "https://例子.cn", "https://example.org/a b",
		"https://[fe80::1%25eth0]/",
		"https://example.org/" + string(make([]byte, 1)), "//example.org", "javascript:alert(1)", "http://example.org"}
	for _, u := range bad {
		for _, p := range []Policy{{}, demo} {
			if err := p.CheckURL(u); notary.CodeOf(err) != notary.CodeInvalid {
				t.Errorf("%q: %v", u, err)
			}
		}
	}
	for _, u := range []string{"http://127.0.0.1", "http://localhost", "https://127.0.0.1",
		"https://[::ffff:127.0.0.1]/"} {
		if (Policy{}).CheckURL(u) == nil {
			t.Errorf("%q outside a demo", u)
		}
	}
}

func FuzzCheckURL(f *testing.F) {
	f.Add("https://[::ffff:127.0.0.1]:443/x?y#z")
	f.Fuzz(func(t *testing.T, u string) {
		if err := (Policy{}).CheckURL(u); err == nil && (len(u) > maxURL || !strings.EqualFold(u[:8], "https://")) {
			t.Fatalf("accepted %q", u)
		}
	})
}

func FuzzParsePrefixes(f *testing.F) {
	f.Add("10.0.0.0/8, fd00::/8")
	f.Fuzz(func(t *testing.T, s string) {
		list, err := ParsePrefixes(s)
		for _, p := range list {
			if err == nil && !p.IsValid() {
				t.Fatalf("%q gives %v", s, p)
			}
		}
	})
}
