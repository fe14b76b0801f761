package api

import (
	"context"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/httprate"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/issue/lookup"
	"stele/notary/proof"
	"stele/server/auth"
	"stele/server/http/slowread"
)

// Match is a record that a lookup found, with its proof.
type Match struct {
	Record Record `json:"record"`
	Bundle string `json:"bundle,omitempty" doc:"The bundle's exact text; attributes are opened only with the right code"`
}

type lookupInput struct {
	rawBody
	SM3    string `query:"sm3" doc:"Digest of a document"`
	Number string `query:"number" doc:"Certificate number"`
	Code   string `query:"code" doc:"The code beside the number on a certificate; opens the attributes"`
}

type lookupOutput struct {
	Cache string `header:"Cache-Control"`
	Body  struct {
		Matches []Match `json:"matches" doc:"Newest first; empty when there is no record"`
	}
}

func (a *API) registerPublic() {
	limit := httprate.LimitBy(a.Limits.LookupsPerMin, time.Minute, auth.ClientKey,
		httprate.WithLimitHandler(func(w http.ResponseWriter, _ *http.Request) {
			WriteProblem(w,
				notary.Errorf(notary.CodeRateLimited, "Too many requests from this address; wait a minute."))
		}))
	api := huma.NewGroup(a.huma)
	api.UseMiddleware(func(ctx huma.Context, next func(huma.Context)) {
		req, w := unwrap(ctx)
		limit(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { next(ctx) })).ServeHTTP(w, req)
	})
	a.registerChain(api)
	a.registerStatus(api)
	huma.Register(api, huma.Operation{OperationID: "lookup", Method: http.MethodGet, Path: "/api/v1/lookup",
		Tags:    []string{"public"},
		Summary: "Find records by a document's digest or a certificate's number", Errors: []int{422, 429, 503}},
		a.lookup)
	registerRaw(api, huma.Operation{OperationID: "verify", Method: http.MethodPost, Path: "/api/v1/verify",
		Tags:    []string{"public"},
		Summary: "Verify a file, a digest, or a bundle with an optional file",
		Description: "Answers the Report that the offline verifier gives. Of several records of a file one is the " +
			"answer, " +
			"the same as on the public page. " +
			"When something needed is out of reach the verdict is `unverifiable`, with status 503.",
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/json": {Schema: &huma.Schema{Type: "object", Properties: map[string]*huma.Schema{
				"sm3":    {Type: "string"},
				"size":   {Type: "integer", Description: "The file's size in bytes, beside sm3: it is compared then"},
				"bundle": {Type: "string", Description: "The bundle's exact text"}}}},
			"multipart/form-data": {Schema: &huma.Schema{Type: "object", Properties: map[string]*huma.Schema{
				"bundle": {Type: "string", Format: "binary"}, "file": {Type: "string", Format: "binary"}}}},
		}},
		Responses: map[string]*huma.Response{
			"200": {Description: "The report", Content: map[string]*huma.MediaType{"application/json": {
				Schema: a.huma.OpenAPI().Components.Schemas.Schema(reportType, true, "Report")}}}},
		Errors: []int{400, 408, 413, 415, 422, 429, 503}}, a.verify)
	describeVerdict(a.huma.OpenAPI())
}

// describeVerdict lists the verdicts in the description of a report, from the table of verdicts.
func describeVerdict(o *huma.OpenAPI) {
	verdict := o.Components.Schemas.Map()["Report"].Properties["verdict"]
	for _, row := range proof.Verdicts() {
		verdict.Enum = append(verdict.Enum, string(row.Verdict))
		verdict.Description += string(row.Verdict) + ": " + row.Means + ". "
	}
	verdict.Description = strings.TrimSpace(verdict.Description)
}

func (a *API) lookup(ctx context.Context, in *lookupInput) (*lookupOutput, error) {
	out := &lookupOutput{Cache: "no-store"}
	out.Body.Matches = []Match{}
	var err error
	switch {
	case (in.SM3 == "") == (in.Number == ""):
		err = notary.InvalidField("sm3", "Give either sm3 or number.")
	case in.SM3 != "":
		out.Body.Matches, err = a.byDigest(ctx, in.SM3)
	default:
		var m Match
		if m, err = a.byNumber(ctx, in.Number, in.Code, in.request.RemoteAddr); err == nil {
			out.Body.Matches = append(out.Body.Matches, m)
		} else if notary.CodeOf(err) == notary.CodeNotFound {
			err = nil
		}
	}
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	return out, nil
}

