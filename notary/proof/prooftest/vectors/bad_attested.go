//go:build !js

package vectors

import (
	"bytes"
	"encoding/asn1"
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/bsnproof"
	"stele/notary/proof/bsnproof/gateway"
	"stele/notary/proof/checkpoint"
	"stele/notary/proof/prooftest"
)

// badAttested are anchors whose answers do not attest that the checkpoint is final. All macs but
// those that a vector is about are good.
func (b *builder) badAttested() {
	b.badMacs()
	b.badFabric()
	b.badFISCO()
	b.badDigits()
	b.badAttestedForm()
	b.badOneOfTwo()
}

func (b *builder) badAttestedAnchor(name, about, reason string, bundle []byte) {
	b.bad("attested-bad-"+name, about, proof.StepAnchor, reason, bundle, trustedBy(gatewaysFile))
}

// badMacs are answers that are not signed as they should be.
func (b *builder) badMacs() {
	s := newScene()
	bad := func(name, about string, e bsnproof.Fabric) {
		b.badAttestedAnchor("mac-"+name, about, "bad_evidence", s.bundle(prooftest.EncodeAttested(e)))
	}
	changed := func(algorithm gateway.Algorithm, change func(e *bsnproof.Fabric)) bsnproof.Fabric {
		e := gatewayOf(algorithm).Fabric(s.checkpoint.Checkpoint, s.at)
		change(&e)
		return e
	}
	bad("bit", "a bit of one mac is wrong",
		changed(gateway.SM2, func(e *bsnproof.Fabric) { e.Block.Mac = flip(e.Block.Mac, 30) }))
	bad("empty", "one of the answers is not signed",
		changed(gateway.SM2, func(e *bsnproof.Fabric) { e.Ledger.Mac = nil }))
	bad("other-key", "one of the answers is signed with another key of the application",
		changed(gateway.SM2, func(e *bsnproof.Fabric) {
			e.Block.Mac = gatewayOf(gateway.Secp256r1).Mac(gateway.AnswerHeader{Msg: e.Block.Msg}, e.Block.Body)
		}))
	bad("stranger", "one of the answers is signed with a key that is not pinned",
		changed(gateway.SM2, func(e *bsnproof.Fabric) {
			e.History.Mac = prooftest.NewGateway(seed+"/gateway/other", gateway.SM2).Mac(
				gateway.AnswerHeader{Msg: e.History.Msg}, e.History.Body)
		}))
	bad("exchanged", "the macs of two answers have changed places",
		changed(gateway.Secp256k1, func(e *bsnproof.Fabric) { e.Block.Mac, e.Ledger.Mac = e.Ledger.Mac, e.Block.Mac }))
	bad("text", "what is said was changed after signing",
		changed(gateway.Secp256r1, func(e *bsnproof.Fabric) { e.Ledger.Body.Height++ }))
	bad("message", "the message was changed after signing",
		changed(gateway.SM2, func(e *bsnproof.Fabric) { e.Ledger.Msg = "done" }))
	bad("code", "the answer was that of a call that failed", gatewayOf(gateway.SM2).Fabric(s.checkpoint.Checkpoint,
		s.at, func(x *prooftest.FabricAnswers) { x.Header.Code = gateway.CodeFailed }))
	bad("single-hash", "a mac of SM2 over the text in place of its SM3", changed(gateway.SM2, func(e *bsnproof.Fabric) {
		e.Block.Mac = prooftest.NewKey(seed + "/gateway/sm2").Sign(
			[]byte(gateway.AnswerText(gateway.AnswerHeader{Msg: e.Block.Msg}, e.Block.Body)))
	}))
	for _, algorithm := range algorithms[1:] {
		bad("larger-s-"+string(algorithm), "a mac with the larger of the two equivalent s",
			changed(algorithm, func(e *bsnproof.Fabric) { e.Block.Mac = largerS(e.Block.Mac, orders[algorithm]) }))
	}
	bad("der", "a mac with a byte after it",
		changed(gateway.Secp256r1, func(e *bsnproof.Fabric) { e.Block.Mac = append(bytes.Clone(e.Block.Mac), 0) }))
}

