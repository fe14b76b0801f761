package bsnpeer_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"stele/notary/log/anchor"
	"stele/notary/log/anchor/bsn"
	"stele/notary/proof/bsnproof"
	"stele/notary/proof/bsnproof/gateway"
	"stele/server/remote/bsnhttp"
)

// ask posts a request with the application's mac and reads the answer.
func ask[T any](t testing.TB, n *network, path string, q any) (gateway.AnswerHeader, T) {
	t.Helper()
	h := gateway.RequestHeader{UserCode: user, AppCode: app}
	mac, err := n.key.Sign(gateway.RequestText(h, q))
	fatalIfErr(t, err)
	body, err := json.Marshal(q)
	fatalIfErr(t, err)
	raw, err := json.Marshal(gateway.Request{Header: h, Mac: mac, Body: body})
	fatalIfErr(t, err)
	post, err := bsnhttp.New(bsnhttp.Options{})
	fatalIfErr(t, err)
	out, err := post.Post(t.Context(), n.server.URL+path, raw, 1<<20)
	fatalIfErr(t, err)
	var a gateway.Answer
	var answer T
	fatalIfErr(t, json.Unmarshal(out, &a))
	if len(a.Body) > 0 {
		fatalIfErr(t, json.Unmarshal(a.Body, &answer))
	}
	var under any
	if a.Header.Code == gateway.CodeOK {
		under = answer
	}
	if !n.conf.Key.Public().Verify(gateway.AnswerText(a.Header, under), a.Mac) {
		t.Fatalf("%s: the mac does not verify: %s", path, out)
	}
	return a.Header, answer
}

// insert writes a row past the client.
func (n *network) insert(t testing.TB, id, value string) {
	t.Helper()
	ask[gateway.UserAnswer](t, n, gateway.PathFISCORegister, gateway.UserRequest{UserID: "another"})
	param, err := json.Marshal([]any{id, 0, value})
	fatalIfErr(t, err)
	h, a := ask[gateway.ContractAnswer](t, n, gateway.PathFISCOContract, gateway.ContractRequest{UserID: "another",
		ContractName: "BsnBaseGlobalContract", FuncName: gateway.FuncInsert, FuncParam: string(param)})
	if h.Code != gateway.CodeOK || a.Status != gateway.ReceiptOK {
		t.Fatalf("%+v %+v", h, a)
	}
}

// The base contract takes a second row under an id. The first counts, whoever wrote the other,
// and a row of somebody else before ours stops this chain.
func TestSecondRow(t *testing.T) {
	n := startFISCO(t, gateway.SM2)
	target := n.client(t)
	n.anchored(t, target, mark(3))
	n.insert(t, bsnproof.Key(origin, 1), bsnproof.Value(mark(4), []byte("signature")))
	n.insert(t, bsnproof.Key(origin, 1), bsnproof.Value(mark(3), []byte("signature")))
	for _, c := range []anchor.Target{target, n.client(t)} {
		if size, root, err := c.Head(t.Context(), origin); err != nil || size != 3 || root != mark(3).Root {
			t.Errorf("head %d: %v", size, err)
		}
		n.anchored(t, c, mark(3))
	}
	n.anchored(t, target, mark(5))
	n.insert(t, bsnproof.Key(origin, 3), "something else")
	if _, err := round(t.Context(), target, mark(6)); !errors.Is(err, anchor.ErrFork) {
		t.Errorf("a row of somebody else: %v", err)
	}
}

// forgetful shows each question to select the first answer that there ever was to it.
type forgetful struct {
	bsn.Poster
	first map[string][]byte
}

func (f forgetful) Post(ctx context.Context, url string, body []byte, limit int64) ([]byte, error) {
	var q struct{ Body gateway.ContractRequest }
	if err := json.Unmarshal(body, &q); err != nil {
		return nil, err
	}
	if old := f.first[q.Body.FuncParam]; old != nil && q.Body.FuncName == gateway.FuncSelect {
		return old, nil
	}
	answer, err := f.Poster.Post(ctx, url, body, limit)
	f.first[q.Body.FuncParam] = answer
	return answer, err
}

// A row that is in a block is not written again, however long select does not show it.
func TestRowIsNotShown(t *testing.T) {
	n := startFISCO(t, gateway.SM2)
	post, err := bsnhttp.New(bsnhttp.Options{})
	fatalIfErr(t, err)
	clock := time.Now()
	target, err := bsn.New(bsn.Config{Framework: bsn.FISCO, Gateways: []string{n.server.URL}, UserCode: user, App: app,
		ChainCode: "BsnBaseGlobalContract", Contract: contract, Key: n.key, GatewayKey: n.conf.Key.Public(),
		Post: forgetful{post, map[string][]byte{}}, Now: func() time.Time { return clock }})
	fatalIfErr(t, err)
	for range 4 {
		if _, err := round(t.Context(), target, mark(3)); err == nil {
			t.Error("evidence of a row that is not shown")
		}
		clock = clock.Add(2 * time.Minute)
	}
	n.wantEntries(t, 3)
}

// The transaction of a row that the client did not see being written is found far above the
// height that the row bears.
func TestTransactionIsFound(t *testing.T) {
	n := startFISCO(t, gateway.SM2)
	for i := range 100 {
		n.insert(t, fmt.Sprint("other", i), "x")
	}
	n.insert(t, bsnproof.Key(origin, 1), bsnproof.Value(mark(3), []byte("signature")))
	n.anchored(t, n.client(t), mark(3))
}

// The calls that the client does not need answer too.
func TestOtherCalls(t *testing.T) {
	n := startFISCO(t, gateway.Secp256k1)
	n.insert(t, "id", "value")
	if _, a := ask[gateway.DataAnswer](t, n, gateway.PathFISCOTxCount,
		nil); a.Data != `{"txSum":1,"blockNumber":1,"txSumRaw":"0x1","blockNumberRaw":"0x1"}` {
		t.Error(a)
	}
	if _, a := ask[gateway.DataAnswer](t, n, gateway.PathFISCOBlockTxs,
		gateway.ContractBlockRequest{BlockNumber: "1"}); a.Data != "1" {
		t.Error(a)
	}
	_, b := ask[gateway.ContractBlockAnswer](t, n, gateway.PathFISCOBlockInfo,
		gateway.ContractBlockRequest{BlockNumber: "1"})
	_, same := ask[gateway.ContractBlockAnswer](t, n, gateway.PathFISCOBlockInfo,
		gateway.ContractBlockRequest{BlockHash: b.BlockHash})
	_, tx := ask[gateway.ContractTransaction](t, n, gateway.PathFISCOTxInfo,
		gateway.TxHashRequest{TxHash: b.Transactions[0].TxID})
	if same.BlockNumber != 1 || tx != b.Transactions[0] {
		t.Errorf("%+v %+v", same, tx)
	}
	if h, _ := ask[gateway.UserAnswer](t, n, gateway.PathFISCORegister,
		gateway.UserRequest{UserID: "another"}); h.Code != gateway.CodeFailed {
		t.Error("registered twice")
	}
	if h, _ := ask[gateway.LedgerAnswer](t, n, gateway.PathLedgerInfo, nil); h.Code != gateway.CodeFailed {
		t.Error("a call of Fabric")
	}
	n.anchored(t, n.client(t), mark(3))
}
