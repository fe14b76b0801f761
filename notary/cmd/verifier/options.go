package verifier

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"stele/crypto/sm"
	"stele/notary/proof"
)

const helpText = `usage: stele-verify --trust trust.json [--json | --quiet] EVIDENCE file
       stele-verify --trust trust.json [--json | --quiet] --sm3 DIGEST EVIDENCE
       stele-verify --trust trust.json [--json | --quiet] [--extract FOLDER] evidence.zip

Checks whether a file is exactly the one that a certificate was issued for. It works without
a network: everything it believes is in the trust roots, a file that you get once, from a
source that you trust.

  EVIDENCE         a bundle (.json), a certificate (.pdf) as it was issued, or an evidence
                   package (.zip): which of them it is, is told by what is in it, not by its
                   name. Of a certificate only the attached bundle counts: anybody can draw
                   the pages around it, so read the facts here and not there
  file             the document; - reads it from the standard input. Without a file it is the
                   original in the evidence package. Where there is none, the evidence alone
                   is checked, which never gives "genuine"
  --trust FILE     the trust roots: a file of the format stele/trust/v1 or v2. Those in an evidence
                   package do not count: whoever forges the rest would put them there
  --trust-key KEY  the trust roots must bear a signature by this key, a text name+hex+base64;
                   else nothing is checked. The signature is in the file that is named like the
                   trust roots with .sig at the end, or in that of --trust-signature FILE
  --sm3 DIGEST     the document's SM3 digest, 64 hexadecimal digits, in place of the file
  --status-within DURATION
                   genuine only if the evidence has the log's own status, by which the record was
                   neither revoked nor replaced, and this is not older than the time given, such
                   as 36h or 7d, before this machine's clock; else the verdict is unverifiable
  --extract FOLDER write the original and bundle.json of an evidence package out: the bytes that
                   were checked, and nothing that another program may take out of the package.
                   Only where the verdict is 0, 5, 6 or 7; no file is written over
  --json           print the report as JSON
  --quiet          print the verdict's sentence alone

Options stand before the files; --json and --quiet may also stand last. Anything else
after the first file is a file, whatever it looks like.

The exit code says the verdict:

%s  2  wrong usage, this help, a file that cannot be read, or one that cannot be written

The code is 0 for genuine and for nothing else, so a script may rely on it.
`

// help is the help text, with the verdicts that a bundle can lead to.
func help() string {
	return fmt.Sprintf(helpText, ExitCodes(func(v proof.Verdict) bool { return v != proof.NotFound })) + logHelp
}

// ExitCodes lists exit codes of verdicts, one a line, in order.
func ExitCodes(of func(proof.Verdict) bool) string {
	rows := proof.Verdicts()
	slices.SortFunc(rows, func(a, b proof.VerdictRow) int { return a.Exit - b.Exit })
	var b strings.Builder
	for _, r := range rows {
		if of(r.Verdict) {
			fmt.Fprintf(&b, "  %d  %-13s %s\n", r.Exit, r.Verdict, r.Means)
		}
	}
	return b.String()
}

const exitUsage = 2

// options are what to check and how to say it.
type options struct {
	trust, evidence, file string // file names; file may be "-" or ""
	digest                *sm.Digest
	extract               string // a folder
	signer                trustSigner
	within                within
	json, quiet           bool
	log                   bool // compare evidence with file, which is evidence as well
}

var errHelp = errors.New("help")

func parseOptions(args []string) (options, error) {
	var o options
	var digest string
	f := flag.NewFlagSet("stele-verify", flag.ContinueOnError)
	f.SetOutput(io.Discard) // the caller prints errors once
	f.StringVar(&o.trust, "trust", "", "")
	f.Func("trust-key", "", o.signer.parse)
	f.StringVar(&o.signer.signature, "trust-signature", "", "")
	f.StringVar(&digest, "sm3", "", "")
	f.StringVar(&o.extract, "extract", "", "")
	f.Func("status-within", "", o.within.parse)
	f.BoolVar(&o.json, "json", false, "")
	f.BoolVar(&o.quiet, "quiet", false, "")
	f.BoolVar(&o.log, "log", false, "")
	if err := f.Parse(args); errors.Is(err, flag.ErrHelp) {
		return o, errHelp
	} else if err != nil {
		return o, err
	}
	files := o.trailing(f.Args())
	o.evidence, o.file = at(files, 0), at(files, 1)
	if digest != "" {
		d, err := sm.ParseDigest(strings.ToLower(digest))
		if err != nil {
			return o, fmt.Errorf("--sm3: %w", err)
		}
		o.digest = &d
	}
	if o.log {
		return o, o.checkLog(files)
	}
	switch {
	case o.trust == "":
		return o, errors.New("--trust is missing: name the file with the trust roots")
	case o.evidence == "" || o.evidence == "-":
		return o, errors.New("the evidence is missing: name a bundle, a certificate or an evidence package (the " +
			"document alone can come from the standard input)")
	case len(files) > 2:
		return o, fmt.Errorf("%d files are given; expected the evidence and one document, and options before them",
			len(files))
	case len(files) == 2 && o.file == "":
		return o, errors.New("the document's file name is empty")
	case o.digest != nil && o.file != "":
		return o, errors.New("give a file or --sm3, not both")
	case o.extract != "" && (o.file != "" || o.digest != nil):
		return o, errors.New("--extract writes out the original in the package: give no other document")
	case o.json && o.quiet:
		return o, errors.New("give --json or --quiet, not both")
	}
	return o, o.signer.check()
}

