package qr_test

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"testing"

	"github.com/skip2/go-qrcode"

	"stele/ui/scan/qr"
)

const link = "https://stele.example/r/420100-2026-00000018-9?code=7KQ2M9XD"

// picture draws a code of some size on paper, somewhere in a larger picture.
func picture(t testing.TB, text string, size int, paper color.Color) *image.RGBA {
	t.Helper()
	code, err := qrcode.New(text, qrcode.Medium)
	if err != nil {
		t.Fatal(err)
	}
	out := image.NewRGBA(image.Rect(0, 0, size*2, size*3/2))
	draw.Draw(out, out.Bounds(), image.NewUniform(paper), image.Point{}, draw.Src)
	draw.Draw(out, image.Rect(size/3, size/4, size/3+size, size/4+size), code.Image(size), image.Point{}, draw.Src)
	return out
}

func TestRead(t *testing.T) {
	for _, size := range []int{120, 200, 400, 900} {
		for what, paper := range map[string]color.Color{"white": color.White, "grey": color.Gray{190},
			"no": color.Transparent} {
			t.Run(what, func(t *testing.T) {
				p := picture(t, link, size, paper)
				if got := qr.Read(p.Pix, p.Rect.Dx(), p.Rect.Dy()); got != link {
					t.Errorf("%d px on %s paper: %q", size, what, got)
				}
			})
		}
	}
	p := picture(t, "文书存证", 300, color.White)
	if got := qr.Read(p.Pix, p.Rect.Dx(), p.Rect.Dy()); got != "文书存证" {
		t.Errorf("Chinese text: %q", got)
	}
}

// TestReadTurned reads codes that the library reads in some positions only.
func TestReadTurned(t *testing.T) {
	for _, text := range []string{
		"http://user@127.0.0.1:20012/",
		"http://user@127.0.0.1:20107/",
		"http://user@127.0.0.1:20203/",
		"javascript:alert(1)//http://127.0.0.1:20435/r/420100-2026-00000017-0",
		"javascript:alert(1)//http://127.0.0.1:20773/r/420100-2026-00000017-0",
	} {
		p := picture(t, text, 240, color.Gray{210})
		if got := qr.Read(p.Pix, p.Rect.Dx(), p.Rect.Dy()); got != text {
			t.Errorf("%s: %q", text, got)
		}
	}
}

// TestReadEvery reads the codes of many certificates: none may be one that nobody can scan.
func TestReadEvery(t *testing.T) {
	for i := range 400 {
		text := fmt.Sprintf("https://stele.example/r/420100-2026-%08d-%d?code=7KQ2M9XD", i*i*i, i%10)
		p := picture(t, text, 240, color.Gray{210})
		if got := qr.Read(p.Pix, p.Rect.Dx(), p.Rect.Dy()); got != text {
			t.Errorf("%s: %q", text, got)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	p := picture(t, link, 200, color.White)
	w, h := p.Rect.Dx(), p.Rect.Dy()
	blank := make([]byte, len(p.Pix))
	for what, got := range map[string]string{
		"nothing":       qr.Read(nil, 0, 0),
		"too few bytes": qr.Read(p.Pix[:len(p.Pix)-1], w, h),
		"too many":      qr.Read(append(p.Pix[:len(p.Pix):len(p.Pix)], 0), w, h),
		"negative":      qr.Read(p.Pix, -w, -h),
		"huge":          qr.Read(nil, 1<<40, 1<<40),
		"blank":         qr.Read(blank, w, h),
		"half a code":   qr.Read(p.Pix[:4*w*(h/2)], w, h/2),
	} {
		t.Run(what, func(t *testing.T) {
			if got != "" {
				t.Errorf("%s: %q", what, got)
			}
		})
	}
}

// FuzzRead changes a picture of a code in some bytes: reading it must end in order.
func FuzzRead(f *testing.F) {
	p := picture(f, link, 90, color.White)
	f.Add([]byte{1, 2, 3}, uint16(0), uint8(2))
	f.Add([]byte("\x00\xff\x00\xff\x00\xff"), uint16(9000), uint8(1))
	f.Fuzz(func(t *testing.T, noise []byte, at uint16, every uint8) {
		rgba := append([]byte(nil), p.Pix...)
		for i, n := range noise {
			rgba[(int(at)+i*4*(int(every)+1))%len(rgba)] ^= n
		}
		qr.Read(rgba, p.Rect.Dx(), p.Rect.Dy())
		if side := len(noise) / 4; side > 0 {
			qr.Read(noise[:4*side], side, 1)
			qr.Read(noise[:4*side], 1, side)
		}
	})
}
