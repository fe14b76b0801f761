package sqldb

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"stele/notary"
	"stele/notary/webhook"
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
	AND (SELECT count(*) FROM (SELECT 1 FROM deliveries d WHERE d.endpoint_id = webhook_endpoints.id AND d.status = 'pending' LIMIT %d) p) < %[1]d`, maxPending)

// FanOut implements [webhook.Queue]. On PostgreSQL two servers share the work: each skips the
// endpoints that the other one has locked.
func (db *DB) FanOut(ctx context.Context) (made int, more bool, err error) {
	var n int
	if err := db.read.GetContext(ctx, &n, `SELECT count(*) FROM webhook_endpoints`+behind); err != nil || n == 0 {
		return 0, false, err
	}
	err = db.tx(ctx, func(tx *sqlx.Tx) error {
		lock := ""
		if db.postgres {
			lock = ` FOR UPDATE SKIP LOCKED`
		}
		var list []endpointRow
		if err := tx.SelectContext(ctx, &list, selectEndpoint+behind+` ORDER BY next_row, id LIMIT $1`+lock, fanEndpoints); err != nil {
			return fmt.Errorf("read endpoints: %w", err)
		}
		more = len(list) == fanEndpoints
		seen := map[uint64][]outboxRow{} // most endpoints are at the same place
		for i := range list {
			e := list[i].endpoint()
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

var deliveryColumns = []string{"endpoint_id", "event_id", "kind", "record_idx", "at", "status", "attempts", "due_at", "holder", "created_at", "finished_at"}

// again makes a finished delivery pending: its event comes a second time only after a replay.
const again = ` ON CONFLICT (endpoint_id, event_id) DO UPDATE SET status = 'pending', attempts = 0, due_at = excluded.due_at, holder = '', finished_at = 0
	WHERE deliveries.status <> 'pending'`

// fanOut makes deliveries of one endpoint and moves its cursor; full means that there is more
// in the same rows.
func (db *DB) fanOut(ctx context.Context, tx *sqlx.Tx, e webhook.Endpoint, rows []outboxRow) (made int, full bool, err error) {
	sel := webhook.Query{AgencyID: e.AgencyID, Kinds: e.Settings.Kinds, Classes: e.Settings.Classes, From: e.Next, Limit: fanEvents}
	found, next, err := facts(ctx, tx, sel, rows)
	if err != nil {
		return 0, false, fmt.Errorf("read events of endpoint %s: %w", e.ID, err)
	}
	now := micros(db.now())
	for part := range slices.Chunk(found, insertRows) {
		args := make([]any, 0, len(part)*len(deliveryColumns))
		for _, f := range part {
			args = append(args, e.ID, f.String(), string(f.kind), f.recordIdx, f.at, string(webhook.Pending), 0, now, "", now, 0)
		}
		if _, err := tx.ExecContext(ctx, tx.Rebind(insertSQL("deliveries", deliveryColumns, len(part)))+again, args...); err != nil {
			return 0, false, fmt.Errorf("add deliveries: %w", err)
		}
	}
	if _, err := tx.ExecContext(ctx, `UPDATE webhook_endpoints SET next_row = $2, next_idx = $3 WHERE id = $1`, e.ID, int64(next.Row), int64(next.Index)); err != nil {
		return 0, false, fmt.Errorf("move an endpoint's cursor: %w", err)
	}
	return len(found), len(rows) > 0 && next.Row <= uint64(rows[len(rows)-1].ID), nil
}

// claimable is a delivery d to an enabled endpoint e that may be sent at $1: it is due, its
// endpoint is not on hold, and no earlier one of the same record is pending there.
const claimable = `d.status = 'pending' AND d.due_at <= $1 AND (e.hold_until <= $1 OR d.kind = 'ping')
	AND NOT EXISTS (SELECT 1 FROM deliveries b WHERE b.endpoint_id = d.endpoint_id AND b.record_idx = d.record_idx AND b.record_idx >= 0 AND b.status = 'pending' AND b.event_id < d.event_id)`

// Claim implements [webhook.Queue]. While nothing is due it writes nothing. Endpoints take
// turns in random order, so that none is always the last.
func (db *DB) Claim(ctx context.Context, holder string, until time.Time, room func(endpointID string, failing bool) int) ([]webhook.Claim, error) {
	now := micros(db.now())
	var due []endpointRow
	if err := db.read.SelectContext(ctx, &due, strings.Replace(selectEndpoint, "FROM webhook_endpoints", "FROM webhook_endpoints e", 1)+
		` WHERE e.state = 'enabled' AND EXISTS (SELECT 1 FROM deliveries d WHERE d.endpoint_id = e.id AND `+claimable+`)`, now); err != nil {
		return nil, fmt.Errorf("look for deliveries that are due: %w", err)
	}
	rand.Shuffle(len(due), func(i, j int) { due[i], due[j] = due[j], due[i] })
	free := map[string]int{}
	for _, e := range due {
		if n := room(e.ID, e.Failures > 0); n > 0 {
			free[e.ID] = n
		}
	}
	if len(free) == 0 {
		return nil, nil
	}
	var out []webhook.Claim
	err := db.tx(ctx, func(tx *sqlx.Tx) error {
		for _, e := range due {
			if free[e.ID] == 0 {
				continue
			}
			claims, err := db.claim(ctx, tx, e.endpoint(), free[e.ID], now, holder, until)
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

type deliveryRow struct {
	EndpointID string `db:"endpoint_id"`
	EventID    string `db:"event_id"`
	Kind       string `db:"kind"`
	RecordIdx  int64  `db:"record_idx"`
	At         int64  `db:"at"`
	Status     string `db:"status"`
	Attempts   int64  `db:"attempts"`
	DueAt      int64  `db:"due_at"`
	CreatedAt  int64  `db:"created_at"`
	FinishedAt int64  `db:"finished_at"`
}

const deliverySelection = `d.endpoint_id, d.event_id, d.kind, d.record_idx, d.at, d.status, d.attempts, d.due_at, d.created_at, d.finished_at`

// delivery leaves the record to be read; index is where it is.
func (r *deliveryRow) delivery() webhook.Delivery {
	d := webhook.Delivery{EndpointID: r.EndpointID, Event: webhook.Event{ID: r.EventID, Kind: webhook.Kind(r.Kind), At: fromMicros(r.At)}, Status: webhook.DeliveryStatus(r.Status),
		Attempts: int(r.Attempts), DueAt: fromMicros(r.DueAt), CreatedAt: fromMicros(r.CreatedAt), FinishedAt: fromMicros(r.FinishedAt)}
	if r.RecordIdx >= 0 {
		d.Event.Record = &notary.Record{Index: uint64(r.RecordIdx)}
	}
	return d
}

func (db *DB) claim(ctx context.Context, tx *sqlx.Tx, e webhook.Endpoint, n int, now int64, holder string, until time.Time) ([]webhook.Claim, error) {
	q := `SELECT ` + deliverySelection + ` FROM deliveries d JOIN webhook_endpoints e ON e.id = d.endpoint_id
		WHERE e.id = $2 AND e.state = 'enabled' AND ` + claimable + ` ORDER BY d.due_at, d.event_id LIMIT $3`
	if db.postgres {
		q += ` FOR UPDATE OF d SKIP LOCKED`
	}
	var rows []deliveryRow
	if err := tx.SelectContext(ctx, &rows, q, now, e.ID, n); err != nil || len(rows) == 0 {
		return nil, err
	}
	ids := make([]string, len(rows))
	claims := make([]webhook.Claim, len(rows))
	for i := range rows {
		ids[i], claims[i] = rows[i].EventID, webhook.Claim{Delivery: rows[i].delivery(), Endpoint: e}
	}
	return claims, execIn(ctx, tx, `UPDATE deliveries SET due_at = ?, holder = ? WHERE endpoint_id = ? AND event_id IN (?)`, micros(until), holder, e.ID, ids)
}

// execIn runs a statement whose last argument is a list.
func execIn(ctx context.Context, tx *sqlx.Tx, q string, args ...any) error {
	q, args, err := sqlx.In(q, args...)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, tx.Rebind(q), args...)
	return err
}

func (db *DB) fillClaims(ctx context.Context, claims []webhook.Claim) error {
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
func (db *DB) Finish(ctx context.Context, holder string, outcomes []webhook.Outcome) error {
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
func (db *DB) finishEndpoint(ctx context.Context, tx *sqlx.Tx, holder string, outcomes []webhook.Outcome) (attempts [][]any, err error) {
	var row []endpointRow
	if err := tx.SelectContext(ctx, &row, selectEndpoint+` WHERE id = $1 AND state <> 'deleted'`+db.forUpdate(), outcomes[0].EndpointID); err != nil || len(row) == 0 {
		return nil, err
	}
	e := row[0].endpoint()
	health := e.Health
	var done []string
	for _, o := range outcomes {
		health = health.After(o, o.Attempt.At.Add(o.Attempt.Took))
		if o.Step != webhook.Released {
			attempts = append(attempts, []any{o.EndpointID, o.EventID, micros(o.Attempt.At), o.Attempt.Took.Microseconds(), o.Attempt.Status, append([]byte{}, o.Attempt.Answer...), o.Attempt.Error})
		}
		if o.Step == webhook.Delivered {
			done = append(done, o.EventID)
		} else if err := finishFailed(ctx, tx, holder, o); err != nil {
			return nil, err
		}
	}
	if len(done) > 0 { // all at once: this is what a healthy endpoint costs. Whoever has them now, they have arrived
		if err := execIn(ctx, tx, `UPDATE deliveries SET status = 'delivered', attempts = attempts + 1, finished_at = ?, holder = '' WHERE endpoint_id = ? AND status = 'pending' AND event_id IN (?)`,
			micros(db.now()), e.ID, done); err != nil {
			return nil, fmt.Errorf("write what was delivered: %w", err)
		}
	}
	if health == e.Health {
		return attempts, nil
	}
	if err := setHealth(ctx, tx, e.ID, health); err != nil || health.State == e.Health.State {
		return attempts, err
	}
	return attempts, db.noticeDisabled(ctx, tx, e, health.Reason)
}

func finishFailed(ctx context.Context, tx *sqlx.Tx, holder string, o webhook.Outcome) error {
	status, counted, finished := webhook.Pending, 1, int64(0)
	switch o.Step {
	case webhook.Released:
		counted = 0
	case webhook.GivenUp:
		status, finished = webhook.Abandoned, micros(o.Attempt.At.Add(o.Attempt.Took))
	}
	_, err := tx.ExecContext(ctx, `UPDATE deliveries SET status = $1, attempts = attempts + $2, due_at = $3, finished_at = $4, holder = ''
		WHERE endpoint_id = $5 AND event_id = $6 AND holder = $7 AND status = 'pending'`, string(status), counted, micros(o.DueAt), finished, o.EndpointID, o.EventID, holder)
	if err != nil {
		return fmt.Errorf("write a failed delivery: %w", err)
	}
	return nil
}

// noticeDisabled writes the fact that an endpoint was disabled among the other facts.
func (db *DB) noticeDisabled(ctx context.Context, tx *sqlx.Tx, e webhook.Endpoint, reason string) error {
	return db.notice(ctx, tx, kindDisabled, e.AgencyID, e.ID, e.Settings.URL, reason)
}

// notice writes a fact that is about no record among the other facts. subject is the id of
// what it is about, and stands in the column that is named after the first such thing.
func (db *DB) notice(ctx context.Context, tx *sqlx.Tx, kind, agencyID, subject, url, reason string) error {
	log, err := db.lockLog(ctx, tx)
	if err != nil {
		return fmt.Errorf("lock the log: %w", err)
	}
	if _, err := tx.ExecContext(ctx, `UPDATE log SET events = events + 1`); err != nil {
		return fmt.Errorf("count the event: %w", err)
	}
	if err := db.event(ctx, tx, log.Events, kind, 0, 0); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO webhook_notices (outbox_id, agency_id, endpoint_id, url, reason) VALUES ($1, $2, $3, $4, $5)`,
		log.Events, agencyID, subject, url, reason); err != nil {
		return fmt.Errorf("write the notice: %w", err)
	}
	return nil
}

