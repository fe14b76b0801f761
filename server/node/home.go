// Package node is a validator of the chain as a process of its own: its home folder with
// encrypted keys, the interface that servers and its operator call, and its metrics. What it
// decides is decided in notary/chain.
package node

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"stele/crypto/keystore"
	"stele/crypto/sm"
	"stele/notary/chain"
	"stele/notary/chain/ceremony"
	"stele/notary/proof/anchorproof"
)

// A home folder holds
//
//	keys/          the three private keys, encrypted; and passphrase, unless it lies elsewhere
//	member.json    the public file that other members get
//	genesis.txt    epoch 0, from the ceremony
//	peers.txt      how other nodes are reached
//	chain/         the chain's state and blocks, see package chain
//	node.sock      the interface for the operator of this machine, while the node runs
const (
	folderKeys   = "keys"
	folderChain  = "chain"
	fileCosign   = "cosign.key"
	fileNode     = "node.key"
	fileVote     = "consensus.key"
	fileMember   = "member.json"
	fileGenesis  = "genesis.txt"
	filePeers    = "peers.txt"
	fileSocket   = "node.sock"
	maxFileBytes = 1 << 20
)

// Home is the folder of a node. Its methods read and write files; one process at a time may
// use a home.
type Home string

func (h Home) path(parts ...string) string {
	return filepath.Join(append([]string{string(h)}, parts...)...)
}

// Socket is where a running node takes calls from this machine's operator.
func (h Home) Socket() string { return h.path(fileSocket) }

// PassphrasePath is where the passphrase of the keys lies by default.
func (h Home) PassphrasePath() string { return h.path(folderKeys, "passphrase") }

// MemberPath is the member's public file.
func (h Home) MemberPath() string { return h.path(fileMember) }

// keys are the private keys of a member.
type keys struct {
	cosign *sm.PrivateKey
	vote   ed25519.PrivateKey
	node   ed25519.PrivateKey
}

// Init makes a member's keys and its public file. The home must hold none.
func (h Home) Init(name string, power uint64, address string, pass keystore.Secret) (m ceremony.SignedMember,
	err error) {
	if _, err := os.Stat(h.path(fileMember)); err == nil {
		return m, fmt.Errorf("%s holds a member already: choose another home", h)
	}
	if err := os.MkdirAll(h.path(folderKeys), 0o700); err != nil {
		return m, err
	}
	var k keys
	if k.cosign, err = sm.GenerateKey(); err != nil {
		return m, err
	}
	if _, k.vote, err = ed25519.GenerateKey(rand.Reader); err != nil {
		return m, err
	}
	if _, k.node, err = ed25519.GenerateKey(rand.Reader); err != nil {
		return m, err
	}
	m, err = ceremony.SignMember(ceremony.Member{Name: name, Power: power, Address: address, Cosign: k.cosign.Public(),
		Consensus: [32]byte(k.vote.Public().(ed25519.PublicKey)), Node: [32]byte(k.node.Public().(ed25519.PublicKey))},
		k.cosign.Sign, k.vote)
	if err != nil {
		return m, err
	}
	// The public file comes last: a home without it is half made and nothing knows its keys.
	for _, f := range []func() error{
		func() error { return keystore.Create(h.path(folderKeys, fileCosign), k.cosign, pass) },
		func() error { return keystore.CreateEd25519(h.path(folderKeys, fileVote), k.vote, pass) },
		func() error { return keystore.CreateEd25519(h.path(folderKeys, fileNode), k.node, pass) },
	} {
		if err := f(); err != nil {
			return m, err
		}
	}
	text, err := m.Marshal()
	if err != nil {
		return m, err
	}
	return m, createFile(h.path(fileMember), text)
}

// createFile writes a new file durably; one that is there is never replaced.
func createFile(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// readFile reads one of the small files of a ceremony.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFileBytes {
		return nil, fmt.Errorf("%s is longer than %d bytes", path, maxFileBytes)
	}
	return os.ReadFile(path)
}

// ReadMember reads a member's public file and verifies its proof of possession.
func ReadMember(path string) (ceremony.SignedMember, error) {
	text, err := readFile(path)
	if err != nil {
		return ceremony.SignedMember{}, err
	}
	m, err := ceremony.ParseMember(text)
	if err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return m, err
}

// ReadGenesis reads the text of epoch 0.
func ReadGenesis(path string) (anchorproof.Epoch, error) {
	text, err := readFile(path)
	if err != nil {
		return anchorproof.Epoch{}, err
	}
	e, err := anchorproof.ParseEpoch(string(text))
	if err != nil {
		return e, fmt.Errorf("%s: %w", path, err)
	}
	if e.Number != 0 {
		return e, fmt.Errorf("%s is epoch %d; the genesis is epoch 0", path, e.Number)
	}
	return e, nil
}

// ReadPeers reads a list of peers.
func ReadPeers(path string) (ceremony.Peers, error) {
	text, err := readFile(path)
	if err != nil {
		return ceremony.Peers{}, err
	}
	p, err := ceremony.ParsePeers(string(text))
	if err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return p, err
}

