// Package mediatype says what kind of document bytes are, whether that contradicts what somebody says
// of them, and what about a file a person should be asked. It is the one place for all three.
package mediatype

import (
	"bytes"
	"slices"
	"strings"

	"github.com/gabriel-vasile/mimetype"

	"stele/notary"
	"stele/notary/proof/statement"
)

// Unknown is the type of what is of no kind that is known here.
const Unknown = "application/octet-stream"

// HeadSize is how many bytes a media type is found out from. Files that are zips name what they are
// in one of their first entries.
const HeadSize = 32 << 10

func init() {
	mimetype.SetLimit(HeadSize)
}

// Find is the media type that the first bytes of a document look like, without parameters.
func Find(head []byte) string {
	head = head[:min(len(head), HeadSize)]
	m := mimetype.Detect(head)
	t, _, _ := strings.Cut(m.String(), ";")
	switch {
	case within(m, "application/zip"):
		t = zipType(head)
	case within(m, oleStorage):
		t = oleType(head, t)
	case t == pdf && !bytes.HasPrefix(head, []byte("%PDF-")):
		t = aroundPDF(head)
	case t == Unknown && bytes.HasPrefix(head, []byte(`{\rtf`)):
		t = "text/rtf" // one byte of zero, which WordPad writes at the end, is no text for the library
	}
	if !statement.ValidMediaType(t) {
		return Unknown
	}
	return t
}

// within reports whether a type is one, or one that is built upon it.
func within(m *mimetype.MIME, t string) bool {
	for ; m != nil; m = m.Parent() {
		if m.Is(t) {
			return true
		}
	}
	return false
}

// aroundPDF says what a file is whose first bytes name a PDF further behind. The header may come
// later (ISO 32000-1, Annex H, note 13), but a file that only holds a PDF is none: one in a tar, or in
// a time stamp's envelope (RFC 5544).
func aroundPDF(head []byte) string {
	const longDER = "\x30\x80\x30\x81\x30\x82\x30\x83\x30\x84" // how a sequence of 128 bytes and more begins
	if i := strings.Index(longDER, string(head[:2])); i >= 0 && i%2 == 0 {
		return Unknown
	}
	m := mimetype.Detect(bytes.Replace(head, []byte("%PDF-"), []byte("%    "), 1))
	if t, _, _ := strings.Cut(m.String(), ";"); t != Unknown && !within(m, "text/plain") {
		return t
	}
	return pdf
}

// Check refuses a media type that the first bytes of a document contradict; HeadSize of
// them are looked at. This is the one place that says what a contradiction is, and docs/api.md says
// the same. A type is the statement's for ever, so what is certainly wrong is refused; what nobody
// can tell from the bytes stays the caller's word:
//
//   - A document that begins with the signature of one kind (a PDF, a picture, a zip …) is not
//     stated to be of another kind, nor to be text.
//   - A document without the signature that every file of the stated kind has is not stated to
//     be of it.
//   - Kinds that hold each other are one: office documents, OFD and EPUB are zips; those of before
//     2007, and encrypted ones, are OLE files, and some that are called so are text.
//   - All kinds of text are one: HTML, XML, JSON, CSV and whatever ends with +xml or +json.
//   - application/octet-stream says nothing, and a type that is not known here is believed,
//     unless it calls itself text, an image, sound or a film and the bytes are of something else.
func Check(stated string, head []byte) error {
	if stated == "" || stated == Unknown {
		return nil
	}
	found := Find(head)
	is := kindsOf(found)
	if found == pdf && !bytes.HasPrefix(head, []byte("%PDF-")) {
		is = []kind{kindPDF, kindText} // its header may come later, but a text may speak of it as well
	}
	if agree(stated, found, is) {
		return nil
	}
	looks := "its first bytes are those of " + found
	switch {
	case len(head) == 0:
		looks = "it is empty"
	case found == Unknown:
		looks = "it does not begin like one"
	}
	return notary.InvalidField("mediaType", "The document is stated to be %s, but %s. Nothing was saved; "+
		"leave the media type out to have it found out.", stated, looks)
}

// agree reports whether a document that was found to be of some kinds can be of the stated type.
func agree(stated, found string, is []kind) bool {
	kinds := kindsOf(stated)
	switch {
	case len(kinds) == 0:
		return !(namesItself(stated) && among(is, evident) && top(stated) != top(found))
	case len(is) == 0:
		return among(kinds, unsigned)
	}
	return among(kinds, is)
}

func among(these, those []kind) bool {
	return slices.ContainsFunc(these, func(k kind) bool { return slices.Contains(those, k) })
}

// kind is a family of media types that the first bytes do not tell apart, or that people
// confuse without harm. Types of no kind have no signature that could be relied on: two or three
// bytes that any text may begin with, as a bitmap's, are none.
type kind string

