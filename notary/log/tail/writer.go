package tail

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/proof/statement"
	"stele/notary/register/intake"
)

// Store reads the database. Methods are safe for concurrent use and do not retry.
//
// Stretch makes the stretch of the entries from first up to, not including, end from their rows: what
// was erased is not in it. Entries are those alone. Agency finds an agency by id, Chain a certificate
// chain by its fingerprint. ErasuresSince returns what was erased since a time, the first first; All says that the
// record's reference is gone too.
type Store interface {
	Stretch(ctx context.Context, first, end uint64) (Stretch, error)
	Entries(ctx context.Context, first, end uint64) ([]statement.Entry, error)
	Progress(ctx context.Context) (notary.Progress, error)
	Agency(ctx context.Context, id string) (notary.Agency, error)
	Chain(ctx context.Context, fingerprint sm.Digest) (agencyID string, chain [][]byte, err error)
	ErasuresSince(ctx context.Context, since time.Time) ([]Erased, error)
}

// Objects is the object store, see the adapters for the contract of each method.
type Objects interface {
	Get(ctx context.Context, key string, max int64) ([]byte, error)
	PutOnce(ctx context.Context, key string, data []byte) error
	PutOnceAll(ctx context.Context, objects map[string][]byte) error
	List(ctx context.Context, prefix string, fn func(notary.Object) error) error
	Delete(ctx context.Context, key string) error
}

// Options are what [New] needs beside its stores.
type Options struct {
	Sealer *Sealer
	Keep   time.Duration // age at which a stretch is removed
	Now    func() time.Time
	Log    *slog.Logger
	Poll   time.Duration // how often to look for what servers that died did not put; default 10 s
	From   uint64        // entries received by now: those before are seen to by [Tail.Run]
}

const (
	putTimeout  = 2 * time.Second // for one group while its callers wait
	defaultPoll = 10 * time.Second
	// othersTries, othersPause: how long another server's put of entries before ours is waited for.
	othersTries = 20
	othersPause = 20 * time.Millisecond
	retryFirst  = time.Second
	retryMost   = 10 * time.Second
	fillAtOnce  = 1024
	// firstFill is how many entries are kept of a database that has no tail: it is from before
	// tails, or was quiet for long.
	firstFill = 1 << 16
)

// Tail writes an instance's tail. It is safe for concurrent use; [Tail.Run] is called once.
type Tail struct {
	store   Store
	objects Objects
	opt     Options
	wake    chan struct{} // capacity 1
	ended   chan struct{} // closed when fatal is set

	mu       sync.Mutex
	behind   bool               // guarded by mu: the store failed; [Tail.Run] makes up for it
	agencies map[sm.Digest]bool // guarded by mu: that this process has put
	// guarded by mu: first indexes of stretches that this process put and Run has not checked
	own   map[uint64]bool
	fatal error // guarded by mu: the contradiction that was found

	// Owned by Put.
	last uint64 // end of the last group, or what was there before the first

	// Owned by Keep.
	kept uint64 // end of the last stretch that was found

	// Owned by Run.
	checked uint64 // all before it was found kept
	began   bool   // whether checked means anything
}

// New returns a tail; nothing is written before it is asked to.
func New(store Store, objects Objects, o Options) *Tail {
	if o.Poll == 0 {
		o.Poll = defaultPoll
	}
	return &Tail{store: store, objects: objects, opt: o, wake: make(chan struct{}, 1), ended: make(chan struct{}),
		agencies: map[sm.Digest]bool{}, own: map[uint64]bool{}, last: o.From}
}

// Put implements [intake.Tail]. What other servers received before the group is kept before it is: a loss
// of everything at any moment leaves no gap, before entries that were answered or others, which a recovery
// could not tell apart.
// After an [ErrContradiction] it returns nothing else, and [Tail.Run] has ended with it.
func (t *Tail) Put(ctx context.Context, g intake.Group) error {
	from := t.last
	t.last = g.First + uint64(len(g.Items))
	if err := t.contradiction(); err != nil {
		return err
	}
	if t.Behind() {
		return nil // said already
	}
	ctx, cancel := context.WithTimeout(ctx, putTimeout)
	defer cancel()
	_, err := t.others(ctx, from, g.First)
	if err == nil {
		err = t.put(ctx, FromGroup(g))
	}
	return t.orBehind(ctx, err)
}

