package sqldb

import (
	"context"

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
	given(&w, "about = ?", f.About)
	given(&w, "id < ?", f.Before)
	given(&w, "at >= ?", micros(f.From))
	given(&w, "at < ?", micros(f.To))
	return auditEvents.page(ctx, db.read, "read the audit trail", w, "id DESC", f.Limit)
}

// SignedInFrom implements [people.AuditLog].
func (db *People) SignedInFrom(ctx context.Context, userID, network string) (bool, error) {
	return value[bool](ctx, db.read, "read the audit trail",
		`SELECT EXISTS (SELECT 1 FROM audit WHERE user_id = $1 AND network = $2 AND act = 'sign_in')`, userID, network)
}
