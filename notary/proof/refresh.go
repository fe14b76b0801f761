package proof

import (
	"bytes"
	"errors"
)

// ErrOtherRecord means that two bundles are not of the same statement.
var ErrOtherRecord = errors.New("the two bundles are of different records")

// Refresh returns a bundle that somebody holds with the evidence of a fresh one of the same record: what became of it
// since, and what the log says of its standing. The attributes that the holder shows stay, and no others come. Nothing
// is verified: the result is to be, as any bundle. Errors are those of [ReadBundle], or [ErrOtherRecord].
func Refresh(held, fresh []byte) ([]byte, error) {
	kept, _, err := ReadBundle(held)
	if err != nil {
		return nil, err
	}
	b, _, err := ReadBundle(fresh)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(b.Statement, kept.Statement) {
		return nil, ErrOtherRecord
	}
	b.Fields = kept.Fields
	return b.Encode(), nil
}
