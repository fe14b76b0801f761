// Package console is where the people of an agency work: pages behind a sign-in. It puts
// pages before what the domain packages do and decides nothing but who may see and do what:
// that stands in one table, see [table].
package console

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/go-chi/chi/v5"
	"github.com/go-chi/httprate"

	"stele/notary"
	"stele/notary/issue"
	"stele/notary/issue/archive"
	"stele/notary/office/bulk"
	"stele/notary/office/filing"
	"stele/notary/office/people"
	"stele/notary/office/stamp"
	"stele/notary/office/webhook"
	"stele/notary/register/class"
	"stele/notary/register/erasure"
	"stele/notary/register/upload"
	"stele/server/auth"
	"stele/server/auth/passkey"
	"stele/server/auth/sso"
	"stele/server/http/site"
	"stele/server/http/tus"
	"stele/ui"
)

// Agencies finds and lists agencies. It is safe for concurrent use.
type Agencies interface {
	Agency(ctx context.Context, idOrCode string) (notary.Agency, error)
	Agencies(ctx context.Context) ([]notary.Agency, error)
}

// Statistics counts. It is safe for concurrent use.
//
// Ended is how many records of an agency have a standing other than valid. Tally counts what a filter selects by state
// and standing, at most as many as given. Days are how many records an agency registered on each of n days in Beijing,
// of which the last holds a time. KeptBytes is the size of its originals. WaitingSince is when the first record was
// received that is not anchored, zero where there is none.
type Statistics interface {
	Ended(ctx context.Context, agencyID string, standing notary.Standing) (int64, error)
	Tally(ctx context.Context, f archive.Filter, most int) (archive.Tally, error)
	Days(ctx context.Context, agencyID string, until time.Time, n int) ([]int64, error)
	KeptBytes(ctx context.Context, agencyID string) (int64, error)
	WaitingSince(ctx context.Context) (time.Time, error)
}

// Searches keeps the searches that users have named. It is safe for concurrent use. SaveSearch
// replaces one of the same name, and answers [archive.ErrTooMany] where there would be more
// than most.
type Searches interface {
	Searches(ctx context.Context, userID string) ([]archive.Search, error)
	SaveSearch(ctx context.Context, userID string, s archive.Search, most int) error
	DeleteSearch(ctx context.Context, userID, name string) error
}

// TrailSeals reads the sealed stretches of trails, see [people.SealStore]. SealIn is the one that a
// record holds, by its number; [notary.ErrNotFound] where it holds none.
type Seals interface {
	TrailSeals(ctx context.Context, trail string, before int64, limit int) ([]people.TrailSeal, error)
	SealIn(ctx context.Context, number string) (people.TrailSeal, error)
}

// Documents opens stored originals, see the storage adapters.
type Documents interface {
	Open(ctx context.Context, key, version string) (io.ReadCloser, notary.Object, error)
}

// Config is what the console needs. Style sheets and scripts are served by the public page.
type Config struct {
	People     *people.People
	Agencies   Agencies
	Archive    *archive.Archive
	Statistics Statistics
	Searches   Searches
	Seals      Seals
	Eraser     *erasure.Eraser
	Classes    *class.Book
	Papers     *filing.Desk
	Bulk       *bulk.Jobs
	SealBook   stamp.Book
	Stamps     *stamp.Stamper
	Uploads    *upload.Uploads
	Issuer     *issue.Issuer
	Documents  Documents
	Desk       *auth.KeyService
	Webhooks   *webhook.Endpoints
	TrustJSON  []byte
	VerifyPage []byte // the offline verifier, for evidence packages; nil where it was not built
	Operator   string // who runs the service, for the foot of the page; may be empty
	PublicURL  string // how the world reaches the service: https means that cookies go by it alone
	SSO        *sso.Client
	// CertificateEnds is when an agency's certificate ends, if that is soon enough to be told; else zero.
	// It answers at once. nil: nobody is told.
	CertificateEnds func(agencyID string) time.Time
	// SignInFailed is called when somebody is refused who shows a password, code, passkey, invitation or an
	// identity of single sign-on; nil: nobody counts.
	SignInFailed func(by string)
	Progress     *notary.Signal
	Stopping     <-chan struct{} // closed when requests under way must end; nil: never
	ReadTimeout  time.Duration   // a body that is silent for this long is given up
	Now          func() time.Time
	Log          *slog.Logger
}

// Console serves the pages. It is safe for concurrent use.
type Console struct {
	Config
	uploads  *tus.Handler
	routes   []route
	texts    *ui.Catalogues
	pages    map[string]map[string]*template.Template // by language and name
	sessions *scs.SessionManager
	secure   bool

	passkeys  *passkey.RelyingParty // nil where they are not to be had
	noPasskey string                // the text that says why
	places    site.Places           // of event streams
}

