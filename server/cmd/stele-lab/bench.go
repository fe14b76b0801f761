package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"stele/crypto/sm"
	"stele/notary/proof"
)

type benchCmd struct {
	Postgres         string        `help:"Empty database to measure on besides SQLite: postgres://user@host/name?sslmode=disable." placeholder:"URL"`
	PostgresPassword string        `name:"postgres-password-file" help:"File with its password." placeholder:"FILE"`
	Dir              string        `help:"Folder for the temporary instances; its disk is what is measured." placeholder:"DIR"`
	Duration         time.Duration `default:"8s" help:"How long each throughput is measured."`
	Clients          int           `default:"256" help:"Concurrent clients for one record a request."`
	UploadMiB        int           `name:"upload-mib" default:"1024" help:"Size of the streamed upload."`
	Only             string        `help:"Measure only what contains this text." placeholder:"TEXT"`
	MetricsListen    string        `hidden:"" help:"Private listener of the measured server, for profiles."`
	Rounds           int           `default:"3" help:"Rounds; the medians are printed."`
	JSON             bool          `name:"json" help:"Print JSON."`
}

// result is one line of the table.
type result struct {
	Name    string    `json:"name"`
	Unit    string    `json:"unit"`
	Values  []float64 `json:"values"`
	Median  float64   `json:"median"`
	Limit   string    `json:"limit,omitempty"` // what it is compared with
	Ratio   float64   `json:"ratio,omitempty"`
	Aim     string    `json:"aim,omitempty"`
	limitBy *result
}

