package console

import (
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/office/filing"
	"stele/notary/office/people"
	"stele/notary/office/review"
	"stele/notary/register/class"
)

// Lists of the desk. Who approves sees first what waits for them.
const (
	deskWaiting = "waiting" // for a second person
	deskMine    = "mine"    // with me: drafts, and what came back
	deskOpen    = "open"    // all that is not done
	deskDone    = "done"
)

var deskLists = []string{deskMine, deskWaiting, deskOpen, deskDone}

// paperLine is a paper in a list.
type paperLine struct {
	filing.Paper
	ClassName string
	Own       bool
}

// papersPage is the desk.
type papersPage struct {
	List    string
	Lists   []string
	Waiting int // for approval, of the whole agency
	Papers  []paperLine
	Older   string
	HandsIn bool // may hand something in
}

const papersShown = 50

func (v *visit) me() review.Person {
	return review.Person{ID: v.user.ID, Login: v.user.Login, Name: v.user.Name}
}

// step is what the person does to a paper or a bulk job, having seen a version.
func (v *visit) step(id string, seen int) review.Step {
	return review.Step{AgencyID: v.agency.ID, ID: id, By: v.me(), Seen: seen}
}

func (v *visit) papers() error {
	ctx, q := v.r.Context(), v.r.URL.Query()
	page := papersPage{List: q.Get("list"), Lists: deskLists, HandsIn: v.may(http.MethodPost, "/papers/{paper}")}
	if !slices.Contains(deskLists, page.List) {
		page.List = deskMine
		if v.user.Role == people.Approver {
			page.List = deskWaiting
		} else if !page.HandsIn {
			page.List = deskOpen
		}
	}
	query := filing.Query{AgencyID: v.agency.ID, Before: q.Get("before"), Limit: papersShown + 1}
	switch page.List {
	case deskMine:
		query.MakerID, query.States = v.user.ID, []filing.State{filing.Draft, filing.Returned, filing.Approved}
	case deskWaiting:
		query.States = []filing.State{filing.Waiting}
	case deskOpen:
		query.States = []filing.State{filing.Draft, filing.Waiting, filing.Returned, filing.Approved}
	case deskDone:
		query.States = []filing.State{filing.Filed, filing.Dropped}
	}
	counts, err := v.Papers.Count(ctx, v.agency.ID)
	if err != nil {
		return err
	}
	page.Waiting = counts[filing.Waiting]
	list, err := v.Papers.List(ctx, query)
	if err != nil {
		return err
	}
	names, err := v.classNames()
	if err != nil {
		return err
	}
	if len(list) > papersShown {
		list = list[:papersShown]
		page.Older = folder + "/papers?" + url.Values{"list": {page.List}, "before": {list[papersShown-1].ID}}.Encode()
	}
	for _, p := range list {
		page.Papers = append(page.Papers, paperLine{p, names(p.Class), p.Maker.ID == v.user.ID})
	}
	return v.show("papers", "console.section.papers", page)
}

// classNames names the agency's classes in the language of the page.
func (v *visit) classNames() (func(id string) string, error) {
	list, err := v.Classes.Own(v.r.Context(), v.agency.ID, v.Now())
	return func(id string) string {
		if i := slices.IndexFunc(list, func(c class.Class) bool { return c.ID == id }); i >= 0 {
			return list[i].Name.In(v.texts.Tag)
		}
		return word(v.texts, "class", id)
	}, err
}

// paperPage is one paper.
type paperPage struct {
	paperLine
	Inputs   []input
	Classes  []option
	Record   *notary.Record // it became, or withdraws
	Mine     bool           // with the person who looks
	Decides  bool           // may approve or return it
	OwnWait  bool           // waits, and is theirs
	Second   bool           // its class wants a second person
	Shows    bool           // the file can be shown in the page
	Stamps   bool           // it can be stamped here
	Unmarked sm.Digest
	Bytes    uint64 // of the document
}

// option is a choice of a list.
type option struct{ ID, Name string }

// input is an attribute of a class in a form.
type input struct {
	class.Property
	Label, Note, Value string
	Wrong              bool
}

func (v *visit) findPaper() (filing.Paper, error) {
	return v.Papers.Find(v.r.Context(), v.agency.ID, v.param("paper"))
}

