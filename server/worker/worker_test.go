package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"stele/server/worker"
)

// childArg makes the test's own program a child.
const childArg = "serve-as-child"

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == childArg {
		if err := worker.Serve(tasks, os.Stdin, os.Stdout); err != nil {
			os.Stderr.WriteString(err.Error())
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var tasks = worker.Tasks{
	"shout": func(order json.RawMessage, document []byte) (any, []byte, error) {
		var by string
		err := json.Unmarshal(order, &by)
		return "by " + by, []byte(strings.ToUpper(string(document))), err
	},
	"spin": func(json.RawMessage, []byte) (any, []byte, error) {
		for n := uint64(1); n != 0; n++ { // some centuries
		}
		return nil, nil, nil
	},
	"eat": func(json.RawMessage, []byte) (any, []byte, error) {
		var all [][]byte
		for {
			b := make([]byte, 1<<20)
			for i := range b {
				b[i] = 1
			}
			all = append(all, b)
			if len(all) > 4<<10 {
				return nil, nil, errors.New("four gigabytes were to be had")
			}
		}
	},
	"complain": func(json.RawMessage, []byte) (any, []byte, error) {
		for range 64 {
			_, _ = os.Stderr.Write(make([]byte, 1<<20))
		}
		return nil, nil, errors.New("the end of many words")
	},
	"told to stop": func(json.RawMessage, []byte) (any, []byte, error) {
		for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
			if err := syscall.Kill(os.Getpid(), s); err != nil {
				return nil, nil, err
			}
		}
		return "went on", nil, nil
	},
	"dig":   func(json.RawMessage, []byte) (any, []byte, error) { return dig(1), nil, nil },
	"panic": func(json.RawMessage, []byte) (any, []byte, error) { panic("on purpose") },
	"environment": func(json.RawMessage, []byte) (any, []byte, error) {
		f, werr := os.CreateTemp("", "written")
		if werr == nil {
			_, werr = f.WriteString("x")
			_, _ = f.Close(), os.Remove(f.Name())
		}
		entries, err := os.ReadDir("/proc/self/fd")
		var files []string
		for _, e := range entries {
			name, _ := os.Readlink("/proc/self/fd/" + e.Name()) // the folder's own is closed by now
			files = append(files, name)
		}
		return map[string]any{"environment": os.Environ(), "files": files, "wrote": werr == nil}, nil, err
	},
}

func dig(n int) int {
	var room [1 << 10]int
	if n == math.MaxInt {
		return n
	}
	room[n%len(room)] = dig(n + 1)
	return room[n%len(room)] + 1
}

func bytesOf(b []byte) func(context.Context) ([]byte, error) {
	return func(context.Context) ([]byte, error) { return b, nil }
}

var none = bytesOf(nil)

func pool(t testing.TB, o worker.Options) *worker.Pool {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	o.Command, o.Tasks = []string{exe, childArg}, tasks
	return worker.New(o)
}

// A child gets an order and a document, and gives a result and bytes back; so does the process
// itself where there is no command.
func TestTask(t *testing.T) {
	document := []byte(strings.Repeat("abcdefgh", 1<<18))
	for _, p := range []*worker.Pool{pool(t, worker.Options{}), worker.New(worker.Options{Tasks: tasks})} {
		var said string
		out, err := p.Do(t.Context(), "a", "shout", "somebody", bytesOf(document), &said)
		if err != nil || said != "by somebody" || string(out) != strings.ToUpper(string(document)) {
			t.Errorf("%q, %d bytes, %v", said, len(out), err)
		}
		if _, err := p.Do(t.Context(), "a", "shout", 7, bytesOf(document), &said); !errors.Is(err, worker.ErrFailed) {
			t.Errorf("a task that fails: %v", err)
		}
		if _, err := p.Do(t.Context(), "a", "panic", "", none, &said); !errors.Is(err, worker.ErrFailed) {
			t.Errorf("a task that panics: %v", err)
		}
	}
}

// What takes too much ends, says what it took too much of, and leaves the pool as it was.
func TestLimits(t *testing.T) {
	p := pool(t, worker.Options{Slots: 1, Tenant: 1, Timeout: 5 * time.Second, Memory: 64 << 20})
	quick := pool(t, worker.Options{Timeout: 200 * time.Millisecond})
	var said string
	if _, err := quick.Do(t.Context(), "a", "spin", "", none, &said); !errors.Is(err, worker.ErrTime) {
		t.Errorf("a task without an end: %v", err)
	}
	if _, err := p.Do(t.Context(), "a", "eat", "", none, &said); !errors.Is(err, worker.ErrMemory) {
		t.Errorf("a task that eats: %v", err)
	}
	if _, err := p.Do(t.Context(), "a", "dig", "", none, &said); !errors.Is(err, worker.ErrFailed) &&
		!errors.Is(err, worker.ErrMemory) {
		t.Errorf("a task whose stack grows: %v", err)
	}
	ctx, leave := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		var s string
		_, err := p.Do(ctx, "a", "spin", "", none, &s)
		done <- err
	}()
	leave()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("whoever waits has left: %v", err)
	}
	if _, err := p.Do(t.Context(), "a", "shout", "x", none, &said); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// A child has no secrets in its environment, no files but its own, and writes none.
