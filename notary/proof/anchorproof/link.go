package anchorproof

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"stele/crypto/merkle"
	"stele/crypto/signednote"
	"stele/crypto/sm"
	"stele/notary/proof/checkpoint"
)

// Limits of links.
const (
	// MaxLinks is how many links evidence may carry: so often may a log move between two renewals
	// of a verifier's trust roots.
	MaxLinks = 8
	// MaxLinkSize is the longest text of a link in bytes: an epoch's, and six lines.
	MaxLinkSize = MaxEpochSize + 1024
	// MaxSignedLinkSize is the longest canonical JSON of a signed link in bytes.
	MaxSignedLinkSize = MaxEvidenceSize / 2
)

// ClockTolerance is how far the clocks of two parties may be apart where their times are compared: a
// header's with the time of the link that led to its chain, or with that of a statement.
const ClockTolerance = 5 * time.Minute

// ErrLink: a log did not move as the evidence says. It is wrapped together with what does not hold.
var ErrLink = errors.New("link between chains does not hold")

// Link says that a log moves: it goes on on another chain from a checkpoint on. The members of the
// former chain sign it, more than two thirds of its power, and so does the log; without the members
// the log's operator alone could invent a chain.
//
// Its text has these lines, each ended by a line feed, and then the whole text of the new chain's
// epoch 0:
//
//	stele/chain-link/v1
//	log <origin>
//	from <id of the former chain> <SM3 of the text of its epoch 0, 64 hex digits>
//	epoch <number of the former chain's epoch whose validators sign>
//	checkpoint <size> <root, 64 hex digits>
//	time <RFC 3339, three digits of milliseconds, Z>
//
// The checkpoint is the last one that the former chain holds of the log; size 0 with the root of the
// empty tree when it holds none. The time is the word of the log's operator, which the members that
// sign compare with their clocks. The new chain dates nothing before it: see [Evidence.CheckLinks].
type Link struct {
	Origin  string
	From    string      // id of the former chain
	Genesis merkle.Hash // of the former chain's epoch 0, see [Epoch.Hash]
	Epoch   uint64
	Size    uint64
	Root    merkle.Hash
	TimeMs  int64
	To      Epoch // epoch 0 of the new chain
}

// SignedLink is a link with what makes it hold.
type SignedLink struct {
	Link
	Log          []byte        // by a key of the log, minimal DER
	Cosignatures []Cosignature // by validators of the former chain's epoch [Link.Epoch], ascending
	Epochs       []SignedEpoch // of the former chain, 1 to [Link.Epoch]
}

// Moved is a link as evidence carries it.
type Moved struct {
	SignedLink
	Path []merkle.Hash // consistency proof from the link's checkpoint to the one that is anchored
}

const linkMagic = "stele/chain-link/v1"

type (
	wireLink struct {
		Text         string            `json:"text"`
		Log          []byte            `json:"log"`
		Cosignatures []wireCosignature `json:"cosignatures"`
		Epochs       []wireEpoch       `json:"epochs"`
	}
	wireMoved struct {
		wireLink
		Path [][]byte `json:"path"`
	}
)

// Time is when the operator of the log made the link, in UTC.
func (l Link) Time() time.Time { return time.UnixMilli(l.TimeMs).UTC() }

// Text is what the log and the members of the former chain sign. It is meant for valid links.
func (l Link) Text() string {
	return fmt.Sprintf("%s\nlog %s\nfrom %s %s\nepoch %d\ncheckpoint %d %s\ntime %s\n%s", linkMagic, l.Origin, l.From,
		l.Genesis, l.Epoch, l.Size, l.Root, l.Time().Format(timeLayout), l.To.Text())
}

// Hash is SM3 of the text: what members compare before they sign.
func (l Link) Hash() merkle.Hash { return sm.Sum([]byte(l.Text())) }

