package webtest

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Fox is Firefox with one page, for what must work in another engine than Chromium's too. It is
// spoken to by Marionette, the protocol that is built into it: a length, a colon, and JSON.
type Fox struct {
	T        testing.TB
	Look     Look
	Patience time.Duration

	conn net.Conn
	in   *bufio.Reader
	last int
	says *output
}

// output is what the browser prints, which a test looks at while it runs.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

// faults are the lines about scripts and policies that a person would never see.
func (o *output) faults() (out []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, line := range strings.Split(o.text.String(), "\n") {
		if strings.Contains(line, "JavaScript error: http") || strings.Contains(line, "JavaScript error: file") ||
			strings.Contains(line, "Content-Security-Policy: The page") {
			out = append(out, line)
		}
	}
	return out
}

// foxSettings make a profile quiet: it asks nobody for updates, shows no tour, and prints faults.
var foxSettings = map[string]any{
	"app.normandy.enabled": false, "app.update.disabledForTesting": true, "browser.aboutwelcome.enabled": false,
	"browser.dom.window.dump.enabled":   true,
	"browser.shell.checkDefaultBrowser": false, "datareporting.policy.dataSubmissionEnabled": false,
	"devtools.console.stdout.content": true,
	"extensions.update.enabled":       false, "marionette.port": 0, "network.captive-portal-service.enabled": false,
	"network.connectivity-service.enabled": false,
	"services.settings.server":             "data:,#remote-settings-dummy/v1", "toolkit.telemetry.enabled": false,
}

// Firefox starts one for the test, with a profile of its own.
func Firefox(t testing.TB, l Look) *Fox {
	t.Helper()
	needsBrowser(t)
	path, err := exec.LookPath("firefox-esr")
	if err != nil {
		if path, err = exec.LookPath("firefox"); err != nil {
			t.Fatal("this test needs Firefox; install it with: make tools")
		}
	}
	profile := t.TempDir()
	var prefs bytes.Buffer
	for name, value := range foxSettings {
		fmt.Fprintf(&prefs, "user_pref(%q, %s);\n", name, encode(value))
	}
	fmt.Fprintf(&prefs, "user_pref(%q, %q);\n", "intl.accept_languages", l.Lang)
	fatalIfErr(t, os.WriteFile(filepath.Join(profile, "user.js"), prefs.Bytes(), 0o600))
	f := &Fox{T: t, Look: l, Patience: 2 * Patience, says: &output{}}
	cmd := exec.Command(path, "--headless", "--marionette", "--no-remote", "--profile", profile, "--width",
		strconv.FormatInt(l.Width, 10), "--height", strconv.FormatInt(l.Height, 10))
	cmd.Env = append(os.Environ(), "HOME="+profile, "MOZ_CRASHREPORTER_DISABLE=1")
	cmd.Stdout, cmd.Stderr = f.says, f.says
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	fatalIfErr(t, cmd.Start())
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // with the processes of its pages
		_ = cmd.Wait()
		if faults := f.says.faults(); len(faults) > 0 {
			t.Errorf("Firefox reports:\n%s", strings.Join(faults, "\n"))
		}
	})
	f.connect(filepath.Join(profile, "MarionetteActivePort"))
	return f
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // settings and arguments of tests
	}
	return b
}

// connect waits for the port that the browser writes into its profile.
func (f *Fox) connect(file string) {
	f.T.Helper()
	// a file has no channel to wait on
	for deadline := time.Now().Add(90 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if port, err := os.ReadFile(file); err == nil {
			if f.conn, err = net.Dial("tcp", "127.0.0.1:"+strings.TrimSpace(string(port))); err == nil {
				break
			}
		}
		if time.Now().After(deadline) {
			f.T.Fatalf("Firefox does not start:\n%s", f.says.text.String())
		}
	}
	f.T.Cleanup(func() { f.conn.Close() })
	f.in = bufio.NewReader(f.conn)
	f.read() // who is there
	f.call("WebDriver:NewSession",
		map[string]any{
			"capabilities": map[string]any{"alwaysMatch": map[string]any{"unhandledPromptBehavior": "accept"}}})
	f.call("WebDriver:SetTimeouts", map[string]any{"script": f.Patience.Milliseconds(),
		"pageLoad": f.Patience.Milliseconds()})
}

func (f *Fox) read() []byte {
	f.T.Helper()
	fatalIfErr(f.T, f.conn.SetReadDeadline(time.Now().Add(f.Patience+10*time.Second)))
	size, err := f.in.ReadString(':')
	fatalIfErr(f.T, err)
	n, err := strconv.Atoi(strings.TrimSuffix(size, ":"))
	fatalIfErr(f.T, err)
	b := make([]byte, n)
	_, err = io.ReadFull(f.in, b)
	fatalIfErr(f.T, err)
	return b
}

// call makes one call and returns its value.
func (f *Fox) call(command string, parameters map[string]any) json.RawMessage {
	f.T.Helper()
	f.last++
	b := encode([]any{0, f.last, command, parameters})
	_, err := fmt.Fprintf(f.conn, "%d:%s", len(b), b)
	fatalIfErr(f.T, err)
	var answer [4]json.RawMessage
	fatalIfErr(f.T, json.Unmarshal(f.read(), &answer))
	if string(answer[2]) != "null" {
		f.T.Fatalf("%s: %s", command, answer[2])
	}
	var v struct{ Value json.RawMessage }
	if json.Unmarshal(answer[3], &v) != nil || v.Value == nil {
		return answer[3]
	}
	return v.Value
}

