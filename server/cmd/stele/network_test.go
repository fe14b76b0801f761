package main

import (
	"context"
	"errors"
	mrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"stele/crypto/keystore"
	"stele/crypto/merkle"
	"stele/crypto/sm"
	"stele/notary/log/anchor"
	"stele/notary/proof"
	"stele/notary/proof/chainview"
	"stele/notary/proof/checkpoint"
	"stele/server/cmd/internal/command"
	"stele/server/node"
	"stele/server/remote/chainnet"
	"stele/storage/storagetest/freeport"
)

// network is a demo with validators as processes of their own, which the test kills.
type network struct {
	*server
	again map[int]*exec.Cmd // nodes that the test has started again
}

func startNetwork(t *testing.T, extra ...string) *network {
	t.Helper()
	s := site{data: folder(t), inLab: true}
	return &network{server: s.start(t, append([]string{"--validators", "4"}, extra...)...), again: map[int]*exec.Cmd{}}
}

// client reaches a node by the socket in its home.
func (n *network) client(i int) *chainnet.Node {
	n.t.Helper()
	c, err := chainnet.NewNode("unix:"+node.Home(n.nodes[i].Home).Socket(), "")
	fatalIfErr(n.t, err)
	return c
}

// killNode is kill -9.
func (n *network) killNode(i int) {
	n.t.Helper()
	if cmd := n.again[i]; cmd != nil {
		fatalIfErr(n.t, cmd.Process.Kill())
		_ = cmd.Wait()
		delete(n.again, i)
		return
	}
	fatalIfErr(n.t, syscall.Kill(n.nodes[i].PID, syscall.SIGKILL))
}

// startNode runs the command that the demo prints.
func (n *network) startNode(i int) {
	n.t.Helper()
	words := strings.Fields(n.nodes[i].Restart)
	cmd := exec.Command(words[0], words[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = n.log
	fatalIfErr(n.t, cmd.Start())
	n.again[i] = cmd
	n.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed by the test meanwhile, perhaps
	})
}

// await waits until a node's state is as wanted.
func (n *network) await(i int, what string, ok func(chainnet.Status) bool) chainnet.Status {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	for {
		s, err := n.client(i).Status(ctx)
		if err == nil && ok(s) {
			return s
		}
		if ctx.Err() != nil {
			n.t.Fatalf("node %d: waiting for %s: %+v, %v\n%s", i, what, s, err, n.log)
		}
		time.Sleep(20 * time.Millisecond) // between two questions: the node may not run yet
	}
}

// anchored waits until a record is.
func (n *network) anchored(rec record) {
	n.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		res := n.get("/api/v1/records/" + rec.ID)
		var now record
		res.json(n.t, &now)
		if now.State == "anchored" {
			return
		}
		if time.Now().After(deadline) {
			n.t.Fatalf("record %s is %s\n%s", rec.Number, now.State, n.log)
		}
		time.Sleep(50 * time.Millisecond) // between two questions
	}
}

// compare demands that all nodes have the same anchors, each with its quorum.
func (n *network) compare() (anchors int) {
	n.t.Helper()
	ctx := context.Background()
	first := n.await(0, "all headers certified", func(s chainnet.Status) bool { return s.Pending == 0 })
	for i := range n.nodes {
		n.await(i, "the same height", func(s chainnet.Status) bool {
			return s.Headers == first.Headers && s.Pending == 0
		})
	}
	for from := uint64(0); from < first.Headers; {
		want, err := n.client(0).Entries(ctx, from)
		fatalIfErr(n.t, err)
		_, err = chainview.Build(n.trust.Chains[0].Genesis, chainview.Source{Entries: want})
		fatalIfErr(n.t, err)
		for i := 1; i < len(n.nodes); i++ {
			got, err := n.client(i).Entries(ctx, from)
			fatalIfErr(n.t, err)
			for j := range want {
				if got[j].Header != want[j].Header || !slices.Equal(got[j].Checkpoints, want[j].Checkpoints) {
					n.t.Fatalf("nodes disagree on header %d:\n%s\n%s", want[j].Header.Index, want[j].Header.Text(),
						got[j].Header.Text())
				}
			}
		}
		from += uint64(len(want))
		anchors += len(want)
	}
	return anchors
}

