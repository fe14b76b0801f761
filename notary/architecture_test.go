package notary_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// allowed is who may import whom: for each package (or, with a final /..., each one below
// a folder) the packages of this module that it may name. Arrows point inward. A new arrow
// is a decision: it is made here.
var allowed = map[string]string{
	"crypto/sm":                  "",
	"crypto/sm/selftest":         "crypto/sm",
	"crypto/merkle":              "crypto/sm",
	"crypto/signednote":          "crypto/sm",
	"crypto/pki":                 "crypto/sm",
	"crypto/pki/pkitest":         "",
	"crypto/keystore":            "crypto/sm",
	"crypto/closed":              "",
	"crypto/seal":                "crypto/sm",
	"notary":                     "crypto/sm",
	"notary/canonical":           "",
	"notary/statement":           "crypto/sm crypto/merkle notary notary/canonical",
	"notary/checkpoint":          "crypto/merkle crypto/signednote",
	"notary/anchorproof":         "crypto/sm crypto/merkle crypto/signednote notary/checkpoint",
	"notary/gateway":             "crypto/sm",
	"notary/bsnproof":            "crypto/merkle crypto/sm notary/canonical notary/checkpoint notary/gateway",
	"notary/proof":               "crypto/... notary notary/canonical notary/statement notary/checkpoint notary/anchorproof notary/bsnproof notary/gateway",
	"notary/proof/prooftest/...": "crypto/... notary notary/canonical notary/statement notary/checkpoint notary/anchorproof notary/gateway notary/bsnproof notary/proof/...",
	"notary/proof/carrier":       "",
	"notary/proof/trustfile":     "crypto/... notary/anchorproof notary/chainview notary/proof",
	"notary/proof/exhibit":       "crypto/... notary/anchorproof notary/bsnproof notary/checkpoint notary/gateway notary/proof notary/statement",
	"notary/verifier":            "crypto/sm crypto/signednote notary/proof notary/proof/carrier notary/proof/trustfile notary/statement",
	"notary/certificate":         "crypto/sm notary notary/class notary/proof notary/proof/carrier",
	"notary/stamp":               "crypto/sm notary notary/certificate notary/stamp/...",
	"notary/stamp/pdf":           "crypto/sm",
	"notary/stamp/pdftext":       "notary/stamp/pdf",
	"notary/stamp/stamptest":     "",
	"notary/issue":               "notary notary/certificate notary/class notary/proof",
	"notary/evidence":            "crypto/sm notary/proof notary/proof/carrier notary/proof/exhibit",
	"notary/cmd/stele-verify":    "crypto/... notary/proof notary/verifier",
	"notary/batchlog":            "crypto/merkle crypto/signednote notary notary/checkpoint notary/outage notary/statement",
	"notary/class":               "notary notary/statement",
	"notary/mediatype":           "notary notary/statement",
	"notary/intake":              "crypto/sm notary notary/canonical notary/class notary/mediatype notary/outage notary/statement",
	"notary/filing":              "crypto/sm notary notary/class notary/intake notary/mediatype notary/outage notary/statement",
	"notary/bulk":                "crypto/sm notary notary/class notary/filing notary/intake notary/mediatype notary/outage",
	"notary/archive":             "crypto/merkle crypto/sm notary notary/batchlog notary/checkpoint notary/proof notary/statement",
	"notary/lookup":              "crypto/sm notary notary/archive notary/proof",
	"notary/anchor":              "crypto/merkle notary/checkpoint notary/outage",
	"notary/anchor/egov":         "crypto/merkle notary/anchor notary/anchorproof notary/chain notary/checkpoint",
	"notary/chain":               "crypto/closed crypto/merkle crypto/sm crypto/signednote notary/anchorproof notary/checkpoint",
	"notary/chain/ceremony":      "crypto/signednote crypto/sm notary/anchorproof notary/canonical notary/chain",
	"notary/chainview":           "crypto/merkle notary/anchorproof notary/checkpoint",
	"notary/anchor/bsn":          "crypto/merkle notary/anchor notary/bsnproof notary/checkpoint notary/gateway",
	"notary/fsck":                "crypto/... notary notary/batchlog notary/checkpoint notary/proof notary/statement",
	"notary/webhook":             "crypto/seal crypto/sm notary notary/outage",
	"notary/upload":              "crypto/sm notary",
	"notary/erasure":             "notary notary/statement",
	"notary/tail":                "crypto/seal crypto/sm notary notary/erasure notary/intake notary/statement",
	"notary/recovery":            "crypto/... notary notary/batchlog notary/checkpoint notary/erasure notary/statement notary/tail",
	"notary/outage":              "",
	"notary/people":              "crypto/seal crypto/sm notary notary/outage notary/statement",
	"storage/...":                "crypto/... notary/... storage/...",
	"deploy":                     "",
	"ui":                         "crypto/sm ui/fill",
	"ui/fill":                    "",
	"ui/build":                   "",
	"ui/scan/...":                "ui/scan/...",
	"ui/wasm/...":                "crypto/sm crypto/sm/selftest notary/proof notary/proof/carrier notary/proof/exhibit ui/fill ui/wasm/...",
	"server/slowread":            "",
	"server/worker":              "",
	"server/deliver":             "notary/webhook",
	"server/bsnhttp":             "notary/anchor/bsn",
	"server/bsnpeer":             "crypto/sm notary/gateway",
	"server/auth":                "crypto/sm notary notary/outage",
	"server/caller":              "",
	"server/clock":               "",
	"server/request":             "server/auth",
	"server/tus":                 "notary notary/upload",
	"server/clamd":               "notary",
	"server/clamd/clamdtest":     "",
	"server/client":              "crypto/sm notary/proof", // agencies import it: nothing of the server
	"server/chainnet":            "crypto/merkle notary notary/anchor notary/anchorproof notary/chainview notary/checkpoint",
	"server/node":                "crypto/keystore crypto/sm notary/anchorproof notary/chain notary/chain/ceremony notary/chainview notary/checkpoint server/chainnet",
	"server/api":                 "crypto/... notary notary/archive notary/chainview notary/erasure notary/evidence notary/intake notary/issue notary/lookup notary/proof notary/upload notary/webhook server/auth server/request server/slowread server/tus",
	"server/web":                 "crypto/sm notary notary/archive notary/certificate notary/chainview notary/issue notary/lookup notary/proof notary/proof/carrier notary/proof/exhibit server/auth server/site server/slowread ui",
	"server/site":                "ui",
	"server/webtest":             "ui",
	"server/console":             "crypto/sm notary notary/archive notary/bulk notary/certificate notary/class notary/erasure notary/evidence notary/filing notary/issue notary/people notary/proof notary/stamp notary/statement notary/upload notary/webhook server/auth server/passkey server/site server/request server/slowread server/sso server/tus ui",
	"server/passkey":             "notary notary/people",
	"server/sso":                 "notary notary/people notary/webhook server/deliver",
	"server/sso/ssotest":         "",
	"server/instance":            "crypto/... notary/... storage/... server/... ui",
	"server/cmd/stele":           "crypto/... notary/... server/... ui",
}

