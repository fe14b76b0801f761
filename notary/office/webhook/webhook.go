// Package webhook tells agencies' systems what became of their records. Facts lie in the
// outbox, written with the facts themselves; each endpoint has a cursor into it, and from
// there deliveries are made, sent, repeated and kept.
//
// The wire format is Standard Webhooks v1.0.0 (github.com/standard-webhooks/standard-webhooks,
// spec/standard-webhooks.md), with one more signature beside its own: see [Signer].
//
// The order of side effects, and what a crash after each leaves behind:
//
//  1. outbox row       in the fact's own transaction: there is no fact without it
//  2. deliveries       inserted in the transaction that moves the endpoint's cursor
//  3. claim            the delivery is due again when the claim runs out
//  4. request          the receiver may have it: it comes again, with the same webhook-id
//  5. attempt, status  complete
//
// So no event is lost and none is made up; a receiver gets each at least once.
package webhook

import (
	"bytes"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"stele/notary"
)

// Kind is what an event says.
type Kind string

// The kinds. Ping is sent on demand only; the others come from the outbox.
const (
	RecordLogged      Kind = "record.logged"
	RecordAnchored    Kind = "record.anchored"
	RecordRevoked     Kind = "record.revoked"            // when the revocation is durable, before it is logged
	RecordSuperseded  Kind = "record.superseded"         // of the record that was replaced; likewise
	ApprovalRequested Kind = "record.approval.requested" // a document, or a withdrawal, waits for a second person
	// a file arrived, or began to, and nobody notarized it in its time
	UploadFailed     Kind = "upload.failed"
	EndpointDisabled Kind = "endpoint.disabled" // of another endpoint of the same agency
	// the agency's present certificate ends soon, or has ended: once for each of [ExpirySteps]
	CertificateExpiring Kind = "certificate.expiring"
	Ping                Kind = "ping"
)

// Kinds are those that an endpoint can ask for.
var Kinds = []Kind{RecordLogged, RecordAnchored, RecordRevoked, RecordSuperseded, ApprovalRequested, UploadFailed,
	EndpointDisabled, CertificateExpiring}

// Cursor is a place in the sequence of all events: an outbox row, and in it an entry's index.
// Events are in commit order; no event ever comes in before one that was read.
type Cursor struct{ Row, Index uint64 }

// Before reports whether c comes before d.
func (c Cursor) Before(d Cursor) bool { return c.Row < d.Row || c.Row == d.Row && c.Index < d.Index }

// Next is the place right after c.
func (c Cursor) Next() Cursor { return Cursor{c.Row, c.Index + 1} }

// The alphabet keeps the order of the bytes, so that ids are sorted as their events are.
var idEncoding = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

const (
	idPrefix   = "evt_"
	pingPrefix = "ping_" // followed by a UUID
)

// String is the id of the event at this place: what stands in webhook-id. It is the same in
// each repetition and at each endpoint.
func (c Cursor) String() string {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 16), c.Row)
	return idPrefix + idEncoding.EncodeToString(binary.BigEndian.AppendUint64(b, c.Index))
}

