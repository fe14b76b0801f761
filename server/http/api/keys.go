package api

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"stele/notary"
	"stele/server/auth"
)

// Key is an API key as its agency sees it, without its secret.
type Key struct {
	ID        string   `json:"id"`
	Name      string   `json:"name"`
	Scopes    []string `json:"scopes" doc:"Its rights"`
	Networks  []string `json:"networks" doc:"From where it may be used; empty: from anywhere"`
	Rate      int      `json:"requestsPerMinute,omitempty" doc:"Absent: what the service allows every key"`
	Quota     uint64   `json:"recordsPerDay,omitempty" doc:"Records a day (UTC), shared with the keys that descend from the same one. Absent: any number"`
	CreatedAt string   `json:"createdAt" format:"date-time"`
	ExpiresAt string   `json:"expiresAt,omitempty" format:"date-time"`
	RevokedAt string   `json:"revokedAt,omitempty" format:"date-time"`
	UsedAt    string   `json:"lastUsedAt,omitempty" format:"date-time" doc:"Some seconds late"`
	InForce   bool     `json:"inForce"`
}

// NewKey is what a caller sends to make a key.
type NewKey struct {
	Name      string     `json:"name" minLength:"1" maxLength:"100"`
	Scopes    []string   `json:"scopes,omitempty" doc:"Rights that the calling key has itself; all of them but keys and erase if absent"`
	Networks  []string   `json:"networks,omitempty" maxItems:"32" doc:"Such as 10.1.0.0/16, 2001:db8::/32 or an address"`
	ExpiresAt *time.Time `json:"expiresAt,omitempty"`
}

// IssuedKey is a new key with its text, which is shown this once.
type IssuedKey struct {
	Key
	Text string `json:"key" doc:"Send it as 'Authorization: Bearer <key>'. It is not stored and cannot be shown again"`
}

type keyOutput struct{ Body Key }

type issuedKeyOutput struct {
	Cache string `header:"Cache-Control"`
	Body  IssuedKey
}

type keysInput struct {
	Cursor string `query:"cursor" maxLength:"64" doc:"next of the page before"`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50"`
}

type keysOutput struct {
	Body struct {
		Keys []Key  `json:"keys"`
		Next string `json:"next,omitempty" doc:"Cursor of the next page; absent on the last"`
	}
}

type keyIDInput struct {
	ID string `path:"id" maxLength:"64" doc:"The key's id"`
}

func (a *API) registerKeys() {
	huma.Register(a.huma, a.private("", huma.Operation{OperationID: "get-own-key", Method: http.MethodGet,
		Path: "/api/v1/key", Tags: []string{"keys"},
		Summary:     "The calling key",
		Description: "What is left of its limits stands in the headers, as on every answer."}), a.ownKey)
	huma.Register(a.huma, a.private(notary.ScopeKeys, huma.Operation{OperationID: "list-keys", Method: http.MethodGet,
		Path: "/api/v1/keys", Tags: []string{"keys"},
		Summary: "The agency's keys, newest first", Errors: []int{422}}), a.listKeys)
	huma.Register(a.huma, a.private(notary.ScopeKeys, huma.Operation{OperationID: "create-key", Method: http.MethodPost,
		Path: "/api/v1/keys", Tags: []string{"keys"},
		DefaultStatus: http.StatusCreated, Summary: "Make a key",
		Description: "It has the limits of the calling key, and counts with it. Its secret is shown once.",
		Errors:      []int{409, 422}}), a.createKey)
	huma.Register(a.huma, a.private(notary.ScopeKeys, huma.Operation{OperationID: "rotate-key", Method: http.MethodPost,
		Path: "/api/v1/keys/{id}/rotate", Tags: []string{"keys"},
		DefaultStatus: http.StatusCreated, Summary: "Replace a key by a new one with the same settings",
		Description: "Itself, or one that counts with the same limits and has no more rights. Both work until the " +
			"old one ends: at the time given, or after 24 hours. The new one counts with the old one's limits.",
		Errors: []int{404, 409, 422}}), a.rotateKey)
	huma.Register(a.huma,
		a.private(notary.ScopeKeys, huma.Operation{OperationID: "revoke-key", Method: http.MethodDelete,
			Path: "/api/v1/keys/{id}", Tags: []string{"keys"},
			DefaultStatus: http.StatusNoContent, Summary: "End a key", Description: "Itself, or one that has no more " +
				"rights than the calling key. Running servers refuse it within two seconds.", Errors: []int{404}}),
		a.revokeKey)
}

