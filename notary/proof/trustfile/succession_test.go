//go:build !js

package trustfile_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"stele/crypto/pki"
	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/prooftest"
	"stele/notary/proof/trustfile"
)

// root is one of a test, with its key.
type root struct {
	der []byte
	key *sm.PrivateKey
}

var madeAt = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

func newRoot(name string) root {
	key := must(sm.GenerateKey())
	return root{must(pki.NewRoot(pki.RootRequest{Subject: pki.Name{Organization: name, CommonName: name},
		NotBefore: madeAt.AddDate(0, -1, 0), NotAfter: madeAt.AddDate(30, 0, 0)}, key)), key}
}

// follow is a succession that both have signed.
func (r root) follow(former root, change func(*trustfile.Succession)) trustfile.SignedSuccession {
	said := trustfile.Succession{Former: sm.Sum(former.der), Root: r.der, Regions: []string{"35"},
		Logs: []string{"log.stele.example"}, At: madeAt}
	if change != nil {
		change(&said)
	}
	text := said.Encode()
	return trustfile.SignedSuccession{Statement: text, FormerSignature: must(former.key.Sign(text)),
		Signature: must(r.key.Sign(text))}
}

// trustIn is trust in a root alone, without a limit.
func trustIn(r root) *proof.Trust {
	t := prooftest.New(prooftest.Options{}).ScopedTrust()
	t.Roots = []proof.TrustedRoot{{DER: r.der}}
	return must(proof.ParseTrust(trustfile.Upgrade(t).Encode()))
}

func TestSucceed(t *testing.T) {
	a, b, c, other := newRoot("甲"), newRoot("乙"), newRoot("丙"), newRoot("丁")
	list := []trustfile.SignedSuccession{b.follow(a, nil), c.follow(b, nil), newRoot("戊").follow(other, nil)}
	file := trustfile.EncodeSuccessions(list)
	if !trustfile.IsSuccessions(file) {
		t.Error("its own file is not known")
	}
	read, err := trustfile.ParseSuccessions(append(slices.Clone(file), '\n'))
	fatalIfErr(t, err)
	before := trustIn(a)
	grown, done, err := trustfile.Succeed(before, read)
	fatalIfErr(t, err)
	if len(done) != 2 || len(grown.Roots) != 3 || !bytes.Equal(grown.Roots[2].DER, c.der) || len(before.Roots) != 1 {
		t.Fatalf("%d pinned: %+v", len(done), grown.Roots)
	}
	for _, r := range grown.Roots { // who spoke for everybody is limited, with its successors
		if !slices.Equal(r.Regions, []string{"35"}) || !slices.Equal(r.Logs, []string{"log.stele.example"}) {
			t.Errorf("%+v", r)
		}
	}
	again, done, err := trustfile.Succeed(grown, read)
	fatalIfErr(t, err)
	if len(done) != 0 || !bytes.Equal(again.Encode(), grown.Encode()) {
		t.Errorf("a second time: %d", len(done))
	}
	limited := trustIn(a)
	limited.Roots[0].Regions, limited.Roots[0].Logs = []string{"3501"}, []string{"log.stele.example"}
	grown, _, err = trustfile.Succeed(limited, read)
	fatalIfErr(t, err)
	for _, r := range grown.Roots { // nobody's limits are widened
		if !slices.Equal(r.Regions, []string{"3501"}) {
			t.Errorf("%+v", r)
		}
	}
}

func TestSucceedRefuses(t *testing.T) {
	a, b, other := newRoot("甲"), newRoot("乙"), newRoot("丁")
	good := b.follow(a, nil)
	with := func(change func(*trustfile.Succession)) trustfile.SignedSuccession { return b.follow(a, change) }
	spaced := append(slices.Clone(good.Statement), ' ')
	for name, s := range map[string]trustfile.SignedSuccession{
		"former root has not signed":     {Statement: good.Statement, Signature: good.Signature},
		"next root has not signed":       {Statement: good.Statement, FormerSignature: good.FormerSignature},
		"somebody else signs as former":  {good.Statement, must(other.key.Sign(good.Statement)), good.Signature},
		"somebody else signs as next":    {good.Statement, good.FormerSignature, must(other.key.Sign(good.Statement))},
		"signatures of another one":      {good.Statement, b.follow(a, later).FormerSignature, good.Signature},
		"white space":                    {spaced, good.FormerSignature, good.Signature},
		"no scope":                       with(func(s *trustfile.Succession) { s.Regions = nil }),
		"no log":                         with(func(s *trustfile.Succession) { s.Logs = nil }),
		"another log":                    with(func(s *trustfile.Succession) { s.Logs = []string{"log.other"} }),
		"no region":                      with(func(s *trustfile.Succession) { s.Regions = []string{"福建"} }),
		"regions out of order":           with(func(s *trustfile.Succession) { s.Regions = []string{"36", "35"} }),
		"itself":                         a.follow(a, nil),
		"no root":                        with(func(s *trustfile.Succession) { s.Root = []byte{0x30, 0} }),
		"before the next root was valid": with(earlier),
	} {
		t.Run(name, func(t *testing.T) {
			trust := trustIn(a)
			if _, done, err := trustfile.Succeed(trust, []trustfile.SignedSuccession{s}); !errors.Is(err,
				trustfile.ErrSuccession) {
				t.Errorf("%v, pinned %d", err, len(done))
			}
			if len(trust.Roots) != 1 || len(trust.Roots[0].Regions) != 0 {
				t.Error("the trust roots were changed")
			}
		})
	}
	for name, file := range map[string][]byte{
		"nothing":        nil,
		"white space":    append(trustfile.EncodeSuccessions([]trustfile.SignedSuccession{good}), " \n"...),
		"another format": bytes.Replace(trustfile.EncodeSuccessions(nil), []byte("v1"), []byte("v2"), 1),
		"too many":       trustfile.EncodeSuccessions(slices.Repeat([]trustfile.SignedSuccession{good}, 65)),
		"too large":      append(trustfile.EncodeSuccessions(nil), bytes.Repeat([]byte(" "), 1<<20)...),
	} {
		t.Run("file: "+name, func(t *testing.T) {
			if _, err := trustfile.ParseSuccessions(file); !errors.Is(err, trustfile.ErrSuccession) {
				t.Error(err)
			}
		})
	}
}

func earlier(s *trustfile.Succession) { s.At = madeAt.AddDate(-1, 0, 0) }

func later(s *trustfile.Succession) { s.At = s.At.Add(time.Second) }

func FuzzParseSuccessions(f *testing.F) {
	a := newRoot("甲")
	f.Add(trustfile.EncodeSuccessions(nil))
	f.Add(trustfile.EncodeSuccessions([]trustfile.SignedSuccession{newRoot("乙").follow(a, nil)}))
	trust := trustIn(a)
	f.Fuzz(func(t *testing.T, file []byte) {
		list, err := trustfile.ParseSuccessions(file)
		if err != nil {
			return
		}
		if !bytes.Equal(trustfile.EncodeSuccessions(list), bytes.TrimSuffix(file, []byte("\n"))) {
			t.Error("another spelling was accepted")
		}
		if grown, done, err := trustfile.Succeed(trust, list); err == nil && len(grown.Roots) != 1+len(done) {
			t.Errorf("%d roots after %d successions", len(grown.Roots), len(done))
		}
	})
}
