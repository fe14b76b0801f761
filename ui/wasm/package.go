//go:build js && wasm

package main

import (
	"bufio"
	"errors"
	"io"
	"syscall/js"

	"stele/notary/proof"
	"stele/notary/proof/carrier"
)

// jsFile reads a file through a function of JavaScript's, which is given where to begin and to
// end and returns a Uint8Array, or null where the file cannot be read.
type jsFile struct {
	read js.Value
	size int64
	told func(done int64)
}

var errUnreadable = errors.New("the page cannot read the file")

// fileOf makes a file of a call's first arguments: the function and the size.
func fileOf(args []js.Value) (*jsFile, bool) {
	if len(args) < 2 || args[0].Type() != js.TypeFunction || args[1].Type() != js.TypeNumber {
		return nil, false
	}
	return &jsFile{read: args[0], size: int64(args[1].Float()), told: func(int64) {}}, true
}

// ReadAt implements [io.ReaderAt].
func (f *jsFile) ReadAt(b []byte, at int64) (int, error) {
	if at >= f.size {
		return 0, io.EOF
	}
	want := min(int64(len(b)), f.size-at)
	part := f.read.Invoke(float64(at), float64(at+want))
	if !isBytes(part) || int64(part.Length()) != want {
		return 0, errUnreadable // also one that has become shorter
	}
	n := js.CopyBytesToGo(b, part)
	f.told(at + want)
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// looksPacked is null where the file cannot be read.
func looksPacked(_ js.Value, args []js.Value) any {
	f, ok := fileOf(args)
	if !ok {
		return nil
	}
	looks, err := carrier.LooksPacked(f, f.size)
	if err != nil {
		return nil
	}
	return looks
}

// readAhead is how much is asked of JavaScript at once: each call there costs a little.
const readAhead = 4 << 20

// unpack reads an evidence package and hashes its original.
func (h *hashes) unpack(_ js.Value, args []js.Value) any {
	f, ok := fileOf(args)
	if !ok {
		return nil
	}
	if len(args) > 2 && args[2].Type() == js.TypeFunction {
		f.told = func(done int64) { args[2].Invoke(float64(done)) }
	}
	sum := h.new()
	r := bufio.NewReaderSize(io.NewSectionReader(f, 0, f.size), readAhead)
	p, err := carrier.ReadPackage(r, func(string) (io.Writer, error) { return sum, nil })
	if fault := (*carrier.PackageError)(nil); errors.As(err, &fault) {
		return map[string]any{"report": string(proof.BadPackage(fault.Entry, fault.Error()).JSON())}
	}
	if err != nil {
		return nil
	}
	out := map[string]any{"bundle": copyOut(p.Bundle), "original": nil}
	if p.Original != "" {
		out["original"] = map[string]any{"name": p.Original, "size": float64(p.Size), "sm3": sum.digest().String()}
	}
	return out
}
