package notary_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/scanner"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// A room is a folder of packages, or one package, with the packages of this module that it may
// import. "x/..." is x and each package below it. The longest name that fits a package is its
// room; a room may always import itself.
type room struct{ name, imports, job string }

// In one sentence: proof <- register, chain <- log <- issue <- office, and the server on top;
// adapters hang at the side, and server/instance alone names them. A new arrow is a decision:
// it is made here, and TestImportTable writes it into docs/design.md.
var rooms = []room{
	{"crypto/...", "", "SM2, SM3, Merkle trees, certificates, keys in files"},
	{"notary", "crypto/...", "the words that all rooms share: record, agency, number, object, error; no I/O"},
	{"notary/outage", "", "what is down, since when and why"},
	{"notary/proof/...", "crypto/... notary", "formats and their verification: pure and frozen"},
	{"notary/register/...", "crypto/... notary notary/outage notary/proof/...",
		"a document comes in, until it is durable"},
	{"notary/chain/...", "crypto/... notary notary/proof/...", "the chain that several cities run"},
	{"notary/log/...", "crypto/... notary notary/outage notary/proof/... notary/register/... notary/chain/...",
		"the log: sequenced, anchored, checked, recovered"},
	{"notary/issue/...", "crypto/... notary notary/proof/... notary/register/... notary/log/...",
		"what leaves: bundles, certificates, evidence packages, answers"},
	{"notary/office/...", "crypto/... notary notary/outage notary/proof/... notary/register/... notary/issue/...",
		"people's work: papers, tables, stamps, accounts, webhooks"},
	{"notary/monitor/...", "crypto/... notary notary/proof/...",
		"watches a log from outside, and believes nothing that its operator says"},
	{"notary/cmd/...", "crypto/... notary/proof/...", "the offline verifier"},
	{"storage/...", "crypto/... notary/...", "adapters: databases, object stores, and the suite that both must pass"},
	{"ui/...", "crypto/sm/... notary/proof/...", "templates, texts, scripts, the verifier for browsers"},
	{"server/client", "crypto/sm notary/proof", "the client that agencies import: nothing of the server"},
	{"server/clock", "", "whether this machine's clock may be signed with"},
	{"server/worker", "", "child processes that read documents"},
	{"server/remote/...", "crypto/... notary/...", "what the server calls: chain nodes, gateways, scanner, webhooks"},
	{"server/auth/...", "crypto/... notary/... server/remote/deliver",
		"who is calling: sessions, keys, passkeys, single sign-on"},
	{"server/http/...", "crypto/... notary/... server/auth/... ui/...", "REST, console, public pages, uploads"},
	{"server/node", "crypto/... notary/... server/remote/chainnet", "a node of the chain as a service of its own"},
	{"server/instance", "crypto/... notary/... storage/... server/... ui/...",
		"puts an instance together from configuration"},
	{"server/cmd/...", "crypto/... notary/... server/... ui/...", "the commands"},
	{"deploy", "", "tests of what is shipped beside the program"},
}

// Of the pure packages a browser's verifier is built: directly they name none of notPure; through
// the standard library crypto/x509 alone brings in net. Packages of tests are not meant.
var pure = regexp.MustCompile(`^(crypto/(sm|merkle|vmap|signednote|pki)|notary|notary/proof(/.*)?|ui/(fill|words))$`)

var (
	notPure      = []string{"net", "net/http", "database/sql", "crypto/tls", "os", "os/exec", "log/slog"}
	notPureAtAll = []string{"net/http", "database/sql", "crypto/tls", "os/exec"}
	notInDomain  = []string{"net/http", "database/sql", "github.com/jmoiron/sqlx", "github.com/lib/pq",
		"modernc.org/sqlite", "github.com/minio/minio-go/v7", "github.com/go-chi/chi/v5"}
	adapterOwners = map[string]string{"github.com/minio/minio-go/v7": "storage/", "github.com/jmoiron/sqlx": "storage/",
		"modernc.org/sqlite": "storage/",
		"github.com/lib/pq":  "storage/", "github.com/cometbft/cometbft/node": "notary/chain",
		"github.com/tjfoc/gmsm/sm2":                "crypto/sm/selftest",
		"github.com/tus/tusd/v2/pkg/handler":       "server/http/tus",
		"github.com/go-webauthn/webauthn/webauthn": "server/auth/passkey",
		"github.com/coreos/go-oidc/v3/oidc":        "server/auth/sso"}
)

// -write lets TestImportTable write the document that it checks.
var write = flag.Bool("write", false, "write the table of rooms into docs/design.md")

type pkg struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

func packages(t *testing.T) map[string]pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Imports,Deps", "stele/...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]pkg{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		if name, ok := strings.CutPrefix(p.ImportPath, "stele/"); ok {
			all[name] = p
		}
	}
}

func covers(pattern, name string) bool {
	p, below := strings.CutSuffix(pattern, "/...")
	return name == p || below && strings.HasPrefix(name, p+"/")
}

func roomOf(name string) (room, bool) {
	best := room{}
	for _, r := range rooms {
		if covers(r.name, name) && len(r.name) > len(best.name) {
			best = r
		}
	}
	return best, best.name != ""
}

func (r room) permits(imported string) bool {
	return slices.ContainsFunc(append(strings.Fields(r.imports), r.name),
		func(p string) bool { return covers(p, imported) })
}

