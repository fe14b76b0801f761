package chain

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/cometbft/cometbft/consensus"
)

func TestPruneWAL(t *testing.T) {
	home := t.TempDir()
	fatalIfErr(t, pruneWAL(home)) // nothing there yet
	dir := filepath.Dir(walHead(home))
	fatalIfErr(t, os.MkdirAll(dir, 0o700))
	for _, f := range []string{"wal", "wal.000", "wal.001", "wal.009", "wal.010", "wal.CORRUPTED", "other.000"} {
		fatalIfErr(t, os.WriteFile(filepath.Join(dir, f), nil, 0o600))
	}
	fatalIfErr(t, pruneWAL(home))
	entries, err := os.ReadDir(dir)
	fatalIfErr(t, err)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if want := []string{"other.000", "wal", "wal.010", "wal.CORRUPTED"}; !slices.Equal(got, want) {
		t.Fatal(got, want)
	}
}

// unmark removes the mark of a height's end from the log, as a crash right before it is written does.
func unmark(t testing.TB, home string, height uint64) {
	t.Helper()
	raw, err := os.ReadFile(walHead(home))
	fatalIfErr(t, err)
	var out bytes.Buffer
	found := false
	enc := consensus.NewWALEncoder(&out)
	for dec := consensus.NewWALDecoder(bytes.NewReader(raw)); ; {
		m, err := dec.Decode()
		if err != nil {
			break
		}
		if end, ok := m.Msg.(consensus.EndHeightMessage); ok && end.Height == int64(height) {
			found = true
			continue
		}
		fatalIfErr(t, enc.Encode(m))
	}
	if !found {
		t.Fatalf("the log has no mark of height %d", height)
	}
	fatalIfErr(t, os.WriteFile(walHead(home), out.Bytes(), 0o600))
}

// A lone validator crashes twice: before it marks the end of a height whose block it has stored, and in
// the next height, after it voted. Its votes are replayed all the same, and the chain goes on.
func TestCrashBeforeTheMark(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, home string, height uint64){
		"marked at the second start":       func(*testing.T, string, uint64) {},
		"by a program that marked nothing": func(t *testing.T, home string, height uint64) { unmark(t, home, height) },
		"with the end cut off": func(t *testing.T, home string, height uint64) {
			unmark(t, home, height)
			f, err := os.OpenFile(walHead(home), os.O_APPEND|os.O_WRONLY, 0)
			fatalIfErr(t, err)
			_, err = f.Write([]byte{1, 2, 3, 4, 0, 0, 1, 0, 9})
			fatalIfErr(t, err)
			fatalIfErr(t, f.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := testContext(t)
			var at atomic.Uint64
			l := newTestLog(t, "log.example/a")
			n, c := solo(t, crashBeforeCommit(&at), l)
			anchor(ctx, t, n, l.next(t, 3))
			s, err := n.Status()
			fatalIfErr(t, err)
			crashed := s.Height + 1
			at.Store(crashed)
			second := l.next(t, 2)
			fatalIfErr(t, n.Submit(ctx, second))
			dies(ctx, t, n)
			closeNode(t, n)
			unmark(t, c.Home, crashed)

			c.hooks = hooks{extension: func([]byte) []byte { panic("crash test") }} // after the first vote
			n = mustStart(t, c)
			dies(ctx, t, n)
			closeNode(t, n)
			if n.home.validator.last.height != crashed+1 {
				t.Fatalf("the second crash is at height %d, not at %d", n.home.validator.last.height, crashed+1)
			}
			spoil(t, c.Home, crashed)

			c.hooks = hooks{}
			n = mustStart(t, c)
			certified(ctx, t, n, second.Checkpoint)
			anchor(ctx, t, n, l.next(t, 1))
			checkHistory(t, n)
		})
	}
}

// A log that says where the height ended stays as it is.
func TestMendWALKeepsAMarkedLog(t *testing.T) {
	ctx := testContext(t)
	l := newTestLog(t, "log.example/a")
	n, c := solo(t, nil, l)
	anchor(ctx, t, n, l.next(t, 1))
	s, err := n.Status()
	fatalIfErr(t, err)
	height := int64(s.Height)
	closeNode(t, n)
	before, err := os.ReadFile(walHead(c.Home))
	fatalIfErr(t, err)
	fatalIfErr(t, mendWAL(c.Home, height))
	if after, err := os.ReadFile(walHead(c.Home)); err != nil || !bytes.Equal(before, after) {
		t.Error("a marked log was written anew", err)
	}
	// One without the mark, and with chunks, becomes the mark and what is later.
	fatalIfErr(t, os.WriteFile(walHead(c.Home)+".003", before, 0o600))
	fatalIfErr(t, mendWAL(c.Home, height+5))
	after, err := os.ReadFile(walHead(c.Home))
	fatalIfErr(t, err)
	if later, marked := readWAL(after, height+5); !marked || len(later) != 0 || len(after) > 100 {
		t.Errorf("%d bytes, %d messages, marked %v", len(after), len(later), marked)
	}
	if chunks, err := walChunks(c.Home); err != nil || len(chunks) != 0 {
		t.Error(chunks, err)
	}
}
