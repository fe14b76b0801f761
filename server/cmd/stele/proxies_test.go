package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"stele/storage/storagetest/freeport"
)

// Where people of these tests call from; all of 127.0.0.0/8 is this machine.
const (
	agencyNetwork = "127.0.9.0/24"
	agencyAddress = "127.0.9.1"
	stranger      = "127.0.6.6"
)

// proxyProgram finds a proxy, which Debian keeps from an ordinary user's path.
func proxyProgram(t testing.TB, name string) string {
	t.Helper()
	for _, path := range []string{name, "/usr/sbin/" + name} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	t.Fatalf("the tests of reverse proxies need %s; install it with: make tools", name)
	return ""
}

// docBlock is a block of docs/proxies.md, so that what is tried is what is recommended.
func docBlock(t *testing.T, language, name string) string {
	t.Helper()
	for _, b := range blocks(t, "proxies.md") {
		if b.language == language && b.name == name {
			return b.text
		}
	}
	t.Fatalf("docs/proxies.md has no block %q for %s", name, language)
	return ""
}

// runProxy runs a proxy in the foreground until the test ends, and waits until it listens.
func runProxy(t *testing.T, addr, program string, args ...string) {
	t.Helper()
	out := &lockedBuffer{}
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	fatalIfErr(t, cmd.Start())
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	t.Cleanup(func() { _ = cmd.Process.Signal(syscall.SIGTERM); <-done })
	eventually(t, program+" listens", func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
			return true
		}
		select {
		case <-done:
			t.Fatalf("%s ended:\n%s", program, out)
		default:
		}
		return false
	})
}

// nginx puts a block of the documentation before a service.
func nginx(t *testing.T, block, target string) (addr string) {
	t.Helper()
	dir := t.TempDir()
	addr = freeport.Address(t)
	temp := ""
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temp += fmt.Sprintf("%s_temp_path %s;\n", kind, filepath.Join(dir, kind))
	}
	conf := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf("daemon off; master_process off; pid %s/pid; error_log stderr;\nevents {}\nhttp "+
		"{\naccess_log off;\n%sserver {\nlisten %s;\n%s}\n}\n",
		dir, temp, addr, strings.ReplaceAll(block, "127.0.0.1:8080", target))
	fatalIfErr(t, os.WriteFile(conf, []byte(text), 0o600))
	runProxy(t, addr, proxyProgram(t, "nginx"), "-p", dir, "-e", "stderr", "-c", conf)
	return addr
}

// haproxy does the same.
func haproxy(t *testing.T, block, target string) (addr string) {
	t.Helper()
	addr = freeport.Address(t)
	conf := filepath.Join(t.TempDir(), "haproxy.cfg")
	text := fmt.Sprintf("defaults\n    mode http\n    timeout connect 10s\n    timeout client 60s\n    timeout "+
		"server 60s\n\nfrontend public\n    bind %s\n    default_backend stele\n\n%s",
		addr, strings.ReplaceAll(block, "127.0.0.1:8080", target))
	fatalIfErr(t, os.WriteFile(conf, []byte(text), 0o600))
	runProxy(t, addr, proxyProgram(t, "haproxy"), "-db", "-f", conf)
	return addr
}

// callFrom makes a call with a key from one of this machine's addresses; the header's lines are
// sent as they are.
func callFrom(t *testing.T, from, addr, path, key string, header http.Header) (status int, body string) {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: dialer.DialContext},
		Timeout: 30 * time.Second}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+path, nil)
	fatalIfErr(t, err)
	req.Header = header.Clone()
	if req.Header == nil {
		req.Header = http.Header{}
	}
	req.Header.Set("Authorization", "Bearer "+key)
	res, err := client.Do(req)
	fatalIfErr(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	fatalIfErr(t, err)
	return res.StatusCode, string(text)
}

// keyFrom makes a key that is good from one network only.
func (s site) keyFrom(t *testing.T, network string) string {
	t.Helper()
	out, errs, code := s.output(t, "apikey", "add", "--agency", demoCode, "--json", "--networks", network)
	var k struct{ Key string }
	if err := json.Unmarshal([]byte(out), &k); err != nil || code != 0 {
		t.Fatalf("%v: %s", err, errs)
	}
	return k.Key
}

// forgeries are headers with which a client claims to call from an address.
func forgeries(addr string) []http.Header {
	var all []http.Header
	list := []string{addr, addr + ", " + addr, addr + ",", addr + ":80", "garbage, " + addr, addr + ", garbage",
		"garbage", "", ",", "unknown", "[" + addr}
	for _, v := range list {
		all = append(all, http.Header{"X-Forwarded-For": {v}}, http.Header{"X-Real-Ip": {v}},
			http.Header{"x-real-ip": {v}}, http.Header{"X_Real_IP": {v}},
			http.Header{"X-Forwarded-For": {v, v}}, http.Header{"X-Real-Ip": {v, v}},
			http.Header{"Connection": {"X-Forwarded-For, X-Real-IP, Forwarded"}, "X-Forwarded-For": {v}})
	}
	for _, v := range []string{"for=" + addr, "for=" + addr + ", for=" + addr, `for="` + addr + `:80"`,
		"for=" + addr + `;x="`, `for="`, "for=unknown", "garbage", ""} {
		all = append(all, http.Header{"Forwarded": {v}}, http.Header{"Forwarded": {v, v}}, http.Header{"forwarded": {v},
			"X-Forwarded-For": {addr}})
	}
	return all
}

