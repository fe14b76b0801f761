package vectors

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"

	"stele/crypto/merkle"
	"stele/notary/proof"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/prooftest"
)

// Trust files of a log that has moved.
const (
	beforeFile = "trust-moved-before.json"   // from before: the former chain alone
	afterFile  = "trust-moved-after.json"    // both chains
	newFile    = "trust-moved-new.json"      // the new chain alone
	thirdFile  = "trust-moved-retired.json"  // the former chain, whose members' term has ended since
	keyFile    = "trust-moved-log-key.json"  // the log's key had ended before the move
	notFile    = "trust-moved-scope.json"    // the former chain, which does not anchor the log
	otherFile2 = "trust-moved-another.json"  // the former chain, and another one with the new one's id
	soloFile   = "trust-moved-one-org.json"  // the former chain, whose members are one organization
	bothOrg    = "trust-moved-both-org.json" // the same, and the new chain
)

// leaving is a world whose log is about to leave its chain of four for one of three others. One
// hand-over lies behind it.
func leaving() (*prooftest.World, *prooftest.Chain) {
	w := prooftest.New(prooftest.Options{Seed: seed, Validators: 4, Entries: 5, Neighbours: 2, Chain: "egov-left"})
	next := slices.Clone(w.Chain.Members)
	next[0].Power, next[0].Validator.Power = 12, 12
	w.Chain.HandOver(next, w.Chain.Genesis.Notaries)
	return w, w.NextChain("egov-new", 3)
}

// moved is that world after the move.
func moved() *prooftest.World {
	w, to := leaving()
	w.Move(to, w.Link(to))
	return w
}

// movedTwice has moved on from there.
func movedTwice() *prooftest.World {
	w := moved()
	w.Fill(3)
	to := w.NextChain("egov-newest", 1)
	w.Move(to, w.Link(to))
	return w
}

func (b *builder) movedTrusts() {
	write := func(name string, t *proof.Trust) { b.set.Files[name] = append(t.Encode(), '\n') }
	w, to := leaving()
	before := func(members ...string) *proof.Trust { return w.ScopedTrust(members...) }
	write(beforeFile, before())
	also := func(t *proof.Trust, g anchorproof.Epoch) *proof.Trust {
		t.Chains = append(t.Chains, proof.TrustedChain{Genesis: g})
		t.LetAnchor(w.Origin(), g.Chain)
		return t
	}
	write(afterFile, also(before(), to.Genesis))
	only := also(before(), to.Genesis)
	only.Chains = only.Chains[1:]
	for i := range only.Logs {
		only.Logs[i].Chains = []string{to.Genesis.Chain}
	}
	write(newFile, only)
	retired := before()
	for _, e := range w.Chain.Epochs {
		retired.Chains[0].Epochs = append(retired.Chains[0].Epochs,
			proof.PinnedEpoch{Hash: e.Hash(), From: w.Now.Add(-time.Hour).Truncate(time.Second)})
	}
	retired.Chains[0].Epochs = append(retired.Chains[0].Epochs, proof.PinnedEpoch{Hash: to.Genesis.Hash(),
		From: w.Now.Add(-time.Minute * 30).Truncate(time.Second)})
	write(thirdFile, retired)
	key := before()
	key.Logs[0].NotAfter = w.Now.Add(2 * time.Second).Truncate(time.Second) // after the record, before the link
	write(keyFile, key)
	scope := before()
	scope.Chains = append(scope.Chains, solo().Trust().Chains...)
	for i := range scope.Logs {
		scope.Logs[i].Chains = []string{"egov-solo"}
	}
	write(notFile, scope)
	write(otherFile2, also(before(), w.NextChain("egov-new", 2).Genesis))
	one := []string{"江城市数据局", "江城市数据局", "江城市数据局", "江城市数据局"}
	write(soloFile, before(one...))
	write(bothOrg, also(before(one...), to.Genesis))
}

