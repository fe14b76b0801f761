package api

import (
	"context"
	"encoding/json"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/register/intake"
)

// Claims keeps what idempotency keys stand for that make no record. It is safe for concurrent use.
//
// ClaimKey says that a key stands for a request that makes something with an id, unless it stands
// for one already: the id and the request's digest that come back are those of the first. They
// are durable when it returns.
type Claims interface {
	ClaimKey(ctx context.Context, agencyID, key string, request sm.Digest, id string) (made string, first sm.Digest,
		err error)
}

// claim returns the id of what a write makes: a fresh one, or, for an idempotency key that was
// used for the same write before, the first one's. The claim comes before the thing itself; a
// crash in between leaves a claim of nothing, and repeating the write makes it.
func (a *API) claim(ctx context.Context, key, what string, request any, fresh string) (string, error) {
	if key == "" {
		return fresh, nil
	}
	if err := intake.CheckIdempotency(key); err != nil {
		return "", err
	}
	text, err := json.Marshal(request)
	if err != nil {
		return "", err
	}
	hash := sm.Sum([]byte(what+"\x00"), text)
	made, first, err := a.Claims.ClaimKey(ctx, caller(ctx).AgencyID, key, hash, fresh)
	switch {
	case err != nil:
		return "", notary.Wrap(notary.CodeUnavailable, err,
			"The service's database cannot be reached. Nothing was saved; try again.")
	case first != hash:
		return "", intake.IdempotencyConflict()
	}
	return made, nil
}

// madeBefore is the answer to a repeated write whose result cannot be shown again: it holds a secret.
func madeBefore(what, id string) error {
	return notary.Errorf(notary.CodeConflict, "This %s was made already with the same idempotency key; its id is %s. "+
		"Its secret was shown then and cannot be shown again: rotate it if that answer was lost.", what, id)
}
