package main

import (
	"context"
	"fmt"

	"stele/notary/office/people"
	"stele/server/instance"
)

type keysCmd struct {
	Rewrap keysRewrapCmd `cmd:"" help:"Encrypt all keys of the instance, in the key folder and in the database, under another passphrase. Servers must be stopped."`
}

type keysRewrapCmd struct {
	instance.Config `embed:""`
	Old             string `type:"existingfile" help:"File with the former passphrase; the configured one if empty." placeholder:"FILE"`
	New             string `required:"" type:"existingfile" help:"File with the new passphrase, mode 0600 or 0400." placeholder:"FILE"`
}

// Run changes the passphrase.
func (c *keysRewrapCmd) Run(ctx context.Context, s *streams) error {
	return withPeople(ctx, c.Config, s, func(st *instance.Stores, p *people.People) error {
		if err := noteCommand(ctx, p, people.ActKeysRewrap, "", "", ""); err != nil {
			return err
		}
		done, err := st.RewrapKeys(ctx, c.Old, c.New)
		if err != nil {
			return err
		}
		fmt.Fprintf(s.out,
			"All %d key files and %d keys in the database are under the passphrase in %s; %d were before.\n",
			done.Files, done.Rows, c.New, done.Before)
		for _, name := range done.Absent {
			fmt.Fprintf(s.out, "%s is not in the key folder: what lies elsewhere has the former passphrase. When it "+
				"is back, run this again with --old and --new.\n", name)
		}
		_, err = fmt.Fprintln(s.out, "Next: put the new passphrase in the place of the former one, on every server, "+
			"copy the key folder to the others, start them, and back up.")
		return err
	})
}
