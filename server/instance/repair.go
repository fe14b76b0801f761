package instance

import (
	"context"
	"fmt"

	"stele/notary/log/fsck"
)

// UselessAnchor is a row of evidence that no bundle can use.
type UselessAnchor struct {
	Target string `json:"target"`
	Size   uint64 `json:"size"`
	Why    string `json:"why"`
	Serves uint64 `json:"serves,omitempty"` // size of the later anchor that serves in its place; 0: none yet
}

// anchorsAtOnce are read in one go.
const anchorsAtOnce = 1000

// UselessAnchors finds them, smallest first: what a former key signed, say, before it was fenced off.
func (s *Stores) UselessAnchors(ctx context.Context) ([]UselessAnchor, error) {
	var out []UselessAnchor
	waiting := map[string][]int{} // places in out that no later anchor serves yet, by target
	for after := int64(0); ; {
		list, err := s.DB.Log.AnchorsFrom(ctx, after, anchorsAtOnce)
		if err != nil {
			return nil, fmt.Errorf("read anchors: %w", err)
		}
		for _, a := range list {
			after = int64(a.Size)
			if err := fsck.CheckAnchor(ctx, s.DB.Log, s.Trust, a); err != nil {
				waiting[a.Target] = append(waiting[a.Target], len(out))
				out = append(out, UselessAnchor{Target: a.Target, Size: a.Size, Why: err.Error()})
				continue
			}
			for _, i := range waiting[a.Target] {
				out[i].Serves = a.Size
			}
			delete(waiting, a.Target)
		}
		if len(list) < anchorsAtOnce {
			return out, ctx.Err()
		}
	}
}

// DropAnchors removes those that a later anchor serves in place of; the others stay, for they may
// be all that there is. It returns how many were removed. A crash on the way leaves the rest, for the
// next call.
func (s *Stores) DropAnchors(ctx context.Context, list []UselessAnchor) (int, error) {
	n := 0
	for _, a := range list {
		if a.Serves == 0 {
			continue
		}
		if err := s.DB.Log.DropAnchor(ctx, a.Target, a.Size); err != nil {
			return n, fmt.Errorf("anchor of size %d on %s: %w", a.Size, a.Target, err)
		}
		n++
	}
	return n, nil
}