func TestImportDirections(t *testing.T) {
	for name, p := range packages(t) {
		in, ok := roomOf(name)
		if !ok {
			t.Errorf("%s is in no room: add one to the table", name)
		}
		for _, i := range p.Imports {
			if imported, own := strings.CutPrefix(i, "stele/"); own && !in.permits(imported) {
				t.Errorf("%s may not import %s", name, imported)
			}
			if owner, ok := adapterOwners[i]; ok && !strings.HasPrefix(name, owner) {
				t.Errorf("%s may not import %s: that is the business of %s", name, i, owner)
			}
			if slices.Contains(notInDomain, i) && strings.HasPrefix(name, "notary") {
				t.Errorf("%s may not import %s: the domain knows no SQL, no S3 and no HTTP", name, i)
			}
		}
		if pure.MatchString(name) && !strings.Contains(name, "/prooftest") {
			for _, bad := range notPure {
				if slices.Contains(p.Imports, bad) {
					t.Errorf("%s may not import %s: it must build for a browser", name, bad)
				}
			}
			for _, bad := range notPureAtAll {
				if slices.Contains(p.Deps, bad) {
					t.Errorf("%s depends on %s", name, bad)
				}
			}
		}
	}
}

const design, tableStart, tableEnd = "../docs/design.md",
	"<!-- rooms: go test ./notary -run TestImportTable -write -->\n", "<!-- /rooms -->"

// TestImportTable holds the table of docs/design.md equal to the one above.
func TestImportTable(t *testing.T) {
	var table strings.Builder
	table.WriteString("| room | may import | what it is for |\n|---|---|---|\n")
	for _, r := range rooms {
		imports := "–"
		if r.imports != "" {
			imports = "`" + strings.ReplaceAll(r.imports, " ", "`, `") + "`"
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s |\n", r.name, imports, r.job)
	}
	text, err := os.ReadFile(design)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), tableStart)
	_, after, closed := strings.Cut(rest, tableEnd)
	if !found || !closed {
		t.Fatalf("%s has no place for the table", design)
	}
	made := before + tableStart + table.String() + tableEnd + after
	if *write {
		err = os.WriteFile(design, []byte(made), 0o644)
	} else if made != string(text) {
		t.Errorf("%s does not have the table of allowed imports: go test ./notary -run TestImportTable -write", design)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// forwarding is how code reads who a proxy says is calling.
var forwarding = regexp.MustCompile(`RealIP|(Get|Values)\("(?i:x-forwarded-for|x-real-ip|forwarded)"\)`)

func sources(t *testing.T, visit func(path, text string)) {
	t.Helper()
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && path != ".." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "data" ||
			name == "bin") {
			return fs.SkipDir
		}
		if d.IsDir() || filepath.Ext(name) != ".go" {
			return nil
		}
		text, err := os.ReadFile(path)
		visit(strings.TrimPrefix(filepath.ToSlash(path), "../"), string(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// maxColumns is where a line ends; a tab counts as four columns.
const maxColumns = 120

// tooLong lists the lines of Go source that end after maxColumns. A raw string (a struct's tag, a
// text in another language) can't be broken without changing it, so its lines are as long as they
// are; so are generated files.
func tooLong(text string) []int {
	if strings.HasPrefix(text, "// Code generated") {
		return nil
	}
	raw := map[int]bool{}
	files := token.NewFileSet()
	var s scanner.Scanner
	file := files.AddFile("", -1, len(text))
	s.Init(file, []byte(text), nil, scanner.ScanComments)
	for {
		pos, tok, literal := s.Scan()
		if tok == token.EOF {
			break
		}
		if tok == token.STRING && literal[0] == '`' {
			first := file.Line(pos)
			for n := range strings.Count(literal, "\n") + 1 {
				raw[first+n] = true
			}
		}
	}
	var lines []int
	for i, line := range strings.Split(text, "\n") {
		if utf8.RuneCountInString(line)+3*strings.Count(line, "\t") > maxColumns && !raw[i+1] {
			lines = append(lines, i+1)
		}
	}
	return lines
}

// A file has one subject. Clocks are handed in, so that time is the same for all parts and
// tests can set it.
func TestHouseRules(t *testing.T) {
	sources(t, func(path, text string) {
		if n := strings.Count(text, "\n"); n > 600 {
			t.Errorf("%s has %d lines: split it by subject", path, n)
		}
		for _, line := range tooLong(text) {
			t.Errorf("%s:%d is longer than %d columns", path, line, maxColumns)
		}
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		if (strings.HasPrefix(path, "crypto/") || strings.HasPrefix(path, "notary/")) &&
			!strings.Contains(path, "/cmd/") && !strings.Contains(path, "prooftest") &&
			!strings.HasPrefix(path, "notary/chain/") && strings.Contains(text, "time.Now()") {
			// notary/chain is excepted: the engine below it has a clock of its own, the machine's
			t.Errorf("%s reads the clock: take it as a function", path)
		}
		if !strings.HasPrefix(path, "server/http/caller/") && forwarding.MatchString(text) {
			t.Errorf("%s reads a forwarding header: package caller alone knows whose is believed, and puts the "+
				"address into RemoteAddr", path)
		}
		if !strings.Contains(path, "cmd/") && strings.Contains(text, "context.Background()") &&
			strings.HasPrefix(path, "notary/") && !strings.HasPrefix(path, "notary/chain/") {
			t.Errorf("%s makes a context of its own: derive it from the caller's", path)
		}
		if !strings.Contains(text, "// Package ") && !strings.Contains(text, "// Command ") &&
			strings.HasSuffix(path, "/doc.go") {
			t.Errorf("%s has no package comment", path)
		}
	})
	if _, err := os.Stat("../go.mod"); err != nil {
		t.Fatal(err)
	}
	if top, _ := filepath.Glob("../*.go"); len(top) > 0 {
		t.Errorf("no Go file at the top: %v", top)
	}
}
