package certificate

import (
	"fmt"
	"strings"

	"stele/crypto/sm"
	"stele/notary/proof"
)

// blocks are the two things that are not to be mixed up, side by side.
type blocks struct {
	height float64
	zh, en [2][]string
}

const (
	blockGap   = 12.0
	blockPad   = 9.0
	blockWidth = (inner - blockGap) / 2
)

var (
	blockChinese = style{regular, 8.5, ink, 0}
	blockEnglish = style{regular, 7.2, inkSoft, 0}
)

func (s *sheet) newBlocks() *blocks {
	cosigned := words{"各联署节点的签名", "the cosignatures"}
	if s.in.Report.OnWordOf() != "" {
		cosigned = words{"网关声明的签名", "the gateway's signature"}
	}
	text := [2]words{
		{"凡数字摘要与上列一致的文件，即为当时登记的那一份，一个字节也没有改动。机关的签名、日志的收录和" + cosigned.zh + "，任何人都可凭本文件所附证明包独立核对。",
			"A file with the digest above is, byte for byte, the one registered at that time. Anybody can check the " +
				"agency's signature, the log and " + cosigned.en + " with the attached bundle."},
		{s.originText(), "Stated by the agency when it registered the document and signed by it. The evidence shows " +
			"that it said so, not that it is so."},
	}
	b := &blocks{}
	for i := range text {
		b.zh[i], b.en[i] = s.wrap(blockChinese, text[i].zh, blockWidth-2*blockPad, 6),
			s.wrap(blockEnglish, text[i].en, blockWidth-2*blockPad, 5)
		b.height = max(b.height, 48+12.5*float64(len(b.zh[i]))+9.5*float64(len(b.en[i])))
	}
	return b
}

func (s *sheet) drawBlocks(b *blocks) {
	s.y += 10
	for i, head := range [2][2]words{
		{{"登记之后的完整性", "Integrity after registration"}, {"由所附证明包证明", "Proved by the attached bundle"}},
		{{"登记之前的来源", "Origin before registration"}, {"由登记机关陈述", "Stated by the agency"}},
	} {
		x := left + float64(i)*(blockWidth+blockGap)
		s.frame(x, s.y, blockWidth, b.height-10, 0.6, line)
		s.text(x+blockPad, s.y+15, style{bold, 9.5, teal, 0}, head[0].zh)
		s.right(x+blockWidth-blockPad, s.y+15, tiny, head[0].en)
		s.text(x+blockPad, s.y+26, tiny, head[1].zh+"  "+head[1].en)
		y := s.lines(x+blockPad, s.y+40, 12.5, blockChinese, b.zh[i])
		s.lines(x+blockPad, y-1, 9.5, blockEnglish, b.en[i])
	}
	s.y += b.height - 10
}

func (s *sheet) originText() string {
	if len(s.facts.origin) == 0 {
		return "登记时没有记载来源事项，或者没有公开。"
	}
	var b strings.Builder
	for i, a := range s.facts.origin {
		if i > 0 {
			b.WriteString("；")
		}
		fmt.Fprintf(&b, "%s：%s", a.name.zh, clean(a.value))
	}
	return b.String() + "。"
}

// second is the evidence in detail and how to check it.
func (s *sheet) second() {
	s.page()
	s.y = 62
	s.text(left, s.y, style{bold, 15, ink, 2}, "存证证据与核验方法")
	s.right(right, s.y, small, "Evidence and how to check it")
	s.chain()
	if s.later != nil {
		s.drawBlocks(s.later)
		s.y += 12
	}
	s.evidence()
	s.y += 14
	s.howTo()
	s.attributes()
	s.lacking()
}

