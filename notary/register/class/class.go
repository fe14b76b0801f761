// Package class is what kinds of documents an agency notarizes: what each is called, which
// attributes its records have, who must approve them, what its certificates print and whether
// the original is kept.
//
// A class is never changed in place. Each change is a new version that holds from a time on,
// so that a record keeps the class that it was made under: a certificate is the same bytes
// next year.
package class

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"stele/notary"
	"stele/notary/proof/statement"
)

// Name is what something is called in the two languages of the service.
type Name struct {
	Chinese string `json:"zh"`
	English string `json:"en"`
}

// In returns the name in a language, "en" or a Chinese one.
func (n Name) In(tag string) string {
	if tag == "en" && n.English != "" || n.Chinese == "" {
		return n.English
	}
	return n.Chinese
}

// Class is one version of a document class.
type Class struct {
	ID       string          `json:"id"`     // as statements name it, see statement.ValidClass
	AgencyID string          `json:"-"`      // empty: ready-made, nobody's yet
	Name     Name            `json:"name"`   //
	Schema   json.RawMessage `json:"schema"` // of the attributes, see [ParseSchema]
	Print    []string        `json:"print"`  // attributes that the certificate prints; a title always stands there
	Approval bool            `json:"approval"`
	// a withdrawal needs a second person even where registering does not, see Rule.ByTwo
	Withdrawal bool `json:"withdrawalApproval"`
	Keep       bool `json:"keep"` // the original, in the object store
	// template of the marks on a PDF, see package stamp; empty for none
	Stamp json.RawMessage `json:"stamp,omitempty"`
	Ended bool            `json:"ended"` // no new records
	From  time.Time       `json:"from"`  // microseconds; the version holds until the next one
}

// Store keeps the versions of agencies' classes. Methods are safe for concurrent use; what
// they have returned from is durable. Classes returns the version of each class of an agency
// that holds at a time, by id. AddClass adds a version; [notary.CodeConflict] where there is one
// of the same time or later.
type Store interface {
	Classes(ctx context.Context, agencyID string, at time.Time) ([]Class, error)
	AddClass(ctx context.Context, c Class) error
}

// Changed is the answer to a version that is not later than one that is there. Stores use it.
func Changed() error {
	return notary.Errorf(notary.CodeConflict,
		"Somebody else has just changed this class. Look at it again. Nothing was saved.")
}

// Limits of a class.
const (
	maxName   = 60       // bytes of a name in one language
	maxSchema = 16 << 10 // bytes
	maxStamp  = 4 << 10  // bytes
)

// General is the class that every agency has: a document with a title and nothing else.
const General = "general"

//go:embed ready/*.json
var readyFiles embed.FS

// ready are the classes for the uses that grew on BSN. An agency takes one over and may
// change it then.
var ready = mustReady()

func mustReady() []Class {
	files, err := readyFiles.ReadDir("ready")
	if err != nil {
		panic(err)
	}
	out := make([]Class, len(files))
	for i, f := range files {
		text, err := readyFiles.ReadFile("ready/" + f.Name())
		if err == nil {
			err = json.Unmarshal(text, &out[i])
		}
		if err == nil {
			err = out[i].Check()
		}
		if err != nil {
			panic(fmt.Sprintf("%s: %v", f.Name(), err)) // a test reads them all
		}
	}
	slices.SortFunc(out, func(a, b Class) int { return order(a.ID, b.ID) })
	return out
}

// order puts the general class first.
func order(a, b string) int {
	if (a == General) != (b == General) {
		if a == General {
			return -1
		}
		return 1
	}
	return strings.Compare(a, b)
}

// Ready are the ready-made classes, the general one first.
func Ready() []Class { return slices.Clone(ready) }

