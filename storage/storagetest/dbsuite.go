package storagetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"stele/notary"
	"stele/notary/proof/statement"
	"stele/notary/register/intake"
	"stele/storage/sqldb"
)

// TestDatabase checks that a database keeps the promises that the domain packages state
// where they declare their interfaces. fresh returns the URL of a new, empty database.
func TestDatabase(t *testing.T, fresh func(t testing.TB) (url string)) {
	for name, test := range map[string]func(t *testing.T, s *Site){
		"ReceiveOrder": testReceiveOrder, "ReceiveIdempotent": testReceiveIdempotent,
		"ReceiveIdempotentRace": testReceiveIdempotentRace,
		"ReceiveStandings":      testReceiveStandings, "ReceiveStandingRace": testReceiveStandingRace,
		"ReceiveAnyText":      testReceiveAnyText,
		"ReceiveAllOrNothing": testReceiveAllOrNothing, "ReceiveCancelled": testReceiveCancelled,
		"ReceiveMany": testReceiveMany,
		"FindRecord":  testFindRecord, "ListRecords": testListRecords, "ExistingRecords": testExistingRecords,
		"Evidence": testEvidence,
		"KeyUse":   testKeyUse, "Numbers": testNumbers, "Agencies": testAgencies, "AgencyEnds": testAgencyEnds,
		"Seals": testSeals, "SealBook": testSealBook, "Keys": testKeys, "KeyUsage": testKeyUsage, "Claims": testClaims,
		"Prepared": testPrepared,
		"Instance": testInstance, "Advance": testAdvance, "AdvanceRace": testAdvanceRace, "Fence": testFence,
		"MoveChain": testMoveChain, "Lease": testLease, "SaveEvidence": testSaveEvidence,
		"SaveEvidenceRace": testSaveEvidenceRace, "RequiredChains": testRequiredChains, "Marks": testMarks,
		"Entries": testEntries, "AgencyEntries": testAgencyEntries,
		"WebhookEndpoints": testWebhookEndpoints, "WebhookFanOut": testWebhookFanOut, "WebhookClaim": testWebhookClaim,
		"WebhookShare": testWebhookShare,
		"Uploads":      testUploads, "UploadLease": testUploadLease, "UploadRecord": testUploadRecord,
		"UploadLimit":   testUploadLimit,
		"WebhookReplay": testWebhookReplay, "WebhookDisabled": testWebhookDisabled, "WebhookBounds": testWebhookBounds,
		"CertificateExpiring": testCertificateExpiring,
		"Classes":             testClasses, "Papers": testPapers, "PaperRace": testPaperRace, "Bulk": testBulk,
		"BulkRace": testBulkRace,
		"Users":    testUsers, "Sessions": testSessions, "Trail": testTrail, "TrailSealed": testTrailSealed,
		"TrailOfSuspended": testTrailOfSuspended, "TrailTampered": testTrailTampered, "Erase": testErase,
		"Search":      testSearch,
		"Invitations": testInvitations, "Passkeys": testPasskeys, "Identities": testIdentities,
		"Attempts": testAttempts,
	} {
		t.Run(name, func(t *testing.T) { test(t, NewSiteOn(t, fresh(t), NewDir(t))) })
	}
}

// another returns a second handle on the site's database.
func (s *Site) another(t testing.TB) *sqldb.DB { return OpenDatabase(t, s.URL, s.Now) }

func mustReceive(t *testing.T, db *sqldb.DB, items ...*intake.Item) []intake.Outcome {
	t.Helper()
	out, err := db.Log.Receive(t.Context(), items)
	fatalIfErr(t, err)
	if len(out) != len(items) {
		t.Fatalf("%d outcomes for %d items", len(out), len(items))
	}
	return out
}

// freshIndex returns the index of an item that must have been accepted as new.
func freshIndex(t *testing.T, o intake.Outcome) uint64 {
	t.Helper()
	if o.Err != nil || o.Replay {
		t.Fatalf("got %+v, want a new record", o)
	}
	return o.Index
}

func wantCode(t *testing.T, err error, want notary.Code) {
	t.Helper()
	if err == nil || notary.CodeOf(err) != want {
		t.Errorf("got %v, want an error with the code %s", err, want)
	}
}

