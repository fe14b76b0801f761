package api

import (
	"bufio"
	"context"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"stele/notary"
	"stele/notary/register/intake"
	"stele/server/http/slowread"
)

type createInput struct {
	rawBody
	Idempotency string `header:"Idempotency-Key" maxLength:"128" doc:"Repeating a request with its key gives the same record"`
	Wait        string `query:"wait" enum:"logged,anchored" doc:"Answer only when the record is that far, or after 30 s"`
	ContentType string `header:"Content-Type" doc:"multipart/form-data with the parts record and file, or application/json"`
}

type recordOutput struct {
	Location string `header:"Location"`
	Replayed string `header:"Idempotency-Replayed" doc:"true when the idempotency key was used before"`
	Body     Record
}

func (a *API) registerRecords() {
	schemas := a.huma.OpenAPI().Components.Schemas
	record := schemas.Schema(reflect.TypeFor[NewRecord](), true, "NewRecord")
	body := &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
		"application/json": {Schema: record},
		"multipart/form-data": {Schema: &huma.Schema{Type: "object", Required: []string{"record", "file"},
			Properties: map[string]*huma.Schema{
				"record": record, "file": {Type: "string", Format: "binary"}}},
			Encoding: map[string]*huma.Encoding{"record": {ContentType: "application/json"}}},
	}}
	a.registerPrepared(body)
	registerRaw(a.huma, a.private(notary.ScopeWrite, huma.Operation{
		OperationID: "create-record", Method: http.MethodPost, Path: "/api/v1/records",
		DefaultStatus: http.StatusCreated, Tags: []string{"records"},
		Summary: "Notarize a document",
		Description: "Either multipart/form-data with the part `record` (JSON) followed by the part `file`, or " +
			"application/json with the digest and size of a document that stays where it is, or with `upload`, the " +
			"id of an upload that is complete. " +
			"The answer comes once the record is durable; it cannot be lost any more.",
		RequestBody: body,
		Errors:      []int{400, 404, 408, 409, 413, 415, 422},
	}), a.create)
	huma.Register(a.huma, a.private(notary.ScopeRevoke, huma.Operation{
		OperationID: "revoke-record", Method: http.MethodPost, Path: "/api/v1/records/{id}/revoke",
		Tags:        []string{"records"},
		Summary:     "Revoke a record",
		Description: "The reason becomes public and part of the log. It cannot be undone.",
		Errors:      []int{404, 409, 422},
	}), a.revoke)
	a.registerBatch()
}

func (a *API) create(ctx context.Context, in *createInput) (*recordOutput, error) {
	if err := a.Usage.Spend(ctx, caller(ctx), 1); err != nil {
		return nil, a.fail(ctx, err)
	}
	out, err := a.take(ctx, in, intake.Here)
	if unspent(err, out.Replay) {
		a.Usage.GiveBack(caller(ctx), 1)
	}
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	return a.answer(ctx, out, in.Wait)
}

// unspent reports whether a record that was counted was not made. Where that is not known it
// counts: else a client that hangs up at the right moment would have no limit.
func unspent(err error, replayed bool) bool {
	return replayed || err != nil && !errors.Is(err, notary.ErrUnknownOutcome)
}

func (a *API) answer(ctx context.Context, taken intake.Taken, wait string) (*recordOutput, error) {
	rec := taken.Record
	p, err := a.waitFor(ctx, rec.Index, notary.State(wait))
	if err != nil {
		// The record is durable; how far it has come cannot be said, which is no failure.
		p = notary.Progress{Received: rec.Index + 1}
	}
	agency, err := a.agencies.ref(ctx, rec.AgencyID)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	out := &recordOutput{Location: "/api/v1/records/" + rec.ID, Body: wireRecord(rec, agency, p)}
	if taken.Replay {
		out.Replayed = "true"
	}
	return out, nil
}

// take notarizes what a request brings, or prepares its statement: a file, a digest, or an upload.
func (a *API) take(ctx context.Context, in *createInput, how intake.Signing) (intake.Taken, error) {
	read := a.withoutFile
	if boundary, ok := in.multipart(); ok {
		read = func(ctx context.Context, in *createInput) (intake.Draft, intake.Source, error) {
			return a.form(ctx, in, boundary)
		}
	}
	d, source, err := read(ctx, in)
	if err != nil {
		return intake.Taken{}, err
	}
	return a.Intake.Take(ctx, d, source, how)
}

// multipart tells whether a form comes, and what separates its parts.
func (in *createInput) multipart() (boundary string, ok bool) {
	media, params, err := mime.ParseMediaType(in.ContentType)
	return params["boundary"], err == nil && media == "multipart/form-data"
}

// withoutFile reads a request that brings no file: a digest, or an upload.
func (a *API) withoutFile(ctx context.Context, in *createInput) (d intake.Draft, source intake.Source, err error) {
	if media, _, err := mime.ParseMediaType(in.ContentType); err != nil || media != "application/json" {
		return d, source, notary.Errorf(notary.CodeUnsupported, "Send multipart/form-data with the parts 'record' "+
			"and 'file', or application/json with sm3 and size, or with upload. Nothing was saved.")
	}
	var n NewRecord
	if err := decodeStrict(a.patient(in.response, in.request.Body), maxRecordJSON, &n); err != nil {
		return d, source, err
	}
	method := "digest"
	if n.Upload != "" {
		method = "upload"
	}
	if d, err = n.draft(caller(ctx).AgencyID, in.Idempotency, origin(ctx, method)); err != nil {
		return d, source, err
	}
	if n.Upload != "" {
		return d, intake.Upload(n.Upload, n.announced()), nil
	}
	digest, size, err := n.digestOnly(d)
	return d, intake.Digest(digest, size), err
}

