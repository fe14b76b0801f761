package api

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"stele/notary"
	"stele/notary/office/webhook"
)

func TestPlaceIsCanonical(t *testing.T) {
	p := webhook.DeliveryPlace{CreatedAt: time.UnixMicro(1_795_000_000_000_001).UTC(),
		EventID: webhook.Cursor{Row: 7, Index: 9}.String()}
	got, err := parsePlace(formatPlace(p))
	if err != nil || *got != p {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, bad := range []string{"a", "AAAAAAAAAAA", strings.Repeat("_", 40), formatPlace(p) + "=",
		formatPlace(p)[:4] + "\n" + formatPlace(p)[4:]} {
		t.Run(fmt.Sprintf("%.20q", bad), func(t *testing.T) {
			if _, err := parsePlace(bad); notary.CodeOf(err) != notary.CodeInvalid {
				t.Errorf("%q: %v", bad, err)
			}
		})
	}
}

func FuzzParsePlace(f *testing.F) {
	f.Add(formatPlace(webhook.DeliveryPlace{CreatedAt: time.UnixMicro(1), EventID: "evt_x"}))
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := parsePlace(s); err == nil && p != nil && formatPlace(*p) != s {
			t.Fatalf("%q is also %q", s, formatPlace(*p))
		}
	})
}

// Every attempt shows as text, whatever the receiver answered.
func TestWireDelivery(t *testing.T) {
	d := wireDelivery(webhook.Delivery{Event: webhook.Event{ID: "evt_x", Kind: webhook.RecordLogged,
		Record: &notary.Record{ID: "r", Number: "n"}}, Status: webhook.Done,
		History: []webhook.Attempt{{Status: 200, Answer: []byte("a\xffb")},
			{Error: "e", Took: 1500 * time.Microsecond}}})
	if d.DueAt != "" || d.RecordID != "r" || len(d.Attempts) != 2 || d.Attempts[0].Answer != "a\uFFFDb" ||
		d.Attempts[1].Error != "e" || d.Attempts[1].Duration != 1 {
		t.Errorf("%+v", d)
	}
}