// orders of the curves whose signatures have two equivalent s (SEC 2 sections 2.4.1 and 2.4.2).
var orders = map[gateway.Algorithm]string{
	gateway.Secp256r1: "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
	gateway.Secp256k1: "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141",
}

func largerS(mac []byte, order string) []byte {
	var sig struct{ R, S *big.Int }
	n, _ := new(big.Int).SetString(order, 16)
	if rest, err := asn1.Unmarshal(mac, &sig); err != nil || len(rest) != 0 {
		panic("vectors: a mac that is none")
	}
	out, err := asn1.Marshal(struct{ R, S *big.Int }{sig.R, n.Sub(n, sig.S)})
	if err != nil {
		panic("vectors: " + err.Error())
	}
	return out
}

// otherRoot is a checkpoint of the same size with another root.
func (s scene) otherRoot() checkpoint.Checkpoint {
	c := s.checkpoint.Checkpoint
	c.Root = sm.Sum([]byte("another history"))
	return c
}

// badFabric are answers of Fabric that do not say so.
func (b *builder) badFabric() {
	s := newScene()
	bad := func(name, about string, change func(x *prooftest.FabricAnswers)) {
		b.badAttestedAnchor("fabric-"+name, about, "bad_evidence", s.bundle(prooftest.EncodeAttested(s.fabric(change))))
	}
	entry := func(key string, c checkpoint.Checkpoint) func(x *prooftest.FabricAnswers) {
		return func(x *prooftest.FabricAnswers) {
			x.Writes[0] = prooftest.Write("tx", key, bsnproof.Value(c, []byte("signature")))
		}
	}
	origin, c := s.checkpoint.Origin, s.checkpoint.Checkpoint
	earlier := checkpoint.Checkpoint{Origin: origin, Size: c.Size - 1, Root: c.Root}
	bad("other-root", "the entry has another root for this size", entry(bsnproof.Key(origin, 3), s.otherRoot()))
	bad("stale", "the entry is of an earlier checkpoint", entry(bsnproof.Key(origin, 2), earlier))
	bad("no-path", "the entry is of a later checkpoint, and nothing says that it grew out of this one",
		entry(bsnproof.Key(origin, 3), checkpoint.Checkpoint{Origin: origin, Size: c.Size + 4, Root: c.Root}))
	bad("other-log", "the entry is one of another log", entry(bsnproof.Key("other.example", 3),
		checkpoint.Checkpoint{Origin: "other.example", Size: c.Size, Root: c.Root}))
	bad("other-key", "the value stands under the key of another log", entry(bsnproof.Key("other.example", 3), c))
	bad("other-value", "the key is this log's, the value another's",
		entry(bsnproof.Key(origin, 3), checkpoint.Checkpoint{Origin: "other.example", Size: c.Size, Root: c.Root}))
	bad("entry-zero", "the entry has the number 0", entry(bsnproof.Key(origin, 0), c))
	bad("entry-spelling", "the entry's number has a leading zero",
		entry(strings.TrimSuffix(bsnproof.Key(origin, 3), "3")+"03", c))
	bad("value", "the value has a line more", func(x *prooftest.FabricAnswers) {
		x.Writes[0] = prooftest.Write("tx", bsnproof.Key(origin, 3), bsnproof.Value(c, []byte("signature"))+"\n")
	})
	bad("written-twice", "the key was written twice",
		func(x *prooftest.FabricAnswers) { x.Writes = append(x.Writes, x.Writes[0]) })
	bad("never-written", "the key was never written",
		func(x *prooftest.FabricAnswers) { x.Writes = []gateway.HistoryEntry{} })
	bad("deleted", "the entry was deleted", func(x *prooftest.FabricAnswers) { x.Writes[0].IsDelete = true })
	bad("chaincode", "the chaincode failed", func(x *prooftest.FabricAnswers) { x.CCCode = gateway.CCFailed })
	bad("elsewhere", "the transaction is not in the block",
		func(x *prooftest.FabricAnswers) { x.Writes[0].TxID = prooftest.GatewayHash("elsewhere") })
	bad("twice-in-block", "the transaction is in the block twice",
		func(x *prooftest.FabricAnswers) { x.Block.Transactions[0] = x.Block.Transactions[1] })
	bad("undetermined", "the transaction has the status -1",
		func(x *prooftest.FabricAnswers) { x.Block.Transactions[1].Status = gateway.StatusTimeout })
	bad("void", "the transaction is in the block without effect",
		func(x *prooftest.FabricAnswers) { x.Block.Transactions[1].Status = gateway.StatusMVCC })
	bad("application", "the transaction is one of another application",
		func(x *prooftest.FabricAnswers) { x.Block.Transactions[1].CreateName = "user@app2" })
	bad("nobody", "the transaction is nobody's",
		func(x *prooftest.FabricAnswers) { x.Block.Transactions[1].CreateName = "@" + prooftest.GatewayApp })
	bad("count", "a transaction of the block is left out",
		func(x *prooftest.FabricAnswers) { x.Block.BlockTxCount = 3 })
	bad("genesis", "the block is the first of the ledger", func(x *prooftest.FabricAnswers) { x.Block.BlockNumber = 0 })
	bad("number-range", "the block's number is 2^53", func(x *prooftest.FabricAnswers) {
		x.Block.BlockNumber, x.Ledger.Height = 1<<53, 1<<54
	})
	bad("hash", "the block's hash is in other case",
		func(x *prooftest.FabricAnswers) { x.Block.BlockHash = strings.ToUpper(x.Block.BlockHash) })
	bad("not-final", "the ledger does not hold the block yet", func(x *prooftest.FabricAnswers) { x.Ledger.Height = 7 })
	bad("other-top", "the ledger's last block has this number and another hash",
		func(x *prooftest.FabricAnswers) { x.Ledger.Height = 8 })
	bad("no-time", "the transaction has no time",
		func(x *prooftest.FabricAnswers) { x.Block.Transactions[1].TimeSpanSec = 0 })
	bad("nanoseconds", "the transaction's time has a second of nanoseconds",
		func(x *prooftest.FabricAnswers) { x.Block.Transactions[1].TimeSpanNsec = 1e9 })
	inner := func(name, about, old, new string) {
		bad("inner-"+name, about, func(x *prooftest.FabricAnswers) {
			x.CCData = strings.Replace(text(x.Writes), old, new, 1)
		})
	}
	inner("cut", "the text that the chaincode returned is cut off", `}]`, `}`)
	inner("twice", "a name stands in it twice", `[{`, `[{"txId":"",`)
	inner("case", "a name in it is in other case", `"txId"`, `"txid"`)
	inner("type", "a value in it has another type", `"isDelete":false`, `"isDelete":null`)
	inner("deep", "lists in it lie 33 deep in one another", `[{`, `[{"x":`+strings.Repeat("[", 31)+strings.Repeat("]",
		31)+`,`)
	path := func(name, about string, change func(e *bsnproof.Fabric)) {
		grown := newScene()
		later, path := grown.later()
		e := gatewayOf(gateway.SM2).Fabric(later, s.at)
		e.Path = path
		change(&e)
		b.badAttestedAnchor("fabric-path-"+name, about, "bad_evidence", s.bundle(prooftest.EncodeAttested(e)))
	}
	path("bit", "a bit of the consistency proof is wrong", func(e *bsnproof.Fabric) { e.Path[0][0] ^= 1 })
	path("short", "a hash of the consistency proof is missing", func(e *bsnproof.Fabric) { e.Path = e.Path[1:] })
	path("superfluous", "a consistency proof where both are the same", func(e *bsnproof.Fabric) {
		path := e.Path
		*e = s.fabric()
		e.Path = path
	})
}