// Run measures. Everything is measured in one run on one machine, limits included, because
// machines differ and are noisy: ratios say more than absolute numbers.
func (c *benchCmd) Run(ctx context.Context, s *streams, product productPath) error {
	program, err := product.find()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(c.Dir, "stele-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{cmd: c, program: program, dir: dir, out: s.err}
	kinds := []string{"sqlite"}
	if c.Postgres != "" {
		kinds = append(kinds, "postgres")
	}
	for round := range c.Rounds {
		fmt.Fprintf(s.err, "round %d of %d\n", round+1, c.Rounds)
		if err := b.raw(); err != nil {
			return err
		}
	}
	if err := b.statusMap(); err != nil {
		return err
	}
	for _, kind := range kinds {
		if err := b.instance(ctx, kind); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
	}
	if err := b.network(ctx); err != nil {
		return fmt.Errorf("four validators: %w", err)
	}
	return b.print(s, c.JSON)
}

type bench struct {
	cmd     *benchCmd
	program string // stele
	dir     string
	out     io.Writer
	results []*result
}

func (b *bench) add(name, unit string, v float64) *result {
	i := slices.IndexFunc(b.results, func(r *result) bool { return r.Name == name })
	if i < 0 {
		i = len(b.results)
		b.results = append(b.results, &result{Name: name, Unit: unit})
	}
	r := b.results[i]
	r.Values = append(r.Values, v)
	fmt.Fprintf(b.out, "  %-44s %12.1f %s\n", name, v, unit)
	return r
}

// rate runs f repeatedly for about a second and returns calls per second.
func rate(f func() error) (float64, error) {
	start, n := time.Now(), 0
	for time.Since(start) < time.Second {
		if err := f(); err != nil {
			return 0, err
		}
		n++
	}
	return float64(n) / time.Since(start).Seconds(), nil
}

// raw measures what the machine allows: one core's SM3 and SM2, and a synced write.
func (b *bench) raw() error {
	buf := make([]byte, 1<<20)
	mb, err := rate(func() error { sm.Sum(buf); return nil })
	if err != nil {
		return err
	}
	b.add("raw SM3, one core", "MiB/s", mb)
	key, err := sm.GenerateKey()
	if err != nil {
		return err
	}
	msg := buf[:900]
	var sig []byte
	signs, err := rate(func() (err error) { sig, err = key.Sign(msg); return err })
	if err != nil {
		return err
	}
	b.add("raw SM2 sign with self-check, one core", "1/s", signs)
	verifies, _ := rate(func() error { key.Public().Verify(msg, sig); return nil })
	b.add("raw SM2 verify, one core", "1/s", verifies)
	f, err := os.Create(filepath.Join(b.dir, "fsync"))
	if err != nil {
		return err
	}
	defer f.Close()
	syncs, err := rate(func() error {
		_, err := f.Write(buf[:4096])
		return errors.Join(err, f.Sync())
	})
	b.add("raw 4 KiB write and fsync", "1/s", syncs)
	return err
}

func (b *bench) limit(name, limit, aim string) {
	var r, l *result
	for _, x := range b.results {
		if x.Name == name {
			r = x
		}
		if x.Name == limit {
			l = x
		}
	}
	if r != nil {
		r.Aim, r.limitBy = aim, l
		r.Limit = limit
	}
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

func (b *bench) print(s *streams, asJSON bool) error {
	for _, r := range b.results {
		r.Median = median(r.Values)
	}
	for _, r := range b.results {
		if r.limitBy != nil {
			r.Ratio = r.Median / r.limitBy.Median
		}
	}
	if asJSON {
		return s.json(b.results)
	}
	fmt.Fprintf(s.out, "%-46s %12s %-8s %-10s %s\n", "what (medians)", "", "unit", "aim", "of the limit")
	for _, r := range b.results {
		limit := ""
		if r.limitBy != nil {
			limit = fmt.Sprintf("%.2f of %s", r.Ratio, r.Limit)
		}
		fmt.Fprintf(s.out, "%-46s %12.1f %-8s %-10s %s\n", r.Name, r.Median, r.Unit, r.Aim, limit)
	}
	return nil
}

// instance measures a real server process on loopback with a fresh instance.
func (b *bench) instance(ctx context.Context, kind string) error {
	srv, err := b.start(ctx, kind)
	if err != nil {
		return err
	}
	defer srv.stop()
	name := func(what string) string { return kind + ": " + what }
	for range b.cmd.Rounds {
		for _, m := range []struct {
			what, unit string
			f          func() (float64, error)
		}{
			{"received to anchored, idle, p50", "ms",
				func() (float64, error) { return srv.latency(ctx, b, name("received to anchored, idle, p99")) }},
			{"one record a request", "1/s",
				func() (float64, error) { return srv.single(ctx, b, name("one record a request, p99")) }},
			{"batches of 10,000", "1/s", func() (float64, error) { return srv.batches(ctx, b.cmd.Duration) }},
			{"upload, one stream", "MiB/s", func() (float64, error) { return srv.upload(ctx, b.cmd.UploadMiB) }},
			{"verify a bundle", "1/s", func() (float64, error) { return srv.verify(ctx) }},
			{"webhook deliveries", "1/s", func() (float64, error) { return srv.webhooks(ctx) }},
			{"certificate PDF", "ms", func() (float64, error) { return srv.certificate(ctx) }},
		} {
			if !strings.Contains(m.what, b.cmd.Only) {
				continue
			}
			cpu, done := srv.cpu(), srv.records.Load()
			v, err := m.f()
			if err != nil {
				return fmt.Errorf("%s: %w", m.what, err)
			}
			b.add(name(m.what), m.unit, v)
			if n := srv.records.Load() - done; n > 1000 {
				b.add(name(m.what+", server CPU"), "µs each", float64((srv.cpu()-cpu).Microseconds())/float64(n))
			}
			if err := srv.drained(ctx); err != nil {
				return err
			}
		}
	}
	b.add(name("server memory at its peak"), "MiB", srv.peak())
	aim := map[string]string{"sqlite": "4000", "postgres": "5000"}[kind]
	b.limit(name("received to anchored, idle, p50"), "", "< 500")
	b.limit(name("received to anchored, idle, p99"), "", "< 1000")
	b.limit(name("one record a request"), "raw SM2 sign with self-check, one core", aim)
	b.limit(name("batches of 10,000"), "raw SM2 sign with self-check, one core", "20000")
	b.limit(name("upload, one stream"), "raw SM3, one core", "> 0.80")
	b.limit(name("verify a bundle"), "raw SM2 verify, one core", "> 1000")
	b.limit(name("webhook deliveries"), "", "> 1000")
	b.limit(name("certificate PDF"), "", "< 50")
	return nil
}

// benchServer is a server process under measurement.
type benchServer struct {
	cmd    *exec.Cmd
	url    string
	key    string
	trust  *proof.Trust
	client *http.Client

	records atomic.Int64 // notarized so far by the throughput measurements
}

func (b *bench) start(ctx context.Context, kind string) (*benchServer, error) {
	program, data := b.program, filepath.Join(b.dir, kind)
	args := []string{"--data", data, "--listen", "127.0.0.1:0", "--lookups-per-minute", "1000000", "--log-level",
		"warn", "--metrics-listen", b.cmd.MetricsListen}
	if kind == "postgres" {
		args = append(args, "--database", b.cmd.Postgres, "--database-password-file", b.cmd.PostgresPassword)
	}
	if kind == networkKind {
		own, err := os.Executable()
		if err != nil {
			return nil, err
		}
		program, args = own, append(args, "--stele", b.program, "--validators", "4")
	}
	srv := &benchServer{
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1024, DisableCompression: true}}}
	srv.cmd = child(ctx, program, append([]string{"demo"}, args...)...)
	srv.cmd.Stderr, srv.cmd.Stdout = b.out, io.Discard
	if err := srv.cmd.Start(); err != nil {
		return nil, err
	}
	info, err := awaitDemo(ctx, filepath.Join(data, "demo.json"))
	if err != nil {
		srv.stop()
		return nil, err
	}
	srv.url, srv.key = info.URL, info.APIKey
	text, err := os.ReadFile(info.Trust)
	if err != nil {
		return nil, err
	}
	srv.trust, err = proof.ParseTrust(text)
	return srv, err
}

