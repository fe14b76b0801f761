package gateway

import (
	"encoding/binary"
	"encoding/hex"
	"slices"
)

// Paths of the calls of FISCO BCOS applications (manual, chapter 5-4-4).
const (
	PathFISCORegister  = "/api/fiscobcos/v1/user/register"
	PathFISCOContract  = "/api/fiscobcos/v1/node/reqChainCode"
	PathFISCOTxInfo    = "/api/fiscobcos/v1/node/getTxInfoByTxHash"
	PathFISCOReceipt   = "/api/fiscobcos/v1/node/getTxReceiptByTxHash"
	PathFISCOBlockInfo = "/api/fiscobcos/v1/node/getBlockInfo"
	PathFISCOHeight    = "/api/fiscobcos/v1/node/getBlockHeight"
	PathFISCOTxCount   = "/api/fiscobcos/v1/node/getTxCount"
	PathFISCOBlockTxs  = "/api/fiscobcos/v1/node/getTxCountByBlockNumber"
)

// UserRequest asks [PathFISCORegister] for an account that transactions are made as.
type UserRequest struct {
	UserID string `json:"userId"`
}

// UserAnswer answers [PathFISCORegister].
type UserAnswer struct {
	UserID      string `json:"userId"`
	UserAddress string `json:"userAddress"`
}

// ContractRequest asks [PathFISCOContract] to run a function of a contract. There is no nonce:
// who sees such a request can send it again.
type ContractRequest struct {
	UserID       string `json:"userId"`
	ContractName string `json:"contractName"`
	FuncName     string `json:"funcName"`
	FuncParam    string `json:"funcParam"` // JSON list of the arguments
}

// ContractAnswer answers [PathFISCOContract]. A view sets Constant and QueryInfo alone, and a
// gateway may leave the numbers out. Anything else is answered when its block is cut.
type ContractAnswer struct {
	Constant    bool   `json:"constant"`
	QueryInfo   string `json:"queryInfo"` // JSON list of what a view returns
	TxID        string `json:"txId"`
	BlockHash   string `json:"blockHash"`
	BlockNumber *int64 `json:"blockNumber,omitempty"`
	GasUsed     *int64 `json:"gasUsed,omitempty"`
	Status      string `json:"status"` // of the receipt, see [ReceiptOK]
	From        string `json:"from"`
	To          string `json:"to"`
	Input       string `json:"input"`
	Output      string `json:"output"`
	Logs        string `json:"logs"` // JSON list of [Log]
}

// Zeros is the answer with zeros for the numbers that are absent. SDKs differ in what the mac
// is over then: nothing, or zeros.
func (a ContractAnswer) Zeros() ContractAnswer {
	for _, n := range []**int64{&a.BlockNumber, &a.GasUsed} {
		if *n == nil {
			*n = new(int64)
		}
	}
	return a
}

// TxHashRequest asks [PathFISCOReceipt] and [PathFISCOTxInfo].
type TxHashRequest struct {
	TxHash string `json:"txHash"`
}

// ContractTransaction answers [PathFISCOTxInfo] and stands in blocks.
type ContractTransaction struct {
	TxID        string `json:"txId"`
	BlockHash   string `json:"blockHash"`
	BlockNumber int64  `json:"blockNumber"`
	GasUsed     int64  `json:"gasUsed"`
	From        string `json:"from"`
	To          string `json:"to"`
	Value       int64  `json:"value"`
	Input       string `json:"input"`
}

// ReceiptAnswer answers [PathFISCOReceipt]. It has no status: a transaction that failed has
// no logs.
type ReceiptAnswer struct {
	TxID            string `json:"txId"`
	BlockHash       string `json:"blockHash"`
	BlockNumber     int64  `json:"blockNumber"`
	GasUsed         int64  `json:"gasUsed"`
	From            string `json:"from"`
	To              string `json:"to"`
	ContractAddress string `json:"contractAddress"` // of a contract that was made
	Logs            string `json:"logs"`            // JSON list of [Log]
}

