package proof

import (
	"encoding/json"
	"fmt"
	"slices"

	"stele/crypto/merkle"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/canonical"
	"stele/notary/proof/checkpoint"
	"stele/notary/proof/statement"
)

// Consistency shows that another checkpoint of the log, earlier or later, is of the same history
// as the bundle's: the log only grew between the two. It has anchors of its own, so that both
// ends are vouched for.
type Consistency struct {
	Checkpoint []byte        // signed note
	Path       []merkle.Hash // consistency proof from the smaller to the larger (RFC 6962 section 2.1.2)
	Anchors    []json.RawMessage
	Headers    []HeaderPath
}

// HeaderPath shows that the newer of two headers of a chain vouches for the older one.
type HeaderPath struct {
	Chain string
	Path  []merkle.Hash // see anchorproof.CheckHistory
}

const maxHeaderPaths = maxAnchors

type wireConsistency struct {
	Checkpoint string            `json:"checkpoint"`
	Path       [][]byte          `json:"path"`
	Anchors    []json.RawMessage `json:"anchors"`
	Headers    []struct {
		Chain string   `json:"chain"`
		Path  [][]byte `json:"path"`
	} `json:"headers"`
}

// append writes {"checkpoint":"…","path":[b64,…],"anchors":[…],"headers":[{"chain":"…","path":[b64,…]},…]}.
func (c *Consistency) append(out []byte) []byte {
	out = append(out, `{"checkpoint":`...)
	out = canonical.AppendString(out, string(c.Checkpoint))
	out = append(out, `,"path":`...)
	out = appendPath(out, c.Path)
	out = append(out, `,"anchors":`...)
	out = appendAnchors(out, c.Anchors)
	out = append(out, `,"headers":`...)
	out = canonical.AppendList(out, c.Headers, func(out []byte, h HeaderPath) []byte {
		out = append(out, `{"chain":`...)
		out = canonical.AppendString(out, h.Chain)
		out = append(out, `,"path":`...)
		return append(appendPath(out, h.Path), '}')
	})
	return append(out, '}')
}

func (w *wireConsistency) consistency() (*Consistency, error) {
	c := &Consistency{Checkpoint: []byte(w.Checkpoint), Anchors: w.Anchors}
	var err error
	if c.Path, err = readPath(w.Path); err != nil {
		return nil, err
	}
	if err := checkAnchors(w.Anchors); err != nil {
		return nil, err
	}
	if len(w.Headers) > maxHeaderPaths {
		return nil, fmt.Errorf("%w: at most %d paths between headers are expected", ErrBundle, maxHeaderPaths)
	}
	for _, h := range w.Headers {
		path, err := readPath(h.Path)
		if err != nil {
			return nil, err
		}
		if !anchorproof.ValidChainID(h.Chain) ||
			slices.ContainsFunc(c.Headers, func(x HeaderPath) bool { return x.Chain == h.Chain }) {
			return nil, fmt.Errorf("%w: a path between headers names a chain, each once", ErrBundle)
		}
		c.Headers = append(c.Headers, HeaderPath{Chain: h.Chain, Path: path})
	}
	return c, nil
}

// consistency checks the second checkpoint of a bundle that has one.
func (v *verifier) consistency(b *Bundle, first entry) {
	c := b.Consistency
	if c == nil {
		return
	}
	if first.origin == "" {
		v.report.skip(StepConsistency, "no_checkpoint", "There is no checkpoint to compare with.")
		return
	}
	other, err := checkpoint.ParseUnsafe(c.Checkpoint)
	if err != nil {
		v.report.fail(StepConsistency, "malformed", err.Error())
		return
	}
	step := Step{Name: StepConsistency, Status: Passed,
		Compared: []Comparison{{"size of the other checkpoint", fmt.Sprint(other.Size)},
			{"root of the other checkpoint", other.Root.String()}}}
	v.history(&step, c, first, other)
	v.report.add(step)
}

