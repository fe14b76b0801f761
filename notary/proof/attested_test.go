//go:build !js

package proof_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"stele/crypto/merkle"
	"stele/crypto/sm"
	"stele/notary/bsnproof"
	"stele/notary/checkpoint"
	"stele/notary/gateway"
	"stele/notary/proof"
	"stele/notary/proof/prooftest"
	"stele/notary/proof/prooftest/vectors"
)

const gatewayApp = "app0001202611220000000000001"

// attester answers as a gateway does, about one entry in block 7.
type attester struct{ key *gateway.PrivateKey }

func newAttester(t testing.TB, algorithm gateway.Algorithm) attester {
	t.Helper()
	key, err := gateway.GenerateKey(algorithm)
	fatalIfErr(t, err)
	return attester{key}
}

func (a attester) pin(t *proof.Trust) {
	t.Pin(proof.TrustedGateway{Kind: proof.KindBSNFabric, App: gatewayApp, Name: "省主干网", Key: a.key.Public()})
}

func sealed[T any](t testing.TB, a attester, body T) bsnproof.Signed[T] {
	t.Helper()
	mac, err := a.key.Sign(gateway.AnswerText(gateway.AnswerHeader{Msg: "success"}, body))
	fatalIfErr(t, err)
	return bsnproof.Signed[T]{Msg: "success", Body: body, Mac: mac}
}

// evidence attests a checkpoint; change edits the answers before they are signed.
func (a attester) evidence(t testing.TB, c checkpoint.Checkpoint, at time.Time, path []merkle.Hash, change ...func(*answers)) json.RawMessage {
	t.Helper()
	hash := func(s string) string { return sm.Sum([]byte(s)).String() }
	x := answers{txID: hash("tx"), key: bsnproof.Key(c.Origin, 3), value: bsnproof.Value(c, []byte("signature")), writes: 1,
		block: gateway.BlockAnswer{BlockHash: hash("7"), BlockNumber: 7, PreBlockHash: hash("6"), BlockSize: 5000, BlockTxCount: 2, Transactions: []gateway.BlockTransaction{
			{TxID: hash("other"), CreateName: "user@" + gatewayApp, TimeSpanSec: 1},
			{TxID: hash("tx"), CreateName: "user@" + gatewayApp, TimeSpanSec: at.Unix(), TimeSpanNsec: int64(at.Nanosecond())}}},
		ledger: gateway.LedgerAnswer{BlockHash: hash("8"), Height: 9, PreBlockHash: hash("7")}}
	for _, f := range change {
		f(&x)
	}
	text := func(v any) string {
		b, err := json.Marshal(v)
		fatalIfErr(t, err)
		return string(b)
	}
	list := []gateway.HistoryEntry{}
	for range x.writes {
		list = append(list, gateway.HistoryEntry{TxID: x.txID, DataInfo: text(gateway.StoredData{BaseKey: x.key, BaseInfo: x.value}), TxTime: "2026-11-22 14:28:42"})
	}
	raw, err := bsnproof.Fabric{App: gatewayApp, Path: path, Block: sealed(t, a, x.block), Ledger: sealed(t, a, x.ledger),
		History: sealed(t, a, gateway.ChainCodeAnswer{BlockInfo: gateway.BlockInfo{TxID: hash("query")}, CCRes: gateway.CCRes{CCCode: gateway.CCOK, CCData: text(list)}})}.Marshal()
	fatalIfErr(t, err)
	return raw
}

type answers struct {
	txID, key, value string
	writes           int
	block            gateway.BlockAnswer
	ledger           gateway.LedgerAnswer
}

