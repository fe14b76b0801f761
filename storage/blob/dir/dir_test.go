package dir_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stele/notary"
	"stele/storage/blob"
	"stele/storage/blob/dir"
	"stele/storage/storagetest"
)

var _ storagetest.Store = (*dir.Store)(nil)

func newStore(t testing.TB) (*dir.Store, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "new", "objects")
	if err := dir.Init(path); err != nil {
		t.Fatal(err)
	}
	return mustOpen(t, path), path
}

func mustOpen(t testing.TB, path string) *dir.Store {
	t.Helper()
	s, err := dir.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestConformance(t *testing.T) {
	storagetest.TestObjects(t, func(t *testing.T) storagetest.Store { s, _ := newStore(t); return s })
}

// wantOnly fails unless tmp/ holds so many files and objects/ exactly these keys.
func wantOnly(t *testing.T, s *dir.Store, path string, temps int, keys ...string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(path, "tmp"))
	if err != nil || len(entries) != temps {
		t.Errorf("tmp/ holds %v (%v), want %d files", entries, err, temps)
	}
	var got []string
	err = s.List(t.Context(), "", func(o notary.Object) error { got = append(got, o.Key); return nil })
	if err != nil || fmt.Sprint(got) != fmt.Sprint(keys) {
		t.Errorf("stored %q (%v), want %q", got, err, keys)
	}
}