const (
	kindText  kind = "text"
	kindPDF   kind = "pdf"
	kindZip   kind = "zip"
	kindOLE   kind = "ole"
	kindPNG   kind = "png"
	kindJPEG  kind = "jpeg"
	kindGIF   kind = "gif"
	kindWebP  kind = "webp"
	kindTIFF  kind = "tiff"
	kindMP4   kind = "mp4" // and QuickTime, HEIF
	kindWAV   kind = "wav"
	kindAVI   kind = "avi"
	kindFLAC  kind = "flac"
	kindOgg   kind = "ogg"
	kindEBML  kind = "matroska"
	kindGzip  kind = "gzip"
	kind7z    kind = "7z"
	kindRAR   kind = "rar"
	kindXZ    kind = "xz"
	kindZstd  kind = "zstd"
	kindBzip2 kind = "bzip2"
)

// unsigned are the kinds of which some files do not begin with a signature that is known here.
var unsigned = []kind{kindText, kindTIFF, kindMP4, kindWAV, kindAVI, kindFLAC, kindOgg, kindEBML, kindZstd, kindBzip2}

// evident are the kinds that no other format is built upon: what is one of them is no other picture,
// sound or film.
var evident = []kind{kindPDF, kindPNG, kindJPEG, kindGIF, kindWebP, kindWAV, kindAVI, kindFLAC}

// typesOf are the media types of a kind, separated by spaces.
var typesOf = map[kind]string{
	kindPDF:  pdf + " application/x-pdf",
	kindPNG:  "image/png image/apng image/vnd.mozilla.apng",
	kindJPEG: "image/jpeg image/jpg image/pjpeg",
	kindGIF:  "image/gif",
	kindWebP: "image/webp",
	kindTIFF: "image/tiff",
	kindMP4: "video/mp4 audio/mp4 video/quicktime audio/x-m4a video/x-m4v video/3gpp video/3gpp2 " +
		"image/heic image/heif image/heic-sequence image/heif-sequence image/avif",
	kindWAV:   "audio/wav audio/x-wav audio/wave audio/vnd.wave",
	kindAVI:   "video/x-msvideo video/avi video/msvideo",
	kindFLAC:  "audio/flac audio/x-flac",
	kindOgg:   "application/ogg audio/ogg video/ogg",
	kindEBML:  "video/webm audio/webm video/x-matroska audio/x-matroska",
	kindGzip:  "application/gzip application/x-gzip",
	kind7z:    "application/x-7z-compressed",
	kindRAR:   "application/x-rar-compressed application/x-rar application/vnd.rar",
	kindXZ:    "application/x-xz",
	kindZstd:  "application/zstd",
	kindBzip2: "application/x-bzip2",
	kindZip: "application/zip application/x-zip application/x-zip-compressed application/java-archive " +
		"application/vnd.android.package-archive application/vnd.google-earth.kmz " +
		vsdx + " application/ofd application/x-ofd application/vnd.ofd " + officeTypes,
	kindOLE: oleStorage + " application/x-ms-installer application/vnd.ms-outlook " + visio + " " + officeTypes,
	kindText: "application/json application/xml application/x-ndjson application/jsonl application/javascript " +
		"application/yaml application/toml application/sql application/rtf application/x-subrip message/rfc822 " +
		officeTypes,
}

// officeTypes may be of the years before 2007, of those after, or a page or table that a program
// gave the name.
const officeTypes = "application/msword application/vnd.ms-word application/vnd.ms-excel application/msexcel " +
	"application/vnd.ms-powerpoint application/mspowerpoint application/vnd.ms-publisher " +
	"application/wps-office.wps application/wps-office.et application/wps-office.dps"

var kindsByType = func() map[string][]kind {
	out := map[string][]kind{}
	for k, types := range typesOf {
		for t := range strings.FieldsSeq(types) {
			out[t] = append(out[t], k)
		}
	}
	return out
}()

// kindsOf are the kinds that a document of a media type may be of; none when that is not known.
func kindsOf(mediaType string) []kind {
	if k, ok := kindsByType[mediaType]; ok {
		return k
	}
	begins := func(with string) bool { return strings.HasPrefix(mediaType, with) }
	ends := func(with string) bool { return strings.HasSuffix(mediaType, with) }
	switch {
	case begins("application/vnd.openxmlformats-officedocument."),
		begins("application/vnd.ms-") && ends(".macroenabled.12"):
		return []kind{kindZip, kindOLE} // with a password it lies in an OLE file
	case begins("application/vnd.oasis.opendocument."), begins("application/vnd.sun.xml."), ends("+zip"):
		return []kind{kindZip}
	case begins("text/"), ends("+xml"), ends("+json"):
		return []kind{kindText}
	}
	return nil
}

// namesItself reports whether a type says by its first half what it is.
func namesItself(mediaType string) bool {
	return slices.Contains([]string{"image", "audio", "video"}, top(mediaType))
}

func top(mediaType string) string {
	t, _, _ := strings.Cut(mediaType, "/")
	return t
}
