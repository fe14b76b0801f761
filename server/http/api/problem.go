package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"stele/notary"
	"stele/server/http/request"
)

// Problem is an RFC 9457 problem document. Code is stable; Detail says what was expected
// and whether anything was saved; nothing internal is ever in it.
type Problem struct {
	Type   string         `json:"type" format:"uri-reference" doc:"Where the code is documented"`
	Title  string         `json:"title" doc:"The status in words"`
	Status int            `json:"status" doc:"The HTTP status"`
	Code   string         `json:"code" doc:"Stable code of the problem"`
	Detail string         `json:"detail" doc:"What was expected, whether anything was saved, what to do next"`
	Field  string         `json:"field,omitempty" doc:"The part of the request it is about"`
	Errors []ProblemField `json:"errors,omitempty" doc:"All parts of the request that are out of form"`
	// RequestID is in answers, not in the problems of single items.
	RequestID string `json:"requestId,omitempty" doc:"The request, as in the header X-Request-Id and in the log of the service"`

	wait time.Duration // for the Retry-After header, where the error says more than the code
}

// ProblemField is one part of a request that is out of form.
type ProblemField struct {
	Field  string `json:"field"`
	Detail string `json:"detail"`
}

// Error implements error and huma.StatusError.
func (p *Problem) Error() string { return p.Detail }

// GetStatus implements huma.StatusError.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType implements huma.ContentTypeFilter.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// statusOf is the one table from codes to HTTP.
var statusOf = map[notary.Code]int{
	notary.CodeInvalid:        http.StatusUnprocessableEntity,
	notary.CodeMalformed:      http.StatusBadRequest,
	notary.CodeDigestMismatch: http.StatusUnprocessableEntity,
	notary.CodeTooLarge:       http.StatusRequestEntityTooLarge,
	notary.CodeUnsupported:    http.StatusUnsupportedMediaType,
	notary.CodeUnauthorized:   http.StatusUnauthorized,
	notary.CodeForbidden:      http.StatusForbidden,
	notary.CodeNotFound:       http.StatusNotFound,
	notary.CodeIdempotency:    http.StatusConflict,
	notary.CodeConflict:       http.StatusConflict,
	notary.CodeNotReady:       http.StatusConflict,
	notary.CodeRateLimited:    http.StatusTooManyRequests,
	notary.CodeQuota:          http.StatusTooManyRequests,
	notary.CodeBusy:           http.StatusServiceUnavailable,
	notary.CodeUnavailable:    http.StatusServiceUnavailable,
	notary.CodeTimeout:        http.StatusRequestTimeout,
	notary.CodeInternal:       http.StatusInternalServerError,

	notary.CodeAgencySuspended:    http.StatusForbidden,
	notary.CodeAgencyClosed:       http.StatusForbidden,
	notary.CodeCertificateExpired: http.StatusServiceUnavailable,
}

const internalText = "Something went wrong on our side. It has been logged; try again later."

// problemOf turns any error into a problem document. An error without a code is ours: its
// text stays in the log.
func problemOf(err error) *Problem {
	if p := new(Problem); errors.As(err, &p) {
		return p
	}
	var e *notary.Error
	if !errors.As(err, &e) {
		e = notary.Errorf(notary.CodeInternal, internalText)
	}
	status := statusOf[e.Code]
	return &Problem{Type: "/docs/errors#" + string(e.Code), Title: http.StatusText(status), Status: status,
		Code: string(e.Code), Detail: e.Message, Field: e.Field, wait: e.Wait}
}

// retryAfter is what the Retry-After header says for codes that pass by themselves, in seconds.
var retryAfter = map[notary.Code]int{
	notary.CodeBusy: 2, notary.CodeUnavailable: 5, notary.CodeNotReady: 1, notary.CodeRateLimited: 10,
	notary.CodeQuota:              3600,
	notary.CodeCertificateExpired: 600,
}

// note logs what is ours.
func (a *API) note(ctx context.Context, p *Problem, err error) {
	level := levelOf(p.Status)
	if ctx.Err() != nil {
		level = slog.LevelDebug // the client has left: nobody waits for an answer
	}
	a.log.LogAttrs(ctx, level, "request failed", slog.String("code", p.Code), slog.Any("error", err))
}

