package anchorproof

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"stele/crypto/merkle"
)

func TestVerify(t *testing.T) {
	a := newAnchored(t)
	b, err := a.evidence.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes with 3 cosigners and 2 hand-overs of 4 members", len(b))
	got, err := Verify(a.genesis, a.checkpoint, b)
	if err != nil {
		t.Fatal(err)
	}
	if got.Chain != "egov-test" || got.Index != 7 || got.Height != 22 || got.Epoch != 2 || got.Signed != 35 ||
		got.Total != 45 ||
		got.Time.Format(timeLayout) != "2026-11-22T07:26:29.499Z" ||
		!slices.Equal(got.Validators, []string{"city-1", "city-3", "city-9"}) {
		t.Fatalf("%+v", got)
	}
}

func TestEvidenceWithoutEpochs(t *testing.T) {
	ms := newMembers(t, 1)
	g := genesis(t, ms...)
	a := newAnchored(t)
	h := a.evidence.Header
	h.Epoch = 0
	e := Evidence{Header: h, Position: 2, Path: a.evidence.Path, Cosignatures: cosign(t, ms, h.Text(), 0)}
	b, err := e.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasSuffix(b, []byte(`,"epochs":[]}`)) {
		t.Errorf("empty list must be []: %s", b)
	}
	t.Logf("%d bytes with one cosigner", len(b))
	if _, err := Verify(g, a.checkpoint, b); err != nil {
		t.Fatal(err)
	}
}

// Every refusal says which part does not hold.
func TestVerifyRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(t *testing.T, a *anchored)
		want  error
	}{
		"other checkpoint": {func(t *testing.T, a *anchored) { a.checkpoint.Size++ }, ErrInclusion},
		"other position":   {func(t *testing.T, a *anchored) { a.evidence.Position = 1 }, ErrInclusion},
		"position outside": {func(t *testing.T, a *anchored) { a.evidence.Position = 3 }, ErrInclusion},
		"changed path":     {func(t *testing.T, a *anchored) { a.evidence.Path[0][0] ^= 1 }, ErrInclusion},
		"ambiguous checkpoint": {func(t *testing.T, a *anchored) {
			a.checkpoint.Origin = "log.example/2\n102\n"
		}, ErrFormat},
		"time one millisecond off": {func(t *testing.T, a *anchored) { a.evidence.Header.TimeMs++ }, ErrQuorum},
		"other chain":              {func(t *testing.T, a *anchored) { a.evidence.Header.Chain = "egov-2" }, ErrChain},
		"two of four cosigners": {func(t *testing.T, a *anchored) {
			a.evidence.Cosignatures = a.evidence.Cosignatures[:2]
		}, ErrQuorum},
		"no cosigners": {func(t *testing.T, a *anchored) { a.evidence.Cosignatures = nil }, ErrQuorum},
		"a cosigner twice": {func(t *testing.T, a *anchored) {
			a.evidence.Cosignatures[1] = a.evidence.Cosignatures[0]
		}, ErrQuorum},
		"cosigners out of order": {func(t *testing.T, a *anchored) { slices.Reverse(a.evidence.Cosignatures) },
			ErrQuorum},
		"unknown cosigner":  {func(t *testing.T, a *anchored) { a.evidence.Cosignatures[2].Validator = 4 }, ErrQuorum},
		"negative cosigner": {func(t *testing.T, a *anchored) { a.evidence.Cosignatures[0].Validator = -1 }, ErrQuorum},
		"one bad among a quorum": {func(t *testing.T, a *anchored) {
			s := cosign(t, a.members, a.evidence.Header.Text(), 0, 1, 2, 3)
			s[3].Signature = mustSign(t, mustKey(t), a.evidence.Header.Text())
			a.evidence.Cosignatures = s
		}, ErrQuorum},
		"header of the next epoch": {func(t *testing.T, a *anchored) { a.evidence.Header.Epoch = 3 }, ErrHandOver},
		"missing last epoch": {func(t *testing.T, a *anchored) { a.evidence.Epochs = a.evidence.Epochs[:1] },
			ErrHandOver},
		"missing first epoch": {func(t *testing.T, a *anchored) { a.evidence.Epochs = a.evidence.Epochs[1:] },
			ErrHandOver},
		"no epochs": {func(t *testing.T, a *anchored) { a.evidence.Epochs = nil }, ErrHandOver},
		"other genesis": {func(t *testing.T, a *anchored) {
			a.genesis = genesis(t, newMembers(t, 4)...)
		}, ErrHandOver},
		"hand-over without quorum": {func(t *testing.T, a *anchored) {
			a.evidence.Epochs[0].Signatures = a.evidence.Epochs[0].Signatures[:2]
		}, ErrHandOver},
		"newcomer without proof": {func(t *testing.T, a *anchored) { a.evidence.Epochs[0].Joins = nil }, ErrHandOver},
		"proof of the wrong member": {func(t *testing.T, a *anchored) {
			a.evidence.Epochs[0].Joins[0].Validator = 0
		}, ErrHandOver},
		"proof nobody owes": {func(t *testing.T, a *anchored) {
			a.evidence.Epochs[1].Joins = a.evidence.Epochs[0].Joins
		}, ErrHandOver},
		"proof by another SM2 key": {func(t *testing.T, a *anchored) {
			a.evidence.Epochs[0].Joins[0].SM2 = mustSign(t, mustKey(t), a.evidence.Epochs[0].Text())
		}, ErrHandOver},
		"proof by another consensus key": {func(t *testing.T, a *anchored) {
			a.evidence.Epochs[0].Joins[0].Ed25519 = ed25519.Sign(newMember(t, "x", 1).cons,
				[]byte(a.evidence.Epochs[0].Text()))
		}, ErrHandOver},
		"hand-over of another chain": {func(t *testing.T, a *anchored) { a.evidence.Epochs[0].Chain = "egov-2" },
			ErrChain},
		"more power than signed": {func(t *testing.T, a *anchored) { a.evidence.Epochs[1].Validators[0].Power = 1000 },
			ErrHandOver},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAnchored(t)
			c.spoil(t, &a)
			got, err := a.evidence.Verify(a.genesis, a.checkpoint)
			if !errors.Is(err, c.want) || got.Chain != "" {
				t.Fatalf("got %+v, %v; want %v", got, err, c.want)
			}
		})
	}
}

