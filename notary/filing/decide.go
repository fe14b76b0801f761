package filing

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"stele/notary"
	"stele/notary/class"
	"stele/notary/intake"
	"stele/notary/statement"
)

// maxRemark bounds what somebody writes to the maker, in bytes.
const maxRemark = 1000

// Submit hands a paper on: to a second person where its class says so, otherwise to the log at
// once. What is not as the class wants it is refused, and so is a file that there are doubts about, see
// [Paper.Doubts], unless the maker is sure that it is the one that is meant.
func (d *Desk) Submit(ctx context.Context, agencyID, id, makerID string, seen int, sure bool) (Paper, error) {
	p, err := d.Find(ctx, agencyID, id)
	if err != nil {
		return Paper{}, err
	}
	if doubts := p.Doubts(); len(doubts) > 0 && !sure {
		return Paper{}, notary.InvalidField(FieldSure,
			"There is a doubt about this file (%s). Say that it is the one that is meant. What you wrote is saved; "+
				"nothing was handed on.", doubts[0])
	}
	second, err := d.needsSecond(ctx, p)
	if err != nil {
		return Paper{}, err
	}
	return d.change(ctx, agencyID, id, makerID, seen, func(p *Paper) error {
		p.State, p.SubmittedAt, p.Checker, p.Remark = Approved, d.now(), Person{}, ""
		if second {
			p.State = Waiting
		}
		return nil
	})
}

// needsSecond checks a paper against its class and says whether somebody else must agree.
func (d *Desk) needsSecond(ctx context.Context, p Paper) (bool, error) {
	if p.Kind == Withdrawal {
		rec, err := d.o.Records.Record(ctx, p.AgencyID, p.Record)
		if err != nil {
			return false, err
		}
		rule, err := d.o.Classes.Rule(ctx, p.AgencyID, rec.Class)
		return rule.ByTwo(), err
	}
	c, err := d.openClass(ctx, p.AgencyID, p.Class)
	if err != nil {
		return false, err
	}
	s, err := class.ParseSchema(c.Schema)
	if err != nil {
		return false, err
	}
	if strings.TrimSpace(p.Title) == "" {
		return false, notary.InvalidField("title", "The document needs a title. Nothing was handed on.")
	}
	if p.Supersedes != "" {
		old, err := d.o.Records.Record(ctx, p.AgencyID, p.Supersedes)
		if err != nil || old.Standing != notary.Valid {
			return false, notary.InvalidField("supersedes", "The agency has no valid record with this number to replace. Nothing was handed on.")
		}
		if !notary.ValidLine(p.Reason, statement.MaxReason) {
			return false, notary.InvalidField("reason",
				"Say in 1 to %d bytes why the record is replaced, with %s; it will be public. Nothing was handed on.",
				statement.MaxReason, notary.TextRule)
		}
		if rule, err := d.o.Classes.Rule(ctx, p.AgencyID, old.Class); err != nil || rule.ByTwo() {
			return true, errors.Join(err, s.Check(p.Fields))
		}
	}
	return c.Approval, s.Check(p.Fields)
}

// Withdraw asks for the withdrawal of a record. Where its class does not want a second person
// it is done at once. once names the request: repeated it is the same paper.
func (d *Desk) Withdraw(ctx context.Context, agencyID string, maker Person, recordID, reason, once string) (Paper, error) {
	p := Paper{ID: newID(), AgencyID: agencyID, Kind: Withdrawal, State: Draft, Once: "withdraw/" + maker.ID + "/" + once, Record: recordID, Reason: reason, Maker: maker, CreatedAt: d.now()}
	p.ChangedAt = p.CreatedAt
	rec, err := d.o.Records.Record(ctx, agencyID, recordID)
	switch {
	case err != nil:
		return Paper{}, err
	case rec.Standing != notary.Valid:
		return Paper{}, notary.Errorf(notary.CodeConflict, "This record was withdrawn or replaced already. Nothing was done.")
	case strings.TrimSpace(reason) == "" || !notary.ValidLines(reason, maxRemark):
		return Paper{}, notary.InvalidField("reason",
			"Say why, in at most %d bytes, with %s; the reason will be public. Nothing was done.", maxRemark, notary.TextRule)
	}
	p.Class, p.Title, p.Number = rec.Class, reason, rec.Number
	// A crash after this leaves a draft that the clerk finds on the desk.
	if p, err = d.store.AddPaper(ctx, p, ""); err != nil {
		return Paper{}, rowsDown(err)
	}
	if p.State != Draft {
		return p, nil
	}
	if p, err = d.Submit(ctx, agencyID, p.ID, maker.ID, p.Version, false); err != nil {
		return p, err
	}
	return d.finish(ctx, p)
}

