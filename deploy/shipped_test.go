package deploy_test

import (
	"os/exec"
	"strings"
	"testing"
)

// TestShippedRounds: what weakens keys for tests is in no recipe that builds what is shipped.
func TestShippedRounds(t *testing.T) {
	build := exec.Command("make", "--dry-run", "build", "sbom")
	build.Dir = ".."
	recipes, err := build.CombinedOutput()
	if err != nil || !strings.Contains(string(recipes), "go build") {
		t.Fatalf("%v\n%s", err, recipes)
	}
	files, err := exec.Command("git", "grep", "--cached", "-l", "fewrounds", "--", ":/",
		":(exclude,top)*_test.go",
		":(exclude,top)*.md").Output()
	if err != nil {
		t.Fatal(err)
	}
	const known = "../Makefile\n../crypto/keystore/iterations.go\n../crypto/keystore/iterations_few.go\n"
	if strings.Contains(string(recipes), "fewrounds") || string(files) != known {
		t.Errorf("the tag is in %s and in these recipes:\n%s", files, recipes)
	}
}
