package console_test

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"stele/notary"
	"stele/notary/issue/archive"
	"stele/notary/issue/certificate"
	"stele/notary/office/filing"
	"stele/notary/office/people"
	"stele/notary/office/review"
	"stele/notary/office/stamp"
	"stele/notary/office/webhook"
	"stele/notary/proof"
	"stele/notary/register/class"
	"stele/server/http/webtest"
)

// paper hands a file in for somebody, by way of an upload.
func (o *office) paper(agencyID string, who people.User, name, text string) filing.Paper {
	o.t.Helper()
	ctx := o.t.Context()
	u, err := o.in.Uploads.Create(ctx, agencyID, int64(len(text)), map[string]string{"filename": name})
	fatalIfErr(o.t, err)
	_, err = o.in.Uploads.Append(ctx, agencyID, u.ID, 0, strings.NewReader(text))
	fatalIfErr(o.t, err)
	p, err := o.in.Desk.Take(ctx, agencyID, review.Person{ID: who.ID, Login: who.Login, Name: who.Name},
		filing.Taking{Upload: u.ID, Class: class.General})
	fatalIfErr(o.t, err)
	again, err := o.in.Desk.Take(ctx, agencyID, review.Person{ID: who.ID},
		filing.Taking{Upload: u.ID, Class: class.General})
	if err != nil || again.ID != p.ID {
		o.t.Fatalf("taken twice: %v, %v", again.ID, err)
	}
	return p
}

// samplePDF is a PDF of a page.
func samplePDF(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile("../../../docs/sample.pdf")
	fatalIfErr(t, err)
	return string(b)
}

func (o *office) user(login string) people.User {
	o.t.Helper()
	u, err := o.in.DB.People.FindUser(o.t.Context(), login)
	fatalIfErr(o.t, err)
	return u
}

// adopt takes a ready-made class over, with a change.
func (o *office) adopt(id string, change func(*class.Class)) {
	o.t.Helper()
	for _, c := range class.Ready() {
		if c.ID == id {
			c.AgencyID = o.agency.ID
			change(&c)
			fatalIfErr(o.t, o.in.Classes.Put(o.t.Context(), c))
		}
	}
}

func (p *person) paperForm(id string) (version string) {
	p.o.t.Helper()
	a := p.get("/console/papers/" + id)
	m := regexp.MustCompile(`name="version" value="(\d+)"`).FindStringSubmatch(a.body)
	if m == nil {
		return "-"
	}
	return m[1]
}

var invention = url.Values{"class": {"intellectual-property"}, "title": {"一件作品"}, "f.workName": {"山水"},
	"f.workKind": {"美术"}, "f.author": {"张三"}, "f.rightHolder": {"张三"}, "then": {"submit"}}

func with(v url.Values, pairs ...string) url.Values {
	out := url.Values{}
	for k, x := range v {
		out[k] = x
	}
	for i := 0; i < len(pairs); i += 2 {
		out.Set(pairs[i], pairs[i+1])
	}
	return out
}

