package storagetest

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/issue/archive"
	"stele/notary/proof/statement"
	"stele/notary/register/erasure"
	"stele/notary/register/intake"
)

// personal makes an item whose attributes are those of a person.
func (s *Site) personal(t *testing.T, fields ...string) *intake.Item {
	t.Helper()
	rec := s.Items(t, 1)[0].Record
	rec.Reference, rec.Fields = "案号-"+fields[1], nil
	for i := 0; i < len(fields); i += 2 {
		salt := sm.Sum([]byte(rec.ID + fields[i]))
		rec.Fields = append(rec.Fields, notary.Field{Name: fields[i], Salt: salt[:statement.SaltSize],
			Value: fields[i+1]})
	}
	slices.SortFunc(rec.Fields, func(a, b notary.Field) int { return strings.Compare(a.Name, b.Name) })
	it := s.Sign(t, rec, statement.Statement{Action: statement.Issue})
	return &it
}

// everything is all that a database's tables hold, as text.
func everything(t *testing.T, db *sqlx.DB, postgres bool) string {
	t.Helper()
	q := `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'`
	if postgres {
		q = `SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()`
	}
	var tables []string
	fatalIfErr(t, db.SelectContext(t.Context(), &tables, q))
	var b strings.Builder
	for _, table := range tables {
		rows, err := db.QueryxContext(t.Context(), `SELECT * FROM `+table)
		fatalIfErr(t, err)
		for rows.Next() {
			values, err := rows.SliceScan()
			fatalIfErr(t, err)
			for _, v := range values {
				if raw, ok := v.([]byte); ok {
					v = string(raw)
				}
				fmt.Fprintln(&b, v)
			}
		}
		fatalIfErr(t, rows.Err())
	}
	return b.String()
}

