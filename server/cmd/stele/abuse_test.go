package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"stele/storage/storagetest/freeport"
)

// patience is how long these tests wait for what the program does by itself. It is far longer
// than that takes: only a promise that is broken is waited for so long.
const patience = 30 * time.Second

// Addresses of this machine that stand for different clients.
const (
	fromStranger = "127.0.0.2"
	fromCitizen  = "127.0.0.3"
)

// dialFrom connects from an address of this machine.
func dialFrom(t testing.TB, from, to string) net.Conn {
	t.Helper()
	d := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.Dial("tcp", to)
	fatalIfErr(t, err)
	t.Cleanup(func() { c.Close() })
	fatalIfErr(t, c.SetDeadline(time.Now().Add(patience)))
	return c
}

// saying connects, sends a text, and reads no answer.
func saying(t testing.TB, from, to, text string) net.Conn {
	t.Helper()
	c := dialFrom(t, from, to)
	_, err := io.WriteString(c, strings.ReplaceAll(text, "\n", "\r\n"))
	fatalIfErr(t, err)
	return c
}

// answerTo sends a text and reads the answer.
func answerTo(t testing.TB, from, to, text string) *http.Response {
	t.Helper()
	res, err := http.ReadResponse(bufio.NewReader(saying(t, from, to, text)), nil)
	if err != nil {
		t.Fatalf("no answer to %.60q: %v", text, err)
	}
	return res
}

// address is where a server's public listener is.
func (s *server) address() string { return strings.TrimPrefix(s.info.URL, "http://") }

// Whoever announces a body and sends none is answered and sent away, wherever they send it: also
// where nobody wants a body, or may not send one.
func TestSilentBodies(t *testing.T) {
	t.Parallel()
	metrics, profiles := freeport.Address(t), freeport.Address(t)
	s := site{data: folder(t)}.start(t, "--read-timeout", "500ms", "--metrics-listen", metrics, "--pprof-listen",
		profiles)
	const silent = "Content-Length: 1000\n\n"
	held := map[string]net.Conn{}
	const (
		form  = "Content-Type: application/x-www-form-urlencoded\n"
		parts = "Content-Type: multipart/form-data; boundary=b\n"
		text  = "Content-Type: application/json\n"
	)
	public := s.address()
	for _, c := range []struct{ to, line, header string }{
		{public, "GET /", silent}, {public, "GET /nothing", silent}, {public, "DELETE /verify", silent},
		{public, "GET /", "Transfer-Encoding: chunked\n\n"}, {public, "GET /api/v1/lookup?number=1", silent},
		{public, "POST /api/v1/records", silent}, {public, "PATCH /api/v1/uploads/x", silent},
		{public, "GET /healthz", silent},
		{public, "POST /api/v1/verify", text + silent + "{"}, {public, "POST /verify", parts + silent + "--b"},
		{public, "POST /console/sign-in", form + silent + "a="}, {public, "POST /console/upload", parts + silent},
		{metrics, "GET /metrics", silent}, {metrics, "GET /nothing", silent}, {profiles, "GET /debug/pprof/", silent},
	} {
		held[c.line+" "+c.header] = saying(t, "127.0.0.1", c.to, c.line+" HTTP/1.1\nHost: x\n"+c.header)
	}
	for what, conn := range held {
		if _, err := io.Copy(io.Discard, conn); err != nil {
			t.Errorf("%q: the connection is still held: %v", what, err)
		}
	}
	// A body that takes longer than a silence in all, and what is done after it, are no silence.
	slow := digestRequest(newDigest(), "", "anchored")
	slow.body = &slowly{r: slow.body, pause: 20 * time.Millisecond}
	s.notarize(slow)
}

// slowly is a text that comes byte by byte.
type slowly struct {
	r     io.Reader
	pause time.Duration
}

func (s *slowly) Read(b []byte) (int, error) {
	time.Sleep(s.pause) // a slow line
	return s.r.Read(b[:1])
}