// Maker and checker: nobody approves their own; who approves has seen what there is; the record
// names both; a class's rules hold for everybody, the API too.
func TestMakerAndChecker(t *testing.T) {
	o := openOffice(t, false)
	o.adopt("intellectual-property", func(*class.Class) {})
	clerk, approver := o.as("clerk"), o.as("approver")
	p := o.paper(o.agency.ID, o.user("clerk"), "山水.png", "\x89PNG\r\n\x1a\n...")
	path := "/console/papers/" + p.ID

	for field, form := range map[string]url.Values{"f.author": with(invention, "f.author", ""),
		"f.workKind": with(invention, "f.workKind", "面食"), "title": with(invention, "title", " "),
		"supersedes": with(invention, "supersedes", "420100-2026-00000000-0")} {
		t.Run(field, func(t *testing.T) {
			a := clerk.post(path, with(form, "version", clerk.paperForm(p.ID)))
			if a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, `id="problem"`) {
				t.Errorf("%s: %d", field, a.status)
			}
		})
	}
	if a := clerk.post(path, with(invention, "version", "0")); a.status != http.StatusConflict {
		t.Error("somebody who saw another version hands it on:", a.status)
	}
	form := with(invention, "version", clerk.paperForm(p.ID))
	if a := clerk.post(path, form); a.status != http.StatusSeeOther || !strings.Contains(a.header.Get("Location"),
		"paper_waits") {
		t.Fatal(a.status, a.body)
	}
	if a := clerk.post(path+"/approve", url.Values{"version": {"9"}}); a.status != http.StatusForbidden {
		t.Error("a clerk approves:", a.status)
	}
	events, _, err := o.in.DB.Webhooks.Events(t.Context(),
		webhook.Query{AgencyID: o.agency.ID, Kinds: []webhook.Kind{webhook.ApprovalRequested}, Limit: 9})
	if err != nil || len(events) != 1 || events[0].Notice.Subject != p.ID {
		t.Error("approval was not asked for:", events, err)
	}
	version := approver.paperForm(p.ID)
	if a := approver.post(path+"/return",
		url.Values{"version": {version}, "remark": {""}}); a.status != http.StatusUnprocessableEntity {
		t.Error("returned without a word:", a.status)
	}
	if a := approver.post(path+"/return",
		url.Values{"version": {version}, "remark": {"作者写全名 <b>"}}); a.status != http.StatusSeeOther {
		t.Fatal(a.status, a.body)
	}
	if a := clerk.get(path); !strings.Contains(a.body, "作者写全名 &lt;b&gt;") {
		t.Error("the remark is not shown")
	}
	const announced = `<a href="/console/papers?list=mine">Returned for changes: 1</a>`
	if a := clerk.get("/console"); !strings.Contains(a.body, announced) {
		t.Error("the overview does not say that a paper came back")
	}
	if strings.Contains(approver.get("/console").body, "Returned for changes") {
		t.Error("the overview announces what came back to somebody else")
	}
	if a := approver.post(path+"/approve", url.Values{"version": {version}}); a.status != http.StatusConflict {
		t.Error("approved what was returned:", a.status)
	}
	clerk.post(path, with(invention, "f.author", "张三丰", "version", clerk.paperForm(p.ID)))
	if strings.Contains(clerk.get("/console").body, "Returned for changes") {
		t.Error("what was handed on again is still announced")
	}
	if a := approver.post(path+"/approve", url.Values{"version": {version}}); a.status != http.StatusConflict {
		t.Error("approved another version than was seen:", a.status)
	}
	answers := make([]answer, 3) // a double click, and a second window
	var wg sync.WaitGroup
	version = approver.paperForm(p.ID)
	for i := range answers {
		wg.Go(func() {
			answers[i] = approver.post(path+"/approve",
				url.Values{"version": {version}, "once": {fmt.Sprint("w", i/2)}})
		})
	}
	wg.Wait()
	done, err := o.in.DB.Office.FindPaper(t.Context(), o.agency.ID, p.ID)
	if err != nil || done.State != filing.Filed {
		t.Fatal(done.State, done.Remark, err, answers)
	}
	rec, err := o.in.Archive.Record(t.Context(), o.agency.ID, done.Record)
	fatalIfErr(t, err)
	fields := map[string]string{}
	for _, f := range rec.Fields {
		fields[f.Name] = f.Value
	}
	if fields["originClerk"] != "王经办" || fields["originApprover"] != "李审批" || fields["author"] != "张三丰" ||
		fields["fileName"] != "山水.png" || rec.SM3 != p.File.SM3 || !rec.Stored {
		t.Errorf("%v %+v", fields, rec)
	}
	if n := strings.Count(clerk.get("/console/records").body, rec.Number); n == 0 {
		t.Error("the record is not in the list")
	}
	if l, err := o.in.DB.Log.ListRecords(t.Context(), archive.Filter{AgencyID: o.agency.ID, Limit: 10}); err != nil ||
		len(l) != 1 {
		t.Errorf("%d records, %v", len(l), err)
	}

	// The same rules for a system: approval, and withdrawal by two.
	if a := o.call(http.MethodPost, "/records", `{"sm3":"`+rec.SM3.String()+
		`","size":1,"class":"intellectual-property","title":"x","fields":{"workName":"a","workKind":"软件","author":"b","rightHolder":"c"}}`); a.status != http.StatusUnprocessableEntity {
		t.Error("a system needs no approver:", a.status, a.body)
	}
	if a := o.call(http.MethodPost, "/records/"+rec.Number+"/revoke",
		`{"reason":"错了"}`); a.status != http.StatusConflict {
		t.Error("a system withdraws alone:", a.status, a.body)
	}
	if a := clerk.post("/console/records/"+rec.Number+"/revoke",
		url.Values{"reason": {"登记有误"}}); a.status != http.StatusSeeOther || !strings.Contains(a.header.Get("Location"),
		"/console/papers/") {
		t.Fatal(a.status, a.body)
	} else {
		at := strings.Split(a.header.Get("Location"), "?")[0]
		if page := approver.get(at).body; !strings.Contains(page, "Approve the revocation") ||
			strings.Contains(page, "Approve and register") {
			t.Error("whoever approves a withdrawal is told that a document is registered")
		}
		if a := approver.post(at+"/approve",
			url.Values{"version": {approver.paperForm(strings.TrimPrefix(at, "/console/papers/"))}}); a.status != http.
			StatusSeeOther {
			t.Fatal(a.status, a.body)
		}
	}
	if rec, err = o.in.Archive.Record(t.Context(), o.agency.ID, rec.ID); err != nil || rec.Standing != notary.Revoked ||
		rec.Reason != "登记有误" {
		t.Error(rec.Standing, rec.Reason, err)
	}
	if page := clerk.get("/console/records/" + rec.Number).body; !strings.Contains(page, "<span>approver · ") {
		t.Error("the record's page does not say who agreed to the withdrawal")
	}
}

