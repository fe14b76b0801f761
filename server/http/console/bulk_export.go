package console

import (
	"encoding/csv"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"stele/notary"
	"stele/notary/office/bulk"
	"stele/notary/register/class"
)

// exportBulk sends rows of a job as CSV: those that did not become records, as they were, with a
// column that says why, to be corrected and handed in again; or the result of every row.
func (v *visit) exportBulk() error {
	job, err := v.findJob()
	if err != nil {
		return err
	}
	words, err := v.bulkWords(job)
	if err != nil {
		return err
	}
	failed := v.r.URL.Query().Get("which") == "failed"
	q := bulk.RowQuery{JobID: job.ID, Limit: 500}
	name := "results-"
	write, header := v.resultCells, v.resultHeader()
	if failed {
		name, q.States, header = "failed-", []bulk.RowState{bulk.Refused, bulk.Failed},
			append(slices.Clone(job.Header), v.t("console.bulk.error"))
		write = func(_ bulk.Job, r bulk.Row, problems string) ([]string, error) {
			return append(slices.Clone(r.Cells), problems), nil
		}
	}
	rows, err := v.Bulk.Rows(v.r.Context(), q)
	if err != nil {
		return err
	}
	v.attach("text/csv; charset=utf-8", name+job.ID+".csv")
	_, _ = v.rw.Write([]byte("\xef\xbb\xbf")) // the mark by which spreadsheets know UTF-8
	w := csv.NewWriter(v.rw)
	put := func(cells []string) {
		for i := range cells {
			cells[i] = bulk.Plain(cells[i])
		}
		_ = w.Write(cells) // an error stays until the end: the person has left
	}
	for put(header); len(rows) > 0; {
		for _, r := range rows {
			var said []string
			for _, p := range r.Problems {
				said = append(said, words.problem(p))
			}
			cells, err := write(job, r, strings.Join(said, " "))
			if err != nil {
				v.breakOff(slog.LevelWarn, brokeOff, err)
			}
			put(cells)
		}
		q.After = rows[len(rows)-1].No
		if rows, err = v.Bulk.Rows(v.r.Context(), q); err != nil {
			v.breakOff(slog.LevelWarn, brokeOff, err)
		}
	}
	w.Flush()
	return nil
}

func (v *visit) resultHeader() []string {
	var out []string
	for _, name := range []string{"line", "result", "number", "code", "title", "reference", "sm3", "certificate",
		"public", "error"} {
		out = append(out, v.t("console.bulk."+name))
	}
	return out
}

// resultCells are what became of a row. What a record says is read from the record: an
// attribute that was erased there is not here either.
func (v *visit) resultCells(_ bulk.Job, r bulk.Row, problems string) ([]string, error) {
	out := []string{strconv.Itoa(r.Line), v.t("console.bulk.row." + string(r.State)), r.Number, "", "", "", "", "", "",
		problems}
	if r.Record == "" {
		if r.Item != nil {
			out[4], out[5], out[6] = r.Item.Title, r.Item.Reference, r.Item.SM3
		}
		return out, nil
	}
	rec, err := v.Archive.Record(v.r.Context(), v.agency.ID, r.Record)
	if err != nil {
		return nil, err
	}
	number := url.PathEscape(rec.Number)
	out[3], out[4], out[5], out[6] = rec.Code, fieldOf(rec, "title"), rec.Reference, rec.SM3.String()
	out[7] = v.PublicURL + folder + "/records/" + number + "/certificate"
	out[8] = v.PublicURL + "/r/" + number + "?" + url.Values{"code": {rec.Code}}.Encode()
	return out, nil
}

// bulkTemplate sends the table of a class to be filled in.
func (v *visit) bulkTemplate() error {
	q := v.r.URL.Query()
	id := q.Get("class")
	if id == "" {
		id = class.General
	}
	c, err := v.Classes.Find(v.r.Context(), v.agency.ID, id)
	if err != nil {
		return err
	}
	s, err := class.ParseSchema(c.Schema)
	if err != nil {
		return err
	}
	tag := v.texts.Tag
	t := bulk.Template{Sheet: v.t("console.bulk.sheet"), Explain: v.t("console.bulk.sheet_explain"),
		Heads: [3]string{v.t("console.bulk.column"), v.t("console.bulk.needed"), v.t("console.bulk.meaning")}}
	for _, rule := range []string{"example", "text_cells", "day", "limit"} {
		t.Rules = append(t.Rules, v.t("console.bulk.rule_"+rule, "n", strconv.Itoa(v.Bulk.Limits().Rows)))
	}
	for _, col := range bulk.Columns(s, q.Get("with") != "digests") {
		t.Columns = append(t.Columns, v.templateColumn(col, tag))
	}
	name := "stele-" + c.ID
	if q.Get("form") == "csv" {
		v.attach("text/csv; charset=utf-8", name+".csv")
		_ = t.WriteCSV(v.rw) // the person may have left
		return nil
	}
	v.attach("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", name+".xlsx")
	if err := t.WriteWorkbook(v.rw); err != nil {
		return notary.Wrap(notary.CodeInternal, err, "The template cannot be made.")
	}
	return nil
}

func (v *visit) templateColumn(col bulk.Column, tag string) bulk.TemplateColumn {
	out := bulk.TemplateColumn{Heading: columnTitle(col, tag), Example: col.Example(), Needed: v.t("console.bulk.may")}
	if col.RequiredIn() {
		out.Needed = v.t("console.bulk.must")
	}
	if col.Name == bulk.ColumnTitle {
		out.Example = bulk.ExampleTitles[0]
		if tag == "en" {
			out.Example = bulk.ExampleTitles[1]
		}
	}
	if p := col.Property; p == nil {
		out.Note = v.t("console.bulk.about." + col.Name)
	} else {
		out.Note = p.Hint.In(tag)
		if len(p.Enum) > 0 {
			out.Note = v.t("console.bulk.one_of", "list", strings.Join(p.Enum, " / "), "note", out.Note)
		}
	}
	return out
}
