package storagetest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// MinIO is an S3 server of its own on the loopback interface, without TLS. Its methods are
// for the test's goroutine; clients may do what they like meanwhile.
type MinIO struct {
	program, dir string
	port         int
	user, secret string
	process      *process
	serial       atomic.Int64
}

// Bucket is what a client needs to know.
type Bucket struct {
	Endpoint  string // host:port, without TLS
	Region    string
	Name      string
	AccessKey string
	SecretKey string
}

var sharedMinIO = sync.OnceValues(newMinIO)

// StartMinIO returns a fresh bucket, with neither versions nor object lock. All tests of a
// binary share one server, started by the first. A test that stops or kills the server
// takes [NewMinIO]. MinIO that is not installed fails the test: nothing is skipped.
func StartMinIO(t testing.TB) Bucket {
	t.Helper()
	m, err := sharedMinIO()
	fatalIfErr(t, err)
	return m.Bucket(t, false)
}

// StartMinIOLocked is [StartMinIO] with a bucket that has object lock, and so versions.
func StartMinIOLocked(t testing.TB) Bucket {
	t.Helper()
	m, err := sharedMinIO()
	fatalIfErr(t, err)
	return m.Bucket(t, true)
}

// NewMinIO starts a server for this test alone, that the test may stop, kill and start again.
func NewMinIO(t testing.TB) *MinIO {
	t.Helper()
	m, err := newMinIO()
	fatalIfErr(t, err)
	t.Cleanup(func() {
		m.process.stop(syscall.SIGKILL)
		os.RemoveAll(m.dir)
	})
	return m
}

// Bucket creates a fresh bucket; locked gives it object lock and versions.
func (m *MinIO) Bucket(t testing.TB, locked bool) Bucket {
	t.Helper()
	client, err := m.client()
	fatalIfErr(t, err)
	b := Bucket{Endpoint: m.address(), Region: "us-east-1", AccessKey: m.user, SecretKey: m.secret,
		Name: fmt.Sprintf("bucket-%d", m.serial.Add(1))}
	fatalIfErr(t, client.MakeBucket(context.WithoutCancel(t.Context()), b.Name, minio.MakeBucketOptions{ObjectLocking: locked}))
	return b
}

// Stop ends the server in order.
func (m *MinIO) Stop(t testing.TB) {
	t.Helper()
	fatalIfErr(t, m.process.stop(syscall.SIGTERM))
}

// Kill ends the server as a crash does.
func (m *MinIO) Kill(t testing.TB) {
	t.Helper()
	fatalIfErr(t, m.process.stop(syscall.SIGKILL))
}

// Start starts the stopped server again, on the same port with the same data.
func (m *MinIO) Start(t testing.TB) {
	t.Helper()
	fatalIfErr(t, m.start(nil))
}

// StartBy is Start with another way to start the process.
func (m *MinIO) StartBy(t testing.TB, launch Launch) {
	t.Helper()
	fatalIfErr(t, m.start(launch))
}

// Restart is Stop and Start.
func (m *MinIO) Restart(t testing.TB) {
	t.Helper()
	m.Stop(t)
	m.Start(t)
}

func newMinIO() (*MinIO, error) {
	program, err := tool("minio")
	if err != nil {
		return nil, errors.New("MinIO is not installed, these tests need it: run: make tools")
	}
	dir, err := serverDir("s3")
	if err != nil {
		return nil, err
	}
	m := &MinIO{program: program, dir: dir, user: "stele", secret: rand.Text()}
	for attempt := 0; ; attempt++ {
		if m.port, err = freePort(); err != nil {
			return nil, err
		}
		if err = m.start(nil); err == nil || !errors.Is(err, errExited) || attempt == 3 {
			return m, err
		}
	}
}

// start starts the server and waits until it answers our credentials.
func (m *MinIO) start(launch Launch) error {
	cmd := exec.Command(m.program, "server", "--quiet", "--address", m.address(), filepath.Join(m.dir, "data"))
	cmd.Dir = m.dir
	cmd.Env = []string{"HOME=" + m.dir, "PATH=" + os.Getenv("PATH"), "MINIO_ROOT_USER=" + m.user, "MINIO_ROOT_PASSWORD=" + m.secret,
		"MINIO_BROWSER=off", "MINIO_UPDATE=off", "MINIO_CALLHOME_ENABLE=off", "GOMAXPROCS=" + strconv.Itoa(2)}
	var err error
	if m.process, err = startProcess(cmd, syscall.SIGKILL, launch); err != nil {
		return fmt.Errorf("start MinIO: %w", err)
	}
	client, err := m.client()
	if err != nil {
		return err
	}
	err = m.process.waitReady(func() error {
		resp, err := http.Get("http://" + m.address() + "/minio/health/ready")
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK || !strings.Contains(resp.Header.Get("Server"), "MinIO") {
			return errors.New(resp.Status)
		}
		_, err = client.ListBuckets(context.Background())
		return err
	})
	if err != nil {
		return fmt.Errorf("start MinIO: %w", err)
	}
	return nil
}

func (m *MinIO) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(m.port)) }

func (m *MinIO) client() (*minio.Client, error) {
	return minio.New(m.address(), &minio.Options{Creds: credentials.NewStaticV4(m.user, m.secret, ""),
		Region: "us-east-1", BucketLookup: minio.BucketLookupPath, MaxRetries: 1})
}