// chain draws how one thing vouches for the next, from the document to the validators.
func (s *sheet) chain() {
	r := s.in.Report
	a := r.Headline()
	last := [3]string{"链上区块", "Block", "height " + thousands(a.Height)}
	if a.Strength != proof.SelfProving { // a gateway's word has no number of a block that its mac binds
		last = [3]string{"上级链", "Parent chain", "attested"}
	}
	stops := [5][3]string{
		{"文书", "Document", r.Document.SM3[:8] + "…"},
		{"机关签名", "Agency's signature", r.Agency.Code},
		{"日志条目", "Log entry", "No. " + thousands(r.Log.Index)},
		{"检查点", "Checkpoint", "size " + thousands(r.Log.Size)},
		last,
	}
	y, step := s.y+30, inner/float64(len(stops))
	x := func(i int) float64 { return left + (float64(i)+0.5)*step }
	s.rule(x(0), y, x(len(stops)-1), y, 0.8, teal)
	for i, stop := range stops {
		s.fill(x(i)-3.5, y-3.5, 7, 7, teal)
		s.centred(x(i), y+17, style{bold, 8.5, ink, 0}, stop[0])
		s.centred(x(i), y+26, tiny, stop[1])
		s.centred(x(i), y+36, tiny, stop[2])
	}
	// The cosigners stand above the block that they signed, one dot each.
	dots := min(len(a.Cosigners), 16)
	for i := range dots {
		s.fill(x(4)+(float64(i)-float64(dots-1)/2)*5.5-1.5, y-13, 3, 3, vermilion)
	}
	s.y = y + 48
}

func (s *sheet) evidence() {
	r := s.in.Report
	s.row(words{"存证日志", "Log"}, fmt.Sprintf("%s，第 %s 号条目（日志共 %s 条）", r.Log.Origin, thousands(r.Log.Index),
		thousands(r.Log.Size)), 2)
	shown := 2 // more chains than this are in the bundle, and said to be
	if s.later != nil {
		shown = 1
	}
	for _, a := range r.Anchors[:min(len(r.Anchors), shown)] {
		s.anchor(a)
	}
	if more := len(r.Anchors) - shown; more > 0 {
		s.row(words{"其他链", "Other chains"}, fmt.Sprintf("另有 %d 条链的证据在所附证明包中。%d more in the attached bundle.", more,
			more), 1)
	}
	standing := s.facts.standing.zh + " " + s.facts.standing.en
	switch r.Standing.State {
	case proof.StandingValid:
		standing += fmt.Sprintf("（截至 %[1]s，以日志的状态声明为准 as of %[1]s, by the log's status）",
			utcTime(instant(r.Standing.AsOf)))
	case proof.StandingUnknown:
		standing += "（证明包看不出是否撤销；现状以核验页为准 a bundle cannot show it, ask the page）"
	}
	s.row(words{"效力状态", "Standing"}, standing, 2)
	s.row(words{"密码算法", "Algorithms"}, "SM2（GB/T 32918，用户标识 "+sm.UserID+"）、SM3（GB/T 32905）", 1)
	s.rows(words{"所附证明包", "Attached bundle"}, append([]string{AttachmentName(s.in.Record.Number) + "，SM3："},
		digestLines(sm.Sum(s.in.Bundle).String())...), style{regular, 9, ink, 0})
	s.rule(left, s.y, right, s.y, 0.4, line)
}

func digestLines(hex string) []string {
	g := groups(hex)
	return []string{strings.Join(g[:4], " "), strings.Join(g[4:], " ")}
}

func (s *sheet) anchor(a proof.AnchorReport) {
	if a.Strength != proof.SelfProving {
		s.row(words{"上级链", "Parent chain"}, fmt.Sprintf("%s（%s），只由网关声明 attested by its gateway alone", a.Gateway,
			a.Chain), 2)
		s.row(words{"交易时间", "Gateway's time"}, chineseTime(instant(a.Time))+"（北京时间）  "+utcTime(instant(a.Time)), 1)
		return
	}
	s.row(words{"电子政务链", "Chain"}, fmt.Sprintf("%s，区块 block %s，第 %d 期节点名单 epoch，自证 self-proving", a.Chain,
		thousands(a.Height), a.Epoch), 2)
	s.row(words{"区块时间", "Block time"}, chineseTime(instant(a.Time))+"（北京时间）  "+utcTime(instant(a.Time)), 1)
	s.row(words{"联署节点", "Cosigners"}, fmt.Sprintf("%d 个节点，表决权 votes %s / %s：%s", len(a.Cosigners), thousands(a.Power),
		thousands(a.TotalPower), strings.Join(a.Cosigners, "、")), 2)
	if len(a.Organizations) > 0 {
		s.row(words{"节点所属机构", "Organizations"}, strings.Join(a.Organizations, "、"), 2)
	}
}

