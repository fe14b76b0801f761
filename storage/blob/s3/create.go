package s3

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"stele/notary"
	"stele/storage/blob"
)

// smallBody is what a body of unknown size is given at first, in bytes: most documents
// fit, and need no buffer of a whole part.
const smallBody = 64 << 10

// quietBody is a request body, in bytes, that a server takes in before it answers, even
// with a refusal. With a larger one the connection may break before the answer is read, so
// there it is better to ask first.
const quietBody = 128 << 10

// writeID is the name of the metadata that tells whose write it was that made an object.
const writeID = "Stele-Write"

// Create streams r into a new object. size is in bytes, -1 when unknown; another size than
// the declared one is [blob.ErrSize]. On return the object is durable. A key that is taken
// is [notary.ErrObjectExists]. After any error from r there is nothing under key, nor after
// the end of ctx, unless that met the very last request. After an error of the server the
// object may be there, whole. ctx cannot interrupt a read of r that hangs.
//
// It takes the memory of two parts, less for what fits into one. The library's own
// streaming is not used: it drops If-None-Match when it completes a multipart upload, and
// takes a reader's io.ErrUnexpectedEOF for the end of the body.
func (s *Store) Create(ctx context.Context, key string, r io.Reader, size int64) (notary.Object, error) {
	if err := s.check(ctx, key); err != nil {
		return notary.Object{}, err
	}
	u := &upload{s: s, name: s.prefix + key, id: rand.Text()}
	info, err := u.store(ctx, blob.NewBody(ctx, r, size), size)
	if errors.Is(err, errPrecondition) || errors.Is(err, errNoUpload) {
		info, err = u.resolve(ctx, err)
	}
	if err != nil {
		return notary.Object{}, fmt.Errorf("create %s: %w", key, err)
	}
	return s.object(key, info), nil
}

// upload is one call of Create.
type upload struct {
	s    *Store
	name string // S3 key
	id   string // of this write
}

// options are those of the new object.
func (u *upload) options() minio.PutObjectOptions {
	opts := minio.PutObjectOptions{ContentType: "application/octet-stream",
		UserMetadata: map[string]string{writeID: u.id}}
	if r := u.s.config.Retention; u.s.config.retains() && strings.HasPrefix(u.name, u.s.prefix+r.Prefix) {
		opts.Mode = minio.RetentionMode(r.Mode)
		opts.RetainUntilDate = u.s.retainUntil()
	}
	return opts
}

// resolve finds out about a refusal. If the answer to an earlier attempt was lost, what is
// in the way is our own object.
func (u *upload) resolve(ctx context.Context, refusal error) (minio.ObjectInfo, error) {
	info, err := u.s.client.StatObject(ctx, u.s.config.Bucket, u.name, minio.StatObjectOptions{})
	err = u.s.explain(err)
	switch {
	case err == nil && info.UserMetadata[writeID] == u.id:
		return info, nil
	case err == nil && errors.Is(refusal, errPrecondition):
		return info, notary.ErrObjectExists
	case err == nil || errors.Is(err, notary.ErrObjectNotFound):
		return info, fmt.Errorf("%s: the upload was lost or disturbed on the server: %w", u.s.config, refusal)
	}
	return info, err
}

// absent fails if the key is taken; asked before much is sent in vain.
func (u *upload) absent(ctx context.Context) error {
	_, err := u.s.client.StatObject(ctx, u.s.config.Bucket, u.name, minio.StatObjectOptions{})
	if err == nil {
		return notary.ErrObjectExists
	}
	if err = u.s.explain(err); errors.Is(err, notary.ErrObjectNotFound) {
		return nil
	}
	return err
}

// store sends the body in one request if it fits into one part, else in parts.
func (u *upload) store(ctx context.Context, body *blob.Body, size int64) (minio.ObjectInfo, error) {
	if size < 0 || size > smallBody {
		size = smallBody
	}
	small := make([]byte, size+1) // one more, to see the end of a body that just fits
	n, ended, err := fill(body, small)
	if err != nil {
		return minio.ObjectInfo{}, err
	}
	if ended {
		return u.storeWhole(ctx, small[:n])
	}
	first := u.s.parts.Get().(*[]byte)
	copy(*first, small[:n])
	m, ended, err := fill(body, (*first)[n:])
	if err != nil || ended {
		defer u.s.parts.Put(first)
	}
	if err != nil {
		return minio.ObjectInfo{}, err
	}
	if ended {
		return u.storeWhole(ctx, (*first)[:n+m])
	}
	return u.storeParts(ctx, first, body)
}

func (u *upload) storeWhole(ctx context.Context, data []byte) (minio.ObjectInfo, error) {
	if len(data) > quietBody {
		if err := u.absent(ctx); err != nil {
			return minio.ObjectInfo{}, err
		}
	}
	// A crash right after leaves the whole object or none, and no caller who was told that
	// it is there: the sweep of objects without a record removes it.
	info, err := u.s.put(ctx, u.s.client, u.name, data, createOnce(u.options()))
	if err != nil {
		return minio.ObjectInfo{}, err
	}
	return u.made(info, int64(len(data))), nil
}

