package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"stele/notary"
	"stele/notary/register/class"
	"stele/server/cmd/internal/command"
	"stele/server/instance"
)

type demoCmd struct {
	instance.Config `embed:""`
}

// The demo agency. The credit code is made up, with a valid check character.
const (
	demoCode   = "11420100MB0A000016"
	demoName   = "江城市政务服务局"
	demoRegion = "420100"
)

// demoInfo is <data>/demo.json: what a script needs to use the instance. It holds the API
// key in clear, which is why only a demo has one; its mode is 0600.
type demoInfo struct {
	URL    string `json:"url"`
	APIKey string `json:"apiKey"`
	Trust  string `json:"trust"`

	Console string     `json:"console"`
	Users   []demoUser `json:"users"`
}

// demoUser is one who can sign in at the console.
type demoUser struct {
	Name     string `json:"name"` // login name
	Password string `json:"password"`
	Role     string `json:"role"`
}

// Run makes the demo instance if there is none and serves it.
func (c *demoCmd) Run(ctx context.Context, s *streams) error {
	cfg, err := c.Resolve()
	if err != nil {
		return err
	}
	made, err := demoInstance(ctx, cfg, s)
	if err != nil {
		return err
	}
	if cfg.LogLevel == "info" {
		cfg.LogLevel = "warn" // the start message is for a person
	}
	cfg.Demo = true
	return serve(ctx, cfg, logger(cfg, s.err), func(addr string) error {
		trust, err := filepath.Abs(cfg.TrustPath())
		if err != nil {
			return err
		}
		info := made
		info.URL, info.Trust = "http://"+command.Reachable(addr), trust
		info.Console = info.URL + "/console"
		if err := writeDemoInfo(cfg, info); err != nil {
			return err
		}
		_, err = fmt.Fprintf(s.out, demoText, info.URL, info.Console, info.password("clerk"), info.password("admin"),
			demoPath(cfg), info.APIKey, info.URL, info.APIKey, info.URL, info.APIKey, cfg.TrustPath())
		return err
	})
}

const demoText = `
Stele is running: %s

The console is at %s: sign in as clerk with %s, or as admin with %s.
%s lists the other users.

API key of the demo agency: %s

Three commands to try, in another terminal:

  curl -s '%s/api/v1/records?wait=anchored' -H 'Authorization: Bearer %s' \
    -F 'record={"title":"A notice"};type=application/json' -F file=@docs/sample.pdf | tee record.json

  curl -s "%s/api/v1/records/$(sed -n 's/.*"number":"\([^"]*\)".*/\1/p' record.json)/bundle" -H 'Authorization: Bearer %s' > bundle.json

  bin/stele-verify --trust %s bundle.json docs/sample.pdf

Stop it with Ctrl-C; the same command continues this instance.
`

func (i demoInfo) password(name string) string {
	for _, u := range i.Users {
		if u.Name == name {
			return u.Password
		}
	}
	return ""
}

func demoPath(cfg instance.Config) string { return filepath.Join(cfg.Data, "demo.json") }

// demoInstance makes the instance, the demo agency, its key and its users, and returns what
// demo.json is to say of them. Each step is looked for before it is taken, so an interrupted
// one is made up for.
func demoInstance(ctx context.Context, cfg instance.Config, s *streams) (demoInfo, error) {
	if err := command.InitDemo(ctx, cfg, s.err, nil); err != nil {
		return demoInfo{}, err
	}
	var info demoInfo
	if b, err := os.ReadFile(demoPath(cfg)); err == nil {
		if json.Unmarshal(b, &info) != nil {
			info = demoInfo{}
		}
	}
	st, err := instance.OpenStores(ctx, cfg)
	if err != nil {
		return demoInfo{}, err
	}
	defer st.Close()
	agency, err := st.DB.Log.Agency(ctx, demoCode)
	if err != nil {
		if agency, err = st.AddAgency(ctx, instance.AgencyRequest{Code: demoCode, Name: demoName, Region: demoRegion},
			time.Now()); err != nil {
			return demoInfo{}, err
		}
	}
	if err := demoSeal(ctx, st, agency); err != nil {
		return demoInfo{}, err
	}
	if err := demoClasses(ctx, st, agency.ID); err != nil {
		return demoInfo{}, err
	}
	if info.APIKey == "" {
		if info.APIKey, _, err = (&apikeyAddCmd{Agency: demoCode, Label: "demo",
			Scopes: strings.Split(notary.JoinScopes(notary.OwnScopes, ","), ",")}).add(ctx, st); err != nil {
			return demoInfo{}, err
		}
	}
	info.Users, err = demoUsers(ctx, st, s, agency.ID, info.Users)
	return info, err
}

// demoClasses takes the ready-made document classes over that the agency has not.
func demoClasses(ctx context.Context, st *instance.Stores, agencyID string) error {
	book := class.NewBook(st.DB.Office, time.Now)
	offered, err := book.Offered(ctx, agencyID)
	for _, c := range offered {
		c.AgencyID = agencyID
		err = errors.Join(err, book.Put(ctx, c))
	}
	return err
}

// writeDemoInfo writes demo.json whole or not at all: scripts wait for it.
func writeDemoInfo(cfg instance.Config, info demoInfo) error {
	b, err := json.MarshalIndent(info, "", "  ")
	if err != nil {
		return err
	}
	tmp := demoPath(cfg) + ".tmp"
	if err := os.WriteFile(tmp, append(b, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, demoPath(cfg))
}

// raiseFileLimit lets the process have as many connections as it is configured for.
func raiseFileLimit(log *slog.Logger) {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil || l.Cur >= l.Max {
		return
	}
	l.Cur = l.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		log.Warn("the limit of open files could not be raised", "error", err)
	}
}