// linked is the moved world's bundle with a link changed.
func linked(w *prooftest.World, change func(e *anchorproof.Evidence)) []byte {
	return changed(w.Notarize(document), func(b *proof.Bundle) {
		e := evidenceOf(b)
		change(&e)
		b.Anchors = []json.RawMessage{prooftest.Encode(e)}
	})
}

// said is a bundle after a move whose link says something else, signed as it should be.
func said(change func(w *prooftest.World, l *anchorproof.Link), signers ...int) []byte {
	w, to := leaving()
	l := w.Link(to).Link
	change(w, &l)
	w.Move(to, w.SignLink(l, signers...))
	return notarized(w)
}

// moved are bundles of a log that has moved to another chain.
func (b *builder) moved() {
	b.movedTrusts()
	old := trustedBy(beforeFile)
	good := func(name, about, trust string, bundle []byte, edit ...func(*Vector)) {
		b.add("moved-"+name, about, proof.Genuine, bundle, append([]func(*Vector){trustedBy(trust)}, edit...)...)
	}
	bad := func(name, about string, bundle []byte, edit ...func(*Vector)) {
		b.bad("moved-"+name, about, proof.StepAnchor, "bad_evidence", bundle, append([]func(*Vector){old}, edit...)...)
	}
	stays, _ := leaving()
	good("before", "a record from before the move, under trust roots of both chains", afterFile, notarized(stays))
	good("old-trust", "a record from after the move, under trust roots from before it", beforeFile, notarized(moved()))
	good("new-trust", "a record from after the move, under trust roots of both chains", afterFile, notarized(moved()))
	good("new-chain-only", "trust roots that know the new chain alone: the link is of a chain that they do not know",
		newFile, notarized(moved()))
	good("without-link", "trust roots that know the new chain need no link", afterFile,
		linked(moved(), func(e *anchorproof.Evidence) { e.Links = nil }))
	good("twice", "the log has moved twice since the trust roots were made", beforeFile, notarized(movedTwice()))
	good("twice-half", "the log has moved twice, the trust roots know the first move", afterFile,
		notarized(movedTwice()))
	good("same-size", "the checkpoint of the link is the one that is anchored on the new chain", beforeFile, across())
	b.add("unverifiable-moved-unlinked", "without its link the new chain is unknown to trust roots from before",
		proof.Unverifiable,
		linked(moved(), func(e *anchorproof.Evidence) { e.Links = nil }), old)
	b.add("unverifiable-moved-skipped", "the first of two links is missing", proof.Unverifiable,
		linked(movedTwice(), func(e *anchorproof.Evidence) { e.Links = e.Links[1:] }), old)
	good("one-organization", "the members that let the log go are one organization", soloFile, notarized(moved()),
		warned(proof.WarnOneOrganization))
	good("one-organization-pinned", "they are one organization, and the trust roots name the new chain", bothOrg,
		notarized(moved()))
	b.add("unverifiable-moved-scope", "a link from a chain that does not anchor the log", proof.Unverifiable,
		notarized(moved()), trustedBy(notFile))
	good("at-once", "the new chain's clock is five minutes behind the link's", beforeFile,
		dated(moved(), -anchorproof.ClockTolerance))
	b.badMoves(bad, old)
	b.backdated(bad)
	b.malformedMoves(old)
}

