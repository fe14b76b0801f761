package vectors

import (
	"encoding/json"
	"time"

	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/prooftest"
	"stele/notary/proof/statement"
)

// trusts writes the trust files. trust.json pins the root, the log and all chains of ours;
// the others lack something.
func (b *builder) trusts() {
	all := four().Trust()
	for _, w := range []*prooftest.World{solo(), three(), handedOver(), rotated()} {
		all.Chains = append(all.Chains, w.Trust().Chains...)
	}
	write := func(name string, t proof.Trust) { b.set.Files[name] = append(t.Encode(), '\n') }
	write(trustFile, *all)
	write("trust-empty.json", proof.Trust{})
	write(deepFile, *deep().Trust())
	write("trust-other.json", *prooftest.New(prooftest.Options{Seed: "other"}).Trust())
	write("trust-no-root.json", proof.Trust{Logs: all.Logs, Chains: all.Chains})
	write("trust-no-log.json", proof.Trust{Roots: all.Roots, Chains: all.Chains})
	write("trust-solo.json", *solo().Trust())
	write("trust-no-chain.json", proof.Trust{Roots: all.Roots, Logs: all.Logs})
	retired := all.Logs[0]
	retired.NotAfter = prooftest.AgencyNotBefore.Add(24 * time.Hour)
	write("trust-log-retired.json", proof.Trust{Roots: all.Roots, Logs: []proof.TrustedLog{retired},
		Chains: all.Chains})
	later := all.Logs[0]
	later.NotBefore = prooftest.AgencyNotAfter
	write("trust-log-later.json", proof.Trust{Roots: all.Roots, Logs: []proof.TrustedLog{later}, Chains: all.Chains})
}

// handedOver is a world in its second epoch after the genesis: one member left and one
// entered, then only a power changed.
func handedOver() *prooftest.World {
	w := prooftest.New(prooftest.Options{Seed: seed, Validators: 4, Entries: 4, Neighbours: 1, Chain: "egov-epochs"})
	notaries := w.Chain.Genesis.Notaries
	next := append(append([]prooftest.Member(nil), w.Chain.Members[1:]...), prooftest.NewMember(seed, "city-9", 10))
	w.Chain.HandOver(next, notaries, 0, 1, 3)
	next = append([]prooftest.Member(nil), next...)
	next[0].Power = 15
	next[0].Validator.Power = 15
	w.Chain.HandOver(next, notaries)
	return w
}

// rotated is a world whose log has changed its key, which the chain admits since epoch 1.
func rotated() *prooftest.World {
	w := prooftest.New(prooftest.Options{Seed: seed, Entries: 1, Chain: "egov-rotated"})
	w.LogKey = prooftest.NewKey(seed + "/log/2")
	w.Chain.HandOver(w.Chain.Members, []anchorproof.Notary{{Origin: w.Origin(), Key: w.LogKey.Public()}})
	return w
}

func notarized(w *prooftest.World) []byte { return w.Notarize(document).Encode() }

