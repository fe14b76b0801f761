package people

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"stele/crypto/sm"
	"stele/notary"
)

// SealedRows reads the trail for [CheckTrail]. SealedEvents returns the events of a seal, in the
// order of their ids; of number 0, up to limit of those in no seal whose id is larger than
// after. AuditEvent finds one by id, [notary.ErrNotFound] where there is none. SealMarks returns all
// pairs of trail and seal that events name, 0 included.
type SealedRows interface {
	SealedEvents(ctx context.Context, trail string, number int64, after string, limit int) ([]AuditEvent, error)
	AuditEvent(ctx context.Context, id string) (AuditEvent, error)
	SealMarks(ctx context.Context) (map[string][]int64, error)
	TrailSeals(ctx context.Context, trail string, before int64, limit int) ([]TrailSeal, error)
}

// late is how far an event may lie before the last event of the seal before its own: servers'
// clocks differ, and transactions take their time. What lies further back was not there when
// that seal was made.
const late = 10 * time.Minute

// maxEvents bounds the events that are read at once.
const maxEvents = 5000

type trailCheck struct {
	rows    SealedRows
	records func(first uint64) iter.Seq2[notary.Record, error]
	open    func(context.Context, notary.Record) ([]byte, error)
	find    func(rec notary.Record, format string, args ...any)
	trails  map[string]*checkedTrail
	next    uint64          // index of the first record that was not looked at
	unread  map[string]bool // ids of records whose document is missing or another: said once, of the record
}

// excused is the row of a seal whose document cannot be read, so that nothing of its events is known.
func (c *trailCheck) excused(ctx context.Context, trail string, number int64) (TrailSeal, bool, error) {
	seals, err := c.rows.TrailSeals(ctx, trail, number+1, 1)
	if err != nil || len(seals) == 0 || seals[0].Number != number {
		return TrailSeal{}, false, err
	}
	return seals[0], c.unread[seals[0].RecordID], nil
}

// checkedTrail is how far the seals of a trail were followed.
type checkedTrail struct {
	number int64
	sm3    sm.Digest
	lastAt time.Time
	known  map[int64]bool
}

// CheckTrail compares the rows of the audit trail with the sealed documents: what the log
// holds is the truth. records are those of [notary.TrailClass] from an index on, in the order
// of the log; open reads the original of one; find is told of what does not hold, with the
// record that shows it. An error means that the check could not be finished. The trail may
// grow meanwhile.
func CheckTrail(ctx context.Context, rows SealedRows, records func(first uint64) iter.Seq2[notary.Record, error],
	open func(context.Context, notary.Record) ([]byte, error),
	find func(rec notary.Record, format string, args ...any)) error {
	c := &trailCheck{rows: rows, records: records, open: open, find: find, trails: map[string]*checkedTrail{},
		unread: map[string]bool{}}
	if err := c.follow(ctx); err != nil {
		return err
	}
	return c.unsealed(ctx)
}

// follow looks at the records that were not looked at yet.
func (c *trailCheck) follow(ctx context.Context) error {
	for rec, err := range c.records(c.next) {
		if err != nil {
			return err
		}
		c.next = rec.Index + 1
		document, err := c.open(ctx, rec)
		switch {
		case errors.Is(err, notary.ErrObjectNotFound):
			c.find(rec, "the sealed document is missing; its events were not checked")
			c.unread[rec.ID] = true
			continue
		case err != nil:
			return fmt.Errorf("read the sealed trail in record %s: %w", rec.Number, err)
		case sm.Sum(document) != rec.SM3:
			c.find(rec, "the sealed document is not the one notarized; its events were not checked")
			c.unread[rec.ID] = true
			continue
		}
		h, lines, err := parseSealed(document)
		if err != nil {
			c.find(rec, "the sealed document cannot be read: %v", err)
			continue
		}
		if err := c.seal(ctx, rec, h, lines); err != nil {
			return err
		}
	}
	return nil
}

// sealedLine is an event as a sealed document has it.
type sealedLine struct {
	id, at, act, login string
	text               []byte
}

