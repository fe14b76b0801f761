package fsck

import (
	"context"
	"errors"
	"fmt"

	"stele/notary/log/batchlog"
	"stele/notary/proof/statement"
)

// A certificate number belongs to one record. The database keeps that for its rows, but whoever
// has the log's rows and an agency's key could enter a second statement with a number, and both
// would verify: only the whole log shows it.

// numberSet holds certificate numbers as bits, 64 neighbours in a word. Numbers are handed out
// in blocks, so a million of them take less than 1 MB; if none were another's neighbour it would
// be 50 MB.
type numberSet map[uint64]uint64

// add reports whether a number was there before.
func (s numberSet) add(number uint64) bool {
	word, bit := number/64, uint64(1)<<(number%64)
	before := s[word]
	s[word] = before | bit
	return before&bit != 0
}

// serialOf is a certificate number without its check character, which follows from the rest.
func serialOf(number string) (n uint64) {
	for _, c := range []byte(number[:len(number)-2]) {
		if c != '-' {
			n = 10*n + uint64(c-'0')
		}
	}
	return n
}

// issued notes the number of an entry that issues a record.
func (c *checker) issued(index uint64, s statement.Statement) {
	if c.numbers.add(serialOf(s.Number)) && len(c.again) < c.opt.MaxFindings {
		c.again = append(c.again, later{s.Number, index})
	}
}

// later is an entry that issues a number which an earlier one has issued.
type later struct {
	number string
	index  uint64
}

// sameNumbers looks for the first entry of each number that was issued more than once. It reads
// the log once more, but only then.
func (c *checker) sameNumbers(ctx context.Context) error {
	if len(c.again) == 0 {
		return nil
	}
	first := make(map[string]uint64, len(c.again))
	wanted := make(map[string]bool, len(c.again))
	for _, l := range c.again {
		wanted[l.number] = true
	}
	end := c.again[len(c.again)-1].index
	for at := uint64(0); at < end && len(first) < len(wanted); at += chunk {
		list, err := c.rows.Entries(ctx, at, min(at+chunk, end))
		if damaged := new(batchlog.DamagedEntryError); err != nil && !errors.As(err, &damaged) {
			return fmt.Errorf("read entries: %w", err)
		}
		for i, e := range list {
			s, err := statement.Parse(e.Statement)
			if _, known := first[s.Number]; err == nil && s.Action == statement.Issue && wanted[s.Number] && !known {
				first[s.Number] = at + uint64(i)
			}
		}
	}
	for _, l := range c.again {
		c.find("number", l.index, l.number, "entry %d issues a number that entry %d has issued before: "+
			"two documents under one number", l.index, first[l.number])
	}
	return nil
}
