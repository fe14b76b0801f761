package storagetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"stele/notary"
)

// Op names a method of a [Store].
type Op string

// The operations that can be made to fail.
const (
	OpOpen       Op = "Open"
	OpGet        Op = "Get"
	OpList       Op = "List"
	OpCreate     Op = "Create"
	OpPutOnce    Op = "PutOnce"
	OpPutOnceAll Op = "PutOnceAll"
	OpReplace    Op = "Replace"
	OpDelete     Op = "Delete"
)

// Writes are the operations that change something: a table of faults goes over these.
var Writes = []Op{OpCreate, OpPutOnce, OpPutOnceAll, OpReplace, OpDelete}

// Mode says what happens to a call.
type Mode int

const (
	// Fail: nothing is done and the call fails. Create reads its body to the end first.
	Fail Mode = iota + 1
	// FailPersisted: all is done and the call fails none the less, as when the answer of a
	// server is lost. This is the common fault of real stores.
	FailPersisted
	// FailPartly: PutOnceAll stores every second object, in the order of keys, and fails.
	// Other operations take it for FailPersisted.
	FailPartly
	// Hold: the call waits, before it does anything, until Release or the end of its context.
	Hold
)

func (m Mode) String() string {
	return [...]string{"?", "failed", "failed but persisted", "failed but partly persisted", "held"}[m]
}

// Modes are the ways to fail.
var Modes = []Mode{Fail, FailPersisted, FailPartly}

// ErrInjected is the error of injected faults that name no other.
var ErrInjected = errors.New("injected fault")

// Fault says which calls go wrong, and how.
type Fault struct {
	Op     Op
	Prefix string // only calls for keys (or lists of prefixes) that begin so; PutOnceAll: any of its keys
	Call   int    // the how-manieth such call from now on: 1 is the next one, 0 all of them
	Mode   Mode
	Err    error // ErrInjected when nil
}

// Faulty wraps a store and makes calls fail as told. It is itself a [Store], and safe for
// concurrent use.
type Faulty struct {
	store Store

	mu     sync.Mutex
	calls  map[Op]int
	faults []*Injected
}

// NewFaulty wraps store. Nothing fails before Inject.
func NewFaulty(store Store) *Faulty { return &Faulty{store: store, calls: map[Op]int{}} }

// Injected is a fault at work.
type Injected struct {
	fault    Fault
	seen     int // matching calls so far; under Faulty.mu
	hit      chan struct{}
	hitOnce  sync.Once
	release  chan struct{}
	freeOnce sync.Once
}

// Hit is closed when the fault has met a call: a test waits for it, and a table of faults
// makes sure of it.
func (i *Injected) Hit() <-chan struct{} { return i.hit }

// WasHit reports whether the fault has met a call.
func (i *Injected) WasHit() bool {
	select {
	case <-i.hit:
		return true
	default:
		return false
	}
}

// Release lets the calls go on that the fault holds, and any later one.
func (i *Injected) Release() { i.freeOnce.Do(func() { close(i.release) }) }

// Inject adds a fault. Of several that match a call the first one injected counts.
func (f *Faulty) Inject(fault Fault) *Injected {
	if fault.Err == nil {
		fault.Err = ErrInjected
	}
	i := &Injected{fault: fault, hit: make(chan struct{}), release: make(chan struct{})}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = append(f.faults, i)
	return i
}

// Heal removes all faults and releases what they hold.
func (f *Faulty) Heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, i := range f.faults {
		i.Release()
	}
	f.faults = nil
}

// Calls is how often op has been called so far, whatever came of it.
func (f *Faulty) Calls(op Op) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[op]
}

