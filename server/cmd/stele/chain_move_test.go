package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/anchorproof"
	"stele/server/cmd/internal/command"
	"stele/server/instance"
	"stele/storage/storagetest/freeport"
)

// moving is a log on its way from chain to chain: what was notarized where, and trust roots of all times.
type moving struct {
	*testing.T
	records map[string]record
	bundles map[string][]byte
	trusts  map[string]*proof.Trust
}

func newMoving(t *testing.T) *moving {
	return &moving{t, map[string]record{}, map[string][]byte{}, map[string]*proof.Trust{}}
}

// notarize anchors a record, and notes it with the trust roots of now.
func (m *moving) notarize(s *server, name string) {
	m.Helper()
	rec := s.notarize(digestRequest(newDigest(), "", "anchored"))
	s.becomesGenuine(rec)
	m.records[name], m.bundles[name], m.trusts["trust roots of "+name] = rec, s.bundle(rec), s.trust
}

// hold demands that all bundles, as they were made and as they are now, hold under all trust roots,
// the oldest included; and that those from after the move say so.
func (m *moving) hold(s *server, from, to string) {
	m.Helper()
	for name, rec := range m.records {
		m.bundles[name+", fetched again"], m.records[name+", fetched again"] = s.bundle(rec), rec
	}
	s.genuineFor(m.trusts, m.bundles, m.records)
	for name := range m.bundles {
		if strings.Contains(name, "again") {
			delete(m.bundles, name)
			delete(m.records, name)
		}
	}
	moved := 0
	for name, b := range m.bundles {
		d, err := sm.ParseDigest(m.records[name].Document.SM3)
		fatalIfErr(m.T, err)
		for _, a := range proof.Verify(s.trust, &d, b).Anchors {
			for _, x := range a.Moved {
				if x.From == from && x.To == to {
					moved++
				}
			}
		}
	}
	if moved == 0 {
		m.Errorf("no report says that the log moved from %s to %s", from, to)
	}
}

// nodesOf are the settings of a server that anchors on a network.
func (n *network) settings() []string {
	var urls []string
	for _, city := range n.nodes {
		urls = append(urls, "http://"+city.API)
	}
	return []string{"--chain", "nodes", "--chain-nodes", strings.Join(urls, ","), "--chain-token-file",
		filepath.Join(n.data, "nodes", "token")}
}

// link makes a link to the network.
func (s site) linkTo(t *testing.T, n *network, extra ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "link.json")
	s.succeeds(t, append([]string{"chain", "link", "--to", filepath.Join(n.data, "nodes", "genesis.txt"),
		"--fingerprint",
		n.trust.Chains[0].Genesis.Hash().String(), "-o", file}, extra...)...)
	return file
}

// set is the site with other settings after its own.
func (s site) set(args ...string) site {
	s.args = slices.Concat(s.args, args)
	return s
}

func readLink(t *testing.T, file string) anchorproof.SignedLink {
	t.Helper()
	l, err := instance.MergeLinks(must(os.ReadFile(file)))
	fatalIfErr(t, err)
	return l
}

// A pilot with an embedded chain becomes part of a network. Whoever pinned the embedded chain follows.
func TestMoveToNetwork(t *testing.T) {
	t.Parallel()
	n := startNetwork(t)
	forEachBackend(t, func(t *testing.T, s site) {
		m := newMoving(t)
		srv := s.start(t)
		m.notarize(srv, "the pilot")
		on := s.set(n.settings()...)
		// What an operator may try first: it is refused at once, and names the way out.
		srv.stop()
		on.fails(t, "stele chain link", "serve", "--listen", "127.0.0.1:0")
		s.stopsAtForeignNodes(t, n)
		n.admit(s.succeeds(t, "log-key"))

		file := s.linkTo(t, n)
		srv = s.start(t)
		m.notarize(srv, "after the link was made")
		on.fails(t, "runs", "chain", "move", file)
		srv.stop()
		on.fails(t, "make the link anew", "chain", "move", file)
		file = s.linkTo(t, n)
		s.fails(t, "--chain nodes", "chain", "move", file)
		on.succeeds(t, "chain", "move", file)
		on.succeeds(t, "chain", "move", file) // again: nothing to do
		s.fails(t, "chain=nodes", "serve", "--listen", "127.0.0.1:0")

		srv = on.start(t)
		m.notarize(srv, "the network")
		m.hold(srv, readLink(t, file).From, n.trust.Chains[0].Genesis.Chain)
		srv.stop()
		on.fsck(t)
		on.fails(t, "does not come back", "chain", "link", "--to", filepath.Join(n.data, "nodes", "genesis.txt"),
			"--fingerprint",
			n.trust.Chains[0].Genesis.Hash().String(), "-o", filepath.Join(t.TempDir(), "back.json"))
	})
}

