package certificate_test

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"stele/notary/issue/certificate"
)

func encode(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	fatalIfErr(t, png.Encode(&b, img))
	return b.Bytes()
}

// What is kept of a seal is the picture, whatever kind of PNG it was, and nothing else.
func TestNormalizeSeal(t *testing.T) {
	box := image.Rect(0, 0, 100, 80)
	paletted := image.NewPaletted(box, color.Palette{color.Transparent, color.NRGBA{200, 0, 0, 255}})
	paletted.SetColorIndex(5, 6, 1)
	deep := image.NewNRGBA64(box)
	deep.Set(5, 6, color.NRGBA64{0x1234, 0x5678, 0x9abc, 0xdef0})
	for name, img := range map[string]image.Image{"gray": image.NewGray(box), "paletted": paletted, "64 bits": deep} {
		t.Run(name, func(t *testing.T) {
			in := encode(t, img)
			out, err := certificate.NormalizeSeal(in)
			fatalIfErr(t, err)
			got, err := png.Decode(bytes.NewReader(out))
			fatalIfErr(t, err)
			if got.Bounds() != box {
				t.Errorf("%s: %v", name, got.Bounds())
			}
			for _, at := range []image.Point{{5, 6}, {50, 40}} {
				want := color.NRGBAModel.Convert(img.At(at.X, at.Y)).(color.NRGBA)
				if is := color.NRGBAModel.Convert(got.At(at.X, at.Y)).(color.NRGBA); is != want {
					t.Errorf("%s at %v: %v, want %v", name, at, is, want)
				}
			}
			if again, err := certificate.NormalizeSeal(out); err != nil || !bytes.Equal(again, out) {
				t.Errorf("%s: encoded twice it differs (%v)", name, err)
			}
			in2 := variant{seal: out}.input(t)
			_, err = certificate.Render(in2)
			fatalIfErr(t, err)
		})
	}
	withText := encode(t, image.NewGray(box))
	withText = append(withText, "a secret behind the end"...)
	if out, err := certificate.NormalizeSeal(withText); err != nil || bytes.Contains(out, []byte("secret")) {
		t.Errorf("what stands behind the picture is kept (%v)", err)
	}
}

func TestNormalizeSealRefuses(t *testing.T) {
	noise := image.NewNRGBA(image.Rect(0, 0, 400, 400))
	r := rand.New(rand.NewPCG(1, 2))
	for i := range noise.Pix {
		noise.Pix[i] = uint8(r.Uint32())
	}
	bomb := encode(t, image.NewGray(image.Rect(0, 0, 5000, 5000))) // small in bytes, large in pixels
	for what, c := range map[string]struct {
		data []byte
		says string
	}{
		"nothing": {nil, "a seal is a PNG"}, "no PNG": {[]byte("GIF89a"), "a seal is a PNG"},
		"cut":         {encode(t, image.NewGray(image.Rect(0, 0, 99, 99)))[:60], "damaged"},
		"many pixels": {bomb, "at most 1200 by 1200"}, "few pixels": {encode(t, image.NewGray(image.Rect(0, 0, 99, 9))),
			"at least 64"},
		"many bytes": {make([]byte, certificate.MaxSealBytes+1), "at most 524288 bytes"},
		"noise":      {encode(t, noise), "524288"},
	} {
		t.Run(what, func(t *testing.T) {
			if out, err := certificate.NormalizeSeal(c.data); err == nil || out != nil ||
				!strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v, want %q", what, err, c.says)
			}
		})
	}
}

// FuzzSeal: whatever is handed in, what comes out is a small PNG that a certificate takes.
func FuzzSeal(f *testing.F) {
	f.Add(encode(f, image.NewGray(image.Rect(0, 0, 64, 64))))
	f.Add(encode(f, image.NewPaletted(image.Rect(0, 0, 70, 64), color.Palette{color.Black, color.Transparent})))
	f.Add([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\xff\xff\xff\xff\xff\xff\xff\xff\x08\x06\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		out, err := certificate.NormalizeSeal(data)
		if err != nil {
			return
		}
		dims, err := png.DecodeConfig(bytes.NewReader(out))
		if err != nil || len(out) > certificate.MaxSealBytes || dims.Width > certificate.MaxSealPixels ||
			dims.Height > certificate.MaxSealPixels {
			t.Errorf("%d bytes, %+v, %v", len(out), dims, err)
		}
		if again, err := certificate.NormalizeSeal(out); err != nil || !bytes.Equal(again, out) {
			t.Errorf("encoded twice it differs (%v)", err)
		}
	})
}

// The demo's seal is the same every time, of any name, and stands on a certificate as a
// demonstration.
func TestDemonstrationSeal(t *testing.T) {
	for _, name := range []string{"江城市政务服务局", "局", strings.Repeat("江城市中心区城乡建设与自然资源规划局", 3), "𠮷🙂x"} {
		first, err := certificate.DemonstrationSeal(name)
		fatalIfErr(t, err)
		if again, err := certificate.DemonstrationSeal(name); err != nil || !bytes.Equal(first, again) {
			t.Errorf("%s: two drawings differ (%v)", name, err)
		}
		if dir := os.Getenv("STELE_TEST_PICTURES"); dir != "" {
			fatalIfErr(t, os.WriteFile(dir+"/seal-"+fmt.Sprint(len(name))+".png", first, 0o600))
		}
		in := variant{seal: first, demo: true}.input(t)
		pdf, err := certificate.Render(in)
		fatalIfErr(t, err)
		if !strings.Contains(text(t, pdf), "演示印章") {
			t.Error("the seal is not marked")
		}
		if dir := os.Getenv("STELE_TEST_PICTURES"); dir != "" {
			fatalIfErr(t, os.WriteFile(dir+"/sealed-"+fmt.Sprint(len(name))+".png",
				poppler(t, pdf, "pdftoppm", "-r", "80", "-png", "-f", "1", "-l", "1", "-singlefile"), 0o600))
		}
	}
	if _, err := certificate.DemonstrationSeal(" "); err == nil {
		t.Error("an agency without a name has a seal")
	}
}
