package notary

import "sync"

// Signal tells any number of waiters that something changed. A waiter takes the channel,
// looks at the state, and waits on the channel only if the state is not yet what it wants:
// so no change is missed. The zero value is ready; it is safe for concurrent use.
type Signal struct {
	mu sync.Mutex
	ch chan struct{} // guarded by mu; closed at the next change
}

// Changed returns a channel that is closed at the next [Signal.Notify].
func (s *Signal) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

// Notify wakes everybody who waits.
func (s *Signal) Notify() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}
