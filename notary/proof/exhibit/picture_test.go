package exhibit_test

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"stele/crypto/merkle"
	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/checkpoint"
	"stele/notary/proof/exhibit"
	"stele/notary/proof/prooftest"
	"stele/ui/fill"
)

// wellFormed fails when a picture is no XML, or has anything in it that could load, run or
// style something.
func wellFormed(t testing.TB, name, picture string) {
	t.Helper()
	elements := []string{"svg", "title", "desc", "g", "path", "rect", "circle", "text"}
	attributes := []string{"xmlns", "class", "viewBox", "role", "focusable", "d", "x", "y", "width", "height", "rx",
		"cx", "cy", "r", "text-anchor"}
	d := xml.NewDecoder(strings.NewReader(picture))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, picture)
		}
		e, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		if !slices.Contains(elements, e.Name.Local) {
			t.Errorf("%s: element %s", name, e.Name.Local)
		}
		for _, a := range e.Attr {
			if !slices.Contains(attributes, a.Name.Local) || strings.Contains(a.Value, "%!") {
				t.Errorf("%s: attribute %s=%q of %s", name, a.Name.Local, a.Value, e.Name.Local)
			}
		}
	}
}

// drawn is a record with a path of some length, anchored by a chain of some validators.
func drawn(t testing.TB, levels int, names []string, signers ...int) shown {
	t.Helper()
	w := prooftest.New(prooftest.Options{Seed: "drawn"})
	var members []prooftest.Member
	for _, n := range names {
		members = append(members, prooftest.NewMember("drawn", n, 10))
	}
	w.Chain = prooftest.NewChain("drawn", "egov-drawn", members,
		anchorproof.Notary{Origin: w.Origin(), Key: w.LogKey.Public()})
	r := w.Issue([]byte("a document"))
	r.Index = 0
	var path []merkle.Hash
	for i := range levels { // a log of this size need not exist for its proof to
		if i%3 == 1 {
			r.Index |= 1 << i
		}
		path = append(path, sm.Sum([]byte{byte(i)}))
	}
	root := climb(r.LeafHash(), r.Index, path)
	c := prooftest.Checkpoint{Checkpoint: checkpoint.Checkpoint{Origin: w.Origin(), Size: 1 << levels, Root: root}}
	c.Note = prooftest.SignNote(c.Checkpoint, c.Origin, w.LogKey)
	w.Tick(time.Second)
	b := &proof.Bundle{UserID: sm.UserID, Evidence: proof.Evidence{Statement: r.Bytes, Signature: r.Signature,
		Certificates: r.Certificates,
		Log:          proof.LogProof{Index: r.Index, Path: path, Checkpoint: c.Note},
		Anchors:      []json.RawMessage{w.Anchor(c, signers...)}}}
	d := sm.Sum([]byte("a document"))
	bundle := b.Encode()
	report := proof.Verify(w.Trust(), &d, bundle)
	if report.Verdict != proof.Genuine {
		t.Fatalf("%s", report.JSON())
	}
	return shown{report, w.Trust(), bundle}
}

// climb is the root over a leaf of a full tree.
func climb(node merkle.Hash, index uint64, path []merkle.Hash) merkle.Hash {
	for i, h := range path {
		if index>>i&1 == 1 {
			node = merkle.NodeHash(h, node)
		} else {
			node = merkle.NodeHash(node, h)
		}
	}
	return node
}

func cities(n int, name string) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf(name, i))
	}
	return out
}

// gallery is what a picture may have to show.
func gallery(t testing.TB) map[string]shown {
	all := holding(t)
	out := map[string]shown{"hostile": hostile(t)}
	for _, name := range []string{"genuine", "genuine-solo", "genuine-two-chains", "genuine-attested-too",
		"genuine-three-of-four", "genuine-hand-over", "altered", "pending", "revoked", "superseded",
		"unverifiable-no-file"} {
		out[name] = all[name]
	}
	out["thirty levels"] = drawn(t, 30, cities(7, "city-%d"))
	out["seven levels"] = drawn(t, 7, cities(3, "province-%d-data-bureau"), 0, 1, 2)
	out["64 cities"] = drawn(t, 52, cities(64, "city-%02d"), firstOf(43)...)
	out["long names"] = drawn(t, 0, cities(5, "node-%d."+strings.Repeat("long-", 20)), 0, 1, 2, 4)
	return out
}

