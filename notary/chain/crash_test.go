package chain

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"stele/crypto/sm"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/checkpoint"
)

// A crash between FinalizeBlock and Commit: consensus dies, the node says so, and a restart
// in this process executes the block once.
func TestCrashBetweenFinalizeBlockAndCommit(t *testing.T) {
	for name, block := range map[string]uint64{"with the checkpoint": 0, "that closes the header": 1,
		"with the certificate": 2} {
		t.Run(name, func(t *testing.T) {
			ctx := testContext(t)
			var at atomic.Uint64 // crash at the block this many after the next one with a checkpoint
			l := newTestLog(t, "log.example/a")
			n, c := solo(t, crashBeforeCommit(&at), l)
			anchor(ctx, t, n, l.next(t, 3))
			s, err := n.Status()
			fatalIfErr(t, err)
			at.Store(s.Height + 1 + block)
			second := l.next(t, 2)
			fatalIfErr(t, n.Submit(ctx, second))
			dies(ctx, t, n)
			if s, err := n.Status(); err != nil || !s.Failed {
				t.Fatalf("%+v, %v", s, err)
			}
			if err := n.Submit(ctx, l.fork().next(t, 1)); !errors.Is(err, ErrStopped) {
				t.Error("submit to a dead chain:", err)
			}
			closeNode(t, n)
			c.hooks = hooks{}
			// Down for a while: the time of its first sight must come from before the crash.
			c.Clock = func() time.Time { return time.Now().Add(time.Minute) }
			n = mustStart(t, c)
			// The decided block comes back from the engine's store, without a new submission.
			if a := certified(ctx, t, n, second.Checkpoint); a.Index != 1 || a.Height != s.Height+1 {
				t.Fatalf("%+v", a)
			}
			c.Clock = nil
			closeNode(t, n)
			n = mustStart(t, c)
			anchor(ctx, t, n, l.next(t, 1))
			checkHistory(t, n)
		})
	}
}

// crashBeforeCommit makes consensus die between FinalizeBlock and Commit of a height; 0: of none.
func crashBeforeCommit(at *atomic.Uint64) func(*Config) {
	return func(c *Config) {
		c.hooks.beforeCommit = func(height uint64) {
			if h := at.Load(); h != 0 && height == h {
				panic("crash test")
			}
		}
	}
}

// dies waits until consensus has died and the node says so.
func dies(ctx context.Context, t testing.TB, n *Node) {
	t.Helper()
	select {
	case <-n.Failed():
	case <-ctx.Done():
		t.Fatal("a dead consensus went unnoticed")
	}
}

func TestRestartInProcess(t *testing.T) {
	ctx := testContext(t)
	l := newTestLog(t, "log.example/a")
	n, c := solo(t, nil, l)
	var cs []checkpoint.Checkpoint
	for i := range 6 {
		s := l.next(t, 2)
		fatalIfErr(t, n.Submit(ctx, s))
		if i%2 == 0 { // every other time without waiting for the certificate
			certified(ctx, t, n, s.Checkpoint)
		} else {
			await(ctx, t, n, "header", func(s Status) bool { return s.Headers > uint64(i) })
		}
		cs = append(cs, s.Checkpoint)
		closeNode(t, n)
		n = mustStart(t, c)
	}
	for _, c := range cs {
		certified(ctx, t, n, c)
	}
	checkHistory(t, n)
}

// helperEnv makes the test binary a node in a process of its own. Its value is a
// [helperConfig]; requests and answers are lines of JSON on standard input and output.
const helperEnv = "STELE_CHAIN_HELPER"

const (
	helperWait = 5 * time.Second // a helper's wait for evidence, after which one submits again
	helperLife = 2 * time.Minute // a helper that lives longer hangs, and is killed
)

type helperConfig struct {
	Home                 string
	Genesis              string
	Consensus, Node, SM2 []byte
}

type helperRequest struct {
	Submit   *Submission
	Evidence uint64 // size; 0 asks for the head
	Origin   string
}

