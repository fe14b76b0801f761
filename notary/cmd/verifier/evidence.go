package verifier

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/carrier"
)

// evidence is what the first file holds: a bundle, by itself, inside a certificate or in an
// evidence package, and in the latter perhaps the document.
type evidence struct {
	bundle   []byte
	original *original             // of a package that has it
	fault    *carrier.PackageError // of a package that is not as it was issued; the rest is empty then
}

// original is the document in a package, as it was read.
type original struct {
	name   string
	digest sm.Digest
	size   uint64
}

const orderHint = "the evidence comes before the document"

// openEvidence tells by the first bytes, never by the name, what a file is. What a package
// holds is written to x, unless it is nil, in the pass in which it is hashed.
func openEvidence(ctx context.Context, name string, x *extraction, stderr io.Writer) (*evidence, error) {
	f, err := openFile(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	head := make([]byte, 4)
	n, err := io.ReadFull(f, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	rest := io.MultiReader(bytes.NewReader(head[:n]), f)
	e := &evidence{}
	switch kind := carrier.Sniff(head[:n]); {
	case kind == carrier.Zip, kind != carrier.PDF && packedBehind(f):
		e, err = readPackage(ctx, f, x, stderr)
	case x != nil:
		err = errors.New("this is no evidence package; --extract writes out what is in one")
	case kind == carrier.PDF:
		e.bundle, err = fromCertificate(rest)
	default:
		e.bundle, err = readAtMost(rest, proof.MaxBundleSize) // of a longer one the parser says so
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return e, nil
}

// packedBehind reports whether a file that does not begin as a package has one further on, which
// other programs open. What cannot be read twice, such as a pipe, is none.
func packedBehind(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	looks, err := carrier.LooksPacked(f, info.Size())
	return looks && err == nil
}

// readAtMost reads everything, or one byte over the limit.
func readAtMost(r io.Reader, limit int64) ([]byte, error) {
	return io.ReadAll(io.LimitReader(r, limit+1))
}

func fromCertificate(r io.Reader) ([]byte, error) {
	pdf, err := readAtMost(r, carrier.MaxSize)
	if err != nil {
		return nil, err
	}
	_, bundle, err := carrier.Extract(pdf)
	if err != nil {
		return nil, fmt.Errorf("%w; %s", err, orderHint)
	}
	return bundle, nil
}

// readPackage reads a package from its beginning to its end. Trust roots that are in it are
// not looked at: whoever forged the rest would have put them there.
func readPackage(ctx context.Context, f *os.File, x *extraction, stderr io.Writer) (*evidence, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("an evidence package must be a file, not a pipe")
	}
	looks, err := carrier.LooksPacked(f, info.Size())
	if err != nil {
		return nil, err
	}
	if !looks {
		return nil, fmt.Errorf("this zip file is no evidence package: there is no bundle in it; %s", orderHint)
	}
	whole := io.NewSectionReader(f, 0, info.Size())
	pass := &pass{ctx: ctx, r: whole, progress: progress{to: terminal(stderr), total: info.Size()}}
	defer pass.end()
	h := sm.NewHash()
	p, err := carrier.ReadPackage(pass, func(name string) (io.Writer, error) {
		if x == nil {
			return h, nil
		}
		file, err := x.create(name)
		return io.MultiWriter(file, h), err
	})
	fault := (*carrier.PackageError)(nil)
	switch {
	case errors.As(err, &fault):
		return &evidence{fault: fault}, nil
	case err != nil:
		return nil, err
	}
	e := &evidence{bundle: p.Bundle}
	if p.Original != "" {
		e.original = &original{p.Original, sm.Digest(h.Sum(nil)), p.Size}
	}
	return e, x.add("bundle.json", p.Bundle)
}

// pass is a reader that can be interrupted, and tells a person how far it is.
type pass struct {
	ctx context.Context
	r   io.Reader
	progress
}

func (p *pass) Read(b []byte) (int, error) {
	if p.ctx.Err() != nil {
		return 0, fmt.Errorf("stopped after %d bytes: nothing was checked", p.done)
	}
	n, err := p.r.Read(b)
	p.add(int64(n))
	if err != nil && err != io.EOF {
		err = fmt.Errorf("read after %d bytes: %w", p.done, err)
	}
	return n, err
}
