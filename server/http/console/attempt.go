package console

import (
	"crypto/rand"
	"encoding/json"
	"net/http"

	"stele/notary/office/people"
)

// browser is a secret of the person's browser, signed in or not: what was begun with it is
// finished by it alone. The cookie comes back with a link from another site, as the way back
// from a provider is one.
func (v *visit) browser() string {
	name := "stele_attempt"
	if v.secure {
		name = "__Host-" + name
	}
	secret := rand.Text()
	if c, err := v.r.Cookie(name); err == nil && len(c.Value) == len(secret) {
		secret = c.Value
	}
	http.SetCookie(v.rw, &http.Cookie{Name: name, Value: secret, Path: "/", MaxAge: int(people.AttemptTime.Seconds()),
		HttpOnly: true, Secure: v.secure, SameSite: http.SameSiteLaxMode})
	return secret
}

// keep begins an attempt of a kind; what is kept comes back from [visit.take], once.
func (v *visit) keep(kind string, what any) (string, error) {
	data, err := json.Marshal(what)
	if err != nil {
		return "", err
	}
	return v.People.BeginAttempt(v.r.Context(), v.browser(), kind, data)
}

func (v *visit) take(kind, name string, into any) error {
	data, err := v.People.TakeAttempt(v.r.Context(), v.browser(), kind, name)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}

// asked is what a script of ours gives to the browser's own dialogue.
type asked struct {
	Attempt string          `json:"attempt"`
	Options json.RawMessage `json:"options"`
}