func (b *builder) good() {
	b.add("genuine", "four validators, other logs in the same block, all attributes shown", proof.Genuine,
		genuine().Encode())
	b.add("genuine-solo", "the smallest instance: one validator, one entry, empty paths", proof.Genuine,
		notarized(solo()), trustedBy("trust-solo.json"))
	d := sm.Sum(document)
	b.add("genuine-digest", "a digest is given in place of a file", proof.Genuine, genuine().Encode(),
		func(v *Vector) { v.Document, v.Digest = "", d.String() })
	b.add("genuine-empty-document", "a document of no bytes", proof.Genuine, solo().Notarize(nil).Encode(),
		about(emptyFile))
	b.add("genuine-three-of-four", "three of four validators cosigned", proof.Genuine, threeOfFour())
	b.add("genuine-withheld", "one of three attributes is shown", proof.Genuine,
		damaged(func(b *proof.Bundle) { b.Fields = b.Fields[1:2] }))
	b.add("genuine-all-withheld", "no attribute is shown", proof.Genuine,
		damaged(func(b *proof.Bundle) { b.Fields = nil }))
	b.add("genuine-hand-over", "two hand-overs lie between the pinned epoch and the anchor's", proof.Genuine,
		notarized(handedOver()))
	b.add("genuine-log-key-rotated", "the log's key is not pinned, but the chain's epochs lead to it", proof.Genuine,
		notarized(rotated()))
	b.add("genuine-chain-admits-log", "the log is not pinned, but the pinned epoch of the chain admits its key",
		proof.Genuine, notarized(four()), trustedBy("trust-no-log.json"))
	b.add("genuine-two-chains", "anchored on two chains", proof.Genuine, twoChains())
	b.add("genuine-attested-too", "an anchor of a gateway that is not pinned stands beside one of a chain that is",
		proof.Genuine,
		damaged(func(b *proof.Bundle) {
			b.Anchors = append(b.Anchors, json.RawMessage(`{"kind":"bsn/fabric/v1","receipt":"AAAA"}`))
		}))
	b.add("genuine-intermediate", "an authority stands between the agency and the root", proof.Genuine, intermediate(),
		trustedBy(deepFile))
	b.add("genuine-last-second", "issued in the last second of the certificate's validity", proof.Genuine,
		entered(func(w *prooftest.World, r *prooftest.Record) {
			t := prooftest.AgencyTemplate(w.Agency.Code, w.Agency.Name)
			t.NotAfter = r.IssuedAt.Truncate(time.Second)
			r.Certificates = [][]byte{prooftest.Certify(t, w.Agency.Key, &w.Root), w.Root.DER}
		}))
	b.add("genuine-superseding", "the record that replaces another is genuine itself", proof.Genuine, superseding())
	b.add("pending", "signed and logged, not anchored yet", proof.Pending,
		damaged(func(b *proof.Bundle) { b.Anchors = nil }))
	b.add("pending-no-file", "not anchored yet, and no file given", proof.Pending,
		damaged(func(b *proof.Bundle) { b.Anchors = nil }), about(""))
	b.add("altered", "the file has one byte more than the one notarized", proof.Altered, genuine().Encode(),
		about(otherFile))
	b.add("altered-pending", "another file, and not anchored yet", proof.Altered,
		damaged(func(b *proof.Bundle) { b.Anchors = nil }), about(otherFile))
	b.add("revoked", "the agency withdrew the record", proof.Revoked, standing(revoke).Encode())
	b.add("revoked-no-file", "withdrawn, and no file given", proof.Revoked, standing(revoke).Encode(), about(""))
	b.add("revoked-pending", "the withdrawal is logged, not anchored yet", proof.Revoked,
		changed(standing(revoke), func(b *proof.Bundle) { b.Standing.Anchors = nil }), warned(proof.WarnStandingAlone))
	b.add("superseded", "the agency replaced the record", proof.Superseded, standing(supersede).Encode())
	b.add("superseded-reason", "the agency replaced the record and said why", proof.Superseded,
		standing(func(w *prooftest.World, r *prooftest.Record) *prooftest.Record {
			return w.Supersede(r, otherDocument, "面积有误，重新出证")
		}).Encode())
	b.add("revoked-altered", "withdrawn, and the file is another one", proof.Altered, standing(revoke).Encode(),
		about(otherFile))
}

func changed(b *proof.Bundle, change func(*proof.Bundle)) []byte {
	change(b)
	return b.Encode()
}

func revoke(w *prooftest.World, r *prooftest.Record) *prooftest.Record {
	return w.Revoke(r, "不动产登记错误，依法撤销")
}

func supersede(w *prooftest.World, r *prooftest.Record) *prooftest.Record {
	return w.Supersede(r, otherDocument, "")
}

// standing is a genuine bundle with a later statement about the record.
func standing(later func(*prooftest.World, *prooftest.Record) *prooftest.Record) *proof.Bundle {
	w := four()
	r := w.Issue(document)
	c := w.Checkpoint()
	b := w.Bundle(r, c, w.Anchor(c))
	w.Fill(2)
	w.AddStanding(b, later(w, r))
	return b
}

func superseding() []byte {
	w := four()
	r := w.Supersede(w.Issue(otherDocument), document, "")
	c := w.Checkpoint()
	return w.Bundle(r, c, w.Anchor(c)).Encode()
}

func threeOfFour() []byte {
	w := four()
	r := w.Issue(document)
	c := w.Checkpoint()
	return w.Bundle(r, c, w.Anchor(c, 0, 2, 3)).Encode()
}

