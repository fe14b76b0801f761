package pdftext

import (
	"bytes"
	"image/color"
	"image/jpeg"

	"stele/notary/office/stamp/pdf"
)

// maxPixels is how many a picture may have that is looked at: a page of A4 scanned at 400 dpi.
// Progressive JPEGs take twelve bytes of memory a pixel to read.
const (
	maxPixels      = 16 << 20
	maxProgressive = 3 << 20
	pixelsPerStep  = 4
)

// picture gives points that a picture covers its lightness there (8.9).
func (in *interpreter) picture(s *pdf.Stream, resources pdf.Dict) {
	c := in.canvas
	if in.seeThrough || in.file.Dict(s.Dict["SMask"]) != nil || in.file.Resolve(s.Dict["Mask"]) != nil {
		return // what is below shows through
	}
	det := in.ctm[0]*in.ctm[3] - in.ctm[1]*in.ctm[2]
	if det == 0 {
		return
	}
	var light func(u, v float64) float64 // from the upper left corner, 0 to 1
	in.eachVisible(func(i int) {
		x, y := c.at[i][0]-in.ctm[4], c.at[i][1]-in.ctm[5]
		u, v := (x*in.ctm[3]-y*in.ctm[2])/det, 1-(y*in.ctm[0]-x*in.ctm[1])/det
		if !(u >= 0 && u < 1 && v >= 0 && v < 1) {
			return
		}
		if light == nil {
			light = in.pixels(s, resources)
		}
		c.light[i] = light(u, v)
	})
}

// pixels reads a picture. One that is not understood has an unknown lightness everywhere.
func (in *interpreter) pixels(s *pdf.Stream, resources pdf.Dict) func(u, v float64) float64 {
	none := func(float64, float64) float64 { return unknown }
	w, h := in.dimension(s, "Width"), in.dimension(s, "Height")
	if w < 1 || h < 1 || w*h > maxPixels || in.file.Resolve(s.Dict["ImageMask"]) == true {
		return none
	}
	in.file.Budget().Take(w * h / pixelsPerStep)
	filters := in.file.Array(s.Dict["Filter"])
	name := in.file.Name(s.Dict["Filter"])
	if len(filters) == 1 {
		name = in.file.Name(filters[0])
	}
	if name == "DCTDecode" || name == "DCT" {
		return in.photograph(s.Raw, none)
	}
	bits, _ := in.file.Number(s.Dict["BitsPerComponent"])
	space, palette := in.palette(s.Dict["ColorSpace"], resources)
	n := in.components(space, resources)
	depth := int(bits)
	if n == 0 || depth != 1 && depth != 2 && depth != 4 && depth != 8 {
		return none
	}
	data, err := in.file.Unpack(s)
	if err != nil {
		return none
	}
	inverted := false
	if d := in.file.Array(s.Dict["Decode"]); len(d) >= 2 {
		from, _ := in.file.Number(d[0])
		to, _ := in.file.Number(d[1])
		inverted = from > to
	}
	perPixel := n
	if palette != nil {
		perPixel = 1
	}
	row := (w*perPixel*depth + 7) / 8
	return func(u, v float64) float64 {
		at := int(v*float64(h))*row*8 + int(u*float64(w))*perPixel*depth
		values := make([]float64, perPixel)
		for k := range values {
			i := at + k*depth
			if i/8 >= len(data) {
				return unknown
			}
			raw := int(data[i/8]) >> (8 - depth - i%8) & (1<<depth - 1)
			if palette != nil {
				return palette(raw)
			}
			values[k] = float64(raw) / float64(int(1)<<depth-1)
			if inverted {
				values[k] = 1 - values[k]
			}
		}
		return lightness(values)
	}
}

func (in *interpreter) dimension(s *pdf.Stream, key pdf.Name) int {
	n, _ := in.file.Number(s.Dict[key])
	return int(max(0, min(n, maxPixels)))
}

// palette reads an Indexed colour space (8.6.6.3): the space of its colours, and their lightness
// by number; nil for any other space, which is returned as it is.
func (in *interpreter) palette(space pdf.Object, resources pdf.Dict) (pdf.Object, func(i int) float64) {
	o := in.file.Resolve(space)
	if name, ok := o.(pdf.Name); ok {
		if named := in.file.Resolve(in.file.Dict(resources["ColorSpace"])[name]); named != nil {
			o = named
		}
	}
	a, _ := o.(pdf.Array)
	if len(a) != 4 || in.file.Name(a[0]) != "Indexed" && in.file.Name(a[0]) != "I" {
		return o, nil
	}
	var table []byte
	switch v := in.file.Resolve(a[3]).(type) {
	case pdf.String:
		table = []byte(v[:min(len(v), 256*4)]) // 256 colours of four components
	case *pdf.Stream:
		table, _ = in.file.Unpack(v) // an empty table makes every colour unknown
	}
	n := in.components(a[1], resources)
	return a[1], func(i int) float64 {
		if n == 0 || (i+1)*n > len(table) {
			return unknown
		}
		values := make([]float64, n)
		for k := range values {
			values[k] = float64(table[i*n+k]) / 255
		}
		return lightness(values)
	}
}

// photograph reads a JPEG.
func (in *interpreter) photograph(data []byte, none func(u, v float64) float64) func(u, v float64) float64 {
	if !in.file.Budget().Take(len(data) / pixelsPerStep) {
		return none
	}
	conf, err := jpeg.DecodeConfig(bytes.NewReader(data))
	most := maxPixels
	if bytes.Contains(data, []byte{0xff, 0xc2}) { // perhaps a frame of a progressive one (ITU-T T.81, table B.1)
		most = maxProgressive
	}
	if err != nil || conf.Width < 1 || conf.Height < 1 || conf.Width*conf.Height > most ||
		!in.file.Budget().Take(conf.Width*conf.Height/pixelsPerStep) {
		return none
	}
	img, err := jpeg.Decode(bytes.NewReader(data))
	if err != nil {
		return none
	}
	size := img.Bounds()
	return func(u, v float64) float64 {
		x, y := size.Min.X+int(u*float64(size.Dx())), size.Min.Y+int(v*float64(size.Dy()))
		return grey(img.At(x, y))
	}
}

func grey(c color.Color) float64 {
	return float64(color.GrayModel.Convert(c).(color.Gray).Y) / 255
}
