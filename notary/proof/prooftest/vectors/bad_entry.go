package vectors

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"strings"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/smx509"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"stele/notary/proof"
	"stele/notary/proof/prooftest"
	"stele/notary/proof/statement"
)

// badStatement are statements out of form. All are signed by the agency, logged and anchored.
func (b *builder) badStatement() {
	bad := func(name, about string, change func(w *prooftest.World, r *prooftest.Record)) {
		b.bad("statement-"+name, about, proof.StepStatement, "malformed", entered(change))
	}
	text := func(name, about, old, new string) {
		bad(name, about, func(_ *prooftest.World, r *prooftest.Record) { r.Bytes = replaceIn(r.Bytes, old, new) })
	}
	bad("revoke", "the record's own statement is a revocation", func(w *prooftest.World, r *prooftest.Record) {
		s := statement.Statement{Action: statement.Revoke, Number: r.Statement.Number, Agency: r.Agency,
			Reason: "withdrawn", IssuedAt: r.IssuedAt}
		r.Bytes, _ = s.Encode()
		r.Fields = nil
	})
	text("space", "white space in the statement", `,"class"`, ` ,"class"`)
	text("repeated-key", "a key stands there twice", `"class":"general"`, `"class":"general","class":"general"`)
	text("unknown-key", "a key that version 1 does not have", `"class":"general"`, `"class":"general","note":""`)
	text("version", "another version", "stele/statement/v1", "stele/statement/v2")
	text("action", "an action that there is not", `"action":"issue"`, `"action":"amend"`)
	text("class", "a class in upper case", `"class":"general"`, `"class":"General"`)
	text("media-type", "a media type in upper case", `application/pdf`, `Application/pdf`)
	text("agency-code", "the credit code's check character is wrong", "91350100M000100Y43", "91350100M000100Y44")
	text("bidirectional", "the agency's name holds a character that reorders text", "江城市政务服务局", "江城市\u202e政务服务局")
	bad("number", "the certificate number's check character is wrong", func(_ *prooftest.World, r *prooftest.Record) {
		n := r.Statement.Number
		r.Bytes = replaceIn(r.Bytes, n, n[:21]+string("0123456789X"[(strings.IndexByte("0123456789X", n[21])+1)%11]))
	})
	bad("supersedes-itself", "the record replaces itself", func(_ *prooftest.World, r *prooftest.Record) {
		r.Bytes = replaceIn(r.Bytes, `"class":"general"`, `"class":"general","supersedes":"`+r.Statement.Number+`"`)
	})
	text("reason-alone", "a reason in an issue that replaces nothing", `"class":"general"`,
		`"class":"general","reason":"x"`)
	bad("reason-empty", "an empty reason", func(_ *prooftest.World, r *prooftest.Record) {
		r.Bytes = replaceIn(r.Bytes, `"class":"general"`,
			`"class":"general","supersedes":"420100-2026-00000017-0","reason":""`)
	})
	bad("time-zone", "the time has an offset", func(_ *prooftest.World, r *prooftest.Record) {
		r.Bytes = replaceIn(r.Bytes, r.IssuedAt.Format("15:04:05.000Z"),
			r.IssuedAt.Add(8*time.Hour).Format("15:04:05.000")+"+08:00")
	})
	bad("time-precision", "the time has whole seconds", func(_ *prooftest.World, r *prooftest.Record) {
		r.Bytes = replaceIn(r.Bytes, r.IssuedAt.Format("05.000Z"), r.IssuedAt.Format("05Z"))
	})
	bad("upper-case-digest", "a digest in upper case", func(_ *prooftest.World, r *prooftest.Record) {
		r.Bytes = replaceIn(r.Bytes, r.Document.SM3.String(), strings.ToUpper(r.Document.SM3.String()))
	})
}

