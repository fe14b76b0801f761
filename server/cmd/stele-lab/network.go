package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"stele/crypto/keystore"
	"stele/server/cmd/internal/command"
	"stele/server/instance"
	"stele/server/node"
	"stele/server/remote/chainnet"
)

// demoChain is a chain of several validators on this machine: the folder nodes of the demo's
// data holds their homes, and network.json, written last, what they are called and, once they
// run, their processes. nil is the chain inside the server.
type demoChain struct {
	folder string
	size   int // of a chain to be made, 0 when it is there
	Nodes  []labNode
}

// labNode is one of the validators.
type labNode struct {
	Name    string `json:"name"`
	Home    string `json:"home"`
	API     string `json:"api"` // host:port for servers
	PID     int    `json:"pid,omitempty"`
	Restart string `json:"restart,omitempty"` // the command that starts it again

	peer string // host:port for other nodes, while the chain is made
}

const maxDemoValidators = 16

// demoNetwork finds the chain of a demo, or plans one of so many validators, and has the
// settings name its nodes.
func demoNetwork(cfg *instance.Config, size int) (*demoChain, error) {
	c := &demoChain{folder: filepath.Join(cfg.Data, "nodes")}
	text, err := os.ReadFile(c.path("network.json"))
	switch {
	case errors.Is(err, fs.ErrNotExist) && size == 0:
		return nil, nil
	case errors.Is(err, fs.ErrNotExist) && instance.Exists(*cfg):
		return nil, fmt.Errorf("the instance in %s has its chain inside the server: --validators is for a new one, "+
			"in another --data folder", cfg.Data)
	case errors.Is(err, fs.ErrNotExist) && (size < 1 || size > maxDemoValidators):
		return nil, fmt.Errorf("a demo has 1 to %d validators", maxDemoValidators)
	case errors.Is(err, fs.ErrNotExist):
		c.size = size
		if err := c.plan(); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	default:
		if err := json.Unmarshal(text, &c.Nodes); err != nil {
			return nil, fmt.Errorf("%s is damaged: %w", c.path("network.json"), err)
		}
	}
	var urls []string
	for _, n := range c.Nodes {
		urls = append(urls, "http://"+n.API)
	}
	cfg.Chain, cfg.ChainNodes, cfg.ChainTokenFile = "nodes", strings.Join(urls, ","), c.path("token")
	return c, nil
}

func (c *demoChain) path(name string) string { return filepath.Join(c.folder, name) }

// plan chooses names and free ports. The ports are kept for later starts; if another program
// has taken one by then, that node says so and does not start.
func (c *demoChain) plan() error {
	var held []net.Listener
	defer func() {
		for _, l := range held {
			l.Close()
		}
	}()
	free := func() (string, error) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		held = append(held, l)
		return l.Addr().String(), nil
	}
	for i := range c.size {
		name := fmt.Sprintf("city-%d", i+1)
		if i < len(command.DemoCities) {
			name = command.DemoCities[i].Name
		}
		api, err := free()
		peer, err2 := free()
		if err := errors.Join(err, err2); err != nil {
			return err
		}
		c.Nodes = append(c.Nodes, labNode{Name: name, Home: c.path(name), API: api, peer: peer})
	}
	return nil
}

// found makes the nodes' homes and the genesis, which admits the log of the instance to come.
func (c *demoChain) found(cfg instance.Config, req *instance.InitRequest) error {
	if c == nil {
		return nil
	}
	req.Members = command.DemoCities[:min(len(c.Nodes), len(command.DemoCities))]
	if origin, err := instance.PreparedOrigin(cfg); err != nil {
		return err
	} else if origin != "" {
		req.Origin = origin
	}
	if c.size == 0 { // made by a start that was interrupted later
		genesis, err := node.ReadGenesis(c.path("genesis.txt"))
		req.Genesis = &genesis
		return err
	}
	logKey, err := instance.Prepare(cfg, *req, time.Now())
	if err != nil {
		return err
	}
	// What an interrupted start left has never run: network.json is written last.
	if err := os.RemoveAll(c.folder); err != nil {
		return err
	}
	if err := os.MkdirAll(c.folder, 0o700); err != nil {
		return err
	}
	pass, err := keystore.Passphrase(cfg.PassphraseFile, instance.PassphraseEnv)
	if err != nil {
		return err
	}
	if err := c.ceremony(req, logKey, pass); err != nil {
		return err
	}
	if err := os.WriteFile(c.path("token"), []byte(rand.Text()+"\n"), 0o600); err != nil {
		return err
	}
	return c.write()
}

