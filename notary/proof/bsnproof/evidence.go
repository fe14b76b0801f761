package bsnproof

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"stele/crypto/merkle"
	"stele/notary/proof/bsnproof/gateway"
	"stele/notary/proof/canonical"
	"stele/notary/proof/checkpoint"
)

// Evidence is the signed answers of a gateway about one entry: [Fabric] or [FISCO].
type Evidence interface {
	// Application names what the answers are about, as it is pinned.
	Application() string
	// SignedAnswers are the answers that it is made of.
	SignedAnswers() []Answer
	// Consistent reports whether the evidence agrees with itself, whoever signed it: it tells
	// edited evidence from that of a gateway that is not known.
	Consistent(origin string) error
	// Verify checks that the gateway with this key attests, finally, an entry with the
	// checkpoint or a later one that grew out of it. It uses no clock and no network, and does
	// not check the log's own signature.
	Verify(key *gateway.PublicKey, c checkpoint.Checkpoint) (Attested, error)
	// Marshal returns the canonical JSON. It fails when the evidence exceeds a limit, which
	// [Parse] would refuse; it does not verify.
	Marshal() (json.RawMessage, error)

	head() Head
	entry(origin string) (Attested, error)
	withPath(path Path) Evidence
}

// Head is what evidence of each kind begins with. Kind is set when it is written.
type Head struct {
	Kind string `json:"kind"`
	App  string `json:"app"` // application, as it is pinned
	// consistency proof from the checkpoint that the evidence stands beside to the entry's; empty when they are the
	// same
	Path Path `json:"path"`
}

// Application implements [Evidence].
func (h Head) Application() string { return h.App }

func (h Head) head() Head { return h }

// Path is a list of hashes, in JSON each in base64.
type Path []merkle.Hash

// MarshalJSON implements json.Marshaler. A path of none is an empty list.
func (p Path) MarshalJSON() ([]byte, error) {
	return canonical.AppendList(nil, p, func(b []byte, h merkle.Hash) []byte { return canonical.AppendBytes(b, h[:]) }),
		nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *Path) UnmarshalJSON(b []byte) error {
	var wire [][]byte
	if err := json.Unmarshal(b, &wire); err != nil {
		return err
	}
	*p = nil
	for _, h := range wire {
		if len(h) != merkle.HashSize {
			return fmt.Errorf("a path holds hashes of %d bytes", merkle.HashSize)
		}
		*p = append(*p, merkle.Hash(h))
	}
	return nil
}

// Mac is a signature in DER; in JSON it is never null.
type Mac []byte

// MarshalJSON implements json.Marshaler.
func (m Mac) MarshalJSON() ([]byte, error) { return canonical.AppendBytes(nil, m), nil }

// Parse reads evidence of a kind in its one spelling. It verifies nothing.
func Parse(kind string, b []byte) (Evidence, error) {
	switch kind {
	case KindFabric:
		return parse[Fabric](kind, b)
	case KindFISCO:
		return parse[FISCO](kind, b)
	}
	return nil, fmt.Errorf("%w evidence: %q is no kind of a gateway's", ErrFormat, kind)
}

// WithPath returns evidence that stands beside an older checkpoint of its log: path is the
// consistency proof from that one to the evidence's own.
func WithPath(kind string, evidence []byte, path []merkle.Hash) (json.RawMessage, error) {
	e, err := Parse(kind, evidence)
	if err != nil {
		return nil, err
	}
	return e.withPath(path).Marshal()
}

// Limits. Parsers refuse what exceeds them before they look at it.
const (
	// MaxEvidenceSize is the longest evidence in bytes: 2 KB as a rule, and 200 bytes for each
	// other transaction of the block.
	MaxEvidenceSize = 256 << 10
	// MaxApp is the longest name of an application in bytes.
	MaxApp = 64
)

// Signed is an answer of a gateway with its mac. Only successful answers are evidence, so the
// header's code is 0 and not written down.
type Signed[T any] struct {
	Msg  string `json:"msg"`
	Body T      `json:"body"`
	Mac  Mac    `json:"mac"`
}

// Answer is a signed answer without its form.
type Answer struct {
	Name string // of the answer in the evidence
	Text string // under the mac
	Mac  []byte
}

func (s Signed[T]) named(name string) Answer {
	return Answer{name, gateway.AnswerText(gateway.AnswerHeader{Code: gateway.CodeOK, Msg: s.Msg}, s.Body), s.Mac}
}

