package storagetest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/issue/archive"
	"stele/notary/proof/prooftest"
	"stele/notary/register/intake"
	"stele/storage/sqldb"
)

// testReceiveAnyText: whatever text is allowed comes back as it was.
func testReceiveAnyText(t *testing.T, s *Site) {
	texts := []string{"tab\there", "line\nfeed\r\n", `back\slash`, `\.`, `\N`, `\x41`, "'quote'", `"quotes"`, "碑 🪨",
		" ends ", "<&>\u2028\u007f\u0001", ""}
	items := s.Items(t, len(texts))
	for i, text := range texts {
		items[i].Record.Fields = append(items[i].Record.Fields,
			notary.Field{Name: "x", Salt: []byte{0, '\\', 'x', '\n'}, Value: text}, notary.Field{Name: "erased"})
		items[i].Record.Version = text
		items[i].Record.Stored = i%2 == 0
		items[i].Entry.Signature = []byte{0, '\t', '\n', '\\', 0xff}
		items[i].Idempotency = "key " + text
	}
	for i, o := range mustReceive(t, s.DB, items...) {
		rec, err := s.DB.Log.FindRecord(t.Context(), "", items[i].Record.ID)
		fatalIfErr(t, err)
		wantRecord(t, rec, items[i].Record, freshIndex(t, o))
		p := usedKey(t, s.DB, s.Agency.ID, items[i].Idempotency)
		wantRecord(t, p.Record, items[i].Record, o.Index)
	}
}

// testReceiveAllOrNothing: an error leaves nothing of the batch, and the database goes on.
func testReceiveAllOrNothing(t *testing.T, s *Site) {
	before := s.Receive(t, 2)
	items := s.Items(t, 3)
	items[1].Record.ID = before[0].ID
	keyed(items[0], "k")
	_, err := s.DB.Log.Receive(t.Context(), items)
	if err == nil || errors.Is(err, notary.ErrUnknownOutcome) {
		t.Fatalf("got %v for a record that exists", err)
	}
	wantReceived(t, s.DB, 2)
	_, err = s.DB.Log.FindRecord(t.Context(), "", items[0].Record.ID)
	wantErr(t, err, notary.ErrNotFound)
	items[1].Record.ID = "another"
	for i, o := range mustReceive(t, s.DB, items...) {
		if freshIndex(t, o) != uint64(2+i) {
			t.Errorf("outcome %d is %+v", i, o)
		}
	}
	if out := mustReceive(t, s.DB); len(out) != 0 {
		t.Errorf("%d outcomes of nothing", len(out))
	}
	wantEvents(t, s, "record.received", 2)
}

func testReceiveCancelled(t *testing.T, s *Site) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.DB.Log.Receive(ctx, s.Items(t, 3))
	if !errors.Is(err, context.Canceled) || errors.Is(err, notary.ErrUnknownOutcome) {
		t.Errorf("got %v for a cancelled context", err)
	}
	wantReceived(t, s.DB, 0)
	s.Receive(t, 1)
}

// testReceiveMany: more keys and numbers than one query takes.
func testReceiveMany(t *testing.T, s *Site) {
	recs := s.Receive(t, 1100)
	batch := make([]*intake.Item, len(recs))
	for i, r := range recs {
		it := s.Items(t, 1)[0]
		it.Record.Supersedes = r.Number // the row is looked at, the statement is not
		batch[i] = keyed(it, fmt.Sprint("key ", i))
	}
	for _, o := range mustReceive(t, s.DB, batch...) {
		freshIndex(t, o)
	}
	for _, o := range mustReceive(t, s.DB, batch...) {
		if !o.Replay || o.Err != nil {
			t.Fatalf("got %+v, want a replay", o)
		}
	}
	wantReceived(t, s.DB, 2200)
}