// storeParts sends a body of more than one part. first is full and becomes u's.
func (u *upload) storeParts(ctx context.Context, first *[]byte, body *blob.Body) (info minio.ObjectInfo, err error) {
	if err := u.absent(ctx); err != nil {
		u.s.parts.Put(first)
		return info, err
	}
	// A crash from here to the end leaves an incomplete upload, under no key; Sweep aborts it.
	uploadID, err := u.s.client.NewMultipartUpload(ctx, u.s.config.Bucket, u.name, u.options())
	if err != nil {
		u.s.parts.Put(first)
		return info, u.s.explain(err)
	}
	parts, err := u.sendParts(ctx, uploadID, first, body)
	if err == nil {
		// A crash right after leaves the whole object or none, as in storeWhole.
		var done minio.UploadInfo
		done, err = u.s.client.CompleteMultipartUpload(ctx, u.s.config.Bucket, u.name, uploadID, parts,
			createOnce(minio.PutObjectOptions{}))
		if err == nil {
			return u.made(done, body.Size()), nil
		}
		err = u.s.explain(err)
	}
	// The caller's context may be what ended the upload.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if abortErr := u.s.client.AbortMultipartUpload(ctx, u.s.config.Bucket, u.name, uploadID); abortErr != nil &&
		code(abortErr) != minio.NoSuchUpload {
		err = fmt.Errorf("%w (and its parts could not be removed: %w)", err, abortErr)
	}
	return info, err
}

// part is a full buffer on its way, or what came of it.
type part struct {
	number int
	buf    *[]byte
	n      int
	done   minio.CompletePart
	err    error
}

// sendParts reads one part while another is being sent: the caller digests what it reads,
// which takes about as long. Two buffers go back and forth.
func (u *upload) sendParts(ctx context.Context, uploadID string, first *[]byte, body *blob.Body) ([]minio.CompletePart,
	error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	full, sent := make(chan part), make(chan part, 1)
	go func() {
		defer close(sent)
		for p := range full {
			p.done, p.err = u.sendPart(ctx, uploadID, p)
			sent <- p
		}
	}()
	var parts []minio.CompletePart
	// collect waits for the part on its way and returns its buffer.
	collect := func() (*[]byte, error) {
		p := <-sent
		parts = append(parts, p.done)
		return p.buf, p.err
	}
	next, other := part{number: 1, buf: first, n: len(*first)}, u.s.parts.Get().(*[]byte)
	defer func() { u.s.parts.Put(next.buf); u.s.parts.Put(other) }()
	defer close(full)
	for ended := false; ; {
		full <- next
		n, err := 0, error(nil)
		if !ended {
			n, ended, err = fill(body, *other)
		}
		if err != nil {
			cancel() // the part on its way is in vain
		}
		buf, sendErr := collect()
		number := next.number + 1
		next, other = part{number: number, buf: other, n: n}, buf
		switch {
		case err != nil:
			return nil, err
		case sendErr != nil:
			return nil, sendErr
		case n == 0:
			return parts, nil
		case number > maxParts:
			return nil, fmt.Errorf("larger than %d parts of %d bytes: raise the part size: %w", maxParts,
				u.s.config.PartSize, blob.ErrTooLarge)
		}
	}
}

func (u *upload) sendPart(ctx context.Context, uploadID string, p part) (minio.CompletePart, error) {
	data := (*p.buf)[:p.n]
	var opts minio.PutObjectPartOptions
	if u.s.locked {
		sum := md5.Sum(data)
		opts.Md5Base64 = base64.StdEncoding.EncodeToString(sum[:])
	}
	done, err := u.s.client.PutObjectPart(ctx, u.s.config.Bucket, u.name, uploadID, p.number, bytes.NewReader(data),
		int64(p.n), opts)
	return minio.CompletePart{PartNumber: p.number, ETag: done.ETag}, u.s.explain(err)
}

// made describes the new object. The server does not say when it was made, so the clock of
// this machine stands in.
func (u *upload) made(info minio.UploadInfo, size int64) minio.ObjectInfo {
	modified := info.LastModified
	if modified.IsZero() {
		modified = u.s.config.Now()
	}
	return minio.ObjectInfo{VersionID: info.VersionID, Size: size, LastModified: modified}
}

// fill reads into buf until it is full or the body ends.
func fill(body *blob.Body, buf []byte) (n int, ended bool, err error) {
	for n < len(buf) {
		m, err := body.Read(buf[n:])
		n += m
		if err == io.EOF {
			return n, true, nil
		}
		if err != nil {
			return n, false, err
		}
	}
	return n, false, nil
}
