//go:build js && wasm

package main

import (
	"encoding/json"
	"slices"
	"syscall/js"

	"stele/notary/proof"
	"stele/ui/words"
)

// spoken is the catalogue of the last call: a page has one language at a time.
var spoken struct {
	text      string
	catalogue *words.Catalogue
}

func catalogue(text string) *words.Catalogue {
	if text != spoken.text || spoken.catalogue == nil {
		texts := map[string]string{}
		if json.Unmarshal([]byte(text), &texts) != nil {
			return nil
		}
		spoken.text, spoken.catalogue = text, words.New(texts["lang.tag"], texts)
	}
	return spoken.catalogue
}

// say puts findings about one file into words.
func say(_ js.Value, args []js.Value) any {
	if len(args) != 3 || slices.ContainsFunc(args, func(v js.Value) bool { return v.Type() != js.TypeString }) {
		return nil
	}
	c := catalogue(args[0].String())
	var found []words.Finding
	var about words.About
	if c == nil || json.Unmarshal([]byte(args[1].String()), &found) != nil || len(found) == 0 ||
		slices.ContainsFunc(found, func(f words.Finding) bool { return !whole(f.Report) }) ||
		json.Unmarshal([]byte(args[2].String()), &about) != nil {
		return nil
	}
	out, err := json.Marshal(words.PutHere(c, found, about))
	if err != nil {
		return nil
	}
	return string(out)
}

// whole reports whether a report has what its verdict speaks of, as all that the verifier writes have.
func whole(r *proof.Report) bool {
	return r != nil && (r.Standing != nil || r.Verdict != proof.Revoked && r.Verdict != proof.Superseded)
}