func testFindRecord(t *testing.T, s *Site) {
	rec := s.Receive(t, 1)[0]
	for _, name := range []string{rec.ID, rec.Number} {
		for _, agency := range []string{"", s.Agency.ID} {
			got, err := s.DB.Log.FindRecord(t.Context(), agency, name)
			fatalIfErr(t, err)
			wantRecord(t, got, rec, rec.Index)
		}
		_, err := s.DB.Log.FindRecord(t.Context(), "other", name)
		wantErr(t, err, notary.ErrNotFound)
	}
	for _, name := range []string{"", "x", "0", "420100-2026-99999999-9", "a\x00b", "\xff", `' OR 1=1 --`, "%",
		rec.ID + " "} {
		_, err := s.DB.Log.FindRecord(t.Context(), "", name)
		wantErr(t, err, notary.ErrNotFound)
	}
}

// testListRecords compares every combination of filters with a plain loop.
func testListRecords(t *testing.T, s *Site) {
	var all []notary.Record
	for i, it := range s.Items(t, 40) {
		it.Record.Class = []string{"general", "deed", "permit"}[i%3]
		it.Record.SM3 = sm.Sum([]byte{byte(i % 4)})
		if i%7%2 == 1 {
			s.Foreign(t, it)
		}
		all = append(all, s.ReceiveItems(t, it)...)
	}
	for _, i := range []int{3, 8, 14} {
		r := s.Revocation(t, all[i], "x")
		if r.Record.AgencyID == "other" {
			s.Foreign(t, r)
		}
		s.ReceiveItems(t, r)
		all[i].Standing = notary.Revoked
	}
	for _, agency := range []string{"agency", "other", "nobody"} {
		want := 0
		for _, r := range all {
			if r.AgencyID == agency && r.Standing == notary.Revoked {
				want++
			}
		}
		if n, err := s.DB.Log.Ended(t.Context(), agency, notary.Revoked); err != nil || n != int64(want) {
			t.Errorf("%d of %s are counted as revoked, want %d: %v", n, agency, want, err)
		}
	}
	digests := []*sm.Digest{nil, &all[0].SM3, &all[1].SM3, {}}
	for _, agency := range []string{"", "agency", "other", "nobody"} {
		for _, class := range []string{"", "deed", "a\x00", "none"} {
			for _, standing := range []notary.Standing{"", notary.Valid, notary.Revoked} {
				for _, digest := range digests {
					wantList(t, s, all, archive.Filter{AgencyID: agency, Class: class, Standing: standing, SM3: digest,
						Limit: 4})
				}
			}
		}
	}
}

