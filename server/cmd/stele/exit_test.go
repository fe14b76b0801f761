package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"stele/storage/storagetest"
	"stele/storage/storagetest/freeport"
)

// ends runs a command and demands how it ends.
func (s site) ends(t *testing.T, code int, says string, verb ...string) {
	t.Helper()
	if _, errs, got := s.output(t, verb...); got != code || !strings.Contains(errs, says) {
		t.Errorf("stele %s: exit code %d, want %d and %q, got: %s", strings.Join(verb, " "), got, code, says, errs)
	}
}

// What no later try mends ends a server's start with 78, and what may go by itself with 1: a service
// manager starts it again for the latter only.
func TestExitCodesOfStarts(t *testing.T) {
	t.Parallel()
	serve := []string{"serve", "--listen", "127.0.0.1:0"}
	s := onServers(t, storagetest.StartDurablePostgres(t), storagetest.StartMinIO(t))
	s.ends(t, exitConfig, "there is no instance", serve...)
	s.start(t).stop()

	t.Run("settings", func(t *testing.T) {
		s.ends(t, exitConfig, "max-batch", append(serve, "--max-batch", "many")...)
		s.ends(t, exitConfig, "unknown flag", append(serve, "--no-such-thing")...)
		s.ends(t, exitConfig, "client-ip-header", append(serve, "--trusted-proxies", "10.0.0.1")...)
		config := filepath.Join(t.TempDir(), "stele.yaml")
		fatalIfErr(t, os.WriteFile(config, []byte("no-such-setting: 1\n"), 0o600))
		s.ends(t, exitConfig, "no-such-setting", append(serve, "--config", config)...)
		s.ends(t, exitUsage, "unknown flag", "fsck", "--no-such-thing")
		fatalIfErr(t, os.WriteFile(config, []byte("chain: embedded\n"), 0o600))
		taken, err := net.Listen("tcp", "127.0.0.1:0")
		fatalIfErr(t, err)
		defer taken.Close()
		s.ends(t, exitFailed, "address already in use", "serve", "--listen", taken.Addr().String(), "--config", config)
	})
	// replaced is the site with other values of flags.
	replaced := func(pairs ...string) site {
		args := append([]string(nil), s.args...)
		for i := 0; i < len(pairs); i += 2 {
			for j := range args {
				if args[j] == pairs[i] {
					args[j+1] = pairs[i+1]
				}
			}
		}
		s := s
		s.args = args
		return s
	}
	secret := func(t *testing.T, text string) string {
		path := filepath.Join(t.TempDir(), "secret")
		fatalIfErr(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	t.Run("what it needs", func(t *testing.T) {
		nobody := "127.0.0.1:1"
		replaced("--database", "postgres://stele@"+nobody+"/stele?sslmode=disable").ends(t, exitFailed,
			"cannot be reached", serve...)
		replaced("--s3-endpoint", nobody).ends(t, exitFailed, "unreachable", serve...)
		replaced("--database-password-file", secret(t, "another")).ends(t, exitConfig, "password", serve...)
		replaced("--s3-secret-key-file", secret(t, "another-one")).ends(t, exitConfig, "credentials", serve...)
		replaced("--s3-bucket", "no-such-bucket").ends(t, exitConfig, "bucket does not exist", serve...)
	})
	t.Run("parts", func(t *testing.T) {
		s.ends(t, exitConfig, "passphrase", append(serve, "--passphrase-file", secret(t, "not the passphrase"))...)
		other := site{data: folder(t)}
		other.start(t).stop()
		foreign := s
		foreign.args = []string{"--database", "sqlite:" + filepath.Join(other.data, "stele.db"),
			"--objects-dir", filepath.Join(other.data, "objects")}
		foreign.ends(t, exitConfig, "belongs to instance", serve...)
		fatalIfErr(t, os.Chmod(other.data, 0o755))
		other.ends(t, exitConfig, "other accounts", serve...)
	})
	t.Run("schema", func(t *testing.T) {
		db := storagetest.Raw(t, s.database(t))
		storagetest.MustExec(t, db, 1, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99990, TRUE)`)
		s.ends(t, exitConfig, "this program knows", "migrate")
		s.ends(t, exitConfig, "this program knows", "migrate", "--check")
		storagetest.MustExec(t, db, 1, `UPDATE compatibility SET least_schema = 99990`)
		s.ends(t, exitConfig, "use the newer program", serve...)
		storagetest.MustExec(t, db, 1, `UPDATE compatibility SET least_schema = 22`)
		_, err := db.ExecContext(t.Context(), `DELETE FROM goose_db_version WHERE version_id > 22`)
		fatalIfErr(t, err)
		storagetest.MustExec(t, db, 1, `UPDATE goose_db_version SET version_id = 18 WHERE version_id = 22`)
		for _, command := range [][]string{serve, {"migrate"}, {"migrate", "--check"}} {
			s.ends(t, exitConfig, "from before the first release", command...)
		}
	})
	t.Run("node", func(t *testing.T) {
		home := filepath.Join(t.TempDir(), "node")
		for says, more := range map[string][]string{"passphrase": nil, "collect-for": {"--collect-for", "long"}} {
			t.Run(says, func(t *testing.T) {
				path, err := binary()
				fatalIfErr(t, err)
				cmd := exec.Command(path, append([]string{"node", "run", "--home", home}, more...)...)
				out, _ := cmd.CombinedOutput()
				if code := cmd.ProcessState.ExitCode(); code != exitConfig || !strings.Contains(string(out), says) {
					t.Errorf("node run %v: exit code %d, want %d and %q, got: %s", more, code, exitConfig, says, out)
				}
			})
		}
	})
}

// systemd hears when the service is ready, and when it stops.
func TestServiceManagerIsTold(t *testing.T) {
	t.Parallel()
	s := site{data: folder(t)}
	s.start(t).stop()
	path := filepath.Join(t.TempDir(), "notify")
	ln, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	fatalIfErr(t, err)
	defer ln.Close()
	fatalIfErr(t, ln.SetReadDeadline(time.Now().Add(time.Minute)))
	hear := func(want string) {
		t.Helper()
		b := make([]byte, 100)
		n, err := ln.Read(b)
		if got := string(b[:n]); err != nil || got != want {
			t.Fatalf("heard %q, %v, want %q", got, err, want)
		}
	}
	address := freeport.Address(t)
	log := &lockedBuffer{}
	cmd := s.command(t, "serve", "--listen", address)
	cmd.Env, cmd.Stderr = append(os.Environ(), "NOTIFY_SOCKET="+path), log
	fatalIfErr(t, cmd.Start())
	hear("READY=1")
	if _, err := httpClient.Get("http://" + address + "/healthz"); err != nil {
		t.Errorf("ready before it listens: %v", err)
	}
	fatalIfErr(t, cmd.Process.Signal(syscall.SIGTERM))
	hear("STOPPING=1")
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, log)
	}
}
