package api

import (
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"

	"stele/notary"
	"stele/notary/register/erasure"
	"stele/server/auth"
)

// Trail notes in the audit trail what a key is about to do, and from which network.
type Trail func(ctx context.Context, key notary.APIKey, act, about, detail, network string) error

type eraseInput struct {
	fromNetwork
	ID   string `path:"id" doc:"Record id or certificate number"`
	Body struct {
		All      bool     `json:"all,omitempty" doc:"All attributes, and the reference"`
		Fields   []string `json:"fields,omitempty" maxItems:"100" doc:"Names of attributes"`
		Document bool     `json:"document,omitempty" doc:"The original too, where it is kept here"`
		Reason   string   `json:"reason" minLength:"1" maxLength:"300" doc:"Kept in the audit trail; write nothing personal"`
	}
}

// fromNetwork is embedded in inputs that need to know where the caller is.
type fromNetwork struct{ network string }

// Resolve implements huma.Resolver.
func (f *fromNetwork) Resolve(ctx huma.Context) []error {
	r, _ := humachi.Unwrap(ctx)
	f.network, _ = auth.ClientKey(r) // it gives no error
	return nil
}

type eraseOutput struct {
	Body struct {
		Record
		Retained bool `json:"documentRetained,omitempty" doc:"The object store must keep the original until its lock ends; it is deleted then, and not served before"`
	}
}

func (a *API) registerErase() {
	huma.Register(a.huma, a.private(notary.ScopeErase, huma.Operation{
		OperationID: "erase-record", Method: http.MethodPost, Path: "/api/v1/records/{id}/erase",
		Tags:    []string{"records"},
		Summary: "Erase attributes of a record for ever",
		Description: "Values and salts are deleted; number, digest, signature and place in the log stay, so every " +
			"proof holds, and bundles fetched from now on lack what was erased. It cannot be undone, and does " +
			"not reach " +
			"bundles, certificates and webhooks that were handed out before. Repeating it changes nothing more.",
		Errors: []int{404, 422},
	}), a.erase)
}

func (a *API) erase(ctx context.Context, in *eraseInput) (*eraseOutput, error) {
	key := caller(ctx)
	q := erasure.Request{AgencyID: key.AgencyID, Record: in.ID, Names: in.Body.Fields, All: in.Body.All,
		Document: in.Body.Document, Reason: in.Body.Reason, By: "key " + key.Name}
	rec, names, err := a.Eraser.Check(ctx, q)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	detail := "fields=" + strings.Join(names, ",")
	if q.Document {
		detail += "; document=yes"
	}
	if err := a.Trail(ctx, key, "record_erase", rec.Number, detail+"; reason="+q.Reason, in.network); err != nil {
		return nil, a.fail(ctx, err)
	}
	res, err := a.Eraser.Erase(ctx, q)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	out := &eraseOutput{}
	if out.Body.Record, err = a.now(ctx, res.Record); err != nil {
		return nil, a.fail(ctx, err)
	}
	out.Body.Retained = res.Retained
	return out, nil
}
