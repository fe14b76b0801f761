package stamp_test

import (
	"bytes"
	"compress/zlib"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"math"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/pdfcpu/pdfcpu/pkg/api"
	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu/model"

	"stele/notary/office/stamp"
	"stele/notary/office/stamp/stamptest"
)

func zipped(t testing.TB, data io.Reader) string {
	t.Helper()
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	_, err := io.Copy(w, data)
	fatalIfErr(t, errors.Join(err, w.Close()))
	return b.String()
}

// endless is so many bytes of a pattern.
func endless(pattern string, n int64) io.Reader {
	return io.LimitReader(repeat(pattern), n)
}

type repeat string

func (r repeat) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = r[i%len(r)]
	}
	return len(p), nil
}

func encrypted(t testing.TB, user string) []byte {
	t.Helper()
	var out bytes.Buffer
	conf := model.NewAESConfiguration(user, "owner", 256)
	fatalIfErr(t, api.Encrypt(bytes.NewReader(pagesOf("", "")), &out, conf))
	return out.Bytes()
}

// inStream is a file whose catalog lies in an object stream.
func inStream(dict, data string) []byte { return stamptest.InStream(stream("/Type/ObjStm"+dict, data)) }

const aPage = "<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]>>"

// hostile are files that must not harm, with what is said of them; nil where they are read
// for what they are.
func hostile(t testing.TB) map[string]struct {
	data []byte
	want error
} {
	whole := letter(t, 2)
	catalog, tree := "<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Count 1/Kids[3 0 R]>>"
	packed := zipped(t, endless("q 0 ", 70<<20))
	page := "<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>/XObject<</X " +
		"4 0 R/Y 6 0 R>>>>>>"
	wide := "<</Type/Font/Subtype/Type0/BaseFont/X/Encoding/Identity-H/DescendantFonts[<</W[" +
		strings.Repeat("0 65535 500 ", 50_000) + "]>>]>>"
	const helvetica = "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"
	return map[string]struct {
		data []byte
		want error
	}{
		"nothing":    {nil, stamp.ErrNotPDF},
		"a picture":  {[]byte("\x89PNG\r\n\x1a\n"), stamp.ErrNotPDF},
		"large":      {make([]byte, stamp.MaxSize+1), stamp.ErrTooLarge},
		"head alone": {[]byte("%PDF-1.7\n"), stamp.ErrDamaged},
		"cut":        {whole[:len(whole)*3/4], stamp.ErrDamaged},
		"end alone":  {[]byte("%PDF-1.7\nstartxref\n9\n%%EOF\n"), stamp.ErrDamaged},
		"table is itself": {
			[]byte("%PDF-1.7\nxref\n0 0\ntrailer\n<</Prev 9/Root 1 0 R>>\nstartxref\n9\n%%EOF\n"), stamp.ErrDamaged},
		"table of a billion": {[]byte("%PDF-1.7\nxref\n0 1000000000\ntrailer\n<<>>\nstartxref\n9\n%%EOF\n"),
			stamp.ErrDamaged},
		"encrypted":              {encrypted(t, "secret"), stamp.ErrEncrypted},
		"encrypted, no password": {encrypted(t, ""), stamp.ErrEncrypted},
		"no pages":               {file(catalog, "<</Type/Pages/Count 0/Kids[]>>"), stamp.ErrDamaged},
		"says a billion pages":   {file(catalog, "<</Type/Pages/Count 1000000000/Kids[3 0 R]>>", aPage), nil},
		"one page very often": {file(catalog, "<</Type/Pages/Count 9999/Kids["+strings.Repeat("3 0 R ", 9999)+"]>>",
			aPage), stamp.ErrDamaged},
		"tree in a circle": {file(catalog, "<</Type/Pages/Count 1/Kids[3 0 R]>>", "<</Type/Pages/Kids[2 0 R]>>"),
			stamp.ErrDamaged},
		"reference to itself": {file(catalog, "2 0 R"), stamp.ErrDamaged},
		"length of itself": {file(catalog, tree, page, "<</Length 4 0 R>>\nstream\n0\nendstream", helvetica),
			nil},
		"page of five kilometres": {file(catalog, tree, "<</Type/Page/MediaBox[0 0 1e9 9999999]/Parent 2 0 R>>"), nil},
		"page of a hair": {file(catalog, tree, "<</Type/Page/MediaBox[0 0 0.1 842]/Parent 2 0 R>>"),
			stamp.ErrDamaged},
		"deep":         {file(catalog, tree, strings.Repeat("[", 1<<20)), stamp.ErrDamaged},
		"many objects": {file(catalog, tree, "["+strings.Repeat("0 ", 5<<19)+"]"), stamp.ErrTooLarge},
		"bomb of content": {file(catalog, tree, page, stream("/Filter/FlateDecode", packed), helvetica),
			stamp.ErrTooLarge},
		"bomb of objects":       {inStream("/Filter/FlateDecode/N 1/First 4", packed), stamp.ErrTooLarge},
		"objects in themselves": {inStream("/N 2/First 8", "1 0 2 0 [2 0 R]"), stamp.ErrDamaged},
		"content many times": {file(catalog, tree, "<</Type/Page/MediaBox[0 0 9 9]/Parent 2 0 R/Contents["+
			strings.Repeat("4 0 R ", 500)+"]>>", stream("", strings.Repeat("q Q ", 1<<17))), stamp.ErrTooLarge},
		"form in itself": {file(catalog, tree, page, stream("/Subtype/Form", strings.Repeat("/X Do ", 9)),
			helvetica), stamp.ErrTooLarge},
		"wide font": {file(catalog, tree, page, stream("", strings.Repeat("/F 9 Tf ", 1000)), wide),
			stamp.ErrTooLarge},
		"text for ever": {
			file(catalog, tree, page, stream("", "BT /F 9 Tf ("+strings.Repeat("x", 2<<20)+") Tj ET"), helvetica),
			stamp.ErrTooLarge},
		"numbers without sense": {
			file(catalog, tree, page,
				stream("", "1e9 0 0 99999999999999999999 0 0 cm BT /F 99999999999999999999999 Tf (x) Tj ET q q q Q "+
					"Q Q Q Q"), helvetica), nil},
	}
}

