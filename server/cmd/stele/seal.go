package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"stele/notary"
	"stele/notary/issue/certificate"
	"stele/notary/office/people"
	"stele/notary/office/stamp"
	"stele/server/instance"
)

type agencySealCmd struct {
	Add  sealAddCmd  `cmd:"" help:"Add a seal; one of the same name ends when it begins."`
	List sealListCmd `cmd:"" help:"List an agency's seals, or what was stamped with one."`
	Show sealShowCmd `cmd:"" help:"Choose the seal that certificates show from now on, or none."`
	End  sealEndCmd  `cmd:"" help:"Give a seal up for ever."`
}

// Acts of the command line on seals, as the audit trail calls them; they are noted first.
const (
	actSealAdd  people.Action = "seal_add"
	actSealShow people.Action = "seal_show"
	actSealEnd  people.Action = "seal_end"
)

// withSeals finds the agency and notes the act, if it is one.
func withSeals(ctx context.Context, c instance.Config, s *streams, agency string, act people.Action, detail string,
	f func(st *instance.Stores, a notary.Agency) error) error {
	return withPeople(ctx, c, s, func(st *instance.Stores, p *people.People) error {
		a, err := findAgency(ctx, st, agency)
		if err != nil {
			return err
		}
		if act != "" {
			if err := noteCommand(ctx, p, act, a.ID, "", detail); err != nil {
				return err
			}
		}
		return f(st, a)
	})
}

type sealAddCmd struct {
	instance.Config `embed:""`
	Agency          string    `arg:"" help:"The agency's credit code or id."`
	Image           string    `required:"" help:"PNG of the seal, at most 512 KiB and 1200 by 1200 pixels; transparency stays." placeholder:"FILE"`
	Name            string    `default:"公章" help:"What it is called." placeholder:"NAME"`
	Owner           string    `help:"Who answers for it." placeholder:"NAME"`
	From            time.Time `help:"Valid from then on; now if it is not given." placeholder:"TIME" format:"2006-01-02T15:04:05Z07:00"`
	Until           time.Time `help:"Not valid from then on; without it there is no end." placeholder:"TIME" format:"2006-01-02T15:04:05Z07:00"`
	Certificates    bool      `default:"true" negatable:"" help:"Certificates show it from now on. --no-certificates leaves them as they are, but for a seal of the same name that they show."`
	Demonstration   bool      `default:"true" negatable:"" help:"The seal was made without the key of a licensed certification authority: certificates and stamped documents say so across it. Only --no-demonstration takes that away."`
}

// Run adds a seal. Certificates of records that are there keep what they had.
func (c *sealAddCmd) Run(ctx context.Context, s *streams) error {
	png, err := readSeal(c.Image)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Image, err)
	}
	return withSeals(ctx, c.Config, s, c.Agency, actSealAdd, "name="+c.Name,
		func(st *instance.Stores, a notary.Agency) error {
			seal := notary.Seal{ID: stamp.NewSealID(), AgencyID: a.ID, Name: c.Name, Owner: c.Owner, PNG: png,
				Demonstration: c.Demonstration, From: c.From, Until: c.Until}
			if seal.From.IsZero() {
				seal.From = time.Now()
			}
			seal, err := st.DB.Office.AddSeal(ctx, seal, c.Certificates)
			if err != nil {
				return err
			}
			what := "a seal"
			if c.Demonstration {
				what = "a demonstration seal"
			}
			if _, err := fmt.Fprintf(s.out, "Agency %s (%s) has %s, %s, with the id %s.\n", a.Name, a.Code, what,
				seal.Name, seal.ID); err != nil || seal.Certificates.IsZero() {
				return err
			}
			return sayShown(s, "It is", seal.Certificates)
		})
}

func sayShown(s *streams, what string, from time.Time) error {
	_, err := fmt.Fprintf(s.out,
		"%s on certificates of records issued from %s on. Those of earlier records stay as they are.\n", what,
		rfc3339(from))
	return err
}

type sealShowCmd struct {
	instance.Config `embed:""`
	Agency          string `arg:"" help:"The agency's credit code or id."`
	Seal            string `arg:"" optional:"" help:"The seal's id."`
	None            bool   `help:"Certificates show no seal from now on."`
}

// Run chooses what certificates show.
func (c *sealShowCmd) Run(ctx context.Context, s *streams) error {
	if c.None == (c.Seal != "") {
		return errors.New("name a seal, or --none")
	}
	return withSeals(ctx, c.Config, s, c.Agency, actSealShow, "seal="+c.Seal,
		func(st *instance.Stores, a notary.Agency) error {
			from, err := st.DB.Office.ShowSeal(ctx, a.ID, c.Seal)
			if err != nil {
				return sealError(err, c.Seal)
			}
			if c.None {
				return sayShown(s, "No seal is", from)
			}
			return sayShown(s, "The seal is", from)
		})
}

type sealEndCmd struct {
	instance.Config `embed:""`
	Agency          string `arg:"" help:"The agency's credit code or id."`
	Seal            string `arg:"" help:"The seal's id."`
}

