package bsnpeer

import (
	"bufio"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"slices"
	"time"

	"stele/notary/proof/bsnproof/gateway"
)

// transaction is one in the pool or in a block.
type transaction struct {
	gateway.BlockTransaction
	Key  string `json:"key"`
	Data string `json:"data"`          // JSON of gateway.StoredData
	Row  int64  `json:"row,omitempty"` // FISCO BCOS: base_key of the row
}

// block is as it lies in the file, one a line.
type block struct {
	Number       uint64        `json:"number"`
	Hash         string        `json:"hash"`
	Previous     string        `json:"previous"`
	Size         uint64        `json:"size"`
	Transactions []transaction `json:"transactions"`
}

// ledger is one channel with the base chaincode on it. Its owner guards it.
type ledger struct {
	blocks   []block
	state    map[string]string // baseKey to stored data
	where    map[string]uint64 // transaction to block
	pool     []transaction
	cutAt    time.Time // of the pool, when there is one
	maxDelay time.Duration
	path     string // "" keeps nothing
}

// openLedger reads the blocks that are kept at path, or begins with block 0.
func openLedger(path string, maxDelay time.Duration) (*ledger, error) {
	l := &ledger{state: map[string]string{}, where: map[string]uint64{}, maxDelay: maxDelay, path: path}
	f, err := os.Open(path)
	if path == "" || errors.Is(err, fs.ErrNotExist) {
		return l, l.add(nil)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for in := bufio.NewReader(f); ; {
		line, err := in.ReadBytes('\n')
		if err != nil {
			break // a last line without its end was being written when the peer stopped
		}
		var b block
		if err := json.Unmarshal(line, &b); err != nil {
			return nil, fmt.Errorf("%s: block %d: %w", path, len(l.blocks), err)
		}
		l.apply(b)
	}
	if len(l.blocks) == 0 {
		return l, l.add(nil)
	}
	return l, nil
}

// header is what a block's hash is over.
type header struct {
	Number   *big.Int
	Previous []byte
	Data     []byte
}

// add puts transactions into a block and keeps it.
func (l *ledger) add(list []transaction) error {
	data, err := json.Marshal(list)
	if err != nil {
		return err
	}
	b := block{Number: uint64(len(l.blocks)), Transactions: list, Size: uint64(len(data))}
	previous := make([]byte, sha256.Size)
	if n := len(l.blocks); n > 0 {
		b.Previous = l.blocks[n-1].Hash
		previous, _ = hex.DecodeString(b.Previous)
	}
	dataHash := sha256.Sum256(data)
	der, err := asn1.Marshal(header{new(big.Int).SetUint64(b.Number), previous, dataHash[:]})
	if err != nil {
		return err
	}
	hash := sha256.Sum256(der)
	b.Hash = hex.EncodeToString(hash[:])
	if err := l.keep(b); err != nil {
		return err
	}
	l.apply(b)
	return nil
}

func (l *ledger) keep(b block) error {
	if l.path == "" {
		return nil
	}
	line, err := json.Marshal(b)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Close())
}

func (l *ledger) apply(b block) {
	l.blocks = append(l.blocks, b)
	for _, t := range b.Transactions {
		l.where[t.TxID] = b.Number
		if t.Status == gateway.StatusValid {
			l.state[t.Key] = t.Data
		}
	}
}

// submit takes an endorsed transaction into the pool.
func (l *ledger) submit(t transaction, now time.Time) {
	if len(l.pool) == 0 {
		l.cutAt = now.Add(l.maxDelay)
	}
	l.pool = append(l.pool, t)
}

// cut makes a block of the pool once it is due. The second of two transactions that found the
// same key absent is void.
func (l *ledger) cut(now time.Time) error {
	if len(l.pool) == 0 || now.Before(l.cutAt) {
		return nil
	}
	fresh := map[string]bool{}
	for i := range l.pool {
		t := &l.pool[i]
		_, there := l.state[t.Key]
		if there || fresh[t.Key] {
			t.Status = gateway.StatusMVCC
		}
		fresh[t.Key] = fresh[t.Key] || t.Status == gateway.StatusValid
	}
	list := l.pool
	l.pool = nil
	return l.add(list)
}

// known reports whether a transaction is in the pool or in a block.
func (l *ledger) known(txID string) bool {
	_, there := l.where[txID]
	return there || slices.ContainsFunc(l.pool, func(t transaction) bool { return t.TxID == txID })
}

// history lists the writes of a key.
func (l *ledger) history(key string) []gateway.HistoryEntry {
	list := []gateway.HistoryEntry{}
	for _, b := range l.blocks {
		for _, t := range b.Transactions {
			if t.Key == key && t.Status == gateway.StatusValid {
				at := time.Unix(t.TimeSpanSec, t.TimeSpanNsec).Format("2006-01-02 15:04:05")
				list = append(list, gateway.HistoryEntry{TxID: t.TxID, DataInfo: t.Data, TxTime: at})
			}
		}
	}
	return list
}

// find returns a block by one of the selectors; a transaction in the pool has none yet.
func (l *ledger) find(q gateway.BlockRequest) (block, bool) {
	n, ok := q.BlockNumber, q.BlockNumber < uint64(len(l.blocks))
	switch {
	case q.TxID != "":
		n, ok = l.where[q.TxID]
	case q.BlockHash != "":
		i := slices.IndexFunc(l.blocks, func(b block) bool { return b.Hash == q.BlockHash })
		n, ok = uint64(i), i >= 0
	}
	if !ok {
		return block{}, false
	}
	return l.blocks[n], true
}
