package sqldb

import (
	"context"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"stele/notary"
	"stele/notary/office/webhook"
)

// Deliveries implements [webhook.Store].
func (db *Webhooks) Deliveries(ctx context.Context, f webhook.DeliveryFilter) ([]webhook.Delivery, error) {
	var w where
	w.and("d.endpoint_id = ?", f.EndpointID)
	given(&w, "d.event_id = ?", f.EventID)
	given(&w, "d.status = ?", string(f.Status))
	if p := f.Before; p != nil {
		w.and("(d.created_at, d.event_id) < (?, ?)", micros(p.CreatedAt), p.EventID)
	}
	type listed struct {
		delivery
		id, number string
	}
	rows, err := list(ctx, db.read, "list deliveries", func(l *listed) []any {
		return append([]any{maybe{&l.id}, maybe{&l.number}}, deliveries.into(&l.delivery)...)
	}, `SELECT r.id, r.number, d.`+strings.Join(deliveries.columns, ", d.")+
		` FROM deliveries d LEFT JOIN records r ON r.idx = d.record_idx`+w.sql()+
		` ORDER BY d.created_at DESC, d.event_id DESC LIMIT ?`, append(w.args, f.Limit)...)
	if err != nil {
		return nil, err
	}
	out := make([]webhook.Delivery, len(rows))
	at := map[string]*webhook.Delivery{}
	ids := make([]string, len(rows))
	for i, r := range rows {
		out[i] = r.read()
		if out[i].Event.Record != nil {
			out[i].Event.Record.ID, out[i].Event.Record.Number = r.id, r.number
		}
		ids[i], at[r.Event.ID] = r.Event.ID, &out[i]
	}
	return out, db.histories(ctx, f.EndpointID, ids, at)
}

// histories reads the attempts of some deliveries of an endpoint.
func (db *conn) histories(ctx context.Context, endpointID string, ids []string, at map[string]*webhook.Delivery) error {
	if len(ids) == 0 {
		return nil
	}
	type attempt struct {
		webhook.Attempt
		event string
		took  int64 // microseconds
	}
	rows, err := list(ctx, db.read, "read attempts", func(a *attempt) []any {
		return []any{&a.event, moment{&a.At}, &a.took, &a.Status, &a.Answer, &a.Error}
	}, `SELECT event_id, at, took, status, answer, error FROM delivery_attempts WHERE endpoint_id = ? `+
		`AND event_id IN (?) ORDER BY event_id, at`, endpointID, ids)
	for _, a := range rows {
		a.Took = time.Duration(a.took) * time.Microsecond
		at[a.event].History = append(at[a.event].History, a.Attempt)
	}
	return err
}

// AddDelivery implements [webhook.Store].
func (db *Webhooks) AddDelivery(ctx context.Context, d webhook.Delivery) error {
	d.Attempts, d.FinishedAt = 0, time.Time{}
	return deliveries.add(ctx, db.write, "add delivery", delivery{Delivery: d, recordIdx: -1}, "", nil)
}

// Replay implements [webhook.Store].
func (db *Webhooks) Replay(ctx context.Context, endpointID, eventID string) (webhook.Delivery, error) {
	if !storable(eventID) || eventID == "" {
		return webhook.Delivery{}, notary.ErrNotFound
	}
	err := db.tx(ctx, func(tx *sqlx.Tx) error {
		// the order of locks, see Finish
		if err := run(ctx, tx, "lock the endpoint", `SELECT 1 FROM webhook_endpoints WHERE id = $1`+db.forUpdate(),
			endpointID); err != nil {
			return err
		}
		return run(ctx, tx, "replay",
			`UPDATE deliveries SET status = 'pending', attempts = 0, due_at = $1, holder = '', finished_at = 0
			WHERE endpoint_id = $2 AND event_id = $3 AND status <> 'pending'`, micros(db.now()), endpointID, eventID)
	})
	if err != nil {
		return webhook.Delivery{}, err
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

// Rewind implements [webhook.Store].
func (db *Webhooks) Rewind(ctx context.Context, endpointID string, since time.Time) error {
	return run(ctx, db.write, "rewind",
		`UPDATE webhook_endpoints SET next_row = f.id, next_idx = 0 FROM (SELECT min(id) AS id FROM outbox WHERE at >= $2) f
		WHERE webhook_endpoints.id = $1 AND f.id IS NOT NULL AND next_row >= f.id`, endpointID, micros(since))
}
