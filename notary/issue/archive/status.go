package archive

import (
	"context"
	"errors"
	"fmt"

	"stele/crypto/signednote"
	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/log/follow"
	"stele/notary/proof"
	"stele/notary/proof/statement"
	"stele/notary/proof/status"
)

// Statuses finds what the log says of the standing of everything in it. It is safe for concurrent use.
//
// Newest is the newest status statement whose checkpoint, which ends with it, is anchored;
// [notary.ErrNotFound] where there is none. Map is that statement with its map; ok is false where
// this process has not followed the log up to it yet. Revocation is that of a certificate with a digest of its DER,
// and its entry.
type Statuses interface {
	Newest(ctx context.Context) (index uint64, under *AnchoredCheckpoint, err error)
	Map(index uint64) (s follow.Statement, ok bool)
	Revocation(ctx context.Context, certificate sm.Digest) (status.Revocation, statement.Entry, error)
}

// SetStatuses lets bundles show records' standing. It is called before the archive is used.
func (a *Archive) SetStatuses(s Statuses) { a.statuses = s }

// Current is [Archive.Bundle] with what the log says of the record's standing, where that can be shown: a record
// newer than the newest anchored status statement has none yet. Whatever the reason is, the bundle holds without.
func (a *Archive) Current(ctx context.Context, r notary.Record, show bool) ([]byte, error) {
	plain, err := a.Bundle(ctx, r, show)
	if err != nil {
		return nil, err
	}
	if out, err := a.withStatus(ctx, r, plain); err == nil {
		return out, nil
	}
	return plain, nil
}

// WithStatus is [Archive.Bundle] in version 2 with the newest status statement that is anchored: the bundle
// shows, offline and as of the time of that anchor, whether the record was revoked or replaced. Where there is
// none that covers the record yet, the error is not_ready.
func (a *Archive) WithStatus(ctx context.Context, r notary.Record, show bool) ([]byte, error) {
	plain, err := a.Bundle(ctx, r, show)
	if err != nil {
		return nil, err
	}
	return a.withStatus(ctx, r, plain)
}

// withStatus adds the status to a bundle of a record.
func (a *Archive) withStatus(ctx context.Context, r notary.Record, plain []byte) ([]byte, error) {
	b, err := proof.ParseBundle(plain)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOwnBundle, err)
	}
	if b.Status, err = a.status(ctx, r, b); err != nil {
		return nil, err
	}
	return a.showing(r, b, proof.StepStatus, "its standing")
}

var errNoStatus = notary.Errorf(notary.CodeNotReady, "The log has not said yet whether this record stands: it does so "+
	"about a minute after the record. Ask again then.")

func (a *Archive) status(ctx context.Context, r notary.Record, b *proof.Bundle) (*proof.StatusProof, error) {
	if a.statuses == nil {
		return nil, errNoStatus
	}
	index, under, err := a.statuses.Newest(ctx)
	if errors.Is(err, notary.ErrNotFound) {
		return nil, errNoStatus
	}
	if err != nil {
		return nil, unavailable(err)
	}
	s, ok := a.statuses.Map(index)
	if !ok || r.Index >= index {
		return nil, errNoStatus
	}
	head, err := a.store.Head(ctx)
	if err != nil {
		return nil, unavailable(err)
	}
	at, err := a.placed(ctx, head, index, s, under)
	if errors.Is(err, proof.ErrKeyNotValid) {
		return nil, errNoStatus
	}
	if err != nil {
		return nil, err
	}
	p := &proof.StatusProof{Statement: at.Statement, Signature: at.Signature, Key: at.Key, Log: at.Log,
		Anchors: at.Anchors}
	if p.RecordPath, err = a.path(ctx, r.Index, under.Size, head.Size); err != nil {
		return nil, err
	}
	said, err := statement.Parse(b.Statement)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOwnBundle, err)
	}
	p.Record.Proof = s.Map.Map.Prove(status.RecordKey(r.Number, said.Agency.Code))
	if p.Record.Proof.Present() {
		if r.Standing == notary.Valid { // it was read before it ended
			return nil, errNoStatus
		}
		p.Record.Value = status.Ended{Superseded: r.Standing == notary.Superseded, Index: r.StandingIndex}.Text()
	}
	p.Certificate, err = a.provenCertificate(ctx, s, sm.Sum(b.Certificates[0]))
	return p, err
}

// provenCertificate shows what the map has of a certificate, with the revocation where there is one.
func (a *Archive) provenCertificate(ctx context.Context, s follow.Statement, certificate sm.Digest) (
	p proof.CertificateProof, err error) {
	p.Proof = s.Map.Map.Prove(status.CertificateKey(certificate))
	if !p.Proof.Present() {
		return p, nil
	}
	r, e, err := a.statuses.Revocation(ctx, certificate)
	if err != nil {
		return p, unavailable(err)
	}
	p.Value, p.Statement, p.Signature = r.Text(), e.Statement, e.Signature
	return p, nil
}

// logKey is the text of the log's key with this digest.
func (a *Archive) logKey(origin string, digest sm.Digest) (string, error) {
	for _, k := range a.trust.LogKeys(origin) {
		if text := signednote.FormatKey(k.Name(), k.Key()); sm.Sum([]byte(text)) == digest {
			return text, nil
		}
	}
	return "", fmt.Errorf("%w: a status statement is signed with a key that is not the log's", ErrOwnBundle)
}
