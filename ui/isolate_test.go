package ui

import (
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
)

var (
	action  = regexp.MustCompile(`(?s)\{\{-?\s*(.*?)\s*-?\}\}`)
	silent  = regexp.MustCompile(`^(if|with|range|end|define|block|break|continue|template|/\*|\$\w+\s*:?=)`)
	foreign = regexp.MustCompile(
		`^[.$][\w.$]*\.?(Title|FileName|Name|Owner|Value|Reason|Reference|Remark|Called|Label|Detail)$|^\$a$`)
)

// isolate and pop are how a text stands alone where no element can: between FIRST STRONG ISOLATE and POP
// DIRECTIONAL ISOLATE, in an option.
const isolate, pop = "&#8296;", "&#8297;"

// Texts that people or documents brought along stand alone in an element, which the style sheet
// isolates: whatever direction they are written in, what stands beside them stays in its order.
func TestForeignTextIsIsolated(t *testing.T) {
	templates, seen := os.DirFS("templates"), 0
	err := fs.WalkDir(templates, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path == "apidocs.html" { // that one shows texts of this program
			return err
		}
		text, err := fs.ReadFile(templates, path)
		if err != nil {
			return err
		}
		for _, run := range runs(string(text)) {
			for _, branch := range regexp.MustCompile(`\{\{-?\s*else.*?\}\}`).Split(run, -1) {
				var shown []string
				left := action.ReplaceAllStringFunc(branch, func(a string) string {
					if in := action.FindStringSubmatch(a)[1]; !silent.MatchString(in) {
						shown = append(shown, in)
						return a
					}
					return ""
				})
				for _, in := range shown {
					if !foreign.MatchString(in) {
						continue
					}
					seen++
					if alone := strings.TrimSpace(left) == "{{"+in+"}}"; !alone &&
						!regexp.MustCompile(isolate+`\{\{`+regexp.QuoteMeta(in)+`\}\}`+pop).MatchString(left) {
						t.Errorf("%s: %s stands beside something else in %q: put it into a <bdi>", path, in, branch)
					}
				}
			}
		}
		return nil
	})
	if err != nil || seen < 30 {
		t.Fatalf("%d texts: %v", seen, err)
	}
	css, err := os.ReadFile("static/css/page.css")
	if err != nil || !regexp.MustCompile(`(?m)^a, b, bdi, .*span, strong, .* \{ unicode-bidi: isolate; \}$`).Match(
		css) {
		t.Errorf("the style sheet does not isolate inline elements: %v", err)
	}
}

// runs are the pieces of text between tags, title and scripts left out.
func runs(html string) (out []string) {
	html = regexp.MustCompile(`(?s)<(title|script|style)[^>]*>.*?</(title|script|style)>`).ReplaceAllString(html, "")
	depth, start, inTag := 0, 0, false
	for i := 0; i < len(html); i++ {
		switch {
		case strings.HasPrefix(html[i:], "{{"):
			depth++
			i++
		case strings.HasPrefix(html[i:], "}}"):
			depth--
			i++
		case depth > 0:
		case html[i] == '<':
			out, inTag = append(out, html[start:i]), true
		case html[i] == '>' && inTag:
			start, inTag = i+1, false
		}
	}
	return append(out, html[start:])
}
