package vectors

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"

	"stele/notary/proof"
)

// silences are inputs about which docs/formats.md once said nothing, or that two verifiers read
// differently.
func (b *builder) silences() {
	b.validators()
	b.notes()
	nested := func(n int) []byte {
		return damaged(func(b *proof.Bundle) {
			b.Anchors = append(b.Anchors,
				json.RawMessage(`{"kind":"bsn/fabric/v1","a":`+strings.Repeat("[", n)+strings.Repeat("]", n)+`}`))
		})
	}
	b.add("genuine-nested", "an anchor of a kind that is not checked makes 64 levels of objects and lists",
		proof.Genuine, nested(61))
	b.bad("form-nested", "65 levels of objects and lists", proof.StepBundle, "malformed", nested(62))
}

// notes are checkpoints that have the text of one and are no notes in form: the entry is under
// their root, and what they lack is the log's signature, whatever is pinned.
func (b *builder) notes() {
	note := func(name, about string, change func(text, line string) string) {
		b.bad("note-"+name, about+", from a log that is not known", proof.StepCheckpoint, "bad_signature",
			damaged(func(b *proof.Bundle) {
				text, line, _ := strings.Cut(string(b.Log.Checkpoint), "\n\n")
				b.Log.Checkpoint, b.Anchors = []byte(change(text+"\n", line)), nil
			}), trustedBy("trust-no-log.json"))
	}
	signature := func(change func(raw []byte) []byte) func(text, line string) string {
		return func(text, line string) string {
			i := strings.LastIndexByte(line, ' ') + 1
			raw, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(line[i:], "\n"))
			if err != nil {
				panic("vectors: " + err.Error())
			}
			return text + "\n" + line[:i] + base64.StdEncoding.EncodeToString(change(raw)) + "\n"
		}
	}
	note("no-line", "the text is followed by an empty line alone", func(text, _ string) string { return text + "\n" })
	note("cut", "the line feed at the end is missing", func(text, line string) string {
		return text + "\n" + strings.TrimSuffix(line, "\n")
	})
	note("empty-lines", "two empty lines follow the text", func(text, line string) string {
		return text + "\n\n" + line
	})
	note("further-text", "further text and a second empty line follow the first", func(text, line string) string {
		return text + "\nx\n\n" + line
	})
	note("dash", "the signature line begins with a hyphen", func(text, line string) string {
		return text + "\n-" + strings.TrimPrefix(line, "—")
	})
	note("no-signature", "the signature line has a key id alone", signature(func(raw []byte) []byte { return raw[:4] }))
	note("short", "the signature line has three bytes", signature(func(raw []byte) []byte { return raw[:3] }))
	note("signature-after", "a byte follows the signature's DER", signature(func(raw []byte) []byte {
		return append(raw, 0)
	}))
	note("signature-der", "the signature is no DER", signature(func(raw []byte) []byte {
		return append(raw[:4:4], make([]byte, 64)...)
	}))
	b.add("unverifiable-note", "a note in form from a log that is not known", proof.Unverifiable,
		damaged(func(b *proof.Bundle) { b.Anchors = nil }), trustedBy("trust-no-log.json"))
}

// validators are integers of the evidence beyond what canonical JSON has, and the largest that
// it has: malformed evidence is not evidence of a chain that is not pinned.
func (b *builder) validators() {
	largest, tooLarge := "9007199254740991", "9007199254740992"
	with := func(bundle []byte, key, value string) []byte {
		old, err := proof.ParseBundle(bundle)
		if err != nil {
			panic("vectors: " + err.Error())
		}
		return changed(old, func(b *proof.Bundle) {
			b.Anchors = []json.RawMessage{firstValidator(b.Anchors[0], key, value)}
		})
	}
	for _, list := range []struct{ name, about, key string }{
		{"cosignature", "of a cosignature", `"cosignatures"`},
		{"hand-over", "of a signature under an epoch", `"signatures"`}, {"join", "of a newcomer's proof", `"joins"`},
	} {
		bundle := notarized(handedOver())
		b.bad("validator-negative-"+list.name, "a negative validator "+list.about, proof.StepAnchor, "malformed",
			with(bundle, list.key, "-1"))
		b.bad("validator-range-"+list.name, "the validator 2^53 "+list.about, proof.StepAnchor, "malformed",
			with(bundle, list.key, tooLarge))
		b.bad("validator-largest-"+list.name, "the validator 2^53 - 1, which the epoch does not have, "+list.about,
			proof.StepAnchor, "bad_evidence", with(bundle, list.key, largest))
	}
	other := notarized(foreign())
	b.bad("validator-negative-foreign", "a negative validator in evidence of a chain that is not pinned",
		proof.StepAnchor, "malformed", with(other, `"cosignatures"`, "-1"))
	b.bad("validator-range-foreign", "the validator 2^53 in evidence of a chain that is not pinned", proof.StepAnchor,
		"malformed", with(other, `"cosignatures"`, tooLarge))
	b.add("validator-largest-foreign", "the validator 2^53 - 1 in evidence of a chain that is not pinned",
		proof.Unverifiable, with(other, `"cosignatures"`, largest))
}

// firstValidator replaces the number of the first validator in the first list of this name.
func firstValidator(evidence []byte, list, value string) []byte {
	before, after, found := bytes.Cut(evidence, []byte(list+`:[{"validator":`))
	end := bytes.IndexByte(after, ',')
	if !found || end < 0 {
		panic("vectors: no list of validators is named " + list)
	}
	return slices.Concat(evidence[:len(before)], []byte(list+`:[{"validator":`+value), after[end:])
}
