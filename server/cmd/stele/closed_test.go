package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// openEntries are the files and folders below a folder, itself included, that other accounts of
// this machine may read, change or search.
func openEntries(t *testing.T, root string) (open []string) {
	t.Helper()
	fatalIfErr(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode()&fs.ModeSymlink == 0 && info.Mode().Perm()&0o077 != 0 {
			open = append(open, info.Mode().String()+" "+path)
		}
		return err
	}))
	return open
}

// Whatever the service makes is closed to other accounts, also in a folder that was open, with
// the umask that most systems have; and it does not start on what was opened.
func TestClosedData(t *testing.T) {
	before := syscall.Umask(0o022)
	defer syscall.Umask(before)
	site := site{data: t.TempDir(), inLab: true}
	fatalIfErr(t, os.Chmod(site.data, 0o755))
	s := site.start(t, "--bsn")
	rec := s.notarize(fileRequest([]byte("%PDF-1.4"), `{"title":"公示"}`, ""))
	s.notarize(digestRequest(newDigest(), "", "anchored"))
	if open := openEntries(t, site.data); len(open) > 0 {
		t.Errorf("while it runs:\n%s", strings.Join(open, "\n"))
	}
	for _, name := range []string{"stele.db", "stele.db-wal", "stele.db-shm"} {
		if _, err := os.Stat(filepath.Join(site.data, name)); err != nil {
			t.Error(err)
		}
	}
	s.stop()
	if open := openEntries(t, site.data); len(open) > 0 {
		t.Errorf("afterwards:\n%s", strings.Join(open, "\n"))
	}
	for _, c := range []struct {
		name       string
		mode, good fs.FileMode
		commands   []string
	}{
		{".", 0o755, 0o700, []string{"serve", "fsck", "demo"}}, {".", 0o710, 0o700, []string{"serve"}}, {"stele.db",
			0o644, 0o600, []string{"serve", "migrate", "fsck"}},
		{"stele.db", 0o620, 0o600, []string{"serve"}}, {"chain", 0o750, 0o700, []string{"serve"}}, {"chain/sign.db",
			0o640, 0o600, []string{"serve"}}, {"objects", 0o755, 0o700, []string{"serve"}},
	} {
		t.Run(fmt.Sprintf("%s of mode %o", c.name, c.mode), func(t *testing.T) {
			path := filepath.Join(site.data, c.name)
			fatalIfErr(t, os.Chmod(path, c.mode))
			for _, verb := range c.commands {
				_, errs, code := site.output(t, verb, "--listen", "127.0.0.1:0")
				if code == 0 || !strings.Contains(errs, fmt.Sprintf("run: chmod %o %s", c.good, path)) {
					t.Errorf("%s with %s of mode %o: exit code %d, %s", verb, c.name, c.mode, code, errs)
				}
			}
			fatalIfErr(t, os.Chmod(path, c.good))
		})
	}
	again := site.start(t)
	again.get("/api/v1/records/"+rec.ID).json(t, &rec)
	again.stop()
}

// A folder that others use is not taken over.
func TestInitLeavesOpenFolders(t *testing.T) {
	site := site{data: t.TempDir()}
	fatalIfErr(t, os.Chmod(site.data, 0o755))
	fatalIfErr(t, os.WriteFile(filepath.Join(site.data, "letters.txt"), nil, 0o644))
	_, errs, code := site.output(t, "init", "--new-passphrase")
	if code == 0 || !strings.Contains(errs, "chmod 700 "+site.data) {
		t.Errorf("%d %s", code, errs)
	}
}