// ParseCursor is the inverse of [Cursor.String] and accepts nothing else.
func ParseCursor(s string) (Cursor, error) {
	text, ok := strings.CutPrefix(s, idPrefix)
	b, err := idEncoding.DecodeString(text)
	if !ok || err != nil || len(b) != 16 || b[0]&0x80 != 0 || b[8]&0x80 != 0 {
		return Cursor{}, errors.New("want evt_ and 26 characters")
	}
	c := Cursor{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
	if c.String() != s { // the last character has bits to spare
		return Cursor{}, errors.New("want evt_ and 26 characters, encoded as they were given out")
	}
	return c, nil
}

// Event is one fact about one record, or about an upload, an endpoint or a certificate.
type Event struct {
	ID     string
	Kind   Kind
	At     time.Time      // when the fact became durable
	Agency notary.Agency  // whose it is
	Record *notary.Record // nil when it is of no record
	// of [ApprovalRequested], [UploadFailed], [EndpointDisabled], [CertificateExpiring] and [Ping]
	Notice *Notice
}

// Notice says what became of an upload or an endpoint, and why; what waits for approval; or when a certificate ends.
type Notice struct {
	Subject  string    // id of the upload, the endpoint, or what waits; SM3 of the certificate, hex
	URL      string    // of the endpoint
	Reason   string    // of what waits: its document class
	Ends     time.Time // of the certificate
	DaysLeft int       // of the certificate, see [DaysLeft]
}

// Query selects events of one agency, oldest first.
type Query struct {
	AgencyID string
	Kinds    []Kind   // none: all
	Classes  []string // none: all; only events of records are narrowed
	From     Cursor   // the first place that may be returned
	Limit    int
}

// Wants reports whether a kind is asked for.
func (q Query) Wants(k Kind) bool { return len(q.Kinds) == 0 || slices.Contains(q.Kinds, k) }

// WantsClass reports whether records of a class are asked for.
func (q Query) WantsClass(class string) bool {
	return len(q.Classes) == 0 || slices.Contains(q.Classes, class)
}

// Message is the body of a webhook, and an item of the changes feed.
type Message struct {
	Type      Kind   `json:"type"`
	Timestamp string `json:"timestamp" format:"date-time" doc:"When the fact became durable; it is the same in each repetition"`
	Data      Data   `json:"data"`
}

// Data is what a message says. Keys that do not belong to its type are absent.
type Data struct {
	ID           string            `json:"id,omitempty" doc:"Record id"`
	Number       string            `json:"number,omitempty" doc:"Certificate number"`
	State        notary.State      `json:"state,omitempty" doc:"Of record.logged and record.anchored"`
	Standing     notary.Standing   `json:"standing,omitempty" doc:"Of record.revoked and record.superseded"`
	StandingAt   string            `json:"standingAt,omitempty" format:"date-time"`
	SupersededBy string            `json:"supersededBy,omitempty" doc:"Number of the record that replaces this one"`
	Reason       string            `json:"reason,omitempty" doc:"Why it was revoked or replaced"`
	Supersedes   string            `json:"supersedes,omitempty"`
	Agency       *Agency           `json:"agency,omitempty"`
	Document     *Document         `json:"document,omitempty"`
	Class        string            `json:"class,omitempty"`
	Index        *uint64           `json:"index,omitempty" doc:"Leaf index in the log"`
	IssuedAt     string            `json:"issuedAt,omitempty" format:"date-time"`
	Fields       map[string]string `json:"fields,omitempty" doc:"Private attributes, where the endpoint asked for them"`
	Upload       *UploadRef        `json:"upload,omitempty" doc:"Of upload.failed"`
	Approval     *ApprovalRef      `json:"approval,omitempty"`
	Endpoint     *EndpointRef      `json:"endpoint,omitempty" doc:"Of endpoint.disabled and ping"`
	Certificate  *CertificateRef   `json:"certificate,omitempty" doc:"Of certificate.expiring"`
}

// Agency names an agency in a message.
type Agency struct {
	Code string `json:"code"`
	Name string `json:"name"`
}

// Document is what is registered of a document, in a message.
type Document struct {
	SM3       string `json:"sm3"`
	Size      uint64 `json:"size"`
	MediaType string `json:"mediaType"`
}

// UploadRef names an upload in a message.
type UploadRef struct {
	ID     string `json:"id"`
	Reason string `json:"reason" enum:"expired" doc:"expired: nothing of it is here any more; send the file again"`
}

// ApprovalRef names what waits for approval in a message.
type ApprovalRef struct {
	ID    string `json:"id" doc:"Of the paper at the console; not of a record, for there is none yet"`
	Class string `json:"class"`
}

// ReasonExpired is why an upload failed that was not notarized in its time.
const ReasonExpired = "expired"

// EndpointRef names an endpoint in a message.
type EndpointRef struct {
	ID     string `json:"id"`
	URL    string `json:"url"`
	Reason string `json:"reason,omitempty" enum:"failing,gone" doc:"Why it was disabled"`
}

// CertificateRef names a certificate in a message.
type CertificateRef struct {
	Fingerprint string `json:"fingerprint" doc:"SM3 of its DER, hex"`
	NotAfter    string `json:"notAfter" format:"date-time" doc:"When it ends"`
	DaysLeft    int    `json:"daysLeft" doc:"At the time of the event; a day that has begun counts. 0: it has ended"`
}

// Form is how much a message says.
type Form struct {
	Thin   bool     // of a record only id and number
	Fields []string // names of private attributes to show; "*" shows all
}

// MessageOf makes the message of an event. It is a function of what can never change (the
// standing, which can, appears only in the events about it), so that each repetition and the
// feed have the same bytes.
func MessageOf(e Event, form Form) Message {
	m := Message{Type: e.Kind, Timestamp: formatTime(e.At)}
	switch n := e.Notice; {
	case n == nil:
	case e.Kind == UploadFailed:
		m.Data.Upload = &UploadRef{ID: n.Subject, Reason: n.Reason}
	case e.Kind == ApprovalRequested:
		m.Data.Approval = &ApprovalRef{ID: n.Subject, Class: n.Reason}
	case e.Kind == CertificateExpiring:
		m.Data.Certificate = &CertificateRef{Fingerprint: n.Subject, NotAfter: formatTime(n.Ends), DaysLeft: n.DaysLeft}
	default:
		m.Data.Endpoint = &EndpointRef{ID: n.Subject, URL: n.URL, Reason: n.Reason}
	}
	r := e.Record
	if r == nil {
		return m
	}
	m.Data.ID, m.Data.Number = r.ID, r.Number
	if form.Thin {
		return m
	}
	m.Data.Agency = &Agency{Code: e.Agency.Code, Name: e.Agency.Name}
	m.Data.Document = &Document{SM3: r.SM3.String(), Size: r.Size, MediaType: r.MediaType}
	m.Data.Class, m.Data.Index, m.Data.IssuedAt, m.Data.Supersedes = r.Class, &r.Index, formatTime(r.IssuedAt),
		r.Supersedes
	m.Data.Fields = form.shown(r.Fields)
	switch e.Kind {
	case RecordLogged:
		m.Data.State = notary.Logged
	case RecordAnchored:
		m.Data.State = notary.Anchored
	case RecordRevoked:
		m.Data.Standing, m.Data.StandingAt, m.Data.Reason = notary.Revoked, formatTime(r.StandingAt), r.Reason
	case RecordSuperseded:
		m.Data.Standing, m.Data.StandingAt, m.Data.SupersededBy, m.Data.Reason = notary.Superseded,
			formatTime(r.StandingAt), r.StandingBy, r.Reason
	}
	return m
}

func (f Form) shown(fields []notary.Field) map[string]string {
	var out map[string]string
	for _, x := range fields {
		if len(x.Salt) == 0 || !slices.Contains(f.Fields, "*") && !slices.Contains(f.Fields, x.Name) {
			continue // erased, or not asked for
		}
		if out == nil {
			out = map[string]string{}
		}
		out[x.Name] = x.Value
	}
	return out
}

// Encode returns the message's JSON, the bytes that are signed and sent.
func (m Message) Encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(m)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

func formatTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
