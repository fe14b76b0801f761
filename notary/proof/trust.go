package proof

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"stele/crypto/pki"
	"stele/crypto/signednote"
	"stele/notary/anchorproof"
	"stele/notary/bsnproof"
	"stele/notary/canonical"
	"stele/notary/gateway"
)

// TrustFormat is the value of a trust file's first key.
const TrustFormat = "stele/trust/v1"

// MaxTrustSize is the longest trust file in bytes.
const MaxTrustSize = 4 << 20

// Kinds of anchors that bundle v1 may carry. Any other kind makes a bundle malformed.
const (
	KindEgov      = anchorproof.Kind
	KindBSNFabric = bsnproof.KindFabric
	KindBSNFISCO  = bsnproof.KindFISCO
)

// Trust is what a verifier pins. It is immutable once parsed and safe for concurrent use.
type Trust struct {
	Roots    [][]byte // DER root certificates
	Logs     []TrustedLog
	Chains   []TrustedChain
	Gateways []TrustedGateway
}

// TrustedLog is a log key with the time in which it may have signed. A zero NotAfter is open.
type TrustedLog struct {
	Key       *signednote.Verifier
	NotBefore time.Time
	NotAfter  time.Time
}

// TrustedChain is an e-government chain, known by its first validator set.
type TrustedChain struct {
	Genesis anchorproof.Epoch
}

// TrustedGateway is a key that a BSN gateway signs answers about an application with. After a
// change of keys an application has several.
type TrustedGateway struct {
	Kind string // of the evidence
	App  string // app code; address of the base contract under FISCO BCOS
	Name string // what people call the chain behind it
	Key  *gateway.PublicKey
}

// ErrTrust is wrapped by every error about a trust file's form.
var ErrTrust = errors.New("malformed trust roots")

const trustTime = time.RFC3339

// Encode writes the trust file in its one spelling:
//
//	{"format":"stele/trust/v1","roots":[b64 DER,…],
//	 "logs":[{"key":"<name>+<id>+<b64>","notBefore":"<RFC 3339>"[,"notAfter":"<RFC 3339>"]},…],
//	 "chains":[{"kind":"stele/egov/v1","genesis":"<epoch text>"},…]
//	 [,"gateways":[{"kind":"bsn/fabric/v1","app":"<name>","name":"<name>","key":"<b64 DER>"},…]]}
func (t *Trust) Encode() []byte {
	b := append([]byte(nil), `{"format":"`+TrustFormat+`","roots":`...)
	b = canonical.AppendList(b, t.Roots, canonical.AppendBytes)
	b = append(b, `,"logs":`...)
	b = canonical.AppendList(b, t.Logs, func(b []byte, l TrustedLog) []byte {
		b = append(b, `{"key":`...)
		b = canonical.AppendString(b, signednote.FormatKey(l.Key.Name(), l.Key.Key()))
		b = append(b, `,"notBefore":"`...)
		b = l.NotBefore.UTC().AppendFormat(b, trustTime)
		if !l.NotAfter.IsZero() {
			b = append(b, `","notAfter":"`...)
			b = l.NotAfter.UTC().AppendFormat(b, trustTime)
		}
		return append(b, `"}`...)
	})
	b = append(b, `,"chains":`...)
	b = canonical.AppendList(b, t.Chains, func(b []byte, c TrustedChain) []byte {
		b = append(b, `{"kind":"`+KindEgov+`","genesis":`...)
		b = canonical.AppendString(b, c.Genesis.Text())
		return append(b, '}')
	})
	if len(t.Gateways) > 0 { // files of those that have none are as they were before there were any
		b = append(b, `,"gateways":`...)
		b = canonical.AppendList(b, t.Gateways, appendGateway)
	}
	return append(b, '}')
}

type wireTrust struct {
	Format string   `json:"format"`
	Roots  [][]byte `json:"roots"`
	Logs   []struct {
		Key       string    `json:"key"`
		NotBefore time.Time `json:"notBefore"`
		NotAfter  time.Time `json:"notAfter"`
	} `json:"logs"`
	Chains []struct {
		Kind    string `json:"kind"`
		Genesis string `json:"genesis"`
	} `json:"chains"`
	Gateways []wireGateway `json:"gateways"`
}

