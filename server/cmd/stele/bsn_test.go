package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"stele/notary/proof"
	"stele/storage/storagetest/freeport"
)

// peerProcess is `stele-lab bsn-peer` as a process of its own.
type peerProcess struct {
	t      *testing.T
	site   site
	dir    string
	addr   string
	keyPEM string
	cmd    *exec.Cmd
}

// The application that the peer has unless it is told, see stele-lab.
const (
	peerApp   = "app0001202611220000000000001"
	peerChain = "省级主干网（演示）"
)

// newPeer makes an application's key in the site's key folder and reserves an address.
func newPeer(t *testing.T, s site) *peerProcess {
	t.Helper()
	p := &peerProcess{t: t, site: s, dir: filepath.Join(s.data, "peer"), keyPEM: filepath.Join(s.data, "app.pem")}
	out, errs, code := s.output(t, "bsn", "key", "--app", peerApp)
	if code != 0 || !strings.HasPrefix(out, "-----BEGIN PUBLIC KEY-----") {
		t.Fatalf("bsn key: %d %s%s", code, out, errs)
	}
	fatalIfErr(t, os.WriteFile(p.keyPEM, []byte(out), 0o600))
	p.addr = freeport.Address(t)
	t.Cleanup(p.kill)
	return p
}

// start runs the peer and returns the policy that it prints.
func (p *peerProcess) start(extra ...string) []byte {
	p.t.Helper()
	p.cmd = exec.Command(must(lab()),
		append([]string{"bsn-peer", "--dir", p.dir, "--listen", p.addr, "--app-key", p.keyPEM, "--block-time", "50ms"},
			extra...)...)
	out, err := p.cmd.StdoutPipe()
	fatalIfErr(p.t, err)
	fatalIfErr(p.t, p.cmd.Start())
	var policy bytes.Buffer
	for part := make([]byte, 4096); !strings.Contains(policy.String(), "insecure-tls"); {
		n, err := out.Read(part)
		policy.Write(part[:n])
		if err != nil {
			p.t.Fatalf("the peer ended: %v %s", err, policy.Bytes())
		}
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	return policy.Bytes()
}

func (p *peerProcess) kill() {
	if p.cmd != nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		p.cmd = nil
	}
}

// entries counts how often each entry is on the peer's chain with effect.
func (p *peerProcess) entries() map[string]int {
	p.t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, peerApp+".blocks"))
	fatalIfErr(p.t, err)
	out := map[string]int{}
	for d := json.NewDecoder(bytes.NewReader(text)); d.More(); {
		var b struct {
			Transactions []struct {
				Key    string
				Status int
			}
		}
		if d.Decode(&b) != nil {
			break // the peer was killed while it wrote
		}
		for _, t := range b.Transactions {
			if t.Status == 0 {
				out[t.Key]++
			}
		}
	}
	return out
}

// both waits until a record's bundle has an anchor of each chain that holds.
func (s *server) both(rec record) *proof.Report {
	s.t.Helper()
	// the API has no wait for later anchors
	for deadline := time.Now().Add(40 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		r := s.verdict(rec)
		if r.Verdict != proof.Genuine && r.Verdict != proof.Pending {
			s.t.Fatalf("%s: %s: %s", rec.Number, r.Verdict, r.Summary)
		}
		if len(r.Anchors) == 2 {
			return r
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("record %s has %d anchors:\n%s", rec.Number, len(r.Anchors), s.log)
		}
	}
}

// The demo with a gateway beside it: a bundle with two anchors of different strength, the same
// in this process and in the offline verifier, and fsck checks both.
func TestDemoWithGateway(t *testing.T) {
	t.Parallel()
	s := site{data: folder(t), inLab: true}.start(t, "--bsn")
	rec := s.notarize(digestRequest(newDigest(), "", "anchored"))
	r := s.both(rec)
	// The report has the anchors in the order in which they came, and either chain may have been faster.
	slices.SortFunc(r.Anchors, func(a, b proof.AnchorReport) int {
		return strings.Compare(string(b.Strength), string(a.Strength))
	})
	if r.Anchors[0].Strength != proof.SelfProving || r.Anchors[1].Strength != proof.Attested ||
		r.AnchoredAt != r.Anchors[0].Time || r.Anchors[1].Gateway != peerChain {
		t.Errorf("%+v", r.Anchors)
	}
	bundle := filepath.Join(s.data, "bundle.json")
	fatalIfErr(t, os.WriteFile(bundle, s.get("/api/v1/records/"+rec.ID+"/bundle").body, 0o600))
	path, err := binary()
	fatalIfErr(t, err)
	out, err := exec.Command(path, "verify", "--trust", s.info.Trust, "--sm3", rec.Document.SM3,
		bundle).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "attested by the gateway "+peerChain) {
		t.Errorf("offline: %v\n%s", err, out)
	}
	if res := s.call(request{method: "GET", path: "/api/v1/trust.json"}); !bytes.Contains(res.body,
		[]byte(`"gateways":[{"kind":"bsn/fabric/v1"`)) {
		t.Errorf("published trust roots: %s", res.body)
	}
	if pdf := s.get("/api/v1/records/" + rec.ID + "/certificate"); pdf.status != http.StatusOK {
		t.Errorf("certificate: %d %s", pdf.status, pdf.body)
	}
	s.stop()
	if res := s.fsck(t); res.Anchors < 2 {
		t.Errorf("%d anchors", res.Anchors)
	}
}

