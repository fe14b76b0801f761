package certificate

import (
	_ "embed"
	"fmt"
	"sync"

	"github.com/signintech/gopdf"
)

// The fonts are embedded whole and drawn as subsets. Names of people and places hold rare
// characters, so the regular weight has all of them; the bold one is for our own words.
var (
	//go:embed fonts/NotoSansSC-Regular.ttf
	regularTTF []byte
	//go:embed fonts/NotoSansSC-Bold-Subset.ttf
	boldTTF []byte
)

// replacement stands for a character that the font does not have.
const replacement = '□'

// weight chooses one of the fonts; its value is the font's family name in the PDF.
type weight string

const (
	regular weight = "SteleSans"
	bold    weight = "SteleSansBold"
)

// fonts are the parsed fonts. Parsing takes longer than a certificate, so it is done once.
// They are read only after that.
type fonts struct {
	container gopdf.FontContainer
	faces     map[weight]*gopdf.SubsetFontObj // for measuring
}

var loadFonts = sync.OnceValues(func() (*fonts, error) {
	f := &fonts{faces: map[weight]*gopdf.SubsetFontObj{}}
	for w, data := range map[weight][]byte{regular: regularTTF, bold: boldTTF} {
		option := gopdf.TtfOption{OnGlyphNotFoundSubstitute: func(rune) rune { return replacement }}
		face := &gopdf.SubsetFontObj{}
		face.SetTtfFontOption(option)
		if err := face.SetTTFData(data); err != nil {
			return nil, fmt.Errorf("font %s: %w", w, err)
		}
		f.faces[w] = face
		if err := f.container.AddTTFFontDataWithOption(string(w), data, option); err != nil {
			return nil, fmt.Errorf("font %s: %w", w, err)
		}
	}
	return f, nil
})

// advance is the width of a character in thousandths of the font size; false when the font
// does not have it.
func (f *fonts) advance(w weight, r rune) (uint, bool) {
	face := f.faces[w]
	glyph, err := face.CharCodeToGlyphIndex(r)
	if err != nil || glyph == 0 {
		return 0, false
	}
	return face.GlyphIndexToPdfWidth(glyph), true
}
