//go:build !js

package prooftest

import (
	"encoding/json"
	"time"

	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/bsnproof"
	"stele/notary/proof/bsnproof/gateway"
	"stele/notary/proof/checkpoint"
)

// What the answers are about.
const (
	GatewayApp      = "app0001202611220000000000001"
	GatewayContract = "0x866aefc204b8f8fdc3e45b908fd43d76667d7f76"
)

// Gateway answers as a gateway of BSN does, about one entry in block 7. Its key is derived from
// a label and makes the same macs every time. Browsers verify and do not sign: it is not built
// for them.
type Gateway struct {
	Key *gateway.PrivateKey
	sm2 Key // the same key, where it is one of SM2
}

// NewGateway derives a gateway's key from a label.
func NewGateway(label string, algorithm gateway.Algorithm) Gateway {
	k := NewKey(label) // its scalars are below the orders of the other curves too
	scalar := k.scalar.FillBytes(make([]byte, 32))
	key, err := gateway.NewPrivateKey(algorithm, scalar)
	must(err)
	return Gateway{Key: key, sm2: k}
}

// Pinned is what a verifier pins of the gateway for a kind of evidence.
func (g Gateway) Pinned(kind string) proof.TrustedGateway {
	app := GatewayApp
	if kind == proof.KindBSNFISCO {
		app = GatewayContract
	}
	return proof.TrustedGateway{Kind: kind, App: app, Name: "省主干网", Key: g.Key.Public()}
}

// Mac signs the string of an answer.
func (g Gateway) Mac(h gateway.AnswerHeader, body any) []byte {
	text := gateway.AnswerText(h, body)
	if g.Key.Public().Algorithm() == gateway.SM2 {
		d := sm.Sum([]byte(text))
		return g.sm2.Sign(d[:])
	}
	mac, err := g.Key.Sign(text)
	must(err)
	return mac
}

func sealed[T any](g Gateway, h gateway.AnswerHeader, body T) bsnproof.Signed[T] {
	return bsnproof.Signed[T]{Msg: h.Msg, Body: body, Mac: g.Mac(h, body)}
}

// FabricAnswers are the answers about an application of Fabric before they are signed.
type FabricAnswers struct {
	Header gateway.AnswerHeader // of the block's answer
	CCCode int
	Writes []gateway.HistoryEntry
	CCData string // in place of the writes, where it is not empty
	Block  gateway.BlockAnswer
	Ledger gateway.LedgerAnswer
}

// Write is a write of the base chaincode as getHistory lists it.
func Write(tx, key, value string) gateway.HistoryEntry {
	return gateway.HistoryEntry{TxID: GatewayHash(tx),
		DataInfo: text(gateway.StoredData{BaseKey: key, BaseInfo: value}), TxTime: "2026-11-22 14:28:42"}
}

// GatewayHash is the hash that the answers give a transaction or block.
func GatewayHash(label string) string { return sm.Sum([]byte(label)).String() }

// gatewaySignature stands for the log's in entries, which no verifier of evidence looks at.
var gatewaySignature = []byte("signature")

// Fabric attests a checkpoint as entry 3 of its log, at a time; change edits the answers before
// they are signed.
func (g Gateway) Fabric(c checkpoint.Checkpoint, at time.Time, change ...func(*FabricAnswers)) bsnproof.Fabric {
	x := FabricAnswers{Header: gateway.AnswerHeader{Msg: "success"}, CCCode: gateway.CCOK,
		Writes: []gateway.HistoryEntry{Write("tx", bsnproof.Key(c.Origin, 3), bsnproof.Value(c, gatewaySignature))},
		Block: gateway.BlockAnswer{BlockHash: GatewayHash("7"), BlockNumber: 7, PreBlockHash: GatewayHash("6"),
			BlockSize: 5000, BlockTxCount: 2, Transactions: []gateway.BlockTransaction{
				{TxID: GatewayHash("other"), Status: gateway.StatusMVCC, CreateName: "user@" + GatewayApp,
					TimeSpanSec: 1},
				{TxID: GatewayHash("tx"), CreateName: "user@" + GatewayApp, TimeSpanSec: at.Unix(),
					TimeSpanNsec: int64(at.Nanosecond())}}},
		Ledger: gateway.LedgerAnswer{BlockHash: GatewayHash("8"), Height: 9, PreBlockHash: GatewayHash("7")}}
	for _, f := range change {
		f(&x)
	}
	if x.CCData == "" {
		x.CCData = text(x.Writes)
	}
	done := gateway.AnswerHeader{Msg: "success"}
	return bsnproof.Fabric{Head: bsnproof.Head{App: GatewayApp}, Block: sealed(g, x.Header, x.Block),
		Ledger: sealed(g, done, x.Ledger),
		History: sealed(g, done, gateway.ChainCodeAnswer{BlockInfo: gateway.BlockInfo{TxID: GatewayHash("query")},
			CCRes: gateway.CCRes{CCCode: x.CCCode, CCData: x.CCData}})}
}