func TestChildHasNothing(t *testing.T) {
	t.Setenv("STELE_PASSPHRASE", "secret")
	var got struct {
		Environment []string
		Files       []string
		Wrote       bool
	}
	if _, err := pool(t, worker.Options{}).Do(t.Context(), "a", "environment", "", none, &got); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(strings.Join(got.Environment, " "), "secret") || got.Wrote {
		t.Errorf("%+v", got)
	}
	for _, name := range got.Files {
		// of the runtime
		known := strings.HasPrefix(name, "/dev/") || strings.HasPrefix(name, "/proc/") ||
			strings.HasPrefix(name, "/sys/")
		if strings.HasPrefix(name, "/") && !known {
			t.Errorf("%s is open", name)
		}
	}
}

// One tenant cannot hold the slots of all, nor have more than so many wait.
func TestFairness(t *testing.T) {
	const waiting = 5
	release := make(chan struct{})
	begun := make(chan string, 100)
	p := worker.New(worker.Options{Slots: 2, Tenant: 1, Waiting: waiting, Tasks: worker.Tasks{
		"hold": func(order json.RawMessage, _ []byte) (any, []byte, error) {
			begun <- string(order)
			<-release
			return "", nil, nil
		}}})
	var all sync.WaitGroup
	busy := make(chan struct{}, 100)
	for range 1 + waiting + 3 {
		all.Go(func() {
			var s string
			if _, err := p.Do(t.Context(), "greedy", "hold", "greedy", none, &s); errors.Is(err, worker.ErrBusy) {
				busy <- struct{}{}
			}
		})
	}
	if first := <-begun; first != `"greedy"` {
		t.Fatal(first)
	}
	for range 3 {
		<-busy // so that as many wait as may
	}
	all.Go(func() {
		var s string
		if _, err := p.Do(t.Context(), "modest", "hold", "modest", none, &s); err != nil {
			t.Error(err)
		}
	})
	if second := <-begun; second != `"modest"` {
		t.Errorf("the second slot went to %s", second)
	}
	close(release)
	all.Wait()
	if len(begun) != waiting || len(busy) > 0 {
		t.Errorf("%d more began, %d more were refused", len(begun), len(busy))
	}
}

// Somebody who waits and leaves does not take a slot along.
func TestLeavingTheQueue(t *testing.T) {
	release, begun := make(chan struct{}), make(chan struct{}, 4)
	p := worker.New(worker.Options{Slots: 1, Tenant: 1, Tasks: worker.Tasks{
		"hold": func(json.RawMessage, []byte) (any, []byte, error) {
			begun <- struct{}{}
			<-release
			return "", nil, nil
		}}})
	var s, s2 string
	first := make(chan error, 1)
	go func() {
		_, err := p.Do(t.Context(), "a", "hold", "", none, &s)
		first <- err
	}()
	<-begun
	for range 100 {
		ctx, leave := context.WithCancel(t.Context())
		go leave()
		var s string
		if _, err := p.Do(ctx, "b", "hold", "", none, &s); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	close(release)
	if _, err := p.Do(t.Context(), "b", "hold", "", none, &s2); err != nil || <-first != nil {
		t.Error(err)
	}
}

// What a child says on its standard error without end is not kept, but for its last words.
func TestManyWords(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var s string
	_, err := pool(t, worker.Options{}).Do(t.Context(), "a", "complain", "", none, &s)
	if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 16<<20 {
		t.Errorf("%d MiB were kept", (after.TotalAlloc-before.TotalAlloc)>>20)
	}
	if !errors.Is(err, worker.ErrFailed) || !strings.HasSuffix(err.Error(), "the end of many words") ||
		len(err.Error()) > 64<<10 {
		t.Errorf("%.200q", err)
	}
}

// Whoever stops the service tells its whole group, as a terminal and systemd do. The service ends its
// children itself; a document is not broken because of it.
func TestToldToStop(t *testing.T) {
	var s string
	if _, err := pool(t, worker.Options{}).Do(t.Context(), "a", "told to stop", "", none, &s); err != nil ||
		s != "went on" {
		t.Errorf("%q, %v", s, err)
	}
}

// Where no child can be started, that is no fault of the document.
func TestNoChild(t *testing.T) {
	p := worker.New(worker.Options{Command: []string{filepath.Join(t.TempDir(), "gone")}, Tasks: tasks})
	var s string
	if _, err := p.Do(t.Context(), "a", "shout", "", none, &s); !errors.Is(err, worker.ErrStart) ||
		errors.Is(err, worker.ErrFailed) {
		t.Errorf("%v", err)
	}
}
