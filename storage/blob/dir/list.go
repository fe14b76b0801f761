package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"stele/notary"
	"stele/storage/blob"
)

// List calls fn for each object whose key begins with prefix, in the order of the keys'
// bytes, until fn fails; [fs.SkipAll] from fn ends the list without an error. fn may use
// the store. Objects that come or go meanwhile may be in the list or not. One folder's
// names are held in memory at a time, so keys should fan out.
func (s *Store) List(ctx context.Context, prefix string, fn func(notary.Object) error) error {
	if err := blob.CheckPrefix(prefix); err != nil {
		return err
	}
	folder := ""
	if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
		folder = prefix[:i+1]
	}
	err := s.list(ctx, folder, prefix, fn)
	if errors.Is(err, fs.SkipAll) {
		return nil
	}
	return err
}

// list walks folder, which is empty or ends in a slash.
func (s *Store) list(ctx context.Context, folder, prefix string, fn func(notary.Object) error) error {
	entries, err := readDir(s.root, strings.TrimSuffix(objectName(folder), "/"))
	if missing(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list %s: %w", folder, err)
	}
	names := make([]string, 0, len(entries))
	infos := make(map[string]fs.DirEntry, len(entries))
	for _, e := range entries {
		name := e.Name()
		if e.IsDir() {
			name += "/" // so that "a-b" comes before "a/b", as in the order of whole keys
		}
		key := folder + name
		if blob.CheckPrefix(key) != nil || !strings.HasPrefix(key, prefix) && !strings.HasPrefix(prefix, key) {
			continue
		}
		names = append(names, name)
		infos[name] = e
	}
	slices.Sort(names)
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		if strings.HasSuffix(name, "/") {
			err = s.list(ctx, folder+name, prefix, fn)
		} else {
			err = visit(folder+name, prefix, infos[name], fn)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// visit calls fn for one file.
func visit(key, prefix string, e fs.DirEntry, fn func(notary.Object) error) error {
	info, err := e.Info()
	if missing(err) || err == nil && !info.Mode().IsRegular() || !strings.HasPrefix(key, prefix) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list %s: %w", key, err)
	}
	return fn(object(key, info))
}
