package exhibit

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"stele/crypto/merkle"
	"stele/crypto/pki"
	"stele/crypto/signednote"
	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/statement"
)

// Kinds of values: how a page shows them. All are copied as they stand.
const (
	KindText   = "text"   // short
	KindBlock  = "block"  // exact text, of several lines or long
	KindHex    = "hex"    // lower case
	KindBase64 = "base64" // standard, with padding
)

// Value is one thing to look at or copy.
type Value struct {
	Label string `json:"label"`
	Kind  string `json:"kind"`
	Value string `json:"value"`
}

// Part is one thing that is signed or hashed: its values, and the commands that check it.
type Part struct {
	Key    string  `json:"key"`   // stable, for links and tests
	Title  string  `json:"title"` // in words
	Values []Value `json:"values"`
	// for a POSIX shell with OpenSSL 3; empty where there is nothing to compute
	Commands string `json:"commands,omitempty"`
}

// Page is an exhibit in the reader's language.
type Page struct {
	Picture string  `json:"picture"` // an SVG element that is well-formed XML
	Points  []Value `json:"points"`  // what the picture shows, from the document on, with whole values
	Parts   []Part  `json:"parts"`
}

// JSON is the page's one spelling, the same wherever it is made.
func (p *Page) JSON() []byte {
	b, err := json.Marshal(p)
	if err != nil {
		panic(err) // strings always marshal
	}
	return b
}

// ErrNothing means that a bundle does not hold, or could not be checked: what it says of
// itself is worth nothing then, and is not shown.
var ErrNothing = errors.New("there is nothing to show of evidence that does not hold")

// Show makes the page for a bundle and the report that [proof.Verify] gave on it. It fails
// where any step but the document's failed or was not checked; anchors of chains that are
// not pinned do no harm.
func Show(r *proof.Report, trust *proof.Trust, bundle []byte, words Words) (*Page, error) {
	if len(r.Steps) == 0 || slices.ContainsFunc(r.Steps, func(s proof.Step) bool {
		return s.AgainstEvidence() || s.LeavesOpen() && s.Name != proof.StepAnchor
	}) {
		return nil, ErrNothing
	}
	x, err := New(trust, bundle)
	if err != nil {
		return nil, err
	}
	d := newDrawing(r, x, words)
	return &Page{Picture: d.svg(), Points: d.points(), Parts: x.Parts(words)}, nil
}

// Parts are all parts in the order in which they are checked, first of the record, then of
// the entry that revoked or replaced it.
func (x *Exhibit) Parts(words Words) []Part {
	t := teller{words: words}
	for _, s := range x.Sections {
		t.standing = s.Folder != ""
		t.statement(x, s)
		t.signature(s)
		t.certificates(s)
		t.fields(x, s)
		t.entry(s)
		t.inclusion(s)
		t.checkpoint(s)
		for i := range s.Anchors {
			t.anchor(s, &s.Anchors[i])
		}
		for i := range s.Attested {
			t.attested(s, &s.Attested[i])
		}
	}
	return t.parts
}

// teller puts parts into words.
type teller struct {
	words    Words
	standing bool // the section at work is that of the later statement
	parts    []Part
}

// part adds a part of the section at work; of tells apart those of several chains.
func (t *teller) part(key, of, title string, values []Value, commands string) {
	if t.standing {
		key, title = "standing-"+key, t.words("exhibit.of_standing", "title", title)
	}
	t.parts = append(t.parts, Part{Key: key + of, Title: title, Values: values, Commands: commands})
}

func block(label, v string) Value        { return Value{label, KindBlock, v} }
func text(label, v string) Value         { return Value{label, KindText, v} }
func hexOf(label string, v []byte) Value { return Value{label, KindHex, hex.EncodeToString(v)} }
func base64Of(label string, v []byte) Value {
	return Value{label, KindBase64, base64.StdEncoding.EncodeToString(v)}
}
func digestOf(label string, d sm.Digest) Value { return hexOf(label, d[:]) }

func (t *teller) statement(x *Exhibit, s *Section) {
	w := t.words
	values := []Value{block(w("exhibit.statement.text"), string(s.Evidence.Statement)),
		digestOf(w("exhibit.statement.sm3"), sm.Sum(s.Evidence.Statement)),
		text(w("exhibit.statement.issued"), utc(s.Statement.IssuedAt))}
	commands := ""
	switch {
	case t.standing:
		commands = laterCommands(s, x.Sections[0].Statement.Number)
	default:
		values = append(values, digestOf(w("exhibit.statement.document"), s.Statement.Document.SM3))
		commands = documentCommands(s)
	}
	t.part("statement", "", w("exhibit.statement.title"), values, commands)
}

