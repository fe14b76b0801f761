package upload_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"stele/notary"
	"stele/notary/issue/archive"
	"stele/notary/register/staging"
	"stele/notary/register/upload"
	"stele/storage/storagetest"
)

// fixture is the uploads of a site, on stores that can be made to fail.
type fixture struct {
	*storagetest.Site
	*upload.Uploads
	objects *storagetest.Faulty
	leases  *leases
}

// leases are the database's, but for what a test puts before AddPart.
type leases struct {
	upload.Store
	addPart func(next func() error) error
}

func (l *leases) AddPart(ctx context.Context, id, holder string, p upload.Part, until, keep time.Time) error {
	next := func() error { return l.Store.AddPart(ctx, id, holder, p, until, keep) }
	if l.addPart != nil {
		return l.addPart(next)
	}
	return next()
}

func newFixture(t *testing.T, b storagetest.Backend, change ...func(*upload.Limits)) *fixture {
	t.Helper()
	f := &fixture{Site: storagetest.NewSite(t, b)}
	f.objects, f.leases = storagetest.NewFaulty(f.Objects), &leases{Store: f.DB.Log}
	f.Uploads = f.another(change...)
	t.Cleanup(f.objects.Heal)
	return f
}

// another is another server's uploads.
func (f *fixture) another(change ...func(*upload.Limits)) *upload.Uploads {
	limits := upload.DefaultLimits()
	for _, c := range change {
		c(&limits)
	}
	return upload.New(f.leases, f.objects, upload.Options{Records: archive.New(f.DB.Log, nil, nil), Limits: limits,
		Now: f.Now, Log: storagetest.Discard})
}

func fatalIfErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantCode(t *testing.T, err error, want notary.Code) {
	t.Helper()
	if err == nil || notary.CodeOf(err) != want {
		t.Errorf("got %v, want an error with the code %s", err, want)
	}
}

func (f *fixture) create(t *testing.T, size int64) string {
	t.Helper()
	u, err := f.Create(t.Context(), f.Agency.ID, size, nil)
	fatalIfErr(t, err)
	return u.ID
}

func (f *fixture) offset(t *testing.T, id string) int64 {
	t.Helper()
	u, err := f.Find(t.Context(), f.Agency.ID, id)
	fatalIfErr(t, err)
	return u.Offset
}

// content reads an upload that is complete.
func (f *fixture) content(t *testing.T, id string) []byte {
	t.Helper()
	body, known, err := f.Open(t.Context(), f.Agency.ID, id)
	fatalIfErr(t, err)
	defer body.Close()
	b, err := io.ReadAll(body)
	if fatalIfErr(t, err); int64(len(b)) != known.Size {
		t.Errorf("%d bytes of %d", len(b), known.Size)
	}
	return b
}

// keys lists what lies in the object store.
func (f *fixture) keys(t *testing.T) (keys []string) {
	t.Helper()
	fatalIfErr(t,
		f.Objects.List(t.Context(), "doc/", func(o notary.Object) error { keys = append(keys, o.Key); return nil }))
	return keys
}

var errLine = errors.New("the line is cut")

// What came before a line broke is kept, wherever it broke: in the first byte of a part, in
// its last, or between.
func TestAppendKeepsWhatCame(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		f := newFixture(t, b)
		content := bytes.Repeat([]byte("0123456789abcde\n"), 20<<16) // 20 MiB: three parts
		id := f.create(t, int64(len(content)))
		at := int64(0)
		for _, n := range []int64{0, 1, 70_000, 8<<20 - 1, 8 << 20, int64(len(content))} {
			rest := content[at:]
			n = min(n, int64(len(rest)))
			got, err := f.Append(t.Context(), f.Agency.ID, id, at, io.MultiReader(bytes.NewReader(rest[:n]),
				iotest.ErrReader(errLine)))
			if !errors.Is(err, errLine) || got != n {
				t.Fatalf("at %d: %d bytes of %d were kept: %v", at, got, n, err)
			}
			if at += n; f.offset(t, id) != at {
				t.Fatalf("at %d, want %d", f.offset(t, id), at)
			}
		}
		if !bytes.Equal(f.content(t, id), content) {
			t.Error("other bytes")
		}
	})
}

