// Package kernel writes SM3's compression function (GB/T 32905-2016, 5.3) as a WebAssembly
// module of its own. Go's compiler makes general code for browsers; this module keeps the
// state and the message in local variables and uses rotations, which Go's code does not, and
// hashes several times as fast. Package sm3 stays the measure: the verifier compares the two
// before it uses this one.
//
// The module has no imports. It exports its memory and compress(blocks), which hashes that
// many blocks of 64 bytes, from the address [Data] on, into the state: eight words, little
// endian, at the address 0.
package kernel

import "math/bits"

// Sizes in bytes. The memory holds the state and Room bytes of message.
const (
	BlockSize = 64
	Data      = 64
	Room      = 256 << 10
	pageSize  = 64 << 10
)

// Instructions (WebAssembly Core Specification, 5.4) that are used here.
const (
	opLoop      = 0x03
	opEnd       = 0x0b
	opBranchIf  = 0x0d
	opGet       = 0x20
	opSet       = 0x21
	opTee       = 0x22
	opLoad      = 0x28
	opStore     = 0x36
	opConst     = 0x41
	opAdd       = 0x6a
	opSub       = 0x6b
	opAnd       = 0x71
	opOr        = 0x72
	opXor       = 0x73
	opRotl      = 0x77
	typeInt     = 0x7f
	typeFunc    = 0x60
	noType      = 0x40
	exportFunc  = 0
	exportMem   = 2
	sectionType = 1
	sectionFunc = 3
	sectionMem  = 5
	sectionOut  = 7
	sectionCode = 10
)

// Local variables: the parameter, the address of the block, the state, a temporary one for
// SS1 and one for rotl(A, 12), and the expanded message.
const (
	blocks = 0
	at     = 1
	state  = 2
	ss1    = state + 8
	a12    = ss1 + 1
	word   = a12 + 1
	words  = 68
)

// Module returns the module's bytes.
func Module() []byte {
	c := code{}
	c.compress()
	body := append([]byte{1}, leb(word+words-1)...) // one group of locals besides the parameter
	body = append(append(body, typeInt), c...)
	out := []byte("\x00asm\x01\x00\x00\x00")
	out = section(out, sectionType, []byte{1, typeFunc, 1, typeInt, 0})
	out = section(out, sectionFunc, []byte{1, 0})
	out = section(out, sectionMem, append([]byte{1, 0}, leb((Data+Room+pageSize-1)/pageSize)...))
	out = section(out, sectionOut, append(append([]byte{2}, export("memory", exportMem)...),
		export("compress", exportFunc)...))
	return section(out, sectionCode, append(append([]byte{1}, leb(uint32(len(body)))...), body...))
}

func section(out []byte, id byte, content []byte) []byte {
	return append(append(append(out, id), leb(uint32(len(content)))...), content...)
}

func export(name string, kind byte) []byte {
	return append(append([]byte{byte(len(name))}, name...), kind, 0)
}

// leb writes an unsigned number (5.2.2).
func leb(n uint32) []byte {
	var out []byte
	for ; n >= 0x80; n >>= 7 {
		out = append(out, byte(n)|0x80)
	}
	return append(out, byte(n))
}

// code is a function's instructions. Each method adds some.
type code []byte

func (c *code) op(b ...byte) { *c = append(*c, b...) }

func (c *code) local(op byte, n int) { *c = append(append(*c, op), leb(uint32(n))...) }

func (c *code) get(n int) { c.local(opGet, n) }
func (c *code) set(n int) { c.local(opSet, n) }

// number writes a signed constant.
func (c *code) number(n uint32) {
	c.op(opConst)
	for v := int32(n); ; v >>= 7 {
		b := byte(v) & 0x7f
		if rest := v >> 7; rest == 0 && b&0x40 == 0 || rest == -1 && b&0x40 != 0 {
			c.op(b)
			return
		}
		c.op(b | 0x80)
	}
}

func (c *code) rotl(n int) { c.number(uint32(n)); c.op(opRotl) }

// rotated puts a variable, rotated to the left, onto the stack.
func (c *code) rotated(v, n int) { c.get(v); c.rotl(n) }

// memory loads or stores a word at the address on the stack plus an offset; words are aligned.
func (c *code) memory(op byte, offset int) { *c = append(append(*c, op, 2), leb(uint32(offset))...) }

