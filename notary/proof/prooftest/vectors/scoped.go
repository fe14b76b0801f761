package vectors

import (
	"encoding/json"
	"slices"
	"time"

	"stele/notary/proof"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/prooftest"
	"stele/notary/proof/statement"
)

// Trust files of version 2.
const (
	scopedFile   = "trust-v2.json"         // one root that speaks for all, four members of four organizations
	oneOrgFile   = "trust-v2-one-org.json" // four members of one organization
	someOrgFile  = "trust-v2-some.json"    // two of four members are named
	citiesFile   = "trust-v2-cities.json"  // two roots, logs and chains, each with its scope
	renewedFile  = "trust-v2-renewed.json" // two roots of one city, after a renewal
	hourFile     = "trust-v2-hour.json"    // an agency's date may be an hour old
	pinsFile     = "trust-v2-pins.json"    // two epochs are pinned besides the first
	chainsFile   = "trust-v2-chains.json"  // the log is anchored on one of two pinned chains
	spacedFile   = "trust-v2-resaved.json" // trust-v2.json, saved anew with a byte order mark and indented
	handOverTime = 14 * 24 * time.Hour     // between the genesis and the pinned epochs
)

// cityB is another city with a root, a log and a chain of its own.
func cityB() *prooftest.World {
	return prooftest.New(prooftest.Options{Seed: "city-b", Validators: 1, Entries: 2})
}

// warned names the warnings of a vector's report.
func warned(codes ...string) func(*Vector) { return func(v *Vector) { v.Warnings = codes } }

func (b *builder) scopedTrusts() {
	write := func(name string, t *proof.Trust) { b.set.Files[name] = append(t.Encode(), '\n') }
	four := four()
	write(scopedFile, four.ScopedTrust("江城市数据局", "临江市政务数据局", "望江市公证处", "清江市档案馆"))
	write(oneOrgFile, four.ScopedTrust("江城市数据局", "江城市数据局", "江城市数据局", "江城市数据局"))
	write(puppetFile, four.ScopedTrust("江城市数据局", "江城市数据局", "江城市数据局"))
	write(someOrgFile, four.ScopedTrust("江城市数据局", "临江市政务数据局"))
	hour := four.ScopedTrust()
	hour.Late = time.Hour
	write(hourFile, hour)
	two := four.ScopedTrust()
	two.Chains = append(two.Chains, solo().Trust().Chains...)
	write(chainsFile, two)
	cities, other := four.ScopedTrust(), cityB()
	theirs := other.ScopedTrust()
	cities.Roots[0].Codes, cities.Roots[0].Logs = []string{four.Agency.Code}, []string{four.Origin()}
	theirs.Roots[0].Regions, theirs.Roots[0].Logs = []string{"42", "4301"}, []string{other.Origin()}
	cities.Roots, cities.Logs, cities.Chains = append(cities.Roots, theirs.Roots...),
		append(cities.Logs, theirs.Logs...), append(cities.Chains, theirs.Chains...)
	write(citiesFile, cities)
	write(pinsFile, pinned())
	renewed := four.ScopedTrust()
	renewed.Roots = append(renewed.Roots, proof.TrustedRoot{DER: renewedRoot().DER})
	for i := range renewed.Roots {
		renewed.Roots[i].Codes, renewed.Roots[i].Logs = []string{four.Agency.Code}, []string{four.Origin()}
	}
	write(renewedFile, renewed)
}

// renewedRoot takes the place of the city's root.
func renewedRoot() prooftest.Authority {
	root := prooftest.Authority{Key: prooftest.NewKey(seed + "/root/renewed")}
	root.DER = prooftest.Certify(prooftest.RootTemplate("江城市数据局", 0), root.Key, nil)
	return root
}

// pinned is the trust of the world with two hand-overs, with both of them pinned.
func pinned() *proof.Trust {
	w := handedOver()
	t := w.ScopedTrust()
	for _, e := range w.Chain.Epochs {
		t.Chains[0].Epochs = append(t.Chains[0].Epochs,
			proof.PinnedEpoch{Hash: e.Hash(), From: w.Now.Add(handOverTime).Truncate(time.Second)})
	}
	return t
}

// scoped are bundles under trust roots that say who may speak for whom.
func (b *builder) scoped() {
	b.scopedTrusts()
	open := func(name, about, trust string, bundle []byte) {
		b.add("unverifiable-"+name, about, proof.Unverifiable, bundle, trustedBy(trust))
	}
	b.add("scoped", "trust roots of version 2 that name the members of the chain", proof.Genuine, genuine().Encode(),
		trustedBy(scopedFile))
	b.add("scoped-one-organization", "all members of the chain are one organization", proof.Genuine, genuine().Encode(),
		trustedBy(oneOrgFile), warned(proof.WarnOneOrganization))
	b.add("scoped-some-named", "two of the four members are named: whether they are one is not known", proof.Genuine,
		genuine().Encode(), trustedBy(someOrgFile))
	b.add("scoped-cities", "one of two roots, which speaks for this agency in this log", proof.Genuine,
		genuine().Encode(), trustedBy(citiesFile))
	region := cityB()
	region.Agency = region.NewAgency(prooftest.USCC("11420100MB0000001"), "邻城市政务服务局")
	b.add("scoped-region", "a root that speaks for the agencies of a province", proof.Genuine, notarized(region),
		trustedBy(citiesFile))
	open("out-of-scope", "the other city's root certifies this agency, in its own log", citiesFile,
		certifiedByOther(cityB()))
	open("other-log", "the other city's root certifies an agency of its own, whose record is in this city's log",
		citiesFile, inOtherLog())
	open("other-chain", "the only anchor is on a chain that does not anchor this log", chainsFile,
		anchoredElsewhere(false))
	b.add("scoped-other-chain-too", "an anchor on a chain that does not anchor this log stands beside one that does",
		proof.Genuine, anchoredElsewhere(true), trustedBy(chainsFile))
	b.bad("standing-cross-root", "the other city withdraws the record", proof.StepStanding, "other_root",
		standing(func(w *prooftest.World, r *prooftest.Record) *prooftest.Record {
			return withdrawnBy(w, r, cityB().Root)
		}).Encode(), trustedBy(citiesFile))
	b.add("revoked-renewed-root", "withdrawn after the city's root was renewed: both roots speak for the agency",
		proof.Revoked,
		standing(func(w *prooftest.World, r *prooftest.Record) *prooftest.Record {
			return withdrawnBy(w, r, renewedRoot())
		}).Encode(), trustedBy(renewedFile))
	b.add("scoped-puppet", "one organization has all votes but those of a member that is not named", proof.Genuine,
		puppet(), trustedBy(puppetFile), warned(proof.WarnOneOrganization))
	b.bad("standing-other-log", "the withdrawal is in another log", proof.StepStanding, "other_log",
		withdrawnElsewhere())
	b.pins()
}