// utc is a time as the formats write it.
func utc(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05.000Z") }

func (t *teller) signature(s *Section) {
	w := t.words
	t.part("signature", "", w("exhibit.signature.title"),
		[]Value{base64Of(w("exhibit.signature.base64"), s.Evidence.Signature),
			hexOf(w("exhibit.signature.hex"), s.Evidence.Signature), text(w("exhibit.signature.user_id"), sm.UserID)},
		signatureCommands(s))
}

func (t *teller) certificates(s *Section) {
	w := t.words
	var values []Value
	for i, der := range s.Evidence.Certificates {
		n := strconv.Itoa(i + 1)
		values = append(values, block(w("exhibit.certificates.pem", "n", n), string(pki.EncodePEM(der))),
			digestOf(w("exhibit.certificates.sm3", "n", n), sm.Sum(der)))
		if c, err := pki.Parse(der); err == nil { // take has parsed it
			values = append(values, text(w("exhibit.certificates.valid", "n", n), utc(c.NotBefore())+" – "+
				utc(c.NotAfter())))
		}
	}
	t.part("certificates", "", w("exhibit.certificates.title"), values, certificateCommands(s))
}

// fields are the attributes that the bundle shows, and no others: of those withheld the
// statement's commitments are all that there is.
func (t *teller) fields(x *Exhibit, s *Section) {
	shown := x.Bundle.Fields
	if t.standing || len(shown) == 0 {
		return
	}
	w := t.words
	var values []Value
	for _, f := range shown {
		values = append(values, block(w("exhibit.fields.value", "name", f.Name), f.Value),
			hexOf(w("exhibit.fields.salt", "name", f.Name), f.Salt),
			digestOf(w("exhibit.fields.commitment", "name", f.Name), statement.Commitment(f.Salt, f.Name, f.Value)))
	}
	commands := fieldCommands(s, len(shown), func(i int) []byte {
		return append(append([]byte{}, shown[i].Salt...), shown[i].Name+"\x00"+shown[i].Value...)
	})
	t.part("fields", "", w("exhibit.fields.title"), values, commands)
}

func (t *teller) entry(s *Section) {
	w := t.words
	t.part("entry", "", w("exhibit.entry.title"), []Value{base64Of(w("exhibit.entry.base64"), entryBytes(s.Evidence)),
		digestOf(w("exhibit.entry.leaf"), s.Leaf)}, entryCommands(s))
}

func (t *teller) inclusion(s *Section) {
	w := t.words
	values := []Value{text(w("exhibit.inclusion.index"), strconv.FormatUint(s.Index, 10)),
		text(w("exhibit.inclusion.size"), strconv.FormatUint(s.Size, 10)),
		digestOf(w("exhibit.entry.leaf"), s.Leaf)}
	values = append(values, t.siblings(s.Path)...)
	values = append(values, digestOf(w("exhibit.inclusion.root"), s.Checkpoint.Root))
	t.part("inclusion", "", w("exhibit.inclusion.title"), values, inclusionCommands(s))
}

func (t *teller) siblings(path []Sibling) []Value {
	var out []Value
	for i, p := range path {
		key := "exhibit.path.right"
		if p.Left {
			key = "exhibit.path.left"
		}
		out = append(out, digestOf(t.words(key, "n", strconv.Itoa(i+1)), p.Hash))
	}
	return out
}

func (t *teller) checkpoint(s *Section) {
	w := t.words
	key := "exhibit.checkpoint.key_pinned"
	if !s.LogPinned {
		key = "exhibit.checkpoint.key_vouched"
	}
	t.part("checkpoint", "", w("exhibit.checkpoint.title"),
		[]Value{block(w("exhibit.checkpoint.note"), string(s.Evidence.Log.Checkpoint)),
			block(w(key), signednote.FormatKey(s.LogKey.Name(), s.LogKey.Key()))}, checkpointCommands(s))
}

func (t *teller) anchor(s *Section, a *Anchor) {
	w := t.words
	h := a.Evidence.Header
	of := "-" + strings.TrimSuffix(a.Name, "/")
	title := func(key string) string {
		if len(s.Anchors) == 1 {
			return w(key)
		}
		return w("exhibit.of_chain", "title", w(key), "chain", h.Chain)
	}
	leaf := merkle.LeafHash([]byte(s.Checkpoint.Text()))
	values := []Value{block(w("exhibit.header.text"), h.Text()), text(w("exhibit.header.time"), utc(h.Time())),
		text(w("exhibit.header.position"), strconv.FormatUint(a.Evidence.Position, 10)),
		digestOf(w("exhibit.header.leaf"), leaf)}
	values = append(values, t.siblings(a.Path)...)
	values = append(values, digestOf(w("exhibit.header.root"), h.Anchors))
	t.part("header", of, title("exhibit.header.title"), values, headerCommands(s, a))

	last := a.Epochs[len(a.Epochs)-1]
	t.part("cosignatures", of, title("exhibit.cosignatures.title"), t.votes(last.Epoch, a.Evidence.Cosignatures),
		cosignatureCommands(s, a))

	values = nil
	for i, e := range a.Epochs {
		n := strconv.FormatUint(e.Number, 10)
		values = append(values, block(w("exhibit.epochs.text", "n", n), e.Text()),
			digestOf(w("exhibit.epochs.sm3", "n", n), e.Hash()))
		if i > 0 {
			values = append(values, t.votes(a.Epochs[i-1].Epoch, e.Signatures)...)
		}
	}
	t.part("epochs", of, title("exhibit.epochs.title"), values, epochCommands(s, a))
}

// attested shows what a gateway signed: nothing else stands behind its anchor.
func (t *teller) attested(s *Section, a *Attested) {
	w := t.words
	values := []Value{block(w("exhibit.gateway.key"), string(a.Key))}
	for _, answer := range a.Answers {
		values = append(values, block(w("exhibit.gateway.answer", "name", answer.Name), answer.Text),
			base64Of(w("exhibit.gateway.mac", "name", answer.Name), answer.Mac))
	}
	t.part("", strings.TrimSuffix(a.Name, "/"), w("exhibit.gateway.title", "gateway", a.Gateway), values,
		gatewayCommands(s, a))
}

// votes are the signatures of an epoch's validators, and who gave none.
func (t *teller) votes(e anchorproof.Epoch, signatures []anchorproof.Cosignature) []Value {
	signed := map[int][]byte{}
	for _, c := range signatures {
		signed[c.Validator] = c.Signature
	}
	var values []Value
	for i, v := range e.Validators {
		label := t.words("exhibit.cosignatures.of", "name", v.Name, "power", strconv.FormatUint(v.Power, 10))
		if sig, ok := signed[i]; ok {
			values = append(values, base64Of(label, sig))
		} else {
			values = append(values, text(label, t.words("exhibit.cosignatures.none")))
		}
	}
	return values
}
