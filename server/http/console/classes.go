package console

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"stele/notary"
	"stele/notary/office/stamp"
	"stele/notary/register/class"
)

// classesPage lists the agency's document classes.
type classesPage struct {
	Own     []classLine
	Offered []classLine
}

// classLine is a class with its name in the language of the page.
type classLine struct {
	class.Class
	Called     string
	Attributes []string
}

func (v *visit) lineOf(c class.Class) classLine {
	l := classLine{Class: c, Called: c.Name.In(v.texts.Tag)}
	if s, err := class.ParseSchema(c.Schema); err == nil {
		for _, p := range s.Properties {
			name := p.Title.In(v.texts.Tag)
			if name == "" {
				name = p.Name
			}
			l.Attributes = append(l.Attributes, name)
		}
	}
	return l
}

func (v *visit) classes() error {
	own, err := v.Classes.Own(v.r.Context(), v.agency.ID, v.Now())
	if err != nil {
		return err
	}
	offered, err := v.Classes.Offered(v.r.Context(), v.agency.ID)
	if err != nil {
		return err
	}
	var page classesPage
	for _, c := range own {
		page.Own = append(page.Own, v.lineOf(c))
	}
	for _, c := range offered {
		page.Offered = append(page.Offered, v.lineOf(c))
	}
	return v.show("classes", "console.section.classes", page)
}

// classPage is the form of one class; New is one that there is not yet.
type classPage struct {
	classLine
	New    bool
	Schema string // as it is shown, or was typed
	Print  string
	Plan   string // of marks
}

func (v *visit) class() error {
	c, err := v.Classes.Find(v.r.Context(), v.agency.ID, v.param("class"))
	if err != nil {
		return err
	}
	return v.classForm(c, false)
}

// emptySchema is where a new class begins.
const emptySchema = `{"type":"object","properties":{"applicant":{"type":"string","title":"申请人","titleEn":"Applicant","maxLength":100}},"required":["applicant"],"additionalProperties":false}`

func (v *visit) newClass() error {
	return v.classForm(class.Class{Keep: true, Schema: json.RawMessage(emptySchema)}, true)
}

func (v *visit) classForm(c class.Class, isNew bool) error {
	page := classPage{classLine: v.lineOf(c), New: isNew, Print: strings.Join(c.Print, " "), Plan: string(c.Stamp)}
	var b bytes.Buffer
	if len(c.Schema) == 0 || json.Indent(&b, c.Schema, "", "  ") != nil {
		b.Reset()
		b.Write(c.Schema)
	}
	page.Schema = b.String()
	if v.problem != "" {
		page.Schema, page.Print, page.Plan = v.r.PostFormValue("schema"), v.r.PostFormValue("print"),
			v.r.PostFormValue("stamp")
		page.Approval, page.Withdrawal, page.Keep, page.Ended = v.typed("approval") != "", v.typed("withdrawal") != "",
			v.typed("keep") != "", v.typed("ended") != ""
	}
	return v.show("class", "console.class.title", page)
}

// adoptClass takes a ready-made class over.
func (v *visit) adoptClass() error {
	ready := class.Ready()
	i := slices.IndexFunc(ready, func(c class.Class) bool { return c.ID == v.typed("id") })
	if i < 0 {
		return notary.InvalidField("id", "There is no such ready-made class.")
	}
	c := ready[i]
	c.AgencyID = v.agency.ID
	if err := v.Classes.Put(v.r.Context(), c); err != nil {
		return err
	}
	return v.done(folder+"/classes/"+c.ID, "class_adopted")
}

// putClass saves what the form says.
func (v *visit) putClass(id string) error {
	c := class.Class{ID: id, AgencyID: v.agency.ID, Name: class.Name{Chinese: v.typed("zh"), English: v.typed("en")},
		Schema: json.RawMessage(v.typed("schema")),
		Print:  strings.Fields(v.typed("print")), Approval: v.typed("approval") != "",
		Withdrawal: v.typed("withdrawal") != "", Keep: v.typed("keep") != "", Ended: v.typed("ended") != ""}
	if text := v.typed("stamp"); text != "" {
		if _, err := stamp.ParsePlan([]byte(text)); err != nil {
			return notary.InvalidField("stamp", "The template of marks is no plan: %s. Nothing was saved.", err)
		}
		c.Stamp = json.RawMessage(text)
	}
	return v.Classes.Put(v.r.Context(), c)
}

func (v *visit) createClass() error {
	id := v.typed("id")
	if _, err := v.Classes.Find(v.r.Context(), v.agency.ID, id); err == nil && id != class.General {
		return notary.InvalidField("id", "There is a class of this name.")
	}
	if err := v.putClass(id); err != nil {
		return err
	}
	return v.done(folder+"/classes/"+id, "class_saved")
}

func (v *visit) changeClass() error {
	old, err := v.Classes.Find(v.r.Context(), v.agency.ID, v.param("class"))
	if err != nil {
		return err
	}
	if err := v.putClass(old.ID); err != nil {
		return err
	}
	return v.done(folder+"/classes/"+old.ID, "class_saved")
}
