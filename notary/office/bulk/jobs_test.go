package bulk_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/office/bulk"
	"stele/notary/office/review"
	"stele/notary/register/class"
	"stele/notary/register/intake"
	"stele/storage/sqldb"
	"stele/storage/storagetest"
)

// BenchmarkTenThousand takes a full table of digests the whole way; it prints what each step takes.
func BenchmarkTenThousand(b *testing.B) {
	for b.Loop() {
		o := newOffice(b)
		stop := o.serve(o.jobs)
		at := time.Now()
		lap := func(what string) { b.ReportMetric(time.Since(at).Seconds(), what); at = time.Now() }
		j := o.add("general", "f", digests(0, 10_000))
		lap("s-taken")
		j = o.wait(j.ID, bulk.Checked)
		lap("s-checked")
		o.start(j, false)
		o.once(o.wait(j.ID, bulk.Done))
		lap("s-notarized")
		stop()
	}
}

// A table of digests, larger than what is notarized at a time: taken, checked, started, done; and one that
// says something again.
func TestDigests(t *testing.T) {
	const n = 600
	o := newOffice(t)
	o.serve(o.jobs)
	j := o.wait(o.add("general", "f", digests(0, n)).ID, bulk.Checked)
	if j.Count[bulk.Ready] != n {
		t.Fatal(j.Count)
	}
	o.start(j, false)
	o.once(o.wait(j.ID, bulk.Done))
	again := o.wait(o.add("general", "g", digests(n-1, 2)).ID, bulk.Checked)
	if got := problems(o.rows(again)); len(got) != 1 || got["2sm3"] != bulk.CodeRegistered {
		t.Errorf("registered already: %v", got)
	}
	if _, err := o.jobs.Start(t.Context(), review.Step{AgencyID: o.Agency.ID, ID: again.ID, By: maker,
		Seen: again.Version}, false); notary.CodeOf(
		err) != notary.CodeInvalid {
		t.Error("a job with errors starts:", err)
	}
	done := o.wait(o.start(again, true).ID, bulk.Done)
	if done.Count[bulk.Settled] != 1 || done.Count[bulk.Refused] != 1 || done.Forgotten {
		t.Errorf("%+v", done)
	}
}

// anyAge has a sweep take objects however young: their times are the machine's, not the site's.
const anyAge = 1000 * 24 * time.Hour

// cellFaults are ways to spoil one cell of a good row of an invoice.
var cellFaults = []struct {
	column int
	name   string
	values []string
	code   bulk.Code
}{
	{0, "title", []string{""}, bulk.CodeMissing}, {0, "title", []string{"a\u2028b", strings.Repeat("长", 101)},
		bulk.CodeForm}, {0, "title", bulk.ExampleTitles, bulk.CodeExample},
	{1, "sm3", []string{""}, bulk.CodeMissing}, {1, "sm3", []string{"12", strings.Repeat("g", 64)}, bulk.CodeDigest},
	{2, "size", []string{"-1", "x", "1.5"}, bulk.CodeSize}, {2, "size", []string{""}, bulk.CodeMissing},
	{3, "invoiceNumber", []string{"1234", "abcdefgh"}, "pattern"}, {3, "invoiceNumber", []string{""}, bulk.CodeMissing},
	{4, "amount", []string{"1280.505", "1.234,00", "1,28", "$1280.00"}, "pattern"},
	{5, "issuedOn", []string{"yesterday", "2026-02-30", "2026/13/1"}, "format"},
	{6, "mediaType", []string{"pdf", "a b/c"}, bulk.CodeMediaType},
	{7, "supersedes", []string{"420100-2026-00000000-1"}, bulk.CodeNumber},
	{8, "reference", []string{strings.Repeat("r", 129)}, bulk.CodeForm},
}

