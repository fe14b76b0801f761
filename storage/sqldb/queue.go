package sqldb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"stele/notary"
	"stele/notary/office/webhook"
)

// Bounds of one fan-out. An endpoint with maxPending deliveries waiting gets no more until
// some are done: its events wait in the outbox, which costs nothing.
const (
	fanEndpoints = 64
	fanEvents    = 500 // of one endpoint
	maxPending   = 5000
)

// behind selects endpoints that have events before them and room for deliveries.
var behind = fmt.Sprintf(` WHERE state = 'enabled' AND next_row < (SELECT events FROM log)
	AND (SELECT count(*) FROM (SELECT 1 FROM deliveries d
		WHERE d.endpoint_id = webhook_endpoints.id AND d.status = 'pending' LIMIT %d) p) < %[1]d`, maxPending)

// FanOut implements [webhook.Queue]. On PostgreSQL two servers share the work: each skips the
// endpoints that the other one has locked.
func (db *Webhooks) FanOut(ctx context.Context) (made int, more bool, err error) {
	n, err := value[int](ctx, db.read, "look for endpoints", `SELECT count(*) FROM webhook_endpoints`+behind)
	if err != nil || n == 0 {
		return 0, false, err
	}
	err = db.tx(ctx, func(tx *sqlx.Tx) error {
		lock := ""
		if db.postgres {
			lock = ` FOR UPDATE SKIP LOCKED`
		}
		list, err := endpoints.list(ctx, tx, "read endpoints", behind+` ORDER BY next_row, id LIMIT $1`+lock,
			fanEndpoints)
		if err != nil {
			return err
		}
		more = len(list) == fanEndpoints
		seen := map[uint64][]outboxRow{} // most endpoints are at the same place
		for _, e := range list {
			rows, ok := seen[e.Next.Row]
			if !ok {
				if rows, err = outboxFrom(ctx, tx, e.Next.Row); err != nil {
					return err
				}
				seen[e.Next.Row] = rows
			}
			n, full, err := db.fanOut(ctx, tx, e, rows)
			if err != nil {
				return err
			}
			made += n
			more = more || full || len(rows) == factRows
		}
		return nil
	})
	if err != nil {
		return 0, false, err
	}
	return made, more, nil
}

// again makes a finished delivery pending: its event comes a second time only after a replay.
const again = ` ON CONFLICT (endpoint_id, event_id) DO UPDATE SET status = 'pending', attempts = 0,
	due_at = excluded.due_at, holder = '', finished_at = 0
	WHERE deliveries.status <> 'pending'`

// fanOut makes deliveries of one endpoint and moves its cursor; full means that there is more
// in the same rows.
func (db *conn) fanOut(ctx context.Context, tx *sqlx.Tx, e webhook.Endpoint, rows []outboxRow) (made int, full bool,
	err error) {
	sel := webhook.Query{AgencyID: e.AgencyID, Kinds: e.Settings.Kinds, Classes: e.Settings.Classes, From: e.Next,
		Limit: fanEvents}
	found, next, err := facts(ctx, tx, sel, rows)
	if err != nil {
		return 0, false, fmt.Errorf("read events of endpoint %s: %w", e.ID, err)
	}
	now := db.now()
	for part := range slices.Chunk(found, insertRows) {
		var args []any
		for _, f := range part {
			args = append(args, deliveries.values(&delivery{recordIdx: f.recordIdx, Delivery: webhook.Delivery{
				EndpointID: e.ID, Event: webhook.Event{ID: f.String(), Kind: f.kind, At: fromMicros(f.at)},
				Status: webhook.Pending, DueAt: now, CreatedAt: now}})...)
		}
		if err := run(ctx, tx, "add deliveries", insertSQL(deliveries.name, deliveries.columns, len(part))+again,
			args...); err != nil {
			return 0, false, err
		}
	}
	e.Next = next
	if err := endpoints.update(ctx, tx, "move an endpoint's cursor", e, "next_row next_idx", "id"); err != nil {
		return 0, false, err
	}
	return len(found), len(rows) > 0 && next.Row <= uint64(rows[len(rows)-1].ID), nil
}

