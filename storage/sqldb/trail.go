package sqldb

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jmoiron/sqlx"

	"stele/notary"
	"stele/notary/office/people"
)

var (
	_ people.SealStore  = (*People)(nil)
	_ people.SealedRows = (*People)(nil)
)

var trailSeals = newTable("audit_seals", func(s *people.TrailSeal) []column {
	return []column{{"trail", &s.Trail}, {"number", &s.Number}, {"agency_id", &s.AgencyID}, {"first_id", &s.First},
		{"last_id", &s.Last}, {"deeds", &s.Events}, {"sm3", digest(&s.SM3)}, {"title", &s.Title},
		{"document", blob{&s.Document}}, {"record_id", &s.RecordID}, {"record_number", &s.Record},
		{"created_at", moment{&s.CreatedAt}}}
})

// OpenTrails implements [people.SealStore].
func (db *People) OpenTrails(ctx context.Context) ([]string, error) {
	return list(ctx, db.read, "look for open trails", itself[string],
		`SELECT agency_id FROM audit WHERE seal = 0
		UNION SELECT trail FROM audit_seals WHERE record_id = '' ORDER BY 1`)
}

// BeginSeal implements [people.SealStore]. Of two servers that begin the same seal one writes
// its row; the other finds it there and goes on with it.
func (db *People) BeginSeal(ctx context.Context, trail string, most int,
	make func(previous *people.TrailSeal, events []people.AuditEvent) (people.TrailSeal, error)) (people.TrailSeal,
	error) {
	var out people.TrailSeal
	err := db.tx(ctx, func(tx *sqlx.Tx) error {
		previous, err := lastSeal(ctx, tx, trail)
		if err != nil {
			return err
		}
		if previous != nil && previous.RecordID == "" {
			out = *previous
			return nil
		}
		events, err := auditEvents.list(ctx, tx, "read the audit trail",
			` WHERE agency_id = $1 AND seal = 0 ORDER BY id LIMIT $2`, trail, most)
		if err != nil {
			return err
		}
		if len(events) == 0 {
			return notary.ErrNotFound
		}
		if out, err = make(previous, events); err != nil {
			return err
		}
		return db.addSeal(ctx, tx, out, events)
	})
	return out, err
}

func lastSeal(ctx context.Context, tx *sqlx.Tx, trail string) (*people.TrailSeal, error) {
	s, err := trailSeals.one(ctx, tx, ` WHERE trail = $1 ORDER BY number DESC LIMIT 1`, trail)
	if errors.Is(err, notary.ErrNotFound) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("read the last seal: %w", err)
	}
	return &s, nil
}

func (db *conn) addSeal(ctx context.Context, tx *sqlx.Tx, s people.TrailSeal, events []people.AuditEvent) error {
	// The row comes first: a server that begins the same seal waits for it here, and is refused.
	s.RecordID, s.Record, s.CreatedAt = "", "", db.now()
	if err := trailSeals.add(ctx, tx, "add a seal", s, "", nil); err != nil {
		return err
	}
	for part := range slices.Chunk(events, 500) {
		ids := make([]string, len(part))
		for i, e := range part {
			ids[i] = e.ID
		}
		if err := run(ctx, tx, "mark sealed events", `UPDATE audit SET seal = ? WHERE id IN (?)`, s.Number,
			ids); err != nil {
			return err
		}
	}
	return nil
}

// FinishSeal implements [people.SealStore].
func (db *People) FinishSeal(ctx context.Context, s people.TrailSeal) error {
	return run(ctx, db.write, "finish a seal",
		`UPDATE audit_seals SET record_id = $1, record_number = $2, agency_id = $3, document = NULL
		WHERE trail = $4 AND number = $5 AND record_id = ''`, s.RecordID, s.Record, s.AgencyID, s.Trail, s.Number)
}

// Seals implements [people.SealStore].
func (db *People) TrailSeals(ctx context.Context, trail string, before int64, limit int) ([]people.TrailSeal, error) {
	return trailSeals.list(ctx, db.read, "read seals",
		` WHERE trail = $1 AND ($2 = 0 OR number < $2) ORDER BY number DESC LIMIT $3`, trail, before, limit)
}

// SealIn implements console.Seals.
func (db *People) SealIn(ctx context.Context, number string) (people.TrailSeal, error) {
	// One that is no record yet has no number.
	return trailSeals.one(ctx, db.read, ` WHERE record_number = $1 AND record_number <> ''`, number)
}

// SealedEvents implements [people.SealedRows].
func (db *People) SealedEvents(ctx context.Context, trail string, number int64, after string, limit int) (
	[]people.AuditEvent, error) {
	return auditEvents.list(ctx, db.read, "read sealed events",
		` WHERE agency_id = $1 AND seal = $2 AND id > $3 ORDER BY id LIMIT $4`, trail, number, after, limit)
}

// AuditEvent implements [people.SealedRows].
func (db *People) AuditEvent(ctx context.Context, id string) (people.AuditEvent, error) {
	return auditEvents.one(ctx, db.read, ` WHERE id = $1`, id)
}

// SealMarks implements [people.SealedRows].
func (db *People) SealMarks(ctx context.Context) (map[string][]int64, error) {
	type mark struct {
		trail string
		seal  int64
	}
	marks, err := list(ctx, db.read, "list the seals of events",
		func(m *mark) []any { return []any{&m.trail, &m.seal} },
		`SELECT DISTINCT agency_id, seal FROM audit ORDER BY agency_id, seal`)
	out := map[string][]int64{}
	for _, m := range marks {
		out[m.trail] = append(out[m.trail], m.seal)
	}
	return out, err
}

// TrailRecords returns the records of sealed trails from an index on, in the order of the log.
func (db *People) TrailRecords(ctx context.Context, first uint64, limit int) ([]notary.Record, error) {
	return records.list(ctx, db.read, "list sealed trails",
		` WHERE class = '`+notary.TrailClass+`' AND idx >= $1 ORDER BY idx LIMIT $2`, int64(first), limit)
}
