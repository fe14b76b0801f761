package console

import (
	"encoding/base64"
	"net/url"
	"strconv"
	"strings"
	"time"

	"stele/notary"
	"stele/notary/office/webhook"
	"stele/ui"
)

// webhookFields are those of the form for an endpoint's settings.
var webhookFields = []string{"url", "kind", "classes", "payload", "fields"}

// webhooksPage is the agency's endpoints, with the form for a new one.
type webhooksPage struct {
	Endpoints []webhook.Endpoint
	Form      webhookForm
}

// webhookForm is an endpoint's settings as a form has them.
type webhookForm struct {
	URL     string
	Ticked  []string
	Kinds   []webhook.Kind
	Classes string
	Thin    bool
	Fields  string
}

func (v *visit) formOf(s webhook.Settings) webhookForm {
	f := webhookForm{URL: s.URL, Kinds: webhook.Kinds, Classes: strings.Join(s.Classes, " "), Thin: s.Form.Thin,
		Fields: strings.Join(s.Form.Fields, " ")}
	for _, k := range s.Kinds {
		f.Ticked = append(f.Ticked, string(k))
	}
	if v.problem != "" && (v.route.action == "webhook_create" || v.route.action == "webhook_change") {
		f.URL, f.Ticked, f.Classes, f.Thin, f.Fields = v.typed("url"), v.r.PostForm["kind"], v.typed("classes"),
			v.typed("payload") == "thin", v.typed("fields")
	}
	return f
}

// settings are those of the form.
func (v *visit) settings(s *webhook.Settings) {
	s.URL, s.Kinds, s.Classes = v.typed("url"), nil, strings.Fields(v.typed("classes"))
	for _, k := range v.r.PostForm["kind"] {
		s.Kinds = append(s.Kinds, webhook.Kind(k))
	}
	s.Form = webhook.Form{Thin: v.typed("payload") == "thin", Fields: strings.Fields(v.typed("fields"))}
}

func (v *visit) webhooks() error {
	list, err := v.Webhooks.List(v.r.Context(), v.agency.ID, "", webhook.MaxEndpoints)
	if err != nil {
		return err
	}
	return v.show("webhooks", "console.section.webhooks",
		webhooksPage{list, v.formOf(webhook.Settings{Kinds: webhook.Kinds})})
}

func (v *visit) createWebhook() error {
	var s webhook.Settings
	if v.settings(&s); len(s.Kinds) == 0 {
		return notary.InvalidField("kind", "Choose at least one event.")
	}
	e, made, err := v.Webhooks.Create(v.r.Context(), v.agency.ID, webhook.NewEndpointID(), s)
	if err != nil {
		return err
	}
	return v.showWebhook(e, secret{made.Text(), e.Settings.URL})
}

// webhookPage is one endpoint with its deliveries.
type webhookPage struct {
	webhook.Endpoint
	Enabled    bool
	OldSigns   bool // the replaced secret still signs
	Form       webhookForm
	Shown      secret
	Status     string
	Deliveries []deliveryLine
	Older      string // address of the next page, or empty
	Pending    bool   // something on the page is still on its way
}

type deliveryLine struct {
	webhook.Delivery
	Attempts []attemptLine
}

type attemptLine struct {
	webhook.Attempt
	Millis int64
	Text   string // the beginning of the answer, as text
}

const deliveriesShown = 25

func (v *visit) webhook() error {
	e, err := v.Webhooks.Find(v.r.Context(), v.agency.ID, v.param("webhook"))
	if err != nil {
		return err
	}
	return v.showWebhook(e, secret{})
}

