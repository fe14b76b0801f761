package gateway_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"golang.org/x/crypto/sha3"

	"stele/crypto/sm"
	"stele/notary/proof/bsnproof/gateway"
)

// The strings of FISCO BCOS have the order of the manual's tables; a view's absent numbers
// are nothing or zeros.
func TestFISCOStrings(t *testing.T) {
	h := gateway.RequestHeader{UserCode: "U", AppCode: "A"}
	n, view := int64(7), gateway.ContractAnswer{Constant: true, QueryInfo: "[]"}
	tx := gateway.ContractTransaction{TxID: "t", BlockHash: "b", BlockNumber: 7, GasUsed: 9, From: "f", To: "o",
		Value: 0, Input: "i"}
	for want, got := range map[string]string{
		`UAucinsert["a",1]`: gateway.RequestText(h, gateway.ContractRequest{UserID: "u", ContractName: "c",
			FuncName: gateway.FuncInsert, FuncParam: `["a",1]`}),
		"UA0x1":     gateway.RequestText(h, gateway.TxHashRequest{TxHash: "0x1"}),
		"UA7hash":   gateway.RequestText(h, gateway.ContractBlockRequest{BlockNumber: "7", BlockHash: "hash"}),
		"0true[]":   gateway.AnswerText(gateway.AnswerHeader{}, view),
		"0true[]00": gateway.AnswerText(gateway.AnswerHeader{}, view.Zeros()),
		"0falsetb770x0foiol": gateway.AnswerText(gateway.AnswerHeader{},
			gateway.ContractAnswer{TxID: "t", BlockHash: "b", BlockNumber: &n, GasUsed: &n, Status: gateway.ReceiptOK,
				From: "f", To: "o", Input: "i", Output: "o", Logs: "l"}),
		"0tb79fo0i": gateway.AnswerText(gateway.AnswerHeader{}, tx),
		"0tb79focl": gateway.AnswerText(gateway.AnswerHeader{},
			gateway.ReceiptAnswer{TxID: "t", BlockHash: "b", BlockNumber: 7, GasUsed: 9, From: "f", To: "o",
				ContractAddress: "c", Logs: "l"}),
		"0b7p100200xatb79fo0i": gateway.AnswerText(gateway.AnswerHeader{}, gateway.ContractBlockAnswer{BlockHash: "b",
			BlockNumber: 7, ParentBlockHash: "p", BlockSize: 100, BlockTime: 200, Author: "xa",
			Transactions: []gateway.ContractTransaction{tx}}),
	} {
		t.Run(want, func(t *testing.T) {
			if got != want {
				t.Errorf("%q, want %q", got, want)
			}
		})
	}
}

// Topic and selector are hashes of the base contract's interface, and arguments are encoded
// word by word.
func TestBaseContract(t *testing.T) {
	keccak := func(s string) string {
		h := sha3.NewLegacyKeccak256()
		h.Write([]byte(s))
		return "0x" + hex.EncodeToString(h.Sum(nil))
	}
	sm3 := func(s string) string { return "0x" + sm.Sum([]byte(s)).String() }
	const event, function = "InsertResult(int256,string,int256,string)", "insert(string,int256,string)"
	if keccak(event) != gateway.InsertTopic || sm3(event) != gateway.InsertTopicSM3 ||
		keccak(function)[:10] != gateway.InsertSelector || sm3(function)[:10] != gateway.InsertSelectorSM3 {
		t.Error("a topic or a selector differs")
	}
	word := func(digits string) string { return strings.Repeat("0", 64-len(digits)) + digits }
	text := func(s string) string { return hex.EncodeToString([]byte(s)) + strings.Repeat("00", 32-len(s)) }
	row := gateway.Row{ID: "id", Key: -2, Value: strings.Repeat("v", 32)}
	minus := strings.Repeat("f", 63) + "e"
	value := hex.EncodeToString([]byte(row.Value))
	if got, want := row.InsertResult(1), "0x"+word("1")+word("80")+minus+word("c0")+word("2")+text("id")+word("20")+
		value; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := row.InsertInput(), word("60")+minus+word("a0")+word("2")+text("id")+word("20")+value; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
