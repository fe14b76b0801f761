package api

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"stele/notary"
	"stele/notary/issue/evidence"
	"stele/notary/proof"
)

func (a *API) registerCertificates() {
	huma.Register(a.huma,
		a.private(notary.ScopeRead, huma.Operation{OperationID: "get-certificate", Method: http.MethodGet,
			Path: "/api/v1/records/{id}/certificate", Tags: []string{"records"},
			Summary: "The record's certificate, with the bundle attached inside",
			Description: "A certificate is made of an anchored record; before that the answer is `not_ready`. It " +
				"says what became of the record since: fetch it again after a revocation. With `status` it shows " +
				"what the log says of that, and is no longer the same bytes for everybody.",
			Errors: []int{404, 409}, Responses: binaryResponse("application/pdf", "The certificate")}), a.certificate)
	huma.Register(a.huma,
		a.private(notary.ScopeRead, huma.Operation{OperationID: "get-evidence", Method: http.MethodGet,
			Path: "/api/v1/records/{id}/evidence", Tags: []string{"records"},
			Summary: "The evidence package for a court: a zip of original, bundle, certificate, trust roots, " +
				"report, and how to check each step",
			Description: "Made of an anchored record, like the certificate, with `status` or without. When the " +
				"connection breaks off before its end, what arrived is no zip file.",
			Errors: []int{404, 409}, Responses: binaryResponse("application/zip", "The package")}), a.evidence)
}

// issued is what certificate and evidence package are made of.
type issued struct {
	record      notary.Record
	bundle      []byte
	report      *proof.Report
	certificate []byte
}

// issuedInput names a record, and whether what is made of it shows the log's newest status.
type issuedInput struct {
	ID     string `path:"id" maxLength:"64" doc:"Record id or certificate number"`
	Status string `query:"status" enum:"latest" doc:"latest: with what the log says of the record's standing"`
}

// issue makes the certificate of an anchored record.
func (a *API) issue(ctx context.Context, in *issuedInput) (issued, error) {
	rec, err := a.Archive.Record(ctx, caller(ctx).AgencyID, in.ID)
	if err != nil {
		return issued{}, err
	}
	out := issued{record: rec}
	build := a.Archive.Bundle
	if in.Status != "" {
		build = a.Archive.WithStatus
	}
	out.bundle, err = a.settled(ctx, rec, func() ([]byte, error) { return build(ctx, rec, true) })
	if err != nil {
		return issued{}, err
	}
	made, err := a.Issuer.Certificate(ctx, rec, out.bundle)
	out.report, out.certificate = made.Report, made.Certificate
	return out, err
}

func (a *API) certificate(ctx context.Context, in *issuedInput) (*bytesOutput, error) {
	out, err := a.issue(ctx, in)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	return &bytesOutput{ContentType: "application/pdf", Disposition: `attachment; filename="` + out.record.Number +
		`.pdf"`, Cache: "private, no-store", Body: out.certificate}, nil
}

func (a *API) evidence(ctx context.Context, in *issuedInput) (*huma.StreamResponse, error) {
	out, err := a.issue(ctx, in)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	input := evidence.Input{Bundle: out.bundle, Report: out.report, Certificate: out.certificate, Trust: a.TrustJSON,
		VerifyPage: a.VerifyPage}
	body := io.NopCloser(strings.NewReader(""))
	if out.record.Stored {
		if body, _, err = notary.OpenDocument(ctx, a.Documents, out.record); err != nil {
			return nil, a.fail(ctx, notary.Wrap(notary.CodeUnavailable, err,
				"The original cannot be read at the moment; try again."))
		}
		input.Original = body
	}
	p, err := evidence.Prepare(input)
	if err != nil {
		body.Close()
		return nil, a.fail(ctx, err)
	}
	return &huma.StreamResponse{Body: func(c huma.Context) {
		defer body.Close()
		c.SetHeader("Content-Type", "application/zip")
		c.SetHeader("Content-Disposition", `attachment; filename="`+evidence.FileName(out.record.Number)+`"`)
		c.SetHeader("Cache-Control", "private, no-store")
		if err := p.Write(c.BodyWriter()); err != nil {
			level := slog.LevelWarn // the client left, or the store broke
			if errors.Is(err, evidence.ErrOriginal) {
				level = slog.LevelError
			}
			a.log.Log(ctx, level, "sending an evidence package broke off", "record", out.record.ID, "error", err)
			// Ending the answer in order would make a broken package look whole to the client.
			panic(http.ErrAbortHandler)
		}
	}}, nil
}
