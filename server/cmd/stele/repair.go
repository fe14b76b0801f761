package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"stele/notary/office/people"
	"stele/server/instance"
)

// actRepairAnchors is the removal of anchors in the audit trail; it is noted before it is done.
const actRepairAnchors people.Action = "anchors_repair"

type repairAnchorsCmd struct {
	instance.Config `embed:""`
	Apply           bool `help:"Remove what is found, where a later anchor serves in its place. Without it nothing is changed."`
	JSON            bool `name:"json" help:"Print what is found as JSON."`
}

// Run looks for anchors that no bundle can use, and removes them when asked to.
func (c *repairAnchorsCmd) Run(ctx context.Context, s *streams) error {
	return withPeople(ctx, c.Config, s, func(st *instance.Stores, p *people.People) error {
		found, err := st.UselessAnchors(ctx)
		if err != nil {
			return err
		}
		if err := c.print(s, found); err != nil || !c.Apply || len(found) == 0 {
			return err
		}
		var sizes []string
		for _, a := range found {
			if a.Serves > 0 {
				sizes = append(sizes, fmt.Sprintf("%s %d", a.Target, a.Size))
			}
		}
		if len(sizes) == 0 {
			return nil
		}
		const most = 20 // that are named in the trail
		about := strings.Join(sizes[:min(len(sizes), most)], ", ")
		if err := noteCommand(ctx, p, actRepairAnchors, "", fmt.Sprint(len(sizes)), about); err != nil {
			return err
		}
		n, err := st.DropAnchors(ctx, found)
		fmt.Fprintf(s.err, "%d anchors were removed. Next: stele fsck\n", n)
		return err
	})
}

func (c *repairAnchorsCmd) print(s *streams, found []instance.UselessAnchor) error {
	if c.JSON {
		if found == nil {
			found = []instance.UselessAnchor{}
		}
		return json.NewEncoder(s.out).Encode(found)
	}
	if len(found) == 0 {
		_, err := fmt.Fprintln(s.out, "Every anchor can be used by a bundle.")
		return err
	}
	for _, a := range found {
		then := fmt.Sprintf("the anchor of size %d serves in its place", a.Serves)
		if a.Serves == 0 {
			then = "no later anchor serves in its place yet: it stays until one does"
		}
		if _, err := fmt.Fprintf(s.out, "%s, size %d: %s; %s\n", a.Target, a.Size, a.Why, then); err != nil {
			return err
		}
	}
	return nil
}
