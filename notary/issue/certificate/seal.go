package certificate

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
)

// Limits of a seal's picture, as it is handed in and as it is stored.
const (
	MaxSealBytes  = 512 << 10
	MaxSealPixels = 1200 // wide, and high
	minSealPixels = 64
)

// NormalizeSeal reads the picture of a seal, a PNG, and encodes it anew: what is kept is the
// picture alone, without text, profiles and whatever else a PNG can carry. Transparency
// stays. The dimensions are looked at before anything is unpacked.
func NormalizeSeal(data []byte) ([]byte, error) {
	img, err := decodeSeal(data)
	if err != nil {
		return nil, err
	}
	if b := img.Bounds(); min(b.Dx(), b.Dy()) < minSealPixels {
		return nil, fmt.Errorf("a seal has at least %d by %d pixels: a smaller one prints as a blot", minSealPixels,
			minSealPixels)
	}
	out, err := uniform(img)
	if err == nil && len(out) > MaxSealBytes {
		err = fmt.Errorf("encoded anew the seal has %d bytes, more than %d: use fewer pixels", len(out), MaxSealBytes)
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

func decodeSeal(data []byte) (image.Image, error) {
	if len(data) > MaxSealBytes {
		return nil, fmt.Errorf("a seal is a PNG of at most %d bytes, this one has %d", MaxSealBytes, len(data))
	}
	dims, err := png.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("a seal is a PNG: %w", err)
	}
	if dims.Width > MaxSealPixels || dims.Height > MaxSealPixels || dims.Width == 0 || dims.Height == 0 {
		return nil, fmt.Errorf("a seal has at most %d by %d pixels, this one %d by %d", MaxSealPixels, MaxSealPixels,
			dims.Width, dims.Height)
	}
	img, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, errors.Join(errors.New("the seal's PNG is damaged"), err)
	}
	return img, nil
}

// uniform encodes a picture as PNG with 8 bits a channel and transparency, the one kind that
// goes to the PDF library, which reads some kinds only.
func uniform(img image.Image) ([]byte, error) {
	b := img.Bounds()
	out := image.NewNRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
	for y := range b.Dy() {
		for x := range b.Dx() {
			out.SetNRGBA(x, y, color.NRGBAModel.Convert(img.At(b.Min.X+x, b.Min.Y+y)).(color.NRGBA))
		}
	}
	out.Pix[3] &= 0xfe // an opaque picture would be encoded without transparency, as another kind
	var buf bytes.Buffer
	err := (&png.Encoder{CompressionLevel: png.BestSpeed}).Encode(&buf, out)
	return buf.Bytes(), err
}

// isUniform reports whether a PNG that decodes is of the kind that uniform writes: by its
// header (PNG, 11.2.2) 8 bits, true colour with alpha, not interlaced.
func isUniform(data []byte) bool {
	const depth = 24 // where these stand: after the signature, the chunk's head, width and height
	return len(data) > depth+4 && bytes.Equal(data[depth:depth+5], []byte{8, 6, 0, 0, 0})
}
