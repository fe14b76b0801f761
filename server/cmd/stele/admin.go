package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"stele/crypto/pki"
	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/log/fsck"
	"stele/notary/office/people"
	"stele/server/auth"
	"stele/server/cmd/internal/command"
	"stele/server/instance"
	"stele/server/node"
)

type initCmd struct {
	instance.Config `embed:""`
	Origin          string   `env:"STELE_ORIGIN" help:"Name of the log, printed in every checkpoint, best under a domain of yours. A random one if empty." placeholder:"NAME"`
	ChainID         string   `name:"chain-id" env:"STELE_CHAIN_ID" help:"Name of the chain. A random one if empty." placeholder:"NAME"`
	Organization    string   `env:"STELE_ORGANIZATION" help:"Organization of the root certificate." default:"Stele" placeholder:"NAME"`
	Validator       string   `env:"STELE_VALIDATOR" help:"Name of this server among the chain's validators." default:"validator-1" placeholder:"NAME"`
	NewPassphrase   bool     `help:"Make a random passphrase and write it to the passphrase file, which must not exist."`
	CreateBucket    bool     `help:"Create the S3 bucket if it is not there, with object lock where retention is configured."`
	Member          []string `env:"STELE_CHAIN_MEMBERS" help:"Organization that runs a validator of the chain, and its unified social credit code, for the trust roots: then reports name it. Once for each validator." placeholder:"NAME=ORGANIZATION:CODE"`
	Genesis         string   `env:"STELE_CHAIN_GENESIS" help:"genesis.txt of a network that exists already, for --chain=nodes: verifiers of this instance pin it." placeholder:"FILE"`
	Fingerprint     string   `env:"STELE_CHAIN_FINGERPRINT" help:"The genesis' fingerprint as the network's members told it; asked for on a terminal." placeholder:"HEX"`
	Prepare         bool     `help:"Only make the keys and print the log's public key, for the members who make the genesis; a later init uses them."`
	IfMissing       bool     `help:"Do nothing, successfully, if the data folder holds an instance whose stores belong to it."`
}

// Run creates an instance.
func (c *initCmd) Run(ctx context.Context, s *streams) error {
	cfg, err := c.Resolve()
	if err != nil {
		return err
	}
	if c.IfMissing && instance.Exists(cfg) {
		if err := withStores(ctx, c.Config, func(*instance.Stores) error { return nil }); err != nil {
			return err
		}
		_, err := fmt.Fprintf(s.out, "There is an instance in %s; nothing was changed.\n", cfg.Data)
		return err
	}
	if c.CreateBucket {
		if err := instance.CreateBucket(ctx, cfg); err != nil {
			return err
		}
	}
	if c.NewPassphrase {
		if err := command.NewPassphrase(cfg); err != nil {
			return err
		}
	}
	if c.Origin == "" {
		if c.Origin, err = instance.PreparedOrigin(cfg); err != nil {
			return err
		}
	}
	if c.Origin == "" {
		c.Origin = "stele.local/" + command.Unique()
	}
	if c.ChainID == "" {
		c.ChainID = "stele-" + command.Unique()
	}
	req := instance.InitRequest{Origin: c.Origin, ChainID: c.ChainID, Organization: c.Organization,
		Validator: c.Validator}
	if req.Members, err = parseMembers(c.Member); err != nil {
		return usage(err)
	}
	if c.Prepare {
		key, err := instance.Prepare(cfg, req, time.Now())
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(s.out, key)
		return err
	}
	if c.Genesis != "" {
		genesis, err := node.ReadGenesis(c.Genesis)
		if err != nil {
			return err
		}
		command.PrintGenesis(s.out, genesis)
		if err := compareFingerprint(s, c.Fingerprint, genesis.Hash()); err != nil {
			return err
		}
		if genesis.Notary(c.Origin) == nil {
			fmt.Fprintf(s.err, "The genesis does not admit the log %s: nothing is anchored until the members do, by "+
				"'stele node propose --notary-add' with the key that 'stele log-key' prints.\n", c.Origin)
		}
		req.Genesis = &genesis
	}
	if err := instance.Init(ctx, cfg, req, time.Now()); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "The instance is in %s. Its keys are in %s: back them up, with the passphrase kept apart from "+
		"them.\nVerifiers pin %s.\nNext: stele agency add\n", cfg.Data, cfg.Keys, cfg.TrustPath())
	return nil
}

