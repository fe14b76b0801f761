package deploy_test

import (
	"debug/buildinfo"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// undetected are modules in whose files the detector finds no licence; a person has looked.
var undetected = map[string]string{
	"github.com/cosmos/gogoproto":    "BSD-3-Clause",
	"github.com/pressly/goose/v3":    "MIT",
	"github.com/rcrowley/go-metrics": "BSD-2-Clause",
}

// TestBillOfMaterials makes both bills and compares them with what the finished programs say of
// themselves: the same modules at the same versions, none missing, none more, each with its hash, and
// with a licence.
func TestBillOfMaterials(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: builds both programs")
	}
	dir := t.TempDir()
	if out, err := exec.Command("./sbom.sh", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, main := range map[string]string{
		"stele": "stele/server/cmd/stele", "stele-verify": "stele/notary/cmd/stele-verify",
	} {
		t.Run(name, func(t *testing.T) {
			program := filepath.Join(dir, name)
			build := exec.Command("go", "build", "-trimpath", "-o", program, main)
			build.Env = append(os.Environ(), "CGO_ENABLED=0")
			if out, err := build.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			info, err := buildinfo.ReadFile(program)
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]string{}
			for _, m := range info.Deps {
				want[m.Path] = m.Version
			}
			text, err := os.ReadFile(filepath.Join(dir, name+".cdx.json"))
			if err != nil {
				t.Fatal(err)
			}
			var bill struct {
				BOMFormat, SpecVersion string
				Metadata               struct{ Component struct{ Type, Name string } }
				Components             []struct {
					Name, Version string
					Hashes        []struct{ Alg, Content string }
					Evidence      struct{ Licenses []json.RawMessage }
				}
			}
			if err := json.Unmarshal(text, &bill); err != nil {
				t.Fatal(err)
			}
			if bill.BOMFormat != "CycloneDX" || bill.SpecVersion != "1.6" ||
				bill.Metadata.Component.Type != "application" {
				t.Errorf("%s: %s %s of %+v", name, bill.BOMFormat, bill.SpecVersion, bill.Metadata.Component)
			}
			got := map[string]string{}
			for _, c := range bill.Components {
				got[c.Name] = c.Version
				if len(c.Hashes) == 0 || c.Hashes[0].Alg != "SHA-256" || len(c.Hashes[0].Content) != 64 {
					t.Errorf("%s: %s has no hash: %v", name, c.Name, c.Hashes)
				}
				if (len(c.Evidence.Licenses) == 0) != (undetected[c.Name] != "") {
					t.Errorf("%s: %s has the licences %s, and here stands %q", name, c.Name, c.Evidence.Licenses,
						undetected[c.Name])
				}
			}
			if !maps.Equal(got, want) {
				t.Errorf("%s: the bill has %q, the program %q", name, slices.Sorted(maps.Keys(got)),
					slices.Sorted(maps.Keys(want)))
			}
		})
	}
}
