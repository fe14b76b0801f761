package bsnproof_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"stele/crypto/sm"
	"stele/notary/proof/bsnproof"
	"stele/notary/proof/bsnproof/gateway"
	"stele/notary/proof/checkpoint"
)

func mark(size uint64) checkpoint.Checkpoint {
	return checkpoint.Checkpoint{Origin: "log.example/2026", Size: size, Root: sm.Sum([]byte("root"))}
}

// FuzzParseFabric: what is read has one spelling, and its verification ends in a verdict.
func FuzzParseFabric(f *testing.F) {
	key, err := gateway.GenerateKey(gateway.Secp256k1)
	if err != nil {
		f.Fatal(err)
	}
	for _, e := range []bsnproof.Fabric{{Head: bsnproof.Head{App: "app1"}},
		{Head: bsnproof.Head{App: "app2", Path: bsnproof.Path{{1}}}, History: bsnproof.Signed[gateway.ChainCodeAnswer]{
			Msg: "处理成功",
			Body: gateway.ChainCodeAnswer{
				CCRes: gateway.CCRes{CCCode: gateway.CCOK, CCData: `[{"txId":"00","dataInfo":"{}"}]`}}, Mac: []byte{1}},
			Block: bsnproof.Signed[gateway.BlockAnswer]{
				Body: gateway.BlockAnswer{BlockNumber: 1, Transactions: []gateway.BlockTransaction{{TxID: "00"}}}}}} {
		b, err := e.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := bsnproof.Parse(bsnproof.KindFabric, data)
		if err != nil {
			return
		}
		again, err := e.Marshal()
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("%q became %q: %v", data, again, err)
		}
		if _, err := e.Verify(key.Public(), mark(3)); err == nil {
			t.Errorf("%q is attested by a key that signed nothing", data)
		}
	})
}

// FuzzParseValue: an entry has one spelling.
func FuzzParseValue(f *testing.F) {
	f.Add(bsnproof.Value(mark(7), []byte("signature")))
	f.Fuzz(func(t *testing.T, value string) {
		if c, sig, err := bsnproof.ParseValue(value); err == nil && bsnproof.Value(c, sig) != value {
			t.Errorf("%q has a second spelling", value)
		}
	})
}

// FuzzParseFISCO: the same for evidence of FISCO BCOS.
func FuzzParseFISCO(f *testing.F) {
	key, err := gateway.GenerateKey(gateway.Secp256k1)
	if err != nil {
		f.Fatal(err)
	}
	n := int64(7)
	for _, e := range []bsnproof.FISCO{{Head: bsnproof.Head{App: "0x1"}},
		{Head: bsnproof.Head{App: "0x2", Path: bsnproof.Path{{1}}}, Row: bsnproof.Signed[gateway.ContractAnswer]{
			Msg:  "处理成功",
			Body: gateway.ContractAnswer{Constant: true, QueryInfo: `[["a"],[1],["b"]]`, BlockNumber: &n},
			Mac:  []byte{1}},
			Receipt: bsnproof.Signed[gateway.ReceiptAnswer]{
				Body: gateway.ReceiptAnswer{TxID: "0x00", Logs: `[{"address":"0x2","topics":[],"data":"0x"}]`}},
			Block: bsnproof.Signed[gateway.ContractBlockAnswer]{Body: gateway.ContractBlockAnswer{BlockNumber: 1,
				Transactions: []gateway.ContractTransaction{{TxID: "0x00"}}}}}} {
		b, err := e.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := bsnproof.Parse(bsnproof.KindFISCO, data)
		if err != nil {
			return
		}
		again, err := e.Marshal()
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("%q became %q: %v", data, again, err)
		}
		_ = e.Consistent("log.example/2026")
		if _, err := e.Verify(key.Public(), mark(3)); err == nil {
			t.Errorf("%q is attested by a key that signed nothing", data)
		}
	})
}

// FuzzRows: what select returned is read without a panic, row by row.
func FuzzRows(f *testing.F) {
	f.Add(`[["a","a"],[1,2],["v","w"]]`)
	f.Add(`[[],[],[]]`)
	f.Add(`[["a"],[1e3],null]`)
	f.Fuzz(func(t *testing.T, info string) {
		rows, err := bsnproof.Rows(info)
		for _, r := range rows {
			if err == nil {
				bsnproof.Inserted("0x1", info, r)
			}
		}
	})
}

// FuzzHistory: so is what getHistory returned. What this reader accepts, package json reads in
// the same way.
func FuzzHistory(f *testing.F) {
	f.Add(`[{"txId":"00","dataInfo":"{\"BaseKey\":\"k\",\"BaseInfo\":\"v\"}","txTime":"2026-11-22 ` +
		`14:28:42","isDelete":false}]`)
	f.Add(`[{"txId":"00","txid":"01","dataInfo":"","isDelete":true}]`)
	f.Fuzz(func(t *testing.T, data string) {
		writes, err := bsnproof.History(data)
		if err != nil {
			return
		}
		var exact []struct{ TxID, DataInfo any }
		if err := json.Unmarshal([]byte(data), &exact); err != nil || len(exact) != len(writes) {
			t.Errorf("%q: %d writes, package json finds %d: %v", data, len(writes), len(exact), err)
		}
		for _, w := range writes {
			_, _ = bsnproof.Stored(w.DataInfo)
		}
	})
}
