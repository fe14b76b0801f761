package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"stele/notary"
	"stele/notary/office/people"
	"stele/server/instance"
)

// withAgency opens the stores, finds an agency and notes in the operators' audit trail what is about
// to be done with it.
func withAgency(ctx context.Context, c instance.Config, s *streams, codeOrID string, act people.Action, detail string,
	f func(st *instance.Stores, a notary.Agency) error) error {
	return withPeople(ctx, c, s, func(st *instance.Stores, p *people.People) error {
		a, err := findAgency(ctx, st, codeOrID)
		if err != nil {
			return err
		}
		// A crash after this leaves a line about what was not done: it says "was about to".
		if err := noteCommand(ctx, p, act, "", a.ID, strings.TrimPrefix(detail+"; code="+a.Code, "; ")); err != nil {
			return err
		}
		return f(st, a)
	})
}

// openAgency finds an agency that is not closed: a closed one gets neither people nor keys.
func openAgency(ctx context.Context, st *instance.Stores, codeOrID string) (notary.Agency, error) {
	a, err := findAgency(ctx, st, codeOrID)
	if err == nil && a.State == notary.AgencyClosed {
		err = fmt.Errorf("agency %s (%s) is closed, which is for ever", a.Name, a.Code)
	}
	return a, err
}

type agencyRekeyCmd struct {
	instance.Config `embed:""`
	Agency          string `arg:"" help:"The agency's credit code or id."`
	Reason          string `enum:"lost,leaked,replaced" default:"replaced" help:"Why: lost (nobody has the former key any more), leaked (somebody else may have it) or replaced."`
	Since           string `help:"From when on the former key counts no more, such as 2026-11-30T08:00:00+08:00; now if empty. It signs nothing more in any case." placeholder:"TIME"`
	CSR             string `name:"csr" type:"existingfile" help:"Certificate request with the new key of an agency that keeps its key itself." placeholder:"FILE"`
}

// Run gives an agency another key.
func (c *agencyRekeyCmd) Run(ctx context.Context, s *streams) error {
	now := time.Now()
	req := instance.RekeyRequest{Reason: notary.EndReason(c.Reason), Since: now}
	var err error
	if c.Since != "" {
		if req.Since, err = time.Parse(time.RFC3339, c.Since); err != nil {
			return usage(fmt.Errorf("--since %q is no time: write it with its zone, such as 2026-11-30T08:00:00+08:00",
				c.Since))
		}
	}
	if req.Home, err = homeKey(c.CSR); err != nil {
		return err
	}
	detail := fmt.Sprintf("reason=%s; since=%s", c.Reason, req.Since.UTC().Format(time.RFC3339))
	return withAgency(ctx, c.Config, s, c.Agency, people.ActAgencyRekey, detail,
		func(st *instance.Stores, a notary.Agency) error {
			until, err := st.RekeyAgency(ctx, a, req, now)
			if err != nil {
				return err
			}
			fmt.Fprintf(s.out, "Agency %s (%s) has a new key, and a certificate until %s. All servers sign with it "+
				"from now on, and nothing more with the former one, "+
				"which counts until %s.\n", a.Name, a.Code, until.Format(time.DateOnly),
				req.Since.UTC().Format(time.RFC3339))
			if !a.ExternalKey {
				fmt.Fprintf(s.out, "Back up the database, or the key: stele agency export-key %s FILE. Of the former "+
					"key, destroy what copies there are in files.\n", a.Code)
			}
			return nil
		})
}

type agencySuspendCmd struct {
	instance.Config `embed:""`
	Agency          string `arg:"" help:"The agency's credit code or id."`
	Reason          string `help:"Why, for the audit trail." placeholder:"TEXT"`
}

// Run suspends an agency.
func (c *agencySuspendCmd) Run(ctx context.Context, s *streams) error {
	return setAgencyState(ctx, c.Config, s, c.Agency, c.Reason, notary.AgencySuspended)
}

type agencyResumeCmd struct {
	instance.Config `embed:""`
	Agency          string `arg:"" help:"The agency's credit code or id."`
	Reason          string `help:"Why, for the audit trail." placeholder:"TEXT"`
}

// Run resumes an agency.
func (c *agencyResumeCmd) Run(ctx context.Context, s *streams) error {
	return setAgencyState(ctx, c.Config, s, c.Agency, c.Reason, notary.AgencyActive)
}

func setAgencyState(ctx context.Context, c instance.Config, s *streams, agency, reason string,
	state notary.AgencyState) error {
	act, says := people.ActAgencySuspend,
		"is suspended: no server signs anything new in its name. Its records can be read and verified as before"
	if state == notary.AgencyActive {
		act, says = people.ActAgencyResume, "is active: servers sign in its name within two seconds"
	}
	detail, err := reasonDetail(reason)
	if err != nil {
		return err
	}
	return withAgency(ctx, c, s, agency, act, detail, func(st *instance.Stores, a notary.Agency) error {
		if err := st.DB.Log.SetAgencyState(ctx, a.ID, state); err != nil {
			return err
		}
		_, err := fmt.Fprintf(s.out, "Agency %s (%s) %s.\n", a.Name, a.Code, says)
		return err
	})
}

// reasonDetail is a reason as the audit trail has it.
func reasonDetail(reason string) (string, error) {
	const most = 300
	switch {
	case reason == "":
		return "", nil
	case !notary.ValidLine(reason, most):
		return "", usage(fmt.Errorf("a reason has at most %d bytes, %s, and no white space at its ends", most,
			notary.TextRule))
	}
	return "reason=" + reason, nil
}

