package caller

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestSettings(t *testing.T) {
	for _, c := range []struct {
		proxies, header string
		hops            int
		want            string // part of the error; empty for none
	}{
		{"", "", 1, ""},
		{"127.0.0.1, 10.0.0.0/24,::1", "x-forwarded-for", 3, ""},
		{"10.0.0.1", "X-Real-IP", 1, ""},
		{"", "X-Real-IP", 1, "needs trusted-proxies"},
		{"10.0.0.1", "", 1, "needs client-ip-header"},
		{"", "", 2, "proxy-hops"},
		{"10.0.0.1", "X-Real-IP", 2, "one address"},
		{"10.0.0.1", "X-Forwarded-For", 0, "between 1 and"},
		{"10.0.0.1", "X-Forwarded-For", 17, "between 1 and"},
		{"10.0.0.1", "X Forwarded", 1, "not the name of a header"},
		{"proxy.local", "X-Real-IP", 1, "neither an address nor a network"},
		{"fe80::1%eth0", "X-Real-IP", 1, "neither an address nor a network"},
		{"10.0.0.1/24", "X-Real-IP", 1, "10.0.0.0/24"},
		{"::ffff:10.0.0.0/120", "X-Real-IP", 1, "network of IPv4"},
		{"0.0.0.0/0", "X-Real-IP", 1, "everybody"},
		{"::/0", "X-Real-IP", 1, "everybody"},
	} {
		_, err := NewRules(c.proxies, c.header, c.hops)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%q %q %d: %v, want %q", c.proxies, c.header, c.hops, err, c.want)
		}
	}
}

// lines are header lines in the order in which they come.
func request(peer string, lines ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = peer
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ": ")
		r.Header.Add(name, value)
	}
	return r
}

const (
	xff  = "X-Forwarded-For: "
	real = "X-Real-IP: "
	fwd  = "Forwarded: "
)

