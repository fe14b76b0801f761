package monitor

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"stele/crypto/merkle"
	"stele/crypto/vmap"
	"stele/notary"
	"stele/notary/proof"
	"stele/notary/proof/checkpoint"
	"stele/notary/proof/statement"
	"stele/notary/proof/status"
)

// own fetches the entries in the agency's name up to the newest status, compares their tally with the one that the
// status proves, and their numbers with the agency's list.
func (m *Monitor) own(ctx context.Context) error {
	if m.Agency == "" || m.state.Note == "" {
		return nil
	}
	s, mapProof, err := m.Own.Tally(ctx)
	if errors.Is(err, ErrNotYet) {
		return nil
	}
	if err != nil {
		return unreachable("the agency's tally", err)
	}
	v, ok, err := m.vouched(ctx, s)
	if err != nil || !ok || v.Statement.Size < m.state.Counted {
		return err
	}
	tally, list, err := m.collect(ctx, v)
	if err != nil {
		return err
	}
	if ok, err := m.proven(v, s, tally, mapProof); err != nil || !ok {
		return err
	}
	if err := m.compare(list); err != nil {
		return err
	}
	m.state.Counted, m.state.Entries, m.state.Tally = v.Statement.Size, tally.Entries, tally.Hash
	m.state.OwnAsOf = v.At.UTC()
	return m.keep()
}

// collect fetches the agency's entries that are not counted yet and that the status covers. An entry that is not at
// its place in the log is left out, so that the tally differs.
func (m *Monitor) collect(ctx context.Context, v proof.Vouched) (status.Tally, []Entry, error) {
	tally := status.Tally{Entries: m.state.Entries, Hash: m.state.Tally}
	all := []Entry{}
	for from := m.state.Counted; from < v.Statement.Size; {
		list, covered, err := m.Own.Entries(ctx, from)
		if err != nil {
			return tally, nil, unreachable("the agency's entries", err)
		}
		if covered <= from {
			break // the service has no more to say: the tally shows whether that is true
		}
		for _, e := range list {
			if e.Index < from || e.Index >= v.Statement.Size {
				continue
			}
			from = e.Index + 1
			leaf := merkle.LeafHash(e.Data)
			there, err := m.included(ctx, e.Index, leaf, v.Checkpoint)
			if err != nil {
				return tally, nil, err
			}
			if there {
				tally = tally.Add(leaf)
				all = append(all, e)
			}
		}
		from = max(from, covered)
	}
	return tally, all, nil
}

func (m *Monitor) included(ctx context.Context, index uint64, leaf merkle.Hash, c checkpoint.Checkpoint) (bool,
	error) {
	path, err := merkle.InclusionProof(index, c.Size, m.tiles.nodes(ctx, c.Size))
	if err != nil {
		return false, unreachable("tiles", err)
	}
	return merkle.VerifyInclusion(index, c.Size, leaf, path, c.Root) == nil, nil
}

// proven compares the tally with the map of the status.
func (m *Monitor) proven(v proof.Vouched, s proof.LogStatus, tally status.Tally, mapProof []byte) (bool, error) {
	p, err := vmap.ParseProof(mapProof)
	key := status.AgencyKey(m.Agency)
	switch {
	case err != nil:
	case tally.Entries == 0:
		err = p.VerifyAbsent(v.Statement.Map, key)
	default:
		err = p.Verify(v.Statement.Map, key, tally.Value())
	}
	if err == nil {
		return true, nil
	}
	return false, m.find(Finding{Code: TallyDiffers, Subject: string(s.Statement), Detail: fmt.Sprintf(
		"The service lists %d entries in the name of %s among the first %d of the log, and that is not the tally "+
			"that the log has proved: an entry is kept back, or the proof is another's. %v.", tally.Entries, m.Agency,
		v.Statement.Size, err), Evidence: map[string]string{"statement": string(s.Statement),
		"checkpoint": string(s.Log.Checkpoint), "tally": tally.Text()}})
}

// compare finds the entries that the agency's own list lacks.
func (m *Monitor) compare(list []Entry) error {
	if m.Known == nil || len(list) == 0 {
		return nil
	}
	known, err := m.Known()
	if err != nil {
		return fmt.Errorf("the agency's own list: %w", err)
	}
	for _, e := range list {
		number, what := "", "an entry that is no statement of this version"
		if parsed, err := statement.ParseEntry(e.Data); err == nil {
			if said, err := statement.Parse(parsed.Statement); err == nil {
				number, what = said.Number, fmt.Sprintf("the %s of %s", said.Action, said.Number)
			}
		}
		if known[number] {
			continue
		}
		index := e.Index
		err := m.find(Finding{Code: UnknownEntry, Subject: fmt.Sprint(index), Index: &index, Number: number,
			Detail: fmt.Sprintf("Entry %d of the log, %s, is in the name of %s, whose own list does not have it.",
				index, what, m.Agency), Evidence: map[string]string{"leaf": merkle.LeafHash(e.Data).String()}})
		if err != nil {
			return err
		}
	}
	return nil
}

// maxLine is the longest line of an own list in bytes.
const maxLine = 1 << 20

// ReadNumbers reads an agency's own list of certificate numbers: a CSV with a column "number", or JSON lines, each
// an object that has "number" somewhere inside, such as a log of webhooks. What has no number in form is skipped.
func ReadNumbers(r io.Reader) (map[string]bool, error) {
	in := bufio.NewReader(r)
	first, err := in.Peek(1)
	for err == nil && len(bytes.TrimSpace(first)) == 0 {
		_, _ = in.ReadByte()
		first, err = in.Peek(1)
	}
	if errors.Is(err, io.EOF) {
		return map[string]bool{}, nil
	}
	if err != nil {
		return nil, err
	}
	if first[0] == '{' {
		return readLines(in)
	}
	return readTable(in)
}

func readTable(in io.Reader) (map[string]bool, error) {
	table := csv.NewReader(in)
	table.FieldsPerRecord = -1
	head, err := table.Read()
	if err != nil {
		return nil, err
	}
	head[0] = strings.TrimPrefix(head[0], "\ufeff")
	column := slices.IndexFunc(head, func(s string) bool { return strings.TrimSpace(s) == "number" })
	if column < 0 {
		return nil, errors.New(`a first line with a column "number" is expected, or JSON lines`)
	}
	out := map[string]bool{}
	for {
		row, err := table.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		if column < len(row) {
			note(out, row[column])
		}
	}
}

func readLines(in io.Reader) (map[string]bool, error) {
	out := map[string]bool{}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	for n := 1; lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var v any
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			return nil, fmt.Errorf("line %d is no JSON: %w", n, err)
		}
		numbers(out, v)
	}
	return out, lines.Err()
}

func numbers(out map[string]bool, v any) {
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			if text, ok := member.(string); ok && name == "number" {
				note(out, text)
			}
			numbers(out, member)
		}
	case []any:
		for _, member := range v {
			numbers(out, member)
		}
	}
}

func note(out map[string]bool, text string) {
	if text = strings.TrimSpace(text); notary.ValidNumber(text) {
		out[text] = true
	}
}
