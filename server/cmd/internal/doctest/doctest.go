// Package doctest checks that the pages show no command that a program has not.
package doctest

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

var namedFlag = regexp.MustCompile(`(?:^| )--(?:no-)?([a-z][a-z0-9-]*)`)

// Check demands that every command of the program that a page shows has every flag that it is shown
// with, and that so many commands and flags are shown at all. foreign answers for commands that read
// their arguments themselves.
func Check(t *testing.T, root string, app *kong.Application, least int,
	foreign func(command *kong.Node, flag string) bool) {
	t.Helper()
	named := regexp.MustCompile("(?:^|[\\s`(/])" + app.Name + " ((?:[a-z][a-z-]*)(?: [^`\n|;&>]*)?)")
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range []string{"README.md", "README.zh-CN.md", "CONTRIBUTING.md"} {
		pages = append(pages, filepath.Join(root, page))
	}
	commands, shown := 0, 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		joined := strings.ReplaceAll(string(text), "\\\n", " ")
		for _, m := range named.FindAllStringSubmatch(joined, -1) {
			command := commandOf(app.Node, strings.Fields(m[1]))
			if command == app.Node {
				continue // a sentence about the program
			}
			commands++
			line, _, _ := strings.Cut(m[1], " # ")
			for _, f := range namedFlag.FindAllStringSubmatch(line, -1) {
				shown++
				if !hasFlag(command, f[1]) && !foreign(command, f[1]) {
					t.Errorf("%s shows %q, and %s has no flag --%s", page, m[1], command.FullPath(), f[1])
				}
			}
		}
	}
	if commands < least || shown < least {
		t.Errorf("only %d commands with %d flags were found in the pages", commands, shown)
	}
}

// commandOf goes down the tree of commands as far as the words name it, and to the default command there.
func commandOf(node *kong.Node, words []string) *kong.Node {
	for _, word := range words {
		i := slices.IndexFunc(node.Children, func(n *kong.Node) bool {
			return n.Name == word || slices.Contains(n.Aliases, word)
		})
		if i < 0 {
			break
		}
		node = node.Children[i]
	}
	if node.DefaultCmd != nil {
		return node.DefaultCmd
	}
	return node
}

func hasFlag(node *kong.Node, name string) bool {
	for ; node != nil; node = node.Parent {
		if slices.ContainsFunc(node.Flags, func(f *kong.Flag) bool {
			return f.Name == name || f.Name == "no-"+name || slices.Contains(f.Aliases, name)
		}) {
			return true
		}
	}
	return false
}
