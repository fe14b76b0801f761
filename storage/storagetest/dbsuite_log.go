package storagetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"stele/crypto/merkle"
	"stele/notary"
	"stele/notary/log/batchlog"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/checkpoint"
	"stele/storage/sqldb"
)

// signed is a checkpoint of any root.
func (s *Site) signed(t testing.TB, size uint64, root string) (checkpoint.Checkpoint, []byte) {
	t.Helper()
	c := checkpoint.Checkpoint{Origin: s.World.Origin(), Size: size, Root: merkle.LeafHash([]byte(root))}
	note, err := checkpoint.Sign(c, s.LogKey)
	fatalIfErr(t, err)
	return c, note
}

// advance moves the head to a checkpoint of any root.
func (s *Site) advance(t testing.TB, size uint64) checkpoint.Checkpoint {
	t.Helper()
	head, err := s.DB.Log.Head(t.Context())
	fatalIfErr(t, err)
	c, note := s.signed(t, size, "root")
	fatalIfErr(t, s.DB.Log.Advance(t.Context(), head, c, note))
	return c
}

func testInstance(t *testing.T, s *Site) {
	head, err := s.DB.Log.Head(t.Context())
	fatalIfErr(t, err)
	if head.Origin != s.World.Origin() || head.Size != 0 || head.Received != 0 || head.Root != merkle.EmptyRoot() {
		t.Errorf("the first head is %+v", head)
	}
	before, err := s.DB.Log.Instance(t.Context())
	fatalIfErr(t, err)
	if err := s.DB.Log.InitInstance(t.Context(), sqldb.Instance{ID: "another"}, head); err == nil {
		t.Error("a second instance was made in the same database")
	}
	if in, err := s.another(t).Log.Instance(t.Context()); err != nil || in != before {
		t.Errorf("got %+v, %v", in, err)
	}
	if _, err := sqldb.Init(t.Context(), s.URL, "", s.Now); err == nil {
		t.Error("a database was made anew")
	}
}

func testAdvance(t *testing.T, s *Site) {
	s.Receive(t, 5)
	head, err := s.DB.Log.Head(t.Context())
	fatalIfErr(t, err)
	c, note := s.signed(t, 3, "root")
	fatalIfErr(t, s.DB.Log.Advance(t.Context(), head, c, note))
	next, err := s.another(t).Log.Head(t.Context())
	fatalIfErr(t, err)
	if want := (batchlog.Head{Origin: c.Origin, Received: 5, Size: 3, Root: c.Root, Note: note,
		Fence: head.Fence}); fmt.Sprint(next) != fmt.Sprint(want) {
		t.Fatalf("got %v, want %v", next, want)
	}
	otherRoot := next
	otherRoot.Root = merkle.EmptyRoot()
	for name, a := range map[string]struct {
		from batchlog.Head
		size uint64
		want error
	}{
		"the head has moved":      {head, 4, batchlog.ErrLostRace},
		"the head has moved, too": {head, 3, batchlog.ErrLostRace},
		"another root":            {otherRoot, 4, batchlog.ErrLostRace},
		"more than was received":  {next, 6, batchlog.ErrLostRace},
		"back":                    {next, 2, nil},
		"nowhere":                 {next, 3, nil},
	} {
		c, note := s.signed(t, a.size, name)
		err := s.DB.Log.Advance(t.Context(), a.from, c, note)
		if err == nil || a.want != nil && !errors.Is(err, a.want) || errors.Is(err, notary.ErrUnknownOutcome) {
			t.Errorf("%s: got %v", name, err)
		}
		if now, err := s.DB.Log.Head(t.Context()); err != nil || fmt.Sprint(now) != fmt.Sprint(next) {
			t.Errorf("%s: the head has changed to %v, %v", name, now, err)
		}
	}
	if list, err := s.DB.Log.CheckpointsFrom(t.Context(), -1, 10); err != nil || len(list) != 2 {
		t.Errorf("%d checkpoints, %v", len(list), err)
	}
	wantEvents(t, s, "record.logged", 1)
	s.advance(t, 5)
	wantEvents(t, s, "record.logged", 2)
}

