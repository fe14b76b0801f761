package closed

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func fatalIfErr(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestCheck(t *testing.T) {
	file := filepath.Join(t.TempDir(), "stele.db")
	fatalIfErr(t, os.WriteFile(file, nil, 0o600))
	for mode, open := range map[fs.FileMode]bool{0o600: false, 0o400: false, 0o640: true, 0o604: true, 0o602: true,
		0o620: true, 0o601: true} {
		fatalIfErr(t, os.Chmod(file, mode))
		if err := Check(file, file+"-wal"); errors.Is(err, ErrOpen) != open || open && !strings.Contains(err.Error(),
			"chmod 600 "+file) {
			t.Errorf("%o: %v", mode, err)
		}
	}
	fatalIfErr(t, os.Chmod(filepath.Dir(file), 0o755))
	if err := Check(filepath.Dir(file)); err == nil || !strings.Contains(err.Error(), "chmod 700 "+filepath.Dir(file)) {
		t.Error(err)
	}
}

func TestFolder(t *testing.T) {
	dir := t.TempDir()
	none := func(string) bool { return false }
	fatalIfErr(t, os.Chmod(dir, 0o755))
	fatalIfErr(t, Folder(filepath.Join(dir, "a", "b"), none))
	fatalIfErr(t, Check(filepath.Join(dir, "a"), filepath.Join(dir, "a", "b")))
	if err := Folder(dir, none); !errors.Is(err, ErrOpen) {
		t.Errorf("a folder with other things in it: %v", err)
	}
	fatalIfErr(t, Folder(dir, func(name string) bool { return name == "a" }))
	fatalIfErr(t, Check(dir))
}
