package carrier

import (
	"encoding/binary"
	"strings"
)

// An evidence package is a zip file (APPNOTE.TXT of PKWARE) with one spelling, given in
// docs/formats.md section 13. [PackageWriter] writes it and [ReadPackage] accepts nothing else,
// so that whatever unpacks a package (by its table of contents, from the front as a stream, or
// by looking for headers) gets the files that were checked. What is free is the content of the
// files, how it is cut into blocks, and one time for all of them.

// Limits of a package. A real one has some dozens of files.
const (
	maxEntries = 4096
	// maxPart bounds each file but the original, in bytes; the offline page and the certificate
	// are the largest, with some megabytes.
	maxPart  = 64 << 20
	maxBlock = 65535
)

// Names inside a package that a verifier looks for.
const (
	packedBundle   = "bundle.json"
	packedOriginal = "original"
)

// packedFiles are the files that a package may hold besides the original: # stands for a
// decimal number of 1 to 16 digits without leading zeros, @ for a digit.
var packedFiles = []string{"README.txt", "report.html", "report.json", "certificate.pdf", packedBundle, "trust.json",
	"algorithms.txt", "verify.html", "manifest.sm3"}

// packedParts are those of the record's own entry in the log, and in standingFolder those of
// the entry that revoked or replaced it.
var packedParts = []string{"statement.json", "signature.der", "signer.pem", "issuer-#.pem", "root.pem", "entry.bin",
	"inclusion/@@.left", "inclusion/@@.right", "checkpoint.txt", "checkpoint.der", "log.pem",
	"anchor-#/header.txt", "anchor-#/path/@@.left", "anchor-#/path/@@.right", "anchor-#/cosignature-#.der",
	"anchor-#/epoch-#/epoch.txt", "anchor-#/epoch-#/validator-#.pem", "anchor-#/epoch-#/signature-#.der",
	"gateway-#/key.pem", "gateway-#/history.txt", "gateway-#/history.der", "gateway-#/block.txt", "gateway-#/block.der",
	"gateway-#/ledger.txt", "gateway-#/ledger.der", "gateway-#/row.txt", "gateway-#/row.der",
	"gateway-#/receipt.txt", "gateway-#/receipt.der"}

const standingFolder = "standing/"

// packable reports whether a package may hold a file of this name.
func packable(name string) bool {
	for _, pattern := range packedFiles {
		if name == pattern {
			return true
		}
	}
	part := strings.TrimPrefix(name, standingFolder)
	for _, pattern := range packedParts {
		if matches(pattern, part) {
			return true
		}
	}
	return isOriginal(name)
}