// Check refuses a class that is out of form.
func (c Class) Check() error {
	switch {
	case c.ID == notary.TrailClass:
		return notary.InvalidField("id", "The class %q is the service's own. Nothing was saved.", c.ID)
	case !statement.ValidClass(c.ID):
		return notary.InvalidField("id",
			"A class is named with 1 to %d of a-z, 0-9 and -, beginning with a letter. Nothing was saved.",
			statement.MaxClassName)
	case !notary.ValidLine(c.Name.Chinese, maxName) || !notary.ValidLine(c.Name.English, maxName):
		return notary.InvalidField("name",
			"A class has a name in both languages, of at most %d bytes, with %s. Nothing was saved.", maxName,
			notary.TextRule)
	case len(bytes.TrimSpace(c.Schema)) == 0 || string(bytes.TrimSpace(c.Schema)) == "null":
		return notary.InvalidField("schema",
			`A class needs a schema of its attributes; one without any is {"type":"object","properties":{}}. Nothing `+
				`was saved.`)
	case len(c.Schema) > maxSchema:
		return notary.InvalidField("schema", "A schema has at most %d bytes. Nothing was saved.", maxSchema)
	case len(c.Stamp) > maxStamp:
		return notary.InvalidField("stamp", "A stamp's template has at most %d bytes. Nothing was saved.", maxStamp)
	case len(c.Stamp) > 0 && !json.Valid(c.Stamp):
		return notary.InvalidField("stamp", "A stamp's template is JSON. Nothing was saved.")
	case len(c.Stamp) > 0 && !c.Keep:
		return notary.InvalidField("keep",
			"What is stamped here is kept here: nobody else has the stamped file. Nothing was saved.")
	}
	// This and the texts below are looked at here and not in ParseSchema: classes that are in use
	// already must stay readable.
	if err := checkPatterns(c.Schema); err != nil {
		return err
	}
	s, err := ParseSchema(c.Schema)
	if err != nil {
		return err
	}
	for _, p := range s.Properties {
		for _, text := range append([]string{p.Title.Chinese, p.Title.English, p.Hint.Chinese, p.Hint.English},
			p.Enum...) {
			if !notary.ValidLines(text, maxSchema) {
				return badSchema("The texts of the attribute %q have %s", p.Name, notary.TextRule)
			}
		}
	}
	for _, name := range c.Print {
		if !slices.ContainsFunc(s.Properties, func(p Property) bool { return p.Name == name }) {
			return notary.InvalidField("print",
				"The certificate can print attributes of the schema; %q is none. Nothing was saved.", name)
		}
	}
	return nil
}

// Book finds agencies' classes. It is safe for concurrent use.
type Book struct {
	store Store
	now   func() time.Time
	rules rules
}

// NewBook returns the classes that a store has.
func NewBook(store Store, now func() time.Time) *Book {
	return &Book{store: store, now: now, rules: rules{byAgency: map[string]agencyRules{}}}
}

// Own are the classes of an agency at a time, the general one first. It is always there; the others
// are those that the agency has taken over or made. Ended ones are among them.
func (b *Book) Own(ctx context.Context, agencyID string, at time.Time) ([]Class, error) {
	list, err := b.store.Classes(ctx, agencyID, at)
	if err != nil {
		return nil, notary.Wrap(notary.CodeUnavailable, err, "The document classes cannot be read. Try again.")
	}
	if !slices.ContainsFunc(list, func(c Class) bool { return c.ID == General }) {
		list = append(list, general)
	}
	slices.SortFunc(list, func(a, b Class) int { return order(a.ID, b.ID) })
	return list, nil
}

var general = ready[0]

// Open are an agency's classes that new records can have, now.
func (b *Book) Open(ctx context.Context, agencyID string) ([]Class, error) {
	list, err := b.Own(ctx, agencyID, b.now())
	return slices.DeleteFunc(list, func(c Class) bool { return c.Ended }), err
}

// Offered are the ready-made classes that an agency does not have.
func (b *Book) Offered(ctx context.Context, agencyID string) ([]Class, error) {
	own, err := b.Own(ctx, agencyID, b.now())
	return slices.DeleteFunc(Ready(), func(c Class) bool { return has(own, c.ID) }), err
}

func has(list []Class, id string) bool {
	return slices.ContainsFunc(list, func(c Class) bool { return c.ID == id })
}

// Find returns an agency's class now; [notary.CodeNotFound] for one that it does not have.
func (b *Book) Find(ctx context.Context, agencyID, id string) (Class, error) {
	return b.At(ctx, agencyID, id, b.now())
}

// At returns an agency's class as it was at a time.
func (b *Book) At(ctx context.Context, agencyID, id string, at time.Time) (Class, error) {
	list, err := b.Own(ctx, agencyID, at)
	if err != nil {
		return Class{}, err
	}
	i := slices.IndexFunc(list, func(c Class) bool { return c.ID == id })
	if i < 0 {
		return Class{}, notary.Errorf(notary.CodeNotFound, "The agency has no such document class.")
	}
	return list[i], nil
}

// Put makes a version of a class that holds from now on.
func (b *Book) Put(ctx context.Context, c Class) error {
	if err := c.Check(); err != nil {
		return err
	}
	c.From = b.now().UTC().Truncate(time.Millisecond) // as statements are dated
	err := b.store.AddClass(ctx, c)
	b.rules.forget(c.AgencyID)
	if err != nil && notary.CodeOf(err) != notary.CodeConflict {
		err = notary.Wrap(notary.CodeUnavailable, err,
			"The class cannot be saved. Look whether it is there before you try again.")
	}
	return err
}