// Whatever a file is, the answer comes, takes bounded memory, and says what is wrong.
func TestHostileFiles(t *testing.T) {
	withoutRaceDetector(t)
	const most = 512 << 20 // bytes that are taken in all, most of them given back at once
	for what, c := range hostile(t) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		d, err := stamp.Open(c.data)
		if err == nil {
			_, _, err = d.Find("印章")
		}
		runtime.ReadMemStats(&after)
		if !errors.Is(err, c.want) || (c.want == nil) != (err == nil) {
			t.Errorf("%s: %v, want %v", what, err, c.want)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > most {
			t.Errorf("%s: %d MiB were used", what, took>>20)
		}
	}
}

// A file that is cut anywhere, or has a byte changed, is read or refused, and nothing panics.
func TestDamagedFiles(t *testing.T) {
	data := pagesOf("BT /F 12 Tf 50 700 Td (Seal) Tj ET", "", "")
	look := func(data []byte) {
		if d, err := stamp.Open(data); err == nil {
			_, _, _ = d.Find("seal")
		}
	}
	for n := range data {
		look(data[:n])
		bad := bytes.Clone(data)
		for _, bit := range []byte{1, 0x10, 0x80} {
			bad[n] = data[n] ^ bit
			look(bad)
		}
	}
}

// FuzzInspect: whatever a file is, it is refused with an error that says why, or what is
// stamped on its first page can be read again with the same pages.
func FuzzInspect(f *testing.F) {
	f.Add(pagesOf("q", ""))
	f.Add(packed(f, pagesOf("", "/Rotate 90")))
	f.Add(inStream("/N 1/First 4", "1 0 <</Pages 1 0 R>>"))
	plan := stamp.Plan{Marks: []stamp.Mark{{Kind: stamp.Seal, Pages: "1", Anchor: stamp.Anchor{Corner: stamp.TopLeft},
		Size: 20}}}
	var seal bytes.Buffer
	fatalIfErr(f, png.Encode(&seal, image.NewGray(image.Rect(0, 0, 8, 8))))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := stamp.Open(data)
		if err != nil {
			known := []error{stamp.ErrNotPDF, stamp.ErrDamaged, stamp.ErrTooLarge, stamp.ErrEncrypted,
				stamp.ErrDynamicForm}
			if !slices.ContainsFunc(known, func(k error) bool { return errors.Is(err, k) }) {
				t.Fatal(err)
			}
			return
		}
		info := d.Info()
		out, _, err := d.Apply(plan, stamp.Content{Seal: seal.Bytes()})
		var bad *stamp.PlanError
		if err != nil {
			if !errors.As(err, &bad) && !errors.Is(err, stamp.ErrSigned) && !errors.Is(err, stamp.ErrTooLarge) {
				t.Fatal(err)
			}
			return
		}
		again, err := stamp.Open(out)
		if err != nil || !slices.Equal(again.Info().Pages, info.Pages) || !bytes.HasPrefix(out, data) {
			t.Fatalf("%v: %+v, was %+v", err, again.Info(), info)
		}
	})
}

