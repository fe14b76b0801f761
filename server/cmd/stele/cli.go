package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"

	"stele/notary/cmd/verifier"
	"stele/server/instance"
	"stele/ui"
)

// version is set by the build (-ldflags "-X main.version=…").
var version = "0.1.0-dev"

const description = "Stele notarizes documents: SM3 digests, SM2 signatures, a Merkle log, anchored on a chain that " +
	"one city or several run."

// cli is the command line. Settings can also stand in a YAML file (--config) or in the
// environment; a flag beats the environment, which beats the file.
type cli struct {
	ConfigFile string `name:"config" env:"STELE_CONFIG" help:"YAML file with settings, named as the flags are." placeholder:"FILE"`

	Serve         serveCmd         `cmd:"" help:"Serve an instance."`
	Demo          demoCmd          `cmd:"" help:"Make a demo instance if there is none, and serve it."`
	Init          initCmd          `cmd:"" help:"Create a new instance: keys, root certificate, chain, object store, database, empty log."`
	Node          nodeCmd          `cmd:"" help:"Run a member of the chain, and take part in its decisions."`
	LogKey        logKeyCmd        `cmd:"" help:"The public key of the instance's log, for the members of a chain that admit it, and its change."`
	Chain         chainCmd         `cmd:"" help:"Move the log to another chain, by a link that verifiers follow."`
	Migrate       migrateCmd       `cmd:"" help:"Bring the database schema up to this program, or say what that takes."`
	Agency        agencyCmd        `cmd:"" help:"Add and list agencies; renew, replace and end what they sign with."`
	Authority     authorityCmd     `cmd:"" help:"Authorities of regions, which issue agencies' certificates below the root."`
	Root          rootCmd          `cmd:"" help:"Change the root: the next one is believed by the word of the former."`
	Keys          keysCmd          `cmd:"" help:"Change the passphrase of all keys."`
	Apikey        apikeyCmd        `cmd:"" help:"Make, list and revoke API keys."`
	User          userCmd          `cmd:"" help:"Add, list, disable and reset the people who use the console."`
	Webhook       webhookCmd       `cmd:"" help:"Receive webhooks on this machine, for development."`
	Notarize      notarizeCmd      `cmd:"" help:"Notarize files at a running service."`
	Status        statusCmd        `cmd:"" help:"Print how far records at a running service are, and what became of them."`
	Bundle        bundleCmd        `cmd:"" help:"Fetch a record's bundle, certificate or evidence package from a running service."`
	Refresh       refreshCmd       `cmd:"" help:"Bring a bundle that you hold up to date: whether its record still stands."`
	Revoke        revokeCmd        `cmd:"" help:"Revoke a record at a running service."`
	Watch         watchCmd         `cmd:"" help:"Print what became of the agency's records at a running service."`
	Check         checkCmd         `cmd:"" help:"Ask a running service what a file is, and verify its answer here."`
	Verify        verifyCmd        `cmd:"" passthrough:"" help:"Verify a bundle and a file offline, as stele-verify does; see stele verify --help."`
	Fsck          fsckCmd          `cmd:"" help:"Re-derive everything that is stored and compare."`
	Monitor       monitorCmd       `cmd:"" help:"Watch a log from outside, and keep what it has seen; mirror it."`
	RepairAnchors repairAnchorsCmd `cmd:"" help:"Find anchors that no bundle can use, such as those that a former key signed, and remove them with --apply."`
	RecoverTail   recoverTailCmd   `cmd:"" help:"Complete a database that was restored and is older than the object store has seen."`
	RebuildStore  rebuildStoreCmd  `cmd:"" help:"Make an object store anew that was lost, as far as the database knows what was in it."`
	RebuildTiles  rebuildCmd       `cmd:"" help:"Write the log's tiles anew from the database, where the object store lacks them."`
	BSN           bsnCmd           `cmd:"" name:"bsn" help:"Make keys for applications of BSN."`
	Config        configCmd        `cmd:"" help:"Print the settings in force, without secrets."`
	Healthcheck   healthcheckCmd   `cmd:"" help:"Ask the server on this machine whether it is ready."`
	Trust         trustCmd         `cmd:"" help:"Show, make, merge, compare, sign and update trust files: what verifiers believe."`
	VerifyPage    verifyPageCmd    `cmd:"" help:"Write the offline verifier, one HTML file, and print its digests."`
	Version       versionCmd       `cmd:"" help:"Print the version."`
}

// streams are what a command reads and writes, and the exit code it wants beside success.
type streams struct {
	in       io.Reader
	out, err io.Writer
	code     *int
}