func (a *API) byDigest(ctx context.Context, text string) ([]Match, error) {
	d, err := sm.ParseDigest(text)
	if err != nil {
		return nil, notary.InvalidField("sm3", "%s", sentence(err))
	}
	records, err := a.Lookup.Records(ctx, &d)
	if err != nil {
		return nil, err
	}
	out := make([]Match, 0, len(records))
	for _, r := range records {
		m, err := a.match(ctx, r, false)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

// byNumber finds a record by its number. With the right code its attributes are opened;
// wrong codes are counted per number, so that the code cannot be guessed from many addresses.
func (a *API) byNumber(ctx context.Context, number, code, client string) (Match, error) {
	if !notary.ValidNumber(number) {
		return Match{}, notary.InvalidField("number", "%s", sentence(notary.ErrNumber))
	}
	r, err := a.Lookup.Record(ctx, number)
	if err != nil {
		return Match{}, err
	}
	if code == "" {
		return a.match(ctx, r, false)
	}
	if err := a.Codes.Check(r, code, client); err != nil {
		return Match{}, err
	}
	return a.match(ctx, r, true)
}

func (a *API) match(ctx context.Context, r notary.Record, show bool) (Match, error) {
	agency, err := a.agencies.ref(ctx, r.AgencyID)
	if err != nil {
		return Match{}, err
	}
	p, err := a.Archive.Progress(ctx)
	if err != nil {
		return Match{}, err
	}
	m := Match{Record: publicRecord(r, agency, p)}
	m.Record.ID = "" // the id opens nothing, but is nobody's business either
	if show {
		m.Record.Fields = openFields(r)
	}
	b, err := a.Archive.Current(ctx, r, show)
	if err != nil && notary.CodeOf(err) != notary.CodeNotReady {
		return Match{}, err
	}
	m.Bundle = string(b)
	return m, nil
}

type verifyInput struct {
	rawBody
	ContentType string `header:"Content-Type"`
}

type reportOutput struct {
	Status      int
	ContentType string `header:"Content-Type"`
	Cache       string `header:"Cache-Control"`
	Body        []byte
}

func (a *API) verify(ctx context.Context, in *verifyInput) (*reportOutput, error) {
	file, bundle, err := a.readVerify(in)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	var f lookup.Finding
	if bundle != nil {
		f = a.Lookup.Given(ctx, bundle, file)
	} else {
		f = a.Lookup.File(ctx, file)[0]
	}
	out := &reportOutput{Status: http.StatusOK, ContentType: "application/json", Cache: "no-store",
		Body: f.Report.JSON()}
	if f.Cause != "" { // nothing could be checked: asking again may tell more
		out.Status = http.StatusServiceUnavailable
	}
	return out, nil
}

func (a *API) readVerify(in *verifyInput) (*proof.File, []byte, error) {
	media, params, err := mime.ParseMediaType(in.ContentType)
	if err != nil {
		media = ""
	}
	body := slowread.New(in.response, in.request.Body, slowread.Limits{Silence: a.Limits.ReadTimeout,
		Whole: a.Limits.PublicTime}, a.Now)
	switch media {
	case "application/json":
		return readVerifyJSON(body)
	case "multipart/form-data":
		return a.readVerifyForm(multipart.NewReader(body, params["boundary"]))
	}
	return nil, nil, notary.Errorf(notary.CodeUnsupported, "Send application/json with sm3 or bundle, or "+
		"multipart/form-data with the parts 'bundle' and 'file', either of which may be missing.")
}

func readVerifyJSON(r io.Reader) (*proof.File, []byte, error) {
	var q struct {
		SM3    string  `json:"sm3"`
		Size   *int64  `json:"size"`
		Bundle *string `json:"bundle"`
	}
	if err := decodeStrict(r, 2*proof.MaxBundleSize+1024, &q); err != nil {
		return nil, nil, err
	}
	var file *proof.File
	if q.SM3 != "" {
		d, err := sm.ParseDigest(q.SM3)
		if err != nil {
			return nil, nil, notary.InvalidField("sm3", "%s", sentence(err))
		}
		file = &proof.File{SM3: d, Size: -1}
	}
	if q.Size != nil {
		if file == nil || *q.Size < 0 {
			return nil, nil,
				notary.InvalidField("size", "Give the file's size in bytes beside its sm3, or leave it out.")
		}
		file.Size = *q.Size
	}
	if q.Bundle != nil {
		return file, []byte(*q.Bundle), nil
	}
	if file == nil {
		return nil, nil, notary.InvalidField("sm3", "Give sm3, bundle, or both.")
	}
	return file, nil, nil
}

func (a *API) readVerifyForm(mr *multipart.Reader) (file *proof.File, bundle []byte, err error) {
	for {
		part, err := mr.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, nil, readError(err)
		}
		switch {
		case part.FormName() == "bundle" && bundle == nil:
			if bundle, err = io.ReadAll(io.LimitReader(part, proof.MaxBundleSize+1)); err != nil {
				return nil, nil, readError(err)
			}
		case part.FormName() == "file" && file == nil:
			if file, err = a.hashPart(part); err != nil {
				return nil, nil, err
			}
		default:
			return nil, nil,
				notary.InvalidField("file", "The parts 'bundle' and 'file' are expected, once each at most.")
		}
	}
	if file == nil && bundle == nil {
		return nil, nil, notary.InvalidField("file", "At least one of the parts 'bundle' and 'file' is needed.")
	}
	return file, bundle, nil
}

func (a *API) hashPart(part io.Reader) (*proof.File, error) {
	h := sm.NewHash()
	n, err := io.Copy(h, io.LimitReader(part, a.Limits.MaxPublicUpload+1))
	if err != nil {
		return nil, readError(err)
	}
	if n > a.Limits.MaxPublicUpload {
		return nil, notary.Errorf(notary.CodeTooLarge, "A file that is hashed here has at most %d bytes; larger ones "+
			"are checked by the page or by stele-verify on your own device.", a.Limits.MaxPublicUpload)
	}
	return &proof.File{SM3: sm.Digest(h.Sum(nil)), Size: n}, nil
}

// agencyCache remembers names, which hardly ever change, for namesFor, and the log's progress, which
// only grows, so that neither costs a query for each record written.
type agencyCache struct {
	find func(ctx context.Context, idOrCode string) (notary.Agency, error)
	now  func() time.Time

	mu    sync.Mutex
	refs  map[string]AgencyRef // guarded by mu
	since time.Time            // guarded by mu; when refs was empty
	last  notary.Progress      // guarded by mu
	until time.Time            // guarded by mu
}

// namesFor is how long an agency is called as it was before it was renamed.
const namesFor = 2 * time.Second

func (c *agencyCache) ref(ctx context.Context, id string) (AgencyRef, error) {
	now := c.now()
	c.mu.Lock()
	if now.Sub(c.since) > namesFor || now.Before(c.since) {
		c.refs, c.since = nil, now
	}
	ref, ok := c.refs[id]
	c.mu.Unlock()
	if ok {
		return ref, nil
	}
	ag, err := c.find(ctx, id)
	if err != nil {
		return ref, notary.Wrap(notary.CodeUnavailable, err, "The record store cannot be reached; try again.")
	}
	ref = AgencyRef{Code: ag.Code, Name: ag.Name}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refs == nil {
		c.refs = map[string]AgencyRef{}
	}
	c.refs[id] = ref
	return ref, nil
}

const progressFor = 50 * time.Millisecond

func (c *agencyCache) progress(ctx context.Context, now time.Time, read func(context.Context) (notary.Progress,
	error)) (notary.Progress, error) {
	c.mu.Lock()
	p, fresh := c.last, now.Before(c.until)
	c.mu.Unlock()
	if fresh {
		return p, nil
	}
	p, err := read(ctx)
	if err == nil {
		c.mu.Lock()
		c.last, c.until = p, now.Add(progressFor)
		c.mu.Unlock()
	}
	return p, err
}
