package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
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
	dir := strings.TrimSuffix(objectName(folder), "/")
	entries, err := readNames(s.root, dir)
	if missing(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list %s: %w", folder, err)
	}
	var names []string
	infos := map[string]fs.FileInfo{}
	for _, name := range entries {
		// Most names of a large folder are often not asked for: only those that may be are looked at.
		if key := folder + name; !strings.HasPrefix(key, prefix) && !strings.HasPrefix(prefix, key) {
			continue
		}
		info, err := s.root.Lstat(path.Join(dir, name))
		if missing(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("list %s: %w", folder+name, err)
		}
		if info.IsDir() {
			name += "/" // so that "a-b" comes before "a/b", as in the order of whole keys
		}
		key := folder + name
		if blob.CheckPrefix(key) != nil || !strings.HasPrefix(key, prefix) && !strings.HasPrefix(prefix, key) {
			continue
		}
		names = append(names, name)
		infos[name] = info
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
func visit(key, prefix string, info fs.FileInfo, fn func(notary.Object) error) error {
	if !info.Mode().IsRegular() || !strings.HasPrefix(key, prefix) {
		return nil
	}
	return fn(object(key, info))
}
