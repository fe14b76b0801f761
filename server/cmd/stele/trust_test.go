package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/prooftest"
	"stele/notary/proof/trustfile"
)

// workbench is a folder in which a person makes trust files.
type workbench struct {
	t   *testing.T
	dir string
}

func newWorkbench(t *testing.T) workbench {
	d := workbench{t, t.TempDir()}
	d.file("pass", []byte("correct horse battery\n"))
	t.Setenv("STELE_PASSPHRASE_FILE", d.path("pass"))
	return d
}

func (d workbench) path(name string) string { return filepath.Join(d.dir, name) }

func (d workbench) file(name string, data []byte) string {
	d.t.Helper()
	fatalIfErr(d.t, os.WriteFile(d.path(name), data, 0o600))
	return d.path(name)
}

// trust runs stele trust; words that end in .json, .sig or .key are files on it.
func (d workbench) trust(args ...string) (int, string) {
	d.t.Helper()
	all := []string{"trust"}
	for _, a := range args {
		for _, end := range []string{".json", ".sig", ".key"} {
			if strings.HasSuffix(a, end) && !filepath.IsAbs(a) {
				a = d.path(a)
			}
		}
		all = append(all, a)
	}
	var out bytes.Buffer
	code := run(d.t.Context(), all, strings.NewReader(""), &out, &out)
	return code, out.String()
}

// does demands an exit code and words of the output.
func (d workbench) does(code int, says string, args ...string) string {
	d.t.Helper()
	got, out := d.trust(args...)
	if got != code || !strings.Contains(out, says) {
		d.t.Errorf("stele trust %s: exit code %d, want %d and %q:\n%s", strings.Join(args, " "), got, code, says, out)
	}
	return out
}

func (d workbench) parsed(name string) *proof.Trust {
	d.t.Helper()
	return must(proof.ParseTrust(must(os.ReadFile(d.path(name)))))
}

func (d workbench) lacks(name string) {
	d.t.Helper()
	if _, err := os.Stat(d.path(name)); err == nil {
		d.t.Errorf("%s was written", name)
	}
}

var officeCode = prooftest.USCC("11420100MB1743225")

// TestTrustOfSeveralCities is the procedure of docs/operations.md: make, merge, sign, check, compare.
func TestTrustOfSeveralCities(t *testing.T) {
	d := newWorkbench(t)
	a, b := prooftest.New(prooftest.Options{Seed: "a", Validators: 2}), prooftest.New(prooftest.Options{Seed: "b"})
	d.file("a.json", append(a.Trust().Encode(), '\n'))
	d.file("b.json", b.Trust().Encode())
	d.does(1, "does not say for whom it speaks", "merge", "a.json", "b.json", "--out", "all.json")
	d.lacks("all.json")
	d.does(0, "1 roots", "make", "--from", "a.json", "--region", "35", "--late", "1h",
		"--member", "city-0=江城市数据局: A=B:"+officeCode, "--out", "a2.json")
	d.does(0, "cannot be merged", "make", "--from", "b.json", "--out", "b1.json")
	d.does(0, "", "make", "--from", "b.json", "--code", officeCode, "--log", b.Origin(), "--out", "b2.json")
	d.does(0, "2 roots, 2 log keys, 2 chains", "merge", "b2.json", "a2.json", "--out", "all.json")
	d.does(0, "", "merge", "a2.json", "b2.json", "--out", "again.json")
	d.does(0, "say the same", "diff", "all.json", "again.json")

	all := d.parsed("all.json")
	document := []byte("a deed")
	digest := sm.Sum(document)
	if r := proof.Verify(all, &digest, a.Notarize(document).Encode()); r.Verdict != proof.Genuine {
		t.Errorf("%s: %s", r.Verdict, r.Summary)
	}
	if all.Late != time.Hour {
		t.Errorf("late after %v", all.Late)
	}
	m := d.parsed("a2.json").Chains[0].Members
	if len(m) != 1 || m[0].Organization != "江城市数据局: A=B" || m[0].Code != officeCode {
		t.Errorf("%+v", m)
	}
	show := d.does(0, "speaks  for regions 35 in logs "+a.Origin(), "show", "all.json")
	for _, part := range []string{"江城市数据局: A=B (" + officeCode + ")", "no organization is named",
		"anchors " + b.Chain.Genesis.Chain, b.Chain.Genesis.Hash().String()} {
		if !strings.Contains(show, part) {
			t.Errorf("%q is not shown:\n%s", part, show)
		}
	}
	var shown shownTrust
	fatalIfErr(t, json.Unmarshal([]byte(d.does(0, "", "show", "--json", "all.json")), &shown))
	if len(shown.Roots) != 2 || len(shown.Chains) != 2 || shown.Format != proof.TrustV2 {
		t.Errorf("%+v", shown)
	}

	const name = "province.example/trust"
	key := strings.TrimSpace(d.does(0, name+"+", "key", "--name", name, "--out", "trust.key"))
	other := strings.TrimSpace(d.does(0, name+"+", "key", "--name", name, "--out", "other.key"))
	d.does(0, key, "sign", "all.json", "--key", "trust.key")
	d.does(0, "was signed by province.example/trust", "check", "all.json", "--key", key)
	d.does(1, "not by the key "+other, "check", "all.json", "--signature", "all.json.sig", "--key", other)
	d.does(1, "signed another file", "check", "a2.json", "--signature", "all.json.sig", "--key", key)
	d.does(2, "no such file", "check", "a2.json", "--key", key)
	d.does(2, "name+hex+base64", "check", "all.json", "--key", "province.example")
	d.does(2, "is there already", "sign", "all.json", "--key", "trust.key")
	d.does(2, "not written over", "key", "--name", "x", "--out", "trust.key")
	d.does(2, "printable ASCII", "key", "--name", "a b", "--out", "third.key")
	d.does(2, "no such file", "sign", "all.json", "--key", "third.key", "--out", "x.sig")
	d.does(2, "is of another key", "sign", "all.json", "--key", d.swapped("trust.key", "other.key"), "--out", "x.sig")
	d.file("pass", []byte("another passphrase\n"))
	d.does(2, "wrong passphrase", "sign", "all.json", "--key", "trust.key", "--out", "x.sig")
	d.lacks("x.sig")
}

