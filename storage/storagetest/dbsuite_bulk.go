package storagetest

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/office/bulk"
	"stele/notary/office/review"
	"stele/notary/office/webhook"
)

// wantKept compares which objects have an owner.
func wantKept(t *testing.T, s *Site, want map[string]bool) {
	t.Helper()
	got, err := s.DB.Log.KeptObjects(t.Context(), slices.Collect(maps.Keys(want)))
	fatalIfErr(t, err)
	for key, kept := range want {
		if got[key] != kept {
			t.Errorf("%s is kept: %t, want %t", key, got[key], kept)
		}
	}
}

func bulkOf(s *Site, id, once string) (bulk.Job, []bulk.Row) {
	at := s.Now().UTC().Truncate(time.Microsecond)
	j := bulk.Job{Case: review.Case[bulk.State]{ID: id, AgencyID: s.Agency.ID, State: bulk.Uploaded, Once: once,
		Class: "general", Maker: review.Person{ID: "u1", Login: "clerk", Name: "王经办"}, CreatedAt: at, ChangedAt: at},
		Name:   "十一月.csv",
		Header: []string{"标题", "文件名"}, Files: true, Zip: "bulk/" + id + "/z.zip",
		Notices: []bulk.Notice{{Code: bulk.NoticeHiddenRows, N: 1, Lines: []int{3}},
			{Code: bulk.NoticeHiddenSheets, N: 1, Names: []string{"旧'表"}}},
		Count: map[bulk.RowState]int{bulk.Unread: 1100}}
	rows := make([]bulk.Row, 1100) // more than fit into one statement
	for i := range rows {
		rows[i] = bulk.Row{No: i + 1, Line: i + 2, State: bulk.Unread, Cells: []string{fmt.Sprintf("关于 '试行' 的通知 %d", i),
			`a"b.pdf`}}
	}
	rows[7].Problems = []bulk.Problem{{Column: "title", Code: bulk.CodeDigits, Detail: "A9"}} // which reading found
	return j, rows
}

// testBulk: a job and its rows are written together; another agency's are not there; a check counts if
// the job is as it was; results are written once; what is forgotten is gone.
func testBulk(t *testing.T, s *Site) {
	ctx, agency := t.Context(), s.Agency.ID
	j, rows := bulkOf(s, "j1", "form")
	got, err := s.DB.Office.AddBulk(ctx, j, rows)
	if err != nil || !reflect.DeepEqual(got, j) {
		t.Fatalf("got %+v\nwant %+v, %v", got, j, err)
	}
	again, _ := bulkOf(s, "j2", "form")
	if got, err := s.DB.Office.AddBulk(ctx, again, rows); err != nil || got.ID != "j1" {
		t.Error("the second job of a form:", got.ID, err)
	}
	list, err := s.DB.Office.BulkRows(ctx, bulk.RowQuery{JobID: "j1", Limit: 2000})
	if err != nil || !reflect.DeepEqual(list, rows) {
		t.Fatalf("%d rows, %v", len(list), err)
	}
	for _, id := range []string{"j2", "\x00"} {
		if _, err := s.DB.Office.FindBulk(ctx, agency, id); !errors.Is(err, notary.ErrNotFound) {
			t.Errorf("%q: %v", id, err)
		}
	}
	if _, err := s.DB.Office.FindBulk(ctx, "another", "j1"); !errors.Is(err, notary.ErrNotFound) {
		t.Error("another agency finds it:", err)
	}
	checked := got
	checked.State, checked.Version, checked.Zip, checked.Folder, checked.Second, checked.Left, checked.LeftOver =
		bulk.Checked, 1, "", "bulk/j1/f/", true, []string{"x"}, 7
	checked.Trouble = bulk.Problem{Column: "file", Code: bulk.CodeZipNames, Detail: "../x"}
	for i := range rows {
		rows[i].State, rows[i].Item = bulk.Ready, &bulk.Item{Title: "t", File: "f", SM3: sm.Sum(nil).String(), Size: 3,
			Fields: map[string]string{"a": "b"}}
	}
	rows[2].State, rows[2].Problems = bulk.Refused, []bulk.Problem{{Column: "title", Code: bulk.CodeForm}}
	fatalIfErr(t, s.DB.Office.CheckedBulk(ctx, checked, rows))
	wantCode(t, s.DB.Office.CheckedBulk(ctx, checked, nil), notary.CodeConflict)
	checked.Count = map[bulk.RowState]int{bulk.Ready: 1099, bulk.Refused: 1}
	if got, err := s.DB.Office.FindBulk(ctx, agency, "j1"); err != nil || !reflect.DeepEqual(got, checked) {
		t.Errorf("got %+v\nwant %+v, %v", got, checked, err)
	}
	if list, err := s.DB.Office.BulkRows(ctx, bulk.RowQuery{JobID: "j1", States: []bulk.RowState{bulk.Ready}, After: 1,
		Limit: 2}); err != nil || len(list) != 2 || !reflect.DeepEqual(list[1], rows[3]) {
		t.Errorf("rows %+v, %v", list, err)
	}
	testBulkChange(t, s, rows)
}

