package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"stele/crypto/sm"
)

// BatchItem is one document of a batch: by digest, as in [Client.NotarizeDigest].
type BatchItem struct {
	NewRecord
	SM3  sm.Digest
	Size int64 // bytes
}

// BatchResult is what became of an item: a record, or why there is none.
type BatchResult struct {
	Record   Issued
	Replayed bool  // the idempotency key was used before: this is the record of then
	Err      error // a [*Problem] where the service refused the item
}

// Issued is the short form of a new record.
type Issued struct {
	ID       string    `json:"id"`
	Number   string    `json:"number"`
	Code     string    `json:"code"`
	SM3      string    `json:"sm3"`
	Index    uint64    `json:"index"`
	IssuedAt time.Time `json:"issuedAt"`
}

// batchSize is how many items are sent at once: below the service's usual limit of 10,000 and,
// with a kilobyte each, far below its 32 MiB.
const batchSize = 5000

// errNotTried is the result of items that came after a call that failed.
var errNotTried = errors.New("the item was not sent, because the call before it failed")

// Batch notarizes any number of digests. Each item succeeds or fails alone: look at every
// result; they are in the order of the items. Items that fail for the moment are tried again
// as calls are. The error is that of a whole call: the results tell what was done before it.
func (c *Client) Batch(ctx context.Context, items []BatchItem) ([]BatchResult, error) {
	results := make([]BatchResult, len(items))
	for i := range results {
		results[i].Err = errNotTried
	}
	for from := 0; from < len(items); from += batchSize {
		to := min(from+batchSize, len(items))
		if err := c.batch(ctx, items[from:to], results[from:to]); err != nil {
			for i := from; i < to; i++ {
				if results[i].Err == errNotTried {
					results[i].Err = err // whether the item was taken is not known
				}
			}
			return results, err
		}
	}
	return results, nil
}

type batchRecord struct {
	newRecord
	IdempotencyKey string `json:"idempotencyKey"`
}

// batch sends items until none is left that only failed for the moment.
func (c *Client) batch(ctx context.Context, items []BatchItem, results []BatchResult) error {
	records, at := make([]batchRecord, len(items)), make([]int, len(items))
	for i, it := range items {
		records[i], at[i] = batchRecord{about(it.NewRecord, &it.SM3, it.Size), orNewKey(it.IdempotencyKey)}, i
	}
	err := c.retry(ctx, func() error {
		var answer struct {
			Results []struct {
				Status  int
				Record  *Issued
				Problem *Problem
			}
		}
		q := jsonBody(map[string]any{"records": records})
		q.method, q.path = http.MethodPost, "/records/batch"
		one := *c
		one.Attempts = 1 // the attempts are counted here
		if _, err := one.json(ctx, q, &answer); err != nil {
			return err
		}
		if len(answer.Results) != len(records) {
			return fmt.Errorf("the answer has %d results for %d items", len(answer.Results), len(records))
		}
		var left []batchRecord
		var leftAt []int
		var later *Problem
		for k, res := range answer.Results {
			i := at[k]
			switch {
			case res.Record != nil:
				results[i] = BatchResult{Record: *res.Record, Replayed: res.Status == http.StatusOK}
			case res.Problem != nil:
				results[i] = BatchResult{Err: res.Problem}
				if res.Problem.Temporary() {
					later, left, leftAt = res.Problem, append(left, records[k]), append(leftAt, i)
				}
			default:
				results[i] = BatchResult{Err: fmt.Errorf("the answer names neither record nor problem (status %d)",
					res.Status)}
			}
		}
		if records, at = left, leftAt; later != nil {
			return &itemsLeft{later}
		}
		return nil
	})
	var left *itemsLeft
	if errors.As(err, &left) && ctx.Err() == nil {
		return nil // each item's result says so
	}
	return err
}

// itemsLeft says that items of a batch failed for the moment.
type itemsLeft struct{ *Problem }

func (e *itemsLeft) Unwrap() error { return e.Problem }
