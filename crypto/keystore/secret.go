package keystore

import (
	"bytes"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"unicode/utf8"
)

// MinPassphrase and MaxPassphrase bound a passphrase in bytes. No person types these, so the
// lower bound need not be kind; the upper is what OpenSSL's command line reads.
const (
	MinPassphrase = 12
	MaxPassphrase = 1000
)

// ErrNoPassphrase: none was given, two were, or what was given cannot be one.
var ErrNoPassphrase = errors.New("no usable passphrase")

const redacted = "[redacted]"

// Secret is a passphrase. However it is printed, logged or marshalled, it shows as
// "[redacted]"; only this package reads it. The zero Secret is none. It is immutable and safe
// for concurrent use.
type Secret struct {
	// A function: fmt and debug printers walk into fields that are not exported without asking
	// their methods; of a function they can show an address only.
	reveal func() []byte
	source string // where it comes from, such as "file /path"; empty where that is not known
}

// explain says of a passphrase that is wrong where it comes from: that is what has to be put right.
func (s Secret) explain(err error) error {
	if s.source == "" || !errors.Is(err, ErrPassphrase) {
		return err
	}
	return fmt.Errorf("%w (the passphrase is that of the %s)", err, s.source)
}

// NewSecret takes a passphrase of [MinPassphrase] to [MaxPassphrase] bytes of UTF-8 without
// control characters, so that a file, an environment variable and OpenSSL all mean the same
// bytes by it. It copies text.
func NewSecret(text []byte) (Secret, error) {
	if len(text) < MinPassphrase || len(text) > MaxPassphrase {
		return Secret{}, fmt.Errorf("%w: it must have %d to %d bytes", ErrNoPassphrase, MinPassphrase, MaxPassphrase)
	}
	if !utf8.Valid(text) || bytes.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return Secret{},
			fmt.Errorf("%w: it must be one line of UTF-8 without control characters (a file from Windows ends "+
				"in CR LF)", ErrNoPassphrase)
	}
	b := bytes.Clone(text)
	return Secret{reveal: func() []byte { return b }}, nil
}

// Passphrase reads a passphrase from a file, if file is not empty, or else from the
// environment variable envName. Both at once are refused: which one was meant is not for us
// to guess. There is no way to pass it as an argument, since others see a process's arguments.
//
// The file must be a regular file with permissions 0600 or 0400. In /run/secrets, where
// container runtimes mount secrets for one container with permissions of their choice, it
// may also be readable by others, but not writable; in the folder of systemd's credentials
// (CREDENTIALS_DIRECTORY, which only the service's account enters) its group may have the bit
// that there shows an access control list. One newline at its end is not part of
// the passphrase. The variable stays set: a program that starts others must
// leave it out of their environment.
func Passphrase(file, envName string) (Secret, error) {
	value, inEnv := "", false
	if envName != "" {
		value, inEnv = os.LookupEnv(envName)
	}
	switch {
	case file != "" && inEnv:
		return Secret{}, fmt.Errorf("%w: both the file %s and the variable %s are set; leave one", ErrNoPassphrase,
			file, envName)
	case inEnv:
		s, err := NewSecret([]byte(value))
		if err != nil {
			return Secret{}, fmt.Errorf("passphrase in variable %s: %w", envName, err)
		}
		s.source = "variable " + envName
		return s, nil
	case file == "":
		return Secret{}, fmt.Errorf("%w: name a file, or set the variable %s", ErrNoPassphrase, envName)
	}
	others := fs.FileMode(0)
	switch filepath.Dir(filepath.Clean(file)) {
	case mountedSecrets:
		others = 0o044
	case os.Getenv("CREDENTIALS_DIRECTORY"):
		others = 0o040
	}
	text, err := readPrivate(file, others)
	if err != nil {
		return Secret{}, fmt.Errorf("passphrase file %s: %w", file, err)
	}
	defer clear(text)
	s, err := NewSecret(bytes.TrimSuffix(text, []byte("\n")))
	if err != nil {
		return Secret{}, fmt.Errorf("passphrase file %s: %w", file, err)
	}
	s.source = "file " + file
	return s, nil
}

// mountedSecrets is where Docker, Podman and Swarm mount secrets, with mode 0444 as a rule.
const mountedSecrets = "/run/secrets"

// CreatePassphrase writes 160 random bits in base32 to a new file, with the same care as
// [Create], and returns them: for an installation that has no other place for secrets.
func CreatePassphrase(file string) (Secret, error) {
	var random [20]byte
	if _, err := rand.Read(random[:]); err != nil {
		return Secret{}, fmt.Errorf("create passphrase: %w", err)
	}
	text := []byte(base32.StdEncoding.EncodeToString(random[:]))
	s, err := NewSecret(text)
	if err != nil {
		return Secret{}, err
	}
	if err := writeNew(file, append(text, '\n')); err != nil {
		return Secret{}, fmt.Errorf("create passphrase file %s: %w", file, err)
	}
	return s, nil
}

// IsZero reports whether s holds no passphrase.
func (s Secret) IsZero() bool { return s.reveal == nil }

// String returns "[redacted]".
func (s Secret) String() string { return redacted }

// GoString returns "[redacted]".
func (s Secret) GoString() string { return redacted }

// Format prints "[redacted]" for every verb, %x and %p included.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue returns "[redacted]".
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[redacted]": in JSON, YAML and whatever else asks for text.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
