package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"stele/notary/people"
)

type auditRow struct {
	ID       string         `db:"id"`
	At       int64          `db:"at"`
	AgencyID string         `db:"agency_id"`
	UserID   string         `db:"user_id"`
	Login    string         `db:"login"`
	Role     string         `db:"role"`
	Act      string         `db:"act"`
	About    string         `db:"about"`
	Detail   string         `db:"detail"`
	Network  string         `db:"network"`
	Outcome  string         `db:"outcome"`
	Form     sql.NullString `db:"form"`
	Seal     int64          `db:"seal"`
	SealedIn string         `db:"sealed_in"`
}

const auditColumns = `id, at, agency_id, user_id, login, role, act, about, detail, network, outcome, form`

// Note implements [people.Trail].
func (db *DB) Note(ctx context.Context, e people.Deed) error {
	row := auditRow{ID: e.ID, At: micros(e.At), AgencyID: e.AgencyID, UserID: e.UserID, Login: e.Login, Role: string(e.Role), Act: string(e.Act), About: e.About, Detail: e.Detail, Network: e.Network,
		Outcome: e.Outcome, Form: sql.NullString{String: e.Form, Valid: e.Form != ""}}
	res, err := db.write.NamedExecContext(ctx, `INSERT INTO audit (`+auditColumns+`) VALUES (:id, :at, :agency_id, :user_id, :login, :role, :act, :about, :detail, :network, :outcome, :form)
		ON CONFLICT (form) DO NOTHING`, row)
	if err != nil {
		return fmt.Errorf("write the audit trail: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, people.ErrRepeated)
	}
	return nil
}

// Deeds implements [people.Trail].
func (db *DB) Deeds(ctx context.Context, f people.DeedFilter) ([]people.Deed, error) {
	where, args := []string{"1 = 1"}, []any{}
	for cond, v := range map[string]string{"a.agency_id = $%d": f.AgencyID, "a.login = $%d": f.Login, "a.act = $%d": string(f.Act), "a.about = $%d": f.About, "a.id < $%d": f.Before} {
		if !storable(v) {
			return nil, nil
		}
		if v != "" {
			args = append(args, v)
			where = append(where, fmt.Sprintf(cond, len(args)))
		}
	}
	if !f.From.IsZero() {
		args = append(args, micros(f.From))
		where = append(where, fmt.Sprintf("a.at >= $%d", len(args)))
	}
	if !f.To.IsZero() {
		args = append(args, micros(f.To))
		where = append(where, fmt.Sprintf("a.at < $%d", len(args)))
	}
	args = append(args, f.Limit)
	var rows []auditRow
	if err := db.read.SelectContext(ctx, &rows, selectDeed+` WHERE `+strings.Join(where, " AND ")+fmt.Sprintf(` ORDER BY a.id DESC LIMIT $%d`, len(args)), args...); err != nil {
		return nil, fmt.Errorf("read the audit trail: %w", err)
	}
	return toDeeds(rows), nil
}

func (r auditRow) deed() people.Deed {
	return people.Deed{ID: r.ID, At: fromMicros(r.At), AgencyID: r.AgencyID, UserID: r.UserID, Login: r.Login, Role: people.Role(r.Role), Act: people.Act(r.Act), About: r.About,
		Detail: r.Detail, Network: r.Network, Outcome: r.Outcome, Form: r.Form.String, Seal: r.Seal, SealedIn: r.SealedIn}
}

func toDeeds(rows []auditRow) []people.Deed {
	out := make([]people.Deed, len(rows))
	for i, r := range rows {
		out[i] = r.deed()
	}
	return out
}

// SignedInFrom implements [people.Trail].
func (db *DB) SignedInFrom(ctx context.Context, userID, network string) (bool, error) {
	var known bool
	err := db.read.GetContext(ctx, &known, `SELECT EXISTS (SELECT 1 FROM audit WHERE user_id = $1 AND network = $2 AND act = 'sign_in')`, userID, network)
	if err != nil {
		return false, fmt.Errorf("read the audit trail: %w", err)
	}
	return known, nil
}
