package console

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/archive"
	"stele/notary/filing"
	"stele/notary/proof"
	"stele/notary/statement"
	"stele/server/site"
	"stele/ui"
)

// recordLine is a record in a list.
type recordLine struct {
	notary.Record
	State           notary.State
	Title, FileName string
}

// recordsPage is a list of records with what narrows it.
type recordsPage struct {
	Search  search
	Records []recordLine
	Older   string // address of the next page, or empty
	Wrong   bool   // what was searched for cannot be
}

// search is what narrows a list, as it was typed.
type search struct {
	Text     string // number, digest or reference
	Class    string
	Standing string
	State    string
	From, To string // days in Beijing, both included
	Before   string // index
}

// Narrowed reports whether anything was asked for.
func (s search) Narrowed() bool { s.Before = ""; return s != search{} }

const recordsShown = 50

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
	f = archive.Filter{AgencyID: agencyID, Class: s.Class, Standing: notary.Standing(s.Standing), Limit: recordsShown + 1}
	if s.Class != "" && !statement.ValidClass(s.Class) {
		return f, false
	}
	if digest, err := sm.ParseDigest(strings.ToLower(s.Text)); err == nil {
		f.SM3 = &digest
	} else {
		f.Reference = s.Text
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
	ctx, q := v.r.Context(), v.r.URL.Query()
	trimmed := func(name string) string { return strings.TrimSpace(q.Get(name)) }
	s := search{trimmed("q"), trimmed("class"), trimmed("standing"), trimmed("state"), trimmed("from"), trimmed("to"), trimmed("before")}
	if number := site.NormalizeNumber(s.Text); notary.ValidNumber(number) {
		if rec, err := v.Archive.Record(ctx, v.agency.ID, number); err == nil {
			return v.redirect(folder + "/records/" + rec.Number)
		}
	}
	p, err := v.Archive.Progress(ctx)
	if err != nil {
		return err
	}
	page := recordsPage{Search: s}
	f, ok := s.filter(v.agency.ID, p)
	if page.Wrong = !ok; ok {
		records, err := v.Archive.List(ctx, f)
		if err != nil {
			return err
		}
		if len(records) > recordsShown {
			records = records[:recordsShown]
			q.Set("before", strconv.FormatUint(records[recordsShown-1].Index, 10))
			page.Older = folder + "/records?" + q.Encode()
		}
		page.Records = linesOf(records, p)
	}
	return v.show("records", "console.section.records", page)
}

// recordPage is one record.
type recordPage struct {
	recordLine
	Attributes []notary.Field
	AnchoredAt time.Time // zero: not yet, or the proof cannot be read at the moment
	LoggedNow  bool      // at least in the log
	Public     string    // address of the public page with the code
	CanRevoke  bool
}

func (v *visit) findRecord() (notary.Record, error) {
	return v.Archive.Record(v.r.Context(), v.agency.ID, v.param("record"))
}

func (v *visit) record() error {
	ctx := v.r.Context()
	rec, err := v.findRecord()
	if err != nil {
		return err
	}
	p, err := v.Archive.Progress(ctx)
	if err != nil {
		return err
	}
	page := recordPage{recordLine: linesOf([]notary.Record{rec}, p)[0], Public: "/r/" + url.PathEscape(rec.Number) + "?" + url.Values{"code": {rec.Code}}.Encode(),
		CanRevoke: rec.Standing == notary.Valid && !v.agency.KeyAtHome}
	page.LoggedNow = page.State != notary.Received
	for _, f := range rec.Fields {
		if len(f.Salt) > 0 {
			page.Attributes = append(page.Attributes, f)
		}
	}
	slices.SortFunc(page.Attributes, func(a, b notary.Field) int { return strings.Compare(a.Name, b.Name) })
	if page.State == notary.Anchored {
		// When the chain took it stands in the evidence; a bundle that cannot be made has its
		// own place to say so.
		if b, err := v.Archive.Bundle(ctx, rec, false); err == nil {
			if at, err := time.Parse(time.RFC3339, proof.Verify(v.Archive.Trust(), nil, b).AnchoredAt); err == nil {
				page.AnchoredAt = at
			}
		}
	}
	return v.show("record", "console.record.title", page)
}

// revoke withdraws a record, or asks a second person to where its class says so. The form's own
// name makes it once, whatever breaks off.
func (v *visit) revoke() error {
	rec, err := v.findRecord()
	if err != nil {
		return err
	}
	p, err := v.Papers.Withdraw(v.r.Context(), v.agency.ID, v.me(), rec.ID, v.typed("reason"), printable(v.r.PostFormValue("once"), 64))
	if err != nil {
		return err
	}
	if p.State == filing.Waiting {
		return v.done(folder+"/papers/"+p.ID, "paper_waits")
	}
	return v.filed(p, nil)
}