// badDigits are answers whose macs hold and whose digits were moved to their neighbours: the
// string under a mac has no separators.
func (b *builder) badDigits() {
	s := newScene()
	fabric := func(name, about string, change func(t *gateway.BlockTransaction)) {
		e := s.fabric()
		change(&e.Block.Body.Transactions[1])
		b.badAttestedAnchor("fabric-digits-"+name, about, "bad_evidence", s.bundle(prooftest.EncodeAttested(e)))
	}
	fabric("later", "the first digit of the nanoseconds is moved to the seconds", func(t *gateway.BlockTransaction) {
		nano := strconv.FormatInt(t.TimeSpanNsec, 10)
		t.TimeSpanSec, t.TimeSpanNsec = number(fmt.Sprint(t.TimeSpanSec)+nano[:1]), number(nano[1:])
	})
	fabric("earlier", "the last digit of the seconds is moved to the nanoseconds", func(t *gateway.BlockTransaction) {
		sec := strconv.FormatInt(t.TimeSpanSec, 10)
		t.TimeSpanSec, t.TimeSpanNsec = number(sec[:9]), number(sec[9:]+fmt.Sprint(t.TimeSpanNsec)[:8])
	})
	fisco := func(name, about string, change func(x *gateway.ContractBlockAnswer)) {
		e := s.fisco(func(x *prooftest.FISCOAnswers) { x.Block.BlockSize = 912 })
		change(&e.Block.Body)
		b.badAttestedAnchor("fisco-digits-"+name, about, "bad_evidence", s.bundle(prooftest.EncodeAttested(e)))
	}
	fisco("later", "the last digit of the block's size is moved to its time", func(x *gateway.ContractBlockAnswer) {
		x.BlockSize, x.BlockTime = 91, number("2"+fmt.Sprint(x.BlockTime))
	})
	fisco("earlier", "the first digit of the block's time is moved to its size", func(x *gateway.ContractBlockAnswer) {
		x.BlockSize, x.BlockTime = 9121, number(fmt.Sprint(x.BlockTime)[1:])
	})
	fisco("window", "digits of the size and the time are moved, the author and the rest into the first transaction",
		func(x *gateway.ContractBlockAnswer) {
			at := fmt.Sprint(x.BlockTime)
			first := &x.Transactions[0]
			x.BlockSize, x.BlockTime = 9121, number(at[1:]+"0")
			x.Author, first.TxID = "", strings.TrimPrefix(x.Author, "0")+first.TxID
		})
	fabric("name", "the transaction takes the time of a later one, which its name swallows",
		func(t *gateway.BlockTransaction) {
			t.CreateName = "user@app1" + fmt.Sprint(t.TimeSpanSec) + "@" + prooftest.GatewayApp
		})
	fisco("author", "a digit of the size is moved to the time, and one of the time to the author",
		func(x *gateway.ContractBlockAnswer) {
			at := fmt.Sprint(x.BlockTime)
			x.BlockSize, x.BlockTime, x.Author = 91, number("2"+at[:12]), at[12:]+x.Author
		})
}

