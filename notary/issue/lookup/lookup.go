// Package lookup answers what a file is: it finds the records that there are of it, has each
// one's bundle verified, and says which is the answer. The API and the public page ask here,
// so that they say the same; the browser gets the same records and ranks them with the same
// [proof.Rank].
//
// Nothing is decided here but which bundles there are: what one is worth says [proof.Verify].
package lookup

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"time"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/issue/archive"
	"stele/notary/proof"
)

// Causes of an unverifiable verdict that no report names, because there was no bundle to
// report on. The page's scripts know more of them; see ui/static/js/check.js.
const (
	CauseService  = "service"   // something that the service needs is down
	CauseNotReady = "not_ready" // the record is not in the log yet
	CauseAnswer   = "answer"    // what was found does not fit what was asked for
)

// Finding is one answer to the question what a file is.
type Finding struct {
	Report *proof.Report
	Cause  string // why it could not be checked, where the report does not say
	Bundle []byte // what was verified, where there was something
	// Stands says that the service was asked about the record and knows of no revocation and no
	// replacement. It is the service's word, which no bundle shows.
	Stands bool
}

// Why names why a finding is unverifiable.
func (f Finding) Why() string { return cmp.Or(f.Cause, f.Report.Cause()) }

// MaxMatches bounds how many records of one file are looked at.
const MaxMatches = 20

// Patience is how long a question waits for a record that is received and not in the log yet:
// that is a fraction of a second, unless something is wrong. The page waits no longer than 20 s.
const Patience = 5 * time.Second

// Lookup answers. It is safe for concurrent use.
type Lookup struct {
	Archive  *archive.Archive
	Moved    *notary.Signal // tells that the log has moved
	Patience time.Duration
	Log      *slog.Logger
}

// Records returns the records of a file, newest first, at most [MaxMatches]. Where there are
// more, those in force are among them, however old they are.
func (l *Lookup) Records(ctx context.Context, d *sm.Digest) ([]notary.Record, error) {
	records, err := l.Archive.List(ctx, archive.Filter{SM3: d, Limit: MaxMatches})
	if err != nil {
		return nil, err
	}
	if len(records) == MaxMatches {
		valid, err := l.Archive.List(ctx, archive.Filter{SM3: d, Standing: notary.Valid, Limit: MaxMatches})
		if err != nil {
			return nil, err
		}
		records = inForce(valid, records)
	}
	return records, l.settle(ctx, records...)
}

// inForce fills up the records that are in force with the newest others.
func inForce(valid, records []notary.Record) []notary.Record {
	for _, r := range records {
		known := slices.ContainsFunc(valid, func(v notary.Record) bool { return v.Number == r.Number })
		if len(valid) < MaxMatches && !known {
			valid = append(valid, r)
		}
	}
	slices.SortFunc(valid, func(a, b notary.Record) int { return cmp.Compare(b.Index, a.Index) })
	return valid
}

// Record finds a record by its certificate's number.
func (l *Lookup) Record(ctx context.Context, number string) (notary.Record, error) {
	r, err := l.Archive.Record(ctx, "", number)
	if err != nil {
		return r, err
	}
	return r, l.settle(ctx, r)
}

// settle waits until records, and what became of them, are in the log, for as long as
// patience lasts. Those that are not there then say so themselves.
func (l *Lookup) settle(ctx context.Context, records ...notary.Record) error {
	var last uint64
	for _, r := range records {
		last = max(last, r.Index)
		if r.Standing != notary.Valid {
			last = max(last, r.StandingIndex)
		}
	}
	if len(records) == 0 {
		return nil
	}
	_, err := l.Archive.Await(ctx, l.Moved, l.Patience, last, notary.Logged)
	return err
}

// File answers what a file is. The answer comes first, below it what else was found; there is
// always one.
func (l *Lookup) File(ctx context.Context, file *proof.File) []Finding {
	records, err := l.Records(ctx, &file.SM3)
	if err != nil {
		return []Finding{l.Outage(ctx, err)}
	}
	if len(records) == 0 {
		return []Finding{{Report: proof.Missing()}}
	}
	var found []Finding
	for _, r := range records {
		f := l.Check(ctx, r, file, false)
		if f.Report.Verdict == proof.Altered {
			// The record was found by this digest: that it has another one is our fault.
			f = Finding{Report: proof.Unchecked("the record does not fit the file"), Cause: CauseAnswer}
		}
		found = append(found, f)
	}
	return Rank(found)
}

// Given answers about a bundle that was handed in. It cannot know what became of its record
// after it was written: where the service knows, that is the answer. Where nothing has changed,
// or cannot be looked up, the bundle's own report stands: it may show more attributes. So does it with the service's
// evidence, where that says of a later time that the record stands.
func (l *Lookup) Given(ctx context.Context, bundle []byte, file *proof.File) Finding {
	given := Finding{Report: proof.VerifyFile(l.Archive.Trust(), file, bundle), Bundle: bundle}
	if !given.Report.Open() {
		return given
	}
	r, err := l.Record(ctx, given.Report.Number)
	if err != nil {
		return given
	}
	known := l.Check(ctx, r, file, false)
	if !known.Report.Shows() || known.Report.Number != given.Report.Number {
		return given
	}
	given.Stands = known.Stands
	found := []Finding{given, known}
	if asOf(known).After(asOf(given)) {
		if fresh, err := proof.Refresh(bundle, known.Bundle); err == nil {
			report := proof.VerifyFile(l.Archive.Trust(), file, fresh)
			found = []Finding{{Report: report, Bundle: fresh, Stands: known.Stands}, given, known}
		}
	}
	return Rank(found)[0]
}

// asOf is until when the log's status in a bundle speaks of the record; zero where there is none.
func asOf(f Finding) time.Time {
	at, err := time.Parse(time.RFC3339, f.Report.Standing.AsOf)
	if err != nil {
		return time.Time{}
	}
	return at
}

// Check verifies one record as the log has it now, with a file or without.
func (l *Lookup) Check(ctx context.Context, r notary.Record, file *proof.File, show bool) Finding {
	bundle, err := l.Archive.Current(ctx, r, show)
	if err != nil {
		return l.Outage(ctx, err)
	}
	return Finding{Report: proof.VerifyFile(l.Archive.Trust(), file, bundle), Bundle: bundle,
		Stands: r.Standing == notary.Valid}
}

// Outage turns an error into a verdict that says nothing about the file.
func (l *Lookup) Outage(ctx context.Context, err error) Finding {
	if notary.CodeOf(err) == notary.CodeNotReady {
		return Finding{Report: proof.Unchecked("the record is not in the log yet"), Cause: CauseNotReady}
	}
	l.Log.WarnContext(ctx, "a check is not possible", "error", err)
	return Finding{Report: proof.Unchecked("a part of the service is out of reach"), Cause: CauseService}
}

// Rank puts findings about one file into the order of [proof.Rank].
func Rank(found []Finding) []Finding {
	var reports []*proof.Report
	for _, f := range found {
		reports = append(reports, f.Report)
	}
	var out []Finding
	for _, p := range proof.Rank(reports) {
		out = append(out, found[p.At])
	}
	return out
}
