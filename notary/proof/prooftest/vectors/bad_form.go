package vectors

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"

	"stele/crypto/merkle"
	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/prooftest"
)

// badForm are bundles that say what the genuine one says, or nearly, in another spelling.
func (b *builder) badForm() {
	good := genuine().Encode()
	firstHash := base64.StdEncoding.EncodeToString(genuine().Log.Path[0][:])
	malformed := func(name, about string, bundle []byte) {
		b.bad("form-"+name, about, proof.StepBundle, "malformed", bundle)
	}
	again := func(name, about string, bundle []byte) {
		b.add("resaved-"+name, about, proof.Genuine, bundle, warned(proof.WarnResaved))
	}
	malformed("empty", "no bytes", []byte{})
	malformed("not-json", "text that is no JSON", []byte("stele/bundle/v1"))
	malformed("cut", "the last byte is missing", good[:len(good)-1])
	again("newline", "a line feed at the end", append(bytes.Clone(good), '\n'))
	malformed("trailing", "a second value at the end", append(bytes.Clone(good), "{}"...))
	again("byte-order-mark", "a byte order mark at the beginning", append([]byte("\ufeff"), good...))
	again("space", "white space after a colon", replaced(`"userId":"`, `"userId": "`))
	malformed("repeated-key", "a key stands there twice, with the same value", replaced(`"userId":"1234567812345678"`,
		`"userId":"1234567812345678","userId":"1234567812345678"`))
	malformed("unknown-key", "a key that version 1 does not have", replaced(`,"userId"`, `,"note":"","userId"`))
	malformed("key-order", "two keys have changed places", replaceIn(replaced(`"userId":"1234567812345678",`, ``),
		`,"fields":`, `,"userId":"1234567812345678","fields":`))
	malformed("key-case", "a key in other case", replaced(`"userId"`, `"userid"`))
	malformed("version", "another version", replaced("stele/bundle/v1", "stele/bundle/v3"))
	malformed("version-2", "version 2 without what it has more than version 1",
		replaced("stele/bundle/v1", "stele/bundle/v2"))
	again("escape", "a character is escaped that need not be", replaced(`"userId":"1`, `"userId":"\u0031`))
	again("escape-quote", "a quotation mark is escaped otherwise", replaced(`证明 \"A`, `证明 \u0022A`))
	malformed("null", "null in place of an empty list", damagedText(func(b *proof.Bundle) { b.Anchors = nil },
		`"anchors":[]`, `"anchors":null`))
	malformed("number", "a number with a fraction", replaced(`"index":5`, `"index":5.0`))
	malformed("leading-zero", "a number with a leading zero", replaced(`"index":5`, `"index":05`))
	malformed("negative", "a negative number", replaced(`"index":5`, `"index":-5`))
	malformed("number-range", "an index of 2^53", replaced(`"index":5`, `"index":9007199254740992`))
	malformed("base64-bits", "base64 whose unused bits are not zero", replaced(firstHash, oneMoreBit(firstHash)))
	malformed("base64-padding", "base64 without padding", replaced(firstHash, strings.TrimSuffix(firstHash, "=")))
	malformed("base64-line", "base64 with a line break", replaced(firstHash, firstHash[:20]+`\n`+firstHash[20:]))
	malformed("base64-url", "base64 in the alphabet for addresses", urlAlphabet())
	malformed("utf-8", "bytes that are no UTF-8", replaced(`"value":"经办人 0017"`, "\"value\":\"\xff\""))
	malformed("surrogate", "half a surrogate pair", replaced(`"value":"经办人 0017"`, `"value":"\ud800"`))
	malformed("hash-short", "a hash of 31 bytes",
		replaced(firstHash, base64.StdEncoding.EncodeToString(make([]byte, 31))))
	malformed("path-limit", "a path of 65 hashes",
		damaged(func(b *proof.Bundle) { b.Log.Path = make([]merkle.Hash, merkle.MaxPath+1) }))
	malformed("salt-short", "a salt of 15 bytes",
		damaged(func(b *proof.Bundle) { b.Fields[0].Salt = b.Fields[0].Salt[:15] }))
	malformed("field-name", "an attribute's name begins with a digit",
		damaged(func(b *proof.Bundle) { b.Fields[0].Name = "0" }))
	malformed("field-order", "the attributes are not sorted",
		damaged(func(b *proof.Bundle) { b.Fields[0], b.Fields[1] = b.Fields[1], b.Fields[0] }))
	malformed("no-certificate", "no certificate", damaged(func(b *proof.Bundle) { b.Certificates = nil }))
	malformed("certificate-limit", "five certificates", damaged(func(b *proof.Bundle) {
		for len(b.Certificates) < 5 {
			b.Certificates = append(b.Certificates, b.Certificates[1])
		}
	}))
	malformed("no-statement", "an empty statement", damaged(func(b *proof.Bundle) { b.Statement = nil }))
	malformed("signature-limit", "a signature of 73 bytes", damaged(func(b *proof.Bundle) {
		b.Signature = append(b.Signature, make([]byte, sm.MaxSignatureSize+1-len(b.Signature))...)
	}))
	malformed("anchor-kind", "an anchor of a kind that there is not", replaced("stele/egov/v1", "stele/egov/v2"))
	malformed("anchor-kind-second", "an anchor whose first key is not its kind", damaged(func(b *proof.Bundle) {
		b.Anchors = append(b.Anchors, json.RawMessage(`{"receipt":"AAAA","kind":"bsn/fabric/v1"}`))
	}))
	again("anchor-space", "white space in an anchor of a kind that is not checked", damaged(func(b *proof.Bundle) {
		b.Anchors = append(b.Anchors, json.RawMessage(`{"kind":"bsn/fabric/v1", "receipt":"AAAA"}`))
	}))
	malformed("anchor-null", "null among the anchors",
		damaged(func(b *proof.Bundle) { b.Anchors = append(b.Anchors, json.RawMessage("null")) }))
	malformed("standing-null", "null for no standing", append(bytes.TrimSuffix(bytes.Clone(good), []byte("}")),
		`,"standing":null}`...))
}

