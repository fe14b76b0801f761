package status

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"stele/crypto/merkle"
	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/proof/statement"
)

const (
	codeA  = "91350100M000100Y43"
	codeB  = "12420100MB1234567X"
	origin = "log.example/a"
)

func issue(t testing.TB, number, code, supersedes string) []byte {
	t.Helper()
	return encode(t, statement.Statement{Action: statement.Issue, Number: number, Agency: statement.Agency{Code: code,
		Name: "机关"}, Document: statement.Document{MediaType: "application/pdf"}, Class: "general",
		Supersedes: supersedes, IssuedAt: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)})
}

func revoke(t testing.TB, number, code string) []byte {
	t.Helper()
	return encode(t, statement.Statement{Action: statement.Revoke, Number: number, Agency: statement.Agency{Code: code,
		Name: "机关"}, Reason: "错误", IssuedAt: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)})
}

func encode(t testing.TB, s statement.Statement) []byte {
	t.Helper()
	b, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestStatementForm(t *testing.T) {
	s := Statement{Log: origin, Size: 12, Map: sm.Sum([]byte("x")), Records: 1, Certificates: 2, Agencies: 3}
	text, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	want := `{"type":"stele/status/v1","log":"log.example/a","size":12,"map":"` + s.Map.String() +
		`","records":1,"certificates":2,"agencies":3}`
	if string(text) != want {
		t.Errorf("%s", text)
	}
	if again, err := Parse(text); err != nil || again != s {
		t.Error(again, err)
	}
	for name, bad := range map[string]string{
		"empty":         "",
		"white space":   strings.Replace(want, ",", ", ", 1),
		"another type":  strings.Replace(want, "status/v1", "status/v2", 1),
		"upper case":    strings.Replace(want, s.Map.String(), strings.ToUpper(s.Map.String()), 1),
		"leading zero":  strings.Replace(want, ":12,", ":012,", 1),
		"too large":     strings.Replace(want, ":12,", ":9007199254740993,", 1),
		"other order":   strings.Replace(want, `"records":1,"certificates":2`, `"certificates":2,"records":1`, 1),
		"unknown key":   strings.Replace(want, `"size"`, `"x":1,"size"`, 1),
		"bad origin":    strings.Replace(want, "log.example/a", "log example", 1),
		"missing count": strings.Replace(want, `,"agencies":3`, "", 1),
		"trailing byte": want + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := Parse([]byte(bad)); !errors.Is(err, ErrStatement) {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

// What a map may hold of a record and of a certificate comes back the same, and nothing else does.
func TestValueForms(t *testing.T) {
	since := time.Date(2026, 11, 22, 6, 28, 43, 0, time.UTC)
	for _, e := range []Ended{{}, {Superseded: true, Index: 12}, {Index: 1<<53 - 1}} {
		t.Run(e.Text(), func(t *testing.T) {
			if again, err := ParseEnded(e.Text()); err != nil || again != e {
				t.Error(again, err)
			}
		})
	}
	for _, reason := range []string{KeyCompromise, Superseded, CessationOfOperation} {
		t.Run(reason, func(t *testing.T) {
			r := Revocation{Reason: reason, Since: since, Index: 12}
			if again, err := ParseRevocation(r.Text()); err != nil || again != r {
				t.Error(again, err)
			}
		})
	}
	for _, bad := range []string{"", "revoked", "revoked ", "revoked 01", "revoked +1", "revoked 1 ", "Revoked 1",
		"revoked 9007199254740992", "revoked 18446744073709551616"} {
		t.Run("no record: "+bad, func(t *testing.T) {
			if e, err := ParseEnded(bad); !errors.Is(err, ErrValue) {
				t.Error(e, err)
			}
		})
	}
	for _, bad := range []string{"", "keyCompromise", "stolen 2026-11-22T06:28:43Z 1", "superseded 1",
		"keyCompromise 2026-11-22T06:28:43.5Z 1", "keyCompromise 2026-11-31T06:28:43Z 1",
		"keyCompromise 1999-11-22T06:28:43Z 1", "keyCompromise 2026-11-22T06:28:43+00:00 1",
		"keyCompromise 2026-11-22T06:28:43Z 01", "keyCompromise 2026-11-22T06:28:43Z 1 1"} {
		t.Run("no certificate: "+bad, func(t *testing.T) {
			if r, err := ParseRevocation(bad); !errors.Is(err, ErrValue) {
				t.Error(r, err)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	text, _ := Statement{Log: origin, Size: 12}.Encode()
	f.Add(text)
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Parse(data)
		if err != nil {
			return
		}
		if again, err := s.Encode(); err != nil || !bytes.Equal(again, data) {
			t.Errorf("%q became %q, %v", data, again, err)
		}
	})
}

func validNumbers(t testing.TB) (out []string) {
	t.Helper()
	for serial := range uint64(4) {
		n, err := notary.FormatNumber("420100", 2026, serial)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, n)
	}
	return out
}

var yesterday = time.Date(2026, 11, 29, 8, 0, 0, 0, time.UTC)

// revokeCertificate is the revocation of a certificate that stands for any.
func revokeCertificate(t testing.TB, certificate, reason string) []byte {
	t.Helper()
	text, err := CertificateRevocation{Certificate: sm.Sum([]byte(certificate)), Agency: codeA, Reason: reason,
		Since: yesterday, IssuedAt: yesterday.Add(time.Hour)}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func leafOf(text []byte) merkle.Hash { return merkle.LeafHash(text) }

func TestState(t *testing.T) {
	numbers := validNumbers(t)
	n1, n2, n3 := numbers[0], numbers[1], numbers[2]
	entries := [][]byte{
		0: issue(t, n1, codeA, ""),
		1: issue(t, n2, codeA, n1),                      // replaces the first
		2: revoke(t, n1, codeA),                         // too late: it has ended
		3: revoke(t, n2, codeA),                         // counts
		4: revoke(t, n3, codeB),                         // of a record that is not there: it says so all the same
		5: []byte(`{"type":"stele/status/v1","log":1}`), // whatever a status statement says
		6: []byte("rubbish"),
		7: revokeCertificate(t, "one", KeyCompromise),
		8: revokeCertificate(t, "one", Superseded),                                                // too late
		9: bytes.Replace(revokeCertificate(t, "two", Superseded), []byte(`"}`), []byte(`" }`), 1), // out of form
	}
	var s State
	for _, e := range entries {
		s.Add(e, leafOf(e))
	}
	snap := s.Snapshot()
	if snap.Size != 10 || snap.Records != 3 || snap.Certificates != 1 || snap.Agencies != 2 || snap.Map.Size() != 6 {
		t.Fatalf("%+v, %d keys", snap, snap.Map.Size())
	}
	tally := Tally{}
	for _, e := range entries[:4] {
		tally = tally.Add(leafOf(e))
	}
	for name, c := range map[string]struct{ key, value sm.Digest }{
		"replaced": {RecordKey(n1, codeA), Ended{Superseded: true, Index: 1}.Value()},
		"revoked":  {RecordKey(n2, codeA), Ended{Index: 3}.Value()},
		"unissued": {RecordKey(n3, codeB), Ended{Index: 4}.Value()},
		"certificate": {CertificateKey(sm.Sum([]byte("one"))),
			Revocation{Reason: KeyCompromise, Since: yesterday, Index: 7}.Value()},
		"agency":    {AgencyKey(codeA), tally.Value()},
		"the other": {AgencyKey(codeB), Tally{}.Add(leafOf(entries[4])).Value()},
	} {
		t.Run(name, func(t *testing.T) {
			if err := snap.Map.Prove(c.key).Verify(snap.Map.Root(), c.key, c.value); err != nil {
				t.Error(err)
			}
		})
	}
	for name, key := range map[string]sm.Digest{"another agency's": RecordKey(n1, codeB),
		"a record in force": RecordKey(n3, codeA), "a certificate": CertificateKey(sm.Sum(nil))} {
		t.Run(name, func(t *testing.T) {
			if err := snap.Map.Prove(key).VerifyAbsent(snap.Map.Root(), key); err != nil {
				t.Error(err)
			}
		})
	}
	if got := s.Changed(); len(got) != 2 || got[codeA] != tally || len(s.Changed()) != 0 {
		t.Errorf("%+v", got)
	}
}

// However the entries come, in steps, with the map made in between, or restored in the middle, the statement
// is the same bytes.
func TestStateFollowsFromEntries(t *testing.T) {
	numbers := validNumbers(t)
	rapid.Check(t, func(r *rapid.T) {
		var entries [][]byte
		for range rapid.IntRange(0, 40).Draw(r, "entries") {
			n := rapid.SampledFrom(numbers).Draw(r, "number")
			code := rapid.SampledFrom([]string{codeA, codeB}).Draw(r, "code")
			switch rapid.IntRange(0, 3).Draw(r, "what") {
			case 0:
				entries = append(entries, issue(t, n, code, ""))
			case 1:
				entries = append(entries, revoke(t, n, code))
			case 2:
				entries = append(entries, revokeCertificate(t, n, rapid.SampledFrom(Reasons()).Draw(r, "reason")))
			default:
				other := rapid.SampledFrom(numbers).Draw(r, "other")
				if other == n {
					other = ""
				}
				entries = append(entries, issue(t, n, code, other))
			}
		}
		whole := &State{}
		for _, e := range entries {
			whole.Add(e, leafOf(e))
		}
		steps, cut := &State{}, rapid.IntRange(0, len(entries)).Draw(r, "cut")
		ended, revoked := map[sm.Digest]Ended{}, map[sm.Digest]Revocation{}
		for i, e := range entries[:cut] {
			steps.Add(e, leafOf(e))
			steps.Snapshot()
			if p, err := ParseCertificateRevocation(e); err == nil {
				if key := CertificateKey(p.Certificate); revoked[key] == (Revocation{}) {
					revoked[key] = Revocation{Reason: p.Reason, Since: p.Since, Index: uint64(i)}
				}
			}
			if p, err := statement.Parse(e); err == nil {
				number, superseded := p.Number, false
				if p.Action == statement.Issue {
					number, superseded = p.Supersedes, true
				}
				key := RecordKey(number, p.Agency.Code)
				if _, earlier := ended[key]; number != "" && !earlier {
					ended[key] = Ended{Superseded: superseded, Index: uint64(i)}
				}
			}
		}
		restored := Restore(Kept{Size: uint64(cut), Ended: ended, Revoked: revoked, Tallies: steps.tallies})
		for _, e := range entries[cut:] {
			steps.Add(e, leafOf(e))
			restored.Add(e, leafOf(e))
		}
		want := whole.Snapshot().Statement(origin)
		if got := steps.Snapshot().Statement(origin); got != want {
			r.Fatalf("in steps %+v, at once %+v", got, want)
		}
		if got := restored.Snapshot().Statement(origin); got != want {
			r.Fatalf("restored %+v, at once %+v", got, want)
		}
	})
}

// What is read of a statement is what its strict reader says.
func TestReadAgreesWithParse(t *testing.T) {
	numbers := validNumbers(t)
	for name, text := range map[string][]byte{
		"issue": issue(t, numbers[0], codeA, ""), "replacement": issue(t, numbers[1], codeB, numbers[0]),
		"revocation": revoke(t, numbers[2], codeA),
	} {
		t.Run(name, func(t *testing.T) {
			p, err := statement.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			want := said{code: p.Agency.Code, ends: p.Supersedes, revokes: p.Action == statement.Revoke}
			if want.revokes {
				want.ends = p.Number
			}
			if got, ok := read(text); !ok || got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
		})
	}
	// A name that looks like a key is a string with escaped quotes.
	s := statement.Statement{Action: statement.Issue, Number: numbers[0], Agency: statement.Agency{Code: codeA,
		Name: `x","supersedes":"` + numbers[1] + `"`}, Document: statement.Document{MediaType: "a/b"}, Class: "general",
		IssuedAt: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)}
	if got, ok := read(encode(t, s)); !ok || got.ends != "" {
		t.Errorf("%+v", got)
	}
}

func BenchmarkAdd(b *testing.B) {
	text := issue(b, validNumbers(b)[0], codeA, "")
	var s State
	for b.Loop() {
		s.Add(text, merkle.Hash{})
	}
}
