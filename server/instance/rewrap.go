package instance

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"stele/crypto/keystore"
	"stele/notary"
	"stele/notary/log/batchlog"
)

// Rewrapped says what [Stores.RewrapKeys] found.
type Rewrapped struct {
	Files, Rows int      // under the new passphrase
	Before      int      // of them, those that were so before
	Absent      []string // key files of the instance that lie elsewhere
}

// RewrapKeys encrypts all keys of the key folder and of the database under another passphrase. No
// server of the instance may run: one that does holds the former passphrase in memory. An empty old
// file means the configured passphrase.
//
// Each key is tried with the new passphrase first, so after a crash anywhere the same call goes on:
//
//  1. the log's key                   no server starts with the former passphrase any more
//  2. the database's keys             in one transaction
//  3. the other files, one by one     no server starts with the new passphrase yet, since the key of
//     webhooks, which every server has, comes last
//  4. everything is read again        complete; nothing changes any more
func (s *Stores) RewrapKeys(ctx context.Context, oldFile, newFile string) (Rewrapped, error) {
	w := rewrapping{stores: s, newFile: newFile, oldName: "the file " + oldFile}
	var err error
	if oldFile == "" {
		w.oldName = "the configured passphrase"
		w.from, err = s.Config.passphrase()
	} else {
		w.from, err = keystore.Passphrase(oldFile, "")
	}
	if err != nil {
		return w.done, fmt.Errorf("the former passphrase: %w", err)
	}
	if w.to, err = keystore.Passphrase(newFile, ""); err != nil {
		return w.done, fmt.Errorf("the new passphrase: %w", err)
	}
	release, err := s.stopped(ctx)
	if err != nil {
		return w.done, err
	}
	defer release()
	files, err := w.files()
	if err != nil {
		return w.done, err
	}
	// What cannot be opened is found before anything is changed.
	sealed, changed := make([][]byte, len(files)), make([]bool, len(files))
	for i, path := range files {
		if sealed[i], changed[i], err = w.rewrapFile(ctx, path); err != nil {
			return w.done, err
		}
	}
	former, rows, err := w.rewrapRows(ctx)
	if err != nil {
		return w.done, err
	}
	for i, path := range files {
		if i == 1 {
			if err := s.DB.Log.ResealKeys(ctx, former, rows); err != nil {
				return w.done, err
			}
		}
		if !changed[i] {
			w.done.Before++
		} else if err := replaceFile(path, sealed[i]); err != nil {
			return w.done, err
		}
	}
	return w.done, w.verify(ctx, files)
}

type rewrapping struct {
	stores   *Stores
	from, to keystore.Secret
	oldName  string
	newFile  string
	done     Rewrapped
}

// files are the key files of the folder, the log's first and that of webhooks last: every server needs
// both. Those of roots and authorities, which may lie elsewhere, are noted if they are not there.
func (w *rewrapping) files() ([]string, error) {
	c := w.stores.Config
	files, err := filepath.Glob(filepath.Join(c.Keys, "*.key"))
	if err != nil {
		return nil, err
	}
	authorities, err := c.Authorities()
	if err != nil {
		return nil, err
	}
	for _, a := range authorities {
		if name := filepath.Base(a.key); !a.HasKey() && !slices.Contains(w.done.Absent, name) {
			w.done.Absent = append(w.done.Absent, name)
		}
	}
	for _, name := range []string{fileLogKey, fileWebhookKey} {
		if !slices.Contains(files, c.keyPath(name)) {
			return nil, fmt.Errorf("%s is not there: correct the key folder", c.keyPath(name))
		}
	}
	rank := map[string]int{c.keyPath(fileLogKey): -1, c.keyPath(fileWebhookKey): 1}
	slices.SortStableFunc(files, func(a, b string) int { return rank[a] - rank[b] })
	return files, nil
}

// rewrapFile is a file's key under the new passphrase. The lease that keeps servers from starting is
// held on meanwhile: a key takes some tenths of a second.
func (w *rewrapping) rewrapFile(ctx context.Context, path string) ([]byte, bool, error) {
	if err := w.hold(ctx); err != nil {
		return nil, false, err
	}
	text, err := keystore.ReadSealed(path)
	if err != nil {
		return nil, false, err
	}
	sealed, changed, err := keystore.Rewrap(text, w.from, w.to)
	return sealed, changed, w.explain("the key file "+path, err)
}

func (w *rewrapping) explain(what string, err error) error {
	if errors.Is(err, keystore.ErrPassphrase) {
		return fmt.Errorf("%s is opened neither by the passphrase in the file %s nor by that of %s: nothing more was "+
			"changed. Name the file with its passphrase as --old", what, w.newFile, w.oldName)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// rewrapRows are the database's keys that are under the former passphrase, as they are and under the new one.
func (w *rewrapping) rewrapRows(ctx context.Context) (from, to []notary.SealedKey, err error) {
	keys, err := w.stores.DB.Log.SealedKeys(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, k := range keys {
		if err := w.hold(ctx); err != nil {
			return nil, nil, err
		}
		sealed, changed, err := keystore.Rewrap(k.Sealed, w.from, w.to)
		if err := w.explain("the database's key of agency "+k.AgencyID, err); err != nil {
			return nil, nil, err
		}
		if !changed {
			w.done.Before++
			continue
		}
		n := k
		n.Sealed = sealed
		from, to = append(from, k), append(to, n)
	}
	return from, to, nil
}

func (w *rewrapping) hold(ctx context.Context) error {
	ok, err := w.stores.DB.Lease(ctx, batchlog.LeaseName, stoppedHolder(), switchTime)
	if err == nil && !ok {
		err = errors.New("a server of this instance has started: stop it, and run this again")
	}
	return err
}

// verify reads everything again.
func (w *rewrapping) verify(ctx context.Context, files []string) error {
	for _, path := range files {
		text, err := keystore.ReadSealed(path)
		if err == nil {
			err = keystore.Check(text, w.to)
		}
		if err != nil {
			return fmt.Errorf("after the change, the key file %s: %w", path, err)
		}
		w.done.Files++
	}
	keys, err := w.stores.DB.Log.SealedKeys(ctx)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if err := keystore.Check(k.Sealed, w.to); err != nil {
			return fmt.Errorf("after the change, the database's key of agency %s: %w", k.AgencyID, err)
		}
		w.done.Rows++
	}
	return nil
}
