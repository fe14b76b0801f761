//go:build js && wasm

// Command scan reads QR codes, for browsers that cannot do it themselves. It defines one
// global object for JavaScript:
//
//	qr.read(rgba, width, height)   the text of a code in the picture, or "" for none;
//	                               rgba is the Uint8ClampedArray of an ImageData
//
// Nothing throws. When the object is there, the function steleReady is called, if the page
// has defined one. A call runs to its end before it returns: a page calls from a worker.
package main

import (
	"syscall/js"

	"stele/ui/scan/qr"
)

func main() {
	js.Global().Set("qr", js.ValueOf(map[string]any{"read": js.FuncOf(read)}))
	if f := js.Global().Get("steleReady"); f.Type() == js.TypeFunction {
		f.Invoke()
	}
	select {} // a program that has ended cannot be called
}

func read(_ js.Value, args []js.Value) any {
	if len(args) != 3 || !args[0].InstanceOf(js.Global().Get("Uint8ClampedArray")) || args[1].Type() != js.TypeNumber ||
		args[2].Type() != js.TypeNumber {
		return ""
	}
	n := args[0].Length()
	if n > 4*qr.MaxPixels {
		return ""
	}
	rgba := make([]byte, n)
	js.CopyBytesToGo(rgba, args[0])
	return qr.Read(rgba, args[1].Int(), args[2].Int())
}