// The check names exactly the cells that are wrong, whatever else is in the table.
func TestCheckNamesTheCells(t *testing.T) {
	o := newOffice(t)
	o.serve(o.jobs)
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		table := [][]string{{"Title", "sm3", "Size (bytes)", "发票号码", "价税合计(元)", "开票日期", "文件类型", "替换的存证编号", "文号",
			"销售方名称"}}
		want := map[string]bulk.Code{}
		rows := rapid.IntRange(1, 12).Draw(rt, "rows")
		for i := range rows {
			day := rapid.SampledFrom([]string{"2026-11-22", "2026/11/2", "2026年11月22日"}).Draw(rt, "day")
			cells := []string{fmt.Sprint("发票 ", i), sm.Sum(fmt.Append(nil, n, i)).String(), "1,024",
				fmt.Sprint(12345678 + i), "1280.00", day, "application/PDF", "", "", "销售 公司"}
			for _, k := range rapid.SliceOfNDistinct(rapid.IntRange(0, len(cellFaults)-1), 0, 4, rapid.ID[int]).Draw(rt,
				"faults") {
				f := cellFaults[k]
				if _, spoiled := want[fmt.Sprint(i+2, f.name)]; spoiled {
					continue
				}
				cells[f.column] = rapid.SampledFrom(f.values).Draw(rt, f.name)
				want[fmt.Sprint(i+2, f.name)] = f.code
			}
			if i > 0 && want[fmt.Sprint(i+2, "sm3")] == "" && table[i][1] != "" &&
				rapid.IntRange(0, 5).Draw(rt, "same") == 0 {
				cells[1] = table[i][1]
				want[fmt.Sprint(i+2, "sm3")] = bulk.CodeSame
				if want[fmt.Sprint(i+1, "sm3")] == bulk.CodeDigest {
					want[fmt.Sprint(i+2, "sm3")] = bulk.CodeDigest
				}
			}
			table = append(table, cells)
		}
		j := o.wait(o.add("e-invoice", fmt.Sprint("form", n), tableOf(table...)).ID, bulk.Checked)
		if got := problems(o.rows(j)); !maps.Equal(got, want) {
			rt.Fatalf("got %v\nwant %v in\n%s", got, want, tableOf(table...))
		}
	})
}

// A table with a zip: what is wrong with the files is said row by row; the others are notarized
// with a second person's name, their documents kept, and nothing is left of the job's files.
func TestFiles(t *testing.T) {
	o := newOffice(t)
	o.scans.Store(0) // the scanner is down at first: nothing is taken that was not looked at
	stop := o.serve(o.jobs)
	ctx, agency := t.Context(), o.Agency.ID
	old, err := o.classes.Find(ctx, agency, "e-invoice")
	fatalIfErr(t, err)
	old.Approval, old.ID, old.Schema, old.Print = true, "paper", class.Ready()[0].Schema, nil
	fatalIfErr(t, o.classes.Put(ctx, old))
	j := o.add("paper", "f", tableOf([]string{"标题", "文件名", "部门"}[:2], []string{"一", "一.pdf"}, []string{"二", "子/二.txt"},
		[]string{"三", "none.pdf"}, []string{"四", "large.bin"}, []string{"五", "same.txt"}, []string{"六", "bad.txt"}))
	if j.State != bulk.Gathering {
		t.Fatal(j.State)
	}
	if again := o.add("paper", "f", digests(0, 1)); again.ID != j.ID {
		t.Error("a form that came twice made two jobs")
	}
	put := func(data []byte) bulk.Job {
		t.Helper()
		_, err := o.jobs.AddFiles(ctx, review.Step{AgencyID: agency, ID: j.ID, By: maker}, bytes.NewReader(data))
		fatalIfErr(t, err)
		return o.wait(j.ID, bulk.Checked)
	}
	if _, err := o.jobs.AddFiles(ctx, review.Step{AgencyID: agency, ID: j.ID, By: checker},
		strings.NewReader("x")); notary.CodeOf(
		err) != notary.CodeForbidden {
		t.Error("somebody else's files:", err)
	}
	for code, data := range map[bulk.Code][]byte{bulk.CodeNoZip: []byte("no zip"),
		bulk.CodeZipNames: zipOf(t, entry{name: "../../x"}),
		bulk.CodeZipTooLarge: zipOf(t, entry{name: "一.pdf", zeros: 1 << 20}, entry{name: "子/二.txt", zeros: 1 << 20},
			entry{name: "large.bin", zeros: 1 << 20}, entry{name: "same.txt", zeros: 1 << 19})} {
		t.Run(string(code), func(t *testing.T) {
			if bad := put(data); bad.Trouble.Code != code {
				t.Errorf("%+v, want %s", bad.Trouble, code)
			} else if _, err := o.jobs.Start(ctx, review.Step{AgencyID: agency, ID: j.ID, By: maker, Seen: bad.Version},
				true); notary.CodeOf(
				err) != notary.CodeConflict {
				t.Error("it starts all the same:", err)
			}
		})
	}
	good := put(zipOf(t, entry{name: "一.pdf", text: "%PDF-1"}, entry{name: "子/二.txt", text: "two", gbk: true},
		entry{name: "large.bin", zeros: 1<<20 + 1}, entry{name: "same.txt", text: "two"},
		entry{name: "bad.txt", text: "malware"}, entry{name: "left.txt", text: "l"}))
	want := map[string]bulk.Code{"4file": bulk.CodeNoFile, "5file": bulk.CodeFileTooLarge, "6file": bulk.CodeSame,
		"7file": bulk.CodeMalware}
	if got := problems(o.rows(good)); !maps.Equal(got, want) || good.LeftOver != 1 || good.Left[0] != "left.txt" ||
		good.Trouble.Code != "" {
		t.Errorf("%v %v %+v", got, good.Left, good.Trouble)
	}
	body, _, err := o.jobs.Open(ctx, good, 2)
	fatalIfErr(t, err)
	if text, err := io.ReadAll(body); err != nil || string(text) != "two" {
		t.Errorf("the approver sees %q, %v", text, err)
	}
	body.Close()
	o.approve(good)
	done := o.wait(j.ID, bulk.Done)
	if done.Count[bulk.Settled] != 2 || done.Count[bulk.Refused] != 4 {
		t.Error(done.Count)
	}
	rec, err := o.DB.Log.FindRecord(ctx, agency, o.rows(done)[1].Number)
	fatalIfErr(t, err)
	said := map[string]string{}
	for _, f := range rec.Fields {
		said[f.Name] = f.Value
	}
	if said["originClerk"] != maker.Name || said["originApprover"] != checker.Name || said["originMethod"] != "bulk" ||
		said["fileName"] != "二.txt" || !rec.Stored || rec.SM3 != sm.Sum([]byte("two")) {
		t.Errorf("%v %+v", said, rec)
	}
	o.nothingLeft()
	stop()
}

