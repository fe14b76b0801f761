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
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"stele/storage/storagetest/freeport"
)

// S3Server is a kind of S3 server that Stele is tested with.
type S3Server struct {
	Name string
	// ListsUploads says that incomplete uploads are listed by prefix, and so swept without their names.
	ListsUploads bool

	program, health string // in .tools or PATH; the path that answers 200 when it is ready
	// args and env are for a server on an address with its data in a folder.
	args   func(address, dir string) []string
	env    func(user, secret string) []string
	shared func() (*S3Process, error)
}

// S3Servers are all of them.
var S3Servers = []*S3Server{miniO, versityGW}

var miniO = kind(S3Server{Name: "MinIO", program: "minio", health: "/minio/health/ready",
	args: func(address, dir string) []string {
		return []string{"server", "--quiet", "--address", address, filepath.Join(dir, "data")}
	},
	env: func(user, secret string) []string {
		return []string{"MINIO_ROOT_USER=" + user, "MINIO_ROOT_PASSWORD=" + secret, "MINIO_BROWSER=off",
			"MINIO_UPDATE=off",
			"MINIO_CALLHOME_ENABLE=off"}
	}})

// Versity S3 Gateway over a folder.
var versityGW = kind(S3Server{Name: "VersityGW", ListsUploads: true, program: "versitygw", health: "/health",
	args: func(address, dir string) []string {
		return []string{"--quiet", "--port", address, "--health", "/health", "posix",
			"--versioning-dir", filepath.Join(dir, "versions"), filepath.Join(dir, "data")}
	},
	env: func(user, secret string) []string {
		return []string{"ROOT_ACCESS_KEY=" + user, "ROOT_SECRET_KEY=" + secret}
	}})

func kind(k S3Server) *S3Server {
	k.shared = sync.OnceValues(func() (*S3Process, error) {
		dir, err := serverDir("s3")
		if err != nil {
			return nil, err
		}
		return k.launch(dir)
	})
	return &k
}

// Plain returns a fresh bucket, with neither versions nor object lock. All tests of a binary share
// one server of a kind, started by the first. A server that is not installed fails the test: nothing
// is skipped.
func (k *S3Server) Plain(t testing.TB) Bucket { return k.bucket(t, false) }

// Locked is [S3Server.Plain] with a bucket that has object lock, and so versions.
func (k *S3Server) Locked(t testing.TB) Bucket { return k.bucket(t, true) }

func (k *S3Server) bucket(t testing.TB, locked bool) Bucket {
	t.Helper()
	needsServer(t)
	p, err := k.shared()
	fatalIfErr(t, err)
	return p.Bucket(t, locked)
}

// Over starts a server for this test alone, with its data in a folder.
func (k *S3Server) Over(t testing.TB, dir string) *S3Process {
	t.Helper()
	needsServer(t)
	p, err := k.launch(dir)
	fatalIfErr(t, err)
	t.Cleanup(func() { p.process.stop(syscall.SIGKILL) })
	return p
}

// StartMinIO and StartMinIOLocked are [S3Server.Plain] and [S3Server.Locked] of MinIO.
func StartMinIO(t testing.TB) Bucket       { t.Helper(); return miniO.Plain(t) }
func StartMinIOLocked(t testing.TB) Bucket { t.Helper(); return miniO.Locked(t) }

// NewMinIO starts a MinIO for this test alone, that the test may stop, kill and start again.
func NewMinIO(t testing.TB) *S3Process {
	t.Helper()
	dir, err := serverDir("s3")
	fatalIfErr(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return miniO.Over(t, dir)
}

// S3Process is an S3 server on the loopback interface, without TLS. Its methods are for the test's
// goroutine; clients may do what they like meanwhile.
type S3Process struct {
	kind         *S3Server
	program, dir string
	address      string
	user, secret string
	process      *process
	bucketsSoFar atomic.Int64
}

// Bucket is what a client needs to know.
type Bucket struct {
	Endpoint  string // host:port, without TLS
	Region    string
	Name      string
	AccessKey string
	SecretKey string
}

// Bucket creates a fresh bucket; locked gives it object lock and versions.
func (p *S3Process) Bucket(t testing.TB, locked bool) Bucket {
	t.Helper()
	client, err := p.client()
	fatalIfErr(t, err)
	b := Bucket{Endpoint: p.address, Region: "us-east-1", AccessKey: p.user, SecretKey: p.secret,
		Name: fmt.Sprintf("bucket-%d", p.bucketsSoFar.Add(1))}
	fatalIfErr(t, client.MakeBucket(context.WithoutCancel(t.Context()), b.Name,
		minio.MakeBucketOptions{ObjectLocking: locked}))
	return b
}

// Stop ends the server in order.
func (p *S3Process) Stop(t testing.TB) {
	t.Helper()
	fatalIfErr(t, p.process.stop(syscall.SIGTERM))
}

// Kill ends the server as a crash does.
func (p *S3Process) Kill(t testing.TB) {
	t.Helper()
	fatalIfErr(t, p.process.stop(syscall.SIGKILL))
}

// Start starts the stopped server again, on the same port with the same data.
func (p *S3Process) Start(t testing.TB) {
	t.Helper()
	fatalIfErr(t, p.start(nil))
}

// StartBy is Start with another way to start the process.
func (p *S3Process) StartBy(t testing.TB, launch Launch) {
	t.Helper()
	fatalIfErr(t, p.start(launch))
}

// Restart is Stop and Start.
func (p *S3Process) Restart(t testing.TB) {
	t.Helper()
	p.Stop(t)
	p.Start(t)
}

func (k *S3Server) launch(dir string) (*S3Process, error) {
	program, err := tool(k.program)
	if err != nil {
		return nil, fmt.Errorf("%s is not installed, these tests need it: run: make tools", k.Name)
	}
	p := &S3Process{kind: k, program: program, dir: dir, user: "stele", secret: rand.Text()}
	for attempt := 0; ; attempt++ {
		port, err := freeport.Get()
		if err != nil {
			return nil, err
		}
		p.address = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		if err = p.start(nil); err == nil || !errors.Is(err, errExited) || attempt == 3 {
			return p, err
		}
	}
}

// start starts the server and waits until it answers our credentials.
func (p *S3Process) start(launch Launch) error {
	for _, name := range []string{"data", "versions"} {
		if err := os.MkdirAll(filepath.Join(p.dir, name), 0o700); err != nil {
			return err
		}
	}
	cmd := exec.Command(p.program, p.kind.args(p.address, p.dir)...)
	cmd.Dir = p.dir
	cmd.Env = append(p.kind.env(p.user, p.secret), "HOME="+p.dir, "PATH="+os.Getenv("PATH"), "GOMAXPROCS=2")
	var err error
	if p.process, err = startProcess(cmd, syscall.SIGKILL, launch); err != nil {
		return fmt.Errorf("start %s: %w", p.kind.Name, err)
	}
	client, err := p.client()
	if err != nil {
		return err
	}
	err = p.process.waitReady(func() error {
		resp, err := http.Get("http://" + p.address + p.kind.health)
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		_, err = client.ListBuckets(context.Background()) // with our keys: another program has none
		return err
	})
	if err != nil {
		return fmt.Errorf("start %s: %w", p.kind.Name, err)
	}
	return nil
}

func (p *S3Process) client() (*minio.Client, error) {
	return minio.New(p.address, &minio.Options{Creds: credentials.NewStaticV4(p.user, p.secret, ""),
		Region: "us-east-1", BucketLookup: minio.BucketLookupPath, MaxRetries: 1})
}