func testBulkChange(t *testing.T, s *Site, rows []bulk.Row) {
	ctx, agency := t.Context(), s.Agency.ID
	change := func(f func(j *bulk.Job)) bulk.Job {
		t.Helper()
		j, err := s.DB.Office.ChangeBulk(ctx, agency, "j1", func(j *bulk.Job) error { f(j); return nil })
		fatalIfErr(t, err)
		return j
	}
	failure := errors.New("no")
	if _, err := s.DB.Office.ChangeBulk(ctx, agency, "j1",
		func(j *bulk.Job) error { j.Remark = "x"; return failure }); !errors.Is(err, failure) {
		t.Error(err)
	}
	if j := change(func(j *bulk.Job) { j.State, j.Partial = bulk.Waiting, true }); j.Remark != "" || !j.Partial {
		t.Errorf("%+v", j)
	}
	change(func(j *bulk.Job) { j.Version++ })
	events, _, err := s.DB.Webhooks.Events(ctx,
		webhook.Query{AgencyID: agency, Kinds: []webhook.Kind{webhook.ApprovalRequested},
			Limit: 10})
	if err != nil || len(events) != 1 || events[0].Notice.Subject != "j1" || events[0].Notice.Reason != "general" {
		t.Errorf("events %+v, %v", events, err)
	}
	change(func(j *bulk.Job) { j.State = bulk.Running })
	result := slices.Clone(rows[:4])
	result[0].State, result[0].Record, result[0].Number = bulk.Settled, "r1", "n1"
	result[1].State, result[1].Problems = bulk.Failed, []bulk.Problem{{Code: bulk.CodeNotary, Detail: "why"}}
	fatalIfErr(t, s.DB.Office.SettleBulk(ctx, "j1", result)) // the third was refused, the fourth is ready still
	late := result[0]
	late.Record = "other"
	fatalIfErr(t, s.DB.Office.SettleBulk(ctx, "j1", []bulk.Row{late}))
	list, err := s.DB.Office.BulkRows(ctx, bulk.RowQuery{JobID: "j1", Limit: 4})
	fatalIfErr(t, err)
	want := slices.Clone(result)
	want[0].Cells, want[0].Item = nil, nil
	if !reflect.DeepEqual(list, want) {
		t.Errorf("got %+v\nwant %+v", list, want)
	}
	change(func(j *bulk.Job) { j.State = bulk.Done })
	if j := change(func(j *bulk.Job) { j.State = bulk.Running }); j.Count[bulk.Ready] != 1098 ||
		j.Count[bulk.Failed] != 0 || j.Count[bulk.Refused] != 1 {
		t.Errorf("tried again: %v", j.Count)
	}
	for _, c := range []struct {
		before time.Time
		want   int
	}{{time.Time{}, 1}, {s.Now().Add(time.Hour), 1}, {s.Now().Add(-time.Hour), 0}} {
		if open, err := s.DB.Office.OpenBulks(ctx, []bulk.State{bulk.Running, bulk.Uploaded}, c.before,
			5); err != nil ||
			len(open) != c.want {
			t.Errorf("open before %s: %d, %v", c.before, len(open), err)
		}
	}
	file, other := "bulk/j1/f/1", "bulk/j1/g/1"
	wantKept(t, s, map[string]bool{file: true, other: false, "bulk/none/f/1": false})
	change(func(j *bulk.Job) { j.State = bulk.Done })
	wantKept(t, s, map[string]bool{file: false, other: false}) // no row failed: nothing is tried again
	change(func(j *bulk.Job) { j.State = bulk.Checked })
	wantKept(t, s, map[string]bool{file: true, other: false})
	change(func(j *bulk.Job) { j.State, j.Forgotten = bulk.Done, true })
	if list, err := s.DB.Office.BulkRows(ctx, bulk.RowQuery{JobID: "j1", Limit: 4}); err != nil ||
		list[3].Cells != nil ||
		list[3].Item != nil || list[0].Number != "n1" {
		t.Errorf("not forgotten: %+v, %v", list, err)
	}
	wantKept(t, s, map[string]bool{file: false})
	testBulkLists(t, s)
}

