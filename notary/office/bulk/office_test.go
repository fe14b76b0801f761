package bulk_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/issue/archive"
	"stele/notary/office/bulk"
	"stele/notary/office/review"
	"stele/notary/register/class"
	"stele/notary/register/intake"
	"stele/notary/register/staging"
	"stele/storage/storagetest"
)

// office is the jobs of one or two servers on real stores that can be made to fail.
type office struct {
	place staging.Place
	*storagetest.Site
	t       testing.TB
	db      *storagetest.FaultyDB
	objects *storagetest.Faulty
	in      *intake.Intake
	classes *class.Book
	jobs    *bulk.Jobs
	limits  bulk.Limits
	scans   atomic.Int64 // files that were looked at
}

var (
	maker   = review.Person{ID: "u1", Login: "clerk", Name: "王经办"}
	checker = review.Person{ID: "u2", Login: "head", Name: "李审批"}
)

func newOffice(t testing.TB) *office {
	t.Helper()
	o := &office{Site: storagetest.NewSite(t, storagetest.Embedded), t: t, limits: bulk.DefaultLimits()}
	o.db, o.objects = storagetest.NewFaultyDB(o.DB), storagetest.NewFaulty(o.Objects)
	o.classes = class.NewBook(o.DB.Office, o.Now)
	o.limits.File, o.limits.Total = 1<<20, 3<<20
	invoice := class.Ready()[slices.IndexFunc(class.Ready(), func(c class.Class) bool { return c.ID == "e-invoice" })]
	invoice.AgencyID = o.Agency.ID
	fatalIfErr(t, o.classes.Put(context.Background(), invoice))
	ctx, cancel := context.WithCancel(context.Background())
	o.in = intake.New(ctx, o.db, o.objects,
		intake.Options{Signers: func(string) (*intake.Signer, error) { return o.Signer, nil }, Classes: o.classes,
			Limits: intake.DefaultLimits(), Now: o.Now, Log: storagetest.Discard})
	t.Cleanup(func() { o.db.Heal(); o.objects.Heal(); cancel(); o.in.Wait() })
	o.scans.Store(1)
	o.jobs = o.server(o.DB)
	return o
}

// server returns the jobs of one more server.
func (o *office) server(leases review.Leases) *bulk.Jobs {
	return bulk.New(o.DB.Office, o.objects, bulk.Options{Notary: o.in, Records: archive.New(o.DB.Log, nil, nil),
		Classes: o.classes, Leases: leases, Holder: "server", Temp: o.t.TempDir(), Place: o.place, Limits: o.limits,
		Scanner: o,
		Now:     o.Now, Log: storagetest.Discard})
}

// Scan is the scanner of the office: it can be down at the first question, and finds one word.
func (o *office) Scan(_ context.Context, r io.Reader) (string, error) {
	text, err := io.ReadAll(r)
	if err != nil || o.scans.Add(1) == 1 {
		return "", errors.Join(err, errors.New("the scanner is down"))
	}
	if bytes.Contains(text, []byte("malware")) {
		return "Test.Malware", nil
	}
	return "", nil
}

// serve runs a server until the test, or the function that it returns, ends it.
func (o *office) serve(j *bulk.Jobs) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = j.Run(ctx) }()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	o.t.Cleanup(stop)
	return stop
}

func tableOf(rows ...[]string) []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	_ = w.WriteAll(rows)
	return b.Bytes()
}

// digests is a table of so many documents that are elsewhere.
func digests(from, n int) []byte {
	rows := [][]string{{"标题", "SM3摘要", "文件大小"}}
	for i := from; i < from+n; i++ {
		rows = append(rows, []string{fmt.Sprint("文书 ", i), sm.Sum(fmt.Append(nil, i)).String(), fmt.Sprint(i + 1)})
	}
	return tableOf(rows...)
}

func (o *office) add(class, once string, table []byte) bulk.Job {
	o.t.Helper()
	j, err := o.jobs.Add(context.Background(), o.Agency.ID, maker, class, "十一月.csv", table, once)
	fatalIfErr(o.t, err)
	return j
}

// wait returns a job when it is in a state.
func (o *office) wait(id string, s bulk.State) bulk.Job {
	o.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(2 * time.Minute); ; <-tick.C {
		j, err := o.jobs.Find(context.Background(), o.Agency.ID, id)
		fatalIfErr(o.t, err)
		if j.State == s {
			return j
		}
		if time.Now().After(deadline) {
			o.t.Fatalf("the job is %s %v, not %s", j.State, j.Count, s)
		}
	}
}

func (o *office) rows(j bulk.Job) []bulk.Row {
	o.t.Helper()
	rows, err := o.jobs.Rows(context.Background(), bulk.RowQuery{JobID: j.ID, Limit: 20_000})
	fatalIfErr(o.t, err)
	return rows
}

func (o *office) start(j bulk.Job, partial bool) bulk.Job {
	o.t.Helper()
	j, err := o.jobs.Start(context.Background(), review.Step{AgencyID: o.Agency.ID, ID: j.ID, By: maker,
		Seen: j.Version}, partial)
	fatalIfErr(o.t, err)
	return j
}

// left are the objects of jobs: zips, and documents that are no record's.
func (o *office) left() (keys []string) {
	o.t.Helper()
	ctx := context.Background()
	for _, folder := range []string{"doc/", "bulk/"} {
		fatalIfErr(o.t, o.Objects.List(ctx, folder, func(ob notary.Object) error {
			id, _ := notary.DocumentID(ob.Key)
			if _, err := o.DB.Log.FindRecord(ctx, o.Agency.ID, id); err != nil {
				keys = append(keys, ob.Key)
			}
			return nil
		}))
	}
	return keys
}

// nothingLeft waits until a job that is done has removed its files, which it does after it is done.
func (o *office) nothingLeft() {
	o.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(2 * time.Minute); len(o.left()) != 0; <-tick.C {
		if time.Now().After(deadline) {
			o.t.Fatalf("files are left: %v", o.left())
		}
	}
}

// sweep gives up what nobody moves and removes what nobody owns, however young.
func (o *office) sweep() int {
	o.t.Helper()
	_, err := o.jobs.Sweep(o.t.Context())
	fatalIfErr(o.t, err)
	n, err := staging.Sweep(o.t.Context(), o.objects, o.DB.Log, time.Now().Add(anyAge), storagetest.Discard)
	fatalIfErr(o.t, err)
	return n
}

// once demands one record for each row, and no other.
func (o *office) once(j bulk.Job) {
	o.t.Helper()
	p, err := o.DB.Log.Progress(context.Background())
	fatalIfErr(o.t, err)
	seen := map[string]bool{}
	for _, r := range o.rows(j) {
		if r.State != bulk.Settled || seen[r.Record] || r.Cells != nil || r.Item != nil {
			o.t.Fatalf("row %+v", r)
		}
		seen[r.Record] = true
		if _, err := o.DB.Log.FindRecord(context.Background(), o.Agency.ID, r.Number); err != nil {
			o.t.Fatal(r.Number, err)
		}
	}
	if int(p.Received) != len(seen) {
		o.t.Errorf("%d rows became %d records", len(seen), p.Received)
	}
}

// problems are the wrong cells: line and column.
func problems(rows []bulk.Row) map[string]bulk.Code {
	out := map[string]bulk.Code{}
	for _, r := range rows {
		for _, p := range r.Problems {
			out[fmt.Sprint(r.Line, p.Column)] = p.Code
		}
	}
	return out
}
