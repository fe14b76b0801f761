package certificate

// The pages' frame, in points. Text stands between left and right, above bottom.
const (
	left   = 62.0
	right  = pageWidth - left
	inner  = right - left
	bottom = pageHeight - 66
	labels = 92.0 // width of the column of names
)

var (
	title    = style{bold, 30, ink, 12}
	subtitle = style{regular, 11.5, inkSoft, 0.6}
	heading  = style{bold, 11, teal, 0}
	strong   = style{bold, 10, ink, 0}
	body     = style{regular, 10, ink, 0}
	small    = style{regular, 8, inkSoft, 0}
	tiny     = style{regular, 7, inkSoft, 0}
	digits   = style{regular, 10, ink, 0.3}
	alarm    = style{bold, 12, vermilion, 0}
)

// sheet is the certificate at work.
type sheet struct {
	*canvas
	in    Input
	facts facts
	link  string
	y     float64 // where the next thing goes
	pages int
	later *blocks // what found no room on the first page
}

func (s *sheet) page() {
	s.pdf.AddPage()
	s.pages++
	s.frame(26, 26, pageWidth-52, pageHeight-52, 1.4, teal)
	s.frame(31, 31, pageWidth-62, pageHeight-62, 0.4, teal)
}

// first says what was registered, by whom and when.
func (s *sheet) first() {
	s.page()
	s.centred(pageWidth/2, 86, title, "存证证书")
	s.centred(pageWidth/2, 108, subtitle, "Certificate of Registration")
	s.rule(pageWidth/2-70, 120, pageWidth/2+70, 120, 0.6, teal)
	s.identity()
	if !s.facts.standingAt.IsZero() {
		s.revoked()
	}
	s.sentence()
	s.document()
	if b := s.newBlocks(); s.y+b.height+s.signatureHeight() <= bottom {
		s.drawBlocks(b)
	} else {
		s.later = b
	}
	s.signature()
	s.text(left, bottom+8, style{regular, 8.5, ink, 0}, "本证书不证明文书所载内容属实。")
	s.right(right, bottom+8, small, "This certificate does not say that what the document states is true.")
}

const qrSize = 88.0

// identity is the number with its code and QR, and the agency.
func (s *sheet) identity() {
	top := 138.0
	x := right - qrSize
	s.qr(x, top, qrSize, s.link)
	s.pdf.AddExternalLink(s.link, x, top, qrSize, qrSize)
	s.centred(x+qrSize/2, top+qrSize+11, tiny, "扫码核验  Scan to verify")

	number := style{bold, 17, ink, 0.4}
	s.text(left, top+8, small, "存证编号  Certificate number")
	s.text(left, top+27, number, s.in.Record.Number)
	y := top + 27
	if s.in.Record.Code != "" {
		at := left + s.width(number, s.in.Record.Number) + 26
		s.text(at, top+8, small, "校验码  Code")
		s.text(at, top+27, number, s.in.Record.Code)
	}
	r := s.in.Report
	s.text(left, y+21, small, "登记机关  Agency")
	y = s.lines(left, y+37, 16, style{regular, 12.5, ink, 0}, s.wrap(style{regular, 12.5, ink, 0}, r.Agency.Name,
		inner-qrSize-24, 2))
	s.text(left, y-1, small, "统一社会信用代码  Credit code  "+r.Agency.Code)
	s.y = max(y+16, top+qrSize+30)
}

// revoked stands before everything else where the record no longer holds.
func (s *sheet) revoked() {
	f := s.facts
	zh, en := "本证书已被登记机关撤销", "Revoked by the agency"
	detail := "撤销理由  Reason: " + f.reason
	if f.by != "" {
		zh, en = "本证书已被新的登记替换", "Superseded by a later registration"
		detail = "替换它的证书  Replaced by: " + f.by
		if f.reason != "" {
			detail += "　替换理由  Reason: " + f.reason
		}
	}
	lines := s.wrap(style{regular, 9, ink, 0}, detail, inner-24, 3)
	dates := []string{"机关写明的时间  Agency's own date: " + chineseTime(f.standingAt) + "（北京时间）  " + utcTime(f.standingAt)}
	if !f.standingVouched.IsZero() {
		dates = append([]string{"最迟写入日志  In the log by: " + chineseTime(f.standingVouched) + "（北京时间）  " +
			utcTime(f.standingVouched)}, dates...)
	}
	h := 30 + 12*float64(len(dates)) + 13*float64(len(lines))
	s.frame(left, s.y, inner, h, 1.2, vermilion)
	s.text(left+12, s.y+18, alarm, zh)
	s.right(right-12, s.y+18, style{bold, 10, vermilion, 0}, en)
	y := s.lines(left+12, s.y+33, 12, small, dates)
	s.lines(left+12, y+2, 13, style{regular, 9, ink, 0}, lines)
	s.y += h + 12
}

