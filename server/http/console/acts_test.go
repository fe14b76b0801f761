package console_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var anAction = regexp.MustCompile(`\bAction\s*=\s*"([a-z_]+)"`)

// Whatever is noted in the audit trail has words in both languages.
func TestActsHaveTexts(t *testing.T) {
	acts := map[string]bool{}
	for _, root := range []string{"../../../notary/office", "../../../server"} {
		fatalIfErr(t, filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			for _, m := range anAction.FindAllStringSubmatch(string(text), -1) {
				acts[m[1]] = true
			}
			return err
		}))
	}
	if len(acts) < 20 {
		t.Fatalf("found only %d acts", len(acts))
	}
	for _, language := range []string{"en", "zh-CN"} {
		t.Run(language, func(t *testing.T) {
			text, err := os.ReadFile("../../../ui/locales/console/" + language + ".json")
			fatalIfErr(t, err)
			var texts map[string]string
			fatalIfErr(t, json.Unmarshal(text, &texts))
			for act := range acts {
				if texts["console.act."+act] == "" {
					t.Errorf("%s: no words for %s", language, act)
				}
			}
		})
	}
}
