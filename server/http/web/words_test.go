package web

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"stele/notary/proof"
	"stele/notary/proof/prooftest/vectors"
	"stele/server/http/site"
	"stele/ui"
	"stele/ui/words"
)

func speaker(t *testing.T) (*Web, []*ui.Catalogue) {
	t.Helper()
	cs, err := ui.LoadCatalogues()
	if err != nil {
		t.Fatal(err)
	}
	return &Web{Config: Config{Now: time.Now}}, cs.All()
}

// TestEveryReportHasWords puts the report on every test vector into words in every language:
// no key is missing, no place is left open, and no reason falls back to "see the note".
func TestEveryReportHasWords(t *testing.T) {
	w, languages := speaker(t)
	set, err := vectors.Load("../../../notary/proof/testdata/vectors")
	if err != nil {
		t.Fatal(err)
	}
	open := regexp.MustCompile(`\[[a-z]+\.|\{[a-z]+\}`)
	for _, v := range set.Index.Vectors {
		report, err := set.Report(v)
		if err != nil {
			t.Fatal(err)
		}
		f := finding{Report: report}
		for _, c := range languages {
			said := fmt.Sprintf("%+v", w.words(c, []finding{f, f}))
			if found := open.FindString(said); found != "" {
				t.Errorf("%s in %s: %q in %s", v.Name, c.Tag, found, said)
			}
			if strings.Contains(said, c.Text("reason.other")) || report.Verdict == proof.Unverifiable &&
				strings.Contains(said, c.Text("cause.other.reason")) {
				t.Errorf("%s in %s: a reason without words in %s", v.Name, c.Tag, said)
			}
			for _, s := range report.Steps {
				for _, v := range s.Compared {
					if !c.Has(words.ComparedKey(v.What)) {
						t.Errorf("%s lacks %s", c.Tag, words.ComparedKey(v.What))
					}
				}
			}
		}
	}
}

// TestMethodIsInWords: how a document came is said in words, one that nobody knows as it stands.
func TestMethodIsInWords(t *testing.T) {
	_, languages := speaker(t)
	for _, c := range languages {
		for method, want := range map[string]string{"bulk": c.Text("method.bulk"), "<by post>": "<by post>"} {
			t.Run(method+" in "+c.Tag, func(t *testing.T) {
				if got := words.Attributes(c, &proof.Report{Fields: map[string]string{"originMethod": method}}); len(
					got) != 1 ||
					got[0].Value != want {
					t.Errorf("%s in %s: %+v", method, c.Tag, got)
				}
			})
		}
	}
}

