// Package evidence makes the package that goes to a court: a zip file with the original (if
// it is kept), the bundle, the certificate, the trust roots, a report for people, the
// algorithms written out, and every signed or hashed part as a file of its own, with a
// README that tells an expert how to repeat each step with OpenSSL and a shell.
//
// The same input gives the same bytes: entries have a fixed order and the record's time,
// and nothing is compressed, which would depend on the version of a library. What is inside
// as trust roots is for information: a verifier brings its own.
package evidence

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/carrier"
	"stele/notary/proof/exhibit"
)

// Input is what a package is made of.
type Input struct {
	Bundle      []byte
	Report      *proof.Report // of proof.Verify on the bundle and the record's digest
	Certificate []byte        // the PDF
	Trust       []byte        // the trust roots' file
	VerifyPage  []byte        // the offline verifier page; may be missing

	// Original is the document's bytes, or nil where they are not kept. It is read once, while
	// the package is written, and never held.
	Original io.Reader
}

// Names of the files that others rely on.
const (
	FileBundle      = "bundle.json"
	FileCertificate = "certificate.pdf"
	FileTrust       = "trust.json"
	FileReport      = "report.json"
	FileManifest    = "manifest.sm3"
	FileReadme      = "README.txt"
	filePage        = "verify.html"
)

// FileName is what a package is called.
func FileName(number string) string { return number + ".evidence.zip" }

const reportTime = "2006-01-02T15:04:05.000Z"

// ErrOriginal means that the stored original is not the document that was registered.
var ErrOriginal = errors.New("the original is not the document that was registered")

// file is a part of the package that is held in memory.
type file struct {
	name string
	data []byte
}

// Package is ready to be written. All that can be wrong with the input has been found,
// except with the original.
type Package struct {
	in       Input
	at       time.Time
	original string // its name in the package
	files    []file
}

// Prepare makes everything but the original.
func Prepare(in Input) (*Package, error) {
	p := &Package{in: in}
	if in.Report == nil || in.Report.Document == nil || len(in.Certificate) == 0 {
		return nil, errors.New("evidence: bundle, report and certificate are needed")
	}
	var err error
	if p.at, err = time.Parse(reportTime, in.Report.IssuedAt); err != nil {
		return nil, fmt.Errorf("evidence: %w", err)
	}
	parts, files, err := takeApart(in)
	if err != nil {
		return nil, fmt.Errorf("evidence: %w", err)
	}
	if in.Original != nil {
		p.original = originalName(in.Report.Fields["fileName"])
	}
	readme, err := readme(parts, p.original, in)
	if err != nil {
		return nil, fmt.Errorf("evidence: %w", err)
	}
	page, err := reportPage(in.Report, p.original)
	if err != nil {
		return nil, fmt.Errorf("evidence: %w", err)
	}
	p.files = append([]file{{FileReadme, readme}, {"report.html", page}, {FileReport, append(in.Report.JSON(), '\n')},
		{FileCertificate, in.Certificate},
		{FileBundle, in.Bundle}, {FileTrust, in.Trust}, {"algorithms.txt", algorithms}}, files...)
	if len(in.VerifyPage) > 0 {
		p.files = append(p.files, file{filePage, in.VerifyPage})
	}
	return p, nil
}

// maxFiles keeps a package within what stele-verify opens.
const maxFiles = 4000

// takeApart makes the bundle's parts files of their own.
func takeApart(in Input) (*exhibit.Exhibit, []file, error) {
	trust, err := proof.ParseTrust(in.Trust)
	if err != nil {
		return nil, nil, err
	}
	x, err := exhibit.New(trust, in.Bundle)
	if err != nil {
		return nil, nil, err
	}
	var files []file
	for _, s := range x.Sections {
		for _, f := range s.Files {
			files = append(files, file{s.Folder + f.Name, f.Data})
		}
	}
	if len(files) > maxFiles {
		return nil, nil, fmt.Errorf("the bundle has %d parts, at most %d are taken apart", len(files), maxFiles)
	}
	return x, files, nil
}

var safeExtension = regexp.MustCompile(`\.[a-z0-9]{1,8}$`)

// originalName keeps the extension alone: a name that somebody chose does not belong into
// commands, nor into anybody's file system. The report has the name.
func originalName(fileName string) string {
	return "original" + safeExtension.FindString(strings.ToLower(fileName))
}

// Write writes the package, in the one spelling of [carrier.PackageWriter]. When it fails, what
// was written is no zip file.
func (p *Package) Write(w io.Writer) error {
	z := carrier.NewPackageWriter(w, p.at)
	var manifest strings.Builder
	for _, f := range p.files {
		if err := add(z, f.name, func(w io.Writer) error { _, err := w.Write(f.data); return err }); err != nil {
			return err
		}
		fmt.Fprintf(&manifest, "%s  %s\n", sm.Sum(f.data), f.name)
	}
	if p.in.Original != nil {
		if err := add(z, p.original, p.copyOriginal); err != nil {
			return err
		}
		fmt.Fprintf(&manifest, "%s  %s\n", p.in.Report.Document.SM3, p.original)
	}
	sums := func(w io.Writer) error { _, err := io.WriteString(w, manifest.String()); return err }
	if err := add(z, FileManifest, sums); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("evidence: %w", err)
	}
	return nil
}

func add(z *carrier.PackageWriter, name string, write func(io.Writer) error) error {
	if err := z.Add(name, write); err != nil {
		return fmt.Errorf("evidence: %s: %w", name, err)
	}
	return nil
}

// copyOriginal copies the document and compares it, on the way, with what was registered:
// the object store is not trusted.
func (p *Package) copyOriginal(w io.Writer) error {
	h := sm.NewHash()
	n, err := io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(w, h)}, struct{ io.Reader }{p.in.Original},
		make([]byte, 256<<10))
	if err != nil {
		return err
	}
	if d := sm.Digest(h.Sum(nil)); uint64(n) != p.in.Report.Document.Size || d.String() != p.in.Report.Document.SM3 {
		return fmt.Errorf("%w: %d bytes with SM3 %s", ErrOriginal, n, d)
	}
	return nil
}