// wantList reads a list to its end, page by page.
func wantList(t *testing.T, s *Site, all []notary.Record, f archive.Filter) {
	t.Helper()
	var want, got []string
	for _, r := range slices.Backward(all) {
		if (f.AgencyID == "" || r.AgencyID == f.AgencyID) && (f.Class == "" || r.Class == f.Class) &&
			(f.Standing == "" || r.Standing == f.Standing) && (f.SM3 == nil || r.SM3 == *f.SM3) {
			want = append(want, r.ID)
		}
	}
	for {
		page, err := s.DB.Log.ListRecords(t.Context(), f)
		fatalIfErr(t, err)
		for _, r := range page {
			got = append(got, r.ID)
			f.Before = &r.Index
		}
		if len(page) < f.Limit {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%+v: got %q, want %q", f, got, want)
	}
}

func testExistingRecords(t *testing.T, s *Site) {
	recs := s.Receive(t, 3)
	ids := []string{recs[0].ID, recs[2].ID, recs[0].ID}
	for i := range 1200 {
		ids = append(ids, fmt.Sprint("none ", i))
	}
	got, err := s.another(t).Log.ExistingRecords(t.Context(), ids)
	fatalIfErr(t, err)
	if len(got) != 2 || !got[recs[0].ID] || !got[recs[2].ID] {
		t.Errorf("got %v", got)
	}
	if got, err := s.DB.Log.ExistingRecords(t.Context(), nil); err != nil || len(got) != 0 {
		t.Errorf("got %v, %v for no ids", got, err)
	}
}

func testKeyUse(t *testing.T, s *Site) {
	u := intake.KeyUse{ID: "u1", AgencyID: s.Agency.ID, Certificate: s.Signer.Certificate, Purpose: "statement",
		Count: 2, Statements: sm.Sum([]byte("s")), At: s.Now()}
	fatalIfErr(t, s.DB.Log.NoteKeyUse(t.Context(), u))
	if err := s.DB.Log.NoteKeyUse(t.Context(), u); err == nil {
		t.Error("an audit row was overwritten")
	}
	items := s.Items(t, 5)
	for i, use := range []string{"u1", "none", "u1", "", s.KeyUse} {
		items[i].KeyUse = use
	}
	second := s.World.NewAgency(s.Agency.Code, "second").Certificates
	fatalIfErr(t, s.DB.Log.AddCertificate(t.Context(), s.Agency.ID, sm.Digest{}, second))
	items[2].Entry.Certificate = sm.Sum(second[0]) // signed with another key than the row is about
	s.ReceiveItems(t, items...)
	for _, c := range []struct {
		first, end uint64
		want       []uint64
	}{{0, 5, []uint64{1, 2, 3}}, {2, 3, []uint64{2}}, {4, 9, nil}} {
		got, err := s.DB.Log.KeyUses(t.Context(), c.first, c.end)
		fatalIfErr(t, err)
		if !slices.Equal(got, c.want) {
			t.Errorf("%d to %d: got %d, want %d", c.first, c.end, got, c.want)
		}
	}
}

// testNumbers: no serial is handed out twice.
func testNumbers(t *testing.T, s *Site) {
	const callers, calls, size = 6, 10, 13
	dbs := []*sqldb.DB{s.DB, s.another(t)}
	var firsts [callers][calls]uint64
	errs := together(callers, func(n int) (err error) {
		for i := range calls {
			if firsts[n][i], err = dbs[n%2].Log.ReserveNumbers(t.Context(), "420100", 2026, size); err != nil {
				return err
			}
		}
		return nil
	})
	fatalIfErr(t, errors.Join(errs...))
	var all []uint64
	for _, f := range firsts {
		all = append(all, f[:]...)
	}
	slices.Sort(all)
	for i, first := range all {
		if first != uint64(i*size) {
			t.Fatalf("block %d begins with %d", i, first)
		}
	}
	for _, k := range []struct {
		region string
		year   int
	}{{"420100", 2027}, {"110000", 2026}} {
		if first, err := s.DB.Log.ReserveNumbers(t.Context(), k.region, k.year, 1); err != nil || first != 0 {
			t.Errorf("%v: got %d, %v", k, first, err)
		}
	}
}

func testAgencies(t *testing.T, s *Site) {
	b := s.World.NewAgency(prooftest.USCC("12420100MB1234567"), "甲局")
	row, _ := s.AddAgency(t, "b", b)
	for _, name := range []string{row.ID, row.Code} {
		got, err := s.DB.Log.Agency(t.Context(), name)
		fatalIfErr(t, err)
		if got != row {
			t.Errorf("got %+v, want %+v", got, row)
		}
	}
	for _, name := range []string{"", "none", "\xff", "a\x00"} {
		_, err := s.DB.Log.Agency(t.Context(), name)
		wantErr(t, err, notary.ErrNotFound)
	}
	if err := s.DB.Log.AddAgency(t.Context(), notary.Agency{ID: "c", Code: row.Code}, b.Certificates, nil); err == nil {
		t.Error("a second agency has the code of the first")
	}
	if list, err := s.DB.Log.Agencies(t.Context()); err != nil || len(list) != 2 {
		t.Errorf("got %+v, %v", list, err)
	}
	chain, err := s.DB.Log.CertificateChain(t.Context(), "b")
	fatalIfErr(t, err)
	if len(chain) != 2 || !slices.Equal(chain[0], b.Certificates[0]) || !slices.Equal(chain[1], b.Certificates[1]) {
		t.Error("the chain is another one")
	}
	_, err = s.DB.Log.CertificateChain(t.Context(), "c")
	wantErr(t, err, notary.ErrNotFound)
}

func testKeys(t *testing.T, s *Site) {
	k := notary.APIKey{ID: "k", AgencyID: s.Agency.ID, Account: "a", Digest: sm.Sum([]byte("k")), Name: "n",
		Scopes:   []notary.Scope{notary.ScopeRead, notary.ScopeKeys},
		Networks: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("2001:db8::1/128")},
		Rate:     7, Quota: 9, CreatedAt: s.Now(), ExpiresAt: s.Now().Add(time.Hour)}
	fatalIfErr(t, s.DB.People.AddKey(t.Context(), k))
	got, err := s.another(t).People.FindKey(t.Context(), "k")
	if fatalIfErr(t, err); !reflect.DeepEqual(got, k) {
		t.Errorf("got %+v, want %+v", got, k)
	}
	sooner := s.Now().Add(time.Minute)
	fatalIfErr(t, s.DB.People.EndKey(t.Context(), "k", sooner))
	wantErr(t, s.DB.People.EndKey(t.Context(), "k", sooner.Add(time.Second)), notary.ErrNotFound) // never later again
	if got, err := s.DB.People.FindKey(t.Context(), "k"); err != nil || !got.ExpiresAt.Equal(sooner) ||
		!got.InForce(s.Now()) {
		t.Errorf("got %+v, %v", got, err)
	}
	fatalIfErr(t, s.DB.People.EndKey(t.Context(), "k", s.Now()))
	wantErr(t, s.DB.People.EndKey(t.Context(), "k", s.Now()), notary.ErrNotFound)
	if list, err := s.DB.People.Keys(t.Context(), s.Agency.ID); err != nil || len(list) != 1 ||
		list[0].InForce(s.Now()) {
		t.Errorf("got %+v, %v", list, err)
	}
	for _, id := range []string{"", "x", "\xff", "\x00"} {
		_, err := s.DB.People.FindKey(t.Context(), id)
		wantErr(t, err, notary.ErrNotFound)
	}
}

