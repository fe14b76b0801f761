//go:build js && wasm

package main

import (
	"encoding/json"
	"slices"
	"syscall/js"

	"stele/notary/proof"
)

// rank puts reports into the order of [proof.Rank], as every other program does.
func rank(_ js.Value, args []js.Value) any {
	var reports []*proof.Report
	if len(args) != 1 || args[0].Type() != js.TypeString ||
		json.Unmarshal([]byte(args[0].String()), &reports) != nil || slices.Contains(reports, nil) {
		return nil
	}
	out, err := json.Marshal(proof.Rank(reports))
	if err != nil {
		return nil
	}
	return string(out)
}
