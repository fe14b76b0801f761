package keystore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// writeNew makes path with the given contents, durably and all at once.
//
// The contents go to a temporary file in the same folder, which is synced and then linked:
// link, unlike rename, fails if the name is taken. A crash before it leaves no key and a
// temporary file that nothing reads; a crash after it leaves the whole key.
func writeNew(path string, text []byte) error {
	dir, name := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	f, err := os.CreateTemp(dir, name+".tmp-") // with permissions 0600
	if err != nil {
		return fmt.Errorf("temporary file: %w", err)
	}
	tmp := f.Name()
	defer os.Remove(tmp) // the name only: path keeps the file
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("temporary file: %w", err)
	}
	err = os.Link(tmp, path)
	if errors.Is(err, fs.ErrExist) {
		return ErrExists
	}
	if err != nil {
		return err
	}
	if err := syncFolder(dir); err != nil {
		// Not known to be durable: a key that may vanish must not be used to sign.
		return errors.Join(fmt.Errorf("sync folder: %w", err), os.Remove(path))
	}
	return nil
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
