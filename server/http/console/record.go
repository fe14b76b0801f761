package console

import (
	"cmp"
	"net/url"
	"slices"
	"strings"
	"time"

	"stele/notary"
	"stele/notary/office/filing"
	"stele/notary/office/people"
	"stele/notary/proof"
	"stele/notary/register/class"
	"stele/notary/register/erasure"
	"stele/notary/register/intake"
)

// recordPage is one record.
type recordPage struct {
	recordLine
	Now        string // see nowOf
	Attributes []notary.Field
	Named      func(attribute string) string
	AnchoredAt time.Time            // zero: not yet, or the proof cannot be read at the moment
	Backbone   []proof.AnchorReport // anchors on other chains than the city nodes' own
	LoggedNow  bool                 // at least in the log
	Public     string               // path of the public page with the code
	Share      string               // its whole address
	Mail       string               // what can be sent beside it
	MailTo     string
	Events     []people.AuditEvent // what people did with it, the first first
	Erasures   []erasure.Erasure
	CanRevoke  bool
}

// egovKind is the kind of the anchors on the chain of the city nodes.
const egovKind = "stele/egov/v1"

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
	lines, err := v.linesOf([]notary.Record{rec}, p)
	if err != nil {
		return err
	}
	page := recordPage{recordLine: lines[0], Public: "/r/" + url.PathEscape(rec.Number) + "?" +
		url.Values{"code": {rec.Code}}.Encode(),
		CanRevoke: rec.Standing == notary.Valid && !v.agency.ExternalKey}
	page.Now, page.LoggedNow = nowOf(recordNow{page.State, rec.Standing}), page.State != notary.Received
	v.share(&page)
	page.Attributes = slices.Clone(rec.Fields)
	slices.SortFunc(page.Attributes, func(a, b notary.Field) int { return strings.Compare(a.Name, b.Name) })
	if page.Named, err = v.attributeNames(rec); err != nil {
		return err
	}
	if page.Events, err = v.eventsOf(rec); err != nil {
		return err
	}
	if page.Erasures, err = v.Eraser.Of(ctx, rec); err != nil {
		return err
	}
	if page.State == notary.Anchored {
		v.anchors(&page)
	}
	return v.show("record", "console.record.title", page)
}

// attributeNames names the attributes of a record in the language of the page, by the version of its
// class that it was made under, as the certificate does.
func (v *visit) attributeNames(rec notary.Record) (func(attribute string) string, error) {
	titles := map[string]string{}
	c, err := v.Classes.At(v.r.Context(), v.agency.ID, rec.Class, rec.IssuedAt)
	if err != nil && notary.CodeOf(err) != notary.CodeNotFound { // a record may have a class that nobody described
		return nil, err
	}
	if err == nil {
		s, err := class.ParseSchema(c.Schema)
		if err != nil {
			return nil, err
		}
		for _, p := range s.Properties {
			titles[p.Name] = p.Title.In(v.texts.Tag)
		}
	}
	return func(name string) string { return cmp.Or(titles[name], word(v.texts, "field", name)) }, nil
}

// DocumentErased reports whether the original was kept here once and was erased.
func (p recordPage) DocumentErased() bool {
	return !p.Stored && slices.ContainsFunc(p.Erasures, func(e erasure.Erasure) bool { return e.Document })
}

// anchors reads when chains took a record out of the evidence; a bundle that cannot be made
// has its own place to say so.
func (v *visit) anchors(page *recordPage) {
	b, err := v.Archive.Bundle(v.r.Context(), page.Record, false)
	if err != nil {
		return
	}
	report := proof.Verify(v.Archive.Trust(), nil, b)
	if at, err := time.Parse(time.RFC3339, report.AnchoredAt); err == nil {
		page.AnchoredAt = at
	}
	for _, a := range report.Anchors {
		if a.Kind != egovKind {
			page.Backbone = append(page.Backbone, a)
		}
	}
}

// share writes what can be sent to whom the document is for.
func (v *visit) share(page *recordPage) {
	page.Share = strings.TrimRight(v.PublicURL, "/") + page.Public
	page.Mail = v.t("console.share.mail", "agency", v.agency.Name, "number", page.Number, "code", page.Code, "address",
		page.Share)
	page.MailTo = "mailto:?" +
		strings.ReplaceAll(url.Values{"subject": {v.t("console.share.subject", "number", page.Number)},
			"body": {page.Mail}}.Encode(), "+", "%20")
}

// maxEvents bounds how many events a record's page shows.
const maxEvents = 50

// eventsOf is what people did with a record, under its number or its id.
func (v *visit) eventsOf(rec notary.Record) ([]people.AuditEvent, error) {
	var out []people.AuditEvent
	for _, name := range []string{rec.Number, rec.ID} {
		events, err := v.People.AuditEvents(v.r.Context(), people.AuditFilter{AgencyID: v.agency.ID, About: name,
			Limit: maxEvents})
		if err != nil {
			return nil, err
		}
		out = append(out, events...)
	}
	slices.SortFunc(out, func(a, b people.AuditEvent) int { return strings.Compare(a.ID, b.ID) })
	return out, nil
}

// revoke withdraws a record, or asks a second person to where its class says so. The form's own
// name makes it once, whatever breaks off.
func (v *visit) revoke() error {
	rec, err := v.findRecord()
	if err != nil {
		return err
	}
	p, err := v.Papers.Withdraw(v.r.Context(), intake.Ref{AgencyID: v.agency.ID, Record: rec.ID}, v.me(),
		v.typed("reason"),
		printable(v.r.PostFormValue("once"), 64))
	if err != nil {
		return err
	}
	if p.State == filing.Waiting {
		return v.done(folder+"/papers/"+p.ID, "paper_waits")
	}
	return v.filed(p, nil)
}
