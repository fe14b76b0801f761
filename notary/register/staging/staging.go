// Package staging is where documents lie before they are records. A document comes in once, under
// the name that the record will give it ([notary.DocumentKey]): what notarizes it reads it there and
// writes nothing. Until then it has an owner, which is a row that names it: an upload, whose only part it
// is, a paper on a desk, or a bulk job whose table it belongs to. An upload of several parts lies here too,
// each under such a name; what takes it in writes them once more, as one document.
//
// The order of side effects, and what a crash after each leaves behind:
//
//  1. object stored     an object that no row names: [Sweep] removes it after a day. A direct upload has
//     its row before
//  2. owner's row       the document waits for its owner
//  3. record            the document is the record's; the owner does not know yet, and finds the same
//     record when it tries again. It never removes what is a record's
//  4. owner done        complete; what it had beside the record's document is removed by it, or by [Sweep]
//
// Where the store locks originals for a time, a document may not lie among them before it is one: a
// draft that is given up, or malware, could not be removed, and the time of an original would begin too
// early. There it lies in a folder of its owner, see [Place], and is copied once it is notarized. So do
// documents that a server of before this order had taken in; whoever notarizes them copies them too.
package staging

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/google/uuid"

	"stele/notary"
)

// Rows says which objects are kept: of the given keys those of documents of records, but for those
// whose original was erased, and those that an upload, a paper or a bulk job that is under way owns.
type Rows interface {
	KeptObjects(ctx context.Context, keys []string) (map[string]bool, error)
}

// Objects are the store that documents lie in.
type Objects interface {
	List(ctx context.Context, prefix string, fn func(notary.Object) error) error
	Delete(ctx context.Context, key string) error
}

// Records finds the records of an agency; see package archive.
type Records interface {
	Record(ctx context.Context, agencyID, idOrNumber string) (notary.Record, error)
}

// Remove takes objects away that their owner has let go of, but for what has become the original of a
// record: a server that was believed dead may have made it. What it does not get [Sweep] does.
func Remove(ctx context.Context, objects Objects, records Records, log *slog.Logger, agencyID string, keys ...string) {
	for _, key := range keys {
		if key == "" {
			continue
		}
		if id, ok := notary.DocumentID(key); ok {
			if _, err := records.Record(ctx, agencyID, id); notary.CodeOf(err) != notary.CodeNotFound {
				continue
			}
		}
		if err := objects.Delete(ctx, key); err != nil && !errors.Is(err, notary.ErrObjectRetained) {
			log.WarnContext(ctx, "an object that nobody needs stays until the sweep", "key", key, "error", err)
		}
	}
}

// Folders of what lies elsewhere than records' originals: the zips of bulk jobs, documents, and parts of
// uploads that a server of before had taken in.
const (
	FolderBulk   = "bulk/"
	folder       = "filing/"
	folderUpload = "upload/"
)

// Place says where a document lies before it is one of a record.
type Place struct {
	Locked bool // the store locks originals of records for a time
}

// Key is where a new object lies, the file of a paper or a part of an upload.
func (p Place) Key() string {
	id := uuid.Must(uuid.NewV7()).String()
	if p.Locked {
		return folder + id
	}
	return notary.DocumentKey(id)
}

// rowDigits are the last digits of a row's document's id.
const rowDigits = 6

// Bulk is what the keys of a job's documents begin with; id is one that no record has: that of a row's
// document is this id but for its last digits. So an owner is found by its document.
func (p Place) Bulk(jobID, id string) string {
	if p.Locked {
		return FolderBulk + jobID + "/" + id + "/"
	}
	return notary.DocumentKey(id[:len(id)-rowDigits])
}

// RowKey is where a row's document lies, below what [Place.Bulk] has returned.
func RowKey(folder string, row int) string {
	if _, ok := notary.DocumentID(folder); ok {
		return fmt.Sprintf("%s%0*x", folder, rowDigits, row)
	}
	return folder + strconv.Itoa(row)
}

// sweepPage bounds how many objects are asked for at once.
const sweepPage = 500

// Sweep removes objects that no row names and that are older than a time: what crashes and lost
// connections left between storing an object and committing its row. The age keeps it away from
// documents that are just coming in. It returns how many it removed.
func Sweep(ctx context.Context, objects Objects, rows Rows, before time.Time, log *slog.Logger) (removed int,
	err error) {
	var page []notary.Object
	flush := func() error {
		keys := make([]string, len(page))
		for i, o := range page {
			keys[i] = o.Key
		}
		kept, err := rows.KeptObjects(ctx, keys)
		if err != nil {
			return err
		}
		for _, o := range page {
			if kept[o.Key] {
				continue
			}
			switch err := objects.Delete(ctx, o.Key); {
			case errors.Is(err, notary.ErrObjectRetained):
				continue // the store keeps it for its time; a later sweep takes it
			case err != nil:
				return err
			}
			log.InfoContext(ctx, "swept a document without record", "key", o.Key, "size", o.Size)
			removed++
		}
		page = page[:0]
		return nil
	}
	for _, folder := range []string{notary.DocumentKey(""), FolderBulk, folder, folderUpload} {
		err = errors.Join(err, objects.List(ctx, folder, func(o notary.Object) error {
			if o.ModTime.Before(before) {
				page = append(page, o)
			}
			if len(page) < sweepPage {
				return nil
			}
			return flush()
		}))
	}
	return removed, errors.Join(err, flush())
}
