package monitor_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"stele/crypto/merkle"
	"stele/crypto/signednote"
	"stele/crypto/sm"
	"stele/notary/monitor"
	"stele/notary/proof"
	"stele/notary/proof/checkpoint"
	"stele/notary/proof/prooftest"
	"stele/notary/proof/statement"
	"stele/notary/proof/status"
)

func fatalIfErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// book is a log of the world, kept as a service keeps it.
type book struct {
	*prooftest.World
	entries []statement.Entry
	leaves  []merkle.Hash
	note    []byte
	said    proof.LogStatus
	mute    error // what it answers with, if set
}

func newBook() *book { return &book{World: prooftest.New(prooftest.Options{Validators: 4})} }

func (b *book) add(e statement.Entry) {
	b.entries, b.leaves = append(b.entries, e), append(b.leaves, e.LeafHash())
}

func (b *book) issue(n int) {
	for range n {
		b.record(b.Issue([]byte("a document")))
	}
}

func (b *book) record(r *prooftest.Record) *prooftest.Record {
	b.add(statement.Entry{Statement: r.Bytes, Signature: r.Signature, Certificate: sm.Sum(r.Certificates[0])})
	return r
}

// speak enters a status statement and anchors the checkpoint that it ends.
func (b *book) speak(edit ...func(*prooftest.Status)) {
	s := b.EnterStatus(edit...)
	b.add(status.Entry(s.Text, s.Signature, s.Key()))
	c := b.Checkpoint()
	b.note = c.Note
	b.said = proof.LogStatus{Statement: s.Text, Signature: s.Signature, Key: s.Key(),
		Log:     proof.LogProof{Index: s.Index, Path: b.Path(s.Index, c.Size), Checkpoint: c.Note},
		Anchors: []json.RawMessage{b.Anchor(c)}}
}

// Checkpoint implements monitor.Log; the world's own is behind it.
type served struct{ *book }

func (s served) Checkpoint(context.Context) ([]byte, error) { return s.note, s.mute }

func (s served) Status(context.Context) (proof.LogStatus, error) { return s.said, s.mute }

func (s served) Tile(_ context.Context, path string) ([]byte, error) {
	if s.mute != nil {
		return nil, s.mute
	}
	if t, err := merkle.ParseEntriesPath(path); err == nil {
		var out []byte
		for _, e := range s.entries[t.Index*merkle.TileWidth:][:t.Width] {
			out = append(out, e.Encode()...)
		}
		return out, nil
	}
	t, err := merkle.ParseTilePath(path)
	if err != nil {
		return nil, err
	}
	var out []byte
	for i := range uint64(t.Width) {
		h, err := merkle.ListReader(s.leaves)([]merkle.NodeID{{Level: t.Level * merkle.TileHeight,
			Index: t.Index*merkle.TileWidth + i}})
		if err != nil {
			return nil, err
		}
		out = append(out, h[0][:]...)
	}
	return out, nil
}

// look makes a round in a folder, and returns the codes that are there afterwards.
func (b *book) look(t *testing.T, dir string, edit ...func(*monitor.Options)) (string, error) {
	t.Helper()
	f, err := monitor.OpenFolder(dir)
	fatalIfErr(t, err)
	defer f.Close()
	o := monitor.Options{Trust: b.Trust(), Log: served{b}, Folder: f, Now: func() time.Time { return b.Now },
		Pause: time.Nanosecond}
	for _, e := range edit {
		e(&o)
	}
	m, err := monitor.New(o)
	fatalIfErr(t, err)
	failed := m.Round(t.Context())
	list, err := f.Findings()
	fatalIfErr(t, err)
	var codes []string
	for _, x := range list {
		if x.Detail == "" || x.FoundAt.IsZero() {
			t.Errorf("%+v", x)
		}
		codes = append(codes, x.Code)
	}
	return strings.Join(codes, " "), failed
}

func auditing(o *monitor.Options) { o.Audit = true }

// An operator who says that a revoked record stands has signed a contradiction, which an auditor's monitor finds.
func TestLyingStatus(t *testing.T) {
	b := newBook()
	b.issue(3)
	b.record(b.Revoke(b.record(b.Issue([]byte("x"))), "No."))
	b.speak()
	dir := t.TempDir()
	if found, err := b.look(t, dir, auditing); found != "" || err != nil {
		t.Fatalf("%v: %s", err, found)
	}
	b.issue(1)
	b.speak(func(s *prooftest.Status) { s.Records = 0 })
	if found, err := b.look(t, t.TempDir()); found != "" || err != nil {
		t.Fatalf("without the entries nobody sees it: %v: %s", err, found)
	}
	if found, err := b.look(t, dir, auditing); found != monitor.StatusDiffers || err != nil {
		t.Fatalf("%v: %s", err, found)
	}
	if found, err := b.look(t, dir, auditing); found != monitor.StatusDiffers || err != nil {
		t.Fatalf("the same again: %v: %s", err, found)
	}
}

