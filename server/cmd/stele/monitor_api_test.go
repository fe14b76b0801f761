package main

import (
	"fmt"
	"testing"

	"stele/crypto/merkle"
	"stele/crypto/vmap"
	"stele/notary"
	"stele/notary/proof"
	"stele/notary/proof/checkpoint"
	"stele/notary/proof/statement"
	"stele/notary/proof/status"
	"stele/server/client"
)

// An agency has all its entries, revocations among them, in pages, and with them the tally that the log has proved.
func TestOwnEntries(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, site site) {
		t.Parallel()
		s := site.start(t, "--status-pause", "50ms")
		cl := &client.Client{BaseURL: s.info.URL, Key: client.Key(s.info.APIKey)}
		var records []record
		for range 5 {
			records = append(records, s.notarize(digestRequest(newDigest(), "", "")))
		}
		for _, rec := range records[1:3] {
			_, err := cl.Revoke(t.Context(), rec.Number, "issued in error", "")
			fatalIfErr(t, err)
		}
		last := s.notarize(digestRequest(newDigest(), "", "anchored"))
		s.settled(last, proof.StandingValid)

		at, tally, err := cl.OwnStatus(t.Context())
		fatalIfErr(t, err)
		v, err := proof.VerifyLogStatus(s.trust, s.origin(t), at)
		fatalIfErr(t, err)
		want := s.tallyBefore(t, v.Statement.Size)
		p, err := vmap.ParseProof(tally.Proof)
		fatalIfErr(t, err)
		if err := p.Verify(v.Statement.Map, status.AgencyKey(demoCode), want.Value()); err != nil ||
			tally.Value != want.Value().String() {
			t.Errorf("%v: %s, want that of %s", err, tally.Value, want.Text())
		}
		if want.Entries < 8 {
			t.Errorf("%d entries in the agency's name", want.Entries)
		}

		// A whole bundle of entries, for auditors alone.
		auditor := &client.Client{BaseURL: s.info.URL, Key: client.Key(s.auditorsKey())}
		data, err := auditor.Tile(t.Context(), merkle.Tile{Width: 8}.EntriesPath())
		fatalIfErr(t, err)
		hashes, err := auditor.Tile(t.Context(), merkle.Tile{Width: 8}.Path())
		fatalIfErr(t, err)
		for i := range 8 {
			var e statement.Entry
			e, data, err = statement.CutEntry(data)
			fatalIfErr(t, err)
			if leaf := e.LeafHash(); leaf != merkle.Hash(hashes[32*i:]) {
				t.Errorf("entry %d has another leaf than the tile", i)
			}
		}
		if _, err := cl.Tile(t.Context(), merkle.Tile{Width: 8}.EntriesPath()); err == nil {
			t.Error("an agency has read the log's entries")
		}
		anchored, err := cl.Anchors(t.Context(), 0)
		fatalIfErr(t, err)
		for _, a := range anchored {
			if _, _, err := proof.VerifyAnchoredCheckpoint(s.trust, []byte(a.Checkpoint), a.Anchors); err != nil {
				t.Errorf("size %d: %v", a.Size, err)
			}
		}
	})
}

// tallyBefore is what the agency's entries before an index give, fetched in small pages.
func (s *server) tallyBefore(t *testing.T, size uint64) (tally status.Tally) {
	t.Helper()
	for from := uint64(0); ; {
		var page client.Entries
		s.get(fmt.Sprintf("/api/v1/entries?from=%d&limit=2", from)).json(t, &page)
		for _, e := range page.Entries {
			parsed, err := statement.ParseEntry(e.Entry)
			fatalIfErr(t, err)
			said, err := statement.Parse(parsed.Statement)
			if err != nil || said.Agency.Code != demoCode || !notary.ValidNumber(said.Number) || e.Index < from {
				t.Fatalf("entry %d: %v, %+v", e.Index, err, said)
			}
			if e.Index < size {
				tally = tally.Add(parsed.LeafHash())
			}
		}
		if page.Covered == page.Size {
			return tally
		}
		if page.Covered <= from {
			t.Fatalf("the list does not go on: %+v", page)
		}
		from = page.Covered
	}
}

// origin is the name of the log that the trust roots have.
func (s *server) origin(t testing.TB) string {
	t.Helper()
	c, err := checkpoint.ParseUnsafe(s.get("/api/v1/log/checkpoint").body)
	fatalIfErr(t, err)
	return c.Origin
}
