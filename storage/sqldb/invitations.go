package sqldb

import (
	"context"

	"github.com/jmoiron/sqlx"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/office/people"
)

var _ people.InvitationStore = (*People)(nil)

var invitations = newTable("invitations", func(i *people.Invitation) []column {
	return []column{{"user_id", &i.UserID}, {"digest", digest(&i.Digest)}, {"invited_by", &i.By},
		{"created_at", moment{&i.CreatedAt}}, {"expires_at", moment{&i.ExpiresAt}}}
})

// AddInvitation implements [people.InvitationStore].
func (db *People) AddInvitation(ctx context.Context, i people.Invitation) error {
	return invitations.add(ctx, db.write, "add invitation", i, invitations.replacing("user_id"), nil)
}

// FindInvitation implements [people.InvitationStore].
func (db *People) FindInvitation(ctx context.Context, digest sm.Digest) (people.Invitation, error) {
	return db.findInvitation(ctx, db.read, digest, "")
}

func (db *conn) findInvitation(ctx context.Context, q handle, digest sm.Digest, lock string) (people.Invitation,
	error) {
	return invitations.one(ctx, q, ` WHERE digest = $1 AND expires_at > $2`+lock, digest[:], micros(db.now()))
}

// Invitations implements [people.InvitationStore].
func (db *People) Invitations(ctx context.Context, agencyID string) ([]people.Invitation, error) {
	return invitations.list(ctx, db.read, "list invitations", ` WHERE expires_at > $1 AND ($2 = '' OR
		user_id IN (SELECT id FROM users WHERE agency_id = $2)) ORDER BY created_at, user_id`,
		micros(db.now()), agencyID)
}

// UseInvitation implements [people.InvitationStore].
func (db *People) UseInvitation(ctx context.Context, digest sm.Digest, change func(*people.User) error) (people.User,
	error) {
	var u people.User
	err := db.tx(ctx, func(tx *sqlx.Tx) error {
		i, err := db.findInvitation(ctx, tx, digest, db.forUpdate())
		if err != nil {
			return err
		}
		if err := run(ctx, tx, "use invitation", `DELETE FROM invitations WHERE digest = $1`, digest[:]); err != nil {
			return err
		}
		u, err = db.changeUser(ctx, tx, i.UserID, change)
		return err
	})
	return u, err
}

// EndInvitation implements [people.InvitationStore].
func (db *People) EndInvitation(ctx context.Context, userID string) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		if err := execOne(ctx, tx, "end invitation", notary.ErrNotFound, `DELETE FROM invitations WHERE user_id = $1`,
			userID); err != nil {
			return err
		}
		return run(ctx, tx, "remove who was invited", `DELETE FROM users WHERE id = $1 AND password = ''
			AND signed_in_at = 0 AND NOT EXISTS (SELECT 1 FROM passkeys WHERE user_id = $1)
			AND NOT EXISTS (SELECT 1 FROM identities WHERE user_id = $1)`, userID)
	})
}
