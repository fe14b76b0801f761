package upload

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"stele/crypto/sm"
	"stele/notary"
)

// Open returns the bytes of an upload that is complete, in one stream, and what is known of
// them. Until it is closed nobody else can work on the upload, and
// it does not expire; another Open meanwhile is [notary.CodeNotReady]. ctx must live as long
// as it is read. What the stream brings is for the caller to digest: neither bucket nor client
// is believed.
func (u *Uploads) Open(ctx context.Context, agencyID, id string) (io.ReadCloser, notary.Uploaded, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	l, err := u.lease(ctx, cancel, agencyID, id)
	if errors.Is(err, ErrBusy) {
		err = notary.Errorf(notary.CodeNotReady, "Another request works on this upload. Nothing was saved by this "+
			"one; repeat it with the same idempotency key.")
	}
	if err != nil {
		cancel(nil)
		return nil, notary.Uploaded{}, err
	}
	body := &stream{ctx: ctx, lease: l, cancel: cancel}
	if err := body.find(); err != nil {
		return nil, notary.Uploaded{}, errors.Join(err, body.Close())
	}
	known := notary.Uploaded{Size: l.upload.Size, FileName: l.upload.Metadata[MetaFileName], Objects: body.objects}
	if text, ok := l.upload.Metadata[MetaSM3]; ok {
		digest, err := sm.ParseDigest(text)
		if err != nil {
			return nil, notary.Uploaded{}, errors.Join(fmt.Errorf("upload %s: %w", id, err), body.Close())
		}
		known.Expected = &digest
	}
	return body, known, nil
}

// stream reads the parts of an upload one after another.
type stream struct {
	ctx    context.Context
	lease  *lease
	cancel context.CancelCauseFunc
	parts  []Part // that are not open yet
	open   io.ReadCloser
	left   int64 // bytes that the open part still has

	objects []notary.Object // all parts, see [notary.Uploaded]
}

// find says what the stream consists of, and refuses an upload that is not complete.
func (s *stream) find() (err error) {
	u, up := s.lease.u, s.lease.upload
	if !up.Direct && up.Offset != up.Size {
		return notary.Errorf(notary.CodeConflict,
			"The upload is not complete: %d of %d bytes are here. Nothing was saved.", up.Offset, up.Size)
	}
	if s.parts, err = u.store.UploadParts(s.ctx, up.ID); err != nil {
		return rowsDown(err)
	}
	at := int64(0)
	for _, p := range s.parts {
		if p.Offset != at {
			return fmt.Errorf("upload %s: a part at %d, want one at %d", up.ID, p.Offset, at)
		}
		at += p.Size
	}
	if at != up.Size {
		return fmt.Errorf("upload %s: the parts end at %d, the upload at %d", up.ID, at, up.Size)
	}
	if len(s.parts) == 0 {
		return nil // of an empty file
	}
	s.objects = make([]notary.Object, len(s.parts))
	for i, p := range s.parts {
		s.objects[i].Key = p.Key
	}
	if err := s.unused(); err != nil {
		return err
	}
	return s.next() // so that an object that is not there is an error at once
}

// unused fails where the only part is a record's original: a database that was restored may know an upload
// whose record came back by itself.
func (s *stream) unused() error {
	id, ok := notary.DocumentID(s.parts[0].Key)
	if !ok || len(s.parts) > 1 {
		return nil
	}
	_, err := s.lease.u.records.Record(s.ctx, s.lease.upload.AgencyID, id)
	if notary.CodeOf(err) == notary.CodeNotFound {
		return nil
	}
	return cmp.Or[error](rowsDown(err),
		notary.Errorf(notary.CodeConflict, "There is a record of this upload already. Nothing was saved."))
}

// next opens the next part.
func (s *stream) next() error {
	p := s.parts[0]
	body, obj, err := s.lease.u.objects.Open(s.ctx, p.Key, "")
	switch {
	case errors.Is(err, notary.ErrObjectNotFound) && s.lease.upload.Direct:
		return notary.Errorf(notary.CodeConflict,
			"Nothing was stored at the address of this upload yet. Nothing was saved.")
	case errors.Is(err, notary.ErrObjectNotFound):
		return notary.Wrap(notary.CodeConflict, err, "The upload was given up, or the document store has lost a part "+
			"of it. Nothing was saved; upload the file again.")
	case err != nil:
		return s.failed(err)
	case obj.Size != p.Size:
		return errors.Join(notary.Errorf(notary.CodeConflict, "What was stored has %d bytes, not the %d that were "+
			"announced. Nothing was saved; upload the file again.", obj.Size, p.Size), body.Close())
	}
	s.objects[len(s.objects)-len(s.parts)] = obj
	s.parts, s.open, s.left = s.parts[1:], body, p.Size
	return nil
}

// failed is the error of a store that cannot be read.
func (s *stream) failed(err error) error {
	if lost := context.Cause(s.ctx); errors.Is(lost, ErrLost) {
		return rowsDown(lost)
	}
	return notary.Wrap(notary.CodeUnavailable, err, "The upload cannot be read at the moment. Nothing was saved; "+
		"repeat the request with the same idempotency key.")
}

// Read implements io.Reader. It ends in io.EOF only after the last byte of the last part.
func (s *stream) Read(b []byte) (int, error) {
	for s.left == 0 {
		if s.open != nil {
			if err := s.open.Close(); err != nil {
				return 0, s.failed(err)
			}
			s.open = nil
		}
		if len(s.parts) == 0 {
			return 0, io.EOF
		}
		if err := s.next(); err != nil {
			return 0, err
		}
	}
	n, err := s.open.Read(b[:min(int64(len(b)), s.left)])
	s.left -= int64(n)
	switch {
	case err == io.EOF && s.left > 0:
		return n, s.failed(io.ErrUnexpectedEOF)
	case err != nil && err != io.EOF:
		return n, s.failed(err)
	}
	return n, nil
}

// Close gives the upload free.
func (s *stream) Close() error {
	var err error
	if s.open != nil {
		err = s.open.Close()
	}
	s.cancel(nil)
	s.lease.release()
	return err
}