// swapped is a key with the public half of another.
func (d workbench) swapped(key, public string) string {
	d.file("swapped.key", must(os.ReadFile(d.path(key))))
	d.file("swapped.key.pub", must(os.ReadFile(d.path(public+".pub"))))
	return "swapped.key"
}

// TestTrustRefuses: each verb says what is wrong, with its exit code, and writes nothing.
func TestTrustRefuses(t *testing.T) {
	d := newWorkbench(t)
	w := prooftest.New(prooftest.Options{Validators: 2})
	d.file("a.json", w.Trust().Encode())
	scoped := must(trustfile.Make(w.Trust(), trustfile.Change{Regions: []string{"35"}}, nil))
	d.file("scoped.json", scoped.Encode())
	d.file("rubbish.json", []byte("{}"))
	d.file("there.json", nil)
	two := prooftest.New(prooftest.Options{Seed: "two"})
	unfit := w.Trust()
	unfit.Roots = append(unfit.Roots, two.Trust().Roots...)
	d.file("unfit.json", unfit.Encode())
	for name, c := range map[string]struct {
		code int
		says string
		args []string
	}{
		"a region of no form": {
			2, "is no region", []string{"make", "--from", "a.json", "--region", "x", "--out", "o.json"}},
		"a member of no form": {
			2, "NAME=ORGANIZATION:CODE", []string{"make", "--from", "a.json", "--member", "city-0", "--out", "o.json"}},
		"a member that is not": {
			2, `"city-0" "city-1"`,
			[]string{"make", "--from", "a.json", "--member", "city-7=x:" + officeCode, "--out", "o.json"}},
		"no output":           {2, "--out", []string{"make", "--from", "a.json"}},
		"make over a file":    {2, "not written over", []string{"make", "--from", "a.json", "--out", "there.json"}},
		"make over its input": {2, "not written over", []string{"make", "--from", "a.json", "--out", "a.json"}},
		"merge over a file":   {2, "not written over", []string{"merge", "scoped.json", "--out", "there.json"}},
		"merge what contradicts": {
			1, "contradict each other", []string{"merge", "a.json", "scoped.json", "--out", "o.json"}},
		"merge rubbish": {
			2, "malformed trust roots", []string{"merge", "a.json", "rubbish.json", "--out", "o.json"}},
		"merge what is not there": {2, "no such file", []string{"merge", "a.json", "nowhere.json", "--out", "o.json"}},
		"files that differ":       {1, "changed  scope", []string{"diff", "a.json", "scoped.json"}},
		"the same as JSON":        {0, "[]", []string{"diff", "--json", "a.json", "a.json"}},
		"differences as JSON":     {1, `"what": "scope"`, []string{"diff", "--json", "a.json", "scoped.json"}},
		"diff of rubbish":         {2, "malformed trust roots", []string{"diff", "a.json", "rubbish.json"}},
		"show what is not there":  {2, "no such file", []string{"show", "nowhere.json"}},
		"show what nobody takes":  {0, "No verifier takes this file", []string{"show", "unfit.json"}},
		"sign what nobody takes": {
			2, "each must say for which agencies", []string{"sign", "unfit.json", "--key", "k.key"}},
		"update from rubbish": {
			2, "no saved answer", []string{"update", "a.json", "--from", d.path("rubbish.json"), "--out", "o.json"}},
		"update from nowhere": {
			2, "no such file", []string{"update", "a.json", "--from", "nowhere.json", "--out", "o.json"}},
		"update from no service": {
			1, "base URL", []string{"update", "a.json", "--from", "http://user@127.0.0.1:1", "--out", "o.json"}},
		"update over a file": {
			2, "not written over",
			[]string{"update", "a.json", "--from", d.answer(w, "none.json", 0), "--out", "there.json"}},
		"update, another chain": {
			1, "not of", []string{"update", "a.json", "--from", "none.json", "--chain", "egov-x", "--out", "o.json"}},
		"update, a stranger's list": {
			1, "do not pin the chain",
			[]string{"update", "a.json", "--from", d.answer(two, "two.json", 1), "--out", "o.json"}},
	} {
		t.Run(name, func(t *testing.T) {
			d.t = t
			if c.args[0] == "sign" {
				d.does(0, "", "key", "--name", "x", "--out", "k.key")
			}
			d.does(c.code, c.says, c.args...)
			d.lacks("o.json")
		})
	}
	// No passphrase is left over for a key that could not be made.
	d.t = t
	for _, out := range []string{"there.json", "nowhere/k.key"} {
		d.does(2, "", "key", "--name", "x", "--out", out, "--passphrase-file", d.path("pp"), "--new-passphrase")
		d.lacks("pp")
	}
}

