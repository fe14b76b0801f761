package evidence

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	texttemplate "text/template"
	"time"

	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/exhibit"
)

var (
	//go:embed text/algorithms.txt
	algorithms []byte
	//go:embed text/readme.tmpl
	readmeText string
	//go:embed text/report.tmpl
	reportText string

	readmeTemplate = texttemplate.Must(texttemplate.New("readme").Parse(readmeText))
	reportTemplate = template.Must(template.New("report").Funcs(template.FuncMap{"step": stepName, "status": statusName,
		"time": bothTimes}).Parse(reportText))
)

// readme tells an expert how to check, with the numbers and names of this very record.
// Nothing that somebody chose freely gets into a command: names are our own.
func readme(parts *exhibit.Exhibit, original string, in Input) ([]byte, error) {
	var b bytes.Buffer
	r := in.Report
	err := readmeTemplate.Execute(&b, map[string]any{
		"Number": r.Number, "Agency": r.Agency.Name, "Code": r.Agency.Code, "Issued": bothTimes(r.IssuedAt),
		"Anchored": bothTimes(r.AnchoredAt), "OnWordOf": r.OnWordOf(), "Verdict": verdicts[r.Verdict],
		"Withdrawn": r.Verdict != proof.Genuine, "Warnings": r.Warnings,
		"Original": original, "Page": len(in.VerifyPage) > 0, "UserID": sm.UserID, "Sections": parts.Sections,
	})
	return b.Bytes(), err
}

// verdicts are those that a package can be made for.
var verdicts = map[proof.Verdict]string{
	proof.Genuine:    "一致 genuine：文书就是登记的那一份 the document is exactly the one registered",
	proof.Revoked:    "已撤销 revoked：曾经登记，机关已撤销 it was genuine; the agency revoked it",
	proof.Superseded: "已被替换 superseded：曾经登记，机关已用新的登记替换 it was genuine; the agency replaced it",
}

var stepNames = map[proof.StepName]string{
	proof.StepBundle: "证明包的格式 Form of the bundle", proof.StepDocument: "文书的摘要 The document's digest",
	proof.StepFields:    "公开的登记事项 Attributes shown",
	proof.StepStatement: "机关的签名 The agency's signature", proof.StepCertificate: "签名证书 The signer's certificate",
	proof.StepInclusion:  "收入日志 Inclusion in the log",
	proof.StepCheckpoint: "日志的签名 The log's signature", proof.StepAnchor: "锚定上链 Anchoring",
	proof.StepConsistency: "日志的历史 History of the log", proof.StepStatus: "日志的状态声明 The log's status",
	proof.StepStanding: "效力状态 Standing",
}

func stepName(s proof.StepName) string {
	if name, ok := stepNames[s]; ok {
		return name
	}
	return string(s)
}

func statusName(s proof.Status) string {
	switch s {
	case proof.Passed:
		return "✓ 通过 passed"
	case proof.Failed:
		return "✗ 未通过 failed"
	case proof.Skipped:
		return "— 略过 skipped"
	}
	return "? 未核对 not checked"
}

// bothTimes is a report's time for people and for experts.
func bothTimes(s string) string {
	t, err := time.Parse(reportTime, s)
	if err != nil {
		return s
	}
	return t.In(time.FixedZone("UTC+8", 8*3600)).Format("2006年1月2日 15:04:05") + "（北京时间），" + s
}

// reportPage is the report as a page that can be read and printed anywhere: no scripts,
// nothing from elsewhere.
func reportPage(r *proof.Report, original string) ([]byte, error) {
	verdict, ok := verdicts[r.Verdict]
	if !ok {
		return nil, fmt.Errorf("no package is made of a record that is %s", r.Verdict)
	}
	var b bytes.Buffer
	err := reportTemplate.Execute(&b, map[string]any{"Report": r, "Verdict": verdict, "Original": original})
	return b.Bytes(), err
}
