package console

import (
	"net/http"

	"stele/notary/office/people"
)

// route is one page or act.
type route struct {
	method, path string // below [folder]
	section      string // of the side bar
	roles        []people.Role
	public       bool // for whoever is not signed in
	beforeSetup  bool // also for who still has to change a password or set up a second factor
	background   bool // asked for by pages themselves: it does not count as being there
	rateLimited  bool // takes a password or code from a stranger: limited by network

	// Of what scripts of our pages ask: the token of the session's forms is in a header, except
	// with GET; refusals are JSON; raw bodies are for the act to read.
	script, raw bool
	files       bool // its form brings a file

	// Of what changes something: the act and its form's fields are in the audit trail before
	// it is done, and so is what its address names; sensitive acts demand that the person says
	// once more who they are: those that change where data goes, what rights there are, or by what
	// rules the agency works. A test names every act as the one or the other. page is shown again when the form is
	// refused. noAudit: it only reads, or continues an audited action.
	action      people.Action
	noAudit     bool
	auditFields []string
	sensitive   bool
	page        func(*visit) error
	dryRun      func(*visit) bool // whether this form changes nothing: then it may come again, and leaves no trail

	// subject is what the act is about where the path does not say it; "" for what the path says.
	subject func(*visit) string
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
		{method: http.MethodGet, path: "/sign-in", public: true, do: (*visit).signInPage},
		{method: http.MethodPost, path: "/sign-in", public: true, rateLimited: true, page: (*visit).signInPage,
			do: (*visit).signIn},
		{method: http.MethodGet, path: "/code", public: true, do: (*visit).codePage},
		{method: http.MethodPost, path: "/code", public: true, rateLimited: true, page: (*visit).codePage,
			do: (*visit).signInCode},

		{method: http.MethodPost, path: "/passkey/begin", public: true, rateLimited: true, page: (*visit).signInPage,
			do: (*visit).beginPasskeySignIn},
		{method: http.MethodPost, path: "/passkey", public: true, rateLimited: true, page: (*visit).passkeyRefused,
			do: (*visit).signInPasskey},
		{method: http.MethodGet, path: "/sign-in/sso", public: true, do: (*visit).ssoPage},
		{method: http.MethodPost, path: "/sign-in/sso", public: true, rateLimited: true, page: (*visit).ssoPage,
			do: (*visit).beginSSO},
		{method: http.MethodGet, path: "/sign-in/sso/callback", public: true, rateLimited: true, page: (*visit).ssoPage,
			do: (*visit).backFromSSO},
		{method: http.MethodGet, path: "/invitation/{token}", public: true, rateLimited: true, do: (*visit).invitation},
		{method: http.MethodPost, path: "/invitation/{token}", public: true, rateLimited: true,
			page: (*visit).invitation,
			do:   (*visit).acceptInvitation},
		{method: http.MethodPost, path: "/invitation/{token}/sso", public: true, rateLimited: true,
			page: (*visit).invitation,
			do:   (*visit).acceptBySSO},

		{method: http.MethodPost, path: "/sign-out", roles: everybody, beforeSetup: true, action: "sign_out",
			do: (*visit).signOut},
		{method: http.MethodGet, path: "", section: "overview", roles: everybody, do: (*visit).overview},

		{method: http.MethodGet, path: "/events", section: "overview", roles: everybody, background: true,
			do: (*visit).events},
		{method: http.MethodGet, path: "/live", section: "overview", roles: everybody, background: true,
			do: (*visit).overview},

		{method: http.MethodGet, path: "/account", section: "account", roles: everybody, beforeSetup: true,
			do: (*visit).account},
		{method: http.MethodPost, path: "/account/password", section: "account", roles: everybody, beforeSetup: true,
			action: "password_change", page: (*visit).account, do: (*visit).setPassword},
		{method: http.MethodPost, path: "/account/factor", section: "account", roles: everybody, beforeSetup: true,
			action: "factor_begin", sensitive: true, page: (*visit).account, do: (*visit).beginFactor},
		{method: http.MethodPost, path: "/account/factor/confirm", section: "account", roles: everybody,
			beforeSetup: true, action: "factor_confirm", page: (*visit).factorPage, do: (*visit).confirmFactor},
		{method: http.MethodPost, path: "/account/factor/remove", section: "account", roles: everybody,
			action: "factor_remove", sensitive: true, page: (*visit).account, do: (*visit).removeFactor},
		{method: http.MethodPost, path: "/account/sessions/end", section: "account", roles: everybody,
			action: "session_end", page: (*visit).account, do: (*visit).endSession},

		{method: http.MethodPost, path: "/account/passkeys/begin", section: "account", roles: everybody,
			beforeSetup: true, action: "passkey_begin", sensitive: true, page: (*visit).account,
			do: (*visit).beginPasskey},
		{method: http.MethodPost, path: "/account/passkeys", section: "account", roles: everybody, beforeSetup: true,
			action: "passkey_add", auditFields: []string{"name"}, page: (*visit).account, do: (*visit).addPasskey},
		{method: http.MethodPost, path: "/account/passkeys/{passkey}/remove", section: "account", roles: everybody,
			action: "passkey_remove", sensitive: true, page: (*visit).account, do: (*visit).removePasskey},
		{method: http.MethodGet, path: "/account/confirm", section: "account", roles: everybody, beforeSetup: true,
			do: (*visit).confirmPage},
		{method: http.MethodPost, path: "/account/confirm", section: "account", roles: everybody, beforeSetup: true,
			action: "confirm", sensitive: true, page: (*visit).confirmPage, do: (*visit).confirmed},
		{method: http.MethodPost, path: "/account/confirm/begin", section: "account", roles: everybody,
			beforeSetup: true,
			action:      "passkey_ask", page: (*visit).confirmPage, do: (*visit).beginConfirm},
		{method: http.MethodPost, path: "/account/confirm/passkey", section: "account", roles: everybody,
			beforeSetup: true, action: "passkey_confirm", page: (*visit).confirmPage, do: (*visit).confirmPasskey},
		{method: http.MethodPost, path: "/account/confirm/sso", section: "account", roles: office, beforeSetup: true,
			action: "sso_ask", page: (*visit).confirmPage, do: (*visit).confirmBySSO},
		{method: http.MethodPost, path: "/account/sso", section: "account", roles: office, action: "sso_link_begin",
			sensitive: true, page: (*visit).account, do: (*visit).beginLink},
		{method: http.MethodPost, path: "/account/sso/link", section: "account", roles: office, action: "sso_link",
			page: (*visit).account, do: (*visit).link},
		{method: http.MethodPost, path: "/account/sso/unlink", section: "account", roles: office, action: "sso_unlink",
			sensitive: true, page: (*visit).account, do: (*visit).unlink},
		{method: http.MethodGet, path: "/upload", section: "upload", roles: desk, do: (*visit).uploadPage},
		{method: http.MethodPost, path: "/upload", section: "upload", roles: desk, files: true, action: "paper_take",
			auditFields: []string{"class", "file", "size"}, page: (*visit).uploadPage, do: (*visit).takeFile},
		{method: http.MethodGet, path: "/upload/session", roles: desk, script: true, do: (*visit).formToken},
		{method: http.MethodPost, path: "/known", roles: desk, script: true, noAudit: true, do: (*visit).known},
		{method: http.MethodPost, path: "/uploads", roles: desk, script: true, raw: true, action: "upload_begin",
			auditFields: []string{"file", "size"}, do: (*visit).tus},
		{method: http.MethodHead, path: "/uploads/{upload}", roles: desk, script: true, raw: true, noAudit: true,
			do: (*visit).tus},
		{method: http.MethodPatch, path: "/uploads/{upload}", roles: desk, script: true, raw: true, noAudit: true,
			do: (*visit).tus},
		{method: http.MethodDelete, path: "/uploads/{upload}", roles: desk, script: true, raw: true,
			action: "upload_drop",
			do:     (*visit).tus},
		{method: http.MethodPost, path: "/papers/take", roles: desk, script: true, action: "paper_take",
			auditFields: []string{"upload", "class", "replaces"}, do: (*visit).takeUpload},
		{method: http.MethodGet, path: "/papers", section: "papers", roles: office, do: (*visit).papers},
		{method: http.MethodGet, path: "/papers/{paper}", section: "papers", roles: office, do: (*visit).paper},
		{method: http.MethodGet, path: "/papers/{paper}/document", section: "papers", roles: office,
			do: (*visit).paperDocument},
		{method: http.MethodPost, path: "/papers/{paper}", section: "papers", roles: desk, action: "paper_describe",
			auditFields: []string{"class", "then", "supersedes"}, page: (*visit).paper, do: (*visit).describe},
		{method: http.MethodGet, path: "/papers/{paper}/marks", section: "papers", roles: desk, do: (*visit).marks},
		{method: http.MethodPost, path: "/papers/{paper}/marks", section: "papers", roles: desk, action: "paper_mark",
			auditFields: []string{"do", "seal"}, dryRun: justLooks, page: (*visit).marks, do: (*visit).place},
		{method: http.MethodPost, path: "/papers/{paper}/recall", section: "papers", roles: desk,
			action: "paper_recall",
			page:   (*visit).paper, do: (*visit).recallPaper},
		{method: http.MethodPost, path: "/papers/{paper}/drop", section: "papers", roles: desk, action: "paper_drop",
			page: (*visit).paper, do: (*visit).dropPaper},
		{method: http.MethodPost, path: "/papers/{paper}/approve", section: "papers", roles: approvers,
			action: "paper_approve", auditFields: []string{"version"}, subject: (*visit).withdrawn,
			page: (*visit).paper,
			do:   (*visit).approve},
		{method: http.MethodPost, path: "/papers/{paper}/return", section: "papers", roles: approvers,
			action: "paper_return", auditFields: []string{"version"}, subject: (*visit).withdrawn, page: (*visit).paper,
			do: (*visit).returnPaper},

		{method: http.MethodGet, path: "/records", section: "records", roles: office, do: (*visit).records},
		{method: http.MethodGet, path: "/records/export", section: "records", roles: office,
			do: (*visit).exportRecords},
		{method: http.MethodPost, path: "/records/searches", section: "records", roles: office, action: "search_save",
			page: (*visit).records, do: (*visit).saveSearch},
		{method: http.MethodPost, path: "/records/searches/delete", section: "records", roles: office,
			action: "search_delete", page: (*visit).records, do: (*visit).deleteSearch},
		{method: http.MethodGet, path: "/records/{record}", section: "records", roles: office, do: (*visit).record},
		{method: http.MethodGet, path: "/records/{record}/live", section: "records", roles: office, background: true,
			do: (*visit).record},
		{method: http.MethodGet, path: "/records/{record}/bundle", section: "records", roles: office,
			do: (*visit).bundle},
		{method: http.MethodGet, path: "/records/{record}/certificate", section: "records", roles: office,
			do: (*visit).certificate},
		{method: http.MethodGet, path: "/records/{record}/evidence", section: "records", roles: office,
			do: (*visit).evidence},
		{method: http.MethodGet, path: "/records/{record}/document", section: "records", roles: office,
			do: (*visit).document},
		{method: http.MethodPost, path: "/records/{record}/revoke", section: "records", roles: desk,
			action: "record_revoke", auditFields: []string{"reason"}, page: (*visit).record, do: (*visit).revoke},
		{method: http.MethodGet, path: "/records/{record}/erase", section: "records", roles: admins,
			do: (*visit).erasePage},
		{method: http.MethodPost, path: "/records/{record}/erase", section: "records", roles: admins,
			action: "record_erase", auditFields: []string{"field", "all", "document", "reason"}, sensitive: true,
			page: (*visit).erasePage, do: (*visit).erase},

		{method: http.MethodGet, path: "/classes", section: "classes", roles: seesKeys, do: (*visit).classes},
		{method: http.MethodPost, path: "/classes", section: "classes", roles: admins, action: "class_adopt",
			auditFields: []string{"id"}, sensitive: true, page: (*visit).classes, do: (*visit).adoptClass},
		{method: http.MethodGet, path: "/class-new", section: "classes", roles: admins, do: (*visit).newClass},
		{method: http.MethodPost, path: "/class-new", section: "classes", roles: admins, action: "class_create",
			auditFields: classFields, sensitive: true, page: (*visit).newClass, do: (*visit).createClass},
		{method: http.MethodGet, path: "/classes/{class}", section: "classes", roles: seesKeys, do: (*visit).class},
		{method: http.MethodPost, path: "/classes/{class}", section: "classes", roles: admins, action: "class_change",
			auditFields: classFields, sensitive: true, page: (*visit).class, do: (*visit).changeClass},

		{method: http.MethodGet, path: "/bulk", section: "bulk", roles: office, do: (*visit).bulkJobs},
		{method: http.MethodPost, path: "/bulk", section: "bulk", roles: desk, action: "bulk_add",
			auditFields: []string{"class"}, streams: true, page: (*visit).bulkJobs, do: (*visit).addBulk},
		{method: http.MethodGet, path: "/bulk/template", section: "bulk", roles: office, do: (*visit).bulkTemplate},
		{method: http.MethodGet, path: "/bulk/{job}", section: "bulk", roles: office, do: (*visit).bulkJob},
		{method: http.MethodGet, path: "/bulk/{job}/rows", section: "bulk", roles: office, do: (*visit).exportBulk},
		{method: http.MethodGet, path: "/bulk/{job}/rows/{row}", section: "bulk", roles: office,
			do: (*visit).bulkDocument},
		{method: http.MethodPost, path: "/bulk/{job}/files", section: "bulk", roles: desk, action: "bulk_files",
			streams: true, page: (*visit).bulkJob, do: (*visit).addBulkFiles},
		{method: http.MethodPost, path: "/bulk/{job}/start", section: "bulk", roles: desk, action: "bulk_start",
			auditFields: []string{"partial"}, page: (*visit).bulkJob, do: (*visit).startBulk},
		{method: http.MethodPost, path: "/bulk/{job}/recall", section: "bulk", roles: desk, action: "bulk_recall",
			page: (*visit).bulkJob, do: (*visit).recallBulk},
		{method: http.MethodPost, path: "/bulk/{job}/retry", section: "bulk", roles: desk, action: "bulk_retry",
			page: (*visit).bulkJob, do: (*visit).retryBulk},
		{method: http.MethodPost, path: "/bulk/{job}/drop", section: "bulk", roles: desk, action: "bulk_drop",
			page: (*visit).bulkJob, do: (*visit).dropBulk},
		{method: http.MethodPost, path: "/bulk/{job}/approve", section: "bulk", roles: approvers,
			action: "bulk_approve",
			page:   (*visit).bulkJob, do: (*visit).approveBulk},
		{method: http.MethodPost, path: "/bulk/{job}/return", section: "bulk", roles: approvers, action: "bulk_return",
			auditFields: []string{"remark"}, page: (*visit).bulkJob, do: (*visit).returnBulk},

		{method: http.MethodGet, path: "/seals", section: "seals", roles: seesKeys, do: (*visit).stamps},
		{method: http.MethodPost, path: "/seals", section: "seals", roles: admins, files: true, action: "seal_add",
			auditFields: []string{"name", "owner", "from", "until", "certificates"}, sensitive: true,
			page: (*visit).stamps,
			do:   (*visit).addSeal},
		{method: http.MethodPost, path: "/seals/{picture}/show", section: "seals", roles: admins, action: "seal_show",
			sensitive: true, page: (*visit).stamps, do: (*visit).showSeal},
		{method: http.MethodPost, path: "/seals/{picture}/end", section: "seals", roles: admins, action: "seal_end",
			sensitive: true, page: (*visit).stamps, do: (*visit).endSeal},

		{method: http.MethodGet, path: "/keys", section: "keys", roles: seesKeys, do: (*visit).keys},
		{method: http.MethodPost, path: "/keys", section: "keys", roles: admins, action: "key_create",
			auditFields: []string{"name", "scope", "networks", "expires"}, sensitive: true, page: (*visit).keys,
			do: (*visit).createKey},
		{method: http.MethodPost, path: "/keys/{key}/rotate", section: "keys", roles: admins, action: "key_rotate",
			sensitive: true, page: (*visit).keys, do: (*visit).rotateKey},
		{method: http.MethodPost, path: "/keys/{key}/end", section: "keys", roles: admins, action: "key_end",
			page: (*visit).keys, do: (*visit).endKey},

		{method: http.MethodGet, path: "/webhooks", section: "webhooks", roles: seesKeys, do: (*visit).webhooks},
		{method: http.MethodPost, path: "/webhooks", section: "webhooks", roles: admins, action: "webhook_create",
			auditFields: webhookFields, sensitive: true, page: (*visit).webhooks, do: (*visit).createWebhook},
		{method: http.MethodGet, path: "/webhooks/{webhook}", section: "webhooks", roles: seesKeys,
			do: (*visit).webhook},
		{method: http.MethodPost, path: "/webhooks/{webhook}", section: "webhooks", roles: admins,
			action:      "webhook_change",
			auditFields: webhookFields, sensitive: true, page: (*visit).webhook, do: (*visit).changeWebhook},
		{method: http.MethodPost, path: "/webhooks/{webhook}/enabled", section: "webhooks", roles: admins,
			action: "webhook_switch", auditFields: []string{"enabled"}, sensitive: true, page: (*visit).webhook,
			do: (*visit).switchWebhook},
		{method: http.MethodPost, path: "/webhooks/{webhook}/test", section: "webhooks", roles: admins,
			action: "webhook_test", page: (*visit).webhook, do: (*visit).testWebhook},
		{method: http.MethodPost, path: "/webhooks/{webhook}/secret", section: "webhooks", roles: admins,
			action: "webhook_secret", sensitive: true, page: (*visit).webhook, do: (*visit).rotateSecret},
		{method: http.MethodPost, path: "/webhooks/{webhook}/delete", section: "webhooks", roles: admins,
			action: "webhook_delete", sensitive: true, page: (*visit).webhook, do: (*visit).deleteWebhook},
		{method: http.MethodPost, path: "/webhooks/{webhook}/replay", section: "webhooks", roles: admins,
			action: "webhook_replay", auditFields: []string{"since"}, page: (*visit).webhook, do: (*visit).replaySince},
		{method: http.MethodPost, path: "/webhooks/{webhook}/deliveries/{delivery}/replay", section: "webhooks",
			roles: admins, action: "delivery_replay", page: (*visit).webhook, do: (*visit).replay},

		{method: http.MethodGet, path: "/users", section: "users", roles: overseers, do: (*visit).users},
		{method: http.MethodPost, path: "/users", section: "users", roles: managers, action: "user_invite",
			auditFields: []string{"login", "name", "role", "agency"}, sensitive: true, page: (*visit).users,
			do: (*visit).inviteUser},
		{method: http.MethodPost, path: "/users/{user}/role", section: "users", roles: managers, action: "user_role",
			auditFields: []string{"role"}, sensitive: true, page: (*visit).users, do: (*visit).setRole},
		{method: http.MethodPost, path: "/users/{user}/disabled", section: "users", roles: managers,
			action:      "user_switch",
			auditFields: []string{"disabled"}, sensitive: true, page: (*visit).users, do: (*visit).setDisabled},
		{method: http.MethodPost, path: "/users/{user}/invite", section: "users", roles: managers,
			action: "user_invite_again", sensitive: true, page: (*visit).users, do: (*visit).inviteAgain},
		{method: http.MethodPost, path: "/users/{user}/withdraw", section: "users", roles: managers,
			action: "user_withdraw", page: (*visit).users, do: (*visit).withdraw},

		{method: http.MethodGet, path: "/sso", section: "sso", roles: seesKeys, do: (*visit).provider},
		{method: http.MethodPost, path: "/sso", section: "sso", roles: admins, action: "sso_set",
			auditFields: []string{"issuer", "client", "claim", "strength", "acr"}, sensitive: true,
			page: (*visit).provider,
			do:   (*visit).setProvider},
		{method: http.MethodPost, path: "/sso/remove", section: "sso", roles: admins, action: "sso_remove",
			sensitive: true, page: (*visit).provider, do: (*visit).removeProvider},

		{method: http.MethodGet, path: "/audit", section: "audit", roles: overseers, do: (*visit).audit},
		{method: http.MethodGet, path: "/audit/export", section: "audit", roles: overseers, do: (*visit).exportAudit},
		{method: http.MethodGet, path: "/audit/seals", section: "audit", roles: overseers, do: (*visit).seals},
		{method: http.MethodGet, path: "/audit/seals/{seal}/bundle", section: "audit", roles: overseers,
			do: (*visit).sealBundle},
		{method: http.MethodGet, path: "/audit/seals/{seal}/document", section: "audit", roles: overseers,
			do: (*visit).sealDocument},
	}
}

// classFields are the fields of a class that stand in the trail. Its schema does not: each
// version of a class is kept anyway.
var classFields = []string{"id", "zh", "en", "print", "approval", "withdrawal", "keep", "ended"}

// sections of the side bar, in their order; a role sees those that have a page for it.
var sections = []string{"overview", "upload", "papers", "bulk", "records", "classes", "seals", "keys", "webhooks",
	"users", "sso", "audit", "account"}
