package recovery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/google/uuid"

	"stele/crypto/merkle"
	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/log/tail"
	"stele/notary/proof/statement"
	"stele/notary/proof/status"
)

// This file recovers what the tail has no more, from the log's entry bundles: entries, and nothing that was private.

// maxBundle is the most that an entry bundle has, in bytes.
const maxBundle = merkle.TileWidth * statement.MaxEntrySize

// bundle makes a stretch from an entry bundle: the log's entries, and nothing that was private.
func (r *run) bundle(ctx context.Context, t merkle.Tile, at, end uint64) (tail.Stretch, []Bare, error) {
	s := tail.Stretch{Format: tail.Format, First: at}
	data, err := r.objects.Get(ctx, t.EntriesPath(), maxBundle)
	if errors.Is(err, notary.ErrObjectNotFound) {
		return s, nil, fmt.Errorf("%w: those from %d up to %d: %s is missing", ErrGap, at, end-1, t.EntriesPath())
	} else if err != nil {
		return s, nil, err
	}
	bare := []Bare{}
	use := tail.Use{ID: "recovered-" + uuid.Must(uuid.NewV7()).String(), Purpose: "recovered"}
	h := sm.NewHash()
	for i := t.Index * merkle.TileWidth; i < end; i++ {
		var e statement.Entry
		if e, data, err = statement.CutEntry(data); err != nil {
			return s, nil, fmt.Errorf("%w: %s: %w", ErrUnfit, t.EntriesPath(), err)
		}
		if i < at {
			continue
		}
		if status.OfNoRecord(e.Statement) { // it has no audit row, and comes alone
			if len(s.Entries) > 0 {
				break
			}
			s.Entries = []tail.Entry{{Statement: string(e.Statement), Signature: e.Signature,
				Certificate: e.Certificate[:]}}
			return s, bare, nil
		}
		entry, b, err := r.bareEntry(ctx, i, e)
		if err != nil {
			return s, nil, err
		}
		// An audit row vouches for signatures of one certificate.
		if use.Count > 0 && !bytes.Equal(use.Certificate, entry.Certificate) {
			break
		}
		d := sm.Sum(e.Statement)
		h.Write(d[:])
		use.AgencyID, use.Certificate, use.Count = entry.AgencyID, entry.Certificate, use.Count+1
		entry.KeyUse = use.ID
		s.Entries = append(s.Entries, entry)
		if b != nil {
			bare = append(bare, *b)
		}
		st, err := statement.Parse(e.Statement)
		if err != nil {
			return s, nil, err
		}
		use.At = st.IssuedAt.UnixMicro()
	}
	use.Statements = h.Sum(nil)
	s.Uses = []tail.Use{use}
	return s, bare, nil
}

// bareEntry is an entry with a row that has no attributes. The document is found by its digest.
func (r *run) bareEntry(ctx context.Context, index uint64, e statement.Entry) (tail.Entry, *Bare, error) {
	sg, err := r.signer(ctx, e.Certificate)
	if err != nil {
		return tail.Entry{}, nil, fmt.Errorf("entry %d: %w", index, err)
	}
	out := tail.Entry{Statement: string(e.Statement), Signature: e.Signature, Certificate: e.Certificate[:],
		AgencyID: sg.agencyID}
	s, err := statement.Parse(e.Statement)
	if err != nil || s.Action != statement.Issue {
		return out, nil, err
	}
	rec := &tail.Record{ID: uuid.Must(uuid.NewV7()).String(), Code: notary.NewCode(),
		ReceivedAt: s.IssuedAt.UnixMicro(), Fields: []tail.Field{}}
	for _, f := range s.Fields {
		rec.Fields = append(rec.Fields, tail.Field{Name: f.Name})
	}
	if r.strays == nil {
		if r.strays, err = findStrays(ctx, r.store, r.objects); err != nil {
			return out, nil, err
		}
	}
	id, err := r.strays.take(ctx, s.Document, index, r.ids)
	if err != nil {
		return out, nil, err
	}
	if id != "" {
		rec.ID, rec.Stored = id, true
	}
	out.Record = rec
	return out, &Bare{Number: s.Number, Index: index, Original: rec.Stored}, nil
}

// strays are documents that no row speaks of.
type strays struct {
	objects Objects
	bySize  map[int64][]string
	digests map[string]sm.Digest
	taken   map[string]uint64 // id to the index of the record that has it
}

// straysPage bounds how many ids are asked for at once.
const straysPage = 500

func findStrays(ctx context.Context, store Store, objects Objects) (*strays, error) {
	s := &strays{objects: objects, bySize: map[int64][]string{}, digests: map[string]sm.Digest{},
		taken: map[string]uint64{}}
	var page []notary.Object
	flush := func() error {
		ids := make([]string, len(page))
		for i, o := range page {
			ids[i] = strings.TrimPrefix(o.Key, notary.DocumentKey(""))
		}
		exist, err := store.ExistingRecords(ctx, ids)
		for i, o := range page {
			if err == nil && !exist[ids[i]] {
				s.bySize[o.Size] = append(s.bySize[o.Size], ids[i])
			}
		}
		page = page[:0]
		return err
	}
	err := objects.List(ctx, notary.DocumentKey(""), func(o notary.Object) error {
		if page = append(page, o); len(page) < straysPage {
			return nil
		}
		return flush()
	})
	return s, errors.Join(err, flush())
}

// take finds the document of a record; empty where there is none. The same index gets the same one,
// and none gets one of others.
func (s *strays) take(ctx context.Context, d statement.Document, index uint64, others map[string]bool) (string, error) {
	for _, id := range s.bySize[int64(d.Size)] {
		if at, ok := s.taken[id]; ok && at != index || others[id] {
			continue
		}
		digest, ok := s.digests[id]
		if !ok {
			var err error
			if digest, err = s.digest(ctx, id); err != nil {
				return "", err
			}
			s.digests[id] = digest
		}
		if digest == d.SM3 {
			s.taken[id] = index
			return id, nil
		}
	}
	return "", nil
}

func (s *strays) digest(ctx context.Context, id string) (sm.Digest, error) {
	body, _, err := s.objects.Open(ctx, notary.DocumentKey(id), "")
	if err != nil {
		return sm.Digest{}, err
	}
	defer body.Close()
	h := sm.NewHash()
	if _, err := io.Copy(h, body); err != nil {
		return sm.Digest{}, fmt.Errorf("read document %s: %w", id, err)
	}
	return sm.Digest(h.Sum(nil)), nil
}
