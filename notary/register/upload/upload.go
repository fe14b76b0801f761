// Package upload takes files in piece by piece, before there is a record of them: over a
// line that breaks, or straight into the bucket. What has arrived is kept as immutable parts
// in the object store; which parts count, and so how far an upload is, stands in the database. A part lies
// where a document does that is to become a record's, see package staging: an upload that came in one is
// its record's original without being written again.
//
// The order of side effects of a piece, and what a crash after each leaves behind:
//
//  1. lease taken       nobody else can send for a few seconds
//  2. part stored       an object that no row names: it counts for nothing, whoever goes on
//     stores the same bytes under another name, and package staging sweeps it
//  3. row written       everything: the offset is that of the parts in the rows
//
// An upload ends when its record is written, in the same transaction (package intake), when it becomes a
// paper (package filing), when the client gives it up, or when it expires. Each removes the rows; whoever
// did removes the objects that are not the document now, and a crash before that leaves them to the sweep.
package upload

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/google/uuid"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/register/staging"
)

// Upload is a file on its way in, or here and not yet notarized.
type Upload struct {
	ID        string
	AgencyID  string
	Size      int64 // bytes, as announced
	Offset    int64 // bytes that are here for good; of a direct upload 0
	Direct    bool  // goes straight into the bucket, as one object
	Metadata  map[string]string
	ExpiresAt time.Time
}

// Part is a piece of an upload, stored as one object.
type Part struct {
	Offset int64
	Size   int64  // bytes
	Key    string // in the object store
}

// Store keeps the rows of uploads. Methods are safe for concurrent use, and what they have
// returned from is durable. FindUpload and DropUpload return [notary.ErrNotFound] for what is
// not there, has expired or is another agency's. AddUpload returns [ErrTooMany] when the
// agency has most of them already; whole is the one part of a direct upload, nil for others. Parts are
// returned in the order of their offsets.
//
// Leases see to it that one request at a time works on an upload, on whichever server it is.
// LeaseUpload returns [ErrBusy] while another holder's lease runs, [notary.ErrNotFound] as
// FindUpload does; once it has run out anybody may take it. Clocks of servers may differ: what
// keeps an upload whole is that AddPart returns [ErrLost], and writes nothing, when the
// holder is not the last that took the lease. RenewUpload returns ErrLost too. All of them
// keep the upload from expiring before a time.
type Store interface {
	AddUpload(ctx context.Context, u Upload, whole *Part, most int) error
	FindUpload(ctx context.Context, agencyID, id string) (Upload, error)
	UploadParts(ctx context.Context, id string) ([]Part, error)
	DropUpload(ctx context.Context, agencyID, id string) error
	LeaseUpload(ctx context.Context, agencyID, id, holder string, until, keep time.Time) (Upload, error)
	RenewUpload(ctx context.Context, id, holder string, until, keep time.Time) error
	AddPart(ctx context.Context, id, holder string, p Part, until, keep time.Time) error
	ReleaseUpload(ctx context.Context, id, holder string) error

	// DropExpired ends uploads whose time is over, and returns those that it has ended, also with an error.
	DropExpired(ctx context.Context) ([]Ended, error)
}

// Ended is what an upload that has ended leaves.
type Ended struct {
	AgencyID string
	Keys     []string // of its parts
}

// Objects keeps parts. Create streams: the object is durable when it returns, and a failing
// reader leaves nothing under the key. See the storage adapters.
type Objects interface {
	Create(ctx context.Context, key string, r io.Reader, size int64) (notary.Object, error)
	Open(ctx context.Context, key, version string) (io.ReadCloser, notary.Object, error)
	staging.Objects
}

// Signed is an address that takes one PUT of one object.
type Signed struct {
	URL       string
	Headers   map[string]string // that the request must have; they are signed
	ExpiresAt time.Time
}

// Signer makes addresses for direct uploads: whoever has one can store exactly size bytes
// under the key, for as long as it is valid and nothing is there: never over what is, which may be the
// original of a record by then.
type Signer interface {
	SignPut(ctx context.Context, key string, size int64, valid time.Duration) (Signed, error)
}

// Errors of stores.
var (
	ErrTooMany = errors.New("the agency has too many uploads")
	ErrBusy    = errors.New("somebody works on the upload")
	ErrLost    = errors.New("somebody else has the upload now")
)

