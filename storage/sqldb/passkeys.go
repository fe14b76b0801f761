package sqldb

import (
	"context"
	"time"

	"github.com/jmoiron/sqlx"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/office/people"
)

var (
	_ people.PasskeyStore = (*People)(nil)
	_ people.AttemptStore = (*People)(nil)
)

var passkeys = newTable("passkeys", func(k *people.Passkey) []column {
	return []column{{"id", &k.ID}, {"user_id", &k.UserID}, {"name", &k.Name}, {"public_key", &k.PublicKey},
		{"transports", names(&k.Transports)}, {"counter", &k.Counter}, {"eligible", &k.Eligible},
		{"backed_up", &k.BackedUp}, {"created_at", moment{&k.CreatedAt}}, {"used_at", moment{&k.UsedAt}}}
})

// AddPasskey implements [people.PasskeyStore].
func (db *People) AddPasskey(ctx context.Context, k people.Passkey) error {
	return passkeys.add(ctx, db.write, "add passkey", k, ` ON CONFLICT (id) DO NOTHING`, people.ErrRepeated)
}

// Passkeys implements [people.PasskeyStore].
func (db *People) Passkeys(ctx context.Context, userID string) ([]people.Passkey, error) {
	return passkeys.list(ctx, db.read, "list passkeys", ` WHERE user_id = $1 ORDER BY created_at, id`, userID)
}

// ChangePasskey implements [people.PasskeyStore].
func (db *People) ChangePasskey(ctx context.Context, id []byte, change func(*people.Passkey) error) (people.Passkey,
	error) {
	var k people.Passkey
	err := db.tx(ctx, func(tx *sqlx.Tx) (err error) {
		if k, err = passkeys.one(ctx, tx, ` WHERE id = $1`+db.forUpdate(), id); err != nil {
			return err
		}
		if err := change(&k); err != nil {
			return err
		}
		return passkeys.update(ctx, tx, "change passkey", k, "counter backed_up used_at", "id")
	})
	return k, err
}

// RemovePasskey implements [people.PasskeyStore].
func (db *People) RemovePasskey(ctx context.Context, userID string, id []byte, may func(people.User) error) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		u, err := findUser(ctx, tx, userID, db.forUpdate())
		if err != nil {
			return err
		}
		if err := execOne(ctx, tx, "remove passkey", notary.ErrNotFound,
			`DELETE FROM passkeys WHERE id = $1 AND user_id = $2`, id, u.ID); err != nil {
			return err
		}
		return may(u)
	})
}

// AddAttempt implements [people.AttemptStore].
func (db *People) AddAttempt(ctx context.Context, digest sm.Digest, data []byte, expiresAt time.Time) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		if err := run(ctx, tx, "remove ended attempts", `DELETE FROM attempts WHERE expires_at <= $1`,
			micros(db.now())); err != nil {
			return err
		}
		return run(ctx, tx, "add attempt", `INSERT INTO attempts (digest, data, expires_at) VALUES ($1, $2, $3)`,
			digest[:], data, micros(expiresAt))
	})
}

// TakeAttempt implements [people.AttemptStore].
func (db *People) TakeAttempt(ctx context.Context, digest sm.Digest) ([]byte, error) {
	return one(ctx, db.write, itself[[]byte],
		`DELETE FROM attempts WHERE digest = $1 AND expires_at > $2 RETURNING data`, digest[:], micros(db.now()))
}