// GoTo opens an address.
func (f *Fox) GoTo(url string) {
	f.T.Helper()
	f.call("WebDriver:Navigate", map[string]any{"url": url})
}

// Eval evaluates an expression of the page, and waits for it where it is a promise.
func (f *Fox) Eval(expression string, into any) {
	f.T.Helper()
	script := `const done = arguments[arguments.length - 1]; (async () => (` + expression +
		`))().then((v) => done({ v }), (e) => done({ e: String(e) }))`
	var got struct {
		V json.RawMessage
		E string
	}
	fatalIfErr(f.T,
		json.Unmarshal(f.call("WebDriver:ExecuteAsyncScript", map[string]any{"script": script, "args": []any{},
			"newSandbox": true, "sandbox": nil}), &got))
	if got.E != "" {
		f.T.Fatalf("%s: %s", expression, got.E)
	}
	if into != nil {
		fatalIfErr(f.T, json.Unmarshal(got.V, into))
	}
}

// Wait waits until an expression holds. It asks anew again and again, since the page may be
// another one meanwhile.
func (f *Fox) Wait(expression string) {
	f.T.Helper()
	for deadline := time.Now().Add(f.Patience); ; time.Sleep(20 * time.Millisecond) {
		var holds bool
		if f.Eval("Boolean("+expression+")", &holds); holds {
			return
		}
		if time.Now().After(deadline) {
			f.T.Fatalf("waiting for %s; the page says:\n%s", expression, f.Text("main"))
		}
	}
}

// Text is what a person reads in the first element of a selector.
func (f *Fox) Text(selector string) (s string) {
	f.T.Helper()
	f.Eval(fmt.Sprintf("document.querySelector(%q)?.innerText ?? ''", selector), &s)
	return s
}

func (f *Fox) element(selector string) string {
	f.T.Helper()
	var e map[string]string
	fatalIfErr(f.T,
		json.Unmarshal(f.call("WebDriver:FindElement", map[string]any{"using": "css selector", "value": selector}), &e))
	for _, id := range e {
		return id
	}
	return ""
}

// Keys types into an element; for a file field they are the files' paths, a line each.
func (f *Fox) Keys(selector, text string) {
	f.T.Helper()
	f.call("WebDriver:ElementSendKeys", map[string]any{"id": f.element(selector), "text": text})
}

// Click clicks an element, as a mouse does: it must be there to be seen.
func (f *Fox) Click(selector string) {
	f.T.Helper()
	f.call("WebDriver:ElementClick", map[string]any{"id": f.element(selector)})
}

// Fill types a text in place of what is there.
func (f *Fox) Fill(selector, text string) {
	f.T.Helper()
	f.call("WebDriver:ElementClear", map[string]any{"id": f.element(selector)})
	f.Keys(selector, text)
}

// Drag pulls an element with the mouse, by so many pixels.
func (f *Fox) Drag(selector string, x, y int) {
	f.T.Helper()
	f.Eval(fmt.Sprintf(`document.querySelector(%q).scrollIntoView({ block: 'center' })`, selector), nil)
	// the name that WebDriver gives to references
	origin := map[string]string{"element-6066-11e4-a52e-4f735466cecf": f.element(selector)}
	f.call("WebDriver:PerformActions",
		map[string]any{
			"actions": []any{map[string]any{"type": "pointer", "id": "mouse",
				"parameters": map[string]any{"pointerType": "mouse"}, "actions": []any{
					map[string]any{"type": "pointerMove", "origin": origin, "x": 0, "y": 0},
					map[string]any{"type": "pointerDown", "button": 0},
					map[string]any{"type": "pointerMove", "origin": "pointer", "x": x, "y": y, "duration": 100},
					map[string]any{"type": "pointerUp", "button": 0}}}}})
}

// Shoot keeps a picture of the page where somebody asked for pictures to look at.
func (f *Fox) Shoot(name string) {
	f.T.Helper()
	dir := os.Getenv("STELE_TEST_PICTURES")
	if dir == "" {
		return
	}
	var text string
	fatalIfErr(f.T, json.Unmarshal(f.call("WebDriver:TakeScreenshot", map[string]any{"full": true}), &text))
	png, err := base64.StdEncoding.DecodeString(text)
	fatalIfErr(f.T, err)
	fatalIfErr(f.T, os.WriteFile(filepath.Join(dir, fmt.Sprintf("firefox-%s-%s.png", name, f.Look)), png, 0o644))
}

// Fits fails when the page is wider than the window.
func (f *Fox) Fits(state string) {
	f.T.Helper()
	var widths []int64
	f.Eval(`[document.documentElement.scrollWidth, document.documentElement.clientWidth]`, &widths)
	if widths[0] > widths[1] {
		f.T.Errorf("Firefox, %s: the page is %d px wide, the window %d", state, widths[0], widths[1])
	}
}
