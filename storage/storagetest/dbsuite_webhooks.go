package storagetest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"stele/notary"
	"stele/notary/office/webhook"
	"stele/notary/proof/prooftest"
	"stele/storage/sqldb"
)

// AddEndpoint adds a webhook endpoint of the site's agency, below its rules. The secret is none.
func (s *Site) AddEndpoint(t testing.TB, id string, settings webhook.Settings) webhook.Endpoint {
	t.Helper()
	return s.AddEndpointOf(t, s.Agency.ID, id, settings)
}

// AddEndpointOf is [Site.AddEndpoint] for another agency.
func (s *Site) AddEndpointOf(t testing.TB, agencyID, id string, settings webhook.Settings) webhook.Endpoint {
	t.Helper()
	if len(settings.Kinds) == 0 {
		settings.Kinds = webhook.Kinds
	}
	e := webhook.Endpoint{ID: id, AgencyID: agencyID, Settings: settings, Secret: []byte("sealed"),
		Health: webhook.Health{State: webhook.Enabled}, CreatedAt: s.Now()}
	fatalIfErr(t, s.DB.Webhooks.AddEndpoint(t.Context(), e, 1000))
	return e
}

// FanOut makes deliveries until there is nothing more to make.
func (s *Site) FanOut(t testing.TB) {
	t.Helper()
	for more := true; more; {
		var err error
		_, more, err = s.DB.Webhooks.FanOut(t.Context())
		fatalIfErr(t, err)
	}
}

// room for any number of deliveries.
func anyRoom(string, bool) int { return 1000 }

func (s *Site) claim(t testing.TB, db *sqldb.DB, holder string) []webhook.Claim {
	t.Helper()
	claims, err := db.Webhooks.Claim(t.Context(), holder, s.Now().Add(30*time.Second), anyRoom)
	fatalIfErr(t, err)
	return claims
}

func (s *Site) finish(t testing.TB, holder string, step webhook.Step, claims ...webhook.Claim) {
	t.Helper()
	var out []webhook.Outcome
	for _, c := range claims {
		o := webhook.Outcome{EndpointID: c.Endpoint.ID, EventID: c.Event.ID, Event: c.Event.Kind, Step: step,
			Attempt: webhook.Attempt{At: s.Now(), Took: time.Millisecond, Status: 200, Answer: []byte("ok")}}
		if step == webhook.Retry {
			o.Attempt.Status, o.DueAt = 500, s.Now().Add(time.Hour)
		}
		out = append(out, o)
	}
	fatalIfErr(t, s.DB.Webhooks.Finish(t.Context(), holder, out))
}

// told is what a claim says, for comparison.
func told(c webhook.Claim) string {
	if c.Event.Record != nil {
		return fmt.Sprint(c.Endpoint.ID, " ", c.Event.Kind, " ", c.Event.Record.Number)
	}
	return fmt.Sprint(c.Endpoint.ID, " ", c.Event.Kind)
}

