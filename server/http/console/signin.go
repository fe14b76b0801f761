package console

import "stele/notary"

// signInForm is the page for name and password, and the one for the code.
type signInForm struct {
	Next     string // where to go afterwards
	Code     bool
	Takes    bool // codes: of an app, or for recovery
	Passkeys bool // may be used
}

// next is where the person wanted to go, if that is a page of ours.
func (v *visit) next() string {
	if to := v.r.FormValue("next"); local(to) {
		return to
	}
	return folder
}

func (v *visit) signInPage() error {
	return v.show("sign_in", "console.sign_in.title", signInForm{Next: v.next(), Passkeys: v.passkeys != nil})
}

// signIn takes name and password. With a second factor the session is good for its page only.
func (v *visit) signIn() error {
	u, err := v.People.SignIn(v.r.Context(), v.r.PostFormValue("login"), v.r.PostFormValue("password"), network(v.r))
	if err != nil {
		return err
	}
	if !u.HasFactor() {
		return v.enter(u.ID)
	}
	if err := v.begin(u, stageCode); err != nil {
		return err
	}
	return v.redirect(folder + "/code?next=" + queryEscape(v.next()))
}

// halfIn is the user whose password was right, a short while ago, and whose code is
// outstanding; or nobody.
func (v *visit) halfIn() string {
	ctx := v.r.Context()
	if v.sessions.GetString(ctx, sessionStage) != stageCode || !v.fresh() {
		return ""
	}
	return v.sessions.GetString(ctx, sessionUser)
}

func (v *visit) codePage() error {
	id := v.halfIn()
	if id == "" {
		return v.redirect(folder + "/sign-in")
	}
	u, err := v.People.User(v.r.Context(), id)
	if err != nil {
		return err
	}
	return v.show("sign_in", "console.sign_in.title", signInForm{Next: v.next(), Code: true, Takes: u.HasCodes() ||
		len(u.Recovery) > 0, Passkeys: v.passkeys != nil && u.Passkeys > 0})
}

func (v *visit) signInCode() error {
	id := v.halfIn()
	if id == "" {
		return v.redirect(folder + "/sign-in")
	}
	if _, err := v.People.SignInCode(v.r.Context(), id, v.r.PostFormValue("code"), network(v.r)); err != nil {
		return err
	}
	return v.enter(id)
}

// enter signs somebody in.
func (v *visit) enter(id string) error {
	u, err := v.People.User(v.r.Context(), id)
	if err != nil {
		return err
	}
	if err := v.begin(u, stageIn); err != nil {
		return notary.Wrap(notary.CodeUnavailable, err, "The session cannot be kept at the moment; try again.")
	}
	return v.redirect(v.next())
}

func (v *visit) signOut() error {
	if err := v.sessions.Destroy(v.r.Context()); err != nil {
		return err
	}
	return v.done(folder+"/sign-in", "signed_out")
}
