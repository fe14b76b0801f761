package main

import (
	"bufio"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"stele/crypto/keystore"
	"stele/notary/chain/ceremony"
	"stele/server/cmd/internal/command"
	"stele/server/instance"
	"stele/server/node"
)

type nodeCmd struct {
	Init     nodeInitCmd     `cmd:"" help:"Make the keys of a member of the chain, and the public file that it hands in."`
	Genesis  nodeGenesisCmd  `cmd:"" help:"Put the public files of all members together: the genesis and the list of peers."`
	Join     nodeJoinCmd     `cmd:"" help:"Take the genesis into a home, after its fingerprint was compared."`
	Run      nodeRunCmd      `cmd:"" help:"Run the node of a home."`
	Status   nodeStatusCmd   `cmd:"" help:"Print how a running node is."`
	Peers    nodePeersCmd    `cmd:"" help:"List, add and remove the peers of a home."`
	Propose  nodeProposeCmd  `cmd:"" help:"Write a proposal for the next epoch: members and logs that come, go or change."`
	Sign     nodeSignCmd     `cmd:"" help:"Add this member's signatures to a proposal."`
	SignLink nodeSignLinkCmd `cmd:"" name:"sign-link" help:"Add this member's signature to a link by which a log leaves the chain."`
	Submit   nodeSubmitCmd   `cmd:"" help:"Hand a proposal to the chain that enough members have signed."`
}

// NodeHome is the home of a node and the passphrase of its keys.
type NodeHome struct {
	Home           string `env:"STELE_NODE_HOME" required:"" help:"Folder of the node." placeholder:"DIR"`
	PassphraseFile string `name:"passphrase-file" env:"STELE_PASSPHRASE_FILE" help:"File with the passphrase of the keys; default keys/passphrase in the home, or set STELE_PASSPHRASE." placeholder:"FILE"`
}

func (h NodeHome) home() node.Home { return node.Home(h.Home) }

func (h NodeHome) passphraseFile() string {
	if h.PassphraseFile == "" && os.Getenv(instance.PassphraseEnv) == "" {
		return h.home().PassphrasePath()
	}
	return h.PassphraseFile
}

func (h NodeHome) passphrase() (keystore.Secret, error) {
	return keystore.Passphrase(h.passphraseFile(), instance.PassphraseEnv)
}

type nodeInitCmd struct {
	NodeHome
	Name          string `required:"" help:"Name of the member, such as wuhan-data-bureau: printable ASCII without spaces." placeholder:"NAME"`
	Address       string `required:"" help:"Where the other members' nodes reach this one, host:port." placeholder:"HOST:PORT"`
	Power         uint64 `default:"1" help:"Voting power that it asks for; the members agree on it by the genesis or a proposal."`
	NewPassphrase bool   `help:"Make a random passphrase and write it to the passphrase file, which must not exist."`
	Out           string `help:"Also write the public file here." placeholder:"FILE"`
}

// Run makes a member.
func (c *nodeInitCmd) Run(s *streams) error {
	file := c.passphraseFile()
	if c.NewPassphrase {
		if file == "" {
			return fmt.Errorf("%s is set, so no passphrase file is made: unset it or leave out --new-passphrase",
				instance.PassphraseEnv)
		}
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return err
		}
		if _, err := keystore.CreatePassphrase(file); err != nil {
			return err
		}
	}
	pass, err := c.passphrase()
	if err != nil {
		return fmt.Errorf("%w. Write a passphrase of your own into that file, or let init make one with "+
			"--new-passphrase", err)
	}
	m, err := c.home().Init(c.Name, c.Power, c.Address, pass)
	if err != nil {
		return err
	}
	path := c.home().MemberPath()
	if c.Out != "" {
		text, err := m.Marshal()
		if err != nil {
			return err
		}
		if err := os.WriteFile(c.Out, text, 0o644); err != nil {
			return err
		}
		path = c.Out
	}
	_, err = fmt.Fprintf(s.out, "The keys of %s are in %s: back them up, with the passphrase kept apart from "+
		"them.\nHand in %s; it holds no secret.\n", m.Name, c.Home, path)
	return err
}

type nodeGenesisCmd struct {
	Chain   string   `required:"" help:"Name of the chain." placeholder:"NAME"`
	Notary  []string `help:"Public key of a log that the chain admits, as 'stele init --prepare' prints it; may stand several times." placeholder:"KEY"`
	Members []string `arg:"" type:"existingfile" help:"The members' public files."`
	Out     string   `default:"." type:"existingdir" help:"Folder for genesis.txt and peers.txt." placeholder:"DIR"`
}

