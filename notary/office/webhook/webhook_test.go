package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"stele/crypto/sm"
	"stele/notary"
)

func fatalIfErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var at = time.Date(2026, 11, 22, 6, 28, 41, 123_000_000, time.UTC)

func record() *notary.Record {
	return &notary.Record{ID: "id", Index: 17, Number: "420100-2026-00000017-0", SM3: sm.Sum([]byte("x")), Size: 1,
		MediaType: "application/pdf", Class: "decision", IssuedAt: at, Code: "SECRETCODE",
		Fields: []notary.Field{{Name: "title", Salt: []byte{1}, Value: "<Title>"},
			{Name: "name", Salt: []byte{1}, Value: "Zhang"}, {Name: "erased"}}}
}

// The exact bytes: receivers may compare them, and a repetition must not differ.
func TestMessages(t *testing.T) {
	agency := notary.Agency{Code: "11420100MB0A000016", Name: "江城市"}
	full :=
		`"id":"id","number":"420100-2026-00000017-0",%s"agency":{"code":"11420100MB0A000016","name":"江城市"},"document":{"sm3":"` + record().SM3.String() +
			`","size":1,"mediaType":"application/pdf"},"class":"decision","index":17,"issuedAt":"2026-11-22T06:28:41.123Z"`
	revoked, replaced := record(), record()
	revoked.Standing, revoked.StandingAt, revoked.Reason = notary.Revoked, at, "wrong"
	replaced.Standing, replaced.StandingAt, replaced.StandingBy = notary.Superseded, at, "n2"
	for name, c := range map[string]struct {
		e    Event
		form Form
		want string
	}{
		"thin": {Event{Kind: RecordLogged, Record: record()}, Form{Thin: true, Fields: []string{"*"}},
			`"id":"id","number":"420100-2026-00000017-0"`},
		"logged": {Event{Kind: RecordLogged, Record: record()}, Form{}, fmt.Sprintf(full, `"state":"logged",`)},
		// What became of the record later does not change what was said.
		"logged, revoked": {Event{Kind: RecordLogged, Record: revoked}, Form{}, fmt.Sprintf(full, `"state":"logged",`)},
		"anchored, field": {Event{Kind: RecordAnchored, Record: record()},
			Form{Fields: []string{"erased", "none", "title"}}, fmt.Sprintf(full, `"state":"anchored",`) +
				`,"fields":{"title":"<Title>"}`},
		"all fields": {Event{Kind: RecordAnchored, Record: record()}, Form{Fields: []string{"*"}},
			fmt.Sprintf(full, `"state":"anchored",`) + `,"fields":{"name":"Zhang","title":"<Title>"}`},
		"revoked": {Event{Kind: RecordRevoked, Record: revoked}, Form{},
			fmt.Sprintf(full, `"standing":"revoked","standingAt":"2026-11-22T06:28:41.123Z","reason":"wrong",`)},
		"superseded": {Event{Kind: RecordSuperseded, Record: replaced}, Form{},
			fmt.Sprintf(full, `"standing":"superseded","standingAt":"2026-11-22T06:28:41.123Z","supersededBy":"n2",`)},
		"upload": {Event{Kind: UploadFailed, Notice: &Notice{Subject: "u", Reason: "expired"}}, Form{},
			`"upload":{"id":"u","reason":"expired"}`},
		"disabled": {Event{Kind: EndpointDisabled, Notice: &Notice{Subject: "e", URL: "https://u", Reason: "gone"}},
			Form{}, `"endpoint":{"id":"e","url":"https://u","reason":"gone"}`},
		"expiring": {Event{Kind: CertificateExpiring, Notice: &Notice{Subject: "9e41", Ends: at.Add(time.Hour),
			DaysLeft: 1}}, Form{},
			`"certificate":{"fingerprint":"9e41","notAfter":"2026-11-22T07:28:41.123Z","daysLeft":1}`},
		"expired": {Event{Kind: CertificateExpiring, Notice: &Notice{Subject: "9e41", Ends: at}}, Form{Thin: true},
			`"certificate":{"fingerprint":"9e41","notAfter":"2026-11-22T06:28:41.123Z","daysLeft":0}`},
	} {
		t.Run(name, func(t *testing.T) {
			c.e.At, c.e.Agency = at, agency
			got, err := MessageOf(c.e, c.form).Encode()
			want := `{"type":"` + string(c.e.Kind) + `","timestamp":"2026-11-22T06:28:41.123Z","data":{` + c.want + `}}`
			if err != nil || string(got) != want {
				t.Errorf("%s:\ngot  %s\nwant %s", name, got, want)
			}
			if !json.Valid(got) || strings.Contains(string(got), "SECRETCODE") {
				t.Errorf("%s: %s", name, got)
			}
		})
	}
}