// FISCOAnswers are the answers about an application of FISCO BCOS before they are signed.
type FISCOAnswers struct {
	Header    gateway.AnswerHeader // of the receipt's answer
	Rows      []gateway.Row
	QueryInfo string      // in place of the rows, where it is not empty
	Logged    gateway.Row // that the receipt's log tells of
	Count     int64       // of rows that it tells of
	Log       gateway.Log // its data is made of the two
	Row       gateway.ContractAnswer
	Receipt   gateway.ReceiptAnswer
	Block     gateway.ContractBlockAnswer
}

// FISCO attests a checkpoint as row 3 of its log, in a block of a time; change edits the answers
// before they are signed.
func (g Gateway) FISCO(c checkpoint.Checkpoint, at time.Time, change ...func(*FISCOAnswers)) bsnproof.FISCO {
	hash := func(s string) string { return "0x" + GatewayHash(s) }
	row := gateway.Row{ID: bsnproof.Key(c.Origin, 3), Key: 6, Value: bsnproof.Value(c, gatewaySignature)}
	tx := gateway.ContractTransaction{TxID: hash("tx"), BlockHash: hash("7"), BlockNumber: 7, From: GatewayContract,
		To: GatewayContract, Input: "0x"}
	x := FISCOAnswers{Header: gateway.AnswerHeader{Msg: "success"}, Rows: []gateway.Row{row}, Logged: row, Count: 1,
		Log: gateway.Log{Address: GatewayContract, Topics: []string{gateway.InsertTopicSM3}},
		Row: gateway.ContractAnswer{Constant: true},
		Receipt: gateway.ReceiptAnswer{TxID: tx.TxID, BlockHash: hash("7"), BlockNumber: 7, GasUsed: 5,
			From: GatewayContract, To: GatewayContract},
		Block: gateway.ContractBlockAnswer{BlockHash: hash("7"), BlockNumber: 7, ParentBlockHash: hash("6"),
			BlockSize: 900, BlockTime: at.UnixMilli(), Author: GatewayContract,
			Transactions: []gateway.ContractTransaction{{TxID: hash("other"), BlockHash: hash("7"), BlockNumber: 7,
				To: GatewayContract}, tx}}}
	for _, f := range change {
		f(&x)
	}
	ids, keys, values := []string{}, []int64{}, []string{}
	for _, r := range x.Rows {
		ids, keys, values = append(ids, r.ID), append(keys, r.Key), append(values, r.Value)
	}
	if x.Row.QueryInfo = x.QueryInfo; x.QueryInfo == "" {
		x.Row.QueryInfo = text([]any{ids, keys, values})
	}
	if x.Log.Data = x.Logged.InsertResult(x.Count); x.Receipt.Logs == "" {
		x.Receipt.Logs = text([]gateway.Log{{Address: GatewayContract, Topics: []string{}}, x.Log})
	}
	done := gateway.AnswerHeader{Msg: "success"}
	return bsnproof.FISCO{Head: bsnproof.Head{App: GatewayContract}, Row: sealed(g, done, x.Row),
		Receipt: sealed(g, x.Header, x.Receipt), Block: sealed(g, done, x.Block)}
}

// EncodeAttested is evidence of a gateway as it stands in a bundle.
func EncodeAttested(e bsnproof.Evidence) json.RawMessage {
	b, err := e.Marshal()
	must(err)
	return b
}

func text(v any) string {
	b, err := json.Marshal(v)
	must(err)
	return string(b)
}
