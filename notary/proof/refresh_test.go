//go:build !js

package proof_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"stele/notary/proof"
)

// A held bundle gets the evidence of a fresh one and keeps its own attributes; one of another record does not.
func TestRefresh(t *testing.T) {
	vector := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join("testdata", "vectors", name))
		fatalIfErr(t, err)
		return b
	}
	fresh := vector("status-valid.json")
	held, err := proof.ParseBundle(fresh)
	fatalIfErr(t, err)
	held.Status = nil
	held.Fields = held.Fields[1:]
	got, err := proof.Refresh(held.Encode(), fresh)
	fatalIfErr(t, err)
	merged, err := proof.ParseBundle(got)
	fatalIfErr(t, err)
	if merged.Status == nil || len(merged.Fields) != len(held.Fields) {
		t.Errorf("status %v, %d attributes", merged.Status != nil, len(merged.Fields))
	}
	if _, err := proof.Refresh(vector("genuine-empty-document.json"), fresh); !errors.Is(err, proof.ErrOtherRecord) {
		t.Errorf("another record: %v", err)
	}
	for name, pair := range map[string][2][]byte{"held": {nil, fresh}, "fresh": {fresh, []byte("{}")}} {
		if b, err := proof.Refresh(pair[0], pair[1]); err == nil || b != nil {
			t.Errorf("no bundle as the %s one: %s, %v", name, b, err)
		}
	}
}
