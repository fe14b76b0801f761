package sqldb_test

import (
	"context"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/jmoiron/sqlx"

	"stele/storage/sqldb"
	"stele/storage/storagetest"
)

var update = flag.Bool("update", false, "write the golden files of the first schema anew")

// firstFile holds the first schema. Up to version 22 it was 20 files, which no release ever had.
const firstFile = "migrations/00022_init.sql"

// TestFirstSchema compares what the first file makes with what the 20 files made that were in its place:
// testdata was written by those. Columns keep their order too.
func TestFirstSchema(t *testing.T) {
	text, err := fs.ReadFile(sqldb.Migrations, firstFile)
	fatalIfErr(t, err)
	first := fstest.MapFS{firstFile: &fstest.MapFile{Data: text}}
	eachKind(t, func(t *testing.T, url string) {
		path, sqlite := strings.CutPrefix(url, "sqlite:")
		golden := filepath.Join("testdata", "schema-postgres.txt")
		if sqlite {
			fatalIfErr(t, os.WriteFile(path, nil, 0o600))
			golden = filepath.Join("testdata", "schema-sqlite.txt")
		}
		db, err := sqldb.WithSchema(t.Context(), url, first)
		fatalIfErr(t, err)
		defer db.Close()
		fatalIfErr(t, db.Build(t.Context()))
		got := dump(t, storagetest.Raw(t, url), sqlite)
		if *update {
			fatalIfErr(t, os.WriteFile(golden, []byte(got), 0o644))
		}
		want, err := os.ReadFile(golden)
		fatalIfErr(t, err)
		if got == string(want) {
			return
		}
		for _, line := range missing(string(want), got) {
			t.Errorf("%s lacks\n%s", firstFile, line)
		}
		for _, line := range missing(got, string(want)) {
			t.Errorf("%s has, and the former files had not\n%s", firstFile, line)
		}
		if !t.Failed() {
			t.Error("another order")
		}
	})
}

// missing are the lines of one dump that another has not.
func missing(from, in string) (out []string) {
	for line := range strings.Lines(from) {
		if !strings.Contains("\n"+in, "\n"+line) {
			out = append(out, line)
		}
	}
	return out
}

// dump is a schema as text, without what goose keeps for itself: what is in the catalogue of the
// database, and all rows.
func dump(t *testing.T, db *sqlx.DB, sqlite bool) string {
	t.Helper()
	queries := ofPostgres
	if sqlite {
		queries = ofSQLite
	}
	var out strings.Builder
	for _, q := range queries {
		lines := []string{}
		fatalIfErr(t, db.SelectContext(t.Context(), &lines, q.sql))
		if len(lines) == 0 && q.least > 0 {
			t.Fatalf("no %s", q.what)
		}
		for _, line := range lines {
			fmt.Fprintf(&out, "%s %s\n", q.what, flat(line))
		}
	}
	var tables []string
	fatalIfErr(t, db.SelectContext(t.Context(), &tables, queries[0].sql))
	for _, table := range tables {
		for _, row := range rowsOf(t, db, table) {
			fmt.Fprintf(&out, "row %s %s\n", table, row)
		}
	}
	return out.String()
}

func rowsOf(t *testing.T, db *sqlx.DB, table string) (out []string) {
	t.Helper()
	rows, err := db.QueryxContext(context.Background(), "SELECT * FROM "+table)
	fatalIfErr(t, err)
	defer rows.Close()
	for rows.Next() {
		values, err := rows.SliceScan()
		fatalIfErr(t, err)
		out = append(out, fmt.Sprint(values))
	}
	fatalIfErr(t, rows.Err())
	slices.Sort(out)
	return out
}

var (
	comment = regexp.MustCompile(`--[^\n]*`)
	space   = regexp.MustCompile(`\s+`)
)

// flat is SQL without comments in one line.
func flat(sql string) string {
	return strings.TrimSpace(space.ReplaceAllString(comment.ReplaceAllString(sql, " "), " "))
}