func TestAppendRefuses(t *testing.T) {
	f := newFixture(t, storagetest.Embedded, func(l *upload.Limits) { l.MaxPieces = 3 })
	id := f.create(t, 6)
	try := func(at int64, text string) error {
		_, err := f.Append(t.Context(), f.Agency.ID, id, at, strings.NewReader(text))
		return err
	}
	wantCode(t, try(1, "x"), notary.CodeConflict)
	wantCode(t, try(0, "abcdefg"), notary.CodeTooLarge)
	if at := f.offset(t, id); at != 6 || string(f.content(t, id)) != "abcdef" {
		t.Errorf("what belongs to it was not kept: %d", at)
	}
	fatalIfErr(t, try(6, ""))
	wantCode(t, try(6, "x"), notary.CodeTooLarge)
	_, err := f.Append(t.Context(), "other", id, 6, strings.NewReader(""))
	wantCode(t, err, notary.CodeNotFound)

	id = f.create(t, 6)
	for i, text := range []string{"a", "b", "c"} {
		fatalIfErr(t, try(int64(i), text))
	}
	wantCode(t, try(3, "d"), notary.CodeConflict) // crumbs
	for name, err := range map[string]error{
		"size":    second(f.Create(t.Context(), f.Agency.ID, -1, nil)),
		"sm3":     second(f.Create(t.Context(), f.Agency.ID, 1, map[string]string{"sm3": "x"})),
		"control": second(f.Create(t.Context(), f.Agency.ID, 1, map[string]string{"filename": "a\x00"})),
		"utf-8":   second(f.Create(t.Context(), f.Agency.ID, 1, map[string]string{"filename": "\xff"})),
		"long": second(f.Create(t.Context(), f.Agency.ID, 1,
			map[string]string{"filename": strings.Repeat("a", 9<<10)})),
	} {
		t.Run(name, func(t *testing.T) { wantCode(t, err, notary.CodeInvalid) })
	}
	wantCode(t, second(f.Create(t.Context(), f.Agency.ID, 16<<30+1, nil)), notary.CodeTooLarge)
	_, _, err = f.CreateDirect(t.Context(), f.Agency.ID, 1, nil)
	wantCode(t, err, notary.CodeConflict)
}

func second(_ upload.Upload, err error) error { return err }

// A write that fails, with and without effect, loses nothing that was said to be here, and
// the upload goes on from where it says it is.
func TestAppendFaults(t *testing.T) {
	lost := errors.Join(notary.ErrUnknownOutcome, errLine)
	faults := map[string]func(f *fixture){
		"object failed": func(f *fixture) {
			f.objects.Inject(storagetest.Fault{Op: storagetest.OpCreate, Call: 1, Mode: storagetest.Fail})
		},
		"object persisted": func(f *fixture) {
			f.objects.Inject(storagetest.Fault{Op: storagetest.OpCreate, Call: 1, Mode: storagetest.FailPersisted})
		},
		"row failed":  func(f *fixture) { f.leases.addPart = func(func() error) error { return errLine } },
		"row unknown": func(f *fixture) { f.leases.addPart = func(func() error) error { return lost } },
		"row persisted": func(f *fixture) {
			f.leases.addPart = func(next func() error) error { return errors.Join(next(), lost) }
		},
	}
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		for name, inject := range faults {
			t.Run(name, func(t *testing.T) {
				f := newFixture(t, b)
				id := f.create(t, 9)
				_, err := f.Append(t.Context(), f.Agency.ID, id, 0, strings.NewReader("abc"))
				fatalIfErr(t, err)
				inject(f)
				_, err = f.Append(t.Context(), f.Agency.ID, id, 3, strings.NewReader("def"))
				wantCode(t, err, notary.CodeUnavailable)
				f.leases.addPart = nil
				at := f.offset(t, id)
				if want := map[bool]int64{true: 6, false: 3}[name == "row persisted"]; at != want {
					t.Errorf("at %d, want %d", at, want)
				}
				_, err = f.Append(t.Context(), f.Agency.ID, id, at, strings.NewReader("abcdefghi"[at:]))
				fatalIfErr(t, err)
				if got := f.content(t, id); string(got) != "abcdefghi" {
					t.Errorf("%q", got)
				}
				fatalIfErr(t, f.Drop(t.Context(), f.Agency.ID, id))
				if f.sweepObjects(t); len(f.keys(t)) > 0 {
					t.Errorf("left: %v", f.keys(t))
				}
			})
		}
	})
}

