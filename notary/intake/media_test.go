package intake_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/iotest"

	"stele/notary"
	"stele/notary/class"
	"stele/notary/intake"
	"stele/storage/storagetest"
)

// samples begin as files of their kind do.
var samples = map[string]string{
	"pdf": "%PDF-1.7\n%…\n1 0 obj\n", "pdf after a line": "Printed by the registry\n%PDF-1.4\n",
	"png": "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "jpeg": "\xff\xd8\xff\xe0\x00\x10JFIF\x00",
	"gif": "GIF89a\x01\x00\x01\x00", "tiff": "II*\x00\x08\x00\x00\x00", "bigtiff": "II+\x00\x08\x00\x00\x00\x10\x00",
	"wav": "RIFF\x24\x00\x00\x00WAVEfmt ", "mp4": "\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom",
	"zip": zipOf("a.txt"), "docx": zipOf("word/document.xml"), "gzip": "\x1f\x8b\x08\x00\x00\x00\x00\x00",
	"ole":  "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + strings.Repeat("\x00", 600),
	"text": "关于某事的决定\n", "html": "<!DOCTYPE html><html></html>", "xml": `<?xml version="1.0"?><a/>`,
	"json": `{"a":1}`, "csv": "a,b\n1,2\n3,4\n", "bitmap or text": "BM is what this text begins with",
	"random": "\x00\x01\x02\x03\x9c\xfe\x00\x17", "empty": "",
}

func zipOf(name string) string {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create(name)
	if err != nil {
		panic(err)
	}
	if _, err := w.Write([]byte("x")); err != nil {
		panic(err)
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.String()
}

// Only what is certainly wrong is refused: each type here is stated with each sample.
func TestCheckMediaType(t *testing.T) {
	const plain = "text, html, xml, json, csv, bitmap or text, random, bigtiff, empty"
	const text = "pdf after a line, " + plain
	const noPicture = "tiff, zip, docx, ole, gzip, mp4, " + plain
	const all = "pdf, pdf after a line, png, jpeg, gif, wav, " + noPicture
	const office = "zip, docx, ole, " + text
	for stated, right := range map[string]string{
		"": all, "application/octet-stream": all, "application/vnd.gov.cn.deed": all,
		"application/pdf": "pdf, pdf after a line", "application/gzip": "gzip",
		"image/png": "png", "image/jpeg": "jpeg", "image/gif": "gif", "image/webp": "",
		"image/tiff": "tiff, bigtiff, random",
		"video/mp4":  "mp4, random, bigtiff", "image/heic": "mp4, random, bigtiff",
		"application/zip": "zip, docx", "application/ofd": "zip, docx", "application/epub+zip": "zip, docx",
		"application/vnd.openxmlformats-officedocument.wordprocessingml.document": "zip, docx, ole",
		"application/msword": office, "application/vnd.ms-excel": office,
		"text/plain": text, "text/csv": text, "text/x-something": text, "application/json": text,
		"application/geo+json": text, "image/svg+xml": text, "application/vnd.gov.cn+xml": text,
		// Not known here, but a picture or a sound by its own word.
		"image/x-adobe-dng": "png, jpeg, gif, " + noPicture, "audio/x-speech": "wav, " + noPicture,
	} {
		for name, document := range samples {
			err := intake.CheckMediaType(stated, []byte(document)[:min(len(document), intake.HeadSize)])
			want := strings.Contains(", "+right+", ", ", "+name+", ")
			var own *notary.Error
			switch {
			case want && err != nil:
				t.Errorf("%s stated for %s is refused: %v", stated, name, err)
			case !want && (!errors.As(err, &own) || own.Code != notary.CodeInvalid || own.Field != "mediaType" ||
				!strings.Contains(own.Message, stated)):
				t.Errorf("%s stated for %s: %v", stated, name, err)
			}
		}
	}
}

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
				_, _, err := f.in.PrepareFile(t.Context(), d, strings.NewReader(document), size)
				return err
			}
		}},
		"prepared with an upload": {true, func(t *testing.T) door {
			return func(f *fixture, d intake.Draft, size int64) error {
				_, _, err := f.in.PrepareUpload(t.Context(), d, upload(t, f), size)
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
