package bulk_test

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"io"
	"testing"

	"golang.org/x/text/encoding/simplifiedchinese"

	"stele/notary/office/bulk"
)

// entry is a file of a zip that a test makes.
type entry struct {
	name  string
	text  string
	zeros int64 // instead of a text
	gbk   bool  // the name, as Windows in China writes it
	flags uint16
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func zipOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	w.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) {
		return flate.NewWriter(w, flate.BestSpeed)
	})
	for _, e := range entries {
		h := &zip.FileHeader{Name: e.name, Method: zip.Deflate, Flags: e.flags}
		if e.text == "" && e.zeros == 0 {
			h.Method = zip.Store
		}
		if e.gbk {
			name, err := simplifiedchinese.GB18030.NewEncoder().String(e.name)
			fatalIfErr(t, err)
			h.Name, h.NonUTF8 = name, true
		}
		f, err := w.CreateHeader(h)
		fatalIfErr(t, err)
		if e.zeros > 0 {
			_, err = io.CopyN(f, zeros{}, e.zeros)
		} else {
			_, err = io.WriteString(f, e.text)
		}
		fatalIfErr(t, err)
	}
	fatalIfErr(t, w.Close())
	return b.Bytes()
}

// lie makes a zip state a size of ten bytes where it states another, in its directory.
func lie(t testing.TB, data []byte, size uint32) []byte {
	t.Helper()
	out := bytes.Clone(data)
	i := bytes.LastIndex(out, binary.LittleEndian.AppendUint32(nil, size))
	if i < 0 {
		t.Fatal("the size is not there")
	}
	binary.LittleEndian.PutUint32(out[i:], 10)
	return out
}

func names(t *testing.T, data []byte, want ...string) map[string]bulk.Code {
	t.Helper()
	found, trouble := bulk.FindInZip(data, want)
	if trouble != nil {
		t.Fatalf("the zip is refused: %+v", trouble)
	}
	return found
}

// Files are found by the names that people and their systems give them.
func TestZipNames(t *testing.T) {
	data := zipOf(t, entry{name: "十一月/"}, entry{name: "十一月/通知 一.pdf", gbk: true}, entry{name: `十一月\子\二.pdf`},
		entry{name: "十一月/e\u0301.pdf"}, entry{name: "__MACOSX/._x"}, entry{name: "十一月/.DS_Store"},
		entry{name: "十一月/secret.pdf", flags: 1}, entry{name: "十一月/twice.pdf"}, entry{name: "十一月/twice.pdf"})
	got := names(t, data, "通知 一.pdf", "十一月/通知 一.pdf", "子/二.pdf", `子\二.pdf`, "\u00e9.pdf", "none.pdf", "secret.pdf",
		"twice.pdf", "../x", "._x")
	for name, code := range map[string]bulk.Code{"通知 一.pdf": "", "十一月/通知 一.pdf": "", "子/二.pdf": "", `子\二.pdf`: "",
		"\u00e9.pdf": "", "none.pdf": bulk.CodeNoFile, "secret.pdf": bulk.CodeLocked,
		"twice.pdf": bulk.CodeTwiceInZip, "../x": bulk.CodeForm, "._x": bulk.CodeNoFile} {
		t.Run(fmt.Sprintf("%+q", name), func(t *testing.T) {
			if got[name] != code {
				t.Errorf("%q: %q, want %q", name, got[name], code)
			}
		})
	}
	for _, name := range []string{"../x", "/etc/passwd", `C:\x`, "a/../../x", `..\x`, "a\x00b", "a\nb"} {
		t.Run(fmt.Sprintf("zip of %q", name), func(t *testing.T) {
			if _, trouble := bulk.FindInZip(zipOf(t, entry{name: name}), nil); trouble == nil ||
				trouble.Code != bulk.CodeZipNames {
				t.Errorf("%q is taken: %+v", name, trouble)
			}
		})
	}
}

