package bulk_test

import (
	"bytes"
	"context"
	"maps"
	"reflect"
	"testing"

	"stele/notary"
	"stele/notary/office/bulk"
	"stele/notary/office/review"
)

// A clerk who leaves while a table is read ends the reading, and nothing is saved.
func TestClerkLeaves(t *testing.T) {
	o := newOffice(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := o.jobs.Add(ctx, o.Agency.ID, maker, "general", "t.csv", digests(0, 2), "f"); notary.CodeOf(
		err) == notary.CodeInternal {
		t.Error(err)
	}
	if list, err := o.jobs.List(t.Context(), bulk.Query{AgencyID: o.Agency.ID, Limit: 9}); err != nil ||
		len(list) != 0 {
		t.Errorf("%d jobs, %v", len(list), err)
	}
}

// What reading found wrong with a cell stays wrong whenever the job is checked, and what there is to know stays with
// it.
func TestReadingStays(t *testing.T) {
	o := newOffice(t)
	o.serve(o.jobs)
	sheet := sheetOf("", textRow(1, "", "标题", "文件名", "业务编号")+`<row r="2" hidden="1"><c `+
		`t="inlineStr"><is><t>甲</t></is></c><c t="inlineStr"><is><t>a</t></is></c><c><v>2.5312E+19</v></c></row>`+
		textRow(3, "", "乙", "b"), "")
	j := o.add("general", "f", book(t, []string{sheet}))
	want := []bulk.Notice{{Code: bulk.NoticeHiddenRows, N: 1, Lines: []int{2}}}
	for range 2 {
		_, err := o.jobs.AddFiles(t.Context(), review.Step{AgencyID: o.Agency.ID, ID: j.ID, By: maker},
			bytes.NewReader(zipOf(t, entry{name: "a", text: "a"}, entry{name: "b", text: "b"})))
		fatalIfErr(t, err)
		j = o.wait(j.ID, bulk.Checked)
		if got := problems(o.rows(j)); !maps.Equal(got, map[string]bulk.Code{"2reference": bulk.CodeDigits}) ||
			!reflect.DeepEqual(j.Notices, want) {
			t.Errorf("%v, %+v", got, j.Notices)
		}
	}
	if done := o.wait(o.start(j, true).ID, bulk.Done); done.Count[bulk.Settled] != 1 || done.Count[bulk.Refused] != 1 {
		t.Errorf("%+v", done.Count)
	}
}