func TestOpenNeverGuesses(t *testing.T) {
	base := t.TempDir()
	if _, err := dir.Open(filepath.Join(base, "missing")); !errors.Is(err, blob.ErrNotInitialized) ||
		!strings.Contains(err.Error(), "mount") {
		t.Errorf("missing folder: %v", err)
	}
	if _, err := dir.Open(base); !errors.Is(err, blob.ErrNotInitialized) ||
		!strings.Contains(err.Error(), "stele init") {
		t.Errorf("empty folder: %v", err)
	}
	_, path := newStore(t)
	if err := dir.Init(path); err != nil {
		t.Errorf("Init once more: %v", err)
	}
	if err := os.Remove(filepath.Join(path, "locks")); err != nil {
		t.Fatal(err)
	}
	if _, err := dir.Open(path); !errors.Is(err, blob.ErrNotInitialized) {
		t.Errorf("without locks/: %v", err)
	}
	marker := filepath.Join(path, "STELE-OBJECTS")
	if err := errors.Join(os.Remove(marker), os.WriteFile(marker, []byte("stele object store, layout 2\n"),
		0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := dir.Open(path); err == nil || !strings.Contains(err.Error(), "another version") {
		t.Errorf("other layout: %v", err)
	}
	if err := dir.Init(path); err == nil {
		t.Error("Init took over a store of another layout")
	}
}

func TestInitRefusesOtherFolders(t *testing.T) {
	for _, name := range []string{"letters.txt", "objects/tile"} {
		base := t.TempDir()
		file := filepath.Join(base, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		if err := dir.Init(base); !errors.Is(err, blob.ErrNotInitialized) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A crash within Init leaves folders and perhaps a temporary marker; Init completes them.
func TestInitInterrupted(t *testing.T) {
	base := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(base, "objects"), 0o700), os.Mkdir(filepath.Join(base, "tmp"), 0o700),
		os.WriteFile(filepath.Join(base, "tmp", "STELE-OBJECTS"), []byte("st"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := dir.Open(base); !errors.Is(err, blob.ErrNotInitialized) {
		t.Errorf("opened a store that is not finished: %v", err)
	}
	if err := dir.Init(base); err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, base)
	wantOnly(t, s, base, 0)
}

func TestFilesArePrivateAndReadOnly(t *testing.T) {
	s, path := newStore(t)
	if _, err := s.Create(t.Context(), "doc/1", strings.NewReader("x"), 1); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]fs.FileMode{"objects": 0o700, "objects/doc": 0o700, "objects/doc/1": 0o400} {
		t.Run(name, func(t *testing.T) {
			info, err := os.Stat(filepath.Join(path, name))
			if err != nil || info.Mode().Perm() != want {
				t.Errorf("%s: %v, %v, want %v", name, info.Mode().Perm(), err, want)
			}
		})
	}
}

// A symbolic link in the folder leads nowhere outside of it.
func TestNeverLeavesItsRoot(t *testing.T) {
	s, path := newStore(t)
	outside := t.TempDir()
	if err := errors.Join(os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o600),
		os.Symlink(outside, filepath.Join(path, "objects", "link"))); err != nil {
		t.Fatal(err)
	}
	if data, err := s.Get(t.Context(), "link/secret", 100); err == nil {
		t.Errorf("read %q from outside", data)
	}
	if err := s.PutOnce(t.Context(), "link/new", []byte("x")); err == nil {
		t.Error("wrote to the outside")
	}
	if err := s.Delete(t.Context(), "link/secret"); err == nil {
		t.Error("deleted on the outside")
	}
	left, err := os.ReadDir(outside)
	if err != nil || len(left) != 1 {
		t.Errorf("outside: %v, %v", left, err)
	}
	wantOnly(t, s, path, 0)
}

// A folder that somebody tidied away while the store knew it comes back.
func TestFolderTidiedAway(t *testing.T) {
	s, path := newStore(t)
	put := func() {
		t.Helper()
		if err := s.PutOnce(t.Context(), "a/b/c", []byte("x")); err != nil {
			t.Fatal(err)
		}
		if err := s.Replace(t.Context(), "a/b/d", func([]byte) ([]byte, error) {
			return []byte("y"), nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	put()
	if err := os.RemoveAll(filepath.Join(path, "objects", "a")); err != nil {
		t.Fatal(err)
	}
	put()
	wantOnly(t, s, path, 0, "a/b/c", "a/b/d")
}

// A key below another key's object is refused with a reason, and nothing is left.
func TestKeyBelowObject(t *testing.T) {
	s, path := newStore(t)
	if err := s.PutOnce(t.Context(), "a/b", nil); err != nil {
		t.Fatal(err)
	}
	if err := s.PutOnce(t.Context(), "a/b/c", nil); err == nil || !strings.Contains(err.Error(), "folder of another") {
		t.Errorf("below an object: %v", err)
	}
	if err := s.PutOnce(t.Context(), "a", nil); !errors.Is(err, notary.ErrObjectDiffers) {
		t.Errorf("above an object: %v", err)
	}
	if _, err := s.Create(t.Context(), "a", strings.NewReader(""), 0); !errors.Is(err, notary.ErrObjectExists) {
		t.Errorf("above an object: %v", err)
	}
	wantOnly(t, s, path, 0, "a/b")
}

// Sweep leaves a slow upload alone, whatever its age, and does not touch young files.
func TestSweepSparesTheLiving(t *testing.T) {
	s, path := newStore(t)
	r, w := io.Pipe()
	done := make(chan error)
	go func() {
		_, err := s.Create(t.Context(), "slow", r, -1)
		done <- err
	}()
	if _, err := w.Write([]byte("begun")); err != nil { // returns when it has been read
		t.Fatal(err)
	}
	dead := filepath.Join(path, "tmp", "dead")
	if err := os.WriteFile(dead, []byte("left"), 0o400); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Sweep(t.Context(), time.Now().Add(-time.Hour)); n != 0 || err != nil {
		t.Errorf("swept %d young files, %v", n, err)
	}
	if n, err := s.Sweep(t.Context(), time.Now().Add(time.Hour)); n != 1 || err != nil {
		t.Errorf("swept %d files, want the dead one; %v", n, err)
	}
	w.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	wantOnly(t, s, path, 0, "slow")
}

func TestReplaceWaitsAndCancels(t *testing.T) {
	s, _ := newStore(t)
	inside, leave, done := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		done <- s.Replace(t.Context(), "head", func([]byte) ([]byte, error) {
			close(inside)
			<-leave
			return []byte("1"), nil
		})
	}()
	<-inside
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Replace(ctx, "head", func([]byte) ([]byte, error) { return []byte("2"), nil }); !errors.Is(err,
		context.Canceled) {
		t.Errorf("got %v while another holds the lock", err)
	}
	close(leave)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if data, err := s.Get(t.Context(), "head", 1); err != nil || string(data) != "1" {
		t.Errorf("got %q, %v", data, err)
	}
}

func BenchmarkPutOnceAll(b *testing.B) {
	s, _ := newStore(b)
	storagetest.BenchmarkPutOnceAll(b, s)
}

func BenchmarkCreate(b *testing.B) {
	s, _ := newStore(b)
	storagetest.BenchmarkCreate(b, s)
}
