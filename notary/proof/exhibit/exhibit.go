// Package exhibit takes a bundle that [proof.Verify] has been run on apart: for experts, who
// get every signed or hashed value by itself with the OpenSSL commands that check it, and for
// everybody, who gets a picture of the way from the document up to the cities that cosigned.
// Package evidence makes the files of a court's package from the same parts.
//
// It decides nothing: what it shows is worth what the report says. It is pure, as
// package proof is, and runs on the server and in the browser alike.
package exhibit

import (
	"fmt"

	"stele/notary/proof"
)

// Exhibit is a bundle taken apart. It is immutable once made.
type Exhibit struct {
	Bundle   *proof.Bundle
	Sections []*Section // the record's own, then the one that revoked or replaced it, if any
}

// New takes a bundle apart that holds under these trust roots: one with the verdict genuine,
// pending, altered, revoked or superseded, or one that lacks nothing but the document. On
// others it fails as a rule.
func New(trust *proof.Trust, bundle []byte) (*Exhibit, error) {
	b, _, err := proof.ReadBundle(bundle)
	if err != nil {
		return nil, err
	}
	own, err := take(trust, "", &b.Evidence)
	if err != nil {
		return nil, err
	}
	x := &Exhibit{Bundle: b, Sections: []*Section{own}}
	if b.Standing != nil {
		later, err := take(trust, "standing/", b.Standing)
		if err != nil {
			return nil, fmt.Errorf("standing: %w", err)
		}
		x.Sections = append(x.Sections, later)
	}
	return x, nil
}

// Words is the text of a key in the reader's language, with its {places} filled from pairs of
// name and value.
type Words func(key string, pairs ...string) string