func wantTold(t *testing.T, claims []webhook.Claim, want ...string) {
	t.Helper()
	var got []string
	for _, c := range claims {
		got = append(got, told(c))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func testWebhookEndpoints(t *testing.T, s *Site) {
	settings := webhook.Settings{URL: "https://example.org/a", Kinds: []webhook.Kind{webhook.RecordAnchored,
		webhook.RecordLogged}, Classes: []string{"decision", "notice"}, Form: webhook.Form{Fields: []string{"title"}}}
	e := s.AddEndpoint(t, "e1", settings)
	got, err := s.another(t).Webhooks.Endpoint(t.Context(), s.Agency.ID, "e1")
	if fatalIfErr(t, err); fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", e) {
		t.Errorf("got  %+v\nwant %+v", got, e)
	}
	b := s.World.NewAgency(prooftest.USCC("12420100MB1234567"), "甲局")
	other, _ := s.AddAgency(t, "other", b)
	for _, id := range []string{"", "e2", "\xff", "a\x00"} {
		_, err := s.DB.Webhooks.Endpoint(t.Context(), s.Agency.ID, id)
		wantErr(t, err, notary.ErrNotFound)
		wantErr(t, s.DB.Webhooks.DeleteEndpoint(t.Context(), s.Agency.ID, id), notary.ErrNotFound)
	}
	_, err = s.DB.Webhooks.Endpoint(t.Context(), other.ID, "e1")
	wantErr(t, err, notary.ErrNotFound)
	_, err = s.DB.Webhooks.ChangeEndpoint(t.Context(), other.ID, "e1",
		func(*webhook.Endpoint) error { t.Error("changed by another agency"); return nil })
	wantErr(t, err, notary.ErrNotFound)
	wantErr(t, s.DB.Webhooks.DeleteEndpoint(t.Context(), other.ID, "e1"), notary.ErrNotFound)

	refused := errors.New("refused")
	_, err = s.DB.Webhooks.ChangeEndpoint(t.Context(), s.Agency.ID, "e1",
		func(e *webhook.Endpoint) error { e.Settings.URL = "x"; return refused })
	wantErr(t, err, refused)
	changed, err := s.DB.Webhooks.ChangeEndpoint(t.Context(), s.Agency.ID, "e1", func(e *webhook.Endpoint) error {
		e.Settings, e.OldSecret, e.OldUntil, e.Secret = webhook.Settings{URL: "https://b",
			Kinds: []webhook.Kind{webhook.RecordRevoked}, Form: webhook.Form{Thin: true}}, e.Secret, s.Now(),
			[]byte("new")
		e.Health = webhook.Health{State: webhook.Disabled, Reason: "manual", DisabledAt: s.Now(), Failures: 3,
			FailingSince: s.Now(), HoldUntil: s.Now()}
		return nil
	})
	fatalIfErr(t, err)
	if got, err := s.DB.Webhooks.Endpoint(t.Context(), s.Agency.ID, "e1"); err != nil ||
		fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", changed) || got.Settings.URL != "https://b" {
		t.Errorf("got %+v, %v, want %+v", got, err, changed)
	}
	s.AddEndpoint(t, "e2", settings)
	if err := s.DB.Webhooks.AddEndpoint(t.Context(), webhook.Endpoint{ID: "e3", AgencyID: s.Agency.ID,
		Secret: []byte{1}},
		2); !errors.Is(err, webhook.ErrTooMany) {
		t.Errorf("a third of two: %v", err)
	}
	fatalIfErr(t, s.DB.Webhooks.DeleteEndpoint(t.Context(), s.Agency.ID, "e1"))
	list, err := s.DB.Webhooks.Endpoints(t.Context(), s.Agency.ID, "", 10)
	if err != nil || len(list) != 1 || list[0].ID != "e2" {
		t.Errorf("got %+v, %v", list, err)
	}
	if list, err := s.DB.Webhooks.Endpoints(t.Context(), s.Agency.ID, "e2", 10); err != nil || len(list) != 0 {
		t.Errorf("after the last: %+v, %v", list, err)
	}
	for key, want := range map[string]bool{"key": true, "other": false} {
		if same, err := s.DB.Webhooks.ClaimWebhookKey(t.Context(), []byte("key")); err != nil || !same {
			t.Fatal(same, err)
		}
		if same, err := s.another(t).Webhooks.ClaimWebhookKey(t.Context(), []byte(key)); err != nil || same != want {
			t.Errorf("%s: %t, %v", key, same, err)
		}
	}
}