func firstOf(n int) []int {
	var out []int
	for i := range n {
		out = append(out, i)
	}
	return out
}

// TestGallery draws them all, in both languages: no text leaves the picture, nothing is drawn
// outside of it, and it stays a picture for a phone.
func TestGallery(t *testing.T) {
	dir := os.Getenv("STELE_TEST_PICTURES")
	for _, tag := range []string{"zh-CN", "en"} {
		for name, s := range gallery(t) {
			p := s.page(t, texts(t, tag))
			wellFormed(t, name, p.Picture)
			var height int
			if _, err := fmt.Sscanf(regexp.MustCompile(`viewBox="([^"]*)"`).FindStringSubmatch(p.Picture)[1],
				"0 0 360 %d", &height); err != nil || height > 1200 {
				t.Errorf("%s: height %d, %v", name, height, err)
			}
			for _, m := range regexp.MustCompile(` (?:c?y)="(-?\d+)"`).FindAllStringSubmatch(p.Picture, -1) {
				if y, _ := strconv.Atoi(m[1]); y < 0 || y > height {
					t.Errorf("%s in %s: %s is outside of 0 to %d", name, tag, m[0], height)
				}
			}
			if dir != "" {
				fatalIfErr(t, os.WriteFile(filepath.Join(dir, "picture "+name+" "+tag+".svg"), []byte(p.Picture),
					0o644))
			}
		}
	}
}

// FuzzPicture puts any text wherever a report, a validator or a translation has one: the
// picture stays XML of the few elements that it is made of.
func FuzzPicture(f *testing.F) {
	s := holding(f)["revoked"]
	x, err := exhibit.New(s.trust, s.bundle)
	fatalIfErr(f, err)
	f.Add("江城市政务服务局", "egov-1", "city-0", "{name}", "passed")
	f.Add("</text></svg><script>alert(1)</script>", "\"><a href='javascript:1'>", "\x00\x01\ufffe\xff",
		"<b>{agency}</b>", "failed")
	f.Add(strings.Repeat("长", 300), strings.Repeat("a", 300), strings.Repeat("&", 300), "\x1b[2J", "not_checked")
	f.Fuzz(func(t *testing.T, agency, chain, name, text, status string) {
		r := *s.report
		r.Agency = &proof.AgencyReport{Name: agency}
		r.Anchors = []proof.AnchorReport{
			{Chain: chain, Time: agency, Cosigners: []string{name, name + "2", name + "3"}}}
		r.Steps = slices.Clone(r.Steps)
		for i := range r.Steps {
			if i%2 == 0 {
				r.Steps[i].Status = proof.Status(status)
			}
		}
		wellFormed(t, "fuzz",
			exhibit.Picture(&r, x, func(key string, pairs ...string) string {
				return text + fill.Places(text, pairs...) + key
			}))
	})
}

// TestEveryStatusIsDrawn: how a step ended shows in the shape of its link and mark and in the
// description, not in a colour alone.
func TestEveryStatusIsDrawn(t *testing.T) {
	s := holding(t)["genuine"]
	x, err := exhibit.New(s.trust, s.bundle)
	fatalIfErr(t, err)
	words := texts(t, "en")
	for i, step := range s.report.Steps {
		if step.Name == proof.StepBundle || step.Name == proof.StepFields || step.Name == proof.StepStanding {
			continue
		}
		drawings := map[string]bool{}
		for _, status := range []proof.Status{proof.Passed, proof.Failed, proof.NotChecked} {
			r := *s.report
			r.Steps = slices.Clone(r.Steps)
			r.Steps[i].Status = status
			picture := exhibit.Picture(&r, x, words)
			shapes := regexp.MustCompile(`class="[^"]*"|<title>[^<]*</title>|<desc>[^<]*</desc>`).ReplaceAllString(
				picture, "")
			description := regexp.MustCompile(`<desc>[^<]*</desc>`).FindString(picture)
			if drawings[shapes] || drawings[description] {
				t.Errorf("%s: %s looks or reads like another status", step.Name, status)
			}
			drawings[shapes], drawings[description] = true, true
		}
	}
}
