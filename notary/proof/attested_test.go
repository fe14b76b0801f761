//go:build !js

package proof_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/bsnproof/gateway"
	"stele/notary/proof/checkpoint"
	"stele/notary/proof/prooftest"
)

// attestedWorld is a record in a small log with an anchor of the chain; its evidence is that of
// a gateway about the same checkpoint.
func attestedWorld(a prooftest.Gateway) (w *prooftest.World, b *proof.Bundle, trust *proof.Trust, document []byte,
	evidence map[string]json.RawMessage) {
	document = []byte("%PDF-1.7 one document\n")
	w = prooftest.New(prooftest.Options{Entries: 2})
	r := w.Issue(document)
	c := w.Checkpoint()
	b = w.Bundle(r, c, w.Anchor(c))
	at := w.Now.Add(time.Second)
	trust = w.Trust()
	trust.Pin(a.Pinned(proof.KindBSNFabric))
	trust.Pin(a.Pinned(proof.KindBSNFISCO))
	return w, b, trust, document, map[string]json.RawMessage{
		proof.KindBSNFabric: prooftest.EncodeAttested(a.Fabric(c.Checkpoint, at)),
		proof.KindBSNFISCO:  prooftest.EncodeAttested(a.FISCO(c.Checkpoint, at)),
	}
}

// An attested anchor holds under each algorithm, is called so, and stands below one that proves
// itself. Alone it makes a record genuine on the gateway's word, and the summary says whose.
func TestAttestedAnchor(t *testing.T) {
	for _, algorithm := range []gateway.Algorithm{gateway.SM2, gateway.Secp256r1, gateway.Secp256k1} {
		_, b, trust, document, evidence := attestedWorld(prooftest.NewGateway("attested", algorithm))
		trust, err := proof.ParseTrust(trust.Encode())
		fatalIfErr(t, err)
		digest := sm.Sum(document)
		for kind, e := range evidence {
			own := b.Anchors[0]
			both, alone := *b, *b
			both.Anchors, alone.Anchors = []json.RawMessage{e, own}, []json.RawMessage{e}
			r := proof.Verify(trust, &digest, both.Encode())
			if r.Verdict != proof.Genuine || len(r.Anchors) != 2 || r.Anchors[0].Strength != proof.Attested ||
				r.Anchors[0].Kind != kind || r.Anchors[0].Gateway != "省主干网" || r.Anchors[0].Height != 0 {
				t.Fatalf("%s %s: %s: %s %+v", kind, algorithm, r.Verdict, r.Summary, r.Anchors)
			}
			if r.AnchoredAt != r.Anchors[1].Time || strings.Contains(r.Summary, "attests") {
				t.Errorf("anchored at %s: %s", r.AnchoredAt, r.Summary)
			}
			r = proof.Verify(trust, &digest, alone.Encode())
			if r.Verdict != proof.Genuine || r.AnchoredAt != r.Anchors[0].Time ||
				!strings.Contains(r.Summary, `the gateway "省主干网" alone attests`) {
				t.Errorf("alone: %s: %s", r.Verdict, r.Summary)
			}
		}
	}
}

// One anchor that does not hold makes the evidence invalid, whichever it is and whatever the
// others prove; the report names that anchor, and still counts the others.
func TestOneOfTwoAnchorsIsBad(t *testing.T) {
	_, b, trust, document, evidence := attestedWorld(prooftest.NewGateway("attested", gateway.SM2))
	digest := sm.Sum(document)
	chain := b.Anchors[0]
	for kind, attested := range evidence {
		spoil := func(raw json.RawMessage, old, new string) json.RawMessage {
			if !strings.Contains(string(raw), old) {
				t.Fatalf("%q is not in the evidence", old)
			}
			return json.RawMessage(strings.Replace(string(raw), old, new, 1))
		}
		for name, c := range map[string]struct {
			anchors []json.RawMessage
			bad     string
		}{
			"gateway's": {[]json.RawMessage{chain, spoil(attested, `"msg":"success"`, `"msg":"done"`)}, proof.Attested},
			"chain's":   {[]json.RawMessage{spoil(chain, `\nheight 1\n`, `\nheight 2\n`), attested}, proof.SelfProving},
		} {
			t.Run(name, func(t *testing.T) {
				b.Anchors = c.anchors
				r := proof.Verify(trust, &digest, b.Encode())
				step, failed := r.FailedStep()
				if r.Verdict != proof.Invalid || !failed || step.Strength != c.bad || step.Reason != "bad_evidence" ||
					len(r.Anchors) != 1 || r.Anchors[0].Strength == c.bad {
					t.Errorf("%s, the %s is bad: %s, %+v, %+v", kind, name, r.Verdict, step, r.Anchors)
				}
			})
		}
	}
}

