//go:build js && wasm

package main

import (
	"encoding/binary"
	"hash"
	"syscall/js"

	"stele/crypto/sm"
	"stele/ui/wasm/kernel"
)

// fast is SM3 on the kernel, see package kernel.
type fast struct {
	compress js.Value
	state    js.Value // Uint8Array over the kernel's state
	room     js.Value // and over its room for message
}

// newFast returns nil where the browser does not run the kernel, or the kernel does not
// compute what package sm does.
func newFast() (f *fast) {
	defer func() {
		if recover() != nil { // a browser that refuses throws
			f = nil
		}
	}()
	wasm, bytes := js.Global().Get("WebAssembly"), js.Global().Get("Uint8Array")
	exports := wasm.Get("Instance").New(wasm.Get("Module").New(copyOut(kernel.Module()))).Get("exports")
	memory := exports.Get("memory").Get("buffer")
	f = &fast{compress: exports.Get("compress"), state: bytes.New(memory, 0, sm.DigestSize),
		room: bytes.New(memory, kernel.Data, kernel.Room)}
	for _, size := range []int{0, 3, 55, 56, 63, 64, 119, 120, 128, 1000, 100_000} {
		message := make([]byte, size)
		for i := range message {
			message[i] = byte(i*7 + i>>8)
		}
		h := f.new()
		h.update(copyOut(message[:size/3]))
		h.update(copyOut(message[size/3:]))
		if h.digest() != sm.Sum(message) {
			return nil
		}
	}
	return f
}

// fastHash is one hash on the kernel.
type fastHash struct {
	*fast
	state [sm.DigestSize]byte // between calls: the kernel has one state for all
	tail  []byte              // less than a block that waits for more
	size  uint64              // bytes
}

// initial are the state's eight words (GB/T 32905-2016, 4.1).
var initial = [8]uint32{0x7380166f, 0x4914b2b9, 0x172442d7, 0xda8a0600, 0xa96f30bc, 0x163138aa, 0xe38dee4d, 0xb0fb0e4e}

func (f *fast) new() *fastHash {
	h := &fastHash{fast: f}
	for i, w := range initial {
		binary.LittleEndian.PutUint32(h.state[4*i:], w)
	}
	return h
}

// update hashes a Uint8Array. Whole blocks go from JavaScript's memory into the kernel's.
func (h *fastHash) update(data js.Value) {
	size := data.Length()
	h.size += uint64(size)
	js.CopyBytesToJS(h.fast.state, h.state[:])
	at := 0
	if len(h.tail) > 0 {
		at = min(size, kernel.BlockSize-len(h.tail))
		h.keep(data, 0, at)
		if len(h.tail) == kernel.BlockSize {
			js.CopyBytesToJS(h.room, h.tail)
			h.compress.Invoke(1)
			h.tail = h.tail[:0]
		}
	}
	for blocks := (size - at) / kernel.BlockSize; blocks > 0; {
		n := min(blocks, kernel.Room/kernel.BlockSize)
		h.room.Call("set", data.Call("subarray", at, at+n*kernel.BlockSize))
		h.compress.Invoke(n)
		at += n * kernel.BlockSize
		blocks -= n
	}
	if at < size {
		h.keep(data, at, size)
	}
	js.CopyBytesToGo(h.state[:], h.fast.state)
}

// Write hashes what is in the program's own memory.
func (h *fastHash) Write(b []byte) (int, error) {
	size := len(b)
	h.size += uint64(size)
	js.CopyBytesToJS(h.fast.state, h.state[:])
	if len(h.tail) > 0 {
		n := min(len(b), kernel.BlockSize-len(h.tail))
		if h.tail, b = append(h.tail, b[:n]...), b[n:]; len(h.tail) == kernel.BlockSize {
			js.CopyBytesToJS(h.room, h.tail)
			h.compress.Invoke(1)
			h.tail = h.tail[:0]
		}
	}
	for len(b) >= kernel.BlockSize {
		n := min(len(b), kernel.Room) / kernel.BlockSize
		js.CopyBytesToJS(h.room, b[:n*kernel.BlockSize])
		h.compress.Invoke(n)
		b = b[n*kernel.BlockSize:]
	}
	h.tail = append(h.tail, b...)
	js.CopyBytesToGo(h.state[:], h.fast.state)
	return size, nil
}

// keep adds a part of the data, less than a block, to the tail.
func (h *fastHash) keep(data js.Value, from, to int) {
	part := make([]byte, to-from)
	js.CopyBytesToGo(part, data.Call("subarray", from, to))
	h.tail = append(h.tail, part...)
}

func (h *fastHash) digest() sm.Digest {
	bits := h.size * 8
	padding := append([]byte{0x80}, make([]byte, (kernel.BlockSize+55-h.size%kernel.BlockSize)%kernel.BlockSize)...)
	h.update(copyOut(binary.BigEndian.AppendUint64(padding, bits)))
	var d sm.Digest
	for i := range len(d) / 4 {
		binary.BigEndian.PutUint32(d[4*i:], binary.LittleEndian.Uint32(h.state[4*i:]))
	}
	return d
}

// slowHash is package sm's.
type slowHash struct {
	hash.Hash
	buf [64 << 10]byte // what is copied in is hashed at once, from the cache
}

func (h *slowHash) update(data js.Value) {
	for at, end := 0, data.Length(); at < end; at += len(h.buf) {
		n := js.CopyBytesToGo(h.buf[:], data.Call("subarray", at, min(at+len(h.buf), end)))
		h.Write(h.buf[:n])
	}
}

func (h *slowHash) digest() sm.Digest { return sm.Digest(h.Sum(nil)) }
