package api

import (
	"context"
	"log/slog"
	"maps"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"

	"stele/notary"
	"stele/notary/register/upload"
	"stele/server/http/tus"
)

const uploadsPath = "/api/v1/uploads"

// offsetStream is the content type of a piece of an upload.
const offsetStream = "application/offset+octet-stream"

// NewUpload is what a caller sends for a direct upload.
type NewUpload struct {
	Size     int64  `json:"size" minimum:"0" doc:"Bytes of the file; not one more or less can be stored"`
	SM3      string `json:"sm3,omitempty" doc:"SM3 of the file, 64 lower-case hexadecimal digits; the record is refused if it is another"`
	Filename string `json:"filename,omitempty" maxLength:"255" doc:"For records that name none; private"`
}

// DirectUpload is where to send a file to.
type DirectUpload struct {
	ID            string            `json:"id" format:"uuid" doc:"For the field upload of a record"`
	URL           string            `json:"url" format:"uri" doc:"Takes one PUT of the file. Whoever has it needs no key: keep it to yourself"`
	Headers       map[string]string `json:"headers" doc:"That the PUT must have, exactly so"`
	ExpiresAt     string            `json:"expiresAt" format:"date-time" doc:"Until when the PUT must begin"`
	UploadExpires string            `json:"uploadExpiresAt" format:"date-time" doc:"Until when the upload must be notarized"`
}

type directOutput struct {
	Cache string `header:"Cache-Control"`
	Body  DirectUpload
}

func (a *API) registerUploads(r chi.Router) error {
	huma.Register(a.huma, a.private(notary.ScopeWrite, huma.Operation{
		OperationID: "create-direct-upload", Method: http.MethodPost, Path: uploadsPath + "/presigned",
		DefaultStatus: http.StatusCreated, Tags: []string{"uploads"},
		Summary: "Upload straight into the bucket",
		Description: "Answers an address that takes one PUT of the file, of at most 5 GiB, for an hour. Then " +
			"notarize it with `POST /api/v1/records` and the field `upload`: the service reads the object once and " +
			"takes its digest itself. Services that keep documents in a folder answer 409; use a resumable " +
			"upload there.",
		Errors: []int{409, 413, 422},
	}), a.createDirect)
	h, err := tus.New(tus.Config{Uploads: a.Uploads, MaxSize: a.MaxDocument, Path: uploadsPath,
		ReadTimeout: a.Limits.ReadTimeout, Stopping: a.Stopping,
		Agency: func(ctx context.Context) string { return caller(ctx).AgencyID }, Problem: a.problem})
	if err != nil {
		return err
	}
	serve := a.keyed(notary.ScopeWrite, h)
	r.Method(http.MethodOptions, uploadsPath, serve)
	r.Method(http.MethodPost, uploadsPath, serve)
	for _, method := range []string{http.MethodHead, http.MethodPatch, http.MethodDelete, http.MethodPost} {
		r.Method(method, uploadsPath+"/{id}", serve)
	}
	a.describeUploads()
	return nil
}

// problem answers with an error; status 0 is what is usual for it.
func (a *API) problem(w http.ResponseWriter, r *http.Request, status int, err error) {
	p := problemOf(err)
	if status != 0 {
		p.Status, p.Title = status, http.StatusText(status)
	}
	a.log.LogAttrs(r.Context(), levelOf(p.Status), "request failed", slog.String("code", p.Code),
		slog.Any("error", err))
	WriteProblem(w, p)
}

func (a *API) createDirect(ctx context.Context, in *struct{ Body NewUpload }) (*directOutput, error) {
	metadata := map[string]string{}
	if in.Body.SM3 != "" {
		metadata[upload.MetaSM3] = in.Body.SM3
	}
	if in.Body.Filename != "" {
		metadata[upload.MetaFileName] = in.Body.Filename
	}
	up, signed, err := a.Uploads.CreateDirect(ctx, caller(ctx).AgencyID, in.Body.Size, metadata)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	return &directOutput{Cache: "no-store", Body: DirectUpload{ID: up.ID, URL: signed.URL, Headers: signed.Headers,
		ExpiresAt: formatTime(signed.ExpiresAt), UploadExpires: formatTime(up.ExpiresAt)}}, nil
}

