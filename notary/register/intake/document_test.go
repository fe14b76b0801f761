package intake_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/proof/statement"
	"stele/notary/register/intake"
	"stele/notary/register/staging"
	"stele/storage/storagetest"
)

// What does not arrive whole, in time or in size leaves nothing.
func TestBadStreams(t *testing.T) {
	broken := errors.New("connection reset")
	half := func(err error) func() io.Reader {
		return func() io.Reader { return io.MultiReader(bytes.NewReader(make([]byte, 300_000)), iotest.ErrReader(err)) }
	}
	long := func(n int64) func() io.Reader { return func() io.Reader { return io.LimitReader(endless{}, n) } }
	text := func(s string) func() io.Reader { return func() io.Reader { return readerOf(s) } }
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	wrong := sm.Sum([]byte("another"))
	for name, c := range map[string]struct {
		r      func() io.Reader
		size   int64
		ctx    context.Context
		expect *sm.Digest
		want   notary.Code
	}{
		"broken":             {r: half(broken), size: -1, want: notary.CodeMalformed},
		"broken, size known": {r: half(broken), size: 400_000, want: notary.CodeMalformed},
		"cut off":            {r: half(io.ErrUnexpectedEOF), size: -1, want: notary.CodeMalformed},
		"too slow":           {r: half(os.ErrDeadlineExceeded), size: -1, want: notary.CodeTimeout},
		"passing error": {r: func() io.Reader { return iotest.TimeoutReader(long(900_000)()) }, size: -1,
			want: notary.CodeMalformed},
		"an answer of ours": {r: half(notary.Errorf(notary.CodeTooLarge, "The body is too large.")), size: -1,
			want: notary.CodeTooLarge},
		"too long":            {r: long(1<<20 + 1), size: -1, want: notary.CodeTooLarge},
		"too long, announced": {r: long(1<<20 + 1), size: 1<<20 + 1, want: notary.CodeTooLarge},
		"without end":         {r: long(1 << 62), size: -1, want: notary.CodeTooLarge},
		"shorter than said":   {r: text("short"), size: 6, want: notary.CodeInvalid},
		"longer than said":    {r: text("longer"), size: 5, want: notary.CodeInvalid},
		"nobody there":        {r: text("x"), size: -1, ctx: ended, want: notary.CodeMalformed},
		"another document":    {r: text("document"), size: -1, expect: &wrong, want: notary.CodeDigestMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
				f := newFixture(t, b, func(l *intake.Limits) { l.MaxDocument = 1 << 20 })
				ctx := c.ctx
				if ctx == nil {
					ctx = t.Context()
				}
				d := f.draft("")
				d.Expected = c.expect
				_, _, err := f.in.File(ctx, d, c.r(), c.size)
				wantCode(t, err, c.want)
				f.want(t, 0, 0)
			})
		})
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// A request that is cancelled in the middle of its upload.
func TestCancelledUpload(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		f := newFixture(t, b)
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		r := iotest.OneByteReader(readFunc(func(p []byte) (int, error) {
			if n++; n == 1000 {
				cancel()
			}
			return copy(p, "x"), nil
		}))
		_, _, err := f.in.File(ctx, f.draft("k"), r, -1)
		wantCode(t, err, notary.CodeMalformed)
		f.want(t, 0, 0)
		_, replay, err := f.file(t, f.draft("k"), "document")
		if fatalIfErr(t, err); replay {
			t.Error("a key that led to nothing is used up")
		}
		f.want(t, 1, 1)
	})
}

type readFunc func(p []byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

// A large document takes no more memory than a small one.
func TestConstantMemory(t *testing.T) {
	f := newFixture(t, storagetest.Embedded)
	const size = 256 << 20
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, peak, read := heap(), uint64(0), 0
	r := io.LimitReader(readFunc(func(p []byte) (int, error) {
		if read += len(p); read > 32<<20 {
			read, peak = 0, max(peak, heap())
		}
		return len(p), nil
	}), size)
	rec, _, err := f.in.File(t.Context(), f.draft(""), r, -1)
	fatalIfErr(t, err)
	if rec.Size != size || peak > before+8<<20 {
		t.Errorf("%d bytes took %d KiB of memory", rec.Size, (peak-before)>>10)
	}
	f.want(t, 1, 1)
}

// What is stored, answered and signed says the same.
func TestRecord(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		f := newFixture(t, b)
		for i, doc := range []string{"", "%PDF-1.7 …", strings.Repeat("碑", 100_000)} {
			rec, _, err := f.in.File(t.Context(), f.draft(""), readerOf(doc), int64(len(doc)))
			fatalIfErr(t, err)
			if rec.SM3 != sm.Sum([]byte(doc)) || rec.Size != uint64(len(doc)) || !rec.Stored ||
				rec.Index != uint64(i) || rec.Standing != notary.Valid || len(rec.Code) != notary.CodeLength {
				t.Errorf("%+v", rec)
			}
			got, err := f.Objects.Get(t.Context(), notary.DocumentKey(rec.ID), 1<<20)
			fatalIfErr(t, err)
			if string(got) != doc {
				t.Error("another document was stored")
			}
			wantStatement(t, f, rec)
		}
		f.want(t, 3, 3)
	})
}

