package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"stele/notary/proof"
	"stele/server/cmd/internal/command"
	"stele/server/remote/chainnet"
	"stele/storage/storagetest/freeport"
)

// guide is a page whose commands are run, one after another, as several people do it. A command
// is taken from the page once; those that are left at the end were run by nobody.
type guide struct {
	t    *testing.T
	dir  string // where they work: files that the page has people send lie here
	left []string
}

func newGuide(t *testing.T, page string) *guide {
	t.Helper()
	g := &guide{t: t, dir: t.TempDir()}
	for _, b := range blocks(t, page) {
		if b.language == "sh" {
			g.left = append(g.left, strings.Split(strings.TrimSpace(b.text), "\n")...)
		}
	}
	return g
}

// take returns the page's next command that begins so.
func (g *guide) take(words string) string {
	g.t.Helper()
	i := slices.IndexFunc(g.left, func(l string) bool {
		return strings.HasPrefix(strings.Join(strings.Fields(l), " "), words)
	})
	if i < 0 {
		g.t.Fatalf("the page has no more command %q", words)
	}
	line := g.left[i]
	g.left = slices.Delete(g.left, i, i+1)
	return line
}

// sh runs a command in which words of the page are replaced, and returns what it prints.
func (g *guide) sh(line string, pairs ...string) string {
	g.t.Helper()
	cmd := exec.CommandContext(g.t.Context(), "bash", "-c", strings.NewReplacer(pairs...).Replace(line))
	cmd.Dir = g.dir
	cmd.Env = append(command.ChildEnvironment(), "PATH="+g.dir+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		g.t.Fatalf("%s: %v\n%s", cmd.Args[2], err, out)
	}
	return string(out)
}

var printedFingerprint = regexp.MustCompile(`Fingerprint \(SM3\): ([0-9a-f ]+)`)

func (g *guide) fingerprint(out string) string {
	g.t.Helper()
	m := printedFingerprint.FindStringSubmatch(out)
	if m == nil {
		g.t.Fatalf("no fingerprint: %s", out)
	}
	return m[1]
}

// town is a member of the page, at home on this machine.
type town struct {
	short, name string // of its files, of the member
	home, peer  string // folder, address for peers
	api         string
	node        int // in the network's list
}

// words are what stands for a town in the commands of the page, which are those of one.
func (c *town) words(t *testing.T, more ...string) []string {
	return append(more, "/var/lib/stele-node", c.home, "wuhan-data-bureau", c.name, "wuhan.json", c.short+".json",
		"node.wuhan.example.gov.cn:26656", c.peer, "10.20.0.5:26660", c.api, "127.0.0.1:9091", freeport.Address(t))
}

