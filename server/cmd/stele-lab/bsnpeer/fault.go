package bsnpeer

import (
	"fmt"
	"slices"
	"strings"
)

// Fault is one way in which a gateway can fail its client.
type Fault string

// The faults.
const (
	WrongMac  Fault = "wrong-mac"  // the answer is signed with another key
	EmptyMac  Fault = "empty-mac"  // the answer is not signed
	Replayed  Fault = "replayed"   // the last answer to the same call, whatever was asked then
	Stale     Fault = "stale"      // the first answer that was ever given to this question
	Timeout   Fault = "timeout"    // transactions have the status -1
	Broken    Fault = "broken"     // HTTP 502 in place of being carried out
	Lost      Fault = "lost"       // carried out, then HTTP 502
	Hang      Fault = "hang"       // carried out, then no answer until the client leaves
	Truncated Fault = "truncated"  // carried out, then half of the answer
	Oversized Fault = "oversized"  // carried out, then an answer of many megabytes
	QueueFull Fault = "queue-full" // refused: more requests than were bought
	Dropped   Fault = "dropped"    // a submission is accepted and never comes into a block
	Slow      Fault = "slow"       // carried out after Config.Latency
	Conflict  Fault = "conflict"   // a submission comes into a block without effect (MVCC)
)

// Faults is all of them.
var Faults = []Fault{WrongMac, EmptyMac, Replayed, Stale, Timeout, Broken, Lost, Hang, Truncated, Oversized, QueueFull,
	Dropped, Slow, Conflict}

// ParseFault reads the name of a fault.
func ParseFault(s string) (Fault, error) {
	if f := Fault(s); slices.Contains(Faults, f) {
		return f, nil
	}
	return "", fmt.Errorf("%q is no fault of the peer; there are %s", s, strings.Trim(fmt.Sprint(Faults), "[]"))
}

// Inject makes a fault happen to each nth of the requests from now on; n is 1 or more. It
// takes the place of the fault before; an empty one makes the peer work.
func (p *Peer) Inject(f Fault, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault, p.every, p.count = f, max(n, 1), 0
}

// next is the fault that the next request meets. The caller holds mu.
func (p *Peer) next() Fault {
	if p.fault == "" {
		return ""
	}
	p.count++
	if p.count%p.every != 0 {
		return ""
	}
	return p.fault
}
