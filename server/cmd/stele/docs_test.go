package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/evanw/esbuild/pkg/api"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"stele/storage/storagetest/freeport"
)

const root = "../../.."

// block is a fenced block of a page: its language, the file name after it, and its text.
type block struct{ language, name, text string }

var fence = regexp.MustCompile("(?ms)^```([a-z]+)(?: (\\S+))?\n(.*?)^```$")

func blocks(t *testing.T, page string) (out []block) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", page))
	fatalIfErr(t, err)
	for _, m := range fence.FindAllStringSubmatch(string(text), -1) {
		out = append(out, block{m[1], m[2], m[3]})
	}
	return out
}

// checkout is a folder that looks to commands as a checkout does while `make run` is under way.
func (s *server) checkout() string {
	s.t.Helper()
	dir := s.t.TempDir()
	path, err := binary()
	fatalIfErr(s.t, err)
	for _, sub := range []string{"bin", "docs"} {
		fatalIfErr(s.t, os.Mkdir(filepath.Join(dir, sub), 0o755))
	}
	sample, err := filepath.Abs(filepath.Join(root, "docs", "sample.pdf"))
	fatalIfErr(s.t, err)
	for name, target := range map[string]string{"data": s.data, "bin/stele": path, "docs/sample.pdf": sample} {
		fatalIfErr(s.t, os.Symlink(target, filepath.Join(dir, name)))
	}
	if out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "bin", "stele-verify"),
		"stele/notary/cmd/stele-verify").CombinedOutput(); err != nil {
		s.t.Fatalf("%v: %s", err, out)
	}
	return dir
}

// shell runs commands as a person types them, one block after another in one shell. A command
// that fails ends it. The addresses of the page stand for those of the test.
func (s *server) shell(dir, script string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-e", "-o", "pipefail", "-c",
		strings.ReplaceAll(script, "http://127.0.0.1:8080", s.info.URL))
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// needs fails where a program that examples need beside Go is missing.
func needs(t *testing.T, program, packages string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Fatalf("the examples in this language need %s: run make tools, or install the package %s", program, packages)
	}
}

// TestAPIGuide runs the commands of docs/api.md, in their order, and looks at what they bring about.
func TestAPIGuide(t *testing.T) {
	t.Parallel()
	s := site{data: folder(t)}.start(t, "--status-pause", "1s")
	var script strings.Builder
	for _, b := range blocks(t, "api.md") {
		if b.language == "sh" {
			script.WriteString(b.text + "echo\n")
		}
	}
	out := s.shell(s.checkout(), script.String())
	for want, times := range map[string]int{"genuine: ": 4, "Idempotency-Replayed: true": 1, `"status":422`: 2,
		`"reason":"Issued by mistake."`: 1, `"supersededBy":"420100-`: 1, `"bundle":"{\"format\"`: 1,
		`"code":"not_found"`:       1,
		`"type":"record.anchored"`: 2, `"name":"registry desk"`: 3, `"code":"invalid_request"`: 2,
		"Ratelimit-Policy: ": 1, `"verdict":"`: 3, `"caseNumber":"2026-17"`: 3, `"verdict":"superseded"`: 1} {
		if n := strings.Count(out, want); n < times {
			t.Errorf("%d times %s, want %d", n, want, times)
		}
	}
	if t.Failed() || strings.Contains(out, `"code":"unauthorized"`) || strings.Contains(out, `"code":"forbidden"`) ||
		strings.Contains(out, `"code":"internal"`) {
		t.Errorf("%s", out)
	}
}

// TestGuideNamesEverything: each call that is described has a row, each problem code too.
func TestGuideNamesEverything(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "api.md"))
	fatalIfErr(t, err)
	hooks, err := os.ReadFile(filepath.Join(root, "docs", "webhooks.md"))
	fatalIfErr(t, err)
	s := site{data: folder(t)}.start(t)
	for _, line := range strings.Split(string(s.get("/docs/errors").body), "\n")[2:] {
		if f := strings.Fields(line); len(f) > 1 && !strings.Contains(string(text), "| `"+f[0]+"` | "+f[1]+" |") {
			t.Errorf("docs/api.md has no row for the problem %s with status %s", f[0], f[1])
		}
	}
	var doc struct{ Paths map[string]any }
	s.get("/openapi.json").json(t, &doc)
	for path := range doc.Paths {
		page := string(text) + strings.ReplaceAll(string(hooks), "…", "/api/v1/webhooks")
		short := strings.NewReplacer("entries/{tile}", "entries/{tile}", "{tile}", "<level>",
			"/api/v1/keys/{id}", "/api/v1/keys/$ID").Replace(path)
		if !strings.Contains(page, short) && !strings.HasPrefix(path, "/api/v1/webhooks/{id}") {
			t.Errorf("neither docs/api.md nor docs/webhooks.md names %s", path)
		}
	}
}