// A record is replaced from its page: the number goes along, the reason is asked for, and the
// replaced record says it to everybody.
func TestReplacing(t *testing.T) {
	o := openOffice(t, false)
	clerk := o.as("clerk")
	old := o.notarize("面积图")
	if a := clerk.get("/console/records/" + old.Number); !strings.Contains(a.body, `href="/console/upload?replaces=`+
		old.Number+`"`) {
		t.Error("the record's page does not lead to its replacement")
	}
	page := clerk.get("/console/upload?replaces=" + old.Number).body
	if !strings.Contains(page, `name="replaces" value="`+old.Number+`"`) ||
		!strings.Contains(page, `data-replaces="`+old.Number+`"`) {
		t.Error("the page for handing in forgets what is replaced")
	}
	if page := clerk.get(`/console/upload?replaces="><script>`).body; strings.Contains(page, `name="replaces"`) {
		t.Error("no number is taken for one")
	}
	u, err := o.in.Uploads.Create(t.Context(), o.agency.ID, 1, map[string]string{"filename": "新图.txt"})
	fatalIfErr(t, err)
	_, err = o.in.Uploads.Append(t.Context(), o.agency.ID, u.ID, 0, strings.NewReader("x"))
	fatalIfErr(t, err)
	if a := clerk.asScript("/console/papers/take", url.Values{"upload": {u.ID}, "class": {"general"},
		"replaces": {old.Number}}); a.status != http.StatusOK {
		t.Fatal(a.status, a.body)
	}
	var p filing.Paper
	for _, p = range o.papers() {
	}
	path := "/console/papers/" + p.ID
	if a := clerk.get(path); p.Supersedes != old.Number ||
		!strings.Contains(a.body, `name="supersedes" class="mono" value="`+old.Number+`"`) {
		t.Errorf("%+v", p)
	}
	form := url.Values{"class": {"general"}, "title": {"新图"}, "supersedes": {old.Number}, "then": {"submit"},
		"version": {clerk.paperForm(p.ID)}}
	if a := clerk.post(path, with(form)); a.status != http.StatusUnprocessableEntity ||
		!strings.Contains(a.body, `id="problem"`) {
		t.Error("replaced without a reason:", a.status)
	}
	form = with(form, "reason", "原图面积有误 <b>", "version", clerk.paperForm(p.ID))
	if a := clerk.post(path, form); a.status != http.StatusSeeOther || !strings.Contains(a.header.Get("Location"),
		"/console/records/") {
		t.Fatal(a.status, a.header.Get("Location"), a.body)
	}
	if a := clerk.get("/console/records/" + old.Number); !strings.Contains(a.body, "原图面积有误 &lt;b&gt;") {
		t.Error("the replaced record's page does not say why")
	}
	o.notarize("a later document") // once it is anchored, so is what came before
	rec, err := o.in.Archive.Record(t.Context(), o.agency.ID, old.Number)
	fatalIfErr(t, err)
	bundle, err := o.in.Archive.Bundle(t.Context(), rec, false)
	fatalIfErr(t, err)
	if r := proof.Verify(o.in.Trust, &rec.SM3, bundle); r.Verdict != proof.Superseded ||
		r.Standing.Reason != "原图面积有误 <b>" {
		t.Errorf("%s", r.JSON())
	}
	if a := o.call(http.MethodPost, "/records", `{"sm3":"`+rec.SM3.String()+
		`","size":1,"reason":"x"}`); a.status != http.StatusUnprocessableEntity ||
		!strings.Contains(a.body, `"reason"`) {
		t.Error("a reason for nothing:", a.status, a.body)
	}
}

