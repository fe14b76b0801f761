package signednote

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"stele/crypto/sm"
)

// A cosignature is a second party's signature line under a note: it says that the party saw the note, held it to be
// consistent with all that it had seen before, and when. It is modelled on C2SP tlog-cosignature, with SM2, and has an
// algorithm of its own in the key id, so that no signature of one kind can be taken for the other.

const cosignAlgorithm = "\xffsm2-sm3-cosignature\x00"

// MaxCosignedSize is the longest note with cosignatures in bytes.
const MaxCosignedSize = 2 * MaxNoteSize

// ErrCosignature is wrapped by every error about a cosignature.
var ErrCosignature = errors.New("no cosigned note")

// CosignKeyID is the first 4 bytes of SM3(name ‖ 0x0A ‖ 0xff ‖ "sm2-sm3-cosignature" ‖ 0x00 ‖ point).
func CosignKeyID(name string, key *sm.PublicKey) uint32 {
	d := sm.Sum([]byte(name), []byte("\n"), []byte(cosignAlgorithm), key.Bytes())
	return binary.BigEndian.Uint32(d[:4])
}

// cosigned is what a cosigner signs: a line that says what it is, one with the time in seconds since 1970, and the
// note's text.
func cosigned(text string, at int64) []byte {
	return fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", at, text)
}

// Cosign adds a line to a note in form, which has one signature line. Whoever cosigns has verified the note before.
func Cosign(msg []byte, name string, key *sm.PrivateKey, at time.Time) ([]byte, error) {
	text, _, ok := strings.Cut(string(msg), "\n\n")
	if !ok || len(msg) > MaxNoteSize || !ValidName(name) || at.Unix() < 0 {
		return nil, fmt.Errorf("%w: a note of at most %d bytes and the name of a key are expected", ErrCosignature,
			MaxNoteSize)
	}
	sig, err := key.Sign(cosigned(text+"\n", at.Unix()))
	if err != nil {
		return nil, fmt.Errorf("cosign: %w", err)
	}
	raw := binary.BigEndian.AppendUint32(nil, CosignKeyID(name, key.Public()))
	raw = binary.BigEndian.AppendUint64(raw, uint64(at.Unix()))
	raw = append(raw, sig...)
	return fmt.Appendf(bytes.Clone(msg), "— %s %s\n", name, base64.StdEncoding.EncodeToString(raw)), nil
}

// SplitCosigned returns a note without the lines of its cosigners. Nothing is verified.
func SplitCosigned(msg []byte) (note []byte, lines []string, err error) {
	text, rest, ok := strings.Cut(string(msg), "\n\n")
	if !ok || len(msg) > MaxCosignedSize {
		return nil, nil, fmt.Errorf("%w: a signed note of at most %d bytes is expected", ErrCosignature,
			MaxCosignedSize)
	}
	lines = strings.SplitAfter(rest, "\n")
	if last := len(lines) - 1; last < 1 || lines[last] != "" {
		return nil, nil, fmt.Errorf("%w: lines end with a line feed", ErrCosignature)
	}
	return []byte(text + "\n\n" + lines[0]), lines[1 : len(lines)-1], nil
}

// VerifyCosignature looks among the lines of a note's cosigners for one of this name and key that holds, and returns
// when it was made, by the cosigner's clock.
func VerifyCosignature(msg []byte, name string, key *sm.PublicKey) (time.Time, error) {
	note, lines, err := SplitCosigned(msg)
	if err != nil {
		return time.Time{}, err
	}
	text, _, _ := strings.Cut(string(note), "\n\n")
	for _, line := range lines {
		rest, ok := strings.CutPrefix(line, "— "+name+" ")
		enc := strings.TrimSuffix(rest, "\n")
		raw, err := base64.StdEncoding.DecodeString(enc)
		if !ok || err != nil || !canonicalBase64(enc) || len(raw) < 12 ||
			binary.BigEndian.Uint32(raw) != CosignKeyID(name, key) {
			continue
		}
		at := binary.BigEndian.Uint64(raw[4:])
		if at <= 1<<40 && key.Verify(cosigned(text+"\n", int64(at)), raw[12:]) {
			return time.Unix(int64(at), 0).UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%w: no line of %s holds", ErrCosignature, name)
}

// FormatCosignKey is the text of a cosigner's key: name, key id in hex, and base64 of the algorithm and the point.
func FormatCosignKey(name string, key *sm.PublicKey) string {
	return name + "+" + fmt.Sprintf("%08x", CosignKeyID(name, key)) + "+" +
		base64.StdEncoding.EncodeToString(append([]byte(cosignAlgorithm), key.Bytes()...))
}

// ParseCosignKey is the inverse of [FormatCosignKey] and accepts no other spelling.
func ParseCosignKey(text string) (name string, key *sm.PublicKey, err error) {
	bad := fmt.Errorf("%w: a cosigner's key is <name>+<8 hex digits>+<base64>", ErrCosignature)
	name, rest, _ := strings.Cut(text, "+")
	id, enc, _ := strings.Cut(rest, "+")
	raw, err := base64.StdEncoding.DecodeString(enc)
	point, ok := bytes.CutPrefix(raw, []byte(cosignAlgorithm))
	if _, hexErr := strconv.ParseUint(id, 16, 32); err != nil || !ok || hexErr != nil || !ValidName(name) {
		return "", nil, bad
	}
	if key, err = sm.ParsePublicKey(point); err != nil || FormatCosignKey(name, key) != text {
		return "", nil, bad
	}
	return name, key, nil
}
