package fsck

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"stele/notary"
	"stele/notary/log/batchlog"
	"stele/notary/proof/statement"
)

// laterStanding is what an entry says about an earlier record.
type laterStanding struct {
	standing notary.Standing
	index    uint64
	at       time.Time
	by       string
	reason   string
	agency   string // credit code
	matched  bool   // the record was met on the walk
}

// laterOf returns what an entry says about an earlier record, and its number, or nil.
func laterOf(index uint64, e statement.Entry) (string, *laterStanding) {
	if !bytes.Contains(e.Statement, []byte(`"action":"revoke"`)) &&
		!bytes.Contains(e.Statement, []byte(`"supersedes"`)) {
		return "", nil // a cheap look first: hardly any entry is one of these
	}
	s, err := statement.Parse(e.Statement)
	if err != nil {
		return "", nil // reported by the walk
	}
	l := &laterStanding{index: index, at: s.IssuedAt, agency: s.Agency.Code}
	switch {
	case s.Action == statement.Revoke:
		l.standing, l.reason = notary.Revoked, s.Reason
		return s.Number, l
	case s.Supersedes != "":
		l.standing, l.by, l.reason = notary.Superseded, s.Number, s.Reason
		return s.Supersedes, l
	}
	return "", nil
}

// readStandings collects what later entries say, since a record's row is checked before
// the walk reaches them.
func (c *checker) readStandings(ctx context.Context) error {
	for first := uint64(0); first < c.head.Received; first += chunk {
		end := min(first+chunk, c.head.Received)
		list, err := c.rows.Entries(ctx, first, end)
		if damaged := new(batchlog.DamagedEntryError); errors.As(err, &damaged) {
			c.standingsTo = min(c.standingsTo, first)
			return nil // reported by the walk
		}
		if err != nil {
			return fmt.Errorf("read entries: %w", err)
		}
		if uint64(len(list)) < end-first {
			c.standingsTo = min(c.standingsTo, first+uint64(len(list)))
		}
		for i, e := range list {
			number, l := laterOf(first+uint64(i), e)
			if l == nil {
				continue
			}
			if earlier := c.standing[number]; earlier != nil {
				c.find("standing", l.index, number,
					"entry %d revokes or replaces what entry %d has revoked or replaced already", l.index,
					earlier.index)
				continue
			}
			c.standing[number] = l
		}
	}
	return nil
}

// checkStanding compares a row's standing with what the entries say.
func (c *checker) checkStanding(ctx context.Context, r notary.Record, s statement.Statement) error {
	want := c.standing[s.Number]
	if want == nil && r.Standing != notary.Valid && r.StandingIndex >= c.head.Received {
		// Perhaps it was revoked after the check began.
		list, err := c.rows.Entries(ctx, r.StandingIndex, r.StandingIndex+1)
		if err != nil {
			return fmt.Errorf("read entry %d: %w", r.StandingIndex, err)
		}
		if len(list) == 1 {
			if number, l := laterOf(r.StandingIndex, list[0]); number == s.Number {
				want = l
			}
		}
	}
	if want == nil {
		if r.Standing != notary.Valid && r.StandingIndex < c.standingsTo {
			c.find("standing", r.Index, s.Number, "the row says %s, but no entry does", r.Standing)
		}
		return nil
	}
	want.matched = true
	switch {
	case want.agency != s.Agency.Code:
		c.find("standing", want.index, s.Number,
			"entry %d is of another agency than the record that it withdraws or replaces", want.index)
	case r.Standing != want.standing || r.StandingIndex != want.index || !r.StandingAt.Equal(want.at) ||
		r.StandingBy != want.by || r.Reason != want.reason:
		c.find("standing", r.Index, s.Number,
			"entry %d says %s (by %q, because %q), the row says %s by entry %d (by %q, because %q)",
			want.index, want.standing, want.by, want.reason, r.Standing, r.StandingIndex, r.StandingBy, r.Reason)
	}
	return nil
}

// unmatched reports entries that withdraw or replace a record that the log does not hold.
func (c *checker) unmatched(context.Context) error {
	if c.res.Entries < c.head.Received {
		return nil // the walk ended early
	}
	for number, l := range c.standing {
		if !l.matched {
			c.find("standing", l.index, number, "entry %d says %s of a record whose row was not found", l.index,
				l.standing)
		}
	}
	return nil
}