type helperAnswer struct {
	Ready      bool
	Error      string
	Checkpoint checkpoint.Checkpoint
	Evidence   json.RawMessage
}

func helper() {
	if err := serveHelper(os.Getenv(helperEnv), os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serveHelper(config string, in io.Reader, out io.Writer) error {
	var hc helperConfig
	if err := json.Unmarshal([]byte(config), &hc); err != nil {
		return err
	}
	genesis, err := anchorproof.ParseEpoch(hc.Genesis)
	if err != nil {
		return err
	}
	k, err := sm.NewPrivateKey(hc.SM2)
	if err != nil {
		return err
	}
	ctx := context.Background()
	n, err := Start(ctx, Config{Home: hc.Home, Genesis: genesis, ConsensusKey: hc.Consensus, NodeKey: hc.Node,
		Cosign: k.Sign, CosignKey: k.Public(),
		TimeoutPropose: 100 * time.Millisecond, Log: testLogger()})
	if err != nil {
		return err
	}
	enc := json.NewEncoder(out)
	if err := enc.Encode(helperAnswer{Ready: true}); err != nil {
		return err
	}
	for dec := json.NewDecoder(bufio.NewReader(in)); ; {
		var r helperRequest
		if err := dec.Decode(&r); err != nil {
			return errors.Join(err, n.Close())
		}
		var a helperAnswer
		switch {
		case r.Submit != nil:
			err = n.Submit(ctx, *r.Submit)
		case r.Evidence != 0:
			limited, cancel := context.WithTimeout(ctx, helperWait)
			a.Evidence, a.Checkpoint, err = n.WaitEvidence(limited, r.Origin, r.Evidence)
			cancel()
		default:
			a.Checkpoint, err = n.Head(r.Origin)
		}
		if err != nil {
			a.Error = err.Error()
		}
		if err := enc.Encode(a); err != nil {
			return err
		}
	}
}

// process is a node in a process of its own.
type process struct {
	cmd *exec.Cmd
	enc *json.Encoder
	dec *json.Decoder
}

func startProcess(t testing.TB, c helperConfig) *process {
	t.Helper()
	raw, err := json.Marshal(c)
	fatalIfErr(t, err)
	exe, err := os.Executable()
	fatalIfErr(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), helperLife)
	t.Cleanup(cancel)
	p := &process{cmd: exec.CommandContext(ctx, exe)}
	p.cmd.Env = append(os.Environ(), helperEnv+"="+string(raw))
	p.cmd.Stderr = os.Stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := p.cmd.StdinPipe()
	fatalIfErr(t, err)
	out, err := p.cmd.StdoutPipe()
	fatalIfErr(t, err)
	fatalIfErr(t, p.cmd.Start())
	p.enc, p.dec = json.NewEncoder(in), json.NewDecoder(out)
	var a helperAnswer
	fatalIfErr(t, p.dec.Decode(&a))
	if !a.Ready {
		t.Fatalf("%+v", a)
	}
	return p
}

// ask returns an error when the process is dead or refuses.
func (p *process) ask(r helperRequest) (a helperAnswer, err error) {
	if err := p.enc.Encode(r); err != nil {
		return a, err
	}
	if err := p.dec.Decode(&a); err != nil {
		return a, err
	}
	if a.Error != "" {
		return a, errors.New(a.Error)
	}
	return a, nil
}

// kill is kill -9.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait() // reports the signal
}