// claimable is a delivery d to an enabled endpoint e that may be sent at $1: it is due, its
// endpoint is not on hold, and no earlier one of the same record is pending there.
const claimable = `d.status = 'pending' AND d.due_at <= $1 AND (e.hold_until <= $1 OR d.kind = 'ping')
	AND NOT EXISTS (SELECT 1 FROM deliveries b WHERE b.endpoint_id = d.endpoint_id AND b.record_idx = d.record_idx
		AND b.record_idx >= 0 AND b.status = 'pending' AND b.event_id < d.event_id)`

// Claim implements [webhook.Queue]. While nothing is due it writes nothing. Endpoints take
// turns in random order, so that none is always the last.
func (db *Webhooks) Claim(ctx context.Context, holder string, until time.Time,
	room func(endpointID string, failing bool) int) ([]webhook.Claim, error) {
	now := micros(db.now())
	due, err := endpoints.list(ctx, db.read, "look for deliveries that are due", ` e WHERE e.state = 'enabled'
		AND EXISTS (SELECT 1 FROM deliveries d WHERE d.endpoint_id = e.id AND `+claimable+`)`, now)
	if err != nil {
		return nil, err
	}
	rand.Shuffle(len(due), func(i, j int) { due[i], due[j] = due[j], due[i] })
	free := map[string]int{}
	for _, e := range due {
		if n := room(e.ID, e.Health.Failures > 0); n > 0 {
			free[e.ID] = n
		}
	}
	if len(free) == 0 {
		return nil, nil
	}
	var out []webhook.Claim
	err = db.tx(ctx, func(tx *sqlx.Tx) error {
		for _, e := range due {
			if free[e.ID] == 0 {
				continue
			}
			claims, err := db.claim(ctx, tx, e, free[e.ID], now, holder, until)
			if err != nil {
				return err
			}
			out = append(out, claims...)
		}
		return nil
	})
	if err != nil || len(out) == 0 {
		return nil, err
	}
	return out, db.fillClaims(ctx, out)
}

// delivery is one, and the index of its record, which is to be read; -1 for none.
type delivery struct {
	webhook.Delivery
	recordIdx int64
	holder    string
}

var deliveries = newTable("deliveries", func(d *delivery) []column {
	return []column{{"endpoint_id", &d.EndpointID}, {"event_id", &d.Event.ID}, {"kind", &d.Event.Kind},
		{"record_idx", &d.recordIdx}, {"at", moment{&d.Event.At}}, {"status", &d.Status}, {"attempts", &d.Attempts},
		{"due_at", moment{&d.DueAt}}, {"holder", &d.holder}, {"created_at", moment{&d.CreatedAt}},
		{"finished_at", moment{&d.FinishedAt}}}
})

// selectDeliveries is the question for deliveries d.
var selectDeliveries = `SELECT d.` + strings.Join(deliveries.columns, ", d.") + ` FROM deliveries d`

// read is the delivery with the place of its record.
func (d *delivery) read() webhook.Delivery {
	if d.recordIdx >= 0 {
		d.Event.Record = &notary.Record{Index: uint64(d.recordIdx)}
	}
	return d.Delivery
}

func (db *conn) claim(ctx context.Context, tx *sqlx.Tx, e webhook.Endpoint, n int, now int64, holder string,
	until time.Time) ([]webhook.Claim, error) {
	lock := ""
	if db.postgres {
		lock = ` FOR UPDATE OF d SKIP LOCKED`
	}
	rows, err := list(ctx, tx, "claim deliveries", deliveries.into, selectDeliveries+
		` JOIN webhook_endpoints e ON e.id = d.endpoint_id WHERE e.id = $2 AND e.state = 'enabled' AND `+claimable+
		` ORDER BY d.due_at, d.event_id LIMIT $3`+lock, now, e.ID, n)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	ids := make([]string, len(rows))
	claims := make([]webhook.Claim, len(rows))
	for i := range rows {
		ids[i], claims[i] = rows[i].Event.ID, webhook.Claim{Delivery: rows[i].read(), Endpoint: e}
	}
	return claims, run(ctx, tx, "claim deliveries",
		`UPDATE deliveries SET due_at = ?, holder = ? WHERE endpoint_id = ? AND event_id IN (?)`,
		micros(until), holder, e.ID, ids)
}