// A file that is not of the type that its row states is named with what it is, at the check.
func TestFilesOfAnotherType(t *testing.T) {
	o := newOffice(t)
	defer o.serve(o.jobs)()
	j := o.add("general", "f", tableOf([]string{"标题", "文件名", "文件类型"},
		[]string{"一", "one.pdf", "image/png"}, []string{"二", "two.pdf", "application/pdf"},
		[]string{"三", "three.pdf", ""}, []string{"四", "four.pdf", "text/plain"}))
	long := "%PDF-1.7\n" + strings.Repeat("x", 10_000)
	files := zipOf(t, entry{name: "one.pdf", text: "%PDF-1"}, entry{name: "two.pdf", text: "%PDF-2"},
		entry{name: "three.pdf", text: "%PDF-3"}, entry{name: "four.pdf", text: long})
	_, err := o.jobs.AddFiles(t.Context(), review.Step{AgencyID: o.Agency.ID, ID: j.ID, By: maker},
		bytes.NewReader(files))
	fatalIfErr(t, err)
	checked := o.wait(j.ID, bulk.Checked)
	want := map[string]bulk.Code{"2mediaType": bulk.CodeOtherType, "5mediaType": bulk.CodeOtherType}
	if got := problems(o.rows(checked)); !maps.Equal(got, want) {
		t.Errorf("%v", got)
	}
	if p := o.rows(checked)[0].Problems; len(p) != 1 || p[0].Detail != "application/pdf" {
		t.Errorf("%+v", p)
	}
	if left := o.left(); len(left) != 2 { // the two good ones
		t.Errorf("there lie %v", left)
	}
	done := o.wait(o.start(checked, true).ID, bulk.Done)
	if done.Count[bulk.Settled] != 2 || done.Count[bulk.Refused] != 2 {
		t.Errorf("%+v", done.Count)
	}
}

