package archive

import (
	"errors"
	"strings"

	"golang.org/x/text/unicode/norm"

	"stele/notary"
)

// Fold writes a text as it is compared in a search: full-width and half-width forms, capital
// and small letters are the same (Unicode normalization form KC).
func Fold(s string) string { return strings.ToLower(norm.NFKC.String(s)) }

// Names of attributes that a search knows: whoever handed a record in stands in one, and what
// begins with the prefix is no text of the document's.
const (
	fieldPerson  = "originSystem"
	originPrefix = "origin"
)

// Matches reports whether a record has the filter's text in its title, its file name, another
// attribute of the document or its reference, and its person in who handed it in. Erased
// attributes have no text.
func (f Filter) Matches(r notary.Record) bool {
	text, person := Fold(f.Text), Fold(f.Person)
	found, handed := text == "" || strings.Contains(Fold(r.Reference), text), person == ""
	for _, x := range r.Fields {
		switch {
		case x.Name == fieldPerson:
			handed = handed || strings.Contains(Fold(x.Value), person)
		case !strings.HasPrefix(x.Name, originPrefix):
			found = found || strings.Contains(Fold(x.Value), text)
		}
	}
	return found && handed
}

// Tally is how many records a search found, by state and by standing.
type Tally struct {
	States    map[notary.State]int
	Standings map[notary.Standing]int
	More      bool // there are more than were counted
}

// NewTally returns a tally of nothing.
func NewTally() Tally {
	return Tally{States: map[notary.State]int{}, Standings: map[notary.Standing]int{}}
}

// Add counts n records.
func (t Tally) Add(state notary.State, standing notary.Standing, n int) {
	t.States[state] += n
	t.Standings[standing] += n
}

// Search is a search that somebody named to do it again.
type Search struct {
	Name  string
	Query string // as it stands in an address
}

// ErrTooMany means that somebody has as many saved searches as there may be.
var ErrTooMany = errors.New("too many saved searches")
