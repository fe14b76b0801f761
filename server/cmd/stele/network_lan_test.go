package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stele/server/node"
)

// link is what happens to packets from one host to another. Packets keep their order.
type link struct {
	delay  time.Duration // one way
	jitter time.Duration // at most so much is added, at random by packet
	loss   float64       // share of the packets that vanish; 1 is a cut
}

// wiring says how each host reaches each other; hosts are counted from 1.
type wiring func(from, to int) link

// everywhere is the same link between all hosts.
func everywhere(l link) wiring { return func(int, int) link { return l } }

// apart cuts hosts off from those that are not named, in both directions.
func (w wiring) apart(away ...int) wiring {
	return func(from, to int) link {
		if slices.Contains(away, from) != slices.Contains(away, to) {
			return link{loss: 1}
		}
		return w(from, to)
	}
}

// mute lets a host hear, but not be heard.
func (w wiring) mute(host int) wiring {
	return func(from, to int) link {
		if from == host {
			return link{loss: 1}
		}
		return w(from, to)
	}
}

const lanHosts = 4

// lanAddress is where the node of a host listens.
func lanAddress(host int) string { return fmt.Sprintf("10.77.0.%d:26656", host) }

// lan is four hosts, each in a network namespace of its own, whose only device leads to this
// process. It hands IP packets on as the wiring says: the kernels' TCP meets what it would meet
// on such lines. A namespace has no name: it ends with the last that holds it.
//
// Where a machine gives no namespaces the hosts share its network, and [relays] stand between them.
type lan struct {
	hosts  [lanHosts]*lanHost
	wired  atomic.Pointer[wiring]
	lost   atomic.Int64 // packets that vanished
	moved  atomic.Int64 // packets that were handed on
	wg     sync.WaitGroup
	relays *relays // nil where there are namespaces
}

// lanHost is a namespace and its device; both nil where there are relays.
type lanHost struct{ space, device *os.File }

func newLAN(t *testing.T) *lan {
	t.Helper()
	l := &lan{hosts: [lanHosts]*lanHost{{}, {}, {}, {}}}
	l.rewire(everywhere(link{}))
	t.Cleanup(l.wg.Wait)
	for i, h := range l.hosts {
		err := h.do(func() error { return h.isolate(i + 1) })
		if errors.Is(err, unix.EPERM) || slices.ContainsFunc([]error{unix.EACCES, unix.ENOENT, unix.ENODEV, unix.ENXIO,
			unix.ENOSYS}, func(e error) bool { return errors.Is(err, e) }) {
			t.Logf("relays instead of hosts of their own: no network namespaces or no TUN devices here: %v", err)
			l.hosts = [lanHosts]*lanHost{{}, {}, {}, {}}
			l.relays = newRelays(t, l)
			return l
		}
		fatalIfErr(t, err)
		t.Cleanup(func() { _, _ = h.space.Close(), h.device.Close() }) // ends its reader, and that the queues
	}
	for i := range l.hosts {
		l.wg.Go(func() { l.carry(i + 1) })
	}
	return l
}

// attach has the nodes of a network run on the hosts, each started by begin on a thread in its host's network.
func (l *lan) attach(h *hosts, begin func(host int, cmd *exec.Cmd) error) {
	h.start = func(name string, cmd *exec.Cmd) error {
		i := slices.Index(h.names, name)
		if l.relays != nil {
			cmd.Args = append(cmd.Args, "--p2p-listen", l.relays.listen[i])
		}
		return l.hosts[i].do(func() error { return begin(i+1, cmd) })
	}
	if l.relays != nil {
		for i, name := range h.names {
			l.relays.introduce(h.t, i, node.Home(filepath.Join(h.dir, name)))
		}
	}
}

func (l *lan) link(from, to int) link { return (*l.wired.Load())(from, to) }

// travel is how long a packet is on its way.
func (k link) travel() time.Duration {
	if k.jitter == 0 {
		return k.delay
	}
	return k.delay + rand.N(k.jitter)
}

