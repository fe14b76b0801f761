package webhook

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"stele/crypto/sm"
)

// Lengths of a secret in bytes (Standard Webhooks, section "Signature scheme").
const (
	minSecret = 24
	maxSecret = 64
	newSecret = 32
)

const secretPrefix = "whsec_"

// Secret is what an endpoint and its receiver share. However it is printed or logged, it
// shows as "[redacted]"; [Secret.Text] gives it away. It is immutable.
type Secret struct{ reveal func() []byte }

// NewSecret makes a secret of 32 random bytes.
func NewSecret() Secret {
	b := make([]byte, newSecret)
	rand.Read(b) // never fails: the runtime aborts when the system has no randomness
	return Secret{func() []byte { return b }}
}

// ParseSecret reads whsec_ and the base64 of 24 to 64 bytes. The error says nothing of the text.
func ParseSecret(text string) (Secret, error) {
	coded, ok := strings.CutPrefix(text, secretPrefix)
	b, err := base64.StdEncoding.Strict().DecodeString(coded)
	if !ok || err != nil || len(b) < minSecret || len(b) > maxSecret || strings.ContainsAny(coded, "\r\n") {
		return Secret{}, fmt.Errorf("a webhook secret is %s and the base64 of %d to %d bytes", secretPrefix, minSecret,
			maxSecret)
	}
	return Secret{func() []byte { return b }}, nil
}

// Text is the secret as its owner gets it, once.
func (s Secret) Text() string { return secretPrefix + base64.StdEncoding.EncodeToString(s.reveal()) }

// String returns "[redacted]".
func (s Secret) String() string { return "[redacted]" }

// GoString returns "[redacted]".
func (s Secret) GoString() string { return "[redacted]" }

// LogValue returns "[redacted]".
func (s Secret) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// MarshalText returns "[redacted]".
func (s Secret) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }

// Names of the headers, as the specification writes them.
const (
	HeaderID        = "webhook-id"
	HeaderTimestamp = "webhook-timestamp"
	HeaderSignature = "webhook-signature"
)

// Versions of signatures. v1 is HMAC-SHA-256 with the endpoint's secret. v1sm2 is ours: an
// SM2 signature with the instance's webhook key, DER, under [sm.UserID], over the same bytes,
// for receivers that must use national algorithms. The specification lets a header have
// several signatures, and a client skips versions that it does not know.
const (
	versionHMAC = "v1"
	versionSM2  = "v1sm2"
)

// Signer signs with the instance's webhook key. It is safe for concurrent use.
type Signer func(message []byte) ([]byte, error)

// Signed is one message with its headers, ready to be sent.
type Signed struct {
	ID        string
	Timestamp int64 // seconds since 1970: when this attempt was made
	Signature string
	Body      []byte
}

// Sign signs a body for an attempt at a time, once for each secret (there are two while one
// replaces another) and once with the instance's key.
func Sign(id string, at time.Time, body []byte, secrets []Secret, key Signer) (Signed, error) {
	s := Signed{ID: id, Timestamp: at.Unix(), Body: body}
	content := signedContent(id, strconv.FormatInt(s.Timestamp, 10), body)
	var tokens []string
	for _, secret := range secrets {
		h := hmac.New(sha256.New, secret.reveal())
		h.Write(content) // a hash takes everything
		tokens = append(tokens, versionHMAC+","+base64.StdEncoding.EncodeToString(h.Sum(nil)))
	}
	sig, err := key(content)
	if err != nil {
		return s, fmt.Errorf("sign with the webhook key: %w", err)
	}
	s.Signature = strings.Join(append(tokens, versionSM2+","+base64.StdEncoding.EncodeToString(sig)), " ")
	return s, nil
}

// signedContent is id, timestamp and body with full stops between them.
func signedContent(id, timestamp string, body []byte) []byte {
	b := make([]byte, 0, len(id)+len(timestamp)+len(body)+2)
	b = append(append(b, id...), '.')
	b = append(append(b, timestamp...), '.')
	return append(b, body...)
}

// ErrSM2Signature means that no SM2 signature of a message verifies.
var ErrSM2Signature = errors.New("no v1sm2 signature of this message verifies under this key")

// VerifySM2 checks the SM2 signature of a message whose three headers are given. It does not
// judge the timestamp: who checks only this signature must also refuse old ones.
func VerifySM2(key *sm.PublicKey, id, timestamp, signature string, body []byte) error {
	content := signedContent(id, timestamp, body)
	for token := range strings.SplitSeq(signature, " ") {
		version, text, _ := strings.Cut(token, ",")
		if version != versionSM2 {
			continue
		}
		if sig, err := base64.StdEncoding.Strict().DecodeString(text); err == nil && key.Verify(content, sig) {
			return nil
		}
	}
	return ErrSM2Signature
}