func TestAddr(t *testing.T) {
	const proxy, stranger = "10.0.0.1:4000", "203.0.113.66:4000"
	list, two, single, forwarded := []any{"X-Forwarded-For", 1}, []any{"X-Forwarded-For", 2}, []any{"X-Real-IP", 1},
		[]any{"Forwarded", 1}
	for _, c := range []struct {
		rules []any
		peer  string
		lines []string
		want  string // an address or a reason
	}{
		{list, proxy, []string{xff + "192.0.2.1"}, "192.0.2.1"},
		{list, proxy, []string{xff + "10.9.1.1, 192.0.2.1"}, "192.0.2.1"},         // appended to the list
		{list, proxy, []string{xff + "10.9.1.1", xff + "192.0.2.1"}, "192.0.2.1"}, // appended as a line
		{list, proxy, []string{xff + "garbage,,\",", xff + "192.0.2.1"}, "192.0.2.1"},
		{list, proxy, []string{xff + "192.0.2.1:5678"}, "192.0.2.1"},
		{list, proxy, []string{xff + "[2001:db8::1]:80"}, "2001:db8::1"},
		{list, proxy, []string{xff + "[2001:db8::1]"}, "2001:db8::1"},
		{list, proxy, []string{xff + "2001:db8::1"}, "2001:db8::1"},
		{list, proxy, []string{xff + "::ffff:192.0.2.1"}, "192.0.2.1"},
		{list, proxy, []string{xff + "fe80::1%eth0"}, "unreadable"},
		{list, proxy, []string{xff + "[192.0.2.1]"}, "unreadable"},
		{list, proxy, []string{xff + "192.0.2.1, "}, "unreadable"},
		{list, proxy, []string{xff + "192.0.2.1", xff}, "unreadable"},
		{list, proxy, []string{xff + "192.0.2.1, unknown"}, "unreadable"},
		{list, proxy, []string{xff + "192.0.2.010"}, "unreadable"},
		{list, proxy, []string{xff + "\"192.0.2.1\""}, "unreadable"},
		{list, proxy, nil, "missing"},
		{list, proxy, []string{real + "192.0.2.1"}, "missing"},
		{list, "[::ffff:10.0.0.1]:4000", []string{xff + "192.0.2.1"}, "192.0.2.1"},
		{list, stranger, []string{xff + "192.0.2.1"}, "203.0.113.66"},
		{list, stranger, nil, "203.0.113.66"},
		{list, "[fe80::2%eth0]:1", nil, "fe80::2"},
		{list, "@", nil, "unreadable"}, // a Unix socket has no address

		{two, proxy, []string{xff + "192.0.2.1, 10.0.0.2"}, "192.0.2.1"},
		{two, proxy, []string{xff + "6.6.6.6, 192.0.2.1", xff + "10.0.0.2"}, "192.0.2.1"},
		{two, proxy, []string{xff + "10.0.0.2"}, "short"},
		{two, proxy, []string{xff + "6.6.6.6, 192.0.2.1"}, "unknown"}, // past the outer proxy
		{two, proxy, []string{xff + "6.6.6.6, garbage"}, "unreadable"},
		{two, proxy, []string{xff + "garbage, 10.0.0.2"}, "unreadable"},

		{single, proxy, []string{real + "192.0.2.1"}, "192.0.2.1"},
		{single, proxy, []string{real + "192.0.2.1", real + "192.0.2.1"}, "doubled"},
		{single, proxy, []string{real + "192.0.2.1, 192.0.2.2"}, "doubled"},
		{single, proxy, []string{real}, "unreadable"},
		{single, proxy, []string{real + "client"}, "unreadable"},
		{single, proxy, nil, "missing"},
		{single, stranger, []string{real + "10.9.1.1"}, "203.0.113.66"},

		{forwarded, proxy, []string{fwd + "for=192.0.2.1"}, "192.0.2.1"},
		{forwarded, proxy, []string{fwd + `FOR="192.0.2.1:4711";Proto=https;by=10.0.0.1`}, "192.0.2.1"},
		{forwarded, proxy, []string{fwd + `for="[2001:db8::1]:4711"`}, "2001:db8::1"},
		{forwarded, proxy, []string{fwd + `for="[2001:db8::1]:_port"`}, "2001:db8::1"},
		{forwarded, proxy, []string{fwd + `for="\1\92.0.2.1"`}, "192.0.2.1"},
		{forwarded, proxy, []string{fwd + `for=10.9.1.1;host="a, for=6.6.6.6", for=192.0.2.1`}, "192.0.2.1"},
		{forwarded, proxy, []string{fwd + "for=10.9.1.1", fwd + "for=192.0.2.1"}, "192.0.2.1"},
		{forwarded, proxy, []string{fwd + `for=6.6.6.6;x="`, fwd + `for=192.0.2.1;by="10.0.0.1"`}, "192.0.2.1"},
		{forwarded, proxy, []string{fwd + "for=10.9.1.1, for=_hidden"}, "unreadable"},
		{forwarded, proxy, []string{fwd + "for=unknown"}, "unreadable"},
		{forwarded, proxy, []string{fwd + "for=[2001:db8::1]"}, "unreadable"},
		{forwarded, proxy, []string{fwd + `for="2001:db8::1"`}, "unreadable"},
		{forwarded, proxy, []string{fwd + `for="[192.0.2.1]"`}, "unreadable"},
		{forwarded, proxy, []string{fwd + `for="`, fwd + `for="6.6.6.6`}, "unreadable"},
		{forwarded, proxy, []string{fwd + "for=192.0.2.1;for=10.9.1.1"}, "unreadable"},
		{forwarded, proxy, []string{fwd + "for=192.0.2.1, proto=https"}, "unreadable"},
		{forwarded, proxy, []string{fwd + "for = 192.0.2.1"}, "unreadable"},
		{forwarded, proxy, []string{fwd + "192.0.2.1"}, "unreadable"},
		{forwarded, proxy, []string{fwd}, "unreadable"},
		{forwarded, proxy, nil, "missing"},
		{[]any{"Forwarded", 2}, proxy, []string{fwd + `for=6.6.6.6, for=192.0.2.1, for="10.0.0.2:5"`}, "192.0.2.1"},
		{[]any{"Forwarded", 2}, proxy, []string{fwd + "for=192.0.2.1"}, "short"},
	} {
		rules, err := NewRules("10.0.0.0/29", c.rules[0].(string), c.rules[1].(int))
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		addr, err := rules.Addr(request(c.peer, c.lines...))
		if why := (*Refusal)(nil); errors.As(err, &why) {
			got = string(why.Reason)
		} else {
			got = addr.String()
		}
		if got != c.want {
			t.Errorf("%v from %s, %q: %s, want %s", c.rules, c.peer, c.lines, got, c.want)
		}
	}
}

