package webhook

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"stele/crypto/sm"
)

func header(s Signed) http.Header {
	h := http.Header{}
	h.Set(HeaderID, s.ID)
	h.Set(HeaderTimestamp, strconv.FormatInt(s.Timestamp, 10))
	h.Set(HeaderSignature, s.Signature)
	return h
}

func official(t *testing.T, s Secret) *standardwebhooks.Webhook {
	t.Helper()
	w, err := standardwebhooks.NewWebhook(s.Text())
	fatalIfErr(t, err)
	return w
}

// The official library verifies what is signed here, with either of two secrets, skips the
// SM2 signature, and refuses what was changed.
func TestSignature(t *testing.T) {
	key, err := sm.GenerateKey()
	fatalIfErr(t, err)
	old, fresh := NewSecret(), NewSecret()
	body := []byte(`{"type":"ping","data":{"x":"碑 %s %d"}}`)
	for _, secrets := range [][]Secret{{fresh}, {fresh, old}} {
		s, err := Sign("evt_1", time.Now(), body, secrets, key.Sign)
		fatalIfErr(t, err)
		for _, secret := range secrets {
			fatalIfErr(t, official(t, secret).Verify(body, header(s)))
		}
		if err := official(t, NewSecret()).Verify(body, header(s)); err == nil {
			t.Error("another secret verifies")
		}
		if tokens := strings.Split(s.Signature, " "); len(tokens) != len(secrets)+1 ||
			!strings.HasPrefix(tokens[len(secrets)], "v1sm2,") || !strings.HasPrefix(tokens[0], "v1,") {
			t.Errorf("signatures: %s", s.Signature)
		}
		ts := strconv.FormatInt(s.Timestamp, 10)
		fatalIfErr(t, VerifySM2(key.Public(), s.ID, ts, s.Signature, body))
		other, err := sm.GenerateKey()
		fatalIfErr(t, err)
		for name, err := range map[string]error{
			"body":      VerifySM2(key.Public(), s.ID, ts, s.Signature, body[1:]),
			"id":        VerifySM2(key.Public(), "evt_2", ts, s.Signature, body),
			"timestamp": VerifySM2(key.Public(), s.ID, ts+"0", s.Signature, body),
			"key":       VerifySM2(other.Public(), s.ID, ts, s.Signature, body),
			"version":   VerifySM2(key.Public(), s.ID, ts, strings.ReplaceAll(s.Signature, "v1sm2", "v2"), body),
		} {
			t.Run(name, func(t *testing.T) {
				if err == nil {
					t.Errorf("another %s verifies", name)
				}
			})
		}
		h := header(s)
		h.Set(HeaderID, "evt_2")
		if official(t, secrets[0]).Verify(body, h) == nil || official(t, secrets[0]).Verify(body[1:],
			header(s)) == nil {
			t.Error("a changed message verifies")
		}
	}
}

// A vector from outside: the one in the specification's libraries.
func TestSignatureVector(t *testing.T) {
	secret, err := ParseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	fatalIfErr(t, err)
	s, err := Sign("msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`),
		[]Secret{secret}, func([]byte) ([]byte, error) { return nil, nil })
	fatalIfErr(t, err)
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= v1sm2,"; s.Signature != want {
		t.Errorf("got %s, want %s", s.Signature, want)
	}
}

func TestSecretText(t *testing.T) {
	s := NewSecret()
	again, err := ParseSecret(s.Text())
	fatalIfErr(t, err)
	if again.Text() != s.Text() || len(s.reveal()) != 32 || NewSecret().Text() == s.Text() {
		t.Error("a secret is not the one it was")
	}
	for _, bad := range []string{"", "whsec_", "whsec_AAAA", s.Text()[6:], s.Text() + "\n", "WHSEC_" + s.Text()[6:],
		"whsec_" + strings.Repeat("A", 88), s.Text()[:20] + "\n" + s.Text()[20:]} {
		if _, err := ParseSecret(bad); err == nil || strings.Contains(err.Error(), s.Text()[6:16]) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	asJSON, err := json.Marshal(map[string]any{"s": s})
	fatalIfErr(t, err)
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", s)
	for _, shown := range []string{fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %q", s, s, s, s, s), string(asJSON),
		log.String()} {
		if strings.Contains(shown, s.Text()[6:16]) || !strings.Contains(shown, "[redacted]") {
			t.Errorf("shows %s", shown)
		}
	}
}

func FuzzParseSecret(f *testing.F) {
	f.Add("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := ParseSecret(text); err == nil && s.Text() != text {
			t.Fatalf("%q is also %q", text, s.Text())
		}
	})
}

func FuzzVerifySM2(f *testing.F) {
	key, err := sm.NewPrivateKey(bytes.Repeat([]byte{1}, 32)) // all workers have the same
	fatalIfErr(f, err)
	s, err := Sign("evt_1", time.Unix(1, 0), []byte("{}"), []Secret{NewSecret()}, key.Sign)
	fatalIfErr(f, err)
	f.Add("evt_1", "1", s.Signature, []byte("{}"))
	f.Fuzz(func(t *testing.T, id, ts, signature string, body []byte) {
		if VerifySM2(key.Public(), id, ts, signature, body) == nil && id+"."+ts+"."+string(body) != "evt_1.1.{}" {
			t.Fatal("verifies another message")
		}
	})
}
