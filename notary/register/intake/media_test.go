package intake_test

import (
	"errors"
	"strings"
	"testing"
	"testing/iotest"

	"stele/notary"
	"stele/notary/register/class"
	"stele/notary/register/intake"
	"stele/storage/storagetest"
)

// At every door where the bytes are here, a wrong media type or size is refused, and nothing is
// there afterwards. Where they are not, the agency's word stands.
func TestStatedWrongly(t *testing.T) {
	const document = "%PDF-1.7\n…"
	size := int64(len(document))
	schema, err := class.ParseSchema([]byte(`{"type":"object","properties":{"owner":{"type":"string"}}}`))
	fatalIfErr(t, err)
	type door func(f *fixture, d intake.Draft, size int64) error
	upload := func(t *testing.T, f *fixture) string {
		t.Helper()
		up, err := f.uploads.Create(t.Context(), f.Agency.ID, size, nil)
		fatalIfErr(t, err)
		_, err = f.uploads.Append(t.Context(), f.Agency.ID, up.ID, 0, strings.NewReader(document))
		fatalIfErr(t, err)
		return up.ID
	}
	for name, through := range map[string]struct {
		home bool // the agency keeps its key
		door func(t *testing.T) door
	}{
		"file": {false, func(t *testing.T) door {
			return func(f *fixture, d intake.Draft, size int64) error {
				_, _, err := f.in.File(t.Context(), d, strings.NewReader(document), size)
				return err
			}
		}},
		"file by single bytes": {false, func(t *testing.T) door {
			return func(f *fixture, d intake.Draft, size int64) error {
				_, _, err := f.in.File(t.Context(), d, iotest.OneByteReader(strings.NewReader(document)), size)
				return err
			}
		}},
		"file of a class that keeps none": {false, func(t *testing.T) door {
			return func(f *fixture, d intake.Draft, size int64) error {
				f.rules = map[string]*class.Rule{"elsewhere": {Schema: schema}}
				d.Class = "elsewhere"
				_, _, err := f.in.File(t.Context(), d, strings.NewReader(document), size)
				return err
			}
		}},
		"upload": {false, func(t *testing.T) door {
			return func(f *fixture, d intake.Draft, size int64) error {
				_, _, err := f.in.Upload(t.Context(), d, upload(t, f), size)
				return err
			}
		}},
		"prepared with a file": {true, func(t *testing.T) door {
			return func(f *fixture, d intake.Draft, size int64) error {
				_, _, err := f.in.Prepare(t.Context(), d, intake.File(strings.NewReader(document), size))
				return err
			}
		}},
		"prepared with an upload": {true, func(t *testing.T) door {
			return func(f *fixture, d intake.Draft, size int64) error {
				_, _, err := f.in.Prepare(t.Context(), d, intake.Upload(upload(t, f), size))
				return err
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
				f := newFixture(t, b)
				f.home.Store(through.home)
				enter := through.door(t)
				for what, c := range map[string]struct {
					media string
					size  int64
					field string
					says  []string
				}{
					"another kind": {"image/png", size, "mediaType", []string{"image/png", "application/pdf"}},
					"a text":       {"text/plain", -1, "mediaType", []string{"text/plain", "application/pdf"}},
					"too small":    {"", size - 1, "size", nil},
					"too large":    {"application/pdf", size + 1, "size", nil},
				} {
					t.Run(what, func(t *testing.T) {
						d := f.draft("")
						d.MediaType = c.media
						err := enter(f, d, c.size)
						var own *notary.Error
						if !errors.As(err, &own) || own.Code != notary.CodeInvalid || own.Field != c.field ||
							!strings.Contains(own.Message, "Nothing was saved") {
							t.Errorf("%s: %v", what, err)
						}
						for _, say := range c.says {
							if err == nil || !strings.Contains(err.Error(), say) {
								t.Errorf("%s: %v does not say %s", what, err, say)
							}
						}
					})
				}
				if n := f.received(t); n != 0 {
					t.Errorf("%d records", n)
				}
				if docs := f.documents(t); len(docs) != 0 {
					t.Errorf("left are %q", docs)
				}
				d := f.draft("")
				d.MediaType = "application/pdf"
				fatalIfErr(t, enter(f, d, size))
			})
		})
	}
}

// The digest alone: nobody here can know better than the agency.
func TestStatedByTheAgency(t *testing.T) {
	f := newFixture(t, storagetest.Embedded)
	d := f.draft("")
	d.MediaType = "image/png"
	rec, _, err := f.digest(t, d, "%PDF-1.7\n")
	if err != nil || rec.MediaType != "image/png" || rec.Stored {
		t.Errorf("%+v, %v", rec, err)
	}
}
