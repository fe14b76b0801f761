package console_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"stele/notary/office/people"
	"stele/notary/office/webhook"
	"stele/notary/register/class"
	"stele/server/http/console"
)

// Who may use what, written down once more and by hand: letters of clerk, approver, admin (d),
// auditor (u) and operator. A route that is not here fails the test, and so does one whose line
// in the table says something else.
var matrix = map[string]string{
	"POST /console/sign-out": "caduo", "GET /console": "caduo", "GET /console/account": "caduo",
	"POST /console/account/password": "caduo", "POST /console/account/factor": "caduo",
	"POST /console/account/factor/confirm": "caduo",
	"POST /console/account/factor/remove":  "caduo", "POST /console/account/sessions/end": "caduo",
	"POST /console/account/passkeys/begin": "caduo", "POST /console/account/passkeys": "caduo",
	"POST /console/account/passkeys/{passkey}/remove": "caduo",
	"GET /console/account/confirm":                    "caduo", "POST /console/account/confirm": "caduo",
	"POST /console/account/confirm/begin": "caduo", "POST /console/account/confirm/passkey": "caduo",
	"POST /console/account/confirm/sso": "cadu", "POST /console/account/sso": "cadu",
	"POST /console/account/sso/link": "cadu", "POST /console/account/sso/unlink": "cadu",
	"GET /console/sso": "du", "POST /console/sso": "d", "POST /console/sso/remove": "d",
	"GET /console/upload": "cad", "POST /console/upload": "cad", "GET /console/upload/session": "cad",
	"POST /console/known": "cad", "POST /console/papers/take": "cad",
	"POST /console/uploads": "cad", "HEAD /console/uploads/{upload}": "cad", "PATCH /console/uploads/{upload}": "cad",
	"DELETE /console/uploads/{upload}": "cad",
	"GET /console/records":             "cadu", "GET /console/records/{record}": "cadu",
	"GET /console/records/{record}/bundle": "cadu", "GET /console/records/{record}/certificate": "cadu",
	"GET /console/records/{record}/evidence": "cadu", "GET /console/records/{record}/document": "cadu",
	"POST /console/records/{record}/revoke": "cad",
	"GET /console/papers":                   "cadu", "GET /console/papers/{paper}": "cadu",
	"GET /console/papers/{paper}/document": "cadu", "POST /console/papers/{paper}": "cad",
	"GET /console/papers/{paper}/marks": "cad", "POST /console/papers/{paper}/marks": "cad",
	"POST /console/papers/{paper}/recall": "cad", "POST /console/papers/{paper}/drop": "cad",
	"POST /console/papers/{paper}/approve": "a", "POST /console/papers/{paper}/return": "a",
	"GET /console/classes": "du", "POST /console/classes": "d", "GET /console/class-new": "d",
	"POST /console/class-new": "d", "GET /console/classes/{class}": "du", "POST /console/classes/{class}": "d",
	"GET /console/events": "caduo", "GET /console/live": "caduo", "GET /console/records/{record}/live": "cadu",
	"GET /console/records/export":    "cadu",
	"POST /console/records/searches": "cadu", "POST /console/records/searches/delete": "cadu",
	"GET /console/records/{record}/erase": "d", "POST /console/records/{record}/erase": "d",
	"GET /console/audit/seals": "duo", "GET /console/audit/seals/{seal}/bundle": "duo",
	"GET /console/audit/seals/{seal}/document": "duo",
	"GET /console/bulk":                        "cadu", "POST /console/bulk": "cad",
	"GET /console/bulk/template": "cadu", "GET /console/bulk/{job}": "cadu", "GET /console/bulk/{job}/rows": "cadu",
	"GET /console/bulk/{job}/rows/{row}": "cadu", "POST /console/bulk/{job}/files": "cad",
	"POST /console/bulk/{job}/start": "cad", "POST /console/bulk/{job}/recall": "cad",
	"POST /console/bulk/{job}/retry": "cad", "POST /console/bulk/{job}/drop": "cad",
	"POST /console/bulk/{job}/approve": "a", "POST /console/bulk/{job}/return": "a",
	"GET /console/seals": "du", "POST /console/seals": "d", "POST /console/seals/{picture}/show": "d",
	"POST /console/seals/{picture}/end": "d",
	"GET /console/keys":                 "du", "POST /console/keys": "d", "POST /console/keys/{key}/rotate": "d",
	"POST /console/keys/{key}/end": "d",
	"GET /console/webhooks":        "du", "POST /console/webhooks": "d", "GET /console/webhooks/{webhook}": "du",
	"POST /console/webhooks/{webhook}":         "d",
	"POST /console/webhooks/{webhook}/enabled": "d", "POST /console/webhooks/{webhook}/test": "d",
	"POST /console/webhooks/{webhook}/secret": "d",
	"POST /console/webhooks/{webhook}/delete": "d", "POST /console/webhooks/{webhook}/replay": "d",
	"POST /console/webhooks/{webhook}/deliveries/{delivery}/replay": "d",
	"GET /console/users": "duo", "POST /console/users": "do", "POST /console/users/{user}/role": "do",
	"POST /console/users/{user}/disabled": "do", "POST /console/users/{user}/invite": "do",
	"POST /console/users/{user}/withdraw": "do",
	"GET /console/audit":                  "duo", "GET /console/audit/export": "duo",
}