func (db *conn) fillClaims(ctx context.Context, claims []webhook.Claim) error {
	events := map[*webhook.Event]subject{}
	for i := range claims {
		s := subject{agency: claims[i].Endpoint.AgencyID, record: -1}
		if r := claims[i].Event.Record; r != nil {
			s.record = int64(r.Index)
		}
		events[&claims[i].Event] = s
	}
	return db.fill(ctx, db.read, events)
}

// Finish implements [webhook.Queue]. Rows are locked in one order everywhere: endpoints by id,
// then deliveries, then the log.
func (db *Webhooks) Finish(ctx context.Context, holder string, outcomes []webhook.Outcome) error {
	ordered := slices.Clone(outcomes)
	slices.SortStableFunc(ordered, func(a, b webhook.Outcome) int { return cmp.Compare(a.EndpointID, b.EndpointID) })
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		var attempts [][]any
		for len(ordered) > 0 {
			n := 1
			for n < len(ordered) && ordered[n].EndpointID == ordered[0].EndpointID {
				n++
			}
			rows, err := db.finishEndpoint(ctx, tx, holder, ordered[:n])
			if err != nil {
				return err
			}
			attempts, ordered = append(attempts, rows...), ordered[n:]
		}
		return db.bulk(ctx, tx, "delivery_attempts", attemptColumns, attempts)
	})
}

var attemptColumns = []string{"endpoint_id", "event_id", "at", "took", "status", "answer", "error"}

// finishEndpoint writes the outcomes of one endpoint and returns the rows of their attempts;
// one that was deleted has none.
func (db *conn) finishEndpoint(ctx context.Context, tx *sqlx.Tx, holder string, outcomes []webhook.Outcome) (
	attempts [][]any, err error) {
	e, err := endpoints.one(ctx, tx, ` WHERE id = $1 AND state <> 'deleted'`+db.forUpdate(), outcomes[0].EndpointID)
	if errors.Is(err, notary.ErrNotFound) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	health := e.Health
	var done []string
	for _, o := range outcomes {
		health = health.After(o, o.Attempt.At.Add(o.Attempt.Took))
		if o.Step != webhook.Released {
			attempts = append(attempts, []any{o.EndpointID, o.EventID, micros(o.Attempt.At),
				o.Attempt.Took.Microseconds(), o.Attempt.Status, append([]byte{}, o.Attempt.Answer...),
				o.Attempt.Error})
		}
		if o.Step == webhook.Delivered {
			done = append(done, o.EventID)
		} else if err := finishFailed(ctx, tx, holder, o); err != nil {
			return nil, err
		}
	}
	if len(done) > 0 { // all at once: this is what a healthy endpoint costs. Whoever has them now, they have arrived
		if err := run(ctx, tx, "write what was delivered", `UPDATE deliveries SET status = 'delivered', `+
			`attempts = attempts + 1, finished_at = ?, holder = '' WHERE endpoint_id = ? AND status = 'pending' `+
			`AND event_id IN (?)`, micros(db.now()), e.ID, done); err != nil {
			return nil, err
		}
	}
	if health == e.Health {
		return attempts, nil
	}
	before := e.Health.State
	e.Health = health
	if err := endpoints.update(ctx, tx, "write an endpoint's health", e, healthColumns, "id"); err != nil ||
		health.State == before {
		return attempts, err
	}
	// Among the other facts.
	return attempts, db.notice(ctx, tx, kindDisabled, e.AgencyID, e.ID, e.Settings.URL, health.Reason)
}

