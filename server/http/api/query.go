package api

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/issue/archive"
)

type idInput struct {
	ID string `path:"id" maxLength:"64" doc:"Record id or certificate number"`
}

type oneOutput struct{ Body Record }

type listInput struct {
	SM3      string `query:"sm3" doc:"Only records of the document with this digest"`
	Class    string `query:"class" maxLength:"64"`
	Standing string `query:"standing" enum:"valid,revoked,superseded"`
	Ref      string `query:"reference" maxLength:"128" doc:"Only records with this reference"`
	Cursor   string `query:"cursor" maxLength:"64" doc:"next of the page before"`
	Limit    int    `query:"limit" minimum:"1" maximum:"500" default:"50"`
}

type listOutput struct {
	Body struct {
		Records []Record `json:"records"`
		Next    string   `json:"next,omitempty" doc:"Cursor of the next page; absent on the last"`
	}
}

func (a *API) registerQueries() {
	a.registerBundles()
	huma.Register(a.huma,
		a.private(notary.ScopeRead, huma.Operation{OperationID: "list-records", Method: http.MethodGet,
			Path: "/api/v1/records", Tags: []string{"records"},
			Summary: "List the agency's records, newest first", Errors: []int{422}}), a.list)
	huma.Register(a.huma, a.private(notary.ScopeRead, huma.Operation{OperationID: "get-record", Method: http.MethodGet,
		Path: "/api/v1/records/{id}", Tags: []string{"records"},
		Summary: "One record", Errors: []int{404}}), a.get)
	huma.Register(a.huma,
		a.private(notary.ScopeRead, huma.Operation{OperationID: "get-document", Method: http.MethodGet,
			Path: "/api/v1/records/{id}/document", Tags: []string{"records"},
			Summary: "The original, if it is kept here", Errors: []int{404},
			Responses: binaryResponse("*/*", "The document, of the media type that was registered")}), a.document)
}

func binaryResponse(mediaType, what string) map[string]*huma.Response {
	schema := &huma.Schema{Type: "string", Format: "binary"}
	if mediaType == "application/json" {
		schema = &huma.Schema{Type: "object", AdditionalProperties: true}
	}
	return map[string]*huma.Response{
		"200": {Description: what, Content: map[string]*huma.MediaType{mediaType: {Schema: schema}}}}
}

func (a *API) list(ctx context.Context, in *listInput) (*listOutput, error) {
	f := archive.Filter{AgencyID: caller(ctx).AgencyID, Class: in.Class, Standing: notary.Standing(in.Standing),
		Reference: in.Ref, Limit: in.Limit + 1}
	if in.SM3 != "" {
		d, err := sm.ParseDigest(in.SM3)
		if err != nil {
			return nil, a.fail(ctx, notary.InvalidField("sm3", "%s", sentence(err)))
		}
		f.SM3 = &d
	}
	var err error
	if f.Before, err = parseCursor(in.Cursor); err != nil {
		return nil, a.fail(ctx, err)
	}
	records, err := a.Archive.List(ctx, f)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	p, err := a.Archive.Progress(ctx)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	agency, err := a.agencies.ref(ctx, caller(ctx).AgencyID)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	out := &listOutput{}
	out.Body.Records = []Record{}
	if len(records) > in.Limit {
		records = records[:in.Limit]
		out.Body.Next = formatCursor(records[in.Limit-1].Index)
	}
	for _, r := range records {
		out.Body.Records = append(out.Body.Records, wireRecord(r, agency, p))
	}
	return out, nil
}

// A cursor is the index of the last record of a page. It is encoded so that nobody builds one.
func formatCursor(index uint64) string {
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint64(nil, index))
}

func parseCursor(s string) (*uint64, error) {
	if s == "" {
		return nil, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) != 8 || b[0]&0x80 != 0 {
		return nil, notary.InvalidField("cursor", "The cursor must be the 'next' of an earlier page.")
	}
	index := binary.BigEndian.Uint64(b)
	return &index, nil
}

func (a *API) get(ctx context.Context, in *idInput) (*oneOutput, error) {
	rec, err := a.Archive.Record(ctx, caller(ctx).AgencyID, in.ID)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	body, err := a.now(ctx, rec)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	return &oneOutput{Body: body}, nil
}

// now is a record as it stands, for its agency.
func (a *API) now(ctx context.Context, rec notary.Record) (Record, error) {
	p, err := a.Archive.Progress(ctx)
	if err != nil {
		return Record{}, err
	}
	agency, err := a.agencies.ref(ctx, rec.AgencyID)
	if err != nil {
		return Record{}, err
	}
	return wireRecord(rec, agency, p), nil
}

type bytesOutput struct {
	ContentType string `header:"Content-Type"`
	Disposition string `header:"Content-Disposition"`
	Cache       string `header:"Cache-Control"`
	Body        []byte
}

func (a *API) document(ctx context.Context, in *idInput) (*huma.StreamResponse, error) {
	rec, err := a.Archive.Record(ctx, caller(ctx).AgencyID, in.ID)
	if err == nil && !rec.Stored {
		err = a.Eraser.NoOriginal(ctx, rec)
	}
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	body, obj, err := notary.OpenDocument(ctx, a.Documents, rec)
	if err != nil {
		if errors.Is(err, notary.ErrObjectNotFound) {
			a.log.ErrorContext(ctx, "the original of a record is missing", "record", rec.ID)
		}
		return nil, a.fail(ctx, notary.Wrap(notary.CodeUnavailable, err,
			"The original cannot be read at the moment; try again."))
	}
	return &huma.StreamResponse{Body: func(c huma.Context) {
		defer body.Close()
		// Whatever it is, a browser must not run it: it comes as a download, unsniffed.
		c.SetHeader("Content-Type", rec.MediaType)
		c.SetHeader("Content-Length", strconv.FormatInt(obj.Size, 10))
		c.SetHeader("Content-Disposition",
			mime.FormatMediaType("attachment", map[string]string{"filename": downloadName(rec)}))
		c.SetHeader("Cache-Control", "private, no-store")
		if _, err := io.Copy(c.BodyWriter(), body); err != nil {
			a.log.WarnContext(ctx, "sending a document broke off", "record", rec.ID, "error", err)
		}
	}}, nil
}

func downloadName(r notary.Record) string {
	if name := openFields(r)["fileName"]; name != "" {
		return name
	}
	return r.Number
}
