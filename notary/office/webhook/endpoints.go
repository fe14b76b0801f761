package webhook

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/google/uuid"

	"stele/crypto/seal"
	"stele/notary"
)

// Store keeps endpoints and their deliveries, and reads events. Methods are safe for concurrent use, durable when they
// return, and do not retry. What is not there, or of another agency, is [notary.ErrNotFound].
//
// AddEndpoint adds one that gets the events from now on; where the agency has max already it
// answers [ErrTooMany]. Endpoints lists by id, after one. ChangeEndpoint reads one, lets change
// alter it and writes it back, in one transaction; an error of change leaves it as it was.
// DeleteEndpoint makes it vanish at once; its deliveries are removed later.
//
// Deliveries lists the newest first with their histories. AddDelivery queues a delivery of
// its own event. Replay makes a finished delivery pending again; one that is pending stays as
// it is. Rewind moves an endpoint's cursor back to the first event since a time, so that all
// from there on are sent again; it never moves one forward. Events reads what q selects, and
// where to go on.
type Store interface {
	AddEndpoint(ctx context.Context, e Endpoint, max int) error
	Endpoint(ctx context.Context, agencyID, id string) (Endpoint, error)
	Endpoints(ctx context.Context, agencyID, after string, limit int) ([]Endpoint, error)
	ChangeEndpoint(ctx context.Context, agencyID, id string, change func(*Endpoint) error) (Endpoint, error)
	DeleteEndpoint(ctx context.Context, agencyID, id string) error

	Deliveries(ctx context.Context, f DeliveryFilter) ([]Delivery, error)
	AddDelivery(ctx context.Context, d Delivery) error
	Replay(ctx context.Context, endpointID, eventID string) (Delivery, error)
	Rewind(ctx context.Context, endpointID string, since time.Time) error
	Events(ctx context.Context, q Query) (events []Event, next Cursor, err error)
}

// ErrTooMany means that an agency has as many endpoints as it may.
var ErrTooMany = errors.New("too many endpoints")

// DeliveryFilter narrows a list of deliveries.
type DeliveryFilter struct {
	EndpointID string
	EventID    string         // empty: all
	Status     DeliveryStatus // empty: all
	Before     *DeliveryPlace // only what comes after it in the list
	Limit      int
}

// DeliveryPlace is a place in a list of deliveries.
type DeliveryPlace struct {
	CreatedAt time.Time
	EventID   string
}

// Options are what [NewEndpoints] and [NewDispatcher] need besides their stores.
type Options struct {
	Policy Policy
	Box    *seal.Box // of the secrets
	Sign   Signer
	Now    func() time.Time
}

// Endpoints is what an agency can do with its endpoints. It is safe for concurrent use.
type Endpoints struct {
	store Store
	opt   Options
	wake  func()
}

// NewEndpoints returns the endpoints of a store; wake is called when there is something to
// deliver and must not block.
func NewEndpoints(store Store, opt Options, wake func()) *Endpoints {
	return &Endpoints{store: store, opt: opt, wake: wake}
}

// oldSecretFor is how long a replaced secret signs beside the new one.
const oldSecretFor = 24 * time.Hour

// places in which secrets are sealed; see [seal.Box.Seal]. Which of two secrets of an
// endpoint one is needs no protection: both sign.
func sealPlace(endpointID string) string { return "webhook endpoint " + endpointID }

// NewEndpointID makes an id for an endpoint. Ids are in the order of time.
func NewEndpointID() string { return uuid.Must(uuid.NewV7()).String() }

// Create adds an endpoint under a new id; its secret is shown this once.
func (e *Endpoints) Create(ctx context.Context, agencyID, id string, s Settings) (Endpoint, Secret, error) {
	if err := s.check(e.opt.Policy); err != nil {
		return Endpoint{}, Secret{}, err
	}
	secret := NewSecret()
	ep := Endpoint{ID: id, AgencyID: agencyID, Settings: s, Health: Health{State: Enabled},
		CreatedAt: e.opt.Now().UTC()}
	ep.Secret = e.opt.Box.Seal(sealPlace(ep.ID), secret.reveal())
	err := e.store.AddEndpoint(ctx, ep, MaxEndpoints)
	if errors.Is(err, ErrTooMany) {
		err = notary.Errorf(notary.CodeConflict, "An agency can have %d webhooks; delete one first.", MaxEndpoints)
	}
	return ep, secret, outside(err)
}

// Find returns one endpoint of an agency.
func (e *Endpoints) Find(ctx context.Context, agencyID, id string) (Endpoint, error) {
	ep, err := e.store.Endpoint(ctx, agencyID, id)
	return ep, outside(err)
}

// List returns endpoints of an agency in the order they were made, after one with this id.
func (e *Endpoints) List(ctx context.Context, agencyID, after string, limit int) ([]Endpoint, error) {
	l, err := e.store.Endpoints(ctx, agencyID, after, limit)
	return l, outside(err)
}

// Change alters settings and state; an error of change leaves all as it was. An endpoint that
// is enabled again goes on where it was. Settings that do not change are not judged anew: what
// the rules have come to forbid can still be disabled.
func (e *Endpoints) Change(ctx context.Context, agencyID, id string, change func(s *Settings, enabled *bool) error) (
	Endpoint, error) {
	ep, err := e.store.ChangeEndpoint(ctx, agencyID, id, func(ep *Endpoint) error {
		before, was := ep.Settings, ep.Health.State == Enabled
		enabled := was
		if err := change(&ep.Settings, &enabled); err != nil {
			return err
		}
		switch {
		case enabled && !was:
			ep.Health = Health{State: Enabled}
		case !enabled && was:
			ep.Health = Health{State: Disabled, Reason: ReasonManual, DisabledAt: e.opt.Now().UTC()}
		}
		if reflect.DeepEqual(before, ep.Settings) && (was || !enabled) {
			return nil
		}
		return ep.Settings.check(e.opt.Policy)
	})
	e.wake()
	return ep, outside(err)
}

