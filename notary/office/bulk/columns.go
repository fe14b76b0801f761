package bulk

import (
	"slices"
	"strings"

	"golang.org/x/text/width"

	"stele/notary"
	"stele/notary/register/class"
)

// Names of the columns that every class has; the others are named like the class's attributes.
const (
	ColumnTitle      = "title"
	ColumnFile       = "file"
	ColumnSM3        = "sm3"
	ColumnSize       = "size"
	ColumnMediaType  = "mediaType"
	ColumnReference  = "reference"
	ColumnSupersedes = "supersedes"
	ColumnReason     = "reason"
)

// errorHeadings are what the column is called that says what was wrong, in tables that came from here. It means
// nothing when such a table comes back.
var errorHeadings = []string{"错误说明", "What is wrong"}

// saysErrors reports whether a heading is that column's.
func saysErrors(heading string) bool {
	return slices.ContainsFunc(errorHeadings, func(h string) bool { return fold(h) == fold(heading) })
}

// Column is what a table can say about a document.
type Column struct {
	Name     string
	Title    class.Name
	Property *class.Property // of the class's own; nil for the others
}

// own are the columns that every class has, with what people may call them.
var own = []struct {
	Column
	aliases []string
}{
	{Column{Name: ColumnTitle, Title: class.Name{Chinese: "标题", English: "Title"}}, []string{"文书标题", "名称", "题名"}},
	{Column{Name: ColumnFile, Title: class.Name{Chinese: "文件名", English: "File"}},
		[]string{"文件", "文件路径", "filename", "file name"}},
	{Column{Name: ColumnSM3, Title: class.Name{Chinese: "SM3摘要", English: "SM3 digest"}},
		[]string{"摘要", "sm3值", "digest", "摘要值"}},
	{Column{Name: ColumnSize, Title: class.Name{Chinese: "文件大小", English: "Size (bytes)"}},
		[]string{"大小", "字节数", "文件大小(字节)", "size in bytes", "bytes"}},
	{Column{Name: ColumnMediaType, Title: class.Name{Chinese: "文件类型", English: "Media type"}}, []string{"媒体类型"}},
	{Column{Name: ColumnReference, Title: class.Name{Chinese: "业务编号", English: "Reference"}}, []string{"文号", "参考号"}},
	{Column{Name: ColumnSupersedes, Title: class.Name{Chinese: "替换的存证编号", English: "Replaces"}},
		[]string{"替换", "replaces number", "supersedes number"}},
	{Column{Name: ColumnReason, Title: class.Name{Chinese: "替换理由", English: "Reason"}}, []string{"理由", "why"}},
}

// Columns are those that a class's table can have, in the order of a template. files says
// whether the documents come in a zip.
func Columns(s *class.Schema, files bool) []Column {
	var out []Column
	for _, c := range own {
		switch {
		case c.Name == ColumnFile && !files, (c.Name == ColumnSM3 || c.Name == ColumnSize) && files:
		default:
			out = append(out, c.Column)
		}
	}
	for i := range s.Properties {
		p := &s.Properties[i]
		out = append(out, Column{Name: p.Name, Title: p.Title, Property: p})
	}
	return out
}

// RequiredIn reports whether a row must say something in the column.
func (c Column) RequiredIn() bool {
	switch c.Name {
	case ColumnTitle, ColumnFile, ColumnSM3, ColumnSize:
		return true
	}
	return c.Property != nil && c.Property.Required
}

// fold makes headings equal that people take for equal: case, width, white space and a mark
// that says that something is required do not count.
func fold(s string) string {
	s = strings.ToLower(width.Fold.String(s))
	s = strings.Map(func(r rune) rune {
		if strings.ContainsRune(" \t\r\n\u00a0\u3000*", r) {
			return -1
		}
		return r
	}, s)
	return s
}

// layout says which column of a table is which.
type layout struct {
	columns []Column // by position in the table
	files   bool
}

// outside is the error for the outside.
func outside(e *TableError) error {
	return notary.InvalidField("table."+string(e.Code), "%s", e.Message)
}

// headings are what the columns of a class can be called, folded.
func headings(s *class.Schema) map[string]Column {
	known := map[string]Column{}
	for _, c := range own {
		for _, name := range append([]string{c.Name, c.Title.Chinese, c.Title.English}, c.aliases...) {
			known[fold(name)] = c.Column
		}
	}
	// The class's own titles come before its names, and both before nothing else: a class may
	// call an attribute what another column is called, and then its full name decides.
	for i := range s.Properties {
		p := &s.Properties[i]
		for _, name := range []string{p.Title.Chinese, p.Title.English, p.Name} {
			if _, taken := known[fold(name)]; name != "" && !taken {
				known[fold(name)] = Column{Name: p.Name, Title: p.Title, Property: p}
			}
		}
	}
	return known
}

// arrange reads a header. A column that nothing is known by is an error, rather than something
// that people believe was notarized.
func arrange(header []string, s *class.Schema) (layout, error) {
	known := headings(s)
	var l layout
	seen := map[string]bool{}
	for _, heading := range header {
		c, ok := known[fold(heading)]
		switch {
		case !ok && s.Open && len(s.Properties) == 0:
			return l, badTable(CodeUnknownColumn, heading,
				"The class has no attributes of its own, and no column is called %q.", heading)
		case !ok:
			return l, badTable(CodeUnknownColumn, heading, "No column of this class is called %q.", heading)
		case seen[c.Name]:
			return l, badTable(CodeTwice, heading, "There are two columns %q.", heading)
		}
		seen[c.Name] = true
		l.columns = append(l.columns, c)
	}
	switch {
	case !seen[ColumnTitle]:
		return l, badTable(CodeNoColumn, "title / 标题", "There is no column for the title.")
	case seen[ColumnFile] && (seen[ColumnSM3] || seen[ColumnSize]):
		return l, badTable(CodeBoth, "", "A table has either files or digests, not both.")
	case !seen[ColumnFile] && !(seen[ColumnSM3] && seen[ColumnSize]):
		return l, badTable(CodeNoDocument, "",
			"A table has a column for files, or the columns for SM3 digest and size.")
	}
	l.files = seen[ColumnFile]
	for _, p := range s.Properties {
		if p.Required && !seen[p.Name] {
			return l, badTable(CodeNoColumn, p.Name, "There is no column for %q, which the class demands.", p.Name)
		}
	}
	return l, nil
}
