package statement

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"stele/crypto/sm"
	"stele/notary"
)

func sample() Statement {
	return Statement{
		Action: Issue, Number: "420100-2026-00000017-0", Agency: Agency{Code: "91350100M000100Y43", Name: "江城市政务服务局"},
		Document: Document{SM3: sm.Sum([]byte("d")), Size: 1234, MediaType: "application/pdf"}, Class: "general",
		Fields:   []Field{{"fileName", sm.Sum([]byte("f"))}, {"title", sm.Sum([]byte("t"))}},
		IssuedAt: time.Date(2026, 11, 22, 6, 28, 41, 123e6, time.UTC),
	}
}

func revocation() Statement {
	s := sample()
	return Statement{Action: Revoke, Number: s.Number, Agency: s.Agency, Reason: "issued in error",
		IssuedAt: s.IssuedAt}
}

func mustEncode(t testing.TB, s Statement) []byte {
	t.Helper()
	b, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestEncodedForm(t *testing.T) {
	want :=
		`{"type":"stele/statement/v1","action":"issue","number":"420100-2026-00000017-0","agency":{"code":"91350100M000100Y43","name":"江城市政务服务局"},` +
			`"document":{"sm3":"` + sm.Sum([]byte("d")).String() +
			`","size":1234,"mediaType":"application/pdf"},"class":"general",` +
			`"fields":{"fileName":"` + sm.Sum([]byte("f")).String() + `","title":"` + sm.Sum([]byte("t")).String() +
			`"},"issuedAt":"2026-11-22T06:28:41.123Z"}`
	if got := string(mustEncode(t, sample())); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	want =
		`{"type":"stele/statement/v1","action":"revoke","number":"420100-2026-00000017-0","agency":{"code":"91350100M000100Y43","name":"江城市政务服务局"},` +
			`"reason":"issued in error","issuedAt":"2026-11-22T06:28:41.123Z"}`
	if got := string(mustEncode(t, revocation())); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestParseIsTheInverse(t *testing.T) {
	superseding := sample()
	var err error
	if superseding.Supersedes, err = notary.FormatNumber("110000", 2025, 1); err != nil {
		t.Fatal(err)
	}
	explained := superseding
	explained.Reason = "面积有误"
	if b := mustEncode(t, explained); !bytes.Contains(b,
		[]byte(`"supersedes":"`+explained.Supersedes+`","reason":"面积有误","fields":{`)) {
		t.Errorf("%s", b)
	}
	for _, s := range []Statement{sample(), superseding, explained, revocation()} {
		b := mustEncode(t, s)
		got, err := Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(mustEncode(t, got), b) {
			t.Errorf("%s came back otherwise", b)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	good := string(mustEncode(t, sample()))
	edit := func(old, new string) string {
		out := strings.Replace(good, old, new, 1)
		if out == good {
			t.Fatalf("%q is not in the sample", old)
		}
		return out
	}
	for name, bad := range map[string]string{
		"white space":   edit(`,"class"`, `, "class"`),
		"trailing byte": good + "\n",
		"unknown key":   edit(`"class"`, `"extra":1,"class"`),
		"repeated key":  edit(`"class":"general"`, `"class":"general","class":"general"`),
		"key order": edit(`"code":"91350100M000100Y43","name":"江城市政务服务局"`,
			`"name":"江城市政务服务局","code":"91350100M000100Y43"`),
		"upper-case key":     edit(`"class"`, `"Class"`),
		"escaped letter":     edit(`general`, `gener\u0061l`),
		"number as float":    edit(`1234`, `1234.0`),
		"number exponent":    edit(`1234`, `1e3`),
		"negative size":      edit(`1234`, `-1`),
		"huge size":          edit(`1234`, `9007199254740992`),
		"other type":         edit(`statement/v1`, `statement/v2`),
		"unknown action":     edit(`"issue"`, `"update"`),
		"bad check digit":    edit(`-00000017-0`, `-00000018-0`),
		"bad credit code":    edit(`Y43`, `Y44`),
		"upper-case digest":  edit(sm.Sum([]byte("d")).String(), strings.ToUpper(sm.Sum([]byte("d")).String())),
		"unsorted fields":    edit(`"fileName"`, `"zzz"`),
		"reason in an issue": edit(`,"issuedAt"`, `,"reason":"x","issuedAt"`),
		"time zone":          edit(`.123Z`, `.123+08:00`),
		"no milliseconds":    edit(`.123Z`, `Z`),
		"control character":  edit(`江城市`, `江\n城市`),
		"reordering mark":    edit(`江城市`, "江\u202e城市"),
		"null document":      edit(`"document":{`, `"document":null,"x":{`),
		"upper-case media":   edit(`application/pdf`, `application/PDF`),
		"empty":              "", "array": "[]", "invalid UTF-8": edit("江城市", "江\xff市"),
		"too long": edit(`江城市政务服务局`, strings.Repeat("江", MaxSize/3)),
	} {
		t.Run(name, func(t *testing.T) {
			if s, err := Parse([]byte(bad)); err == nil {
				t.Errorf("%s: accepted as %+v", name, s)
			}
		})
	}
}

func TestEntryRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := Entry{Statement: rapid.SliceOfN(rapid.Byte(), 1, 400).Draw(t, "s"), Signature: rapid.SliceOfN(rapid.Byte(),
			1, sm.MaxSignatureSize).Draw(t, "g"), Certificate: sm.Sum([]byte("c"))}
		b := e.Encode()
		got, err := ParseEntry(b)
		if err != nil || !bytes.Equal(got.Encode(), b) {
			t.Fatal(err)
		}
		if _, err := ParseEntry(append(b, 0)); err == nil {
			t.Fatal("trailing byte accepted")
		}
		if _, err := ParseEntry(b[:rapid.IntRange(0, len(b)-1).Draw(t, "cut")]); err == nil {
			t.Fatal("truncated entry accepted")
		}
	})
}

func TestCommitmentBindsNameAndValue(t *testing.T) {
	salt := make([]byte, SaltSize)
	if Commitment(salt, "a", "b\x00c") == Commitment(salt, "a\x00b", "c") {
		// names cannot hold a zero byte, so this pair cannot occur; the layout alone must not be relied on
		if ValidFieldName("a\x00b") {
			t.Error("ambiguous commitment")
		}
	}
}

func FuzzStatement(f *testing.F) {
	f.Add(mustEncode(f, sample()))
	f.Add(mustEncode(f, revocation()))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Parse(b)
		if err != nil {
			return
		}
		if !bytes.Equal(mustEncode(t, s), b) {
			t.Fatalf("%q", b)
		}
	})
}

func FuzzEntry(f *testing.F) {
	f.Add(Entry{Statement: []byte("s"), Signature: []byte("g")}.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, err := ParseEntry(b); err == nil && !bytes.Equal(e.Encode(), b) {
			t.Fatalf("%x", b)
		}
	})
}
