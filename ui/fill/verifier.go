package fill

import (
	"bytes"
	"encoding/base64"
)

// verifierMark stands for the verifier in verify.html as a program embeds it: that has the verifier
// already, for the public page.
const verifierMark = "@verifier@"

// WithVerifier puts the verifier into verify.html. It returns false where there is no one place for it.
func WithVerifier(page, verifier []byte) ([]byte, bool) {
	return swap(page, verifierMark, base64.StdEncoding.EncodeToString(verifier))
}

// WithoutVerifier takes it out again.
func WithoutVerifier(page, verifier []byte) ([]byte, bool) {
	return swap(page, base64.StdEncoding.EncodeToString(verifier), verifierMark)
}

func swap(page []byte, from, to string) ([]byte, bool) {
	return bytes.Replace(page, []byte(from), []byte(to), 1), bytes.Count(page, []byte(from)) == 1
}