// badSignature are entries whose signature is not the agency's over the statement.
func (b *builder) badSignature() {
	bad := func(name, about string, change func(w *prooftest.World, r *prooftest.Record)) {
		b.bad("signature-"+name, about, proof.StepStatement, "bad_signature", entered(change))
	}
	bad("other-key", "signed with a key that is not the certificate's", func(_ *prooftest.World, r *prooftest.Record) {
		r.Signature = prooftest.NewKey("another agency").Sign(r.Bytes)
	})
	bad("other-user-id", "signed under the user id of no characters, as programs do when none is set",
		func(w *prooftest.World, r *prooftest.Record) {
			r.Signature = w.Agency.Key.SignAs("", r.Bytes)
		})
	bad("other-statement", "the agency's signature over another statement",
		func(w *prooftest.World, r *prooftest.Record) {
			r.Signature = w.Agency.Key.Sign(append([]byte(" "), r.Bytes...))
		})
	bad("not-minimal", "an integer of the signature has a superfluous zero byte",
		func(w *prooftest.World, r *prooftest.Record) {
			x, y := lowSignature(w.Agency.Key, r)
			r.Signature = sequence(append([]byte{0}, x.Bytes()...), y.Bytes())
		})
	bad("long-length", "the length of the signature is in the long form",
		func(w *prooftest.World, r *prooftest.Record) {
			x, y := lowSignature(w.Agency.Key, r)
			short := sequence(x.Bytes(), y.Bytes())
			r.Signature = append([]byte{0x30, 0x81}, short[1:]...)
		})
	bad("trailing", "a byte follows the signature", func(w *prooftest.World, r *prooftest.Record) {
		x, y := lowSignature(w.Agency.Key, r)
		r.Signature = append(sequence(x.Bytes(), y.Bytes()), 0)
	})
	bad("plain", "r and s side by side, without DER", func(w *prooftest.World, r *prooftest.Record) {
		x, y := lowSignature(w.Agency.Key, r)
		r.Signature = append(x.FillBytes(make([]byte, 32)), y.FillBytes(make([]byte, 32))...)
	})
	bad("negated", "s is replaced by n - s, which ECDSA would accept", func(w *prooftest.World, r *prooftest.Record) {
		x, y := lowSignature(w.Agency.Key, r)
		r.Signature = minimalSequence(x, y.Sub(sm2.P256().Params().N, y))
	})
	bad("zero", "r and s are zero", func(_ *prooftest.World, r *prooftest.Record) {
		r.Signature = sequence([]byte{0}, []byte{0})
	})
	b.bad("signature-resized", "a digit of the document's size was changed after signing", proof.StepStatement,
		"bad_signature",
		damaged(func(b *proof.Bundle) { b.Statement = replaceIn(b.Statement, `"size":48`, `"size":49`) }), about(""))
	b.bad("signature-of-other-record", "the statement of one record with the signature of another", proof.StepStatement,
		"bad_signature", func() []byte {
			w := four()
			first, second := w.Issue(document), w.Issue(document)
			first.Signature = second.Signature
			c := w.Checkpoint()
			return w.Bundle(first, c, w.Anchor(c)).Encode()
		}())
	b.bad("user-id", "the bundle states another user id", proof.StepStatement, "user_id",
		damaged(func(b *proof.Bundle) { b.UserID = "ALICE123@YAHOO.COM" }))
}

// lowSignature moves the record's time on until r and s both fit in 32 bytes of DER, and
// returns them: that leaves room for what the vectors add.
func lowSignature(key prooftest.Key, r *prooftest.Record) (x, y *big.Int) {
	for {
		x, y = new(big.Int), new(big.Int)
		in := cryptobyte.String(key.Sign(r.Bytes))
		var seq cryptobyte.String
		if !in.ReadASN1(&seq, cbasn1.SEQUENCE) || !seq.ReadASN1Integer(x) || !seq.ReadASN1Integer(y) {
			panic("vectors: own signature does not parse")
		}
		if x.BitLen() < 256 && y.BitLen() < 256 && x.BitLen() > 248 && y.BitLen() > 248 {
			return x, y
		}
		r.Statement.IssuedAt = r.IssuedAt.Add(time.Millisecond)
		text, err := r.Statement.Encode()
		if err != nil {
			panic("vectors: " + err.Error())
		}
		r.Bytes = text
	}
}

// sequence is DER of two integers with the content bytes as given, minimal or not.
func sequence(x, y []byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, v := range [][]byte{x, y} {
			b.AddASN1(cbasn1.INTEGER, func(b *cryptobyte.Builder) { b.AddBytes(v) })
		}
	})
	return b.BytesOrPanic()
}

func minimalSequence(x, y *big.Int) []byte {
	der, err := asn1.Marshal(struct{ R, S *big.Int }{x, y})
	if err != nil {
		panic("vectors: " + err.Error())
	}
	return der
}

