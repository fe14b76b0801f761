package evidence_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"stele/crypto/sm"
	"stele/notary/cmd/verifier"
	"stele/notary/issue/evidence"
	"stele/notary/proof"
	"stele/notary/proof/carrier"
	"stele/notary/proof/prooftest"
	"stele/notary/proof/prooftest/vectors"
)

func fatalIfErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const vectorsDir = "../../proof/testdata/vectors"

// inputs are packages of every kind of bundle that a package can be made of: those of the
// test vectors, with changed members, keys and authorities, and several chains.
func inputs(t testing.TB) map[string]evidence.Input {
	t.Helper()
	set, err := vectors.Load(vectorsDir)
	fatalIfErr(t, err)
	out := map[string]evidence.Input{}
	for _, v := range set.Index.Vectors {
		report, err := set.Report(v)
		fatalIfErr(t, err)
		if strings.HasPrefix(v.Name, "attested") &&
			!slices.Contains([]string{"attested-both", "attested-fabric-alone", "attested-fisco-later",
				"attested-fisco-secp256k1"}, v.Name) {
			continue // the others differ from these in what no command looks at
		}
		certificates := []string{"x509-agency-name-bmp", "x509-agency-authority-key-all", "x509-authority-good"}
		if strings.HasPrefix(v.Name, "x509-") && !slices.Contains(certificates, v.Name) {
			continue // the commands over the others' certificates are run in package exhibit
		}
		if report.AnchoredAt == "" || !slices.Contains([]proof.Verdict{proof.Genuine, proof.Revoked, proof.Superseded},
			report.Verdict) {
			continue
		}
		trust, err := proof.ParseTrust(set.Files[v.Trust])
		fatalIfErr(t, err)
		bundle, resaved, err := proof.ReadBundle(set.Files[v.Bundle])
		fatalIfErr(t, err)
		if resaved {
			continue // a package is made of the bundle as it was issued
		}
		in := evidence.Input{Bundle: bundle.Encode(), Report: report, Certificate: []byte("%PDF a certificate"),
			Trust: trust.Encode()}
		if v.Document != "" && report.Verdict != proof.Altered {
			in.Original = bytes.NewReader(set.Files[v.Document])
		}
		// some give the digest of a document that is not there
		if in.Original != nil || report.Document.SM3 == sm.Sum(set.Files["document.pdf"]).String() {
			out[v.Name] = in
		}
	}
	if len(out) < 10 {
		t.Fatalf("%d vectors only", len(out))
	}
	return out
}

func input(t testing.TB, name string) evidence.Input {
	t.Helper()
	in, ok := inputs(t)[name]
	if !ok {
		t.Fatalf("no vector %s", name)
	}
	return in
}

func write(t testing.TB, in evidence.Input) []byte {
	t.Helper()
	p, err := evidence.Prepare(in)
	fatalIfErr(t, err)
	var b bytes.Buffer
	fatalIfErr(t, p.Write(&b))
	return b.Bytes()
}

// unpack writes a package into a folder and returns it with the names in order.
func unpack(t testing.TB, data []byte) (dir string, names []string) {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	fatalIfErr(t, err)
	dir = t.TempDir()
	for _, f := range z.File {
		names = append(names, f.Name)
		if !filepath.IsLocal(f.Name) {
			t.Fatalf("%q leads out of the folder", f.Name)
		}
		r, err := f.Open()
		fatalIfErr(t, err)
		content, err := io.ReadAll(r)
		fatalIfErr(t, err)
		fatalIfErr(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, f.Name)), 0o700))
		fatalIfErr(t, os.WriteFile(filepath.Join(dir, f.Name), content, 0o600))
	}
	return dir, names
}

