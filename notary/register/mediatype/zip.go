package mediatype

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"io"
	"path"
	"slices"
	"strings"
)

// OFD is the media type of documents of GB/T 33190: zips with OFD.xml at their top.
const OFD = "application/ofd"

// zipType says what a zip is that begins with these bytes. The library is not asked: it takes for an
// entry whatever four bytes look like one, those of a zip inside as well, and so an archive of
// programs for a program, or a workbook with slides in it for slides.
func zipType(head []byte) string {
	names, said := zipEntries(head)
	if openDocument(said) {
		return said
	}
	ooxml, android, java, map3d := false, false, executableJar(head), false
	folders := map[string]bool{}
	for _, name := range names {
		// Programs of Windows write the separator of their folders, and names without regard to case.
		lower := strings.ToLower(strings.ReplaceAll(name, `\`, "/"))
		folder, rest, _ := strings.Cut(lower, "/")
		if name == "OFD.xml" || ofdFolder(name) {
			return OFD
		}
		ooxml = ooxml || slices.Contains([]string{"[content_types].xml", "_rels", "docprops", "customxml"}, folder)
		folders[folder] = folders[folder] || rest != "" && (ooxml || path.Ext(rest) == ".xml")
		android = android || slices.Contains(androidEntries, name) || strings.HasPrefix(name, "res/drawable")
		java = java || lower == "meta-inf/manifest.mf" // EPUB and OpenDocument have that folder as well
		map3d = map3d || name == "doc.kml"
	}
	for _, in := range []string{"word", "xl", "ppt", "visio"} {
		if folders[in] {
			return officeFolders[in]
		}
	}
	switch {
	case android:
		return "application/vnd.android.package-archive"
	case java:
		return "application/java-archive"
	case map3d:
		return "application/vnd.google-earth.kmz"
	}
	return "application/zip"
}

// officeFolders are where the packages of ISO/IEC 29500 have their documents.
var officeFolders = map[string]string{"word": docx, "xl": xlsx, "ppt": pptx, "visio": vsdx}

var androidEntries = []string{"AndroidManifest.xml", "classes.dex", "resources.arsc",
	"META-INF/com/android/build/gradle/app-metadata.properties"}

// executableJar reports whether the first entry has the mark of a Java archive that runs by itself.
func executableJar(head []byte) bool {
	if len(head) < nameAt {
		return false
	}
	extra := nameAt + int(binary.LittleEndian.Uint16(head[26:]))
	return len(head) >= extra+2 && binary.LittleEndian.Uint16(head[extra:]) == 0xcafe
}

// openDocument reports whether a document may call itself so, in its entry mimetype
// (OpenDocument 1.3, part 2, 3.3; EPUB OCF 3.3, 4.2.6).
func openDocument(mediaType string) bool {
	_, odf := strings.CutPrefix(mediaType, "application/vnd.oasis.opendocument.")
	_, before := strings.CutPrefix(mediaType, "application/vnd.sun.xml.") // OpenOffice 1
	return mediaType == epub || (odf || before) &&
		strings.Trim(mediaType, "abcdefghijklmnopqrstuvwxyz-./") == ""
}

// ofdFolder reports whether only an OFD has an entry of this name. The standard (GB/T 33190-2016,
// 7.1) names OFD.xml and lets the rest be anywhere; all programs that are known here put it into
// folders Doc_0, Doc_1 and so on, and many begin with a font that is larger than what is looked at.
func ofdFolder(name string) bool {
	doc, rest, _ := strings.Cut(name, "/")
	number, ok := strings.CutPrefix(doc, "Doc_")
	if !ok || number == "" || strings.Trim(number, "0123456789") != "" {
		return false
	}
	for _, part := range []string{"Document.xml", "PublicRes.xml", "DocumentRes.xml", "Pages/Page_", "Signs/Sign",
		"Tpls/Tpl_", "Res/", "Annots/", "Tags/", "Attachs/"} {
		if strings.HasPrefix(rest, part) {
			return true
		}
	}
	return false
}

const (
	nameAt      = 30      // in the header of an entry, APPNOTE.TXT 4.3.7
	maxUnpacked = 4 << 20 // bytes, to find the ends of entries: a head holds 32 MiB of nothing, packed
	maxMimetype = 128     // bytes of the entry mimetype
)

// zipEntries are the names of the entries that begin within the first bytes of a zip, and what the
// one called mimetype holds. It goes from entry to entry, over what they hold.
func zipEntries(head []byte) (names []string, said string) {
	head = bytes.TrimPrefix(head, []byte("PK\x07\x08")) // of an archive in parts, APPNOTE.TXT 8.5.4
	unpacked := int64(maxUnpacked)
	for {
		head = afterDescriptor(head)
		if len(head) < nameAt || !bytes.HasPrefix(head, []byte("PK\x03\x04")) {
			return names, said
		}
		behind := nameAt + int(binary.LittleEndian.Uint16(head[26:]))
		data := behind + int(binary.LittleEndian.Uint16(head[28:]))
		name := string(head[nameAt:min(behind, len(head))])
		names = append(names, name)
		if data > len(head) {
			return names, said
		}
		flags, method := binary.LittleEndian.Uint16(head[6:]), binary.LittleEndian.Uint16(head[8:])
		size := int64(binary.LittleEndian.Uint32(head[18:]))
		head = head[data:]
		const later, deflated = 8, 8 // the flag of a size that stands behind what is packed; the method
		content := head
		if method == deflated && (flags&later != 0 || name == "mimetype") {
			var packed int64
			content, packed = unpack(head, &unpacked)
			if packed < 0 {
				return names, said
			}
			if flags&later != 0 {
				size = packed
			}
		} else if flags&later != 0 {
			size = int64(max(bytes.Index(head, []byte("PK\x07\x08")), 0))
		}
		size = min(size, int64(len(head)))
		if name == "mimetype" && said == "" {
			if method != deflated {
				content = head[:size]
			}
			said = strings.TrimSpace(string(content[:min(len(content), maxMimetype)]))
		}
		head = head[size:]
	}
}

// unpack unpacks an entry, and says what its first bytes are and how many bytes it takes, packed; less
// than none if its end is not to be found. It takes what it unpacks from what may be.
func unpack(head []byte, left *int64) (content []byte, packed int64) {
	in := bytes.NewReader(head)
	out := io.LimitReader(flate.NewReader(in), *left)
	content, err := io.ReadAll(io.LimitReader(out, maxMimetype))
	n := int64(0)
	if err == nil {
		n, err = io.Copy(io.Discard, out)
	}
	switch *left -= n + int64(len(content)); {
	case *left <= 0 || errors.Is(err, io.ErrUnexpectedEOF):
		return content, -1
	case err != nil: // of no bytes, though it is called packed: the next header follows
		return content, int64(max(bytes.Index(head, []byte("PK\x03\x04")), 0))
	}
	return content, int64(len(head) - in.Len())
}

// afterDescriptor skips what may stand behind an entry (APPNOTE.TXT 4.3.9): a check sum and two sizes,
// of four or eight bytes each, with a signature or without.
func afterDescriptor(head []byte) []byte {
	for _, n := range []int{0, 12, 16, 20, 24} {
		if len(head) >= n && bytes.HasPrefix(head[n:], []byte("PK\x03\x04")) {
			return head[n:]
		}
	}
	return head
}
