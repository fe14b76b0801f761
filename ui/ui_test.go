package ui

import (
	"bytes"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"stele/ui/words"
)

func load(t *testing.T) *Catalogues {
	t.Helper()
	cs, err := LoadCatalogues()
	if err != nil {
		t.Fatal(err)
	}
	return cs
}

var place = regexp.MustCompile(`\{[^}]*\}`)

// TestCataloguesAreComplete compares every language with the original one.
func TestCataloguesAreComplete(t *testing.T) {
	all := load(t).All()
	original := all[0]
	for _, c := range all {
		for _, key := range original.Keys() {
			if !c.Has(key) {
				t.Errorf("%s lacks %s", c.Tag, key)
			}
		}
		for _, key := range c.Keys() {
			text := c.Text(key)
			if !original.Has(key) {
				t.Errorf("%s has %s, which %s has not", c.Tag, key, original.Tag)
			}
			if strings.TrimSpace(text) != text || text == "" {
				t.Errorf("%s: %s is empty or has white space around it", c.Tag, key)
			}
			if got, want := places(text), places(original.Text(key)); !slices.Equal(got, want) {
				t.Errorf("%s: %s has the places %v, want %v", c.Tag, key, got, want)
			}
		}
		if c.Text("lang.tag") != c.Tag {
			t.Errorf("%s calls itself %s", c.Tag, c.Text("lang.tag"))
		}
	}
}

func places(text string) []string {
	found := place.FindAllString(text, -1)
	slices.Sort(found)
	return slices.Compact(found)
}

// TestKeysStandOnce finds keys that JSON would let override each other in silence.
func TestKeysStandOnce(t *testing.T) {
	for _, tag := range languages {
		var both [][]byte
		for _, name := range catalogueFiles(tag) {
			data, err := fs.ReadFile(locales, name)
			if err != nil {
				t.Fatal(err)
			}
			both = append(both, data)
		}
		seen, isKey := map[string]bool{}, true
		for d := json.NewDecoder(bytes.NewReader(bytes.Join(both, nil))); ; {
			token, err := d.Token()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			text, ok := token.(string)
			if !ok {
				isKey = true
				continue // the braces
			}
			if isKey && seen[text] {
				t.Errorf("%s has %s twice", tag, text)
			}
			seen[text] = seen[text] || isKey
			isKey = !isKey
		}
	}
}

// TestChineseIsChinese finds texts that were forgotten in translation, either way.
func TestChineseIsChinese(t *testing.T) {
	han := regexp.MustCompile(`\p{Han}`)
	cs := load(t)
	for _, c := range cs.All() {
		for _, key := range c.Keys() {
			text := c.Text(key)
			hasHan := han.MatchString(text)
			plain := place.ReplaceAllString(text, "")
			switch {
			case key == "lang.tag":
			case c.Tag == "en" && hasHan:
				t.Errorf("en: %s is %q", key, text)
			case c.Tag == "zh-CN" && !hasHan && regexp.MustCompile(`[a-z]{3}`).MatchString(plain):
				t.Errorf("zh-CN: %s is %q", key, text)
			}
		}
	}
}

