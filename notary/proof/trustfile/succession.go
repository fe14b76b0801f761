package trustfile

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"stele/crypto/pki"
	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/canonical"
)

// Formats of a root's succession: the values of the first keys of its statement and of the file.
const (
	SuccessionType    = "stele/root-succession/v1"
	SuccessionsFormat = "stele/root-successions/v1"
)

// Limits of a file of successions.
const (
	MaxSuccessionsSize = 1 << 20 // bytes
	MaxSuccessions     = 64
	maxSuccession      = 256 << 10 // bytes of a statement
)

// ErrSuccession is wrapped by every error about a succession that does not hold.
var ErrSuccession = errors.New("the succession of a root does not hold")

// Succession says that a root follows another one: whoever believes the former may believe this one, for the same
// agencies. docs/formats.md section 19 has its form.
type Succession struct {
	Former sm.Digest // SM3 of the former root's DER
	Root   []byte    // DER of the root that follows
	// Codes, Regions and Logs say for whom the two speak, where trust roots let the former speak for everybody; see
	// [proof.TrustedRoot]. Sorted. Logs are not empty, and one of the other two is not.
	Codes, Regions, Logs []string
	At                   time.Time // to the second, within the validity of the root that follows
}

// Encode returns the bytes that both roots sign.
func (s Succession) Encode() []byte {
	b := []byte(`{"type":"` + SuccessionType + `","former":"` + s.Former.String() + `","root":`)
	b = canonical.AppendBytes(b, s.Root)
	b = canonical.AppendStrings(b, "codes", s.Codes)
	b = canonical.AppendStrings(b, "regions", s.Regions)
	b = canonical.AppendStrings(b, "logs", s.Logs)
	return append(append(b, `,"at":"`+stamp(s.At)...), `"}`...)
}

// ParseSuccession is the inverse of [Succession.Encode] and takes no other spelling. It checks the root that follows
// and for whom it speaks, and no signature.
func ParseSuccession(text []byte) (Succession, error) {
	var w struct {
		Type    string   `json:"type"`
		Former  string   `json:"former"`
		Root    []byte   `json:"root"`
		Codes   []string `json:"codes"`
		Regions []string `json:"regions"`
		Logs    []string `json:"logs"`
		At      string   `json:"at"`
	}
	if err := canonical.Decode(text, maxSuccession, &w); err != nil {
		return Succession{}, fmt.Errorf("%w: %w", ErrSuccession, err)
	}
	former, err := sm.ParseDigest(w.Former)
	at, err2 := time.Parse(time.RFC3339, w.At)
	if err := errors.Join(err, err2); err != nil || w.Type != SuccessionType {
		return Succession{}, fmt.Errorf("%w: type %q, an SM3 and a time are expected", ErrSuccession, SuccessionType)
	}
	s := Succession{Former: former, Root: w.Root, Codes: w.Codes, Regions: w.Regions, Logs: w.Logs, At: at.UTC()}
	if err := canonical.Check(text, s.Encode()); err != nil {
		return s, fmt.Errorf("%w: %w", ErrSuccession, err)
	}
	return s, s.check()
}

func (s Succession) check() error {
	_, err := pki.VerifyRoot(s.Root)
	switch {
	case err != nil:
		return fmt.Errorf("%w: the root that follows: %w", ErrSuccession, err)
	case sm.Sum(s.Root) == s.Former:
		return fmt.Errorf("%w: a root follows itself", ErrSuccession)
	case len(s.Logs) == 0 || len(s.Codes)+len(s.Regions) == 0:
		return fmt.Errorf("%w: it does not say for which agencies and logs the two roots speak", ErrSuccession)
	}
	scope := proof.TrustedRoot{Codes: s.Codes, Regions: s.Regions, Logs: s.Logs}
	if err := scope.ValidScope(); err != nil {
		return fmt.Errorf("%w: %w", ErrSuccession, err)
	}
	return nil
}

// SignedSuccession is a statement with the signatures of both roots: the former one's says whom to believe next, the
// new one's that its key exists and takes part. A signature may lack while they are collected.
type SignedSuccession struct {
	Statement       []byte `json:"statement"`
	FormerSignature []byte `json:"formerSignature"` // DER
	Signature       []byte `json:"signature"`       // DER, by the root that follows
}

// EncodeSuccessions writes a file of successions, the oldest first.
func EncodeSuccessions(list []SignedSuccession) []byte {
	b := []byte(`{"format":"` + SuccessionsFormat + `","successions":`)
	b = canonical.AppendList(b, list, func(b []byte, s SignedSuccession) []byte {
		b = append(b, `{"statement":`...)
		b = canonical.AppendBytes(b, s.Statement)
		b = append(b, `,"formerSignature":`...)
		b = canonical.AppendBytes(b, s.FormerSignature)
		b = append(b, `,"signature":`...)
		b = canonical.AppendBytes(b, s.Signature)
		return append(b, '}')
	})
	return append(b, '}')
}

// IsSuccessions reports whether a file begins as one of successions does.
func IsSuccessions(file []byte) bool {
	return bytes.HasPrefix(file, []byte(`{"format":"`+SuccessionsFormat+`"`))
}