// The embedded chain's folder is lost: the log goes on with a new one, on both pairs of stores, and
// with crashes between all steps. A second server follows.
func TestMoveFromLostChain(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, s site) {
		t.Parallel()
		m := newMoving(t)
		srv := s.start(t)
		m.notarize(srv, "the first chain")
		srv.stop()
		chain := filepath.Join(s.data, "chain")
		fatalIfErr(t, os.Rename(chain, chain+"-away"))
		s.fails(t, "stele chain link", "serve", "--listen", "127.0.0.1:0")
		file := filepath.Join(t.TempDir(), "link.json")
		s.fails(t, "--lost", "chain", "link", "--to-embedded", "second-chain", "-o", file)
		s.succeeds(t, "chain", "link", "--to-embedded", "second-chain-"+command.Unique(), "--lost", "-o", file)
		link := readLink(t, file)
		before, trust := must(os.ReadFile(filepath.Join(s.data, "instance.json"))),
			must(os.ReadFile(filepath.Join(s.data, "trust.json")))

		other := s.another(t)
		killed := s.killedMoves(t, file)
		s.succeeds(t, "chain", "move", file)
		t.Logf("%d of the moves were killed", killed)
		// As a crash before the last step leaves it, and the one before that.
		for _, files := range []map[string][]byte{{"instance.json": before},
			{"instance.json": before, "trust.json": trust}} {
			for name, text := range files {
				fatalIfErr(t, os.WriteFile(filepath.Join(s.data, name), text, 0o600))
			}
			s.fails(t, "stele chain move", "serve", "--listen", "127.0.0.1:0")
			s.succeeds(t, "chain", "move", file)
		}
		// As one leaves it before the new folder is in its place, and before the keys are.
		next := filepath.Join(s.data, "chain-next")
		fatalIfErr(t, os.Rename(chain, next))
		fatalIfErr(t, os.WriteFile(filepath.Join(s.data, "instance.json"), before, 0o600))
		s.succeeds(t, "chain", "move", file)
		for _, name := range []string{"chain-cosign", "chain-node"} {
			key := filepath.Join(s.data, "keys", name)
			fatalIfErr(t, os.Rename(key+".key", key+"-next.key"))
			fatalIfErr(t, os.Link(fmt.Sprintf("%s-%x.key", key, link.Genesis[:4]), key+".key"))
		}
		s.succeeds(t, "chain", "move", file)

		srv = s.start(t)
		// On the second server nothing runs before the move was done there, while the first one runs.
		other.fails(t, "stele chain move", "serve", "--listen", "127.0.0.1:0")
		other.succeeds(t, "chain", "move", file)
		if a, b := s.succeeds(t, "log-key"), other.succeeds(t, "log-key"); a != b {
			t.Errorf("the servers name the keys %s and %s", a, b)
		}
		m.notarize(srv, "the second chain")
		m.hold(srv, link.From, link.To.Chain)
		srv.stop()
		srv = s.start(t) // the chain is no older copy: its head is the last one's
		m.notarize(srv, "the second chain, later")
		srv.stop()
		s.fsck(t)
		// An older copy of the new chain is refused as ever.
		fatalIfErr(t, os.RemoveAll(chain))
		s.fails(t, "--lost", "serve", "--listen", "127.0.0.1:0")
	})
}

