package vmap

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"stele/crypto/sm"
)

// refRoot is the definition in the package comment, word for word, over entries in any order.
func refRoot(h hashFunc, entries map[sm.Digest]sm.Digest, bit int) sm.Digest {
	if len(entries) == 0 {
		return h()
	}
	if len(entries) == 1 {
		for k, v := range entries {
			return h([]byte{0, 32}, k[:], []byte{32}, v[:])
		}
	}
	sides := [2]map[sm.Digest]sm.Digest{{}, {}}
	for k, v := range entries {
		sides[k[bit/8]>>(7-bit%8)&1][k] = v
	}
	if len(sides[0]) == 0 || len(sides[1]) == 0 { // no key differs here
		return refRoot(h, entries, bit+1)
	}
	at := []byte{1, byte(bit)}
	if bit >= 128 {
		at = []byte{1, byte(bit) | 0x80, byte(bit >> 7)}
	}
	left, right := refRoot(h, sides[0], bit+1), refRoot(h, sides[1], bit+1)
	return h(at, left[:], right[:])
}

func sum256(parts ...[]byte) sm.Digest { return sha256.Sum256(bytes.Join(parts, nil)) }

func entriesOf(h hashFunc, n int) (out []Entry) {
	for i := range n {
		out = append(out, Entry{h([]byte(fmt.Sprint("key ", i))), h([]byte(fmt.Sprint("value ", i)))})
	}
	return out
}

func mapOf(entries []Entry) map[sm.Digest]sm.Digest {
	out := map[sm.Digest]sm.Digest{}
	for _, e := range entries {
		out[e.Key] = e.Value
	}
	return out
}

// The shape is that of filippo.io/torchwood/mpt v0.10.0, whose MemTree gave these roots for the
// SHA-256 digests of "key 0", "value 0" and so on.
func TestShapeIsTorchwoods(t *testing.T) {
	for n, want := range map[int]string{
		0:    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		1:    "447c6637d7cb7675803a9d92c631d79093aa7238558c1409e48541a7d978dfbd",
		2:    "f27e303203d41ea3ca76023912af93dd968bc4a3d135d436548041ad63d45117",
		3:    "0d20c2749effbbf78f08f9b01e18893b0d58bb2c1950d1448f931294489b3f3f",
		10:   "22b64af4d9d157faab1fcd36ed229f6339e26c2f2d7e4867949f3f36c1c29c95",
		257:  "166e4a8db9d72752b84a197d65e923faab0cb72bf696dd0dba321f0fe74b2d81",
		1000: "051e62c8ab2f4f004c0a52daba3aad40e92cb2ebfd057fc13c6d25b7132a1d9d",
	} {
		t.Run(fmt.Sprint(n, " keys"), func(t *testing.T) {
			if got := refRoot(sum256, mapOf(entriesOf(sum256, n)), 0); got.String() != want {
				t.Errorf("root %s, want %s", got, want)
			}
		})
	}
}

// keys are few, and many of them share long beginnings.
func drawEntry(t *rapid.T) Entry {
	var e Entry
	for i := range e.Key {
		e.Key[i] = rapid.SampledFrom([]byte{0, 0, 0, 1, 0x80, 0xff}).Draw(t, "byte")
	}
	e.Value[0] = rapid.Byte().Draw(t, "value")
	return e
}

func TestMapAgainstReference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m Map
		want := map[sm.Digest]sm.Digest{}
		for range rapid.IntRange(0, 6).Draw(t, "rounds") {
			before, root := m, m.Root()
			entries := rapid.SliceOfN(rapid.Custom(drawEntry), 0, 8).Draw(t, "entries")
			given := slices.Clone(entries)
			m = m.Put(entries...)
			if !slices.Equal(entries, given) {
				t.Fatal("Put changed its arguments")
			}
			for _, e := range entries {
				want[e.Key] = e.Value
			}
			if before.Root() != root {
				t.Fatal("a map has changed")
			}
		}
		if got := m.Root(); got != refRoot(sm.Sum, want, 0) {
			t.Fatalf("root of %d entries differs from the reference", len(want))
		}
		if m.Size() != len(want) || !maps.Equal(mapOf(slices.Collect(m.All())), want) {
			t.Fatalf("%d entries, want %d", m.Size(), len(want))
		}
		if !slices.IsSortedFunc(slices.Collect(m.All()),
			func(a, b Entry) int { return bytes.Compare(a.Key[:], b.Key[:]) }) {
			t.Fatal("entries are not in the order of their keys")
		}
		asked := rapid.Custom(drawEntry).Draw(t, "asked")
		for _, e := range append(slices.Collect(m.All()), asked) {
			checkProof(t, m, e.Key)
		}
	})
}

