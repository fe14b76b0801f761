// Package signednote signs and verifies C2SP signed notes with SM2.
//
// The shape is that of C2SP signed-note, read and written by golang.org/x/mod/sumdb/note.
// The signature type is the reserved byte 0xff followed by the identifier "sm2-sm3"; the
// signature itself is the DER SEQUENCE{r, s} over the note's text (GM/T 0009).
package signednote

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"stele/crypto/sm"
)

// algorithm is what follows the reserved type byte 0xff in the key's encoding.
const algorithm = "\xffsm2-sm3\x00"

// ErrKey reports a verifier key that is not name+hex(id)+base64(0xff ‖ "sm2-sm3" ‖ 0x00 ‖ point).
var ErrKey = errors.New(`a log key must be "<name>+<8 hex digits>+<base64 of 0xff, sm2-sm3, 0x00 and the 65-byte SM2 ` +
	`point>"`)

// KeyID is the first four bytes of SM3(name ‖ 0x0A ‖ 0xff ‖ "sm2-sm3" ‖ 0x00 ‖ point), big endian.
func KeyID(name string, key *sm.PublicKey) uint32 {
	d := sm.Sum([]byte(name), []byte("\n"), []byte(algorithm), key.Bytes())
	return binary.BigEndian.Uint32(d[:4])
}

// FormatKey returns the text form of a verifier key.
func FormatKey(name string, key *sm.PublicKey) string {
	return fmt.Sprintf("%s+%08x+%s", name, KeyID(name, key),
		base64.StdEncoding.EncodeToString(append([]byte(algorithm), key.Bytes()...)))
}

// Verifier checks signatures of one named key. It is immutable.
type Verifier struct {
	name string
	id   uint32
	key  *sm.PublicKey
}

var _ note.Verifier = (*Verifier)(nil)

// NewVerifier names a key.
func NewVerifier(name string, key *sm.PublicKey) (*Verifier, error) {
	if !ValidName(name) {
		return nil, fmt.Errorf("%q is no key name: 1 to 128 printable ASCII characters without space and plus sign",
			name)
	}
	return &Verifier{name: name, id: KeyID(name, key), key: key}, nil
}

// ParseKey is the inverse of [FormatKey] and accepts no other spelling.
func ParseKey(text string) (*Verifier, error) {
	name, rest, _ := strings.Cut(text, "+")
	id, enc, ok := strings.Cut(rest, "+")
	raw, err := base64.StdEncoding.DecodeString(enc)
	if !ok || err != nil || !strings.HasPrefix(string(raw), algorithm) {
		return nil, ErrKey
	}
	key, err := sm.ParsePublicKey(raw[len(algorithm):])
	if err != nil {
		return nil, ErrKey
	}
	v, err := NewVerifier(name, key)
	if err != nil {
		return nil, ErrKey
	}
	if b, err := hex.DecodeString(id); err != nil || len(b) != 4 || FormatKey(name, key) != text {
		return nil, ErrKey
	}
	return v, nil
}

// ValidName reports whether a name can stand in a note and in line-based texts: 1 to 128
// printable ASCII characters, none of them a space or a plus sign.
func ValidName(name string) bool {
	if name == "" || len(name) > 128 {
		return false
	}
	for _, c := range []byte(name) {
		if c <= ' ' || c > '~' || c == '+' {
			return false
		}
	}
	return true
}

// Name is the server name in signature lines.
func (v *Verifier) Name() string { return v.name }

// KeyHash is the key id in signature lines.
func (v *Verifier) KeyHash() uint32 { return v.id }

// Key is the public key.
func (v *Verifier) Key() *sm.PublicKey { return v.key }

// Verify reports whether sig is this key's signature over msg.
func (v *Verifier) Verify(msg, sig []byte) bool { return v.key.Verify(msg, sig) }

// Signer signs notes. It is safe for concurrent use when its signing function is.
type Signer struct {
	Verifier
	sign func(msg []byte) ([]byte, error)
}

var _ note.Signer = (*Signer)(nil)

// NewSigner names a private key. The key must verify its own signatures before it returns
// them, as [sm.PrivateKey.Sign] does.
func NewSigner(name string, key *sm.PrivateKey) (*Signer, error) {
	v, err := NewVerifier(name, key.Public())
	if err != nil {
		return nil, err
	}
	return &Signer{Verifier: *v, sign: key.Sign}, nil
}

// Sign signs the note's text.
func (s *Signer) Sign(msg []byte) ([]byte, error) { return s.sign(msg) }

// Sign returns the note with one signature line.
func Sign(text string, s *Signer) ([]byte, error) {
	return note.Sign(&note.Note{Text: text}, s)
}

// MaxNoteSize is the longest note that [Open] reads, in bytes.
const MaxNoteSize = 4096

// Open verifies a note that carries exactly one signature, by one of the given keys, in
// its one canonical spelling, and returns its text and the key that signed it.
func Open(msg []byte, keys ...*Verifier) (text string, by *Verifier, err error) {
	if len(msg) > MaxNoteSize {
		return "", nil, fmt.Errorf("a signed note has at most %d bytes", MaxNoteSize)
	}
	known := make([]note.Verifier, len(keys))
	for i, k := range keys {
		known[i] = k
	}
	n, err := note.Open(msg, note.VerifierList(known...))
	if err != nil {
		return "", nil, fmt.Errorf("signed note: %w", err)
	}
	if len(n.Sigs) != 1 || len(n.UnverifiedSigs) != 0 {
		return "", nil, errors.New("signed note: exactly one signature is expected")
	}
	line := fmt.Sprintf("\n— %s %s\n", n.Sigs[0].Name, n.Sigs[0].Base64)
	if n.Text+line != string(msg) || !canonicalBase64(n.Sigs[0].Base64) {
		return "", nil, errors.New("signed note: not in canonical form")
	}
	for _, k := range keys {
		if k.name == n.Sigs[0].Name && k.id == n.Sigs[0].Hash {
			by = k
		}
	}
	return n.Text, by, nil
}

// SignatureOf verifies a note under one key and returns the bare signature over its text.
func SignatureOf(msg []byte, key *Verifier) ([]byte, error) {
	if _, _, err := Open(msg, key); err != nil {
		return nil, err
	}
	i := bytes.LastIndexByte(bytes.TrimSuffix(msg, []byte("\n")), ' ')
	raw, err := base64.StdEncoding.DecodeString(string(bytes.TrimSuffix(msg[i+1:], []byte("\n"))))
	if err != nil || len(raw) < keyIDSize {
		return nil, errors.New("signed note: no signature") // cannot happen: Open has read it
	}
	return raw[keyIDSize:], nil
}

// keyIDSize is how many bytes of a signature line's base64 name the key.
const keyIDSize = 4

func canonicalBase64(s string) bool {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	return err == nil && base64.StdEncoding.EncodeToString(b) == s
}
