package proof_test

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"stele/crypto/pki"
	"stele/crypto/signednote"
	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/prooftest"
)

func stepOf(r *proof.Report, name proof.StepName) proof.Step {
	i := slices.IndexFunc(r.Steps, func(s proof.Step) bool { return s.Name == name })
	if i < 0 {
		return proof.Step{}
	}
	return r.Steps[i]
}

func TestReportOfAGenuineBundle(t *testing.T) {
	document := []byte("a document")
	w := prooftest.New(prooftest.Options{Validators: 4, Entries: 2, Neighbours: 2})
	digest := sm.Sum(document)
	r := proof.Verify(w.Trust(), &digest, w.Notarize(document).Encode())
	if r.Verdict != proof.Genuine || r.Proves == "" {
		t.Fatalf("%s: %s", r.Verdict, r.Summary)
	}
	var names []proof.StepName
	for _, s := range r.Steps {
		names = append(names, s.Name)
		silent := s.Name == proof.StepStanding && s.Status == proof.NotChecked && s.Reason == "no_status_proof"
		if s.Detail == "" || !silent && (s.Status != proof.Passed || s.Reason != "") {
			t.Errorf("%+v", s)
		}
	}
	want := []proof.StepName{proof.StepBundle, proof.StepDocument, proof.StepFields, proof.StepStatement,
		proof.StepCertificate,
		proof.StepInclusion, proof.StepCheckpoint, proof.StepAnchor, proof.StepStanding}
	if !slices.Equal(names, want) {
		t.Errorf("steps are %v", names)
	}
	if r.Document.SM3 != digest.String() || r.Document.Size != 10 || r.Agency.Name != w.Agency.Name ||
		r.Agency.Code != w.Agency.Code ||
		r.Log.Origin != w.Origin() || r.Log.Index != 2 || r.Log.Size != 3 || len(r.Fields) != 3 ||
		r.Standing.State != proof.StandingUnknown {
		t.Errorf("%s", r.JSON())
	}
	a := r.Anchors[0]
	if len(r.Anchors) != 1 || a.Strength != proof.SelfProving || len(a.Cosigners) != 4 || a.Power != 40 ||
		a.TotalPower != 40 || a.Time != r.AnchoredAt {
		t.Errorf("%+v", r.Anchors)
	}
	if stepOf(r, proof.StepAnchor).Strength != proof.SelfProving {
		t.Error("the step does not say how strong the anchor is")
	}
}

// TestVerifyWithoutMeans: what is missing is said, and is never called a forgery.
func TestVerifyWithoutMeans(t *testing.T) {
	document := []byte("a document")
	w := prooftest.New(prooftest.Options{})
	digest, bundle := sm.Sum(document), w.Notarize(document).Encode()
	if r := proof.Verify(nil, &digest, bundle); r.Verdict != proof.Unverifiable {
		t.Errorf("without trust roots: %s", r.Verdict)
	}
	r := proof.Verify(w.Trust(), nil, bundle)
	if s := stepOf(r, proof.StepDocument); r.Verdict != proof.Unverifiable || s.Status != proof.NotChecked ||
		r.Proves != "" {
		t.Errorf("without a file: %s, %+v", r.Verdict, s)
	}
	for _, s := range r.Steps {
		if s.Status != proof.Passed && s.Name != proof.StepDocument && s.Name != proof.StepStanding {
			t.Errorf("without a file: %+v", s)
		}
	}
	for _, r := range []*proof.Report{proof.Unchecked("the service did not answer"), proof.Missing()} {
		var back proof.Report
		if err := json.Unmarshal(r.JSON(), &back); err != nil || back.Steps == nil || back.Summary == "" ||
			back.Format != proof.ReportFormat {
			t.Errorf("%s: %v", r.JSON(), err)
		}
	}
}

// TestFailedStepIsTheOneThatDecided: a file that differs decides nothing when the evidence
// does not hold.
func TestFailedStepIsTheOneThatDecided(t *testing.T) {
	w := prooftest.New(prooftest.Options{})
	b := w.Notarize([]byte("a document"))
	other := sm.Sum([]byte("another document"))
	if s, failed := proof.Verify(w.Trust(), &other, b.Encode()).FailedStep(); !failed || s.Name != proof.StepDocument {
		t.Errorf("altered: %+v", s)
	}
	b.Signature[len(b.Signature)-1] ^= 1
	r := proof.Verify(w.Trust(), &other, b.Encode())
	if s, failed := r.FailedStep(); r.Verdict != proof.Invalid || !failed || s.Name != proof.StepStatement ||
		!strings.Contains(r.Summary, s.Detail) {
		t.Errorf("invalid: %+v: %s", s, r.Summary)
	}
}

// TestReportIsTheSameEveryTime: nothing in it may depend on the order of a map, the clock or
// earlier calls, and a trust set may be used by many at once.
func TestReportIsTheSameEveryTime(t *testing.T) {
	set := loadVectors(t)
	for _, v := range set.Index.Vectors {
		trust, err := proof.ParseTrust(set.Files[v.Trust])
		if err != nil {
			t.Fatal(err)
		}
		reports := make(chan string, 3)
		for range cap(reports) {
			go func() { reports <- string(proof.Verify(trust, nil, set.Files[v.Bundle]).JSON()) }()
		}
		if a, b, c := <-reports, <-reports, <-reports; a != b || b != c {
			t.Errorf("%s: reports differ\n%s\n%s\n%s", v.Name, a, b, c)
		}
	}
}

