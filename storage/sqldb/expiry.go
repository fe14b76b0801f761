package sqldb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jmoiron/sqlx"

	"stele/crypto/pki"
	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/office/webhook"
)

// TellExpiry tells an agency, among its other events, that the certificate with this fingerprint ends at that time, if
// one of [webhook.ExpirySteps] has come that nobody has told yet. Of each certificate every step is told once, in
// order, however many servers ask and however their clocks differ: a step that was passed over is not told later. It
// is told of the certificate alone with which the agency signs, so nothing follows a renewal.
//
// It costs a question while there is nothing to tell. Whether there is is decided again under the log's lock, in the
// transaction that writes the event: a crash before its commit leaves nothing, and the next call tells it.
func (db *Webhooks) TellExpiry(ctx context.Context, agencyID string, certificate sm.Digest, ends time.Time) error {
	due, _, err := db.expiryDue(ctx, db.read, agencyID, certificate, ends)
	if err != nil || !due {
		return err
	}
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		if _, err := db.lockLog(ctx, tx); err != nil { // who changes certificates waits for it too
			return err
		}
		due, left, err := db.expiryDue(ctx, tx, agencyID, certificate, ends)
		if err != nil || !due {
			return err
		}
		return db.notice(ctx, tx, kindExpiring, agencyID, certificate.String(), "", strconv.Itoa(left))
	})
}

// expiryDue reports whether an agency is to be told of its certificate's end, and how many days are left.
func (db *conn) expiryDue(ctx context.Context, q handle, agencyID string, certificate sm.Digest, ends time.Time) (
	due bool, left int, err error) {
	left = webhook.DaysLeft(ends, db.now())
	step, due := webhook.ExpiryStep(left)
	if !due {
		return false, left, nil
	}
	present, err := one(ctx, q, itself[[]byte], `SELECT fingerprint`+ofPresent, agencyID)
	if errors.Is(err, notary.ErrNotFound) || err == nil && !bytes.Equal(present, certificate[:]) {
		return false, left, nil
	} else if err != nil {
		return false, left, err
	}
	told, err := list(ctx, q, "look for what was told of a certificate", itself[string],
		`SELECT reason FROM webhook_notices WHERE agency_id = $1 AND endpoint_id = $2`, agencyID, certificate.String())
	for _, text := range told {
		days, err := strconv.Atoi(text)
		if err != nil {
			return false, left, fmt.Errorf("notice of certificate %s: want a number of days: %w", certificate, err)
		}
		if before, _ := webhook.ExpiryStep(days); before <= step {
			return false, left, nil
		}
	}
	return err == nil, left, err
}

// expiryNotice reads what the row of a notice about a certificate says. When it ends is in the certificate itself,
// whose row stays whatever becomes of it.
func expiryNotice(ctx context.Context, q handle, n webhook.Notice) (webhook.Notice, error) {
	fingerprint, err := sm.ParseDigest(n.Subject)
	if err != nil {
		return n, err
	}
	if n.DaysLeft, err = strconv.Atoi(n.Reason); err != nil {
		return n, fmt.Errorf("want a number of days: %w", err)
	}
	c, err := certificates.one(ctx, q, ` WHERE fingerprint = $1`, fingerprint[:])
	if err != nil {
		return n, fmt.Errorf("certificate %s: %w", n.Subject, err)
	}
	cert, err := pki.Parse(c.Chain[0])
	if err != nil {
		return n, fmt.Errorf("certificate %s: %w", n.Subject, err)
	}
	n.Reason, n.Ends = "", cert.NotAfter()
	return n, nil
}