// parseMembers reads a list of NAME=ORGANIZATION:CODE.
func parseMembers(list []string) ([]instance.Member, error) {
	var out []instance.Member
	for _, text := range list {
		o, err := parseMember(text)
		if err != nil {
			return nil, err
		}
		out = append(out, instance.Member{Name: o.Validator, Organization: o.Name, Code: o.Code})
	}
	return out, nil
}

type agencyCmd struct {
	Add         agencyAddCmd         `cmd:"" help:"Add an agency: makes its key and certificate."`
	Renew       agencyRenewCmd       `cmd:"" help:"Issue a new certificate for an agency's key."`
	Rekey       agencyRekeyCmd       `cmd:"" help:"Give an agency another key and certificate; the former ones sign nothing more, on no server."`
	Certificate agencyCertificateCmd `cmd:"" help:"An agency's certificates: list and revoke them."`
	Suspend     agencySuspendCmd     `cmd:"" help:"Have nothing new signed in an agency's name, until it is resumed."`
	Resume      agencyResumeCmd      `cmd:"" help:"End an agency's suspension."`
	Close       agencyCloseCmd       `cmd:"" help:"Close an agency for ever: its key, API keys and people end, its records stay."`
	Rename      agencyRenameCmd      `cmd:"" help:"Give an agency another name in what is signed from now on."`
	ExportKey   agencyExportKeyCmd   `cmd:"" help:"Write an agency's key, encrypted as it is, to a file."`
	ImportKey   agencyImportKeyCmd   `cmd:"" help:"Read an agency's key from such a file into the database."`
	Seal        agencySealCmd        `cmd:"" help:"An agency's seals: what documents are stamped with, and what certificates show."`
	List        agencyListCmd        `cmd:"" help:"List agencies, and when their certificates end."`
}

type agencyAddCmd struct {
	instance.Config `embed:""`
	Code            string `required:"" help:"Unified social credit code, 18 characters."`
	Name            string `required:"" help:"Registered name."`
	Region          string `required:"" help:"Region code, six digits: the first part of its certificate numbers."`
	CSR             string `name:"csr" type:"existingfile" help:"Certificate request (PKCS #10) of an agency that keeps its key itself; without one a key is made here." placeholder:"FILE"`
	JSON            bool   `name:"json" help:"Print JSON."`
}

// Run adds an agency.
func (c *agencyAddCmd) Run(ctx context.Context, s *streams) error {
	return withStores(ctx, c.Config, func(st *instance.Stores) error {
		home, err := homeKey(c.CSR)
		if err != nil {
			return err
		}
		a, err := st.AddAgency(ctx, instance.AgencyRequest{Code: c.Code, Name: c.Name, Region: c.Region, Key: home},
			time.Now())
		if err != nil {
			return err
		}
		if c.JSON {
			return s.json(agencyJSON(a))
		}
		_, err = fmt.Fprintf(s.out, "Agency %s (%s) has the id %s.\nNext: stele apikey add --agency %s\n", a.Name,
			a.Code, a.ID, a.Code)
		return err
	})
}

