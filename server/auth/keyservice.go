package auth

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"stele/notary"
)

// KeyStore is where agencies' keys are managed. AddKey is that of [Store]. Keys lists those of
// an agency, newest first. EndKey has a key end at a time, at once if that is not in the
// future, and returns [notary.ErrNotFound] for a key that is not in force. Methods are safe
// for concurrent use and durable when they return.
type KeyStore interface {
	AddKey(ctx context.Context, k notary.APIKey) error
	Keys(ctx context.Context, agencyID string) ([]notary.APIKey, error)
	EndKey(ctx context.Context, id string, at time.Time) error
}

// KeyService makes, replaces and ends agencies' keys. Whether who asks may do so is decided before:
// by the calling key's rights in the API, by the role in the console. It is safe for
// concurrent use. Its errors are for the outside.
type KeyService struct {
	store KeyStore
	now   func() time.Time
	log   *slog.Logger
}

// NewDesk returns the desk of a store.
func NewKeyService(store KeyStore, now func() time.Time, log *slog.Logger) *KeyService {
	return &KeyService{store: store, now: now, log: log}
}

// maxKeys bounds an agency's keys in force: more would be a program that runs wild.
const maxKeys = 200

// rotationTime is how long a key works beside its successor, unless another time is given.
const rotationTime = 24 * time.Hour

var errNoKey = notary.Errorf(notary.CodeNotFound, "The agency has no key in force with this id.")

func keysDown(err error) error {
	return notary.Wrap(notary.CodeUnavailable, err, "The keys cannot be reached at the moment; nothing was changed, "+
		"as far as is known. Look before you try again.")
}

// List returns the keys of an agency, newest first.
func (d *KeyService) List(ctx context.Context, agencyID string) ([]notary.APIKey, error) {
	keys, err := d.store.Keys(ctx, agencyID)
	if err != nil {
		return nil, keysDown(err)
	}
	return keys, nil
}

// ErrMade means that there is a key with the id already: the same request made it before.
var ErrMade = errors.New("the key was made before")

// Issue makes a key with these settings, under a new id where they name none, and returns its
// text, which is not stored. A key with the id that is there already gives [ErrMade].
func (d *KeyService) Issue(ctx context.Context, k notary.APIKey) (text string, complete notary.APIKey, err error) {
	if k.May(notary.ScopeAudit) { // it opens other agencies' entries: also a rotation would hand it over
		return "", k, notary.Errorf(notary.CodeForbidden,
			"The operator alone makes keys with the scope %q. Nothing was saved.", notary.ScopeAudit)
	}
	keys, err := d.List(ctx, k.AgencyID)
	if err != nil {
		return "", k, err
	}
	if slices.ContainsFunc(keys, func(made notary.APIKey) bool { return made.ID == k.ID }) {
		return "", k, ErrMade
	}
	now := d.now()
	if n := len(slices.DeleteFunc(keys, func(k notary.APIKey) bool { return !k.InForce(now) })); n >= maxKeys {
		return "", k,
			notary.Errorf(notary.CodeConflict,
				"The agency has %d keys in force already: end some first. Nothing was saved.", n)
	}
	k.CreatedAt = now
	text, k = NewKey(k)
	// A crash after this leaves a key whose secret nobody has: it is in the list, and can be ended.
	if err := d.store.AddKey(ctx, k); err != nil {
		return "", k, keysDown(err)
	}
	return text, k, nil
}

// Find returns a key in force of an agency.
func (d *KeyService) Find(ctx context.Context, agencyID, id string) (notary.APIKey, error) {
	keys, err := d.List(ctx, agencyID)
	if err != nil {
		return notary.APIKey{}, err
	}
	at := slices.IndexFunc(keys, func(k notary.APIKey) bool { return k.ID == id && k.InForce(d.now()) })
	if at < 0 {
		return notary.APIKey{}, errNoKey
	}
	return keys[at], nil
}

// Rotate makes a key with the settings of another one, which ends at until, or after a day
// where that is zero. The new one counts with the old one's limits. Its id may be empty, see
// [KeyService.Issue].
func (d *KeyService) Rotate(ctx context.Context, old notary.APIKey, id string, until time.Time) (text string,
	next notary.APIKey, err error) {
	if until.IsZero() {
		until = d.now().Add(rotationTime)
	}
	if !until.After(d.now()) {
		return "", old,
			notary.InvalidField("until", "The time must be in the future: end the old key if it must not be used any "+
				"more. Nothing was saved.")
	}
	next = old
	next.ID, next.UsedAt = id, time.Time{}
	// The new key is durable before the old one ends: a crash in between leaves both in force,
	// which the list shows.
	if text, next, err = d.Issue(ctx, next); err != nil {
		return "", next, err
	}
	if err := d.store.EndKey(ctx, old.ID, until); err != nil && !errors.Is(err, notary.ErrNotFound) {
		d.log.WarnContext(ctx, "the old key of a rotation was not ended", "key", old.ID, "error", err)
	}
	return text, next, nil
}

// End ends a key of an agency at once; running servers refuse it when their caches have
// forgotten it.
func (d *KeyService) End(ctx context.Context, agencyID, id string) error {
	if _, err := d.Find(ctx, agencyID, id); err != nil {
		return err
	}
	if err := d.store.EndKey(ctx, id, d.now()); errors.Is(err, notary.ErrNotFound) {
		return errNoKey
	} else if err != nil {
		return keysDown(err)
	}
	return nil
}
