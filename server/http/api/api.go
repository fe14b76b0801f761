// Package api is the REST interface under /api/v1: agencies' systems write and read their
// records, anybody verifies. It translates between HTTP and the domain and decides nothing.
package api

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/issue"
	"stele/notary/issue/archive"
	"stele/notary/issue/lookup"
	"stele/notary/office/webhook"
	"stele/notary/proof/chainview"
	"stele/notary/register/erasure"
	"stele/notary/register/intake"
	"stele/notary/register/upload"
	"stele/server/auth"
	"stele/server/http/request"
	"stele/server/http/slowread"
)

// Agencies finds agencies by id. It is safe for concurrent use.
type Agencies interface {
	Agency(ctx context.Context, idOrCode string) (notary.Agency, error)
}

// Documents opens stored originals, see the storage adapters.
type Documents interface {
	Open(ctx context.Context, key, version string) (io.ReadCloser, notary.Object, error)
}

// Limits of the public side, which a deployment sets.
type Limits struct {
	MaxPublicUpload int64         // bytes of a file that anybody may have hashed here
	LookupsPerMin   int           // lookups and verifications per address and minute
	ReadTimeout     time.Duration // a body that is silent for this long is given up
	PublicTime      time.Duration // and one from anybody that is not done after this long
	MaxWait         time.Duration // what ?wait= may wait at most
}

// DefaultLimits are those of a deployment that sets none.
func DefaultLimits() Limits {
	return Limits{MaxPublicUpload: 256 << 20, LookupsPerMin: 120, ReadTimeout: 30 * time.Second,
		PublicTime: 30 * time.Minute, MaxWait: 30 * time.Second}
}

// Config is what the API needs.
type Config struct {
	Intake      *intake.Intake
	Archive     *archive.Archive
	Histories   *archive.Histories
	Lookup      *lookup.Lookup // shared with the pages: what a file is has one answer
	Keys        *auth.Keys
	Usage       *auth.Usage
	Desk        *auth.KeyService
	Claims      Claims
	Codes       *auth.Codes // shared with the pages, so that a code cannot be guessed in two places
	Agencies    Agencies
	Documents   Documents
	Uploads     *upload.Uploads
	Eraser      *erasure.Eraser
	Lists       RevocationLists
	Trail       Trail
	Webhooks    *webhook.Endpoints
	WebhookKey  *sm.PublicKey  // signs webhooks beside their secrets
	Progress    *notary.Signal // notified when the log or an anchor advances on this server
	TrustJSON   []byte
	Successions []byte // of the instance's roots, see [trustfile.EncodeSuccessions]
	VerifyPage  []byte // the offline verifier, for evidence packages; nil where it was not built
	Issuer      *issue.Issuer
	Version     string
	Limits      Limits
	MaxBatch    int
	MaxDocument int64           // bytes
	Stopping    <-chan struct{} // closed when uploads under way must end; nil: never
	Health      func(ctx context.Context) []Check
	Explore     func(ctx context.Context) (chainview.View, error) // the chain; nil where another server talks with it
	Chain       ChainReader                                       // the same
	ChainID     string
	Now         func() time.Time
	Log         *slog.Logger
}

// API serves /api/v1, /openapi.json, /healthz and /readyz. It is safe for concurrent use.
type API struct {
	Config
	log      *slog.Logger
	huma     huma.API
	agencies agencyCache
}

// New mounts the API on a router.
func New(r chi.Router, c Config) (*API, error) {
	a := &API{Config: c, log: c.Log}
	a.agencies.find, a.agencies.now = c.Agencies.Agency, c.Now
	cfg := huma.DefaultConfig("Stele", c.Version)
	cfg.Info.Description = "E-government document notarization: register documents, fetch proofs that anyone can " +
		"check, verify."
	cfg.Info.License = &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}
	cfg.CreateHooks = nil // no $schema keys in answers: they would be part of what clients hash or compare
	cfg.SchemasPath, cfg.DocsPath = "", ""
	cfg.Transformers = append(cfg.Transformers, identify)
	cfg.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"apiKey": {Type: "http", Scheme: "bearer", Description: "An agency's API key"}}
	a.huma = humachi.New(r, cfg)
	a.registerRecords()
	a.registerQueries()
	a.registerErase()
	a.registerKeys()
	a.registerCertificates()
	a.registerWebhooks()
	a.registerDeliveries()
	a.registerPublic()
	a.registerLog(r)
	a.registerLists()
	a.registerHealth()
	if err := a.registerUploads(r); err != nil {
		return nil, err
	}
	a.describeLists()
	a.describeBodies()
	addExamples(a.huma.OpenAPI())
	r.Get("/docs/errors", errorsPage)
	return a, nil
}

// OpenAPI returns the description of the API.
func (a *API) OpenAPI() *huma.OpenAPI { return a.huma.OpenAPI() }

// NotFound answers at addresses where there is nothing, MethodNotAllowed at addresses that do
// not take a method. Who routes requests mounts them; see server/instance.
func NotFound(w http.ResponseWriter, _ *http.Request) {
	WriteProblem(w, notary.Errorf(notary.CodeNotFound, "There is nothing at this address; see /openapi.json."))
}

// MethodNotAllowed: see [NotFound].
func MethodNotAllowed(w http.ResponseWriter, _ *http.Request) {
	p := problemOf(notary.Errorf(notary.CodeMalformed, "This address does not accept that method; see /openapi.json."))
	p.Status, p.Title = http.StatusMethodNotAllowed, http.StatusText(http.StatusMethodNotAllowed)
	WriteProblem(w, p)
}

