package console

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/office/people"
	"stele/server/http/request"
	"stele/ui"
)

// visit is one request of a person.
type visit struct {
	*Console
	rw     http.ResponseWriter
	r      *http.Request
	route  route
	texts  *ui.Catalogue
	user   people.User   // zero for whoever is not signed in
	agency notary.Agency // zero for operators
	// problem is what was wrong with the form that is shown again; field is the part it is about.
	problem, field string
	status         int       // of the answer; 0 is what is usual
	wrong          error     // what a handler of another package could not do
	attributes     []option  // of the class whose form was sent, by name
	rows           []markRow // of the form of marks that was sent
	detail         string    // what exactly is wrong, for the text of the problem
	past           bool      // what the address says was done is true no longer, and not said
	stream         stream    // of a form that brings files
}

// Errors beside those of the domain.
var (
	errForeignForm = errors.New("form of another site or session")
	errNotAllowed  = errors.New("not for this role")
	errSignedOut   = errors.New("nobody is signed in")
	errBadForm     = errors.New("form cannot be read")
)

// serve does what the route's line in the table says, in this order: who is it, may they, is
// the form theirs, are they still there; then the trail; then the act.
func (v *visit) serve() error {
	if v.r.Method == http.MethodPost && !v.route.raw && !v.route.files && !v.route.streams {
		if err := v.readForm(); err != nil {
			return errBadForm
		}
	}
	if v.route.public {
		return v.route.do(v)
	}
	in, err := v.identify()
	if err != nil {
		return err
	}
	if !in && v.route.script {
		return errSignedOut
	}
	if !in {
		return v.toSignIn()
	}
	if !slices.Contains(v.route.roles, v.user.Role) {
		return errNotAllowed
	}
	if !v.route.beforeSetup && v.unsettled() {
		if v.route.script {
			return errNotAllowed
		}
		return v.redirect(folder + "/account")
	}
	if v.r.Method == http.MethodGet || v.r.Method == http.MethodHead && !v.route.script {
		return v.route.do(v)
	}
	// A large body is read only for somebody who may send it.
	if v.route.files {
		if err := v.readFile(); err != nil {
			return err
		}
		defer v.removeFile()
	}
	if v.route.streams {
		if err := v.readStream(); err != nil {
			return errBadForm
		}
	}
	return v.act()
}

// identify finds out who it is; a session of somebody who may not sign in any more ends.
func (v *visit) identify() (bool, error) {
	ctx := v.r.Context()
	id := v.sessions.GetString(ctx, sessionUser)
	if id == "" || v.sessions.GetString(ctx, sessionStage) != stageIn {
		return false, nil
	}
	var err error
	if v.user, err = v.People.User(ctx, id); notary.CodeOf(err) == notary.CodeUnauthorized {
		return false, v.sessions.Destroy(ctx)
	} else if err != nil {
		return false, err
	}
	request.From(ctx).Caller(v.user.AgencyID, "")
	if v.user.AgencyID != "" {
		if v.agency, err = v.Agencies.Agency(ctx, v.user.AgencyID); err != nil {
			return false, notary.Wrap(notary.CodeUnavailable, err,
				"The agencies cannot be read at the moment; try again.")
		}
	}
	return true, nil
}

// unsettled reports whether the person has something to do before anything else.
func (v *visit) unsettled() bool { return v.user.Initial || v.mustEnrol() }

// mustEnrol reports whether the person needs a second factor and has shown none, here or at
// the agency's provider.
func (v *visit) mustEnrol() bool {
	return v.People.MustEnrol(v.user) && v.sessions.GetString(v.r.Context(), sessionStrong) == ""
}

func (v *visit) toSignIn() error {
	to := folder + "/sign-in"
	if v.r.Method == http.MethodGet && v.r.URL.Path != folder {
		to += "?" + url.Values{"next": {v.r.URL.RequestURI()}}.Encode()
	}
	return v.redirect(to)
}

