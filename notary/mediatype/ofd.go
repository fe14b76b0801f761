package mediatype

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// OFD is the media type of documents of GB/T 33190: zips with OFD.xml at their top.
const OFD = "application/ofd"

// isOFD looks for an entry that only an OFD has, among those that begin within the first bytes.
// The standard (GB/T 33190-2016, 7.1) names OFD.xml and lets the rest be anywhere; all programs that
// are known here put it into folders Doc_0, Doc_1 and so on.
func isOFD(raw []byte, _ uint32) bool {
	const header, nameAt = "PK\x03\x04", 30 // APPNOTE.TXT, 4.3.7
	for i := 0; ; {
		at := bytes.Index(raw[i:], []byte(header))
		if at < 0 || i+at+nameAt > len(raw) {
			return false
		}
		i += at
		length := int(binary.LittleEndian.Uint16(raw[i+26:]))
		name := string(raw[i+nameAt : min(i+nameAt+length, len(raw))])
		if name == "OFD.xml" || ofdFolder(name) {
			return true
		}
		i += len(header)
	}
}

func ofdFolder(name string) bool {
	doc, rest, _ := strings.Cut(name, "/")
	number, ok := strings.CutPrefix(doc, "Doc_")
	if !ok || number == "" || strings.Trim(number, "0123456789") != "" {
		return false
	}
	for _, part := range []string{"Document.xml", "PublicRes.xml", "DocumentRes.xml", "Pages/Page_", "Signs/Sign", "Tpls/Tpl_"} {
		if strings.HasPrefix(rest, part) {
			return true
		}
	}
	return false
}
