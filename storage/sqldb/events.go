package sqldb

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"stele/notary"
	"stele/notary/office/webhook"
)

// factRows is how many outbox rows are looked at in one go.
const factRows = 1000

// Outbox rows of what is about no record; that of approvals stands with the papers.
const (
	kindDisabled = string(webhook.EndpointDisabled)
	kindFailed   = string(webhook.UploadFailed)
	kindExpiring = string(webhook.CertificateExpiring)
)

// noticeKinds are the kinds of these rows: what each is about stands in webhook_notices.
var noticeKinds = []webhook.Kind{webhook.EndpointDisabled, webhook.UploadFailed, webhook.ApprovalRequested,
	webhook.CertificateExpiring}

// fact is an event before what it is about is read.
type fact struct {
	webhook.Cursor
	kind      webhook.Kind
	recordIdx int64 // -1 for none
	class     string
	at        int64
}

type outboxRow struct {
	ID    int64
	Kind  string
	First int64
	Last  int64
	At    int64
}

// outboxFrom reads the rows from one on: they are the same for every endpoint and agency.
func outboxFrom(ctx context.Context, q handle, first uint64) ([]outboxRow, error) {
	return list(ctx, q, "read the outbox",
		func(r *outboxRow) []any { return []any{&r.ID, &r.Kind, &r.First, &r.Last, &r.At} },
		`SELECT id, kind, first_idx, last_idx, at FROM outbox WHERE id >= $1 ORDER BY id LIMIT $2`, int64(first),
		factRows)
}

// facts selects the events of an agency in some rows of the outbox, and returns the place
// after the last that was looked at. Rows of one kind cover entries without gaps, in order:
// one question for each kind finds the records, whatever the number of rows.
func facts(ctx context.Context, q handle, sel webhook.Query, rows []outboxRow) ([]fact, webhook.Cursor,
	error) {
	if len(rows) == 0 {
		return nil, sel.From, nil
	}
	next := webhook.Cursor{Row: uint64(rows[len(rows)-1].ID) + 1}
	byKind := map[string][]outboxRow{}
	for _, r := range rows {
		byKind[r.Kind] = append(byKind[r.Kind], r)
	}
	type source struct {
		rows  []outboxRow
		wants bool
		read  func(ctx context.Context, q handle, sel webhook.Query, rows []outboxRow) ([]fact, error)
	}
	sources := []source{
		{byKind[kindReceived], sel.Wants(webhook.RecordRevoked) || sel.Wants(webhook.RecordSuperseded), standingFacts},
		{byKind[kindLogged], sel.Wants(webhook.RecordLogged), recordFacts},
		{byKind[kindAnchored], sel.Wants(webhook.RecordAnchored), recordFacts},
	}
	for _, k := range noticeKinds {
		sources = append(sources, source{byKind[string(k)], sel.Wants(k), noticeFacts})
	}
	var all []fact
	for _, source := range sources {
		if !source.wants || len(source.rows) == 0 {
			continue
		}
		found, err := source.read(ctx, q, sel, source.rows)
		if err != nil {
			return nil, sel.From, err
		}
		if len(found) == sel.Limit { // there may be more behind the last
			if end := found[len(found)-1].Next(); end.Before(next) {
				next = end
			}
		}
		all = append(all, found...)
	}
	all = slices.DeleteFunc(all, func(f fact) bool {
		return f.Before(sel.From) || !f.Before(next) || !sel.Wants(f.kind) || f.recordIdx >= 0 &&
			!sel.WantsClass(f.class)
	})
	slices.SortFunc(all, func(a, b fact) int {
		if a.Before(b.Cursor) {
			return -1
		}
		return 1
	})
	if len(all) > sel.Limit {
		all = all[:sel.Limit]
		next = all[sel.Limit-1].Next()
	}
	return all, next, nil
}

// firstIndex is the first entry of the rows that is not before the place to begin.
func firstIndex(sel webhook.Query, rows []outboxRow) int64 {
	if uint64(rows[0].ID) == sel.From.Row {
		return max(rows[0].First, int64(sel.From.Index))
	}
	return rows[0].First
}

// rowOf finds the row that covers an entry.
func rowOf(rows []outboxRow, idx int64) outboxRow {
	i, _ := slices.BinarySearchFunc(rows, idx, func(r outboxRow, idx int64) int {
		switch {
		case r.Last < idx:
			return -1
		case r.First > idx:
			return 1
		}
		return 0
	})
	return rows[i]
}

// change is a record and the entry that changed it: its own, or the one that revoked or replaced it.
type change struct {
	record, by int64
	standing   notary.Standing
	class      string
}

func (c *change) columns() []any { return []any{&c.record, &c.by, &c.standing, &c.class} }

// recordFacts are the agency's records that the rows cover.
func recordFacts(ctx context.Context, q handle, sel webhook.Query, rows []outboxRow) ([]fact, error) {
	found, err := list(ctx, q, "read records", (*change).columns, `SELECT idx, idx, standing, class FROM records
		WHERE agency_id = $1 AND class <> '`+notary.TrailClass+`' AND idx >= $2 AND idx <= $3 ORDER BY idx LIMIT $4`,
		sel.AgencyID, firstIndex(sel, rows), rows[len(rows)-1].Last, sel.Limit)
	out := make([]fact, len(found))
	for i, c := range found {
		row := rowOf(rows, c.by)
		out[i] = fact{webhook.Cursor{Row: uint64(row.ID), Index: uint64(c.by)}, webhook.Kind(row.Kind), c.record,
			c.class, row.At}
	}
	return out, err
}