// describeUploads describes what tus serves; huma cannot read it.
func (a *API) describeUploads() {
	text := &huma.Schema{Type: "string"}
	number := &huma.Schema{Type: "integer", Format: "int64"}
	header := func(name string, required bool, doc string, s *huma.Schema) *huma.Param {
		return &huma.Param{Name: name, In: "header", Required: required, Description: doc, Schema: s}
	}
	one := &huma.Schema{Type: "string", Enum: []any{"1.0.0"}}
	resumable := header("Tus-Resumable", true, "The protocol's version", one)
	id := &huma.Param{Name: "id", In: "path", Required: true, Schema: text}
	offset := header("Upload-Offset", true, "Where the bytes begin: how far the upload is", number)
	expires := map[string]*huma.Param{"Upload-Expires": {Description: "Until when the upload is kept", Schema: text}}
	with := func(name string, s *huma.Schema) map[string]*huma.Param {
		m := maps.Clone(expires)
		m[name] = &huma.Param{Schema: s}
		return m
	}
	body := &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
		offsetStream: {Schema: &huma.Schema{Type: "string", Format: "binary"}}}}
	add := func(method, path string, op huma.Operation, params []*huma.Param, ok string, answer *huma.Response,
		problems ...int) {
		op.Method, op.Path, op.Tags, op.Parameters = method, path, []string{"uploads"}, params
		op = a.private(notary.ScopeWrite, op)
		op.Responses = a.withProblems(map[string]*huma.Response{ok: answer}, append(op.Errors, problems...)...)
		if method == http.MethodHead {
			for _, r := range op.Responses {
				r.Content = nil // answers to HEAD have no body
			}
		}
		a.huma.OpenAPI().AddOperation(&op)
	}
	add(http.MethodOptions, uploadsPath, huma.Operation{OperationID: "upload-options",
		Summary: "What this service has of tus, the protocol for resumable uploads"}, nil, "200",
		&huma.Response{Description: "Version, extensions and the largest size, in headers",
			Headers: map[string]*huma.Param{"Tus-Version": {Schema: text}, "Tus-Extension": {Schema: text},
				"Tus-Max-Size": {Schema: number}}})
	add(http.MethodPost, uploadsPath, huma.Operation{OperationID: "create-upload", Summary: "Begin a resumable upload",
		Description: "tus 1.0.0 (https://tus.io/protocols/resumable-upload), any client will do. The first bytes may " +
			"come along, as `" + offsetStream + "`. " +
			"When all are there, notarize the upload with `POST /api/v1/records` and the field `upload`."},
		[]*huma.Param{resumable, header("Upload-Length", true, "Bytes of the file", number),
			header("Upload-Metadata", false, "Names with values in base64; `filename` is for records that name none",
				text)}, "201",
		&huma.Response{Description: "It has begun", Headers: with("Location", text)}, 400, 408, 409, 412, 413, 422)
	add(http.MethodHead, uploadsPath+"/{id}", huma.Operation{OperationID: "get-upload-offset",
		Summary: "How far an upload is"}, []*huma.Param{id}, "200",
		&huma.Response{Description: "How many bytes are here for good, in Upload-Offset",
			Headers: with("Upload-Offset", number)}, 404)
	piece := huma.Operation{OperationID: "append-to-upload", Summary: "Send the next bytes of an upload",
		Description: "If the connection breaks, what has come is kept: ask how far the upload is, and send the rest. " +
			"One request at a time may send to an upload; others get 423."}
	add(http.MethodPatch, uploadsPath+"/{id}", piece, []*huma.Param{id, resumable, offset}, "204",
		&huma.Response{Description: "They are here for good", Headers: with("Upload-Offset", number)}, 400, 404, 408,
		409, 412, 413, 415, 423)
	a.huma.OpenAPI().Paths[uploadsPath+"/{id}"].Patch.RequestBody = body
	add(http.MethodDelete, uploadsPath+"/{id}", huma.Operation{OperationID: "delete-upload",
		Summary: "Give an upload up"}, []*huma.Param{id, resumable}, "204", &huma.Response{Description: "It is gone"},
		404, 412)
	add(http.MethodPost, uploadsPath+"/{id}", huma.Operation{OperationID: "override-upload",
		Summary:     "PATCH or DELETE of an upload for clients that cannot send these methods",
		Description: "The header X-HTTP-Method-Override names the method; everything else is as there."},
		[]*huma.Param{id, resumable, header("X-HTTP-Method-Override", true, "The method that is meant",
			&huma.Schema{Type: "string", Enum: []any{"PATCH", "DELETE"}})}, "204",
		&huma.Response{Description: "As for the method that is meant"}, 400, 404, 405, 408, 409, 412, 413, 415, 423)
}
