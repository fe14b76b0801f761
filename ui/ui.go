// Package ui holds what people see: templates, style sheets, scripts and the texts in every
// language, embedded into the program. It knows no HTTP and no domain: server/http/web fills the
// templates, the scripts do the same in the browser, and both take every word from the same
// catalogue.
//
// The browser's verifier (package ui/wasm) and the loader that belongs to the compiler are
// build products under static/gen, made by go generate and not kept in the repository.
// Without them everything still builds, and the pages offer the upload form instead.
package ui

import (
	"embed"
	"io/fs"
)

//go:generate go run ./build

//go:embed templates/*.html templates/console/*.html
var templates embed.FS

//go:embed all:static
var static embed.FS

//go:embed locales/*.json locales/console/*.json
var locales embed.FS

// Templates is the folder of page templates.
func Templates() fs.FS { return sub(templates, "templates") }

func sub(f fs.FS, dir string) fs.FS {
	s, err := fs.Sub(f, dir)
	if err != nil {
		panic(err) // the folders are named above and embedded by the compiler
	}
	return s
}
