package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"stele/notary/office/people"
	"stele/server/instance"
)

type userCmd struct {
	Invite  userInviteCmd  `cmd:"" help:"Invite a person: prints a one-time link by which they choose how they sign in."`
	Add     userAddCmd     `cmd:"" help:"Add a person to an agency, or an operator to none."`
	List    userListCmd    `cmd:"" help:"List people, without secrets."`
	Disable userDisableCmd `cmd:"" help:"Keep a person from signing in, or let them in again."`
	Reset   userResetCmd   `cmd:"" help:"Give a person an initial password and take the second factor away."`
}

// initialPassword is where a password comes from. It is never an argument: every user of a
// machine can read those.
type initialPassword struct {
	PasswordFile string `name:"password-file" help:"File with the initial password; - asks for it at the terminal. Without it a random one is made and printed." placeholder:"FILE"`
}

func (p initialPassword) read(s *streams) (string, error) {
	switch p.PasswordFile {
	case "":
		return "", nil
	case "-":
		return askPassword(s)
	}
	b, err := os.ReadFile(p.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

// askPassword reads one line without showing it, where the input is a terminal.
func askPassword(s *streams) (string, error) {
	if f, ok := s.in.(*os.File); ok {
		fmt.Fprint(s.err, "Initial password: ")
		line, isTerminal, err := readHidden(f)
		if fmt.Fprintln(s.err); isTerminal {
			return line, err
		}
	}
	line, err := bufio.NewReader(s.in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return strings.TrimRight(line, "\r\n"), nil
}

// Acts of the command line in the audit trail; they are noted before they are done.
const (
	actSwitch people.Action = "user_switch"
	actInvite people.Action = "user_invite"
	actAgain  people.Action = "user_invite_again"
)

// atCommandLine is who did it, in the audit trail: whoever may use the server's own machine.
const atCommandLine = "stele"

func noteCommand(ctx context.Context, p *people.People, act people.Action, agencyID, about, detail string) error {
	return p.Note(ctx, people.AuditEvent{AgencyID: agencyID, Login: atCommandLine, Role: people.Operator, Act: act,
		About: about, Detail: detail, Network: "local"})
}

func withPeople(ctx context.Context, c instance.Config, s *streams,
	f func(st *instance.Stores, p *people.People) error) error {
	return withStores(ctx, c, func(st *instance.Stores) error {
		p, err := st.People(logger(st.Config, s.err))
		if err != nil {
			return err
		}
		return f(st, p)
	})
}

// openAgencyID finds the id of an agency that is not closed; an empty code is that of none.
func openAgencyID(ctx context.Context, st *instance.Stores, code string) (string, error) {
	if code == "" {
		return "", nil
	}
	a, err := openAgency(ctx, st, code)
	return a.ID, err
}

// agencyIDOf finds an agency's id; an empty code is that of none.
func agencyIDOf(ctx context.Context, st *instance.Stores, code string) (string, error) {
	if code == "" {
		return "", nil
	}
	a, err := findAgency(ctx, st, code)
	return a.ID, err
}

type userInviteCmd struct {
	instance.Config `embed:""`
	Login           string `arg:"" help:"Login name."`
	Name            string `help:"The person's name; needed but with --again." placeholder:"NAME"`
	Role            string `default:"" enum:",clerk,approver,admin,auditor,operator" help:"clerk, approver, admin, auditor or operator; needed but with --again."`
	Agency          string `help:"Credit code or id of the agency; needed but for operators." placeholder:"CODE"`
	Again           bool   `help:"Take every way to sign in away from a person who is there, and let them choose anew."`
}

// Run invites a person, or one who is there again.
func (c *userInviteCmd) Run(ctx context.Context, s *streams) error {
	return withPeople(ctx, c.Config, s, func(st *instance.Stores, p *people.People) error {
		u, token, err := c.invite(ctx, st, p)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(s.out, "%s\nThe link works once, within %d hours. It is not stored and cannot be shown "+
			"again.\n%s chooses by it how to sign in.\n",
			st.InvitationLink(token), int(people.InvitationTime.Hours()), u.Login)
		return err
	})
}

func (c *userInviteCmd) invite(ctx context.Context, st *instance.Stores, p *people.People) (people.User, string,
	error) {
	if c.Again {
		u, err := p.Find(ctx, "", c.Login)
		if err != nil {
			return u, "", err
		}
		if err := noteCommand(ctx, p, actAgain, u.AgencyID, u.ID, ""); err != nil {
			return u, "", err
		}
		return p.InviteAgain(ctx, "", u.ID, atCommandLine)
	}
	agencyID, err := openAgencyID(ctx, st, c.Agency)
	if err != nil {
		return people.User{}, "", err
	}
	if err := noteCommand(ctx, p, actInvite, agencyID, "", "login="+c.Login+"; role="+c.Role); err != nil {
		return people.User{}, "", err
	}
	return p.Invite(ctx, agencyID, c.Login, c.Name, people.Role(c.Role), atCommandLine)
}

type userAddCmd struct {
	instance.Config `embed:""`
	initialPassword `embed:""`
	Login           string `arg:"" help:"Login name."`
	Name            string `required:"" help:"The person's name."`
	Role            string `required:"" enum:"clerk,approver,admin,auditor,operator" help:"clerk, approver, admin, auditor or operator."`
	Agency          string `help:"Credit code or id of the agency; needed but for operators." placeholder:"CODE"`
}

// Run adds a person.
func (c *userAddCmd) Run(ctx context.Context, s *streams) error {
	password, err := c.read(s)
	if err != nil {
		return err
	}
	return withPeople(ctx, c.Config, s, func(st *instance.Stores, p *people.People) error {
		agencyID, err := openAgencyID(ctx, st, c.Agency)
		if err != nil {
			return err
		}
		if err := noteCommand(ctx, p, people.ActAdd, agencyID, "", "login="+c.Login+"; role="+c.Role); err != nil {
			return err
		}
		u, made, err := p.Add(ctx, agencyID, c.Login, c.Name, people.Role(c.Role), password)
		if err != nil {
			return err
		}
		return sayInitial(s, u, password, made)
	})
}

// sayInitial prints a password that was made here, and nothing that the caller knows.
func sayInitial(s *streams, u people.User, given, made string) error {
	if given == "" {
		if _, err := fmt.Fprintf(s.out, "Initial password: %s\nIt is not stored and cannot be shown again.\n",
			made); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(s.out, "%s signs in at /console with it and has to change it first.\n", u.Login)
	return err
}

type userListCmd struct {
	instance.Config `embed:""`
	Agency          string `help:"Credit code or id of an agency; everybody if empty." placeholder:"CODE"`
	JSON            bool   `name:"json" help:"Print JSON."`
}

// userLine is a user in the list as JSON.
type userLine struct {
	Login        string `json:"login"`
	Name         string `json:"name"`
	Role         string `json:"role"`
	AgencyID     string `json:"agencyId,omitempty"`
	SecondFactor bool   `json:"secondFactor"`
	InvitedUntil string `json:"invitedUntil,omitempty"` // who has not opened the invitation cannot sign in
	DisabledAt   string `json:"disabledAt,omitempty"`
	SignedInAt   string `json:"signedInAt,omitempty"`
}

// Run lists people.
func (c *userListCmd) Run(ctx context.Context, s *streams) error {
	return withPeople(ctx, c.Config, s, func(st *instance.Stores, p *people.People) error {
		agencyID, err := agencyIDOf(ctx, st, c.Agency)
		if err != nil {
			return err
		}
		list, err := p.List(ctx, agencyID)
		if err != nil {
			return err
		}
		invitations, err := p.Invitations(ctx, agencyID)
		if err != nil {
			return err
		}
		lines := make([]userLine, len(list))
		for i, u := range list {
			lines[i] = userLine{Login: u.Login, Name: u.Name, Role: string(u.Role), AgencyID: u.AgencyID,
				SecondFactor: u.HasFactor(), InvitedUntil: rfc3339(invitations[u.ID].ExpiresAt),
				DisabledAt: rfc3339(u.DisabledAt), SignedInAt: rfc3339(u.SignedInAt)}
			if !c.JSON {
				state := "may sign in"
				switch {
				case !u.DisabledAt.IsZero():
					state = "disabled " + lines[i].DisabledAt
				case lines[i].InvitedUntil != "":
					state = "invited until " + lines[i].InvitedUntil
				}
				fmt.Fprintf(s.out, "%s  %s  %s  %s  %s\n", u.Login, u.Role, u.Name, u.AgencyID, state)
			}
		}
		if c.JSON {
			return s.json(lines)
		}
		return nil
	})
}

func rfc3339(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

type userDisableCmd struct {
	instance.Config `embed:""`
	Login           string `arg:"" help:"Login name."`
	Undo            bool   `help:"Let the person in again."`
}

// Run disables a person, or lets them in again.
func (c *userDisableCmd) Run(ctx context.Context, s *streams) error {
	return withPeople(ctx, c.Config, s, func(_ *instance.Stores, p *people.People) error {
		u, err := p.Find(ctx, "", c.Login)
		if err != nil {
			return err
		}
		if err := noteCommand(ctx, p, actSwitch, u.AgencyID, u.ID, fmt.Sprintf("disabled=%t", !c.Undo)); err != nil {
			return err
		}
		if err := p.SetDisabled(ctx, "", u.ID, !c.Undo); err != nil {
			return err
		}
		what := "cannot sign in any more; all sessions have ended"
		if c.Undo {
			what = "can sign in"
		}
		_, err = fmt.Fprintf(s.out, "%s %s.\n", u.Login, what)
		return err
	})
}

type userResetCmd struct {
	instance.Config `embed:""`
	initialPassword `embed:""`
	Login           string `arg:"" help:"Login name."`
}

// Run resets a person.
func (c *userResetCmd) Run(ctx context.Context, s *streams) error {
	password, err := c.read(s)
	if err != nil {
		return err
	}
	return withPeople(ctx, c.Config, s, func(_ *instance.Stores, p *people.People) error {
		u, err := p.Find(ctx, "", c.Login)
		if err != nil {
			return err
		}
		if err := noteCommand(ctx, p, people.ActReset, u.AgencyID, u.ID, ""); err != nil {
			return err
		}
		made, err := p.Reset(ctx, "", u.ID, password)
		if err != nil {
			return err
		}
		return sayInitial(s, u, password, made)
	})
}

// demoUsers makes one user of each role where it is missing, and gives those a new password
// whose password demo.json does not know any more.
func demoUsers(ctx context.Context, st *instance.Stores, s *streams, agencyID string, known []demoUser) ([]demoUser,
	error) {
	p, err := st.People(logger(st.Config, s.err))
	if err != nil {
		return nil, err
	}
	var out []demoUser
	for _, r := range people.Roles {
		home, d := agencyID, demoUser{Name: string(r), Role: string(r)}
		if r == people.Operator {
			home = ""
		}
		for _, k := range known {
			if k.Name == d.Name {
				d.Password = k.Password
			}
		}
		u, err := p.Find(ctx, "", d.Name)
		switch {
		case err == nil && d.Password == "":
			d.Password, err = p.Reset(ctx, "", u.ID, "")
		case err != nil:
			u, d.Password, err = p.Add(ctx, home, d.Name, demoNames[r], r, "")
		}
		if err == nil {
			err = p.Settle(ctx, u.ID)
		}
		if err != nil {
			return nil, fmt.Errorf("demo user %s: %w", d.Name, err)
		}
		out = append(out, d)
	}
	return out, nil
}

var demoNames = map[people.Role]string{people.Clerk: "王经办", people.Approver: "李审批", people.Admin: "张管理",
	people.Auditor: "赵审计", people.Operator: "陈运维"}
