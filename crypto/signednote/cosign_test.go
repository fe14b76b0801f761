package signednote

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// A cosigned note opens as before without its last line, and no byte of it can change unnoticed.
func TestCosign(t *testing.T) {
	log, witness, other := mustSigner(t, "log.example/a"), mustKey(t), mustKey(t)
	at := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	msg, err := Sign("log.example/a\n1\nx\n", log)
	if err != nil {
		t.Fatal(err)
	}
	both, err := Cosign(msg, "monitor.example", witness, at)
	if err != nil {
		t.Fatal(err)
	}
	note, lines, err := SplitCosigned(both)
	if err != nil || !bytes.Equal(note, msg) || len(lines) != 1 {
		t.Fatalf("%v: %q, %q", err, note, lines)
	}
	if got, err := VerifyCosignature(both, "monitor.example", witness.Public()); err != nil || !got.Equal(at) {
		t.Errorf("%v: %s", err, got)
	}
	if _, err := VerifyCosignature(both, "monitor.example", other.Public()); err == nil {
		t.Error("it holds under another key")
	}
	if _, err := VerifyCosignature(msg, "monitor.example", witness.Public()); err == nil {
		t.Error("a note without a cosignature holds")
	}
	for i := range both {
		bad := bytes.Clone(both)
		bad[i] ^= 1
		if i >= bytes.Index(both, []byte("\n\n"))+2 && i < len(msg) {
			continue // the log's own line, which Open looks at
		}
		if _, err := VerifyCosignature(bad, "monitor.example", witness.Public()); err == nil {
			t.Errorf("byte %d changed and the cosignature still holds", i)
		}
	}
	text := FormatCosignKey("monitor.example", witness.Public())
	name, key, err := ParseCosignKey(text)
	if err != nil || name != "monitor.example" || !key.Equal(witness.Public()) {
		t.Error(name, err)
	}
	for _, bad := range []string{"", text + "=", strings.ToUpper(text),
		FormatKey("monitor.example", witness.Public())} {
		if _, _, err := ParseCosignKey(bad); err == nil {
			t.Errorf("accepted %q", bad)
		}
	}
}

func FuzzCosigned(f *testing.F) {
	log, witness := mustSigner(f, "log.example/a"), mustKey(f)
	msg, err := Sign("log.example/a\n1\nx\n", log)
	if err != nil {
		f.Fatal(err)
	}
	both, err := Cosign(msg, "monitor.example", witness, time.Unix(1e9, 0))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(both, FormatCosignKey("monitor.example", witness.Public()))
	f.Fuzz(func(t *testing.T, b []byte, keyText string) {
		if note, lines, err := SplitCosigned(b); err == nil && string(note)+strings.Join(lines, "") != string(b) {
			t.Fatal("the parts are not the note")
		}
		if _, err := VerifyCosignature(b, "monitor.example", witness.Public()); err == nil && !bytes.HasPrefix(b,
			[]byte("log.example/a\n1\nx\n\n")) {
			t.Fatal("a cosignature holds for another text")
		}
		if name, key, err := ParseCosignKey(keyText); err == nil && FormatCosignKey(name, key) != keyText {
			t.Fatal("a key has two spellings")
		}
	})
}
