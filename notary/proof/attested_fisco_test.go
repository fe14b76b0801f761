//go:build !js

package proof_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"stele/crypto/sm"
	"stele/notary/bsnproof"
	"stele/notary/checkpoint"
	"stele/notary/gateway"
	"stele/notary/proof"
	"stele/notary/proof/prooftest"
)

const contract = "0x866aefc204b8f8fdc3e45b908fd43d76667d7f76"

// contractAnswers is what a gateway answers about a row in block 7.
type contractAnswers struct {
	rows    []gateway.Row
	logged  gateway.Row
	count   int64
	log     gateway.Log
	msg     string
	row     gateway.ContractAnswer
	receipt gateway.ReceiptAnswer
	block   gateway.ContractBlockAnswer
}

// contractEvidence attests a checkpoint; change edits the answers before they are signed.
func (a attester) contractEvidence(t testing.TB, c checkpoint.Checkpoint, at time.Time, change func(*contractAnswers)) json.RawMessage {
	t.Helper()
	hash := func(s string) string { return "0x" + sm.Sum([]byte(s)).String() }
	row := gateway.Row{ID: bsnproof.Key(c.Origin, 3), Key: 6, Value: bsnproof.Value(c, []byte("signature"))}
	tx := gateway.ContractTransaction{TxID: hash("tx"), BlockHash: hash("7"), BlockNumber: 7, From: contract, To: contract, Input: "0x"}
	x := contractAnswers{rows: []gateway.Row{row}, logged: row, count: 1, log: gateway.Log{Address: contract, Topics: []string{gateway.InsertTopicSM3}}, msg: "success", row: gateway.ContractAnswer{Constant: true},
		receipt: gateway.ReceiptAnswer{TxID: tx.TxID, BlockHash: hash("7"), BlockNumber: 7, GasUsed: 5, From: contract, To: contract},
		block: gateway.ContractBlockAnswer{BlockHash: hash("7"), BlockNumber: 7, ParentBlockHash: hash("6"), BlockSize: 900, BlockTime: at.UnixMilli(), Author: contract,
			Transactions: []gateway.ContractTransaction{{TxID: hash("other"), To: contract}, tx}}}
	change(&x)
	text := func(v any) string {
		b, err := json.Marshal(v)
		fatalIfErr(t, err)
		return string(b)
	}
	ids, keys, values := []string{}, []int64{}, []string{}
	for _, r := range x.rows {
		ids, keys, values = append(ids, r.ID), append(keys, r.Key), append(values, r.Value)
	}
	x.row.QueryInfo = text([]any{ids, keys, values})
	x.log.Data = x.logged.InsertResult(x.count)
	x.receipt.Logs = text([]gateway.Log{{Address: contract, Topics: []string{}}, x.log})
	e := bsnproof.FISCO{App: contract, Row: sealed(t, a, x.row), Receipt: sealed(t, a, x.receipt), Block: sealed(t, a, x.block)}
	mac, err := a.key.Sign(gateway.AnswerText(gateway.AnswerHeader{Msg: x.msg}, x.receipt))
	fatalIfErr(t, err)
	e.Receipt.Msg, e.Receipt.Mac = x.msg, mac
	raw, err := e.Marshal()
	fatalIfErr(t, err)
	return raw
}

func contractWorld(t testing.TB, a attester, change func(*contractAnswers)) (b *proof.Bundle, trust *proof.Trust, digest sm.Digest) {
	t.Helper()
	document := []byte("%PDF-1.7 one document\n")
	w := prooftest.New(prooftest.Options{Entries: 2})
	r := w.Issue(document)
	c := w.Checkpoint()
	b = w.Bundle(r, c)
	b.Anchors = []json.RawMessage{a.contractEvidence(t, c.Checkpoint, w.Now.Add(time.Second), change)}
	trust = w.Trust()
	trust.Pin(proof.TrustedGateway{Kind: proof.KindBSNFISCO, App: contract, Name: "省主干网", Key: a.key.Public()})
	trust, err := proof.ParseTrust(trust.Encode())
	fatalIfErr(t, err)
	return b, trust, sm.Sum(document)
}