// Prune implements [webhook.Queue].
func (db *DB) Prune(ctx context.Context, before time.Time, limit int) (int, error) {
	n := 0
	err := db.tx(ctx, func(tx *sqlx.Tx) error {
		skip := ""
		if db.postgres {
			skip = ` FOR UPDATE OF d SKIP LOCKED`
		}
		var old []deliveryRow
		q := `SELECT ` + deliverySelection + ` FROM deliveries d`
		if err := tx.SelectContext(ctx, &old, q+` WHERE d.status <> 'pending' AND d.finished_at < $1 ORDER BY d.finished_at LIMIT $2`+skip, micros(before), limit); err != nil {
			return err
		}
		if len(old) < limit {
			var orphans []deliveryRow
			if err := tx.SelectContext(ctx, &orphans, q+` JOIN webhook_endpoints e ON e.id = d.endpoint_id WHERE e.state = 'deleted' LIMIT $1`+skip, limit-len(old)); err != nil {
				return err
			}
			old = append(old, orphans...)
		}
		n = len(old)
		ids := map[string][]string{}
		for _, d := range old {
			ids[d.EndpointID] = append(ids[d.EndpointID], d.EventID)
		}
		for endpoint, events := range ids {
			for _, table := range []string{"delivery_attempts", "deliveries"} {
				if err := execIn(ctx, tx, `DELETE FROM `+table+` WHERE endpoint_id = ? AND event_id IN (?)`, endpoint, events); err != nil {
					return err
				}
			}
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM webhook_endpoints WHERE state = 'deleted' AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.endpoint_id = webhook_endpoints.id)`)
		return err
	})
	return n, err
}

// DeliveryLag is how the dispatchers are doing: since when the oldest delivery that could be
// sent has been due (zero: none is), and how many outbox rows the last enabled endpoint has
// before it.
func (db *DB) DeliveryLag(ctx context.Context) (oldestDue time.Time, behind int64, err error) {
	var due, rows int64
	if err := db.read.GetContext(ctx, &due, `SELECT coalesce(min(d.due_at), 0) FROM webhook_endpoints e JOIN deliveries d ON d.endpoint_id = e.id WHERE e.state = 'enabled' AND `+claimable, micros(db.now())); err != nil {
		return time.Time{}, 0, err
	}
	err = db.read.GetContext(ctx, &rows, `SELECT coalesce((SELECT events FROM log) - min(next_row), 0) FROM webhook_endpoints WHERE state = 'enabled'`)
	return fromMicros(due), rows, err
}
