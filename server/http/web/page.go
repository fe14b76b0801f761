package web

import (
	"bytes"
	"cmp"
	"errors"
	"html/template"
	"io/fs"
	"net/http"
	"strings"

	"stele/notary"
	"stele/server/http/site"
	"stele/ui"
)

// pages are all templates in one language.
type pages struct{ byName map[string]*template.Template }

// pageNames are the templates that are pages; the others are parts of them.
var pageNames = []string{"home", "record", "result", "message", "apidocs", "chain"}

func parsePages(c *ui.Catalogue, assets *ui.Assets) (*pages, error) {
	p := &pages{byName: map[string]*template.Template{}}
	funcs := template.FuncMap{
		"t":      c.Text,
		"asset":  func(name string) string { return site.AssetFolder + assets.Path(name) },
		"groups": site.Groups,
		"ticks":  ticks,
		"save":   func(number, code, lang string) saveForm { return saveForm{Number: number, Code: code, Lang: lang} },
		"form":   func(f frame, number, code string) checkForm { return checkForm{f, number, code} },
	}
	parts, err := fs.Glob(ui.Templates(), "part_*.html")
	if err != nil {
		return nil, err
	}
	for _, name := range pageNames {
		t, err := template.New("layout.html").Funcs(funcs).Option("missingkey=error").
			ParseFS(ui.Templates(), append([]string{"layout.html", name + ".html"}, parts...)...)
		if err != nil {
			return nil, err
		}
		p.byName[name] = t
	}
	return p, nil
}

// ticks shows what stands between backticks as code.
func ticks(text string) template.HTML {
	var b strings.Builder
	for i, part := range strings.Split(text, "`") {
		if escaped := template.HTMLEscapeString(part); i%2 == 1 {
			b.WriteString("<code>" + escaped + "</code>")
		} else {
			b.WriteString(escaped)
		}
	}
	return template.HTML(b.String()) // every part is escaped above
}

// frame is what every page has.
type frame struct {
	Lang       string
	Languages  []site.LanguageLink
	Title      string
	Operator   string
	CanVerify  bool           // the browser's verifier can be fetched
	WASMSize   string         // in words
	MaxUpload  string         // in words
	VerifyPage *ui.VerifyPage // or nil
	HasDocs    bool           // there is an API reference
	HasChain   bool           // there is a page about the chain
	Style      string         // a style sheet of this page's own
	Catalogue  string         // address of the texts for the scripts
	Page       any
}

// checkForm is what the form for a file needs: the certificate to compare it with, if any.
type checkForm struct {
	Frame        frame
	Number, Code string
}

// show writes a page. It is written whole or not at all.
func (w *Web) show(rw http.ResponseWriter, r *http.Request, status int, name, title string, page any) {
	c := w.textsOf(r)
	f := frame{Lang: c.Tag, Languages: site.OtherLanguages(w.texts, c, r, "/"), Title: title, Operator: w.Operator,
		VerifyPage: w.VerifyPage, HasDocs: w.docs != nil, HasChain: w.Explore != nil,
		CanVerify: w.assets.CanVerify(), MaxUpload: c.Size(uint64(w.Limits.MaxUpload)), Catalogue: site.AssetFolder +
			w.assets.Path("locales/"+c.Tag+".json"), Page: page}
	if name == "apidocs" || name == "chain" {
		f.Style = "css/" + name + ".css"
	}
	if a, ok := w.assets.Asset(ui.AssetWASM); ok {
		f.WASMSize = c.Size(uint64(cmp.Or(len(a.Brotli()), len(a.Gzip))))
	}
	var b bytes.Buffer
	if err := w.pages[c.Tag].byName[name].Execute(&b, f); err != nil {
		w.Log.ErrorContext(r.Context(), "page cannot be written", "page", name, "error", err)
		http.Error(rw, c.Text("error.internal.heading"), http.StatusInternalServerError)
		return
	}
	h := rw.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", c.Tag)
	h.Set("Cache-Control", "no-store")
	rw.WriteHeader(status)
	_, _ = rw.Write(b.Bytes()) // the person may have left; there is nobody else to tell
}

