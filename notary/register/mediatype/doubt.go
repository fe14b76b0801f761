package mediatype

import (
	"path"
	"slices"
	"strings"
)

// Doubt is something about a file that whoever hands it in should be asked before it is a record for
// ever: most such files are a slip.
type Doubt string

// The doubts.
const (
	Empty   Doubt = "empty"   // it has no bytes
	Program Doubt = "program" // it is one, or is called like one, and no document
	Name    Doubt = "name"    // its name ends as those of another kind do
)

// All are all of them.
var All = []Doubt{Empty, Program, Name}

// Doubts are what there is to ask about a file: of this name, which may be empty, of the type that its
// bytes look like (see [Find]), and of so many bytes.
func Doubts(fileName, found string, size int64) []Doubt {
	if size == 0 {
		return []Doubt{Empty}
	}
	found, _, _ = strings.Cut(found, ";")
	ending := strings.ToLower(path.Ext(strings.TrimRight(fileName, " .\u3000"))) // Windows leaves these out
	if slices.Contains(programTypes, found) || slices.Contains(programEndings, ending) {
		return []Doubt{Program}
	}
	if stated, known := byEnding[ending]; known && found != "" && !sameDocument(stated, found) {
		return []Doubt{Name}
	}
	return nil
}

// sameDocument reports whether a file of a type may have the name of another. Kinds that hold each
// other are told apart where both types say precisely what they are.
func sameDocument(stated, found string) bool {
	if slices.Contains(precise, stated) && slices.Contains(precise, found) {
		return stated == found
	}
	return agree(stated, found, kindsOf(found))
}

const (
	pdf  = "application/pdf"
	docx = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
	xlsx = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
	pptx = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
	odt  = "application/vnd.oasis.opendocument.text"
	ods  = "application/vnd.oasis.opendocument.spreadsheet"
	odp  = "application/vnd.oasis.opendocument.presentation"
	epub = "application/epub+zip"
	vsdx = "application/vnd.ms-visio.drawing"
)

// precise are types in a zip that a file is of or is not.
var precise = []string{docx, xlsx, pptx, vsdx, odt, ods, odp, epub, OFD}

// byEnding are the types of files that offices have, by the end of their names.
var byEnding = map[string]string{
	".pdf": pdf, ".ofd": OFD, ".docx": docx, ".xlsx": xlsx, ".pptx": pptx, ".odt": odt, ".ods": ods, ".odp": odp,
	".epub": epub,
	".doc":  doc, ".xls": xls, ".ppt": ppt, ".vsd": visio, ".vsdx": vsdx,
	".wps": "application/wps-office.wps", ".et": "application/wps-office.et", ".dps": "application/wps-office.dps",
	".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".gif": "image/gif", ".webp": "image/webp",
	".tif": "image/tiff", ".tiff": "image/tiff", ".heic": "image/heic",
	".txt": "text/plain", ".csv": "text/csv", ".xml": "text/xml", ".html": "text/html", ".htm": "text/html",
	".json": "application/json",
	".zip":  "application/zip", ".rar": "application/x-rar-compressed", ".7z": "application/x-7z-compressed",
	".gz":  "application/gzip",
	".mp4": "video/mp4", ".mov": "video/quicktime", ".wav": "audio/wav", ".avi": "video/x-msvideo",
}

// programTypes are what nobody registers as a document by intent.
var programTypes = []string{
	"application/vnd.microsoft.portable-executable", "application/x-elf", "application/x-object",
	"application/x-executable",
	"application/x-sharedlib", "application/x-coredump", "application/x-mach-binary", "application/x-ms-installer",
	"application/x-ms-shortcut", "application/java-archive", "application/x-java-applet",
	"application/vnd.android.package-archive", "application/x-installshield", "text/x-shellscript",
}

// programEndings are names that an operating system runs.
var programEndings = []string{
	".exe", ".dll", ".com", ".scr", ".bat", ".cmd", ".msi", ".ps1", ".vbs", ".js", ".jse", ".wsf", ".hta",
	".lnk", ".jar", ".apk", ".sh", ".reg", ".iso", ".dmg", ".pkg", ".deb", ".rpm"}
