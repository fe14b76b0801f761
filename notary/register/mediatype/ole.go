package mediatype

import (
	"bytes"
	"encoding/binary"
	"strings"
	"unicode/utf16"
)

const (
	oleStorage = "application/x-ole-storage"
	doc        = "application/msword"
	xls        = "application/vnd.ms-excel"
	ppt        = "application/vnd.ms-powerpoint"
	visio      = "application/vnd.visio"
)

// oleTypes are documents by the entry at the top of an OLE file that all of their kind have. Names
// are compared without regard to case (MS-CFB 2.6.4).
var oleTypes = map[string]string{
	"worddocument": doc, "workbook": xls, "book": xls, "powerpoint document": ppt, "pp40": ppt, "visiodocument": visio,
	"quill": "application/vnd.ms-publisher", "__properties_version1.0": "application/vnd.ms-outlook",
	// an office document of after 2007, with a password: of which kind is not to be seen
	"encryptedpackage": oleStorage,
}

// oleType says what an OLE file is that begins with these bytes. The library's word counts where
// this one has none, but not where it goes by what only says how the file is kept: files whose first
// sector is the table of sectors would be presentations, and those with a password mostly are so.
func oleType(head []byte, library string) string {
	names := oleEntries(head)
	found := ""
	for _, name := range names {
		if t := oleTypes[strings.ToLower(name)]; t != "" && (found == "" || t == oleStorage) {
			found = t
		}
	}
	switch {
	case found != "":
		return found
	case library != doc && library != xls && library != ppt && library != oleStorage:
		return library // by the class of its root, which is the root's own word
	case len(names) > 0:
		return oleStorage
	}
	// The directory lies further behind. The first sector says what it is if it is the document.
	first := head[min(len(head), 512):]
	for t, signatures := range map[string][]string{
		// MS-DOC 2.5.2; Word 6 and 95
		doc: {"\xec\xa5", "\xdc\xa5"},
		xls: {"\x09\x08\x10\x00", "\x09\x08\x08\x00"}, // MS-XLS 2.4.21; Excel 5
		// MS-PPT 2.4.1; a picture
		ppt: {"\x0f\x00\xe8\x03", "\xa0\x46\x1d\xf0", "\x00\x6e\x1e\xf0", "\x60\x21\x1b\xf0"},
	} {
		for _, s := range signatures {
			if bytes.HasPrefix(first, []byte(s)) {
				return t
			}
		}
	}
	return oleStorage
}

// oleEntries are the names at the top of an OLE file, as far as its directory lies within the first
// bytes (MS-CFB 2.2, 2.3, 2.6). Documents that are embedded lie deeper, and are not among them.
func oleEntries(head []byte) []string {
	if len(head) < 512 {
		return nil
	}
	shift := binary.LittleEndian.Uint16(head[30:])
	if shift != 9 && shift != 12 {
		return nil
	}
	sector := func(n uint32) []byte {
		at := (int64(n) + 1) << shift
		return head[min(at, int64(len(head))):min(at+1<<shift, int64(len(head)))]
	}
	next := func(n uint32) uint32 { // by the first 109 sectors of the table, which are named in the header
		perSector := uint32(1) << shift / 4
		if n/perSector >= 109 {
			return 1<<32 - 1
		}
		table := sector(binary.LittleEndian.Uint32(head[76+4*(n/perSector):]))
		if at := 4 * int(n%perSector); at+4 <= len(table) {
			return binary.LittleEndian.Uint32(table[at:])
		}
		return 1<<32 - 1
	}
	var directory []byte
	for n := binary.LittleEndian.Uint32(head[48:]); len(directory) < len(head); n = next(n) {
		s := sector(n)
		if directory = append(directory, s...); len(s) < 1<<shift {
			break
		}
	}
	const size = 128 // of an entry, 2.6.1
	if len(directory) < size {
		return nil
	}
	var names []string
	seen := make([]bool, len(directory)/size)
	for open := []uint32{binary.LittleEndian.Uint32(directory[76:])}; len(open) > 0; {
		n := open[len(open)-1]
		open = open[:len(open)-1]
		if int64(n) >= int64(len(seen)) || seen[n] {
			continue
		}
		seen[n] = true
		e := directory[n*size:][:size]
		names = append(names, oleName(e))
		open = append(open, binary.LittleEndian.Uint32(e[68:]), binary.LittleEndian.Uint32(e[72:]))
	}
	return names
}

// oleName is the name of an entry of the directory: UTF-16, its length in bytes with a zero behind it.
func oleName(entry []byte) string {
	n := max(0, min(int(binary.LittleEndian.Uint16(entry[64:]))/2-1, 32))
	name := make([]uint16, n)
	for i := range name {
		name[i] = binary.LittleEndian.Uint16(entry[2*i:])
	}
	return string(utf16.Decode(name))
}
