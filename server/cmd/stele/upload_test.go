package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"stele/crypto/sm"
	"stele/notary/proof"
)

// tusClient is a small client of tus 1.0.0 (https://tus.io/protocols/resumable-upload): it
// asks how far an upload is, and sends the rest.
type tusClient struct {
	*server
	key string
}

func (s *server) tus() *tusClient { return &tusClient{s, s.info.APIKey} }

func (c *tusClient) do(ctx context.Context, method, path string, header map[string]string, body io.Reader) (response,
	error) {
	r := request{method: method, path: path, body: body, header: map[string]string{"Authorization": "Bearer " + c.key,
		"Tus-Resumable": "1.0.0"}}
	for k, v := range header {
		r.header[k] = v
	}
	return c.try(ctx, r)
}

// create begins an upload and returns its id.
func (c *tusClient) create(size int64, metadata string) string {
	c.t.Helper()
	res, err := c.do(c.t.Context(), "POST", "/api/v1/uploads", map[string]string{"Upload-Length": fmt.Sprint(size),
		"Upload-Metadata": metadata}, nil)
	fatalIfErr(c.t, err)
	id := strings.TrimPrefix(res.header.Get("Location"), "/api/v1/uploads/")
	if expires, err := http.ParseTime(res.header.Get("Upload-Expires")); res.status != 201 || id == "" || err != nil ||
		expires.Before(time.Now()) {
		c.t.Fatalf("%d %v %s", res.status, res.header, res.body)
	}
	return id
}

// offset asks how far an upload is.
func (c *tusClient) offset(id string) (int64, error) {
	res, err := c.do(context.Background(), "HEAD", "/api/v1/uploads/"+id, nil, nil)
	if err != nil {
		return 0, err
	}
	if res.status != 200 {
		return 0, fmt.Errorf("status %d", res.status)
	}
	return strconv.ParseInt(res.header.Get("Upload-Offset"), 10, 64)
}

func (c *tusClient) patch(ctx context.Context, id string, offset int64, body io.Reader) (response, error) {
	return c.do(ctx, "PATCH", "/api/v1/uploads/"+id, map[string]string{"Upload-Offset": fmt.Sprint(offset),
		"Content-Type": "application/offset+octet-stream"}, body)
}

// errCut is how a cutReader breaks off.
var errCut = errors.New("the line is cut")

// cutReader breaks off after so many bytes, in the middle of a request.
type cutReader struct {
	r    io.Reader
	left int64
}

func (c *cutReader) Read(b []byte) (int, error) {
	if c.left <= 0 {
		return 0, errCut
	}
	n, err := c.r.Read(b[:min(int64(len(b)), c.left)])
	c.left -= int64(n)
	return n, err
}

// send sends what an upload lacks; each request is cut after what cut returns. A server that
// says when to come again is believed.
func (c *tusClient) send(id string, content io.ReaderAt, size int64, cut func() int64) (requests int, err error) {
	for ; ; requests++ {
		at, err := c.offset(id)
		if err != nil || at == size {
			return requests, err
		}
		section := io.NewSectionReader(content, at, size-at)
		res, err := c.patch(context.Background(), id, at, &cutReader{section, cut()})
		switch {
		case errors.Is(err, errCut):
		case err != nil:
			return requests, err
		case res.status == http.StatusLocked: // the server has not seen yet that the line was cut
			c.comeAgain(res)
		case res.status == http.StatusConflict: // what the cut line had brought was stored after the question
		case res.status != http.StatusNoContent:
			return requests, fmt.Errorf("status %d: %s", res.status, res.body)
		}
	}
}

// comeAgain waits as long as an answer says.
func (c *tusClient) comeAgain(res response) {
	seconds, err := strconv.Atoi(res.header.Get("Retry-After"))
	if err != nil {
		c.t.Errorf("no time to come again: %v %s", res.header, res.body)
	}
	select {
	case <-time.After(time.Duration(seconds) * time.Second):
	case <-c.done:
	}
}

// noise is content of any size that takes no memory.
type noise struct{ seed byte }

func (n noise) ReadAt(b []byte, off int64) (int, error) {
	for i := range b {
		at := off + int64(i)
		b[i] = byte(at) ^ byte(at>>8)*31 ^ byte(at>>16)*17 ^ n.seed
	}
	return len(b), nil
}

func (n noise) digest(t testing.TB, size int64) sm.Digest {
	t.Helper()
	h := sm.NewHash()
	_, err := io.Copy(h, io.NewSectionReader(n, 0, size))
	fatalIfErr(t, err)
	return sm.Digest(h.Sum(nil))
}

