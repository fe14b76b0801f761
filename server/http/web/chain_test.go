package web_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"stele/notary/proof/anchorproof"
	"stele/notary/proof/chainview"
	"stele/notary/proof/checkpoint"
	"stele/notary/proof/prooftest"
)

// explorer is a chain of four members that has anchored twice, once without one of them, and
// has a third anchor waiting.
func explorer(t testing.TB) func(context.Context) (chainview.View, error) {
	t.Helper()
	w := prooftest.New(prooftest.Options{Validators: 4})
	src := chainview.Source{At: time.Date(2026, 11, 22, 6, 28, 41, 0, time.UTC), Height: 9, Headers: 3, Pending: 1,
		Nodes: []chainview.Node{
			{Name: w.Chain.Genesis.Validators[0].Name, Reachable: true, Height: 9},
			{Name: w.Chain.Genesis.Validators[1].Name, Reachable: true, Height: 3, Behind: 6}, {}}}
	for i, signers := range [][]int{{0, 1, 2, 3}, {0, 1, 2}, {0, 1, 2}} {
		c := checkpoint.Checkpoint{Origin: w.Origin(), Size: uint64(1000 * (i + 1)), Root: [32]byte{byte(i + 1)}}
		e := w.Chain.Evidence(src.At.Add(time.Duration(i)*time.Minute), []checkpoint.Checkpoint{c}, 0, signers...)
		src.Entries = append(src.Entries, chainview.Entry{Header: e.Header, Checkpoints: []checkpoint.Checkpoint{c},
			Cosignatures: e.Cosignatures})
	}
	src.Entries[2].Cosignatures = nil
	v, err := chainview.Build(w.Chain.Genesis, src)
	fatalIfErr(t, err)
	// Whatever does not verify is not shown.
	forged := src
	forged.Entries = append([]chainview.Entry(nil), src.Entries...)
	forged.Entries[0].Cosignatures = src.Entries[1].Cosignatures
	if _, err := chainview.Build(w.Chain.Genesis, forged); !errors.Is(err, anchorproof.ErrQuorum) {
		t.Errorf("cosignatures of another header: %v", err)
	}
	forged.Entries[0] = src.Entries[0]
	forged.Entries[0].Checkpoints = src.Entries[1].Checkpoints
	if _, err := chainview.Build(w.Chain.Genesis, forged); err == nil {
		t.Error("checkpoints of another header were shown")
	}
	return func(context.Context) (chainview.View, error) { return v, nil }
}

// TestChainPage: the explorer shows members, marks and nodes, to everybody.
func TestChainPage(t *testing.T) {
	var away atomic.Bool
	show := explorer(t)
	to := newTown(t, roomy())
	to.explore = func(ctx context.Context) (chainview.View, error) {
		if away.Load() {
			return chainview.View{}, chainview.ErrUnavailable
		}
		return show(ctx)
	}
	parent := browser(t)
	for _, l := range []look{desktop, desktop.In("en"), phone, phone.In("en").InDark()} {
		t.Run(l.String(), func(t *testing.T) {
			b := open(t, parent, l)
			b.Run(chromedp.Navigate(to.URL + "/chain"))
			var members, marks, signed, anchors int
			b.Eval(`document.querySelectorAll('.members > li').length`, &members)
			b.Eval(`document.querySelectorAll('.cosigner').length`, &marks)
			b.Eval(`document.querySelectorAll('.cosigner.signed').length`, &signed)
			b.Eval(`document.querySelectorAll('.anchors > li').length`, &anchors)
			if members != 4 || marks != 8 || signed != 7 || anchors != 3 {
				t.Errorf("%d members, %d marks, %d of them full, %d anchors", members, marks, signed, anchors)
			}
			b.Accessible("chain")
			b.Fits("chain")
			b.Shoot("chain")
		})
	}
	res, body := do(t, request(t, http.MethodGet, to.URL+"/api/v1/chain", nil))
	if res.StatusCode != http.StatusOK || !strings.Contains(body, `"pending":1`) ||
		!strings.Contains(body, `"silent":["`) {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	away.Store(true)
	for _, path := range []string{"/chain", "/api/v1/chain"} {
		t.Run(path, func(t *testing.T) {
			if res, body := do(t, request(t, http.MethodGet, to.URL+path,
				nil)); res.StatusCode != http.StatusServiceUnavailable || strings.Contains(body, "<nil>") {
				t.Errorf("%s without a chain: %d %s", path, res.StatusCode, body)
			}
		})
	}
}