func wantStatement(t *testing.T, f *fixture, rec notary.Record) {
	t.Helper()
	entries, err := f.DB.Log.Entries(t.Context(), rec.Index, rec.Index+1)
	fatalIfErr(t, err)
	s, err := statement.Parse(entries[0].Statement)
	fatalIfErr(t, err)
	values := map[string]string{}
	for _, a := range rec.Fields {
		if c, ok := s.Field(a.Name); !ok || c != statement.Commitment(a.Salt, a.Name, a.Value) {
			t.Errorf("the attribute %s is not committed to", a.Name)
		}
		values[a.Name] = a.Value
	}
	want := map[string]string{"title": "不动产登记证明", "fileName": "a.pdf", "owner": "甲", "originSystem": "tests",
		"originMethod": "upload"}
	if !maps.Equal(values, want) || len(s.Fields) != len(want) {
		t.Errorf("attributes %v, want %v", values, want)
	}
	if s.Number != rec.Number || s.Document.SM3 != rec.SM3 || s.Document.MediaType != rec.MediaType ||
		!s.IssuedAt.Equal(rec.IssuedAt) || s.Agency != f.Signer.Agency {
		t.Errorf("the statement is %+v, the record %+v", s, rec)
	}
}

func TestMediaTypes(t *testing.T) {
	f := newFixture(t, storagetest.Embedded)
	for i, c := range []struct{ named, document, want string }{
		{"", "%PDF-1.7\n", "application/pdf"}, {"", "\x89PNG\r\n\x1a\n" + strings.Repeat("x", 5000), "image/png"},
		{"", "文书", "text/plain"},
		{"", "", "application/octet-stream"}, {"", "\x00\x01\x02", "application/octet-stream"},
		{"", "<!DOCTYPE html><html></html>", "text/html"},
		{"application/vnd.gov.cn.deed", "%PDF-1.7\n", "application/vnd.gov.cn.deed"},
		{"application/octet-stream", "%PDF-1.7\n", "application/octet-stream"},
	} {
		t.Run(fmt.Sprintf("%q named %s", c.document[:min(len(c.document), 8)], c.named), func(t *testing.T) {
			d := f.draft("")
			d.MediaType = c.named
			rec, _, err := f.file(t, d, c.document)
			fatalIfErr(t, err)
			if rec.MediaType != c.want {
				t.Errorf("document %d is %s, want %s", i, rec.MediaType, c.want)
			}
		})
	}
	if rec, _, err := f.digest(t, f.draft(""), "x"); err != nil || rec.MediaType != "application/octet-stream" ||
		rec.Stored {
		t.Errorf("a digest: %+v, %v", rec, err)
	}
}