// Ten times kill -9 at a random moment while checkpoints stream in: every acknowledged
// anchor is there afterwards, unchanged and verifying, and the chain goes on.
func TestKill(t *testing.T) {
	const rounds = 10
	m := newTestMember(t, "city-0")
	l := newTestLog(t, "log.example/a")
	genesis := testGenesis(t, []*testMember{m}, l)
	fatalIfErr(t, Init(m.config(genesis)))
	scalar := m.key.SM2().D.FillBytes(make([]byte, 32))
	hc := helperConfig{Home: m.home, Genesis: genesis.Text(), Consensus: m.consensus, Node: m.node, SM2: scalar}

	acknowledged := map[uint64]string{} // size to evidence
	check := func(p *process, size uint64) {
		t.Helper()
		a, err := p.ask(helperRequest{Origin: l.origin, Evidence: size})
		fatalIfErr(t, err)
		if a.Checkpoint != l.submissionAt(t, size) {
			t.Fatalf("size %d is %+v", size, a.Checkpoint)
		}
		if _, err := anchorproof.Verify(genesis, a.Checkpoint, a.Evidence); err != nil {
			t.Fatal(err)
		}
		if was := acknowledged[size]; was != "" && was != string(a.Evidence) {
			t.Fatalf("evidence of size %d has changed", size)
		}
	}
	unacknowledged := 0
	// Kills come within twice the time that this machine needs for a start and an anchor, so that about
	// half of them find one. By chance fewer may: then there are more rounds, and each that finds none waits
	// longer, since the machine may have become busy meanwhile.
	began := time.Now()
	p := startProcess(t, hc)
	s := l.next(t, 1)
	_, err := p.ask(helperRequest{Submit: &s})
	fatalIfErr(t, err)
	check(p, s.Checkpoint.Size)
	took := time.Since(began)
	p.kill()
	for round := 0; round < rounds || len(acknowledged) < rounds && round < 10*rounds; round++ {
		p = startProcess(t, hc)
		head, err := p.ask(helperRequest{Origin: l.origin})
		fatalIfErr(t, err)
		if l.last = head.Checkpoint.Size; l.last > 0 && head.Checkpoint.Root != l.root(l.last) {
			t.Fatalf("the head is %+v", head.Checkpoint)
		}
		for size := range acknowledged {
			if size > l.last {
				t.Fatalf("acknowledged %d, the head is at %d", size, l.last)
			}
		}
		had := len(acknowledged)
		// The moment is random, whatever the process does then.
		victim := p.cmd.Process
		time.AfterFunc(rand.N(2*took), func() { _ = victim.Kill() })
		for {
			s := l.next(t, 1+rand.IntN(3))
			if _, err := p.ask(helperRequest{Submit: &s}); err != nil {
				break
			}
			a, err := p.ask(helperRequest{Origin: l.origin, Evidence: s.Checkpoint.Size})
			if err != nil {
				unacknowledged++
				break
			}
			if _, err := anchorproof.Verify(genesis, s.Checkpoint, a.Evidence); err != nil {
				t.Fatal(err)
			}
			acknowledged[s.Checkpoint.Size] = string(a.Evidence)
		}
		p.kill()
		if len(acknowledged) == had {
			took = min(took+took/4, 20*time.Second)
		}
	}
	p = startProcess(t, hc)
	defer p.kill()
	for size := range acknowledged {
		check(p, size)
	}
	// A block that the kill left in the write-ahead log may still come, with a checkpoint that makes the
	// submitted one stale: whoever submits does so again until there is evidence, see [Node.Submit].
	for ctx := testContext(t); ; {
		head, err := p.ask(helperRequest{Origin: l.origin})
		fatalIfErr(t, err)
		l.last = head.Checkpoint.Size
		s := l.next(t, 1)
		if _, err = p.ask(helperRequest{Submit: &s}); err == nil {
			_, err = p.ask(helperRequest{Origin: l.origin, Evidence: s.Checkpoint.Size})
		}
		if err == nil {
			check(p, s.Checkpoint.Size)
			break
		}
		t.Log("submitted again after ", err)
		fatalIfErr(t, ctx.Err())
	}
	t.Logf("%d kills, %d acknowledged anchors, %d submissions caught in between", rounds, len(acknowledged),
		unacknowledged)
	if len(acknowledged) < rounds {
		t.Error("too few anchors to mean anything")
	}
}