func (v *visit) showWebhook(e webhook.Endpoint, shown secret) error {
	q := v.r.URL.Query()
	page := webhookPage{Endpoint: e, Enabled: e.Health.State == webhook.Enabled, OldSigns: len(e.OldSecret) > 0 &&
		v.Now().Before(e.OldUntil), Form: v.formOf(e.Settings), Shown: shown, Status: q.Get("status")}
	before, err := parsePlace(q.Get("before"))
	if err != nil {
		return err
	}
	f := webhook.DeliveryFilter{EndpointID: e.ID, Before: before, Limit: deliveriesShown + 1}
	switch s := webhook.DeliveryStatus(page.Status); s {
	case "", webhook.Pending, webhook.Done, webhook.Abandoned:
		f.Status = s
	}
	list, err := v.Webhooks.Deliveries(v.r.Context(), v.agency.ID, f)
	if err != nil {
		return err
	}
	if len(list) > deliveriesShown {
		list = list[:deliveriesShown]
		last := list[deliveriesShown-1]
		page.Older = v.webhookPath(e.ID) + "?" + url.Values{"status": {page.Status},
			"before": {formatPlace(last.CreatedAt, last.Event.ID)}}.Encode()
	}
	for _, d := range list {
		line := deliveryLine{Delivery: d}
		for _, a := range d.History {
			line.Attempts = append(line.Attempts,
				attemptLine{a, a.Took.Milliseconds(), strings.ToValidUTF8(string(a.Answer), "\uFFFD")})
		}
		page.Deliveries = append(page.Deliveries, line)
		page.Pending = page.Pending || d.Status == webhook.Pending
	}
	return v.show("webhook", "console.webhook.title", page)
}

// formatPlace writes the place of a delivery into an address; parsePlace reads it.
func formatPlace(at time.Time, id string) string {
	return strconv.FormatInt(at.UnixMicro(), 36) + "." + base64.RawURLEncoding.EncodeToString([]byte(id))
}

func parsePlace(s string) (*webhook.DeliveryPlace, error) {
	if s == "" {
		return nil, nil
	}
	at, id, _ := strings.Cut(s, ".")
	us, err := strconv.ParseInt(at, 36, 64)
	b, err2 := base64.RawURLEncoding.DecodeString(id)
	if err != nil || err2 != nil || len(b) > 64 {
		return nil, notary.Errorf(notary.CodeNotFound, "There is no such page.")
	}
	return &webhook.DeliveryPlace{CreatedAt: time.UnixMicro(us).UTC(), EventID: strings.ToValidUTF8(string(b), "")}, nil
}

func (v *visit) webhookPath(id string) string { return folder + "/webhooks/" + url.PathEscape(id) }

// changed leads back to the endpoint.
func (v *visit) changed(err error, what string) error {
	if err != nil {
		return err
	}
	return v.done(v.webhookPath(v.param("webhook")), what)
}

func (v *visit) changeWebhook() error {
	if len(v.r.PostForm["kind"]) == 0 {
		return notary.InvalidField("kind", "Choose at least one event.")
	}
	_, err := v.Webhooks.Change(v.r.Context(), v.agency.ID, v.param("webhook"),
		func(s *webhook.Settings, _ *bool) error { v.settings(s); return nil })
	return v.changed(err, "webhook_changed")
}

func (v *visit) switchWebhook() error {
	on := v.typed("enabled") == "true"
	_, err := v.Webhooks.Change(v.r.Context(), v.agency.ID, v.param("webhook"),
		func(_ *webhook.Settings, enabled *bool) error { *enabled = on; return nil })
	if on {
		return v.changed(err, "webhook_enabled")
	}
	return v.changed(err, "webhook_disabled")
}

func (v *visit) testWebhook() error {
	_, err := v.Webhooks.Test(v.r.Context(), v.agency.ID, v.param("webhook"))
	return v.changed(err, "webhook_tested")
}

func (v *visit) rotateSecret() error {
	e, made, err := v.Webhooks.Rotate(v.r.Context(), v.agency.ID, v.param("webhook"))
	if err != nil {
		return err
	}
	return v.showWebhook(e, secret{made.Text(), e.Settings.URL})
}

func (v *visit) deleteWebhook() error {
	if err := v.Webhooks.Delete(v.r.Context(), v.agency.ID, v.param("webhook")); err != nil {
		return err
	}
	return v.done(folder+"/webhooks", "webhook_deleted")
}

func (v *visit) replay() error {
	_, err := v.Webhooks.Replay(v.r.Context(), v.agency.ID, v.param("webhook"), v.param("delivery"))
	return v.changed(err, "replayed")
}

// sinceForm is how browsers send a time of day; it is meant in Beijing.
const sinceForm = "2006-01-02T15:04"

func (v *visit) replaySince() error {
	at, err := time.ParseInLocation(sinceForm, v.typed("since"), ui.Beijing)
	if err != nil || at.Year() < 2000 || at.After(v.Now()) {
		return notary.InvalidField("since", "The time must be one that has been.")
	}
	return v.changed(v.Webhooks.ReplaySince(v.r.Context(), v.agency.ID, v.param("webhook"), at), "replayed_since")
}
