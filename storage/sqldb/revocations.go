package sqldb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"

	"stele/crypto/pki"
	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/proof/statement"
	"stele/notary/proof/status"
)

// revocation is a row.
type revocation struct {
	Certificate sm.Digest
	status.Revocation
}

var revocations = newTable("certificate_revocations", func(r *revocation) []column {
	return []column{{"fingerprint", digest(&r.Certificate)}, {"idx", &r.Index}, {"reason", &r.Reason},
		{"since", moment{&r.Since}}}
})

// RevocationList is a certificate revocation list (RFC 5280 section 5).
type RevocationList struct {
	Issuer sm.Digest // SM3 of the certificate whose key signed
	Number uint64
	pki.SignedList
}

var revocationLists = newTable("revocation_lists", func(l *RevocationList) []column {
	return []column{{"issuer", digest(&l.Issuer)}, {"number", &l.Number}, {"der", &l.Standard},
		{"no_id", &l.NoID}}
})

// RevocationList is the newest list of an issuer, [notary.ErrNotFound] where there is none.
func (db *Log) RevocationList(ctx context.Context, issuer sm.Digest) (RevocationList, error) {
	return revocationLists.one(ctx, db.read, ` WHERE issuer = $1 ORDER BY number DESC LIMIT 1`, issuer[:])
}

// Revocation finds the entry that revokes a certificate, [notary.ErrNotFound] where there is none.
func (db *Log) Revocation(ctx context.Context, certificate sm.Digest) (status.Revocation, statement.Entry, error) {
	r, err := revocations.one(ctx, db.read, ` WHERE fingerprint = $1`, certificate[:])
	if err != nil {
		return r.Revocation, statement.Entry{}, err
	}
	list, err := entriesOf(ctx, db.read, r.Index, r.Index+1)
	if err == nil && len(list) == 0 {
		err = fmt.Errorf("entry %d, which revokes a certificate, is missing; run stele fsck", r.Index)
	}
	if err != nil {
		return r.Revocation, statement.Entry{}, err
	}
	return r.Revocation, list[0], nil
}

// ErrListed means that the issuer has made another list meanwhile.
var ErrListed = errors.New("a newer revocation list was submitted meanwhile: make the request anew")

// RevokeCertificates enters revocations into the log, ends the certificates that they speak of, and keeps the list
// that says the same, all together or not at all. keys are the public keys of these certificates whose private
// halves go, if they are kept here. The list's number must be the next one of its issuer, else [ErrListed].
//
// It waits for the log's lock: when it has returned, no statement that names one of the certificates becomes an
// entry any more, on whatever server. It returns the index of the first entry.
func (db *Log) RevokeCertificates(ctx context.Context, entries []statement.Entry, list RevocationList,
	keys [][]byte) (first uint64, err error) {
	var now logRow
	err = db.tx(ctx, func(tx *sqlx.Tx) error {
		log, err := db.lockLog(ctx, tx)
		if err != nil {
			return err
		}
		now = log
		last, err := revocationLists.one(ctx, tx, ` WHERE issuer = $1 ORDER BY number DESC LIMIT 1`, list.Issuer[:])
		if err != nil && !errors.Is(err, notary.ErrNotFound) {
			return err
		}
		if list.Number != last.Number+1 {
			return ErrListed
		}
		if err := revocationLists.add(ctx, tx, "keep a revocation list", list, "", nil); err != nil {
			return err
		}
		for _, key := range keys {
			if err := run(ctx, tx, "remove a revoked certificate's key", `DELETE FROM agency_keys WHERE public = $1`,
				key); err != nil {
				return err
			}
		}
		if len(entries) == 0 {
			return nil
		}
		for i, e := range entries {
			if err := addOfNoRecord(ctx, tx, log.Received+int64(i), e); err != nil {
				return err
			}
		}
		if err := endKeys(ctx, tx, keys, db.now()); err != nil {
			return err
		}
		n := int64(len(entries))
		if err := advance(ctx, tx, n); err != nil {
			return err
		}
		now.Received, now.Events = log.Received+n, log.Events+1
		return db.event(ctx, tx, log.Events, kindReceived, log.Received, now.Received-1)
	})
	if err != nil {
		return 0, err
	}
	return uint64(now.Received) - uint64(len(entries)), db.high.saw(logRow{}, now)
}

// endKeys ends all certificates of compromised keys, also one that was made since the revocation was asked for.
func endKeys(ctx context.Context, tx *sqlx.Tx, keys [][]byte, at time.Time) error {
	if len(keys) == 0 {
		return nil
	}
	open, err := certificates.list(ctx, tx, "read certificates", ` WHERE ended_at IS NULL`)
	if err != nil {
		return err
	}
	for _, c := range open {
		cert, err := pki.Parse(c.Chain[0])
		if err != nil {
			return err
		}
		public := cert.PublicKey().Bytes()
		if !slices.ContainsFunc(keys, func(key []byte) bool { return bytes.Equal(key, public) }) {
			continue
		}
		if err := endCertificates(ctx, tx, at, notary.EndLeaked, "fingerprint", c.Fingerprint[:]); err != nil {
			return err
		}
	}
	return nil
}

// endOf is why a certificate signs nothing more, by the reason for which it was revoked.
var endOf = map[string]notary.EndReason{status.KeyCompromise: notary.EndLeaked,
	status.Superseded: notary.EndReplaced, status.CessationOfOperation: notary.EndClosed}

// keepRevocation lists a certificate that an entry revokes, unless an earlier one does, and ends it.
func keepRevocation(ctx context.Context, tx *sqlx.Tx, index int64, text []byte) error {
	said, err := status.ParseCertificateRevocation(text)
	if err != nil {
		return err
	}
	r := revocation{said.Certificate, status.Revocation{Reason: said.Reason, Since: said.Since, Index: uint64(index)}}
	if err := revocations.add(ctx, tx, "list a revoked certificate", r, ` ON CONFLICT (fingerprint) DO NOTHING`,
		nil); err != nil {
		return err
	}
	return endCertificates(ctx, tx, said.Since, endOf[said.Reason], "fingerprint", said.Certificate[:])
}
