package proof

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"stele/crypto/pki"
	"stele/crypto/signednote"
	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/bsnproof"
	"stele/notary/proof/canonical"
)

// Formats of trust files: the value of the first key. Version 1 says whom to believe; version 2
// says also who may speak for whom.
const (
	TrustV1 = "stele/trust/v1"
	TrustV2 = "stele/trust/v2"
)

// MaxTrustSize is the longest trust file in bytes.
const MaxTrustSize = 4 << 20

// DefaultLate is how long before the anchor an agency's date may lie before the report warns,
// where the trust roots do not say.
const DefaultLate = 24 * time.Hour

// Kinds of anchors that bundles may carry. Any other kind makes a bundle malformed.
const (
	KindEgov      = anchorproof.Kind
	KindBSNFabric = bsnproof.KindFabric
	KindBSNFISCO  = bsnproof.KindFISCO
)

// Trust is what a verifier pins. It is immutable once parsed and safe for concurrent use.
type Trust struct {
	Format   string        // TrustV1, also where it is empty, or TrustV2
	Late     time.Duration // whole seconds, above zero in version 2; zero stands for DefaultLate
	Roots    []TrustedRoot
	Logs     []TrustedLog // in version 2 the keys of one log stand together
	Chains   []TrustedChain
	Gateways []TrustedGateway
}

// TrustedRoot is a root certificate with those for whom it may speak. Lists are sorted. A root
// without any of them speaks for everybody, which only the single root of a trust file may.
type TrustedRoot struct {
	DER     []byte
	Codes   []string // unified social credit codes of agencies
	Regions []string // of agencies: the first 2, 4 or 6 digits of the region in their codes (GB/T 2260)
	Logs    []string // origins of logs that may hold these agencies' records
}

// TrustedLog is a log key with the time in which it may have signed. A zero NotAfter is open.
type TrustedLog struct {
	Key       *signednote.Verifier
	NotBefore time.Time
	NotAfter  time.Time
	// Chains are the ids of chains and the applications behind gateways that may anchor the log,
	// sorted; the same for each of its keys. Version 1 has none: any pinned chain may.
	Chains []string
}

// TrustedChain is an e-government chain, known by its first validator set. Version 2 may know
// more of it.
type TrustedChain struct {
	Genesis anchorproof.Epoch
	Epochs  []PinnedEpoch   // epochs 1, 2, … without a gap
	Members []TrustedMember // whose keys the validators' are
}

// PinnedEpoch fixes an epoch: evidence cannot lead around it, and the members of the epoch
// before are not believed for headers of a later time.
type PinnedEpoch struct {
	Hash sm.Digest // of its text
	From time.Time // since when it was in office, to the second
}

// TrustedMember says which organization holds a validator's SM2 key.
type TrustedMember struct {
	Key          *sm.PublicKey
	Organization string
	Code         string // its unified social credit code
}

// ErrTrust is wrapped by every error about a trust file's form.
var ErrTrust = errors.New("malformed trust roots")

// ErrUnscoped reports several roots that do not all say for whom they speak: each of them could
// speak for the others' agencies. It is wrapped together with [ErrTrust].
var ErrUnscoped = errors.New(
	"with several roots each must say for which agencies and logs it speaks (stele trust merge asks for it)")

const trustTime = time.RFC3339

// firstYear is the first one that times in trust files may have, as in statements.
const firstYear = 2000

// ParseTrust reads a trust file of either version; one newline at the end is allowed. A file that
// another program saved anew is read where its bytes can be restored ([canonical.Restore]).
func ParseTrust(data []byte) (*Trust, error) {
	t, err := ParseTrustDraft(data)
	if err != nil {
		return nil, err
	}
	return t, t.checkScopes()
}

// ParseTrustDraft reads a trust file as [ParseTrust] does, yet lets several roots pass that do
// not say for whom they speak. It is for whoever makes trust files, never for verifying.
func ParseTrustDraft(data []byte) (*Trust, error) {
	t, err := parseTrust(data)
	if !errors.Is(err, ErrTrust) {
		return t, err
	}
	restored, restoreErr := canonical.Restore(data, MaxTrustSize)
	if restoreErr != nil {
		return nil, err
	}
	if t, again := parseTrust(restored); again == nil {
		return t, nil
	}
	return nil, err
}

