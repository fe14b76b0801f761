package tail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/erasure"
	"stele/notary/intake"
)

// Store reads the database. Methods are safe for concurrent use and do not retry.
//
// Stretch makes the stretch of the entries from first up to, not including, end from their rows: what
// was erased is not in it. FindAgency finds an agency by id, Chain a certificate chain by its
// fingerprint. ErasuresSince returns what was erased since a time, the first first; All says that the
// record's reference is gone too.
type Store interface {
	Stretch(ctx context.Context, first, end uint64) (Stretch, error)
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

// ErrContradiction: the object store holds another entry at an index than the database gave out: the
// database is not the one that it was, or not its newest state. A person must look.
var ErrContradiction = errors.New("the tail in the object store holds other entries than the database: " +
	"the database is another or an older one")

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

	mu       sync.Mutex
	behind   bool               // guarded by mu: the store failed; [Tail.Run] makes up for it
	agencies map[sm.Digest]bool // guarded by mu: that this process has put

	// Owned by Put.
	last uint64 // end of the last group, or what was there before the first

	// Owned by Run.
	checked uint64 // all before it was found kept
	began   bool   // whether checked means anything
}

// New returns a tail; nothing is written before it is asked to.
func New(store Store, objects Objects, o Options) *Tail {
	if o.Poll == 0 {
		o.Poll = defaultPoll
	}
	return &Tail{store: store, objects: objects, opt: o, wake: make(chan struct{}, 1), agencies: map[sm.Digest]bool{},
		last: o.From}
}

// Put implements [intake.Tail]. When it returns, what other servers received before the group is kept
// too: else a loss of everything at this moment would leave a gap before entries that were answered.
func (t *Tail) Put(ctx context.Context, g intake.Group) error {
	from := t.last
	t.last = g.First + uint64(len(g.Items))
	if t.isBehind() {
		return nil // said already
	}
	ctx, cancel := context.WithTimeout(ctx, putTimeout)
	defer cancel()
	err := t.put(ctx, FromGroup(g))
	if err == nil {
		err = t.others(ctx, from, g.First)
	}
	if err != nil && !errors.Is(err, ErrContradiction) {
		t.fallBehind(ctx, err)
		return nil
	}
	return err
}

// others makes sure that the entries from one index up to another, which other servers received, are
// kept: it waits a moment for who received them, and then puts them itself.
func (t *Tail) others(ctx context.Context, at, end uint64) error {
	for tries := 0; at < end; tries++ {
		// A server puts a group under its first index.
		list, err := names(ctx, t.objects, fmt.Sprintf("%s%016d-", shard(at), at))
		if err != nil {
			return err
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
				return err
			}
			at, tries = s.First+uint64(len(s.Entries)), 0
		}
	}
	return nil
}

