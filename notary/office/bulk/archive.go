package bulk

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/unicode/norm"
)

// Limits of a zip beside those that a deployment sets.
const (
	maxEntries   = 20_000
	maxDirectory = 8 << 20 // bytes of the central directory: all of it is read at once
)

var errNoZip = errors.New("no zip that can be read here")

// openZip opens a zip after it has looked at where its directory is: the library reads all of
// it into memory, from its stated place to its end, whatever size is stated.
func openZip(r io.ReaderAt, size int64) (*zip.Reader, error) {
	n, err := directorySize(r, size)
	if err != nil || n > maxDirectory {
		return nil, errNoZip
	}
	z, err := zip.NewReader(r, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return nil, errNoZip
	}
	return z, nil
}

// directorySize reads the central directory's size from the records at a zip's end (PKWARE
// APPNOTE 4.3.14 to 4.3.16), and demands that it lies between its stated place and the first of
// those records, and that both records say the same.
func directorySize(r io.ReaderAt, size int64) (uint64, error) {
	const end, locator, record, none = 22, 20, 56, 1<<32 - 1
	tail := make([]byte, min(size, end+1<<16-1)) // the longest comment
	if _, err := r.ReadAt(tail, size-int64(len(tail))); err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	i := bytes.LastIndex(tail[:max(0, len(tail)-end+4)], []byte("PK\x05\x06"))
	if i < 0 {
		return 0, errNoZip
	}
	little := binary.LittleEndian
	n, place, stop := uint64(little.Uint32(tail[i+12:])), uint64(little.Uint32(tail[i+16:])),
		uint64(size)-uint64(len(tail)-i)
	var l [locator]byte
	if stop >= locator {
		if _, err := r.ReadAt(l[:], int64(stop)-locator); err != nil {
			return 0, err
		}
	}
	if string(l[:4]) == "PK\x06\x07" {
		var e [record]byte
		stop = little.Uint64(l[8:])
		if stop > uint64(size) {
			return 0, errNoZip
		}
		if _, err := r.ReadAt(e[:], int64(stop)); err != nil || string(e[:4]) != "PK\x06\x06" {
			return 0, errNoZip
		}
		n64, place64 := little.Uint64(e[40:]), little.Uint64(e[48:])
		if n != none && n != n64 || place != none && place != place64 {
			return 0, errNoZip
		}
		n, place = n64, place64
	}
	if n > uint64(size) || place > uint64(size) || place+n != stop {
		return 0, errNoZip
	}
	return n, nil
}

// bag is a zip's documents by name.
type bag struct {
	byName map[string]*zip.File // name as [cleanName] makes it
	like   map[string][]string  // such names by what [looseName] makes of them
	twice  map[string]bool
	used   map[string]bool
	top    string // the one folder that holds everything, with its slash, or empty
}

