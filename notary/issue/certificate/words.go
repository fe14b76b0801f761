package certificate

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"stele/notary/proof"
)

// words are one thing said in Chinese and in English.
type words struct{ zh, en string }

// Attributes that have a name of their own on the certificate. Those of the origin are what
// the agency states about the time before the registration.
var attributeNames = map[string]words{
	"title":          {"文书标题", "Title"},
	"fileName":       {"文件名", "File name"},
	"originSystem":   {"来源系统", "System"},
	"originMethod":   {"提交方式", "Method"},
	"originClerk":    {"经办人", "Submitted by"},
	"originApprover": {"审批人", "Approved by"},
	"originUnmarked": {"盖章前摘要", "Digest before the stamp"},
	"handedInBy":     {"经办人", "Submitted by"},
	"approvedBy":     {"审批人", "Approved by"},
	"capturedBy":     {"采集方式", "Captured by"},
}

var originMethods = map[string]string{
	"upload": "上传文件 file uploaded",
	"digest": "提交摘要 digest only",
	"batch":  "批量提交摘要 batch of digests",
	"stamp":  "上传并盖章 file uploaded and stamped",
	"bulk":   "表格批量提交 table of documents",
}

// isOrigin reports whether an attribute is a fact of a document's origin.
func isOrigin(name string) bool {
	return strings.HasPrefix(name, "origin") || name == "handedInBy" || name == "approvedBy" || name == "capturedBy"
}

// attribute is an attribute as it is printed.
type attribute struct {
	name  words
	value string
}

// erased stands in place of a value that was erased for ever.
const erased = "已删除，不再保存 erased for ever"

// warnings say what is true of evidence that holds and the holder should know, by the report's
// codes. The others are about files that somebody handed in.
var warnings = map[string]words{
	proof.WarnLateAnchor: {"机关写明的时间早于锚定时间较多，其间只有机关自己为登记作证。",
		"Nobody but the agency vouches for the time before the anchor."},
	proof.WarnOneOrganization: {"为时间作证所需的表决权，一家机构单独就有。",
		"One organization alone has the votes that it takes to vouch for the time."},
	proof.WarnCertificate: {"机关的签名证书后来被吊销；登记在吊销所称时间之前已经锚定。",
		"The agency's certificate was revoked later, since a time after the record's anchor."},
	proof.WarnStandingAlone: {"撤销或替换还没有锚定在链上。", "The revocation or replacement is not anchored yet."},
	proof.WarnStandingLate: {"机关写明的撤销或替换时间早于其锚定时间较多。",
		"Nobody but the agency vouches for the revocation before its anchor."},
}

// facts are what the verified bundle says, in words. Nothing is taken from elsewhere but
// the code, which no bundle holds, and which attributes were erased.
type facts struct {
	title, fileName  string
	origin, others   []attribute
	more             int // attributes that the class does not print
	issued, anchored time.Time
	size, class      string
	standing         words
	standingAt       time.Time // the agency's own date
	standingVouched  time.Time // not later than which it was in the log; zero where nobody vouches
	reason, by       string
}

func newFacts(in Input) facts {
	r := in.Report
	f := facts{issued: instant(r.IssuedAt), anchored: instant(r.AnchoredAt),
		size: thousands(r.Document.Size), class: r.Class, standing: words{"未见撤销或替换", "none shown"}}
	if r.Class == "general" {
		f.class = "一般文书 general"
	}
	if in.Class != nil {
		f.class = strings.TrimSpace(in.Class.Name.Chinese + " " + in.Class.Name.English)
	}
	shown := maps.Clone(r.Fields)
	for _, x := range in.Record.Fields {
		if len(x.Salt) == 0 { // the bundle does not tell what was erased from what is withheld
			if shown == nil {
				shown = map[string]string{}
			}
			shown[x.Name] = erased
		}
	}
	f.title, f.fileName = shown["title"], shown["fileName"]
	for _, name := range slices.Sorted(maps.Keys(shown)) {
		a := attribute{words{name, ""}, shown[name]}
		if w, ok := attributeNames[name]; ok {
			a.name = w
		}
		if name == "originMethod" && originMethods[a.value] != "" {
			a.value = originMethods[a.value]
		}
		switch {
		case name == "title" || name == "fileName":
		case isOrigin(name):
			f.origin = append(f.origin, a)
		case in.Class == nil:
			f.others = append(f.others, a)
		}
	}
	if in.Class != nil {
		f.printed(in, shown)
	}
	if s := r.Standing; s != nil {
		f.reason, f.by, f.standingVouched = s.Reason, s.By, instant(s.AnchoredAt)
		switch proof.Verdict(s.State) {
		case proof.Revoked:
			f.standing, f.standingAt = words{"已撤销", "Revoked"}, instant(s.At)
		case proof.Superseded:
			f.standing, f.standingAt = words{"已被替换", "Superseded"}, instant(s.At)
		}
	}
	return f
}

// printed are the attributes that the class wants printed, in its order and under its names.
func (f *facts) printed(in Input, shown map[string]string) {
	for _, p := range in.Class.Print {
		if value, ok := shown[p.Attribute]; ok {
			name := words{p.Title.Chinese, p.Title.English}
			if name == (words{}) {
				name.zh = p.Attribute
			}
			f.others = append(f.others, attribute{name, value})
		}
	}
	for name := range shown {
		if name != "title" && name != "fileName" && !isOrigin(name) {
			f.more++
		}
	}
	f.more -= len(f.others)
}

var beijing = time.FixedZone("UTC+8", 8*3600)

// instant reads a time of a report; those are always in form.
func instant(s string) time.Time {
	t, _ := time.Parse("2006-01-02T15:04:05.000Z", s)
	return t
}

func chineseTime(t time.Time) string { return t.In(beijing).Format("2006年1月2日 15:04:05") }
func chineseDate(t time.Time) string { return t.In(beijing).Format("2006年1月2日") }
func utcTime(t time.Time) string     { return t.UTC().Format("2006-01-02 15:04:05.000") + " UTC" }

// thousands writes a number with separators.
func thousands(n uint64) string {
	s := fmt.Sprint(n)
	for at := len(s) - 3; at > 0; at -= 3 {
		s = s[:at] + "," + s[at:]
	}
	return s
}

// groups breaks a digest into groups of 8 for reading.
func groups(hex string) []string {
	var out []string
	for ; len(hex) > 8; hex = hex[8:] {
		out = append(out, hex[:8])
	}
	return append(out, hex)
}