// A certificate is revoked by its root, and by nobody else: an operator who forges that is found.
func TestForgedRevocation(t *testing.T) {
	for name, by := range map[string][]prooftest.Key{"": nil, monitor.ForgedRevocation: {prooftest.NewKey("thief")}} {
		t.Run("found: "+name, func(t *testing.T) {
			b := newBook()
			b.issue(2)
			b.add(b.RevokeCertificate(status.KeyCompromise, b.Now, by...))
			b.speak()
			if found, err := b.look(t, t.TempDir(), auditing); found != name || err != nil {
				t.Errorf("%v: %q", err, found)
			}
		})
	}
}

// Two roots for one size, also where each was seen by another monitor only.
func TestTwoRoots(t *testing.T) {
	b := newBook()
	b.issue(3)
	b.speak()
	dir := t.TempDir()
	if found, err := b.look(t, dir); found != "" || err != nil {
		t.Fatalf("%v: %s", err, found)
	}
	c, err := checkpoint.ParseUnsafe(b.note)
	fatalIfErr(t, err)
	c.Root[0] ^= 1
	forked := prooftest.SignNote(c, c.Origin, b.LogKey)
	witness, err := monitor.LoadCosigner(dir + "/key")
	fatalIfErr(t, err)
	if _, _, err := signednote.ParseCosignKey(witness.Key()); err != nil {
		t.Error(err)
	}
	peer := func(note []byte, err error) func(*monitor.Options) {
		return func(o *monitor.Options) {
			o.Peers = []monitor.Peer{{Name: "peer", Checkpoint: func(context.Context) ([]byte, error) {
				return note, err
			}}}
		}
	}
	for _, bad := range [][]byte{nil, []byte("x"), []byte(strings.Replace(string(forked), "\n4\n", "\n9\n", 1))} {
		if found, err := b.look(t, dir, peer(bad, nil)); found != "" || !errors.Is(err, monitor.ErrUnreachable) {
			t.Errorf("a peer that says %q: %v: %s", bad, err, found)
		}
	}
	if found, err := b.look(t, dir, peer(forked, nil)); found != monitor.SplitView || err != nil {
		t.Errorf("%v: %s", err, found)
	}
	honest := b.note
	b.note = forked
	if found, err := b.look(t, dir); !strings.Contains(found, monitor.SplitView) || err != nil {
		t.Errorf("%v: %s", err, found)
	}
	b.note = honest
}

// A service that does not answer is no finding, until nobody has vouched for the log for too long.
func TestUnreachable(t *testing.T) {
	b := newBook()
	b.issue(1)
	b.speak()
	dir := t.TempDir()
	_, err := b.look(t, dir)
	fatalIfErr(t, err)
	b.mute = errors.New("no answer")
	if found, err := b.look(t, dir); found != "" || !errors.Is(err, monitor.ErrUnreachable) {
		t.Errorf("%v: %s", err, found)
	}
	b.Tick(26 * time.Hour)
	for range 2 {
		if found, err := b.look(t, dir); found != monitor.Stale || !errors.Is(err, monitor.ErrUnreachable) {
			t.Errorf("%v: %s", err, found)
		}
	}
}

// silent is a service that answers everything but what an agency asks.
type silent struct{}

func (silent) Tally(context.Context) (proof.LogStatus, []byte, error) {
	return proof.LogStatus{}, nil, errors.New("no answer")
}

func (silent) Entries(context.Context, uint64) ([]monitor.Entry, uint64, error) {
	return nil, 0, errors.New("no answer")
}

// Who keeps something back may as well not answer: that is found in time, too.
func TestKeptBackBySilence(t *testing.T) {
	b := newBook()
	b.issue(1)
	b.speak()
	f, err := monitor.OpenFolder(t.TempDir())
	fatalIfErr(t, err)
	defer f.Close()
	m, err := monitor.New(monitor.Options{Trust: b.Trust(), Log: served{b}, Folder: f, Agency: b.Agency.Code,
		Own: silent{}, Now: func() time.Time { return b.Now }})
	fatalIfErr(t, err)
	for i, want := range []int{0, 1} {
		if err := m.Round(t.Context()); !errors.Is(err, monitor.ErrUnreachable) {
			t.Error(err)
		}
		list, err := f.Findings()
		fatalIfErr(t, err)
		if len(list) != want || want == 1 && !strings.Contains(list[0].Detail, "complete") {
			t.Errorf("round %d: %+v", i, list)
		}
		b.Tick(26 * time.Hour)
		b.speak()
	}
}

