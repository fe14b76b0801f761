package instance

import (
	"context"
	"fmt"
	"strings"

	"stele/notary/log/tail"
	"stele/server/http/api"
	"stele/storage/sqldb"
)

// watchDatabase has each database server that is connected to compared with what is published, and
// says what is weak about this one.
func (in *Instance) watchDatabase(ctx context.Context) {
	in.DB.CompareWith(func(ctx context.Context) (sqldb.Seen, error) {
		c, err := in.batch.Published(ctx)
		if err != nil {
			return sqldb.Seen{}, err
		}
		received, err := tail.Newest(ctx, in.Objects, c.Size)
		return sqldb.Seen{Received: received, Size: c.Size, Root: c.Root}, err
	})
	for _, w := range in.DB.Weaknesses() {
		in.log.WarnContext(ctx, "the database server may lose what was answered", "setting", w.Setting, "value",
			w.Value,
			"effect", w.Effect)
	}
	in.jobs.add(stageWatch, "database", in.wentBack)
	in.jobs.add(stageLog, "schema", in.watchSchema)
}

// wentBack ends the instance when the database holds less than it did.
func (in *Instance) wentBack(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-in.DB.WentBack():
		return in.DB.WentBackError()
	}
}

// durability is a check of its own: the service works without, and may lose records.
func (in *Instance) durability() (api.Check, bool) {
	weak := in.DB.Weaknesses()
	if len(weak) == 0 {
		return api.Check{}, false
	}
	var parts []string
	for _, w := range weak {
		parts = append(parts, fmt.Sprintf("%s is %s: %s", w.Setting, w.Value, w.Effect))
	}
	return api.Check{Name: "durability", Detail: strings.Join(parts, "; ")}, true
}
