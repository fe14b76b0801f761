package web_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"stele/notary"
)

// listen opens the event stream of a document's record. next reads the next event, or an
// empty text at the end.
func (to *town) listen(t testing.TB, doc []byte) (res *http.Response, next func() string) {
	t.Helper()
	res, err := http.DefaultTransport.RoundTrip(request(t, http.MethodGet, to.URL+"/r/"+to.numbers[string(doc)]+
		"/events", nil))
	fatalIfErr(t, err)
	t.Cleanup(func() { res.Body.Close() })
	lines := bufio.NewScanner(res.Body)
	return res, func() string {
		var event strings.Builder
		for lines.Scan() && lines.Text() != "" {
			event.WriteString(lines.Text() + "|")
		}
		return event.String()
	}
}

func said(state notary.State, standing notary.Standing) string {
	return `event: state|data: {"state":"` + string(state) + `","standing":"` + string(standing) + `"}|`
}

func TestEvents(t *testing.T) {
	to := newTown(t, roomy())
	res, next := to.listen(t, docReceived)
	for header, want := range map[string]string{"Content-Type": "text/event-stream", "Cache-Control": "no-store",
		"X-Accel-Buffering": "no"} {
		if got := res.Header.Get(header); got != want {
			t.Errorf("%s: %q, want %q", header, got, want)
		}
	}
	expect := func(want string) {
		t.Helper()
		if got := next(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	expect(said(notary.Received, notary.Valid))
	to.advance(false)
	expect(said(notary.Logged, notary.Valid))
	to.store.mu.Lock()
	for i, r := range to.store.records {
		if r.Number == to.numbers[string(docReceived)] {
			to.store.records = append([]notary.Record(nil), to.store.records...) // other towns keep theirs
			to.store.records[i].Standing = notary.Revoked
		}
	}
	to.store.mu.Unlock()
	expect(said(notary.Logged, notary.Revoked)) // seen without a signal, as from another server
	to.store.down.Store(true)
	to.moved.Notify()
	to.store.down.Store(false)
	to.advance(true)
	expect(said(notary.Anchored, notary.Revoked))
	expect("")
	if _, next := to.listen(t, docGenuine); next() != said(notary.Anchored, notary.Valid) || next() != "" {
		t.Error("the stream of an anchored record does not end after its first event")
	}
}

func TestEventsOfNothing(t *testing.T) {
	to := newTown(t, roomy())
	for path, want := range map[string]int{"/r/420100-2026-00099999-X/events": http.StatusNotFound,
		"/r/1/events": http.StatusNotFound} {
		t.Run(path, func(t *testing.T) {
			if res, _ := to.get(t, path); res.StatusCode != want {
				t.Errorf("%s: %d, want %d", path, res.StatusCode, want)
			}
		})
	}
	to.store.down.Store(true)
	if res, body := to.get(t, "/r/"+to.numbers[string(docPending)]+
		"/events"); res.StatusCode != http.StatusServiceUnavailable || strings.Contains(body, "secret") {
		t.Errorf("while the store is down: %d %s", res.StatusCode, body)
	}
}

// TestEventsAreBounded: streams per client and in all, and each in time.
func TestEventsAreBounded(t *testing.T) {
	for name, limit := range map[string]func() *town{
		"per client": func() *town { l := roomy(); l.StreamsPerClient = 2; return newTown(t, l) },
		"in all":     func() *town { l := roomy(); l.Streams = 2; return newTown(t, l) },
	} {
		t.Run(name, func(t *testing.T) {
			to := limit()
			first, _ := to.listen(t, docPending)
			to.listen(t, docPending)
			if third, _ := to.listen(t, docPending); third.StatusCode != http.StatusTooManyRequests ||
				third.Header.Get("Retry-After") == "" {
				t.Errorf("%s: a stream over the limit gets %d", name, third.StatusCode)
			}
			first.Body.Close()
			for again := 0; again != http.StatusOK; { // once the server knows that the first has left
				res, _ := to.listen(t, docPending)
				again = res.StatusCode
			}
		})
	}
	l := roomy()
	l.StreamTime, l.Heartbeat = 300*time.Millisecond, 20*time.Millisecond
	_, next := newTown(t, l).listen(t, docPending)
	if event, comment := next(), next(); event != said(notary.Logged, notary.Valid) || comment != ": still waiting|" {
		t.Errorf("%q and then %q, want the state and then a sign of life", event, comment)
	}
	for next() != "" { // until its time is over
	}
}

// TestEventsDoNotHoldUpStop stops a server while a page waits.
func TestEventsDoNotHoldUpStop(t *testing.T) {
	to := newTown(t, roomy())
	_, next := to.listen(t, docPending)
	next()
	to.Config.RegisterOnShutdown(func() { close(to.stop) })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := to.Config.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if end := next(); end != "" {
		t.Errorf("the stream goes on with %q", end)
	}
}

// TestPendingBecomesGenuine leaves a page alone while its record is anchored.
func TestPendingBecomesGenuine(t *testing.T) {
	parent := browser(t)
	for _, l := range []look{desktop, phone.In("en")} {
		t.Run(l.String(), func(t *testing.T) {
			to := newTown(t, roomy())
			path := files(t, map[string][]byte{"pending.pdf": docPending, "received.pdf": docReceived,
				"genuine.pdf": docGenuine})
			file, several, record := open(t, parent, l), open(t, parent, l), open(t, parent, l)
			file.GoTo(to.URL + "/")
			file.Choose(path("pending.pdf"))
			if got := file.Verdict(); got != "pending" {
				t.Fatal(got)
			}
			file.Accessible("waiting")
			file.Fits("waiting")
			file.Shoot("waiting")
			file.Run(file.press("watch.again"))
			file.Wait(`document.querySelector('#live').textContent === ` + quote(t, file.textOf("watch.same")))
			several.GoTo(to.URL + "/")
			several.Choose(path("received.pdf"), path("pending.pdf"), path("genuine.pdf"))
			several.rows()
			several.Run(chromedp.Click(".many > .v-pending summary", chromedp.ByQuery))
			several.Shoot("several waiting")
			record.GoTo(to.URL + "/r/" + to.numbers[string(docReceived)])
			record.Wait(`document.querySelector('#record .v-pending')`)
			to.advance(true)
			file.Wait(`document.querySelector('#result .verdict.v-genuine') && ` +
				`document.querySelector('#live').textContent === document.querySelector('#result h1').textContent`)
			if text := file.Text("#result"); strings.Contains(text, file.textOf("watch.note")) {
				t.Error("the page says that it still waits")
			}
			several.Wait(`document.querySelectorAll('.many > .v-genuine').length === 3 && ` +
				`document.querySelector('.many details[open] .verdict.v-genuine')`)
			if head := several.Text("#result h1"); !strings.Contains(head, "3") {
				t.Errorf("the sentence above the list says %s", head)
			}
			record.Wait(`document.querySelector('#record .v-valid') && document.querySelector('#live').textContent ` +
				`=== document.querySelector('#record h1').textContent`)
			record.Wait(`document.querySelectorAll('#record-proof .facts time').length === 2`) // registered, anchored
			record.Accessible("record, refreshed")
			record.Shoot("record refreshed")
		})
	}
}

// TestWaitingWithoutEvents: where no events come through, a person can look again.
func TestWaitingWithoutEvents(t *testing.T) {
	to := newTown(t, roomy())
	inner := to.Config.Handler
	to.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/events") {
			w.WriteHeader(http.StatusBadGateway)
			_, _ = io.WriteString(w, "proxy")
			return
		}
		inner.ServeHTTP(w, r)
	})
	path := files(t, map[string][]byte{"pending.pdf": docPending})
	b := open(t, browser(t), desktop.In("en"))
	b.GoTo(to.URL + "/")
	b.Choose(path("pending.pdf"))
	b.Verdict()
	to.advance(true)
	b.Run(b.press("watch.again"))
	b.Wait(`document.querySelector('#result .v-genuine')`)
	n := open(t, browser(t), desktop.In("en").WithoutScripts())
	to2 := newTown(t, roomy())
	n.GoTo(to2.URL + "/r/" + to2.numbers[string(docPending)])
	to2.advance(true)
	n.Run(chromedp.Click("#record .actions a", chromedp.ByQuery), chromedp.WaitVisible("#record .v-valid",
		chromedp.ByQuery))
}