// parseSealed reads a sealed document: a header and as many events as it says, each line in the
// one form in which it is written.
func parseSealed(document []byte) (Header, []sealedLine, error) {
	var h Header
	all := bytes.Split(document, []byte("\n"))
	if len(all) < 2 || len(all[len(all)-1]) > 0 {
		return h, nil, errors.New("want lines that each end")
	}
	if err := json.Unmarshal(all[0], &h); err != nil || h.Format != TrailFormat || !bytes.Equal(encodeLine(h), all[0]) {
		return h, nil, errors.New("its first line is no header")
	}
	if h.Events != len(all)-2 || h.Seal < 1 {
		return h, nil, fmt.Errorf("the header says %d events and seal %d, there are %d lines", h.Events, h.Seal,
			len(all)-2)
	}
	lines := make([]sealedLine, 0, h.Events)
	for i, text := range all[1 : len(all)-1] {
		var l line
		if err := json.Unmarshal(text, &l); err != nil || !bytes.Equal(encodeLine(l), text) {
			return h, nil, fmt.Errorf("line %d is no event", i+2)
		}
		lines = append(lines, sealedLine{l.ID, l.At, l.Act, l.Login, text})
	}
	if len(lines) > 0 && (lines[0].id != h.First || lines[len(lines)-1].id != h.Last) {
		return h, nil, errors.New("the header names other events")
	}
	return h, lines, nil
}

// ReadSealed reads a sealed document: of which seal it is, and its events.
func ReadSealed(document []byte) (Header, []AuditEvent, error) {
	h, lines, err := parseSealed(document)
	if err != nil {
		return h, nil, err
	}
	events := make([]AuditEvent, len(lines))
	for i, text := range lines {
		var l line
		if err := json.Unmarshal(text.text, &l); err != nil {
			return h, nil, err
		}
		at, err := time.Parse(time.RFC3339Nano, l.At)
		if err != nil {
			return h, nil, fmt.Errorf("event %s: %w", l.ID, err)
		}
		events[i] = AuditEvent{ID: l.ID, At: at, AgencyID: l.Agency, UserID: l.User, Login: l.Login, Role: Role(l.Role),
			Act:   Action(l.Act),
			About: l.About, Detail: l.Detail, Network: l.Network, Outcome: l.Outcome, Form: l.Form, Seal: h.Seal}
	}
	return h, events, nil
}

func (c *trailCheck) trail(id string) *checkedTrail {
	t := c.trails[id]
	if t == nil {
		t = &checkedTrail{known: map[int64]bool{}}
		c.trails[id] = t
	}
	return t
}

// seal compares one sealed document with the rows.
func (c *trailCheck) seal(ctx context.Context, rec notary.Record, h Header, lines []sealedLine) error {
	t := c.trail(h.Trail)
	for t.number+1 < h.Seal { // what lies between may be known by its row alone
		row, excused, err := c.excused(ctx, h.Trail, t.number+1)
		if err != nil {
			return err
		}
		if !excused {
			break
		}
		t.number, t.sm3 = row.Number, row.SM3
	}
	previous := ""
	if t.number > 0 {
		previous = t.sm3.String()
	}
	if h.Seal != t.number+1 || h.Previous != previous {
		c.find(rec, "seal %d of trail %q does not follow seal %d", h.Seal, h.Trail, t.number)
	}
	seals, err := c.rows.TrailSeals(ctx, h.Trail, h.Seal+1, 1)
	if err != nil {
		return err
	}
	if len(seals) == 0 || seals[0].Number != h.Seal || seals[0].SM3 != rec.SM3 || seals[0].RecordID != "" &&
		seals[0].RecordID != rec.ID || seals[0].First != h.First || seals[0].Last != h.Last ||
		seals[0].Events != h.Events {
		c.find(rec, "the row of seal %d of trail %q is missing or was changed", h.Seal, h.Trail)
	}
	events, err := c.rows.SealedEvents(ctx, h.Trail, h.Seal, "", maxEvents)
	if err != nil {
		return err
	}
	there := map[string]AuditEvent{}
	for _, d := range events {
		there[d.ID] = d
	}
	for _, l := range lines {
		if err := c.event(ctx, rec, h, l, there); err != nil {
			return err
		}
		if at, err := time.Parse(time.RFC3339Nano, l.at); err == nil && !t.lastAt.IsZero() &&
			at.Before(t.lastAt.Add(-late)) {
			c.find(rec, "event %s (%s by %s) says %s, but seal %d, which was made later, does not have it: it was "+
				"inserted afterwards", l.id, l.act, l.login, l.at, t.number)
		}
		delete(there, l.id)
	}
	for _, d := range events {
		if _, extra := there[d.ID]; extra {
			c.find(rec, "event %s (%s by %s) was inserted: the sealed document does not have it", d.ID, d.Act, d.Login)
		}
	}
	t.number, t.sm3, t.known[h.Seal] = h.Seal, rec.SM3, true
	if len(lines) > 0 {
		if at, err := time.Parse(time.RFC3339Nano, lines[len(lines)-1].at); err == nil && at.After(t.lastAt) {
			t.lastAt = at
		}
	}
	return nil
}

