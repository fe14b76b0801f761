package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// No secret is in what the program writes for its operator: its log at its most talkative, its
// configuration, a start that fails, and what it leaves when it is made to crash; nor in what other
// accounts of the machine see of it.
func TestSecretsStayInside(t *testing.T) {
	t.Parallel()
	site := site{data: folder(t)}
	s := site.start(t, "--log-level", "debug")
	secrets := map[string]string{"the API key": s.info.APIKey}
	passphrase, err := os.ReadFile(filepath.Join(s.data, "keys", "passphrase"))
	fatalIfErr(t, err)
	secrets["the passphrase"] = strings.TrimSpace(string(passphrase))
	for _, u := range s.info.Users {
		secrets["the password of "+u.Name] = u.Password
		if got := s.signInFrom("127.0.0.1", u.Name, u.Password); got != http.StatusSeeOther {
			t.Fatalf("%s signs in: %d", u.Name, got)
		}
	}
	secrets["a wrong password"] = "a password that was mistyped"
	s.signInFrom("127.0.0.1", s.info.Users[0].Name, secrets["a wrong password"])
	rec := s.notarize(digestRequest(newDigest(), "", "anchored"))
	secrets["a record's code"] = rec.Code
	s.get("/r/" + rec.Number + "?code=" + rec.Code)
	secrets["a wrong code"] = "ZZZZ-ZZZZ"
	s.get("/r/" + rec.Number + "?code=" + secrets["a wrong code"])
	secrets["a wrong API key"] = "stele_AAAAAAAAAAAA_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	s.call(request{method: "GET", path: "/api/v1/records",
		header: map[string]string{"Authorization": "Bearer " + secrets["a wrong API key"]}})
	post := func(path, body string) response {
		return s.call(request{method: "POST", path: path, header: map[string]string{"Content-Type": "application/json"},
			body: strings.NewReader(body)})
	}
	var hook, key struct{ Secret, Key string }
	res := post("/api/v1/webhooks", `{"url":"http://127.0.0.1:1/x","events":["record.anchored"]}`)
	res.json(t, &hook)
	res = post("/api/v1/keys", `{"name":"second","scopes":["read"]}`)
	res.json(t, &key)
	secrets["a webhook's secret"], secrets["a second key"] = hook.Secret, key.Key
	s.notarize(digestRequest(newDigest(), "", "anchored")) // its webhook is tried

	var seen bytes.Buffer
	for _, name := range []string{"cmdline", "environ"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", s.cmd.Process.Pid, name))
		fatalIfErr(t, err)
		seen.Write(text)
	}
	fatalIfErr(t, s.cmd.Process.Signal(syscall.SIGQUIT)) // Go's crash: the stacks of all goroutines
	<-s.done
	if dump := s.log.String(); !strings.Contains(dump, "SIGQUIT") || !strings.Contains(dump, "level=DEBUG") {
		t.Error("the log is not what it should be: no debug line, or no crash")
	}
	seen.WriteString(s.log.String())
	out, errs, _ := site.output(t, "config")
	seen.WriteString(out + errs)
	wrong := filepath.Join(t.TempDir(), "passphrase")
	secrets["a wrong passphrase"] = "a passphrase of another instance"
	fatalIfErr(t, os.WriteFile(wrong, []byte(secrets["a wrong passphrase"]+"\n"), 0o600))
	out, errs, code := site.output(t, "serve", "--passphrase-file", wrong, "--log-level", "debug")
	if code == 0 {
		t.Error("started under a wrong passphrase")
	}
	seen.WriteString(out + errs)
	for what, secret := range secrets {
		if len(secret) < 8 {
			t.Errorf("%s is %q: this test looks for nothing", what, secret)
		} else if at := strings.Index(seen.String(), secret); at >= 0 {
			t.Errorf("%s is told: …%.200s", what, seen.String()[max(0, at-150):])
		}
	}
}