// badMoves are links that do not hold.
func (b *builder) badMoves(bad func(name, about string, bundle []byte, edit ...func(*Vector)), old func(*Vector)) {
	link := func(change func(l *anchorproof.Moved)) []byte {
		return linked(moved(), func(e *anchorproof.Evidence) { change(&e.Links[0]) })
	}
	nothing := func(*prooftest.World, *anchorproof.Link) {}
	bad("no-quorum", "two of four members let the log go", said(nothing, 0, 1))
	bad("no-signer", "the log's operator alone signed", link(func(l *anchorproof.Moved) { l.Cosignatures = nil }))
	bad("signer-twice", "one member signed for two", link(func(l *anchorproof.Moved) {
		l.Cosignatures = append(l.Cosignatures[:2:2], l.Cosignatures[1], l.Cosignatures[2])
	}))
	bad("signature", "a member's signature is wrong",
		link(func(l *anchorproof.Moved) { l.Cosignatures[1].Signature = flip(l.Cosignatures[1].Signature, 30) }))
	bad("log-signature", "the log did not sign",
		link(func(l *anchorproof.Moved) { l.Log = l.Cosignatures[0].Signature }))
	bad("log-key", "the log's key had ended before the move", across(), trustedBy(keyFile))
	bad("origin", "the link is of another log",
		said(func(_ *prooftest.World, l *anchorproof.Link) { l.Origin = "neighbour.example" }))
	bad("genesis", "the former chain's epoch 0 is another one",
		said(func(_ *prooftest.World, l *anchorproof.Link) { l.Genesis[0] ^= 1 }))
	bad("from", "the link leads from a chain that nobody knows",
		link(func(l *anchorproof.Moved) { l.From = "egov-lefu" }))
	bad("epoch", "the link names another epoch than the one whose members signed",
		said(func(_ *prooftest.World, l *anchorproof.Link) { l.Epoch-- }))
	bad("epochs", "the hand-over to the signers is missing", link(func(l *anchorproof.Moved) { l.Epochs = nil }))
	bad("size", "the size was changed after signing", link(func(l *anchorproof.Moved) { l.Size--; l.Path = nil }))
	bad("root", "the log at the move was another one",
		said(func(_ *prooftest.World, l *anchorproof.Link) { l.Root[0] ^= 1 }))
	bad("path", "the consistency proof is missing", link(func(l *anchorproof.Moved) { l.Path = nil }))
	bad("later", "the link is of a larger log than the one that is anchored",
		said(func(_ *prooftest.World, l *anchorproof.Link) { l.Size += 1000 }))
	bad("forked", "the log on the new chain did not grow out of that on the former one",
		said(func(w *prooftest.World, l *anchorproof.Link) {
			l.Root = merkle.ListRoot([]merkle.Hash{l.Root, l.Root})
		}))
	bad("to", "the link leads to another chain than the anchor's", said(func(w *prooftest.World, l *anchorproof.Link) {
		l.To = w.NextChain("egov-new", 2).Genesis
	}))
	bad("to-id", "the link leads to a chain with another name", said(func(w *prooftest.World, l *anchorproof.Link) {
		l.To = w.NextChain("egov-nex", 3).Genesis
	}))
	bad("to-pinned", "the trust roots pin another chain of that name", notarized(moved()), trustedBy(otherFile2))
	bad("after-term", "the members that signed were out of office", notarized(moved()), trustedBy(thirdFile))
	bad("pinned-no-quorum", "the trust roots know the new chain, and the link does not hold", said(nothing, 0, 1),
		trustedBy(afterFile))
	twice := func(change func(e *anchorproof.Evidence)) []byte { return linked(movedTwice(), change) }
	bad("short", "the second of two links is missing", twice(func(e *anchorproof.Evidence) { e.Links = e.Links[:1] }))
	bad("order", "the links have changed places",
		twice(func(e *anchorproof.Evidence) { e.Links[0], e.Links[1] = e.Links[1], e.Links[0] }))
	bad("doubled", "a link stands there twice",
		linked(moved(), func(e *anchorproof.Evidence) { e.Links = append(e.Links, e.Links[0]) }))
	bad("loop", "the log comes back to a chain that it was on", loop())
	bad("backwards", "the second move is of a smaller size than the first",
		backwards(func(l, before *anchorproof.Link) { l.Size, l.Root = 0, merkle.EmptyRoot() }))
	bad("earlier", "the second move is earlier than the first",
		backwards(func(l, before *anchorproof.Link) { l.TimeMs = before.TimeMs - 1 }))
}

// dated is a bundle whose header is this long after the link, or before it.
func dated(w *prooftest.World, after time.Duration) []byte {
	const notarizing = 1500 * time.Millisecond // from here to the header, see World.Notarize
	w.Tick(after - notarizing)
	return notarized(w)
}