func twoChains() []byte {
	w := four()
	r := w.Issue(document)
	c := w.Checkpoint()
	second := solo()
	second.Now = w.Now
	return w.Bundle(r, c, w.Anchor(c), second.Anchor(c)).Encode()
}

// deep is an instance whose root allows an authority between itself and the agencies.
func deep() *prooftest.World {
	return prooftest.New(prooftest.Options{Seed: seed, Chain: "egov-deep", Intermediates: 1})
}

func intermediate() []byte {
	w := deep()
	w.Agency.Certificates = chainOf(w, 0)
	return notarized(w)
}

// chainOf is a chain of three: agency, an authority of the district, the root.
func chainOf(w *prooftest.World, pathLen int) [][]byte {
	district := prooftest.Authority{Key: prooftest.NewKey(seed + "/district")}
	district.DER = prooftest.Certify(prooftest.RootTemplate("江城市江岸区数据局", pathLen), district.Key, &w.Root)
	agency := prooftest.Certify(prooftest.AgencyTemplate(w.Agency.Code, w.Agency.Name), w.Agency.Key, &district)
	return [][]byte{agency, district.DER, w.Root.DER}
}

func (b *builder) unverifiable() {
	b.add("unverifiable-foreign", "whole evidence of another instance", proof.Unverifiable, notarized(foreign()))
	b.add("unverifiable-foreign-pending", "another instance, not anchored", proof.Unverifiable,
		changed(foreign().Notarize(document), func(b *proof.Bundle) { b.Anchors = nil }))
	b.add("unverifiable-foreign-altered", "another instance, another file: nothing is said about the file",
		proof.Unverifiable, notarized(foreign()), about(otherFile))
	b.add("unverifiable-no-root", "the root is not pinned", proof.Unverifiable, genuine().Encode(),
		trustedBy("trust-no-root.json"))
	b.add("unverifiable-no-trust", "nothing is pinned", proof.Unverifiable, genuine().Encode(),
		trustedBy("trust-empty.json"))
	b.add("unverifiable-other-trust", "another instance is pinned", proof.Unverifiable, genuine().Encode(),
		trustedBy("trust-other.json"))
	b.add("unverifiable-no-chain", "the chain is not pinned", proof.Unverifiable, genuine().Encode(),
		trustedBy("trust-no-chain.json"))
	b.add("unverifiable-no-log", "the log is not pinned and no chain vouches for it", proof.Unverifiable,
		damaged(func(b *proof.Bundle) { b.Anchors = nil }), trustedBy("trust-no-log.json"))
	b.add("unverifiable-log-key", "signed with a newer key of the log, not anchored yet", proof.Unverifiable,
		changed(rotated().Notarize(document), func(b *proof.Bundle) { b.Anchors = nil }))
	b.add("unverifiable-no-file", "everything holds, but no file was given", proof.Unverifiable, genuine().Encode(),
		about(""))
	b.add("unverifiable-attested", "the only anchor is of a gateway, and none is pinned", proof.Unverifiable,
		damaged(func(b *proof.Bundle) {
			b.Anchors = []json.RawMessage{json.RawMessage(`{"kind":"bsn/fisco/v1"}`)}
		}))
	b.add("unverifiable-standing", "withdrawn, and the root of both statements is not pinned", proof.Unverifiable,
		standing(revoke).Encode(), trustedBy("trust-no-root.json"))
	b.add("unverifiable-standing-root",
		"the withdrawal is signed under another root than the record, which is not pinned", proof.Unverifiable,
		standing(func(w *prooftest.World, r *prooftest.Record) *prooftest.Record {
			s := statement.Statement{Action: statement.Revoke, Number: r.Statement.Number, Agency: w.Agency.Agency,
				Reason: "withdrawn", IssuedAt: w.Tick(time.Hour)}
			text, err := s.Encode()
			if err != nil {
				panic("vectors: " + err.Error())
			}
			root := foreign().Root
			return w.EnterSigned(&prooftest.Record{Statement: s, Bytes: text, Signature: w.Agency.Key.Sign(text),
				Certificates: [][]byte{prooftest.Certify(prooftest.AgencyTemplate(w.Agency.Code, w.Agency.Name),
					w.Agency.Key, &root), root.DER}})
		}).Encode())
}
