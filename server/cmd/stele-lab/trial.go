package main

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"stele/crypto/keystore"
	"stele/notary/chain/ceremony"
	"stele/notary/proof/anchorproof"
	"stele/server/cmd/internal/command"
	"stele/server/instance"
	"stele/server/node"
)

// trialCmd makes all members' keys in one place, which is what a network must not do: it
// is for trying one out on one machine.
type trialCmd struct {
	Dir            string            `required:"" help:"Folder for the homes, genesis.txt and peers.txt." placeholder:"DIR"`
	ChainID        string            `name:"chain-id" help:"Name of the chain. A random one if empty." placeholder:"NAME"`
	Member         map[string]string `required:"" help:"A member and where the others reach it; may stand several times." placeholder:"NAME=HOST:PORT"`
	Notary         []string          `help:"Public key of a log that the chain admits, as 'stele init --prepare' prints it." placeholder:"KEY"`
	PassphraseFile string            `name:"passphrase-file" env:"STELE_PASSPHRASE_FILE" help:"File with the passphrase of all keys; or set STELE_PASSPHRASE." placeholder:"FILE"`
}

// Run makes the network.
func (c *trialCmd) Run(s *streams) error {
	pass, err := keystore.Passphrase(c.PassphraseFile, instance.PassphraseEnv)
	if err != nil {
		return err
	}
	if c.ChainID == "" {
		c.ChainID = "stele-" + command.Unique()
	}
	genesis, err := trialNetwork(c.Dir, c.ChainID, c.Member, c.Notary, pass)
	if err != nil {
		return err
	}
	command.PrintGenesis(s.out, genesis)
	_, err = fmt.Fprintf(s.out,
		"All keys are in %s: good for a trial, never for a network whose members need not trust each other.\n", c.Dir)
	return err
}

// trialNetwork makes the homes of members, named after them, with the genesis and the peers
// beside them.
func trialNetwork(dir, chainID string, addresses map[string]string, logs []string, pass keystore.Secret) (
	genesis anchorproof.Epoch, err error) {
	keys, err := command.LogKeys(logs)
	if err != nil {
		return genesis, err
	}
	var members []ceremony.SignedMember
	for _, name := range slices.Sorted(maps.Keys(addresses)) {
		m, err := node.Home(filepath.Join(dir, name)).Init(name, 1, addresses[name], pass)
		if err != nil {
			return genesis, err
		}
		members = append(members, m)
	}
	genesis, peers, err := ceremony.Genesis(chainID, members, keys)
	if err != nil {
		return genesis, err
	}
	for name := range addresses {
		if err := node.Home(filepath.Join(dir, name)).Join(genesis, peers, pass); err != nil {
			return genesis, err
		}
	}
	if err := command.WriteNew(filepath.Join(dir, "peers.txt"), peers.Text()); err != nil {
		return genesis, err
	}
	return genesis, command.WriteNew(filepath.Join(dir, "genesis.txt"), genesis.Text())
}