// away waits until a dead node is called by its name where operators look; the service is well without.
func (n *network) away(metrics string, i int) {
	n.t.Helper()
	name := n.nodes[i].Name
	up := regexp.MustCompile(`stele_chain_node_up\{name="` + regexp.QuoteMeta(name) + `",node="[^"]+"\}`)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) { // between two questions
		said, counted := false, false
		r := n.ready()
		for _, c := range r.Checks {
			said = said || c.OK && strings.Contains(c.Detail, "3 of 4 nodes answer; away: "+name+" since ")
		}
		for series, value := range scrape(n.t, metrics) {
			counted = counted || up.MatchString(series) && value == "0"
		}
		if said && counted && r.Status == "ok" {
			return
		}
		if time.Now().After(deadline) {
			n.t.Fatalf("%+v\n%v", r, scrape(n.t, metrics))
		}
	}
}

// One of four killed: work goes on. Two: anchoring stops, intake does not. Back again: it
// catches up. And whoever holds the log's key cannot fork it.
func TestFourValidators(t *testing.T) {
	t.Parallel()
	metrics := freeport.Address(t)
	n := startNetwork(t, "--metrics-listen", metrics)
	rec := n.notarize(digestRequest(newDigest(), "", "anchored"))
	n.demand(rec, proof.Genuine)
	n.killNode(3)
	n.away(metrics, 3)
	n.demand(n.notarize(digestRequest(newDigest(), "", "anchored")), proof.Genuine)
	n.killNode(2)
	var waiting []record
	for range 20 {
		waiting = append(waiting, n.notarize(digestRequest(newDigest(), "", "logged")))
	}
	before := n.await(0, "a submission in vain", func(s chainnet.Status) bool {
		return len(s.Peers) == 3 && !s.Peers[1].Connected
	})
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if s, err := n.client(0).Wait(ctx, before.Height+1); err == nil { // a block that was being decided may still come
		t.Errorf("two of four validators made block %d", s.Height)
	}
	n.demand(waiting[19], proof.Pending)
	// The page is made of what is known of the nodes, which a moment ago may have been more.
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		ready, page := string(n.get("/readyz").body), string(n.get("/chain").body)
		if strings.Contains(ready, `"degraded"`) && strings.Contains(ready, "too few") &&
			strings.Contains(page, "链暂停运行") {
			break
		}
		if time.Now().After(deadline) {
			t.Errorf("nothing says that the chain stands still: %s", ready)
			break
		}
	}
	n.startNode(2)
	for _, r := range waiting {
		n.anchored(r)
		n.demand(r, proof.Genuine)
	}
	n.startNode(3)
	n.await(3, "the fourth to catch up", func(s chainnet.Status) bool {
		return !s.CatchingUp && s.Behind == 0 && s.Headers > 2
	})
	last := n.notarize(digestRequest(newDigest(), "", "anchored"))
	n.demand(last, proof.Genuine)
	n.compare()
	n.refusesForks()
	n.stop()
	n.fsck(t)
}