// commands runs the README's commands as they stand there.
func commands(t testing.TB, dir string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Fatal("this test needs the openssl command, version 3.0 or later: install the package openssl")
	}
	readme, err := os.ReadFile(filepath.Join(dir, "README.txt"))
	fatalIfErr(t, err)
	var script strings.Builder
	for line := range strings.Lines(string(readme)) {
		if command, ok := strings.CutPrefix(line, "    "); ok {
			script.WriteString(command)
		}
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-e", "-c", script.String())
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "DOCUMENT=document.bin", "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestCommandsOfTheReadme: on every kind of package, each step says that it holds.
func TestCommandsOfTheReadme(t *testing.T) {
	for name, in := range inputs(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, _ := unpack(t, write(t, in))
			if in.Original == nil { // bring it
				document, err := os.ReadFile(filepath.Join(vectorsDir, "document.pdf"))
				fatalIfErr(t, err)
				fatalIfErr(t, os.WriteFile(filepath.Join(dir, "document.bin"), document, 0o600))
			}
			out, err := commands(t, dir)
			if err != nil || strings.Contains(out, "DIFFERS") || strings.Contains(out, "Failure") {
				t.Fatalf("%v\n%s", err, out)
			}
			signatures := 2
			trust, err := proof.ParseTrust(in.Trust)
			fatalIfErr(t, err)
			// A chain that a link alone leads to is left to stele-verify, and the README says so.
			linked := func(a proof.AnchorReport) bool {
				return len(a.Moved) > 0 &&
					!slices.ContainsFunc(trust.Chains,
						func(c proof.TrustedChain) bool { return c.Genesis.Chain == a.Chain })
			}
			for _, a := range in.Report.Anchors {
				if !linked(a) {
					signatures += len(a.Cosigners)
				}
			}
			if got := strings.Count(out, "Signature Verified Successfully"); got < signatures {
				t.Errorf("%d signatures were checked, there are at least %d\n%s", got, signatures, out)
			}
			wanted := []string{"document: OK", "statement.json: OK", "root is trusted: OK", "signer.pem: OK",
				"entry: certificate: OK", "inclusion: OK", "is trusted: OK", in.Report.Agency.Code}
			for _, a := range in.Report.Anchors {
				switch {
				case linked(a):
				case a.Strength == proof.Attested:
					wanted = append(wanted, "gateway's key is trusted: OK")
				default:
					wanted = append(wanted, "anchors root: OK", "votes: ")
				}
			}
			for _, want := range wanted {
				if !strings.Contains(out, want) {
					t.Errorf("nothing says %q\n%s", want, out)
				}
			}
		})
	}
}

// TestCommandsNotice: whatever part is changed, some command fails.
func TestCommandsNotice(t *testing.T) {
	dir, names := unpack(t, write(t, input(t, "genuine")))
	for _, name := range names {
		if slices.Contains([]string{"README.txt", "report.html", "report.json", "certificate.pdf", "algorithms.txt",
			"manifest.sm3", "bundle.json", "trust.json"}, name) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, name)
			good, err := os.ReadFile(path)
			fatalIfErr(t, err)
			defer os.WriteFile(path, good, 0o600)
			bad := bytes.Clone(good)
			bad[len(bad)*2/3] ^= 1
			fatalIfErr(t, os.WriteFile(path, bad, 0o600))
			// The manifest would notice at once: it is made anew, as a forger would.
			manifest, err := os.ReadFile(filepath.Join(dir, "manifest.sm3"))
			fatalIfErr(t, err)
			defer os.WriteFile(filepath.Join(dir, "manifest.sm3"), manifest, 0o600)
			forged := strings.Replace(string(manifest), sm.Sum(good).String(), sm.Sum(bad).String(), 1)
			fatalIfErr(t, os.WriteFile(filepath.Join(dir, "manifest.sm3"), []byte(forged), 0o600))
			if out, err := commands(t, dir); err == nil {
				t.Errorf("the commands do not notice a change\n%s", out)
			}
		})
	}
}

