package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"stele/notary/cmd/verifier"
)

// bar shows on a terminal how far something is: bytes, rate, time left. Anywhere else it shows
// nothing. It is safe for concurrent use.
type bar struct {
	w     io.Writer
	width int // of the terminal; 0: none, or one that is too narrow for a line
	doing string
	name  string
	total int64
	start time.Time

	mu      sync.Mutex
	shown   time.Time // guarded by mu, as is what follows
	n       int64
	started time.Time // of the present attempt
	drawn   bool
}

const (
	barEvery = 100 * time.Millisecond
	minWidth = 30
	megabyte = 1e6
)

// newBar returns a bar for a file; a total of 0 is not known, or nothing is counted.
func newBar(w io.Writer, doing, path string, total int64) *bar {
	now := time.Now()
	return &bar{w: w, width: terminalWidth(w), doing: doing, name: verifier.Printable(filepath.Base(path)),
		total: total, start: now, started: now}
}

// terminalWidth is how many columns a terminal has; 0 where there is none.
func terminalWidth(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Col < minWidth {
		return 0
	}
	return int(size.Col)
}

// at says how many bytes are done.
func (b *bar) at(n int64) {
	if b.width == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if n < b.n { // a new attempt
		b.started = now
	}
	b.n = n
	if b.drawn && now.Sub(b.shown) < barEvery {
		return
	}
	b.shown, b.drawn = now, true
	line := b.line(now.Sub(b.started))
	for utf8.RuneCountInString(line) >= b.width {
		_, size := utf8.DecodeLastRuneInString(line)
		line = line[:len(line)-size]
	}
	fmt.Fprintf(b.w, "\r\x1b[K%s", line)
}

// clear takes the bar away.
func (b *bar) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.drawn {
		fmt.Fprint(b.w, "\r\x1b[K")
		b.drawn = false
	}
}

func (b *bar) line(since time.Duration) string {
	if b.total == 0 {
		return fmt.Sprintf("%s  %s", b.doing, b.name)
	}
	const cells = 20
	full := int(cells * b.n / b.total)
	text := fmt.Sprintf("%s [%s%s] %d%%  %.1f of %.1f MB", b.doing, strings.Repeat("#", full),
		strings.Repeat(".", cells-full), 100*b.n/b.total, float64(b.n)/megabyte, float64(b.total)/megabyte)
	if rate := float64(b.n) / since.Seconds(); since > time.Second && rate > 0 {
		left := time.Duration(float64(b.total-b.n) / rate * float64(time.Second))
		text += fmt.Sprintf("  %.1f MB/s  %v left", rate/megabyte, left.Round(time.Second))
	}
	return text + "  " + b.name
}
