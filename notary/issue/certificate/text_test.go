package certificate

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func testCanvas(t testing.TB) *canvas {
	t.Helper()
	f, err := loadFonts()
	if err != nil {
		t.Fatal(err)
	}
	c, err := newCanvas(f)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestWrap(t *testing.T) {
	c := testCanvas(t)
	for _, tc := range []struct {
		text  string
		width float64
		max   int
		want  string // lines joined by |
	}{
		{"", 100, 3, ""},
		{"中文", 100, 3, "中文"},
		{"一二三四五六七八九十甲乙", 55, 3, "一二三四五|六七八九十|甲乙"},
		{"一二三四五，六七", 55, 3, "一二三四|五，六七"}, // no comma first
		{"一二三四（五六）", 55, 3, "一二三四|（五六）"},
		{"one two three", 55, 3, "one two|three"},
		{"city-1、city-2", 55, 3, "city-1、|city-2"},
		{"wwwwwwwwwwwwwwww", 40, 9, "wwww|wwww|wwww|wwww"},
		{"一二三四五六七八九十甲乙", 55, 2, "一二三四五|六七八九…"},
		{" a\nb\tc ", 100, 2, "a b c"},
	} {
		got := strings.Join(c.wrap(style{weight: regular, size: 10}, tc.text, tc.width, tc.max), "|")
		if got != tc.want {
			t.Errorf("%q: %q, want %q", tc.text, got, tc.want)
		}
	}
}

// FuzzWrap: every line fits, nothing but white space is lost unless there is an ellipsis,
// and nothing that is left steers a reader.
func FuzzWrap(f *testing.F) {
	for _, s := range []string{"关于印发江城市不动产登记历史遗留问题处理工作实施方案的通知", "a long title, with words-and-hyphens/of " +
		"several kinds", "𠮷\u202e\x00\ufeff\u200b", strings.Repeat("W", 300), "（（（（（（（（。。。。。。。。"} {
		f.Add(s, uint16(120), uint8(3))
	}
	c := testCanvas(f)
	f.Fuzz(func(t *testing.T, s string, width uint16, max uint8) {
		w, n := 20+float64(width%600), 1+int(max%10)
		st := style{weight: regular, size: 9}
		lines := c.wrap(st, s, w, n)
		if len(lines) > n {
			t.Fatalf("%d lines of %d", len(lines), n)
		}
		for _, l := range lines {
			if c.width(st, l) > w+1e-6 {
				t.Errorf("%q is %.1f wide, not %.1f", l, c.width(st, l), w)
			}
			for _, r := range l {
				if !unicode.IsGraphic(r) {
					t.Errorf("%q holds %U", l, r)
				}
			}
		}
		whole := strings.Join(strings.Fields(clean(s)), "")
		got := strings.Join(strings.Fields(strings.Join(lines, "")), "")
		if !utf8.ValidString(got) || got != whole && !strings.HasSuffix(got, "…") {
			t.Errorf("%q became %q", whole, got)
		}
	})
}
