package evidence

import (
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"stele/crypto/merkle"
	"stele/crypto/pki"
	"stele/crypto/signednote"
	"stele/crypto/sm"
	"stele/notary/anchorproof"
	"stele/notary/checkpoint"
	"stele/notary/proof"
	"stele/notary/statement"
)

// maxEpochs bounds how many hand-overs of a chain are taken apart; a chain has a few in its
// life. All of them are in the bundle, and stele-verify checks them all.
const maxEpochs = 8

// maxFiles keeps a package within what stele-verify opens.
const maxFiles = 4000

// parts are the bundle's parts as files, and what the README says about them.
type parts struct {
	files    []file
	sections []section
	trust    *proof.Trust
}

// section is an entry of the log taken apart: the record's own, or the one that withdrew or
// replaced it, in a folder of its own. The README has the same steps for each.
type section struct {
	Folder                 string // with a slash, or empty
	At                     int64  // Unix time of the statement, at which the certificate must be valid
	AtText                 string
	StatementLen, SigStart int
	SigLen                 int
	Links                  []link
	LogPinned              bool // the log's key is among the trust roots, not one that the chain vouches for
	Index, Size            uint64
	Anchors                []anchorSection
}

// link is a certificate and the one that it is issued under, as files.
type link struct{ Subject, Issuer string }

type anchorSection struct {
	Name   string // of the folder, without the section's
	Epochs []epochSection
	Last   uint64 // number of the epoch whose validators cosigned
}

type epochSection struct {
	Number, Before uint64
	First          bool // the pinned one
}

func newParts(in Input) (*parts, error) {
	trust, err := proof.ParseTrust(in.Trust)
	if err != nil {
		return nil, err
	}
	b, err := proof.ParseBundle(in.Bundle)
	if err != nil {
		return nil, err
	}
	p := &parts{trust: trust}
	if err := p.take("", &b.Evidence); err != nil {
		return nil, err
	}
	if b.Standing != nil {
		if err := p.take("standing/", b.Standing); err != nil {
			return nil, fmt.Errorf("standing: %w", err)
		}
	}
	if len(p.files) > maxFiles {
		return nil, fmt.Errorf("the bundle has %d parts, at most %d are taken apart", len(p.files), maxFiles)
	}
	return p, nil
}

func (p *parts) add(name string, data []byte) { p.files = append(p.files, file{name, data}) }

// take writes one entry's parts. It follows proof.Verify, which has passed on the bundle,
// and fails where a part does not lead to the next: such a package would mislead.
func (p *parts) take(folder string, e *proof.Evidence) error {
	s, err := statement.Parse(e.Statement)
	if err != nil {
		return err
	}
	c, err := checkpoint.ParseUnsafe(e.Log.Checkpoint)
	if err != nil {
		return err
	}
	sec := section{Folder: folder, At: s.IssuedAt.Unix(), AtText: s.IssuedAt.UTC().Format(time.RFC3339), Index: e.Log.Index, Size: c.Size,
		StatementLen: len(e.Statement), SigStart: 2 + len(e.Statement) + 2 + 1, SigLen: len(e.Signature)}
	p.add(folder+"statement.json", e.Statement)
	p.add(folder+"signature.der", e.Signature)
	if err := p.certificates(&sec, folder, e.Certificates); err != nil {
		return err
	}
	p.add(folder+"entry.bin", entryBytes(e))
	if err := p.path(folder+"inclusion/", e.LeafHash(), e.Log.Index, c.Size, e.Log.Path, c.Root); err != nil {
		return err
	}
	epochs, err := p.anchors(&sec, folder, e, c)
	if err != nil {
		return err
	}
	if err := p.checkpoint(&sec, folder, e.Log.Checkpoint, c, epochs); err != nil {
		return err
	}
	p.sections = append(p.sections, sec)
	return nil
}

// certificates writes each one as a file. OpenSSL uses the user id for the first certificate
// of a chain only, so the README checks link by link.
func (p *parts) certificates(sec *section, folder string, ders [][]byte) error {
	name := "signer.pem"
	for i, der := range ders {
		p.add(folder+name, pki.EncodePEM(der))
		c, err := pki.Parse(der)
		if err != nil {
			return err
		}
		if c.NotAfter().Unix() == sec.At { // OpenSSL counts the last second as too late
			sec.At--
		}
		next := fmt.Sprintf("issuer-%d.pem", i+1)
		if i >= len(ders)-2 {
			next = "root.pem"
		}
		if i < len(ders)-1 {
			sec.Links = append(sec.Links, link{name, next})
		}
		name = next
	}
	return nil
}

func entryBytes(e *proof.Evidence) []byte {
	return statement.Entry{Statement: e.Statement, Signature: e.Signature, Certificate: sm.Sum(e.Certificates[0])}.Encode()
}