// A paper's file was made by anybody: it is shown in the page where that is safe, and saved otherwise.
func TestPaperFiles(t *testing.T) {
	o := openOffice(t, false)
	clerk := o.as("clerk")
	for name, c := range map[string]struct {
		text, disposition string
	}{
		"a.pdf": {"%PDF-1.7\n...", "inline"}, "b.html": {"<html><script>alert(1)</script></html>", "attachment"},
		"c.svg":         {`<svg xmlns="http://www.w3.org/2000/svg"><script>1</script></svg>`, "attachment"},
		"d\"; x=\r.txt": {"text", "attachment"},
	} {
		t.Run(name, func(t *testing.T) {
			if strings.Contains(name, "\r") {
				name = strings.ReplaceAll(name, "\r", "")
			}
			p := o.paper(o.agency.ID, o.user("clerk"), name, c.text)
			a := clerk.get("/console/papers/" + p.ID + "/document?show")
			if got := a.header.Get("Content-Disposition"); a.body != c.text || !strings.HasPrefix(got, c.disposition) ||
				a.header.Get("X-Content-Type-Options") != "nosniff" ||
				strings.Contains(a.header.Get("Content-Security-Policy"), "script") {
				t.Errorf("%s: %s %v", name, got, a.header)
			}
		})
	}
}

// A clerk, and then an approver, at their desks in a browser.
func TestDesk(t *testing.T) {
	o := openOffice(t, false)
	o.adopt("public-welfare", func(*class.Class) {})
	picture, err := certificate.DemonstrationSeal(o.agency.Name)
	fatalIfErr(t, err)
	_, err = o.in.DB.Office.AddSeal(t.Context(), notary.Seal{ID: stamp.NewSealID(), AgencyID: o.agency.ID, Name: "公章",
		Owner: "办公室", PNG: picture, Demonstration: true, From: time.Now().Add(-time.Minute)}, true)
	fatalIfErr(t, err)
	for i, l := range []webtest.Look{webtest.Desktop, webtest.Phone.In("en")} {
		t.Run(l.String(), func(t *testing.T) {
			o.t = t
			p := o.paper(o.agency.ID, o.user("clerk"), "捐赠收据.pdf", samplePDF(t)+fmt.Sprint("\n%", i))
			d := o.open(t, l)
			d.signIn("clerk")
			d.at("/console/papers")
			d.says("捐赠收据.pdf")
			d.good("papers")
			d.at("/console/papers/" + p.ID)
			d.good("paper")
			d.Run(chromedp.SetValue("[name=class]", "public-welfare", chromedp.ByQuery))
			d.fill("[name=title]", "江城慈善总会收据 <i>x</i>")
			d.submit("button[value=save]")
			d.Wait(`document.querySelector('[name="f.project"]')`)
			d.good("paper-class")
			d.fill("[name='f.project']", "暖冬行动")
			d.fill("[name='f.organization']", "江城慈善总会")
			d.Run(chromedp.SetValue("[name='f.kind']", "捐赠收据", chromedp.ByQuery))
			d.submit("button[value=save]")
			d.stamp(p.ID)
			d.submit("button[value=submit]")
			d.Wait(`document.querySelector('.p-waiting')`)
			d.good("paper-waiting")
			stamped, err := o.in.DB.Office.FindPaper(t.Context(), o.agency.ID, p.ID)
			fatalIfErr(t, err)
			d.submit("header form button")
			d.signIn("approver")
			d.at("/console/papers")
			d.says("江城慈善总会收据")
			d.at("/console/papers/" + p.ID)
			d.good("paper-decide")
			// the browser's viewer confuses who waits for the answer
			d.Eval("document.querySelector('iframe').remove(), 0", nil)
			d.submit("form[action$='/approve'] button")
			d.Wait(`location.pathname.startsWith('/console/records/')`)
			d.says("暖冬行动")
			d.says(stamped.Number)
			if rec, err := o.in.Archive.Record(t.Context(), o.agency.ID, stamped.Number); err != nil ||
				rec.SM3 != stamped.Marked.SM3 {
				t.Errorf("the record is not of the stamped file: %v", err)
			}
			d.submit("header form button")
			d.signIn("admin")
			d.at("/console/seals")
			d.says("公章")
			d.says(stamped.Number)
			d.good("seals")
			d.at("/console/classes")
			d.good("classes")
			d.submit(".offers form button")
			d.Wait(`document.querySelector('[name=schema]')`)
			d.good("class")
			d.submit("header form button")
		})
	}
}

