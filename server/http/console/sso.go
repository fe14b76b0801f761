package console

import (
	"errors"
	"html/template"
	"net/url"
	"strings"

	"stele/notary"
	"stele/notary/office/people"
	"stele/server/auth/sso"
)

// What somebody goes to their agency's provider for.
const (
	toSignIn  = "sign in"
	toConfirm = "confirm"
	toLink    = "link"
	toAccept  = "accept"
)

// Kinds of attempts with providers.
const (
	kindAway = "away at a provider"
	kindLink = "identity of " // a user id follows
)

// way is what is kept while somebody is away at a provider.
type way struct {
	Purpose  string  `json:"purpose"`
	AgencyID string  `json:"agency"`
	UserID   string  `json:"user,omitempty"`  // who is signed in, for toConfirm and toLink
	Token    string  `json:"token,omitempty"` // of the invitation, for toAccept
	Next     string  `json:"next,omitempty"`  // where to go afterwards
	OIDC     sso.Way `json:"oidc"`
}

var errNoSSO = notary.InvalidField("no_sso", "This agency has no single sign-on.")

// providerHost is what people know the agency's provider by, or nothing without one.
func (v *visit) providerHost(agencyID string) (string, error) {
	if agencyID == "" {
		return "", nil
	}
	p, ok, err := v.People.Provider(v.r.Context(), agencyID)
	if err != nil || !ok {
		return "", err
	}
	return hostOf(p.Issuer), nil
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}

// redirectURI is where providers send people back to, exactly as it is registered there.
func (c *Console) redirectURI() string {
	return strings.TrimSuffix(c.PublicURL, "/") + folder + "/sign-in/sso/callback"
}

func (v *visit) providerSettings(agencyID string) (sso.Settings, error) {
	p, ok, err := v.People.Provider(v.r.Context(), agencyID)
	switch {
	case err != nil:
		return sso.Settings{}, err
	case !ok:
		return sso.Settings{}, errNoSSO
	}
	secret, err := v.People.ClientSecret(p)
	if err != nil {
		return sso.Settings{}, notary.Wrap(notary.CodeInternal, err, "The client's secret cannot be read.")
	}
	return sso.Settings{Provider: p, Secret: secret, Redirect: v.redirectURI()}, nil
}

// leavePage tells that the person goes to another site, and which. The browser follows by
// itself: not by a redirect, since the policy lets forms lead to no other site.
type leavePage struct {
	Host string
	To   template.URL // of the provider's authorization endpoint, whose scheme was checked
}

func (v *visit) leave(agencyID string, w way) error {
	s, err := v.providerSettings(agencyID)
	if err != nil {
		return err
	}
	w.AgencyID, w.OIDC = agencyID, v.SSO.NewWay(s, w.Purpose == toConfirm)
	state, err := v.keep(kindAway, w)
	if err != nil {
		return err
	}
	to, err := v.SSO.Address(v.r.Context(), s, w.OIDC, state)
	if err != nil {
		return err
	}
	v.rw.Header().Set("Refresh", "0; url="+to)
	return v.show("leave", "console.sso.title", leavePage{hostOf(to), template.URL(to)})
}

// ssoForm asks for the agency, by whose provider the person signs in.
type ssoForm struct{ Agency, Next string }

func (v *visit) ssoPage() error {
	return v.show("sso_sign_in", "console.sign_in.title", ssoForm{v.r.FormValue("agency"), v.next()})
}

func (v *visit) beginSSO() error {
	a, err := v.Agencies.Agency(v.r.Context(), strings.ToUpper(v.typed("agency")))
	if errors.Is(err, notary.ErrNotFound) || err == nil && v.typed("agency") == "" {
		return errNoSSO // like an agency without
	} else if err != nil {
		return notary.Wrap(notary.CodeUnavailable, err, "The agencies cannot be read at the moment; try again.")
	}
	return v.leave(a.ID, way{Purpose: toSignIn, Next: v.next()})
}

