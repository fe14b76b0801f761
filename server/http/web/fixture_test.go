package web_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"

	"stele/crypto/merkle"
	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/issue"
	"stele/notary/issue/archive"
	"stele/notary/issue/certificate"
	"stele/notary/issue/lookup"
	"stele/notary/log/batchlog"
	"stele/notary/proof"
	"stele/notary/proof/chainview"
	"stele/notary/proof/checkpoint"
	"stele/notary/proof/prooftest"
	"stele/notary/proof/statement"
	"stele/notary/register/class"
	"stele/server/auth"
	"stele/server/http/api"
	"stele/server/http/web"
	"stele/ui"
)

// The documents of the small town that the tests are about.
var (
	docGenuine    = []byte("%PDF-1.7\n% a deed\n%%EOF\n")
	docPending    = []byte("%PDF-1.7\n% a licence of this minute\n%%EOF\n")
	docRevoked    = []byte("%PDF-1.7\n% a permit\n%%EOF\n")
	docSuperseded = []byte("%PDF-1.7\n% a plan\n%%EOF\n")
	docNewPlan    = []byte("%PDF-1.7\n% a new plan\n%%EOF\n")
	docTwice      = []byte("%PDF-1.7\n% a notice\n%%EOF\n")
	docReceived   = []byte("%PDF-1.7\n% handed in, not logged\n%%EOF\n")
	docUnknown    = []byte("%PDF-1.7\n% a letter\n%%EOF\n")
)

const (
	code      = "7K3M9QRT"
	publicURL = "https://stele.jiangcheng.example.gov.cn"
)

// town is an instance with records of every kind, behind a real archive, API and page.
type town struct {
	*httptest.Server
	store   *store
	moved   *notary.Signal
	stop    chan struct{}     // what the server closes when it stops
	bundles map[string][]byte // by document: as its holder got it when it was issued
	numbers map[string]string // by document
	trust   []byte
	explore func(context.Context) (chainview.View, error) // what the chain's page shows
	now     func() time.Time
}

// newTown serves a copy of the town: what a test does to it, other tests do not see. change is
// done before it is served.
func newTown(t testing.TB, limits web.Limits, change ...func(*town)) *town {
	t.Helper()
	f := founded()
	to := &town{moved: new(notary.Signal), stop: make(chan struct{}), store: &store{fixed: f.fixed}, bundles: f.bundles,
		numbers: f.numbers, trust: f.trust, now: time.Now}
	for _, f := range change {
		f(to)
	}
	roots, err := proof.ParseTrust(to.trust)
	fatalIfErr(t, err)
	to.Server = httptest.NewServer(to.routes(t, archive.New(to.store, batchlog.NewTiles(to.store, 0), roots), limits))
	t.Cleanup(to.Close)
	return to
}

// foundation is what never changes after the town is founded.
type foundation struct {
	fixed
	last    archive.AnchoredCheckpoint // of everything; no town's log is that far at first
	bundles map[string][]byte
	numbers map[string]string
	trust   []byte
}

// founded makes the town once: its signatures take most of a second with the race detector.
var founded = sync.OnceValue(func() *foundation {
	w := prooftest.New(prooftest.Options{Validators: 4, Neighbours: 2})
	f := &foundation{fixed: fixed{evidence: map[uint64]archive.Stored{}}, bundles: map[string][]byte{},
		numbers: map[string]string{}}
	issue := func(doc []byte) int { return f.add(w.Issue(doc)) }
	issue(docGenuine)
	revoked, superseded := issue(docRevoked), issue(docSuperseded)
	twice := issue(docTwice)
	issue(docTwice)
	early := w.Checkpoint()
	anchor := w.Anchor(early)
	for _, r := range f.entries {
		f.bundles[string(docOf(r))] = w.Bundle(r, early, anchor).Encode()
	}
	f.standing(revoked, notary.Revoked, w.Revoke(f.entries[revoked], "不动产登记错误，依法撤销"), "")
	plan := w.Supersede(f.entries[superseded], docNewPlan, "界址调整，重新出图")
	f.standing(superseded, notary.Superseded, plan, plan.Statement.Number)
	f.add(plan)
	f.standing(twice, notary.Revoked, w.Revoke(f.entries[twice], "重复登记"), "")
	f.anchor(w, w.Checkpoint())
	pending := issue(docPending)
	late := w.Checkpoint()
	f.log(late)
	f.bundles[string(docPending)] = w.Bundle(f.entries[pending], late).Encode()
	issue(docReceived) // after the last checkpoint
	last := w.Checkpoint()
	f.last = archive.AnchoredCheckpoint{Size: last.Size, Note: last.Note, Anchors: []json.RawMessage{w.Anchor(last)}}
	for i, r := range f.records {
		f.numbers[string(docOf(f.entries[i]))] = r.Number
	}
	f.trust = w.Trust().Encode()
	return f
})

