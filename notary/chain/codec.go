package chain

import (
	"encoding/binary"

	"golang.org/x/crypto/cryptobyte"

	"stele/crypto/merkle"
	"stele/notary/proof/anchorproof"
)

// Binary forms of this package are fixed-width big-endian integers and length-prefixed
// strings, so a value has one encoding. Trailing bytes are refused by every decoder.

// key builds a state key from a prefix and a number.
func key(prefix string, n uint64) string {
	return string(binary.BigEndian.AppendUint64([]byte(prefix), n))
}

// keyNumber reads the number at the end of a state key.
func keyNumber(k []byte) uint64 { return binary.BigEndian.Uint64(k[len(k)-8:]) }

func addString(b *cryptobyte.Builder, s string) {
	b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(s)) })
}

func readString(in *cryptobyte.String, out *string) bool {
	var s cryptobyte.String
	ok := in.ReadUint8LengthPrefixed(&s)
	*out = string(s)
	return ok
}

func readBytes(in *cryptobyte.String, out *[]byte) bool {
	var s string
	ok := readString(in, &s)
	*out = []byte(s)
	return ok
}

func readHash(in *cryptobyte.String, out *merkle.Hash) bool { return in.CopyBytes(out[:]) }

func addHashes(b *cryptobyte.Builder, hs []merkle.Hash) {
	b.AddUint8(uint8(len(hs)))
	for _, h := range hs {
		b.AddBytes(h[:])
	}
}

// readHashes reads a count of at most merkle.MaxPath and that many hashes.
func readHashes(in *cryptobyte.String, out *[]merkle.Hash) bool {
	var n uint8
	if !in.ReadUint8(&n) || n > merkle.MaxPath {
		return false
	}
	*out = make([]merkle.Hash, n)
	for i := range *out {
		if !readHash(in, &(*out)[i]) {
			return false
		}
	}
	return true
}

func addCosignatures(b *cryptobyte.Builder, sigs []anchorproof.Cosignature) {
	b.AddUint8(uint8(len(sigs)))
	for _, s := range sigs {
		b.AddUint8(uint8(s.Validator))
		addString(b, string(s.Signature))
	}
}

func readCosignatures(in *cryptobyte.String, out *[]anchorproof.Cosignature) bool {
	var n uint8
	if !in.ReadUint8(&n) || n > anchorproof.MaxValidators {
		return false
	}
	*out = make([]anchorproof.Cosignature, n)
	for i := range *out {
		var v uint8
		if !in.ReadUint8(&v) || !readBytes(in, &(*out)[i].Signature) {
			return false
		}
		(*out)[i].Validator = int(v)
	}
	return true
}