// Limits that a deployment sets.
type Limits struct {
	MaxSize   int64         // bytes of one upload
	MaxOpen   int           // uploads that an agency may have at a time
	ExpireIn  time.Duration // after the last byte came
	MaxDirect int64         // bytes of one direct upload
	MaxPieces int           // requests that may add to an upload, besides those that its size needs
}

// DefaultLimits are those of a deployment that sets none. S3 takes at most 5 GiB in one
// PUT (https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html).
func DefaultLimits() Limits {
	return Limits{MaxSize: 16 << 30, MaxOpen: 200, ExpireIn: 24 * time.Hour, MaxDirect: 5 << 30, MaxPieces: 10_000}
}

// DirectFor is how long the address of a direct upload is valid.
const DirectFor = time.Hour

// Uploads are the uploads of an instance. It is safe for concurrent use.
type Uploads struct {
	store   Store
	objects Objects
	records staging.Records
	place   staging.Place
	signer  Signer // nil where the object store takes no direct uploads
	limits  Limits
	now     func() time.Time
	log     *slog.Logger
	garbage chan Ended
}

// Options are what [New] needs besides its stores.
type Options struct {
	Records staging.Records
	Place   staging.Place
	Signer  Signer
	Limits  Limits
	Now     func() time.Time
	Log     *slog.Logger
}

// maxGarbage bounds the uploads that wait for their objects to be removed; more are left to the sweep.
const maxGarbage = 1024

// New returns the uploads that a store has. [Uploads.Run] removes what they leave.
func New(store Store, objects Objects, o Options) *Uploads {
	return &Uploads{store: store, objects: objects, records: o.Records, place: o.Place, signer: o.Signer,
		limits: o.Limits, now: o.Now, log: o.Log, garbage: make(chan Ended, maxGarbage)}
}

// MaxSize is how many bytes an upload may have.
func (u *Uploads) MaxSize() int64 { return u.limits.MaxSize }

// Create begins an upload of size bytes that will be sent in pieces.
func (u *Uploads) Create(ctx context.Context, agencyID string, size int64, metadata map[string]string) (Upload, error) {
	return u.add(ctx, Upload{AgencyID: agencyID, Size: size, Metadata: metadata}, nil, u.limits.MaxSize)
}

// CreateDirect begins an upload of size bytes that goes straight into the bucket.
func (u *Uploads) CreateDirect(ctx context.Context, agencyID string, size int64, metadata map[string]string) (Upload,
	Signed, error) {
	if u.signer == nil {
		return Upload{}, Signed{}, notary.Errorf(notary.CodeConflict, "This service keeps documents in a folder, "+
			"which takes no direct uploads. Use a resumable upload (tus) at /api/v1/uploads. Nothing was saved.")
	}
	whole := &Part{Size: size, Key: u.place.Key()}
	up, err := u.add(ctx, Upload{AgencyID: agencyID, Size: size, Metadata: metadata, Direct: true}, whole,
		min(u.limits.MaxSize, u.limits.MaxDirect))
	if err != nil {
		return Upload{}, Signed{}, err
	}
	// A crash right after the row leaves an upload that nobody knows of; it expires.
	signed, err := u.signer.SignPut(ctx, whole.Key, size, DirectFor)
	if err != nil {
		return Upload{}, Signed{}, errors.Join(storeDown(err), u.store.DropUpload(ctx, agencyID, up.ID))
	}
	return up, signed, nil
}

func (u *Uploads) add(ctx context.Context, up Upload, whole *Part, most int64) (Upload, error) {
	switch {
	case up.Size < 0:
		return up, notary.InvalidField("size", "A size is not negative. Nothing was saved.")
	case up.Size > most:
		return up, notary.Errorf(notary.CodeTooLarge,
			"An upload of this kind has at most %d bytes here. Nothing was saved.", most)
	}
	if err := checkMetadata(up.Metadata); err != nil {
		return up, err
	}
	up.ID, up.ExpiresAt = uuid.Must(uuid.NewV7()).String(), u.keepUntil()
	err := u.store.AddUpload(ctx, up, whole, u.limits.MaxOpen)
	if errors.Is(err, ErrTooMany) {
		return up, notary.Errorf(notary.CodeConflict, "An agency can have %d uploads that are not notarized yet. "+
			"Notarize or delete one; they expire by themselves. Nothing was saved.", u.limits.MaxOpen)
	}
	return up, rowsDown(err)
}