// attestedWorld is a record in a small log with an anchor of the chain and one of a gateway.
func attestedWorld(t testing.TB, a attester, change ...func(*answers)) (w *prooftest.World, b *proof.Bundle, trust *proof.Trust, document []byte) {
	t.Helper()
	document = []byte("%PDF-1.7 one document\n")
	w = prooftest.New(prooftest.Options{Entries: 2})
	r := w.Issue(document)
	c := w.Checkpoint()
	b = w.Bundle(r, c, w.Anchor(c))
	b.Anchors = append(b.Anchors, a.evidence(t, c.Checkpoint, w.Now.Add(time.Second), nil, change...))
	trust = w.Trust()
	a.pin(trust)
	return w, b, trust, document
}

// An attested anchor holds, is called so, and stands below one that proves itself.
func TestAttestedAnchor(t *testing.T) {
	for _, algorithm := range []gateway.Algorithm{gateway.SM2, gateway.Secp256r1, gateway.Secp256k1} {
		a := newAttester(t, algorithm)
		_, b, trust, document := attestedWorld(t, a)
		again, err := proof.ParseTrust(trust.Encode())
		fatalIfErr(t, err)
		digest := sm.Sum(document)
		r := proof.Verify(again, &digest, b.Encode())
		if r.Verdict != proof.Genuine || len(r.Anchors) != 2 || r.Anchors[1].Strength != proof.Attested || r.Anchors[1].Gateway != "省主干网" || r.Anchors[1].Height != 7 {
			t.Fatalf("%s: %s: %s %+v", algorithm, r.Verdict, r.Summary, r.Anchors)
		}
		if r.AnchoredAt != r.Anchors[0].Time {
			t.Errorf("anchored at %s", r.AnchoredAt)
		}
		b.Anchors = b.Anchors[1:]
		r = proof.Verify(again, &digest, b.Encode())
		if r.Verdict != proof.Genuine || r.AnchoredAt != r.Anchors[0].Time || !strings.Contains(r.Summary, "attests") {
			t.Errorf("alone: %s: %s", r.Verdict, r.Summary)
		}
	}
}

// Every byte of attested evidence counts.
func TestEveryByteOfAttestedEvidenceCounts(t *testing.T) {
	a := newAttester(t, gateway.SM2)
	_, b, trust, document := attestedWorld(t, a)
	digest, raw := sm.Sum(document), b.Encode()
	first := bytes.Index(raw, []byte(`{"kind":"bsn/`))
	for i := first; i < first+len(b.Anchors[1]); i++ {
		changed := bytes.Clone(raw)
		changed[i] ^= 1
		if r := proof.Verify(trust, &digest, changed); r.Verdict != proof.Invalid {
			t.Errorf("byte %d, …%s…: %s", i-first, changed[max(first, i-30):i+10], r.Verdict)
		}
	}
}

// What the answers do not say, a gateway does not attest.
func TestAttestedAnswersMustAgree(t *testing.T) {
	a := newAttester(t, gateway.SM2)
	for name, change := range map[string]func(*answers){
		"another key":             func(x *answers) { x.key = bsnproof.Key("other.example", 3) },
		"entry 0":                 func(x *answers) { x.key = bsnproof.Key("log.stele.example", 0) },
		"written twice":           func(x *answers) { x.writes = 2 },
		"never written":           func(x *answers) { x.writes = 0 },
		"another value":           func(x *answers) { x.value = strings.Replace(x.value, "\n3\n", "\n4\n", 1) },
		"no value":                func(x *answers) { x.value = "" },
		"transaction elsewhere":   func(x *answers) { x.txID = sm.Sum(nil).String() },
		"status -1":               func(x *answers) { x.block.Transactions[1].Status = gateway.StatusTimeout },
		"status 11":               func(x *answers) { x.block.Transactions[1].Status = gateway.StatusMVCC },
		"another application":     func(x *answers) { x.block.Transactions[1].CreateName = "user@app2" },
		"transactions left out":   func(x *answers) { x.block.BlockTxCount = 3 },
		"block 0":                 func(x *answers) { x.block.BlockNumber = 0 },
		"ledger before the block": func(x *answers) { x.ledger.Height = 7 },
		"another block on top":    func(x *answers) { x.ledger.Height = 8 },
		"no time":                 func(x *answers) { x.block.Transactions[1].TimeSpanSec = 0 },
	} {
		_, b, trust, document := attestedWorld(t, a, change)
		digest := sm.Sum(document)
		r := proof.Verify(trust, &digest, b.Encode())
		if s, failed := r.FailedStep(); r.Verdict != proof.Invalid || !failed || s.Reason != "bad_evidence" {
			t.Errorf("%s: %s %s", name, r.Verdict, s.Reason)
		}
	}
}

