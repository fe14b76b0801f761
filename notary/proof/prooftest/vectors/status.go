package vectors

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"time"

	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/prooftest"
	"stele/notary/proof/status"
)

// Trust files of the vectors about statuses.
const (
	statusKeysFile = "trust-status-keys.json" // the log changed its key, a day after the usual record
	statusSoloFile = "trust-solo.json"
)

// stated is a record, what the log said of it later, and the bundle of both.
type stated struct {
	w        *prooftest.World
	record   *prooftest.Record
	own      prooftest.Checkpoint // of the bundle
	status   *prooftest.Status
	under    prooftest.Checkpoint // of the status
	anchor   json.RawMessage      // of that
	evidence json.RawMessage      // of the bundle's own
}

// happening is what becomes of a record.
type happening func(*prooftest.World, *prooftest.Record)

// state has the log of a world say the standing of a record, after what happens in between.
func state(w *prooftest.World, between happening, edit ...func(*prooftest.Status)) stated {
	x := stated{w: w, record: w.Issue(document)}
	x.own = w.Checkpoint()
	x.evidence = w.Anchor(x.own)
	w.Fill(2)
	between(w, x.record)
	w.Tick(20 * time.Hour)
	x.status = w.EnterStatus(edit...)
	x.under = w.Checkpoint()
	x.anchor = w.Anchor(x.under)
	return x
}

// bundle has the status; change edits it.
func (x stated) bundle(change ...func(*proof.Bundle)) *proof.Bundle {
	b := x.w.Bundle(x.record, x.own, x.evidence)
	b.Status = x.w.StatusProof(x.status, x.record, x.under, x.anchor)
	for _, f := range change {
		f(b)
	}
	return b
}

func nothing(*prooftest.World, *prooftest.Record) {}

// then is what happens to a record, where the entry that says so does not matter.
func then(later func(*prooftest.World, *prooftest.Record) *prooftest.Record) happening {
	return func(w *prooftest.World, r *prooftest.Record) { later(w, r) }
}

// others are records that come and go beside the one.
func others(n int) happening {
	return func(w *prooftest.World, _ *prooftest.Record) {
		for range n {
			w.Revoke(w.Issue(otherDocument), "依法撤销")
		}
	}
}

// standsAs is the state of the standing that a vector is about.
func standsAs(state string) func(*Vector) { return func(v *Vector) { v.Standing = state } }

func statusTrusts(b *builder) {
	t := four().Trust()
	t.Logs[0].NotAfter = prooftest.AgencyNotBefore.AddDate(0, 10, 22) // 2026-11-23
	next := prooftest.New(prooftest.Options{Seed: seed})
	next.LogKey = nextLogKey()
	added := next.Trust().Logs[0]
	added.NotBefore = t.Logs[0].NotAfter
	t.Logs = append(t.Logs, added)
	b.set.Files[statusKeysFile] = append(t.Encode(), '\n')
}

func nextLogKey() prooftest.Key { return prooftest.NewKey(seed + "/log/2") }

func newKey(w *prooftest.World, _ *prooftest.Record) { w.LogKey = nextLogKey() }

// statuses are bundles with what the log says of the record's standing.
func (b *builder) statuses() {
	statusTrusts(b)
	b.statusGood()
	b.statusUnchecked()
	b.statusForm()
	b.statusPlace()
	b.statusVouched()
	b.statusMap()
	b.statusCertificate()
	b.statusRevocation()
	b.statusStanding()
}

