package signednote

import (
	"bytes"
	"strings"
	"testing"

	"stele/crypto/sm"
)

func mustSigner(t testing.TB, name string) *Signer {
	t.Helper()
	k, err := sm.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSigner(name, k)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSignAndOpen(t *testing.T) {
	s := mustSigner(t, "log.example/a")
	other := mustSigner(t, "log.example/a")
	msg, err := Sign("log.example/a\n1\nx\n", s)
	if err != nil {
		t.Fatal(err)
	}
	text, by, err := Open(msg, &other.Verifier, &s.Verifier)
	if err != nil || text != "log.example/a\n1\nx\n" || by.KeyHash() != s.KeyHash() {
		t.Fatal(text, by, err)
	}
	sig, err := SignatureOf(msg, &s.Verifier)
	if err != nil || !s.Key().Verify([]byte(text), sig) {
		t.Error("the bare signature does not verify over the text:", err)
	}
	if _, _, err := Open(msg, &other.Verifier); err == nil {
		t.Error("a stranger's key opened the note")
	}
	if _, _, err := Open(append(msg, msg[bytes.LastIndex(msg, []byte("—")):]...), &s.Verifier); err == nil {
		t.Error("a second signature line was accepted")
	}
	for i := range msg {
		bad := bytes.Clone(msg)
		bad[i] ^= 1
		if _, _, err := Open(bad, &s.Verifier); err == nil {
			t.Errorf("byte %d changed and the note still opens", i)
		}
	}
}

func TestKeyText(t *testing.T) {
	s := mustSigner(t, "log.example/a")
	text := FormatKey(s.Name(), s.Key())
	v, err := ParseKey(text)
	if err != nil || v.KeyHash() != s.KeyHash() || !v.Key().Equal(s.Key()) {
		t.Fatal(v, err)
	}
	for _, bad := range []string{"", "a+b", text + "=", strings.ToUpper(text[:20]) + text[20:],
		strings.Replace(text, "+", "+0", 1), "a b" + text} {
		if _, err := ParseKey(bad); err == nil {
			t.Errorf("accepted %q", bad)
		}
	}
}

func TestNames(t *testing.T) {
	for _, bad := range []string{"", "a b", "a+b", "a\nb", "江城", strings.Repeat("a", 129)} {
		if ValidName(bad) {
			t.Errorf("accepted %q", bad)
		}
	}
}

func FuzzOpen(f *testing.F) {
	s := mustSigner(f, "log.example/a")
	msg, err := Sign("log.example/a\n1\nx\n", s)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(msg)
	f.Fuzz(func(t *testing.T, b []byte) {
		text, _, err := Open(b, &s.Verifier)
		if err == nil && !bytes.HasPrefix(b, []byte(text)) {
			t.Fatal("text is no prefix of the note")
		}
	})
}

func mustKey(t testing.TB) *sm.PrivateKey {
	t.Helper()
	k, err := sm.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}
