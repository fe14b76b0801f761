package people

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/outage"
	"stele/notary/register/intake"
)

// TrailFormat is the format of the documents in which stretches of the audit trail are sealed.
const TrailFormat = "stele/audit-trail/v1"

// Seal is a stretch of the audit trail that is, or is about to be, entered in the log: the
// document is notarized as a record, so that neither it nor the rows can be changed unseen.
type TrailSeal struct {
	Trail     string // agency whose events they are; empty for those of operators
	Number    int64  // in its trail, from 1, without gaps
	AgencyID  string // that signs
	First     string // id of the first event
	Last      string
	Events    int
	SM3       sm.Digest // of the document
	Title     string
	Document  []byte // until there is the record; nil afterwards
	RecordID  string // empty: not notarized yet
	Record    string // its number
	CreatedAt time.Time
}

// Header is the first line of a sealed document; its other lines are the events, see [AuditEvent.Line].
type Header struct {
	Format   string `json:"format"`
	Trail    string `json:"trail"`
	Agency   string `json:"agency"` // credit code; empty for operators
	Seal     int64  `json:"seal"`
	Events   int    `json:"deeds"`
	First    string `json:"first"`
	Last     string `json:"last"`
	Previous string `json:"previous"` // hex SM3 of the document before; empty for the first
}

// line is an event as it is sealed and exported: every column of its row.
type line struct {
	ID      string `json:"id"`
	At      string `json:"at"`
	Agency  string `json:"agencyId,omitempty"`
	User    string `json:"userId"`
	Login   string `json:"login"`
	Role    string `json:"role"`
	Act     string `json:"act"`
	About   string `json:"about,omitempty"`
	Detail  string `json:"detail,omitempty"`
	Network string `json:"network"`
	Outcome string `json:"outcome,omitempty"`
	Form    string `json:"form,omitempty"`
}

func encodeLine(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // texts and numbers always marshal
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

func (d AuditEvent) line() line {
	return line{d.ID, d.At.UTC().Format(time.RFC3339Nano), d.AgencyID, d.UserID, d.Login, string(d.Role), string(d.Act),
		d.About, d.Detail, d.Network, d.Outcome, d.Form}
}

// Line is the event as one line of JSON without its end: the bytes that are sealed.
func (d AuditEvent) Line() []byte { return encodeLine(d.line()) }

// SealedLine is [AuditEvent.Line] with two keys more at its end, which say where the event is sealed;
// without them it is the sealed line itself.
func (d AuditEvent) SealedLine() []byte {
	return encodeLine(struct {
		line
		Seal   int64  `json:"seal,omitempty"`
		Record string `json:"record,omitempty"`
	}{d.line(), d.Seal, d.SealedIn})
}

// SealStore keeps which events are in which seal. Methods are safe for concurrent use, durable
// when they return, and do not retry.
//
// OpenTrails names the trails with events in no seal, or with a seal that is no record yet.
// BeginSeal returns the trail's seal that is no record yet. Where there is none it takes up to
// most events that are in no seal, in the order of their ids, has make build the next seal of
// them (previous is the last one, nil for none), and writes the seal and its number into the
// events, all in one transaction; [notary.ErrNotFound] means that there is no such event.
// FinishSeal writes which record a seal has become, and of which agency, and lets its document go. TrailSeals returns
// those of a trail, the newest first, with a smaller number than before, 0 for any.
type SealStore interface {
	OpenTrails(ctx context.Context) ([]string, error)
	BeginSeal(ctx context.Context, trail string, most int, make func(previous *TrailSeal, events []AuditEvent) (
		TrailSeal, error)) (TrailSeal,
		error)
	FinishSeal(ctx context.Context, s TrailSeal) error
	TrailSeals(ctx context.Context, trail string, before int64, limit int) ([]TrailSeal, error)
}

// Notary makes records, see package intake. Repeated with the same key, it is the same record.
type Notary interface {
	Take(ctx context.Context, d intake.Draft, s intake.Source, how intake.Signing) (intake.Taken, error)
}

// SealOptions are what [NewSealer] needs beside its store.
type SealOptions struct {
	// Every is how long an event waits at most for its seal.
	Every time.Duration
	// Signer finds the agency in whose name a trail is sealed, and Agency the one whose trail it is.
	Signer  func(ctx context.Context, trail string) (agencyID string, err error)
	Agency  func(ctx context.Context, id string) (notary.Agency, error)
	Notary  Notary
	Log     *slog.Logger
	Outages *outage.Tracker // explains failures; nil: nothing does
}

// Sealer enters the audit trail in the log, stretch by stretch.
//
// What a crash leaves behind, and who repairs it:
//
//  1. seal begun              rows that name it, and its document: the next round goes on with them
//  2. document in the store   as 1, and an object without a record, which intake's sweep removes
//  3. record made             as 1: the same key gives the same record
//  4. seal finished           nothing
//
// Several servers may seal one trail: only one of them begins a seal, and both finishing it
// make the same record.
type Sealer struct {
	store  SealStore
	opt    SealOptions
	rounds *outage.Loop
}

// NewSealer returns a sealer; [Sealer.Run] has it work.
func NewSealer(store SealStore, opt SealOptions) *Sealer {
	return &Sealer{store, opt, outage.NewLoop(opt.Outages, opt.Log, outage.Database, outage.Objects)}
}

const (
	// eventsInSeal bounds a document: each event has at most some 5 KB, mostly a few hundred bytes.
	eventsInSeal = 2000
	// lastRound is how long the last round may take, when the server stops.
	lastRound = 10 * time.Second
)

// Run seals what there is every [SealOptions.Every] until ctx ends, and once more then.
func (s *Sealer) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		select {
		case <-time.After(s.opt.Every):
			s.round(ctx)
		case <-ctx.Done():
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastRound)
	defer cancel()
	s.round(last)
	return nil
}

