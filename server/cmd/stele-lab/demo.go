package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"

	"stele/server/cmd/internal/command"
	"stele/server/instance"
)

type demoCmd struct {
	instance.Config `embed:""`
	Validators      int  `default:"0" help:"Make a chain of so many validators, each a process of its own on this machine, instead of one inside the server. Only where there is no instance yet."`
	BSN             bool `name:"bsn" help:"Start a BSN gateway beside the demo, and anchor there too."`
}

// Run makes the instance, starts what stands beside it and has stele serve it.
func (c *demoCmd) Run(ctx context.Context, s *streams, product productPath) error {
	program, err := product.find()
	if err != nil {
		return err
	}
	cfg, err := c.Resolve()
	if err != nil {
		return err
	}
	network, err := demoNetwork(&cfg, c.Validators)
	if err != nil {
		return err
	}
	if err := command.InitDemo(ctx, cfg, s.err, func(req *instance.InitRequest) error {
		return network.found(cfg, req)
	}); err != nil {
		return err
	}
	if c.BSN && cfg.Anchors == "" {
		if cfg.Anchors, err = demoPeer(ctx, cfg); err != nil {
			return err
		}
	}
	stop, err := network.start(ctx, program, cfg, s)
	defer stop()
	if err != nil {
		return err
	}
	return serve(ctx, program, cfg, s)
}

// serve runs `stele demo` with the settings, until it ends; its exit code is this program's.
func serve(ctx context.Context, program string, cfg instance.Config, s *streams) error {
	settings, err := cfg.YAML()
	if err != nil {
		return err
	}
	file := filepath.Join(cfg.Data, "demo.yaml")
	if err := os.WriteFile(file, settings, 0o600); err != nil {
		return err
	}
	cmd := child(ctx, program, "demo", "--config", file)
	cmd.Env = command.ChildEnvironment()
	cmd.Stdout, cmd.Stderr = s.out, s.err
	err = cmd.Run()
	if failed := (*exec.ExitError)(nil); errors.As(err, &failed) {
		s.code, err = failed.ExitCode(), nil
	}
	return err
}
