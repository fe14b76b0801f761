package console

import (
	"encoding/csv"
	"errors"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"stele/notary"
	"stele/notary/office/bulk"
	"stele/notary/office/people"
	"stele/ui"
)

// auditPage is what people did, newest first.
type auditPage struct {
	Search auditSearch
	Acts   []people.Action
	Events []people.AuditEvent
	Older  string // address of the next page, or empty
	CSV    string
	Lines  string
	Wrong  bool
}

type auditSearch struct{ Login, Act, About, From, To string }

// Narrowed reports whether anything was asked for.
func (s auditSearch) Narrowed() bool { return s != auditSearch{} }

const eventsShown = 100

// acts are all that can stand in the trail, each once: several routes may do the same.
func (c *Console) acts() []people.Action {
	out := slices.Clone(people.Acts)
	for _, rt := range c.routes {
		if rt.action != "" && !slices.Contains(out, rt.action) {
			out = append(out, rt.action)
		}
	}
	return out
}

// auditFilter reads what narrows the trail; ok is false where it means nothing.
func (v *visit) auditFilter() (s auditSearch, f people.AuditFilter, ok bool) {
	q := v.r.URL.Query()
	trimmed := func(name string) string { return strings.TrimSpace(q.Get(name)) }
	s = auditSearch{people.NormalizeLogin(q.Get("login")), trimmed("act"), trimmed("about"), trimmed("from"),
		trimmed("to")}
	f = people.AuditFilter{AgencyID: v.agency.ID, Login: s.Login, Act: people.Action(s.Act), About: s.About,
		Before: trimmed("before"), Limit: eventsShown + 1}
	f.From, f.To, ok = period(s.From, s.To)
	return s, f, ok
}

func (v *visit) audit() error {
	s, f, ok := v.auditFilter()
	page := auditPage{Search: s, Acts: v.acts(), Wrong: !ok}
	q := v.r.URL.Query()
	export := url.Values{}
	for _, name := range []string{"login", "act", "about", "from", "to"} {
		export.Set(name, q.Get(name))
	}
	export.Set("format", "csv")
	page.CSV = folder + "/audit/export?" + export.Encode()
	export.Set("format", "jsonl")
	page.Lines = folder + "/audit/export?" + export.Encode()
	if ok {
		var err error
		if page.Events, err = v.People.AuditEvents(v.r.Context(), f); err != nil {
			return err
		}
		if len(page.Events) > eventsShown {
			page.Events = page.Events[:eventsShown]
			q.Set("before", page.Events[eventsShown-1].ID)
			page.Older = folder + "/audit?" + q.Encode()
		}
	}
	return v.show("audit", "console.section.audit", page)
}

var auditColumns = []string{"id", "at", "agencyId", "userId", "login", "role", "act", "about", "detail", "network",
	"outcome", "form", "seal", "record"}

// spreadsheetMark is by which spreadsheets know UTF-8.
const spreadsheetMark = "\xef\xbb\xbf"

// exportAudit sends the trail as it is narrowed, newest first, as CSV or JSON lines.
func (v *visit) exportAudit() error {
	_, f, ok := v.auditFilter()
	if !ok {
		return errBadForm
	}
	f.Limit = 1000
	events, err := v.People.AuditEvents(v.r.Context(), f)
	if err != nil {
		return err
	}
	var write func(people.AuditEvent) error
	finish := func() error { return nil }
	name := "audit-" + v.Now().In(ui.Beijing).Format("20060102-150405")
	if v.r.URL.Query().Get("format") == "csv" {
		v.attach("text/csv; charset=utf-8", name+".csv")
		_, _ = v.rw.Write([]byte(spreadsheetMark))
		w := csv.NewWriter(v.rw)
		_ = w.Write(auditColumns) // an error stays and is returned below
		write = func(d people.AuditEvent) error {
			seal := ""
			if d.Seal > 0 {
				seal = strconv.FormatInt(d.Seal, 10)
			}
			return w.Write([]string{d.ID, d.At.UTC().Format(time.RFC3339Nano), d.AgencyID, d.UserID,
				bulk.Plain(d.Login), string(d.Role), string(d.Act), bulk.Plain(d.About), bulk.Plain(d.Detail),
				d.Network, d.Outcome, d.Form, seal, d.SealedIn})
		}
		finish = func() error { w.Flush(); return w.Error() }
	} else {
		v.attach("application/jsonl", name+".jsonl")
		write = func(d people.AuditEvent) error {
			_, err := v.rw.Write(append(d.SealedLine(), '\n'))
			return err
		}
	}
	for {
		for _, d := range events {
			if err := write(d); err != nil {
				return nil // the person has left
			}
		}
		if len(events) < f.Limit {
			_ = finish() // as above
			return nil
		}
		f.Before = events[len(events)-1].ID
		if events, err = v.People.AuditEvents(v.r.Context(), f); err != nil {
			v.breakOff(slog.LevelWarn, brokeOff, err)
		}
	}
}

// sealsPage are the sealed stretches of the trail, newest first.
type sealsPage struct {
	Seals []people.TrailSeal
	Older string // address of the next page, or empty
}

const sealsShown = 50

func (v *visit) seals() error {
	before, _ := strconv.ParseInt(v.r.URL.Query().Get("before"), 10, 64) // what is no number is the first page
	seals, err := v.Seals.TrailSeals(v.r.Context(), v.agency.ID, before, sealsShown+1)
	if err != nil {
		return trailDown(err)
	}
	page := sealsPage{Seals: seals}
	if len(seals) > sealsShown {
		page.Seals = seals[:sealsShown]
		page.Older = folder + "/audit/seals?before=" + strconv.FormatInt(seals[sealsShown-1].Number, 10)
	}
	return v.show("seals", "console.seals.heading", page)
}

func trailDown(err error) error {
	return notary.Wrap(notary.CodeUnavailable, err, "The audit trail cannot be read at the moment; try again.")
}

// sealedRecord is the record of a sealed stretch of the person's own trail; an operator sees all.
func (v *visit) sealedRecord() (notary.Record, error) {
	seal, err := v.Seals.SealIn(v.r.Context(), v.param("seal"))
	if errors.Is(err, notary.ErrNotFound) || err == nil && v.agency.ID != "" && seal.Trail != v.agency.ID {
		return notary.Record{}, notary.Errorf(notary.CodeNotFound, "There is no such record.")
	} else if err != nil {
		return notary.Record{}, trailDown(err)
	}
	return v.Archive.Record(v.r.Context(), "", seal.RecordID) // whose name it is signed in does not matter here
}

func (v *visit) sealBundle() error {
	rec, err := v.sealedRecord()
	if err != nil {
		return err
	}
	return v.sendBundle(rec)
}

func (v *visit) sealDocument() error {
	rec, err := v.sealedRecord()
	if err != nil {
		return err
	}
	return v.sendDocument(rec, "audit-"+rec.Number+".jsonl")
}