func wantReceived(t *testing.T, db *sqldb.DB, want uint64) {
	t.Helper()
	p, err := db.Log.Progress(t.Context())
	fatalIfErr(t, err)
	entries, err := db.Log.Entries(t.Context(), 0, want+1)
	fatalIfErr(t, err)
	if p.Received != want || len(entries) != int(want) {
		t.Errorf("received is %d with %d entries, want %d", p.Received, len(entries), want)
	}
}

// testReceiveOrder: indexes are gapless, unique and in commit order: who sees that n were
// received sees all n entries. Callers are on two handles.
func testReceiveOrder(t *testing.T, s *Site) {
	const callers, batches, size = 6, 8, 7
	dbs := []*sqldb.DB{s.DB, s.another(t)}
	work := make([][]*intake.Item, callers*batches)
	for i := range work {
		work[i] = s.Items(t, size)
	}
	ctx, stop := context.WithCancel(t.Context())
	watched := make(chan error, 1)
	go func() { watched <- watchReceived(ctx, s.another(t)) }()
	got := make([]*intake.Item, callers*batches*size)
	errs := together(callers, func(n int) error {
		for b := range batches {
			batch := work[n*batches+b]
			out, err := dbs[n%2].Log.Receive(t.Context(), batch)
			if err != nil {
				return err
			}
			for i, o := range out {
				if o.Err != nil || o.Replay || o.Index != out[0].Index+uint64(i) || got[o.Index] != nil {
					return fmt.Errorf("outcome %d is %+v, the first %+v, there already: %t", i, o, out[0],
						got[o.Index] != nil)
				}
				got[o.Index] = batch[i]
			}
		}
		return nil
	})
	stop()
	fatalIfErr(t, errors.Join(append(errs, <-watched)...))
	entries, err := s.DB.Log.Entries(t.Context(), 0, uint64(len(got)))
	fatalIfErr(t, err)
	for i, it := range got {
		if it == nil || string(entries[i].Encode()) != string(it.Entry.Encode()) {
			t.Fatalf("entry %d is not the one that got this index", i)
		}
		rec, err := s.DB.Log.FindRecord(t.Context(), "", it.Record.Number)
		fatalIfErr(t, err)
		wantRecord(t, rec, it.Record, uint64(i))
	}
	wantReceived(t, s.DB, uint64(len(got)))
	wantEvents(t, s, "record.received", len(work))
}

// watchReceived looks at the log from outside while it grows.
func watchReceived(ctx context.Context, db *sqldb.DB) error {
	for ctx.Err() == nil {
		p, err := db.Log.Progress(context.WithoutCancel(ctx))
		if err != nil {
			return err
		}
		entries, err := db.Log.Entries(context.WithoutCancel(ctx), 0, p.Received)
		if err != nil || uint64(len(entries)) != p.Received {
			return fmt.Errorf("%d received, %d entries to be seen, %w", p.Received, len(entries), err)
		}
	}
	return nil
}

// wantRecord compares what was stored with what was handed in.
func wantRecord(t *testing.T, got, in notary.Record, index uint64) {
	t.Helper()
	in.Index = index
	if fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", in) {
		t.Fatalf("got  %#v\nwant %#v", got, in)
	}
}

// wantEvents checks that events are numbered without gaps and cover the entries without gaps.
func wantEvents(t *testing.T, s *Site, kind string, n int) {
	t.Helper()
	var rows []struct {
		ID    int64  `db:"id"`
		Kind  string `db:"kind"`
		First int64  `db:"first_idx"`
		Last  int64  `db:"last_idx"`
	}
	fatalIfErr(t, Raw(t, s.URL).SelectContext(t.Context(), &rows,
		`SELECT id, kind, first_idx, last_idx FROM outbox ORDER BY id`))
	next, count := int64(0), 0
	for i, r := range rows {
		if r.ID != int64(i) {
			t.Errorf("event %d has the number %d", i, r.ID)
		}
		if r.Kind != kind {
			continue
		}
		if r.First != next || r.Last < r.First {
			t.Errorf("event %d says %s for %d to %d, want it to begin with %d", i, r.Kind, r.First, r.Last, next)
		}
		next = r.Last + 1
		count++
	}
	if count != n {
		t.Errorf("%d events %s, want %d", count, kind, n)
	}
}

// keyed gives an item an idempotency key.
func keyed(it *intake.Item, key string) *intake.Item {
	it.Idempotency = key
	return it
}

// as makes the item a repetition of another: the same request with fresh number and salts.
func as(it, first *intake.Item) *intake.Item {
	it.Idempotency, it.RequestHash = first.Idempotency, first.RequestHash
	return it
}

