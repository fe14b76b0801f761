package deploy_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A lane that fails, or is killed, is never lost, and keeps no other from its end.
func TestLanes(t *testing.T) {
	for name, c := range map[string]struct {
		lanes []string
		fails bool
		shown []string
	}{
		"all well": {[]string{"a=echo one", "b=true", "then", "c=echo last"}, false,
			[]string{"a | one\n", "ok      a ", "ok      b ", "ok      c "}},
		"one fails": {
			[]string{"a=echo '--- FAIL: TestX'; echo why; exit 3", "b=sleep 0.3; echo still here", "then",
				"c=echo last"},
			true, []string{"FAILED  a ", "exit code 3", "a failed:\n1:--- FAIL: TestX\n2-why\n", "b | still here\n",
				"ok      b ", "c | last\n"},
		},
		"nothing known is said": {[]string{"a=echo why; exit 1"}, true, []string{"a failed:\nwhy\n"}},
		"one is killed":         {[]string{"a=kill -9 $PPID", "b=true"}, true, []string{"FAILED  a ", "ok      b "}},
		"the last one fails":    {[]string{"a=true", "then", "c=false"}, true, []string{"ok      a ", "FAILED  c "}},
	} {
		t.Run(name, func(t *testing.T) {
			logs := filepath.Join(t.TempDir(), "lanes")
			out, err := exec.Command("./lanes.sh", append([]string{logs}, c.lanes...)...).CombinedOutput()
			if (err != nil) != c.fails {
				t.Errorf("%v\n%s", err, out)
			}
			for _, want := range c.shown {
				if !strings.Contains(string(out), want) {
					t.Errorf("%q is not said:\n%s", want, out)
				}
			}
		})
	}
}
