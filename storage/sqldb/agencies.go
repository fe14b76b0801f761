package sqldb

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"

	"stele/crypto/pki"
	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/intake"
)

type agencyRow struct {
	ID         string `db:"id"`
	Code       string `db:"code"`
	Name       string `db:"name"`
	Region     string `db:"region"`
	KeyAtHome  bool   `db:"key_at_home"`
	CreatedAt  int64  `db:"created_at"`
	State      string `db:"state"`
	StateSince int64  `db:"state_since"`
}

func (r agencyRow) agency() notary.Agency {
	return notary.Agency{ID: r.ID, Code: r.Code, Name: r.Name, Region: r.Region, KeyAtHome: r.KeyAtHome,
		CreatedAt: fromMicros(r.CreatedAt), State: notary.AgencyState(r.State), StateSince: fromMicros(r.StateSince)}
}

const selectAgency = `SELECT id, code, name, region, key_at_home, created_at, state, state_since FROM agencies`

// AddAgency adds an agency with its first certificate chain (signer first, root last) and its
// sealed key, nil where it keeps the key at home, all together or not at all.
func (db *DB) AddAgency(ctx context.Context, a notary.Agency, chain [][]byte, key *notary.SealedKey) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO agencies (id, code, name, region, key_at_home, created_at) VALUES ($1, $2, $3, $4, $5, $6)`,
			a.ID, a.Code, a.Name, a.Region, a.KeyAtHome, micros(a.CreatedAt)); err != nil {
			return fmt.Errorf("add agency: %w", err)
		}
		return db.addCertificate(ctx, tx, a.ID, chain, key)
	})
}

// addCertificate adds a certificate chain and, where it is for a new key that is kept here, that key.
func (db *DB) addCertificate(ctx context.Context, tx *sqlx.Tx, agencyID string, chain [][]byte, key *notary.SealedKey) error {
	fp := sm.Sum(chain[0])
	if _, err := tx.ExecContext(ctx, `INSERT INTO certificates (fingerprint, agency_id, chain, created_at) VALUES ($1, $2, $3, $4)`,
		fp[:], agencyID, string(pki.EncodePEM(chain...)), micros(db.now())); err != nil {
		return fmt.Errorf("add certificate: %w", err)
	}
	if key == nil {
		return nil
	}
	return db.addSealedKey(ctx, tx, *key)
}

// ErrDecided means that somebody else has decided about an agency meanwhile: look again.
var ErrDecided = errors.New("the agency's certificate has changed meanwhile")

// AddCertificate adds a certificate chain for the key that the agency has; it becomes the one that
// signs. former is the certificate that signs now, of the same key: where it signs no more,
// [ErrDecided] is returned, so that a key which was replaced does not come back. A zero one is not
// looked at.
func (db *DB) AddCertificate(ctx context.Context, agencyID string, former sm.Digest, chain [][]byte) error {
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
	var present []byte
	err := tx.GetContext(ctx, &present, `SELECT fingerprint`+ofPresent, a.ID)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if !bytes.Equal(present, former[:]) {
		return fmt.Errorf("%w: agency %s", ErrDecided, a.Code)
	}
	return nil
}

// ReplaceCertificate adds a certificate chain to an agency and ends all that it had: they count no
// more from a time on. A key replaces those that the database has; nil leaves them. A name that is
// not empty becomes the agency's. former is as for [DB.AddCertificate]. It waits for the log's lock, so when it has returned, no
// statement that names a former certificate becomes an entry any more, on whatever server.
func (db *DB) ReplaceCertificate(ctx context.Context, agencyID, name string, former sm.Digest, chain [][]byte,
	key *notary.SealedKey, since time.Time, why notary.EndReason) error {
	return db.decide(ctx, agencyID, func(tx *sqlx.Tx, a notary.Agency) error {
		if err := stillPresent(ctx, tx, a, former); err != nil {
			return err
		}
		if err := endCertificates(ctx, tx, a.ID, since, why); err != nil {
			return err
		}
		if key != nil {
			if _, err := tx.ExecContext(ctx, `DELETE FROM agency_keys WHERE agency_id = $1`, a.ID); err != nil {
				return fmt.Errorf("remove the former key: %w", err)
			}
		}
		if name != "" {
			if _, err := tx.ExecContext(ctx, `UPDATE agencies SET name = $1 WHERE id = $2`, name, a.ID); err != nil {
				return fmt.Errorf("rename the agency: %w", err)
			}
		}
		return db.addCertificate(ctx, tx, a.ID, chain, key)
	})
}

func endCertificates(ctx context.Context, tx *sqlx.Tx, agencyID string, since time.Time, why notary.EndReason) error {
	if _, err := tx.ExecContext(ctx, `UPDATE certificates SET ended_at = $1, ended_reason = $2 WHERE agency_id = $3 AND ended_at IS NULL`,
		micros(since), string(why), agencyID); err != nil {
		return fmt.Errorf("end the former certificates: %w", err)
	}
	return nil
}

// decide changes what holds for an agency, under the log's lock: every transaction that receives
// statements comes before it or sees what was decided.
func (db *DB) decide(ctx context.Context, agencyID string, change func(tx *sqlx.Tx, a notary.Agency) error) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		if _, err := db.lockLog(ctx, tx); err != nil {
			return fmt.Errorf("lock the log: %w", err)
		}
		var r agencyRow
		if err := tx.GetContext(ctx, &r, selectAgency+` WHERE id = $1`, agencyID); err != nil {
			return notFound(err)
		}
		return change(tx, r.agency())
	})
}

// SetAgencyState suspends or resumes an agency. A closed one stays closed. It waits for the log's
// lock, see [DB.ReplaceCertificate].
func (db *DB) SetAgencyState(ctx context.Context, agencyID string, state notary.AgencyState) error {
	return db.decide(ctx, agencyID, func(tx *sqlx.Tx, a notary.Agency) error {
		if a.State == notary.AgencyClosed {
			return fmt.Errorf("agency %s is closed, which is for ever", a.Code)
		}
		return db.setState(ctx, tx, a, state)
	})
}

func (db *DB) setState(ctx context.Context, tx *sqlx.Tx, a notary.Agency, state notary.AgencyState) error {
	if a.State == state {
		return nil
	}
	if _, err := tx.ExecContext(ctx, `UPDATE agencies SET state = $1, state_since = $2 WHERE id = $3`, string(state), micros(db.now()), a.ID); err != nil {
		return fmt.Errorf("change the agency's state: %w", err)
	}
	return nil
}

// CloseAgency closes an agency for ever: its certificates, keys, API keys, invitations and
// sessions end, and its people cannot sign in any more. It waits for the log's lock, see
// [DB.ReplaceCertificate].
func (db *DB) CloseAgency(ctx context.Context, agencyID string) error {
	return db.decide(ctx, agencyID, func(tx *sqlx.Tx, a notary.Agency) error {
		now := micros(db.now())
		if err := db.setState(ctx, tx, a, notary.AgencyClosed); err != nil {
			return err
		}
		if err := endCertificates(ctx, tx, a.ID, fromMicros(now), notary.EndClosed); err != nil {
			return err
		}
		for _, q := range []struct {
			what, sql string
			args      []any
		}{
			{"remove the agency's key", `DELETE FROM agency_keys WHERE agency_id = $1`, []any{a.ID}},
			{"end the agency's API keys", `UPDATE api_keys SET revoked_at = $2 WHERE agency_id = $1 AND revoked_at IS NULL`, []any{a.ID, now}},
			{"disable the agency's people", `UPDATE users SET disabled_at = $2 WHERE agency_id = $1 AND disabled_at = 0`, []any{a.ID, now}},
			{"end the people's invitations", `DELETE FROM invitations WHERE user_id IN (SELECT id FROM users WHERE agency_id = $1)`, []any{a.ID}},
			{"end the people's sessions", `DELETE FROM sessions WHERE user_id IN (SELECT id FROM users WHERE agency_id = $1)`, []any{a.ID}},
		} {
			if _, err := tx.ExecContext(ctx, q.sql, q.args...); err != nil {
				return fmt.Errorf("%s: %w", q.what, err)
			}
		}
		return nil
	})
}

// Agency finds an agency by id or credit code.
func (db *DB) Agency(ctx context.Context, idOrCode string) (notary.Agency, error) {
	var r agencyRow
	if !storable(idOrCode) {
		return notary.Agency{}, notary.ErrNotFound
	}
	err := db.read.GetContext(ctx, &r, selectAgency+` WHERE id = $1 OR code = $1`, idOrCode)
	return r.agency(), notFound(err)
}

// Agencies lists all agencies by name.
func (db *DB) Agencies(ctx context.Context) ([]notary.Agency, error) {
	var rows []agencyRow
	if err := db.read.SelectContext(ctx, &rows, selectAgency+` ORDER BY name, id`); err != nil {
		return nil, fmt.Errorf("list agencies: %w", err)
	}
	out := make([]notary.Agency, len(rows))
	for i, r := range rows {
		out[i] = r.agency()
	}
	return out, nil
}

type certificateRow struct {
	AgencyID    string        `db:"agency_id"`
	Fingerprint []byte        `db:"fingerprint"`
	Chain       string        `db:"chain"`
	CreatedAt   int64         `db:"created_at"`
	EndedAt     sql.NullInt64 `db:"ended_at"`
	EndedReason string        `db:"ended_reason"`
}

func (r certificateRow) certificate() (notary.Certificate, error) {
	chain, err := pki.DecodePEM([]byte(r.Chain), pki.MaxChain)
	if err != nil || len(r.Fingerprint) != sm.DigestSize {
		return notary.Certificate{}, errors.Join(err, errors.New("the row of a certificate is damaged"))
	}
	return notary.Certificate{Fingerprint: sm.Digest(r.Fingerprint), Chain: chain, CreatedAt: fromMicros(r.CreatedAt),
		EndedAt: fromMicros(r.EndedAt.Int64), EndedReason: notary.EndReason(r.EndedReason)}, nil
}

const selectCertificate = `SELECT agency_id, fingerprint, chain, created_at, ended_at, ended_reason FROM certificates`

// Certificates lists those that an agency has had, the newest first.
func (db *DB) Certificates(ctx context.Context, agencyID string) ([]notary.Certificate, error) {
	var rows []certificateRow
	if err := db.read.SelectContext(ctx, &rows, selectCertificate+` WHERE agency_id = $1 ORDER BY created_at DESC`, agencyID); err != nil {
		return nil, fmt.Errorf("list certificates: %w", err)
	}
	out := make([]notary.Certificate, len(rows))
	for i, r := range rows {
		var err error
		if out[i], err = r.certificate(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// PresentCertificates are those with which agencies sign, by the agency's id; an agency whose
// certificates have all ended is not in it.
func (db *DB) PresentCertificates(ctx context.Context) (map[string]notary.Certificate, error) {
	var rows []certificateRow
	if err := db.read.SelectContext(ctx, &rows, selectCertificate+` WHERE ended_at IS NULL ORDER BY created_at`); err != nil {
		return nil, fmt.Errorf("list certificates: %w", err)
	}
	out := map[string]notary.Certificate{}
	for _, r := range rows {
		c, err := r.certificate()
		if err != nil {
			return nil, err
		}
		out[r.AgencyID] = c // the newest one comes last
	}
	return out, nil
}

// CertificateChain returns the newest certificate chain of an agency that has not ended, signer first.
func (db *DB) CertificateChain(ctx context.Context, agencyID string) ([][]byte, error) {
	var text string
	if err := db.read.GetContext(ctx, &text, `SELECT chain`+ofPresent, agencyID); err != nil {
		return nil, notFound(err)
	}
	return pki.DecodePEM([]byte(text), pki.MaxChain)
}

// SigningState reads an agency's state and the fingerprint of the certificate with which it signs,
// zero where all have ended: what a signer is compared with that was loaded before.
func (db *DB) SigningState(ctx context.Context, agencyID string) (notary.AgencyState, sm.Digest, error) {
	var r struct {
		State       string `db:"state"`
		Fingerprint []byte `db:"fingerprint"`
	}
	err := db.read.GetContext(ctx, &r, `SELECT state, (SELECT fingerprint FROM certificates WHERE agency_id = agencies.id AND ended_at IS NULL
		ORDER BY created_at DESC LIMIT 1) AS fingerprint FROM agencies WHERE id = $1`, agencyID)
	if err != nil {
		return "", sm.Digest{}, notFound(err)
	}
	var fp sm.Digest
	copy(fp[:], r.Fingerprint)
	return notary.AgencyState(r.State), fp, nil
}

// signing is what an agency may sign with.
type signing struct {
	state        notary.AgencyState
	certificates map[sm.Digest]bool // that have not ended
}

// refusal is why nothing is received that names a certificate; nil where it may be. An agency that is not
// there is nil.
func (a *signing) refusal(certificate sm.Digest) error {
	if a == nil {
		return notary.ErrCertificateEnded
	}
	if err := a.state.Refusal(); err != nil {
		return err
	}
	if !a.certificates[certificate] {
		return notary.ErrCertificateEnded
	}
	return nil
}

// signersOf are the agencies of items, by id: one query for a group.
func (db *DB) signersOf(ctx context.Context, tx *sqlx.Tx, items []*intake.Item) (map[string]*signing, error) {
	seen := map[string]bool{}
	for _, it := range items {
		seen[it.Record.AgencyID] = true
	}
	ids := slices.Collect(maps.Keys(seen))
	known := map[string]*signing{} // an agency that is not there has no entry
	err := db.eachChunk(ids, func(list any, n int) error {
		var found []struct {
			ID          string `db:"id"`
			State       string `db:"state"`
			Fingerprint []byte `db:"fingerprint"`
		}
		query := `SELECT a.id, a.state, c.fingerprint FROM agencies a LEFT JOIN certificates c ON c.agency_id = a.id AND c.ended_at IS NULL WHERE a.id ` + db.in(n)
		if err := tx.SelectContext(ctx, &found, query, db.args(list)...); err != nil {
			return fmt.Errorf("look up who may sign: %w", err)
		}
		for _, f := range found {
			if known[f.ID] == nil {
				known[f.ID] = &signing{notary.AgencyState(f.State), map[sm.Digest]bool{}}
			}
			if len(f.Fingerprint) == sm.DigestSize {
				known[f.ID].certificates[sm.Digest(f.Fingerprint)] = true
			}
		}
		return nil
	})
	return known, err
}

type sealedKeyRow struct {
	Public    []byte `db:"public"`
	AgencyID  string `db:"agency_id"`
	Sealed    string `db:"sealed"`
	CreatedAt int64  `db:"created_at"`
}

func (r sealedKeyRow) key() notary.SealedKey {
	return notary.SealedKey{AgencyID: r.AgencyID, Public: r.Public, Sealed: []byte(r.Sealed), CreatedAt: fromMicros(r.CreatedAt)}
}

const selectSealedKey = `SELECT public, agency_id, sealed, created_at FROM agency_keys`

// SealedKey finds an agency's sealed private key by its public one.
func (db *DB) SealedKey(ctx context.Context, agencyID string, public []byte) (notary.SealedKey, error) {
	var r sealedKeyRow
	err := db.read.GetContext(ctx, &r, selectSealedKey+` WHERE public = $1 AND agency_id = $2`, public, agencyID)
	return r.key(), notFound(err)
}

// SealedKeys lists all agencies' sealed keys.
func (db *DB) SealedKeys(ctx context.Context) ([]notary.SealedKey, error) {
	var rows []sealedKeyRow
	if err := db.read.SelectContext(ctx, &rows, selectSealedKey+` ORDER BY created_at, public`); err != nil {
		return nil, fmt.Errorf("list agencies' keys: %w", err)
	}
	out := make([]notary.SealedKey, len(rows))
	for i, r := range rows {
		out[i] = r.key()
	}
	return out, nil
}

// AddSealedKey adds an agency's sealed key; one that is there already stays as it is.
func (db *DB) AddSealedKey(ctx context.Context, k notary.SealedKey) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error { return db.addSealedKey(ctx, tx, k) })
}

func (db *DB) addSealedKey(ctx context.Context, tx *sqlx.Tx, k notary.SealedKey) error {
	if _, err := tx.ExecContext(ctx, `INSERT INTO agency_keys (public, agency_id, sealed, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT (public) DO NOTHING`,
		k.Public, k.AgencyID, string(k.Sealed), micros(db.now())); err != nil {
		return fmt.Errorf("add an agency's key: %w", err)
	}
	return nil
}

// ResealKeys gives sealed keys other seals, all of them or none. It fails if a key's seal is not
// the one that it was made from: somebody else was here.
func (db *DB) ResealKeys(ctx context.Context, from, to []notary.SealedKey) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		for i, k := range from {
			if !bytes.Equal(k.Public, to[i].Public) {
				return errors.New("the keys are not the same")
			}
			res, err := tx.ExecContext(ctx, `UPDATE agency_keys SET sealed = $1 WHERE public = $2 AND sealed = $3`, string(to[i].Sealed), k.Public, string(k.Sealed))
			if err != nil {
				return fmt.Errorf("reseal an agency's key: %w", err)
			}
			if n, err := res.RowsAffected(); err != nil || n != 1 {
				return errors.Join(err, errors.New("an agency's key changed meanwhile: nothing was changed in the database, do it again"))
			}
		}
		return nil
	})
}