// act does what changes something. A form that was sent before does nothing again.
func (v *visit) act() error {
	ctx := v.r.Context()
	if !v.ownForm() {
		return errForeignForm
	}
	if v.route.sensitive && !v.fresh() {
		if err := v.People.Confirm(ctx, v.user.ID, v.r.PostFormValue("confirm"), network(v.r)); err != nil {
			return err
		}
		v.refresh()
	}
	if v.route.noAudit || v.route.dryRun != nil && v.route.dryRun(v) {
		return v.route.do(v)
	}
	if v.route.raw {
		v.r.PostForm = announced(v.r.Header)
	}
	d := v.event()
	if !v.route.script { // a script repeats what it got no answer to; those acts can be repeated
		d.Form = people.FormKey(v.session(), v.r.URL.Path+" "+v.r.PostFormValue("once"))
	}
	if err := v.People.Note(ctx, d); errors.Is(err, people.ErrRepeated) {
		return v.done(v.back(), "repeated")
	} else if err != nil {
		return err
	}
	err := v.route.do(v)
	if err != nil {
		d.Form, d.Outcome = "", string(notary.CodeOf(err))
		if nerr := v.People.Note(ctx, d); nerr != nil {
			v.Log.ErrorContext(ctx, "how an act ended could not be noted", "act", d.Act, "error", nerr)
		}
	}
	return err
}

// back is the page that a form stands on: that of the thing, or of the section.
func (v *visit) back() string {
	if id := v.param("job"); id != "" {
		return folder + "/bulk/" + url.PathEscape(id)
	}
	for _, name := range []string{"record", "webhook", "paper"} {
		if id := v.param(name); id != "" {
			return folder + "/" + name + "s/" + url.PathEscape(id)
		}
	}
	return folder + "/" + v.route.section
}

// maxDetail bounds what is kept of a form, in bytes.
const maxDetail = 2000

// event is what stands in the audit trail: the fields of the form that the table names.
func (v *visit) event() people.AuditEvent {
	var about, detail []string
	for _, name := range []string{"record", "upload", "key", "webhook", "delivery", "user", "paper", "class", "passkey",
		"job", "picture"} {
		if id := v.param(name); id != "" {
			about = append(about, id)
		}
	}
	for _, name := range v.route.auditFields {
		if text := strings.Join(v.r.PostForm[name], ","); text != "" {
			detail = append(detail, name+"="+text)
		}
	}
	if v.route.subject != nil {
		if subject := v.route.subject(v); subject != "" {
			about, detail = []string{subject}, append(detail, "of="+strings.Join(about, " "))
		}
	}
	text := printable(strings.Join(detail, "; "), maxDetail)
	return people.AuditEvent{AgencyID: v.user.AgencyID, UserID: v.user.ID, Login: v.user.Login, Role: v.user.Role,
		Act: v.route.action, About: printable(strings.Join(about, " "), maxDetail),
		Detail: text, Network: network(v.r)}
}

