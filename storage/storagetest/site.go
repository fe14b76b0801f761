package storagetest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stele/crypto/signednote"
	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/log/batchlog"
	"stele/notary/log/fsck"
	"stele/notary/proof/checkpoint"
	"stele/notary/proof/prooftest"
	"stele/notary/proof/statement"
	"stele/notary/proof/status"
	"stele/notary/register/intake"
	"stele/storage/sqldb"
)

// Site is the stores of an instance with the keys of a [prooftest.World]: one agency and an
// empty log. It has no running parts; a test adds those that it is about.
type Site struct {
	World   *prooftest.World
	Agency  notary.Agency
	Signer  *intake.Signer     // of the agency
	LogKey  *signednote.Signer // of the checkpoints
	URL     string             // of the database
	DB      *sqldb.DB
	Objects Store
	KeyUse  string // an audit row that [Site.Items] refer to

	signers map[string]*intake.Signer // by the agency's id
	former  []*signednote.Verifier    // keys of the log before LogKey

	clock atomic.Int64 // microseconds since 1970
	items int          // taken from the pool so far
}

// NewSite makes the stores of a new instance.
func NewSite(t testing.TB, b Backend) *Site {
	t.Helper()
	return NewSiteOn(t, b.Database(t), b.Objects(t))
}

// NewSiteOn makes a new instance on a fresh database and object store.
func NewSiteOn(t testing.TB, url string, objects Store) *Site {
	t.Helper()
	w := prooftest.New(prooftest.Options{})
	s := &Site{World: w, URL: url, Objects: objects, signers: map[string]*intake.Signer{}}
	s.clock.Store(w.Now.UnixMicro())
	s.DB = InitDatabase(t, url, s.Now)
	var err error
	s.LogKey, err = signednote.NewSigner(w.Origin(), w.LogKey.PrivateKey)
	fatalIfErr(t, err)
	head, err := batchlog.FirstCheckpoint(s.LogKey)
	fatalIfErr(t, err)
	fatalIfErr(t, s.Objects.PutOnce(t.Context(), batchlog.CheckpointKey, head.Note))
	fatalIfErr(t, s.DB.Log.InitInstance(t.Context(), sqldb.Instance{ID: "site", Chain: w.Chain.Genesis.Hash().String()},
		head))
	s.Agency, s.Signer = s.AddAgency(t, "agency", w.Agency)
	s.KeyUse = "use"
	fatalIfErr(t, s.DB.Log.NoteKeyUse(t.Context(), intake.KeyUse{ID: s.KeyUse, AgencyID: s.Agency.ID,
		Certificate: s.Signer.Certificate, Purpose: "statement", Count: 1, At: s.Now()}))
	return s
}

// AddAgency adds an agency of the world to the database.
func (s *Site) AddAgency(t testing.TB, id string, a prooftest.Agency) (notary.Agency, *intake.Signer) {
	t.Helper()
	row := notary.Agency{ID: id, Code: a.Code, Name: a.Name, Region: "420100", CreatedAt: s.Now(),
		State: notary.AgencyActive}
	fatalIfErr(t, s.DB.Log.AddAgency(t.Context(), row, a.Certificates, nil))
	s.signers[id] = &intake.Signer{AgencyID: id, Agency: a.Agency, Region: row.Region,
		Certificate: sm.Sum(a.Certificates[0]), Key: a.Key.PrivateKey.Public(), Sign: a.Key.PrivateKey.Sign}
	return row, s.signers[id]
}

// Foreign makes an item that of the agency "other", which is added if it is not there. It is not
// signed anew: a store does not look at signatures.
func (s *Site) Foreign(t testing.TB, it *intake.Item) {
	t.Helper()
	if s.signers["other"] == nil {
		s.AddAgency(t, "other", s.World.NewAgency(prooftest.USCC("12420100MB1234567"), "甲局"))
	}
	it.Record.AgencyID, it.Entry.Certificate = "other", s.signers["other"].Certificate
}

// Now is the site's clock: every look at it is a millisecond later.
func (s *Site) Now() time.Time { return time.UnixMicro(s.clock.Add(1000)).UTC() }

// Pass lets time pass.
func (s *Site) Pass(d time.Duration) { s.clock.Add(d.Microseconds()) }