// Keep makes sure that the entries from an index on, which a checkpoint is to cover, are kept up to
// another: a server that died between its transaction and its put must leave nothing that is published
// and in the database alone. Entries before the first index are seen to by [Tail.Run]. It is for one
// goroutine, and returns nothing but an [ErrContradiction].
func (t *Tail) Keep(ctx context.Context, from, end uint64) error {
	if err := t.contradiction(); err != nil || t.Behind() {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, putTimeout)
	defer cancel()
	at := t.kept
	var err error
	if at < from { // at the start, or another server led meanwhile: a stretch may begin before
		at, err = t.endOfStretch(ctx, from)
	}
	if err == nil {
		t.kept, err = t.others(ctx, at, end)
	}
	return t.orBehind(ctx, err)
}

// PutStored puts entries from their rows: those that came by no group. It is safe for concurrent use; what
// fails is made up for by [Tail.Run].
func (t *Tail) PutStored(ctx context.Context, first, end uint64) {
	if t.contradiction() != nil || t.Behind() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, putTimeout)
	defer cancel()
	s, err := t.store.Stretch(ctx, first, end)
	if err == nil {
		err = t.put(ctx, s)
	}
	_ = t.orBehind(ctx, err) // a contradiction ends Run
}

// endOfStretch is where the stretch that an entry is in ends, or the entry's index where there is none.
func (t *Tail) endOfStretch(ctx context.Context, index uint64) (end uint64, err error) {
	list, err := names(ctx, t.objects, shardsOf(index, index+1)...)
	end = index
	for _, n := range list {
		if n.First <= index {
			end = max(end, n.End())
		}
	}
	return end, err
}

// orBehind falls behind where the store failed: the database has what it lacks.
func (t *Tail) orBehind(ctx context.Context, err error) error {
	if err != nil && !errors.Is(err, ErrContradiction) {
		t.fallBehind(ctx, err)
		return nil
	}
	return t.contradicted(err)
}

// others makes sure that the entries from one index up to another, whoever received them, are kept: it
// waits a moment for who received them, and then puts them itself. It returns up to where it got.
func (t *Tail) others(ctx context.Context, at, end uint64) (uint64, error) {
	for tries := 0; at < end; tries++ {
		// A server puts a group under its first index.
		list, err := names(ctx, t.objects, beginning(at))
		if err != nil {
			return at, err
		}
		switch {
		case len(list) > 0:
			at, tries = list[len(list)-1].End(), 0
		case tries < othersTries:
			t.pause(ctx, othersPause, false)
		default:
			s, err := t.store.Stretch(ctx, at, min(end, at+fillAtOnce))
			if err == nil {
				err = t.put(ctx, s)
			}
			if err != nil {
				return at, err
			}
			at, tries = s.First+uint64(len(s.Entries)), 0
		}
	}
	return at, nil
}

// Behind reports whether the object store lacks received records because it failed.
func (t *Tail) Behind() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.behind
}

func (t *Tail) setBehind(to bool) (was bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	was, t.behind = t.behind, to
	return was
}

// fallBehind says once that the object store lacks something, and has Run see to it.
func (t *Tail) fallBehind(ctx context.Context, err error) {
	if !t.setBehind(true) {
		t.opt.Log.WarnContext(ctx,
			"received records are not in the bucket's tail for now: until they are, the database alone has them",
			"error", err)
	}
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// put puts a stretch. A crash on the way leaves some of its objects, each whole; what is missing is
// found by [Tail.Run] of any server.
func (t *Tail) put(ctx context.Context, s Stretch) error {
	if err := t.putAgencies(ctx, s); err != nil {
		return err
	}
	objects, err := t.opt.Sealer.sealStretch(s)
	if err != nil {
		return err
	}
	// there already: another server, or this one before a crash, put them under another nonce
	theirs := map[string]bool{}
	if err = t.objects.PutOnceAll(ctx, objects); errors.Is(err, notary.ErrObjectDiffers) {
		err = nil
		for key, data := range objects {
			err := t.objects.PutOnce(ctx, key, data)
			if theirs[key] = errors.Is(err, notary.ErrObjectDiffers); err != nil && !theirs[key] {
				return err
			}
		}
	}
	if err != nil {
		return err
	}
	return t.compareBeside(ctx, s, objects, theirs)
}

func (t *Tail) read(ctx context.Context, n Name) (Stretch, error) {
	data, err := t.objects.Get(ctx, n.String(), maxObject)
	if err != nil {
		return Stretch{}, err
	}
	return t.opt.Sealer.OpenStretch(n, data)
}

// putAgencies puts the agencies of a stretch that this process has not put yet.
func (t *Tail) putAgencies(ctx context.Context, s Stretch) error {
	for _, e := range s.Entries {
		if e.AgencyID == "" {
			continue // a status statement
		}
		fp := sm.Digest(e.Certificate)
		t.mu.Lock()
		known := t.agencies[fp]
		t.mu.Unlock()
		if known {
			continue
		}
		if err := t.putAgency(ctx, e.AgencyID, fp); err != nil {
			return err
		}
		t.mu.Lock()
		t.agencies[fp] = true
		t.mu.Unlock()
	}
	return nil
}

func (t *Tail) putAgency(ctx context.Context, id string, fp sm.Digest) error {
	agency, err := t.store.Agency(ctx, id)
	if err != nil {
		return fmt.Errorf("agency %s: %w", id, err)
	}
	_, chain, err := t.store.Chain(ctx, fp)
	if err != nil {
		return fmt.Errorf("certificate %s: %w", fp, err)
	}
	return t.putSmall(ctx, agenciesPrefix+fp.String(), Agency{agency.ID, agency.Code, agency.Name, agency.Region,
		agency.ExternalKey, agency.CreatedAt.UnixMicro(), chain})
}

// putSmall puts an object whose text never changes; under another nonce it may be there already.
func (t *Tail) putSmall(ctx context.Context, key string, v any) error {
	text, err := encode(v)
	if err != nil {
		return err
	}
	sealed, err := t.opt.Sealer.seal(key, text)
	if err != nil {
		return err
	}
	if err = t.objects.PutOnce(ctx, key, sealed); errors.Is(err, notary.ErrObjectDiffers) {
		return nil
	}
	return err
}

// Run makes up for what was not put: because the object store was down, or because a server died
// between its transaction and the put. It ends with ctx, and at once with an [ErrContradiction] that
// it or [Tail.Put] has found.
func (t *Tail) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-t.ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	t.work(ctx)
	return t.contradiction()
}

