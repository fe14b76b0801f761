package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"stele/notary"
	"stele/notary/intake"
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

type batchOutput struct{ Body BatchResponse }

func (a *API) registerBatch() {
	schemas := a.huma.OpenAPI().Components.Schemas
	registerRaw(a.huma, a.private(notary.ScopeWrite, huma.Operation{
		OperationID: "create-records", Method: http.MethodPost, Path: "/api/v1/records/batch", Tags: []string{"records"},
		Summary:     "Notarize many documents by digest",
		Description: fmt.Sprintf("Up to %d items. Each succeeds or fails alone; the answer has a result per item, in order.", a.MaxBatch),
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: schemas.Schema(reflect.TypeFor[BatchRequest](), true, "BatchRequest")}}},
		Errors:      []int{400, 408, 413, 415, 422},
	}), a.createBatch)
}

// maxBatchJSON bounds a batch's JSON, in bytes: 10,000 items of 3 KiB.
const maxBatchJSON = 32 << 20

func (a *API) createBatch(ctx context.Context, in *batchInput) (*batchOutput, error) {
	if ct, _, _ := strings.Cut(in.request.Header.Get("Content-Type"), ";"); !strings.EqualFold(strings.TrimSpace(ct), "application/json") {
		return nil, a.fail(ctx, notary.Errorf(notary.CodeUnsupported, "Send application/json. Nothing was saved."))
	}
	var req BatchRequest
	if err := decodeStrict(a.patient(in.response, in.request.Body), maxBatchJSON, &req); err != nil {
		return nil, a.fail(ctx, err)
	}
	if len(req.Records) == 0 || len(req.Records) > a.MaxBatch {
		return nil, a.fail(ctx, notary.InvalidField("records", "A batch has 1 to %d records. Nothing was saved.", a.MaxBatch))
	}
	out := &batchOutput{Body: BatchResponse{Results: make([]BatchResult, len(req.Records))}}
	items := make([]intake.BatchItem, 0, len(req.Records))
	at := make([]int, 0, len(req.Records))
	from := origin(ctx, "batch")
	for i, r := range req.Records {
		item, err := r.item(caller(ctx).AgencyID, from)
		if err != nil {
			out.Body.Results[i] = failedItem(err)
			continue
		}
		items, at = append(items, item), append(at, i)
	}
	if err := a.Usage.Spend(ctx, caller(ctx), uint64(len(items))); err != nil {
		return nil, a.fail(ctx, err)
	}
	last, unspent := uint64(0), uint64(0)
	defer func() { a.Usage.GiveBack(caller(ctx), unspent) }()
	for k, res := range a.Intake.Batch(ctx, items) {
		if res.Err != nil || res.Replay {
			unspent++
		}
		if res.Err != nil {
			if problemOf(res.Err).Status >= 500 {
				a.log.WarnContext(ctx, "batch item failed", "error", res.Err)
			}
			out.Body.Results[at[k]] = failedItem(res.Err)
			continue
		}
		last = max(last, res.Record.Index)
		out.Body.Results[at[k]] = issuedItem(res)
	}
	if in.Wait != "" {
		if _, err := a.waitFor(ctx, last, notary.State(in.Wait)); err != nil && !errors.Is(err, context.Canceled) {
			a.log.WarnContext(ctx, "waiting for a batch", "error", err)
		}
	}
	return out, nil
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
	return BatchResult{Status: status, Record: &BatchIssued{ID: r.ID, Number: r.Number, Code: r.Code, SM3: r.SM3.String(), Index: r.Index, IssuedAt: formatTime(r.IssuedAt)}}
}