// path writes the hashes on the way from a leaf to a root, each with the side on which it
// stands (RFC 9162 section 2.1.3.2): then climbing is putting files one after the other.
func (p *parts) path(folder string, leaf merkle.Hash, index, size uint64, path []merkle.Hash, root merkle.Hash) error {
	node, at, last := leaf, index, size-1
	for i, h := range path {
		side := "right"
		if at&1 == 1 || at == last {
			side, node = "left", merkle.NodeHash(h, node)
			for at&1 == 0 && at != 0 {
				at, last = at>>1, last>>1
			}
		} else {
			node = merkle.NodeHash(node, h)
		}
		p.add(fmt.Sprintf("%s%02d.%s", folder, i+1, side), h[:])
		at, last = at>>1, last>>1
	}
	if node != root {
		return errors.New("the path does not lead to the root")
	}
	return nil
}

// checkpoint writes the log's text, its signature and the key that made it: a pinned one,
// or after a change of keys the one that an anchor's epochs name.
func (p *parts) checkpoint(sec *section, folder string, note []byte, c checkpoint.Checkpoint, epochs []anchorproof.Epoch) error {
	var keys []*signednote.Verifier
	for _, l := range p.trust.Logs {
		keys = append(keys, l.Key)
	}
	_, key, err := checkpoint.Open(note, keys...)
	sec.LogPinned = err == nil
	for i := 0; err != nil && i < len(epochs); i++ {
		if k := epochs[i].Notary(c.Origin); k != nil {
			if v, verr := signednote.NewVerifier(c.Origin, k); verr == nil {
				_, key, err = checkpoint.Open(note, v)
			}
		}
	}
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	sig, err := signednote.SignatureOf(note, key)
	if err != nil {
		return err
	}
	p.add(folder+"checkpoint.txt", []byte(c.Text()))
	p.add(folder+"checkpoint.der", sig)
	p.add(folder+"log.pem", publicPEM(key.Key()))
	return nil
}

// anchors writes the evidence of each chain that is pinned and returns their epochs. What
// else there may be stays in the bundle.
func (p *parts) anchors(sec *section, folder string, e *proof.Evidence, c checkpoint.Checkpoint) (all []anchorproof.Epoch, err error) {
	for _, raw := range e.Anchors {
		ev, err := anchorproof.ParseEvidence(raw)
		if err != nil {
			continue // of another kind
		}
		epochs := p.epochs(ev)
		if len(epochs) == 0 || len(epochs) > maxEpochs {
			continue
		}
		a := anchorSection{Name: fmt.Sprintf("anchor-%d/", len(sec.Anchors)+1), Last: epochs[len(epochs)-1].Number}
		to := folder + a.Name
		p.add(to+"header.txt", []byte(ev.Header.Text()))
		if err := p.path(to+"path/", merkle.LeafHash([]byte(c.Text())), ev.Position, ev.Header.Count, ev.Path, ev.Header.Anchors); err != nil {
			return nil, fmt.Errorf("anchor: %w", err)
		}
		p.signatures(to+"cosignature-", ev.Cosignatures)
		for i, epoch := range epochs {
			a.Epochs = append(a.Epochs, epochSection{Number: epoch.Number, Before: epoch.Number - 1, First: i == 0})
			p.epoch(fmt.Sprintf("%sepoch-%d/", to, epoch.Number), epoch)
			if i > 0 {
				p.signatures(fmt.Sprintf("%sepoch-%d/signature-", to, epoch.Number), ev.Epochs[i-1].Signatures)
			}
		}
		sec.Anchors = append(sec.Anchors, a)
		all = append(all, epochs...)
	}
	return all, nil
}

// epochs are those from the pinned one to the one that cosigned; none when it is not pinned.
func (p *parts) epochs(ev anchorproof.Evidence) []anchorproof.Epoch {
	for _, chain := range p.trust.Chains {
		if chain.Genesis.Chain != ev.Header.Chain {
			continue
		}
		out := []anchorproof.Epoch{chain.Genesis}
		for _, next := range ev.Epochs {
			out = append(out, next.Epoch)
		}
		return out
	}
	return nil
}

func (p *parts) epoch(folder string, e anchorproof.Epoch) {
	p.add(folder+"epoch.txt", []byte(e.Text()))
	for i, v := range e.Validators {
		p.add(fmt.Sprintf("%svalidator-%d.pem", folder, i), publicPEM(v.Key))
	}
}

// signatures are named by the validator's place in its epoch, counted from 0.
func (p *parts) signatures(prefix string, all []anchorproof.Cosignature) {
	for _, s := range all {
		p.add(fmt.Sprintf("%s%d.der", prefix, s.Validator), s.Signature)
	}
}

// spki is the beginning of every SM2 public key in DER, before the point's 65 bytes.
var spki = []byte("\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x81\x1c\xcf\x55\x01\x82\x2d\x03\x42\x00")

func publicPEM(k *sm.PublicKey) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: append(spki[:len(spki):len(spki)], k.Bytes()...)})
}
