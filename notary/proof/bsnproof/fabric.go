package bsnproof

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"stele/notary/proof/bsnproof/gateway"
	"stele/notary/proof/checkpoint"
)

// KindFabric names the evidence of a Fabric application inside a bundle.
const KindFabric = "bsn/fabric/v1"

// Fabric is what attests that a checkpoint was anchored on a Fabric application. It is
// canonical JSON, keys in this order, no white space, no HTML escaping, at most
// [MaxEvidenceSize] bytes; bodies hold all keys in the order of the manual's tables:
//
//	{"kind":"bsn/fabric/v1","app":"app0001…","path":["<base64 of 32 bytes>",…],
//	 "history":{"msg":"success","body":{"blockInfo":{…},"ccRes":{"ccCode":200,"ccData":"[…]"}},"mac":"<base64 DER>"},
//	 "block":{"msg":"success","body":{"blockHash":"…",…,"transactions":[…]},"mac":"…"},
//	 "ledger":{"msg":"success","body":{"blockHash":"…","height":9,"preBlockHash":"…"},"mac":"…"}}
//
// history is the answer to getHistory of the entry's key: it ties key, value and transaction
// to one another. block is the answer to getBlockInfo by that transaction: it ties the
// transaction to the application, to a status and to a height. ledger is the answer to
// getLedgerInfo.
type Fabric struct {
	Head
	History Signed[gateway.ChainCodeAnswer] `json:"history"`
	Block   Signed[gateway.BlockAnswer]     `json:"block"`
	Ledger  Signed[gateway.LedgerAnswer]    `json:"ledger"`
}

// Marshal implements [Evidence].
func (e Fabric) Marshal() (json.RawMessage, error) {
	e.Kind, e.Block.Body.Transactions = KindFabric, notNil(e.Block.Body.Transactions) // null would be a second spelling
	return marshal(e)
}

// Verify implements [Evidence].
func (e Fabric) Verify(key *gateway.PublicKey, c checkpoint.Checkpoint) (Attested, error) {
	return verify(e, key, c)
}

// SignedAnswers implements [Evidence].
func (e Fabric) SignedAnswers() []Answer {
	return []Answer{e.History.named("history"), e.Block.named("block"), e.Ledger.named("ledger")}
}

func (e Fabric) withPath(path Path) Evidence {
	e.Path = path
	return e
}

// Consistent implements [Evidence].
func (e Fabric) Consistent(origin string) error {
	_, err := e.entry(origin)
	return err
}

// entry reads what the answers say together.
func (e Fabric) entry(origin string) (Attested, error) {
	a := Attested{App: e.App}
	res := e.History.Body.CCRes
	if res.CCCode != gateway.CCOK {
		return a, fmt.Errorf("%w: getHistory failed with code %d", ErrContent, res.CCCode)
	}
	history, err := History(res.CCData)
	if err != nil {
		return a, err
	}
	if len(history) != 1 || history[0].IsDelete {
		return a, fmt.Errorf("%w: the key must have been written once, and nothing else", ErrContent)
	}
	stored, err := Stored(history[0].DataInfo)
	if err != nil {
		return a, err
	}
	var ok bool
	if a.Entry, ok = parseKey(origin, stored.BaseKey); !ok {
		return a, fmt.Errorf("%w: the key %q is none of the log %s", ErrContent, stored.BaseKey, origin)
	}
	if a.Checkpoint, _, err = ParseValue(stored.BaseInfo); err != nil {
		return a, err
	}
	if a.Checkpoint.Origin != origin {
		return a, fmt.Errorf("%w: the entry is one of the log %s", ErrContent, a.Checkpoint.Origin)
	}
	return a, e.final(&a, history[0].TxID)
}

// final checks that the transaction is in a block that the ledger has gone past. Fabric does
// not reorganise, so this is for ever.
func (e Fabric) final(a *Attested, txID string) error {
	block, ledger := e.Block.Body, e.Ledger.Body
	is := func(t gateway.BlockTransaction) bool { return t.TxID == txID }
	at := slices.IndexFunc(block.Transactions, is)
	switch {
	// Block 0 is the genesis; and an answer of a chaincode begins like an answer about it.
	case block.BlockNumber == 0 || block.BlockNumber > MaxEntries || !hash(block.BlockHash) ||
		!hash(block.PreBlockHash) || !hash(ledger.BlockHash) || !hash(txID):
		return fmt.Errorf("%w: no block with hashes", ErrContent)
	case at < 0 || block.BlockTxCount != len(block.Transactions) || slices.ContainsFunc(block.Transactions[at+1:], is):
		return fmt.Errorf("%w: the entry's transaction is not in the block once", ErrContent)
	case block.Transactions[at].Status != gateway.StatusValid:
		return fmt.Errorf("%w: the transaction has the status %d", ErrContent, block.Transactions[at].Status)
	case ledger.Height <= block.BlockNumber || ledger.Height == block.BlockNumber+1 &&
		ledger.BlockHash != block.BlockHash:
		return fmt.Errorf("%w: the ledger of height %d does not hold the block %d", ErrContent, ledger.Height,
			block.BlockNumber)
	}
	t := block.Transactions[at]
	if slices.ContainsFunc(block.Transactions, func(t gateway.BlockTransaction) bool { return !hash(t.TxID) }) {
		return fmt.Errorf("%w: a transaction of the block has no hash", ErrContent)
	}
	// One @: else a later transaction of the application could be read as a part of the name.
	if user, ok := strings.CutSuffix(t.CreateName, "@"+e.App); !ok || user == "" || strings.Contains(user, "@") {
		return fmt.Errorf("%w: the transaction is one of %q, not of the application %s", ErrContent, t.CreateName,
			e.App)
	}
	// createName ends in a known name, and the seconds have ten digits: so no digit of what stands
	// beside them under the mac can be read as one of theirs. The nanoseconds have no fixed length
	// and count for nothing: what is attested is that it was not later than the end of the second.
	if digits(t.TimeSpanSec) != 10 || t.TimeSpanNsec < 0 || t.TimeSpanNsec >= int64(time.Second) {
		return fmt.Errorf("%w: the transaction has no time of ten digits", ErrContent)
	}
	a.Height, a.Time = block.BlockNumber, time.Unix(t.TimeSpanSec, 999e6).UTC()
	return nil
}