func testReceiveIdempotent(t *testing.T, s *Site) {
	items := s.Items(t, 8)
	first := keyed(items[0], "a")
	out := mustReceive(t, s.DB, first, as(items[1], first), keyed(items[2], "a"), keyed(items[3], "b"))
	index := freshIndex(t, out[0])
	wantReplay := func(o intake.Outcome) {
		t.Helper()
		if o.Err != nil || !o.Replay {
			t.Fatalf("got %+v, want a replay", o)
		}
		wantRecord(t, o.Record, first.Record, index)
	}
	wantReplay(out[1]) // in the same batch
	wantCode(t, out[2].Err, notary.CodeIdempotency)
	if b := freshIndex(t, out[3]); b != index+1 {
		t.Errorf("the next new record has index %d", b)
	}
	for _, db := range []*sqldb.DB{s.DB, s.another(t)} { // in another batch, on another handle
		out := mustReceive(t, db, as(items[4], first), keyed(items[5], "a"))
		wantReplay(out[0])
		wantCode(t, out[1].Err, notary.CodeIdempotency)
		p := usedKey(t, db, s.Agency.ID, "a")
		if p.RequestHash != first.RequestHash {
			t.Error("the key stands for another request")
		}
		wantRecord(t, p.Record, first.Record, index)
	}
	other := keyed(items[6], "a") // another agency's keys are its own
	s.Foreign(t, other)
	freshIndex(t, mustReceive(t, s.DB, other)[0])
	used, err := s.DB.Log.FindIdempotent(t.Context(), s.Agency.ID, "a", "b", "c", "a") // two of three, once each
	if err != nil || len(used) != 2 {
		t.Errorf("the keys were used for %v: %v", used, err)
	}
	wantRecord(t, used["a"].Record, first.Record, index)
	wantRecord(t, used["b"].Record, items[3].Record, index+1)
	if none, err := s.DB.Log.FindIdempotent(t.Context(), s.Agency.ID); err != nil || len(none) != 0 {
		t.Errorf("no keys were used for %v: %v", none, err)
	}
	wantReceived(t, s.DB, 3)
}

// usedKey is what a key was used for.
func usedKey(t *testing.T, db *sqldb.DB, agencyID, key string) intake.Prior {
	t.Helper()
	used, err := db.Log.FindIdempotent(t.Context(), agencyID, key)
	fatalIfErr(t, err)
	p, ok := used[key]
	if !ok {
		t.Fatalf("the key %q was not used", key)
	}
	return p
}

// testReceiveIdempotentRace: of one request sent many times at once there is one record.
func testReceiveIdempotentRace(t *testing.T, s *Site) {
	const senders = 8
	dbs := []*sqldb.DB{s.DB, s.another(t)}
	items := s.Items(t, senders)
	outcomes := make([]intake.Outcome, senders)
	for _, it := range items {
		as(it, keyed(items[0], "a"))
	}
	errs := together(senders, func(n int) error {
		out, err := dbs[n%2].Log.Receive(t.Context(), items[n:n+1])
		if err == nil {
			outcomes[n] = out[0]
		}
		return err
	})
	fatalIfErr(t, errors.Join(errs...))
	winner := slices.IndexFunc(outcomes, func(o intake.Outcome) bool { return !o.Replay })
	for n, o := range outcomes {
		if o.Err != nil || o.Replay == (n == winner) {
			t.Errorf("sender %d: %+v", n, o)
		} else if o.Replay {
			wantRecord(t, o.Record, items[winner].Record, 0)
		}
	}
	wantReceived(t, s.DB, 1)
}

