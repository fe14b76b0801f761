package issue_test

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/png"
	"strings"
	"testing"
	"time"

	"stele/notary"
	"stele/notary/issue"
	"stele/notary/issue/certificate"
	"stele/notary/proof"
	"stele/notary/proof/prooftest"
	"stele/notary/register/class"
)

// seals answers with one seal from a time on, or with an error.
type seals struct {
	seal notary.Seal
	err  error
}

func (s seals) SealAt(_ context.Context, agencyID string, at time.Time) (notary.Seal, error) {
	if s.err == nil && (agencyID != s.seal.AgencyID || at.Before(s.seal.From)) {
		return notary.Seal{}, notary.ErrNotFound
	}
	return s.seal, s.err
}

func fatalIfErr(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestCertificate(t *testing.T) {
	w := prooftest.New(prooftest.Options{})
	r := w.Issue([]byte("a document"))
	c := w.Checkpoint()
	bundle, early := w.Bundle(r, c, w.Anchor(c)).Encode(), w.Bundle(r, c).Encode()
	w.Now = prooftest.AgencyNotAfter.Add(time.Hour) // the signer's certificate has expired
	c = w.Checkpoint()
	expired := w.Bundle(r, c, w.Anchor(c)).Encode()
	rec := notary.Record{AgencyID: "a", Number: r.Statement.Number, Code: "7KQ2M9XD", SM3: r.Document.SM3,
		IssuedAt: r.IssuedAt}
	var picture bytes.Buffer
	fatalIfErr(t, png.Encode(&picture, image.NewGray(image.Rect(0, 0, 64, 64))))
	seal, err := certificate.NormalizeSeal(picture.Bytes())
	fatalIfErr(t, err)

	for name, c := range map[string]struct {
		seals  seals
		bundle []byte
		code   notary.Code // of the error, or empty
		sealed bool
	}{
		"sealed": {seals{seal: notary.Seal{AgencyID: "a", PNG: seal, From: r.IssuedAt}}, bundle, "", true},
		"sealed later": {seals{seal: notary.Seal{AgencyID: "a", PNG: seal, From: r.IssuedAt.Add(time.Microsecond)}},
			bundle, "", false},
		"another's seal":   {seals{seal: notary.Seal{AgencyID: "b", PNG: seal}}, bundle, "", false},
		"no seal":          {seals{err: notary.ErrNotFound}, bundle, "", false},
		"seals are down":   {seals{err: errors.New("secret")}, bundle, notary.CodeUnavailable, false},
		"not anchored yet": {seals{err: notary.ErrNotFound}, early, notary.CodeNotReady, false},
		"expired signer":   {seals{err: notary.ErrNotFound}, expired, notary.CodeConflict, false},
		"a broken bundle":  {seals{err: notary.ErrNotFound}, []byte("{}"), notary.CodeInternal, false},
	} {
		t.Run(name, func(t *testing.T) {
			i, err := issue.New(w.Trust(), c.seals, noClasses{}, "https://stele.example.gov.cn")
			fatalIfErr(t, err)
			got, err := i.Certificate(t.Context(), rec, c.bundle)
			if c.code != "" {
				if err == nil || notary.CodeOf(err) != c.code || got.Certificate != nil {
					t.Errorf("%s: %v, want %s", name, err, c.code)
				}
				return
			}
			fatalIfErr(t, err)
			if sealed := bytes.Contains(got.Certificate, []byte("/Subtype /Image")); sealed != c.sealed ||
				got.Report.Verdict != proof.Genuine {
				t.Errorf("%s: sealed %t, %s", name, sealed, got.Report.Verdict)
			}
			if !strings.Contains(string(got.Certificate), "https://stele.example.gov.cn/r/"+rec.Number+"?code="+
				rec.Code) {
				t.Errorf("%s: the certificate does not lead to its record", name)
			}
		})
	}
	if _, err := issue.New(w.Trust(), seals{}, noClasses{}, "ftp://stele.example"); err == nil {
		t.Error("an address that no browser opens stands on certificates")
	}
}

type noClasses struct{}

func (noClasses) At(context.Context, string, string, time.Time) (class.Class, error) {
	return class.Class{}, notary.Errorf(notary.CodeNotFound, "none")
}
