package main

import (
	"context"
	"fmt"

	"stele/server/instance"
)

// exitNeeded is the exit code of `migrate --check` when there is something to do.
const exitNeeded = 3

type migrateCmd struct {
	instance.Config `embed:""`
	Check           bool `help:"Say what would be done, and change nothing. Exit code 0: nothing; 3: a migration is needed."`
}

// Run migrates, or says what there is to do.
func (c *migrateCmd) Run(ctx context.Context, s *streams) error {
	cfg, err := c.Resolve()
	if err != nil {
		return err
	}
	if c.Check {
		return c.check(ctx, s, cfg)
	}
	p, err := instance.Migrate(ctx, cfg)
	if err != nil {
		return startFailure(err)
	}
	printPlan(s, p, "done")
	_, err = fmt.Fprintln(s.out, "The database schema is up to date.")
	return err
}

func (c *migrateCmd) check(ctx context.Context, s *streams, cfg instance.Config) error {
	p, err := instance.PlanMigration(ctx, cfg)
	if err != nil {
		return startFailure(err)
	}
	if len(p.Pending) == 0 {
		_, err = fmt.Fprintf(s.out, "The database schema is up to date (version %d).\n", p.Want)
		return err
	}
	*s.code = exitNeeded
	printPlan(s, p, "to be done")
	advice := "Servers may run meanwhile, and go on after it."
	if p.Stopped() {
		advice = "Stop all servers before."
	}
	_, err = fmt.Fprintf(s.out,
		"The database has schema version %d, this program needs %d. Make a backup. %s Then run 'stele migrate'.\n",
		p.Have, p.Want, advice)
	return err
}

func printPlan(s *streams, p instance.Plan, what string) {
	for _, m := range p.Pending {
		servers := "servers stopped"
		if m.Beside {
			servers = "servers may run"
		}
		fmt.Fprintf(s.out, "%s: %s (%s)\n", what, m.Name, servers)
	}
}
