package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stele/crypto/keystore"
	"stele/crypto/merkle"
	"stele/crypto/signednote"
	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/checkpoint"
	"stele/server/http/api"
)

// header is the anchor header in a record's bundle.
func (s *server) header(rec record) anchorproof.Header {
	s.t.Helper()
	b := must(proof.ParseBundle(s.bundle(rec)))
	return must(anchorproof.ParseEvidence(b.Evidence.Anchors[0])).Header
}

// path asks for the proof that two headers are of one history, and checks it with the headers
// that the bundles hold.
func (s *server) path(older, newer anchorproof.Header) {
	s.t.Helper()
	var h api.ChainHistory
	res := s.get(fmt.Sprintf("/api/v1/chain/history?chain=%s&from=%d&to=%d", older.Chain, older.Index, newer.Index))
	if res.status != 200 {
		s.t.Fatalf("%d %s\n%s", res.status, res.body, s.log)
	}
	res.json(s.t, &h)
	var path []merkle.Hash
	for _, p := range h.Path {
		path = append(path, merkle.Hash(p))
	}
	if err := anchorproof.CheckHistory(older, newer, path); err != nil {
		s.t.Errorf("from %d to %d: %v", older.Index, newer.Index, err)
	}
	if h.Older != older.Text() || h.Newer != newer.Text() {
		s.t.Errorf("headers\n%s%s, in the bundles\n%s%s", h.Older, h.Newer, older.Text(), newer.Text())
	}
}

// handOvers follows the service's list from the pinned epoch, two questions at a time.
func (s *server) handOvers(want int) {
	s.t.Helper()
	last := s.trust.Chains[0].Genesis
	for from := uint64(1); ; {
		var list api.ChainEpochs
		s.get(fmt.Sprint("/api/v1/chain/epochs?from=", from)).json(s.t, &list)
		if list.Newest != uint64(want) || list.Chain != last.Chain {
			s.t.Fatalf("%+v, want %d epochs", list, want)
		}
		for _, e := range list.Epochs {
			signed := must(anchorproof.ParseSignedEpoch([]byte(e.Signed)))
			fatalIfErr(s.t, last.CheckNext(signed))
			last = signed.Epoch
			if e.Hash != last.Hash().String() || e.Number != last.Number {
				s.t.Errorf("epoch %d with hash %s is called %d %s", last.Number, last.Hash(), e.Number, e.Hash)
			}
			if e.Since == nil || e.First == nil {
				s.t.Errorf("epoch %d has certified headers, but when is not said", e.Number)
				continue
			}
			var sigs []anchorproof.Cosignature
			for _, c := range e.First.Cosignatures {
				sigs = append(sigs, anchorproof.Cosignature{Validator: c.Validator, Signature: c.Signature})
			}
			h := must(anchorproof.ParseHeader(e.First.Header))
			if _, err := last.CheckQuorum(h.Text(), sigs); err != nil || !h.Time().Equal(*e.Since) ||
				h.Epoch != last.Number {
				s.t.Errorf("epoch %d is said to be in office since %v, and %v proves %v", e.Number, e.Since, h, err)
			}
		}
		if list.Next == nil {
			break
		}
		from = *list.Next
	}
	if last.Number != uint64(want) {
		s.t.Errorf("the list ends with epoch %d, want %d", last.Number, want)
	}
}

// The embedded chain: two anchors are shown to be of one history, across a hand-over and a restart,
// and the hand-overs can be followed from the trust roots.
func TestHistoryOfTheEmbeddedChain(t *testing.T) {
	t.Parallel()
	site := site{data: folder(t)}
	s := site.start(t)
	s.handOvers(0)
	var headers []anchorproof.Header
	for range 3 {
		headers = append(headers, s.header(s.notarize(digestRequest(newDigest(), "", "anchored"))))
	}
	site.succeeds(t, "log-key", "next")
	s.stop()
	site.succeeds(t, "log-key", "switch")
	s = site.start(t)
	headers = append(headers, s.header(s.notarize(digestRequest(newDigest(), "", "anchored"))))
	s.handOvers(1)
	for j, newer := range headers {
		for _, older := range headers[:j+1] {
			s.path(older, newer)
		}
	}
	chain := headers[0].Chain
	for name, c := range map[string]struct {
		path   string
		status int
	}{
		"ends before it begins": {"history?chain=" + chain + "&from=1&to=0", 422},
		"without an end":        {"history?chain=" + chain + "&from=0", 422},
		"without a chain":       {"history?from=0&to=1", 422},
		"another chain":         {"history?chain=another&from=0&to=1", 404},
		"end to come":           {"history?chain=" + chain + "&from=0&to=900", 404},
		"begins at no number":   {"history?chain=" + chain + "&from=x&to=1", 422},
		"epochs from 0":         {"epochs?from=0", 422},
		"epochs from 900":       {"epochs?from=900", 200},
	} {
		t.Run(name, func(t *testing.T) {
			if res := s.get("/api/v1/chain/" + c.path); res.status != c.status {
				t.Errorf("%s: %d %s", c.path, res.status, res.body)
			}
		})
	}
}

