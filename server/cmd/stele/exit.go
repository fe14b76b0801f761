package main

import (
	"errors"

	"github.com/alecthomas/kong"

	"stele/server/instance"
)

// exitConfig is EX_CONFIG of sysexits.h: a server does not start, or stops, for a reason that no
// later try mends. A service manager leaves it stopped; every other failure it may answer with a new start.
const exitConfig = 78

// startFailure gives the error of a server's start, or of a migration, its exit code.
func startFailure(err error) error {
	if err == nil || instance.Temporary(err) {
		return err
	}
	return &failure{err, exitConfig}
}

// stopFailure gives the error with which a running server ended its exit code.
func stopFailure(err error) error {
	if err != nil && instance.Final(err) {
		return &failure{err, exitConfig}
	}
	return err
}

// parseCode is the exit code for arguments or settings that cannot be: for servers they are settings.
func parseCode(err error) int {
	if p := (*kong.ParseError)(nil); errors.As(err, &p) && p.Context != nil {
		switch p.Context.Command() {
		case "serve", "node run":
			return exitConfig
		}
	}
	return exitUsage
}