// Whatever is out of form is refused before anything is read or written.
func TestDrafts(t *testing.T) {
	f := newFixture(t, storagetest.Embedded)
	fields := func(n int, value string) map[string]string {
		m := map[string]string{}
		for i := range n {
			m[fmt.Sprint("f", i)] = value
		}
		return m
	}
	digest := sm.Sum([]byte("another"))
	for name, c := range map[string]struct {
		change func(d *intake.Draft)
		field  string // empty: accepted
	}{
		"as it is":                      {func(*intake.Draft) {}, ""},
		"empty":                         {func(d *intake.Draft) { *d = intake.Draft{AgencyID: d.AgencyID} }, ""},
		"title of 300 bytes":            {func(d *intake.Draft) { d.Title = strings.Repeat("碑", 100) }, ""},
		"title of 301 bytes":            {func(d *intake.Draft) { d.Title = strings.Repeat("碑", 100) + "x" }, "title"},
		"title with a line feed":        {func(d *intake.Draft) { d.Title = "a\nb" }, "title"},
		"title with a space at its end": {func(d *intake.Draft) { d.Title = "a " }, "title"},
		"title that reorders":           {func(d *intake.Draft) { d.Title = "a\u202eb" }, "title"},
		"title that is not UTF-8":       {func(d *intake.Draft) { d.Title = "a\xff" }, "title"},
		"file name of 255 bytes":        {func(d *intake.Draft) { d.FileName = strings.Repeat("a", 255) }, ""},
		"file name of 256 bytes":        {func(d *intake.Draft) { d.FileName = strings.Repeat("a", 256) }, "filename"},
		"file name with a path":         {func(d *intake.Draft) { d.FileName = "a/b" }, "filename"},
		"file name with another path":   {func(d *intake.Draft) { d.FileName = `a\b` }, "filename"},
		"file name ..":                  {func(d *intake.Draft) { d.FileName = ".." }, "filename"},
		"class in capitals":             {func(d *intake.Draft) { d.Class = "Deed" }, "class"},
		"class too long": {
			func(d *intake.Draft) { d.Class = strings.Repeat("a", statement.MaxClassName+1) }, "class"},
		"supersedes no number": {func(d *intake.Draft) { d.Supersedes = "420100-2026-00000017-1" },
			"supersedes"},
		"media type with a parameter": {func(d *intake.Draft) { d.MediaType = "text/plain; charset=utf-8" },
			"mediaType"},
		"most fields":            {func(d *intake.Draft) { d.Fields = fields(statement.MaxFields-7, "x") }, ""},
		"too many fields":        {func(d *intake.Draft) { d.Fields = fields(statement.MaxFields-6, "x") }, "fields"},
		"field without a name":   {func(d *intake.Draft) { d.Fields = map[string]string{"": "x"} }, "fields"},
		"field with a space":     {func(d *intake.Draft) { d.Fields = map[string]string{"a b": "x"} }, "fields"},
		"field that is reserved": {func(d *intake.Draft) { d.Fields = map[string]string{"title": "x"} }, "fields"},
		"field of the origin": {func(d *intake.Draft) { d.Fields = map[string]string{"originPlace": "x"} },
			"fields"},
		"field without a value": {func(d *intake.Draft) { d.Fields = map[string]string{"a": ""} }, ""},
		"field of any text": {
			func(d *intake.Draft) { d.Fields = map[string]string{"a": " \t\r\n\u2028\"\\<&>"} }, ""},
		"field that reorders":     {func(d *intake.Draft) { d.Fields = map[string]string{"a": "x\u202ey"} }, "fields"},
		"field with a mark":       {func(d *intake.Draft) { d.Fields = map[string]string{"a": "x\u200f"} }, "fields"},
		"field with an escape":    {func(d *intake.Draft) { d.Fields = map[string]string{"a": "x\x1b[1m"} }, "fields"},
		"field of no character":   {func(d *intake.Draft) { d.Fields = map[string]string{"a": "\ufdd0"} }, "fields"},
		"title with an isolate":   {func(d *intake.Draft) { d.Title = "x\u2067y" }, "title"},
		"title with a mark":       {func(d *intake.Draft) { d.Title = "x\u061cy" }, "title"},
		"file name that reorders": {func(d *intake.Draft) { d.FileName = "x\u202efdp.exe" }, "filename"},
		"reference that reorders": {func(d *intake.Draft) { d.Reference = "x\u200ey" }, "reference"},
		"origin that reorders":    {func(d *intake.Draft) { d.Origin.Clerk = "x\u202ey" }, "origin"},
		"field with a zero byte":  {func(d *intake.Draft) { d.Fields = map[string]string{"a": "\x00"} }, "fields"},
		"field that is not UTF-8": {func(d *intake.Draft) { d.Fields = map[string]string{"a": "\xc0"} }, "fields"},
		"longest field": {
			func(d *intake.Draft) { d.Fields = fields(1, strings.Repeat("x", statement.MaxValue)) }, ""},
		"field too long": {
			func(d *intake.Draft) { d.Fields = fields(1, strings.Repeat("x", statement.MaxValue+1)) }, "fields"},
		"too much in all": {
			func(d *intake.Draft) { d.Fields = fields(17, strings.Repeat("x", statement.MaxValue)) }, "fields"},
		"key of 128 bytes": {func(d *intake.Draft) { d.Idempotency = strings.Repeat("k", 128) }, ""},
		"key of 129 bytes": {func(d *intake.Draft) { d.Idempotency = strings.Repeat("k", 129) },
			"Idempotency-Key"},
		"key with a tab":           {func(d *intake.Draft) { d.Idempotency = "a\tb" }, "Idempotency-Key"},
		"origin that is not UTF-8": {func(d *intake.Draft) { d.Origin.System = "\xff" }, "origin"},
		"origin of two lines":      {func(d *intake.Draft) { d.Origin.Method = "a\nb" }, "origin"},
		"two digests":              {func(d *intake.Draft) { d.Expected = &digest }, "sm3"},
	} {
		t.Run(name, func(t *testing.T) {
			d := f.draft("")
			c.change(&d)
			before := f.received(t)
			_, _, err := f.digest(t, d, "document")
			var own *notary.Error
			if c.field == "" {
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
				return
			}
			if !errors.As(err, &own) || own.Code != notary.CodeInvalid || own.Field != c.field || own.Message == "" ||
				f.received(t) != before {
				t.Errorf("%s: got %#v, want it refused for %s", name, err, c.field)
			}
			if c.field == "sm3" {
				return // a document is read to find out
			}
			if _, _, err := f.in.File(t.Context(), d, iotest.ErrReader(errors.New("read")), -1); notary.CodeOf(
				err) != notary.CodeInvalid || f.objects.Calls(storagetest.OpCreate) > 0 {
				t.Errorf("%s: a document was read: %v", name, err)
			}
		})
	}
	if _, _, err := f.in.Digest(t.Context(), f.draft(""), digest, 1<<53); notary.CodeOf(err) != notary.CodeInvalid {
		t.Errorf("size out of range: %v", err)
	}
	f.WantClean(t)
}

