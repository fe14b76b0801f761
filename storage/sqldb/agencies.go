package sqldb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/register/intake"
)

var agencies = newTable("agencies", func(a *notary.Agency) []column {
	return []column{{"id", &a.ID}, {"code", &a.Code}, {"name", &a.Name}, {"region", &a.Region},
		{"key_at_home", &a.ExternalKey}, {"created_at", moment{&a.CreatedAt}}, {"state", &a.State},
		{"state_since", moment{&a.StateSince}}}
})

// certificate is one and whose it is.
type certificate struct {
	notary.Certificate
	AgencyID string
}

var certificates = newTable("certificates", func(c *certificate) []column {
	return []column{{"fingerprint", digest(&c.Fingerprint)}, {"agency_id", &c.AgencyID}, {"chain", pem(&c.Chain)},
		{"created_at", moment{&c.CreatedAt}}, {"ended_at", ending{moment{&c.EndedAt}}},
		{"ended_reason", &c.EndedReason}}
})

var sealedKeys = newTable("agency_keys", func(k *notary.SealedKey) []column {
	return []column{{"public", &k.Public}, {"agency_id", &k.AgencyID}, {"sealed", text{&k.Sealed}},
		{"created_at", moment{&k.CreatedAt}}}
})

// AddAgency adds an agency with its first certificate chain (signer first, root last) and its
// sealed key, nil where it keeps the key at home, all together or not at all.
func (db *Log) AddAgency(ctx context.Context, a notary.Agency, chain [][]byte, key *notary.SealedKey) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		if err := addAgency(ctx, tx, a, ""); err != nil {
			return err
		}
		return db.addCertificate(ctx, tx, a.ID, chain, key)
	})
}

// addAgency adds one that is active.
func addAgency(ctx context.Context, tx *sqlx.Tx, a notary.Agency, conflict string) error {
	a.State, a.StateSince = notary.AgencyActive, time.Time{}
	return agencies.add(ctx, tx, "add agency", a, conflict, nil)
}

// addCertificate adds a certificate chain and, where it is for a new key that is kept here, that key.
func (db *conn) addCertificate(ctx context.Context, tx *sqlx.Tx, agencyID string, chain [][]byte,
	key *notary.SealedKey) error {
	c := certificate{notary.Certificate{Fingerprint: sm.Sum(chain[0]), Chain: chain, CreatedAt: db.now()}, agencyID}
	if err := certificates.add(ctx, tx, "add certificate", c, "", nil); err != nil || key == nil {
		return err
	}
	return db.addSealedKey(ctx, tx, *key)
}

// ErrDecided means that somebody else has decided about an agency meanwhile: look again.
var ErrDecided = errors.New("the agency's certificate has changed meanwhile")

// AddCertificate adds a certificate chain for the key that the agency has; it becomes the one that
// signs. former is the certificate that signs now, of the same key: where it signs no more,
// [ErrDecided] is returned, so that a key which was replaced does not come back. A zero one is not
// looked at.
func (db *Log) AddCertificate(ctx context.Context, agencyID string, former sm.Digest, chain [][]byte) error {
	return db.decide(ctx, agencyID, func(tx *sqlx.Tx, a notary.Agency) error {
		if err := stillPresent(ctx, tx, a, former); err != nil {
			return err
		}
		return db.addCertificate(ctx, tx, agencyID, chain, nil)
	})
}

// ofPresent leads to the certificate with which an agency signs: the newest one that has not ended.
const ofPresent = ` FROM certificates WHERE agency_id = $1 AND ended_at IS NULL ORDER BY created_at DESC LIMIT 1`

// stillPresent checks that an agency is not closed and that a certificate is the one with which it
// signs; a zero one is not looked at.
func stillPresent(ctx context.Context, tx *sqlx.Tx, a notary.Agency, former sm.Digest) error {
	if a.State == notary.AgencyClosed {
		return fmt.Errorf("agency %s is closed", a.Code)
	}
	if former == (sm.Digest{}) {
		return nil
	}
	present, err := one(ctx, tx, itself[[]byte], `SELECT fingerprint`+ofPresent, a.ID)
	if err != nil && !errors.Is(err, notary.ErrNotFound) {
		return err
	}
	if !bytes.Equal(present, former[:]) {
		return fmt.Errorf("%w: agency %s", ErrDecided, a.Code)
	}
	return nil
}