// TestErrorsNameTheFirstField: with several fields out of form the message must not vary.
func TestErrorsNameTheFirstField(t *testing.T) {
	document := []byte("a document")
	w := prooftest.New(prooftest.Options{})
	b := w.Notarize(document)
	for i := range b.Fields {
		b.Fields[i].Salt = b.Fields[i].Salt[:8]
	}
	for range 20 {
		r := proof.Verify(w.Trust(), nil, b.Encode())
		if s, _ := r.FailedStep(); !strings.Contains(s.Detail, `"fileName"`) {
			t.Fatal(s.Detail)
		}
	}
}

// TestCertificatesOfOurAuthority: prooftest makes its own certificates; those that package
// pki issues must do as well.
func TestCertificatesOfOurAuthority(t *testing.T) {
	rootKey, err := sm.GenerateKey()
	fatalIfErr(t, err)
	name := pki.Name{Country: "CN", Organization: "江城市数据局", CommonName: "存证根证书"}
	root, err := pki.NewRoot(pki.RootRequest{Subject: name, NotBefore: prooftest.RootNotBefore,
		NotAfter: prooftest.RootNotAfter}, rootKey)
	fatalIfErr(t, err)
	w := prooftest.New(prooftest.Options{})
	agency, err := pki.Issue(pki.IssueRequest{Profile: pki.Agency,
		Subject:   pki.Name{Country: "CN", Organization: w.Agency.Name, Code: w.Agency.Code},
		NotBefore: prooftest.AgencyNotBefore, NotAfter: prooftest.AgencyNotAfter, PublicKey: w.Agency.Key.Public()},
		[][]byte{root}, rootKey)
	fatalIfErr(t, err)
	w.Root.DER, w.Agency.Certificates = root, [][]byte{agency, root}
	document := []byte("a document")
	digest := sm.Sum(document)
	if r := proof.Verify(w.Trust(), &digest, w.Notarize(document).Encode()); r.Verdict != proof.Genuine {
		t.Errorf("%s: %s", r.Verdict, r.Summary)
	}
}

// TestEarliestAnchorLeads: of two chains the earlier time leads, and the report says whose it is.
// An anchor more never makes a record's evidence worse.
func TestEarliestAnchorLeads(t *testing.T) {
	document := []byte("a document")
	first := prooftest.New(prooftest.Options{Seed: "one"})
	second := prooftest.New(prooftest.Options{Seed: "two"})
	r := first.Issue(document)
	c := first.Checkpoint()
	second.Now = first.Now
	early := second.Anchor(c)
	first.Tick(time.Minute)
	trust := first.Trust()
	trust.Chains = append(trust.Chains, second.Trust().Chains...)
	digest := sm.Sum(document)
	report := proof.Verify(trust, &digest, first.Bundle(r, c, first.Anchor(c), early).Encode())
	if report.Verdict != proof.Genuine || len(report.Anchors) != 2 || report.AnchoredAt != report.Anchors[1].Time ||
		report.AnchoredBy != report.Anchors[1].Chain || report.Headline() != &report.Anchors[1] {
		t.Errorf("%s", report.JSON())
	}
}

// A log's key changes: what each key signed in its time holds, and nothing out of it.
func TestLogKeyChanges(t *testing.T) {
	document := []byte("a document")
	digest := sm.Sum(document)
	w := prooftest.New(prooftest.Options{})
	trust := w.Trust()
	before := w.Bundle(w.Issue(document), w.Checkpoint()).Encode()
	former := w.LogKey
	w.Tick(time.Hour)
	w.LogKey = prooftest.NewKey("the next log key")
	next, err := signednote.NewVerifier(w.Origin(), w.LogKey.Public())
	fatalIfErr(t, err)
	fatalIfErr(t, trust.ChangeLogKey(next, w.Now, time.Minute))
	if err := trust.ChangeLogKey(next, w.Now, time.Minute); !errors.Is(err, proof.ErrTrust) {
		t.Error("one key twice:", err)
	}
	if trust, err = proof.ParseTrust(trust.Encode()); err != nil ||
		trust.LogKey(w.Origin()).KeyHash() != next.KeyHash() || len(trust.LogKeys(w.Origin())) != 2 {
		t.Fatal(err)
	}
	w.Tick(time.Hour)
	r := w.Issue(document)
	after := w.Bundle(r, w.Checkpoint()).Encode()
	w.LogKey = former
	late := w.Bundle(r, w.Checkpoint()).Encode()
	for name, c := range map[string]struct {
		bundle []byte
		want   proof.Verdict
	}{"the former key before": {before, proof.Pending}, "the next key after": {after, proof.Pending},
		"the former key after": {late, proof.Invalid}} {
		t.Run(name, func(t *testing.T) {
			if report := proof.Verify(trust, &digest, c.bundle); report.Verdict != c.want {
				t.Errorf("%s: %s: %s", name, report.Verdict, report.Summary)
			}
		})
	}
}

func verifierOf(t testing.TB, origin string, key prooftest.Key) *signednote.Verifier {
	t.Helper()
	v, err := signednote.NewVerifier(origin, key.Public())
	fatalIfErr(t, err)
	return v
}

func fatalIfErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func BenchmarkVerify(b *testing.B) {
	set := loadVectors(b)
	trust, err := proof.ParseTrust(set.Files["trust.json"])
	fatalIfErr(b, err)
	document, err := os.ReadFile(vectorsDir + "/document.pdf")
	fatalIfErr(b, err)
	digest := sm.Sum(document)
	for _, name := range []string{"genuine-solo", "genuine", "genuine-hand-over", "revoked"} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(set.Files[name+".json"])))
			for b.Loop() {
				if v := proof.Verify(trust, &digest, set.Files[name+".json"]).Verdict; v != proof.Genuine &&
					v != proof.Revoked {
					b.Fatal(v)
				}
			}
		})
	}
}
