package bulk

import (
	"archive/zip"
	"context"
	"errors"
	"io"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/office/review"
	"stele/notary/register/class"
	"stele/notary/register/intake"
	"stele/notary/register/mediatype"
	"stele/notary/register/staging"
)

// checker looks at the rows of one job.
type checker struct {
	*Jobs
	job     Job
	layout  layout
	schema  *class.Schema
	rows    []Row
	seen    map[string]map[string]int // of columns that must differ: value to line
	replace bool                      // a replaced record is withdrawn by two people
}

// checkRows says what is wrong with each row, but for its file.
func (j *Jobs) checkRows(ctx context.Context, job Job, schema *class.Schema, rows []Row) (*checker, error) {
	l, err := arrange(job.Header, schema)
	if err != nil {
		return nil, err // the class has changed since the table was taken
	}
	c := &checker{Jobs: j, job: job, layout: l, schema: schema, rows: rows, seen: map[string]map[string]int{}}
	for i := range rows {
		row := &rows[i]
		row.State = Ready
		row.Problems = slices.DeleteFunc(row.Problems,
			func(p Problem) bool { return !slices.Contains(ofReading, p.Code) })
		if len(row.Problems) > 0 {
			row.State = Refused
		}
		row.Item = c.read(row)
		c.form(row)
		if err := c.replaced(ctx, row); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (r *Row) wrong(column string, code Code, detail string) {
	for _, p := range r.Problems {
		if p.Column == column {
			return // the first thing that is wrong with a cell is what people need
		}
	}
	r.Problems, r.State = append(r.Problems, Problem{column, code, detail}), Refused
}

// read takes a row apart. Numbers and days are brought into the one form that they have here.
func (c *checker) read(row *Row) *Item {
	it := &Item{Fields: map[string]string{}}
	for i, cell := range row.Cells {
		column := c.layout.columns[i]
		switch column.Name {
		case ColumnTitle:
			it.Title = cell
		case ColumnFile:
			it.File = cell
		case ColumnSM3:
			it.SM3 = strings.ToLower(strings.Join(strings.Fields(cell), ""))
		case ColumnSize:
			n, err := strconv.ParseInt(wholeNumber(cell), 10, 64)
			if it.Size = n; cell != "" && (err != nil || n < 0) {
				row.wrong(ColumnSize, CodeSize, "")
			}
		case ColumnMediaType:
			it.MediaType = strings.ToLower(cell)
		case ColumnReference:
			it.Reference = cell
		case ColumnSupersedes:
			it.Supersedes = strings.ToUpper(cell)
		case ColumnReason:
			it.Reason = cell
		default:
			if cell != "" {
				it.Fields[column.Name] = c.normalForm(column.Property, cell)
			}
		}
		if cell == "" && column.RequiredIn() {
			row.wrong(column.Name, CodeMissing, "")
		}
	}
	return it
}

// ExampleTitles stand in the row of a template that shows how it is done.
var ExampleTitles = []string{"示例：请删除本行", "Example: delete this row"}

// form checks what needs nothing but the row, the class and the rows before.
func (c *checker) form(row *Row) {
	it := row.Item
	if slices.Contains(ExampleTitles, it.Title) {
		row.wrong(ColumnTitle, CodeExample, "")
	}
	try := func(column string, code Code, d intake.Draft) {
		d.Class = c.job.Class
		if err := c.o.Notary.CheckForm(d); err != nil {
			row.wrong(column, code, "")
		}
	}
	try(ColumnTitle, CodeForm, intake.Draft{Title: it.Title})
	try(ColumnMediaType, CodeMediaType, intake.Draft{MediaType: it.MediaType})
	try(ColumnReference, CodeForm, intake.Draft{Reference: it.Reference})
	try(ColumnSupersedes, CodeNumber, intake.Draft{Supersedes: it.Supersedes})
	switch {
	case it.Reason != "" && it.Supersedes == "":
		row.wrong(ColumnSupersedes, CodeMissing, "")
	case notary.ValidNumber(it.Supersedes):
		try(ColumnReason, CodeForm, intake.Draft{Supersedes: it.Supersedes, Reason: it.Reason})
	}
	if it.File != "" {
		try(ColumnFile, CodeForm, intake.Draft{FileName: fileName(it.File)})
	}
	for name, value := range it.Fields {
		try(name, CodeForm, intake.Draft{Fields: map[string]string{name: value}})
	}
	if _, err := sm.ParseDigest(it.SM3); it.SM3 != "" && err != nil {
		row.wrong(ColumnSM3, CodeDigest, "")
	}
	for _, f := range c.schema.Faults(it.Fields) {
		row.wrong(f.Name, faultCode(f), faultDetail(f))
	}
	if len(row.Problems) == 0 {
		if err := c.o.Notary.CheckForm(c.draft(*it)); err != nil {
			row.wrong("", CodeAll, err.Error())
		}
	}
	slices.SortStableFunc(row.Problems, func(a, b Problem) int { return c.place(a.Column) - c.place(b.Column) })
	if !c.layout.files {
		c.unique(row, ColumnSM3, ColumnSM3, it.SM3)
	}
	c.unique(row, ColumnFile, ColumnFile, it.File)
	c.unique(row, ColumnSupersedes, ColumnSupersedes, it.Supersedes)
}

// place is where a column stands in the table; what is about the row stands first.
func (c *checker) place(column string) int {
	return slices.IndexFunc(c.layout.columns, func(k Column) bool { return k.Name == column })
}

// unique refuses a value of a kind that a row before has.
func (c *checker) unique(row *Row, column, kind, value string) {
	if value == "" {
		return
	}
	if c.seen[kind] == nil {
		c.seen[kind] = map[string]int{}
	}
	if line, ok := c.seen[kind][value]; ok {
		row.wrong(column, CodeSame, strconv.Itoa(line))
		return
	}
	c.seen[kind][value] = row.Line
}

// faultKinds are the schema's words that have a text of their own.
var faultKinds = []string{"missing", "type", "enum", "format", "pattern", "minLength", "maxLength", "minimum",
	"maximum"}

func faultCode(f class.Fault) Code {
	if slices.Contains(faultKinds, f.Kind) {
		return Code(f.Kind)
	}
	return CodeSchema
}

func faultDetail(f class.Fault) string {
	if faultCode(f) == CodeSchema {
		return f.Why
	}
	return f.Want
}

// fileName is what a record calls a file that a table names with its folder.
func fileName(name string) string { return path.Base(strings.ReplaceAll(name, `\`, "/")) }

// replaced checks the record that a row replaces.
func (c *checker) replaced(ctx context.Context, row *Row) error {
	number := row.Item.Supersedes
	if number == "" || !notary.ValidNumber(number) {
		return nil
	}
	old, err := c.o.Records.Record(ctx, c.job.AgencyID, number)
	switch code := notary.CodeOf(err); {
	case err != nil && code != notary.CodeNotFound:
		return err
	case err != nil || old.Standing != notary.Valid:
		row.wrong(ColumnSupersedes, CodeNoRecord, "")
		return nil
	}
	rule, err := c.o.Classes.Rule(ctx, c.job.AgencyID, old.Class)
	c.replace = c.replace || rule.ByTwo()
	return err
}

// registered refuses documents that the agency has registered already, and, of files, those
// that are the same as one in a row before. What a row replaces may be the same document.
func (c *checker) registered(ctx context.Context) error {
	column := ColumnSM3
	if c.layout.files {
		column = ColumnFile
	}
	at := map[sm.Digest]int{}
	var digests []sm.Digest
	for i := range c.rows {
		row := &c.rows[i]
		d, err := sm.ParseDigest(row.Item.SM3)
		if err != nil {
			continue
		}
		if c.layout.files {
			c.unique(row, ColumnFile, ColumnSM3, row.Item.SM3)
		}
		if _, there := at[d]; !there {
			at[d], digests = i, append(digests, d)
		}
	}
	known, err := c.store.Registered(ctx, c.job.AgencyID, digests)
	for d, number := range known {
		if row := &c.rows[at[d]]; row.Item.Supersedes != number {
			row.wrong(column, CodeRegistered, number)
		}
	}
	return err
}

// draftOf is what a row asks the notary for. It must be the same at every try: an idempotency key
// stands for it.
func (j *Jobs) draftOf(job Job, it Item) intake.Draft {
	d := intake.Draft{AgencyID: job.AgencyID, Class: job.Class, Title: it.Title, MediaType: it.MediaType,
		Reference: it.Reference, Supersedes: it.Supersedes, Reason: it.Reason, Fields: it.Fields,
		Approved: job.Checker.ID != "",
		Origin: intake.Origin{System: originSystem, Method: "bulk", Clerk: job.Maker.Name,
			Approver: job.Checker.Name}}
	if it.File != "" {
		d.FileName = fileName(it.File)
	}
	return d
}

func (c *checker) draft(it Item) intake.Draft { return c.draftOf(c.job, it) }

// unpack stores the documents that the rows name below a folder, and takes their digests.
func (c *checker) unpack(ctx context.Context, folder string) (trouble *Problem, err error) {
	body, obj, err := c.objects.Open(ctx, c.job.Zip, "")
	if err != nil {
		return nil, review.StoreDown(err)
	}
	defer body.Close()
	f, inPlace := body.(io.ReaderAt) // a file is; an object of a bucket comes as one stream
	if !inPlace {
		temp, err := c.temporary(body, obj.Size)
		if err != nil {
			return nil, err
		}
		defer temp.Close()
		f = temp
	}
	b, trouble := openBag(f, obj.Size)
	if trouble != nil {
		return trouble, nil
	}
	left := c.o.Limits.Total
	for i := range c.rows {
		row := &c.rows[i]
		if row.Item.File == "" {
			continue
		}
		entry, code := b.find(row.Item.File)
		if code != "" {
			row.wrong(ColumnFile, code, "")
			continue
		}
		if len(row.Problems) > 0 {
			continue // it will not be notarized: nobody needs the file
		}
		code, err := c.unpackOne(ctx, folder, row, entry, &left)
		switch {
		case err != nil:
			return nil, err
		case left < 0:
			return &Problem{Column: ColumnFile, Code: CodeZipTooLarge}, nil
		case code != "":
			row.wrong(ColumnFile, code, "")
		case len(row.Problems) == 0:
			if err := c.scan(ctx, folder, row); err != nil {
				return nil, err
			}
		}
	}
	c.job.Left, c.job.LeftOver = b.leftOver()
	return nil, nil
}

// temporary copies a zip to a file of this machine, since a zip is read from its end and its entries lie
// all over it: in a bucket each would be a request of its own. The file has no name any more, so that
// a crash leaves nothing.
func (c *checker) temporary(body io.Reader, size int64) (f *os.File, err error) {
	if f, err = os.CreateTemp(c.o.Temp, "bulk-*.zip"); err != nil {
		return nil, review.StoreDown(err)
	}
	if err = os.Remove(f.Name()); err == nil {
		var n int64
		if n, err = io.Copy(f, body); err == nil && n != size {
			err = io.ErrUnexpectedEOF
		}
	}
	if err != nil {
		f.Close()
		return nil, review.StoreDown(err)
	}
	return f, nil
}

// unpackOne unpacks one document. Bytes are counted as they come: what a zip states may be a lie.
func (c *checker) unpackOne(ctx context.Context, folder string, row *Row, entry *zip.File, left *int64) (Code, error) {
	r, err := entry.Open()
	if err != nil {
		return CodeDamaged, nil
	}
	defer r.Close()
	m := staging.NewMeter(ctx, r, -1, min(c.o.Limits.File, *left))
	defer m.Stop()
	m.Look = func(head []byte) error { return mediatype.Check(row.Item.MediaType, head) }
	short := *left < c.o.Limits.File
	_, err = c.objects.Create(ctx, staging.RowKey(folder, row.No), m, -1)
	*left -= m.Size
	other := new(notary.Error)
	switch {
	case errors.Is(m.Err, staging.ErrTooLarge) && short:
		*left = -1
		return "", nil
	case errors.Is(m.Err, staging.ErrTooLarge):
		return CodeFileTooLarge, nil
	case errors.As(m.Err, &other):
		row.wrong(ColumnMediaType, CodeOtherType, mediatype.Find(m.Head))
		return "", nil
	case m.Failed() && ctx.Err() == nil:
		return CodeDamaged, nil
	case err != nil:
		return "", review.StoreDown(err)
	}
	row.Item.SM3, row.Item.Size = m.Digest().String(), m.Size
	return "", nil
}

// scan has a row's document looked at. One with malware is removed at once; that it could not be
// looked at ends the check, which is made again.
func (c *checker) scan(ctx context.Context, folder string, row *Row) error {
	key := staging.RowKey(folder, row.No)
	finding, err := review.Look(ctx, c.o.Scanner, c.objects, key)
	switch {
	case notary.CodeOf(err) == notary.CodeTooLarge:
		row.wrong(ColumnFile, CodeFileTooLarge, "")
	case err != nil:
		return err
	case finding != "":
		row.wrong(ColumnFile, CodeMalware, finding)
	default:
		return nil
	}
	row.Item.SM3, row.Item.Size = "", 0
	// A crash before this leaves it below a folder that no job names, or that goes with its job.
	if err := c.objects.Delete(ctx, key); err != nil {
		return review.StoreDown(err)
	}
	return nil
}
