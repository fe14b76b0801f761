// Package clamd asks a ClamAV daemon whether a file holds malware. It speaks the one command
// that is needed, INSTREAM of clamd(8): the bytes go over the connection, so that the daemon
// may run on another machine and needs no access to the object store.
package clamd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"stele/notary"
)

// Time-outs. A daemon that loads new signatures does not accept for some seconds; a large
// archive takes it minutes to look through.
const (
	dialTimeout  = 10 * time.Second
	writeTimeout = 30 * time.Second // for one chunk
	replyTimeout = 5 * time.Minute  // after the last one
)

const (
	chunkSize = 64 << 10
	maxReply  = 1 << 10 // bytes; a finding is a name
)

// Client asks one daemon. It is safe for concurrent use; each scan has a connection of its own.
type Client struct {
	network, address string
	reply            time.Duration
}

// Parse reads where a daemon listens: tcp:host:port, or unix:path.
func Parse(where string) (*Client, error) {
	network, address, _ := strings.Cut(where, ":")
	switch network {
	case "unix":
		if strings.HasPrefix(address, "/") {
			return &Client{network, address, replyTimeout}, nil
		}
	case "tcp":
		if _, port, err := net.SplitHostPort(address); err == nil && port != "" {
			return &Client{network, address, replyTimeout}, nil
		}
	}
	return nil, fmt.Errorf("%q: a clamd is named as tcp:host:port or as unix: and an absolute path", where)
}

// errTooLarge is for the person: the daemon's own limit (StreamMaxLength) was met.
var errTooLarge = notary.Errorf(notary.CodeTooLarge,
	"The file is larger than the malware scanner of this service takes. It was not taken.")

// Scan sends what r brings and returns the name of what was found, or nothing. An error means
// that the daemon could not look, [notary.CodeTooLarge] that it does not look at so much. Memory
// is constant.
func (c *Client) Scan(ctx context.Context, r io.Reader) (finding string, err error) {
	d := net.Dialer{Timeout: dialTimeout}
	conn, err := d.DialContext(ctx, c.network, c.address)
	if err != nil {
		return "", fmt.Errorf("reach clamd: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if err := send(conn, r); err != nil {
		return "", err
	}
	if err := conn.SetReadDeadline(time.Now().Add(c.reply)); err != nil {
		return "", fmt.Errorf("ask clamd: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(conn, maxReply+1))
	// A daemon that was sent too much answers and closes; what was still on the way can make the
	// connection end in an error after the answer.
	if err != nil && len(text) == 0 {
		return "", fmt.Errorf("hear from clamd: %w", err)
	}
	return parseReply(text)
}

// Ping asks whether the daemon is there.
func (c *Client) Ping(ctx context.Context) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, c.network, c.address)
	if err != nil {
		return fmt.Errorf("reach clamd: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := io.WriteString(conn, "zPING\x00"); err != nil {
		return fmt.Errorf("ask clamd: %w", err)
	}
	answer := make([]byte, len("PONG\x00"))
	if _, err := io.ReadFull(conn, answer); err != nil {
		return fmt.Errorf("hear from clamd: %w", err)
	}
	if string(answer) != "PONG\x00" {
		return fmt.Errorf("clamd answered %q to a ping", answer)
	}
	return nil
}

// errSource marks what r failed with, as opposed to the daemon.
type errSource struct{ error }

func (e errSource) Unwrap() error { return e.error }

// send sends all of r in chunks. That the daemon closed meanwhile is no error here: its answer
// says why.
func send(conn net.Conn, r io.Reader) error {
	out := &chunks{conn: conn, buf: make([]byte, 4, 4+chunkSize)}
	if err := out.write([]byte("zINSTREAM\x00")); err != nil {
		return fmt.Errorf("ask clamd: %w", err)
	}
	_, err := io.CopyBuffer(out, source{r}, make([]byte, chunkSize))
	var own errSource
	if errors.As(err, &own) {
		return own.error
	}
	if err == nil {
		err = out.write([]byte{0, 0, 0, 0})
	}
	if err != nil && isTimeout(err) {
		return fmt.Errorf("send to clamd: %w", err)
	}
	return nil
}

// source keeps errors of the file apart from those of the connection. It hides what else the
// reader can do: what is copied must come in chunks.
type source struct{ r io.Reader }

func (s source) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if err != nil && err != io.EOF {
		err = errSource{err}
	}
	return n, err
}

// chunks frames what is written: four bytes of length, big endian, and the bytes.
type chunks struct {
	conn net.Conn
	buf  []byte
}

func (c *chunks) Write(b []byte) (int, error) {
	binary.BigEndian.PutUint32(c.buf[:4], uint32(len(b)))
	return len(b), c.write(append(c.buf[:4], b...))
}

func (c *chunks) write(b []byte) error {
	if err := c.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	_, err := c.conn.Write(b)
	return err
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// maxFinding bounds the name of a finding, in bytes.
const maxFinding = 128

// parseReply reads what a daemon answers: "stream: OK", "stream: NAME FOUND", or an error, each
// with a zero byte after it. What is anything else is an error: never "nothing was found".
func parseReply(b []byte) (finding string, err error) {
	text, ended := strings.CutSuffix(string(b), "\x00")
	if !ended || len(b) > maxReply || strings.ContainsRune(text, 0) {
		return "", errors.New("clamd broke off its answer")
	}
	if strings.HasPrefix(text, "INSTREAM size limit exceeded") {
		return "", errTooLarge
	}
	about, ok := strings.CutPrefix(text, "stream: ")
	if ok && about == "OK" {
		return "", nil
	}
	name, found := strings.CutSuffix(about, " FOUND")
	name = plain(name)
	if ok && found && name != "" {
		return name, nil
	}
	return "", fmt.Errorf("clamd answers %q", plain(text))
}

// plain keeps of a text what can stand on a page and in a log.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, s)
	return strings.TrimSpace(s[:min(len(s), maxFinding)])
}
