// Command stele-verify checks a notarized document against its bundle, offline; see package
// verifier. It is a program of its own so that it stays small enough to be kept with the
// evidence, and to be read.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"stele/notary/cmd/verifier"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := verifier.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
