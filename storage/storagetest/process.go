package storagetest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Time limits of the servers, generous for a loaded machine.
const (
	startLimit = 60 * time.Second
	stopLimit  = 30 * time.Second
	pollEvery  = 10 * time.Millisecond
)

// process is a server that a test has started. The kernel kills it when the test binary
// dies, in whatever way.
type process struct {
	cmd    *exec.Cmd
	output *tail
	exited chan struct{} // closed when it has ended; then cmd.ProcessState is set
}

// spawner starts children on one thread that lives as long as the test binary. A parent
// death signal is sent when the thread that forked ends, and the Go runtime may end any
// other one while the program goes on.
var spawner = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

// Launch starts a process; [exec.Cmd.Start] is one. It is called on a thread that outlives the
// process.
type Launch func(*exec.Cmd) error

// startProcess starts cmd, which gets onParentDeath when the test binary dies.
func startProcess(cmd *exec.Cmd, onParentDeath syscall.Signal, launch Launch) (*process, error) {
	if launch == nil {
		launch = (*exec.Cmd).Start
	}
	p := &process{cmd: cmd, output: &tail{}, exited: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.output, p.output
	// A grandchild that keeps the output open must not hold Wait up.
	cmd.WaitDelay = stopLimit
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = onParentDeath
	started := make(chan error, 1)
	spawner() <- func() { started <- launch(cmd) }
	if err := <-started; err != nil {
		return nil, err
	}
	go func() {
		cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// needsServer skips a test that starts a server in the quick tier (go test -short): it says so by name.
func needsServer(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: no servers are started")
	}
}

// errExited: the server ended while it was waited for, most often because another
// program took its port meanwhile.
var errExited = errors.New("the server has exited")

// waitReady asks ready until it answers nil, the process ends or the limit has passed.
func (p *process) waitReady(ready func() error) error {
	deadline := time.NewTimer(startLimit)
	defer deadline.Stop()
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-p.exited:
			return fmt.Errorf("%w: %s\n%s", errExited, p.cmd.ProcessState, p.output)
		case <-deadline.C:
			return fmt.Errorf("not ready after %v: %w\n%s", startLimit, err, p.output)
		case <-poll.C:
		}
	}
}

// stop sends sig and waits for the end.
func (p *process) stop(sig syscall.Signal) error {
	p.cmd.Process.Signal(sig)
	select {
	case <-p.exited:
		return nil
	case <-time.After(stopLimit):
		p.cmd.Process.Kill()
		<-p.exited
		return fmt.Errorf("still there %v after %v, killed\n%s", stopLimit, sig, p.output)
	}
}

// tail keeps the last output of a process for error messages.
type tail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

const tailSize = 16 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf.Write(p)
	if over := t.buf.Len() - tailSize; over > 0 {
		t.buf.Next(over)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.String()
}

// serverDir makes a folder for a server. It is removed when the test binary ends, even by
// SIGKILL: a shared server outlives the test that started it, so no cleanup of that test
// can do it. A shell waits for the other end of a pipe to close.
func serverDir(kind string) (string, error) {
	// Short: the path of a Unix socket may have 107 bytes only.
	dir, err := os.MkdirTemp("", "stele"+kind)
	if err != nil {
		return "", err
	}
	// Servers that are just ending may write once more: look twice.
	janitor := exec.Command("/bin/sh", "-c", `cat >/dev/null
for n in 1 2 3 4 5 6 7 8 9 10; do rm -rf "$1"; sleep 0.3; [ -e "$1" ] || [ $n -lt 3 ] || exit 0; done`, "sh", dir)
	janitor.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if _, err := janitor.StdinPipe(); err != nil {
		return "", err
	}
	if err := janitor.Start(); err != nil {
		return "", err
	}
	keepAlive(janitor)
	return dir, nil
}

var (
	keptMu sync.Mutex
	kept   []any
)

// keepAlive keeps v from the garbage collector, whose finalizers would close its pipe.
func keepAlive(v any) {
	keptMu.Lock()
	defer keptMu.Unlock()
	kept = append(kept, v)
}

// moduleRoot is the folder of the checkout's go.mod; tests run in their package's folder.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("no go.mod above the working directory")
		}
		dir = filepath.Dir(dir)
	}
}

// tool finds a test server's program: in the checkout's .tools, then in PATH.
func tool(name string) (string, error) {
	root, err := moduleRoot()
	if err == nil {
		if path, err := exec.LookPath(filepath.Join(root, ".tools", name)); err == nil {
			return path, nil
		}
	}
	return exec.LookPath(name)
}

// fatalIfErr ends the test.
func fatalIfErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
