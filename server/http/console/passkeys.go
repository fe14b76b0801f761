package console

import (
	"encoding/base64"
	"encoding/json"
	"net/http"

	"stele/notary"
	"stele/notary/office/people"
)

// Kinds of attempts with passkeys; those of somebody who is signed in end with their user id.
const (
	kindSignIn   = "passkey sign-in"
	kindRegister = "passkey of "
	kindConfirm  = "passkey confirms "
)

var errNoPasskeys = notary.Errorf(notary.CodeConflict, "Passkeys are not to be had here.")

func passkeyID(id []byte) string { return base64.RawURLEncoding.EncodeToString(id) }

// beginPasskeySignIn asks for any passkey of the service or, where a password was right, for
// one of its owner.
func (v *visit) beginPasskeySignIn() error {
	var (
		u   people.User
		has []people.Passkey
		err error
	)
	if id := v.halfIn(); id != "" {
		if u, err = v.People.User(v.r.Context(), id); err != nil {
			return err
		}
		if has, err = v.People.Passkeys(v.r.Context(), id); err != nil {
			return err
		}
	}
	return v.ask(kindSignIn, u, has)
}

// ask answers with what the browser needs to sign with a passkey.
func (v *visit) ask(kind string, u people.User, has []people.Passkey) error {
	if v.passkeys == nil {
		return errNoPasskeys
	}
	options, kept, err := v.passkeys.BeginSignIn(u, has)
	if err != nil {
		return err
	}
	name, err := v.keep(kind, json.RawMessage(kept))
	if err != nil {
		return err
	}
	return v.answer(http.StatusOK, asked{name, options})
}

// signed checks the browser's answer and uses it up. The attempt is over whatever it was.
func (v *visit) signed(kind string) (people.User, error) {
	ctx := v.r.Context()
	if v.passkeys == nil {
		return people.User{}, errNoPasskeys
	}
	var kept json.RawMessage
	if err := v.take(kind, v.r.PostFormValue("attempt"), &kept); err != nil {
		return people.User{}, err
	}
	s, err := v.passkeys.FinishSignIn(kept, []byte(v.r.PostFormValue("answer")),
		func(handle string, id []byte) (people.User, []people.Passkey, error) {
			return v.People.Owner(ctx, handle, id)
		})
	if notary.CodeOf(err) == notary.CodeUnauthorized {
		return people.User{}, errUnknownPasskey
	} else if err != nil {
		return people.User{}, err
	}
	return s.User, v.People.UsePasskey(ctx, s.User, s.Key, s.Counter, s.BackedUp, network(v.r))
}

// errUnknownPasskey is for keys that were removed here, and are in the authenticator still.
var errUnknownPasskey = notary.InvalidField("passkey_unknown", "The passkey is nobody's here.")

// signInPasskey signs in without a password: key and finger, face or PIN are two factors.
func (v *visit) signInPasskey() error {
	u, err := v.signed(kindSignIn)
	if err != nil {
		return err
	}
	if u, err = v.People.SignInPasskey(v.r.Context(), u.ID, network(v.r)); err != nil {
		return err
	}
	return v.enter(u.ID)
}

// passkeyRefused shows the page again that the passkey was asked for on.
func (v *visit) passkeyRefused() error {
	if v.halfIn() != "" {
		return v.codePage()
	}
	return v.signInPage()
}

func (v *visit) beginPasskey() error {
	if v.passkeys == nil {
		return errNoPasskeys
	}
	has, err := v.People.Passkeys(v.r.Context(), v.user.ID)
	if err != nil {
		return err
	}
	options, kept, err := v.passkeys.BeginRegistration(v.user, has)
	if err != nil {
		return err
	}
	name, err := v.keep(kindRegister+v.user.ID, json.RawMessage(kept))
	if err != nil {
		return err
	}
	return v.answer(http.StatusOK, asked{name, options})
}

// addPasskey keeps the key that was made. With it comes what helps when it is lost.
func (v *visit) addPasskey() error {
	if v.passkeys == nil {
		return errNoPasskeys
	}
	var kept json.RawMessage
	if err := v.take(kindRegister+v.user.ID, v.r.PostFormValue("attempt"), &kept); err != nil {
		return err
	}
	answer := []byte(v.r.PostFormValue("answer"))
	k, err := v.passkeys.FinishRegistration(v.user, kept, answer)
	if err != nil {
		return err
	}
	k.Name = v.typed("name")
	codes, err := v.People.AddPasskey(v.r.Context(), k)
	if err != nil {
		return err
	}
	if err := v.renew(); err != nil {
		return err
	}
	if len(codes) > 0 {
		return v.show("factor", "console.factor.title", factorForm{Codes: codes, Passkey: true})
	}
	return v.done(folder+"/account", "passkey_added")
}

// removePasskey takes a key away; whoever else was signed in, perhaps by it, is not any more.
func (v *visit) removePasskey() error {
	ctx, own := v.r.Context(), v.session()
	id, err := base64.RawURLEncoding.DecodeString(v.param("passkey"))
	if err != nil {
		return notary.Errorf(notary.CodeNotFound, "There is no such passkey.")
	}
	if err := v.People.RemovePasskey(ctx, v.user.ID, id); err != nil {
		return err
	}
	if err := v.People.Sessions().EndSessions(ctx, v.user.ID, nil, &own); err != nil {
		return err
	}
	return v.done(folder+"/account", "passkey_removed")
}

// confirmForm is the page where somebody says once more who they are, in any way they have.
type confirmForm struct {
	Back     string // where to go afterwards
	Provider string // host of the agency's single sign-on; empty without one
}

// comesFrom is the page that somebody left to say once more who they are.
func (v *visit) comesFrom() string {
	if to := v.r.FormValue("back"); local(to) {
		return to
	}
	return folder + "/account"
}

func (v *visit) confirmPage() error {
	host, err := v.providerHost(v.agency.ID)
	if err != nil {
		return err
	}
	return v.show("confirm", "console.confirm.title", confirmForm{v.comesFrom(), host})
}

// confirmed is reached by who has just said who they are: the table demands it.
func (v *visit) confirmed() error { return v.redirect(v.comesFrom()) }

func (v *visit) beginConfirm() error {
	has, err := v.People.Passkeys(v.r.Context(), v.user.ID)
	if err != nil {
		return err
	}
	if len(has) == 0 {
		return errNoPasskeys
	}
	return v.ask(kindConfirm+v.user.ID, v.user, has)
}

// confirmPasskey is answered to a script, which then sends the form that it was about.
func (v *visit) confirmPasskey() error {
	u, err := v.signed(kindConfirm + v.user.ID)
	if err != nil {
		return err
	}
	if u.ID != v.user.ID {
		return errUnknownPasskey
	}
	v.refresh()
	v.rw.WriteHeader(http.StatusNoContent)
	return nil
}
