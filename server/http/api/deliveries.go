package api

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"stele/notary"
	"stele/notary/office/webhook"
)

// Delivery is one event on its way to one webhook.
type Delivery struct {
	ID         string            `json:"id" doc:"Of the event; it is what stands in the header webhook-id"`
	Type       string            `json:"type"`
	Timestamp  string            `json:"timestamp" format:"date-time" doc:"When the fact became durable"`
	RecordID   string            `json:"recordId,omitempty"`
	Number     string            `json:"number,omitempty"`
	Status     string            `json:"status" enum:"pending,delivered,failed" doc:"failed: given up after the last attempt"`
	DueAt      string            `json:"dueAt,omitempty" format:"date-time" doc:"When a pending one is sent next"`
	FinishedAt string            `json:"finishedAt,omitempty" format:"date-time"`
	Attempts   []DeliveryAttempt `json:"attempts" doc:"Oldest first"`
}

// DeliveryAttempt is one request and what came of it.
type DeliveryAttempt struct {
	At       string `json:"at" format:"date-time"`
	Duration int64  `json:"durationMs"`
	Status   int    `json:"status,omitempty" doc:"HTTP status; absent when there was no answer"`
	Answer   string `json:"answer,omitempty" doc:"The first 4 KiB of the answer; bytes that are no UTF-8 are replaced"`
	Error    string `json:"error,omitempty" doc:"Why there was no answer"`
}

func wireDelivery(d webhook.Delivery) Delivery {
	out := Delivery{ID: d.Event.ID, Type: string(d.Event.Kind), Timestamp: formatTime(d.Event.At),
		Status: string(d.Status), FinishedAt: formatTime(d.FinishedAt), Attempts: []DeliveryAttempt{}}
	if d.Event.Record != nil {
		out.RecordID, out.Number = d.Event.Record.ID, d.Event.Record.Number
	}
	if d.Status == webhook.Pending {
		out.DueAt = formatTime(d.DueAt)
	}
	for _, at := range d.History {
		out.Attempts = append(out.Attempts, DeliveryAttempt{At: formatTime(at.At), Duration: at.Took.Milliseconds(),
			Status: at.Status,
			Answer: strings.ToValidUTF8(string(at.Answer), "\uFFFD"), Error: at.Error})
	}
	return out
}

type deliveryOutput struct{ Body Delivery }

type deliveryListInput struct {
	WebhookPath
	Status string `query:"status" enum:"pending,delivered,failed"`
	Cursor string `query:"cursor" maxLength:"128" doc:"next of the page before"`
	Limit  int    `query:"limit" minimum:"1" maximum:"100" default:"50"`
}

type deliveryListOutput struct {
	Body struct {
		Deliveries []Delivery `json:"deliveries"`
		Next       string     `json:"next,omitempty" doc:"Cursor of the next page; absent on the last"`
	}
}

func (a *API) registerDeliveries() {
	op := func(id, method, path, summary string, errors ...int) huma.Operation {
		scope := notary.ScopeWebhooks
		if path == "/events" {
			scope = notary.ScopeRead
		}
		return a.private(scope, huma.Operation{OperationID: id, Method: method, Path: "/api/v1" + path,
			Tags: []string{"webhooks"}, Summary: summary, Errors: errors})
	}
	accepted := func(o huma.Operation) huma.Operation {
		o.DefaultStatus = http.StatusAccepted
		return o
	}
	huma.Register(a.huma,
		accepted(op("test-webhook", http.MethodPost, "/webhooks/{id}/test",
			"Send a ping; its delivery shows what came of it", 404, 409)),
		func(ctx context.Context, in *WebhookPath) (*deliveryOutput, error) {
			d, err := a.Webhooks.Test(ctx, caller(ctx).AgencyID, in.ID)
			return a.oneDelivery(ctx, d, err)
		})
	huma.Register(a.huma, op("list-deliveries", http.MethodGet, "/webhooks/{id}/deliveries",
		"List the deliveries to a webhook with their attempts, newest first", 404, 422), a.listDeliveries)
	huma.Register(a.huma, accepted(op("replay-delivery", http.MethodPost, "/webhooks/{id}/deliveries/{delivery}/replay",
		"Send an event again, with the same id", 404, 409)), a.replayDelivery)
	huma.Register(a.huma,
		accepted(op("replay-webhook", http.MethodPost, "/webhooks/{id}/replay",
			"Send all events since a time again, with the same ids", 404, 409, 422)), a.replaySince)
	feed := op("list-events", http.MethodGet, "/events",
		"The changes feed: the agency's events, oldest first, for systems that cannot receive webhooks", 422)
	feed.Description = "Begin without a cursor, handle the events, keep `next`, and ask again with it, " +
		"`after=<next>`: at once where `more` is true, else after a while. Messages are those of webhooks, without " +
		"private attributes."
	huma.Register(a.huma, feed, a.listEvents)
}