// TestEveryCodeHasWords reads the codes out of the verifier's sources, so that one that no
// vector reaches is found too.
func TestEveryCodeHasWords(t *testing.T) {
	_, languages := speaker(t)
	code := regexp.MustCompile(`(?:\.fail|\.skip)\((Step\w+|n), "(\w+)"|Name: (Step\w+), Status: \w+, Reason: "(\w+)"`)
	assigned := regexp.MustCompile(`step\.Reason(?:, step\.Detail)? = [^"\n]*"(\w+)"`)
	names, err := filepath.Glob("../../../notary/proof/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range code.FindAllStringSubmatch(string(source), -1) {
			step := strings.ToLower(strings.TrimPrefix(m[1]+m[3], "Step"))
			keys = append(keys, "reason."+step+"."+m[2]+m[4])
		}
		for _, m := range assigned.FindAllStringSubmatch(string(source), -1) {
			keys = append(keys, "reason.*."+m[1])
		}
	}
	if len(keys) < 25 {
		t.Fatalf("only %d codes were found: the test no longer understands the sources", len(keys))
	}
	for _, c := range languages {
		for _, key := range keys {
			last := key[strings.LastIndex(key, ".")+1:]
			any := slices.ContainsFunc(stepNames,
				func(s proof.StepName) bool { return c.Has("reason." + string(s) + "." + last) })
			if !c.Has(key) && !c.Has("reason."+last) && (!strings.Contains(key, "*") || !any) {
				t.Errorf("%s has no words for %s", c.Tag, key)
			}
		}
		for _, s := range stepNames {
			for _, key := range []string{"step." + string(s) + ".title", "step." + string(s) + ".passed"} {
				// What a standing that passes shows has words of its own: a later statement, or the log's status.
				if !c.Has(key) && key != "step.standing.passed" {
					t.Errorf("%s lacks %s", c.Tag, key)
				}
			}
		}
		for _, code := range []string{proof.WarnLateAnchor, proof.WarnResaved, proof.WarnCertificate,
			proof.WarnStandingAlone, proof.WarnStandingLate} {
			if key := "warning." + code; !c.Has(key) {
				t.Errorf("%s lacks %s", c.Tag, key)
			}
		}
		for _, row := range proof.Verdicts() {
			v := row.Verdict
			if key := "many.count." + string(v); !c.Has(key) {
				t.Errorf("%s lacks %s", c.Tag, key)
			}
			for _, part := range []string{"label", "sentence"} {
				if key := "verdict." + string(v) + "." + part; !c.Has(key) {
					t.Errorf("%s lacks %s", c.Tag, key)
				}
			}
		}
		for _, f := range failures {
			if !c.Has("error."+f.text+".heading") || !c.Has("error."+f.text+".next") {
				t.Errorf("%s lacks error.%s", c.Tag, f.text)
			}
		}
	}
}

var stepNames = []proof.StepName{proof.StepBundle, proof.StepDocument, proof.StepFields, proof.StepStatement,
	proof.StepCertificate,
	proof.StepInclusion, proof.StepCheckpoint, proof.StepAnchor, proof.StepConsistency, proof.StepStatus,
	proof.StepStanding}

// TestNoDeadTexts finds texts that nothing uses any more.
func TestNoDeadTexts(t *testing.T) {
	_, languages := speaker(t)
	var sources strings.Builder
	for _, pattern := range []string{"*.go", "../../../ui/templates/*.html", "../../../ui/static/js/*.js",
		"../../../ui/build/*.tmpl", "../../../ui/words/*.go", "../../../notary/proof/exhibit/*.go"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			sources.Write(data)
		}
	}
	// server/http/console tests its own
	composed := regexp.MustCompile(
		`^(verdict|cause|step|reason|compared|status|strength|standing|warning|class|field|method|month|facts|error|many\.count|offline\.(trust|evidence|document)|console)\.`)
	for _, key := range languages[0].Keys() {
		if !composed.MatchString(key) && !strings.Contains(sources.String(), `"`+key+`"`) &&
			!strings.Contains(sources.String(), `'`+key+`'`) && key != "lang.tag" {
			t.Errorf("nothing uses %s", key)
		}
	}
}

func TestNormalizeNumber(t *testing.T) {
	for in, want := range map[string]string{
		"420100-2026-00000017-0": "420100-2026-00000017-0",
		" 4201002026 000000170 ": "420100-2026-00000017-0",
		"４２０１００－２０２６－００００００１７－０": "420100-2026-00000017-0",
		"420100—2026—00099999—x": "420100-2026-00099999-X",
		"12":                     "12",
	} {
		t.Run(in, func(t *testing.T) {
			if got := site.NormalizeNumber(in); got != want {
				t.Errorf("%q: %q, want %q", in, got, want)
			}
		})
	}
}

// TestVerifierNotBuilt is the page of a program that was built without the generator: it
// offers the upload and promises nothing else.
func TestVerifierNotBuilt(t *testing.T) {
	_, languages := speaker(t)
	p, err := parsePages(languages[1], &ui.Assets{})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := p.byName["home"].Execute(&b, frame{Lang: "en", Page: homePage{}}); err != nil {
		t.Fatal(err)
	}
	if html := b.String(); strings.Contains(html, "data-wasm") || !strings.Contains(html, `data-mode="upload"`) {
		t.Errorf("the page:\n%s", html)
	}
}
