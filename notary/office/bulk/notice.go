package bulk

// NoticeCode says what whoever hands a table in should know of it. Codes are stable, as [Code]s are.
type NoticeCode string

// What there is to know. None of it keeps a table from being used.
const (
	NoticeHiddenRows    NoticeCode = "hidden_rows"    // rows that are hidden are read; lines: which
	NoticeHiddenColumns NoticeCode = "hidden_columns" // columns that are hidden are read; names: their headings
	NoticeHiddenSheets  NoticeCode = "hidden_sheets"  // hidden sheets hold something and are not read; names: which
	NoticeOtherSheets   NoticeCode = "other_sheets"   // and visible ones behind the one that is read; names: which
	NoticeSheet         NoticeCode = "sheet"          // names: the one that is read, where there is a choice
	NoticeHeader        NoticeCode = "header"         // the column names stand below other lines; lines: where
)

// NoticeCodes are all of them.
var NoticeCodes = []NoticeCode{NoticeSheet, NoticeOtherSheets, NoticeHiddenSheets, NoticeHeader,
	NoticeHiddenRows, NoticeHiddenColumns}

// Notice is one thing to know. It names the first [MaxLeft] of N things.
type Notice struct {
	Code  NoticeCode `json:"code"`
	N     int        `json:"n"`
	Lines []int      `json:"lines,omitempty"` // as a spreadsheet counts them
	Names []string   `json:"names,omitempty"`
}

// line adds a line to a notice.
func (n *Notice) line(line int) {
	if n.N++; len(n.Lines) < MaxLeft {
		n.Lines = append(n.Lines, line)
	}
}

// name adds a name to a notice.
func (n *Notice) name(name string) {
	if n.N++; len(n.Names) < MaxLeft {
		n.Names = append(n.Names, shown(name))
	}
}