// Behind real proxies, set up as docs/proxies.md says, nobody chooses his address: a key that is
// bound to a network stays refused elsewhere, whatever headers are sent, and works in it.
func TestForgedAddresses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		header string
		hops   string
		front  func(t *testing.T, target string) string
	}{
		{"nginx appends to the list", "X-Forwarded-For", "1", func(t *testing.T, to string) string {
			return nginx(t,
				docBlock(t, "nginx", "x-forwarded-for"), to)
		}},
		{"haproxy appends a line", "X-Forwarded-For", "1", func(t *testing.T, to string) string {
			return haproxy(t,
				docBlock(t, "haproxy", "x-forwarded-for"), to)
		}},
		{"nginx overwrites", "X-Real-IP", "1", func(t *testing.T, to string) string {
			return nginx(t, docBlock(t, "nginx",
				"x-real-ip"), to)
		}},
		{"haproxy overwrites", "X-Real-IP", "1", func(t *testing.T, to string) string {
			return haproxy(t, docBlock(t,
				"haproxy", "x-real-ip"), to)
		}},
		{"haproxy says Forwarded", "Forwarded", "1", func(t *testing.T, to string) string {
			return haproxy(t, docBlock(t,
				"haproxy", "forwarded"), to)
		}},
		{"haproxy before nginx", "X-Forwarded-For", "2", func(t *testing.T, to string) string {
			return haproxy(t, docBlock(t, "haproxy", "x-forwarded-for"),
				nginx(t, docBlock(t, "nginx", "x-forwarded-for"), to))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			site := site{data: folder(t)}
			s := site.start(t, "--trusted-proxies", "127.0.0.1", "--client-ip-header", c.header, "--proxy-hops", c.hops)
			direct := strings.TrimPrefix(s.info.URL, "http://")
			front := c.front(t, direct)
			bound, proxys := site.keyFrom(t, agencyNetwork), site.keyFrom(t, "127.0.0.1/32")

			eventually(t, "the proxy finds the service ready", func() bool {
				status, _ := callFrom(t, agencyAddress, front, "/readyz", bound, nil)
				return status == http.StatusOK
			})
			if status, body := callFrom(t, agencyAddress, front, "/api/v1/key", bound, nil); status != http.StatusOK {
				t.Fatalf("from the agency's network: %d %s", status, body)
			}
			if status, body := callFrom(t, stranger, front, "/api/v1/key", bound, nil); status != http.StatusForbidden {
				t.Fatalf("from elsewhere: %d %s", status, body)
			}
			for key, addr := range map[string]string{bound: agencyAddress, proxys: "127.0.0.1"} {
				for _, h := range forgeries(addr) {
					if status, body := callFrom(t, stranger, front, "/api/v1/key", key,
						h); status != http.StatusForbidden &&
						status != http.StatusBadRequest {
						t.Errorf("%s is believed: %q: %d %s", addr, h, status, body)
					}
					if status, body := callFrom(t, stranger, direct, "/api/v1/key", key,
						h); status != http.StatusForbidden {
						t.Errorf("%s is believed past the proxy: %q: %d %s", addr, h, status, body)
					}
				}
			}
			// The proxy itself, saying nothing.
			if status, body := callFrom(t, "127.0.0.1", direct, "/api/v1/key", proxys,
				nil); status != http.StatusBadRequest || !strings.Contains(body, c.header+" is missing") {
				t.Errorf("without the header: %d %s", status, body)
			}
			if status, body := callFrom(t, "127.0.0.1", direct, "/readyz", "", nil); status != http.StatusOK {
				t.Errorf("a health check: %d %s", status, body)
			}
			if n := strings.Count(s.log.String(), "their caller's address cannot be told"); n < 1 || n > 3 {
				t.Errorf("%d lines in the log", n)
			}
		})
	}
}

// A header that is believed from everybody is no setting.
func TestHeaderNeedsProxies(t *testing.T) {
	t.Parallel()
	site := site{data: folder(t)}
	for _, args := range [][]string{{"--client-ip-header", "X-Real-IP"}, {"--trusted-proxies", "127.0.0.1"},
		{"--trusted-proxies", "0.0.0.0/0", "--client-ip-header", "X-Real-IP"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			_, errs, code := site.output(t, append([]string{"config"}, args...)...)
			if code == 0 || !strings.Contains(errs, "trusted-proxies") {
				t.Errorf("%q: %d %s", args, code, errs)
			}
		})
	}
}