// isOriginal: "original", or that with an extension of 1 to 8 small letters and digits.
func isOriginal(name string) bool {
	rest, ok := strings.CutPrefix(name, packedOriginal)
	if !ok || rest == "" {
		return ok
	}
	extension, ok := strings.CutPrefix(rest, ".")
	return ok && extension != "" && len(extension) <= 8 &&
		strings.Trim(extension, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}

// matches compares a name with a pattern of packedFiles.
func matches(pattern, name string) bool {
	for ; pattern != ""; pattern = pattern[1:] {
		n := 1
		switch c := pattern[0]; {
		case c == '#':
			n = len(name) - len(strings.TrimLeft(name, "0123456789"))
			if n == 0 || n > 16 || n > 1 && name[0] == '0' {
				return false
			}
		case name == "" || c == '@' && (name[0] < '0' || name[0] > '9') || c != '@' && name[0] != c:
			return false
		}
		name = name[n:]
	}
	return name == ""
}

// packed is what the headers of one file are made of.
type packed struct {
	name         string
	offset       uint64 // of the local header
	crc          uint32
	size, stored uint64 // of the content, and with what its blocks add
}

// stamp is the one time of a package as headers have it, which nothing depends on: time and
// date of MS-DOS, then seconds since 1970.
type stamp struct {
	dos  [4]byte
	unix [4]byte
}

const (
	localMark      = "PK\x03\x04"
	directoryMark  = "PK\x01\x02"
	descriptorMark = "PK\x07\x08"
	endMark        = "PK\x05\x06"
	end64Mark      = "PK\x06\x06"
	locatorMark    = "PK\x06\x07"

	localSize = 30 // of a local header without name and extra field
	max32     = 1<<32 - 1
)

var le = binary.LittleEndian

// local is the header in front of a file: CRC and sizes follow the data, since they are not
// known before.
func (s stamp) local(name string) []byte {
	b := append(make([]byte, 0, 128), localMark+"\x14\x00\x08\x00\x08\x00"...)
	b = append(b, s.dos[:]...)
	b = append(b, make([]byte, 12)...)
	b = le.AppendUint16(b, uint16(len(name)))
	b = le.AppendUint16(b, 9)
	b = append(b, name...)
	return append(b, s.extra()...)
}

// extra is the extended timestamp, with the time of modification alone.
func (s stamp) extra() string { return "UT\x05\x00\x01" + string(s.unix[:]) }

// wide reports whether sizes need 64 bits.
func (p packed) wide() bool { return p.stored >= max32 || p.size >= max32 }

// descriptor follows the data.
func (p packed) descriptor() []byte {
	b := le.AppendUint32([]byte(descriptorMark), p.crc)
	if p.wide() {
		return le.AppendUint64(le.AppendUint64(b, p.stored), p.size)
	}
	return le.AppendUint32(le.AppendUint32(b, uint32(p.stored)), uint32(p.size))
}

// listed is the file's line in the table of contents.
func (s stamp) listed(p packed) []byte {
	extra, version := s.extra(), uint16(20)
	stored, size, offset := min(p.stored, max32), min(p.size, max32), min(p.offset, max32)
	if p.wide() {
		version = 45
	}
	if p.wide() || p.offset >= max32 {
		stored, size = max32, max32
		sizes := le.AppendUint64(le.AppendUint64([]byte("\x01\x00\x18\x00"), p.size), p.stored)
		extra += string(le.AppendUint64(sizes, p.offset))
	}
	b := append(make([]byte, 0, 192), directoryMark+"\x14\x03"...)
	b = le.AppendUint16(b, version)
	b = append(b, "\x08\x00\x08\x00"...)
	b = append(b, s.dos[:]...)
	b = le.AppendUint32(b, p.crc)
	b = le.AppendUint32(le.AppendUint32(b, uint32(stored)), uint32(size))
	b = le.AppendUint16(b, uint16(len(p.name)))
	b = le.AppendUint16(b, uint16(len(extra)))
	b = append(b, make([]byte, 6)...)    // no comment, disk 0, no internal attributes
	b = append(b, "\x00\x00\xa4\x81"...) // a plain file, mode 0644
	b = le.AppendUint32(b, uint32(offset))
	b = append(b, p.name...)
	return append(b, extra...)
}

// end is what stands behind the table of contents: how many files it lists, its size and where
// it begins.
func end(files int, size, offset uint64) []byte {
	var b []byte
	n, size32, offset32 := uint16(files), uint32(size), uint32(offset)
	if offset >= max32 {
		b = append(b, end64Mark...)
		b = le.AppendUint64(b, 44)
		b = append(b, "\x2d\x00\x2d\x00\x00\x00\x00\x00\x00\x00\x00\x00"...)
		b = le.AppendUint64(le.AppendUint64(b, uint64(files)), uint64(files))
		b = le.AppendUint64(le.AppendUint64(b, size), offset)
		b = append(b, locatorMark+"\x00\x00\x00\x00"...)
		b = le.AppendUint64(b, offset+size)
		b = append(b, "\x01\x00\x00\x00"...)
		n, size32, offset32 = 1<<16-1, max32, max32
	}
	b = append(b, endMark+"\x00\x00\x00\x00"...)
	b = le.AppendUint16(le.AppendUint16(b, n), n)
	b = le.AppendUint32(le.AppendUint32(b, size32), offset32)
	return append(b, 0, 0)
}
