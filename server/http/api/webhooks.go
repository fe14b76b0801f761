package api

import (
	"context"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"github.com/emmansun/gmsm/smx509"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/office/webhook"
)

// Webhook is an endpoint as its agency sees it.
type Webhook struct {
	ID             string   `json:"id" format:"uuid"`
	URL            string   `json:"url" format:"uri"`
	Events         []string `json:"events" doc:"What is sent there"`
	Classes        []string `json:"classes" doc:"Only records of these classes; empty: all"`
	Payload        string   `json:"payload" enum:"full,thin"`
	Fields         []string `json:"fields" doc:"Names of the private attributes that a full payload shows; * is all"`
	Enabled        bool     `json:"enabled"`
	DisabledAt     string   `json:"disabledAt,omitempty" format:"date-time"`
	DisabledReason string   `json:"disabledReason,omitempty" enum:"failing,gone,manual"`
	Failures       int      `json:"failures" doc:"Failed attempts since the last success"`
	FailingSince   string   `json:"failingSince,omitempty" format:"date-time"`
	HeldUntil      string   `json:"heldUntil,omitempty" format:"date-time" doc:"Nothing is sent before, because it failed or asked for it"`
	OldSecretUntil string   `json:"oldSecretUntil,omitempty" format:"date-time" doc:"Until then the replaced secret signs too"`
	CreatedAt      string   `json:"createdAt" format:"date-time"`
}

// NewWebhook is an endpoint with its secret, which is shown this once.
type NewWebhook struct {
	Webhook
	Secret string `json:"secret" doc:"whsec_ and base64; it is not shown again"`
}

// WebhookSettings are what an agency chooses; what is absent keeps its value, or has its default.
type WebhookSettings struct {
	URL     *string   `json:"url,omitempty" maxLength:"2048" doc:"https; a demo instance also calls http on its own machine"`
	Events  *[]string `json:"events,omitempty" doc:"absent or empty: all"`
	Classes *[]string `json:"classes,omitempty" maxItems:"100"`
	Payload *string   `json:"payload,omitempty" enum:"full,thin" doc:"full if absent; thin names only id and number"`
	Fields  *[]string `json:"fields,omitempty" maxItems:"60"`
}

