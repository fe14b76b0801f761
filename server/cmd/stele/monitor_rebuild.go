package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"stele/notary/monitor"
	"stele/notary/proof"
)

type monitorRebuildCmd struct {
	Data  string `required:"" help:"The mirror's folder." placeholder:"DIR"`
	Trust string `required:"" help:"Trust roots to verify with." placeholder:"FILE"`
	Out   string `required:"" help:"Folder for the bundles, one file for each record; it is made." placeholder:"DIR"`
}

// Help implements kong.HelpProvider.
func (*monitorRebuildCmd) Help() string {
	return "Each bundle is verified before it is written. It shows no attributes: the log has commitments to them " +
		"only.\n\nExit codes: 0 all bundles hold; 1 some do not, or the folder has no complete mirror; 2 wrong usage."
}

// Run makes the bundles. A crash leaves some of them; the command is run again.
func (c *monitorRebuildCmd) Run(ctx context.Context, s *streams) error {
	trust, err := readTrust(c.Trust, proof.ParseTrust)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(c.Data, "state.json")); err != nil {
		return usage(fmt.Errorf("--data is no folder of a monitor: %w", err))
	}
	folder, err := monitor.OpenFolder(c.Data)
	if err != nil {
		return err
	}
	defer folder.Close()
	if err := os.MkdirAll(c.Out, 0o755); err != nil {
		return err
	}
	made, bad := 0, 0
	err = folder.Rebuild(ctx, trust, func(r monitor.Rebuilt) error {
		if step, failed := r.Report.FailedStep(); failed && !r.Report.ExpiredAtAnchor() {
			bad++
			_, err := fmt.Fprintf(s.err, "%s: %s: %s\n", r.Number, step.Name, step.Detail)
			return err
		}
		made++
		return os.WriteFile(filepath.Join(c.Out, r.Number+".json"), r.Bundle, 0o644)
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "%d bundles were made in %s\n", made, c.Out)
	if bad > 0 {
		return errors.New("the bundles of some records do not hold and were not written")
	}
	return ctx.Err()
}
