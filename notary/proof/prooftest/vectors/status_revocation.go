package vectors

import (
	"bytes"
	"encoding/base64"
	"time"

	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/prooftest"
	"stele/notary/proof/status"
)

// statusRevocation are revocations of the signer's certificate that the log has and the root did not make.
func (b *builder) statusRevocation() {
	w := four()
	good := revokedSince(time.Hour, w)
	said, err := status.ParseCertificateRevocation(good.bundle().Status.Certificate.Statement)
	check(err)
	bad := func(name, about string, sign func([]byte) []byte, change func(*status.CertificateRevocation)) {
		b.bad("status-revocation-"+name, about, proof.StepStatus, "bad_revocation", good.bundle(func(b *proof.Bundle) {
			r := said
			change(&r)
			text, err := r.Encode()
			check(err)
			b.Status.Certificate.Statement, b.Status.Certificate.Signature = text, sign(text)
		}).Encode())
	}
	root, same := w.Root.Key.Sign, func(*status.CertificateRevocation) {}
	bad("log", "the log's key signed the revocation", w.LogKey.Sign, same)
	bad("agency", "the agency itself signed the revocation", w.Agency.Key.Sign, same)
	bad("other-root", "another root signed the revocation", prooftest.NewKey("another root").Sign, same)
	bad("other-certificate", "the revocation is of another certificate", root,
		func(r *status.CertificateRevocation) { r.Certificate = sm.Sum(w.Root.DER) })
	bad("other-reason", "the map has another reason than the revocation", root,
		func(r *status.CertificateRevocation) { r.Reason = status.Superseded })
	bad("other-time", "the map has another time than the revocation", root,
		func(r *status.CertificateRevocation) { r.Since = r.Since.Add(-time.Second) })
	for _, one := range []struct{ name, about, from, to string }{
		{"malformed", "the revocation has an unknown reason", "keyCompromise", "keyWasStolen_"},
		{"space", "white space in the revocation", `,"agency"`, `, "agency"`},
		{"after", "the revocation is from before the time since which it is",
			`"issuedAt":"` + said.IssuedAt.Format(time.RFC3339), `"issuedAt":"2020-01-01T00:00:00Z`},
	} {
		b.bad("status-revocation-"+one.name, one.about, proof.StepStatus, "bad_revocation",
			good.bundle(func(b *proof.Bundle) {
				c := &b.Status.Certificate
				c.Statement = bytes.Replace(c.Statement, []byte(one.from), []byte(one.to), 1)
				c.Signature = root(c.Statement)
			}).Encode())
	}
}

// statusRevocationForm are bundles with a revocation where there must be none, and without one where it must be.
func (b *builder) statusRevocationForm(malformed func(name, about string, data []byte)) {
	with := func(x stated, change func(*proof.CertificateProof)) []byte {
		return changed(x.bundle(), func(b *proof.Bundle) { change(&b.Status.Certificate) })
	}
	revoked := func() stated { return revokedSince(time.Hour, four()) }
	malformed("revocation-none", "the certificate is revoked, and no revocation shown", with(revoked(),
		func(c *proof.CertificateProof) { c.Statement = nil }))
	malformed("revocation-unsigned", "the revocation has no signature", with(revoked(),
		func(c *proof.CertificateProof) { c.Signature = nil }))
	malformed("revocation-limit", "a revocation of 1,025 bytes", with(revoked(),
		func(c *proof.CertificateProof) { c.Statement = make([]byte, status.MaxRevocation+1) }))
	malformed("revocation-signature-limit", "the revocation's signature has 73 bytes", with(revoked(),
		func(c *proof.CertificateProof) { c.Signature = make([]byte, sm.MaxSignatureSize+1) }))
	valid := state(four(), nothing).bundle().Encode()
	shown := revoked().bundle().Status.Certificate
	malformed("revocation-absent", "a revocation beside the proof of an absent key", replaceIn(valid, `"}}}`,
		`","statement":"`+base64.StdEncoding.EncodeToString(shown.Statement)+`","signature":"`+
			base64.StdEncoding.EncodeToString(shown.Signature)+`"}}}`))
}

func check(err error) {
	if err != nil {
		panic("vectors: " + err.Error())
	}
}
