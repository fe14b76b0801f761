package web_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/issue/archive"
	"stele/notary/proof"
	"stele/notary/proof/prooftest"
)

// answer is what a channel says: a verdict and the certificate's number that it is about, which
// is empty where nothing that was found may be shown.
type answer struct {
	verdict proof.Verdict
	number  string
}

// asked is a file, and what happened to its records before the log was anchored, between that
// and the last checkpoint, and after it. The records are counted from 1, in the order in which
// they were made; of is the one that the answer is about, 0 for none.
type asked struct {
	name                       string
	anchored, logged, received func(*history)
	verdict                    proof.Verdict
	of                         int
}

// history makes the records of one file.
type history struct {
	*fixed
	*prooftest.World
	doc   []byte
	other prooftest.Agency
	made  []int // places in the store
}

func (h *history) issue() { h.made = append(h.made, h.add(h.Issue(h.doc))) }

// as does something as the other agency.
func (h *history) as(do func()) {
	h.Agency, h.other = h.other, h.Agency
	do()
	h.Agency, h.other = h.other, h.Agency
}

func (h *history) revoke(n int) {
	h.standing(h.made[n-1], notary.Revoked, h.Revoke(h.entries[h.made[n-1]], "依法撤销"), "")
}

// replace makes a record of the same file that replaces the one counted n.
func (h *history) replace(n int) { h.made = append(h.made, h.replaceBy(n, h.doc)) }

func (h *history) replaceBy(n int, doc []byte) int {
	later := h.Supersede(h.entries[h.made[n-1]], doc, "更正")
	h.standing(h.made[n-1], notary.Superseded, later, later.Statement.Number)
	return h.add(later)
}

// questions are the files with several records for which channels once differed, or could.
var questions = []asked{
	{name: "no record", verdict: proof.NotFound},
	{name: "both in force", anchored: func(h *history) { h.issue(); h.issue() }, verdict: proof.Genuine, of: 2},
	{name: "older withdrawn, newer in force", anchored: func(h *history) { h.issue(); h.revoke(1); h.issue() },
		verdict: proof.Genuine, of: 2},
	{name: "older in force, newer withdrawn", anchored: func(h *history) { h.issue(); h.issue(); h.revoke(2) },
		verdict: proof.Genuine, of: 1},
	{name: "both withdrawn", anchored: func(h *history) { h.issue(); h.issue(); h.revoke(1); h.revoke(2) },
		verdict: proof.Revoked, of: 2},
	{name: "replaced", anchored: func(h *history) { h.issue(); h.replace(1) }, verdict: proof.Genuine, of: 2},
	{name: "replaced, the replacement withdrawn", anchored: func(h *history) { h.issue(); h.replace(1); h.revoke(2) },
		verdict: proof.Revoked, of: 2},
	{name: "replaced twice, the last one withdrawn", verdict: proof.Revoked, of: 3,
		anchored: func(h *history) { h.issue(); h.replace(1); h.replace(2); h.revoke(3) }},
	{name: "replaced by another file's record", verdict: proof.Superseded, of: 1,
		anchored: func(h *history) { h.issue(); h.replaceBy(1, []byte("another plan")) }},
	{name: "replaced by another file's record, newer withdrawn", verdict: proof.Superseded, of: 1,
		anchored: func(h *history) { h.issue(); h.replaceBy(1, []byte("a third plan")); h.issue(); h.revoke(2) }},
	{name: "replaced by another file's record, newer in force", verdict: proof.Genuine, of: 2,
		anchored: func(h *history) { h.issue(); h.replaceBy(1, []byte("a fourth plan")); h.issue() }},
	{name: "two agencies, the newer withdrew", verdict: proof.Genuine, of: 1,
		anchored: func(h *history) { h.issue(); h.as(func() { h.issue(); h.revoke(2) }) }},
	{name: "two agencies, the older withdrew", verdict: proof.Genuine, of: 2,
		anchored: func(h *history) { h.issue(); h.as(h.issue); h.revoke(1) }},
	{name: "older anchored, newer not yet", anchored: (*history).issue, logged: (*history).issue,
		verdict: proof.Genuine, of: 1},
	{name: "older anchored, newer only received", anchored: (*history).issue, received: (*history).issue,
		verdict: proof.Genuine, of: 1},
	{name: "older withdrawn, newer not anchored yet", anchored: func(h *history) { h.issue(); h.revoke(1) },
		logged: (*history).issue, verdict: proof.Pending, of: 2},
	{name: "older withdrawn, newer only received", anchored: func(h *history) { h.issue(); h.revoke(1) },
		received: (*history).issue, verdict: proof.Unverifiable}, // the newer one may be the one in force
	{name: "replaced, the replacement not anchored yet", anchored: (*history).issue,
		logged: func(h *history) { h.replace(1) }, verdict: proof.Pending, of: 2},
	{name: "replaced, the replacement only received", anchored: (*history).issue,
		received: func(h *history) { h.replace(1) }, verdict: proof.Unverifiable},
	{name: "in force below twenty withdrawn", verdict: proof.Genuine, of: 1, anchored: func(h *history) {
		h.issue()
		for n := range 20 {
			h.issue()
			h.revoke(n + 2)
		}
	}},
}

