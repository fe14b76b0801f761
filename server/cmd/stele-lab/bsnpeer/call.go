package bsnpeer

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"stele/crypto/sm"
	"stele/notary/proof/bsnproof/gateway"
)

// call checks a request's mac and carries it out.
func (a *app) call(p *Peer, path string, req gateway.Request, fault Fault) (any, error) {
	if path == gateway.PathAppInfo { // its request bears no mac
		number := map[gateway.Algorithm]int{gateway.SM2: 1, gateway.Secp256r1: 2, gateway.Secp256k1: 3}
		info := gateway.AppInfo{AppName: a.Name, AppType: "fabric", CAType: 1, AlgorithmType: number[a.Key.Algorithm()],
			MSPID: "OrgbNodeMSP", ChannelID: a.AppCode}
		if a.Contract != "" {
			info.AppType, info.MSPID, info.ChannelID = "fiscobcos", "", "1"
		}
		return info, nil
	}
	if a.Contract != "" {
		return a.callFISCO(p, path, req, fault)
	}
	switch path {
	case gateway.PathLedgerInfo:
		if !a.Key.Verify(gateway.RequestText(req.Header, nil), req.Mac) {
			return nil, errBadMac
		}
		top := a.ledger.blocks[len(a.ledger.blocks)-1]
		return gateway.LedgerAnswer{BlockHash: top.Hash, Height: top.Number + 1, PreBlockHash: top.Previous}, nil
	case gateway.PathChainCode:
		q, err := body[gateway.ChainCodeRequest](a, req)
		if err != nil {
			return nil, err
		}
		return a.run(p, q, fault)
	case gateway.PathTransaction:
		q, err := body[gateway.TransactionRequest](a, req)
		if err != nil {
			return nil, err
		}
		return a.transaction(q.TxID, fault)
	case gateway.PathBlockInfo:
		q, err := body[gateway.BlockRequest](a, req)
		if err != nil {
			return nil, err
		}
		return a.block(q, fault)
	case gateway.PathRegister:
		return body[gateway.User](a, req)
	}
	return nil, errNoPath
}

// body reads a request's body and checks the mac over it.
func body[T any](a *app, req gateway.Request) (T, error) {
	var q T
	if err := json.Unmarshal(req.Body, &q); err != nil {
		return q, errBadBody
	}
	if !a.Key.Verify(gateway.RequestText(req.Header, q), req.Mac) {
		return q, errBadMac
	}
	return q, nil
}

func (a *app) transaction(txID string, fault Fault) (any, error) {
	b, ok := a.ledger.find(gateway.BlockRequest{TxID: txID})
	if !ok || txID == "" {
		return nil, errNoSuchTx
	}
	for _, t := range b.Transactions {
		if t.TxID == txID {
			answer := gateway.TransactionAnswer{BlockHash: b.Hash, BlockNumber: b.Number, Status: t.Status,
				CreateName: t.CreateName, TimeSpanSec: t.TimeSpanSec, TimeSpanNsec: t.TimeSpanNsec}
			if fault == Timeout {
				answer.Status = gateway.StatusTimeout
			}
			return answer, nil
		}
	}
	return nil, errNoSuchTx
}

func (a *app) block(q gateway.BlockRequest, fault Fault) (any, error) {
	b, ok := a.ledger.find(q)
	if !ok {
		return nil, errNoBlock
	}
	answer := gateway.BlockAnswer{BlockHash: b.Hash, BlockNumber: b.Number, PreBlockHash: b.Previous, BlockSize: b.Size,
		BlockTxCount: len(b.Transactions), Transactions: []gateway.BlockTransaction{}}
	for _, t := range b.Transactions {
		if fault == Timeout {
			t.Status = gateway.StatusTimeout
		}
		answer.Transactions = append(answer.Transactions, t.BlockTransaction)
	}
	return answer, nil
}

// run runs a function of the base chaincode.
func (a *app) run(p *Peer, q gateway.ChainCodeRequest, fault Fault) (any, error) {
	nonce, err := base64.StdEncoding.DecodeString(q.Nonce)
	if err != nil || len(nonce) != gateway.NonceSize {
		return nil, errNonce
	}
	if q.ChainCode != a.ChainCode {
		return nil, errChainCode
	}
	user := q.UserName
	if user == "" {
		user = "test"
	}
	creator := user + "@" + a.AppCode
	txID := a.txID(nonce, creator)
	if a.ledger.known(txID) {
		return nil, errDuplicate
	}
	res := func(code int, data string) gateway.ChainCodeAnswer {
		return gateway.ChainCodeAnswer{BlockInfo: gateway.BlockInfo{TxID: txID},
			CCRes: gateway.CCRes{CCCode: code, CCData: data}}
	}
	if len(q.Args) != 1 {
		return res(gateway.CCFailed, gateway.CCParameters), nil
	}
	switch q.FuncName {
	case gateway.FuncSet:
		stored, problem := a.ledger.endorse(q.Args[0])
		if problem != "" {
			return res(gateway.CCFailed, problem), nil
		}
		if p.conf.Queue > 0 && len(a.ledger.pool) >= p.conf.Queue {
			return nil, errQueue
		}
		now := p.conf.Now()
		t := transaction{BlockTransaction: gateway.BlockTransaction{TxID: txID, CreateName: creator,
			TimeSpanSec: now.Unix(), TimeSpanNsec: int64(now.Nanosecond())}, Key: stored.BaseKey, Data: text(stored)}
		if fault == Conflict {
			t.Status = gateway.StatusMVCC
		}
		if fault != Dropped {
			a.ledger.submit(t, now)
		}
		return res(gateway.CCOK, gateway.CCSuccess), nil
	case gateway.FuncGet:
		data, ok := a.ledger.state[q.Args[0]]
		var stored gateway.StoredData
		if !ok || json.Unmarshal([]byte(data), &stored) != nil {
			return res(gateway.CCFailed, gateway.CCNotFound), nil
		}
		return res(gateway.CCOK, stored.BaseInfo), nil
	case gateway.FuncHistory:
		return res(gateway.CCOK, text(a.ledger.history(q.Args[0]))), nil
	}
	return res(gateway.CCFailed, fmt.Sprintf("Function %s not found in contract base", q.FuncName)), nil
}

// endorse runs set against the committed state.
func (l *ledger) endorse(arg string) (gateway.StoredData, string) {
	var data gateway.BaseData
	if err := json.Unmarshal([]byte(arg), &data); err != nil {
		return gateway.StoredData{}, "failed to convert data:" + err.Error()
	}
	if data.BaseKey == "" {
		return gateway.StoredData{}, gateway.CCNoKey
	}
	if _, there := l.state[data.BaseKey]; there {
		return gateway.StoredData{}, gateway.CCKeyExists
	}
	return gateway.StoredData{BaseKey: data.BaseKey, BaseInfo: data.BaseValue}, ""
}

// text is JSON as the chaincode's marshaller writes it.
func text(v any) string {
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(v); err != nil {
		panic(err) // strings and lists of them always marshal
	}
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

// txID is the hash over nonce and creator, so that a nonce serves once.
func (a *app) txID(nonce []byte, creator string) string {
	if a.Key.Algorithm() == gateway.SM2 {
		return sm.Sum(nonce, []byte(creator)).String()
	}
	d := sha256.Sum256(append(nonce, creator...))
	return hex.EncodeToString(d[:])
}