// Run ends a seal.
func (c *sealEndCmd) Run(ctx context.Context, s *streams) error {
	return withSeals(ctx, c.Config, s, c.Agency, actSealEnd, "seal="+c.Seal,
		func(st *instance.Stores, a notary.Agency) error {
			seal, err := st.DB.Office.EndSeal(ctx, a.ID, c.Seal)
			if err != nil {
				return sealError(err, c.Seal)
			}
			_, err = fmt.Fprintf(s.out,
				"The seal %s of agency %s (%s) was ended at %s. What it was stamped on stays as it is.\n", seal.Name,
				a.Name, a.Code, rfc3339(seal.Ended))
			return err
		})
}

func sealError(err error, id string) error {
	if errors.Is(err, notary.ErrNotFound) {
		return fmt.Errorf("the agency has no seal with the id %s; stele agency seal list shows them", id)
	}
	return err
}

type sealListCmd struct {
	instance.Config `embed:""`
	Agency          string `arg:"" help:"The agency's credit code or id."`
	Uses            bool   `help:"List what was stamped, newest first, at most 1000."`
	Seal            string `help:"Only what was stamped with this one." placeholder:"ID"`
	JSON            bool   `name:"json" help:"Print JSON."`
}

// sealJSON is a seal without its picture.
type sealJSON struct {
	ID            string `json:"id"`
	Name          string `json:"name"`
	Owner         string `json:"owner"`
	State         string `json:"state"` // valid, ended, expired or later
	Demonstration bool   `json:"demonstration"`
	Certificates  bool   `json:"certificates"`
	From          string `json:"from"`
	Until         string `json:"until,omitempty"`
	Ended         string `json:"ended,omitempty"`
}

func sealState(s notary.Seal, now time.Time) string {
	switch {
	case s.ValidAt(now):
		return "valid"
	case !s.Ended.IsZero() && !now.Before(s.Ended):
		return "ended"
	case now.Before(s.From):
		return "later"
	}
	return "expired"
}

// Run lists seals, or their uses.
func (c *sealListCmd) Run(ctx context.Context, s *streams) error {
	return withSeals(ctx, c.Config, s, c.Agency, "", "", func(st *instance.Stores, a notary.Agency) error {
		if c.Uses || c.Seal != "" {
			return c.uses(ctx, s, st, a)
		}
		seals, err := st.DB.Office.Seals(ctx, a.ID)
		if err != nil {
			return err
		}
		out := make([]sealJSON, len(seals))
		for i, seal := range seals {
			out[i] = sealJSON{ID: seal.ID, Name: seal.Name, Owner: seal.Owner, State: sealState(seal, time.Now()),
				Demonstration: seal.Demonstration, Certificates: !seal.Certificates.IsZero(),
				From: rfc3339(seal.From), Until: rfc3339(seal.Until), Ended: rfc3339(seal.Ended)}
		}
		if c.JSON {
			return s.json(out)
		}
		for _, o := range out {
			marks := ""
			if o.Demonstration {
				marks += " demonstration"
			}
			if o.Certificates {
				marks += " on-certificates"
			}
			if _, err := fmt.Fprintf(s.out, "%s  %s  %s  owner %s  from %s  until %s%s\n", o.ID, o.Name, o.State,
				dash(o.Owner), o.From, dash(o.Until), marks); err != nil {
				return err
			}
		}
		return nil
	})
}

// sealUseJSON is a use of a seal.
type sealUseJSON struct {
	At       string `json:"at"`
	Seal     string `json:"seal"`
	Login    string `json:"login"`
	Filing   string `json:"filing"`
	Number   string `json:"number,omitempty"`
	Original string `json:"original"` // SM3
	Stamped  string `json:"stamped"`  // SM3
	Marks    int    `json:"marks"`
}

func (c *sealListCmd) uses(ctx context.Context, s *streams, st *instance.Stores, a notary.Agency) error {
	const most = 1000
	uses, err := st.DB.Office.SealUses(ctx, a.ID, c.Seal, "", most)
	if err != nil {
		return err
	}
	out := make([]sealUseJSON, len(uses))
	for i, u := range uses {
		out[i] = sealUseJSON{At: rfc3339(u.At), Seal: u.SealID, Login: u.Login, Filing: u.Filing, Number: u.Number,
			Original: u.Original.String(), Stamped: u.Stamped.String(), Marks: u.Marks}
	}
	if c.JSON {
		return s.json(out)
	}
	for _, u := range out {
		if _, err := fmt.Fprintf(s.out, "%s  seal %s  by %s  of %s  number %s  %d times  SM3 %s\n", u.At, u.Seal,
			u.Login, u.Filing, dash(u.Number), u.Marks, u.Stamped); err != nil {
			return err
		}
	}
	return nil
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func readSeal(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, certificate.MaxSealBytes+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	return certificate.NormalizeSeal(data)
}

// demoSeal gives the demo agency a drawn seal if it never had one, so that documents can be
// stamped at once.
func demoSeal(ctx context.Context, st *instance.Stores, agency notary.Agency) error {
	if had, err := st.DB.Office.Seals(ctx, agency.ID); err != nil || len(had) > 0 {
		return err
	}
	png, err := certificate.DemonstrationSeal(agency.Name)
	if err != nil {
		return err
	}
	_, err = st.DB.Office.AddSeal(ctx, notary.Seal{ID: stamp.NewSealID(), AgencyID: agency.ID, Name: "公章", PNG: png,
		Demonstration: true, From: time.Now()}, true)
	return err
}
