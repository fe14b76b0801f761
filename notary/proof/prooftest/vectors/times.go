package vectors

import (
	"time"

	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/prooftest"
	"stele/notary/proof/statement"
)

// times are bundles about who says when.
func (b *builder) times() {
	b.add("late-anchor", "anchored two days after the date that the agency gave", proof.Genuine,
		anchoredAfter(48*time.Hour), warned(proof.WarnLateAnchor))
	b.add("late-anchor-hour", "anchored two hours after the agency's date, where the trust roots allow one",
		proof.Genuine, anchoredAfter(2*time.Hour), trustedBy(hourFile), warned(proof.WarnLateAnchor))
	b.add("late-anchor-day", "anchored two hours after the agency's date", proof.Genuine, anchoredAfter(2*time.Hour))
	expired := func(name, about string, verdict proof.Verdict, wait time.Duration, edit ...func(*Vector)) {
		b.add(name, about, verdict, entered(func(w *prooftest.World, r *prooftest.Record) {
			t := prooftest.AgencyTemplate(w.Agency.Code, w.Agency.Name)
			t.NotAfter = r.IssuedAt.Add(time.Hour).Truncate(time.Second)
			r.Certificates = [][]byte{prooftest.Certify(t, w.Agency.Key, &w.Root), w.Root.DER}
			w.Tick(wait)
		}), edit...)
	}
	expired("expired-later", "the certificate expired after the record was anchored", proof.Genuine, 30*time.Minute)
	expired("unverifiable-expired-at-anchor",
		"the certificate had expired when the record was anchored: nobody knows when it was signed", proof.Unverifiable,
		2*time.Hour)
	w := four()
	r := w.Issue(document)
	c := w.Checkpoint()
	second := solo()
	second.Now = w.Now.Add(time.Minute)
	early := w.Anchor(c)
	b.add("two-chains-later", "anchored on two chains: the earlier of their times leads", proof.Genuine,
		w.Bundle(r, c, second.Anchor(c), early).Encode(),
		func(v *Vector) { v.AnchoredAt = w.Now.Format("2006-01-02T15:04:05.000Z") })
	b.bad("size-differs", "the agency's statement gives another size than the document has", proof.StepDocument,
		"size_differs", entered(func(_ *prooftest.World, r *prooftest.Record) {
			r.Statement.Document.Size = 3
			r.Bytes = encoded(r.Statement)
		}))
	d := sm.Sum(document)
	b.add("size-unknown", "another size than the document has, which cannot be seen from its digest", proof.Genuine,
		entered(func(_ *prooftest.World, r *prooftest.Record) {
			r.Statement.Document.Size = 3
			r.Bytes = encoded(r.Statement)
		}), func(v *Vector) { v.Document, v.Digest = "", d.String() })
	late := standing(revoke)
	b.add("revoked-late", "the withdrawal is anchored two days after the date that the agency gave it", proof.Revoked,
		withdrawnLate(), warned(proof.WarnStandingLate))
	b.bad("standing-cut-in-two", "the withdrawal of one bundle, under the record of another", proof.StepStanding,
		"other_record", func() []byte {
			mine := four()
			mine.Issue(otherDocument)
			mine.Issue(document)
			r := mine.Issue(document)
			c := mine.Checkpoint()
			bundle := mine.Bundle(r, c, mine.Anchor(c))
			bundle.Standing = late.Standing
			return bundle.Encode()
		}())
}

func encoded(s statement.Statement) []byte {
	text, err := s.Encode()
	if err != nil {
		panic("vectors: " + err.Error())
	}
	return text
}

// anchoredAfter is a record that the chain saw some time after the agency's date.
func anchoredAfter(wait time.Duration) []byte {
	w := four()
	r := w.Issue(document)
	w.Tick(wait)
	c := w.Checkpoint()
	return w.Bundle(r, c, w.Anchor(c)).Encode()
}

func withdrawnLate() []byte {
	w := four()
	r := w.Issue(document)
	c := w.Checkpoint()
	bundle := w.Bundle(r, c, w.Anchor(c))
	later := revoke(w, r)
	w.Tick(48 * time.Hour)
	w.AddStanding(bundle, later)
	return bundle.Encode()
}
