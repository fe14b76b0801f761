package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"stele/notary"
	uploads "stele/notary/register/upload"
	"stele/storage/blob"
	"stele/storage/blob/s3"
	"stele/storage/storagetest"
)

var _ storagetest.Store = (*s3.Store)(nil)

func newStore(t testing.TB, config s3.Config) *s3.Store {
	t.Helper()
	if err := s3.Init(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	return mustOpen(t, config)
}

func mustOpen(t testing.TB, config s3.Config) *s3.Store {
	t.Helper()
	s, err := s3.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// mustClient talks to the server past the adapter.
func mustClient(t *testing.T, c s3.Config) *minio.Core {
	t.Helper()
	core, err := minio.NewCore(c.Endpoint, &minio.Options{Creds: credentials.NewStaticV4(c.AccessKey, c.SecretKey, ""),
		Region: c.Region})
	if err != nil {
		t.Fatal(err)
	}
	return core
}

// eachServer runs a test on every S3 server that the docs name.
func eachServer(t *testing.T, f func(t *testing.T, server *storagetest.S3Server)) {
	for _, server := range storagetest.S3Servers {
		t.Run(server.Name, func(t *testing.T) { f(t, server) })
	}
}

// Every server that the docs name keeps what Stele needs of one.
func TestConformance(t *testing.T) {
	for _, server := range storagetest.S3Servers {
		for name, open := range map[string]func(t *testing.T) storagetest.Store{
			"plain": func(t *testing.T) storagetest.Store { return newStore(t, server.Plain(t).Config()) },
			"prefix": func(t *testing.T) storagetest.Store {
				c := server.Plain(t).Config()
				c.Prefix = "city/stele"
				return newStore(t, c)
			},
			"versions": func(t *testing.T) storagetest.Store { return newStore(t, server.Locked(t).Config()) },
		} {
			t.Run(server.Name+"/"+name, func(t *testing.T) { storagetest.TestObjects(t, open) })
		}
	}
}

// Two stores in one bucket do not see each other.
func TestPrefixesAreApart(t *testing.T) {
	eachServer(t, func(t *testing.T, server *storagetest.S3Server) {
		a := server.Plain(t).Config()
		b := a
		a.Prefix, b.Prefix = "a", "a-b"
		sa, sb := newStore(t, a), newStore(t, b)
		if err := errors.Join(sa.PutOnce(t.Context(), "key", []byte("of a")),
			sb.PutOnce(t.Context(), "key", []byte("of b")), sb.Delete(t.Context(), "key")); err != nil {
			t.Fatal(err)
		}
		if data, err := sa.Get(t.Context(), "key", 10); err != nil || string(data) != "of a" {
			t.Errorf("got %q, %v", data, err)
		}
	})
}

func TestOpenNeverGuesses(t *testing.T) {
	eachServer(t, func(t *testing.T, server *storagetest.S3Server) {
		config := server.Plain(t).Config()
		if _, err := s3.Open(t.Context(), config); !errors.Is(err, blob.ErrNotInitialized) ||
			!strings.Contains(err.Error(), "rebuild-store") {
			t.Errorf("bucket without a marker: %v", err)
		}
		for range 2 {
			if err := s3.Init(t.Context(), config); err != nil {
				t.Fatal(err)
			}
		}
		other := config
		other.Prefix = "elsewhere"
		if _, err := s3.Open(t.Context(), other); !errors.Is(err, blob.ErrNotInitialized) {
			t.Errorf("prefix without a marker: %v", err)
		}
		text := "stele object store, layout 2\n"
		if _, err := mustClient(t, config).Client.PutObject(t.Context(), config.Bucket, "STELE-OBJECTS",
			strings.NewReader(text), int64(len(text)), minio.PutObjectOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := s3.Open(t.Context(), config); err == nil || !strings.Contains(err.Error(), "another version") {
			t.Errorf("other layout: %v", err)
		}
		if err := s3.Init(t.Context(), config); err == nil {
			t.Error("Init took over a store of another layout")
		}
	})
}

func TestCreateBucket(t *testing.T) {
	eachServer(t, func(t *testing.T, server *storagetest.S3Server) {
		config := server.Plain(t).Config()
		config.Bucket += "-new"
		config.Retention = s3.Retention{Mode: "GOVERNANCE", Days: 1}
		for range 2 {
			if err := s3.CreateBucket(t.Context(), config, true); err != nil {
				t.Fatal(err)
			}
		}
		newStore(t, config)
	})
}

// What is wrong is said, with what to check, and without the secret.
func TestErrorsSayWhatToCheck(t *testing.T) {
	eachServer(t, func(t *testing.T, server *storagetest.S3Server) {
		t.Parallel() // it waits for attempts that are in vain
		good := server.Plain(t).Config()
		newStore(t, good)
		for name, c := range map[string]struct {
			change func(c *s3.Config)
			want   error
			advice string
		}{
			"secret":       {func(c *s3.Config) { c.SecretKey = "wrong-wrong" }, s3.ErrCredentials, "secret key"},
			"access key":   {func(c *s3.Config) { c.AccessKey = "nobody" }, s3.ErrCredentials, "access key"},
			"bucket":       {func(c *s3.Config) { c.Bucket = "no-such-bucket" }, s3.ErrBucket, "create it"},
			"unreachable":  {func(c *s3.Config) { c.Endpoint = "127.0.0.1:1" }, s3.ErrUnreachable, "endpoint"},
			"no such host": {func(c *s3.Config) { c.Endpoint = "stele.invalid" }, s3.ErrUnreachable, "endpoint"},
			"tls":          {func(c *s3.Config) { c.TLS = true }, s3.ErrUnreachable, "TLS"},
		} {
			t.Run(name, func(t *testing.T) {
				config := good
				c.change(&config)
				for what, err := range map[string]error{"Init": s3.Init(t.Context(), config),
					"Open": openErr(t, config)} {
					if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.advice) ||
						!strings.Contains(err.Error(), config.Endpoint) {
						t.Errorf("%s, %s: got %v, want %v and advice on the %s", name, what, err, c.want, c.advice)
					}
					if err != nil && strings.Contains(err.Error(), config.SecretKey) {
						t.Errorf("%s, %s: the error holds the secret", name, what)
					}
				}
			})
		}
	})
}

func openErr(t *testing.T, config s3.Config) error {
	s, err := s3.Open(t.Context(), config)
	if err == nil {
		s.Close()
	}
	return err
}

func TestConfigIsChecked(t *testing.T) {
	good := s3.Config{Endpoint: "127.0.0.1:1", Bucket: "b", AccessKey: "a", SecretKey: "s"}
	for want, change := range map[string]func(c *s3.Config){
		"endpoint is empty": func(c *s3.Config) { c.Endpoint = "" },
		"bucket is empty":   func(c *s3.Config) { c.Bucket = "" },
		"secret key":        func(c *s3.Config) { c.SecretKey = "" },
		"prefix":            func(c *s3.Config) { c.Prefix = "/a/" },
		"at most": func(c *s3.Config) {
			c.Prefix = strings.Repeat("aaaaaaaaa/", 51) + "a" + strings.Repeat("b", 10)
		},
		"part size":       func(c *s3.Config) { c.PartSize = 1 << 20 },
		"GOVERNANCE":      func(c *s3.Config) { c.Retention = s3.Retention{Mode: "FOREVER", Days: 1} },
		"at least a day":  func(c *s3.Config) { c.Retention = s3.Retention{Mode: "COMPLIANCE"} },
		"endpoint \"http": func(c *s3.Config) { c.Endpoint = "http://a/b" },
	} {
		t.Run(want, func(t *testing.T) {
			config := good
			change(&config)
			if err := s3.Init(t.Context(), config); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want a word about %q", err, want)
			}
		})
	}
}

func TestConfigHidesItsSecret(t *testing.T) {
	c := s3.Config{Endpoint: "e", Bucket: "b", AccessKey: "access", SecretKey: "hush"}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("config", "config", c)
	for _, text := range []string{c.String(), fmt.Sprintf("%v %+v %#v %s", c, c, c, c), log.String()} {
		if strings.Contains(text, "hush") {
			t.Errorf("the secret is in %q", text)
		}
	}
}

// What is no document goes for good from a bucket with object lock, in every version: the tail of what was
// received holds what somebody may want erased.
func TestTailIsNotRetained(t *testing.T) {
	config := storagetest.StartMinIOLocked(t).Config()
	config.Retention = s3.Retention{Mode: "COMPLIANCE", Days: 30, Prefix: "doc/"}
	s := newStore(t, config)
	client := mustClient(t, config)
	versions := func() (n int) {
		for info := range client.ListObjectsIter(t.Context(), config.Bucket, minio.ListObjectsOptions{Prefix: "tail/",
			Recursive: true, WithVersions: true}) {
			if info.Err != nil {
				t.Fatal(info.Err)
			}
			n++
		}
		return n
	}
	for _, put := range []func() error{
		func() error { return s.PutOnce(t.Context(), "tail/entries/one", []byte("private")) },
		func() error {
			return s.PutOnceAll(t.Context(), map[string][]byte{"tail/entries/one": []byte("private")})
		},
	} {
		if err := put(); err != nil || versions() == 0 {
			t.Fatalf("%d versions: %v", versions(), err)
		}
		if err := s.Delete(t.Context(), "tail/entries/one"); err != nil || versions() != 0 {
			t.Errorf("%d versions are left: %v", versions(), err)
		}
	}
}

// Documents are locked for the retention, to the day; what is not a document is not.
func TestRetention(t *testing.T) {
	eachServer(t, func(t *testing.T, server *storagetest.S3Server) {
		now := time.Now().Truncate(time.Second)
		config := server.Locked(t).Config()
		config.Retention = s3.Retention{Mode: "COMPLIANCE", Days: 30}
		config.Now = func() time.Time { return now }
		s := newStore(t, config)
		client := mustClient(t, config)
		for key, body := range map[string]io.Reader{"doc/small": strings.NewReader("small"),
			"doc/parts": io.LimitReader(zeros{}, 11<<20)} {
			t.Run(key, func(t *testing.T) {
				created, err := s.Create(t.Context(), key, body, -1)
				if err != nil {
					t.Fatal(err)
				}
				info, err := client.Client.StatObject(t.Context(), config.Bucket, key,
					minio.StatObjectOptions{VersionID: created.Version})
				until, _ := time.Parse(time.RFC3339, info.Metadata.Get("X-Amz-Object-Lock-Retain-Until-Date"))
				mode := info.Metadata.Get("X-Amz-Object-Lock-Mode")
				if err != nil || mode != "COMPLIANCE" || !until.Equal(now.AddDate(0, 0, 30)) {
					t.Errorf("%s: retained as %v until %v, %v", key, mode, until, err)
				}
				// Who has the keys cannot take it back either.
				if err := client.RemoveObject(t.Context(), config.Bucket, key,
					minio.RemoveObjectOptions{VersionID: created.Version,
						GovernanceBypass: true}); err == nil {
					t.Errorf("%s: removed while retained", key)
				}
				if err := s.Delete(t.Context(), key); !errors.Is(err, blob.ErrRetained) {
					t.Errorf("%s: deleting gives %v", key, err)
				}
				r, object, err := s.Open(t.Context(), key, "")
				if err != nil || object.Version != created.Version {
					t.Fatalf("%s: after the attempt to delete it: %+v, %v", key, object, err)
				}
				r.Close()
				// Somebody with the keys puts another document over it, and hides both.
				if _, err := client.Client.PutObject(t.Context(), config.Bucket, key, strings.NewReader("forged"), 6,
					minio.PutObjectOptions{}); err != nil {
					t.Fatal(err)
				}
				if err := client.RemoveObject(t.Context(), config.Bucket, key,
					minio.RemoveObjectOptions{}); err != nil {
					t.Fatal(err)
				}
				if r, object, err = s.Open(t.Context(), key, created.Version); err != nil ||
					object.Size != created.Size {
					t.Fatalf("%s: the version that was stored is %+v, %v", key, object, err)
				}
				r.Close()
				// Deleting again must not bring it back into sight.
				if err := s.Delete(t.Context(), key); !errors.Is(err, blob.ErrRetained) {
					t.Errorf("%s: deleting gives %v", key, err)
				}
				if _, _, err := s.Open(t.Context(), key, ""); !errors.Is(err, notary.ErrObjectNotFound) {
					t.Errorf("%s: a hidden document is %v", key, err)
				}
			})
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		config.Retention.Prefix = "doc/"
		s = mustOpen(t, config)
		if _, err := s.Create(t.Context(), "upload/part", strings.NewReader("part"), -1); err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(t.Context(), "upload/part"); err != nil {
			t.Errorf("what is not a document: %v", err)
		}
		document, err := s.Create(t.Context(), "doc/one", strings.NewReader("document"), -1)
		if err != nil || document.Version == "" {
			t.Fatal(document, err)
		}
		if err := s.Delete(t.Context(), "doc/one"); !errors.Is(err, blob.ErrRetained) {
			t.Errorf("a document: %v", err)
		}
		if err := errors.Join(s.PutOnce(t.Context(), "tile", []byte("1")), s.Delete(t.Context(), "tile")); err != nil {
			t.Errorf("a tile: %v", err)
		}
	})
}

// What is signed is the public endpoint's, and nothing of it can be left out.
func TestSignPut(t *testing.T) {
	config := storagetest.StartMinIO(t).Config()
	config.Prefix, config.PublicEndpoint = "stele", "https://files.example:9443"
	s := newStore(t, config)
	signed, err := s.SignPut(t.Context(), "upload/a.whole", 5, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(signed.URL)
	if err != nil || u.Scheme != "https" || u.Host != "files.example:9443" || u.Path != "/"+config.Bucket+
		"/stele/upload/a.whole" {
		t.Errorf("%s %v", signed.URL, err)
	}
	if got := u.Query().Get("X-Amz-SignedHeaders"); got != "content-length;host;if-none-match" {
		t.Errorf("signed are %s", got)
	}
	if signed.Headers["Content-Length"] != "5" || signed.Headers["If-None-Match"] != "*" ||
		time.Until(signed.ExpiresAt) > time.Hour {
		t.Errorf("%+v", signed)
	}
	if _, err := s.SignPut(t.Context(), "../x", 5, time.Hour); !errors.Is(err, blob.ErrKey) {
		t.Errorf("a key that is none: %v", err)
	}
	for _, bad := range []string{"files.example", "ftp://files.example", "https://u@files.example",
		"https://files.example/path", "https://"} {
		config.PublicEndpoint = bad
		if err := openErr(t, config); !strings.Contains(err.Error(), "public endpoint") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// A client's own PUT to a signed address is taken once, in the size that was signed, and unaltered.
func TestSignedPut(t *testing.T) {
	eachServer(t, func(t *testing.T, server *storagetest.S3Server) {
		config := server.Plain(t).Config()
		config.PublicEndpoint = "http://" + config.Endpoint
		s := newStore(t, config)
		put := func(signed uploads.Signed, body string) int {
			t.Helper()
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, signed.URL, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			for name, value := range signed.Headers {
				r.Header.Set(name, value)
			}
			res, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			return res.StatusCode
		}
		signed, err := s.SignPut(t.Context(), "upload/a", 5, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			body string
			want int
		}{{"longer", http.StatusForbidden}, {"fives", http.StatusOK}, {"other", http.StatusPreconditionFailed}} {
			if got := put(signed, c.body); got != c.want {
				t.Errorf("%q: status %d, want %d", c.body, got, c.want)
			}
		}
		if data, err := s.Get(t.Context(), "upload/a", 10); err != nil || string(data) != "fives" {
			t.Errorf("stored is %q, %v", data, err)
		}
	})
}

// Of two PUTs at once to a signed address one counts: what is there, and may be the original of a record by
// then, is not replaced by one that began before and ends after.
func TestSignedPutTooLate(t *testing.T) {
	eachServer(t, func(t *testing.T, server *storagetest.S3Server) {
		const half = 1 << 20
		config := server.Plain(t).Config()
		config.PublicEndpoint = "http://" + config.Endpoint
		s := newStore(t, config)
		signed, err := s.SignPut(t.Context(), "doc/a", 2*half, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		put := func(body io.Reader) <-chan int {
			status := make(chan int, 1)
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, signed.URL, body)
			if err != nil {
				t.Fatal(err)
			}
			r.ContentLength = 2 * half
			r.Header.Set("Expect", "100-continue") // what is written then has a reader
			for name, value := range signed.Headers {
				r.Header.Set(name, value)
			}
			go func() {
				res, err := http.DefaultClient.Do(r)
				if err != nil {
					status <- 0
					return
				}
				res.Body.Close()
				status <- res.StatusCode
			}()
			return status
		}
		slow, rest := io.Pipe()
		first := put(slow)
		if _, err := rest.Write(bytes.Repeat([]byte("1"), half)); err != nil {
			t.Fatal(err)
		}
		second, got := put(bytes.NewReader(bytes.Repeat([]byte("2"), 2*half))), map[byte]int{}
		select { // some servers let it pass, and some let it wait
		case got['2'] = <-second:
		case <-time.After(time.Second):
		}
		go func() { rest.Write(bytes.Repeat([]byte("1"), half)); rest.Close() }()
		got['1'] = <-first
		if got['2'] == 0 {
			got['2'] = <-second
		}
		data, err := s.Get(t.Context(), "doc/a", 2*half)
		if err != nil {
			t.Fatal(err)
		}
		if won := data[0]; got[won] != http.StatusOK ||
			got['1']+got['2'] != http.StatusOK+http.StatusPreconditionFailed {
			t.Errorf("%q won with the answers %v", won, got)
		}
	})
}

func TestRetentionNeedsObjectLock(t *testing.T) {
	eachServer(t, func(t *testing.T, server *storagetest.S3Server) {
		config := server.Plain(t).Config()
		config.Retention = s3.Retention{Mode: "GOVERNANCE", Days: 1}
		if err := s3.Init(t.Context(), config); err == nil || !strings.Contains(err.Error(), "object lock") {
			t.Errorf("got %v", err)
		}
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A failed upload in parts leaves none of them on the server, and Sweep removes those that
// a killed process leaves, when they are old enough.
func TestIncompleteUploads(t *testing.T) {
	eachServer(t, func(t *testing.T, server *storagetest.S3Server) {
		config := server.Plain(t).Config()
		config.Prefix = "p"
		s := newStore(t, config)
		client := mustClient(t, config)
		incomplete := func(key string) int {
			t.Helper()
			list, err := client.ListMultipartUploads(t.Context(), config.Bucket, "p/"+key, "", "", "", 100)
			if err != nil {
				t.Fatal(err)
			}
			return len(list.Uploads)
		}
		gone := errors.New("gone")
		if _, err := s.Create(t.Context(), "failed", io.MultiReader(io.LimitReader(zeros{}, 12<<20),
			iotest.ErrReader(gone)), -1); !errors.Is(err, gone) {
			t.Errorf("got %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cut := readerFunc(func(p []byte) (int, error) { cancel(); return zeros{}.Read(p) })
		if _, err := s.Create(ctx, "cancelled", io.MultiReader(io.LimitReader(zeros{}, 12<<20), cut), -1); !errors.Is(
			err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		for _, key := range []string{"failed", "cancelled"} {
			if n := incomplete(key); n != 0 {
				t.Errorf("%s has left %d incomplete uploads", key, n)
			}
		}
		for _, key := range []string{"killed", "killed-too"} {
			if _, err := client.NewMultipartUpload(t.Context(), config.Bucket, "p/"+key,
				minio.PutObjectOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		// A server that lists uploads by prefix gives those that nobody names, too.
		of, others := 1, 1
		if server.ListsUploads {
			of, others = 2, 0
		}
		keys := func(yield func(string) bool) { _ = yield("nothing") && yield("killed") }
		for _, c := range []struct {
			before      time.Time
			swept, left int
		}{{time.Now().Add(-time.Hour), 0, of}, {time.Now().Add(time.Hour), of, 0}} {
			if n, err := s.Sweep(t.Context(), c.before, keys); n != c.swept || err != nil {
				t.Errorf("swept %d, %v, want %d", n, err, c.swept)
			}
			if n := incomplete("killed"); n != c.left {
				t.Errorf("%d left, want %d", n, c.left)
			}
		}
		if n := incomplete("killed-too"); n != others {
			t.Errorf("%d uploads of a key that was not named, want %d", n, others)
		}
		if _, err := s.Sweep(t.Context(), time.Now(), nil); err != nil {
			t.Error(err)
		}
	})
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func BenchmarkPutOnceAll(b *testing.B) {
	storagetest.BenchmarkPutOnceAll(b, newStore(b, storagetest.StartMinIO(b).Config()))
}

func BenchmarkCreate(b *testing.B) {
	config := storagetest.StartMinIO(b).Config()
	config.PartSize = s3.DefaultPartSize
	storagetest.BenchmarkCreate(b, newStore(b, config))
}
