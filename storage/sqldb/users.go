package sqldb

import (
	"context"
	"strings"

	"github.com/jmoiron/sqlx"

	"stele/crypto/sm"
	"stele/notary/office/people"
)

var (
	_ people.UserStore    = (*People)(nil)
	_ people.SessionStore = (*People)(nil)
	_ people.AuditLog     = (*People)(nil)
)

var users = newTable("users", func(u *people.User) []column {
	return []column{{"id", &u.ID}, {"agency_id", &u.AgencyID}, {"login", &u.Login}, {"name", &u.Name},
		{"role", &u.Role}, {"password", &u.Password}, {"initial", &u.Initial}, {"factor", &u.Factor},
		{"factor_step", &u.FactorStep}, {"recovery", digests(&u.Recovery)}, {"created_at", moment{&u.CreatedAt}},
		{"disabled_at", moment{&u.DisabledAt}}, {"signed_in_at", moment{&u.SignedInAt}},
		{"(SELECT count(*) FROM passkeys WHERE user_id = users.id)", computed{&u.Passkeys}},
		{"EXISTS (SELECT 1 FROM identities WHERE user_id = users.id)", computed{&u.Linked}}}
})

// digests are words in hex; nil for none.
func digests(l *[]sm.Digest) coded {
	return coded{
		func() (string, error) {
			out := make([]string, len(*l))
			for i, d := range *l {
				out[i] = d.String()
			}
			return strings.Join(out, " "), nil
		},
		func(s string) error {
			*l = nil
			for _, w := range strings.Fields(s) {
				d, err := sm.ParseDigest(w)
				if err != nil {
					return err
				}
				*l = append(*l, d)
			}
			return nil
		}}
}

// AddUser implements [people.UserStore].
func (db *People) AddUser(ctx context.Context, u people.User) error {
	return users.add(ctx, db.write, "add user", u, ` ON CONFLICT (login) DO NOTHING`, people.ErrLoginTaken)
}

// FindUser implements [people.UserStore].
func (db *People) FindUser(ctx context.Context, idOrLogin string) (people.User, error) {
	return findUser(ctx, db.read, idOrLogin, "")
}

func findUser(ctx context.Context, q handle, idOrLogin, lock string) (people.User, error) {
	return users.one(ctx, q, ` WHERE id = $1 OR login = $1`+lock, idOrLogin)
}

// Users implements [people.UserStore].
func (db *People) Users(ctx context.Context, agencyID string) ([]people.User, error) {
	return users.list(ctx, db.read, "list users", ` WHERE $1 = '' OR agency_id = $1 ORDER BY agency_id, login`,
		agencyID)
}

// ChangeUser implements [people.UserStore].
func (db *People) ChangeUser(ctx context.Context, id string, change func(*people.User) error) (people.User, error) {
	var u people.User
	err := db.tx(ctx, func(tx *sqlx.Tx) (err error) {
		u, err = db.changeUser(ctx, tx, id, change)
		return err
	})
	return u, err
}

func (db *conn) changeUser(ctx context.Context, tx *sqlx.Tx, id string, change func(*people.User) error) (people.User,
	error) {
	u, err := findUser(ctx, tx, id, db.forUpdate())
	if err != nil {
		return u, err
	}
	before := u
	if err := change(&u); err != nil {
		return u, err
	}
	if err := users.update(ctx, tx, "change user", u,
		"name role password initial factor factor_step recovery disabled_at signed_in_at", "id"); err != nil {
		return u, err
	}
	if before.Passkeys > 0 && u.Passkeys == 0 {
		if err := run(ctx, tx, "remove passkeys", `DELETE FROM passkeys WHERE user_id = $1`, u.ID); err != nil {
			return u, err
		}
	}
	if before.Linked && !u.Linked {
		return u, run(ctx, tx, "remove identity", `DELETE FROM identities WHERE user_id = $1`, u.ID)
	}
	return u, nil
}