func damagedText(change func(*proof.Bundle), old, new string) []byte {
	return replaceIn(damaged(change), old, new)
}

// oneMoreBit sets an unused bit in base64 of 32 bytes: the two lowest of the last character.
func oneMoreBit(b64 string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	last := len(b64) - 2 // before the one padding character
	return b64[:last] + string(alphabet[strings.IndexByte(alphabet, b64[last])+1]) + "="
}

// urlAlphabet spells one hash with the characters - and _ in place of + and /.
func urlAlphabet() []byte {
	text := genuine().Encode()
	for _, h := range genuine().Log.Path {
		std := base64.StdEncoding.EncodeToString(h[:])
		if url := base64.URLEncoding.EncodeToString(h[:]); url != std {
			return replaceIn(text, std, url)
		}
	}
	panic("vectors: no hash on the path has a character that the alphabets spell differently")
}

// badFields show attributes other than those that were signed.
func (b *builder) badFields() {
	field := func(name, about, reason string, change func(f []proof.Disclosed) []proof.Disclosed) {
		b.bad("field-"+name, about, proof.StepFields, reason,
			damaged(func(b *proof.Bundle) { b.Fields = change(b.Fields) }))
	}
	field("value", "a value is not the one that was signed", "commitment_differs",
		func(f []proof.Disclosed) []proof.Disclosed {
			f[2].Value += " "
			return f
		})
	field("empty", "a value is empty", "commitment_differs", func(f []proof.Disclosed) []proof.Disclosed {
		f[2].Value = ""
		return f
	})
	field("salt", "a salt is not the one that was signed", "commitment_differs",
		func(f []proof.Disclosed) []proof.Disclosed {
			f[0].Salt = flip(f[0].Salt, 15)
			return f
		})
	field("swapped", "two attributes have exchanged salt and value", "commitment_differs",
		func(f []proof.Disclosed) []proof.Disclosed {
			f[0].Name, f[1].Name = f[1].Name, f[0].Name
			return []proof.Disclosed{f[1], f[0], f[2]}
		})
	field("unknown", "an attribute that the statement does not have", "unknown_field",
		func(f []proof.Disclosed) []proof.Disclosed {
			return append(f, proof.Disclosed{Name: "zone", Salt: f[0].Salt, Value: "江岸区"})
		})
	field("renamed", "an attribute under another name", "unknown_field", func(f []proof.Disclosed) []proof.Disclosed {
		f[2].Name = "titleX"
		return f
	})
	b.bad("field-of-other-record", "an attribute of another record about the same document", proof.StepFields,
		"commitment_differs", func() []byte {
			w := four()
			first, second := w.Issue(document), w.Issue(document)
			c := w.Checkpoint()
			bundle := w.Bundle(first, c, w.Anchor(c))
			bundle.Fields = second.Fields
			return prooftest.Clone(bundle).Encode()
		}())
}
