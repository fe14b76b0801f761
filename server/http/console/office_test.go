package console_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"stele/crypto/sm"
	"stele/notary/log/fsck"
	"stele/notary/proof"
	"stele/notary/register/class"
	"stele/server/http/webtest"
	"stele/storage/storagetest"
)

// keep notarizes a file that is kept, through the API, to the anchor.
func (o *office) keep(title, name string, data []byte, fields map[string]string) record {
	o.t.Helper()
	about, err := json.Marshal(map[string]any{"title": title, "filename": name, "reference": "政办〔2026〕8号",
		"fields": fields})
	fatalIfErr(o.t, err)
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for _, p := range []struct {
		disposition, mediaType string
		data                   []byte
	}{{`form-data; name="record"`, "application/json", about}, {`form-data; name="file"; filename="f"`,
		"application/octet-stream", data}} {
		part, err := w.CreatePart(textproto.MIMEHeader{"Content-Disposition": {p.disposition},
			"Content-Type": {p.mediaType}})
		fatalIfErr(o.t, err)
		_, _ = part.Write(p.data)
	}
	fatalIfErr(o.t, w.Close())
	return o.create(w.FormDataContentType(), &body)
}

// An admin looks at the day, which goes on by itself; finds a record by words, saves the
// search, and by the file in hand; sends it to somebody; erases what is personal about it.
func TestOffice(t *testing.T) {
	o := openOffice(t, false)
	raw := storagetest.Raw(t, o.in.Config.Database)
	for day, n := range []int{3, 8, 5, 0, 12, 9, 4, 0, 0, 7, 15, 11, 6, 2, 9, 0, 1, 13, 20, 17, 8, 4, 0, 3, 6, 9, 14,
		10, 5} {
		storagetest.MustExec(t, raw, 1,
			`INSERT INTO agency_days (agency_id, day, records, bytes) VALUES ($1, $2, $3, $4)`, o.agency.ID,
			(time.Now().Unix()+28800)/86400-29+int64(day), n, n*1_000_000)
	}
	for i, l := range []webtest.Look{webtest.Desktop, webtest.Phone.In("en").InDark()} {
		t.Run(l.String(), func(t *testing.T) {
			o.t = t
			file := []byte(fmt.Sprint("不动产登记簿 ", i))
			path := filepath.Join(t.TempDir(), "登记簿.txt")
			fatalIfErr(t, os.WriteFile(path, file, 0o600))
			rec := o.keep(fmt.Sprint("不动产登记簿复印件 ", i), "登记簿.txt", file,
				map[string]string{"applicant": "欧阳娜娜", "idCard": "42010019900101123X"})
			d := o.open(t, l)
			d.signIn("admin")
			d.Wait(`document.querySelector('#live .chart .bar')`)
			d.Run(chromedp.Evaluate(`document.querySelector('h1').dataset.here = 'yes'; 0`, nil))
			d.good("office-overview")
			other := o.notarize(fmt.Sprint("关于办公时间的通知 ", i))
			d.Wait(fmt.Sprintf(`document.querySelector('#live')?.textContent.includes(%q) && `+
				`document.querySelector('h1').dataset.here === 'yes'`, other.Number))

			d.at("/console/records")
			d.fill("[name=q]", "登记簿复印件 "+fmt.Sprint(i))
			d.submit("#find button")
			d.says(rec.Number)
			d.Wait(`document.querySelectorAll('.tally strong').length === 2`)
			d.fill("[name=saved]", fmt.Sprint("登记簿 ", i))
			d.submit(`form[action$="/searches"] button`)
			d.Wait(`document.querySelector('.said .notice') && document.querySelector('.saved a')`)
			d.good("office-records")
			d.at("/console/records")
			_, err := chromedp.RunResponse(d.Ctx, chromedp.SetUploadFiles("#drop-file", []string{path},
				chromedp.ByQuery))
			fatalIfErr(t, err)
			d.says(rec.Number)
			d.Wait(`document.querySelectorAll('tbody tr').length === 1`)
			d.submit("tbody a")
			d.Wait(`document.querySelector('#share')`)
			if share := d.Text("#share"); !strings.HasSuffix(share, "/r/"+rec.Number+"?code="+rec.Code) ||
				!strings.HasPrefix(share, "http") {
				t.Errorf("the address to be shared is %q", share)
			}
			d.good("office-record")
			d.erase(rec)
			d.at("/console/audit/seals")
			d.Wait(`document.querySelector('tbody td')`)
			d.good("office-seals")
			d.at("/console/audit")
			d.good("office-audit")
			d.submit("header form button")
		})
	}
}