// sentence says it once as a sentence.
func (s *sheet) sentence() {
	st := style{regular, 10.5, ink, 0}
	zh, en := "上述机关登记了下列文书的数字摘要，并将登记锚定在电子政务链上。登记内容与时间如下。", "The agency above registered the digest of the document "+
		"below; the registration is anchored on the e-government chain."
	if s.in.Report.OnWordOf() != "" {
		zh, en = "上述机关登记了下列文书的数字摘要；登记已锚定在上级链上，由网关声明。登记内容与时间如下。", "The agency above registered the digest of the "+
			"document below; a gateway states that the registration is anchored on its chain."
	}
	s.text(left, s.y+6, st, zh)
	s.text(left, s.y+20, small, en)
	s.y += 30
}

// row draws a name and its value with a hair line above, and moves on.
func (s *sheet) row(name words, value string, maxLines int) {
	s.rows(name, s.wrap(body, value, inner-labels, maxLines), body)
}

func (s *sheet) rows(name words, lines []string, st style) {
	s.rule(left, s.y, right, s.y, 0.4, line)
	if name.en == "" { // an attribute that only the agency has a name for
		s.lines(left, s.y+14, 10, style{regular, 8.5, ink, 0}, s.wrap(style{regular, 8.5, ink, 0}, name.zh, labels-8,
			2))
	} else {
		s.text(left, s.y+13, style{bold, 9, ink, 0}, name.zh)
		s.text(left, s.y+22, tiny, name.en)
	}
	end := s.lines(left+labels, s.y+15, 13.5, st, lines)
	s.y = max(end-7, s.y+26.5)
}

// document are the facts about the document.
func (s *sheet) document() {
	f, r := s.facts, s.in.Report
	s.y += 2
	if f.title != "" {
		s.row(words{"文书标题", "Title"}, f.title, 3)
	}
	if f.fileName != "" {
		s.row(words{"文件名", "File name"}, f.fileName, 2)
	}
	s.rule(left, s.y, right, s.y, 0.4, line)
	s.text(left, s.y+13, style{bold, 9, ink, 0}, "数字摘要")
	s.text(left, s.y+22, tiny, "SM3 digest")
	for i, g := range groups(r.Document.SM3) {
		s.text(left+labels+float64(i%4)*78, s.y+15+float64(i/4)*14, digits, g)
	}
	s.y += 36
	s.row(words{"大小与类型", "Size and type"}, f.size+" 字节 bytes，"+r.Document.MediaType+"（机关写明 as the agency states）", 2)
	s.row(words{"文书类别", "Class"}, f.class, 1)
	if r.Supersedes != "" {
		s.row(words{"所替换的证书", "Supersedes"}, r.Supersedes, 1)
	}
	anchored := words{"最迟写入日志", "In the log by"}
	if r.OnWordOf() != "" {
		anchored = words{"最迟（网关声明）", "Says the gateway"}
	}
	s.times(anchored, r.AnchoredAt)
	s.times(words{"机关写明的时间", "Agency's own date"}, r.IssuedAt)
	for _, w := range r.Warnings {
		if text, ok := warnings[w.Code]; ok {
			s.row(words{"请注意", "Please note"}, text.zh+" "+text.en, 2)
		}
	}
	s.rule(left, s.y, right, s.y, 0.4, line)
}

func (s *sheet) times(name words, at string) {
	y, t := s.y, instant(at)
	s.rows(name, []string{chineseTime(t) + "（北京时间）"}, body)
	s.right(right, y+15, small, utcTime(t))
}

const sealSize = 113.0 // 40 mm, as agencies' seals are

// signatureHeight is the room that name, day and seal need at the foot of the first page.
func (s *sheet) signatureHeight() float64 {
	if len(s.in.Seal) > 0 {
		return sealSize + 6
	}
	return 56
}

// signature is the agency's name and the day, with its seal underneath.
func (s *sheet) signature() {
	st := style{regular, 11, ink, 0}
	name := s.wrap(st, s.in.Report.Agency.Name, 250, 2)
	centre := right - max(s.width(st, name[0]), sealSize)/2
	y := bottom - s.signatureHeight()/2 - 2
	if len(s.in.Seal) > 0 {
		s.picture(centre-sealSize/2, bottom-sealSize, sealSize, s.in.Seal)
		if s.in.Demonstration {
			x := centre - max(s.width(st, name[0]), sealSize)/2 - 12
			s.right(x, y, style{bold, 10, vermilion, 0}, "演示印章")
			s.right(x, y+11, tiny, "Demonstration seal: binds nobody")
			// Across the seal as well: beside it, it could be cut off.
			s.fill(centre-34, bottom-27, 68, 13, colour{255, 255, 255})
			s.frame(centre-34, bottom-27, 68, 13, 0.6, vermilion)
			s.centred(centre, bottom-17.2, style{bold, 8, vermilion, 0}, "演示印章 DEMO")
		}
	}
	for _, l := range name {
		s.centred(centre, y, st, l)
		y += 15
	}
	s.centred(centre, y+1, style{regular, 10, ink, 0}, chineseDate(s.facts.issued))
}