func (b *builder) statusGood() {
	valid, fresh := standsAs(proof.StandingValid), state(four(), nothing)
	b.add("status-valid", "by the log's status, which covers it, the record is in force", proof.Genuine,
		fresh.bundle().Encode(), valid)
	b.add("status-altered", "the record is in force, and the file is another one", proof.Altered,
		fresh.bundle().Encode(), valid, about(otherFile))
	b.add("status-no-file", "the record is in force, and no file was given", proof.Unverifiable,
		fresh.bundle().Encode(), valid, about(""))
	b.add("status-same-checkpoint", "the bundle's own checkpoint is that of the status", proof.Genuine,
		fresh.bundle(func(b *proof.Bundle) {
			b.Log.Path, b.Log.Checkpoint, b.Anchors = b.Status.RecordPath, b.Status.Log.Checkpoint, b.Status.Anchors
		}).Encode(), valid)
	b.add("status-pending", "the bundle's own checkpoint is not anchored, that of the status is", proof.Pending,
		fresh.bundle(func(b *proof.Bundle) { b.Anchors = nil }).Encode(), valid)
	b.add("status-solo", "the smallest log: the record and the status", proof.Genuine, statusSolo().Encode(), valid,
		trustedBy(statusSoloFile))
	b.add("status-with-consistency", "a second checkpoint and a status", proof.Genuine,
		fresh.bundle(func(b *proof.Bundle) {
			b.Consistency = &proof.Consistency{Checkpoint: b.Status.Log.Checkpoint, Anchors: b.Status.Anchors,
				Path: fresh.w.Consistency(fresh.own.Size)}
		}).Encode(), valid)
	b.add("status-many", "a map of many keys", proof.Genuine, state(four(), others(6)).bundle().Encode(), valid)
	b.add("status-two-chains", "the status is anchored on two chains: the earlier time leads", proof.Genuine,
		fresh.bundle(func(b *proof.Bundle) {
			second := solo()
			second.Now = fresh.w.Now.Add(-time.Minute)
			b.Status.Anchors = append(b.Status.Anchors, second.Anchor(fresh.under))
		}).Encode(), valid, func(v *Vector) {
			v.AsOf = fresh.w.Now.Add(300*time.Millisecond - time.Minute).Format("2006-01-02T15:04:05.000Z")
		})
	b.add("status-key-changed", "the log changed its key before it made the status", proof.Genuine,
		state(four(), newKey).bundle().Encode(), valid, trustedBy(statusKeysFile))
	b.add("status-key-vouched", "the key of the status is not pinned, but the chain's epochs lead to it", proof.Genuine,
		state(rotated(), nothing).bundle().Encode(), valid)
}

// statusSolo has no path of more than one hash, and a map with one key.
func statusSolo() *proof.Bundle {
	w := solo()
	x := stated{w: w, record: w.Issue(document)}
	x.status = w.EnterStatus()
	x.under = w.Checkpoint()
	x.anchor = w.Anchor(x.under)
	x.own, x.evidence = x.under, x.anchor
	return x.bundle()
}

// statusUnchecked are statuses that nothing can be said about: the verdict is what it is without them.
func (b *builder) statusUnchecked() {
	unknown := standsAs(proof.StandingUnknown)
	fresh, ended := state(four(), nothing), state(four(), then(revoke))
	other := foreign()
	elsewhere := []json.RawMessage{other.Anchor(fresh.under)}
	b.add("status-not-anchored", "no chain vouches for the status", proof.Genuine,
		fresh.bundle(func(b *proof.Bundle) { b.Status.Anchors = nil }).Encode(), unknown)
	b.add("status-unknown-chain", "the status is anchored on a chain that is not pinned", proof.Genuine,
		fresh.bundle(func(b *proof.Bundle) { b.Status.Anchors = elsewhere }).Encode(),
		unknown)
	b.add("status-unknown-chain-revoked", "the same, and by the status the record was revoked", proof.Genuine,
		ended.bundle(func(b *proof.Bundle) {
			b.Status.Anchors = []json.RawMessage{other.Anchor(ended.under)}
		}).Encode(),
		unknown)
	b.add("status-unknown-key", "the status is signed with a key that nobody vouches for", proof.Genuine,
		state(four(), nothing, func(s *prooftest.Status) { s.Signer = nextLogKey() }).bundle().Encode(), unknown)
	b.add("status-unknown-log", "neither the log nor the chain of the status is pinned", proof.Genuine,
		fresh.bundle(func(b *proof.Bundle) { b.Status.Anchors = elsewhere }).Encode(),
		unknown, trustedBy("trust-no-log.json"))
	b.add("status-foreign", "a status in whole evidence of another instance", proof.Unverifiable,
		state(foreign(), nothing).bundle().Encode(), unknown)
	b.bad("status-no-checkpoint", "the bundle's own checkpoint cannot be read", proof.StepInclusion, "malformed",
		fresh.bundle(func(b *proof.Bundle) { b.Log.Checkpoint = []byte("log\n") }).Encode(), unknown)
}

