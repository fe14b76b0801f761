package gateway_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"stele/notary/proof/bsnproof/gateway"
)

// vectorsFile holds messages of real gateways and of the published SDKs. It is other people's
// data and no part of the project: it lies beside the checkout.
const vectorsFile = "../../../../../shared/bsn/vectors.json"

type vectorFile struct {
	Keys map[string]struct {
		Curve string `json:"curve"`
		PEM   string `json:"pem"`
	} `json:"keys"`
	ECDSA []vector `json:"ecdsa"`
	SM2   []vector `json:"sm2_synthetic"`
}

type vector struct {
	ID, Key, S, Mac string
}

func loadVectors(t *testing.T) vectorFile {
	t.Helper()
	text, err := os.ReadFile(vectorsFile)
	if errors.Is(err, fs.ErrNotExist) && os.Getenv("CI") == "" {
		t.Skip("the gateway's vectors are not beside this checkout: the test says nothing")
	}
	if err != nil {
		t.Fatal(err)
	}
	var f vectorFile
	if err := json.Unmarshal(text, &f); err != nil {
		t.Fatal(err)
	}
	if len(f.ECDSA) == 0 || len(f.SM2) == 0 {
		t.Fatalf("%d and %d vectors", len(f.ECDSA), len(f.SM2))
	}
	return f
}

// TestVectors verifies each published mac, and that it holds for no other string, no other
// key and no other spelling.
func TestVectors(t *testing.T) {
	f := loadVectors(t)
	keys := map[string]*gateway.PublicKey{}
	for name, k := range f.Keys {
		key, err := gateway.ParsePublicKeyPEM([]byte(k.PEM))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if want := strings.Replace(k.Curve, "sm2p256v1", "sm2", 1); string(key.Algorithm()) != want {
			t.Errorf("%s: %s, want %s", name, key.Algorithm(), want)
		}
		keys[name] = key
	}
	for _, v := range append(f.ECDSA, f.SM2...) {
		mac, err := base64.StdEncoding.DecodeString(v.Mac)
		if err != nil {
			t.Fatal(err)
		}
		if !keys[v.Key].Verify(v.S, mac) {
			t.Errorf("%s does not verify", v.ID)
		}
		if keys[v.Key].Verify(v.S+" ", mac) || keys[v.Key].Verify(v.S, append(mac, 0)) || keys[v.Key].Verify(v.S, nil) {
			t.Errorf("%s verifies changed", v.ID)
		}
		for name, other := range keys {
			if name != v.Key && other.Verify(v.S, mac) {
				t.Errorf("%s verifies under %s", v.ID, name)
			}
		}
	}
}

// The messages of events, which Stele does not use: the strings under their macs are made by the same rule.
type (
	eventRequest         struct{ ChainCode, EventKey, NotifyURL, AttachArgs string }
	contractEventRequest struct {
		EventType                                            int
		ContractAddress, ContractName, NotifyURL, AttachArgs string
	}
	eventAnswer  struct{ EventID string }
	notification struct {
		EventID, OrgCode, AppCode, AttachArgs, NonceStr string
		EventType                                       int
		EventData                                       string
	}
)

