package console_test

import (
	"archive/zip"
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/xuri/excelize/v2"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/office/bulk"
	"stele/notary/office/review"
	"stele/notary/register/class"
	"stele/server/http/webtest"
)

func zipped(t testing.TB, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		f, err := w.Create(files[i])
		fatalIfErr(t, err)
		_, err = io.WriteString(f, files[i+1])
		fatalIfErr(t, err)
	}
	fatalIfErr(t, w.Close())
	return b.Bytes()
}

func csvOf(t testing.TB, rows ...[]string) []byte {
	t.Helper()
	var b bytes.Buffer
	fatalIfErr(t, csv.NewWriter(&b).WriteAll(rows))
	return b.Bytes()
}

// waitBulk returns a job when it is in a state.
func (o *office) waitBulk(agencyID, id string, s bulk.State) bulk.Job {
	o.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(2 * time.Minute); ; <-tick.C {
		j, err := o.in.Bulk.Find(o.t.Context(), agencyID, id)
		fatalIfErr(o.t, err)
		if j.State == s {
			return j
		}
		if time.Now().After(deadline) {
			o.t.Fatalf("the job is %s, not %s", j.State, s)
		}
	}
}

// tableOf is a job of an agency that has been checked, with a document.
func (o *office) tableOf(agencyID string) string {
	o.t.Helper()
	me := review.Person{ID: "maker", Login: "maker", Name: "某人"}
	j, err := o.in.Bulk.Add(o.t.Context(), agencyID, me, "general", "表.csv",
		csvOf(o.t, []string{"title", "file"}, []string{"a", "a.txt"}), "form")
	fatalIfErr(o.t, err)
	_, err = o.in.Bulk.AddFiles(o.t.Context(), review.Step{AgencyID: agencyID, ID: j.ID, By: me},
		bytes.NewReader(zipped(o.t, "a.txt", "a")))
	fatalIfErr(o.t, err)
	return o.waitBulk(agencyID, j.ID, bulk.Checked).ID
}

// sendFiles posts a form with files: names and contents in turn.
func (p *person) sendFiles(path, once string, fields map[string]string, files ...[]byte) answer {
	p.o.t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	fatalIfErr(p.o.t, w.WriteField("form", p.form))
	fatalIfErr(p.o.t, w.WriteField("once", once))
	for k, v := range fields {
		fatalIfErr(p.o.t, w.WriteField(k, v))
	}
	for i := 0; i < len(files); i += 2 {
		name := "table.csv"
		if string(files[i]) == "zip" {
			name = "files.zip"
		}
		f, err := w.CreateFormFile(string(files[i]), name)
		fatalIfErr(p.o.t, err)
		_, err = f.Write(files[i+1])
		fatalIfErr(p.o.t, err)
	}
	fatalIfErr(p.o.t, w.Close())
	req, err := http.NewRequest(http.MethodPost, p.o.URL+path, &b)
	fatalIfErr(p.o.t, err)
	req.Header.Set("Content-Type", w.FormDataContentType())
	return p.do(req)
}

func jobIn(a answer) string {
	_, id, _ := strings.Cut(a.header.Get("Location"), "/console/bulk/")
	id, _, _ = strings.Cut(id, "?")
	return id
}

func (p *person) move(id, step string, seen int, more ...string) answer {
	p.o.t.Helper()
	form := map[string][]string{"version": {fmt.Sprint(seen)}}
	for i := 0; i < len(more); i += 2 {
		form[more[i]] = []string{more[i+1]}
	}
	return p.post("/console/bulk/"+id+"/"+step, form)
}

func readCSV(t testing.TB, a answer) [][]string {
	t.Helper()
	rows, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(a.body, "\xef\xbb\xbf"))).ReadAll()
	fatalIfErr(t, err)
	return rows
}

