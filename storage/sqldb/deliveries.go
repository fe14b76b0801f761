package sqldb

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"stele/notary"
	"stele/notary/webhook"
)

// Deliveries implements [webhook.DeliveryStore].
func (db *DB) Deliveries(ctx context.Context, f webhook.DeliveryFilter) ([]webhook.Delivery, error) {
	if !storable(f.EventID) || f.Before != nil && !storable(f.Before.EventID) {
		return nil, nil
	}
	where, args := `d.endpoint_id = ?`, []any{f.EndpointID}
	if f.EventID != "" {
		where, args = where+` AND d.event_id = ?`, append(args, f.EventID)
	}
	if f.Status != "" {
		where, args = where+` AND d.status = ?`, append(args, string(f.Status))
	}
	if p := f.Before; p != nil {
		where, args = where+` AND (d.created_at, d.event_id) < (?, ?)`, append(args, micros(p.CreatedAt), p.EventID)
	}
	var rows []struct {
		deliveryRow
		ID     sql.NullString `db:"id"`
		Number sql.NullString `db:"number"`
	}
	q := `SELECT ` + deliverySelection + `, r.id, r.number FROM deliveries d LEFT JOIN records r ON r.idx = d.record_idx WHERE ` + where + ` ORDER BY d.created_at DESC, d.event_id DESC LIMIT ?`
	if err := db.read.SelectContext(ctx, &rows, db.read.Rebind(q), append(args, f.Limit)...); err != nil {
		return nil, fmt.Errorf("list deliveries: %w", err)
	}
	out := make([]webhook.Delivery, len(rows))
	at := map[string]*webhook.Delivery{}
	ids := make([]string, len(rows))
	for i, r := range rows {
		out[i] = r.delivery()
		if out[i].Event.Record != nil {
			out[i].Event.Record.ID, out[i].Event.Record.Number = r.ID.String, r.Number.String
		}
		ids[i], at[r.EventID] = r.EventID, &out[i]
	}
	return out, db.histories(ctx, f.EndpointID, ids, at)
}

// histories reads the attempts of some deliveries of an endpoint.
func (db *DB) histories(ctx context.Context, endpointID string, ids []string, at map[string]*webhook.Delivery) error {
	if len(ids) == 0 {
		return nil
	}
	q, args, err := sqlx.In(`SELECT event_id, at, took, status, answer, error FROM delivery_attempts WHERE endpoint_id = ? AND event_id IN (?) ORDER BY event_id, at`, endpointID, ids)
	if err != nil {
		return err
	}
	var rows []struct {
		EventID string `db:"event_id"`
		At      int64  `db:"at"`
		Took    int64  `db:"took"`
		Status  int    `db:"status"`
		Answer  []byte `db:"answer"`
		Error   string `db:"error"`
	}
	if err := db.read.SelectContext(ctx, &rows, db.read.Rebind(q), args...); err != nil {
		return fmt.Errorf("read attempts: %w", err)
	}
	for _, r := range rows {
		d := at[r.EventID]
		d.History = append(d.History, webhook.Attempt{At: fromMicros(r.At), Took: time.Duration(r.Took) * time.Microsecond, Status: r.Status, Answer: r.Answer, Error: r.Error})
	}
	return nil
}

// AddDelivery implements [webhook.DeliveryStore].
func (db *DB) AddDelivery(ctx context.Context, d webhook.Delivery) error {
	args := []any{d.EndpointID, d.Event.ID, string(d.Event.Kind), -1, micros(d.Event.At), string(d.Status), 0, micros(d.DueAt), "", micros(d.CreatedAt), 0}
	if _, err := db.write.ExecContext(ctx, db.write.Rebind(insertSQL("deliveries", deliveryColumns, 1)), args...); err != nil {
		return fmt.Errorf("add delivery: %w", err)
	}
	return nil
}

// Replay implements [webhook.DeliveryStore].
func (db *DB) Replay(ctx context.Context, endpointID, eventID string) (webhook.Delivery, error) {
	if !storable(eventID) || eventID == "" {
		return webhook.Delivery{}, notary.ErrNotFound
	}
	err := db.tx(ctx, func(tx *sqlx.Tx) error {
		if _, err := tx.ExecContext(ctx, `SELECT 1 FROM webhook_endpoints WHERE id = $1`+db.forUpdate(), endpointID); err != nil { // the order of locks, see Finish
			return fmt.Errorf("lock the endpoint: %w", err)
		}
		_, err := tx.ExecContext(ctx, `UPDATE deliveries SET status = 'pending', attempts = 0, due_at = $1, holder = '', finished_at = 0
			WHERE endpoint_id = $2 AND event_id = $3 AND status <> 'pending'`, micros(db.now()), endpointID, eventID)
		return err
	})
	if err != nil {
		return webhook.Delivery{}, fmt.Errorf("replay: %w", err)
	}
	l, err := db.Deliveries(ctx, webhook.DeliveryFilter{EndpointID: endpointID, EventID: eventID, Limit: 1})
	if err == nil && len(l) == 0 {
		err = notary.ErrNotFound
	}
	if err != nil {
		return webhook.Delivery{}, err
	}
	return l[0], nil
}

// Rewind implements [webhook.DeliveryStore].
func (db *DB) Rewind(ctx context.Context, endpointID string, since time.Time) error {
	_, err := db.write.ExecContext(ctx, `UPDATE webhook_endpoints SET next_row = f.id, next_idx = 0 FROM (SELECT min(id) AS id FROM outbox WHERE at >= $2) f
		WHERE webhook_endpoints.id = $1 AND f.id IS NOT NULL AND next_row >= f.id`, endpointID, micros(since))
	if err != nil {
		return fmt.Errorf("rewind: %w", err)
	}
	return nil
}