// The same through four nodes, of which one is away.
func TestHistoryOfANetwork(t *testing.T) {
	t.Parallel()
	n := startNetwork(t)
	older := n.header(n.notarize(digestRequest(newDigest(), "", "anchored")))
	n.admit(signednote.FormatKey("another.example/log", must(sm.GenerateKey()).Public()))
	n.killNode(3)
	newer := n.header(n.notarize(digestRequest(newDigest(), "", "anchored")))
	for newer.Epoch == 0 { // the first one may still have been the former members'
		newer = n.header(n.notarize(digestRequest(newDigest(), "", "anchored")))
	}
	n.path(older, newer)
	n.handOvers(1)

	// A bundle that joins two checkpoints has the path between their headers from the nodes.
	first := n.notarize(digestRequest(newDigest(), "", "anchored"))
	second := n.notarize(digestRequest(newDigest(), "", "anchored"))
	res := n.get("/api/v1/records/" + first.ID + "/bundle?with=" + second.Number)
	r := proof.CompareHistories(n.trust, res.body, n.bundle(second))
	if r.Result != proof.OneHistory || r.Findings[len(r.Findings)-1].Code != proof.FoundBlocks {
		t.Errorf("%d %s: %s %+v", res.status, r.Result, r.Summary, r.Findings)
	}
}

// Two records of two agencies: their bundles alone show nothing, the one that the service makes for
// the comparison shows one history; a second history signed with the log's own key is a contradiction.
func TestLogOfTwoBundles(t *testing.T) {
	t.Parallel()
	site := site{data: folder(t)}
	s := site.start(t)
	d := s.desk(s.info.URL)
	first := s.notarize(digestRequest(newDigest(), "", "anchored"))
	foreign := digestRequest(newDigest(), "", "anchored")
	stranger := s.otherAgencyKey(t)
	foreign.header["Authorization"] = "Bearer " + stranger
	second := s.notarize(foreign)
	bundle := func(name, key string, rec record, with string) {
		t.Helper()
		res := s.call(as(key, "GET", "/api/v1/records/"+rec.ID+"/bundle"+with, ""))
		if res.status != 200 {
			t.Fatalf("%s: %d %s", name, res.status, res.body)
		}
		d.write(name, string(res.body))
	}
	bundle("first.json", s.info.APIKey, first, "")
	bundle("second.json", stranger, second, "")
	log := func(a, b string, want int, says string) {
		t.Helper()
		code, out := s.offline("--log", filepath.Join(d.dir, a), filepath.Join(d.dir, b))
		if code != want || !strings.Contains(out, says) {
			t.Errorf("%s %s: %d\n%s", a, b, code, out)
		}
	}
	log("first.json", "second.json", 4, "stele bundle "+first.Number+" --with "+second.Number)
	d.run(0, "bundle", first.Number, "--with", second.Number, "-o", "joined.json", "--trust", s.info.Trust)
	log("joined.json", "second.json", 0, "one_history: ")
	log("second.json", "joined.json", 0, "The blocks of the chain")
	d.run(0, "verify", "--trust", s.info.Trust, "--log", "joined.json", "second.json")
	joined, err := os.ReadFile(filepath.Join(d.dir, "joined.json"))
	fatalIfErr(t, err)
	text := string(joined)
	if strings.Contains(text, second.Number) || !strings.Contains(text, `"format":"stele/bundle/v2"`) {
		t.Errorf("of the other record more than its checkpoint is told: %s", text)
	}
	own := must(proof.ParseBundle(must(os.ReadFile(filepath.Join(d.dir, "second.json")))))
	size := must(checkpoint.ParseUnsafe(own.Log.Checkpoint)).Size
	bundle("bysize.json", s.info.APIKey, first, fmt.Sprintf("?with=size:%d", size))
	log("bysize.json", "second.json", 0, "one_history: ")
	d.run(exitRefused, "bundle", first.Number, "--with", "420100-2020-00000001-8")
	d.run(exitRefused, "bundle", second.Number, "--with", first.Number) // another agency's bundle stays closed

	// Whoever has the log's key signs another root for the size of the first bundle.
	fork := must(proof.ParseBundle(s.bundle(first)))
	c := must(checkpoint.ParseUnsafe(fork.Log.Checkpoint))
	c.Root[0] ^= 1
	fork.Log.Checkpoint = must(checkpoint.Sign(c, s.logSigner(c.Origin)))
	d.write("fork.json", string(fork.Encode()))
	log("first.json", "fork.json", 3, "contradiction: The evidence contradicts itself: The log "+c.Origin+
		" signed two different roots")
}

// logSigner is the instance's own key of the log.
func (s *server) logSigner(origin string) *signednote.Signer {
	s.t.Helper()
	pass := must(keystore.Passphrase(filepath.Join(s.data, "keys", "passphrase"), ""))
	return must(signednote.NewSigner(origin, must(keystore.Load(filepath.Join(s.data, "keys", "log.key"), pass))))
}
