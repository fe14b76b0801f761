// Package monitor watches a log from outside, for an agency, a court or a newspaper: it follows the log's
// checkpoints and holds the operator to them. It needs the trust roots, the public calls of the service, and a
// folder of its own in which it keeps what it has seen. Nothing that the service says is believed.
//
// A round looks at everything once ([Monitor.Round]). What it finds is a file in the folder before anybody is told,
// and stays there until a person removes it. What could not be looked at, because nobody answered, is no finding.
//
// An agency's monitor fetches all entries in the agency's name and compares the tally of them with the one that the
// log has proved, so that none is left out; an auditor's fetches all entries and makes the status map anew. Two
// monitors that compare what they have seen find a log that shows each of them another history.
package monitor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"stele/crypto/merkle"
	"stele/crypto/signednote"
	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/checkpoint"
)

// Log is the public side of a service. Methods do not verify what they return. [ErrNotYet] means that the log has
// no anchored status yet, any other error that there was no answer. Tile takes a path such as tile/0/x001/234.
type Log interface {
	Checkpoint(ctx context.Context) ([]byte, error)
	Tile(ctx context.Context, path string) ([]byte, error)
	Status(ctx context.Context) (proof.LogStatus, error)
}

// Own is what a service says to an agency. Tally is the proof in the map of a status statement, see package vmap.
// Entries are those in the agency's name from an index on; before covered none is left out, says the service.
type Own interface {
	Tally(ctx context.Context) (s proof.LogStatus, mapProof []byte, err error)
	Entries(ctx context.Context, from uint64) (list []Entry, covered uint64, err error)
}

// Entry is an entry as it is hashed, with its place.
type Entry struct {
	Index uint64
	Data  []byte
}

// Peer is another monitor of the same log: Checkpoint is the newest one that it has verified, cosigned.
type Peer struct {
	Name       string
	Checkpoint func(ctx context.Context) ([]byte, error)
}

// ErrNotYet: there is no anchored status yet.
var ErrNotYet = errors.New("the log has no anchored status yet")

// ErrUnreachable is wrapped by the error of a round in which the service did not answer, or gave no answer that says
// anything. It is no finding: a log that cannot be looked at for long is stale.
var ErrUnreachable = errors.New("not_reachable")

// Options are what a [Monitor] works with. Trust, Log, Folder and Now are needed.
type Options struct {
	Trust  *proof.Trust
	Log    Log
	Folder *Folder
	Now    func() time.Time
	Stale  time.Duration // how old the newest anchored status may be; 0: 25 h
	Pause  time.Duration // before a checkpoint that went back is asked for again; 0: 2 s

	Agency string // credit code; empty: none
	Own    Own
	Known  func() (map[string]bool, error) // numbers of the agency's own list; nil: there is none

	Audit  bool // fetch all entries, and make the status map anew
	Mirror Kept // keep them, with what bundles need besides; nil: no
	Peers  []Peer
	Key    *Cosigner // nil: nothing is cosigned
}

// Monitor watches one log. It is not safe for concurrent use.
type Monitor struct {
	Options
	state state
	tiles *tiles
	audit *audit
}

// state is what a monitor knows, as it stands in its folder.
type state struct {
	Format    string    `json:"format"`
	Since     time.Time `json:"since"`            // when this folder was begun
	Origin    string    `json:"origin,omitempty"` // empty before the first checkpoint
	Note      string    `json:"note,omitempty"`   // the largest checkpoint that was verified
	AsOf      time.Time `json:"asOf"`             // of the newest status that held, by the chain's word
	Status    uint64    `json:"status"`           // entries that it covers
	OwnAsOf   time.Time `json:"ownAsOf"`          // of the status up to which the agency's entries were complete
	AuditAsOf time.Time `json:"auditAsOf"`        // when all entries were checked last, by the monitor's clock
	Agency    string    `json:"agency,omitempty"` // whose entries are counted
	Counted   uint64    `json:"counted"`          // entries of the log before which the agency's are counted
	Entries   uint64    `json:"entries"`          // how many they are
	Tally     sm.Digest `json:"tally"`            // and the hash over them
	Mirror    string    `json:"mirror,omitempty"` // checkpoint up to which the mirror is complete
	Anchored  uint64    `json:"anchored"`         // anchored checkpoints up to this size are kept
}

const stateFormat = "stele/monitor/v1"

