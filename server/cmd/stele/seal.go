package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"stele/notary"
	"stele/notary/certificate"
	"stele/server/instance"
)

type agencySealCmd struct {
	instance.Config `embed:""`
	Agency          string `arg:"" help:"The agency's credit code or id."`
	Image           string `xor:"what" required:"" help:"PNG of the seal, at most 512 KiB and 1200 by 1200 pixels; transparency stays." placeholder:"FILE"`
	Remove          bool   `xor:"what" required:"" help:"From now on the agency has no seal."`
	Demonstration   bool   `default:"true" negatable:"" help:"The seal was made without the key of a licensed certification authority: certificates say so across it. Only --no-demonstration takes that away."`
}

// Run gives an agency a seal, or takes it away. Certificates of records that are there keep
// what they had.
func (c *agencySealCmd) Run(ctx context.Context, s *streams) error {
	var png []byte
	if !c.Remove {
		var err error
		if png, err = readSeal(c.Image); err != nil {
			return fmt.Errorf("%s: %w", c.Image, err)
		}
	}
	return withStores(ctx, c.Config, func(st *instance.Stores) error {
		a, err := findAgency(ctx, st, c.Agency)
		if err != nil {
			return err
		}
		from, err := st.DB.AddSeal(ctx, notary.Seal{AgencyID: a.ID, PNG: png, Demonstration: c.Demonstration, From: time.Now()})
		if err != nil {
			return err
		}
		what := "has a seal"
		switch {
		case c.Remove:
			what = "has no seal"
		case c.Demonstration:
			what = "has a demonstration seal"
		}
		_, err = fmt.Fprintf(s.out, "Agency %s (%s) %s on certificates of records issued from %s on. Those of earlier records stay as they are.\n",
			a.Name, a.Code, what, from.Format(time.RFC3339))
		return err
	})
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

// demoSeal gives the demo agency a drawn seal if it has none.
func demoSeal(ctx context.Context, st *instance.Stores, agency notary.Agency) error {
	if _, err := st.DB.SealAt(ctx, agency.ID, time.Now()); !errors.Is(err, notary.ErrNotFound) {
		return err
	}
	png, err := certificate.DemonstrationSeal(agency.Name)
	if err != nil {
		return err
	}
	_, err = st.DB.AddSeal(ctx, notary.Seal{AgencyID: agency.ID, PNG: png, Demonstration: true, From: time.Now()})
	return err
}