// newQuarter serves a town in which each question's file has its records, and returns the answers
// that are right, by question.
func newQuarter(t *testing.T) (*town, map[string]answer) {
	t.Helper()
	w := prooftest.New(prooftest.Options{Validators: 4})
	f := &fixed{evidence: map[uint64]archive.Stored{}}
	other := w.NewAgency(prooftest.USCC("11420100000000001"), "江城市公安局")
	histories := map[string]*history{}
	for _, q := range questions {
		histories[q.name] = &history{fixed: f, World: w, doc: []byte(q.name), other: other}
	}
	happens := func(what func(asked) func(*history)) {
		for _, q := range questions {
			if do := what(q); do != nil {
				do(histories[q.name])
			}
		}
	}
	happens(func(q asked) func(*history) { return q.anchored })
	f.anchor(w, w.Checkpoint())
	happens(func(q asked) func(*history) { return q.logged })
	f.log(w.Checkpoint())
	happens(func(q asked) func(*history) { return q.received })
	want := map[string]answer{}
	for _, q := range questions {
		a := answer{verdict: q.verdict}
		if q.of > 0 {
			a.number = f.records[histories[q.name].made[q.of-1]].Number
		}
		want[q.name] = a
	}
	return newTown(t, roomy(), func(to *town) { to.store.fixed, to.trust = *f, w.Trust().Encode() }), want
}

// TestOneAnswer asks every channel the same questions: what is this file? All must give the
// same verdict about the same certificate.
func TestOneAnswer(t *testing.T) {
	to, want := newQuarter(t)
	b := open(t, browser(t), desktop)
	check := checker(t, to)
	for _, q := range questions {
		t.Run(q.name, func(t *testing.T) {
			for channel, ask := range map[string]func(*testing.T, []byte) answer{
				"API": to.askAPI, "form": to.askForm, "page": b.asker(to), "command line": check,
			} {
				t.Run(channel, func(t *testing.T) {
					if got := ask(t, []byte(q.name)); got != want[q.name] {
						t.Errorf("%s: %+v, want %+v", channel, got, want[q.name])
					}
				})
			}
		})
	}
}

func (to *town) askAPI(t *testing.T, doc []byte) answer {
	return to.postAPI(t, fmt.Sprintf(`{"sm3":%q}`, sm.Sum(doc)))
}

// postAPI asks the API; where nothing could be checked, its status must say so.
func (to *town) postAPI(t *testing.T, body string) answer {
	t.Helper()
	req := request(t, http.MethodPost, to.URL+"/api/v1/verify", strings.NewReader(body), "Content-Type",
		"application/json")
	res, text := do(t, req)
	a, r := answerIn(t, []byte(text))
	status := http.StatusOK
	if len(r.Steps) == 0 && r.Verdict != proof.NotFound {
		status = http.StatusServiceUnavailable
	}
	if res.StatusCode != status {
		t.Errorf("status %d, want %d: %s", res.StatusCode, status, text)
	}
	return a
}

// answerIn is what a report says where its claims may be shown.
func answerIn(t *testing.T, report []byte) (answer, *proof.Report) {
	t.Helper()
	r := &proof.Report{}
	if err := json.Unmarshal(report, r); err != nil {
		t.Fatalf("%v: %s", err, report)
	}
	if !r.Shows() {
		return answer{verdict: r.Verdict}, r
	}
	return answer{r.Verdict, r.Number}, r
}

var linkToRecord = regexp.MustCompile(`class="actions">.*<a class="button" href="/r/([^"]+)"`)

func (to *town) askForm(t *testing.T, doc []byte) answer { return to.postForm(t, file(doc)) }

