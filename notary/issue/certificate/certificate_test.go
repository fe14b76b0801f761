package certificate_test

import (
	"bytes"
	"errors"
	"fmt"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"
	"github.com/pdfcpu/pdfcpu/pkg/api"
	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu/model"

	"stele/crypto/sm"
	"stele/notary/issue/certificate"
	"stele/notary/proof"
	"stele/notary/proof/carrier"
	"stele/notary/register/class"
)

// poppler runs one of the programs of poppler-utils on a PDF and returns what it prints.
func poppler(t testing.TB, pdf []byte, program string, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Fatalf("this test needs the %s command: install the package poppler-utils", program)
	}
	name := filepath.Join(t.TempDir(), "certificate.pdf")
	fatalIfErr(t, os.WriteFile(name, pdf, 0o600))
	var stderr bytes.Buffer
	args = append(args[:len(args):len(args)], name)
	if program == "pdftotext" {
		args = append(args, "-")
	}
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 { // a complaint is a fault of ours
		t.Fatalf("%s: %v: %s", program, err, stderr.Bytes())
	}
	return out
}

// text is what a person can copy out of the pages, without white space.
func text(t testing.TB, pdf []byte) string {
	return strings.Join(strings.Fields(string(poppler(t, pdf, "pdftotext"))), "")
}

func TestSameInputSameBytes(t *testing.T) {
	for name, v := range variants(t) {
		in := v.input(t)
		first, err := certificate.Render(in)
		fatalIfErr(t, err)
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				again, err := certificate.Render(in)
				if err != nil || !bytes.Equal(first, again) {
					t.Errorf("%s: two certificates of one record differ (%v)", name, err)
				}
			})
		}
		wg.Wait()
	}
}

// The bundle comes out as it went in: with our extractor, and with somebody else's library.
func TestAttachment(t *testing.T) {
	model.ConfigPath = "disable"
	for name, v := range variants(t) {
		in := v.input(t)
		pdf, err := certificate.Render(in)
		fatalIfErr(t, err)
		file, bundle, err := carrier.Extract(pdf)
		if err != nil || file != in.Record.Number+".bundle.json" || !bytes.Equal(bundle, in.Bundle) {
			t.Errorf("%s: %q %v", name, file, err)
		}
		conf := model.NewDefaultConfiguration()
		fatalIfErr(t, api.Validate(bytes.NewReader(pdf), conf))
		all, err := api.ExtractAttachmentsRaw(bytes.NewReader(pdf), "", nil, conf)
		if err != nil || len(all) != 1 || all[0].FileName != file {
			t.Fatalf("%s: %+v %v", name, all, err)
		}
		var got bytes.Buffer
		if _, err := got.ReadFrom(all[0]); err != nil || !bytes.Equal(got.Bytes(), in.Bundle) {
			t.Errorf("%s: the other library found %d bytes, %v", name, got.Len(), err)
		}
		digest := in.Record.SM3
		if r := proof.Verify(nil, &digest, bundle); r.Verdict == proof.Invalid {
			t.Errorf("%s: %s", name, r.Summary)
		}
	}
}

// What is printed leads back to the record: the QR is read from the page as it is printed.
func TestQRCode(t *testing.T) {
	for _, name := range []string{"ordinary", "bare", "long"} { // URLs of three lengths
		in := variants(t)[name].input(t)
		pdf, err := certificate.Render(in)
		fatalIfErr(t, err)
		page, err := png.Decode(bytes.NewReader(poppler(t, pdf, "pdftoppm", "-r", "150", "-png", "-f", "1", "-l", "1",
			"-singlefile")))
		fatalIfErr(t, err)
		bitmap, err := gozxing.NewBinaryBitmapFromImage(page)
		fatalIfErr(t, err)
		found, err := qrcode.NewQRCodeReader().Decode(bitmap,
			map[gozxing.DecodeHintType]any{gozxing.DecodeHintType_TRY_HARDER: true})
		want := in.PublicURL + "/r/" + in.Record.Number
		if in.Record.Code != "" {
			want += "?code=" + in.Record.Code
		}
		if err != nil || found.GetText() != want {
			t.Errorf("%s: %v %v, want %s", name, found, err, want)
		}
	}
}

var word = regexp.MustCompile(`<word xMin="([\d.-]+)" yMin="([\d.-]+)" xMax="([\d.-]+)" yMax="([\d.-]+)">(.*)</word>`)

// Whatever names and reasons somebody chose, all text stays inside the frame, above the
// foot, on two pages.
func TestEverythingStaysOnThePage(t *testing.T) {
	for name, v := range variants(t) {
		out := poppler(t, v.render(t), "pdftotext", "-bbox")
		if n := bytes.Count(out, []byte("<page ")); n != 2 {
			t.Errorf("%s has %d pages", name, n)
		}
		words := word.FindAllSubmatch(out, -1)
		if len(words) < 100 {
			t.Errorf("%s: %d words", name, len(words))
		}
		for _, w := range words {
			var box [4]float64
			for i := range box {
				box[i], _ = strconv.ParseFloat(string(w[i+1]), 64)
			}
			if box[0] < 60 || box[2] > 536 || box[1] < 40 || box[3] > 811 {
				t.Errorf("%s: %q at %v", name, w[5], box)
			}
		}
	}
}

