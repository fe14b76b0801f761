// Package closed keeps files and folders to the account that runs the service: others of the
// same machine neither read what lies there nor put something in its place.
package closed

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// ErrOpen is wrapped by refusals of files and folders that other accounts reach.
var ErrOpen = errors.New("other accounts of this machine can reach it")

const others fs.FileMode = 0o077

// Check refuses each of the files and folders that the group or everybody may read, write or
// search; what is not there is passed by. The error says for each what to run. A link is judged by
// what it leads to. Access control lists beyond the mode are not looked at.
func Check(paths ...string) error {
	var errs []error
	for _, path := range paths {
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			errs = append(errs, err)
		case info.Mode().Perm()&others != 0:
			mode := 0o600
			if info.IsDir() {
				mode = 0o700
			}
			errs = append(errs, fmt.Errorf("%s: %w (it is %v): look who may have used that, and run: chmod %o %s", path,
				ErrOpen, info.Mode(), mode, path))
		}
	}
	return errors.Join(errs...)
}

// Folder makes a folder, and those above it, with mode 0700. One that is there is closed if
// ours says so of its entries, by name: it is a new home then, perhaps made by hand. If other
// things lie in it, it is left as it is, and refused if it is open.
func Folder(path string, ours func(name string) bool) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	if Check(path) == nil {
		return nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !ours(e.Name()) {
			return Check(path)
		}
	}
	if err := os.Chmod(path, 0o700); err != nil {
		return fmt.Errorf("close the folder to other accounts: %w", err)
	}
	return nil
}
