package bsnpeer_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"stele/notary/proof/bsnproof/gateway"
	"stele/server/cmd/stele-lab/bsnpeer"
	"stele/server/remote/bsnhttp"
)

// vectorsFile holds messages of the published SDKs; it is no part of the project.
const vectorsFile = "../../../../../shared/bsn/vectors.json"

// TestPublishedRequests sends each request of the file with the mac that it bore: the peer lets them
// in, one with a nonce once. Events it does not have, and says so. A request that is not known here fails the test.
func TestPublishedRequests(t *testing.T) {
	text, err := os.ReadFile(vectorsFile)
	if errors.Is(err, fs.ErrNotExist) && os.Getenv("CI") == "" {
		t.Skip("the gateway's vectors are not beside this checkout: the test says nothing")
	}
	fatalIfErr(t, err)
	var f struct {
		Keys  map[string]struct{ PEM string }
		ECDSA []struct{ ID, Mac string }
		SM2   []struct{ ID, Mac string } `json:"sm2_synthetic"`
	}
	fatalIfErr(t, json.Unmarshal(text, &f))
	key := func(name string) *gateway.PublicKey {
		k, err := gateway.ParsePublicKeyPEM([]byte(f.Keys[name].PEM))
		fatalIfErr(t, err)
		return k
	}
	macs := map[string]string{}
	for _, v := range append(f.ECDSA, f.SM2...) {
		macs[v.ID] = v.Mac
	}
	u1 := gateway.RequestHeader{UserCode: "USER0001202004151958010871292", AppCode: "app0001202004161020152918451"}
	u2 := gateway.RequestHeader{UserCode: "USER0001202004161009309407413", AppCode: "app0001202004161017141233920"}
	u3 := gateway.RequestHeader{UserCode: "lessing", AppCode: "CL20191107112252"}
	u4 := gateway.RequestHeader{UserCode: "USER0001202006042321579692440", AppCode: "app0001202006042323057101002"}
	serve := func(algorithm gateway.Algorithm, apps map[gateway.RequestHeader]string) *network {
		return start(t, algorithm, func(c *bsnpeer.Config) {
			c.Apps = nil
			for h, name := range apps {
				a := bsnpeer.App{UserCode: h.UserCode, AppCode: h.AppCode, ChainCode: "cc_" + h.AppCode + "_00",
					Key: key(name)}
				if h == u4 {
					a.Contract = contract
				}
				c.Apps = append(c.Apps, a)
			}
		})
	}
	ecdsa := serve(gateway.Secp256r1, map[gateway.RequestHeader]string{u1: "APP_R1", u2: "APP_R1", u3: "APP_R1_LESSING",
		u4: "APP_K1"})
	sm2 := serve(gateway.SM2, map[gateway.RequestHeader]string{u1: "SDK_UNITTEST_SM2", u2: "SDK_UNITTEST_SM2"})
	const noEvents = "the interface does not exist"
	post, err := bsnhttp.New(bsnhttp.Options{})
	fatalIfErr(t, err)
	set :=
		`{"userName":"","nonce":"lgH7Ozfv6npqg9D3pSbq9c6o+rAcpa5D","chainCode":"cc_app0001202004161017141233920_00","funcName":"set","args":["{\"baseKey\":\"test2020048\",\"baseValue\":\"this is string \"}"],"transientData":{}}`
	sent := map[string]bool{"S1": true, "S4": true, "S5": true} // no requests
	for _, c := range []struct {
		id     string
		header gateway.RequestHeader
		path   string
		body   string
		want   string
	}{
		{"V1", u1, gateway.PathLedgerInfo, `{}`, `"height":1`},
		{"V1", u1, gateway.PathLedgerInfo, `null`, `"height":1`},
		{"V2", u1, gateway.PathTransaction,
			`{"txId":"c3c6523958c3811192b8d358dd2617f1b14cb661de6b022c1a822269e8a8c48d"}`,
			"the transaction does not exist"},
		{"V3", u1, gateway.PathRegister, `{"name":"user01","secret":"123456"}`, `"name":"user01"`},
		{"V4", u1, gateway.PathBlockInfo, `{"blockNumber":6,"blockHash":"","txId":""}`, "the block does not exist"},
		{"V4", u1, gateway.PathBlockInfo, `{"blockNumber":7,"blockHash":"","txId":""}`, gateway.MsgBadMac},
		{"V5", u2, gateway.PathChainCode, set, gateway.CCSuccess},
		{"V5", u2, gateway.PathChainCode, set, "used before"},
		{"V6", u4, "/api/fiscobcos/v1/event/register", `{"eventType":1}`, noEvents},
		{"V7", u3, "/api/fabric/v1/chainCode/event/register", `{"eventKey":"test01"}`, noEvents},
		{"V8", u3, "/api/fabric/v1/chainCode/event/query", `null`, noEvents},
		{"V8", u3, gateway.PathLedgerInfo, `null`, `"height":1`}, // the same string: the key is the application's
		{"S2", u1, gateway.PathLedgerInfo, `{}`, `"height":1`},
		{"S3", u2, gateway.PathChainCode,
			`{"userName":"","nonce":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYX","chainCode":"cc_app0001202004161017141233920_00","funcName":"set","args":["{\"baseKey\":\"doc-20240101-0001\",\"baseValue\":\"公文存证\"}"],"transientData":{"k1":"v1"}}`, gateway.CCSuccess},
	} {
		sent[c.id] = true
		n := ecdsa
		if strings.HasPrefix(c.id, "S") {
			n = sm2
		}
		mac, err := base64.StdEncoding.DecodeString(macs[c.id])
		fatalIfErr(t, err)
		raw, err := json.Marshal(gateway.Request{Header: c.header, Mac: mac, Body: json.RawMessage(c.body)})
		fatalIfErr(t, err)
		if out, err := post.Post(t.Context(), n.server.URL+c.path, raw, 1<<16); err != nil ||
			!strings.Contains(string(out), c.want) {
			t.Errorf("%s: %s, %v; want %s", c.id, out, err, c.want)
		}
	}
	for id := range macs {
		if !sent[id] && !strings.HasPrefix(id, "R") && !strings.HasPrefix(id, "N") {
			t.Errorf("the request %s is not known here", id)
		}
	}
}
