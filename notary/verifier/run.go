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

	"stele/notary/proof"
)

// Run is the whole program; it returns the exit code, see --help.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	o, err := parseOptions(args)
	if errors.Is(err, errHelp) {
		io.WriteString(stdout, helpText)
		return exitUsage
	}
	if err != nil {
		fmt.Fprintf(stderr, "stele-verify: %v\nstele-verify --help says more.\n", err)
		return exitUsage
	}
	out, err := o.verify(ctx, stdin, stderr)
	if err == nil {
		err = o.print(stdout, out)
	}
	if err != nil {
		fmt.Fprintf(stderr, "stele-verify: %v\n", err)
		return exitUsage
	}
	return exitCode(out.report.Verdict)
}

// exitCode maps verdicts. Nothing but genuine may ever be 0.
func exitCode(v proof.Verdict) int {
	if code, ok := exitCodes[v]; ok {
		return code
	}
	return exitUsage
}