// testErase: what is erased is nowhere any more, in no row and, of SQLite, in no byte of its
// files; the rest stays, and the checks pass.
func testErase(t *testing.T, s *Site) {
	item := keyed(s.personal(t, "applicant", "欧阳娜娜甲", "idCard", "42010019900101123X", "title", "婚姻登记审查表甲"), "key")
	item.Record.Stored, item.Record.Size = true, 8
	again := s.Sign(t, item.Record, statement.Statement{Action: statement.Issue})
	again.Idempotency, again.RequestHash = "key", item.RequestHash
	rec := s.ReceiveItems(t, &again)[0]
	_, err := s.Objects.Create(t.Context(), notary.DocumentKey(rec.ID), strings.NewReader("document"), 8)
	fatalIfErr(t, err)
	// Rows around it that grow, so that rows move between pages, and leave copies behind.
	for i := range 60 {
		other := s.ReceiveItems(t, s.personal(t, "note", strings.Repeat("附注", 100+i)))[0]
		s.ReceiveItems(t, s.Revocation(t, other, strings.Repeat("理由", 40)))
	}
	s.ReceiveItems(t, s.Revocation(t, rec, strings.Repeat("登记有误", 50)))
	prepared := intake.Prepared{ID: "p", Item: again, ExpiresAt: s.Now().Add(time.Hour)}
	fatalIfErr(t, s.DB.Log.AddPrepared(t.Context(), prepared))
	raw := Raw(t, s.URL)
	MustExec(t, raw, 1, `INSERT INTO deliveries (endpoint_id, event_id, kind, record_idx, at, status, attempts, `+
		`due_at, holder, created_at, finished_at) VALUES ('e', 'v', 'record.logged', $1, 0, 'delivered', 1, 0, `+
		`'', 0, 0)`, int64(rec.Index))
	MustExec(t, raw, 1, `INSERT INTO delivery_attempts (endpoint_id, event_id, at, took, status, answer, error) `+
		`VALUES ('e', 'v', 0, 0, 200, $1, '')`, []byte("thanks for 欧阳娜娜甲"))
	objects := NewFaulty(s.Objects)
	e := erasure.New(s.DB.Log, objects, nil, s.Now, Discard)

	for name, q := range map[string]erasure.Request{"no reason": {All: true}, "nothing": {Reason: "依申请"},
		"no such attribute": {Names: []string{"x"}, Reason: "依申请"}, "another agency's": {AgencyID: "other", All: true,
			Reason: "依申请"}} {
		if q.AgencyID == "" {
			q.AgencyID = "agency"
		}
		q.Record = rec.Number
		if _, err := e.Erase(t.Context(), q); err == nil {
			t.Errorf("%s: erased", name)
		}
	}
	res, err := e.Erase(t.Context(), erasure.Request{AgencyID: "agency", Record: rec.Number, Names: []string{"idCard"},
		Reason: "依当事人申请", By: "admin"})
	fatalIfErr(t, err)
	if !res.Record.Stored || res.Record.Reference == "" || !slices.Equal(erasure.Names(res.Record),
		[]string{"idCard"}) {
		t.Errorf("one attribute was to be erased: %+v", res.Record)
	}
	if got := everything(t, raw, strings.HasPrefix(s.URL, "postgres")); strings.Contains(got, "42010019900101123X") ||
		!strings.Contains(got, "婚姻登记审查表甲") {
		t.Error("the chosen attribute is there, or another is not")
	}
	objects.Inject(Fault{Op: OpDelete, Mode: Fail, Err: notary.ErrObjectRetained}) // object lock
	res, err = e.Erase(t.Context(), erasure.Request{AgencyID: "agency", Record: rec.ID, All: true, Document: true,
		Reason: "依当事人申请", By: "admin"})
	fatalIfErr(t, err)
	if !res.Retained || res.Record.Stored {
		t.Errorf("an original that must be kept: %+v", res)
	}
	objects.Heal()
	if res, err = e.Erase(t.Context(), erasure.Request{AgencyID: "agency", Record: rec.ID, All: true, Document: true,
		Reason: "依当事人申请", By: "admin"}); err != nil || res.Retained {
		t.Errorf("repeated: %v", err)
	}
	if _, _, err := s.Objects.Open(t.Context(), notary.DocumentKey(rec.ID), ""); !errors.Is(err,
		notary.ErrObjectNotFound) {
		t.Errorf("the original is there: %v", err)
	}
	all, err := e.Of(t.Context(), rec)
	fatalIfErr(t, err)
	if len(all) != 2 || all[1].By != "admin" || !all[1].Document || len(all[1].Names) != 2 ||
		all[1].Reason != "依当事人申请" {
		t.Errorf("erasures: %+v", all)
	}
	found, err := s.DB.Log.ListRecords(t.Context(), archive.Filter{AgencyID: "agency", Text: "欧阳", Limit: 10})
	if err != nil || len(found) != 0 {
		t.Errorf("found by what was erased: %v, %v", found, err)
	}
	if out := mustReceive(t, s.DB, as(s.Items(t, 1)[0], item)); out[0].Err == nil || out[0].Replay {
		t.Errorf("the key makes another record, or stands for what could be guessed: %+v", out[0])
	}
	if kept, err := s.DB.Log.KeptBytes(t.Context(), "agency"); err != nil || kept != 0 {
		t.Errorf("%d bytes are kept, %v", kept, err)
	}
	for _, secret := range []string{"欧阳娜娜甲", "42010019900101123X", "婚姻登记审查表甲", item.RequestHash.String(),
		base64.StdEncoding.EncodeToString(rec.Fields[0].Salt)} {
		if strings.Contains(everything(t, raw, strings.HasPrefix(s.URL, "postgres")), secret) {
			t.Errorf("%q is still in a table", secret)
		}
	}
	if path, ok := strings.CutPrefix(s.URL, "sqlite:"); ok {
		for _, name := range []string{path, path + "-wal"} {
			data, err := os.ReadFile(name)
			fatalIfErr(t, err)
			for _, secret := range [][]byte{[]byte("欧阳娜娜甲"), []byte("42010019900101123X"), []byte("婚姻登记审查表甲"),
				item.RequestHash[:], []byte(base64.StdEncoding.EncodeToString(rec.Fields[0].Salt))} {
				if bytes.Contains(data, secret) {
					t.Errorf("%q is still in %s", secret, name[len(path)-8:])
				}
			}
		}
	}
	s.Sequence(t)
	s.WantClean(t)
	// An original whose deletion broke off is taken by the sweep; one that is there is not.
	kept := s.ReceiveItems(t, s.Items(t, 1)...)[0]
	exist, err := s.DB.Log.ExistingRecords(t.Context(), []string{rec.ID, kept.ID})
	fatalIfErr(t, err)
	if exist[rec.ID] || !exist[kept.ID] {
		t.Errorf("the sweep would be told %v", exist)
	}
}

