package instance

import (
	"context"
	"encoding/json"
	"strings"

	"stele/notary"
	"stele/notary/office/filing"
	"stele/notary/office/stamp"
)

// marker stamps the papers of the desk.
type marker struct {
	desk   *stamp.Stamper
	public string // where the public page is
}

func (m marker) order(p filing.Paper, marks json.RawMessage, document filing.Source) (stamp.Order, error) {
	var asked filing.Marks
	if err := json.Unmarshal(marks, &asked); err != nil {
		return stamp.Order{}, notary.InvalidField("plan", "The marks cannot be read.")
	}
	plan, err := stamp.ParsePlan(asked.Plan)
	if err != nil {
		return stamp.Order{}, notary.Wrap(notary.CodeInvalid, err, "The marks cannot be put so: %s.", err)
	}
	number := p.Number
	if number == "" {
		number = "000000-0000-00000000-0" // a preview; the real one is as long
	}
	return stamp.Order{AgencyID: p.AgencyID, SealID: asked.Seal, Login: p.Maker.Login, Filing: p.ID, Number: number,
		URL: strings.TrimSuffix(m.public, "/") + "/r/" + number, Plan: plan, Document: document}, nil
}

// Mark implements [filing.Marker].
func (m marker) Mark(ctx context.Context, p filing.Paper, marks json.RawMessage, document filing.Source) ([]byte,
	error) {
	o, err := m.order(p, marks, document)
	if err != nil {
		return nil, err
	}
	out, err := m.desk.Use(ctx, o)
	return out.PDF, err
}

// Preview implements [filing.Marker].
func (m marker) Preview(ctx context.Context, p filing.Paper, marks json.RawMessage, document filing.Source) ([]byte,
	error) {
	o, err := m.order(p, marks, document)
	if err != nil {
		return nil, err
	}
	out, err := m.desk.Preview(ctx, o)
	return out.PDF, err
}
