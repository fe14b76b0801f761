package sqldb

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"stele/notary"
	"stele/notary/issue/archive"
)

var _ archive.Entries = (*Log)(nil)

// AgencyEntries implements [archive.Entries]. What was issued lies in an index by agency. Revocations are looked for
// in the stretch that these leave alone, among everything that ended there: over all pages each row is read once.
func (db *Log) AgencyEntries(ctx context.Context, agencyID string, from, end uint64, limit int) (
	[]archive.AgencyEntry, uint64, error) {
	at, err := list(ctx, db.read, "list an agency's entries", itself[uint64], `SELECT idx FROM records `+
		`WHERE agency_id = $1 AND idx >= $2 AND idx < $3 ORDER BY idx LIMIT $4`, agencyID, int64(from), int64(end), limit)
	if err != nil {
		return nil, 0, err
	}
	covered := end
	if len(at) == limit {
		covered = at[limit-1] + 1
	}
	ended, err := list(ctx, db.read, "list an agency's revocations", itself[uint64], `SELECT standing_idx FROM records `+
		`WHERE standing <> '`+string(notary.Valid)+`' AND standing = '`+string(notary.Revoked)+`' AND agency_id = $1 `+
		`AND standing_idx >= $2 AND standing_idx < $3 ORDER BY standing_idx LIMIT $4`, agencyID, int64(from),
		int64(covered), limit)
	if err != nil {
		return nil, 0, err
	}
	if len(ended) == limit {
		covered = ended[limit-1] + 1
	}
	at = append(at, ended...)
	slices.Sort(at)
	if i, _ := slices.BinarySearch(at, covered); i < len(at) {
		at = at[:i]
	}
	if len(at) > limit {
		at = at[:limit]
		covered = at[limit-1] + 1
	}
	var out []archive.AgencyEntry
	for some := range slices.Chunk(at, 500) {
		numbers := make([]string, len(some))
		for i, n := range some {
			numbers[i] = strconv.FormatUint(n, 10)
		}
		rows, err := list(ctx, db.read, "read an agency's entries", func(e *archive.AgencyEntry) []any {
			return []any{&e.Index, text{&e.Entry.Statement}, &e.Entry.Signature, digest(&e.Entry.Certificate)}
		}, `SELECT idx, statement, signature, certificate FROM entries WHERE idx IN (`+strings.Join(numbers, ",")+
			`) ORDER BY idx`)
		if err != nil {
			return nil, 0, err
		}
		if len(rows) != len(some) {
			return nil, 0, errors.New("entries of records are missing; run stele fsck")
		}
		out = append(out, rows...)
	}
	return out, covered, nil
}
