package mediatype_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf16"

	"stele/notary/register/mediatype"
)

// oleFile is an OLE file with these entries at its top (MS-CFB). The table of sectors is its first
// sector, as programs write it that make files at once; between it and the directory lie some sectors
// of a stream. An entry that ends with a slash is a storage that holds the next one.
func oleFile(t testing.TB, shift, before int, names ...string) []byte {
	t.Helper()
	size := 1 << shift
	head := make([]byte, size)
	copy(head, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
	binary.LittleEndian.PutUint16(head[26:], uint16(map[int]int{9: 3, 12: 4}[shift]))
	binary.LittleEndian.PutUint16(head[30:], uint16(shift))
	binary.LittleEndian.PutUint32(head[48:], uint32(1+before)) // where the directory begins
	const none, end, isTable = 0xffffffff, 0xfffffffe, 0xfffffffd
	table, directory := make([]byte, size), []byte{}
	for i := range size / 4 {
		binary.LittleEndian.PutUint32(table[4*i:], none)
	}
	entry := func(name string, kind byte, right, child uint32) {
		e := make([]byte, 128)
		units := utf16.Encode([]rune(name))
		for i, u := range units {
			binary.LittleEndian.PutUint16(e[2*i:], u)
		}
		binary.LittleEndian.PutUint16(e[64:], uint16(2*len(units)+2))
		e[66] = kind
		for i, v := range []uint32{none, right, child} {
			binary.LittleEndian.PutUint32(e[68+4*i:], v)
		}
		directory = append(directory, e...)
	}
	entry("Root Entry", 5, none, 1)
	for i, name := range names {
		right, child, kind := uint32(i+2), uint32(none), byte(2)
		if i == len(names)-1 || i > 0 && strings.HasSuffix(names[i-1], "/") {
			right = none
		}
		if name, held := strings.CutSuffix(name, "/"); held {
			names[i], kind, child = name, 1, uint32(i+2)
			right = none
			if i+2 < len(names) {
				right = uint32(i + 3)
			}
			entry(name, kind, right, child)
			names[i] += "/"
			continue
		}
		entry(name, kind, right, child)
	}
	directory = append(directory, make([]byte, (size-len(directory)%size)%size)...)
	binary.LittleEndian.PutUint32(table, isTable)
	for i, n := 0, len(directory)/size; i < n; i++ {
		next := uint32(before + i + 2)
		if i == n-1 {
			next = end
		}
		binary.LittleEndian.PutUint32(table[4*(1+before+i):], next)
	}
	return bytes.Join([][]byte{head, table, make([]byte, before*size), directory}, nil)
}

// OLE files are called by what lies at their top, not by how they are kept: office documents with a
// password were presentations, whatever they were.
func TestFindInOLE(t *testing.T) {
	const storage, word, excel, slides = "application/x-ole-storage", "application/msword", "application/vnd.ms-excel",
		"application/vnd.ms-powerpoint"
	for _, c := range []struct {
		want  string
		names []string
	}{
		{storage, []string{"EncryptionInfo", "EncryptedPackage", "\x06DataSpaces/", "Version"}},
		{storage, []string{"Workbook", "EncryptedPackage"}}, {storage, []string{"Contents", "Props"}},
		{word, []string{"1Table", "WordDocument"}}, {word, []string{"WORDDOCUMENT"}},
		{word, []string{"ObjectPool/", "Workbook", "WordDocument"}},
		{word, []string{"a", "b", "c", "d", "e", "f", "g", "WordDocument"}},
		{excel, []string{"Workbook"}}, {excel, []string{"Book"}},
		{excel, []string{"MBD0001/", "WordDocument", "Workbook"}},
		{slides, []string{"Current User", "PowerPoint Document"}}, {slides, []string{"PP40"}},
		{"application/vnd.visio", []string{"VisioDocument"}},
		{"application/vnd.ms-publisher", []string{"Quill/", "QuillSub"}},
		{"application/vnd.ms-outlook", []string{"__nameid_version1.0/", "a", "__properties_version1.0"}},
	} {
		for _, shift := range []int{9, 12} {
			data := oleFile(t, shift, 3, c.names...)
			if got := mediatype.Find(data); got != c.want {
				t.Errorf("%q in sectors of %d bytes is %s, want %s", c.names, 1<<shift, got, c.want)
			}
			for _, stated := range []string{storage, "application/msword"} {
				if err := mediatype.Check(stated, data); err != nil {
					t.Errorf("%q: %v", c.names, err)
				}
			}
		}
	}
	// The directory lies behind what is looked at: then the first sector may say it, and the table of sectors does not.
	far := oleFile(t, 9, 100, "WordDocument")[:mediatype.HeadSize]
	for first, want := range map[string]string{"\xfd\xff\xff\xff": storage, "\xec\xa5\xc1\x00": word,
		"\x09\x08\x10\x00\x00\x06\x05\x00": excel, "\x0f\x00\xe8\x03": slides} {
		t.Run(first, func(t *testing.T) {
			copy(far[512:], first)
			if got := mediatype.Find(far); got != want {
				t.Errorf("with a first sector of %q it is %s, want %s", first, got, want)
			}
		})
	}
}

// zipWith is a zip of entries in this order: stored, or packed, as archive/zip writes them; whole
// writes the sizes into the header, as most programs do, and not behind the entry.
func zipWith(t testing.TB, method uint16, whole bool, entries ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i < len(entries); i += 2 {
		h := &zip.FileHeader{Name: entries[i], Method: method}
		var w interface{ Write([]byte) (int, error) }
		var err error
		if whole && method == zip.Store {
			h.CompressedSize64, h.UncompressedSize64 = uint64(len(entries[i+1])), uint64(len(entries[i+1]))
			w, err = z.CreateRaw(h)
		} else {
			w, err = z.CreateHeader(h)
		}
		if err == nil {
			_, err = w.Write([]byte(entries[i+1]))
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

// noise does not pack, and no two of it are alike.
func noise(n int) string {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(n)})
	r.Read(b)
	return string(b)
}

// What is in a file inside a zip does not say what the zip is, and neither do its folders alone.
func TestFindInOddZips(t *testing.T) {
	const xlsx = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
	const docx = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
	const ods, epub, jar = "application/vnd.oasis.opendocument.spreadsheet", "application/epub+zip",
		"application/java-archive"
	invoice := string(zipWith(t, zip.Store, true, "OFD.xml", "<ofd/>", "Doc_0/Document.xml", "<d/>"))
	slides := string(zipWith(t, zip.Store, true, "[Content_Types].xml", "<t/>", "ppt/presentation.xml", "<p/>"))
	for _, c := range []struct {
		what, want string
		entries    []string
	}{
		{"invoices in an archive", "application/zip", []string{"invoice 1.ofd", invoice, "invoice 2.ofd", invoice}},
		{"an invoice among others", "application/zip", []string{"a.txt", noise(900), "1.ofd", invoice}},
		{"a program in an archive", "application/zip",
			[]string{"a.txt", "a", "x.apk",
				string(zipWith(t, zip.Store, true, "AndroidManifest.xml", "x", "classes.dex", "y"))}},
		{"slides in a workbook", xlsx, []string{"[Content_Types].xml", "<t/>", "docProps/x.pptx", slides,
			"xl/workbook.xml", "<w/>"}},
		{"a font first", mediatype.OFD, []string{"Doc_0/Res/font_18_18.ttf", noise(40 << 10), "OFD.xml", "<ofd/>"}},
		{"remarks first", mediatype.OFD, []string{"Doc_0/Annots/Page_0/Annotation.xml", noise(40 << 10), "OFD.xml",
			"<ofd/>"}},
		{"separators of Windows", xlsx, []string{"[Content_Types].xml", "<t/>", `docProps\app.xml`, "<a/>",
			`xl\workbook.xml`, "<w/>"}},
		{"separators of Windows first", xlsx, []string{`docProps\app.xml`, "<a/>", `xl\workbook.xml`, "<w/>"}},
		{"small letters", xlsx, []string{"[content_types].xml", "<t/>", `xl\styles.xml`, "<w/>"}},
		{"a document's parts first", docx, []string{"word/document.xml", "<d/>", "_rels/.rels", "<r/>"}},
		{"a folder of words", "application/zip", []string{"word/a.txt", "a", "xl/b.txt", "b"}},
		{"a map", "application/vnd.google-earth.kmz", []string{"doc.kml", "<k/>"}},
		{"META-INF first", ods, []string{"META-INF/", "", "Thumbnails/a.png", noise(300), "mimetype", ods,
			"content.xml", "<c/>"}},
		{"META-INF first, a book", epub, []string{"META-INF/container.xml", "<c/>", "mimetype", epub + "\n",
			"OPS/a.xml", "<a/>"}},
		{"META-INF and nothing else", "application/zip", []string{"META-INF/", "", "a", "b"}},
		{"a manifest", jar, []string{"META-INF/", "", "META-INF/MANIFEST.MF", "x"}},
		{"a word of its own", "application/zip", []string{"a", "b", "mimetype", "text/html"}},
		{"Visio", "application/vnd.ms-visio.drawing", []string{"[Content_Types].xml", "<t/>", "visio/document.xml",
			"<v/>"}},
	} {
		for _, method := range []uint16{zip.Store, zip.Deflate} {
			for _, whole := range []bool{true, false} {
				data := zipWith(t, method, whole, c.entries...)
				head := data[:min(len(data), mediatype.HeadSize)]
				if got := mediatype.Find(head); got != c.want {
					t.Errorf("%s (method %d, sizes in the header: %v): %s, want %s", c.what, method, whole, got, c.want)
				}
				if err := mediatype.Check("application/zip", head); err != nil {
					t.Errorf("%s: %v", c.what, err)
				}
			}
		}
	}
}

// A head of a few bytes that unpack to very many is given up on.
func TestFindInPackedZeros(t *testing.T) {
	zeros := strings.Repeat("\x00", 31<<20)
	data := zipWith(t, zip.Deflate, false, "a", zeros, "OFD.xml", "<ofd/>")
	if got := mediatype.Find(data[:min(len(data), mediatype.HeadSize)]); got != "application/zip" {
		t.Errorf("it is %s", got)
	}
}

// A file that holds a PDF is none, though its first bytes name one.
func TestFindAroundPDF(t *testing.T) {
	const document = "%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj<<>>endobj\n"
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	if err := w.WriteHeader(&tar.Header{Name: "a.pdf", Mode: 0o644, Size: int64(len(document))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(document)); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct{ data, want string }{
		"a tar": {archive.String(), "application/x-tar"},
		"a time stamp's": {"\x30\x82\x01\x00\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x1f\xa0" + document,
			mediatype.Unknown},
		"a zip":                {string(zipWith(t, zip.Store, true, "a.pdf", document)), "application/zip"},
		"a byte order mark":    {"\xef\xbb\xbf" + document, "application/pdf"},
		"zeros":                {strings.Repeat("\x00", 128) + document, "application/pdf"},
		"a line":               {"from a gateway\n" + document, "application/pdf"},
		"a digit is no header": {"0" + document, "application/pdf"},
	} {
		t.Run(what, func(t *testing.T) {
			if got := mediatype.Find([]byte(c.data)); got != c.want {
				t.Errorf("%s: %s, want %s", what, got, c.want)
			}
		})
	}
}

// Rich text is that also with the byte that WordPad writes behind it, or with pictures in it as they are.
func TestFindRichText(t *testing.T) {
	for _, data := range []string{`{\rtf1 a}`, "{\\rtf1 a}\r\n\x00", "{\\rtf1{\\pict\\bin3 \x00\x01\x02}}"} {
		if got := mediatype.Find([]byte(data)); got != "text/rtf" {
			t.Errorf("%q is %s", data, got)
		}
	}
}
