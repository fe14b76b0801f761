package main

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/server/cmd/internal/command"
	"stele/server/remote/chainnet"
)

// bundle is a record's bundle as stored now.
func (s *server) bundle(rec record) []byte {
	s.t.Helper()
	res := s.get("/api/v1/records/" + rec.ID + "/bundle")
	if res.status != http.StatusOK {
		s.t.Fatalf("bundle of %s: %d %s", rec.Number, res.status, res.body)
	}
	return res.body
}

// genuineFor demands that bundles verify under each of the trust roots.
func (s *server) genuineFor(trusts map[string]*proof.Trust, bundles map[string][]byte, records map[string]record) {
	s.t.Helper()
	for name, trust := range trusts {
		for of, b := range bundles {
			d, err := sm.ParseDigest(records[of].Document.SM3)
			fatalIfErr(s.t, err)
			if r := proof.Verify(trust, &d, b); r.Verdict != proof.Genuine {
				s.t.Errorf("%s, with %s: %s: %s", of, name, r.Verdict, r.Summary)
			}
		}
	}
}

// becomesGenuine waits for a record's anchor.
func (s *server) becomesGenuine(rec record) {
	s.t.Helper()
	if !s.genuineWithin(rec, time.Minute) {
		s.t.Fatalf("record %s is not anchored\n%s", rec.Number, s.log)
	}
}

// genuineWithin waits so long for the same.
func (s *server) genuineWithin(rec record, patience time.Duration) bool {
	s.t.Helper()
	// between two questions
	for deadline := time.Now().Add(patience); s.verdict(rec).Verdict != proof.Genuine; time.Sleep(
		20 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// succeeds runs a command that must.
func (s site) succeeds(t testing.TB, verb ...string) string {
	t.Helper()
	out, errs, code := s.output(t, verb...)
	if code != 0 {
		t.Fatalf("stele %s: exit code %d: %s%s", strings.Join(verb, " "), code, out, errs)
	}
	return strings.TrimSpace(out)
}

// fails runs a command that must not succeed, and says why.
func (s site) fails(t testing.TB, says string, verb ...string) {
	t.Helper()
	if out, errs, code := s.output(t, verb...); code == 0 || !strings.Contains(errs, says) {
		t.Errorf("stele %s: exit code %d, want a message with %q, got: %s%s", strings.Join(verb, " "), code, says, out,
			errs)
	}
}

// A log changes its key: what was made before holds, what is made after holds also for those
// who pinned the trust roots from before, since the chain hands over. Twice, on both pairs of
// stores, with a crash at every step.
func TestLogKeyChanges(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, s site) {
		t.Parallel()
		srv := s.start(t)
		trusts := map[string]*proof.Trust{"the first trust roots": srv.trust}
		records := map[string]record{"a record from before": srv.notarize(digestRequest(newDigest(), "", "anchored"))}
		bundles := map[string][]byte{"a record from before": srv.bundle(records["a record from before"])}
		first := s.succeeds(t, "log-key")
		s.fails(t, "stele log-key next", "log-key", "switch")
		next := s.succeeds(t, "log-key", "next")
		if again := s.succeeds(t, "log-key", "next"); again != next || next == first {
			t.Fatalf("next key %s, then %s; the first was %s", next, again, first)
		}
		s.fails(t, "runs", "log-key", "switch")
		srv.stop()
		if s.succeeds(t, "log-key") != first {
			t.Error("a refused switch changed the key")
		}
		for i := range 2 {
			crashes(t, s)
			if s.succeeds(t, "log-key") != next {
				t.Fatalf("the key is %s, not %s", s.succeeds(t, "log-key"), next)
			}
			srv = s.start(t)
			name := "a record after change " + string(rune('1'+i))
			records[name] = srv.notarize(digestRequest(newDigest(), "", "anchored"))
			bundles[name] = srv.bundle(records[name])
			trusts["the trust roots after change "+string(rune('1'+i))] = srv.trust
			bundles["the first record, fetched again"], records["the first record, fetched again"] = srv.bundle(
				records["a record from before"]), records["a record from before"]
			srv.genuineFor(trusts, bundles, records)
			if len(srv.trust.Logs) != i+2 {
				t.Errorf("%d keys of the log in the trust roots", len(srv.trust.Logs))
			}
			srv.stop()
			s.fsck(t)
			next = s.succeeds(t, "log-key", "next")
		}
	})
}

