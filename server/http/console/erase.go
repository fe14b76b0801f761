package console

import (
	"net/http"
	"slices"
	"strings"

	"stele/notary"
	"stele/notary/register/erasure"
)

// erasePage is where attributes are chosen, and, once they are, what will happen to them.
type erasePage struct {
	Number   string
	Title    string
	There    []notary.Field // attributes that can be erased
	Erased   []string       // names of those that were
	Stored   bool
	Chosen   []string // names; with Look these are to be erased
	All      bool     // every attribute that is there was chosen, and so the reference goes too
	Document bool
	Ref      bool // there is a reference
	Named    func(attribute string) string
	Look     bool // the second page
}

// erasePage shows the choice, or, with look, what it means. A form that is refused comes back
// to the second page.
func (v *visit) erasePage() error {
	rec, err := v.findRecord()
	if err != nil {
		return err
	}
	if err := v.r.ParseForm(); err != nil {
		return errBadForm
	}
	page := erasePage{Number: rec.Number, Title: fieldOf(rec, "title"), Erased: erasure.Names(rec), Stored: rec.Stored,
		Ref: rec.Reference != ""}
	if page.Named, err = v.attributeNames(rec); err != nil {
		return err
	}
	for _, f := range rec.Fields {
		if len(f.Salt) > 0 {
			page.There = append(page.There, f)
			if slices.Contains(v.r.Form["field"], f.Name) {
				page.Chosen = append(page.Chosen, f.Name)
			}
		}
	}
	slices.SortFunc(page.There, func(a, b notary.Field) int { return strings.Compare(a.Name, b.Name) })
	slices.Sort(page.Chosen)
	page.All = len(page.Chosen) == len(page.There) && len(page.There) > 0
	page.Document = rec.Stored && v.r.Form.Get("document") == "yes"
	look := v.r.Form.Get("look") == "yes"
	page.Look = look && (len(page.Chosen) > 0 || page.Document)
	// the first page again, which must not look like a button that does nothing
	if look && !page.Look && v.problem == "" && (len(page.There) > 0 || page.Stored) {
		v.status, v.field, v.problem = http.StatusUnprocessableEntity, "field", v.t("console.erase.choose")
	}
	return v.show("erase", "console.erase.heading", page)
}

// erase does what the second page said.
func (v *visit) erase() error {
	rec, err := v.findRecord()
	if err != nil {
		return err
	}
	q := erasure.Request{AgencyID: v.agency.ID, Record: rec.ID, Names: v.r.PostForm["field"],
		Document: v.r.PostFormValue("document") == "yes", All: v.r.PostFormValue("all") == "yes",
		Reason: v.typed("reason"), By: v.user.Login}
	res, err := v.Eraser.Erase(v.r.Context(), q)
	if err != nil {
		return err
	}
	if res.Retained {
		return v.done(folder+"/records/"+rec.Number, "erased_retained")
	}
	return v.done(folder+"/records/"+rec.Number, "erased")
}