// TestStringsOfVectors builds the string of every vector in the file from its message: the order of
// the fields is right. A vector that it does not know fails it.
func TestStringsOfVectors(t *testing.T) {
	f := loadVectors(t)
	want := map[string]string{}
	for _, v := range append(f.ECDSA, f.SM2...) {
		want[v.ID] = v.S
	}
	u1 := gateway.RequestHeader{UserCode: "USER0001202004151958010871292", AppCode: "app0001202004161020152918451"}
	u2 := gateway.RequestHeader{UserCode: "USER0001202004161009309407413", AppCode: "app0001202004161017141233920"}
	done, success := gateway.AnswerHeader{Msg: "处理成功"}, gateway.AnswerHeader{Msg: "success"}
	query := func(txID, data string) gateway.ChainCodeAnswer {
		return gateway.ChainCodeAnswer{BlockInfo: gateway.BlockInfo{TxID: txID},
			CCRes: gateway.CCRes{CCCode: gateway.CCOK, CCData: data}}
	}
	set := func(key, value string) string {
		b, err := json.Marshal(gateway.BaseData{BaseKey: key, BaseValue: value})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	txCount := `{"txSum":5,"blockNumber":5,"txSumRaw":"0x5","blockNumberRaw":"0x5"}`
	if b, err := json.Marshal(gateway.TxCount{TxSum: 5, BlockNumber: 5, TxSumRaw: "0x5",
		BlockNumberRaw: "0x5"}); err != nil || string(b) != txCount {
		t.Errorf("%s %v", b, err)
	}
	u3 := gateway.RequestHeader{UserCode: "lessing", AppCode: "CL20191107112252"}
	u4 := gateway.RequestHeader{UserCode: "USER0001202006042321579692440", AppCode: "app0001202006042323057101002"}
	const history = "6e275137a31cb9f6f34c7ca94ff21d7177c2f3c87dc8c04e5dfde771ae90e57f"
	_, list, _ := strings.Cut(want["R6"], history+"0200")
	const block7 = "ab9366cf63881228863c884527fceefabc9ad2e375aa0bcbf71f17f75c7d3ff5"
	built := map[string]string{
		"V1": gateway.RequestText(u1, nil),
		"S2": gateway.RequestText(u1, nil),
		"V6": gateway.RequestText(u4, contractEventRequest{1, "0x866aefc204b8f8fdc3e45b908fd43d76667d7f76",
			"BsnBaseContractk1", "http://127.0.0.1:18080", "abc=123"}),
		"V7": gateway.RequestText(u3, eventRequest{"cc_bsn_test_00", "test01",
			"http://192.168.6.128:8080/api/event/notifyUrl", "name=张三&age=20"}),
		"V8": gateway.RequestText(u3, nil),
		"R6": gateway.AnswerText(success, query(history, list)),
		"R7": gateway.AnswerText(success, eventAnswer{"002f0e1f0b0f4331ab541461547a38d6"}),
		"N1": gateway.RequestText(u4, notification{"5b5b865f8dc94ae59d215cf26aa81d69", "ORG2020041114171692360",
			u4.AppCode, "abc=123", "52f080f27ff045eb87e21812d12cee40", 1,
			`{"appId":"app0001202006042323057101002","blockNumber":17,"eventType":1,"groupId":135}`}),
		"S1": gateway.Text("abc", 123), // of no message
		"V2": gateway.RequestText(u1,
			gateway.TransactionRequest{TxID: "c3c6523958c3811192b8d358dd2617f1b14cb661de6b022c1a822269e8a8c48d"}),
		"V3": gateway.RequestText(u1, gateway.User{Name: "user01", Secret: "123456"}),
		"V4": gateway.RequestText(u1, gateway.BlockRequest{BlockNumber: 6}),
		"V5": gateway.RequestText(u2, gateway.ChainCodeRequest{Nonce: "lgH7Ozfv6npqg9D3pSbq9c6o+rAcpa5D",
			ChainCode: "cc_app0001202004161017141233920_00",
			FuncName:  gateway.FuncSet, Args: []string{set("test2020048", "this is string ")},
			TransientData: map[string]string{}}),
		"S3": gateway.RequestText(u2, gateway.ChainCodeRequest{Nonce: "AAECAwQFBgcICQoLDA0ODxAREhMUFRYX",
			ChainCode: "cc_app0001202004161017141233920_00",
			FuncName:  gateway.FuncSet, Args: []string{set("doc-20240101-0001", "公文存证")},
			TransientData: map[string]string{"k1": "v1"}}),
		"R1": gateway.AnswerText(done, gateway.AppInfo{AppName: "sdk测试-密钥非托管", AppType: "fabric", CAType: 2,
			AlgorithmType: 2, MSPID: "OrgbNodeMSP", ChannelID: u1.AppCode}),
		"R2": gateway.AnswerText(done, gateway.User{Name: "user01", Secret: "123456"}),
		"R3": gateway.AnswerText(done, gateway.TransactionAnswer{BlockHash: block7, BlockNumber: 7,
			CreateName: "test02@" + u1.AppCode, TimeSpanSec: 1587445821, TimeSpanNsec: 249139700}),
		"R4": gateway.AnswerText(done, gateway.LedgerAnswer{BlockHash: block7, Height: 8,
			PreBlockHash: "fc83c306677925efee540b4d7b7ca73e06f144cae34c706f1101d6b395ada2da"}),
		"R5": gateway.AnswerText(success, query("c75091475e9cdab5af1f8325d19069c9aab865862d9434a5f772f1159d569048",
			"test2")),
		"S4": gateway.AnswerText(success, query("c75091475e9cdab5af1f8325d19069c9aab865862d9434a5f772f1159d569048",
			gateway.CCSuccess)),
		"R8": gateway.AnswerText(done,
			gateway.UserAnswer{UserID: "100003", UserAddress: "0x14647a48303b5e1c77934583883ebc327ba3b297"}),
		"R9":  gateway.AnswerText(done, gateway.DataAnswer{Data: "4"}),
		"R10": gateway.AnswerText(done, gateway.DataAnswer{Data: txCount}),
		"R11": gateway.AnswerText(done, gateway.DataAnswer{Data: "1"}),
		"S5":  gateway.AnswerText(gateway.AnswerHeader{Code: gateway.CodeFailed, Msg: gateway.MsgBadMac}, nil),
	}
	for id := range built {
		if _, there := want[id]; !there {
			t.Errorf("the file has no vector %s any more", id)
		}
	}
	for id, text := range want {
		if got, known := built[id]; !known || got != text {
			t.Errorf("%s: known %v, %q, want %q", id, known, got, text)
		}
	}
}

// TestOwnMacs signs and verifies under each algorithm; the key survives being written down.
func TestOwnMacs(t *testing.T) {
	for _, algorithm := range []gateway.Algorithm{gateway.SM2, gateway.Secp256r1, gateway.Secp256k1} {
		key, err := gateway.GenerateKey(algorithm)
		if err != nil {
			t.Fatal(err)
		}
		der, err := key.PKCS8()
		if err != nil {
			t.Fatal(err)
		}
		again, err := gateway.ParsePrivateKey(der)
		if err != nil || !again.Public().Equal(key.Public()) {
			t.Fatalf("%s: another key came back: %v", algorithm, err)
		}
		pub, err := gateway.ParsePublicKeyPEM(key.Public().PEM())
		if err != nil || !pub.Equal(key.Public()) {
			t.Fatalf("%s: another public key came back: %v", algorithm, err)
		}
		for range 8 { // half of all ECDSA signatures have the larger s at first
			mac, err := again.Sign("碑")
			if err != nil || !pub.Verify("碑", mac) || pub.Verify("石", mac) {
				t.Fatalf("%s: %v", algorithm, err)
			}
		}
	}
	if _, err := gateway.GenerateKey("sm9"); !errors.Is(err, gateway.ErrKey) {
		t.Error(err)
	}
}

// TestSingleHashIsRefused: an SM2 mac is over the SM3 of the string, not over the string.
// The larger s of an ECDSA mac is refused too.
func TestSingleHashIsRefused(t *testing.T) {
	high, err := hex.DecodeString(
		"3046022100ab9366cf63881228863c884527fceefabc9ad2e375aa0bcbf71f17f75c7d3ff5" +
			"022100ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632550")
	if err != nil {
		t.Fatal(err)
	}
	for _, algorithm := range []gateway.Algorithm{gateway.SM2, gateway.Secp256r1, gateway.Secp256k1} {
		key, err := gateway.GenerateKey(algorithm)
		if err != nil {
			t.Fatal(err)
		}
		if key.Public().Verify("x", high) {
			t.Error(algorithm)
		}
	}
}

func FuzzParsePublicKey(f *testing.F) {
	for _, algorithm := range []gateway.Algorithm{gateway.SM2, gateway.Secp256r1, gateway.Secp256k1} {
		key, err := gateway.GenerateKey(algorithm)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(key.Public().DER())
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		if k, err := gateway.ParsePublicKey(der); err == nil && string(k.DER()) != string(der) {
			t.Errorf("%x has a second spelling", der)
		}
	})
}
