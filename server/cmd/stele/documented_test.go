package main

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"stele/server/cmd/internal/doctest"
)

// TestDocumentedFlagsExist: every command of the program that a page shows exists, and has every flag
// that it is shown with.
func TestDocumentedFlagsExist(t *testing.T) {
	parser, err := kong.New(&cli{}, kong.Name("stele"), kong.Vars{"version": "test"})
	fatalIfErr(t, err)
	doctest.Check(t, root, parser.Model, 60, func(command *kong.Node, flag string) bool {
		return command.Name == "verify" && strings.Contains(verifierHelp(t), "-"+flag+" ")
	})
}

// verifierHelp is of the offline verifier, which reads its arguments itself.
func verifierHelp(t *testing.T) string {
	t.Helper()
	var out, errs strings.Builder
	run(t.Context(), []string{"verify", "--help"}, strings.NewReader(""), &out, &errs)
	return out.String() + errs.String()
}

// TestNoLabInProduct: what only tries things out is not in the program that holds keys.
func TestNoLabInProduct(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	fatalIfErr(t, err)
	for name := range strings.FieldsSeq(string(out)) {
		simulated := strings.HasPrefix(name, "stele/") && strings.HasSuffix(name, "test") &&
			name != "stele/crypto/sm/selftest"
		if simulated || strings.Contains(name, "stele-lab") || strings.Contains(name, "bsnpeer") {
			t.Errorf("the program has %s", name)
		}
	}
}