func (t *Tail) work(ctx context.Context) {
	seen, retry := uint64(0), retryFirst
	for ctx.Err() == nil {
		behind := t.Behind()
		p, err := t.store.Progress(ctx)
		if err == nil {
			// What was received a moment ago is being put by who received it: that is looked at in
			// the next round, but at the start and after an outage.
			end := seen
			if behind || !t.began {
				end = p.Received
			}
			err = t.fill(ctx, end)
			seen = p.Received
		}
		wait := t.opt.Poll
		switch {
		case errors.Is(err, ErrContradiction):
			_ = t.contradicted(err)
			return
		case err != nil && ctx.Err() == nil:
			t.fallBehind(ctx, err)
			wait, retry = retry, min(2*retry, retryMost)
		case behind && err == nil:
			// From here on groups are put by who commits them; once more for those in between.
			t.setBehind(false)
			t.opt.Log.InfoContext(ctx, "the bucket's tail is complete again", "entries", p.Received)
			if err := t.contradicted(t.again(ctx)); err != nil {
				t.fallBehind(ctx, err)
			}
			retry = retryFirst
		}
		t.pause(ctx, wait, err == nil)
	}
}

// again fills up to what was received by now.
func (t *Tail) again(ctx context.Context) error {
	p, err := t.store.Progress(ctx)
	if err != nil {
		return err
	}
	return t.fill(ctx, p.Received)
}

func (t *Tail) pause(ctx context.Context, d time.Duration, wakeable bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	wake := t.wake
	if !wakeable {
		wake = nil
	}
	select {
	case <-timer.C:
	case <-wake:
	case <-ctx.Done():
	}
}

// fill puts what is missing before an index.
func (t *Tail) fill(ctx context.Context, end uint64) error {
	names, err := t.namesUpTo(ctx, end)
	if err != nil {
		return err
	}
	if !t.began {
		t.checked = end - min(end, firstFill)
		// From the oldest one on all is to be there. One that was renewed after an erasure stays longer
		// than those after it, which were removed for their age.
		if i := slices.IndexFunc(names, func(n Name) bool { return n.Revision == 0 }); i >= 0 {
			t.checked = min(names[i].First, end)
		}
		t.began = true
	}
	for _, gap := range gaps(names, t.checked, end) {
		for first := gap.First; first < gap.End(); first += fillAtOnce {
			s, err := t.store.Stretch(ctx, first, min(first+fillAtOnce, gap.End()))
			if err == nil {
				err = t.put(ctx, s)
			}
			if err != nil {
				return err
			}
		}
	}
	if err := t.compareNew(ctx, names, end); err != nil {
		return err
	}
	t.checked = max(t.checked, end)
	return nil
}

// namesUpTo are the stretches that may cover something between what was checked and an index.
func (t *Tail) namesUpTo(ctx context.Context, end uint64) ([]Name, error) {
	if !t.began {
		return names(ctx, t.objects, EntriesPrefix)
	}
	if end <= t.checked {
		return nil, nil
	}
	return names(ctx, t.objects, shardsOf(t.checked, end)...)
}
