//go:build js && wasm

package main

import (
	"encoding/json"
	"syscall/js"

	"stele/notary/proof"
	"stele/notary/proof/exhibit"
	"stele/ui/fill"
)

// noExhibit is the answer where there is nothing to show.
var noExhibit = string((&exhibit.Page{Points: []exhibit.Value{}, Parts: []exhibit.Part{}}).JSON())

// showExhibit verifies the bundle again, so that a picture never shows what it was told of
// a report, and takes it apart.
func showExhibit(_ js.Value, args []js.Value) any {
	if len(args) < 4 || len(args) > 5 || args[0].Type() != js.TypeString || args[3].Type() != js.TypeString {
		return noExhibit
	}
	trust, err := proof.ParseTrust([]byte(args[0].String()))
	if err != nil {
		return noExhibit
	}
	file, why := documentOf(args[1], args[4:])
	if why != "" {
		return noExhibit
	}
	bundle, ok := bytesOf(args[2])
	var texts map[string]string
	if !ok || json.Unmarshal([]byte(args[3].String()), &texts) != nil {
		return noExhibit
	}
	page, err := exhibit.Show(proof.VerifyFile(trust, file, bundle), trust, bundle,
		func(key string, pairs ...string) string {
			text, ok := texts[key]
			if !ok {
				return "[" + key + "]"
			}
			return fill.Places(text, pairs...)
		})
	if err != nil {
		return noExhibit
	}
	return string(page.JSON())
}
