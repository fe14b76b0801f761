package client

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Problem is a refusal: an RFC 9457 problem document of the service. It is an error. Branch on
// Code, which is stable (docs/api.md lists the codes), and show Detail to people.
type Problem struct {
	Status int `json:"status"` // of HTTP
	// empty when something else than Stele answered, such as a gateway
	Code       string         `json:"code"`
	Detail     string         `json:"detail"`              // what was expected, and whether anything was saved
	Field      string         `json:"field,omitempty"`     // the part of the request it is about
	Errors     []ProblemField `json:"errors,omitempty"`    // all parts that are out of form, where there are several
	RequestID  string         `json:"requestId,omitempty"` // names the request in the log of the service
	RetryAfter time.Duration  `json:"-"`                   // what the service asks to wait; 0: it does not say
}

// ProblemField is one part of a request that is out of form.
type ProblemField struct {
	Field  string `json:"field"`
	Detail string `json:"detail"`
}

func (p *Problem) Error() string {
	text := p.Detail
	for _, e := range p.Errors {
		text += fmt.Sprintf(" %s: %s.", e.Field, e.Detail)
	}
	about := []string{}
	if p.Code != "" {
		about = append(about, p.Code)
	}
	if p.RequestID != "" {
		about = append(about, "request "+p.RequestID)
	}
	if len(about) == 0 {
		return text
	}
	return text + " (" + strings.Join(about, ", ") + ")"
}

// Temporary reports whether the same request may succeed later.
func (p *Problem) Temporary() bool {
	switch p.Status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusServiceUnavailable,
		http.StatusBadGateway, http.StatusGatewayTimeout: // a gateway's way of saying that the connection broke
		return true
	}
	return false
}

// maxRequestID bounds an id that is taken from a header, in bytes.
const maxRequestID = 128

// maxProblem bounds a problem document, in bytes.
const maxProblem = 1 << 20

func readProblem(res *http.Response) *Problem {
	body, _ := io.ReadAll(io.LimitReader(res.Body, maxProblem)) // what is missing of it is not worth another error
	return parseProblem(res.StatusCode, res.Header, body)
}

func parseProblem(status int, h http.Header, body []byte) *Problem {
	p := &Problem{}
	media, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	if media != "application/problem+json" || json.Unmarshal(body, p) != nil || p.Code == "" {
		p = &Problem{
			Detail: fmt.Sprintf(
				"The answer was %d %s, and not from Stele: is the address right, is a gateway in between?", status,
				http.StatusText(status))}
		if to := h.Get("Location"); status/100 == 3 && to != "" {
			p.Detail = fmt.Sprintf("The address has moved to %q: redirects are not followed, set the new address.", to)
		}
	}
	if p.RequestID == "" && len(h.Get("X-Request-Id")) <= maxRequestID { // a gateway may have answered
		p.RequestID = h.Get("X-Request-Id")
	}
	p.Status, p.RetryAfter = status, parseRetryAfter(h.Get("Retry-After"), h.Get("Date"))
	return p
}

// parseRetryAfter reads seconds, or a date that is compared with the answer's own: clocks of
// client and service may differ (RFC 9110 section 10.2.3). What cannot be read is 0.
func parseRetryAfter(text, date string) time.Duration {
	if s, err := strconv.ParseUint(text, 10, 63); err == nil {
		return seconds(s)
	}
	until, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(date)
	if err != nil {
		return 0
	}
	return max(0, until.Sub(now))
}

func seconds(n uint64) time.Duration {
	return time.Duration(min(n, math.MaxInt64/uint64(time.Second))) * time.Second
}