// stamp places marks on a paper: by hand, by the keyboard, and at a word that is not there.
func (d *desk) stamp(id string) {
	d.T.Helper()
	d.at("/console/papers/" + id + "/marks")
	d.Wait(`document.querySelectorAll('svg.outline [data-mark]').length === 2`)
	d.good("marks")
	d.Run(chromedp.SetValue("[name='m2.anchor']", "keyword", chromedp.ByQuery))
	d.fill("[name='m2.keyword']", "没有这个词")
	d.submit("button[value=look]")
	d.Wait(`document.querySelector('main .complaint')`)
	d.good("marks-wrong")
	d.Run(chromedp.SetValue("[name='m2.anchor']", "top-right", chromedp.ByQuery))
	d.submit("button[value=look]")
	d.Eval(`(() => { const m = document.querySelector('svg.outline circle[data-mark]'); m.focus();
		for (let i = 0; i < 3; i++) m.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowLeft', shiftKey: true, bubbles: true })); return 0; })()`, nil)
	d.Wait(`document.querySelector("[name='m1.anchor']").value === 'at' && ` +
		`Number(document.querySelector("[name='m1.x']").value) > 0`)
	d.submit("button[value=stamp]")
	d.Wait(`document.querySelector('a[href$="?original"]')`)
	d.good("paper-stamped")
}

// An admin adds a seal and ends it; what is no picture is refused, and leaves nothing.
func TestSealsPage(t *testing.T) {
	o := openOffice(t, false)
	admin := o.as("admin")
	picture, err := certificate.DemonstrationSeal(o.agency.Name)
	fatalIfErr(t, err)
	fields := map[string]string{"name": "业务专用章", "owner": "张三", "until": "2099-12-31", "certificates": "yes"}
	if a := admin.sendFiles("/console/seals", "s1", fields, []byte("document"),
		[]byte("<svg onload=alert(1)>")); a.status != http.StatusUnprocessableEntity {
		t.Error("no picture:", a.status)
	}
	if a := admin.sendFiles("/console/seals", "s2", fields, []byte("document"),
		picture); a.status != http.StatusSeeOther {
		t.Fatal(a.status, a.body)
	}
	seals, err := o.in.DB.Office.Seals(t.Context(), o.agency.ID)
	if err != nil || len(seals) != 1 || seals[0].Name != "业务专用章" || !seals[0].Demonstration ||
		seals[0].Certificates.IsZero() || seals[0].Until.IsZero() {
		t.Fatalf("%+v %v", seals, err)
	}
	if a := o.as("neighbour").post("/console/seals/"+seals[0].ID+"/end", nil); a.status != http.StatusNotFound {
		t.Error("a neighbour ends it:", a.status)
	}
	if a := admin.post("/console/seals/"+seals[0].ID+"/end", nil); a.status != http.StatusSeeOther {
		t.Error(a.status)
	}
	if seals, err = o.in.DB.Office.Seals(t.Context(), o.agency.ID); err != nil || seals[0].Ended.IsZero() {
		t.Error(seals, err)
	}
	delete(fields, "until")
	if a := admin.sendFiles("/console/seals", "s3", fields, []byte("document"),
		picture); a.status != http.StatusSeeOther {
		t.Fatal(a.status, a.body)
	}
	if page := admin.get("/console/seals").body; !strings.Contains(page, ">from ") {
		t.Error("it is not said that a seal has no end")
	}
}