func TestContents(t *testing.T) {
	in := input(t, "revoked")
	in.VerifyPage = []byte("<!doctype html><title>verifier</title>")
	dir, names := unpack(t, write(t, in))
	for _, name := range []string{"README.txt", "report.html", "report.json", "certificate.pdf", "bundle.json",
		"trust.json", "algorithms.txt", "statement.json", "signature.der", "signer.pem", "root.pem",
		"entry.bin", "checkpoint.txt", "checkpoint.der", "log.pem", "anchor-1/header.txt", "anchor-1/cosignature-0.der",
		"anchor-1/epoch-0/epoch.txt", "anchor-1/epoch-0/validator-0.pem",
		"standing/statement.json", "standing/log.pem", "verify.html", "original.pdf", "manifest.sm3"} {
		if !slices.Contains(names, name) {
			t.Errorf("%s is missing", name)
		}
	}
	if names[0] != "README.txt" || names[len(names)-1] != "manifest.sm3" {
		t.Error("the README comes first and the manifest last")
	}
	manifest, err := os.ReadFile(filepath.Join(dir, "manifest.sm3"))
	fatalIfErr(t, err)
	var want strings.Builder
	for _, name := range names[:len(names)-1] {
		data, err := os.ReadFile(filepath.Join(dir, name))
		fatalIfErr(t, err)
		fmt.Fprintf(&want, "%s  %s\n", sm.Sum(data), name)
	}
	if string(manifest) != want.String() {
		t.Errorf("manifest\n%s\nwant\n%s", manifest, want.String())
	}
	for file, says := range map[string][]string{
		"report.html": {"已撤销", "依法撤销", "江城市政务服务局", "91350100M000100Y43", in.Report.Document.SM3, "✓ 通过", "不证明文书所载内容属实"},
		"README.txt": {"1234567812345678", "standing/", "original.pdf", "verify.html", "from the service's own site",
			"second source",
			"从本服务的网站下载"},
		"algorithms.txt": {"1234567812345678", "GB/T 32905", "GB/T 32918", "1.2.156.10197.1.301"},
	} {
		t.Run(file, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join(dir, file))
			fatalIfErr(t, err)
			for _, s := range says {
				if !bytes.Contains(text, []byte(s)) {
					t.Errorf("%s does not say %q", file, s)
				}
			}
		})
	}
}

// TestReadmeVouchesForNoTrustRoots: whoever forges the package writes the README too, so its
// word on the trust roots beside it, or on their digest, is worth nothing and is not given.
func TestReadmeVouchesForNoTrustRoots(t *testing.T) {
	in := input(t, "genuine")
	dir, _ := unpack(t, write(t, in))
	readme, err := os.ReadFile(filepath.Join(dir, "README.txt"))
	fatalIfErr(t, err)
	if bytes.Contains(readme, []byte(sm.Sum(in.Trust).String())) || !bytes.Contains(readme, []byte("proves nothing")) {
		t.Errorf("the README vouches for trust.json:\n%s", readme)
	}
	// The steps believe the trust.json that was brought, also where it is not the package's.
	for what, tc := range map[string]struct {
		old, other string
		fine       bool
	}{
		"others beside": {`"roots":[`, `"roots":["AAAA",`, true},
		"other root":    {`"roots":["M`, `"roots":["N`, false},
	} {
		t.Run(what, func(t *testing.T) {
			trust := bytes.Replace(in.Trust, []byte(tc.old), []byte(tc.other), 1)
			if bytes.Equal(trust, in.Trust) {
				t.Fatalf("%s: nothing was changed", what)
			}
			fatalIfErr(t, os.WriteFile(filepath.Join(dir, "trust.json"), trust, 0o600))
			if out, err := commands(t, dir); (err == nil) != tc.fine {
				t.Errorf("%s: %v\n%s", what, err, out)
			}
		})
	}
}

// Others' programs read the package too, among them those that read it as a stream.
func TestOtherReaders(t *testing.T) {
	name := filepath.Join(t.TempDir(), "evidence.zip")
	fatalIfErr(t, os.WriteFile(name, write(t, input(t, "superseded")), 0o600))
	tried := 0
	for _, command := range [][]string{{"unzip", "-tqq", name}, {"python3", "-c", "import sys,zipfile; " +
		"z=zipfile.ZipFile(sys.argv[1]); sys.exit(z.testzip() is not None or 'bundle.json' not in z.namelist())",
		name}} {
		if _, err := exec.LookPath(command[0]); err != nil {
			continue
		}
		tried++
		if out, err := exec.CommandContext(t.Context(), command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", command[0], err, out)
		}
	}
	if tried == 0 {
		t.Fatal("this test needs unzip or python3: install the package unzip")
	}
}

