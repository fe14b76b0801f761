package bsnpeer_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"stele/notary/gateway"
	"stele/server/bsnhttp"
	"stele/server/bsnpeer"
)

// vectorsFile holds messages of the published SDKs; it is no part of the project.
const vectorsFile = "../../../shared/bsn/vectors.json"

// TestPublishedRequests sends requests of published SDKs with the macs that they bore: the peer
// lets them in, one with a nonce once.
func TestPublishedRequests(t *testing.T) {
	text, err := os.ReadFile(vectorsFile)
	if errors.Is(err, fs.ErrNotExist) && os.Getenv("CI") == "" {
		t.Skip("the gateway's vectors are not beside this checkout: the test says nothing")
	}
	fatalIfErr(t, err)
	var f struct {
		Keys  map[string]struct{ PEM string }
		ECDSA []struct{ ID, Mac string }
	}
	fatalIfErr(t, json.Unmarshal(text, &f))
	key, err := gateway.ParsePublicKeyPEM([]byte(f.Keys["APP_R1"].PEM))
	fatalIfErr(t, err)
	macs := map[string]string{}
	for _, v := range f.ECDSA {
		macs[v.ID] = v.Mac
	}
	u1 := gateway.RequestHeader{UserCode: "USER0001202004151958010871292", AppCode: "app0001202004161020152918451"}
	u2 := gateway.RequestHeader{UserCode: "USER0001202004161009309407413", AppCode: "app0001202004161017141233920"}
	n := start(t, gateway.Secp256r1, func(c *bsnpeer.Config) {
		c.Apps = nil
		for _, h := range []gateway.RequestHeader{u1, u2} {
			c.Apps = append(c.Apps, bsnpeer.App{UserCode: h.UserCode, AppCode: h.AppCode, ChainCode: "cc_" + h.AppCode + "_00", Key: key})
		}
	})
	post, err := bsnhttp.New(bsnhttp.Options{})
	fatalIfErr(t, err)
	set := `{"userName":"","nonce":"lgH7Ozfv6npqg9D3pSbq9c6o+rAcpa5D","chainCode":"cc_app0001202004161017141233920_00","funcName":"set","args":["{\"baseKey\":\"test2020048\",\"baseValue\":\"this is string \"}"],"transientData":{}}`
	for _, c := range []struct {
		id     string
		header gateway.RequestHeader
		path   string
		body   string
		want   string
	}{
		{"V1", u1, gateway.PathLedgerInfo, `{}`, `"height":1`},
		{"V1", u1, gateway.PathLedgerInfo, `null`, `"height":1`},
		{"V2", u1, gateway.PathTransaction, `{"txId":"c3c6523958c3811192b8d358dd2617f1b14cb661de6b022c1a822269e8a8c48d"}`, "the transaction does not exist"},
		{"V3", u1, gateway.PathRegister, `{"name":"user01","secret":"123456"}`, `"name":"user01"`},
		{"V4", u1, gateway.PathBlockInfo, `{"blockNumber":6,"blockHash":"","txId":""}`, "the block does not exist"},
		{"V4", u1, gateway.PathBlockInfo, `{"blockNumber":7,"blockHash":"","txId":""}`, gateway.MsgBadMac},
		{"V5", u2, gateway.PathChainCode, set, gateway.CCSuccess},
		{"V5", u2, gateway.PathChainCode, set, "used before"},
	} {
		mac, err := base64.StdEncoding.DecodeString(macs[c.id])
		fatalIfErr(t, err)
		raw, err := json.Marshal(gateway.Request{Header: c.header, Mac: mac, Body: json.RawMessage(c.body)})
		fatalIfErr(t, err)
		if out, err := post.Post(t.Context(), n.server.URL+c.path, raw, 1<<16); err != nil || !strings.Contains(string(out), c.want) {
			t.Errorf("%s: %s, %v; want %s", c.id, out, err, c.want)
		}
	}
}