// standingFacts are the agency's records that entries in the rows have revoked or replaced.
// An entry does this to one record at most, so its index names the event.
func standingFacts(ctx context.Context, q handle, sel webhook.Query, rows []outboxRow) ([]fact, error) {
	found, err := list(ctx, q, "read records", (*change).columns,
		`SELECT idx, standing_idx, standing, class FROM records WHERE agency_id = $1 AND standing <> 'valid'
		AND standing_idx >= $2 AND standing_idx <= $3 ORDER BY standing_idx LIMIT $4`,
		sel.AgencyID, firstIndex(sel, rows), rows[len(rows)-1].Last, sel.Limit)
	out := make([]fact, len(found))
	for i, c := range found {
		row, kind := rowOf(rows, c.by), webhook.RecordRevoked
		if c.standing == notary.Superseded {
			kind = webhook.RecordSuperseded
		}
		out[i] = fact{webhook.Cursor{Row: uint64(row.ID), Index: uint64(c.by)}, kind, c.record, c.class, row.At}
	}
	return out, err
}

// noticeFacts are the agency's notices among the rows.
func noticeFacts(ctx context.Context, q handle, sel webhook.Query, rows []outboxRow) ([]fact, error) {
	found, err := list(ctx, q, "read notices", itself[int64],
		`SELECT outbox_id FROM webhook_notices WHERE agency_id = $1 AND outbox_id >= $2 AND outbox_id <= $3
		ORDER BY outbox_id LIMIT $4`,
		sel.AgencyID, rows[0].ID, rows[len(rows)-1].ID, sel.Limit)
	out := make([]fact, 0, len(found))
	for _, id := range found {
		for _, row := range rows {
			if row.ID == id {
				out = append(out, fact{webhook.Cursor{Row: uint64(id)}, webhook.Kind(row.Kind), -1, "", row.At})
			}
		}
	}
	return out, err
}

// Events implements [webhook.Store].
func (db *Webhooks) Events(ctx context.Context, sel webhook.Query) ([]webhook.Event, webhook.Cursor, error) {
	rows, err := outboxFrom(ctx, db.read, sel.From.Row)
	if err != nil {
		return nil, sel.From, err
	}
	found, next, err := facts(ctx, db.read, sel, rows)
	if err != nil {
		return nil, sel.From, fmt.Errorf("read events: %w", err)
	}
	events := make([]*webhook.Event, len(found))
	ids := map[*webhook.Event]subject{}
	for i, f := range found {
		e := &webhook.Event{ID: f.String(), Kind: f.kind, At: fromMicros(f.at)}
		events[i], ids[e] = e, subject{agency: sel.AgencyID, record: f.recordIdx}
	}
	if err := db.fill(ctx, db.read, ids); err != nil {
		return nil, sel.From, err
	}
	out := make([]webhook.Event, len(events))
	for i, e := range events {
		out[i] = *e
	}
	return out, next, nil
}

// subject is what an event is about, before it is read.
type subject struct {
	agency string
	record int64 // -1 for none
}

// fill reads agencies, records and notices of events.
func (db *conn) fill(ctx context.Context, q handle, events map[*webhook.Event]subject) error {
	of, wanted := map[string]notary.Agency{}, []int64{}
	for e, s := range events {
		of[s.agency] = notary.Agency{}
		if !slices.Contains(noticeKinds, e.Kind) {
			wanted = append(wanted, s.record)
			continue
		}
		if err := readNotice(ctx, q, e); err != nil {
			return fmt.Errorf("read the notice of event %s: %w", e.ID, err)
		}
	}
	for id := range of {
		a, err := agencies.one(ctx, q, ` WHERE id = $1`, id)
		if err != nil {
			return fmt.Errorf("agency of an event: %w", err)
		}
		of[id] = a
	}
	records, err := recordsAt(ctx, q, wanted)
	for e, s := range events {
		e.Agency, e.Record = of[s.agency], records[s.record]
	}
	return err
}

// readNotice gives an event its notice.
func readNotice(ctx context.Context, q handle, e *webhook.Event) error {
	c, err := webhook.ParseCursor(e.ID)
	if err != nil {
		return err
	}
	n, err := one(ctx, q, func(n *webhook.Notice) []any { return []any{&n.Subject, &n.URL, &n.Reason} },
		`SELECT endpoint_id, url, reason FROM webhook_notices WHERE outbox_id = $1`, int64(c.Row))
	if err == nil && e.Kind == webhook.CertificateExpiring {
		n, err = expiryNotice(ctx, q, n)
	}
	e.Notice = &n
	return err
}

// recordsAt reads records by index.
func recordsAt(ctx context.Context, q handle, idx []int64) (map[int64]*notary.Record, error) {
	idx = slices.Compact(slices.Sorted(slices.Values(idx)))
	out := make(map[int64]*notary.Record, len(idx))
	for part := range slices.Chunk(idx, 500) {
		l, err := records.list(ctx, q, "read records by index", ` WHERE idx IN (`+numbersSQL(part)+`)`)
		if err != nil {
			return nil, err
		}
		for i := range l {
			out[int64(l[i].Index)] = &l[i]
		}
	}
	return out, nil
}

// numbersSQL are numbers for a question. They are ours: they stand in the question itself.
func numbersSQL(numbers []int64) string {
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(numbers), "[]"), " ", ",")
}