func (d *desk) erase(rec record) {
	d.T.Helper()
	d.at("/console/records/" + rec.Number + "/erase")
	d.good("office-erase")
	for _, box := range []string{`[value="applicant"]`, `[value="idCard"]`, `[name="document"]`} {
		d.Run(chromedp.Click(box, chromedp.ByQuery))
	}
	d.submit("main form button")
	d.Wait(`document.querySelector('.grave')`)
	d.good("office-erase-look")
	d.fill("[name=reason]", "当事人依法申请")
	d.submit(".grave button")
	d.Wait(`document.querySelector('.said .notice')`)
	if text := d.Text("main"); strings.Contains(text, "欧阳娜娜") || strings.Contains(text, "42010019900101123X") ||
		!strings.Contains(text, "当事人依法申请") {
		d.T.Errorf("after erasing the page says:\n%s", text)
	}
	d.good("office-erased")
}

// Erasing: by the console and by the API; the values are in no answer any more; proofs made
// before and after hold; the trail and the record say it; only who may does it, and only once.
func TestErase(t *testing.T) {
	o := openOffice(t, false)
	rec := o.keep("婚姻登记审查表", "审查表.pdf", []byte("原件"),
		map[string]string{"applicant": "欧阳娜娜", "idCard": "42010019900101123X"})
	admin := o.as("admin")
	before := admin.get("/console/records/" + rec.Number + "/bundle").body
	form := func() url.Values {
		return url.Values{"field": {"applicant", "idCard"}, "reason": {"当事人依法申请"}, "look": {"yes"}}
	}
	if a := o.as("clerk").post("/console/records/"+rec.Number+"/erase", form()); a.status != http.StatusForbidden {
		t.Errorf("a clerk erases: %d", a.status)
	}
	if a := admin.get("/console/records/" + rec.Number +
		"/erase?look=yes&field=applicant&field=idCard"); !strings.Contains(a.body, `name="reason"`) ||
		!strings.Contains(a.body, `value="idCard"`) {
		t.Errorf("the second page: %d %s", a.status, a.body)
	}
	if a := admin.get("/console/records/" + rec.Number +
		"/erase?look=yes"); a.status != http.StatusUnprocessableEntity ||
		!strings.Contains(a.body, "Choose what to erase") || !strings.Contains(a.body, `value="idCard"`) {
		t.Errorf("nothing is ticked: %d", a.status)
	}
	if a := admin.post("/console/records/"+rec.Number+"/erase",
		url.Values{"field": {"applicant"}, "look": {"yes"}}); a.status != http.StatusUnprocessableEntity ||
		!strings.Contains(a.body, `id="problem"`) {
		t.Errorf("without a reason: %d", a.status)
	}
	if a := admin.post("/console/records/"+rec.Number+"/erase", form()); a.status != http.StatusSeeOther ||
		!strings.HasSuffix(a.header.Get("Location"), "done=erased") {
		t.Fatalf("%d %s", a.status, a.body)
	}
	a := o.call(http.MethodPost, "/records/"+rec.Number+"/erase",
		`{"fields":["title"],"document":true,"reason":"超过保管期限"}`)
	var said struct{ Erased []string }
	fatalIfErr(t, json.Unmarshal([]byte(a.body), &said))
	if a.status != http.StatusOK || strings.Join(said.Erased, " ") != "applicant idCard title" {
		t.Errorf("the API: %d %s", a.status, a.body)
	}
	weak := o.newKey("read", "write", "revoke")
	o.key, weak = weak, o.key
	if a := o.call(http.MethodPost, "/records/"+rec.Number+"/erase",
		`{"all":true,"reason":"x"}`); a.status != http.StatusForbidden {
		t.Errorf("a key without the scope erases: %d", a.status)
	}
	o.key = weak
	after := admin.get("/console/records/" + rec.Number + "/bundle").body
	for name, bundle := range map[string]string{"before": before, "after": after} {
		t.Run(name, func(t *testing.T) {
			if r := proof.Verify(o.in.Trust, nil, []byte(bundle)); len(r.Steps) == 0 ||
				strings.Contains(string(r.JSON()), `"status":"failed"`) ||
				(r.Fields["idCard"] == "") != (name == "after") {
				t.Errorf("the bundle of %s: %s", name, r.JSON())
			}
		})
	}
	answers := map[string]string{}
	for _, path := range []string{"/console/records/" + rec.Number, "/console/records", "/console/records/export",
		"/console/audit", "/console/audit/export", "/console/records?q=" + url.QueryEscape("欧阳"), "/console/records/" +
			rec.Number + "/certificate"} {
		answers[path] = admin.get(path).body
	}
	answers["API"] = o.call(http.MethodGet, "/records/"+rec.Number, "").body
	answers["events"] = o.call(http.MethodGet, "/events", "").body
	answers["public"] = o.visitor().get("/r/" + rec.Number + "?code=" + rec.Code).body
	for name, text := range answers {
		t.Run(name, func(t *testing.T) {
			for _, secret := range []string{"欧阳娜娜", "42010019900101123X", "婚姻登记审查表"} {
				if strings.Contains(text, secret) {
					t.Errorf("%s has %q", name, secret)
				}
			}
		})
	}
	if !strings.HasPrefix(answers["/console/records/"+rec.Number+"/certificate"], "%PDF") ||
		!strings.Contains(answers["/console/audit"], "record_erase") && !strings.Contains(answers["/console/audit"],
			"Erase attributes") {
		t.Errorf("no certificate, or no trace in the trail")
	}
	if page := answers["/console/records/"+rec.Number]; !strings.Contains(page, "当事人依法申请") ||
		!strings.Contains(page, "超过保管期限") || !strings.Contains(page, "key 业务系统") {
		t.Error("the record's page does not say who erased what and why")
	}
	if a := admin.get("/console/records/" + rec.Number + "/document"); a.status != http.StatusNotFound {
		t.Errorf("the original: %d", a.status)
	}
	if a := o.call(http.MethodGet, "/records/"+rec.Number+"/document", ""); a.status != http.StatusNotFound ||
		!strings.Contains(a.body, "was erased on") {
		t.Errorf("the original by the API: %d %s", a.status, a.body)
	}
	o.sealed(o.agency.ID)
	res, err := o.in.Fsck(t.Context(), fsck.Options{})
	fatalIfErr(t, err)
	for _, f := range res.Findings {
		t.Errorf("fsck: %s", f)
	}
}

