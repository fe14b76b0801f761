package keystore

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func TestSecretNeverPrints(t *testing.T) {
	s := secret(t, passphrase)
	type config struct {
		Exported Secret
		hidden   Secret
		Pointer  *Secret
	}
	c := config{s, s, &s}
	var out bytes.Buffer
	for _, v := range []any{s, &s, c, &c, []Secret{s}, map[string]Secret{"k": s}, fmt.Errorf("with %v", s), c.hidden} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p", "%T"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		fmt.Fprintln(&out, v)
		slog.New(slog.NewTextHandler(&out, nil)).Info("m", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "v", v)
		j, err := json.Marshal(v)
		fatalIfErr(t, err)
		y, err := yaml.Marshal(v)
		fatalIfErr(t, err)
		out.Write(j)
		out.Write(y)
	}
	text := out.String()
	if !strings.Contains(text, redacted) {
		t.Fatal("nothing redacted")
	}
	hex, upper := fmt.Sprintf("%x", passphrase), fmt.Sprintf("%X", passphrase)
	bytesText := strings.Trim(fmt.Sprint([]byte(passphrase)[:4]), "[]")
	for _, leak := range []string{passphrase, passphrase[:6], hex[:12], upper[:12], bytesText,
		strings.ReplaceAll(bytesText, " ", ",")} {
		if strings.Contains(text, leak) {
			t.Errorf("%q leaked", leak)
		}
	}
	if s.String() != redacted || s.GoString() != redacted || (Secret{}).String() != redacted {
		t.Error("String or GoString")
	}
}

// A secret cannot come in through a configuration text either.
func TestSecretIsNotUnmarshalled(t *testing.T) {
	var c struct{ P Secret }
	if err := json.Unmarshal([]byte(`{"P":"`+passphrase+`"}`), &c); err == nil || !c.P.IsZero() {
		t.Fatalf("%v", err)
	}
}

func TestNewSecret(t *testing.T) {
	text := []byte(passphrase)
	s, err := NewSecret(text)
	fatalIfErr(t, err)
	clear(text)
	if string(s.reveal()) != passphrase || s.IsZero() {
		t.Error("it kept the caller's buffer")
	}
	for _, bad := range []string{"", "short", strings.Repeat("x", MinPassphrase-1),
		strings.Repeat("x", MaxPassphrase+1),
		"two lines\nof text", "from windows\r", "tab\tin the middle", "nul\x00in the middle", "invalid utf-8 \xff",
		"\x7fdelete at start"} {
		if s, err := NewSecret([]byte(bad)); !errors.Is(err, ErrNoPassphrase) || !s.IsZero() {
			t.Errorf("%q: %v", bad, err)
		} else if bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("the error shows it: %v", err)
		}
	}
}

func TestPassphrase(t *testing.T) {
	const env = "STELE_TEST_PASSPHRASE"
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		mustWrite(t, path, []byte(text), mode)
		return path
	}
	const other = "from the environment"
	for name, c := range map[string]struct {
		file, env, value string
		want             string
		err              error
	}{
		"file":                {file("a", passphrase+"\n", 0o600), env, "", passphrase, nil},
		"read-only file":      {file("b", passphrase, 0o400), "", "", passphrase, nil},
		"spaces are kept":     {file("c", " "+passphrase+" \n", 0o600), "", "", " " + passphrase + " ", nil},
		"environment":         {"", env, other, other, nil},
		"environment newline": {"", env, other + "\n", "", ErrNoPassphrase},
		"both":                {file("d", passphrase, 0o600), env, other, "", ErrNoPassphrase},
		"neither":             {"", env, "", "", ErrNoPassphrase},
		"no names":            {"", "", "", "", ErrNoPassphrase},
		"short in env":        {"", env, "short", "", ErrNoPassphrase},
		"two newlines":        {file("e", passphrase+"\n\n", 0o600), "", "", "", ErrNoPassphrase},
		"windows newline":     {file("f", passphrase+"\r\n", 0o600), "", "", "", ErrNoPassphrase},
		"empty file":          {file("g", "\n", 0o600), "", "", "", ErrNoPassphrase},
		"open to the group":   {file("h", passphrase, 0o640), "", "", "", ErrPermissions},
		"open to all":         {file("i", passphrase, 0o604), "", "", "", ErrPermissions},
		"missing file":        {filepath.Join(dir, "nothing"), "", "", "", ErrMissing},
		"missing, env unused": {filepath.Join(dir, "nothing"), env, "", "", ErrMissing},
		"folder":              {dir, "", "", "", ErrPermissions},
		"huge file":           {file("j", strings.Repeat("x", MaxFileSize+1), 0o600), "", "", "", ErrDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			if c.value != "" {
				t.Setenv(env, c.value)
			}
			s, err := Passphrase(c.file, c.env)
			if !errors.Is(err, c.err) || s.IsZero() != (c.err != nil) {
				t.Fatalf("%v, want %v", err, c.err)
			}
			if err == nil && string(s.reveal()) != c.want {
				t.Fatal("another passphrase")
			}
			if err != nil && (strings.Contains(err.Error(), passphrase) || strings.Contains(err.Error(), other)) {
				t.Fatalf("the error shows it: %v", err)
			}
		})
	}
}

// systemd hands a credential out with the group's bit, which there shows an access control list.
func TestPassphraseAsCredential(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "passphrase")
	mustWrite(t, path, []byte(passphrase), 0o440)
	if _, err := Passphrase(path, ""); !errors.Is(err, ErrPermissions) {
		t.Errorf("elsewhere: %v", err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	if s, err := Passphrase(path, ""); err != nil || string(s.reveal()) != passphrase {
		t.Error(err)
	}
	mustWrite(t, path+"-open", []byte(passphrase), 0o444)
	if _, err := Passphrase(path+"-open", ""); !errors.Is(err, ErrPermissions) {
		t.Errorf("open to all: %v", err)
	}
}

func TestCreatePassphrase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "passphrase")
	s, err := CreatePassphrase(path)
	fatalIfErr(t, err)
	got, err := Passphrase(path, "")
	fatalIfErr(t, err)
	if !bytes.Equal(got.reveal(), s.reveal()) || len(s.reveal()) != 32 {
		t.Fatal("another passphrase")
	}
	if _, err := CreatePassphrase(path); !errors.Is(err, ErrExists) {
		t.Fatalf("overwritten: %v", err)
	}
}
