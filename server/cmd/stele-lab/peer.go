package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"stele/crypto/keystore"
	"stele/crypto/sm"
	anchorbsn "stele/notary/log/anchor/bsn"
	bsn "stele/notary/proof/bsnproof/gateway"
	"stele/server/cmd/internal/command"
	"stele/server/cmd/stele-lab/bsnpeer"
	"stele/server/instance"
)

// Where the demo's application is found. The codes have the form of BSN's.
const (
	peerUser  = "USER0001202611220000000000001"
	peerApp   = "app0001202611220000000000001"
	peerChain = "省级主干网（演示）"
	blockTime = time.Second
)

type bsnPeerCmd struct {
	Dir        string        `default:"bsn-peer" help:"Folder of the peer's key and blocks."`
	Listen     string        `default:"127.0.0.1:17502" help:"Address to listen on."`
	AppKey     string        `required:"" help:"PEM file with the application's public key, as 'stele bsn key' prints it." placeholder:"FILE"`
	App        string        `default:"${peerApp}" help:"App code."`
	User       string        `default:"${peerUser}" help:"User code."`
	Framework  string        `default:"fabric" enum:"fabric,fisco" help:"Framework of the application: fabric or fisco."`
	BlockTime  time.Duration `default:"1s" help:"From the first transaction of a block to its end."`
	Fault      string        `help:"Fail so: ${faults}." placeholder:"FAULT"`
	FaultEvery int           `default:"1" help:"Each nth request meets the fault."`
	Latency    time.Duration `default:"2s" help:"Of the fault slow."`
}

// Run serves a gateway with an application until it is told to stop.
func (c *bsnPeerCmd) Run(ctx context.Context, s *streams) error {
	text, err := os.ReadFile(c.AppKey)
	if err != nil {
		return err
	}
	key, err := bsn.ParsePublicKeyPEM(text)
	if err != nil {
		return err
	}
	p, err := openPeer(c.Dir, bsnpeer.Config{BlockTime: c.BlockTime, Latency: c.Latency,
		Apps: []bsnpeer.App{peerOf(c.User, c.App, anchorbsn.Framework(c.Framework), key)}})
	if err != nil {
		return err
	}
	if c.Fault != "" {
		f, err := bsnpeer.ParseFault(c.Fault)
		if err != nil {
			return err
		}
		p.Inject(f, c.FaultEvery)
	}
	ln, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return err
	}
	policy, err := p.policy(ln.Addr().String())
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(s.out, "# The peer listens. This is an anchor policy for it:\n%s", policy); err != nil {
		return err
	}
	return p.serve(ctx, ln)
}

// faultNames lists the faults for the help.
func faultNames() string {
	names := make([]string, len(bsnpeer.Faults))
	for i, f := range bsnpeer.Faults {
		names[i] = string(f)
	}
	return strings.Join(names, ", ")
}

func peerOf(user, app string, framework anchorbsn.Framework, key *bsn.PublicKey) bsnpeer.App {
	if framework == anchorbsn.FISCO {
		d := sm.Sum([]byte(app))
		return bsnpeer.App{Name: peerChain, UserCode: user, AppCode: app, ChainCode: "BsnBaseGlobalContract",
			Contract: "0x" + hex.EncodeToString(d[:20]), Key: key}
	}
	return bsnpeer.App{Name: peerChain, UserCode: user, AppCode: app, ChainCode: "cc_" + app + "_00", Key: key}
}

// peer is a gateway of our own.
type peer struct {
	*bsnpeer.Peer
	app bsnpeer.App
	key *bsn.PublicKey // that signs answers
}

// openPeer opens a peer with one application, and makes its key when there is none.
func openPeer(dir string, c bsnpeer.Config) (*peer, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	key, err := peerKey(dir, c.Apps[0].Key.Algorithm())
	if err != nil {
		return nil, err
	}
	c.Dir, c.Key, c.Now = dir, key, time.Now
	p, err := bsnpeer.New(c)
	return &peer{p, c.Apps[0], key.Public()}, err
}

func peerKey(dir string, algorithm bsn.Algorithm) (*bsn.PrivateKey, error) {
	secret, path := filepath.Join(dir, "passphrase"), filepath.Join(dir, "gateway-"+string(algorithm)+".key")
	pass, err := keystore.CreatePassphrase(secret)
	if errors.Is(err, fs.ErrExist) {
		pass, err = keystore.Passphrase(secret, "")
	}
	if err != nil {
		return nil, err
	}
	der, err := keystore.LoadEC(path, pass)
	if err == nil {
		return bsn.ParsePrivateKey(der)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	key, err := bsn.GenerateKey(algorithm)
	if err != nil {
		return nil, err
	}
	if der, err = key.PKCS8(); err != nil {
		return nil, err
	}
	return key, keystore.CreateEC(path, der, pass)
}

// policy is an anchor policy for the peer at an address: the instance's own chain at once and
// required, this one at once and not required.
func (p *peer) policy(addr string) ([]byte, error) {
	b := instance.BSNPolicy{Name: p.app.Name, Gateways: []string{"http://" + command.Reachable(addr)},
		User: p.app.UserCode, App: p.app.AppCode, ChainCode: p.app.ChainCode, GatewayKey: string(p.key.PEM())}
	if p.app.Contract != "" {
		b.Framework, b.Contract = string(anchorbsn.FISCO), p.app.Contract
	}
	return instance.AnchorPolicy{Egov: instance.ChainPolicy{Required: true}, BSN: []instance.BSNPolicy{b}}.YAML()
}

// serve serves until ctx ends.
func (p *peer) serve(ctx context.Context, ln net.Listener) error {
	srv := &http.Server{Handler: p, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second,
		IdleTimeout: time.Minute}
	defer context.AfterFunc(ctx, func() { srv.Close() })()
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// demoPeer starts a peer beside the demo and returns the path of the policy that names it.
func demoPeer(ctx context.Context, cfg instance.Config) (string, error) {
	key, err := instance.BSNKey(cfg, peerApp)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err = instance.NewBSNKey(cfg, peerApp, bsn.SM2); err == nil {
			key, err = instance.BSNKey(cfg, peerApp)
		}
	}
	if err != nil {
		return "", err
	}
	p, err := openPeer(filepath.Join(cfg.Data, "bsn-peer"),
		bsnpeer.Config{BlockTime: blockTime, Apps: []bsnpeer.App{peerOf(peerUser, peerApp, anchorbsn.Fabric, key)}})
	if err != nil {
		return "", err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() { _ = p.serve(ctx, ln) }() // when it fails, the demo shows what a gateway that is away looks like
	policy, err := p.policy(ln.Addr().String())
	if err != nil {
		return "", err
	}
	path := filepath.Join(cfg.Data, "demo-anchors.yaml")
	return path, os.WriteFile(path, policy, 0o644)
}