// testMoveChain: the present chain and the links that lead to it change together, from where they stand.
func testMoveChain(t *testing.T, s *Site) {
	before, err := s.DB.Log.Instance(t.Context())
	fatalIfErr(t, err)
	fatalIfErr(t, s.another(t).Log.MoveChain(t.Context(), before.Chain, "the second", []byte("a link")))
	if err := s.DB.Log.MoveChain(t.Context(), before.Chain, "the third", []byte("another link")); !errors.Is(err,
		sqldb.ErrChainMoved) {
		t.Errorf("moved from where it no longer is: %v", err)
	}
	fatalIfErr(t, s.DB.Log.MoveChain(t.Context(), "the second", "the third", []byte("the next link")))
	now, err := s.another(t).Log.Instance(t.Context())
	links, err2 := s.DB.Log.ChainLinks(t.Context())
	if err != nil || err2 != nil || now.ID != before.ID || now.Chain != "the third" ||
		fmt.Sprintf("%s", links) != "[a link the next link]" {
		t.Errorf("%+v, %s, %v, %v", now, links, err, err2)
	}
}

// testFence: from the moment that another key is the log's nobody advances who has not seen it.
func testFence(t *testing.T, s *Site) {
	s.Receive(t, 5)
	before, err := s.DB.Log.Head(t.Context())
	fatalIfErr(t, err)
	if f, err := s.another(t).Log.LogFence(t.Context()); err != nil || f != before.Fence || f.Key == "" ||
		f.Generation != 0 {
		t.Fatalf("the first fence is %+v, %v", f, err)
	}
	after, err := s.another(t).Log.MoveLogFence(t.Context(), before.Fence, "another key")
	if err != nil || after != (batchlog.Fence{Key: "another key", Generation: 1}) {
		t.Fatalf("%+v, %v", after, err)
	}
	if _, err := s.DB.Log.MoveLogFence(t.Context(), before.Fence, "a third key"); !errors.Is(err, batchlog.ErrFenced) {
		t.Errorf("moved from where it no longer stands: %v", err)
	}
	c, note := s.signed(t, 3, "root")
	if err := s.DB.Log.Advance(t.Context(), before, c, note); !errors.Is(err, batchlog.ErrFenced) {
		t.Errorf("advanced under a former key: %v", err)
	}
	now, err := s.DB.Log.Head(t.Context())
	if err != nil || now.Fence != after || now.Size != 0 {
		t.Errorf("%+v, %v", now, err)
	}
	fatalIfErr(t, s.DB.Log.Advance(t.Context(), now, c, note))
}

// testAdvanceRace: of many that advance the same head, on two handles, one wins.
func testAdvanceRace(t *testing.T, s *Site) {
	const racers = 8
	s.Receive(t, 40)
	dbs := []*sqldb.DB{s.DB, s.another(t)}
	for round := range 4 {
		head, err := s.DB.Log.Head(t.Context())
		fatalIfErr(t, err)
		var marks [racers]checkpoint.Checkpoint
		var notes [racers][]byte
		for n := range racers {
			marks[n], notes[n] = s.signed(t, head.Size+1+uint64(n%3), fmt.Sprint(round, n))
		}
		errs := together(racers,
			func(n int) error { return dbs[n%2].Log.Advance(t.Context(), head, marks[n], notes[n]) })
		won := wantOneWinner(t, errs, batchlog.ErrLostRace)
		now, err := s.DB.Log.Head(t.Context())
		fatalIfErr(t, err)
		if now.Size != marks[won].Size || now.Root != marks[won].Root || string(now.Note) != string(notes[won]) {
			t.Errorf("round %d: %d won with %+v, the head is %+v", round, won, marks[won], now)
		}
	}
	wantEvents(t, s, "record.logged", 4)
}

