package anchorproof

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"stele/crypto/merkle"
	"stele/crypto/sm"
)

var sampleHeader = Header{Chain: "egov-1", Epoch: 3, Index: 12, Height: 36, TimeMs: 1795332389499, Count: 2,
	Anchors: sm.Sum([]byte("a")), History: sm.Sum([]byte("h"))}

func TestHeaderText(t *testing.T) {
	want := "stele/anchor/v1\nchain egov-1\nepoch 3\nindex 12\nheight 36\ntime 2026-11-22T07:26:29.499Z\n" +
		"anchors 2 " + sampleHeader.Anchors.String() + "\nhistory " + sampleHeader.History.String() + "\n"
	if got := sampleHeader.Text(); got != want {
		t.Fatalf("got\n%s\nwant\n%s", got, want)
	}
	without := strings.Replace(want, "epoch 3\n", "", 1)
	if sampleHeader.Leaf() != merkle.LeafHash([]byte(without)) {
		t.Error("the leaf is not the hash of the text without its epoch line")
	}
}

// A header that had to wait for a later epoch keeps its place in history.
func TestLeafDoesNotDependOnEpoch(t *testing.T) {
	a, b := sampleHeader, sampleHeader
	b.Epoch++
	if a.Leaf() != b.Leaf() || a.Text() == b.Text() {
		t.Fatal("epoch must be signed and not hashed into history")
	}
	b.TimeMs++
	if a.Leaf() == b.Leaf() {
		t.Fatal("time must be hashed into history")
	}
}

func TestHeaderRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Uint64Range(0, MaxNumber)
		h := Header{Chain: rapid.StringMatching(`[!-*,-~]{1,50}`).Draw(t, "chain"), Epoch: n.Draw(t, "epoch"),
			Index:  n.Draw(t, "index"),
			Height: rapid.Uint64Range(1, MaxNumber).Draw(t, "height"), TimeMs: rapid.Int64Range(0, maxTimeMs).Draw(t,
				"time"),
			Count: rapid.Uint64Range(1, MaxAnchors).Draw(t, "count"), Anchors: sm.Sum([]byte{1}),
			History: sm.Sum([]byte{2})}
		got, err := ParseHeader(h.Text())
		if err != nil || got != h {
			t.Fatalf("%+v: %+v, %v", h, got, err)
		}
	})
}

// The longest header is within the limit, so no chain can commit what no parser reads.
func TestLongestHeaderIsRead(t *testing.T) {
	h := Header{Chain: strings.Repeat("c", MaxChainID), Epoch: MaxNumber, Index: MaxNumber, Height: MaxNumber,
		TimeMs: maxTimeMs, Count: MaxAnchors}
	if _, err := ParseHeader(h.Text()); err != nil || len(h.Text()) > MaxHeaderSize {
		t.Fatal(len(h.Text()), err)
	}
}

