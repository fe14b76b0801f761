package stamp_test

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/office/stamp"
)

// A plan that cannot be carried out says which mark on which page is in the way, and why.
func TestRefusedPlans(t *testing.T) {
	d := open(t, letter(t, 3))
	for plan, want := range map[string]stamp.PlanError{
		`{}`:                   {Problem: stamp.BadForm},
		`{"marks":[]} `:        {Problem: stamp.BadForm},
		`{"marks":[{}],"x":1}`: {Problem: stamp.BadForm},
		`{"marks":[{"kind":"qr","pages":"1","anchor":{"corner":"top-left"}}]}{}`: {
			Problem: stamp.BadForm},
		`{"marks":[{"kind":"stain","pages":"1"}]}`: {Problem: stamp.BadKind,
			Mark: 1},
		`{"marks":[{"kind":"seal","pages":"1","group":4,"anchor":{"corner":"top-left"}}]}`: {Problem: stamp.BadKind,
			Mark: 1},
		`{"marks":[{"kind":"straddle","pages":"all","anchor":{"corner":"top-left"}}]}`: {Problem: stamp.BadKind,
			Mark: 1},
		`{"marks":[{"kind":"straddle","pages":"all","group":2}]}`: {Problem: stamp.BadKind,
			Mark: 1},
		`{"marks":[{"kind":"seal","pages":"1"}]}`: {
			Problem: stamp.BadAnchor, Mark: 1},
		`{"marks":[{"kind":"seal","pages":"1","anchor":{"corner":"top-left","keyword":"x"}}]}`: {
			Problem: stamp.BadAnchor, Mark: 1},
		`{"marks":[{"kind":"seal","pages":"1","anchor":{"corner":"middle"}}]}`: {Problem: stamp.BadAnchor,
			Mark: 1},
		`{"marks":[{"kind":"seal","pages":"","anchor":{"corner":"top-left"}}]}`: {Problem: stamp.BadPages,
			Mark: 1},
		`{"marks":[{"kind":"seal","pages":"2-1","anchor":{"corner":"top-left"}}]}`: {Problem: stamp.BadPages,
			Mark: 1},
		`{"marks":[{"kind":"seal","pages":"0","anchor":{"corner":"top-left"}}]}`: {Problem: stamp.BadPages,
			Mark: 1},
		`{"marks":[{"kind":"seal","pages":"2,4","anchor":{"corner":"top-left"}}]}`: {Problem: stamp.BadPages,
			Mark: 1},
		`{"marks":[{"kind":"seal","pages":"1","size":9.9,"anchor":{"corner":"top-left"}}]}`: {Problem: stamp.TooSmall,
			Mark: 1},
		// for this address
		`{"marks":[{"kind":"qr","pages":"1","size":14,"anchor":{"corner":"top-left"}}]}`:                                                                                      {Problem: stamp.TooSmall, Mark: 1},
		`{"marks":[{"kind":"seal","pages":"1","size":81,"anchor":{"corner":"top-left"}}]}`:                                                                                    {Problem: stamp.TooBig, Mark: 1},
		`{"marks":[{"kind":"seal","pages":"1","anchor":{"at":{"x":169,"y":10}}}]}`:                                                                                            {Problem: stamp.OutsidePage, Mark: 1, Page: 1},
		`{"marks":[{"kind":"seal","pages":"2","anchor":{"corner":"top-left","x":-1}}]}`:                                                                                       {Problem: stamp.OutsidePage, Mark: 1, Page: 2},
		`{"marks":[{"kind":"straddle","pages":"all","height":20}]}`:                                                                                                           {Problem: stamp.OutsidePage, Mark: 1, Page: 1},
		`{"marks":[{"kind":"straddle","pages":"last"}]}`:                                                                                                                      {Problem: stamp.StraddleTooFew, Mark: 1},
		`{"marks":[{"kind":"straddle","pages":"1-2","oddOnly":true}]}`:                                                                                                        {Problem: stamp.StraddleTooFew, Mark: 1},
		`{"marks":[{"kind":"seal","pages":"all","anchor":{"keyword":"没有的"}}]}`:                                                                                                {Problem: stamp.KeywordMissing, Mark: 1},
		`{"marks":[{"kind":"seal","pages":"all","anchor":{"keyword":"公章","nth":4}}]}`:                                                                                         {Problem: stamp.KeywordMissing, Mark: 1},
		`{"marks":[{"kind":"seal","pages":"3","anchor":{"corner":"top-left"}},{"kind":"qr","pages":"2-last","anchor":{"at":{"x":41,"y":41}}}]}`:                               {Problem: stamp.Overlapping, Mark: 2, Page: 3},
		`{"marks":[{"kind":"straddle","pages":"all"},{"kind":"qr","pages":"2","anchor":{"at":{"x":180,"y":140}}}]}`:                                                           {Problem: stamp.Overlapping, Mark: 2, Page: 2},
		`{"marks":[{"kind":"qr","pages":"1","anchor":{"corner":"top-left"}},{"kind":"seal","pages":"1","anchor":{"corner":"top-left","x":25}}]}` + strings.Repeat(" ", 1<<16): {Problem: stamp.BadForm},
	} {
		t.Run(plan, func(t *testing.T) {
			p, err := stamp.ParsePlan([]byte(plan))
			if err == nil {
				_, err = d.Place(p, link)
			}
			var got *stamp.PlanError
			if !errors.As(err, &got) || got.Problem != want.Problem || got.Mark != want.Mark || got.Page != want.Page ||
				got.Error() == "" {
				t.Errorf("%.150s: %v (%+v), want %+v", plan, err, got, want)
			}
		})
	}
	thin := open(t, pagesOf("", strings.Split(strings.Repeat(",", 29), ",")...))
	var bad *stamp.PlanError
	if _, err := thin.Place(stamp.Plan{Marks: []stamp.Mark{{Kind: stamp.Straddle, Pages: "all", Group: 30}}},
		""); !errors.As(err, &bad) || bad.Problem != stamp.StraddleTooThin {
		t.Errorf("30 strips: %v", err)
	}
	// 30 pages in tens, and their 15 fronts in halves.
	for odd, want := range map[bool]int{false: 10, true: 8} {
		placed, err := thin.Place(stamp.Plan{Marks: []stamp.Mark{{Kind: stamp.Straddle, Pages: "all", OddOnly: odd}}},
			"")
		if err != nil || placed[len(placed)-1].Strips != want || odd && (len(placed) != 15 || placed[1].Page != 3) {
			t.Errorf("fronts only: %t: %v, %+v", odd, err, placed)
		}
	}
}

