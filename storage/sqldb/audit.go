package sqldb

import (
	"context"
	"fmt"
	"time"

	"stele/notary/office/people"
)

var auditEvents = newTable("audit", func(e *people.AuditEvent) []column {
	return []column{{"id", &e.ID}, {"at", moment{&e.At}}, {"agency_id", &e.AgencyID}, {"user_id", &e.UserID},
		{"login", &e.Login}, {"role", &e.Role}, {"act", &e.Act}, {"about", &e.About}, {"detail", &e.Detail},
		{"network", &e.Network}, {"outcome", &e.Outcome}, {"form", maybe{&e.Form}}, {"seal", &e.Seal},
		{"coalesce((SELECT record_number FROM audit_seals s WHERE s.trail = audit.agency_id AND " +
			"s.number = audit.seal), '')", computed{&e.SealedIn}}}
})

// Note implements [people.AuditLog].
func (db *People) Note(ctx context.Context, e people.AuditEvent) error {
	e.Seal = 0
	return auditEvents.add(ctx, db.write, "write the audit trail", e, ` ON CONFLICT (form) DO NOTHING`,
		people.ErrRepeated)
}

// AuditEvents implements [people.AuditLog].
func (db *People) AuditEvents(ctx context.Context, f people.AuditFilter) ([]people.AuditEvent, error) {
	var w where
	given(&w, "agency_id = ?", f.AgencyID)
	given(&w, "login = ?", f.Login)
	given(&w, "act = ?", string(f.Act))
	given(&w, "about = ? AND about <> ''", f.About) // the second condition is the index's own
	given(&w, "id < ?", f.Before)
	// Identifiers begin with their time, so they narrow the search: there is no index by time.
	if !f.From.IsZero() {
		w.and("at >= ? AND id >= ?", micros(f.From), idAt(f.From.Add(-idSlack)))
	}
	if !f.To.IsZero() {
		w.and("at < ? AND id < ?", micros(f.To), idAt(f.To.Add(idSlack)))
	}
	return auditEvents.page(ctx, db.read, "read the audit trail", w, "id DESC", f.Limit)
}

// idSlack is more than can lie between the time of a line and that in its identifier.
const idSlack = 10 * time.Minute

// idAt is smaller than every identifier (UUID version 7, RFC 9562 section 5.7) of a time or later, and larger than
// those of before.
func idAt(at time.Time) string {
	ms := fmt.Sprintf("%012x", max(0, at.UnixMilli()))
	return ms[:8] + "-" + ms[8:]
}

// SignedInFrom implements [people.AuditLog].
func (db *People) SignedInFrom(ctx context.Context, userID, network string) (bool, error) {
	return value[bool](ctx, db.read, "read the audit trail",
		`SELECT EXISTS (SELECT 1 FROM audit WHERE user_id = $1 AND network = $2 AND act = 'sign_in')`, userID, network)
}
