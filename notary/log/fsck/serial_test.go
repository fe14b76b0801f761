package fsck

import (
	"runtime"
	"testing"

	"pgregory.net/rapid"

	"stele/notary"
)

// Numbers that differ are told apart, those of neighbours and of other regions and years.
func TestNumberSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set, seen := numberSet{}, map[string]bool{}
		for range rapid.IntRange(1, 200).Draw(t, "n") {
			region := rapid.SampledFrom([]string{"420100", "000000", "999999"}).Draw(t, "region")
			serial := rapid.Uint64Range(0, 130).Draw(t, "serial")
			serial *= rapid.SampledFrom([]uint64{1, 760_000}).Draw(t, "apart")
			number, err := notary.FormatNumber(region, rapid.IntRange(2026, 2028).Draw(t, "year"), serial)
			if err != nil {
				t.Fatal(err)
			}
			if set.add(serialOf(number)) != seen[number] {
				t.Fatalf("%s: seen before: %v", number, seen[number])
			}
			seen[number] = true
		}
	})
}

// A million numbers, as blocks give them out, take less than a megabyte.
func TestNumberSetIsSmall(t *testing.T) {
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, set := heap(), numberSet{}
	for i := range uint64(1_000_000) {
		if set.add(420100_2026_00000000 + i) {
			t.Fatal(i)
		}
	}
	if took := int64(heap()) - int64(before); took > 1<<20 {
		t.Errorf("%d KiB", took>>10)
	}
	runtime.KeepAlive(set)
}