// ParseTrust is the inverse of [Trust.Encode]; one newline at the end is allowed, for files.
func ParseTrust(data []byte) (*Trust, error) {
	if n := len(data); n > 0 && data[n-1] == '\n' {
		data = data[:n-1]
	}
	var w wireTrust
	if err := canonical.Decode(data, MaxTrustSize, &w); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrTrust, err)
	}
	if w.Format != TrustFormat {
		return nil, fmt.Errorf("%w: format must be %q", ErrTrust, TrustFormat)
	}
	t := &Trust{Roots: w.Roots}
	for i, der := range w.Roots {
		if _, err := pki.VerifyRoot(der); err != nil {
			return nil, fmt.Errorf("%w: root certificate %d: %v", ErrTrust, i, err)
		}
		if slices.ContainsFunc(w.Roots[:i], func(r []byte) bool { return bytes.Equal(r, der) }) {
			return nil, fmt.Errorf("%w: root certificate %d stands there twice", ErrTrust, i)
		}
	}
	for i, l := range w.Logs {
		v, err := signednote.ParseKey(l.Key)
		if err != nil {
			return nil, fmt.Errorf("%w: log %d: %v", ErrTrust, i, err)
		}
		if contains(t.LogKeys(v.Name()), v) {
			return nil, fmt.Errorf("%w: log %d: the key stands there twice", ErrTrust, i)
		}
		t.Logs = append(t.Logs, TrustedLog{Key: v, NotBefore: l.NotBefore.UTC(), NotAfter: l.NotAfter.UTC()})
	}
	for i, c := range w.Chains {
		if c.Kind != KindEgov {
			return nil, fmt.Errorf("%w: chain %d: unknown kind %q", ErrTrust, i, c.Kind)
		}
		g, err := anchorproof.ParseEpoch(c.Genesis)
		if err != nil {
			return nil, fmt.Errorf("%w: chain %d: %v", ErrTrust, i, err)
		}
		if g.Number != 0 {
			return nil, fmt.Errorf("%w: chain %d: the pinned epoch must be number 0", ErrTrust, i)
		}
		if _, twice := t.chain(g.Chain); twice {
			return nil, fmt.Errorf("%w: chain %d: the chain id %q stands there twice", ErrTrust, i, g.Chain)
		}
		t.Chains = append(t.Chains, TrustedChain{Genesis: g})
	}
	if err := t.addGateways(w.Gateways); err != nil {
		return nil, err
	}
	if err := canonical.Check(data, t.Encode()); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrTrust, err)
	}
	return t, nil
}

// LogKeys returns the pinned keys of one log, present and former.
func (t *Trust) LogKeys(origin string) []*signednote.Verifier {
	var keys []*signednote.Verifier
	for _, l := range t.Logs {
		if l.Key.Name() == origin {
			keys = append(keys, l.Key)
		}
	}
	return keys
}

// LogKey returns the key of a log whose validity is open, nil when there is none.
func (t *Trust) LogKey(origin string) *signednote.Verifier {
	for _, l := range t.Logs {
		if l.Key.Name() == origin && l.NotAfter.IsZero() {
			return l.Key
		}
	}
	return nil
}

// ChangeLogKey ends the validity of a log's key and begins that of the next, both with some slack
// for clocks that differ. It is for whoever makes trust roots: a trust that others use must not
// be changed.
func (t *Trust) ChangeLogKey(next *signednote.Verifier, at time.Time, slack time.Duration) error {
	if contains(t.LogKeys(next.Name()), next) {
		return fmt.Errorf("%w: the next key of %s stands there already", ErrTrust, next.Name())
	}
	for i, l := range t.Logs {
		if l.Key.Name() == next.Name() && l.NotAfter.IsZero() {
			t.Logs[i].NotAfter = at.Add(slack).UTC()
		}
	}
	t.Logs = append(t.Logs, TrustedLog{Key: next, NotBefore: at.Add(-slack).UTC()})
	return nil
}

// logKeyValid reports whether a pinned key may have made a checkpoint that holds a statement
// of the time from and that was anchored at the time to; to is zero when it was not
// anchored. The moment of the signature itself is not known: it lies between the two.
func (t *Trust) logKeyValid(key *signednote.Verifier, from, to time.Time) bool {
	for _, l := range t.Logs {
		if l.Key.Name() == key.Name() && l.Key.Key().Equal(key.Key()) {
			return (to.IsZero() || !to.Before(l.NotBefore)) && (l.NotAfter.IsZero() || !from.After(l.NotAfter))
		}
	}
	return false
}

// chain returns the pinned genesis of a chain.
func (t *Trust) chain(id string) (anchorproof.Epoch, bool) {
	for _, c := range t.Chains {
		if c.Genesis.Chain == id {
			return c.Genesis, true
		}
	}
	return anchorproof.Epoch{}, false
}