func (c *demoChain) write() error {
	text, err := json.MarshalIndent(c.Nodes, "", "  ")
	if err != nil {
		return err
	}
	return command.WriteWhole(c.path("network.json"), bytes.NewReader(text))
}

// ceremony is what cities do at their own places, all in one go.
func (c *demoChain) ceremony(req *instance.InitRequest, logKey string, pass keystore.Secret) error {
	addresses := map[string]string{}
	for _, n := range c.Nodes {
		addresses[n.Name] = n.peer
	}
	genesis, err := trialNetwork(c.folder, req.ChainID, addresses, []string{logKey}, pass)
	req.Genesis = &genesis
	return err
}

// start starts the nodes as processes. They stop with this one, however it ends: their
// standard input closes. One that dies is not started again; how to is printed.
func (c *demoChain) start(ctx context.Context, program string, cfg instance.Config, s *streams) (stop func(),
	err error) {
	if c == nil {
		return func() {}, nil
	}
	var wg sync.WaitGroup
	var inputs []io.Closer
	ctx, cancel := context.WithCancel(ctx)
	stop = sync.OnceFunc(func() {
		cancel()
		for _, in := range inputs {
			in.Close()
		}
		wg.Wait()
	})
	token, err := filepath.Abs(cfg.ChainTokenFile)
	if err != nil {
		return stop, err
	}
	for i := range c.Nodes {
		n := &c.Nodes[i]
		home, err := filepath.Abs(n.Home)
		if err != nil {
			return stop, err
		}
		args := []string{"node", "run", "--home", home, "--p2p-listen", c.peerAddress(*n), "--api-listen", n.API,
			"--api-token-file", token}
		if cfg.PassphraseFile != "" {
			pass, err := filepath.Abs(cfg.PassphraseFile)
			if err != nil {
				return stop, err
			}
			args = append(args, "--passphrase-file", pass)
		}
		n.Restart = program + " " + strings.Join(args, " ")
		cmd := exec.Command(program, append(args, "--until-eof", "--log-level", "warn")...)
		cmd.Env = command.ChildEnvironment()
		log, err := os.OpenFile(filepath.Join(home, "node.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return stop, err
		}
		cmd.Stdout, cmd.Stderr = log, log
		in, err := cmd.StdinPipe()
		if err != nil {
			return stop, err
		}
		if err := cmd.Start(); err != nil {
			return stop, errors.Join(err, log.Close())
		}
		n.PID = cmd.Process.Pid
		inputs = append(inputs, in)
		wg.Go(func() {
			err := cmd.Wait()
			log.Close()
			if ctx.Err() == nil {
				fmt.Fprintf(s.err,
					"\nThe node %s has stopped (%v); its log is %s. Start it again, in another terminal:\n  %s\n",
					n.Name, err, log.Name(), n.Restart)
			}
		})
	}
	c.await(ctx)
	c.explain(program, s)
	return stop, c.write()
}

// await waits until the nodes answer, for a while: the server goes on without them too.
func (c *demoChain) await(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, nodeStartTime)
	defer cancel()
	for _, n := range c.Nodes {
		client, err := chainnet.NewNode("unix:"+node.Home(n.Home).Socket(), "")
		for err == nil {
			if _, err := client.Status(ctx); err == nil || ctx.Err() != nil {
				break
			}
			time.Sleep(50 * time.Millisecond) // a socket that is to appear has nothing to wait on
		}
	}
}

const nodeStartTime = 20 * time.Second

// peerAddress is where a node listens for the others: what its public file says.
func (c *demoChain) peerAddress(n labNode) string {
	m, err := node.Home(n.Home).Member()
	if err != nil {
		return "" // the node itself will say what is wrong
	}
	return m.Address
}

// explain says what can be tried with the nodes.
func (c *demoChain) explain(program string, s *streams) {
	fmt.Fprintf(s.out,
		"\nThe chain has %d validators, each a process of its own; the server's page /chain shows them:\n\n",
		len(c.Nodes))
	for _, n := range c.Nodes {
		fmt.Fprintf(s.out, "  %-12s process %d, %s\n", n.Name, n.PID, n.Home)
	}
	last := c.Nodes[len(c.Nodes)-1]
	fmt.Fprintf(s.out,
		"\nKill one and go on: kill -9 %d\nStart it again:     %s\nAsk one how it is:  %s node status --home %s\n",
		last.PID, last.Restart, program, c.Nodes[0].Home)
}
