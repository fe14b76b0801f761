// Package verifier is the offline verifier's command line: stele-verify, and stele verify.
// It opens the files that it is given and no connection, and needs nothing of the service
// that issued the bundle.
//
// All it decides is which bytes to read. The verdict is that of [proof.Verify], which the
// public page and the API call too.
package verifier

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// Run is the whole program; it returns the exit code, see --help.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	o, err := parseOptions(args)
	if errors.Is(err, errHelp) {
		io.WriteString(stdout, help())
		return exitUsage
	}
	if err != nil {
		fmt.Fprintf(stderr, "stele-verify: %v\nstele-verify --help says more.\n", err)
		return exitUsage
	}
	if o.log {
		code, err := o.compare(ctx, stdout, stderr)
		if err != nil {
			fmt.Fprintf(stderr, "stele-verify: %v\n", err)
			return exitUsage
		}
		return code
	}
	out, err := o.verify(ctx, stdin, stderr)
	if err == nil {
		err = write(stdout, out, o.json, o.quiet)
	}
	if err != nil {
		fmt.Fprintf(stderr, "stele-verify: %v\n", err)
		return exitUsage
	}
	return out.report.Verdict.Row().Exit
}
