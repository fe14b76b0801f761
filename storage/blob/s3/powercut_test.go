package s3_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"stele/storage/storagetest"
)

// What a server has answered is on the device, if its file system is mounted as the runbook says: a
// copy of the device that is taken then holds it all, as a power cut leaves it.
func TestPowerCut(t *testing.T) {
	if !loopDevices() {
		t.Log("NOT RUN: this machine has no loop devices, or the test is not root")
		return
	}
	const count = 20
	data := bytes.Repeat([]byte("x"), 50_000)
	eachServer(t, func(t *testing.T, server *storagetest.S3Server) {
		device, dir := filepath.Join(t.TempDir(), "device"), t.TempDir()
		mustRun(t, "truncate", "-s", "300M", device)
		mustRun(t, "mkfs.ext4", "-q", device)
		unmount := mustMount(t, device, dir, "loop,sync,dirsync")
		running := server.Over(t, dir)
		config := running.Bucket(t, false).Config()
		s := newStore(t, config)
		for i := range count {
			if _, err := s.Create(t.Context(), fmt.Sprintf("doc/%d", i), bytes.NewReader(data), -1); err != nil {
				t.Fatal(err)
			}
		}
		mustRun(t, "cp", "--sparse=always", device, device+"-after")
		running.Kill(t)
		unmount()
		mustMount(t, device+"-after", dir, "loop")
		running.Start(t)
		s = mustOpen(t, config)
		for i := range count {
			key := fmt.Sprintf("doc/%d", i)
			r, _, err := s.Open(t.Context(), key, "")
			if err != nil {
				t.Errorf("%s: %v", key, err)
				continue
			}
			got, err := io.ReadAll(r)
			r.Close()
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s: %d bytes, %v", key, len(got), err)
			}
		}
		running.Kill(t)
	})
}

func mustRun(t *testing.T, program string, args ...string) {
	t.Helper()
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", program, err, out)
	}
}

// mustMount mounts a device's file until the test ends or unmount is called.
func mustMount(t *testing.T, device, dir, options string) (unmount func()) {
	t.Helper()
	mustRun(t, "mount", "-t", "ext4", "-o", options, device, dir)
	mounted := true
	unmount = func() {
		if mounted {
			mustRun(t, "umount", "--lazy", dir)
			mounted = false
		}
	}
	t.Cleanup(unmount)
	return unmount
}

// loopDevices reports whether this machine lets the test mount files.
func loopDevices() bool {
	_, err := os.Stat("/dev/loop-control")
	return err == nil && os.Getuid() == 0
}
