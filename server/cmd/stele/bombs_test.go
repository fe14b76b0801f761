package main

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"html"
	"io"
	"maps"
	"mime/multipart"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stele/notary/office/stamp/stamptest"
)

// clerk is somebody who works at the console of a server.
type clerk struct {
	t    testing.TB
	s    *server
	http *http.Client
}

func signIn(t testing.TB, s *server) clerk {
	t.Helper()
	jar, err := cookiejar.New(nil)
	fatalIfErr(t, err)
	c := clerk{t, s, &http.Client{Jar: jar}}
	for _, u := range s.info.Users {
		if u.Name == "clerk" {
			c.post("/console/sign-in", url.Values{"login": {u.Name}, "password": {u.Password}})
		}
	}
	return c
}

// do sends a form and returns the page that it led to, and its address.
func (c clerk) do(method, at, kind string, body io.Reader) (page, to string) {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.s.info.URL+at, body)
	fatalIfErr(c.t, err)
	r.Header.Set("Origin", c.s.info.URL)
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	res, err := c.http.Do(r)
	fatalIfErr(c.t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	fatalIfErr(c.t, err)
	if res.StatusCode == http.StatusServiceUnavailable { // busy
		time.Sleep(time.Second)
	} else if res.StatusCode >= http.StatusInternalServerError {
		c.t.Errorf("%s %s: %d", method, at, res.StatusCode)
	}
	return string(b), res.Request.URL.Path
}

func (c clerk) post(at string, form url.Values) (page, to string) {
	return c.do(http.MethodPost, at, "application/x-www-form-urlencoded", strings.NewReader(form.Encode()))
}

func (c clerk) get(at string) string {
	page, _ := c.do(http.MethodGet, at, "", nil)
	return page
}

// hidden are the hidden fields of a page's form.
func hidden(page, action string) map[string]string {
	_, form, _ := strings.Cut(page, `action="`+action+`"`)
	form, _, _ = strings.Cut(form, "</form>")
	out := map[string]string{}
	for _, m := range regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)"`).FindAllStringSubmatch(
		form, -1) {
		out[m[1]] = html.UnescapeString(m[2])
	}
	return out
}

// handIn sends a file by a form of the console, as without scripts, and returns where it led.
func (c clerk) handIn(action, field, name string, file []byte) (page, to string) {
	c.t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	fields := hidden(c.get(action), action)
	fields["class"] = "general"
	for _, k := range slices.Sorted(maps.Keys(fields)) {
		fatalIfErr(c.t, w.WriteField(k, fields[k]))
	}
	part, err := w.CreateFormFile(field, name)
	fatalIfErr(c.t, err)
	_, err = part.Write(file)
	fatalIfErr(c.t, err)
	fatalIfErr(c.t, w.Close())
	return c.do(http.MethodPost, action, w.FormDataContentType(), &b)
}

// ownMemory is the bytes of memory that a process and its children have for themselves.
func ownMemory(pid int) int64 {
	sum := int64(0)
	for _, p := range append([]int{pid}, children(pid)...) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p))
		f := strings.Fields(string(stat))
		if err != nil || len(f) < 3 {
			continue // it has ended
		}
		resident, _ := strconv.ParseInt(f[1], 10, 64)
		shared, _ := strconv.ParseInt(f[2], 10, 64)
		sum += (resident - shared) * int64(os.Getpagesize())
	}
	return sum
}

func children(pid int) (out []int) {
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, task := range tasks {
		list, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, task.Name()))
		for _, f := range strings.Fields(string(list)) {
			if n, err := strconv.Atoi(f); err == nil {
				out = append(out, n)
			}
		}
	}
	return out
}

// peak looks at a process's memory until it is told to stop.
func peak(pid int) (stop func() int64) {
	var most atomic.Int64
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			most.Store(max(most.Load(), ownMemory(pid)))
			select {
			case <-done:
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	}()
	return func() int64 {
		close(done)
		<-ended
		return most.Load()
	}
}

// Documents that are made to cost are looked at in processes of their own: whatever becomes of
// those, the server goes on, its own memory stays small, no process is left behind, and what a
// clerk reads says what to do.
func TestBombs(t *testing.T) {
	s := site{data: t.TempDir()}.start(t)
	c := signIn(t, s)
	bombs := stamptest.Bombs()
	var worst int64
	for _, name := range []string{"lengths that lead to each other", "empty dictionaries",
		"5000 pages of one content"} {
		t.Run(name, func(t *testing.T) {
			_, paper := c.handIn("/console/upload", "document", "bomb.pdf", bombs[name])
			before, stop := ownMemory(s.cmd.Process.Pid), peak(s.cmd.Process.Pid)
			page := c.get(paper + "/marks")
			worst = max(worst, stop()-before)
			if !strings.Contains(page, `class="complaint"`) && !strings.Contains(page, "<svg") {
				t.Errorf("%s: the page says nothing: %.300s", name, page)
			}
		})
	}
	before, stop := ownMemory(s.cmd.Process.Pid), peak(s.cmd.Process.Pid)
	page, to := c.handIn("/console/bulk", "table", "bomb.xlsx", multiplied(t))
	worst = max(worst, stop()-before)
	if to != "/console/bulk" || !strings.Contains(page, `id="problem"`) {
		t.Errorf("a table of one text very often led to %s: %.300s", to, page)
	}
	const most = 160 << 20 // of the child, with what the server takes to hand it the document
	if worst > most {
		t.Errorf("%d MiB were taken", worst>>20)
	}
	if left := children(s.cmd.Process.Pid); len(left) > 0 {
		t.Errorf("processes are left behind: %v", left)
	}
	if s.notarize(digestRequest(newDigest(), "", "")).Number == "" {
		t.Error("nothing is registered afterwards")
	}
}

