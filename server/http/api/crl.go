package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"stele/crypto/pki"
	"stele/crypto/sm"
	"stele/notary"
)

// RevocationLists finds certificate revocation lists. It is safe for concurrent use.
type RevocationLists interface {
	// RevocationList is the newest one that the root with this SM3 of its DER has signed, [notary.ErrNotFound] where
	// there is none; nil stands for the first of the trust roots.
	RevocationList(ctx context.Context, root *sm.Digest) (pki.SignedList, error)
}

type revocationListInput struct {
	Root   string `path:"root" doc:"SM3 of the root's certificate (DER) in lower-case hex, or root for the first one of the trust roots" pattern:"^([0-9a-f]{64}|root)$"`
	UserID string `query:"userId" enum:"standard,empty" default:"standard" doc:"The SM2 user id of the signature: standard is 1234567812345678, empty is what openssl verify -crl_check takes for lists"`
}

const cacheList = "public, max-age=300"

func (a *API) registerLists() {
	huma.Register(a.huma, huma.Operation{OperationID: "get-revocation-list", Method: http.MethodGet,
		Path: "/api/v1/crl/{root}", Tags: []string{"log"},
		Summary:   "The certificate revocation list (RFC 5280) of agencies' certificates, DER",
		Responses: binaryResponse("application/pkix-crl", "The list"), Errors: []int{404, 422, 503}},
		func(ctx context.Context, in *revocationListInput) (*bytesOutput, error) {
			var root *sm.Digest
			if d, err := sm.ParseDigest(in.Root); err == nil { // the pattern leaves one other word
				root = &d
			}
			l, err := a.Lists.RevocationList(ctx, root)
			if errors.Is(err, notary.ErrNotFound) {
				err = notary.Errorf(notary.CodeNotFound, "There is no revocation list of this root.")
			}
			if err != nil {
				return nil, a.fail(ctx, err)
			}
			out := &bytesOutput{ContentType: "application/pkix-crl", Cache: cacheList, Body: l.Standard}
			if in.UserID == "empty" {
				out.Body = l.NoID
			}
			return out, nil
		})
}