func wireKey(k notary.APIKey, now time.Time) Key {
	out := Key{ID: k.ID, Name: k.Name, Networks: []string{}, Rate: k.Rate, Quota: k.Quota,
		CreatedAt: formatTime(k.CreatedAt), ExpiresAt: formatTime(k.ExpiresAt),
		RevokedAt: formatTime(k.RevokedAt), UsedAt: formatTime(k.UsedAt), InForce: k.InForce(now)}
	for _, s := range k.Scopes {
		out.Scopes = append(out.Scopes, string(s))
	}
	for _, n := range k.Networks {
		out.Networks = append(out.Networks, n.String())
	}
	return out
}

func (a *API) ownKey(ctx context.Context, _ *struct{}) (*keyOutput, error) {
	return &keyOutput{Body: wireKey(caller(ctx), a.Now())}, nil
}

// listKeys has the id of a page's last key as its cursor: an agency has few keys, and they
// are read all together.
func (a *API) listKeys(ctx context.Context, in *keysInput) (*keysOutput, error) {
	keys, err := a.Desk.List(ctx, caller(ctx).AgencyID)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	if in.Cursor != "" {
		last := slices.IndexFunc(keys, func(k notary.APIKey) bool { return k.ID == in.Cursor })
		if last < 0 {
			return nil, a.fail(ctx, notary.InvalidField("cursor", "The cursor must be the 'next' of an earlier page."))
		}
		keys = keys[last+1:]
	}
	out := &keysOutput{}
	out.Body.Keys = []Key{}
	if len(keys) > in.Limit {
		keys = keys[:in.Limit]
		out.Body.Next = keys[in.Limit-1].ID
	}
	for _, k := range keys {
		out.Body.Keys = append(out.Body.Keys, wireKey(k, a.Now()))
	}
	return out, nil
}

type createKeyInput struct {
	Idempotency string `header:"Idempotency-Key" maxLength:"128" doc:"Repeating a request with its key makes no second one"`
	Body        NewKey
}

func (a *API) createKey(ctx context.Context, in *createKeyInput) (*issuedKeyOutput, error) {
	own := caller(ctx)
	k := notary.APIKey{AgencyID: own.AgencyID, Account: own.Account, Name: in.Body.Name, Rate: own.Rate,
		Quota: own.Quota}
	names := in.Body.Scopes
	if names == nil {
		for _, s := range own.Scopes {
			if s != notary.ScopeKeys && s != notary.ScopeErase && s != notary.ScopeAudit {
				names = append(names, string(s))
			}
		}
	}
	err := notary.CheckKeyName(k.Name)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	if k.Scopes, err = notary.ParseScopes(names); err != nil {
		return nil, a.fail(ctx, err)
	}
	for _, s := range k.Scopes {
		if !own.May(s) {
			return nil, a.fail(ctx,
				notary.InvalidField("scopes", "The calling key lacks the scope %q itself. Nothing was saved.", s))
		}
	}
	if k.Networks, err = notary.ParseNetworks(in.Body.Networks); err != nil {
		return nil, a.fail(ctx, err)
	}
	if err := within(k.Networks, own.Networks); err != nil {
		return nil, a.fail(ctx, err)
	}
	if k.ExpiresAt, err = expiry(in.Body.ExpiresAt, own, a.Now()); err != nil {
		return nil, a.fail(ctx, err)
	}
	if k.ID, err = a.claim(ctx, in.Idempotency, "create-key", in.Body, auth.NewKeyID()); err != nil {
		return nil, a.fail(ctx, err)
	}
	text, k, err := a.Desk.Issue(ctx, k)
	return a.issuedKey(ctx, text, k, err)
}

// within demands that a new key can be used from nowhere that the calling one cannot.
func within(networks, own []netip.Prefix) error {
	if len(own) == 0 {
		return nil
	}
	contained := func(n netip.Prefix) bool {
		return slices.ContainsFunc(own, func(o netip.Prefix) bool {
			return o.Bits() <= n.Bits() && o.Contains(n.Addr())
		})
	}
	if len(networks) == 0 || !slices.ContainsFunc(networks, contained) ||
		slices.ContainsFunc(networks, func(n netip.Prefix) bool { return !contained(n) }) {
		return notary.InvalidField("networks", "The calling key is bound to networks; the new one must be bound to "+
			"them or to parts of them. Nothing was saved.")
	}
	return nil
}

