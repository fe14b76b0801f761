package api

import (
	"context"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"stele/notary"
	"stele/notary/issue/archive"
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
	huma.Register(a.huma, a.private(notary.ScopeRead, huma.Operation{OperationID: "get-bundle", Method: http.MethodGet,
		Path: "/api/v1/records/{id}/bundle", Tags: []string{"records"},
		Summary: "The record's proof, to be checked by anyone offline",
		Description: "With `with`, a bundle of version 2: it shows also that the log only grew between the record's " +
			"anchored checkpoint and another one. The other record may be another agency's: nothing of it but that " +
			"checkpoint is disclosed, which is public.",
		Errors:    []int{404, 409, 422},
		Responses: binaryResponse("application/json", "The bundle, in canonical form")}), a.bundle)
	// A schema describes the whole body, which is no JSON here. That of a line is among the components.
	a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[BundleLine](), true, "BundleLine")
	lines := &huma.Schema{Type: "string", Description: "Each line is a BundleLine, see the components"}
	huma.Register(a.huma,
		a.private(notary.ScopeRead, huma.Operation{OperationID: "get-bundles", Method: http.MethodPost,
			Path: "/api/v1/records/bundles", Tags: []string{"records"},
			Summary: "The proofs of many records", Description: "Answers JSON lines in the order asked for, one a " +
				"record, as they are made. A line has a bundle or a problem.", Errors: []int{422},
			Responses: map[string]*huma.Response{"200": {Description: "JSON lines, each a BundleLine",
				Content: map[string]*huma.MediaType{"application/jsonl": {Schema: lines}}}}}), a.bundles)
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

type bundleInput struct {
	ID   string `path:"id" maxLength:"64" doc:"Record id or certificate number"`
	With string `query:"with" maxLength:"64" example:"size:4096" doc:"Another record's number, or size:N"`

	Status string `query:"status" enum:"latest" doc:"latest: with what the log says of the record's standing, not with with"`
}

func (a *API) bundle(ctx context.Context, in *bundleInput) (*bytesOutput, error) {
	other, err := parseWith(in.With)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	if other != nil && in.Status != "" {
		return nil, a.fail(ctx, notary.InvalidField("status", "Either with or status can be asked for, not both."))
	}
	rec, err := a.Archive.Record(ctx, caller(ctx).AgencyID, in.ID)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	b, err := a.settled(ctx, rec, func() ([]byte, error) {
		switch {
		case other != nil:
			return a.Histories.Bundle(ctx, rec, true, *other)
		case in.Status != "":
			return a.Archive.WithStatus(ctx, rec, true)
		}
		return a.Archive.Bundle(ctx, rec, true)
	})
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	return &bytesOutput{ContentType: "application/json", Cache: "private, no-store", Body: b,
		Disposition: `attachment; filename="` + rec.Number + `.bundle.json"`}, nil
}

// parseWith reads which checkpoint is meant; an absent parameter means none.
func parseWith(s string) (*archive.Other, error) {
	text, isSize := strings.CutPrefix(s, "size:")
	switch {
	case s == "":
		return nil, nil
	case isSize:
		size, err := strconv.ParseUint(text, 10, 53)
		if err != nil || size == 0 || strconv.FormatUint(size, 10) != text {
			return nil, notary.InvalidField("with",
				"After size: the number of entries of an anchored checkpoint is expected.")
		}
		return &archive.Other{Size: size}, nil
	case !notary.ValidNumber(s):
		return nil, notary.InvalidField("with", "The certificate number of another record, or size:N, is expected.")
	}
	return &archive.Other{Number: s}, nil
}

// settledBundle waits out the moment in which a record, or a withdrawal, is received but
// not logged yet: it is a fraction of a second unless something is wrong.
func (a *API) settledBundle(ctx context.Context, rec notary.Record, show bool) ([]byte, error) {
	return a.settled(ctx, rec, func() ([]byte, error) { return a.Archive.Bundle(ctx, rec, show) })
}

func (a *API) settled(ctx context.Context, rec notary.Record, build func() ([]byte, error)) ([]byte, error) {
	b, err := build()
	if notary.CodeOf(err) != notary.CodeNotReady {
		return b, err
	}
	index := rec.Index
	if rec.Standing != notary.Valid {
		index = rec.StandingIndex
	}
	if _, err := a.waitFor(ctx, index, notary.Logged); err != nil {
		return nil, err
	}
	return build()
}
