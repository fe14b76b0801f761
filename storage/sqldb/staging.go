package sqldb

import (
	"context"
	"slices"
	"strings"

	"stele/notary"
	"stele/notary/office/bulk"
	"stele/notary/office/filing"
	"stele/notary/register/staging"
)

var _ staging.Rows = (*Log)(nil)

// KeptObjects implements [staging.Rows]. Records come last: a document that its owner gives to a
// record meanwhile is one's or the other's, whenever it is looked at.
func (db *Log) KeptObjects(ctx context.Context, keys []string) (map[string]bool, error) {
	kept := map[string]bool{}
	for _, keep := range []func(context.Context, []string, map[string]bool) error{
		db.keptByRecords, db.keptByOwners, db.keptByRecords} {
		open := slices.DeleteFunc(slices.Clone(keys), func(k string) bool { return kept[k] })
		if len(open) == 0 {
			break
		}
		if err := keep(ctx, open, kept); err != nil {
			return nil, err
		}
	}
	return kept, nil
}

func (db *Log) keptByRecords(ctx context.Context, keys []string, kept map[string]bool) error {
	var ids []string
	for _, k := range keys {
		if id, ok := notary.DocumentID(k); ok {
			ids = append(ids, id)
		}
	}
	exist, err := db.ExistingRecords(ctx, ids)
	for id := range exist {
		kept[notary.DocumentKey(id)] = true
	}
	return err
}

// keptByOwners looks at all uploads, papers and bulk jobs that are under way: they are few, and asked for
// only where a document is no record's. Uploads come first, since they become papers.
func (db *Log) keptByOwners(ctx context.Context, keys []string, kept map[string]bool) error {
	parts, err := listIn(ctx, db.write, "list the parts of uploads", itself[string],
		`SELECT key FROM upload_parts WHERE key IN (?)`, keys)
	if err != nil {
		return err
	}
	for _, k := range parts {
		kept[k] = true
	}
	type files struct{ file, marked filing.File }
	owned := map[string]bool{}
	ofPapers, err := list(ctx, db.write, "list the files of papers",
		func(f *files) []any { return []any{file{&f.file}, file{&f.marked}} }, `SELECT file, marked FROM papers
		WHERE state IN ('draft', 'waiting', 'returned', 'approved')`)
	if err != nil {
		return err
	}
	for _, f := range ofPapers {
		owned[f.file.Key], owned[f.marked.Key] = true, true
	}
	ofJobs, err := list(ctx, db.write, "list the files of bulk jobs",
		func(j *bulk.Job) []any { return []any{&j.Zip, &j.Folder} },
		`SELECT zip, folder FROM bulk_jobs j WHERE NOT forgotten
		AND (state <> 'done' OR EXISTS (SELECT 1 FROM bulk_rows r WHERE r.job_id = j.id AND r.state = 'failed'))`)
	for _, k := range keys {
		kept[k] = kept[k] || owned[k]
		for _, j := range ofJobs {
			kept[k] = kept[k] || k == j.Zip || j.Folder != "" && strings.HasPrefix(k, j.Folder)
		}
	}
	return err
}