// Finish notarizes an approved paper now, rather than in a moment, for a person who waits.
// Where it cannot be done at the moment the paper stays approved, and [Desk.Run] does it.
func (d *Desk) Finish(ctx context.Context, p Paper) (Paper, error) { return d.finish(ctx, p) }

// Approve agrees to a paper as the checker saw it. Nobody agrees to their own.
func (d *Desk) Approve(ctx context.Context, agencyID, id string, checker Person, seen int) (Paper, error) {
	p, err := d.decide(ctx, agencyID, id, checker, seen, func(p *Paper) { p.State, p.Remark = Approved, "" })
	if err != nil {
		return p, err
	}
	return d.finish(ctx, p)
}

// Return gives a paper back to its maker with a remark.
func (d *Desk) Return(ctx context.Context, agencyID, id string, checker Person, seen int, remark string) (Paper, error) {
	if strings.TrimSpace(remark) == "" || !notary.ValidLines(remark, maxRemark) {
		return Paper{}, notary.InvalidField("remark",
			"Say what is to be changed, in at most %d bytes, with %s. Nothing was done.", maxRemark, notary.TextRule)
	}
	return d.decide(ctx, agencyID, id, checker, seen, func(p *Paper) { p.State, p.Remark = Returned, remark })
}

func (d *Desk) decide(ctx context.Context, agencyID, id string, checker Person, seen int, alter func(*Paper)) (Paper, error) {
	p, err := d.store.ChangePaper(ctx, agencyID, id, func(p *Paper) error {
		switch {
		case p.State != Waiting:
			return wrongState(p.State)
		case p.Maker.ID == checker.ID:
			return errOwn
		case p.Version != seen:
			return errSeen
		}
		p.Version++
		p.ChangedAt, p.Checker = d.now(), checker
		alter(p)
		return nil
	})
	return p, rowsDown(err)
}

// Drop gives a paper up. Its files go.
func (d *Desk) Drop(ctx context.Context, agencyID, id, makerID string, seen int) (Paper, error) {
	p, err := d.change(ctx, agencyID, id, makerID, seen, func(p *Paper) error {
		p.State = Dropped
		return nil
	})
	if err == nil {
		d.remove(ctx, p.File.Key, p.Marked.Key)
	}
	return p, err
}

// Recall takes a paper back that waits, before somebody has decided.
func (d *Desk) Recall(ctx context.Context, agencyID, id, makerID string, seen int) (Paper, error) {
	p, err := d.store.ChangePaper(ctx, agencyID, id, func(p *Paper) error {
		switch {
		case p.Maker.ID != makerID:
			return errNotYours
		case p.State != Waiting:
			return wrongState(p.State)
		case p.Version != seen:
			return errSeen
		}
		p.Version++
		p.State, p.ChangedAt = Draft, d.now()
		return nil
	})
	return p, rowsDown(err)
}

// finish makes the record of an approved paper, unless it is being made already, by another
// goroutine here or by another server: a large document is read and written once, not by everybody
// who finds it. What cannot be notarized goes back to the maker.
func (d *Desk) finish(ctx context.Context, p Paper) (Paper, error) {
	if p.State != Approved || !d.inHand.Begin(p.ID, 0) {
		return p, nil
	}
	defer d.inHand.End(p.ID)
	out := p
	name := "paper/" + p.ID
	_, err := Alone(context.WithoutCancel(ctx), d.o.Leases, name, d.o.Holder, func(ctx context.Context) (err error) {
		// Looked at again: another server may have done it before the lease was ours.
		if out, err = d.Find(ctx, p.AgencyID, p.ID); err == nil && out.State == Approved {
			out, err = d.file(ctx, out)
		}
		return err
	})
	if Transient(err) {
		d.o.Log.Log(ctx, d.looking.Level(ctx, slog.LevelWarn), "an approved paper could not be notarized, will try again",
			"paper", p.ID, "error", err)
		return p, nil
	}
	return out, err
}

// file notarizes a paper and notes what came of it.
func (d *Desk) file(ctx context.Context, p Paper) (Paper, error) {
	rec, err := d.notarize(ctx, p)
	if Transient(err) {
		return p, err
	}
	var known *notary.Error
	errors.As(err, &known)
	// A crash before this leaves an approved paper whose record exists: notarizing it again finds the record.
	out, cerr := d.store.ChangePaper(ctx, p.AgencyID, p.ID, func(p *Paper) error {
		if p.State != Approved {
			return nil // somebody else was here
		}
		p.Version++
		p.ChangedAt = d.now()
		if err != nil {
			p.State, p.Remark = Returned, known.Message
			return nil
		}
		p.State, p.Record, p.Number, p.Code = Filed, rec.ID, rec.Number, ""
		return nil
	})
	if cerr != nil {
		return p, rowsDown(cerr)
	}
	if out.State == Filed {
		d.remove(ctx, out.File.Key, out.Marked.Key)
	}
	return out, err
}

