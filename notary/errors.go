package notary

import (
	"errors"
	"fmt"
	"time"
)

// Code tells callers what kind of thing went wrong. Codes are stable: they stand in problem
// documents and in command-line output, and are listed in the API documentation.
type Code string

// The codes of errors that a caller can do something about.
const (
	CodeInvalid        Code = "invalid_request"      // what was sent is out of form
	CodeMalformed      Code = "malformed_request"    // what was sent cannot be read at all
	CodeDigestMismatch Code = "digest_mismatch"      // the file is not the one announced
	CodeTooLarge       Code = "too_large"            // over a stated limit
	CodeUnsupported    Code = "unsupported_media"    // a media type that is not taken here
	CodeUnauthorized   Code = "unauthorized"         // no credentials, or wrong ones
	CodeForbidden      Code = "forbidden"            // known, but not allowed to
	CodeNotFound       Code = "not_found"            // no such thing, or not yours
	CodeIdempotency    Code = "idempotency_conflict" // the key was used for another request
	CodeConflict       Code = "conflict"             // the thing is not in the state for this
	CodeNotReady       Code = "not_ready"            // not yet: ask again
	CodeRateLimited    Code = "rate_limited"         // too many requests
	CodeQuota          Code = "quota_exceeded"       // as much as is allowed in the time was done
	CodeBusy           Code = "busy"                 // overloaded for the moment
	CodeUnavailable    Code = "unavailable"          // something the service needs is down
	CodeTimeout        Code = "timeout"              // the client was too slow

	CodeAgencySuspended    Code = "agency_suspended"    // nothing is signed in its name for the moment
	CodeAgencyClosed       Code = "agency_closed"       // nothing is signed in its name any more
	CodeCertificateExpired Code = "certificate_expired" // of the agency: nothing can be signed until there is a new one

	CodeInternal Code = "internal" // our fault; nothing more is said outside
)

// Error is an error for the outside: its message may be shown to whoever caused it, and so
// holds nothing internal. What lies behind it is kept for the log.
type Error struct {
	Code    Code
	Message string        // one sentence: what was expected, what to do
	Field   string        // the part of the request it is about, where there is one
	Wait    time.Duration // after which trying again makes sense; 0: what is usual for the code
	cause   error
}

// Error returns the message, with the cause for the log.
func (e *Error) Error() string {
	if e.cause != nil {
		return fmt.Sprintf("%s: %v", e.Message, e.cause)
	}
	return e.Message
}

// Unwrap returns what lies behind the error.
func (e *Error) Unwrap() error { return e.cause }

// Errorf makes an error for the outside.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// InvalidField makes an error about one part of a request.
func InvalidField(field, format string, args ...any) *Error {
	return &Error{Code: CodeInvalid, Field: field, Message: fmt.Sprintf(format, args...)}
}

// Wrap makes an error for the outside that hides a cause.
func Wrap(code Code, cause error, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), cause: cause}
}

// After says when trying again makes sense.
func (e *Error) After(d time.Duration) *Error {
	e.Wait = d
	return e
}

// CodeOf returns the code of an error; an error without one is internal.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeInternal
}

// ErrNotFound is what stores return for a row that is not there.
var ErrNotFound = errors.New("not found")

// ErrUnknownOutcome means that a write may or may not have taken effect: the connection
// broke after it was sent. Whoever gets it must look before it writes again.
var ErrUnknownOutcome = errors.New("it is not known whether the write took effect")