// refusesForks hands every node what a notary must not do, signed with the log's real key, and
// prints what they answered.
func (n *network) refusesForks() {
	t := n.t
	t.Helper()
	pass, err := keystore.Passphrase(filepath.Join(n.data, "keys", "passphrase"), "")
	fatalIfErr(t, err)
	key, err := keystore.Load(filepath.Join(n.data, "keys", "log.key"), pass)
	fatalIfErr(t, err)
	stranger, err := sm.GenerateKey()
	fatalIfErr(t, err)
	head, err := checkpoint.ParseUnsafe(n.get("/api/v1/log/checkpoint").body)
	fatalIfErr(t, err)
	submission := func(key *sm.PrivateKey, size uint64, root merkle.Hash) anchor.Submission {
		c := checkpoint.Checkpoint{Origin: head.Origin, Size: size, Root: root}
		sig, err := key.Sign([]byte(c.Text()))
		fatalIfErr(t, err)
		return anchor.Submission{Checkpoint: c, Signature: sig, OldSize: head.Size,
			Proof: []merkle.Hash{sm.Sum([]byte("no proof"))}}
	}
	smaller := head.Size - 1 // that was never anchored: anything else about it would be a second root
	for must(n.client(0).Evidence(context.Background(), head.Origin, smaller)).Checkpoint != "" {
		smaller--
	}
	other := sm.Sum([]byte("another history"))
	for _, c := range []struct {
		name   string
		s      anchor.Submission
		want   error
		reason string
	}{
		{"another root for the anchored size", submission(key, head.Size, other), anchor.ErrFork, "two_roots"},
		{"a larger tree that does not contain the anchored one", submission(key, head.Size+5, other), anchor.ErrFork,
			"wrong_proof"},
		{"a smaller size", submission(key, smaller, other), anchor.ErrStale, "smaller_size"},
		{"a key that the epoch does not admit", submission(stranger, head.Size+1, other), anchor.ErrRefused,
			"unknown_log"},
	} {
		for i, city := range n.nodes {
			before := n.await(i, "state", func(chainnet.Status) bool { return true }).Refused[c.reason]
			err := n.client(i).Submit(context.Background(), c.s)
			after := n.await(i, "state", func(chainnet.Status) bool { return true }).Refused[c.reason]
			if !errors.Is(err, c.want) || after <= before {
				t.Errorf("%s at %s: %v; counted %d, then %d", c.name, city.Name, err, before, after)
			}
			if i == 0 {
				t.Logf("%s: %v", c.name, err)
			}
		}
	}
	if again, err := checkpoint.ParseUnsafe(n.get("/api/v1/log/checkpoint").body); err != nil || again != head {
		t.Errorf("the log moved: %v", err)
	}
}

// kill -9 of nodes at random moments under load, one or two at a time, and of the whole machine
// now and then: no fork, no anchor lost, nothing lost at intake.
func TestNetworkKillNine(t *testing.T) {
	t.Parallel()
	rounds := 20
	if testing.Short() {
		rounds = 3
	}
	n := startNetwork(t)
	var c crowd
	extra := 0
	for round := range rounds {
		victims := mrand.Perm(4)[:1+mrand.IntN(2)]
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(time.Duration(20+mrand.IntN(400))*time.Millisecond, func() {
			for _, v := range victims {
				n.killNode(v)
			}
			cancel()
		})
		c.work(ctx, t, n.server, 2, noOther)
		<-ctx.Done()
		if t.Failed() {
			t.Fatalf("round %d:\n%s", round, n.log)
		}
		if round%7 == 6 { // everything at once
			n.kill()
			for i := range n.again {
				n.killNode(i)
			}
			n.server = n.site.start(t)
			continue
		}
		for _, v := range victims {
			n.startNode(v)
		}
		for _, v := range victims {
			n.await(v, "it to answer", func(chainnet.Status) bool { return true })
		}
		if round%5 == 4 { // else the next ones die while these are still coming back
			n.anchored(n.notarize(digestRequest(newDigest(), "", "")))
			extra++
		}
	}
	c.drain(t, n.server)
	for _, j := range c.jobs {
		n.anchored(*j.answer)
	}
	anchors := n.compare()
	c.extra = extra
	c.check(t, n.server)
	if anchors <= extra {
		t.Errorf("%d anchors in %d rounds", anchors, rounds)
	}
	t.Logf("%d rounds, %d anchors on every node", rounds, anchors)
}

