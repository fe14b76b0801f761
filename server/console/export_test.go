package console

import "stele/notary/people"

// Route is a line of the table, for the test that goes through all of them.
type Route struct {
	Method, Path string
	Roles        []people.Role
	Open         bool
	Act          people.Act
	Tells        []string
	HasPage      bool
	Sensitive    bool
}

// Table returns the table of routes.
func Table() []Route {
	var out []Route
	for _, rt := range table() {
		out = append(out, Route{rt.method, folder + rt.path, rt.roles, rt.open, rt.act, rt.tells, rt.page != nil, rt.sensitive})
	}
	return out
}

// Printable and Plain are what keeps a form's text in line.
var (
	Printable = printable
	Plain     = plain
	Local     = local
)