// ReplaceCertificate adds a certificate chain to an agency and ends all that it had: they count no
// more from a time on. A key replaces those that the database has; nil leaves them. A name that is
// not empty becomes the agency's. former is as for [DB.AddCertificate]. It waits for the log's lock, so when it has
// returned, no statement that names a former certificate becomes an entry any more, on whatever server.
func (db *Log) ReplaceCertificate(ctx context.Context, agencyID, name string, former sm.Digest, chain [][]byte,
	key *notary.SealedKey, since time.Time, why notary.EndReason) error {
	return db.decide(ctx, agencyID, func(tx *sqlx.Tx, a notary.Agency) error {
		if err := stillPresent(ctx, tx, a, former); err != nil {
			return err
		}
		if err := endCertificates(ctx, tx, since, why, "agency_id", a.ID); err != nil {
			return err
		}
		if key != nil {
			if err := run(ctx, tx, "remove the former key", `DELETE FROM agency_keys WHERE agency_id = $1`,
				a.ID); err != nil {
				return err
			}
		}
		if name != "" {
			a.Name = name
			if err := agencies.update(ctx, tx, "rename the agency", a, "name", "id"); err != nil {
				return err
			}
		}
		return db.addCertificate(ctx, tx, a.ID, chain, key)
	})
}

// endCertificates ends those whose column has a value, as far as they have not ended before.
func endCertificates(ctx context.Context, tx *sqlx.Tx, since time.Time, why notary.EndReason, column string,
	value any) error {
	return run(ctx, tx, "end certificates",
		`UPDATE certificates SET ended_at = $1, ended_reason = $2 WHERE `+column+` = $3 AND ended_at IS NULL`,
		micros(since), why, value)
}

// decide changes what holds for an agency, under the log's lock: every transaction that receives
// statements comes before it or sees what was decided.
func (db *conn) decide(ctx context.Context, agencyID string, change func(tx *sqlx.Tx, a notary.Agency) error) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		if _, err := db.lockLog(ctx, tx); err != nil {
			return err
		}
		a, err := agencies.one(ctx, tx, ` WHERE id = $1`, agencyID)
		if err != nil {
			return err
		}
		return change(tx, a)
	})
}

// SetAgencyState suspends or resumes an agency. A closed one stays closed. It waits for the log's
// lock, see [DB.ReplaceCertificate].
func (db *Log) SetAgencyState(ctx context.Context, agencyID string, state notary.AgencyState) error {
	return db.decide(ctx, agencyID, func(tx *sqlx.Tx, a notary.Agency) error {
		if a.State == notary.AgencyClosed {
			return fmt.Errorf("agency %s is closed, which is for ever", a.Code)
		}
		return db.setState(ctx, tx, a, state)
	})
}

func (db *conn) setState(ctx context.Context, tx *sqlx.Tx, a notary.Agency, state notary.AgencyState) error {
	if a.State == state {
		return nil
	}
	a.State, a.StateSince = state, db.now()
	return agencies.update(ctx, tx, "change the agency's state", a, "state state_since", "id")
}

// CloseAgency closes an agency for ever: its certificates, keys, API keys, invitations and
// sessions end, and its people cannot sign in any more. It waits for the log's lock, see
// [DB.ReplaceCertificate].
func (db *Log) CloseAgency(ctx context.Context, agencyID string) error {
	return db.decide(ctx, agencyID, func(tx *sqlx.Tx, a notary.Agency) error {
		now := micros(db.now())
		if err := db.setState(ctx, tx, a, notary.AgencyClosed); err != nil {
			return err
		}
		if err := endCertificates(ctx, tx, fromMicros(now), notary.EndClosed, "agency_id", a.ID); err != nil {
			return err
		}
		for _, q := range []struct {
			what, sql string
			args      []any
		}{
			{"remove the agency's key", `DELETE FROM agency_keys WHERE agency_id = $1`, []any{a.ID}},
			{"end the agency's API keys",
				`UPDATE api_keys SET revoked_at = $2 WHERE agency_id = $1 AND revoked_at IS NULL`, []any{a.ID, now}},
			{"disable the agency's people",
				`UPDATE users SET disabled_at = $2 WHERE agency_id = $1 AND disabled_at = 0`, []any{a.ID, now}},
			{"end the people's invitations",
				`DELETE FROM invitations WHERE user_id IN (SELECT id FROM users WHERE agency_id = $1)`, []any{a.ID}},
			{"end the people's sessions",
				`DELETE FROM sessions WHERE user_id IN (SELECT id FROM users WHERE agency_id = $1)`, []any{a.ID}},
		} {
			if err := run(ctx, tx, q.what, q.sql, q.args...); err != nil {
				return err
			}
		}
		return nil
	})
}

// Agency finds an agency by id or credit code.
func (db *Log) Agency(ctx context.Context, idOrCode string) (notary.Agency, error) {
	return agencies.one(ctx, db.read, ` WHERE id = $1 OR code = $1`, idOrCode)
}

// Agencies lists all agencies by name.
func (db *Log) Agencies(ctx context.Context) ([]notary.Agency, error) {
	return agencies.list(ctx, db.read, "list agencies", ` ORDER BY name, id`)
}

