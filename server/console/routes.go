package console

import (
	"net/http"

	"stele/notary/people"
)

// route is one page or act.
type route struct {
	method, path string // below [folder]
	section      string // of the side bar
	roles        []people.Role
	open         bool // for whoever is not signed in
	unsettled    bool // also for who still has to change a password or set up a second factor
	guesses      bool // takes a password or code from a stranger: limited by network

	// Of what changes something: the act and its form's fields are in the audit trail before
	// it is done, and so is what its address names; sensitive acts demand that the person says
	// once more who they are. page is shown again when the form is refused.
	act       people.Act
	tells     []string
	sensitive bool
	page      func(*visit) error

	// streams: the form brings files, which do reads as they come; the fields stand before them.
	streams bool

	do func(*visit) error
}

var (
	everybody = people.Roles
	office    = []people.Role{people.Clerk, people.Approver, people.Admin, people.Auditor} // an agency's
	desk      = []people.Role{people.Clerk, people.Approver, people.Admin}
	approvers = []people.Role{people.Approver}
	admins    = []people.Role{people.Admin}
	seesKeys  = []people.Role{people.Admin, people.Auditor}
	managers  = []people.Role{people.Admin, people.Operator}
	overseers = []people.Role{people.Admin, people.Auditor, people.Operator}
)