func number(digits string) int64 {
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		panic("vectors: " + err.Error())
	}
	return n
}

// badFISCO are answers of FISCO BCOS that do not say so.
func (b *builder) badFISCO() {
	s := newScene()
	bad := func(name, about string, change func(x *prooftest.FISCOAnswers)) {
		b.badAttestedAnchor("fisco-"+name, about, "bad_evidence", s.bundle(prooftest.EncodeAttested(s.fisco(change))))
	}
	another := "0x" + strings.Repeat("1", 40)
	row := func(id string, c checkpoint.Checkpoint) func(x *prooftest.FISCOAnswers) {
		return func(x *prooftest.FISCOAnswers) {
			x.Rows[0].ID, x.Rows[0].Value = id, bsnproof.Value(c, []byte("signature"))
			x.Logged = x.Rows[0]
		}
	}
	origin, c := s.checkpoint.Origin, s.checkpoint.Checkpoint
	bad("other-root", "the row has another root for this size", row(bsnproof.Key(origin, 3), s.otherRoot()))
	bad("stale", "the row is of an earlier checkpoint",
		row(bsnproof.Key(origin, 2), checkpoint.Checkpoint{Origin: origin, Size: c.Size - 1, Root: c.Root}))
	bad("other-key", "the value stands under the id of another log", row(bsnproof.Key("other.example", 3), c))
	bad("no-row", "there is no row", func(x *prooftest.FISCOAnswers) { x.Rows = nil })
	bad("row-before", "another row stands before ours", func(x *prooftest.FISCOAnswers) {
		x.Rows = append([]gateway.Row{{ID: x.Rows[0].ID, Value: "x"}}, x.Rows...)
	})
	bad("not-a-view", "the answer is none of a view", func(x *prooftest.FISCOAnswers) { x.Row.Constant = false })
	bad("other-value", "the log tells of another value", func(x *prooftest.FISCOAnswers) { x.Logged.Value += "x" })
	bad("other-number", "the log tells of another number", func(x *prooftest.FISCOAnswers) { x.Logged.Key++ })
	bad("nothing-inserted", "the log tells of no row", func(x *prooftest.FISCOAnswers) { x.Count = 0 })
	bad("other-event", "the log is one of another event",
		func(x *prooftest.FISCOAnswers) { x.Log.Topics[0] = "0x" + strings.Repeat("0", 64) })
	bad("logged-elsewhere", "another contract logged it", func(x *prooftest.FISCOAnswers) { x.Log.Address = another })
	bad("contract", "another contract was called", func(x *prooftest.FISCOAnswers) { x.Receipt.To = another })
	bad("called-in-block", "the block says that another contract was called",
		func(x *prooftest.FISCOAnswers) { x.Block.Transactions[1].To = another })
	bad("elsewhere", "the transaction is not in the block",
		func(x *prooftest.FISCOAnswers) { x.Receipt.TxID = "0x" + prooftest.GatewayHash("elsewhere") })
	bad("twice-in-block", "the transaction is in the block twice",
		func(x *prooftest.FISCOAnswers) { x.Block.Transactions[0] = x.Block.Transactions[1] })
	bad("block-hash", "the receipt names another block's hash",
		func(x *prooftest.FISCOAnswers) { x.Receipt.BlockHash = x.Receipt.TxID })
	bad("block-number", "the receipt names another block's number",
		func(x *prooftest.FISCOAnswers) { x.Receipt.BlockNumber = 8 })
	bad("genesis", "the block is the first of the ledger", func(x *prooftest.FISCOAnswers) {
		x.Receipt.BlockNumber, x.Block.BlockNumber = 0, 0
	})
	bad("no-time", "the block has no time", func(x *prooftest.FISCOAnswers) { x.Block.BlockTime = 0 })
	bad("sender", "the sender is no address", func(x *prooftest.FISCOAnswers) { x.Receipt.From = "" })
	bad("message-hides", "the message could hide the beginning of another answer",
		func(x *prooftest.FISCOAnswers) { x.Header.Msg = "successtrue" })
	bad("message-number", "the message ends in what could be a number of another answer",
		func(x *prooftest.FISCOAnswers) { x.Header.Msg = "success0x" })
	inner := func(name, about, info string) {
		bad("inner-"+name, about, func(x *prooftest.FISCOAnswers) {
			r := x.Rows[0]
			x.QueryInfo = strings.NewReplacer("ID", text(r.ID), "VALUE", text(r.Value)).Replace(info)
		})
	}
	inner("cut", "the list of rows is cut off", `[[ID],[6],[VALUE]`)
	inner("lengths", "the lists differ in length", `[[ID],[6,7],[VALUE]]`)
	inner("fraction", "a row's number has a fraction", `[[ID],[6.0],[VALUE]]`)
	inner("range", "a void row's number has more than 64 bits", `[[ID,""],[6,9223372036854775808],[VALUE,""]]`)
	inner("null", "a void row has null for its value", `[[ID,""],[6,7],[VALUE,null]]`)
	bad("logs", "the logs are no list", func(x *prooftest.FISCOAnswers) { x.Receipt.Logs = "{}" })
}