// TestTrustProcedure runs the commands of docs/operations.md as they stand there: two cities on one
// chain, which hands over.
func TestTrustProcedure(t *testing.T) {
	d := newWorkbench(t)
	t.Setenv("STELE_PASSPHRASE_FILE", "")
	os.Unsetenv("STELE_PASSPHRASE_FILE") // Setenv brings back what was there
	a, b := prooftest.New(prooftest.Options{Seed: "a", Validators: 4}), prooftest.New(prooftest.Options{Seed: "b"})
	d.file("city-a.json", a.Trust().Encode())
	theirs := b.Trust()
	theirs.Chains = a.Trust().Chains
	d.file("city-b.json", theirs.Encode())
	d.file("bundle.json", a.Notarize([]byte("a deed")).Encode())
	d.file("document.pdf", []byte("a deed"))
	epoch := a.Chain.HandOver(a.Chain.Members[:3], a.Chain.Genesis.Notaries)
	header := a.Chain.Header(a.Now, a.Checkpoint().Checkpoint)
	var sigs []map[string]any
	for _, c := range a.Chain.Cosign(header.Text()) {
		sigs = append(sigs, map[string]any{"validator": c.Validator, "signature": c.Signature})
	}
	first := map[string]any{"header": header.Text(), "cosignatures": sigs}
	d.file("answer", must(json.Marshal(map[string]any{"chain": epoch.Chain, "newest": 1, "epochs": []any{
		map[string]any{"number": 1, "signed": string(must(epoch.Marshal())), "first": first}}})))

	script := ""
	for _, b := range blocks(t, "operations.md") {
		if strings.Contains(b.text, "stele trust ") {
			script += b.text
		}
	}
	script = strings.Replace(script, "KEY=", "cp trust-2026-11.json from-city-b.json; KEY=", 1) // what city B publishes
	for _, city := range []string{"a", "b"} {
		script = strings.ReplaceAll(script, "https://stele.city-"+city+".example.gov.cn", "answer")
	}
	program := must(binary())
	cmd := exec.CommandContext(t.Context(), "sh", "-e", "-c", script)
	cmd.Dir, cmd.Env = d.dir, append(os.Environ(), "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	for _, part := range []string{"2 roots", "was signed by province.example.gov.cn/trust", "genuine: ",
		"Pinned epoch 1 of chain " + epoch.Chain} {
		if !strings.Contains(string(out), part) {
			t.Errorf("%q is not printed:\n%s", part, out)
		}
	}
	if strings.Count(string(out), "Both files say the same.") != 2 {
		t.Errorf("%s", out)
	}
}