// Exactly two thirds are no quorum.
func TestQuorumIsMoreThanTwoThirds(t *testing.T) {
	ms := newMembers(t, 3)
	e := genesis(t, ms...)
	if p, err := e.CheckQuorum("x", cosign(t, ms, "x", 0, 2)); !errors.Is(err, ErrQuorum) || p != 0 {
		t.Error("20 of 30 passed", p, err)
	}
	if p, err := e.CheckQuorum("x", cosign(t, ms, "x", 0, 1, 2)); err != nil || p != 30 {
		t.Error(p, err)
	}
	ms[0].Power = 11
	e = genesis(t, ms...)
	if p, err := e.CheckQuorum("x", cosign(t, ms, "x", 0, 1)); err != nil || p != 21 {
		t.Error("21 of 31 refused", p, err)
	}
}

func TestNewcomers(t *testing.T) {
	ms := newMembers(t, 3)
	g := genesis(t, ms...)
	next := append([]member(nil), ms...)
	next[0].Power = 99
	next[1].Key = mustKey(t).Public()
	next[2].Name = "renamed"
	next = append(next, newMember(t, "city-7", 1))
	if got := g.Newcomers(Epoch{Validators: validators(next)}); !slices.Equal(got, []int{1, 2, 3}) {
		t.Fatal(got)
	}
}

// No single changed byte of an evidence goes unnoticed.
func TestEveryByteMatters(t *testing.T) {
	a := newAnchored(t)
	good, err := a.evidence.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		b := slices.Clone(good)
		b[rapid.IntRange(0, len(b)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if _, err := Verify(a.genesis, a.checkpoint, b); err == nil {
			t.Fatalf("accepted %s", b)
		}
	})
}

