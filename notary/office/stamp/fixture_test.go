package stamp_test

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/pdfcpu/pdfcpu/pkg/api"
	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu/model"
	"github.com/signintech/gopdf"

	"stele/notary/issue/certificate"
	"stele/notary/office/stamp"
	"stele/notary/office/stamp/stamptest"
)

func init() { model.ConfigPath = "disable" }

func fatalIfErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// withoutRaceDetector is for tests in which one goroutine reads files to their limits: the race
// detector finds nothing there and takes ten times as long. `make pages` runs them without it.
func withoutRaceDetector(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: reads files to their limits")
	}
	if raceDetector {
		t.Skip("make pages runs this without the race detector")
	}
}

var file, stream = stamptest.File, stamptest.Stream

// pagesOf is a document of pages with these attributes, and a content that they share; its
// font F is Helvetica.
func pagesOf(content string, attributes ...string) []byte {
	return stamptest.Pages(stream("", content), attributes...)
}

var chineseTTF = sync.OnceValues(func() ([]byte, error) {
	return os.ReadFile(filepath.Join("..", "..", "issue", "certificate", "fonts", "NotoSansSC-Bold-Subset.ttf"))
})

// letter is an official document in Chinese of some pages, as a text program writes it.
func letter(t testing.TB, pages int) []byte {
	t.Helper()
	font, err := chineseTTF()
	fatalIfErr(t, err)
	var p gopdf.GoPdf
	p.Start(gopdf.Config{PageSize: *gopdf.PageSizeA4})
	fatalIfErr(t, p.AddTTFFontData("noto", font))
	say := func(x, y, size float64, s string) {
		fatalIfErr(t, p.SetFont("noto", "", size))
		p.SetXY(x, y)
		fatalIfErr(t, p.Text(s))
	}
	for n := range pages {
		p.AddPage()
		say(180, 90, 22, "存 证 通 知 书")
		for i := range 18 {
			say(72, 150+float64(i)*28, 12, fmt.Sprintf("%d.%d 本证书不证明文书所载内容属实，登记机关已登记下列文书的数字摘要。", n+1, i+1))
		}
		say(360, 700, 14, "登记机关（公章）")
		say(370, 730, 14, "2026年11月22日")
	}
	return p.GetBytesPdf()
}

// packed is a file as programs write it today: objects and table in streams.
func packed(t testing.TB, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	fatalIfErr(t, api.Optimize(bytes.NewReader(data), &out, nil))
	return out.Bytes()
}

var demonstration = sync.OnceValues(func() ([]byte, error) { return certificate.DemonstrationSeal("江城市政务服务局") })

const (
	number = "420100-2026-00000000-7"
	link   = "https://stele.example.gov.cn/r/420100-2026-00000000-7?code=ABCD1234"
)

func content(t testing.TB) stamp.Content {
	t.Helper()
	seal, err := demonstration()
	fatalIfErr(t, err)
	return stamp.Content{Seal: seal, Demonstration: true, URL: link, Number: number}
}

func open(t testing.TB, data []byte) *stamp.Document {
	t.Helper()
	d, err := stamp.Open(data)
	fatalIfErr(t, err)
	return d
}

func apply(t testing.TB, data []byte, plan string, c stamp.Content) ([]byte, []stamp.Placed) {
	t.Helper()
	p, err := stamp.ParsePlan([]byte(plan))
	fatalIfErr(t, err)
	out, placed, err := open(t, data).Apply(p, c)
	fatalIfErr(t, err)
	return out, placed
}

// poppler runs one of the programs of poppler-utils on a PDF and returns what it prints. A
// complaint of it is a fault of ours.
func poppler(t testing.TB, data []byte, program string, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Fatalf("this test needs the %s command: install the package poppler-utils", program)
	}
	name := filepath.Join(t.TempDir(), "stamped.pdf")
	fatalIfErr(t, os.WriteFile(name, data, 0o600))
	args = append(args[:len(args):len(args)], name)
	if program == "pdftotext" {
		args = append(args, "-")
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("%s: %v: %s", program, err, stderr.Bytes())
	}
	return out
}

const dpi = 120

// picture renders a page as it is shown, and keeps it where STELE_TEST_PICTURES says.
func picture(t testing.TB, name string, data []byte, page, resolution int) image.Image {
	t.Helper()
	n := fmt.Sprint(page)
	out := poppler(t, data, "pdftoppm", "-r", fmt.Sprint(resolution), "-cropbox", "-png", "-f", n, "-l", n,
		"-singlefile")
	if dir := os.Getenv("STELE_TEST_PICTURES"); dir != "" {
		fatalIfErr(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("stamp-%s-%d.png", name, page)), out, 0o600))
	}
	img, err := png.Decode(bytes.NewReader(out))
	fatalIfErr(t, err)
	return img
}
