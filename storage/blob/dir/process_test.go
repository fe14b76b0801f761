package dir_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"stele/storage/blob/dir"
)

// Tests with several processes run this test binary again, with what the child is to do in
// the environment.
const (
	childJob  = "STELE_TEST_DIR_JOB"
	childPath = "STELE_TEST_DIR_PATH"
)

func TestMain(m *testing.M) {
	job, ok := map[string]func(path string) error{"create": childCreate, "count": childCount,
		"full": childFull}[os.Getenv(childJob)]
	if !ok {
		os.Exit(m.Run())
	}
	if err := job(os.Getenv(childPath)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func child(job, path string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childJob+"="+job, childPath+"="+path)
	cmd.Stderr = os.Stderr
	return cmd
}

// childCreate stores its standard input, and says when it has read the first bytes.
func childCreate(path string) error {
	s, err := dir.Open(path)
	if err != nil {
		return err
	}
	first := io.TeeReader(io.LimitReader(os.Stdin, 5), os.Stdout)
	_, err = s.Create(context.Background(), "doc/killed", io.MultiReader(first, os.Stdin), -1)
	return err
}

// A process that is killed in the middle of an upload leaves no object, and a temporary
// file that the next one sweeps.
func TestKilledWhileCreating(t *testing.T) {
	s, path := newStore(t)
	cmd := child("create", path)
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(in, "begun"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(bufio.NewReader(out), make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	wantOnly(t, s, path, 1)
	if n, err := s.Sweep(t.Context(), time.Now().Add(time.Hour)); n != 0 || err != nil {
		t.Errorf("swept %d files of a living process, %v", n, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	wantOnly(t, s, path, 1)
	if n, err := s.Sweep(t.Context(), time.Now().Add(time.Hour)); n != 1 || err != nil {
		t.Errorf("swept %d files of a dead process, %v", n, err)
	}
	if _, err := s.Create(t.Context(), "doc/killed", strings.NewReader("again"), -1); err != nil {
		t.Error(err)
	}
	wantOnly(t, s, path, 0, "doc/killed")
}

const childSteps = 50

func childCount(path string) error {
	s, err := dir.Open(path)
	if err != nil {
		return err
	}
	for range childSteps {
		err := s.Replace(context.Background(), "counter", func(current []byte) ([]byte, error) {
			n, _ := strconv.Atoi(string(current))
			return strconv.AppendInt(nil, int64(n+1), 10), nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Replace loses no step of several processes.
func TestReplaceByManyProcesses(t *testing.T) {
	s, path := newStore(t)
	var cmds []*exec.Cmd
	for range 4 {
		cmd := child("count", path)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		cmds = append(cmds, cmd)
	}
	for _, cmd := range cmds {
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	data, err := s.Get(t.Context(), "counter", 10)
	if want := strconv.Itoa(len(cmds) * childSteps); err != nil || string(data) != want {
		t.Errorf("counted %q, %v, want %s", data, err, want)
	}
}

// childFull works on a file system of 1 MiB that only it sees.
func childFull(path string) error {
	if err := syscall.Mount("tmpfs", path, "tmpfs", 0, "size=1m"); err != nil {
		return fmt.Errorf("mount a small file system: %w", err)
	}
	path = filepath.Join(path, "objects")
	if err := dir.Init(path); err != nil {
		return err
	}
	s, err := dir.Open(path)
	if err != nil {
		return err
	}
	ctx := context.Background()
	if err := s.PutOnce(ctx, "head", []byte("before")); err != nil {
		return err
	}
	big := bytes.Repeat([]byte("x"), 2<<20)
	_, createErr := s.Create(ctx, "doc/big", bytes.NewReader(big), -1)
	for what, err := range map[string]error{
		"Create":     createErr,
		"PutOnce":    s.PutOnce(ctx, "tile/big", big),
		"PutOnceAll": s.PutOnceAll(ctx, map[string][]byte{"tile/1": big, "tile/2": []byte("small")}),
		"Replace":    s.Replace(ctx, "head", func([]byte) ([]byte, error) { return big, nil }),
	} {
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "add space") {
			return fmt.Errorf("%s on a full disk: %w", what, err)
		}
	}
	if left, err := os.ReadDir(filepath.Join(path, "tmp")); err != nil || len(left) > 0 {
		return fmt.Errorf("left in tmp/: %v, %w", left, err)
	}
	if _, _, err := s.Open(ctx, "doc/big", ""); err == nil {
		return errors.New("half a document is there")
	}
	if data, err := s.Get(ctx, "head", 10); err != nil || string(data) != "before" {
		return fmt.Errorf("a failed Replace left %q, %w", data, err)
	}
	// With room again all is well.
	_, err = s.Create(ctx, "doc/big", bytes.NewReader(big[:1<<19]), -1)
	return err
}

// A full disk is an error with a cause, and leaves nothing behind.
func TestDiskFull(t *testing.T) {
	// In namespaces of its own anybody may mount; where that is forbidden root still may.
	for _, attr := range []*syscall.SysProcAttr{
		{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}},
		{Cloneflags: syscall.CLONE_NEWNS},
	} {
		cmd := child("full", t.TempDir())
		cmd.SysProcAttr = attr
		var out bytes.Buffer
		cmd.Stderr = &out
		err := cmd.Run()
		if err == nil {
			return
		}
		if !errors.Is(err, fs.ErrPermission) && !strings.Contains(out.String(), "mount a small file system") {
			t.Fatalf("%v: %s", err, out.String())
		}
		t.Logf("this kernel does not let us mount: %v %s", err, out.String())
	}
	t.Skip("no small file system to fill")
}
