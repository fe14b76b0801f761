package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// units are systemd's, as shipped.
var units = []string{"stele.service", "stele-node.service"}

// systemd knows every line of the units, and finds them closed as far as they are.
func TestUnits(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Fatal("systemd-analyze is not installed, this test needs it: run: make tools")
	}
	for _, name := range units {
		text, err := os.ReadFile(filepath.Join("systemd", name))
		if err != nil {
			t.Fatal(err)
		}
		// The program is looked for on this machine, where it is not installed.
		here := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(here, []byte(strings.Replace(string(text), "/usr/local/bin/stele", "/bin/true", 1)),
			0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(analyze, "verify", "--man=no", here).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		// 20 of 100, as systemd counts exposure.
		if out, err := exec.Command(analyze, "security", "--offline=true", "--threshold=20", "--no-pager",
			here).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		for _, line := range []string{"Type=notify", "Restart=on-failure", "RestartPreventExitStatus=78"} {
			if !strings.Contains(string(text), "\n"+line+"\n") {
				t.Errorf("%s has no line %s", name, line)
			}
		}
	}
}

// The runbook installs the units by their names, and holds no other copy of them.
func TestRunbookInstallsUnits(t *testing.T) {
	for page, unit := range map[string]string{"operations.md": units[0], "chain.md": units[1]} {
		t.Run(page, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("..", "docs", page))
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(text), "deploy/systemd/"+unit) {
				t.Errorf("docs/%s does not name deploy/systemd/%s", page, unit)
			}
			if regexp.MustCompile(`(?m)^\[Service\]`).Match(text) {
				t.Errorf("docs/%s has a unit of its own", page)
			}
		})
	}
}
