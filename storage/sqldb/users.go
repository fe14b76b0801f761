package sqldb

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/jmoiron/sqlx"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/people"
)

var (
	_ people.UserStore    = (*DB)(nil)
	_ people.SessionStore = (*DB)(nil)
	_ people.Trail        = (*DB)(nil)
)

type userRow struct {
	ID         string `db:"id"`
	AgencyID   string `db:"agency_id"`
	Login      string `db:"login"`
	Name       string `db:"name"`
	Role       string `db:"role"`
	Password   string `db:"password"`
	Initial    bool   `db:"initial"`
	Factor     []byte `db:"factor"`
	FactorStep int64  `db:"factor_step"`
	Recovery   string `db:"recovery"`
	CreatedAt  int64  `db:"created_at"`
	DisabledAt int64  `db:"disabled_at"`
	SignedInAt int64  `db:"signed_in_at"`
	Passkeys   int    `db:"passkeys"`
	Linked     bool   `db:"linked"`
}

const userColumns = `id, agency_id, login, name, role, password, initial, factor, factor_step, recovery, created_at, disabled_at, signed_in_at`

const selectUser = `SELECT ` + userColumns + `, (SELECT count(*) FROM passkeys WHERE user_id = users.id) AS passkeys,
	EXISTS (SELECT 1 FROM identities WHERE user_id = users.id) AS linked FROM users`

func rowOfUser(u people.User) userRow {
	codes := make([]string, len(u.Recovery))
	for i, d := range u.Recovery {
		codes[i] = d.String()
	}
	return userRow{ID: u.ID, AgencyID: u.AgencyID, Login: u.Login, Name: u.Name, Role: string(u.Role), Password: u.Password, Initial: u.Initial, Factor: u.Factor,
		FactorStep: u.FactorStep, Recovery: strings.Join(codes, " "), CreatedAt: micros(u.CreatedAt), DisabledAt: micros(u.DisabledAt), SignedInAt: micros(u.SignedInAt)}
}

func (r userRow) user() (people.User, error) {
	u := people.User{ID: r.ID, AgencyID: r.AgencyID, Login: r.Login, Name: r.Name, Role: people.Role(r.Role), Password: r.Password, Initial: r.Initial, Factor: r.Factor,
		FactorStep: r.FactorStep, CreatedAt: fromMicros(r.CreatedAt), DisabledAt: fromMicros(r.DisabledAt), SignedInAt: fromMicros(r.SignedInAt),
		Passkeys: r.Passkeys, Linked: r.Linked}
	for _, text := range strings.Fields(r.Recovery) {
		d, err := hex.DecodeString(text)
		if err != nil || len(d) != sm.DigestSize {
			return u, errors.New("the row of a user is damaged")
		}
		u.Recovery = append(u.Recovery, sm.Digest(d))
	}
	return u, nil
}

// AddUser implements [people.UserStore].
func (db *DB) AddUser(ctx context.Context, u people.User) error {
	res, err := db.write.NamedExecContext(ctx, `INSERT INTO users (`+userColumns+`) VALUES (:id, :agency_id, :login, :name, :role, :password, :initial, :factor, :factor_step,
		:recovery, :created_at, :disabled_at, :signed_in_at) ON CONFLICT (login) DO NOTHING`, rowOfUser(u))
	if err != nil {
		return fmt.Errorf("add user: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, people.ErrLoginTaken)
	}
	return nil
}

// FindUser implements [people.UserStore].
func (db *DB) FindUser(ctx context.Context, idOrLogin string) (people.User, error) {
	return findUser(ctx, db.read, idOrLogin, "")
}

func findUser(ctx context.Context, q sqlx.QueryerContext, idOrLogin, lock string) (people.User, error) {
	var r userRow
	if !storable(idOrLogin) {
		return people.User{}, notary.ErrNotFound
	}
	if err := sqlx.GetContext(ctx, q, &r, selectUser+` WHERE id = $1 OR login = $1`+lock, idOrLogin); err != nil {
		return people.User{}, notFound(err)
	}
	return r.user()
}

// Users implements [people.UserStore].
func (db *DB) Users(ctx context.Context, agencyID string) ([]people.User, error) {
	var rows []userRow
	if err := db.read.SelectContext(ctx, &rows, selectUser+` WHERE $1 = '' OR agency_id = $1 ORDER BY agency_id, login`, agencyID); err != nil {
		return nil, fmt.Errorf("list users: %w", err)
	}
	out := make([]people.User, len(rows))
	for i, r := range rows {
		var err error
		if out[i], err = r.user(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// ChangeUser implements [people.UserStore].
func (db *DB) ChangeUser(ctx context.Context, id string, change func(*people.User) error) (people.User, error) {
	var u people.User
	err := db.tx(ctx, func(tx *sqlx.Tx) (err error) {
		u, err = db.changeUser(ctx, tx, id, change)
		return err
	})
	return u, err
}

func (db *DB) changeUser(ctx context.Context, tx *sqlx.Tx, id string, change func(*people.User) error) (people.User, error) {
	u, err := findUser(ctx, tx, id, db.forUpdate())
	if err != nil {
		return u, err
	}
	before := u
	if err := change(&u); err != nil {
		return u, err
	}
	if _, err := tx.NamedExecContext(ctx, `UPDATE users SET name = :name, role = :role, password = :password, initial = :initial, factor = :factor, factor_step = :factor_step,
		recovery = :recovery, disabled_at = :disabled_at, signed_in_at = :signed_in_at WHERE id = :id`, rowOfUser(u)); err != nil {
		return u, fmt.Errorf("change user: %w", err)
	}
	if before.Passkeys > 0 && u.Passkeys == 0 {
		if _, err := tx.ExecContext(ctx, `DELETE FROM passkeys WHERE user_id = $1`, u.ID); err != nil {
			return u, fmt.Errorf("remove passkeys: %w", err)
		}
	}
	if before.Linked && !u.Linked {
		if _, err := tx.ExecContext(ctx, `DELETE FROM identities WHERE user_id = $1`, u.ID); err != nil {
			return u, fmt.Errorf("remove identity: %w", err)
		}
	}
	return u, nil
}
