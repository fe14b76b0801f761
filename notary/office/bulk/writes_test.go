package bulk_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/office/bulk"
	"stele/notary/office/review"
	"stele/storage/storagetest"
)

// twoFiles is a job with two documents that was checked.
func (o *office) twoFiles() bulk.Job {
	o.t.Helper()
	j := o.add("general", "two", tableOf([]string{"title", "file"}, []string{"甲", "a.txt"}, []string{"乙", "b.txt"}))
	_, err := o.jobs.AddFiles(o.t.Context(), review.Step{AgencyID: o.Agency.ID, ID: j.ID, By: maker},
		bytes.NewReader(zipOf(o.t, entry{name: "a.txt", text: "a"}, entry{name: "b.txt", text: "b"})))
	fatalIfErr(o.t, err)
	return o.wait(j.ID, bulk.Checked)
}

// The bytes of a zip are written twice: as they come, and as the originals of the records. Where
// originals are locked they are copied once more, and what may be given up lies where it can be removed.
func TestWrites(t *testing.T) {
	for _, locked := range []bool{false, true} {
		t.Run(fmt.Sprint("locked ", locked), func(t *testing.T) { testWrites(t, locked) })
	}
}

func testWrites(t *testing.T, locked bool) {
	o := newOffice(t)
	o.place.Locked = locked
	o.serve(o.server(o.DB))
	j := o.twoFiles()
	if n := o.objects.Calls(storagetest.OpCreate); n != 3 {
		t.Errorf("%d objects were written for a zip of two files, want 3", n)
	}
	done, want := o.wait(o.start(j, false).ID, bulk.Done), 3
	if locked {
		want = 5
	}
	if n := o.objects.Calls(storagetest.OpCreate); n != want {
		t.Errorf("%d objects were written until there were records, want %d", n, want)
	}
	for i, text := range []string{"a", "b"} {
		rec, err := o.DB.Log.FindRecord(t.Context(), o.Agency.ID, o.rows(done)[i].Record)
		fatalIfErr(t, err)
		document, err := o.Objects.Get(t.Context(), notary.DocumentKey(rec.ID), 10)
		if err != nil || string(document) != text || !rec.Stored || rec.SM3 != sm.Sum(document) {
			t.Errorf("row %d: %q, %v; %+v", i, document, err, rec)
		}
	}
	if o.sweep(); len(o.left()) != 0 {
		t.Error("left are", o.left())
	}
}

// A job that a server of before has checked has its documents in a folder of its own: they are
// copied, once, and go.
func TestJobOfBefore(t *testing.T) {
	o := newOffice(t)
	o.serve(o.jobs)
	ctx, j := t.Context(), o.twoFiles()
	before := "bulk/" + j.ID + "/check/"
	for i, text := range []string{"a", "b"} {
		_, err := o.Objects.Create(ctx, before+fmt.Sprint(i+1), strings.NewReader(text), 1)
		fatalIfErr(t, err)
	}
	j, err := o.DB.Office.ChangeBulk(ctx, o.Agency.ID, j.ID, func(j *bulk.Job) error { j.Folder = before; return nil })
	fatalIfErr(t, err)
	if o.sweep(); len(o.left()) != 2 { // those that the job does not name any more are garbage
		t.Error("left are", o.left())
	}
	done := o.wait(o.start(j, false).ID, bulk.Done)
	if o.nothingLeft(); done.Count[bulk.Settled] != 2 {
		t.Error(done.Count)
	}
}