// Names that differ in what nobody sees are found where one of them is meant, the exact one first.
func TestZipNamesAlike(t *testing.T) {
	data := zipOf(t, entry{name: "十一月/a.pdf "}, entry{name: "十一月 /b.pdf"}, entry{name: "c.pdf"},
		entry{name: "c.pdf\u00a0"}, entry{name: "d.pdf "}, entry{name: " d.pdf"}, entry{name: "\u00e9.pdf"},
		entry{name: "e\u0301.pdf"})
	got := names(t, data, "十一月/a.pdf", "十一月/b.pdf", "c.pdf", "d.pdf", "d.pdf ", "\u00e9.pdf", "e\u0301.pdf")
	for name, code := range map[string]bulk.Code{"十一月/a.pdf": "", "十一月/b.pdf": "", "c.pdf": "", "d.pdf": bulk.CodeAlike,
		"d.pdf ": "", "\u00e9.pdf": "", "e\u0301.pdf": ""} {
		t.Run(fmt.Sprintf("%+q", name), func(t *testing.T) {
			if got[name] != code {
				t.Errorf("%q: %q, want %q", name, got[name], code)
			}
		})
	}
	if got := names(t, zipOf(t, entry{name: "月/e\u0301 .pdf"}, entry{name: "月/b "}), "\u00e9 .pdf",
		"b"); got["\u00e9 .pdf"] != "" || got["b"] != "" {
		t.Errorf("below one folder: %v", got)
	}
	for name, want := range map[string]string{"通知 一.pdf": "通知 一.pdf", "a.pdf ": `"a.pdf "`,
		"a.pdf\u00a0": `"a.pdf\u00a0"`, "e\u0301": `"e\u0301"`, "\u00e9": "\u00e9", "a\u202efdp": `"a\u202efdp"`} {
		t.Run(fmt.Sprintf("%+q", name), func(t *testing.T) {
			if got := bulk.Shown(name); got != want {
				t.Errorf("%q is shown as %s, want %s", name, got, want)
			}
		})
	}
}

// A directory that is larger than it says, or somewhere else, is not read.
func TestZipDirectory(t *testing.T) {
	data := zipOf(t, entry{name: "a"}, entry{name: "b"})
	end := bytes.LastIndex(data, []byte("PK\x05\x06"))
	for what, change := range map[string]func([]byte) []byte{
		"a small size":     func(b []byte) []byte { b[end+12]--; return b },
		"another place":    func(b []byte) []byte { b[end+16]++; return b },
		"something before": func(b []byte) []byte { return append([]byte("#!/bin/sh\n"), b...) },
		"cut off":          func(b []byte) []byte { return b[:len(b)-1] },
		"no end":           func(b []byte) []byte { return b[:end] },
		"empty":            func([]byte) []byte { return nil },
	} {
		t.Run(what, func(t *testing.T) {
			if _, trouble := bulk.FindInZip(change(bytes.Clone(data)), nil); trouble == nil ||
				trouble.Code != bulk.CodeNoZip {
				t.Errorf("%s: %+v", what, trouble)
			}
		})
	}
	if _, trouble := bulk.FindInZip(append(bytes.Clone(data[:len(data)-2]), "\x03\x00abc"...), nil); trouble != nil {
		t.Errorf("with a comment: %+v", trouble)
	}
	// Real zip64 records, as programs write them for large zips: the old one says "look there".
	dir, size := binary.LittleEndian.Uint32(data[end+16:]), binary.LittleEndian.Uint32(data[end+12:])
	b := append(bytes.Clone(data[:end]), "PK\x06\x06"...)
	b = binary.LittleEndian.AppendUint64(b, 44)
	b = append(b, make([]byte, 12)...)
	for _, n := range []uint64{2, 2, uint64(size), uint64(dir)} {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	b = append(b, "PK\x06\x07\x00\x00\x00\x00"...)
	b = binary.LittleEndian.AppendUint64(b, uint64(end))
	b = append(b, 1, 0, 0, 0)
	b = append(b, "PK\x05\x06\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00"...)
	if got := names(t, b, "a", "b", "c"); got["a"] != "" || got["b"] != "" || got["c"] != bulk.CodeNoFile {
		t.Errorf("zip64: %v", got)
	}
}

func FuzzZip(f *testing.F) {
	f.Add(zipOf(f, entry{name: "a.pdf", text: "x"}, entry{name: "中/文.pdf", gbk: true}), "a.pdf")
	f.Add(zipOf(f, entry{name: "../x"}), "文.pdf")
	f.Fuzz(func(t *testing.T, data []byte, name string) {
		found, trouble := bulk.FindInZip(data, []string{name})
		if trouble == nil && len(found) != 1 || trouble != nil && trouble.Code == "" {
			t.Errorf("%v, %+v", found, trouble)
		}
	})
}