// TestClientExamples runs what docs/clients.md shows, against the real program.
func TestClientExamples(t *testing.T) {
	t.Parallel()
	s := site{data: folder(t)}.start(t)
	all := blocks(t, "clients.md")
	t.Run("commands", func(t *testing.T) {
		var script strings.Builder
		for _, b := range all {
			if b.language == "sh" {
				script.WriteString(b.text)
			}
		}
		out := s.shell(s.checkout(), script.String())
		if n := strings.Count(out, "genuine: "); n != 4 {
			t.Errorf("%d of 4 answers are genuine:\n%s", n, out)
		}
	})
	programs := map[string]func(t *testing.T, dir, file string) []string{
		"go": func(t *testing.T, dir, file string) []string {
			abs, err := filepath.Abs(root)
			fatalIfErr(t, err)
			fatalIfErr(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module example\n\ngo 1.26.0\n"), 0o644))
			for _, args := range [][]string{{"work", "init", ".", abs}, {"build", "-o", "example", file}} {
				cmd := exec.Command("go", args...)
				cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOFLAGS=", "GOWORK=")
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("go %v: %v: %s", args, err, out)
				}
			}
			return []string{filepath.Join(dir, "example")}
		},
		"python": func(t *testing.T, _, file string) []string {
			needs(t, "python3", "python3")
			return []string{"python3", file}
		},
		"java": func(t *testing.T, _, file string) []string {
			needs(t, "java", "default-jdk-headless")
			return []string{"java", file}
		},
		"ts": func(t *testing.T, dir, file string) []string {
			needs(t, "node", "nodejs")
			return []string{"node", withoutTypes(t, dir, file)}
		},
	}
	seen := map[string]int{}
	for _, b := range all {
		prepare := programs[b.language]
		if b.language == "sh" {
			continue
		}
		if prepare == nil || b.name == "" {
			t.Errorf("a block of %q without a name, or in a language that this test cannot run", b.language)
			continue
		}
		seen[b.language]++
		t.Run(b.name, func(t *testing.T) {
			dir := t.TempDir()
			fatalIfErr(t, os.WriteFile(filepath.Join(dir, b.name), []byte(b.text), 0o644))
			args := prepare(t, dir, b.name)
			if strings.HasPrefix(strings.ToLower(b.name), "webhook") {
				s.example(t, dir).receives(args)
			} else {
				s.example(t, dir).notarizes(args)
			}
		})
	}
	for language := range programs {
		if seen[language] != 2 {
			t.Errorf("%s has %d examples, want 2", language, seen[language])
		}
	}
}

// withoutTypes is what a version of Node does that runs TypeScript; those before it need it done.
func withoutTypes(t *testing.T, dir, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, file))
	fatalIfErr(t, err)
	res := api.Transform(string(text), api.TransformOptions{Loader: api.LoaderTS, Format: api.FormatESModule,
		Target: api.ESNext})
	if len(res.Errors) > 0 {
		t.Fatalf("%+v", res.Errors)
	}
	name := strings.TrimSuffix(file, ".ts") + ".mjs"
	fatalIfErr(t, os.WriteFile(filepath.Join(dir, name), res.Code, 0o644))
	return name
}

// example is a program of a page that is run in a folder of its own.
type example struct {
	*server
	t   *testing.T
	dir string
}

func (s *server) example(t *testing.T, dir string) *example { return &example{s, t, dir} }

func (e *example) command(url string, args []string, env ...string) *exec.Cmd {
	cmd := exec.CommandContext(e.t.Context(), args[0], args[1:]...)
	cmd.Dir = e.dir
	cmd.Env = append(append(os.Environ(), "STELE_URL="+url, "STELE_KEY="+e.info.APIKey, "STELE_TRUST="+e.info.Trust),
		env...)
	return cmd
}