func testBulkLists(t *testing.T, s *Site) {
	ctx, agency := t.Context(), s.Agency.ID
	second, rows := bulkOf(s, "j9", "other form")
	_, err := s.DB.Office.AddBulk(ctx, second, rows[:1])
	fatalIfErr(t, err)
	for _, c := range []struct {
		q    bulk.Query
		want []string
	}{{bulk.Query{Limit: 9}, []string{"j9", "j1"}}, {bulk.Query{Limit: 1}, []string{"j9"}},
		{bulk.Query{Limit: 9, Before: "j9"}, []string{"j1"}}, {bulk.Query{Limit: 9, States: []bulk.State{bulk.Done}},
			[]string{"j1"}}} {
		c.q.AgencyID = agency
		list, err := s.DB.Office.Bulks(ctx, c.q)
		fatalIfErr(t, err)
		var ids []string
		for _, j := range list {
			ids = append(ids, j.ID)
		}
		if !slices.Equal(ids, c.want) {
			t.Errorf("%+v: %v", c.q, ids)
		}
	}
	items := s.Items(t, 2)
	mustReceive(t, s.DB, items...)
	mustReceive(t, s.DB, s.Revocation(t, items[1].Record, "r"))
	digests := []sm.Digest{items[0].Record.SM3, items[1].Record.SM3, sm.Sum([]byte("none"))}
	if got, err := s.DB.Office.Registered(ctx, agency, digests); err != nil || len(got) != 1 ||
		got[digests[0]] != items[0].Record.Number {
		t.Error(got, err)
	}
	if got, err := s.DB.Office.Registered(ctx, "another", digests); err != nil || len(got) != 0 {
		t.Error(got, err)
	}
}

// testBulkRace: of those who add a job by the same form at once, all get the same one, whole.
func testBulkRace(t *testing.T, s *Site) {
	other := s.another(t)
	var wg sync.WaitGroup
	got := make([]string, 6)
	for i := range got {
		wg.Go(func() {
			db := s.DB
			if i%2 == 1 {
				db = other
			}
			j, rows := bulkOf(s, string(rune('a'+i)), "same")
			j, err := db.Office.AddBulk(t.Context(), j, rows)
			if err != nil || j.Count[bulk.Unread] != len(rows) {
				t.Error(j.Count, err)
			}
			got[i] = j.ID
		})
	}
	wg.Wait()
	if slices.Sort(got); got[0] != got[5] || got[0] == "" {
		t.Error(got)
	}
}
