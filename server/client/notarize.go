package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"mime/multipart"
	"net/textproto"
	"os"
	"sync"

	"stele/crypto/sm"
)

// NewRecord is what is said of a document when it is notarized. Everything may be empty. Title,
// Filename and Fields are private: the log holds commitments to them only.
type NewRecord struct {
	Title      string            `json:"title,omitempty"`      // at most 300 bytes
	Filename   string            `json:"filename,omitempty"`   // without path, at most 255 bytes
	Class      string            `json:"class,omitempty"`      // of the document; general if empty
	Fields     map[string]string `json:"fields,omitempty"`     // the class's own attributes
	Supersedes string            `json:"supersedes,omitempty"` // number of the record that this one replaces
	Reason     string            `json:"reason,omitempty"`     // why it replaces that one; public
	// the agency's own name for the record; not part of the proof
	Reference string `json:"reference,omitempty"`
	// found out from a file's first bytes if empty; refused where they contradict it
	MediaType string `json:"mediaType,omitempty"`

	// IdempotencyKey stands for this request for ever: repeated, it gives the same record. At
	// most 128 printable ASCII characters; if empty one is made, for this call alone.
	IdempotencyKey string `json:"-"`
}

// Document is what is handed in. Content is read once an attempt, from its begin, a few
// kilobytes at a time; it must not change before the call returns.
type Document struct {
	Content io.ReaderAt
	Size    int64 // bytes
	// SM3 is the document's digest where it is known: the service then refuses any other. In
	// any case the digest that was registered is compared with that of the bytes that were sent.
	SM3 *sm.Digest
	// Progress is told how many bytes of the document were sent; after a broken connection it
	// begins again. It is called by one goroutine at a time and must be quick.
	Progress func(sent int64)
}

// FileDocument is the document in an open file, which stays open while it is used.
func FileDocument(f *os.File) (Document, error) {
	info, err := f.Stat()
	switch {
	case err != nil:
		return Document{}, err
	case !info.Mode().IsRegular():
		return Document{}, fmt.Errorf("%s is no regular file", f.Name())
	}
	return Document{Content: f, Size: info.Size()}, nil
}

// DigestError says that the service registered another document than the one that was read
// here: it changed meanwhile, or the transfer damaged it. There is a record all the same.
type DigestError struct {
	Read   sm.Digest // of the bytes that were sent
	Record *Record
}

func (e *DigestError) Error() string {
	return fmt.Sprintf("the document that was sent has the digest %s, registered as %s is %s: revoke that record, "+
		"then try again", e.Read, e.Record.Number, e.Record.Document.SM3)
}

// newRecord is the JSON of a record with what is known of its document.
type newRecord struct {
	NewRecord
	SM3  string `json:"sm3,omitempty"`
	Size *int64 `json:"size,omitempty"`
}

func about(r NewRecord, digest *sm.Digest, size int64) newRecord {
	out := newRecord{NewRecord: r, Size: &size}
	if digest != nil {
		out.SM3 = digest.String()
	}
	return out
}

// Notarize hands a document in, in constant memory, and returns its record, which cannot be
// lost any more.
func (c *Client) Notarize(ctx context.Context, d Document, r NewRecord) (*Record, error) {
	q, sent, err := upload(d, r)
	if err != nil {
		return nil, err
	}
	rec, err := c.create(ctx, "/records", r.IdempotencyKey, q)
	if err != nil {
		return nil, err
	}
	read, whole := sent.last()
	if whole && read.String() != rec.Document.SM3 {
		return nil, &DigestError{read, rec}
	}
	return rec, nil
}

// NotarizeDigest registers a document that stays where it is, by its SM3 digest and its size
// in bytes.
func (c *Client) NotarizeDigest(ctx context.Context, digest sm.Digest, size int64, r NewRecord) (*Record, error) {
	return c.create(ctx, "/records", r.IdempotencyKey, jsonBody(about(r, &digest, size)))
}

// Supersede notarizes a document that replaces the record with a number.
func (c *Client) Supersede(ctx context.Context, number string, d Document, r NewRecord) (*Record, error) {
	r.Supersedes = number
	return c.Notarize(ctx, d, r)
}

// orNewKey makes an idempotency key where the caller has none.
func orNewKey(key string) string {
	if key == "" {
		return "client-" + rand.Text()
	}
	return key
}

// upload is the form that hands a document in: the part record, then the part file. What
// stands around the document is made beforehand, so the length is known.
func upload(d Document, r NewRecord) (call, *uploads, error) {
	text, err := json.Marshal(about(r, d.SM3, d.Size))
	if err != nil {
		return call{}, nil, err
	}
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	// Writing into memory does not fail. The file's name stands in the record, where it needs
	// no escaping.
	part, _ := w.CreatePart(textproto.MIMEHeader{"Content-Disposition": {`form-data; name="record"`},
		"Content-Type": {"application/json"}})
	_, _ = part.Write(text)
	_, _ = w.CreatePart(textproto.MIMEHeader{"Content-Disposition": {`form-data; name="file"`},
		"Content-Type": {"application/octet-stream"}})
	head := bytes.Clone(form.Bytes())
	form.Reset()
	_ = w.Close()
	tail := form.Bytes()
	all := &uploads{size: d.Size, progress: d.Progress}
	return call{contentType: w.FormDataContentType(), size: int64(len(head)) + d.Size + int64(len(tail)),
		body: func() io.ReadCloser {
			file := all.begin(io.NewSectionReader(d.Content, 0, d.Size))
			return io.NopCloser(io.MultiReader(bytes.NewReader(head), file, bytes.NewReader(tail)))
		}}, all, nil
}

// errSource ends an upload for good: trying again does not mend what is wrong here.
var errSource = errors.New("the document cannot be read")

// uploads are the attempts to send one document. The library may still read an attempt's body
// when the next one has begun: only the newest counts.
type uploads struct {
	size     int64
	progress func(int64)

	mu     sync.Mutex
	newest *sending // guarded by mu
}

// sending is the document on its way in one attempt.
type sending struct {
	of   *uploads
	r    io.Reader
	hash hash.Hash // guarded by of.mu, as is n
	n    int64
}

func (u *uploads) begin(r io.Reader) io.Reader {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.newest = &sending{of: u, r: r, hash: sm.NewHash()}
	return u.newest
}

func (s *sending) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	s.hash.Write(p[:n])
	s.n += int64(n)
	if s.of.newest == s && s.of.progress != nil && n > 0 {
		s.of.progress(s.n)
	}
	switch {
	case err == io.EOF && s.n < s.of.size: // it has become shorter
		err = fmt.Errorf("%w: %w", errSource, io.ErrUnexpectedEOF)
	case err != nil && err != io.EOF:
		err = fmt.Errorf("%w: %w", errSource, err)
	}
	return n, err
}

// last is the digest of what the newest attempt sent, and whether that was all. It was not
// when the service knew the answer earlier.
func (u *uploads) last() (d sm.Digest, whole bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.newest == nil || u.newest.n != u.size {
		return d, false
	}
	u.newest.hash.Sum(d[:0])
	return d, true
}