// homeKey is the key in the certificate request of an agency that keeps it; nil without one.
func homeKey(file string) (*sm.PublicKey, error) {
	if file == "" {
		return nil, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return pki.ParseRequest(data)
}

type agencyRenewCmd struct {
	instance.Config `embed:""`
	Agency          string `required:"" help:"The agency's credit code or id."`
	CSR             string `name:"csr" type:"existingfile" help:"Certificate request of an agency that keeps its key itself." placeholder:"FILE"`
}

// Run renews a certificate.
func (c *agencyRenewCmd) Run(ctx context.Context, s *streams) error {
	return withAgency(ctx, c.Config, s, c.Agency, people.ActAgencyRenew, "",
		func(st *instance.Stores, a notary.Agency) error {
			home, err := homeKey(c.CSR)
			if err != nil {
				return err
			}
			until, err := st.RenewAgency(ctx, a, home, time.Now())
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(s.out, "Agency %s (%s) has a new certificate until %s.\n", a.Name, a.Code,
				until.Format(time.DateOnly))
			return err
		})
}

func agencyJSON(a notary.Agency) map[string]any {
	return map[string]any{"keyAtHome": a.ExternalKey, "id": a.ID, "code": a.Code, "name": a.Name, "region": a.Region,
		"state": string(a.State), "createdAt": a.CreatedAt.UTC().Format(time.RFC3339)}
}

type apikeyCmd struct {
	Add    apikeyAddCmd    `cmd:"" help:"Make an API key for an agency; it is shown once."`
	List   apikeyListCmd   `cmd:"" help:"List an agency's API keys, without secrets."`
	Revoke apikeyRevokeCmd `cmd:"" help:"End an API key at once."`
}

type apikeyAddCmd struct {
	instance.Config `embed:""`
	Agency          string        `required:"" help:"The agency's credit code or id."`
	Label           string        `default:"api" help:"What the key is for."`
	Expires         time.Duration `help:"How long it is valid; 0 for ever." placeholder:"8760h"`
	Scopes          []string      `default:"read,write,revoke,webhooks" help:"Its rights: read, write, revoke, erase, webhooks, keys, audit."`
	Networks        []string      `help:"From where it may be used; anywhere if empty." placeholder:"10.1.0.0/16"`
	Rate            int           `help:"Requests a minute; 0 for what the instance allows."`
	Quota           uint64        `help:"Records a day (UTC); 0 for any number."`
	JSON            bool          `name:"json" help:"Print JSON."`
}

// Run makes a key.
func (c *apikeyAddCmd) Run(ctx context.Context, s *streams) error {
	return withStores(ctx, c.Config, func(st *instance.Stores) error {
		text, key, err := c.add(ctx, st)
		if err != nil {
			return err
		}
		if c.JSON {
			return s.json(map[string]string{"id": key.ID, "key": text})
		}
		_, err = fmt.Fprintf(s.out, "%s\nKeep it now: it is not stored and cannot be shown again. Its id is %s.\n",
			text, key.ID)
		return err
	})
}

func (c *apikeyAddCmd) add(ctx context.Context, st *instance.Stores) (string, notary.APIKey, error) {
	a, err := openAgency(ctx, st, c.Agency)
	if err != nil {
		return "", notary.APIKey{}, err
	}
	scopes, err1 := notary.ParseScopes(c.Scopes)
	networks, err2 := notary.ParseNetworks(c.Networks)
	if err := errors.Join(err1, err2); err != nil {
		return "", notary.APIKey{}, err
	}
	settings := notary.APIKey{AgencyID: a.ID, Name: c.Label, Scopes: scopes, Networks: networks, Rate: c.Rate,
		Quota: c.Quota, CreatedAt: time.Now()}
	if c.Expires > 0 {
		settings.ExpiresAt = settings.CreatedAt.Add(c.Expires)
	}
	if err := notary.CheckKeyName(settings.Name); err != nil {
		return "", notary.APIKey{}, err
	}
	text, key := auth.NewKey(settings)
	return text, key, st.DB.People.AddKey(ctx, key)
}

func findAgency(ctx context.Context, st *instance.Stores, codeOrID string) (notary.Agency, error) {
	a, err := st.DB.Log.Agency(ctx, codeOrID)
	if errors.Is(err, notary.ErrNotFound) {
		err = fmt.Errorf("there is no agency with the code or id %q: see 'stele agency list'", codeOrID)
	}
	return a, err
}

type apikeyListCmd struct {
	instance.Config `embed:""`
	Agency          string `required:"" help:"The agency's credit code or id."`
}

// Run lists keys.
func (c *apikeyListCmd) Run(ctx context.Context, s *streams) error {
	return withStores(ctx, c.Config, func(st *instance.Stores) error {
		a, err := findAgency(ctx, st, c.Agency)
		if err != nil {
			return err
		}
		keys, err := st.DB.People.Keys(ctx, a.ID)
		for _, k := range keys {
			state := "in force"
			if !k.RevokedAt.IsZero() {
				state = "revoked " + k.RevokedAt.Format(time.RFC3339)
			} else if !k.ExpiresAt.IsZero() {
				state = "until " + k.ExpiresAt.Format(time.RFC3339)
			}
			used := "never used"
			if !k.UsedAt.IsZero() {
				used = "last used " + k.UsedAt.Format(time.RFC3339)
			}
			fmt.Fprintf(s.out, "%s  %s  made %s  %s  %s  %s\n", k.ID, k.Name, k.CreatedAt.Format(time.RFC3339), state,
				used, notary.JoinScopes(k.Scopes, ","))
		}
		return err
	})
}

type apikeyRevokeCmd struct {
	instance.Config `embed:""`
	ID              string `arg:"" help:"The key's id."`
}

// Run revokes a key.
func (c *apikeyRevokeCmd) Run(ctx context.Context, s *streams) error {
	return withStores(ctx, c.Config, func(st *instance.Stores) error {
		if err := st.DB.People.EndKey(ctx, c.ID, time.Now()); errors.Is(err, notary.ErrNotFound) {
			return fmt.Errorf("no key with the id %q is in force", c.ID)
		} else if err != nil {
			return err
		}
		_, err := fmt.Fprintln(s.out, "The key is revoked; running servers refuse it within two seconds.")
		return err
	})
}

func withStores(ctx context.Context, c instance.Config, f func(st *instance.Stores) error) error {
	cfg, err := c.Resolve()
	if err != nil {
		return err
	}
	st, err := instance.OpenStores(ctx, cfg)
	if err != nil {
		return err
	}
	return errors.Join(f(st), st.Close())
}

type fsckCmd struct {
	instance.Config `embed:""`
	SkipDocuments   bool `help:"Do not read the originals."`
	MaxFindings     int  `default:"1000" help:"Stop after so many findings; what lies behind is not looked at."`
	JSON            bool `name:"json" help:"Print JSON."`
}

// Run checks; the exit code is 1 when something does not hold.
func (c *fsckCmd) Run(ctx context.Context, s *streams) error {
	return withStores(ctx, c.Config, func(st *instance.Stores) error {
		if c.MaxFindings < 1 {
			return fmt.Errorf("max-findings must be larger than zero, not %d", c.MaxFindings)
		}
		o := fsck.Options{SkipDocuments: c.SkipDocuments, MaxFindings: c.MaxFindings}
		if f, ok := s.err.(*os.File); ok && !c.JSON && isTerminal(f) {
			o.Progress = func(done, total uint64) { fmt.Fprintf(s.err, "\r%d of %d entries", done, total) }
			defer fmt.Fprintln(s.err)
		}
		res, err := st.Fsck(ctx, o)
		if err != nil {
			return fmt.Errorf("the check could not be finished: %w", err)
		}
		if !res.OK() {
			*s.code = exitFailed
		}
		if c.JSON {
			return s.json(struct {
				*fsck.Result
				Kinds map[string]int `json:"kinds"`
			}{res, res.Kinds()})
		}
		for _, f := range res.Findings {
			fmt.Fprintln(s.out, f)
		}
		verdict := fsckVerdict(res)
		_, err = fmt.Fprintf(s.out, "%s Checked %d entries, %d records, %d documents, %d tiles, %d checkpoints, %d "+
			"anchors; %d documents wait to be swept.\n",
			verdict, res.Entries, res.Records, res.Documents, res.Tiles, res.Checkpoints, res.Anchors, res.Orphans)
		return err
	})
}

func fsckVerdict(res *fsck.Result) string {
	if res.OK() {
		return "Everything holds."
	}
	kinds := res.Kinds()
	var by []string
	for _, what := range slices.Sorted(maps.Keys(kinds)) {
		by = append(by, fmt.Sprintf("%s %d", what, kinds[what]))
	}
	verdict := fmt.Sprintf("%d findings (%s).", len(res.Findings), strings.Join(by, ", "))
	if res.Stopped {
		verdict += " The check stopped there: --max-findings lets it go on."
	}
	return verdict
}

func isTerminal(f *os.File) bool {
	st, err := f.Stat()
	return err == nil && st.Mode()&fs.ModeCharDevice != 0
}

type rebuildCmd struct {
	instance.Config `embed:""`
}

// Run rebuilds tiles; the server must be stopped.
func (c *rebuildCmd) Run(ctx context.Context, s *streams) error {
	return withStores(ctx, c.Config, func(st *instance.Stores) error {
		n, err := st.RebuildTiles(ctx, logger(st.Config, s.err))
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(s.out, "The %d objects of the log's tree are there. Next: stele fsck\n", n)
		return err
	})
}

type healthcheckCmd struct {
	instance.Config `embed:""`
}

// Run asks the running server on this machine whether it can take records; the exit code is
// 1 when it cannot. It is what a container runtime calls.
func (c *healthcheckCmd) Run(ctx context.Context, s *streams) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return fmt.Errorf("listen address %q: %w", c.Listen, err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/readyz", nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("the server does not answer: %w", err)
	}
	defer res.Body.Close()
	if _, err := io.Copy(s.out, io.LimitReader(res.Body, 64<<10)); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("the server is not ready: %s", res.Status)
	}
	return nil
}
