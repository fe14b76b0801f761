// Command stele-lab only tries things out: it measures stele, runs it as one of a network on this
// machine, and stands in for a BSN gateway. It holds no keys that anybody relies on, and stele has
// none of it. `stele-lab --help` lists the commands.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/alecthomas/kong"
)

// lab is the command line.
type lab struct {
	Stele productPath `env:"STELE_PROGRAM" help:"The program stele. Default: beside this one." placeholder:"FILE"`

	Bench   benchCmd   `cmd:"" help:"Measure this machine, and an instance on it."`
	Demo    demoCmd    `cmd:"" help:"Run 'stele demo' with a chain of several validators, or with a BSN gateway beside it."`
	Trial   trialCmd   `cmd:"" help:"Do the whole ceremony of a chain in one folder, for a network on one machine."`
	BSNPeer bsnPeerCmd `cmd:"" name:"bsn-peer" help:"Run a BSN gateway with an application of its own."`
}

// streams are what a command reads and writes, and the exit code that it wants.
type streams struct {
	out, err io.Writer
	code     int
}

func (s *streams) json(v any) error {
	e := json.NewEncoder(s.out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// productPath is where the program stele is.
type productPath string

func (p productPath) find() (string, error) {
	if p != "" {
		return filepath.Abs(string(p))
	}
	own, err := os.Executable()
	if err != nil {
		return "", err
	}
	beside := filepath.Join(filepath.Dir(own), "stele")
	if _, err := os.Stat(beside); err != nil {
		return "", errors.New("there is no stele beside this program: run make build, or name it with --stele")
	}
	return beside, nil
}

// child is a process that ends with this one.
func child(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	return cmd
}

func model(c *lab, options ...kong.Option) (*kong.Kong, error) {
	return kong.New(c, append(options, kong.Name("stele-lab"),
		kong.Description("Tries out what Stele does. Nothing here is for service."),
		kong.UsageOnError(), kong.Vars{"peerApp": peerApp, "peerUser": peerUser, "faults": faultNames()})...)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	syscall.Umask(0o077) // for what makes instances, as of stele
	s := &streams{out: os.Stdout, err: os.Stderr}
	var c lab
	parser, err := model(&c, kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(s))
	if err != nil {
		panic(err) // the model is constant
	}
	kctx, err := parser.Parse(os.Args[1:])
	parser.FatalIfErrorf(err)
	err = kctx.Run(c.Stele)
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	parser.FatalIfErrorf(err)
	os.Exit(s.code)
}
