package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"stele/crypto/sm"
	"stele/notary/proof"
)

// rss is a process's resident memory in MiB, peak its largest since the last reset.
func (s *server) rss(t *testing.T, field string) float64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	fatalIfErr(t, err)
	for line := range strings.Lines(string(text)) {
		var kb float64
		if n, _ := fmt.Sscanf(line, field+": %f kB", &kb); n == 1 {
			return kb / 1024
		}
	}
	t.Fatalf("no %s", field)
	return 0
}

// resetPeak makes the kernel count the peak anew.
func (s *server) resetPeak(t *testing.T) {
	t.Helper()
	fatalIfErr(t, os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", s.cmd.Process.Pid), []byte("5"), 0))
}

// A 2 GiB upload is streamed: memory stays under 96 MiB more than idle, most of which is what the collector
// leaves until it has doubled; the digest is right, the stored object comes back whole.
func TestLargeUpload(t *testing.T) {
	mib := 2048
	if testing.Short() {
		mib = 192
	}
	forEachBackend(t, func(t *testing.T, site site) {
		s := site.start(t)
		for range 3 { // idle means warmed up
			s.notarize(fileRequest(make([]byte, 1<<20), `{}`, ""))
		}
		s.notarize(digestRequest(newDigest(), "", "anchored"))
		idle := s.rss(t, "VmRSS")
		s.resetPeak(t)
		block := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
		hash := sm.NewHash()
		var head bytes.Buffer
		w := multipart.NewWriter(&head)
		fatalIfErr(t, w.WriteField("record", `{}`))
		_, err := w.CreateFormFile("file", "large.bin")
		fatalIfErr(t, err)
		body := io.MultiReader(&head, io.TeeReader(&endless{block, int64(mib) << 20}, hash),
			strings.NewReader("\r\n--"+w.Boundary()+"--\r\n"))
		rec := s.notarize(request{method: "POST", path: "/api/v1/records?wait=anchored",
			header: map[string]string{"Content-Type": w.FormDataContentType()}, body: body})
		peak := s.rss(t, "VmHWM")
		t.Logf("idle %.0f MiB, peak %.0f MiB", idle, peak)
		if peak > idle+96 {
			t.Errorf("memory rose from %.0f to %.0f MiB", idle, peak)
		}
		if rec.Document.SM3 != sm.Digest(hash.Sum(nil)).String() || rec.Document.Size != uint64(mib)<<20 {
			t.Errorf("%+v", rec.Document)
		}
		s.demand(rec, proof.Genuine)
		s.stop()
		site.fsck(t) // reads the original back and compares
	})
}

// An upload that is cut off leaves no record and no object, or one that is swept.
func TestCutUpload(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, site site) {
		t.Parallel()
		s := site.start(t, "--sweep-after", "1ms")
		for _, size := range []int64{10, 300_000, 40 << 20} {
			ctx, cancel := context.WithCancel(context.Background())
			r, w := io.Pipe()
			go func() {
				fmt.Fprint(w, "--XX\r\n"+part("record", `{}`)+"\r\n--XX\r\n"+
					"Content-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n")
				_, _ = io.Copy(w, &endless{make([]byte, 1<<16), size})
				cancel()                           // the client vanishes in the middle of the file
				w.CloseWithError(context.Canceled) // and whatever still reads its body hears of it
			}()
			_, err := s.try(ctx, request{method: "POST", path: "/api/v1/records",
				header: map[string]string{"Content-Type": "multipart/form-data; boundary=XX"}, body: r})
			if err == nil {
				t.Error("a cut-off upload was answered")
			}
		}
		s.kill() // and one that the server does not survive
		again := site.start(t, "--sweep-after", "1ms")
		var list struct{ Records []record }
		again.get("/api/v1/records").json(t, &list)
		if len(list.Records) != 0 {
			t.Errorf("cut-off uploads became records: %+v", list.Records)
		}
		again.stop()
		eventually(t, "everything is swept", func() bool { return site.fsck(t).Orphans == 0 })
	})
}

// A client that is silent for too long is given up, and told so where it can still hear it.
func TestSlowClient(t *testing.T) {
	site := site{data: folder(t)}
	s := site.start(t, "--read-timeout", "500ms")
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.info.URL, "http://"))
	fatalIfErr(t, err)
	defer conn.Close()
	fmt.Fprintf(conn, "POST /api/v1/records HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: "+
		"application/json\r\nContent-Length: 1000\r\n\r\n{\"sm3\":", s.info.APIKey)
	fatalIfErr(t, conn.SetReadDeadline(time.Now().Add(20*time.Second)))
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	fatalIfErr(t, err)
	body, _ := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusRequestTimeout || !strings.Contains(string(body), `"code":"timeout"`) {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	s.notarize(digestRequest(newDigest(), "", "")) // and the server goes on
}

// Ten thousand connections at once: each gets an answer, either a real one or a polite 503,
// and afterwards the server works as before.
func TestTenThousandConnections(t *testing.T) {
	const n = 10_000
	var l syscall.Rlimit
	fatalIfErr(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l))
	if l.Max < n+1000 {
		t.Fatalf("this test needs %d open files, the limit is %d: raise it with ulimit -n", n+1000, l.Max)
	}
	l.Cur = l.Max
	fatalIfErr(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l))
	site := site{data: folder(t)}
	s := site.start(t, "--max-connections", "2000", "--max-connections-per-address", "2000")
	addr := strings.TrimPrefix(s.info.URL, "http://")
	var mu sync.Mutex
	statuses := map[int]int{}
	start := make(chan struct{})
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			<-start
			status, err := oneRequest(addr)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				statuses[-1]++
				if statuses[-1] < 5 {
					t.Error(err)
				}
				return
			}
			statuses[status]++
		})
	}
	close(start)
	wg.Wait()
	t.Logf("answers by status: %v", statuses)
	if statuses[http.StatusOK] == 0 || statuses[http.StatusOK]+statuses[http.StatusServiceUnavailable] != n {
		t.Errorf("%v", statuses)
	}
	s.notarize(digestRequest(newDigest(), "", "anchored"))
}

func oneRequest(addr string) (int, error) {
	conn, err := net.DialTimeout("tcp", addr, 60*time.Second)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(90 * time.Second)); err != nil {
		return 0, err
	}
	if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return 0, err
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusServiceUnavailable && res.Header.Get("Retry-After") == "" {
		return 0, fmt.Errorf("503 without Retry-After")
	}
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, err
}

// endless repeats a block, so that making the bytes costs nothing.
type endless struct {
	block []byte
	left  int64
}

func (e *endless) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n := copy(p, e.block[:min(int64(len(e.block)), e.left)])
	e.left -= int64(n)
	return n, nil
}
