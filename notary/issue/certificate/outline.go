package certificate

import (
	"fmt"
	"sync"

	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"
)

var regularOutlines = sync.OnceValues(func() (*sfnt.Font, error) { return sfnt.Parse(regularTTF) })

// Outline returns the outline of a character in the pages' font and its advance, in units of
// which a line's height has 1000, downwards from the base line. It is false for a character
// that the font lacks. It is safe for concurrent use.
func Outline(r rune) (segments sfnt.Segments, advance float64, ok bool, err error) {
	f, err := regularOutlines()
	if err != nil {
		return nil, 0, false, fmt.Errorf("outline: %w", err)
	}
	var buf sfnt.Buffer
	index, err := f.GlyphIndex(&buf, r)
	if err != nil || index == 0 {
		return nil, 0, false, nil
	}
	const ppem = fixed.Int26_6(1000 << 6)
	if segments, err = f.LoadGlyph(&buf, index, ppem, nil); err != nil {
		return nil, 0, false, fmt.Errorf("outline of %q: %w", r, err)
	}
	width, err := f.GlyphAdvance(&buf, index, ppem, 0)
	return segments, float64(width) / 64, err == nil, err
}