// TestKeysInUse compares the keys that stand in templates and scripts with the catalogue.
// Keys that are put together at run time have the beginnings below; server/http/web tests those.
func TestKeysInUse(t *testing.T) {
	c := load(t).All()[0]
	used := map[string]bool{}
	collect := func(f fs.FS, key *regexp.Regexp) {
		t.Helper()
		err := fs.WalkDir(f, ".", func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.Contains(p, "gen/") {
				return err
			}
			data, err := fs.ReadFile(f, p)
			for _, m := range key.FindAllSubmatch(data, -1) {
				used[string(m[1])] = true
				if !c.Has(string(m[1])) {
					t.Errorf("%s wants %s, which there is not", p, m[1])
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	collect(Templates(), regexp.MustCompile(`\bt "([a-z_.]+)"`))
	collect(sub(static, "static/js"), regexp.MustCompile(`'((?:[a-z]+)\.(?:[a-zA-Z_.]+))'`+notModule))
	collect(os.DirFS("build"), regexp.MustCompile(`data-t="([a-z_.]+)"`))
	if len(used) < 50 {
		t.Fatalf("only %d keys were found: the test no longer looks at the right places", len(used))
	}
}

// notModule keeps names of modules and types out of what looks like a key.
const notModule = `[,);\] ]`

func TestAssetsAreServable(t *testing.T) {
	as, err := LoadAssets()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"css/tokens.css", "css/page.css", "js/main.js", "js/worker.js", "icon.svg",
		"locales/zh-CN.json", "locales/en.json"} {
		a, ok := as.Asset(name)
		if !ok {
			t.Errorf("there is no %s", name)
			continue
		}
		r, err := a.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil || int64(len(data)) != a.Size || a.Type == "" || len(a.Hash) != 16 || as.Path(name) != a.Hash+"/"+
			name {
			t.Errorf("%s: %d bytes of %d, type %q, hash %q, %v", name, len(data), a.Size, a.Type, a.Hash, err)
		}
	}
	if js, _ := as.Asset("js/main.js"); js != nil {
		for name, a := range as.byName {
			if strings.HasPrefix(name, "js/") && a.Hash != js.Hash {
				t.Errorf("%s has an address of its own: modules could not import it", name)
			}
		}
	}
	for name := range as.byName {
		if strings.HasPrefix(name, ".") || strings.Contains(name, "/.") {
			t.Errorf("the hidden file %s is an asset", name)
		}
	}
}

// TestNoInlineCode keeps templates in line with the pages' Content-Security-Policy.
func TestNoInlineCode(t *testing.T) {
	bad := regexp.MustCompile(`(?i)<style|\sstyle=|\son[a-z]+=|javascript:|<script[^>]*>[^<]|https?://`)
	names, err := fs.Glob(Templates(), "*.html")
	console, err2 := fs.Glob(Templates(), "console/*.html")
	if err != nil || err2 != nil || len(names) == 0 || len(console) == 0 {
		t.Fatal("no templates", err, err2)
	}
	names = append(names, console...)
	for _, name := range names {
		data, err := fs.ReadFile(Templates(), name)
		if err != nil {
			t.Fatal(err)
		}
		if found := bad.Find(data); found != nil {
			t.Errorf("%s holds %q", name, found)
		}
	}
}

// TestScriptsParseNoHTML keeps texts from outside out of every sink that would run them.
func TestScriptsParseNoHTML(t *testing.T) {
	bad := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|https?://`)
	js := sub(static, "static/js")
	names, err := fs.Glob(js, "*.js")
	if err != nil || len(names) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, name := range names {
		data, err := fs.ReadFile(js, name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			if found := bad.FindString(line); found != "" && !strings.Contains(line, "http://www.w3.org/2000/svg") {
				t.Errorf("%s holds %q", name, found)
			}
		}
	}
}

func TestTimeAndSize(t *testing.T) {
	zh, en := load(t).All()[0], load(t).All()[1]
	for in, want := range map[string]string{
		"2026-11-22T06:28:41.123Z": "2026年11月22日 14:28:41|22 November 2026 at 14:28:41",
		"2026-12-31T16:00:00.000Z": "2027年1月1日 00:00:00|1 January 2027 at 00:00:00",
		"not a time":               "not a time|not a time",
	} {
		t.Run(in, func(t *testing.T) {
			if got := zh.Time(in) + "|" + en.Time(in); got != want {
				t.Errorf("%s: %s, want %s", in, got, want)
			}
		})
	}
	for n, want := range map[uint64]string{0: "0 bytes", 1023: "1023 bytes", 1024: "1 KB", 1536: "1.5 KB",
		10<<20 - 1: "9.9 MB", 256 << 20: "256 MB", 4 << 30: "4 GB", 1 << 62: "4 EB", 150<<20 + 600<<10: "150 MB"} {
		if got := en.Size(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestTextFillsPlaces(t *testing.T) {
	c := words.New("en", map[string]string{"a": "{x} and {y}"})
	for want, got := range map[string]string{
		"{y} and 2": c.Text("a", "x", "{y}", "y", "2"), // a value is never filled again
		"[b]":       c.Text("b"),
		"a":         c.First("b", "a", "c"),
		"c":         c.First("b", "c"),
	} {
		t.Run(want, func(t *testing.T) {
			if got != want {
				t.Errorf("%q, want %q", got, want)
			}
		})
	}
}

func TestPackedAsset(t *testing.T) {
	packed := compress([]byte("what was packed"))
	a, err := newAsset("gen/x.wasm.gz", packed)
	if err != nil || a.Name != "gen/x.wasm" || a.Size != 15 || a.Type != "application/wasm" {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := newAsset("gen/x.wasm.gz", []byte("not packed")); err == nil {
		t.Error("what is no gzip file is taken for one")
	}
}
