package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"stele/notary"
)

// handle is what questions and statements go to: a side of the database, or a transaction.
type handle interface {
	sqlx.ExtContext
	Rebind(query string) string
	DriverName() string
}

// column is a column and the field of a value that it is read into and written from: a pointer, or one of the
// types of columns.go.
type column struct {
	name  string // of one that is computed: its expression
	field any
}

// computed is the field of a column that is only read.
type computed struct{ field any }

// table is a table with its columns, each said once: the questions and statements are made of them. It is
// immutable.
type table[T any] struct {
	name    string
	of      func(*T) []column
	columns []string // that are written
	query   string   // for all its columns
}

func newTable[T any](name string, of func(*T) []column) *table[T] {
	t := &table[T]{name: name, of: of}
	var all []string
	for _, c := range of(new(T)) {
		all = append(all, c.name)
		if _, ok := c.field.(computed); !ok {
			t.columns = append(t.columns, c.name)
		}
	}
	t.query = `SELECT ` + strings.Join(all, ", ") + ` FROM ` + name
	return t
}

// into are the places that a row's columns are read into.
func (t *table[T]) into(v *T) []any {
	columns := t.of(v)
	out := make([]any, len(columns))
	for i, c := range columns {
		if out[i] = c.field; len(t.columns) == len(columns) {
			continue
		}
		if read, ok := c.field.(computed); ok {
			out[i] = read.field
		}
	}
	return out
}

// values are what is written of a value, in the order of t.columns.
func (t *table[T]) values(v *T) []any {
	out := make([]any, 0, len(t.columns))
	for _, c := range t.of(v) {
		switch f := c.field.(type) {
		case computed:
		case *string: // what the driver would do by reflection
			out = append(out, *f)
		case *bool:
			out = append(out, *f)
		case *uint64:
			out = append(out, int64(*f))
		default:
			out = append(out, f)
		}
	}
	return out
}

// list reads rows; rest is what follows in the question, what says what it is for.
func (t *table[T]) list(ctx context.Context, q handle, what, rest string, args ...any) ([]T, error) {
	return list(ctx, q, what, t.into, t.query+rest, args...)
}

// page reads the first rows that fulfil conditions.
func (t *table[T]) page(ctx context.Context, q handle, what string, w where, order string, limit int) ([]T, error) {
	return t.list(ctx, q, what, w.sql()+` ORDER BY `+order+` LIMIT ?`, append(w.args, limit)...)
}

// one reads a row, [notary.ErrNotFound] where there is none.
func (t *table[T]) one(ctx context.Context, q handle, rest string, args ...any) (T, error) {
	return one(ctx, q, t.into, t.query+rest, args...)
}

// add inserts a row. conflict is what follows in the statement; none is the error where it inserts nothing,
// nil if that is none.
func (t *table[T]) add(ctx context.Context, q handle, what string, v T, conflict string, none error) error {
	return execOne(ctx, q, what, none, insertSQL(t.name, t.columns, 1)+conflict, t.values(&v)...)
}

// replacing is the conflict of an insert that takes the place of the row with the same key.
func (t *table[T]) replacing(key string) string {
	var set []string
	for _, c := range t.columns {
		if c != key {
			set = append(set, c+" = excluded."+c)
		}
	}
	return ` ON CONFLICT (` + key + `) DO UPDATE SET ` + strings.Join(set, ", ")
}

// updateSQL is the statement that writes some columns, separated by spaces, of the row with the value's key.
func updateSQL(table, set, key string) string {
	return `UPDATE ` + table + ` SET ` + strings.Join(strings.Fields(set), " = ?, ") + ` = ? WHERE ` +
		strings.Join(strings.Fields(key), " = ? AND ") + ` = ?`
}

// update writes some columns of a row that is there.
func (t *table[T]) update(ctx context.Context, q handle, what string, v T, set, key string) error {
	_, err := exec(ctx, q, what, updateSQL(t.name, set, key), t.some(&v, set+" "+key)...)
	return err
}

// some are the values of the columns that are named.
func (t *table[T]) some(v *T, names string) (out []any) {
	columns := t.of(v)
	for _, name := range strings.Fields(names) {
		at := slices.IndexFunc(columns, func(c column) bool { return c.name == name })
		out = append(out, columns[at].field)
	}
	return out
}

