package web_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"stele/ui"
)

// What a first visit may cost before the verifier is fetched. Sizes are those on the wire,
// headers included; how long it takes depends on the machine and is not tested.
const (
	budgetBytes    = 300 << 10
	budgetRequests = 32
	budgetShift    = 0.1 // cumulative layout shift, as web vitals count it
)

// TestFirstViewBudget opens pages with an empty cache in a real browser.
func TestFirstViewBudget(t *testing.T) {
	to := newTown(t, roomy())
	parent := browser(t)
	for name, path := range map[string]string{"start": "/", "record": "/r/" + to.numbers[string(docGenuine)] +
		"?code=" + code} {
		for _, l := range []look{desktop, phone.In("en")} {
			t.Run(name+"/"+l.String(), func(t *testing.T) {
				b := open(t, parent, l)
				seen := watchNetwork(b)
				b.Run(network.Enable(), network.SetCacheDisabled(true))
				b.GoTo(to.URL + path)
				b.Wait(`document.readyState === 'complete'`)
				var vitals struct {
					Shift float64 `json:"shift"`
					Paint bool    `json:"paint"`
				}
				var out string
				b.Eval(`new Promise((resolve) => {
					let shift = 0;
					new PerformanceObserver((l) => { for (const e of l.getEntries()) if (!e.hadRecentInput) shift += e.value; }).observe({ type: 'layout-shift', buffered: true });
					new PerformanceObserver(() => requestAnimationFrame(() => resolve(JSON.stringify({ shift, paint: true })))).observe({ type: 'paint', buffered: true });
				})`, &out)
				fatalIfErr(t, json.Unmarshal([]byte(out), &vitals))
				if !vitals.Paint || vitals.Shift >= budgetShift {
					t.Errorf("painted: %t, layout shift %.3f", vitals.Paint, vitals.Shift)
				}
				seen.check(t, to.URL)
			})
		}
	}
}

// traffic is what a tab asked for and what came over the wire.
type traffic struct {
	mu       sync.Mutex
	order    []network.RequestID
	urls     map[network.RequestID]string
	received map[network.RequestID]float64
}

func watchNetwork(b *tab) *traffic {
	s := &traffic{urls: map[network.RequestID]string{}, received: map[network.RequestID]float64{}}
	chromedp.ListenTarget(b.Ctx, func(ev any) {
		s.mu.Lock()
		defer s.mu.Unlock()
		switch e := ev.(type) {
		case *network.EventRequestWillBeSent:
			s.order = append(s.order, e.RequestID)
			s.urls[e.RequestID] = e.Request.URL
		case *network.EventLoadingFinished:
			s.received[e.RequestID] = e.EncodedDataLength
		}
	})
	return s
}

// check adds up what came before the verifier was asked for, and knows no other host at all.
func (s *traffic) check(t *testing.T, origin string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	total, requests := 0.0, 0
	for _, id := range s.order {
		address := s.urls[id]
		u, err := url.Parse(address)
		fatalIfErr(t, err)
		if u.Scheme != "data" && !strings.HasPrefix(address, origin+"/") {
			t.Errorf("a request to a third party: %s", address)
		}
		if strings.HasSuffix(address, ui.AssetWASM) {
			break
		}
		total += s.received[id]
		requests++
	}
	if total == 0 || total > budgetBytes || requests > budgetRequests {
		t.Errorf("%d requests brought %.0f bytes before the verifier; the budget is %d and %d", requests, total,
			budgetRequests, budgetBytes)
	}
	t.Logf("%d requests, %.0f bytes", requests, total)
}