// Transient reports whether trying again may help.
func Transient(err error) bool {
	if err == nil {
		return false
	}
	switch notary.CodeOf(err) {
	case notary.CodeInvalid, notary.CodeConflict, notary.CodeNotFound, notary.CodeDigestMismatch, notary.CodeForbidden, notary.CodeTooLarge, notary.CodeIdempotency, notary.CodeUnsupported,
		notary.CodeAgencyClosed:
		return false
	}
	return true
}

// idempotency is the key under which a paper becomes a record: one, whatever breaks off.
func idempotency(p Paper) string { return "paper-" + p.ID }

// OriginSystem is what records of the console say they came through.
const OriginSystem = "console"

func (d *Desk) notarize(ctx context.Context, p Paper) (notary.Record, error) {
	if p.Kind == Withdrawal {
		rec, _, err := d.o.Notary.RevokeApproved(ctx, p.AgencyID, p.Record, p.Reason, idempotency(p))
		return rec, err
	}
	f := p.Document()
	body, _, err := d.objects.Open(ctx, f.Key, "")
	if err != nil {
		return notary.Record{}, StoreDown(err)
	}
	defer body.Close()
	draft := intake.Draft{AgencyID: p.AgencyID, Title: p.Title, FileName: p.FileName, Class: p.Class, Fields: p.Fields, Supersedes: p.Supersedes, Reason: p.Reason, Reference: p.Reference,
		Expected: &f.SM3, Idempotency: idempotency(p), Own: true, Approved: true,
		Origin: intake.Origin{System: OriginSystem, Method: "upload", Clerk: p.Maker.Name, Approver: p.Checker.Name}}
	if p.Marked.Key != "" {
		draft.Origin.Method, draft.Origin.Unmarked = "stamp", p.File.SM3.String()
		draft.Reserved = intake.Reserved{Number: p.Number, Code: p.Code}
	}
	rec, _, err := d.o.Notary.File(ctx, draft, body, f.Size)
	return rec, err
}

// How often approved papers are looked for and how many at once.
const (
	lookEvery = 5 * time.Second
	lookAt    = 50
)

// Run notarizes approved papers until ctx ends: those that a crash or an outage has left. Several
// servers may run: a lease keeps them out of each other's way.
func (d *Desk) Run(ctx context.Context, rows Rows) error {
	for {
		list, err := rows.ApprovedPapers(ctx, lookAt)
		if err != nil {
			d.looking.Failed(ctx, slog.LevelWarn, "approved papers cannot be read, will try again", err)
		} else {
			d.looking.Worked(ctx, "reading approved papers")
		}
		for _, p := range list {
			if d.now().Sub(p.ChangedAt) < time.Second && !p.ChangedAt.After(d.now()) {
				continue // its person is at it
			}
			if _, err := d.finish(ctx, p); err != nil && ctx.Err() == nil {
				d.o.Log.WarnContext(ctx, "a paper went back to its maker", "paper", p.ID, "error", err)
			}
			if ctx.Err() != nil {
				return nil
			}
		}
		t := time.NewTimer(lookEvery)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-t.C:
		}
	}
}

// Sweep removes files that no paper on a desk names: what crashes left, and what is done. Files
// that are younger than the limit may belong to a paper that is just being made.
func (d *Desk) Sweep(ctx context.Context, rows Rows, olderThan time.Duration) (int, error) {
	removed, before := 0, d.o.Now().Add(-olderThan)
	var keys []string
	flush := func() error {
		var ids []string
		for _, k := range keys {
			ids = append(ids, paperOf(k))
		}
		open, err := rows.OpenPapers(ctx, ids)
		if err != nil {
			return err
		}
		for _, k := range keys {
			if p, ok := open[paperOf(k)]; ok && (p.File.Key == k || p.Marked.Key == k) {
				continue
			}
			d.remove(ctx, k)
			removed++
		}
		keys = keys[:0]
		return nil
	}
	err := d.objects.List(ctx, folder, func(o notary.Object) error {
		if !o.ModTime.Before(before) {
			return nil
		}
		if keys = append(keys, o.Key); len(keys) < 500 {
			return nil
		}
		return flush()
	})
	return removed, errors.Join(err, flush())
}

func paperOf(key string) string {
	id, _, _ := strings.Cut(strings.TrimPrefix(key, folder), ".")
	return id
}