// list reads rows into places of a value each. Arguments are $1 and so on, or ? in their order, where a slice
// stands for its elements. A text that no column can hold finds nothing.
func list[T any](ctx context.Context, q handle, what string, into func(*T) []any, query string, args ...any) (
	[]T, error) {
	out := []T{}
	err := eachRow(ctx, q, func(rows *sql.Rows) error {
		out = append(out, *new(T))
		return scan(rows, into(&out[len(out)-1]))
	}, query, args...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return out, nil
}

// one reads the first row as list does, [notary.ErrNotFound] where there is none.
func one[T any](ctx context.Context, q handle, into func(*T) []any, query string, args ...any) (v T, err error) {
	found := false
	err = eachRow(ctx, q, func(rows *sql.Rows) error {
		if found {
			return nil
		}
		found = true
		return scan(rows, into(&v))
	}, query, args...)
	if err == nil && !found {
		err = notary.ErrNotFound
	}
	return v, err
}

// value reads the only column of a row that is there.
func value[V any](ctx context.Context, q handle, what, query string, args ...any) (V, error) {
	v, err := one(ctx, q, itself[V], query, args...)
	if err != nil {
		return v, fmt.Errorf("%s: %w", what, err)
	}
	return v, nil
}

// itself is the place of a question's only column.
func itself[T any](v *T) []any { return []any{v} }

// listIn is list for a question with one "IN (?)", of any number of texts: it asks for 500 at a time.
func listIn[T any](ctx context.Context, q handle, what string, into func(*T) []any, query string, texts []string) (
	[]T, error) {
	var out []T
	for len(texts) > 0 {
		n := min(len(texts), 500)
		var arg any = texts[:n]
		ask := query
		if q.DriverName() == "postgres" { // one parameter, whatever their number
			ask, arg = strings.Replace(query, "IN (?)", "= ANY (?)", 1), pq.Array(texts[:n])
		}
		some, err := list(ctx, q, what, into, ask, arg)
		if err != nil {
			return nil, err
		}
		out, texts = append(out, some...), texts[n:]
	}
	return out, nil
}

// eachRow asks a question as list does, and calls f with each row.
func eachRow(ctx context.Context, q handle, f func(*sql.Rows) error, query string, args ...any) error {
	for _, a := range args {
		if text, ok := a.(string); ok && !storable(text) {
			return nil
		}
	}
	query, args, err := bind(q, query, args)
	if err != nil {
		return err
	}
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// scan reads a row. Its first column names it in the error.
func scan(rows *sql.Rows, into []any) error {
	err := rows.Scan(into...)
	if err == nil {
		return nil
	}
	key, _ := driver.DefaultParameterConverter.ConvertValue(into[0])
	return fmt.Errorf("the row of %v is damaged: %w", key, err)
}

// bind writes ? as the database takes it, and slices as their elements.
func bind(q handle, query string, args []any) (string, []any, error) {
	if !strings.Contains(query, "?") {
		return query, args, nil
	}
	query, args, err := sqlx.In(query, args...)
	return q.Rebind(query), args, err
}

// exec runs a statement, with arguments as for list, and returns how many rows it changed; what says what it is
// for.
func exec(ctx context.Context, q handle, what, query string, args ...any) (int64, error) {
	query, args, err := bind(q, query, args)
	if err != nil {
		return 0, err
	}
	res, err := q.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	return res.RowsAffected()
}

// run is exec where the number of rows is of no interest.
func run(ctx context.Context, q handle, what, query string, args ...any) error {
	_, err := exec(ctx, q, what, query, args...)
	return err
}

// execOne is exec of a statement that must change a row; none is the error if there was none to change.
func execOne(ctx context.Context, q handle, what string, none error, query string, args ...any) error {
	n, err := exec(ctx, q, what, query, args...)
	if err == nil && n == 0 {
		return none
	}
	return err
}

// storable reports whether a text can be in a column at all: PostgreSQL answers a question
// for any other text with an error.
func storable(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

// where are conditions of a question, all of which must hold, and their arguments: a ? stands for each. The zero
// value is none.
type where struct {
	conditions []string
	args       []any
}

func (w *where) and(condition string, args ...any) {
	w.conditions, w.args = append(w.conditions, condition), append(w.args, args...)
}

// clone is a copy that conditions can be added to.
func (w *where) clone() where { return where{slices.Clone(w.conditions), slices.Clone(w.args)} }

// given adds a condition unless its argument is zero.
func given[V comparable](w *where, condition string, v V) {
	if v != *new(V) {
		w.and(condition, v)
	}
}

// oneOf adds the condition that a column has one of some values; none are any.
func oneOf[V any](w *where, column string, values []V) {
	if len(values) > 0 {
		w.and(column+" IN (?)", values)
	}
}

func (w *where) sql() string {
	if len(w.conditions) == 0 {
		return ""
	}
	return ` WHERE ` + strings.Join(w.conditions, " AND ")
}
