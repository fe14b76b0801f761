package vectors

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf16"

	"stele/notary/proof"
)

// resaved are bundles and trust roots that another program saved anew.
func (b *builder) resaved() {
	whole := genuine().Encode()
	again := func(name, about string, bundle []byte) {
		b.add("resaved-"+name, about, proof.Genuine, bundle, warned(proof.WarnResaved))
	}
	indented, err := json.MarshalIndent(json.RawMessage(whole), "", "  ")
	if err != nil {
		panic("vectors: " + err.Error())
	}
	again("indented", "an editor has indented the bundle", indented)
	again("crlf", "indented, with other line ends", []byte(crlf(string(indented))))
	again("utf-16", "in UTF-16, little endian, with a mark", utf16le(string(whole)))
	again("escaped", "other escapes for Chinese characters, a solidus and a quotation mark", escapeAll(whole))
	b.bad("resaved-fraction", "a program has made a fraction of a number", proof.StepBundle, "malformed",
		replaced(`"log":{"index":5,`, `"log":{"index":5.0,`))
	b.bad("resaved-sorted", "a program has sorted the keys: their order cannot be known", proof.StepBundle, "malformed",
		sortedKeys(whole))
	b.bad("resaved-twice", "a key stands there twice", proof.StepBundle, "malformed",
		append([]byte("\ufeff"), replaced(`"userId":`, `"userId":"1234567812345678","userId":`)...))
	trust, err := json.MarshalIndent(json.RawMessage(b.set.Files[scopedFile]), "", "\t")
	if err != nil {
		panic("vectors: " + err.Error())
	}
	b.set.Files[spacedFile] = append([]byte("\ufeff"), trust...)
	b.add("resaved-trust", "the trust roots were saved anew", proof.Genuine, whole, trustedBy(spacedFile))
}

func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

// utf16le is a text as some editors save it.
func utf16le(s string) []byte {
	var out []byte
	for _, u := range utf16.Encode([]rune("\ufeff" + s)) {
		out = append(out, byte(u), byte(u>>8))
	}
	return out
}

// escapeAll writes every character that JSON may write otherwise in another way.
func escapeAll(text []byte) []byte {
	var b bytes.Buffer
	for _, r := range strings.ReplaceAll(string(text), `\"`, `\u0022`) {
		switch {
		case r == '/':
			b.WriteString(`\/`)
		case r < 0x80:
			b.WriteRune(r)
		default:
			for _, u := range utf16.Encode([]rune{r}) {
				fmt.Fprintf(&b, `\u%04X`, u)
			}
		}
	}
	return b.Bytes()
}

// sortedKeys is what a program writes that keeps objects as tables.
func sortedKeys(text []byte) []byte {
	var v map[string]json.RawMessage
	if err := json.Unmarshal(text, &v); err != nil {
		panic("vectors: " + err.Error())
	}
	out, err := json.Marshal(v)
	if err != nil {
		panic("vectors: " + err.Error())
	}
	return out
}