// trailing takes output options off the end, where many people write them. Options that
// change what is checked are not taken there: a document's name must never be one.
func (o *options) trailing(files []string) []string {
	for n := len(files); n > 1; n = len(files) {
		switch files[n-1] {
		case "--json":
			o.json = true
		case "--quiet":
			o.quiet = true
		default:
			return files
		}
		files = files[:n-1]
	}
	return files
}

func at(files []string, i int) string {
	if i < len(files) {
		return files[i]
	}
	return ""
}

// outcome is the report, and what it was made of as far as it does not say so itself.
type outcome struct {
	report  *proof.Report
	checked *original // of a package, where it was the document
	written []string
}

// verify reads the files and asks for the verdict.
func (o options) verify(ctx context.Context, stdin io.Reader, stderr io.Writer) (*outcome, error) {
	trust, err := loadTrust(o.trust, o.signer)
	if err != nil {
		return nil, err
	}
	var x *extraction
	if o.extract != "" {
		if x, err = newExtraction(o.extract); err != nil {
			return nil, fmt.Errorf("--extract: %w", err)
		}
		defer x.close()
	}
	given, err := openEvidence(ctx, o.evidence, x, stderr)
	if err != nil {
		return nil, fmt.Errorf("evidence: %w", err)
	}
	out := &outcome{}
	if out.report, err = o.judge(ctx, trust, given, stdin, stderr); err != nil {
		return nil, fmt.Errorf("document: %w", err)
	}
	o.within.demand(out.report, time.Now())
	if o.file == "" && o.digest == nil {
		out.checked = given.original
	}
	whyNot, err := x.finish(out.report.Verdict)
	if err != nil {
		return nil, fmt.Errorf("--extract: %w", err)
	}
	if whyNot != "" {
		fmt.Fprintf(stderr, "stele-verify: %s\n", whyNot)
	}
	if x != nil {
		out.written = x.written
	}
	return out, nil
}

// judge has the evidence verified with the document that was given, or that is in the package.
func (o options) judge(ctx context.Context, trust *proof.Trust, given *evidence, stdin io.Reader,
	stderr io.Writer) (*proof.Report, error) {
	if given.fault != nil {
		return proof.BadPackage(given.fault.Entry, given.fault.Error()), nil
	}
	if _, _, err := proof.ReadBundle(given.bundle); err != nil &&
		!bytes.HasPrefix(given.bundle, []byte(`{"format":"stele/bundle/`)) {
		fmt.Fprintf(stderr, "stele-verify: %s does not look like a bundle. Is it the right file? The bundle comes "+
			"before the document.\n", o.evidence)
	}
	var file *proof.File
	switch {
	case o.file != "":
		var err error
		if file, err = hashFile(ctx, o.file, stdin, stderr); err != nil {
			return nil, err
		}
	case o.digest != nil:
		file = &proof.File{SM3: *o.digest, Size: -1}
	case given.original != nil:
		file = &proof.File{SM3: given.original.digest, Size: int64(given.original.size)}
	}
	return proof.VerifyFile(trust, file, given.bundle), nil
}

// ReadFile reads a file, or its beginning with one byte over the limit: the parser then
// says that it is too long.
func ReadFile(name string, limit int64) ([]byte, error) {
	f, err := openFile(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return b, nil
}

func openFile(name string) (*os.File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err // "open <name>: no such file or directory"
	}
	if info, err := f.Stat(); err == nil && info.IsDir() {
		f.Close()
		return nil, fmt.Errorf("%s is a folder, a file is expected", name)
	}
	return f, nil
}
