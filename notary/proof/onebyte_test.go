//go:build !js

package proof_test

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/prooftest"
)

// genuineBundles are bundles of every shape whose verdict is genuine, or revoked or
// superseded where they carry a standing. All bytes of each must count.
func genuineBundles(t testing.TB) map[string]genuineBundle {
	t.Helper()
	document := []byte("%PDF-1.7 one document\n")
	out := map[string]genuineBundle{}

	small := prooftest.New(prooftest.Options{})
	out["small"] = genuineBundle{small.Trust(), small.Notarize(document).Encode(), document, proof.Genuine}

	epochs := prooftest.New(prooftest.Options{Seed: "epochs", Validators: 4, Entries: 5, Neighbours: 2})
	handOver(epochs)
	out["after a hand-over"] = genuineBundle{epochs.Trust(), epochs.Notarize(document).Encode(), document,
		proof.Genuine}

	moved := prooftest.New(prooftest.Options{Seed: "moved", Validators: 2, Entries: 3})
	left := moved.ScopedTrust() // from before the move
	handOver(moved)
	to := moved.NextChain("egov-next", 1)
	moved.Move(to, moved.Link(to))
	out["after a move"] = genuineBundle{left, moved.Notarize(document).Encode(), document, proof.Genuine}

	revoked := prooftest.New(prooftest.Options{Seed: "revoked", Entries: 2})
	r := revoked.Issue(document)
	c := revoked.Checkpoint()
	b := revoked.Bundle(r, c, revoked.Anchor(c))
	revoked.AddStanding(b, revoked.Revoke(r, "issued in error"))
	out["revoked"] = genuineBundle{revoked.Trust(), b.Encode(), document, proof.Revoked}

	stated := prooftest.New(prooftest.Options{Seed: "stated", Entries: 2})
	r = stated.Issue(document)
	said := stated.EnterStatus()
	c = stated.Checkpoint()
	anchor := stated.Anchor(c)
	b = stated.Bundle(r, c, anchor)
	b.Status = stated.StatusProof(said, r, c, anchor)
	out["with a status"] = genuineBundle{stated.Trust(), b.Encode(), document, proof.Genuine}
	return attestedBundles(out, document)
}

type genuineBundle struct {
	trust    *proof.Trust
	bundle   []byte
	document []byte
	verdict  proof.Verdict
}

// handOver replaces the first validator by a new one and begins epoch 1.
func handOver(w *prooftest.World) {
	next := append(append([]prooftest.Member(nil), w.Chain.Members[1:]...), prooftest.NewMember("epochs", "city-9", 10))
	w.Chain.HandOver(next, []anchorproof.Notary{{Origin: w.Origin(), Key: w.LogKey.Public()}})
}

// TestEveryByteCounts changes every byte of genuine bundles, one at a time: the verdict must
// be invalid, and one step must say why.
func TestEveryByteCounts(t *testing.T) {
	for name, g := range genuineBundles(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			trust, digest := g.trust, sm.Sum(g.document)
			if r := proof.Verify(trust, &digest, g.bundle); r.Verdict != g.verdict {
				t.Fatalf("before any change: %s: %s", r.Verdict, r.Summary)
			}
			random := rand.New(rand.NewPCG(1, 2))
			damaged := bytes.Clone(g.bundle)
			for i := range g.bundle {
				changes := []byte{1, 0x20, byte(1 + random.IntN(255))}
				if raceDetector || testing.Short() || strings.HasPrefix(name, "attested") {
					changes = changes[i%3 : i%3+1] // every position still, in a tenth of a minute
				}
				for _, x := range changes {
					damaged[i] = g.bundle[i] ^ x
					r := proof.Verify(trust, &digest, damaged)
					if _, failed := r.FailedStep(); r.Verdict != proof.Invalid || !failed {
						t.Errorf("byte %d of %d, %q to %q: %s: %s\n…%s…", i, len(damaged), g.bundle[i], damaged[i],
							r.Verdict, r.Summary, damaged[max(0, i-40):min(len(damaged), i+40)])
					}
				}
				damaged[i] = g.bundle[i]
			}
		})
	}
}

// TestEveryByteOfTheDocumentCounts changes every byte of the file.
func TestEveryByteOfTheDocumentCounts(t *testing.T) {
	for name, g := range genuineBundles(t) {
		trust, changed := g.trust, bytes.Clone(g.document)
		for i := range changed {
			for _, x := range []byte{1, 0x20, 0xff} {
				changed[i] ^= x
				digest := sm.Sum(changed)
				if r := proof.Verify(trust, &digest, g.bundle); r.Verdict != proof.Altered {
					t.Errorf("%s: byte %d: %s", name, i, r.Verdict)
				}
				changed[i] ^= x
			}
		}
		for _, other := range [][]byte{nil, g.document[1:], append(bytes.Clone(g.document), 0)} {
			digest := sm.Sum(other)
			if r := proof.Verify(trust, &digest, g.bundle); r.Verdict != proof.Altered {
				t.Errorf("%s: %d bytes: %s", name, len(other), r.Verdict)
			}
		}
	}
}
