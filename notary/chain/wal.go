package chain

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cometbft/cometbft/consensus"
	cmtcons "github.com/cometbft/cometbft/proto/tendermint/consensus"
)

// This file looks after the engine's write-ahead log: the messages of the height under way, with this
// node's own votes, which the engine replays after a crash. It is a head file and, as it grows, chunks
// of it with ascending numbers. It is touched only while the engine is not running.

func walHead(home string) string { return filepath.Join(home, dataDir, "cs.wal", "wal") }

// walChunks are the paths of the chunks, the oldest first.
func walChunks(home string) ([]string, error) {
	dir, head := filepath.Split(walHead(home))
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // first start
	}
	if err != nil {
		return nil, err
	}
	numbers := map[string]int{}
	var chunks []string
	for _, e := range entries {
		suffix, ok := strings.CutPrefix(e.Name(), head+".")
		if n, err := strconv.Atoi(suffix); ok && err == nil {
			path := filepath.Join(dir, e.Name())
			numbers[path], chunks = n, append(chunks, path)
		}
	}
	slices.SortFunc(chunks, func(a, b string) int { return cmp.Compare(numbers[a], numbers[b]) })
	return chunks, nil
}

// pruneWAL deletes old chunks of the engine's write-ahead log, which it would let grow to
// 1 GiB. Only the end of the log is replayed: the head file and the newest chunk stay.
//
// It runs before the engine starts. Chunks go oldest first, so that a crash leaves a log
// without holes; the next start goes on.
func pruneWAL(home string) error {
	chunks, err := walChunks(home)
	if err != nil {
		return fmt.Errorf("prune write-ahead log: %w", err)
	}
	for i := 0; i < len(chunks)-1; i++ {
		if err := os.Remove(chunks[i]); err != nil {
			return fmt.Errorf("prune write-ahead log: %w", err)
		}
	}
	return nil
}

// mendWAL makes sure that the log says where a height ended: the last one that the engine's state holds.
//
// The engine replays what follows that mark, and nothing without it. The mark is missing after a crash
// between storing a block and marking its end (the next start executes the block from the store, and
// nobody marks it), and after blocks were fetched from peers. The engine then goes on all the same; but
// at its next crash, the votes that it has given since are not replayed. It cannot give others for the
// same round, nor can a lone validator get to a later round without them: the chain stands still for ever.
//
// So before the engine runs, the log is written anew: the mark, and the readable messages of later
// heights, which heal a chain that stands still already. Older messages are of no use any more. A crash
// leaves the former log, or the new one with old chunks before it that the next start prunes.
func mendWAL(home string, height int64) error {
	chunks, err := walChunks(home)
	if err != nil {
		return fmt.Errorf("mend write-ahead log: %w", err)
	}
	var raw []byte
	for _, path := range append(chunks, walHead(home)) {
		part, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("mend write-ahead log: %w", err)
		}
		raw = append(raw, part...)
	}
	later, marked := readWAL(raw, height)
	if marked || len(raw) == 0 && height == 0 {
		return nil // as it should be, or a first start, for which the engine writes the mark
	}
	var out bytes.Buffer
	enc := consensus.NewWALEncoder(&out)
	mark := &consensus.TimedWALMessage{Time: time.Now(), Msg: consensus.EndHeightMessage{Height: height}}
	for _, m := range append([]*consensus.TimedWALMessage{mark}, later...) {
		if err := enc.Encode(m); err != nil {
			return fmt.Errorf("mend write-ahead log: %w", err)
		}
	}
	if err := replaceFile(walHead(home), out.Bytes()); err != nil {
		return fmt.Errorf("mend write-ahead log: %w", err)
	}
	for _, path := range chunks {
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("mend write-ahead log: %w", err)
		}
	}
	return nil
}

// readWAL returns the messages of heights after the given one, as far as the log can be read, and
// whether it holds the mark of that height's end.
func readWAL(raw []byte, height int64) (later []*consensus.TimedWALMessage, marked bool) {
	for dec := consensus.NewWALDecoder(bytes.NewReader(raw)); ; {
		m, err := dec.Decode()
		if err != nil { // its end, or a write that a crash cut
			return later, marked
		}
		if end, ok := m.Msg.(consensus.EndHeightMessage); ok {
			marked = marked || end.Height == height
			continue
		}
		if walHeight(m) > height {
			later = append(later, m)
		}
	}
}

// walHeight is the height that a message is about, 0 for one that replay passes over.
func walHeight(m *consensus.TimedWALMessage) int64 {
	p, err := consensus.WALToProto(m.Msg)
	if err != nil {
		return 0
	}
	if info := p.GetMsgInfo(); info != nil {
		switch msg := info.Msg.Sum.(type) {
		case *cmtcons.Message_Proposal:
			return msg.Proposal.Proposal.Height
		case *cmtcons.Message_BlockPart:
			return msg.BlockPart.Height
		case *cmtcons.Message_Vote:
			return msg.Vote.Vote.GetHeight()
		}
		return 0
	}
	return max(p.GetEventDataRoundState().GetHeight(), p.GetTimeoutInfo().GetHeight())
}

// replaceFile replaces a file as a whole, on disk when it returns.
func replaceFile(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
