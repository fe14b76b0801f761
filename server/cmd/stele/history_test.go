package main

import (
	"fmt"
	"testing"

	"stele/crypto/merkle"
	"stele/crypto/signednote"
	"stele/crypto/sm"
	"stele/notary/anchorproof"
	"stele/notary/proof"
	"stele/server/api"
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
			if _, err := last.CheckQuorum(h.Text(), sigs); err != nil || !h.Time().Equal(*e.Since) || h.Epoch != last.Number {
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
	site := site{data: t.TempDir()}
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
	for path, status := range map[string]int{
		"history?chain=" + chain + "&from=1&to=0": 422, "history?chain=" + chain + "&from=0": 422,
		"history?from=0&to=1":               422,
		"history?chain=another&from=0&to=1": 404, "history?chain=" + chain + "&from=0&to=900": 404,
		"history?chain=" + chain + "&from=x&to=1": 422, "epochs?from=0": 422, "epochs?from=900": 200,
	} {
		if res := s.get("/api/v1/chain/" + path); res.status != status {
			t.Errorf("%s: %d %s", path, res.status, res.body)
		}
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
}