// badCertificate are entries signed with the key of a certificate that does not do. The
// signature, the log and the anchor hold.
func (b *builder) badCertificate() {
	chain := func(name, about, reason string, certify func(w *prooftest.World) [][]byte) {
		b.bad("certificate-"+name, about, proof.StepCertificate, reason,
			entered(func(w *prooftest.World, r *prooftest.Record) { r.Certificates = certify(w) }))
	}
	leaf := func(name, about, reason string, change func(t *x509.Certificate)) {
		chain(name, about, reason, func(w *prooftest.World) [][]byte {
			t := prooftest.AgencyTemplate(w.Agency.Code, w.Agency.Name)
			change(t)
			return [][]byte{prooftest.Certify(t, w.Agency.Key, &w.Root), w.Root.DER}
		})
	}
	issued := four().Now
	leaf("expired", "it had expired when the statement was issued", "bad_certificate",
		func(t *x509.Certificate) { t.NotAfter = issued.Add(-time.Hour) })
	leaf("not-yet-valid", "it was not valid yet when the statement was issued", "bad_certificate",
		func(t *x509.Certificate) { t.NotBefore = issued.Add(time.Hour) })
	leaf("usage-notary", "its key is for digital signatures only, not for commitments", "bad_certificate",
		func(t *x509.Certificate) { t.KeyUsage = smx509.KeyUsageDigitalSignature })
	leaf("usage-encryption", "its key may also encrypt", "bad_certificate",
		func(t *x509.Certificate) { t.KeyUsage |= smx509.KeyUsageKeyEncipherment })
	leaf("usage-none", "it has no key usage", "bad_certificate", func(t *x509.Certificate) { t.KeyUsage = 0 })
	leaf("purpose", "its extended key usage is for servers", "bad_certificate",
		func(t *x509.Certificate) { t.ExtKeyUsage = []x509.ExtKeyUsage{smx509.ExtKeyUsageServerAuth} })
	leaf("authority", "it is an authority's", "bad_certificate", func(t *x509.Certificate) {
		t.BasicConstraintsValid, t.IsCA, t.MaxPathLen = true, true, -1
	})
	leaf("critical", "it has a critical extension that is not understood", "malformed", func(t *x509.Certificate) {
		t.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true,
			Value: []byte{5, 0}}}
	})
	leaf("other-code", "it is of another agency", "other_holder",
		func(t *x509.Certificate) { t.Subject.SerialNumber = prooftest.USCC("11420100000000001") })
	leaf("other-name", "it has the agency's code and another name", "other_holder",
		func(t *x509.Certificate) { t.Subject.Organization = []string{"江城市政务服务中心"} })
	leaf("no-code", "it has no credit code", "other_holder", func(t *x509.Certificate) { t.Subject.SerialNumber = "" })
	chain("no-root", "the root is missing from the chain", "bad_certificate", func(w *prooftest.World) [][]byte {
		return w.Agency.Certificates[:1]
	})
	chain("forged", "it names the root as issuer and is signed with another key", "bad_certificate",
		func(w *prooftest.World) [][]byte {
			forger := prooftest.Authority{Key: prooftest.NewKey("forger")}
			forger.DER = prooftest.Certify(prooftest.RootTemplate("江城市数据局", 0), forger.Key, nil)
			return [][]byte{prooftest.Certify(prooftest.AgencyTemplate(w.Agency.Code, w.Agency.Name), w.Agency.Key,
				&forger), w.Root.DER}
		})
	chain("root-edited", "a bit of the root was changed: it is not another root, it is a broken one", "bad_certificate",
		func(w *prooftest.World) [][]byte {
			return [][]byte{w.Agency.Certificates[0], flip(w.Root.DER, len(w.Root.DER)-1)}
		})
	chain("path-length", "an authority stands below a root that allows none", "bad_certificate",
		func(w *prooftest.World) [][]byte { return chainOf(w, 0) })
	chain("issued-by-agency", "it was issued by another agency, which is no authority", "bad_certificate",
		func(w *prooftest.World) [][]byte {
			other := w.NewAgency(prooftest.USCC("11420100000000001"), "江城市规划局")
			issuer := prooftest.Authority{Key: other.Key, DER: other.Certificates[0]}
			return [][]byte{prooftest.Certify(prooftest.AgencyTemplate(w.Agency.Code, w.Agency.Name), w.Agency.Key,
				&issuer), issuer.DER, w.Root.DER}
		})
	chain("trailing", "a byte follows the certificate", "malformed", func(w *prooftest.World) [][]byte {
		return [][]byte{append(append([]byte(nil), w.Agency.Certificates[0]...), 0), w.Root.DER}
	})
	b.bad("certificate-order", "authority and root have changed places", proof.StepCertificate, "bad_certificate",
		func() []byte {
			w := deep()
			c := chainOf(w, 0)
			w.Agency.Certificates = [][]byte{c[0], c[2], c[1]}
			return notarized(w)
		}(), trustedBy(deepFile))
	b.bad("certificate-exchanged", "another valid certificate of the same agency and key: the entry names the first",
		proof.StepInclusion, "not_included", func() []byte {
			w := four()
			r := w.Issue(document)
			c := w.Checkpoint()
			bundle := w.Bundle(r, c, w.Anchor(c))
			t := prooftest.AgencyTemplate(w.Agency.Code, w.Agency.Name)
			t.SerialNumber = big.NewInt(2)
			bundle.Certificates = [][]byte{prooftest.Certify(t, w.Agency.Key, &w.Root), w.Root.DER}
			return bundle.Encode()
		}())
}
