// Package worker reads documents in child processes. A document comes from anywhere, and what reads
// it may be made to take memory and time that nothing inside of a process can take back: a child has
// a limit of memory, ends when whoever waits for it leaves, and is killed after some seconds.
//
// A child is this same program, started for one task. It gets one message and gives one back; it has
// no secrets in its environment and inherits no file but its three standard ones. Slots are shared
// fairly: one tenant cannot hold those of all, see [Pool].
package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"time"
)

// Task does one kind of work. The order is JSON, as is what it returns; document and output are
// bytes. An error is a fault of the task itself: what is wrong with a document is a result.
type Task func(order json.RawMessage, document []byte) (result any, output []byte, err error)

// Tasks are kinds of work by their names. A task depends on nothing but what it is handed.
type Tasks map[string]Task

// Errors of a [Pool], beside those of the context.
var (
	ErrBusy   = errors.New("too many documents of this tenant are waiting to be read")
	ErrTime   = errors.New("reading the document took too long")
	ErrMemory = errors.New("reading the document took too much memory")
	ErrFailed = errors.New("reading the document failed")
	ErrStart  = errors.New("no process can be started to read the document") // which is not the fault of that
)

// Options are what a [Pool] is to be. Zero values mean the defaults.
type Options struct {
	Command []string      // the program and its arguments, which call [Serve]; empty: tasks run in this process
	Tasks   Tasks         // that the command serves, too
	Slots   int           // tasks at a time; the number of processors, at least 2
	Tenant  int           // tasks of one tenant at a time; one less than Slots
	Waiting int           // tasks of one tenant that wait; 16
	Timeout time.Duration // of one task, from its start; 10 s
	Memory  int64         // bytes of a child's own memory, and twice the document's size; 128 MiB
}

// Pool runs tasks. It is safe for concurrent use.
type Pool struct {
	o    Options
	gate *gate
}

// New returns a pool.
func New(o Options) *Pool {
	if o.Slots == 0 {
		o.Slots = max(2, runtime.NumCPU())
	}
	if o.Tenant == 0 {
		o.Tenant = max(1, o.Slots-1)
	}
	if o.Waiting == 0 {
		o.Waiting = 16
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Memory == 0 {
		o.Memory = 128 << 20
	}
	return &Pool{o: o, gate: newGate(o.Slots, o.Tenant, o.Waiting)}
}

// Do runs a task for a tenant, decodes its result, and returns its output. It waits for a slot as
// long as the context allows; when that ends, so does the task. The document is loaded when there is
// a slot, so that those who wait hold none in memory; what its loading fails with is returned as it is.
// Nothing is kept of a task: after a crash there is nothing to repair.
func (p *Pool) Do(
	ctx context.Context, tenant, task string, order any, load func(context.Context) ([]byte, error), result any,
) ([]byte, error) {
	run, ok := p.o.Tasks[task]
	if !ok {
		return nil, fmt.Errorf("worker: no task %q", task)
	}
	head, err := json.Marshal(order)
	if err != nil {
		return nil, fmt.Errorf("worker: order of %s: %w", task, err)
	}
	leave, err := p.gate.enter(ctx, tenant)
	if err != nil {
		return nil, err
	}
	defer leave()
	document, err := load(ctx)
	if err != nil {
		return nil, err
	}
	var reply message
	if len(p.o.Command) == 0 {
		reply, err = inline(run, head, document)
	} else {
		reply, err = p.child(ctx, task, head, document)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", task, err)
	}
	if err := json.Unmarshal(reply.head, result); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrFailed, task, err)
	}
	return reply.body, nil
}

// inline runs a task here; a panic of it is its failure, as the end of a child would be.
func inline(run Task, order json.RawMessage, document []byte) (m message, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: panic: %v", ErrFailed, v)
		}
	}()
	result, output, err := run(order, document)
	if err != nil {
		return m, fmt.Errorf("%w: %w", ErrFailed, err)
	}
	m.body = output
	m.head, err = json.Marshal(result)
	return m, err
}

// tail keeps the end of what a child says on its standard error. The buffer is not embedded: what copies
// into a writer would find its ReadFrom, and keep all.
type tail struct{ kept bytes.Buffer }

func (t *tail) Write(p []byte) (int, error) {
	const most = 4 << 10
	n, err := t.kept.Write(p)
	if over := t.kept.Len() - most; over > 0 {
		t.kept.Next(over)
	}
	return n, err
}
