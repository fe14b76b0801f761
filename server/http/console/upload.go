package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/issue/archive"
	"stele/notary/office/filing"
	"stele/notary/register/class"
	"stele/notary/register/upload"
	"stele/server/http/tus"
	"stele/ui"
)

// uploadPage is where documents are handed in.
type uploadPage struct {
	Classes  []class.Class
	Class    string // that is chosen
	Words    string // the texts of the page's script, as JSON
	Most     uint64 // bytes of a document
	Plain    uint64 // bytes of one that is handed in without scripts
	Replaces string // number of the record that is to be replaced, or empty
	Whose    string // the user's id: what a browser keeps of unfinished uploads is theirs
}

// maxPlain bounds a file that comes in one form, in bytes: it cannot be resumed.
const maxPlain = 64 << 20

// scriptWords are the beginnings of the keys that the page's script uses.
var scriptWords = []string{"console.upload.", "size.", "left."}

func (v *visit) uploadPage() error {
	classes, err := v.Classes.Open(v.r.Context(), v.agency.ID)
	if err != nil {
		return err
	}
	chosen := v.r.PostFormValue("class")
	if chosen == "" {
		chosen = v.r.URL.Query().Get("class")
	}
	replaces := v.replaces()
	if replaces != "" && chosen == "" { // most often of the same class
		if old, err := v.Archive.Record(v.r.Context(), v.agency.ID, replaces); err == nil {
			chosen = old.Class
		}
	}
	if !slices.ContainsFunc(classes, func(c class.Class) bool { return c.ID == chosen }) {
		chosen = class.General
	}
	words, err := wordsFor(v.texts, scriptWords)
	if err != nil {
		return err
	}
	return v.show("upload", "console.section.upload", uploadPage{Classes: classes, Class: chosen, Words: words,
		Most: uint64(v.Uploads.MaxSize()), Plain: min(maxPlain, uint64(v.Uploads.MaxSize())), Whose: v.user.ID,
		Replaces: replaces})
}

// replaces is the number of the record that a document is handed in to replace, or empty.
func (v *visit) replaces() string {
	if n := v.r.FormValue("replaces"); notary.ValidNumber(n) {
		return n
	}
	return ""
}

// wordsFor are the texts whose keys begin with one of these, as JSON: browsers do not fetch
// the console's catalogue.
func wordsFor(texts *ui.Catalogue, beginnings []string) (string, error) {
	out := map[string]string{}
	for _, key := range texts.Keys() {
		if slices.ContainsFunc(beginnings, func(b string) bool { return strings.HasPrefix(key, b) }) {
			out[key] = texts.Text(key)
		}
	}
	text, err := json.Marshal(out)
	return string(text), err
}

// newUploads serves tus for pages: who it is has been found out by the time that it is asked.
func (c *Console) newUploads() (*tus.Handler, error) {
	return tus.New(tus.Config{Uploads: c.Uploads, MaxSize: c.Uploads.MaxSize(), Path: folder + "/uploads",
		ReadTimeout: c.ReadTimeout, Stopping: c.Stopping,
		Agency: func(ctx context.Context) string { return uploader(ctx).agency.ID },
		Problem: func(_ http.ResponseWriter, r *http.Request, status int, err error) {
			v := uploader(r.Context())
			v.status, v.wrong = status, err
		}})
}

type uploaderKey struct{}

func uploader(ctx context.Context) *visit {
	v, _ := ctx.Value(uploaderKey{}).(*visit)
	return v
}

// tus serves a request of that protocol. What goes wrong is answered like any other error.
func (v *visit) tus() error {
	v.uploads.ServeHTTP(v.rw, v.r.WithContext(context.WithValue(v.r.Context(), uploaderKey{}, v)))
	return v.wrong
}

// announced is what the trail tells of an upload that begins: its headers, as if they were a form.
func announced(h http.Header) url.Values {
	form := url.Values{"size": {h.Get("Upload-Length")}}
	if m, err := tus.ParseMetadata(h.Get("Upload-Metadata")); err == nil && m[upload.MetaFileName] != "" {
		form.Set("file", m[upload.MetaFileName])
	}
	return form
}

// maxKnown is how many digests may be asked for at a time.
const maxKnown = 100

// papersKnown is how many papers on the desk are looked through for a document, the newest first.
const papersKnown = 500

// known is what the agency has of a document already: a record, or a paper on the desk.
type known struct {
	Href string `json:"href"`
	Name string `json:"name"` // the record's number, or the paper's title
	Text string `json:"text"`
}