// FuzzFind: whatever the content of a page is, the places that are found are numbers.
func FuzzFind(f *testing.F) {
	f.Add("BT /F 12 Tf 1 0 0 1 50 700 Tm [(Se) -20 (al)] TJ T* (seal) ' ET")
	f.Add("q 0 1 -1 0 100 100 cm BT /F 9 Tf 2 Tr 5 Tc 3 Tw 50 Tz 10 TL <5365616c> Tj (a) 1 2 (Seal) \" ET Q BI /W 1 " +
		"ID x EI Q")
	f.Fuzz(func(t *testing.T, content string) {
		d, err := stamp.Open(pagesOf(content, ""))
		if err != nil {
			return // the content ends the file
		}
		places, _, err := d.Find("seal")
		if err != nil && !errors.Is(err, stamp.ErrTooLarge) {
			t.Fatal(err)
		}
		for _, p := range places {
			if v := p.X + p.Y + p.Width + p.Height; p.Page != 1 || math.IsNaN(v) || math.IsInf(v, 0) {
				t.Fatalf("%+v", p)
			}
		}
	})
}

// FuzzPlan: what is read as a plan is written as one that is read the same.
func FuzzPlan(f *testing.F) {
	f.Add([]byte(
		`{"marks":[{"kind":"seal","pages":"last","anchor":{"keyword":"盖章","nth":-1,"x":3}},{"kind":"straddle","pages":"1,3-last","group":5,"oddOnly":true,"height":100}]}`))
	f.Add([]byte(`{"marks":[{"kind":"qr","pages":"all","anchor":{"at":{"x":1e5,"y":-1}},"size":30}]}`))
	d := open(f, pagesOf("", "", ""))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := stamp.ParsePlan(data)
		var bad *stamp.PlanError
		if err != nil {
			if !errors.As(err, &bad) || bad.Problem == "" || bad.Detail == "" {
				t.Fatal(err)
			}
			return
		}
		again, err := json.Marshal(p)
		fatalIfErr(t, err)
		if q, err := stamp.ParsePlan(again); err != nil || !reflect.DeepEqual(p, q) {
			t.Fatalf("%s: %v", again, err)
		}
		if _, err := d.Place(p, link); err != nil && !errors.As(err, &bad) {
			t.Fatal(err)
		}
	})
}

// Pages that share a large list are stamped, or not, within what a file may have: each gets one of its own.
func TestSharedList(t *testing.T) {
	var names, kids strings.Builder
	for i := range 50_000 {
		fmt.Fprintf(&names, "/N%d 4 0 R", i)
	}
	objects := []string{"<</Type/Catalog/Pages 2 0 R>>", "", "<</XObject<<" + names.String() + ">>>>"}
	for range 1000 {
		objects = append(objects, "<</Type/Page/Parent 2 0 R>>")
		fmt.Fprintf(&kids, "%d 0 R ", len(objects))
	}
	objects[1] = "<</Type/Pages/Resources 3 0 R/MediaBox[0 0 595 842]/Kids[" + kids.String() + "]>>"
	plan := stamp.Plan{Marks: []stamp.Mark{{Kind: stamp.Straddle, Pages: "all"}}}
	out, _, err := stamp.Stamp(file(objects...), plan, content(t))
	if !errors.Is(err, stamp.ErrTooLarge) {
		t.Errorf("%d bytes, %v", len(out), err)
	}
}