var letters = map[people.Role]string{people.Clerk: "c", people.Approver: "a", people.Admin: "d", people.Auditor: "u",
	people.Operator: "o"}

// open routes are for whoever is not signed in.
var open = []string{"GET /console/sign-in", "POST /console/sign-in", "GET /console/code", "POST /console/code",
	"POST /console/passkey/begin", "POST /console/passkey",
	"GET /console/sign-in/sso", "POST /console/sign-in/sso", "GET /console/sign-in/sso/callback",
	"GET /console/invitation/{token}", "POST /console/invitation/{token}", "POST /console/invitation/{token}/sso"}

// untold are what leaves no trail: questions, and the pieces of an upload whose beginning did.
var untold = []string{"POST /console/known", "HEAD /console/uploads/{upload}", "PATCH /console/uploads/{upload}"}

// changes reports whether a route does more than show something.
func changes(rt console.Route) bool { return rt.Method != http.MethodGet }

// things are the ids that addresses name, of an agency.
type things map[string]string

func (o *office) things(agencyID string) things {
	o.t.Helper()
	out := things{"record": o.notarize("一份文书").Number, "delivery": "evt_00000000000000000000000000"}
	if agencyID != o.agency.ID {
		out["record"] = "350100-2026-00000000-0"
	}
	e := webhook.Endpoint{ID: "endpoint-of-" + agencyID, AgencyID: agencyID,
		Settings: webhook.Settings{URL: "https://example.com/", Kinds: webhook.Kinds},
		Health:   webhook.Health{State: webhook.Enabled}, Secret: []byte{1}}
	fatalIfErr(o.t, o.in.DB.Webhooks.AddEndpoint(o.t.Context(), e, 10))
	out["webhook"] = e.ID
	out["seal"] = o.sealed(agencyID)
	out["job"], out["row"] = o.tableOf(agencyID), "1"
	u := o.addUser(agencyID, "someone."+agencyID[len(agencyID)-6:], "某人", people.Clerk)
	out["user"] = u.ID
	up, err := o.in.Uploads.Create(o.t.Context(), agencyID, 3, nil)
	fatalIfErr(o.t, err)
	out["upload"] = up.ID
	out["paper"] = o.paper(agencyID, u, "公告.pdf", samplePDF(o.t)).ID
	out["picture"] = "none"
	out["class"] = "class-of-" + agencyID[len(agencyID)-6:]
	c := class.Ready()[1]
	c.ID, c.AgencyID = out["class"], agencyID
	fatalIfErr(o.t, o.in.Classes.Put(o.t.Context(), c))
	fatalIfErr(o.t, o.in.DB.People.AddPasskey(o.t.Context(), people.Passkey{ID: []byte("passkey of " + u.Login),
		UserID: u.ID,
		Name:   "x", PublicKey: []byte{1}}))
	out["passkey"] = base64.RawURLEncoding.EncodeToString([]byte("passkey of " + u.Login))
	keys, err := o.in.DB.People.Keys(o.t.Context(), agencyID)
	fatalIfErr(o.t, err)
	out["key"] = "none"
	if len(keys) > 0 {
		out["key"] = keys[0].ID
	}
	return out
}

func (t things) in(path string) string {
	for name, id := range t {
		path = strings.ReplaceAll(path, "{"+name+"}", url.PathEscape(id))
	}
	return path
}

// What is mounted is what the table says, nothing more.
func TestEveryRouteIsInTheMatrix(t *testing.T) {
	var seen []string
	for _, rt := range console.Table() {
		name := rt.Method + " " + rt.Path
		if slices.Contains(seen, name) {
			t.Errorf("%s stands twice in the table", name)
		}
		seen = append(seen, name)
		if rt.Open {
			if !slices.Contains(open, name) {
				t.Errorf("%s is open to everybody", name)
			}
			continue
		}
		want, ok := matrix[name]
		if !ok {
			t.Errorf("%s is not in the matrix", name)
		}
		for _, r := range people.Roles {
			if may := slices.Contains(rt.Roles, r); may != strings.Contains(want, letters[r]) {
				t.Errorf("%s: %s may: %t", name, r, may)
			}
		}
		if changes(rt) && (rt.Act == "" && !slices.Contains(untold, name) || !rt.HasPage && !rt.Script &&
			!strings.HasSuffix(name, "/sign-out")) {
			t.Errorf("%s changes something and leaves no trail, or has no page to say what is wrong", name)
		}
	}
	for name := range matrix {
		if !slices.Contains(seen, name) {
			t.Errorf("%s is in the matrix and not in the table", name)
		}
	}
}