// Run assembles the genesis.
func (c *nodeGenesisCmd) Run(s *streams) error {
	var members []ceremony.SignedMember
	for _, path := range c.Members {
		m, err := node.ReadMember(path)
		if err != nil {
			return err
		}
		members = append(members, m)
	}
	logs, err := command.LogKeys(c.Notary)
	if err != nil {
		return err
	}
	genesis, peers, err := ceremony.Genesis(c.Chain, members, logs)
	if err != nil {
		return err
	}
	for name, text := range map[string]string{"genesis.txt": genesis.Text(), "peers.txt": peers.Text()} {
		if err := command.WriteNew(filepath.Join(c.Out, name), text); err != nil {
			return err
		}
	}
	command.PrintGenesis(s.out, genesis)
	_, err = fmt.Fprintf(s.out, "Give %s and %s to every member. Each compares the fingerprint with the others, over "+
		"another way than the files took, and runs 'stele node join'.\n",
		filepath.Join(c.Out, "genesis.txt"), filepath.Join(c.Out, "peers.txt"))
	return err
}

// compareFingerprint demands the fingerprint that the other members told: as a flag, or at the
// terminal. Nothing is assumed where nobody can be asked.
func compareFingerprint(s *streams, given string, want fmt.Stringer) error {
	if given == "" {
		f, ok := s.in.(*os.File)
		if !ok || !isTerminal(f) {
			return usage(errors.New("--fingerprint is needed: the one that the other members told you over another " +
				"way than the file took"))
		}
		fmt.Fprint(s.out, "Type the fingerprint that the other members told you: ")
		line, err := bufio.NewReader(f).ReadString('\n')
		if err != nil {
			return err
		}
		given = line
	}
	given = strings.ToLower(strings.Join(strings.Fields(given), ""))
	if subtle.ConstantTimeCompare([]byte(given), []byte(want.String())) != 1 {
		return fmt.Errorf("the fingerprints differ: this file has %s. Nothing was changed",
			command.Grouped(want.String()))
	}
	return nil
}

type nodeJoinCmd struct {
	NodeHome
	Genesis     string `required:"" type:"existingfile" help:"genesis.txt of the ceremony." placeholder:"FILE"`
	Peers       string `type:"existingfile" help:"peers.txt of the ceremony; default beside the genesis." placeholder:"FILE"`
	Fingerprint string `help:"The genesis' fingerprint as the other members told it; asked for on a terminal." placeholder:"HEX"`
}

// Run joins a chain.
func (c *nodeJoinCmd) Run(s *streams) error {
	genesis, err := node.ReadGenesis(c.Genesis)
	if err != nil {
		return err
	}
	if c.Peers == "" {
		c.Peers = filepath.Join(filepath.Dir(c.Genesis), "peers.txt")
	}
	peers, err := node.ReadPeers(c.Peers)
	if err != nil {
		return err
	}
	m, err := c.home().Member()
	if err != nil {
		return err
	}
	command.PrintGenesis(s.out, genesis)
	if err := compareFingerprint(s, c.Fingerprint, genesis.Hash()); err != nil {
		return err
	}
	pass, err := c.passphrase()
	if err != nil {
		return err
	}
	if err := c.home().Join(genesis, peers, pass); err != nil {
		return err
	}
	for _, v := range genesis.Validators {
		if v.ConsensusKey == m.Consensus && v.Key.Equal(m.Cosign) {
			_, err := fmt.Fprintf(s.out, "%s is a member with power %d. Next: stele node run --home %s\n", m.Name,
				v.Power, c.Home)
			return err
		}
	}
	_, err = fmt.Fprintf(s.out, "The genesis does not name these keys of %s: the node follows the chain without a "+
		"vote until a later epoch has them. Next: stele node run --home %s\n", m.Name, c.Home)
	return err
}