// New continues what the folder has.
func New(o Options) (*Monitor, error) {
	if o.Stale == 0 {
		o.Stale = 25 * time.Hour
	}
	if o.Pause == 0 {
		o.Pause = 2 * time.Second
	}
	m := &Monitor{Options: o}
	err := o.Folder.read(stateName, &m.state)
	if err != nil {
		return nil, err
	}
	if m.state.Format == "" {
		m.state = state{Format: stateFormat, Since: o.Now().UTC()}
	}
	if m.state.Format != stateFormat {
		return nil, fmt.Errorf("%s is of the format %q, and not of %q", stateName, m.state.Format, stateFormat)
	}
	if m.state.Agency != o.Agency && o.Agency != "" {
		m.state.Agency, m.state.Counted, m.state.Entries, m.state.Tally = o.Agency, 0, 0, sm.Digest{}
		m.state.OwnAsOf = time.Time{}
	}
	for asOf, on := range map[*time.Time]bool{&m.state.AsOf: true, &m.state.OwnAsOf: o.Agency != "",
		&m.state.AuditAsOf: o.Audit} {
		switch {
		case !on:
			*asOf = time.Time{}
		case asOf.IsZero():
			*asOf = o.Now().UTC() // from now on it is waited for
		}
	}
	if err := m.keep(); err != nil {
		return nil, err
	}
	return m, nil
}

