package main

import (
	"context"
	"fmt"
	"time"

	"stele/notary/office/people"
	"stele/server/instance"
)

type logKeyCmd struct {
	Show   logKeyShowCmd   `cmd:"" default:"withargs" help:"Print the public key of the instance's log."`
	Next   logKeyNextCmd   `cmd:"" help:"Make the key that is to follow, if there is none yet, and print its public half for the members of the chain. Nothing is signed with it before the switch."`
	Switch logKeySwitchCmd `cmd:"" help:"Make the next key the log's key. All servers of the instance must be stopped."`
}

type logKeyShowCmd struct {
	instance.Config `embed:""`
}

// Run prints the public key of the log.
func (c *logKeyShowCmd) Run(ctx context.Context, s *streams) error {
	return withStores(ctx, c.Config, func(st *instance.Stores) error {
		key, err := st.LogKey()
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(s.out, key)
		return err
	})
}

type logKeyNextCmd struct {
	instance.Config `embed:""`
}

// Run makes the next key and prints its public half.
func (c *logKeyNextCmd) Run(ctx context.Context, s *streams) error {
	return withStores(ctx, c.Config, func(st *instance.Stores) error {
		key, err := st.NextLogKey(time.Now())
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(s.out, key)
		return err
	})
}

// actLogKey is the switch in the audit trail; it is noted before it is done.
const actLogKey people.Action = "log_key_switch"

type logKeySwitchCmd struct {
	instance.Config `embed:""`
	Unadmitted      bool `help:"Switch although the chain's members have not admitted the next key yet, because the present one was stolen: records are logged, and anchored once the members have."`
}

// Run switches to the next key.
func (c *logKeySwitchCmd) Run(ctx context.Context, s *streams) error {
	return withPeople(ctx, c.Config, s, func(st *instance.Stores, p *people.People) error {
		if err := noteCommand(ctx, p, actLogKey, "", "", ""); err != nil {
			return err
		}
		key, err := st.SwitchLogKey(ctx, c.Unadmitted, time.Now())
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(s.out, "The log's key is now\n%s\nPublish %s: it says until when the former key was "+
			"good. Back up the key folder, start the server, and destroy the former key (log-*.key) once the first "+
			"record is anchored.\n", key, st.Config.TrustPath())
		return err
	})
}
