package console

import (
	"cmp"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"stele/notary"
	"stele/notary/office/bulk"
	"stele/notary/register/class"
)

// bulkPage is the agency's bulk jobs, with the form for a new one.
type bulkPage struct {
	Jobs    []bulk.Job
	Older   string // address of the next page, or empty
	Classes []classChoice
	Class   string // chosen
	Limits  bulk.Limits
	AtHome  bool // the agency keeps its key: nothing can be signed here
	Name    func(class string) string
}

// classChoice is a class in a form.
type classChoice struct {
	ID, Name string
	Approval bool
}

const jobsShown = 20

func (v *visit) bulkJobs() error {
	ctx, q := v.r.Context(), v.r.URL.Query()
	jobs, err := v.Bulk.List(ctx, bulk.Query{AgencyID: v.agency.ID, Before: q.Get("before"), Limit: jobsShown + 1})
	if err != nil {
		return err
	}
	page := bulkPage{Jobs: jobs, Limits: v.Bulk.Limits(), AtHome: v.agency.ExternalKey, Class: q.Get("class")}
	if v.problem != "" {
		page.Class = v.typed("class")
	}
	if len(jobs) > jobsShown {
		page.Jobs = jobs[:jobsShown]
		page.Older = folder + "/bulk?before=" + jobs[jobsShown-1].ID
	}
	all, err := v.Classes.Own(ctx, v.agency.ID, v.Now())
	if err != nil {
		return err
	}
	names := map[string]string{}
	for _, c := range all {
		if names[c.ID] = c.Name.In(v.texts.Tag); !c.Ended {
			page.Classes = append(page.Classes, classChoice{c.ID, names[c.ID], c.Approval})
		}
	}
	page.Name = func(id string) string { return cmp.Or(names[id], id) }
	return v.show("bulk", "console.section.bulk", page)
}

// addBulk takes a table, and with it the zip where there is one.
func (v *visit) addBulk() error {
	defer v.drain()
	ctx := v.r.Context()
	if v.agency.ExternalKey {
		return notary.Errorf(notary.CodeConflict, "This agency keeps its key itself. Nothing was saved.")
	}
	name, data, err := v.readTable(v.Bulk.Limits())
	if err != nil {
		return err
	}
	job, err := v.Bulk.Add(ctx, v.agency.ID, v.me(), v.typed("class"), name, data,
		v.user.ID+"/"+printable(v.r.PostFormValue("once"), 64))
	var wrong *bulk.TableError
	if errors.As(err, &wrong) {
		v.detail = wrong.Detail
	}
	if err != nil {
		return err
	}
	at := folder + "/bulk/" + job.ID
	if job.State != bulk.Gathering {
		return v.done(at, "bulk_added")
	}
	v.nextPart()
	zip := v.part("zip")
	if zip == nil {
		return v.done(at, "bulk_table")
	}
	if _, err := v.Bulk.AddFiles(ctx, v.step(job.ID, job.Version), zip); err != nil {
		v.Log.WarnContext(ctx, "the zip of a bulk job was not taken", "job", job.ID, "error", err)
		return v.done(at, "bulk_no_zip") // the table is there; the zip can be sent again
	}
	return v.done(at, "bulk_added")
}

func (v *visit) addBulkFiles() error {
	defer v.drain()
	job, err := v.findJob()
	if err != nil {
		return err
	}
	zip := v.part("zip")
	if zip == nil {
		return notary.InvalidField("zip", "Choose a zip.")
	}
	job, err = v.Bulk.AddFiles(v.r.Context(), v.step(job.ID, job.Version), zip)
	if err != nil {
		return err
	}
	return v.done(folder+"/bulk/"+job.ID, "bulk_files")
}

// bulkJobPage is one job with its rows.
type bulkJobPage struct {
	bulk.Job
	ClassName string
	Show      string // which rows are shown: a state, or all
	Shows     []string
	Rows      []bulkLine
	More      string // address of the next rows, or empty
	Trouble   string
	Notes     []bulkNote
	Ended     int // rows that have their result, of a job that runs
	ToDo      int
	Mine      bool // the person handed it in
	Flawed    bool // something would be left out
	CanStart  bool
	CanFiles  bool
	CanRetry  bool
	CanDrop   bool
	MayDecide bool // approve or return: not one's own
}

// bulkNote is what there is to know of a table before one starts.
type bulkNote struct {
	Code bulk.NoticeCode
	Text string
}

// bulkLine is a row as the page shows it.
type bulkLine struct {
	bulk.Row
	Title    string
	Document string // name of the file, or digest
	HasFile  bool
	Facts    [][2]string // the class's attributes: what each is called, and its value
	Problems []string
}

const rowsShown = 50

func (v *visit) findJob() (bulk.Job, error) {
	return v.Bulk.Find(v.r.Context(), v.agency.ID, v.param("job"))
}