// Every role asks for every route, with its own agency's ids: who may not gets 403 and nothing
// is done; and with another agency's, which are as if they were not there.
func TestAuthorization(t *testing.T) {
	o := openOffice(t, false)
	own, foreign := o.things(o.agency.ID), o.things(o.other.ID)
	sessions := map[people.Role]*person{}
	for _, r := range people.Roles {
		sessions[r] = o.as(string(r))
	}
	nobody := o.visitor()
	for _, rt := range console.Table() {
		name := rt.Method + " " + rt.Path
		call := func(p *person, path string) answer {
			switch {
			case rt.Script:
				return p.script(rt.Method, path, nil, nil)
			case rt.Method == http.MethodPost:
				return p.post(path, nil)
			}
			return p.get(path)
		}
		if rt.Open {
			continue
		}
		if a := call(nobody, own.in(rt.Path)); rt.Script {
			if a.status != http.StatusUnauthorized {
				t.Errorf("%s without a session: %d", name, a.status)
			}
		} else if a.status != http.StatusSeeOther || !strings.HasPrefix(a.header.Get("Location"), "/console/sign-in") {
			t.Errorf("%s without a session: %d %v", name, a.status, a.header)
		}
		for _, r := range people.Roles {
			p := sessions[r]
			if strings.Contains(matrix[name], letters[r]) {
				if strings.HasSuffix(rt.Path, "/events") { // does not end; see TestLive
					continue
				}
				// what acts is tested where it acts
				if strings.HasSuffix(rt.Path, "/sign-out") || changes(rt) && rt.Method != http.MethodHead {
					continue
				}
				if a := call(p, own.in(rt.Path)); a.status == http.StatusForbidden || a.status >= 500 ||
					a.status == http.StatusNotFound && !strings.HasSuffix(rt.Path, "/document") {
					t.Errorf("%s as %s: %d %.300s", name, r, a.status, a.body)
				}
				if strings.Contains(rt.Path, "{") && r != people.Operator {
					if a := call(p, foreign.in(rt.Path)); a.status != http.StatusNotFound {
						t.Errorf("%s as %s with another agency's id: %d", name, r, a.status)
					}
				}
				continue
			}
			if a := call(p, own.in(rt.Path)); a.status != http.StatusForbidden {
				t.Errorf("%s as %s: %d", name, r, a.status)
			}
		}
		if rt.Script && rt.Method != http.MethodGet {
			admin := *sessions[people.Admin]
			for _, token := range []string{"", "of another session", sessions[people.Clerk].form} {
				admin.form = token
				if a := call(&admin, own.in(rt.Path)); a.status != http.StatusForbidden {
					t.Errorf("%s with the token %q: %d", name, token, a.status)
				}
			}
			if strings.Contains(rt.Path, "{") {
				head := map[string]string{"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
				if a := sessions[people.Admin].script(rt.Method, foreign.in(rt.Path), head,
					strings.NewReader("abc")); a.status != http.StatusNotFound {
					t.Errorf("%s with another agency's id: %d", name, a.status)
				}
			}
		}
		if rt.Method == http.MethodPost && strings.Contains(rt.Path, "{") && strings.Contains(matrix[name], "d") {
			a := sessions[people.Admin].post(foreign.in(rt.Path), url.Values{"reason": {"x"}, "role": {"clerk"},
				"kind": {"record.logged"}, "url": {"https://example.com/"}, "since": {"2026-01-01T00:00"}})
			if a.status != http.StatusNotFound {
				t.Errorf("%s with another agency's id: %d %.200s", name, a.status, a.body)
			}
		}
	}
	for what, id := range map[string]string{"webhook": foreign["webhook"], "user": foreign["user"]} {
		t.Run(what, func(t *testing.T) {
			if strings.Contains(sessions[people.Admin].get("/console/"+what+"s").body, id) {
				t.Errorf("another agency's %s is in the list", what)
			}
		})
	}
	if u, err := o.people.Find(t.Context(), o.other.ID, foreign["user"]); err != nil || !u.DisabledAt.IsZero() ||
		u.Role != people.Clerk {
		t.Errorf("another agency's user was changed: %+v, %v", u, err)
	}
	if l, err := o.people.Passkeys(t.Context(), foreign["user"]); err != nil || len(l) != 1 {
		t.Errorf("another person's passkey is gone: %v", err)
	}
	if _, err := o.in.DB.Webhooks.Endpoint(t.Context(), o.other.ID, foreign["webhook"]); err != nil {
		t.Errorf("another agency's webhook is gone: %v", err)
	}
	if up, err := o.in.Uploads.Find(t.Context(), o.other.ID, foreign["upload"]); err != nil || up.Offset != 0 {
		t.Errorf("another agency's upload was changed: %+v, %v", up, err)
	}
}
