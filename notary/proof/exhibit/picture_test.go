package exhibit_test

import (
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

// wellFormed fails when a picture is no XML, or has anything in it that could load, run or
// style something.
func wellFormed(t testing.TB, name, picture string) {
	t.Helper()
	elements := []string{"svg", "title", "desc", "g", "path", "rect", "circle", "text"}
	attributes := []string{"xmlns", "class", "viewBox", "role", "focusable", "d", "x", "y", "width", "height", "rx", "cx", "cy", "r", "text-anchor"}
	d := xml.NewDecoder(strings.NewReader(picture))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, picture)
		}
		e, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		if !slices.Contains(elements, e.Name.Local) {
			t.Errorf("%s: element %s", name, e.Name.Local)
		}
		for _, a := range e.Attr {
			if !slices.Contains(attributes, a.Name.Local) || strings.Contains(a.Value, "%!") {
				t.Errorf("%s: attribute %s=%q of %s", name, a.Name.Local, a.Value, e.Name.Local)
			}
		}
	}
}