// stele-verify takes the package alone: every kind that is issued.
func TestVerifierTakesPackage(t *testing.T) {
	codes := map[proof.Verdict]int{proof.Genuine: 0, proof.Revoked: 6, proof.Superseded: 7, proof.Unverifiable: 4,
		proof.Invalid: 3}
	for name, in := range inputs(t) {
		if len(name)%2 == 0 {
			in.VerifyPage = []byte("<!doctype html><title>verifier</title>")
		}
		dir := t.TempDir()
		fatalIfErr(t, os.WriteFile(filepath.Join(dir, "e.zip"), write(t, in), 0o600))
		fatalIfErr(t, os.WriteFile(filepath.Join(dir, "trust.json"), in.Trust, 0o600))
		var out, errs bytes.Buffer
		args := []string{"--json", "--trust", filepath.Join(dir, "trust.json"), filepath.Join(dir, "e.zip")}
		if in.Original == nil && in.Report.Steps[1].Status == proof.Passed { // the document has to be brought
			args = append(args, filepath.Join(vectorsDir, "document.pdf"))
			// Its size is compared then, which was not known of the digest alone.
			trust, err := proof.ParseTrust(in.Trust)
			fatalIfErr(t, err)
			document, err := os.ReadFile(filepath.Join(vectorsDir, "document.pdf"))
			fatalIfErr(t, err)
			in.Report = proof.VerifyFile(trust, &proof.File{SM3: sm.Sum(document), Size: int64(len(document))},
				in.Bundle)
		}
		got := verifier.Run(t.Context(), args, nil, &out, &errs)
		if got != codes[in.Report.Verdict] || out.String() != string(in.Report.JSON())+"\n" {
			t.Errorf("%s: %d %s %s", name, got, out.String(), errs.String())
		}
	}
}

// TestLargePackage: one beyond 4 GiB is accepted as well.
func TestLargePackage(t *testing.T) {
	if testing.Short() {
		t.Skip("hashes several gigabytes")
	}
	const size = 1<<32 + 1
	p, err := evidence.Prepare(large(t, size))
	fatalIfErr(t, err)
	pr, pw := io.Pipe()
	go func() { pw.CloseWithError(p.Write(pw)) }()
	got, err := carrier.ReadPackage(pr, nil)
	if err != nil || got.Size != size || got.Original != "original.pdf" {
		t.Errorf("%+v %v", got, err)
	}
}

func TestSameInputSameBytes(t *testing.T) {
	if !bytes.Equal(write(t, input(t, "genuine")), write(t, input(t, "genuine"))) {
		t.Error("two packages of one record differ")
	}
}

// zeros is a large document.
type zeros struct{ left int64 }

func (z *zeros) Read(b []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := int(min(int64(len(b)), z.left))
	clear(b[:n])
	z.left -= int64(n)
	return n, nil
}

// large is a record of a document of some size.
func large(t testing.TB, size int64) evidence.Input {
	t.Helper()
	h := sm.NewHash()
	_, err := io.Copy(h, &zeros{size})
	fatalIfErr(t, err)
	w := prooftest.New(prooftest.Options{})
	s, fields := w.Draft(nil)
	s.Document.SM3, s.Document.Size = sm.Digest(h.Sum(nil)), uint64(size)
	r := w.Enter(s, fields)
	c := w.Checkpoint()
	bundle := w.Bundle(r, c, w.Anchor(c)).Encode()
	return evidence.Input{Bundle: bundle, Report: proof.Verify(w.Trust(), &s.Document.SM3, bundle),
		Certificate: []byte("%PDF"), Trust: w.Trust().Encode(), Original: &zeros{size}}
}

