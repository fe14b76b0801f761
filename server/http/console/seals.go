package console

import (
	"encoding/base64"
	"errors"
	"html/template"
	"io"

	"stele/notary"
	"stele/notary/issue/certificate"
	"stele/notary/office/stamp"
)

// stampsPage are the agency's seals and what was stamped with them.
type stampsPage struct {
	Seals []sealLine
	Uses  []useLine
	Older string // address of the next page, or empty
}

// sealLine is a seal with its picture.
type sealLine struct {
	notary.Seal
	Picture template.URL
	Valid   bool
	Over    bool // given up, or its validity is over
}

type useLine struct {
	notary.SealUse
	Name string // of the seal
}

const usesShown = 30

func (v *visit) stamps() error {
	ctx := v.r.Context()
	seals, err := v.SealBook.Seals(ctx, v.agency.ID)
	if err != nil {
		return sealsDown(err)
	}
	uses, err := v.SealBook.SealUses(ctx, v.agency.ID, "", v.r.URL.Query().Get("before"), usesShown+1)
	if err != nil {
		return sealsDown(err)
	}
	var page stampsPage
	names := map[string]string{}
	for _, s := range seals {
		now := v.Now()
		names[s.ID] = s.Name
		page.Seals = append(page.Seals,
			sealLine{s, template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(s.PNG)),
				s.ValidAt(now),
				!s.Ended.IsZero() || !s.Until.IsZero() && !now.Before(s.Until)})
	}
	if len(uses) > usesShown {
		uses = uses[:usesShown]
		page.Older = folder + "/seals?before=" + uses[usesShown-1].ID
	}
	for _, u := range uses {
		page.Uses = append(page.Uses, useLine{u, names[u.SealID]})
	}
	return v.show("stamps", "console.section.seals", page)
}

func sealsDown(err error) error {
	var known *notary.Error
	if errors.As(err, &known) {
		return err
	}
	if errors.Is(err, notary.ErrNotFound) {
		return notary.Errorf(notary.CodeNotFound, "There is no such seal of this agency.")
	}
	return notary.Wrap(notary.CodeUnavailable, err,
		"The seals cannot be reached at the moment; look what is there before you try again.")
}

// addSeal keeps a picture as a seal. Whether a licensed authority holds its key nobody can say
// here: what is added by a page is a demonstration seal, and bears the words, until the operator
// says otherwise.
func (v *visit) addSeal() error {
	f := v.file()
	if f == nil || f.Size == 0 || f.Size > certificate.MaxSealBytes {
		return notary.InvalidField("image", "A seal is a PNG of at most %d bytes. Nothing was saved.",
			certificate.MaxSealBytes)
	}
	body, err := f.Open()
	if err != nil {
		return err
	}
	defer body.Close()
	data, err := io.ReadAll(io.LimitReader(body, certificate.MaxSealBytes+1))
	if err != nil {
		return err
	}
	png, err := certificate.NormalizeSeal(data)
	if err != nil {
		return notary.InvalidField("image", "The picture cannot be used: %s. Nothing was saved.", err)
	}
	from, until, ok := period(v.typed("from"), v.typed("until"))
	if !ok {
		return notary.InvalidField("until", "The days of validity are not in form. Nothing was saved.")
	}
	if from.IsZero() {
		from = v.Now()
	}
	seal := notary.Seal{ID: stamp.NewSealID(), AgencyID: v.agency.ID, Name: v.typed("name"), Owner: v.typed("owner"),
		PNG: png, Demonstration: true, From: from, Until: until}
	if err := seal.Check(); err != nil {
		return err
	}
	if _, err := v.SealBook.AddSeal(v.r.Context(), seal, v.typed("certificates") != ""); err != nil {
		return sealsDown(err)
	}
	return v.done(folder+"/seals", "seal_added")
}

func (v *visit) showSeal() error {
	if _, err := v.SealBook.ShowSeal(v.r.Context(), v.agency.ID, v.param("picture")); err != nil {
		return sealsDown(err)
	}
	return v.done(folder+"/seals", "seal_shown")
}

func (v *visit) endSeal() error {
	if _, err := v.SealBook.EndSeal(v.r.Context(), v.agency.ID, v.param("picture")); err != nil {
		return sealsDown(err)
	}
	return v.done(folder+"/seals", "seal_ended")
}