func testReceiveStandings(t *testing.T, s *Site) {
	recs := s.Receive(t, 5)
	foreign := s.Items(t, 1)[0]
	s.Foreign(t, foreign)
	s.ReceiveItems(t, foreign)
	missing := s.Items(t, 1)[0].Record
	out := mustReceive(t, s.DB,
		keyed(s.Revocation(t, recs[0], "reason"), "revoke 0"), // accepted
		s.Revocation(t, recs[0], "again"),                     // in the same batch: too late
		s.Replacement(t, recs[0]),
		s.Replacement(t, recs[1]), // accepted
		s.Replacement(t, recs[1]),
		s.Revocation(t, missing, "x"),
		s.Replacement(t, missing),
		s.Revocation(t, foreignTo(foreign.Record), "x"),
		s.Replacement(t, foreign.Record),
		keyed(s.Revocation(t, foreignTo(foreign.Record), "x"), "burnt?"))
	if freshIndex(t, out[0]) != 6 || freshIndex(t, out[3]) != 7 {
		t.Errorf("got %+v and %+v", out[0], out[3])
	}
	for i, want := range map[int]notary.Code{1: notary.CodeConflict, 2: notary.CodeConflict, 4: notary.CodeConflict,
		5: notary.CodeNotFound,
		6: notary.CodeInvalid, 7: notary.CodeNotFound, 8: notary.CodeInvalid, 9: notary.CodeNotFound} {
		wantCode(t, out[i].Err, want)
	}
	wantReceived(t, s.DB, 8)
	// A refusal leaves nothing, not even its key.
	freshIndex(t, mustReceive(t, s.DB, keyed(s.Items(t, 1)[0], "burnt?"))[0])
	wantCode(t, mustReceive(t, s.another(t), s.Revocation(t, recs[0], "x"))[0].Err, notary.CodeConflict)
	wantCode(t, mustReceive(t, s.another(t), s.Replacement(t, recs[1]))[0].Err, notary.CodeConflict)

	revoked, err := s.DB.Log.FindRecord(t.Context(), "", recs[0].ID)
	fatalIfErr(t, err)
	if revoked.Standing != notary.Revoked || revoked.StandingIndex != 6 || revoked.Reason != "reason" ||
		revoked.StandingAt.IsZero() || revoked.StandingBy != "" {
		t.Errorf("revoked: %+v", revoked)
	}
	used, err := s.DB.Log.FindIdempotent(t.Context(), s.Agency.ID, "revoke 0")
	p := used["revoke 0"]
	fatalIfErr(t, err)
	wantRecord(t, p.Record, revoked, revoked.Index)
	replaced, err := s.DB.Log.FindRecord(t.Context(), "", recs[1].ID)
	fatalIfErr(t, err)
	by, err := s.DB.Log.FindRecord(t.Context(), "", replaced.StandingBy)
	fatalIfErr(t, err)
	if replaced.Standing != notary.Superseded || replaced.StandingIndex != 7 || by.Index != 7 ||
		by.Supersedes != recs[1].Number || replaced.Reason != "a better copy" || by.Reason != "" ||
		!by.IssuedAt.Equal(replaced.StandingAt) {
		t.Errorf("replaced: %+v by %+v", replaced, by)
	}
	// What replaced a record can be withdrawn, and what was withdrawn stays so.
	freshIndex(t, mustReceive(t, s.DB, s.Revocation(t, by, "x"))[0])
}

// foreignTo is the record as an attacker of the first agency would name it.
func foreignTo(r notary.Record) notary.Record {
	r.AgencyID = "agency"
	return r
}

// testReceiveStandingRace: of many that withdraw or replace one record, one wins.
func testReceiveStandingRace(t *testing.T, s *Site) {
	rec := s.Receive(t, 1)[0]
	dbs := []*sqldb.DB{s.DB, s.another(t)}
	items := make([]*intake.Item, 8)
	for i := range items {
		if items[i] = s.Revocation(t, rec, fmt.Sprint("reason ", i)); i%3 == 0 {
			items[i] = s.Replacement(t, rec)
		}
	}
	outcomes := make([]intake.Outcome, len(items))
	errs := together(len(items), func(n int) error {
		out, err := dbs[n%2].Log.Receive(t.Context(), items[n:n+1])
		if err == nil {
			outcomes[n] = out[0]
		}
		return err
	})
	fatalIfErr(t, errors.Join(errs...))
	winners := 0
	for n, o := range outcomes {
		if o.Err != nil {
			wantCode(t, o.Err, notary.CodeConflict)
			continue
		}
		winners++
		got, err := s.DB.Log.FindRecord(t.Context(), "", rec.ID)
		fatalIfErr(t, err)
		if want := items[n]; got.StandingIndex != 1 || want.Action == statement.Revoke &&
			got.Reason != want.Record.Reason || want.Action == statement.Issue && got.StandingBy != want.Record.Number {
			t.Errorf("winner is %d, the row says %+v", n, got)
		}
	}
	if winners != 1 {
		t.Errorf("%d winners", winners)
	}
	wantReceived(t, s.DB, 2)
}
