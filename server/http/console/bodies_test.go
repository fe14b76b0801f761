package console_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"stele/server/instance"
)

// endless is a form of parts without names and texts, up to a size.
type endless struct{ left, sent int }

const emptyPart = "--B\r\n\r\n\r\n"

func (e *endless) Read(b []byte) (int, error) {
	if e.sent >= e.left {
		return 0, io.EOF
	}
	n := copy(b, strings.Repeat(emptyPart, max(1, len(b)/len(emptyPart))))
	e.sent += n
	return n, nil
}

// A stranger's files are not read, and nobody's form may have parts without number.
func TestFormsAreBounded(t *testing.T) {
	o := openOffice(t, false)
	for _, path := range []string{"/console/bulk", "/console/bulk/x/files", "/console/upload"} {
		t.Run(path, func(t *testing.T) {
			body := &endless{left: 256 << 20}
			req, err := http.NewRequest(http.MethodPost, o.URL+path, body)
			fatalIfErr(t, err)
			req.Header.Set("Content-Type", "multipart/form-data; boundary=B")
			res, err := http.DefaultTransport.RoundTrip(req)
			if err == nil {
				res.Body.Close()
			}
			if body.sent > 16<<20 || err == nil && res.StatusCode < 300 {
				t.Errorf("%s: %d bytes of a stranger's form were read: %v, %v", path, body.sent, res, err)
			}
		})
	}
	clerk := o.as("clerk")
	req, err := http.NewRequest(http.MethodPost, o.URL+"/console/bulk",
		strings.NewReader(strings.Repeat(emptyPart, 8000)+"--B--\r\n"))
	fatalIfErr(t, err)
	req.Header.Set("Content-Type", "multipart/form-data; boundary=B")
	if a := clerk.do(req); a.status != http.StatusBadRequest {
		t.Errorf("a form of empty parts: %d %.200s", a.status, a.body)
	}
}

// A form that stays away does not hold a connection.
func TestSilentForms(t *testing.T) {
	o := openOfficeWith(t, instance.Config{Demo: true, ReadTimeout: 200 * time.Millisecond})
	for _, path := range []string{"/console/sign-in", "/console/papers/x/approve"} {
		t.Run(path, func(t *testing.T) {
			c, err := net.Dial("tcp", strings.TrimPrefix(o.URL, "http://"))
			fatalIfErr(t, err)
			defer c.Close()
			fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Type: "+
				"application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\nlogin=a", path)
			fatalIfErr(t, c.SetReadDeadline(time.Now().Add(20*time.Second)))
			line, err := bufio.NewReader(c).ReadString('\n')
			if err != nil || !strings.HasPrefix(line, "HTTP/1.1 400") {
				t.Errorf("%s: %q, %v", path, line, err)
			}
		})
	}
}

// An export that cannot be finished does not look whole.
func TestExportBreaksOff(t *testing.T) {
	o := openOffice(t, false)
	auditor := o.as("auditor")
	db, err := sqlx.Open("sqlite", "file:"+strings.TrimPrefix(o.in.Config.Database, "sqlite:")+
		"?_pragma=busy_timeout(20000)")
	fatalIfErr(t, err)
	defer db.Close()
	// More than what fits into the buffers of a connection.
	db.MustExec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000)
		INSERT INTO audit (id, agency_id, user_id, login, role, act, about, detail, network, outcome, at, seal)
		SELECT printf('%08d', i), ?, 'u', 'l', 'clerk', 'sign_in', '', printf('%01000d', i), '', '', 0, -1 FROM n`,
		o.agency.ID)
	res, err := auditor.client.Get(o.URL + "/console/audit/export?format=jsonl")
	fatalIfErr(t, err)
	defer res.Body.Close()
	db.MustExec(`ALTER TABLE audit RENAME TO lost`)
	n, err := io.Copy(io.Discard, res.Body)
	if !errors.Is(err, io.ErrUnexpectedEOF) || n == 0 {
		t.Errorf("%d bytes of an export, then: %v", n, err)
	}
	for _, path := range []string{"/console/audit/export?format=csv", "/console/audit/export"} {
		t.Run(path, func(t *testing.T) {
			if a := auditor.get(path); a.status != http.StatusInternalServerError &&
				a.status != http.StatusServiceUnavailable {
				t.Errorf("%s: %d", path, a.status)
			}
		})
	}
	db.MustExec(`ALTER TABLE lost RENAME TO audit`)
	db.MustExec(`DELETE FROM audit WHERE seal = -1`)
}
