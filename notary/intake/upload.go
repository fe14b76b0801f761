package intake

import (
	"cmp"
	"context"
	"io"

	"stele/crypto/sm"
	"stele/notary"
)

// Uploads has the files that were sent before their records, see package upload. Open returns
// one that is complete; until it is closed nobody else has it. Its errors, and those of reading, are for the caller. Remove has what is
// left of an upload removed that ended with its record. It is safe for concurrent use.
type Uploads interface {
	Open(ctx context.Context, agencyID, id string) (io.ReadCloser, notary.Uploaded, error)
	Remove(id string)
}

// UploadGone is the answer to a record of an upload that ended meanwhile. Stores use it for outcomes.
func UploadGone() error {
	return notary.Errorf(notary.CodeConflict, "This upload was notarized already, or given up. Nothing was saved.")
}

// Upload notarizes an upload: its parts are read once, in order, through SM3 into the
// document of the record, and the upload ends with the transaction that makes the record.
// size is what the caller expects, -1 for any.
//
// Repeated with its idempotency key it gives the same record although the upload is gone by
// then: the key stands for the upload's id, not for its bytes. Without a key the upload is
// one itself. The work goes on when the caller leaves: a large document takes longer than
// many a proxy waits.
func (in *Intake) Upload(ctx context.Context, d Draft, id string, size int64) (notary.Record, bool, error) {
	ctx = context.WithoutCancel(ctx)
	signer, err := in.signer(d.AgencyID)
	if err != nil {
		return notary.Record{}, false, err
	}
	return in.fromUpload(ctx, signer, d, id, size, func(item *Item) (notary.Record, bool, error) {
		return in.submit(ctx, signer, item)
	})
}

// submit makes an item durable, and has what it leaves removed.
func (in *Intake) submit(ctx context.Context, signer *Signer, item *Item) (notary.Record, bool, error) {
	rec, replay, err := in.group.submit(ctx, signer, item).result(item)
	if err == nil && item.Upload != "" {
		in.uploads.Remove(item.Upload)
	}
	return rec, replay, err
}

// PrepareUpload prepares the statement of an upload, see [Intake.Upload]. The upload ends
// when the signature is there.
func (in *Intake) PrepareUpload(ctx context.Context, d Draft, id string, size int64) (*Prepared, *notary.Record, error) {
	ctx = context.WithoutCancel(ctx)
	signer, err := in.homeSigner(d.AgencyID)
	if err != nil {
		return nil, nil, err
	}
	var p *Prepared
	rec, replay, err := in.fromUpload(ctx, signer, d, id, size, func(item *Item) (notary.Record, bool, error) {
		var err error
		p, err = in.addPrepared(ctx, signer, item)
		return item.Record, false, err
	})
	if replay {
		return nil, &rec, err
	}
	return p, nil, err
}

// fromUpload stores an upload as a document and has finish make the record of its item.
func (in *Intake) fromUpload(ctx context.Context, signer *Signer, d Draft, id string, size int64, finish func(*Item) (notary.Record, bool, error)) (notary.Record, bool, error) {
	if err := in.check(ctx, &d); err != nil {
		return notary.Record{}, false, err
	}
	key, hash := d.Idempotency, requestHash(d, sm.Sum([]byte("upload\x00"), []byte(id)), 0)
	if key == "" {
		key = "\x02" + id // no caller's key can be this one: they are printable
	}
	replay := func() (*notary.Record, error) { return in.replayUpload(ctx, d, key, hash, size) }
	if rec, err := replay(); rec != nil || err != nil {
		return orNone(rec), rec != nil, err
	}
	body, known, err := in.uploads.Open(ctx, d.AgencyID, id)
	if err != nil {
		// It may be gone because the same request was here a moment ago.
		if rec, err := replay(); rec != nil || err != nil {
			return orNone(rec), rec != nil, err
		}
		return notary.Record{}, false, err
	}
	defer body.Close()
	switch {
	case size >= 0 && size != known.Size:
		return notary.Record{}, false, notary.InvalidField("size", "The upload has %d bytes, not the %d that were announced. Nothing was saved.", known.Size, size)
	case d.Expected != nil && known.Expected != nil && *d.Expected != *known.Expected:
		return notary.Record{}, false, notary.InvalidField("sm3", "The upload was announced with the digest %s. Nothing was saved.", known.Expected)
	case d.FileName == "" && known.FileName != "" && !validFileName(known.FileName):
		return notary.Record{}, false, errFileName
	}
	d.FileName = cmp.Or(d.FileName, known.FileName)
	d.Expected = cmp.Or(d.Expected, known.Expected)
	return in.keep(ctx, signer, d, newMeter(ctx, body, known.Size, in.limits.MaxDocument), func(d Draft, rec notary.Record) (notary.Record, bool, error) {
		item, err := in.documentItem(ctx, signer, d, rec)
		if err != nil {
			return notary.Record{}, false, err
		}
		item.Upload, item.Idempotency, item.RequestHash = id, key, hash
		return finish(item)
	})
}

// replayUpload returns the record that an idempotency key has already, nil when there is none.
func (in *Intake) replayUpload(ctx context.Context, d Draft, key string, hash sm.Digest, size int64) (*notary.Record, error) {
	prior, err := in.findPrior(ctx, d.AgencyID, key)
	if err != nil || prior == nil {
		return nil, err
	}
	if d.Expected != nil && *d.Expected != prior.Record.SM3 || size >= 0 && uint64(size) != prior.Record.Size || hash != prior.RequestHash {
		if d.Idempotency == "" {
			return nil, UploadGone()
		}
		return nil, IdempotencyConflict()
	}
	return &prior.Record, nil
}

func orNone(rec *notary.Record) notary.Record {
	if rec == nil {
		return notary.Record{}
	}
	return *rec
}