func finishFailed(ctx context.Context, tx *sqlx.Tx, holder string, o webhook.Outcome) error {
	status, counted, finished := webhook.Pending, 1, int64(0)
	switch o.Step {
	case webhook.Released:
		counted = 0
	case webhook.GivenUp:
		status, finished = webhook.Abandoned, micros(o.Attempt.At.Add(o.Attempt.Took))
	}
	return run(ctx, tx, "write a failed delivery",
		`UPDATE deliveries SET status = $1, attempts = attempts + $2, due_at = $3, finished_at = $4, holder = ''
		WHERE endpoint_id = $5 AND event_id = $6 AND holder = $7 AND status = 'pending'`, string(status), counted,
		micros(o.DueAt), finished, o.EndpointID, o.EventID, holder)
}

// notice writes a fact that is about no record among the other facts. subject is the id of
// what it is about, and stands in the column that is named after the first such thing.
func (db *conn) notice(ctx context.Context, tx *sqlx.Tx, kind, agencyID, subject, url, reason string) error {
	log, err := db.lockLog(ctx, tx)
	if err != nil {
		return err
	}
	if err := run(ctx, tx, "count the event", `UPDATE log SET events = events + 1`); err != nil {
		return err
	}
	if err := db.event(ctx, tx, log.Events, kind, 0, 0); err != nil {
		return err
	}
	return run(ctx, tx, "write the notice",
		`INSERT INTO webhook_notices (outbox_id, agency_id, endpoint_id, url, reason) VALUES ($1, $2, $3, $4, $5)`,
		log.Events, agencyID, subject, url, reason)
}

// Prune implements [webhook.Queue].
func (db *Webhooks) Prune(ctx context.Context, before time.Time, limit int) (int, error) {
	n := 0
	err := db.tx(ctx, func(tx *sqlx.Tx) error {
		skip := ""
		if db.postgres {
			skip = ` FOR UPDATE OF d SKIP LOCKED`
		}
		old, err := list(ctx, tx, "look for old deliveries", deliveries.into, selectDeliveries+
			` WHERE d.status <> 'pending' AND d.finished_at < $1 ORDER BY d.finished_at LIMIT $2`+skip, micros(before),
			limit)
		if err != nil {
			return err
		}
		if len(old) < limit {
			orphans, err := list(ctx, tx, "look for deliveries without an endpoint", deliveries.into, selectDeliveries+
				` JOIN webhook_endpoints e ON e.id = d.endpoint_id WHERE e.state = 'deleted' LIMIT $1`+skip,
				limit-len(old))
			if err != nil {
				return err
			}
			old = append(old, orphans...)
		}
		n = len(old)
		ids := map[string][]string{}
		for _, d := range old {
			ids[d.EndpointID] = append(ids[d.EndpointID], d.Event.ID)
		}
		for endpoint, events := range ids {
			for _, table := range []string{"delivery_attempts", "deliveries"} {
				if err := run(ctx, tx, "remove deliveries",
					`DELETE FROM `+table+` WHERE endpoint_id = ? AND event_id IN (?)`, endpoint, events); err != nil {
					return err
				}
			}
		}
		return run(ctx, tx, "remove endpoints", `DELETE FROM webhook_endpoints WHERE state = 'deleted' AND NOT EXISTS `+
			`(SELECT 1 FROM deliveries d WHERE d.endpoint_id = webhook_endpoints.id)`)
	})
	return n, err
}

// DeliveryLag is how the dispatchers are doing: since when the oldest delivery that could be
// sent has been due (zero: none is), and how many outbox rows the last enabled endpoint has
// before it.
func (db *Webhooks) DeliveryLag(ctx context.Context) (oldestDue time.Time, behind int64, err error) {
	oldestDue, err = db.oldest(ctx, `SELECT coalesce(min(d.due_at), 0) FROM webhook_endpoints e JOIN `+
		`deliveries d ON d.endpoint_id = e.id WHERE e.state = 'enabled' AND `+claimable, micros(db.now()))
	if err != nil {
		return time.Time{}, 0, err
	}
	behind, err = value[int64](ctx, db.read, "look for the last endpoint",
		`SELECT coalesce((SELECT events FROM log) - min(next_row), 0) FROM webhook_endpoints WHERE state = 'enabled'`)
	return oldestDue, behind, err
}
