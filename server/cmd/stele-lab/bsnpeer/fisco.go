package bsnpeer

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"stele/crypto/sm"
	"stele/notary/proof/bsnproof/gateway"
)

// gas is what each transaction is said to have used.
const gas = 50_000

// callFISCO carries out a call of an application of FISCO BCOS.
func (a *app) callFISCO(p *Peer, path string, req gateway.Request, fault Fault) (any, error) {
	switch path {
	case gateway.PathFISCORegister:
		q, err := body[gateway.UserRequest](a, req)
		switch {
		case err != nil:
			return nil, err
		case q.UserID == "":
			return nil, errBadBody
		case a.users[q.UserID]:
			return nil, errUser
		}
		a.users[q.UserID] = true
		return gateway.UserAnswer{UserID: q.UserID, UserAddress: a.address(q.UserID)}, nil
	case gateway.PathFISCOContract:
		q, err := body[gateway.ContractRequest](a, req)
		if err != nil {
			return nil, err
		}
		return a.runContract(p, q, fault)
	case gateway.PathFISCOReceipt, gateway.PathFISCOTxInfo:
		q, err := body[gateway.TxHashRequest](a, req)
		if err != nil {
			return nil, err
		}
		b, ok := a.ledger.find(gateway.BlockRequest{TxID: strings.TrimPrefix(q.TxHash, "0x")})
		if !ok || len(b.Transactions) == 0 {
			return nil, errNoSuchTx
		}
		t := a.contractTransaction(b)
		if path == gateway.PathFISCOTxInfo {
			return t, nil
		}
		return gateway.ReceiptAnswer{TxID: t.TxID, BlockHash: t.BlockHash, BlockNumber: t.BlockNumber,
			GasUsed: t.GasUsed, From: t.From, To: t.To, ContractAddress: address(nil), Logs: a.logs(b)}, nil
	case gateway.PathFISCOBlockInfo, gateway.PathFISCOBlockTxs:
		q, err := body[gateway.ContractBlockRequest](a, req)
		if err != nil {
			return nil, err
		}
		return a.contractBlock(path, q)
	case gateway.PathFISCOHeight, gateway.PathFISCOTxCount:
		if !a.Key.Verify(gateway.RequestText(req.Header, nil), req.Mac) {
			return nil, errBadMac
		}
		height := int64(len(a.ledger.blocks) - 1) // a transaction in each, but in block 0
		if path == gateway.PathFISCOHeight {
			return gateway.DataAnswer{Data: strconv.FormatInt(height, 10)}, nil
		}
		raw := fmt.Sprintf("0x%x", height)
		return gateway.DataAnswer{
			Data: text(gateway.TxCount{TxSum: height, BlockNumber: height, TxSumRaw: raw, BlockNumberRaw: raw})}, nil
	}
	return nil, errNoPath
}

func (a *app) contractBlock(path string, q gateway.ContractBlockRequest) (any, error) {
	at := gateway.BlockRequest{BlockHash: strings.TrimPrefix(q.BlockHash, "0x")}
	if q.BlockNumber != "" {
		n, err := strconv.ParseUint(q.BlockNumber, 10, 64)
		if err != nil {
			return nil, errBadBody
		}
		at = gateway.BlockRequest{BlockNumber: n}
	}
	b, ok := a.ledger.find(at)
	if !ok || q.BlockNumber == "" && q.BlockHash == "" {
		return nil, errNoBlock
	}
	if path == gateway.PathFISCOBlockTxs {
		return gateway.DataAnswer{Data: strconv.Itoa(len(b.Transactions))}, nil
	}
	answer := gateway.ContractBlockAnswer{BlockHash: "0x" + b.Hash, BlockNumber: int64(b.Number),
		ParentBlockHash: "0x" + b.Previous, BlockSize: int64(b.Size), Author: address([]byte("sealer")),
		Transactions: []gateway.ContractTransaction{}}
	if len(b.Transactions) > 0 {
		t := b.Transactions[0]
		answer.BlockTime = t.TimeSpanSec*1000 + t.TimeSpanNsec/1_000_000
		answer.Transactions = append(answer.Transactions, a.contractTransaction(b))
	}
	return answer, nil
}

