package console

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/alexedwards/scs/v2"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/office/people"
	"stele/server/auth"
)

// How long a session lasts: so long without a request, and so long at all. For freshFor after
// somebody has said who they are, sensitive acts do not ask again.
const (
	idleTime = 30 * time.Minute
	lifetime = 12 * time.Hour
	freshFor = 10 * time.Minute
)

// Keys of a session's values, all of which are texts.
const (
	sessionUser   = "user"
	sessionStage  = "stage" // stageCode until the second factor is shown
	sessionForm   = "form"  // the token of its forms
	sessionFresh  = "fresh" // RFC 3339: when the person last said who they are
	sessionFactor = "factor"
	sessionStrong = "strong" // the agency's provider has seen a second factor

	stageCode = "code"
	stageIn   = "in"
)

func newSessions(store people.SessionStore, secure bool) *scs.SessionManager {
	m := scs.New()
	m.Store = &sessionStore{store}
	m.Codec = codec{}
	m.IdleTimeout, m.Lifetime = idleTime, lifetime
	// A cookie with this prefix is sent over https to this host only, and no other host of the
	// domain can set it (RFC 6265bis, 4.1.3.2).
	m.Cookie.Name, m.Cookie.Secure, m.Cookie.Persist = "stele_session", secure, false
	if secure {
		m.Cookie.Name = "__Host-stele_session"
	}
	m.ErrorFunc = func(rw http.ResponseWriter, _ *http.Request, _ error) {
		rw.Header().Set("Retry-After", "5")
		http.Error(rw, http.StatusText(http.StatusServiceUnavailable), http.StatusServiceUnavailable)
	}
	return m
}

// codec writes a session's values as JSON, in one form, so that a session that did not change
// is not written.
type codec struct{}

type coded struct {
	Deadline time.Time         `json:"deadline"`
	Values   map[string]string `json:"values"`
}

// Encode implements scs.Codec.
func (codec) Encode(deadline time.Time, values map[string]any) ([]byte, error) {
	c := coded{deadline, map[string]string{}}
	for k, v := range values {
		text, ok := v.(string)
		if !ok {
			return nil, errors.New("a value of a session is no text")
		}
		c.Values[k] = text
	}
	return json.Marshal(c)
}

// Decode implements scs.Codec.
func (codec) Decode(data []byte) (time.Time, map[string]any, error) {
	var c coded
	if err := json.Unmarshal(data, &c); err != nil {
		return time.Time{}, nil, err
	}
	values := make(map[string]any, len(c.Values))
	for k, v := range c.Values {
		values[k] = v
	}
	return c.Deadline, values, nil
}

type requestKey struct{}

// sender is what the store of sessions has to know of a request.
type sender struct {
	network, agent string
	found          *sm.Digest // the session that it came with
}

const maxAgent = 200 // bytes

func (c *Console) remember(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		agent := r.UserAgent()
		next.ServeHTTP(rw,
			r.WithContext(context.WithValue(r.Context(), requestKey{},
				&sender{network: network(r), agent: agent[:min(len(agent), maxAgent)]})))
	})
}

func network(r *http.Request) string {
	text, _ := auth.ClientKey(r) // it gives no error
	return text
}

// sessionStore keeps sessions under the digests of their tokens.
type sessionStore struct{ store people.SessionStore }

var _ scs.CtxStore = (*sessionStore)(nil)

var errNoContext = errors.New("sessions are kept with a request's context only")

// Delete, Find and Commit are there because scs wants them; it calls those below.
func (s *sessionStore) Delete(string) error                    { return errNoContext }
func (s *sessionStore) Find(string) ([]byte, bool, error)      { return nil, false, errNoContext }
func (s *sessionStore) Commit(string, []byte, time.Time) error { return errNoContext }

func digestOf(token string) sm.Digest { return sm.Sum([]byte(token)) }

// DeleteCtx implements scs.CtxStore.
func (s *sessionStore) DeleteCtx(ctx context.Context, token string) error {
	d := digestOf(token)
	session, err := s.store.FindSession(ctx, d)
	if errors.Is(err, notary.ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	return s.store.EndSessions(ctx, session.UserID, &d, nil)
}

// FindCtx implements scs.CtxStore.
func (s *sessionStore) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	d := digestOf(token)
	session, err := s.store.FindSession(ctx, d)
	if errors.Is(err, notary.ErrNotFound) {
		return nil, false, nil
	} else if err != nil {
		return nil, false, err
	}
	if r, ok := ctx.Value(requestKey{}).(*sender); ok {
		r.found = &d
	}
	return session.Data, true, nil
}

// CommitCtx implements scs.CtxStore. A session that the request came with is only changed: if
// it was ended meanwhile, it stays ended.
func (s *sessionStore) CommitCtx(ctx context.Context, token string, data []byte, expiry time.Time) error {
	r, ok := ctx.Value(requestKey{}).(*sender)
	if !ok {
		return errNoContext
	}
	d := digestOf(token)
	if r.found != nil && *r.found == d {
		return s.store.TouchSession(ctx, d, data, expiry)
	}
	_, values, err := codec{}.Decode(data)
	if err != nil {
		return err
	}
	user, _ := values[sessionUser].(string)
	return s.store.AddSession(ctx, people.Session{Digest: d, UserID: user, Data: data, Address: r.network,
		Agent: r.agent, ExpiresAt: expiry})
}
