package deliver

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stele/notary/office/webhook"
)

func fatalIfErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var demo = webhook.Policy{Loopback: true}

func sender(t testing.TB, p webhook.Policy) *Sender {
	t.Helper()
	s := New(p, time.Now)
	t.Cleanup(s.Close)
	return s
}

var message = webhook.Signed{ID: "evt_1", Timestamp: 1614265330, Signature: "v1,xxx v1sm2,yyy",
	Body: []byte(`{"type":"ping"}`)}

func receiver(t testing.TB, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func TestRequest(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("http_proxy", "http://127.0.0.1:1")
	r := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Method != "POST" || r.URL.String() != "/hook?a=b" || string(body) != string(message.Body) ||
			r.ContentLength != int64(len(body)) || r.Header.Get("Content-Type") != "application/json" ||
			r.Header.Get("webhook-id") != "evt_1" || r.Header.Get("webhook-timestamp") != "1614265330" ||
			r.Header.Get("webhook-signature") != message.Signature || r.Header.Get("Accept-Encoding") != "" {
			t.Errorf("%s %s %v %s", r.Method, r.URL, r.Header, body)
		}
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(299)
		fmt.Fprint(w, "thanks")
	})
	a := sender(t, demo).Send(t.Context(), r.URL+"/hook?a=b", message)
	if a.Status != 299 || string(a.Body) != "thanks" || a.RetryAfter != 7*time.Second || a.Error != "" {
		t.Errorf("%+v", a)
	}
}

// A redirect is no success, and nothing follows it: not to the cloud's metadata either.
func TestRedirect(t *testing.T) {
	var calls atomic.Int64
	target := receiver(t, func(http.ResponseWriter, *http.Request) { calls.Add(1) })
	for _, to := range []string{"http://169.254.169.254/latest/meta-data", target.URL} {
		for _, status := range []int{301, 302, 303, 307, 308} {
			r := receiver(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, status) })
			if a := sender(t, demo).Send(t.Context(), r.URL, message); a.Status != status {
				t.Errorf("%d to %s: %+v", status, to, a)
			}
		}
	}
	if calls.Load() > 0 {
		t.Error("a redirect was followed")
	}
}

// Addresses are looked at when they are connected to: by number, by name, in every spelling.
func TestPrivateAddresses(t *testing.T) {
	var calls atomic.Int64
	r := receiver(t, func(http.ResponseWriter, *http.Request) { calls.Add(1) })
	_, port, err := net.SplitHostPort(r.Listener.Addr().String())
	fatalIfErr(t, err)
	s := sender(t, webhook.Policy{})
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "127.1",
		"2130706433", "0x7f000001", "017700000001", "[::]", "169.254.169.254", "10.0.0.1", "[fe80::1]", "100.64.0.1"} {
		a := s.Send(t.Context(), "http://"+host+":"+port, message)
		if a.Status != 0 || a.Error == "" {
			t.Errorf("%s: %+v", host, a)
		}
	}
	if calls.Load() > 0 {
		t.Errorf("%d calls arrived", calls.Load())
	}
	if a := s.Send(t.Context(), r.URL, message); !strings.Contains(a.Error, "not public") {
		t.Errorf("%+v", a)
	}
	allowed := sender(t, webhook.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	if a := allowed.Send(t.Context(), r.URL, message); a.Status != 200 {
		t.Errorf("an allowed address: %+v", a)
	}
}

// A name that means a public address when it is looked at and this machine when it is
// connected to gets nowhere: only the second counts.
func TestRebinding(t *testing.T) {
	var calls atomic.Int64
	r := receiver(t, func(http.ResponseWriter, *http.Request) { calls.Add(1) })
	_, port, err := net.SplitHostPort(r.Listener.Addr().String())
	fatalIfErr(t, err)
	dns := newDNS(t, "1.1.1.1", "127.0.0.1")
	url := "http://rebind.example.org:" + port
	fatalIfErr(t, (webhook.Policy{}).CheckURL("https://rebind.example.org:"+port))
	s := sender(t, webhook.Policy{})
	s.dialer.Resolver = dns.resolver()
	if first, err := s.dialer.Resolver.LookupHost(t.Context(), "rebind.example.org"); err != nil ||
		first[0] != "1.1.1.1" {
		t.Fatal(first, err)
	}
	a := s.Send(t.Context(), url, message)
	if a.Status != 0 || !strings.Contains(a.Error, "not public") || calls.Load() != 0 {
		t.Errorf("%+v, %d calls", a, calls.Load())
	}
}

