package api

import (
	"context"
	"net/http"
	"reflect"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"stele/notary"
)

// maxBundles is how many bundles one call fetches.
const maxBundles = 1000

type bundlesInput struct {
	Body struct {
		Records []string `json:"records" minItems:"1" maxItems:"1000" doc:"Record ids or certificate numbers"`
	}
}

// BundleLine is one line of the answer: what was asked for, and its bundle or why there is none.
type BundleLine struct {
	Record  string   `json:"record" doc:"As it was asked for"`
	Number  string   `json:"number,omitempty"`
	Bundle  string   `json:"bundle,omitempty" doc:"The bundle's exact text"`
	Problem *Problem `json:"problem,omitempty"`
}

func (a *API) registerBundles() {
	// A schema describes the whole body, which is no JSON here. That of a line is among the components.
	a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[BundleLine](), true, "BundleLine")
	lines := &huma.Schema{Type: "string", Description: "Each line is a BundleLine, see the components"}
	huma.Register(a.huma, a.private(notary.ScopeRead, huma.Operation{OperationID: "get-bundles", Method: http.MethodPost, Path: "/api/v1/records/bundles", Tags: []string{"records"},
		Summary: "The proofs of many records", Description: "Answers JSON lines in the order asked for, one a record, as they are made. A line has a bundle or a problem.", Errors: []int{422},
		Responses: map[string]*huma.Response{"200": {Description: "JSON lines, each a BundleLine", Content: map[string]*huma.MediaType{"application/jsonl": {Schema: lines}}}}}), a.bundles)
}

func (a *API) bundles(ctx context.Context, in *bundlesInput) (*huma.StreamResponse, error) {
	if len(in.Body.Records) > maxBundles || slices.Contains(in.Body.Records, "") {
		return nil, a.fail(ctx, notary.InvalidField("records", "Name 1 to %d records.", maxBundles))
	}
	agency := caller(ctx).AgencyID
	return &huma.StreamResponse{Body: func(c huma.Context) {
		c.SetHeader("Content-Type", "application/jsonl")
		c.SetHeader("Cache-Control", "private, no-store")
		e := encoder(c.BodyWriter())
		for _, id := range in.Body.Records {
			if e.Encode(a.bundleLine(ctx, agency, id)) != nil {
				return // the client has left
			}
		}
	}}, nil
}

func (a *API) bundleLine(ctx context.Context, agency, id string) BundleLine {
	rec, err := a.Archive.Record(ctx, agency, id)
	if err != nil {
		return BundleLine{Record: id, Problem: problemOf(err)}
	}
	b, err := a.settledBundle(ctx, rec, true)
	if err != nil {
		return BundleLine{Record: id, Number: rec.Number, Problem: problemOf(err)}
	}
	return BundleLine{Record: id, Number: rec.Number, Bundle: string(b)}
}
