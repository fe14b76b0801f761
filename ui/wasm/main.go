//go:build js && wasm

// Command wasm is the browser's verifier: the same [proof.Verify] that the server and the
// command line call, and a streaming SM3 hash, so that a document never leaves the page.
//
// It defines one global object for JavaScript:
//
//	stele.sm3Create()                        a handle (a number) for a new hash
//	stele.sm3Update(handle, bytes)           true; bytes is a Uint8Array of any length
//	stele.sm3Digest(handle)                  64 hex digits; the handle is gone afterwards
//	stele.sm3Discard(handle)                 for a hash that is given up
//	stele.sm3Fast                            whether these use the kernel, see package kernel
//	stele.verify(trust, digest, bundle, size)
//	                                         the report as JSON text; trust is the text of
//	                                         the trust roots, digest 64 hex digits or null,
//	                                         bundle a Uint8Array or a string, size that of the
//	                                         file in bytes, or missing where only its digest is known
//	stele.refresh(held, fresh)               the bundle that somebody holds with the evidence of a fresh
//	                                         one, as text, see [proof.Refresh]; null if they are not
//	                                         bundles of one record. Nothing of it is verified yet
//	stele.rank(reports)                      the order of the reports about one file, the best
//	                                         first, as JSON text: [{"at": index, "shows",
//	                                         "open", "cause", "attention", "replacedBy"}], see
//	                                         [proof.Place]; reports is JSON text, a list of
//	                                         what verify returned; null if it is not
//	stele.words(texts, findings, about)      what was found about one file in words, as JSON text, see
//	                                         [words.Result]; texts is a JSON object, the catalogue;
//	                                         findings is JSON text, a list in the order of rank, see
//	                                         [words.Finding]; about is what is known besides, see
//	                                         [words.About]; null if one of them is not
//	stele.extract(bytes)                     the bundle inside a certificate, a Uint8Array; false
//	                                         for one that was cut off or saved anew since it
//	                                         was issued; null for whatever is no certificate
//	stele.looksPacked(read, size)            whether a file looks like an evidence package; null
//	                                         where it cannot be read. read(from, to) returns that
//	                                         part of the file as a Uint8Array, at once, or null
//	stele.unpack(read, size, told)           {bundle, original: {name, size, sm3} or null} of an
//	                                         evidence package, bundle being a Uint8Array; {report}
//	                                         as JSON text of one that is not as it was issued; null
//	                                         where it cannot be read. told, which may be missing,
//	                                         is called with the number of bytes that are done
//	stele.exhibit(trust, digest, bundle, texts, size)
//	                                         the bundle taken apart, as JSON text: {"picture":
//	                                         an SVG element, "points": [{label, kind, value}],
//	                                         "parts": [{key, title, values: [{label, kind,
//	                                         value}], commands}]}; texts is a JSON object of
//	                                         the catalogue's keys picture.* and exhibit.*
//
// Nothing throws. A handle that there is not gives false or null; arguments that cannot be
// used give a report with the verdict "unverifiable", or an exhibit with nothing in it. When
// the object is there, the function steleReady is called, if the page has defined one. Before
// that the program tests itself; when that fails, there is no object, the page's function
// steleFailed is called, and the program ends.
//
// All calls run to their end before they return: a page calls from a worker.
package main

import (
	"errors"
	"io"
	"syscall/js"

	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/carrier"
)

func main() {
	if !selfTest() {
		call("steleFailed")
		return
	}
	h := hashes{fast: newFast(), open: map[int]hasher{}}
	js.Global().Set("stele", js.ValueOf(map[string]any{
		"sm3Create":   js.FuncOf(h.create),
		"sm3Update":   js.FuncOf(h.update),
		"sm3Digest":   js.FuncOf(h.digest),
		"sm3Discard":  js.FuncOf(h.discard),
		"verify":      js.FuncOf(verify),
		"rank":        js.FuncOf(rank),
		"refresh":     js.FuncOf(refresh),
		"words":       js.FuncOf(say),
		"extract":     js.FuncOf(extract),
		"looksPacked": js.FuncOf(looksPacked),
		"unpack":      js.FuncOf(h.unpack),
		"sm3Fast":     h.fast != nil,
		"exhibit":     js.FuncOf(showExhibit),
	}))
	call("steleReady")
	warmUp()
	select {} // a program that has ended cannot be called
}

// call calls a function of the page, where it has defined one.
func call(name string) {
	if f := js.Global().Get(name); f.Type() == js.TypeFunction {
		f.Invoke()
	}
}