// The sweep removes what no record speaks of once it is old, and nothing else.
func TestSweep(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		f := newFixture(t, b)
		kept, _, err := f.file(t, f.draft(""), "kept")
		fatalIfErr(t, err)
		const orphans = 3
		for i := range orphans {
			_, err := f.Objects.Create(t.Context(), notary.DocumentKey(fmt.Sprint("orphan-", i)), readerOf("x"), -1)
			fatalIfErr(t, err)
		}
		fatalIfErr(t, f.Objects.PutOnce(t.Context(), "document", []byte("x"))) // begins alike, is none
		sweep := func(age time.Duration) (int, error) {
			before := time.Now().Add(time.Hour - age)
			return staging.Sweep(t.Context(), f.objects, f.db, before, storagetest.Discard)
		}
		want := func(n, removed int, err error) {
			t.Helper()
			if err != nil || removed != n {
				t.Errorf("removed %d, %v; want %d", removed, err, n)
			}
		}
		n, err := sweep(2 * time.Hour) // all is younger
		want(0, n, err)
		f.db.Inject(storagetest.Fault{Op: storagetest.OpKept, Mode: storagetest.Fail})
		if n, err := sweep(time.Minute); err == nil || n != 0 {
			t.Errorf("removed %d without knowing, %v", n, err)
		}
		f.db.Heal()
		f.objects.Inject(storagetest.Fault{Op: storagetest.OpDelete, Mode: storagetest.Fail, Call: 2})
		if n, err := sweep(time.Minute); err == nil || n != 1 {
			t.Errorf("removed %d, %v", n, err)
		}
		f.objects.Heal()
		n, err = sweep(time.Minute)
		want(orphans-1, n, err)
		n, err = sweep(time.Minute)
		want(0, n, err)
		if docs := f.documents(t); len(docs) != 1 || docs[0] != notary.DocumentKey(kept.ID) {
			t.Errorf("left are %q", docs)
		}
		if _, err := f.Objects.Get(t.Context(), "document", 10); err != nil {
			t.Error(err)
		}
		f.want(t, 1, 1)
	})
}

// More orphans than are asked for at once.
func TestSweepMany(t *testing.T) {
	f := newFixture(t, storagetest.Embedded)
	objects := map[string][]byte{}
	for i := range 1100 {
		objects[notary.DocumentKey(fmt.Sprintf("orphan-%04d", i))] = []byte("x")
	}
	fatalIfErr(t, f.Objects.PutOnceAll(t.Context(), objects))
	n, err := staging.Sweep(t.Context(), f.objects, f.db, time.Now().Add(time.Hour), storagetest.Discard)
	if err != nil || n != 1100 || len(f.documents(t)) != 0 {
		t.Errorf("removed %d, %v", n, err)
	}
}
