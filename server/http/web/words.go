package web

import (
	"time"

	"stele/ui"
	"stele/ui/words"
)

// result is a report in words with its bundle taken apart, as the template shows it.
type result struct {
	words.Result
	Exhibit *exhibitView
}

// words puts findings about one file into words, the best one first and the others below.
func (w *Web) words(c *ui.Catalogue, found []finding) result {
	out := result{Result: words.Put(c, spoken(found))}
	out.CheckedBy = c.Text("result.checked_server", "time", c.Time(w.Now().UTC().Format(time.RFC3339)))
	if found[0].Report.Shows() {
		out.Exhibit = w.exhibit(c, found[0])
	}
	return out
}

func spoken(found []finding) []words.Finding {
	out := make([]words.Finding, len(found))
	for i, f := range found {
		out[i] = words.Finding{Report: f.Report, Why: f.Why(), Stands: f.Stands}
	}
	return out
}
