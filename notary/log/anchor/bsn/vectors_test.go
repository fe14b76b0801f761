package bsn

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"stele/notary/proof/bsnproof/gateway"
)

// vectorsFile holds messages of real gateways; it is no part of the project.
const vectorsFile = "../../../../../shared/bsn/vectors.json"

type eventID struct {
	EventID string `json:"eventId"`
}

func readAs[T any](key *gateway.PublicKey, raw []byte) (gateway.AnswerHeader, error) {
	h, _, err := readAnswer[T](key, raw)
	return h, err
}

// TestPublishedAnswers gives the client each answer of the file as JSON: it takes those that a
// gateway signed, and none with another mac or another key. An answer that it does not know fails it.
func TestPublishedAnswers(t *testing.T) {
	text, err := os.ReadFile(vectorsFile)
	if errors.Is(err, fs.ErrNotExist) && os.Getenv("CI") == "" {
		t.Skip("the gateway's vectors are not beside this checkout: the test says nothing")
	}
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		Keys  map[string]struct{ PEM string }
		ECDSA []struct{ ID, Key, Mac, S string }
		SM2   []struct{ ID, Key, Mac, S string } `json:"sm2_synthetic"`
	}
	if err := json.Unmarshal(text, &f); err != nil {
		t.Fatal(err)
	}
	const done, success = `{"code":0,"msg":"处理成功"}`, `{"code":0,"msg":"success"}`
	call := func(id, data string) string {
		quoted, _ := json.Marshal(data)
		return `{"blockInfo":{"txId":"` + id + `","blockHash":"","status":0},"ccRes":{"ccCode":200,"ccData":` +
			string(quoted) + `}}`
	}
	const block7, history, tx = "ab9366cf63881228863c884527fceefabc9ad2e375aa0bcbf71f17f75c7d3ff5",
		"6e275137a31cb9f6f34c7ca94ff21d7177c2f3c87dc8c04e5dfde771ae90e57f",
		"c75091475e9cdab5af1f8325d19069c9aab865862d9434a5f772f1159d569048"
	answers := map[string]struct {
		header, body string
		read         func(*gateway.PublicKey, []byte) (gateway.AnswerHeader, error)
	}{
		"R1": {done,
			`{"appName":"sdk测试-密钥非托管","appType":"fabric","caType":2,"algorithmType":2,"mspId":"OrgbNodeMSP","channelId":"app0001202004161020152918451","fabricVersion":"1.4.3"}`, readAs[gateway.AppInfo]},
		"R2": {done, `{"name":"user01","secret":"123456"}`, readAs[gateway.User]},
		"R3": {done, `{"blockHash":"` + block7 +
			`","blockNumber":7,"status":0,"createName":"test02@app0001202004161020152918451","timeSpanSec":1587445821,"timeSpanNsec":249139700}`, readAs[gateway.TransactionAnswer]},
		"R4": {done, `{"height":8,"blockHash":"` + block7 +
			`","preBlockHash":"fc83c306677925efee540b4d7b7ca73e06f144cae34c706f1101d6b395ada2da"}`,
			readAs[gateway.LedgerAnswer]},
		"R5": {success, call(tx, "test2"), readAs[gateway.ChainCodeAnswer]},
		"R6": {success, "", readAs[gateway.ChainCodeAnswer]}, // its data is in the string
		"R7": {success, `{"eventId":"002f0e1f0b0f4331ab541461547a38d6"}`, readAs[eventID]},
		"R8": {done, `{"userId":"100003","userAddress":"0x14647a48303b5e1c77934583883ebc327ba3b297"}`,
			readAs[gateway.UserAnswer]},
		"R9": {done, `{"data":"4"}`, readAs[gateway.DataAnswer]},
		"R10": {done, `{"data":"{\"txSum\":5,\"blockNumber\":5,\"txSumRaw\":\"0x5\",\"blockNumberRaw\":\"0x5\"}"}`,
			readAs[gateway.DataAnswer]},
		"R11": {done, `{"data":"1"}`, readAs[gateway.DataAnswer]},
		"S4":  {success, call(tx, "SUCCESS"), readAs[gateway.ChainCodeAnswer]},
		"S5":  {`{"code":-1,"msg":"Signature verification failed"}`, "null", readAs[gateway.ChainCodeAnswer]},
	}
	for _, v := range append(f.ECDSA, f.SM2...) {
		a, known := answers[v.ID]
		if !known {
			if strings.HasPrefix(v.ID, "R") {
				t.Errorf("the answer %s is not known here", v.ID)
			}
			continue // a request
		}
		delete(answers, v.ID)
		if _, data, found := strings.Cut(v.S, history+"0200"); found {
			a.body = call(history, data)
		}
		key, err := gateway.ParsePublicKeyPEM([]byte(f.Keys[v.Key].PEM))
		if err != nil {
			t.Fatal(err)
		}
		message := func(mac string) []byte {
			return []byte(`{"header":` + a.header + `,"mac":"` + mac + `","body":` + a.body + `}`)
		}
		if h, err := a.read(key, message(v.Mac)); err != nil || h.Code != 0 && v.ID != "S5" {
			t.Errorf("%s: %+v, %v", v.ID, h, err)
		}
		der, _ := base64.StdEncoding.DecodeString(v.Mac)
		der[len(der)-1] ^= 1
		other, err := gateway.ParsePublicKeyPEM([]byte(f.Keys["APP_K1"].PEM))
		if err != nil {
			t.Fatal(err)
		}
		for name, try := range map[string]func() (gateway.AnswerHeader, error){
			"another mac": func() (gateway.AnswerHeader, error) {
				return a.read(key, message(base64.StdEncoding.EncodeToString(der)))
			},
			"no mac":      func() (gateway.AnswerHeader, error) { return a.read(key, message("")) },
			"another key": func() (gateway.AnswerHeader, error) { return a.read(other, message(v.Mac)) },
		} {
			t.Run(name, func(t *testing.T) {
				if _, err := try(); !errors.Is(err, errAnswer) {
					t.Errorf("%s with %s: %v", v.ID, name, err)
				}
			})
		}
	}
	for id := range answers {
		t.Errorf("the file has no vector %s any more", id)
	}
}
