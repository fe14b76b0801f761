package sqldb

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"

	"stele/notary"
	"stele/notary/issue/archive"
	"stele/notary/proof/statement"
)

// dayOf is the day of a time in Beijing, counted from 1970; as the migration counts it.
func dayOf(at time.Time) int64 { return (at.Unix() + 28800) / 86400 }

// agencyDay names a row of agency_days.
type agencyDay struct {
	agency string
	day    int64
}

// countDays counts new records by agency and day: a handful of rows for any number of records.
// It runs under the log's lock, so that nobody else changes them meanwhile.
func countDays(ctx context.Context, tx *sqlx.Tx, rows []*row) error {
	type sum struct{ records, bytes int64 }
	sums := map[agencyDay]sum{}
	for _, r := range rows {
		if r.Action != statement.Issue || r.Record.Class == notary.TrailClass {
			continue
		}
		k := agencyDay{r.Record.AgencyID, dayOf(r.Record.IssuedAt)}
		s := sums[k]
		s.records++
		if r.Record.Stored {
			s.bytes += int64(r.Record.Size)
		}
		sums[k] = s
	}
	for k, s := range sums {
		if err := addToDay(ctx, tx, k, s.records, s.bytes); err != nil {
			return err
		}
	}
	return nil
}

func addToDay(ctx context.Context, tx *sqlx.Tx, k agencyDay, records, bytes int64) error {
	return run(ctx, tx, "count a day", `INSERT INTO agency_days (agency_id, day, records, bytes) VALUES ($1, $2, $3, $4)
		ON CONFLICT (agency_id, day) DO UPDATE SET records = agency_days.records + $3, bytes = agency_days.bytes + $4`,
		k.agency, k.day, records, bytes)
}

// countStanding counts a record of an agency that was revoked or replaced, which happens to it once. It runs under the
// log's lock, so that nobody else changes the count meanwhile.
func countStanding(ctx context.Context, tx *sqlx.Tx, agencyID string, standing notary.Standing) error {
	return run(ctx, tx, "count a standing", `INSERT INTO standing_counts (agency_id, standing, records)
		VALUES ($1, $2, 1) ON CONFLICT (agency_id, standing) DO UPDATE SET records = standing_counts.records + 1`,
		agencyID, string(standing))
}

// Ended implements console.Statistics: how many records of an agency have a standing other than valid.
func (db *Log) Ended(ctx context.Context, agencyID string, standing notary.Standing) (int64, error) {
	n, err := value[int64](ctx, db.read, "count a standing",
		`SELECT records FROM standing_counts WHERE agency_id = $1 AND standing = $2`, agencyID, string(standing))
	if errors.Is(err, notary.ErrNotFound) {
		return 0, nil
	}
	return n, err
}

// Days implements console.Statistics: how many records an agency registered on each of the
// days that end with the one of a time, in Beijing.
func (db *Log) Days(ctx context.Context, agencyID string, until time.Time, n int) ([]int64, error) {
	last := dayOf(until)
	type day struct{ day, records int64 }
	days, err := list(ctx, db.read, "read the days", func(d *day) []any { return []any{&d.day, &d.records} },
		`SELECT day, records FROM agency_days WHERE agency_id = $1 AND day > $2 AND day <= $3`, agencyID,
		last-int64(n), last)
	out := make([]int64, n)
	for _, d := range days {
		out[int64(n)-1-(last-d.day)] = d.records
	}
	return out, err
}

// KeptBytes implements console.Statistics: the size of all originals of an agency that are kept.
func (db *Log) KeptBytes(ctx context.Context, agencyID string) (int64, error) {
	return value[int64](ctx, db.read, "count an agency's bytes",
		`SELECT CAST(coalesce(sum(bytes), 0) AS BIGINT) FROM agency_days WHERE agency_id = $1`, agencyID)
}

// WaitingSince implements console.Statistics: when the first record was received that is not
// anchored; zero where there is none.
func (db *Log) WaitingSince(ctx context.Context) (time.Time, error) {
	return db.oldest(ctx,
		`SELECT received_at FROM records WHERE idx >= (SELECT anchored FROM log) ORDER BY idx LIMIT 1`)
}

// Tally implements console.Statistics: what a filter selects, counted by state and standing,
// the newest ones up to a number. Texts are compared one by one, so they are counted less far.
func (db *Log) Tally(ctx context.Context, f archive.Filter, most int) (archive.Tally, error) {
	p, err := db.Progress(ctx)
	if err != nil {
		return archive.Tally{}, err
	}
	t := archive.NewTally()
	if f.Text != "" || f.Person != "" {
		f.Limit = most + 1
		records, err := db.ListRecords(ctx, f)
		for _, r := range records[:min(len(records), most)] {
			t.Add(p.StateOf(r.Index), r.Standing, 1)
		}
		t.More = len(records) > most
		return t, err
	}
	wheres, err := db.recordsWhere(ctx, f)
	if err != nil {
		return t, err
	}
	type count struct {
		state    notary.State
		standing notary.Standing
		n        int
	}
	var counts []count
	for _, w := range wheres {
		args := append([]any{int64(p.Anchored), int64(p.Logged)}, w.args...)
		more, err := list(ctx, db.read, "count records",
			func(c *count) []any { return []any{&c.state, &c.standing, &c.n} },
			`SELECT state, standing, count(*) FROM (SELECT CASE WHEN idx < ? THEN 'anchored' WHEN idx < ? THEN 'logged'
			ELSE 'received' END AS state, standing FROM records`+w.sql()+`
			ORDER BY idx DESC LIMIT ?) AS found GROUP BY state, standing`, append(args, most+1)...)
		if err != nil {
			return t, err
		}
		counts = append(counts, more...)
	}
	for _, c := range counts {
		t.Add(c.state, c.standing, c.n)
	}
	all := 0
	for _, n := range slices.Collect(maps.Values(t.States)) {
		all += n
	}
	t.More = all > most
	return t, nil
}
