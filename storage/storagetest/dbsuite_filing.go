package storagetest

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/office/filing"
	"stele/notary/office/review"
	"stele/notary/office/webhook"
	"stele/notary/register/class"
	"stele/notary/register/upload"
)

// testClasses: a version holds from its time until the next one, of its own agency only.
func testClasses(t *testing.T, s *Site) {
	ctx, agency := t.Context(), s.Agency.ID
	at := time.Date(2026, 11, 1, 8, 0, 0, 0, time.UTC)
	c := class.Ready()[1]
	c.AgencyID, c.From = agency, at
	fatalIfErr(t, s.DB.Office.AddClass(ctx, c))
	second := c
	second.Approval, second.From = !c.Approval, at.Add(time.Hour)
	fatalIfErr(t, s.DB.Office.AddClass(ctx, second))
	wantCode(t, s.DB.Office.AddClass(ctx, second), notary.CodeConflict)
	earlier := c
	earlier.From = at.Add(time.Minute)
	wantCode(t, s.DB.Office.AddClass(ctx, earlier), notary.CodeConflict)
	for when, want := range map[time.Time][]class.Class{at.Add(-time.Microsecond): nil, at: {c},
		at.Add(time.Hour - time.Microsecond): {c}, at.Add(time.Hour): {second}} {
		got, err := s.DB.Office.Classes(ctx, agency, when)
		fatalIfErr(t, err)
		if len(got) != len(want) || len(got) == 1 && (got[0].Approval != want[0].Approval ||
			!got[0].From.Equal(want[0].From) || got[0].Name != c.Name || got[0].AgencyID != agency) {
			t.Errorf("at %s: %+v", when, got)
		}
	}
	if got, err := s.DB.Office.Classes(ctx, "another", at.Add(time.Hour)); err != nil || len(got) != 0 {
		t.Errorf("another agency has %d classes, %v", len(got), err)
	}
}

func paperOf(s *Site, id, once string) filing.Paper {
	at := s.Now().UTC().Truncate(time.Microsecond)
	return filing.Paper{Case: review.Case[filing.State]{ID: id, AgencyID: s.Agency.ID, Once: once, State: filing.Draft,
		Class: "general", Maker: review.Person{ID: "u1", Login: "clerk", Name: "王经办"}, CreatedAt: at, ChangedAt: at},
		Kind: filing.Issue, Title: "关于 '试行' 的通知", FileName: "a.pdf", MediaType: "application/pdf",
		Reference: "7号", Fields: map[string]string{"a": "甲", "b": "\"乙\""}, Supersedes: "", Reason: "r",
		File: filing.File{Key: "filing/" + id, SM3: sm.Sum([]byte(id)), Size: 7}}
}

