package trustfile

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"stele/crypto/signednote"
	"stele/crypto/sm"
	"stele/notary/proof"
)

// SignatureFormat is the first line of a signature's text.
const SignatureFormat = "stele/trust-signature/v1"

// ErrSignature is wrapped by every error of [Check] and [ParseSignature].
var ErrSignature = errors.New("the trust roots are not signed as they should be")

// Signature is what a trust file's signature says: a key's holder had this very file at a time by
// the holder's own clock. docs/formats.md section 15 has its form.
type Signature struct {
	SM3 sm.Digest // of the file, without the line feed at its end
	At  time.Time // to the second, years 0001 to 9999
}

// digest is what is signed of a file. One line feed at the end does not count: whether it is
// there says nothing about the trust roots.
func digest(file []byte) sm.Digest { return sm.Sum(bytes.TrimSuffix(file, []byte("\n"))) }

// Text is what is signed.
func (s Signature) Text() string {
	return fmt.Sprintf("%s\n%s\n%s\n", SignatureFormat, s.SM3, stamp(s.At))
}

// ParseSignature is the inverse of [Signature.Text] and takes no other spelling.
func ParseSignature(text string) (Signature, error) {
	var s Signature
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[0] != SignatureFormat {
		return s, fmt.Errorf("%w: this is no signature of trust roots", ErrSignature)
	}
	var err1, err2 error
	s.SM3, err1 = sm.ParseDigest(lines[1])
	s.At, err2 = time.Parse(time.RFC3339, lines[2])
	s.At = s.At.UTC()
	if err := errors.Join(err1, err2); err != nil || s.Text() != text || s.At.Year() < 1 {
		return Signature{}, fmt.Errorf("%w: the signature is malformed", ErrSignature)
	}
	return s, nil
}

// Sign signs a trust file, which must be one that verifiers take, in its canonical bytes.
func Sign(file []byte, key *signednote.Signer, at time.Time) ([]byte, error) {
	t, err := proof.ParseTrust(file)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(t.Encode(), bytes.TrimSuffix(file, []byte("\n"))) {
		return nil, errors.New("another program saved the trust roots anew: sign the file as it was made")
	}
	note, err := signednote.Sign(Signature{SM3: digest(file), At: at}.Text(), key)
	if err != nil {
		return nil, err
	}
	if _, err := Check(file, note, &key.Verifier); err != nil { // nothing leaves that does not verify
		return nil, err
	}
	return note, nil
}

// Check demands that a signature file is this key's, of this very trust file.
func Check(file, signature []byte, key *signednote.Verifier) (Signature, error) {
	text, _, err := signednote.Open(signature, key)
	if err != nil {
		return Signature{}, fmt.Errorf("%w: the signature is not by the key %s, or it is damaged",
			ErrSignature, signednote.FormatKey(key.Name(), key.Key()))
	}
	s, err := ParseSignature(text)
	if err != nil {
		return Signature{}, err
	}
	if s.SM3 != digest(file) {
		return Signature{}, fmt.Errorf("%w: %s signed another file on %s, with SM3 %s; get that one, as it was made",
			ErrSignature, key.Name(), stamp(s.At), s.SM3)
	}
	return s, nil
}