func (v *visit) bulkJob() error {
	job, err := v.findJob()
	if err != nil {
		return err
	}
	words, err := v.bulkWords(job)
	if err != nil {
		return err
	}
	page := bulkJobPage{Job: job, ClassName: words.class, Ended: job.Count[bulk.Settled] + job.Count[bulk.Failed],
		Mine: job.Maker.ID == v.user.ID, Flawed: job.Count[bulk.Refused] > 0 || job.LeftOver > 0}
	page.ToDo = page.Ended + job.Count[bulk.Ready]
	if job.Trouble.Code != "" {
		page.Trouble = words.problem(job.Trouble)
	}
	for _, n := range job.Notices {
		page.Notes = append(page.Notes, bulkNote{n.Code, words.notice(n)})
	}
	mine := page.Mine && v.may(http.MethodPost, "/bulk")
	page.CanStart = mine && job.State == bulk.Checked && page.Trouble == "" && job.Count[bulk.Ready] > 0
	page.CanFiles = mine && job.Files && (job.State == bulk.Gathering || job.State == bulk.Checked)
	page.CanRetry = mine && job.State == bulk.Done && !job.Forgotten && job.Count[bulk.Failed] > 0
	page.CanDrop = mine && slices.Contains([]bulk.State{bulk.Gathering, bulk.Uploaded, bulk.Checked, bulk.Waiting},
		job.State)
	page.MayDecide = job.State == bulk.Waiting && !page.Mine && v.may(http.MethodPost, "/bulk/{job}/approve")
	if err := v.bulkRows(&page, words); err != nil {
		return err
	}
	if state := holdsIn[v.r.URL.Query().Get("done")]; state != "" && state != job.State {
		v.past = true
	}
	return v.show("bulk_job", "console.bulk.job", page)
}

// holdsIn are notices that speak of what goes on, with the state that they are true in: a job
// often leaves it before its page is there, and the address is the same after a reload.
var holdsIn = map[string]bulk.State{"bulk_added": bulk.Uploaded, "bulk_files": bulk.Uploaded,
	"bulk_table": bulk.Gathering, "bulk_no_zip": bulk.Gathering}

// bulkRows adds the rows that are asked for, or those with errors where there are any.
func (v *visit) bulkRows(page *bulkJobPage, words bulkWords) error {
	q := v.r.URL.Query()
	rq := bulk.RowQuery{JobID: page.ID, Limit: rowsShown + 1}
	for _, s := range bulk.RowStates {
		if page.Count[s] > 0 {
			page.Shows = append(page.Shows, string(s))
		}
	}
	if page.Show = q.Get("show"); page.Show != "all" && !slices.Contains(page.Shows, page.Show) {
		page.Show = "all"
		for _, s := range []bulk.RowState{bulk.Failed, bulk.Refused} {
			if page.Count[s] > 0 {
				page.Show = string(s)
			}
		}
	}
	if page.Show != "all" {
		rq.States = []bulk.RowState{bulk.RowState(page.Show)}
	}
	if n, err := strconv.Atoi(q.Get("after")); err == nil && n > 0 {
		rq.After = n
	}
	rows, err := v.Bulk.Rows(v.r.Context(), rq)
	if err != nil {
		return err
	}
	if len(rows) > rowsShown {
		rows = rows[:rowsShown]
		page.More = folder + "/bulk/" + page.ID + "?show=" + page.Show + "&after=" + strconv.Itoa(rows[rowsShown-1].No)
	}
	for _, r := range rows {
		line := bulkLine{Row: r}
		switch {
		case r.Item != nil:
			line.Title, line.Document, line.HasFile = r.Item.Title, r.Item.File, page.Folder != "" &&
				r.Item.File != "" && r.Item.SM3 != ""
			if line.Document == "" {
				line.Document = r.Item.SM3
			}
			for _, name := range slices.Sorted(maps.Keys(r.Item.Fields)) {
				line.Facts = append(line.Facts, [2]string{cmp.Or(words.columns[name], name), r.Item.Fields[name]})
			}
		case r.Record != "":
			rec, err := v.Archive.Record(v.r.Context(), v.agency.ID, r.Record)
			if err != nil {
				return err
			}
			line.Title, line.Document = fieldOf(rec, "title"), fieldOf(rec, "fileName")
			if line.Document == "" {
				line.Document = rec.SM3.String()
			}
		}
		for _, p := range r.Problems {
			line.Problems = append(line.Problems, words.problem(p))
		}
		page.Rows = append(page.Rows, line)
	}
	return nil
}

// bulkWords are the texts of a job in the person's language.
type bulkWords struct {
	*visit
	class   string
	columns map[string]string // what the columns are called
	own     map[string]bulk.Column
}

