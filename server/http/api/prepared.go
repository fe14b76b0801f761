package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/register/intake"
)

// Prepared is a statement that waits for the signature of an agency that keeps its key.
type Prepared struct {
	ID        string       `json:"id" format:"uuid" doc:"Where the signature is sent to"`
	Number    string       `json:"number" doc:"Number that the certificate will have"`
	Statement []byte       `json:"statement" contentEncoding:"base64" doc:"The exact bytes to sign: SM2 with SM3, user id 1234567812345678. Look at them before you sign"`
	Digest    string       `json:"digest" doc:"e = SM3(Z || statement), 64 hexadecimal digits, for key devices that sign a digest (GB/T 32918.2)"`
	UserID    string       `json:"userId" doc:"The SM2 user id"`
	Document  *DocumentRef `json:"document,omitempty"`
	ExpiresAt string       `json:"expiresAt" format:"date-time" doc:"Until when the signature must be here"`
}

type preparedOutput struct {
	Location string `header:"Location"`
	Replayed string `header:"Idempotency-Replayed" doc:"true when the idempotency key was used before: there is a record already, and no statement to sign"`
	Body     struct {
		Prepared *Prepared `json:"prepared,omitempty"`
		Record   *Record   `json:"record,omitempty" doc:"Instead of a statement, when the idempotency key was used before"`
	}
}

type signatureInput struct {
	ID   string `path:"id" maxLength:"64" doc:"Of the prepared statement"`
	Wait string `query:"wait" enum:"logged,anchored"`
	Body struct {
		Signature []byte `json:"signature" contentEncoding:"base64" doc:"SM2 signature, DER SEQUENCE of r and s with minimal integers"`
	}
}

type prepareRevokeInput struct {
	ID          string `path:"id" doc:"Record id or certificate number"`
	Idempotency string `header:"Idempotency-Key" maxLength:"128"`
	Body        struct {
		Reason string `json:"reason" minLength:"1" maxLength:"1000" doc:"Public"`
	}
}

func (a *API) registerPrepared(body *huma.RequestBody) {
	registerRaw(a.huma, a.private(notary.ScopeWrite, huma.Operation{
		OperationID: "prepare-record", Method: http.MethodPost, Path: "/api/v1/records/prepare",
		DefaultStatus: http.StatusCreated, Tags: []string{"keys at home"},
		Summary: "Prepare a statement for an agency that keeps its key",
		Description: "Takes what `POST /api/v1/records` takes. Nothing is notarized until the signature is sent; it " +
			"must come within 15 minutes.",
		RequestBody: body, Errors: []int{400, 404, 408, 409, 413, 415, 422},
	}), a.prepare)
	huma.Register(a.huma, a.private(notary.ScopeRevoke, huma.Operation{
		OperationID: "prepare-revocation", Method: http.MethodPost, Path: "/api/v1/records/{id}/revoke/prepare",
		DefaultStatus: http.StatusCreated, Tags: []string{"keys at home"},
		Summary: "Prepare a revocation for an agency with an external key", Errors: []int{404, 409, 422},
	}), a.prepareRevocation)
	huma.Register(a.huma, a.private(notary.ScopeWrite, huma.Operation{
		OperationID: "sign-prepared", Method: http.MethodPost, Path: "/api/v1/records/prepared/{id}",
		DefaultStatus: http.StatusCreated, Tags: []string{"keys at home"},
		Summary: "Send the signature of a prepared statement",
		Description: "The record exists once this answers 201. Nothing is notarized unless the signature verifies " +
			"under the agency's certificate. Repeating the call gives the same record. A withdrawal needs the scope " +
			"`revoke` too.",
		Errors: []int{404, 409, 422},
	}), a.sign)
}

func (a *API) prepare(ctx context.Context, in *createInput) (*preparedOutput, error) {
	out, err := a.take(ctx, in, intake.Outside)
	return a.prepared(ctx, out, err)
}

func (a *API) prepareRevocation(ctx context.Context, in *prepareRevokeInput) (*preparedOutput, error) {
	ref := intake.Ref{AgencyID: caller(ctx).AgencyID, Record: in.ID}
	out, err := a.Intake.Revoke(ctx, ref, intake.Reason{Text: in.Body.Reason, Idempotency: in.Idempotency},
		intake.Outside)
	return a.prepared(ctx, out, err)
}

func (a *API) prepared(ctx context.Context, taken intake.Taken, err error) (*preparedOutput, error) {
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	out := &preparedOutput{}
	if taken.Replay {
		answer, err := a.answer(ctx, taken, "")
		if err != nil {
			return nil, err
		}
		out.Location, out.Replayed, out.Body.Record = answer.Location, answer.Replayed, &answer.Body
		return out, nil
	}
	p := taken.Prepared
	it := &p.Item
	out.Location = "/api/v1/records/prepared/" + p.ID
	out.Body.Prepared = &Prepared{ID: p.ID, Number: it.Record.Number, Statement: it.Entry.Statement,
		Digest: p.Digest.String(), UserID: sm.UserID, ExpiresAt: formatTime(p.ExpiresAt)}
	if it.Record.Standing == notary.Valid {
		out.Body.Prepared.Document = &DocumentRef{SM3: it.Record.SM3.String(), Size: it.Record.Size,
			MediaType: it.Record.MediaType}
	}
	return out, nil
}

func (a *API) sign(ctx context.Context, in *signatureInput) (*recordOutput, error) {
	key := caller(ctx)
	if err := a.Usage.Spend(ctx, key, 1); err != nil {
		return nil, a.fail(ctx, err)
	}
	out, err := a.Intake.Complete(ctx, key.AgencyID, in.ID, in.Body.Signature, key.May(notary.ScopeRevoke))
	rec := out.Record
	if unspent(err, out.Replay) || rec.Standing == notary.Revoked {
		a.Usage.GiveBack(key, 1)
	}
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	wait := in.Wait
	if rec.Standing == notary.Revoked && !out.Replay { // the withdrawal is what is waited for
		if _, err := a.waitFor(ctx, rec.StandingIndex, notary.State(wait)); err != nil {
			a.log.WarnContext(ctx, "waiting for a revocation", "error", err)
		}
		wait = ""
	}
	return a.answer(ctx, out, wait)
}
