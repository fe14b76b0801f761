package filing

import (
	"fmt"
	"strings"
	"testing"

	"stele/notary/proof/statement"
)

func TestNames(t *testing.T) {
	long := strings.Repeat("文", 120)
	for in, want := range map[string][2]string{
		"关于办公时间的通知.pdf":      {"关于办公时间的通知.pdf", "关于办公时间的通知"},
		`C:\扫描\ 合同 .pdf `:    {"合同 .pdf", "合同"},
		"a/b/c.tar.gz":       {"c.tar.gz", "c.tar"},
		".bashrc":            {".bashrc", ".bashrc"},
		"":                   {unnamed, unnamed},
		"..":                 {unnamed, unnamed},
		"a\u202egnp.exe\r\n": {"agnp.exe", "agnp"},
		long + ".pdf":        {strings.Repeat("文", 83) + ".pdf", strings.Repeat("文", 83)},
	} {
		t.Run(fmt.Sprintf("%.20q", in), func(t *testing.T) {
			name := fileNameOf(in)
			if got := [2]string{name, titleOf(name)}; got != want {
				t.Errorf("%q: %q, want %q", in, got, want)
			}
		})
	}
}

// Whatever a file was called, a record can be made of the paper.
func FuzzName(f *testing.F) {
	f.Add("关于办公时间的通知.pdf")
	f.Add("\xff/\x00 . ")
	f.Fuzz(func(t *testing.T, s string) {
		name := fileNameOf(s)
		if !statement.ValidText(name, maxFileName) || strings.ContainsAny(name, `/\`) || name == "." || name == ".." {
			t.Fatalf("%q becomes the file name %q", s, name)
		}
		if title := titleOf(name); !statement.ValidText(title, maxTitle) {
			t.Fatalf("%q becomes the title %q", s, title)
		}
	})
}