func docOf(r *prooftest.Record) []byte {
	for _, doc := range [][]byte{docGenuine, docPending, docRevoked, docSuperseded, docNewPlan, docTwice, docReceived} {
		if sm.Sum(doc) == r.Document.SM3 {
			return doc
		}
	}
	panic("a record of no document")
}

func (to *town) routes(t testing.TB, a *archive.Archive, limits web.Limits) http.Handler {
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	r := chi.NewRouter()
	l := api.DefaultLimits()
	l.LookupsPerMin, l.MaxWait = 100_000, time.Millisecond
	codes := auth.NewCodes(to.now)
	issuer, err := issue.New(a.Trust(), to.store, noClasses{}, publicURL)
	fatalIfErr(t, err)
	find := &lookup.Lookup{Archive: a, Moved: to.moved, Patience: time.Millisecond, Log: log}
	rest, err := api.New(r, api.Config{Lookup: find, Codes: codes, Archive: a, Issuer: issuer, Agencies: to.store,
		TrustJSON: to.trust, Version: "test", Explore: to.view, Limits: l, Now: to.now, Log: log, Progress: to.moved})
	fatalIfErr(t, err)
	description, err := json.Marshal(rest.OpenAPI())
	fatalIfErr(t, err)
	if _, err := web.New(r, web.Config{Lookup: find, Explore: to.view, OpenAPI: description, Codes: codes, Archive: a,
		Issuer: issuer, TrustJSON: to.trust, PublicURL: publicURL, VerifyPage: verifyPage(t), Operator: "江城市数据局",
		Progress: to.moved, Stopping: to.stop, Limits: limits, Now: to.now, Log: log}); err != nil {
		t.Fatal(err)
	}
	return r
}

// noClasses are an agency's document classes where it has none.
type noClasses struct{}

func (noClasses) At(context.Context, string, string, time.Time) (class.Class, error) {
	return class.Class{}, notary.Errorf(notary.CodeNotFound, "none")
}

// view is what the chain's page shows; a town has no chain unless a test gives it one.
func (to *town) view(ctx context.Context) (chainview.View, error) {
	if to.explore == nil {
		return chainview.View{}, chainview.ErrUnavailable
	}
	return to.explore(ctx)
}

// offline is loaded once: it is compressed for serving.
var offline = sync.OnceValues(func() (*ui.VerifyPage, error) { return ui.LoadVerifyPage("v1.2.3-test") })

func verifyPage(t testing.TB) *ui.VerifyPage {
	t.Helper()
	page, err := offline()
	if err != nil {
		t.Fatal("run: make generate:", err)
	}
	return page
}

// certificate is the PDF of the genuine document's record, as a service at an address issues
// it.
func (to *town) certificate(t testing.TB, publicURL string) []byte {
	t.Helper()
	trust, err := proof.ParseTrust(to.trust)
	fatalIfErr(t, err)
	digest, bundle := sm.Sum(docGenuine), to.bundles[string(docGenuine)]
	pdf, err := certificate.Render(certificate.Input{Record: to.store.records[0], Bundle: bundle,
		Report: proof.Verify(trust, &digest, bundle), PublicURL: publicURL})
	fatalIfErr(t, err)
	return pdf
}

// standingClock makes two answers say the same time: an answer names the second in which it was made.
func standingClock(to *town) {
	at := time.Now()
	to.now = func() time.Time { return at }
}

// roomy limits do not get into a test's way.
func roomy() web.Limits {
	l := web.DefaultLimits()
	l.ChecksPerMin = 100_000
	return l
}

// store is a database and an object store in memory that can be down.
type store struct {
	down atomic.Bool
	mu   sync.RWMutex // guards what follows
	fixed
}

// advance logs everything, and anchors it if that is wanted; whoever waits is told.
func (to *town) advance(anchored bool) {
	s, last := to.store, founded().last
	s.mu.Lock()
	defer to.moved.Notify()
	defer s.mu.Unlock()
	s.head.Size, s.head.Note, s.head.Received = last.Size, last.Note, last.Size
	if c, err := checkpoint.ParseUnsafe(last.Note); err == nil {
		s.head.Root = c.Root
	}
	if !anchored {
		return
	}
	s.evidence, s.anchored = maps.Clone(s.evidence), last.Size
	for i, e := range s.evidence {
		if e.Anchored == nil {
			e.Anchored = &last
			s.evidence[i] = e
		}
	}
}

// fixed is what is stored.
type fixed struct {
	records  []notary.Record
	entries  []*prooftest.Record // of the records
	leaves   []merkle.Hash
	evidence map[uint64]archive.Stored
	head     batchlog.Head
	anchored uint64
}