// howTo tells three ways, from the easiest to the one that trusts nobody.
func (s *sheet) howTo() {
	s.text(left, s.y+6, heading, "如何核验")
	s.text(left+56, s.y+6, small, "How to check")
	s.y += 22
	page, _, _ := strings.Cut(s.link, "?")
	for i, step := range []struct {
		what    words
		command []string
	}{
		{words{"打开核验页（或扫描首页二维码），放入手中的文件，文件不会离开您的设备。", "Open the page, or scan the code on the first page, and drop " +
			"your file there: it does not leave your device."}, []string{page}},
		{words{"不联网核验：用 stele-verify，信任根 trust.json 取自您信任的来源。",
			"Without a network: with stele-verify, and trust roots from a source that you trust."},
			[]string{"stele-verify --trust trust.json " + s.in.Record.Number + ".pdf 文件"}},
		{words{"用 OpenSSL 3 自行核对：证据包中已备好各个文件，其余步骤见其中的 README.txt。",
			"By hand with OpenSSL 3: the evidence package holds the files; its README.txt has the other steps."},
			[]string{"openssl dgst -sm3 文件",
				"openssl pkeyutl -verify -certin -inkey signer.pem -rawin -digest sm3 -pkeyopt distid:" + sm.UserID +
					" -in statement.json -sigfile signature.der"}},
	} {
		s.text(left, s.y+2, strong, fmt.Sprint(i+1))
		s.y = s.lines(left+16, s.y+2, 13, style{regular, 9.5, ink, 0}, s.wrap(style{regular, 9.5, ink, 0}, step.what.zh,
			inner-16, 2))
		s.y = s.lines(left+16, s.y-2, 9.5, style{regular, 7.5, inkSoft, 0}, s.wrap(style{regular, 7.5, inkSoft, 0},
			step.what.en, inner-16, 2))
		for j, command := range step.command {
			if i == 0 && j == 0 {
				s.pdf.AddExternalLink(page, left+16, s.y-6, s.width(style{regular, 8, teal, 0}, page), 11)
			}
			s.y = s.lines(left+16, s.y+2, 10.5, style{regular, 8, teal, 0}, s.wrap(style{regular, 8, teal, 0}, command,
				inner-16, 3))
		}
		s.y += 7
	}
}

// attributes are those of the record's class, as far as there is room.
func (s *sheet) attributes() {
	if len(s.facts.others)+s.facts.more == 0 {
		return
	}
	s.text(left, s.y+6, heading, "其他登记事项")
	s.text(left+80, s.y+6, small, "Other attributes, registered with the document")
	s.y += 14
	const floor = bottom - 22 // the note on characters that are lacking stands below
	for i, a := range s.facts.others {
		lines := s.wrap(style{regular, 9, ink, 0}, a.value, inner-labels, 2)
		last := i == len(s.facts.others)-1
		if need := max(26.5, 8+13.5*float64(len(lines))); s.y+need > floor || (!last || s.facts.more > 0) &&
			s.y+need+16 > floor {
			s.moreAttributes(len(s.facts.others) - i + s.facts.more)
			return
		}
		s.rows(a.name, lines, style{regular, 9, ink, 0})
	}
	s.rule(left, s.y, right, s.y, 0.4, line)
	if s.facts.more > 0 {
		s.moreAttributes(s.facts.more)
	}
}

func (s *sheet) moreAttributes(n int) {
	s.text(left, s.y+12, small, fmt.Sprintf("另有 %[1]d 项在所附证明包中。%[1]d more in the attached bundle.", n))
}

// lacking names the characters that the font does not have. The bundle has all of them.
func (s *sheet) lacking() {
	if names := s.lackingNames(); names != "" {
		s.lines(left, bottom-8, 10, tiny, s.wrap(tiny, "□ 代表字库中没有的字符 stands for a character that the font lacks: "+
			names+"。以所附证明包中的文字为准 see the attached bundle.", inner, 2))
	}
}

// footers go on last: only then is the number of pages known.
func (s *sheet) footers() {
	for p := 1; p <= s.pages; p++ {
		if err := s.pdf.SetPage(p); err != nil {
			s.fail(err)
			return
		}
		y := pageHeight - 42
		s.text(left, y, tiny, s.in.Record.Number)
		s.centred(pageWidth/2, y, tiny, "以所附证明包为准  The attached bundle decides")
		s.right(right, y, tiny, fmt.Sprintf("第 %[1]d 页，共 %[2]d 页  Page %[1]d of %[2]d", p, s.pages))
	}
}
