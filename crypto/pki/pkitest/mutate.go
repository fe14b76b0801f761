package pkitest

import (
	"bytes"
	"math/rand/v2"
	"slices"
)

// node is an element that may be damaged. Constructed ones have children, and so have octet
// strings that hold one element, as the values of extensions do.
type node struct {
	tag      byte
	content  []byte // of a primitive one
	children []*node
	parsed   bool // it has children instead of content
	long     bool // its length is written with a superfluous byte
}

func parseAll(data []byte) ([]*node, bool) {
	var out []*node
	for len(data) > 0 {
		n, rest, ok := parseOne(data)
		if !ok {
			return nil, false
		}
		out, data = append(out, n), rest
	}
	return out, true
}

func parseOne(data []byte) (*node, []byte, bool) {
	if len(data) < 2 {
		return nil, nil, false
	}
	size, at := int(data[1]), 2
	if size >= 0x80 {
		count := size & 0x7f
		if count == 0 || count > 3 || len(data) < 2+count {
			return nil, nil, false
		}
		size = 0
		for _, c := range data[2 : 2+count] {
			size = size<<8 | int(c)
		}
		at += count
	}
	if len(data) < at+size {
		return nil, nil, false
	}
	n := &node{tag: data[0], content: bytes.Clone(data[at : at+size])}
	if n.tag&0x20 != 0 || n.tag == OctetString && size > 1 {
		n.children, n.parsed = parseAll(n.content)
		n.parsed = n.parsed && (n.tag != OctetString || len(n.children) == 1)
	}
	return n, data[at+size:], true
}

func (n *node) encode() []byte {
	content := n.content
	if n.parsed {
		content = nil
		for _, c := range n.children {
			content = append(content, c.encode()...)
		}
	}
	out := TLV(n.tag, content)
	if !n.long {
		return out
	}
	header := len(out) - len(content)
	if header == 2 {
		return slices.Concat([]byte{n.tag, 0x81}, out[1:2], content)
	}
	return slices.Concat([]byte{n.tag, out[1] + 1, 0}, out[2:header], content)
}

// walk visits the elements below n, each with the one it is in.
func (n *node) walk(visit func(parent *node, i int)) {
	if !n.parsed {
		return
	}
	for i, c := range n.children {
		visit(n, i)
		c.walk(visit)
	}
}

type place struct {
	parent *node
	i      int
}

// Damage makes one to three small changes to the elements of a certificate's content, of
// kinds that often leave the rest in form. Whoever signs the result again has a certificate
// on which only its profile decides.
func Damage(random *rand.Rand, content []byte) []byte {
	root, rest, ok := parseOne(content)
	if !ok || len(rest) > 0 {
		panic("pkitest: the content must be one element")
	}
	changes := 1
	if random.IntN(3) == 0 { // most of what has more changes is not in form, and shows little
		changes += random.IntN(3)
	}
	for range changes {
		var places []place
		root.walk(func(parent *node, i int) { places = append(places, place{parent, i}) })
		if len(places) == 0 {
			break
		}
		p := places[random.IntN(len(places))]
		if random.IntN(2) == 0 { // the extensions, where most of the rules are, more often than their bytes are
			p = places[len(places)-1-random.IntN((len(places)+2)/3)]
		}
		p.damage(random)
	}
	return root.encode()
}

// tags are those between which a reader may or may not distinguish.
var tags = []byte{Boolean, Integer, BitString, OctetString, Null, ObjectID, UTF8String, NumericString,
	PrintableString, TeletexString, IA5String,
	UTCTime, GeneralizedTime, VisibleString, UniversalString, BMPString, Sequence, Set, 0x80, 0xa0, 0xa1, 0x82, 0xa3,
	0x1f}

// pieces are elements and contents of which some are in form at some places.
var pieces = [][]byte{{}, {0}, {0xff}, {1}, {0x80}, {0, 0}, {0, 0x80}, {7, 0x80}, {6, 0xc0}, {5, 0xc0}, {0, 0xc0},
	{1, 6}, {2, 4}, {6, 0xc0, 0}, {7, 0xc0, 0x80},
	{6, 0xc0, 0x40}, {0x7f, 0xff, 0xff, 0xff}, {0, 0x80, 0, 0, 0}, []byte("20491231235959Z"),
	[]byte("20500101000000Z"), []byte("491231235959Z"),
	[]byte("500101000000Z"), []byte("491231235960Z"), []byte("20260101000000.0Z"), []byte("202601010000Z"),
	[]byte("a\x07b"), []byte("a*b&c@d_e"), []byte("\u202e机关"),
	{0x67, 0x3a, 0x51, 0x73}, {0xd8, 0, 0xdc, 0}, {0, 0x41, 0}, {0, 0}, {0x55, 0x1d, 0x0f}, {0x55, 0x1d, 0x13},
	{0x55, 0x1d, 0x1e}, {0x55, 0x1d, 0x25},
	{0x2b, 6, 1, 5, 5, 7, 3, 36}, {0x55, 0x1d, 0x25, 0}, {0x80, 1}, {0x55, 0x80, 1}, {0x55, 0x1d, 0x8f}}

func (p place) damage(random *rand.Rand) {
	n := p.parent.children[p.i]
	siblings := &p.parent.children
	switch random.IntN(11) {
	case 0:
		n.tag = tags[random.IntN(len(tags))]
	case 1:
		n.long = true
	case 2:
		*siblings = slices.Delete(*siblings, p.i, p.i+1)
	case 3:
		*siblings = slices.Insert(*siblings, p.i, n)
	case 4:
		other := random.IntN(len(*siblings))
		(*siblings)[p.i], (*siblings)[other] = (*siblings)[other], n
	case 5:
		added := &node{tag: tags[random.IntN(len(tags))], content: pieces[random.IntN(len(pieces))]}
		*siblings = slices.Insert(*siblings, p.i+random.IntN(2), added)
	case 6, 7:
		n.replace(pieces[random.IntN(len(pieces))])
	case 8:
		content := n.flat()
		n.replace(append(content, byte(random.IntN(256))))
	case 9:
		if content := n.flat(); len(content) > 0 {
			n.replace(content[:len(content)-1])
		}
	default:
		if content := n.flat(); len(content) > 0 {
			content[random.IntN(len(content))] ^= 1 << random.IntN(8)
			n.replace(content)
		}
	}
}

// flat is a copy of the content as bytes.
func (n *node) flat() []byte {
	if !n.parsed {
		return bytes.Clone(n.content)
	}
	var out []byte
	for _, c := range n.children {
		out = append(out, c.encode()...)
	}
	return out
}

func (n *node) replace(content []byte) {
	n.content, n.children, n.parsed = bytes.Clone(content), nil, false
	if n.tag&0x20 != 0 || n.tag == OctetString {
		if children, ok := parseAll(content); ok && len(children) > 0 && (n.tag != OctetString || len(children) == 1) {
			n.children, n.parsed = children, true
		}
	}
}