func (v *visit) bulkWords(job bulk.Job) (bulkWords, error) {
	w := bulkWords{v, job.Class, map[string]string{}, map[string]bulk.Column{}}
	c, err := v.Classes.Find(v.r.Context(), v.agency.ID, job.Class)
	if notary.CodeOf(err) == notary.CodeNotFound {
		return w, nil
	}
	if err != nil {
		return w, err
	}
	s, err := class.ParseSchema(c.Schema)
	if err != nil {
		return w, err
	}
	w.class = c.Name.In(v.texts.Tag)
	for _, files := range []bool{true, false} {
		for _, c := range bulk.Columns(s, files) {
			w.columns[c.Name], w.own[c.Name] = columnTitle(c, v.texts.Tag), c
		}
	}
	return w, nil
}

// columnTitle is what a column is called, its name where the class gives it no title.
func columnTitle(c bulk.Column, tag string) string {
	if title := c.Title.In(tag); title != "" {
		return title
	}
	return c.Name
}

// ofForm are faults of a value's form: what the class says of the attribute helps there.
var ofForm = []bulk.Code{"type", "format", "pattern", "minLength", "maxLength", "minimum", "maximum"}

// problem is a sentence about what is wrong, with the column before it.
func (w bulkWords) problem(p bulk.Problem) string {
	text := w.t("console.bulk.problem."+string(p.Code), "detail", p.Detail)
	if c := w.own[p.Column]; c.Property != nil && slices.Contains(ofForm, p.Code) {
		note := c.Property.Hint.In(w.texts.Tag)
		if example := c.Example(); note == "" && example != "" && p.Code != "format" { // whose text has one
			note = w.t("console.bulk.example_is", "example", example)
		}
		if note != "" {
			text = w.t("console.bulk.noted", "text", text, "note", note)
		}
	}
	if column := w.columns[p.Column]; column != "" {
		return w.t("console.bulk.at_column", "column", column, "text", text)
	}
	return text
}

// notice is a sentence about how a table was read.
func (w bulkWords) notice(n bulk.Notice) string {
	list := slices.Clone(n.Names)
	for _, line := range n.Lines {
		list = append(list, strconv.Itoa(line))
	}
	if n.N > len(list) {
		list = append(list, "…")
	}
	return w.t("console.bulk.notice."+string(n.Code), "n", strconv.Itoa(n.N), "list", strings.Join(list, ", "))
}

func (v *visit) moved(job bulk.Job, err error, what string) error {
	if err != nil {
		return err
	}
	return v.done(folder+"/bulk/"+job.ID, what)
}

func (v *visit) startBulk() error {
	job, err := v.Bulk.Start(v.r.Context(), v.step(v.param("job"), v.seen()),
		v.typed("partial") == "yes")
	if job.State == bulk.Waiting {
		return v.moved(job, err, "bulk_waiting")
	}
	return v.moved(job, err, "bulk_started")
}

func (v *visit) recallBulk() error {
	job, err := v.Bulk.Recall(v.r.Context(), v.step(v.param("job"), v.seen()))
	return v.moved(job, err, "bulk_recalled")
}

func (v *visit) retryBulk() error {
	job, err := v.Bulk.Retry(v.r.Context(), v.step(v.param("job"), v.seen()))
	return v.moved(job, err, "bulk_started")
}

func (v *visit) dropBulk() error {
	job, err := v.Bulk.Drop(v.r.Context(), v.step(v.param("job"), v.seen()))
	return v.moved(job, err, "bulk_dropped")
}

func (v *visit) approveBulk() error {
	job, err := v.Bulk.Approve(v.r.Context(), v.step(v.param("job"), v.seen()))
	return v.moved(job, err, "bulk_approved")
}

func (v *visit) returnBulk() error {
	job, err := v.Bulk.Return(v.r.Context(), v.step(v.param("job"), v.seen()), v.typed("remark"))
	return v.moved(job, err, "bulk_returned")
}

// bulkDocument sends the document of a row, for the person who is to agree to it.
func (v *visit) bulkDocument() error {
	job, err := v.findJob()
	if err != nil {
		return err
	}
	no, err := strconv.Atoi(v.param("row"))
	if err != nil {
		return notary.Errorf(notary.CodeNotFound, "There is no such row.")
	}
	body, row, err := v.Bulk.Open(v.r.Context(), job, no)
	if err != nil {
		return err
	}
	defer body.Close()
	name := row.Item.File
	if i := strings.LastIndexAny(name, `/\`); i >= 0 {
		name = name[i+1:]
	}
	v.attach("application/octet-stream", name)
	if _, err := io.Copy(v.rw, body); err != nil {
		v.breakOff(slog.LevelWarn, "sending a document broke off", err, "job", job.ID)
	}
	return nil
}