// A server that was too slow, and lost the upload to another one, changes nothing.
func TestAppendTooLate(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		f := newFixture(t, b)
		id := f.create(t, 6)
		held := f.objects.Inject(storagetest.Fault{Op: storagetest.OpCreate, Call: 1, Mode: storagetest.Hold})
		slow := make(chan error, 1)
		go func() {
			_, err := f.Append(context.WithoutCancel(t.Context()), f.Agency.ID, id, 0, strings.NewReader("SLOWER"))
			slow <- err
		}()
		<-held.Hit()
		_, err := f.another().Append(t.Context(), f.Agency.ID, id, 0, strings.NewReader("x"))
		if !errors.Is(err, upload.ErrBusy) {
			t.Errorf("while the other one has it: %v", err)
		}
		_, _, err = f.another().Open(t.Context(), f.Agency.ID, id)
		wantCode(t, err, notary.CodeNotReady)
		f.Pass(time.Minute)
		_, err = f.another().Append(t.Context(), f.Agency.ID, id, 0, strings.NewReader("faster"))
		fatalIfErr(t, err)
		held.Release()
		wantCode(t, <-slow, notary.CodeConflict)
		if got := f.content(t, id); string(got) != "faster" {
			t.Errorf("%q", got)
		}
		if keys := f.keys(t); len(keys) != 1 {
			t.Errorf("what came too late was kept: %v", keys)
		}
	})
}

// What cannot be read whole is no document.
func TestOpenRefuses(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		f := newFixture(t, b)
		id := f.create(t, 6)
		open := func() error {
			body, _, err := f.Open(t.Context(), f.Agency.ID, id)
			if err == nil {
				_, err = io.Copy(io.Discard, body)
				err = errors.Join(err, body.Close())
			}
			return err
		}
		for i, text := range []string{"abc", "def"} {
			wantCode(t, open(), notary.CodeConflict) // not complete
			_, err := f.Append(t.Context(), f.Agency.ID, id, int64(3*i), strings.NewReader(text))
			fatalIfErr(t, err)
		}
		fatalIfErr(t, open())
		f.objects.Inject(storagetest.Fault{Op: storagetest.OpOpen, Call: 2, Mode: storagetest.Fail})
		wantCode(t, open(), notary.CodeUnavailable)
		fatalIfErr(t, open())
		key := f.parts(t, id)[1]
		fatalIfErr(t, f.Objects.Delete(t.Context(), key))
		wantCode(t, open(), notary.CodeConflict)
		_, err := f.Objects.Create(t.Context(), key, strings.NewReader("longer"), -1)
		fatalIfErr(t, err)
		wantCode(t, open(), notary.CodeConflict)
	})
}