// One address that takes all it can get, connections, event streams and places for uploads, leaves
// others theirs.
func TestOneAddressIsNotAll(t *testing.T) {
	metrics := freeport.Address(t)
	s := site{data: folder(t)}.start(t, "--max-connections", "120", "--max-connections-per-address", "60",
		"--metrics-listen", metrics)
	const home = "GET / HTTP/1.1\nHost: x\n\n"
	served := func(what, text string, want int) {
		t.Helper()
		res := answerTo(t, fromCitizen, s.address(), text)
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s: others are answered %d, not %d", what, res.StatusCode, want)
		}
	}

	const upload = "POST /verify HTTP/1.1\nHost: x\nConnection: close\n" +
		"Content-Type: multipart/form-data; boundary=b\nContent-Length: %d\n\n"
	const file = "--b\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\n\n%s\n--b--\n"
	whole := fmt.Sprintf(file, "a file")
	whole = fmt.Sprintf(upload, len(strings.ReplaceAll(whole, "\n", "\r\n"))) + whole
	begun := fmt.Sprintf(upload, 100_000) + file[:40]
	refused := 0
	for range 40 {
		conn := saying(t, fromStranger, s.address(), begun)
		fatalIfErr(t, conn.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
		if line, err := bufio.NewReader(conn).ReadString('\n'); err == nil && strings.Contains(line, "503") {
			refused++
			conn.Close()
		}
	}
	if refused == 0 {
		t.Error("one address holds 40 uploads")
	}
	served("uploads", whole, http.StatusOK)

	held := make([]net.Conn, 0, 100)
	for range 100 { // half a header each: nothing that is answered
		held = append(held, saying(t, fromStranger, s.address(), "GET / HTTP/1.1\nHost: x\nA: "))
	}
	served("connections", home, http.StatusOK)
	res := answerTo(t, fromStranger, s.address(), home)
	if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
		t.Errorf("one address has more than its connections: %d", res.StatusCode)
	}
	for _, c := range held {
		c.Close()
	}

	for range 70 { // the private listener is for few, and not for one alone
		saying(t, fromStranger, metrics, "GET /metrics HTTP/1.1\nHost: x\nA: ")
	}
	if res = answerTo(t, fromCitizen, metrics, "GET /metrics HTTP/1.1\nHost: x\n\n"); res.StatusCode != http.StatusOK {
		t.Errorf("the metrics: %d", res.StatusCode)
	}
	s.notarize(digestRequest(newDigest(), "", "anchored"))
}

// An address has so many event streams, and no more; others have theirs.
func TestEventStreamsAreBounded(t *testing.T) {
	t.Parallel()
	s := site{data: folder(t)}.start(t, "--chain", "none")
	rec := s.notarize(digestRequest(newDigest(), "", "")) // never anchored: its stream does not end
	events := "GET /r/" + rec.Number + "/events HTTP/1.1\nHost: x\n\n"
	got := map[int]int{}
	for range 50 {
		res := answerTo(t, fromStranger, s.address(), events)
		if got[res.StatusCode]++; res.StatusCode == http.StatusTooManyRequests && res.Header.Get("Retry-After") == "" {
			t.Error("it is not said when to come back")
		}
	}
	if got[http.StatusOK] != 32 || got[http.StatusTooManyRequests] != 18 {
		t.Errorf("streams of one address by status: %v", got)
	}
	res := answerTo(t, fromCitizen, s.address(), events)
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("others get %d", res.StatusCode)
	}
	s.stop() // and streams do not hold it up
}

// The server speaks HTTP/1.1 alone: TLS and HTTP/2, with its resets, are the proxy's.
func TestNoHTTP2(t *testing.T) {
	t.Parallel()
	s := site{data: folder(t)}.start(t)
	res := answerTo(t, fromStranger, s.address(), "PRI * HTTP/2.0\n\nSM\n\n")
	if res.ProtoMajor != 1 || res.StatusCode < 400 {
		t.Errorf("the preface of HTTP/2: %s %s", res.Proto, res.Status)
	}
	res = answerTo(t, fromStranger, s.address(), "GET /healthz HTTP/1.1\nHost: x\n"+
		"Connection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\n\n")
	if res.ProtoMajor != 1 || res.StatusCode != http.StatusOK {
		t.Errorf("an upgrade to h2c: %s %s", res.Proto, res.Status)
	}
}

// signInFrom posts a name and a password from an address and returns the status: 303 to who is let in.
func (s *server) signInFrom(from, login, password string) int {
	s.t.Helper()
	form := url.Values{"login": {login}, "password": {password}}.Encode()
	res := answerTo(s.t, from, s.address(), fmt.Sprintf("POST /console/sign-in HTTP/1.1\nHost: x\nConnection: close\n"+
		"Content-Type: application/x-www-form-urlencoded\nContent-Length: %d\n\n%s", len(form), form))
	res.Body.Close()
	return res.StatusCode
}

// A stranger who guesses a clerk's password is slowed down; the clerk, who has signed in from where
// they sit before, is not, whatever strangers do.
func TestNobodyLocksOthersOut(t *testing.T) {
	s := site{data: folder(t)}.start(t)
	clerk := s.info.Users[0]
	if got := s.signInFrom(fromCitizen, clerk.Name, clerk.Password); got != http.StatusSeeOther {
		t.Fatalf("the clerk: %d", got)
	}
	limited := 0
	for i := range 120 { // by addresses: more than are free from all networks together
		if s.signInFrom(fmt.Sprintf("127.0.1.%d", i/3+1), clerk.Name,
			"a wrong password") == http.StatusTooManyRequests {
			limited++
		}
	}
	if limited == 0 {
		t.Error("guessing from many addresses goes on")
	}
	if got := s.signInFrom(fromStranger, clerk.Name, clerk.Password); got != http.StatusTooManyRequests {
		t.Errorf("an address that is not known gets %d meanwhile", got)
	}
	if got := s.signInFrom(fromCitizen, clerk.Name, clerk.Password); got != http.StatusSeeOther {
		t.Errorf("the clerk is locked out by others: %d", got)
	}
}