// Certificates lists those that an agency has had, the newest first.
func (db *Log) Certificates(ctx context.Context, agencyID string) ([]notary.Certificate, error) {
	l, err := certificates.list(ctx, db.read, "list certificates", ` WHERE agency_id = $1 ORDER BY created_at DESC`,
		agencyID)
	out := make([]notary.Certificate, len(l))
	for i, c := range l {
		out[i] = c.Certificate
	}
	return out, err
}

// PresentCertificates are those with which agencies sign, by the agency's id; an agency whose
// certificates have all ended is not in it.
func (db *Log) PresentCertificates(ctx context.Context) (map[string]notary.Certificate, error) {
	l, err := certificates.list(ctx, db.read, "list certificates", ` WHERE ended_at IS NULL ORDER BY created_at`)
	out := map[string]notary.Certificate{}
	for _, c := range l {
		out[c.AgencyID] = c.Certificate // the newest one comes last
	}
	return out, err
}

// CertificateChain returns the newest certificate chain of an agency that has not ended, signer first.
func (db *Log) CertificateChain(ctx context.Context, agencyID string) ([][]byte, error) {
	return one(ctx, db.read, func(chain *[][]byte) []any { return []any{pem(chain)} }, `SELECT chain`+ofPresent,
		agencyID)
}

// SigningState reads an agency's state and the fingerprint of the certificate with which it signs,
// zero where all have ended: what a signer is compared with that was loaded before.
func (db *Log) SigningState(ctx context.Context, agencyID string) (notary.AgencyState, sm.Digest, error) {
	var state notary.AgencyState
	var present []byte
	_, err := one(ctx, db.read, func(*struct{}) []any { return []any{&state, &present} },
		`SELECT state, (SELECT fingerprint FROM certificates WHERE agency_id = agencies.id AND ended_at IS NULL
		ORDER BY created_at DESC LIMIT 1) FROM agencies WHERE id = $1`, agencyID)
	var fp sm.Digest
	copy(fp[:], present)
	return state, fp, err
}

// signersOf are the agencies of items, by id, with what they may sign with: one query for a group. An agency
// that is not there has no entry.
func signersOf(ctx context.Context, tx *sqlx.Tx, items []*intake.Item) (map[string]*intake.Permit, error) {
	seen := map[string]bool{}
	for _, it := range items {
		seen[it.Record.AgencyID] = true
	}
	type row struct {
		id          string
		state       notary.AgencyState
		certificate []byte
	}
	found, err := listIn(ctx, tx, "look up who may sign",
		func(r *row) []any { return []any{&r.id, &r.state, &r.certificate} },
		`SELECT a.id, a.state, c.fingerprint FROM agencies a LEFT JOIN certificates c ON c.agency_id = a.id `+
			`AND c.ended_at IS NULL WHERE a.id IN (?)`, slices.Collect(maps.Keys(seen)))
	known := map[string]*intake.Permit{}
	for _, r := range found {
		if known[r.id] == nil {
			known[r.id] = &intake.Permit{State: r.state, Certificates: map[sm.Digest]bool{}}
		}
		if len(r.certificate) == sm.DigestSize {
			known[r.id].Certificates[sm.Digest(r.certificate)] = true
		}
	}
	return known, err
}

// SealedKey finds an agency's sealed private key by its public one.
func (db *Log) SealedKey(ctx context.Context, agencyID string, public []byte) (notary.SealedKey, error) {
	return sealedKeys.one(ctx, db.read, ` WHERE public = $1 AND agency_id = $2`, public, agencyID)
}

// SealedKeys lists all agencies' sealed keys.
func (db *Log) SealedKeys(ctx context.Context) ([]notary.SealedKey, error) {
	return sealedKeys.list(ctx, db.read, "list agencies' keys", ` ORDER BY created_at, public`)
}

// AddSealedKey adds an agency's sealed key; one that is there already stays as it is.
func (db *Log) AddSealedKey(ctx context.Context, k notary.SealedKey) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error { return db.addSealedKey(ctx, tx, k) })
}

func (db *conn) addSealedKey(ctx context.Context, tx *sqlx.Tx, k notary.SealedKey) error {
	k.CreatedAt = db.now()
	return sealedKeys.add(ctx, tx, "add an agency's key", k, ` ON CONFLICT (public) DO NOTHING`, nil)
}

var errResealed = errors.New("an agency's key changed meanwhile: nothing was changed in the database, do it again")

// ResealKeys gives sealed keys other seals, all of them or none. It fails if a key's seal is not
// the one that it was made from: somebody else was here.
func (db *Log) ResealKeys(ctx context.Context, from, to []notary.SealedKey) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		for i, k := range from {
			if !bytes.Equal(k.Public, to[i].Public) {
				return errors.New("the keys are not the same")
			}
			if err := execOne(ctx, tx, "reseal an agency's key", errResealed,
				`UPDATE agency_keys SET sealed = $1 WHERE public = $2 AND sealed = $3`, string(to[i].Sealed), k.Public,
				string(k.Sealed)); err != nil {
				return err
			}
		}
		return nil
	})
}