// printable keeps what a database and a line of a file can hold.
func printable(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

func (v *visit) ownForm() bool {
	want, got := v.sessions.GetString(v.r.Context(), sessionForm), v.r.Header.Get(formHeader)
	if !v.route.script {
		got = v.r.PostFormValue("form")
	}
	return want != "" && subtle.ConstantTimeCompare([]byte(want), []byte(got)) == 1
}

// session is the digest of the session's token.
func (v *visit) session() sm.Digest { return digestOf(v.sessions.Token(v.r.Context())) }

// begin makes the browser's session one of a user, under a new token. Nothing of what it was
// before stays in it.
func (v *visit) begin(u people.User, stage string) error {
	ctx := v.r.Context()
	if err := errors.Join(v.sessions.RenewToken(ctx), v.sessions.Clear(ctx)); err != nil {
		return err
	}
	v.sessions.Put(ctx, sessionUser, u.ID)
	v.sessions.Put(ctx, sessionStage, stage)
	v.sessions.Put(ctx, sessionForm, rand.Text())
	v.refresh()
	return nil
}

func (v *visit) refresh() {
	v.sessions.Put(v.r.Context(), sessionFresh, v.Now().UTC().Format(time.RFC3339))
}

func (v *visit) fresh() bool {
	at, err := time.Parse(time.RFC3339, v.sessions.GetString(v.r.Context(), sessionFresh))
	age := v.Now().Sub(at)
	return err == nil && age >= -time.Second && age < freshFor
}

func (v *visit) param(name string) string {
	s, err := url.PathUnescape(chi.URLParam(v.r, name))
	if err != nil {
		return ""
	}
	return s
}

// typed is a field of the form without white space at its ends.
func (v *visit) typed(name string) string { return strings.TrimSpace(v.r.PostFormValue(name)) }

func (v *visit) t(key string, pairs ...string) string { return v.texts.Text(key, pairs...) }

func (v *visit) redirect(to string) error {
	http.Redirect(v.rw, v.r, to, http.StatusSeeOther)
	return nil
}

// done leads to a page that says what was done.
func (v *visit) done(to, what string) error {
	return v.redirect(to + "?" + url.Values{"done": {what}}.Encode())
}

// statusOf is the one table from errors to answers.
var statusOf = map[notary.Code]int{
	notary.CodeInvalid: http.StatusUnprocessableEntity, notary.CodeUnauthorized: http.StatusUnprocessableEntity,
	notary.CodeForbidden: http.StatusForbidden,
	notary.CodeNotFound:  http.StatusNotFound, notary.CodeConflict: http.StatusConflict,
	notary.CodeIdempotency: http.StatusConflict, notary.CodeNotReady: http.StatusConflict,
	notary.CodeRateLimited: http.StatusTooManyRequests, notary.CodeTooLarge: http.StatusRequestEntityTooLarge,
	notary.CodeBusy: http.StatusServiceUnavailable, notary.CodeUnavailable: http.StatusServiceUnavailable,
	notary.CodeAgencySuspended: http.StatusForbidden, notary.CodeAgencyClosed: http.StatusForbidden,
	notary.CodeCertificateExpired: http.StatusServiceUnavailable,
}

// answerTo is the status of an error's answer and the name of its text. What stands in none of
// the tables is our fault.
func answerTo(err error, tables ...map[notary.Code]int) (status int, name string) {
	switch {
	case errors.Is(err, errForeignForm):
		return http.StatusForbidden, "foreign_form"
	case errors.Is(err, errNotAllowed):
		return http.StatusForbidden, "not_allowed"
	case errors.Is(err, errBadForm):
		return http.StatusBadRequest, "bad_form"
	case errors.Is(err, errSignedOut):
		return http.StatusUnauthorized, "signed_out"
	}
	code := notary.CodeOf(err)
	for _, t := range tables {
		if t[code] != 0 {
			return t[code], string(code)
		}
	}
	return http.StatusInternalServerError, string(notary.CodeInternal)
}

// waits tells the browser when trying again makes sense.
func (v *visit) waits(e *notary.Error) {
	if e != nil && e.Wait > 0 {
		v.rw.Header().Set("Retry-After", fmt.Sprint(int((e.Wait+time.Second-1)/time.Second)))
	}
}

// fail says what was not done. What is wrong with a form is said on its page, which is shown
// again; for anything else there is a page of its own. The text of an error that is not for
// the outside stays in the log.
func (v *visit) fail(err error) {
	v.countRefusal(err)
	if v.route.script {
		v.refuse(err)
		return
	}
	var e *notary.Error
	errors.As(err, &e)
	status, text := answerTo(err, statusOf)
	if status >= http.StatusInternalServerError {
		// the path as it came may hold a token
		v.Log.ErrorContext(v.r.Context(), "request failed", "path", folder+v.route.path, "error", err)
	}
	v.waits(e)
	if e != nil && v.route.page != nil && v.problem == "" && status != http.StatusNotFound &&
		status < http.StatusInternalServerError {
		v.status, v.field = status, e.Field
		v.problem = v.t(v.texts.First("console.wrong."+string(v.route.action)+"."+e.Field, "console.wrong."+e.Field,
			"console.error."+text+".heading"), "finding", finding(err), "detail", v.detail)
		if name, ok := v.attributeName(e); ok {
			v.problem = v.t("console.wrong.attribute", "name", name)
		}
		if e.Field == "plan" || e.Field == "file" {
			v.problem = v.stampProblem(err)
		}
		if e.Code == notary.CodeRateLimited {
			v.problem = v.t("console.wrong.wait", "n", fmt.Sprint(int(e.Wait/time.Second)+1))
		}
		if err := v.route.page(v); err == nil {
			return
		}
	}
	v.status = status
	if err := v.show("message", "console.error.title", message{Heading: v.t("console.error." + text + ".heading"),
		Next: v.t("console.error." + text + ".next")}); err != nil {
		v.Log.ErrorContext(v.r.Context(), "page cannot be written", "error", err)
		http.Error(v.rw, http.StatusText(status), status)
	}
}

// countRefusal counts a sign-in that the person's own doing kept from succeeding.
func (v *visit) countRefusal(err error) {
	if status, _ := answerTo(err, statusOf); !v.route.rateLimited || v.SignInFailed == nil ||
		status >= http.StatusInternalServerError {
		return
	}
	switch path := v.route.path; {
	case strings.Contains(path, "sso"):
		v.SignInFailed("single-sign-on")
	case strings.HasPrefix(path, "/passkey"):
		v.SignInFailed("passkey")
	case strings.HasPrefix(path, "/invitation"):
		v.SignInFailed("invitation")
	case path == "/code":
		v.SignInFailed("code")
	default:
		v.SignInFailed("password")
	}
}

// message is a page that says that something was not done.
type message struct{ Heading, Next string }