func (o *office) newKey(scopes ...string) string {
	o.t.Helper()
	body, err := json.Marshal(map[string]any{"name": "weak", "scopes": scopes})
	fatalIfErr(o.t, err)
	var k struct{ Key string }
	a := o.call(http.MethodPost, "/keys", string(body))
	fatalIfErr(o.t, json.Unmarshal([]byte(a.body), &k))
	if k.Key == "" {
		o.t.Fatalf("no key: %d %s", a.status, a.body)
	}
	return k.Key
}

// A record's class, its attributes and how it came are named in the language of the page, and the class
// is chosen by its title; one that the agency never described keeps its own name and can be chosen too.
func TestRecordIsInWords(t *testing.T) {
	o := openOffice(t, false)
	o.adopt("e-invoice", func(*class.Class) {})
	sums := map[string]string{"e-invoice": sm.Sum([]byte("a")).String(), "nobodys": sm.Sum([]byte("b")).String()}
	fields := map[string]map[string]string{"e-invoice": {"invoiceNumber": "12345678", "sellerName": "某公司",
		"amount": "1280.00", "issuedOn": "2026-11-22"}, "nobodys": {"colour": "red"}}
	made := map[string]record{}
	for id, sum := range sums {
		body, err := json.Marshal(map[string]any{"sm3": sum, "size": 9, "title": "文书", "class": id,
			"fields": fields[id]})
		fatalIfErr(t, err)
		made[id] = o.create("application/json", bytes.NewReader(body))
	}
	clerk := o.as("clerk")
	invoice := clerk.get("/console/records/" + made["e-invoice"].Number).body
	for _, want := range []string{"<dd>Electronic invoice</dd>", "<dt>Invoice number</dt>",
		"<dt>Submission method</dt><dd>Digest only</dd>"} {
		if !strings.Contains(invoice, want) {
			t.Errorf("the record does not say %s", want)
		}
	}
	if page := clerk.get("/console/records/" + made["nobodys"].Number).body; !strings.Contains(page,
		"<dd>nobodys</dd>") || !strings.Contains(page, "<dt>colour</dt><dd>red</dd>") {
		t.Error("a class that nobody described is not named")
	}
	list := clerk.get("/console/records").body
	for _, want := range []string{`<option value="e-invoice">Electronic invoice</option>`,
		`<option value="nobodys">nobodys</option>`, `">Electronic invoice</td>`} {
		if !strings.Contains(list, want) {
			t.Errorf("the list does not say %s", want)
		}
	}
	if found := clerk.get("/console/records?class=e-invoice").body; !strings.Contains(found,
		`value="e-invoice" selected`) || strings.Contains(found, made["nobodys"].Number) ||
		!strings.Contains(found, made["e-invoice"].Number) {
		t.Error("the class does not narrow the list")
	}
}

