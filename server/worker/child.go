package worker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"
)

// call is the head of the message to a child.
type call struct {
	Task  string          `json:"task"`
	Order json.RawMessage `json:"order"`
}

// maxStack is the bytes that a child's call stack may grow to: what reads documents is bounded in
// depth, and a stack beyond that is a fault to stop at, not to feed.
const maxStack = 32 << 20

// Serve is a child's part: it reads one message, does the task, and writes the answer. It limits
// the process that it runs in, so it is called in a process that does nothing else.
func Serve(tasks Tasks, in io.Reader, out io.Writer) error {
	// A terminal and systemd tell the whole group to stop: the service ends its children itself, when
	// what it has begun is done or it does not wait any longer.
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	debug.SetMaxStack(maxStack)
	restrict()
	m, err := readMessage(bufio.NewReader(in))
	if err != nil {
		return err
	}
	var c call
	if err := json.Unmarshal(m.head, &c); err != nil {
		return err
	}
	run, ok := tasks[c.Task]
	if !ok {
		return fmt.Errorf("no task %q", c.Task)
	}
	reply, err := inline(run, c.Order, m.body)
	if err != nil {
		return err
	}
	return reply.writeTo(out)
}

// child runs a task in a process of its own.
func (p *Pool) child(ctx context.Context, task string, order json.RawMessage, document []byte) (message, error) {
	head, err := json.Marshal(call{Task: task, Order: order})
	if err != nil {
		return message{}, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, p.o.Timeout, ErrTime)
	defer cancel()
	most := p.o.Memory + 2*int64(len(document))
	cmd := exec.CommandContext(ctx, p.o.Command[0], p.o.Command[1:]...)
	// Nothing of this process's environment: it may hold secrets.
	cmd.Env = []string{"GOMAXPROCS=1", fmt.Sprintf("GOMEMLIMIT=%d", most*3/4), "GOTRACEBACK=none"}
	var stderr tail
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return message{}, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return message{}, err
	}
	if err := cmd.Start(); err != nil {
		return message{}, fmt.Errorf("%w: %w", ErrStart, err)
	}
	subdue(cmd.Process.Pid)
	go func() {
		_ = message{head: head, body: document}.writeTo(stdin) // a child that ended early says so by its answer
		_ = stdin.Close()
	}()
	var fat atomic.Bool
	done := make(chan struct{})
	go watch(cmd.Process, most, &fat, done)
	reply, err := readMessage(stdout)
	werr := cmd.Wait()
	close(done)
	switch {
	case err == nil && werr == nil:
		return reply, nil
	case fat.Load():
		return message{}, ErrMemory
	case ctx.Err() != nil && errors.Is(context.Cause(ctx), ErrTime):
		return message{}, ErrTime
	case ctx.Err() != nil:
		return message{}, ctx.Err()
	}
	return message{}, fmt.Errorf("%w: %w: %s", ErrFailed, errors.Join(werr, err), stderr.kept.String())
}

// watchEvery is how often a child's memory is looked at: it can take some megabytes in this time.
const watchEvery = 5 * time.Millisecond
