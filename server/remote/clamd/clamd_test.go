package clamd

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stele/notary"
	"stele/server/remote/clamd/clamdtest"
)

func fatalIfErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A real daemon finds what it knows, wherever it lies in a file, and says of the rest that
// there is nothing.
func TestRealDaemon(t *testing.T) {
	where, _ := clamdtest.Start(t)
	c, err := Parse(where)
	fatalIfErr(t, err)
	fatalIfErr(t, c.Ping(t.Context()))
	clean := bytes.Repeat([]byte("0123456789abcdef"), chunkSize/10) // more than one chunk
	for name, f := range map[string]struct {
		file []byte
		want string
	}{
		"empty":        {nil, ""},
		"clean":        {clean, ""},
		"infected":     {[]byte(clamdtest.Infected), clamdtest.Finding},
		"over a chunk": {append(clean[:chunkSize-20:chunkSize-20], clamdtest.Infected...), clamdtest.Finding},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := c.Scan(t.Context(), bytes.NewReader(f.file)); err != nil ||
				!strings.HasPrefix(got, f.want) ||
				(got == "") != (f.want == "") {
				t.Errorf("%s: %q, %v", name, got, err)
			}
		})
	}
	large := io.MultiReader(strings.NewReader(clamdtest.Infected), io.LimitReader(zeros{}, clamdtest.MaxLength))
	if _, err := c.Scan(t.Context(), large); notary.CodeOf(err) != notary.CodeTooLarge {
		t.Errorf("more than the daemon takes: %v", err)
	}
	broken := errors.New("the disk is gone")
	if _, err := c.Scan(t.Context(), io.MultiReader(strings.NewReader("abc"), failing{broken})); !errors.Is(err,
		broken) {
		t.Errorf("a file that cannot be read: %v", err)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

type failing struct{ error }

func (f failing) Read([]byte) (int, error) { return 0, f.error }

// peer answers each connection in a given way.
func peer(t *testing.T, answer func(net.Conn)) *Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	fatalIfErr(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			answer(conn)
			conn.Close()
		}
	}()
	c, err := Parse("unix:" + path)
	fatalIfErr(t, err)
	c.reply = 100 * time.Millisecond
	return c
}

// drain reads a request to its end.
func drain(conn net.Conn) {
	r := bufio.NewReader(conn)
	_, _ = r.ReadString(0)
	for {
		var size uint32
		if binary.Read(r, binary.BigEndian, &size) != nil || size == 0 {
			return
		}
		_, _ = io.CopyN(io.Discard, r, int64(size))
	}
}

// Whatever a daemon does instead of answering, it is never taken for "nothing was found".
func TestBrokenDaemon(t *testing.T) {
	says := func(text string) func(net.Conn) {
		return func(conn net.Conn) { drain(conn); _, _ = io.WriteString(conn, text) }
	}
	for name, answer := range map[string]func(net.Conn){
		"closes at once":       func(net.Conn) {},
		"says nothing":         func(conn net.Conn) { drain(conn); _, _ = io.Copy(io.Discard, conn) },
		"is cut off":           says("stream: O"),
		"no end":               says("stream: OK"),
		"other words":          says("stream: MAYBE\x00"),
		"another file":         says("/etc/passwd: OK\x00"),
		"two answers":          says("stream: Eicar FOUND\x00stream: OK\x00"),
		"endless":              func(conn net.Conn) { drain(conn); _, _ = io.Copy(conn, zeros{}) },
		"a finding of nothing": says("stream:  FOUND\x00"),
	} {
		t.Run(name, func(t *testing.T) {
			c := peer(t, answer)
			if got, err := c.Scan(t.Context(), strings.NewReader("abc")); err == nil {
				t.Errorf("%q", got)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	c := peer(t, func(conn net.Conn) { drain(conn); cancel(); _, _ = io.Copy(io.Discard, conn) })
	c.reply = time.Minute
	if _, err := c.Scan(ctx, strings.NewReader("abc")); err == nil {
		t.Error("a scan that was given up goes on")
	}
	if _, err := (&Client{"unix", filepath.Join(t.TempDir(), "none"), time.Second}).Scan(t.Context(),
		strings.NewReader("")); err == nil {
		t.Error("a daemon that is not there found nothing")
	}
}

func TestParse(t *testing.T) {
	for where, want := range map[string]bool{"unix:/run/clamav/clamd.ctl": true, "tcp:127.0.0.1:3310": true,
		"tcp:[::1]:3310": true, "tcp:clamav:3310": true,
		"": false, "unix:clamd.ctl": false, "tcp:host": false, "udp:127.0.0.1:1": false, "127.0.0.1:3310": false} {
		t.Run(where, func(t *testing.T) {
			if _, err := Parse(where); (err == nil) != want {
				t.Errorf("%q: %v", where, err)
			}
		})
	}
}

func FuzzReply(f *testing.F) {
	for _, s := range []string{"stream: OK\x00", "stream: Win.Test.EICAR_HDB-1 FOUND\x00",
		"INSTREAM size limit exceeded. ERROR\x00", "stream: 文 FOUND\x00", "UNKNOWN COMMAND\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		finding, err := parseReply(b)
		switch {
		case err != nil && finding != "":
			t.Fatalf("%q: %q and %v", b, finding, err)
		case err == nil && finding == "" && string(b) != "stream: OK\x00":
			t.Fatalf("%q means that nothing was found", b)
		case len(finding) > maxFinding || finding != plain(finding):
			t.Fatalf("%q: the finding %q", b, finding)
		}
	})
}

// A ping finds out whether a daemon is there, and that it is one.
func TestPing(t *testing.T) {
	ctx := t.Context()
	for answer, want := range map[string]string{"PONG\x00": "", "HELLO": "answered", "PO": "hear from clamd"} {
		t.Run(answer, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				defer c.Close()
				_, _ = io.ReadFull(c, make([]byte, len("zPING\x00")))
				_, _ = io.WriteString(c, answer)
			}()
			client, err := Parse("tcp:" + ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			err = client.Ping(ctx)
			if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("%q: %v", answer, err)
			}
			ln.Close()
			if err := client.Ping(ctx); err == nil {
				t.Error("a daemon that has gone answered")
			}
		})
	}
}
