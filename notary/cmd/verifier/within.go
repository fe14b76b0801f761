package verifier

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"stele/notary/proof"
)

// within is how old the log's status may be; the zero value asks for none.
type within time.Duration

var errWithin = errors.New("a time such as 36h or 7d is expected, more than zero")

// parse reads the option's value: what Go calls a duration, or days. An empty one is wrong too: a script
// whose variable is not set must not ask for nothing.
func (w *within) parse(text string) error {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil || n == 0 {
			return errWithin
		}
		*w = within(time.Duration(n) * 24 * time.Hour)
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return errWithin
	}
	*w = within(d)
	return nil
}

// demand makes a genuine report unverifiable unless the log's status says that the record is in force as of a
// time that is not too long before now. Of a record that ended the report says so whatever its age.
func (w within) demand(r *proof.Report, now time.Time) {
	if w == 0 || r.Verdict != proof.Genuine {
		return
	}
	missing := "its bundle shows no status that could be checked"
	if r.Standing.State == proof.StandingValid {
		at, err := time.Parse(time.RFC3339, r.Standing.AsOf)
		if err == nil && now.Sub(at) <= time.Duration(w) {
			return
		}
		missing = fmt.Sprintf("its status is of %s, which is longer ago than %s by this machine's clock",
			r.Standing.AsOf, time.Duration(w))
	}
	r.Verdict, r.Proves = proof.Unverifiable, ""
	r.Summary = fmt.Sprintf("The evidence of certificate %s holds, but whether the record was revoked or replaced "+
		"since is open: %s. Get a fresh bundle from the service: GET /api/v1/records/%s/bundle?status=latest",
		r.Number, missing, r.Number)
}