// openBag reads a zip's directory. The trouble is what makes the whole zip useless.
func openBag(r io.ReaderAt, size int64) (*bag, *Problem) {
	z, err := openZip(r, size)
	if err != nil {
		return nil, &Problem{Column: ColumnFile, Code: CodeNoZip}
	}
	if len(z.File) > maxEntries {
		return nil, &Problem{Column: ColumnFile, Code: CodeZipTooMany}
	}
	b := &bag{byName: map[string]*zip.File{}, like: map[string][]string{}, twice: map[string]bool{},
		used: map[string]bool{}}
	first := true
	for _, f := range z.File {
		name, ok := cleanName(entryName(f))
		if !ok {
			return nil, &Problem{Column: ColumnFile, Code: CodeZipNames, Detail: shown(entryName(f))}
		}
		if strings.HasSuffix(f.Name, "/") || strings.HasSuffix(f.Name, `\`) || f.Mode().IsDir() || litter(name) {
			continue
		}
		if b.byName[name] != nil {
			b.twice[name] = true
		} else {
			b.like[looseName(name)] = append(b.like[looseName(name)], name)
		}
		b.byName[name] = f
		folder, _, inside := strings.Cut(name, "/")
		switch {
		case first && inside:
			b.top = folder + "/"
		case !inside || b.top != folder+"/":
			b.top = ""
		}
		first = false
	}
	return b, nil
}

// entryName is an entry's name: UTF-8 where the zip says so or the bytes are, otherwise GB
// 18030, as Windows in China writes it.
func entryName(f *zip.File) string {
	if !f.NonUTF8 || utf8.ValidString(f.Name) {
		return f.Name
	}
	if text, err := simplifiedchinese.GB18030.NewDecoder().String(f.Name); err == nil {
		return text
	}
	return f.Name
}

// cleanName makes one name of those that mean the same to every system. ok is false for a name that leads out of
// the folder, or that no file can have.
func cleanName(name string) (clean string, ok bool) {
	if !utf8.ValidString(name) ||
		strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == utf8.RuneError }) {
		return "", false
	}
	name = strings.ReplaceAll(name, `\`, "/")
	if name == "" || strings.HasPrefix(name, "/") || len(name) > 1 && name[1] == ':' {
		return "", false
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", false
		}
	}
	return path.Clean(name), true
}

// looseName makes one name of those that look the same: without blanks around its parts, and with accents in one
// form (Unicode Standard Annex 15). macOS writes another one than everybody else.
func looseName(name string) string {
	parts := strings.Split(norm.NFC.String(name), "/")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return strings.Join(parts, "/")
}

// litter are the files that systems add to zips by themselves.
func litter(name string) bool {
	base := path.Base(name)
	return strings.HasPrefix(name, "__MACOSX/") || base == ".DS_Store" || strings.EqualFold(base, "Thumbs.db") ||
		strings.EqualFold(base, "desktop.ini")
}

// shown keeps a hostile name short and printable. One that looks like another is in quotation marks, with what cannot
// be seen in it written out.
func shown(name string) string {
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(name, "?"))
	if len(name) > 100 {
		name = strings.ToValidUTF8(name[:100], "") + "…"
	}
	composed := norm.NFC.String(name) == name
	odd := func(r rune) bool {
		return r != ' ' && unicode.In(r, unicode.Zs, unicode.Cf) || !composed && unicode.Is(unicode.M, r)
	}
	if looseName(name) == name && !strings.ContainsFunc(name, odd) {
		return name
	}
	var b strings.Builder
	for _, r := range name {
		if odd(r) {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return `"` + b.String() + `"`
}

// find returns the file that a table names, with the code of what is wrong with it, or none. The name itself comes
// first, then one that looks the same, if it is the only one.
func (b *bag) find(name string) (*zip.File, Code) {
	clean, ok := cleanName(name)
	if !ok {
		return nil, CodeForm
	}
	clean, code := b.match(clean)
	if code != "" {
		return nil, code
	}
	f := b.byName[clean]
	b.used[clean] = true
	switch {
	case b.twice[clean]:
		return nil, CodeTwiceInZip
	case f.Flags&1 != 0:
		return nil, CodeLocked
	case !f.Mode().IsRegular():
		return nil, CodeDamaged
	}
	return f, ""
}

// match finds the name in the zip that a name means. People zip a folder and name what is in it.
func (b *bag) match(clean string) (string, Code) {
	for _, name := range []string{clean, b.top + clean} {
		if b.byName[name] != nil {
			return name, ""
		}
	}
	for _, name := range []string{clean, b.top + clean} {
		switch like := b.like[looseName(name)]; len(like) {
		case 0:
		case 1:
			return like[0], ""
		default:
			return "", CodeAlike
		}
	}
	return "", CodeNoFile
}

// leftOver are the names that no row used, in order, and how many they are.
func (b *bag) leftOver() (names []string, n int) {
	for name := range b.byName {
		if !b.used[name] {
			names = append(names, shown(name))
		}
	}
	n = len(names)
	slices.Sort(names)
	return names[:min(n, MaxLeft)], n
}