var errDown = errors.New("secret: connection to 10.1.2.3 refused")

func entryOf(r *prooftest.Record) statement.Entry {
	return statement.Entry{Statement: r.Bytes, Signature: r.Signature, Certificate: sm.Sum(r.Certificates[0])}
}

func (s *fixed) enter(r *prooftest.Record) {
	if r.Index != uint64(len(s.leaves)) {
		panic("entries must be added in order")
	}
	s.leaves = append(s.leaves, r.LeafHash())
	s.evidence[r.Index] = archive.Stored{Certificates: r.Certificates, Entry: entryOf(r)}
}

func (s *fixed) add(r *prooftest.Record) int {
	if r.Index == uint64(len(s.leaves)) {
		s.enter(r)
	}
	rec := notary.Record{ID: "record-" + r.Statement.Number, Index: r.Index, AgencyID: "agency",
		Number: r.Statement.Number, Code: code, SM3: r.Document.SM3,
		Size: r.Document.Size, MediaType: r.Document.MediaType, Class: r.Class, Supersedes: r.Supersedes,
		IssuedAt: r.IssuedAt, Standing: notary.Valid}
	for _, f := range r.Fields {
		rec.Fields = append(rec.Fields, notary.Field{Name: f.Name, Salt: f.Salt, Value: f.Value})
	}
	s.records, s.entries = append(s.records, rec), append(s.entries, r)
	return len(s.records) - 1
}

func (s *fixed) standing(i int, what notary.Standing, later *prooftest.Record, by string) {
	s.enter(later)
	r := &s.records[i]
	r.Standing, r.StandingIndex, r.StandingAt, r.StandingBy, r.Reason = what, later.Index, later.IssuedAt, by,
		later.Reason
}

func (s *fixed) log(c prooftest.Checkpoint) {
	s.head = batchlog.Head{Origin: c.Origin, Received: c.Size, Size: c.Size, Root: c.Root, Note: c.Note}
}

func (s *fixed) anchor(w *prooftest.World, c prooftest.Checkpoint) {
	s.log(c)
	s.anchored = c.Size
	anchored := &archive.AnchoredCheckpoint{Size: c.Size, Note: c.Note}
	anchored.Anchors = append(anchored.Anchors, w.Anchor(c))
	for i, e := range s.evidence {
		e.Anchored = anchored
		s.evidence[i] = e
	}
}

func (s *store) FindRecord(_ context.Context, _, number string) (notary.Record, error) {
	if s.down.Load() {
		return notary.Record{}, errDown
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	i := slices.IndexFunc(s.records, func(r notary.Record) bool { return r.Number == number })
	if i < 0 {
		return notary.Record{}, notary.ErrNotFound
	}
	return s.records[i], nil
}

func (s *store) ListRecords(_ context.Context, f archive.Filter) ([]notary.Record, error) {
	if s.down.Load() {
		return nil, errDown
	}
	var out []notary.Record
	for _, r := range slices.Backward(s.records) {
		if len(out) < f.Limit && f.SM3 != nil && r.SM3 == *f.SM3 && (f.Standing == "" || f.Standing == r.Standing) {
			out = append(out, r)
		}
	}
	return out, nil
}

func (s *store) Evidence(_ context.Context, index, _ uint64) (archive.Stored, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.evidence[index], nil
}

func (s *store) Head(context.Context) (batchlog.Head, error) {
	if s.down.Load() {
		return batchlog.Head{}, errDown
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.head, nil
}

func (s *store) Progress(context.Context) (notary.Progress, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return notary.Progress{Received: uint64(len(s.leaves)), Logged: s.head.Size, Anchored: s.anchored}, nil
}

// Agency implements api.Agencies.
func (s *store) Agency(context.Context, string) (notary.Agency, error) {
	return notary.Agency{ID: "agency", Code: "91350100M000100Y43", Name: "江城市政务服务局"}, nil
}

// SealAt implements issue.Seals: this town has no seal.
func (s *store) SealAt(context.Context, string, time.Time) (notary.Seal, error) {
	if s.down.Load() {
		return notary.Seal{}, errDown
	}
	return notary.Seal{}, notary.ErrNotFound
}

// Get serves tiles; the tests' log is smaller than one.
func (s *store) Get(_ context.Context, key string, _ int64) ([]byte, error) {
	tile, err := merkle.ParseTilePath(key)
	if err != nil {
		return nil, err
	}
	var out []byte
	for _, h := range s.leaves[:tile.Width] {
		out = append(out, h[:]...)
	}
	return out, nil
}

// verdictOf finds which verdict a page shows.
func verdictOf(html string) string {
	_, rest, ok := strings.Cut(html, `class="verdict v-`)
	if !ok {
		return ""
	}
	v, _, _ := strings.Cut(rest, `"`)
	return v
}
