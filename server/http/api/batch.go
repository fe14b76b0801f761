package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"

	"stele/notary"
	"stele/notary/register/intake"
)

type batchInput struct {
	rawBody
	Wait string `query:"wait" enum:"logged,anchored"`
}

// BatchRequest is the body of a batch call.
type BatchRequest struct {
	Records []BatchRecord `json:"records" minItems:"1" doc:"Documents by digest; each with an idempotency key of its own if wanted"`
}

// BatchRecord is one document of a batch.
type BatchRecord struct {
	NewRecord
	IdempotencyKey string `json:"idempotencyKey,omitempty" maxLength:"128"`
}

// BatchResponse answers a batch in the order of its items.
type BatchResponse struct {
	Results []BatchResult `json:"results"`
}

// BatchResult is what became of one item: a record, or a problem.
type BatchResult struct {
	Status  int          `json:"status" doc:"The status that the item would have had alone"`
	Record  *BatchIssued `json:"record,omitempty"`
	Problem *Problem     `json:"problem,omitempty"`
}

// BatchIssued is the short form of a new record.
type BatchIssued struct {
	ID       string `json:"id"`
	Number   string `json:"number"`
	Code     string `json:"code"`
	SM3      string `json:"sm3"`
	Index    uint64 `json:"index"`
	IssuedAt string `json:"issuedAt"`
}

func (a *API) registerBatch() {
	schemas := a.huma.OpenAPI().Components.Schemas
	registerRaw(a.huma, a.private(notary.ScopeWrite, huma.Operation{
		OperationID: "create-records", Method: http.MethodPost, Path: "/api/v1/records/batch",
		Tags:    []string{"records"},
		Summary: "Notarize many documents by digest",
		Description: fmt.Sprintf("Up to %d items. Each succeeds or fails alone; the answer has a result per item, in "+
			"order. With `Accept: application/jsonl` the results come as lines, each as soon as its record is "+
			"durable.", a.MaxBatch),
		Responses: map[string]*huma.Response{
			"200": {Description: "A result per item", Content: map[string]*huma.MediaType{
				"application/json": {Schema: schemas.Schema(reflect.TypeFor[BatchResponse](), true, "BatchResponse")},
				"application/jsonl": {
					Schema: &huma.Schema{Type: "string",
						Description: "Each line is a BatchResult, see the components"}}}}},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/json": {Schema: schemas.Schema(reflect.TypeFor[BatchRequest](), true, "BatchRequest")}}},
		Errors: []int{400, 408, 413, 415, 422, 503},
	}), a.createBatch)
}

// maxBatchJSON bounds a batch's JSON, in bytes: 10,000 items of 3 KiB.
const maxBatchJSON = 32 << 20

func (a *API) createBatch(ctx context.Context, in *batchInput) (*huma.StreamResponse, error) {
	if ct, _, _ := strings.Cut(in.request.Header.Get("Content-Type"), ";"); !strings.EqualFold(strings.TrimSpace(ct),
		"application/json") {
		return nil, a.fail(ctx, notary.Errorf(notary.CodeUnsupported, "Send application/json. Nothing was saved."))
	}
	var req BatchRequest
	if err := decodeStrict(a.patient(in.response, in.request.Body), maxBatchJSON, &req); err != nil {
		return nil, a.fail(ctx, err)
	}
	if len(req.Records) == 0 || len(req.Records) > a.MaxBatch {
		return nil, a.fail(ctx, notary.InvalidField("records", "A batch has 1 to %d records. Nothing was saved.",
			a.MaxBatch))
	}
	b := &batch{API: a, wait: notary.State(in.Wait), results: make([]BatchResult, len(req.Records))}
	from := origin(ctx, "batch")
	for i, r := range req.Records {
		item, err := r.item(caller(ctx).AgencyID, from)
		if err != nil {
			b.results[i] = failedItem(err)
			continue
		}
		b.items, b.at = append(b.items, item), append(b.at, i)
	}
	if err := a.Usage.Spend(ctx, caller(ctx), uint64(len(b.items))); err != nil {
		return nil, a.fail(ctx, err)
	}
	var err error
	if b.running, err = a.Intake.Batch(ctx, b.items); err != nil {
		a.Usage.GiveBack(caller(ctx), uint64(len(b.items)))
		return nil, a.fail(ctx, err)
	}
	if strings.Contains(in.request.Header.Get("Accept"), "application/jsonl") {
		return &huma.StreamResponse{Body: func(c huma.Context) { b.lines(ctx, c) }}, nil
	}
	for range b.run(ctx) {
		continue // all results are wanted before the first is sent
	}
	return &huma.StreamResponse{Body: func(c huma.Context) {
		c.SetHeader("Content-Type", "application/json")
		_ = encoder(c.BodyWriter()).Encode(BatchResponse{Results: b.results}) // the client may have left
	}}, nil
}