// demoInfo is what `stele demo` leaves for scripts.
type demoInfo struct{ URL, APIKey, Trust string }

func awaitDemo(ctx context.Context, path string) (demoInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	for {
		var info demoInfo
		if text, err := os.ReadFile(path); err == nil && json.Unmarshal(text, &info) == nil {
			return info, nil
		}
		select {
		case <-ctx.Done():
			return info, errors.New("the server did not come up")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *benchServer) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	_ = s.cmd.Wait()
}

// cpu is the processor time that the server has used. It says what a record costs however
// busy the machine is with other things.
func (s *benchServer) cpu() time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	f := strings.Fields(rest)
	var user, system int64
	if len(f) > 12 {
		_, _ = fmt.Sscan(f[11], &user) // the kernel's own numbers parse
		_, _ = fmt.Sscan(f[12], &system)
	}
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100
}

// peak is the server's largest resident size so far in MiB.
func (s *benchServer) peak() float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		var kb float64
		if n, _ := fmt.Sscanf(line, "VmHWM: %f kB", &kb); n == 1 {
			return kb / 1024
		}
	}
	return 0
}

func (s *benchServer) post(ctx context.Context, path, contentType string, body io.Reader) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	req.Header.Set("Content-Type", contentType)
	return s.do(req)
}

func (s *benchServer) do(req *http.Request) ([]byte, error) {
	res, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	out, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode >= 300 {
		err = fmt.Errorf("%s: %s", res.Status, out)
	}
	return out, err
}

func randomDigest() string {
	var d sm.Digest
	rand.Read(d[:])
	return d.String()
}

func digestBody() string {
	return `{"sm3":"` + randomDigest() + `","size":12345,"mediaType":"application/pdf","title":"Notice of approval"}`
}

// single returns the rate of many clients at once and adds the 99th percentile of their
// waiting under another name.
func (s *benchServer) single(ctx context.Context, b *bench, p99 string) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, b.cmd.Duration)
	defer cancel()
	var n atomic.Int64
	var wg sync.WaitGroup
	errs := make(chan error, b.cmd.Clients)
	waits := make([][]float64, b.cmd.Clients)
	start := time.Now()
	for i := range b.cmd.Clients {
		wg.Go(func() {
			for ctx.Err() == nil {
				asked := time.Now()
				if _, err := s.post(ctx, "/api/v1/records", "application/json",
					strings.NewReader(digestBody())); err != nil {
					if ctx.Err() == nil {
						errs <- err
					}
					return
				}
				waits[i] = append(waits[i], float64(time.Since(asked).Microseconds())/1000)
				n.Add(1)
				s.records.Add(1)
			}
		})
	}
	wg.Wait()
	if all := slices.Sorted(slices.Values(slices.Concat(waits...))); len(all) > 0 {
		b.add(p99, "ms", all[len(all)*99/100])
	}
	select {
	case err := <-errs:
		return 0, err
	default:
	}
	return float64(n.Load()) / time.Since(start).Seconds(), nil
}

// batches sends batches from a few clients at once: one alone would leave the server idle
// while its next batch is read, and the disk while it is signed. The bodies are made before.
func (s *benchServer) batches(ctx context.Context, d time.Duration) (float64, error) {
	const size, clients = 10_000, 3
	var n atomic.Int64
	var group errgroup.Group
	bodies := make(chan []byte, 64)
	making, stop := context.WithCancel(ctx)
	defer stop()
	for range cap(bodies) {
		bodies <- batchBody(size)
	}
	start := time.Now()
	for range clients {
		group.Go(func() error {
			for time.Since(start) < d {
				select {
				case body := <-bodies:
					answer, err := s.post(making, "/api/v1/records/batch", "application/json", bytes.NewReader(body))
					if err != nil {
						return err
					}
					if bytes.Contains(answer, []byte(`"problem"`)) {
						return fmt.Errorf("items of a batch failed: %.500s", answer)
					}
					n.Add(size)
					s.records.Add(size)
				default:
					return nil // more than was made beforehand: fast enough
				}
			}
			return nil
		})
	}
	err := group.Wait()
	return float64(n.Load()) / time.Since(start).Seconds(), err
}