func (v *visit) paper() error {
	ctx := v.r.Context()
	p, err := v.findPaper()
	if err != nil {
		return err
	}
	names, err := v.classNames()
	if err != nil {
		return err
	}
	own := p.Maker.ID == v.user.ID
	page := paperPage{paperLine: paperLine{p, names(p.Class), own}, Mine: own &&
		(p.State == filing.Draft || p.State == filing.Returned) && v.may(http.MethodPost, "/papers/{paper}"),
		OwnWait: own && p.State == filing.Waiting && v.may(http.MethodPost, "/papers/{paper}/recall"),
		Decides: p.State == filing.Waiting && !own && v.may(http.MethodPost, "/papers/{paper}/approve"),
		Shows:   shows(p.MediaType), Unmarked: p.File.SM3, Stamps: p.MediaType == "application/pdf" &&
			p.Kind == filing.Issue, Bytes: uint64(p.Document().Size)}
	c, err := v.Classes.Find(ctx, v.agency.ID, v.chosenClass(p))
	if err != nil && notary.CodeOf(err) != notary.CodeNotFound {
		return err
	}
	page.Second = c.Approval
	if page.Inputs, err = v.inputs(c, p); err != nil {
		return err
	}
	open, err := v.Classes.Open(ctx, v.agency.ID)
	if err != nil {
		return err
	}
	for _, o := range open {
		page.Classes = append(page.Classes, option{o.ID, o.Name.In(v.texts.Tag)})
	}
	if p.Record != "" {
		if rec, err := v.Archive.Record(ctx, v.agency.ID, p.Record); err == nil {
			page.Record = &rec
		}
	}
	return v.show("paper", "console.paper.title", page)
}

// chosenClass is the class whose form is shown: the paper's, or one that was just chosen.
func (v *visit) chosenClass(p filing.Paper) string {
	if id := v.typed("class"); id != "" {
		return id
	}
	return p.Class
}

// fieldPrefix is before the names of attributes in forms, so that none is taken for another field.
const fieldPrefix = "f."

func (v *visit) inputs(c class.Class, p filing.Paper) ([]input, error) {
	s, err := class.ParseSchema(c.Schema)
	if err != nil {
		return nil, err
	}
	out := make([]input, len(s.Properties))
	for i, pr := range s.Properties {
		in := input{Property: pr, Label: pr.Title.In(v.texts.Tag), Note: pr.Hint.In(v.texts.Tag),
			Value: p.Fields[pr.Name], Wrong: v.field == "fields."+pr.Name}
		if in.Label == "" {
			in.Label = pr.Name
		}
		if v.problem != "" {
			in.Value = v.r.PostFormValue(fieldPrefix + pr.Name)
		}
		out[i] = in
	}
	return out, nil
}

// seen is the version of the paper that the person had before them.
func (v *visit) seen() int {
	n, err := strconv.Atoi(v.r.PostFormValue("version"))
	if err != nil {
		return -1
	}
	return n
}

// describe saves what a clerk says about a document and, where asked to, hands it on.
func (v *visit) describe() error {
	ctx := v.r.Context()
	p, err := v.findPaper()
	if err != nil {
		return err
	}
	c, err := v.Classes.Find(ctx, v.agency.ID, v.typed("class"))
	if err != nil {
		return notary.InvalidField("class", "There is no such class.")
	}
	s, err := class.ParseSchema(c.Schema)
	if err != nil {
		return err
	}
	about := filing.Description{Class: c.ID, Title: v.typed("title"), Reference: v.typed("reference"),
		Supersedes: v.typed("supersedes"), Reason: v.typed("reason"), Fields: map[string]string{}}
	for _, pr := range s.Properties {
		if text := v.typed(fieldPrefix + pr.Name); text != "" {
			about.Fields[pr.Name] = strings.ReplaceAll(text, "\r\n", "\n")
		}
		v.attributes = append(v.attributes, option{pr.Name, pr.Title.In(v.texts.Tag)})
	}
	if p, err = v.Papers.Describe(ctx, v.step(p.ID, v.seen()), about); err != nil {
		return err
	}
	to := folder + "/papers/" + p.ID
	if v.typed("then") != "submit" {
		return v.done(to, "paper_saved")
	}
	if p, err = v.Papers.Submit(ctx, v.step(p.ID, p.Version), v.typed("sure") != ""); err != nil {
		return err // what was said is saved
	}
	if p.State == filing.Waiting {
		return v.done(to, "paper_waits")
	}
	return v.filed(v.Papers.Finish(ctx, p))
}

