package recovery

import (
	"context"
	"fmt"

	"stele/crypto/merkle"
	"stele/notary"
)

// dropBeyond removes tiles and entry bundles of entries that are in neither the tail nor the published
// checkpoint: a server that was killed had written them before anybody was told of these entries.
// Others take their indexes now, and a tile that is there is never overwritten. A crash on the way
// leaves the rest for the next run.
func (r *run) dropBeyond(ctx context.Context) error {
	var beyond []string
	err := r.objects.List(ctx, "tile/", func(o notary.Object) error {
		t, err := merkle.ParseTilePath(o.Key)
		if err != nil {
			if t, err = merkle.ParseEntriesPath(o.Key); err != nil {
				return nil // nothing of ours: fsck says so
			}
		}
		if (t.Index*merkle.TileWidth+uint64(t.Width))<<(merkle.TileHeight*t.Level) > r.res.To {
			beyond = append(beyond, o.Key)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("list the log's tiles: %w", err)
	}
	for _, key := range beyond {
		if err := r.objects.Delete(ctx, key); err != nil {
			return fmt.Errorf("remove %s, which is of entries that were never answered: %w", key, err)
		}
	}
	return nil
}
