package checkpoint

import (
	"strings"
	"testing"

	"stele/crypto/merkle"
	"stele/crypto/signednote"
	"stele/crypto/sm"
)

func TestSignOpen(t *testing.T) {
	k, err := sm.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	s, err := signednote.NewSigner("log.example/a", k)
	if err != nil {
		t.Fatal(err)
	}
	c := Checkpoint{Origin: "log.example/a", Size: 7, Root: merkle.LeafHash([]byte("x"))}
	msg, err := Sign(c, s)
	if err != nil {
		t.Fatal(err)
	}
	got, by, err := Open(msg, &s.Verifier)
	if err != nil || got != c || by.Name() != c.Origin {
		t.Fatal(got, by, err)
	}
	if u, err := ParseUnsafe(msg); err != nil || u != c {
		t.Fatal(u, err)
	}
	c.Origin = "log.example/b"
	if _, err := Sign(c, s); err == nil {
		t.Error("signed another log's checkpoint")
	}
}

func TestParseRefuses(t *testing.T) {
	good := Checkpoint{Origin: "log.example/a", Size: 7}.Text()
	if _, err := Parse(good); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", good + "\n", strings.Replace(good, "7", "07", 1),
		strings.Replace(good, "7", "+7", 1),
		strings.Replace(good, "7", "9007199254740992", 1), strings.Replace(good, "log", "l g", 1),
		strings.TrimSuffix(good, "\n"),
		strings.Replace(good, "A=", "B=", 1), good + "extension\n"} {
		if c, err := Parse(bad); err == nil {
			t.Errorf("accepted %q as %+v", bad, c)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(Checkpoint{Origin: "log.example/a", Size: 7}.Text())
	f.Fuzz(func(t *testing.T, s string) {
		if c, err := Parse(s); err == nil && c.Text() != s {
			t.Fatalf("%q", s)
		}
	})
}
