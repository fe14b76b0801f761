package main

import (
	"encoding/json"
	"net/http"
	"regexp"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"stele/notary"
)

// scopeOf has every call that a key is for, and the scope that it needs.
var scopeOf = map[string]notary.Scope{
	"get-own-key": "", // any key may ask what it is

	"list-records":    notary.ScopeRead,
	"get-record":      notary.ScopeRead,
	"get-bundle":      notary.ScopeRead,
	"get-bundles":     notary.ScopeRead,
	"get-document":    notary.ScopeRead,
	"get-certificate": notary.ScopeRead,
	"get-evidence":    notary.ScopeRead,
	"list-events":     notary.ScopeRead,
	"list-entries":    notary.ScopeRead,

	"get-entries-status": notary.ScopeRead,
	"get-entries-tile":   notary.ScopeAudit,

	"create-record":        notary.ScopeWrite,
	"create-records":       notary.ScopeWrite,
	"prepare-record":       notary.ScopeWrite,
	"sign-prepared":        notary.ScopeWrite,
	"create-direct-upload": notary.ScopeWrite,
	"create-upload":        notary.ScopeWrite,
	"upload-options":       notary.ScopeWrite,
	"get-upload-offset":    notary.ScopeWrite,
	"append-to-upload":     notary.ScopeWrite,
	"delete-upload":        notary.ScopeWrite,
	"override-upload":      notary.ScopeWrite,

	"revoke-record":      notary.ScopeRevoke,
	"prepare-revocation": notary.ScopeRevoke,

	"erase-record": notary.ScopeErase,

	"list-webhooks":         notary.ScopeWebhooks,
	"create-webhook":        notary.ScopeWebhooks,
	"get-webhook":           notary.ScopeWebhooks,
	"change-webhook":        notary.ScopeWebhooks,
	"delete-webhook":        notary.ScopeWebhooks,
	"test-webhook":          notary.ScopeWebhooks,
	"rotate-webhook-secret": notary.ScopeWebhooks,
	"replay-webhook":        notary.ScopeWebhooks,
	"webhook-sample":        notary.ScopeWebhooks,
	"list-deliveries":       notary.ScopeWebhooks,
	"replay-delivery":       notary.ScopeWebhooks,

	"list-keys":  notary.ScopeKeys,
	"create-key": notary.ScopeKeys,
	"rotate-key": notary.ScopeKeys,
	"revoke-key": notary.ScopeKeys,
}

var pathParameter = regexp.MustCompile(`\{[a-z-]+\}`)

// auditorsKey is one that the operator makes: no agency can.
func (s *server) auditorsKey() string {
	s.t.Helper()
	key, _ := s.operatorsKey("audit")
	return key
}

// operatorsKey is one that the operator makes, and its id.
func (s *server) operatorsKey(scopes string) (key, id string) {
	s.t.Helper()
	out, errs, code := s.output(s.t, "apikey", "add", "--agency", demoCode, "--scopes", scopes, "--json")
	var made struct{ Key, ID string }
	if err := json.Unmarshal([]byte(out), &made); err != nil || code != 0 {
		s.t.Fatalf("%v, %d: %s", err, code, errs)
	}
	return made.Key, made.ID
}

// TestAuditScope: neither an agency nor a key that has it can give the scope on.
func TestAuditScope(t *testing.T) {
	t.Parallel()
	s := site{data: folder(t)}.start(t)
	key, id := s.operatorsKey("audit,keys")
	for _, r := range []request{
		as(key, http.MethodPost, "/api/v1/keys", `{"name":"one","scopes":["audit"]}`),
		as(key, http.MethodPost, "/api/v1/keys/"+id+"/rotate", `{}`),
		as(s.info.APIKey, http.MethodPost, "/api/v1/keys/"+id+"/rotate", `{}`),
	} {
		if res := s.call(r); res.status != http.StatusForbidden && res.status != http.StatusNotFound {
			t.Errorf("%s: %d %s", r.path, res.status, res.body)
		}
	}
	res := s.call(as(s.info.APIKey, http.MethodPost, "/api/v1/keys", `{"name":"one","scopes":["audit"]}`))
	if res.status != http.StatusUnprocessableEntity {
		t.Errorf("%d %s", res.status, res.body)
	}
}

// TestScopes tries each call that a key is for with a key of each scope: it is refused for every
// scope but its own, before anything of the request is looked at.
func TestScopes(t *testing.T) {
	t.Parallel()
	s := site{data: folder(t)}.start(t)
	keys := map[notary.Scope]string{}
	keys[notary.ScopeAudit] = s.auditorsKey()
	for _, scope := range notary.OwnScopes {
		made := s.newKey(t, s.info.APIKey, "/api/v1/keys", `{"name":"one","scopes":["`+string(scope)+`"]}`)
		keys[scope] = made.Text
	}
	doc, err := openapi3.NewLoader().LoadFromData(s.get("/openapi.json").body)
	fatalIfErr(t, err)
	left := map[string]bool{}
	for id := range scopeOf {
		left[id] = true
	}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			if op.Security == nil || len(*op.Security) == 0 {
				continue
			}
			needed, known := scopeOf[op.OperationID]
			if !known {
				t.Errorf("%q: scope? %s", op.OperationID, op.Description)
				continue
			}
			delete(left, op.OperationID)
			for scope, key := range keys {
				r := s.call(as(key, method, pathParameter.ReplaceAllString(path, "nobody"), "{}"))
				refused := r.status == http.StatusForbidden
				if allowed := needed == "" || needed == scope; refused == allowed ||
					r.status == http.StatusUnauthorized {
					t.Errorf("%s with the scope %s: %d %s", op.OperationID, scope, r.status, r.body)
				}
			}
		}
	}
	for id := range left {
		t.Errorf("there is no call %s", id)
	}
}