// backdated are records that the new chain dates back to before the log came to it.
func (b *builder) backdated(bad func(name, about string, bundle []byte, edit ...func(*Vector))) {
	const months = -200 * 24 * time.Hour
	bad("too-soon", "the header is a millisecond more than five minutes before the link",
		dated(moved(), -anchorproof.ClockTolerance-time.Millisecond))
	bad("backdated", "the new chain dates a record back to before the move", dated(moved(), months))
	bad("backdated-pinned", "the same, under trust roots of both chains", dated(moved(), months), trustedBy(afterFile))
	bad("backdated-new-chain-only", "the same, under trust roots that know the new chain alone", dated(moved(), months),
		trustedBy(newFile))
	bad("backdated-scope", "the same, under trust roots whose chains do not anchor the log", dated(moved(), months),
		trustedBy(notFile))
	w := moved()
	w.Tick(time.Hour)
	to := w.NextChain("egov-newest", 1)
	w.Move(to, w.Link(to))
	bad("backdated-between", "the second chain dates a record back to between the two moves", dated(w, -time.Hour/2))
}

// across is a record from before the move that is first anchored after it.
func across() []byte {
	w, to := leaving()
	r := w.Issue(document)
	w.Move(to, w.Link(to))
	c := w.Checkpoint()
	return w.Bundle(r, c, w.Anchor(c)).Encode()
}

// loop comes back to the chain that the trust roots pin, by its members' own signatures.
func loop() []byte {
	w, to := leaving()
	home := w.Chain
	w.Move(to, w.Link(to))
	w.Move(home, w.Link(home))
	return notarized(w)
}

// backwards has moved twice, and the second link says something else.
func backwards(change func(l, before *anchorproof.Link)) []byte {
	w := moved()
	first := w.Notarize(document)
	before := evidenceOf(first).Links[0].Link
	to := w.NextChain("egov-newest", 1)
	l := w.Link(to).Link
	change(&l, &before)
	w.Move(to, w.SignLink(l))
	return notarized(w)
}

// malformedMoves are links in another spelling.
func (b *builder) malformedMoves(old func(*Vector)) {
	text := notarized(moved())
	bad := func(name, about, from, to string) {
		b.bad("moved-"+name, about, proof.StepAnchor, "malformed", bytes.Replace(text, []byte(from), []byte(to), 1),
			old)
	}
	bad("text", "a link's text has a space more", `\nfrom egov`, `\nfrom  egov`)
	bad("text-line-ends", "a line of a link ends with CR LF", `\nfrom egov`, `\r\nfrom egov`)
	bad("text-magic", "a link of another version", `stele/chain-link/v1`, `stele/chain-link/v2`)
	bad("text-size", "the size has a leading zero", `\ncheckpoint `, `\ncheckpoint 0`)
	bad("text-epoch", "the number of the epoch has a leading zero", `\nepoch 1\ncheckpoint`, `\nepoch 01\ncheckpoint`)
	bad("key-order", "path stands before epochs", `"links":[{"text"`, `"links":[{"path":[],"text"`)
	b.bad("moved-empty-list", "an empty list of links in place of none", proof.StepAnchor, "malformed",
		bytes.Replace(text, []byte(`"links":[{`), []byte(`"links":[],"links":[{`), 1), old)
	b.bad("moved-too-often", "nine links", proof.StepAnchor, "malformed", tooOften(), old)
}

// tooOften has one link more than a reader takes.
func tooOften() []byte {
	w := moved()
	for range anchorproof.MaxLinks - 1 {
		to := w.NextChain(w.Chain.Genesis.Chain+"x", 1)
		w.Move(to, w.Link(to))
	}
	text, list, next := notarized(w), []byte(`"links":[`), []byte(`,{"text":"stele/chain-link`)
	begin := bytes.Index(text, list) + len(list)
	first := text[begin : begin+bytes.Index(text[begin:], next)]
	return slices.Concat(text[:begin], first, []byte(","), text[begin:])
}
