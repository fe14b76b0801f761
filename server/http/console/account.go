package console

import (
	"encoding/base64"
	"encoding/hex"
	"html/template"
	"net/url"

	qrcode "github.com/skip2/go-qrcode"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/office/people"
)

func queryEscape(s string) string { return url.QueryEscape(s) }

// accountPage is a person's own account.
type accountPage struct {
	MustEnrol bool
	NeedsIt   bool // the role needs a second factor here, and the app is the only one
	Codes     int  // recovery codes that are left
	Passkeys  []passkeyLine
	NoPasskey string // the text that says why passkeys are not to be had here; empty where they are
	Provider  string // host of the agency's single sign-on; empty without one
	Sessions  []sessionLine
}

type passkeyLine struct {
	people.Passkey
	ID string // as in addresses
}

type sessionLine struct {
	people.Session
	ID  string
	Own bool
}

func (v *visit) account() error {
	list, err := v.People.Sessions().Sessions(v.r.Context(), v.user.ID)
	if err != nil {
		return err
	}
	page := accountPage{MustEnrol: v.mustEnrol(), NeedsIt: v.People.NeedsFactor(v.user) && v.user.Passkeys == 0,
		Codes: len(v.user.Recovery), NoPasskey: v.noPasskey}
	keys, err := v.People.Passkeys(v.r.Context(), v.user.ID)
	if err != nil {
		return err
	}
	for _, k := range keys {
		page.Passkeys = append(page.Passkeys, passkeyLine{k, passkeyID(k.ID)})
	}
	if page.Provider, err = v.providerHost(v.agency.ID); err != nil {
		return err
	}
	own := v.session()
	for _, s := range list {
		page.Sessions = append(page.Sessions, sessionLine{s, s.Digest.String(), s.Digest == own})
	}
	return v.show("account", "console.section.account", page)
}

func (v *visit) setPassword() error {
	ctx := v.r.Context()
	password := v.r.PostFormValue("password")
	if password != v.r.PostFormValue("again") {
		return notary.InvalidField("again", "The two new passwords differ.")
	}
	if err := v.People.SetPassword(ctx, v.user.ID, v.r.PostFormValue("old"), password, network(v.r),
		v.session()); err != nil {
		return err
	}
	if err := v.renew(); err != nil {
		return err
	}
	return v.done(folder+"/account", "password")
}

// renew gives the session a new token after how the person proves who they are has changed.
func (v *visit) renew() error {
	u, err := v.People.User(v.r.Context(), v.user.ID)
	if err != nil {
		return err
	}
	strong := v.sessions.GetString(v.r.Context(), sessionStrong)
	if err := v.begin(u, stageIn); err != nil {
		return err
	}
	if strong != "" {
		v.sessions.Put(v.r.Context(), sessionStrong, strong)
	}
	v.user = u
	return nil
}

// factorForm is a second factor that is being set up, and what came of it.
type factorForm struct {
	Secret string       // in groups of four
	QR     template.URL // of the secret, as a picture
	Codes  []string     // recovery codes, once it is set up; shown this once

	Passkey bool // it is a passkey
}

// beginFactor makes a secret. It is kept sealed in the session until a code shows that the
// authenticator has it.
func (v *visit) beginFactor() error {
	sealed := v.People.SealFactor(v.user.ID, people.NewFactor())
	v.sessions.Put(v.r.Context(), sessionFactor, base64.StdEncoding.EncodeToString(sealed))
	return v.factorPage()
}

func (v *visit) pendingFactor() (string, error) {
	sealed, err := base64.StdEncoding.DecodeString(v.sessions.GetString(v.r.Context(), sessionFactor))
	if err != nil || len(sealed) == 0 {
		return "", notary.Errorf(notary.CodeConflict, "There is no second factor that is being set up; begin again.")
	}
	return v.People.OpenFactor(v.user.ID, sealed)
}

const qrPixels = 240

func (v *visit) factorPage() error {
	secret, err := v.pendingFactor()
	if err != nil {
		return err
	}
	png, err := qrcode.Encode(people.FactorURL(v.t("site.name"), v.user.Login, secret), qrcode.Medium, qrPixels)
	if err != nil {
		return err
	}
	form := factorForm{QR: template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(png))}
	for len(secret) > 4 {
		form.Secret, secret = form.Secret+secret[:4]+" ", secret[4:]
	}
	form.Secret += secret
	return v.show("factor", "console.factor.title", form)
}

func (v *visit) confirmFactor() error {
	ctx := v.r.Context()
	secret, err := v.pendingFactor()
	if err != nil {
		return err
	}
	codes, err := v.People.Enrol(ctx, v.user.ID, secret, v.r.PostFormValue("code"))
	if err != nil {
		return err
	}
	v.sessions.Remove(ctx, sessionFactor)
	if err := v.renew(); err != nil {
		return err
	}
	return v.show("factor", "console.factor.title", factorForm{Codes: codes})
}

func (v *visit) removeFactor() error {
	if err := v.People.RemoveFactor(v.r.Context(), v.user.ID); err != nil {
		return err
	}
	return v.done(folder+"/account", "factor_removed")
}

// endSession ends one of the person's sessions, or all but this one.
func (v *visit) endSession() error {
	ctx, own := v.r.Context(), v.session()
	if v.r.PostFormValue("session") == "others" {
		if err := v.People.Sessions().EndSessions(ctx, v.user.ID, nil, &own); err != nil {
			return err
		}
		return v.done(folder+"/account", "sessions_ended")
	}
	b, err := hex.DecodeString(v.r.PostFormValue("session"))
	if err != nil || len(b) != sm.DigestSize {
		return notary.Errorf(notary.CodeNotFound, "There is no such session.")
	}
	d := sm.Digest(b)
	if err := v.People.Sessions().EndSessions(ctx, v.user.ID, &d, nil); err != nil {
		return err
	}
	return v.done(folder+"/account", "sessions_ended")
}