// An upload that a server of before has begun goes on where it is, a direct one as well.
func TestUploadOfBefore(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		f := newFixture(t, b)
		ctx, id, key := t.Context(), f.create(t, 6), ""
		f.leases.addPart = func(func() error) error { return errLine }
		_, err := f.Append(ctx, f.Agency.ID, id, 0, strings.NewReader("abc"))
		wantCode(t, err, notary.CodeUnavailable)
		f.leases.addPart = nil
		_, err = f.DB.Log.LeaseUpload(ctx, f.Agency.ID, id, "before", f.Now(), f.Now())
		fatalIfErr(t, err)
		key = "upload/" + id + ".00000000000000000000.0123456789abcdef"
		whole := upload.Part{Size: 6, Key: "upload/direct.whole"} // as the migration has it
		fatalIfErr(t, f.DB.Log.AddPart(ctx, id, "before", upload.Part{Size: 3, Key: key}, f.Now(), f.Now()))
		fatalIfErr(t, f.DB.Log.AddUpload(ctx, upload.Upload{ID: "direct", AgencyID: f.Agency.ID, Size: 6, Direct: true,
			ExpiresAt: f.Now().Add(time.Hour)}, &whole, 10))
		for key, text := range map[string]string{key: "abc", whole.Key: "direct", "upload/nobodys": "x"} {
			_, err = f.Objects.Create(ctx, key, strings.NewReader(text), -1)
			fatalIfErr(t, err)
		}
		_, err = f.Append(ctx, f.Agency.ID, id, 3, strings.NewReader("def"))
		fatalIfErr(t, err)
		if n := f.sweepObjects(t); n != 1 {
			t.Errorf("%d objects were nobody's, want 1", n)
		}
		for id, want := range map[string]string{id: "abcdef", "direct": "direct"} {
			if got := f.content(t, id); string(got) != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
		f.Pass(48 * time.Hour)
		n, err := f.Sweep(ctx)
		if _, _, gone := f.Objects.Open(ctx, key, ""); err != nil || n != 2 ||
			!errors.Is(gone, notary.ErrObjectNotFound) {
			t.Errorf("%d expired, %v; %v", n, err, gone)
		}
	})
}

// sweepObjects removes what nobody owns, however young.
func (f *fixture) sweepObjects(t *testing.T) int {
	t.Helper()
	n, err := staging.Sweep(t.Context(), f.objects, f.DB.Log, time.Now().Add(1000*time.Hour), storagetest.Discard)
	fatalIfErr(t, err)
	return n
}

// The sweep takes what expired and what belongs to nothing, and leaves what is in use.
func TestSweep(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		f := newFixture(t, b)
		old := f.create(t, 3)
		_, err := f.Append(t.Context(), f.Agency.ID, old, 0, strings.NewReader("abc"))
		fatalIfErr(t, err)
		f.Pass(20 * time.Hour)
		young := f.create(t, 3)
		_, err = f.Append(t.Context(), f.Agency.ID, young, 0, strings.NewReader("abc"))
		fatalIfErr(t, err)
		for i := range 3 {
			_, err = f.Objects.Create(t.Context(), fmt.Sprintf("doc/nobody-%d", i), strings.NewReader("x"), -1)
			fatalIfErr(t, err)
		}
		oldKey, youngKey := f.parts(t, old)[0], f.parts(t, young)[0]
		for _, want := range []struct {
			expired int
			left    []string
		}{{0, []string{oldKey, youngKey}}, {1, []string{youngKey}}} {
			n, err := f.Sweep(t.Context())
			f.sweepObjects(t)
			if err != nil || n != want.expired {
				t.Errorf("%d expired, want %d: %v", n, want.expired, err)
			}
			if left := f.keys(t); !slices.Equal(left, want.left) {
				t.Errorf("left are %v, want %v", left, want.left)
			}
			f.Pass(10 * time.Hour)
		}
		if got := f.content(t, young); string(got) != "abc" {
			t.Errorf("%q", got)
		}
	})
}

func (f *fixture) parts(t *testing.T, id string) (keys []string) {
	t.Helper()
	parts, err := f.DB.Log.UploadParts(t.Context(), id)
	fatalIfErr(t, err)
	for _, p := range parts {
		keys = append(keys, p.Key)
	}
	return keys
}

// Run removes the objects of an upload that was given up.
func TestRunRemoves(t *testing.T) {
	f := newFixture(t, storagetest.Embedded)
	id := f.create(t, 3)
	_, err := f.Append(t.Context(), f.Agency.ID, id, 0, strings.NewReader("abc"))
	fatalIfErr(t, err)
	fatalIfErr(t, f.Drop(t.Context(), f.Agency.ID, id))
	deleted := f.objects.Inject(storagetest.Fault{Op: storagetest.OpDelete, Mode: storagetest.Hold})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- f.Run(ctx) }()
	<-deleted.Hit()
	deleted.Release()
	for deadline := time.Now().Add(time.Minute); len(f.keys(t)) > 0; {
		if time.Now().After(deadline) {
			t.Fatal("its objects are still there")
		}
	}
	cancel()
	fatalIfErr(t, <-done)
}
