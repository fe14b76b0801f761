package tail

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"stele/notary"
	"stele/notary/erasure"
)

// Forget makes the stretches with an entry anew from the rows, without what was erased there, and
// removes the former ones with all their versions. Nothing changes where nothing was erased. A crash
// between the two steps leaves both; [Tail.Sweep] does it again.
func (t *Tail) Forget(ctx context.Context, index uint64) error {
	list, err := names(ctx, t.objects, shardsOf(index, index+1)...)
	if err != nil {
		return err
	}
	for _, n := range list {
		if n.First > index || n.End() <= index {
			continue
		}
		if err := t.renew(ctx, n, list); err != nil {
			return err
		}
	}
	return nil
}

// renew replaces one stretch by what the rows say now.
func (t *Tail) renew(ctx context.Context, n Name, others []Name) error {
	there, err := t.read(ctx, n)
	if errors.Is(err, notary.ErrObjectNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	now, err := t.store.Stretch(ctx, n.First, n.End())
	if err != nil {
		return err
	}
	if sameRows(there, now) {
		return nil
	}
	next := n
	for _, o := range others {
		if o.First == n.First && o.Count == n.Count {
			next.Revision = max(next.Revision, o.Revision)
		}
	}
	next.Revision++
	text, err := now.Encode()
	if err != nil {
		return err
	}
	data, err := t.opt.Sealer.seal(next.String(), text)
	if err != nil {
		return err
	}
	// Differing: another server does the same at this moment, from the same rows.
	if err := t.objects.PutOnce(ctx, next.String(), data); err != nil && !errors.Is(err, notary.ErrObjectDiffers) {
		return err
	}
	return t.objects.Delete(ctx, n.String())
}

// sameRows reports whether two stretches say the same of each record.
func sameRows(a, b Stretch) bool {
	return slices.EqualFunc(a.Entries, b.Entries, func(a, b Entry) bool {
		x, err1 := encode(a.Record)
		y, err2 := encode(b.Record)
		return err1 == nil && err2 == nil && bytes.Equal(x, y)
	})
}

// Erased implements [erasure.Tail].
func (t *Tail) Erased(ctx context.Context, e erasure.Erasure, all bool) error {
	return t.erased(ctx, FromErasure(e, all))
}

func (t *Tail) erased(ctx context.Context, e Erased) error {
	err := t.putSmall(ctx, ErasuresPrefix+e.ID, e)
	return errors.Join(err, t.Forget(ctx, e.Index))
}

// Sweep removes stretches and erasures that are older than they are kept, and those that were
// replaced, and does again what could not be done when something was erased. It returns how many
// objects it removed.
func (t *Tail) Sweep(ctx context.Context) (removed int, err error) {
	before := t.opt.Now().Add(-t.opt.Keep)
	erased, err := t.store.ErasuresSince(ctx, before)
	if err != nil {
		return 0, err
	}
	for _, e := range erased {
		if err := t.erased(ctx, e); err != nil {
			return 0, err
		}
	}
	var last Name
	drop := func(key string) error {
		removed++
		return t.objects.Delete(ctx, key)
	}
	err = t.objects.List(ctx, EntriesPrefix, func(o notary.Object) error {
		n, err := ParseName(o.Key)
		if err != nil {
			return nil // not ours
		}
		former := last
		last = n
		if former.First == n.First && former.Count == n.Count && former.Revision < n.Revision {
			if err := drop(former.String()); err != nil {
				return err
			}
		}
		if o.ModTime.Before(before) {
			return drop(o.Key)
		}
		return nil
	})
	if err != nil {
		return removed, err
	}
	return removed, t.objects.List(ctx, ErasuresPrefix, func(o notary.Object) error {
		if o.ModTime.Before(before) {
			return drop(o.Key)
		}
		return nil
	})
}
