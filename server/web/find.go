package web

import (
	"cmp"
	"context"
	"slices"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/archive"
	"stele/notary/proof"
)

// Causes of an unverifiable verdict that no report names, because there was no bundle to
// report on. The page's scripts know more of them; see static/js/check.js.
const (
	causeService  = "service"   // something that the service needs is down
	causeNotReady = "not_ready" // the record is not in the log yet
	causeAnswer   = "answer"    // what was found does not fit what was asked for
)

// finding is one answer to the question what a file is.
type finding struct {
	report *proof.Report
	cause  string // why it could not be checked, where the report does not say
	bundle []byte // what was verified, if there was a bundle
}

// maxMatches bounds how many records of one file are looked at.
const maxMatches = 20

// byDigest looks for every record of a file. The findings come best first; there is always
// at least one.
func (w *Web) byDigest(ctx context.Context, d *sm.Digest) []finding {
	records, err := w.Archive.List(ctx, archive.Filter{SM3: d, Limit: maxMatches})
	if err != nil {
		return []finding{w.outage(ctx, err)}
	}
	if len(records) == 0 {
		return []finding{{report: proof.Missing()}}
	}
	var found []finding
	for _, r := range records {
		f := w.check(ctx, r, d, false)
		if f.report.Verdict == proof.Altered {
			// The record was found by this digest: that it has another one is our fault.
			f = finding{report: proof.Unchecked("the record does not fit the file"), cause: causeAnswer}
		}
		found = append(found, f)
	}
	slices.SortStableFunc(found, func(a, b finding) int { return cmp.Compare(rank(a), rank(b)) })
	return found
}

// newer looks for what became of a record after its bundle was written: a bundle cannot
// know. Where the service knows the same record of the same file, its answer, verified like
// any other, takes the place of the bundle's.
func (w *Web) newer(ctx context.Context, f finding, d *sm.Digest) finding {
	if d == nil || f.report.Verdict != proof.Genuine && f.report.Verdict != proof.Pending {
		return f
	}
	for _, online := range w.byDigest(ctx, d) {
		if claims(online) && online.report.Number == f.report.Number {
			return online
		}
	}
	return f
}

// check verifies one record, with a file's digest or without.
func (w *Web) check(ctx context.Context, r notary.Record, d *sm.Digest, show bool) finding {
	bundle, err := w.Archive.Bundle(ctx, r, show)
	if err != nil {
		return w.outage(ctx, err)
	}
	return finding{report: proof.Verify(w.Archive.Trust(), d, bundle), bundle: bundle}
}

// outage turns an error into a verdict that says nothing about the file.
func (w *Web) outage(ctx context.Context, err error) finding {
	if notary.CodeOf(err) == notary.CodeNotReady {
		return finding{report: proof.Unchecked("the record is not in the log yet"), cause: causeNotReady}
	}
	w.Log.WarnContext(ctx, "a check is not possible", "error", err)
	return finding{report: proof.Unchecked("a part of the service is out of reach"), cause: causeService}
}

// best is the order in which findings about one file are shown.
var best = []proof.Verdict{proof.Genuine, proof.Pending, proof.Superseded, proof.Revoked, proof.Altered, proof.Unverifiable, proof.Invalid, proof.NotFound}

func rank(f finding) int { return slices.Index(best, f.report.Verdict) }

// causeOf names why a report is unverifiable: the first thing that was missing, in the order
// in which proof.Verify decides.
func causeOf(f finding) string {
	if f.cause != "" {
		return f.cause
	}
	var anchor, document string
	for _, s := range f.report.Steps {
		switch {
		case s.Status != proof.NotChecked:
		case s.Name == proof.StepDocument:
			document = s.Reason
		case s.Name == proof.StepAnchor:
			anchor = cmp.Or(anchor, s.Reason)
		default:
			return s.Reason
		}
	}
	passed := slices.ContainsFunc(f.report.Steps, func(s proof.Step) bool { return s.Name == proof.StepAnchor && s.Status == proof.Passed })
	if anchor != "" && !passed { // one anchor that holds is enough
		return anchor
	}
	return cmp.Or(document, "other")
}
