package sqldb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jmoiron/sqlx"

	"stele/notary"
	"stele/notary/webhook"
)

var (
	_ webhook.EndpointStore = (*DB)(nil)
	_ webhook.DeliveryStore = (*DB)(nil)
	_ webhook.Queue         = (*DB)(nil)
)

// stateDeleted is an endpoint whose deliveries are being removed; nobody sees it any more.
const stateDeleted = "deleted"

type endpointRow struct {
	ID           string `db:"id"`
	AgencyID     string `db:"agency_id"`
	URL          string `db:"url"`
	Kinds        string `db:"kinds"`
	Classes      string `db:"classes"`
	Thin         bool   `db:"thin"`
	Fields       string `db:"fields"`
	Secret       []byte `db:"secret"`
	OldSecret    []byte `db:"old_secret"`
	OldUntil     int64  `db:"old_until"`
	NextRow      int64  `db:"next_row"`
	NextIdx      int64  `db:"next_idx"`
	State        string `db:"state"`
	Reason       string `db:"reason"`
	DisabledAt   int64  `db:"disabled_at"`
	Failures     int64  `db:"failures"`
	FailingSince int64  `db:"failing_since"`
	HoldUntil    int64  `db:"hold_until"`
	CreatedAt    int64  `db:"created_at"`
}

const selectEndpoint = `SELECT id, agency_id, url, kinds, classes, thin, fields, secret, old_secret, old_until, next_row, next_idx, state, reason, disabled_at,
	failures, failing_since, hold_until, created_at FROM webhook_endpoints`

func (r *endpointRow) endpoint() webhook.Endpoint {
	return webhook.Endpoint{ID: r.ID, AgencyID: r.AgencyID, Secret: r.Secret, OldSecret: r.OldSecret, OldUntil: fromMicros(r.OldUntil), CreatedAt: fromMicros(r.CreatedAt),
		Settings: webhook.Settings{URL: r.URL, Kinds: split[webhook.Kind](r.Kinds), Classes: split[string](r.Classes), Form: webhook.Form{Thin: r.Thin, Fields: split[string](r.Fields)}},
		Next:     webhook.Cursor{Row: uint64(r.NextRow), Index: uint64(r.NextIdx)},
		Health: webhook.Health{State: webhook.State(r.State), Reason: r.Reason, DisabledAt: fromMicros(r.DisabledAt), Failures: int(r.Failures),
			FailingSince: fromMicros(r.FailingSince), HoldUntil: fromMicros(r.HoldUntil)}}
}

func join[T ~string](names []T) string {
	l := make([]string, len(names))
	for i, n := range names {
		l[i] = string(n)
	}
	return strings.Join(l, " ")
}

func split[T ~string](text string) []T {
	var out []T
	for _, n := range strings.Fields(text) {
		out = append(out, T(n))
	}
	return out
}