// meet books a call and returns the fault that it meets, or nil. A held call waits here.
func (f *Faulty) meet(ctx context.Context, op Op, keys ...string) (*Injected, error) {
	met := f.match(op, keys)
	if met == nil {
		return nil, nil
	}
	met.hitOnce.Do(func() { close(met.hit) })
	if met.fault.Mode != Hold {
		return met, nil
	}
	select {
	case <-met.release:
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (f *Faulty) match(op Op, keys []string) *Injected {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[op]++
	var met *Injected
	for _, i := range f.faults {
		ours := func(key string) bool { return strings.HasPrefix(key, i.fault.Prefix) }
		if i.fault.Op != op || !slices.ContainsFunc(keys, ours) {
			continue
		}
		i.seen++
		if met == nil && (i.fault.Call == 0 || i.fault.Call == i.seen) {
			met = i
		}
	}
	return met
}

// around does one call with its fault.
func (f *Faulty) around(ctx context.Context, op Op, key string, do func() error) error {
	met, err := f.meet(ctx, op, key)
	if err != nil || met == nil {
		if err == nil {
			err = do()
		}
		return err
	}
	if met.fault.Mode != Fail {
		if err := do(); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s %s: %w", op, key, met.fault.Err)
}

// Open implements [Reader].
func (f *Faulty) Open(ctx context.Context, key, version string) (body io.ReadCloser, object notary.Object, err error) {
	err = f.around(ctx, OpOpen, key, func() error {
		body, object, err = f.store.Open(ctx, key, version)
		return err
	})
	if err != nil && body != nil {
		body.Close()
		return nil, notary.Object{}, err
	}
	return body, object, err
}

// Get implements [Reader].
func (f *Faulty) Get(ctx context.Context, key string, limit int64) (data []byte, err error) {
	err = f.around(ctx, OpGet, key, func() error {
		data, err = f.store.Get(ctx, key, limit)
		return err
	})
	if err != nil {
		return nil, err
	}
	return data, nil
}

// List implements [Reader]. FailPersisted lists everything and then fails.
func (f *Faulty) List(ctx context.Context, prefix string, fn func(notary.Object) error) error {
	return f.around(ctx, OpList, prefix, func() error { return f.store.List(ctx, prefix, fn) })
}

// Create implements [Writer].
func (f *Faulty) Create(ctx context.Context, key string, r io.Reader, size int64) (object notary.Object, err error) {
	body := r
	err = f.around(ctx, OpCreate, key, func() error {
		body = nil
		object, err = f.store.Create(ctx, key, r, size)
		return err
	})
	if err != nil && body != nil {
		// Failed without being tried: the body has been sent all the same.
		if _, readErr := io.Copy(io.Discard, body); readErr != nil {
			err = readErr
		}
	}
	if err != nil {
		return notary.Object{}, err
	}
	return object, nil
}

// PutOnce implements [Writer].
func (f *Faulty) PutOnce(ctx context.Context, key string, data []byte) error {
	return f.around(ctx, OpPutOnce, key, func() error { return f.store.PutOnce(ctx, key, data) })
}

// PutOnceAll implements [Writer].
func (f *Faulty) PutOnceAll(ctx context.Context, objects map[string][]byte) error {
	keys := slices.Sorted(maps.Keys(objects))
	met, err := f.meet(ctx, OpPutOnceAll, keys...)
	if err != nil {
		return err
	}
	if met == nil {
		return f.store.PutOnceAll(ctx, objects)
	}
	stored := objects
	switch met.fault.Mode {
	case Fail:
		stored = nil
	case FailPartly:
		stored = map[string][]byte{}
		for n := 0; n < len(keys); n += 2 {
			stored[keys[n]] = objects[keys[n]]
		}
	}
	if err := f.store.PutOnceAll(ctx, stored); err != nil {
		return err
	}
	return fmt.Errorf("%s of %d objects: %w", OpPutOnceAll, len(objects), met.fault.Err)
}

// Replace implements [Writer].
func (f *Faulty) Replace(ctx context.Context, key string, next func(current []byte) ([]byte, error)) error {
	return f.around(ctx, OpReplace, key, func() error { return f.store.Replace(ctx, key, next) })
}

// Delete implements [Writer].
func (f *Faulty) Delete(ctx context.Context, key string) error {
	return f.around(ctx, OpDelete, key, func() error { return f.store.Delete(ctx, key) })
}