// Without settings the other end of the connection is the caller, whatever headers say.
func TestNoProxies(t *testing.T) {
	var zero Rules
	if addr, err := zero.Addr(request("[::ffff:192.0.2.7]:1", xff+"6.6.6.6", real+"6.6.6.6",
		fwd+"for=6.6.6.6")); err != nil || addr.String() != "192.0.2.7" {
		t.Error(addr, err)
	}
}

func TestMiddleware(t *testing.T) {
	rules, err := NewRules("10.0.0.1", "X-Real-IP", 1)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	now, counted := time.Unix(0, 0), map[Reason]int{}
	seen := ""
	h := rules.Middleware(Options{Open: []string{"/readyz"}, Count: func(r Reason) { counted[r]++ },
		Now: func() time.Time { return now },
		Refuse: func(w http.ResponseWriter, _ *http.Request, why *Refusal) {
			http.Error(w, why.Detail, http.StatusBadRequest)
		},
		Log: slog.New(slog.NewTextHandler(&log, nil))})(http.HandlerFunc(func(_ http.ResponseWriter,
		r *http.Request) {
		seen = r.RemoteAddr
	}))
	call := func(path, peer string, lines ...string) int {
		w := httptest.NewRecorder()
		seen = ""
		r := request(peer, lines...)
		r.URL.Path = path
		h.ServeHTTP(w, r)
		return w.Code
	}
	if call("/", "10.0.0.1:5", real+"192.0.2.1"); seen != "192.0.2.1:0" {
		t.Error("through the proxy:", seen)
	}
	if call("/", "[::ffff:192.0.2.3]:77", real+"192.0.2.1"); seen != "192.0.2.3:77" {
		t.Error("directly:", seen)
	}
	if call("/readyz", "10.0.0.1:5"); seen == "" {
		t.Error("the proxy cannot ask for the service's health")
	}
	if call("/readyz", "10.0.0.1:5", real+"192.0.2.1"); seen != "192.0.2.1:0" {
		t.Error("somebody who asks for the health through the proxy:", seen)
	}
	seen = "?"
	if call("/readyz", "10.0.0.1:5", real+"six.six.six"); seen != "" {
		t.Error("somebody who hides is taken for", seen)
	}
	for range 100 {
		if code := call("/", "10.0.0.1:5"); code != http.StatusBadRequest || seen != "" {
			t.Fatal(code, seen)
		}
	}
	now = now.Add(logPause)
	call("/", "10.0.0.1:5", real+"six.six.six")
	if counted[Missing] != 100 || counted[Unreadable] != 1 {
		t.Error(counted)
	}
	if n := strings.Count(log.String(), "\n"); n != 2 || !strings.Contains(log.String(), "since_last_line=100") ||
		strings.Contains(log.String(), "six") {
		t.Errorf("%d lines: %s", n, log.String())
	}
}

// FuzzAddr holds what must be true of any header: no crash, and what follows what the proxy
// itself wrote, in a line of its own, is always that.
func FuzzAddr(f *testing.F) {
	for _, s := range []string{"", "1.2.3.4", `for="[::1]:4711"`, `for=_hidden;proto=http, for="\"`, `x="`, ",,",
		"[::1]:80, 1.2.3.4:5"} {
		f.Add(s)
	}
	want := netip.MustParseAddr("192.0.2.1")
	f.Fuzz(func(t *testing.T, client string) {
		for header, own := range map[string]string{"X-Forwarded-For": "192.0.2.1",
			"Forwarded": `proto=https;for="192.0.2.1:80"`} {
			rules, err := NewRules("10.0.0.1", header, 1)
			if err != nil {
				t.Fatal(err)
			}
			r := request("10.0.0.1:1")
			r.Header[header] = []string{client, own}
			if addr, err := rules.Addr(r); err != nil || addr != want {
				t.Errorf("%s %q: %s, %v", header, client, addr, err)
			}
			r.Header[header] = []string{client}
			addr, err := rules.Addr(r)
			if why := (*Refusal)(nil); err == nil != addr.IsValid() || err != nil && !errors.As(err, &why) ||
				addr.Zone() != "" || addr.Is4In6() {
				t.Errorf("%s %q: %s, %v", header, client, addr, err)
			}
		}
		all, err := parseForwarded(client)
		if err == nil && len(all) == 0 {
			t.Errorf("%q: no element and no error", client)
		}
		if again, aerr := parseForwarded(client + ", for=192.0.2.1"); err == nil && (aerr != nil ||
			len(again) != len(all)+1 || again[len(all)].addr != want) {
			t.Errorf("%q: what is appended is read as %v, %v", client, again, aerr)
		}
	})
}