func TestWhatItSays(t *testing.T) {
	all := variants(t)
	for name, says := range map[string][]string{
		"ordinary": {"存证证书", "CertificateofRegistration", "420100-2026-00000018-9", "7KQ2M9XD", "江城市政务服务局",
			"91350100M000100Y43", "不动产登记申请书（江城市中心区解放大道128号）",
			"不动产登记申请书-2026-0117.pdf", "1,482,133字节bytes，application/pdf", "一般文书general", "2026年11月22日14:28:42（北京时间）",
			"2026-11-2206:28:42.123UTC", "2026-11-2206:28:42.623UTC",
			"log.stele.example，第1,233号条目（日志共1,234条）", "egov-stele，区块block1",
			"4个节点，表决权votes40/40：city-0、city-1、city-2、city-3", "未见撤销或替换noneshown", "自证self-proving",
			"登记之后的完整性", "登记之前的来源", "提交方式：上传文件fileuploaded", "来源系统：不动产登记受理系统", "经办人：经办人0017",
			"本证书不证明文书所载内容属实。", "Thiscertificatedoesnotsaythatwhatthedocumentstatesistrue.",
			"stele-verify--trusttrust.json", "distid:1234567812345678", "第2页，共2页"},
		"revoked": {"本证书已被登记机关撤销", "Revokedbytheagency", "登记信息有误，依法撤销。", "2026年11月22日15:28:42（北京时间）", "已撤销Revoked",
			"演示印章", "bindsnobody"},
		"superseded": {"本证书已被新的登记替换", "420100-2026-00000019-7", "real-estate", "所替换的证书", "更正面积"},
		"rare":       {"□龘县人民政府", "龘、□女士", "经办人：㐂䶮。", "U+20BB7,U+2A6A5,U+1F642"},
		"long":       {"64个节点", "另有3项在所附证明包中", "撤销理由"},
		"many":       {"fieldAb值值值值值", "另有34项在所附证明包中"},
	} {
		t.Run(name, func(t *testing.T) {
			got := text(t, all[name].render(t))
			for _, s := range says {
				if !strings.Contains(got, s) {
					t.Errorf("%s does not say %q:\n%s", name, s, got)
				}
			}
			if name != "rare" && name != "long" && strings.Contains(got, "□代表") {
				t.Errorf("%s: the fonts lack a character of ours", name)
			}
		})
	}
	in := all["ordinary"].input(t)
	got := text(t, all["ordinary"].render(t))
	for _, hex := range []string{in.Record.SM3.String(), sm.Sum(in.Bundle).String()} {
		for at := 0; at < len(hex); at += 8 {
			if !strings.Contains(got, hex[at:at+8]) {
				t.Errorf("%s is not printed", hex)
			}
		}
	}
	if s := text(t, all["seal"].render(t)); strings.Contains(s, "演示") || strings.Contains(s, "已撤销") ||
		strings.Contains(s, "机关撤销") {
		t.Error("a valid certificate with a licensed seal is marked")
	}
	if s := text(t, all["bare"].render(t)); strings.Contains(s, "校验码") || strings.Contains(s, "文书标题") ||
		!strings.Contains(s, "没有记载来源事项") {
		t.Error("a bare certificate shows what it does not have")
	}
}

// What a certificate claims is the most that it may claim, word by word and in both languages:
// integrity after the registration, which is proved, apart from origin before it, which the
// agency states. Whoever changes a word here answers for it in court.
func TestClaims(t *testing.T) {
	all := variants(t)
	for _, name := range []string{"ordinary", "revoked", "bare", "long"} { // on the first page, and overleaf
		got := text(t, all[name].render(t))
		for _, claim := range []string{
			"登记之后的完整性", "Integrity after registration", "由所附证明包证明", "Proved by the attached bundle",
			"凡数字摘要与上列一致的文件，即为当时登记的那一份，一个字节也没有改动。机关的签名、日志的收录和各联署节点的签名，任何人都可凭本文件所附证明包独立核对。",
			"A file with the digest above is, byte for byte, the one registered at that time. Anybody can check the " +
				"agency's signature, the log and the cosignatures with the attached bundle.",
			"登记之前的来源", "Origin before registration", "由登记机关陈述", "Stated by the agency",
			"Stated by the agency when it registered the document and signed by it. The evidence shows that it said " +
				"so, not that it is so.",
			"本证书不证明文书所载内容属实。", "This certificate does not say that what the document states is true.",
		} {
			if !strings.Contains(got, strings.Join(strings.Fields(claim), "")) {
				t.Errorf("%s does not say %q:\n%s", name, claim, got)
			}
		}
		for _, never := range []string{"真实有效", "内容真实", "文书真实", "isauthentic", "istrue.This"} {
			if strings.Contains(got, never) {
				t.Errorf("%s says %q", name, never)
			}
		}
	}
	if got := text(t, all["ordinary"].render(t)); !strings.Contains(got,
		"审批人：王建国；经办人：经办人0017；提交方式：上传文件fileuploaded；来源系统：不动产登记受理系统。") {
		t.Errorf("the origin's own facts are not where they belong:\n%s", got)
	}
}

