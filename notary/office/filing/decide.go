package filing

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"stele/notary"
	"stele/notary/office/review"
	"stele/notary/proof/statement"
	"stele/notary/register/intake"
)

// Submit hands a paper on: to a second person where its class says so, otherwise to the log at
// once. What is not as the class wants it is refused, and so is a file that there are doubts about, see
// [Paper.Doubts], unless the maker is sure that it is the one that is meant.
func (d *Desk) Submit(ctx context.Context, s review.Step, sure bool) (Paper, error) {
	p, err := d.Find(ctx, s.AgencyID, s.ID)
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
	return d.review.Make(ctx, s, withMaker, func(p *Paper) error {
		p.State, p.SubmittedAt, p.Checker, p.Remark = Approved, d.now(), review.Person{}, ""
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
	c, s, err := review.OpenClass(ctx, d.o.Classes, p.AgencyID, p.Class)
	if err != nil {
		return false, err
	}
	if strings.TrimSpace(p.Title) == "" {
		return false, notary.InvalidField("title", "The document needs a title. Nothing was handed on.")
	}
	if p.Supersedes != "" {
		old, err := d.o.Records.Record(ctx, p.AgencyID, p.Supersedes)
		if err != nil || old.Standing != notary.Valid {
			return false,
				notary.InvalidField("supersedes",
					"The agency has no valid record with this number to replace. Nothing was handed on.")
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
func (d *Desk) Withdraw(ctx context.Context, ref intake.Ref, maker review.Person, reason, once string) (Paper, error) {
	rec, err := d.o.Records.Record(ctx, ref.AgencyID, ref.Record)
	switch {
	case err != nil:
		return Paper{}, err
	case rec.Standing != notary.Valid:
		return Paper{},
			notary.Errorf(notary.CodeConflict, "This record was already revoked or replaced. Nothing was done.")
	case strings.TrimSpace(reason) == "" || !notary.ValidLines(reason, review.MaxRemark):
		return Paper{}, notary.InvalidField("reason",
			"Say why, in at most %d bytes, with %s; the reason will be public. Nothing was done.", review.MaxRemark,
			notary.TextRule)
	}
	p := d.newPaper(ref.AgencyID, Withdrawal, rec.Class, maker, "withdraw/"+maker.ID+"/"+once)
	p.Record, p.Reason, p.Title, p.Number = ref.Record, reason, reason, rec.Number
	// A crash after this leaves a draft that the clerk finds on the desk.
	if p, err = d.store.AddPaper(ctx, p, ""); err != nil {
		return Paper{}, words.Outside(err)
	}
	if p.State != Draft {
		return p, nil
	}
	if p, err = d.Submit(ctx, review.Step{AgencyID: ref.AgencyID, ID: p.ID, By: maker, Seen: p.Version},
		false); err != nil {
		return p, err
	}
	return d.Finish(ctx, p)
}

// Approve agrees to a paper as the checker saw it. Nobody agrees to their own.
func (d *Desk) Approve(ctx context.Context, s review.Step) (Paper, error) {
	p, err := d.review.Decide(ctx, s, Approved, "")
	if err != nil {
		return p, err
	}
	return d.Finish(ctx, p)
}

// Return gives a paper back to its maker with a remark.
func (d *Desk) Return(ctx context.Context, s review.Step, remark string) (Paper, error) {
	return d.review.Return(ctx, s, Returned, remark)
}

// Drop gives a paper up. Its files go.
func (d *Desk) Drop(ctx context.Context, s review.Step) (Paper, error) {
	p, err := d.review.Make(ctx, s, withMaker, func(p *Paper) error {
		p.State = Dropped
		return nil
	})
	if err == nil {
		d.remove(ctx, p.AgencyID, p.File.Key, p.Marked.Key)
	}
	return p, err
}

// Recall takes a paper back that waits, before somebody has decided.
func (d *Desk) Recall(ctx context.Context, s review.Step) (Paper, error) {
	return d.review.Recall(ctx, s, Draft)
}

// Finish notarizes an approved paper now, rather than in a moment, for a person who waits, unless it
// is being notarized already: a large document is read and written once, not by everybody who finds
// it. Where it cannot be done at the moment the paper stays approved, and [Desk.Run] does it. What
// cannot be notarized goes back to the maker; the error says why.
func (d *Desk) Finish(ctx context.Context, p Paper) (Paper, error) {
	if p.State != Approved {
		return p, nil
	}
	out := p
	err := d.worker.Now(context.WithoutCancel(ctx), p, func(ctx context.Context) (err error) {
		out, err = d.again(ctx, p)
		return err
	})
	if review.Transient(err) {
		d.worker.Failed(ctx, p.ID, err)
		return p, nil
	}
	return out, err
}

// again looks at a paper again, since another server may have notarized it before the lease was ours.
func (d *Desk) again(ctx context.Context, p Paper) (Paper, error) {
	p, err := d.Find(ctx, p.AgencyID, p.ID)
	if err == nil && p.State == Approved {
		p, err = d.file(ctx, p)
	}
	return p, err
}

// file notarizes a paper and notes what came of it.
func (d *Desk) file(ctx context.Context, p Paper) (Paper, error) {
	rec, err := d.notarize(ctx, p)
	if review.Transient(err) {
		return p, err
	}
	var known *notary.Error
	errors.As(err, &known)
	// A crash before this leaves an approved paper whose record exists: notarizing it again finds the record.
	out, cerr := d.store.ChangePaper(ctx, p.AgencyID, p.ID, func(p *Paper) error {
		if p.State != Approved {
			return nil // somebody else was here
		}
		p.Touch(d.now())
		if err != nil {
			p.State, p.Remark = Returned, known.Message
			return nil
		}
		p.State, p.Record, p.Number, p.Code = Filed, rec.ID, rec.Number, ""
		return nil
	})
	if cerr != nil {
		return p, words.Outside(cerr)
	}
	if out.State == Filed {
		d.remove(ctx, p.AgencyID, out.File.Key, out.Marked.Key)
	}
	return out, err
}

// idempotency is the key under which a paper becomes a record: one, whatever breaks off.
func idempotency(p Paper) string { return "paper-" + p.ID }

func (d *Desk) notarize(ctx context.Context, p Paper) (notary.Record, error) {
	if p.Kind == Withdrawal {
		out, err := d.o.Notary.Revoke(ctx, intake.Ref{AgencyID: p.AgencyID, Record: p.Record},
			intake.Reason{Text: p.Reason, Idempotency: idempotency(p), Owner: intake.Office, Approved: true},
			intake.Here)
		return out.Record, err
	}
	f := p.Document()
	draft := intake.Draft{AgencyID: p.AgencyID, Title: p.Title, FileName: p.FileName, Class: p.Class, Fields: p.Fields,
		Supersedes: p.Supersedes, Reason: p.Reason, Reference: p.Reference,
		Expected: &f.SM3, Idempotency: idempotency(p), Owner: intake.Office, Approved: true,
		Origin: intake.Origin{System: review.OriginSystem, Method: "upload", Clerk: p.Maker.Name,
			Approver: p.Checker.Name}}
	if p.Marked.Key != "" {
		draft.Origin.Method, draft.Origin.Unmarked = "stamp", p.File.SM3.String()
		draft.Reserved = intake.Reserved{Number: p.Number, Code: p.Code}
	}
	out, err := d.o.Notary.Take(ctx, draft, intake.Kept(f.Key, f.Size), intake.Here)
	return out.Record, err
}

// How often approved papers are looked for, how many at once, and how many of them a server is at.
const (
	lookEvery    = 5 * time.Second
	lookAt       = 50
	papersAtOnce = 4
)

// Run notarizes approved papers until ctx ends: those that a crash or an outage has left.
func (d *Desk) Run(ctx context.Context) error {
	return d.worker.Run(ctx, func(ctx context.Context) ([]Paper, error) {
		list, err := d.store.ApprovedPapers(ctx, lookAt)
		return slices.DeleteFunc(list, func(p Paper) bool { // its person is at it
			return d.now().Sub(p.ChangedAt) < time.Second && !p.ChangedAt.After(d.now())
		}), err
	})
}

// found notarizes a paper that nobody waits for.
func (d *Desk) found(ctx context.Context, p Paper) error {
	p, err := d.again(ctx, p)
	if err != nil && !review.Transient(err) {
		d.o.Log.WarnContext(ctx, "a paper went back to its maker", "paper", p.ID, "error", err)
		return nil
	}
	return err
}