// Check reports whether a link put together by hand has a text that [ParseLink] takes.
func (l Link) Check() error {
	switch {
	case !signednote.ValidName(l.Origin) || !ValidChainID(l.From):
		return fmt.Errorf("%w link: name of the log or of the former chain", ErrFormat)
	case l.Epoch > MaxNumber || l.Size > MaxNumber:
		return fmt.Errorf("%w link: epoch or size exceeds 2^53-1", ErrFormat)
	case l.Size == 0 && l.Root != merkle.EmptyRoot():
		return fmt.Errorf("%w link: size 0 has the root of the empty tree", ErrFormat)
	case l.TimeMs < 0 || l.TimeMs > maxTimeMs:
		return fmt.Errorf("%w link: time must be in years 1970 to 9999", ErrFormat)
	case l.To.Number != 0:
		return fmt.Errorf("%w link: the new chain is named by its epoch 0", ErrFormat)
	case l.To.Chain == l.From:
		return fmt.Errorf("%w link: the new chain must have another id than the former one", ErrFormat)
	}
	return l.To.Check()
}

// ParseLink is the inverse of [Link.Text] and accepts no other spelling.
func ParseLink(text string) (Link, error) {
	var l Link
	if len(text) > MaxLinkSize {
		return l, fmt.Errorf("%w link: longer than %d bytes", ErrFormat, MaxLinkSize)
	}
	lines := strings.SplitN(text, "\n", 7)
	if len(lines) != 7 || lines[0] != linkMagic {
		return l, fmt.Errorf("%w link: want %q, five lines more and an epoch", ErrFormat, linkMagic)
	}
	t, err := time.Parse(timeLayout, value(lines[5], "time"))
	if err != nil {
		return l, fmt.Errorf("%w link: time must look like %s", ErrFormat, timeLayout)
	}
	from, genesis, _ := strings.Cut(value(lines[2], "from"), " ")
	size, root, _ := strings.Cut(value(lines[4], "checkpoint"), " ")
	ok := [4]bool{}
	l.Origin, l.From, l.TimeMs = value(lines[1], "log"), from, t.UnixMilli()
	l.Genesis, ok[0] = digest(genesis)
	l.Epoch, ok[1] = decimal(value(lines[3], "epoch"), MaxNumber)
	l.Size, ok[2] = decimal(size, MaxNumber)
	l.Root, ok[3] = digest(root)
	if ok != [4]bool{true, true, true, true} {
		return Link{}, fmt.Errorf("%w link: former chain, epoch or checkpoint", ErrFormat)
	}
	if l.To, err = ParseEpoch(lines[6]); err != nil {
		return Link{}, err
	}
	if err := l.Check(); err != nil {
		return Link{}, err
	}
	if l.Text() != text {
		return Link{}, fmt.Errorf("%w link: not in canonical form", ErrFormat)
	}
	return l, nil
}

// Marshal returns the canonical JSON of a signed link: what the parties hand to each other.
//
//	{"text":"<link text>","log":"<base64 DER>","cosignatures":[…],"epochs":[…]}
//
// The lists are those of [Evidence]. It does not verify: signatures may still be missing.
func (l SignedLink) Marshal() ([]byte, error) {
	if err := l.Check(); err != nil {
		return nil, err
	}
	b, err := encode(l.wire())
	if err == nil && len(b) > MaxSignedLinkSize {
		err = fmt.Errorf("%w link: longer than %d bytes", ErrFormat, MaxSignedLinkSize)
	}
	return b, err
}

// ParseSignedLink is the inverse of [SignedLink.Marshal] and accepts no other spelling. It verifies
// nothing: see [SignedLink.Verify].
func ParseSignedLink(b []byte) (SignedLink, error) {
	var w wireLink
	if err := decode(b, &w, "link", MaxSignedLinkSize); err != nil {
		return SignedLink{}, err
	}
	l, err := w.signedLink()
	if err != nil {
		return SignedLink{}, err
	}
	if err := sameAgain(b, l.Marshal, "link"); err != nil {
		return SignedLink{}, err
	}
	return l, nil
}

