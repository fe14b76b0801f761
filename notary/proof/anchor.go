package proof

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"stele/crypto/merkle"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/bsnproof"
	"stele/notary/proof/bsnproof/gateway"
	"stele/notary/proof/canonical"
	"stele/notary/proof/checkpoint"
	"stele/notary/proof/statement"
)

const maxGatewayName = 120 // bytes

// TrustedGateway is a key that a BSN gateway signs answers about an application with. After a
// change of keys an application has several.
type TrustedGateway struct {
	Kind string // of the evidence
	App  string // app code; address of the base contract under FISCO BCOS
	Name string // what people call the chain behind it
	Key  *gateway.PublicKey
}

type wireGateway struct {
	Kind string `json:"kind"`
	App  string `json:"app"`
	Name string `json:"name"`
	Key  []byte `json:"key"`
}

func appendGateway(b []byte, g TrustedGateway) []byte {
	b = append(b, `{"kind":`...)
	b = canonical.AppendString(b, g.Kind)
	b = append(b, `,"app":`...)
	b = canonical.AppendString(b, g.App)
	b = append(b, `,"name":`...)
	b = canonical.AppendString(b, g.Name)
	b = append(b, `,"key":`...)
	b = canonical.AppendBytes(b, g.Key.DER())
	return append(b, '}')
}

// Check reports whether the gateway can stand in trust roots.
func (g TrustedGateway) Check() error {
	switch {
	case g.Kind != KindBSNFabric && g.Kind != KindBSNFISCO:
		return fmt.Errorf("unknown kind %q", g.Kind)
	case g.Kind == KindBSNFISCO && !bsnproof.Address(g.App):
		return fmt.Errorf("%q is no address of a contract", g.App)
	case !bsnproof.ValidApp(g.App):
		return fmt.Errorf("%q is no name of an application", g.App)
	case !statement.ValidText(g.Name, maxGatewayName):
		return fmt.Errorf("the name must have 1 to %d bytes of text", maxGatewayName)
	}
	return nil
}

func (t *Trust) addGateways(list []wireGateway) error {
	for i, w := range list {
		key, err := gateway.ParsePublicKey(w.Key)
		if err != nil {
			return fmt.Errorf("gateway %d: %w", i, err)
		}
		g := TrustedGateway{Kind: w.Kind, App: w.App, Name: w.Name, Key: key}
		if err := g.Check(); err != nil {
			return fmt.Errorf("gateway %d: %w", i, err)
		}
		if !t.Pin(g) {
			return fmt.Errorf("gateway %d: the key stands there twice", i)
		}
	}
	return nil
}

// checkGateways refuses two applications under one key of which one is the other with more
// digits: where values under a mac have no separators, digits of the time could be read as a
// part of the longer name.
func (t *Trust) checkGateways() error {
	for i, g := range t.Gateways {
		if _, chain := t.chain(g.App); chain {
			return fmt.Errorf("gateway %d: a chain and an application are both called %s", i, g.App)
		}
		for _, h := range t.Gateways {
			more, longer := strings.CutPrefix(g.App, h.App)
			if longer && more != "" && strings.Trim(more, "0123456789") == "" && g.Kind == h.Kind &&
				g.Key.Equal(h.Key) {
				return fmt.Errorf("gateway %d: the application %s is %s with more digits, under the same key", i, g.App,
					h.App)
			}
		}
	}
	return nil
}

// Pin adds a gateway's key and reports whether it was new. It is for whoever makes trust roots:
// a trust that others use must not be changed.
func (t *Trust) Pin(g TrustedGateway) bool {
	for _, have := range t.Gateways {
		if have.Kind == g.Kind && have.App == g.App && have.Key.Equal(g.Key) {
			return false
		}
	}
	t.Gateways = append(t.Gateways, g)
	return true
}

// VerifyAnchor checks the evidence of one e-government anchor for a checkpoint against the
// pinned chains. [Verify] does the same for the anchors in a bundle; this serves whoever
// stores evidence and checks it before.
func VerifyAnchor(t *Trust, c checkpoint.Checkpoint, evidence []byte) (anchorproof.Anchored, error) {
	e, err := anchorproof.ParseEvidence(evidence)
	if err != nil {
		return anchorproof.Anchored{}, err
	}
	p, err := t.prove(e, c)
	return p.proven, err
}