func (t *Tail) isBehind() bool {
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
		t.opt.Log.WarnContext(ctx, "received records are not in the bucket's tail for now: until they are, the database alone has them",
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
	objects := map[string][]byte{}
	for _, part := range s.parts() {
		text, err := part.Encode()
		if err != nil {
			return err
		}
		key := part.name().String()
		if objects[key], err = t.opt.Sealer.seal(key, text); err != nil {
			return err
		}
	}
	err := t.objects.PutOnceAll(ctx, objects)
	if errors.Is(err, notary.ErrObjectDiffers) {
		return t.putBeside(ctx, objects, s)
	}
	return err
}

// putBeside is put where some of the objects are there already: another server, or this one before a
// crash, put the same entries under another nonce.
func (t *Tail) putBeside(ctx context.Context, objects map[string][]byte, s Stretch) error {
	for key, data := range objects {
		err := t.objects.PutOnce(ctx, key, data)
		if !errors.Is(err, notary.ErrObjectDiffers) {
			if err != nil {
				return err
			}
			continue
		}
		n, err := ParseName(key)
		if err != nil {
			return err
		}
		there, err := t.read(ctx, n)
		if errors.Is(err, notary.ErrObjectNotFound) {
			continue // removed for its age
		} else if err != nil {
			return err
		}
		for i, e := range there.Entries {
			if mine := s.Entries[n.First-s.First+uint64(i)]; mine.Statement != e.Statement || !bytes.Equal(mine.Signature, e.Signature) {
				return fmt.Errorf("%w: entry %d", ErrContradiction, n.First+uint64(i))
			}
		}
	}
	return nil
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
		agency.KeyAtHome, agency.CreatedAt.UnixMicro(), chain})
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
// between its transaction and the put. It ends with ctx.
func (t *Tail) Run(ctx context.Context) error {
	seen, retry := uint64(0), retryFirst
	for ctx.Err() == nil {
		behind := t.isBehind()
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
			return err
		case err != nil && ctx.Err() == nil:
			t.fallBehind(ctx, err)
			wait, retry = retry, min(2*retry, retryMost)
		case behind && err == nil:
			// From here on groups are put by who commits them; once more for those in between.
			t.setBehind(false)
			t.opt.Log.InfoContext(ctx, "the bucket's tail is complete again", "entries", p.Received)
			if err := t.again(ctx); err != nil {
				t.fallBehind(ctx, err)
			}
			retry = retryFirst
		}
		t.pause(ctx, wait, err == nil)
	}
	return nil
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
		if len(names) > 0 {
			t.checked = min(names[0].First, end)
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

// shardsOf are the folders of the stretches that may cover an index from first up to end: one may
// begin up to maxCount before.
func shardsOf(first, end uint64) (out []string) {
	for at := (first - min(first, maxCount)) >> shardBits; at<<shardBits < end; at++ {
		out = append(out, shard(at<<shardBits))
	}
	return out
}

// names lists stretches below prefixes, in the order of their first index.
func names(ctx context.Context, objects Objects, prefixes ...string) ([]Name, error) {
	var out []Name
	for _, prefix := range prefixes {
		err := objects.List(ctx, prefix, func(o notary.Object) error {
			if n, err := ParseName(o.Key); err == nil {
				out = append(out, n)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("list the tail: %w", err)
		}
	}
	return out, nil
}

// gaps are the runs between two indexes that no stretch covers. names are in the order of First.
func gaps(names []Name, from, end uint64) (out []Name) {
	for _, n := range names {
		if n.First > from && from < end {
			out = append(out, Name{First: from, Count: min(n.First, end) - from})
		}
		from = max(from, n.End())
	}
	if from < end {
		out = append(out, Name{First: from, Count: end - from})
	}
	return out
}

// Newest is the index after the last entry that the tail holds, as far as that is beyond received;
// else received or less. It looks at what begins near there, and goes on where there is more.
func Newest(ctx context.Context, objects Objects, received uint64) (uint64, error) {
	newest := uint64(0)
	for at := (received - min(received, maxCount)) >> shardBits; ; at++ {
		list, err := names(ctx, objects, shard(at<<shardBits))
		if err != nil {
			return 0, err
		}
		for _, n := range list {
			newest = max(newest, n.End())
		}
		if len(list) == 0 && at<<shardBits > received {
			return newest, nil
		}
	}
}

// Forget makes the stretches with an entry anew from the rows, without what was erased there, and
// removes the former ones with all their versions. Nothing changes where nothing was erased. A crash
// between the two steps leaves both; [Tail.Sweep] does it again.
func (t *Tail) Forget(ctx context.Context, index uint64) error {
	list, err := names(ctx, t.objects, shardsOf(index, index+1)...)
	if err != nil {
		return err
	}
	for _, n := range list {
		if n.First > index || n.End() <= index {
			continue
		}
		if err := t.renew(ctx, n, list); err != nil {
			return err
		}
	}
	return nil
}

// renew replaces one stretch by what the rows say now.
func (t *Tail) renew(ctx context.Context, n Name, others []Name) error {
	there, err := t.read(ctx, n)
	if errors.Is(err, notary.ErrObjectNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	now, err := t.store.Stretch(ctx, n.First, n.End())
	if err != nil {
		return err
	}
	if sameRows(there, now) {
		return nil
	}
	next := n
	for _, o := range others {
		if o.First == n.First && o.Count == n.Count {
			next.Revision = max(next.Revision, o.Revision)
		}
	}
	next.Revision++
	text, err := now.Encode()
	if err != nil {
		return err
	}
	data, err := t.opt.Sealer.seal(next.String(), text)
	if err != nil {
		return err
	}
	// Differing: another server does the same at this moment, from the same rows.
	if err := t.objects.PutOnce(ctx, next.String(), data); err != nil && !errors.Is(err, notary.ErrObjectDiffers) {
		return err
	}
	return t.objects.Delete(ctx, n.String())
}

// sameRows reports whether two stretches say the same of each record.
func sameRows(a, b Stretch) bool {
	return slices.EqualFunc(a.Entries, b.Entries, func(a, b Entry) bool {
		x, err1 := encode(a.Record)
		y, err2 := encode(b.Record)
		return err1 == nil && err2 == nil && bytes.Equal(x, y)
	})
}

// Erased implements [erasure.Tail].
func (t *Tail) Erased(ctx context.Context, e erasure.Erasure, all bool) error {
	return t.erased(ctx, FromErasure(e, all))
}

func (t *Tail) erased(ctx context.Context, e Erased) error {
	err := t.putSmall(ctx, ErasuresPrefix+e.ID, e)
	return errors.Join(err, t.Forget(ctx, e.Index))
}

// Sweep removes stretches and erasures that are older than they are kept, and those that were
// replaced, and does again what could not be done when something was erased. It returns how many
// objects it removed.
func (t *Tail) Sweep(ctx context.Context) (removed int, err error) {
	before := t.opt.Now().Add(-t.opt.Keep)
	erased, err := t.store.ErasuresSince(ctx, before)
	if err != nil {
		return 0, err
	}
	for _, e := range erased {
		if err := t.erased(ctx, e); err != nil {
			return 0, err
		}
	}
	var last Name
	drop := func(key string) error {
		removed++
		return t.objects.Delete(ctx, key)
	}
	err = t.objects.List(ctx, EntriesPrefix, func(o notary.Object) error {
		n, err := ParseName(o.Key)
		if err != nil {
			return nil // not ours
		}
		former := last
		last = n
		if former.First == n.First && former.Count == n.Count && former.Revision < n.Revision {
			if err := drop(former.String()); err != nil {
				return err
			}
		}
		if o.ModTime.Before(before) {
			return drop(o.Key)
		}
		return nil
	})
	if err != nil {
		return removed, err
	}
	return removed, t.objects.List(ctx, ErasuresPrefix, func(o notary.Object) error {
		if o.ModTime.Before(before) {
			return drop(o.Key)
		}
		return nil
	})
}

// Reader reads a tail for who restores a database.
type Reader struct {
	objects Objects
	sealer  *Sealer
}

// NewReader returns a reader.
func NewReader(objects Objects, sealer *Sealer) *Reader { return &Reader{objects, sealer} }

// From lists the stretches that reach beyond an index, in the order of their first one; of those that
// were replaced only the last.
func (r *Reader) From(ctx context.Context, index uint64) ([]Name, error) {
	all, err := names(ctx, r.objects, EntriesPrefix)
	if err != nil {
		return nil, err
	}
	var out []Name
	for _, n := range all {
		if n.End() <= index {
			continue
		}
		if last := len(out) - 1; last >= 0 && out[last].First == n.First && out[last].Count == n.Count {
			out[last] = n
			continue
		}
		out = append(out, n)
	}
	return out, nil
}

// Stretch reads one.
func (r *Reader) Stretch(ctx context.Context, n Name) (Stretch, error) {
	t := Tail{objects: r.objects, opt: Options{Sealer: r.sealer}}
	return t.read(ctx, n)
}

// Agency reads the agency of a certificate; [notary.ErrObjectNotFound] where the tail has none.
func (r *Reader) Agency(ctx context.Context, fingerprint sm.Digest) (a Agency, err error) {
	err = r.small(ctx, agenciesPrefix+fingerprint.String(), &a)
	if err == nil && (len(a.Chain) == 0 || sm.Sum(a.Chain[0]) != fingerprint || a.ID == "") {
		err = fmt.Errorf("agency of certificate %s: %w", fingerprint, ErrFormat)
	}
	return a, err
}

// Erasures lists what was erased, the first first.
func (r *Reader) Erasures(ctx context.Context) (out []Erased, err error) {
	err = r.objects.List(ctx, ErasuresPrefix, func(o notary.Object) error {
		var e Erased
		if err := r.small(ctx, o.Key, &e); err != nil {
			return err
		}
		if strings.TrimPrefix(o.Key, ErasuresPrefix) != e.ID {
			return fmt.Errorf("%s: %w", o.Key, ErrFormat)
		}
		out = append(out, e)
		return nil
	})
	return out, err
}

func (r *Reader) small(ctx context.Context, key string, v any) error {
	data, err := r.objects.Get(ctx, key, maxAgencyObject)
	if err != nil {
		return err
	}
	text, err := r.sealer.open(key, data)
	if err != nil {
		return err
	}
	if err := decode(text, v); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}