func (c *code) compress() {
	c.op(opLoop, noType)
	for i := range 8 {
		c.number(0)
		c.memory(opLoad, 4*i)
		c.set(state + i)
	}
	c.expand()
	var s [8]int // which variable is A to H in this round: they move round, not their values
	for i := range s {
		s[i] = state + i
	}
	for j := range 64 {
		s = c.round(j, s)
	}
	for i := range 8 {
		c.number(0)
		c.get(s[i])
		c.number(0)
		c.memory(opLoad, 4*i)
		c.op(opXor)
		c.memory(opStore, 4*i)
	}
	c.get(at)
	c.number(BlockSize)
	c.op(opAdd)
	c.set(at)
	c.get(blocks)
	c.number(1)
	c.op(opSub)
	c.local(opTee, blocks)
	c.op(opBranchIf, 0, opEnd, opEnd)
}

// expand reads a block and writes W0 to W67 (5.3.2).
func (c *code) expand() {
	for j := range 16 { // words of the message are big endian
		c.get(at)
		c.memory(opLoad, Data+4*j)
		c.local(opTee, word+j)
		c.rotl(8)
		c.number(0x00ff00ff)
		c.op(opAnd)
		c.rotated(word+j, 24)
		c.number(0xff00ff00)
		c.op(opAnd, opOr)
		c.set(word + j)
	}
	for j := 16; j < words; j++ {
		w := word + j
		c.get(w - 16)
		c.get(w - 9)
		c.op(opXor)
		c.rotated(w-3, 15)
		c.op(opXor)
		c.local(opTee, w) // P1
		c.rotated(w, 15)
		c.op(opXor)
		c.rotated(w, 23)
		c.op(opXor)
		c.rotated(w-13, 7)
		c.op(opXor)
		c.get(w - 6)
		c.op(opXor)
		c.set(w)
	}
}

// round is one of the 64 (5.3.3). It returns the variables of the next round's A to H.
func (c *code) round(j int, s [8]int) [8]int {
	A, B, C, D, E, F, G, H := s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]
	t := uint32(0x79cc4519)
	if j >= 16 {
		t = 0x7a879d8a
	}
	c.rotated(A, 12)
	c.local(opTee, a12)
	c.get(E)
	c.op(opAdd)
	c.number(bits.RotateLeft32(t, j))
	c.op(opAdd)
	c.rotl(7)
	c.set(ss1)
	// TT1 takes D's place: it is the next A.
	c.choose(j, A, B, C)
	c.get(D)
	c.op(opAdd)
	c.get(ss1)
	c.get(a12)
	c.op(opXor, opAdd)
	c.get(word + j)
	c.get(word + j + 4)
	c.op(opXor, opAdd)
	c.set(D)
	// TT2, and P0 of it, takes H's place: it is the next E.
	c.pick(j, E, F, G)
	c.get(H)
	c.op(opAdd)
	c.get(ss1)
	c.op(opAdd)
	c.get(word + j)
	c.op(opAdd)
	c.local(opTee, H)
	c.rotated(H, 9)
	c.op(opXor)
	c.rotated(H, 17)
	c.op(opXor)
	c.set(H)
	c.rotated(B, 9)
	c.set(B)
	c.rotated(F, 19)
	c.set(F)
	return [8]int{D, A, B, C, H, E, F, G}
}

// choose is FF: in the later rounds the majority.
func (c *code) choose(j, x, y, z int) {
	if j < 16 {
		c.parity(x, y, z)
		return
	}
	c.get(x)
	c.get(y)
	c.op(opOr)
	c.get(z)
	c.op(opAnd)
	c.get(x)
	c.get(y)
	c.op(opAnd, opOr)
}

// pick is GG: in the later rounds y where x is set, else z.
func (c *code) pick(j, x, y, z int) {
	if j < 16 {
		c.parity(x, y, z)
		return
	}
	c.get(y)
	c.get(z)
	c.op(opXor)
	c.get(x)
	c.op(opAnd)
	c.get(z)
	c.op(opXor)
}

func (c *code) parity(x, y, z int) {
	c.get(x)
	c.get(y)
	c.op(opXor)
	c.get(z)
	c.op(opXor)
}
