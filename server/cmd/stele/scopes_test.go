package main

import (
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

// TestScopes tries each call that a key is for with a key of each scope: it is refused for every
// scope but its own, before anything of the request is looked at.
func TestScopes(t *testing.T) {
	t.Parallel()
	s := site{data: folder(t)}.start(t)
	keys := map[notary.Scope]string{}
	for _, scope := range notary.Scopes {
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