func (a *API) oneDelivery(ctx context.Context, d webhook.Delivery, err error) (*deliveryOutput, error) {
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	return &deliveryOutput{Body: wireDelivery(d)}, nil
}

func (a *API) listDeliveries(ctx context.Context, in *deliveryListInput) (*deliveryListOutput, error) {
	f := webhook.DeliveryFilter{EndpointID: in.ID, Status: webhook.DeliveryStatus(in.Status), Limit: in.Limit + 1}
	var err error
	if f.Before, err = parsePlace(in.Cursor); err != nil {
		return nil, a.fail(ctx, err)
	}
	list, err := a.Webhooks.Deliveries(ctx, caller(ctx).AgencyID, f)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	out := &deliveryListOutput{}
	out.Body.Deliveries = []Delivery{}
	if len(list) > in.Limit {
		list = list[:in.Limit]
		last := list[in.Limit-1]
		out.Body.Next = formatPlace(webhook.DeliveryPlace{CreatedAt: last.CreatedAt, EventID: last.Event.ID})
	}
	for _, d := range list {
		out.Body.Deliveries = append(out.Body.Deliveries, wireDelivery(d))
	}
	return out, nil
}

// The cursor of a list of deliveries is the time and id of the last one on a page.
func formatPlace(p webhook.DeliveryPlace) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(p.CreatedAt.UnixMicro()))
	return base64.RawURLEncoding.EncodeToString(append(b, p.EventID...))
}

func parsePlace(s string) (*webhook.DeliveryPlace, error) {
	if s == "" {
		return nil, nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) < 9 || b[0]&0x80 != 0 || strings.ContainsAny(s, "\r\n") {
		return nil, errCursor
	}
	return &webhook.DeliveryPlace{CreatedAt: time.UnixMicro(int64(binary.BigEndian.Uint64(b))).UTC(),
		EventID: string(b[8:])}, nil
}

type replayInput struct {
	WebhookPath
	Delivery string `path:"delivery" maxLength:"64" doc:"Event id"`
}

func (a *API) replayDelivery(ctx context.Context, in *replayInput) (*deliveryOutput, error) {
	d, err := a.Webhooks.Replay(ctx, caller(ctx).AgencyID, in.ID, in.Delivery)
	return a.oneDelivery(ctx, d, err)
}

type replaySinceInput struct {
	WebhookPath
	Body struct {
		Since time.Time `json:"since" doc:"Events of facts from this time on are sent again"`
	}
}

func (a *API) replaySince(ctx context.Context, in *replaySinceInput) (*struct{}, error) {
	if err := a.Webhooks.ReplaySince(ctx, caller(ctx).AgencyID, in.ID, in.Body.Since); err != nil {
		return nil, a.fail(ctx, err)
	}
	return nil, nil
}

// FeedEvent is an event of the changes feed: the body of its webhook, and its id.
type FeedEvent struct {
	ID string `json:"id" doc:"What stands in webhook-id where the event is delivered"`
	webhook.Message
}

type feedInput struct {
	After   string   `query:"after" maxLength:"64" doc:"next of the answer before"`
	Types   []string `query:"types" doc:"Only events of these types, with commas between them"`
	Payload string   `query:"payload" enum:"full,thin" default:"full"`
	Limit   int      `query:"limit" minimum:"1" maximum:"1000" default:"100"`
}

type feedOutput struct {
	Body struct {
		Events []FeedEvent `json:"events"`
		Next   string      `json:"next" doc:"Where to go on; keep it"`
		More   bool        `json:"more" doc:"There may be more: ask again at once"`
	}
}

// feedSteps is how many stretches of the log one request looks through for events of its
// agency; a request that finds none in them says where to go on all the same.
const feedSteps = 20

func (a *API) listEvents(ctx context.Context, in *feedInput) (*feedOutput, error) {
	q := webhook.Query{AgencyID: caller(ctx).AgencyID, Limit: in.Limit}
	for _, t := range in.Types {
		q.Kinds = append(q.Kinds, webhook.Kind(t))
	}
	if err := webhook.CheckKinds("types", q.Kinds); err != nil {
		return nil, a.fail(ctx, err)
	}
	if in.After != "" {
		var err error
		if q.From, err = webhook.ParseCursor(in.After); err != nil {
			return nil, a.fail(ctx, errCursor)
		}
	}
	out := &feedOutput{}
	out.Body.Events = []FeedEvent{}
	out.Body.More = true
	for range feedSteps {
		events, next, err := a.Webhooks.Events(ctx, q)
		if err != nil {
			return nil, a.fail(ctx, err)
		}
		for _, e := range events {
			out.Body.Events = append(out.Body.Events,
				FeedEvent{e.ID, webhook.MessageOf(e, webhook.Form{Thin: in.Payload == "thin"})})
		}
		out.Body.More = next != q.From
		q.From = next
		if len(events) > 0 || !out.Body.More {
			break
		}
	}
	out.Body.Next = q.From.String()
	return out, nil
}