// crashes leaves what a crash after each step of the switch leaves: no server starts then, and
// the same command goes on.
func crashes(t *testing.T, s site) {
	t.Helper()
	keys, trust := filepath.Join(s.data, "keys"), filepath.Join(s.data, "trust.json")
	before, former := must(os.ReadFile(trust)), must(os.ReadFile(filepath.Join(keys, "log.key")))
	for _, left := range []string{"log-next.key", "notary-next.crt"} { // as prepared: the server starts
		must(os.Stat(filepath.Join(keys, left)))
	}
	s.succeeds(t, "log-key", "switch")
	after := must(os.ReadFile(trust))
	// The trust roots were not written: the new key must not sign a thing.
	fatalIfErr(t, os.WriteFile(trust, before, 0o644))
	s.fails(t, "stele log-key switch", "serve", "--listen", "127.0.0.1:0")
	s.succeeds(t, "log-key", "switch")
	if slices.Equal(before, must(os.ReadFile(trust))) {
		t.Fatal("the switch was not finished")
	}
	// Nor may the former key sign when somebody brings it back.
	now := must(os.ReadFile(filepath.Join(keys, "log.key")))
	fatalIfErr(t, os.WriteFile(filepath.Join(keys, "log.key"), former, 0o600))
	s.fails(t, "not the log's present key", "serve", "--listen", "127.0.0.1:0")
	// Nor may a server whose key folder and trust roots are both from before: they fit each other.
	fatalIfErr(t, os.WriteFile(trust, before, 0o644))
	s.fails(t, "the log has another key than this server", "serve", "--listen", "127.0.0.1:0")
	// The same is left by a crash after the database has named the next key: the command goes on.
	fatalIfErr(t, os.WriteFile(filepath.Join(keys, "log-next.key"), now, 0o600))
	s.succeeds(t, "log-key", "switch")
	if again := must(os.ReadFile(filepath.Join(keys, "log.key"))); !slices.Equal(again, now) {
		t.Fatal("the switch was not finished")
	}
	fatalIfErr(t, os.WriteFile(trust, after, 0o644)) // whose times are those of the first switch
}

// What a former key signed after its time nobody can use: the record's bundle takes the next anchor,
// fsck finds the row, and a command removes it.
func TestAnchorOfAFormerKey(t *testing.T) {
	t.Parallel()
	s := site{data: folder(t)}
	srv := s.start(t)
	rec := srv.notarize(digestRequest(newDigest(), "", "anchored"))
	srv.stop()
	s.succeeds(t, "log-key", "next")
	s.succeeds(t, "log-key", "switch")
	// As if the key's time had been over before the record.
	trust := filepath.Join(s.data, "trust.json")
	over := regexp.MustCompile(`("notBefore":("[^"]*"),"notAfter":)"[^"]*"`)
	text := must(os.ReadFile(trust))
	if len(over.FindAll(text, -1)) != 1 {
		t.Fatalf("%s", text)
	}
	fatalIfErr(t, os.WriteFile(trust, over.ReplaceAll(text, []byte("$1$2")), 0o644))
	srv = s.start(t)
	if srv.get("/api/v1/records/"+rec.ID+"/bundle").status == http.StatusOK {
		t.Error("a bundle rests on a key whose time was over")
	}
	later := srv.notarize(digestRequest(newDigest(), "", "anchored"))
	srv.becomesGenuine(later)
	srv.demand(rec, proof.Genuine) // by the later anchor
	srv.stop()
	out, _, code := s.output(t, "fsck", "--json")
	if code == 0 || !strings.Contains(out, "key was not valid") {
		t.Errorf("fsck ends with %d: %s", code, out)
	}
	if found := s.succeeds(t, "repair-anchors"); !strings.Contains(found, "serves in its place") ||
		!strings.Contains(found, "key was not valid") {
		t.Errorf("found: %s", found)
	}
	s.succeeds(t, "repair-anchors", "--apply")
	if found := s.succeeds(t, "repair-anchors", "--json"); found != "[]" {
		t.Errorf("still: %s", found)
	}
	s.fsck(t)
	srv = s.start(t)
	srv.demand(rec, proof.Genuine)
	srv.stop()
}