// badAttestedForm are good answers in another spelling.
func (b *builder) badAttestedForm() {
	s := newScene()
	fabric, fisco := prooftest.EncodeAttested(s.fabric()), prooftest.EncodeAttested(s.fisco())
	malformed := func(name, about string, anchor []byte, old, new string) {
		b.badAttestedAnchor("form-"+name, about, "malformed", s.bundle(replaceIn(anchor, old, new)))
	}
	malformed("repeated-key", "a key stands there twice", fabric, `"height":9`, `"height":9,"height":9`)
	malformed("key-order", "two keys have changed places", fabric, `"path":[],`, ``)
	malformed("unknown-key", "a key that version 1 does not have", fisco, `"path":[]`, `"path":[],"note":""`)
	malformed("key-case", "a key in other case", fabric, `"ledger"`, `"Ledger"`)
	malformed("null-path", "null in place of an empty list", fisco, `"path":[]`, `"path":null`)
	malformed("null-mac", "null in place of a mac", fabric, `"mac":"`+macOf(fabric)+`"`, `"mac":null`)
	malformed("null-number", "null in place of a number that is left out", fisco, `"status":""`,
		`"blockNumber":null,"status":""`)
	malformed("negative-zero", "minus zero", fabric, `"ccCode":200`, `"ccCode":-0`)
	malformed("fraction", "a number with a fraction", fabric, `"height":9`, `"height":9.0`)
	malformed("negative", "a negative height", fabric, `"height":9`, `"height":-9`)
	malformed("number-range", "a number of more than 64 bits", fisco, `"gasUsed":5,`, `"gasUsed":9223372036854775808,`)
	malformed("escape", "a character is escaped that need not be", fabric, `"history":{"msg":"s`,
		`"history":{"msg":"\u0073`)
	malformed("line-separator", "a line separator in a text", fabric, `"history":{"msg":"`, `"history":{"msg":"`+
		"\u2028")
	malformed("app", "the application's name has a hyphen", fabric, `"app":"app`, `"app":"app-`)
	malformed("kind", "answers about Fabric under the kind of FISCO BCOS", fabric, "bsn/fabric/v1", "bsn/fisco/v1")
	malformed("hash-short", "a hash of the path has 31 bytes", fabric, `"path":[]`, `"path":["`+strings.Repeat("A", 40)+
		`AA=="]`)
	malformed("no-answer", "an answer is missing", fisco, `"path":[],"row"`, `"path":[],"rows"`)
	b.badAttestedAnchor("fisco-app", "the application is no address", "bad_evidence",
		s.bundle(replaceIn(fisco, `"app":"0x8`, `"app":"0x08`)))
	b.bad("attested-bad-form-cut", "the evidence is cut off, and with it the bundle", proof.StepBundle, "malformed",
		bytes.Replace(s.bundle(fabric), fabric, fabric[:len(fabric)-9], 1), trustedBy(gatewaysFile))
}