// AddEndpoint implements [webhook.EndpointStore]. The number of the next event is read in the
// transaction: facts that are committed later have that number or a larger one.
func (db *DB) AddEndpoint(ctx context.Context, e webhook.Endpoint, max int) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		if db.postgres { // two at once must not both find room
			if _, err := tx.ExecContext(ctx, `SELECT 1 FROM agencies WHERE id = $1 FOR UPDATE`, e.AgencyID); err != nil {
				return fmt.Errorf("lock the agency: %w", err)
			}
		}
		var n int
		if err := tx.GetContext(ctx, &n, `SELECT count(*) FROM webhook_endpoints WHERE agency_id = $1 AND state <> $2`, e.AgencyID, stateDeleted); err != nil {
			return fmt.Errorf("count endpoints: %w", err)
		}
		if n >= max {
			return webhook.ErrTooMany
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO webhook_endpoints (id, agency_id, url, kinds, classes, thin, fields, secret, old_until, next_row, next_idx, state, reason, disabled_at,
			failures, failing_since, hold_until, created_at)
			SELECT $1, $2, $3, $4, $5, $6, $7, $8, 0, events, 0, $9, '', 0, 0, 0, 0, $10 FROM log`,
			e.ID, e.AgencyID, e.Settings.URL, join(e.Settings.Kinds), join(e.Settings.Classes), e.Settings.Form.Thin, join(e.Settings.Form.Fields), e.Secret,
			string(e.Health.State), micros(e.CreatedAt))
		if err != nil {
			return fmt.Errorf("add endpoint: %w", err)
		}
		return nil
	})
}

// Endpoint implements [webhook.EndpointStore].
func (db *DB) Endpoint(ctx context.Context, agencyID, id string) (webhook.Endpoint, error) {
	return findEndpoint(ctx, db.read, agencyID, id, "")
}

func findEndpoint(ctx context.Context, q sqlx.QueryerContext, agencyID, id, lock string) (webhook.Endpoint, error) {
	var r endpointRow
	if !storable(id) {
		return webhook.Endpoint{}, notary.ErrNotFound
	}
	err := sqlx.GetContext(ctx, q, &r, selectEndpoint+` WHERE agency_id = $1 AND id = $2 AND state <> 'deleted'`+lock, agencyID, id)
	return r.endpoint(), notFound(err)
}

// forUpdate is how a row is locked: not at all on SQLite, which has one writer.
func (db *DB) forUpdate() string {
	if db.postgres {
		return ` FOR UPDATE`
	}
	return ""
}

// Endpoints implements [webhook.EndpointStore].
func (db *DB) Endpoints(ctx context.Context, agencyID, after string, limit int) ([]webhook.Endpoint, error) {
	var rows []endpointRow
	if !storable(after) {
		return nil, nil
	}
	if err := db.read.SelectContext(ctx, &rows, selectEndpoint+` WHERE agency_id = $1 AND id > $2 AND state <> 'deleted' ORDER BY id LIMIT $3`, agencyID, after, limit); err != nil {
		return nil, fmt.Errorf("list endpoints: %w", err)
	}
	out := make([]webhook.Endpoint, len(rows))
	for i := range rows {
		out[i] = rows[i].endpoint()
	}
	return out, nil
}

// ChangeEndpoint implements [webhook.EndpointStore].
func (db *DB) ChangeEndpoint(ctx context.Context, agencyID, id string, change func(*webhook.Endpoint) error) (webhook.Endpoint, error) {
	var e webhook.Endpoint
	err := db.tx(ctx, func(tx *sqlx.Tx) (err error) {
		if e, err = findEndpoint(ctx, tx, agencyID, id, db.forUpdate()); err != nil {
			return err
		}
		if err := change(&e); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE webhook_endpoints SET url = $2, kinds = $3, classes = $4, thin = $5, fields = $6, secret = $7, old_secret = $8, old_until = $9 WHERE id = $1`,
			e.ID, e.Settings.URL, join(e.Settings.Kinds), join(e.Settings.Classes), e.Settings.Form.Thin, join(e.Settings.Form.Fields), e.Secret, e.OldSecret, micros(e.OldUntil)); err != nil {
			return fmt.Errorf("change endpoint: %w", err)
		}
		return setHealth(ctx, tx, e.ID, e.Health)
	})
	return e, err
}

func setHealth(ctx context.Context, tx *sqlx.Tx, id string, h webhook.Health) error {
	_, err := tx.ExecContext(ctx, `UPDATE webhook_endpoints SET state = $2, reason = $3, disabled_at = $4, failures = $5, failing_since = $6, hold_until = $7 WHERE id = $1`,
		id, string(h.State), h.Reason, micros(h.DisabledAt), h.Failures, micros(h.FailingSince), micros(h.HoldUntil))
	if err != nil {
		return fmt.Errorf("write an endpoint's health: %w", err)
	}
	return nil
}

// DeleteEndpoint implements [webhook.EndpointStore]. The secrets go at once.
func (db *DB) DeleteEndpoint(ctx context.Context, agencyID, id string) error {
	if !storable(id) {
		return notary.ErrNotFound
	}
	res, err := db.write.ExecContext(ctx, `UPDATE webhook_endpoints SET state = $3, url = '', secret = $4, old_secret = NULL WHERE agency_id = $1 AND id = $2 AND state <> $3`,
		agencyID, id, stateDeleted, []byte{})
	if err != nil {
		return fmt.Errorf("delete endpoint: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, notary.ErrNotFound)
	}
	return nil
}

// ClaimWebhookKey makes a public key the one of this instance's webhooks, if there is none
// yet, and reports whether it is the one.
func (db *DB) ClaimWebhookKey(ctx context.Context, public []byte) (bool, error) {
	var have []byte
	err := db.tx(ctx, func(tx *sqlx.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO webhook_key (one, public) VALUES (1, $1) ON CONFLICT DO NOTHING`, public); err != nil {
			return fmt.Errorf("write the webhook key's row: %w", err)
		}
		return tx.GetContext(ctx, &have, `SELECT public FROM webhook_key`)
	})
	return bytes.Equal(have, public), err
}

// HasWebhookKey reports whether a key was claimed.
func (db *DB) HasWebhookKey(ctx context.Context) (bool, error) {
	var n int
	err := db.read.GetContext(ctx, &n, `SELECT count(*) FROM webhook_key`)
	return n > 0, err
}