func testLease(t *testing.T, s *Site) {
	db := s.another(t)
	lease := func(db *sqldb.DB, holder string, want bool) {
		t.Helper()
		if got, err := db.Lease(t.Context(), "sequencer", holder, 10*time.Second); err != nil || got != want {
			t.Errorf("lease of %s: got %t, %v", holder, got, err)
		}
	}
	lease(s.DB, "a", true)
	lease(db, "b", false)
	lease(s.DB, "a", true) // renewed
	s.Pass(9 * time.Second)
	lease(db, "b", false)
	s.Pass(2 * time.Second)
	lease(db, "b", true)
	lease(s.DB, "a", false)
	fatalIfErr(t, s.DB.ReleaseLease(t.Context(), "sequencer", "a")) // not a's to give up
	lease(s.DB, "a", false)
	fatalIfErr(t, db.ReleaseLease(t.Context(), "sequencer", "b"))
	lease(s.DB, "a", true)
	if ok, err := db.Lease(t.Context(), "another", "b", time.Second); err != nil || !ok {
		t.Errorf("another lease: %t, %v", ok, err)
	}
}

func wantAnchored(t *testing.T, s *Site, target string, want, wantTarget uint64) {
	t.Helper()
	p, err := s.DB.Log.Progress(t.Context())
	fatalIfErr(t, err)
	st, err := s.DB.Log.AnchorState(t.Context(), target)
	fatalIfErr(t, err)
	if p.Anchored != want || st.Anchored != wantTarget {
		t.Errorf("anchored is %d, on %s %d; want %d and %d", p.Anchored, target, st.Anchored, want, wantTarget)
	}
}

func testSaveEvidence(t *testing.T, s *Site) {
	s.Receive(t, 9)
	for _, size := range []uint64{2, 4, 6} {
		s.advance(t, size)
	}
	onA := []string{"a"}
	save := func(target string, size uint64, evidence string, required []string) {
		t.Helper()
		fatalIfErr(t, s.DB.Log.SaveEvidence(t.Context(), target, size, json.RawMessage(evidence), required))
	}
	save("a", 4, `{"n":1}`, onA)
	wantAnchored(t, s, "a", 4, 4)
	save("a", 4, `{"n":2}`, onA) // at most once: the first one stays
	save("a", 2, `{"n":3}`, onA) // late: anchored never goes back
	wantAnchored(t, s, "a", 4, 4)
	save("b", 6, `{"n":4}`, onA)
	wantAnchored(t, s, "b", 4, 6)
	save("b", 4, `{"n":5}`, nil)
	save("a", 6, `{"n":6}`, onA)
	wantAnchored(t, s, "a", 6, 6)
	wantAnchored(t, s, "c", 6, 0)
	if err := s.DB.Log.SaveEvidence(t.Context(), "a", 5, json.RawMessage(`{}`), onA); err == nil {
		t.Error("evidence for a size that was never a checkpoint")
	}
	wantAnchored(t, s, "a", 6, 6)
	list, err := s.DB.Log.AnchorsFrom(t.Context(), 0, 100)
	fatalIfErr(t, err)
	var got []string
	for _, a := range list {
		got = append(got, fmt.Sprint(a.Target, a.Size, string(a.Evidence)))
	}
	if want := []string{`a2{"n":3}`, `a4{"n":1}`, `b4{"n":5}`, `a6{"n":6}`, `b6{"n":4}`}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	wantEvents(t, s, "record.anchored", 2)
}

