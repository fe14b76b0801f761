package intake

import (
	"bytes"
	"slices"
	"strings"

	"github.com/gabriel-vasile/mimetype"

	"stele/notary"
	"stele/notary/statement"
)

const unknownType = "application/octet-stream"

// mediaType returns what the caller named, or what the first bytes look like.
func mediaType(named string, head []byte) string {
	if named != "" {
		return named
	}
	if head == nil {
		return unknownType
	}
	return FindMediaType(head)
}

// FindMediaType is the media type that the first bytes of a document look like, without parameters.
func FindMediaType(head []byte) string {
	t, _, _ := strings.Cut(mimetype.Detect(head).String(), ";")
	if !statement.ValidMediaType(t) {
		return unknownType
	}
	return t
}

// CheckMediaType refuses a media type that the first bytes of a document contradict; HeadSize of
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
func CheckMediaType(stated string, head []byte) error {
	if stated == "" || stated == unknownType {
		return nil
	}
	found := FindMediaType(head)
	kinds, is := kindsOf(stated), kindsOf(found)
	if found == "application/pdf" && !bytes.HasPrefix(head, []byte("%PDF-")) {
		is = []kind{kindPDF, kindText} // its header may come later, but a text may speak of it as well
	}
	switch {
	case len(kinds) == 0 && !(namesItself(stated) && among(is, evident) && top(stated) != top(found)):
		return nil
	case len(kinds) > 0 && len(is) == 0 && among(kinds, unsigned):
		return nil
	case among(kinds, is):
		return nil
	}
	looks := "its first bytes are those of " + found
	switch {
	case len(head) == 0:
		looks = "it is empty"
	case found == unknownType:
		looks = "it does not begin like one"
	}
	return notary.InvalidField("mediaType", "The document is stated to be %s, but %s. Nothing was saved; leave the media type out to have it found out.", stated, looks)
}

func among(these, those []kind) bool {
	return slices.ContainsFunc(these, func(k kind) bool { return slices.Contains(those, k) })
}

// HeadSize is how many bytes a media type is found out from: what the library reads at most.
const HeadSize = 3072

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

var kindsByType = map[string][]kind{
	"application/pdf": {kindPDF}, "application/x-pdf": {kindPDF},
	"image/png": {kindPNG}, "image/apng": {kindPNG}, "image/vnd.mozilla.apng": {kindPNG},
	"image/jpeg": {kindJPEG}, "image/jpg": {kindJPEG}, "image/pjpeg": {kindJPEG},
	"image/gif": {kindGIF}, "image/webp": {kindWebP}, "image/tiff": {kindTIFF},
	"image/heic": {kindMP4}, "image/heif": {kindMP4}, "image/heic-sequence": {kindMP4}, "image/heif-sequence": {kindMP4}, "image/avif": {kindMP4},
	"video/mp4": {kindMP4}, "audio/mp4": {kindMP4}, "video/quicktime": {kindMP4}, "audio/x-m4a": {kindMP4}, "video/x-m4v": {kindMP4}, "video/3gpp": {kindMP4}, "video/3gpp2": {kindMP4},
	"audio/wav": {kindWAV}, "audio/x-wav": {kindWAV}, "audio/wave": {kindWAV}, "audio/vnd.wave": {kindWAV},
	"video/x-msvideo": {kindAVI}, "video/avi": {kindAVI}, "video/msvideo": {kindAVI},
	"audio/flac": {kindFLAC}, "audio/x-flac": {kindFLAC}, "application/ogg": {kindOgg}, "audio/ogg": {kindOgg}, "video/ogg": {kindOgg},
	"video/webm": {kindEBML}, "audio/webm": {kindEBML}, "video/x-matroska": {kindEBML}, "audio/x-matroska": {kindEBML},
	"application/gzip": {kindGzip}, "application/x-gzip": {kindGzip}, "application/x-7z-compressed": {kind7z},
	"application/x-rar-compressed": {kindRAR}, "application/x-rar": {kindRAR}, "application/vnd.rar": {kindRAR},
	"application/x-xz": {kindXZ}, "application/zstd": {kindZstd}, "application/x-bzip2": {kindBzip2},
	"application/zip": {kindZip}, "application/x-zip": {kindZip}, "application/x-zip-compressed": {kindZip},
	"application/java-archive": {kindZip}, "application/vnd.android.package-archive": {kindZip}, "application/vnd.google-earth.kmz": {kindZip},
	"application/ofd": {kindZip}, "application/x-ofd": {kindZip}, "application/vnd.ofd": {kindZip}, "application/vnd.sun.xml.calc": {kindZip},
	"application/x-ole-storage": {kindOLE}, "application/x-ms-installer": {kindOLE}, "application/vnd.ms-outlook": {kindOLE},
	"application/json": {kindText}, "application/xml": {kindText}, "application/x-ndjson": {kindText}, "application/jsonl": {kindText}, "application/javascript": {kindText},
	"application/yaml": {kindText}, "application/toml": {kindText}, "application/sql": {kindText}, "application/rtf": {kindText}, "application/x-subrip": {kindText},
	"application/xhtml+xml": {kindText}, "message/rfc822": {kindText},
	"image/x-portable-bitmap": nil, "image/x-portable-graymap": nil, "image/x-portable-pixmap": nil, // begin like text
	// What is called so may be of the years before 2007, of those after, or a page or table that a
	// program gave the name.
	"application/msword": office, "application/vnd.ms-word": office, "application/vnd.ms-excel": office, "application/msexcel": office,
	"application/vnd.ms-powerpoint": office, "application/mspowerpoint": office, "application/vnd.ms-publisher": office,
	"application/wps-office.wps": office, "application/wps-office.et": office, "application/wps-office.dps": office,
}

var office = []kind{kindOLE, kindZip, kindText}

// kindsOf are the kinds that a document of a media type may be of; none when that is not known.
func kindsOf(mediaType string) []kind {
	if k, ok := kindsByType[mediaType]; ok {
		return k
	}
	switch {
	case strings.HasPrefix(mediaType, "application/vnd.openxmlformats-officedocument."), strings.HasPrefix(mediaType, "application/vnd.ms-") && strings.HasSuffix(mediaType, ".macroenabled.12"):
		return []kind{kindZip, kindOLE} // with a password it lies in an OLE file
	case strings.HasPrefix(mediaType, "application/vnd.oasis.opendocument."), strings.HasSuffix(mediaType, "+zip"):
		return []kind{kindZip}
	case strings.HasPrefix(mediaType, "text/"), strings.HasSuffix(mediaType, "+xml"), strings.HasSuffix(mediaType, "+json"):
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