// TestChainGuide runs the commands of docs/chain.md: four cities found a network, one comes and
// one leaves, one rotates its keys, while a server takes in documents and anchors them. The
// verifier pins the first epoch only.
func TestChainGuide(t *testing.T) {
	t.Parallel()
	g := newGuide(t, "chain.md")
	fatalIfErr(t, os.Symlink(must(binary()), filepath.Join(g.dir, "stele")))
	token := filepath.Join(g.dir, "token")
	fatalIfErr(t, os.WriteFile(token, []byte("a token that is long enough\n"), 0o600))
	n := &network{server: &server{t: t, log: &lockedBuffer{}}, again: map[int]*exec.Cmd{}}
	move := func(short, name string) *town {
		return &town{short: short, name: name, home: filepath.Join(g.dir, "home-"+short),
			peer: freeport.Address(t), api: freeport.Address(t)}
	}
	settle := func(c *town, run string, pairs ...string) {
		run, _, _ = strings.Cut(run, " #")
		run = strings.NewReplacer(append(pairs, "/etc/stele/token", token)...).Replace(run)
		c.node = len(n.nodes)
		n.nodes = append(n.nodes, labNode{Name: c.name, Home: c.home, API: c.api, Restart: filepath.Join(g.dir, run)})
		n.startNode(c.node)
	}

	// The ceremony.
	wuhan, xiangyang, yichang, jingzhou := move("wuhan", "wuhan-data-bureau"), move("xiangyang", "xiangyang"),
		move("yichang", "yichang"), move("jingzhou", "jingzhou")
	cities := []*town{wuhan, xiangyang, yichang, jingzhou}
	initLine := g.take("stele node init")
	for _, c := range cities {
		g.sh(initLine, c.words(t)...)
	}
	logKey := regexp.MustCompile(`\S+\+[0-9a-f]{8}\+\S+`).FindString(g.sh(g.take("stele init --prepare")))
	genesisLine := g.take("stele node genesis")
	genesis := g.fingerprint(g.sh(genesisLine, "log.example.gov.cn/2026+…", logKey))
	fatalIfErr(t, os.Mkdir(filepath.Join(g.dir, "again"), 0o755))
	if other := g.fingerprint(g.sh(genesisLine+" --out again", "log.example.gov.cn/2026+…", logKey,
		"wuhan.json xiangyang.json", "xiangyang.json wuhan.json")); other != genesis {
		t.Errorf("another order of the files gives %s, not %s", other, genesis)
	}
	joinLine, runLine := g.take("stele node join"), g.take("stele node run")
	for _, c := range cities {
		g.sh(joinLine, c.words(t, "91fbae55 dc2d1aaf …", genesis)...)
		settle(c, runLine, c.words(t)...)
	}
	for _, c := range cities {
		n.await(c.node, "its start", func(chainnet.Status) bool { return true })
	}
	g.sh(g.take("stele init --chain nodes"), "/etc/stele/token", token, "10.20.0.5:26660", wuhan.api, "10.21.0.5:26660",
		xiangyang.api, "91fbae55 dc2d1aaf …", genesis)

	nodes := n.nodes
	n.server = site{data: filepath.Join(g.dir, "data"), args: []string{"--chain", "nodes", "--chain-nodes",
		"http://" + wuhan.api + ",http://" + xiangyang.api, "--chain-token-file", token}}.start(t)
	n.nodes = nodes
	first := n.notarize(digestRequest(newDigest(), "", "anchored"))
	n.demand(first, proof.Genuine)
	records := n.always()

	// A member comes, one leaves, one gets more power.
	enshi := move("enshi", "enshi")
	g.sh(initLine, enshi.words(t)...)
	g.sh(joinLine, enshi.words(t, "91fbae55 dc2d1aaf …", genesis)...)
	settle(enshi, runLine, enshi.words(t)...)
	caughtUp := func(s chainnet.Status) bool { return !s.CatchingUp && s.Behind == 0 && s.Headers > 0 }
	n.await(enshi.node, "it to catch up", caughtUp)
	next := g.fingerprint(g.sh(g.take("stele node propose"), wuhan.words(t)...))
	signLine := g.take("stele node sign")
	text := must(os.ReadFile(filepath.Join(g.dir, "epoch-1.json")))
	for _, city := range []*town{wuhan, xiangyang, yichang, enshi} {
		file := "epoch-1.json"
		if city == yichang {
			file = "copy-of-yichang.json"
			fatalIfErr(t, os.WriteFile(filepath.Join(g.dir, file), text, 0o600))
		}
		g.sh(signLine, city.words(t, "'…'", "'"+next+"'", "epoch-1.json", file)...)
	}
	g.sh(g.take("stele node submit"), wuhan.words(t)...)
	n.await(enshi.node, "its office", func(s chainnet.Status) bool { return s.Validating && s.Epoch == 1 })
	n.killNode(jingzhou.node) // has left

	// One rotates its keys.
	second := &town{short: "yichang-2", name: "yichang", home: yichang.home + "-2", peer: freeport.Address(t),
		api: freeport.Address(t)}
	of := func(c *town, more ...string) []string {
		return append(more, "/var/lib/stele-node-2", second.home, "/var/lib/stele-node", c.home,
			"node.yichang.example.gov.cn:26657", second.peer,
			"10.22.0.5:26661", second.api, "91fbae55 dc2d1aaf …", genesis, "'…'", "'"+next+"'")
	}
	g.sh(g.take("stele node init"), of(yichang)...)
	g.sh(g.take("stele node join"), of(yichang)...)
	settle(second, g.take("stele node run"), of(yichang)...)
	n.await(second.node, "it to catch up", caughtUp)
	next = g.fingerprint(g.sh(g.take("stele node propose"), of(yichang)...))
	signLine = g.take("stele node sign")
	for _, home := range []string{second.home, yichang.home, wuhan.home, enshi.home} {
		g.sh(signLine, of(yichang, "/var/lib/stele-node-2", home)...)
	}
	before := n.notarize(digestRequest(newDigest(), "", "anchored"))
	g.sh(g.take("stele node submit"), of(yichang)...)
	n.await(second.node, "its office", func(s chainnet.Status) bool { return s.Validating && s.Epoch == 2 })
	if out := g.sh("stele node status --home " + second.home); !strings.Contains(out, "yichang on hubei-egov, votes") {
		t.Error(out)
	}
	n.await(yichang.node, "the end of its office", func(s chainnet.Status) bool {
		return !s.Validating && s.Epoch == 2
	})

	// The old keys sign no proposal any more, and the new ones are needed: without them what is
	// left after the next loss is no quorum.
	third := fmt.Sprintf("stele node propose --home %s --leave xiangyang -o epoch-3.json", wuhan.home)
	next = g.fingerprint(g.sh(third))
	refused := g.sh(fmt.Sprintf("! stele node sign --home %s --fingerprint '%s' epoch-3.json", yichang.home, next))
	if !strings.Contains(refused, "neither a present member's nor a newcomer's") {
		t.Error(refused)
	}
	n.killNode(yichang.node)
	g.sh(g.take("stele node peers"), of(xiangyang)...)
	n.killNode(xiangyang.node)
	n.startNode(xiangyang.node)
	n.await(xiangyang.node, "the new node among its peers", func(s chainnet.Status) bool {
		return slices.ContainsFunc(s.Peers, func(p chainnet.Peer) bool { return p.Name == "yichang" && p.Connected })
	})
	n.killNode(enshi.node)
	after := n.notarize(digestRequest(newDigest(), "", "anchored"))
	for _, rec := range append(records(), first, before, after) {
		n.anchored(rec)
		n.demand(rec, proof.Genuine)
	}
	if s := n.await(second.node, "cosigners", func(s chainnet.Status) bool {
		return s.Last != nil && s.Epoch == 2 && s.Pending == 0
	}); !slices.Equal(s.Last.Silent, []string{"enshi"}) {
		t.Errorf("%+v", s.Last)
	}
	n.stop()
	n.fsck(t)

	// A pilot loses its chain, and then becomes part of the network.
	fatalIfErr(t, os.WriteFile(filepath.Join(g.dir, "pilot.sh"), []byte("export STELE_DATA=pilot\n"), 0o600))
	pilot := func(line string, pairs ...string) string { return g.sh(". ./pilot.sh; "+line, pairs...) }
	pilot("stele init --new-passphrase --origin pilot.example/" + command.Unique() + " --chain-id pilot-" +
		command.Unique())
	fatalIfErr(t, os.RemoveAll(filepath.Join(g.dir, "pilot", "chain")))
	pilot(g.take("stele chain link --lost"))
	pilot(g.take("stele chain move link.json"))
	next = g.fingerprint(g.sh(fmt.Sprintf("stele node propose --home %s --notary-add '%s' -o epoch-4.json", wuhan.home,
		strings.TrimSpace(pilot("stele log-key")))))
	for _, home := range []string{second.home, wuhan.home, xiangyang.home} {
		g.sh(fmt.Sprintf("stele node sign --home %s --fingerprint '%s' epoch-4.json", home, next))
	}
	g.sh("stele node submit --home " + wuhan.home + " epoch-4.json")
	fatalIfErr(t, os.Remove(filepath.Join(g.dir, "link.json")))
	pilot(g.take("stele chain link --to genesis.txt"), "91fbae55 dc2d1aaf …", genesis)
	pilot(g.take("stele chain move --chain nodes"), "10.20.0.5:26660", wuhan.api, "10.21.0.5:26660", xiangyang.api,
		"/etc/stele/token", token)

	// The province's log leaves the network for a chain of its own; the members let it go.
	server := fmt.Sprintf("--chain nodes --chain-nodes http://%s,http://%s --chain-token-file %s", wuhan.api,
		xiangyang.api, token)
	let := g.fingerprint(g.sh("stele chain link " + server + " --to-embedded alone-" + command.Unique() +
		" -o left.json"))
	signLine = g.take("stele node sign-link")
	for _, home := range []string{second.home, wuhan.home, xiangyang.home} {
		g.sh(signLine, "/var/lib/stele-node", home, "'…'", "'"+let+"'", "link.json", "left.json")
	}
	g.sh("stele chain move left.json")
	if len(g.left) > 0 {
		t.Errorf("commands of the page that this test does not run: %q", g.left)
	}
	alone := site{data: filepath.Join(g.dir, "data")}
	srv := alone.start(t)
	srv.demand(srv.notarize(digestRequest(newDigest(), "", "anchored")), proof.Genuine)
	srv.demand(after, proof.Genuine)
	srv.stop()
	alone.fsck(t)
}

// always notarizes from now on, one record after another as each is anchored, until it is asked
// for them.
func (n *network) always() (records func() []record) {
	ctx, cancel := context.WithCancel(n.t.Context())
	var out []record
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			// one that is under way is taken
			res, err := n.try(context.WithoutCancel(ctx), digestRequest(newDigest(), "", "anchored"))
			if err != nil || res.status != http.StatusCreated {
				n.t.Errorf("intake: %v %d %s", err, res.status, res.body)
				return
			}
			var rec record
			res.json(n.t, &rec)
			out = append(out, rec)
		}
	})
	n.t.Cleanup(cancel)
	return func() []record {
		cancel()
		wg.Wait()
		n.t.Logf("%d records meanwhile", len(out))
		return out
	}
}
