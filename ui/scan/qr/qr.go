// Package qr reads QR codes out of pictures, for browsers that cannot.
package qr

import (
	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"
)

// MaxPixels bounds a picture; the page scales larger ones down.
const MaxPixels = 16 << 20

// Read returns the text of a QR code in a picture, or "" where there is none that can be
// read. rgba has four bytes a pixel, row by row from the top, as a canvas gives them; what
// is transparent counts as white paper. Whatever the bytes are, Read returns. It is safe for
// concurrent use.
func Read(rgba []byte, width, height int) (text string) {
	if width <= 0 || height <= 0 || width > MaxPixels/height || len(rgba) != 4*width*height {
		return ""
	}
	// Two codes in a thousand hold dark squares that the library takes for marks of the code,
	// however steady the picture is, because it reads rows and in their order. Turned, the
	// same code is read.
	grey := luminance(rgba)
	text = decode(grey, width, height)
	for turns := 0; text == "" && turns < 3; turns++ {
		grey, width, height = turned(grey, width, height)
		text = decode(grey, width, height)
	}
	return text
}

// decode looks at a grey picture once.
func decode(grey []byte, width, height int) (text string) {
	// The library indexes by what it believes to see in a picture. A picture that leads it
	// out of bounds holds no code; it must not end the program.
	defer func() {
		if recover() != nil {
			text = ""
		}
	}()
	source, err := gozxing.NewPlanarYUVLuminanceSource(grey, width, height, 0, 0, width, height, false)
	if err != nil {
		return ""
	}
	bitmap, err := gozxing.NewBinaryBitmap(gozxing.NewHybridBinarizer(source))
	if err != nil {
		return ""
	}
	found, err := qrcode.NewQRCodeReader().Decode(bitmap,
		map[gozxing.DecodeHintType]any{gozxing.DecodeHintType_TRY_HARDER: true,
			gozxing.DecodeHintType_CHARACTER_SET: "UTF-8"})
	if err != nil {
		return ""
	}
	return found.GetText()
}

// turned is a picture turned by a quarter, clockwise.
func turned(grey []byte, width, height int) ([]byte, int, int) {
	out := make([]byte, 0, len(grey))
	for x := range width {
		for y := height - 1; y >= 0; y-- {
			out = append(out, grey[y*width+x])
		}
	}
	return out, height, width
}

// luminance makes a grey picture, with the weights of ITU-R BT.601 in 1/256.
func luminance(rgba []byte) []byte {
	out := make([]byte, len(rgba)/4)
	for i := range out {
		p := rgba[4*i : 4*i+4 : 4*i+4]
		y, a := (77*uint32(p[0])+150*uint32(p[1])+29*uint32(p[2]))>>8, uint32(p[3])
		out[i] = byte((y*a + 255*(255-a)) / 255)
	}
	return out
}