// origin is the attested fact of who handed a document in, and how.
func origin(ctx context.Context, method string) intake.Origin {
	return intake.Origin{System: "api key " + caller(ctx).ID, Method: method}
}

// form reads a form up to the file's first byte.
func (a *API) form(ctx context.Context, in *createInput, boundary string) (d intake.Draft, source intake.Source,
	err error) {
	if boundary == "" {
		return d, source,
			notary.Errorf(notary.CodeMalformed, "The multipart boundary is missing in Content-Type. Nothing was saved.")
	}
	// The multipart reader would read a few kilobytes at a time; it takes over a larger buffer.
	mr := multipart.NewReader(bufio.NewReaderSize(a.patient(in.response, in.request.Body), uploadBuffer), boundary)
	part, err := nextPart(mr, "record")
	if err != nil {
		return d, source, err
	}
	var n NewRecord
	if err := decodeStrict(part, maxRecordJSON, &n); err != nil {
		return d, source, err
	}
	if n.Upload != "" {
		return d, source, errUploadHere
	}
	file, err := nextPart(mr, "file")
	if err != nil {
		return d, source, err
	}
	if n.Filename == "" {
		n.Filename = rawFileName(file)
	}
	size := n.announced()
	d, err = n.draft(caller(ctx).AgencyID, in.Idempotency, origin(ctx, "upload"))
	return d, intake.File(&lastPart{part: file, mr: mr, want: size}, size), err
}

// uploadBuffer is how many bytes of an upload are read at once.
const uploadBuffer = 256 << 10

// nextPart returns the next part and demands its name: the order is fixed so that the
// attributes are known before the first byte of the file is read.
func nextPart(mr *multipart.Reader, name string) (*multipart.Part, error) {
	p, err := mr.NextPart()
	switch {
	case err == io.EOF:
		return nil, notary.InvalidField(name, "The part %q is missing: send 'record', then 'file'. Nothing was saved.",
			name)
	case err != nil:
		return nil, readError(err)
	case p.FormName() != name:
		return nil, notary.InvalidField(name,
			"The part %q was expected here: send 'record', then 'file', once each. Nothing was saved.", name)
	}
	return p, nil
}

// rawFileName is the file name as it was sent. The library cuts paths off silently; intake
// refuses them, which tells the caller that something is wrong on their side.
func rawFileName(p *multipart.Part) string {
	_, params, err := mime.ParseMediaType(p.Header.Get("Content-Disposition"))
	if err != nil {
		return ""
	}
	return params["filename"]
}

// lastPart reads the file and, at its end, demands that nothing follows and that the size
// is the one announced: only then does intake see the end of the document.
type lastPart struct {
	part *multipart.Part
	mr   *multipart.Reader
	want int64 // -1: any
	n    int64
}

func (l *lastPart) Read(b []byte) (int, error) {
	n, err := l.part.Read(b)
	l.n += int64(n)
	if err != io.EOF {
		if err != nil && slowread.IsTimeout(err) {
			err = readError(err)
		}
		return n, err
	}
	if l.want >= 0 && l.n != l.want {
		return n, notary.InvalidField("size",
			"The file has %d bytes, not the %d that were announced. Nothing was saved.", l.n, l.want)
	}
	if _, err := l.mr.NextPart(); err != io.EOF {
		if err != nil {
			return n, readError(err)
		}
		return n, notary.InvalidField("file",
			"There is another part after the file: send 'record', then 'file', once each. Nothing was saved.")
	}
	return n, io.EOF
}

type revokeInput struct {
	ID          string `path:"id" doc:"Record id or certificate number"`
	Idempotency string `header:"Idempotency-Key" maxLength:"128"`
	Wait        string `query:"wait" enum:"logged,anchored"`
	Body        struct {
		Reason string `json:"reason" minLength:"1" maxLength:"1000" doc:"Public"`
	}
}

func (a *API) revoke(ctx context.Context, in *revokeInput) (*recordOutput, error) {
	ref := intake.Ref{AgencyID: caller(ctx).AgencyID, Record: in.ID}
	out, err := a.Intake.Revoke(ctx, ref, intake.Reason{Text: in.Body.Reason, Idempotency: in.Idempotency}, intake.Here)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	if out.Replay { // the row that the key points to may be older than the revocation
		if out.Record, err = a.Archive.Record(ctx, ref.AgencyID, in.ID); err != nil {
			return nil, a.fail(ctx, err)
		}
	}
	if _, err := a.waitFor(ctx, out.Record.StandingIndex, notary.State(in.Wait)); err != nil {
		a.log.WarnContext(ctx, "waiting for a revocation", "error", err)
	}
	return a.answer(ctx, out, "")
}

// waitFor waits until the entry at an index is as far as wanted, the request ends, or the
// longest wait is over; it then returns how far the log is.
func (a *API) waitFor(ctx context.Context, index uint64, want notary.State) (notary.Progress, error) {
	if want == "" {
		return a.cachedProgress(ctx)
	}
	return a.Archive.Await(ctx, a.Progress, a.Limits.MaxWait, index, want)
}

// cachedProgress spares a query per written record: a fresh record is received, and what is
// a little old is true all the same, since progress only grows.
func (a *API) cachedProgress(ctx context.Context) (notary.Progress, error) {
	return a.agencies.progress(ctx, a.Now(), a.Archive.Progress)
}
