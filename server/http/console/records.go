package console

import (
	"context"
	"encoding/csv"
	"errors"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/issue/archive"
	"stele/notary/office/bulk"
	"stele/notary/proof/statement"
	"stele/server/http/site"
	"stele/ui"
)

// recordLine is a record in a list.
type recordLine struct {
	notary.Record
	State           notary.State
	Title, FileName string
	ClassName       string
}

// recordsPage is a list of records with what narrows it.
type recordsPage struct {
	Search  search
	Records []recordLine
	Tally   archive.Tally
	Older   string // address of the next page, or empty
	Export  string
	Saved   []savedLink
	Classes []option // to choose from
	Query   string   // what would be saved
	Wrong   bool     // what was searched for cannot be
	Slow    bool     // the search took too long
}

// search is what narrows a list, as it was typed.
type search struct {
	Text     string // number, digest, or a part of title, file name, attributes or reference
	Person   string // a part of who handed it in
	Class    string
	Standing string
	State    string
	From, To string // days in Beijing, both included
	Before   string // index
}

// searchNames are the names of a search's fields in an address, in their order; the last is
// the place in the list.
var searchNames = []string{"q", "person", "class", "standing", "state", "from", "to", "before"}

// Narrowed reports whether anything was asked for.
func (s search) Narrowed() bool { s.Before = ""; return s != search{} }

// Only is the address of the list that is narrowed by one more thing.
func (s search) Only(name, value string) string {
	s.Before = ""
	q := s.values()
	q.Set(name, value)
	return folder + "/records?" + q.Encode()
}

func (s search) values() url.Values {
	q := url.Values{}
	for i, text := range []string{s.Text, s.Person, s.Class, s.Standing, s.State, s.From, s.To, s.Before} {
		if text != "" {
			q.Set(searchNames[i], text)
		}
	}
	return q
}

// searchOf reads a search out of an address.
func searchOf(q url.Values) search {
	trimmed := func(name string) string { return strings.TrimSpace(q.Get(name)) }
	return search{trimmed("q"), trimmed("person"), trimmed("class"), trimmed("standing"), trimmed("state"),
		trimmed("from"), trimmed("to"), trimmed("before")}
}

const (
	recordsShown = 50
	// mostTexts bounds how many records are compared with a text to count them.
	mostTexts = 1000
	// searchTime is how long a search may take: looking through a million records for a text
	// that none has takes some seconds.
	searchTime = 10 * time.Second
	// mostTyped bounds a text that is searched for, in bytes.
	mostTyped = 300
)

const dayForm = "2006-01-02"

// period reads the first and the last day of a search, in Beijing: it lasts until the end of
// the last one. What is empty is no bound; ok is false where a text is no day that can be meant.
func period(first, last string) (from, to time.Time, ok bool) {
	for _, d := range []struct {
		text string
		at   *time.Time
		days int
	}{{first, &from, 0}, {last, &to, 1}} {
		if d.text == "" {
			continue
		}
		day, err := time.ParseInLocation(dayForm, d.text, ui.Beijing)
		if err != nil || day.Year() < 2000 || day.Year() > 3000 {
			return from, to, false
		}
		*d.at = day.AddDate(0, 0, d.days)
	}
	return from, to, true
}

// filter turns what was typed into what the archive is asked; ok is false where it means nothing.
func (s search) filter(agencyID string, p notary.Progress) (f archive.Filter, ok bool) {
	f = archive.Filter{AgencyID: agencyID, Class: s.Class, Standing: notary.Standing(s.Standing), Person: s.Person,
		Limit: recordsShown + 1}
	if s.Class != "" && !statement.ValidClass(s.Class) || len(s.Text) > mostTyped || len(s.Person) > mostTyped {
		return f, false
	}
	if digest, err := sm.ParseDigest(strings.ToLower(s.Text)); err == nil {
		f.SM3 = &digest
	} else {
		f.Text = s.Text
	}
	if f.From, f.To, ok = period(s.From, s.To); !ok {
		return f, false
	}
	if s.Before != "" {
		n, err := strconv.ParseUint(s.Before, 10, 62)
		if err != nil {
			return f, false
		}
		f.Before = &n
	}
	below := func(n uint64) {
		if f.Before == nil || *f.Before > n {
			f.Before = &n
		}
	}
	switch notary.State(s.State) {
	case "":
	case notary.Anchored:
		below(p.Anchored)
	case notary.Logged:
		below(p.Logged)
		f.Least = p.Anchored
	case notary.Received:
		f.Least = p.Logged
	default:
		return f, false
	}
	return f, true
}

func (v *visit) records() error {
	ctx, cancel := context.WithTimeout(v.r.Context(), searchTime)
	defer cancel()
	s := searchOf(v.r.URL.Query())
	if number := site.NormalizeNumber(s.Text); notary.ValidNumber(number) {
		if rec, err := v.Archive.Record(ctx, v.agency.ID, number); err == nil {
			return v.redirect(folder + "/records/" + rec.Number)
		}
	}
	p, err := v.Archive.Progress(ctx)
	if err != nil {
		return err
	}
	page := recordsPage{Search: s, Query: savedQuery(s)}
	page.Export = folder + "/records/export?" + page.Query
	if page.Saved, err = v.savedLinks(); err != nil {
		return err
	}
	own, err := v.Classes.Own(ctx, v.agency.ID, v.Now())
	if err != nil {
		return err
	}
	for _, c := range own {
		page.Classes = append(page.Classes, option{c.ID, c.Name.In(v.texts.Tag)})
	}
	page.addClass(s.Class)
	f, ok := s.filter(v.agency.ID, p)
	if page.Wrong = !ok; !ok {
		return v.show("records", "console.section.records", page)
	}
	err = v.search(ctx, f, p, &page)
	if page.Slow = err != nil && ctx.Err() != nil && v.r.Context().Err() == nil; err != nil && !page.Slow {
		return err
	}
	return v.show("records", "console.section.records", page)
}

