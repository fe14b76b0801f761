// Command stele is the one program of an instance: it creates it, serves it, checks it and
// administers it. `stele --help` lists the commands.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"stele/crypto/sm/selftest"
	"stele/server/instance"
)

// readCommand is how the program starts itself to read one document, see package worker. It is
// for no person, and so not among the commands of the help.
const readCommand = "read-document"

func main() {
	if len(os.Args) == 2 && os.Args[1] == readCommand {
		if err := instance.ReadDocument(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "stele:", err)
			os.Exit(exitFailed)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// Exit codes. Commands that give a verdict have their own, see their help.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if err := selftest.Run(); err != nil {
		fmt.Fprintln(stderr, "stele: the cryptographic self-test failed, nothing was started:", err)
		return exitFailed
	}
	var c cli
	code := exitOK
	parser, err := kong.New(&c, kong.Name("stele"), kong.Description(description), kong.Writers(stdout, stderr),
		kong.UsageOnError(),
		kong.Exit(func(n int) { panic(exit(n)) }), kong.Vars{"version": version},
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(&streams{in: stdin, out: stdout, err: stderr, code: &code}), kong.Resolvers(configFile(args)))
	if err != nil {
		fmt.Fprintln(stderr, "stele:", err)
		return exitUsage
	}
	return execute(parser, args, stderr, &code)
}

// ofInstances are the commands that write into data folders: whatever they make, and the engine
// of the chain below them, is closed to other accounts. What other commands write is for others.
var ofInstances = []string{"serve", "demo", "init", "migrate", "node", "log-key", "chain", "agency", "authority",
	"root", "apikey", "user", "fsck", "monitor", "rebuild-tiles", "recover-tail", "rebuild-store", "bsn"}

// exit carries kong's wish to end the program, for --help, to run.
type exit int

func execute(parser *kong.Kong, args []string, stderr io.Writer, code *int) (result int) {
	defer func() {
		switch v := recover().(type) {
		case nil:
		case exit:
			result = int(v)
		default:
			panic(v)
		}
	}()
	kctx, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintln(stderr, "stele:", err)
		return parseCode(err)
	}
	if slices.Contains(ofInstances, strings.Fields(kctx.Command())[0]) {
		syscall.Umask(0o077)
	}
	err = kctx.Run()
	if f := (*failure)(nil); errors.As(err, &f) {
		fmt.Fprintln(stderr, "stele:", f)
		return f.code
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(stderr, "stele:", err)
		return exitFailed
	}
	return *code
}
