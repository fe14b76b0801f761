package console

import (
	"encoding/csv"
	"encoding/json"
	"net/url"
	"strings"
	"time"

	"stele/notary/bulk"
	"stele/notary/people"
	"stele/ui"
)

// auditPage is what people did, newest first.
type auditPage struct {
	Search auditSearch
	Acts   []people.Act
	Deeds  []people.Deed
	Older  string // address of the next page, or empty
	CSV    string
	Lines  string
	Wrong  bool
}

type auditSearch struct{ Login, Act, About, From, To string }

// Narrowed reports whether anything was asked for.
func (s auditSearch) Narrowed() bool { return s != auditSearch{} }

const deedsShown = 100

// acts are all that can stand in the trail.
func (c *Console) acts() []people.Act {
	out := []people.Act{people.ActSignIn, people.ActFailed}
	for _, rt := range c.routes {
		if rt.act != "" {
			out = append(out, rt.act)
		}
	}
	return out
}

// auditFilter reads what narrows the trail; ok is false where it means nothing.
func (v *visit) auditFilter() (s auditSearch, f people.DeedFilter, ok bool) {
	q := v.r.URL.Query()
	trimmed := func(name string) string { return strings.TrimSpace(q.Get(name)) }
	s = auditSearch{people.NormalizeLogin(q.Get("login")), trimmed("act"), trimmed("about"), trimmed("from"), trimmed("to")}
	f = people.DeedFilter{AgencyID: v.agency.ID, Login: s.Login, Act: people.Act(s.Act), About: s.About, Before: trimmed("before"), Limit: deedsShown + 1}
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
		if page.Deeds, err = v.People.Deeds(v.r.Context(), f); err != nil {
			return err
		}
		if len(page.Deeds) > deedsShown {
			page.Deeds = page.Deeds[:deedsShown]
			q.Set("before", page.Deeds[deedsShown-1].ID)
			page.Older = folder + "/audit?" + q.Encode()
		}
	}
	return v.show("audit", "console.section.audit", page)
}

// deedLine is a row of an export.
type deedLine struct {
	ID      string `json:"id"`
	At      string `json:"at"`
	Agency  string `json:"agencyId,omitempty"`
	User    string `json:"userId"`
	Login   string `json:"login"`
	Role    string `json:"role"`
	Act     string `json:"act"`
	About   string `json:"about,omitempty"`
	Detail  string `json:"detail,omitempty"`
	Network string `json:"network"`
	Outcome string `json:"outcome,omitempty"`
}

var deedColumns = []string{"id", "at", "agencyId", "userId", "login", "role", "act", "about", "detail", "network", "outcome"}

// exportAudit sends the trail as it is narrowed, newest first, as CSV or JSON lines.
func (v *visit) exportAudit() error {
	_, f, ok := v.auditFilter()
	if !ok {
		return errBadForm
	}
	f.Limit = 1000
	var write func(deedLine) error
	finish := func() error { return nil }
	name := "audit-" + v.Now().In(ui.Beijing).Format("20060102-150405")
	if v.r.URL.Query().Get("format") == "csv" {
		v.attach("text/csv; charset=utf-8", name+".csv")
		_, _ = v.rw.Write([]byte("\xef\xbb\xbf")) // the mark by which spreadsheets know UTF-8
		w := csv.NewWriter(v.rw)
		_ = w.Write(deedColumns) // an error stays and is returned below
		write = func(l deedLine) error {
			return w.Write([]string{l.ID, l.At, l.Agency, l.User, bulk.Plain(l.Login), l.Role, l.Act, bulk.Plain(l.About), bulk.Plain(l.Detail), l.Network, l.Outcome})
		}
		finish = func() error { w.Flush(); return w.Error() }
	} else {
		v.attach("application/jsonl", name+".jsonl")
		e := json.NewEncoder(v.rw)
		e.SetEscapeHTML(false)
		write = func(l deedLine) error { return e.Encode(l) }
	}
	for {
		deeds, err := v.People.Deeds(v.r.Context(), f)
		if err != nil {
			v.Log.WarnContext(v.r.Context(), "an export broke off", "error", err)
			return nil
		}
		for _, d := range deeds {
			if err := write(deedLine{d.ID, d.At.UTC().Format(time.RFC3339Nano), d.AgencyID, d.UserID, d.Login, string(d.Role), string(d.Act), d.About, d.Detail, d.Network, d.Outcome}); err != nil {
				return nil // the person has left
			}
		}
		if len(deeds) < f.Limit {
			_ = finish() // as above
			return nil
		}
		f.Before = deeds[len(deeds)-1].ID
	}
}