func (s *Sealer) round(ctx context.Context) {
	if err := s.Seal(ctx); err != nil {
		s.rounds.Failed(ctx, slog.LevelError, "the audit trail could not be sealed, will try again", err)
		return
	}
	s.rounds.Worked(ctx, "sealing the audit trail")
}

// Seal seals everything that is in no seal now. What fails in one trail does not keep others.
func (s *Sealer) Seal(ctx context.Context) error {
	trails, err := s.store.OpenTrails(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, trail := range trails {
		for err = nil; err == nil; {
			err = s.next(ctx, trail)
		}
		if !errors.Is(err, notary.ErrNotFound) {
			errs = append(errs, fmt.Errorf("trail %q: %w", trail, err))
		}
	}
	return errors.Join(errs...)
}

// next makes one seal, or goes on with the one that was begun.
func (s *Sealer) next(ctx context.Context, trail string) error {
	signer, err := s.opt.Signer(ctx, trail)
	if err != nil {
		return err
	}
	var agency notary.Agency
	if trail != "" {
		if agency, err = s.opt.Agency(ctx, trail); err != nil {
			return err
		}
	}
	seal, err := s.store.BeginSeal(ctx, trail, eventsInSeal, func(previous *TrailSeal, events []AuditEvent) (TrailSeal,
		error) {
		return newSeal(agency, signer, previous, events), nil
	})
	if err != nil {
		return err
	}
	rec, err := s.notarize(ctx, seal)
	if code := notary.CodeOf(err); signer != seal.AgencyID &&
		(code == notary.CodeAgencySuspended || code == notary.CodeAgencyClosed) {
		// The agency may not sign any more, and has not: the stretch is sealed in another's name.
		seal.AgencyID = signer
		rec, err = s.notarize(ctx, seal)
	}
	if err != nil {
		return fmt.Errorf("notarize seal %d: %w", seal.Number, err)
	}
	seal.RecordID, seal.Record = rec.ID, rec.Number
	if err := s.store.FinishSeal(ctx, seal); err != nil {
		return fmt.Errorf("finish seal %d: %w", seal.Number, err)
	}
	s.opt.Log.InfoContext(ctx, "sealed the audit trail", "trail", trail, "seal", seal.Number, "events", seal.Events,
		"record", seal.Record)
	return nil
}

func (s *Sealer) notarize(ctx context.Context, seal TrailSeal) (notary.Record, error) {
	out, err := s.opt.Notary.Take(ctx, intake.Draft{AgencyID: seal.AgencyID, Title: seal.Title,
		Class:     notary.TrailClass,
		MediaType: "application/jsonl", Owner: intake.Trail, Origin: intake.Origin{System: "stele", Method: "audit"},
		Idempotency: fmt.Sprintf("audit %s %d %s %s", seal.Trail, seal.Number, seal.First, seal.Last),
	}, intake.File(bytes.NewReader(seal.Document), int64(len(seal.Document))), intake.Here)
	return out.Record, err
}

func newSeal(agency notary.Agency, signer string, previous *TrailSeal, events []AuditEvent) TrailSeal {
	first, last := events[0], events[len(events)-1]
	seal := TrailSeal{Trail: agency.ID, Number: 1, AgencyID: signer, First: first.ID, Last: last.ID,
		Events: len(events)}
	h := Header{Format: TrailFormat, Trail: agency.ID, Agency: agency.Code, Events: len(events), First: first.ID,
		Last: last.ID}
	if previous != nil {
		seal.Number, h.Previous = previous.Number+1, previous.SM3.String()
	}
	h.Seal = seal.Number
	seal.Document = append(encodeLine(h), '\n')
	for _, d := range events {
		seal.Document = append(append(seal.Document, d.Line()...), '\n')
	}
	seal.SM3, seal.Title = sm.Sum(seal.Document), sealTitle(agency, seal.Number, first.At, last.At)
	return seal
}

var beijing = time.FixedZone("Asia/Shanghai", 8*3600)

// longestName of an agency stands whole in the title of a seal, in runes.
const longestName = 40

func sealTitle(agency notary.Agency, number int64, first, last time.Time) string {
	name := []rune(agency.Name)
	if agency.ID == "" {
		name = []rune("运行维护")
	}
	if len(name) > longestName {
		name = append(name[:longestName], '…')
	}
	const form = "2006-01-02 15:04:05"
	return fmt.Sprintf("%s操作留痕第 %d 份（%s 至 %s，北京时间）", string(name), number, first.In(beijing).Format(form),
		last.In(beijing).Format(form))
}