func (s *streams) json(v any) error {
	e := json.NewEncoder(s.out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// configFile reads the file named by --config or STELE_CONFIG before flags are parsed.
func configFile(args []string) kong.Resolver {
	name := os.Getenv("STELE_CONFIG")
	for i, a := range args {
		if v, ok := strings.CutPrefix(a, "--config="); ok {
			name = v
		} else if a == "--config" && i+1 < len(args) {
			name = args[i+1]
		}
	}
	r := &fileResolver{}
	if name != "" {
		r.err = r.load(name)
	}
	return r
}

// fileResolver answers kong's questions for flag values from a YAML file.
type fileResolver struct {
	values map[string]any
	err    error
}

// load reads the file, which must have known keys only.
func (r *fileResolver) load(name string) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	var check instance.Config
	d := yaml.NewDecoder(strings.NewReader(string(data)))
	d.KnownFields(true)
	if err := d.Decode(&check); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("configuration %s: %w", name, err)
	}
	return yaml.Unmarshal(data, &r.values)
}

// Validate implements kong.Resolver.
func (r *fileResolver) Validate(*kong.Application) error { return r.err }

// Resolve implements kong.Resolver.
func (r *fileResolver) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if flag.Envs != nil {
		for _, e := range flag.Envs {
			if _, ok := os.LookupEnv(e); ok {
				return nil, nil // the environment beats the file
			}
		}
	}
	v, ok := r.values[flag.Name]
	if !ok || v == nil {
		return nil, nil
	}
	return fmt.Sprint(v), nil
}

func logger(c instance.Config, w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.LogLevel)) // the flag's enum has checked it
	o := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

type configCmd struct {
	instance.Config `embed:""`
}

// Run prints the settings in force.
func (c *configCmd) Run(s *streams) error {
	cfg, err := c.Resolve()
	if err != nil {
		return err
	}
	text, err := cfg.YAML()
	if err != nil {
		return err
	}
	_, err = s.out.Write(text)
	return err
}

type verifyCmd struct {
	Args []string `arg:"" optional:"" help:"As for stele-verify."`
}

// Run verifies; the exit code says the verdict.
func (c *verifyCmd) Run(ctx context.Context, s *streams) error {
	*s.code = verifier.Run(ctx, c.Args, s.in, s.out, s.err)
	return nil
}

type verifyPageCmd struct {
	Out string `help:"File to write; without it, only the digests are printed." placeholder:"FILE"`
}

// Run writes verify.html, the same bytes that this program serves.
func (c *verifyPageCmd) Run(s *streams) error {
	page, err := ui.LoadVerifyPage(version)
	if err != nil {
		return err
	}
	if c.Out != "" {
		if err := os.WriteFile(c.Out, page.Data, 0o644); err != nil {
			return fmt.Errorf("offline verifier: %w", err)
		}
	}
	_, err = fmt.Fprintf(s.out, "SM3     %s  %s\nSHA-256 %s  %s\n", page.SM3, ui.VerifyPageName, page.SHA256,
		ui.VerifyPageName)
	return err
}

type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run(s *streams) error {
	_, err := fmt.Fprintln(s.out, "stele", version)
	return err
}

type serveCmd struct {
	instance.Config `embed:""`
}

// Run serves until the process is told to stop.
func (c *serveCmd) Run(ctx context.Context, s *streams) error {
	cfg, err := c.Resolve()
	if err != nil {
		return startFailure(err)
	}
	return serve(ctx, cfg, logger(cfg, s.err), nil)
}

// serve opens and serves an instance; ready is called with the address once it listens.
func serve(ctx context.Context, cfg instance.Config, log *slog.Logger, ready func(addr string) error) error {
	raiseFileLimit(log)
	if exe, err := ownProgram(); err == nil { // else documents are read in this process
		cfg.ReadCommand = []string{exe, readCommand}
	}
	in, err := instance.Open(ctx, cfg, log)
	if err != nil {
		return startFailure(err)
	}
	srv, err := instance.Listen(in, version)
	if err != nil {
		return startFailure(errors.Join(err, in.Close()))
	}
	log.InfoContext(ctx, "listening", "address", srv.Addr(), "version", version)
	if ready != nil {
		if err := ready(srv.Addr()); err != nil {
			return errors.Join(err, in.Close())
		}
	}
	tellManager(ctx, log)
	return stopFailure(srv.Serve(ctx))
}

// ownProgram is the file that this process runs, to be started again. On Linux it is named by what the
// kernel keeps open: an upgrade puts another file in the place of it, or none, while this one goes on.
func ownProgram() (string, error) {
	const self = "/proc/self/exe"
	if _, err := os.Readlink(self); err == nil {
		return self, nil
	}
	return os.Executable()
}