// answer saves what a service would say of a world's chain after some hand-overs.
func (d workbench) answer(w *prooftest.World, name string, handOvers int) string {
	for range handOvers {
		w.Chain.HandOver(w.Chain.Members, nil)
	}
	type epoch map[string]any
	epochs := []epoch{}
	for _, e := range w.Chain.Epochs {
		epochs = append(epochs, epoch{"number": e.Number, "signed": string(must(e.Marshal()))})
	}
	all := map[string]any{"chain": w.Chain.Genesis.Chain, "newest": len(epochs), "epochs": epochs}
	return d.file(name, must(json.Marshal(all)))
}

// TestTrustMakeWithEpochs: names are those of the newest epoch.
func TestTrustMakeWithEpochs(t *testing.T) {
	d := newWorkbench(t)
	w := prooftest.New(prooftest.Options{Validators: 2})
	d.file("a.json", w.Trust().Encode())
	next := prooftest.NewMember("next", "city-9", 10)
	w.Chain.HandOver([]prooftest.Member{w.Chain.Members[0], next}, nil)
	d.answer(w, "epochs.json", 0)
	member := "city-9=江城市数据局:" + officeCode
	d.does(2, "no validator of this name", "make", "--from", "a.json", "--member", member, "--out", "o.json")
	d.does(0, "", "make", "--from", "a.json", "--member", member, "--epochs", "epochs.json", "--out", "o.json")
	if m := d.parsed("o.json").Chains[0].Members; len(m) != 1 || !m[0].Key.Equal(next.Validator.Key) {
		t.Errorf("%+v", m)
	}
	d.does(0, "of a later epoch", "show", "o.json")
	out := d.does(0, "no header of its own", "update", "o.json", "--from", "epochs.json", "--out", "u.json")
	if !strings.Contains(out, "validators city-0:") {
		t.Errorf("who lacks a name is not said: %s", out)
	}
}

// TestTrustUpdate follows the hand-over of a running instance, believing neither it nor a file.
func TestTrustUpdate(t *testing.T) {
	d := newWorkbench(t)
	site := site{data: folder(t)}
	s := site.start(t)
	d.file("old.json", must(os.ReadFile(s.info.Trust)))
	records := map[string]record{"before": s.notarize(digestRequest(newDigest(), "", "anchored"))}
	bundles := map[string][]byte{"before": s.bundle(records["before"])}
	d.does(0, "Nothing new", "update", "old.json", "--from", s.info.URL, "--out", "same.json")
	site.succeeds(t, "log-key", "next")
	s.stop()
	site.succeeds(t, "log-key", "switch")
	s = site.start(t)
	records["after"] = s.notarize(digestRequest(newDigest(), "", "anchored"))
	bundles["after"] = s.bundle(records["after"])

	chain := s.trust.Chains[0].Genesis.Chain
	d.does(0, "Pinned epoch 1 of chain "+chain,
		"update", "old.json", "--from", s.info.URL, "--chain", chain, "--out", "new.json")
	answer := s.get("/api/v1/chain/epochs").body
	d.file("answer.json", answer)
	d.does(0, "the first header that it certified", "update", "old.json", "--from", "answer.json", "--out",
		"saved.json")
	d.does(0, "say the same", "diff", "new.json", "saved.json")
	d.does(1, "added    epoch", "diff", "old.json", "new.json")
	d.does(0, "Nothing new", "update", "new.json", "--from", s.info.URL, "--out", "newer.json")
	d.does(0, "say the same", "diff", "new.json", "newer.json")
	header := s.header(records["after"])
	if pinned := d.parsed("new.json").Chains[0].Epochs; len(pinned) != 1 || pinned[0].From.After(header.Time()) {
		t.Errorf("%+v, and a header of %v", pinned, header.Time())
	}
	s.genuineFor(map[string]*proof.Trust{"the updated trust roots": d.parsed("new.json")}, bundles, records)

	lying := func(old, new string) string {
		if bytes.Count(answer, []byte(old)) == 0 {
			t.Fatalf("%q is not in %s", old, answer)
		}
		liar := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/trust/successions.json") { // as of a service that is older than they are
				http.NotFound(rw, r)
				return
			}
			_, _ = rw.Write(bytes.Replace(answer, []byte(old), []byte(new), 1))
		}))
		t.Cleanup(liar.Close)
		return liar.URL
	}
	for _, lie := range [][3]string{
		{`\nprevious `, `\nprevious 0`, "epoch 1 in the answer"},
		{"anchors 1 ", "anchors 2 ", "first header of epoch 1"},
		{`"chain":"`, `"chain":"x`, "do not pin the chain"},
	} {
		d.does(1, lie[2], "update", "old.json", "--from", lying(lie[0], lie[1]), "--out", "lie.json")
	}
	s.stop()
	d.does(3, "cannot be reached", "update", "old.json", "--from", s.info.URL, "--out", "lie.json")
	d.lacks("lie.json")
}