func (w WebhookSettings) apply(s *webhook.Settings) {
	set(&s.URL, w.URL)
	set(&s.Classes, w.Classes)
	set(&s.Form.Fields, w.Fields)
	if w.Events != nil {
		s.Kinds = nil
		for _, e := range *w.Events {
			s.Kinds = append(s.Kinds, webhook.Kind(e))
		}
	}
	if w.Payload != nil {
		s.Form.Thin = *w.Payload == "thin"
	}
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

func wireWebhook(e webhook.Endpoint) Webhook {
	w := Webhook{ID: e.ID, URL: e.Settings.URL, Events: []string{}, Classes: append([]string{}, e.Settings.Classes...),
		Payload: "full",
		Fields:  append([]string{}, e.Settings.Form.Fields...), Enabled: e.Health.State == webhook.Enabled,
		DisabledAt:     formatTime(e.Health.DisabledAt),
		DisabledReason: e.Health.Reason, Failures: e.Health.Failures, FailingSince: formatTime(e.Health.FailingSince),
		HeldUntil:      formatTime(e.Health.HoldUntil),
		OldSecretUntil: formatTime(e.OldUntil), CreatedAt: formatTime(e.CreatedAt)}
	for _, k := range e.Settings.Kinds {
		w.Events = append(w.Events, string(k))
	}
	if e.Settings.Form.Thin {
		w.Payload = "thin"
	}
	return w
}

// WebhookPath names a webhook in the path of a call. It is exported because huma skips embedded
// structs that are not.
type WebhookPath struct {
	ID string `path:"id" maxLength:"64" doc:"Webhook id"`
}

type webhookOutput struct{ Body Webhook }

type newWebhookOutput struct {
	Location string `header:"Location"`
	Cache    string `header:"Cache-Control"`
	Body     NewWebhook
}

type webhookListOutput struct {
	Body struct {
		Webhooks []Webhook `json:"webhooks"`
		Next     string    `json:"next,omitempty" doc:"Cursor of the next page; absent on the last"`
	}
}

func (a *API) registerWebhooks() {
	op := func(id, method, path, summary string, errors ...int) huma.Operation {
		return a.private(notary.ScopeWebhooks, huma.Operation{OperationID: id, Method: method,
			Path: "/api/v1/webhooks" + path, Tags: []string{"webhooks"}, Summary: summary, Errors: errors})
	}
	create := op("create-webhook", http.MethodPost, "", "Have events sent to a URL", 409, 422)
	create.DefaultStatus = http.StatusCreated
	create.Description = "The secret that signs is in this answer and in no other. Messages and signatures follow " +
		"Standard Webhooks v1.0.0. The endpoint gets the events of facts from now on."
	huma.Register(a.huma, create, a.createWebhook)
	huma.Register(a.huma, op("list-webhooks", http.MethodGet, "", "List the agency's webhooks, oldest first", 422),
		a.listWebhooks)
	huma.Register(a.huma, op("webhook-sample", http.MethodGet, "/sample",
		"A signed message with its secret, to test a receiver's verification"), a.webhookSample)
	huma.Register(a.huma, op("get-webhook", http.MethodGet, "/{id}", "One webhook", 404),
		func(ctx context.Context, in *WebhookPath) (*webhookOutput, error) {
			e, err := a.Webhooks.Find(ctx, caller(ctx).AgencyID, in.ID)
			return a.oneWebhook(ctx, e, err)
		})
	change := op("change-webhook", http.MethodPatch, "/{id}", "Change a webhook; what is absent stays as it is", 404,
		422)
	change.Description = "One that is enabled again goes on with the first event that it has not got."
	huma.Register(a.huma, change, a.changeWebhook)
	remove := op("delete-webhook", http.MethodDelete, "/{id}", "Delete a webhook and its deliveries", 404)
	remove.DefaultStatus = http.StatusNoContent
	huma.Register(a.huma, remove, func(ctx context.Context, in *WebhookPath) (*struct{}, error) {
		if err := a.Webhooks.Delete(ctx, caller(ctx).AgencyID, in.ID); err != nil {
			return nil, a.fail(ctx, err)
		}
		return nil, nil
	})
	rotate := op("rotate-webhook-secret", http.MethodPost, "/{id}/secret", "Replace the secret", 404)
	rotate.Description = "The new secret is in this answer and in no other. For 24 hours the old one signs beside it."
	rotate.DefaultStatus = http.StatusCreated
	huma.Register(a.huma, rotate, func(ctx context.Context, in *WebhookPath) (*newWebhookOutput, error) {
		e, secret, err := a.Webhooks.Rotate(ctx, caller(ctx).AgencyID, in.ID)
		return a.newWebhook(ctx, e, secret, err)
	})
}

func (a *API) oneWebhook(ctx context.Context, e webhook.Endpoint, err error) (*webhookOutput, error) {
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	return &webhookOutput{Body: wireWebhook(e)}, nil
}

func (a *API) newWebhook(ctx context.Context, e webhook.Endpoint, secret webhook.Secret, err error) (*newWebhookOutput,
	error) {
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	return &newWebhookOutput{Location: "/api/v1/webhooks/" + e.ID, Cache: "private, no-store",
		Body: NewWebhook{wireWebhook(e), secret.Text()}}, nil
}

// mayShow keeps a key that cannot read records from having their private attributes sent to a
// place of its choice, by an endpoint of its own or by turning another's elsewhere.
func mayShow(ctx context.Context, s webhook.Settings) error {
	if key := caller(ctx); len(s.Form.Fields) > 0 && !key.May(notary.ScopeRead) {
		return notary.Errorf(notary.CodeForbidden,
			"A webhook that shows private attributes needs a key with the scope %q too. Nothing was saved.",
			notary.ScopeRead)
	}
	return nil
}

type createWebhookInput struct {
	Idempotency string `header:"Idempotency-Key" maxLength:"128" doc:"Repeating a request with its key makes no second one"`
	Body        struct {
		WebhookSettings
	}
}

func (a *API) createWebhook(ctx context.Context, in *createWebhookInput) (*newWebhookOutput, error) {
	var s webhook.Settings
	in.Body.apply(&s)
	if err := mayShow(ctx, s); err != nil {
		return nil, a.fail(ctx, err)
	}
	id, err := a.claim(ctx, in.Idempotency, "create-webhook", in.Body, webhook.NewEndpointID())
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	if in.Idempotency != "" {
		if _, err := a.Webhooks.Find(ctx, caller(ctx).AgencyID, id); err == nil {
			return nil, a.fail(ctx, madeBefore("webhook", id))
		}
	}
	e, secret, err := a.Webhooks.Create(ctx, caller(ctx).AgencyID, id, s)
	return a.newWebhook(ctx, e, secret, err)
}

type changeWebhookInput struct {
	WebhookPath
	Body struct {
		WebhookSettings
		Enabled *bool `json:"enabled,omitempty"`
	}
}

func (a *API) changeWebhook(ctx context.Context, in *changeWebhookInput) (*webhookOutput, error) {
	e, err := a.Webhooks.Change(ctx, caller(ctx).AgencyID, in.ID, func(s *webhook.Settings, enabled *bool) error {
		in.Body.apply(s)
		set(enabled, in.Body.Enabled)
		if in.Body.URL == nil && in.Body.Fields == nil {
			return nil
		}
		return mayShow(ctx, *s)
	})
	return a.oneWebhook(ctx, e, err)
}

type webhookListInput struct {
	Cursor string `query:"cursor" maxLength:"64" doc:"next of the page before"`
	Limit  int    `query:"limit" minimum:"1" maximum:"50" default:"50"`
}

func (a *API) listWebhooks(ctx context.Context, in *webhookListInput) (*webhookListOutput, error) {
	after, err := base64.RawURLEncoding.DecodeString(in.Cursor)
	if err != nil {
		return nil, a.fail(ctx, errCursor)
	}
	list, err := a.Webhooks.List(ctx, caller(ctx).AgencyID, string(after), in.Limit+1)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	out := &webhookListOutput{}
	out.Body.Webhooks = []Webhook{}
	if len(list) > in.Limit {
		list = list[:in.Limit]
		out.Body.Next = base64.RawURLEncoding.EncodeToString([]byte(list[in.Limit-1].ID))
	}
	for _, e := range list {
		out.Body.Webhooks = append(out.Body.Webhooks, wireWebhook(e))
	}
	return out, nil
}

var errCursor = notary.InvalidField("cursor", "The cursor must be the 'next' of an earlier page.")

// WebhookSample is a message as a receiver gets it, with what is needed to check it.
type WebhookSample struct {
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body" doc:"The exact bytes that are signed, as text"`
	Secret  string            `json:"secret" doc:"Signs the sample only; it is public"`
	SM2     SM2Key            `json:"sm2" doc:"Checks the v1sm2 signature of this sample and of every webhook of this instance"`
}

// SM2Key is a public key with the user id under which it signs.
type SM2Key struct {
	PublicKey string `json:"publicKey" doc:"PEM"`
	UserID    string `json:"userId"`
}

type webhookSampleOutput struct{ Body WebhookSample }

func (a *API) webhookSample(ctx context.Context, _ *struct{}) (*webhookSampleOutput, error) {
	s, secret, err := a.Webhooks.Sample()
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	der, err := smx509.MarshalPKIXPublicKey(a.WebhookKey.ECDSA())
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	return &webhookSampleOutput{Body: WebhookSample{Body: string(s.Body), Secret: secret.Text(),
		SM2: SM2Key{string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), sm.UserID},
		Headers: map[string]string{"content-type": "application/json", webhook.HeaderID: s.ID,
			webhook.HeaderTimestamp: strconv.FormatInt(s.Timestamp, 10), webhook.HeaderSignature: s.Signature}}}, nil
}
