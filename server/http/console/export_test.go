package console

import (
	"stele/notary"
	"stele/notary/issue/archive"
	"stele/notary/office/bulk"
	"stele/notary/office/people"
)

// Route is a line of the table, for the test that goes through all of them.
type Route struct {
	Method, Path string
	Roles        []people.Role
	Open         bool
	Act          people.Action
	Tells        []string
	HasPage      bool
	Sensitive    bool
	Script       bool
	Quiet        bool
}

// Table returns the table of routes.
func Table() []Route {
	var out []Route
	for _, rt := range table() {
		out = append(out, Route{rt.method, folder + rt.path, rt.roles, rt.public, rt.action, rt.auditFields,
			rt.page != nil,
			rt.sensitive, rt.script, rt.noAudit})
	}
	return out
}

// ReadPlace reads a place in a list of deliveries and writes it again.
func ReadPlace(s string) (again string, ok bool) {
	p, err := parsePlace(s)
	if err != nil || p == nil {
		return "", false
	}
	return formatPlace(p.CreatedAt, p.EventID), true
}

// ReadSearch reads what narrows a list of records.
func ReadSearch(text, class, state, from, to, before string) (archive.Filter, bool) {
	return search{Text: text, Class: class, State: state, From: from, To: to, Before: before}.filter("agency",
		notary.Progress{Received: 30, Logged: 20, Anchored: 10})
}

// Printable and Plain are what keeps a form's text in line.
var (
	Printable = printable
	Plain     = bulk.Plain
	Local     = local
)

// DeskLists are the lists of the desk.
var DeskLists = deskLists