// checkProof makes a key's proof and shows that it says what the map holds, and nothing else.
func checkProof(t rapid.TB, m Map, key sm.Digest) {
	root, p := m.Root(), m.Prove(key)
	encoded := p.Encode()
	again, err := ParseProof(encoded)
	if err != nil || !bytes.Equal(again.Encode(), encoded) {
		t.Fatalf("the encoding does not come back: %v", err)
	}
	value, there := m.Get(key)
	if p.Present() != there {
		t.Fatalf("present %v, want %v", p.Present(), there)
	}
	if there {
		err = again.Verify(root, key, value)
	} else {
		err = again.VerifyAbsent(root, key)
	}
	if err != nil {
		t.Fatalf("a good proof is refused: %v", err)
	}
	other := value
	other[31]++
	wrongRoot := root
	wrongRoot[0]++
	for what, err := range map[string]error{
		"another value": again.Verify(root, key, other), "another root": again.Verify(wrongRoot, key, value),
		"another root, absent": again.VerifyAbsent(wrongRoot, key),
	} {
		if !errors.Is(err, ErrProof) {
			t.Fatalf("%s: %v", what, err)
		}
	}
	if there && !errors.Is(again.VerifyAbsent(root, key), ErrProof) || !there &&
		!errors.Is(again.Verify(root, key, value), ErrProof) {
		t.Fatal("a proof shows both")
	}
}

// No change of a byte makes a proof that shows something else: it is no proof, or does not hold.
func TestEveryByteOfAProofCounts(t *testing.T) {
	m := Map{}.Put(entriesOf(sm.Sum, 100)...)
	root := m.Root()
	for name, key := range map[string]sm.Digest{"present": sm.Sum([]byte("key 7")),
		"absent": sm.Sum([]byte("no key"))} {
		t.Run(name, func(t *testing.T) {
			value, _ := m.Get(key)
			good := m.Prove(key).Encode()
			for i := range good {
				for bit := range 8 {
					bad := slices.Clone(good)
					bad[i] ^= 1 << bit
					p, err := ParseProof(bad)
					if err != nil {
						continue
					}
					if p.Verify(root, key, value) == nil || p.VerifyAbsent(root, key) == nil {
						t.Errorf("bit %d of byte %d changes nothing", bit, i)
					}
				}
			}
			for _, bad := range [][]byte{nil, good[:len(good)-1], append(slices.Clone(good), 0)} {
				if _, err := ParseProof(bad); !errors.Is(err, ErrFormat) {
					t.Errorf("%d bytes: %v", len(bad), err)
				}
			}
		})
	}
}

// An operator who may build any tree cannot show a value of a key and its absence under one root.
func TestCraftedTreeShowsOneThing(t *testing.T) {
	key, value := sm.Sum([]byte("key")), sm.Sum([]byte("value"))
	hidden := leafHash(sm.Sum, Entry{key, value})
	for bit := range KeyBits {
		// The key's leaf stands on one side, the leaf of a key that differs at this bit on the other.
		other := Entry{key, value}
		other.Key[bit/8] ^= 0x80 >> (bit % 8)
		beside := leafHash(sm.Sum, other)
		children := [2]sm.Digest{}
		children[bitOf(key, bit)], children[1-bitOf(key, bit)] = hidden, beside
		root := nodeHash(sm.Sum, bit, children[0], children[1])
		shown := Proof{steps: []step{{byte(bit), beside}}}
		if err := shown.Verify(root, key, value); err != nil {
			t.Fatal(err)
		}
		denied := Proof{steps: []step{{byte(bit), hidden}}, end: endOther, other: other}
		if err := denied.VerifyAbsent(root, key); !errors.Is(err, ErrProof) {
			t.Errorf("bit %d: both are shown", bit)
		}
		self := Proof{steps: shown.steps, end: endOther, other: Entry{key, value}}
		if err := self.VerifyAbsent(root, key); !errors.Is(err, ErrProof) {
			t.Errorf("bit %d: the key's own leaf shows its absence", bit)
		}
	}
}

func FuzzProof(f *testing.F) {
	m := Map{}.Put(entriesOf(sm.Sum, 20)...)
	root, key := m.Root(), sm.Sum([]byte("key 3"))
	value, _ := m.Get(key)
	absent := sm.Sum([]byte("no key"))
	f.Add(m.Prove(key).Encode())
	f.Add(m.Prove(absent).Encode())
	f.Add(Map{}.Prove(key).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParseProof(b)
		if err != nil {
			return
		}
		if !bytes.Equal(p.Encode(), b) {
			t.Fatal("two encodings of one proof")
		}
		if p.VerifyAbsent(root, key) == nil {
			t.Fatal("a key that is present was shown to be absent")
		}
		if p.Verify(root, absent, value) == nil {
			t.Fatal("a key that is absent was shown to be present")
		}
	})
}

func BenchmarkMillion(b *testing.B) {
	entries := entriesOf(sm.Sum, 1_001_000)
	b.Run("build", func(b *testing.B) {
		for b.Loop() {
			Map{}.Put(entries[:1_000_000]...)
		}
	})
	m := Map{}.Put(entries[:1_000_000]...)
	b.Run("put 1,000", func(b *testing.B) {
		for b.Loop() {
			m.Put(entries[1_000_000:]...)
		}
	})
	b.Run("prove", func(b *testing.B) {
		for b.Loop() {
			m.Prove(entries[1_000_500].Key)
		}
	})
	b.Run("verify", func(b *testing.B) {
		p, root := m.Prove(entries[500].Key), m.Root()
		for b.Loop() {
			if err := p.Verify(root, entries[500].Key, entries[500].Value); err != nil {
				b.Fatal(err)
			}
		}
	})
}
