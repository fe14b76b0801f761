package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"pgregory.net/rapid"
)

// contract holds a server to its own description: every answer must be one that
// /openapi.json announces, with the body it announces.
type contract struct {
	*server
	doc    *openapi3.T
	router routers.Router
	seen   map[string]bool // operation and status
}

func newContract(t *testing.T, s *server) *contract {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(s.get("/openapi.json").body)
	fatalIfErr(t, err)
	fatalIfErr(t, doc.Validate(t.Context()))
	router, err := gorillamux.NewRouter(doc)
	fatalIfErr(t, err)
	return &contract{server: s, doc: doc, router: router, seen: map[string]bool{}}
}

// holds makes a call and says where the answer is not as described.
func (c *contract) holds(r request) (response, error) {
	var body []byte
	if r.body != nil {
		body, _ = io.ReadAll(r.body)
		r.body = bytes.NewReader(body)
	}
	res, err := c.try(context.Background(), r)
	if err != nil {
		return res, err
	}
	req, err := http.NewRequest(r.method, "http://stele"+r.path, bytes.NewReader(body))
	if err != nil {
		return res, err
	}
	for k, v := range r.header {
		req.Header.Set(k, v)
	}
	route, params, err := c.router.FindRoute(req)
	if err != nil {
		return res, fmt.Errorf("not described: %w", err)
	}
	c.seen[fmt.Sprintf("%s %d", route.Operation.OperationID, res.status)] = true
	in := &openapi3filter.ResponseValidationInput{RequestValidationInput: &openapi3filter.RequestValidationInput{
		Request: req, PathParams: params, Route: route},
		Status: res.status, Header: res.header, Options: &openapi3filter.Options{IncludeResponseStatus: true,
			MultiError: true}}
	if route.Operation.Responses.Status(res.status) == nil && route.Operation.Responses.Default() == nil {
		return res, fmt.Errorf("the status %d is not described: %s", res.status, res.body)
	}
	in.SetBodyBytes(res.body)
	return res, openapi3filter.ValidateResponse(context.Background(), in)
}

func (c *contract) want(r request, status int) response {
	c.t.Helper()
	res, err := c.holds(r)
	if err != nil {
		c.t.Errorf("%s %s: %v", r.method, r.path, err)
	}
	if res.status != status {
		c.t.Errorf("%s %s: %d, want %d: %.300s", r.method, r.path, res.status, status, res.body)
	}
	return res
}

func init() {
	for _, media := range []string{"application/jsonl", "text/plain", "application/zip", "application/pdf"} {
		openapi3filter.RegisterBodyDecoder(media, openapi3filter.FileBodyDecoder)
	}
}

// TestContract calls what is described, at its boundaries and with anything at all.
func TestContract(t *testing.T) {
	t.Parallel()
	site := site{data: folder(t)}
	s := site.start(t, "--max-document", "100000", "--max-batch", "3", "--max-public-upload", "100000",
		"--status-pause", "1s")
	c := newContract(t, s)
	t.Run("calls", c.calls)
	t.Run("anything", func(t *testing.T) { c.anything(t) })
	for _, missing := range c.unseen() {
		t.Errorf("described, but no test has seen it: %s", missing)
	}
}

// elsewhere are statuses that other tests of this package bring about: stores that are
// down, slow clients, many requests, records that are not anchored for long, uploads into a
// bucket, two requests to one upload. The name of a tile has slashes, which no description can say.
var elsewhere = []string{" 408", " 429", " 500", " 503", "get-bundle 409", "get-certificate 409", "get-evidence 409",
	"get-tile 200", "get-tile 404", "get-entries-tile 200", "get-entries-tile 404", "get-log-status 409",
	"get-entries-status 409",
	"create-direct-upload 201", " 423"}

// unseen are the operations and statuses that are described and did not occur.
func (c *contract) unseen() []string {
	all := map[string]bool{}
	for _, item := range c.doc.Paths.Map() {
		for _, op := range item.Operations() {
			for status := range op.Responses.Map() {
				all[op.OperationID+" "+status] = true
			}
		}
	}
	for k := range c.seen {
		delete(all, k)
	}
	return slices.DeleteFunc(slices.Sorted(maps.Keys(all)), func(s string) bool {
		return strings.HasSuffix(s, " default") ||
			slices.ContainsFunc(elsewhere, func(e string) bool { return strings.HasSuffix(s, e) })
	})
}

// anything sends what somebody may send by mistake or on purpose: the answer is always one
// that is described, and never the server's own fault.
func (c *contract) anything(t *testing.T) {
	var paths []string
	for p := range c.doc.Paths.Map() {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	word := rapid.OneOf(rapid.StringMatching(`[a-zA-Z0-9-]{1,20}`), rapid.Just("420100-2026-00000001-X"),
		rapid.StringN(1, 10, 40))
	value := rapid.OneOf(rapid.Just("null"), rapid.Just("[]"), rapid.Just("{}"), rapid.Just("-1"), rapid.Just("1e99"),
		rapid.Just(`"x"`), rapid.Just("true"), rapid.Just(`"`+strings.Repeat("a", 64)+`"`))
	rapid.Check(t, func(r *rapid.T) {
		path := rapid.SampledFrom(paths).Draw(r, "path")
		item := c.doc.Paths.Value(path)
		methods := slices.Sorted(maps.Keys(item.Operations()))
		method := rapid.SampledFrom(methods).Draw(r, "method")
		op := item.Operations()[method]
		req := request{method: method, path: path, header: map[string]string{}}
		query := ""
		for _, p := range op.Parameters {
			v := escape(word.Draw(r, p.Value.Name))
			switch p.Value.In {
			case "path":
				req.path = strings.ReplaceAll(req.path, "{"+p.Value.Name+"}", v)
			case "query":
				if rapid.Bool().Draw(r, "with "+p.Value.Name) && p.Value.Name != "wait" {
					query += "&" + p.Value.Name + "=" + v
				}
			}
		}
		if query != "" {
			req.path += "?" + query[1:]
		}
		if op.RequestBody != nil {
			types := slices.Sorted(maps.Keys(op.RequestBody.Value.Content))
			req.header["Content-Type"] = rapid.SampledFrom(append(types, "text/plain", "")).Draw(r, "type")
			names := []string{"sm3", "size", "title", "upload", "records", "reason", "signature", "name", "scopes",
				"url", "events", "fields", "bundle", "until"}
			var members []string
			for _, n := range rapid.SliceOfNDistinct(rapid.SampledFrom(names), 0, 4, rapid.ID).Draw(r, "members") {
				members = append(members, `"`+n+`":`+value.Draw(r, n))
			}
			req.body = strings.NewReader("{" + strings.Join(members, ",") + "}")
		}
		res, err := c.holds(req)
		if err != nil || res.status >= 500 && res.status != http.StatusServiceUnavailable {
			r.Errorf("%s %s: %d %v", method, req.path, res.status, err)
		}
	})
}

func escape(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}
