package filing_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"stele/notary/office/filing"
	"stele/notary/office/review"
	"stele/notary/register/intake"
	"stele/storage/storagetest"
)

// counted is a server's intake: how often it was asked to notarize a file, and a gate in front.
type counted struct {
	*intake.Intake
	files atomic.Int64
	at    chan struct{} // receives when a file is at the gate; nil: there is no gate
	open  chan struct{} // closed when it may pass
}

func (c *counted) Take(ctx context.Context, d intake.Draft, s intake.Source, how intake.Signing) (intake.Taken, error) {
	c.files.Add(1)
	if c.at != nil {
		c.at <- struct{}{}
		<-c.open
	}
	return c.Intake.Take(ctx, d, s, how)
}

// killed are the leases as a server sees them that may be killed: then it renews and gives up nothing.
type killed struct {
	review.Leases
	dead atomic.Bool
}

var errDead = errors.New("this server is dead")

func (k *killed) Lease(ctx context.Context, name, holder string, ttl time.Duration) (bool, error) {
	if k.dead.Load() {
		return false, errDead
	}
	return k.Leases.Lease(ctx, name, holder, ttl)
}

func (k *killed) ReleaseLease(ctx context.Context, name, holder string) error {
	if k.dead.Load() {
		return errDead
	}
	return k.Leases.ReleaseLease(ctx, name, holder)
}

// Two servers share a database. A paper that one is notarizing the other leaves alone, and so does
// the first itself; when the first dies the second takes the paper up as soon as the lease has run
// out; and if the first was not dead after all there is one record still.
func TestTwoServersOnePaper(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		o := officeOn(t, storagetest.NewSite(t, b))
		p := o.submit(t, o.take(t, "one"), "general")
		if p.State != filing.Approved {
			t.Fatalf("the paper is %s", p.State)
		}
		first := &counted{Intake: o.in, at: make(chan struct{}), open: make(chan struct{})}
		leases := &killed{Leases: o.DB}
		one := o.server(o.DB.Office, leases, "one", first)
		second := &counted{Intake: o.in}
		two := o.server(o.DB.Office, o.DB, "two", second)

		type outcome struct {
			p   filing.Paper
			err error
		}
		done := make(chan outcome, 1)
		go func() {
			p, err := one.Finish(context.WithoutCancel(t.Context()), p)
			done <- outcome{p, err}
		}()
		<-first.at
		for _, desk := range []*filing.Desk{two, one} {
			got, err := desk.Finish(t.Context(), p)
			if err != nil || got.State != filing.Approved {
				t.Fatalf("a paper that somebody is at is %s: %v", got.State, err)
			}
		}
		if first.files.Load() != 1 || second.files.Load() != 0 {
			t.Fatalf("one document was read %d and %d times", first.files.Load(), second.files.Load())
		}

		leases.dead.Store(true)
		o.Pass(time.Minute)
		filed, err := two.Finish(t.Context(), p)
		fatalIfErr(t, err)
		if filed.State != filing.Filed || second.files.Load() != 1 {
			t.Fatalf("after the other server's death the paper is %s, read %d times", filed.State, second.files.Load())
		}

		close(first.open)
		late := <-done
		if late.err != nil {
			t.Fatalf("the late server: %v", late.err)
		}
		now, err := o.desk.Find(t.Context(), o.Agency.ID, p.ID)
		if err != nil || now.State != filing.Filed || now.Record != filed.Record {
			t.Errorf("the paper is %+v: %v", now, err)
		}
		o.WantClean(t)
		if n, err := o.DB.Log.Progress(t.Context()); err != nil || n.Received != 1 {
			t.Errorf("%d records of one paper: %v", n.Received, err)
		}
	})
}

// Where the leases cannot be reached a paper stays approved, and is filed when they can.
func TestNoLeaseNoRecord(t *testing.T) {
	o := newOffice(t)
	p := o.submit(t, o.take(t, "one"), "general")
	o.db.Inject(storagetest.Fault{Op: storagetest.OpLease, Mode: storagetest.Fail})
	got, err := o.desk.Finish(t.Context(), p)
	if err != nil || got.State != filing.Approved {
		t.Fatalf("%s: %v", got.State, err)
	}
	o.db.Heal()
	if got, err = o.desk.Finish(t.Context(), p); err != nil || got.State != filing.Filed {
		t.Fatalf("%s: %v", got.State, err)
	}
	o.WantClean(t)
}
