package web

import (
	"html/template"

	"stele/notary/proof/exhibit"
	"stele/ui"
	"stele/ui/words"
)

// exhibitView is a bundle taken apart, as the template shows it. static/js/exhibit.js makes
// the same in the browser, from the same Go code.
type exhibitView struct {
	Picture template.HTML
	Points  []words.Fact
	Parts   []exhibitPart
}

type exhibitPart struct {
	Key      string
	Title    string
	Values   []words.Fact
	Commands string
}

// exhibit takes apart the bundle of a finding whose claims may be shown. What cannot be
// taken apart is not shown; the steps say the same in words.
func (w *Web) exhibit(c *ui.Catalogue, f finding) *exhibitView {
	if f.Bundle == nil {
		return nil
	}
	page, err := exhibit.Show(f.Report, w.Archive.Trust(), f.Bundle, c.Text)
	if err != nil {
		w.Log.Warn("a bundle that holds cannot be taken apart", "number", f.Report.Number, "error", err)
		return nil
	}
	// The picture's texts are escaped by package exhibit, whose tests hold it to that.
	out := &exhibitView{Picture: template.HTML(page.Picture), Points: factsOf(page.Points)}
	for _, p := range page.Parts {
		out.Parts = append(out.Parts, exhibitPart{Key: p.Key, Title: p.Title, Values: factsOf(p.Values),
			Commands: p.Commands})
	}
	return out
}

func factsOf(values []exhibit.Value) []words.Fact {
	var out []words.Fact
	for _, v := range values {
		out = append(out, words.Fact{Label: v.Label, Value: v.Value, Kind: v.Kind})
	}
	return out
}
