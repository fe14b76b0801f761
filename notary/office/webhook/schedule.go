package webhook

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// schedule is how long after a failed attempt the next one follows: that of the specification
// (section "Retry schedule"), three days and a few hours in all. After the last one a
// delivery is given up.
var schedule = []time.Duration{5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
	10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour}

const (
	// jitterShare of a pause is added at most, so that what failed together does not come
	// back together.
	jitterShare = 0.2
	// maxRetryAfter bounds what a receiver may ask for: the longest pause of the schedule.
	maxRetryAfter = 24 * time.Hour
	// disableAfter is how long an endpoint may fail without one success.
	disableAfter = 5 * 24 * time.Hour

	// An endpoint that fails again and again gets one attempt after each of these pauses, so
	// that a dead one with many events waiting costs neither side much.
	holdAfter = 3 // failures in a row
	firstHold = time.Second
	longHold  = time.Minute
)

// retryAt is when a delivery is due again after its n-th attempt (from 1) failed; false means
// that it is given up. jitter is in [0, 1).
func retryAt(n int, now time.Time, retryAfter time.Duration, jitter float64) (time.Time, bool) {
	if n > len(schedule) {
		return time.Time{}, false
	}
	pause := time.Duration(float64(schedule[n-1]) * (1 + jitterShare*jitter))
	return now.Add(max(pause, min(retryAfter, maxRetryAfter))), true
}

// ParseRetryAfter reads the header (RFC 9110 section 10.2.3): seconds, or a date, which
// counts from now. What is out of form, or in the past, is no wish at all.
func ParseRetryAfter(header string, now time.Time) time.Duration {
	header = strings.TrimSpace(header)
	if s, err := strconv.ParseUint(header, 10, 63); err == nil {
		return time.Duration(min(s, uint64(maxRetryAfter/time.Second))) * time.Second
	}
	at, err := time.Parse("Mon, 02 Jan 2006 15:04:05 GMT", header)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}

// State is whether an endpoint gets events.
type State string

// The states. A disabled endpoint keeps its place among the events: enabled again, it goes
// on from there.
const (
	Enabled  State = "enabled"
	Disabled State = "disabled"
)

// Why an endpoint is disabled.
const (
	ReasonFailing = "failing" // no success in five days
	ReasonGone    = "gone"    // the receiver answered 410
	ReasonManual  = "manual"  // its agency did it
)

// Health is how an endpoint has answered lately.
type Health struct {
	State        State
	Reason       string // why it is disabled
	DisabledAt   time.Time
	Failures     int       // in a row
	FailingSince time.Time // the first of them
	HoldUntil    time.Time // nothing is sent before
}

// After is the health after an attempt that ended at a time. Attempts that were under way
// while a pause began do not make it longer.
func (h Health) After(o Outcome, at time.Time) Health {
	switch {
	case h.State != Enabled || o.Step == Released:
		return h
	case o.Step == Delivered:
		return Health{State: Enabled}
	case o.Event == Ping && !o.Gone:
		return h // a test; it says nothing about the events
	}
	if h.Failures == 0 {
		h.FailingSince = at
	}
	if wish := at.Add(min(o.RetryAfter, maxRetryAfter)); wish.After(h.HoldUntil) && o.RetryAfter > 0 {
		h.HoldUntil = wish
	}
	if h.Failures < holdAfter || at.After(h.HoldUntil) {
		h.Failures++
		if n := h.Failures - holdAfter; n >= 0 {
			pause := time.Duration(min(float64(firstHold)*math.Pow(2, float64(n)), float64(longHold)))
			h.HoldUntil = later(h.HoldUntil, at.Add(pause))
		}
	}
	switch {
	case o.Gone:
		h.State, h.Reason, h.DisabledAt = Disabled, ReasonGone, at
	case at.Sub(h.FailingSince) >= disableAfter:
		h.State, h.Reason, h.DisabledAt = Disabled, ReasonFailing, at
	}
	return h
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