// A status that is old when the monitor begins is stale at once.
func TestStaleAtOnce(t *testing.T) {
	b := newBook()
	b.issue(1)
	b.speak()
	b.Tick(26 * time.Hour)
	if found, err := b.look(t, t.TempDir()); found != monitor.Stale || err != nil {
		t.Errorf("%v: %s", err, found)
	}
}

// What a crash may leave in the folder: no half-written file is read, and two processes do not share it.
func TestFolder(t *testing.T) {
	b := newBook()
	b.issue(1)
	b.speak()
	dir := t.TempDir()
	_, err := b.look(t, dir)
	fatalIfErr(t, err)
	fatalIfErr(t, os.WriteFile(dir+"/state.json.tmp", []byte(`{"format":`), 0o600))
	fatalIfErr(t, os.WriteFile(dir+"/findings/x.json.tmp", []byte(`{`), 0o600))
	if found, err := b.look(t, dir); found != "" || err != nil {
		t.Errorf("%v: %s", err, found)
	}
	f, err := monitor.OpenFolder(dir)
	fatalIfErr(t, err)
	if _, err := monitor.OpenFolder(dir); err == nil || !strings.Contains(err.Error(), "another monitor") {
		t.Errorf("two processes have the folder: %v", err)
	}
	fatalIfErr(t, f.Close())
	fatalIfErr(t, os.WriteFile(dir+"/state.json", []byte(`{"format":"stele/monitor/v9"}`), 0o600))
	f, err = monitor.OpenFolder(dir)
	fatalIfErr(t, err)
	if _, err := monitor.New(monitor.Options{Folder: f, Now: time.Now}); err == nil {
		t.Error("a folder of another format was continued")
	}
}

func TestReadNumbers(t *testing.T) {
	const one, two = "420100-2026-00000017-0", "420100-2026-00000000-7"
	for text, want := range map[string]int{
		"": 0, "  \n": 0, "number\n" + one + "\n": 1, "\ufeffnumber,title\n" + one + ",a\n" + two + ",\"b\nc\"\n": 2,
		"title,number\nshort\na,none\n": 0, `{"number":"` + one + `"}`: 1,
		"{\"a\":[{\"number\":\"" + one + "\"}]}\n\n{\"number\":\"" + two + "\"}\n": 2, `{"number":7}`: 0,
	} {
		got, err := monitor.ReadNumbers(strings.NewReader(text))
		if err != nil || len(got) != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, bad := range []string{"title\nx\n", "{\"number\":\n", "a,\"b\n"} {
		if _, err := monitor.ReadNumbers(strings.NewReader(bad)); err == nil {
			t.Errorf("accepted %q", bad)
		}
	}
}

func FuzzReadNumbers(f *testing.F) {
	f.Add("number\n420100-2026-00000017-0\n")
	f.Add(`{"number":"420100-2026-00000017-0"}`)
	f.Fuzz(func(t *testing.T, text string) {
		list, err := monitor.ReadNumbers(strings.NewReader(text))
		for n := range list {
			if err == nil && !strings.Contains(text, n) && !strings.Contains(text, `\u`) {
				t.Fatalf("%q is not in %q", n, text)
			}
		}
	})
}

// Entries in another order are well-formed, and are not the tree's: they are found before anything is made of them.
func TestSwappedEntries(t *testing.T) {
	b := newBook()
	b.issue(300)
	b.speak()
	if found, err := b.look(t, t.TempDir(), auditing); found != "" || err != nil {
		t.Fatalf("%v: %s", err, found)
	}
	for _, at := range []int{7, 290} { // in a full bundle, and in the last one
		b.entries[at], b.entries[at+1] = b.entries[at+1], b.entries[at]
		dir := t.TempDir()
		if found, err := b.look(t, dir, auditing); found != monitor.NotConsistent || err != nil {
			t.Errorf("%v: %s", err, found)
		}
		f, err := monitor.OpenFolder(dir)
		fatalIfErr(t, err)
		list, err := f.Findings()
		fatalIfErr(t, errors.Join(err, f.Close()))
		if !strings.Contains(list[0].Detail, "not in the tree") {
			t.Error(list[0].Detail)
		}
		b.entries[at], b.entries[at+1] = b.entries[at+1], b.entries[at]
	}
}
