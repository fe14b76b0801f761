package anchorproof

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"stele/crypto/merkle"
	"stele/crypto/sm"
	"stele/notary/proof/checkpoint"
)

// sampleLink is a link that three of four members of the last epoch signed, and the log.
func sampleLink(t testing.TB) (SignedLink, anchored, *sm.PrivateKey) {
	t.Helper()
	a, log := newAnchored(t), mustKey(t)
	to := Epoch{Chain: "egov-next", Validators: validators(newMembers(t, 2)),
		Notaries: []Notary{{Origin: "log.example/2", Key: log.Public()}}}
	l := Link{Origin: "log.example/2", From: a.genesis.Chain, Genesis: a.genesis.Hash(), Epoch: 2, Size: 102,
		Root: a.checkpoint.Root, TimeMs: 1795332399499, To: to}
	text := l.Text()
	return SignedLink{Link: l, Log: mustSign(t, log, text), Cosignatures: cosign(t, a.members, text, 0, 1, 2),
		Epochs: a.evidence.Epochs}, a, log
}

func TestLinkHasOneSpelling(t *testing.T) {
	l, _, _ := sampleLink(t)
	again, err := ParseLink(l.Text())
	if err != nil || !reflect.DeepEqual(again, l.Link) {
		t.Fatalf("%+v, %v", again, err)
	}
	file, err := l.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if s, err := ParseSignedLink(file); err != nil || !reflect.DeepEqual(s, l) {
		t.Fatalf("%+v, %v", s, err)
	}
	for name, bad := range map[string]string{
		"another version":    strings.Replace(l.Text(), "link/v1", "link/v2", 1),
		"a line missing":     strings.Replace(l.Text(), "epoch 2\n", "", 1),
		"leading zero":       strings.Replace(l.Text(), "checkpoint 102", "checkpoint 0102", 1),
		"two spaces":         strings.Replace(l.Text(), "log ", "log  ", 1),
		"upper case":         strings.Replace(l.Text(), l.Root.String(), strings.ToUpper(l.Root.String()), 1),
		"no time":            strings.Replace(l.Text(), "time 2", "time x", 1),
		"to itself":          strings.ReplaceAll(l.Text(), "egov-next", l.From),
		"to a later epoch":   strings.Replace(l.Text(), "epoch 0\n", "epoch 1\n", 1),
		"size 0 with a root": strings.Replace(l.Text(), "checkpoint 102", "checkpoint 0", 1), "too long": l.Text() +
			strings.Repeat("x", MaxLinkSize),
		"carriage returns": strings.ReplaceAll(l.Text(), "\n", "\r\n"), "nothing": "",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ParseLink(bad); !errors.Is(err, ErrFormat) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	for _, bad := range [][]byte{nil, []byte("{}"), append(bytes.Clone(file), ' '),
		bytes.Replace(file, []byte(`"log"`), []byte(`"Log"`), 1)} {
		if _, err := ParseSignedLink(bad); !errors.Is(err, ErrFormat) {
			t.Errorf("%.40q: %v", bad, err)
		}
	}
}

func TestLinkNeedsTheFormerMembersAndTheLog(t *testing.T) {
	l, a, log := sampleLink(t)
	if e, err := l.Verify(a.genesis); err != nil || e.Number != 2 {
		t.Fatalf("%d, %v", e.Number, err)
	}
	if err := l.CheckLog([]*sm.PublicKey{log.Public()}); err != nil {
		t.Fatal(err)
	}
	if err := l.CheckLog(nil); !errors.Is(err, ErrLink) {
		t.Errorf("no key of the log: %v", err)
	}
	for name, change := range map[string]func(*SignedLink){
		"half of the power": func(l *SignedLink) { l.Cosignatures = l.Cosignatures[:2] },
		"nobody":            func(l *SignedLink) { l.Cosignatures = nil },
		"another size":      func(l *SignedLink) { l.Size++ },
		"another chain":     func(l *SignedLink) { l.From = "egov-other" },
		"another epoch 0":   func(l *SignedLink) { l.Genesis[0] ^= 1 },
		"hand-over missing": func(l *SignedLink) { l.Epochs = l.Epochs[:1] },
	} {
		t.Run(name, func(t *testing.T) {
			changed := l
			change(&changed)
			if _, err := changed.Verify(a.genesis); !errors.Is(err, ErrLink) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	if _, signed, err := l.Signers(a.genesis); err != nil || signed != 35 {
		t.Errorf("%d votes, %v", signed, err)
	}
	twice := l.Sign(l.Cosignatures[1])
	if !reflect.DeepEqual(twice.Cosignatures, l.Cosignatures) {
		t.Errorf("a member signed twice: %+v", twice.Cosignatures)
	}
}

func TestLinksLeadToTheHeadersChain(t *testing.T) {
	l, a, _ := sampleLink(t)
	e, c := a.evidence, checkpoint.Checkpoint{Origin: l.Origin, Size: 102, Root: l.Root}
	e.Header.Chain, e.Links = "egov-next", []Moved{{SignedLink: l}}
	if err := e.CheckLinks(c); err != nil {
		t.Fatal(err)
	}
	b, err := e.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := ParseEvidence(b); err != nil || len(again.Links) != 1 {
		t.Fatalf("%d links, %v", len(again.Links), err)
	}
	for name, err := range map[string]error{
		"smaller":     e.CheckLinks(checkpoint.Checkpoint{Origin: l.Origin, Size: 101, Root: l.Root}),
		"other root":  e.CheckLinks(checkpoint.Checkpoint{Origin: l.Origin, Size: 102, Root: merkle.EmptyRoot()}),
		"other log":   e.CheckLinks(checkpoint.Checkpoint{Origin: "log.example/3", Size: 102, Root: l.Root}),
		"other chain": a.evidence.with(e.Links).CheckLinks(c),
		"doubled":     e.with(append(e.Links, e.Links...)).CheckLinks(c),
		"backdated":   e.after(l.Link, -ClockTolerance-time.Millisecond).CheckLinks(c),
	} {
		t.Run(name, func(t *testing.T) {
			if !errors.Is(err, ErrLink) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	for _, after := range []time.Duration{-ClockTolerance, 0, 1000 * time.Hour} {
		if err := e.after(l.Link, after).CheckLinks(c); err != nil {
			t.Errorf("a header %s after the link: %v", after, err)
		}
	}
	if _, err := e.with(make([]Moved, MaxLinks+1)).Marshal(); err == nil {
		t.Error("more links than a reader takes were written")
	}
}

func (e Evidence) with(links []Moved) Evidence {
	e.Links = links
	return e
}

// after is evidence whose header is dated this long after a link.
func (e Evidence) after(l Link, d time.Duration) Evidence {
	e.Header.TimeMs = l.TimeMs + d.Milliseconds()
	return e
}

func FuzzParseSignedLink(f *testing.F) {
	l, _, _ := sampleLink(f)
	b, err := l.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if l, err := ParseSignedLink(b); err == nil {
			if again, err := l.Marshal(); err != nil || !bytes.Equal(again, b) {
				t.Fatalf("%q, %v", b, err)
			}
		}
	})
}