// statusForm are bundles whose status has not its one spelling.
func (b *builder) statusForm() {
	fresh := state(four(), nothing).bundle()
	good := fresh.Encode()
	ended := state(four(), then(revoke)).bundle()
	value := `,"value":"` + ended.Status.Record.Value + `"`
	malformed := func(name, about string, bundle []byte) {
		b.bad("status-form-"+name, about, proof.StepBundle, "malformed", bundle)
	}
	malformed("version", "a status in version 1", replaceIn(good, "stele/bundle/v2", "stele/bundle/v1"))
	malformed("null", "null for the proof about the certificate", replaceIn(good,
		`{"proof":"`+base64.StdEncoding.EncodeToString(fresh.Status.Certificate.Proof.Encode())+`"}}`, `null}`))
	malformed("no-value", "no value beside the proof of a present key", replaceIn(ended.Encode(), value, ""))
	malformed("value-empty", "an empty value beside the proof of an absent key", replaceIn(good,
		`"},"certificate":`, `","value":""},"certificate":`))
	malformed("value-absent", "a value beside the proof of an absent key", replaceIn(good, `"},"certificate":`,
		`"`+value+`},"certificate":`))
	for _, text := range [][2]string{{"zero", "revoked 08"}, {"other", "withdrawn 8"},
		{"range", "revoked 9007199254740992"}, {"end", "revoked 8 "}, {"space", "revoked  8"}, {"plus", "revoked +8"}} {
		malformed("value-"+text[0], "the record's value is "+text[1],
			replaceIn(ended.Encode(), value, `,"value":"`+text[1]+`"`))
	}
	for _, text := range [][2]string{{"reason", "keyStolen 2026-11-22T06:28:43Z 8"},
		{"day", "keyCompromise 2026-11-31T06:28:43Z 8"}, {"year", "keyCompromise 1999-11-22T06:28:43Z 8"},
		{"fraction", "keyCompromise 2026-11-22T06:28:43.5Z 8"}, {"index", "keyCompromise 2026-11-22T06:28:43Z -8"},
		{"parts", "keyCompromise 2026-11-22T06:28:43Z"}} {
		malformed("certificate-"+text[0], "the certificate's value is "+text[1],
			changed(revokedSince(time.Hour, four()).bundle(),
				func(b *proof.Bundle) { b.Status.Certificate.Value = text[1] }))
	}
	b.statusRevocationForm(malformed)
	b.statusProofForm(malformed)
	malformed("statement-limit", "a status statement of 1,025 bytes", changed(state(four(), nothing).bundle(),
		func(b *proof.Bundle) { b.Status.Statement = make([]byte, status.MaxSize+1) }))
	malformed("no-signature", "an empty signature", changed(state(four(), nothing).bundle(),
		func(b *proof.Bundle) { b.Status.Signature = nil }))
	bad := func(name, about string, change func(*proof.Bundle)) {
		b.bad("status-"+name, about, proof.StepStatus, "malformed", state(four(), nothing).bundle(change).Encode())
	}
	bad("statement", "the status statement is out of form", func(b *proof.Bundle) {
		b.Status.Statement = append(b.Status.Statement, '\n')
	})
	bad("statement-type", "the record's statement in place of the status", func(b *proof.Bundle) {
		b.Status.Statement = b.Statement
	})
	bad("key", "the log's key is out of form", func(b *proof.Bundle) { b.Status.Key += "=" })
	bad("note", "the checkpoint of the status is none",
		func(b *proof.Bundle) { b.Status.Log.Checkpoint = []byte("log\n") })
}

// statusProofForm are proofs of the map that are out of form.
func (b *builder) statusProofForm(malformed func(name, about string, bundle []byte)) {
	many := state(four(), others(4)).bundle()
	good := many.Status.Record.Proof.Encode()
	for _, x := range []struct {
		name, about string
		edit        func(p []byte) []byte
	}{
		{"short", "the last byte of the map's proof is missing", func(p []byte) []byte { return p[:len(p)-1] }},
		{"long", "a byte follows the map's proof", func(p []byte) []byte { return append(p, 0) }},
		{"order", "two nodes of the map's proof have changed their bits", func(p []byte) []byte {
			p[2], p[2+33] = p[2+33], p[2]
			return p
		}},
		{"end", "the map's proof ends as one of an empty map", func(p []byte) []byte {
			p[2+33*int(p[1])] = 2
			return p
		}},
		{"none", "the map's proof is empty", func([]byte) []byte { return nil }},
	} {
		malformed("proof-"+x.name, x.about, replaceIn(many.Encode(),
			`"record":{"proof":"`+base64.StdEncoding.EncodeToString(good),
			`"record":{"proof":"`+base64.StdEncoding.EncodeToString(x.edit(bytes.Clone(good)))))
	}
}

