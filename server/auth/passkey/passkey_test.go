package passkey_test

import (
	"encoding/json"
	"errors"
	"testing"

	"stele/notary/office/people"
	"stele/server/auth/passkey"
)

func fatalIfErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var user = people.User{ID: "0193", Login: "zhang", Name: "张三"}

func TestWherePasskeysAreToBeHad(t *testing.T) {
	for address, want := range map[string]error{"https://stele.example.gov.cn": nil,
		"https://stele.example.gov.cn:8443": nil, "http://localhost:8080": nil,
		"http://127.0.0.1:8080": passkey.ErrNoName,
		"https://[::1]":         passkey.ErrNoName, "https://10.0.0.1": passkey.ErrNoName,
		"http://stele.example.gov.cn": passkey.ErrInsecure, "": passkey.ErrNoName, "http://": passkey.ErrNoName} {
		t.Run(address, func(t *testing.T) {
			if _, err := passkey.New(address, "碑"); !errors.Is(err, want) || want == nil && err != nil {
				t.Errorf("%s: %v", address, err)
			}
		})
	}
}

// What browsers are asked for: a key that is found without a name, and a person who is seen.
func TestOptions(t *testing.T) {
	d, err := passkey.New("https://stele.example.gov.cn:8443", "碑")
	fatalIfErr(t, err)
	has := []people.Passkey{{ID: []byte{1}, PublicKey: []byte{1}, Transports: []string{"usb"}}}
	raw, _, err := d.BeginRegistration(user, has)
	fatalIfErr(t, err)
	var made struct {
		RP                     struct{ ID string }
		Attestation            string
		Challenge              string
		AuthenticatorSelection struct{ ResidentKey, UserVerification string }
		ExcludeCredentials     []struct{ ID string }
	}
	fatalIfErr(t, json.Unmarshal(raw, &made))
	if made.RP.ID != "stele.example.gov.cn" || made.Attestation != "none" ||
		made.AuthenticatorSelection.ResidentKey != "required" ||
		made.AuthenticatorSelection.UserVerification != "required" ||
		len(made.ExcludeCredentials) != 1 || len(made.Challenge) < 40 {
		t.Errorf("%s", raw)
	}
	for _, c := range []struct {
		u    people.User
		keys []people.Passkey
	}{{}, {user, has}} {
		raw, kept, err := d.BeginSignIn(c.u, c.keys)
		fatalIfErr(t, err)
		var asked struct {
			UserVerification string
			AllowCredentials []struct{ ID string }
		}
		fatalIfErr(t, json.Unmarshal(raw, &asked))
		if asked.UserVerification != "required" || len(asked.AllowCredentials) != len(c.keys) || len(kept) == 0 {
			t.Errorf("%s", raw)
		}
	}
}

// Whatever a browser sends is refused or understood, and gets nobody in without a signature.
func FuzzAnswer(f *testing.F) {
	d, err := passkey.New("https://stele.example.gov.cn", "碑")
	fatalIfErr(f, err)
	_, made, err := d.BeginRegistration(user, nil)
	fatalIfErr(f, err)
	_, asked, err := d.BeginSignIn(people.User{}, nil)
	fatalIfErr(f, err)
	f.Add([]byte(
		`{"id":"AQ","rawId":"AQ","type":"public-key","response":{"clientDataJSON":"e30","attestationObject":"oA"}}`))
	f.Add([]byte(
		`{"id":"AQ","rawId":"AQ","type":"public-key","response":{"clientDataJSON":"e30","authenticatorData":"AAAA","signature":"AA","userHandle":"AQ"}}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, answer []byte) {
		if k, err := d.FinishRegistration(user, made, answer); err == nil {
			t.Errorf("made %+v", k)
		}
		if s, err := d.FinishSignIn(asked, answer, func(handle string, id []byte) (people.User, []people.Passkey,
			error) {
			return people.User{ID: handle}, []people.Passkey{{ID: id, PublicKey: []byte{0xa0}}}, nil
		}); err == nil {
			t.Errorf("signed %+v", s)
		}
	})
}