func TestParseHeaderRefuses(t *testing.T) {
	good := sampleHeader.Text()
	edit := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("sample has no %q", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	for name, bad := range map[string]string{
		"empty": "", "no last line feed": strings.TrimSuffix(good, "\n"), "trailing line": good + "x\n",
		"trailing empty line": good + "\n",
		"other magic":         edit("v1", "v2"), "carriage return": edit("\nindex", "\r\nindex"),
		"leading zero": edit("index 12", "index 012"),
		"plus sign":    edit("height 36", "height +36"), "negative": edit("height 36", "height -36"),
		"height zero": edit("height 36", "height 0"),
		"two spaces":  edit("epoch 3", "epoch  3"), "too large": edit("epoch 3", "epoch 9007199254740992"),
		"no anchors":       edit("anchors 2", "anchors 0"),
		"too many anchors": edit("anchors 2", "anchors 1025"), "time zone": edit("499Z", "499+00:00"),
		"microseconds":    edit("499Z", "499000Z"),
		"no milliseconds": edit(".499Z", "Z"), "comma": edit(".499", ",499"), "thirteenth month": edit("-11-", "-13-"),
		"before 1970":    edit("2026", "1969"),
		"upper-case hex": strings.ToUpper(good), "short hash": strings.Replace(good, sampleHeader.History.String(),
			sampleHeader.History.String()[1:], 1),
		"chain with space": edit("egov-1", "egov 1"), "chain too long": edit("egov-1", strings.Repeat("c", 51)),
		"chain empty":   edit("egov-1", ""),
		"swapped lines": edit("epoch 3\nindex 12", "index 12\nepoch 3"), "missing line": edit("epoch 3\n", ""),
		"oversize": good + strings.Repeat("x", 400),
	} {
		t.Run(name, func(t *testing.T) {
			if h, err := ParseHeader(bad); !errors.Is(err, ErrFormat) || h != (Header{}) {
				t.Errorf("%s: %+v, %v", name, h, err)
			}
		})
	}
}

func TestEpochRoundTrip(t *testing.T) {
	e := genesis(t, newMembers(t, 4)...)
	got, err := ParseEpoch(e.Text())
	if err != nil || got.Text() != e.Text() || got.Hash() != sm.Sum([]byte(e.Text())) || got.Total() != 40 {
		t.Fatal(got, err)
	}
	if !got.Notary("log.example/a").Equal(e.Notaries[0].Key) || got.Notary("log.example/b") != nil {
		t.Error("notary lookup")
	}
}

func TestLargestEpochIsRead(t *testing.T) {
	e := Epoch{Chain: strings.Repeat("c", MaxChainID), Number: MaxNumber}
	pad := func(i int) string {
		return strings.Repeat("n", 125) + string([]byte{'a' + byte(i/16), 'a' + byte(i%16), 'x'})
	}
	for i := range MaxValidators {
		m := newMember(t, pad(i), MaxPower)
		e.Validators = append(e.Validators, m.Validator)
	}
	for i := range MaxNotaries {
		e.Notaries = append(e.Notaries, Notary{Origin: pad(i), Key: mustKey(t).Public()})
	}
	text := e.Text()
	t.Logf("%d bytes", len(text))
	if got, err := ParseEpoch(text); err != nil || got.Text() != text {
		t.Fatal(err)
	}
	s := SignedEpoch{Epoch: e}
	for i := range MaxValidators {
		s.Signatures = append(s.Signatures, Cosignature{Validator: i, Signature: make([]byte, sm.MaxSignatureSize)})
		s.Joins = append(s.Joins, Join{Validator: i, SM2: make([]byte, sm.MaxSignatureSize), Ed25519: make([]byte, 64)})
	}
	b, err := s.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes signed", len(b))
	if _, err := ParseSignedEpoch(b); err != nil {
		t.Fatal(err)
	}
}

func TestParseEpochRefuses(t *testing.T) {
	ms := newMembers(t, 2)
	e := genesis(t, ms...)
	good := e.Text()
	lines := strings.SplitAfter(good, "\n") // magic chain epoch previous validator validator notary ""
	v0, v1, n0 := lines[4], lines[5], lines[6]
	edit := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("sample has no %q", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	sm0 := point(e.Validators[0].Key)
	offCurve := sm0[:129] + map[bool]string{true: "1", false: "0"}[sm0[129] == '0']
	for name, bad := range map[string]string{
		"empty": "", "no last line feed": strings.TrimSuffix(good, "\n"), "trailing line": good + "x\n",
		"empty line":   good + "\n",
		"no validator": edit(v0+v1, ""), "notary before validator": edit(v1+n0, n0+v1),
		"validator twice": edit(v1, v1+v1), "notary twice": good + n0,
		"name twice": edit("city-1", "city-0"), "name with plus": edit("city-1", "city+1"),
		"no name":              edit("city-1", ""),
		"consensus key twice":  edit(strings.Fields(v1)[3], strings.Fields(v0)[3]),
		"SM2 key twice":        edit(strings.Fields(v1)[4], sm0),
		"one key in two roles": edit(strings.Fields(n0)[2], sm0), "key off the curve": edit(sm0, offCurve),
		"compressed key": edit(sm0, "02"+sm0[2:66]),
		"upper-case hex": edit(sm0, strings.ToUpper(sm0)), "power zero": edit("city-0 10", "city-0 0"),
		"power 010":       edit("city-0 10", "city-0 010"),
		"power too large": edit("city-0 10", "city-0 1000001"), "short consensus key": edit(strings.Fields(v0)[3],
			strings.Fields(v0)[3][2:]),
		"epoch 0 with a predecessor": edit("previous 0", "previous 1"), "epoch 00": edit("epoch 0", "epoch 00"),
		"fields missing": edit(" "+sm0, ""),
		"extra field":    edit(sm0, sm0+" x"), "other magic": edit("epoch/v1", "epoch/v2"),
		"chain id":       edit("egov-test", strings.Repeat("c", 51)),
		"too many lines": good + strings.Repeat("notary a b\n", 400),
		"oversize":       good + strings.Repeat("x", MaxEpochSize),
	} {
		t.Run(name, func(t *testing.T) {
			if e, err := ParseEpoch(bad); !errors.Is(err, ErrFormat) || !reflect.DeepEqual(e, Epoch{}) {
				t.Errorf("%s: %+v, %v", name, e, err)
			}
		})
	}
}

func TestEpochCheckRefusesWhatTextCannotSay(t *testing.T) {
	e := genesis(t, newMembers(t, 1)...)
	e.Validators[0].Key = nil
	if e.Check() == nil {
		t.Error("validator without key")
	}
	e = genesis(t, newMembers(t, 1)...)
	e.Notaries = append(e.Notaries, Notary{Origin: "x"})
	if e.Check() == nil {
		t.Error("notary without key")
	}
	e.Notaries, e.Number = nil, MaxNumber+1
	if e.Check() == nil {
		t.Error("number")
	}
}

func FuzzParseHeader(f *testing.F) {
	f.Add(sampleHeader.Text())
	f.Fuzz(func(t *testing.T, s string) {
		if h, err := ParseHeader(s); err == nil && h.Text() != s {
			t.Fatalf("%q", s)
		}
	})
}

func FuzzParseEpoch(f *testing.F) {
	f.Add(genesis(f, newMembers(f, 2)...).Text())
	f.Fuzz(func(t *testing.T, s string) {
		if e, err := ParseEpoch(s); err == nil && e.Text() != s {
			t.Fatalf("%q", s)
		}
	})
}
