// Package web is the public page: anybody checks a file or looks up a certificate number,
// without an account. The page does its work in the browser where it can; here are the
// documents it consists of, and the upload form for browsers that cannot.
//
// What is said about a file is always decided by proof.Verify. This package finds the
// bundle, calls it, and puts its report into words.
package web

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/httprate"

	"stele/notary"
	"stele/notary/issue"
	"stele/notary/issue/archive"
	"stele/notary/issue/lookup"
	"stele/notary/proof/chainview"
	"stele/server/auth"
	"stele/server/http/site"
	"stele/ui"
)

// Limits of the public page, which a deployment sets.
type Limits struct {
	MaxUpload     int64         // bytes of a file that the form takes
	ChecksPerMin  int           // uploads and lookups per address and minute
	ReadTimeout   time.Duration // a body that is silent for this long is given up
	UploadTimeout time.Duration // and one that is not done after this long
	Drawings      int           // certificates and reports drawn at a time, for all addresses

	Uploads          int // uploads at a time, from all addresses
	UploadsPerClient int // and from one

	Streams          int           // pages at a time that wait for events, from all addresses
	StreamsPerClient int           // and from one
	StreamTime       time.Duration // after this long such a page has to ask again
	Heartbeat        time.Duration // between signs of life on a silent stream
}

// DefaultLimits are those of a deployment that sets none.
func DefaultLimits() Limits {
	return Limits{MaxUpload: 256 << 20, ChecksPerMin: 60, ReadTimeout: 30 * time.Second,
		UploadTimeout: 30 * time.Minute,
		Drawings:      4, Uploads: 32, UploadsPerClient: 8,
		Streams: 1000, StreamsPerClient: 32, StreamTime: 10 * time.Minute, Heartbeat: 15 * time.Second}
}

// Config is what the page needs. The page fetches /api/v1/lookup and /api/v1/trust.json
// from the server that it came from.
type Config struct {
	Archive   *archive.Archive
	Lookup    *lookup.Lookup // shared with the API: what a file is has one answer
	Codes     *auth.Codes    // shared with the API, so that a code cannot be guessed in two places
	Issuer    *issue.Issuer
	TrustJSON []byte          // the trust roots as they are published; reports name their digest
	PublicURL string          // where the page is, for reports
	Operator  string          // who runs the service, for the foot of the page and reports; may be empty
	Progress  *notary.Signal  // tells that the log or the chain has moved
	Stopping  <-chan struct{} // closed when the server stops: waiting pages must not hold it up; nil for never
	// VerifyPage is the offline verifier, or nil where it was not built.
	VerifyPage *ui.VerifyPage
	Explore    func(context.Context) (chainview.View, error) // the chain, for its page; nil for none
	OpenAPI    []byte                                        // the API's description, for its reference; nil for none

	Limits Limits
	Now    func() time.Time
	Log    *slog.Logger
}

// Web serves the public page. It is safe for concurrent use.
type Web struct {
	Config
	texts    *ui.Catalogues
	assets   *ui.Assets
	pages    map[string]*pages // by language
	drawings chan struct{}     // a token for each PDF that is being drawn
	uploads  site.Places
	streams  site.Places
	docs     *apiDocs
}

// New reads every template, text and file, and mounts the pages on a router. It returns an
// error rather than a page that fails later.
func New(r chi.Router, c Config) (*Web, error) {
	w := &Web{Config: c, pages: map[string]*pages{}, drawings: make(chan struct{}, c.Limits.Drawings)}
	var err error
	if w.texts, err = ui.LoadCatalogues(); err != nil {
		return nil, fmt.Errorf("public page: %w", err)
	}
	if w.assets, err = ui.LoadAssets(); err != nil {
		return nil, fmt.Errorf("public page: %w", err)
	}
	for _, texts := range w.texts.All() {
		if w.pages[texts.Tag], err = parsePages(texts, w.assets); err != nil {
			return nil, fmt.Errorf("public page in %s: %w", texts.Tag, err)
		}
	}
	if c.OpenAPI != nil {
		if w.docs, err = parseAPIDocs(c.OpenAPI, c.PublicURL); err != nil {
			return nil, fmt.Errorf("API reference: %w", err)
		}
	}
	if !w.assets.CanVerify() {
		c.Log.Warn("the browser's verifier was not built into this program: the public page offers uploads only; run " +
			"go generate ./ui before building")
	}
	w.mount(r)
	return w, nil
}

func (w *Web) mount(r chi.Router) {
	r.Group(func(r chi.Router) {
		r.Use(protect)
		get(r, site.AssetFolder+"*", w.asset)
		w.mountOffline(r)
		get(r, "/favicon.ico", func(rw http.ResponseWriter, req *http.Request) {
			http.Redirect(rw, req, site.AssetFolder+w.assets.Path("icon.svg"), http.StatusFound)
		})
		r.Group(func(r chi.Router) {
			r.Use(site.Language(w.texts))
			get(r, "/", w.home)
			if w.docs != nil {
				get(r, "/docs/api", w.apiDocs)
			}
			r.Group(func(r chi.Router) {
				r.Use(w.limit())
				if w.Explore != nil {
					get(r, "/chain", w.chain)
				}
				get(r, "/r", w.findRecord)
				get(r, "/r/{number}", w.record)
				get(r, "/r/{number}/certificate", w.certificate)
				get(r, "/r/{number}/bundle", w.bundle)
				r.Get("/r/{number}/events", w.events)
				r.With(w.sameOrigin).Post("/verify", w.verify)
				r.With(w.sameOrigin).Post("/report", w.report)
			})
			for _, result := range []string{"/verify", "/report"} { // one that is reloaded
				get(r, result, func(rw http.ResponseWriter, req *http.Request) {
					http.Redirect(rw, req, "/", http.StatusSeeOther)
				})
			}
		})
	})
}

// get mounts a page for HEAD too.
func get(r chi.Router, pattern string, h http.HandlerFunc) {
	r.Get(pattern, h)
	r.Head(pattern, h)
}

// limit counts what costs something, by address.
func (w *Web) limit() func(http.Handler) http.Handler {
	return httprate.LimitBy(w.Limits.ChecksPerMin, time.Minute, auth.ClientKey,
		httprate.WithLimitHandler(func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Retry-After", "60")
			w.fail(rw, r, errBusy)
		}))
}

// draw waits for its turn to draw a PDF, which takes tens of milliseconds of a core, and
// returns what ends the turn. Who would wait for long is sent away: the queue must not grow.
func (w *Web) draw(r *http.Request) (done func(), err error) {
	select {
	case w.drawings <- struct{}{}:
		return func() { <-w.drawings }, nil
	case <-time.After(drawingWait):
		return nil, errFull
	case <-r.Context().Done():
		return nil, errFull
	}
}

const drawingWait = 5 * time.Second

// sameOrigin refuses forms that another site sends.
func (w *Web) sameOrigin(next http.Handler) http.Handler {
	c := http.NewCrossOriginProtection()
	c.SetDenyHandler(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.fail(rw, r, errCrossOrigin) }))
	return c.Handler(next)
}