// folder is where all pages are.
const folder = "/console"

// Limits of requests.
const (
	maxForm        = 64 << 10 // bytes
	signInsPerMin  = 60       // attempts from one network, whoever's: a passkey or single sign-on takes two
	requestsPerMin = 1200     // from one network
)

// policy is stricter than the public page's. A page frames nothing but files of its own service.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"frame-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

const permissions = "camera=(), microphone=(), geolocation=(), payment=(), usb=()"

// New reads every template and text and mounts the pages on a router. It returns an error
// rather than a page that fails later.
func New(r chi.Router, c Config) (*Console, error) {
	out := &Console{Config: c, routes: table(), pages: map[string]map[string]*template.Template{}}
	var err error
	if out.texts, err = ui.LoadCatalogues(); err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	assets, err := ui.LoadAssets()
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	for _, texts := range out.texts.All() {
		if out.pages[texts.Tag], err = parse(texts, assets); err != nil {
			return nil, fmt.Errorf("console in %s: %w", texts.Tag, err)
		}
	}
	out.secure = strings.HasPrefix(c.PublicURL, "https://")
	out.sessions = newSessions(c.People.Sessions(), out.secure)
	switch out.passkeys, err = passkey.New(c.PublicURL, out.texts.All()[0].Text("site.name")); {
	case errors.Is(err, passkey.ErrNoName):
		out.noPasskey = "console.passkey.no_name"
	case errors.Is(err, passkey.ErrInsecure):
		out.noPasskey = "console.passkey.insecure"
	case err != nil:
		return nil, fmt.Errorf("console: %w", err)
	}
	if out.uploads, err = out.newUploads(); err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	out.mount(r)
	return out, nil
}

func (c *Console) mount(r chi.Router) {
	r.Group(func(r chi.Router) {
		r.Use(site.Protect(policy, permissions), noStore, site.Language(c.texts),
			httprate.LimitBy(requestsPerMin, time.Minute, auth.ClientKey), c.crossOrigin)
		signIns := httprate.LimitBy(signInsPerMin, time.Minute, auth.ClientKey,
			httprate.WithLimitHandler(func(rw http.ResponseWriter, req *http.Request) {
				rw.Header().Set("Retry-After", "60")
				c.visit(route{do: (*visit).signInPage, page: (*visit).signInPage}, rw, req).fail(
					notary.Errorf(notary.CodeRateLimited, "too many sign-ins").After(time.Minute))
			}))
		for _, rt := range c.routes {
			load := c.sessions.LoadAndSave
			if rt.background {
				load = c.quiet
			}
			h := load(c.handler(rt))
			if rt.rateLimited {
				h = signIns(h)
			}
			r.Method(rt.method, folder+rt.path, c.remember(h))
			if rt.method == http.MethodGet {
				r.Method(http.MethodHead, folder+rt.path, c.remember(h))
			}
		}
		r.Get(folder+"/", func(rw http.ResponseWriter, req *http.Request) {
			http.Redirect(rw, req, folder, http.StatusSeeOther)
		})
	})
}

// noStore keeps what people saw behind their sign-in out of every cache.
func noStore(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Cache-Control", "private, no-store")
		rw.Header().Set("X-Robots-Tag", "noindex")
		next.ServeHTTP(rw, r)
	})
}

// crossOrigin refuses forms that another site sends; each form has a token of its session
// beside that.
func (c *Console) crossOrigin(next http.Handler) http.Handler {
	p := http.NewCrossOriginProtection()
	p.SetDenyHandler(
		http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			c.visit(route{}, rw, r).fail(errForeignForm)
		}))
	return p.Handler(next)
}

// handler serves one route of the table.
func (c *Console) handler(rt route) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		v := c.visit(rt, rw, r)
		if err := v.serve(); err != nil {
			v.fail(err)
		}
	})
}

func (c *Console) visit(rt route, rw http.ResponseWriter, r *http.Request) *visit {
	texts, ok := site.TextsOf(r)
	if !ok {
		texts = c.texts.All()[0]
	}
	return &visit{Console: c, rw: rw, r: r, route: rt, texts: texts}
}

// local reports whether a path leads to a page of the console, for what a stranger may have
// put into an address.
func local(path string) bool {
	return (path == folder || strings.HasPrefix(path, folder+"/") || strings.HasPrefix(path, folder+"?")) &&
		!strings.ContainsAny(path, "\\\r\n")
}
