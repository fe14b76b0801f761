package api

import (
	"context"
	"net/http"
	"net/netip"
	"reflect"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"

	"stele/crypto/merkle"
	"stele/notary"
	"stele/notary/proof"
)

var (
	reportType = reflect.TypeFor[proof.Report]()
	unwrap     = humachi.Unwrap
)

// Cache lifetimes of the log: a tile never changes, a checkpoint is replaced all the time.
const (
	cacheTile       = "public, max-age=31536000, immutable"
	cacheCheckpoint = "public, max-age=1"
	cacheTrust      = "public, max-age=300"
)

func (a *API) registerLog(r chi.Router) {
	huma.Register(a.huma, huma.Operation{OperationID: "get-checkpoint", Method: http.MethodGet,
		Path: "/api/v1/log/checkpoint", Tags: []string{"log"},
		Summary: "The log's newest signed checkpoint", Responses: binaryResponse("text/plain", "A signed note"),
		Errors: []int{503}},
		func(ctx context.Context, _ *struct{}) (*bytesOutput, error) {
			note, err := a.Archive.Checkpoint(ctx)
			if err != nil {
				return nil, a.fail(ctx, err)
			}
			return &bytesOutput{ContentType: "text/plain; charset=utf-8", Cache: cacheCheckpoint, Body: note}, nil
		})
	huma.Register(a.huma, huma.Operation{OperationID: "get-trust", Method: http.MethodGet, Path: "/api/v1/trust.json",
		Tags:      []string{"log"},
		Summary:   "The trust roots of this instance. Pin them from a place that you trust, not from here",
		Responses: binaryResponse("application/json", "Trust roots")},
		func(context.Context, *struct{}) (*bytesOutput, error) {
			return &bytesOutput{ContentType: "application/json", Cache: cacheTrust, Body: a.TrustJSON}, nil
		})
	huma.Register(a.huma, huma.Operation{OperationID: "get-root-successions", Method: http.MethodGet,
		Path: "/api/v1/trust/successions.json", Tags: []string{"log"},
		Summary: "Which root followed which, signed by both: for 'stele trust update', which believes the root " +
			"that trust roots pin",
		Responses: binaryResponse("application/json", "Successions, the oldest first")},
		func(context.Context, *struct{}) (*bytesOutput, error) {
			return &bytesOutput{ContentType: "application/json", Cache: cacheTrust, Body: a.Successions}, nil
		})
	a.huma.OpenAPI().AddOperation(&huma.Operation{OperationID: "get-tile", Method: http.MethodGet,
		Path: "/api/v1/log/tile/{tile}", Tags: []string{"log"},
		Summary:    "A tile of the log: <level>/<index>[.p/<width>], hashes of 32 bytes one after another",
		Parameters: []*huma.Param{{Name: "tile", In: "path", Required: true, Schema: &huma.Schema{Type: "string"}}},
		Responses: a.withProblems(binaryResponse("application/octet-stream", "The tile"), http.StatusNotFound,
			http.StatusUnprocessableEntity, http.StatusServiceUnavailable)})
	r.Get("/api/v1/log/tile/*", a.tile)
	a.registerEntries(r)
}

// withProblems adds refusals to the answers of an operation that huma does not serve.
func (a *API) withProblems(answers map[string]*huma.Response, statuses ...int) map[string]*huma.Response {
	schema := a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Problem](), true, "Problem")
	for _, s := range statuses {
		answers[strconv.Itoa(s)] = &huma.Response{Description: http.StatusText(s), Content: map[string]*huma.MediaType{
			"application/problem+json": {Schema: schema}}}
	}
	return answers
}

func (a *API) tile(w http.ResponseWriter, r *http.Request) {
	path := "tile/" + chi.URLParam(r, "*")
	t, err := merkle.ParseTilePath(path)
	if err != nil {
		WriteProblem(w, notary.InvalidField("tile", "%s", sentence(err)))
		return
	}
	data, err := a.Archive.Tile(r.Context(), t)
	if err != nil {
		a.log.DebugContext(r.Context(), "tile", "path", path, "error", err)
		WriteProblem(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Cache-Control", cacheTile)
	_, _ = w.Write(data)
}

// Check is the state of one thing that the service needs.
type Check struct {
	Name     string `json:"name"`
	OK       bool   `json:"ok"`
	Required bool   `json:"required" doc:"The service does not take requests without it"`
	Detail   string `json:"detail,omitempty" doc:"A measure such as a lag, or what is wrong in words; never internal text"`
	Since    string `json:"since,omitempty" format:"date-time" doc:"When it began to fail"`
}

type healthOutput struct {
	Status int
	Cache  string `header:"Cache-Control"`
	Body   struct {
		Status string  `json:"status" enum:"ok,degraded,unavailable"`
		Checks []Check `json:"checks,omitempty"`
	}
}

// HealthPaths are where health is asked for, by balancers among others.
var HealthPaths = []string{"/healthz", "/readyz"}

func (a *API) registerHealth() {
	huma.Register(a.huma, huma.Operation{OperationID: "healthz", Method: http.MethodGet, Path: "/healthz",
		Tags: []string{"health"}, Summary: "The process is alive"},
		func(context.Context, *struct{}) (*healthOutput, error) {
			out := &healthOutput{Status: http.StatusOK, Cache: "no-store"}
			out.Body.Status = "ok"
			return out, nil
		})
	huma.Register(a.huma, huma.Operation{OperationID: "readyz", Method: http.MethodGet, Path: "/readyz",
		Tags:    []string{"health"},
		Summary: "The service can take records; a chain that is down only degrades it", Errors: []int{503}}, a.ready)
}

// nearby is embedded in inputs that tell callers of this machine or a private network more than the
// world.
type nearby struct{ near bool }

// Resolve implements huma.Resolver.
func (n *nearby) Resolve(ctx huma.Context) []error {
	r, _ := humachi.Unwrap(ctx)
	n.near = isNear(r.RemoteAddr)
	return nil
}

func isNear(remote string) bool {
	end, err := netip.ParseAddrPort(remote)
	a := end.Addr().Unmap()
	return err == nil && (a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast())
}

// ready says how the service is. What is wrong in words, with names of agencies and settings of the
// database, is no business of the world's.
func (a *API) ready(ctx context.Context, in *nearby) (*healthOutput, error) {
	out := &healthOutput{Status: http.StatusOK, Cache: "no-store"}
	out.Body.Status, out.Body.Checks = "ok", a.Health(ctx)
	for i, c := range out.Body.Checks {
		if !in.near {
			out.Body.Checks[i].Detail = ""
		}
		switch {
		case c.OK:
		case c.Required:
			out.Body.Status, out.Status = "unavailable", http.StatusServiceUnavailable
		case out.Body.Status == "ok":
			out.Body.Status = "degraded"
		}
	}
	return out, nil
}
