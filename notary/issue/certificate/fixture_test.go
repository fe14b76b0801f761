package certificate_test

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"math"
	"slices"
	"strings"
	"testing"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/issue/certificate"
	"stele/notary/proof"
	"stele/notary/proof/prooftest"
	"stele/notary/proof/statement"
)

func fatalIfErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// variant describes a record and what became of it. The zero value is an ordinary one.
type variant struct {
	agency     string
	fields     map[string]string // nil for ordinary ones
	reason     string            // revoked
	superseded bool
	supersedes string
	class      string
	url        string
	noCode     bool
	seal       []byte
	demo       bool
	validators int
}

const publicURL = "https://stele.jiangcheng.example.gov.cn"

// input makes the record, its bundle and report, with fixed keys.
func (v variant) input(t testing.TB) certificate.Input {
	t.Helper()
	if v.fields == nil {
		v.fields = map[string]string{"title": "不动产登记申请书（江城市中心区解放大道 128 号）", "fileName": "不动产登记申请书-2026-0117.pdf",
			"originMethod": "upload",
			"originSystem": "不动产登记受理系统", "handedInBy": "经办人 0017", "approvedBy": "王建国"}
	}
	w := prooftest.New(prooftest.Options{Validators: max(v.validators, 4), Entries: 1233, Neighbours: 2})
	if v.agency != "" {
		w.Agency = w.NewAgency(w.Agency.Code, v.agency)
	}
	document := []byte("%PDF-1.7 the document of the certificate's tests")
	s, _ := w.Draft(document)
	s.Document.Size, s.Supersedes, s.Fields = 1_482_133, v.supersedes, nil
	if v.class != "" {
		s.Class = v.class
	}
	var shown []proof.Disclosed
	for name, value := range v.fields {
		salt := sm.Sum([]byte(name))
		shown = append(shown, proof.Disclosed{Name: name, Salt: salt[:statement.SaltSize], Value: value})
	}
	slices.SortFunc(shown, func(a, b proof.Disclosed) int { return strings.Compare(a.Name, b.Name) })
	for _, d := range shown {
		s.Fields = append(s.Fields, statement.Field{Name: d.Name, Commitment: statement.Commitment(d.Salt, d.Name,
			d.Value)})
	}
	r := w.Enter(s, shown)
	c := w.Checkpoint()
	b := w.Bundle(r, c, w.Anchor(c))
	rec := notary.Record{Number: s.Number, Code: "7KQ2M9XD", SM3: s.Document.SM3, IssuedAt: s.IssuedAt}
	switch {
	case v.noCode:
		rec.Code = ""
	case v.reason != "":
		w.AddStanding(b, w.Revoke(r, v.reason))
	case v.superseded:
		w.AddStanding(b, w.Supersede(r, []byte("the document that came after"), "更正面积"))
	}
	in := certificate.Input{Record: rec, Bundle: b.Encode(), PublicURL: publicURL, Seal: v.seal, Demonstration: v.demo}
	if v.url != "" {
		in.PublicURL = v.url
	}
	digest := s.Document.SM3
	in.Report = proof.Verify(w.Trust(), &digest, in.Bundle)
	return in
}

func (v variant) render(t testing.TB) []byte {
	t.Helper()
	pdf, err := certificate.Render(v.input(t))
	fatalIfErr(t, err)
	return pdf
}

var ordinarySeal []byte // drawing it takes longer than a certificate

// theSeal is a seal of the size that an agency would hand in.
func theSeal(t testing.TB) []byte {
	if ordinarySeal == nil {
		ordinarySeal = sealPNG(t, 600)
	}
	return ordinarySeal
}

// sealPNG draws a round seal with a star.
func sealPNG(t testing.TB, n int) []byte {
	t.Helper()
	im := image.NewNRGBA(image.Rect(0, 0, n, n))
	c := float64(n) / 2
	for y := range n {
		for x := range n {
			dx, dy := float64(x)-c, float64(y)-c
			d, angle := math.Hypot(dx, dy)/c, math.Atan2(dx, -dy)
			star := math.Cos(math.Acos(math.Sin(2.5*angle+math.Pi/2))/5) * 0.12 / math.Cos(
				math.Mod(math.Abs(angle), 2*math.Pi/5)-math.Pi/5)
			if d < 0.98 && d > 0.91 || d < math.Abs(star)+0.14 {
				im.Set(x, y, color.NRGBA{200, 30, 20, 150})
			}
		}
	}
	var b bytes.Buffer
	fatalIfErr(t, png.Encode(&b, im))
	return b.Bytes()
}

// variants are looked at by a person, and kept in order by tests.
func variants(t testing.TB) map[string]variant {
	long := strings.Repeat("关于印发江城市不动产登记历史遗留问题处理工作实施方案的通知", 4)
	return map[string]variant{
		"ordinary":   {},
		"seal":       {seal: theSeal(t)},
		"demo-seal":  {seal: theSeal(t), demo: true},
		"revoked":    {reason: "登记信息有误，依法撤销。", seal: theSeal(t), demo: true},
		"superseded": {superseded: true, supersedes: "420100-2026-00000019-7", class: "real-estate"},
		"bare":       {fields: map[string]string{}, noCode: true},
		"rare": {agency: "𠮷龘县人民政府", fields: map[string]string{"title": "𠮷田太郎与欧阳龘、𪚥女士的户籍证明 🙂", "fileName": "𠮷.pdf",
			"handedInBy": "㐂䶮"}},
		"long": {agency: strings.Repeat("江城市中心区城乡建设与自然资源规划局", 3), seal: theSeal(t), demo: true,
			reason:     strings.Repeat("经复核，登记事项与事实不符，依照有关规定予以撤销。", 13),
			supersedes: "420100-2026-00000019-7", validators: 64, url: "https://" + strings.Repeat("stele", 10) +
				".example.gov.cn/" + strings.Repeat("a", 120),
			class: strings.Repeat("class-", 10), fields: map[string]string{"title": long[:300],
				"fileName": strings.Repeat("W", 251) + ".pdf", "originSystem": strings.Repeat("系统", 2000)[:4095],
				"handedInBy": strings.Repeat("x", 4096), "note": "line one\nline two\r\n\t\x1b[31mred\u202etxt\u0085",
				"amount": "￥1,000.00", strings.Repeat("n", 64): "long name"}},
		"many": {fields: func() map[string]string {
			m := map[string]string{"title": "附加事项很多的文书", "fileName": "a.pdf"}
			for i := range 40 {
				m["field"+string(rune('A'+i/26))+string(rune('a'+i%26))] = strings.Repeat("值", i*5)
			}
			return m
		}()},
	}
}