// Marks that touch do not overlap; a QR code on text says so.
func TestPlaces(t *testing.T) {
	d := open(t, letter(t, 1))
	p, err := stamp.ParsePlan(
		[]byte(
			`{"marks":[{"kind":"qr","pages":"1","anchor":{"corner":"top-left"}},{"kind":"seal","pages":"1","anchor":{"corner":"top-left","x":25}},
		{"kind":"qr","pages":"1","size":20,"anchor":{"at":{"x":40,"y":50}}},{"kind":"seal","pages":"1","size":20,"anchor":{"keyword":"2026年11月22日","x":-5,"y":2.5}}]}`))
	fatalIfErr(t, err)
	placed, err := d.Place(p, link)
	fatalIfErr(t, err)
	if placed[0].CoversText || !placed[2].CoversText || placed[1].CoversText {
		t.Errorf("%+v", placed)
	}
	found, unreadable, err := d.Find("2026年11月22日")
	if err != nil || len(found) != 1 || len(unreadable) != 0 {
		t.Fatalf("%v %v %v", found, unreadable, err)
	}
	if mid := found[0].X + found[0].Width/2 - 5; math.Abs(placed[3].X+10-mid) > 0.01 ||
		math.Abs(found[0].X-370/72.0*25.4) > 0.5 || math.Abs(found[0].Y+found[0].Height-730/72.0*25.4) > 1.5 {
		t.Errorf("the day is at %+v, the seal at %+v", found[0], placed[3])
	}
	svg, err := d.Outline(1, placed)
	fatalIfErr(t, err)
	marks, paths := 0, 0
	for x := xml.NewDecoder(strings.NewReader(string(svg))); ; {
		token, err := x.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		fatalIfErr(t, err)
		if e, ok := token.(xml.StartElement); ok {
			if e.Name.Local == "path" {
				paths++
			}
			for _, a := range e.Attr {
				if a.Name.Local == "data-mark" {
					marks++
				}
			}
		}
	}
	if marks != len(placed) || paths != 1 || strings.Count(string(svg), "Z") != 21 { // lines of text
		t.Errorf("%d marks, %d lines: %.400s", marks, strings.Count(string(svg), "Z"), svg)
	}
	if _, err := d.Outline(2, nil); err == nil {
		t.Error("there is no second page")
	}
}