// Attested is what verified evidence says.
type Attested struct {
	App        string
	Height     uint64    // of the block; the mac does not bind its digits, so it is no fact
	Time       time.Time // by the gateway's clock; UTC, milliseconds, of Fabric the last one of its second
	Entry      uint64    // number of the log's entry
	Checkpoint checkpoint.Checkpoint
}

// Macs counts the answers that bear a mac of this key. None: the evidence is of a holder of
// another key; some of them: it was changed.
func Macs(e Evidence, key *gateway.PublicKey) (n int) {
	for _, a := range e.SignedAnswers() {
		if key.Verify(a.Text, a.Mac) {
			n++
		}
	}
	return n
}

func verify(e Evidence, key *gateway.PublicKey, c checkpoint.Checkpoint) (Attested, error) {
	if n, all := Macs(e, key), len(e.SignedAnswers()); n != all {
		return Attested{}, fmt.Errorf("%w: of %d answers %d bear one", ErrMac, all, n)
	}
	a, err := e.entry(c.Origin)
	if err != nil {
		return a, err
	}
	return a, follows(c, a.Checkpoint, e.head().Path)
}

// follows checks that the entry's checkpoint is this one, or grew out of it.
func follows(c, in checkpoint.Checkpoint, path []merkle.Hash) error {
	switch {
	case in.Size == c.Size && len(path) == 0:
		if in.Root != c.Root {
			return fmt.Errorf("%w: the entry has another root for the size %d", ErrContent, c.Size)
		}
		return nil
	case in.Size <= c.Size:
		return fmt.Errorf("%w: the entry has the size %d, the checkpoint %d", ErrContent, in.Size, c.Size)
	}
	if err := merkle.VerifyConsistency(c.Size, in.Size, c.Root, in.Root, path); err != nil {
		return fmt.Errorf("%w: the entry's log of size %d did not grow out of this one: %v", ErrContent, in.Size, err)
	}
	return nil
}

// marshal writes evidence as canonical JSON, within the limits.
func marshal(e Evidence) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return nil, fmt.Errorf("encode evidence: %w", err)
	}
	out := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	switch h := e.head(); {
	case len(out) > MaxEvidenceSize:
		return nil, fmt.Errorf("%w evidence: longer than %d bytes", ErrFormat, MaxEvidenceSize)
	// what follows a backslash that is escaped itself is no escape
	case bytes.Contains(bytes.ReplaceAll(out, []byte(`\\`), nil), []byte(`\u202`)):
		return nil, fmt.Errorf("%w evidence: a line separator, which JSON can write in two ways", ErrFormat)
	case len(h.Path) > merkle.MaxPath:
		return nil, fmt.Errorf("%w evidence: the path is too long", ErrFormat)
	case !ValidApp(h.App):
		return nil, fmt.Errorf("%w evidence: %q is no name of an application", ErrFormat, h.App)
	}
	return out, nil
}

// parse reads evidence of a kind in its one spelling.
func parse[T Evidence](kind string, b []byte) (Evidence, error) {
	var e T
	if err := canonical.Decode(b, MaxEvidenceSize, &e); err != nil {
		return nil, fmt.Errorf("%w evidence: %v", ErrFormat, err)
	}
	if e.head().Kind != kind {
		return nil, fmt.Errorf("%w evidence: kind must be %q", ErrFormat, kind)
	}
	again, err := e.Marshal()
	if err != nil {
		return nil, err
	}
	if err := canonical.Check(b, again); err != nil {
		return nil, fmt.Errorf("%w evidence: %v", ErrFormat, err)
	}
	return e, nil
}

func notNil[T any](list []T) []T { return append([]T{}, list...) }

const letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// ValidApp reports whether s can name an application: letters and digits.
func ValidApp(s string) bool {
	return s != "" && len(s) <= MaxApp &&
		!strings.ContainsFunc(s, func(r rune) bool { return !strings.ContainsRune(letters, r) })
}

// digits counts the decimal digits of a number; none of one that is not positive. A time of
// exactly ten digits in seconds, or thirteen in milliseconds, lies between 2001 and 2286.
func digits(n int64) int {
	if n <= 0 {
		return 0
	}
	return len(strconv.FormatInt(n, 10))
}

// hash reports whether s is a hash as Fabric writes them: 64 lower-case hex digits.
func hash(s string) bool { return hexDigits(s, 64) }

func hexDigits(s string, n int) bool {
	return len(s) == n &&
		!strings.ContainsFunc(s, func(r rune) bool { return !strings.ContainsRune("0123456789abcdef", r) })
}