// Delete removes an endpoint. What is under way to it may still arrive.
func (e *Endpoints) Delete(ctx context.Context, agencyID, id string) error {
	return outside(e.store.DeleteEndpoint(ctx, agencyID, id))
}

// Rotate gives an endpoint a new secret, shown this once; the old one signs beside it for a
// day. The one before that, if there still was one, ends at once.
func (e *Endpoints) Rotate(ctx context.Context, agencyID, id string) (Endpoint, Secret, error) {
	secret := NewSecret()
	ep, err := e.store.ChangeEndpoint(ctx, agencyID, id, func(ep *Endpoint) error {
		ep.OldSecret, ep.OldUntil = ep.Secret, e.opt.Now().UTC().Add(oldSecretFor)
		ep.Secret = e.opt.Box.Seal(sealPlace(ep.ID), secret.reveal())
		return nil
	})
	return ep, secret, outside(err)
}

// Test queues a ping and returns its delivery. It is tried once.
func (e *Endpoints) Test(ctx context.Context, agencyID, id string) (Delivery, error) {
	ep, err := e.enabled(ctx, agencyID, id)
	if err != nil {
		return Delivery{}, err
	}
	now := e.opt.Now().UTC()
	d := Delivery{EndpointID: ep.ID, Event: Event{ID: pingPrefix + uuid.NewString(), Kind: Ping, At: now},
		Status: Pending, DueAt: now, CreatedAt: now}
	if err := e.store.AddDelivery(ctx, d); err != nil {
		return d, outside(err)
	}
	e.wake()
	return d, nil
}

func (e *Endpoints) enabled(ctx context.Context, agencyID, id string) (Endpoint, error) {
	ep, err := e.Find(ctx, agencyID, id)
	if err == nil && ep.Health.State != Enabled {
		err = notary.Errorf(notary.CodeConflict, "The webhook is disabled; enable it first.")
	}
	return ep, err
}

// Deliveries lists deliveries to an endpoint of an agency.
func (e *Endpoints) Deliveries(ctx context.Context, agencyID string, f DeliveryFilter) ([]Delivery, error) {
	if _, err := e.Find(ctx, agencyID, f.EndpointID); err != nil {
		return nil, err
	}
	l, err := e.store.Deliveries(ctx, f)
	return l, outside(err)
}

// Replay sends one event to an endpoint again, with the same id.
func (e *Endpoints) Replay(ctx context.Context, agencyID, id, eventID string) (Delivery, error) {
	if _, err := e.enabled(ctx, agencyID, id); err != nil {
		return Delivery{}, err
	}
	d, err := e.store.Replay(ctx, id, eventID)
	e.wake()
	return d, outside(err)
}

// ReplaySince sends all events since a time to an endpoint again, with the same ids.
func (e *Endpoints) ReplaySince(ctx context.Context, agencyID, id string, since time.Time) error {
	if _, err := e.enabled(ctx, agencyID, id); err != nil {
		return err
	}
	err := e.store.Rewind(ctx, id, since)
	e.wake()
	return outside(err)
}

// Events reads the changes feed of an agency.
func (e *Endpoints) Events(ctx context.Context, q Query) ([]Event, Cursor, error) {
	events, next, err := e.store.Events(ctx, q)
	return events, next, outside(err)
}

// sampleSecret signs the sample. It is public.
var sampleSecret = func() Secret {
	s, err := ParseSecret("whsec_c2FtcGxlIHNlY3JldCBvZiBTdGVsZSwgcHVibGljISE=")
	if err != nil {
		panic(err)
	}
	return s
}()

// Sample is a signed ping with the secret that signed it, for a developer's first test.
func (e *Endpoints) Sample() (Signed, Secret, error) {
	now := e.opt.Now()
	id := pingPrefix + "00000000-0000-4000-8000-000000000000"
	body, err := MessageOf(Event{ID: id, Kind: Ping, At: now}, Form{}).Encode()
	if err != nil {
		return Signed{}, Secret{}, err
	}
	s, err := Sign(id, now, body, []Secret{sampleSecret}, e.opt.Sign)
	return s, sampleSecret, err
}

// secrets opens the secrets that sign at a time.
func (o Options) secrets(e Endpoint, at time.Time) ([]Secret, error) {
	sealed := [][]byte{e.Secret}
	if len(e.OldSecret) > 0 && at.Before(e.OldUntil) {
		sealed = append(sealed, e.OldSecret)
	}
	var out []Secret
	for _, s := range sealed {
		text, err := o.Box.Open(sealPlace(e.ID), s)
		if err != nil {
			return nil, fmt.Errorf("secret of webhook %s: %w", e.ID, err)
		}
		out = append(out, Secret{func() []byte { return slices.Clone(text) }})
	}
	return out, nil
}

// outside gives a store's errors the form that callers see.
func outside(err error) error {
	var e *notary.Error
	switch {
	case err == nil || errors.As(err, &e):
		return err
	case errors.Is(err, notary.ErrNotFound):
		return notary.Errorf(notary.CodeNotFound, "There is no such webhook, or no such delivery to it.")
	}
	return notary.Wrap(notary.CodeUnavailable, err, "Webhooks cannot be read or written at the moment; try again.")
}