func batchBody(size int) []byte {
	var body bytes.Buffer
	body.WriteString(`{"records":[`)
	for i := range size {
		if i > 0 {
			body.WriteByte(',')
		}
		body.WriteString(digestBody())
	}
	body.WriteString(`]}`)
	return body.Bytes()
}

// endless repeats a block, so that making the bytes costs nothing.
type endless struct {
	block []byte
	left  int64
}

func (e *endless) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n := copy(p, e.block[:min(int64(len(e.block)), e.left)])
	e.left -= int64(n)
	return n, nil
}

func (s *benchServer) upload(ctx context.Context, mib int) (float64, error) {
	var head bytes.Buffer
	w := multipart.NewWriter(&head)
	if err := w.WriteField("record", `{"title":"Large file"}`); err != nil {
		return 0, err
	}
	if _, err := w.CreateFormFile("file", "large.bin"); err != nil {
		return 0, err
	}
	block := make([]byte, 1<<20)
	rand.Read(block)
	tail := "\r\n--" + w.Boundary() + "--\r\n"
	length := int64(head.Len()+len(tail)) + int64(mib)<<20
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/api/v1/records",
		io.MultiReader(&head, &endless{block, int64(mib) << 20}, strings.NewReader(tail)))
	if err != nil {
		return 0, err
	}
	req.ContentLength = length
	req.Header.Set("Authorization", "Bearer "+s.key)
	req.Header.Set("Content-Type", w.FormDataContentType())
	start := time.Now()
	_, err = s.do(req)
	return float64(mib) / time.Since(start).Seconds(), err
}

// latency returns the median in milliseconds and adds the 99th percentile under another name.
func (s *benchServer) latency(ctx context.Context, b *bench, p99 string) (float64, error) {
	const n = 100
	times := make([]float64, n)
	for i := range times {
		start := time.Now()
		if _, err := s.post(ctx, "/api/v1/records?wait=anchored", "application/json",
			strings.NewReader(digestBody())); err != nil {
			return 0, err
		}
		times[i] = float64(time.Since(start).Microseconds()) / 1000
	}
	slices.Sort(times)
	b.add(p99, "ms", times[n*99/100])
	return times[n/2], nil
}

// drained waits until everything received is anchored, so that one measurement does not
// pay for the one before.
func (s *benchServer) drained(ctx context.Context) error {
	_, err := s.post(ctx, "/api/v1/records?wait=anchored", "application/json", strings.NewReader(digestBody()))
	return err
}

// anchored notarizes a digest and returns the record's id and the digest once it is anchored.
func (s *benchServer) anchored(ctx context.Context) (id string, digest sm.Digest, err error) {
	out, err := s.post(ctx, "/api/v1/records?wait=anchored", "application/json", strings.NewReader(digestBody()))
	if err != nil {
		return "", digest, err
	}
	var rec struct {
		ID       string
		Document struct{ SM3 string }
	}
	if err := json.Unmarshal(out, &rec); err != nil {
		return "", digest, err
	}
	digest, err = sm.ParseDigest(rec.Document.SM3)
	return rec.ID, digest, err
}

func (s *benchServer) get(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	return s.do(req)
}

// certificate returns how many milliseconds a certificate takes, seal and attributes
// included, as whoever asks for it waits. The first one, which parses the fonts, is left out.
func (s *benchServer) certificate(ctx context.Context) (float64, error) {
	id, _, err := s.anchored(ctx)
	if err != nil {
		return 0, err
	}
	path := "/api/v1/records/" + id + "/certificate"
	if _, err := s.get(ctx, path); err != nil {
		return 0, err
	}
	perSecond, err := rate(func() error { _, err := s.get(ctx, path); return err })
	return 1000 / perSecond, err
}

func (s *benchServer) verify(ctx context.Context) (float64, error) {
	id, digest, err := s.anchored(ctx)
	if err != nil {
		return 0, err
	}
	bundle, err := s.get(ctx, "/api/v1/records/"+id+"/bundle")
	if err != nil {
		return 0, err
	}
	return rate(func() error {
		if r := proof.Verify(s.trust, &digest, bundle); r.Verdict != proof.Genuine {
			return errors.New(r.Summary)
		}
		return nil
	})
}