// testSearch: parts of texts are found in any width and case, in the order of lists, page by
// page, and nothing else.
func testSearch(t *testing.T, s *Site) {
	titles := []string{"关于公布2026年《办公时间》的通知", "关于（2026）办公 时间", "Notice of Opening Hours", "ＮＯＴＩＣＥ　甲", `引号"和\反斜线<b>&`,
		"百分之100%_完成", "title", "salt"}
	var items []*intake.Item
	for i, title := range titles {
		items = append(items, s.personal(t, "title", title, "fileName", fmt.Sprintf("第%d号.pdf", i), "originSystem",
			[]string{"窗口系统", "zhang.san"}[i%2], "applicant", "李四"))
	}
	s.ReceiveItems(t, items...)
	find := func(f archive.Filter) []string {
		t.Helper()
		f.AgencyID, f.Limit = "agency", 3
		got := []string{}
		for {
			page, err := s.DB.Log.ListRecords(t.Context(), f)
			fatalIfErr(t, err)
			for _, r := range page {
				for _, x := range r.Fields {
					if x.Name == "title" {
						got = append([]string{x.Value}, got...)
					}
				}
			}
			if len(page) < f.Limit {
				return got
			}
			f.Before = &page[len(page)-1].Index
		}
	}
	for text, want := range map[string][]int{"办公": {0, 1}, "办公时间": {0}, "(2026)": {1}, "（２０２６）": {1}, "2026年": {0},
		"NOTICE": {2, 3}, "notice": {2, 3}, "opening hours": {2}, `"和\`: {4}, "<b>&": {4},
		"100%_": {5}, "100%x": {}, "第3号": {3}, "李四": {0, 1, 2, 3, 4, 5, 6, 7}, "窗口": {}, "applicant": {}, "title": {6},
		"案号-百分": {5}, "'": {}, "%": {5}, "_": {5}} {
		var expected []string
		for _, i := range want {
			expected = append(expected, titles[i])
		}
		if got := find(archive.Filter{Text: text}); !slices.Equal(got, expected) {
			t.Errorf("%q: %q, want %q", text, got, expected)
		}
	}
	if got := find(archive.Filter{Person: "Zhang"}); len(got) != 4 || got[0] != titles[1] {
		t.Errorf("by person: %q", got)
	}
	if got := find(archive.Filter{Person: "窗口", Text: "办公"}); !slices.Equal(got, titles[:1]) {
		t.Errorf("by person and text: %q", got)
	}
	tally, err := s.DB.Log.Tally(t.Context(), archive.Filter{AgencyID: "agency", Text: "notice"}, 100)
	if err != nil || tally.States[notary.Received] != 2 || tally.Standings[notary.Valid] != 2 || tally.More {
		t.Errorf("counted %+v, %v", tally, err)
	}
	tally, err = s.DB.Log.Tally(t.Context(), archive.Filter{AgencyID: "agency"}, 5)
	if err != nil || !tally.More {
		t.Errorf("counted %+v, %v", tally, err)
	}
	days, err := s.DB.Log.Days(t.Context(), "agency", s.World.Now, 3)
	if err != nil || days[2] != int64(len(titles)) || days[0] != 0 {
		t.Errorf("days: %v, %v", days, err)
	}
	for _, c := range []struct {
		name, query string
		want        error
	}{{"a", "q=1", nil}, {"b", "q=2", nil}, {"a", "q=3", nil}, {"c", "q=4", archive.ErrTooMany}} {
		if c.name == "a" && c.query == "q=1" {
			s.addUser(t, "u1", "agency", "zhang")
		}
		wantErr(t, s.DB.Office.SaveSearch(t.Context(), "u1", archive.Search{Name: c.name, Query: c.query}, 2), c.want)
	}
	fatalIfErr(t, s.DB.Office.DeleteSearch(t.Context(), "u1", "b"))
	if l, err := s.DB.Office.Searches(t.Context(), "u1"); err != nil || len(l) != 1 || l[0].Query != "q=3" {
		t.Errorf("saved: %+v, %v", l, err)
	}
}
