package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"stele/crypto/signednote"
	"stele/notary/cmd/verifier"
	"stele/notary/monitor"
	"stele/notary/proof"
	"stele/server/client"
)

// exitFinding: the monitor's folder has findings. See docs/monitor.md.
const exitFinding = 4

type monitorCmd struct {
	Run     monitorRunCmd     `cmd:"" default:"withargs" help:"Watch the log of a running service."`
	Rebuild monitorRebuildCmd `cmd:"" help:"Make bundles of all logged records out of a mirror, without the service."`
}

type monitorRunCmd struct {
	Server     string        `required:"" help:"Where the service is, such as https://stele.example.gov.cn." placeholder:"URL"`
	Trust      string        `required:"" help:"Trust roots to verify with." placeholder:"FILE"`
	Data       string        `required:"" help:"The monitor's own folder; it is made." placeholder:"DIR"`
	APIKeyFile string        `name:"api-key-file" help:"File with an API key: of the agency (scope read), or of an auditor (scope audit)." placeholder:"FILE"`
	AllowHTTP  bool          `name:"allow-http" help:"Let the key travel unencrypted to another machine."`
	Agency     string        `help:"The agency's credit code: all entries in its name are fetched and counted." placeholder:"CODE"`
	Own        string        `help:"The agency's own list of certificate numbers: a CSV with a column number, or JSON lines." placeholder:"FILE"`
	Auditor    bool          `help:"Fetch all entries and make the status map anew."`
	Mirror     bool          `help:"Keep all entries, checkpoints, anchors and certificates in the folder as well."`
	Key        string        `help:"The key that cosigns what was verified, made if it is not there; cosign.key in the folder if absent." placeholder:"FILE"`
	Listen     string        `help:"Serve the cosigned checkpoint and the key to other monitors." placeholder:"ADDR"`
	Peer       []string      `help:"Other monitors of the log to compare with." placeholder:"URL"`
	Every      time.Duration `default:"1m" help:"Pause between two rounds."`
	Once       bool          `help:"Look once, and end with an exit code that says what was found."`
	Command    string        `name:"alert-command" help:"Shell command that is run for each new finding, with the finding as JSON on its input." placeholder:"CMD"`
	Webhook    string        `name:"alert-webhook" help:"Address to which each new finding is sent as JSON." placeholder:"URL"`
	Stale      time.Duration `default:"25h" help:"How old the newest status that a chain vouches for may be."`
	JSON       bool          `name:"json" help:"Print findings as JSON, one a line."`
}

// Help implements kong.HelpProvider.
func (*monitorRunCmd) Help() string {
	return "Follows the log's checkpoints, anchors and status and keeps what it has seen. A finding is a file in " +
		"findings/ of the folder until a person removes it; it is said once by each way. docs/monitor.md has the " +
		"findings and what to do.\n\n" +
		"Exit codes with --once: 0 all holds; 1 the monitor itself failed; 2 wrong usage; 3 the service did not " +
		"answer, nothing was found; 4 there are findings in the folder."
}

// Run watches until it is told to stop.
func (c *monitorRunCmd) Run(ctx context.Context, s *streams) error {
	folder, m, err := c.open(s)
	if err != nil {
		return err
	}
	defer folder.Close()
	if c.Listen != "" {
		stop, err := c.serve(folder, s)
		if err != nil {
			return err
		}
		defer stop()
	}
	w := &watchman{monitorRunCmd: c, streams: s, folder: folder}
	for {
		err := m.Round(ctx)
		if ctx.Err() != nil {
			return nil
		}
		found, told := w.tell(ctx)
		if err != nil {
			fmt.Fprintln(s.err, "stele:", verifier.Printable(err.Error()))
		}
		if err != nil && !errors.Is(err, monitor.ErrUnreachable) {
			return &failure{errors.New("the monitor stops"), exitFailed}
		}
		if c.Once {
			switch {
			case found > 0:
				*s.code = exitFinding
			case err != nil:
				*s.code = exitUnreachable
			case told != nil:
				return told
			}
			return nil
		}
		select {
		case <-time.After(c.Every):
		case <-ctx.Done():
			return nil
		}
	}
}