// A network that is founded by a ceremony of files, changed by its members, and caught up with
// by a node that comes later; the verifier pins the first epoch only.
func TestMembersChange(t *testing.T) {
	t.Parallel()
	n := startNetwork(t)
	n.demand(n.notarize(digestRequest(newDigest(), "", "anchored")), proof.Genuine)
	dir := t.TempDir()
	stele := func(want int, args ...string) string {
		t.Helper()
		path, err := binary()
		fatalIfErr(t, err)
		cmd := exec.Command(path, args...)
		cmd.Env = command.ChildEnvironment()
		out, err := cmd.CombinedOutput()
		if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		if code := cmd.ProcessState.ExitCode(); code != want {
			t.Fatalf("stele %s: exit code %d\n%s", strings.Join(args, " "), code, out)
		}
		return string(out)
	}
	home := filepath.Join(dir, "fifth")
	member := filepath.Join(dir, "fifth.json")
	nodes := filepath.Join(n.data, "nodes")
	stele(0, "node", "init", "--home", home, "--name", "dongting", "--address", freeport.Address(t),
		"--new-passphrase", "--out", member)
	genesis := filepath.Join(nodes, "genesis.txt")
	fingerprint := n.trust.Chains[0].Genesis.Hash().String()
	if out := stele(1, "node", "join", "--home", home, "--genesis", genesis, "--fingerprint",
		strings.Repeat("0", 64)); !strings.Contains(out, "differ") {
		t.Error(out)
	}
	stele(0, "node", "join", "--home", home, "--genesis", genesis, "--fingerprint", fingerprint)
	n.nodes = append(n.nodes, labNode{Name: "dongting", Home: home, Restart: must(binary()) + " node run --home " +
		home})
	n.startNode(4)
	n.await(4, "the new node to catch up", func(s chainnet.Status) bool {
		return !s.CatchingUp && s.Headers > 0 && !s.Validating
	})

	// Another province's instance, whose log the members are to admit.
	var urls []string
	for _, city := range n.nodes[:4] {
		urls = append(urls, "http://"+city.API)
	}
	second := site{data: filepath.Join(dir, "second"), args: []string{"--chain", "nodes", "--chain-nodes",
		strings.Join(urls, ","), "--chain-token-file", filepath.Join(nodes, "token")}}
	origin := "second.example/" + command.Unique()
	if out, errs, code := second.output(t, "init", "--new-passphrase", "--origin", origin, "--genesis", genesis,
		"--fingerprint", fingerprint); code != 0 || !strings.Contains(errs, "does not admit the log") {
		t.Fatalf("%d %s %s", code, out, errs)
	}
	logKey, _, _ := second.output(t, "log-key")

	proposal := filepath.Join(dir, "epoch-1.json")
	out := stele(0, "node", "propose", "--home", n.nodes[0].Home, "--notary-add", strings.TrimSpace(logKey), "--join",
		member, "--leave", "linhai", "--power", "yunshan=2", "-o", proposal)
	t.Log(out)
	next := must(readProposal(proposal)).Next.Hash().String()
	demoPass := filepath.Join(n.data, "keys", "passphrase")
	sign := func(i int, file string) {
		t.Helper()
		args := []string{"node", "sign", "--home", n.nodes[i].Home, "--fingerprint", next, file}
		if i < 4 {
			args = append(args, "--passphrase-file", demoPass)
		}
		stele(0, args...)
	}
	copies := []string{proposal}
	for i := range 3 { // three sign copies of their own
		file := filepath.Join(dir, n.nodes[i].Name+".json")
		fatalIfErr(t, os.WriteFile(file, must(os.ReadFile(proposal)), 0o600))
		sign(i, file)
		copies = append(copies, file)
	}
	if out := stele(1, append([]string{"node", "submit", "--home", n.nodes[0].Home}, copies...)...); !strings.Contains(
		out, "dongting") {
		t.Errorf("the newcomer has not signed, and nobody says so: %s", out)
	}
	sign(4, proposal)
	stele(0, append([]string{"node", "submit", "--home", n.nodes[0].Home}, copies...)...)
	n.await(4, "its office", func(s chainnet.Status) bool { return s.Validating && s.Epoch == 1 })
	n.killNode(1) // linhai has left
	var last record
	for range 4 {
		last = n.notarize(digestRequest(newDigest(), "", "anchored"))
	}
	n.await(0, "the last anchor, which the server may have from another node", func(s chainnet.Status) bool {
		return s.Pending == 0 && holds(s, map[string]uint64{n.trust.Logs[0].Key.Name(): last.Index + 1})
	})
	report := n.verdict(last) // with the first epoch pinned
	if report.Verdict != proof.Genuine ||
		!strings.Contains(
			string(must(n.client(0).Evidence(t.Context(), n.trust.Logs[0].Key.Name(), last.Index+1)).Evidence),
			`"epochs":[{`) {
		t.Errorf("%s: %s", report.Verdict, report.Summary)
	}
	other := second.start(t)
	other.demand(other.notarize(digestRequest(newDigest(), "", "anchored")), proof.Genuine)
	other.stop()
	second.fsck(t)
	n.stop()
	n.fsck(t)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
