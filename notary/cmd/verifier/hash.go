package verifier

import (
	"context"
	"fmt"
	"io"
	"os"

	"stele/crypto/sm"
	"stele/notary/proof"
)

const (
	// chunk is how much is read at once, and all that is ever held of a document.
	chunk = 1 << 20
	// progressFrom is the size in bytes from which a person is told how far it is: a third
	// of a second's work.
	progressFrom = 100_000_000
)

// hashFile streams a document through SM3. On a terminal it reports progress.
func hashFile(ctx context.Context, name string, stdin io.Reader, stderr io.Writer) (*proof.File, error) {
	p := progress{to: terminal(stderr)}
	if name == "-" {
		return hash(ctx, stdin, &p)
	}
	f, err := openFile(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		p.total = info.Size()
	}
	return hash(ctx, f, &p)
}

func hash(ctx context.Context, r io.Reader, p *progress) (*proof.File, error) {
	defer p.end()
	h := sm.NewHash()
	buf := make([]byte, chunk)
	for {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("stopped after %d bytes: nothing was checked", p.done)
		}
		n, err := r.Read(buf)
		h.Write(buf[:n])
		p.add(int64(n))
		if err == io.EOF {
			return &proof.File{SM3: sm.Digest(h.Sum(nil)), Size: p.done}, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read after %d bytes: %w", p.done, err)
		}
	}
}

// progress keeps one line of a terminal up to date. Without a writer it only counts.
type progress struct {
	to          io.Writer
	total, done int64 // total is 0 when it is not known
	shown       int64 // the step last shown
}

func (p *progress) add(n int64) {
	p.done += n
	if p.to == nil || max(p.total, p.done) < progressFrom {
		return
	}
	step, text := p.done/progressFrom, fmt.Sprintf("%d MB", p.done/1_000_000)
	if p.total > 0 {
		step = p.done * 100 / p.total
		text = fmt.Sprintf("%d %% of %d MB", step, p.total/1_000_000)
	}
	if step != p.shown {
		p.shown = step
		fmt.Fprintf(p.to, "\rreading the document: %s ", text)
	}
}

// end clears the line: the verdict stands alone.
func (p *progress) end() {
	if p.shown > 0 {
		fmt.Fprint(p.to, "\r\x1b[K")
	}
}

// terminal returns the writer if a person may be looking, or nil.
func terminal(w io.Writer) io.Writer {
	f, ok := w.(*os.File)
	if !ok {
		return nil
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil
	}
	return w
}
