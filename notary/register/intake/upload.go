package intake

import (
	"cmp"
	"context"
	"io"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/register/staging"
)

// Uploads has the files that were sent before their records, see package upload. Open returns
// one that is complete; until it is closed nobody else has it. Its errors, and those of reading, are for the caller.
// Remove has objects removed that an upload leaves which has ended. It is safe for concurrent use.
type Uploads interface {
	Open(ctx context.Context, agencyID, id string) (io.ReadCloser, notary.Uploaded, error)
	Remove(agencyID string, keys ...string)
}

// UploadGone is the answer to a record of an upload that ended meanwhile. Stores use it for outcomes.
func UploadGone() error {
	return notary.Errorf(notary.CodeConflict, "This upload was notarized already, or given up. Nothing was saved.")
}

// fromUpload takes an upload for the document: where it lies, if it does so in one, or joined.
func (t *taking) fromUpload(ctx context.Context, id string, size int64) error {
	d := &t.d
	key, hash := d.Idempotency, requestHash(*d, sm.Sum([]byte("upload\x00"), []byte(id)), 0)
	if key == "" {
		key = ofUpload + id
	}
	if err := t.replayUpload(ctx, key, hash, size); err != nil || t.known != nil {
		return err
	}
	body, known, err := t.in.uploads.Open(ctx, d.AgencyID, id)
	if err != nil {
		// It may be gone because the same request was here a moment ago.
		if rerr := t.replayUpload(ctx, key, hash, size); rerr != nil || t.known != nil {
			return rerr
		}
		return err
	}
	t.body = body
	switch {
	case size >= 0 && size != known.Size:
		return notary.InvalidField("size",
			"The upload has %d bytes, not the %d that were announced. Nothing was saved.", known.Size, size)
	case d.Expected != nil && known.Expected != nil && *d.Expected != *known.Expected:
		return notary.InvalidField("sm3", "The upload was announced with the digest %s. Nothing was saved.",
			known.Expected)
	case d.FileName == "" && known.FileName != "" && !validFileName(known.FileName):
		return errFileName
	}
	d.FileName = cmp.Or(d.FileName, known.FileName)
	d.Expected = cmp.Or(d.Expected, known.Expected)
	t.kept, _ = known.Whole()
	if err := t.keep(ctx, staging.NewMeter(ctx, body, known.Size, t.in.limits.MaxDocument)); err != nil {
		return err
	}
	t.item.Upload, t.item.Idempotency, t.item.RequestHash = id, key, hash
	t.item.Leaves = known.Keys(notary.DocumentKey(t.item.Record.ID))
	return nil
}

// replayUpload finds the record that an idempotency key has already.
func (t *taking) replayUpload(ctx context.Context, key string, hash sm.Digest, size int64) error {
	prior, err := t.in.findPrior(ctx, t.d.AgencyID, key)
	if err != nil || prior == nil {
		return err
	}
	rec := &prior.Record
	if t.d.Expected != nil && *t.d.Expected != rec.SM3 || size >= 0 && uint64(size) != rec.Size ||
		hash != prior.RequestHash {
		if t.d.Idempotency == "" {
			return UploadGone()
		}
		return IdempotencyConflict()
	}
	t.known = rec
	return nil
}