// A gateway that is not pinned, a key from after a change of keys, and a gateway whose clock is
// wrong do not count, and do not spoil the anchors that do.
func TestAttestedAnchorsThatDoNotCount(t *testing.T) {
	a := newAttester(t, gateway.SM2)
	w, b, trust, document := attestedWorld(t, a)
	digest := sm.Sum(document)
	other := *w.Trust()
	newAttester(t, gateway.SM2).pin(&other)
	foreign := *w.Trust()
	foreign.Pin(proof.TrustedGateway{Kind: proof.KindBSNFabric, App: "app2", Name: "another", Key: a.key.Public()})
	early := *b
	early.Anchors = []json.RawMessage{b.Anchors[0], a.evidence(t, mustCheckpoint(t, b), w.Now.Add(-24*time.Hour), nil)}
	for reason, c := range map[string]struct {
		trust  *proof.Trust
		bundle *proof.Bundle
	}{"unknown_gateway_key": {&other, b}, "unknown_gateway": {&foreign, b}, "time_order": {trust, &early}} {
		r := proof.Verify(c.trust, &digest, c.bundle.Encode())
		var got proof.Step
		for _, s := range r.Steps {
			if s.Strength == proof.Attested {
				got = s
			}
		}
		if r.Verdict != proof.Genuine || len(r.Anchors) != 1 || got.Status != proof.NotChecked || got.Reason != reason {
			t.Errorf("%s: %s, %+v", reason, r.Verdict, got)
		}
	}
	both := other
	a.pin(&both)
	if r := proof.Verify(&both, &digest, b.Encode()); len(r.Anchors) != 2 {
		t.Errorf("with the old and the new key: %d anchors", len(r.Anchors))
	}
	twice := *b
	twice.Anchors = append(twice.Anchors[:2:2], b.Anchors[1])
	if r := proof.Verify(trust, &digest, twice.Encode()); r.Verdict != proof.Invalid {
		t.Errorf("the same anchor twice: %s", r.Verdict)
	}
}

func mustCheckpoint(t testing.TB, b *proof.Bundle) checkpoint.Checkpoint {
	t.Helper()
	c, err := checkpoint.ParseUnsafe(b.Log.Checkpoint)
	fatalIfErr(t, err)
	return c
}

// attestedVectors are bundles with attested anchors, good and bad, for another build of the
// verifier to be compared on.
func attestedVectors(t testing.TB) *vectors.Set {
	set := &vectors.Set{Files: map[string][]byte{}}
	for i, algorithm := range []gateway.Algorithm{gateway.SM2, gateway.Secp256r1, gateway.Secp256k1} {
		a := newAttester(t, algorithm)
		_, b, trust, document := attestedWorld(t, a)
		name := fmt.Sprint(i)
		set.Files[name+"-trust.json"], set.Files["document.pdf"] = trust.Encode(), document
		bad := bytes.Replace(b.Encode(), []byte(`"height":9`), []byte(`"height":8`), 1)
		for kind, bundle := range map[string][]byte{"good": b.Encode(), "bad": bad} {
			file := name + "-" + kind + ".json"
			set.Files[file] = bundle
			set.Index.Vectors = append(set.Index.Vectors, vectors.Vector{Name: file, Trust: name + "-trust.json", Bundle: file, Document: "document.pdf"})
		}
	}
	return set
}