// pure packages are the verifier and what it stands on: they build for a browser. Directly
// they name none of these; through the standard library crypto/x509 alone brings in net.
const pure = "crypto/sm crypto/merkle crypto/signednote crypto/pki notary notary/canonical notary/statement notary/checkpoint notary/anchorproof notary/gateway notary/bsnproof notary/proof notary/proof/carrier notary/proof/exhibit notary/chainview notary/proof/trustfile"

var (
	notPure       = []string{"net", "net/http", "database/sql", "crypto/tls", "os", "os/exec", "log/slog"}
	notPureAtAll  = []string{"net/http", "database/sql", "crypto/tls", "os/exec"}
	notInDomain   = []string{"net/http", "database/sql", "github.com/jmoiron/sqlx", "github.com/lib/pq", "modernc.org/sqlite", "github.com/minio/minio-go/v7", "github.com/go-chi/chi/v5"}
	adapterOwners = map[string]string{"github.com/minio/minio-go/v7": "storage/", "github.com/jmoiron/sqlx": "storage/", "modernc.org/sqlite": "storage/",
		"github.com/lib/pq": "storage/", "github.com/cometbft/cometbft/node": "notary/chain", "github.com/tjfoc/gmsm/sm2": "crypto/sm/selftest",
		"github.com/tus/tusd/v2/pkg/handler": "server/tus", "github.com/go-webauthn/webauthn/webauthn": "server/passkey", "github.com/coreos/go-oidc/v3/oidc": "server/sso"}
)

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

