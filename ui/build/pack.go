package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/andybalholm/brotli"
)

// pack writes a file compressed as name.gz and name.br into a folder, and not the file itself.
// Brotli at its best takes a quarter of a minute for the verifier, so nothing is done when
// the contents are those of the last time, whose digest is kept beside. It prints
// the sizes.
//
// The programs that embed the folder take the two for the same contents. So what is there of
// other contents goes first, and the digest comes last: whatever breaks off in between is
// made up for by the next run.
func pack(out, name string, data []byte) error {
	sum := sha256.Sum256(data)
	digest := []byte(hex.EncodeToString(sum[:]) + "\n")
	mark, gzName, brName := filepath.Join(out, "."+name+".sha256"), filepath.Join(out, name+".gz"),
		filepath.Join(out, name+".br")
	if known, err := os.ReadFile(mark); err != nil || !bytes.Equal(known, digest) || !exists(gzName) ||
		!exists(brName) {
		for _, old := range []string{mark, brName} {
			if err := os.Remove(old); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		if err := errors.Join(compress(gzName, data, gzipBest), compress(brName, data, brotliBest)); err != nil {
			return err
		}
		if err := replace(mark, digest); err != nil {
			return err
		}
	}
	g, err1 := os.Stat(gzName)
	b, err2 := os.Stat(brName)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	fmt.Printf("%s %d bytes, gzip %d, brotli %d\n", name, len(data), g.Size(), b.Size())
	return nil
}

func gzipBest(w io.Writer) (io.WriteCloser, error) {
	return gzip.NewWriterLevel(w, gzip.BestCompression)
}

func brotliBest(w io.Writer) (io.WriteCloser, error) {
	return brotli.NewWriterLevel(w, brotli.BestCompression), nil
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

func compress(name string, data []byte, coding func(io.Writer) (io.WriteCloser, error)) error {
	var packed bytes.Buffer
	w, err := coding(&packed)
	if err != nil {
		return err
	}
	if _, err := w.Write(data); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return replace(name, packed.Bytes())
}
