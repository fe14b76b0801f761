package console

import (
	"time"

	"stele/notary"
	"stele/notary/archive"
	"stele/ui"
)

// overviewPage is what people see first. An operator, who sees no documents, has the log only.
type overviewPage struct {
	Day      time.Time
	Today    count
	Revoked  count // of all records
	Progress notary.Progress
	Waiting  uint64 // entries of the whole log that are not anchored yet
	Newest   []recordLine
}

// count is a number that was counted to a limit.
type count struct {
	N    int
	More bool // there are more than N
}

// mostCounted bounds what a number on a page costs: some tens of milliseconds.
const mostCounted = 100_000

const newestShown = 10

func (v *visit) overview() error {
	ctx := v.r.Context()
	now := v.Now().In(ui.Beijing)
	day := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, ui.Beijing)
	page := overviewPage{Day: day}
	var err error
	if page.Progress, err = v.Archive.Progress(ctx); err != nil {
		return err
	}
	page.Waiting = page.Progress.Received - page.Progress.Anchored
	if v.agency.ID != "" {
		if page.Today, err = v.count(archive.Filter{AgencyID: v.agency.ID, From: day}); err != nil {
			return err
		}
		if page.Revoked, err = v.count(archive.Filter{AgencyID: v.agency.ID, Standing: notary.Revoked}); err != nil {
			return err
		}
		records, err := v.Archive.List(ctx, archive.Filter{AgencyID: v.agency.ID, Limit: newestShown})
		if err != nil {
			return err
		}
		page.Newest = linesOf(records, page.Progress)
	}
	return v.show("overview", "console.section.overview", page)
}

func (v *visit) count(f archive.Filter) (count, error) {
	n, err := v.Counter.CountRecords(v.r.Context(), f, mostCounted+1)
	if err != nil {
		return count{}, notary.Wrap(notary.CodeUnavailable, err, "The records cannot be counted at the moment; try again.")
	}
	return count{min(n, mostCounted), n > mostCounted}, nil
}

func linesOf(records []notary.Record, p notary.Progress) []recordLine {
	out := make([]recordLine, len(records))
	for i, r := range records {
		out[i] = recordLine{r, p.StateOf(r.Index), fieldOf(r, "title"), fieldOf(r, "fileName")}
	}
	return out
}

// fieldOf is an attribute of a record, empty where there is none or it was erased.
func fieldOf(r notary.Record, name string) string {
	for _, f := range r.Fields {
		if f.Name == name && len(f.Salt) > 0 {
			return f.Value
		}
	}
	return ""
}