func TestFailures(t *testing.T) {
	s := sender(t, demo)
	s.timeout = 300 * time.Millisecond
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	raw := func(answer string, then func(net.Conn)) string {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		fatalIfErr(t, err)
		t.Cleanup(func() { ln.Close() })
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				go func() {
					_, _ = http.ReadRequest(bufio.NewReader(c))
					_, _ = io.WriteString(c, answer)
					then(c)
				}()
			}
		}()
		return "http://" + ln.Addr().String()
	}
	closes := func(c net.Conn) { c.Close() }
	hangs := func(c net.Conn) { <-hang; c.Close() }
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	fatalIfErr(t, err)
	fatalIfErr(t, ln.Close())
	tls := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(tls.Close)
	for name, c := range map[string]struct{ url, want string }{
		"refused":        {"http://" + ln.Addr().String(), "refused"},
		"closes":         {raw("", closes), "closed before"},
		"hangs":          {raw("", hangs), "in time"},
		"hangs in head":  {raw("HTTP/1.1 200 OK\r\nX: ", hangs), "in time"},
		"closes in head": {raw("HTTP/1.1 200 OK\r\nX: ", closes), "closed before"},
		"no HTTP":        {raw("SSH-2.0-x\r\n\r\n", closes), "the request failed"},
		"huge head": {raw("HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 64<<10)+"\r\n\r\n", closes),
			"the request failed"},
		"endless 1xx": {raw(strings.Repeat("HTTP/1.1 103 Early Hints\r\nX: "+strings.Repeat("x", 1000)+"\r\n\r\n", 100),
			hangs), "the request failed"},
		"certificate": {tls.URL, "certificate"},
		"no TLS":      {strings.Replace(raw("HTTP/1.1 400 Bad Request\r\n\r\n", closes), "http:", "https:", 1), "TLS"},
		"no name":     {"http://nothing.invalid", "name was not found"},
	} {
		t.Run(name, func(t *testing.T) {
			s.timeout = Timeout
			if strings.HasPrefix(name, "hangs") { // the others need their time on a busy machine
				s.timeout = 300 * time.Millisecond
			}
			if a := s.Send(t.Context(), c.url, message); a.Status != 0 || !strings.Contains(a.Error, c.want) ||
				strings.Contains(a.Error, "127.0.0.1") {
				t.Errorf("%s: %+v", name, a)
			}
		})
	}
	// The status has come: what follows does not matter, and is not waited for for long.
	for name, c := range map[string]struct {
		url  string
		body int
	}{
		"body hangs":   {raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", hangs), 3},
		"body breaks":  {raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", closes), 3},
		"body is long": {raw("HTTP/1.1 200 OK\r\n\r\n"+strings.Repeat("x", 1<<20), hangs), webhook.MaxAnswer},
	} {
		t.Run(name, func(t *testing.T) {
			if a := s.Send(t.Context(), c.url, message); a.Status != 200 || len(a.Body) != c.body {
				t.Errorf("%s: %d, %d bytes, %s", name, a.Status, len(a.Body), a.Error)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if a := s.Send(ctx, raw("", hangs), message); a.Status != 0 {
		t.Errorf("%+v", a)
	}
}

// A connection is used again.
func TestKeepAlive(t *testing.T) {
	var connections, calls atomic.Int64
	r := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) }))
	r.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	r.Start()
	t.Cleanup(r.Close)
	s := sender(t, demo)
	for range 10 {
		if a := s.Send(t.Context(), r.URL, message); a.Status != 200 {
			t.Fatalf("%+v", a)
		}
	}
	if connections.Load() != 1 || calls.Load() != 10 {
		t.Errorf("%d connections for %d calls", connections.Load(), calls.Load())
	}
}