type query struct {
	what, sql string
	least     int // how many lines there are at least
}

// The first query of each lists the tables.
var ofSQLite = []query{
	{"table", `SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'goose%' AND name NOT LIKE 'sqlite%'
		ORDER BY name`, 30},
	{"column", `SELECT m.name || ' ' || c.cid || ' ' || c.name || ' ' || c.type || ' notnull ' || c."notnull" ||
		' default ' || coalesce(c.dflt_value, 'none') || ' key ' || c.pk || ' hidden ' || c.hidden
		FROM sqlite_schema m, pragma_table_xinfo(m.name) c
		WHERE m.type = 'table' AND m.name NOT LIKE 'goose%' AND m.name NOT LIKE 'sqlite%' ORDER BY m.name, c.cid`, 100},
	{"reference", `SELECT m.name || ' ' || f."from" || ' to ' || f."table" || ' ' || coalesce(f."to", '') ||
		' update ' || f.on_update || ' delete ' || f.on_delete || ' match ' || f."match"
		FROM sqlite_schema m, pragma_foreign_key_list(m.name) f WHERE m.type = 'table'
		ORDER BY m.name, f."from", f.seq`, 10},
	// A primary key and UNIQUE are indexes as well; what they were made by is their origin.
	{"index", `SELECT m.name || ' unique ' || i."unique" || ' origin ' || i.origin || ' partial ' || i.partial || ' on ' ||
		(SELECT group_concat(coalesce(x.name, '?') || ' ' || x."desc" || ' ' || x.coll, ', ')
			FROM pragma_index_xinfo(i.name) x WHERE x."key" = 1)
		FROM sqlite_schema m, pragma_index_list(m.name) i
		WHERE m.type = 'table' AND m.name NOT LIKE 'goose%' ORDER BY 1`, 10},
	{"made by", `SELECT sql FROM sqlite_schema WHERE type <> 'table' AND sql IS NOT NULL ORDER BY type, name`, 10},
	// Each is CHECK (one = 1), the only one of its table.
	{"check", `SELECT name || ' ' || substr(sql, instr(sql, 'CHECK'), 15) || ' of ' ||
		((length(sql) - length(replace(sql, 'CHECK', ''))) / 5) FROM sqlite_schema
		WHERE type = 'table' AND instr(sql, 'CHECK') > 0 ORDER BY name`, 3},
}

const ofOurs = `n.nspname = current_schema() AND c.relname NOT LIKE 'goose%'`

var ofPostgres = []query{
	{"table", `SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind = 'r' AND ` + ofOurs + ` ORDER BY c.relname`, 30},
	{"column", `SELECT c.relname || ' ' || a.attnum || ' ' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod) ||
		' notnull ' || a.attnotnull || ' default ' || coalesce(pg_get_expr(d.adbin, d.adrelid), 'none') ||
		' identity ' || a.attidentity::text || ' generated ' || a.attgenerated::text
		FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
		LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
		WHERE c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped AND ` + ofOurs + ` ORDER BY c.relname, a.attnum`, 100},
	{"constraint", `SELECT c.relname || ' ' || k.conname || ' ' || pg_get_constraintdef(k.oid)
		FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE k.contype <> 'n' AND ` + ofOurs + ` ORDER BY c.relname, k.conname`, 30},
	{"index", `SELECT pg_get_indexdef(i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
		JOIN pg_namespace n ON n.oid = c.relnamespace WHERE ` + ofOurs + ` ORDER BY 1`, 30},
	{"trigger", `SELECT pg_get_triggerdef(g.oid) FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid
		JOIN pg_namespace n ON n.oid = c.relnamespace WHERE NOT g.tgisinternal AND ` + ofOurs + ` ORDER BY 1`, 0},
	{"other", `SELECT c.relkind::text || ' ' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind NOT IN ('r', 'i') AND ` + ofOurs + ` ORDER BY 1`, 0},
}
