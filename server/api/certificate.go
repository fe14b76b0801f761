package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"stele/notary"
	"stele/notary/certificate"
	"stele/notary/proof"
)

func (a *API) registerCertificates() {
	huma.Register(a.huma, a.private(huma.Operation{OperationID: "get-certificate", Method: http.MethodGet, Path: "/api/v1/records/{id}/certificate", Tags: []string{"records"},
		Summary:     "The record's certificate, with the bundle attached inside",
		Description: "A certificate is made of an anchored record; before that the answer is `not_ready`. It says what became of the record since: fetch it again after a revocation.",
		Errors:      []int{404, 409}, Responses: binaryResponse("application/pdf", "The certificate")}), a.certificate)
}

// issued is what certificate and evidence package are made of.
type issued struct {
	record      notary.Record
	bundle      []byte
	report      *proof.Report
	certificate []byte
}

// issue makes the certificate of an anchored record.
func (a *API) issue(ctx context.Context, id string) (issued, error) {
	rec, err := a.Archive.Record(ctx, caller(ctx).AgencyID, id)
	if err != nil {
		return issued{}, err
	}
	out := issued{record: rec}
	if out.bundle, err = a.settledBundle(ctx, rec, true); err != nil {
		return issued{}, err
	}
	out.report = proof.Verify(a.Archive.Trust(), &rec.SM3, out.bundle)
	out.certificate, err = certificate.Render(certificate.Input{Record: rec, Bundle: out.bundle, Report: out.report, PublicURL: a.PublicURL})
	if errors.Is(err, certificate.ErrNotAnchored) {
		err = notary.Errorf(notary.CodeNotReady, "The record is not anchored yet, and a certificate is made once it is; ask again in a second.")
	}
	return out, err
}

func (a *API) certificate(ctx context.Context, in *idInput) (*bytesOutput, error) {
	out, err := a.issue(ctx, in.ID)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	return &bytesOutput{ContentType: "application/pdf", Disposition: `attachment; filename="` + out.record.Number + `.pdf"`, Cache: "private, no-store", Body: out.certificate}, nil
}