// batch is a call at work.
type batch struct {
	*API
	wait    notary.State
	items   []intake.BatchItem // those that are in form
	at      []int              // their places in the call
	results []BatchResult
	running iter.Seq2[int, intake.BatchResult]
}

// run notarizes and fills in the results. It yields how many of them, from the first, are final.
func (b *batch) run(ctx context.Context) iter.Seq[int] {
	return func(yield func(int) bool) {
		last, back, failed := uint64(0), uint64(0), 0
		var why error // of the first that failed here
		defer func() {
			b.Usage.GiveBack(caller(ctx), back)
			if failed > 0 { // one line: there may be thousands
				b.log.WarnContext(ctx, "items of a batch failed", "items", failed, "of", len(b.items), "error", why)
			}
		}()
		for k, res := range b.running {
			if unspent(res.Err, res.Replay) {
				back++
			}
			if res.Err == nil {
				last = max(last, res.Record.Index)
				b.results[b.at[k]] = issuedItem(res)
			} else {
				if problemOf(res.Err).Status >= 500 {
					failed++
					if why == nil {
						why = res.Err
					}
				}
				b.results[b.at[k]] = failedItem(res.Err)
			}
			if !yield(b.at[k] + 1) {
				return
			}
		}
		if b.wait != "" {
			if _, err := b.waitFor(ctx, last, b.wait); err != nil && !errors.Is(err, context.Canceled) {
				b.log.WarnContext(ctx, "waiting for a batch", "error", err)
			}
		}
		yield(len(b.results))
	}
}

// lines sends each result as soon as it is final. Records of a client that leaves are
// notarized all the same; it asks again with its idempotency keys.
func (b *batch) lines(ctx context.Context, c huma.Context) {
	c.SetHeader("Content-Type", "application/jsonl")
	out, sent, gone := encoder(c.BodyWriter()), 0, false
	_, w := humachi.Unwrap(c)
	flush := http.NewResponseController(w)
	for final := range b.run(ctx) {
		for ; sent < final && !gone; sent++ {
			gone = out.Encode(b.results[sent]) != nil
		}
		if sent%flushEvery == 0 || sent == len(b.results) {
			_ = flush.Flush() // what cannot be flushed arrives at the end
		}
	}
}

// flushEvery is how many lines are sent together at least, but for the last ones.
const flushEvery = 100

func encoder(w io.Writer) *json.Encoder {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e
}

func (r BatchRecord) item(agencyID string, from intake.Origin) (intake.BatchItem, error) {
	d, err := r.draft(agencyID, r.IdempotencyKey, from)
	if err != nil {
		return intake.BatchItem{}, err
	}
	digest, size, err := r.digestOnly(d)
	return intake.BatchItem{Draft: d, Digest: digest, Size: size}, err
}

func failedItem(err error) BatchResult {
	p := problemOf(err)
	return BatchResult{Status: p.Status, Problem: p}
}

func issuedItem(res intake.BatchResult) BatchResult {
	status := http.StatusCreated
	if res.Replay {
		status = http.StatusOK
	}
	r := res.Record
	return BatchResult{Status: status, Record: &BatchIssued{ID: r.ID, Number: r.Number, Code: r.Code,
		SM3: r.SM3.String(), Index: r.Index, IssuedAt: formatTime(r.IssuedAt)}}
}