// admit has the members of a network admit a log's key.
func (n *network) admit(key string) {
	n.t.Helper()
	var homes []string
	for _, city := range n.nodes {
		homes = append(homes, city.Home)
	}
	admit(n.t, key, filepath.Join(n.data, "keys", "passphrase"), homes)
}

// admit has three members of four admit a log's key, by commands in their homes.
func admit(t testing.TB, key, passphrase string, homes []string) {
	t.Helper()
	stele := func(args ...string) {
		t.Helper()
		cmd := exec.Command(must(binary()), args...)
		cmd.Env = command.ChildEnvironment()
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("stele %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	proposal := filepath.Join(t.TempDir(), "proposal.json")
	stele("node", "propose", "--home", homes[0], "--notary-add", key, "-o", proposal)
	fingerprint := must(readProposal(proposal)).Next.Hash().String()
	for _, home := range homes[:3] {
		stele("node", "sign", "--home", home, "--passphrase-file", passphrase, "--fingerprint", fingerprint, proposal)
	}
	stele("node", "submit", "--home", homes[0], proposal)
}

// On a network the members admit the next key first. What is received between their decision
// and the switch waits, and is anchored after it.
func TestLogKeyChangesOnNetwork(t *testing.T) {
	t.Parallel()
	n := startNetwork(t)
	var urls []string
	for _, city := range n.nodes {
		urls = append(urls, "http://"+city.API)
	}
	nodes := filepath.Join(n.data, "nodes")
	s := site{data: folder(t), args: []string{"--chain", "nodes", "--chain-nodes", strings.Join(urls, ","),
		"--chain-token-file", filepath.Join(nodes, "token")}}
	s.succeeds(t, "init", "--new-passphrase", "--origin", "second.example/"+command.Unique(), "--genesis",
		filepath.Join(nodes, "genesis.txt"), "--fingerprint", n.trust.Chains[0].Genesis.Hash().String())
	n.admit(s.succeeds(t, "log-key"))

	srv := s.start(t)
	trusts := map[string]*proof.Trust{"the first trust roots": srv.trust}
	records := map[string]record{"from before": srv.notarize(digestRequest(newDigest(), "", "anchored"))}
	next := s.succeeds(t, "log-key", "next")
	n.admit(next)
	records["between"] = srv.notarize(digestRequest(newDigest(), "", "logged"))
	n.await(0, "it to refuse the former key", func(s chainnet.Status) bool { return s.Refused["unknown_log"] > 0 })
	srv.stop()
	s.succeeds(t, "log-key", "switch")

	srv = s.start(t)
	srv.becomesGenuine(records["between"]) // nothing but the switch has happened since it was logged
	records["after"] = srv.notarize(digestRequest(newDigest(), "", "anchored"))
	trusts["the trust roots after the change"] = srv.trust
	bundles := map[string][]byte{}
	for name, r := range records {
		bundles[name] = srv.bundle(r)
	}
	srv.genuineFor(trusts, bundles, records)
	if s.succeeds(t, "log-key") != next {
		t.Error("the key is not the one that was admitted")
	}

	// A key that the members do not know yet: refused, unless it is urgent.
	next = s.succeeds(t, "log-key", "next")
	srv.stop()
	s.fails(t, "have not admitted", "log-key", "switch")
	s.succeeds(t, "log-key", "switch", "--unadmitted")
	srv = s.start(t)
	urgent := srv.notarize(digestRequest(newDigest(), "", "logged"))
	srv.demand(urgent, proof.Pending)
	n.admit(next)
	srv.becomesGenuine(urgent)
	srv.stop()
	s.fsck(t)
}
