package deliver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"stele/crypto/seal"
	"stele/crypto/sm"
	"stele/notary/office/webhook"
	"stele/storage/storagetest"
)

// office is a site with a dispatcher, the clock being the site's.
type office struct {
	*storagetest.Site
	t         testing.TB
	queue     webhook.Queue
	endpoints *webhook.Endpoints
	sender    *Sender
	key       *sm.PrivateKey
	opt       webhook.Options
	log       *lockedBuffer

	dispatcher *webhook.Dispatcher
	stop       func() // ends the dispatcher and waits for it
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func newOffice(t testing.TB, b storagetest.Backend) *office {
	t.Helper()
	o := &office{Site: storagetest.NewSiteOn(t, b.Database(t), storagetest.NewDir(t)), t: t, log: &lockedBuffer{},
		sender: sender(t, demo)}
	o.queue = o.DB.Webhooks
	var err error
	o.key, err = sm.GenerateKey()
	fatalIfErr(t, err)
	box, err := seal.New(o.key, "test")
	fatalIfErr(t, err)
	o.opt = webhook.Options{Policy: demo, Box: box, Sign: o.key.Sign, Now: o.Now}
	o.endpoints = webhook.NewEndpoints(o.DB.Webhooks, o.opt, func() { o.wake() })
	return o
}

func (o *office) wake() {
	if o.dispatcher != nil {
		o.dispatcher.Wake()
	}
}

// open runs the dispatcher, as a server of this name.
func (o *office) open(holder string) {
	o.t.Helper()
	o.dispatcher = webhook.NewDispatcher(o.queue, o.sender.Send, webhook.DispatchOptions{Options: o.opt, Holder: holder,
		Jitter: func() float64 { return 0.5 }, Keep: time.Hour, Pace: time.Millisecond,
		Log: slog.New(slog.NewTextHandler(o.log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func(d *webhook.Dispatcher) { defer close(done); _ = d.Run(ctx) }(o.dispatcher) // it returns nil
	o.stop = sync.OnceFunc(func() { cancel(); <-done })
	o.t.Cleanup(o.stop)
}

func (o *office) create(url string, kinds ...webhook.Kind) (webhook.Endpoint, webhook.Secret) {
	o.t.Helper()
	e, secret, err := o.endpoints.Create(o.t.Context(), o.Agency.ID, webhook.NewEndpointID(),
		webhook.Settings{URL: url, Kinds: kinds})
	fatalIfErr(o.t, err)
	return e, secret
}

func (o *office) endpoint(id string) webhook.Endpoint {
	o.t.Helper()
	e, err := o.endpoints.Find(o.t.Context(), o.Agency.ID, id)
	fatalIfErr(o.t, err)
	return e
}

func (o *office) deliveries(id string) []webhook.Delivery {
	o.t.Helper()
	l, err := o.endpoints.Deliveries(o.t.Context(), o.Agency.ID, webhook.DeliveryFilter{EndpointID: id, Limit: 1000})
	fatalIfErr(o.t, err)
	return l
}

// eventually waits for a fact in the database, which has no channel to wait on.
func eventually(t *testing.T, what string, fact func() bool) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for !fact() {
		if time.Now().After(deadline) {
			t.Fatalf("it did not happen: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// call is a webhook as it arrived.
type call struct {
	id, kind, record string
	header           http.Header
	body             []byte
}

// listener keeps what arrives and answers as it is told.
type listener struct {
	url string

	mu    sync.Mutex
	calls []call // guarded by mu
}

func listen(t testing.TB, answer func(n int, w http.ResponseWriter)) *listener {
	t.Helper()
	l := &listener{}
	l.url = receiver(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		l.mu.Lock()
		kind, _, _ := strings.Cut(strings.TrimPrefix(string(body), `{"type":"`), `"`)
		_, number, _ := strings.Cut(string(body), `"number":"`)
		number, _, _ = strings.Cut(number, `"`)
		l.calls = append(l.calls, call{r.Header.Get("webhook-id"), kind, number, r.Header, body})
		n := len(l.calls)
		l.mu.Unlock()
		answer(n, w)
	}).URL
	return l
}

func (l *listener) got() []call {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.calls)
}

func fine(_ int, w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) }

// The whole way: facts, deliveries, requests that the official library verifies, in order for
// each record; two signatures while a secret is replaced; nothing secret in log or database.
func TestDelivery(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		o := newOffice(t, b)
		l := listen(t, fine)
		e, secret := o.create(l.url, webhook.RecordLogged, webhook.RecordAnchored, webhook.RecordRevoked)
		o.open("server")
		recs := o.Receive(t, 30)
		o.Sequence(t)
		o.Anchor(t)
		o.ReceiveItems(t, o.Revocation(t, recs[7], "reason"))
		o.wake()
		eventually(t, "61 webhooks", func() bool { return len(l.got()) == 61 })
		check := func(c call, s webhook.Secret) {
			t.Helper()
			w, err := standardwebhooks.NewWebhook(s.Text())
			fatalIfErr(t, err)
			if err := w.VerifyIgnoringTimestamp(c.body, c.header); err != nil { // the site's clock is not the library's
				t.Errorf("%s: %v", c.id, err)
			}
			fatalIfErr(t, webhook.VerifySM2(o.key.Public(), c.id, c.header.Get("webhook-timestamp"),
				c.header.Get("webhook-signature"), c.body))
		}
		order := map[string][]string{}
		ids := map[string]bool{}
		for _, c := range l.got() {
			check(c, secret)
			order[c.record] = append(order[c.record], c.kind)
			ids[c.id] = true
		}
		for i, r := range recs {
			want := []string{"record.logged", "record.anchored"}
			if i == 7 {
				want = append(want, "record.revoked")
			}
			if !slices.Equal(order[r.Number], want) {
				t.Errorf("%s: %q", r.Number, order[r.Number])
			}
		}
		if len(ids) != 61 {
			t.Errorf("%d ids", len(ids))
		}
		_, fresh, err := o.endpoints.Rotate(t.Context(), o.Agency.ID, e.ID)
		fatalIfErr(t, err)
		test := func(n int) call {
			t.Helper()
			_, err := o.endpoints.Test(t.Context(), o.Agency.ID, e.ID)
			fatalIfErr(t, err)
			eventually(t, "a ping", func() bool { return len(l.got()) == n })
			return l.got()[n-1]
		}
		written := func() {
			t.Helper()
			eventually(t, "all is written", func() bool {
				return !slices.ContainsFunc(o.deliveries(e.ID),
					func(d webhook.Delivery) bool { return d.Status != webhook.Done || len(d.History) != 1 })
			})
		}
		ping := test(62)
		check(ping, secret)
		check(ping, fresh)
		if ping.kind != "ping" || strings.Count(ping.header.Get("webhook-signature"), " ") != 2 {
			t.Errorf("%+v", ping)
		}
		written() // or what was received and is not written yet is sent again when a day has passed
		o.Pass(25 * time.Hour)
		last := test(63)
		check(last, fresh)
		if strings.Count(last.header.Get("webhook-signature"), " ") != 1 {
			t.Error("the old secret still signs")
		}
		written()
		o.stop()
		for _, s := range []webhook.Secret{secret, fresh} {
			o.wantNowhere(s.Text())
		}
	})
}

// wantNowhere fails if a secret is in the log, or in the database's files or rows.
func (o *office) wantNowhere(secret string) {
	o.t.Helper()
	look := func(where string, text []byte) {
		if bytes.Contains(text, []byte(secret[6:])) || bytes.Contains(text, []byte(secret)) {
			o.t.Errorf("a secret is in %s", where)
		}
	}
	look("the log", []byte(o.log.String()))
	path, sqlite := strings.CutPrefix(o.URL, "sqlite:")
	if !sqlite {
		var rows []string
		fatalIfErr(o.t, storagetest.Raw(o.t, o.URL).SelectContext(o.t.Context(), &rows, `SELECT CAST(e AS TEXT) || `+
			`encode(secret, 'escape') || encode(coalesce(old_secret, ''), 'escape') FROM webhook_endpoints e`))
		look("the rows", []byte(strings.Join(rows, "\n")))
		return
	}
	fatalIfErr(o.t, filepath.WalkDir(filepath.Dir(path), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		look(path, text)
		return err
	}))
}

// A receiver that answers 500 for an hour gets every event, each with one id and one body.
func TestReceiverFailsForAnHour(t *testing.T) {
	o := newOffice(t, storagetest.Embedded)
	from := o.Now()
	l := listen(t, func(_ int, w http.ResponseWriter) {
		if o.Now().Sub(from) < time.Hour {
			http.Error(w, "not now", http.StatusInternalServerError)
		}
	})
	e, _ := o.create(l.url, webhook.RecordLogged, webhook.RecordAnchored)
	recs := o.Receive(t, 5)
	o.Sequence(t)
	o.Anchor(t)
	o.open("server")
	// The clock jumps to the next thing to do, as often as there is one.
	eventually(t, "all events arrive", func() bool {
		done, first := 0, map[string]webhook.Delivery{} // of each record the event that is next
		for _, d := range o.deliveries(e.ID) {
			if d.Status == webhook.Done {
				done++
			} else if d.Status != webhook.Pending {
				t.Fatalf("given up: %+v", d)
			} else if f, ok := first[d.Event.Record.Number]; !ok || d.Event.ID < f.Event.ID {
				first[d.Event.Record.Number] = d
			}
		}
		next := time.Time{}
		for _, d := range first {
			if next.IsZero() || d.DueAt.Before(next) {
				next = d.DueAt
			}
		}
		if hold := o.endpoint(e.ID).Health.HoldUntil; hold.After(next) {
			next = hold
		}
		if wait := next.Sub(o.Now()); wait > 0 {
			o.Pass(min(wait, time.Minute))
		}
		o.wake()
		return done == 10
	})
	// The clock may have jumped over a claim: then a request was made twice, as after a crash.
	history := func() (all []webhook.Attempt) {
		for _, d := range o.deliveries(e.ID) {
			all = append(all, d.History...)
		}
		return all
	}
	eventually(t, "every request is kept as an attempt", func() bool { return len(history()) == len(l.got()) })
	bodies, kinds, failed := map[string]string{}, map[string][]string{}, 0
	for _, c := range l.got() {
		if before, again := bodies[c.id]; again && before != string(c.body) {
			t.Errorf("%s has another body", c.id)
		} else if !again {
			kinds[c.record] = append(kinds[c.record], c.kind)
		}
		bodies[c.id] = string(c.body)
	}
	for _, a := range history() {
		if a.Status == 500 {
			failed++
			if string(a.Answer) != "not now\n" {
				t.Errorf("%+v", a)
			}
		}
	}
	if len(bodies) != 10 || failed < 10 {
		t.Errorf("%d ids, %d failures kept of %d requests", len(bodies), failed, len(l.got()))
	}
	for _, r := range recs {
		if !slices.Equal(kinds[r.Number], []string{"record.logged", "record.anchored"}) {
			t.Errorf("%s: %q", r.Number, kinds[r.Number])
		}
	}
	if h := o.endpoint(e.ID).Health; h != (webhook.Health{State: webhook.Enabled}) {
		t.Errorf("%+v", h)
	}
}

// 410 disables at once, and the agency's other endpoint learns of it; Retry-After is heeded.
func TestGoneAndRetryAfter(t *testing.T) {
	o := newOffice(t, storagetest.Embedded)
	gone := listen(t, func(_ int, w http.ResponseWriter) { w.WriteHeader(http.StatusGone) })
	busy := listen(t, func(n int, w http.ResponseWriter) {
		if n == 1 {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	e1, _ := o.create(gone.url, webhook.RecordLogged)
	e2, _ := o.create(busy.url, webhook.EndpointDisabled)
	o.open("server")
	o.Receive(t, 1)
	o.Sequence(t)
	o.wake()
	eventually(t, "the endpoint is disabled",
		func() bool { return o.endpoint(e1.ID).Health.Reason == webhook.ReasonGone })
	o.wake()
	eventually(t, "the notice was sent once", func() bool {
		l := o.deliveries(e2.ID)
		return len(l) == 1 && len(l[0].History) == 1
	})
	if d := o.deliveries(e2.ID)[0]; d.DueAt.Sub(d.History[0].At) < time.Hour ||
		o.endpoint(e2.ID).Health.HoldUntil.Before(d.DueAt.Add(-time.Second)) {
		t.Errorf("%+v", d)
	}
	o.Pass(time.Hour + time.Second)
	o.wake()
	eventually(t, "the notice arrived", func() bool { return o.deliveries(e2.ID)[0].Status == webhook.Done })
	if c := busy.got(); len(c) != 2 || c[0].id != c[1].id ||
		!strings.Contains(string(c[1].body), `"endpoint":{"id":"`+e1.ID+`","url":"`+gone.url+`","reason":"gone"}`) {
		t.Errorf("%d calls: %s", len(c), c[len(c)-1].body)
	}
	if _, err := o.endpoints.Test(t.Context(), o.Agency.ID, e1.ID); err == nil {
		t.Error("a disabled endpoint is tested")
	}
	if n := len(gone.got()); n != 1 {
		t.Errorf("%d calls to the one that is gone", n)
	}
}

// Twenty of 200 endpoints hang. The others get all their events while those still hang.
func TestHangingEndpoints(t *testing.T) {
	const all, hanging, records = 200, 20, 5
	o := newOffice(t, storagetest.Embedded)
	o.sender.timeout = time.Hour // what hangs hangs until the end of the test
	release := make(chan struct{})
	var stuck, ended, arrived atomic.Int64
	done := make(chan struct{})
	srv := receiver(t, func(_ http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/hang") {
			stuck.Add(1)
			<-release
			ended.Add(1)
		} else if arrived.Add(1) == (all-hanging)*records*2 {
			close(done)
		}
	})
	var once sync.Once
	free := func() { once.Do(func() { close(release) }) }
	t.Cleanup(free)
	for i := range all {
		path := "/fine"
		if i%10 == 0 {
			path = "/hang"
		}
		unlimited := webhook.NewEndpoints(noLimit{o.DB.Webhooks}, o.opt, func() {})
		_, _, err := unlimited.Create(t.Context(), o.Agency.ID, webhook.NewEndpointID(),
			webhook.Settings{URL: fmt.Sprint(srv.URL, path, "/", i), Kinds: []webhook.Kind{webhook.RecordLogged,
				webhook.RecordAnchored}})
		fatalIfErr(t, err)
	}
	o.open("server")
	o.Receive(t, records)
	o.Sequence(t)
	o.Anchor(t)
	o.wake()
	select {
	case <-done:
	case <-time.After(2 * time.Minute):
		t.Fatalf("%d of %d events arrived; %d requests hang", arrived.Load(), (all-hanging)*records*2, stuck.Load())
	}
	if stuck.Load() < hanging || ended.Load() > 0 {
		t.Errorf("%d requests hung, %d ended before the others were done", stuck.Load(), ended.Load())
	}
	free()
	o.stop()
}

// noLimit lets an agency have any number of endpoints.
type noLimit struct{ webhook.Store }

func (n noLimit) AddEndpoint(ctx context.Context, e webhook.Endpoint, _ int) error {
	return n.Store.AddEndpoint(ctx, e, 1_000_000)
}

// A server that stops gives its deliveries back: the next one need not wait, and nothing
// counts as an attempt that was not made to its end.
func TestStopGivesBack(t *testing.T) {
	o := newOffice(t, storagetest.Embedded)
	started := make(chan struct{}, 100)
	var hang atomic.Bool
	hang.Store(true)
	srv := receiver(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // or the server would not see the connection end
		started <- struct{}{}
		if hang.Load() {
			<-r.Context().Done()
		}
	})
	e, _ := o.create(srv.URL, webhook.RecordLogged)
	o.open("first")
	o.Receive(t, 1)
	o.Sequence(t)
	o.wake()
	<-started
	o.stop()
	hang.Store(false)
	if d := o.deliveries(e.ID); len(d) != 1 || d[0].Status != webhook.Pending || len(d[0].History) != 0 ||
		d[0].DueAt.After(o.Now()) {
		t.Fatalf("%+v", d)
	}
	o.open("second")
	eventually(t, "the second server delivers", func() bool { return o.deliveries(e.ID)[0].Status == webhook.Done })
}

// lame fails to write outcomes a few times.
type lame struct {
	webhook.Queue
	fail atomic.Int64
}

func (l *lame) Finish(ctx context.Context, holder string, outcomes []webhook.Outcome) error {
	if l.fail.Add(-1) >= 0 {
		return errors.New("the database is down")
	}
	return l.Queue.Finish(ctx, holder, outcomes)
}

// Outcomes that cannot be written at first are written later; webhooks go on.
func TestDatabaseFails(t *testing.T) {
	o := newOffice(t, storagetest.Embedded)
	q := &lame{Queue: o.DB.Webhooks}
	q.fail.Store(3)
	o.queue = q
	l := listen(t, fine)
	e, _ := o.create(l.url, webhook.RecordLogged)
	o.open("server")
	o.Receive(t, 20)
	o.Sequence(t)
	o.wake()
	eventually(t, "all is written", func() bool {
		o.wake()
		list := o.deliveries(e.ID)
		return len(list) == 20 &&
			!slices.ContainsFunc(list, func(d webhook.Delivery) bool { return d.Status != webhook.Done })
	})
	if n := len(l.got()); n != 20 || !strings.Contains(o.log.String(), "the database is down") {
		t.Errorf("%d requests, log %s", n, o.log)
	}
}

// BenchmarkDeliveries measures webhooks to one receiver on this machine, signed and written.
func BenchmarkDeliveries(b *testing.B) {
	for _, backend := range []storagetest.Backend{storagetest.Embedded,
		{Name: "postgres", Database: storagetest.StartDurablePostgres}} {
		b.Run(backend.Name, func(b *testing.B) {
			o := newOffice(b, backend)
			o.opt.Now = time.Now
			var n atomic.Int64
			done := make(chan struct{})
			l := receiver(b, func(http.ResponseWriter, *http.Request) {
				if n.Add(1) == int64(b.N) {
					close(done)
				}
			})
			o.create(l.URL, webhook.RecordLogged)
			o.Receive(b, b.N)
			o.Sequence(b)
			b.ResetTimer()
			o.open("server")
			<-done
			o.stop()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "deliveries/s")
		})
	}
}
