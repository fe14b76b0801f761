package instance

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"stele/crypto/keystore"
	"stele/notary"
	"stele/notary/log/fsck"
	"stele/notary/office/people"
)

// defaultSealEvery is how long an event waits for its seal where the configuration says nothing.
const defaultSealEvery = 5 * time.Minute

// openTrail connects the audit trail with intake, by which it is entered in the log, and looks whether
// it can be.
func (in *Instance) openTrail(ctx context.Context, _ keystore.Secret) error {
	if in.Config.AuditAgency != "" {
		if _, err := in.configuredAuditAgency(ctx); err != nil {
			return err
		}
	}
	in.sealer = people.NewSealer(in.DB.People, people.SealOptions{Every: in.Config.AuditSealEvery,
		Signer: in.trailSigner, Agency: in.DB.Log.Agency, Notary: in.Intake, Log: in.log, Outages: in.outages})
	in.jobs.add(stageTrail, "audit trail", in.sealer.Run)
	return nil
}

// trailSigner finds the agency that signs a trail: whose trail it is, or, where that has no
// key here, the one for all such.
func (in *Instance) trailSigner(ctx context.Context, trail string) (string, error) {
	if trail != "" {
		a, err := in.DB.Log.Agency(ctx, trail)
		if err != nil {
			return "", fmt.Errorf("agency %s of the audit trail: %w", trail, err)
		}
		if signsTrail(a) {
			return a.ID, nil
		}
	}
	return in.auditAgency(ctx)
}

// signsTrail reports whether an agency can sign an audit trail now: its key is here, and it may sign.
func signsTrail(a notary.Agency) bool { return !a.ExternalKey && a.State == notary.AgencyActive }

// auditAgency is the configured one, else the first whose key is here. Where the configured one is
// suspended or closed, the trail, which says so, goes on in the name of another.
func (in *Instance) auditAgency(ctx context.Context) (string, error) {
	if in.Config.AuditAgency != "" {
		if a, err := in.configuredAuditAgency(ctx); err != nil || signsTrail(a) {
			return a.ID, err
		}
	}
	all, err := in.DB.Log.Agencies(ctx)
	if err != nil {
		return "", err
	}
	var first notary.Agency
	for _, a := range all {
		if signsTrail(a) && (first.ID == "" || a.CreatedAt.Before(first.CreatedAt) ||
			a.CreatedAt.Equal(first.CreatedAt) && a.ID < first.ID) {
			first = a
		}
	}
	if first.ID == "" {
		return "", errors.New(
			"there is no agency with a key here, neither suspended nor closed, that could sign the audit trail")
	}
	return first.ID, nil
}

func (in *Instance) configuredAuditAgency(ctx context.Context) (notary.Agency, error) {
	a, err := in.DB.Log.Agency(ctx, in.Config.AuditAgency)
	if err != nil {
		return a, fmt.Errorf("audit-agency %q: %w", in.Config.AuditAgency, err)
	}
	if a.ExternalKey {
		return a, fmt.Errorf("audit-agency %s keeps its key at home: choose one whose key is here", a.Code)
	}
	return a, nil
}

// noteKey notes what an API key is about to do.
func (in *Instance) noteKey(ctx context.Context, key notary.APIKey, act, about, detail, network string) error {
	return in.people.Note(ctx, people.AuditEvent{AgencyID: key.AgencyID, UserID: key.ID, Login: "key " + key.Name,
		Act: people.Action(act), About: about, Detail: detail, Network: network})
}

// trailPage is how many sealed trails are listed at once.
const trailPage = 100

// trailRecords are the records of sealed trails from an index on.
func (s *Stores) trailRecords(ctx context.Context) func(first uint64) iter.Seq2[notary.Record, error] {
	return func(first uint64) iter.Seq2[notary.Record, error] {
		return func(yield func(notary.Record, error) bool) {
			for {
				page, err := s.DB.People.TrailRecords(ctx, first, trailPage)
				if err != nil {
					yield(notary.Record{}, err)
					return
				}
				for _, r := range page {
					if first = r.Index + 1; !yield(r, nil) {
						return
					}
				}
				if len(page) < trailPage {
					return
				}
			}
		}
	}
}

// mostSealed bounds a sealed document in bytes: 2,000 events of some 5 KB.
const mostSealed = 32 << 20

// checkTrail compares the audit trail with what was sealed of it.
func (s *Stores) checkTrail(ctx context.Context, res *fsck.Result) error {
	for _, err := range s.trailRecords(ctx)(0) {
		if err != nil {
			return err
		}
		res.Trails++
	}
	open := func(ctx context.Context, r notary.Record) ([]byte, error) {
		return s.Objects.Get(ctx, notary.DocumentKey(r.ID), mostSealed)
	}
	return people.CheckTrail(ctx, s.DB.People, s.trailRecords(ctx), open,
		func(r notary.Record, format string, args ...any) {
			res.Findings = append(res.Findings, fsck.Finding{What: "trail", Record: r.Number, Index: r.Index,
				Detail: fmt.Sprintf(format, args...)})
		})
}