// A table with hostile texts: refused forms leave nothing, a form and a start that come twice count once, what is
// downloaded holds no formula, names its errors, and can be handed in again.
func TestBulk(t *testing.T) {
	o := openOffice(t, false)
	clerk := o.as("clerk")
	for code, table := range map[string][]byte{"table.unknown_column": csvOf(t, []string{"title", "<script>"},
		[]string{"a", "b"}), "table.empty": []byte("title,file\n"), "table.no_document": []byte("title\na\n")} {
		t.Run(code, func(t *testing.T) {
			if a := clerk.sendFiles("/console/bulk", code, map[string]string{"class": "general"}, []byte("table"),
				table, []byte("zip"), make([]byte, 3<<20)); a.status != http.StatusUnprocessableEntity ||
				!strings.Contains(a.body, `id="problem"`) || strings.Contains(a.body, "<script>") {
				t.Errorf("%s: %d %.300s", code, a.status, a.body)
			}
		})
	}
	if a := clerk.sendFiles("/console/bulk", "x",
		map[string]string{"class": "general"}); a.status != http.StatusUnprocessableEntity {
		t.Error("without a table:", a.status)
	}
	if a := clerk.sendFiles("/console/bulk", "y",
		map[string]string{"form": "", "class": strings.Repeat("x", 70<<10)}); a.status != http.StatusBadRequest {
		t.Error("with a field that is too long:", a.status)
	}
	table := csvOf(t, []string{"标题", "文件名", "业务编号"}, []string{`'=HYPERLINK("http://x","y")`, "a.txt", "@ref"},
		[]string{"<script>alert(1)</script>", "b/乙.txt", ""}, []string{"", "none.txt", "'-1"})
	files := zipped(t, "a.txt", "a", "b/乙.txt", "b")
	a := clerk.sendFiles("/console/bulk", "form1", map[string]string{"class": "general"}, []byte("table"), table,
		[]byte("zip"), files)
	id := jobIn(a)
	if a.status != http.StatusSeeOther || id == "" {
		t.Fatalf("%d %v %.300s", a.status, a.header, a.body)
	}
	if again := clerk.sendFiles("/console/bulk", "form1", map[string]string{"class": "general"}, []byte("table"),
		table); !strings.Contains(again.header.Get("Location"), "repeated") {
		t.Error("the same form again:", again.header)
	}
	if list, err := o.in.Bulk.List(t.Context(), bulk.Query{AgencyID: o.agency.ID, Limit: 9}); err != nil ||
		len(list) != 1 {
		t.Errorf("%d jobs, %v", len(list), err)
	}
	j := o.waitBulk(o.agency.ID, id, bulk.Checked)
	if page := clerk.get(a.header.Get("Location")).body; strings.Contains(page, "is being checked") {
		t.Error("a checked job says that it is being checked")
	}
	if page := clerk.get("/console/bulk/" + id).body; strings.Contains(page, "<script>alert") ||
		!strings.Contains(page, "none.txt") {
		t.Errorf("the page: %.2000s", page)
	}
	failed := readCSV(t, clerk.get("/console/bulk/"+id+"/rows?which=failed"))
	if len(failed) != 2 || !slices.Equal(failed[1][:3], []string{"", "none.txt", "'-1"}) ||
		!strings.Contains(failed[1][3], "not in the zip") || !strings.Contains(failed[1][3], "Title") {
		t.Errorf("%q", failed)
	}
	body := clerk.get("/console/bulk/" + id + "/rows?which=failed").body
	back := clerk.sendFiles("/console/bulk", "form2", map[string]string{"class": "general"}, []byte("table"),
		[]byte(body))
	if again := readCSV(t,
		clerk.get("/console/bulk/"+jobIn(back)+"/rows?which=failed")); back.status != http.StatusSeeOther ||
		len(again) != 1 || len(again[0]) != 4 {
		t.Errorf("handed in again: %d %q", back.status, again)
	}
	if a := clerk.move(id, "start", j.Version); a.status != http.StatusUnprocessableEntity {
		t.Error("started with errors:", a.status)
	}
	if a := o.as("admin").move(id, "start", j.Version, "partial", "yes"); a.status != http.StatusForbidden {
		t.Error("started by somebody else:", a.status)
	}
	var wg sync.WaitGroup
	statuses := make([]int, 4)
	for i := range statuses {
		wg.Go(func() { statuses[i] = clerk.move(id, "start", j.Version, "partial", "yes").status })
	}
	wg.Wait()
	if slices.Sort(statuses); statuses[0] != http.StatusSeeOther || statuses[1] != http.StatusConflict {
		t.Errorf("four clicks: %v", statuses)
	}
	o.waitBulk(o.agency.ID, id, bulk.Done)
	results := readCSV(t, clerk.get("/console/bulk/"+id+"/rows"))
	if len(results) != 4 || !notary.ValidNumber(results[1][2]) || results[1][4] != `'=HYPERLINK("http://x","y")` ||
		results[1][5] != "'@ref" || !strings.HasSuffix(results[1][7], "/console/records/"+results[1][2]+
		"/certificate") || results[3][2] != "" {
		t.Errorf("%q", results)
	}
	for _, row := range results {
		for _, cell := range row {
			if cell != "" && strings.ContainsAny(cell[:1], "=+-@\t\r") {
				t.Errorf("%q is a formula", cell)
			}
		}
	}
	if list := readCSV(t, o.as("auditor").get("/console/audit/export?format=csv&act=bulk_start")); len(list) < 3 {
		t.Errorf("the trail: %q", list)
	}
	for _, form := range []string{"csv", "xlsx"} {
		t.Run(form, func(t *testing.T) {
			if a := clerk.get("/console/bulk/template?class=general&with=digests&form=" +
				form); a.status != http.StatusOK || !strings.Contains(a.header.Get("Content-Disposition"), "."+form) {
				t.Error(form, a.status, a.header)
			}
		})
	}
	if a := clerk.get("/console/bulk/template?class=none"); a.status != http.StatusNotFound {
		t.Error("template of no class:", a.status)
	}
}