// A gateway that is away or fails holds back nothing; when it is back, bundles gain its anchor,
// also those of records from before, and the time of the first anchor stays. Server and peer
// are killed on the way, and no entry is on the chain twice.
func TestGatewayOutages(t *testing.T) {
	t.Parallel()
	here := site{data: folder(t)}
	here.start(t).stop() // makes the instance
	peer := newPeer(t, here)
	policy := filepath.Join(here.data, "anchors.yaml")
	fatalIfErr(t, os.WriteFile(policy, peer.start(), 0o600))
	peer.kill()

	s := here.start(t)
	early := s.notarize(digestRequest(newDigest(), "", "anchored"))
	before := s.verdict(early)
	if before.Verdict != proof.Genuine || len(before.Anchors) != 1 {
		t.Fatalf("with the gateway away: %s, %d anchors", before.Verdict, len(before.Anchors))
	}
	s.notarize(digestRequest(newDigest(), "", "anchored"))
	peer.start("--fault", "lost", "--fault-every", "2")
	s.notarize(digestRequest(newDigest(), "", "anchored"))
	for len(peer.entries()) == 0 { // its evidence cannot be there yet: half of the answers are lost
		time.Sleep(10 * time.Millisecond)
	}
	s.kill()
	peer.kill()
	peer.start()
	s = here.start(t)
	late := s.notarize(digestRequest(newDigest(), "", "anchored"))
	s.both(late)
	after := s.both(early)
	if after.AnchoredAt != before.AnchoredAt {
		t.Errorf("anchored at %s, then at %s", before.AnchoredAt, after.AnchoredAt)
	}
	s.stop()
	peer.kill()
	required(t, here, policy, peer)
	here.fsck(t)
	for key, n := range peer.entries() {
		if n != 1 {
			t.Errorf("%s is on the chain %d times", key, n)
		}
	}
}

// required makes the gateway's chain a required one while it is away: nothing counts as
// anchored until it is back.
func required(t *testing.T, here site, policy string, peer *peerProcess) {
	t.Helper()
	text, err := os.ReadFile(policy)
	fatalIfErr(t, err)
	fatalIfErr(t, os.WriteFile(policy, bytes.Replace(text, []byte("required: false"), []byte("required: true"), 1),
		0o600))
	s := here.start(t)
	defer s.stop()
	rec := s.notarize(digestRequest(newDigest(), "", "logged"))
	for s.verdict(rec).Verdict != proof.Genuine { // the bundle carries the anchor that exists
		time.Sleep(20 * time.Millisecond)
	}
	var got record
	s.get("/api/v1/records/"+rec.ID).json(t, &got)
	if got.State != "logged" {
		t.Errorf("state %s although a required chain is away", got.State)
	}
	peer.start()
	for deadline := time.Now().Add(30 * time.Second); got.State != "anchored"; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("state %s:\n%s", got.State, s.log)
		}
		s.get("/api/v1/records/"+rec.ID).json(t, &got)
	}
}

// The same server anchors on an application of FISCO BCOS when the policy says so; stopped
// and started again, it finds its own rows, and no entry is on the chain twice.
func TestContractGateway(t *testing.T) {
	t.Parallel()
	here := site{data: folder(t)}
	here.start(t).stop()
	peer := newPeer(t, here)
	fatalIfErr(t, os.WriteFile(filepath.Join(here.data, "anchors.yaml"), peer.start("--framework", "fisco"), 0o600))
	s := here.start(t)
	s.notarize(digestRequest(newDigest(), "", "anchored"))
	for len(peer.entries()) == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	s.stop()
	s = here.start(t)
	rec := s.notarize(digestRequest(newDigest(), "", "anchored"))
	r := s.both(rec)
	if !slices.ContainsFunc(r.Anchors, func(a proof.AnchorReport) bool {
		return a.Kind == proof.KindBSNFISCO && a.Strength == proof.Attested && a.Gateway == peerChain
	}) {
		t.Errorf("%+v", r.Anchors)
	}
	s.stop()
	if res := here.fsck(t); res.Anchors < 3 {
		t.Errorf("%d anchors", res.Anchors)
	}
	for key, n := range peer.entries() {
		if n != 1 {
			t.Errorf("%s is on the chain %d times", key, n)
		}
	}
}