// uploadRequest notarizes an upload.
func uploadRequest(id, key, more string) request {
	r := request{method: "POST", path: "/api/v1/records", header: map[string]string{"Content-Type": "application/json"},
		body: strings.NewReader(fmt.Sprintf(`{"upload":%q%s}`, id, more))}
	if key != "" {
		r.header["Idempotency-Key"] = key
	}
	return r
}

func never() int64 { return 1 << 62 }

func metadata(filename string) string {
	return "filename " + base64.StdEncoding.EncodeToString([]byte(filename))
}

// strays counts what lies among the site's documents and is no record's.
func (s site) strays(t testing.TB) uint64 {
	t.Helper()
	return s.fsck(t).Orphans
}

// await waits until a fact holds that nothing tells of.
func await(t testing.TB, what string, fact func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !fact(); {
		if time.Now().After(deadline) {
			t.Fatal("it did not come to be: " + what)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// A large file over a line that is cut again and again becomes one record of the right
// digest, and the server's memory does not grow with it.
func TestUploadOverABadLine(t *testing.T) {
	t.Parallel()
	const size = 200 << 20
	file := noise{7}
	want := file.digest(t, size)
	forEachBackend(t, func(t *testing.T, site site) {
		s := site.start(t)
		c := s.tus()
		before := s.memory(t)
		id := c.create(size, metadata("城市规划.pdf"))
		requests, err := c.send(id, file, size, func() int64 { return rand.Int64N(24 << 20) })
		fatalIfErr(t, err)
		rec := s.notarize(uploadRequest(id, "large", `,"title":"Plan"`))
		if rec.Document.SM3 != want.String() || rec.Document.Size != size || rec.Fields["fileName"] != "城市规划.pdf" {
			t.Fatalf("%+v, want %s", rec, want)
		}
		if grown := s.memory(t) - before; grown > 64<<20 {
			t.Errorf("the server's memory grew by %d MiB", grown>>20)
		}
		t.Logf("%d requests", requests)
		again := s.call(uploadRequest(id, "large", `,"title":"Plan"`))
		var same record
		if again.json(t, &same); same.ID != rec.ID || again.header.Get("Idempotency-Replayed") != "true" {
			t.Errorf("repeated: %d %s", again.status, again.body)
		}
		if res := s.call(uploadRequest(id, "large", `,"title":"Another"`)); res.status != 409 {
			t.Errorf("the same key for another request: %d %s", res.status, res.body)
		}
		if res := s.call(uploadRequest(id, "", "")); res.status != 404 {
			t.Errorf("an upload that is gone: %d %s", res.status, res.body)
		}
		s.notarize(digestRequest(newDigest(), "", "anchored"))
		s.demand(rec, proof.Genuine)
		await(t, "its parts are gone", func() bool { return site.strays(t) == 0 })
		s.stop()
		if res := site.fsck(t); res.Records != 2 || res.Documents != 1 || res.Orphans != 0 {
			t.Errorf("%+v", res)
		}
	})
}

// memory is the resident memory of the server at its highest, in bytes.
func (s *server) memory(t testing.TB) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	fatalIfErr(t, err)
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	fatalIfErr(t, err)
	return kib << 10
}

// kill -9 of the server in the middle of uploads and of their notarization: what was said to
// be here is here, each file becomes one record of the right digest, nothing is left.
func TestUploadKillNine(t *testing.T) {
	t.Parallel()
	rounds := 8
	if testing.Short() {
		rounds = 2
	}
	forEachBackend(t, func(t *testing.T, site site) {
		t.Parallel()
		const files, size = 3, 40 << 20
		ids, said := make([]string, files), make([]int64, files)
		finished := 0
		s := site.start(t)
		for i := range ids {
			ids[i] = s.tus().create(size, "")
		}
		work := func(s *server, i int) {
			c := s.tus()
			if at, err := c.offset(ids[i]); err == nil {
				if at < said[i] {
					t.Errorf("upload %d was at %d and is at %d", i, said[i], at)
				}
				said[i] = at
			}
			if _, err := c.send(ids[i], noise{byte(i)}, size,
				func() int64 { return 1<<20 + rand.Int64N(16<<20) }); err != nil {
				return
			}
			said[i] = size
			_, _ = s.try(t.Context(), uploadRequest(ids[i], fmt.Sprint("file ", i), ""))
		}
		for range rounds {
			time.AfterFunc(time.Duration(50+rand.IntN(900))*time.Millisecond, s.kill)
			var wg sync.WaitGroup
			for i := range ids {
				wg.Go(func() { work(s, i) })
			}
			wg.Wait()
			<-s.done
			site.fsck(t)
			s = site.start(t)
		}
		for i := range ids {
			c := s.tus()
			if _, err := c.offset(ids[i]); err == nil {
				_, err := c.send(ids[i], noise{byte(i)}, size, never)
				fatalIfErr(t, err)
			}
			rec := s.notarizeAgain(c, func() request { return uploadRequest(ids[i], fmt.Sprint("file ", i), "") })
			if want := (noise{byte(i)}).digest(t, size); rec.Document.SM3 != want.String() {
				t.Errorf("upload %d became %+v, want %s", i, rec.Document, want)
			}
			finished++
		}
		s.stop()
		s = site.start(t, "--sweep-after", "1ms") // sweeps at its start
		await(t, "no parts are left", func() bool { return site.strays(t) == 0 })
		s.stop()
		if res := site.fsck(t); res.Records != uint64(finished) {
			t.Errorf("%d records of %d uploads", res.Records, finished)
		}
	})
}

// notarizeAgain repeats a request as a client does that is told to come again.
func (s *server) notarizeAgain(c *tusClient, r func() request) record {
	s.t.Helper()
	for {
		res := s.call(r())
		if res.status == http.StatusCreated {
			var rec record
			res.json(s.t, &rec)
			return rec
		}
		if res.status != http.StatusConflict || res.header.Get("Retry-After") == "" {
			s.t.Fatalf("%d %s\n%s", res.status, res.body, s.log)
		}
		c.comeAgain(res)
	}
}

// Only one request at a time sends to an upload, on whichever server; another agency finds
// none; what is given up or has expired is gone, with its parts.
func TestUploadIsOnes(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, site site) {
		s := site.start(t, "--max-uploads", "3", "--max-document", "100000000")
		c := s.tus()
		other := &tusClient{s, s.otherAgencyKey(t)}
		const size = 32 << 20
		file := noise{1}
		id := c.create(size, "")
		if _, err := other.offset(id); err == nil {
			t.Error("another agency sees the upload")
		}
		for _, try := range []func() (response, error){
			func() (response, error) { return other.patch(t.Context(), id, 0, strings.NewReader("x")) },
			func() (response, error) { return other.do(t.Context(), "DELETE", "/api/v1/uploads/"+id, nil, nil) },
			func() (response, error) {
				r := uploadRequest(id, "", "")
				r.header["Authorization"] = "Bearer " + other.key
				return s.try(t.Context(), r)
			},
		} {
			if res, err := try(); err != nil || res.status != 404 {
				t.Errorf("another agency's: %d %v %s", res.status, err, res.body)
			}
		}

		// The first request holds the upload while its bytes come; the second is told when
		// to come again, by this server and by another one.
		servers := []*server{s}
		if site.args != nil {
			servers = append(servers, site.start(t, "--chain", "none"))
		}
		line, far := io.Pipe()
		sent := make(chan response, 1)
		go func() {
			res, _ := c.patch(context.Background(), id, 0, line)
			sent <- res
		}()
		at := int64(0)
		feed := func(n int64) {
			_, err := io.Copy(far, io.NewSectionReader(file, at, n))
			if err != nil {
				t.Error(err)
			}
			at += n
		}
		feed(size / 2) // more than the line holds: it is over when the server reads, and so has the upload
		// A line that is silent for seconds loses the upload to whoever asks.
		asked, quiet := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(quiet)
			for tick := time.NewTicker(100 * time.Millisecond); ; {
				select {
				case <-tick.C:
					feed(1000)
				case <-asked:
					return
				}
			}
		}()
		for _, on := range servers {
			res := response{status: http.StatusConflict}
			for res.status == http.StatusConflict { // it has moved on between the question and the request
				now, err := on.tus().offset(id)
				fatalIfErr(t, err)
				res, err = on.tus().patch(t.Context(), id, now, strings.NewReader("x"))
				fatalIfErr(t, err)
			}
			if res.status != http.StatusLocked || res.header.Get("Retry-After") == "" {
				t.Errorf("a second request: %d %s", res.status, res.body)
			}
			if res := on.call(uploadRequest(id, "", "")); res.status != 409 {
				t.Errorf("notarized while it comes: %d %s", res.status, res.body)
			}
		}
		close(asked)
		<-quiet
		feed(size - at)
		fatalIfErr(t, far.Close())
		if res := <-sent; res.status != 204 || res.header.Get("Upload-Offset") != fmt.Sprint(size) {
			t.Fatalf("%d %s", res.status, res.body)
		}
		if rec := s.notarize(uploadRequest(id, "", "")); rec.Document.SM3 != file.digest(t, size).String() {
			t.Errorf("%+v", rec)
		}

		for range 3 {
			id = c.create(5, "")
		}
		if res, err := c.do(t.Context(), "POST", "/api/v1/uploads", map[string]string{"Upload-Length": "5"},
			nil); err != nil || res.status != 409 {
			t.Errorf("a fourth upload: %d %v %s", res.status, err, res.body)
		}
		if res, err := other.do(t.Context(), "POST", "/api/v1/uploads", map[string]string{"Upload-Length": "5"},
			nil); err != nil || res.status != 201 {
			t.Errorf("another agency has a limit of its own: %d %v %s", res.status, err, res.body)
		}
		if res, err := c.patch(t.Context(), id, 0, strings.NewReader("abc")); err != nil || res.status != 204 {
			t.Errorf("%d %v", res.status, err)
		}
		if res := s.call(uploadRequest(id, "", "")); res.status != 409 {
			t.Errorf("an upload that is not complete: %d %s", res.status, res.body)
		}
		if res, err := c.do(t.Context(), "DELETE", "/api/v1/uploads/"+id, nil, nil); err != nil || res.status != 204 {
			t.Errorf("%d %v", res.status, err)
		}
		if _, err := c.offset(id); err == nil {
			t.Error("an upload that was given up is there")
		}
		await(t, "its parts are gone", func() bool { return site.strays(t) == 0 })
		for _, at := range servers {
			at.stop()
		}
		site.fsck(t)
	})
}