// known tells which of the digests that a script asks about the agency has already. Nothing is
// told of other agencies.
func (v *visit) known() error {
	asked := v.r.PostForm["sm3"]
	if len(asked) > maxKnown {
		return notary.InvalidField("sm3", "Ask about at most %d digests at a time.", maxKnown)
	}
	digests := make([]sm.Digest, len(asked))
	for i, text := range asked {
		var err error
		if digests[i], err = sm.ParseDigest(text); err != nil {
			return notary.InvalidField("sm3", "An SM3 digest has 64 lower-case hexadecimal digits.")
		}
	}
	out := map[string]known{}
	if err := v.knownPapers(digests, out); err != nil {
		return err
	}
	for _, d := range digests {
		records, err := v.Archive.List(v.r.Context(), archive.Filter{AgencyID: v.agency.ID, SM3: &d, Limit: 10})
		if err != nil {
			return err
		}
		if len(records) == 0 {
			continue
		}
		rec := records[max(0,
			slices.IndexFunc(records, func(r notary.Record) bool { return r.Standing == notary.Valid }))]
		text := v.t("console.known.record", "time", v.texts.Time(rec.IssuedAt.UTC().Format(time.RFC3339)), "number",
			rec.Number)
		if rec.Standing != notary.Valid {
			text = v.t("console.known.past", "time", v.texts.Time(rec.IssuedAt.UTC().Format(time.RFC3339)), "number",
				rec.Number, "standing", v.t("standing."+string(rec.Standing)))
		}
		out[d.String()] = known{Href: folder + "/records/" + rec.Number, Name: rec.Number, Text: text}
	}
	return v.answer(http.StatusOK, map[string]any{"known": out})
}

// knownPapers adds what is on the desk and no record yet.
func (v *visit) knownPapers(digests []sm.Digest, out map[string]known) error {
	papers, err := v.Papers.List(v.r.Context(),
		filing.Query{AgencyID: v.agency.ID, States: []filing.State{filing.Draft, filing.Waiting, filing.Returned,
			filing.Approved}, Limit: papersKnown})
	if err != nil {
		return err
	}
	for _, p := range slices.Backward(papers) {
		if p.Kind == filing.Issue && slices.Contains(digests, p.File.SM3) {
			out[p.File.SM3.String()] = known{Href: paperPath(p), Name: p.Title,
				Text: v.t("console.known.paper", "time", v.texts.Time(p.CreatedAt.UTC().Format(time.RFC3339)), "name",
					p.Maker.Name)}
		}
	}
	return nil
}

func paperPath(p filing.Paper) string { return folder + "/papers/" + url.PathEscape(p.ID) }

// taken is a paper that was made of an upload.
type taken struct {
	Paper string `json:"paper"`
	Title string `json:"title"`
	Href  string `json:"href"`
}

// takeUpload makes a paper of an upload that has arrived. Asked again it tells of the same paper.
func (v *visit) takeUpload() error {
	p, err := v.Papers.Take(v.r.Context(), v.agency.ID, v.me(), filing.Taking{Upload: v.r.PostFormValue("upload"),
		Class: v.r.PostFormValue("class"), Supersedes: v.replaces()})
	if err != nil {
		return err
	}
	return v.answer(http.StatusOK, taken{p.ID, p.Title, paperPath(p)})
}

// errPlainSize is for a person whose browser runs no scripts.
var errPlainSize = notary.InvalidField("size",
	"A file that is handed in by a form has at most %d bytes. Nothing was saved.", maxPlain)

// readFile reads a form that brings a file; the file itself goes into a temporary one.
func (v *visit) readFile() error {
	v.r.Body = http.MaxBytesReader(v.rw, v.r.Body, maxPlain+maxForm)
	v.patient(0)
	err := v.r.ParseMultipartForm(maxForm)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		v.r.PostForm = url.Values{} // a form that did not come whole
		return errPlainSize
	case err != nil, wellFormed(v.r.PostForm) != nil:
		return errBadForm
	}
	if f := v.file(); f != nil {
		v.r.PostForm.Set("file", f.Filename)
		v.r.PostForm.Set("size", strconv.FormatInt(f.Size, 10))
	}
	return nil
}

func (v *visit) file() *multipart.FileHeader {
	if f := v.r.MultipartForm.File["document"]; len(f) == 1 {
		return f[0]
	}
	return nil
}

func (v *visit) removeFile() {
	if err := v.r.MultipartForm.RemoveAll(); err != nil {
		v.Log.WarnContext(v.r.Context(), "a temporary file stays", "error", err)
	}
}

// takeFile hands in the one file that came with a form, on the same way as others: as an
// upload that has arrived.
func (v *visit) takeFile() error {
	ctx, f := v.r.Context(), v.file()
	switch {
	case f == nil || f.Filename == "":
		return notary.InvalidField("document", "Choose one file. Nothing was saved.")
	case f.Size > min(maxPlain, v.Uploads.MaxSize()):
		return errPlainSize
	}
	body, err := f.Open()
	if err != nil {
		return fmt.Errorf("open a file that came: %w", err)
	}
	defer body.Close()
	up, err := v.Uploads.Create(ctx, v.agency.ID, f.Size,
		map[string]string{upload.MetaFileName: printable(f.Filename, maxDetail)})
	if err != nil {
		return err
	}
	if _, err := v.Uploads.Append(ctx, v.agency.ID, up.ID, 0, body); err != nil {
		return errors.Join(err, v.Uploads.Drop(context.WithoutCancel(ctx), v.agency.ID, up.ID))
	}
	p, err := v.Papers.Take(ctx, v.agency.ID, v.me(), filing.Taking{Upload: up.ID, Class: v.r.PostFormValue("class"),
		Supersedes: v.replaces()})
	if err != nil {
		// There is no script that would come back for it.
		return errors.Join(err, v.Uploads.Drop(context.WithoutCancel(ctx), v.agency.ID, up.ID))
	}
	return v.redirect(paperPath(p))
}
