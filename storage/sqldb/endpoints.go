package sqldb

import (
	"bytes"
	"context"
	"time"

	"github.com/jmoiron/sqlx"

	"stele/notary"
	"stele/notary/office/webhook"
)

var (
	_ webhook.Store = (*Webhooks)(nil)
	_ webhook.Queue = (*Webhooks)(nil)
)

// stateDeleted is an endpoint whose deliveries are being removed; nobody sees it any more.
const stateDeleted = "deleted"

var endpoints = newTable("webhook_endpoints", func(e *webhook.Endpoint) []column {
	set, form, health := &e.Settings, &e.Settings.Form, &e.Health
	return []column{{"id", &e.ID}, {"agency_id", &e.AgencyID}, {"url", &set.URL}, {"kinds", words(&set.Kinds)},
		{"classes", words(&set.Classes)}, {"thin", &form.Thin}, {"fields", words(&form.Fields)}, {"secret", &e.Secret},
		{"old_secret", &e.OldSecret}, {"old_until", moment{&e.OldUntil}}, {"next_row", &e.Next.Row},
		{"next_idx", &e.Next.Index}, {"state", &health.State}, {"reason", &health.Reason},
		{"disabled_at", moment{&health.DisabledAt}}, {"failures", &health.Failures},
		{"failing_since", moment{&health.FailingSince}}, {"hold_until", moment{&health.HoldUntil}},
		{"created_at", moment{&e.CreatedAt}}}
})

// AddEndpoint implements [webhook.Store]. The number of the next event is read in the
// transaction: facts that are committed later have that number or a larger one.
func (db *Webhooks) AddEndpoint(ctx context.Context, e webhook.Endpoint, max int) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		if db.postgres { // two at once must not both find room
			if err := run(ctx, tx, "lock the agency", `SELECT 1 FROM agencies WHERE id = $1 FOR UPDATE`,
				e.AgencyID); err != nil {
				return err
			}
		}
		n, err := value[int](ctx, tx, "count endpoints",
			`SELECT count(*) FROM webhook_endpoints WHERE agency_id = $1 AND state <> $2`, e.AgencyID, stateDeleted)
		if err != nil {
			return err
		}
		if n >= max {
			return webhook.ErrTooMany
		}
		next, err := value[uint64](ctx, tx, "read the next event", `SELECT events FROM log`)
		if err != nil {
			return err
		}
		e.Next, e.OldUntil = webhook.Cursor{Row: next}, time.Time{}
		e.Health = webhook.Health{State: e.Health.State}
		return endpoints.add(ctx, tx, "add endpoint", e, "", nil)
	})
}

// Endpoint implements [webhook.Store].
func (db *Webhooks) Endpoint(ctx context.Context, agencyID, id string) (webhook.Endpoint, error) {
	return findEndpoint(ctx, db.read, agencyID, id, "")
}

func findEndpoint(ctx context.Context, q handle, agencyID, id, lock string) (webhook.Endpoint, error) {
	return endpoints.one(ctx, q, ` WHERE agency_id = $1 AND id = $2 AND state <> 'deleted'`+lock, agencyID, id)
}

// Endpoints implements [webhook.Store].
func (db *Webhooks) Endpoints(ctx context.Context, agencyID, after string, limit int) ([]webhook.Endpoint, error) {
	return endpoints.list(ctx, db.read, "list endpoints",
		` WHERE agency_id = $1 AND id > $2 AND state <> 'deleted' ORDER BY id LIMIT $3`, agencyID, after, limit)
}

// ChangeEndpoint implements [webhook.Store].
func (db *Webhooks) ChangeEndpoint(ctx context.Context, agencyID, id string, change func(*webhook.Endpoint) error) (
	webhook.Endpoint, error) {
	var e webhook.Endpoint
	err := db.tx(ctx, func(tx *sqlx.Tx) (err error) {
		if e, err = findEndpoint(ctx, tx, agencyID, id, db.forUpdate()); err != nil {
			return err
		}
		if err := change(&e); err != nil {
			return err
		}
		return endpoints.update(ctx, tx, "change endpoint", e, "url kinds classes thin fields secret old_secret "+
			"old_until "+healthColumns, "id")
	})
	return e, err
}

const healthColumns = "state reason disabled_at failures failing_since hold_until"

// DeleteEndpoint implements [webhook.Store]. The secrets go at once.
func (db *Webhooks) DeleteEndpoint(ctx context.Context, agencyID, id string) error {
	if !storable(id) {
		return notary.ErrNotFound
	}
	return execOne(ctx, db.write, "delete endpoint", notary.ErrNotFound, `UPDATE webhook_endpoints SET state = $3, `+
		`url = '', secret = $4, old_secret = NULL WHERE agency_id = $1 AND id = $2 AND state <> $3`,
		agencyID, id, stateDeleted, []byte{})
}

// ClaimWebhookKey makes a public key the one of this instance's webhooks, if there is none
// yet, and reports whether it is the one.
func (db *Webhooks) ClaimWebhookKey(ctx context.Context, public []byte) (bool, error) {
	var have []byte
	err := db.tx(ctx, func(tx *sqlx.Tx) (err error) {
		if err := run(ctx, tx, "write the webhook key's row",
			`INSERT INTO webhook_key (one, public) VALUES (1, $1) ON CONFLICT DO NOTHING`, public); err != nil {
			return err
		}
		have, err = value[[]byte](ctx, tx, "read the webhook key's row", `SELECT public FROM webhook_key`)
		return err
	})
	return bytes.Equal(have, public), err
}

// HasWebhookKey reports whether a key was claimed.
func (db *Webhooks) HasWebhookKey(ctx context.Context) (bool, error) {
	n, err := value[int](ctx, db.read, "look for the webhook key", `SELECT count(*) FROM webhook_key`)
	return n > 0, err
}
