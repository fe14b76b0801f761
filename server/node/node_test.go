package node_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"stele/crypto/keystore"
	"stele/crypto/merkle"
	"stele/crypto/signednote"
	"stele/crypto/sm"
	"stele/notary/chain/ceremony"
	"stele/notary/log/anchor"
	"stele/notary/proof/chainview"
	"stele/notary/proof/checkpoint"
	"stele/server/node"
	"stele/server/remote/chainnet"
	"stele/storage/storagetest/freeport"
)

func fatalIfErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The whole of a lone member: home, start, interface with its token, metrics, restart.
func TestNode(t *testing.T) {
	pass, err := keystore.NewSecret([]byte("a passphrase of this test"))
	fatalIfErr(t, err)
	logKey, err := sm.GenerateKey()
	fatalIfErr(t, err)
	verifier, err := signednote.NewVerifier("log.example/a", logKey.Public())
	fatalIfErr(t, err)
	home := node.Home(t.TempDir())
	m, err := home.Init("city", 1, freeport.Address(t), pass)
	fatalIfErr(t, err)
	if _, err := home.Init("city", 1, "127.0.0.1:1", pass); err == nil {
		t.Error("a home was made twice")
	}
	genesis, peers, err := ceremony.Genesis("egov-test", []ceremony.SignedMember{m}, []*signednote.Verifier{verifier})
	fatalIfErr(t, err)
	options := node.Options{Home: home, Passphrase: pass, APIListen: freeport.Address(t),
		APIToken: strings.Repeat("t", 22), MetricsListen: freeport.Address(t), P2PListen: "127.0.0.1:0",
		Version: "test", Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	if _, err := node.Start(t.Context(), options); err == nil || !strings.Contains(err.Error(), "has not joined") {
		t.Errorf("started without a genesis: %v", err)
	}
	fatalIfErr(t, home.Join(genesis, peers, pass))
	if err := home.Join(genesis, peers, pass); err == nil {
		t.Error("joined twice")
	}
	short := options
	short.APIToken = "guessable"
	if _, err := node.Start(t.Context(), short); err == nil {
		t.Error("a short token was taken")
	}
	n, err := node.Start(t.Context(), options)
	fatalIfErr(t, err)
	for range 2 {
		token(t, options)
		anchorOne(t, options, logKey)
		metrics(t, options.MetricsListen)
		fatalIfErr(t, n.Close())
		n, err = node.Start(t.Context(), options) // the socket of the last run is in the way
		fatalIfErr(t, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	fatalIfErr(t, n.Wait(ctx))
	fatalIfErr(t, n.Close())
}

// token: nobody gets in without it, except by the socket; nothing is longer than it may be.
func token(t *testing.T, o node.Options) {
	t.Helper()
	for _, given := range []string{"", "wrong", o.APIToken + "x"} {
		c, err := chainnet.NewNode("http://"+o.APIListen, given)
		fatalIfErr(t, err)
		var f *chainnet.Failure
		if _, err := c.Status(t.Context()); !errors.As(err, &f) || f.Code != chainnet.CodeUnauthorized {
			t.Errorf("token %q: %v", given, err)
		}
	}
	call := func(method, path string, body []byte) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+o.APIListen+path, bytes.NewReader(body))
		fatalIfErr(t, err)
		req.Header.Set("Authorization", "Bearer "+o.APIToken)
		res, err := http.DefaultClient.Do(req)
		fatalIfErr(t, err)
		defer res.Body.Close()
		return res.StatusCode
	}
	for _, c := range []struct {
		method, path string
		body         []byte
		want         int
	}{
		{"POST", "/v1/checkpoints", bytes.Repeat([]byte("x"), chainnet.MaxRequest+1), http.StatusRequestEntityTooLarge},
		{"POST", "/v1/checkpoints", []byte(`{"checkpoint":"","other":1}`), http.StatusUnprocessableEntity},
		{"POST", "/v1/epochs", []byte(`{}`), http.StatusUnprocessableEntity},
		{"GET", "/v1/evidence?origin=x&size=-1", nil, http.StatusUnprocessableEntity},
		{"GET", "/v1/status?after=x", nil, http.StatusUnprocessableEntity},
		{"GET", "/v1/entries?from=x", nil, http.StatusUnprocessableEntity},
		{"GET", "/v1/entries?from=18446744073709551615", nil, http.StatusOK},
		{"GET", "/v1/history?from=x&to=1", nil, http.StatusUnprocessableEntity},
		{"GET", "/v1/history?from=1&to=0", nil, http.StatusUnprocessableEntity},
		{"GET", "/v1/history?from=0&to=18446744073709551615", nil, http.StatusNotFound},
		{"DELETE", "/v1/status", nil, http.StatusNotFound},
		{"GET", "/status", nil, http.StatusNotFound},
	} {
		if got := call(c.method, c.path, c.body); got != c.want {
			t.Errorf("%s %s: %d, want %d", c.method, c.path, got, c.want)
		}
	}
}

// anchorOne anchors the next size and waits for it as a server does.
func anchorOne(t *testing.T, o node.Options, key *sm.PrivateKey) {
	t.Helper()
	genesis, _, err := o.Home.Joined()
	fatalIfErr(t, err)
	target, err := chainnet.New(genesis, []string{"http://" + o.APIListen}, o.APIToken, time.Now, o.Log)
	fatalIfErr(t, err)
	old, _, err := target.Head(t.Context(), "log.example/a")
	fatalIfErr(t, err)
	leaves := make([]merkle.Hash, old+1)
	c := checkpoint.Checkpoint{Origin: "log.example/a", Size: old + 1, Root: merkle.ListRoot(leaves)}
	sig, err := key.Sign([]byte(c.Text()))
	fatalIfErr(t, err)
	proof, err := merkle.ConsistencyProof(old, old+1, merkle.ListReader(leaves))
	fatalIfErr(t, err)
	s := anchor.Submission{Checkpoint: c, Signature: sig, OldSize: old, Proof: proof}
	fatalIfErr(t, target.Submit(t.Context(), s))
	fatalIfErr(t, target.Submit(t.Context(), s)) // again is a success
	socket, err := chainnet.NewNode("unix:"+o.Home.Socket(), "")
	fatalIfErr(t, err)
	for st, err := socket.Status(t.Context()); ; st, err = socket.Wait(t.Context(), st.Height) {
		fatalIfErr(t, err)
		if _, err := target.Evidence(t.Context(), c); err == nil {
			break
		} else if !errors.Is(err, anchor.ErrPending) {
			t.Fatal(err)
		}
	}
	s.Checkpoint.Root = merkle.Hash{1}
	s.Signature, err = key.Sign([]byte(s.Checkpoint.Text()))
	fatalIfErr(t, err)
	if err := target.Submit(t.Context(), s); !errors.Is(err, anchor.ErrUnavailable) { // one node alone is not believed
		t.Error(err)
	}
	st, err := socket.Status(t.Context())
	if err != nil || st.Refused["two_roots"] == 0 || !st.Validating || st.Last == nil ||
		fmt.Sprint(st.Last.Cosigned) != "[city]" || st.DiskBytes == 0 {
		t.Errorf("%+v, %v", st, err)
	}
	v, err := target.View(t.Context())
	if err != nil || len(v.Anchors) == 0 || !v.Anchors[0].Certified() {
		t.Errorf("%+v, %v", v, err)
	}
	h, err := target.History(t.Context(), 0, v.Headers-1)
	if err != nil || h.Older.Index != 0 || h.Newer != v.Anchors[0].Header {
		t.Errorf("%+v, %v", h, err)
	}
	if _, err := target.History(t.Context(), 0, v.Headers); !errors.Is(err, chainview.ErrPending) {
		t.Errorf("a header to come: %v", err)
	}
	if terms, err := target.Terms(t.Context()); err != nil || len(terms) != 0 {
		t.Errorf("%+v, %v", terms, err)
	}
}

func metrics(t *testing.T, address string) {
	t.Helper()
	res, err := http.Get("http://" + address + "/metrics")
	fatalIfErr(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	fatalIfErr(t, err)
	for _, want := range []string{`stele_node_refused_total{reason="two_roots"}`, "stele_node_height ",
		"stele_node_disk_bytes "} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s", want)
		}
	}
}
