package web

import (
	"bytes"
	"errors"
	"io"

	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/carrier"
)

// A file that is uploaded is read once, while it arrives, and never kept, neither on the disk nor
// in memory; an evidence package too. Packages have one spelling, so what a package is made of is
// known when its last byte has come. Before that, nothing is believed.

// unpacked is what an upload turned out to be: a package as it was issued, or one that is not.
type unpacked struct {
	bundle   []byte
	original string // its name in the package, or ""
	digest   sm.Digest
	size     uint64
	bad      *proof.Report
}

// readPacked reads a zip file. It returns nil where that is no evidence package but a document.
// What follows the place at which a package goes wrong is read as well: the caller counts it.
func readPacked(r io.Reader) (*unpacked, error) {
	var scan carrier.PackageScan
	r = io.TeeReader(r, &scan)
	h := sm.NewHash()
	p, err := carrier.ReadPackage(r, func(string) (io.Writer, error) { return h, nil })
	if err == nil {
		return &unpacked{bundle: p.Bundle, original: p.Original, digest: sm.Digest(h.Sum(nil)), size: p.Size}, nil
	}
	fault := (*carrier.PackageError)(nil)
	if !errors.As(err, &fault) {
		return nil, err
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return nil, err
	}
	if !scan.Looks() && !fault.Looks {
		return nil, nil
	}
	return &unpacked{bad: proof.BadPackage(fault.Entry, fault.Error())}, nil
}

// read streams a file through SM3, and looks whether it is an evidence package.
func (up *upload) read(r io.Reader, name string) (int64, error) {
	h := sm.NewHash()
	c := &counter{}
	r = io.TeeReader(r, io.MultiWriter(h, c))
	head := make([]byte, 4)
	n, err := io.ReadFull(r, head)
	switch {
	case err == io.EOF || err == io.ErrUnexpectedEOF:
	case err != nil:
		return c.n, err
	case carrier.Sniff(head[:n]) == carrier.Zip:
		up.packed, err = readPacked(io.MultiReader(bytes.NewReader(head), r))
		if err != nil {
			return c.n, err
		}
	default:
		if _, err := io.Copy(io.Discard, r); err != nil {
			return c.n, err
		}
	}
	d := sm.Digest(h.Sum(nil))
	up.digest, up.name, up.size, up.hashed = &d, name, uint64(c.n), true
	return c.n, nil
}

// counter counts what is written.
type counter struct{ n int64 }

func (c *counter) Write(b []byte) (int, error) { c.n += int64(len(b)); return len(b), nil }

// unpack puts the original and the bundle of a package in the place of the package, as if these
// two had been handed in. A bundle that was handed in beside it comes first.
func (up *upload) unpack() {
	p := up.packed
	if p == nil || p.bad != nil {
		return
	}
	if up.bundle == nil {
		up.bundle = p.bundle
	}
	if p.original == "" {
		up.digest = nil
		return
	}
	up.digest, up.name, up.size, up.hashed = &p.digest, up.name+"/"+p.original, p.size, true
}

// badPackage is the report on a package that is not as it was issued, or nil.
func (up *upload) badPackage() *proof.Report {
	if up.packed == nil {
		return nil
	}
	return up.packed.bad
}