// message is a page that says that something was not done.
type message struct {
	Heading, Next string
	Number        string // of the certificate that it is about, or empty
}

// Errors of this package, beside those of the domain.
var (
	errNoFile      = errors.New("no file in the form")
	errTooLarge    = errors.New("file over the limit")
	errUnsupported = errors.New("not the page's form")
	errBroken      = errors.New("body broke off")
	errTimeout     = errors.New("body too slow")
	errBusy        = errors.New("too many requests from one address")
	errFull        = errors.New("too many uploads at a time")
	errCrossOrigin = errors.New("form of another site")
	errNoCode      = errors.New("no code")
	errWrongCode   = errors.New("wrong code")
	errManyCodes   = errors.New("too many wrong codes")
	errNotAnchored = errors.New("no certificate yet")
	errNone        = errors.New("no certificate ever")
	errOutage      = errors.New("a part of the service is out of reach")
	errNoQuestion  = errors.New("nothing to report on")
	errLargeForm   = errors.New("form over the limit")
	errChainAway   = errors.New("the chain cannot be asked")
	errMethod      = errors.New("a method that the address does not take")
)

// failures is the one table from errors to statuses and texts.
var failures = []struct {
	err    error
	status int
	text   string
}{
	{errNoFile, http.StatusUnprocessableEntity, "no_file"},
	{errTooLarge, http.StatusRequestEntityTooLarge, "too_large"},
	{errUnsupported, http.StatusUnsupportedMediaType, "unsupported"},
	{errBroken, http.StatusBadRequest, "broken"},
	{errTimeout, http.StatusRequestTimeout, "timeout"},
	{errBusy, http.StatusTooManyRequests, "busy"},
	{errFull, http.StatusServiceUnavailable, "busy"},
	{errCrossOrigin, http.StatusForbidden, "cross_origin"},
	{notary.ErrNotFound, http.StatusNotFound, "not_found"},
	{errNoCode, http.StatusForbidden, "no_code"},
	{errWrongCode, http.StatusForbidden, "wrong_code"},
	{errManyCodes, http.StatusTooManyRequests, "many_codes"},
	{errNotAnchored, http.StatusConflict, "not_anchored"},
	{errNone, http.StatusConflict, "no_certificate"},
	{errOutage, http.StatusServiceUnavailable, "outage"},
	{errNoQuestion, http.StatusUnprocessableEntity, "no_question"},
	{errLargeForm, http.StatusRequestEntityTooLarge, "large_form"},
	{errChainAway, http.StatusServiceUnavailable, "chain_away"},
	{errMethod, http.StatusMethodNotAllowed, "method"},
}

// fail answers with what happened, whether anything was saved, and what to do next. The text
// of an error that is not in the table stays in the log.
func (w *Web) fail(rw http.ResponseWriter, r *http.Request, err error) { w.failWith(rw, r, err, "") }

// failWith is fail about a certificate: the page leads to its record.
func (w *Web) failWith(rw http.ResponseWriter, r *http.Request, err error, number string) {
	status, text := http.StatusInternalServerError, "internal"
	for _, f := range failures {
		if errors.Is(err, f.err) {
			status, text = f.status, f.text
		}
	}
	if status == http.StatusInternalServerError {
		w.Log.ErrorContext(r.Context(), "request failed", "path", r.URL.Path, "error", err)
	}
	if errors.Is(err, errFull) {
		rw.Header().Set("Retry-After", "10")
	}
	c := w.textsOf(r)
	w.show(rw, r, status, "message", c.Text("error.title"), message{Number: number,
		Heading: c.Text("error."+text+".heading", "max", c.Size(uint64(w.Limits.MaxUpload))),
		Next:    c.Text("error." + text + ".next")})
}

// NotFound is the page at addresses where there is none, MethodNotAllowed that at addresses
// which do not take a method. Who routes requests mounts them for those who read pages.
func (w *Web) NotFound() http.Handler         { return w.failure(notary.ErrNotFound) }
func (w *Web) MethodNotAllowed() http.Handler { return w.failure(errMethod) }

func (w *Web) failure(err error) http.Handler {
	return protect(
		site.Language(w.texts)(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.fail(rw, r, err) })))
}
