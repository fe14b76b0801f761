package main

import (
	"testing"

	"github.com/alecthomas/kong"

	"stele/server/cmd/internal/doctest"
)

// TestDocumentedFlagsExist: every command of the program that a page shows exists, and has every flag
// that it is shown with.
func TestDocumentedFlagsExist(t *testing.T) {
	parser, err := model(&lab{})
	if err != nil {
		t.Fatal(err)
	}
	doctest.Check(t, "../../..", parser.Model, 3, func(*kong.Node, string) bool { return false })
}