// rewire changes all links at once; packets on their way are handed over.
func (l *lan) rewire(w wiring) { l.wired.Store(&w) }

const threadSpace = "/proc/thread-self/ns/net"

// do calls f on a thread in the host's network: a process that it starts is born there. The
// thread goes back afterwards. It must not end instead: with it would end the processes that
// others have started from it, which are to die with their parent.
func (h *lanHost) do(f func() error) (err error) {
	runtime.LockOSThread()
	home, err := os.Open(threadSpace)
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer func() {
		if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); h.space != nil && back != nil {
			panic(back) // nothing may run on this thread any more
		}
		runtime.UnlockOSThread()
		err = errors.Join(err, home.Close())
	}()
	if h.space != nil {
		if err := unix.Setns(int(h.space.Fd()), unix.CLONE_NEWNET); err != nil {
			return err
		}
	}
	return f()
}

// isolate puts this thread into a new network and makes its device.
func (h *lanHost) isolate(host int) (err error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if h.space, err = os.Open(threadSpace); err != nil {
		return err
	}
	const path, name = "/dev/net/tun", "lan0"
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	for _, call := range []struct {
		fd, number int
		set        func(*unix.Ifreq) error
	}{
		{fd, unix.TUNSETIFF, flags(unix.IFF_TUN | unix.IFF_NO_PI)},
		{socket, unix.SIOCSIFADDR, inet4(10, 77, 0, byte(host))},
		{socket, unix.SIOCSIFNETMASK, inet4(255, 255, 255, 0)},
		{socket, unix.SIOCSIFFLAGS, flags(unix.IFF_UP | unix.IFF_RUNNING)},
	} {
		r, err := unix.NewIfreq(name)
		if err == nil {
			err = call.set(r)
		}
		if err == nil {
			err = unix.IoctlIfreq(call.fd, uint(call.number), r)
		}
		if err != nil {
			return fmt.Errorf("%s: %#x: %w", path, call.number, err)
		}
	}
	h.device = os.NewFile(uintptr(fd), path) // only now: a device without a name cannot be waited for
	return nil
}

func flags(v uint16) func(*unix.Ifreq) error {
	return func(r *unix.Ifreq) error { r.SetUint16(v); return nil }
}

func inet4(a ...byte) func(*unix.Ifreq) error {
	return func(r *unix.Ifreq) error { return r.SetInet4Addr(a) }
}

// packet is on its way until due.
type packet struct {
	data []byte
	due  time.Time
}

// lineRoom is how many packets fit on a link; more are lost, as on any line that is full.
const lineRoom = 4096

// carry takes what a host sends, and puts it on the link to where it goes.
func (l *lan) carry(from int) {
	var lines [lanHosts]chan packet
	var due [lanHosts]time.Time
	for i := range lines {
		lines[i] = make(chan packet, lineRoom)
		l.wg.Go(func() {
			for p := range lines[i] {
				time.Sleep(time.Until(p.due))          // the line's length
				_, _ = l.hosts[i].device.Write(p.data) // a host that is gone takes nothing
			}
		})
		defer close(lines[i])
	}
	for buf := make([]byte, 1<<16); ; {
		n, err := l.hosts[from-1].device.Read(buf)
		if err != nil {
			return
		}
		// Destination address: RFC 791, 3.1. What is not for a host of ours is the kernel's own
		// chatter, of IPv6 and of multicast.
		if n < 20 || buf[0]>>4 != 4 || !bytes.HasPrefix(buf[16:n], []byte{10, 77, 0}) || buf[19] < 1 ||
			int(buf[19]) > lanHosts {
			continue
		}
		to := int(buf[19])
		k := l.link(from, to)
		if rand.Float64() < k.loss {
			l.lost.Add(1)
			continue
		}
		at := time.Now().Add(k.travel())
		if at.Before(due[to-1]) {
			at = due[to-1] // behind the one before
		}
		due[to-1] = at
		select {
		case lines[to-1] <- packet{slices.Clone(buf[:n]), at}:
			l.moved.Add(1)
		default:
			l.lost.Add(1)
		}
	}
}
