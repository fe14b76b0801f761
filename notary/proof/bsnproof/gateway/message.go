package gateway

import "encoding/json"

// Codes of an answer's header. No other is documented.
const (
	CodeOK     = 0
	CodeFailed = -1
)

// MsgBadMac is what a gateway says to a request whose mac does not verify.
const MsgBadMac = "Signature verification failed"

// RequestHeader names the participant and the application.
type RequestHeader struct {
	UserCode string `json:"userCode"`
	AppCode  string `json:"appCode"`
	TID      string `json:"tId,omitempty"` // legacy, not under the mac
}

// Request is what is posted to a gateway. The mac is base64 in JSON.
type Request struct {
	Header RequestHeader   `json:"header"`
	Mac    []byte          `json:"mac"`
	Body   json.RawMessage `json:"body,omitempty"`
}

// RequestText is the string under a request's mac. The body is nil or a message of this package.
func RequestText(h RequestHeader, body any) string { return Text(h.UserCode, h.AppCode, body) }

// AnswerHeader says whether the call succeeded.
type AnswerHeader struct {
	Code int    `json:"code"`
	Msg  string `json:"msg"`
}

// Answer is what a gateway answers.
type Answer struct {
	Header AnswerHeader    `json:"header"`
	Mac    []byte          `json:"mac"`
	Body   json.RawMessage `json:"body"`
}

// AnswerText is the string under an answer's mac. The body is nil or a message of this package.
func AnswerText(h AnswerHeader, body any) string { return Text(h, body) }

// Paths of the calls, below a gateway's address.
const (
	PathAppInfo     = "/api/app/getAppInfo"
	PathChainCode   = "/api/fabric/v1/node/reqChainCode"
	PathTransaction = "/api/fabric/v1/node/getTransaction"
	PathBlockInfo   = "/api/fabric/v1/node/getBlockInfo"
	PathLedgerInfo  = "/api/fabric/v1/node/getLedgerInfo"
	PathRegister    = "/api/fabric/v1/user/register"
)

// AppInfo answers [PathAppInfo]. Its request is not signed.
type AppInfo struct {
	AppName       string `json:"appName"`
	AppType       string `json:"appType"`
	CAType        int    `json:"caType"`        // 1: the gateway holds the transaction keys
	AlgorithmType int    `json:"algorithmType"` // 1 SM2, 2 secp256r1, 3 secp256k1
	MSPID         string `json:"mspId"`
	ChannelID     string `json:"channelId"`
}

// NonceSize is the length of a nonce in bytes, before base64.
const NonceSize = 24

// ChainCodeRequest asks [PathChainCode] to run a function of the application's chaincode.
type ChainCodeRequest struct {
	UserName      string            `json:"userName"`
	Nonce         string            `json:"nonce"`
	ChainCode     string            `json:"chainCode"`
	FuncName      string            `json:"funcName"`
	Args          []string          `json:"args"`
	TransientData map[string]string `json:"transientData"`
}

// BlockInfo is the transaction that a call made. Before its block is cut, which is the rule,
// BlockHash is empty and Status says nothing.
type BlockInfo struct {
	TxID      string `json:"txId"`
	BlockHash string `json:"blockHash"`
	Status    int    `json:"status"`
}

// CCRes is what the chaincode answered: 200 and a payload, or 400 and more and a message.
type CCRes struct {
	CCCode int    `json:"ccCode"`
	CCData string `json:"ccData"`
}

// ChainCodeAnswer answers [PathChainCode].
type ChainCodeAnswer struct {
	BlockInfo BlockInfo `json:"blockInfo"`
	CCRes     CCRes     `json:"ccRes"`
}

// TransactionRequest asks [PathTransaction].
type TransactionRequest struct {
	TxID string `json:"txId"`
}

// TransactionAnswer answers [PathTransaction]. It does not repeat the transaction's id.
type TransactionAnswer struct {
	BlockHash    string `json:"blockHash"`
	BlockNumber  uint64 `json:"blockNumber"`
	Status       int    `json:"status"`
	CreateName   string `json:"createName"` // user@application
	TimeSpanSec  int64  `json:"timeSpanSec"`
	TimeSpanNsec int64  `json:"timeSpanNsec"`
}

// BlockRequest asks [PathBlockInfo] by one of its three selectors.
type BlockRequest struct {
	BlockNumber uint64 `json:"blockNumber"`
	BlockHash   string `json:"blockHash"`
	TxID        string `json:"txId"`
}

// BlockTransaction is one transaction of a block. The time is that of the proposal, by the
// gateway's clock.
type BlockTransaction struct {
	TxID         string `json:"txId"`
	Status       int    `json:"status"`
	CreateName   string `json:"createName"`
	TimeSpanSec  int64  `json:"timeSpanSec"`
	TimeSpanNsec int64  `json:"timeSpanNsec"`
}

// BlockAnswer answers [PathBlockInfo].
type BlockAnswer struct {
	BlockHash    string             `json:"blockHash"`
	BlockNumber  uint64             `json:"blockNumber"`
	PreBlockHash string             `json:"preBlockHash"`
	BlockSize    uint64             `json:"blockSize"` // bytes
	BlockTxCount int                `json:"blockTxCount"`
	Transactions []BlockTransaction `json:"transactions"`
}

// LedgerAnswer answers [PathLedgerInfo]. Height is the number of the next block.
type LedgerAnswer struct {
	BlockHash    string `json:"blockHash"`
	Height       uint64 `json:"height"`
	PreBlockHash string `json:"preBlockHash"`
}

// User is asked of [PathRegister] and answered by it.
type User struct {
	Name   string `json:"name"`
	Secret string `json:"secret"`
}

// Status of a transaction: Fabric's TxValidationCode, and -1 while it is undetermined.
const (
	StatusValid     = 0
	StatusTimeout   = -1
	StatusDuplicate = 9
	StatusMVCC      = 11
)

// What the base chaincode answers.
const (
	CCOK         = 200
	CCFailed     = 500
	CCSuccess    = "SUCCESS"
	CCKeyExists  = "key value already exists"
	CCNotFound   = "data not found"
	FuncSet      = "set"
	FuncGet      = "get"
	FuncHistory  = "getHistory"
	CCKeyPrefix  = "base_key_"
	CCNoKey      = "data formatting error:baseKey field cannot be empty"
	CCParameters = "parameters error"
)

// BaseData is the argument of the base chaincode's set.
type BaseData struct {
	BaseKey   string `json:"baseKey"`
	BaseValue string `json:"baseValue"`
}

// StoredData is what set leaves in the ledger, and what getHistory shows of it.
type StoredData struct {
	BaseKey  string `json:"BaseKey"`
	BaseInfo string `json:"BaseInfo"`
}

// HistoryEntry is one write of a key, as getHistory lists them.
type HistoryEntry struct {
	TxID     string `json:"txId"`
	DataInfo string `json:"dataInfo"` // JSON of StoredData
	TxTime   string `json:"txTime"`   // in the node's own zone: of no use
	IsDelete bool   `json:"isDelete"`
}