// pool holds signed items: all sites have the same keys, so what one signed another can
// take. Signing is the slowest part of many a test.
var pool struct {
	sync.Mutex
	items []intake.Item
}

// Items returns n signed statements about documents that are not stored, ready to be received.
func (s *Site) Items(t testing.TB, n int) []*intake.Item {
	t.Helper()
	pool.Lock()
	defer pool.Unlock()
	for i := len(pool.items); i < s.items+n; i++ {
		pool.items = append(pool.items, s.newItem(t, i))
	}
	out := make([]*intake.Item, n)
	for i := range out {
		it := pool.items[s.items+i]
		it.KeyUse = s.KeyUse
		out[i] = &it
	}
	s.items += n
	return out
}

func (s *Site) newItem(t testing.TB, i int) intake.Item {
	number, err := notary.FormatNumber("420100", 2026, uint64(i))
	fatalIfErr(t, err)
	at := s.World.Now.Add(time.Duration(i) * time.Millisecond)
	salt := sm.Sum(fmt.Appendf(nil, "salt %d", i))
	rec := notary.Record{ID: fmt.Sprintf("record-%d", i), AgencyID: "agency", Number: number, Code: "0123ABCD",
		SM3:  sm.Sum(fmt.Appendf(nil, "document %d", i)),
		Size: uint64(i), MediaType: "application/pdf", Class: "general", IssuedAt: at, ReceivedAt: at,
		Standing: notary.Valid,
		Fields:   []notary.Field{{Name: "title", Salt: salt[:statement.SaltSize], Value: fmt.Sprintf("文书 %d", i)}}}
	return s.Sign(t, rec, statement.Statement{Action: statement.Issue})
}

// Sign makes the item of an issued record; what st leaves open comes from the record.
func (s *Site) Sign(t testing.TB, rec notary.Record, st statement.Statement) intake.Item {
	t.Helper()
	st.Number, st.Agency = rec.Number, s.Signer.Agency
	if st.Action == statement.Issue {
		st.Document = statement.Document{SM3: rec.SM3, Size: rec.Size, MediaType: rec.MediaType}
		st.Class, st.Supersedes, st.IssuedAt = rec.Class, rec.Supersedes, rec.IssuedAt
		for _, f := range rec.Fields {
			st.Fields = append(st.Fields, statement.Field{Name: f.Name, Commitment: statement.Commitment(f.Salt, f.Name,
				f.Value)})
		}
	}
	encoded, err := st.Encode()
	fatalIfErr(t, err)
	sig, err := s.Signer.Sign(encoded)
	fatalIfErr(t, err)
	return intake.Item{Record: rec, Action: st.Action, KeyUse: s.KeyUse, RequestHash: sm.Sum(encoded),
		Entry: statement.Entry{Statement: encoded, Signature: sig, Certificate: s.Signer.Certificate}}
}

// Revocation is the item that withdraws a record.
func (s *Site) Revocation(t testing.TB, rec notary.Record, reason string) *intake.Item {
	t.Helper()
	at := s.Now().Truncate(time.Millisecond)
	rec.Standing, rec.StandingAt, rec.Reason = notary.Revoked, at, reason
	it := s.Sign(t, rec, statement.Statement{Action: statement.Revoke, Reason: reason, IssuedAt: at})
	return &it
}

// Replacement is the item of a new record that replaces another.
func (s *Site) Replacement(t testing.TB, old notary.Record) *intake.Item {
	t.Helper()
	it := s.Items(t, 1)[0]
	rec := it.Record
	rec.Supersedes = old.Number
	rec.IssuedAt = s.Now().Truncate(time.Millisecond)
	signed := s.Sign(t, rec, statement.Statement{Action: statement.Issue, Reason: "a better copy"})
	return &signed
}

// Receive receives n new records.
func (s *Site) Receive(t testing.TB, n int) []notary.Record {
	t.Helper()
	return s.ReceiveItems(t, s.Items(t, n)...)
}