// multiplied is a workbook of 30 KB whose cells refer to one long text: 137 MiB when they are put out.
func multiplied(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	add := func(name, content string) {
		w, err := z.Create(name)
		fatalIfErr(t, err)
		_, err = io.WriteString(w, content)
		fatalIfErr(t, err)
	}
	const main = `xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"`
	const relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
	rels := func(list ...string) string {
		out := `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">`
		for i := 0; i < len(list); i += 2 {
			out += fmt.Sprintf(`<Relationship Id="r%d" Type="%s/%s" Target="%s"/>`, i/2+1, relations, list[i],
				list[i+1])
		}
		return out + "</Relationships>"
	}
	add("_rels/.rels", rels("officeDocument", "xl/workbook.xml"))
	add("xl/_rels/workbook.xml.rels", rels("worksheet", "sheet.xml", "sharedStrings", "strings.xml"))
	add("xl/workbook.xml", `<workbook `+main+` xmlns:r="`+relations+
		`"><sheets><sheet name="S" sheetId="1" r:id="r1"/></sheets></workbook>`)
	add("xl/strings.xml",
		`<sst `+main+`><si><t>title</t></si><si><t>sm3</t></si><si><t>size</t></si><si><t>reference</t></si><si><t>`+
			strings.Repeat("A", 32000)+`</t></si></sst>`)
	var rows strings.Builder
	for r := range 1500 {
		fmt.Fprintf(&rows, `<row r="%d">`, r+1)
		for i, column := range "ABCD" {
			text := 4
			if r == 0 {
				text = i
			}
			fmt.Fprintf(&rows, `<c r="%c%d" t="s"><v>%d</v></c>`, column, r+1, text)
		}
		rows.WriteString("</row>")
	}
	add("xl/sheet.xml", `<worksheet `+main+`><sheetData>`+rows.String()+`</sheetData></worksheet>`)
	fatalIfErr(t, z.Close())
	return b.Bytes()
}

// BenchmarkBombs prints what each bomb costs, and what twenty at once do to everybody else's calls.
// docs/benchmarks.md keeps a run of it.
func BenchmarkBombs(b *testing.B) {
	s := site{data: b.TempDir()}.start(b, "--requests-per-minute", "1000000")
	c := signIn(b, s)
	pid := s.cmd.Process.Pid
	papers := map[string]string{}
	bombs := stamptest.Bombs()
	for name, data := range bombs {
		_, papers[name] = c.handIn("/console/upload", "document", "bomb.pdf", data)
	}
	for _, name := range slices.Sorted(maps.Keys(papers)) {
		idle, stop, start := ownMemory(pid), peak(pid), time.Now()
		c.get(papers[name] + "/marks")
		fmt.Printf("%-36s %8d bytes  %6d ms  %4d MiB above idle\n", name, len(bombs[name]),
			time.Since(start).Milliseconds(), (stop()-idle)>>20)
	}
	quiet := waits(b, s, 3*time.Second, nil)
	ctx, done := context.WithCancel(b.Context())
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			for n := i; ctx.Err() == nil; n++ {
				names := slices.Sorted(maps.Keys(papers))
				c.get(papers[names[n%len(names)]] + "/marks")
			}
		})
	}
	idle, stop := ownMemory(pid), peak(pid)
	busy := waits(b, s, 10*time.Second, nil)
	fmt.Printf("20 at once: p50 %.1f of the quiet one, p99 %.1f (%v, quiet %v), %d MiB above idle\n",
		float64(busy[len(busy)/2])/float64(quiet[len(quiet)/2]),
		float64(busy[len(busy)*99/100])/float64(quiet[len(quiet)*99/100]),
		busy[len(busy)*99/100].Round(time.Millisecond), quiet[len(quiet)*99/100].Round(time.Millisecond),
		(stop()-idle)>>20)
	done()
	all.Wait()
}

// waits registers records one after the other, eight at a time, and returns how long each took,
// the shortest first.
func waits(t testing.TB, s *server, span time.Duration, out []time.Duration) []time.Duration {
	t.Helper()
	var mu sync.Mutex
	var all sync.WaitGroup
	end := time.Now().Add(span)
	for range 8 {
		all.Go(func() {
			for time.Now().Before(end) {
				start := time.Now()
				s.notarize(digestRequest(newDigest(), "", ""))
				mu.Lock()
				out = append(out, time.Since(start))
				mu.Unlock()
			}
		})
	}
	all.Wait()
	slices.Sort(out)
	return out
}
