package storagetest

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"
)

// BenchmarkPutOnceAll stores batches of 100 objects of 8 KiB, as a log does with its tiles.
func BenchmarkPutOnceAll(b *testing.B, s Store) {
	const count, size = 100, 8 << 10
	data := bytes.Repeat([]byte("t"), size)
	batch := 0
	b.SetBytes(count * size)
	for b.Loop() {
		objects := make(map[string][]byte, count)
		for n := range count {
			objects[fmt.Sprintf("tile/%d/x%03d/%03d", n%2, batch, n)] = data
		}
		if err := s.PutOnceAll(b.Context(), objects); err != nil {
			b.Fatal(err)
		}
		batch++
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/batch")
}

// BenchmarkCreate streams documents of 1 GiB of unknown size and reports the heap's peak.
func BenchmarkCreate(b *testing.B, s Store) {
	const size = 1 << 30
	b.SetBytes(size)
	var peak int64
	for n := 0; b.Loop(); n++ {
		key := fmt.Sprintf("doc/%d", n)
		watch := watchHeap(pattern(size))
		watch.every = 64 << 20
		if _, err := s.Create(b.Context(), key, watch, -1); err != nil {
			b.Fatal(err)
		}
		peak = max(peak, watch.peak-watch.base)
		if err := s.Delete(b.Context(), key); err != nil {
			b.Fatal(err)
		}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(peak)/(1<<20), "heap-MiB")
	b.ReportMetric(float64(m.Sys)/(1<<20), "sys-MiB")
}