func testKeyUsage(t *testing.T, s *Site) {
	fatalIfErr(t, s.DB.People.AddKey(t.Context(), notary.APIKey{ID: "k", AgencyID: s.Agency.ID, Account: "a",
		Digest: sm.Sum([]byte("k")), Scopes: notary.Scopes, CreatedAt: s.Now()}))
	at, other := s.Now().Add(time.Minute), s.another(t)
	fatalIfErr(t, s.DB.People.NoteKeys(t.Context(), map[string]time.Time{"k": at, "nobody's": at}, 20_000,
		map[string]int64{"a": 5, "b": 1 << 40}))
	fatalIfErr(t, other.People.NoteKeys(t.Context(), map[string]time.Time{"k": at.Add(-time.Second)}, 20_000,
		map[string]int64{"a": 4}))
	fatalIfErr(t, other.People.NoteKeys(t.Context(), nil, 20_000, map[string]int64{"a": -2}))
	fatalIfErr(t, other.People.NoteKeys(t.Context(), nil, 20_001, map[string]int64{"a": 1}))
	if got, err := s.DB.People.FindKey(t.Context(), "k"); err != nil || !got.UsedAt.Equal(at) {
		t.Errorf("used at %s, %v; want %s", got.UsedAt, err, at)
	}
	for _, want := range []struct {
		account string
		day     int64
		n       uint64
	}{{"a", 20_000, 7}, {"a", 20_001, 1}, {"b", 20_000, 1 << 40}, {"c", 20_000, 0}} {
		if n, err := s.DB.People.KeyRecords(t.Context(), want.account, want.day); err != nil || n != want.n {
			t.Errorf("%+v: %d, %v", want, n, err)
		}
	}
}