// table is all pages and acts, and who may use them. There is no other place that decides
// this; a test goes through every role and every route.
func table() []route {
	return []route{
		{method: http.MethodGet, path: "/sign-in", open: true, do: (*visit).signInPage},
		{method: http.MethodPost, path: "/sign-in", open: true, guesses: true, page: (*visit).signInPage, do: (*visit).signIn},
		{method: http.MethodGet, path: "/code", open: true, do: (*visit).codePage},
		{method: http.MethodPost, path: "/code", open: true, guesses: true, page: (*visit).codePage, do: (*visit).signInCode},

		{method: http.MethodPost, path: "/sign-out", roles: everybody, unsettled: true, act: "sign_out", do: (*visit).signOut},
		{method: http.MethodGet, path: "", section: "overview", roles: everybody, do: (*visit).overview},

		{method: http.MethodGet, path: "/account", section: "account", roles: everybody, unsettled: true, do: (*visit).account},
		{method: http.MethodPost, path: "/account/password", section: "account", roles: everybody, unsettled: true, act: "password_change", page: (*visit).account, do: (*visit).setPassword},
		{method: http.MethodPost, path: "/account/factor", section: "account", roles: everybody, unsettled: true, act: "factor_begin", sensitive: true, page: (*visit).account, do: (*visit).beginFactor},
		{method: http.MethodPost, path: "/account/factor/confirm", section: "account", roles: everybody, unsettled: true, act: "factor_confirm", page: (*visit).factorPage, do: (*visit).confirmFactor},
		{method: http.MethodPost, path: "/account/factor/remove", section: "account", roles: everybody, act: "factor_remove", sensitive: true, page: (*visit).account, do: (*visit).removeFactor},
		{method: http.MethodPost, path: "/account/sessions/end", section: "account", roles: everybody, act: "session_end", page: (*visit).account, do: (*visit).endSession},

		{method: http.MethodGet, path: "/records", section: "records", roles: office, do: (*visit).records},
		{method: http.MethodGet, path: "/records/{record}", section: "records", roles: office, do: (*visit).record},
		{method: http.MethodGet, path: "/records/{record}/bundle", section: "records", roles: office, do: (*visit).bundle},
		{method: http.MethodGet, path: "/records/{record}/certificate", section: "records", roles: office, do: (*visit).certificate},
		{method: http.MethodGet, path: "/records/{record}/evidence", section: "records", roles: office, do: (*visit).evidence},
		{method: http.MethodGet, path: "/records/{record}/document", section: "records", roles: office, do: (*visit).document},
		{method: http.MethodPost, path: "/records/{record}/revoke", section: "records", roles: desk, act: "record_revoke", tells: []string{"reason"}, page: (*visit).record, do: (*visit).revoke},

		{method: http.MethodGet, path: "/bulk", section: "bulk", roles: office, do: (*visit).bulkJobs},
		{method: http.MethodPost, path: "/bulk", section: "bulk", roles: desk, act: "bulk_add", tells: []string{"class"}, streams: true, page: (*visit).bulkJobs, do: (*visit).addBulk},
		{method: http.MethodGet, path: "/bulk/template", section: "bulk", roles: office, do: (*visit).bulkTemplate},
		{method: http.MethodGet, path: "/bulk/{job}", section: "bulk", roles: office, do: (*visit).bulkJob},
		{method: http.MethodGet, path: "/bulk/{job}/rows", section: "bulk", roles: office, do: (*visit).exportBulk},
		{method: http.MethodGet, path: "/bulk/{job}/rows/{row}", section: "bulk", roles: office, do: (*visit).bulkDocument},
		{method: http.MethodPost, path: "/bulk/{job}/files", section: "bulk", roles: desk, act: "bulk_files", streams: true, page: (*visit).bulkJob, do: (*visit).addBulkFiles},
		{method: http.MethodPost, path: "/bulk/{job}/start", section: "bulk", roles: desk, act: "bulk_start", tells: []string{"partial"}, page: (*visit).bulkJob, do: (*visit).startBulk},
		{method: http.MethodPost, path: "/bulk/{job}/recall", section: "bulk", roles: desk, act: "bulk_recall", page: (*visit).bulkJob, do: (*visit).recallBulk},
		{method: http.MethodPost, path: "/bulk/{job}/retry", section: "bulk", roles: desk, act: "bulk_retry", page: (*visit).bulkJob, do: (*visit).retryBulk},
		{method: http.MethodPost, path: "/bulk/{job}/drop", section: "bulk", roles: desk, act: "bulk_drop", page: (*visit).bulkJob, do: (*visit).dropBulk},
		{method: http.MethodPost, path: "/bulk/{job}/approve", section: "bulk", roles: approvers, act: "bulk_approve", page: (*visit).bulkJob, do: (*visit).approveBulk},
		{method: http.MethodPost, path: "/bulk/{job}/return", section: "bulk", roles: approvers, act: "bulk_return", tells: []string{"remark"}, page: (*visit).bulkJob, do: (*visit).returnBulk},

		{method: http.MethodGet, path: "/keys", section: "keys", roles: seesKeys, do: (*visit).keys},
		{method: http.MethodPost, path: "/keys", section: "keys", roles: admins, act: "key_create", tells: []string{"name", "scope", "networks", "expires"}, sensitive: true, page: (*visit).keys, do: (*visit).createKey},
		{method: http.MethodPost, path: "/keys/{key}/rotate", section: "keys", roles: admins, act: "key_rotate", sensitive: true, page: (*visit).keys, do: (*visit).rotateKey},
		{method: http.MethodPost, path: "/keys/{key}/end", section: "keys", roles: admins, act: "key_end", page: (*visit).keys, do: (*visit).endKey},

		{method: http.MethodGet, path: "/webhooks", section: "webhooks", roles: seesKeys, do: (*visit).webhooks},
		{method: http.MethodPost, path: "/webhooks", section: "webhooks", roles: admins, act: "webhook_create", tells: webhookFields, sensitive: true, page: (*visit).webhooks, do: (*visit).createWebhook},
		{method: http.MethodGet, path: "/webhooks/{webhook}", section: "webhooks", roles: seesKeys, do: (*visit).webhook},
		{method: http.MethodPost, path: "/webhooks/{webhook}", section: "webhooks", roles: admins, act: "webhook_change", tells: webhookFields, page: (*visit).webhook, do: (*visit).changeWebhook},
		{method: http.MethodPost, path: "/webhooks/{webhook}/enabled", section: "webhooks", roles: admins, act: "webhook_switch", tells: []string{"enabled"}, page: (*visit).webhook, do: (*visit).switchWebhook},
		{method: http.MethodPost, path: "/webhooks/{webhook}/test", section: "webhooks", roles: admins, act: "webhook_test", page: (*visit).webhook, do: (*visit).testWebhook},
		{method: http.MethodPost, path: "/webhooks/{webhook}/secret", section: "webhooks", roles: admins, act: "webhook_secret", sensitive: true, page: (*visit).webhook, do: (*visit).rotateSecret},
		{method: http.MethodPost, path: "/webhooks/{webhook}/delete", section: "webhooks", roles: admins, act: "webhook_delete", sensitive: true, page: (*visit).webhook, do: (*visit).deleteWebhook},
		{method: http.MethodPost, path: "/webhooks/{webhook}/replay", section: "webhooks", roles: admins, act: "webhook_replay", tells: []string{"since"}, page: (*visit).webhook, do: (*visit).replaySince},
		{method: http.MethodPost, path: "/webhooks/{webhook}/deliveries/{delivery}/replay", section: "webhooks", roles: admins, act: "delivery_replay", page: (*visit).webhook, do: (*visit).replay},

		{method: http.MethodGet, path: "/users", section: "users", roles: overseers, do: (*visit).users},
		{method: http.MethodPost, path: "/users", section: "users", roles: managers, act: "user_add", tells: []string{"login", "name", "role", "agency"}, sensitive: true, page: (*visit).users, do: (*visit).addUser},
		{method: http.MethodPost, path: "/users/{user}/role", section: "users", roles: managers, act: "user_role", tells: []string{"role"}, sensitive: true, page: (*visit).users, do: (*visit).setRole},
		{method: http.MethodPost, path: "/users/{user}/disabled", section: "users", roles: managers, act: "user_switch", tells: []string{"disabled"}, sensitive: true, page: (*visit).users, do: (*visit).setDisabled},
		{method: http.MethodPost, path: "/users/{user}/reset", section: "users", roles: managers, act: "user_reset", sensitive: true, page: (*visit).users, do: (*visit).resetUser},

		{method: http.MethodGet, path: "/audit", section: "audit", roles: overseers, do: (*visit).audit},
		{method: http.MethodGet, path: "/audit/export", section: "audit", roles: overseers, do: (*visit).exportAudit},
	}
}

// sections of the side bar, in their order; a role sees those that have a page for it.
var sections = []string{"overview", "records", "bulk", "keys", "webhooks", "users", "audit", "account"}
