package vectors

import (
	"bytes"
	"encoding/json"
	"slices"

	"stele/notary/proof"
)

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
		{"cosignature", "of a cosignature", `"cosignatures"`}, {"hand-over", "of a signature under an epoch", `"signatures"`}, {"join", "of a newcomer's proof", `"joins"`},
	} {
		bundle := notarized(handedOver())
		b.bad("validator-negative-"+list.name, "a negative validator "+list.about, proof.StepAnchor, "malformed", with(bundle, list.key, "-1"))
		b.bad("validator-range-"+list.name, "the validator 2^53 "+list.about, proof.StepAnchor, "malformed", with(bundle, list.key, tooLarge))
		b.bad("validator-largest-"+list.name, "the validator 2^53 - 1, which the epoch does not have, "+list.about, proof.StepAnchor, "bad_evidence", with(bundle, list.key, largest))
	}
	other := notarized(foreign())
	b.bad("validator-negative-foreign", "a negative validator in evidence of a chain that is not pinned", proof.StepAnchor, "malformed", with(other, `"cosignatures"`, "-1"))
	b.bad("validator-range-foreign", "the validator 2^53 in evidence of a chain that is not pinned", proof.StepAnchor, "malformed", with(other, `"cosignatures"`, tooLarge))
	b.add("validator-largest-foreign", "the validator 2^53 - 1 in evidence of a chain that is not pinned", proof.Unverifiable, with(other, `"cosignatures"`, largest))
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