// history fills the step in.
func (v *verifier) history(step *Step, c *Consistency, first entry, other checkpoint.Checkpoint) {
	end := func(status Status, reason, detail string) {
		step.Status, step.Reason, step.Detail = status, reason, detail
	}
	if other.Origin != first.origin {
		end(Failed, "other_log", "The other checkpoint is one of another log.")
		return
	}
	if err := sameHistory(first.checkpoint, other, c.Path); err != nil {
		end(Failed, "not_consistent", "The two checkpoints are not shown to be of one history: "+err.Error())
		return
	}
	anchors, bad := v.beside("The other checkpoint", c.Checkpoint, other, c.Anchors, nil)
	if bad != nil {
		end(bad.status, bad.reason, bad.detail)
		return
	}
	if len(anchors) == 0 || len(first.anchors) == 0 {
		end(NotChecked, "not_anchored",
			"The two checkpoints are of one history, yet no chain vouches for both of them.")
		return
	}
	shown, err := checkHeaders(c.Headers, first.anchors, anchors)
	if err != nil {
		end(Failed, "history_differs", err.Error())
		return
	}
	if first.checkpoint.Size == other.Size {
		end(Passed, "", "The other checkpoint is the bundle's own: it shows nothing more.")
		return
	}
	end(Passed, "", fmt.Sprintf("The log only grew between the sizes %d and %d; both are anchored.%s",
		min(first.checkpoint.Size, other.Size), max(first.checkpoint.Size, other.Size), shown))
}

// ending is how a step ends that does not pass.
type ending struct {
	status         Status
	reason, detail string
}

func failed(reason, detail string) *ending { return &ending{Failed, reason, detail} }

// beside checks a checkpoint that is not the bundle's own, with its anchors, and returns those that hold
// and count; with no function all count. When what is under it was issued is not known: nothing is compared
// with that. What begins sentences.
func (v *verifier) beside(what string, note []byte, c checkpoint.Checkpoint, raw []json.RawMessage,
	counts func(anchored) bool) ([]anchored, *ending) {
	scratch := &Report{}
	sv := verifier{trust: v.trust, report: scratch}
	held := sv.anchors(raw, c, statement.Statement{})
	if counts != nil {
		held = slices.DeleteFunc(held, func(a anchored) bool { return !counts(a) })
	}
	sv.checkpoint(note, c, statement.Statement{}, held)
	scratch.sortSteps()
	if bad, found := scratch.FailedStep(); found {
		return nil, failed("bad_evidence", fmt.Sprintf("%s does not hold: %s: %s", what, bad.Name, bad.Detail))
	}
	for _, s := range scratch.Steps {
		if s.Status == NotChecked && (s.Name == StepCheckpoint || len(held) == 0) {
			return nil, &ending{NotChecked, s.Reason, fmt.Sprintf("%s could not be checked: %s: %s", what, s.Name,
				s.Detail)}
		}
	}
	return held, nil
}

// sameHistory checks a consistency proof between two checkpoints, whichever is larger.
func sameHistory(a, b checkpoint.Checkpoint, path []merkle.Hash) error {
	if a.Size > b.Size {
		a, b = b, a
	}
	return merkle.VerifyConsistency(a.Size, b.Size, a.Root, b.Root, path)
}

// checkHeaders compares the headers of each chain that both lists are anchored on: their order
// always, their history where there is a path. It returns what is shown besides.
func checkHeaders(paths []HeaderPath, a, b []anchored) (shown string, err error) {
	for _, x := range a {
		for _, y := range b {
			if x.report.Strength != SelfProving || y.report.Strength != SelfProving ||
				x.report.Chain != y.report.Chain {
				continue
			}
			if err := anchorproof.CheckOrder(x.header, y.header); err != nil {
				return "", err
			}
			i := slices.IndexFunc(paths, func(p HeaderPath) bool { return p.Chain == x.report.Chain })
			if i < 0 {
				continue
			}
			older, newer := x.header, y.header
			if older.Index > newer.Index {
				older, newer = newer, older
			}
			if err := anchorproof.CheckHistory(older, newer, paths[i].Path); err != nil {
				return "", err
			}
			shown += fmt.Sprintf(" The blocks of %s are of one history as well.", x.report.Chain)
		}
	}
	return shown, nil
}