type nodeRunCmd struct {
	NodeHome
	P2PListen     string        `name:"p2p-listen" env:"STELE_NODE_P2P_LISTEN" help:"Address for the other nodes; default the port of the member's address, on all interfaces." placeholder:"HOST:PORT"`
	APIListen     string        `name:"api-listen" env:"STELE_NODE_API_LISTEN" help:"Address for servers that anchor through this node; without it there is none." placeholder:"HOST:PORT"`
	APITokenFile  string        `name:"api-token-file" env:"STELE_NODE_API_TOKEN_FILE" help:"File with the token that those servers send." placeholder:"FILE"`
	MetricsListen string        `name:"metrics-listen" env:"STELE_NODE_METRICS_LISTEN" help:"Address of the private listener for /metrics; without it there is none." placeholder:"HOST:PORT"`
	CollectFor    time.Duration `name:"collect-for" default:"0" help:"How long a block waits for late votes, to collect all cosigners; 0 for 200 ms."`
	RetainBlocks  uint64        `name:"retain-blocks" env:"STELE_NODE_RETAIN_BLOCKS" help:"Newest blocks to keep; 0 keeps all. Evidence is kept in any case; new nodes need at least two members that keep all blocks."`
	UntilEOF      bool          `name:"until-eof" hidden:"" help:"Stop when the standard input ends: the process that started this one is gone."`
	LogLevel      string        `name:"log-level" env:"STELE_LOG_LEVEL" default:"info" enum:"debug,info,warn,error" help:"Least level that is logged."`
	LogFormat     string        `name:"log-format" env:"STELE_LOG_FORMAT" default:"text" enum:"text,json" help:"text or json."`
}

// Run runs the node until it is told to stop. When consensus ends by itself the command fails:
// whoever watches the process starts it again.
func (c *nodeRunCmd) Run(ctx context.Context, s *streams) error {
	log := logger(instance.Config{LogLevel: c.LogLevel, LogFormat: c.LogFormat}, s.err)
	if c.UntilEOF {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		go func() {
			_, _ = bufio.NewReader(s.in).ReadByte() // nothing is ever written; an error is the end too
			cancel()
		}()
	}
	pass, err := c.passphrase()
	if err != nil {
		return startFailure(err)
	}
	var token string
	if c.APITokenFile != "" {
		if token, err = secretText("the token", "--api-token-file", c.APITokenFile,
			"STELE_NODE_API_TOKEN"); err != nil {
			return startFailure(err)
		}
	}
	n, err := node.Start(ctx, node.Options{Home: c.home(), Passphrase: pass, P2PListen: c.P2PListen,
		APIListen: c.APIListen, APIToken: strings.TrimSpace(token), MetricsListen: c.MetricsListen,
		TimeoutCommit: c.CollectFor, RetainBlocks: c.RetainBlocks, Version: version, Now: time.Now, Log: log})
	if err != nil {
		return startFailure(err)
	}
	m := n.Member()
	warnUnprotected(ctx, log, "interface for servers", c.APIListen)
	log.InfoContext(ctx, "the node runs", "name", m.Name, "address", m.Address, "api", c.APIListen, "version", version)
	tellManager(ctx, log)
	err = n.Wait(ctx)
	log.InfoContext(ctx, "stopping")
	return errors.Join(err, n.Close())
}

// warnUnprotected says when an address is open to more than this machine: the token and the
// connections of nodes travel in whatever tunnel the network has, Stele adds none.
func warnUnprotected(ctx context.Context, log *slog.Logger, what, address string) {
	host, _, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err != nil || ip != nil && ip.IsLoopback() {
		return
	}
	log.WarnContext(ctx,
		"open beyond this machine without encryption of its own: let only a tunnel or a closed network reach it",
		"what", what, "address", address)
}

type nodePeersCmd struct {
	Home   string   `env:"STELE_NODE_HOME" required:"" help:"Folder of the node." placeholder:"DIR"`
	Add    []string `type:"existingfile" help:"Public file of a member to add, in place of one of the same name." placeholder:"FILE"`
	Remove []string `help:"Name of a peer to remove." placeholder:"NAME"`
}

// Run edits the list of peers.
func (c *nodePeersCmd) Run(s *streams) error {
	home := node.Home(c.Home)
	_, peers, err := home.Joined()
	if err != nil {
		return err
	}
	for _, name := range c.Remove {
		peers = peers.Without(name)
	}
	for _, path := range c.Add {
		m, err := node.ReadMember(path)
		if err != nil {
			return err
		}
		if peers, err = peers.With(m.Peer()); err != nil {
			return err
		}
	}
	if len(c.Add)+len(c.Remove) > 0 {
		if err := home.SavePeers(peers); err != nil {
			return err
		}
		fmt.Fprintln(s.err, "A running node takes this up when it starts again.")
	}
	_, err = fmt.Fprint(s.out, peers.Text())
	return err
}

// isMissing reports whether a file or socket is not there.
func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
