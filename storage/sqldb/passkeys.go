package sqldb

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/people"
)

var (
	_ people.PasskeyStore = (*DB)(nil)
	_ people.AttemptStore = (*DB)(nil)
)

type passkeyRow struct {
	ID         []byte `db:"id"`
	UserID     string `db:"user_id"`
	Name       string `db:"name"`
	PublicKey  []byte `db:"public_key"`
	Transports string `db:"transports"`
	Counter    int64  `db:"counter"`
	Eligible   bool   `db:"eligible"`
	BackedUp   bool   `db:"backed_up"`
	CreatedAt  int64  `db:"created_at"`
	UsedAt     int64  `db:"used_at"`
}

func rowOfPasskey(k people.Passkey) passkeyRow {
	return passkeyRow{ID: k.ID, UserID: k.UserID, Name: k.Name, PublicKey: k.PublicKey, Transports: strings.Join(k.Transports, " "), Counter: int64(k.Counter), Eligible: k.Eligible,
		BackedUp: k.BackedUp, CreatedAt: micros(k.CreatedAt), UsedAt: micros(k.UsedAt)}
}

func (r passkeyRow) passkey() people.Passkey {
	return people.Passkey{ID: r.ID, UserID: r.UserID, Name: r.Name, PublicKey: r.PublicKey, Transports: strings.Fields(r.Transports), Counter: uint32(r.Counter), Eligible: r.Eligible,
		BackedUp: r.BackedUp, CreatedAt: fromMicros(r.CreatedAt), UsedAt: fromMicros(r.UsedAt)}
}

const passkeyColumns = `id, user_id, name, public_key, transports, counter, eligible, backed_up, created_at, used_at`

// AddPasskey implements [people.PasskeyStore].
func (db *DB) AddPasskey(ctx context.Context, k people.Passkey) error {
	res, err := db.write.NamedExecContext(ctx, `INSERT INTO passkeys (`+passkeyColumns+`) VALUES (:id, :user_id, :name, :public_key, :transports, :counter, :eligible, :backed_up, :created_at, :used_at)
		ON CONFLICT (id) DO NOTHING`, rowOfPasskey(k))
	if err != nil {
		return fmt.Errorf("add passkey: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, people.ErrRepeated)
	}
	return nil
}

// Passkeys implements [people.PasskeyStore].
func (db *DB) Passkeys(ctx context.Context, userID string) ([]people.Passkey, error) {
	var rows []passkeyRow
	if err := db.read.SelectContext(ctx, &rows, `SELECT `+passkeyColumns+` FROM passkeys WHERE user_id = $1 ORDER BY created_at, id`, userID); err != nil {
		return nil, fmt.Errorf("list passkeys: %w", err)
	}
	out := make([]people.Passkey, len(rows))
	for i, r := range rows {
		out[i] = r.passkey()
	}
	return out, nil
}

// ChangePasskey implements [people.PasskeyStore].
func (db *DB) ChangePasskey(ctx context.Context, id []byte, change func(*people.Passkey) error) (people.Passkey, error) {
	var k people.Passkey
	err := db.tx(ctx, func(tx *sqlx.Tx) error {
		var r passkeyRow
		if err := tx.GetContext(ctx, &r, `SELECT `+passkeyColumns+` FROM passkeys WHERE id = $1`+db.forUpdate(), id); err != nil {
			return notFound(err)
		}
		k = r.passkey()
		if err := change(&k); err != nil {
			return err
		}
		if _, err := tx.NamedExecContext(ctx, `UPDATE passkeys SET counter = :counter, backed_up = :backed_up, used_at = :used_at WHERE id = :id`, rowOfPasskey(k)); err != nil {
			return fmt.Errorf("change passkey: %w", err)
		}
		return nil
	})
	return k, err
}

// RemovePasskey implements [people.PasskeyStore].
func (db *DB) RemovePasskey(ctx context.Context, userID string, id []byte, may func(people.User) error) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		u, err := findUser(ctx, tx, userID, db.forUpdate())
		if err != nil {
			return err
		}
		res, err := tx.ExecContext(ctx, `DELETE FROM passkeys WHERE id = $1 AND user_id = $2`, id, u.ID)
		if err != nil {
			return fmt.Errorf("remove passkey: %w", err)
		}
		if n, err := res.RowsAffected(); err != nil {
			return err
		} else if n == 0 {
			return notary.ErrNotFound
		}
		return may(u)
	})
}

// AddAttempt implements [people.AttemptStore].
func (db *DB) AddAttempt(ctx context.Context, digest sm.Digest, data []byte, expiresAt time.Time) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM attempts WHERE expires_at <= $1`, micros(db.now())); err != nil {
			return fmt.Errorf("remove ended attempts: %w", err)
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO attempts (digest, data, expires_at) VALUES ($1, $2, $3)`, digest[:], data, micros(expiresAt)); err != nil {
			return fmt.Errorf("add attempt: %w", err)
		}
		return nil
	})
}

// TakeAttempt implements [people.AttemptStore].
func (db *DB) TakeAttempt(ctx context.Context, digest sm.Digest) ([]byte, error) {
	var data []byte
	if err := db.write.GetContext(ctx, &data, `DELETE FROM attempts WHERE digest = $1 AND expires_at > $2 RETURNING data`, digest[:], micros(db.now())); err != nil {
		return nil, notFound(err)
	}
	return data, nil
}
