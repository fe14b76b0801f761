package proof

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"stele/crypto/sm"
	"stele/notary/proof/checkpoint"
	"stele/notary/proof/status"
)

// LogStatus is what a bundle has under "status" without what is about one record: a status statement, its place as
// the last entry under a checkpoint, and who vouches for the time of that. It serves whoever watches a log.
type LogStatus struct {
	Statement []byte   // see [status.Statement]
	Signature []byte   // DER, over the statement
	Key       string   // text of the log's key that signed
	Log       LogProof // of the statement's entry
	Anchors   []json.RawMessage
}

// Vouched is what a [LogStatus] that holds says.
type Vouched struct {
	Statement  status.Statement
	Checkpoint checkpoint.Checkpoint // of Size+1 entries
	At         time.Time             // when the statement was the last entry, by the word of who vouches
	By         string                // the chain, or the application behind a gateway
	Strength   string                // [SelfProving] or [Attested]
}

// ErrUntrusted means that the trust roots lack what is needed: nothing is said about what was to be checked.
var ErrUntrusted = errors.New("the trust roots do not suffice")

// ErrKeyNotValid means that a key of the log which the trust roots name was not valid when what it signed was anchored.
var ErrKeyNotValid = errors.New("not signed with a key that was the log's then")

// VerifyLogStatus checks a log's status as a bundle's is checked (docs/formats.md section 9, step 12), but for what
// is about a record. It does not ask whether the map follows from the entries before: who has them all can. The
// error wraps [ErrUntrusted] where the trust roots, or the anchors, leave it open, and [ErrKeyNotValid].
func VerifyLogStatus(t *Trust, origin string, s LogStatus) (Vouched, error) {
	if len(s.Signature) == 0 || len(s.Signature) > sm.MaxSignatureSize {
		return Vouched{}, fmt.Errorf("the signature must have 1 to %d bytes", sm.MaxSignatureSize)
	}
	if err := checkAnchors(s.Anchors); err != nil {
		return Vouched{}, err
	}
	q, bad := readStatus(&StatusProof{Statement: s.Statement, Signature: s.Signature, Key: s.Key, Log: s.Log,
		Anchors: s.Anchors})
	if bad == nil {
		bad = q.place(nil, origin)
	}
	var held []anchored
	if bad == nil {
		v := verifier{trust: t, report: &Report{}}
		held, bad = v.vouched(q)
	}
	switch {
	case bad != nil && bad.status == NotChecked:
		return Vouched{}, fmt.Errorf("%w: %s", ErrUntrusted, bad.detail)
	case bad != nil && bad.reason == keyNotValid:
		return Vouched{}, fmt.Errorf("%w: %s", ErrKeyNotValid, bad.detail)
	case bad != nil:
		return Vouched{}, errors.New(bad.detail)
	}
	h := headlineOf(held)
	return Vouched{Statement: q.statement, Checkpoint: q.checkpoint, At: h.at, By: h.report.Chain,
		Strength: h.report.Strength}, nil
}

// VerifyAnchoredCheckpoint checks a checkpoint of a log with its anchors, of which one at least must hold, and
// returns when it was there by the earliest of them. Nothing is asked of the entries under it. The error wraps
// [ErrUntrusted] where the trust roots leave it open.
func VerifyAnchoredCheckpoint(t *Trust, note []byte, anchors []json.RawMessage) (checkpoint.Checkpoint, time.Time,
	error) {
	c, err := checkpoint.ParseUnsafe(note) // the signature is checked below
	if err == nil {
		err = checkAnchors(anchors)
	}
	if err != nil {
		return c, time.Time{}, err
	}
	v := verifier{trust: t, report: &Report{}}
	held, bad := v.beside("The checkpoint", note, c, anchors, nil)
	switch {
	case bad != nil && bad.status == NotChecked:
		return c, time.Time{}, fmt.Errorf("%w: %s", ErrUntrusted, bad.detail)
	case bad != nil:
		return c, time.Time{}, errors.New(bad.detail)
	case len(held) == 0:
		return c, time.Time{}, fmt.Errorf("%w: no chain vouches for the checkpoint", ErrUntrusted)
	}
	return c, headlineOf(held).at, nil
}