// An upload that nobody notarizes expires, and its parts go.
func TestUploadExpires(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, site site) {
		s := site.start(t, "--upload-expiry", "2s")
		c := s.tus()
		res, err := c.do(t.Context(), "POST", "/api/v1/uploads", map[string]string{"Upload-Length": "3",
			"Content-Type": "application/offset+octet-stream"}, strings.NewReader("abc"))
		fatalIfErr(t, err)
		id := strings.TrimPrefix(res.header.Get("Location"), "/api/v1/uploads/")
		if res.status != 201 || res.header.Get("Upload-Offset") != "3" {
			t.Fatalf("%d %v", res.status, res.header)
		}
		await(t, "it has expired", func() bool { _, err := c.offset(id); return err != nil })
		if res := s.call(uploadRequest(id, "", "")); res.status != 404 {
			t.Errorf("%d %s", res.status, res.body)
		}
		s.stop()
		s = site.start(t)
		await(t, "its parts are gone", func() bool { return site.strays(t) == 0 })
		s.stop()
		site.fsck(t)
	})
}

// A file goes straight into the bucket: exactly the one that was announced, once, in time.
func TestUploadDirect(t *testing.T) {
	t.Parallel()
	t.Run("folder", func(t *testing.T) {
		s := site{data: folder(t)}.start(t)
		res := s.call(as(s.info.APIKey, "POST", "/api/v1/uploads/presigned", `{"size":5}`))
		if res.status != 409 || !bytes.Contains(res.body, []byte("tus")) {
			t.Errorf("%d %s", res.status, res.body)
		}
	})
	t.Run("bucket", func(t *testing.T) {
		site := backends["postgres+s3"](t)
		s := site.start(t, "--max-document", "100000")
		c := newContract(t, s)
		content := bytes.Repeat([]byte("direct "), 10_000)
		type direct struct {
			ID, URL string
			Headers map[string]string
		}
		begin := func(more string) (d direct) {
			t.Helper()
			c.want(as(s.info.APIKey, "POST", "/api/v1/uploads/presigned",
				fmt.Sprintf(`{"size":%d,"filename":"a.txt"%s}`, len(content), more)), 201).json(t, &d)
			return d
		}
		put := func(d direct, body []byte, change func(*http.Request)) int {
			t.Helper()
			req, err := http.NewRequest("PUT", d.URL, bytes.NewReader(body))
			fatalIfErr(t, err)
			for k, v := range d.Headers {
				if k != "Content-Length" {
					req.Header.Set(k, v)
				}
			}
			if change != nil {
				change(req)
			}
			res, err := httpClient.Do(req)
			fatalIfErr(t, err)
			defer res.Body.Close()
			_, _ = io.Copy(io.Discard, res.Body)
			return res.StatusCode
		}
		d := begin("")
		if res := s.call(uploadRequest(d.ID, "", "")); res.status != 409 {
			t.Errorf("nothing was stored yet: %d %s", res.status, res.body)
		}
		if got := put(d, content[:100], nil); got != 403 {
			t.Errorf("a shorter file: %d", got)
		}
		if got := put(d, append(content, 'x'), nil); got != 403 {
			t.Errorf("a longer file: %d", got)
		}
		if got := put(d, content, func(r *http.Request) { r.Header.Del("If-None-Match") }); got == 200 {
			t.Error("without the condition")
		}
		if got := put(d, content, func(r *http.Request) {
			r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "X-Amz-Expires=3600", "X-Amz-Expires=360000", 1)
		}); got != 403 {
			t.Errorf("a longer time: %d", got)
		}
		if got := put(d, content, nil); got != 200 {
			t.Fatalf("the file: %d", got)
		}
		if got := put(d, bytes.Repeat([]byte("Direct "), 10_000), nil); got != 412 {
			t.Errorf("a second time: %d", got)
		}
		if res, err := s.tus().patch(t.Context(), d.ID, 0, strings.NewReader("x")); err != nil || res.status != 409 {
			t.Errorf("in pieces: %d %v", res.status, err)
		}
		if res := s.call(uploadRequest(d.ID, "", `,"sm3":"`+newDigest()+`"`)); res.status != 422 {
			t.Errorf("another digest: %d %s", res.status, res.body)
		}
		s.refuses(t, uploadRequest(d.ID, "", `,"size":70001`), 422, "invalid_request", "not the 70001")
		s.refuses(t, uploadRequest(d.ID, "", `,"mediaType":"application/pdf"`), 422, "invalid_request", "text/plain")
		rec := s.notarize(uploadRequest(d.ID, "", `,"size":70000`))
		if rec.Document.SM3 != sm.Sum(content).String() || rec.Fields["fileName"] != "a.txt" {
			t.Errorf("%+v", rec)
		}
		if again := s.notarize(uploadRequest(d.ID, "", `,"size":70000`)); again.ID != rec.ID {
			t.Errorf("without a key, the upload is one: %+v", again)
		}
		wrong := begin(`,"sm3":"` + newDigest() + `"`)
		if got := put(wrong, content, nil); got != 200 {
			t.Fatal(got)
		}
		if res := s.call(uploadRequest(wrong.ID, "", "")); res.status != 422 ||
			!bytes.Contains(res.body, []byte("digest_mismatch")) {
			t.Errorf("not the digest that was announced: %d %s", res.status, res.body)
		}
		if res := s.call(as(s.info.APIKey, "POST", "/api/v1/uploads/presigned", `{"size":100001}`)); res.status != 413 {
			t.Errorf("over the limit: %d %s", res.status, res.body)
		}
		s.stop()
		if res := site.fsck(t); res.Records != 1 || res.Orphans != 1 { // the upload that was refused is still one
			t.Errorf("%+v", res)
		}
	})
}

// A server that is asked to stop keeps what has come, says so, and does not wait for the rest.
func TestUploadAtAStop(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, site site) {
		const size = 32 << 20
		file := noise{2}
		s := site.start(t)
		c := s.tus()
		id := c.create(size, "")
		line, far := io.Pipe()
		sent := make(chan response, 1)
		go func() {
			res, _ := c.patch(context.Background(), id, 0, line)
			sent <- res
		}()
		_, err := io.Copy(far, io.NewSectionReader(file, 0, size-1000))
		fatalIfErr(t, err)
		s.stop()
		if res := <-sent; res.status != http.StatusServiceUnavailable || res.header.Get("Retry-After") == "" {
			t.Errorf("%d %s", res.status, res.body)
		}
		s = site.start(t)
		c = s.tus()
		at, err := c.offset(id)
		if fatalIfErr(t, err); at < 8<<20 || at == size {
			t.Errorf("at %d", at)
		}
		_, err = c.send(id, file, size, never)
		fatalIfErr(t, err)
		if rec := s.notarize(uploadRequest(id, "", "")); rec.Document.SM3 != file.digest(t, size).String() {
			t.Errorf("%+v", rec)
		}
		s.stop()
		site.fsck(t)
	})
}
