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

// KindFISCO names the evidence of a FISCO BCOS application inside a bundle.
const KindFISCO = "bsn/fisco/v1"

// FISCO is what attests that a checkpoint was anchored on a FISCO BCOS application. Its form
// is that of [Fabric], with other answers:
//
//	{"kind":"bsn/fisco/v1","app":"0x<40 hex digits>","path":["<base64 of 32 bytes>",…],
//	 "row":{"msg":"success","body":{"constant":true,"queryInfo":"[…]",…},"mac":"<base64 DER>"},
//	 "receipt":{"msg":"success","body":{"txId":"0x…",…,"logs":"[…]"},"mac":"…"},
//	 "block":{"msg":"success","body":{"blockHash":"0x…",…,"transactions":[…]},"mac":"…"}}
//
// app is the address of the base contract: no answer names the application. row is the answer
// to select of the entry's id: the entry is its first row, later ones under the same id are
// void. receipt is that of the transaction that inserted this row: it ties id and value to
// contract, transaction and block. block ties the transaction to a time. Blocks of FISCO BCOS
// are final (PBFT).
type FISCO struct {
	Head
	Row     Signed[gateway.ContractAnswer]      `json:"row"`
	Receipt Signed[gateway.ReceiptAnswer]       `json:"receipt"`
	Block   Signed[gateway.ContractBlockAnswer] `json:"block"`
}

// Marshal implements [Evidence].
func (e FISCO) Marshal() (json.RawMessage, error) {
	e.Kind, e.Block.Body.Transactions = KindFISCO, notNil(e.Block.Body.Transactions) // null would be a second spelling
	return marshal(e)
}

// Verify implements [Evidence].
func (e FISCO) Verify(key *gateway.PublicKey, c checkpoint.Checkpoint) (Attested, error) {
	return verify(e, key, c)
}

// SignedAnswers implements [Evidence].
func (e FISCO) SignedAnswers() []Answer {
	return []Answer{e.Row.named("row"), e.Receipt.named("receipt"), e.Block.named("block")}
}

func (e FISCO) withPath(path Path) Evidence {
	e.Path = path
	return e
}

// Consistent implements [Evidence].
func (e FISCO) Consistent(origin string) error {
	_, err := e.entry(origin)
	return err
}

// entry reads what the answers say together.
func (e FISCO) entry(origin string) (Attested, error) {
	a := Attested{App: e.App}
	for _, msg := range []string{e.Row.Msg, e.Receipt.Msg, e.Block.Msg} {
		if !plain(msg) {
			return a, fmt.Errorf("%w: the message %q could hide a part of another answer", ErrContent, msg)
		}
	}
	rows, err := Rows(e.Row.Body.QueryInfo)
	if err != nil {
		return a, err
	}
	if !e.Row.Body.Constant || len(rows) == 0 {
		return a, fmt.Errorf("%w: there is no row", ErrContent)
	}
	row, ok := rows[0], false
	if a.Entry, ok = parseKey(origin, row.ID); !ok {
		return a, fmt.Errorf("%w: the id %q is none of the log %s", ErrContent, row.ID, origin)
	}
	if a.Checkpoint, _, err = ParseValue(row.Value); err != nil {
		return a, err
	}
	if a.Checkpoint.Origin != origin {
		return a, fmt.Errorf("%w: the entry is one of the log %s", ErrContent, a.Checkpoint.Origin)
	}
	return a, e.final(&a, row)
}

// final checks that the row was inserted by a transaction of a block.
func (e FISCO) final(a *Attested, row gateway.Row) error {
	receipt, block := e.Receipt.Body, e.Block.Body
	is := func(t gateway.ContractTransaction) bool { return t.TxID == receipt.TxID }
	at := slices.IndexFunc(block.Transactions, is)
	switch {
	case !Address(e.App) || receipt.To != e.App:
		return fmt.Errorf("%w: the transaction is one of the contract %q, not of %q", ErrContent, receipt.To, e.App)
	case !Inserted(e.App, receipt.Logs, row):
		return fmt.Errorf("%w: the transaction did not insert the entry", ErrContent)
	case block.BlockNumber <= 0 || block.BlockNumber > MaxEntries || !prefixedHash(block.BlockHash) ||
		!prefixedHash(block.ParentBlockHash) || !prefixedHash(receipt.TxID) || !Address(receipt.From):
		return fmt.Errorf("%w: no block with hashes", ErrContent)
	case receipt.BlockHash != block.BlockHash || receipt.BlockNumber != block.BlockNumber:
		return fmt.Errorf("%w: the transaction is in block %d, not in %d", ErrContent, receipt.BlockNumber,
			block.BlockNumber)
	case at < 0 || slices.ContainsFunc(block.Transactions[at+1:], is) || block.Transactions[at].To != e.App:
		return fmt.Errorf("%w: the entry's transaction is not in the block once", ErrContent)
	case digits(block.BlockTime) != 13 || !author(block.Author):
		return fmt.Errorf("%w: the block has no time of thirteen digits before its author", ErrContent)
	}
	// What follows the author has a fixed form too: else digits of the time could go into the first
	// transaction, and others come in from the block's size.
	for _, t := range block.Transactions {
		if !prefixedHash(t.TxID) || t.BlockHash != block.BlockHash || t.BlockNumber != block.BlockNumber {
			return fmt.Errorf("%w: a transaction of the block is one of another block", ErrContent)
		}
	}
	a.Height, a.Time = uint64(block.BlockNumber), time.UnixMilli(block.BlockTime).UTC()
	return nil
}

// plain reports whether an answer's message cannot hold the beginning of what follows it in
// the string under the mac: an answer about a contract begins with true or false, and others
// with numbers. So an answer of one call cannot be read as one of another.
func plain(msg string) bool {
	return len(msg) <= maxMsg && !strings.ContainsAny(msg, `0123456789"[]{}`) && !strings.Contains(msg, "true") &&
		!strings.Contains(msg, "false")
}

const maxMsg = 64 // bytes

// author reports whether a block's author has a form that no digit of the time before it can be
// moved into, nor out of: nothing, 0x and hex digits, or a node's key of 128 hex digits.
func author(s string) bool {
	hex, prefixed := strings.CutPrefix(s, "0x")
	return s == "" || prefixed && hex != "" && hexDigits(hex, len(hex)) || hexDigits(s, 128)
}

// Address reports whether s is an account's or a contract's: 0x and 40 lower-case hex digits.
func Address(s string) bool {
	digits, ok := strings.CutPrefix(s, "0x")
	return ok && hexDigits(digits, 40)
}

func prefixedHash(s string) bool {
	digits, ok := strings.CutPrefix(s, "0x")
	return ok && hash(digits)
}
