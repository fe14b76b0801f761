package console

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"stele/notary"
	"stele/notary/office/bulk"
	"stele/notary/office/people"
	"stele/server/http/site"
	"stele/ui"
)

// parse reads the pages in one language: each file but the layout and the parts is one.
func parse(texts *ui.Catalogue, assets *ui.Assets) (map[string]*template.Template, error) {
	funcs := template.FuncMap{
		"t": texts.Text, "asset": func(name string) string { return site.AssetFolder + assets.Path(name) },
		"groups": site.Groups, "size": texts.Size,
		"time": func(at time.Time) string { return texts.Time(at.UTC().Format(time.RFC3339)) },
		"utc":  func(at time.Time) string { return at.UTC().Format(time.RFC3339Nano) },
		"word": func(kind string, name any) string { return word(texts, kind, fmt.Sprint(name)) },
		"has":  slices.Contains[[]string], "hashes": assets.CanVerify,
		"rowstate": func(s string) bulk.RowState { return bulk.RowState(s) },
		"bytes":    func(n int64) uint64 { return uint64(max(n, 0)) },
	}
	names, err := fs.Glob(ui.Templates(), "console/*.html")
	if err != nil {
		return nil, err
	}
	out := map[string]*template.Template{}
	for _, name := range names {
		base := strings.TrimSuffix(path.Base(name), ".html")
		if base == "layout" || strings.HasPrefix(base, "part_") {
			continue
		}
		if out[base], err = template.New("layout.html").Funcs(funcs).Option("missingkey=error").
			ParseFS(ui.Templates(), "console/layout.html", name, "console/part_*.html", "part_icons.html"); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// word is what a name of the domain is called, or the name itself where an agency has its own.
func word(texts *ui.Catalogue, kind, name string) string {
	for _, key := range []string{"console." + kind + "." + strings.ReplaceAll(name, ".", "_"), kind + "." + name} {
		if texts.Has(key) {
			return texts.Text(key)
		}
	}
	return name
}

// frame is what every page has.
type frame struct {
	Lang      string
	Languages []site.LanguageLink
	Title     string
	Operator  string
	User      *people.User // nil before the sign-in
	Agency    notary.Agency
	Section   string
	Sections  []string
	Form      string // the token of the session's forms
	Once      string // of the forms on this page: each is taken once
	Fresh     bool   // sensitive forms need not ask again
	Settled   bool
	Passkeys  bool                           // are to be had here
	Here      string                         // the page that the form stands on
	May       func(method, path string) bool // this role use a route of the table
	Warning   string                         // what the agency's people have to know, in words
	Done      string                         // what was just done, in words
	Problem   string                         // what was wrong with the form
	Field     string                         // the part of it
	Typed     func(name string) string       // into the form that is shown again
	Page      any
}

// show writes a page, whole or not at all.
func (v *visit) show(name, title string, page any) error {
	ctx := v.r.Context()
	f := frame{Lang: v.texts.Tag, Languages: site.OtherLanguages(v.Console.texts, v.texts, v.r, folder),
		Title: v.t(title), Operator: v.Operator, Agency: v.agency, Section: v.route.section,
		Once: rand.Text(), Problem: v.problem, Field: v.field, Passkeys: v.passkeys != nil, Page: page}
	f.Typed = func(name string) string {
		if v.problem == "" {
			return ""
		}
		return v.r.PostFormValue(name)
	}
	f.May = func(string, string) bool { return false }
	if v.user.ID != "" {
		f.User, f.Settled, f.Fresh, f.Form = &v.user, !v.unsettled(), v.fresh(), v.sessions.GetString(ctx, sessionForm)
		f.May, f.Here, f.Warning = v.may, v.back(), v.warning()
		for _, s := range sections {
			at := slices.IndexFunc(v.routes, func(rt route) bool {
				return rt.section == s && rt.method == http.MethodGet
			})
			if slices.Contains(v.routes[at].roles, v.user.Role) && (f.Settled || v.routes[at].beforeSetup) {
				f.Sections = append(f.Sections, s)
			}
		}
	}
	if key := "console.done." + v.r.URL.Query().Get("done"); v.r.Method != http.MethodPost && !v.past &&
		v.texts.Has(key) {
		f.Done = v.t(key)
	}
	var b bytes.Buffer
	if err := v.pages[v.texts.Tag][name].Execute(&b, f); err != nil {
		return fmt.Errorf("page %s: %w", name, err)
	}
	h := v.rw.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", v.texts.Tag)
	if v.status == 0 {
		v.status = http.StatusOK
	}
	v.rw.WriteHeader(v.status)
	_, _ = v.rw.Write(b.Bytes()) // the person may have left; there is nobody else to tell
	return nil
}

// warning tells an agency's people that nothing is signed in its name, and its admins that soon
// nothing can be.
func (v *visit) warning() string {
	if v.agency.State == notary.AgencySuspended {
		return v.t("console.agency.suspended")
	}
	if v.user.Role != people.Admin || v.CertificateEnds == nil {
		return ""
	}
	end := v.CertificateEnds(v.agency.ID)
	if end.IsZero() {
		return ""
	}
	key := "console.agency.certificate_ends"
	if !v.Now().Before(end) {
		key = "console.agency.certificate_ended"
	}
	return v.t(key, "time", v.texts.Time(end.UTC().Format(time.RFC3339)))
}

// may reports whether the person may use a route of the table: what a page offers and what
// works is the same thing.
func (v *visit) may(method, path string) bool {
	return slices.ContainsFunc(v.routes, func(rt route) bool {
		return rt.method == method && rt.path == path && slices.Contains(rt.roles, v.user.Role)
	})
}
