package tail

import (
	"context"
	"fmt"
	"strings"

	"stele/crypto/sm"
	"stele/notary"
)

// shardsOf are the folders of the stretches that may cover an index from first up to end: one may
// begin up to maxCount before.
func shardsOf(first, end uint64) (out []string) {
	for at := (first - min(first, maxCount)) >> shardBits; at<<shardBits < end; at++ {
		out = append(out, shard(at<<shardBits))
	}
	return out
}

// names lists stretches below prefixes, in the order of their first index.
func names(ctx context.Context, objects Objects, prefixes ...string) ([]Name, error) {
	var out []Name
	for _, prefix := range prefixes {
		err := objects.List(ctx, prefix, func(o notary.Object) error {
			if n, err := ParseName(o.Key); err == nil {
				out = append(out, n)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("list the tail: %w", err)
		}
	}
	return out, nil
}

// gaps are the runs between two indexes that no stretch covers. names are in the order of First.
func gaps(names []Name, from, end uint64) (out []Name) {
	for _, n := range names {
		if n.First > from && from < end {
			out = append(out, Name{First: from, Count: min(n.First, end) - from})
		}
		from = max(from, n.End())
	}
	if from < end {
		out = append(out, Name{First: from, Count: end - from})
	}
	return out
}

// Newest is the index after the last entry that the tail holds, as far as that is beyond received;
// else received or less. It looks at what begins near there, and goes on where there is more.
func Newest(ctx context.Context, objects Objects, received uint64) (uint64, error) {
	newest := uint64(0)
	for at := (received - min(received, maxCount)) >> shardBits; ; at++ {
		list, err := names(ctx, objects, shard(at<<shardBits))
		if err != nil {
			return 0, err
		}
		for _, n := range list {
			newest = max(newest, n.End())
		}
		if len(list) == 0 && at<<shardBits > received {
			return newest, nil
		}
	}
}

// Reader reads a tail for who restores a database.
type Reader struct {
	objects Objects
	sealer  *Sealer
}

// NewReader returns a reader.
func NewReader(objects Objects, sealer *Sealer) *Reader { return &Reader{objects, sealer} }

// From lists the stretches that reach beyond an index, in the order of their first one; of those that
// were replaced only the last.
func (r *Reader) From(ctx context.Context, index uint64) ([]Name, error) {
	all, err := names(ctx, r.objects, EntriesPrefix)
	if err != nil {
		return nil, err
	}
	var out []Name
	for _, n := range all {
		if n.End() <= index {
			continue
		}
		if last := len(out) - 1; last >= 0 && out[last].First == n.First && out[last].Count == n.Count {
			out[last] = n
			continue
		}
		out = append(out, n)
	}
	return out, nil
}

// Stretch reads one.
func (r *Reader) Stretch(ctx context.Context, n Name) (Stretch, error) {
	t := Tail{objects: r.objects, opt: Options{Sealer: r.sealer}}
	return t.read(ctx, n)
}

// Agency reads the agency of a certificate; [notary.ErrObjectNotFound] where the tail has none.
func (r *Reader) Agency(ctx context.Context, fingerprint sm.Digest) (a Agency, err error) {
	err = r.small(ctx, agenciesPrefix+fingerprint.String(), &a)
	if err == nil && (len(a.Chain) == 0 || sm.Sum(a.Chain[0]) != fingerprint || a.ID == "") {
		err = fmt.Errorf("agency of certificate %s: %w", fingerprint, ErrFormat)
	}
	return a, err
}

// Erasures lists what was erased, the first first.
func (r *Reader) Erasures(ctx context.Context) (out []Erased, err error) {
	err = r.objects.List(ctx, ErasuresPrefix, func(o notary.Object) error {
		var e Erased
		if err := r.small(ctx, o.Key, &e); err != nil {
			return err
		}
		if strings.TrimPrefix(o.Key, ErasuresPrefix) != e.ID {
			return fmt.Errorf("%s: %w", o.Key, ErrFormat)
		}
		out = append(out, e)
		return nil
	})
	return out, err
}

func (r *Reader) small(ctx context.Context, key string, v any) error {
	data, err := r.objects.Get(ctx, key, maxAgencyObject)
	if err != nil {
		return err
	}
	text, err := r.sealer.open(key, data)
	if err != nil {
		return err
	}
	if err := decode(text, v); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}
