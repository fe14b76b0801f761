package main

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The operator's commands: a person is added with a password from a file, has to change it,
// and is kept out and reset; demo.json names one user of each role, whose password works.
func TestUserCommands(t *testing.T) {
	t.Parallel()
	site := site{data: folder(t)}
	s := site.start(t)
	signIn := func(login, password string) string {
		r := s.call(request{method: http.MethodPost, path: "/console/sign-in",
			header: map[string]string{"Content-Type": "application/x-www-form-urlencoded", "Authorization": ""},
			body:   strings.NewReader(url.Values{"login": {login}, "password": {password}}.Encode())})
		if r.status == http.StatusUnprocessableEntity {
			return "refused"
		}
		return r.header.Get("Set-Cookie")
	}
	roles := map[string]bool{}
	for _, u := range s.info.Users {
		if signIn(u.Name, u.Password) == "refused" {
			t.Errorf("%s of demo.json is refused", u.Name)
		}
		roles[u.Role] = true
	}
	if len(roles) != 5 {
		t.Errorf("demo.json has the roles %v", roles)
	}
	file := filepath.Join(t.TempDir(), "password")
	fatalIfErr(t, os.WriteFile(file, []byte("a password from a file\n"), 0o600))
	run := func(want int, args ...string) string {
		t.Helper()
		out, errs, code := site.output(t, append([]string{"user"}, args...)...)
		if code != want {
			t.Errorf("%v: %d %s", args, code, errs)
		}
		return out
	}
	run(0, "add", "li.si", "--name", "李四", "--role", "clerk", "--agency", demoCode, "--password-file", file)
	run(1, "add", "li.si", "--name", "李四", "--role", "clerk", "--agency", demoCode)
	run(1, "add", "nobody", "--name", "无", "--role", "clerk")
	run(1, "add", "boss", "--name", "无", "--role", "operator", "--agency", demoCode)
	if out := run(0, "list", "--agency", demoCode); !strings.Contains(out, "li.si  clerk  李四") ||
		strings.Contains(out, "argon2id") {
		t.Errorf("the list: %s", out)
	}
	if signIn("li.si", "a password from a file") == "refused" {
		t.Error("the password from the file is refused")
	}
	run(0, "disable", "li.si")
	if signIn("li.si", "a password from a file") != "refused" {
		t.Error("a disabled person signs in")
	}
	run(0, "disable", "li.si", "--undo")
	out := run(0, "reset", "li.si")
	made, _, _ := strings.Cut(strings.TrimPrefix(out, "Initial password: "), "\n")
	if signIn("li.si", made) == "refused" || signIn("li.si", "a password from a file") != "refused" {
		t.Errorf("after the reset: %s", out)
	}
	run(1, "reset", "nobody")
	link := run(0, "invite", "wang.wu", "--name", "王五", "--role", "clerk", "--agency", demoCode)
	run(1, "invite", "wang.wu", "--name", "王五", "--role", "clerk", "--agency", demoCode)
	run(1, "invite", "king", "--name", "王", "--agency", demoCode)
	accept := func(link, password string) int {
		_, path, _ := strings.Cut(strings.SplitN(link, "\n", 2)[0], "/console/")
		return s.call(request{method: http.MethodPost, path: "/console/" + path,
			header: map[string]string{"Content-Type": "application/x-www-form-urlencoded", "Authorization": ""},
			body:   strings.NewReader(url.Values{"password": {password}, "again": {password}}.Encode())}).status
	}
	if status := accept(link, "a password of their own"); status == http.StatusNotFound ||
		signIn("wang.wu", "a password of their own") == "refused" {
		t.Errorf("who was invited does not get in: %d, %s", status, link)
	}
	if status := accept(link, "another password"); status != http.StatusNotFound {
		t.Errorf("the link works twice: %d", status)
	}
	again := run(0, "invite", "wang.wu", "--again")
	if signIn("wang.wu", "a password of their own") != "refused" ||
		accept(again, "yet another password") == http.StatusNotFound {
		t.Errorf("invited again: %s", again)
	}
	s.stop()
	restarted := site.start(t) // the harness keeps the key alone: passwords are made anew
	s = restarted
	for _, u := range restarted.info.Users {
		if signIn(u.Name, u.Password) == "refused" {
			t.Errorf("%s is refused after a restart", u.Name)
		}
	}
	restarted.stop()
	without := site
	without.args = append(without.args, "--no-console")
	off := without.start(t)
	if r := off.get("/console"); r.status != http.StatusNotFound {
		t.Errorf("the console that is off: %d", r.status)
	}
	off.stop()
}