// Member is the public file of this home.
func (h Home) Member() (ceremony.SignedMember, error) {
	m, err := ReadMember(h.path(fileMember))
	if errors.Is(err, fs.ErrNotExist) {
		return m, fmt.Errorf("there is no member in %s: run 'stele node init', or correct --home", h)
	}
	return m, err
}

// load reads the member and its keys, which must belong together.
func (h Home) load(pass keystore.Secret) (m ceremony.SignedMember, k keys, err error) {
	if m, err = h.Member(); err != nil {
		return m, k, err
	}
	if k.cosign, err = keystore.Load(h.path(folderKeys, fileCosign), pass); err != nil {
		return m, k, err
	}
	if k.vote, err = keystore.LoadEd25519(h.path(folderKeys, fileVote), pass); err != nil {
		return m, k, err
	}
	if k.node, err = keystore.LoadEd25519(h.path(folderKeys, fileNode), pass); err != nil {
		return m, k, err
	}
	if !k.cosign.Public().Equal(m.Cosign) ||
		!k.vote.Public().(ed25519.PublicKey).Equal(ed25519.PublicKey(m.Consensus[:])) ||
		!k.node.Public().(ed25519.PublicKey).Equal(ed25519.PublicKey(m.Node[:])) {
		return m, k, fmt.Errorf("the keys in %s are not those of its %s: restore the folder as a whole",
			h.path(folderKeys), fileMember)
	}
	return m, k, nil
}

// Join takes the genesis and the peers into the home. The chain's state is made here and
// nowhere else, once. A crash leaves files that the next Join finishes or names.
func (h Home) Join(genesis anchorproof.Epoch, peers ceremony.Peers, pass keystore.Secret) error {
	if peers.Chain != genesis.Chain {
		return fmt.Errorf("the peers are of chain %s, the genesis is of %s", peers.Chain, genesis.Chain)
	}
	if _, err := os.Stat(h.path(fileGenesis)); err == nil {
		return fmt.Errorf("%s has joined a chain already", h)
	}
	m, k, err := h.load(pass)
	if err != nil {
		return err
	}
	c := h.chainConfig(genesis, m, k)
	c.Peers = addresses(peers, m)
	if err := chain.Init(c); err != nil {
		return err
	}
	if err := os.WriteFile(h.path(filePeers), []byte(peers.Text()), 0o644); err != nil {
		return err
	}
	return createFile(h.path(fileGenesis), []byte(genesis.Text())) // last: it says that the home is complete
}

func (h Home) chainConfig(genesis anchorproof.Epoch, m ceremony.SignedMember, k keys) chain.Config {
	return chain.Config{Home: h.path(folderChain), Genesis: genesis, ConsensusKey: k.vote, NodeKey: k.node,
		Cosign: k.cosign.Sign, CosignKey: m.Cosign}
}

// addresses are the peers but the node itself, as the engine wants them.
func addresses(p ceremony.Peers, self ceremony.SignedMember) (out []string) {
	own := self.Peer().ID
	for _, q := range p.List {
		if q.ID != own {
			out = append(out, q.ID+"@"+q.Address)
		}
	}
	return out
}

// Joined reads the genesis and the peers of a home that has joined a chain.
func (h Home) Joined() (genesis anchorproof.Epoch, peers ceremony.Peers, err error) {
	genesis, err = ReadGenesis(h.path(fileGenesis))
	if errors.Is(err, fs.ErrNotExist) {
		return genesis, peers,
			fmt.Errorf("%s has not joined a chain: run 'stele node join' with the genesis of the ceremony", h)
	}
	if err != nil {
		return genesis, peers, err
	}
	peers, err = ReadPeers(h.path(filePeers))
	return genesis, peers, err
}

// SavePeers replaces the list of peers; a running node takes it up when it starts again.
func (h Home) SavePeers(p ceremony.Peers) error {
	tmp := h.path(filePeers + ".new")
	if err := os.WriteFile(tmp, []byte(p.Text()), 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, h.path(filePeers))
}

// Sign adds this member's signatures to a proposal.
func (h Home) Sign(p ceremony.Proposal, pass keystore.Secret) (ceremony.Proposal, error) {
	m, k, err := h.load(pass)
	if err != nil {
		return p, err
	}
	return p.Sign(k.cosign.Sign, m.Validator(), k.vote)
}

// diskBytes is how much room the chain takes.
func (h Home) diskBytes() int64 {
	var n int64
	// a file that vanishes meanwhile counts nothing
	_ = filepath.WalkDir(h.path(folderChain), func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		if info, err := d.Info(); err == nil {
			n += info.Size()
		}
		return nil
	})
	return n
}

// SignLink adds this member's signature to a link by which a log leaves the chain.
func (h Home) SignLink(l anchorproof.SignedLink, pass keystore.Secret) (anchorproof.SignedLink, error) {
	genesis, _, err := h.Joined()
	if err != nil {
		return l, err
	}
	_, k, err := h.load(pass)
	if err != nil {
		return l, err
	}
	return l.SignAs(genesis, k.cosign)
}
