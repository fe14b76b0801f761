package sqldb

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"stele/crypto/sm"
	"stele/notary/people"
)

type sessionRow struct {
	Digest    []byte `db:"digest"`
	UserID    string `db:"user_id"`
	Data      []byte `db:"data"`
	Address   string `db:"address"`
	Agent     string `db:"agent"`
	CreatedAt int64  `db:"created_at"`
	SeenAt    int64  `db:"seen_at"`
	ExpiresAt int64  `db:"expires_at"`
}

const selectSession = `SELECT digest, user_id, data, address, agent, created_at, seen_at, expires_at FROM sessions`

func (r sessionRow) session() people.Session {
	return people.Session{Digest: sm.Digest(r.Digest), UserID: r.UserID, Data: r.Data, Address: r.Address, Agent: r.Agent, CreatedAt: fromMicros(r.CreatedAt),
		SeenAt: fromMicros(r.SeenAt), ExpiresAt: fromMicros(r.ExpiresAt)}
}

// AddSession implements [people.SessionStore].
func (db *DB) AddSession(ctx context.Context, s people.Session) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		now := micros(db.now())
		if _, err := tx.ExecContext(ctx, `DELETE FROM sessions WHERE expires_at <= $1`, now); err != nil {
			return fmt.Errorf("remove ended sessions: %w", err)
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO sessions (digest, user_id, data, address, agent, created_at, seen_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $6, $7)`,
			s.Digest[:], s.UserID, s.Data, s.Address, s.Agent, now, micros(s.ExpiresAt)); err != nil {
			return fmt.Errorf("add session: %w", err)
		}
		return nil
	})
}

// FindSession implements [people.SessionStore].
func (db *DB) FindSession(ctx context.Context, digest sm.Digest) (people.Session, error) {
	var r sessionRow
	if err := db.read.GetContext(ctx, &r, selectSession+` WHERE digest = $1 AND expires_at > $2`, digest[:], micros(db.now())); err != nil {
		return people.Session{}, notFound(err)
	}
	return r.session(), nil
}

// seenEvery is how exact the time is at which a session was seen last: a page that changes
// nothing else writes nothing more often.
const seenEvery = time.Minute

// TouchSession implements [people.SessionStore].
func (db *DB) TouchSession(ctx context.Context, digest sm.Digest, data []byte, expiresAt time.Time) error {
	now := db.now()
	if _, err := db.write.ExecContext(ctx, `UPDATE sessions SET data = $2, expires_at = $3, seen_at = $4 WHERE digest = $1 AND (data <> $2 OR seen_at < $5)`,
		digest[:], data, micros(expiresAt), micros(now), micros(now.Add(-seenEvery))); err != nil {
		return fmt.Errorf("touch session: %w", err)
	}
	return nil
}

// Sessions implements [people.SessionStore].
func (db *DB) Sessions(ctx context.Context, userID string) ([]people.Session, error) {
	var rows []sessionRow
	if err := db.read.SelectContext(ctx, &rows, selectSession+` WHERE user_id = $1 AND expires_at > $2 ORDER BY seen_at DESC, digest`, userID, micros(db.now())); err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	out := make([]people.Session, len(rows))
	for i, r := range rows {
		out[i] = r.session()
	}
	return out, nil
}

// EndSessions implements [people.SessionStore].
func (db *DB) EndSessions(ctx context.Context, userID string, only, keep *sm.Digest) error {
	q, args := `DELETE FROM sessions WHERE user_id = $1`, []any{userID}
	switch {
	case only != nil:
		q, args = q+` AND digest = $2`, append(args, only[:])
	case keep != nil:
		q, args = q+` AND digest <> $2`, append(args, keep[:])
	}
	if _, err := db.write.ExecContext(ctx, q, args...); err != nil {
		return fmt.Errorf("end sessions: %w", err)
	}
	return nil
}
