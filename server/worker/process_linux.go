package worker

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

// niceness of a child is the most there is: whoever waits for the service itself comes first.
const niceness = 19

// subdue gives a process less of the processors than others that want them. It is a courtesy: where
// it is refused, the child runs all the same.
func subdue(pid int) { _ = syscall.Setpriority(syscall.PRIO_PROCESS, pid, niceness) }

// restrict takes from a child what it does not need: files it could write, and processor time
// beyond any task, so that it ends also where the process that started it is gone.
func restrict() {
	for what, most := range map[int]uint64{syscall.RLIMIT_FSIZE: 0, syscall.RLIMIT_CORE: 0, syscall.RLIMIT_CPU: 15} {
		_ = syscall.Setrlimit(what, &syscall.Rlimit{Cur: most, Max: most})
	}
}

// watch kills a process that takes more memory of its own than it may. Pages that it shares with
// others, such as the program, do not count.
func watch(p *os.Process, most int64, fat *atomic.Bool, done <-chan struct{}) {
	page := int64(os.Getpagesize())
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.Pid)) // size resident shared …
		f := bytes.Fields(stat)
		if err != nil || len(f) < 3 {
			return // it has ended
		}
		resident, _ := strconv.ParseInt(string(f[1]), 10, 64)
		shared, _ := strconv.ParseInt(string(f[2]), 10, 64)
		if (resident-shared)*page > most {
			fat.Store(true)
			_ = p.Kill() // it may have ended by itself
			return
		}
	}
}
