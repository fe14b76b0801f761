package intake

import (
	"context"
	"errors"
	"strings"

	"stele/notary"
)

// Rows tells the sweep whose documents are kept: of the given ids it returns those that have a
// row, but for records whose original was erased.
type Rows interface {
	ExistingRecords(ctx context.Context, ids []string) (map[string]bool, error)
}

// sweepPage bounds how many ids are asked for at once.
const sweepPage = 500

// Sweep removes documents that no record speaks of and that are older than the limit: what
// crashes and lost connections left between storing an object and committing its row. The
// age keeps it away from uploads under way. It returns how many it removed.
func (in *Intake) Sweep(ctx context.Context, rows Rows) (int, error) {
	removed := 0
	before := in.now().Add(-in.limits.SweepAfter)
	var page []notary.Object
	flush := func() error {
		n, err := in.sweepPage(ctx, rows, page)
		removed += n
		page = page[:0]
		return err
	}
	err := in.objects.List(ctx, notary.DocumentKey(""), func(o notary.Object) error {
		if o.ModTime.Before(before) {
			page = append(page, o)
		}
		if len(page) < sweepPage {
			return nil
		}
		return flush()
	})
	return removed, errors.Join(err, flush())
}

func (in *Intake) sweepPage(ctx context.Context, rows Rows, page []notary.Object) (removed int, err error) {
	if len(page) == 0 {
		return 0, nil
	}
	ids := make([]string, len(page))
	for i, o := range page {
		ids[i] = strings.TrimPrefix(o.Key, notary.DocumentKey(""))
	}
	exist, err := rows.ExistingRecords(ctx, ids)
	if err != nil {
		return 0, err
	}
	for i, o := range page {
		if exist[ids[i]] {
			continue
		}
		switch err := in.objects.Delete(ctx, o.Key); {
		case errors.Is(err, notary.ErrObjectRetained):
			continue // the store keeps it for its time; a later sweep takes it
		case err != nil:
			return removed, err
		}
		in.log.InfoContext(ctx, "swept a document without record", "key", o.Key, "size", o.Size)
		removed++
	}
	return removed, nil
}
