package mediatype_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"strings"
	"testing"

	"stele/notary"
	"stele/notary/register/mediatype"
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
func TestCheck(t *testing.T) {
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
		t.Run(stated, func(t *testing.T) {
			for name, document := range samples {
				err := mediatype.Check(stated, []byte(document)[:min(len(document), mediatype.HeadSize)])
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
		})
	}
}