// approve goes the way of a job that a second person must agree to.
func (o *office) approve(j bulk.Job) {
	o.t.Helper()
	ctx, agency := context.Background(), o.Agency.ID
	waiting := o.start(j, true)
	if _, err := o.jobs.Start(ctx, review.Step{AgencyID: agency, ID: j.ID, By: maker, Seen: j.Version},
		true); notary.CodeOf(err) != notary.CodeConflict {
		o.t.Error("started twice:", err)
	}
	if _, err := o.jobs.Approve(ctx, review.Step{AgencyID: agency, ID: j.ID, By: maker,
		Seen: waiting.Version}); notary.CodeOf(err) != notary.CodeForbidden {
		o.t.Error("approved by the maker:", err)
	}
	if _, err := o.jobs.Approve(ctx, review.Step{AgencyID: agency, ID: j.ID, By: checker,
		Seen: waiting.Version - 1}); notary.CodeOf(
		err) != notary.CodeConflict {
		o.t.Error("approved unseen:", err)
	}
	back, err := o.jobs.Return(ctx, review.Step{AgencyID: agency, ID: j.ID, By: checker, Seen: waiting.Version}, "标题不全")
	if err != nil || back.State != bulk.Checked || back.Remark == "" {
		o.t.Fatal(back, err)
	}
	waiting = o.start(back, true)
	if waiting, err = o.jobs.Recall(ctx, review.Step{AgencyID: agency, ID: j.ID, By: maker,
		Seen: waiting.Version}); err != nil ||
		waiting.State != bulk.Checked {
		o.t.Fatal(waiting, err)
	}
	waiting = o.start(waiting, true)
	_, err = o.jobs.Approve(ctx, review.Step{AgencyID: agency, ID: j.ID, By: checker, Seen: waiting.Version})
	fatalIfErr(o.t, err)
}

// noLease lets every server work: nothing but the stores keeps them from doing things twice.
type noLease struct{ *sqldb.DB }

func (noLease) Lease(context.Context, string, string, time.Duration) (bool, error) { return true, nil }

// Two servers at one job, stores that fail with and without effect, and servers that end in the
// middle: one record for each row.
func TestOnce(t *testing.T) {
	for _, files := range []bool{false, true} {
		t.Run(fmt.Sprint("files ", files), func(t *testing.T) {
			o := newOffice(t)
			table, entries := [][]string{{"title", "file"}}, []entry{}
			for i := range 30 {
				name := fmt.Sprint(i, ".txt")
				table, entries = append(table, []string{name, name}), append(entries, entry{name: name, text: name})
			}
			var j bulk.Job
			if files {
				j = o.add("general", "f", tableOf(table...))
				_, err := o.jobs.AddFiles(t.Context(), review.Step{AgencyID: o.Agency.ID, ID: j.ID, By: maker},
					bytes.NewReader(zipOf(t, entries...)))
				fatalIfErr(t, err)
			} else {
				j = o.add("general", "f", digests(0, 700))
			}
			servers := []*bulk.Jobs{o.server(noLease{o.DB}), o.server(noLease{o.DB})}
			stops := []func(){o.serve(servers[0]), o.serve(servers[1])}
			o.start(o.wait(j.ID, bulk.Checked), false)
			o.db.Inject(storagetest.Fault{Op: storagetest.OpReceive, Call: 2, Mode: storagetest.FailPersisted})
			o.db.Inject(storagetest.Fault{Op: storagetest.OpReceive, Call: 3, Mode: storagetest.Fail})
			o.objects.Inject(storagetest.Fault{Op: storagetest.OpOpen, Prefix: "doc/", Call: 5,
				Mode: storagetest.Fail})
			for _, s := range servers {
				s.Wake()
			}
			for _, stop := range stops { // in the middle, or wherever they are
				stop()
			}
			o.db.Heal()
			o.objects.Heal()
			stop := o.serve(o.server(noLease{o.DB}))
			o.once(o.wait(j.ID, bulk.Done))
			stop()
			if o.sweep(); len(o.left()) > 0 { // a server that stopped right after the job was done left them
				t.Errorf("files are left: %v", o.left())
			}
		})
	}
}