// statusPlace are statuses of another log, or that do not stand where they say.
func (b *builder) statusPlace() {
	bad := func(name, about, reason string, bundle *proof.Bundle) {
		b.bad("status-"+name, about, proof.StepStatus, reason, bundle.Encode())
	}
	fresh := state(four(), nothing)
	bad("other-log", "the status speaks of another log", "other_log",
		state(four(), nothing, func(s *prooftest.Status) { s.Log = "log.other.example" }).bundle())
	bad("other-log-key", "the key of the status has the name of another log", "other_log",
		state(four(), nothing, func(s *prooftest.Status) { s.Name = "log.other.example" }).bundle())
	theirs := cityB()
	bad("other-log-note", "the checkpoint of the status is one of another log", "other_log",
		fresh.bundle(func(b *proof.Bundle) { b.Status.Log.Checkpoint = theirs.Checkpoint().Note }))
	bad("other-place", "the status covers fewer entries than are before it", "other_place",
		state(four(), nothing, func(s *prooftest.Status) { s.Size-- }).bundle())
	bad("own-place", "the status is shown at the index before its own", "other_place",
		fresh.bundle(func(b *proof.Bundle) { b.Status.Log.Index-- }))
	early := four()
	said := early.EnterStatus()
	under := early.Checkpoint()
	anchor := early.Anchor(under)
	r := early.Issue(document)
	c := early.Checkpoint()
	bundle := early.Bundle(r, c, early.Anchor(c))
	bundle.Status = &proof.StatusProof{Statement: said.Text, Signature: said.Signature, Key: said.Key(),
		Log:     proof.LogProof{Index: said.Index, Path: early.Path(said.Index, under.Size), Checkpoint: under.Note},
		Anchors: []json.RawMessage{anchor}, Record: said.Prove(sm.Sum(nil)),
		Certificate: proof.CertificateProof{MapProof: said.Prove(sm.Sum(nil))}}
	bad("not-covered", "the status is older than the record", "not_covered", bundle)
	old := state(four(), nothing)
	revoke(old.w, old.record)
	old.under = old.w.Checkpoint()
	old.anchor = old.w.Anchor(old.under)
	bad("not-last", "a status from before the revocation, under a checkpoint from after it", "not_last", old.bundle())
	bad("signature", "the signature over the status is another one's", "bad_signature",
		fresh.bundle(func(b *proof.Bundle) { b.Status.Signature = b.Signature }))
	bad("other-key", "the key beside the status is another one", "bad_signature", fresh.bundle(func(b *proof.Bundle) {
		s := *fresh.status
		s.Signer = nextLogKey()
		b.Status.Key = s.Key()
	}))
	bad("path", "a bit of the path of the status is wrong", "not_included",
		fresh.bundle(func(b *proof.Bundle) { b.Status.Log.Path[0][0] ^= 1 }))
	bad("record-path", "a bit of the record's path is wrong", "not_included",
		fresh.bundle(func(b *proof.Bundle) { b.Status.RecordPath[0][0] ^= 1 }))
	bad("record-path-none", "the record is not shown to be in the log of the status", "not_included",
		fresh.bundle(func(b *proof.Bundle) { b.Status.RecordPath = nil }))
	bad("never-logged", "the status was signed and never logged", "not_included", fresh.bundle(func(b *proof.Bundle) {
		s := four().EnterStatus(func(s *prooftest.Status) { s.Statement = fresh.status.Statement; s.Records++ })
		b.Status.Statement, b.Status.Signature = s.Text, s.Signature
	}))
}

