package tail

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"stele/crypto/seal"
	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/proof/statement"
)

// ErrContradiction: the object store holds another entry at an index than the database gave out: the
// database is not the one that it was, or not its newest state. A person must look.
var ErrContradiction = errors.New("the tail in the object store holds other entries than the database: " +
	"the database is another or an older one")

// Logged are the entries as the log has them.
func (s Stretch) Logged() []statement.Entry {
	out := make([]statement.Entry, len(s.Entries))
	for i, e := range s.Entries {
		out[i] = statement.Entry{Statement: []byte(e.Statement), Signature: e.Signature,
			Certificate: sm.Digest(e.Certificate)}
	}
	return out
}

// Differs looks for an index at which a stretch has another entry than a list, which begins at first.
func (s Stretch) Differs(first uint64, list []statement.Entry) (index uint64, differs bool) {
	mine := s.Logged()
	for i := max(first, s.First); i < min(first+uint64(len(list)), s.First+uint64(len(mine))); i++ {
		a, b := mine[i-s.First], list[i-first]
		if !bytes.Equal(a.Statement, b.Statement) || !bytes.Equal(a.Signature, b.Signature) ||
			a.Certificate != b.Certificate {
			return i, true
		}
	}
	return 0, false
}

// compare reads the stretch of a name and compares it with entries that begin at first. One that is not
// there any more, or that nobody can read since the key was replaced, says nothing.
func (t *Tail) compare(ctx context.Context, n Name, first uint64, list []statement.Entry) error {
	there, err := t.read(ctx, n)
	switch {
	case errors.Is(err, notary.ErrObjectNotFound): // removed for its age
		return nil
	case errors.Is(err, seal.ErrOpen) || errors.Is(err, ErrFormat):
		t.opt.Log.WarnContext(ctx, "a stretch of the bucket's tail cannot be read", "object", n.String(), "error", err)
		return nil
	case err != nil:
		return err
	}
	if i, differs := there.Differs(first, list); differs {
		return fmt.Errorf("%w: entry %d, see %s", ErrContradiction, i, n)
	}
	return nil
}

// compareRows compares a stretch with the database's entries before end.
func (t *Tail) compareRows(ctx context.Context, n Name, end uint64) error {
	if n.First >= end {
		return nil
	}
	rows, err := t.store.Entries(ctx, n.First, min(n.End(), end))
	if err != nil {
		return err
	}
	return t.compare(ctx, n, n.First, rows)
}

// compareBeside compares a stretch that was just put with what others put under the same first indexes;
// theirs are the names that could not be put. Two databases that part at an index each have a
// transaction that begins there, so that who comes second finds the other's: one short list for a group.
// What overlaps otherwise is found by [Tail.Run].
func (t *Tail) compareBeside(ctx context.Context, s Stretch, objects map[string][]byte, theirs map[string]bool) error {
	for key := range objects {
		n, err := ParseName(key)
		if err != nil {
			return err
		}
		list, err := names(ctx, t.objects, beginning(n.First))
		if err != nil {
			return err
		}
		for _, o := range list {
			if o == n && !theirs[key] {
				continue
			}
			if err := t.compare(ctx, o, s.First, s.Logged()); err != nil {
				return err
			}
		}
		t.mu.Lock()
		t.own[n.First] = true
		t.mu.Unlock()
	}
	return nil
}

// compareNew compares, with the database's entries from what was checked up to end, each stretch that
// overlaps another, and the newest of those that this process did not put: of another history each entry
// is another one, so its newest stretch shows it.
func (t *Tail) compareNew(ctx context.Context, list []Name, end uint64) error {
	var suspects []Name
	var newest, widest Name // widest reaches furthest of those before
	for _, n := range list {
		if n.End() <= t.checked || n.First >= end {
			continue
		}
		if n.First < widest.End() && (n.First != widest.First || n.Count != widest.Count) {
			suspects = append(suspects, widest, n)
		}
		if n.End() >= widest.End() {
			widest = n
		}
		if !t.isOwn(n.First) && n.End() >= newest.End() {
			newest = n
		}
	}
	if newest.Count > 0 {
		suspects = append(suspects, newest)
	}
	seen := map[Name]bool{}
	for _, n := range suspects {
		if seen[n] {
			continue
		}
		seen[n] = true
		if err := t.compareRows(ctx, n, end); err != nil {
			return err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for first := range t.own {
		if first < end {
			delete(t.own, first)
		}
	}
	return nil
}

func (t *Tail) isOwn(first uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.own[first]
}

// CompareNewest compares the newest stretch with the database's entries of the same indexes, as far as
// there are received ones. It returns [ErrContradiction] where they differ.
func (t *Tail) CompareNewest(ctx context.Context, received uint64) error {
	list, err := names(ctx, t.objects, shardsOf(received-min(received, 1), received)...)
	if err != nil {
		return err
	}
	var newest Name
	for _, n := range list {
		if n.First < received && n.End() >= newest.End() {
			newest = n
		}
	}
	if newest.Count == 0 {
		return nil
	}
	return t.compareRows(ctx, newest, received)
}

// contradicted remembers an error that is a contradiction: from here on nothing is put, and [Tail.Run]
// ends with it.
func (t *Tail) contradicted(err error) error {
	if !errors.Is(err, ErrContradiction) {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fatal == nil {
		t.fatal = err
		close(t.ended)
	}
	return err
}

// contradiction is what was remembered.
func (t *Tail) contradiction() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.fatal
}