// refuse logs what is ours and answers, for handlers that answer themselves.
func (a *API) refuse(ctx context.Context, w http.ResponseWriter, err error) {
	a.note(ctx, problemOf(err), err)
	WriteProblem(w, err)
}

// identify puts the request's id into a problem that huma writes.
func identify(ctx huma.Context, _ string, v any) (any, error) {
	if p, ok := v.(*Problem); ok {
		return p.of(request.ID(ctx.Context())), nil
	}
	return v, nil
}

// of is the problem of a request. The problem itself may be one of many answers.
func (p *Problem) of(request string) *Problem {
	out := *p
	out.RequestID = request
	return &out
}

// fail logs what is ours and returns the problem with its headers, for huma handlers.
func (a *API) fail(ctx context.Context, err error) error {
	p := problemOf(err)
	a.note(ctx, p, err)
	h := http.Header{}
	setHeaders(h, p)
	if len(h) == 0 {
		return p
	}
	return huma.ErrorWithHeaders(p, h)
}

func levelOf(status int) slog.Level {
	switch {
	case status < 500:
		return slog.LevelDebug
	case status == http.StatusServiceUnavailable:
		return slog.LevelWarn
	}
	return slog.LevelError
}

func setHeaders(h http.Header, p *Problem) {
	if s, ok := retryAfter[notary.Code(p.Code)]; p.wait > 0 {
		h.Set("Retry-After", strconv.Itoa(int((p.wait+time.Second-1)/time.Second)))
	} else if ok {
		h.Set("Retry-After", strconv.Itoa(s))
	}
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="stele"`)
	}
}

// errorsPage lists the codes: it is what the type of a problem document points to.
func errorsPage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	codes := slices.Sorted(maps.Keys(statusOf))
	fmt.Fprintf(w, "Problem codes of this API. Each answer says in its detail what was expected and whether anything "+
		"was saved.\n\n")
	for _, c := range codes {
		retry := ""
		if s, ok := retryAfter[c]; ok {
			retry = fmt.Sprintf("; passes by itself, try again after %d s", s)
		}
		fmt.Fprintf(w, "%-22s %d %s%s\n", c, statusOf[c], http.StatusText(statusOf[c]), retry)
	}
}

// WriteProblem answers a plain handler's request with the problem document of an error.
func WriteProblem(w http.ResponseWriter, err error) {
	p := problemOf(err)
	setHeaders(w.Header(), p)
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(p.of(w.Header().Get(request.Header))) // the client may have left; there is nobody else to tell
}

// init gives huma's own errors (validation, content negotiation) our form. huma offers
// this hook as a package variable only.
func init() {
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		code := codeFor(status)
		p := &Problem{Type: "/docs/errors#" + string(code), Title: http.StatusText(status), Status: status,
			Code: string(code), Detail: msg}
		for _, err := range errs {
			var d *huma.ErrorDetail
			if errors.As(err, &d) {
				p.Errors = append(p.Errors, ProblemField{Field: d.Location, Detail: d.Message})
			} else if own := new(Problem); errors.As(err, &own) {
				return own
			}
		}
		switch {
		case status >= 500:
			p.Detail = internalText
		case len(p.Errors) > 0:
			p.Detail = "The request is out of form, see errors. Nothing was saved."
		}
		return p
	}
}

func codeFor(status int) notary.Code {
	switch status {
	case http.StatusBadRequest:
		return notary.CodeMalformed
	case http.StatusForbidden:
		return notary.CodeForbidden
	case http.StatusConflict:
		return notary.CodeConflict
	case http.StatusServiceUnavailable:
		return notary.CodeUnavailable
	case http.StatusUnprocessableEntity, http.StatusNotAcceptable:
		return notary.CodeInvalid
	case http.StatusTooManyRequests:
		return notary.CodeRateLimited
	}
	for code, s := range statusOf {
		if s == status {
			return code
		}
	}
	return notary.CodeInternal
}