// CheckAnchor checks evidence of any kind that this version knows for a checkpoint. Evidence
// about a later checkpoint that grew out of this one carries the proof of that.
func CheckAnchor(t *Trust, c checkpoint.Checkpoint, evidence []byte) error {
	if anchorKind(evidence) == KindEgov {
		_, err := VerifyAnchor(t, c, evidence)
		return err
	}
	v := verifier{trust: t, report: &Report{}}
	step, _ := v.attested(evidence, c)
	if step.Status != Passed {
		return errors.New(step.Detail)
	}
	return nil
}

// CheckAnchored checks what vouches for the last entry under a checkpoint as the bundle of that entry
// does: the evidence, its time beside the entry's, and whether the log's key was good between the two.
// The entry's own signature, certificate and place are not looked at.
func CheckAnchored(t *Trust, note []byte, last statement.Statement, evidence []byte) error {
	c, err := checkpoint.ParseUnsafe(note) // the signature is checked below
	if err != nil {
		return err
	}
	v := verifier{trust: t, report: &Report{}}
	held := v.anchors([]json.RawMessage{evidence}, c, last)
	v.checkpoint(note, c, last, held)
	for _, s := range v.report.Steps {
		if s.Status != Passed {
			return fmt.Errorf("%s: %s", s.Name, s.Detail)
		}
	}
	return nil
}

// Later returns evidence that is to stand beside an older checkpoint than the one that it is
// about; path is the consistency proof from the older to the newer. Only attested evidence can
// be brought there.
func Later(evidence json.RawMessage, path []merkle.Hash) (json.RawMessage, error) {
	kind := anchorKind(evidence)
	if kind == KindEgov {
		return nil, fmt.Errorf("evidence of the kind %q speaks of one checkpoint alone", kind)
	}
	return bsnproof.WithPath(kind, evidence, path)
}

// attested checks an anchor that a gateway vouches for.
func (v *verifier) attested(raw []byte, c checkpoint.Checkpoint) (Step, anchored) {
	kind := anchorKind(raw)
	step := Step{Name: StepAnchor, Strength: Attested}
	end := func(s Status, reason, detail string) (Step, anchored) {
		step.Status, step.Reason, step.Detail = s, reason, detail
		return step, anchored{}
	}
	if len(v.trust.Gateways) == 0 {
		return end(NotChecked, "unknown_gateway", "There is no gateway among your trust roots.")
	}
	e, err := bsnproof.Parse(kind, raw)
	if err != nil {
		return end(Failed, "malformed", err.Error())
	}
	if err := e.Consistent(c.Origin); err != nil {
		return end(Failed, "bad_evidence", err.Error())
	}
	known := false
	for _, g := range v.trust.Gateways {
		if g.Kind != kind || g.App != e.Application() {
			continue
		}
		known = true
		if bsnproof.Macs(e, g.Key) == 0 {
			continue // of another key: perhaps before or after a change of keys
		}
		a, err := e.Verify(g.Key, c)
		if err != nil {
			return end(Failed, "bad_evidence", err.Error())
		}
		if !v.trust.mayAnchor(c.Origin, a.App) {
			return end(NotChecked, "other_chain",
				fmt.Sprintf("By your trust roots, the application %q does not anchor the log %q.", a.App, c.Origin))
		}
		at := a.Time.Format(reportTime)
		step.Compared = []Comparison{{"gateway", g.Name}, {"application", a.App}, {"time", at},
			{"size of the log there", fmt.Sprint(a.Checkpoint.Size)},
			{"block, as the answer has it (its mac does not bind the number)", fmt.Sprint(a.Height)}}
		step.Status = Passed
		step.Detail = fmt.Sprintf("The gateway %q attests that its chain holds this checkpoint%s. Its signed answers "+
			"are all that proves it.", g.Name, grown(c, a.Checkpoint))
		return step, anchored{at: a.Time, later: a.Checkpoint != c, report: AnchorReport{Kind: kind,
			Strength: Attested, Gateway: g.Name,
			Chain: a.App, Time: at, Cosigners: []string{}}}
	}
	if known {
		return end(NotChecked, "unknown_gateway_key",
			fmt.Sprintf("The answers about the application %q are signed with a key that is not among your "+
				"trust roots.", e.Application()))
	}
	return end(NotChecked, "unknown_gateway", fmt.Sprintf("The application %q is not among your trust roots.",
		e.Application()))
}

func grown(c, in checkpoint.Checkpoint) string {
	if in == c {
		return ""
	}
	return " inside a later one that grew out of it"
}