// expiry is when a new key ends: not after the one that makes it.
func expiry(asked *time.Time, own notary.APIKey, now time.Time) (time.Time, error) {
	switch {
	case asked == nil:
		return own.ExpiresAt, nil
	case !asked.After(now):
		return time.Time{}, notary.InvalidField("expiresAt", "The time must be in the future. Nothing was saved.")
	case !own.ExpiresAt.IsZero() && asked.After(own.ExpiresAt):
		return time.Time{},
			notary.InvalidField("expiresAt",
				"The calling key ends at %s; the new one cannot last longer. Nothing was saved.",
				formatTime(own.ExpiresAt))
	}
	return *asked, nil
}

func (a *API) issuedKey(ctx context.Context, text string, k notary.APIKey, err error) (*issuedKeyOutput, error) {
	if errors.Is(err, auth.ErrMade) {
		err = madeBefore("key", k.ID)
	}
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	return &issuedKeyOutput{Cache: "no-store", Body: IssuedKey{Key: wireKey(k, a.Now()), Text: text}}, nil
}

type rotateInput struct {
	ID          string `path:"id" maxLength:"64" doc:"The key's id"`
	Idempotency string `header:"Idempotency-Key" maxLength:"128" doc:"Repeating a request with its key makes no second one"`
	Body        *struct {
		Until *time.Time `json:"until,omitempty" doc:"When the old key ends; 24 hours from now if absent"`
	} `required:"false"`
}

func (a *API) rotateKey(ctx context.Context, in *rotateInput) (*issuedKeyOutput, error) {
	old, err := a.Desk.Find(ctx, caller(ctx).AgencyID, in.ID)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	if err := mayRotate(caller(ctx), old); err != nil {
		return nil, a.fail(ctx, err)
	}
	id, err := a.claim(ctx, in.Idempotency, "rotate-key "+in.ID, in.Body, auth.NewKeyID())
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	var until time.Time
	if in.Body != nil && in.Body.Until != nil {
		if until = *in.Body.Until; until.IsZero() {
			until = a.Now() // the year 1 is a time as well, and a past one
		}
	}
	text, next, err := a.Desk.Rotate(ctx, old, id, until)
	return a.issuedKey(ctx, text, next, err)
}

// mayEnd refuses a key that may do more than the calling one, from more places, or for longer: the
// calling key could not have made it, and a narrow key that leaked must not stop a wide one.
func mayEnd(own, other notary.APIKey) error {
	switch {
	case own.ID == other.ID:
		return nil
	case !slices.Equal(other.Scopes, commonScopes(other.Scopes, own.Scopes)):
		return notary.Errorf(notary.CodeForbidden,
			"The calling key lacks a scope that this key has. Nothing was saved.")
	case within(other.Networks, own.Networks) != nil:
		return notary.Errorf(notary.CodeForbidden,
			"The calling key is bound to networks that this key is not bound to. Nothing was saved.")
	case !own.ExpiresAt.IsZero() && (other.ExpiresAt.IsZero() || other.ExpiresAt.After(own.ExpiresAt)):
		return notary.Errorf(notary.CodeForbidden, "The calling key ends before this key. Nothing was saved.")
	}
	return nil
}

// mayRotate refuses what [mayEnd] does, and a key that counts with other limits: whoever has its
// new text would spend those beside its own.
func mayRotate(own, old notary.APIKey) error {
	if err := mayEnd(own, old); err != nil {
		return err
	}
	if old.Account != own.Account {
		return notary.Errorf(notary.CodeForbidden,
			"This key has limits of its own, apart from the calling key's: rotate it with itself, or at the console. "+
				"Nothing was saved.")
	}
	return nil
}

func commonScopes(all, own []notary.Scope) []notary.Scope {
	return slices.DeleteFunc(slices.Clone(all), func(s notary.Scope) bool { return !slices.Contains(own, s) })
}

func (a *API) revokeKey(ctx context.Context, in *keyIDInput) (*struct{}, error) {
	k, err := a.Desk.Find(ctx, caller(ctx).AgencyID, in.ID)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	if err := mayEnd(caller(ctx), k); err != nil {
		return nil, a.fail(ctx, err)
	}
	if err := a.Desk.End(ctx, caller(ctx).AgencyID, in.ID); err != nil {
		return nil, a.fail(ctx, err)
	}
	return nil, nil
}