// office is one agency's seals in memory.
type office struct {
	seal notary.Seal
	uses []notary.SealUse
	err  error
}

func (o *office) Seal(_ context.Context, agencyID, id string) (notary.Seal, error) {
	if agencyID != o.seal.AgencyID || id != o.seal.ID {
		return notary.Seal{}, notary.ErrNotFound
	}
	return o.seal, nil
}

func (o *office) UseSeal(_ context.Context, u notary.SealUse) error {
	o.uses = append(o.uses, u)
	return o.err
}

func source(data []byte) stamp.Source {
	return func(context.Context) ([]byte, error) { return data, nil }
}

// No stamped file leaves without its use on record; a preview needs none, for it binds nobody.
func TestDesk(t *testing.T) {
	now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	c := content(t)
	seals := &office{seal: notary.Seal{ID: "s", AgencyID: "a", Name: "公章", PNG: c.Seal, From: now.Add(-time.Hour),
		Until: now.Add(time.Hour)}}
	at := now
	desk := stamp.NewStamper(seals, stamp.Here{}, func() time.Time { return at })
	data := letter(t, 3)
	plan, err := stamp.ParsePlan(
		[]byte(
			`{"marks":[{"kind":"seal","pages":"last","anchor":{"keyword":"公章"}},{"kind":"straddle","pages":"all"},{"kind":"qr","pages":"1","anchor":{"corner":"top-right"}}]}`))
	fatalIfErr(t, err)
	order := stamp.Order{AgencyID: "a", SealID: "s", Login: "wang", Filing: "f-1", Number: number, URL: link,
		Plan: plan, Document: source(data)}

	out, err := desk.Use(t.Context(), order)
	fatalIfErr(t, err)
	if u := seals.uses; len(u) != 1 || u[0].ID != out.UseID || u[0].Stamped != sm.Sum(out.PDF) ||
		u[0].Original != sm.Sum(data) || u[0].Marks != 4 || u[0].Login != "wang" || u[0].Filing != "f-1" ||
		u[0].Number != number || !u[0].At.Equal(now) {
		t.Errorf("%+v", u)
	}
	preview, err := desk.Preview(t.Context(), order)
	fatalIfErr(t, err)
	text := string(poppler(t, preview.PDF, "pdftotext", "-l", "3", "-f", "3"))
	img := picture(t, "preview", preview.PDF, 3, dpi)
	if p := preview.Placed[0]; len(seals.uses) != 1 || !strings.Contains(text, "预览无效") ||
		redness(img, p.X, p.Y, p.Width, p.Height) > 0.03 {
		t.Errorf("a preview looks final: %.200q", text)
	}
	// Without the record there is no file.
	seals.err = errors.New("the database is down")
	if out, err := desk.Use(t.Context(), order); err == nil || out.PDF != nil {
		t.Errorf("%d bytes, %v", len(out.PDF), err)
	}
	seals.err, seals.uses = nil, nil
	for what, c := range map[string]struct {
		change func(*stamp.Order)
		at     time.Time
		code   notary.Code
		inside error
	}{
		"another's seal": {func(o *stamp.Order) { o.AgencyID = "b" }, now, notary.CodeInvalid, nil},
		"too early":      {func(*stamp.Order) {}, now.Add(-2 * time.Hour), notary.CodeConflict, nil},
		"too late":       {func(*stamp.Order) {}, now.Add(time.Hour), notary.CodeConflict, nil},
		"no PDF": {func(o *stamp.Order) { o.Document = source([]byte("GIF89a")) }, now, notary.CodeInvalid,
			stamp.ErrNotPDF},
		"no keyword": {func(o *stamp.Order) { o.Document = source(pagesOf("", "", "")) }, now, notary.CodeInvalid, nil},
		"no number":  {func(o *stamp.Order) { o.Number = "" }, now, notary.CodeInvalid, stamp.ErrNoQR},
	} {
		o := order
		c.change(&o)
		at = c.at
		out, err := desk.Use(t.Context(), o)
		if notary.CodeOf(err) != c.code || c.inside != nil && !errors.Is(err, c.inside) || out.PDF != nil ||
			len(seals.uses) != 0 {
			t.Errorf("%s: %v, %d uses", what, err, len(seals.uses))
		}
	}
	at = now
	order.Plan.Marks, order.SealID = plan.Marks[2:], ""
	if out, err := desk.Use(t.Context(), order); err != nil || out.UseID != "" || len(seals.uses) != 0 {
		t.Errorf("a plan without a seal: %v, %+v", err, seals.uses)
	}
}