// addClass adds a class that is none of the agency's own: systems may register documents of classes
// that the agency has never described, and those can be searched for too.
func (p *recordsPage) addClass(id string) {
	if id != "" && !slices.ContainsFunc(p.Classes, func(o option) bool { return o.ID == id }) {
		p.Classes = append(p.Classes, option{id, id})
	}
}

// search fills in what a filter selects.
func (v *visit) search(ctx context.Context, f archive.Filter, p notary.Progress, page *recordsPage) error {
	records, err := v.Archive.List(ctx, f)
	if err != nil {
		return err
	}
	if len(records) > recordsShown {
		records = records[:recordsShown]
		s := page.Search
		s.Before = strconv.FormatUint(records[recordsShown-1].Index, 10)
		page.Older = folder + "/records?" + s.values().Encode()
	}
	if page.Records, err = v.linesOf(records, p); err != nil {
		return err
	}
	for _, r := range page.Records {
		page.addClass(r.Class)
	}
	if page.Search.Before != "" {
		return nil // the first page has the counts
	}
	most := mostCounted
	if f.Text != "" || f.Person != "" {
		most = mostTexts
	}
	if page.Tally, err = v.Statistics.Tally(ctx, f, most); err != nil {
		return uncounted(err)
	}
	return nil
}

var recordColumns = []string{"number", "title", "fileName", "class", "state", "standing", "reference", "handedInBy",
	"issuedAt", "sm3", "size", "mediaType", "reason", "supersedes"}

// exportRecords sends what a search found as CSV, newest first.
func (v *visit) exportRecords() error {
	ctx := v.r.Context()
	p, err := v.Archive.Progress(ctx)
	if err != nil {
		return err
	}
	f, ok := searchOf(v.r.URL.Query()).filter(v.agency.ID, p)
	if !ok {
		return errBadForm
	}
	f.Limit = 1000
	records, err := v.Archive.List(ctx, f)
	if err != nil {
		return err
	}
	v.attach("text/csv; charset=utf-8", "records-"+v.Now().In(ui.Beijing).Format("20060102-150405")+".csv")
	_, _ = v.rw.Write([]byte(spreadsheetMark))
	w := csv.NewWriter(v.rw)
	_ = w.Write(recordColumns) // an error stays and is returned below
	for {
		for _, r := range records {
			row := []string{r.Number, fieldOf(r, "title"), fieldOf(r, "fileName"), r.Class, string(p.StateOf(r.Index)),
				string(r.Standing), r.Reference, fieldOf(r, "originSystem"), r.IssuedAt.UTC().Format(time.RFC3339),
				r.SM3.String(), strconv.FormatUint(r.Size, 10), r.MediaType, r.Reason, r.Supersedes}
			for i := range row {
				row[i] = bulk.Plain(row[i])
			}
			_ = w.Write(row) // as above
		}
		if w.Flush(); w.Error() != nil || len(records) < f.Limit {
			return nil // all is sent, or the person has left
		}
		f.Before = &records[len(records)-1].Index
		if records, err = v.Archive.List(ctx, f); err != nil {
			v.breakOff(slog.LevelWarn, brokeOff, err)
		}
	}
}

// savedLink is a search that the person has named.
type savedLink struct{ Name, Href string }

// savedQuery is a search as it is kept: without the place in the list.
func savedQuery(s search) string { s.Before = ""; return s.values().Encode() }

// Limits of saved searches.
const (
	maxSaved     = 30
	maxSavedName = 60 // bytes
)

var errSavedName = notary.InvalidField("saved", "A name of 1 to %d bytes without control characters is needed.",
	maxSavedName)

func (v *visit) savedLinks() ([]savedLink, error) {
	all, err := v.Searches.Searches(v.r.Context(), v.user.ID)
	if err != nil {
		return nil, notary.Wrap(notary.CodeUnavailable, err,
			"The saved searches cannot be read at the moment; try again.")
	}
	out := make([]savedLink, len(all))
	for i, s := range all {
		out[i] = savedLink{s.Name, folder + "/records?" + s.Query}
	}
	return out, nil
}

// saveSearch keeps a search under a name; one of the same name is replaced.
func (v *visit) saveSearch() error {
	name := v.typed("saved")
	if !notary.ValidLine(name, maxSavedName) {
		return errSavedName
	}
	q, err := url.ParseQuery(v.r.PostFormValue("query"))
	if err != nil {
		return errBadForm
	}
	query := savedQuery(searchOf(q))
	if len(query) > 4*mostTyped*len(searchNames) {
		return errBadForm
	}
	switch err := v.Searches.SaveSearch(v.r.Context(), v.user.ID, archive.Search{Name: name, Query: query}, maxSaved); {
	case errors.Is(err, archive.ErrTooMany):
		return notary.InvalidField("saved_many", "At most %d searches are kept.", maxSaved)
	case err != nil:
		return notary.Wrap(notary.CodeUnavailable, err, "The search cannot be saved at the moment; try again.")
	}
	q = searchOf(q).values()
	q.Del("before")
	q.Set("done", "search_saved")
	return v.redirect(folder + "/records?" + q.Encode())
}

func (v *visit) deleteSearch() error {
	if err := v.Searches.DeleteSearch(v.r.Context(), v.user.ID, v.r.PostFormValue("saved")); err != nil {
		return notary.Wrap(notary.CodeUnavailable, err, "The search cannot be deleted at the moment; try again.")
	}
	return v.done(folder+"/records", "search_deleted")
}
