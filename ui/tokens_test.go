package ui

import (
	"io/fs"
	"maps"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// pairs are the colours that stand on each other on any page: text needs 4.5:1, what is
// drawn (borders of fields, icons beside their words) 3:1, as WCAG 2.1 has it.
var pairs = []struct {
	on, under string
	least     float64
}{
	{"ink", "paper", 4.5}, {"ink", "surface", 4.5}, {"ink", "sunken", 4.5},
	{"ink-soft", "paper", 4.5}, {"ink-soft", "surface", 4.5}, {"ink-soft", "sunken", 4.5},
	{"proof", "paper", 4.5}, {"proof", "surface", 4.5}, {"proof", "sunken", 4.5},
	{"proof-hover", "paper", 4.5}, {"proof-hover", "surface", 4.5},
	{"on-seal", "seal", 4.5}, {"on-seal", "seal-hover", 4.5},
	{"on-alert", "alert", 4.5},
	{"line-strong", "paper", 3}, {"line-strong", "surface", 3}, {"seal", "surface", 3}, {"seal", "paper", 3},
	{"alert", "surface", 3},
}

var (
	themeStart = regexp.MustCompile(`@media \(prefers-color-scheme: dark\)`)
	token      = regexp.MustCompile(`--([a-z-]+): (#[0-9a-f]{6});`)
)

// themes reads the colours of both themes out of the token file.
func themes(t *testing.T) (light, dark map[string]string) {
	t.Helper()
	data, err := fs.ReadFile(static, "static/css/tokens.css")
	if err != nil {
		t.Fatal(err)
	}
	css, _, _ := strings.Cut(string(data), "@media print")
	parts := themeStart.Split(css, -1)
	if len(parts) != 2 {
		t.Fatal("the token file has no dark theme where the test looks for it")
	}
	read := func(into map[string]string, css string) map[string]string {
		for _, m := range token.FindAllStringSubmatch(css, -1) {
			into[m[1]] = m[2]
		}
		return into
	}
	light = read(map[string]string{}, parts[0])
	return light, read(maps.Clone(light), parts[1])
}

func TestContrast(t *testing.T) {
	light, dark := themes(t)
	for theme, colours := range map[string]map[string]string{"light": light, "dark": dark} {
		t.Run(theme, func(t *testing.T) {
			for _, p := range pairs {
				if colours[p.on] == "" || colours[p.under] == "" {
					t.Fatalf("%s: no colour %s or %s", theme, p.on, p.under)
				}
				if c := contrast(t, colours[p.on], colours[p.under]); c < p.least {
					t.Errorf("%s: %s on %s has %.2f:1, want %.1f:1", theme, p.on, p.under, c, p.least)
				}
			}
		})
	}
}

// contrast is that of WCAG 2.1.
func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	x, y := luminance(t, a), luminance(t, b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

func luminance(t *testing.T, colour string) float64 {
	t.Helper()
	var sum float64
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		n, err := strconv.ParseUint(colour[1+2*i:3+2*i], 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		c := float64(n) / 255
		if c <= 0.04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+0.055)/1.055, 2.4)
		}
		sum += weight * c
	}
	return sum
}

// TestStylesUseTokens keeps colours and fonts of components in the token file.
func TestStylesUseTokens(t *testing.T) {
	for _, name := range []string{"page.css", "proof.css", "console.css"} {
		stylesUseTokens(t, name)
	}
}

func stylesUseTokens(t *testing.T, name string) {
	t.Helper()
	data, err := fs.ReadFile(static, "static/css/"+name)
	if err != nil {
		t.Fatal(err)
	}
	if found := regexp.MustCompile(`#[0-9a-fA-F]{3,8}\b[^ {]|\brgba?\(|\bhsl\(|font-family: [^v]`).FindAll(data,
		-1); found != nil {
		t.Errorf("%s has values of its own: %q", name, found)
	}
	light, _ := themes(t)
	all, err := fs.ReadFile(static, "static/css/tokens.css")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`var\(--([a-z0-9-]+)\)`).FindAllSubmatch(data, -1) {
		if _, colour := light[string(m[1])]; !colour && !strings.Contains(string(all), "--"+string(m[1])+":") {
			t.Errorf("%s uses --%s, which is no token", name, m[1])
		}
	}
}