// becomes waits for a page that moves on by itself: a question that comes while it does is asked again.
func (d *desk) becomes(js string) {
	d.T.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(2 * time.Minute); ; <-tick.C {
		var ok bool
		if err := chromedp.Run(d.Ctx, chromedp.Evaluate("document.readyState === 'complete' && Boolean("+js+")",
			&ok)); err == nil && ok {
			return
		}
		if time.Now().After(deadline) {
			d.T.Fatalf("it does not become %s; the page says:\n%s", js, d.Text("main"))
		}
	}
}

// A clerk hands in a table of a class that needs a second person, an approver looks and agrees, the
// clerk sees the numbers: in a browser, with pictures.
func TestBulkPages(t *testing.T) {
	o := openOffice(t, false)
	invoice := class.Ready()[slices.IndexFunc(class.Ready(), func(c class.Class) bool { return c.ID == "e-invoice" })]
	invoice.AgencyID, invoice.Approval = o.agency.ID, true
	fatalIfErr(t, o.in.Classes.Put(t.Context(), invoice))
	dir := t.TempDir()
	for i, l := range []webtest.Look{webtest.Desktop, webtest.Phone.In("en")} {
		t.Run(l.String(), func(t *testing.T) {
			o.t = t
			rows := [][]string{{"标题", "文件名", "发票号码", "销售方名称", "价税合计（元）", "开票日期"}}
			var files []string
			for k := range 8 {
				name := fmt.Sprintf("发票/%03d.pdf", k)
				rows = append(rows, []string{fmt.Sprintf("电子发票 %d 号", k), name, fmt.Sprint(12345678 + k), "江城市某某技术有限公司",
					"1280.00", "2026/11/22"})
				files = append(files, name, fmt.Sprintf("%%PDF-1.7 %d %d %s", i, k, sm.Sum([]byte(name))))
			}
			rows[3][4], rows[5][5], rows[6][1] = "一千", "昨天", "发票/没有.pdf"
			table, zipFile := filepath.Join(dir, "十一月发票.csv"), filepath.Join(dir, fmt.Sprint(i, ".zip"))
			fatalIfErr(t, os.WriteFile(table, csvOf(t, rows...), 0o600))
			fatalIfErr(t, os.WriteFile(zipFile, zipped(t, files...), 0o600))
			d := o.open(t, l)
			d.signIn("clerk")
			d.at("/console/bulk")
			d.good("bulk-new")
			d.Run(chromedp.SetValue("#new-bulk [name=class]", "e-invoice", chromedp.ByQuery),
				chromedp.SetUploadFiles("#new-bulk [name=table]", []string{table}, chromedp.ByQuery))
			d.Run(chromedp.Click("#new-bulk button", chromedp.ByQuery))
			d.becomes(`document.querySelector('form[action$="/files"]') && location.pathname.length > 20`)
			d.good("bulk-gathering")
			d.Run(chromedp.SetUploadFiles("[name=zip]", []string{zipFile}, chromedp.ByQuery),
				chromedp.Click(`form[action$="/files"] button`, chromedp.ByQuery))
			d.becomes(`document.querySelector('form[action$="/start"]')`)
			var path string
			d.Eval("location.pathname", &path)
			d.good("bulk-checked")
			d.Run(chromedp.Click("[name=partial]", chromedp.ByQuery))
			d.submit(`form[action$="/start"] button`)
			d.good("bulk-waiting")
			d.submit("header form button")
			d.signIn("approver")
			d.at(path + "?show=ready")
			d.good("bulk-decide")
			d.submit(`form[action$="/approve"] button`)
			d.becomes(`document.querySelector('.b-done') && document.querySelector('[data-watch=""]')`)
			d.submit("header form button")
			d.signIn("clerk")
			d.at(path + "?show=settled")
			d.Wait(`document.querySelectorAll('tbody a.mono').length === 5`)
			d.good("bulk-done")
			d.at("/console/bulk")
			d.good("bulk-list")
			d.submit("header form button")
		})
	}
}

