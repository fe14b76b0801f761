package console

import (
	"slices"
	"time"

	"stele/notary"
	"stele/notary/office/people"
)

// usersPage is the users of the agency; an operator sees everybody's.
type usersPage struct {
	Users    []userLine
	Roles    []people.Role
	Agencies []notary.Agency // that a user can be added to; an operator's alone
	Shown    secret
	Hours    int // that an invitation is good for
}

type userLine struct {
	people.User
	Agency string    // its name, for operators
	Own    bool      // the person who looks
	Until  time.Time // of the open invitation; zero without one
	By     string    // who invited
}

func (v *visit) users() error { return v.showUsers(secret{}) }

func (v *visit) showUsers(shown secret) error {
	ctx := v.r.Context()
	list, err := v.People.List(ctx, v.agency.ID)
	if err != nil {
		return err
	}
	invitations, err := v.People.Invitations(ctx, v.agency.ID)
	if err != nil {
		return err
	}
	page := usersPage{Shown: shown, Hours: int(people.InvitationTime.Hours())}
	names := map[string]string{}
	for _, r := range people.Roles {
		if r != people.Operator || v.user.Role == people.Operator {
			page.Roles = append(page.Roles, r)
		}
	}
	if v.user.Role == people.Operator {
		if page.Agencies, err = v.Agencies.Agencies(ctx); err != nil {
			return notary.Wrap(notary.CodeUnavailable, err, "The agencies cannot be read at the moment; try again.")
		}
		for _, a := range page.Agencies {
			names[a.ID] = a.Name
		}
	}
	for _, u := range list {
		i := invitations[u.ID]
		page.Users = append(page.Users, userLine{u, names[u.AgencyID], u.ID == v.user.ID, i.ExpiresAt, i.By})
	}
	return v.show("users", "console.section.users", page)
}

// home is the agency that a new user belongs to: the admin's own; an operator chooses.
func (v *visit) home(role people.Role) (string, error) {
	switch {
	case v.user.Role != people.Operator:
		return v.agency.ID, nil
	case role == people.Operator:
		return "", nil
	}
	a, err := v.Agencies.Agency(v.r.Context(), v.typed("agency"))
	if err != nil || v.typed("agency") == "" {
		return "", notary.InvalidField("agency", "There is no such agency.")
	}
	return a.ID, nil
}

// inviteUser adds somebody, who chooses by a link how they sign in. The link is shown once.
func (v *visit) inviteUser() error {
	role := people.Role(v.typed("role"))
	agency, err := v.home(role)
	if err != nil {
		return err
	}
	u, token, err := v.People.Invite(v.r.Context(), agency, v.typed("login"), v.typed("name"), role, v.user.Login)
	if err != nil {
		return err
	}
	return v.showUsers(secret{InvitationLink(v.PublicURL, token), u.Login})
}

// other finds the user of the address; nobody changes their own rights here, so that an agency
// does not lose its last admin by mistake.
func (v *visit) other() (people.User, error) {
	u, err := v.People.Find(v.r.Context(), v.agency.ID, v.param("user"))
	if err == nil && u.ID == v.user.ID {
		err = notary.Errorf(notary.CodeConflict, "Nobody changes their own rights.")
	}
	return u, err
}

func (v *visit) setRole() error {
	u, err := v.other()
	if err != nil {
		return err
	}
	role := people.Role(v.typed("role"))
	if !slices.Contains(people.Roles, role) {
		return notary.InvalidField("role", "There is no such role.")
	}
	if err := v.People.SetRole(v.r.Context(), v.agency.ID, u.ID, role); err != nil {
		return err
	}
	return v.done(folder+"/users", "role_set")
}

func (v *visit) setDisabled() error {
	u, err := v.other()
	if err != nil {
		return err
	}
	disabled := v.typed("disabled") == "true"
	if err := v.People.SetDisabled(v.r.Context(), v.agency.ID, u.ID, disabled); err != nil {
		return err
	}
	if disabled {
		return v.done(folder+"/users", "user_disabled")
	}
	return v.done(folder+"/users", "user_enabled")
}

// inviteAgain takes away how somebody signed in, and shows a link by which they choose anew.
func (v *visit) inviteAgain() error {
	u, err := v.other()
	if err != nil {
		return err
	}
	u, token, err := v.People.InviteAgain(v.r.Context(), v.agency.ID, u.ID, v.user.Login)
	if err != nil {
		return err
	}
	return v.showUsers(secret{InvitationLink(v.PublicURL, token), u.Login})
}

func (v *visit) withdraw() error {
	u, err := v.other()
	if err != nil {
		return err
	}
	if err := v.People.Withdraw(v.r.Context(), v.agency.ID, u.ID); err != nil {
		return err
	}
	return v.done(folder+"/users", "user_withdrawn")
}