// certifiedByOther is a record of the usual agency, certified by another world's root.
func certifiedByOther(w *prooftest.World) []byte {
	w.Agency = four().Agency
	w.Agency.Certificates = [][]byte{prooftest.Certify(prooftest.AgencyTemplate(w.Agency.Code, w.Agency.Name),
		w.Agency.Key, &w.Root), w.Root.DER}
	return notarized(w)
}

// inOtherLog is a record of an agency of the other city in this city's log.
func inOtherLog() []byte {
	w, other := four(), cityB()
	w.Agency = other.NewAgency(prooftest.USCC("11420100MB0000001"), "邻城市政务服务局")
	return notarized(w)
}

// anchoredElsewhere is anchored on the chain of the smallest instance, and perhaps on its own.
func anchoredElsewhere(too bool) []byte {
	w := four()
	r := w.Issue(document)
	c := w.Checkpoint()
	second := solo()
	second.Now = w.Now
	anchors := []json.RawMessage{second.Anchor(c)}
	if too {
		anchors = append(anchors, w.Anchor(c))
	}
	return w.Bundle(r, c, anchors...).Encode()
}

// withdrawnBy enters a withdrawal that another root certifies the agency's key for.
func withdrawnBy(w *prooftest.World, r *prooftest.Record, root prooftest.Authority) *prooftest.Record {
	s := statement.Statement{Action: statement.Revoke, Number: r.Statement.Number, Agency: w.Agency.Agency,
		Reason: "withdrawn", IssuedAt: w.Tick(time.Hour)}
	text, err := s.Encode()
	if err != nil {
		panic("vectors: " + err.Error())
	}
	return w.EnterSigned(&prooftest.Record{Statement: s, Bytes: text, Signature: w.Agency.Key.Sign(text),
		Certificates: [][]byte{prooftest.Certify(prooftest.AgencyTemplate(w.Agency.Code, w.Agency.Name), w.Agency.Key,
			&root), root.DER}})
}

// withdrawnElsewhere is a record whose withdrawal is in another log of the same root.
func withdrawnElsewhere() []byte {
	w := four()
	r := w.Issue(document)
	c := w.Checkpoint()
	bundle := w.Bundle(r, c, w.Anchor(c))
	other := prooftest.New(prooftest.Options{Seed: seed, Origin: "log.other.example", Chain: "egov-solo"})
	other.Now = w.Now
	e := revoke(other, r)
	at := other.Checkpoint()
	evidence := other.Evidence(e, at, other.Anchor(at))
	bundle.Standing = &evidence
	return bundle.Encode()
}

const puppetFile = "trust-v2-puppet.json" // three of four members of one organization, the fourth not named

// puppet is anchored by members of one organization and one more, whose vote is not needed.
func puppet() []byte { return genuine().Encode() }

// pins are bundles under trust roots that pin later epochs.
func (b *builder) pins() {
	trust := trustedBy(pinsFile)
	b.add("pinned-epoch", "signed by the members of the newest pinned epoch", proof.Genuine, notarized(handedOver()),
		trust)
	founders := func(wait time.Duration) *prooftest.World {
		w := prooftest.New(prooftest.Options{Seed: seed, Validators: 4, Entries: 4, Neighbours: 1,
			Chain: "egov-epochs"})
		w.Tick(wait)
		return w
	}
	b.add("pinned-former-term", "signed by the members of the first epoch, in their term", proof.Genuine,
		notarized(founders(0)), trust)
	b.bad("pinned-after-term", "signed by the members of the first epoch for a time after their term", proof.StepAnchor,
		"bad_evidence", notarized(founders(handOverTime+time.Hour)), trust)
	around := founders(0)
	log := around.LogKey
	around.LogKey = prooftest.NewKey("a log key of their own")
	around.Chain.HandOver(around.Chain.Members,
		[]anchorproof.Notary{{Origin: around.Origin(), Key: around.LogKey.Public()}})
	b.bad("pinned-around", "former members have made an epoch of their own, with a log key of their own",
		proof.StepAnchor, "bad_evidence", notarized(around), trust)
	around.LogKey = log
	b.bad("pinned-around-log", "former members have made an epoch of their own, and the log's own key signed",
		proof.StepAnchor, "bad_evidence", notarized(around), trust)
	later := handedOver()
	later.Tick(2 * handOverTime)
	next := slices.Clone(later.Chain.Members)
	next[1].Power, next[1].Validator.Power = 12, 12
	later.Chain.HandOver(next, later.Chain.Genesis.Notaries)
	b.add("pinned-and-later", "an epoch more than the trust roots pin", proof.Genuine, notarized(later), trust)
}