type agencyCloseCmd struct {
	instance.Config `embed:""`
	Agency          string `arg:"" help:"The agency's credit code or id."`
	Confirm         string `help:"The agency's credit code once more: closing is for ever." placeholder:"CODE"`
	Reason          string `help:"Why, for the audit trail." placeholder:"TEXT"`
}

// Run closes an agency.
func (c *agencyCloseCmd) Run(ctx context.Context, s *streams) error {
	detail, err := reasonDetail(c.Reason)
	if err != nil {
		return err
	}
	// Asked before anything is noted.
	if err := withStores(ctx, c.Config, func(st *instance.Stores) error {
		a, err := openAgency(ctx, st, c.Agency)
		if err == nil && c.Confirm != a.Code {
			err = usage(fmt.Errorf("closing %s is for ever: its key, API keys and people end. To do it, add "+
				"--confirm %s", a.Name, a.Code))
		}
		return err
	}); err != nil {
		return err
	}
	return withAgency(ctx, c.Config, s, c.Agency, people.ActAgencyClose, detail,
		func(st *instance.Stores, a notary.Agency) error {
			if err := st.DB.Log.CloseAgency(ctx, a.ID); err != nil {
				return err
			}
			_, err := fmt.Fprintf(s.out, "Agency %s (%s) is closed. Nothing is signed in its name any more; its API "+
				"keys, which servers believe for two seconds more, people and sessions have ended. "+
				"Its records can be read and verified as before.\n", a.Name, a.Code)
			return err
		})
}

type agencyRenameCmd struct {
	instance.Config `embed:""`
	Agency          string `arg:"" help:"The agency's credit code or id."`
	Name            string `required:"" help:"The new registered name."`
}

// Run renames an agency.
func (c *agencyRenameCmd) Run(ctx context.Context, s *streams) error {
	return withAgency(ctx, c.Config, s, c.Agency, people.ActAgencyRename, "name="+c.Name,
		func(st *instance.Stores, a notary.Agency) error {
			until, err := st.RenameAgency(ctx, a, c.Name, time.Now())
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(s.out, "Agency %s is now called %s in all that is signed, with a certificate until "+
				"%s. What was signed before has the former name, %s.\n",
				a.Code, c.Name, until.Format(time.DateOnly), a.Name)
			return err
		})
}

type agencyExportKeyCmd struct {
	instance.Config `embed:""`
	Agency          string `arg:"" help:"The agency's credit code or id."`
	File            string `arg:"" help:"New file, which only this account can read."`
}

// Run exports a key.
func (c *agencyExportKeyCmd) Run(ctx context.Context, s *streams) error {
	return withAgency(ctx, c.Config, s, c.Agency, people.ActAgencyExport, "",
		func(st *instance.Stores, a notary.Agency) error {
			if err := st.ExportKey(ctx, a, c.File); err != nil {
				return err
			}
			_, err := fmt.Fprintf(s.out, "The key of agency %s (%s) is in %s, under the instance's passphrase.\n",
				a.Name, a.Code, c.File)
			return err
		})
}

type agencyImportKeyCmd struct {
	instance.Config `embed:""`
	Agency          string `arg:"" help:"The agency's credit code or id."`
	File            string `arg:"" type:"existingfile" help:"File with the key, under the instance's passphrase."`
}

// Run imports a key.
func (c *agencyImportKeyCmd) Run(ctx context.Context, s *streams) error {
	return withAgency(ctx, c.Config, s, c.Agency, people.ActAgencyImport, "",
		func(st *instance.Stores, a notary.Agency) error {
			if a.State == notary.AgencyClosed {
				return errors.New("the agency is closed, which is for ever: it needs no key")
			}
			if err := st.ImportKey(ctx, a, c.File); err != nil {
				return err
			}
			_, err := fmt.Fprintf(s.out, "The database has the key of agency %s (%s).\n", a.Name, a.Code)
			return err
		})
}

type agencyListCmd struct {
	instance.Config `embed:""`
	Expires         bool `help:"Print when each certificate ends, the first to end first."`
	JSON            bool `name:"json" help:"Print JSON."`
}

// Run lists agencies.
func (c *agencyListCmd) Run(ctx context.Context, s *streams) error {
	return withStores(ctx, c.Config, func(st *instance.Stores) error {
		list, err := st.ListAgencies(ctx)
		if err != nil {
			return err
		}
		if c.Expires {
			instance.SortByEnd(list)
		}
		out := make([]map[string]any, len(list))
		for i, a := range list {
			out[i] = listedJSON(a, time.Now())
			if !c.JSON {
				fmt.Fprintln(s.out, c.line(a))
			}
		}
		if c.JSON {
			return s.json(out)
		}
		return nil
	})
}

func (c *agencyListCmd) line(a instance.ListedAgency) string {
	line := fmt.Sprintf("%s  %s  %s  %s", a.Code, a.Region, a.ID, a.Name)
	if c.Expires {
		end := "no certificate"
		if !a.NotAfter.IsZero() {
			end = a.NotAfter.UTC().Format(time.DateOnly)
		}
		line = end + "  " + line
	}
	if a.State != notary.AgencyActive {
		line += "  " + string(a.State) + " since " + a.StateSince.UTC().Format(time.RFC3339)
	}
	return line
}

func listedJSON(a instance.ListedAgency, now time.Time) map[string]any {
	out := agencyJSON(a.Agency)
	if !a.StateSince.IsZero() {
		out["stateSince"] = rfc3339(a.StateSince)
	}
	if !a.NotAfter.IsZero() {
		out["certificate"] = map[string]any{"sm3": a.Certificate.String(), "notBefore": rfc3339(a.NotBefore),
			"notAfter": rfc3339(a.NotAfter),
			"daysLeft": int(a.NotAfter.Sub(now) / (24 * time.Hour))}
	}
	return out
}