// another is a second server of the instance as it is now: a data folder of its own, the same keys.
func (s site) another(t *testing.T) site {
	t.Helper()
	b := site{data: folder(t),
		args: slices.Concat(s.args, []string{"--chain", "none", "--keys", filepath.Join(s.data, "keys"),
			"--passphrase-file", filepath.Join(s.data, "keys", "passphrase")})}
	for _, name := range []string{"instance.json", "trust.json"} {
		fatalIfErr(t, os.WriteFile(filepath.Join(b.data, name), must(os.ReadFile(filepath.Join(s.data, name))), 0o600))
	}
	if len(s.args) == 0 {
		b.args = append(b.args, "--database", "sqlite:"+filepath.Join(s.data, "stele.db"), "--objects-dir",
			filepath.Join(s.data, "objects"))
	}
	return b
}

// stopsAtForeignNodes: nodes that are away at the start keep nothing back; as soon as they answer and
// are of another chain the server ends, and says what to do.
func (s site) stopsAtForeignNodes(t *testing.T, n *network) {
	t.Helper()
	address := freeport.Address(t)
	srv := s.set("--chain", "nodes", "--chain-nodes", "http://"+address, "--chain-token-file",
		filepath.Join(n.data, "nodes", "token")).start(t)
	waits := srv.notarize(digestRequest(newDigest(), "", "logged"))
	srv.demand(waits, proof.Pending)
	ln, err := net.Listen("tcp", address)
	fatalIfErr(t, err)
	defer ln.Close()
	city, err := url.Parse("http://" + n.nodes[0].API)
	fatalIfErr(t, err)
	go func() { _ = http.Serve(ln, httputil.NewSingleHostReverseProxy(city)) }() // until it is closed
	select {
	case <-srv.done:
	case <-time.After(time.Minute):
		t.Fatalf("the server goes on\n%s", srv.log)
	}
	if code := srv.cmd.ProcessState.ExitCode(); code == 0 ||
		!strings.Contains(srv.log.String(), "nodes are of another chain") ||
		!strings.Contains(srv.log.String(), "stele chain link") {
		t.Errorf("exit code %d\n%s", code, srv.log)
	}
}

// A log goes from one network to another. The former members sign, and each one's node first says
// that it holds nothing beyond the link.
func TestMoveBetweenNetworks(t *testing.T) {
	t.Parallel()
	from, to := startNetwork(t), startNetwork(t)
	base := site{data: folder(t)}
	s, on := base.set(from.settings()...), base.set(to.settings()...)
	s.succeeds(t, "init", "--new-passphrase", "--origin", "moving.example/"+command.Unique(), "--genesis",
		filepath.Join(from.data, "nodes", "genesis.txt"),
		"--fingerprint", from.trust.Chains[0].Genesis.Hash().String())
	key := s.succeeds(t, "log-key")
	from.admit(key) // a hand-over, which the link carries
	m := newMoving(t)
	srv := s.start(t)
	m.notarize(srv, "the former network")
	early := s.linkTo(t, to)
	m.notarize(srv, "after the first link")
	srv.stop()
	if out := from.signLink(t, 0, early); !strings.Contains(out, "nothing was signed") {
		t.Errorf("a member signed a link that the chain has outgrown: %s", out)
	}
	file := s.linkTo(t, to)
	from.refuseTimes(t, file)
	on.fails(t, "not signed by more than two thirds", "chain", "move", file)
	copies := []string{file}
	for i := range 3 {
		c := filepath.Join(t.TempDir(), fmt.Sprintf("%d.json", i))
		fatalIfErr(t, os.WriteFile(c, must(os.ReadFile(file)), 0o600))
		if out := from.signLink(t, i, c); !strings.Contains(out, "Signed.") {
			t.Fatal(out)
		}
		copies = append(copies, c)
	}
	on.fails(t, "have not admitted the log", append([]string{"chain", "move"}, copies...)...)
	to.admit(key)
	s.fails(t, "another chain", append([]string{"chain", "move"}, copies...)...) // with the former network's nodes
	on.succeeds(t, append([]string{"chain", "move"}, copies...)...)
	s.fails(t, "nodes are of another chain", "serve", "--listen", "127.0.0.1:0")
	srv = on.start(t)
	m.notarize(srv, "the new network")
	m.hold(srv, from.trust.Chains[0].Genesis.Chain, to.trust.Chains[0].Genesis.Chain)
	srv.stop()
	on.fsck(t)
}