func TestMemoryIsConstant(t *testing.T) {
	const size = 200 << 20
	p, err := evidence.Prepare(large(t, size))
	fatalIfErr(t, err)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	counter := &counted{}
	fatalIfErr(t, p.Write(counter))
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 8<<20 {
		t.Errorf("%d MiB were allocated", n>>20)
	}
	if counter.n < size {
		t.Errorf("%d bytes", counter.n)
	}
}

type counted struct{ n int64 }

func (c *counted) Write(b []byte) (int, error) { c.n += int64(len(b)); return len(b), nil }

// An original that is not the document any more does not get into a package that looks whole.
func TestWrongOriginal(t *testing.T) {
	for what, original := range map[string]io.Reader{"empty": strings.NewReader(""),
		"other": strings.NewReader(strings.Repeat("x", 48)), "longer": &zeros{100 << 20}} {
		t.Run(what, func(t *testing.T) {
			in := input(t, "genuine")
			in.Original = original
			p, err := evidence.Prepare(in)
			fatalIfErr(t, err)
			var b bytes.Buffer
			if err := p.Write(&b); !errors.Is(err, evidence.ErrOriginal) {
				t.Errorf("%s: %v", what, err)
			}
			if _, err := zip.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len())); err == nil {
				t.Errorf("%s: what was written is a zip file", what)
			}
		})
	}
	in := input(t, "genuine")
	in.Original = io.MultiReader(strings.NewReader("x"), failing{})
	p, err := evidence.Prepare(in)
	fatalIfErr(t, err)
	if err := p.Write(io.Discard); !errors.Is(err, errBroken) {
		t.Error(err)
	}
}

var errBroken = errors.New("the store broke")

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errBroken }

func TestPrepareRefuses(t *testing.T) {
	for what, change := range map[string]func(in *evidence.Input){
		"no report":      func(in *evidence.Input) { in.Report = nil },
		"no certificate": func(in *evidence.Input) { in.Certificate = nil },
		"no bundle":      func(in *evidence.Input) { in.Bundle = nil },
		"no trust":       func(in *evidence.Input) { in.Trust = nil },
		"altered":        func(in *evidence.Input) { in.Report.Verdict = proof.Altered },
		"pending":        func(in *evidence.Input) { in.Report.Verdict = proof.Pending },
		"other trust": func(in *evidence.Input) {
			in.Trust = prooftest.New(prooftest.Options{Seed: "other"}).Trust().Encode()
		},
	} {
		t.Run(what, func(t *testing.T) {
			in := input(t, "genuine")
			change(&in)
			if _, err := evidence.Prepare(in); err == nil {
				t.Errorf("%s: a package was made", what)
			}
		})
	}
}

// What somebody chose as a name gets into no command, no file name and no markup.
func TestHostileNames(t *testing.T) {
	for name, want := range map[string]string{"a.pdf": "original.pdf", "A.PDF": "original.pdf", "": "original",
		"a": "original", "x.tar.gz": "original.gz",
		"a.$(reboot)": "original", "a.sh;b": "original", "../../a.b/c": "original", "a.pdf ": "original",
		"文书.文档": "original", "a.abcdefghi": "original"} {
		t.Run(name, func(t *testing.T) {
			in := input(t, "genuine")
			in.Report.Fields = map[string]string{"fileName": name, "note": `<script>alert(1)</script>"'&`}
			dir, names := unpack(t, write(t, in))
			if !slices.Contains(names, want) {
				t.Errorf("%q: %v", name, names)
			}
			page, err := os.ReadFile(filepath.Join(dir, "report.html"))
			fatalIfErr(t, err)
			if regexp.MustCompile(`(?i)<script|javascript:|src=|href=`).Match(page) ||
				!bytes.Contains(page, []byte("&lt;script&gt;")) {
				t.Errorf("%q: %s", name, page)
			}
		})
	}
}

func BenchmarkWrite(b *testing.B) {
	in := large(b, 64<<20)
	b.SetBytes(64 << 20)
	for b.Loop() {
		in.Original = &zeros{64 << 20}
		p, err := evidence.Prepare(in)
		fatalIfErr(b, err)
		fatalIfErr(b, p.Write(io.Discard))
	}
}