// runContract runs a function of the base contract.
func (a *app) runContract(p *Peer, q gateway.ContractRequest, fault Fault) (any, error) {
	if q.ContractName != a.ChainCode {
		return nil, errChainCode
	}
	if !a.users[q.UserID] {
		return nil, errNoUser
	}
	var args []any
	d := json.NewDecoder(strings.NewReader(q.FuncParam))
	d.UseNumber()
	if err := d.Decode(&args); err != nil || len(args) == 0 {
		return nil, errFunction
	}
	id, ok := args[0].(string)
	switch {
	case ok && q.FuncName == gateway.FuncSelect && len(args) == 1:
		ids, keys, values := []string{}, []int64{}, []string{}
		for _, b := range a.ledger.blocks {
			if row, ok := rowOf(b); ok && row.ID == id {
				ids, keys, values = append(ids, row.ID), append(keys, row.Key), append(values, row.Value)
			}
		}
		return gateway.ContractAnswer{Constant: true, QueryInfo: text([]any{ids, keys, values})}, nil
	case !ok || q.FuncName != gateway.FuncInsert || len(args) != 3:
		return nil, errFunction
	}
	number, isNumber := args[1].(json.Number)
	value, isText := args[2].(string)
	key, err := number.Int64()
	if !isNumber || !isText || err != nil {
		return nil, errFunction
	}
	return a.insert(p, q.UserID, gateway.Row{ID: id, Key: key, Value: value}, fault)
}

// insert makes a block of the transaction at once. Under Timeout the gateway gives up waiting
// for it; under Dropped it never comes.
func (a *app) insert(p *Peer, user string, row gateway.Row, fault Fault) (any, error) {
	if fault == Dropped {
		return nil, errTimeout
	}
	now := p.conf.Now()
	// a real one is over the sender's random number
	id := sm.Sum([]byte(a.AppCode), fmt.Append(nil, len(a.ledger.blocks)), []byte(row.ID))
	t := transaction{BlockTransaction: gateway.BlockTransaction{TxID: id.String(), CreateName: user,
		TimeSpanSec: now.Unix(), TimeSpanNsec: int64(now.Nanosecond())},
		Key: row.ID, Data: text(gateway.StoredData{BaseKey: row.ID, BaseInfo: row.Value}), Row: row.Key}
	output := "0x" + strings.Repeat("0", 63) + "1"
	status := gateway.ReceiptOK
	if fault == Conflict {
		t.Status, status, output = gateway.StatusMVCC, gateway.ReceiptReverted, "0x"
	}
	if err := a.ledger.add([]transaction{t}); err != nil {
		return nil, err
	}
	if fault == Timeout {
		return nil, errTimeout
	}
	b := a.ledger.blocks[len(a.ledger.blocks)-1]
	c := a.contractTransaction(b)
	return gateway.ContractAnswer{TxID: c.TxID, BlockHash: c.BlockHash, BlockNumber: &c.BlockNumber,
			GasUsed: &c.GasUsed, Status: status, From: c.From, To: c.To, Input: c.Input, Output: output,
			Logs: a.logs(b)},
		nil
}

// rowOf is the row that a block's transaction wrote or tried to write; ok is false for one
// that it did not write.
func rowOf(b block) (row gateway.Row, ok bool) {
	if len(b.Transactions) == 0 {
		return row, false
	}
	t := b.Transactions[0]
	var data gateway.StoredData
	err := json.Unmarshal([]byte(t.Data), &data)
	return gateway.Row{ID: data.BaseKey, Key: t.Row, Value: data.BaseInfo}, err == nil &&
		t.Status == gateway.StatusValid
}

// contractTransaction is the transaction of a block that has one.
func (a *app) contractTransaction(b block) gateway.ContractTransaction {
	t := b.Transactions[0]
	row, _ := rowOf(b)
	selector := gateway.InsertSelector
	if a.Key.Algorithm() == gateway.SM2 {
		selector = gateway.InsertSelectorSM3
	}
	return gateway.ContractTransaction{TxID: "0x" + t.TxID, BlockHash: "0x" + b.Hash, BlockNumber: int64(b.Number),
		GasUsed: gas, From: a.address(t.CreateName), To: a.Contract, Input: selector + row.InsertInput()}
}

// logs are those of a block's transaction.
func (a *app) logs(b block) string {
	row, ok := rowOf(b)
	if !ok {
		return "[]"
	}
	topic := gateway.InsertTopic
	if a.Key.Algorithm() == gateway.SM2 {
		topic = gateway.InsertTopicSM3
	}
	return text([]gateway.Log{{Address: a.Contract, Topics: []string{topic}, Data: row.InsertResult(1)}})
}

func (a *app) address(user string) string { return address([]byte(a.AppCode + user)) }

// address is an account's made of some bytes; nobody's for none.
func address(of []byte) string {
	var d sm.Digest
	if of != nil {
		d = sm.Sum(of)
	}
	return "0x" + hex.EncodeToString(d[:20])
}