func (to *town) postForm(t *testing.T, parts ...part) answer {
	t.Helper()
	_, html := to.post(t, parts...)
	a := answer{verdict: proof.Verdict(verdictOf(html))}
	if m := linkToRecord.FindStringSubmatch(html); m != nil {
		a.number = m[1]
	}
	return a
}

// asker checks a file on the page, in the browser.
func (b *tab) asker(to *town) func(*testing.T, []byte) answer {
	return func(t *testing.T, doc []byte) answer {
		return b.ask(to, files(t, map[string][]byte{"document.pdf": doc})("document.pdf"))
	}
}

func (b *tab) ask(to *town, chosen ...string) answer {
	b.T.Helper()
	b.GoTo(to.URL + "/")
	b.Choose(chosen...)
	a := answer{verdict: proof.Verdict(b.Verdict())}
	link := `document.querySelector('#result .actions a[href^="/r/"]')`
	b.Eval(`(`+link+`?.getAttribute('href') ?? '').replace('/r/', '')`, &a.number)
	return a
}

// checker asks with the command line, of which the exit code must be the verdict's.
func checker(t *testing.T, to *town) func(*testing.T, []byte) answer {
	t.Helper()
	program := filepath.Join(t.TempDir(), "stele")
	build := exec.Command("go", "build", "-tags", "fewrounds", "-o", program, "stele/server/cmd/stele")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	trust := files(t, map[string][]byte{"trust.json": to.trust})("trust.json")
	return func(t *testing.T, doc []byte) answer {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, "check", "--url", to.URL, "--trust", trust, "--json", "-")
		cmd.Stdin = bytes.NewReader(doc)
		out, _ := cmd.Output() // the exit code is looked at below
		a, _ := answerIn(t, out)
		if code := cmd.ProcessState.ExitCode(); code != a.verdict.Row().Exit {
			t.Errorf("exit code %d with %s", code, a.verdict)
		}
		return a
	}
}

// TestOneAnswerAboutABundle: a bundle cannot know what became of its record; every channel
// that is connected says so alike, with the document and without it.
func TestOneAnswerAboutABundle(t *testing.T) {
	to := newTown(t, roomy())
	anchored := newTown(t, roomy())
	anchored.advance(true)
	b := open(t, browser(t), desktop)
	for _, c := range []struct {
		name    string
		to      *town
		doc     []byte // of the bundle
		file    []byte // that is checked with it; nil for none
		verdict proof.Verdict
	}{
		{"nothing new", to, docGenuine, docGenuine, proof.Genuine},
		{"nothing new, no file", to, docGenuine, nil, proof.Unverifiable},
		{"withdrawn since", to, docRevoked, docRevoked, proof.Revoked},
		{"withdrawn since, no file", to, docRevoked, nil, proof.Revoked},
		{"replaced since", to, docSuperseded, docSuperseded, proof.Superseded},
		{"replaced since, another file", to, docSuperseded, docNewPlan, proof.Altered},
		{"not anchored yet", to, docPending, docPending, proof.Pending},
		{"anchored since", anchored, docPending, docPending, proof.Genuine},
		{"anchored since, no file", anchored, docPending, nil, proof.Unverifiable},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := c.to.bundles[string(c.doc)]
			want := answer{c.verdict, c.to.numbers[string(c.doc)]}
			given := files(t, map[string][]byte{"b.json": text, "f.pdf": c.file})
			body := map[string]string{"bundle": string(text)}
			chosen, parts := []string{given("b.json")}, []part{bundle(text)}
			if c.file != nil {
				chosen, parts = append(chosen, given("f.pdf")), append(parts, file(c.file))
				body["sm3"] = sm.Sum(c.file).String()
			}
			asJSON, err := json.Marshal(body)
			fatalIfErr(t, err)
			for channel, got := range map[string]answer{
				"API": c.to.postAPI(t, string(asJSON)), "form": c.to.postForm(t, parts...),
				"page": b.ask(c.to, chosen...),
			} {
				if got != want {
					t.Errorf("%s: %+v, want %+v", channel, got, want)
				}
			}
		})
	}
}

// TestEveryVerdictIsDrawn: each verdict of the table has an icon of its own.
func TestEveryVerdictIsDrawn(t *testing.T) {
	icons, err := os.ReadFile("../../../ui/templates/part_icons.html")
	fatalIfErr(t, err)
	for _, row := range proof.Verdicts() {
		if s := fmt.Sprintf(`<symbol id="v-%s" `, row.Verdict); !strings.Contains(string(icons), s) {
			t.Errorf("there is no %s", s)
		}
	}
}
