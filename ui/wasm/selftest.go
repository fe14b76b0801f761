//go:build js && wasm

package main

import (
	"bytes"
	_ "embed"

	"stele/crypto/sm"
	"stele/notary/proof"
)

// The smallest genuine test vector. A test compares the files with the vector's.
var (
	//go:embed selftest/trust.json
	knownTrust []byte
	//go:embed selftest/bundle.json
	knownBundle []byte
	//go:embed selftest/document.pdf
	knownDocument []byte
)

// knownDigest is the first example of GB/T 32905 appendix A.
const knownDigest = "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0" // of "abc"

// selfTest reports whether this machine computes as it should: known evidence is genuine,
// and with one bit changed it is not. A browser with a broken compiler must not call a
// genuine document a forgery, nor a forgery genuine.
func selfTest() bool {
	trust, err := proof.ParseTrust(knownTrust)
	if err != nil || sm.Sum([]byte("abc")).String() != knownDigest {
		return false
	}
	digest := sm.Sum(knownDocument)
	if proof.Verify(trust, &digest, knownBundle).Verdict != proof.Genuine {
		return false
	}
	b, err := proof.ParseBundle(bytes.Clone(knownBundle))
	if err != nil {
		return false
	}
	b.Signature[len(b.Signature)-1] ^= 1
	return proof.Verify(trust, &digest, b.Encode()).Verdict == proof.Invalid
}

// warmUp goes through a verification some more times: a browser compiles what is called when
// it is called first, and compiles well only what is called often. A person who waits should
// not wait for that.
func warmUp() {
	digest := sm.Sum(knownDocument)
	for range warmUps {
		if trust, err := proof.ParseTrust(knownTrust); err == nil {
			proof.Verify(trust, &digest, knownBundle)
		}
	}
}

// warmUps is how often: in Chromium the first verification took three times as long as later
// ones without any. BenchmarkBrowser prints both.
const warmUps = 8
