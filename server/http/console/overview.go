package console

import (
	"net/http"
	"time"

	"stele/notary"
	"stele/notary/issue/archive"
	"stele/notary/office/filing"
	"stele/ui"
)

// overviewPage is what people see first. An operator, who sees no documents, has the log only.
type overviewPage struct {
	Now      string // see nowOf
	Today    int64
	Revoked  int64 // of all records
	Kept     uint64
	Progress notary.Progress
	Waiting  uint64        // entries of the whole log that are not anchored yet
	Lag      time.Duration // how long the first of them has waited
	Chart    chart
	Newest   []recordLine
	Papers   int   // that wait for approval
	Returned count // papers of this person that came back to be changed
}

// count is a number that was counted to a limit.
type count struct {
	N    int
	More bool // there are more than N
}

// mostCounted bounds what a number on a page costs: some tens of milliseconds.
const mostCounted = 10_000

const newestShown = 10

func (v *visit) overview() error {
	ctx := v.r.Context()
	now := v.Now()
	page := overviewPage{}
	var err error
	if page.Progress, err = v.Archive.Progress(ctx); err != nil {
		return err
	}
	page.Now, page.Waiting = nowOf(logNowOf(page.Progress)), page.Progress.Received-page.Progress.Anchored
	since, err := v.Statistics.WaitingSince(ctx)
	if err != nil {
		return uncounted(err)
	}
	if !since.IsZero() {
		page.Lag = max(0, now.Sub(since).Truncate(time.Second))
	}
	if v.agency.ID != "" {
		if err := v.agencyNumbers(&page, now); err != nil {
			return err
		}
	}
	return v.show("overview", "console.section.overview", page)
}

func (v *visit) agencyNumbers(page *overviewPage, now time.Time) error {
	papers, err := v.Papers.Count(v.r.Context(), v.agency.ID)
	if err != nil {
		return err
	}
	page.Papers = papers[filing.Waiting]
	ctx := v.r.Context()
	if papers[filing.Returned] > 0 && v.may(http.MethodPost, "/papers/{paper}") {
		mine, err := v.Papers.List(ctx, filing.Query{AgencyID: v.agency.ID, MakerID: v.user.ID,
			States: []filing.State{filing.Returned}, Limit: papersShown + 1})
		if err != nil {
			return err
		}
		page.Returned = count{min(len(mine), papersShown), len(mine) > papersShown}
	}
	days, err := v.Statistics.Days(ctx, v.agency.ID, now, chartDays)
	if err != nil {
		return uncounted(err)
	}
	page.Today, page.Chart = days[chartDays-1], newChart(days, now.In(ui.Beijing))
	kept, err := v.Statistics.KeptBytes(ctx, v.agency.ID)
	if err != nil {
		return uncounted(err)
	}
	page.Kept = uint64(max(0, kept))
	if page.Revoked, err = v.Statistics.Ended(ctx, v.agency.ID, notary.Revoked); err != nil {
		return uncounted(err)
	}
	records, err := v.Archive.List(ctx, archive.Filter{AgencyID: v.agency.ID, Limit: newestShown})
	if err != nil {
		return err
	}
	page.Newest, err = v.linesOf(records, page.Progress)
	return err
}

func uncounted(err error) error {
	return notary.Wrap(notary.CodeUnavailable, err, "The records cannot be counted at the moment; try again.")
}

func (v *visit) linesOf(records []notary.Record, p notary.Progress) ([]recordLine, error) {
	names, err := v.classNames()
	if err != nil {
		return nil, err
	}
	out := make([]recordLine, len(records))
	for i, r := range records {
		out[i] = recordLine{r, p.StateOf(r.Index), fieldOf(r, "title"), fieldOf(r, "fileName"), names(r.Class)}
	}
	return out, nil
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
