package sqldb

import (
	"context"
	"fmt"

	"github.com/jmoiron/sqlx"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/people"
)

var _ people.InvitationStore = (*DB)(nil)

type invitationRow struct {
	UserID    string `db:"user_id"`
	Digest    []byte `db:"digest"`
	By        string `db:"invited_by"`
	CreatedAt int64  `db:"created_at"`
	ExpiresAt int64  `db:"expires_at"`
}

func (r invitationRow) invitation() people.Invitation {
	return people.Invitation{UserID: r.UserID, Digest: sm.Digest(r.Digest), By: r.By, CreatedAt: fromMicros(r.CreatedAt), ExpiresAt: fromMicros(r.ExpiresAt)}
}

const selectInvitation = `SELECT i.user_id, i.digest, i.invited_by, i.created_at, i.expires_at FROM invitations i`

// AddInvitation implements [people.InvitationStore].
func (db *DB) AddInvitation(ctx context.Context, i people.Invitation) error {
	_, err := db.write.ExecContext(ctx, `INSERT INTO invitations (user_id, digest, invited_by, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (user_id) DO UPDATE SET digest = excluded.digest, invited_by = excluded.invited_by, created_at = excluded.created_at, expires_at = excluded.expires_at`,
		i.UserID, i.Digest[:], i.By, micros(i.CreatedAt), micros(i.ExpiresAt))
	if err != nil {
		return fmt.Errorf("add invitation: %w", err)
	}
	return nil
}

// FindInvitation implements [people.InvitationStore].
func (db *DB) FindInvitation(ctx context.Context, digest sm.Digest) (people.Invitation, error) {
	return db.findInvitation(ctx, db.read, digest, "")
}

func (db *DB) findInvitation(ctx context.Context, q sqlx.QueryerContext, digest sm.Digest, lock string) (people.Invitation, error) {
	var r invitationRow
	if err := sqlx.GetContext(ctx, q, &r, selectInvitation+` WHERE i.digest = $1 AND i.expires_at > $2`+lock, digest[:], micros(db.now())); err != nil {
		return people.Invitation{}, notFound(err)
	}
	return r.invitation(), nil
}

// Invitations implements [people.InvitationStore].
func (db *DB) Invitations(ctx context.Context, agencyID string) ([]people.Invitation, error) {
	var rows []invitationRow
	if err := db.read.SelectContext(ctx, &rows, selectInvitation+` JOIN users u ON u.id = i.user_id WHERE i.expires_at > $1 AND ($2 = '' OR u.agency_id = $2) ORDER BY i.created_at, i.user_id`,
		micros(db.now()), agencyID); err != nil {
		return nil, fmt.Errorf("list invitations: %w", err)
	}
	out := make([]people.Invitation, len(rows))
	for i, r := range rows {
		out[i] = r.invitation()
	}
	return out, nil
}

// UseInvitation implements [people.InvitationStore].
func (db *DB) UseInvitation(ctx context.Context, digest sm.Digest, change func(*people.User) error) (people.User, error) {
	var u people.User
	err := db.tx(ctx, func(tx *sqlx.Tx) error {
		i, err := db.findInvitation(ctx, tx, digest, db.forUpdate())
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM invitations WHERE digest = $1`, digest[:]); err != nil {
			return fmt.Errorf("use invitation: %w", err)
		}
		u, err = db.changeUser(ctx, tx, i.UserID, change)
		return err
	})
	return u, err
}

// EndInvitation implements [people.InvitationStore].
func (db *DB) EndInvitation(ctx context.Context, userID string) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		res, err := tx.ExecContext(ctx, `DELETE FROM invitations WHERE user_id = $1`, userID)
		if err != nil {
			return fmt.Errorf("end invitation: %w", err)
		}
		if n, err := res.RowsAffected(); err != nil {
			return err
		} else if n == 0 {
			return notary.ErrNotFound
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM users WHERE id = $1 AND password = '' AND signed_in_at = 0
			AND NOT EXISTS (SELECT 1 FROM passkeys WHERE user_id = $1) AND NOT EXISTS (SELECT 1 FROM identities WHERE user_id = $1)`, userID); err != nil {
			return fmt.Errorf("remove who was invited: %w", err)
		}
		return nil
	})
}