// What fails for good is said, can be tried again alone, and what nobody comes back for goes.
func TestRetryAndSweep(t *testing.T) {
	o := newOffice(t)
	o.serve(o.jobs)
	ctx, agency := t.Context(), o.Agency.ID
	first := o.wait(o.start(o.wait(o.add("general", "a", digests(0, 1)).ID, bulk.Checked), false).ID, bulk.Done)
	number := o.rows(first)[0].Number
	table := tableOf([]string{"title", "file", "replaces", "reason"}, []string{"新", "a.txt", number, "印错了"},
		[]string{"另", "b.txt", "", ""})
	j := o.add("general", "b", table)
	_, err := o.jobs.AddFiles(ctx, review.Step{AgencyID: agency, ID: j.ID, By: maker},
		bytes.NewReader(zipOf(t, entry{name: "a.txt", text: "a"}, entry{name: "b.txt", text: "b"})))
	fatalIfErr(t, err)
	checked := o.wait(j.ID, bulk.Checked)
	if len(problems(o.rows(checked))) != 0 {
		t.Fatal(problems(o.rows(checked)))
	}
	// Between check and start somebody withdraws what the first row replaces.
	if _, err := o.in.Revoke(ctx, intake.Ref{AgencyID: agency, Record: number}, intake.Reason{Text: "错误"},
		intake.Here); err != nil {
		t.Fatal(err)
	}
	done := o.wait(o.start(checked, false).ID, bulk.Done)
	if got := problems(o.rows(done)); len(got) != 1 || done.Count[bulk.Failed] != 1 || done.Count[bulk.Settled] != 1 ||
		done.Forgotten {
		t.Fatal(got, done.Count)
	}
	orphan := "bulk/none/x.zip"
	_, err = o.Objects.Create(ctx, orphan, strings.NewReader("x"), 1)
	fatalIfErr(t, err)
	if n := o.sweep(); n != 1 || len(o.left()) != 1 {
		t.Errorf("swept %d; left %v", n, o.left())
	}
	again, err := o.jobs.Retry(ctx, review.Step{AgencyID: agency, ID: j.ID, By: maker, Seen: done.Version})
	fatalIfErr(t, err)
	if again.Count[bulk.Ready] != 1 {
		t.Error(again.Count)
	}
	done = o.wait(j.ID, bulk.Done)
	if done.Count[bulk.Failed] != 1 {
		t.Error(done.Count)
	}
	stale := o.add("general", "c", table)
	o.Pass(31 * 24 * time.Hour)
	o.sweep()
	if got := o.wait(stale.ID, bulk.Dropped); !got.Forgotten {
		t.Error("a job that nobody moved is kept")
	}
	if got := o.wait(j.ID, bulk.Done); !got.Forgotten || o.rows(got)[0].Cells != nil || len(o.left()) != 0 {
		t.Errorf("what nobody came back for is kept: %+v %v", got, o.left())
	}
	if _, err := o.jobs.Retry(ctx, review.Step{AgencyID: agency, ID: j.ID, By: maker,
		Seen: done.Version}); notary.CodeOf(err) != notary.CodeConflict {
		t.Error("tried again without its files:", err)
	}
}

// A class that comes to want a second person after a job was started gets one: nothing slips through.
func TestClassChanges(t *testing.T) {
	o := newOffice(t)
	ctx, agency := t.Context(), o.Agency.ID
	stop := o.serve(o.jobs)
	checked := o.wait(o.add("general", "a", digests(0, 2)).ID, bulk.Checked)
	late := o.wait(o.add("general", "b", digests(5, 2)).ID, bulk.Checked)
	stop()
	running := o.start(checked, false)
	c, err := o.classes.Find(ctx, agency, "general")
	fatalIfErr(t, err)
	c.AgencyID, c.Approval = agency, true
	fatalIfErr(t, o.classes.Put(ctx, c))
	o.serve(o.jobs)
	done := o.wait(running.ID, bulk.Done)
	if done.Count[bulk.Failed] != 2 {
		t.Errorf("notarized without a second person: %v", done.Count)
	}
	if _, err := o.jobs.Retry(ctx, review.Step{AgencyID: agency, ID: done.ID, By: maker,
		Seen: done.Version}); notary.CodeOf(err) != notary.CodeConflict {
		t.Error("tried again without a second person:", err)
	}
	if got := o.start(late, false); got.State != bulk.Waiting {
		t.Error("started without a second person:", got.State)
	}
	if dropped, err := o.jobs.Drop(ctx, review.Step{AgencyID: agency, ID: late.ID, By: maker,
		Seen: late.Version + 1}); err != nil ||
		dropped.State != bulk.Dropped || o.rows(dropped)[0].Cells != nil {
		t.Error(dropped.State, err)
	}
}
