package class

import (
	"context"
	"sync"
	"time"
)

// Rule is what a class demands of a record, ready to be asked often.
type Rule struct {
	Class
	Schema *Schema
}

// ByTwo reports whether two people have to agree to withdraw or replace a record under this rule:
// always where two had to agree to register it, or one of them could undo that alone. No rule
// demands nothing.
func (r *Rule) ByTwo() bool { return r != nil && (r.Approval || r.Withdrawal) }

// rules keeps what was read of agencies' classes for a moment, for intake asks with each
// record. Another server's change is seen after that.
type rules struct {
	mu       sync.Mutex
	byAgency map[string]agencyRules // guarded by mu
}

type agencyRules struct {
	until time.Time
	byID  map[string]*Rule
}

const (
	rulesFor    = 2 * time.Second
	maxAgencies = 10_000 // whose rules are kept at a time
)

func (r *rules) forget(agencyID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.byAgency, agencyID)
}

// Rule returns what an agency's class demands now; nil where the agency has no such class, and
// its records are free. A change by this server holds at once, another's within two seconds.
func (b *Book) Rule(ctx context.Context, agencyID, id string) (*Rule, error) {
	now := b.now()
	b.rules.mu.Lock()
	known, ok := b.rules.byAgency[agencyID]
	b.rules.mu.Unlock()
	if ok && now.Before(known.until) {
		return known.byID[id], nil
	}
	list, err := b.Own(ctx, agencyID, now)
	if err != nil {
		return nil, err
	}
	known = agencyRules{until: now.Add(rulesFor), byID: make(map[string]*Rule, len(list))}
	for _, c := range list {
		s, err := ParseSchema(c.Schema)
		if err != nil {
			return nil, err // it was checked when it was saved
		}
		known.byID[c.ID] = &Rule{c, s}
	}
	b.rules.mu.Lock()
	defer b.rules.mu.Unlock()
	if len(b.rules.byAgency) >= maxAgencies {
		clear(b.rules.byAgency)
	}
	b.rules.byAgency[agencyID] = known
	return known.byID[id], nil
}
