package console_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"stele/server/http/console"
)

// Why an act asks again who one is, or does not. What changes where data goes, which rights there
// are, or by what rules the agency works, must not be done by whoever finds a screen or steals a
// session; an agency's daily work cannot ask each time, and ends in the trail and before a second person.
const (
	asks      = "asks"      // sensitive
	itself    = "itself"    // a way to say who one is, or the second step of an act that has asked
	daily     = "daily"     // the agency's work: visible, traced, and where it weighs, agreed to by a second person
	takesAway = "takesAway" // takes a right or a session away: in a hurry, and no help to a thief
	own       = "own"       // a person's own convenience
)

// weights decides for every act. A new one fails the test until it is decided here.
var weights = map[string]string{
	"POST /console/sign-in": itself, "POST /console/code": itself, "POST /console/passkey/begin": itself,
	"POST /console/passkey": itself, "POST /console/sign-in/sso": itself,
	"POST /console/invitation/{token}": itself, "POST /console/invitation/{token}/sso": itself,
	"POST /console/sign-out":         takesAway,
	"POST /console/account/password": itself, // with the present password
	"POST /console/account/factor":   asks, "POST /console/account/factor/confirm": itself,
	"POST /console/account/factor/remove":  asks,
	"POST /console/account/sessions/end":   takesAway,
	"POST /console/account/passkeys/begin": asks, "POST /console/account/passkeys": itself,
	"POST /console/account/passkeys/{passkey}/remove": asks,
	"POST /console/account/confirm":                   asks, "POST /console/account/confirm/begin": itself,
	"POST /console/account/confirm/passkey": itself, "POST /console/account/confirm/sso": itself,
	"POST /console/account/sso": asks, "POST /console/account/sso/link": itself,
	"POST /console/account/sso/unlink": asks,

	"POST /console/upload": daily, "POST /console/known": daily, "POST /console/uploads": daily,
	"HEAD /console/uploads/{upload}": daily, "PATCH /console/uploads/{upload}": daily,
	"DELETE /console/uploads/{upload}": daily, "POST /console/papers/take": daily,
	"POST /console/papers/{paper}": daily, "POST /console/papers/{paper}/marks": daily,
	"POST /console/papers/{paper}/recall": daily, "POST /console/papers/{paper}/drop": daily,
	"POST /console/papers/{paper}/approve": daily, "POST /console/papers/{paper}/return": daily,
	"POST /console/records/searches": own, "POST /console/records/searches/delete": own,
	"POST /console/records/{record}/revoke": daily, "POST /console/records/{record}/erase": asks,
	"POST /console/bulk": daily, "POST /console/bulk/{job}/files": daily, "POST /console/bulk/{job}/start": daily,
	"POST /console/bulk/{job}/recall": daily, "POST /console/bulk/{job}/retry": daily,
	"POST /console/bulk/{job}/drop": daily, "POST /console/bulk/{job}/approve": daily,
	"POST /console/bulk/{job}/return": daily,

	"POST /console/classes": asks, "POST /console/class-new": asks, "POST /console/classes/{class}": asks,
	// whether a second person must agree
	"POST /console/seals": asks, "POST /console/seals/{picture}/show": asks, "POST /console/seals/{picture}/end": asks,
	"POST /console/keys": asks, "POST /console/keys/{key}/rotate": asks, "POST /console/keys/{key}/end": takesAway,
	"POST /console/webhooks": asks, "POST /console/webhooks/{webhook}": asks,
	"POST /console/webhooks/{webhook}/enabled": asks, // to whom attributes are sent
	"POST /console/webhooks/{webhook}/secret":  asks, "POST /console/webhooks/{webhook}/delete": asks,
	"POST /console/webhooks/{webhook}/test": daily, "POST /console/webhooks/{webhook}/replay": daily,
	"POST /console/webhooks/{webhook}/deliveries/{delivery}/replay": daily, // to where it was sent before
	"POST /console/users": asks, "POST /console/users/{user}/role": asks, "POST /console/users/{user}/disabled": asks,
	"POST /console/users/{user}/invite": asks, "POST /console/users/{user}/withdraw": takesAway,
	"POST /console/sso": asks, "POST /console/sso/remove": asks,
}

func TestEveryActIsWeighed(t *testing.T) {
	left := map[string]bool{}
	for name := range weights {
		left[name] = true
	}
	for _, rt := range console.Table() {
		name := rt.Method + " " + rt.Path
		if !changes(rt) {
			if rt.Sensitive {
				t.Errorf("%s only shows something, and cannot ask", name)
			}
			continue
		}
		delete(left, name)
		weight, ok := weights[name]
		if !ok {
			t.Errorf("%s is new: decide here whether it asks again who one is", name)
		} else if rt.Sensitive != (weight == asks) {
			t.Errorf("%s is %q here, and sensitive: %t in the table of routes", name, weight, rt.Sensitive)
		}
	}
	for name := range left {
		t.Errorf("%s is not there any more", name)
	}
}

// Every act that asks is refused in a session where nobody has said for long who they are, and
// changes nothing; the page that comes back asks, and keeps what was typed.
func TestSensitiveActsAsk(t *testing.T) {
	o := openOffice(t, false)
	own := o.things(o.agency.ID)
	p := o.as("admin")
	p.grow(t)
	before, err := o.in.DB.Webhooks.Endpoint(t.Context(), o.agency.ID, own["webhook"])
	fatalIfErr(t, err)
	for _, rt := range console.Table() {
		// that form brings a file
		if !rt.Sensitive || strings.Contains(rt.Path, "/account/") || rt.Path == "/console/seals" {
			continue
		}
		for _, answer := range []string{"", "a guess"} {
			path := own.in(rt.Path)
			a := p.post(path, url.Values{"confirm": {answer}, "url": {"https://thief.example/"},
				"kind": {"record.anchored"},
				"zh":   {"甲"}, "en": {"A"}, "schema": {"{}"}, "id": {"x"}, "enabled": {"false"}})
			if a.status != http.StatusUnprocessableEntity && a.status != http.StatusTooManyRequests {
				t.Errorf("%s with the answer %q: %d", path, answer, a.status)
			}
		}
	}
	after, err := o.in.DB.Webhooks.Endpoint(t.Context(), o.agency.ID, own["webhook"])
	fatalIfErr(t, err)
	if before.Settings.URL != after.Settings.URL || before.Health.State != after.Health.State {
		t.Errorf("changed without a question: %+v", after)
	}
	for name, path := range map[string]string{"new class": "/console/class-new",
		"class": "/console/classes/" + own["class"], "webhook": "/console/webhooks/" + own["webhook"],
		"classes": "/console/classes", "seals": "/console/seals"} {
		t.Run(name, func(t *testing.T) {
			if a := p.get(path); a.status != http.StatusOK || !strings.Contains(a.body, `name="confirm"`) {
				t.Errorf("%s does not ask: %d", path, a.status)
			}
		})
	}
}
