package pdf

import "fmt"

// What reading one file may cost. Steps are about a tenth of a microsecond each: an object that
// is read is one, and so are 16 bytes that are looked at. All of it is bounded by the size of the
// file times a constant, so that a small file cannot be made to cost what a large one does; the
// first part is what small honest files need.
const (
	fewestSteps   = 2 << 20 // and stepsPerByte for each byte of the file
	stepsPerByte  = 16
	mostSteps     = 32 << 20
	leastMemory   = 8 << 20 // bytes of objects that are kept, and memoryPerByte for each byte of the file
	memoryPerByte = 32
	mostMemory    = 48 << 20
	leastUnpacked = 8 << 20 // bytes that streams unpack to, all together, and unpackedPerByte for each
	unpackPerByte = 64
	mostUnpacked  = 64 << 20
	mostOfStream  = 32 << 20 // bytes that one stream unpacks to
)

// Budget is what may still be spent on one file. Nothing of it comes back: what is read twice is
// paid twice. When one part is used up, reading ends with [ErrTooLarge].
type Budget struct {
	steps, memory, unpacked int
	err                     error
}

func newBudget(size int) *Budget {
	within := func(least, each, most int) int { return min(least+each*size, most) }
	return &Budget{
		steps:    within(fewestSteps, stepsPerByte, mostSteps),
		memory:   within(leastMemory, memoryPerByte, mostMemory),
		unpacked: within(leastUnpacked, unpackPerByte, mostUnpacked),
	}
}

// Err returns why reading was given up, or nil: what was read before is then not all.
func (b *Budget) Err() error { return b.err }

// Take spends steps; false when there are too few left.
func (b *Budget) Take(steps int) bool {
	if b.steps -= steps; b.steps < 0 {
		b.fail("reading it takes too many steps")
	}
	return b.err == nil
}

// Hold spends memory, in bytes, on what is kept as long as the file is.
func (b *Budget) Hold(bytes int) bool {
	if b.memory -= bytes; b.memory < 0 {
		b.fail("it has too many objects")
	}
	return b.err == nil
}

// unpack spends bytes that a stream unpacked to.
func (b *Budget) unpack(bytes int) bool {
	if b.unpacked -= bytes; b.unpacked < 0 {
		b.fail(fmt.Sprintf("its streams unpack to more than %d times its size, or %d MiB",
			unpackPerByte, mostUnpacked>>20))
	}
	return b.err == nil
}

func (b *Budget) fail(why string) {
	if b.err == nil {
		b.err = fmt.Errorf("%w: %s", ErrTooLarge, why)
	}
}

// About how many bytes objects take in memory.
const (
	numberWeight = 8
	valueWeight  = 32
	slotWeight   = 24 // of an array, with room to grow
	dictWeight   = 320
	entryWeight  = 32 // of a dictionary, beside its value and its name
)

// weight is about how many bytes an object takes in memory, as [Lexer] counts it while it reads.
func weight(o Object) int {
	n := valueWeight
	switch v := o.(type) {
	case int64, float64, bool, nil:
		return numberWeight
	case String:
		n += len(v)
	case Name:
		n += len(v)
	case Keyword:
		n += len(v)
	case Array:
		for _, e := range v {
			n += slotWeight + weight(e)
		}
	case Dict:
		n += dictWeight
		for k, e := range v {
			n += entryWeight + weight(k) + weight(e)
		}
	case *Stream:
		n += weight(v.Dict)
	}
	return n
}

// giveBack returns the memory of an object that is not kept after all.
func (b *Budget) giveBack(o Object) { b.memory += max(0, weight(o)-valueWeight) }