// keepUntil is when an upload expires on which something happens now.
func (u *Uploads) keepUntil() time.Time {
	return u.now().UTC().Truncate(time.Second).Add(u.limits.ExpireIn)
}

// Find returns an upload of an agency.
func (u *Uploads) Find(ctx context.Context, agencyID, id string) (Upload, error) {
	up, err := u.store.FindUpload(ctx, agencyID, id)
	return up, rowsDown(err)
}

// Drop gives an upload up. A request that works on it fails.
func (u *Uploads) Drop(ctx context.Context, agencyID, id string) error {
	parts, err := u.store.UploadParts(ctx, id) // one that comes after this is swept
	if err == nil {
		err = u.store.DropUpload(ctx, agencyID, id)
	}
	if err != nil {
		return rowsDown(err)
	}
	u.Remove(agencyID, keysOf(parts)...)
	return nil
}

func keysOf(parts []Part) []string {
	keys := make([]string, len(parts))
	for i, p := range parts {
		keys[i] = p.Key
	}
	return keys
}

var errNotFound = notary.Errorf(notary.CodeNotFound,
	"There is no such upload of this agency; it may have been notarized, given up, or expired.")

// rowsDown turns errors of the rows into errors for the outside.
func rowsDown(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, notary.ErrNotFound):
		return errNotFound
	case errors.Is(err, ErrLost):
		return notary.Wrap(notary.CodeConflict, err,
			"Another request goes on with this upload. Ask how far it is, and send the rest.")
	case errors.Is(err, ErrBusy):
		return err // who asked says what it means
	}
	return notary.Wrap(notary.CodeUnavailable, err,
		"The uploads cannot be reached. Ask how far this one is before you go on.")
}

func storeDown(err error) error {
	return notary.Wrap(notary.CodeUnavailable, err,
		"The document store cannot be reached or is full. Ask how far the upload is, and go on from there.")
}

// maxMetadata bounds names and values of an upload's metadata together, in bytes.
const maxMetadata = 8 << 10

// Names in the metadata that mean something here: the file name for records that name none,
// on which clients of tus agree, and the SM3 digest that the file must have.
const (
	MetaFileName = "filename"
	MetaSM3      = "sm3"
)

func checkMetadata(m map[string]string) error {
	total := 0
	if text, ok := m[MetaSM3]; ok {
		if _, err := sm.ParseDigest(text); err != nil {
			return notary.InvalidField(MetaSM3,
				"An SM3 digest has 64 lower-case hexadecimal digits. Nothing was saved.")
		}
	}
	for name, value := range m {
		total += len(name) + len(value)
		if !strings.ContainsFunc(name, unprintable) && validText(value) {
			continue
		}
		return notary.InvalidField("Upload-Metadata",
			"Values in the metadata of an upload are UTF-8 without control characters. Nothing was saved.")
	}
	if total > maxMetadata {
		return notary.InvalidField("Upload-Metadata",
			"The metadata of an upload has at most %d bytes. Nothing was saved.", maxMetadata)
	}
	return nil
}

// Sweep ends uploads that have expired, and removes their parts. What no row names package staging
// sweeps. It returns how many uploads expired.
func (u *Uploads) Sweep(ctx context.Context) (int, error) {
	ended, err := u.store.DropExpired(ctx)
	for _, e := range ended {
		u.removeNow(ctx, e)
	}
	return len(ended), err
}

func (u *Uploads) removeNow(ctx context.Context, e Ended) {
	staging.Remove(ctx, u.objects, u.records, u.log, e.AgencyID, e.Keys...)
}

// Remove has objects of an agency's upload removed that has ended, but for what has become the original of
// a record. It does not wait for that.
func (u *Uploads) Remove(agencyID string, keys ...string) {
	select {
	case u.garbage <- Ended{agencyID, keys}:
	default: // the sweep takes them
	}
}

// Run removes what uploads leave until ctx ends. What it does not get to, the sweep does.
func (u *Uploads) Run(ctx context.Context) error {
	for {
		select {
		case e := <-u.garbage:
			u.removeNow(ctx, e)
		case <-ctx.Done():
			return nil
		}
	}
}