// ContractBlockRequest asks [PathFISCOBlockInfo]; a number goes before a hash. The number
// alone asks [PathFISCOBlockTxs].
type ContractBlockRequest struct {
	BlockNumber string `json:"blockNumber"`
	BlockHash   string `json:"blockHash,omitempty"`
}

// ContractBlockAnswer answers [PathFISCOBlockInfo].
type ContractBlockAnswer struct {
	BlockHash       string                `json:"blockHash"`
	BlockNumber     int64                 `json:"blockNumber"`
	ParentBlockHash string                `json:"parentBlockHash"`
	BlockSize       int64                 `json:"blockSize"` // bytes
	BlockTime       int64                 `json:"blockTime"` // Unix milliseconds, by the clock of the block's producer
	Author          string                `json:"author"`
	Transactions    []ContractTransaction `json:"transactions"`
}

// DataAnswer answers [PathFISCOHeight] and [PathFISCOBlockTxs] with a number in decimal, and
// [PathFISCOTxCount] with the JSON of [TxCount].
type DataAnswer struct {
	Data string `json:"data"`
}

// TxCount is how many transactions and blocks there are.
type TxCount struct {
	TxSum          int64  `json:"txSum"`
	BlockNumber    int64  `json:"blockNumber"`
	TxSumRaw       string `json:"txSumRaw"` // hexadecimal with 0x
	BlockNumberRaw string `json:"blockNumberRaw"`
}

// Status of a receipt.
const (
	ReceiptOK       = "0x0"
	ReceiptReverted = "0x16"
)

// Functions of the base contract. insert appends a row, also under an id that there is
// already; select returns the rows of an id, the oldest first, as [ids, keys, values].
const (
	FuncInsert = "insert"
	FuncSelect = "select"
)

// Log is what a contract logged in a transaction.
type Log struct {
	Address string   `json:"address"`
	Topics  []string `json:"topics"`
	Data    string   `json:"data"`
}

// Row is a row of the base contract's table.
type Row struct {
	ID    string // base_id
	Key   int64  // base_key
	Value string // base_value
}

// The topic of the event InsertResult(int256,string,int256,string) and the selector of the
// function insert(string,int256,string): Keccak-256 of these texts, and SM3 on chains of the
// national algorithms.
const (
	InsertTopic       = "0xcc65598a3d21801dbf161e513a8f1cde52edbc0b7d8d4ba52edf983166f0bbb3"
	InsertTopicSM3    = "0x1848f8d9a3242822d36e1f86e8427b0e4be5995aebcef2ff82030725254bbc33"
	InsertSelector    = "0xebf3b24f"
	InsertSelectorSM3 = "0xe020d464"
)

// InsertResult is the data of the event that insert logs: how many rows it wrote, and the row.
func (r Row) InsertResult(count int64) string {
	return "0x" + hex.EncodeToString(appendABI(nil, count, r.ID, r.Key, r.Value))
}

// InsertInput is what a transaction that inserts the row calls the contract with, after the
// selector.
func (r Row) InsertInput() string {
	return hex.EncodeToString(appendABI(nil, r.ID, r.Key, r.Value))
}

// appendABI encodes int64 and string values as arguments (Solidity, Contract ABI
// specification, Formal Specification of the Encoding): a word for each, that of a string
// being the place of its length and bytes behind all words.
func appendABI(b []byte, values ...any) []byte {
	const word = 32
	var tail []byte
	for _, v := range values {
		switch v := v.(type) {
		case int64:
			b = appendWord(b, v)
		case string:
			b = appendWord(b, int64(word*len(values)+len(tail)))
			tail = append(appendWord(tail, int64(len(v))), v...)
			tail = append(tail, make([]byte, (word-len(v)%word)%word)...)
		}
	}
	return append(b, tail...)
}

func appendWord(b []byte, n int64) []byte {
	sign := byte(n >> 63) // 0x00 or 0xff
	return binary.BigEndian.AppendUint64(append(b, slices.Repeat([]byte{sign}, 24)...), uint64(n))
}
