package console

import (
	"stele/notary"
	"stele/notary/office/people"
)

// providerPage is the agency's single sign-on as it is set up.
type providerPage struct {
	Set       bool
	Provider  people.Provider
	Strengths []people.Strength
	Redirect  string // to be registered at the provider
	Value     func(name, kept string) string
}

func (v *visit) provider() error {
	p, ok, err := v.People.Provider(v.r.Context(), v.agency.ID)
	if err != nil {
		return err
	}
	if !ok {
		p.Claim, p.Strength = "email", people.StrengthNever
	}
	page := providerPage{Set: ok, Provider: p, Strengths: people.Strengths, Redirect: v.redirectURI()}
	page.Value = func(name, kept string) string { // what was typed, into a form that is shown again
		if v.problem != "" && v.route.action == actSetProvider {
			return v.r.PostFormValue(name)
		}
		return kept
	}
	return v.show("sso", "console.section.sso", page)
}

const actSetProvider people.Action = "sso_set"

func (v *visit) setProvider() error {
	ctx := v.r.Context()
	p, err := v.People.CheckProvider(ctx, people.Provider{AgencyID: v.agency.ID, Issuer: v.typed("issuer"),
		ClientID: v.typed("client"), Claim: v.typed("claim"),
		Strength: people.Strength(v.typed("strength")), ACR: v.typed("acr")}, v.typed("secret"))
	if err != nil {
		return err
	}
	if err := v.SSO.Check(ctx, p.Issuer); err != nil {
		return err
	}
	if err := v.People.SetProvider(ctx, p); err != nil {
		return err
	}
	return v.done(folder+"/sso", "sso_set")
}

func (v *visit) removeProvider() error {
	_, ok, err := v.People.Provider(v.r.Context(), v.agency.ID)
	if err != nil {
		return err
	}
	if !ok {
		return notary.Errorf(notary.CodeConflict, "There is no single sign-on.")
	}
	if err := v.People.RemoveProvider(v.r.Context(), v.agency.ID); err != nil {
		return err
	}
	return v.done(folder+"/sso", "sso_removed")
}