func parseTrust(data []byte) (*Trust, error) {
	if n := len(data); n > 0 && data[n-1] == '\n' {
		data = data[:n-1]
	}
	parse := parseTrustV1
	if bytes.HasPrefix(data, []byte(`{"format":"`+TrustV2+`"`)) {
		parse = parseTrustV2
	}
	t, err := parse(data)
	if err == nil {
		err = t.check()
	}
	if err == nil {
		err = canonical.Check(data, t.Encode())
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTrust, err)
	}
	return t, nil
}

// Encode writes the trust file in its one spelling; docs/formats.md section 8 has the forms.
func (t *Trust) Encode() []byte {
	if t.Format == TrustV2 {
		return t.encodeV2()
	}
	return t.encodeV1()
}

// check looks at what both versions have in common.
func (t *Trust) check() error {
	for i, r := range t.Roots {
		if _, err := pki.VerifyRoot(r.DER); err != nil {
			return fmt.Errorf("root certificate %d: %w", i, err)
		}
		if slices.ContainsFunc(t.Roots[:i], func(x TrustedRoot) bool { return bytes.Equal(x.DER, r.DER) }) {
			return fmt.Errorf("root certificate %d stands there twice", i)
		}
	}
	for i, l := range t.Logs {
		before := Trust{Logs: t.Logs[:i]}
		if contains(before.LogKeys(l.Key.Name()), l.Key) {
			return fmt.Errorf("log %d: the key stands there twice", i)
		}
		if l.NotBefore.Year() < firstYear {
			return fmt.Errorf("log %d: the key's validity must begin in the year %d or later", i, firstYear)
		}
		if !l.NotAfter.IsZero() && l.NotAfter.Before(l.NotBefore) {
			return fmt.Errorf("log %d: the key's validity ends before it begins", i)
		}
	}
	for i, c := range t.Chains {
		before := Trust{Chains: t.Chains[:i]}
		if c.Genesis.Number != 0 {
			return fmt.Errorf("chain %d: the first pinned epoch must be number 0", i)
		}
		if _, twice := before.chain(c.Genesis.Chain); twice {
			return fmt.Errorf("chain %d: the chain id %q stands there twice", i, c.Genesis.Chain)
		}
	}
	return t.checkGateways()
}

// checkScopes refuses roots of which one could speak for another's agencies.
func (t *Trust) checkScopes() error {
	if len(t.Roots) < 2 {
		return nil
	}
	for i, r := range t.Roots {
		if len(r.Codes)+len(r.Regions) == 0 || len(r.Logs) == 0 {
			return fmt.Errorf("%w: root certificate %d: %w", ErrTrust, i, ErrUnscoped)
		}
	}
	return nil
}

// certificates are the DER bytes of the pinned roots.
func (t *Trust) certificates() [][]byte {
	out := make([][]byte, len(t.Roots))
	for i, r := range t.Roots {
		out[i] = r.DER
	}
	return out
}

// Certificates returns the pinned root certificates in DER.
func (t *Trust) Certificates() [][]byte { return t.certificates() }

// root finds a pinned root.
func (t *Trust) root(der []byte) (TrustedRoot, bool) {
	i := slices.IndexFunc(t.Roots, func(r TrustedRoot) bool { return bytes.Equal(r.DER, der) })
	if i < 0 {
		return TrustedRoot{}, false
	}
	return t.Roots[i], true
}

// SpeaksFor reports whether the root may certify the agency with this code whose records this
// log holds.
func (r TrustedRoot) SpeaksFor(code, origin string) bool {
	if len(r.Logs) > 0 && !slices.Contains(r.Logs, origin) {
		return false
	}
	if len(r.Codes)+len(r.Regions) == 0 || slices.Contains(r.Codes, code) {
		return true
	}
	// Characters 3 to 8 of a code are the region of the registration (GB 32100).
	return slices.ContainsFunc(r.Regions, func(region string) bool { return strings.HasPrefix(code[2:], region) })
}

