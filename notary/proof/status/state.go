package status

import (
	"bytes"

	"stele/crypto/merkle"
	"stele/crypto/sm"
	"stele/crypto/vmap"
	"stele/notary"
	"stele/notary/proof/statement"
)

// State is the map over the first entries of a log, and what it was made of. It follows from the entries
// alone. The zero value is that of the empty log. It is not safe for concurrent use; a [Snapshot] is.
type State struct {
	size    uint64
	made    vmap.Map // without what is in pending and moved
	pending map[sm.Digest]sm.Digest
	ended   map[sm.Digest]bool // keys of records that ended
	revoked map[sm.Digest]bool // keys of certificates that were revoked
	tallies map[string]Tally
	moved   map[string]bool // agencies whose tally is not in the map yet
	changed map[string]bool // agencies whose tally changed since [State.Changed] was called
}

// Snapshot is a state of the map that does not change any more. It is safe for concurrent use.
type Snapshot struct {
	Size         uint64 // entries
	Map          vmap.Map
	Records      uint64
	Certificates uint64
	Agencies     uint64
}

// Kept is what is kept of the state over the first Size entries.
type Kept struct {
	Size    uint64
	Ended   map[sm.Digest]Ended      // by [RecordKey]
	Revoked map[sm.Digest]Revocation // by [CertificateKey]
	Tallies map[string]Tally         // by credit code
}

// Restore makes the state from what was kept of it.
func Restore(k Kept) *State {
	s := &State{size: k.Size}
	s.init()
	for key, e := range k.Ended {
		put(s, s.ended, key, e)
	}
	for key, r := range k.Revoked {
		put(s, s.revoked, key, r)
	}
	for code, t := range k.Tallies {
		s.tallies[code], s.moved[code] = t, true
	}
	return s
}

func (s *State) init() {
	if s.pending == nil {
		s.pending, s.ended, s.revoked = map[sm.Digest]sm.Digest{}, map[sm.Digest]bool{}, map[sm.Digest]bool{}
		s.tallies, s.moved, s.changed = map[string]Tally{}, map[string]bool{}, map[string]bool{}
	}
}

// Size is the number of entries that the state covers.
func (s *State) Size() uint64 { return s.size }

// Add takes the next entry, of which it looks at the few bytes that [read] names.
//
// An entry that revokes or supersedes a number ends the record of that number of the same agency; the first
// one counts. A certificate's revocation in form revokes the certificate; the first one counts. Whether the record or
// the certificate is there, and whether anybody was allowed to sign, is not asked: the map says what the entries
// say. Other entries, status statements among them, change nothing but the size.
func (s *State) Add(text []byte, leaf merkle.Hash) {
	s.init()
	index := s.size
	s.size++
	if IsRevocation(text) {
		if r, err := ParseCertificateRevocation(text); err == nil {
			put(s, s.revoked, CertificateKey(r.Certificate), Revocation{Reason: r.Reason, Since: r.Since, Index: index})
		}
		return
	}
	said, ok := read(text)
	if !ok {
		return
	}
	s.tallies[said.code] = s.tallies[said.code].Add(leaf)
	s.moved[said.code], s.changed[said.code] = true, true
	if said.ends != "" {
		put(s, s.ended, RecordKey(said.ends, said.code), Ended{Superseded: !said.revokes, Index: index})
	}
}

// said is what the map takes from a statement.
type said struct {
	code    string // the agency's
	ends    string // number of the record that it revokes or supersedes, or empty
	revokes bool
}

// read looks at a statement of version 1. It depends on these bytes alone, so that it costs little, and the map
// is defined for whatever somebody put into a log: the beginning up to the agency's code, and, of an issue, the
// number behind the first "supersedes" key. No string can contain that key, since its quotes would be escaped.
func read(text []byte) (out said, ok bool) {
	const (
		numberSize = 22
		codeSize   = 18
	)
	rest, ok := bytes.CutPrefix(text, []byte(`{"type":"`+statement.Type+`","action":"`))
	if !ok {
		return out, false
	}
	if rest, out.revokes = bytes.CutPrefix(rest, []byte(`revoke","number":"`)); !out.revokes {
		if rest, ok = bytes.CutPrefix(rest, []byte(`issue","number":"`)); !ok {
			return out, false
		}
	}
	number, rest, ok := quoted(rest, numberSize)
	if !ok || !notary.ValidNumber(number) {
		return out, false
	}
	if rest, ok = bytes.CutPrefix(rest, []byte(`,"agency":{"code":"`)); !ok {
		return out, false
	}
	if out.code, rest, ok = quoted(rest, codeSize); !ok || !notary.ValidUSCC(out.code) {
		return out, false
	}
	if out.revokes {
		out.ends = number
		return out, true
	}
	if _, after, found := bytes.Cut(rest, []byte(`,"supersedes":"`)); found {
		if number, _, ok := quoted(after, numberSize); ok && notary.ValidNumber(number) {
			out.ends = number
		}
	}
	return out, true
}

// quoted is a string of n bytes whose closing quote follows.
func quoted(b []byte, n int) (s string, rest []byte, ok bool) {
	if len(b) <= n || b[n] != '"' {
		return "", nil, false
	}
	return string(b[:n]), b[n+1:], true
}

// put enters a key's value, unless it has one: the first counts.
func put(s *State, has map[sm.Digest]bool, key sm.Digest, v interface{ Value() sm.Digest }) {
	if !has[key] {
		has[key] = true
		s.pending[key] = v.Value()
	}
}

// Snapshot returns the map as it is now.
func (s *State) Snapshot() Snapshot {
	s.init()
	entries := make([]vmap.Entry, 0, len(s.pending)+len(s.moved))
	for key, value := range s.pending {
		entries = append(entries, vmap.Entry{Key: key, Value: value})
	}
	for code := range s.moved {
		entries = append(entries, vmap.Entry{Key: AgencyKey(code), Value: s.tallies[code].Value()})
	}
	clear(s.pending)
	clear(s.moved)
	s.made = s.made.Put(entries...)
	return Snapshot{Size: s.size, Map: s.made, Records: uint64(len(s.ended)), Certificates: uint64(len(s.revoked)),
		Agencies: uint64(len(s.tallies))}
}

// Statement is what the log says about the snapshot, in the entry that follows it.
func (s Snapshot) Statement(origin string) Statement {
	return Statement{Log: origin, Size: s.Size, Map: s.Map.Root(), Records: s.Records,
		Certificates: s.Certificates, Agencies: s.Agencies}
}

// Tally is what an agency has so far.
func (s *State) Tally(code string) Tally { return s.tallies[code] }

// Agencies is how many have entries so far.
func (s *State) Agencies() int { return len(s.tallies) }

// Changed returns the tallies that changed since the last call.
func (s *State) Changed() map[string]Tally {
	out := make(map[string]Tally, len(s.changed))
	for code := range s.changed {
		out[code] = s.tallies[code]
	}
	clear(s.changed)
	return out
}