func TestParseEvidenceRefuses(t *testing.T) {
	a := newAnchored(t)
	b, err := a.evidence.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	good := string(b)
	edit := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("sample has no %q", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	short, err := json.Marshal(make([]byte, 31))
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{
		"empty": "", "null": "null", "list": "[]", "trailing byte": good + "\n", "trailing object": good + "{}",
		"leading space": " " + good,
		"white space":   edit(`,"position"`, `, "position"`), "unknown key": edit(`"position":2`, `"position":2,"x":1`),
		"repeated key": edit(`"position":2`, `"position":2,"position":2`),
		"other case":   edit(`"position"`, `"Position"`), "null list": edit(`"joins":[]`, `"joins":null`),
		"missing key": edit(`"position":2,`, ""),
		"float":       edit(`"position":2`, `"position":2.0`), "other kind": edit(Kind, "stele/egov/v2"),
		"escaped slash":  edit(`stele/egov`, `stele\/egov`),
		"unicode escape": edit(`"kind"`, `"\u006bind"`), "unpadded base64": edit(`="]`, `"]`),
		"base64 with line feed": edit(`"path":["`, `"path":["\n`),
		"short hash":            edit(`"path":[`, `"path":[`+string(short)+`,`),
		"position too large":    edit(`"position":2`, `"position":9007199254740992`),
		"long path": edit(`"path":[`,
			`"path":[`+strings.Repeat(`"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",`, merkle.MaxPath)),
		"many signatures": edit(`"cosignatures":[`, `"cosignatures":[`+strings.Repeat(`{"validator":0,"signature":""},`,
			MaxValidators)),
		"no validator":  edit(`"cosignatures":[{"validator":0`, `"cosignatures":[{"validator":-1`),
		"far validator": edit(`"cosignatures":[{"validator":0`, `"cosignatures":[{"validator":9007199254740992`),
		"no signer":     edit(`"signatures":[{"validator":0`, `"signatures":[{"validator":-1`),
		"no newcomer":   edit(`"joins":[{"validator":`, `"joins":[{"validator":-`),
		"far newcomer":  edit(`"joins":[{"validator":`, `"joins":[{"validator":900719925474099`),
		"header":        edit(`epoch 2`, `epoch 02`),
		"epoch text":    edit(`city-3 10`, `city-3 010`),
		"empty epoch":   edit(`"epochs":[`, `"epochs":[{},`),
		"oversize":      good + strings.Repeat(" ", MaxEvidenceSize),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ParseEvidence([]byte(bad)); !errors.Is(err, ErrFormat) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	// The largest number is well-formed: that no epoch has such a validator is another finding.
	largest := edit(`"cosignatures":[{"validator":0`, `"cosignatures":[{"validator":9007199254740991`)
	far, err := ParseEvidence([]byte(largest))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := far.Verify(a.genesis, a.checkpoint); err == nil {
		t.Error("a validator that the epoch does not have cosigned")
	}
}

func TestMarshalRefusesInvalid(t *testing.T) {
	if _, err := (Evidence{}).Marshal(); !errors.Is(err, ErrFormat) {
		t.Error(err)
	}
	if _, err := (SignedEpoch{}).Marshal(); !errors.Is(err, ErrFormat) {
		t.Error(err)
	}
}

func TestSignedEpochRoundTrip(t *testing.T) {
	for _, s := range newAnchored(t).evidence.Epochs {
		b, err := s.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseSignedEpoch(b)
		if err != nil {
			t.Fatal(err)
		}
		again, err := got.Marshal()
		if err != nil || !bytes.Equal(again, b) {
			t.Fatal(err)
		}
	}
}

func FuzzParseEvidence(f *testing.F) {
	b, err := newAnchored(f).evidence.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := ParseEvidence(b)
		if err != nil {
			return
		}
		if again, err := e.Marshal(); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%s: %v", b, err)
		}
	})
}

func FuzzParseSignedEpoch(f *testing.F) {
	b, err := newAnchored(f).evidence.Epochs[0].Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := ParseSignedEpoch(b)
		if err != nil {
			return
		}
		if again, err := e.Marshal(); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%s: %v", b, err)
		}
	})
}

// Three cosigners and two hand-overs: seven quorum signatures and a proof of possession.
func BenchmarkVerify(b *testing.B) {
	a := newAnchored(b)
	raw, err := a.evidence.Marshal()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Verify(a.genesis, a.checkpoint, raw); err != nil {
			b.Fatal(err)
		}
	}
}