// filed leads to what became of a paper that was approved.
func (v *visit) filed(p filing.Paper, err error) error {
	switch {
	case err != nil:
		return err
	case p.State != filing.Filed:
		return v.done(folder+"/papers/"+p.ID, "paper_approved")
	case p.Kind == filing.Withdrawal:
		return v.done(folder+"/records/"+p.Number, "revoked")
	}
	return v.done(folder+"/records/"+p.Number, "paper_filed")
}

// withdrawn is the record whose withdrawal a paper asks for: who decides on it acts on the record.
func (v *visit) withdrawn() string {
	p, err := v.Papers.Find(v.r.Context(), v.agency.ID, v.param("paper"))
	if err != nil || p.Kind != filing.Withdrawal {
		return "" // the act itself says what is wrong
	}
	return p.Record
}

func (v *visit) approve() error {
	return v.filed(v.Papers.Approve(v.r.Context(), v.step(v.param("paper"), v.seen())))
}

func (v *visit) returnPaper() error {
	p, err := v.Papers.Return(v.r.Context(), v.step(v.param("paper"), v.seen()), v.typed("remark"))
	if err != nil {
		return err
	}
	return v.done(folder+"/papers/"+p.ID, "paper_returned")
}

func (v *visit) recallPaper() error {
	p, err := v.Papers.Recall(v.r.Context(), v.step(v.param("paper"), v.seen()))
	if err != nil {
		return err
	}
	return v.done(folder+"/papers/"+p.ID, "paper_recalled")
}

func (v *visit) dropPaper() error {
	if _, err := v.Papers.Drop(v.r.Context(), v.step(v.param("paper"), v.seen())); err != nil {
		return err
	}
	return v.done(folder+"/papers", "paper_dropped")
}

// shows reports whether a browser may show a file of a type in the page: pictures, and PDFs in
// its own viewer. Nothing that could run.
func shows(mediaType string) bool {
	return slices.Contains([]string{"application/pdf", "image/png", "image/jpeg", "image/gif", "image/webp"}, mediaType)
}

// viewerPolicy lets a browser show a file in its own viewer, in a frame of this service, and
// lets the file do nothing.
const viewerPolicy = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; object-src 'self'; " +
	"frame-ancestors 'self'"

// paperDocument sends the file of a paper: the one that will be notarized, or with "original" the
// one that was handed in. It was made by anybody: it is shown in a sandbox, or saved.
func (v *visit) paperDocument() error {
	p, err := v.findPaper()
	if err != nil {
		return err
	}
	body, f, err := v.Papers.Open(v.r.Context(), p, v.r.URL.Query().Has("original"))
	if err != nil {
		return err
	}
	defer body.Close()
	name := p.FileName
	if name == "" {
		name = p.ID
	}
	v.attach(p.MediaType, name)
	h := v.rw.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	if v.r.URL.Query().Has("show") && shows(p.MediaType) {
		h.Set("Content-Disposition", mime.FormatMediaType("inline", map[string]string{"filename": name}))
		// The page may frame it, nobody else. A sandbox would keep the browser's own viewer out.
		h.Set("Content-Security-Policy", viewerPolicy)
		h.Set("X-Frame-Options", "SAMEORIGIN")
	}
	h.Set("Content-Length", fmt.Sprint(f.Size))
	if _, err := io.Copy(v.rw, body); err != nil {
		v.Log.WarnContext(v.r.Context(), "sending a document broke off", "paper", p.ID, "error", err)
	}
	return nil
}

// attributeName is what an attribute is called on the page that the form was on.
func (v *visit) attributeName(err *notary.Error) (string, bool) {
	name, ok := strings.CutPrefix(err.Field, "fields.")
	for _, a := range v.attributes {
		if a.ID == name && a.Name != "" {
			return a.Name, ok
		}
	}
	return name, ok
}