// backFromSSO is where a provider sends the person. The state names an attempt of this very
// browser, which is over now whatever comes of it.
func (v *visit) backFromSSO() error {
	ctx, q := v.r.Context(), v.r.URL.Query()
	var w way
	if err := v.take(kindAway, q.Get("state"), &w); err != nil {
		return err
	}
	if w.UserID != "" {
		if in, err := v.identify(); err != nil {
			return err
		} else if !in || v.user.ID != w.UserID {
			return people.ErrNoAttempt // somebody else is signed in by now
		}
		v.route.page = (*visit).account
	}
	s, err := v.providerSettings(w.AgencyID)
	if err != nil {
		return err
	}
	id, err := v.SSO.Finish(ctx, s, w.OIDC, q)
	if err != nil {
		v.ssoRefused(w, err)
		return err
	}
	switch w.Purpose {
	case toSignIn:
		return v.signInSSO(s, id, w)
	case toConfirm:
		return v.confirmedBySSO(s, id, w)
	case toLink:
		return v.showLink(id)
	}
	u, err := v.People.AcceptIdentity(ctx, s.Provider, w.Token, id, network(v.r))
	if err != nil {
		v.ssoRefused(w, err)
		return err
	}
	return v.enterBySSO(u, id, folder)
}

// ssoRefused leaves a trail of what a provider said that did not hold, or was of nobody here.
func (v *visit) ssoRefused(w way, why error) {
	d := people.AuditEvent{AgencyID: w.AgencyID, UserID: v.user.ID, Login: v.user.Login, Role: v.user.Role,
		Act: people.ActNobody, Detail: printable("to="+w.Purpose+"; "+why.Error(), maxDetail),
		Network: network(v.r), Outcome: string(notary.CodeOf(why))}
	if err := v.People.Note(v.r.Context(), d); err != nil {
		v.Log.ErrorContext(v.r.Context(), "a refused single sign-on could not be noted", "error", err)
	}
}

func (v *visit) signInSSO(s sso.Settings, id people.Identity, w way) error {
	ctx := v.r.Context()
	u, err := v.People.WhoIs(ctx, s.Provider, id)
	if err != nil {
		v.ssoRefused(w, err)
		return err
	}
	code, err := v.People.SignInIdentity(ctx, u, id, network(v.r))
	if err != nil {
		return err
	}
	if code {
		if err := v.begin(u, stageCode); err != nil {
			return err
		}
		return v.redirect(folder + "/code?next=" + queryEscape(w.Next))
	}
	return v.enterBySSO(u, id, w.Next)
}

func (v *visit) enterBySSO(u people.User, id people.Identity, next string) error {
	if err := v.begin(u, stageIn); err != nil {
		return err
	}
	if id.Strong {
		v.sessions.Put(v.r.Context(), sessionStrong, "yes")
	}
	return v.redirect(next)
}

// confirmBySSO sends the person to the provider, who must ask again who they are.
func (v *visit) confirmBySSO() error {
	if !v.user.Linked {
		return people.ErrNotLinked
	}
	return v.leave(v.agency.ID, way{Purpose: toConfirm, UserID: v.user.ID, Next: v.comesFrom()})
}

func (v *visit) confirmedBySSO(s sso.Settings, id people.Identity, w way) error {
	u, err := v.People.WhoIs(v.r.Context(), s.Provider, id)
	if err == nil && u.ID != v.user.ID {
		err = people.ErrNotLinked
	}
	if err != nil {
		v.ssoRefused(w, err)
		return err
	}
	v.refresh()
	return v.redirect(w.Next)
}

func (v *visit) beginLink() error {
	return v.leave(v.agency.ID, way{Purpose: toLink, UserID: v.user.ID})
}

// linkForm shows who the provider says that the person is: at a shared computer it may be
// somebody else.
type linkForm struct {
	people.Identity
	Host, Attempt string
}

func (v *visit) showLink(id people.Identity) error {
	name, err := v.keep(kindLink+v.user.ID, id)
	if err != nil {
		return err
	}
	return v.show("sso_link", "console.sso.title", linkForm{id, hostOf(id.Issuer), name})
}

func (v *visit) link() error {
	var id people.Identity
	if err := v.take(kindLink+v.user.ID, v.r.PostFormValue("attempt"), &id); err != nil {
		return err
	}
	s, err := v.providerSettings(v.agency.ID)
	if err != nil {
		return err
	}
	if err := v.People.Link(v.r.Context(), s.Provider, v.user.ID, id); err != nil {
		return err
	}
	return v.done(folder+"/account", "sso_linked")
}

func (v *visit) unlink() error {
	if err := v.People.Unlink(v.r.Context(), v.user.ID); err != nil {
		return err
	}
	return v.done(folder+"/account", "sso_unlinked")
}