// testRequiredChains: records are anchored when each required chain has them, in whatever
// order the chains come, and a change of the policy takes nothing back.
func testRequiredChains(t *testing.T, s *Site) {
	s.Receive(t, 9)
	for _, size := range []uint64{2, 4, 6} {
		s.advance(t, size)
	}
	both := []string{"a", "b"}
	for _, step := range []struct {
		target   string
		size     uint64
		anchored uint64
	}{{"a", 2, 0}, {"b", 4, 2}, {"c", 6, 2}, {"a", 6, 4}, {"b", 2, 4}, {"b", 6, 6}} {
		fatalIfErr(t, s.DB.Log.SaveEvidence(t.Context(), step.target, step.size, json.RawMessage(`{}`), both))
		if p, err := s.DB.Log.Progress(t.Context()); err != nil || p.Anchored != step.anchored {
			t.Errorf("after %+v: anchored %d, %v", step, p.Anchored, err)
		}
	}
	wantEvents(t, s, "record.anchored", 3)
	s.advance(t, 8)
	fatalIfErr(t, s.DB.Log.SaveEvidence(t.Context(), "a", 8, json.RawMessage(`{}`), both))
	wantAnchored(t, s, "a", 6, 8)
	fatalIfErr(t, s.DB.Log.SettleAnchored(t.Context(), []string{"a"}))
	wantAnchored(t, s, "a", 8, 8)
	fatalIfErr(t, s.DB.Log.SettleAnchored(t.Context(), both))
	fatalIfErr(t, s.DB.Log.SettleAnchored(t.Context(), []string{"d"}))
	wantAnchored(t, s, "b", 8, 6)
}

// testSaveEvidenceRace: two servers with one chain store the same evidence.
func testSaveEvidenceRace(t *testing.T, s *Site) {
	s.Receive(t, 9)
	for size := range uint64(8) {
		s.advance(t, size+1)
	}
	dbs := []*sqldb.DB{s.DB, s.another(t)}
	errs := together(8, func(n int) error {
		for _, size := range []uint64{1, uint64(n + 1), 8} {
			if err := dbs[n%2].Log.SaveEvidence(t.Context(), "a", size, json.RawMessage(`{}`),
				[]string{"a"}); err != nil {
				return err
			}
		}
		return nil
	})
	fatalIfErr(t, errors.Join(errs...))
	wantAnchored(t, s, "a", 8, 8)
}

// testMarks reads checkpoints and anchors in small pages.
func testMarks(t *testing.T, s *Site) {
	s.Receive(t, 9)
	var sizes []uint64
	for size := uint64(1); size <= 9; size += 2 {
		s.advance(t, size)
		sizes = append(sizes, size)
		for _, target := range []string{"a", "b", "c"} {
			fatalIfErr(t, s.DB.Log.SaveEvidence(t.Context(), target, size, json.RawMessage(`{}`), []string{"a"}))
		}
	}
	var got []uint64
	for after := int64(-1); ; {
		list, err := s.DB.Log.CheckpointsFrom(t.Context(), after, 2)
		fatalIfErr(t, err)
		if len(list) == 0 {
			break
		}
		for _, c := range list {
			opened, _, err := checkpoint.Open(c.Note, &s.LogKey.Verifier)
			if after = int64(c.Size); err != nil || opened.Size != c.Size || opened.Root != c.Root {
				t.Errorf("checkpoint %d: %+v, %v", c.Size, opened, err)
			}
			got = append(got, c.Size)
		}
	}
	if want := append([]uint64{0}, sizes...); !slices.Equal(got, want) {
		t.Errorf("checkpoints %d, want %d", got, want)
	}
	for _, limit := range []int{1, 2, 3, 4, 100} {
		n := 0
		for after := int64(0); ; {
			list, err := s.DB.Log.AnchorsFrom(t.Context(), after, limit)
			fatalIfErr(t, err)
			if n += len(list); len(list) < limit {
				break
			}
			after = int64(list[len(list)-1].Size)
		}
		if n != 3*len(sizes) {
			t.Errorf("%d anchors in pages of %d, want %d", n, limit, 3*len(sizes))
		}
	}
	for size, want := range map[uint64]uint64{0: 0, 1: 1, 2: 3, 9: 9} {
		if c, note, err := s.DB.Log.CheckpointAt(t.Context(), size); err != nil || c.Size != want || len(note) == 0 {
			t.Errorf("checkpoint at %d: %+v, %v", size, c, err)
		}
	}
	_, _, err := s.DB.Log.CheckpointAt(t.Context(), 10)
	wantErr(t, err, notary.ErrNotFound)
}