// refuseTimes: no member signs the same link with a time that the log's operator has made up. From it on
// the new chain could date records back.
func (n *network) refuseTimes(t *testing.T, file string) {
	t.Helper()
	for want, by := range map[string]time.Duration{"a time to come": 10 * time.Minute,
		"within 24 hours":     -25 * time.Hour,
		"anchored the log at": -10 * time.Minute} {
		t.Run(want, func(t *testing.T) {
			l := readLink(t, file)
			l.TimeMs += by.Milliseconds()
			before := must(l.Marshal())
			other := filepath.Join(t.TempDir(), "link.json")
			fatalIfErr(t, os.WriteFile(other, before, 0o600))
			if out := n.signLink(t, 0, other); !strings.Contains(out, want) ||
				!strings.Contains(out, "Nothing was signed") {
				t.Errorf("a link %s off: %s", by, out)
			}
			if !bytes.Equal(must(os.ReadFile(other)), before) {
				t.Errorf("a link %s off was changed", by)
			}
		})
	}
}

// At the edges of what a member signs; a header that is ahead of its clock says nothing.
func TestLinkInTime(t *testing.T) {
	now := time.Date(2026, 11, 30, 9, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		link, anchored time.Duration // from now; 0: not anchored
		want           bool
	}{
		{0, 0, true}, {5 * time.Minute, 0, true}, {5*time.Minute + time.Second, 0, false},
		{-24 * time.Hour, 0, true}, {-24*time.Hour - time.Second, 0, false},
		{-time.Hour, -55 * time.Minute, true}, {-time.Hour, -55*time.Minute + time.Second, false},
		{0, 5 * time.Minute, true}, {-time.Hour, 5 * time.Minute, false}, {-time.Hour, 365 * 24 * time.Hour, true},
	} {
		t.Run(fmt.Sprintf("link %s, anchored %s", c.link, c.anchored), func(t *testing.T) {
			var anchored time.Time
			if c.anchored != 0 {
				anchored = now.Add(c.anchored)
			}
			err := linkInTime(anchorproof.Link{TimeMs: now.Add(c.link).UnixMilli()}, now, anchored)
			if (err == nil) != c.want {
				t.Errorf("a link of %s, anchored %s: %v", c.link, c.anchored, err)
			}
		})
	}
}

// signLink has a member sign, and returns what was said.
func (n *network) signLink(t *testing.T, i int, file string) string {
	t.Helper()
	cmd := exec.Command(must(binary()), "node", "sign-link", "--home", n.nodes[i].Home, "--passphrase-file",
		filepath.Join(n.data, "keys", "passphrase"),
		"--fingerprint", readLink(t, file).Hash().String(), file)
	cmd.Env = command.ChildEnvironment()
	out, _ := cmd.CombinedOutput() // the caller looks at what was said
	return string(out)
}

// killedMoves runs the move and kills it a little later each time, until it is not killed any more.
func (s site) killedMoves(t *testing.T, file string) (killed int) {
	t.Helper()
	for wait := 20 * time.Millisecond; ; wait += wait / 8 {
		cmd := s.command(t, "chain", "move", file)
		fatalIfErr(t, cmd.Start())
		timer := time.AfterFunc(wait, func() { _ = cmd.Process.Kill() })
		err := cmd.Wait()
		timer.Stop()
		if err == nil {
			return killed
		}
		killed++
		if killed > 200 {
			t.Fatal("the move never comes to its end")
		}
	}
}
