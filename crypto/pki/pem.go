package pki

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
)

const (
	pemType = "CERTIFICATE"
	// maxPEMSize is the length in bytes of a certificate of MaxSize: 65 characters for 48
	// bytes, and the two lines around them.
	maxPEMSize = MaxSize*65/48 + 128
)

// EncodePEM writes certificates as PEM (RFC 7468 section 5), one block after the other.
func EncodePEM(ders ...[]byte) []byte {
	var out bytes.Buffer
	for _, der := range ders {
		out.Write(pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der}))
	}
	return out.Bytes()
}

// ErrPEM reports text that [EncodePEM] would not have written.
var ErrPEM = errors.New("certificates must be plain PEM: CERTIFICATE blocks with lines of 64 characters, line feeds, " +
	"and nothing before, between or after them")

// DecodePEM is the inverse of [EncodePEM] and accepts nothing else, so that a file cannot
// show one certificate to its reader and another to the program. It demands between one and
// maxCount blocks. The certificates are not parsed.
func DecodePEM(text []byte, maxCount int) ([][]byte, error) {
	if maxCount < 1 || len(text) > maxCount*maxPEMSize {
		return nil, ErrPEM
	}
	var ders [][]byte
	for rest := text; len(rest) > 0; {
		if len(ders) == maxCount {
			return nil, fmt.Errorf("%w (at most %d of them)", ErrPEM, maxCount)
		}
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil || block.Type != pemType || len(block.Headers) != 0 || len(block.Bytes) > MaxSize {
			return nil, ErrPEM
		}
		ders = append(ders, block.Bytes)
	}
	if len(ders) == 0 || !bytes.Equal(EncodePEM(ders...), text) {
		return nil, ErrPEM
	}
	return ders, nil
}