// Round looks at everything once. The error wraps [ErrUnreachable] where the service did not answer; any other is
// the monitor's own trouble, such as a full disk. What was found is in the folder.
func (m *Monitor) Round(ctx context.Context) error {
	m.tiles = newTiles(m.Log)
	var failed []error
	steps := []func(context.Context) error{m.checkpoints, m.status, m.own, m.audited, m.peers}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			failed = append(failed, err)
			if !errors.Is(err, ErrUnreachable) {
				break
			}
		}
	}
	if err := m.stale(); err != nil {
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

func unreachable(what string, err error) error {
	return fmt.Errorf("%w: %s: %w", ErrUnreachable, what, err)
}

// last is the largest checkpoint that was verified; Size is 0 before the first.
func (m *Monitor) last() checkpoint.Checkpoint {
	c, _ := checkpoint.ParseUnsafe([]byte(m.state.Note)) // it was verified before it was kept
	return c
}

// checkpoints asks for the newest checkpoint. Several servers may answer, one a moment behind the other: what went
// back is asked for again before it is a finding.
func (m *Monitor) checkpoints(ctx context.Context) error {
	for try := 0; ; try++ {
		note, err := m.Log.Checkpoint(ctx)
		if err != nil {
			return unreachable("the checkpoint", err)
		}
		c, ok, err := m.opened(note, "the service's newest checkpoint")
		if err != nil || !ok {
			return err
		}
		last := m.last()
		if c.Size < last.Size && try < 3 {
			if err := wait(ctx, m.Pause); err != nil {
				return err
			}
			continue
		}
		if c.Size < last.Size {
			return m.find(Finding{Code: WentBack, Subject: m.state.Note + string(note),
				Detail: fmt.Sprintf("The log's newest checkpoint has %d entries, and one of %d was signed before.",
					c.Size, last.Size), Evidence: map[string]string{"before": m.state.Note, "now": string(note)}})
		}
		return m.grow(ctx, c, note)
	}
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// opened verifies the log's signature on a note and keeps the note; ok is false where that is a finding.
func (m *Monitor) opened(note []byte, what string) (c checkpoint.Checkpoint, ok bool, err error) {
	c, err = checkpoint.ParseUnsafe(note) // to find the log's keys
	if err == nil && m.state.Origin != "" && c.Origin != m.state.Origin {
		err = fmt.Errorf("it is one of the log %s, and this folder is about %s", c.Origin, m.state.Origin)
	}
	if err == nil {
		keys := m.Trust.LogKeys(c.Origin)
		if len(keys) == 0 {
			err = fmt.Errorf("the log %s is not among your trust roots", c.Origin)
		} else {
			c, _, err = checkpoint.Open(note, keys...)
		}
	}
	if err != nil {
		shown := note[:min(len(note), signednote.MaxNoteSize)]
		return c, false, m.find(Finding{Code: BadSignature, Subject: string(shown),
			Detail:   fmt.Sprintf("%s does not hold: %v.", sentence(what), err),
			Evidence: map[string]string{"note": strings.ToValidUTF8(string(shown), "\ufffd")}})
	}
	return c, true, m.Folder.seen(note)
}

// grow makes a verified checkpoint the last one if the log only grew up to it. A crash right before leaves the one
// before, from which the next round goes on.
func (m *Monitor) grow(ctx context.Context, c checkpoint.Checkpoint, note []byte) error {
	ok, err := m.related(ctx, m.last(), []byte(m.state.Note), c, note, NotConsistent, "")
	if err != nil || !ok || m.state.Note == string(note) {
		return err
	}
	m.state.Origin, m.state.Note = c.Origin, string(note)
	if err := m.keep(); err != nil {
		return err
	}
	return m.cosign(note)
}

// keep writes the state.
func (m *Monitor) keep() error { return m.Folder.write(stateName, m.state) }

// related reports whether the larger of two signed checkpoints grew out of the smaller one; where not, that is a
// finding of the code, or a split view: two signed notes that contradict each other.
func (m *Monitor) related(ctx context.Context, a checkpoint.Checkpoint, noteA []byte, b checkpoint.Checkpoint,
	noteB []byte, code, who string) (bool, error) {
	if a.Size > b.Size {
		a, b, noteA, noteB = b, a, noteB, noteA
	}
	if a.Size == 0 && len(noteA) == 0 {
		return true, nil // before the first
	}
	f := Finding{Code: code, Subject: string(noteA) + string(noteB),
		Evidence: map[string]string{"smaller": string(noteA), "larger": string(noteB)}}
	if a.Size == b.Size {
		if a.Root == b.Root {
			return true, nil
		}
		f.Code, f.Detail = SplitView, fmt.Sprintf("The log has signed two roots for %d entries%s.", a.Size, who)
		return false, m.find(f)
	}
	var path []merkle.Hash
	var err error
	for range 2 { // once more with tiles that were fetched anew: one may have been damaged on its way
		if path, err = merkle.ConsistencyProof(a.Size, b.Size, m.tiles.nodes(ctx, b.Size)); err != nil {
			return false, unreachable("tiles", err)
		}
		if err = merkle.VerifyConsistency(a.Size, b.Size, a.Root, b.Root, path); err == nil {
			return true, nil
		}
		m.tiles = newTiles(m.Log)
	}
	f.Detail = fmt.Sprintf("The log of %d entries did not grow out of that of %d entries%s: %v.", b.Size, a.Size, who,
		err)
	return false, m.find(f)
}

// status checks the newest status statement and what vouches for its time.
func (m *Monitor) status(ctx context.Context) error {
	if m.state.Note == "" {
		return nil
	}
	s, err := m.Log.Status(ctx)
	if errors.Is(err, ErrNotYet) {
		return nil
	}
	if err != nil {
		return unreachable("the status", err)
	}
	_, _, err = m.vouched(ctx, s)
	return err
}

// vouched checks a status statement, its anchors, and that its checkpoint is of the history that was seen; ok is
// false where that is a finding.
func (m *Monitor) vouched(ctx context.Context, s proof.LogStatus) (v proof.Vouched, ok bool, err error) {
	v, err = proof.VerifyLogStatus(m.Trust, m.state.Origin, s)
	if err != nil {
		anchors, _ := json.Marshal(s.Anchors) // for a person to look at; what is no JSON is left out
		return v, false, m.find(Finding{Code: BadAnchor, Subject: string(s.Statement) + string(s.Log.Checkpoint) +
			err.Error(), Detail: fmt.Sprintf("The log's status is not vouched for: %v", err),
			Evidence: map[string]string{"statement": string(s.Statement), "checkpoint": string(s.Log.Checkpoint),
				"anchors": string(anchors)}})
	}
	if err := m.Folder.seen(s.Log.Checkpoint); err != nil {
		return v, false, err
	}
	ok, err = m.related(ctx, m.last(), []byte(m.state.Note), v.Checkpoint, s.Log.Checkpoint, NotConsistent, "")
	if err != nil || !ok {
		return v, false, err
	}
	if v.Checkpoint.Size > m.last().Size {
		if err := m.grow(ctx, v.Checkpoint, s.Log.Checkpoint); err != nil {
			return v, false, err
		}
	}
	if v.At.After(m.state.AsOf) || m.state.Status == 0 {
		m.state.AsOf, m.state.Status = v.At.UTC(), v.Statement.Size
		err = m.keep()
	}
	return v, err == nil, err
}

// stale finds that nobody has vouched for the log's state for too long, or that the service has not let the agency's
// entries, or all of them, be checked: who keeps something back may as well not answer.
func (m *Monitor) stale() error {
	for _, one := range []struct {
		on   bool
		asOf time.Time
		what string
	}{
		{true, m.state.AsOf, "No later status was seen that a chain vouches for"},
		{m.Agency != "", m.state.OwnAsOf, "The agency's entries were not shown to be complete"},
		{m.Audit, m.state.AuditAsOf, "All entries could not be checked"},
	} {
		from := one.asOf
		if !one.on || m.Now().Sub(from) <= m.Stale {
			continue
		}
		err := m.find(Finding{Code: Stale, Subject: one.what + from.Format(time.RFC3339Nano),
			Detail: fmt.Sprintf("%s since %s: longer ago than %v.", one.what, from.Format(time.RFC3339), m.Stale)})
		if err != nil {
			return err
		}
	}
	return nil
}