// open makes the monitor that the flags describe.
func (c *monitorRunCmd) open(s *streams) (*monitor.Folder, *monitor.Monitor, error) {
	trust, err := readTrust(c.Trust, proof.ParseTrust)
	if err != nil {
		return nil, nil, err
	}
	cl := &client.Client{BaseURL: c.Server, AllowHTTP: c.AllowHTTP, Attempts: 3, OnRetry: s.retries}
	if c.APIKeyFile != "" {
		key, err := os.ReadFile(c.APIKeyFile)
		if err != nil {
			return nil, nil, usage(err)
		}
		cl.Key = client.Key(strings.TrimRight(string(key), "\r\n"))
		if err := cl.Check(); err != nil {
			return nil, nil, usage(err)
		}
	} else if c.Agency != "" || c.Auditor || c.Mirror {
		return nil, nil, usage(errors.New(
			"--agency, --auditor and --mirror need a key: name its file with --api-key-file"))
	}
	if c.Own != "" && c.Agency == "" {
		return nil, nil, usage(errors.New("--own needs --agency: whose list it is"))
	}
	folder, err := monitor.OpenFolder(c.Data)
	if err != nil {
		return nil, nil, err
	}
	o := monitor.Options{Trust: trust, Log: watchedLog{cl}, Folder: folder, Now: time.Now, Stale: c.Stale,
		Agency: c.Agency, Own: watchedLog{cl}, Audit: c.Auditor || c.Mirror}
	if c.Mirror {
		o.Mirror = watchedLog{cl}
	}
	if c.Own != "" {
		o.Known = c.known
	}
	for _, p := range c.Peer {
		o.Peers = append(o.Peers, peerAt(p))
	}
	if c.Key == "" {
		c.Key = folder.Path("cosign.key")
	}
	o.Key, err = monitor.LoadCosigner(c.Key)
	var m *monitor.Monitor
	if err == nil {
		m, err = monitor.New(o)
	}
	if err != nil {
		return nil, nil, errors.Join(err, folder.Close())
	}
	return folder, m, nil
}

func (c *monitorRunCmd) known() (map[string]bool, error) {
	f, err := os.Open(c.Own)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return monitor.ReadNumbers(f)
}

// watchedLog is a service as package monitor sees it.
type watchedLog struct{ *client.Client }

func notYet(err error) error {
	var p *client.Problem
	if errors.As(err, &p) && p.Code == "not_ready" {
		return monitor.ErrNotYet
	}
	return err
}

// Status implements [monitor.Log].
func (l watchedLog) Status(ctx context.Context) (proof.LogStatus, error) {
	s, err := l.LogStatus(ctx)
	return s, notYet(err)
}

// Tally implements [monitor.Own].
func (l watchedLog) Tally(ctx context.Context) (proof.LogStatus, []byte, error) {
	s, t, err := l.OwnStatus(ctx)
	return s, t.Proof, notYet(err)
}

// Entries implements [monitor.Own].
func (l watchedLog) Entries(ctx context.Context, from uint64) ([]monitor.Entry, uint64, error) {
	page, err := l.OwnEntries(ctx, from)
	var out []monitor.Entry
	for _, e := range page.Entries {
		out = append(out, monitor.Entry{Index: e.Index, Data: e.Entry})
	}
	return out, page.Covered, err
}

// Anchored implements [monitor.Kept].
func (l watchedLog) Anchored(ctx context.Context, after uint64) (out []monitor.Anchored, err error) {
	list, err := l.Anchors(ctx, after)
	for _, a := range list {
		out = append(out, monitor.Anchored{Note: a.Checkpoint, Anchors: a.Anchors})
	}
	return out, err
}

// peerAt is another monitor at an address.
func peerAt(address string) monitor.Peer {
	h := &http.Client{Timeout: 30 * time.Second}
	return monitor.Peer{Name: address, Checkpoint: func(ctx context.Context) ([]byte, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(address, "/")+"/checkpoint", nil)
		if err != nil {
			return nil, err
		}
		res, err := h.Do(req)
		if err != nil {
			return nil, err
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("it answers %s", res.Status)
		}
		return io.ReadAll(io.LimitReader(res.Body, signednote.MaxCosignedSize+1))
	}}
}

// serve hands the cosigned checkpoint and the key to others.
func (c *monitorRunCmd) serve(folder *monitor.Folder, s *streams) (stop func(), err error) {
	key, err := monitor.LoadCosigner(c.Key)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /checkpoint", func(w http.ResponseWriter, _ *http.Request) {
		note, err := os.ReadFile(folder.Path(monitor.CosignedName))
		if err != nil {
			http.Error(w, "nothing was verified yet", http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write(note)
	})
	mux.HandleFunc("GET /key", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = fmt.Fprintln(w, key.Key())
	})
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 30 * time.Second, MaxHeaderBytes: 16 << 10}
	go func() { _ = srv.Serve(l) }()
	fmt.Fprintln(s.err, "listening on", l.Addr())
	return func() { _ = srv.Close() }, nil
}
