package console

import (
	"strings"
	"time"

	"stele/notary"
	"stele/ui"
)

// keysPage is the agency's API keys.
type keysPage struct {
	Keys   []keyLine
	Scopes []notary.Scope
	Day    string // the earliest day on which a key can end
	Ticked []string
	Shown  secret
}

type keyLine struct {
	notary.APIKey
	InForce bool
}

// secret is what is shown this once.
type secret struct {
	Text string
	Name string // of what it belongs to
}

func (v *visit) keys() error { return v.showKeys(secret{}) }

func (v *visit) showKeys(shown secret) error {
	keys, err := v.Desk.List(v.r.Context(), v.agency.ID)
	if err != nil {
		return err
	}
	now := v.Now()
	page := keysPage{Scopes: notary.OwnScopes, Day: now.In(ui.Beijing).AddDate(0, 0, 1).Format(dayForm), Shown: shown,
		Ticked: []string{string(notary.ScopeRead), string(notary.ScopeWrite)}}
	if v.problem != "" && v.route.action == "key_create" {
		page.Ticked = v.r.PostForm["scope"]
	}
	for _, k := range keys {
		page.Keys = append(page.Keys, keyLine{k, k.InForce(now)})
	}
	return v.show("keys", "console.section.keys", page)
}

func (v *visit) createKey() error {
	k := notary.APIKey{AgencyID: v.agency.ID, Name: v.typed("name")}
	err := notary.CheckKeyName(k.Name)
	if err != nil {
		return err
	}
	if k.Scopes, err = notary.ParseScopes(v.r.PostForm["scope"]); err != nil {
		return err
	}
	if k.Networks, err = notary.ParseNetworks(
		strings.Fields(strings.ReplaceAll(v.typed("networks"), ",", " "))); err != nil {
		return err
	}
	if day := v.typed("expires"); day != "" { // the key works to the end of that day
		at, err := time.ParseInLocation(dayForm, day, ui.Beijing)
		if k.ExpiresAt = at.AddDate(0, 0, 1); err != nil || !k.ExpiresAt.After(v.Now()) {
			return notary.InvalidField("expires", "The day must be in the future.")
		}
	}
	text, k, err := v.Desk.Issue(v.r.Context(), k)
	if err != nil {
		return err
	}
	return v.showKeys(secret{text, k.Name})
}

func (v *visit) rotateKey() error {
	old, err := v.Desk.Find(v.r.Context(), v.agency.ID, v.param("key"))
	if err != nil {
		return err
	}
	text, next, err := v.Desk.Rotate(v.r.Context(), old, "", time.Time{})
	if err != nil {
		return err
	}
	return v.showKeys(secret{text, next.Name})
}

func (v *visit) endKey() error {
	if err := v.Desk.End(v.r.Context(), v.agency.ID, v.param("key")); err != nil {
		return err
	}
	return v.done(folder+"/keys", "key_ended")
}
