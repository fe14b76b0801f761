package main

import (
	"crypto/rand"
	"strings"
	"time"

	"stele/crypto/sm"
	"stele/crypto/vmap"
)

// statusMap measures the map of a log that has ended a million records: what a status statement after a thousand more
// costs, and what a proof in it costs. It takes about 400 MB of memory and some seconds, so it comes once.
func (b *bench) statusMap() error {
	const name, before, more = "status map of 1,000,000 keys", 1_000_000, 1_000
	if !strings.Contains(name, b.cmd.Only) {
		return nil
	}
	random := make([]byte, (before+more)*sm.DigestSize)
	if _, err := rand.Read(random); err != nil {
		return err
	}
	entries := make([]vmap.Entry, before+more)
	for i := range entries {
		key := sm.Digest(random[i*sm.DigestSize:])
		entries[i] = vmap.Entry{Key: key, Value: sm.Sum(key[:])}
	}
	m := vmap.Map{}.Put(entries[:before]...)
	m.Root()
	for range b.cmd.Rounds {
		start := time.Now()
		changed := m.Put(entries[before:]...)
		changed.Root()
		b.add(name+", 1,000 more", "ms", float64(time.Since(start).Microseconds())/1e3)
		proofs, err := rate(func() error { changed.Prove(entries[before].Key); return nil })
		if err != nil {
			return err
		}
		b.add(name+", a proof", "µs", 1e6/proofs)
	}
	return nil
}