// A gateway that is not pinned, a key from after a change of keys, and a gateway whose clock is
// wrong do not count, and do not spoil the anchors that do. Alone they leave the record unverifiable.
func TestAttestedAnchorsThatDoNotCount(t *testing.T) {
	a, stranger := prooftest.NewGateway("attested", gateway.SM2), prooftest.NewGateway("stranger", gateway.SM2)
	w, b, trust, document, evidence := attestedWorld(a)
	digest := sm.Sum(document)
	fabric := evidence[proof.KindBSNFabric]
	other, foreign, both := *w.Trust(), *w.Trust(), *w.Trust()
	other.Pin(stranger.Pinned(proof.KindBSNFabric))
	foreign.Pin(a.Pinned(proof.KindBSNFISCO))
	both.Pin(stranger.Pinned(proof.KindBSNFabric))
	both.Pin(a.Pinned(proof.KindBSNFabric))
	c, err := checkpoint.ParseUnsafe(b.Log.Checkpoint)
	fatalIfErr(t, err)
	early := prooftest.EncodeAttested(a.Fabric(c, w.Now.Add(-24*time.Hour)))
	for reason, x := range map[string]struct {
		trust    *proof.Trust
		evidence json.RawMessage
	}{"unknown_gateway_key": {&other, fabric}, "unknown_gateway": {&foreign, fabric}, "time_order": {trust, early}} {
		t.Run(reason, func(t *testing.T) {
			with := *b
			with.Anchors = append(slices.Clone(b.Anchors), x.evidence)
			r := proof.Verify(x.trust, &digest, with.Encode())
			at := slices.IndexFunc(r.Steps, func(s proof.Step) bool { return s.Strength == proof.Attested })
			if r.Verdict != proof.Genuine || len(r.Anchors) != 1 || at < 0 || r.Steps[at].Status != proof.NotChecked ||
				r.Steps[at].Reason != reason {
				t.Errorf("%s: %s, %+v", reason, r.Verdict, r.Steps)
			}
			with.Anchors = with.Anchors[1:]
			if r := proof.Verify(x.trust, &digest, with.Encode()); r.Verdict != proof.Unverifiable ||
				len(r.Anchors) != 0 {
				t.Errorf("%s, alone: %s", reason, r.Verdict)
			}
		})
	}
	b.Anchors = append(b.Anchors, fabric)
	if r := proof.Verify(&both, &digest, b.Encode()); len(r.Anchors) != 2 {
		t.Errorf("with the old and the new key: %d anchors", len(r.Anchors))
	}
}

// An address has one spelling.
func TestContractsArePinned(t *testing.T) {
	a := prooftest.NewGateway("attested", gateway.SM2)
	for _, app := range []string{"app1", strings.ToUpper(prooftest.GatewayContract), prooftest.GatewayContract + "0",
		""} {
		g := a.Pinned(proof.KindBSNFISCO)
		if g.App = app; g.Check() == nil {
			t.Errorf("%q can be pinned", app)
		}
	}
}

// attestedBundles adds bundles with anchors of gateways that are pinned: beside the chain's, alone,
// and about a later checkpoint.
func attestedBundles(out map[string]genuineBundle, document []byte) map[string]genuineBundle {
	a := prooftest.NewGateway("attested", gateway.SM2)
	w := prooftest.New(prooftest.Options{Seed: "attested"})
	r := w.Issue(document)
	c := w.Checkpoint()
	own, at := w.Anchor(c), w.Now.Add(time.Second)
	fabric := prooftest.EncodeAttested(a.Fabric(c.Checkpoint, at))
	w.Fill(5)
	later := a.FISCO(w.Checkpoint().Checkpoint, at)
	later.Path = w.Consistency(c.Size)
	trust := w.Trust()
	trust.Pin(a.Pinned(proof.KindBSNFabric))
	trust.Pin(a.Pinned(proof.KindBSNFISCO))
	out["attested too"] = genuineBundle{trust, w.Bundle(r, c, own, fabric).Encode(), document, proof.Genuine}
	out["attested alone"] = genuineBundle{trust, w.Bundle(r, c, prooftest.EncodeAttested(later)).Encode(), document,
		proof.Genuine}
	return out
}
