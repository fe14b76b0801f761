package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"stele/notary/cmd/verifier"
	"stele/notary/proof"
	"stele/server/client"
)

// Remote is how a command reaches a running service with an agency's key.
type Remote struct {
	URL       string `name:"url" env:"STELE_URL" required:"" help:"Where the service is, such as https://stele.example.gov.cn." placeholder:"URL"`
	KeyFile   string `name:"key-file" env:"STELE_KEY_FILE" help:"File with the agency's API key; or set STELE_KEY. The key itself is never an argument: every user of a machine can read those." placeholder:"FILE"`
	AllowHTTP bool   `name:"allow-http" env:"STELE_ALLOW_HTTP" help:"Let the key travel unencrypted to another machine."`
	Attempts  int    `env:"STELE_ATTEMPTS" default:"8" help:"How often a call is tried while the service cannot be reached; 8 take about a minute."`
}

// keyEnv may hold the API key itself; flags may not.
const keyEnv = "STELE_KEY"

// Exit codes of the commands that call a service, beside exitOK.
const (
	exitRefused     = 1
	exitUnreachable = 3
	exitInterrupted = 130 // as a shell reports a program that Ctrl-C ended
)

const remoteCodes = `Exit codes: 0 done; 1 the service refused, or what it gave does not hold: the same command will ` +
	`fail again; 2 wrong usage, a file that cannot be read: nothing was sent; ` +
	`3 the service could not be reached or cannot at the moment, after some tries: run the same command again; 130 ` +
	`interrupted.`

// failure is an error that a command ends with, and its exit code.
type failure struct {
	error
	code int
}

func (f *failure) Unwrap() error { return f.error }

func usage(err error) error { return &failure{err, exitUsage} }

// remoteFailure finds the exit code of an error from a call, and makes its text fit for a terminal.
func remoteFailure(err error) error {
	var lost *client.UnreachableError
	var p *client.Problem
	code := exitRefused
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled):
		return &failure{errors.New("interrupted"), exitInterrupted}
	case errors.As(err, &p) && p.Temporary(), errors.As(err, &lost), errors.Is(err, context.DeadlineExceeded):
		code = exitUnreachable
	}
	return &failure{errors.New(verifier.Printable(err.Error())), code}
}

// client is the client that the flags describe. It says on the error stream why it waits.
func (r *Remote) client(s *streams, trustFile string) (*client.Client, error) {
	key, err := secretText("the API key", "--key-file", r.KeyFile, keyEnv)
	if err != nil {
		return nil, usage(err)
	}
	c := &client.Client{BaseURL: r.URL, Key: client.Key(key), AllowHTTP: r.AllowHTTP, Attempts: max(1, r.Attempts),
		OnRetry: s.retries}
	if trustFile != "" {
		if c.Trust, err = readTrust(trustFile, proof.ParseTrust); err != nil {
			return nil, err
		}
	}
	if err := c.Check(); err != nil {
		return nil, usage(err)
	}
	return c, nil
}

// retries says on the error stream why a call is tried again, and when.
func (s *streams) retries(why error, pause time.Duration) {
	fmt.Fprintf(s.err, "%s; trying again in %v\n", verifier.Printable(why.Error()), pause.Round(100*time.Millisecond))
}

// secretText is a secret out of a file or the environment, whichever is set.
func secretText(what, flag, file, env string) (string, error) {
	inEnv, has := os.LookupEnv(env)
	switch {
	case file != "" && has:
		return "", fmt.Errorf("both %s and %s are set; leave one", flag, env)
	case has:
		return inEnv, nil
	case file == "":
		return "", fmt.Errorf("%s is needed: name its file with %s, or set %s", what, flag, env)
	}
	b, err := os.ReadFile(file)
	return strings.TrimRight(string(b), "\r\n"), err
}

// jsonLine writes one line of JSON.
func (s *streams) jsonLine(v any) error {
	e := json.NewEncoder(s.out)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
