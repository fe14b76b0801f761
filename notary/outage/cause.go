package outage

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
)

// Cause says in words for an operator what kind of error it is. It holds no address, no name and no
// secret: /readyz shows it to anybody. The log has the error itself.
func Cause(err error) string {
	if err == nil {
		return ""
	}
	var own interface{ Cause() string }
	if errors.As(err, &own) {
		return own.Cause()
	}
	var state interface{ SQLState() string }
	if errors.As(err, &state) {
		return causeOfSQL(state.SQLState())
	}
	for _, c := range causes {
		if c.is(err) {
			return c.words
		}
	}
	return "an error that the log names"
}

// causeOfSQL reads a code of the SQL standard and PostgreSQL (its documentation, appendix A).
func causeOfSQL(code string) string {
	for _, c := range []struct{ prefix, words string }{
		{"57P01", "it was shut down by its operator"},
		{"57P02", "it has crashed and recovers"},
		{"57P03", "it is starting up or shutting down"},
		{"57014", "it took too long"},
		{"53300", "it has no connection to spare"},
		{"53100", "its disk is full"},
		{"53", "it lacks resources"},
		{"28", "it refuses the user or the password"},
		{"3D", "there is no such database"},
		{"25006", "it takes no writes: it is a standby"},
		{"42501", "it refuses the user a right"},
		{"42", "its schema is not the one that this program knows"},
		{"08", "the connection broke"},
		{"58", "it has an error of its system"},
		{"XX", "it reports damage"},
	} {
		if strings.HasPrefix(code, c.prefix) {
			return c.words
		}
	}
	return "it answers with error " + code
}

// anyOf reports whether an error is one of these.
func anyOf(targets ...error) func(error) bool {
	return func(err error) bool {
		for _, t := range targets {
			if errors.Is(err, t) {
				return true
			}
		}
		return false
	}
}

// as reports whether an error is of a type.
func as[T error](err error) bool {
	var t T
	return errors.As(err, &t)
}

// causes are looked through in this order: an error may be of several kinds.
var causes = []struct {
	is    func(error) bool
	words string
}{
	{anyOf(syscall.ECONNREFUSED), "it refuses the connection: it does not run, or listens elsewhere"},
	{anyOf(syscall.ENOSPC, syscall.EDQUOT), "its disk is full"},
	{anyOf(syscall.EROFS), "its file system is read-only"},
	{anyOf(syscall.ENETUNREACH, syscall.EHOSTUNREACH), "the network does not lead there"},
	{as[*net.DNSError], "its name cannot be resolved"},
	{func(err error) bool {
		return as[*tls.CertificateVerificationError](err) || as[x509.UnknownAuthorityError](err) ||
			as[x509.HostnameError](err) || as[x509.CertificateInvalidError](err)
	}, "its TLS certificate is not trusted"},
	{as[tls.RecordHeaderError], "it does not speak TLS"},
	{func(err error) bool {
		var t interface{ Timeout() bool }
		return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
			errors.As(err, &t) && t.Timeout()
	}, "no answer in time"},
	{anyOf(syscall.ECONNRESET, syscall.EPIPE, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed), "the connection broke"},
	{anyOf(fs.ErrPermission), "permission denied"},
	{anyOf(fs.ErrNotExist), "a file or folder is missing"},
}

// Because gives an error whose kind only the caller knows its words.
func Because(words string, err error) error { return &because{words, err} }

type because struct {
	words string
	err   error
}

func (b *because) Error() string { return b.err.Error() }
func (b *because) Unwrap() error { return b.err }
func (b *because) Cause() string { return b.words }