func testEvidence(t *testing.T, s *Site) {
	items := s.Items(t, 7)
	s.ReceiveItems(t, items...)
	for _, size := range []uint64{2, 4, 6} {
		s.advance(t, size)
	}
	fatalIfErr(t, s.DB.Log.SaveEvidence(t.Context(), "b", 6, json.RawMessage(`{"b":6}`), nil))
	s.Pass(time.Second)
	fatalIfErr(t, s.DB.Log.SaveEvidence(t.Context(), "a", 6, json.RawMessage(`{"a":6}`), []string{"a"}))
	fatalIfErr(t, s.DB.Log.SaveEvidence(t.Context(), "a", 2, json.RawMessage(`{"a":2}`), []string{"a"}))
	for i, want := range []string{`2[{"a":2}]+6{"b":6}`, `2[{"a":2}]+6{"b":6}`, `6[{"b":6} {"a":6}]`,
		`6[{"b":6} {"a":6}]`, `6[{"b":6} {"a":6}]`, `6[{"b":6} {"a":6}]`, ""} {
		st, err := s.DB.Log.Evidence(t.Context(), uint64(i), 0)
		fatalIfErr(t, err)
		if string(st.Entry.Encode()) != string(items[i].Entry.Encode()) || len(st.Certificates) != 2 {
			t.Errorf("entry %d is another one", i)
		}
		got := ""
		if a := st.Anchored; a != nil {
			got = fmt.Sprintf("%d%s", a.Size, a.Anchors)
			for _, l := range a.Later {
				got += fmt.Sprintf("+%d%s", l.Size, l.Evidence)
			}
			if c, _, err := checkpoint.Open(a.Note, &s.LogKey.Verifier); err != nil || c.Size != a.Size {
				t.Errorf("entry %d: the note is of size %d, %v", i, c.Size, err)
			}
		}
		if got != want {
			t.Errorf("entry %d: anchored %s, want %s", i, got, want)
		}
	}
	// The chain that proves itself says which checkpoint it is, however early others were.
	s.advance(t, 7)
	fatalIfErr(t, s.DB.Log.SaveEvidence(t.Context(), anchorproof.Kind, 7, json.RawMessage(`{"e":7}`), nil))
	st, err := s.DB.Log.Evidence(t.Context(), 0, 0)
	if err != nil || st.Anchored.Size != 7 || len(st.Anchored.Anchors) != 1 || len(st.Anchored.Later) != 0 {
		t.Errorf("%+v, %v", st.Anchored, err)
	}
	_, err = s.DB.Log.Evidence(t.Context(), 7, 0)
	wantErr(t, err, notary.ErrNotFound)
}

// testEntries: what is missing or damaged is never passed over.
func testEntries(t *testing.T, s *Site) {
	s.Receive(t, 9)
	for _, c := range []struct{ first, end, want uint64 }{{0, 9, 9}, {3, 5, 2}, {8, 20, 1}, {9, 20, 0}, {4, 4, 0}} {
		if list, err := s.DB.Log.Entries(t.Context(), c.first, c.end); err != nil || uint64(len(list)) != c.want {
			t.Errorf("%+v: %d entries, %v", c, len(list), err)
		}
	}
	raw := Raw(t, s.URL)
	MustExec(t, raw, 1, `DELETE FROM entries WHERE idx = 5`)
	if list, err := s.DB.Log.Entries(t.Context(), 3, 9); err != nil || len(list) != 2 {
		t.Errorf("over a gap: %d entries, %v", len(list), err)
	}
	MustExec(t, raw, 1, `UPDATE entries SET certificate = $1 WHERE idx = 4`, []byte{1})
	_, err := s.DB.Log.Entries(t.Context(), 3, 9)
	if damaged := new(batchlog.DamagedEntryError); !errors.As(err, &damaged) || damaged.Index != 4 {
		t.Errorf("got %v for a damaged row", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.DB.Log.Entries(ctx, 0, 3); err == nil {
		t.Error("a cancelled context gave entries")
	}
}