// ParseSuccessions reads a file of successions; one line feed at the end is allowed. Their statements are in form;
// signatures are checked by [Succeed].
func ParseSuccessions(file []byte) ([]SignedSuccession, error) {
	file = bytes.TrimSuffix(file, []byte("\n"))
	var w struct {
		Format      string             `json:"format"`
		Successions []SignedSuccession `json:"successions"`
	}
	if err := canonical.Decode(file, MaxSuccessionsSize, &w); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSuccession, err)
	}
	if w.Format != SuccessionsFormat || len(w.Successions) > MaxSuccessions {
		return nil, fmt.Errorf("%w: format %q and at most %d successions are expected", ErrSuccession,
			SuccessionsFormat, MaxSuccessions)
	}
	if err := canonical.Check(file, EncodeSuccessions(w.Successions)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSuccession, err)
	}
	for i, s := range w.Successions {
		if _, err := ParseSuccession(s.Statement); err != nil {
			return nil, fmt.Errorf("succession %d: %w", i+1, err)
		}
	}
	return w.Successions, nil
}

// Verify checks that both roots have signed, given the former one in DER.
func (s SignedSuccession) Verify(said Succession, former []byte) error {
	for _, by := range []struct {
		what           string
		der, signature []byte
	}{{"the former root", former, s.FormerSignature}, {"the root that follows", said.Root, s.Signature}} {
		c, err := pki.Parse(by.der)
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrSuccession, by.what, err)
		}
		if s := said.At; s.Before(c.NotBefore()) || s.After(c.NotAfter()) {
			return fmt.Errorf("%w: %s is not valid at %s, when it was made", ErrSuccession, by.what, stamp(s))
		}
		if len(by.signature) == 0 {
			return fmt.Errorf("%w: %s has not signed it yet", ErrSuccession, by.what)
		}
		if !c.PublicKey().Verify(s.Statement, by.signature) {
			return fmt.Errorf("%w: the signature of %s does not verify", ErrSuccession, by.what)
		}
	}
	return nil
}

// Succeed pins the roots that follow the pinned ones, by the word of these, and returns them with the new trust
// roots, which are in version 2. A root that follows speaks for whom the former one speaks; where that is everybody,
// both speak for whom the succession says, since of several roots each must say so. Nothing is removed: evidence
// under the former root is to hold. A succession of a root that is not pinned is passed over, as is one that
// is done; none that applies may be wrong.
func Succeed(t *proof.Trust, list []SignedSuccession) (*proof.Trust, []Succession, error) {
	up := Upgrade(t)
	var done []Succession
	for i, signed := range list {
		said, err := ParseSuccession(signed.Statement)
		if err != nil {
			return nil, nil, fmt.Errorf("succession %d: %w", i+1, err)
		}
		at := slices.IndexFunc(up.Roots, func(r proof.TrustedRoot) bool { return sm.Sum(r.DER) == said.Former })
		known := slices.ContainsFunc(up.Roots, func(r proof.TrustedRoot) bool { return bytes.Equal(r.DER, said.Root) })
		if at < 0 || known {
			continue
		}
		former := &up.Roots[at]
		if err := signed.Verify(said, former.DER); err != nil {
			return nil, nil, fmt.Errorf("succession %d: %w", i+1, err)
		}
		if err := said.narrow(former, up); err != nil {
			return nil, nil, fmt.Errorf("succession %d: %w", i+1, err)
		}
		next := *former
		next.DER = said.Root
		up.Roots = append(up.Roots, next)
		done = append(done, said)
	}
	if len(done) == 0 {
		return t, nil, nil
	}
	up, err := checked(up)
	return up, done, err
}

// narrow says for whom the former root speaks, as far as the trust roots leave that open.
func (s Succession) narrow(former *proof.TrustedRoot, t *proof.Trust) error {
	if len(former.Codes)+len(former.Regions) == 0 {
		former.Codes, former.Regions = s.Codes, s.Regions
	}
	if len(former.Logs) > 0 {
		return nil
	}
	for _, origin := range s.Logs {
		if t.LogKey(origin) != nil {
			former.Logs = append(former.Logs, origin)
		}
	}
	if len(former.Logs) == 0 {
		return fmt.Errorf("%w: the trust roots have none of its logs %q", ErrSuccession, s.Logs)
	}
	return nil
}

// Line says for a person what a succession says.
func (s Succession) Line() string {
	root, err := pki.Parse(s.Root)
	if err != nil {
		return ErrSuccession.Error()
	}
	return fmt.Sprintf("the root with the SM3 %s is followed by that of %s with the SM3 %s, valid from %s to %s, "+
		"which speaks for the same agencies; trust roots that did not say which let both speak for codes [%s] and "+
		"regions [%s] in the logs [%s]", s.Former, root.Subject().Organization, sm.Sum(s.Root),
		root.NotBefore().Format(time.DateOnly), root.NotAfter().Format(time.DateOnly), strings.Join(s.Codes, " "),
		strings.Join(s.Regions, " "), strings.Join(s.Logs, " "))
}