// mayAnchor reports whether a chain, or the application behind a gateway, may anchor a log. Of
// a log that is not pinned nothing is known: then any pinned chain may.
func (t *Trust) mayAnchor(origin, chain string) bool {
	for _, l := range t.Logs {
		if t.Format == TrustV2 && l.Key.Name() == origin {
			return slices.Contains(l.Chains, chain)
		}
	}
	return true
}

// LetAnchor lets a pinned chain, or the application behind a pinned gateway, anchor a log, and
// reports whether that is new. In version 1 every pinned chain may. It is for whoever makes trust
// roots: a trust that others use must not be changed.
func (t *Trust) LetAnchor(origin, chain string) bool {
	if t.mayAnchor(origin, chain) {
		return false
	}
	for i, l := range t.Logs {
		if l.Key.Name() == origin {
			t.Logs[i].Chains = slices.Sorted(slices.Values(append(slices.Clone(l.Chains), chain)))
		}
	}
	return true
}

// late is how long before its anchor a statement may be dated without a warning.
func (t *Trust) late() time.Duration {
	if t == nil || t.Late == 0 {
		return DefaultLate
	}
	return t.Late
}

// Organization names the holder of a validator's key, where the trust roots do.
func (c TrustedChain) Organization(key *sm.PublicKey) (TrustedMember, bool) {
	i := slices.IndexFunc(c.Members, func(m TrustedMember) bool { return m.Key.Equal(key) })
	if i < 0 {
		return TrustedMember{}, false
	}
	return c.Members[i], true
}

// checkPins reports whether what members of an epoch signed for a time keeps to the pinned epochs,
// those that led to it being given, and the time at which the signers' term ended, where it did.
func (c TrustedChain) checkPins(led []anchorproof.SignedEpoch, epoch uint64, at time.Time) (ended time.Time,
	err error) {
	for _, e := range led {
		if e.Number <= uint64(len(c.Epochs)) && e.Hash() != c.Epochs[e.Number-1].Hash {
			return ended, fmt.Errorf("it leads around epoch %d, which your trust roots pin", e.Number)
		}
	}
	if epoch >= uint64(len(c.Epochs)) {
		return ended, nil
	}
	ended = c.Epochs[epoch].From
	if at.After(ended.Add(clockTolerance)) {
		return ended, fmt.Errorf("it is signed by members of epoch %d for a time after their term, which ended on %s",
			epoch, ended.Format(trustTime))
	}
	return ended, nil
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
	add, place := TrustedLog{Key: next, NotBefore: at.Add(-slack).UTC()}, len(t.Logs)
	for i, l := range t.Logs {
		if l.Key.Name() != next.Name() {
			continue
		}
		if l.NotAfter.IsZero() {
			t.Logs[i].NotAfter = at.Add(slack).UTC()
		}
		add.Chains = l.Chains
		if t.Format == TrustV2 {
			place = i + 1
		}
	}
	t.Logs = slices.Insert(t.Logs, place, add)
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

// chain returns what is pinned of a chain.
func (t *Trust) chain(id string) (TrustedChain, bool) {
	for _, c := range t.Chains {
		if c.Genesis.Chain == id {
			return c, true
		}
	}
	return TrustedChain{}, false
}

// ValidScope reports whether a root's lists have their form; nil where they do.
func (r TrustedRoot) ValidScope() error {
	for _, c := range r.Codes {
		if !notary.ValidUSCC(c) {
			return fmt.Errorf("%q is no unified social credit code", c)
		}
	}
	for _, d := range r.Regions {
		if len(d) != 2 && len(d) != 4 && len(d) != 6 || strings.Trim(d, "0123456789") != "" {
			return fmt.Errorf("%q is no region: 2, 4 or 6 digits", d)
		}
	}
	for _, l := range r.Logs {
		if !signednote.ValidName(l) {
			return fmt.Errorf("%q is no log's name", l)
		}
	}
	return errors.Join(ascending("codes", r.Codes), ascending("regions", r.Regions), ascending("logs", r.Logs))
}

// ascending reports whether a list is sorted by bytes and has nothing twice.
func ascending(what string, list []string) error {
	for i := 1; i < len(list); i++ {
		if list[i-1] >= list[i] {
			return fmt.Errorf("%s must be sorted, each once", what)
		}
	}
	return nil
}
