package web_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"stele/crypto/sm"
	"stele/notary/issue/archive"
	"stele/notary/issue/certificate"
	"stele/notary/proof"
	"stele/notary/proof/bsnproof/gateway"
	"stele/notary/proof/checkpoint"
	"stele/notary/proof/prooftest"
)

// attestedTown is a town whose anchors a gateway attests, beside the chain's or alone.
func attestedTown(t testing.TB, alone bool) *town {
	t.Helper()
	g := prooftest.NewGateway("town", gateway.SM2)
	return newTown(t, roomy(), func(to *town) {
		trust, err := proof.ParseTrust(to.trust)
		fatalIfErr(t, err)
		trust.Pin(g.Pinned(proof.KindBSNFabric))
		to.trust = trust.Encode()
		to.store.evidence = maps.Clone(to.store.evidence)
		for i, e := range to.store.evidence {
			if e.Anchored == nil {
				continue
			}
			c, err := checkpoint.ParseUnsafe(e.Anchored.Note)
			fatalIfErr(t, err)
			anchors := []json.RawMessage{
				prooftest.EncodeAttested(g.Fabric(c, to.store.records[0].IssuedAt.Add(time.Hour)))}
			if !alone {
				anchors = append(slices.Clone(e.Anchored.Anchors), anchors...)
			}
			e.Anchored = &archive.AnchoredCheckpoint{Size: e.Anchored.Size, Note: e.Anchored.Note, Anchors: anchors}
			to.store.evidence[i] = e
		}
	})
}

// bundleOf is what the town hands out for a document.
func bundleOf(t testing.TB, to *town, doc []byte) []byte {
	t.Helper()
	res, body := do(t, request(t, http.MethodGet, to.URL+"/r/"+to.numbers[string(doc)]+"/bundle?code="+code, nil))
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	return []byte(body)
}

// TestAttestedAnchorInBrowser: who drops a file, or opens a record, reads whose word an anchor is, that no
// nodes signed it, and which anchor it is that does not hold. The browser and the server say the same.
func TestAttestedAnchorInBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("drives a browser")
	}
	both, alone := attestedTown(t, false), attestedTown(t, true)
	good := bundleOf(t, both, docGenuine)
	documents := map[string][]byte{"genuine.pdf": docGenuine, "both.json": good,
		"alone.json":   bundleOf(t, alone, docGenuine),
		"gateway.json": bytes.Replace(good, []byte(`"history":{"msg":"success"`), []byte(`"history":{"msg":"done"`), 1),
		"chain.json":   bytes.Replace(good, []byte(`\nheight `), []byte(`\nheight 9`), 1)}
	path := files(t, documents)
	parent := browser(t)
	said := map[string]map[string][]string{ // what must be read, and behind ! what must not
		"zh-CN": {"both.json": {"上级链锚定（网关声明）", "省主干网", "他证", "!最迟写入日志的时间（网关声明）"},
			"alone.json":   {"仅有网关“省主干网”的声明", "最迟写入日志的时间（网关声明）", "!三分之二"},
			"gateway.json": {"网关声明不成立"}, "chain.json": {"节点签名、区块或节点名单不符"}},
		"en": {"both.json": {"Anchor on a parent chain (attested)", "省主干网", "stated only by the gateway",
			"!stated by the gateway)"}, "alone.json": {"Only the gateway “省主干网” states this time",
			"In the log not later than (stated by the gateway)", "!two thirds"},
			"gateway.json": {"The gateway's statement is invalid"},
			"chain.json":   {"the nodes' signatures, the block or the list of nodes do not match"}},
	}
	for _, l := range []look{desktop, phone.In("en").InDark()} {
		t.Run(l.String(), func(t *testing.T) {
			b := open(t, parent, l)
			b.GoTo(both.URL + "/")
			for name, words := range said[l.Lang] {
				want, bad := string(proof.Genuine), name == "gateway.json" || name == "chain.json"
				if bad {
					want = string(proof.Invalid)
				}
				b.Choose(path("genuine.pdf"), path(name))
				if got := b.Verdict(); got != want {
					t.Errorf("%s: %s, want %s", name, got, want)
				}
				text := b.words(`document.querySelector('#result').cloneNode(true)`)
				for _, w := range words {
					if not, absent := strings.CutPrefix(w, "!"); strings.Contains(text, not) == absent {
						t.Errorf("%s: %s\n%s", name, w, text)
					}
				}
				if other := b.uploaded(both, documents, "genuine.pdf "+name); other != text {
					t.Errorf("%s: in the browser:\n%s\nby upload:\n%s", name, text, other)
				}
				b.Fits(name)
				b.Shoot("attested " + name)
				b.Run(chromedp.Click("#result .actions button", chromedp.ByQuery))
				b.Wait(`document.querySelector('#result').hidden`)
			}
			for name, to := range map[string]*town{"record both": both, "record alone": alone} {
				t.Run(name, func(t *testing.T) {
					b.GoTo(to.URL + "/r/" + to.numbers[string(docGenuine)] + "?code=" + code)
					if text := b.Text("main"); !strings.Contains(text, "省主干网") {
						t.Errorf("%s: the gateway is not named:\n%s", name, text)
					}
					if l.Width == phone.Width {
						b.Accessible(name)
					}
					b.Fits(name)
					b.Shoot(name)
				})
			}
		})
	}
}

// TestAttestedCertificate: the certificate says on whose word the record is anchored.
func TestAttestedCertificate(t *testing.T) {
	for name, alone := range map[string]bool{"both": false, "alone": true} {
		t.Run(name, func(t *testing.T) {
			to := attestedTown(t, alone)
			trust, err := proof.ParseTrust(to.trust)
			fatalIfErr(t, err)
			bundle := bundleOf(t, to, docGenuine)
			digest := sm.Sum(docGenuine)
			pdf, err := certificate.Render(certificate.Input{Record: to.store.records[0], Bundle: bundle,
				Report: proof.Verify(trust, &digest, bundle), PublicURL: publicURL})
			fatalIfErr(t, err)
			text := pdfText(t, string(pdf))
			keepPDF(t, fmt.Sprint("attested-alone-", alone), string(pdf))
			for words, want := range map[string]bool{"只由网关声明": true, "省主干网": true, "最迟（网关声明）": alone,
				"锚定在电子政务链上": !alone, "锚定在上级链上": alone, "各联署节点的签名": !alone} {
				if strings.Contains(text, words) != want {
					t.Errorf("alone %v: %q: %v\n%s", alone, words, !want, text)
				}
			}
		})
	}
}