// testPapers: a paper ends its upload and is one for each; what is changed is written whole or
// not at all; another agency's are not there; who waits is told to the agency, once.
func testPapers(t *testing.T, s *Site) {
	ctx, agency := t.Context(), s.Agency.ID
	fatalIfErr(t,
		s.DB.Log.AddUpload(ctx, upload.Upload{ID: "u", AgencyID: agency, Size: 7, ExpiresAt: s.Now().Add(time.Hour)},
			nil, 10))
	p := paperOf(s, "p1", "upload/u")
	got, err := s.DB.Office.AddPaper(ctx, p, "u")
	fatalIfErr(t, err)
	if !reflect.DeepEqual(got, p) {
		t.Errorf("got %+v\nwant %+v", got, p)
	}
	if _, err := s.DB.Log.FindUpload(ctx, agency, "u"); !errors.Is(err, notary.ErrNotFound) {
		t.Error("the upload is still there:", err)
	}
	if got, err := s.DB.Office.AddPaper(ctx, paperOf(s, "p2", "upload/u"), "u"); err != nil || got.ID != "p1" {
		t.Error("the second paper of an upload:", got.ID, err)
	}
	if _, err := s.DB.Office.AddPaper(ctx, paperOf(s, "p3", "upload/gone"), "gone"); !errors.Is(err,
		notary.ErrNotFound) {
		t.Error("a paper of an upload that is gone:", err)
	}
	if got, err := s.DB.Office.FindPaper(ctx, agency, "p1"); err != nil || !reflect.DeepEqual(got, p) {
		t.Errorf("found %+v, %v", got, err)
	}
	for _, id := range []string{"p3", "\x00", "p2"} {
		if _, err := s.DB.Office.FindPaper(ctx, agency, id); !errors.Is(err, notary.ErrNotFound) {
			t.Errorf("%q: %v", id, err)
		}
	}
	if _, err := s.DB.Office.FindPaper(ctx, "another", "p1"); !errors.Is(err, notary.ErrNotFound) {
		t.Error("another agency finds it:", err)
	}

	failure := errors.New("no")
	if _, err := s.DB.Office.ChangePaper(ctx, agency, "p1",
		func(p *filing.Paper) error { p.Title = "x"; return failure }); !errors.Is(err, failure) {
		t.Error(err)
	}
	changed, err := s.DB.Office.ChangePaper(ctx, agency, "p1", func(p *filing.Paper) error {
		if p.Title == "x" {
			t.Error("a change that failed was written")
		}
		p.State, p.Version, p.Title, p.Fields, p.Supersedes, p.Reason, p.Class = filing.Waiting, 1, "新",
			map[string]string{"c": "d"}, "n", "why", "e-invoice"
		p.Marked, p.Marks, p.Number, p.Code = filing.File{Key: "k", SM3: sm.Sum(nil), Size: 3},
			json.RawMessage(`{"x":1}`), "no", "co"
		p.Checker, p.Remark, p.SubmittedAt, p.ChangedAt = review.Person{ID: "u2", Login: "l", Name: "n"}, "r",
			p.CreatedAt.Add(time.Second), p.CreatedAt.Add(2*time.Second)
		return nil
	})
	fatalIfErr(t, err)
	if got, err := s.DB.Office.FindPaper(ctx, agency, "p1"); err != nil || !reflect.DeepEqual(got, changed) ||
		got.Title != "新" {
		t.Errorf("got %+v\nwant %+v, %v", got, changed, err)
	}
	_, err = s.DB.Office.ChangePaper(ctx, agency, "p1", func(p *filing.Paper) error { p.Version++; return nil })
	fatalIfErr(t, err)
	events, _, err := s.DB.Webhooks.Events(ctx,
		webhook.Query{AgencyID: agency, Kinds: []webhook.Kind{webhook.ApprovalRequested},
			Limit: 10})
	if err != nil || len(events) != 1 || events[0].Notice.Subject != "p1" || events[0].Notice.Reason != "e-invoice" {
		t.Errorf("events %+v, %v", events, err)
	}
	if _, err := s.DB.Office.ChangePaper(ctx, "another", "p1", func(*filing.Paper) error { return nil }); !errors.Is(
		err,
		notary.ErrNotFound) {
		t.Error(err)
	}
	testPaperLists(t, s)
}

func testPaperLists(t *testing.T, s *Site) {
	ctx, agency := t.Context(), s.Agency.ID
	second := paperOf(s, "p9", "withdraw/1")
	second.Maker.ID, second.State = "u9", filing.Approved
	_, err := s.DB.Office.AddPaper(ctx, second, "")
	fatalIfErr(t, err)
	ids := func(q filing.Query) (out []string) {
		q.AgencyID, q.Limit = agency, max(q.Limit, 1)
		list, err := s.DB.Office.Papers(ctx, q)
		fatalIfErr(t, err)
		for _, p := range list {
			out = append(out, p.ID)
		}
		return out
	}
	for _, c := range []struct {
		q    filing.Query
		want []string
	}{
		{filing.Query{Limit: 9}, []string{"p9", "p1"}}, {filing.Query{}, []string{"p9"}},
		{filing.Query{Limit: 9, Before: "p9"}, []string{"p1"}},
		{filing.Query{Limit: 9, MakerID: "u9"}, []string{"p9"}},
		{filing.Query{Limit: 9, States: []filing.State{filing.Waiting, filing.Draft}}, []string{"p1"}},
	} {
		if got := ids(c.q); !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v, want %v", c.q, got, c.want)
		}
	}
	n, err := s.DB.Office.CountPapers(ctx, agency)
	if err != nil || len(n) != 2 || n[filing.Waiting] != 1 || n[filing.Approved] != 1 {
		t.Error(n, err)
	}
	if list, err := s.DB.Office.ApprovedPapers(ctx, 5); err != nil || len(list) != 1 || list[0].ID != "p9" {
		t.Error(list, err)
	}
	_, err = s.DB.Office.ChangePaper(ctx, agency, "p9",
		func(p *filing.Paper) error { p.State = filing.Filed; return nil })
	fatalIfErr(t, err)
	wantKept(t, s, map[string]bool{"filing/p1": true, "k": true, "filing/p9": false, "filing/none": false})
}

// testPaperRace: of those who make a paper of the same thing at once, all get the same one.
func testPaperRace(t *testing.T, s *Site) {
	other := s.another(t)
	var wg sync.WaitGroup
	got := make([]string, 8)
	for i := range got {
		wg.Go(func() {
			db := s.DB
			if i%2 == 1 {
				db = other
			}
			p, err := db.Office.AddPaper(t.Context(), paperOf(s, string(rune('a'+i)), "withdraw/same"), "")
			if err != nil {
				t.Error(err)
			}
			got[i] = p.ID
		})
	}
	wg.Wait()
	if slices.Sort(got); got[0] != got[7] || got[0] == "" {
		t.Error(got)
	}
}