// A list of records is exported as it was narrowed, and no cell of it is a formula.
func TestExportRecords(t *testing.T) {
	o := openOffice(t, false)
	for _, title := range []string{`=cmd|' /C calc'!A0`, "＝1+1", "+1", "-1", "@SUM(1)", "另一份"} {
		o.notarize(title)
	}
	clerk := o.as("clerk")
	rows, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(clerk.get("/console/records/export").body,
		"\ufeff"))).ReadAll()
	fatalIfErr(t, err)
	if len(rows) != 7 || rows[1][1] != "另一份" {
		t.Fatalf("%d rows: %q", len(rows), rows)
	}
	for _, row := range rows {
		for _, cell := range row {
			if cell != "" && strings.ContainsAny(cell[:1], "=+-@\t\r") || strings.HasPrefix(cell, "＝") {
				t.Errorf("a cell begins a formula: %q", cell)
			}
		}
	}
	if a := clerk.get("/console/records/export?q=" + url.QueryEscape("另一")); strings.Count(a.body, "\n") != 2 {
		t.Errorf("the export is not narrowed: %s", a.body)
	}
	// A search is the person's own, and gone when it is deleted.
	clerk.post("/console/records/searches",
		url.Values{"saved": {"<b>我的"}, "query": {"q=x&done=evil&before=3&class=general"}})
	if a := clerk.get("/console/records"); !strings.Contains(a.body, `/console/records?class=general&amp;q=x"`) ||
		!strings.Contains(a.body, "&lt;b&gt;我的") {
		t.Errorf("the saved search: %s", a.body)
	}
	if a := o.as("admin").get("/console/records"); strings.Contains(a.body, "我的") {
		t.Error("somebody else sees it")
	}
	clerk.post("/console/records/searches/delete", url.Values{"saved": {"<b>我的"}})
	if a := clerk.get("/console/records"); strings.Contains(a.body, "我的") {
		t.Error("it is not deleted")
	}
}

// What pages ask for by themselves does not keep somebody signed in; a stream ends with the session.
func TestLiveIsQuiet(t *testing.T) {
	o := openOffice(t, false)
	rec := o.notarize("一份文书")
	p := o.as("clerk")
	raw := storagetest.Raw(t, o.in.Config.Database)
	seen := func() (n int64) {
		fatalIfErr(t, raw.GetContext(t.Context(), &n, `SELECT max(expires_at) FROM sessions`))
		return n
	}
	before := seen()
	for name, path := range map[string]string{"office": "/console/live",
		"record": "/console/records/" + rec.Number + "/live"} {
		t.Run(name, func(t *testing.T) {
			if a := p.get(path); a.status != http.StatusOK || !strings.Contains(a.body, `id="live"`) {
				t.Errorf("%s: %d", path, a.status)
			}
		})
	}
	if seen() != before {
		t.Error("a page that asks by itself makes the session last longer")
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, o.URL+"/console/events", nil)
	fatalIfErr(t, err)
	res, err := p.client.Do(req)
	fatalIfErr(t, err)
	defer res.Body.Close()
	first := make([]byte, 256)
	n, err := res.Body.Read(first)
	fatalIfErr(t, err)
	if !strings.HasPrefix(string(first[:n]), "event: state\ndata: {\"received\":") || seen() != before {
		t.Errorf("%d %q", res.StatusCode, first[:n])
	}
}