// ReceiveItems receives items that must all be accepted.
func (s *Site) ReceiveItems(t testing.TB, items ...*intake.Item) []notary.Record {
	t.Helper()
	out, err := s.DB.Log.Receive(t.Context(), items)
	fatalIfErr(t, err)
	recs := make([]notary.Record, len(items))
	for i, o := range out {
		fatalIfErr(t, o.Err)
		recs[i] = items[i].Record
		recs[i].Index = o.Index
		if items[i].Action == statement.Revoke {
			recs[i].Index, recs[i].StandingIndex = items[i].Record.Index, o.Index
		}
	}
	return recs
}

// Log returns a sequencer on the site's stores, as another server would have it.
func (s *Site) Log(store batchlog.Store, objects Store, o batchlog.Options) *batchlog.Log {
	o.Signer, o.Now = s.LogKey, s.Now
	if len(o.Keys) == 0 {
		o.Keys = append(slices.Clone(s.former), &s.LogKey.Verifier)
	}
	if o.Holder == "" {
		o.Holder = "server"
	}
	if o.Log == nil {
		o.Log = Discard
	}
	return batchlog.New(store, objects, batchlog.NewTiles(objects, 64), o)
}

// ChangeLogKey makes another key the log's, as a switch does, for all that begins from now on.
func (s *Site) ChangeLogKey(t testing.TB, seed string) {
	t.Helper()
	fence, err := s.DB.Log.LogFence(t.Context())
	fatalIfErr(t, err)
	s.former = append(s.former, &s.LogKey.Verifier)
	s.LogKey, err = signednote.NewSigner(s.World.Origin(), prooftest.NewKey(seed).PrivateKey)
	fatalIfErr(t, err)
	_, err = s.DB.Log.MoveLogFence(t.Context(), fence, signednote.FormatKey(s.LogKey.Name(), s.LogKey.Key()))
	fatalIfErr(t, err)
}

// Sequence logs what was received, as a server does that is being stopped.
func (s *Site) Sequence(t testing.TB) batchlog.Head {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	fatalIfErr(t, s.Log(s.DB.Log, s.Objects, batchlog.Options{}).Run(ctx))
	head, err := s.DB.Log.Head(t.Context())
	fatalIfErr(t, err)
	if head.Size != head.Received {
		t.Fatalf("%d of %d entries were logged", head.Size, head.Received)
	}
	return head
}

// Status enters a status statement, as the server that sequences does, and returns its index.
func (s *Site) Status(t testing.TB) uint64 {
	t.Helper()
	head, err := s.DB.Log.Head(t.Context())
	fatalIfErr(t, err)
	index, err := s.DB.Log.AppendStatus(t.Context(), 0, head.Received, head.Fence,
		func(all []statement.Entry) (statement.Entry, map[string]status.Tally, error) {
			var state status.State
			for _, e := range all {
				state.Add(e.Statement, e.LeafHash())
			}
			text, err := state.Snapshot().Statement(s.World.Origin()).Encode()
			fatalIfErr(t, err)
			sig, err := s.LogKey.Sign(text)
			return status.Entry(text, sig, signednote.FormatKey(s.LogKey.Name(), s.LogKey.Key())), state.Changed(), err
		})
	fatalIfErr(t, err)
	return index
}

// Anchor commits the log's newest checkpoint on the world's chain and stores the evidence.
func (s *Site) Anchor(t testing.TB) checkpoint.Checkpoint {
	t.Helper()
	head, err := s.DB.Log.Head(t.Context())
	fatalIfErr(t, err)
	c, err := checkpoint.ParseUnsafe(head.Note)
	fatalIfErr(t, err)
	evidence := prooftest.Encode(s.World.Chain.Evidence(s.Now(), []checkpoint.Checkpoint{c}, 0))
	fatalIfErr(t, s.DB.Log.SaveEvidence(t.Context(), "stele/egov/v1", c.Size, evidence, []string{"stele/egov/v1"}))
	return c
}

// Fsck checks everything the site holds.
func (s *Site) Fsck(t testing.TB) *fsck.Result {
	t.Helper()
	res, err := fsck.Check(t.Context(), s.DB.Log, s.Objects, s.World.Trust(), fsck.Options{})
	fatalIfErr(t, err)
	return res
}

// WantClean fails the test if a check finds anything.
func (s *Site) WantClean(t testing.TB) {
	t.Helper()
	for _, f := range s.Fsck(t).Findings {
		t.Errorf("fsck: %s", f)
	}
	if t.Failed() {
		t.FailNow()
	}
}
