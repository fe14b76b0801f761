package people

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"stele/crypto/sm"
	"stele/notary"
)

// AttemptTime is how long a person has to finish what was begun with their browser: to find
// the key ring, or to sign in at a provider.
const AttemptTime = 10 * time.Minute

// AttemptStore keeps what was begun with a browser until its answer comes. Its contract is
// that of [UserStore].
//
// AddAttempt adds one and removes those that have ended. TakeAttempt returns one that has not
// ended and removes it: of several callers one gets it.
type AttemptStore interface {
	AddAttempt(ctx context.Context, digest sm.Digest, data []byte, expiresAt time.Time) error
	TakeAttempt(ctx context.Context, digest sm.Digest) ([]byte, error)
}

// ErrNoAttempt means that nothing of the kind was begun with this browser, that it was
// finished already, or that it took too long.
var ErrNoAttempt error = &notary.Error{Code: notary.CodeConflict, Field: "attempt",
	Message: "This was begun in another browser, was finished already or took too long; begin again."}

func attemptDigest(browser, kind, name string) sm.Digest {
	return sm.Sum([]byte("stele/attempt/v1\x00"), []byte(browser), []byte{0}, []byte(kind), []byte{0}, []byte(name))
}

// BeginAttempt keeps what is needed when the answer comes and returns the attempt's name.
// browser is a secret of the browser: no other one can finish it.
func (p *People) BeginAttempt(ctx context.Context, browser, kind string, data []byte) (name string, err error) {
	name = rand.Text()
	d := attemptDigest(browser, kind, name)
	if err := p.store.AddAttempt(ctx, d, p.opt.Box.Seal("attempt "+d.String(), data),
		p.opt.Now().Add(AttemptTime)); err != nil {
		return "", down(err)
	}
	return name, nil
}

// TakeAttempt gives back what [People.BeginAttempt] kept, once.
func (p *People) TakeAttempt(ctx context.Context, browser, kind, name string) ([]byte, error) {
	d := attemptDigest(browser, kind, name)
	sealed, err := p.store.TakeAttempt(ctx, d)
	if errors.Is(err, notary.ErrNotFound) {
		return nil, ErrNoAttempt
	} else if err != nil {
		return nil, down(err)
	}
	return p.opt.Box.Open("attempt "+d.String(), sealed)
}