func (l SignedLink) wire() wireLink {
	w := wireLink{Text: l.Text(), Log: notNil(l.Log), Cosignatures: wireCosignatures(l.Cosignatures),
		Epochs: []wireEpoch{}}
	for _, e := range l.Epochs {
		w.Epochs = append(w.Epochs, e.wire())
	}
	return w
}

func (w wireLink) signedLink() (SignedLink, error) {
	l, err := ParseLink(w.Text)
	if err != nil {
		return SignedLink{}, err
	}
	s := SignedLink{Link: l, Log: w.Log}
	if s.Cosignatures, err = cosignatures(w.Cosignatures); err != nil {
		return SignedLink{}, err
	}
	for _, we := range w.Epochs {
		e, err := we.signedEpoch()
		if err != nil {
			return SignedLink{}, err
		}
		s.Epochs = append(s.Epochs, e)
	}
	return s, nil
}

func wireLinks(links []Moved) []wireMoved {
	var out []wireMoved // nil where there are none: then the key is absent
	for _, l := range links {
		out = append(out, wireMoved{l.wire(), wirePath(l.Path)})
	}
	return out
}

func readLinks(in []wireMoved) ([]Moved, error) {
	if len(in) > MaxLinks {
		return nil, fmt.Errorf("%w evidence: more than %d links", ErrFormat, MaxLinks)
	}
	var out []Moved
	for _, w := range in {
		l, err := w.signedLink()
		if err != nil {
			return nil, err
		}
		path, err := readPath(w.Path)
		if err != nil {
			return nil, err
		}
		out = append(out, Moved{l, path})
	}
	return out, nil
}

// Verify checks that the former chain, whose epoch 0 is given, lets the log go: its epochs lead to
// the one that the link names, and more than two thirds of that one's power signed the text. It
// returns that epoch. The log's own signature is another matter: see [SignedLink.CheckLog].
func (l SignedLink) Verify(former Epoch) (Epoch, error) {
	signers, err := l.members(former)
	if err != nil {
		return Epoch{}, fmt.Errorf("%w: %w", ErrLink, err)
	}
	if _, err := signers.CheckQuorum(l.Text(), l.Cosignatures); err != nil {
		return Epoch{}, fmt.Errorf("%w: %w", ErrLink, err)
	}
	return signers, nil
}

// CheckLog checks that one of these keys, which are the log's, signed.
func (l SignedLink) CheckLog(keys []*sm.PublicKey) error {
	if !slices.ContainsFunc(keys, func(k *sm.PublicKey) bool { return k.Verify([]byte(l.Text()), l.Log) }) {
		return fmt.Errorf("%w: it is not signed by a key of the log %s", ErrLink, l.Origin)
	}
	return nil
}

// LogKeys are the keys that the former chain's epochs admit for the log.
func (l SignedLink) LogKeys(former Epoch) (out []*sm.PublicKey) {
	if k := former.Notary(l.Origin); k != nil {
		out = append(out, k)
	}
	for _, e := range l.Epochs {
		if k := e.Notary(l.Origin); k != nil {
			out = append(out, k)
		}
	}
	return out
}

// members is the epoch of the former chain whose validators are to sign.
func (l SignedLink) members(former Epoch) (Epoch, error) {
	if err := l.Check(); err != nil {
		return Epoch{}, err
	}
	if l.From != former.Chain || l.Genesis != former.Hash() {
		return Epoch{}, fmt.Errorf("%w: the link leads from chain %s with epoch 0 %s, not from %s with %s", ErrChain,
			l.From, l.Genesis, former.Chain, former.Hash())
	}
	signers, err := former.Follow(l.Epochs)
	if err != nil {
		return Epoch{}, err
	}
	if signers.Number != l.Epoch {
		return Epoch{}, fmt.Errorf("%w: epochs lead to %d, the link is of epoch "+
			"%d", ErrHandOver, signers.Number, l.Epoch)
	}
	return signers, nil
}

