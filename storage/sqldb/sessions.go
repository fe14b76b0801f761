package sqldb

import (
	"context"
	"time"

	"github.com/jmoiron/sqlx"

	"stele/crypto/sm"
	"stele/notary/office/people"
)

var sessions = newTable("sessions", func(s *people.Session) []column {
	return []column{{"digest", digest(&s.Digest)}, {"user_id", &s.UserID}, {"data", &s.Data}, {"address", &s.Address},
		{"agent", &s.Agent}, {"created_at", moment{&s.CreatedAt}}, {"seen_at", moment{&s.SeenAt}},
		{"expires_at", moment{&s.ExpiresAt}}}
})

// AddSession implements [people.SessionStore].
func (db *People) AddSession(ctx context.Context, s people.Session) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		s.CreatedAt = db.now()
		s.SeenAt = s.CreatedAt
		if err := run(ctx, tx, "remove ended sessions", `DELETE FROM sessions WHERE expires_at <= $1`,
			micros(s.CreatedAt)); err != nil {
			return err
		}
		return sessions.add(ctx, tx, "add session", s, "", nil)
	})
}

// FindSession implements [people.SessionStore].
func (db *People) FindSession(ctx context.Context, digest sm.Digest) (people.Session, error) {
	return sessions.one(ctx, db.read, ` WHERE digest = $1 AND expires_at > $2`, digest[:], micros(db.now()))
}

// seenEvery is how exact the time is at which a session was seen last: a page that changes
// nothing else writes nothing more often.
const seenEvery = time.Minute

// TouchSession implements [people.SessionStore].
func (db *People) TouchSession(ctx context.Context, digest sm.Digest, data []byte, expiresAt time.Time) error {
	now := db.now()
	return run(ctx, db.write, "touch session", `UPDATE sessions SET data = $2, expires_at = $3, seen_at = $4 WHERE `+
		`digest = $1 AND (data <> $2 OR seen_at < $5)`,
		digest[:], data, micros(expiresAt), micros(now), micros(now.Add(-seenEvery)))
}

// Sessions implements [people.SessionStore].
func (db *People) Sessions(ctx context.Context, userID string) ([]people.Session, error) {
	return sessions.list(ctx, db.read, "list sessions",
		` WHERE user_id = $1 AND expires_at > $2 ORDER BY seen_at DESC, digest`, userID, micros(db.now()))
}

// EndSessions implements [people.SessionStore].
func (db *People) EndSessions(ctx context.Context, userID string, only, keep *sm.Digest) error {
	q, args := `DELETE FROM sessions WHERE user_id = $1`, []any{userID}
	switch {
	case only != nil:
		q, args = q+` AND digest = $2`, append(args, only[:])
	case keep != nil:
		q, args = q+` AND digest <> $2`, append(args, keep[:])
	}
	return run(ctx, db.write, "end sessions", q, args...)
}
