package mediatype_test

import (
	"archive/zip"
	"bytes"
	"slices"
	"strings"
	"testing"

	"stele/notary/register/mediatype"
)

// archive is a zip of these entries, in this order, each with some bytes that do not pack well.
func archive(t testing.TB, names ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, name := range names {
		w, err := z.Create(name)
		if err == nil && !strings.HasSuffix(name, "/") {
			_, err = w.Write([]byte(strings.Repeat(name, 3)))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Documents in a zip are called what they are, whatever their first entry is: programs write them
// in different orders.
func TestFindInZips(t *testing.T) {
	const office = "application/vnd.openxmlformats-officedocument."
	for want, files := range map[string][][]string{
		mediatype.OFD: {
			{"OFD.xml", "Doc_0/Document.xml"}, {"Doc_0/Document.xml", "OFD.xml"},
			{"Doc_0/Res/image_0.jpg", "Doc_0/Pages/Page_0/Content.xml", "OFD.xml"},
			{"Doc_0/", "Doc_0/Signs/Signatures.xml", "OFD.xml"}, {"META-INF/", "OFD.xml"},
			{"a", "b", "c", "d", "OFD.xml"},
		},
		"application/zip": {{"a.txt"}, {"backup/OFD.xml"}, {"Doc_0/notes.txt"},
			{"Doc_/Document.xml"}, {"Docs/Document.xml"}, {"OFD.xml.bak"}},
		office + "wordprocessingml.document": {{"[Content_Types].xml", "_rels/.rels", "word/document.xml"},
			{"docProps/app.xml", "word/document.xml"}},
		office + "spreadsheetml.sheet":         {{"[Content_Types].xml", "_rels/.rels", "xl/workbook.xml"}},
		office + "presentationml.presentation": {{"[Content_Types].xml", "ppt/presentation.xml"}},
	} {
		t.Run(want, func(t *testing.T) {
			for _, names := range files {
				data := archive(t, names...)
				if got := mediatype.Find(data[:min(len(data), mediatype.HeadSize)]); got != want {
					t.Errorf("%v is %s, want %s", names, got, want)
				}
			}
		})
	}
}

// A person is asked about a file that is empty, a program, or not what its name says; and about no
// other.
func TestDoubts(t *testing.T) {
	const docx = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
	const xlsx = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
	const exe = "application/vnd.microsoft.portable-executable"
	for _, c := range []struct {
		name, found string
		size        int64
		want        mediatype.Doubt
	}{
		{"a.pdf", "application/pdf", 9, ""}, {"A.PDF", "application/pdf", 9, ""}, {"", "application/pdf", 9, ""},
		{"a", "text/plain", 9, ""},
		{"a.pdf", "application/pdf", 0, mediatype.Empty}, {"", "", 0, mediatype.Empty},
		{"a.exe", exe, 9, mediatype.Program}, {"a.pdf", exe, 9, mediatype.Program},
		{"a.pdf.exe", "application/pdf", 9, mediatype.Program},
		{"a.exe ", "application/pdf", 9, mediatype.Program}, {"a.exe.", "text/plain", 9, mediatype.Program},
		{"a.pdf ", "application/pdf", 9, ""},
		{"a.bat", "text/plain; charset=utf-8", 9, mediatype.Program},
		{"a", "application/x-sharedlib", 9, mediatype.Program},
		{"a.pdf", "application/zip", 9, mediatype.Name}, {"a.pdf", docx, 9, mediatype.Name},
		{"a.docx", "application/pdf", 9, mediatype.Name},
		{"a.jpg", "image/png", 9, mediatype.Name}, {"a.jpg", "text/html", 9, mediatype.Name},
		{"a.png", "image/vnd.mozilla.apng", 9, ""},
		{"a.docx", docx, 9, ""}, {"a.docx", xlsx, 9, mediatype.Name}, {"a.docx", "application/zip", 9, ""},
		{"a.docx", "application/x-ole-storage", 9, ""},
		{"a.doc", "application/x-ole-storage", 9, ""}, {"a.doc", "text/rtf", 9, ""}, {"a.xls", "text/html", 9, ""},
		{"a.doc", "application/pdf", 9, mediatype.Name},
		{"a.ofd", mediatype.OFD, 9, ""}, {"a.ofd", "application/zip", 9, ""}, {"a.ofd", docx, 9, mediatype.Name},
		{"a.docx", mediatype.OFD, 9, mediatype.Name},
		{"a.ofd", "application/pdf", 9, mediatype.Name}, {"a.txt", "text/html; charset=utf-8", 9, ""},
		{"a.txt", "application/octet-stream", 9, ""},
		{"a.zip", docx, 9, ""}, {"a.dwg", "image/vnd.dwg", 9, ""}, {"a.v2", "application/pdf", 9, ""},
		{"公告.pdf", "application/octet-stream", 9, mediatype.Name},
	} {
		got := mediatype.Doubts(c.name, c.found, c.size)
		if c.want == "" && len(got) > 0 || c.want != "" && !slices.Equal(got, []mediatype.Doubt{c.want}) {
			t.Errorf("%q of %s, %d bytes: %v, want %q", c.name, c.found, c.size, got, c.want)
		}
	}
}

// FuzzFind: whatever the first bytes are, a type is found that a statement can hold, and a file is
// what it was found to be.
func FuzzFind(f *testing.F) {
	f.Add([]byte("%PDF-1.7"))
	f.Add(archive(f, "Doc_0/Document.xml", "OFD.xml"))
	f.Add([]byte("PK\x03\x04" + strings.Repeat("\xff", 26) + "OFD.xml"))
	f.Fuzz(func(t *testing.T, head []byte) {
		found := mediatype.Find(head)
		if found == "" || strings.ContainsAny(found, "; ") {
			t.Fatalf("%q", found)
		}
		if err := mediatype.Check(found, head); err != nil {
			t.Fatalf("%s contradicts itself: %v", found, err)
		}
	})
}
