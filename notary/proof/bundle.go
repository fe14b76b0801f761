// Package proof is everything that is needed to check one record offline: the bundle, the
// trust roots, and [Verify], the only place that decides a verdict. The page (as WASM), the
// command lines and the API all call it.
//
// It is pure: no clock, no network, no files. Formats are canonical (package canonical).
package proof

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"stele/crypto/merkle"
	"stele/crypto/sm"
	"stele/notary/proof/canonical"
	"stele/notary/proof/statement"
)

// Formats of bundles: the value of the first key. Version 2 is version 1 with a consistency
// proof, a status or both; a bundle with neither is written as version 1.
const (
	BundleV1 = "stele/bundle/v1"
	BundleV2 = "stele/bundle/v2"
)

// Limits of both versions.
const (
	MaxBundleSize   = 1 << 20 // bytes
	maxCertificates = 4
	maxAnchors      = 16
)

// Bundle is the decoded form of a bundle.
type Bundle struct {
	Evidence
	UserID string
	Fields []Disclosed // attributes shown, sorted by name; what is missing is withheld or erased
	// Consistency shows another checkpoint to be of the same history, or is nil.
	Consistency *Consistency
	Status      *StatusProof // what the log says of the record's standing, or nil
	Standing    *Evidence    // the revoking or superseding entry, or nil
}

// format is the version that a bundle is written in.
func (b *Bundle) format() string {
	if b.Consistency != nil || b.Status != nil {
		return BundleV2
	}
	return BundleV1
}

// Evidence is an entry with what proves it: who signed, where in the log, which anchors.
type Evidence struct {
	Statement    []byte
	Signature    []byte   // DER
	Certificates [][]byte // DER, signer first, each followed by its issuer, the root last
	Log          LogProof
	Anchors      []json.RawMessage // each an object with its own "kind", about Log.Checkpoint
}

// LogProof places an entry in the log.
type LogProof struct {
	Index      uint64
	Path       []merkle.Hash
	Checkpoint []byte // signed note
}

// Disclosed opens the commitment to one attribute.
type Disclosed struct {
	Name  string
	Salt  []byte // statement.SaltSize bytes
	Value string // UTF-8, at most statement.MaxValue bytes
}

// ErrBundle is wrapped by every error about a bundle's form.
var ErrBundle = errors.New("malformed bundle")

// Encode writes the bundle in its one spelling. It does not check that it proves anything.
func (b *Bundle) Encode() []byte {
	out := append([]byte(nil), `{"format":"`+b.format()+`",`...)
	out = appendSigned(out, &b.Evidence, func(out []byte) []byte {
		out = append(out, `"userId":`...)
		out = canonical.AppendString(out, b.UserID)
		return append(out, ',')
	})
	out = append(out, `,"fields":{`...)
	for i, f := range b.Fields {
		if i > 0 {
			out = append(out, ',')
		}
		out = canonical.AppendString(out, f.Name)
		out = append(out, `:{"salt":`...)
		out = canonical.AppendBytes(out, f.Salt)
		out = append(out, `,"value":`...)
		out = canonical.AppendString(out, f.Value)
		out = append(out, '}')
	}
	out = append(out, `},`...)
	out = appendProof(out, &b.Evidence)
	if b.Consistency != nil {
		out = append(out, `,"consistency":`...)
		out = b.Consistency.append(out)
	}
	if b.Status != nil {
		out = append(out, `,"status":`...)
		out = b.Status.append(out)
	}
	if b.Standing != nil {
		out = append(out, `,"standing":{`...)
		out = appendSigned(out, b.Standing, nil)
		out = append(out, ',')
		out = appendProof(out, b.Standing)
		out = append(out, '}')
	}
	return append(out, '}')
}

func appendSigned(out []byte, e *Evidence, between func([]byte) []byte) []byte {
	out = append(out, `"statement":`...)
	out = canonical.AppendBytes(out, e.Statement)
	out = append(out, `,"signature":`...)
	out = canonical.AppendBytes(out, e.Signature)
	out = append(out, ',')
	if between != nil {
		out = between(out)
	}
	out = append(out, `"certificates":`...)
	return canonical.AppendList(out, e.Certificates, canonical.AppendBytes)
}

func appendProof(out []byte, e *Evidence) []byte { return appendPlace(out, e.Log, e.Anchors) }

func appendPlace(out []byte, log LogProof, anchors []json.RawMessage) []byte {
	out = append(out, `"log":{"index":`...)
	out = canonical.AppendInt(out, log.Index)
	out = append(out, `,"path":`...)
	out = appendPath(out, log.Path)
	out = append(out, `,"checkpoint":`...)
	out = canonical.AppendString(out, string(log.Checkpoint))
	out = append(out, `},"anchors":`...)
	return appendAnchors(out, anchors)
}

func appendPath(out []byte, path []merkle.Hash) []byte {
	return canonical.AppendList(out, path, func(b []byte, h merkle.Hash) []byte {
		return canonical.AppendBytes(b, h[:])
	})
}

func appendAnchors(out []byte, anchors []json.RawMessage) []byte {
	return canonical.AppendList(out, anchors, func(b []byte, a json.RawMessage) []byte { return append(b, a...) })
}

type wireBundle struct {
	Format string `json:"format"`
	UserID string `json:"userId"`
	wireEvidence
	Fields      map[string]wireField `json:"fields"`
	Consistency *wireConsistency     `json:"consistency"`
	Status      *wireStatus          `json:"status"`
	Standing    *wireEvidence        `json:"standing"`
}

type wireEvidence struct {
	Statement    []byte            `json:"statement"`
	Signature    []byte            `json:"signature"`
	Certificates [][]byte          `json:"certificates"`
	Log          wireLog           `json:"log"`
	Anchors      []json.RawMessage `json:"anchors"`
}