type callerKey struct{}

// caller is the key that a request came with.
func caller(ctx context.Context) notary.APIKey {
	k, _ := ctx.Value(callerKey{}).(notary.APIKey)
	return k
}

// authenticated is the middleware of every operation that belongs to an agency: it finds out
// who calls, holds the key to its limits, and demands a right. An empty scope is none.
func (a *API) authenticated(scope notary.Scope) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		r, w := humachi.Unwrap(ctx)
		key, err := a.admit(w, r, scope)
		if err != nil {
			a.refuse(r.Context(), w, err)
			return
		}
		if err := unknownParts(ctx, r); err != nil {
			WriteProblem(w, err)
			return
		}
		next(huma.WithValue(ctx, callerKey{}, key))
	}
}

// unknownParts refuses parameters that the operation does not have: a filter with a typing error
// would otherwise be one that lets everything through. A filter or an idempotency key without a value
// is most likely a variable that was never set; a cursor without one is the beginning.
func unknownParts(ctx huma.Context, r *http.Request) error {
	for name, values := range r.URL.Query() {
		if !slices.ContainsFunc(ctx.Operation().Parameters, func(p *huma.Param) bool {
			return p.In == "query" && p.Name == name
		}) {
			return notary.InvalidField(name, "There is no such parameter here; see /openapi.json. Nothing was saved.")
		}
		if slices.Contains(values, "") && name != "cursor" && name != "after" {
			return notary.InvalidField(name,
				"The parameter is empty: leave it out, or give it a value. Nothing was saved.")
		}
	}
	if v, there := r.Header["Idempotency-Key"]; there && slices.Contains(v, "") {
		return notary.InvalidField("Idempotency-Key",
			"The idempotency key is empty: leave the header out, or give it a value. Nothing was saved.")
	}
	return nil
}

// keyed does the same for a handler that huma does not know.
func (a *API) keyed(scope notary.Scope, h http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		key, err := a.admit(w, r, scope)
		if err != nil {
			a.refuse(r.Context(), w, err)
			return
		}
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, key)))
	}
}

func (a *API) admit(w http.ResponseWriter, r *http.Request, scope notary.Scope) (notary.APIKey, error) {
	key, err := a.Keys.Authenticate(r.Context(), r.Header.Get("Authorization"), r.RemoteAddr)
	if err == nil {
		request.From(r.Context()).Caller(key.AgencyID, key.ID)
		err = a.Usage.Admit(w, r, key)
	}
	if err == nil && scope != "" && !key.May(scope) {
		err = notary.Errorf(notary.CodeForbidden, "This key lacks the scope %q. Nothing was saved.", scope)
	}
	return key, err
}

// private makes an operation one of an agency's, for keys that have the scope.
func (a *API) private(scope notary.Scope, op huma.Operation) huma.Operation {
	op.Security = []map[string][]string{{"apiKey": {}}}
	op.Middlewares = huma.Middlewares{a.authenticated(scope)}
	op.Errors = append(op.Errors, http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests,
		http.StatusServiceUnavailable)
	if scope != "" {
		op.Description = strings.TrimSpace(op.Description + "\n\nThe key needs the scope `" + string(scope) + "`.")
	}
	return op
}

// describeBodies adds to every operation that takes JSON what can be wrong with a body before
// the operation sees it.
func (a *API) describeBodies() {
	for _, path := range a.huma.OpenAPI().Paths {
		for _, op := range []*huma.Operation{path.Post, path.Patch, path.Put} {
			if op != nil && op.RequestBody != nil && op.RequestBody.Content[offsetStream] == nil {
				for _, content := range op.RequestBody.Content {
					a.describeNulls(content.Schema)
				}
				a.withProblems(op.Responses, http.StatusBadRequest, http.StatusRequestTimeout,
					http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
			}
		}
	}
}

// describeNulls says of every member of a body that may be left out that null is the same as
// leaving it out, as many programs write what they have no value for.
func (a *API) describeNulls(s *huma.Schema) {
	if s != nil && s.Ref != "" {
		s = a.huma.OpenAPI().Components.Schemas.SchemaFromRef(s.Ref)
	}
	if s == nil {
		return
	}
	a.describeNulls(s.Items)
	for name, member := range s.Properties {
		a.describeNulls(member)
		if member.Ref == "" && member.Format != "binary" && !slices.Contains(s.Required, name) {
			if member.Nullable = true; len(member.Enum) > 0 {
				member.Enum = append(member.Enum, nil)
			}
		}
	}
}

// registerRaw registers an operation that reads its body itself. The body's description is
// added after registration: huma would otherwise read all of it into memory first.
func registerRaw[I, O any](api huma.API, op huma.Operation, handler func(context.Context, *I) (*O, error)) {
	body := op.RequestBody
	op.RequestBody, op.MaxBodyBytes, op.BodyReadTimeout = nil, -1, -1
	huma.Register(api, op, handler)
	api.OpenAPI().Paths[op.Path].Post.RequestBody = body
}

// rawBody is embedded in inputs that read their body themselves.
type rawBody struct {
	request  *http.Request
	response http.ResponseWriter
}

// Resolve implements huma.Resolver.
func (b *rawBody) Resolve(ctx huma.Context) []error {
	b.request, b.response = humachi.Unwrap(ctx)
	return nil
}

// patient reads the body of an agency's request with a rolling deadline: it may take hours.
func (a *API) patient(w http.ResponseWriter, r io.Reader) io.Reader {
	return slowread.New(w, r, slowread.Limits{Silence: a.Limits.ReadTimeout}, a.Now)
}