// Signers is the epoch of the former chain whose members are to sign, and the power of those whose
// valid signatures are there. It is for collecting signatures; see [SignedLink.Verify].
func (l SignedLink) Signers(former Epoch) (e Epoch, signed uint64, err error) {
	if e, err = l.members(former); err != nil {
		return e, 0, fmt.Errorf("%w: %w", ErrLink, err)
	}
	for _, s := range l.Cosignatures {
		if err := e.CheckCosignature(l.Text(), s); err != nil {
			return e, 0, fmt.Errorf("%w: %w", ErrLink, err)
		}
		signed += e.Validators[s.Validator].Power
	}
	return e, signed, nil
}

// SignAs adds the signature of the member of the former chain that has this key.
func (l SignedLink) SignAs(former Epoch, key *sm.PrivateKey) (SignedLink, error) {
	e, _, err := l.Signers(former)
	if err != nil {
		return l, err
	}
	i := slices.IndexFunc(e.Validators, func(v Validator) bool { return v.Key.Equal(key.Public()) })
	if i < 0 {
		return l, fmt.Errorf("the key is not that of a member of epoch %d of the chain %s, whose members "+
			"sign", e.Number, e.Chain)
	}
	sig, err := key.Sign([]byte(l.Text()))
	if err != nil {
		return l, err
	}
	return l.Sign(Cosignature{Validator: i, Signature: sig}), nil
}

// Sign adds a member's signature in its place, or puts it in the place of its former one.
func (l SignedLink) Sign(c Cosignature) SignedLink {
	same := func(s Cosignature) bool { return s.Validator == c.Validator }
	l.Cosignatures = slices.DeleteFunc(slices.Clone(l.Cosignatures), same)
	l.Cosignatures = append(l.Cosignatures, c)
	slices.SortFunc(l.Cosignatures, func(a, b Cosignature) int { return a.Validator - b.Validator })
	return l
}

// CheckLinks reports whether the links of evidence lead to the header's chain: each from the chain
// that the one before leads to, no chain twice, all of the checkpoint's log, its sizes and times not
// going back, the checkpoint grown out of each link's, and the header not more than [ClockTolerance]
// before the last link: the members of the new chain cannot date a record back into the time of the
// former one. It checks no signature.
func (e Evidence) CheckLinks(c checkpoint.Checkpoint) error {
	if len(e.Links) == 0 {
		return nil
	}
	seen := map[string]bool{e.Links[0].From: true}
	for i, l := range e.Links {
		if i > 0 && (l.From != e.Links[i-1].To.Chain || l.Genesis != e.Links[i-1].To.Hash()) {
			return fmt.Errorf("%w: link %d leads from another chain than the one before it leads to", ErrLink, i)
		}
		if i > 0 && (l.Size < e.Links[i-1].Size || l.TimeMs < e.Links[i-1].TimeMs) {
			return fmt.Errorf("%w: link %d is of a smaller size or earlier time than the one before it", ErrLink, i)
		}
		if seen[l.To.Chain] {
			return fmt.Errorf("%w: the log was on chain %s already", ErrLink, l.To.Chain)
		}
		seen[l.To.Chain] = true
		if l.Origin != c.Origin {
			return fmt.Errorf("%w: link %d is of the log %s", ErrLink, i, l.Origin)
		}
		if err := merkle.VerifyConsistency(l.Size, c.Size, l.Root, c.Root, l.Path); err != nil {
			return fmt.Errorf("%w: the checkpoint is not shown to have grown out of that of link %d: "+
				"%w", ErrLink, i, err)
		}
	}
	last := e.Links[len(e.Links)-1]
	if last.To.Chain != e.Header.Chain {
		return fmt.Errorf("%w: the links lead to chain %s, the header is of %s", ErrLink, last.To.Chain, e.Header.Chain)
	}
	if e.Header.Time().Before(last.Time().Add(-ClockTolerance)) {
		return fmt.Errorf("%w: the header's time is %s, and the log came to its chain at %s", ErrLink,
			e.Header.Time().Format(timeLayout), last.Time().Format(timeLayout))
	}
	return nil
}