type wireLog struct {
	Index      uint64   `json:"index"`
	Path       [][]byte `json:"path"`
	Checkpoint string   `json:"checkpoint"`
}

type wireField struct {
	Salt  []byte `json:"salt"`
	Value string `json:"value"`
}

// ReadBundle reads a bundle, also one that another program saved anew, which it reports.
func ReadBundle(data []byte) (b *Bundle, resaved bool, err error) {
	if b, err = ParseBundle(data); err == nil {
		return b, false, nil
	}
	text, restoreErr := canonical.Restore(data, MaxBundleSize)
	if restoreErr != nil {
		return nil, false, err
	}
	if b, again := ParseBundle(text); again == nil {
		return b, true, nil
	}
	return nil, false, err
}

// ParseBundle is the inverse of [Bundle.Encode] and accepts no other spelling. It checks
// the form alone; [Verify] checks what the bundle claims.
func ParseBundle(data []byte) (*Bundle, error) {
	var w wireBundle
	if err := canonical.Decode(data, MaxBundleSize, &w); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrBundle, err)
	}
	if w.Format != BundleV1 && w.Format != BundleV2 {
		return nil, fmt.Errorf("%w: format must be %q or %q", ErrBundle, BundleV1, BundleV2)
	}
	b := &Bundle{UserID: w.UserID}
	var err error
	if b.Evidence, err = w.wireEvidence.evidence(); err != nil {
		return nil, err
	}
	if w.Consistency != nil {
		if b.Consistency, err = w.Consistency.consistency(); err != nil {
			return nil, fmt.Errorf("consistency: %w", err)
		}
	}
	if w.Status != nil {
		if b.Status, err = w.Status.status(); err != nil {
			return nil, fmt.Errorf("status: %w", err)
		}
	}
	if w.Standing != nil {
		s, err := w.Standing.evidence()
		if err != nil {
			return nil, fmt.Errorf("standing: %w", err)
		}
		b.Standing = &s
	}
	// In sorted order, so that the first error is the same one every time.
	for _, name := range slices.Sorted(maps.Keys(w.Fields)) {
		f := w.Fields[name]
		if !statement.ValidFieldName(name) || len(f.Salt) != statement.SaltSize || len(f.Value) > statement.MaxValue {
			return nil, fmt.Errorf(
				"%w: field %q: a name, a salt of %d bytes and a value of at most %d bytes are expected",
				ErrBundle, name, statement.SaltSize, statement.MaxValue)
		}
		b.Fields = append(b.Fields, Disclosed{Name: name, Salt: f.Salt, Value: f.Value})
	}
	if err := canonical.Check(data, b.Encode()); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrBundle, err)
	}
	return b, nil
}

func (w *wireEvidence) evidence() (Evidence, error) {
	e := Evidence{Statement: w.Statement, Signature: w.Signature, Certificates: w.Certificates, Anchors: w.Anchors}
	switch {
	case len(e.Statement) == 0 || len(e.Statement) > statement.MaxSize:
		return e, fmt.Errorf("%w: statement must have 1 to %d bytes", ErrBundle, statement.MaxSize)
	case len(e.Signature) == 0 || len(e.Signature) > sm.MaxSignatureSize:
		return e, fmt.Errorf("%w: signature must have 1 to %d bytes", ErrBundle, sm.MaxSignatureSize)
	case len(e.Certificates) == 0 || len(e.Certificates) > maxCertificates:
		return e, fmt.Errorf("%w: 1 to %d certificates are expected", ErrBundle, maxCertificates)
	}
	if err := checkAnchors(e.Anchors); err != nil {
		return e, err
	}
	var err error
	e.Log, err = w.Log.place()
	return e, err
}

func (w wireLog) place() (LogProof, error) {
	if w.Index > canonical.MaxInt {
		return LogProof{}, fmt.Errorf("%w: index is out of range", ErrBundle)
	}
	path, err := readPath(w.Path)
	return LogProof{Index: w.Index, Path: path, Checkpoint: []byte(w.Checkpoint)}, err
}

// checkAnchors looks at the form of anchors. They stand in the bundle as they are; evidence of a
// kind that is not looked into must not bring white space, a second spelling, into it.
func checkAnchors(anchors []json.RawMessage) error {
	if len(anchors) > maxAnchors {
		return fmt.Errorf("%w: at most %d anchors are expected", ErrBundle, maxAnchors)
	}
	for i, a := range anchors {
		var compact bytes.Buffer
		if err := json.Compact(&compact, a); err != nil || !bytes.Equal(compact.Bytes(), a) || anchorKind(a) == "" {
			return fmt.Errorf("%w: anchor %d: an object without white space that begins with a known kind is expected",
				ErrBundle, i)
		}
	}
	return nil
}

func readPath(wire [][]byte) ([]merkle.Hash, error) {
	if len(wire) > merkle.MaxPath {
		return nil, fmt.Errorf("%w: a path has at most %d hashes", ErrBundle, merkle.MaxPath)
	}
	var path []merkle.Hash
	for _, h := range wire {
		if len(h) != merkle.HashSize {
			return nil, fmt.Errorf("%w: a hash on the path has %d bytes", ErrBundle, merkle.HashSize)
		}
		path = append(path, merkle.Hash(h))
	}
	return path, nil
}

// LeafHash is the log leaf of the evidence's entry.
func (e *Evidence) LeafHash() merkle.Hash {
	return statement.Entry{Statement: e.Statement, Signature: e.Signature,
		Certificate: sm.Sum(e.Certificates[0])}.LeafHash()
}

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