// Ids sort as the events do, and there is one text for one place.
func TestCursor(t *testing.T) {
	places := []Cursor{{0, 0}, {0, 1}, {0, 300}, {1, 0}, {31, 5}, {32, 4}, {1 << 40, 0}, {math.MaxInt64, math.MaxInt64}}
	var ids []string
	for _, c := range places {
		ids = append(ids, c.String())
		if got, err := ParseCursor(c.String()); err != nil || got != c {
			t.Errorf("%v: got %v, %v", c, got, err)
		}
	}
	if !slices.IsSorted(ids) {
		t.Errorf("out of order: %q", ids)
	}
	for _, bad := range []string{"", "evt_", "ping_x", Cursor{}.String() + "0",
		strings.ToUpper(Cursor{Row: 1 << 40}.String()), Cursor{math.MaxUint64, 0}.String(),
		strings.TrimPrefix(ids[0], "evt_"), ids[0][:len(ids[0])-1] + "1", ids[0] + "\n"} {
		if c, err := ParseCursor(bad); err == nil {
			t.Errorf("%q is %v", bad, c)
		}
	}
}

func FuzzParseCursor(f *testing.F) {
	f.Add(Cursor{1, 2}.String())
	f.Fuzz(func(t *testing.T, s string) {
		if c, err := ParseCursor(s); err == nil && c.String() != s {
			t.Fatalf("%q is also %q", s, c)
		}
	})
}

func TestSettings(t *testing.T) {
	s := Settings{URL: "https://example.org/x", Kinds: []Kind{RecordRevoked, RecordLogged, RecordRevoked},
		Classes: []string{"b", "a"}}
	fatalIfErr(t, s.check(Policy{}))
	if !slices.Equal(s.Kinds, []Kind{RecordLogged, RecordRevoked}) || !slices.Equal(s.Classes, []string{"a", "b"}) {
		t.Errorf("%+v", s)
	}
	s.Kinds = nil
	fatalIfErr(t, s.check(Policy{}))
	if len(s.Kinds) != len(Kinds) {
		t.Errorf("%q", s.Kinds)
	}
	for field, bad := range map[string]Settings{
		"events":  {URL: s.URL, Kinds: []Kind{"record.received"}},
		"classes": {URL: s.URL, Classes: []string{"a b"}},
		"fields":  {URL: s.URL, Form: Form{Thin: true, Fields: []string{"title"}}},
		"url":     {URL: "http://example.org"},
	} {
		t.Run(field, func(t *testing.T) {
			var e *notary.Error
			if err := bad.check(Policy{}); !errors.As(err, &e) || e.Code != notary.CodeInvalid || e.Field != field {
				t.Errorf("%s: %v", field, err)
			}
		})
	}
	if err := (&Settings{URL: s.URL, Kinds: []Kind{Ping}}).check(Policy{}); err == nil {
		t.Error("pings can be subscribed to")
	}
	if err := (&Settings{URL: s.URL, Classes: make([]string, 101)}).check(Policy{}); err == nil {
		t.Error("101 classes")
	}
}

// A message that is sent in time names its step; between two steps the earlier one holds.
func TestExpirySteps(t *testing.T) {
	for _, c := range []struct {
		left       time.Duration
		days, step int
		due        bool
	}{
		{math.MaxInt64, 106752, 0, false},
		{90*day + 1, 91, 0, false},
		{90 * day, 90, 90, true},
		{60*day + 1, 61, 90, true},
		{60*day - time.Minute, 60, 60, true},
		{14 * day, 14, 14, true},
		{2 * day, 2, 3, true},
		{day, 1, 1, true},
		{1, 1, 1, true},
		{0, 0, 0, true},
		{-1, 0, 0, true},
		{math.MinInt64, 0, 0, true},
	} {
		days := DaysLeft(at.Add(c.left), at)
		if step, due := ExpiryStep(days); days != c.days || step != c.step || due != c.due {
			t.Errorf("%s: %d days, step %d, due %t; want %+v", c.left, days, step, due, c)
		}
	}
}