// event compares one sealed line with its row.
func (c *trailCheck) event(ctx context.Context, rec notary.Record, h Header, l sealedLine,
	there map[string]AuditEvent) error {
	d, ok := there[l.id]
	if !ok {
		var err error
		if d, err = c.rows.AuditEvent(ctx, l.id); errors.Is(err, notary.ErrNotFound) {
			c.find(rec, "event %s (%s by %s at %s) was deleted", l.id, l.act, l.login, l.at)
			return nil
		} else if err != nil {
			return err
		}
		if bytes.Equal(d.Line(), l.text) {
			c.find(rec, "event %s (%s by %s at %s) was changed: its row names seal %d", l.id, l.act, l.login, l.at,
				d.Seal)
			return nil
		}
	}
	if got := d.Line(); !bytes.Equal(got, l.text) {
		c.find(rec, "event %s (%s by %s at %s) was changed: the row says %s, sealed was %s", l.id, l.act, l.login, l.at,
			got, l.text)
	}
	return nil
}

// unsealed looks at what no sealed document spoke of.
func (c *trailCheck) unsealed(ctx context.Context) error {
	marks, err := c.rows.SealMarks(ctx)
	if err != nil {
		return err
	}
	for trail, numbers := range marks {
		t := c.trail(trail)
		for _, n := range numbers {
			switch {
			case n == 0:
				err = c.waiting(ctx, trail, t)
			case !t.known[n]:
				err = c.begun(ctx, t, trail, n)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// waiting looks at events that are in no seal yet.
func (c *trailCheck) waiting(ctx context.Context, trail string, t *checkedTrail) error {
	for after := ""; ; {
		events, err := c.rows.SealedEvents(ctx, trail, 0, after, maxEvents)
		if err != nil || len(events) == 0 {
			return err
		}
		for _, d := range events {
			if !t.lastAt.IsZero() && d.At.Before(t.lastAt.Add(-late)) {
				c.find(notary.Record{}, "event %s (%s by %s) says %s, but seal %d, which was made later, does not "+
					"have it: it was inserted afterwards", d.ID, d.Act, d.Login, d.At.Format(time.RFC3339Nano),
					t.number)
			}
		}
		after = events[len(events)-1].ID
	}
}

// begun looks at events that name a seal which no record held: one that is being made, with its
// document beside it, or that became a record just now; or none at all.
func (c *trailCheck) begun(ctx context.Context, t *checkedTrail, trail string, number int64) error {
	seals, err := c.rows.TrailSeals(ctx, trail, number+1, 1)
	if err != nil {
		return err
	}
	there := len(seals) == 1 && seals[0].Number == number
	if there && c.unread[seals[0].RecordID] {
		return nil
	}
	if there && seals[0].RecordID != "" {
		if err := c.follow(ctx); err != nil || t.known[number] {
			return err
		}
	}
	events, err := c.rows.SealedEvents(ctx, trail, number, "", maxEvents)
	if err != nil {
		return err
	}
	if there && len(seals[0].Document) > 0 {
		lines := bytes.Split(bytes.TrimSuffix(seals[0].Document, []byte("\n")), []byte("\n"))
		if slices.EqualFunc(events, lines[1:], func(d AuditEvent, l []byte) bool { return bytes.Equal(d.Line(), l) }) {
			return nil
		}
	}
	for _, d := range events {
		c.find(notary.Record{},
			"event %s (%s by %s) was inserted or changed: it names seal %d of its trail, which no record holds so",
			d.ID,
			d.Act, d.Login, number)
	}
	return nil
}
