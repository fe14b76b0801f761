package web_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// begin sends the head of an upload and the first part of its body, and then nothing.
func (to *town) begin(t *testing.T) *bufio.Reader {
	t.Helper()
	c, err := net.Dial("tcp", to.Listener.Addr().String())
	fatalIfErr(t, err)
	t.Cleanup(func() { c.Close() })
	_, err = fmt.Fprintf(c, "POST /verify HTTP/1.1\r\nHost: stele.example\r\nAccept-Language: en\r\nContent-Type: "+
		"multipart/form-data; boundary=b\r\nContent-Length: 100000\r\n\r\n"+
		"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.pdf\"\r\n\r\nthe beginning of")
	fatalIfErr(t, err)
	return bufio.NewReader(c)
}

func TestSilentUploadIsGivenUp(t *testing.T) {
	limits := roomy()
	limits.ReadTimeout = 20 * time.Millisecond
	to := newTown(t, limits)
	res, err := http.ReadResponse(to.begin(t), nil)
	fatalIfErr(t, err)
	defer res.Body.Close()
	if res.StatusCode != http.StatusRequestTimeout || !res.Close {
		t.Errorf("status %d, connection closed: %v", res.StatusCode, res.Close)
	}
}

// TestUploadsAreBounded fills the only place for uploads with one that never ends.
func TestUploadsAreBounded(t *testing.T) {
	limits := roomy()
	limits.Uploads, limits.ReadTimeout, limits.UploadTimeout = 1, time.Minute, time.Minute
	to := newTown(t, limits)
	to.begin(t)
	for { // until the server has begun to read it
		res, body := to.post(t, file(docGenuine))
		if res.StatusCode == http.StatusServiceUnavailable {
			if res.Header.Get("Retry-After") == "" || !strings.Contains(body, "Nothing was saved") {
				t.Errorf("headers %v, page:\n%s", res.Header, body)
			}
			break
		}
		if res.StatusCode != http.StatusOK {
			t.Fatalf("status %d", res.StatusCode)
		}
	}
	if res, _ := to.get(t, "/"); res.StatusCode != http.StatusOK {
		t.Error("the page itself is not served any more")
	}
}

// TestTricklingUploadEnds: a body that always brings a little is over at the end of its time.
func TestTricklingUploadEnds(t *testing.T) {
	limits := roomy()
	limits.ReadTimeout, limits.UploadTimeout = time.Minute, 20*time.Millisecond
	to := newTown(t, limits)
	res, err := http.ReadResponse(to.begin(t), nil)
	fatalIfErr(t, err)
	defer res.Body.Close()
	if res.StatusCode != http.StatusRequestTimeout {
		t.Errorf("status %d", res.StatusCode)
	}
}