// An anchor on FISCO BCOS holds under each algorithm, and every byte of it counts.
func TestContractAnchor(t *testing.T) {
	for _, algorithm := range []gateway.Algorithm{gateway.SM2, gateway.Secp256r1, gateway.Secp256k1} {
		a := newAttester(t, algorithm)
		b, trust, digest := contractWorld(t, a, func(x *contractAnswers) {
			x.rows = append(x.rows, gateway.Row{ID: x.rows[0].ID, Value: "a second row is void"})
		})
		r := proof.Verify(trust, &digest, b.Encode())
		if r.Verdict != proof.Genuine || len(r.Anchors) != 1 || r.Anchors[0].Strength != proof.Attested || r.Anchors[0].Kind != proof.KindBSNFISCO || r.Anchors[0].Chain != contract || r.Anchors[0].Height != 7 {
			t.Fatalf("%s: %s: %s %+v", algorithm, r.Verdict, r.Summary, r.Anchors)
		}
		if algorithm != gateway.SM2 {
			continue
		}
		raw := b.Encode()
		first := bytes.Index(raw, []byte(`{"kind":"bsn/`))
		for i := first; i < first+len(b.Anchors[0]); i++ {
			changed := bytes.Clone(raw)
			changed[i] ^= 1
			if r := proof.Verify(trust, &digest, changed); r.Verdict == proof.Genuine {
				t.Errorf("byte %d, …%s…: %s", i-first, changed[max(first, i-30):i+10], r.Verdict)
			}
		}
	}
}

// What the answers do not say, a gateway does not attest.
func TestContractAnswersMustAgree(t *testing.T) {
	a := newAttester(t, gateway.SM2)
	another := "0x" + strings.Repeat("1", 40)
	for name, change := range map[string]func(*contractAnswers){
		"no row":                   func(x *contractAnswers) { x.rows = nil },
		"another row before":       func(x *contractAnswers) { x.rows = append([]gateway.Row{{ID: x.rows[0].ID, Value: "x"}}, x.rows...) },
		"another id":               func(x *contractAnswers) { x.rows[0].ID = bsnproof.Key("other.example", 3); x.logged = x.rows[0] },
		"another value logged":     func(x *contractAnswers) { x.logged.Value += "x" },
		"another number logged":    func(x *contractAnswers) { x.logged.Key++ },
		"another id logged":        func(x *contractAnswers) { x.logged.ID += "0" },
		"nothing inserted":         func(x *contractAnswers) { x.count = 0 },
		"another event":            func(x *contractAnswers) { x.log.Topics[0] = "0x" },
		"logged by another":        func(x *contractAnswers) { x.log.Address = another },
		"another contract called":  func(x *contractAnswers) { x.receipt.To = another },
		"not a view":               func(x *contractAnswers) { x.row.Constant = false },
		"another transaction":      func(x *contractAnswers) { x.receipt.TxID = "0x" + sm.Sum(nil).String() },
		"transaction twice":        func(x *contractAnswers) { x.block.Transactions[0] = x.block.Transactions[1] },
		"another block's hash":     func(x *contractAnswers) { x.receipt.BlockHash = x.receipt.TxID },
		"another block's number":   func(x *contractAnswers) { x.receipt.BlockNumber = 8 },
		"block 0":                  func(x *contractAnswers) { x.receipt.BlockNumber, x.block.BlockNumber = 0, 0 },
		"no time":                  func(x *contractAnswers) { x.block.BlockTime = 0 },
		"a part of another answer": func(x *contractAnswers) { x.msg = "successtrue" },
		"a number in the message":  func(x *contractAnswers) { x.msg = "success0x" },
	} {
		b, trust, digest := contractWorld(t, a, change)
		r := proof.Verify(trust, &digest, b.Encode())
		if s, failed := r.FailedStep(); r.Verdict != proof.Invalid || !failed || s.Reason != "bad_evidence" {
			t.Errorf("%s: %s %s", name, r.Verdict, s.Reason)
		}
	}
}

// Evidence of one framework is not evidence of the other, and an address has one spelling.
func TestContractsArePinned(t *testing.T) {
	a := newAttester(t, gateway.SM2)
	b, trust, digest := contractWorld(t, a, func(*contractAnswers) {})
	trust.Gateways[0].Kind = proof.KindBSNFabric
	if r := proof.Verify(trust, &digest, b.Encode()); r.Verdict != proof.Unverifiable {
		t.Errorf("pinned for Fabric: %s", r.Verdict)
	}
	for _, app := range []string{"app1", strings.ToUpper(contract), contract + "0", ""} {
		if err := (proof.TrustedGateway{Kind: proof.KindBSNFISCO, App: app, Name: "n", Key: a.key.Public()}).Check(); err == nil {
			t.Errorf("%q can be pinned", app)
		}
	}
}