// notarizes runs a program on a bad network: the record is one all the same, and its bundle genuine.
func (e *example) notarizes(args []string) {
	t := e.t
	before := e.count()
	content := filepath.Join(e.dir, "document.bin")
	fatalIfErr(t, os.WriteFile(content, []byte(strings.Repeat(t.Name(), 5000)), 0o600))
	p := e.badProxy()
	p.will(loses, busy, cuts)
	for range 2 { // the second time gives the same record
		cmd := e.command(p.URL, append(args, content))
		var errs strings.Builder
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %s%s", err, out, &errs)
		}
		p.done(t)
		if code, report := e.offline(filepath.Join(e.dir, "bundle.json"), content); code != 0 ||
			!strings.Contains(report, strings.TrimSpace(string(out))) {
			t.Errorf("%s: %d %s", out, code, report)
		}
	}
	if n := e.count() - before; n != 1 {
		t.Errorf("%d records", n)
	}
}

// receives runs a receiver: it takes a genuine webhook, and no other.
func (e *example) receives(args []string) {
	t := e.t
	addr := freeport.Address(t)
	var hook struct{ ID, Secret string }
	e.post("/api/v1/webhooks", fmt.Sprintf(`{"url":"http://%s","events":["endpoint.disabled"]}`, addr),
		http.StatusCreated).json(t, &hook)
	log := &lockedBuffer{}
	cmd := e.command(e.info.URL, args, "WEBHOOK_SECRET="+hook.Secret, "WEBHOOK_LISTEN="+addr)
	cmd.Stdout, cmd.Stderr = log, log
	fatalIfErr(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	eventually(t, "the receiver listens", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	var ping struct{ ID string }
	e.post("/api/v1/webhooks/"+hook.ID+"/test", "", http.StatusAccepted).json(t, &ping)
	eventually(t, "the ping is delivered", func() bool {
		var page struct{ Deliveries []struct{ ID, Status string } }
		e.send("GET", "/api/v1/webhooks/"+hook.ID+"/deliveries", "", http.StatusOK).json(t, &page)
		return len(page.Deliveries) == 1 && page.Deliveries[0].ID == ping.ID && page.Deliveries[0].Status == "delivered"
	})
	eventually(t, "the ping is printed", func() bool { return strings.Contains(log.String(), ping.ID+" {") })
	e.refusesForgeries(addr, hook.Secret)
}

// refusesForgeries sends what only looks like a webhook.
func (e *example) refusesForgeries(addr, secret string) {
	t := e.t
	signer, err := standardwebhooks.NewWebhook(secret)
	fatalIfErr(t, err)
	body, now := []byte(`{"type":"ping"}`), time.Now()
	good, err := signer.Sign("msg_1", now, body)
	fatalIfErr(t, err)
	stale, err := signer.Sign("msg_1", now.Add(-time.Hour), body)
	fatalIfErr(t, err)
	for what, c := range map[string]struct {
		body, id, signature string
		at                  time.Time
		want                int
	}{
		"genuine, second token": {string(body), "msg_1", "v1,AAAA " + good + " v1sm2,AAAA", now, 204},
		"other body":            {`{"type":"pong"}`, "msg_1", good, now, 401}, "other id": {string(body), "msg_2", good,
			now, 401},
		"old": {string(body), "msg_1", stale, now.Add(-time.Hour), 401}, "no signature": {string(body), "msg_1", "",
			now, 401}, "other kind": {string(body), "msg_1", "v2," + strings.TrimPrefix(good, "v1,"), now, 401},
	} {
		t.Run(what, func(t *testing.T) {
			req, err := http.NewRequest("POST", "http://"+addr, strings.NewReader(c.body))
			fatalIfErr(t, err)
			for name, value := range map[string]string{"webhook-id": c.id, "webhook-timestamp": fmt.Sprint(c.at.Unix()),
				"webhook-signature": c.signature} {
				if value != "" {
					req.Header.Set(name, value)
				}
			}
			res, err := httpClient.Do(req)
			fatalIfErr(t, err)
			if res.Body.Close(); res.StatusCode != c.want {
				t.Errorf("%s: %d, want %d", what, res.StatusCode, c.want)
			}
		})
	}
}