// statusVouched are statuses that those who should vouch for them do not.
func (b *builder) statusVouched() {
	bad := func(name, about, reason string, bundle []byte, edit ...func(*Vector)) {
		b.bad("status-"+name, about, proof.StepStatus, reason, bundle, edit...)
	}
	fresh := state(four(), nothing)
	bad("note-signature", "the checkpoint of the status is signed with another key", "bad_evidence",
		fresh.bundle(func(b *proof.Bundle) {
			b.Status.Log.Checkpoint = prooftest.SignNote(fresh.under.Checkpoint, fresh.under.Origin,
				prooftest.NewKey("stranger"))
		}).Encode())
	bad("anchor", "the anchor of the status is the bundle's own", "bad_evidence",
		fresh.bundle(func(b *proof.Bundle) { b.Status.Anchors = b.Anchors }).Encode())
	bad("anchor-two-thirds", "two of four validators vouch for the status", "bad_evidence",
		fresh.bundle(func(b *proof.Bundle) {
			w := four()
			w.Now = fresh.w.Now
			b.Status.Anchors = []json.RawMessage{w.Anchor(fresh.under, 0, 1)}
		}).Encode())
	bad("anchor-twice", "the status is anchored twice on one chain", "bad_evidence",
		fresh.bundle(func(b *proof.Bundle) {
			b.Status.Anchors = append(b.Status.Anchors,
				b.Status.Anchors[0])
		}).Encode())
	retired := state(four(), newKey, func(s *prooftest.Status) { s.Signer = four().LogKey })
	bad("key-retired", "the status is signed with a key that was out of use when it was anchored", "key_not_valid",
		retired.bundle().Encode(), trustedBy(statusKeysFile))
	early := prooftest.New(prooftest.Options{Seed: seed, Validators: 4})
	x := stated{w: early, record: early.Issue(document)}
	x.status = early.EnterStatus(func(s *prooftest.Status) { s.Signer = nextLogKey() })
	x.under = early.Checkpoint()
	x.anchor = early.Anchor(x.under)
	x.own, x.evidence = x.under, x.anchor
	bad("key-early", "the status is signed with a key that was not in use yet when it was anchored", "key_not_valid",
		x.bundle().Encode(), trustedBy(statusKeysFile))
}

// statusMap show something else than the map has.
func (b *builder) statusMap() {
	bad := func(name, about string, x stated, change ...func(*proof.Bundle)) {
		b.bad("status-"+name, about, proof.StepStatus, "map_differs", x.bundle(change...).Encode())
	}
	ended := state(four(), then(revoke))
	hidden := state(four(), nothing)
	bad("map-hidden", "the revocation is hidden by the proof of an older map", ended,
		func(b *proof.Bundle) { b.Status.Record = hidden.bundle().Status.Record })
	bad("map-value", "the value is not the one in the map", ended,
		func(b *proof.Bundle) { b.Status.Record.Value = "superseded 8" })
	bad("map-index", "the value in the map names another entry", ended,
		func(b *proof.Bundle) { b.Status.Record.Value = "revoked 7" })
	bad("map-swapped", "the proofs of record and certificate have changed places", state(four(), others(6)),
		func(b *proof.Bundle) {
			b.Status.Record, b.Status.Certificate.MapProof = b.Status.Certificate.MapProof, b.Status.Record
		})
	bad("map-certificate-hidden", "the revocation of the certificate is hidden by the proof of an older map",
		revokedSince(time.Hour, four()),
		func(b *proof.Bundle) { b.Status.Certificate = hidden.bundle().Status.Certificate })
	number := ended.record.Statement.Number
	bad("map-future", "by the map, an entry that it does not cover revoked the record",
		state(four(), nothing, func(s *prooftest.Status) {
			s.Put(status.RecordKey(number, ended.record.Statement.Agency.Code), status.Ended{Index: s.Size}.Text())
		}))
	bad("map-other-agency", "the proof is about the number at another agency",
		state(four(), func(w *prooftest.World, r *prooftest.Record) { w.Revoke(r, "依法撤销") }),
		func(b *proof.Bundle) {
			b.Status.Record = ended.status.Prove(status.RecordKey(number, "12420100MB1234567X"))
		})
}

// revokedSince is a status with a revocation of the signer's certificate, since a time after the record's
// anchor; before it where the time is negative.
func revokedSince(after time.Duration, w *prooftest.World, reason ...string) stated {
	why := append(reason, status.KeyCompromise)[0]
	return state(w, func(w *prooftest.World, _ *prooftest.Record) { w.RevokeCertificate(why, w.Now.Add(after)) })
}