// hasher is a streaming hash of what JavaScript has. After digest it is used up.
type hasher interface {
	io.Writer // the same for what is here
	update(data js.Value)
	digest() sm.Digest
}

// hashes are those in work, by handle. JavaScript calls one function at a time.
type hashes struct {
	fast *fast // nil where it cannot be used
	open map[int]hasher
	last int
}

func (h *hashes) create(js.Value, []js.Value) any {
	h.last++
	h.open[h.last] = h.new()
	return h.last
}

func (h *hashes) new() hasher {
	if h.fast != nil {
		return h.fast.new()
	}
	return &slowHash{Hash: sm.NewHash()}
}

func (h *hashes) find(args []js.Value) (int, hasher) {
	if len(args) == 0 || args[0].Type() != js.TypeNumber {
		return 0, nil
	}
	return args[0].Int(), h.open[args[0].Int()]
}

func (h *hashes) update(_ js.Value, args []js.Value) any {
	_, sum := h.find(args)
	if sum == nil || len(args) < 2 || !isBytes(args[1]) {
		return false
	}
	sum.update(args[1])
	return true
}

func (h *hashes) digest(_ js.Value, args []js.Value) any {
	id, sum := h.find(args)
	if sum == nil {
		return nil
	}
	delete(h.open, id)
	return sum.digest().String()
}

func (h *hashes) discard(_ js.Value, args []js.Value) any {
	id, sum := h.find(args)
	delete(h.open, id)
	return sum != nil
}

func isBytes(v js.Value) bool { return v.InstanceOf(js.Global().Get("Uint8Array")) }

func verify(_ js.Value, args []js.Value) any {
	if len(args) < 3 || len(args) > 4 || args[0].Type() != js.TypeString {
		return unchecked("the page did not hand over trust roots, digest and bundle")
	}
	trust, err := proof.ParseTrust([]byte(args[0].String()))
	if err != nil {
		return unchecked("the trust roots cannot be read")
	}
	file, why := documentOf(args[1], args[3:])
	if why != "" {
		return unchecked(why)
	}
	bundle, ok := bytesOf(args[2])
	if !ok {
		return unchecked("the bundle is neither bytes nor text")
	}
	return string(proof.VerifyFile(trust, file, bundle).JSON())
}

func refresh(_ js.Value, args []js.Value) any {
	if len(args) != 2 {
		return nil
	}
	held, ok := bytesOf(args[0])
	fresh, ok2 := bytesOf(args[1])
	if !ok || !ok2 {
		return nil
	}
	b, err := proof.Refresh(held, fresh)
	if err != nil {
		return nil
	}
	return string(b)
}

// documentOf reads what is known of a document: its digest or null, and perhaps its size.
func documentOf(digest js.Value, size []js.Value) (f *proof.File, why string) {
	switch digest.Type() {
	case js.TypeNull, js.TypeUndefined:
		return nil, ""
	case js.TypeString:
	default:
		return nil, "the digest of the file is no text"
	}
	d, err := sm.ParseDigest(digest.String())
	if err != nil {
		return nil, "the digest of the file has not 64 hexadecimal digits"
	}
	f = &proof.File{SM3: d, Size: -1}
	if len(size) > 0 && size[0].Type() == js.TypeNumber {
		f.Size = int64(size[0].Float())
	}
	return f, ""
}

func unchecked(why string) string { return string(proof.Unchecked(why).JSON()) }

// bytesOf copies a bundle out of JavaScript, of an oversize one only as much as shows that
// it is one.
func bytesOf(v js.Value) ([]byte, bool) {
	switch {
	case v.Type() == js.TypeString:
		return []byte(v.String()), true
	case !isBytes(v):
		return nil, false
	}
	return copyIn(v, proof.MaxBundleSize), true
}

// copyIn copies bytes out of JavaScript, at most one more than the limit.
func copyIn(v js.Value, limit int) []byte {
	b := make([]byte, min(v.Length(), limit+1))
	js.CopyBytesToGo(b, v)
	return b
}

func copyOut(b []byte) js.Value {
	v := js.Global().Get("Uint8Array").New(len(b))
	js.CopyBytesToJS(v, b)
	return v
}

func extract(_ js.Value, args []js.Value) any {
	if len(args) != 1 || !isBytes(args[0]) {
		return nil
	}
	_, bundle, err := carrier.Extract(copyIn(args[0], carrier.MaxSize))
	switch {
	case errors.Is(err, carrier.ErrResaved):
		return false
	case err != nil:
		return nil
	}
	return copyOut(bundle)
}