// Characters outside the basic plane that the font does have are drawn, and copied whole.
func TestRareCharactersAreCopiedWhole(t *testing.T) {
	v := variant{fields: map[string]string{"title": "𠂇𤧛𪨶"}}
	got := text(t, v.render(t))
	if strings.Contains(got, "□") || !strings.Contains(got, "𠂇𤧛𪨶") {
		t.Error(got)
	}
}

func TestRefuses(t *testing.T) {
	for what, change := range map[string]func(in *certificate.Input){
		"no report":    func(in *certificate.Input) { in.Report = nil },
		"no bundle":    func(in *certificate.Input) { in.Bundle = nil },
		"altered":      func(in *certificate.Input) { in.Report.Verdict = proof.Altered },
		"invalid":      func(in *certificate.Input) { in.Report.Verdict = proof.Invalid },
		"no file":      func(in *certificate.Input) { in.Report.Verdict = proof.Unverifiable },
		"other number": func(in *certificate.Input) { in.Record.Number = "420100-2026-00000019-7" },
		"other digest": func(in *certificate.Input) { in.Record.SM3[0] ^= 1 },
		"no URL":       func(in *certificate.Input) { in.PublicURL = "" },
		"script URL":   func(in *certificate.Input) { in.PublicURL = "javascript:alert(1)" },
		"query":        func(in *certificate.Input) { in.PublicURL += "/?a=b" },
		"long URL":     func(in *certificate.Input) { in.PublicURL = "https://" + strings.Repeat("a", 200) },
		"no seal":      func(in *certificate.Input) { in.Seal = []byte("no PNG") },
		"huge seal":    func(in *certificate.Input) { in.Seal = sealPNG(t, 1300) },
		"cut seal":     func(in *certificate.Input) { in.Seal = sealPNG(t, 100)[:200] },
		"large bundle": func(in *certificate.Input) { in.Bundle = make([]byte, carrier.MaxBundle+1) },
	} {
		t.Run(what, func(t *testing.T) {
			in := variant{}.input(t)
			change(&in)
			if pdf, err := certificate.Render(in); err == nil || pdf != nil {
				t.Errorf("%s: a certificate was made", what)
			}
		})
	}
	in := variant{}.input(t)
	in.Report.AnchoredAt, in.Report.Anchors, in.Report.Verdict = "", nil, proof.Pending
	if _, err := certificate.Render(in); !errors.Is(err, certificate.ErrNotAnchored) {
		t.Errorf("pending: %v", err)
	}
}

// qpdf is strict about structure. It is asked where it is installed; TestAttachment has
// another validator that always is.
func TestStructure(t *testing.T) {
	qpdf, err := exec.LookPath("qpdf")
	if err != nil {
		t.Log("qpdf is not installed; the other validator has to do")
		return
	}
	for name, v := range variants(t) {
		file := filepath.Join(t.TempDir(), "certificate.pdf")
		fatalIfErr(t, os.WriteFile(file, v.render(t), 0o600))
		if out, err := exec.CommandContext(t.Context(), qpdf, "--check", file).CombinedOutput(); err != nil ||
			bytes.Contains(out, []byte("WARNING")) {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

func BenchmarkRender(b *testing.B) {
	for _, name := range []string{"ordinary", "demo-seal", "long"} {
		in := variants(b)[name].input(b)
		pdf, err := certificate.Render(in) // parses the fonts
		fatalIfErr(b, err)
		b.Run(fmt.Sprintf("%s/%dKB", name, len(pdf)>>10), func(b *testing.B) {
			for b.Loop() {
				if _, err := certificate.Render(in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A class says what is printed, under which names and in which order; the rest is counted.
func TestClass(t *testing.T) {
	in := variant{class: "e-invoice", fields: map[string]string{"title": "一张发票", "amount": "1280.00",
		"sellerName": "江城书店", "buyerName": "张三", "originClerk": "王经办", "originApprover": "李审批"}}.input(t)
	in.Class = &certificate.Class{Name: class.Name{Chinese: "电子发票", English: "Electronic invoice"},
		Print: []certificate.Printed{{Attribute: "sellerName", Title: class.Name{Chinese: "销售方名称", English: "Seller"}},
			{Attribute: "amount", Title: class.Name{Chinese: "价税合计", English: "Total"}}, {Attribute: "absent"}}}
	pdf, err := certificate.Render(in)
	fatalIfErr(t, err)
	got := text(t, pdf)
	for _, want := range []string{"电子发票", "销售方名称", "江城书店", "价税合计", "1280.00", "另有1项", "经办人", "王经办", "审批人", "李审批"} {
		if !strings.Contains(got, want) {
			t.Errorf("the certificate does not say %s", want)
		}
	}
	if strings.Contains(got, "张三") || strings.Contains(got, "sellerName") ||
		strings.Index(got, "江城书店") > strings.Index(got, "1280.00") {
		t.Error("the certificate prints what the class does not want, or in another order")
	}
}