func ruleFor(name string) (string, bool) {
	if r, ok := allowed[name]; ok {
		return r, true
	}
	best, found := "", false
	for k := range allowed {
		if p, ok := strings.CutSuffix(k, "..."); ok && strings.HasPrefix(name+"/", p) && len(p) > len(best) {
			best, found = p, true
		}
	}
	return allowed[best+"..."], found
}

func permits(rule, imported string) bool {
	for _, r := range strings.Fields(rule) {
		if p, ok := strings.CutSuffix(r, "/..."); r == imported || ok && (imported == p || strings.HasPrefix(imported, p+"/")) {
			return true
		}
	}
	return false
}

func TestImportDirections(t *testing.T) {
	for name, p := range packages(t) {
		rule, ok := ruleFor(name)
		if !ok {
			t.Errorf("%s is not in the table of allowed imports", name)
		}
		for _, i := range p.Imports {
			if imported, own := strings.CutPrefix(i, "stele/"); own && !permits(rule, imported) {
				t.Errorf("%s may not import %s", name, imported)
			}
			if owner, ok := adapterOwners[i]; ok && !strings.HasPrefix(name, owner) {
				t.Errorf("%s may not import %s: that is the business of %s", name, i, owner)
			}
			if slices.Contains(notInDomain, i) && strings.HasPrefix(name, "notary") {
				t.Errorf("%s may not import %s: the domain knows no SQL, no S3 and no HTTP", name, i)
			}
		}
		if slices.Contains(strings.Fields(pure), name) {
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

// forwarding is how code reads who a proxy says is calling.
var forwarding = regexp.MustCompile(`RealIP|(Get|Values)\("(?i:x-forwarded-for|x-real-ip|forwarded)"\)`)

func sources(t *testing.T, visit func(path, text string)) {
	t.Helper()
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && path != ".." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "data" || name == "bin") {
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

// A file has one subject. Clocks are handed in, so that time is the same for all parts and
// tests can set it.
func TestHouseRules(t *testing.T) {
	sources(t, func(path, text string) {
		if n := strings.Count(text, "\n"); n > 600 {
			t.Errorf("%s has %d lines: split it by subject", path, n)
		}
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		if (strings.HasPrefix(path, "crypto/") || strings.HasPrefix(path, "notary/")) && !strings.Contains(path, "/cmd/") && !strings.Contains(path, "prooftest") &&
			!strings.HasPrefix(path, "notary/chain/") && strings.Contains(text, "time.Now()") {
			// notary/chain is excepted: the engine below it has a clock of its own, the machine's
			t.Errorf("%s reads the clock: take it as a function", path)
		}
		if !strings.HasPrefix(path, "server/caller/") && forwarding.MatchString(text) {
			t.Errorf("%s reads a forwarding header: package caller alone knows whose is believed, and puts the address into RemoteAddr", path)
		}
		if !strings.Contains(path, "cmd/") && strings.Contains(text, "context.Background()") && strings.HasPrefix(path, "notary/") && !strings.HasPrefix(path, "notary/chain/") {
			t.Errorf("%s makes a context of its own: derive it from the caller's", path)
		}
		if !strings.Contains(text, "// Package ") && !strings.Contains(text, "// Command ") && strings.HasSuffix(path, "/doc.go") {
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
