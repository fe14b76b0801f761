package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

var (
	namedCommand = regexp.MustCompile("(?:^|[\\s`(/])stele ((?:[a-z][a-z-]*)(?: [^`\n|;&>]*)?)")
	namedFlag    = regexp.MustCompile(`(?:^| )--(?:no-)?([a-z][a-z0-9-]*)`)
)

// TestDocumentedFlagsExist: every command of the program that a page shows exists, and has every flag
// that it is shown with.
func TestDocumentedFlagsExist(t *testing.T) {
	parser, err := kong.New(&cli{}, kong.Name("stele"),
		kong.Vars{"version": "test", "peerApp": peerApp, "peerUser": peerUser, "faults": faultNames()})
	fatalIfErr(t, err)
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	fatalIfErr(t, err)
	commands, shown := 0, 0
	for _, page := range []string{"README.md", "README.zh-CN.md", "CONTRIBUTING.md"} {
		pages = append(pages, filepath.Join(root, page))
	}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		fatalIfErr(t, err)
		joined := strings.ReplaceAll(string(text), "\\\n", " ")
		for _, m := range namedCommand.FindAllStringSubmatch(joined, -1) {
			node := commandOf(parser.Model.Node, strings.Fields(m[1]))
			if node == parser.Model.Node {
				continue // a sentence about the program
			}
			commands++
			line, _, _ := strings.Cut(m[1], " # ")
			for _, f := range namedFlag.FindAllStringSubmatch(line, -1) {
				shown++
				known := hasFlag(node, f[1])
				if node.Name == "verify" { // the offline verifier reads its arguments itself
					known = strings.Contains(verifierHelp(t), "-"+f[1]+" ")
				}
				if !known {
					t.Errorf("%s shows %q, and %s has no flag --%s", page, m[1], node.FullPath(), f[1])
				}
			}
		}
	}
	if commands < 60 || shown < 60 {
		t.Errorf("only %d commands with %d flags were found in the pages", commands, shown)
	}
}

// commandOf goes down the tree of commands as far as the words name it.
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
	return node
}

func verifierHelp(t *testing.T) string {
	t.Helper()
	var out, errs strings.Builder
	run(t.Context(), []string{"verify", "--help"}, strings.NewReader(""), &out, &errs)
	return out.String() + errs.String()
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