// macOf is the first mac of evidence, in base64.
func macOf(evidence []byte) string {
	_, rest, _ := strings.Cut(string(evidence), `"mac":"`)
	mac, _, _ := strings.Cut(rest, `"`)
	return mac
}

// badOneOfTwo are bundles with two anchors, one of which is bad: the evidence does not hold, and
// the report says which.
func (b *builder) badOneOfTwo() {
	s := newScene()
	bad := s.fabric()
	bad.Block.Mac = flip(bad.Block.Mac, 30)
	good, spoilt := prooftest.EncodeAttested(s.fisco()), prooftest.EncodeAttested(bad)
	b.badAttestedAnchor("beside-chain", "the chain's anchor holds, the gateway's does not", "bad_evidence",
		s.bundle(s.egov, spoilt))
	b.badAttestedAnchor("before-chain", "the same the other way round", "bad_evidence", s.bundle(spoilt, s.egov))
	b.badAttestedAnchor("chain-beside", "the gateway's anchor holds, the chain's does not", "bad_evidence",
		s.bundle(good, replaceIn(s.egov, `\nheight 1`, `\nheight 2`)))
	b.badAttestedAnchor("beside-gateway", "one application's anchor holds, another's does not", "bad_evidence",
		s.bundle(good, spoilt))
	b.badAttestedAnchor("twice", "the same anchor stands there twice", "duplicate", s.bundle(good, good))
}
