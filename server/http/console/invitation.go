package console

import (
	"net/http"
	"time"

	"stele/notary"
	"stele/notary/office/people"
)

// InvitationLink is the address that an invited person opens, below the service's URL.
func InvitationLink(publicURL, token string) string {
	return publicURL + folder + "/invitation/" + token
}

// invitationForm is the page of a one-time link: who is invited, and how they want to sign in.
type invitationForm struct {
	User     people.User
	Agency   notary.Agency // zero for operators
	By       string
	Until    time.Time
	Token    string
	Provider string // host of the agency's single sign-on; empty without one
}

// invited finds who the link invites. For every link that is not open there is one page, which
// says what to do and not which of the reasons it was.
func (v *visit) invited() (invitationForm, error) {
	form := invitationForm{Token: v.param("token")}
	i, u, err := v.People.Invited(v.r.Context(), form.Token)
	if err != nil {
		return form, err
	}
	form.User, form.By, form.Until = u, i.By, i.ExpiresAt
	if u.AgencyID == "" {
		return form, nil
	}
	if form.Agency, err = v.Agencies.Agency(v.r.Context(), u.AgencyID); err != nil {
		return form, notary.Wrap(notary.CodeUnavailable, err, "The agencies cannot be read at the moment; try again.")
	}
	form.Provider, err = v.providerHost(u.AgencyID)
	return form, err
}

// invitation shows the page. Looking does not use the link up.
func (v *visit) invitation() error {
	form, err := v.invited()
	if notary.CodeOf(err) == notary.CodeNotFound {
		v.status = http.StatusNotFound
		return v.show("message", "console.invitation.title", message{Heading: v.t("console.invitation.closed"),
			Next: v.t("console.invitation.closed_next")})
	} else if err != nil {
		return err
	}
	return v.show("invitation", "console.invitation.title", form)
}

// acceptInvitation takes the password and signs the person in; whoever needs a second factor
// is led to it.
func (v *visit) acceptInvitation() error {
	password := v.r.PostFormValue("password")
	if password != v.r.PostFormValue("again") {
		return notary.InvalidField("again", "The two new passwords differ.")
	}
	u, err := v.People.Accept(v.r.Context(), v.param("token"), password, network(v.r))
	if notary.CodeOf(err) == notary.CodeNotFound {
		return v.invitation()
	} else if err != nil {
		return err
	}
	return v.enter(u.ID)
}

// acceptBySSO leads to the agency's provider, and back to [visit.backFromSSO].
func (v *visit) acceptBySSO() error {
	form, err := v.invited()
	if notary.CodeOf(err) == notary.CodeNotFound {
		return v.invitation()
	} else if err != nil {
		return err
	}
	return v.leave(form.User.AgencyID, way{Purpose: toAccept, Token: form.Token})
}