// statusCertificate are records whose signer's certificate was revoked later.
func (b *builder) statusCertificate() {
	valid := standsAs(proof.StandingValid)
	good := func(name, about string, verdict proof.Verdict, x stated) {
		b.add("status-certificate-"+name, about, verdict, x.bundle().Encode(), warned(proof.WarnCertificate), valid)
	}
	bad := func(name, about string, bundle *proof.Bundle) {
		b.bad("status-certificate-"+name, about, proof.StepStatus, "certificate_revoked", bundle.Encode())
	}
	good("later", "the certificate is revoked since an hour after the record's anchor", proof.Genuine,
		revokedSince(time.Hour, four()))
	good("next-second", "the certificate is revoked since the second after the record's anchor", proof.Genuine,
		revokedSince(time.Second, four()))
	for _, why := range []string{status.Superseded, status.CessationOfOperation} {
		good("later-"+why, "the certificate is revoked since an hour after the record's anchor, "+why, proof.Genuine,
			revokedSince(time.Hour, four(), why))
		bad("before-"+why, "the certificate is revoked since an hour before the record's anchor, "+why,
			revokedSince(-time.Hour, four(), why).bundle())
	}
	bad("before", "the certificate is revoked since an hour before the record's anchor",
		revokedSince(-time.Hour, four()).bundle())
	bad("same-second", "the certificate is revoked since the second of the record's anchor",
		revokedSince(0, four()).bundle())
	bad("not-anchored", "the certificate is revoked, and the bundle's own checkpoint is not anchored",
		revokedSince(time.Hour, four()).bundle(func(b *proof.Bundle) { b.Anchors = nil }))
	b.add("status-certificate-unchecked", "the certificate is revoked by a status that nobody vouches for",
		proof.Genuine,
		revokedSince(-time.Hour, four()).bundle(func(b *proof.Bundle) { b.Status.Anchors = nil }).Encode(),
		standsAs(proof.StandingUnknown))
}

// statusStanding are statuses of records that ended, with and without the entry that says so.
func (b *builder) statusStanding() {
	revoked, superseded := standsAs(string(proof.Revoked)), standsAs(string(proof.Superseded))
	b.add("status-revoked", "by the status alone, the record was revoked", proof.Revoked,
		state(four(), then(revoke)).bundle().Encode(), revoked)
	b.add("status-superseded", "by the status alone, the record was replaced", proof.Superseded,
		state(four(), then(supersede)).bundle().Encode(), superseded)
	b.add("status-revoked-altered", "by the status alone, the record was revoked, and the file is another one",
		proof.Altered, state(four(), then(revoke)).bundle().Encode(), revoked, about(otherFile))
	both := func(what ...func(*prooftest.World, *prooftest.Record) *prooftest.Record) (stated, []*prooftest.Record) {
		var later []*prooftest.Record
		x := state(four(), func(w *prooftest.World, r *prooftest.Record) {
			for _, f := range what {
				later = append(later, f(w, r))
			}
		})
		return x, later
	}
	with := func(x stated, later *prooftest.Record) *proof.Bundle {
		bundle := x.bundle()
		x.w.AddStanding(bundle, later)
		return bundle
	}
	x, later := both(revoke)
	b.add("status-revoked-shown", "the status and the revocation itself", proof.Revoked, with(x, later[0]).Encode(),
		revoked)
	x, later = both(supersede)
	b.add("status-superseded-shown", "the status and the replacement itself", proof.Superseded,
		with(x, later[0]).Encode(), superseded)
	x, _ = both()
	b.add("status-older", "the revocation is later than the status", proof.Revoked, with(x, revoke(x.w,
		x.record)).Encode(),
		revoked)
	x, later = both(supersede, revoke)
	b.add("status-first", "the record was replaced, and then revoked: the first counts", proof.Superseded,
		with(x, later[0]).Encode(), superseded)
	bad := func(name, about string, bundle *proof.Bundle) {
		b.bad("status-differs-"+name, about, proof.StepStanding, "status_differs", bundle.Encode())
	}
	bad("kind", "the record was replaced, and the bundle shows a later revocation", with(x, later[1]))
	x, later = both(revoke, revoke)
	bad("index", "the bundle shows another revocation than the first", with(x, later[1]))
	var hidden *prooftest.Record
	x = state(four(), func(w *prooftest.World, r *prooftest.Record) { hidden = revoke(w, r) },
		func(s *prooftest.Status) { *s = *withoutMap(s) })
	bad("hidden", "the status covers the revocation and does not have it", with(x, hidden))
}

// withoutMap is a status whose map has nothing.
func withoutMap(s *prooftest.Status) *prooftest.Status {
	empty := four().EnterStatus(func(e *prooftest.Status) { e.Size = s.Size })
	s.Statement, s.Made, s.Values = empty.Statement, empty.Made, empty.Values
	return s
}