// testWebhookFanOut: of each fact an endpoint asked for there is one delivery, whatever else
// happens at the same time; none is of a fact from before the endpoint, or of another agency.
func testWebhookFanOut(t *testing.T, s *Site) {
	before := s.Receive(t, 3)
	s.Sequence(t)
	s.Anchor(t)
	s.AddEndpoint(t, "all", webhook.Settings{})
	s.AddEndpoint(t, "anchored", webhook.Settings{Kinds: []webhook.Kind{webhook.RecordAnchored}})
	s.AddEndpoint(t, "class", webhook.Settings{Classes: []string{"decision"}})
	b := s.World.NewAgency(prooftest.USCC("12420100MB1234567"), "甲局")
	s.AddAgency(t, "other", b)
	s.AddEndpointOf(t, "other", "other", webhook.Settings{})

	items := s.Items(t, 4)
	items[1].Record.Class = "decision"
	s.Foreign(t, items[2])
	recs := s.ReceiveItems(t, items...)
	replaced := s.ReceiveItems(t, s.Replacement(t, before[1]))[0]
	s.ReceiveItems(t, s.Revocation(t, before[0], "reason"))
	s.Sequence(t)
	errs := together(4, func(n int) error { // servers that fan out at once
		db := OpenDatabase(t, s.URL, s.Now)
		for more := true; more; {
			var err error
			if _, more, err = db.Webhooks.FanOut(t.Context()); err != nil {
				return err
			}
		}
		return nil
	})
	fatalIfErr(t, errors.Join(errs...))
	s.Anchor(t)
	s.FanOut(t)
	s.FanOut(t)
	var want []string
	for _, kind := range []string{"record.logged ", "record.anchored "} {
		for _, r := range []notary.Record{recs[0], recs[1], recs[3], replaced} {
			want = append(want, "all "+kind+r.Number)
		}
		want = append(want, "class "+kind+recs[1].Number, "other "+kind+recs[2].Number)
	}
	for _, r := range []notary.Record{recs[0], recs[1], recs[3], replaced} {
		want = append(want, "anchored record.anchored "+r.Number)
	}
	want = append(want, "all record.superseded "+before[1].Number, "all record.revoked "+before[0].Number)
	var got []string
	for range 3 { // logged goes before anchored
		claims := s.claim(t, s.DB, "server")
		for _, c := range claims {
			got = append(got, told(c))
			if c.Event.Record.AgencyID != c.Endpoint.AgencyID || c.Event.Agency.ID != c.Endpoint.AgencyID ||
				c.Event.At.IsZero() {
				t.Errorf("%s: %+v", told(c), c.Event)
			}
		}
		s.finish(t, "server", webhook.Delivered, claims...)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	events, next := s.events(t, webhook.Query{AgencyID: s.Agency.ID, Limit: 2})
	if len(events) != 16 { // six of the first three records, eight of the later four, two standings
		t.Errorf("the feed has %d events", len(events))
	}
	if !slices.IsSortedFunc(events,
		func(a, b webhook.Event) int { return map[bool]int{true: -1, false: 1}[a.ID < b.ID] }) {
		t.Error("the feed is out of order")
	}
	s.Receive(t, 1)
	s.Sequence(t)
	if more, _ := s.events(t, webhook.Query{AgencyID: s.Agency.ID, From: next, Limit: 100}); len(more) != 1 ||
		more[0].Kind != webhook.RecordLogged {
		t.Errorf("the feed goes on with %+v", more)
	}
}

// events reads the feed to its end.
func (s *Site) events(t *testing.T, q webhook.Query) (all []webhook.Event, next webhook.Cursor) {
	t.Helper()
	for {
		events, next, err := s.DB.Webhooks.Events(t.Context(), q)
		fatalIfErr(t, err)
		if next == q.From {
			return all, next
		}
		if next.Before(q.From) || len(events) > q.Limit {
			t.Fatalf("from %v to %v with %d events", q.From, next, len(events))
		}
		all, q.From = append(all, events...), next
	}
}

// testWebhookClaim: what is claimed is nobody else's until it is finished, released, or the
// claim has run out; and an event waits for the earlier one of its record.
func testWebhookClaim(t *testing.T, s *Site) {
	s.AddEndpoint(t, "e", webhook.Settings{})
	recs := s.Receive(t, 2)
	s.Sequence(t)
	s.Anchor(t)
	if claims := s.claim(t, s.DB, "a"); len(claims) != 0 {
		t.Errorf("claimed before the fan-out: %+v", claims)
	}
	s.FanOut(t)
	first := s.claim(t, s.DB, "a")
	logged := func(i int) string { return "e record.logged " + recs[i].Number }
	anchored := func(i int) string { return "e record.anchored " + recs[i].Number }
	wantTold(t, first, logged(0), logged(1))
	wantTold(t, s.claim(t, s.another(t), "b"))
	slices.SortFunc(first,
		func(a, b webhook.Claim) int { return map[bool]int{true: -1, false: 1}[a.Event.ID < b.Event.ID] })
	s.finish(t, "a", webhook.Delivered, first[0])
	s.finish(t, "a", webhook.Retry, first[1]) // in an hour; its successor waits
	second := s.claim(t, s.another(t), "b")
	wantTold(t, second, anchored(0))
	s.finish(t, "b", webhook.Released, second...)
	third := s.claim(t, s.DB, "c")
	wantTold(t, third, anchored(0))
	if third[0].Attempts != 0 || first[1].Attempts != 0 {
		t.Error("what was released counts as an attempt")
	}
	s.Pass(time.Minute) // the server died: the claim runs out
	fourth := s.claim(t, s.DB, "d")
	wantTold(t, fourth, anchored(0))
	s.finish(t, "c", webhook.Released, third...) // too late: it is somebody else's
	wantTold(t, s.claim(t, s.DB, "x"))
	s.finish(t, "d", webhook.GivenUp, fourth...)
	if d, err := s.DB.Webhooks.Replay(t.Context(), "e", fourth[0].Event.ID); err != nil || d.Status != webhook.Pending {
		t.Fatalf("the failure of who held it was not written: %+v, %v", d, err)
	}
	s.finish(t, "c", webhook.Delivered, third...) // late, but it has arrived
	s.Pass(2 * time.Hour)
	fifth := s.claim(t, s.DB, "e")
	wantTold(t, fifth, logged(1))
	if fifth[0].Attempts != 1 {
		t.Errorf("after %d attempts", fifth[0].Attempts)
	}
	s.finish(t, "e", webhook.GivenUp, fifth...)
	sixth := s.claim(t, s.DB, "f")
	wantTold(t, sixth, anchored(1))
	s.finish(t, "f", webhook.Delivered, sixth...)
	list, err := s.DB.Webhooks.Deliveries(t.Context(), webhook.DeliveryFilter{EndpointID: "e", Limit: 10})
	fatalIfErr(t, err)
	var got []string
	for _, d := range list {
		got = append(got, fmt.Sprint(d.Event.Kind, " ", d.Event.Record.Number, " ", d.Status, " ", len(d.History)))
	}
	if want := []string{"record.anchored " + recs[1].Number + " delivered 1", "record.anchored " + recs[0].Number +
		" delivered 2",
		"record.logged " + recs[1].Number + " failed 2", "record.logged " + recs[0].Number +
			" delivered 1"}; !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	page, err := s.DB.Webhooks.Deliveries(t.Context(), webhook.DeliveryFilter{EndpointID: "e", Status: webhook.Done,
		Before: &webhook.DeliveryPlace{CreatedAt: list[0].CreatedAt, EventID: list[0].Event.ID}, Limit: 1})
	if err != nil || len(page) != 1 || page[0].Event.ID != list[1].Event.ID || len(page[0].History) != 2 ||
		string(page[0].History[1].Answer) != "ok" {
		t.Errorf("got %+v, %v", page, err)
	}
}

// testWebhookShare: servers that work at the same time send each event once.
func testWebhookShare(t *testing.T, s *Site) {
	const endpoints, records = 3, 40
	for i := range endpoints {
		s.AddEndpoint(t, fmt.Sprint("e", i), webhook.Settings{Kinds: []webhook.Kind{webhook.RecordLogged}})
	}
	s.Receive(t, records)
	s.Sequence(t)
	var mu sync.Mutex
	times := map[string]int{}
	errs := together(4, func(n int) error {
		db, holder := OpenDatabase(t, s.URL, s.Now), fmt.Sprint("server ", n)
		for idle := 0; idle < 3; {
			if _, _, err := db.Webhooks.FanOut(t.Context()); err != nil {
				return err
			}
			claims, err := db.Webhooks.Claim(t.Context(), holder, s.Now().Add(time.Hour),
				func(string, bool) int { return 5 })
			if err != nil {
				return err
			}
			idle++
			var out []webhook.Outcome
			for _, c := range claims {
				idle = 0
				mu.Lock()
				times[c.Endpoint.ID+c.Event.ID]++
				mu.Unlock()
				out = append(out, webhook.Outcome{EndpointID: c.Endpoint.ID, EventID: c.Event.ID, Event: c.Event.Kind,
					Step: webhook.Delivered, Attempt: webhook.Attempt{At: s.Now()}})
			}
			if err := db.Webhooks.Finish(t.Context(), holder, out); err != nil {
				return err
			}
		}
		return nil
	})
	fatalIfErr(t, errors.Join(errs...))
	if len(times) != endpoints*records || slices.Max(slices.Collect(maps.Values(times))) != 1 {
		t.Errorf("%d of %d deliveries, one of them %d times", len(times), endpoints*records,
			slices.Max(slices.Collect(maps.Values(times))))
	}
}

// testWebhookReplay: one event, or all since a time, come again with their ids; what is
// pending is not touched.
func testWebhookReplay(t *testing.T, s *Site) {
	s.AddEndpoint(t, "e", webhook.Settings{Kinds: []webhook.Kind{webhook.RecordLogged}})
	old := s.Receive(t, 2)
	s.Sequence(t)
	s.Pass(time.Hour)
	since := s.Now()
	recent := s.Receive(t, 2)
	s.Sequence(t)
	s.FanOut(t)
	first := s.claim(t, s.DB, "a")
	wantTold(t, first, "e record.logged "+old[0].Number, "e record.logged "+old[1].Number,
		"e record.logged "+recent[0].Number, "e record.logged "+recent[1].Number)
	slices.SortFunc(first,
		func(a, b webhook.Claim) int { return map[bool]int{true: -1, false: 1}[a.Event.ID < b.Event.ID] })
	s.finish(t, "a", webhook.Delivered, first[:3]...)
	s.finish(t, "a", webhook.Retry, first[3])
	for _, id := range []string{"none", "", "\xff"} {
		_, err := s.DB.Webhooks.Replay(t.Context(), "e", id)
		wantErr(t, err, notary.ErrNotFound)
	}
	d, err := s.DB.Webhooks.Replay(t.Context(), "e", first[0].Event.ID)
	if fatalIfErr(t, err); d.Status != webhook.Pending || len(d.History) != 1 {
		t.Errorf("replayed: %+v", d)
	}
	again := s.claim(t, s.DB, "b")
	wantTold(t, again, told(first[0]))
	if again[0].Event.ID != first[0].Event.ID {
		t.Error("a replay has another id")
	}
	s.finish(t, "b", webhook.Delivered, again...)
	fatalIfErr(t, s.DB.Webhooks.Rewind(t.Context(), "e", since))
	// nothing is that late: it changes nothing
	fatalIfErr(t, s.DB.Webhooks.Rewind(t.Context(), "e", s.Now().Add(time.Hour)))
	s.FanOut(t)
	later := s.claim(t, s.DB, "c")
	wantTold(t, later, told(first[2])) // the fourth waits for its retry
	s.finish(t, "c", webhook.Delivered, later...)
	e, err := s.DB.Webhooks.Endpoint(t.Context(), s.Agency.ID, "e")
	if fatalIfErr(t, err); e.Health.Failures != 0 {
		t.Errorf("health: %+v", e.Health)
	}
}

// testWebhookDisabled: an endpoint that fails for days, or is gone, is disabled with a notice
// to the others, and goes on where it was when it is enabled again.
func testWebhookDisabled(t *testing.T, s *Site) {
	s.AddEndpoint(t, "gone", webhook.Settings{URL: "https://gone", Kinds: []webhook.Kind{webhook.RecordLogged}})
	s.AddEndpoint(t, "notices", webhook.Settings{Kinds: []webhook.Kind{webhook.EndpointDisabled}})
	recs := s.Receive(t, 1)
	s.Sequence(t)
	s.FanOut(t)
	claims := s.claim(t, s.DB, "a")
	fatalIfErr(t,
		s.DB.Webhooks.Finish(t.Context(), "a",
			[]webhook.Outcome{{EndpointID: "gone", EventID: claims[0].Event.ID, Event: claims[0].Event.Kind,
				Step: webhook.Retry, DueAt: s.Now(), Gone: true, Attempt: webhook.Attempt{At: s.Now(), Status: 410}}}))
	e, err := s.DB.Webhooks.Endpoint(t.Context(), s.Agency.ID, "gone")
	if fatalIfErr(t, err); e.Health.State != webhook.Disabled || e.Health.Reason != webhook.ReasonGone ||
		e.Health.DisabledAt.IsZero() {
		t.Errorf("%+v", e.Health)
	}
	s.Receive(t, 1)
	s.Sequence(t)
	s.FanOut(t)
	notices := s.claim(t, s.DB, "a")
	wantTold(t, notices, "notices endpoint.disabled")
	if n := notices[0].Event.Notice; n == nil ||
		*n != (webhook.Notice{Subject: "gone", URL: "https://gone", Reason: webhook.ReasonGone}) {
		t.Errorf("the notice says %+v", n)
	}
	events, _ := s.events(t, webhook.Query{AgencyID: s.Agency.ID, Kinds: []webhook.Kind{webhook.EndpointDisabled},
		Limit: 10})
	if len(events) != 1 || events[0].ID != notices[0].Event.ID || events[0].Notice == nil {
		t.Errorf("the feed says %+v", events)
	}
	if events, _ := s.events(t, webhook.Query{AgencyID: "other", Limit: 10}); len(events) != 0 {
		t.Errorf("another agency's feed says %+v", events)
	}
	_, err = s.DB.Webhooks.ChangeEndpoint(t.Context(), s.Agency.ID, "gone",
		func(e *webhook.Endpoint) error { e.Health = webhook.Health{State: webhook.Enabled}; return nil })
	fatalIfErr(t, err)
	s.FanOut(t)
	if claims := s.claim(t, s.DB, "a"); len(claims) != 2 || claims[0].Event.Record.Number != recs[0].Number {
		t.Errorf("after it was enabled: %d deliveries", len(claims))
	}
	wantEvents(t, s, "record.logged", 2) // the notice is numbered among the others
}

// testWebhookBounds: an endpoint that takes nothing does not fill the table, and nothing of it
// is lost; old deliveries and those of deleted endpoints go.
func testWebhookBounds(t *testing.T, s *Site) {
	s.AddEndpoint(t, "e", webhook.Settings{Kinds: []webhook.Kind{webhook.RecordLogged}})
	const n = 5200
	batch := s.Items(t, n)
	s.ReceiveItems(t, batch...)
	s.advance(t, n)
	s.FanOut(t)
	pending := func() (n int) {
		t.Helper()
		fatalIfErr(t, Raw(t, s.URL).GetContext(t.Context(), &n,
			`SELECT count(*) FROM deliveries WHERE status = 'pending'`))
		return n
	}
	if got := pending(); got < 5000 || got >= n {
		t.Errorf("%d deliveries are pending", got)
	}
	total := 0
	for {
		claims := s.claim(t, s.DB, "a")
		if len(claims) == 0 {
			break
		}
		total += len(claims)
		s.finish(t, "a", webhook.Delivered, claims...)
		s.FanOut(t)
	}
	if total != n {
		t.Errorf("%d of %d events came", total, n)
	}
	if got, err := s.DB.Webhooks.Prune(t.Context(), s.Now().Add(-time.Hour), 100); err != nil || got != 0 {
		t.Errorf("pruned %d, %v", got, err)
	}
	if got, err := s.DB.Webhooks.Prune(t.Context(), s.Now(), 100); err != nil || got != 100 {
		t.Errorf("pruned %d, %v", got, err)
	}
	fatalIfErr(t, s.DB.Webhooks.DeleteEndpoint(t.Context(), s.Agency.ID, "e"))
	for got := 1; got > 0; {
		var err error
		got, err = s.DB.Webhooks.Prune(t.Context(), s.Now().Add(-time.Hour), 2000)
		fatalIfErr(t, err)
	}
	var left int
	fatalIfErr(t, Raw(t, s.URL).GetContext(t.Context(), &left, `SELECT (SELECT count(*) FROM deliveries) + (SELECT `+
		`count(*) FROM delivery_attempts) + (SELECT count(*) FROM webhook_endpoints)`))
	if left != 0 {
		t.Errorf("%d rows are left", left)
	}
	if due, behind, err := s.DB.Webhooks.DeliveryLag(t.Context()); err != nil || !due.IsZero() || behind != 0 {
		t.Errorf("lag: %v, %d, %v", due, behind, err)
	}
}
