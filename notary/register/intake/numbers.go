package intake

import (
	"context"
	"sync"

	"stele/notary"
)

// blockSize is how many serials are reserved at once. A crash loses the rest of a block:
// numbers may have gaps, and gaps tell nothing about how many records there are.
const blockSize = 1000

// numberBlocks hands out certificate numbers from reserved blocks.
type numberBlocks struct {
	reserve func(ctx context.Context, region string, year, n int) (uint64, error)

	mu     sync.Mutex
	blocks map[regionYear]*block // guarded by mu
}

type regionYear struct {
	region string
	year   int
}

type block struct{ next, end uint64 }

func (n *numberBlocks) next(ctx context.Context, region string, year int) (string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.blocks == nil {
		n.blocks = map[regionYear]*block{}
	}
	k := regionYear{region, year}
	b := n.blocks[k]
	if b == nil || b.next == b.end {
		first, err := n.reserve(ctx, region, year, blockSize)
		if err != nil {
			return "", storeDown(err)
		}
		b = &block{first, first + blockSize}
		n.blocks[k] = b
	}
	serial := b.next
	if serial > notary.MaxSerial {
		return "", notary.Errorf(notary.CodeUnavailable,
			"The certificate numbers of region %s for this year are used up.", region)
	}
	b.next++
	return notary.FormatNumber(region, year, serial)
}