// Before a clerk starts, the page says what they do not see of their table, and of a wrong value what the class wants.
func TestBulkNotices(t *testing.T) {
	o := openOffice(t, false)
	for _, c := range class.Ready() {
		if c.AgencyID = o.agency.ID; c.ID == "e-invoice" {
			fatalIfErr(t, o.in.Classes.Put(t.Context(), c))
		}
	}
	f := excelize.NewFile()
	defer f.Close()
	rows := [][]any{{"标题", "SM3摘要", "文件大小", "发票号码", "销售方名称", "价税合计（元）", "开票日期"},
		{"甲", sm.Sum([]byte("a")).String(), "1", "12345678", "乙公司", "1.280,50", "2026-01-05 09:06:12"},
		{"丙", sm.Sum([]byte("b")).String(), "2", 2.5312e19, "乙公司", "¥1,280.5", "2026/1/5"}}
	for i, r := range rows {
		fatalIfErr(t, f.SetSheetRow("Sheet1", fmt.Sprint("A", i+1), &r))
	}
	fatalIfErr(t, f.SetRowVisible("Sheet1", 3, false))
	_, err := f.NewSheet("<b>旧")
	fatalIfErr(t, err)
	fatalIfErr(t, f.SetCellStr("<b>旧", "A1", "标题"))
	fatalIfErr(t, f.SetSheetVisible("<b>旧", false))
	var b bytes.Buffer
	fatalIfErr(t, f.Write(&b))
	clerk := o.as("clerk")
	a := clerk.sendFiles("/console/bulk", "form", map[string]string{"class": "e-invoice"}, []byte("table"), b.Bytes())
	id := jobIn(a)
	if a.status != http.StatusSeeOther || id == "" {
		t.Fatalf("%d %.600s", a.status, a.body)
	}
	o.waitBulk(o.agency.ID, id, bulk.Checked)
	page := clerk.get("/console/bulk/" + id)
	for _, want := range []string{`data-code="hidden_rows"`, "lines 3.", `data-code="hidden_sheets"`, "&lt;b&gt;旧",
		`data-code="sheet"`, "1.280,50", "two decimals, such as 1280.00",
		"the cell D3 is a number of more than 15 digits", "1280.50", "2026-01-05"} {
		if !strings.Contains(page.body, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if strings.Contains(page.body, "<b>旧") || strings.Contains(page.body, "09:06:12") {
		t.Error("the page shows what is not registered, or raw texts")
	}
}
